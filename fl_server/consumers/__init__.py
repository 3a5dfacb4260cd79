from fl_server.consumers.device import DeviceConsumer
from fl_server.consumers.live import LiveConsumer

__all__ = ["DeviceConsumer", "LiveConsumer"]
