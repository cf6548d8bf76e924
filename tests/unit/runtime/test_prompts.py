"""What a prompt is, and what of it goes into a manifest."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from avdetect.errors import BundleError, UsageError
from avdetect.manifest import ClassSpec, EventRule, Manifest, PromptSpec
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import read_manifest, verify
from avdetect.runtime.prompts import Prompt, parse_prompts
from avdetect.runtime.sound_text import open_alignment
from tests.synth.words import write_worded


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_worded(tmp_path_factory.mktemp("words") / "worded")


def changed(manifest: Manifest, **changes: object) -> Manifest:
    return Manifest.model_validate({**manifest.model_dump(), **changes})


def prompted(name: str, *vector: float) -> dict[str, object]:
    return ClassSpec(name=name, prompt=PromptSpec(phrases=(name,), vector=vector)).model_dump()


UNIT = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_a_prompt_is_called_by_its_phrase_or_by_a_name_and_one_name_takes_several_phrases() -> None:
    found = parse_prompts(["glass breaks", "alarm = a smoke alarm beeps", "alarm=an alarm rings", "glass breaks"])

    assert found == (
        Prompt("glass breaks", ("glass breaks",)),
        Prompt("alarm", ("a smoke alarm beeps", "an alarm rings")),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: write a phrase"),
        ("=a dog", "is empty: write a phrase"),
        ("alarm=", "the prompt alarm has a phrase without words"),
        ("...", "a phrase without words"),
        ("a dog barks, then glass breaks", r"tells of several things \('a dog barks', 'glass breaks'\).*query --order"),
        ("A dog barks. Glass breaks.", "tells of several things"),
    ],
)
def test_what_cannot_be_a_class_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_prompts([text])


def test_prompts_come_after_the_classes_of_the_detector_with_the_rule_of_prompts(worded: Path) -> None:
    before = read_manifest(worded)
    bundle = Bundle.load(worded, prompts=parse_prompts(["glass breaks", "alarm=the alarm beeps"]), device="cpu")

    assert bundle.manifest.class_names == (*before.class_names, "glass breaks", "alarm")
    assert bundle.manifest.detected_classes == before.classes
    assert before.alignment is not None
    assert {spec.rule for spec in bundle.manifest.prompted_classes} == {before.alignment.prompt_rule}


def test_the_prompt_of_several_phrases_points_between_them(worded: Path) -> None:
    texts = ("the alarm beeps", "the alarm rings")
    both, *single = (
        Bundle.load(worded, prompts=[Prompt("alarm", phrases)], device="cpu").manifest.prompted_classes[0].prompt
        for phrases in (texts, *((text,) for text in texts))
    )

    assert both is not None
    mean = np.mean([one.vector for one in single if one is not None], axis=0)
    np.testing.assert_allclose(both.vector, mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize("name", ["glass", "alarm"])
def test_a_name_that_a_class_has_already_is_refused(worded: Path, name: str) -> None:
    prompts = [Prompt("alarm", ("the alarm beeps",)), Prompt(name, ("glass breaks",))]

    with pytest.raises(UsageError, match=f"there is a class called {name} already"):
        Bundle.load(worded, prompts=prompts)


def test_without_an_alignment_a_bundle_cannot_be_asked(worded: Path, tmp_path: Path) -> None:
    wordless = write_without(worded, tmp_path, "alignment", "text")

    with pytest.raises(BundleError, match="cannot be asked in words: it has no alignment"):
        Bundle.load(wordless, prompts=parse_prompts(["a dog barks"]))
    with pytest.raises(BundleError, match="cannot be asked in words: it has no alignment"):
        open_alignment(wordless)


def test_without_a_text_encoder_a_bundle_knows_no_new_words(worded: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="has no text encoder: it knows the prompts that were put into it"):
        Bundle.load(write_without(worded, tmp_path, "text"), prompts=parse_prompts(["a dog barks"]))


def write_without(bundle: Path, folder: Path, *parts: str) -> Path:
    """``bundle`` with a manifest that does not know ``parts``."""
    manifest = read_manifest(bundle).model_copy(update=dict.fromkeys(parts))
    for path in bundle.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def test_without_the_package_tokenizers_new_words_say_what_to_install(
    worded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)

    with pytest.raises(UsageError, match=r"pip install 'avdetect\[text\]'"):
        open_alignment(worded)


@pytest.mark.parametrize("name", ["alignment_audio.onnx", "alignment_text.onnx", "text_encoder.onnx", "tokenizer.json"])
def test_a_changed_byte_of_what_knows_words_is_noticed(worded: Path, tmp_path: Path, name: str) -> None:
    copy = write_without(worded, tmp_path)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)

    for check in (verify, open_alignment):
        with pytest.raises(BundleError, match=f"{name} is damaged or was changed"):
            check(copy)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("alignment", {"joint_dim": 7}, "gives 6 numbers of phrase_vectors, its manifest says 7"),
        ("text", {"embedding_dim": 9}, "gives 8 numbers of embedding, its manifest says 9"),
        ("alignment", {"state": [{"name": "memory", "shape": [1]}]}, "has no input called memory"),
    ],
)
def test_a_graph_that_is_not_what_the_manifest_says_is_refused(
    worded: Path, tmp_path: Path, part: str, change: dict[str, object], message: str
) -> None:
    copy = write_without(worded, tmp_path)
    manifest = read_manifest(copy)
    edited = changed(manifest, **{part: {**getattr(manifest, part).model_dump(), **change}})
    (copy / "manifest.json").write_text(edited.model_dump_json())

    with pytest.raises(BundleError, match=message):
        open_alignment(copy)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([prompted("a", *UNIT)], "there is none, or all are prompted"),
        ([prompted("a", *UNIT), {"name": "siren"}], "prompted classes must come after those of the detector"),
        ([{"name": "siren"}, prompted("a", 1.0)], "the prompt of a has 1 numbers, the alignment 6"),
    ],
)
def test_a_manifest_whose_prompts_make_no_sense_is_refused(
    worded: Path, classes: list[dict[str, object]], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        changed(read_manifest(worded), classes=classes)


def test_a_manifest_with_prompts_needs_an_alignment(worded: Path) -> None:
    with pytest.raises(ValidationError, match="the class a is prompted, and there is no alignment"):
        changed(read_manifest(worded), alignment=None, classes=[{"name": "siren"}, prompted("a", *UNIT)])


@pytest.mark.parametrize("vector", [(0.5, 0.5), (0.0, 0.0), (float("nan"), 1.0)])
def test_a_prompt_that_is_no_direction_is_refused(vector: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="unit length|finite"):
        PromptSpec(phrases=("a",), vector=vector)


@pytest.mark.parametrize(
    "missing", ["alignment_audio.onnx", "alignment_text.onnx", "text_encoder.onnx", "tokenizer.json"]
)
def test_files_that_the_manifest_needs_and_does_not_list_are_named(worded: Path, missing: str) -> None:
    manifest = read_manifest(worded)

    with pytest.raises(ValidationError, match=f"files lists no {missing}"):
        changed(manifest, files=[entry.model_dump() for entry in manifest.files if entry.path != missing])


def test_scores_wait_for_the_farther_lookahead_only_where_a_class_is_prompted(worded: Path) -> None:
    before = read_manifest(worded)
    after = Bundle.load(worded, prompts=parse_prompts(["a dog barks"]), device="cpu").manifest

    assert before.latency_s == pytest.approx(before.detector.lookahead_snippets * before.hop_s)
    assert after.latency_s == pytest.approx(3 * before.hop_s)
    assert after.left_context_snippets >= before.detector.left_context_snippets


def test_the_default_rule_of_prompts_is_the_general_one(worded: Path) -> None:
    spec = read_manifest(worded).alignment
    assert spec is not None
    assert spec.prompt_rule == EventRule()
