"""Chromium without a window, driven over a pipe by its DevTools protocol: nothing but the browser is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
SECONDS = 120


class Browser:
    """One page of a browser. `requests` are the addresses that it asked for, `said` its errors and warnings."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        # The browser reads commands from descriptor 3 and writes answers to 4.
        (read_end, self._write), (self._read, write_end) = os.pipe(), os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (read_end, write_end)]

        def place() -> None:
            for end, wanted in zip(ends, (3, 4), strict=True):
                os.dup2(end, wanted)

        words = ["--headless", "--no-sandbox", "--disable-gpu", *QUIET, f"--user-data-dir={profile}"]
        with (profile.parent / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [CHROMIUM, *words, "--remote-debugging-pipe", "about:blank"],
                preexec_fn=place,
                pass_fds=(3, 4),
                stdout=log,
                stderr=log,
            )
        for end in (read_end, write_end, *ends):
            os.close(end)
        self._last, self._left, self._session = 0, b"", ""
        self.requests: list[str] = []
        self.said: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command of the protocol."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._last:
            pass
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def open(self, address: str) -> None:
        """Goes to an address, and waits until it is loaded."""
        self.requests.clear()
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def js(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 30) -> None:
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.js(expression):
            assert time.monotonic() < end, f"still not: {expression}"
            time.sleep(0.05)

    def size(self, width: int, height: int) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def media(self, **features: str) -> None:
        """Emulates media features: `media(prefers_color_scheme="dark")`."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.send("Emulation.setEmulatedMedia", features=listed)

    def point(self, selector: str, *, click: bool = False) -> None:
        """Moves the pointer to the middle of an element."""
        found = f"document.querySelector({json.dumps(selector)})"
        script = f"(() => {{ const e = {found}; e.scrollIntoView({{block: 'center'}});"
        box = self.js(
            script + "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        at = {"x": box[0], "y": box[1]}
        self.send("Input.dispatchMouseEvent", type="mouseMoved", **at)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def press(self, key: str) -> None:
        """A key of the keyboard: `Tab`, `Enter`, `ArrowRight`, `a`."""
        more: dict[str, Any] = {"Enter": {"text": "\r"}}.get(key, {"text": key} if len(key) == 1 else {})
        code = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39, "ArrowLeft": 37}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)
            more = {}

    def picture(self, path: Path) -> None:
        """A PNG of the whole page."""
        sizes = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": sizes["width"], "height": min(sizes["height"], 16000), "scale": 1}
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def printed(self) -> bytes:
        """The page as a PDF."""
        return base64.b64decode(self.send("Page.printToPDF", preferCSSPageSize=True)["data"])

    def _receive(self) -> Mapping[str, Any]:
        """The next message; events are noted."""
        end = time.monotonic() + SECONDS
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._read], [], [], max(end - time.monotonic(), 0))
            data = os.read(self._read, 1 << 20) if ready else b""
            assert data, "the browser does not answer"
            self._left += data
        text, _, self._left = self._left.partition(b"\0")
        message = json.loads(text)
        of, about = message.get("method", ""), message.get("params", {})
        if of == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif of == "Runtime.exceptionThrown":
            self.said.append(json.dumps(about["exceptionDetails"]))
        elif of == "Log.entryAdded" or (of == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning")):
            self.said.append(json.dumps(about))
        return message
