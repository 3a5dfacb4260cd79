"""Which rules hold for a device: the company's, its groups', its owner's, and the strictest of them."""

from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q, QuerySet

from fl_client.policy import layers as policy_layers
from fl_client.policy import words
from fl_server import roles
from fl_server.models import Device, Policy
from fl_server.rules import COMPANY_DEFAULTS, Rules, known, stored


@dataclass(frozen=True)
class Above:
    """All rules above the owners' own, read at once: any number of devices costs no further query."""

    company: Rules
    groups: tuple[tuple[str, str, Rules], ...]  # name and value of the label, its rules

    def of_group(self, labels: dict[str, str]) -> list[tuple[str, str, Rules]]:
        """The groups to which a device with these labels belongs."""
        return [group for group in self.groups if labels.get(group[0]) == group[1]]

    def group(self, labels: dict[str, str]) -> Rules:
        return policy_layers.combine(*(rules for _, _, rules in self.of_group(labels)))

    def told(self, labels: dict[str, str]) -> dict[str, Any]:
        """What a device with these labels hears of them."""
        return {"company": stored(self.company), "group": stored(self.group(labels))}

    def effective(self, device: Device) -> Rules:
        return policy_layers.combine(self.company, self.group(device.labels), known(device.owner_rules))


def above() -> Above:
    company, groups = COMPANY_DEFAULTS, []
    for policy in Policy.objects.all():
        if policy.label_name:
            groups.append((policy.label_name, policy.label_value, known(policy.rules)))
        else:
            company = known(policy.rules)
    return Above(company, tuple(groups))


def effective(device: Device) -> Rules:
    return above().effective(device)


def told(device: Device) -> dict[str, Any]:
    return above().told(device.labels)


def listening() -> QuerySet[Device]:
    """Devices whose socket may be open."""
    gone = Q(last_seen__isnull=True) | Q(disconnected_at__gte=F("last_seen"))
    return Device.objects.exclude(gone).exclude(status=Device.Status.REVOKED)


def sentence(policy: Policy) -> str:
    return words.sentence(known(policy.rules))


def layers(device: Device) -> dict[str, Any]:
    """Each layer, what they come to, and what the owner allows in vain."""
    rules = above()
    groups = rules.of_group(device.labels)
    group, owner = rules.group(device.labels), known(device.owner_rules)
    return {
        "effective": _said(rules.effective(device)),
        "company": _said(rules.company),
        "group": _said(group) | {"labels": [f"{name}={value}" for name, value, _ in groups]},
        "owner": _said(owner),
        "loosened": policy_layers.loosened(owner, policy_layers.combine(rules.company, group)),
    }


def company() -> dict[str, Any]:
    """The company's layer for a page or the API; before anybody set one, the defaults."""
    policy = Policy.objects.select_related("updated_by").filter(label_name="").first()
    if policy is None:
        return _said(COMPANY_DEFAULTS) | {"is_default": True, "updated_at": None, "updated_by": None}
    return _described(policy) | {"is_default": False}


def groups_seen_by(user: Any) -> list[dict[str, Any]]:
    """Observers see the rules of every group, an owner those of the own machines' groups."""
    policies = Policy.objects.select_related("updated_by").exclude(label_name="")
    if roles.may_observe(user):
        return [_described(policy) for policy in policies]
    own = list(Device.objects.filter(owner=user).values_list("labels", flat=True))
    return [
        _described(policy)
        for policy in policies
        if any(labels.get(policy.label_name) == policy.label_value for labels in own)
    ]


def _described(policy: Policy) -> dict[str, Any]:
    return {
        "id": policy.pk,
        "label_name": policy.label_name,
        "label_value": policy.label_value,
        **_said(known(policy.rules)),
        "updated_at": policy.updated_at,
        "updated_by": policy.updated_by.get_username() if policy.updated_by else None,
    }


def _said(rules: Rules) -> dict[str, Any]:
    return {"rules": stored(rules), "sentence": words.sentence(rules)}
