"""A PostgreSQL server of the test's own, which may be restarted without disturbing anybody."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fl_server.platform import ports

SECONDS = 60


def programs() -> Path | None:
    """The folder of PostgreSQL's server programs, the newest where there are several."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((f for f in reversed(folders) if (f / "initdb").exists()), None)


@dataclass
class Server:
    programs: Path
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *arguments: str) -> None:
        # It refuses to run as root.
        user = {"user": "postgres"} if os.geteuid() == 0 else {}
        command = [str(self.programs / program), *arguments]
        log = self.folder.parent / "out.log"
        with log.open("ab") as out:
            subprocess.run(
                command, cwd=self.folder.parent, stdout=out, stderr=out, check=True, timeout=SECONDS, **user
            )

    def control(self, what: str, *arguments: str) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder.parent} -c max_connections=200"
        self.run("pg_ctl", "-D", str(self.folder), "-w", "-o", options, *arguments, what)

    def restart(self) -> None:
        """Ends every connection at once, as a crash does, and recovers from the log."""
        self.control("restart", "-m", "immediate")


@contextmanager
def running() -> Iterator[Server]:
    folder = programs()
    assert folder is not None
    home = Path(tempfile.mkdtemp(prefix="constellation-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(home, "postgres")
    server = Server(folder, home / "data", ports.free())
    try:
        server.run("initdb", "-D", str(server.folder), "-U", "postgres", "-A", "trust", "-N")
        server.control("start")
        yield server
    finally:
        if server.folder.exists():
            server.control("stop", "-m", "immediate")
        shutil.rmtree(home, ignore_errors=True)
