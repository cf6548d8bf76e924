from __future__ import annotations

import pytest

from avdetect.errors import BundleError, CheckpointError
from avdetect.runtime.session import choose_provider, open_session
from avdetect.text.phrase_encoder import TextEncoder
from avdetect_export.text_graph import export_text_encoder, load_sentence_transformer, text_parity

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

PHRASES = (
    "a dog barks",
    "the sound of glass breaking",
    "two people shout at each other while an alarm goes off",
    "naïve café 東京 🙂",
    "rain " * 200,
)


@pytest.mark.slow
def test_the_graph_says_what_the_model_says() -> None:
    model = load_sentence_transformer()
    parts = export_text_encoder(model)
    assert len(parts.graph) + len(parts.tokenizer) < 25e6
    session = open_session(parts.graph, name="text", provider=choose_provider("cpu"), num_threads=1)
    encoder = TextEncoder(session, parts.tokenizer, parts.spec)
    model.max_seq_length = parts.spec.max_tokens
    assert text_parity(model, encoder(PHRASES), PHRASES) > 0.998
    alone, among = encoder(PHRASES[:1])[0], encoder(PHRASES)[0]
    assert alone @ among == pytest.approx(1, abs=1e-5)
    with pytest.raises(BundleError, match="tokenizer"):
        TextEncoder(session, b"{}", parts.spec)


@pytest.mark.slow
def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(CheckpointError, match="/no/such/model"):
        load_sentence_transformer("/no/such/model")
