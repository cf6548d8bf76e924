from __future__ import annotations

import signal

import pytest

from avdetect import redaction
from tests.synth import programs
from tests.synth.media import MediaFactory


def pytest_configure() -> None:
    take_signals()
    programs.put_ffmpeg_on_path()


def take_signals() -> None:
    """A shell starts background jobs with SIGINT ignored, nohup with SIGHUP, and children inherit it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            programs.skip_without(name)


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test keeps secret is not masked in the next."""
    monkeypatch.setattr(redaction, "_SECRETS", redaction._Secrets())


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> MediaFactory:
    """Makes test media, each file once for the whole run."""
    return MediaFactory(tmp_path_factory.mktemp("media"))
