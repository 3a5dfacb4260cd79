"""How Flower's two server processes are started: arguments, and an environment with nothing to spare."""

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from fl_server import pki

SECRET_NAME = "superexec-secret"  # noqa: S105  a file's name
# What a ServerApp may learn of ours. The secret key and the CA's key are not among it.
PASSED_ON = (
    "DATABASE_URL",
    "REDIS_URL",
    "CONSTELLATION_PREFIX",
    "CONSTELLATION_LEASE_SECONDS",
    "CONSTELLATION_LAUNCH_SECONDS",
    "CONSTELLATION_STALE_AFTER",
    "CONSTELLATION_ENGINE_PORT",
)
SYSTEM = ("LANG", "LC_ALL", "HOME", "TMPDIR", "TZ")


def folder() -> Path:
    path = Path(settings.CONSTELLATION_HOME) / "engine"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def secret_file() -> Path:
    """What the SuperLink and our SuperExec share; made once. Its bytes are taken exactly as they are."""
    path = Path(settings.KEYS_DIR) / SECRET_NAME
    if not path.exists():
        draft = path.with_suffix(f".{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32))
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path


def superlink() -> list[str]:
    certificate, key = pki.server_certificate()
    return [
        *(sys.executable, "-m", "fl_server.flower.superlink"),
        *("--host", "127.0.0.1", "--port", str(settings.ENGINE_PORT)),
        *("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)),
        *("--ssl-ca-certfile", str(pki.ca_path())),
        "--enable-supernode-auth",
        *("--database", str(folder() / "state.sqlite3")),
        *("--isolation", "process", "--superexec-auth-secret-file", str(secret_file())),
        "--disable-runtime-dependency-installation",
    ]


def superexec() -> list[str]:
    return [
        *(sys.executable, "-m", "fl_server.flower.superexec"),
        *("--runtime-api-address", settings.ENGINE_ADDRESS),
        *("--root-certificates", str(pki.ca_path())),
        *("--superexec-auth-secret-file", str(secret_file())),
    ]


def superlink_environment() -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in SYSTEM if name in os.environ},
        "PATH": path_with_python(),
        "PYTHONPATH": str(settings.BASE_DIR),
        "PYTHONUNBUFFERED": "1",
        "FLWR_HOME": str(folder()),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }


def superexec_environment() -> dict[str, str]:
    """ServerApps inherit this."""
    return {
        **superlink_environment(),
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",
        "DJANGO_SETTINGS_MODULE": "constellation_web.settings",
        "CONSTELLATION_HOME": str(settings.CONSTELLATION_HOME),
        "CONSTELLATION_SERVERAPP": "1",
        "OMP_NUM_THREADS": "1",
    }


def path_with_python() -> str:
    """PATH with the folder of this Python first, so that `python`, `celery` and `flwr-serverapp` are ours."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
