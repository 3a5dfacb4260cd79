"""What a person sees: pages that change by themselves, on any screen, in both themes."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fl_server.models import Device, TrainingJob
from fl_server.services import jobs
from tests.pages import demo as steps
from tests.pages.demo import Demo
from tests.pages.served import served
from tests.pages.visitor import Visitor

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = [pytest.mark.browser, pytest.mark.services]

Visit = Callable[..., Visitor]
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
SCREENS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light"},
    "phone-dark": {**PHONE, "color_scheme": "dark"},
}


def shoot(visitor: Visitor, name: str) -> None:
    """Keep a picture where CONSTELLATION_SHOTS names a folder."""
    folder = os.environ.get("CONSTELLATION_SHOTS")
    if folder:
        visitor.page.wait_for_timeout(500)
        visitor.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def job_page(demo: Demo) -> str:
    return f"/jobs/{demo.job.pk}/"


def points(visitor: Visitor, chart: str, line: int = 0) -> list[int]:
    script = f"Chart.getChart('{chart}').data.datasets[{line}].data.map((point) => point.x)"
    found: list[int] = visitor.page.evaluate(script)
    return found


def wait_for_point(visitor: Visitor, number: int) -> None:
    until = time.monotonic() + 5
    while number not in points(visitor, "accuracy-chart"):
        assert time.monotonic() < until, f"round {number} is not on the chart"
        visitor.page.wait_for_timeout(20)


@pytest.mark.parametrize("screen", SCREENS)
def test_every_page_fits_the_screen(demo: Demo, visit: Visit, screen: str) -> None:
    visitor = visit(demo.admin, **SCREENS[screen])
    device = demo.devices[0].pk
    pages = {
        "jobs": ("/jobs/", True),
        "job": (job_page(demo), True),
        "job-waiting": (f"/jobs/{TrainingJob.objects.get(status='queued').pk}/", True),
        "job-new": ("/jobs/new/", False),
        "devices": ("/devices/", True),
        "device": (f"/devices/{device}/", True),
        "policy": ("/policy/", False),
        "policy-company": ("/policy/company/", False),
        "policy-group-new": ("/policy/groups/new/", False),
        "enrol": ("/enrol/", False),
        "missing": ("/devices/00000000-0000-0000-0000-000000000000/", False),
    }
    demo.middle_of_round(9)
    demo.rules(demo.devices[0])
    for name, (path, live) in pages.items():
        visitor.open(path, live=live)
        wide = visitor.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        shoot(visitor, f"{name}-{screen}")
        assert wide <= 0, f"{name} is {wide} px too wide"
    visitor.complaints = [said for said in visitor.complaints if "404" not in said]


def test_the_names_of_a_devices_jobs_can_be_read_on_a_phone(demo: Demo, visit: Visit) -> None:
    visitor = visit(demo.admin, viewport={"width": 390, "height": 844})
    page = visitor.open(f"/devices/{demo.devices[0].pk}/")
    name = page.locator("#device-work td a.name").first.bounding_box()
    assert name is not None
    assert name["width"] >= 90


def test_a_person_logs_in_and_out(demo: Demo, visit: Visit) -> None:
    visitor = visit(viewport={"width": 1280, "height": 860})
    page = visitor.open("/jobs/", live=False)
    shoot(visitor, "login-light")
    page.get_by_label("User name").fill("rosa")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("correct username")
    page.get_by_label("Password").fill(steps.PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    assert urlsplit(page.url).path == "/jobs/"
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Welcome back")).to_be_visible()


def test_the_chosen_theme_stays(demo: Demo, visit: Visit) -> None:
    visitor = visit(demo.researcher, color_scheme="light")
    page = visitor.open("/jobs/")
    sky = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(sky)
    page.get_by_role("button", name="Dark theme").click()
    dark = page.evaluate(sky)
    assert dark != light
    visitor.open(job_page(demo))
    assert page.evaluate(sky) == dark
    assert page.evaluate("Chart.getChart('loss-chart').data.datasets[0].borderColor") == "#8fa8ff"
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(sky) == light
    assert page.evaluate("Chart.getChart('loss-chart').data.datasets[0].borderColor") == "#2f4fc4"


def test_rounds_draw_themselves_without_a_reload(demo: Demo, visit: Visit) -> None:
    visitor = visit(demo.researcher)
    page = visitor.open(job_page(demo))
    visitor.never_reloads()
    assert points(visitor, "accuracy-chart") == list(range(1, 9))
    for number in (9, 10):
        steps.commit(demo.run, number)
        wait_for_point(visitor, number)
    expect(page.locator("#job-facts")).to_contain_text("10 of 20 rounds")
    expect(page.locator("#round-10")).to_contain_text(f"{steps.accuracy(10) * 100:.1f} %")
    assert points(visitor, "loss-chart") == points(visitor, "loss-chart", 1) == list(range(1, 11))
    expect(page.locator("#history-checkpoints tbody tr").first).to_contain_text("best")
    assert not visitor.was_reloaded()


def test_the_board_follows_every_device_through_the_round(demo: Demo, visit: Visit) -> None:
    visitor = visit(demo.researcher)
    page = visitor.open(job_page(demo))
    visitor.never_reloads()
    one, two, three, *_ = demo.devices
    row = page.locator(f"#part-{one.pk}")
    expect(row.locator(".chip")).to_have_text("selected")
    demo.progress(9, one, "downloading")
    expect(row.locator(".chip")).to_have_text("downloading")
    for batch in range(1, 28):
        demo.progress(9, one, "training", batch)
    expect(row).to_contain_text("batch 27 of 27")
    expect(page.locator(f'#sky [data-device="{one.pk}"]')).to_have_attribute("data-tone", "busy")
    demo.settle(9, one, examples=840, seconds=2.1)
    expect(row).to_contain_text("840 rows in 2.1 s")
    demo.settle(9, two, "rejected", reason_code="shape", reason="Tensor fc.bias has shape (1,).")
    expect(page.locator(f"#part-{two.pk} .why")).to_have_text("Tensor fc.bias has shape (1,).")
    demo.progress(9, three, "training", 5)
    demo.open_round(10)
    expect(page.locator("#board-title")).to_have_text("Round 10")
    expect(row.locator(".chip")).to_have_text("selected")
    expect(page.locator("#sky .star")).to_have_count(5)
    assert not visitor.was_reloaded()


def test_a_job_that_ends_says_why_and_loses_its_cancel_button(demo: Demo, visit: Visit) -> None:
    visitor = visit(demo.researcher)
    page = visitor.open(job_page(demo))
    visitor.never_reloads()
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Cancel job").click()
    expect(page.locator("#job-title .chip")).to_have_text("running")
    jobs.cancel(TrainingJob.objects.get(pk=demo.job.pk), demo.admin)
    expect(page.locator("#job-title .chip")).to_have_text("cancelled")
    expect(page.locator("#job-title")).to_contain_text("Cancelled by ada.")
    expect(page.get_by_role("button", name="Cancel job")).to_have_count(0)
    assert not visitor.was_reloaded()


def test_the_list_of_jobs_changes_by_itself(demo: Demo, visit: Visit) -> None:
    visitor = visit(demo.researcher)
    page = visitor.open("/jobs/")
    visitor.never_reloads()
    steps.commit(demo.run, 9)
    expect(page.locator(f"#job-{demo.job.pk}")).to_contain_text("9 / 20")
    made = jobs.create(demo.researcher, "Brand new", demo.job.spec, submit=True)
    expect(page.locator(f"#job-{made.pk}")).to_contain_text("queued")
    expect(page.locator("#job-rows tr").first).to_contain_text("Brand new")
    assert not visitor.was_reloaded()


def test_a_researcher_makes_a_job_with_the_form(demo: Demo, visit: Visit) -> None:
    visitor = visit(demo.researcher, viewport={"width": 1280, "height": 860})
    page = visitor.open("/jobs/new/", live=False)
    page.get_by_label("Name", exact=True).fill("From the form")
    page.get_by_label("Strategy").select_option("fedprox")
    page.get_by_label("μ").fill("-3")
    expect(page.locator("#summary-strategy")).to_contain_text("held near the global model")
    page.get_by_role("button", name="Submit job").click()
    expect(page.get_by_role("alert")).to_contain_text("Not submitted yet")
    expect(page.locator(r"#id_strategy\.options\.mu_error")).to_contain_text(
        "It must be greater than or equal to 0"
    )
    shoot(visitor, "job-new-faults-light")
    page.get_by_label("μ").fill("0.3")
    page.get_by_label("Metric").select_option("accuracy")
    page.get_by_label("Direction").select_option("maximize")
    page.get_by_role("button", name="Submit job").click()
    expect(page.get_by_role("heading", name="From the form")).to_be_visible()
    made = TrainingJob.objects.get(name="From the form")
    assert made.spec["strategy"] == {"name": "fedprox", "options": {"mu": 0.3}}
    visitor.complaints = [said for said in visitor.complaints if "400" not in said]


def test_a_device_falls_silent_comes_back_and_pauses_before_ones_eyes(
    demo: Demo, visit: Visit, settings: Any
) -> None:
    settings.STALE_AFTER = 3
    visitor = visit(demo.admin)
    page = visitor.open("/devices/")
    visitor.never_reloads()
    device = Device.objects.get(name="lab-ws-01")
    chip = page.locator(f"#device-{device.pk} [data-chip]")
    demo.sample(device)
    expect(chip).to_have_text("training")
    expect(chip).to_have_text("stale", timeout=6000)
    demo.sample(device, cpu=63.0)
    expect(chip).to_have_text("training")
    expect(page.locator(f"#device-{device.pk} [data-cpu]")).to_have_text("63 %")
    demo.sample(device, allowed=False, reason="you are typing", code="in-use")
    expect(chip).to_have_text("paused")
    expect(page.locator(f"#device-{device.pk} [data-doing]")).to_have_text("It is being used.")
    demo.leave(device)
    expect(chip).to_have_text("offline")
    assert not visitor.was_reloaded()


def test_a_page_finds_its_way_back_after_the_server_was_away(demo: Demo, chromium: Any) -> None:
    with served() as address:
        visitor = Visitor(chromium, address, demo.researcher)
        page = visitor.open(job_page(demo))
        visitor.never_reloads()
    expect(page.locator("[data-link]")).to_have_attribute("data-state", "lost")
    steps.commit(demo.run, 9)
    with served(urlsplit(address).port or 0):
        expect(page.locator("#job-facts")).to_contain_text("9 of 20 rounds", timeout=15_000)
        wait_for_point(visitor, 9)
        assert points(visitor, "accuracy-chart") == list(range(1, 10))
        assert not visitor.was_reloaded()
        visitor.context.close()


def test_a_page_closes_when_its_reader_loses_the_role(demo: Demo, visit: Visit) -> None:
    visitor = visit(demo.researcher)
    page = visitor.open("/jobs/")
    demo.researcher.groups.clear()
    demo.recheck(demo.researcher)
    expect(page.get_by_role("heading", name="No role yet")).to_be_visible()
    # The page may ask for its rows a moment after the role is gone.
    visitor.complaints = [said for said in visitor.complaints if not {"403", "404"} & set(said.split())]


def test_an_owner_enrols_a_machine_and_sees_only_the_own_ones(demo: Demo, visit: Visit) -> None:
    visitor = visit(demo.owner, viewport={"width": 1280, "height": 860})
    page = visitor.open("/devices/")
    expect(page.locator("#fleet > li")).to_have_count(2)
    expect(page.get_by_role("link", name="Jobs")).to_have_count(0)
    page.get_by_role("link", name="Enrol a device").click()
    page.get_by_label("Label").fill("Otto's new laptop")
    page.get_by_role("button", name="Make code").click()
    expect(page.locator("#join-command")).to_have_text(re.compile(r"^constellation enrol C1-[\w-]+$"))
    shoot(visitor, "enrol-made-light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(demo: Demo, visit: Visit, scheme: str) -> None:
    page = visit(demo.researcher, color_scheme=scheme).open("/jobs/")
    pairs = [
        (text, ground)
        for text in ("--text", "--muted", "--accent", "--good", "--bad", "--star")
        for ground in ("--sky", "--surface", "--sunken")
    ]
    css = "(name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"
    colours = {name: page.evaluate(css, name) for pair in pairs for name in pair}
    weak = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two #rrggbb colours."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
