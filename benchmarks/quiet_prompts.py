"""How the rule of prompts, fitted to some sounds, does on others.

    python benchmarks/quiet_prompts.py SOUNDS.jsonl

The sounds of the split val are halved at random, class by class, twenty times. Tracks of 60 s with three sounds are
composed of each half, the rule is fitted to one half as the builder of the default bundle fits it to all of them, and
both are asked for all descriptions and classes of their own sounds. Printed is the mean over the halvings, both ways,
with the lowest and the highest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from avdetect.evaluation.asking import answers
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.text.records import TextRecord, read_text_records
from avdetect.text.track_files import TrackOptions
from avdetect_export.default_words import asked_tracks, fitted_rule


def halves(records: list[TextRecord], rng: np.random.Generator) -> tuple[list[TextRecord], list[TextRecord]]:
    """Half of the sounds of each class, and the others."""
    first: list[TextRecord] = []
    for label in sorted({one.label or "" for one in records}):
        mine = [one for one in records if (one.label or "") == label]
        first += [mine[int(at)] for at in rng.permutation(len(mine))[: (len(mine) + int(rng.integers(2))) // 2]]
    chosen = {one.where for one in first}
    return first, [one for one in records if one.where not in chosen]


def main() -> None:
    """Halve, fit, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path, help="manifest of labelled sounds with splits")
    parser.add_argument("--bundle", type=Path, default=default_bundle_path())
    parser.add_argument("--halvings", type=int, default=20)
    parser.add_argument("--tracks", type=int, default=50)
    options = parser.parse_args()
    records = [one for one in read_text_records(options.sounds) if one.split == "val"]
    found: dict[str, list[float]] = {}
    for seed in range(options.halvings):
        tracks = TrackOptions(options.tracks, duration_s=(60.0, 60.0), num_sounds=(3, 3), seed=seed)
        asked = [asked_tracks(half, options.bundle, tracks) for half in halves(records, np.random.default_rng(seed))]
        for here, there in ((0, 1), (1, 0)):
            rule = fitted_rule(asked[here])
            found.setdefault("threshold", []).append(rule.on)
            for where, index in (("fitted to", here), ("others", there)):
                for kind, mine in asked[index].items():
                    result = answers(mine, rule)
                    found.setdefault(f"{where}, {kind}, not heard, no result", []).append(result.quiet_share)
                    found.setdefault(f"{where}, {kind}, heard, found", []).append(result.found_share)
        print(f"halving {seed + 1} of {options.halvings}", flush=True)
    for name, values in found.items():
        print(f"{name}: {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
