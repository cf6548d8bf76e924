from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avdetect.errors import OutputError, SoundIndexError
from avdetect.search.catalogue import Maker, Stamp
from avdetect.search.index import SoundIndex, is_index
from avdetect.search.index_writer import IndexWriter
from avdetect.text.scoring import SoundTrace

MAKER = Maker("test 1.0", "0" * 64, 0.64, 4)
STAMP = Stamp(10, 20)


def a_trace(seed: int, num_snippets: int = 5) -> SoundTrace:
    rng = np.random.default_rng(seed)
    present = rng.random(num_snippets) > 0.3
    vectors = rng.standard_normal((num_snippets, 4)).astype(np.float32) * present[:, None]
    return SoundTrace(vectors, rng.standard_normal(num_snippets).astype(np.float32), present)


def write(folder: Path, names: Sequence[str], *, num_snippets: int = 5) -> None:
    with IndexWriter(folder, MAKER) as writer:
        for seed, name in enumerate(names):
            writer.add(name, STAMP, a_trace(seed, num_snippets), 0.64 * num_snippets - 0.1)


def names_in(folder: Path) -> list[str]:
    return list(SoundIndex(folder).corpus().sources)


def test_what_was_heard_is_read_back(tmp_path: Path) -> None:
    write(tmp_path / "index", [str(tmp_path / name) for name in ("a.mp4", "b.mp4")])
    corpus = SoundIndex(tmp_path / "index").corpus()
    assert list(corpus.sources) == [str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]
    for number in range(2):
        trace, expected = corpus.trace(number), a_trace(number)
        np.testing.assert_array_equal(trace.vectors, expected.vectors)
        np.testing.assert_array_equal(trace.present, expected.present)
        np.testing.assert_array_equal(trace.salience[trace.present], expected.salience[expected.present])
        assert corpus.times_s(number).tolist() == pytest.approx([0, 0.64, 1.28, 1.92, 2.56, 3.1])


def test_a_recording_without_sound_is_remembered(tmp_path: Path) -> None:
    write(tmp_path / "index", ["silent.mp4"], num_snippets=0)
    index = SoundIndex(tmp_path / "index")
    assert index.number_of("silent.mp4", STAMP) == 0
    assert index.corpus().trace(0).present.size == 0


def test_a_file_that_has_changed_is_not_known(tmp_path: Path) -> None:
    write(tmp_path / "index", ["a.mp4"])
    with IndexWriter(tmp_path / "index", MAKER) as writer:
        assert writer.holds("a.mp4", STAMP)
        assert not writer.holds("a.mp4", Stamp(10, 21))
        assert not writer.holds("a.mp4", Stamp(11, 20))
        assert not writer.holds("b.mp4", STAMP)
        writer.add("a.mp4", Stamp(10, 21), a_trace(7), 3.2)
    index = SoundIndex(tmp_path / "index")
    assert index.number_of("a.mp4", STAMP) is None
    assert index.number_of("a.mp4", Stamp(10, 21)) == 0
    np.testing.assert_array_equal(index.corpus().trace(0).vectors, a_trace(7).vectors)


def test_what_has_vanished_is_dropped_below_the_folders_that_were_looked_through(tmp_path: Path) -> None:
    write(tmp_path / "index", [str(tmp_path / name) for name in ("one/a.mp4", "one/b.mp4", "two/c.mp4", "one.mp4")])
    with IndexWriter(tmp_path / "index", MAKER) as writer:
        assert writer.drop_vanished([str(tmp_path / "one")], [str(tmp_path / "one" / "b.mp4")]) == 1
    assert names_in(tmp_path / "index") == [str(tmp_path / name) for name in ("one/b.mp4", "two/c.mp4", "one.mp4")]


def test_what_lies_elsewhere_is_not_dropped(tmp_path: Path) -> None:
    # Seen from an index in tmp_path/data, that folder is "..", and so begins the way to any other.
    index = tmp_path / "data" / "index"
    index.parent.mkdir()
    write(index, [str(tmp_path / name) for name in ("data/a.mp4", "other/b.mp4", "data.mp4")])
    with IndexWriter(index, MAKER) as writer:
        assert writer.drop_vanished([str(tmp_path / "data")], []) == 1
    assert names_in(index) == [str(tmp_path / name) for name in ("other/b.mp4", "data.mp4")]


def test_an_index_moves_with_the_folder_that_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write(tmp_path / "videos" / "index", [str(tmp_path / "videos" / "a.mp4")])
    shutil.move(tmp_path / "videos", tmp_path / "moved")
    assert names_in(tmp_path / "moved" / "index") == [str(tmp_path / "moved" / "a.mp4")]


