"""Wiring of the web process: settings, routes, ASGI, Celery and the gateway to the engine."""

from constellation_web.celery import app as celery_app

__all__ = ["celery_app"]
