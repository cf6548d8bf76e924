"""A headless Chromium, driven through chromedriver's WebDriver interface with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.synth.programs import CHROMEDRIVER, CHROMIUM

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--mute-audio",
)


class Browser:
    """One browser window. Elements are named by CSS selectors."""

    def __init__(self, session_url: str) -> None:
        self._session_url = session_url

    def _send(self, method: str, path: str, body: object = None) -> Any:
        return _request(method, f"{self._session_url}/{path}", body)

    def open(self, page: Path | str) -> None:
        """A file or an address."""
        self._send("POST", "url", {"url": page if isinstance(page, str) else page.as_uri()})

    def run(self, script: str) -> Any:
        """Value that the body of a function gives back; a promise is awaited."""
        return self._send("POST", "execute/sync", {"script": script, "args": []})

    def wait_for(self, condition: str, timeout_s: float = 90.0) -> Any:
        """Value of an expression, once it is true."""
        end = time.monotonic() + timeout_s
        while not (value := self.run(f"return {condition}")):
            if time.monotonic() > end:
                raise AssertionError(f"the page never came to {condition}")
            time.sleep(0.05)
        return value

    def click(self, selector: str) -> None:
        found = self._send("POST", "element", {"using": "css selector", "value": selector})
        (element,) = found.values()
        self._send("POST", f"element/{element}/click", {})

    def press(self, key: str) -> None:
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._send("POST", "actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def developer(self, command: str, **parameters: object) -> Any:
        """A command of the DevTools protocol."""
        return self._send("POST", "goog/cdp/execute", {"cmd": command, "params": parameters})

    def resize(self, width: int, height: int, *, pixel_ratio: float = 1.0, touch: bool = False) -> None:
        self.developer(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=pixel_ratio,
            mobile=touch,
        )

    def prefer(self, scheme: str) -> None:
        """``light`` or ``dark``."""
        self.developer("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def complaints(self) -> list[str]:
        """Warnings and errors in the console since the last call."""
        entries = self._send("POST", "se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def screenshot(self, path: Path, *, full_page: bool = True) -> None:
        picture = self.developer("Page.captureScreenshot", captureBeyondViewport=full_page)
        path.write_bytes(base64.b64decode(picture["data"]))


def _request(method: str, url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=180) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        with error:
            raise AssertionError(json.load(error)["value"]["message"]) from None


@contextmanager
def headless_chromium(profile: Path) -> Iterator[Browser]:
    """Start chromedriver on a free port, and Chromium with an empty ``profile``; end both."""
    assert CHROMIUM is not None
    assert CHROMEDRIVER is not None
    driver = subprocess.Popen([CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        port = next(line.rstrip(".\n").split()[-1] for line in driver.stdout if "started successfully on port" in line)
        wanted = {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"binary": CHROMIUM, "args": [*_FLAGS, f"--user-data-dir={profile}"]},
        }
        sessions = f"http://127.0.0.1:{port}/session"
        session = _request("POST", sessions, {"capabilities": {"alwaysMatch": wanted}})
        session_url = f"{sessions}/{session['sessionId']}"
        try:
            yield Browser(session_url)
        finally:
            _request("DELETE", session_url)
    finally:
        driver.terminate()
        driver.wait(10)
        if driver.stdout is not None:
            driver.stdout.close()
