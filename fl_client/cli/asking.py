"""Questions to the owner."""


def agreed(question: str) -> bool:
    """Only a clear yes counts; nobody there to answer is a no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
