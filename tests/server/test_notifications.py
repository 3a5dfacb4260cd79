"""People are told what concerns them, once, by the ways they chose."""

from typing import Any

import pytest
from django.urls import reverse

from fl_server.exceptions import InvalidInput, NotAllowed
from fl_server.models import AuditEvent, Delivery, Notification, NotificationChoice, TrainingJob
from fl_server.selectors import notifications as selectors
from fl_server.services import jobs, notifications, webhooks
from fl_server.services.notifications import News
from tests.server import cluster
from tests.server.world import World, client

pytestmark = [pytest.mark.services, pytest.mark.django_db]

Kind = Notification.Kind


def told(user: Any) -> list[Notification]:
    return list(Notification.objects.filter(user=user))


def ways_of(user: Any) -> set[str]:
    return set(Delivery.objects.filter(notification__user=user).values_list("way", flat=True))


def with_mail(user: Any) -> Any:
    user.email = f"{user.username}@example.com"
    user.save()
    return user


def test_the_same_fact_is_told_once(world: World) -> None:
    assert notifications.tell(world.owner, Kind.DEVICE_LOST, "Gone", fact="device:1")
    assert not notifications.tell(world.owner, Kind.DEVICE_LOST, "Gone again", fact="device:1")
    assert notifications.tell(world.admin, Kind.DEVICE_LOST, "Gone", fact="device:1")
    assert [n.title for n in told(world.owner)] == ["Gone"]


def test_open_pages_of_the_person_hear_how_many_are_unread(world: World) -> None:
    with cluster.heard() as heard:
        notifications.tell(world.owner, Kind.ALERT, "One", fact="1")
        notifications.tell(world.owner, Kind.ALERT, "Two", fact="2")
    facts = {"group": f"user-{world.owner.pk}", "event": "notification"}
    assert heard == [{**facts, "unread": 1}, {**facts, "unread": 2}]


def test_a_title_is_one_line_and_a_person_who_left_is_told_nothing(world: World) -> None:
    notifications.tell(world.owner, Kind.ALERT, "One\r\nBcc: x@example.com", fact="1")
    assert told(world.owner)[0].title == "One Bcc: x@example.com"
    world.viewer.is_active = False
    world.viewer.save()
    assert not notifications.tell(world.viewer, Kind.ALERT, "One", fact="1")


def test_who_has_no_role_any_more_is_told_nothing(world: World) -> None:
    world.researcher.groups.clear()
    notifications.tell(world.researcher, Kind.JOB_FAILED, "It failed", fact="job:1")
    assert told(world.researcher) == []


def test_who_chose_nothing_gets_mail_of_what_failed_and_no_webhook(world: World) -> None:
    with_mail(world.researcher)
    webhooks.save(world.researcher, "https://hooks.example/x")
    notifications.tell(world.researcher, Kind.JOB_FINISHED, "Done", fact="1")
    assert ways_of(world.researcher) == set()
    notifications.tell(world.researcher, Kind.JOB_FAILED, "Failed", fact="2")
    assert ways_of(world.researcher) == {"email"}


def test_each_person_chooses_the_ways(world: World) -> None:
    with_mail(world.researcher)
    webhooks.save(world.researcher, "https://hooks.example/x")
    notifications.choose(world.researcher, {"job-finished": {"email": True, "webhook": True, "page": False}})
    notifications.tell(world.researcher, Kind.JOB_FINISHED, "Done", fact="1")
    assert ways_of(world.researcher) == {"email", "webhook"}
    assert selectors.unread(world.researcher) == 0
    assert len(told(world.researcher)) == 1


def test_nothing_goes_out_to_who_has_neither_address_nor_webhook(world: World) -> None:
    notifications.choose(world.researcher, {"job-finished": {"email": True, "webhook": True}})
    notifications.tell(world.researcher, Kind.JOB_FINISHED, "Done", fact="1")
    assert ways_of(world.researcher) == set()


@pytest.mark.parametrize("chosen", [{"job-won": {"page": True}}, {"alert": {"pigeon": True}}])
def test_an_unknown_kind_or_way_is_refused_by_name(world: World, chosen: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="allowed are"):
        notifications.choose(world.researcher, chosen)
    assert not NotificationChoice.objects.exists()


