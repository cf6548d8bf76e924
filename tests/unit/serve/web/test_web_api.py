"""The interface over a real connection: feeds, scores, events, answers, gaps, labels, probes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from avdetect.events.event import FeedGap
from avdetect.serve.web import state as state_module
from avdetect.training.data import read_training_data
from tests.synth.live_service import LiveService, live_service, make_event

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    with live_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def service(running: LiveService) -> LiveService:
    """With no feeds and nothing stored."""
    for feed in running.state.feeds():
        running.state.remove_feed(feed.status.feed)
    running.store.forget_events([event.id for event in running.store.events()])
    running.store.forget_gaps(datetime.now(UTC), undelivered=True)
    running.state.set_ready(True)
    return running


@pytest.fixture
def client(service: LiveService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        yield client


def ids(answer: httpx.Response) -> list[str]:
    return [event["id"] for event in answer.json()["events"]]


def test_feeds_say_how_they_are(service: LiveService, client: httpx.Client) -> None:
    service.add_feed("gate", num_dropped_snippets=3)
    service.add_feed("yard", "waiting", "connection refused.", num_reconnects=2)
    service.score("gate", 0.1)

    gate, yard = client.get("/api/feeds").json()

    assert (gate["feed"], gate["state"], gate["dropped_snippets"], gate["latency_s"]) == ("gate", "running", 3, 0.85)
    assert {"name": "glass", "title": "Breaking glass"} in gate["classes"]
    assert (yard["state"], yard["message"], yard["reconnects"]) == ("waiting", "connection refused.", 2)
    assert yard["last_score_at"] is None


def test_scores_can_be_asked_for_from_where_one_left_off(service: LiveService, client: httpx.Client) -> None:
    service.add_feed("gate")
    for value in (0.1, 0.2, 0.3):
        service.score("gate", value, seen=value != 0.2)

    rows = client.get("/api/feeds/gate/scores").json()["scores"]
    later = client.get("/api/feeds/gate/scores", params={"since": rows[0]["sequence"]}).json()["scores"]

    assert [row["fused"][0] for row in rows] == pytest.approx([0.1, 0.2, 0.3], abs=1e-4)
    assert [row["visual"] is None for row in rows] == [False, True, False]
    assert later == rows[1:]


def test_a_feed_that_is_not_there_is_said_so(client: httpx.Client) -> None:
    answer = client.get("/api/feeds/nowhere/scores")

    assert answer.status_code == 404
    assert answer.json() == {"detail": "There is no feed called nowhere."}


def test_events_come_page_by_page_newest_first(service: LiveService, client: httpx.Client) -> None:
    for number in range(5):
        service.store.record_event(make_event(f"e{number}", started_at=NOON + timedelta(minutes=number)))

    seen, cursor = [], None
    while True:
        page = client.get("/api/events", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        seen.append(ids(page))
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break

    assert seen == [["e4", "e3"], ["e2", "e1"], ["e0"]]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"feed": "yard"}, ["b"]),
        ({"class": "siren"}, ["c"]),
        ({"min_confidence": "0.75"}, ["c", "a"]),
        ({"since": "2026-05-04T12:01:00Z"}, ["c", "b"]),
        ({"until": "2026-05-04T14:01:00+02:00"}, ["a"]),
        ({"answer": "confirmed"}, ["b"]),
        ({"answer": "unanswered"}, ["c", "a"]),
        ({"class": "siren", "feed": "yard"}, []),
    ],
    ids=str,
)
def test_events_can_be_filtered(
    service: LiveService, client: httpx.Client, condition: dict[str, str], expected: list[str]
) -> None:
    service.store.record_event(make_event("a", started_at=NOON, confidence=0.8))
    service.store.record_event(make_event("b", started_at=NOON + timedelta(minutes=1), confidence=0.5, feed="yard"))
    service.store.record_event(make_event("c", started_at=NOON + timedelta(minutes=2), confidence=0.9, label="siren"))
    service.store.set_answer("b", "confirmed")

    assert ids(client.get("/api/events", params=condition)) == expected


@pytest.mark.parametrize(
    "condition",
    [{"limit": "0"}, {"limit": "9999"}, {"since": "yesterday"}, {"since": "2026-05-04T12:00:00"}, {"answer": "maybe"}],
    ids=str,
)
def test_a_question_that_makes_no_sense_is_refused(client: httpx.Client, condition: dict[str, str]) -> None:
    assert client.get("/api/events", params=condition).status_code == 422


def test_an_event_carries_its_times_and_its_clip(service: LiveService, client: httpx.Client) -> None:
    service.store.record_event(make_event("a", started_at=NOON, clip="a.mp4", thumbnail="a.jpg", modality="both"))

    event = client.get("/api/events/a").json()

    assert event["class"] == "gunshot"
    assert event["started_at"] == "2026-05-04T12:00:00.000Z"
    assert event["peak_at"] == "2026-05-04T12:00:01.000Z"
    assert (event["clip"], event["thumbnail"], event["modality"], event["answer"]) == ("a.mp4", "a.jpg", "both", None)
    assert client.get("/api/events/b").status_code == 404


def test_an_answer_is_stored_and_can_be_taken_back(service: LiveService, client: httpx.Client) -> None:
    service.store.record_event(make_event("a"))

    for said in ("confirmed", "dismissed", None):
        answer = client.put("/api/events/a/answer", json={"answer": said})
        stored = service.store.event("a")

        assert answer.json()["answer"] == said
        assert stored is not None
        assert stored.answer == said


@pytest.mark.parametrize("body", [{"answer": "perhaps"}, {}, {"answer": None, "more": 1}, []], ids=str)
def test_an_answer_that_is_none_is_refused(service: LiveService, client: httpx.Client, body: object) -> None:
    service.store.record_event(make_event("a"))

    assert client.put("/api/events/a/answer", json=body).status_code == 422
    assert client.put("/api/events/b/answer", json={"answer": None}).status_code == 404


def test_gaps_say_when_and_why(service: LiveService, client: httpx.Client) -> None:
    over = FeedGap("gate", "stalled", "No packets for 5 s.", 12.0, NOON, NOON + timedelta(seconds=8))
    service.store.record_gap(over)
    service.store.record_gap(FeedGap("yard", "refused", "Connection refused.", 0.0, NOON + timedelta(minutes=1)))

    yard, gate = client.get("/api/gaps").json()

    assert (gate["reason"], gate["ended_at"]) == ("stalled", "2026-05-04T12:00:08.000Z")
    assert yard["ended_at"] is None
    assert client.get("/api/gaps", params={"feed": "gate"}).json() == [gate]
    assert client.get("/api/gaps", params={"since": "2026-05-04T12:00:30Z"}).json() == [yard]


def test_labels_can_be_trained_from_in_the_folder_of_the_clips(service: LiveService, client: httpx.Client) -> None:
    for name, said in (("a", "confirmed"), ("b", "dismissed")):
        start = NOON if name == "a" else NOON + timedelta(hours=1)
        service.store.record_event(make_event(name, started_at=start, clip=f"{name}.mp4"))
        service.store.set_answer(name, said)
        (service.clips_folder / f"{name}.mp4").touch()

    answer = client.get("/api/labels.jsonl")
    (service.clips_folder / "labels.jsonl").write_bytes(answer.content)
    records = read_training_data(service.clips_folder / "labels.jsonl").records

    assert 'filename="labels.jsonl"' in answer.headers["content-disposition"]
    assert [(record.path.name, set(record.labels)) for record in records] == [("a.mp4", {"gunshot"}), ("b.mp4", set())]


def test_health_is_that_of_the_engine(
    service: LiveService, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.state.on_turn()
    assert client.get("/healthz").status_code == 200

    monkeypatch.setattr(state_module, "ALIVE_WITHIN_S", 0.0)
    time.sleep(0.001)
    assert client.get("/healthz").status_code == 503


def test_readiness_ends_when_the_service_stops(service: LiveService, client: httpx.Client) -> None:
    assert client.get("/readyz").json() == {"status": "ready"}

    service.state.set_ready(False)
    assert client.get("/readyz").status_code == 503


def test_metrics_can_be_scraped(client: httpx.Client) -> None:
    answer = client.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(("text/plain", "application/openmetrics-text"))


@pytest.mark.parametrize("path", ["/", "/api/feeds", "/static/page.js", "/nowhere", "/clips/none.mp4"])
def test_every_answer_tells_browsers_what_they_must_not_do(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "private, no-cache"


def test_the_description_names_every_route(client: httpx.Client) -> None:
    description = client.get("/openapi.json").json()

    assert description["info"]["title"] == "avdetect"
    assert {
        "/api/feeds",
        "/api/feeds/{feed}/scores",
        "/api/feeds/{feed}/thresholds/{class_name}",
        "/api/events",
        "/api/events/{event_id}",
        "/api/events/{event_id}/answer",
        "/api/gaps",
        "/api/labels.jsonl",
        "/api/session",
        "/api/stream",
        "/clips/{file}",
        "/thumbnails/{file}",
        "/healthz",
        "/readyz",
        "/metrics",
    } == set(description["paths"])


def test_a_threshold_is_chosen_and_taken_back(client: httpx.Client, service: LiveService) -> None:
    service.add_feed("alley")
    before = {feed["feed"]: feed for feed in client.get("/api/feeds").json()}["alley"]["thresholds"]["gunshot"]
    chosen = client.put("/api/feeds/alley/thresholds/gunshot", json={"threshold": 0.77}).json()
    back = client.put("/api/feeds/alley/thresholds/gunshot", json={"threshold": None}).json()

    assert (chosen["thresholds"]["gunshot"], chosen["chosen_thresholds"]) == (0.77, ["gunshot"])
    assert (back["thresholds"]["gunshot"], back["chosen_thresholds"]) == (before, [])
    for body in ({"threshold": 1.5}, {"threshold": "high"}, {}, {"threshold": 0.5, "more": 1}):
        assert client.put("/api/feeds/alley/thresholds/gunshot", json=body).status_code == 422
    assert client.put("/api/feeds/alley/thresholds/dragon", json={"threshold": 0.5}).status_code == 404
    assert client.put("/api/feeds/nobody/thresholds/gunshot", json={"threshold": 0.5}).status_code == 404


def test_readiness_ends_where_reports_cannot_be_kept(client: httpx.Client, service: LiveService) -> None:
    service.state.set_store_trouble("the disk is full.")
    refused = client.get("/readyz")
    service.state.set_store_trouble("")

    assert (refused.status_code, refused.json()) == (503, {"status": "The disk is full."})
    assert client.get("/readyz").status_code == 200


def test_an_event_is_as_it_was_reported_last_though_the_store_is_behind(
    client: httpx.Client, service: LiveService
) -> None:
    service.store.record_event(make_event("behind", stage="opened"))
    service.state.set_unstored(2, {"behind": make_event("behind"), "new": make_event("new", confidence=0.3)})
    listed = {event["id"]: event["stage"] for event in client.get("/api/events").json()["events"]}
    sure = {event["id"] for event in client.get("/api/events?min_confidence=0.5").json()["events"]}
    one = client.get("/api/events/new").json()
    service.state.set_unstored(0, {})

    assert (listed["behind"], listed["new"]) == ("closed", "closed")
    assert "behind" in sure
    assert "new" not in sure
    assert one["confidence"] == 0.3
