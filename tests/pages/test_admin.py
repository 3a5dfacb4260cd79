"""The admin site: facts are looked at, changes go through services."""

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from fl_server.models import (
    Alert,
    AlertRule,
    AuditEvent,
    Delivery,
    Device,
    EnrolmentCode,
    Notification,
    Policy,
    Quota,
    Schedule,
    TrainingJob,
    Webhook,
)
from tests.server.test_contributions import given
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]

OURS = [model for model in admin.site._registry if model._meta.app_label == "fl_server"]
# Added and changed on pages of the platform.
ELSEWHERE = (Schedule,)
READ_ONLY = [m for m in OURS if m not in (AlertRule, EnrolmentCode, Policy, Quota, *ELSEWHERE)]


@pytest.fixture
def staff(world: World) -> Client:
    world.admin.is_staff = True
    world.admin.save()
    some_of_the_rest(world)
    client = Client()
    client.force_login(world.admin)
    return client


def some_of_the_rest(world: World) -> None:
    """A row of what the world has none of."""
    told = Notification.objects.create(user=world.owner, kind="alert", title="Hot", fact="1")
    Delivery.objects.create(notification=told, way="email")
    Webhook.objects.create(user=world.owner, url="https://hooks.example/x", secret="never-shown")
    rule = AlertRule.objects.create(metric="cpu", threshold=90, clear_below=80)
    Quota.objects.create(user=world.researcher, max_devices=5)
    given(world.owner, world.training)
    Alert.objects.create(rule=rule, device=world.training, began_at=timezone.now(), value=95)


def address(model: Any, page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def run(client: Client, model: Any, action: str, *rows: Any) -> Any:
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(address(model, "changelist"), data, follow=True)


def test_everything_that_matters_is_registered() -> None:
    names = {model.__name__ for model in OURS}
    assert names >= {
        "TrainingJob",
        "Run",
        "Round",
        "Participation",
        "Checkpoint",
        "Device",
        "EnrolmentCode",
        "AuditEvent",
    }


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_lists_and_details_open_for_an_admin(staff: Client, model: Any) -> None:
    AuditEvent.objects.create(action="test", target="job:1")
    Policy.objects.create()
    assert staff.get(address(model, "changelist")).status_code == 200
    row = model.objects.first()
    assert row is not None
    page = staff.get(address(model, "change", row.pk))
    if model in ELSEWHERE:
        assert page.status_code == 302
        return
    assert page.status_code == 200
    assert ('name="_save"' in page.content.decode()) == (model in (AlertRule, Policy, Quota))


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_nobody_else_sees_them_even_with_access_to_the_site(world: World, model: Any) -> None:
    for person in (world.researcher, world.owner, world.outsider):
        person.is_staff = True
        person.save()
        client = Client()
        client.force_login(person)
        assert client.get(address(model, "changelist")).status_code == 403


def test_an_admin_without_access_to_the_site_is_sent_to_log_in(world: World) -> None:
    client = Client()
    client.force_login(world.admin)
    assert client.get(reverse("admin:index")).status_code == 302


def test_the_admin_sites_log_in_is_the_throttled_one(world: World) -> None:
    wanted = address(Device, "changelist")
    answer = Client().get(wanted, follow=True)
    assert answer.redirect_chain[-1][0] == f"{reverse('login')}?next={wanted}"
    posted = Client().post(reverse("admin:login"), {"username": "ada", "password": "guess"})
    assert (posted.status_code, posted["Location"]) == (302, f"{reverse('login')}?next=/admin/")


def test_whoever_may_not_enter_the_admin_site_is_told_so_and_not_sent_around(world: World) -> None:
    client = Client()
    client.force_login(world.researcher)
    assert client.get(reverse("admin:index"), follow=True).status_code == 403


def test_who_is_in_already_needs_no_log_in(staff: Client) -> None:
    assert staff.get(reverse("admin:login"))["Location"] == reverse("admin:index")


def test_refresh_tokens_are_shown_to_nobody() -> None:
    assert not [model for model in admin.site._registry if model._meta.app_label == "token_blacklist"]


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)
def test_rows_are_neither_added_nor_changed_nor_deleted_there(staff: Client, model: Any) -> None:
    AuditEvent.objects.create(action="test", target="job:1")
    row = model.objects.first()
    assert staff.get(address(model, "add")).status_code == 403
    assert staff.post(address(model, "change", row.pk), {"status": "revoked"}).status_code == 403
    assert staff.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403


