from __future__ import annotations

import pytest

from tests.synth.media import MediaFactory


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> MediaFactory:
    """Makes test media, each file once for the whole run."""
    return MediaFactory(tmp_path_factory.mktemp("media"))
