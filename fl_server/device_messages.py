"""What a device may say, on its socket and when it joins. Everything else is refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fl_server.exceptions import InvalidInput

MAX_GPUS = 16
MAX_BYTES = 2**53
Count = Annotated[int, Field(ge=0, le=10_000_000)]
Bytes = Annotated[int, Field(ge=0, le=MAX_BYTES)]
Share = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class Message(BaseModel):
    """Unknown keys are dropped: a newer client may say more than this server understands."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Gpu(Message):
    name: Annotated[str, Field(max_length=120)]
    total_bytes: Bytes
    free_bytes: Bytes


class Hardware(Message):
    cores: Annotated[int, Field(ge=1, le=100_000)]
    ram_bytes: Bytes
    gpus: Annotated[tuple[Gpu, ...], Field(max_length=MAX_GPUS)] = ()


class Decision(Message):
    allowed: bool
    reason: Annotated[str, Field(max_length=200)] = ""


class Hello(Message):
    type: Literal["hello"]
    version: Annotated[str, Field(max_length=20)]
    platform: Annotated[str, Field(max_length=120)]
    hardware: Hardware
    decision: Decision


class Telemetry(Message):
    type: Literal["telemetry"]
    cpu: Share
    ram_free_bytes: Bytes
    gpus: Annotated[tuple[Gpu, ...], Field(max_length=MAX_GPUS)] = ()
    decision: Decision


class Ready(Message):
    type: Literal["ready"]
    run: Count
    fence: Count
    round: Annotated[Count | None, Field(description="The round that it has in hand or did last")] = None
    rows: Annotated[Count | None, Field(description="Rows of the partition that it cut for itself")] = None


class Progress(Message):
    type: Literal["progress"]
    run: Count
    round: Count
    phase: Literal["downloading", "training", "uploading"]
    batch: Count | None = None
    batches: Count | None = None


class Uploaded(Message):
    type: Literal["uploaded"]
    run: Count
    round: Count


class Failed(Message):
    type: Literal["failed"]
    run: Count
    round: Count | None = None
    code: Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9-]+$")]
    message: Annotated[str, Field(max_length=2000)]


class Renew(Message):
    """Asks for a new certificate over the same key."""

    type: Literal["renew"]


Said = Annotated[
    Hello | Telemetry | Ready | Progress | Uploaded | Failed | Renew,
    Field(discriminator="type"),
]
_said: TypeAdapter[Said] = TypeAdapter(Said)


class Join(Message):
    secret: Annotated[str, Field(min_length=1, max_length=100)]
    csr: Annotated[str, Field(max_length=4000, description="PEM; its key becomes the device's identity")]
    node_key: Annotated[str, Field(max_length=1000, description="Public key of the Flower node (PEM)")]
    node_proof: Annotated[
        str, Field(max_length=400, description="The node key's signature over the request (base64)")
    ]
    name: Annotated[str, Field(min_length=1, max_length=80)]
    hardware: Hardware
    platform: Annotated[str, Field(max_length=120)] = ""
    client_version: Annotated[str, Field(max_length=20)] = ""
    machine_id: Annotated[str, Field(max_length=200)] = ""


def parse(text: str) -> Said:
    """One message of a device's socket."""
    try:
        return _said.validate_json(text)
    except ValidationError as exc:
        raise _invalid(exc) from exc


def parse_join(data: Any) -> Join:
    try:
        return Join.model_validate(data)
    except ValidationError as exc:
        raise _invalid(exc) from exc


def _invalid(error: ValidationError) -> InvalidInput:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"])) or "message"
    return InvalidInput(f"{field}: {first['msg']}", field=field)
