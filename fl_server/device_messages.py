"""What a device may say, on its socket and when it joins. Everything else is refused."""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from fl_server.exceptions import InvalidInput

MAX_GPUS = 16
MAX_BYTES = 2**53
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]+")
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _clean(value: Any) -> Any:
    """Without what no database and no terminal should meet; halves of a character cannot even be encoded."""
    return CONTROL.sub(" ", value).strip() if isinstance(value, str) else value


def _clean_lines(value: Any) -> Any:
    return CONTROL_IN_LINES.sub(" ", value).strip() if isinstance(value, str) else value


def _clean_all(value: Any) -> Any:
    if isinstance(value, dict):
        return {_clean(name): _clean_all(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean_all(item) for item in value]
    return _clean(value)


Text = Annotated[str, BeforeValidator(_clean)]
Lines = Annotated[str, BeforeValidator(_clean_lines)]
Rules = Annotated[dict[str, Any], BeforeValidator(_clean_all), Field(max_length=100)]
Count = Annotated[int, Field(ge=0, le=10_000_000)]
Bytes = Annotated[int, Field(ge=0, le=MAX_BYTES)]
Share = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Degrees = Annotated[float, Field(ge=-60, le=200, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
Code = Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9-]+$")]


class Message(BaseModel):
    """Unknown keys are dropped: a newer client may say more than this server understands."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Gpu(Message):
    name: Annotated[Text, Field(max_length=120)]
    total_bytes: Bytes
    free_bytes: Bytes
    load: Share | None = None
    watts: Annotated[float | None, Field(ge=0, le=100_000, allow_inf_nan=False)] = None
    temperature: Degrees | None = None
    driver: Annotated[Text, Field(max_length=40)] = ""


class Hardware(Message):
    cores: Annotated[int, Field(ge=1, le=100_000)]
    ram_bytes: Bytes
    gpus: Annotated[tuple[Gpu, ...], Field(max_length=MAX_GPUS)] = ()
    accelerator: Annotated[
        Text, Field(max_length=20, description="What torch would train on, once known")
    ] = ""


class Decision(Message):
    """May the machine train now? The sentence is the first of the reasons, in words for its owner."""

    allowed: bool
    may_start: bool = True
    reason: Annotated[Text, Field(max_length=200)] = ""
    codes: Annotated[tuple[Code, ...], Field(max_length=20)] = ()
    until: AwareDatetime | None = None


class PrivateData(Message):
    """What a device tells of rows that never leave it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    kind: Literal["image-folder", "csv", "parquet"]
    columns: Annotated[tuple[Annotated[Text, Field(max_length=80)], ...], Field(max_length=500)] = ()
    rows: Count
    classes: Annotated[dict[Annotated[Text, Field(max_length=80)], Count], Field(max_length=1000)] = {}


class Hello(Message):
    type: Literal["hello"]
    version: Annotated[Text, Field(max_length=20)]
    platform: Annotated[Text, Field(max_length=120)]
    hardware: Hardware
    decision: Decision
    rules: Annotated[Rules, Field(description="The owner's layer of the policy")] = {}
    data: Annotated[tuple[PrivateData, ...], Field(max_length=50)] = ()


class Telemetry(Message):
    type: Literal["telemetry"]
    cpu: Share
    cpu_by_others: Share | None = None
    ram_free_bytes: Bytes
    disk_free_bytes: Bytes | None = None
    disk_total_bytes: Bytes | None = None
    received_bytes_a_second: Bytes | None = None
    sent_bytes_a_second: Bytes | None = None
    battery: Annotated[Share | None, Field(description="Charge in per cent; none without a battery")] = None
    on_ac: bool | None = None
    temperature: Degrees | None = None
    gpus: Annotated[tuple[Gpu, ...], Field(max_length=MAX_GPUS)] = ()
    decision: Decision


class OwnerRules(Message):
    """The owner changed the own layer of the policy."""

    type: Literal["rules"]
    rules: Rules


class Data(Message):
    """The owner registered or withdrew private data; the list is complete."""

    type: Literal["data"]
    data: Annotated[tuple[PrivateData, ...], Field(max_length=50)]


class Logs(Message):
    """The lines that the platform asked for."""

    type: Literal["logs"]
    request: Count
    lines: Annotated[tuple[Annotated[Text, Field(max_length=500)], ...], Field(max_length=200)]


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


class Parked(Message):
    """The owner is back: the round lies still. `examples` were trained on so far."""

    type: Literal["parked"]
    run: Count
    round: Count
    examples: Count


class Uploaded(Message):
    type: Literal["uploaded"]
    run: Count
    round: Count
    partial: Annotated[bool, Field(description="Handed in before all of it was done")] = False
    lost_seconds: Annotated[Seconds, Field(description="Training that had to be done again")] = 0.0
    energy_wh: Annotated[Seconds | None, Field(description="None where it cannot be measured")] = None
    train_seconds: Annotated[Seconds | None, Field(description="Training that counts")] = None
    transfer_seconds: Annotated[
        Seconds | None, Field(description="Fetching the model and handing in the answer")
    ] = None


class Failed(Message):
    type: Literal["failed"]
    run: Count
    round: Count | None = None
    code: Code
    message: Annotated[Lines, Field(max_length=2000)]


class Renew(Message):
    """Asks for a new certificate over the same key."""

    type: Literal["renew"]


Said = Annotated[
    Hello | Telemetry | OwnerRules | Data | Logs | Ready | Progress | Parked | Uploaded | Failed | Renew,
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
    name: Annotated[Text, Field(min_length=1, max_length=80)]
    hardware: Hardware
    platform: Annotated[Text, Field(max_length=120)] = ""
    client_version: Annotated[Text, Field(max_length=20)] = ""
    machine_id: Annotated[Text, Field(max_length=200)] = ""


def parse(text: str) -> Said:
    """One message of a device's socket."""
    try:
        if SURROGATE.search(text):
            # A pair of them is a character, half of one no fault of the rest.
            return _said.validate_python(json.loads(text))
        return _said.validate_json(text)
    except (json.JSONDecodeError, RecursionError) as exc:
        raise InvalidInput("message: this is not JSON.", field="message") from exc
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
