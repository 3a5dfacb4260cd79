"""The form of a schedule in a real browser, and its pages on a phone."""

from collections.abc import Callable

import pytest

from fl_server.models import Schedule
from fl_server.services import schedules
from tests.pages.demo import Demo
from tests.pages.test_browser import SCREENS, shoot
from tests.pages.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.services]

Visit = Callable[..., Visitor]


def test_a_researcher_schedules_a_job_and_sees_its_next_runs_beforehand(demo: Demo, visit: Visit) -> None:
    job = demo.job
    page = visit(demo.researcher, timezone_id="Europe/Berlin").open(f"/jobs/{job.pk}/")
    page.get_by_role("link", name="Schedule this job").click()
    assert page.get_by_label("Time zone").input_value() == "Europe/Berlin"
    assert not page.locator("[name=at]").is_visible()
    page.get_by_label("Cron expression").fill("30 25 * * *")
    page.get_by_text("'25' for its hour").wait_for()
    page.get_by_label("Cron expression").fill("30 2 * * mon-fri")
    page.get_by_text("At 02:30, Monday through Friday (Europe/Berlin). The next 5 runs:").wait_for()
    page.get_by_label("Runs").select_option("once")
    assert page.locator("[name=at]").is_visible()
    assert not page.get_by_label("Cron expression").is_visible()
    page.get_by_label("Runs").select_option("cron")
    page.get_by_role("button", name="Create schedule").click()
    page.get_by_role("heading", name="Next runs").wait_for()
    made = Schedule.objects.get()
    assert (made.cron, made.timezone, made.spec) == ("30 2 * * mon-fri", "Europe/Berlin", job.spec)


@pytest.mark.parametrize("screen", SCREENS)
def test_the_pages_of_schedules_fit_the_screen(demo: Demo, visit: Visit, screen: str) -> None:
    made = schedules.create(
        demo.researcher, name="Clothes by night", spec=demo.job.spec, kind="cron", cron="30 2 * * mon-fri"
    )
    schedules.run_now(made, demo.researcher)
    visitor = visit(demo.researcher, **SCREENS[screen])
    pages = {
        "list": "",
        "choose": "new/",
        "new": f"new/?job={demo.job.pk}",
        "one": f"{made.pk}/",
        "edit": f"{made.pk}/edit/",
    }
    for name, path in pages.items():
        page = visitor.open(f"/schedules/{path}", live=False)
        page.wait_for_load_state("networkidle")
        shoot(visitor, f"schedules-{name}-{screen}")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} px too wide"
