"""Which of the fitting devices a job takes, and why.

Each device gets a score, the weighted mean of parts from 0 to 1. What nobody has measured yet counts as
average, so that a new device is neither sought nor shunned:

| part         | 1 is                                          | average                                  |
|--------------|-----------------------------------------------|------------------------------------------|
| speed        | far above the median of its rounds            | the median, or never measured            |
| availability | was always free at this time of the week      | free half of the time, or never measured |
| reputation   | all its work was accepted                     | (one that is new has 1)                  |
| rest         | no accepted work in the last seven days       | eight hours of it                        |
| diversity    | has data that this job has never seen         | that it has seen half as often as any    |
| network      | far above 10 MB a second                      | 10 MB a second, or never measured        |

The devices are then taken one by one, the best first. Each further machine of the same owner counts `OWNER`
less, those that work for other jobs included: nobody's machines carry everything. Devices that a fault of the
platform took out of the job go before all others, so that it goes on with the same data; those that could do
nothing for it go behind all others. Ties are broken by the seed.
"""

import heapq
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any

from fl_server.placement.availability import hours, lowest
from fl_server.placement.facts import Demand, DeviceFacts

WEIGHTS = {
    "speed": 0.25,
    "availability": 0.25,
    "reputation": 0.20,
    "rest": 0.15,
    "diversity": 0.10,
    "network": 0.05,
}
AVERAGE = 0.5
OWNER = 0.05
INTERRUPTED = TROUBLED = 1.0  # more than all parts together can differ
CLOSELY = 1000  # devices, or ten times as many as are taken
USUAL_NETWORK = 10e6  # bytes a second
USUAL_WORK = 8 * 3600.0  # seconds in seven days
# Of a round nobody has measured: about what the first one takes.
USUAL_ROUND = 120.0
WORDS = {
    "speed": "it trains faster",
    "availability": "it is more likely to stay free",
    "reputation": "its work is more reliable",
    "rest": "it has worked less lately",
    "diversity": "its data is newer to the job",
    "network": "its network is faster",
}
ALL_TAKEN = "Chosen because every fitting device is needed."
NOTEWORTHY = 0.005
Parts = tuple[float, ...]  # in the order of WEIGHTS
Scored = tuple[float, int, DeviceFacts, Parts]  # the lowest is the best


@dataclass(frozen=True)
class Choice:
    device: DeviceFacts
    score: float
    parts: dict[str, float]
    sentence: str

    def stored(self) -> dict[str, Any]:
        return {"score": self.score, "parts": self.parts, "sentence": self.sentence}


def shortlist(
    fitting: Sequence[DeviceFacts], count: int, seed: int, keep: Collection[Any] = ()
) -> Sequence[DeviceFacts]:
    """Of very many the most promising by what is known already; only their habits are worth reading.

    `keep` are keys of devices that stay in any case.
    """
    most = max(CLOSELY, 10 * count)
    if len(fitting) <= most:
        return fitting
    salt = seed & 0xFFFFFFFF
    speed, reputation, network = (WEIGHTS[name] for name in ("speed", "reputation", "network"))
    order = sorted(
        (
            one.pk not in keep,
            -speed * _against(one.relative_speed, 1.0)
            - reputation * one.reputation
            - network * _against(one.network, USUAL_NETWORK),
            _draw(one.pk, salt),
            number,
        )
        for number, one in enumerate(fitting)
    )
    return [fitting[number] for *_, number in order[:most]]


