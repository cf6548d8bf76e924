"""What is installed: each check says what was found and, if it is not well, what to do."""

from __future__ import annotations

import dataclasses
import importlib
import json as json_text
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import typer

import avdetect
from avdetect.errors import AvdetectError, printable
from avdetect_cli.terminal.text import out, warn

__all__ = ["Check", "doctor", "run_checks"]

Status = Literal["ok", "missing", "broken"]

_PACKAGES = ("numpy", "av", "onnxruntime", "numba", "typer", "rich", "pydantic")
_OPTIONAL_PACKAGES = {
    "pyarrow": ("scores as .parquet", "pip install 'avdetect[parquet]'"),
    "tokenizers": ("prompts and queries", "pip install 'avdetect[text]'"),
    "torch": ("training", "pip install 'avdetect[train]'"),
}
_DISTRIBUTIONS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu")}
_REQUIRED_DECODERS = ("h264", "hevc", "mpeg4", "vp9", "mjpeg", "aac", "mp3", "opus", "vorbis", "flac", "pcm_s16le")
_OPTIONAL_DECODERS = ("libdav1d", "vp8", "mpeg2video", "prores", "dnxhd", "ac3", "eac3", "alac", "amrnb", "wmav2")
_DEVICES = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    group: str
    name: str
    status: Status
    """``missing`` is something avdetect can do without, ``broken`` is not."""
    found: str
    fix: str = ""
    """What to do, where it is not well."""


def doctor(*, json: bool) -> None:
    """Show what is installed and what is missing.

    Raises:
        typer.Exit: something is broken that scoring needs.
    """
    if json:
        checks = list(run_checks())
        _print_json(checks)
    else:
        checks = list(_shown(run_checks()))
    broken = [check for check in checks if check.status == "broken"]
    if broken:
        warn(f"{', '.join(check.name for check in broken)}: broken, see above.")
        raise typer.Exit(1)


def run_checks() -> Iterator[Check]:
    """Everything, in the order in which it is shown; each when it has been looked at."""
    yield from _system()
    yield from _packages()
    yield from _bundle()
    yield from _devices()
    yield from _decoders()
    yield from _tools()


def _system() -> Iterator[Check]:
    python = platform.python_version()
    old = sys.version_info < (3, 11)
    yield Check("system", "avdetect", "ok", _version_of("avdetect") or "not installed as a package")
    yield Check("system", "python", "broken" if old else "ok", python, "install Python 3.11 or later" if old else "")
    yield Check("system", "platform", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield Check("system", "processors", "ok", str(os.cpu_count()))


def _packages() -> Iterator[Check]:
    for name in _PACKAGES:
        error = _import_error(name)
        found = _version_of(*_DISTRIBUTIONS.get(name, (name,))) or "version unknown"
        if error is None:
            yield Check("packages", name, "ok", found)
        else:
            yield Check("packages", name, "broken", error, f"pip install --force-reinstall {name}")
    for name, (purpose, install) in _OPTIONAL_PACKAGES.items():
        if installed := _version_of(name):
            yield Check("packages", name, "ok", installed)
        else:
            yield Check("packages", name, "missing", f"not installed; needed for {purpose}", install)
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version_of(name)]
    if len(both) > 1:
        yield Check(
            "packages",
            "onnxruntime twice",
            "broken",
            "onnxruntime and onnxruntime-gpu overwrite each other's files",
            "pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu",
        )


def _bundle() -> Iterator[Check]:
    # Here and below avdetect is imported where it is looked at: what it needs may be what is broken.
    from avdetect.runtime.bundle_files import default_bundle_path, read_manifest, verify

    path = default_bundle_path()
    try:
        verify(path)
        manifest = read_manifest(path)
    except AvdetectError as error:
        yield Check("model", "embedded bundle", "broken", str(error), "pip install --force-reinstall avdetect")
    else:
        found = f"{manifest.name} {manifest.version}, {len(manifest.classes)} classes, files verified"
        yield Check("model", "embedded bundle", "ok", found)


def _devices() -> Iterator[Check]:
    """The model's detector is opened there, so that a driver or a library that is missing shows."""
    from avdetect.runtime.bundle_files import default_bundle_path, open_bundle_files

    try:
        import onnxruntime

        with open_bundle_files(default_bundle_path()) as files:
            graph = files.read_graph(files.manifest.require_detector().graph)
    except (ImportError, AvdetectError):
        return  # said above
    yield _device(graph, "cpu", "broken", "pip install --force-reinstall onnxruntime")
    for device, provider in _DEVICES.items():
        if provider in onnxruntime.get_available_providers():
            yield _device(graph, device, "missing", "until then, scoring runs on the CPU")
        else:
            fix = "on Linux x86-64 or Windows: pip uninstall onnxruntime, pip install 'onnxruntime-gpu[cuda,cudnn]'"
            yield Check("devices", device, "missing", f"this onnxruntime was built without {provider}", fix)


