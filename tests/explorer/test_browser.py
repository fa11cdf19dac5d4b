"""The page in a headless Chromium that the system provides: no errors, no other host, and every panel works."""

from __future__ import annotations

import json
import shutil
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from aeframe.cli.explore import Explore
from aeframe.cli.rows_file import write_rows
from aeframe.explorer.callbacks import Callbacks
from aeframe.explorer.server import ExplorerServer
from aeframe.registry import registry

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
pytest.importorskip("plotly", reason="the extra explore is not installed")
_CHROMIUM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if _CHROMIUM is None or _DRIVER is None:
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--window-size=1280,900",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    # Of the browser itself.
    "--disable-background-networking",
    "--disable-component-update",
)
_SECONDS = 60
"""A busy machine draws with software; the tests themselves take a few seconds."""
_RUNS = {
    "image": ["data=digits", "latent.dim=4"],
    "audio": ["data=vowels_simulated", "latent.dim=4"],
    "text": ["data=sentences", "latent.dim=4"],
    "omics": ["data=cells_simulated", "latent.dim=4"],
}
_SHOWN = {"image": "img", "audio": "img", "text": "p", "omics": "img"}
"""The element that shows a sample."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    for option in _OPTIONS:
        options.add_argument(option)
    options.binary_location = _CHROMIUM
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(_DRIVER))
    driver.set_script_timeout(_SECONDS)
    yield driver
    driver.quit()


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Return a function that serves the page of a run, and returns its address."""
    servers = []

    def start(run: Path) -> str:
        verb, parser = Explore(), ArgumentParser()
        verb.arguments(parser)
        explorer = verb.explorer(parser.parse_args([str(run), "--points", "60"]))
        server = ExplorerServer(Callbacks(explorer, write_rows))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return server.url

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def wait(browser: Any, condition: str) -> None:
    """Wait until a JavaScript condition is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, _SECONDS, 0.05).until(lambda driver: driver.execute_script(f"return !!({condition})"))


def messages(browser: Any) -> list[dict[str, Any]]:
    return [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]


@pytest.mark.parametrize("modality", list(_RUNS))
def test_every_panel_works(modality: str, make_model: Any, serve: Callable[[Path], str], browser: Any) -> None:
    if not registry().has("modality", modality):
        pytest.skip(f"modality '{modality}' comes with a plugin that is not installed")
    url = serve(make_model(_RUNS[modality]))
    messages(browser)
    browser.get(url)
    wait(browser, "document.body.dataset.ready")
    shown = _SHOWN[modality]

    # A point is clicked: where it is on the screen is known for a map of one point.
    place = browser.execute_script(
        "const {x, y} = {x: xy[0], y: xy[1]};"
        "Plotly.relayout('map', {'xaxis.range': [x - 1e-6, x + 1e-6], 'yaxis.range': [y - 1e-6, y + 1e-6]});"
        "const box = document.querySelector('#map .nsewdrag').getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]"
    )
    browser.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))")
    for kind, more in (("mouseMoved", {}), ("mousePressed", {"clickCount": 1}), ("mouseReleased", {"clickCount": 1})):
        event = {"type": kind, "x": place[0], "y": place[1], "button": "left" if more else "none", **more}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    wait(browser, f"document.querySelector('#original {shown}') && document.querySelector('#reconstruction {shown}')")
    wait(browser, "document.querySelectorAll('#neighbours button').length === 6")
    if modality == "audio":
        wait(browser, "document.querySelector('#original audio').duration > 0")

    # A slider decodes.
    browser.execute_script(
        "const slider = document.getElementById('slider-0'); slider.value = 2;slider.dispatchEvent(new Event('input'))"
    )
    wait(browser, f"document.querySelector('#decoded {shown}')")

    # The keyboard moves to another point, and a path leads there.
    browser.execute_script(
        "[...document.querySelectorAll('#sample button')].at(0).click(); start = 0; end = 1; describeEnds()"
    )
    first = browser.execute_script("return current")
    browser.execute_script("document.getElementById('reset').click(); document.getElementById('map').focus()")
    from selenium.webdriver import ActionChains, Keys

    for key in (Keys.ARROW_RIGHT, Keys.ARROW_LEFT):
        ActionChains(browser).send_keys(key).perform()
        if browser.execute_script("return current") != first:
            break
    assert browser.execute_script("return current") != first
    browser.execute_script("document.getElementById('play').click()")
    wait(browser, f"document.querySelector('#path {shown}')")
    browser.execute_script("document.getElementById('draw').click()")
    wait(browser, f"document.querySelectorAll('#new .card {shown}').length === 8")

    requested = [
        each["params"]["request"]["url"] for each in messages(browser) if each["method"] == "Network.requestWillBeSent"
    ]
    hosts = {urlsplit(each).netloc for each in requested if not each.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(url).netloc}
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    assert browser.execute_script("return document.getElementById('status').classList.contains('error')") is False


def test_chosen_points_are_exported_and_colours_change(
    tables: Path, serve: Callable[[Path], str], browser: Any, tmp_path: Path
) -> None:
    browser.get(serve(tables))
    wait(browser, "document.body.dataset.ready")
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    assert browser.execute_script("return document.querySelectorAll('#legend svg').length") == 2
    browser.execute_script(
        "const c = document.getElementById('colour'); c.value = 'index'; c.dispatchEvent(new Event('change'))"
    )
    wait(browser, "document.querySelector('#legend .scale')")
    browser.execute_script("document.getElementById('lasso').click()")
    box = browser.execute_script(
        "const b = document.querySelector('#map .nsewdrag').getBoundingClientRect(); "
        "return [b.x, b.y, b.width, b.height]"
    )
    corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02)]
    for number, (x, y) in enumerate(corners):
        kind = "mousePressed" if number == 0 else "mouseMoved"
        at = {"x": box[0] + x * box[2], "y": box[1] + y * box[3], "button": "left", "buttons": 1}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, "clickCount": 1, **at})
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseReleased", "clickCount": 1, **at})
    wait(browser, "chosen.length === overview.num")
    browser.execute_script("document.querySelector('.export').click()")
    wait(browser, "document.getElementById('status').textContent.endsWith('rows were exported.')")
    for _ in range(200):
        if (tmp_path / "points.csv").is_file():
            break
        threading.Event().wait(0.05)
    assert len((tmp_path / "points.csv").read_text(encoding="utf-8").splitlines()) == 58
