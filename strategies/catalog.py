"""The strategies a job may name. Importing this module loads neither Flower nor numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from strategies import options
from strategies.exceptions import InvalidOptions, UnknownStrategy

if TYPE_CHECKING:
    from flwr.serverapp.strategy import Strategy


@dataclass(frozen=True)
class StrategyEntry:
    name: str
    label: str
    summary: str
    options: type[options.Options]
    builder: str


_ENTRIES = (
    StrategyEntry(
        "fedavg",
        "FedAvg",
        "The mean of the devices' models, weighted by the rows each one trained on.",
        options.FedAvgOptions,
        "strategies.fedavg.build",
    ),
    StrategyEntry(
        "fedprox",
        "FedProx",
        "FedAvg whose devices are held near the global model, for data that differs between devices.",
        options.FedProxOptions,
        "strategies.fedprox.build",
    ),
    StrategyEntry(
        "fedavgm",
        "FedAvgM",
        "FedAvg with momentum on the server, which damps rounds that pull in opposite directions.",
        options.FedAvgMOptions,
        "strategies.fedavgm.build",
    ),
    StrategyEntry(
        "fedadam",
        "FedAdam",
        "Adam on the server: each parameter gets its own step from the history of its updates.",
        options.FedAdamOptions,
        "strategies.fedadam.build",
    ),
    StrategyEntry(
        "fedyogi",
        "FedYogi",
        "Like FedAdam, with steps that grow back more slowly after a run of large updates.",
        options.FedYogiOptions,
        "strategies.fedyogi.build",
    ),
    StrategyEntry(
        "fedadagrad",
        "FedAdagrad",
        "Adagrad on the server: steps shrink for parameters that have already moved far.",
        options.FedAdagradOptions,
        "strategies.fedadagrad.build",
    ),
)

STRATEGIES: dict[str, StrategyEntry] = {entry.name: entry for entry in _ENTRIES}


def get(name: str) -> StrategyEntry:
    try:
        return STRATEGIES[name]
    except KeyError:
        raise UnknownStrategy(name, list(STRATEGIES)) from None


def validate(name: str, values: Mapping[str, Any]) -> options.Options:
    """The options as a frozen model, or InvalidOptions with a sentence for each one that is wrong."""
    entry = get(name)
    try:
        return entry.options.model_validate(dict(values))
    except ValidationError as error:
        problems = [(".".join(map(str, item["loc"])), item["msg"]) for item in error.errors()]
        raise InvalidOptions(name, problems) from error


def build(name: str, values: Mapping[str, Any]) -> Strategy:
    """Flower's strategy, configured. Flower and numpy are imported here, not before."""
    valid = validate(name, values)
    module, _, function = get(name).builder.rpartition(".")
    strategy: Strategy = getattr(import_module(module), function)(valid)
    return strategy


def describe() -> list[dict[str, Any]]:
    """The catalogue as JSON, for the API and the job form."""
    return [
        {
            "name": entry.name,
            "label": entry.label,
            "summary": entry.summary,
            "options": entry.options.model_json_schema(),
        }
        for entry in STRATEGIES.values()
    ]
