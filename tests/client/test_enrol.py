import base64
import json
import stat
from pathlib import Path

import pytest

from fl_client import enrol
from fl_client import home as files
from fl_client.api import PlatformApi
from fl_client.home import Home
from fl_client.identity import Identity, authority, fingerprint, tls
from fl_client.link_errors import AlreadyEnrolled, BadCode, Refused, Revoked, Unreachable, Untrusted
from fl_server.models import Device, EnrolmentCode
from fl_server.services import devices
from tests.client.platform import Platform, free_port, platform

__all__ = ["platform"]
pytestmark = [pytest.mark.services]
FINGERPRINT = "ab" * 32


def packed(**parts: str) -> str:
    data = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")
    return f"C1-{data}"


def unpacked(code: str) -> dict[str, str]:
    return json.loads(base64.urlsafe_b64decode(code[3:] + "=" * (-len(code) % 4 + 3)))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_code_is_read_also_when_mail_broke_it_over_lines() -> None:
    code = packed(u="https://train.example/", s="secret", f=FINGERPRINT)
    broken = code[:20] + "\n  " + code[20:] + "\n"
    assert enrol.parse(broken) == enrol.Invitation("https://train.example", "secret", FINGERPRINT)


def test_a_secret_alone_needs_address_and_fingerprint_beside_it() -> None:
    spelled = ":".join(FINGERPRINT.upper()[i : i + 2] for i in range(0, 64, 2))
    found = enrol.parse("secret", "https://train.example", spelled)
    assert found == enrol.Invitation("https://train.example", "secret", FINGERPRINT)
    with pytest.raises(BadCode, match="--url"):
        enrol.parse("secret")
    with pytest.raises(BadCode, match="fingerprint"):
        enrol.parse("secret", "https://train.example")


@pytest.mark.parametrize(
    "code",
    [
        "C1-",
        "C1-%%%",
        "C1-e30",
        packed(u="https://x", s="", f=FINGERPRINT),
        packed(u="https://x", s="s", f="12"),
    ],
)
def test_damaged_codes_are_refused_in_a_sentence(code: str) -> None:
    with pytest.raises(BadCode):
        enrol.parse(code)


@pytest.mark.parametrize(
    "url", ["http://train.example", "http://10.0.0.1:8000", "ftp://127.0.0.1", "train.example"]
)
def test_plain_http_never_leaves_the_machine(url: str) -> None:
    with pytest.raises(BadCode, match="https"):
        enrol.parse("secret", url, FINGERPRINT)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"])
def test_plain_http_on_this_machine_is_fine(url: str) -> None:
    assert enrol.parse("secret", url).url == url


def test_a_machine_enrols_over_tls_and_can_speak_signed_afterwards(platform: Platform, home: Home) -> None:
    state = enrol.enrol(enrol.parse(platform.code()), "my desk", home)
    assert (state.name, state.status, state.server) == ("my desk", "approved", platform.url)
    assert Device.objects.get().owner == platform.owner
    assert home.state() == state
    names = [files.IDENTITY_KEY, files.NODE_KEY, files.CERTIFICATE, files.CA, files.STATE]
    assert {stat.S_IMODE(home.file(name).stat().st_mode) for name in names} == {0o600}
    verify = tls("platform", home.file(files.CA).read_text())
    with PlatformApi(platform.url, verify, Identity.load(home)) as api:
        assert api.get("/api/v1/device/me")["name"] == "my desk"


def test_a_clock_that_is_an_hour_off_is_corrected_once_and_for_all(platform: Platform, home: Home) -> None:
    enrol.enrol(enrol.parse(platform.code()), "desk", home)
    mine = Identity.load(home)
    mine.clock.offset = 3600
    with PlatformApi(platform.url, tls("platform", home.file(files.CA).read_text()), mine) as api:
        assert api.get("/api/v1/device/me")["status"] == "approved"
    assert abs(mine.clock.offset) < 5


