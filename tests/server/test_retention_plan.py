"""The rule alone, without files: which checkpoints go and which are stored anew."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fl_server.models import Checkpoint
from fl_server.services.retention import DELTAS_OF_ONE, Kept, Plan, plan
from fl_server.spec import Checkpoints

Storage = Checkpoint.Storage


def rows(count: int, **facts: Any) -> list[Kept]:
    """Rounds 0 to count - 1; the number of a row is its round and 100."""
    return [Kept(100 + number, number, **facts) for number in range(count)]


def removed(there: list[Kept], **rule: Any) -> list[int]:
    return sorted(pk - 100 for pk in plan(there, Checkpoints(**rule)).remove)


def test_the_last_n_stay() -> None:
    assert removed(rows(6), keep_last=2) == [0, 1, 2, 3]
    assert removed(rows(2), keep_last=2) == []
    assert removed([], keep_last=2) == []


def test_each_mth_stays_too() -> None:
    assert removed(rows(8), keep_last=1, keep_every=3) == [1, 2, 4, 5]


def test_the_pinned_and_the_needed_stay() -> None:
    there = rows(6)
    there[1] = Kept(101, 1, pinned=True)
    there[3] = Kept(103, 3, needed=True)
    assert removed(there, keep_last=1) == [0, 2, 4]


def test_what_a_kept_delta_is_built_on_stays() -> None:
    there = [*rows(2), Kept(102, 2, Storage.DELTA, base=100), Kept(103, 3)]
    assert removed(there, keep_last=2) == [1]


def test_float16_is_for_all_but_the_needed_the_pinned_and_the_newest() -> None:
    there = [*rows(2), Kept(102, 2, pinned=True), Kept(103, 3, needed=True), Kept(104, 4)]
    assert plan(there, Checkpoints(storage="float16")).store == [(100, None), (101, None)]


def test_deltas_are_built_on_the_nearest_whole_one_before_them() -> None:
    there = [*rows(2), Kept(102, 2, needed=True), Kept(103, 3), Kept(104, 4)]
    assert plan(there, Checkpoints(storage="delta")).store == [(101, 100), (103, 102)]


def test_one_whole_file_bears_so_many_deltas_and_no_more() -> None:
    stored = dict(plan(rows(12), Checkpoints(storage="delta")).store)
    assert list(stored.values()).count(100) == DELTAS_OF_ONE
    assert 100 + DELTAS_OF_ONE + 1 not in stored
    assert stored[110] == 100 + DELTAS_OF_ONE + 1


@st.composite
def histories(draw: Any) -> tuple[list[str], Checkpoints, list[tuple[int, int]]]:
    """What happens to a job, its rule, and which rounds are the best at first."""
    steps = draw(
        st.lists(st.sampled_from(["round", "round", "best", "pin", "unpin", "start", "sweep"]), max_size=60)
    )
    rule = Checkpoints(
        keep_last=draw(st.integers(1, 5)),
        keep_every=draw(st.integers(0, 4)),
        storage=draw(st.sampled_from(["full", "float16", "delta"])),
    )
    picks = draw(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=60, max_size=60))
    return steps, rule, picks


class History:
    """The rows of a job as the services change them."""

    def __init__(self) -> None:
        self.rows: dict[int, Kept] = {}
        self.best: int | None = None
        self.begins: int | None = None
        self.rounds = 0

    def there(self) -> list[Kept]:
        needed = {self.best, self.begins}
        return [Kept(r.pk, r.round, r.storage, r.base, r.pinned, r.pk in needed) for r in self.rows.values()]

    def step(self, what: str, pick: int, rule: Checkpoints) -> None:
        if what == "round":
            self.rows[self.rounds] = Kept(self.rounds, self.rounds)
            self.rounds += 1
        elif what == "sweep":
            self.apply(plan(self.there(), rule), rule)
        elif self.rows:
            chosen = sorted(self.rows)[pick % len(self.rows)]
            row = self.rows[chosen]
            if what in ("pin", "unpin"):
                self.rows[chosen] = Kept(row.pk, row.round, row.storage, row.base, what == "pin")
            elif what == "best":
                self.best = chosen
            else:
                self.begins = chosen

    def apply(self, wanted: Plan, rule: Checkpoints) -> None:
        before = {row.pk: row for row in self.there()}
        newest = max(self.rows, default=None)
        last = set(sorted(self.rows)[-rule.keep_last :])
        for pk in wanted.remove:
            assert not before[pk].pinned
            assert not before[pk].needed
            assert pk != newest
            assert pk not in last
            assert not (rule.keep_every and pk % rule.keep_every == 0)
            del self.rows[pk]
        for pk, base in wanted.store:
            assert before[pk].storage == Storage.FULL
            assert not before[pk].needed
            assert not before[pk].pinned
            assert pk != newest
            self.rows[pk] = Kept(pk, pk, Storage.FLOAT16 if base is None else Storage.DELTA, base)
        self.check(rule)

    def check(self, rule: Checkpoints) -> None:
        """Every delta has its base, whole and older, and no more files stay than the rule can explain."""
        for row in self.rows.values():
            if row.storage == Storage.DELTA:
                assert row.base is not None
                assert self.rows[row.base].storage == Storage.FULL
                assert row.base < row.pk
        wanted = {
            row.pk
            for row in self.there()
            if row.pinned or row.needed or (rule.keep_every and row.pk % rule.keep_every == 0)
        } | set(sorted(self.rows)[-rule.keep_last :])
        assert set(self.rows) - wanted <= {row.base for row in self.rows.values() if row.pk in wanted}
        assert plan(self.there(), rule).remove == []


@given(histories())
def test_no_history_loses_what_somebody_needs(history: Any) -> None:
    steps, rule, picks = history
    job = History()
    for what, (pick, _) in zip(steps, picks, strict=False):
        job.step(what, pick, rule)
    job.step("sweep", 0, rule)