def _device(graph: bytes, device: str, otherwise: Status, fix: str) -> Check:
    from avdetect.runtime.session import choose_provider, open_session

    try:
        session = open_session(graph, name="the model", provider=choose_provider(device), num_threads=1)
    except AvdetectError as error:
        return Check("devices", device, otherwise, str(error), fix)
    return Check("devices", device, "ok", f"the model loads on {session.get_providers()[0]}")


def _decoders() -> Iterator[Check]:
    try:
        import av
    except ImportError:
        return  # said above
    have = av.codecs_available
    libraries = ", ".join(f"{name} {'.'.join(map(str, numbers))}" for name, numbers in av.library_versions.items())
    yield Check("media", "FFmpeg in av", "ok", libraries)
    lacking = [name for name in _REQUIRED_DECODERS if name not in have]
    if lacking:
        fix = "pip install --force-reinstall av: its wheels have them, a build from source may not"
        yield Check("media", "common decoders", "broken", f"without {', '.join(lacking)}", fix)
    else:
        yield Check("media", "common decoders", "ok", ", ".join(_REQUIRED_DECODERS))
    more = [name for name in _OPTIONAL_DECODERS if name in have]
    lacking = [name for name in _OPTIONAL_DECODERS if name not in have]
    yield Check(
        "media",
        "more decoders",
        "missing" if lacking else "ok",
        f"{', '.join(more)}{'; without ' + ', '.join(lacking) if lacking else ''}",
        "use an av built with them, if you need them" if lacking else "",
    )


def _tools() -> Iterator[Check]:
    ffmpeg = shutil.which("ffmpeg")
    yield Check(
        "tools",
        "ffmpeg",
        "ok" if ffmpeg else "missing",
        ffmpeg or "not on the PATH; avdetect needs it for its tests only, av brings its own FFmpeg",
        "" if ffmpeg else "apt install ffmpeg, brew install ffmpeg or winget install ffmpeg",
    )
    folder = _compile_cache()
    if folder is None:
        fix = "set NUMBA_CACHE_DIR to a folder that can be written"
        yield Check(
            "tools", "numba cache", "missing", "no folder can be written, so kernels compile at every start", fix
        )
    else:
        yield Check("tools", "numba cache", "ok", str(folder))


def _compile_cache() -> Path | None:
    """Where numba keeps compiled kernels: the first of its places that can be written."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        places = [Path(chosen)]
    else:
        cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        places = [Path(avdetect.__file__).parent, Path(cache_home)]
    return next((place for place in places if os.access(_existing(place), os.W_OK)), None)


def _existing(path: Path) -> Path:
    """The path, or what is there of the folders above it."""
    return next(place for place in (path, *path.parents) if place.exists())


def _import_error(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken native library raises what it likes
        return f"{type(error).__name__}: {error}"
    return None


def _version_of(*distributions: str) -> str | None:
    for name in distributions:
        try:
            return version(name) if name == distributions[0] else f"{version(name)} ({name})"
        except PackageNotFoundError:
            continue
    return None


def _shown(checks: Iterable[Check]) -> Iterator[Check]:
    """Show each check as it comes: trying a GPU takes a while."""
    styles: dict[Status, tuple[str, str]] = {
        "ok": ("ok", typer.colors.GREEN),
        "missing": ("--", typer.colors.YELLOW),
        "broken": ("!!", typer.colors.RED),
    }
    group = None
    for check in checks:
        if check.group != group:
            out(*([] if group is None else [""]), check.group)
            group = check.group
        mark, colour = styles[check.status]
        typer.echo(f"  {_coloured(mark, colour)}  {check.name:<16} {printable(check.found)}")
        if check.fix and check.status != "ok":
            out(f"      {'':<16} -> {check.fix}")
        yield check


def _coloured(text: str, colour: str) -> str:
    return text if os.environ.get("NO_COLOR") else typer.style(text, fg=colour)


def _print_json(checks: list[Check]) -> None:
    healthy = all(check.status != "broken" for check in checks)
    document = {"healthy": healthy, "checks": [dataclasses.asdict(check) for check in checks]}
    out(*json_text.dumps(document, indent=2).split("\n"))
