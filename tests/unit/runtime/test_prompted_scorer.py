"""Scores of prompts beside the detector's: the same however the stream is cut, and the others as without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avdetect.events.event import SnippetScore
from avdetect.features.encoders import SnippetEmbedding
from avdetect.manifest import ClassSpec
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.prompts import PromptedScorer, parse_prompts
from avdetect.runtime.scorer import StreamingScorer, live_scorer_for, score_features, scorer_for
from avdetect.stage import Stage, through
from avdetect.text.scoring import relevance
from avdetect.timebase import snippet_span
from avdetect.training.checkpoint import Checkpoint, save_checkpoint
from avdetect.training.embeddings import fingerprint
from avdetect_export.bundle_export import export_bundle
from tests.synth.words import write_worded

Scorer = Stage[SnippetEmbedding, SnippetScore]
HEADS = ("scores", "audio_scores", "visual_scores")
PROMPTS = parse_prompts(["glass breaks", "alarm=the alarm beeps", "a dog barks"])
LOOKAHEADS = (0, 1, 5)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Bundle]:
    """By lookahead of the alignment: less than the detector's, as far, farther."""
    folder = tmp_path_factory.mktemp("words")
    return {
        lookahead: Bundle.load(
            write_worded(folder / str(lookahead), left=3, lookahead=lookahead), prompts=PROMPTS, device="cpu"
        )
        for lookahead in LOOKAHEADS
    }


def embeddings(bundle: Bundle, present: list[bool], seed: int = 0) -> list[SnippetEmbedding]:
    rng = np.random.default_rng(seed)
    audio = rng.standard_normal((len(present), bundle.audio_dim)).astype(np.float32)
    visual = rng.standard_normal((len(present), bundle.visual_dim)).astype(np.float32)
    hop = bundle.manifest.hop
    return [
        SnippetEmbedding(at, snippet_span(at, hop), audio[at] * heard, visual[at], heard, visual_present=True)
        for at, heard in enumerate(present)
    ]


def table(scores: list[SnippetScore], head: str) -> np.ndarray:
    return np.array([getattr(score, head) for score in scores])


def prompted_by_the_formula(bundle: Bundle, snippets: list[SnippetEmbedding]) -> np.ndarray:
    """``(T, prompts)``, from the trace of the whole recording."""
    assert bundle.alignment is not None
    trace = bundle.alignment.trace(
        np.array([one.audio for one in snippets]), np.array([one.audio_present for one in snippets])
    )
    vectors = [spec.prompt.vector for spec in bundle.manifest.prompted_classes if spec.prompt is not None]
    return relevance(trace, np.array(vectors, np.float32), bundle.alignment.spec).T


@given(
    present=st.lists(st.booleans(), min_size=1, max_size=45),
    lookahead=st.sampled_from(LOOKAHEADS),
    detector_chunk=st.sampled_from([1, 32]),
    chunk=st.integers(1, 50),
)
@settings(max_examples=25, deadline=None)
def test_however_a_stream_is_cut_prompts_score_the_same_and_the_detector_as_without_them(
    bundles: dict[int, Bundle], present: list[bool], lookahead: int, detector_chunk: int, chunk: int
) -> None:
    bundle = bundles[lookahead]
    assert bundle.alignment is not None
    snippets = embeddings(bundle, present)
    num_detected = len(bundle.manifest.detected_classes)

    def detector() -> Scorer:
        return StreamingScorer(bundle, max_chunk_snippets=detector_chunk)

    joined = PromptedScorer(
        detector(),
        bundle.alignment,
        bundle.manifest.prompted_classes,
        audio_dim=bundle.audio_dim,
        chunk_snippets=chunk,
    )
    found, alone = list(through(snippets, joined)), list(through(snippets, detector()))

    assert [score.index for score in found] == list(range(len(present)))
    for head in HEADS:
        np.testing.assert_array_equal(table(found, head)[:, :num_detected], table(alone, head))
    expected = prompted_by_the_formula(bundle, snippets)
    np.testing.assert_allclose(table(found, "scores")[:, num_detected:], expected, atol=1e-4)
    np.testing.assert_array_equal(
        table(found, "scores")[:, num_detected:], table(found, "audio_scores")[:, num_detected:]
    )
    assert not table(found, "visual_scores")[:, num_detected:].any()
    assert not table(found, "scores")[~np.array(present), num_detected:].any()
    assert expected[np.array(present)].all()


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_live_a_score_comes_with_the_snippet_that_the_farther_lookahead_needs(
    bundles: dict[int, Bundle], lookahead: int
) -> None:
    bundle = bundles[lookahead]
    scorer = live_scorer_for(bundle)
    known = [[score.index for score in scorer.push(item)] for item in embeddings(bundle, [True] * 12)]

    wait = max(lookahead, bundle.manifest.detector.lookahead_snippets)
    assert bundle.manifest.lookahead_snippets == wait
    assert known == [[]] * wait + [[index] for index in range(12 - wait)]
    assert [score.index for score in scorer.flush()] == list(range(12 - wait, 12))


