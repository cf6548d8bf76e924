from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from avdetect.serve.sinks import CommandSettings, Delivery, DeliveryError, FileSettings, Sink, open_sink
from tests.synth.brokers import wait_until
from tests.synth.reports import an_event

EVENT = an_event()


def report(seq: int = 1) -> Delivery:
    return Delivery(seq=seq, key=f"{EVENT.id}/opened/{seq}", kind="event", payload=EVENT.as_dict())


def file_sink(path: Path | str) -> Sink:
    return open_sink("log", FileSettings(path=str(path)))


def command(*argv: str, **settings: Any) -> Sink:
    return open_sink("hook", CommandSettings(argv=argv, **settings))


def python(code: str, *arguments: object, **settings: Any) -> Sink:
    return command(sys.executable, "-c", code, *map(str, arguments), **settings)


def refusal(sink: Sink, delivery: Delivery) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sink.deliver(delivery)
    return caught.value


def test_each_report_is_a_line_of_the_file(tmp_path: Path) -> None:
    sink = file_sink(tmp_path / "events.jsonl")
    sink.deliver(report(1))
    sink.deliver(report(2))

    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [report(1).document(), report(2).document()]


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = file_sink(path)
    sink.deliver(report(1))
    path.rename(tmp_path / "events.jsonl.1")
    sink.deliver(report(2))

    assert json.loads(path.read_text())["key"] == report(2).key


def test_a_line_that_was_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind": "eve')
    file_sink(path).deliver(report())

    torn, whole = path.read_text().splitlines()
    assert torn == '{"kind": "eve'
    assert json.loads(whole) == report().document()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    error = refusal(file_sink(tmp_path / "nowhere" / "events.jsonl"), report())

    assert "nowhere/events.jsonl" in str(error)
    assert not error.permanent


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_disk_is_a_failure_that_passes() -> None:
    assert "No space left" in str(refusal(file_sink("/dev/full"), report()))


def test_reports_can_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    file_sink("-").deliver(report())

    assert json.loads(capsys.readouterr().out) == report().document()


def test_a_command_gets_the_report_on_its_input_and_in_its_environment(tmp_path: Path) -> None:
    code = "import json, os, sys; json.dump([json.load(sys.stdin), dict(os.environ)], open(sys.argv[1], 'w'))"
    python(code, tmp_path / "seen").deliver(report())

    document, environment = json.loads((tmp_path / "seen").read_text())
    assert document == report().document()
    assert environment["AVDETECT_KIND"] == "event"
    assert environment["AVDETECT_KEY"] == report().key
    assert environment["AVDETECT_CLASS"] == "gunshot"
    assert environment["AVDETECT_CONFIDENCE"] == "0.75"
    assert environment["AVDETECT_INTERRUPTED"] == "false"
    assert environment["AVDETECT_CLIP"] == ""
    assert environment["PATH"] == os.environ["PATH"]


def test_a_command_that_leaves_its_input_unread_has_the_report() -> None:
    command("true").deliver(report())


def test_no_shell_sees_the_arguments(tmp_path: Path) -> None:
    command("touch", str(tmp_path / "a; touch b")).deliver(report())

    assert [path.name for path in tmp_path.iterdir()] == ["a; touch b"]


def test_a_command_that_fails_is_tried_a_few_times_then_given_up() -> None:
    sink = python("import sys; print('it did not work', file=sys.stderr); sys.exit(3)", attempts=3)

    errors = [refusal(sink, report(1)) for _ in range(3)]
    next_error = refusal(sink, report(2))

    assert [error.permanent for error in errors] == [False, False, True]
    assert not next_error.permanent
    assert str(errors[0]).endswith("ended with status 3: it did not work")


def test_a_command_may_ask_to_be_tried_until_it_works() -> None:
    sink = python("import sys; sys.exit(75)", attempts=1)

    assert not any(refusal(sink, report()).permanent for _ in range(3))


def test_a_command_that_does_not_exist_is_named() -> None:
    assert "cannot run no-such-program" in str(refusal(command("no-such-program"), report()))


def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(60)\n"
    )
    error = refusal(python(code, pids, timeout_s=1.5), report())

    assert "took longer than 1.5 s and was killed" in str(error)
    for pid in pids.read_text().split():
        wait_until(lambda pid=pid: not _runs(pid))  # type: ignore[misc]


def test_a_command_that_leaves_a_program_behind_does_not_hold_us_up() -> None:
    started = time.monotonic()
    command("sh", "-c", "sleep 20 & exit 0").deliver(report())

    assert time.monotonic() - started < 10


def test_a_secret_in_what_a_command_says_is_hidden() -> None:
    error = refusal(command("sh", "-c", "echo 'http://user:hunter2@host failed' >&2; exit 1"), report())

    assert str(error).endswith("http://***@host failed")


@pytest.mark.parametrize("wrong", [{"argv": []}, {"argv": "touch x"}, {"argv": [""]}, {"argv": ["a"], "shell": True}])
def test_settings_of_a_command_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CommandSettings.model_validate(wrong)


def _runs(pid: str) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_command_gets_nothing_of_our_environment_but_what_it_needs_and_what_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MQTT_PASSWORD", "AVDETECT_WEB_TOKEN", "CREDENTIALS_DIRECTORY", "WANTED", "LC_TIME", "TZ"):
        monkeypatch.setenv(name, f"value of {name}")
    code = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    python(code, tmp_path / "seen", pass_env=["WANTED"]).deliver(report())

    environment = json.loads((tmp_path / "seen").read_text())
    assert {"WANTED", "LC_TIME", "TZ", "PATH", "AVDETECT_KEY"} <= environment.keys()
    assert not {"MQTT_PASSWORD", "AVDETECT_WEB_TOKEN", "CREDENTIALS_DIRECTORY"} & environment.keys()
