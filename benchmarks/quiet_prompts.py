"""How the rule of prompts, fitted to some tracks and phrases, does on others.

    python benchmarks/quiet_prompts.py SOUNDS.jsonl

A hundred tracks of 60 s with three sounds are composed of the split val, and asked for all of their descriptions and
class names. Twenty times tracks and phrases are halved at random; the rule is fitted to one half of both, as the
builder of the default bundle fits it to all of them, and measured on the other half of both. Printed is the mean over
the halvings, both ways, with the lowest and the highest.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avdetect.evaluation.retrieval import AskedTrack, answers
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.text.records import read_text_records
from avdetect.text.track_files import TrackOptions
from avdetect_export.default_words import asked_tracks, fitted_rule

Asked = Mapping[str, Sequence[AskedTrack]]


def halves(asked: Asked, rng: np.random.Generator) -> tuple[Asked, Asked]:
    """Half of the tracks, asked for half of the phrases of each kind; the other tracks, asked for the others."""
    first: dict[str, list[AskedTrack]] = {}
    second: dict[str, list[AskedTrack]] = {}
    in_first = shuffled_halves(len(next(iter(asked.values()))), rng)
    for kind, tracks in asked.items():
        phrases = shuffled_halves(len(tracks[0].heard), rng)
        first[kind] = [only(track, phrases) for track, chosen in zip(tracks, in_first, strict=True) if chosen]
        second[kind] = [only(track, ~phrases) for track, chosen in zip(tracks, in_first, strict=True) if not chosen]
    return first, second


def shuffled_halves(count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of ``count`` are in the first half."""
    return rng.permutation(np.arange(count) < count / 2)


def only(track: AskedTrack, phrases: NDArray[np.bool_]) -> AskedTrack:
    """The track with all other phrases taken as not known."""
    return replace(
        track, heard=tuple(one if chosen else None for one, chosen in zip(track.heard, phrases, strict=True))
    )


def main() -> None:
    """Halve, fit, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path, help="manifest of labelled sounds with splits")
    parser.add_argument("--bundle", type=Path, default=default_bundle_path())
    parser.add_argument("--halvings", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the tracks")
    options = parser.parse_args()
    records = [one for one in read_text_records(options.sounds) if one.split == "val"]
    tracks = TrackOptions(100, duration_s=(60.0, 60.0), num_sounds=(3, 3), seed=options.seed)
    asked = asked_tracks(records, options.bundle, tracks)
    found: dict[str, list[float]] = {}
    for number in range(options.halvings):
        both = halves(asked, np.random.default_rng(number))
        for fitted, others in (both, both[::-1]):
            rule = fitted_rule(fitted)
            found.setdefault("threshold", []).append(rule.on)
            for where, half in (("fitted to", fitted), ("others", others)):
                for kind, mine in half.items():
                    result = answers(mine, rule)
                    found.setdefault(f"{where}, {kind}, not heard, no result", []).append(result.quiet_share)
                    found.setdefault(f"{where}, {kind}, heard, found", []).append(result.found_share)
    for name, values in found.items():
        print(f"{name}: {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
