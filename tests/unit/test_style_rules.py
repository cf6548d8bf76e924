"""Rules of the code that no linter knows."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "avdetect", ROOT / "cli" / "avdetect_cli", ROOT / "export" / "avdetect_export")
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_leaves_nothing_to_be_done(path: Path) -> None:
    text = path.read_text("utf-8")

    assert not [word for word in ("TODO", "FIXME") if word in text]