def test_a_choice_is_of_people_with_a_role_and_leaves_an_audit_event(world: World) -> None:
    with pytest.raises(NotAllowed):
        notifications.choose(world.outsider, {"alert": {"page": False}})
    notifications.choose(world.viewer, {"alert": {"page": False}})
    assert AuditEvent.objects.get().data == {"alert": {"page": False}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(TrainingJob.Status.COMPLETED, "job-finished"), (TrainingJob.Status.FAILED, "job-failed")],
)
def test_the_end_of_a_job_reaches_its_owner(world: World, status: str, kind: str) -> None:
    jobs.finish(world.running, status, "completed", "All rounds are done.")
    notice = told(world.researcher)[0]
    assert (notice.kind, notice.text) == (kind, "All rounds are done.")
    assert notice.path == reverse("job", args=(world.running.pk,))
    assert world.running.name in notice.title


def test_who_cancels_a_job_needs_no_news_of_it(world: World) -> None:
    jobs.cancel(world.running, world.researcher)
    assert told(world.researcher) == []


def test_telling_many_people_costs_the_same_queries(world: World, django_assert_max_num_queries: Any) -> None:
    news = [
        News(user.pk, Kind.ALERT, "Hot", f"fact {n}")
        for user in (world.owner, world.admin)
        for n in range(40)
    ]
    with django_assert_max_num_queries(12):
        assert notifications.tell_all(news) == 80


def test_reading_is_only_of_the_own_ones(world: World) -> None:
    for user in (world.owner, world.admin):
        notifications.tell(user, Kind.ALERT, "Hot", fact="1")
    foreign = told(world.admin)[0].pk
    assert notifications.mark_read(world.owner, [foreign]) == 0
    assert notifications.mark_read(world.owner) == 1
    assert (selectors.unread(world.owner), selectors.unread(world.admin)) == (0, 1)


def test_old_notifications_are_forgotten(world: World, settings: Any) -> None:
    notifications.tell(world.owner, Kind.ALERT, "Hot", fact="1")
    assert notifications.forget() == 0
    settings.NOTIFICATION_DAYS = 0
    assert notifications.forget() == 1


def test_the_api_lists_reads_and_counts_the_own_notifications(world: World) -> None:
    for number in range(3):
        notifications.tell(world.owner, Kind.ALERT, f"Hot {number}", fact=str(number))
    notifications.tell(world.admin, Kind.ALERT, "Somebody else's", fact="1")
    api = client(world.owner)
    found = api.get("/api/v1/notifications?unread=true").json()["results"]
    assert [notice["title"] for notice in found] == ["Hot 2", "Hot 1", "Hot 0"]
    assert api.post("/api/v1/notifications/read", {"ids": [found[0]["id"]]}, format="json").json() == {
        "unread": 2
    }
    assert api.post("/api/v1/notifications/read", {}, format="json").json() == {"unread": 0}
    assert api.get("/api/v1/notifications?unread=true").json()["results"] == []


def test_the_api_changes_one_way_and_leaves_the_others(world: World) -> None:
    api = client(world.owner)
    api.put("/api/v1/notifications/choices", {"device-lost": {"webhook": True}}, format="json")
    chosen = api.get("/api/v1/notifications/choices").json()
    assert chosen["device-lost"] == {"page": True, "email": True, "webhook": True}
    assert chosen["job-finished"] == {"page": True, "email": False, "webhook": False}


def test_the_api_gives_the_secret_of_a_webhook_once(world: World) -> None:
    api = client(world.owner)
    made = api.put("/api/v1/notifications/webhook", {"url": "https://hooks.example/x"}, format="json")
    secret = made.json()["secret"]
    assert len(secret) > 30
    assert made.headers["Cache-Control"] == "no-store"
    again = api.get("/api/v1/notifications/webhook")
    assert set(again.json()) == {"url", "created_at"}
    assert secret not in str(list(AuditEvent.objects.values_list("data", flat=True)))
    assert api.delete("/api/v1/notifications/webhook").status_code == 204
    assert api.get("/api/v1/notifications/webhook").status_code == 404


def test_deliveries_are_listed_to_their_person_only(world: World) -> None:
    with_mail(world.owner)
    notifications.tell(world.owner, Kind.DEVICE_LOST, "Gone", fact="1")
    sent = client(world.owner).get("/api/v1/notifications/deliveries").json()["results"]
    assert [(one["title"], one["way"], one["state"]) for one in sent] == [("Gone", "email", "on its way")]
    assert client(world.admin).get("/api/v1/notifications/deliveries").json()["results"] == []
