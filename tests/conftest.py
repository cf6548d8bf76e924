from __future__ import annotations

import signal

import pytest

from tests.synth.media import MediaFactory


def pytest_configure() -> None:
    """Take interruptions: a shell starts its background jobs with SIGINT ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> MediaFactory:
    """Makes test media, each file once for the whole run."""
    return MediaFactory(tmp_path_factory.mktemp("media"))
