"""What a researcher may set for each strategy; the dashboard shows the JSON schema of these models."""

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FedAvgOptions(Options):
    pass


class FedProxOptions(Options):
    mu: float = Field(
        default=0.01,
        ge=0.0,
        le=100.0,
        description="Weight of the pull towards the global model; 0 is FedAvg.",
    )


class FedAvgMOptions(Options):
    server_learning_rate: float = Field(
        default=1.0,
        gt=0.0,
        le=10.0,
        description="Step that the server takes along the averaged update; 1 without momentum is FedAvg.",
    )
    server_momentum: float = Field(
        default=0.9,
        ge=0.0,
        lt=1.0,
        description="Share of the previous step that is kept; 0 switches momentum off.",
    )


class FedAdagradOptions(Options):
    eta: float = Field(default=0.1, gt=0.0, le=10.0, description="Server learning rate.")
    tau: float = Field(
        default=0.001,
        gt=0.0,
        le=1.0,
        description="Added to the denominator; a larger value adapts less.",
    )


class FedAdamOptions(FedAdagradOptions):
    beta_1: float = Field(default=0.9, ge=0.0, lt=1.0, description="Decay of the mean of the updates.")
    beta_2: float = Field(default=0.99, ge=0.0, lt=1.0, description="Decay of the mean of their squares.")


class FedYogiOptions(FedAdamOptions):
    eta: float = Field(default=0.01, gt=0.0, le=10.0, description="Server learning rate.")
