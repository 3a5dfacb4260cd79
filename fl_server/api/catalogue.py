"""What a job may be made of. Each entry carries the JSON schema of its options."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fl_client import catalogue
from fl_server.api.permissions import Observer
from fl_server.api.serializers.catalogue import Entry
from fl_server.spec import Training
from strategies import catalog

COMMON = ("learning_rate", "weight_decay")
# name → label, summary, the fields of `training` that it heeds
OPTIMIZERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "sgd": ("SGD", "Stochastic gradient descent, with momentum if asked for.", (*COMMON, "momentum")),
    "adam": ("Adam", "A step of its own for each parameter (Kingma and Ba 2015).", COMMON),
    "adamw": ("AdamW", "Adam with decoupled weight decay (Loshchilov and Hutter 2019).", COMMON),
    "nudge": ("Nudge", "Learns nothing: adds a constant, to test how fast weights travel.", ()),
}


def optimizers() -> list[dict[str, Any]]:
    fields = Training.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "label": label,
            "summary": summary,
            "options": {
                "type": "object",
                "properties": {heeded_name: fields[heeded_name] for heeded_name in heeded},
            },
        }
        for name, (label, summary, heeded) in OPTIMIZERS.items()
    ]


class _Catalogue(APIView):
    permission_classes = [Observer]

    def entries(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    @extend_schema(responses=Entry(many=True), filters=False)
    def get(self, request: Request) -> Response:
        return Response(self.entries())


class Strategies(_Catalogue):
    """How the devices' models become the next global model."""

    def entries(self) -> list[dict[str, Any]]:
        return catalog.describe()


class Models(_Catalogue):
    def entries(self) -> list[dict[str, Any]]:
        return catalogue.describe()["models"]


class Datasets(_Catalogue):
    def entries(self) -> list[dict[str, Any]]:
        return catalogue.describe()["datasets"]


class Partitions(_Catalogue):
    """How the rows of a public dataset are dealt to the devices."""

    def entries(self) -> list[dict[str, Any]]:
        return catalogue.describe()["partitions"]


class Optimizers(_Catalogue):
    """Local optimisers; their options are fields of the specification's `training`."""

    def entries(self) -> list[dict[str, Any]]:
        return optimizers()