def test_approving_and_revoking_devices_goes_through_the_service(world: World, staff: Client) -> None:
    answer = run(staff, Device, "approve", world.pending, world.training)
    text = answer.content.decode()
    assert "1 approved." in text
    assert "otto-desk: " in text
    world.pending.refresh_from_db()
    assert world.pending.status == Device.Status.APPROVED
    run(staff, Device, "revoke", world.pending)
    world.pending.refresh_from_db()
    assert world.pending.status == Device.Status.REVOKED
    actions = list(AuditEvent.objects.order_by("id").values_list("action", "actor__username"))
    assert actions == [("device.approve", "ada"), ("device.revoke", "ada")]


def test_cancelling_jobs_goes_through_the_service(world: World, staff: Client) -> None:
    run(staff, TrainingJob, "cancel", world.foreign)
    world.foreign.refresh_from_db()
    assert (world.foreign.status, world.foreign.reason) == ("cancelled", "Cancelled by ada.")


def test_pausing_and_resuming_jobs_goes_through_the_service(world: World, staff: Client) -> None:
    answer = run(staff, TrainingJob, "pause", world.running, world.foreign, world.draft)
    assert "2 paused or about to." in answer.content.decode()
    assert "only queued jobs can" in answer.content.decode()
    for job in (world.running, world.foreign):
        job.refresh_from_db()
    assert (world.running.pausing, world.foreign.status) == (True, "paused")
    run(staff, TrainingJob, "resume", world.running, world.foreign)
    for job in (world.running, world.foreign):
        job.refresh_from_db()
    assert (world.running.pausing, world.foreign.status) == (False, "queued")


def test_making_a_code_leads_to_the_page_that_shows_it_once(staff: Client) -> None:
    assert staff.get(address(EnrolmentCode, "add"))["Location"] == reverse("enrol")


def test_adding_and_changing_a_schedule_leads_to_the_pages_for_it(world: World, staff: Client) -> None:
    listing = staff.get(address(Schedule, "changelist")).content.decode()
    change = address(Schedule, "change", world.schedule.pk)
    assert address(Schedule, "add") in listing
    assert change in listing
    for page, wanted in (
        (address(Schedule, "add"), reverse("schedule-new")),
        (change, reverse("schedule-edit", args=(world.schedule.pk,))),
    ):
        answer = staff.get(page, follow=True)
        assert answer.redirect_chain == [(wanted, 302)]
        assert answer.status_code == 200
    assert staff.get(address(Schedule, "change", "x")).status_code == 404
    assert staff.post(address(Schedule, "delete", world.schedule.pk), {"post": "yes"}).status_code == 403


def test_the_words_of_the_lists_are_right(staff: Client) -> None:
    AlertRule.objects.create(metric="cpu", threshold=2, clear_below=1, minutes=1)
    assert "CPU at 2 % for 1 minute<" in staff.get(address(AlertRule, "changelist")).content.decode()
    assert "Deliverys" not in staff.get(address(Delivery, "changelist")).content.decode()


def test_revoking_a_code_goes_through_the_service(world: World, staff: Client) -> None:
    run(staff, EnrolmentCode, "revoke", world.code)
    world.code.refresh_from_db()
    assert world.code.state == "revoked"


def test_a_code_s_secret_is_not_shown_even_as_a_hash(world: World, staff: Client) -> None:
    page = staff.get(address(EnrolmentCode, "change", world.code.pk)).content.decode()
    assert world.code.secret_hash not in page


def test_a_checkpoint_has_a_download_link(world: World, staff: Client) -> None:
    page = staff.get(address(type(world.checkpoint), "changelist")).content.decode()
    assert reverse("api:checkpoint-download", args=(world.checkpoint.pk,)) in page


def test_the_policy_is_changed_there_through_the_service(staff: Client) -> None:
    staff.post(address(Policy, "add"), {"label_name": "", "label_value": "", "gpu": "never"})
    company = Policy.objects.get()
    assert (company.label_name, company.rules) == ("", {"gpu": "never"})
    assert "never the GPU" in staff.get(address(Policy, "changelist")).content.decode()
    staff.post(address(Policy, "change", company.pk), {"gpu": "idle", "hours": "mon-fri: 18:00-24:00"})
    company.refresh_from_db()
    assert (company.rules["gpu"], len(company.rules["hours"])) == ("idle", 5)
    assert list(AuditEvent.objects.values_list("action", flat=True)) == ["policy.set"] * 2
    assert "Allowed hours: not set → Mon–Fri" in staff.get(address(AuditEvent, "changelist")).content.decode()


