"""Bundles that can be asked in words, small enough to be made in a test: nothing in them was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from avdetect.manifest import Manifest, TextSpec
from avdetect.models.alignment import AlignmentConfig, AlignmentNet
from avdetect.runtime.bundle_files import default_bundle_path, open_bundle_files
from avdetect_export.alignment_graph import AlignmentParts, export_alignment
from avdetect_export.bundle_writer import file_entries, write_bundle
from avdetect_export.text_graph import TextEncoderParts

__all__ = ["tiny_alignment", "tiny_network", "tiny_text_encoder", "write_worded"]

WORDS = ("a", "dog", "barks", "the", "alarm", "beeps", "rings", "glass", "breaks", "people", "shout", "thunder")
TEXT_DIM = 8
_TOKENS = ("input_ids", "attention_mask")


def tiny_network(*, audio_dim: int, left: int = 4, lookahead: int = 3) -> AlignmentNet:
    """With weights by chance; its relevance is anywhere from 0 to 1."""
    torch.manual_seed(0)
    config = AlignmentConfig(
        audio_dim=audio_dim,
        text_dim=TEXT_DIM,
        joint_dim=6,
        hidden_dim=8,
        num_heads=2,
        left_context_snippets=left,
        lookahead_snippets=lookahead,
    )
    network = AlignmentNet(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def tiny_alignment(*, audio_dim: int, left: int = 4, lookahead: int = 3) -> AlignmentParts:
    """The graphs of ``tiny_network``."""
    return export_alignment(tiny_network(audio_dim=audio_dim, left=left, lookahead=lookahead))


def tiny_text_encoder() -> TextEncoderParts:
    """A word has a vector, and a phrase the mean of its words'."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(["[PAD]", "[UNK]", *WORDS])}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).standard_normal((2 + len(WORDS), TEXT_DIM)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["vectors", "column"], ["told"]),
        helper.make_node("ReduceSum", ["told", "middle"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["embedding"], axis=1, p=2),
    ]
    tokens = [helper.make_tensor_value_info(name, TensorProto.INT64, ["N", "L"]) for name in _TOKENS]
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", TEXT_DIM])
    constants = {"table": table, "last": np.array([2]), "middle": np.array([1])}
    graph = helper.make_graph(
        nodes, "words", tokens, [embedding], [numpy_helper.from_array(value, name) for name, value in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    spec = TextSpec(
        name="words", graph="text_encoder.onnx", tokenizer="tokenizer.json", embedding_dim=TEXT_DIM, max_tokens=16
    )
    return TextEncoderParts(spec, model.SerializeToString(), tokenizer.to_str().encode())


def write_worded(folder: Path, *, base: Path | None = None, left: int = 4, lookahead: int = 3) -> Path:
    """The bundle ``base``, the embedded one by default, with a tiny alignment and a tiny text encoder."""
    with open_bundle_files(base or default_bundle_path()) as bundle:
        theirs = bundle.manifest
        # What it has of both has other dimensions.
        own = {theirs.alignment.audio_graph, theirs.alignment.text_graph} if theirs.alignment else set()
        own |= {theirs.text.graph, theirs.text.tokenizer} if theirs.text else set()
        files = {entry.path: bundle.read(entry) for entry in theirs.files if entry.path not in own}
    alignment, text = tiny_alignment(audio_dim=theirs.audio_dim, left=left, lookahead=lookahead), tiny_text_encoder()
    files |= {**alignment.files(), **text.files()}
    changed = {"alignment": alignment.spec, "text": text.spec, "files": file_entries(files)}
    write_bundle(folder, Manifest.model_validate(theirs.model_copy(update=changed).model_dump()), files)
    return folder
