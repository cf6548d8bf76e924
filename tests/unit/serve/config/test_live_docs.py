"""What docs/live.md shows works."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from avdetect.serve.config import Config, FeedSettings
from avdetect.serve.config.loading import load_config
from avdetect.serve.sinks.webhook import signature

PAGE = (Path(__file__).parents[4] / "docs" / "live.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_configurations_are_without_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r'_env = "(\w+)"', PAGE):
        monkeypatch.setenv(name, "correct-horse-battery")
    file = tmp_path / "live.toml"
    file.write_text("\n".join(blocks("toml")), "utf-8")

    assert load_config(file).config.sinks.keys() == {"home"}


def test_the_table_names_settings_that_there_are() -> None:
    settings = re.findall(r"^\| `(\w+)\.(\w+)`(?:, `(\w+)`)*", PAGE, re.MULTILINE)

    assert {section for section, *_ in settings} == {"model", "store", "clips", "web", "log"}
    for section, *names in settings:
        assert set(filter(None, names)) <= type(Config.model_fields[section].default).model_fields.keys()
    assert {"transport", "stall_timeout_s", "classes", "thresholds", "loop"} <= FeedSettings.model_fields.keys()


def test_the_web_hook_example_tells_our_requests_from_others() -> None:
    (code,) = [block for block in blocks("python") if "hmac" in block]
    namespace: dict[str, Callable[[bytes, str, str], bool]] = {}
    exec(code, namespace)
    is_from_avdetect = namespace["is_from_avdetect"]
    header = signature(b'{"kind": "event"}', "secret", int(time.time()))

    assert is_from_avdetect(b'{"kind": "event"}', header, "secret")
    assert not is_from_avdetect(b'{"kind": "gap"}', header, "secret")
    assert not is_from_avdetect(b'{"kind": "event"}', header, "other")
    assert not is_from_avdetect(b"", signature(b"", "secret", int(time.time()) - 301), "secret")
    assert not is_from_avdetect(b"", "", "secret")
