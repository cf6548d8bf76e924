from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avdetect.manifest import AudioSpec, ClassSpec, DetectorSpec, FileEntry, Manifest, MotionSpec, VisualSpec
from avdetect.media.packets import AudioChunk, VideoFrame
from avdetect.snippets.assembler import SnippetAssembler
from avdetect.snippets.snippet import Snippet
from avdetect.stage import through

RATE_HZ = 1000
HOP = Fraction(16, 25)
HOP_SAMPLES = 640
WINDOW = 975
CELLS = 8
CELL = HOP / CELLS
FPS_25 = Fraction(1, 25)


def manifest(*, frames: int = 1, visual: bool = True, motion: bool = True, audio: bool = True) -> Manifest:
    return Manifest(
        schema_version="1.0",
        name="test",
        version="1",
        created="2026-01-01T00:00:00Z",
        hop_s=0.64,
        classes=(ClassSpec(name="bang"),),
        visual=VisualSpec(graph="g", frames_per_snippet=frames, width=3, height=2, embedding_dim=1) if visual else None,
        motion=MotionSpec(graph="g", cells_per_snippet=CELLS, width=3, height=2, embedding_dim=1) if motion else None,
        audio=AudioSpec(graph="g", rate_hz=RATE_HZ, window_samples=WINDOW, embedding_dim=1) if audio else None,
        detector=DetectorSpec(graph="g", left_context_snippets=1, lookahead_snippets=0, embedding_dim=1),
        files=(FileEntry(path="g", sha256="0" * 64, size=1),),
    )


def picture(
    time: Fraction | float, value: int, *, rgb: bool = True, hold: Fraction = HOP, duration: Fraction = CELL
) -> VideoFrame:
    return VideoFrame(
        Fraction(time).limit_denominator(10**6),
        hold,
        duration,
        np.full((2, 3), value, np.uint8),
        np.full((2, 3, 3), value, np.uint8) if rgb else None,
    )


def pictures(duration_s: float, *, start_s: float = 0.0) -> list[VideoFrame]:
    """One in the middle of every cell, whose value is the number of the cell; RGB in cell 4 as in a real source."""
    first, stop = round(start_s / CELL), round(duration_s / CELL)
    return [picture((cell + Fraction(1, 2)) * CELL, cell % 251, rgb=cell % CELLS == 4) for cell in range(first, stop)]


def ramp(start: int, stop: int) -> np.ndarray:
    """Samples that tell their own number, from 1 on (0 means a hole); exact in float32."""
    return np.arange(start + 1, stop + 1, dtype=np.float32)


def chunks(start: int, stop: int, *, size: int = 100) -> list[AudioChunk]:
    return [AudioChunk(Fraction(at, RATE_HZ), ramp(at, min(at + size, stop))) for at in range(start, stop, size)]


def interleaved(*streams: Sequence[VideoFrame | AudioChunk]) -> list[VideoFrame | AudioChunk]:
    return sorted((item for stream in streams for item in stream), key=lambda item: item.time)


def assemble(items: Iterable[VideoFrame | AudioChunk], **options: object) -> list[Snippet]:
    return list(through(items, SnippetAssembler(manifest(), **options)))  # type: ignore[arg-type]


def assert_same(left: Sequence[Snippet], right: Sequence[Snippet]) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        for field in dataclasses.fields(Snippet):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def test_snippets_cover_the_media_one_after_the_other() -> None:
    snippets = assemble(interleaved(pictures(2.56), chunks(0, 2560)))
    assert [snippet.index for snippet in snippets] == [0, 1, 2, 3]
    assert [(s.span.start_s, s.span.end_s) for s in snippets] == [(0, 0.64), (0.64, 1.28), (1.28, 1.92), (1.92, 2.56)]
    assert all(snippet.audio_present and snippet.visual_present for snippet in snippets)


def test_the_window_ends_where_the_snippet_ends() -> None:
    snippets = assemble(interleaved(pictures(1.92), chunks(0, 1920)))
    np.testing.assert_array_equal(snippets[2].waveform, ramp(1920 - WINDOW, 1920))
    np.testing.assert_array_equal(snippets[0].waveform[WINDOW - HOP_SAMPLES :], ramp(0, 640))
    assert not snippets[0].waveform[: WINDOW - HOP_SAMPLES].any()


def test_sound_before_the_origin_is_heard_in_the_first_window() -> None:
    snippets = assemble(interleaved(pictures(0.64), chunks(-500, 640)))
    np.testing.assert_array_equal(snippets[0].waveform, ramp(640 - WINDOW, 640))


