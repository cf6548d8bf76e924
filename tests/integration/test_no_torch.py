"""The runtime needs neither torch nor anything else of training and export."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import avdetect

DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"

BLOCK = """
    import importlib.abc
    import sys

    class Blocked(importlib.abc.MetaPathFinder):
        names = {"torch", "torchaudio", "torchvision", "decord", "onnx", "onnxscript", "lightning",
                 "pytorch_lightning", "pandas", "pyarrow", "scipy"}

        def find_spec(self, fullname, path, target=None):
            if fullname.partition(".")[0] in self.names:
                raise ImportError(f"{fullname} is blocked")
            return None

    sys.meta_path.insert(0, Blocked())
"""


def _run(code: str, *arguments: str) -> str:
    """What ``code`` printed, run by a fresh interpreter."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _loaded_after(statement: str) -> set[str]:
    """The top-level modules that are loaded once ``statement`` has run in a fresh interpreter."""
    return set(_run(f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})").split())


def test_a_file_is_scored_from_decoding_to_events_without_torch() -> None:
    score = """
    import json
    import avdetect
    import avdetect.runtime.pipeline

    result = avdetect.score(sys.argv[1], options=avdetect.ScoreOptions(duration_s=10.0))
    print(json.dumps({
        "snippets": len(result.curve.start_s),
        "present": result.curve.present.all(axis=0).tolist(),
        "labels": sorted({event.class_name for event in result.events}),
        "blocked": sorted(Blocked.names & set(sys.modules)),
    }))
    """

    said = json.loads(_run(textwrap.dedent(BLOCK) + textwrap.dedent(score), str(DEMO)))

    assert said["snippets"] == 16
    assert said["present"] == [True, True]
    assert "gunshot" in said["labels"]
    assert said["blocked"] == []


def test_the_block_would_be_noticed() -> None:
    noticed = """
    try:
        import torch
    except ImportError as error:
        print(error)
    """

    assert _run(textwrap.dedent(BLOCK) + textwrap.dedent(noticed)).strip() == "torch is blocked"


def test_importing_the_package_loads_no_library() -> None:
    loaded = _loaded_after("import avdetect")

    assert loaded.isdisjoint({"av", "numba", "numpy", "onnxruntime", "pydantic", "rich", "torch", "typer"})


def test_importing_the_runtime_loads_no_torch() -> None:
    loaded = _loaded_after("import avdetect.runtime.pipeline")

    assert "avdetect" in loaded
    assert loaded.isdisjoint({"numba", "onnx", "rich", "torch", "typer"})


def test_help_is_shown_without_loading_what_scoring_needs() -> None:
    show_help = """
    import contextlib
    import io
    import sys
    from avdetect_cli.app import main

    sys.argv = ["avdetect", "--help"]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main()
    """

    assert _loaded_after(textwrap.dedent(show_help)).isdisjoint({"av", "numba", "numpy", "onnxruntime", "torch"})


def test_recordings_are_indexed_and_asked_without_torch(tmp_path: Path) -> None:
    command = """
    from avdetect_cli.app import main

    sys.argv = ["avdetect", *sys.argv[1:]]
    try:
        main()
    finally:
        assert not Blocked.names & set(sys.modules)
        assert sys.argv[1] == "index" or not {"av", "numba", "rich"} & set(sys.modules)  # a question is in a hurry
    """
    code = textwrap.dedent(BLOCK) + textwrap.dedent(command)
    _run(code, "index", str(DEMO), "-o", str(tmp_path / "index"), "--device", "cpu", "--quiet")
    answer = json.loads(_run(code, "query", str(tmp_path / "index"), "a siren", "--json"))

    assert len(answer["places"]) == 1
