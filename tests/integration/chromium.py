"""A small client of the DevTools protocol: enough to open a page, press keys and look."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)
WAIT_S = 20.0


def program() -> str:
    """Chromium's path; without it the test is skipped, except where CI must not skip."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail("the program chromium is not on this machine")
    pytest.skip("the program chromium is not on this machine")


class Page:
    """One browser tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = 0
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and give its result; errors that the page logs meanwhile are kept."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=WAIT_S))
            if message.get("id") == self._last:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message["method"] == "Runtime.exceptionThrown":
            self.problems.append(params["exceptionDetails"].get("text", "") + str(params)[:500])
        elif message["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))

    def open(self, address: str, ready: str = "true") -> None:
        """Go to an address and wait until it is loaded and ``ready`` holds."""
        self.js("window.__old = true")
        self.call("Page.navigate", url=address)
        self.until(f"!window.__old && document.readyState === 'complete' && ({ready})")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = WAIT_S) -> None:
        """Wait until an expression holds."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError):
                if self.js(f"!!({expression})"):
                    return
            assert time.monotonic() < end, f"never true: {expression}\n{self.js('document.body.innerText')}"
            time.sleep(0.05)

    def text(self, selector: str = "body") -> str:
        """What a person reads in an element."""
        return str(self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def press(self, key: str) -> None:
        """Press and release a key."""
        code = f"Key{key.upper()}" if len(key) == 1 else key
        known = {"Enter": 13, "Escape": 27, "Tab": 9}
        event = {"key": key, "code": code, "windowsVirtualKeyCode": known.get(key, ord(key[0].upper()))}
        typed = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **event, **typed)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def size(self, width: int, height: int) -> None:
        """Set the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def shot(self, path: Path, *, full: bool = False) -> None:
        """Take a picture of the window, or of the full page."""
        taken = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=full, **self._area(full)
        )
        path.write_bytes(base64.b64decode(taken["data"]))

    def _area(self, full: bool) -> dict[str, Any]:
        if not full:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A new browser with a new profile, and its one tab."""
    process = subprocess.Popen(
        [program(), *FLAGS, f"--user-data-dir={profile}", "--window-size=1280,800", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connect(_address(profile, process), max_size=None, compression=None, proxy=None) as socket:
            page = Page(socket)
            page.size(1280, 800)
            yield page
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the tab listens: the browser writes its port into its profile."""
    import urllib.request

    file, end = profile / "DevToolsActivePort", time.monotonic() + WAIT_S
    while time.monotonic() < end and process.poll() is None:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= 2:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{lines[0]}/json/list", timeout=WAIT_S) as answer:
                tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
        time.sleep(0.05)
    pytest.fail("chromium did not start")
