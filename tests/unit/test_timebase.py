from __future__ import annotations

from fractions import Fraction

import pytest

from avdetect.timebase import Span, as_seconds, snippet_span


def test_a_decimal_number_of_seconds_is_taken_exactly() -> None:
    assert as_seconds(0.64) == Fraction(16, 25)
    assert as_seconds(1) == 1


def test_snippets_touch_without_overlap_or_hole_for_hours() -> None:
    hop = as_seconds(0.64)
    assert all(snippet_span(t, hop).end_s == snippet_span(t + 1, hop).start_s for t in range(0, 60_000, 7))
    assert snippet_span(56_250, hop).start_s == 36_000.0


def test_a_span_cannot_end_before_it_starts() -> None:
    with pytest.raises(ValueError, match="must not end before it starts"):
        Span(2.0, 1.0)