def test_luma_holds_one_picture_per_cell_after_the_last_of_the_snippet_before() -> None:
    snippet = assemble(interleaved(pictures(1.28), chunks(0, 1280)))[1]
    assert snippet.luma[:, 0, 0].tolist() == [7, 8, 9, 10, 11, 12, 13, 14, 15]
    np.testing.assert_allclose(snippet.luma_time_s, (np.arange(-1, 8) + 0.5) * 0.08, rtol=1e-6)


def test_a_missing_picture_repeats_the_one_before_it_with_its_time() -> None:
    frames = [frame for frame in pictures(1.28) if frame.luma[0, 0] not in (10, 11)]
    snippet = assemble(interleaved(frames, chunks(0, 1280)))[1]
    assert snippet.luma[:, 0, 0].tolist() == [7, 8, 9, 9, 9, 12, 13, 14, 15]
    assert snippet.luma_time_s[3] == snippet.luma_time_s[2] == snippet.luma_time_s[4]


def test_without_an_earlier_picture_the_first_one_is_repeated() -> None:
    snippet = assemble(interleaved(pictures(0.64, start_s=0.24), chunks(0, 640)))[0]
    assert snippet.luma[:, 0, 0].tolist() == [3, 3, 3, 3, 3, 4, 5, 6, 7]
    assert snippet.luma_time_s[:4].tolist() == [np.float32(0.28)] * 4


def test_a_picture_is_not_shown_longer_than_it_is_held() -> None:
    early, late = picture(0.3, 1, hold=Fraction(1, 2)), picture(2.0, 2)
    snippets = assemble(interleaved([early, late], chunks(0, 2560)))
    assert [snippet.visual_present for snippet in snippets] == [True, True, False, True]
    assert snippets[1].luma[:, 0, 0].tolist() == [1] * 9
    assert not snippets[2].luma.any()
    assert not snippets[2].frames.any()
    assert not snippets[2].luma_time_s.any()
    assert snippets[3].luma[:, 0, 0].tolist() == [2] * 9


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        pytest.param({4: 50, 20: 60}, 50, id="the-picture-of-the-cell"),
        pytest.param({2: 50, 6: 60}, 50, id="an-earlier-one-that-is-still-held"),
        pytest.param({6: 60, 7: 70}, 60, id="the-nearest-later-one"),
        pytest.param({-2: 40}, 40, id="one-of-the-snippet-before"),
        pytest.param({}, 0, id="none"),
    ],
)
def test_rgb_is_taken_from(present: dict[int, int], expected: int) -> None:
    frames = [picture((CELLS + cell) * CELL, value) for cell, value in present.items()]
    snippet = assemble(interleaved(frames, chunks(0, 1920)))[1]
    assert snippet.frames[0].max() == expected


def test_several_frames_are_spread_over_the_hop() -> None:
    frames = [dataclasses.replace(frame, rgb=np.repeat(frame.luma[..., None], 3, -1)) for frame in pictures(0.64)]
    items = interleaved(frames, chunks(0, 640))
    snippet = next(through(items, SnippetAssembler(manifest(frames=2))))
    assert snippet.frames[:, 0, 0, 0].tolist() == [2, 6]


def test_holes_in_the_sound_are_zeros_and_half_a_hop_of_sound_counts() -> None:
    kept = [*chunks(0, 640), *chunks(960, 1280), *chunks(1280 + 321, 1920)]
    snippets = assemble(interleaved(pictures(1.92), kept))
    assert [snippet.audio_present for snippet in snippets] == [True, True, False]
    assert not snippets[1].waveform[WINDOW - 640 : WINDOW - 320].any()
    np.testing.assert_array_equal(snippets[1].waveform[WINDOW - 320 :], ramp(960, 1280))


def test_the_later_of_two_overlapping_chunks_is_trimmed() -> None:
    overlapping = [AudioChunk(Fraction(0), ramp(0, 400)), AudioChunk(Fraction(3, 10), np.full(400, -1, np.float32))]
    waveform = assemble(interleaved(pictures(0.64), overlapping))[0].waveform[WINDOW - HOP_SAMPLES :]
    np.testing.assert_array_equal(waveform[:400], ramp(0, 400))
    np.testing.assert_array_equal(waveform[400:], -1)


def test_streams_that_start_late_and_end_early_are_absent_elsewhere() -> None:
    snippets = assemble(interleaved(pictures(2.56, start_s=1.28), chunks(0, 1280)))
    assert [snippet.audio_present for snippet in snippets] == [True, True, False, False]
    assert [snippet.visual_present for snippet in snippets] == [False, False, True, True]


def test_one_stream_alone_is_not_waited_for_the_other() -> None:
    assembler = SnippetAssembler(manifest(), has_audio=False)
    released = [[snippet.index for snippet in assembler.push(frame)] for frame in pictures(1.28)]
    assert released[7] == [0]
    assert released[15] == [1]
    assembler = SnippetAssembler(manifest(), has_video=False)
    released = [[snippet.index for snippet in assembler.push(chunk)] for chunk in chunks(0, 1280, size=640)]
    assert released == [[0], [1]]


