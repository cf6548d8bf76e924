"""The soak benchmark, shortened: nothing is lost, out of order or forgotten in trouble."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.slow
@pytest.mark.needs("mosquitto")
def test_a_service_in_trouble_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "--seconds", "20", "--feeds", "2", "--keep", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    assert result.returncode == 0, result.stdout + result.stderr
