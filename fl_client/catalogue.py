"""What a job can be made of on a client: models, datasets and partition schemes. Loads none of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fl_client.errors import BadOptions, UnknownName, sentence


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NoOptions(Options):
    pass


class PayloadOptions(Options):
    parameters: int = Field(
        1_000_000, ge=1, le=1_000_000_000, description="Numbers in the model, all tensors together."
    )
    tensors: int = Field(8, ge=1, le=10_000, description="Tensors that the numbers are spread over.")

    @model_validator(mode="after")
    def every_tensor_has_a_number(self) -> Self:
        if self.tensors > self.parameters:
            raise ValueError(f"{self.parameters} parameters do not fill {self.tensors} tensors")
        return self


class DataOptions(Options):
    source: Literal["auto", "sample", "folder", "download"] = Field(
        "auto",
        description="Where the images come from. auto: the company's data folder, else the sample that is "
        "installed with the client, else a download.",
    )


class DirichletOptions(Options):
    alpha: float = Field(
        0.5,
        gt=0,
        le=1e6,
        description="Concentration: towards 0 a partition has one class, large values are even.",
    )
    min_size: int = Field(10, ge=1, description="Fewest rows of a partition.")


class ShardOptions(Options):
    shards_per_partition: int = Field(
        2,
        ge=1,
        le=10_000,
        description="Blocks of rows sorted by class that each partition gets; few blocks, few classes.",
    )


@dataclass(frozen=True)
class Entry:
    name: str
    label: str
    summary: str
    options: type[Options]
    path: str

    def parse(self, options: Mapping[str, Any]) -> Any:
        try:
            return self.options.model_validate(dict(options))
        except ValidationError as error:
            raise BadOptions(f"Options of {self.name}: {sentence(error)}") from error

    def load(self) -> Any:
        module, _, attribute = self.path.partition(":")
        return getattr(import_module(module), attribute)


def _table(*entries: Entry) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries}


MODELS = _table(
    Entry(
        "lenet",
        "LeNet",
        "Small convolutional network of 44,426 parameters for 28×28 grey images, after LeCun et al. 1998.",
        NoOptions,
        "fl_client.models:LeNet",
    ),
    Entry(
        "2nn",
        "2NN",
        "Perceptron with two hidden layers of 200 units, 199,210 parameters, from McMahan et al. 2017.",
        NoOptions,
        "fl_client.models:TwoNN",
    ),
    Entry(
        "cnn",
        "CNN",
        "Convolutional network of 1,663,370 parameters from McMahan et al. 2017.",
        NoOptions,
        "fl_client.models:CNN",
    ),
    Entry(
        "payload",
        "Payload",
        "Learns nothing: a model of any size, to test how fast weights travel.",
        PayloadOptions,
        "fl_client.models:Payload",
    ),
)

DATASETS = _table(
    Entry(
        "fashion-mnist",
        "Fashion-MNIST",
        "Grey 28×28 pictures of clothes in ten classes (Xiao et al. 2017); a sample comes with the client.",
        DataOptions,
        "fl_client.data:FASHION_MNIST",
    ),
    Entry(
        "mnist",
        "MNIST",
        "Grey 28×28 handwritten digits (LeCun et al. 1998).",
        DataOptions,
        "fl_client.data:MNIST",
    ),
)

PARTITIONS = _table(
    Entry("iid", "Even", "Rows dealt out evenly at random.", NoOptions, "fl_client.partitions:iid"),
    Entry(
        "dirichlet",
        "Dirichlet",
        "Each class is spread in proportions drawn from a Dirichlet distribution (Yurochkin et al. 2019).",
        DirichletOptions,
        "fl_client.partitions:dirichlet",
    ),
    Entry(
        "shards",
        "Shards",
        "Rows sorted by class and dealt in blocks: each partition sees few classes (McMahan et al. 2017).",
        ShardOptions,
        "fl_client.partitions:shards",
    ),
)

TABLES = {"models": MODELS, "datasets": DATASETS, "partitions": PARTITIONS}


def get(table: Mapping[str, Entry], name: str) -> Entry:
    try:
        return table[name]
    except KeyError:
        raise UnknownName(f"There is no {name!r}; known are {', '.join(sorted(table))}.") from None


def describe() -> dict[str, list[dict[str, Any]]]:
    """The catalogue for people and for the API, with a JSON schema for each entry's options."""
    return {
        kind: [
            {
                "name": entry.name,
                "label": entry.label,
                "summary": entry.summary,
                "options": entry.options.model_json_schema(),
            }
            for entry in table.values()
        ]
        for kind, table in TABLES.items()
    }