def test_faults_in_a_policy_stand_beside_their_fields(staff: Client) -> None:
    for data in ({"idle_minutes": "500"}, {"label_name": "a=b", "label_value": "c"}, {"label_value": "c"}):
        answer = staff.post(address(Policy, "add"), data)
        assert answer.status_code == 200
        assert "errorlist" in answer.content.decode() or "text-red" in answer.content.decode()
    assert not Policy.objects.exists()


def test_rules_of_a_group_are_removed_there_and_the_company_s_are_not(staff: Client) -> None:
    group = Policy.objects.create(label_name="room", label_value="lab")
    company = Policy.objects.create()
    staff.post(address(Policy, "delete", group.pk), {"post": "yes"})
    assert staff.post(address(Policy, "delete", company.pk), {"post": "yes"}).status_code == 403
    assert list(Policy.objects.all()) == [company]
    assert AuditEvent.objects.get().action == "policy.remove"


RULE = {"metric": "memory", "threshold": 95, "clear_below": 90, "minutes": 10, "enabled": "on"}


def test_a_rule_of_alerts_is_made_changed_and_removed_with_its_alerts(staff: Client) -> None:
    assert staff.post(address(AlertRule, "add"), RULE).status_code == 302
    made = AlertRule.objects.get(metric="memory")
    staff.post(address(AlertRule, "change", made.pk), {**RULE, "threshold": 92})
    made.refresh_from_db()
    assert made.threshold == 92
    hot = AlertRule.objects.get(metric="cpu")
    staff.post(address(AlertRule, "delete", hot.pk), {"post": "yes"})
    assert not AlertRule.objects.filter(pk=hot.pk).exists()
    actions = AuditEvent.objects.filter(action__startswith="alert-rule").values_list("action", flat=True)
    assert sorted(actions) == ["alert-rule.change", "alert-rule.create", "alert-rule.remove"]


def test_a_rule_that_would_never_end_is_refused_by_field(staff: Client) -> None:
    page = staff.post(address(AlertRule, "add"), {**RULE, "clear_below": 96})
    assert "it must be below the threshold" in page.content.decode()
    assert AlertRule.objects.count() == 1


def test_nobody_sees_the_address_or_the_secret_of_a_webhook(staff: Client) -> None:
    hook = Webhook.objects.get()
    for page in (address(Webhook, "changelist"), address(Webhook, "change", hook.pk)):
        text = staff.get(page).content.decode()
        assert "never-shown" not in text
        assert "hooks.example" not in text


def test_quotas_are_set_and_removed_and_both_are_noted(staff: Client, world: World) -> None:
    wanted = {"user": world.viewer.pk, "group": "", "max_running_jobs": 2, "max_devices": ""}
    assert staff.post(address(Quota, "add"), wanted).status_code == 302
    quota = Quota.objects.get(user=world.viewer)
    assert (quota.max_running_jobs, quota.max_devices) == (2, None)
    changed = staff.post(address(Quota, "change", quota.pk), {"max_running_jobs": "", "max_devices": 7})
    assert changed.status_code == 302
    quota.refresh_from_db()
    assert (quota.max_running_jobs, quota.max_devices) == (None, 7)
    assert staff.post(address(Quota, "delete", quota.pk), {"post": "yes"}).status_code == 302
    assert not Quota.objects.filter(user=world.viewer).exists()
    noted = AuditEvent.objects.filter(target="user:vera", actor=world.admin)
    assert sorted(noted.values_list("action", flat=True)) == ["quota.remove", "quota.set", "quota.set"]


@pytest.mark.parametrize("both", [True, False])
def test_a_quota_of_nobody_or_of_two_is_refused_with_a_sentence(
    staff: Client, world: World, both: bool
) -> None:
    group = world.viewer.groups.get()
    whose = {"user": world.viewer.pk, "group": group.pk} if both else {"user": "", "group": ""}
    page = staff.post(address(Quota, "add"), whose | {"max_devices": 7})
    assert page.status_code == 200
    assert "of a user or of a group" in page.content.decode()
