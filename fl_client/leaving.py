"""Leaving the platform: it is told, then everything that the client stored is removed."""

from typing import Any

from fl_client import home as files
from fl_client import identity
from fl_client.api import PlatformApi
from fl_client.home import Home, State
from fl_client.identity import Identity
from fl_client.link_errors import LinkError, Revoked


def leave(home: Home, force: bool = False) -> str:
    """`force`: also when the server cannot be told. Says what was done."""
    state = home.enrolled()
    told = "The server knows."
    try:
        if state.status != "revoked":
            home.update(status=files.LEAVING)
            with platform(home, state) as api:
                api.post("/api/v1/device/leave")
    except Revoked:
        told = "The server had revoked it already."
    except LinkError as exc:
        if not force:
            home.save(state)
            hint = "Nothing was removed; --force leaves without telling the server."
            exc.args = (f"{exc} {hint}",)
            raise
        told = "The server was not told."
    home.forget()
    return f"{state.name} left {state.server}; keys and data are removed. {told}"


def platform(home: Home, state: State) -> PlatformApi:
    """Requests in this machine's name."""
    ca: Any = home.read(files.CA) or b""
    return PlatformApi(state.server, identity.tls(state.trust, ca.decode()), Identity.load(home))