def test_a_server_with_another_authority_gets_nothing(platform: Platform, home: Home) -> None:
    code = packed(**(unpacked(platform.code()) | {"f": FINGERPRINT}))
    with pytest.raises(Untrusted, match="Nothing was sent"):
        enrol.enrol(enrol.parse(code), "desk", home)
    assert EnrolmentCode.objects.get().uses == 0
    assert home.state() is None


def test_a_server_that_shows_the_right_authority_but_lacks_its_certificate_is_refused(
    platform: Platform, home: Home, tmp_path: Path, settings
) -> None:
    """Anybody can repeat a public certificate; only the platform can speak TLS with it."""
    from constellation_web.asgi import application
    from fl_server import pki
    from tests.client.platform import Web

    code, right = platform.code(), settings.KEYS_DIR
    settings.KEYS_DIR = tmp_path / "impostor"
    settings.KEYS_DIR.mkdir()
    port = free_port()
    impostor = Web(port, application)
    settings.KEYS_DIR = right
    try:
        assert pki.fingerprint() == unpacked(code)["f"]
        with pytest.raises(Untrusted):
            enrol.enrol(enrol.parse(code, f"https://127.0.0.1:{port}"), "desk", home)
    finally:
        impostor.stop()
    assert EnrolmentCode.objects.get().uses == 0


def test_a_used_up_code_is_refused_with_the_servers_sentence(
    platform: Platform, home: Home, tmp_path
) -> None:
    code = platform.code()
    enrol.enrol(enrol.parse(code), "first", Home(tmp_path / "first"))
    with pytest.raises(Refused, match="used 1 times") as refused:
        enrol.enrol(enrol.parse(code), "desk", home)
    assert (refused.value.code, refused.value.exit_code) == ("code-used-up", 3)
    assert home.state() is None


def test_an_enrolment_whose_answer_got_lost_is_repeated_without_a_second_device(
    platform: Platform, home: Home
) -> None:
    code = platform.code()
    enrol.enrol(enrol.parse(code), "desk", home)
    for name in (files.STATE, files.CERTIFICATE, files.CA):
        home.file(name).unlink()
    enrol.enrol(enrol.parse(code), "desk", home)
    assert Device.objects.count() == 1


def test_an_enrolled_machine_does_not_enrol_again_but_a_revoked_one_does_with_new_keys(
    platform: Platform, home: Home
) -> None:
    code = platform.code(max_uses=3)
    enrol.enrol(enrol.parse(code), "desk", home)
    with pytest.raises(AlreadyEnrolled):
        enrol.enrol(enrol.parse(code), "desk", home)
    devices.revoke(Device.objects.get(), platform.admin, "test")
    with (
        PlatformApi(
            platform.url, tls("platform", home.file(files.CA).read_text()), Identity.load(home)
        ) as api,
        pytest.raises(Revoked),
    ):
        api.get("/api/v1/device/me")
    home.update(status="revoked")
    before = home.read(files.IDENTITY_KEY)
    assert enrol.enrol(enrol.parse(code), "desk", home).status == "approved"
    assert home.read(files.IDENTITY_KEY) != before
    assert Device.objects.count() == 2


def test_lost_state_of_a_revoked_device_is_cured_by_new_keys(platform: Platform, home: Home) -> None:
    code = platform.code(max_uses=3)
    enrol.enrol(enrol.parse(code), "desk", home)
    devices.revoke(Device.objects.get(), platform.admin, "test")
    home.file(files.STATE).unlink()
    assert enrol.enrol(enrol.parse(code), "desk", home).status == "approved"
    assert Device.objects.filter(status="approved").count() == 1


def test_the_stored_authority_is_the_one_that_the_code_names(platform: Platform, home: Home) -> None:
    code = platform.code()
    enrol.enrol(enrol.parse(code), "desk", home)
    assert fingerprint(authority(home)) == unpacked(code)["f"]


def test_no_server_at_the_address_is_unreachable(home: Home) -> None:
    with pytest.raises(Unreachable):
        enrol.enrol(enrol.parse("secret", f"http://127.0.0.1:{free_port()}"), "desk", home)
