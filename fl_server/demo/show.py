"""What the demo prints. Plain lines, so that a log file reads as well as a terminal."""

from typing import Any

from rich.console import Console

BAR = 24
console = Console(highlight=False)


def line(text: str = "") -> None:
    console.print(text, soft_wrap=True)


def step(text: str) -> None:
    console.print(f"[cyan]•[/] {text}", soft_wrap=True)


def good(text: str) -> None:
    console.print(f"[green]✓[/] {text}", soft_wrap=True)


def head() -> None:
    line()
    line("[bold] round  devices      rows  seconds    loss  accuracy[/]")


def round_row(row: dict[str, Any]) -> None:
    accuracy = row["evaluation"].get("accuracy")
    filled = round(BAR * (accuracy or 0.0))
    bar = f"[green]{'█' * filled}[/][dim]{'░' * (BAR - filled)}[/]"
    rejected = f" [red]({row['rejected']} rejected)[/]" if row["rejected"] else ""
    line(
        f"{row['number']:>6}  {row['accepted']:>7}  {row['examples']:>8,}  {row['seconds']:>7.2f}"
        f"  {_number(row['evaluation'].get('loss'), 6)}  {_number(accuracy, 8)}  {bar}{rejected}"
    )


def summary(facts: list[tuple[str, str]]) -> None:
    line()
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        line(f"  [dim]{name:<{width}}[/]  {value}")
    line()


def size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError


def percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None, width: int) -> str:
    return f"{'–':>{width}}" if value is None else f"{value:>{width}.4f}"
