"""The memory of the encoders is taken at the start: later batches add nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

MAX_SNIPPETS = 4
NOTHING_MB = 1.0
"""A batch of a new size takes 2 to 6."""
SCRIPT = f"""
import sys
from pathlib import Path

from avdetect.features.encoders import EncoderSessions, warm_up
from avdetect.runtime.bundle import Bundle


def memory_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS"))


bundle = Bundle.load(device="cpu")
sessions = EncoderSessions(bundle.visual, bundle.motion, bundle.audio)
warm_up(bundle.manifest, sessions, int(sys.argv[1]))
before_mb = memory_mb()
warm_up(bundle.manifest, sessions, {MAX_SNIPPETS})
print(memory_mb() - before_mb)
"""


def growth_mb(max_snippets: int) -> float:
    """In a process of its own: what batches take after a warm-up for ``max_snippets``."""
    command = [sys.executable, "-c", SCRIPT, str(max_snippets)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_batches_up_to_the_size_of_the_warm_up_take_no_more_memory() -> None:
    assert growth_mb(MAX_SNIPPETS) < NOTHING_MB
    assert growth_mb(1) > NOTHING_MB  # so that the figure means something
