import math

import numpy as np
import pytest

from strategies import norms
from strategies.norms import ENOUGH, ROUNDS, NormWatch, PastNorm, update_norm
from tests.strategies.world import NODES, Grid, answers, federated, model, start


def usual(count=ENOUGH, norm=1.0):
    return [PastNorm(round, norm) for round in range(1, count + 1)]


def moved(arrays, by):
    """The model with one weight farther off."""
    changed = {name: array.copy() for name, array in arrays.items()}
    changed["zeta.weight"][0, 0] += by
    return changed


def test_the_norm_is_that_of_all_floating_tensors_together(monkeypatch):
    monkeypatch.setattr(norms, "BLOCK", 5)
    before, after = model(1), model(2)
    floats = [name for name in before if before[name].dtype.kind == "f"]
    flat = [(after[n].astype(np.float64) - before[n].astype(np.float64)).reshape(-1) for n in floats]
    assert len(floats) == 3
    assert update_norm(before, after) == pytest.approx(float(np.linalg.norm(np.concatenate(flat))))


def test_a_norm_beyond_the_range_of_float32_is_still_a_number():
    huge = {"a": np.full(4, 3e38, np.float32)}
    assert update_norm({"a": -huge["a"]}, huge) == pytest.approx(1.2e39, rel=1e-6)


def test_a_long_update_is_said_to_be_long_with_its_numbers():
    said = NormWatch("warn", 5.0, usual()).judge(6, 7.5)
    assert said == "the update has norm 7.5, 7.5 times the median 1 of 5 updates; allowed is 5 times"
    assert NormWatch("warn", 5.0, usual()).judge(6, 5.0) == ""


def test_too_few_norms_judge_nobody():
    assert NormWatch("reject", 2.0, usual(ENOUGH - 1)).judge(6, 1e9) == ""


def test_only_earlier_and_recent_rounds_judge():
    watch = NormWatch("reject", 2.0, [PastNorm(round, 100.0) for round in range(1, 21)])
    assert watch.judge(21, 150.0) == ""
    for round in range(21, 21 + ROUNDS):
        watch.accept(round, 1.0)
    assert "the median 1 of 10 updates" in watch.judge(21 + ROUNDS, 150.0)


def test_updates_that_never_moved_make_any_movement_stand_out():
    assert "beyond any multiple" in NormWatch("warn", 2.0, usual(norm=0.0)).judge(6, 0.1)
    assert NormWatch("warn", 2.0, usual(norm=0.0)).judge(6, 0.0) == ""


def run_round(action, past):
    """Node 13 sends a far longer update than the others."""
    outcomes = []
    sent = {node: moved(model(), 1.0) for node in NODES} | {13: moved(model(), 50.0)}
    watch = NormWatch(action, 5.0, past)
    result = start(
        federated(on_reply=outcomes.append, first_round=6, watch=watch), Grid(NODES, answers(sent)), model()
    )
    return outcomes, result


def test_a_rejected_update_does_not_enter_the_model():
    outcomes, result = run_round("reject", usual())
    assert [o.code for o in outcomes] == [None, None, "norm", None]
    assert outcomes[0].norm == pytest.approx(1.0, rel=1e-5)
    assert "50 times the median 1" in outcomes[2].message
    assert result["zeta.weight"][0, 0] - model()["zeta.weight"][0, 0] == pytest.approx(1.0, rel=1e-5)


def test_a_warning_lets_the_update_in_and_says_so():
    outcomes, result = run_round("warn", usual())
    assert [(o.accepted, bool(o.warning)) for o in outcomes] == [
        (True, False),
        (True, False),
        (True, True),
        (True, False),
    ]
    assert math.isclose(outcomes[2].norm, 50.0, rel_tol=1e-5)
    assert result["zeta.weight"][0, 0] - model()["zeta.weight"][0, 0] > 10


def test_off_measures_nothing():
    outcomes, _ = run_round("off", usual())
    assert [(o.norm, o.warning, o.code) for o in outcomes] == [(None, "", None)] * 4


def test_replies_of_one_round_do_not_judge_each_other():
    outcomes, _ = run_round("reject", usual(ENOUGH - 1))
    assert [o.code for o in outcomes] == [None] * 4
