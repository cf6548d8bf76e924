from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from avdetect.models.alignment import AlignmentConfig, AlignmentNet, SoundVectors, TextVectors
from avdetect.runtime.session import choose_provider
from avdetect.runtime.sound_text import AlignmentModel, SoundStream
from avdetect.text.scoring import SoundTrace, Story, fit, relevance
from avdetect_export.alignment_graph import alignment_parity, export_alignment

TINY = AlignmentConfig(audio_dim=5, text_dim=6, joint_dim=4, hidden_dim=8, num_heads=2)


def embed(phrases: Sequence[str]) -> np.ndarray:
    """A vector for each phrase, of unit length, always the same."""
    rows = [np.random.default_rng(len(phrase)).standard_normal(6) for phrase in phrases]
    return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


def network(**choices: Any) -> AlignmentNet:
    torch.manual_seed(0)
    made = AlignmentNet(AlignmentConfig(**{**{name: getattr(TINY, name) for name in TINY.__slots__}, **choices})).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def opened(net: AlignmentNet) -> AlignmentModel:
    parts = export_alignment(net)
    return AlignmentModel.open(
        parts.spec, parts.audio_graph, parts.text_graph, embed, provider=choose_provider("cpu"), num_threads=1
    )


@pytest.mark.parametrize(("left", "right"), [(32, 2), (4, 3), (5, 0), (0, 0)])
def test_graphs_compute_what_the_network_does(left: int, right: int) -> None:
    net = network(left_context_snippets=left, lookahead_snippets=right)
    assert max(alignment_parity(export_alignment(net), net, embed).values()) < 1e-4


def test_the_same_network_gives_the_same_bytes() -> None:
    one, same = (export_alignment(network(), weights="float16").files() for _ in range(2))
    assert one == same


def test_half_precision_weights_are_half_the_size() -> None:
    net = network(hidden_dim=64)
    full, half = (export_alignment(net, weights=weights) for weights in ("float32", "float16"))
    assert len(half.audio_graph) < 0.75 * len(full.audio_graph)


@pytest.mark.parametrize("chunks", [[1], [7], [2, 1, 30]])
def test_however_a_stream_is_cut_its_trace_is_the_same(chunks: list[int]) -> None:
    model = opened(network(left_context_snippets=4, lookahead_snippets=3))
    rng = np.random.default_rng(1)
    audio, present = rng.standard_normal((40, 5)).astype(np.float32), rng.random(40) > 0.3
    whole, stream, start, parts = model.trace(audio, present), SoundStream(model.sound), 0, []
    while start < len(audio):
        size = chunks[len(parts) % len(chunks)]
        parts.append(stream.push(audio[start : start + size], present[start : start + size]))
        start += size
    parts.append(stream.flush(5))
    vectors, salience = (np.concatenate(part) for part in zip(*parts, strict=True))
    np.testing.assert_allclose(vectors, whole.vectors, atol=1e-5)
    np.testing.assert_allclose(salience[present], whole.salience[present], atol=1e-4)


def test_scores_without_torch_are_those_of_the_network() -> None:
    net = network()
    model = opened(net)
    rng = np.random.default_rng(2)
    audio, present = rng.standard_normal((30, 5)).astype(np.float32), rng.random(30) > 0.3
    trace, story = model.trace(audio, present), model.story("A dog, then thunder. Before that, two shots.")
    assert story.places.tolist() == [1, 2, 0]
    with torch.no_grad():
        sound = SoundVectors(*(torch.from_numpy(one)[None] for one in (trace.vectors, trace.salience, trace.present)))
        text = TextVectors(
            torch.from_numpy(story.phrases)[None],
            torch.from_numpy(story.whole)[None],
            torch.from_numpy(story.places)[None],
            torch.ones(1, 3).bool(),
        )
        expected = [float(one) for one in net.scores(sound, text)]
        curves = net.relevance_logits(sound, text.phrases[0])[:, 0].sigmoid().numpy()
    found = fit(trace, story, model.spec)
    assert [found.fused, found.overall, found.temporal, found.order] == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(relevance(trace, story.phrases, model.spec), np.where(present, curves, 0), atol=1e-5)


def test_a_recording_without_sound_fits_nothing() -> None:
    model = opened(network())
    empty = SoundTrace(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.bool_))
    story: Story = model.story("a dog")
    assert fit(empty, story, model.spec).fused == 0
    assert relevance(empty, story.phrases, model.spec).shape == (1, 0)
