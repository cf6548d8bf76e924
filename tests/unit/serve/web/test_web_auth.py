"""Who may ask, over a real connection."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from avdetect.errors import UsageError
from avdetect.serve.web.auth import FREE_GUESSES, SESSION_COOKIE, GuessLimit, Token, check_exposure
from tests.synth.live_service import LiveService, live_service, make_event

TOKEN = "correct-horse-battery"
PROTECTED = (
    "/api/feeds",
    "/api/events",
    "/api/stream",
    "/clips/a.mp4",
    "/metrics",
    "/openapi.json",
    "/api/labels.jsonl",
)
OPEN = ("/", "/static/page.js", "/healthz", "/readyz", "/api/session")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    with live_service(tmp_path_factory.mktemp("guarded"), token=TOKEN) as service:
        service.store.record_event(make_event("known"))
        yield service


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    with live_service(tmp_path_factory.mktemp("unguarded")) as service:
        service.store.record_event(make_event("known"))
        yield service


def client_of(service: LiveService, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=service.url, headers=headers, trust_env=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.1.2.3"])
def test_this_machine_alone_needs_no_token(host: str) -> None:
    check_exposure(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "camera-box", "localhost.example.org"])
def test_a_host_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="can be reached from other machines: set a token"):
        check_exposure(host, None)

    check_exposure(host, TOKEN)


def test_a_short_token_is_refused_where_others_can_guess_it() -> None:
    check_exposure("127.0.0.1", "short")
    with pytest.raises(UsageError, match="5 characters are too few"):
        check_exposure("0.0.0.0", "short")


@pytest.mark.parametrize("token", ["twenty characters ok", "пароль-пароль-пароль", "tab\tin-the-middle-of", ""])
def test_a_token_that_cannot_stand_in_a_header_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="web token"):
        check_exposure("0.0.0.0", token)


@pytest.mark.parametrize("path", PROTECTED)
def test_nothing_is_told_without_the_token(guarded: LiveService, path: str) -> None:
    with client_of(guarded) as client:
        answer = client.get(path)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", OPEN)
def test_the_page_and_the_health_are_open(guarded: LiveService, path: str) -> None:
    guarded.state.on_turn()  # no engine does
    with client_of(guarded) as client:
        assert client.get(path).status_code == 200


def test_programs_send_the_token_in_a_header(guarded: LiveService) -> None:
    with client_of(guarded, Authorization=f"Bearer {TOKEN}") as client:
        assert client.get("/api/events/known").json()["id"] == "known"
        assert client.put("/api/events/known/answer", json={"answer": "confirmed"}).status_code == 200


@pytest.mark.parametrize(
    "credentials", [f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer", "Bearer é", TOKEN, f"Basic {TOKEN}"]
)
def test_anything_but_the_token_is_refused(guarded: LiveService, credentials: str) -> None:
    with client_of(guarded) as client:
        assert client.get("/api/feeds", headers={"Authorization": credentials.encode()}).status_code == 401


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(guarded: LiveService) -> None:
    with client_of(guarded) as client:
        assert client.get("/api/session").json() == {"token_needed": True, "signed_in": False}
        answer = client.post("/api/session", json={"token": TOKEN})
        cookie = answer.headers["set-cookie"]

        assert answer.status_code == 204
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/api/session").json() == {"token_needed": True, "signed_in": True}
        assert client.get("/api/feeds").status_code == 200

        client.delete("/api/session")
        assert SESSION_COOKIE not in client.cookies
        assert client.get("/api/feeds").status_code == 401


def test_the_wrong_token_does_not_sign_in(guarded: LiveService) -> None:
    with client_of(guarded) as client:
        answer = client.post("/api/session", json={"token": "guess"})

        assert answer.status_code == 403
        assert answer.json() == {"detail": "That is not the token."}
        assert "set-cookie" not in answer.headers


def test_who_is_not_signed_in_cannot_fill_the_memory(guarded: LiveService) -> None:
    with client_of(guarded) as client:
        known_length = client.post("/api/session", content=b"x" * 1_000_000)
        in_pieces = client.post("/api/session", content=(b"x" * 10_000 for _ in range(100)))

    assert (known_length.status_code, in_pieces.status_code) == (413, 413)


@pytest.mark.parametrize(
    "cookie", [f"{SESSION_COOKIE}=made-up", f"{SESSION_COOKIE}=", "[]=;;=", f"{SESSION_COOKIE}={TOKEN}"]
)
def test_a_made_up_cookie_is_refused(guarded: LiveService, cookie: str) -> None:
    with client_of(guarded, Cookie=cookie) as client:
        assert client.get("/api/feeds").status_code == 401


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://example.org"},
    {"Origin": "null"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_the_page_of_another_site_cannot_write(unguarded: LiveService, headers: dict[str, str]) -> None:
    with client_of(unguarded, **headers) as client:
        answer = client.put("/api/events/known/answer", json={"answer": "dismissed"})

    assert answer.status_code == 403
    stored = unguarded.store.event("known")
    assert stored is not None
    assert stored.answer is None


def test_our_own_page_can_write(unguarded: LiveService) -> None:
    own = {"Sec-Fetch-Site": "same-origin", "Origin": unguarded.url}
    with client_of(unguarded, **own) as client:
        assert client.put("/api/events/known/answer", json={"answer": None}).status_code == 200
    with client_of(unguarded, Origin=unguarded.url) as client:
        assert client.put("/api/events/known/answer", json={"answer": None}).status_code == 200


def test_a_name_that_was_made_to_point_here_is_refused(unguarded: LiveService) -> None:
    port = unguarded.url.rpartition(":")[2]
    with client_of(unguarded) as client:
        assert client.get("/api/feeds", headers={"Host": f"evil.example.org:{port}"}).status_code == 400
        for name in ("localhost", "127.0.0.1", "[::1]"):
            assert client.get("/api/feeds", headers={"Host": f"{name}:{port}"}).status_code == 200


def test_with_a_token_any_name_will_do(guarded: LiveService) -> None:
    with client_of(guarded, Host="cameras.example.org", Authorization=f"Bearer {TOKEN}") as client:
        assert client.get("/api/feeds").status_code == 200


def test_wrong_tokens_are_slowed_down_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avdetect.serve.web.auth.FIRST_GUESS_WAIT_S", 5.0)
    right, wrong = {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": "Bearer not-the-token"}
    with live_service(tmp_path, token=TOKEN) as service, client_of(service) as client:
        refused = [client.get("/api/feeds", headers=wrong).status_code for _ in range(FREE_GUESSES)]
        even_the_right_one = client.get("/api/feeds", headers=right)
        on_the_page = client.post("/api/session", json={"token": TOKEN})
        health = client.get("/healthz")
        time.sleep(float(even_the_right_one.headers["retry-after"]))
        later = client.get("/api/feeds", headers=right)

    assert refused == [401] * FREE_GUESSES
    assert even_the_right_one.status_code == 429
    assert on_the_page.status_code == 429
    assert health.status_code == 200
    assert later.status_code == 200
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["web: a wrong token from 127.0.0.1, the 1. in a row"]


def test_who_is_signed_in_is_not_held_up_by_who_guesses(tmp_path: Path) -> None:
    with live_service(tmp_path, token=TOKEN) as service, client_of(service) as browser, client_of(service) as thief:
        browser.post("/api/session", json={"token": TOKEN})
        for _ in range(FREE_GUESSES + 1):
            thief.post("/api/session", json={"token": "guess"})

        assert thief.post("/api/session", json={"token": "guess"}).status_code == 429
        assert browser.get("/api/feeds").status_code == 200


def test_each_further_guess_costs_more_time_and_a_neighbour_pays_for_it_only_in_the_same_network() -> None:
    guesses = GuessLimit()
    waits = []
    for _ in range(20):
        guesses.was_wrong("2001:db8::1")
        waits.append(round(guesses.wait_s("2001:db8::1")))

    assert waits[: FREE_GUESSES - 1] == [0] * (FREE_GUESSES - 1)
    assert waits[FREE_GUESSES - 1 :] == sorted(waits[FREE_GUESSES - 1 :])
    assert waits[-1] == 60
    assert guesses.wait_s("2001:db8::ffff") > 0
    assert guesses.wait_s("2001:db8:0:1::1") == 0
    guesses.was_right("2001:db8::1")
    assert guesses.wait_s("2001:db8::1") == 0


def test_a_session_ends_some_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with live_service(tmp_path, token=TOKEN) as service, client_of(service) as client:
        client.post("/api/session", json={"token": TOKEN})
        assert client.get("/api/feeds").status_code == 200
        monkeypatch.setattr("avdetect.serve.web.auth.SESSION_S", -1)
        assert client.get("/api/feeds").status_code == 401


def test_another_token_ends_all_sessions() -> None:
    headers = httpx.Headers({"cookie": f"{SESSION_COOKIE}={Token(TOKEN).new_session()}"})

    assert Token(TOKEN).knows_session(headers)
    assert not Token(TOKEN + "!").knows_session(headers)
