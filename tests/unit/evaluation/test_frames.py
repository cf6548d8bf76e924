from __future__ import annotations

import numpy as np

from avdetect.evaluation.frames import frame_scores, frame_times, frames_inside
from avdetect.timebase import Span


def test_every_frame_has_the_score_of_the_snippet_it_starts_in() -> None:
    starts, scores = np.arange(3) * 0.64, np.array([0.1, 0.2, 0.3])

    on_frames = frame_scores(starts, scores, frame_times(1.92, 25))

    np.testing.assert_array_equal(on_frames, np.repeat(scores, 16))


def test_borders_of_snippets_are_exact_in_long_videos() -> None:
    count = 56_250  # ten hours
    starts = np.arange(count) * 0.64

    on_frames = frame_scores(starts, np.arange(count, dtype=np.float64), frame_times(count * 0.64, 25))

    np.testing.assert_array_equal(on_frames, np.repeat(np.arange(count), 16))


def test_frames_after_the_last_snippet_keep_its_score() -> None:
    on_frames = frame_scores(np.array([0.0]), np.array([0.7]), frame_times(2.0, 10))

    np.testing.assert_array_equal(on_frames, np.full(20, 0.7))


def test_an_event_holds_its_first_frame_and_not_its_last() -> None:
    inside = frames_inside([Span(0.2, 0.4), Span(0.8, 0.81)], frame_times(1.0, 10))

    assert np.flatnonzero(inside).tolist() == [2, 3, 8]
