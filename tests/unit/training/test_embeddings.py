"""Embeddings on disk are those that the scorer feeds its detector, and are made once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avdetect.errors import DataError
from avdetect.features.encoders import EncoderSessions
from avdetect.manifest import FileEntry, Manifest
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.pipeline import ScoreOptions, ScoreStream
from avdetect.training.embeddings import EmbeddingStore, Encoders, Origin, embed, extract, fingerprint
from tests.synth.media import MediaFactory


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(device="cpu", all_encoders=True)


@pytest.fixture(scope="module")
def encoders(bundle: Bundle) -> Encoders:
    return Encoders(bundle.manifest, EncoderSessions(bundle.visual, bundle.motion, bundle.audio))


class Detector:
    """Remembers what a detector is fed with, and lets it go on."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.fed: list[dict[str, Any]] = []

    def run(self, outputs: Any, inputs: dict[str, Any]) -> Any:
        self.fed.append(inputs)
        return self._session.run(outputs, inputs)


@pytest.mark.parametrize("streams", [{}, {"audio": ()}, {"video": ()}], ids=["both", "picture only", "sound only"])
def test_embeddings_are_what_the_scorer_feeds_its_detector(
    media: MediaFactory, bundle: Bundle, encoders: Encoders, tmp_path: Path, streams: dict[str, Any]
) -> None:
    video = media.flash_and_tone(f"extract{''.join(streams)}.mp4", **streams)
    store = EmbeddingStore(tmp_path)
    extract([video], encoders, store, jobs=1)
    found = store.load(video)

    detector = Detector(bundle.detector)
    object.__setattr__(bundle, "detector_session", detector)
    try:
        with ScoreStream(video, bundle, ScoreOptions()) as scores:
            num_snippets = len(list(scores))
    finally:
        object.__setattr__(bundle, "detector_session", detector._session)
    for name, array in (("audio", found.audio), ("visual", found.visual), ("present", found.present)):
        fed = np.concatenate([inputs[name][0] for inputs in detector.fed])[:num_snippets]
        np.testing.assert_array_equal(array, fed)


def test_what_is_there_is_kept_and_what_changed_is_made_again(
    media: MediaFactory, encoders: Encoders, tmp_path: Path
) -> None:
    videos = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for video in videos:
        video.write_bytes(media.flash_and_tone("extract-short.mp4", duration_s=1.5).read_bytes())
    store = EmbeddingStore(tmp_path / "store")

    def again(made_by: Encoders = encoders) -> tuple[int, int]:
        result = extract(videos, made_by, store)
        return result.num_extracted, result.num_kept

    assert again() == (2, 0)
    assert again() == (0, 2)
    os.utime(videos[0], ns=(0, 0))
    assert again() == (1, 1)
    store.path(videos[1]).write_bytes(b"half of it")
    assert again() == (1, 1)
    assert again(Encoders(_with_other(encoders.manifest, "detector"), encoders.sessions)) == (0, 2)
    assert again(Encoders(_with_other(encoders.manifest, "audio"), encoders.sessions)) == (2, 0)


def _with_other(manifest: Manifest, part: str) -> Manifest:
    """As if the graph of ``part`` had been replaced."""
    graph = getattr(manifest, part).graph
    files = tuple(
        FileEntry(path=entry.path, size=entry.size, sha256="0" * 64) if entry.path == graph else entry
        for entry in manifest.files
    )
    return manifest.model_copy(update={"files": files})


def test_videos_that_cannot_be_read_are_named_and_the_others_done(
    media: MediaFactory, encoders: Encoders, tmp_path: Path
) -> None:
    good = media.flash_and_tone("extract-short.mp4", duration_s=1.5)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    store = EmbeddingStore(tmp_path / "store")

    with pytest.raises(DataError, match=r"1 of 2 videos could not be used:\n  .*broken\.mp4"):
        extract([broken, good], encoders, store)
    assert store.holds(Origin.of(good, fingerprint(encoders.manifest)))


_WORKER = """
import sys
from pathlib import Path
from avdetect.features.encoders import EncoderSessions
from avdetect.runtime.bundle import Bundle
from avdetect.training.embeddings import Encoders, extract
from avdetect.training.embeddings import EmbeddingStore
bundle = Bundle.load(device="cpu", all_encoders=True)
encoders = Encoders(bundle.manifest, EncoderSessions(bundle.visual, bundle.motion, bundle.audio))
videos = sorted(Path(sys.argv[1]).glob("*.mp4"))
extract(videos, encoders, EmbeddingStore(Path(sys.argv[2])), jobs=1)
"""


@pytest.fixture
def worker(media: MediaFactory, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Extracts from twelve videos, in a process of its own."""
    content = media.flash_and_tone("extract-short.mp4", duration_s=1.5).read_bytes()
    (tmp_path / "videos").mkdir()
    for number in range(12):
        (tmp_path / "videos" / f"{number:02}.mp4").write_bytes(content)
    process = subprocess.Popen([sys.executable, "-c", _WORKER, str(tmp_path / "videos"), str(tmp_path / "store")])
    yield process
    process.kill()
    process.wait()


def test_a_killed_extraction_leaves_whole_files_and_goes_on(
    worker: subprocess.Popen[bytes], encoders: Encoders, tmp_path: Path
) -> None:
    deadline = time.monotonic() + 180
    while len(list((tmp_path / "store").glob("[0-9]*.safetensors"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    videos = sorted((tmp_path / "videos").glob("*.mp4"))
    store = EmbeddingStore(tmp_path / "store")
    done = [video for video in videos if store.path(video).exists()]
    for video in done:
        store.load(video)

    result = extract(videos, encoders, store)
    assert result.num_kept == len(done) >= 3
    assert result.num_extracted == 12 - len(done)


def test_embeddings_have_the_widths_of_the_detector(media: MediaFactory, encoders: Encoders) -> None:
    found = embed(media.flash_and_tone("extract-short.mp4", duration_s=1.5), encoders)

    assert found.audio.shape == (3, encoders.manifest.audio_dim)
    assert found.visual.shape == (3, encoders.manifest.visual_dim)
    assert found.present.all()
