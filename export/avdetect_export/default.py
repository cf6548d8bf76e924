"""Builds the bundle that ships with the package: ``python -m avdetect_export.default --sounds SOUNDS --clips CLIPS``.

encoder_bundle           published weights -> graphs of what is seen and heard
add_trained_encoders     both trained on: sound on mixtures of SOUNDS, motion on CLIPS
add_detector             + a network that learns from scenes composed of both
add_words                + a text encoder, and an alignment trained from the sounds of SOUNDS

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
from avdetect_export.default_training import add_trained_encoders
from avdetect_export.default_words import add_words
from avdetect_export.encoder_graphs import load_yamnet

__all__ = ["build_default"]


def build_default(directory: Path, sounds: Path, clips: Path, kept: Path | None = None) -> Manifest:
    """Write the default bundle.

    Args:
        directory: where.
        sounds: manifest of labelled sounds with captions, of the splits ``train`` and ``val``.
        clips: list of short clips with their places.
        kept: where what is trained and encoded on the way is kept for the next time; ``None`` to throw it away.

    Returns:
        Its manifest.
    """
    check_bundle_target(directory)
    with TemporaryDirectory(prefix="avdetect-default-") as work:
        published, built, keep = Path(work) / "published", Path(work) / NAME, kept or Path(work) / "kept"
        keep.mkdir(parents=True, exist_ok=True)
        encoder_bundle(published, load_yamnet())
        add_trained_encoders(published, built, sounds, clips, keep)
        add_detector(built, sounds, clips, keep)
        add_words(built, sounds, embeddings=keep)
        manifest, files = read_bundle(built)
    write_bundle(directory, manifest, files)
    return manifest


def main() -> None:
    """Build, and print what was built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, metavar="SOUNDS", help="manifest of labelled sounds")
    parser.add_argument("--clips", type=Path, required=True, metavar="CLIPS", help="list of clips with their places")
    parser.add_argument("-o", "--output", type=Path, default=default_bundle_path(), metavar="DIR")
    parser.add_argument("--kept", type=Path, metavar="DIR", help="where to keep what is trained and encoded on the way")
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    torch.set_num_threads(1)  # Sums are added up in the same order however many processors there are.
    manifest = build_default(arguments.output, arguments.sounds, arguments.clips, arguments.kept)
    for entry in manifest.files:
        print(f"{entry.size:10,d}  {entry.sha256[:12]}  {entry.path}")
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
