import os
import shutil
from pathlib import Path

KEPT = 3
LARGEST = 20_000_000  # bytes


class LogFile:
    """Where one process writes. The process holds the file itself, so it never waits for its supervisor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def rotate(self) -> None:
        """Begin an empty file; the last ones stay as `.1` (newest) to `.3`."""
        for number in range(KEPT, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                os.replace(older, self._numbered(number))
        self._read = 0

    def open(self) -> int:
        """A descriptor that appends, to be closed by the caller."""
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def trim(self, largest: int = LARGEST) -> None:
        """Keep a copy and empty a file that grew too large; its writer appends on from the start."""
        if self.path.exists() and self.path.stat().st_size > largest:
            shutil.copyfile(self.path, self._numbered(1))
            os.truncate(self.path, 0)
            self._read = 0

    def fresh(self) -> list[str]:
        """Whole lines written since the last call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole.decode(errors="replace").splitlines()

    def tail(self, lines: int = 12) -> list[str]:
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 16_384))
                return file.read().decode(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path
