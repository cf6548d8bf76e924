"""What a user imports: all of it is there, all of it is documented, and importing it costs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import avdetect
from avdetect import evaluation

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text("utf-8")
ROWS = re.findall(r"^\| (`.+?`(?:, `.+?`)*) \|", PAGE, re.MULTILINE)
LISTED = [re.match(r"\w+", name).group() for row in ROWS for name in re.findall(r"`(.+?)`", row)]  # type: ignore[union-attr]


def test_the_page_lists_all_there_is_to_import_and_nothing_else() -> None:
    offered = [*avdetect.__all__, *evaluation.__all__]

    assert sorted(LISTED) == sorted(
        name for name in offered if name not in ("__version__", "AvdetectError", *_named_with_others())
    )


def _named_with_others() -> set[str]:
    """What the page has in the row of what gives it."""
    return {"LabelledVideo", "Evaluation", "Calibration"}


@pytest.mark.parametrize("name", ["AvdetectError", "LabelledVideo", "Evaluation", "Calibration"])
def test_what_has_no_row_of_its_own_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", avdetect.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    assert getattr(avdetect, name) is not None
    assert name in dir(avdetect)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        avdetect.scores  # noqa: B018


def test_importing_the_package_loads_nothing_that_takes_time() -> None:
    code = "import sys, avdetect\nprint(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"numpy", "pydantic", "onnxruntime", "av", "torch", "numba"} & set(loaded)


def test_no_name_of_the_face_needs_torch_or_the_packages_of_the_service() -> None:
    code = (
        "import sys\n"
        "absent = ('torch', 'fastapi', 'starlette', 'uvicorn', 'paho', 'tokenizers', 'pyarrow')\n"
        "sys.modules.update(dict.fromkeys(absent))\n"
        "import avdetect, avdetect.evaluation\n"
        "for name in avdetect.__all__: getattr(avdetect, name)\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
