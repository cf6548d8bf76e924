from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avdetect_export.detector_graph import (
    ActivityModel,
    TableDetector,
    detector_graph,
    detector_state_shapes,
    score_offline,
)
from avdetect_export.parity import open_graph

AUDIO_DIM, VISUAL_DIM, NUM_HEARD = 12, 6, 3


def make_model(lookahead_snippets: int) -> TableDetector:
    random = np.random.default_rng(3)
    return TableDetector(
        audio_weight=random.standard_normal((NUM_HEARD, AUDIO_DIM)).astype(np.float32),
        audio_bias=random.standard_normal(NUM_HEARD).astype(np.float32),
        visual_dim=VISUAL_DIM,
        activity=ActivityModel(column=4, gain=1.5, rise_gain=2.0, offset=-1.0),
        left_context_snippets=5,
        lookahead_snippets=lookahead_snippets,
    )


MODELS = {ahead: make_model(ahead) for ahead in (1, 3)}
SESSIONS = {ahead: open_graph(detector_graph(model)) for ahead, model in MODELS.items()}

Stream = tuple[np.ndarray, np.ndarray, np.ndarray]


def make_stream(num_snippets: int, seed: int) -> Stream:
    random = np.random.default_rng(seed)
    present = random.random((num_snippets, 2)) < 0.7
    audio = random.standard_normal((num_snippets, AUDIO_DIM)) * present[:, :1]
    visual = random.random((num_snippets, VISUAL_DIM)) * present[:, 1:]
    return audio.astype(np.float32), visual.astype(np.float32), present


def run(
    session: onnxruntime.InferenceSession, model: TableDetector, stream: Stream, chunks: list[int]
) -> dict[str, np.ndarray]:
    """Score a stream in chunks, flushed with absent snippets; rows of snippets before the first are left out."""
    ahead = model.lookahead_snippets
    padded = [np.concatenate([part, np.zeros((ahead, part.shape[1]), part.dtype)]) for part in stream]
    state = {name: np.zeros((1, *shape), np.float32) for name, shape in detector_state_shapes(model).items()}
    names = [output.name for output in session.get_outputs()]
    rows: list[dict[str, np.ndarray]] = []
    start, sizes = 0, iter(chunks)
    while start < len(padded[0]):
        stop = start + next(sizes, len(padded[0]))
        inputs = {
            name: part[None, start:stop] for name, part in zip(("audio", "visual", "present"), padded, strict=True)
        }
        outputs = dict(zip(names, session.run(None, {**inputs, **state}), strict=True))
        state = {name: outputs[f"{name}_next"] for name in state}
        rows.append(outputs)
        start = stop
    return {
        name: np.concatenate([row[name][0] for row in rows])[ahead:]
        for name in ("scores", "audio_scores", "visual_scores", "embedding")
    }


@settings(deadline=None, max_examples=40)
@given(
    num_snippets=st.integers(1, 30),
    chunks=st.lists(st.integers(1, 9), max_size=30),
    ahead=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_any_cut_of_a_stream_gives_the_scores_of_the_offline_form(
    num_snippets: int, chunks: list[int], ahead: int, seed: int
) -> None:
    stream = make_stream(num_snippets, seed)
    found = run(SESSIONS[ahead], MODELS[ahead], stream, chunks)
    whole = run(SESSIONS[ahead], MODELS[ahead], stream, [])
    np.testing.assert_allclose(found["scores"], score_offline(MODELS[ahead], *stream), atol=1e-4)
    for name, rows in found.items():
        np.testing.assert_allclose(rows, whole[name], atol=1e-4, err_msg=name)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_modality_that_is_absent_scores_nothing(missing: int) -> None:
    audio, visual, _ = make_stream(10, 0)
    present = np.ones((10, 2), bool)
    present[:, missing] = False
    found = run(SESSIONS[1], MODELS[1], (audio + 5, visual + 5, present), [])
    alone = ("audio_scores", "visual_scores")
    assert not found[alone[missing]].any()
    np.testing.assert_array_equal(found["scores"], found[alone[1 - missing]])


def test_motion_counts_for_more_where_the_picture_was_still_before() -> None:
    model = MODELS[1]
    audio, present = np.zeros((20, AUDIO_DIM), np.float32), np.ones((20, 2), bool)
    always, sudden = np.ones((20, VISUAL_DIM), np.float32), np.ones((20, VISUAL_DIM), np.float32)
    sudden[:12] = 0.0
    score_always = run(SESSIONS[1], model, (audio, always, present), [])["scores"][13, -1]
    score_sudden = run(SESSIONS[1], model, (audio, sudden, present), [])["scores"][13, -1]
    assert score_sudden > score_always + 0.2
