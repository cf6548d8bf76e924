"""Prompts of a service: what a configuration may say of them, and live scores that equal those of a file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from avdetect.errors import UsageError
from avdetect.features.encoders import SnippetEmbedding
from avdetect.manifest import EventRule
from avdetect.media.packets import MediaInfo
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.runtime.prompts import Prompt, parse_prompts
from avdetect.runtime.scorer import scorer_for
from avdetect.serve.config.loading import load_config
from avdetect.serve.feeds.listener import ScoredSnippet
from avdetect.serve.feeds.messages import SnippetReady, StretchBegan
from avdetect.serve.feeds.track import FeedTrack, Report
from avdetect.serve.web.state import ServiceState
from avdetect.snippets.snippet import Snippet
from avdetect.stage import through
from avdetect.timebase import snippet_span
from avdetect_export.bundle_export import WordOptions, export_bundle
from tests.synth.words import write_worded

FEED = '[feeds.door]\nurl = "rtsp://camera/1"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "cameras.toml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str) -> list[str]:
    """Lines of the message, without the path."""
    path = write(folder, text)
    with pytest.raises(UsageError) as caught:
        load_config(path)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def test_feeds_have_all_prompts_or_choose_among_them_like_among_classes(tmp_path: Path) -> None:
    text = (
        '[prompts]\nkey = "keys jingle"\nvoices = ["people talking", "a person speaks"]\n'
        + FEED
        + '[feeds.yard]\nurl = "rtsp://camera/2"\nclasses = ["siren", "key"]\nthresholds = { key = 0.7 }\n'
    )

    loaded = load_config(write(tmp_path, text))

    door, yard = loaded.feeds
    manifest = read_manifest(default_bundle_path())
    assert manifest.alignment is not None
    assert loaded.prompts == (
        Prompt("key", ("keys jingle",)),
        Prompt("voices", ("people talking", "a person speaks")),
    )
    assert loaded.classes("door") == loaded.class_names == (*manifest.class_names, "key", "voices")
    assert loaded.classes("yard") == ("siren", "key")
    assert door.rules[-1] == manifest.alignment.prompt_rule
    assert [rule.on for rule in yard.rules if rule is not None][-1] == 0.7


def test_mistakes_in_prompts_are_told_with_their_lines(tmp_path: Path) -> None:
    text = (
        '[prompts]\nsiren = "a siren wails"\nstory = "a dog barks, then glass breaks"\nnone = ["", "glass breaks"]\n'
        + FEED
        + 'classes = ["stroy"]\n'
    )

    heading, *found = mistakes(tmp_path, text)

    assert heading.endswith("has 4 mistakes:")
    assert found[0].startswith("2: prompts.siren: there is a class called siren already")
    assert found[1].startswith("3: prompts.story: the prompt 'a dog barks, then glass breaks' tells of several things")
    assert found[2].startswith("4: prompts.none: the prompt none has a phrase without words")
    assert found[3].startswith('7: feeds.door.classes: no class is called "stroy"; did you mean "story"?')


@pytest.mark.parametrize("value", ["3", "[1]", "{ phrase = 'x' }"])
def test_what_is_no_phrase_is_a_mistake(tmp_path: Path, value: str) -> None:
    [mistake] = mistakes(tmp_path, f"[prompts]\nalarm = {value}\n{FEED}")

    assert mistake.startswith("2: prompts.alarm: must be a phrase or a list of phrases")


def test_a_bundle_without_text_encoder_takes_no_prompts(tmp_path: Path) -> None:
    words = WordOptions(prompts=parse_prompts(["alarm=the alarm beeps"]))
    export_bundle(None, tmp_path / "baked", base=write_worded(tmp_path / "worded"), words=words)
    text = f'[model]\nbundle = "baked"\n{FEED}classes = ["alarm"]\n'

    [door] = load_config(write(tmp_path, text)).feeds
    [mistake] = mistakes(tmp_path, text + '[prompts]\ndog = "a dog barks"\n')

    assert door.rules[-1] is not None
    assert mistake.startswith("6: prompts: ")
    assert "has no text encoder" in mistake


def test_the_package_tokenizers_is_missed_before_the_service_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)

    [mistake] = mistakes(tmp_path, f'[prompts]\ndog = "a dog barks"\n{FEED}')

    assert mistake == "1: prompts: text needs the package tokenizers: pip install 'avdetect[text]'."


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    worded = write_worded(tmp_path_factory.mktemp("words") / "worded", left=3, lookahead=4)
    return Bundle.load(worded, prompts=parse_prompts(["glass breaks", "alarm=the alarm beeps"]), device="cpu")


def snippets(bundle: Bundle, count: int) -> list[SnippetEmbedding]:
    rng = np.random.default_rng(0)
    manifest = bundle.manifest
    return [
        SnippetEmbedding(
            index,
            snippet_span(index, manifest.hop),
            rng.standard_normal(manifest.audio_dim).astype(np.float32),
            rng.standard_normal(manifest.visual_dim).astype(np.float32),
            audio_present=True,
            visual_present=True,
        )
        for index in range(count)
    ]


def push(track: FeedTrack, embedding: SnippetEmbedding) -> list[Report]:
    nothing = np.zeros((0, 1, 1), np.uint8)
    pictures, sound = np.zeros((0, 1, 1, 3), np.uint8), np.zeros(1, np.float32)
    snippet = Snippet(embedding.index, embedding.span, pictures, nothing, np.zeros(0, np.float32), sound, True, True)
    received_unix_s = 1000.0 + embedding.span.end_s
    return track.push(SnippetReady(0, snippet, received_unix_s, 0), embedding, received_unix_s)


def live_scores(bundle: Bundle, embeddings: list[SnippetEmbedding]) -> dict[int, np.ndarray]:
    rules: list[EventRule | None] = [None] * len(bundle.manifest.classes)
    track = FeedTrack("door", bundle, rules, update_interval_s=2.0)
    reports = track.begin(StretchBegan(0, 1000.0, 0.0, MediaInfo("door")))
    for embedding in embeddings:
        reports += push(track, embedding)
    reports += track.end(2000.0, lost=False)
    return {report.score.index: report.score.scores for report in reports if isinstance(report, ScoredSnippet)}


def test_live_scores_are_those_of_a_file(bundle: Bundle) -> None:
    embeddings = snippets(bundle, 50)
    expected = {score.index: score.scores for score in through(embeddings, scorer_for(bundle))}

    found = live_scores(bundle, embeddings)

    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[index] for index in found], [expected[index] for index in found], atol=1e-4)


@pytest.mark.parametrize("num_dropped", [1, 5, 200])
def test_after_dropped_snippets_prompts_are_scored_as_after_silence(bundle: Bundle, num_dropped: int) -> None:
    embeddings = snippets(bundle, 30 + num_dropped)
    seen = embeddings[:15] + embeddings[15 + num_dropped :]
    blank = [
        one
        if one in seen
        else SnippetEmbedding(
            one.index, one.span, 0 * one.audio, 0 * one.visual, audio_present=False, visual_present=False
        )
        for one in embeddings
    ]
    expected = {score.index: score.scores for score in through(blank, scorer_for(bundle))}

    found = live_scores(bundle, seen)

    assert [one.index for one in seen] == list(found)
    prompted = slice(len(bundle.manifest.detected_classes), None)
    np.testing.assert_allclose(
        [found[index][prompted] for index in found], [expected[index][prompted] for index in found], atol=1e-4
    )


def test_the_page_knows_prompts_as_classes(bundle: Bundle) -> None:
    assert [entry.name for entry in ServiceState(bundle.manifest).classes][-2:] == ["glass breaks", "alarm"]
