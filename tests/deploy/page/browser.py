"""A headless Chromium that is steered over its DevTools pipe: JSON, each message ended by a zero byte."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page of one browser, with a profile of its own and no way to any other host.

    Args:
        profile: An empty folder.
    """

    def __init__(self, profile: Path) -> None:
        assert PROGRAM is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The browser wants the two ends as its descriptors 3 and 4.
        shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                 "--no-first-run", "--disable-background-networking", "--disable-component-update",
                 "--disable-sync", "--disable-extensions", "--mute-audio",
                 f"--user-data-dir={profile}", "--remote-debugging-pipe")  # fmt: skip
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "browser", PROGRAM, *flags, "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._number = 0
        self._read = b""
        self.events: list[dict[str, Any]] = []
        """What the page has told without being asked, oldest first."""
        self._session = ""
        pages = [found for found in self.send("Target.getTargets")["targetInfos"] if found["type"] == "page"]
        attached = self.send("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, timeout: float = 60.0, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the DevTools and waits for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            assert time.monotonic() < end, f"{method}: no answer within {timeout:g} s"
            for found in self._messages(1.0):
                if found.get("id") == self._number:
                    assert "error" not in found, f"{method}: {found['error']}"
                    return found["result"]

    def _messages(self, timeout: float) -> list[dict[str, Any]]:
        if select.select([self._in], [], [], timeout)[0]:
            piece = os.read(self._in, 1 << 20)
            assert piece, "the browser has ended"
            self._read += piece
        *whole, self._read = self._read.split(b"\0")
        found = [json.loads(message) for message in whole]
        self.events += [message for message in found if "method" in message]
        return found

    def size(self, width: int, height: int, *, dark: bool = False, scale: float = 1.0) -> None:
        """Makes the page as wide as a screen, and light or dark."""
        phone = width <= 480
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                  mobile=phone)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Goes to a page, and waits until all that it names is there."""
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'", 60.0)

    def run(self, expression: str) -> Any:
        """Computes an expression in the page, promises awaited."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, timeout: float = 30.0) -> None:
        """Waits until an expression is true in the page."""
        end = time.monotonic() + timeout
        while not self.run(expression):
            assert time.monotonic() < end, f"not within {timeout:g} s: {expression}"
            time.sleep(0.2)

    def click(self, selector: str) -> None:
        """Presses the mouse in the middle of an element, as a person would."""
        place = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def move(self, x: float, y: float) -> None:
        """Moves the mouse over the page."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self) -> bytes:
        """Takes a PNG of the whole page."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=True, timeout=90)
        return base64.b64decode(found["data"])

    def told(self, method: str) -> list[dict[str, Any]]:
        """Parameters of all events of a kind so far."""
        return [event["params"] for event in self.events if event["method"] == method]

    def close(self) -> None:
        """Ends the browser and all its processes."""
        os.close(self._out)
        os.close(self._in)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)


@contextmanager
def browser(profile: Path) -> Generator[Browser]:
    """A browser that lives for as long as the block."""
    made = Browser(profile)
    try:
        yield made
    finally:
        made.close()
