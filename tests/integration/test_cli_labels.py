"""``avdetect labels export``, beside a running service, from its configuration or its folder."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from avdetect.serve.config.loading import CLIPS_FOLDER, STORE_FILE
from avdetect.serve.store import Store
from avdetect.training.data import read_training_data
from avdetect_cli.app import app
from tests.synth.live_service import make_event


def run(*arguments: str | Path, expect: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a store, with a configuration that names it: pre-roll and post-roll are a minute; its password is not here."""
    folder = tmp_path / "data"
    (folder / CLIPS_FOLDER).mkdir(parents=True)
    (tmp_path / "live.toml").write_text(
        '[store]\nfolder = "data"\n[clips]\npre_roll_s = 60\npost_roll_s = 60\n'
        '[feeds.gate]\nurl = "rtsp://h/1"\nusername = "me"\npassword_env = "NOT_SET_HERE"\n'
    )
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """Open, as by a service: a shot that happened, and one half a minute before that did not."""
    now = datetime.now(UTC)
    with Store(folder / STORE_FILE) as store:
        for name, age_s, answer in (("yes", 10, "confirmed"), ("no", 40, "dismissed")):
            store.record_event(make_event(name, started_at=now - timedelta(seconds=age_s), clip=f"{name}.mp4"))
            store.set_answer(name, answer)  # type: ignore[arg-type]
            (folder / CLIPS_FOLDER / f"{name}.mp4").touch()
        yield store


@pytest.mark.parametrize(("source", "of_no"), [("data", set()), ("live.toml", {"gunshot"})])
@pytest.mark.usefixtures("store")
def test_train_takes_what_is_exported(tmp_path: Path, source: str, of_no: set[str]) -> None:
    """What the configuration says of the pre-roll decides what can be seen in a clip."""
    manifest = tmp_path / "elsewhere" / "labels.jsonl"
    manifest.parent.mkdir()

    said = run("labels", "export", tmp_path / source, "-o", manifest).stderr
    found = {record.path.name: set(record.labels) for record in read_training_data(manifest).records}

    assert found == {"yes.mp4": {"gunshot"}, "no.mp4": of_no}
    assert said.startswith(f"{manifest}: clips with events: {1 + bool(of_no)}, without: {1 - bool(of_no)}.")
    assert str(tmp_path) not in manifest.read_text()


def test_what_is_left_out_is_counted(folder: Path, store: Store, tmp_path: Path) -> None:
    (folder / CLIPS_FOLDER / "no.mp4").unlink()

    said = run("labels", "export", folder, "-o", tmp_path / "labels.jsonl").stderr

    assert said.endswith("clips with events: 1, without: 0; answers left out: 1 without a clip.\n")


def test_without_answers_there_is_nothing_to_learn(folder: Path, tmp_path: Path) -> None:
    Store(folder / STORE_FILE).close()

    said = run("labels", "export", folder, "-o", tmp_path / "labels.jsonl", expect=1).stderr

    assert "there is nothing to learn from: no event has an answer." in said
    assert not (tmp_path / "labels.jsonl").exists()


def test_a_folder_without_a_store_is_said_so(tmp_path: Path) -> None:
    said = run("labels", "export", tmp_path, "-o", tmp_path / "labels.jsonl", expect=1).stderr

    assert f"there is no store at {tmp_path / STORE_FILE}." in said


def test_a_manifest_of_another_kind_is_misuse(tmp_path: Path) -> None:
    assert "name that ends in .jsonl" in run("labels", "export", tmp_path, "-o", tmp_path / "a.csv", expect=2).stderr
