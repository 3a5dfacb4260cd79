import subprocess
import sys

from django.conf import settings

HEAVY = ("torch", "torchvision", "flwr", "datasets", "ray")
PROGRAM = f"""
import sys
import constellation_web.asgi
import constellation_web.urls
print(",".join(name for name in {HEAVY!r} if name in sys.modules))
"""


def test_the_web_process_loads_neither_torch_nor_flower() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