def test_a_run_that_is_killed_leaves_what_was_saved(tmp_path: Path) -> None:
    write(tmp_path / "index", ["a.mp4"])
    writer = IndexWriter(tmp_path / "index", MAKER)
    writer.add("b.mp4", STAMP, a_trace(1), 3.2)
    writer.save()
    writer.add("c.mp4", STAMP, a_trace(2), 3.2)
    shutil.copytree(tmp_path / "index", tmp_path / "left")  # c.mp4 may have reached the data files, or a part of it
    with (tmp_path / "left" / "vectors-1.f32").open("ab") as file:
        file.write(b"half a row")
    writer.__exit__(None, None, None)
    assert [Path(name).name for name in names_in(tmp_path / "left")] == ["a.mp4", "b.mp4"]
    with IndexWriter(tmp_path / "left", MAKER) as again:
        again.add("d.mp4", STAMP, a_trace(3), 3.2)
    corpus = SoundIndex(tmp_path / "left").corpus()
    for number, seed in enumerate((0, 1, 3)):
        np.testing.assert_array_equal(corpus.trace(number).vectors, a_trace(seed).vectors)


def test_what_an_error_interrupts_is_saved(tmp_path: Path) -> None:
    def interrupted() -> None:
        with IndexWriter(tmp_path / "index", MAKER) as writer:
            writer.add("a.mp4", STAMP, a_trace(0), 3.2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(names_in(tmp_path / "index")) == 1


def test_rows_of_nobody_are_left_out_once_they_are_the_most(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    write(folder, [str(tmp_path / name) for name in "abc"])
    before = SoundIndex(folder).corpus()
    with IndexWriter(folder, MAKER) as writer:
        writer.drop_vanished([str(tmp_path)], [str(tmp_path / "b")])
    assert (folder / "vectors-2.f32").stat().st_size == 5 * 4 * 4
    assert sorted(path.name for path in folder.glob("*.f32")) == ["salience-2.f32", "vectors-2.f32"]
    corpus = SoundIndex(folder).corpus()
    assert list(corpus.sources) == [str(tmp_path / "b")]
    np.testing.assert_array_equal(corpus.trace(0).vectors, a_trace(1).vectors)
    # Who was asking goes on with what was there.
    np.testing.assert_array_equal(before.trace(2).vectors, a_trace(2).vectors)


def _cut(folder: Path) -> None:
    path = folder / "vectors-1.f32"
    path.write_bytes(path.read_bytes()[:-1])


def _edit(folder: Path, **changes: object) -> None:
    document = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**document, **changes}))


DAMAGES = {
    "not JSON": (lambda folder: (folder / "index.json").write_text("{"), "index.json is not JSON"),
    "not an object": (lambda folder: (folder / "index.json").write_text("[]"), "was made in version"),
    "no recordings": (lambda folder: _edit(folder, recordings={}), "does not hold what it should"),
    "another version": (lambda folder: _edit(folder, schema_version="2.0"), "made in version 2.0 of the format"),
    "cut off": (_cut, "vectors-1.f32 is cut off"),
    "missing": (lambda folder: (folder / "salience-1.f32").unlink(), "salience-1.f32 cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_said_with_what_to_do(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "index"
    write(folder, ["a.mp4"])
    destroy, message = DAMAGES[damage]
    destroy(folder)
    for read in (SoundIndex, lambda path: IndexWriter(path, MAKER)):
        with pytest.raises(SoundIndexError, match=f"{message}.*avdetect index --fresh"):
            read(folder)
    with IndexWriter(folder, MAKER, fresh=True) as writer:
        writer.add("b.mp4", STAMP, a_trace(1), 3.2)
    assert len(names_in(folder)) == 1


def test_what_another_alignment_heard_is_not_added_to(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    write(folder, ["a.mp4"])
    other = replace(MAKER, sha256="1" * 64, bundle="other 2.0")
    with pytest.raises(SoundIndexError, match="made by the alignment of test 1.0, which is another than that of other"):
        IndexWriter(folder, other)
    with IndexWriter(folder, replace(MAKER, bundle="test 1.1")) as writer:  # renamed only
        assert len(writer) == 1
    with IndexWriter(folder, other, fresh=True) as writer:
        assert len(writer) == 0
    assert SoundIndex(folder).maker == other


def test_one_writes_at_a_time(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index", MAKER), pytest.raises(SoundIndexError, match="being written by another"):
        IndexWriter(tmp_path / "index", MAKER)
    with IndexWriter(tmp_path / "index", MAKER):
        pass


def test_what_is_no_index_is_not_made_one(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="is there and is not an index"):
        IndexWriter(tmp_path, MAKER, fresh=True)
    with pytest.raises(OutputError, match="cannot write the index"):
        IndexWriter(tmp_path / "no" / "folder", MAKER)
    assert not is_index(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_a_name_that_is_no_text_is_kept(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    write(tmp_path / "index", [name])
    assert names_in(tmp_path / "index") == [name]
