"""Phrases -> embeddings, by the bundle's text encoder; neither torch nor a network is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import BundleError, UsageError
from avdetect.manifest import TextSpec

_BATCH_PHRASES = 32


def check_tokenizers() -> None:
    """Check that text can be encoded here.

    Raises:
        UsageError: the tokenizers package is not installed.
    """
    try:
        import tokenizers  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError("text needs the package tokenizers: pip install 'avdetect[text]'.") from error


class Session(Protocol):
    """The part of ``onnxruntime.InferenceSession`` that is used."""

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> Sequence[Any]:
        """Run the graph."""
        ...


class TextEncoder:
    """Embeddings of phrases, of unit length. Safe to share between threads.

    Args:
        session: of the graph.
        tokenizer: the content of the tokenizer's file.
        spec: the manifest's part.

    Raises:
        UsageError: the tokenizers package is not installed.
        BundleError: ``tokenizer`` is damaged.
    """

    def __init__(self, session: Session, tokenizer: bytes, spec: TextSpec) -> None:
        check_tokenizers()
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
        except Exception as error:  # tokenizers raises nothing more specific
            raise BundleError(f"the tokenizer of {spec.name} cannot be read: {error}.") from error
        self._tokenizer.enable_truncation(spec.max_tokens)
        self._tokenizer.enable_padding()
        self._session = session
        self.spec = spec

    def __call__(self, phrases: Sequence[str]) -> NDArray[np.float32]:
        """``(N, embedding_dim)``; a phrase has the same embedding whatever it is encoded with, to rounding."""
        # Long ones together: a batch is padded to its longest.
        order = sorted(range(len(phrases)), key=lambda index: len(phrases[index]))
        embeddings = np.zeros((len(phrases), self.spec.embedding_dim), np.float32)
        for start in range(0, len(order), _BATCH_PHRASES):
            batch = order[start : start + _BATCH_PHRASES]
            encoded = self._tokenizer.encode_batch([phrases[index] for index in batch])
            feed = {
                "input_ids": np.array([one.ids for one in encoded], np.int64),
                "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
            }
            embeddings[batch] = self._session.run(["embedding"], feed)[0]
        return embeddings
