"""What Flower runs for every run: names `app`, hands over to `leader`."""

import logging
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "constellation_web.settings")

import django

django.setup()

from flwr.app import Context  # noqa: E402  Django must be ready before our modules load
from flwr.serverapp import Grid, ServerApp  # noqa: E402

from fl_server.flower import leader, run_log  # noqa: E402

# Flower tells every step of every round; ours are in the log already.
logging.getLogger("flwr").setLevel(logging.WARNING)

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    run_id = int(context.run_config["run"])
    run_log.begin(run_id)
    leader.lead(grid, run_id, int(context.run_config["fence"]))
