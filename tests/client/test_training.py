import numpy as np
import pytest
import torch

from fl_client import assignment as assignments
from fl_client import models, weights
from fl_client.errors import AssignmentError, Cancelled, Diverged, NotPrepared, WeightsError
from fl_client.fit import Watch
from fl_client.judging import evaluate
from fl_client.training import Trainer
from tests.client.assignments import assignment

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def trainer(**changes):
    made = Trainer(assignments.read(assignment(**changes)), CPU)
    made.prepare()
    return made


def start(name="2nn", **options):
    return models.initial_weights(name, options, seed=42)


def distance(one, other):
    return np.sqrt(sum(float(((one[name] - other[name]) ** 2).sum()) for name in one))


def test_training_makes_the_model_better_on_data_it_has_not_seen():
    before = evaluate("2nn", {}, start(), "fashion-mnist", {"source": "sample"}, device=CPU)
    result = trainer(training={"epochs": 3, "learning_rate": 0.1}).train(1, start(), {})
    after = evaluate("2nn", {}, result.arrays, "fashion-mnist", {"source": "sample"}, device=CPU)
    assert result.examples == 400
    assert before["examples"] == after["examples"] == 2000
    assert after["loss"] < before["loss"] - 0.5
    assert after["accuracy"] > 0.45


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_optimiser_lowers_the_loss(optimizer):
    made = trainer(
        training={"optimizer": optimizer, "learning_rate": 0.005, "momentum": 0.5, "weight_decay": 1e-4}
    )
    first = made.train(1, start(), {})
    second = made.train(2, first.arrays, {})
    assert second.metrics["train-loss"] < first.metrics["train-loss"]
    assert set(second.metrics) == {"train-loss", "train-accuracy", "seconds"}


def test_the_same_seed_round_and_partition_give_the_same_bytes_in_any_process_state():
    first = trainer().train(3, start(), {})
    torch.rand(5)
    again = trainer().train(3, start(), {})
    assert weights.pack(first.arrays) == weights.pack(again.arrays)


def test_a_trainer_keeps_nothing_from_one_round_to_the_next():
    made = trainer(training={"optimizer": "adam", "learning_rate": 0.001})
    fresh = made.train(2, start(), {})
    made.train(1, start(), {})
    assert weights.pack(made.train(2, start(), {}).arrays) == weights.pack(fresh.arrays)


@pytest.mark.parametrize("changes", [{"seed": 43}, {"partition": {"index": 1}}])
def test_another_seed_or_partition_gives_another_result(changes):
    first, other = trainer().train(1, start(), {}), trainer(**changes).train(1, start(), {})
    assert weights.pack(first.arrays) != weights.pack(other.arrays)


def test_another_round_sees_the_rows_in_another_order():
    made = trainer()
    first, second = made.train(1, start(), {}), made.train(2, start(), {})
    assert weights.pack(first.arrays) != weights.pack(second.arrays)


def test_one_full_batch_is_one_step_of_plain_gradient_descent():
    made = trainer(training={"batch_size": 0})
    steps = []
    result = made.train(1, start(), {}, Watch(on_batch=lambda batch, batches: steps.append((batch, batches))))
    model = models.build("2nn", {}, 42)
    rows = made._prepared.training
    torch.nn.functional.cross_entropy(model(rows.inputs), rows.labels).backward()
    assert steps == [(1, 1)]
    for name, parameter in model.named_parameters():
        expected = (parameter - 0.05 * parameter.grad).detach().numpy()
        np.testing.assert_allclose(result.arrays[name], expected, atol=1e-6)


def test_a_mu_of_zero_is_exactly_fedavg():
    made = trainer()
    plain, zero = made.train(1, start(), {}), made.train(1, start(), {"proximal-mu": 0.0})
    assert weights.pack(plain.arrays) == weights.pack(zero.arrays)


