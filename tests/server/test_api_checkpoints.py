import asyncio
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.test import AsyncClient

from fl_server.models import Checkpoint
from tests.server.world import WEIGHTS, World, client

pytestmark = pytest.mark.services


def address(checkpoint: Checkpoint) -> str:
    return f"/api/v1/checkpoints/{checkpoint.pk}"


def test_the_checkpoints_of_a_job_say_which_is_best(world: World) -> None:
    initial = Checkpoint.objects.create(
        job=world.running, run=world.checkpoint.run, round_number=0, path="0", sha256="0", size=1
    )
    rows = client(world.viewer).get(f"/api/v1/jobs/{world.running.pk}/checkpoints").json()["results"]
    assert [(row["id"], row["round"], row["best"]) for row in rows] == [
        (world.checkpoint.pk, 2, True),
        (initial.pk, 0, False),
    ]


def test_a_download_is_the_file_with_its_name_and_hash(world: World) -> None:
    vera = client(world.viewer)
    response = vera.get(vera.get(address(world.checkpoint)).json()["download"])
    assert b"".join(response.streaming_content) == WEIGHTS
    assert response["ETag"] == f'"{world.checkpoint.sha256}"'
    assert response["Content-Length"] == str(len(WEIGHTS))
    name = f"job-{world.running.pk}-round-000002.safetensors"
    assert response["Content-Disposition"] == f'attachment; filename="{name}"'


def test_a_file_that_was_fetched_before_is_not_sent_again(world: World) -> None:
    headers = {"If-None-Match": f'"{world.checkpoint.sha256}"'}
    response = client(world.viewer).get(f"{address(world.checkpoint)}/download", headers=headers)
    assert response.status_code == 304
    assert not response.content


def test_a_file_that_is_gone_is_said_to_be_gone(world: World) -> None:
    (Path(settings.CHECKPOINTS_DIR) / world.checkpoint.path).unlink()
    response = client(world.viewer).get(f"{address(world.checkpoint)}/download")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "checkpoint-file-missing"


def test_a_path_that_leads_out_of_the_folder_is_not_served(world: World) -> None:
    Checkpoint.objects.filter(pk=world.checkpoint.pk).update(path="../keys/django-secret-key")
    assert client(world.viewer).get(f"{address(world.checkpoint)}/download").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_an_asgi_server_streams_the_file_block_by_block(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("fl_server.api.checkpoints.StreamedFile.block_size", 4)
    browser = AsyncClient()
    browser.force_login(world.viewer)

    async def download() -> list[bytes]:
        response = await browser.get(f"{address(world.checkpoint)}/download")
        blocks = [block async for block in response]
        response.close()
        await sync_to_async(connections.close_all)()  # those of the thread that served the request
        return blocks

    blocks = asyncio.run(download())
    assert b"".join(blocks) == WEIGHTS
    assert len(blocks) == -(-len(WEIGHTS) // 4)