def test_a_snippet_leaves_as_soon_as_both_streams_have_passed_its_end() -> None:
    assembler = SnippetAssembler(manifest())
    for chunk in chunks(0, 640):
        assert not list(assembler.push(chunk))
    *early, last = pictures(0.64)
    for frame in early:
        assert not list(assembler.push(frame))
    assert [snippet.index for snippet in assembler.push(last)] == [0]


@pytest.mark.parametrize("missing", ["visual", "motion", "audio"])
def test_a_manifest_without_an_encoder_gives_snippets_without_its_input(missing: str) -> None:
    stage = SnippetAssembler(manifest(**{missing: False}))  # type: ignore[arg-type]
    luma = np.zeros((2, 3) if missing != "motion" else (0, 0), np.uint8)
    frames = [dataclasses.replace(frame, luma=luma) for frame in pictures(1.28)]
    snippets = list(through(interleaved(frames, chunks(0, 1280)), stage))
    assert len(snippets) == 2
    sizes = {"visual": snippets[1].frames.size, "motion": snippets[1].luma.size, "audio": snippets[1].waveform.size}
    assert {name for name, size in sizes.items() if size == 0} == {missing}


@pytest.mark.parametrize(
    ("samples", "ends"),
    [
        pytest.param(0, [], id="nothing"),
        pytest.param(30, [0.03], id="a-sliver-that-is-all-there-is"),
        pytest.param(700, [0.64], id="a-sliver-after-a-snippet"),
        pytest.param(720, [0.64, 0.72], id="a-cell-after-a-snippet"),
        pytest.param(1280, [0.64, 1.28], id="whole-snippets"),
    ],
)
def test_the_last_snippet_ends_with_the_media(samples: int, ends: list[float]) -> None:
    snippets = assemble(chunks(0, samples), has_video=False)
    assert [snippet.span.end_s for snippet in snippets] == pytest.approx(ends)
    assert all(snippet.audio_present for snippet in snippets)


@pytest.mark.parametrize(
    ("interval", "count", "end_s"),
    [(Fraction(1, 25), 50, 2.0), (Fraction(1), 3, 3.0), (Fraction(2, 25), 1, 0.08)],
    ids=["25-fps", "1-fps", "single"],
)
def test_video_lasts_as_long_as_its_last_picture(interval: Fraction, count: int, end_s: float) -> None:
    frames = [picture(at * interval, 1, hold=max(interval, HOP), duration=interval) for at in range(count)]
    last = assemble(frames, has_audio=False)[-1]
    assert last.span.end_s == pytest.approx(end_s)


def test_one_picture_a_second_is_shown_in_every_snippet() -> None:
    frames = [picture(second, second + 1, hold=Fraction(1)) for second in range(4)]
    snippets = assemble(interleaved(frames, chunks(0, 4000)))
    assert all(snippet.visual_present for snippet in snippets)
    assert [int(snippet.frames[0, 0, 0, 0]) for snippet in snippets] == [1, 2, 2, 3, 3, 4, 4]
    assert snippets[1].luma[:, 0, 0].tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2]


def test_a_first_index_gives_the_same_snippets_as_a_full_run() -> None:
    items = interleaved(pictures(6.4), chunks(-200, 6400))
    assert_same(assemble(items, first_index=3, num_snippets=4), assemble(items)[3:7])


def test_a_source_that_begins_at_the_first_index_needs_only_the_window_and_one_picture_before_it() -> None:
    start_s = float(3 * HOP)
    items = interleaved(pictures(6.4, start_s=start_s - 0.08), chunks(int(start_s * 1000) - WINDOW, 6400))
    full = assemble(interleaved(pictures(6.4), chunks(0, 6400)))
    assert_same(assemble(items, first_index=3), full[3:])


def test_a_stream_that_lags_is_given_up_after_the_skew_and_noted() -> None:
    assembler = SnippetAssembler(manifest(), max_skew_s=2.0)
    sound_first = [*chunks(0, 6400), *pictures(6.4)]
    snippets = list(through(sound_first, assembler))
    assert [snippet.index for snippet in snippets] == list(range(10))
    assert [snippet.visual_present for snippet in snippets[:5]] == [False] * 5
    assert all(snippet.visual_present for snippet in snippets[-2:])
    assert [note.code for note in assembler.notes] == ["skewed-streams"]


def test_a_skew_within_the_bound_changes_nothing() -> None:
    assembler = SnippetAssembler(manifest())
    assert_same(
        list(through([*chunks(0, 6400), *pictures(6.4)], assembler)),
        assemble(interleaved(pictures(6.4), chunks(0, 6400))),
    )
    assert assembler.notes == ()


