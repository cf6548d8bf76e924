"""``avdetect serve`` and ``avdetect config``."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import avdetect
from avdetect.serve.config import load_config
from avdetect.serve.store import Store
from avdetect.serve.store.scores import feed_scores
from avdetect_cli.app import app
from tests.synth.brokers import Mosquitto, Subscriber, retained
from tests.synth.feeds import free_port
from tests.synth.media import MediaFactory

DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
WITHIN_S = 180.0

CONFIG = """\
[model]
device = "cpu"
[store]
folder = "kept"
[clips]
pre_roll_s = 1.0
post_roll_s = 1.0
[web]
port = {port}
[log]
format = "json"
[sinks.file]
type = "file"
path = "events.jsonl"
[feeds.lobby]
url = "{media}"
realtime = true
loop = true
"""
LOST_FEED = '[feeds.yard]\nurl = "rtsp://user:hunter2@127.0.0.1:1/yard"\n'


@pytest.fixture(scope="module")
def shots(media: MediaFactory) -> Path:
    """Six seconds in which shots are heard."""
    return media.ffmpeg(
        "serve-shots.ts", "-ss", "5", "-t", "6", "-i", DEMO, "-c:v", "libx264", "-g", "25", "-c:a", "aac"
    )


class Service:
    """A running service and what it left in its folder."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, port: int) -> None:
        self.process = process
        self.port = port
        self._folder = folder

    def delivered(self, **wanted: Any) -> list[dict[str, Any]]:
        """Reports that went to the file and have these values."""
        path = self._folder / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        records = [json.loads(line) for line in lines]
        return [record for record in records if wanted.items() <= record.items()]

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self._folder / "log.jsonl").read_text().splitlines()]

    def says(self, text: str) -> int:
        return sum(text in entry["message"] for entry in self.log())

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def wait_for(self, what: Callable[[], Any]) -> Any:
        deadline_s = time.monotonic() + WITHIN_S
        while not (found := what()):
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline_s, self.log()
            time.sleep(0.1)
        return found


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with Mosquitto(folder) as broker:
        yield broker


