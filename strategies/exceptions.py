"""What can go wrong in this package.

StrategyError
├── UnknownStrategy    a name that the catalogue does not have
├── InvalidOptions     options outside the strategy's ranges
├── PackingError       a document or a message that is not what it claims to be
├── Rejected           one device's reply that must not enter the model (code, message)
├── TooFewReplies      a round that closed below its quorum
├── Diverged           a round whose aggregated model is not finite
└── CheckpointError    a file that is missing, cut or changed
    └── DiskFull       a file that could not be written for lack of space
"""


class StrategyError(Exception):
    """Base of everything that this package raises on purpose."""


class UnknownStrategy(StrategyError):
    def __init__(self, name: str, allowed: list[str]) -> None:
        super().__init__(f"no strategy is called {name!r}; there are: {', '.join(allowed)}")
        self.name = name


class InvalidOptions(StrategyError):
    """Carries one sentence for each option that is wrong, as (option, sentence)."""

    def __init__(self, name: str, problems: list[tuple[str, str]]) -> None:
        super().__init__(f"{name}: " + "; ".join(f"{option}: {sentence}" for option, sentence in problems))
        self.problems = problems


class PackingError(StrategyError):
    pass


class Rejected(StrategyError):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TooFewReplies(StrategyError):
    def __init__(self, round: int, accepted: int, needed: int) -> None:
        devices = "1 device" if needed == 1 else f"{needed} devices"
        super().__init__(f"Round {round} needs the work of {devices} and got that of {accepted or 'none'}.")
        self.round = round
        self.accepted = accepted
        self.needed = needed


class Diverged(StrategyError):
    def __init__(self, round: int, tensor: str) -> None:
        super().__init__(f"The model was no longer finite after round {round} (tensor {tensor!r}).")
        self.round = round
        self.tensor = tensor


class CheckpointError(StrategyError):
    pass


class DiskFull(CheckpointError):
    pass
