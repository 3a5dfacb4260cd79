"""A job's specification: what a researcher writes, validated and versioned, as JSON and in the database."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fl_client import catalogue
from fl_client.assignment import Training
from fl_client.errors import ClientError
from fl_server import faults
from fl_server.exceptions import InvalidSpec
from strategies import catalog as strategies_catalog

VERSION: Final = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Choice(_Part):
    """One entry of a catalogue with its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class Partition(_Part):
    """How the rows of a public dataset are dealt to the devices."""

    scheme: str = "iid"
    options: dict[str, Any] = Field(default_factory=dict)
    count: int | None = Field(
        None, ge=1, le=100_000, description="Partitions to cut; empty means as many as devices take part."
    )


class Participation(_Part):
    """How many devices a run takes and how long a round waits for them."""

    min_devices: int = Field(1, ge=1, le=10_000, description="The job waits until so many devices fit.")
    max_devices: int = Field(10, ge=1, le=10_000, description="No more than so many are taken.")
    quorum: int | None = Field(
        None, ge=1, description="Answers that close a round after the grace period; empty means every device."
    )
    grace_seconds: float = Field(
        2.0, ge=0, le=3600, description="Waits so long for the rest once the quorum is there."
    )
    round_deadline_seconds: float = Field(600.0, ge=1, le=86_400, description="A round never lasts longer.")

    @model_validator(mode="after")
    def bounds_are_in_order(self) -> Self:
        if self.max_devices < self.min_devices:
            raise ValueError(
                f"max_devices is {self.max_devices}; it must be at least min_devices, {self.min_devices}"
            )
        if self.quorum is not None and self.quorum > self.min_devices:
            raise ValueError(f"quorum is {self.quorum}; it may be at most min_devices, {self.min_devices}")
        return self


class Requirements(_Part):
    """What a device must have to be considered."""

    gpu: bool = Field(False, description="Only devices with a GPU.")
    min_ram_gb: float = Field(0.0, ge=0, le=10_000, description="Installed memory, in GB (10^9 bytes).")
    min_cores: int = Field(0, ge=0, le=1024)
    labels: dict[str, str] = Field(default_factory=dict, description="Labels that the device must carry.")


class Metric(_Part):
    """The number that decides which checkpoint is best. Its direction is never guessed."""

    name: Literal["accuracy", "loss"]
    direction: Literal["maximize", "minimize"]


class JobSpec(_Part):
    version: Literal[1] = VERSION
    model: Choice
    dataset: Choice
    partition: Partition = Partition()
    strategy: Choice = Choice(name="fedavg")
    rounds: int = Field(10, ge=1, le=100_000)
    training: Training = Training()
    participation: Participation = Participation()
    requirements: Requirements = Requirements()
    evaluation: Literal["every-round", "last-round", "off"] = Field(
        "every-round",
        description="When the server tests the model on the dataset's test split. While other jobs run too, "
        "a round is passed over once a newer one of the same job waits; the last round is always tested.",
    )
    metric: Metric
    priority: int = Field(0, ge=-100, le=100)
    seed: int = Field(0, ge=0, lt=2**53)

    @field_validator("model")
    @classmethod
    def model_is_known(cls, value: Choice) -> Choice:
        return _known(catalogue.MODELS, value)

    @field_validator("dataset")
    @classmethod
    def dataset_is_known(cls, value: Choice) -> Choice:
        return _known(catalogue.DATASETS, value)

    @field_validator("partition")
    @classmethod
    def partition_is_known(cls, value: Partition) -> Partition:
        chosen = _known(catalogue.PARTITIONS, Choice(name=value.scheme, options=value.options))
        return value.model_copy(update={"options": chosen.options})

    @field_validator("strategy")
    @classmethod
    def strategy_is_known(cls, value: Choice) -> Choice:
        entry = strategies_catalog.STRATEGIES.get(value.name)
        if entry is None:
            raise ValueError(
                f"there is no strategy {value.name!r}; allowed are {_names(strategies_catalog.STRATEGIES)}"
            )
        return Choice(name=value.name, options=entry.options.model_validate(value.options).model_dump())

    @model_validator(mode="after")
    def partitions_suffice(self) -> Self:
        count = self.partition.count
        if count is not None and count < self.participation.max_devices:
            raise ValueError(
                f"partition.count is {count}; it must be at least participation.max_devices, "
                f"{self.participation.max_devices}"
            )
        return self


def _names(table: Mapping[str, Any]) -> str:
    return ", ".join(sorted(table))


def _known(table: Mapping[str, catalogue.Entry], value: Choice) -> Choice:
    """The choice with its options filled in; raises ValueError naming what is allowed."""
    if value.name not in table:
        raise ValueError(f"there is no {value.name!r}; allowed are {_names(table)}")
    try:
        options = table[value.name].parse(value.options)
    except ClientError as exc:
        raise ValueError(str(exc)) from exc
    return Choice(name=value.name, options=options.model_dump())


def parse(data: Any) -> JobSpec:
    """Read a specification; raises InvalidSpec with one entry for each fault: field, message, value."""
    try:
        return JobSpec.model_validate(data)
    except ValidationError as exc:
        raise InvalidSpec(faults.of(exc, "spec")) from exc
