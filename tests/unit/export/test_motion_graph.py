"""The motion graph against a slow reading of its definition, and on motion whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from avdetect_export.motion_graph import MOTION, motion_feature_names, motion_graph
from avdetect_export.parity import open_graph

SESSION = open_graph(motion_graph())
NAMES = motion_feature_names()
TIMES = np.arange(9, dtype=np.float32) * np.float32(MOTION.cell_s)


def embed(luma: np.ndarray, time_s: np.ndarray = TIMES) -> np.ndarray:
    pictures = np.clip(np.round(luma), 0, 255).astype(np.uint8)
    return SESSION.run(None, {"luma": pictures[None], "time_s": time_s[None]})[0][0]


def features(luma: np.ndarray, time_s: np.ndarray = TIMES) -> dict[str, float]:
    return dict(zip(NAMES, embed(luma, time_s).tolist(), strict=True))


def texture(x_shift: np.ndarray, contrast: float = 40.0) -> np.ndarray:
    """Nine pictures of a smooth pattern, moved to the right by ``x_shift`` pixels."""
    y, x = np.mgrid[0:60, 0:80].astype(float)
    moved = x[None] - x_shift[:, None, None]
    return 128 + contrast * np.sin(moved / 5) * np.cos(y / 7 + 0.5)


def slow(luma: np.ndarray, time_s: np.ndarray) -> dict[str, float]:
    """Some of the features, one pair and one block after the other."""
    values: dict[str, list[float]] = {name: [] for name in ("difference", "pan", "flow_disorder", "jerk")}
    rates_before: np.ndarray | None = None
    for before, after, start, end in zip(luma, luma[1:], time_s, time_s[1:], strict=False):
        if end - start <= 1e-4:
            rates_before = None
            continue
        rate = min(max(0.08 / float(end - start), 0.25), 2.0)
        a, b = before - before.mean(), after - after.mean()
        change, picture = b - a, (a + b) / 2
        values["difference"].append(np.log1p((np.maximum(np.abs(change) - 3, 0) * rate).mean()))
        gx, gy = np.zeros_like(a), np.zeros_like(a)
        gx[:, 1:-1] = (picture[:, 2:] - picture[:, :-2]) / 2
        gy[1:-1] = (picture[2:] - picture[:-2]) / 2

        def flow(rows: slice, columns: slice, gx=gx, gy=gy, change=change) -> np.ndarray:
            x, y, t = gx[rows, columns], gy[rows, columns], change[rows, columns]
            matrix = np.array([[(x * x).mean(), (x * y).mean()], [(x * y).mean(), (y * y).mean()]])
            return -np.linalg.solve(matrix + 16 * np.eye(2), [(x * t).mean(), (y * t).mean()])

        pan = flow(slice(None), slice(None))
        values["pan"].append(np.log1p(2 * np.hypot(*pan) * rate))
        blocks = [flow(slice(y, y + 10), slice(x, x + 10)) for y in range(0, 60, 10) for x in range(0, 80, 10)]
        astray = np.mean([np.hypot(*(block - pan)) for block in blocks])
        values["flow_disorder"].append(np.log1p(2 * astray * rate))
        rates = change * rate
        turn = np.nan if rates_before is None else np.maximum(np.abs(rates - rates_before) - 6, 0).mean()
        values["jerk"].append(turn)
        rates_before = rates
    turns = np.array(values["jerk"])
    usual = 0.0 if np.isnan(turns).all() else np.nanmean(turns)
    values["jerk"] = list(np.log1p(np.where(np.isnan(turns), usual, turns)))
    moments = {"mean": np.mean, "std": np.std, "max": np.max}
    return {f"{name}_{m}": float(f(v)) for name, v in values.items() for m, f in moments.items()}


@pytest.mark.parametrize("time_s", [TIMES, TIMES * 0.7, np.repeat(TIMES[::2], 2)[:9]])
def test_the_graph_agrees_with_a_slow_reading_of_its_definition(time_s: np.ndarray) -> None:
    random = np.random.default_rng(0)
    luma = np.round(texture(np.cumsum(random.uniform(-2, 2, 9))) + random.normal(0, 4, (9, 60, 80)))
    same = np.flatnonzero(np.diff(time_s) == 0)
    for index in same:
        luma[index + 1] = luma[index]
    luma = np.clip(luma, 0, 255)
    found = features(luma, time_s)
    for name, wanted in slow(luma, time_s).items():
        assert found[name] == pytest.approx(wanted, abs=2e-3), name


@pytest.mark.parametrize("level", [0, 128, 255])
def test_pictures_that_stand_still_have_no_motion(level: int) -> None:
    found = features(np.full((9, 60, 80), level))
    moving = {name: value for name, value in found.items() if name not in ("pairs", "luma")}
    assert not any(moving.values())
    assert found["pairs"] == 1.0


def test_one_distinct_picture_has_no_motion_and_no_pairs() -> None:
    found = features(np.random.default_rng(0).integers(0, 256, (9, 60, 80)), np.zeros(9, np.float32))
    assert found["pairs"] == found["cuts"] == found["difference_max"] == 0.0


def test_all_numbers_are_finite_and_small_whatever_comes() -> None:
    random = np.random.default_rng(0)
    for luma in (random.integers(0, 256, (9, 60, 80)), np.tile([[[0]], [[255]], [[0]]], (3, 60, 80))):
        for time_s in (TIMES, TIMES * 100, TIMES / 1000, np.zeros(9, np.float32)):
            embedding = embed(luma, time_s)
            assert np.isfinite(embedding).all()
            assert np.abs(embedding).max() < 8


def test_a_change_of_light_is_not_motion() -> None:
    found = features(texture(np.zeros(9)) + np.arange(9)[:, None, None] * 8)
    assert found["difference_max"] < 0.02
    assert found["brightness_mean"] > 2.0


def test_noise_is_not_motion() -> None:
    noise = np.random.default_rng(0).normal(0, 1.0, (9, 60, 80))
    assert features(texture(np.zeros(9)) + noise)["difference_mean"] < 0.1


def test_a_pan_is_explained_by_the_camera_and_a_struggle_is_not() -> None:
    pan = features(texture(np.arange(9) * 1.0))
    struggle = texture(np.zeros(9))
    to_and_fro = np.array([0, 3, -2, 2, -3, 3, 0, -3, 2])
    struggle[:, 20:50, 20:40] = texture(to_and_fro)[:, 20:50, 20:40]
    struggle[:, 20:50, 40:60] = texture(-to_and_fro)[:, 20:50, 40:60]
    fight = features(struggle)
    assert pan["pan_mean"] > 2 * fight["pan_mean"]
    assert fight["jerk_mean"] > 2 * pan["jerk_mean"]
    assert fight["unexplained_mean"] > 2 * pan["unexplained_mean"]


def test_a_cut_counts_as_a_cut_and_not_as_motion() -> None:
    luma = texture(np.zeros(9), contrast=80)
    luma[4:] = 255 - luma[4:]
    found = features(luma)
    assert found["cuts"] == 1.0
    assert found["difference_max"] == 0.0


def test_the_same_motion_is_alike_at_other_frame_rates() -> None:
    full = features(texture(TIMES / 0.08 * 1.2, contrast=100))
    half_times = np.repeat(TIMES[::2], 2)[:9]
    half = features(texture(half_times / 0.08 * 1.2, contrast=100), half_times)
    assert half["pairs"] == 0.5
    assert half["difference_mean"] == pytest.approx(full["difference_mean"], rel=0.25)
