"""Every setting of the server, read from the environment; docs/settings.md lists them."""

import secrets
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from celery.schedules import crontab

from constellation_web import environment as env

BASE_DIR = Path(__file__).resolve().parent.parent
CONSTELLATION_HOME = Path(env.text("CONSTELLATION_HOME", str(BASE_DIR / "var"))).resolve()
KEYS_DIR = CONSTELLATION_HOME / "keys"
CHECKPOINTS_DIR = CONSTELLATION_HOME / "checkpoints"
LOGS_DIR = CONSTELLATION_HOME / "logs"
for _folder in (CONSTELLATION_HOME, KEYS_DIR, CHECKPOINTS_DIR, LOGS_DIR):
    _folder.mkdir(mode=0o700, parents=True, exist_ok=True)

# Identity

# A ServerApp process signs nothing for browsers, so it never learns the key.
IS_SERVERAPP = env.flag("CONSTELLATION_SERVERAPP")


def _secret_key() -> str:
    if IS_SERVERAPP:
        return secrets.token_urlsafe(48)
    given = env.text("DJANGO_SECRET_KEY")
    if given:
        return given
    path = KEYS_DIR / "django-secret-key"
    if not path.exists():
        draft = path.with_suffix(f".{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        with suppress(FileExistsError):  # of several processes that start at once, one wins
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text()


SECRET_KEY = _secret_key()
DEBUG = env.flag("DJANGO_DEBUG")

# Addresses

BIND_HOST, BIND_PORT = env.address("CONSTELLATION_BIND", "127.0.0.1:8000")
ON_LOOPBACK = env.is_loopback(BIND_HOST)
TLS_CERTIFICATE = env.text("CONSTELLATION_TLS_CERT")
TLS_KEY = env.text("CONSTELLATION_TLS_KEY")
USE_TLS = env.flag("CONSTELLATION_TLS", default=not ON_LOOPBACK)
BEHIND_PROXY = env.flag("CONSTELLATION_BEHIND_PROXY")
_scheme = "https" if USE_TLS or BEHIND_PROXY else "http"
SERVER_NAMES = [n.strip() for n in env.text("CONSTELLATION_HOSTS").split(",") if n.strip()]
_host = env.reachable_host(BIND_HOST, SERVER_NAMES)
PUBLIC_URL = env.text("CONSTELLATION_URL", f"{_scheme}://{_host}:{BIND_PORT}").rstrip("/")
ALLOWED_HOSTS = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    *([] if env.is_any(BIND_HOST) else [BIND_HOST]),
    *SERVER_NAMES,
]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
ENGINE_PORT = env.integer("CONSTELLATION_ENGINE_PORT", 8010, 1, 65535)
ENGINE_ADDRESS = f"127.0.0.1:{ENGINE_PORT}"

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _scheme == "https"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Django

# A ServerApp process only trains: it starts a second sooner without the pages, the admin and the API.
_NEEDED_BY_ALL = ["django.contrib.auth", "django.contrib.contenttypes", "channels", "fl_server"]
_NEEDED_BY_WEB = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
]
INSTALLED_APPS = _NEEDED_BY_ALL if IS_SERVERAPP else _NEEDED_BY_WEB + _NEEDED_BY_ALL
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "constellation_web.security.ContentSecurityPolicy",
    "constellation_web.static_files.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "constellation_web.urls"
ASGI_APPLICATION = "constellation_web.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "jobs"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
# What the dashboard shares with the owner's page on a device comes with the client, which has no server.
STATICFILES_DIRS = [BASE_DIR / "static", ("look", BASE_DIR / "fl_client" / "page" / "look")]
# Static files come straight out of the installed packages; there is no copy to go stale.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

# Database and Redis

