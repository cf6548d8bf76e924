"""The command line itself: help, misuse, exit codes, and the commands that score nothing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.sinks.formats import FORMATS
from avdetect_cli.app import app
from avdetect_cli.options import FormatName


def run(*arguments: str | Path, expect: int = 0, **options: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], **options)  # type: ignore[arg-type]
    assert result.exit_code == expect, result.output
    return result


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there, for what is refused before it is opened; the current folder is its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"not looked at")
    (tmp_path / "b.mp4").write_bytes(b"not looked at")
    return tmp_path / "a.mp4"


@pytest.mark.parametrize("command", [[], ["score"], ["events"], ["demo"], ["doctor"], ["bundle"], ["bundle", "show"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    assert run(*command, "--help").stdout.startswith("Usage: ")


def test_the_help_of_score_groups_its_options() -> None:
    said = run("score", "--help").stdout

    headings = [line for line in said.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Arguments:", "What is scored:", "What counts as an event:", "Where results go:", "Options:"]


def test_the_version_is_shown() -> None:
    assert run("--version").stdout.startswith("avdetect 0.")


def test_help_offers_exactly_the_formats_there_are() -> None:
    assert [str(name) for name in FormatName] == list(FORMATS)


def test_completion_of_classes_continues_the_list() -> None:
    script = {
        "_AVDETECT_COMPLETE": "complete_bash",
        "COMP_WORDS": "avdetect score --classes gunshot,s",
        "COMP_CWORD": "3",
    }

    said = run(env=script).stdout

    assert "gunshot,siren" in said.split()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "2"], "--threshold '2': write a number from 0 to 1, or CLASS=NUMBER."),
        (["--threshold", "dog=0.5"], "no class is called dog; choose from "),
        (["--classes", "dog"], "no class is called dog; choose from "),
        (["--start", "soon"], "--start 'soon' is not a time: write seconds (90.5) or [hh:]mm:ss (1:30.5)."),
        (["--duration", "0"], "duration must be above zero, got 0 s."),
        (["--device", "tpu"], "device 'tpu' is not known; choose auto, cpu, cuda, cuda:N or tensorrt."),
        (["--json", "--format", "srt"], "--json and --format exclude each other: choose one."),
        (["-o", "out.txt"], "-o out.txt does not tell the format: add --json or --format (jsonl, csv, "),
        (["--scores", "scores.xls"], "scores.xls: scores are kept in files that end in .csv, .parquet, .npz."),
        (["--report", "report.pdf"], "--report report.pdf: a report is a web page, give it a name that ends in .html."),
        (["--format", "csv", "-o", "a.mp4"], "a.mp4 is an input and would be overwritten: "),
        (["-o", "out.csv", "--scores", "out.csv"], "out.csv is asked for twice: "),
        (["b.mp4", "--format", "srt"], "a file of the format srt holds the events of one source: with 2 of them, "),
        (["--json", "-o", "."], "-o . is a folder: name the file that the JSON goes to."),
        (["--json", "-o", os.devnull], f"{os.devnull} is no file that could be replaced: "),
        (["--clips", "b.mp4"], "--clips b.mp4 is a file: name a folder."),
        (["-", "--clips", "."], "--clips needs files that can be read a second time, not standard input."),
    ],
)
@pytest.mark.usefixtures("video")
def test_misuse_is_one_sentence_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = run("score", "a.mp4", *arguments, expect=2)

    [said] = result.stderr.splitlines()
    assert said.startswith(f"avdetect: {message}")
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-such-option"], "No such option: --no-such-option"),
        (["--jobs", "0"], "Invalid value for '--jobs'"),
        (["--format", "doc"], "Invalid value for '--format'"),
        (["--merge-gap", "-1"], "Invalid value for '--merge-gap'"),
    ],
)
def test_misuse_that_typer_notices_is_exit_code_2(arguments: list[str], message: str) -> None:
    assert message in run("score", "a.mp4", *arguments, expect=2).stderr


@pytest.mark.parametrize("option", ["-o", "--report", "--scores", "--clips"])
def test_a_missing_folder_is_noticed_before_scoring(video: Path, option: str) -> None:
    name = {"-o": "e.csv", "--report": "r.html", "--scores": "s.npz", "--clips": "clips"}[option]

    result = run("score", video, option, Path("nowhere") / name, expect=1)

    assert "there is no folder nowhere." in result.stderr
    assert "a.mp4: " not in result.stderr


def test_inputs_that_fail_are_each_named_and_exit_code_1(video: Path) -> None:
    result = run("score", video, "missing.mp4", "*.avi", expect=1)

    lines = result.stderr.splitlines()
    assert len(lines) == 4
    assert "no file matches *.avi." in lines[0]
    assert lines[1].startswith(f"avdetect: {video}: ")
    assert lines[2].startswith("avdetect: missing.mp4: ")
    assert lines[3] == "avdetect: 3 of 3 inputs failed."
    assert result.stdout == ""


def test_outputs_of_nothing_but_failures_are_not_written_half(video: Path) -> None:
    run("score", video, "--scores", "s.npz", "--report", "r.html", "-q", expect=1)

    assert sorted(path.name for path in video.parent.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_bundle_that_is_not_there_is_exit_code_1(video: Path) -> None:
    assert run("score", video, "--bundle", "nowhere", expect=1).stderr == "avdetect: there is no bundle at nowhere.\n"


def test_saved_scores_that_are_not_there_are_exit_code_1() -> None:
    assert run("events", "nowhere.npz", expect=1).stderr.startswith("avdetect: cannot read nowhere.npz: ")


def test_a_bug_is_called_one_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avdetect_cli.tasks.bundles.read_manifest", lambda _: 1 / 0)

    result = run("bundle", "show", expect=1)

    assert result.stderr.startswith("avdetect: internal error (ZeroDivisionError: division by zero). This is a bug")
    assert "Traceback" not in result.stderr


def test_who_debugs_sees_the_bug_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avdetect_cli.tasks.bundles.read_manifest", lambda _: 1 / 0)
    monkeypatch.setenv("AVDETECT_DEBUG", "1")

    assert isinstance(run("bundle", "show", expect=1).exception, ZeroDivisionError)


def test_bundle_show_lists_the_classes_and_their_rules() -> None:
    said = run("bundle", "show").stdout

    rows = {line.split()[0]: line.split() for line in said.splitlines() if line.strip()}
    for spec in read_manifest(default_bundle_path()).classes:
        assert rows[spec.name][1:3] == [f"{spec.rule.on:.2f}", f"{spec.rule.off:.2f}"]


def test_bundle_show_gives_programs_the_manifest() -> None:
    assert json.loads(run("bundle", "show", "--json").stdout)["name"] == read_manifest(default_bundle_path()).name


def test_bundle_verify_accepts_a_whole_bundle() -> None:
    assert run("bundle", "verify").stdout.endswith("all as the manifest says.\n")


def test_bundle_verify_notices_a_changed_file(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(default_bundle_path(), tmp_path / "bundle"))
    (bundle / "detector.onnx").write_bytes((bundle / "detector.onnx").read_bytes()[:-1] + b"\0")

    assert "detector.onnx is " in run("bundle", "verify", bundle, expect=1).stderr


def test_doctor_finds_nothing_broken_here() -> None:
    said = run("doctor").stdout

    assert "!!" not in said
    assert "the model loads on CPUExecutionProvider" in said
    assert "\x1b" not in said


def test_doctor_says_what_is_broken_and_how_to_mend_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avdetect.runtime.bundle_files.default_bundle_path", lambda: tmp_path)

    result = run("doctor", "--json", expect=1)

    document = json.loads(result.stdout)
    assert document["healthy"] is False
    [broken] = [check for check in document["checks"] if check["status"] == "broken"]
    assert broken["name"] == "embedded bundle"
    assert "has no manifest.json" in broken["found"]
    assert broken["fix"]
    assert result.stderr == "avdetect: embedded bundle: broken, see above.\n"
