"""What a scrape over HTTP gives, read by the parser of Prometheus' own client."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
from prometheus_client.parser import text_string_to_metric_families

from avdetect.serve.web.metrics import Metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def served(metrics: Metrics) -> Iterator[str]:
    def answer(environ: object, start_response: Any) -> Iterable[bytes]:
        body, content_type = metrics.render()
        start_response("200 OK", [("Content-Type", content_type)])
        return [body]

    with make_server("127.0.0.1", 0, answer, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()


def scrape(url: str) -> Samples:
    answer = httpx.get(url)
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_a_scrape_gives_what_was_counted() -> None:
    metrics = Metrics()
    metrics.set_up("yard", True)
    metrics.observe_snippet("yard", 0.25, {"gunshot": 0.9, "scream": 0.1})
    metrics.observe_snippet("yard", 1.25, {"gunshot": 0.4, "scream": 0.2})
    metrics.count_drop("yard", 3)
    metrics.count_reconnect("yard")
    metrics.count_event("yard", "gunshot")
    metrics.count_delivered("hook")
    metrics.count_failed("hook")
    metrics.watch_backlog(lambda: {"hook": 7})
    with served(metrics) as url:
        found = scrape(url)

    yard, hook = ("feed", "yard"), ("sink", "hook")
    gunshot = (("class", "gunshot"), yard)
    assert found["avdetect_feed_up", (yard,)] == 1
    assert found["avdetect_snippets_total", (yard,)] == 2
    assert found["avdetect_dropped_snippets_total", (yard,)] == 3
    assert found["avdetect_reconnects_total", (yard,)] == 1
    assert found["avdetect_latency_seconds_count", (yard,)] == 2
    assert found["avdetect_latency_seconds_sum", (yard,)] == 1.5
    assert found["avdetect_latency_seconds_bucket", (yard, ("le", "0.3"))] == 1
    assert found["avdetect_score", gunshot] == 0.4
    assert found["avdetect_events_total", gunshot] == 1
    assert found["avdetect_delivered_total", (hook,)] == 1
    assert found["avdetect_failed_deliveries_total", (hook,)] == 1
    assert found["avdetect_backlog", (hook,)] == 7


def test_a_feed_shows_before_its_first_snippet() -> None:
    metrics = Metrics()
    metrics.set_up("yard", False)
    with served(metrics) as url:
        found = scrape(url)

    assert found["avdetect_feed_up", (("feed", "yard"),)] == 0
    assert found["avdetect_snippets_total", (("feed", "yard"),)] == 0


def test_a_feed_that_is_no_more_leaves_nothing_and_the_others_stay() -> None:
    metrics = Metrics()
    for feed in ("yard", "door"):
        metrics.set_up(feed, True)
        metrics.observe_snippet(feed, 0.1, {"gunshot": 0.5})
        metrics.count_event(feed, "gunshot")
    metrics.forget("yard")
    metrics.forget("never-seen")
    with served(metrics) as url:
        found = scrape(url)

    feeds = {value for _, labels in found for key, value in labels if key == "feed"}
    assert feeds == {"door"}


def test_the_backlog_of_a_sink_that_is_no_more_goes() -> None:
    metrics = Metrics()
    backlog = {"hook": 1, "old": 2}
    metrics.watch_backlog(lambda: backlog)
    with served(metrics) as url:
        scrape(url)
        del backlog["old"]
        found = scrape(url)

    assert [labels for name, labels in found if name == "avdetect_backlog"] == [(("sink", "hook"),)]


def test_two_services_in_one_process_do_not_share_figures() -> None:
    first, second = Metrics(), Metrics()
    first.count_reconnect("yard")

    assert b"avdetect_reconnects_total{" not in second.render()[0]