_SQLITE = f"sqlite:///{CONSTELLATION_HOME / 'constellation.sqlite3'}"
DATABASES = {"default": environ.Env.db_url_config(env.text("DATABASE_URL", _SQLITE))}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
REDIS_URL = env.text("REDIS_URL")
PREFIX = env.text("CONSTELLATION_PREFIX", "constellation")
REDIS_SOCKET = env.redis_socket(CONSTELLATION_HOME)
_redis = env.redis_urls(REDIS_URL, REDIS_SOCKET)
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [_redis["channels"]], "prefix": PREFIX},
    }
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": _redis["cache"],
        "KEY_PREFIX": PREFIX,
    }
}

CELERY_BROKER_URL = _redis["broker"]
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": f"{PREFIX}:",
    "socket_connect_timeout": 4,
    # A worker of several queues empties them by name: nobody's preparation waits behind somebody's tests.
    "queue_order_strategy": "sorted",
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_TIMEOUT = 4
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_TASK_ROUTES = {
    "fl_server.tasks.prepare_run": {"queue": "preparation"},
    "fl_server.tasks.evaluate_checkpoint": {"queue": "tests"},
    "fl_server.tasks.estimate_memory": {"queue": "preparation"},
    "fl_server.tasks.sweep_checkpoints": {"queue": "tests"},
}
CELERY_TASK_TIME_LIMIT = 600
CELERY_TASK_SOFT_TIME_LIMIT = 540
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "fl_server.platform.clock:Clock"
REMIND_SECONDS = 300.0


def _every(seconds: float, task: str) -> dict[str, Any]:
    """One that waited longer than its period is replaced by the next one."""
    return {"task": f"fl_server.tasks.{task}", "schedule": seconds, "options": {"expires": seconds}}


CELERY_BEAT_SCHEDULE = {
    "tick": _every(2.0, "tick"),
    "clean up devices": _every(600.0, "clean_up_devices"),
    "sweep checkpoints": _every(600.0, "sweep_checkpoints"),
    "sample availability": _every(600.0, "sample_availability"),
    "deliver notifications": _every(30.0, "deliver"),
    "remind": _every(REMIND_SECONDS, "remind"),
    "review reputations": _every(3600.0, "review_reputations"),
    "evaluate alerts": _every(60.0, "evaluate_alerts"),
    "thin out telemetry": {
        "task": "fl_server.tasks.thin_out_telemetry",
        # Some minutes past the hour, when its last minutes are written.
        "schedule": crontab(minute=5),
        "options": {"expires": 3000.0},
    },
}

# API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework_simplejwt.authentication.JWTAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["fl_server.api.permissions.DenyByDefault"],
    "DEFAULT_PAGINATION_CLASS": "fl_server.api.pagination.Pages",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.OrderingFilter",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["fl_server.api.parsers.BoundedJSON"],
    "DEFAULT_THROTTLE_CLASSES": ["fl_server.api.throttles.PerUser"],
    "DEFAULT_SCHEMA_CLASS": "fl_server.api.openapi.Schema",
    # Without it a forged X-Forwarded-For resets the throttle of the log-in.
    "NUM_PROXIES": 1 if BEHIND_PROXY else 0,
    "EXCEPTION_HANDLER": "fl_server.api.errors.handle",
    "DEFAULT_THROTTLE_RATES": {"login": "10/min", "enrolment": "30/min", "api": "1200/min"},
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    # A new password ends the access tokens of the old one.
    "CHECK_REVOKE_TOKEN": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Constellation",
    "DESCRIPTION": "A company's idle computers as one private training cluster.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "OAS_VERSION": "3.1.0",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "JobStatus": "fl_server.models.TrainingJob.Status",
        "DeviceStatus": "fl_server.models.Device.Status",
        "ScheduleKind": "fl_server.models.Schedule.Kind",
        "MissedTimes": "fl_server.models.Schedule.Missed",
        "ParticipationStatus": "fl_server.models.Participation.Status",
        "NotificationKind": "fl_server.models.Notification.Kind",
    },
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
}
UNFOLD = {"SITE_TITLE": "Constellation", "SITE_HEADER": "Constellation", "SITE_SYMBOL": "hub"}

