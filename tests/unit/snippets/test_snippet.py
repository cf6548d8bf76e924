"""Tests."""

from __future__ import annotations

from fractions import Fraction

import pytest

from avdetect.manifest import AudioSpec, ClassSpec, DetectorSpec, FileEntry, Manifest, MotionSpec, VisualSpec
from avdetect.snippets.snippet import rgb_cells, stream_plan

MANIFEST = Manifest(
    schema_version="1.0",
    name="test",
    version="1",
    created="2026-01-01T00:00:00Z",
    hop_s=0.64,
    classes=(ClassSpec(name="bang"),),
    visual=VisualSpec(graph="g", frames_per_snippet=1, width=160, height=120, embedding_dim=1),
    motion=MotionSpec(graph="g", cells_per_snippet=8, width=80, height=60, embedding_dim=1),
    audio=AudioSpec(graph="g", rate_hz=16_000, window_samples=15_600, embedding_dim=1),
    detector=DetectorSpec(graph="g", left_context_snippets=1, lookahead_snippets=0, embedding_dim=1),
    files=(FileEntry(path="g", sha256="0" * 64, size=1),),
)


@pytest.mark.parametrize(
    ("frames", "cells", "expected"),
    [(1, 8, (4,)), (2, 8, (2, 6)), (8, 8, tuple(range(8))), (3, 3, (0, 1, 2)), (4, 2, (0, 0, 1, 1)), (0, 8, ())],
)
def test_frames_are_spread_evenly_over_the_cells(frames: int, cells: int, expected: tuple[int, ...]) -> None:
    assert rgb_cells(frames, cells) == expected


def test_the_plan_asks_for_what_the_encoders_take() -> None:
    plan = stream_plan(MANIFEST)
    assert (plan.hop, plan.cell) == (Fraction(16, 25), Fraction(2, 25))
    assert (plan.luma_size, plan.rgb_size, plan.rgb_cells) == ((60, 80), (120, 160), {4})
    assert plan.rate_hz == 16_000
    assert plan.want_video
    assert plan.want_audio


def test_without_an_encoder_its_input_is_not_asked_for() -> None:
    assert not stream_plan(MANIFEST.model_copy(update={"audio": None})).want_audio
    assert not stream_plan(MANIFEST.model_copy(update={"visual": None, "motion": None})).want_video
    motion_only = stream_plan(MANIFEST.model_copy(update={"visual": None}))
    assert motion_only.want_video
    assert motion_only.rgb_cells == frozenset()
    appearance_only = stream_plan(MANIFEST.model_copy(update={"motion": None}))
    assert appearance_only.want_video
    assert (appearance_only.cells_per_snippet, appearance_only.rgb_cells) == (1, {0})
