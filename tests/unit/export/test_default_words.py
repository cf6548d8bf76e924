"""The words of the bundle that ships with the package: what they find in sounds that are made here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import avdetect
from avdetect.events.curve import ScoreCurve
from avdetect.events.segmenter import decide_events
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest, verify
from avdetect.runtime.hearing import Ears
from avdetect.runtime.sound_text import AlignmentModel, open_alignment
from avdetect.text.scoring import SoundTrace, fit, relevance
from avdetect.text.track_files import write_flac

RATE_HZ = 16_000
HOP_S = 0.64
SIREN, MUSIC = (3.0, 7.8), (12.0, 16.0)
"""When they sound, in seconds."""
DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
DEMO_SIREN = (12.4, 17.8)


def times(duration_s: float) -> NDArray[np.float64]:
    return np.arange(round(duration_s * RATE_HZ)) / RATE_HZ


def siren() -> NDArray[np.float64]:
    """Two tones in turn."""
    return np.concatenate([0.3 * np.sin(2 * np.pi * hz * times(0.6)) for hz in (440, 585) * 4])


def music() -> NDArray[np.float64]:
    """Four plucked chords, a second each."""
    chords = ((262, 330, 392), (294, 349, 440), (247, 294, 392), (262, 330, 392))
    now = times(1.0)
    tones = [sum(np.sin(2 * np.pi * hz * k * now) / k for hz in chord for k in (1, 2, 3, 4)) for chord in chords]
    return np.concatenate([0.1 * np.exp(-2 * now) * tone for tone in tones])


@pytest.fixture(scope="module")
def model() -> AlignmentModel:
    return open_alignment(device="cpu", num_threads=1)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> SoundTrace:
    """Of faint noise, a siren, noise, music, noise."""
    samples = 0.001 * np.random.default_rng(0).standard_normal(20 * RATE_HZ)
    for (start_s, end_s), sound in ((SIREN, siren()), (MUSIC, music())):
        samples[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)] += sound
    path = tmp_path_factory.mktemp("sound") / "siren_then_music.flac"
    write_flac(path, samples.astype(np.float32), RATE_HZ)
    return Ears.open(device="cpu", num_threads=1).hear(path).trace


def spans_of(phrase: str, trace: SoundTrace, model: AlignmentModel) -> list[tuple[float, float]]:
    """Where the default rule finds ``phrase``."""
    scores = relevance(trace, model.story(phrase).phrases, model.spec).T
    starts = np.arange(len(scores)) * HOP_S
    present = np.stack([trace.present, np.zeros_like(trace.present)], axis=1)
    curve = ScoreCurve("", (phrase,), (True,), starts, starts + HOP_S, scores, scores, 0 * scores, present)
    return [(event.start_s, event.end_s) for event in decide_events(curve, [model.spec.prompt_rule])]


def test_what_is_asked_for_is_found_where_it_is(trace: SoundTrace, model: AlignmentModel) -> None:
    demo = Ears.open(device="cpu", num_threads=1).hear(DEMO).trace
    for phrase, heard, (start_s, end_s) in (("a siren", demo, DEMO_SIREN), ("music playing", trace, MUSIC)):
        found = spans_of(phrase, heard, model)
        assert found, phrase
        assert min(start for start, _ in found) > start_s - 2 * HOP_S
        assert max(end for _, end in found) < end_s + 2 * HOP_S


@pytest.mark.parametrize("phrase", ["gunfire", "a dog barking", "rain", "a person speaking", "footsteps"])
def test_what_is_not_there_is_not_found(phrase: str, trace: SoundTrace, model: AlignmentModel) -> None:
    assert spans_of(phrase, trace, model) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("a siren, then music playing", "music playing, then a siren"),
        ("Music playing after a siren.", "A siren after music playing."),
    ],
)
def test_a_story_fits_better_in_its_own_order(right: str, wrong: str, trace: SoundTrace, model: AlignmentModel) -> None:
    fused = {text: fit(trace, model.story(text), model.spec).fused for text in (right, wrong)}
    assert fused[right] > fused[wrong]


def test_the_words_are_listed_and_whole() -> None:
    manifest = read_manifest(default_bundle_path())
    assert manifest.text is not None
    assert manifest.alignment is not None
    listed = {entry.path for entry in verify(default_bundle_path())}
    assert listed >= {
        manifest.text.graph,
        manifest.text.tokenizer,
        manifest.alignment.audio_graph,
        manifest.alignment.text_graph,
    }
    assert {path.name for path in default_bundle_path().iterdir()} == {*listed, "manifest.json"}


def test_a_bundle_without_prompts_is_loaded_without_a_look_at_its_words() -> None:
    code = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda name, about: opened.append(str(about[0])) if name == 'open' else None)\n"
        "from avdetect.runtime.bundle import Bundle\n"
        "Bundle.load(device='cpu')\n"
        "print('\\n'.join(opened))\n"
        "assert 'tokenizers' not in sys.modules and 'avdetect.text.phrase_encoder' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    read = {Path(line).name for line in done.stdout.splitlines() if str(default_bundle_path()) in line}
    assert read == {"manifest.json", "audio.onnx", "motion.onnx", "detector.onnx"}


def test_it_is_said_how_the_rule_of_prompts_was_fitted() -> None:
    manifest = read_manifest(default_bundle_path())
    assert manifest.alignment is not None
    calibration = manifest.provenance["words"]["calibration"]
    assert manifest.alignment.prompt_rule.on > 0.5
    for found in calibration["found"].values():
        assert found["quiet_share"] >= calibration["asked_quiet_share"] >= 0.9


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_rebuild_gives_the_committed_text_encoder() -> None:
    text_graph = pytest.importorskip("avdetect_export.text_graph")
    built = text_graph.export_text_encoder(text_graph.load_sentence_transformer()).files()
    for name, content in built.items():
        assert (default_bundle_path() / Path(name)).read_bytes() == content
