from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from avdetect.errors import BundleError
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest, verify


@pytest.fixture
def bundle_dir(tmp_path: Path) -> Path:
    return Path(shutil.copytree(default_bundle_path(), tmp_path / "bundle"))


def edit(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def replace_file(bundle: Path, name: str, data: bytes) -> None:
    """Change a file and have the manifest agree."""
    (bundle / name).write_bytes(data)

    def change(manifest: dict[str, Any]) -> None:
        (entry,) = (entry for entry in manifest["files"] if entry["path"] == name)
        entry.update(sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    edit(bundle, change)


def zipped(bundle: Path, target: Path, prefix: str) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(bundle.rglob("*")):
            packed = zipfile.ZIP_DEFLATED if path.stat().st_size < 1 << 20 else zipfile.ZIP_STORED  # for it takes long
            archive.write(path, prefix + path.relative_to(bundle).as_posix(), packed)
    return target


def test_the_default_bundle_is_whole() -> None:
    listed = {entry.path for entry in verify(default_bundle_path())}
    assert {"visual.onnx", "audio.onnx", "motion.onnx", "detector.onnx"} <= listed


def test_every_file_of_the_default_bundle_is_listed() -> None:
    listed = {entry.path for entry in read_manifest(default_bundle_path()).files}
    there = {path.name for path in default_bundle_path().iterdir()}
    assert there == listed | {"manifest.json"}


@pytest.mark.parametrize("prefix", ["", "my-bundle/"])
def test_a_zip_of_a_bundle_loads_like_its_directory(bundle_dir: Path, tmp_path: Path, prefix: str) -> None:
    bundle = Bundle.load(zipped(bundle_dir, tmp_path / "b.zip", prefix), device="cpu")
    assert bundle.manifest == read_manifest(bundle_dir)
    assert bundle.providers == ("CPUExecutionProvider",)


def test_no_bundle_at_the_path(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle at .*nowhere"):
        Bundle.load(tmp_path / "nowhere")


def test_a_directory_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: it has no manifest\.json"):
        Bundle.load(tmp_path)


def test_a_file_that_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_text("hello")
    with pytest.raises(BundleError, match=r"neither a bundle's directory nor a \.zip"):
        Bundle.load(tmp_path / "b.zip")


def test_a_changed_byte_is_noticed(bundle_dir: Path) -> None:
    data = bytearray((bundle_dir / "detector.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle_dir / "detector.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"detector\.onnx is damaged or was changed \(sha256"):
        verify(bundle_dir)
    with pytest.raises(BundleError, match="damaged or was changed"):
        Bundle.load(bundle_dir)


def test_a_truncated_file_is_noticed(bundle_dir: Path) -> None:
    os.truncate(bundle_dir / "visual.onnx", 1000)
    with pytest.raises(BundleError, match=r"visual\.onnx is 1000 bytes long, its manifest says"):
        verify(bundle_dir)


def test_a_missing_file_is_noticed(bundle_dir: Path) -> None:
    (bundle_dir / "audio.onnx").unlink()
    with pytest.raises(BundleError, match=r"audio\.onnx cannot be read \(No such file"):
        Bundle.load(bundle_dir)


def test_a_missing_file_in_a_zip_is_noticed(bundle_dir: Path, tmp_path: Path) -> None:
    (bundle_dir / "audio.onnx").unlink()
    with pytest.raises(BundleError, match=r"audio\.onnx cannot be read \(it is not there"):
        Bundle.load(zipped(bundle_dir, tmp_path / "b.zip", ""))


def test_another_major_version_is_refused(bundle_dir: Path) -> None:
    edit(bundle_dir, lambda manifest: manifest.update(schema_version="2.0"))
    with pytest.raises(BundleError, match=r"schema version 2\.0, this avdetect reads 1\.2; use a bundle"):
        read_manifest(bundle_dir)


def test_a_newer_minor_version_may_say_more(bundle_dir: Path) -> None:
    edit(bundle_dir, lambda manifest: manifest.update(schema_version="1.9", weather="fair"))
    assert read_manifest(bundle_dir).class_names == read_manifest(default_bundle_path()).class_names


def test_a_misspelt_key_is_an_error(bundle_dir: Path) -> None:
    edit(bundle_dir, lambda manifest: manifest["detector"].update(lookahed_snippets=3))
    with pytest.raises(BundleError, match=r"manifest\.json is not valid: detector\.lookahed_snippets"):
        read_manifest(bundle_dir)


def test_a_manifest_that_is_no_json(bundle_dir: Path) -> None:
    (bundle_dir / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="is not JSON"):
        read_manifest(bundle_dir)


@pytest.mark.parametrize("path", ["../outside.txt", "/etc/passwd", "a/../../b", "C:evil", "..\\b"])
def test_a_path_that_leads_out_is_refused(bundle_dir: Path, path: str) -> None:
    edit(bundle_dir, lambda manifest: manifest["files"].append({"path": path, "sha256": "0" * 64, "size": 0}))
    with pytest.raises(BundleError, match="lies outside the bundle"):
        read_manifest(bundle_dir)


def test_a_symbolic_link_that_leads_out_is_refused(bundle_dir: Path, tmp_path: Path) -> None:
    outside = tmp_path / "audio.onnx"
    (bundle_dir / "audio.onnx").rename(outside)
    (bundle_dir / "audio.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match=r"audio\.onnx lies outside the bundle"):
        Bundle.load(bundle_dir)


def test_weights_outside_the_graph_are_refused(bundle_dir: Path) -> None:
    model = onnx.load(bundle_dir / "detector.onnx")
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    replace_file(bundle_dir, "detector.onnx", model.SerializeToString())
    with pytest.raises(BundleError, match=r"keeps weights in other files \(\.\./\.\./secret\)"):
        Bundle.load(bundle_dir)


def test_a_graph_that_is_none_is_refused(bundle_dir: Path) -> None:
    replace_file(bundle_dir, "detector.onnx", b"not a protobuf at all")
    with pytest.raises(BundleError, match=r"detector\.onnx is not an ONNX model"):
        Bundle.load(bundle_dir)


def test_a_graph_without_the_promised_output_is_refused(bundle_dir: Path) -> None:
    model = onnx.load(bundle_dir / "motion.onnx")
    for node in model.graph.node:
        node.output[:] = ["feature" if name == "embedding" else name for name in node.output]
    model.graph.output[0].name = "feature"
    replace_file(bundle_dir, "motion.onnx", model.SerializeToString())
    with pytest.raises(BundleError, match="the motion graph has no output called embedding"):
        Bundle.load(bundle_dir)


def test_an_embedding_width_the_manifest_contradicts_is_refused(bundle_dir: Path) -> None:
    edit(bundle_dir, lambda manifest: manifest["audio"].update(embedding_dim=7))
    with pytest.raises(BundleError, match=r"the audio graph gives 1024 numbers of embedding, its manifest says 7"):
        Bundle.load(bundle_dir)
