"""Who may open which page, and what the pages say and do."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from fl_server import urls
from fl_server.models import Device, EnrolmentCode, Policy, TrainingJob
from fl_server.services import devices, jobs
from fl_server.templatetags.constellation import TONES
from fl_server.views import jobs as job_views
from tests.pages.visitor import browser
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]

LOGIN, HOME, DEVICES = 302, 302, 302

# Route → method, then the status for: nobody logged in, outsider, owner, viewer, researcher, admin.
ACCESS: dict[str, tuple[str, int, int, int, int, int, int]] = {
    "home": ("get", LOGIN, 403, DEVICES, HOME, HOME, HOME),
    "login": ("get", 200, HOME, HOME, HOME, HOME, HOME),
    "logout": ("post", LOGIN, LOGIN, LOGIN, LOGIN, LOGIN, LOGIN),
    "jobs": ("get", LOGIN, 403, DEVICES, 200, 200, 200),
    "job-rows": ("get", LOGIN, 404, 404, 200, 200, 200),
    "job-new": ("get", LOGIN, 403, DEVICES, 403, 200, 200),
    "job-options": ("get", LOGIN, 404, 404, 404, 200, 200),
    "job-dry-run": ("post", LOGIN, 404, 404, 404, 200, 200),
    "job": ("get", LOGIN, 404, 404, 200, 200, 200),
    "job-head": ("get", LOGIN, 404, 404, 200, 200, 200),
    "job-board": ("get", LOGIN, 404, 404, 200, 200, 200),
    "job-history": ("get", LOGIN, 404, 404, 200, 200, 200),
    "job-series": ("get", LOGIN, 404, 404, 200, 200, 200),
    "job-timeline": ("get", LOGIN, 404, 404, 200, 200, 200),
    "job-submit": ("post", LOGIN, 404, 404, 403, 302, 302),
    "job-pause": ("post", LOGIN, 404, 404, 403, 302, 302),
    "job-resume": ("post", LOGIN, 404, 404, 403, 302, 302),
    "job-copy": ("post", LOGIN, 404, 404, 403, 302, 302),
    "job-rerun": ("post", LOGIN, 404, 404, 403, 302, 302),
    "job-cancel": ("post", LOGIN, 404, 404, 403, 302, 302),
    "schedules": ("get", LOGIN, 403, DEVICES, 200, 200, 200),
    "schedule-new": ("get", LOGIN, 403, DEVICES, 403, 200, 200),
    "schedule-preview": ("get", LOGIN, 404, 404, 404, 200, 200),
    "schedule": ("get", LOGIN, 404, 404, 200, 200, 200),
    "schedule-edit": ("get", LOGIN, 404, 404, 403, 200, 200),
    "schedule-pause": ("post", LOGIN, 404, 404, 403, 302, 302),
    "schedule-enable": ("post", LOGIN, 404, 404, 403, 302, 302),
    "schedule-run": ("post", LOGIN, 404, 404, 403, 302, 302),
    "schedule-remove": ("post", LOGIN, 404, 404, 403, 302, 302),
    "job-compare": ("get", LOGIN, 404, 404, 200, 200, 200),
    "checkpoint-pin": ("post", LOGIN, 404, 404, 403, 302, 302),
    "checkpoint-unpin": ("post", LOGIN, 404, 404, 403, 302, 302),
    "contributions": ("get", LOGIN, 403, 200, 200, 200, 200),
    "devices": ("get", LOGIN, 403, 200, 200, 200, 200),
    "device-cards": ("get", LOGIN, 404, 200, 200, 200, 200),
    "device": ("get", LOGIN, 404, 200, 200, 200, 200),
    "device-facts": ("get", LOGIN, 404, 200, 200, 200, 200),
    "device-approve": ("post", LOGIN, 404, 403, 403, 403, 302),
    "device-release": ("post", LOGIN, 404, 403, 403, 403, 302),
    "device-revoke": ("post", LOGIN, 404, 302, 403, 403, 302),
    "device-log": ("post", LOGIN, 404, 302, 403, 403, 302),
    "device-replace": ("post", LOGIN, 404, 404, 404, 404, 404),
    "notifications": ("get", LOGIN, 403, 200, 200, 200, 200),
    "notification-rows": ("get", LOGIN, 404, 200, 200, 200, 200),
    "notification-read": ("post", LOGIN, 404, 302, 302, 302, 302),
    "notification-open": ("post", LOGIN, 404, 404, 404, 404, 404),
    "notification-choices": ("get", LOGIN, 403, 200, 200, 200, 200),
    "webhook": ("post", LOGIN, 404, 400, 400, 400, 400),
    "webhook-test": ("post", LOGIN, 404, 404, 404, 404, 404),
    "webhook-remove": ("post", LOGIN, 404, 404, 404, 404, 404),
    "policy": ("get", LOGIN, 403, 200, 200, 200, 200),
    "policy-company": ("get", LOGIN, 403, DEVICES, 403, 403, 200),
    "policy-group-new": ("get", LOGIN, 403, DEVICES, 403, 403, 200),
    "policy-group": ("get", LOGIN, 404, 404, 404, 404, 200),
    "policy-group-remove": ("post", LOGIN, 404, 404, 404, 404, 302),
    "enrol": ("get", LOGIN, 403, 200, 403, 403, 200),
    "enrol-revoke": ("post", LOGIN, 404, 302, 404, 404, 302),
}
PEOPLE = ("", "outsider", "owner", "viewer", "researcher", "admin")


def address(name: str, world: World) -> str:
    kwargs: dict[str, dict[str, Any]] = {
        "job-options": {"part": "strategy"},
        "device-approve": {"pk": world.pending.pk},
        "enrol-revoke": {"pk": world.code.pk},
        "notification-open": {"pk": 4711},
        "checkpoint-pin": {"pk": world.checkpoint.pk},
        "checkpoint-unpin": {"pk": world.checkpoint.pk},
    }
    if (name.startswith("job-") and name not in ("job-rows", "job-new", "job-dry-run")) or name == "job":
        kwargs.setdefault(name, {"pk": world.running.pk})
    if (name.startswith("device-") and name != "device-cards") or name == "device":
        kwargs.setdefault(name, {"pk": world.training.pk})
    if name.startswith("schedule") and name not in ("schedules", "schedule-new", "schedule-preview"):
        kwargs[name] = {"pk": world.schedule.pk}
    if name in ("policy-group", "policy-group-remove"):
        policy, _ = Policy.objects.get_or_create(label_name="room", label_value="lab")
        kwargs[name] = {"pk": policy.pk}
    query = "?strategy.name=fedprox" if name == "job-options" else ""
    return reverse(name, kwargs=kwargs.get(name)) + query


def test_every_page_is_in_the_table() -> None:
    names = {pattern.name for pattern in urls.urlpatterns}
    assert len(names) > 10
    assert names == set(ACCESS)


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("name", ACCESS)
def test_a_page_answers_each_person_as_the_table_says(world: World, name: str, person: str) -> None:
    method, *expected = ACCESS[name]
    client = browser(world.people.get(person))
    answer = getattr(client, method)(address(name, world))
    assert answer.status_code == expected[PEOPLE.index(person)]
    if not person and name != "login":
        assert answer["Location"].startswith("/login/")


@pytest.mark.parametrize(
    "name",
    [
        *("job-submit", "job-pause", "job-resume", "job-copy", "job-rerun", "job-cancel"),
        *("device-approve", "device-revoke", "policy-group-remove", "enrol-revoke"),
    ],
)
def test_a_page_that_changes_something_refuses_get_and_a_missing_csrf_token(world: World, name: str) -> None:
    assert browser(world.admin).get(address(name, world)).status_code == 405
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(world.admin)
    assert careful.post(address(name, world)).status_code == 403


def test_an_owner_does_not_find_a_foreign_device_or_code(world: World) -> None:
    client = browser(world.owner)
    assert client.get(reverse("device", args=(world.foreign_device.pk,))).status_code == 404
    assert client.post(reverse("device-revoke", args=(world.foreign_device.pk,))).status_code == 404
    EnrolmentCode.objects.update(owner=world.admin)
    assert client.post(reverse("enrol-revoke", args=(world.code.pk,))).status_code == 404
    page = client.get(reverse("devices")).content.decode()
    assert world.training.name in page
    assert world.foreign_device.name not in page


def test_an_owner_lands_on_the_own_devices_and_an_outsider_is_told_why_nothing_shows(world: World) -> None:
    assert browser(world.owner).get("/")["Location"] == reverse("devices")
    assert browser(world.researcher).get("/")["Location"] == reverse("jobs")
    assert "No role yet" in browser(world.outsider).get("/jobs/").content.decode()


def test_a_long_history_says_how_much_of_it_shows_and_the_best_checkpoint_is_always_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_views, "ROUNDS_SHOWN", 1)
    job = world.running
    for number in (3, 4):
        job.checkpoints.create(run=job.runs.get(), round_number=number, size=1)
    page = browser(world.viewer).get(reverse("job-history", args=(job.pk,))).content.decode()
    assert "the newest 1 of 2" in page
    assert "the best and the newest of 3" in page
    assert reverse("api:job-rounds", args=(job.pk,)) in page
    assert reverse("api:job-checkpoints", args=(job.pk,)) in page
    shown = [int(number) for number in re.findall(r"Download<span[^>]*> round (\d+)", page)]
    assert shown == [world.checkpoint.round_number, 4]


def test_a_short_history_shows_all_of_it_and_says_nothing_of_it(world: World) -> None:
    page = browser(world.viewer).get(reverse("job-history", args=(world.running.pk,))).content.decode()
    assert "newest" not in page


def test_the_curves_travel_with_the_page_and_on_demand_and_not_with_every_round(world: World) -> None:
    client, pk = browser(world.viewer), world.running.pk
    assert "series-data" in client.get(reverse("job", args=(pk,))).content.decode()
    assert "series-data" not in client.get(reverse("job-history", args=(pk,))).content.decode()
    assert client.get(reverse("job-series", args=(pk,))).json()["rounds"] == [1, 2]


def test_guessing_passwords_is_slowed_down(world: World) -> None:
    client = Client(REMOTE_ADDR="198.51.100.7")
    attempt = {"username": "rosa", "password": "guess"}
    answers = [client.post(reverse("login"), attempt) for _ in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert "Too many attempts" in answers[-1].content.decode()


def test_every_page_forbids_inline_scripts_and_foreign_files(world: World) -> None:
    pages = [name for name, row in ACCESS.items() if row[0] == "get" and row[-1] == 200]
    assert len(pages) > 8
    client = browser(world.admin)
    for name in pages:
        answer = client.get(address(name, world))
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        text = answer.content.decode()
        assert not re.search(r"\son\w+=|\sstyle=|javascript:|https?://(?!www\.w3\.org)", text), name
        scripts = re.findall(r"<script(?![^>]*src=)[^>]*>", text)
        assert all('type="application/json"' in script for script in scripts), name


def test_the_static_files_that_the_pages_name_exist(world: World) -> None:
    client = browser(world.admin)
    found: set[str] = set()
    for name in ("jobs", "job", "job-new", "devices", "device", "enrol"):
        text = client.get(address(name, world)).content.decode()
        found |= set(re.findall(rf'(?:src|href)="{settings.STATIC_URL}([^"]+)"', text))
    assert {"unfold/js/htmx/htmx.js", "unfold/js/chart/chart.js"} <= found
    assert len(found) > 8
    assert [path for path in found if finders.find(path) is None] == []


def test_a_running_job_shows_rounds_devices_and_its_best_checkpoint(world: World) -> None:
    page = browser(world.viewer).get(reverse("job", args=(world.running.pk,))).content.decode()
    assert "2 of 5 rounds" in page
    assert "61.0 %" in page
    assert world.training.name in page
    assert ">best<" in page
    assert "Cancel job" not in page
    assert (
        "Cancel job"
        in browser(world.researcher).get(reverse("job", args=(world.running.pk,))).content.decode()
    )


def test_a_checkpoint_downloads_with_the_session_of_the_page(world: World) -> None:
    link = reverse("api:checkpoint-download", args=(world.checkpoint.pk,))
    page = browser(world.viewer).get(reverse("job", args=(world.running.pk,))).content.decode()
    assert f'href="{link}"' in page
    answer = browser(world.viewer).get(link)
    assert len(b"".join(answer.streaming_content)) == world.checkpoint.size
    assert browser(world.owner).get(link).status_code == 404


def test_a_waiting_job_says_what_it_waits_for(world: World) -> None:
    waiting = {
        "sentence": "Waits for devices: 2 needed, 0 fit now.",
        "unfit": {"otto-desk": "works on another run"},
        "unfit_more": 0,
    }
    jobs.explain_waiting(world.foreign, waiting)
    page = browser(world.viewer).get(reverse("job", args=(world.foreign.pk,))).content.decode()
    assert "2 needed, 0 fit now." in page
    assert "works on another run" in page


def test_before_the_first_round_the_board_shows_who_gets_ready_and_who_cannot(world: World) -> None:
    run = world.running.runs.get()
    run.participations.all().delete()
    page = reverse("job-board", args=(world.running.pk,))
    assert ">reserved<" in browser(world.viewer).get(page).content.decode()
    run.reservations.update(ready_at=timezone.now())
    assert ">ready<" in browser(world.viewer).get(page).content.decode()
    run.reservations.update(problem="data-missing: There is no such folder.")
    text = browser(world.viewer).get(page).content.decode()
    assert ">failed<" in text
    assert "There is no such folder." in text


def test_a_name_with_markup_in_it_is_shown_as_text(world: World) -> None:
    TrainingJob.objects.filter(pk=world.running.pk).update(name="<script>alert(1)</script>")
    Device.objects.filter(pk=world.training.pk).update(name="<img src=x onerror=alert(1)>")
    for name in ("jobs", "job", "devices", "device"):
        page = browser(world.admin).get(address(name, world)).content.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_cancelling_a_finished_job_says_why_not(world: World) -> None:
    jobs.cancel(world.draft, world.researcher)
    answer = browser(world.researcher).post(reverse("job-cancel", args=(world.draft.pk,)), follow=True)
    assert "cannot become cancelled" in answer.content.decode()


def test_approving_and_revoking_from_the_page_goes_through_the_services(world: World) -> None:
    client = browser(world.admin)
    client.post(reverse("device-approve", args=(world.pending.pk,)))
    world.pending.refresh_from_db()
    assert world.pending.status == Device.Status.APPROVED
    client.post(reverse("device-revoke", args=(world.pending.pk,)))
    world.pending.refresh_from_db()
    assert world.pending.status == Device.Status.REVOKED


def test_a_silent_device_is_stale_and_a_paused_one_says_why(world: World) -> None:
    long_ago = timezone.now() - timedelta(seconds=settings.STALE_AFTER + 5)
    Device.objects.filter(pk=world.training.pk).update(last_seen=long_ago)
    Device.objects.filter(pk=world.foreign_device.pk).update(
        last_seen=timezone.now(), may_train=False, decision_codes=["in-use"], decision_reason="you read news"
    )
    page = browser(world.viewer).get(reverse("devices")).content.decode()
    assert f'data-device="{world.training.pk}" data-presence="stale"' in page
    assert "It is being used." in page
    assert "you read news" not in page
    page = browser(world.foreign_device.owner).get(reverse("devices")).content.decode()
    assert "You read news." in page


def test_a_new_code_is_shown_once(world: World) -> None:
    client = browser(world.owner)
    data = {"label": "New laptop", "owner": world.owner.pk, "max_uses": 1, "valid_days": 7}
    page = client.post(reverse("enrol"), data).content.decode()
    text = re.search(r"constellation enrol (C1-[\w-]+)", page)
    assert text
    assert "constellation run" in page
    assert text[1] not in client.get(reverse("enrol")).content.decode()
    assert EnrolmentCode.objects.get(label="New laptop").approves is False


@pytest.mark.parametrize("changes", [{"max_uses": 50}, {"owner": "999999"}, {"label": ""}])
def test_an_owner_cannot_make_a_code_beyond_the_own_machines(world: World, changes: dict[str, Any]) -> None:
    data = {"label": "New laptop", "owner": world.owner.pk, "max_uses": 1, "valid_days": 7, **changes}
    assert browser(world.owner).post(reverse("enrol"), data).status_code == 400
    assert not EnrolmentCode.objects.filter(label="New laptop").exists()


def test_the_list_of_jobs_costs_the_same_queries_however_many_there_are(
    world: World, django_assert_max_num_queries: Any
) -> None:
    client = browser(world.viewer)
    for n in range(20):
        jobs.create(world.researcher, f"Job {n}", world.running.spec)
    with django_assert_max_num_queries(12):
        client.get(reverse("jobs"))


def test_the_fleet_costs_the_same_queries_however_many_devices_there_are(
    world: World, django_assert_max_num_queries: Any
) -> None:
    client = browser(world.viewer)
    for n in range(20):
        Device.objects.create(owner=world.owner, name=f"d{n}", identity_key=f"i{n}", node_key=f"n{n}")
    devices.approve(Device.objects.get(name="d1"), world.admin)
    with django_assert_max_num_queries(12):
        client.get(reverse("devices"))


def test_the_script_and_the_server_give_a_status_the_same_tone() -> None:
    path = finders.find("constellation/js/tones.js")
    assert path
    with open(path, encoding="utf-8") as script:
        table = re.search(r"TONES = (\{.*?\n\});", script.read(), re.DOTALL)
    assert table
    in_script = {name: set(statuses) for name, statuses in json.loads(table[1]).items()}
    assert in_script == TONES
