"""What a device is asked to do in one run, as the server sends it."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fl_client.errors import AssignmentError, sentence


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Choice(_Part):
    """One entry of the catalogue with its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class Partition(_Part):
    scheme: str
    options: dict[str, Any] = Field(default_factory=dict)
    index: int = Field(ge=0)
    count: int = Field(ge=1)

    @model_validator(mode="after")
    def index_is_below_count(self) -> Self:
        if self.index >= self.count:
            raise ValueError(f"partition {self.index} of {self.count} does not exist")
        return self


class Training(_Part):
    epochs: int = Field(1, ge=1, le=1000)
    batch_size: int = Field(32, ge=0, description="0 means all rows in one batch.")
    optimizer: Literal["sgd", "adam", "adamw", "nudge"] = "sgd"
    learning_rate: float = Field(0.05, gt=0, le=1e6)
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0, le=1e6)
    precision: Literal["float32", "mixed"] = Field(
        "float32", description="mixed: half precision where the device gains by it, which is on CUDA."
    )
    holdout: float = Field(
        0.0, ge=0, lt=1, description="Share of the rows kept back to judge incoming models."
    )


class Assignment(BaseModel):
    # A newer server may say more about the job; what it says about the training itself must be understood.
    model_config = ConfigDict(frozen=True, extra="ignore")

    run: int
    fence: int
    model: Choice
    dataset: Choice
    partition: Partition
    training: Training
    seed: int = Field(ge=0, lt=2**63)


def read(document: Mapping[str, Any]) -> Assignment:
    try:
        return Assignment.model_validate(document)
    except ValidationError as error:
        raise AssignmentError(f"The assignment cannot be read: {sentence(error)}") from error
