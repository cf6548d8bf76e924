"""The service: running it, its configuration, and what operators answered on its page."""

from __future__ import annotations

import os
from pathlib import Path

import avdetect
from avdetect.errors import DataError, OutputError, UsageError
from avdetect.files import kind_of, replacing
from avdetect.redaction import redacted
from avdetect.serve.config.loading import CLIPS_FOLDER, STORE_FILE, load_config
from avdetect.serve.config.reading import read_config
from avdetect.serve.signals import Orders
from avdetect.serve.store import Store
from avdetect.serve.store.labels import CLIP_MARGIN_S, LabelledClips, labelled_clips
from avdetect_cli.output.targets import check_outputs
from avdetect_cli.terminal.text import out, say

__all__ = ["check_config", "export_labels", "serve", "write_example"]


def serve(file: Path, orders: Orders) -> None:
    """Run the service that ``file`` configures until it is told to stop.

    Raises:
        AvdetectError: the configuration is wrong, or a package is missing.
    """
    try:
        from avdetect.serve.service import serve as run
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed; `pip install 'avdetect[serve]'` brings it.") from error
    run(file, orders)


def write_example(file: Path | None) -> None:
    """Write a configuration with every setting explained; without a file, to standard output.

    Raises:
        OutputError: the file is there already, or cannot be written.
    """
    example = (Path(avdetect.__file__).parent / "assets" / "serve.toml").read_text("utf-8")
    if file is None:
        out(*example.removesuffix("\n").split("\n"))
        return
    check_outputs({"FILE": file})
    if kind_of(file) is not None:
        raise OutputError(f"{file} is there already and stays as it is.")
    with replacing(file) as temporary:
        temporary.write_text(example, "utf-8")
    file.chmod(0o600)  # it will hold addresses, and maybe credentials
    out(f"Wrote {file}. Name your feeds in it, then: avdetect config check {file}; avdetect serve {file}")


def check_config(file: Path) -> None:
    """Say what a configuration comes to, and that all it names is there.

    Raises:
        AvdetectError: what is wrong with it.
    """
    loaded = load_config(file, thorough=True)
    config = loaded.config
    out(f"{file}: {len(loaded.feeds)} feed(s), {len(config.sinks)} sink(s), bundle {loaded.manifest.name}.")
    for prompt in loaded.prompts:
        out(f"  prompt {prompt.name}: {' / '.join(prompt.phrases)}")
    for feed in loaded.feeds:
        out(f"  feed {feed.name}: {redacted(feed.address.url)}")
    for name, settings in config.sinks.items():
        out(f"  sink {name}: {settings.type}")
    out(f"  store: {config.store.folder}")
    if config.web.enabled:
        out(f"  page: http://{config.web.host}:{config.web.port}/")
    for note in loaded.notes:
        say(f"Note: {note}", quiet=False)


def export_labels(source: Path, output: Path, *, quiet: bool) -> None:
    """Write a training manifest of what was confirmed and dismissed.

    Raises:
        AvdetectError: the store cannot be read, holds no answer, or the manifest cannot be written.
    """
    check_outputs({"-o": output}, suffixes={"-o": (".jsonl",)})
    folder, margin_s = _folder_and_margin(source)
    clips_folder = folder / CLIPS_FOLDER
    with Store(folder / STORE_FILE, read_only=True) as store:
        found = labelled_clips(store, clips_folder, margin_s=margin_s)
    if not found.clips:
        raise DataError(f"{folder}: there is nothing to learn from{_left_out(found) or ': no event has an answer'}.")
    with replacing(output) as path:
        path.write_text(found.as_jsonl(Path(os.path.relpath(clips_folder, output.parent))), "utf-8")
    num_events = sum(bool(clip.class_names) for clip in found.clips)
    num_normal = len(found.clips) - num_events
    say(f"{output}: clips with events: {num_events}, without: {num_normal}{_left_out(found)}.", quiet=quiet)


def _folder_and_margin(source: Path) -> tuple[Path, float]:
    """Of the store, and how much of the time around an event its clip shows."""
    if kind_of(source) == "folder":
        return source, CLIP_MARGIN_S
    config = read_config(source).config
    return config.store.folder, max(config.clips.pre_roll_s, config.clips.post_roll_s)


def _left_out(found: LabelledClips) -> str:
    reasons = ", ".join(f"{count} {why}" for why, count in found.left_out.items())
    return f"; answers left out: {reasons}" if reasons else ""
