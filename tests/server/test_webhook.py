"""The post itself, to a real server on this machine: what arrives, what is refused, how long it may take."""

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from fl_server import webhook
from fl_server.exceptions import InvalidInput
from tests.server.receiver import Receiver, receiver

__all__ = ["receiver"]

LISTED = frozenset({"127.0.0.1", "localhost", "hooks.example"})


def post(url: str, *, listed: frozenset[str] = LISTED, **options: Any) -> None:
    body = json.dumps({"a": 1}).encode()
    asyncio.run(webhook.post(url, body, {"Content-Type": "application/json"}, listed=listed, **options))


def resolver(*answers: list[str]) -> Any:
    """A name server that says something else each time it is asked."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0)

    return resolve


def test_a_message_arrives_as_it_was_sent(receiver: Receiver) -> None:
    post(receiver.url)
    headers, body = receiver.got[0]
    assert json.loads(body) == {"a": 1}
    assert headers["Content-Type"] == "application/json"


def test_the_signature_is_what_the_documentation_says() -> None:
    expected = hmac.new(b"key", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert webhook.signature("key", "1700000000", b'{"a":1}') == f"sha256={expected}"


@pytest.mark.parametrize("status", [400, 404, 410, 500, 503])
def test_another_status_than_success_is_a_failure(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    with pytest.raises(webhook.Undelivered, match=str(status)):
        post(receiver.url)


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answers, receiver.location = [307], receiver.url
    with pytest.raises(webhook.Undelivered, match="redirect"):
        post(receiver.url)
    assert len(receiver.got) == 1


@pytest.mark.parametrize("slow", ["delay", "trickle"])
def test_a_slow_server_is_left_at_the_deadline(receiver: Receiver, slow: str) -> None:
    receiver.delay, receiver.trickle = (3.0, False) if slow == "delay" else (0.0, True)
    began = time.monotonic()
    with pytest.raises(webhook.Undelivered, match=r"No answer within 0\.3 seconds"):
        post(receiver.url, seconds=0.3)
    assert time.monotonic() - began < 2


def test_a_closed_port_and_an_unknown_name_are_said_without_the_address(receiver: Receiver) -> None:
    receiver.server_close()
    with pytest.raises(webhook.Undelivered, match=r"^The connection failed\.$"):
        post(receiver.url)
    with pytest.raises(webhook.Undelivered, match="name of the host is not known"):
        post("https://hooks.example/x", resolve=resolver([]))


def test_a_server_that_speaks_no_http_is_said(receiver: Receiver) -> None:
    with pytest.raises(webhook.Undelivered):
        post(receiver.url.replace("http:", "https:"))


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_inside_is_refused_before_any_connection(address: str) -> None:
    with pytest.raises(webhook.Undelivered, match="not public"):
        post("https://evil.example/x", resolve=resolver([address]))
    with pytest.raises(webhook.Undelivered, match="not public"):
        post("https://evil.example/x", resolve=resolver(["93.184.215.14", address]))


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_leads_inside_is_refused_when_it_is_given(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(InvalidInput, match="no public address"):
        webhook.checked(f"https://{host}/x", frozenset())


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert webhook.is_public(address)


def test_a_name_that_changes_its_mind_is_asked_once(receiver: Receiver) -> None:
    """Rebinding: the connection goes to the address that was checked, here one that nobody answers at."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["192.0.2.1"] if len(asked) > 1 else ["198.51.100.1"]

    # Documentation addresses are not public; the list of trusted hosts lets them pass.
    with pytest.raises(webhook.Undelivered):
        post(f"http://hooks.example:{receiver.server_port}/", resolve=rebinding, seconds=0.3)
    assert asked == ["hooks.example"]
    assert receiver.got == []


def test_a_name_is_checked_anew_for_each_message() -> None:
    checked = webhook.CheckedResolver(resolver(["93.184.215.14"], ["127.0.0.1"]), frozenset())
    found = asyncio.run(checked.resolve("evil.example", 443))
    assert [one["host"] for one in found] == ["93.184.215.14"]
    with pytest.raises(webhook.Undelivered, match="not public"):
        asyncio.run(checked.resolve("evil.example", 443))


def test_a_listed_name_may_lead_inside(receiver: Receiver) -> None:
    post(f"http://hooks.example:{receiver.server_port}/", resolve=resolver(["127.0.0.1"]))
    assert receiver.got[0][0]["Host"] == f"hooks.example:{receiver.server_port}"


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere.example/x",
        "ftp://hooks.example/x",
        "https://user:word@hooks.example/x",
        "https:///x",
        "hooks.example/x",
        "https://hooks.example/ x",
        "https://hooks.example/" + "x" * 500,
        "https://hooks.example:99999/",
        "",
    ],
)
def test_an_address_that_may_not_be_used_is_refused_with_the_field(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        webhook.checked(url, LISTED)
    assert caught.value.field == "url"
