from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avdetect.errors import DataError, UsageError
from avdetect.training.motion.clip_pictures import ClipPictures, decode_clips, divided, read_pictures
from avdetect.training.motion.disturbances import CAMERA, DISTURBANCES, OVERLAYS, camera_motion, disturbed, lay_over
from avdetect.training.motion.views import ViewOptions, ViewSource, plain_views
from avdetect.training.scenes.material import Clip, read_clips
from tests.synth.moving_clips import pictures, write_clip, write_clips


def clip(name: str, label: str | None, place: str) -> Clip:
    return Clip(Path(name), label, place)


def scene() -> torch.Tensor:
    return torch.from_numpy(pictures("glide", 1)[[0, 4, 8]]).float()


def test_pictures_are_read_as_they_were_written(tmp_path: Path) -> None:
    wanted = pictures("jump", 3)
    found = read_pictures(write_clip(tmp_path / "a.mp4", wanted), wanted.shape[1:])

    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() < 2.0


def test_the_grid_repeats_pictures_of_a_slow_video(tmp_path: Path) -> None:
    wanted = pictures("jump", 3, num_pictures=10)
    found = read_pictures(write_clip(tmp_path / "a.mp4", wanted, rate_hz=10), wanted.shape[1:])

    shown = [int(np.abs(found[at].astype(int) - wanted).mean((1, 2)).argmin()) for at in range(len(found))]
    assert shown == [int(at * 0.04 * 10 + 1e-6) for at in range(len(found))]


def test_smaller_pictures_are_means_over_areas(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures("still", 2))
    whole, small = read_pictures(path, (48, 64)).astype(float), read_pictures(path, (24, 32)).astype(float)

    assert np.abs(whole.reshape(len(whole), 24, 2, 32, 2).mean((2, 4)) - small).max() <= 1.0


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: path.write_bytes(b"no video"), "cannot be read as video"),
        (lambda path: write_clip(path, pictures("still", 0, num_pictures=1)), "is too short"),
        (lambda path: write_clip(path, pictures("still", 0, num_pictures=40), rate_hz=1), "cut it into clips"),
    ],
)
def test_a_clip_that_cannot_be_used_is_named(make: object, fault: str, tmp_path: Path) -> None:
    make(tmp_path / "odd.mp4")  # type: ignore[operator]
    with pytest.raises(DataError, match=f"odd.mp4.*{fault}"):
        read_pictures(tmp_path / "odd.mp4", (24, 32))


def test_clips_of_places_held_out_are_not_learned_from() -> None:
    clips = [clip("a", None, "yard"), clip("b", "fight", "hall"), clip("c", None, "hall")]

    kept, rest = divided(clips, ("hall",))

    assert [one.path.name for one in kept] == ["a"]
    assert [one.path.name for one in rest] == ["b", "c"]
    with pytest.raises(UsageError, match="no clip is of the place attic"):
        divided(clips, ("attic",))
    with pytest.raises(UsageError, match="nothing is left to learn from"):
        divided(clips, ("yard", "hall"))


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_a_disturbance_moves_a_still_picture_and_is_drawn_again_by_the_same_seed(kind: str) -> None:
    still = torch.from_numpy(pictures("still", 1)[:3]).float()
    before = still.clone()

    first, again = (disturbed(kind, still, 0.8, np.random.default_rng(5)) for _ in range(2))

    assert torch.equal(first, again)
    assert torch.equal(still, before)
    assert first.shape == still.shape
    assert (first[1:] - first[:-1]).abs().max() > 3.0


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_a_stronger_disturbance_changes_more(kind: str) -> None:
    changes = [
        np.mean(
            [
                float((disturbed(kind, scene(), strength, np.random.default_rng(seed)) - scene()).abs().mean())
                for seed in range(8)
            ]
        )
        for strength in (0.1, 1.0)
    ]
    assert changes[0] < changes[1]


def test_a_pan_goes_on_in_one_direction() -> None:
    motion = camera_motion("pan", 1.0, np.random.default_rng(0))

    assert np.allclose(motion.shift[1], 0)
    assert np.allclose(motion.shift[2], -motion.shift[0])
    assert np.linalg.norm(motion.shift[2]) > 0.05


