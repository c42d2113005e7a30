"""The page in a headless Chromium, driven over a pipe: no error in its console, nothing wider than the window.

Without a browser on the machine these tests are skipped.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anchorbench.report.page import write_page
from anchorbench.report.plots import draw_all

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
WIDTHS = (390, 900, 1440)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")]


class Chromium:
    """One page of a browser: commands and events of the DevTools protocol, each ended by a zero byte, on a pipe."""

    def __init__(self, profile: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def as_three_and_four() -> None:
            # Beyond 4 first, so that neither is closed by the other's move.
            low, high = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(low, 3)
            os.dup2(high, 4)

        self.process = subprocess.Popen(
            [str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=as_three_and_four, close_fds=False, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self.read_from, self.write_to = ours_in, ours_out
        self.buffer, self.count, self.session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        self.count += 1
        message: dict[str, Any] = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_to, json.dumps(message).encode() + b"\0")
        number = self.count
        while True:
            found = self._next()
            if found.get("id") == number:
                assert "error" not in found, found["error"]
                result: dict[str, Any] = found["result"]
                return result
            self.events.append(found)

    def _next(self, seconds: float = 60) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read_from], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser says nothing"
            read = os.read(self.read_from, 1 << 16)
            assert read, "the browser is gone"
            self.buffer += read
        message, _, self.buffer = self.buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, path: Path, *, width: int, dark: bool = False) -> None:
        """Loads the page anew, without network, in a window of that many points."""
        self("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
        self("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def said(self) -> list[str]:
        """What stands in the console: messages, warnings, errors, exceptions."""
        self.evaluate("0")  # whatever was said before has come by now
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self.events if event["method"] in kinds]

    def evaluate(self, script: str) -> Any:
        found = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, path: Path) -> None:
        shot = self("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.read_from)
        os.close(self.write_to)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    found = Chromium(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def page(document: dict[str, Any], tmp_path: Path) -> Path:
    document["curves"][0]["cause"] = {
        "cause": "bandwidth",
        "sentence": "no wave beyond ρ₀ is written",
        "evidence": None,
    }
    return write_page(document, draw_all(document, ["error-vs-res", "fields", "cost"]), tmp_path, formats=["svg"])[0]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_its_window_and_its_console_is_empty(
    browser: Chromium, page: Path, width: int, dark: bool
) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.said() == []
    assert browser.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    for one in browser.evaluate("[...document.querySelectorAll('details')].map((d) => { d.open = true; return 0; })"):
        assert one == 0
    assert browser.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert browser.evaluate("document.querySelectorAll('img').length") > 0
    assert browser.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 24, 28)" if dark else "rgb(255, 255, 255)")


def test_every_text_stands_out_from_its_ground_in_light_and_dark(browser: Chromium, page: Path) -> None:
    # WCAG's contrast of the colours that texts and marks have: 4.5 for texts, 3 for what is drawn.
    script = """(() => {
      const style = getComputedStyle(document.documentElement);
      const light = (name) => {
        const hex = style.getPropertyValue(name).trim().replace("#", "");
        const [r, g, b] = [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
          .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ratio = (a, b) => {
        const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
        return (x + .05) / (y + .05);
      };
      const out = {};
      for (const ground of ["--ground", "--panel"]) {
        for (const text of ["--ink", "--soft", "--link"]) out[`text ${text} on ${ground}`] = ratio(text, ground);
        for (const n of ["--c0", "--c1", "--c2", "--c3", "--c4", "--c5", "--good", "--bad", "--flat", "--none"])
          out[`mark ${n} on ${ground}`] = ratio(n, ground);
      }
      return out;
    })()"""
    for dark in (False, True):
        browser.open(page, width=900, dark=dark)
        for name, ratio in browser.evaluate(script).items():
            assert ratio >= (4.5 if name.startswith("text") else 3.0), (name, dark, ratio)


def test_a_point_tells_its_value_under_the_pointer_and_under_the_arrow_keys(browser: Chromium, page: Path) -> None:
    browser.open(page, width=1440)
    box = browser.evaluate(
        """(() => { const points = [...document.querySelectorAll('.point')];
           const p = points.find((p) => p.dataset.tip.startsWith('frl at 64'));
           p.scrollIntoView({block: 'center', behavior: 'instant'});
           const b = p.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"""
    )
    browser("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    shown = browser.evaluate("document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent")
    assert " at 64 points: E_res 0." in shown
    browser("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert browser.evaluate("document.getElementById('tip').hidden")
    browser.evaluate("document.querySelector('.chart').focus()")
    for kind in ("keyDown", "keyUp"):
        browser("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight")
    assert "points: E_res" in browser.evaluate("document.getElementById('tip').textContent")
    assert not browser.evaluate("document.getElementById('tip').hidden")
    assert browser.said() == []


def test_a_press_on_a_heading_sorts_by_number_and_a_press_on_a_name_hides_its_curve(
    browser: Chromium, page: Path
) -> None:
    browser.open(page, width=1440)
    table = """document.querySelector('[aria-label^="Scores, forced"]')"""
    browser.evaluate(f"{table}.querySelectorAll('th button')[4].click()")
    shown = browser.evaluate(f"[...{table}.querySelectorAll('tbody tr')].map((r) => r.cells[4].firstChild.textContent)")
    numbers = [float(text.rstrip("°")) for text in shown if text[0].isdigit()]
    # E_res at 48 points: solver 0.006, multires 0.11, coarse 0.19, frl 0.197, baseline 0.33, persistence 0.37
    assert numbers == sorted(numbers)
    assert len(numbers) == 6
    assert shown[-1] == "–"
    assert browser.evaluate(f"{table}.querySelectorAll('thead th')[4].getAttribute('aria-sort')") == "ascending"
    browser.evaluate("document.querySelector('.legend button').click()")
    assert browser.evaluate("getComputedStyle(document.querySelector('.curve')).display") == "none"
    assert browser.evaluate("document.querySelector('.legend button').getAttribute('aria-pressed')") == "false"


def test_the_switch_goes_from_the_systems_colours_to_light_to_dark(browser: Chromium, page: Path) -> None:
    browser.open(page, width=900)
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for _ in range(3):
        seen.append((browser.evaluate("document.getElementById('theme').textContent"), browser.evaluate(ground)))
        browser.evaluate("document.getElementById('theme').click()")
    assert [name for name, _ in seen] == ["colours: auto", "colours: light", "colours: dark"]
    assert seen[0][1] == seen[1][1] != seen[2][1]
