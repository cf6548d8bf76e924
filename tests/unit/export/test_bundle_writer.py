from __future__ import annotations

from pathlib import Path

import pytest

from avdetect.errors import OutputError
from avdetect.manifest import ClassSpec, DetectorSpec, Manifest
from avdetect_export.bundle_writer import MANIFEST_NAME, file_entries, write_bundle


def manifest_of(files: dict[str, bytes]) -> Manifest:
    return Manifest(
        schema_version="1.0",
        name="tiny",
        version="1",
        created="2026-01-01T00:00:00Z",
        hop_s=0.64,
        classes=(ClassSpec(name="bang"),),
        visual=None,
        motion=None,
        audio=None,
        detector=DetectorSpec(graph="detector.onnx", left_context_snippets=0, lookahead_snippets=0, embedding_dim=1),
        files=file_entries(files),
    )


def test_a_bundle_holds_its_files_and_a_manifest_that_reads_back(tmp_path: Path) -> None:
    files = {"detector.onnx": b"graph", "texts/NOTICE": b"whose"}
    write_bundle(tmp_path / "bundle", manifest_of(files), files)
    text = (tmp_path / "bundle" / MANIFEST_NAME).read_text()
    assert Manifest.model_validate_json(text) == manifest_of(files)
    assert (tmp_path / "bundle/texts/NOTICE").read_bytes() == b"whose"


def test_a_bundle_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    old, new = {"detector.onnx": b"old", "extra": b"x"}, {"detector.onnx": b"new"}
    for files in (old, new):
        write_bundle(tmp_path / "bundle", manifest_of(files), files)
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == ["detector.onnx", MANIFEST_NAME]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    files = {"detector.onnx": b"graph"}
    with pytest.raises(OutputError, match="is not a bundle"):
        write_bundle(tmp_path / "photos", manifest_of(files), files)


def test_a_missing_parent_is_said(tmp_path: Path) -> None:
    files = {"detector.onnx": b"graph"}
    with pytest.raises(OutputError, match="there is no folder"):
        write_bundle(tmp_path / "nowhere" / "bundle", manifest_of(files), files)


def test_a_manifest_of_other_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="entries of the files"):
        write_bundle(tmp_path / "bundle", manifest_of({"detector.onnx": b"a"}), {"detector.onnx": b"b"})
