import asyncio
import csv
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient

from fl_server.models import Contribution, Device
from tests.server.test_contributions import given
from tests.server.world import World, client

pytestmark = pytest.mark.services

ADDRESS = "/api/v1/contributions"


@pytest.fixture
def ledger(world: World) -> World:
    given(world.owner, world.training, job=world.running, energy_wh=2.5)
    given(world.foreign_device.owner, world.foreign_device)
    return world


def sums(by: Any, **query: str) -> list[dict[str, Any]]:
    response = client(by).get(ADDRESS, query)
    assert response.status_code == 200, response.json()
    return response.json()


def exported(by: Any, **query: str) -> list[dict[str, str]]:
    response = client(by).get(f"{ADDRESS}/export", query)
    assert response.status_code == 200
    return list(csv.DictReader(b"".join(response.streaming_content).decode().splitlines()))


def test_observers_see_all_and_an_owner_the_own(ledger: World) -> None:
    assert {row["name"] for row in sums(ledger.viewer)} == {"otto", "olga"}
    assert [row["name"] for row in sums(ledger.owner)] == ["otto"]
    assert [row["name"] for row in sums(ledger.owner, group_by="device")] == ["otto-desk"]
    assert {row["owner"] for row in exported(ledger.admin)} == {"otto", "olga"}
    assert [row["owner"] for row in exported(ledger.owner)] == ["otto"]


def test_unknown_energy_stays_unknown(ledger: World) -> None:
    known = {row["name"]: (row["energy_wh"], row["energy_known"]) for row in sums(ledger.viewer)}
    assert known == {"otto": (2.5, 1), "olga": (None, 0)}
    assert [row["energy_wh"] for row in exported(ledger.viewer)] == ["2.5", ""]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"group_by": "colour"}, "colour"),
        ({"month": "2026-13"}, "2026-13"),
        ({"month": "July"}, "one is for example 2026-07"),
        ({"month": "9999-12"}, "9998"),
    ],
)
def test_a_question_that_makes_no_sense_is_named(ledger: World, query: dict[str, str], said: str) -> None:
    for address in (ADDRESS, f"{ADDRESS}/export"):
        error = client(ledger.viewer).get(address, query).json()["error"]
        assert error["code"] == "invalid-input"
        assert error["field"] == next(iter(query))
        assert said in error["message"]


def test_a_month_without_work_is_empty(ledger: World) -> None:
    assert sums(ledger.viewer, month="2001-01") == []
    assert exported(ledger.viewer, month="2001-01") == []


def test_sums_are_exported_too(ledger: World) -> None:
    rows = exported(ledger.viewer, group_by="owner")
    assert {(row["name"], row["rows"], row["energy_known"]) for row in rows} == {
        ("otto", "1", "1"),
        ("olga", "1", "0"),
    }


def test_a_name_that_is_a_formula_stays_text(ledger: World) -> None:
    Device.objects.filter(pk=ledger.training.pk).update(name='=HYPERLINK("http://x","y")')
    assert [row["device_name"] for row in exported(ledger.owner)] == ['\'=HYPERLINK("http://x","y")']


def test_a_reader_may_ask_for_csv_and_errors_stay_json(ledger: World) -> None:
    headers = {"Accept": "text/csv"}
    response = client(ledger.viewer).get(f"{ADDRESS}/export", headers=headers)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="contributions.csv"'
    assert b"".join(response.streaming_content)
    refused = client(ledger.outsider).get(f"{ADDRESS}/export", headers=headers)
    assert refused.status_code == 403
    assert b'"not-allowed"' in refused.content


@pytest.mark.django_db(transaction=True)
def test_an_asgi_server_streams_the_rows(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("fl_server.api.contributions.LINES_AT_ONCE", 2)
    for _ in range(4):
        given(world.owner, world.training)
    browser = AsyncClient()
    browser.force_login(world.viewer)

    async def download() -> list[bytes]:
        response = await browser.get(f"{ADDRESS}/export")
        blocks = [block async for block in response]
        response.close()
        await sync_to_async(connections.close_all)()
        return blocks

    blocks = asyncio.run(download())
    assert len(blocks) == 3
    assert len(b"".join(blocks).decode().splitlines()) == 5
    assert Contribution.objects.count() == 4
