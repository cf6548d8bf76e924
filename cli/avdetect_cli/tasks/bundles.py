"""Bundles: made of checkpoints and words, shown and checked."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from avdetect.manifest import Manifest
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest, verify
from avdetect.runtime.prompts import Prompt
from avdetect_cli.output.targets import check_outputs
from avdetect_cli.terminal.text import out, say
from avdetect_export import ExportOptions, WordOptions, export_bundle

__all__ = ["export", "import_checkpoint", "show_bundle", "verify_bundle"]


def export(
    checkpoint: Path | None,
    output: Path,
    *,
    base: Path | None,
    weights: Literal["float32", "float16"],
    left_context_snippets: int | None,
    lookahead_snippets: int | None,
    prompts: tuple[Prompt, ...],
    keep_text_encoder: bool,
    alignment: Path | None,
    not_anomaly: Sequence[str],
    name: str | None,
    quiet: bool,
) -> None:
    """Make a bundle of a trained network, of words, or of both, and say what it is.

    Raises:
        AvdetectError: a checkpoint or the base cannot be read, or the bundle cannot be written.
    """
    check_outputs({}, folders={"-o": output})
    manifest = export_bundle(
        checkpoint,
        output,
        base=base,
        options=ExportOptions(
            weights=weights,
            left_context_snippets=left_context_snippets,
            lookahead_snippets=lookahead_snippets,
            name=name,
        ),
        words=WordOptions(alignment=alignment, prompts=prompts, keep_text_encoder=keep_text_encoder),
        not_anomaly=not_anomaly,
    )
    say(*_made(output, manifest, checked=checkpoint is not None), quiet=quiet)


def import_checkpoint(file: Path, output: Path, *, weights: Literal["float32", "float16"], quiet: bool) -> None:
    """Make a bundle of published weights, and say what it is.

    Raises:
        AvdetectError: the file cannot be read, or the bundle cannot be written.
    """
    check_outputs({}, folders={"-o": output})
    from avdetect_export.checkpoint_bundle import import_published  # it needs torch, which prompts alone do not

    manifest = import_published(file, output, weights=weights)
    say(*_made(output, manifest, checked=True), quiet=quiet)


def show_bundle(path: Path | None, *, json: bool) -> None:
    """Show what a bundle is.

    Raises:
        BundleError: its manifest cannot be read.
    """
    location = default_bundle_path() if path is None else path
    manifest = read_manifest(location)
    if json:
        out(*json_text.dumps(manifest.model_dump(mode="json"), indent=2).split("\n"))
    else:
        out(*_describe(location, manifest))


def verify_bundle(path: Path | None) -> None:
    """Check every file of a bundle, and say that all is well.

    Raises:
        BundleError: it is not.
    """
    location = default_bundle_path() if path is None else path
    entries = verify(location)
    total = sum(entry.size for entry in entries)
    out(f"{location}: {len(entries)} files, {_megabytes(total)}, all as the manifest says.")


def _made(output: Path, manifest: Manifest, *, checked: bool) -> list[str]:
    """What was made, in lines; ``checked`` says whether its detector was, just now."""
    line = f"{output}: {', '.join(manifest.class_names)}"
    if checked:
        parity = max(value for key, value in manifest.provenance["parity"].items() if key.endswith("scores"))
        line += f"; scores within {parity:.1g} of the network's"
    lines = [f"{line}."]
    if manifest.require_detector().form == "offline":
        lines.append("It looks at the whole of a video at once: it scores files, not live feeds.")
    if manifest.prompted_classes and not manifest.takes_prompts:
        lines.append("It finds its prompts without a text encoder, and understands no others.")
    if manifest.has_encoders:
        lines.append(f"Try it: avdetect score VIDEO --bundle {output}")
    else:
        lines.append(f"It scores features that were made elsewhere: avdetect evaluate {output} FEATURES.list")
    return lines


def _describe(location: Path, manifest: Manifest) -> Iterator[str]:
    yield f"{manifest.name} {manifest.version}, {manifest.created}"
    yield f"  at         {location}"
    yield f"  size       {_megabytes(sum(entry.size for entry in manifest.files))} in {len(manifest.files)} files"
    yield f"  hop        {manifest.hop_s:g} s"
    yield f"  latency    {_latency(manifest)}"
    yield f"  hears      {_hears(manifest)}"
    yield f"  sees       {_sees(manifest)}"
    yield f"  words      {_words(manifest)}"
    if not manifest.classes:
        return
    yield ""
    rows = [(spec.name, spec.rule, "yes" if spec.anomaly else "no") for spec in manifest.classes]
    if manifest.alignment is not None and manifest.takes_prompts:
        rows.append(("(prompts)", manifest.alignment.prompt_rule, "yes"))
    width = max(len("class"), *(len(name) for name, _, _ in rows))
    yield f"  {'class':<{width}}    on   off  at least  merges within  cooldown  anomaly"
    for name, rule, anomaly in rows:
        yield (
            f"  {name:<{width}}  {rule.on:.2f}  {rule.off:.2f}  {rule.min_duration_s:>6.2f} s  "
            f"{rule.merge_gap_s:>11.2f} s  {rule.cooldown_s:>6.2f} s  {anomaly}"
        )
    if manifest.prompted_classes:
        yield ""
        yield "  Told in words, and found by their sound:"
        for spec in manifest.prompted_classes:
            phrases = spec.prompt.phrases if spec.prompt is not None else ()
            yield f"  {spec.name:<{width}}  {' / '.join(phrases)}"
    if manifest.calibration:
        yield ""
        yield f"  {manifest.calibration}"
    if manifest.licences:
        yield ""
        yield from (f"  {notice}" for notice in manifest.licences)


def _latency(manifest: Manifest) -> str:
    if manifest.detector is None:
        return "none: it holds encoders, to train a detector with, and cannot score"
    if manifest.detector.form == "offline":
        return "all of a file: its scores are known at its end"
    latency = f"{manifest.latency_s:g} s lookahead"
    if manifest.alignment is None or manifest.prompted_classes or not manifest.takes_prompts:
        return latency
    with_prompts_s = max(manifest.latency_s, float(manifest.alignment.lookahead_snippets * manifest.hop))
    return f"{latency}; {with_prompts_s:g} s with prompts"


def _hears(manifest: Manifest) -> str:
    audio = manifest.audio
    if audio is None:
        return "nothing"
    return f"{audio.window_samples / audio.rate_hz:.3g} s windows at {audio.rate_hz / 1000:g} kHz, {audio.graph}"


def _sees(manifest: Manifest) -> str:
    parts = []
    if manifest.appearance is not None:
        visual = manifest.appearance
        count = visual.frames_per_snippet
        parts.append(f"{count} picture{'' if count == 1 else 's'} of {visual.width}x{visual.height}, {visual.graph}")
    if manifest.motion is not None:
        motion = manifest.motion
        parts.append(f"motion in {motion.cells_per_snippet} of {motion.width}x{motion.height}, {motion.graph}")
    return "; ".join(parts) or "nothing"


def _words(manifest: Manifest) -> str:
    if manifest.alignment is None:
        return "none: it has no alignment of sound and text"
    if manifest.text is None or not manifest.takes_prompts:
        return "those of its prompts; it has no text encoder for others"
    return f"any, by {manifest.text.name}, {manifest.text.graph}"


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"
