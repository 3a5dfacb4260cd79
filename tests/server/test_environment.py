from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from constellation_web import environment as env

NAME = "CONSTELLATION_TEST_SETTING"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda value: monkeypatch.setenv(NAME, value)


@pytest.mark.parametrize("value", ["", "   "])
def test_an_empty_variable_means_the_default(given: Any, value: str) -> None:
    given(value)
    assert env.text(NAME, "d") == "d"
    assert env.flag(NAME, default=True) is True
    assert env.integer(NAME, 4, 1, 10) == 4
    assert env.address(NAME, "127.0.0.1:8000") == ("127.0.0.1", 8000)


@pytest.mark.parametrize(
    ("value", "means"), [("1", True), ("YES", True), ("on", True), ("0", False), ("Off", False)]
)
def test_a_flag_has_several_spellings(given: Any, value: str, means: bool) -> None:
    given(value)
    assert env.flag(NAME, default=not means) is means


@pytest.mark.parametrize("value", ["2", "ja", "nope"])
def test_any_other_flag_is_refused_by_name_and_value(given: Any, value: str) -> None:
    given(value)
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} is '{value}'; allowed are"):
        env.flag(NAME)


@pytest.mark.parametrize("value", ["x", "nan", "inf", "-1", "11", "1e9"])
def test_a_number_out_of_range_is_refused(given: Any, value: str) -> None:
    given(value)
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} is .*from 1 to 10"):
        env.number(NAME, 5, 1, 10)


def test_a_number_within_range_is_read(given: Any) -> None:
    given(" 2.5 ")
    assert env.number(NAME, 5, 1, 10) == 2.5


def test_a_whole_number_has_no_fraction(given: Any) -> None:
    given("2.5")
    with pytest.raises(ImproperlyConfigured, match="whole number"):
        env.integer(NAME, 5, 1, 10)


@pytest.mark.parametrize(
    ("value", "pair"),
    [
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:8443", ("::1", 8443)),
        ("::1:8443", ("::1", 8443)),
        ("gpu-hub.local:65535", ("gpu-hub.local", 65535)),
    ],
)
def test_an_address_is_host_and_port(given: Any, value: str, pair: tuple[str, int]) -> None:
    given(value)
    assert env.address(NAME, "") == pair


@pytest.mark.parametrize(
    "value", ["8000", ":8000", "host", "host:", "host:0", "host:65536", "host:-1", "host:²", "http://host:80"]
)
def test_what_is_no_address_is_refused(given: Any, value: str) -> None:
    given(value)
    with pytest.raises(ImproperlyConfigured, match="it must be host:port"):
        env.address(NAME, "")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.4", False),
        ("example.org", False),
    ],
)
def test_only_this_machine_itself_is_loopback(host: str, expected: bool) -> None:
    assert env.is_loopback(host) is expected


@pytest.mark.parametrize(
    ("bind", "names", "host"),
    [
        ("0.0.0.0", ["train.example", "other.example"], "train.example"),
        ("::", [".example", "*", "train.example"], "train.example"),
        ("0.0.0.0", ["::7"], "[::7]"),
        ("0.0.0.0", [], "0.0.0.0"),
        ("10.0.0.4", ["train.example"], "10.0.0.4"),
        ("::1", [], "[::1]"),
    ],
)
def test_others_reach_a_server_that_listens_everywhere_by_its_first_name(
    bind: str, names: list[str], host: str
) -> None:
    assert env.reachable_host(bind, names) == host


def test_the_private_redis_listens_below_the_home_where_a_socket_fits() -> None:
    assert env.redis_socket(Path("/srv/c")) == Path("/srv/c/redis/redis.sock")
    deep = Path("/" + "d" * 90)
    assert len(str(env.redis_socket(deep))) <= env.LONGEST_SOCKET_PATH
    assert env.redis_socket(deep) != env.redis_socket(deep / "other")
    assert env.redis_socket(deep) == env.redis_socket(deep)


def test_without_a_url_everything_uses_the_private_socket() -> None:
    urls = env.redis_urls("", Path("/srv/redis.sock"))
    assert set(urls) == {"broker", "channels", "cache"}
    assert all("/srv/redis.sock" in url for url in urls.values())


def test_a_url_is_used_by_all_and_must_be_redis() -> None:
    assert set(env.redis_urls("rediss://r:6379/2", Path("/x")).values()) == {"rediss://r:6379/2"}
    with pytest.raises(ImproperlyConfigured, match="'http'"):
        env.redis_urls("http://r:6379", Path("/x"))
