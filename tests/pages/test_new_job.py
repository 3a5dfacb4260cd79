"""The form for a new job: built from the catalogues, judged by the specification."""

import pytest
from django.urls import reverse

from fl_server.forms import JobForm
from fl_server.models import TrainingJob
from tests.pages.visitor import browser
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def form_data(**changes: str) -> dict[str, str]:
    """The new-job form as the page first shows it, with a name and the metric filled in."""
    form = JobForm()
    shown = {name: form[name].initial for name in form.fields}
    data = {name: str(value) for name, value in shown.items() if value not in (None, "", False)}
    return {
        **data,
        "title": "Night clothes",
        "metric.name": "accuracy",
        "metric.direction": "maximize",
        **changes,
    }


def test_the_form_as_it_is_shown_makes_a_queued_job(world: World) -> None:
    answer = browser(world.researcher).post(reverse("job-new"), form_data(rounds="3"))
    job = TrainingJob.objects.get(name="Night clothes")
    assert answer["Location"] == reverse("job", args=(job.pk,))
    assert (job.status, job.owner, job.spec["rounds"]) == ("queued", world.researcher, 3)
    assert job.spec["metric"] == {"name": "accuracy", "direction": "maximize"}


def test_sending_the_form_twice_makes_one_job(world: World) -> None:
    client, data = browser(world.researcher), form_data()
    first, second = client.post(reverse("job-new"), data), client.post(reverse("job-new"), data)
    assert first["Location"] == second["Location"]
    assert TrainingJob.objects.filter(name="Night clothes").count() == 1


def test_options_of_the_chosen_strategy_and_labels_reach_the_specification(world: World) -> None:
    data = form_data(
        **{
            "strategy.name": "fedprox",
            "strategy.options.mu": "0.5",
            "requirements.labels": "room=lab, floor=2",
        }
    )
    browser(world.researcher).post(reverse("job-new"), data)
    spec = TrainingJob.objects.get(name="Night clothes").spec
    assert spec["strategy"] == {"name": "fedprox", "options": {"mu": 0.5}}
    assert spec["requirements"]["labels"] == {"room": "lab", "floor": "2"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": ""}, "title"),
        ({"rounds": "0"}, "rounds"),
        ({"rounds": "many"}, "rounds"),
        ({"metric.direction": ""}, "metric.direction"),
        ({"training.momentum": "1"}, "training.momentum"),
        ({"participation.min_devices": "20"}, "participation.max_devices"),
        ({"partition.count": "2"}, "partition.count"),
        ({"strategy.name": "fedprox", "strategy.options.mu": "-1"}, "strategy.options.mu"),
        ({"strategy.name": "magic"}, "strategy.name"),
        ({"requirements.labels": "lab"}, "requirements.labels"),
    ],
)
def test_a_fault_stands_beside_its_field(world: World, changes: dict[str, str], field: str) -> None:
    before = TrainingJob.objects.count()
    answer = browser(world.researcher).post(reverse("job-new"), form_data(**changes))
    assert answer.status_code == 400
    assert f'id="id_{field}_error"' in answer.content.decode()
    assert TrainingJob.objects.count() == before


def test_choosing_a_strategy_brings_its_options(world: World) -> None:
    client = browser(world.researcher)
    page = client.get(reverse("job-options", args=("strategy",)) + "?strategy.name=fedprox").content.decode()
    assert 'name="strategy.options.mu"' in page
    assert 'id="summary-strategy"' in page
    assert client.get(reverse("job-options", args=("strategy",)) + "?strategy.name=magic").status_code == 404
    assert client.get(reverse("job-options", args=("magic",))).status_code == 404
