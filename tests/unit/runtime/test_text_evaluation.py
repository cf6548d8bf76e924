from __future__ import annotations

from avdetect.runtime.text_evaluation import Question
from avdetect.text.records import HeardSound
from avdetect.timebase import Span

BARK = HeardSound(Span(1, 2), "a dog barks", "animal")
MOO = HeardSound(Span(3, 4), "a cow lows", "animal")
RAIN = HeardSound(Span(5, 9), "rain", "weather")
UNKNOWN = HeardSound(Span(5, 9), "something", None)


def test_a_description_fits_its_own_sounds() -> None:
    question = Question("a dog barks", frozenset(["animal"]), is_description=True)
    assert question.heard_in([BARK, RAIN]) == (BARK.span,)
    assert question.heard_in([RAIN]) == ()


def test_whether_a_description_fits_another_sound_of_its_class_is_not_known() -> None:
    question = Question("a dog barks", frozenset(["animal"]), is_description=True)
    assert question.heard_in([MOO, RAIN]) is None


def test_a_class_is_heard_wherever_a_sound_of_it_is() -> None:
    question = Question("animal", frozenset(["animal"]), is_description=False)
    assert question.heard_in([BARK, MOO, RAIN]) == (BARK.span, MOO.span)
    assert question.heard_in([RAIN]) == ()


def test_a_sound_without_a_class_may_be_of_any() -> None:
    assert Question("animal", frozenset(["animal"]), is_description=False).heard_in([UNKNOWN]) is None
    assert Question("a dog barks", frozenset(), is_description=True).heard_in([UNKNOWN]) == ()
