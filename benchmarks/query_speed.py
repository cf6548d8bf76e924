"""``avdetect query``, the whole process, over 100 hours of index: under 1 s is wanted. Beside it the obvious program.

The obvious one keeps a .npy for each recording, loads them one after the other, and looks at every curve. Both must
find the same places. Vectors are those of the demo clip and random ones, changing as sound does: a few hundred
recordings hold what is asked for.

python benchmarks/query_speed.py [--hours 100] [--rounds 7] [--story]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from support import AVDETECT, DEMO, in_turn, media_folder, report

from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.runtime.hearing import Ears
from avdetect.runtime.sound_text import open_alignment
from avdetect.search.catalogue import Maker, Stamp
from avdetect.search.index import SoundIndex
from avdetect.search.index_writer import IndexWriter
from avdetect.text.scoring import Floats, SoundTrace, probability

PHRASE = "a siren"
STORY = "gunshots, then a siren. At the same time people shout."
SNIPPETS_PER_RECORDING = 94  # a minute
HELD_SNIPPETS = 8
NOISE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--story", action="store_true", help="ask for a story in order; there is no obvious program for it"
    )
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain is not None:
        print(json.dumps(plain_query(arguments.plain)))
        return
    index, plain = made_up_index(arguments.hours)
    hours = sum(SoundIndex(index).corpus().ends_s) / 3600
    size_mb = sum(path.stat().st_size for path in index.iterdir()) / 1e6
    print(f"{hours:.1f} hours, {len(SoundIndex(index).corpus().sources)} recordings, {size_mb:.0f} MB of index")
    if arguments.story:
        ours = [*AVDETECT, "query", str(index), STORY, "--json"]
        report("story, in order / in any", *in_turn([*ours, "--order"], ours, rounds=arguments.rounds))
        return
    ours = [*AVDETECT, "query", str(index), PHRASE, "--json"]
    theirs = [sys.executable, __file__, "--plain", str(plain)]
    found, obvious = (json.loads(subprocess.run(one, capture_output=True, check=True).stdout) for one in (ours, theirs))
    places = [[Path(place["source"]).stem, place["start_s"], place["end_s"]] for place in found["places"]]
    if sorted(places) != sorted(obvious):
        raise SystemExit(f"the places differ: {places} and {obvious}")
    report("query / obvious", *in_turn(ours, theirs, rounds=arguments.rounds))


def made_up_index(hours: int) -> tuple[Path, Path]:
    """The index, and a folder with the same as a file for each recording."""
    index, plain = (media_folder() / f"query-{hours}.{kind}" for kind in ("index", "plain"))
    manifest = read_manifest(default_bundle_path())
    assert manifest.alignment is not None
    maker = Maker.of(manifest, manifest.alignment)
    if plain.is_dir() and index.is_dir() and SoundIndex(index).maker == maker:
        return index, plain
    shutil.rmtree(plain, ignore_errors=True)
    plain.mkdir()
    known = Ears.open(device="cpu").hear(DEMO).trace.vectors
    rng = np.random.default_rng(0)
    with IndexWriter(index, maker, fresh=True) as writer:
        for number in range(round(hours * 3600 / (SNIPPETS_PER_RECORDING * maker.hop_s))):
            vectors = made_up_vectors(known, rng)
            np.save(plain / f"{number:06d}.npy", vectors)
            salience = rng.standard_normal(len(vectors)).astype(np.float32)
            trace = SoundTrace(vectors, salience, np.ones(len(vectors), np.bool_))
            writer.add(str(plain / f"{number:06d}.mp4"), Stamp(0, 0), trace, len(vectors) * maker.hop_s)
    return index, plain


def made_up_vectors(known: Floats, rng: np.random.Generator) -> Floats:
    """Of a recording: now and then something else is heard, in one of twenty cases a stretch of ``known``."""
    vectors = []
    while len(vectors) < SNIPPETS_PER_RECORDING:
        length = int(rng.integers(1, 2 * HELD_SNIPPETS))
        if rng.random() < 0.05:
            start = int(rng.integers(len(known)))
            heard = known[start : start + length]
        else:
            heard = np.repeat(rng.standard_normal((1, known.shape[1])).astype(np.float32), length, axis=0)
            heard /= np.linalg.norm(heard, axis=1, keepdims=True)
        vectors += list(heard)
    noise = NOISE * rng.standard_normal((SNIPPETS_PER_RECORDING, known.shape[1])) / np.sqrt(known.shape[1])
    noisy = np.array(vectors[:SNIPPETS_PER_RECORDING]) + noise
    return np.asarray(noisy / np.linalg.norm(noisy, axis=1, keepdims=True), np.float32)


def plain_query(folder: Path) -> list[list[object]]:
    """What one would write first: the best 20 stretches above the threshold, of all files."""
    model = open_alignment(device="cpu")
    phrase, rule = model.story(PHRASE).phrases[0], model.spec.prompt_rule
    hop_s = read_manifest(default_bundle_path()).hop_s
    found = []
    for path in sorted(folder.glob("*.npy")):
        relevance = probability(np.load(path) @ phrase, model.spec)
        start, held, gap = None, 0, 0
        for at, value in enumerate([*relevance.tolist(), *[-1.0] * 99]):
            if start is None and value >= rule.on:
                start, held, gap = at, at + 1, 0
            elif start is not None and (value >= rule.on or (value >= rule.off and gap == 0)):
                held, gap = at + 1, 0
            elif start is not None:
                gap += 1
                if gap * hop_s >= rule.merge_gap_s - 1e-6:
                    found.append((float(relevance[start:held].max()), path.stem, start * hop_s, held * hop_s))
                    start = None
    return [[name, round(start_s, 3), round(end_s, 3)] for _, name, start_s, end_s in sorted(found)[:-21:-1]]


if __name__ == "__main__":
    main()
