"""Flower's SuperLink with the objects of messages in memory and everything else in its database.

Stock, `--database` puts each chunk of each model into SQLite, reads it from there and deletes it again, which
costs most of a large round. An object lives for seconds. What a crash loses is sent again by our grid, while
registered nodes, runs and tasks survive it on the disk.

Runs without Django: `python -m fl_server.flower.superlink` with the options of `flower-superlink`.
"""

import sys

from flwr.supercore.object_store import ObjectStoreFactory
from flwr.superlink import config_loader
from flwr.superlink.cli.flower_superlink import flower_superlink


def objects_in_memory(_: str) -> ObjectStoreFactory:
    return ObjectStoreFactory()


def main() -> None:
    config_loader.ObjectStoreFactory = objects_in_memory
    sys.argv[0] = "flower-superlink"
    flower_superlink()


if __name__ == "__main__":
    main()
