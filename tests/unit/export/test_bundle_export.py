"""Bundles out of bundles: prompts put in, and what stays when the detector is another."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import avdetect
from avdetect.errors import BundleError, CheckpointError, OutputError, UsageError
from avdetect.manifest import EventRule
from avdetect.models.alignment import AlignmentConfig, AlignmentNet
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import read_manifest, verify
from avdetect.runtime.prompts import Prompt, parse_prompts
from avdetect.training.checkpoint import AlignmentCheckpoint, Checkpoint, save_alignment, save_checkpoint
from avdetect.training.embeddings import fingerprint
from avdetect_cli.app import app
from avdetect_export import ExportOptions, WordOptions, export_bundle
from tests.synth.media import MediaFactory
from tests.synth.words import write_worded

PROMPTS = parse_prompts(["glass breaks", "alarm=the alarm beeps", "alarm=the alarm rings"])


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_worded(tmp_path_factory.mktemp("words") / "worded")


@pytest.fixture(scope="module")
def baked(worded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words") / "baked"
    export_bundle(None, folder, base=worded, words=WordOptions(prompts=PROMPTS))
    return folder


def checkpoint(folder: Path, base: Path, *class_names: str) -> Path:
    """A network for the encoders of ``base`` that was not trained."""
    manifest = read_manifest(base)
    config = TwoStreamConfig(
        audio_dim=manifest.audio_dim,
        visual_dim=manifest.visual_dim,
        num_classes=len(class_names),
        hidden_dim=8,
        num_heads=2,
        feed_forward_dim=8,
        left_context_snippets=2,
        lookahead_snippets=1,
    )
    torch.manual_seed(0)
    path = folder / "checkpoint.safetensors"
    save_checkpoint(Checkpoint(TwoStreamNet(config).eval(), class_names, {"encoders": fingerprint(manifest)}), path)
    return path


def test_prompts_in_a_bundle_score_as_those_that_are_asked_for(worded: Path, baked: Path, media: MediaFactory) -> None:
    video = media.flash_and_tone("prompts.mp4")
    asked = Bundle.load(worded, prompts=PROMPTS, device="cpu")
    inside = Bundle.load(baked, device="cpu")

    curves = [avdetect.score(video, bundle=bundle).curve for bundle in (asked, inside)]

    assert inside.manifest.classes == asked.manifest.classes
    np.testing.assert_array_equal(curves[0].scores, curves[1].scores)


def test_what_knows_words_is_left_out_and_the_bundle_is_whole(worded: Path, baked: Path) -> None:
    before, after = ({path.name for path in folder.iterdir()} for folder in (worded, baked))

    assert before - after == {"text_encoder.onnx", "tokenizer.json", "alignment_text.onnx"}
    assert after - before == set()
    assert {entry.path for entry in verify(baked)} == after - {"manifest.json"}
    assert read_manifest(baked).name == "baked"
    with pytest.raises(BundleError, match="has no text encoder"):
        Bundle.load(baked, prompts=parse_prompts(["a dog barks"]))


def test_a_bundle_that_keeps_its_text_encoder_takes_further_prompts(worded: Path, tmp_path: Path) -> None:
    export_bundle(None, tmp_path / "one", base=worded, words=WordOptions(prompts=PROMPTS, keep_text_encoder=True))
    manifest = export_bundle(
        None, tmp_path / "two", base=tmp_path / "one", words=WordOptions(prompts=parse_prompts(["a dog barks"]))
    )

    assert manifest.class_names[-3:] == ("glass breaks", "alarm", "a dog barks")
    assert manifest.text is None
    assert Bundle.load(tmp_path / "two", device="cpu").alignment is not None


def test_a_name_that_is_taken_is_refused_and_nothing_is_written(baked: Path, worded: Path, tmp_path: Path) -> None:
    prompts = (Prompt("siren", ("the alarm beeps",)),)

    with pytest.raises(UsageError, match="there is a class called siren already"):
        export_bundle(None, tmp_path / "mine", base=worded, words=WordOptions(prompts=prompts))
    assert not (tmp_path / "mine").exists()


def test_another_detector_leaves_alignment_text_encoder_and_prompts(worded: Path, baked: Path, tmp_path: Path) -> None:
    trained = checkpoint(tmp_path, worded, "siren", "goal")
    for base in (worded, baked):
        before = read_manifest(base)
        after = export_bundle(trained, tmp_path / "mine", base=base)

        verify(tmp_path / "mine")
        assert after.class_names == ("siren", "goal", *(spec.name for spec in before.prompted_classes))
        assert (after.alignment, after.text) == (before.alignment, before.text)
        assert Bundle.load(tmp_path / "mine", device="cpu").manifest == after


def test_a_class_and_a_prompt_of_the_base_cannot_share_a_name(baked: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has prompts that are called like classes of .*: alarm; give a base without"):
        export_bundle(checkpoint(tmp_path, baked, "alarm", "goal"), tmp_path / "mine", base=baked)


def test_a_detector_and_prompts_come_together(worded: Path, tmp_path: Path) -> None:
    trained = checkpoint(tmp_path, worded, "siren", "goal")

    manifest = export_bundle(
        trained, tmp_path / "mine", base=worded, words=WordOptions(prompts=PROMPTS), not_anomaly=("goal", "alarm")
    )

    assert {spec.name: spec.anomaly for spec in manifest.classes} == {
        "siren": True,
        "goal": False,
        "glass breaks": True,
        "alarm": False,
    }


def test_what_is_of_a_checkpoint_cannot_be_chosen_without_one(worded: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lookahead are chosen for a checkpoint, and none was given"):
        export_bundle(None, tmp_path / "mine", base=worded, options=ExportOptions(lookahead_snippets=0))


def test_a_place_that_cannot_become_a_bundle_is_noticed_before_the_work(worded: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()

    with pytest.raises(OutputError, match="is there and is not a bundle"):
        export_bundle(None, tmp_path / "mine", base=worded, words=WordOptions(prompts=PROMPTS))


def test_prompts_are_put_in_without_torch_and_found_without_tokenizers(worded: Path, tmp_path: Path) -> None:
    code = """
    import sys

    sys.modules["torch"] = sys.modules["onnx"] = None
    from avdetect_cli.app import app

    app(sys.argv[1:], standalone_mode=False)
    sys.modules["tokenizers"] = None
    from avdetect.runtime.bundle import Bundle

    print(*Bundle.load(sys.argv[3], device="cpu").manifest.class_names[-1:])
    """
    arguments = ["export", "-o", str(tmp_path / "mine"), "--base", str(worded), "--prompt", "alarm=the alarm beeps"]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "alarm"
    assert "It finds its prompts without a text encoder, and understands no others." in done.stderr + done.stdout


def test_an_export_of_nothing_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", "-o", str(tmp_path / "mine")])

    assert result.exit_code == 2
    assert "there is nothing to export: give a CHECKPOINT, --alignment or --prompt." in result.stderr


def test_a_prompt_is_given_the_rule_of_prompts(baked: Path) -> None:
    manifest = read_manifest(baked)
    assert manifest.alignment is not None
    assert {spec.rule for spec in manifest.prompted_classes} == {manifest.alignment.prompt_rule} == {EventRule()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_another_alignment_comes_with_its_text_encoder_and_places_prompts_anew(
    worded: Path, baked: Path, tmp_path: Path
) -> None:
    base = read_manifest(baked)
    torch.manual_seed(1)
    network = AlignmentNet(
        AlignmentConfig(audio_dim=base.audio_dim, text_dim=384, joint_dim=5, hidden_dim=8, num_heads=2)
    ).eval()
    notes = {
        "encoders": fingerprint(base),
        "config": {"recipe": {}, "run": {"seed": 1}},
        "num_scenes": 0,
        "num_pairs": 0,
    }
    trained = tmp_path / "alignment.safetensors"
    save_alignment(AlignmentCheckpoint(network, None, notes), trained)

    manifest = export_bundle(None, tmp_path / "mine", base=baked, words=WordOptions(alignment=trained))

    verify(tmp_path / "mine")
    assert manifest.alignment is not None
    assert base.alignment is not None
    assert (manifest.alignment.joint_dim, manifest.alignment.prompt_rule) == (5, base.alignment.prompt_rule)
    asked = Bundle.load(tmp_path / "mine", prompts=parse_prompts(["a dog barks"]), device="cpu").manifest
    assert asked.class_names == (*base.class_names, "a dog barks")
    prompts = [spec.prompt for spec in manifest.prompted_classes if spec.prompt is not None]
    assert [prompt.phrases for prompt in prompts] == [("glass breaks",), ("the alarm beeps", "the alarm rings")]
    assert {len(prompt.vector) for prompt in prompts} == {5}


def test_an_alignment_for_other_encoders_is_refused(worded: Path, tmp_path: Path) -> None:
    network = AlignmentNet(AlignmentConfig(audio_dim=4, text_dim=6, joint_dim=5, hidden_dim=8, num_heads=2)).eval()
    save_alignment(AlignmentCheckpoint(network, None, {"encoders": "others"}), tmp_path / "alignment.safetensors")

    with pytest.raises(CheckpointError, match="was trained with other encoders than those of"):
        export_bundle(
            None,
            tmp_path / "mine",
            base=worded,
            words=WordOptions(alignment=tmp_path / "alignment.safetensors"),
        )