# The fleet and its runs

STALE_AFTER = env.number("CONSTELLATION_STALE_AFTER", 15, 2, 3600)  # seconds without a sign of life
LEASE_SECONDS = env.number("CONSTELLATION_LEASE_SECONDS", 20, 4, 600)
# Django and Flower take seconds to start in a new process, more on a busy machine.
LAUNCH_SECONDS = env.number("CONSTELLATION_LAUNCH_SECONDS", 120, 10, 3600)
MAX_RUNS = env.integer("CONSTELLATION_MAX_RUNS", 4, 1, 1000)
OLDEST_CLIENT = env.version("CONSTELLATION_OLDEST_CLIENT", "0.1.0")
# The place of a reserved device that is silent for so many seconds may go to another between two rounds.
REPLACE_AFTER = env.number("CONSTELLATION_REPLACE_AFTER", 30, 10, 86_400)
# After so many it is given back even where nobody takes its place; its run goes on without it.
RELEASE_AFTER = env.number("CONSTELLATION_RELEASE_AFTER", 300, 30, 86_400)
REMOVE_AFTER_DAYS = env.number("CONSTELLATION_REMOVE_AFTER_DAYS", 90, 2, 3650)
WARN_BEFORE_DAYS = env.number("CONSTELLATION_WARN_BEFORE_DAYS", 14, 1, 3650)
# How long each form of telemetry is kept.
# A device below this reputation gets no jobs (0: none ever does), until an admin or so many days release it.
QUARANTINE_BELOW = env.number("CONSTELLATION_QUARANTINE_BELOW", 0.5, 0, 1)
QUARANTINE_DAYS = env.number("CONSTELLATION_QUARANTINE_DAYS", 7, 0.01, 3650)
TELEMETRY_SAMPLE_DAYS = env.number("CONSTELLATION_TELEMETRY_SAMPLE_DAYS", 1, 0.05, 366)
TELEMETRY_MINUTE_DAYS = env.number("CONSTELLATION_TELEMETRY_MINUTE_DAYS", 31, 0.1, 3660)
TELEMETRY_HOUR_DAYS = env.number("CONSTELLATION_TELEMETRY_HOUR_DAYS", 366, 1, 36_600)

# Notifications

WAITING_NOTICE_HOURS = env.number("CONSTELLATION_WAITING_NOTICE_HOURS", 1, 0.01, 8760)
LOST_AFTER_HOURS = env.number("CONSTELLATION_LOST_AFTER_HOURS", 24, 0.01, 8760)
NOTIFICATION_DAYS = env.number("CONSTELLATION_NOTIFICATION_DAYS", 180, 1, 3660)
# Webhooks may lead to these hosts wherever they are, also without TLS.
WEBHOOK_HOSTS = frozenset(
    name.strip().lower() for name in env.text("CONSTELLATION_WEBHOOK_HOSTS").split(",") if name.strip()
)

# Mail

EMAIL_HOST = env.text("EMAIL_HOST")
# Without a server, mails are written to the log of the process that sends them.
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
EMAIL_PORT = env.integer("EMAIL_PORT", 587, 1, 65535)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", default=True)
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM", "constellation@localhost")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line"},
        # Flower discards what a ServerApp prints.
        "serverapp": {
            "class": "logging.FileHandler",
            # Until it knows its run; see fl_server.flower.run_log.
            "filename": str(LOGS_DIR / "serverapp.log"),
            "delay": True,
            "formatter": "line",
        },
    },
    "root": {"handlers": ["serverapp" if IS_SERVERAPP else "console"], "level": "INFO"},
    # One line per heartbeat, tick and object says nothing to a person.
    "loggers": {
        name: {"level": "WARNING"} for name in ("httpx", "celery.app.trace", "celery.worker.strategy")
    },
}
