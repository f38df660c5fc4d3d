"""Walk through the notebooks in a real JupyterLab, headless, and look at what a reader would see.

    python data_scripts/walk_lab.py --shots walk

Starts JupyterLab from this environment on copies of the notebooks, opens each in Chromium at
1280 x 800, runs all cells, and reports cells that fail, pictures that are broken or too wide,
whether progress bars moved and sliders answered. Screenshots of the light and the dark theme go to
the folder. Exit code 0: nothing to complain about; 1: something; 3: there is no Chromium here.
"""

import argparse
import asyncio
import base64
import contextlib
import itertools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tornado.websocket import WebSocketClientConnection, websocket_connect

from upm_lib.command import command
from upm_lib.paper import demo

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT = 1280, 800
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --remote-debugging-port=0"
)
SETTINGS = {
    # All cells are in the page at once, and it ends with the last one.
    "notebook-extension/tracker": {"windowingMode": "none", "scrollPastLastCell": False},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
NO_BROWSER = 3
RESTING = 10  # seconds
# What is asked of the page: an object of functions over the notebook that is open.
WALKER = """
(() => {
  const panel = () => [...jupyterapp.shell.widgets('main')].find(w => w.content?.widgets);
  const code = () => panel().content.widgets.filter(cell => cell.model.type === 'code');
  const slider = n => panel().node.querySelectorAll('.widget-slider')[n];
  const right = node => node.getBoundingClientRect().right;
  const scroller = () => {
    for (let node = panel().content.widgets[0].node; node; node = node.parentElement)
      if (node.scrollHeight > node.clientHeight + 50) return node;
  };
  window.walker = {
    ready: () => {
      const kernel = panel()?.sessionContext.session?.kernel;
      // A first status that was sent before the page listened is lost: ask again.
      if (kernel?.status === 'unknown') kernel.requestKernelInfo().catch(() => {});
      return panel()?.context.isReady && panel().content.widgets.length > 3
        && kernel?.status === 'idle';
    },
    run: () => {
      jupyterapp.shell.activateById(panel().id);
      window.walker.state = 'running';
      jupyterapp.commands.execute('notebook:run-all-cells').then(
        () => { window.walker.state = 'done'; },
        error => { window.walker.state = String(error); });
    },
    resting: () => panel().sessionContext.session?.kernel?.status === 'idle',
    bars: () => [...panel().node.querySelectorAll('.widget-html-content')]
      .map(node => node.textContent.trim()).filter(text => /[0-9]%/.test(text)),
    look: () => {
      const outputs = code().flatMap(cell => cell.model.outputs.toJSON());
      const images = [...panel().node.querySelectorAll('.jp-OutputArea-output img')];
      const drawn = outputs.flatMap(o => ['image/png', 'image/jpeg']
        .filter(mime => o.data?.[mime]).map(mime => o.metadata?.[mime]?.alt));
      return {
        cells: code().length,
        unrun: code().filter(cell => cell.model.executionCount === null).length,
        errors: outputs.filter(o => o.output_type === 'error').map(o => `${o.ename}: ${o.evalue}`),
        stderr: outputs.filter(o => o.name === 'stderr').map(o => String(o.text).slice(0, 200)),
        images: images.length,
        broken: images.filter(image => !image.complete || !image.naturalWidth).length,
        wide: images.filter(image => right(image) > right(panel().node)).length,
        mute: drawn.filter(alt => !alt).length,
        sliders: panel().node.querySelectorAll('.widget-slider').length,
        height: scroller().scrollHeight,
      };
    },
    scroll: share => {
      const outer = scroller();
      outer.scrollTop = share * (outer.scrollHeight - outer.clientHeight);
    },
    hold: n => {
      slider(n).scrollIntoView({block: 'center'});
      slider(n).querySelector('.noUi-handle').focus();
    },
    shown: n => slider(n).closest('.widget-vbox').querySelector('img').src,
  };
})()
"""


class Page:
    """One tab, driven over the DevTools protocol."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket, self.numbers = socket, itertools.count(1)

    async def call(self, method: str, **values: Any) -> dict[str, Any]:
        """Send a command and return its result; RuntimeError if the browser refuses."""
        number = next(self.numbers)
        await self.socket.write_message(
            json.dumps({"id": number, "method": method, "params": values})
        )
        while True:
            text = await asyncio.wait_for(self.socket.read_message(), 90)
            if text is None:
                raise RuntimeError(f"the browser went away during {method}")
            answer = json.loads(text)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    async def ask(self, script: str) -> Any:
        """Evaluate JavaScript and return its value; RuntimeError if it throws."""
        found = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description", script))
        return found["result"].get("value")

    async def until(self, script: str, seconds: float) -> None:
        """Wait until JavaScript gives a true value; TimeoutError if it does not in time."""
        end = time.monotonic() + seconds
        while not await self.ask(script):
            if time.monotonic() > end:
                raise TimeoutError(f"{seconds:.0f} s passed before {script[:80]}")
            await asyncio.sleep(0.5)

    async def shoot(self, path: Path) -> None:
        """Write a screenshot as PNG."""
        found = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    async def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the block lasts."""
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def appearing(
    folder: Path, pattern: str, process: subprocess.Popen[bytes], seconds: float = 90
) -> Path:
    """Wait for a file that a program writes when it is ready."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        for path in folder.glob(pattern):
            if path.stat().st_size:
                return path
        time.sleep(0.2)
    raise RuntimeError(f"{process.args!r} did not come up within {seconds:.0f} s")


@contextlib.contextmanager
def lab(home: Path, folder: Path) -> Iterator[str]:
    """Start JupyterLab on a folder with settings of its own and give its address with the token."""
    for name, values in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    (home / "runtime").mkdir()
    places = {
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
    }
    environment = os.environ | {name: str(path) for name, path in places.items()}
    environment.pop("MPLBACKEND", None)
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ServerApp.port=0"]
    command += [f"--IdentityProvider.token={token}", "--expose-app-in-browser"]
    command += [f"--ServerApp.root_dir={folder}"]
    command += ["--allow-root"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    with open(home / "lab.log", "w") as log:
        options = {"stdout": log, "stderr": subprocess.STDOUT, "env": environment}
        with running(command, **options) as process:
            about = json.loads(appearing(home / "runtime", "jpserver-*.json", process).read_text())
            yield f"http://127.0.0.1:{about['port']}/lab/tree/NAME?token={token}&reset"


@contextlib.asynccontextmanager
async def browser(program: str, home: Path) -> Any:
    """Start Chromium and give its page at the size of a small laptop's screen."""
    command = [program, *FLAGS.split(), f"--user-data-dir={home}", "about:blank"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with running(command, **quiet) as process:
        port = appearing(home, "DevToolsActivePort", process).read_text().split()[0]
        with urlopen(f"http://127.0.0.1:{port}/json") as answer:
            (tab, *_) = [t for t in json.load(answer) if t["type"] == "page"]
        socket = await websocket_connect(tab["webSocketDebuggerUrl"], max_message_size=1 << 28)
        page = Page(socket)
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        await page.call("Emulation.setDeviceMetricsOverride", **size)
        await page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        yield page
        socket.close()


async def run_all(page: Page, seconds: float) -> dict[str, list[str]]:
    """Run all cells and return, for each progress bar, the texts it went through.

    After an error the kernel sometimes leaves a cell behind it without an answer, and JupyterLab
    waits for ever: a kernel that has rested for a while has nothing left to run.
    """
    await page.ask("walker.run()")
    bars: dict[str, list[str]] = {}
    busy = time.monotonic()
    end = busy + seconds
    while (state := await page.ask("walker.state")) == "running":
        for place, text in enumerate(await page.ask("walker.bars()")):
            seen = bars.setdefault(str(place), [])
            if text not in seen:
                seen.append(text)
        if time.monotonic() > end:
            raise TimeoutError(f"the notebook still runs after {seconds:.0f} s")
        if not await page.ask("walker.resting()"):
            busy = time.monotonic()
        elif time.monotonic() > busy + RESTING:
            return bars
        await asyncio.sleep(0.4)
    if state != "done":
        raise RuntimeError(state)
    return bars


async def still_sliders(page: Page, sliders: int) -> int:
    """Press an arrow key on every slider and return how many did not change their picture."""
    still = 0
    for n in range(sliders):
        await page.ask(f"walker.hold({n})")
        before = await page.ask(f"walker.shown({n})")
        await page.press("ArrowRight")
        try:
            await page.until(f"walker.shown({n}) !== {json.dumps(before)}", 20)
        except TimeoutError:
            still += 1
    return still


async def take_shots(page: Page, folder: Path, name: str, height: int) -> None:
    """Take screenshots of both themes, from the top of the notebook to its end."""
    count = min(12, max(2, round(height / HEIGHT / 2)))
    for theme, title in THEMES.items():
        change = f"jupyterapp.commands.execute('apputils:change-theme', {{theme: '{title}'}})"
        await page.ask(change)
        await page.until(f"document.body.dataset.jpThemeName === '{title}'", 20)
        for shot in range(count):
            await page.ask(f"walker.scroll({shot / (count - 1)})")
            await asyncio.sleep(0.4)
            await page.shoot(folder / f"{name}-{theme}-{shot + 1:02}.png")


async def walk(page: Page, url: str, name: str, folder: Path, seconds: float) -> list[str]:
    """Open, run and look at one notebook; return what is wrong with it."""
    began = time.monotonic()
    for last in (False, True):  # now and then a kernel's first status never arrives: open again
        await page.call("Page.navigate", url=url.replace("NAME", f"{name}.ipynb"))
        await page.until("Boolean(window.jupyterapp)", 90)
        await page.ask(WALKER)
        try:
            await page.until("walker.ready()", 60)
            break
        except TimeoutError:
            await page.shoot(folder / f"{name}-not-ready.png")
            if last:
                raise
    bars = await run_all(page, seconds)
    found = await page.ask("walker.look()")
    wrong = [f"error output: {error}" for error in found["errors"]]
    wrong += [f"on stderr: {text}" for text in found["stderr"]]
    counts = {"unrun": "cells not run", "broken": "broken pictures", "wide": "pictures cut off"}
    counts |= {"mute": "pictures without alt text"}
    wrong += [f"{found[key]} {what}" for key, what in counts.items() if found[key]]
    if bars and max(map(len, bars.values())) < 2:
        wrong.append("no progress bar moved")
    if still := await still_sliders(page, found["sliders"]):
        wrong.append(f"{still} of {found['sliders']} sliders did not answer")
    await take_shots(page, folder, name, found["height"])
    # Chromium asks before it leaves a page with unsaved changes in which a key was pressed.
    await page.ask("jupyterapp.commands.execute('docmanager:save')")
    moved = sum(len(texts) > 1 for texts in bars.values())
    print(
        f"{name}: {time.monotonic() - began:.0f} s, {found['cells']} code cells, "
        f"{found['images']} pictures, {moved} of {len(bars)} progress bars seen moving, "
        f"{found['sliders']} sliders; " + ("; ".join(wrong) or "all well"),
        flush=True,
    )
    return wrong


async def walk_all(program: str, notebooks: list[Path], shots: Path, seconds: float) -> int:
    """Walk through copies of the notebooks; return how many have something wrong."""
    with tempfile.TemporaryDirectory() as place:
        home, folder = Path(place), Path(place, "notebooks")
        folder.mkdir()
        for notebook in notebooks:
            shutil.copy(notebook, folder)
        with lab(home, folder) as url:
            async with browser(program, home / "profile") as page:
                found = [await walk(page, url, n.stem, shots, seconds) for n in notebooks]
    return sum(map(bool, found))


@command
def main() -> int:
    """Find a browser and walk."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shots", default="walk", help="folder for screenshots (%(default)s)")
    parser.add_argument("--only", nargs="+", default=demo.NOTEBOOKS, choices=demo.NOTEBOOKS)
    parser.add_argument("--seconds", type=float, default=900, help="a notebook may take")
    arguments = parser.parse_args()
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        print("no Chromium here: install Debian's package chromium", file=sys.stderr)
        return NO_BROWSER
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    shots = Path(arguments.shots)
    shots.mkdir(parents=True, exist_ok=True)
    folder = Path(__file__).resolve().parents[1] / "notebooks"
    notebooks = [folder / f"{name}.ipynb" for name in arguments.only]
    wrong = asyncio.run(walk_all(program, notebooks, shots, arguments.seconds))
    print(f"{len(notebooks) - wrong} of {len(notebooks)} notebooks in order; see {shots}/")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
