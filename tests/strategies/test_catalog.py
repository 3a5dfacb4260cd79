import json
import subprocess
import sys

import pytest

from strategies import catalog
from strategies.exceptions import InvalidOptions, UnknownStrategy

NAMES = ["fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedadagrad"]
FLOWER = {
    "fedavg": "FedAvg",
    "fedprox": "FedProx",
    "fedavgm": "FedAvgM",
    "fedadam": "FedAdam",
    "fedyogi": "FedYogi",
    "fedadagrad": "FedAdagrad",
}


def test_the_catalogue_has_the_six_strategies():
    assert list(catalog.STRATEGIES) == NAMES


def test_importing_the_catalogue_loads_no_heavy_library():
    code = (
        "import sys, strategies.catalog; print([m for m in ('flwr', 'numpy', 'torch') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_defaults_build_flowers_own_class_for_every_planned_node(name):
    strategy = catalog.build(name, {})
    assert type(strategy).__name__ == FLOWER[name]
    assert type(strategy).__module__.startswith("flwr.")
    assert (strategy.fraction_train, strategy.fraction_evaluate) == (1.0, 0.0)
    assert (strategy.min_train_nodes, strategy.min_available_nodes) == (1, 1)
    assert strategy.weighted_by_key == "num-examples"


def test_options_reach_flowers_class():
    assert catalog.build("fedprox", {"mu": 0.3}).proximal_mu == 0.3
    momentum = catalog.build("fedavgm", {"server_learning_rate": 0.5, "server_momentum": 0.8})
    assert (momentum.server_learning_rate, momentum.server_momentum) == (0.5, 0.8)
    adaptive = {"eta": 0.2, "beta_1": 0.7, "beta_2": 0.8, "tau": 0.01}
    for name in ("fedadam", "fedyogi"):
        strategy = catalog.build(name, adaptive)
        assert {key: getattr(strategy, key) for key in adaptive} == adaptive
    adagrad = catalog.build("fedadagrad", {"eta": 0.2, "tau": 0.01})
    assert (adagrad.eta, adagrad.tau) == (0.2, 0.01)


def test_an_unknown_name_is_refused_with_the_allowed_ones():
    with pytest.raises(UnknownStrategy, match=r"fedsgd.*fedavg, fedprox"):
        catalog.get("fedsgd")


@pytest.mark.parametrize(
    ("name", "options", "option"),
    [
        ("fedavg", {"mu": 0.1}, "mu"),
        ("fedprox", {"mu": -0.1}, "mu"),
        ("fedprox", {"mu": float("nan")}, "mu"),
        ("fedavgm", {"server_momentum": 1.0}, "server_momentum"),
        ("fedavgm", {"server_learning_rate": 0.0}, "server_learning_rate"),
        ("fedadam", {"beta_1": 1.0}, "beta_1"),
        ("fedyogi", {"tau": 0.0}, "tau"),
        ("fedadagrad", {"beta_1": 0.5}, "beta_1"),
    ],
)
def test_options_outside_their_ranges_are_refused_by_name(name, options, option):
    with pytest.raises(InvalidOptions, match=option) as caught:
        catalog.validate(name, options)
    assert [problem[0] for problem in caught.value.problems] == [option]


def test_options_cannot_be_changed_once_made():
    options = catalog.validate("fedprox", {"mu": 0.1})
    with pytest.raises(ValueError, match="frozen"):
        options.mu = 5.0


def test_the_description_is_json_with_a_sentence_and_a_default_for_every_option():
    described = json.loads(json.dumps(catalog.describe()))
    assert [entry["name"] for entry in described] == NAMES
    properties = [option for entry in described for option in entry["options"]["properties"].values()]
    assert len(properties) == 13
    assert all(option["description"] and "default" in option for option in properties)
