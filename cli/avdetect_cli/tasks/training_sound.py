"""Training of the sound encoder; importing this imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from avdetect.runtime.bundle_files import default_bundle_path, open_bundle_files
from avdetect.training.sound.config import parse_sound_config
from avdetect.training.sound.train_sound import grid_of
from avdetect.training.sound.train_sound import train_sound as run_training
from avdetect_cli.terminal.bars import extraction_progress
from avdetect_cli.terminal.text import say
from avdetect_export import check_bundle_target, export_encoders
from avdetect_export.encoder_bundle import NewEncoder, Part

__all__ = ["train_sound"]


def train_sound(values: dict[str, Any], *, base: Path | None, quiet: bool) -> None:
    """Train the sound encoder of a bundle on, and write a bundle of encoders.

    Args:
        values: the settings, as ``docs/training.md`` lists them.
        base: whose encoder is trained on; ``None`` for the embedded one.
        quiet: show no progress.

    Raises:
        AvdetectError: a setting, a sound or the base is not as it should be.
    """
    config = parse_sound_config(values)
    check_bundle_target(config.output)
    location = base or default_bundle_path()
    with open_bundle_files(location) as files:
        manifest = files.manifest
        grid_of(manifest)
        assert manifest.audio is not None  # it has a grid
        encoder = onnx.load_model_from_string(files.read_graph(manifest.audio.graph))
    with extraction_progress(enabled=not quiet, what="reading") as on_read:
        trained = run_training(config, encoder, manifest, on_read=on_read)
    graph = trained.graph.SerializeToString(deterministic=True)
    encoders: dict[Part, NewEncoder] = {"audio": (manifest.audio, graph)}
    export_encoders(location, config.output, encoders, name=config.output.name, notes={"audio": dict(trained.notes)})
    say(*_outcome(config.output, trained.notes), quiet=quiet)


def _outcome(output: Path, notes: Any) -> list[str]:
    lines = [f"{output}: encoders, without a detector; trained on {notes['num_sounds']} sounds."]
    held_out = notes["held_out"]
    if held_out is not None:
        lines.append(f"Average precision of events in mixtures of sounds held out ({held_out['what']}), by how much of")
        lines.append("the original weights is kept:")
        for share, figures in held_out["average_precision_by_share_of_original_weights"].items():
            mark = "  <- kept" if float(share) == notes["recipe"]["keep_original"] else ""
            lines.append(f"  {float(share):4.2f}  {figures['any']:.3f}{mark}")
    lines.append(f"Next: avdetect train VIDEOS --bundle {output} -o run/")
    lines.append(f"      avdetect export run/checkpoint.safetensors --base {output} -o mine/")
    return lines
