"""The Celery application: `control` tasks take seconds, `evaluation` tasks load torch."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "constellation_web.settings")

app = Celery("constellation")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
