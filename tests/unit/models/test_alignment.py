from __future__ import annotations

import math
from dataclasses import replace
from itertools import cycle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avdetect.errors import UsageError
from avdetect.models.alignment import AlignmentConfig, AlignmentNet, SoundVectors, TextVectors

TINY = AlignmentConfig(audio_dim=5, text_dim=6, joint_dim=4, hidden_dim=8, num_heads=2, position_range_snippets=3)


def network(config: AlignmentConfig = TINY, seed: int = 0) -> AlignmentNet:
    """With weights large enough for every path to matter."""
    torch.manual_seed(seed)
    made = AlignmentNet(config).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def recordings(num: int, num_snippets: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(num, num_snippets, 5, generator=generator)
    present = torch.rand(num, num_snippets, generator=generator) > 0.3
    present[:, 0] = True
    return audio, present


def texts(num: int, num_phrases: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    phrases = torch.nn.functional.normalize(torch.randn(num, num_phrases, 6, generator=generator), dim=-1)
    present = torch.rand(num, num_phrases, generator=generator) > 0.3
    present[:, 0] = True
    return phrases, torch.randint(0, 4, (num, num_phrases), generator=generator), present


@settings(deadline=None, max_examples=20)
@given(
    st.integers(0, 9),
    st.integers(0, 4),
    st.integers(1, 40),
    st.lists(st.integers(1, 17), min_size=1, max_size=5),
    st.integers(0, 2**31),
)
def test_however_a_stream_is_cut_its_vectors_are_those_of_the_whole(
    left: int, right: int, num_snippets: int, chunks: list[int], seed: int
) -> None:
    tower = network(replace(TINY, left_context_snippets=left, lookahead_snippets=right), seed).audio
    inputs = recordings(2, num_snippets, seed)
    padding = [(0, 0, 0, right), (0, right)]
    audio, present = (torch.nn.functional.pad(one, pad) for one, pad in zip(inputs, padding, strict=True))
    state = {spec.name: torch.zeros(2, *spec.shape, dtype=getattr(torch, spec.dtype)) for spec in tower.state_specs()}
    parts, start, sizes = [], 0, cycle(chunks)
    with torch.no_grad():
        whole = tower(*inputs)
        while start < audio.shape[1]:
            stop = start + next(sizes)
            part, state = tower.forward_stream(audio[:, start:stop], present[:, start:stop], state)
            parts.append(part)
            start = stop
    for found, expected in zip(zip(*parts, strict=True), whole, strict=True):
        joined = torch.cat(found, 1)[:, right:]
        torch.testing.assert_close(joined[inputs[1]], expected[inputs[1]], atol=1e-5, rtol=1e-5)


def test_padding_changes_nothing() -> None:
    net, (audio, present), (phrases, places, told) = network(), recordings(3, 9), texts(4, 5)
    with torch.no_grad():
        plain = net.scores(net.audio(audio, present), net.text(phrases, places, told))
        longer = net.scores(
            net.audio(
                torch.nn.functional.pad(audio, (0, 0, 0, 6), value=3.0), torch.nn.functional.pad(present, (0, 6))
            ),
            net.text(
                torch.nn.functional.pad(phrases, (0, 0, 0, 2), value=3.0),
                torch.nn.functional.pad(places, (0, 2), value=7),
                torch.nn.functional.pad(told, (0, 2)),
            ),
        )
    for found, expected in zip(longer, plain, strict=True):
        torch.testing.assert_close(found, expected)


def obvious_score(net: AlignmentNet, sound: SoundVectors, text: TextVectors, a: int, b: int) -> float:
    """The formula of ``AlignmentNet.scores``, one number after the other."""
    heard = [t for t in range(sound.snippets.shape[1]) if sound.present[a, t]]
    told = [n for n in range(text.phrases.shape[1]) if text.present[b, n]]
    temporal, times = 0.0, []
    for n in told:
        closeness = [float(sound.snippets[a, t] @ text.phrases[b, n]) for t in heard]
        weights = [math.exp(net.log_sharpness.exp().item() * one) for one in closeness]
        shares = [one / sum(weights) for one in weights]
        temporal += sum(share * one for share, one in zip(shares, closeness, strict=True)) / len(told)
        times.append(sum(share * t for share, t in zip(shares, heard, strict=True)))
    places = [float(text.places[b, n]) for n in told]
    times = [one - sum(times) / len(told) for one in times]
    places = [one - sum(places) / len(told) for one in places]
    order = sum(x * y for x, y in zip(times, places, strict=True)) / (math.hypot(*times) * math.hypot(*places) + 0.5)
    overall = float(sound.whole()[a] @ text.whole[b])
    return float(
        net.log_overall_weight.exp() * overall + net.log_temporal_weight.exp() * temporal + net.order_weight * order
    )


def test_scores_are_those_of_the_formula() -> None:
    net = network()
    with torch.no_grad():
        sound, text = net.audio(*recordings(3, 12)), net.text(*texts(4, 5))
        found = net.scores(sound, text).fused
        expected = torch.tensor([[obvious_score(net, sound, text, a, b) for b in range(4)] for a in range(3)])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_order_tells_a_story_from_its_reverse() -> None:
    net = network()
    vectors = torch.eye(4)[:2]
    sound = SoundVectors(vectors.repeat_interleave(4, 0)[None], torch.zeros(1, 8), torch.ones(1, 8).bool())
    with torch.no_grad():
        net.log_sharpness.fill_(4.0)
        text = TextVectors(vectors[None], vectors[:1], torch.tensor([[0, 1]]), torch.ones(1, 2).bool())
        right, wrong, none = (
            float(net.scores(sound, text._replace(places=torch.tensor([places]))).order)
            for places in ([0, 1], [1, 0], [3, 3])
        )
    assert right > 0.8
    assert wrong < -0.8
    assert none == 0


def test_a_phrase_means_the_same_wherever_it_stands() -> None:
    net, (phrases, places, _) = network(), texts(1, 3)
    with torch.no_grad():
        among_others = net.text(phrases, places, torch.ones(1, 3).bool()).phrases[0, 2]
        alone = net.text(phrases[:, 2:], torch.zeros(1, 1).long(), torch.ones(1, 1).bool()).phrases[0, 0]
    torch.testing.assert_close(among_others, alone)


def test_nothing_heard_is_finite() -> None:
    net = network()
    with torch.no_grad():
        silent = net.audio(torch.zeros(1, 4, 5), torch.zeros(1, 4).bool())
        scores = net.scores(silent, net.text(*texts(2, 3)))
    assert all(torch.isfinite(one).all() for one in scores)


def test_a_bad_size_is_named() -> None:
    with pytest.raises(UsageError, match="hidden_dim"):
        AlignmentConfig(audio_dim=5, text_dim=6, hidden_dim=12, num_heads=4)
