from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from avdetect.errors import BundleError
from avdetect.manifest import Manifest
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest, verify
from avdetect.training.graph_module import GraphModule, with_weights
from avdetect_export import export_encoders, read_bundle

BASE = Path(default_bundle_path())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default's encoders, the audio encoder with its weights made a little larger."""
    output = tmp_path_factory.mktemp("bundles") / "mine"
    spec = read_manifest(BASE).audio
    assert spec is not None
    model = onnx.load(BASE / spec.graph)
    louder = with_weights(model, {name: one * 1.01 for name, one in GraphModule(model).weights_by_name.items()})
    export_encoders(BASE, output, {"audio": (spec, louder.SerializeToString())}, name="mine", notes={"steps": 3})
    return output


def test_a_bundle_of_encoders_has_those_of_the_base_but_the_new_one(exported: Path) -> None:
    before, files_before = read_bundle(BASE)
    after, files = read_bundle(exported)
    assert before.visual == after.visual
    assert before.motion == after.motion
    assert before.audio is not None
    changed = {path for path in files if files[path] != files_before[path]}
    assert changed == {before.audio.graph}
    assert (after.detector, after.alignment, after.text, after.classes) == (None, None, None, ())
    assert after.provenance["encoders"]["steps"] == 3
    assert "NOTICE" in files
    assert after.licences == before.licences
    verify(exported)


def test_embeddings_can_be_made_with_it(exported: Path) -> None:
    bundle = Bundle.load(exported, device="cpu", num_threads=1, all_encoders=True)
    assert bundle.visual is not None
    assert bundle.motion is not None
    assert bundle.audio is not None
    waveform = (0.1 * np.random.default_rng(0).standard_normal((1, 15_600))).astype(np.float32)
    (mine,) = bundle.audio.run(None, {"waveform": waveform})
    base = Bundle.load(device="cpu", num_threads=1)
    assert base.audio is not None
    (theirs,) = base.audio.run(None, {"waveform": waveform})
    assert np.abs(np.asarray(mine) - np.asarray(theirs)).max() > 1e-3


def test_it_cannot_score_and_says_what_to_do(exported: Path) -> None:
    with pytest.raises(BundleError, match=r"mine holds encoders and no detector, so it cannot score: train one with"):
        Bundle.load(exported, device="cpu")


def test_a_manifest_without_a_detector_has_no_classes() -> None:
    values = read_manifest(BASE).model_dump() | {"detector": None}
    with pytest.raises(ValueError, match="there are classes, and no detector to find them"):
        Manifest.model_validate(values)


def test_a_detector_without_classes_is_refused() -> None:
    values = read_manifest(BASE).model_dump() | {"classes": ()}
    with pytest.raises(ValueError, match="the detector has no class"):
        Manifest.model_validate(values)
