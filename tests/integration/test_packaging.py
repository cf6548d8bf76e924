"""The wheel, as a user gets it: what is in it, and that it works where no checkout is near."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

import avdetect

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MAX_WHEEL_BYTES = 45_000_000
MAX_BUNDLE_BYTES = 45_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Built from a copy of the sources, so that leftovers of an earlier build cannot get in."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    sources.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "MANIFEST.in", "CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, sources)
    for name in ("avdetect", "cli", "export", "docs", "packaging", "tests"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, sources]
    subprocess.run(command, check=True)
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(wheel.read(name))


def test_a_wheel_holds_the_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"avdetect", "avdetect_cli", "avdetect_export"}


def test_a_wheel_holds_every_module_of_the_sources(wheel: zipfile.ZipFile) -> None:
    roots = (ROOT / "avdetect", ROOT / "cli" / "avdetect_cli", ROOT / "export" / "avdetect_export")
    modules = {path.relative_to(root.parent).as_posix() for root in roots for path in root.rglob("*.py")}

    assert modules == {name for name in wheel.namelist() if name.endswith(".py")}


@pytest.mark.parametrize(
    "name",
    [
        "avdetect/py.typed",
        "avdetect_cli/py.typed",
        "avdetect_export/py.typed",
        "avdetect/assets/demo.mp4",
        "avdetect/assets/default/manifest.json",
    ],
)
def test_a_wheel_holds_the_data_that_the_code_needs(wheel: zipfile.ZipFile, name: str) -> None:
    assert name in wheel.namelist()


def test_every_asset_of_the_sources_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    assets = {path.relative_to(ROOT).as_posix() for path in (ROOT / "avdetect" / "assets").rglob("*") if path.is_file()}

    assert assets == {name for name in wheel.namelist() if name.startswith("avdetect/assets/")}


def test_the_licence_and_the_notices_travel_with_the_wheel(wheel: zipfile.ZipFile, metadata: Message) -> None:
    licences = {Path(name).name for name in wheel.namelist() if ".dist-info/licenses/" in name}

    assert licences == {"LICENSE", "NOTICE"}
    assert metadata["License-Expression"] == "Apache-2.0"


def test_a_wheel_and_its_bundle_stay_small(wheel: zipfile.ZipFile) -> None:
    bundle = [entry.file_size for entry in wheel.infolist() if entry.filename.startswith("avdetect/assets/default/")]

    assert Path(str(wheel.filename)).stat().st_size <= MAX_WHEEL_BYTES
    assert sum(bundle) <= MAX_BUNDLE_BYTES


def test_the_version_is_written_in_one_place(metadata: Message) -> None:
    assert metadata["Version"] == avdetect.__version__


def test_only_the_runtime_is_required(metadata: Message) -> None:
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = {re.match(r"[\w.-]+", line)[0] for line in required}  # type: ignore[index]

    assert names == {"av", "filelock", "numba", "numpy", "onnxruntime", "onnxruntime-gpu", "pydantic", "rich", "typer"}


def test_an_sdist_builds_the_same_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    sources = Path(str(wheel.filename)).parent / "sources"
    subprocess.run([sys.executable, "-m", "build", "--outdir", tmp_path, sources], check=True, capture_output=True)
    [built], [sdist] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")  # the wheel is built from the sdist

    with zipfile.ZipFile(built) as other:
        contents = [{name: one.read(name) for name in one.namelist()} for one in (wheel, other)]
    assert contents[0] == contents[1]
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", built, sdist], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


def test_a_wheel_scores_its_demo_clip_where_no_checkout_is_near(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """The wheel's files alone are on the path; the libraries it needs are those of this interpreter."""
    installed = tmp_path / "installed"
    wheel.extractall(installed)
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); import avdetect, avdetect_cli.app;"
        f"assert avdetect.__file__.startswith({str(installed)!r}), avdetect.__file__;"
        "sys.argv = ['avdetect', 'demo']; avdetect_cli.app.main()"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "gunshot" in done.stdout