def test_a_class_that_is_calibrated_has_its_relevance_rescaled(bundles: dict[int, Bundle]) -> None:
    bundle = bundles[1]
    assert bundle.alignment is not None
    snippets = embeddings(bundle, [True] * 8)

    def scored(change: Callable[[ClassSpec], ClassSpec]) -> np.ndarray:
        assert bundle.alignment is not None
        classes = [change(spec) for spec in bundle.manifest.prompted_classes]
        detector = StreamingScorer(bundle)
        joined = PromptedScorer(detector, bundle.alignment, classes, audio_dim=bundle.audio_dim, chunk_snippets=4)
        return table(list(through(snippets, joined)), "scores")[:, -len(classes) :].astype(float)

    plain = scored(lambda spec: spec)
    rescaled = scored(lambda spec: spec.model_copy(update={"temperature": 2.0, "bias": 1.0}))
    odds = np.log(plain / (1 - plain)) / 2 + 1
    np.testing.assert_allclose(rescaled, 1 / (1 + np.exp(-odds)), atol=1e-5)


def test_the_offline_form_is_joined_too(bundles: dict[int, Bundle], tmp_path: Path) -> None:
    streaming = bundles[5]
    base = streaming.manifest
    torch.manual_seed(0)
    config = TwoStreamConfig(
        audio_dim=base.audio_dim,
        visual_dim=base.visual_dim,
        num_classes=2,
        hidden_dim=8,
        num_heads=2,
        feed_forward_dim=8,
        left_context_snippets=None,
        lookahead_snippets=None,
    )
    checkpoint = tmp_path / "offline.safetensors"
    notes = {"encoders": fingerprint(base)}
    save_checkpoint(Checkpoint(TwoStreamNet(config).eval(), ("one", "two"), notes), checkpoint)
    export_bundle(checkpoint, tmp_path / "offline", base=streaming.path)
    offline = Bundle.load(tmp_path / "offline", prompts=PROMPTS, device="cpu")
    snippets = embeddings(streaming, [True] * 40)

    found, expected = (list(through(snippets, scorer_for(bundle))) for bundle in (offline, streaming))

    assert offline.manifest.detector.form == "offline"
    assert offline.manifest.class_names == ("one", "two", "glass breaks", "alarm", "a dog barks")
    np.testing.assert_array_equal(table(found, "scores")[:, -3:], table(expected, "scores")[:, -3:])


def test_features_that_were_made_elsewhere_are_scored_by_prompts_too(bundles: dict[int, Bundle]) -> None:
    bundle = bundles[0]
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((9, bundle.audio_dim)).astype(np.float32)
    visual = rng.standard_normal((2, 9, bundle.visual_dim)).astype(np.float32)

    curve = score_features(audio, visual, bundle=bundle)

    assert curve.classes == bundle.manifest.class_names
    assert curve.scores.shape == (9, len(curve.classes))
    assert curve.scores[:, -3:].all()


def test_a_bundle_without_prompts_runs_the_detector_alone(tmp_path: Path) -> None:
    bundle = Bundle.load(write_worded(tmp_path / "worded"), device="cpu")

    assert bundle.alignment is None
    assert isinstance(scorer_for(bundle), StreamingScorer)
