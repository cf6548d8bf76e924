"""A bundle out of another one: with a newly trained detector, with another alignment, with prompts put in.

Only a detector and an alignment need torch: prompts are put in wherever the base's text encoder runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from avdetect.errors import UsageError
from avdetect.manifest import SCHEMA_VERSION, Manifest
from avdetect.runtime.bundle_files import BundleFiles, default_bundle_path
from avdetect.runtime.prompts import Prompt, with_prompts
from avdetect_export.bundle_writer import (
    ExportOptions,
    check_bundle_target,
    created_now,
    file_entries,
    read_bundle,
    write_bundle,
)

__all__ = ["WordOptions", "export_bundle"]


@dataclass(frozen=True, slots=True)
class WordOptions:
    """The words that the bundle is to understand."""

    alignment: Path | None = None
    """Checkpoint of ``avdetect train-text``; ``None`` for the base's alignment."""
    prompts: tuple[Prompt, ...] = ()
    """Put into the bundle as classes, after those that it has."""
    keep_text_encoder: bool = False
    """Let a bundle with prompts put in be given others."""


def export_bundle(
    checkpoint: Path | None,
    output: Path,
    *,
    base: Path | None = None,
    options: ExportOptions | None = None,
    words: WordOptions | None = None,
    not_anomaly: Collection[str] = (),
) -> Manifest:
    """Make a bundle.

    A network with bounded W and R gives the streaming form, which scores files and live feeds; another the offline
    form. One trained on features made elsewhere gives a bundle without encoders.

    Args:
        checkpoint: what training wrote; ``None`` for the base's own detector.
        output: the bundle's folder.
        base: bundle whose encoders made the embeddings; ``None`` for the embedded default. Its alignment and prompts
            are kept.
        options: of the bundle and its detector.
        words: what it is to understand.
        not_anomaly: classes that do not count towards the anomaly score.

    Raises:
        CheckpointError: one cannot be read, was trained on embeddings of other encoders, or its graph does not compute
            what the network does.
        BundleError: the base cannot be used, or has no text encoder for the prompts.
        OutputError: the bundle cannot be written.
        UsageError: the options do not go with the network, a prompt is called like a class, a class is not known, or
            the package tokenizers is not installed.
    """
    check_bundle_target(output)
    base = base or default_bundle_path()
    options, words = options or ExportOptions(), words or WordOptions()
    options = options if options.name else replace(options, name=output.name)
    if checkpoint is None:
        manifest, files = _as_it_is(base, options)
    else:
        from avdetect.training.checkpoint import load_checkpoint  # needs torch, as does the next
        from avdetect_export.checkpoint_bundle import bundle_of

        manifest, files = bundle_of(load_checkpoint(checkpoint), checkpoint, base, options)
    if words.alignment is not None:
        from avdetect_export.words import with_alignment  # needs torch

        manifest, files = with_alignment(manifest, files, words.alignment, where=base)
    if words.prompts:
        manifest = with_prompts(BundleFiles.in_memory(base, manifest, files), words.prompts)
        if not words.keep_text_encoder:
            manifest, files = _without_text_encoder(manifest, files)
    manifest = Manifest.model_validate(_set_apart(manifest, not_anomaly).model_dump())
    write_bundle(output, manifest, files)
    return manifest


def _as_it_is(base: Path, options: ExportOptions) -> tuple[Manifest, dict[str, bytes]]:
    """The base under another name."""
    if options != ExportOptions(name=options.name):
        raise UsageError("weights, left context and lookahead are chosen for a checkpoint, and none was given.")
    manifest, files = read_bundle(base)
    changed = {"schema_version": SCHEMA_VERSION, "name": options.name, "created": created_now()}
    return manifest.model_copy(update=changed), files


def _without_text_encoder(manifest: Manifest, files: Mapping[str, bytes]) -> tuple[Manifest, dict[str, bytes]]:
    """A bundle that knows its own prompts and no others."""
    assert manifest.text is not None and manifest.alignment is not None  # prompts were put in with them  # noqa: PT018
    dropped = {manifest.text.graph, manifest.text.tokenizer, manifest.alignment.text_graph}
    kept = {path: content for path, content in files.items() if path not in dropped}
    alignment = manifest.alignment.model_copy(update={"text_graph": None})
    changed = {"text": None, "alignment": alignment, "files": file_entries(kept)}
    return manifest.model_copy(update=changed), kept


def _set_apart(manifest: Manifest, not_anomaly: Collection[str]) -> Manifest:
    """``not_anomaly`` no longer count towards the anomaly score."""
    unknown = set(not_anomaly) - set(manifest.class_names)
    if unknown:
        raise UsageError(
            f"the bundle has no class {', '.join(sorted(unknown))}; it has {', '.join(manifest.class_names)}."
        )
    classes = tuple(
        spec.model_copy(update={"anomaly": spec.anomaly and spec.name not in not_anomaly}) for spec in manifest.classes
    )
    return manifest.model_copy(update={"classes": classes})
