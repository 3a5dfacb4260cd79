"""The client's folder: keys, certificate and what it knows about its platform. Nobody else may read it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from fl_client.link_errors import AlreadyRunning, NotEnrolled

IDENTITY_KEY = "identity.key"
NODE_KEY = "node.key"
CERTIFICATE = "certificate.pem"
CA = "ca.pem"
STATE = "state.json"
PAUSE = "pause.json"
RULES = "rules.json"
DATA = "data.json"
JOURNAL = "journal.sqlite3"
PAGE = "page.json"
LOG = "client.log"
POLICY = "policy.json"
LOCK = "agent.lock"

OF_THE_PLATFORM = (STATE, POLICY, CERTIFICATE, CA, IDENTITY_KEY, NODE_KEY)
OF_THE_OWNER = (PAUSE, RULES, DATA, PAGE, JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm", LOG, f"{LOG}.1")

LEAVING = "leaving"  # a status that only this machine knows


@dataclass(frozen=True)
class State:
    """What the platform told this device."""

    server: str
    device: str
    name: str
    # "platform": the platform's own authority vouches for the server; "system": the machine's trust store.
    trust: str = "platform"
    status: str = "pending"
    node_id: str = ""
    reason: str = ""


class Home:
    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def from_environment(cls) -> "Home":
        given = os.environ.get("CONSTELLATION_CLIENT_HOME", "").strip()
        return cls(Path(given).expanduser() if given else Path.home() / ".constellation")

    def ensure(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def file(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str) -> bytes | None:
        try:
            return self.file(name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Replace a file as a whole, so that a crash leaves the old or the new one."""
        self.ensure()
        draft = self.file(f".{name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, self.file(name))

    def state(self) -> State | None:
        data = self.read(STATE)
        if data is None:
            return None
        stored = json.loads(data)
        known = {field.name for field in fields(State)}
        return State(**{name: value for name, value in stored.items() if name in known})

    def enrolled(self) -> State:
        state = self.state()
        if state is None:
            raise NotEnrolled("This machine is not enrolled; run: constellation enrol CODE")
        return state

    def save(self, state: State) -> State:
        self.write(STATE, json.dumps(asdict(state), indent=2).encode())
        return state

    def update(self, **facts: Any) -> State:
        """Change facts of the stored state; a state that stays the same is not written."""
        state = self.enrolled()
        changed = replace(state, **facts)
        return state if changed == state else self.save(changed)

    def remove(self, name: str) -> None:
        self.file(name).unlink(missing_ok=True)

    def forget_platform(self) -> None:
        """Remove keys and certificate. What the owner decided stays: joining again loosens nothing."""
        for name in OF_THE_PLATFORM:
            self.remove(name)
        shutil.rmtree(self.file("work"), ignore_errors=True)

    def forget(self) -> None:
        """Remove every trace that the client left."""
        self.forget_platform()
        for name in OF_THE_OWNER:
            # Another system than Linux keeps a file that the agent still holds open; it ends with the agent.
            with suppress(PermissionError):
                self.remove(name)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by the agent, so that two never speak for one device. It goes with the process."""
        self.ensure()
        with open(self.file(LOCK), "a+b") as file:
            if not _try_lock(file.fileno()):
                raise AlreadyRunning(f"Another agent already runs with {self.path}.")
            yield


def _try_lock(descriptor: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
