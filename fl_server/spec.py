"""A job's specification: what a researcher writes, validated and versioned, as JSON and in the database."""

from collections.abc import Mapping
from math import ceil
from typing import Any, Final, Literal, Self

from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fl_client import catalogue
from fl_client.assignment import Training
from fl_client.errors import ClientError
from fl_server import faults, labels
from fl_server.exceptions import InvalidInput, InvalidSpec
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
    target_devices: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="So many answers are wanted in a round; empty means of every device that takes part.",
    )
    over_selection: float = Field(
        0.0,
        ge=0,
        le=4,
        description="Asks so many more devices than wanted, as a share: 0.3 asks 13 for 10.",
    )
    quorum: int | None = Field(
        None,
        ge=1,
        description="Answers that close a round after the grace period; empty means those that are wanted.",
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
        target = self.target_devices
        if target is not None and not self.min_devices <= target <= self.max_devices:
            raise ValueError(
                f"target_devices is {target}; it must be from min_devices, {self.min_devices}, "
                f"to max_devices, {self.max_devices}"
            )
        if self.over_selection and target is None:
            raise ValueError("over_selection asks for more than target_devices, which is empty")
        return self

    @property
    def selected(self) -> int:
        """How many devices a run takes when enough fit."""
        if self.target_devices is None:
            return self.max_devices
        return min(self.max_devices, ceil(self.target_devices * (1 + self.over_selection)))


class Requirements(_Part):
    """What a device must have to be considered."""

    gpu: bool = Field(False, description="Only devices with a GPU.")
    min_gpu_memory_gb: float = Field(
        0.0, ge=0, le=10_000, description="Free memory on one of its GPUs, in GB (10^9 bytes)."
    )
    min_ram_gb: float = Field(0.0, ge=0, le=10_000, description="Installed memory, in GB (10^9 bytes).")
    memory_gb: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Free memory that training takes, in GB (10^9 bytes); empty means estimated.",
    )
    min_cores: int = Field(0, ge=0, le=1024)
    labels: dict[str, str] = Field(default_factory=dict, description="Labels that the device must carry.")
    platforms: tuple[Literal["linux", "macos", "windows"], ...] = Field(
        (), description="Operating systems; empty means any."
    )
    min_client_version: str = Field("", max_length=20, description="The oldest client that will do.")
    private_data: str = Field(
        "",
        pattern=r"^([a-z0-9][a-z0-9-]{0,39})?$",
        description="Only devices whose owner registered private data of this name.",
    )

    @field_validator("labels")
    @classmethod
    def labels_can_be_carried(cls, value: dict[str, str]) -> dict[str, str]:
        try:
            labels.check_all(value)
        except InvalidInput as exc:
            raise ValueError(exc.message) from exc
        return value

    @field_validator("min_client_version")
    @classmethod
    def version_can_be_compared(cls, value: str) -> str:
        if value:
            try:
                Version(value)
            except InvalidVersion as exc:
                raise ValueError(f"{value!r} is no version; one is for example 0.1.0") from exc
        return value


class Waiting(_Part):
    """How long a queued job waits for devices, and what then."""

    give_up_hours: float | None = Field(
        None, gt=0, le=8760, description="Waits so long for enough devices; empty means for ever."
    )
    then: Literal["fail", "start-smaller"] = Field(
        "fail", description="start-smaller: begins with the devices that fit, if there is one."
    )


class Stopping(_Part):
    """When a job ends before its last round."""

    target: float | None = Field(
        None, allow_inf_nan=False, description="Ends when the metric has reached this value."
    )
    patience: int | None = Field(
        None, ge=1, le=10_000, description="Ends after so many evaluated rounds without a better value."
    )
    min_delta: float = Field(0.0, ge=0, le=1e6, description="What counts as better by less does not count.")
    deadline_hours: float | None = Field(
        None, gt=0, le=8760, description="Fails when it is not done so long after its first start."
    )
    attempts: int = Field(
        5, ge=1, le=100, description="Runs in a row that may fail without a new round before the job fails."
    )


class UpdateCheck(_Part):
    """Whether an update much longer than the others enters the model (Euclidean norm against the median)."""

    action: Literal["off", "warn", "reject"] = "off"
    factor: float = Field(5.0, gt=1, le=1e6, description="Times the running median of accepted updates.")


class Checkpoints(_Part):
    """Which checkpoints stay on disk. The best, the pinned and the newest one always do."""

    keep_last: int = Field(20, ge=1, le=100_000)
    keep_every: int = Field(0, ge=0, le=100_000, description="Keeps each m-th round, too; 0 keeps none.")
    storage: Literal["full", "float16", "delta"] = Field(
        "full",
        description="How those that no resume needs are stored: float16 loses precision, delta nothing.",
    )


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
    waiting: Waiting = Waiting()
    stopping: Stopping = Stopping()
    update_check: UpdateCheck = UpdateCheck()
    checkpoints: Checkpoints = Checkpoints()
    evaluation: Literal["every-round", "last-round", "off"] = Field(
        "every-round",
        description="When the server tests the model on the dataset's test split. While other jobs run too, "
        "a round waits behind newer ones; the last round is always tested.",
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
    def early_stop_can_be_seen(self) -> Self:
        wants = self.stopping.target is not None or self.stopping.patience is not None
        if wants and self.evaluation != "every-round":
            raise ValueError(
                f"stopping.target and stopping.patience look at each round's evaluation, which is "
                f"{self.evaluation}; it must be every-round"
            )
        return self

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
