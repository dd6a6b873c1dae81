"""A real Chromium without a window, driven over its DevTools protocol by a pipe: nothing but the browser is needed."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Json = dict[str, Any]
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TO_BROWSER, _FROM_BROWSER = 3, 4  # the descriptors that --remote-debugging-pipe reads and writes
_SECONDS = 20


class Tab:
    """One page of the browser."""

    def __init__(self, requests: int, replies: int) -> None:
        self._requests, self._replies = requests, replies
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[Json] = []

    def attach(self) -> None:
        """Open an empty page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> Json:
        """Call a method of the protocol and return its result; what happens meanwhile is kept in ``events``."""
        self._number += 1
        message: Json = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, url: str) -> None:
        """Go to a page and wait until it says what became of the ledger."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait("!['', 'checking'].includes(document.querySelector('#verdict')?.dataset.state ?? '')")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        script = f"""new Promise((done, fail) => {{
            const end = Date.now() + {_SECONDS * 1000};
            const look = () => ({condition}) ? done(true) : Date.now() > end ? fail(new Error('waited too long')) : setTimeout(look, 20);
            look();
        }})"""
        self.run(script)

    def run(self, expression: str) -> Any:  # noqa: ANN401 - whatever the page computes
        """Return what an expression gives in the page, once it is there."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def text(self, selector: str) -> str:
        """Return the text of the first element that fits."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        """Press a key and let it go."""
        more = {"text": text} if text else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def size(self, width: int, height: int = 900) -> None:
        """Make the window so large, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def colours(self, scheme: str) -> None:
        """Prefer ``light`` or ``dark``."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path) -> None:
        """Write what the whole page looks like, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """Return what the page threw and what the browser refused or reported as an error."""
        self.run("0")  # what happened before has been told by now
        thrown = [str(event["params"]) for event in self.events if event.get("method") == "Runtime.exceptionThrown"]
        entries = [event["params"]["entry"] for event in self.events if event.get("method") == "Log.entryAdded"]
        return thrown + [str(entry) for entry in entries if entry["level"] == "error"]

    def requested(self) -> list[str]:
        """Return the addresses that the page asked for."""
        self.run("0")
        return [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]

    def _read(self) -> Json:
        while b"\0" not in self._buffer:
            data = os.read(self._replies, 1 << 16)
            assert data, "the browser has gone"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


def executable() -> str:
    """Return the browser; skips the test where there is none."""
    found = os.environ.get("LUNARIA_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("there is no Chromium: install the Debian package 'chromium', or name one in LUNARIA_CHROMIUM")
    return found


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """Run a browser of its own, with ``profile`` as its folder."""
    command = [
        executable(),
        *(
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
        ),
        *("--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
        *(f"--user-data-dir={profile}", "about:blank"),
    ]
    requests_out, requests = os.pipe()
    replies, replies_in = os.pipe()

    def connect() -> None:  # in the child: the ends of the pipes where the browser looks for them
        first, second = os.dup(requests_out), os.dup(replies_in)
        os.dup2(first, _TO_BROWSER)
        os.dup2(second, _FROM_BROWSER)

    with (profile.parent / "browser.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - a browser, and our own options
            command, stdout=log, stderr=log, preexec_fn=connect, close_fds=False, start_new_session=True
        )
    os.close(requests_out)
    os.close(replies_in)
    try:
        tab = Tab(requests, replies)
        tab.attach()
        yield tab
    finally:
        os.close(requests)  # the browser ends when nobody can speak to it
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(replies)
