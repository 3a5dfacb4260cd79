"""One platform for all faults that can share it, and the table of how long each one cost."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.cluster import ROUNDS, Cluster, Outcome, opened

Table = list[tuple[str, float, int]]
ROWS = pytest.StashKey[Table]()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with opened(tmp_path_factory.mktemp("cluster")) as made:
        calm = made.undisturbed()
        seconds = sorted(row["seconds"] for row in calm.rounds)
        rows = request.config.stash.setdefault(ROWS, [])
        rows.append(("nothing (a round, median)", seconds[len(seconds) // 2], ROUNDS + 1))
        yield made


@pytest.fixture
def noted(request: pytest.FixtureRequest) -> Callable[[str, Outcome], float]:
    """Adds a row to the table; gives the seconds from the fault to the next finished round."""

    def note(what: str, outcome: Outcome) -> float:
        row = (what, outcome.seconds_to_next_round, outcome.same_as_undisturbed())
        request.config.stash.setdefault(ROWS, []).append(row)
        return row[1]

    return note


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    terminalreporter.section("from the fault to the next finished round")
    width = max(len(what) for what, _, _ in rows)
    for what, seconds, same in rows:
        bits = "all rounds" if same > ROUNDS else f"until round {same - 1}, then with fewer devices"
        terminalreporter.write_line(f"{what:{width}}  {seconds:5.1f} s   bit for bit: {bits}")
