from tests.server.world import world

__all__ = ["world"]
