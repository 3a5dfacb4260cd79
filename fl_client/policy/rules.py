"""What a layer (company, group, owner) says about when and how a machine trains.

In every field None means: this layer says nothing about it. `Rules()` restricts nothing.
"""

from enum import StrEnum, auto
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from fl_client.policy import hours

Percent = Annotated[int, Field(ge=0, le=100)]
Share = Annotated[int, Field(ge=1, le=100)]
Minutes = Annotated[int, Field(ge=0, le=240)]
Gigabytes = Annotated[float, Field(ge=0, le=1024)]
Hours = Annotated[dict[hours.Day, tuple[str, ...]], AfterValidator(hours.canonical)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
GpuIndex = Annotated[int, Field(ge=0, le=63)]
Gpu = Literal["never", "idle", "always"]


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names that differ in more than upper and lower case, in order."""
    kept = {name.casefold(): name for name in sorted(names, reverse=True)}
    return tuple(kept[key] for key in sorted(kept))


def _programs(names: tuple[str, ...]) -> tuple[str, ...]:
    return _distinct(
        tuple(name[:-4] if name.lower().endswith(".exe") and name[4:] else name for name in names)
    )


def _indexes(indexes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(indexes)))


class Rules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    train_while_in_use: bool | None = Field(
        None, title="Train while in use", description="Whether to train while somebody uses the machine."
    )
    idle_minutes: Minutes | None = Field(
        None,
        title="Quiet minutes before training",
        description="Without keyboard and mouse for so long, the owner counts as away.",
    )
    resume_minutes: Minutes | None = Field(
        None,
        title="Quiet minutes after an interruption",
        description="The same after a short visit of the owner, or with the screen locked. Empty: as long as "
        "before training.",
    )
    on_battery: bool | None = Field(
        None, title="Train on battery", description="Whether to train without mains power."
    )
    battery_floor: Percent | None = Field(
        None, title="Battery floor (%)", description="On battery, no training below this charge."
    )
    hours: Hours | None = Field(
        None,
        title="Allowed hours",
        description="Windows of the machine’s local time for each weekday, like mon: 18:00-24:00. A window "
        "may cross midnight; a day that is not named is closed. Empty: always.",
    )
    stop_starting_minutes: Minutes | None = Field(
        None,
        title="Last start before the hours end (minutes)",
        description="So long before the allowed hours end, nothing new starts.",
    )
    clear_minutes: Minutes | None = Field(
        None,
        title="Gone before the hours end (minutes)",
        description="So long before the allowed hours end, the machine is free of training.",
    )
    other_cpu_in_use: Percent | None = Field(
        None,
        title="Processor load of others, in use (%)",
        description="Training stops when other programs use more while somebody uses the machine.",
    )
    other_cpu_idle: Percent | None = Field(
        None,
        title="Processor load of others (%)",
        description="Training stops when other programs use more, whether or not the machine is in use.",
    )
    ram_share_in_use: Share | None = Field(
        None,
        title="Share of memory, in use (%)",
        description="The most of the machine’s memory that training may take while somebody uses it.",
    )
    ram_share_idle: Share | None = Field(
        None,
        title="Share of memory (%)",
        description="The most of the machine’s memory that training may ever take.",
    )
    leave_ram_free_gb: Gigabytes | None = Field(
        None,
        title="Memory left free (GB)",
        description="Training stops when less memory than this is free.",
    )
    cores_share_in_use: Share | None = Field(
        None,
        title="Share of cores, in use (%)",
        description="The most of the cores that training may take while somebody uses the machine.",
    )
    cores_share_idle: Share | None = Field(
        None, title="Share of cores (%)", description="The most of the cores that training may ever take."
    )
    nice: Annotated[int, Field(ge=0, le=19)] | None = Field(
        None, title="Niceness", description="19 gives way to everything else; 0 is the usual priority."
    )
    gpu: Gpu | None = Field(
        None, title="GPU", description="Never, only while the owner is away (idle), or always."
    )
    gpu_allow: Annotated[tuple[GpuIndex, ...], AfterValidator(_indexes)] | None = Field(
        None, title="Allowed GPUs", description="Numbers of the GPUs that training may use. Empty: all."
    )
    gpu_free_gb: Gigabytes | None = Field(
        None, title="GPU memory left free (GB)", description="So much memory of each GPU is left alone."
    )
    other_gpu: Percent | None = Field(
        None,
        title="GPU load of others (%)",
        description="A GPU that other programs load more is not used.",
    )
    exclusive_programs: Annotated[tuple[Name, ...], AfterValidator(_programs)] | None = Field(
        None, title="Programs that stop training", description="No training while one of these runs."
    )
    metered_networks: bool | None = Field(
        None, title="Train on metered networks", description="Whether to train where traffic costs money."
    )
    networks_denied: Annotated[tuple[Name, ...], AfterValidator(_distinct)] | None = Field(
        None, title="Networks without training", description="No training on networks of these names."
    )
    max_temperature: Annotated[int, Field(ge=30, le=120)] | None = Field(
        None,
        title="Highest temperature (°C)",
        description="Training stops when the processor is hotter; a hotter GPU is not used.",
    )

    @model_validator(mode="after")
    def going_on_takes_no_longer_than_starting(self) -> Self:
        idle, resume = self.idle_minutes, self.resume_minutes
        if idle is not None and resume is not None and resume > idle:
            raise ValueError(f"resume_minutes is {resume}; it may be at most idle_minutes, {idle}")
        return self


class Stricter(StrEnum):
    """The way in which a field gets stricter, so which of two values holds."""

    LARGER = auto()
    SMALLER = auto()
    BOTH = auto()  # allowed only where both allow it: False wins
    EARLIER = auto()  # the choice that its type lists first
    UNION = auto()  # what either forbids
    INTERSECTION = auto()  # what both allow
    COMMON_HOURS = auto()


STRICTER: dict[str, Stricter] = {
    "train_while_in_use": Stricter.BOTH,
    "idle_minutes": Stricter.LARGER,
    "resume_minutes": Stricter.LARGER,
    "on_battery": Stricter.BOTH,
    "battery_floor": Stricter.LARGER,
    "hours": Stricter.COMMON_HOURS,
    "stop_starting_minutes": Stricter.LARGER,
    "clear_minutes": Stricter.LARGER,
    "other_cpu_in_use": Stricter.SMALLER,
    "other_cpu_idle": Stricter.SMALLER,
    "ram_share_in_use": Stricter.SMALLER,
    "ram_share_idle": Stricter.SMALLER,
    "leave_ram_free_gb": Stricter.LARGER,
    "cores_share_in_use": Stricter.SMALLER,
    "cores_share_idle": Stricter.SMALLER,
    "nice": Stricter.LARGER,
    "gpu": Stricter.EARLIER,
    "gpu_allow": Stricter.INTERSECTION,
    "gpu_free_gb": Stricter.LARGER,
    "other_gpu": Stricter.SMALLER,
    "exclusive_programs": Stricter.UNION,
    "metered_networks": Stricter.BOTH,
    "networks_denied": Stricter.UNION,
    "max_temperature": Stricter.SMALLER,
}

# BOINC's limits with HTCondor's waits. BOINC's three quiet minutes also catch an owner who reads; fifteen
# say that nobody is there, and after a short visit five are enough.
COMPANY_DEFAULTS = Rules(
    train_while_in_use=False,
    idle_minutes=15,
    resume_minutes=5,
    on_battery=False,
    stop_starting_minutes=30,
    clear_minutes=10,
    other_cpu_in_use=25,
    other_cpu_idle=50,
    ram_share_in_use=50,
    ram_share_idle=90,
    leave_ram_free_gb=1,
    nice=10,
    gpu="idle",
    metered_networks=False,
)
