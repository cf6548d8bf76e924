"""Lists of features in the layout of XD-Violence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avdetect.errors import DataError
from avdetect.labels.feature_files import read_features
from avdetect.labels.video_list import read_labelled_videos
from avdetect.labels.videos import FeatureFiles
from avdetect.timebase import Span

FILM = "Film.2003__#00-06-42_label_B2-G-0"
NORMAL = "v=x__#1_label_A"


def save(path: Path, shape: tuple[int, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.zeros(shape, np.float64))
    return path


def test_crops_and_sound_beside_each_other_are_put_together_by_video(tmp_path: Path) -> None:
    names = [f"{FILM}__{crop}.npy" for crop in range(5)] + [f"{NORMAL}__0.npy"]
    for name in [*names, f"{FILM}__vggish.npy", f"{NORMAL}__vggish.npy"]:
        (tmp_path / name).touch()
    (tmp_path / "rgb.list").write_text("\n".join(f"{name} 1 2" for name in names))
    film, normal = read_labelled_videos(tmp_path / "rgb.list")

    assert isinstance(film.media, FeatureFiles)
    assert [path.name for path in film.media.visual] == names[:5]
    assert film.media.audio == tmp_path / f"{FILM}__vggish.npy"
    assert (film.classes, film.events, film.name) == ({"B2", "G"}, None, FILM)
    assert (normal.classes, normal.events, normal.fps) == (set(), (), 24)


def test_the_list_of_sound_says_where_sound_is_that_lies_elsewhere(tmp_path: Path) -> None:
    visual = save(tmp_path / "i3d-features" / "RGBTest" / f"{FILM}__0.npy", (3, 4))
    audio = save(tmp_path / "vggish-features" / "test" / f"{FILM}__vggish.npy", (3, 2))
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "rgb_test.list").write_text(f"{visual}\n")
    (tmp_path / "list" / "audio_test.list").write_text(f"{audio}\n")

    (film,) = read_labelled_videos(tmp_path / "list" / "rgb_test.list")

    assert film.media == FeatureFiles((visual,), audio)


def test_annotations_count_frames_for_every_class_of_the_video(tmp_path: Path) -> None:
    for name in (FILM, NORMAL):
        save(tmp_path / f"{name}__0.npy", (3, 4))
        save(tmp_path / f"{name}__vggish.npy", (3, 2))
    (tmp_path / "rgb.list").write_text(f"{FILM}__0.npy\n{NORMAL}__0.npy\n")
    (tmp_path / "annotations.txt").write_text(f"{FILM} 48 60 24 36\n")

    film, normal = read_labelled_videos(tmp_path / "rgb.list")

    assert film.events is not None
    assert [event.span for event in film.events] == [Span(1.0, 1.5), Span(2.0, 2.5)]
    assert film.spans_of("G") == film.spans_of("B2") == [Span(1.0, 1.5), Span(2.0, 2.5)]
    assert normal.events == ()


@pytest.mark.parametrize(
    ("line", "annotation", "fault"),
    [
        ("Film__0.npy", "", "line 1: Film__0.npy is not named NAME_label_CODES__CROP.npy"),
        ("x_label_Q7__0.npy", "", "line 1: unknown label Q7; there are B1, B2"),
        (f"{NORMAL}__0.npy", "", f"line 1: there is no file .*{NORMAL}__vggish.npy"),
        (f"{NORMAL}__0.npy", f"{FILM} 10", "annotations.txt, line 1: expected NAME START END"),
        (f"{NORMAL}__0.npy", f"{FILM} 20 10", "annotations.txt, line 1: expected NAME START END"),
    ],
)
def test_mistakes_in_lists_are_said_with_their_line(tmp_path: Path, line: str, annotation: str, fault: str) -> None:
    (tmp_path / "rgb.list").write_text(line)
    (tmp_path / "annotations.txt").write_text(annotation)

    with pytest.raises(DataError, match=fault):
        read_labelled_videos(tmp_path / "rgb.list")


def test_the_longer_modality_is_cut_to_the_shorter(tmp_path: Path) -> None:
    files = FeatureFiles((save(tmp_path / "0.npy", (9, 4)), save(tmp_path / "1.npy", (40, 4))), tmp_path / "a.npy")
    save(files.audio, (10, 2))

    audio, visual = read_features(files, 0)

    assert (audio.shape, visual.shape, audio.dtype) == ((9, 2), (9, 4), np.float32)
    with pytest.raises(DataError, match=r"1.npy: 40 snippets of visual features, 10 of audio features"):
        read_features(files, 1)


@pytest.mark.parametrize(("content", "fault"), [(b"no array", "cannot be read as an array"), (b"", "cannot be read")])
def test_a_damaged_array_is_named(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)

    with pytest.raises(DataError, match=f"a.npy {fault}"):
        read_features(FeatureFiles((tmp_path / "a.npy",), tmp_path / "a.npy"), 0)


def test_an_array_of_another_shape_is_named(tmp_path: Path) -> None:
    files = FeatureFiles((save(tmp_path / "0.npy", (2, 3, 4)),), save(tmp_path / "a.npy", (2, 4)))

    with pytest.raises(DataError, match=r"0.npy has shape \(2, 3, 4\), expected \(snippets, numbers\)"):
        read_features(files, 0)