def test_what_passes_is_cut_from_the_other_clip() -> None:
    black, white = torch.zeros(3, 48, 64), torch.full((3, 48, 64), 255.0)
    passed = lay_over("passing", black, 1.0, np.random.default_rng(2), white)

    assert (passed > 20).any()
    assert (passed < 1).any()


def source(options: ViewOptions, seed: int = 0) -> ViewSource:
    clips = [
        ClipPictures(clip(f"{kind}{place}", "fight" if kind == "jump" else None, f"p{place}"), pictures(kind, place))
        for place in range(3)
        for kind in ("jump", "still")
    ]
    return ViewSource(clips, ("fight",), options, seed=seed)


SMALL = ViewOptions(size=(24, 32))


def test_a_step_draws_the_same_views_whatever_was_drawn_before() -> None:
    first, second = source(SMALL), source(SMALL)
    first.draw(0, 4)

    for ours, theirs in zip(first.draw(7, 6), second.draw(7, 6), strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(first.draw(8, 6).pictures, second.draw(7, 6).pictures)
    assert not torch.equal(source(SMALL, seed=1).draw(7, 6).pictures, second.draw(7, 6).pictures)


def test_labels_follow_the_clip_whatever_is_laid_over_it() -> None:
    quiet = ViewOptions(size=(24, 32), disturbed_normal=0.0, noisy=0.0, badly_compressed=0.0, missing=0.0)
    batch = source(quiet).draw(0, 64)

    moves = (batch.pictures[:, 1:] - batch.pictures[:, :-1]).abs().amax((1, 2, 3)) > 30
    assert set(batch.labels[:, 0].tolist()) == {0.0, 1.0}
    assert not moves[batch.labels[:, 0] == 0].any()

    lively = ViewOptions(size=(24, 32), disturbed_normal=1.0, noisy=0.0, badly_compressed=0.0)
    batch = source(lively).draw(0, 64)
    moves = (batch.pictures[:, 1:] - batch.pictures[:, :-1]).abs().amax((1, 2, 3)) > 3
    assert moves[batch.labels[:, 0] == 0].float().mean() > 0.9


def test_rates_are_zero_where_a_difference_is_missing() -> None:
    rates = source(ViewOptions(size=(24, 32), missing=0.5, other_spacing=0.5)).draw(0, 200).rates

    assert 0.4 < float((rates == 0).float().mean()) < 0.6
    assert float(rates[rates > 0].min()) >= 0.65
    assert float(rates.max()) <= 1.4


def test_places_with_few_clips_are_drawn_nearly_as_often() -> None:
    clips = [ClipPictures(clip("a", "fight", "small"), pictures("jump", 0))]
    clips += [ClipPictures(clip(f"b{n}", None, "large"), pictures("still", n)) for n in range(9)]
    share = {
        evenness: float(
            ViewSource(clips, ("fight",), ViewOptions(size=(8, 8), place_evenness=evenness), seed=0)
            .draw(0, 400)
            .labels.mean()
        )
        for evenness in (0.0, 1.0)
    }
    assert abs(share[0.0] - 0.1) < 0.05
    assert abs(share[1.0] - 0.5) < 0.1


def test_plain_views_cover_a_clip_and_say_where_nothing_can_be_compared(tmp_path: Path) -> None:
    (one, *_) = decode_clips(read_clips(write_clips(tmp_path, num_places=1)), (48, 64))
    views = plain_views(one, (48, 64), every_s=0.32)
    assert views.pictures.shape == (3, 3, 48, 64)
    assert bool((views.rates == 1).all())

    short = ClipPictures(one.clip, one.luma[:3])
    assert plain_views(short, (48, 64), every_s=0.32).rates.tolist() == [[1.0, 0.0]]


def test_every_kind_is_the_cameras_or_an_overlay() -> None:
    assert set(DISTURBANCES) == {*CAMERA, *OVERLAYS}
