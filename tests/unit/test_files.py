"""Whole-file writes: whole or not at all, one sentence for whatever goes wrong, and targets checked before the work."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from avdetect.errors import OutputError
from avdetect.files import check_folder, check_target, make_folder, replacing, replacing_folder, why_not_written


def test_an_output_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "events.csv"
    with replacing(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"
    assert [path.name for path in tmp_path.iterdir()] == ["events.csv"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "events.csv"
    target.write_text("before")
    with pytest.raises(RuntimeError, match="power cut"), replacing(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError("power cut")
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["events.csv"]


def test_an_output_is_as_readable_as_any_new_file(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    with replacing(tmp_path / "events.csv"):
        pass
    assert (tmp_path / "events.csv").stat().st_mode == other.stat().st_mode


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*nowhere/events\.csv: there is no folder .*nowhere\."),
        replacing(tmp_path / "nowhere" / "events.csv"),
    ):
        pass


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OutputError, match="is not a file|is a folder"), replacing(target):
            pass


def test_a_name_of_the_greatest_length_is_written(tmp_path: Path) -> None:
    for name in ("a" * 251 + ".csv", "é" * 125 + ".csv", "a" * 255, "." + "b" * 254, "a." + "s" * 250, "x"):
        with replacing(tmp_path / name) as temporary:
            assert len(os.fsencode(temporary.name)) <= max(len(os.fsencode(name)), 11)
            temporary.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 6


def test_a_link_stays_a_link_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "there" / "events.csv")
    with replacing(link) as temporary:
        temporary.write_text("whole")
    assert link.is_symlink()
    assert (tmp_path / "there" / "events.csv").read_text() == "whole"


def test_what_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "events.csv"
    target.touch()
    target.chmod(0o640)
    with replacing(target) as temporary:
        temporary.write_text("whole")
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "there is no permission to write in"),
        (errno.EPERM, "there is no permission to write in"),
        (errno.ENAMETOOLONG, "its name is too long"),
        (errno.EISDIR, "it is a folder"),
        (errno.ENOTDIR, "is not a folder"),
        (errno.ELOOP, "its symbolic links lead in a circle"),
        (errno.EFBIG, "it would become larger than a file may be here"),
        (errno.ENETDOWN, "Network is down"),
    ],
)
def test_every_reason_of_the_system_is_told_in_words(number: int, words: str, tmp_path: Path) -> None:
    assert words in why_not_written(OSError(number, os.strerror(number)), tmp_path / "a.csv")


@pytest.mark.parametrize("write", [check_target, lambda path: replacing(path).__enter__()], ids=["checked", "written"])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("folder", "it is a folder, name a file"),
        ("missing/a.csv", "there is no folder .*missing"),
        ("file/a.csv", "file is not a folder"),
        ("loop", "its symbolic links lead in a circle"),
        ("loop/a.csv", "its symbolic links lead in a circle|there is no folder"),
        ("n" * 256, "its name is too long"),
        ("fifo", "it is there already and is not a file"),
        ("device", "it is there already and is not a file"),
    ],
)
def test_what_cannot_be_a_file_is_named_before_anything_is_written(
    name: str, why: str, write: Callable[[Path], object], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/null")
    before = sorted(tmp_path.iterdir())

    with pytest.raises(OutputError, match=f"^cannot write {tmp_path / name}: .*({why})"):
        write(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def test_a_check_leaves_nothing_behind(tmp_path: Path) -> None:
    check_target(tmp_path / "a.csv")
    check_folder(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("file", "it is there already and is not a folder"),
        ("file/below", "file is not a folder"),
        ("loop", "its symbolic links lead in a circle"),
        ("n" * 256, "its name is too long"),
    ],
)
@pytest.mark.parametrize("use", [check_folder, make_folder])
def test_what_cannot_be_a_folder_is_named(name: str, why: str, use: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError, match=f"^cannot write {tmp_path / name}: .*({why}|not a folder)"):
        use(tmp_path / name)


def test_a_write_that_fails_half_way_is_one_sentence_and_leaves_what_was_there(tmp_path: Path) -> None:
    """A limit of the process stands for a full disk: the system refuses the write in the same place."""
    (tmp_path / "events.csv").write_text("before")
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from avdetect.files import replacing\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with replacing(Path(sys.argv[1])) as temporary, temporary.open('w') as file:\n"
        "    file.write('x' * 100_000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "events.csv"], capture_output=True, text=True, check=False
    )

    assert done.stderr.splitlines()[-1] == (
        f"avdetect.errors.OutputError: cannot write {tmp_path / 'events.csv'}: it would become larger than a file may "
        "be here."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["events.csv"]
    assert (tmp_path / "events.csv").read_text() == "before"


def test_an_error_about_another_file_is_left_to_who_opened_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.csv") as temporary:
        temporary.write_text((tmp_path / "missing").read_text())
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_a_mount_of_its_own_is_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(self), None, str(target))

    (tmp_path / "a.csv").write_text("before")
    monkeypatch.setattr(Path, "replace", refused)
    with replacing(tmp_path / "a.csv") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a.csv").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    folder = tmp_path / ("n" * 255)
    for number in (1, 2):
        with replacing_folder(folder) as new:
            (new / f"file-{number}").touch()
    with pytest.raises(RuntimeError, match="power cut"), replacing_folder(folder) as new:  # noqa: PT012
        (new / "half").touch()
        raise RuntimeError("power cut")
    assert [path.name for path in folder.iterdir()] == ["file-2"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_whose_successor_cannot_take_its_place_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "before").touch()
    rename = Path.rename

    def refused(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OutputError, match=r"cannot write .*bundle: Input/output error"), replacing_folder(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["before"]
    assert list(tmp_path.iterdir()) == [folder]
