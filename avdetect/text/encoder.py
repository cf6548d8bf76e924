"""Phrases -> embeddings, by the text encoder's graph; neither torch nor a network is needed.

The encoder is a folder: ``encoder.onnx``, ``tokenizer.json`` and ``text.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import BundleError, UsageError

__all__ = ["GRAPH_NAME", "SPEC_NAME", "TOKENIZER_NAME", "Session", "TextEncoder", "TextEncoderSpec"]

GRAPH_NAME = "encoder.onnx"
TOKENIZER_NAME = "tokenizer.json"
SPEC_NAME = "text.json"
_BATCH_PHRASES = 32


class Session(Protocol):
    """The part of ``onnxruntime.InferenceSession`` that is used."""

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> Sequence[Any]:
        """Run the graph."""
        ...


@dataclass(frozen=True, slots=True)
class TextEncoderSpec:
    """What the export fixed: ``input_ids`` and ``attention_mask`` int64 ``[N, L]`` -> ``embedding`` float32 ``[N,
    dim]``.
    """

    name: str
    dim: int
    max_tokens: int
    """Of a phrase; more are cut off."""

    @classmethod
    def read(cls, path: Path) -> TextEncoderSpec:
        """From ``text.json``.

        Raises:
            BundleError: it is not there, or says something else.
        """
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except OSError as error:
            raise BundleError(f"cannot read {path}: {error.strerror or error}.") from error
        except (TypeError, ValueError) as error:
            raise BundleError(f"{path} does not describe a text encoder: {error}.") from error


class TextEncoder:
    """Embeddings of phrases, of unit length. Safe to share between threads.

    Args:
        session: of the graph.
        tokenizer: what ``tokenizer.json`` holds.
        spec: what ``text.json`` holds.

    Raises:
        UsageError: the tokenizers package is not installed.
        BundleError: ``tokenizer`` is damaged.
    """

    def __init__(self, session: Session, tokenizer: bytes, spec: TextEncoderSpec) -> None:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise UsageError("text needs the package tokenizers: pip install 'avdetect[text]'.") from error
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
        except Exception as error:  # tokenizers raises nothing more specific
            raise BundleError(f"the tokenizer of {spec.name} cannot be read: {error}.") from error
        self._tokenizer.enable_truncation(spec.max_tokens)
        self._tokenizer.enable_padding()
        self._session = session
        self.spec = spec

    def __call__(self, phrases: Sequence[str]) -> NDArray[np.float32]:
        """``(N, dim)``; a phrase has the same embedding whatever it is encoded with, to rounding."""
        # Long ones together: a batch is padded to its longest.
        order = sorted(range(len(phrases)), key=lambda index: len(phrases[index]))
        embeddings = np.zeros((len(phrases), self.spec.dim), np.float32)
        for start in range(0, len(order), _BATCH_PHRASES):
            batch = order[start : start + _BATCH_PHRASES]
            encoded = self._tokenizer.encode_batch([phrases[index] for index in batch])
            feed = {
                "input_ids": np.array([one.ids for one in encoded], np.int64),
                "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
            }
            embeddings[batch] = self._session.run(["embedding"], feed)[0]
        return embeddings
