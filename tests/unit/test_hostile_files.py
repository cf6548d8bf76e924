"""Whatever a bundle, a file of scores or a list holds: that file's own error, in bounded memory, and no waiting."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avdetect.errors import AvdetectError, BundleError, DataError, ScoresError
from avdetect.events.curve import ScoreCurve
from avdetect.labels.video_list import read_labelled_videos
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest, verify
from avdetect.sinks.scores import read_scores, write_scores
from avdetect.text.records import read_text_records

FUZZ = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANIFEST = json.loads((default_bundle_path() / "manifest.json").read_text("utf-8"))
DEEP = "[" * 100_000
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.sampled_from([0, -1, 1e-300, 1e300, "", "../../etc/passwd", "/dev/zero", "a\0b", "\x1b[31m", "9" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


PLACES = places(MANIFEST)[1:]


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(document))
    inside = copy
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return copy


def curve(source: str = "a.mp4") -> ScoreCurve:
    start_s = np.arange(3, dtype=np.float64)
    scores = np.full((3, 2), 0.5, np.float32)
    present = np.ones((3, 2), np.bool_)
    return ScoreCurve(source, ("siren", "crash"), (True, True), start_s, start_s + 1, scores, scores, scores, present)


def one_sentence(read: Callable[[Path], object], path: Path, error: type[AvdetectError]) -> None:
    """Reading ``path`` either works or raises ``error``, which names the file."""
    try:
        read(path)
    except error as found:
        said = str(found)
    else:
        return
    assert path.name in said


@FUZZ
@given(place=st.sampled_from(PLACES), value=JSON_VALUES)
def test_any_value_anywhere_in_a_manifest_is_taken_or_refused(
    place: tuple[Any, ...], value: Any, tmp_path: Path
) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(with_value(MANIFEST, place, value)), "utf-8")
    one_sentence(read_manifest, tmp_path, BundleError)


@pytest.mark.parametrize(
    "text", [DEEP, "", "null", "3", '"a"', "[]", "{}", '{"schema_version": "9' + "9" * 5000 + '.0"}', "\ufeff{}"]
)
def test_a_manifest_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(BundleError, match=tmp_path.name):
        read_manifest(tmp_path)


@FUZZ
@given(data=st.binary(max_size=300), cut=st.integers(0, 5000))
def test_any_bytes_in_a_zip_are_refused(data: bytes, cut: int, tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(MANIFEST))
    content = whole.getvalue()
    path = tmp_path / "bundle.zip"
    for damaged in (data, content[:cut] + data + content[cut + len(data) :], content[:cut]):
        path.write_bytes(damaged)
        one_sentence(verify, path, BundleError)


def limited(code: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run ``code`` with two gigabytes of memory and a minute of time."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=False, timeout=120, preexec_fn=limit,
    )  # fmt: skip


VERIFY = """
import sys
from pathlib import Path
from avdetect.runtime.bundle_files import open_bundle_files
with open_bundle_files(Path(sys.argv[1])) as files:
    files.read_graph("detector.onnx")
"""
READ = """
import sys
from pathlib import Path
from avdetect.sinks.scores import read_scores
read_scores(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("size", [10 << 30, 1 << 30], ids=["10 GiB", "1 GiB"])
def test_a_zip_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(size: int, tmp_path: Path) -> None:
    manifest = json.loads(json.dumps(MANIFEST))
    next(entry for entry in manifest["files"] if entry["path"] == "detector.onnx")["size"] = size
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for entry in manifest["files"]:
            archive.writestr(entry["path"], b"")
        archive.filelist[:] = [info for info in archive.filelist if info.filename != "detector.onnx"]
        archive.NameToInfo.pop("detector.onnx")
        archive.writestr("detector.onnx", bytes(1 << 20))
        archive.getinfo("detector.onnx").file_size = size  # what the directory of the zip promises

    done = limited(VERIFY, path)

    assert "BundleError" in done.stderr.splitlines()[-1]
    assert "MiB" in done.stderr.splitlines()[-1]


def test_an_archive_of_scores_that_promises_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    write_scores(path, [curve()])
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 34, 2)})
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, header.getvalue() if name == "scores.npy" else content)

    with pytest.raises(ScoresError, match=r"scores\.npz: scores\.npy is damaged: it promises more"):
        read_scores(path)


