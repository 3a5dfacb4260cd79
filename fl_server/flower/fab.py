"""The Flower App Bundle: a manifest that names our installed modules. It carries no code."""

import hashlib
from functools import cache

from fl_server.flower import engine

MANIFEST = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "constellation"
version = "1.0.0"
description = "Names installed modules; carries no code"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "constellation"

[tool.flwr.app.components]
serverapp = "fl_server.flower.serverapp:app"
clientapp = "fl_client:__version__"

[tool.flwr.app.config]
run = 0
fence = 0
"""


@cache
def fab() -> engine.Fab:
    content, _ = engine.build_fab_from_files({"pyproject.toml": MANIFEST.encode()})
    return engine.Fab(hashlib.sha256(content).hexdigest(), content, {})