def wait_until_caught(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Until the process has a handler of its own for a signal."""
    deadline_s = time.monotonic() + WITHIN_S
    while True:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) >> (number - 1) & 1:
            return
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


@contextmanager
def serving(folder: Path, config: str) -> Iterator[Service]:
    port = free_port()
    path = folder / "cameras.toml"
    path.write_text(config.replace("{port}", str(port)))
    path.chmod(0o600)
    with (
        (folder / "log.jsonl").open("a") as log,
        subprocess.Popen([sys.executable, "-m", "avdetect_cli", "serve", path], stderr=log, text=True) as process,
    ):
        watchdog = threading.Timer(2 * WITHIN_S, process.kill)
        watchdog.start()
        try:
            yield Service(process, folder, port)
        finally:
            process.kill()
            watchdog.cancel()
            watchdog.join()


def test_events_are_kept_delivered_and_closed_when_the_service_stops(shots: Path, tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG.replace("{media}", str(shots)) + LOST_FEED) as service:
        [opened, *_] = service.wait_for(lambda: service.delivered(kind="event", stage="opened"))
        assert service.get("/readyz")
        assert 'avdetect_snippets_total{feed="lobby"}' in service.get("/metrics")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(WITHIN_S) == 0

    opened_ids = {record["id"] for record in service.delivered(kind="event", stage="opened")}
    closed_ids = {record["id"] for record in service.delivered(kind="event", stage="closed")}
    assert opened["id"] in opened_ids == closed_ids
    assert service.delivered(kind="clip", id=opened["id"])
    assert (tmp_path / "kept" / "clips" / f"{opened['id']}.mp4").stat().st_size > 0
    assert [gap["reason"] for gap in service.delivered(kind="gap", feed="yard", ended_at=None)] == ["refused"]
    everything = (tmp_path / "events.jsonl").read_text() + (tmp_path / "log.jsonl").read_text()
    assert "hunter2" not in everything


@pytest.mark.slow
def test_a_new_configuration_leaves_alone_what_did_not_change(shots: Path, tmp_path: Path) -> None:
    config = CONFIG.replace("{media}", str(shots))
    with serving(tmp_path, config + LOST_FEED) as service:
        path = tmp_path / "cameras.toml"
        present = path.read_text()
        service.wait_for(lambda: service.says("lobby: running") and service.says("yard: waiting"))

        path.write_text(present.replace("[feeds.yard]", "[feeds.gate]\ntransport = 'pigeon'"))
        service.process.send_signal(signal.SIGHUP)
        service.wait_for(lambda: service.says("the configuration is not taken over"))
        assert service.says('feeds.gate.transport: must be "tcp" or "udp"')

        path.write_text(present.replace("[feeds.yard]", "[feeds.gate]"))
        service.process.send_signal(signal.SIGHUP)
        service.wait_for(lambda: service.says("yard: stopped") and service.says("gate: waiting"))
        feeds = {feed["feed"]: feed["state"] for feed in json.loads(service.get("/api/feeds"))}
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(WITHIN_S) == 0

    assert feeds == {"lobby": "running", "gate": "waiting"}
    assert service.says("lobby: running") == 1


@pytest.mark.needs("mosquitto")
def test_sinks_are_replaced_without_a_sensor_changing(shots: Path, tmp_path: Path, broker: Mosquitto) -> None:
    always = CONFIG.replace("{media}", str(shots)) + "threshold = 0.0\nmerge_gap_s = 3600\n"
    mqtt = f'[sinks.home]\ntype = "mqtt"\nhost = "127.0.0.1"\nport = {broker.port}\n'
    with serving(tmp_path, always + mqtt) as service, Subscriber(broker.port) as subscriber:
        path = tmp_path / "cameras.toml"
        present = path.read_text()
        said = subscriber.on
        service.wait_for(lambda: "ON" in said("avdetect/lobby/gunshot/state"))

        def reload(text: str, says: str) -> None:
            path.write_text(text)
            service.process.send_signal(signal.SIGHUP)
            service.wait_for(lambda: service.says(says))

        wrong = present.replace(mqtt, mqtt + 'tls = { ca = "missing.pem" }\n')
        reload(wrong, "sinks.home: its certificates or key cannot be read")
        reload(present.replace('"events.jsonl"', '"other.jsonl"'), "the configuration was read again")
        service.wait_for((tmp_path / "other.jsonl").exists)
        assert "offline" not in said("avdetect/availability")

        reload(present.replace(mqtt, mqtt + "keepalive_s = 31\n"), "the configuration was read again")
        service.wait_for(lambda: "offline" in said("avdetect/availability"))
        service.wait_for(lambda: said("avdetect/availability")[-1] == "online")
        service.wait_for(lambda: retained(broker.port)["avdetect/lobby/availability"] == "online")
        assert retained(broker.port)["avdetect/lobby/gunshot/state"] == "ON"
        states = said("avdetect/lobby/gunshot/state")
        assert "OFF" not in states[states.index("ON") :]


@pytest.mark.needs("mosquitto")
def test_prompts_are_classes_of_page_sensors_and_events(media: MediaFactory, tmp_path: Path, broker: Mosquitto) -> None:
    siren = media.ffmpeg("serve-siren.ts", "-ss", "12", "-t", "5", "-i", DEMO, "-c:v", "libx264", "-c:a", "aac")
    prompts = '[prompts]\nalarm = ["a smoke alarm beeps", "a siren wails"]\ndog = "a dog barks"\n'
    mqtt = f'[sinks.home]\ntype = "mqtt"\nhost = "127.0.0.1"\nport = {broker.port}\nhome_assistant = true\n'
    config = prompts + CONFIG.replace("{media}", str(siren)) + 'classes = ["alarm", "siren"]\n' + mqtt
    with serving(tmp_path, config) as service:
        service.wait_for(lambda: service.delivered(kind="event", stage="opened", **{"class": "alarm"}))
        [lobby] = json.loads(service.get("/api/feeds"))
        metrics = service.get("/metrics")
        service.wait_for(lambda: "avdetect/lobby/alarm/state" in retained(broker.port))
        discovered = {topic for topic in retained(broker.port) if topic.endswith("/config")}

        path = tmp_path / "cameras.toml"
        path.write_text(path.read_text().replace("a dog barks", "a cat meows"))
        service.process.send_signal(signal.SIGHUP)
        service.wait_for(lambda: service.says("a change of [prompts] needs a restart"))

    assert [entry["name"] for entry in lobby["classes"]] == ["siren", "alarm"]
    assert 'class="alarm"' in metrics
    assert any("alarm" in topic for topic in discovered)
    assert not any("dog" in topic for topic in discovered)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_to_stop_while_it_loads_ends_it_quietly(shots: Path, tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG.replace("{media}", str(shots))) as service:
        wait_until_caught(service.process, signal.SIGTERM)
        service.process.send_signal(signal.SIGTERM)

        assert service.process.wait(WITHIN_S) == 0
    assert (tmp_path / "log.jsonl").read_text() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_to_reload_while_it_loads_is_done_when_it_has_loaded(shots: Path, tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG.replace("{media}", str(shots))) as service:
        wait_until_caught(service.process, signal.SIGHUP)
        service.process.send_signal(signal.SIGHUP)

        service.wait_for(lambda: service.says("the configuration was read again"))
        service.wait_for(lambda: service.says("lobby: running"))


@pytest.mark.slow
def test_what_was_open_when_the_service_was_killed_is_closed_by_the_next(shots: Path, tmp_path: Path) -> None:
    config = CONFIG.replace("{media}", str(shots))
    with serving(tmp_path, config) as service:
        [opened, *_] = service.wait_for(lambda: service.delivered(kind="event", stage="opened"))
        service.process.kill()
        killed_at = datetime.now(UTC)

    with serving(tmp_path, config) as service:
        [closed] = service.wait_for(lambda: service.delivered(kind="event", stage="closed", id=opened["id"]))
        service.wait_for(lambda: len(service.delivered(kind="gap", feed="lobby", reason="not-running")) == 2)

    assert closed["interrupted"]
    began, ended = service.delivered(kind="gap", feed="lobby", reason="not-running")
    assert began["id"] == ended["id"]
    assert datetime.fromisoformat(began["started_at"]) < killed_at < datetime.fromisoformat(ended["ended_at"])


@pytest.mark.slow
def test_the_time_between_an_orderly_stop_and_the_next_start_is_a_gap(shots: Path, tmp_path: Path) -> None:
    config = CONFIG.replace("{media}", str(shots))
    with serving(tmp_path, config) as service:
        service.wait_for(lambda: service.says("lobby: running"))
        service.wait_for(lambda: json.loads(service.get("/api/feeds"))[0]["last_score_at"])
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(WITHIN_S) == 0
        stopped_at = datetime.now(UTC)
    assert not service.delivered(kind="gap")

    with serving(tmp_path, config) as service:
        service.wait_for(lambda: len(service.delivered(kind="gap")) == 2)

    [began, ended] = service.delivered(kind="gap", reason="not-running")
    started_at = datetime.fromisoformat(began["started_at"])
    assert stopped_at - timedelta(seconds=WITHIN_S) < started_at < stopped_at
    assert stopped_at < datetime.fromisoformat(ended["ended_at"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="as systemd starts it")
def test_the_service_manager_hears_that_it_is_ready_alive_and_stopping(
    shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(WITHIN_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        with serving(tmp_path, CONFIG.replace("{media}", str(shots))) as service:
            told = {manager.recv(100) for _ in range(4)}
            assert told == {b"READY=1", b"WATCHDOG=1"}
            service.process.send_signal(signal.SIGTERM)
            while (state := manager.recv(100)) != b"STOPPING=1":
                assert state == b"WATCHDOG=1"
            assert service.process.wait(WITHIN_S) == 0


def test_a_mistake_ends_it_before_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "cameras.toml"
    path.write_text('[feeds.door]\nurl = "rtsp://camera/1"\ntransport = "tpc"\n')

    result = CliRunner().invoke(app, ["serve", str(path)])

    assert result.exit_code == 2
    assert result.stderr == f'avdetect: {path}:3: feeds.door.transport: must be "tcp" or "udp", got "tpc".\n'


def test_a_configuration_can_be_begun_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "cameras.toml"
    run = CliRunner().invoke

    assert run(app, ["config", "init", str(path)]).exit_code == 0
    assert run(app, ["config", "init"]).stdout == path.read_text()
    assert "1 feed(s), 0 sink(s)" in run(app, ["config", "check", str(path)]).stdout
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.ts").touch()
    path.write_text('[feeds.door]\nurl = "clips/a.ts"\n[feeds.yard]\nurl = "rtsp://me:hunter2@camera/1"\n')
    checked = run(app, ["config", "check", str(path)]).stdout
    assert f"  feed door: {tmp_path / 'clips' / 'a.ts'}\n" in checked
    assert "  feed yard: rtsp://***@camera/1\n" in checked
    assert f"  store: {tmp_path / 'avdetect-data'}\n" in checked
    again = run(app, ["config", "init", str(path)])
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)


def test_a_check_finds_files_and_programs_that_are_not_there_and_a_start_warns_of_them(tmp_path: Path) -> None:
    path = tmp_path / "cameras.toml"
    path.write_text(
        '[feeds.door]\nurl = "clips/a.ts"\n[feeds.desk]\nurl = "/dev/video77"\ninput_format = "v4l2"\n'
        '[sinks.siren]\ntype = "command"\nargv = ["no-such-siren", "--loud"]\n'
        '[sinks.bell]\ntype = "command"\nargv = ["./bell.sh"]\n'
        '[sinks.log]\ntype = "file"\npath = "nowhere/events.jsonl"\n'
    )
    (tmp_path / "bell.sh").touch(0o644)

    result = CliRunner().invoke(app, ["config", "check", str(path)])

    assert result.exit_code == 2
    assert [line.partition(": ")[2] for line in result.stderr.splitlines()[1:]] == [
        f"feeds.door.url: there is no file {tmp_path}/clips/a.ts.",
        "feeds.desk.url: there is no file or device /dev/video77.",
        "sinks.siren.argv: no-such-siren is no program that is installed.",
        f"sinks.bell.argv: {tmp_path}/bell.sh cannot be run; is it executable?",
        f"sinks.log.path: there is no folder {tmp_path}/nowhere.",
    ]
    notes = load_config(path).notes  # they may come, and must not keep a service from starting
    assert sum("there is no" in note for note in notes) == 3


def test_a_configuration_that_others_may_read_or_change_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "cameras.toml"
    path.write_text('[feeds.door]\nurl = "rtsp://camera/1"\n')
    run = CliRunner().invoke
    said = {}
    for mode in (0o600, 0o640, 0o644, 0o660, 0o646):
        path.chmod(mode)
        said[mode] = run(app, ["config", "check", str(path)]).stderr
    (tmp_path / "avdetect-data").mkdir(0o755)
    path.chmod(0o600)
    store = run(app, ["config", "check", str(path)]).stderr

    assert said[0o600] == said[0o640] == ""
    assert "all users of this machine may read" in said[0o644]
    assert "other users of this machine may change" in said[0o660]
    assert "other users of this machine may change" in said[0o646]
    assert f"may read {tmp_path}/avdetect-data" in store


def test_a_store_is_made_for_its_owner_alone(shots: Path, tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG.replace("{media}", str(shots))) as service:
        service.wait_for(lambda: service.says("lobby: running"))
        warned = service.says("users of this machine")

    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
    assert warned == 0


ALWAYS = 'threshold = 0.0\nmerge_gap_s = 3600\nclasses = ["gunshot"]\n'


def test_a_reload_changes_rules_and_page_but_no_connection(shots: Path, tmp_path: Path) -> None:
    """Thresholds are other ones at once, [web] moves, and what only a restart can change is named."""
    config = CONFIG.replace("{media}", str(shots)) + 'classes = ["gunshot"]\nthreshold = 1.0\n'
    with serving(tmp_path, config) as service:
        service.wait_for(lambda: service.says("lobby: running"))
        service.wait_for(lambda: json.loads(service.get("/api/feeds"))[0]["last_score_at"])
        path = tmp_path / "cameras.toml"
        before, port = path.read_text(), free_port()
        changed = before.replace(f"port = {service.port}", f"port = {port}").replace(
            "threshold = 1.0", "threshold = 0.0"
        )
        path.write_text(changed.replace('folder = "kept"', 'folder = "elsewhere"'))
        service.process.send_signal(signal.SIGHUP)
        service.wait_for(lambda: service.says("the configuration was read again"))
        service.wait_for(lambda: service.delivered(kind="event", stage="opened"))
        former, service.port = service.port, port
        [feed] = json.loads(service.get("/api/feeds"))
        with socket.socket() as client:
            former_page = client.connect_ex(("127.0.0.1", former))

        with socket.create_server(("127.0.0.1", 0)) as taken:
            busy = taken.getsockname()[1]
            path.write_text(changed.replace(f"port = {port}", f"port = {busy}"))
            service.process.send_signal(signal.SIGHUP)
            service.wait_for(lambda: service.says("the change of [web] is not taken over: cannot listen on"))
            service.wait_for(lambda: service.says("the configuration was read again") == 2)
        assert service.get("/readyz")

    assert feed["thresholds"] == {"gunshot": 0.0}
    assert former_page != 0
    assert service.says("a change of [store] needs a restart; all else is taken over.")
    assert not (tmp_path / "elsewhere").exists()
    assert service.says("lobby: running") == 1
    assert not service.delivered(kind="gap")


def test_no_report_comes_twice_with_two_keys_after_a_stop(shots: Path, tmp_path: Path) -> None:
    config = CONFIG.replace("{media}", str(shots)) + ALWAYS
    for num_events in (1, 2):
        with serving(tmp_path, config) as service:
            service.wait_for(lambda number=num_events: num_updated(tmp_path) == number)
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(WITHIN_S) == 0

    reports = [{key: value for key, value in record.items() if key != "key"} for record in service_lines(tmp_path)]
    texts = [json.dumps(report, sort_keys=True) for report in reports]
    assert sorted(texts) == sorted(set(texts))
    clips = [(report["id"], report["clip"]) for report in reports if report["kind"] == "clip"]
    assert sorted(clips) == sorted(set(clips))
    assert len({report["id"] for report in reports if report["kind"] == "event"}) == 2


def num_updated(folder: Path) -> int:
    """Of events that have been reported as going on."""
    return len({record["id"] for record in service_lines(folder) if record.get("stage") == "updated"})


def service_lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.needs("mosquitto")
def test_what_a_variable_expands_to_is_shown_nowhere_and_no_command_gets_it(
    shots: Path, tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream key in the path of a URL of a feed that cannot be reached: its messages go everywhere."""
    secrets = {"STREAM_KEY": "live_4711/aZ-9q", "WEB_TOKEN": "a-token-of-24-characters", "BROKER_PASSWORD": "pass&word"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UNRELATED", "unrelated-value")
    hook = tmp_path / "hook.sh"
    hook.write_text(f"#!/bin/sh\nenv >> {tmp_path}/hook.env\ncat >> {tmp_path}/hook.json\n")
    hook.chmod(0o755)
    more = f"""
[sinks.home]
type = "mqtt"
host = "127.0.0.1"
port = {broker.port}
username = "me"
password_env = "BROKER_PASSWORD"
[sinks.hook]
type = "command"
argv = ["./hook.sh"]
[feeds.push]
url = "rtmp://127.0.0.1:1/app/${{STREAM_KEY}}?x=${{STREAM_KEY}}"
[feeds.hls]
url = "http://127.0.0.1:1/${{STREAM_KEY}}/index.m3u8"
"""
    config = CONFIG.replace("{media}", str(shots)).replace("[web]\n", '[web]\ntoken_env = "WEB_TOKEN"\n') + more
    with serving(tmp_path, config) as service, Subscriber(broker.port) as subscriber:
        for feed in ("push", "hls"):
            service.wait_for(lambda feed=feed: service.delivered(kind="gap", feed=feed))
        service.wait_for(lambda: (tmp_path / "hook.json").exists() and "push" in (tmp_path / "hook.json").read_text())
        service.wait_for(lambda: subscriber.on("avdetect/gaps"))
        answers = [get_with(secrets["WEB_TOKEN"], service.port, path) for path in ("feeds", "gaps", "events")]
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(WITHIN_S) == 0

    seen = b"\n".join(
        [
            *answers,
            *(path.read_bytes() for path in sorted((tmp_path / "kept").glob("events.sqlite3*"))),
            *((tmp_path / name).read_bytes() for name in ("log.jsonl", "events.jsonl", "hook.env", "hook.json")),
            *(text.encode() for _, text, _ in subscriber.messages),
        ]
    )
    for secret in ("live_4711/aZ-9q", "live_4711%2FaZ-9q", "aZ-9q", "a-token-of", "pass&word", "unrelated-value"):
        assert secret.encode() not in seen, secret
    assert b"rtmp://127.0.0.1:1/app/***" in seen
    assert b"PATH=" in (tmp_path / "hook.env").read_bytes()


def get_with(token: str, port: int, path: str) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/{path}", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def trouble_of(service: Service) -> str:
    """What the probe of readiness says; empty where all is well."""
    try:
        service.get("/readyz")
    except urllib.error.HTTPError as error:
        return error.read().decode()
    return ""


@pytest.mark.skipif(sys.platform != "linux", reason="needs tmpfs")
def test_a_full_disk_is_told_everywhere_and_all_is_caught_up(shots: Path, tmp_path: Path) -> None:
    config = CONFIG.replace("{media}", str(shots)).replace('"kept"', '"disk/kept"') + "cooldown_s = 2.0\n"
    with small_disk(tmp_path / "disk", "6m") as disk, serving(tmp_path, config) as service:
        service.wait_for(lambda: service.says("lobby: running"))
        filler = disk / "filler"
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"x" * 4096)
        told = service.wait_for(lambda: trouble_of(service))
        metrics = service.get("/metrics")
        alive = service.get("/healthz")
        service.wait_for(
            lambda: [event for event in json.loads(service.get("/api/events"))["events"] if event["stage"] == "closed"]
        )
        service.wait_for(lambda: service.says("a clip cannot be written now and is kept in memory"))
        filler.unlink()
        service.wait_for(lambda: not trouble_of(service))
        service.wait_for(lambda: service.delivered(kind="clip", stage="closed"))
        after = service.get("/metrics")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(WITHIN_S) == 0
        opened = {record["id"] for record in service.delivered(kind="event", stage="opened")}
        closed = {record["id"] for record in service.delivered(kind="event", stage="closed")}
        clips = {path.stem for path in (disk / "kept" / "clips").glob("*.mp4")}

    assert "full" in told or "I/O error" in told
    assert "avdetect_store_writable 0.0" in metrics
    assert "alive" in alive
    assert "avdetect_store_writable 1.0" in after
    assert opened == closed
    assert closed <= clips


def test_how_loud_it_is_is_told_and_scores_are_kept_to_calibrate_with(shots: Path, tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG.replace("{media}", str(shots))) as service:
        [closed, *_] = service.wait_for(lambda: service.delivered(kind="event", stage="closed"))
        [feed] = json.loads(service.get("/api/feeds"))
        metrics = service.get("/metrics")
        url = f"http://127.0.0.1:{service.port}/api/events/{closed['id']}/answer"
        body = json.dumps({"answer": "dismissed"}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="PUT")
        assert urllib.request.urlopen(request, timeout=10).status == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(WITHIN_S) == 0
    with Store(tmp_path / "kept" / "events.sqlite3", read_only=True) as store:
        [kept] = feed_scores(store)

    assert -90 < feed["level_dbfs"] <= 0
    assert 'avdetect_sound_level_dbfs{feed="lobby"} -' in metrics
    [dismissed, *_] = [span for span in kept.spans("dismissed") if span.class_name == closed["class"]]
    inside = (kept.curve.start_s >= dismissed.span.start_s - 0.1) & (kept.curve.end_s <= dismissed.span.end_s + 0.1)
    column = kept.curve.classes.index(closed["class"])
    assert kept.curve.scores[inside, column].max() >= closed["confidence"] - 0.01
    assert (np.diff(kept.curve.end_s) > 0.3).all()
