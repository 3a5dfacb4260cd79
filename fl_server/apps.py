from django.apps import AppConfig


class FlServerConfig(AppConfig):
    name = "fl_server"
    verbose_name = "Constellation"

    def ready(self) -> None:
        from fl_server import checks  # noqa: F401  registers the system checks
