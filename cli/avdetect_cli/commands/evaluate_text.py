"""``avdetect evaluate-text``: how good an alignment of sound and text is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avdetect.errors import UsageError
from avdetect_cli.options import (
    BundleOption,
    DeviceOption,
    JsonFileOption,
    OneJsonOption,
    QuietOption,
)
from avdetect_cli.training import check_installed, extraction_progress

if TYPE_CHECKING:
    from rich.console import Console

    from avdetect.evaluation.retrieval import TextEvaluation
    from avdetect.runtime.bundle import Bundle
    from avdetect.runtime.sound_text import AlignmentModel

__all__ = ["evaluate_text"]

CHECKPOINT_SUFFIX = ".safetensors"


def evaluate_text(
    model: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT|BUNDLE", help="What `avdetect train-text` wrote, or a bundle with words."),
    ],
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="A .jsonl or .csv of recordings and texts (docs/text.md).")
    ],
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE.json",
            help="An object with phrases for each class.",
            show_default="the classes' names",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Of the stories that order is measured with.")
    ] = 0,
    json: OneJsonOption = False,
    output: JsonFileOption = None,
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Measure how good an alignment is: retrieval, order, localisation, false finds and classes, as far as the manifest
    says.

    A checkpoint is measured through the graphs that a bundle would hold. Records of the split train are left out.
    """
    import json as json_text
    from dataclasses import asdict

    from avdetect.evaluation.result import plain
    from avdetect.runtime.bundle import Bundle
    from avdetect.runtime.sound_text import open_alignment
    from avdetect.runtime.text_evaluation import evaluate_text as measure
    from avdetect.text.records import read_text_records

    records = [one for one in read_text_records(manifest) if one.split != "train"]
    if not records:
        raise UsageError(f"{manifest}: all recordings are of the split train, there is none to evaluate on.")
    phrases = None if prompts is None else _read_prompts(prompts)
    if model.suffix == CHECKPOINT_SUFFIX:
        loaded = Bundle.load(bundle, device=device)
        alignment = _from_checkpoint(model, loaded)
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
        from avdetect.sinks.atomic import replacing

        with replacing(output) as temporary:
            temporary.write_text(document + "\n", "utf-8")
    if json:
        typer.echo(document)
    elif not quiet:
        from rich.console import Console

        _show(Console(), result)


def _from_checkpoint(checkpoint: Path, bundle: Bundle) -> AlignmentModel:
    """The graphs that a bundle would hold."""
    check_installed("torch", "onnx", "safetensors", "sentence_transformers", "tokenizers")
    from avdetect.errors import CheckpointError
    from avdetect.runtime.session import open_session
    from avdetect.runtime.sound_text import AlignmentModel
    from avdetect.text.phrase_encoder import TextEncoder
    from avdetect.training.checkpoint import load_alignment
    from avdetect.training.embeddings import fingerprint
    from avdetect_export.words import words_of

    trained = load_alignment(checkpoint)
    if trained.notes["encoders"] != fingerprint(bundle.manifest):
        raise CheckpointError(f"{checkpoint} was trained with other encoders than those of {bundle.path}.")
    words = words_of(trained)
    text, parts = words.text, words.alignment
    session = open_session(text.graph, name=text.spec.graph, provider=bundle.provider, num_threads=1)
    return AlignmentModel.open(
        parts.spec,
        parts.audio_graph,
        parts.text_graph,
        TextEncoder(session, text.tokenizer, text.spec),
        provider=bundle.provider,
        num_threads=1,
    )


def _read_prompts(path: Path) -> dict[str, list[str]]:
    import json as json_text

    try:
        prompts: Any = json_text.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path} as JSON: {error}.") from error
    if not isinstance(prompts, dict) or not all(
        isinstance(phrases, list) and phrases and all(isinstance(phrase, str) for phrase in phrases)
        for phrases in prompts.values()
    ):
        raise UsageError(f'{path}: expected an object with phrases for each class, as in {{"siren": ["an alarm"]}}.')
    return prompts


def _show(console: Console, result: TextEvaluation) -> None:
    from rich import box
    from rich.table import Table

    table = Table("measure", "value", "chance", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    if result.retrieval is not None:
        ways = {"text to sound": result.retrieval.text_to_audio, "sound to text": result.retrieval.audio_to_text}
        for way, shares in ways.items():
            for k, share in shares.items():
                table.add_row(f"{way}, recall@{k}", f"{share:.3f}", f"{min(k / result.retrieval.num_tracks, 1):.3f}")
    if result.order_accuracy is not None:
        table.add_row(f"order, of {result.num_twins} tracks", f"{result.order_accuracy:.3f}", "0.500")
    if result.localisation is not None:
        found = result.localisation
        table.add_row(
            f"where, mean AP of {found.num_phrases}", f"{found.mean_average_precision:.3f}", f"{found.chance:.3f}"
        )
        table.add_row("where, AP of all together", f"{found.pooled_average_precision:.3f}", f"{found.chance:.3f}")
    for kind, answers in result.asking.items():
        if answers.num_absent:
            table.add_row(f"not heard, no result: {kind}, {answers.num_absent} times", f"{answers.quiet_share:.3f}", "")
        if answers.num_heard:
            table.add_row(f"heard, found: {kind}, {answers.num_heard} times", f"{answers.found_share:.3f}", "")
    if result.classification is not None:
        classes = result.classification
        table.add_row(f"class, of {classes.num_sounds} sounds", f"{classes.accuracy:.3f}", f"{classes.chance:.3f}")
        for name, accuracy in classes.by_class.items():
            table.add_row(f"  {name}", f"{accuracy:.3f}", "")
    console.print(table)