def test_the_larger_mu_the_closer_the_result_stays_to_the_incoming_weights():
    made = trainer(training={"epochs": 2})
    distances = [
        distance(made.train(1, start(), {"proximal-mu": mu}).arrays, start()) for mu in (0.0, 0.1, 1.0, 10.0)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.5 * distances[0]


def test_the_proximal_term_is_the_gradient_of_half_mu_times_the_squared_distance():
    made = trainer(training={"batch_size": 200})
    result = made.train(1, start(), {"proximal-mu": 0.7})
    anchor, model = models.build("2nn", {}, 42), models.build("2nn", {}, 42)
    rows, order = made._prepared.training, batch_order(made)
    for batch in order.split(200):
        model.zero_grad()
        pairs = zip(model.parameters(), anchor.parameters(), strict=True)
        far = sum(((parameter - fixed.detach()) ** 2).sum() for parameter, fixed in pairs)
        loss = torch.nn.functional.cross_entropy(model(rows.inputs[batch]), rows.labels[batch])
        (loss + 0.7 / 2 * far).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.05 * parameter.grad
    for name, array in models.read_weights(model).items():
        np.testing.assert_allclose(result.arrays[name], array, atol=1e-6)


def batch_order(made, round_number=1):
    from fl_client.draws import Purpose, generator

    drawn = generator(made.assignment.seed, Purpose.ORDER, round_number, made.assignment.partition.index)
    return torch.from_numpy(drawn.permutation(len(made._prepared.training)))


def test_rows_kept_back_judge_the_incoming_model_and_are_not_trained_on():
    made = trainer(training={"holdout": 0.25})
    first = made.train(1, start(), {})
    second = made.train(2, first.arrays, {})
    assert first.examples == 300
    assert len(made._prepared.holdout) == 100
    assert second.metrics["eval-loss"] < first.metrics["eval-loss"]
    assert second.metrics["eval-accuracy"] > first.metrics["eval-accuracy"]


def test_the_rows_kept_back_are_the_same_in_every_process():
    one, other = trainer(training={"holdout": 0.1}), trainer(training={"holdout": 0.1})
    assert torch.equal(one._prepared.holdout.inputs, other._prepared.holdout.inputs)


def test_nudging_adds_a_thousandth_to_floats_and_needs_no_pass_over_the_data():
    made = trainer(
        model={"name": "payload", "options": {"parameters": 50, "tensors": 3}},
        training={"optimizer": "nudge"},
    )
    arrays = start("payload", parameters=50, tensors=3)
    result = made.train(1, arrays, {})
    assert result.examples == 400
    assert set(result.metrics) == {"seconds"}
    for name, array in arrays.items():
        assert result.arrays[name].dtype == np.float32
        np.testing.assert_allclose(result.arrays[name], array + 0.001, atol=1e-7)


def test_a_payload_can_be_trained_like_any_model():
    made = trainer(model={"name": "payload", "options": {"parameters": 50, "tensors": 3}})
    assert made.train(1, start("payload", parameters=50, tensors=3), {}).metrics["train-loss"] > 0


def test_progress_counts_the_batches_of_all_epochs():
    seen = []
    made = trainer(training={"epochs": 2, "batch_size": 150})
    made.train(1, start(), {}, Watch(on_batch=lambda batch, batches: seen.append((batch, batches))))
    assert seen == [(batch, 6) for batch in range(1, 7)]


def test_training_stops_at_the_next_batch_when_asked():
    seen = []
    watch = Watch(on_batch=lambda batch, _: seen.append(batch), should_stop=lambda: len(seen) == 3)
    with pytest.raises(Cancelled):
        trainer().train(1, start(), {}, watch)
    assert seen == [1, 2, 3]


def test_a_rate_that_is_far_too_high_is_reported_as_divergence():
    with pytest.raises(Diverged) as caught:
        trainer(training={"learning_rate": 1e6}).train(1, start(), {})
    assert caught.value.code == "diverged"


def test_a_last_step_that_leaves_no_number_is_divergence_although_the_loss_was_one():
    large = start()
    large["fc3.bias"] *= np.float32(1e30)
    with pytest.raises(Diverged, match="bias holds values"):
        trainer(training={"batch_size": 0, "learning_rate": 1e6, "weight_decay": 1e6}).train(1, large, {})


def test_weights_of_another_model_are_refused():
    with pytest.raises(WeightsError):
        trainer().train(1, start("lenet"), {})


def test_training_before_preparing_is_refused():
    with pytest.raises(NotPrepared):
        Trainer(assignments.read(assignment()), CPU).train(1, start(), {})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"training": {"epochs": 0}}, "training.epochs"),
        ({"training": {"optimizer": "lion"}}, "training.optimizer"),
        ({"training": {"warmup": 3}}, "training.warmup"),
        ({"partition": {"index": 20}}, "partition 20 of 20 does not exist"),
        ({"seed": -1}, "seed"),
    ],
)
def test_an_assignment_that_cannot_be_done_names_the_field(changes, complaint):
    with pytest.raises(AssignmentError, match=complaint):
        assignments.read(assignment(**changes))


def test_what_a_newer_server_adds_about_the_job_is_ignored():
    assert assignments.read({**assignment(), "colour": "blue"}).run == 12
