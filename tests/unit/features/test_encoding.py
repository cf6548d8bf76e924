"""Every file becomes embeddings in one way, whoever asks for them."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from avdetect.errors import UsageError
from avdetect.features.encoding import EmbeddingStream, EncodingOptions, Samples, open_embeddings
from avdetect.runtime.bundle import Bundle
from avdetect.text.records import read_waveform
from tests.synth.media import MediaFactory


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(device="cpu")


def test_samples_in_memory_give_what_a_file_of_them_gives(media: MediaFactory, bundle: Bundle) -> None:
    manifest, hears = bundle.manifest, replace(bundle.encoders, visual=None, motion=None)
    assert manifest.audio is not None
    recording = media.ffmpeg(
        "encoding.wav", "-f", "lavfi", "-i", "sine=f=700:d=2", "-ar", str(manifest.audio.rate_hz), "-ac", "1"
    )
    samples = Samples(read_waveform(recording, manifest.audio.rate_hz), manifest.audio.rate_hz)

    with open_embeddings(recording, manifest, hears) as from_file:
        expected = [item.audio for item in from_file]
    with EmbeddingStream(samples, manifest, hears, EncodingOptions()) as from_memory:
        found = [item.audio for item in from_memory]

    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_those_that_only_listen_hear_what_the_others_hear(media: MediaFactory, bundle: Bundle) -> None:
    video = media.flash_and_tone("encoding.mp4")

    with open_embeddings(video, bundle.manifest, bundle.encoders) as all_of_it:
        expected = list(all_of_it)
    with open_embeddings(video, bundle.manifest, replace(bundle.encoders, visual=None, motion=None)) as sound:
        found = list(sound)

    assert [item.span for item in found] == [item.span for item in expected]
    assert not any(item.visual_present for item in found)
    np.testing.assert_array_equal([item.audio for item in found], [item.audio for item in expected])


@pytest.mark.parametrize("batch_snippets", [1, 3, 16])
def test_the_size_of_a_batch_changes_nothing(media: MediaFactory, bundle: Bundle, batch_snippets: int) -> None:
    video = media.flash_and_tone("encoding.mp4")

    with open_embeddings(video, bundle.manifest, bundle.encoders) as usual:
        expected = [item.visual for item in usual]
    options = EncodingOptions(batch_snippets=batch_snippets, snippets_ahead=1)
    with open_embeddings(video, bundle.manifest, bundle.encoders, options) as other:
        found = [item.visual for item in other]

    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_stream_that_is_left_early_leaves_no_thread_behind(media: MediaFactory, bundle: Bundle) -> None:
    before = threading.active_count()

    with open_embeddings(media.flash_and_tone("encoding.mp4"), bundle.manifest, bundle.encoders) as embeddings:
        next(embeddings)

    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"start_s": -1.0}, "start"), ({"duration_s": 0.0}, "duration"), ({"batch_snippets": 0}, "batch_snippets")],
)
def test_options_out_of_range_are_refused(options: dict[str, float], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        EncodingOptions(**options)  # type: ignore[arg-type]
