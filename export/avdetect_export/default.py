"""Builds the bundle that ships with the package: ``python -m avdetect_export.default AVBENCH --sounds SOUNDS``.

encoder_bundle     published weights -> graphs of what is seen and heard
add_detector       + a network trained from the labels of ``AVBENCH/train.jsonl``, thresholds fitted to ``val.jsonl``
add_words          + a text encoder, and an alignment trained from the sounds of SOUNDS

Each step leaves what the ones before it made as it is. The last one can be taken again alone, on a bundle that is there
already: ``python -m avdetect_export.default_words SOUNDS``.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from avdetect.manifest import Manifest
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect_export.bundle_writer import check_bundle_target, read_bundle, write_bundle
from avdetect_export.default_detector import NAME, add_detector
from avdetect_export.default_encoders import encoder_bundle
from avdetect_export.default_words import add_words
from avdetect_export.encoder_graphs import load_yamnet

__all__ = ["build_default"]


def build_default(directory: Path, data: Path, sounds: Path, embeddings: Path | None = None) -> Manifest:
    """Write the default bundle.

    Args:
        directory: where.
        data: folder of ``train.jsonl``, to learn from, and ``val.jsonl``, to fit thresholds to.
        sounds: manifest of labelled sounds with captions, of the splits ``train`` and ``val``, likewise.
        embeddings: where those of videos and sounds are kept; ``None`` to make them and throw them away.

    Returns:
        Its manifest.
    """
    check_bundle_target(directory)
    with TemporaryDirectory(prefix="avdetect-default-") as work:
        built, kept = Path(work) / NAME, embeddings or Path(work) / "embeddings"
        yamnet = load_yamnet()
        encoder_bundle(built, yamnet)
        add_detector(built, data, yamnet, kept)
        add_words(built, sounds, embeddings=kept)
        manifest, files = read_bundle(built)
    write_bundle(directory, manifest, files)
    return manifest


def main() -> None:
    """Build, and print what was built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, metavar="AVBENCH")
    parser.add_argument("--sounds", type=Path, required=True, metavar="SOUNDS", help="manifest of labelled sounds")
    parser.add_argument("-o", "--output", type=Path, default=default_bundle_path(), metavar="DIR")
    parser.add_argument("--embeddings", type=Path, metavar="DIR", help="where to keep those of videos and sounds")
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    torch.set_num_threads(1)  # Sums are added up in the same order however many processors there are.
    manifest = build_default(arguments.output, arguments.data, arguments.sounds, arguments.embeddings)
    for entry in manifest.files:
        print(f"{entry.size:10,d}  {entry.sha256[:12]}  {entry.path}")
    print(f"frame AP on val: {manifest.provenance['training']['metrics_of_last_epoch']['val_frame_ap']}")
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
