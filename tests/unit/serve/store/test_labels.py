"""Answers become a list to train from, in which nothing is said that is not known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from avdetect.serve.store import Answer, Store
from avdetect.serve.store.labels import labelled_clips
from avdetect.training.data import read_training_data
from tests.synth.live_service import make_event

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Answered:
    """A store that is filled by hand, and its clips."""

    def __init__(self, store: Store, clips: Path) -> None:
        self.store = store
        self.clips = clips

    def add(
        self,
        name: str,
        answer: Answer | None,
        *,
        at_s: float = 0.0,
        length_s: float = 2.0,
        label: str = "gunshot",
        feed: str = "gate",
        clip: bool = True,
    ) -> None:
        started_at = NOON + timedelta(seconds=at_s)
        event = make_event(
            name, feed=feed, label=label, started_at=started_at, length_s=length_s, clip=f"{name}.mp4" if clip else None
        )
        self.store.record_event(event)
        self.store.set_answer(name, answer)
        if clip:
            (self.clips / f"{name}.mp4").touch()

    def labels(self) -> dict[str, tuple[str, ...]]:
        return {clip.event_id: clip.class_names for clip in labelled_clips(self.store, self.clips).clips}


@pytest.fixture
def answered(tmp_path: Path) -> Iterator[Answered]:
    clips = tmp_path / "clips"
    clips.mkdir()
    with Store(tmp_path / "store.db") as store:
        yield Answered(store, clips)


def test_the_reader_of_train_takes_the_list(answered: Answered, tmp_path: Path) -> None:
    answered.add("a", "confirmed")
    answered.add("b", "dismissed", at_s=100)
    answered.add("c", "confirmed", at_s=200, label="Glas, ö")
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(labelled_clips(answered.store, answered.clips).as_jsonl(Path("clips")), "utf-8")

    found = read_training_data(manifest)

    assert found.class_names == ("gunshot", "Glas, ö")
    assert [(record.path, set(record.labels), record.split) for record in found.records] == [
        (answered.clips / "a.mp4", {"gunshot"}, None),
        (answered.clips / "b.mp4", set(), None),
        (answered.clips / "c.mp4", {"Glas, ö"}, None),
    ]


def test_what_was_not_answered_is_not_listed(answered: Answered) -> None:
    answered.add("a", None)

    assert answered.labels() == {}


def test_a_clip_has_the_classes_of_all_confirmed_events_in_it(answered: Answered) -> None:
    answered.add("a", "confirmed", label="crash")
    answered.add("b", "confirmed", at_s=3, label="siren")
    answered.add("c", "dismissed", at_s=4, label="scream")

    assert answered.labels() == {"a": ("crash", "siren"), "b": ("siren", "crash"), "c": ("siren", "crash")}


def test_a_long_event_that_began_much_earlier_counts(answered: Answered) -> None:
    answered.add("alarm", "confirmed", length_s=1800, label="siren")
    answered.add("b", "dismissed", at_s=1200)

    assert answered.labels()["b"] == ("siren",)


def test_nothing_is_normal_beside_an_event_that_nobody_has_judged(answered: Answered) -> None:
    answered.add("a", "dismissed")
    answered.add("b", None, at_s=4, label="siren")

    found = labelled_clips(answered.store, answered.clips)

    assert found.clips == ()
    assert found.left_out == {"beside an event without an answer": 1}


@pytest.mark.parametrize(("at_s", "feed"), [(60.0, "gate"), (0.0, "yard")])
def test_events_at_another_time_or_place_do_not_matter(answered: Answered, at_s: float, feed: str) -> None:
    answered.add("a", "dismissed")
    answered.add("b", None, at_s=at_s, feed=feed)

    assert answered.labels() == {"a": ()}


def test_answers_whose_clip_has_gone_are_counted(answered: Answered) -> None:
    answered.add("a", "confirmed", clip=False)
    answered.add("b", "confirmed", at_s=100)
    (answered.clips / "b.mp4").unlink()

    found = labelled_clips(answered.store, answered.clips)

    assert found.clips == ()
    assert found.left_out == {"without a clip": 2}
