from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from tests.server.world import World, client

pytestmark = pytest.mark.services

PASSWORD = "correct horse battery"
TOKEN, REFRESH, REVOKE, ME = (
    f"/api/v1/{end}" for end in ("auth/token", "auth/token/refresh", "auth/token/revoke", "me")
)


@pytest.fixture
def rosa(world: World) -> Any:
    world.researcher.set_password(PASSWORD)
    world.researcher.save()
    return world.researcher


def log_in(stranger: APIClient, name: str = "rosa", password: str = PASSWORD) -> Any:
    return stranger.post(TOKEN, {"username": name, "password": password}, format="json")


def test_a_log_in_gives_a_token_that_opens_the_api(rosa: Any) -> None:
    stranger = client()
    tokens = log_in(stranger).json()
    stranger.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens['access']}")
    assert stranger.get(ME).json() == {
        "id": rosa.pk,
        "username": "rosa",
        "first_name": "",
        "last_name": "",
        "email": "",
        "roles": ["researcher"],
    }


def test_an_unknown_user_and_a_wrong_password_get_the_same_answer(rosa: Any) -> None:
    unknown, wrong = log_in(client(), name="nobody"), log_in(client(), password="wrong")
    assert unknown.status_code == wrong.status_code == 401
    assert unknown.json() == wrong.json()
    assert wrong.json()["error"]["code"] == "login-failed"


def test_a_switched_off_user_gets_that_answer_too(rosa: Any) -> None:
    get_user_model().objects.filter(pk=rosa.pk).update(is_active=False)
    assert log_in(client()).json()["error"]["code"] == "login-failed"


def test_guessing_passwords_is_slowed_down(world: World) -> None:
    stranger = client()
    answers = [log_in(stranger, password=str(guess)) for guess in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert answers[-1].json()["error"]["code"] == "too-many-requests"
    assert int(answers[-1]["Retry-After"]) > 0


def test_a_made_up_forwarding_header_does_not_reset_the_count(world: World) -> None:
    stranger = client()
    body = {"username": "rosa", "password": "wrong"}
    answers = [
        stranger.post(TOKEN, body, format="json", HTTP_X_FORWARDED_FOR=f"10.0.0.{guess}")
        for guess in range(11)
    ]
    assert answers[-1].status_code == 429


def test_a_refresh_token_works_once(rosa: Any) -> None:
    stranger = client()
    old = log_in(stranger).json()["refresh"]
    new = stranger.post(REFRESH, {"refresh": old}, format="json").json()
    assert new["refresh"] != old
    again = stranger.post(REFRESH, {"refresh": old}, format="json")
    assert again.status_code == 401
    assert again.json()["error"]["code"] == "token-invalid"


def test_a_revoked_refresh_token_gives_nothing_more(rosa: Any) -> None:
    stranger = client()
    refresh = log_in(stranger).json()["refresh"]
    assert stranger.post(REVOKE, {"refresh": refresh}, format="json").status_code == 204
    assert stranger.post(REFRESH, {"refresh": refresh}, format="json").status_code == 401
    assert stranger.post(REVOKE, {"refresh": refresh}, format="json").status_code == 401


@pytest.mark.parametrize("change", ["deleted", "switched off"])
def test_tokens_of_somebody_who_left_are_worthless(rosa: Any, world: World, change: str) -> None:
    stranger = client()
    tokens = log_in(stranger).json()
    if change == "deleted":
        world.running.delete()
        world.draft.delete()
        world.schedule.delete()
        rosa.delete()
    else:
        get_user_model().objects.filter(pk=rosa.pk).update(is_active=False)
    assert stranger.post(REFRESH, {"refresh": tokens["refresh"]}, format="json").status_code == 401
    stranger.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens['access']}")
    assert stranger.get(ME).status_code == 401


def test_a_new_password_ends_the_old_access_tokens(rosa: Any) -> None:
    stranger = client()
    stranger.credentials(HTTP_AUTHORIZATION=f"Bearer {log_in(stranger).json()['access']}")
    rosa.set_password("another battery horse")
    rosa.save()
    assert stranger.get(ME).status_code == 401


def test_an_expired_token_is_refused(rosa: Any) -> None:
    token = AccessToken.for_user(rosa)
    token.set_exp(lifetime=-timedelta(seconds=1))
    stranger = client()
    stranger.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    response = stranger.get(ME)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "token-invalid"
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_session_needs_the_csrf_token_to_change_something(world: World) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(world.researcher)
    assert browser.get(ME).status_code == 200
    refused = browser.post(f"/api/v1/jobs/{world.draft.pk}/cancel")
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "csrf-failed"
