"""A fact that is looked up at its own pace and never raises."""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger("constellation.senses")

T = TypeVar("T")


class Unknown(Exception):
    """This machine cannot tell. The message says why, in words for its owner."""


class Sense(Generic[T]):
    """What `read` said last, at most `period` seconds old; `unknown` while it fails.

    `read` raises Unknown where the machine cannot tell; then it is asked again after `rest` seconds, `period`
    by default. Whatever goes wrong is logged once, not at each look.
    """

    def __init__(
        self,
        what: str,
        source: str | Callable[[], str],
        read: Callable[[], T],
        unknown: T,
        *,
        period: float = 0.0,
        rest: float | None = None,
        show: Callable[[T], str] = str,
    ) -> None:
        self.what = what
        self.why = "not read yet"  # empty once it is known
        self._source = source
        self._read = read
        self._unknown = unknown
        self._period = period
        self._rest = period if rest is None else rest
        self._show = show
        self._last: tuple[float, T] | None = None
        self._told: set[str] = set()

    @property
    def source(self) -> str:
        return self._source if isinstance(self._source, str) else self._source()

    def value(self, now: float) -> T:
        good_for = self._rest if self.why else self._period
        if self._last is None or not 0 <= now - self._last[0] < good_for:
            self._last = (now, self._look())
        return self._last[1]

    def age(self, now: float) -> float:
        """Seconds since the value was read."""
        return 0.0 if self._last is None else now - self._last[0]

    def text(self, now: float) -> str:
        """The value in words; empty while it is unknown."""
        value = self.value(now)
        return "" if self.why else self._show(value)

    def _look(self) -> T:
        try:
            value = self._read()
        except Unknown as exc:
            self._fail(str(exc))
        except Exception as exc:
            # One sense that breaks must not blind the others, whatever a driver or a library throws.
            self._fail(f"{type(exc).__name__}: {exc}", exc)
        else:
            self.why = ""
            return value
        return self._unknown

    def _fail(self, why: str, fault: Exception | None = None) -> None:
        self.why = why
        # The text of a fault may differ each time; its kind does not.
        key = why if fault is None else type(fault).__name__
        if key not in self._told:
            self._told.add(key)
            level = logging.INFO if fault is None else logging.WARNING
            log.log(level, "cannot tell (%s): %s", self.what, why, exc_info=fault)