def choose(
    fitting: Sequence[DeviceFacts],
    demand: Demand,
    count: int,
    seed: int,
    now: datetime,
    working: Mapping[int, int] | None = None,
) -> list[Choice]:
    """The best `count`, the best first. `working` counts each owner's devices that work for other jobs."""
    scored = _scored(fitting, demand, seed, now)
    means = _means(scored)
    taken = dict(working or {})
    rank: dict[int, int] = {}
    queues: dict[int, list[Scored]] = {}
    for one in sorted(scored, key=lambda entry: entry[:2]):
        queues.setdefault(one[2].owner_id, []).append(one)
    # The heap holds the best that is left of each owner. Lowest first, so scores are negative.
    heap = [_entry(owner, queue[0], taken) for owner, queue in queues.items()]
    heapq.heapify(heap)
    chosen: list[Choice] = []
    while heap and len(chosen) < count:
        worth, _, owner = heapq.heappop(heap)
        place = rank.get(owner, 0)
        _, _, device, parts = queues[owner][place]
        sentence = _sentence(device, parts, means) if len(fitting) > count else ALL_TAKEN
        chosen.append(Choice(device, round(-worth, 4), _named(parts, taken.get(owner, 0)), sentence))
        rank[owner] = place + 1
        taken[owner] = taken.get(owner, 0) + 1
        if place + 1 < len(queues[owner]):
            heapq.heappush(heap, _entry(owner, queues[owner][place + 1], taken))
    return chosen


def seconds_of_round(demand: Demand) -> float:
    """For so long a device should stay free."""
    return demand.round_seconds or USUAL_ROUND


def _entry(owner: int, best: Scored, taken: Mapping[int, int]) -> tuple[float, int, int]:
    return round(best[0] + OWNER * taken.get(owner, 0), 6), best[1], owner


def _scored(fitting: Sequence[DeviceFacts], demand: Demand, seed: int, now: datetime) -> list[Scored]:
    wanted = hours(now, seconds_of_round(demand))
    most = max((one.rounds_done for one in fitting), default=0)
    weights = tuple(WEIGHTS.values())
    salt = seed & 0xFFFFFFFF
    scored: list[Scored] = []
    for one in fitting:
        parts = (
            _against(one.relative_speed, 1.0),
            AVERAGE if (free := lowest(one.free_hours, wanted)) is None else free,
            one.reputation,
            1 - _against(one.recent_work, USUAL_WORK),
            1 - one.rounds_done / most if most else 1.0,
            _against(one.network, USUAL_NETWORK),
        )
        score = sum(map(float.__mul__, weights, map(float, parts)))
        score += INTERRUPTED * one.interrupted - TROUBLED * one.troubled
        scored.append((-round(score, 6), _draw(one.pk, salt), one, parts))
    return scored


def _draw(pk: Any, salt: int) -> int:
    """A number that the seed and the device decide alone, not the order in which devices are looked at."""
    key = pk.bytes if hasattr(pk, "bytes") else str(pk).encode()
    return zlib.crc32(key, salt)


def _against(value: float | None, usual: float) -> float:
    """0 for nothing, a half for what is usual, 1 for ever more."""
    return AVERAGE if value is None or not isfinite(value) else value / (value + usual)


def _means(scored: Sequence[Scored]) -> Parts:
    """Of each part over all fitting devices: what a chosen one is compared with."""
    count = max(1, len(scored))
    return tuple(sum(column) / count for column in zip(*(parts for *_, parts in scored), strict=True))


def _named(parts: Parts, others: int) -> dict[str, float]:
    named = {name: round(part, 3) for name, part in zip(WEIGHTS, parts, strict=True)}
    return named | ({"owner": -round(OWNER * others, 3)} if others else {})


def _sentence(device: DeviceFacts, parts: Parts, means: Parts) -> str:
    """What lifts it above the other fitting devices, at most two things."""
    if device.interrupted:
        return "Chosen because it worked on this job before the interruption."
    gains = {
        name: weight * (part - mean)
        for (name, weight), part, mean in zip(WEIGHTS.items(), parts, means, strict=True)
    }
    best = [name for name in sorted(gains, key=lambda name: -gains[name]) if gains[name] > NOTEWORTHY][:2]
    if not best:
        return "Chosen because no better one was free."
    return f"Chosen because {' and '.join(WORDS[name] for name in best)}."
