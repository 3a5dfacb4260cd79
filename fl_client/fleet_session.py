"""A session that reaches the engine through the platform."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fl_client import identity
from fl_client.fleet import FleetError, FleetLink
from fl_client.session import Session

if TYPE_CHECKING:
    from fl_client.agent import Agent

WORK_FOLDER = "work"


def open(agent: "Agent") -> Session:
    parts = urlsplit(agent.state.server)
    secure = parts.scheme == "https"
    address = f"{parts.hostname}:{parts.port or (443 if secure else 80)}"
    roots = identity.root_certificates(agent.home, agent.state.trust) if secure else None

    def open_link() -> FleetLink:
        if not agent.state.node_id:
            # Two processes of the platform tell it, so a reservation may overtake the approval.
            raise FleetError("open: the engine's name for this device has not come yet", retry=True)
        return FleetLink(
            address,
            agent.identity.node_key,
            int(agent.state.node_id),
            ca=roots,
            clock_offset=lambda: agent.identity.clock.offset,
        )

    def say(message: dict[str, Any]) -> None:
        agent.narrator.heard(message)
        agent.socket.send(message)

    return Session(open_link, say, agent.home.file(WORK_FOLDER), on_end=agent.narrator.ended)
