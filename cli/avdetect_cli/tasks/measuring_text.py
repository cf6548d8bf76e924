"""How good an alignment of sound and text is."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from avdetect.errors import DataError, UsageError
from avdetect.evaluation.result import plain
from avdetect.files import read_file, replacing
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.sound_text import open_alignment
from avdetect.runtime.text_evaluation import evaluate_text as measure
from avdetect.text.records import read_text_records
from avdetect_cli import tasks
from avdetect_cli.output.targets import JSON_SUFFIXES, check_outputs
from avdetect_cli.terminal.bars import extraction_progress
from avdetect_cli.terminal.figures import show_text_evaluation
from avdetect_cli.terminal.text import out
from avdetect_cli.values import check_installed

__all__ = ["evaluate_text"]

CHECKPOINT_SUFFIX = ".safetensors"


def evaluate_text(
    model: Path,
    manifest: Path,
    *,
    prompts: Path | None,
    seed: int,
    json: bool,
    output: Path | None,
    bundle: Path | None,
    device: str,
    quiet: bool,
) -> None:
    """Measure an alignment on the recordings of a manifest, and show or write what is found.

    Raises:
        AvdetectError: a model, a manifest or a recording cannot be read, or the result cannot be written.
    """
    check_outputs(
        {"-o": output},
        read=[path for path in (model, manifest, prompts) if path is not None],
        suffixes={"-o": JSON_SUFFIXES},
    )
    phrases = None if prompts is None else _read_prompts(prompts)
    records = [one for one in read_text_records(manifest) if one.split != "train"]
    if not records:
        raise UsageError(f"{manifest}: all recordings are of the split train, there is none to evaluate on.")
    if model.suffix == CHECKPOINT_SUFFIX:
        loaded = Bundle.load(bundle, device=device)
        check_installed("torch", "onnx", "safetensors", "sentence_transformers", "tokenizers")
        alignment = tasks.training.alignment_of_checkpoint(model, loaded)
    elif bundle is not None:
        raise UsageError(f"{model} is a bundle itself: --bundle says whose sound a checkpoint was trained with.")
    else:
        loaded = Bundle.load(model, device=device)
        alignment = open_alignment(model, device=device)
    with extraction_progress(enabled=not quiet) as on_done:
        result = measure(records, alignment, loaded, prompts=phrases, seed=seed, on_done=on_done)
    found = {"model": str(model), "manifest": str(manifest), "seed": seed, **asdict(result)}
    document = json_text.dumps(plain(found), indent=2, allow_nan=False)
    if output is not None:
        with replacing(output) as temporary:
            temporary.write_text(document + "\n", "utf-8")
    if json:
        out(*document.split("\n"))
    elif not quiet:
        show_text_evaluation(Console(), result)


def _read_prompts(path: Path) -> dict[str, list[str]]:
    try:
        prompts: Any = json_text.loads(read_file(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path} as JSON: {error}.") from error
    if not isinstance(prompts, dict) or not all(
        isinstance(phrases, list) and phrases and all(isinstance(phrase, str) for phrase in phrases)
        for phrases in prompts.values()
    ):
        raise DataError(f'{path}: expected an object with phrases for each class, as in {{"siren": ["an alarm"]}}.')
    return prompts
