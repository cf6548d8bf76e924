"""The files that a service is installed with fit the program and each other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from avdetect.serve.config import WebSettings
from avdetect.serve.config.loading import load_config

PACKAGING = Path(__file__).parents[4] / "packaging"


def test_the_example_is_a_configuration_without_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVDETECT_WEB_TOKEN", "correct-horse-battery")

    loaded = load_config(PACKAGING / "avdetect.toml")

    assert [feed.name for feed in loaded.feeds] == ["gate", "yard"]
    assert loaded.token == "correct-horse-battery"


def test_what_the_example_leaves_out_by_default_is_right_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AVDETECT_WEB_TOKEN", "MQTT_PASSWORD", "HOOK_SECRET", "GATE_PASSWORD"):
        monkeypatch.setenv(name, "correct-horse-battery")
    text = (PACKAGING / "avdetect.toml").read_text("utf-8")
    everything = tmp_path / "everything.toml"
    everything.write_text(re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE), "utf-8")

    assert set(load_config(everything).config.sinks) == {"home", "hook"}


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml"])
def test_containers_open_the_port_that_the_service_listens_on(name: str) -> None:
    text = (PACKAGING / name).read_text("utf-8")

    assert set(re.findall(r"(?<=[: ])8\d{3}\b", text)) == {str(WebSettings.model_fields["port"].default)}


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "avdetect.service"
    text = (PACKAGING / "avdetect.service").read_text("utf-8")
    unit.write_text(text.replace("/opt/avdetect/bin/avdetect", sys.executable), "utf-8")

    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=120)

    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
