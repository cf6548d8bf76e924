"""A bundle of encoders alone, some of them trained on, to train a detector with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from avdetect.manifest import SCHEMA_VERSION, AudioSpec, Manifest, MotionSpec, VisualSpec
from avdetect_export.bundle_writer import check_bundle_target, created_now, file_entries, read_bundle, write_bundle

__all__ = ["NewEncoder", "Part", "export_encoders"]

Part = Literal["visual", "motion", "audio"]
NewEncoder = tuple[VisualSpec | MotionSpec | AudioSpec, bytes]
"""What the manifest says of an encoder, and its graph."""


def export_encoders(
    base: Path, output: Path, encoders: Mapping[Part, NewEncoder], *, name: str, notes: Mapping[str, Any]
) -> Manifest:
    """Write the encoders of ``base`` with others in place of some, and neither its detector nor its words.

    Those were trained on what the encoders gave before, and would make nonsense of what they give now.

    Args:
        base: the bundle that the encoders are taken from.
        output: the bundle's folder.
        encoders: new ones, by part.
        name: of the bundle.
        notes: how they came about, for the provenance.

    Raises:
        BundleError: the base cannot be used.
        OutputError: the bundle cannot be written.
    """
    check_bundle_target(output)
    theirs, all_files = read_bundle(base)
    specs: dict[str, VisualSpec | MotionSpec | AudioSpec | None] = {
        "visual": theirs.visual,
        "motion": theirs.motion,
        "audio": theirs.audio,
    }
    not_kept = {*theirs.graphs} | ({theirs.text.tokenizer} if theirs.text is not None else set())
    files = {path: content for path, content in all_files.items() if path not in not_kept}
    for part, spec in specs.items():
        if spec is not None and part not in encoders:
            files[spec.graph] = all_files[spec.graph]
    for part, (spec, graph) in encoders.items():
        specs[part] = spec
        files[spec.graph] = graph
    manifest = theirs.model_copy(
        update={
            **specs,
            "schema_version": SCHEMA_VERSION,
            "name": name,
            "version": "0.1.0",
            "created": created_now(),
            "classes": (),
            "detector": None,
            "alignment": None,
            "text": None,
            "calibration": "",
            "provenance": {
                "base": f"{theirs.name} {theirs.version}",
                "encoders": {**_notes_of(theirs), **notes},
            },
            "files": file_entries(files),
        }
    )
    manifest = Manifest.model_validate(manifest.model_dump())
    write_bundle(output, manifest, files)
    return manifest


def _notes_of(base: Manifest) -> dict[str, Any]:
    """How the encoders of a base that was written here came about."""
    known = base.provenance.get("encoders")
    return known if isinstance(known, dict) else {}
