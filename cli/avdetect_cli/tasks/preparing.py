"""What training starts from: the embeddings of videos, and long tracks composed of labelled sounds."""

from __future__ import annotations

from pathlib import Path

from avdetect.errors import UsageError
from avdetect.features.encoders import EncoderSessions
from avdetect.files import make_folder
from avdetect.runtime.bundle import Bundle
from avdetect.text.composer import MixOptions
from avdetect.text.records import LabelledSound, read_text_records, read_waveform
from avdetect.text.track_files import TrackOptions, write_tracks
from avdetect.training import embeddings as library
from avdetect.training.data import read_training_data
from avdetect.training.embeddings import EmbeddingStore, Encoders
from avdetect_cli.output.targets import check_outputs
from avdetect_cli.terminal.bars import extraction_progress
from avdetect_cli.terminal.text import say

__all__ = ["compose", "extract", "open_encoders"]


def compose(
    manifest: Path,
    output: Path,
    *,
    num_tracks: int,
    duration_s: tuple[float, float],
    num_sounds: tuple[int, int],
    overlap_share: float,
    split: str | None,
    seed: int,
    quiet: bool,
) -> None:
    """Compose tracks of the sounds of a manifest, and write them with a manifest of their own.

    Raises:
        AvdetectError: a sound cannot be read, or a track cannot be written.
    """
    check_outputs({}, folders={"-o": output}, with_parents=True)
    options = TrackOptions(
        num_tracks=num_tracks,
        duration_s=duration_s,
        num_sounds=num_sounds,
        overlap_share=overlap_share,
        seed=seed,
    )
    records = [one for one in read_text_records(manifest) if split is None or one.split == split]
    if not records:
        raise UsageError(f"{manifest} has no sounds of the split {split}.")
    mix = MixOptions()
    known = [LabelledSound(read_waveform(one.media, mix.rate_hz), one.text, one.label) for one in records]
    make_folder(output)
    with extraction_progress(enabled=not quiet) as on_done:
        path = write_tracks(known, output, options, mix, on_done=on_done)
    say(f"{path}: {num_tracks} tracks.", quiet=quiet)


def extract(manifest: Path, output: Path, *, bundle: Path | None, device: str, jobs: int | None, quiet: bool) -> None:
    """Make the embeddings of a manifest's videos, those that are not there yet.

    Raises:
        AvdetectError: the manifest or a video cannot be read, or an embedding cannot be written.
    """
    check_outputs({}, folders={"-o": output}, with_parents=True)
    data = read_training_data(manifest)
    if data.has_features:
        raise UsageError(f"{manifest} lists features, which are embeddings already.")
    videos = [record.media for record in data.records if isinstance(record.media, Path)]
    encoders = open_encoders(bundle, device)
    with extraction_progress(enabled=not quiet) as on_done:
        result = library.extract(videos, encoders, EmbeddingStore(output), jobs=jobs, on_done=on_done)
    say(f"{output}: {result.num_extracted} videos extracted, {result.num_kept} kept as they were.", quiet=quiet)


def open_encoders(bundle: Path | None, device: str) -> Encoders:
    """The encoders of a bundle, the embedded one by default."""
    loaded = Bundle.load(bundle, device=device, all_encoders=True)
    return Encoders(loaded.manifest, EncoderSessions(loaded.visual, loaded.motion, loaded.audio))