def test_an_archive_of_scores_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    write_scores(path, [curve()])
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (3 << 30,)})
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w", force_zip64=True) as more,
    ):
        more.write(header.getvalue())
        for _ in range(48):
            more.write(bytes(64 << 20))

    assert "ScoresError" in limited(READ, path).stderr.splitlines()[-1]


@FUZZ
@given(
    name=st.sampled_from(
        ["sources", "num_snippets", "classes", "anomaly_classes", "start_s", "end_s", "scores", "present"]
    ),
    value=st.sampled_from([
        np.array([]), np.array(3), np.array("x"), np.array(["a\0b"]), np.array(["", ""]), np.array(["a", "a"]),
        np.array([-1]), np.array([1 << 62, 1 << 62]), np.array([np.nan, 0, 1]), np.array([-np.inf, 0.0, 1.0]),
        np.zeros((0, 2), np.float32), np.zeros((3, 0), np.float32), np.full((3, 2), np.inf, np.float32),
        np.array([b"\xff"]), np.array([1e300, 2e300, 3e300]),
    ]),
)  # fmt: skip
def test_any_array_in_an_archive_of_scores_is_taken_or_refused(name: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    write_scores(path, [curve()])
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, name: value})
    one_sentence(read_scores, path, ScoresError)


@FUZZ
@given(suffix=st.sampled_from([".npz", ".csv", ".parquet"]), data=st.binary(max_size=400), at=st.integers(0, 3000))
def test_any_bytes_in_a_file_of_scores_are_taken_or_refused(suffix: str, data: bytes, at: int, tmp_path: Path) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"scores{suffix}"
    write_scores(path, [curve()])
    content = path.read_bytes()
    for damaged in (data, content[:at] + data + content[at + len(data) :], content[:at]):
        path.write_bytes(damaged)
        one_sentence(read_scores, path, ScoresError)


@FUZZ
@given(
    text=st.text(max_size=200)
    | st.sampled_from(
        [DEEP, '{"video": ' + DEEP, '{"video": "a\\u0000b", "class": "x"}', "video,class\n\0,\0\n", '"' * 99]
    )
)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".list"])
def test_any_text_in_a_list_of_videos_is_taken_or_refused(suffix: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"videos{suffix}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    one_sentence(read_labelled_videos, path, DataError)
    if suffix != ".list":
        one_sentence(read_text_records, path, DataError)


@pytest.mark.parametrize(
    ("name", "read", "error"),
    [
        ("pipe.npz", read_scores, ScoresError),
        ("pipe.csv", read_scores, ScoresError),
        ("pipe.jsonl", read_labelled_videos, DataError),
        ("pipe.csv", read_text_records, DataError),
        ("pipe.zip", read_manifest, BundleError),
    ],
)
def test_a_pipe_that_nobody_writes_is_not_waited_for(
    name: str, read: Callable[[Path], object], error: type[AvdetectError], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(error):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["manifest.json", "detector.onnx"])
def test_a_pipe_inside_a_bundle_is_not_waited_for(name: str, tmp_path: Path) -> None:
    for entry in default_bundle_path().iterdir():
        if entry.name != name and entry.is_file():
            (tmp_path / entry.name).write_bytes(entry.read_bytes())
    os.mkfifo(tmp_path / name)
    with pytest.raises(BundleError, match=f"{name}"):
        verify(tmp_path)


def test_a_graph_nested_without_end_is_refused(tmp_path: Path) -> None:
    inner = b""
    for _ in range(2000):  # Graph in Attribute in Node in Graph ...
        attribute = b"\x32" + varint(len(inner)) + inner
        node = b"\x2a" + varint(len(attribute)) + attribute
        inner = b"\x0a" + varint(len(node)) + node
    model = b"\x3a" + varint(len(inner)) + inner
    manifest = json.loads(json.dumps(MANIFEST))
    entry = next(one for one in manifest["files"] if one["path"] == "detector.onnx")
    entry["size"], entry["sha256"] = len(model), hashlib.sha256(model).hexdigest()
    for one in manifest["files"]:
        if one["path"] != "detector.onnx":
            (tmp_path / one["path"]).write_bytes((default_bundle_path() / one["path"]).read_bytes())
    (tmp_path / "detector.onnx").write_bytes(model)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"detector\.onnx is not an ONNX model"):
        verify(tmp_path)


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
