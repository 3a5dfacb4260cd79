"""Results as markdown."""

from collections.abc import Iterable

from bench.result import Result

HEAD = (
    "| job | nodes | system | s a round | × floor | × stock | CPU s | server MB | client MB | MB | result |"
)


def lines(results: Iterable[Result]) -> list[str]:
    """One line for each result; CPU and bytes are per client and round."""
    rows = list(results)
    floor = {key(row): row.seconds for row in rows if row.system == "floor"}
    stock = {key(row): row.seconds for row in rows if row.system == "stock Flower"}
    return [HEAD, "|" + "---|" * (HEAD.count("|") - 1), *(_line(row, floor, stock) for row in rows)]


def key(row: Result) -> tuple[str, int]:
    return row.job.workload.name, row.job.nodes


def waits(results: Iterable[Result]) -> list[str]:
    """How long a user waits for the whole job."""
    rows = [row for row in results if row.submit_seconds is not None]
    out = ["| job | nodes | system | rounds | submit to result, s |", "|---|---|---|---|---|"]
    for row in rows:
        cells = (row.job.workload.label, row.job.nodes, row.system, row.job.rounds)
        out.append(f"| {' | '.join(map(str, cells))} | {row.submit_seconds:.1f} |")
    return out


def _line(row: Result, floor: dict[tuple[str, int], float], stock: dict[tuple[str, int], float]) -> str:
    cells = (
        row.job.workload.label,
        row.job.nodes,
        row.system,
        f"{row.seconds:.2f}",
        _ratio(row.seconds, floor.get(key(row))),
        _ratio(row.seconds, stock.get(key(row))),
        _number(row.cpu_per_client_round, 2),
        _number(row.server_peak, 0, 1e6),
        _number(row.client_peak, 0, 1e6),
        _number(row.bytes_per_client_round, 2, 1e6),
        f"{row.accuracy:.4f}" + ("" if row.job.workload.learns else " as computed"),
    )
    return f"| {' | '.join(map(str, cells))} |"


def _ratio(seconds: float, reference: float | None) -> str:
    return "–" if reference is None else f"{seconds / reference:.2f}"


def _number(value: float | None, digits: int, unit: float = 1.0) -> str:
    return "–" if value is None else f"{value / unit:.{digits}f}"