def test_a_long_gap_in_one_stream_is_no_skew() -> None:
    sound = [*chunks(0, 640), *chunks(60_000, 64_000)]
    assembler = SnippetAssembler(manifest(), max_skew_s=5.0)
    snippets = list(through(interleaved(pictures(64), sound), assembler))
    assert len(snippets) == 100
    assert all(snippet.visual_present for snippet in snippets)
    assert assembler.notes == ()


@pytest.mark.parametrize("stream", [pictures(400), chunks(0, 400_000, size=1000)], ids=["pictures", "sound"])
def test_memory_does_not_grow_when_the_other_stream_never_comes(stream: Sequence[VideoFrame | AudioChunk]) -> None:
    assembler = SnippetAssembler(manifest(), max_skew_s=10.0)
    pending = 0.0
    for item in stream:
        for snippet in assembler.push(item):
            pending = max(pending, float(item.time) - snippet.span.end_s)
    assert pending == pytest.approx(10.0, abs=2.0)


def test_snippets_own_their_arrays() -> None:
    frames, sound = pictures(1.28), chunks(0, 1280)
    snippets = assemble(interleaved(frames, sound))
    sources = [frame.luma for frame in frames] + [chunk.samples for chunk in sound]
    arrays = [array for s in snippets for array in (s.frames, s.luma, s.luma_time_s, s.waveform)]
    for at, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in [*arrays[:at], *sources])


@settings(max_examples=40, deadline=None)
@given(cuts=st.sets(st.integers(-299, 2799), max_size=60), lead_s=st.floats(-3, 3))
def test_any_chunking_and_any_skew_give_the_same_snippets(cuts: set[int], lead_s: float) -> None:
    borders = [-300, *sorted(cuts), 2800]
    sound = [AudioChunk(Fraction(low, RATE_HZ), ramp(low, high)) for low, high in pairwise(borders)]
    order = [(float(item.time), item) for item in pictures(2.8)] + [(float(item.time) + lead_s, item) for item in sound]
    items = [item for _, item in sorted(order, key=lambda pair: pair[0])]
    assert_same(assemble(items), assemble(interleaved(pictures(2.8), chunks(-300, 2800))))


@settings(max_examples=40, deadline=None)
@given(times=st.lists(st.integers(0, 3000), unique=True, min_size=1, max_size=40).map(sorted))
def test_whatever_the_frame_rate_every_picture_of_a_cell_is_in_its_place(times: list[int]) -> None:
    last_of_cell = {Fraction(ms, 1000) // CELL: ms for ms in times}
    frames = [picture(Fraction(ms, 1000), at + 1, hold=HOP) for at, ms in enumerate(last_of_cell.values())]
    value_of_cell = {cell: at + 1 for at, cell in enumerate(last_of_cell)}
    for snippet in assemble(interleaved(frames, chunks(0, 3000))):
        for cell in range(CELLS):
            value = value_of_cell.get(snippet.index * CELLS + cell)
            if value is not None:
                assert snippet.luma[cell + 1, 0, 0] == value
        assert (np.diff(snippet.luma_time_s) >= 0).all()


def test_a_live_stream_that_stops_is_waited_for_only_once() -> None:
    """Sound stops at 1 s: what follows leaves a second later at first, and then as soon as the pictures have come."""
    assembler = SnippetAssembler(manifest(), max_lag_s=1.0)
    came: dict[int, float] = {}
    present: dict[int, bool] = {}
    for item in interleaved(pictures(6.0), chunks(0, 1000), chunks(4000, 6000)):
        for snippet in assembler.push(item):
            came[snippet.index] = float(item.time)
            present[snippet.index] = snippet.audio_present
    late_s = {index: at - float((index + 1) * HOP) for index, at in came.items()}

    assert late_s[0] < 0.2
    assert 0.9 < late_s[1] < 1.2
    assert all(-0.1 < late_s[index] < 0.2 for index in (3, 4, 5))
    assert [present[index] for index in range(9)] == [True, True, False, False, False, False, True, True, True]


def test_a_live_stream_that_comes_back_is_waited_for_again() -> None:
    """However the two are interleaved, once they are less than a second apart."""
    assembler = SnippetAssembler(manifest(), max_lag_s=1.0)
    late_sound = [(float(chunk.time) + 0.8, chunk) for chunk in [*chunks(0, 1000), *chunks(4000, 8000)]]
    shown = [(float(picture.time), picture) for picture in pictures(8.0)]
    snippets = []
    for _, item in sorted(late_sound + shown, key=lambda pair: pair[0]):
        snippets += assembler.push(item)

    assert [snippet.audio_present for snippet in snippets[7:10]] == [True, True, True]
    np.testing.assert_array_equal(snippets[9].waveform[-HOP_SAMPLES:], ramp(9 * HOP_SAMPLES, 10 * HOP_SAMPLES))
