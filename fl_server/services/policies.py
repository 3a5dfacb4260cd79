"""What people change about when machines train. Devices that are connected hear of it at once."""

from functools import partial
from typing import Any

from django.db import transaction

from fl_client.policy import words
from fl_server import events, labels, roles, rules
from fl_server.exceptions import NotAllowed, NotFound
from fl_server.models import Device, Policy
from fl_server.rules import COMPANY_DEFAULTS, Rules
from fl_server.selectors import policies as selectors
from fl_server.services import audit


def set_company(by: Any, rules_data: Any) -> Policy:
    """What holds for every machine. Rules that say nothing restrict nothing."""
    _check_admin(by)
    return _set(by, "", "", rules.parse(rules_data), COMPANY_DEFAULTS)


def set_group(by: Any, label_name: str, label_value: str, rules_data: Any) -> Policy:
    """What holds, besides, for the machines with a label."""
    _check_admin(by)
    labels.check(label_name, label_value)
    return _set(by, label_name, label_value, rules.parse(rules_data), Rules())


def remove_group(by: Any, label_name: str, label_value: str) -> None:
    _check_admin(by)
    with transaction.atomic():
        found = Policy.objects.exclude(label_name="").select_for_update()
        policy = found.filter(label_name=label_name, label_value=label_value).first()
        if policy is None:
            raise NotFound(f"No rules are set for {label_name}={label_value}.")
        changes = words.changes(rules.known(policy.rules), Rules())
        audit.record(by, "policy.remove", f"policy:{policy.pk}", of=str(policy), changes=changes)
        policy.delete()
        transaction.on_commit(partial(_tell_all, label_name, label_value))


def owner_changed(device: Device, rules_data: dict[str, Any]) -> None:
    """The owner's own layer, as the machine tells it. It can only be stricter, so nobody needs to agree."""
    after = rules.known(rules_data)
    with transaction.atomic():
        row = Device.objects.exclude(status=Device.Status.REVOKED).select_for_update().filter(pk=device.pk)
        stored = row.values_list("owner_rules", flat=True).first()
        if stored is None or (before := rules.known(stored)) == after:
            return
        device.owner_rules = rules.stored(after)
        row.update(owner_rules=device.owner_rules)
        changes = words.changes(before, after)
        audit.record(device.owner, "device.rules", f"device:{device.pk}", name=device.name, changes=changes)


def tell(device: Device) -> None:
    """The rules above a device may have become others, since its labels did."""
    transaction.on_commit(lambda: events.tell_device(device.pk, type="policy", **selectors.told(device)))


def _check_admin(by: Any) -> None:
    if not roles.is_admin(by):
        raise NotAllowed("Only an admin sets the policy.")


def _set(by: Any, label_name: str, label_value: str, after: Rules, unset: Rules) -> Policy:
    """`unset` is what holds while nobody has set anything."""
    with transaction.atomic():
        policy, is_new = Policy.objects.select_for_update().get_or_create(
            label_name=label_name, label_value=label_value, defaults={"rules": rules.stored(unset)}
        )
        before = rules.known(policy.rules)
        if before == after and not is_new:
            return policy
        policy.rules, policy.updated_by = rules.stored(after), by
        policy.save()
        changes = words.changes(before, after)
        audit.record(by, "policy.set", f"policy:{policy.pk}", of=str(policy), changes=changes)
        if before != after:
            transaction.on_commit(partial(_tell_all, label_name, label_value))
    return policy


def _tell_all(label_name: str, label_value: str) -> None:
    """Tell the connected devices concerned. Read after the commit: a device that says hello meanwhile reads
    the new rules itself, or is seen here."""
    above = selectors.above()
    for key, carried in selectors.listening().values_list("pk", "labels"):
        if not label_name or carried.get(label_name) == label_value:
            events.tell_device(key, type="policy", **above.told(carried))
