"""Classes that are told in words, by the commands and on the embedded bundle."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import avdetect
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.sinks.scores import read_scores
from avdetect_cli.app import app
from tests.synth.media import MediaFactory

DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
SIREN = ("--start", "11", "--duration", "6")
"""The part of the demo clip in which a siren is heard."""
ALARM = ("--prompt", "alarm=a smoke alarm beeps", "--prompt", "alarm=a siren wails")


def run(*arguments: str | Path, expect: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    return result


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of the siren, with two prompts."""
    path = tmp_path_factory.mktemp("scores") / "siren.npz"
    run("score", DEMO, *SIREN, *ALARM, "--prompt", "glass breaks", "--scores", path, "-q")
    return path


@pytest.fixture(scope="module")
def siren(media: MediaFactory) -> Path:
    """Five seconds of a siren."""
    return media.ffmpeg("prompt-siren.ts", "-ss", "12", "-t", "5", "-i", DEMO, "-c:v", "libx264", "-c:a", "aac")


def labels(result: Result) -> set[str]:
    return {event["class"] for event in json.loads(result.stdout)["events"]}


def test_a_prompt_finds_its_sound_and_is_heard_alone() -> None:
    document = json.loads(run("score", DEMO, *SIREN, *ALARM, "--prompt", "glass breaks", "--json").stdout)

    [event] = [event for event in document["events"] if event["class"] == "alarm"]
    assert 11.5 < event["start_s"] < 14
    assert event["modality"] == "audio"
    assert "glass breaks" not in {event["class"] for event in document["events"]}


def test_the_detector_says_what_it_says_without_prompts(saved: Path, tmp_path: Path) -> None:
    run("score", DEMO, *SIREN, "--scores", tmp_path / "plain.npz", "-q")
    [plain], [prompted] = read_scores(tmp_path / "plain.npz"), read_scores(saved)

    assert prompted.classes == (*plain.classes, "alarm", "glass breaks")
    for head in ("scores", "audio_scores", "visual_scores"):
        np.testing.assert_array_equal(getattr(prompted, head)[:, : len(plain.classes)], getattr(plain, head))


def test_thresholds_and_classes_know_prompts_by_name() -> None:
    quiet = run("score", DEMO, *SIREN, *ALARM, "--threshold", "alarm=1", "--json")
    chosen = run("score", DEMO, *SIREN, *ALARM, "--prompt", "glass breaks", "--classes", "alarm,glass breaks", "--json")

    assert "alarm" not in labels(quiet)
    assert labels(chosen) == {"alarm"}


def test_saved_scores_give_the_same_events_again(saved: Path) -> None:
    scored = run("score", DEMO, *SIREN, *ALARM, "--prompt", "glass breaks", "--json")
    again = run("events", saved, "--json")

    assert json.loads(again.stdout)["events"] == json.loads(scored.stdout)["events"]
    assert labels(run("events", saved, "--classes", "alarm", "--json")) == {"alarm"}


@pytest.mark.parametrize(
    "name", ["events.jsonl", "events.csv", "events.srt", "events.vtt", "events.rttm", "events.txt"]
)
def test_every_format_names_the_phrase(saved: Path, tmp_path: Path, name: str) -> None:
    formats = {"events.txt": "audacity"}
    chosen = ("--format", formats[name]) if name in formats else ()
    run("score", DEMO, *SIREN, "--prompt", 'a "siren", it wails', "-t", "0.1", "-o", tmp_path / name, *chosen, "-q")

    text = (tmp_path / name).read_text()
    if name.endswith(".csv"):
        with (tmp_path / name).open(newline="") as file:
            text = " ".join(row["class"] for row in csv.DictReader(file))
    escaped = {".jsonl": r"a \"siren\", it wails", ".rttm": 'a_"siren",_it_wails'}
    assert escaped.get(Path(name).suffix, 'a "siren", it wails') in text


def test_a_report_shows_the_prompt_as_a_class(tmp_path: Path) -> None:
    run("score", DEMO, *SIREN, "--prompt", "</script>rings", "--report", tmp_path / "report.html", "-q")

    page = (tmp_path / "report.html").read_text()
    assert "/script>rings" in page
    assert '"</script>rings' not in page


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("siren=a siren wails", "there is a class called siren already"),
        ("alarm=", "the prompt alarm has a phrase without words"),
        (" ", "is empty: write a phrase"),
        ("a dog barks, then glass breaks", "avdetect query --order"),
    ],
)
def test_a_prompt_that_cannot_be_a_class_is_misuse(prompt: str, message: str) -> None:
    result = run("score", DEMO, "--prompt", prompt, expect=2)

    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_bundle_that_knows_no_other_words_says_so(tmp_path: Path) -> None:
    exported = run("export", "-o", tmp_path / "mine", *ALARM)
    result = run("score", DEMO, "--bundle", tmp_path / "mine", "--prompt", "a dog barks", expect=1)
    shown = run("bundle", "show", tmp_path / "mine").stdout

    assert "understands no others" in exported.output
    assert "has no text encoder: it knows the prompts that were put into it" in result.stderr
    assert "those of its prompts" in shown
    assert "a smoke alarm beeps / a siren wails" in shown
    scored = run("score", DEMO, *SIREN, "--bundle", tmp_path / "mine", "--json")
    assert "alarm" in labels(scored)


def test_bundle_show_tells_how_long_prompts_are_waited_for() -> None:
    manifest = read_manifest(default_bundle_path())
    assert manifest.alignment is not None
    wait_s = max(manifest.latency_s, manifest.alignment.lookahead_snippets * manifest.hop_s)

    assert f"{wait_s:g} s with prompts" in run("bundle", "show").stdout


def test_words_are_loaded_only_where_they_are_used() -> None:
    code = (
        "import sys\nfrom avdetect_cli.app import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print(*(name for name in sys.modules if 'avdetect.text' in name or 'tokenizers' in name or 'prompt' in name))"
    )
    command = [sys.executable, "-c", code, "score", str(DEMO), "--duration", "1", "-q"]

    plain, prompted = (
        subprocess.run([*command, *more], capture_output=True, text=True, check=True).stdout.split()
        for more in ((), ALARM)
    )

    assert plain == []
    assert {"avdetect.text.phrase_encoder", "avdetect.runtime.prompts", "tokenizers"} <= set(prompted)


@pytest.mark.slow
def test_watching_finds_what_a_prompt_says(siren: Path) -> None:
    watching = [sys.executable, "-m", "avdetect_cli", "watch", "--device", "cpu", str(siren), "--realtime", "--json"]
    done = subprocess.run([*watching, *ALARM, "--classes", "alarm"], capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {record["class"] for record in records if record["kind"] == "event"} == {"alarm"}
