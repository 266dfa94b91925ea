"""A page in a real browser, from a file and with no network: nothing is missing, nothing is asked for, and all has room."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import store_run
from made_up import BASE, BETTER, store_arm

from gradclip_cli.evidence import comparison
from gradclip_cli.pages import interactive, page

webdriver = pytest.importorskip("selenium.webdriver", reason="NO BROWSER TEST RUNS: Selenium is not installed (make install-all)")
CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="NO BROWSER TEST RUNS: there is no Chromium with its driver (Debian: apt-get install chromium chromium-driver)",
    ),
]
SIZES = (1280, 400)
SCHEMES = ("light", "dark")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no host has an address
)
HOSTILE = "<img src=x onerror=alert(1)>"
KINDS = ["plain", pytest.param("live", marks=pytest.mark.skipif(not interactive.is_installed(), reason="Bokeh is not installed"))]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page without Bokeh, and one with it where it is there: of arms one of which diverges, and one with a long name."""
    results, found = tmp_path_factory.mktemp("stored") / "results", {}
    store_arm(results, "none", BASE)
    store_arm(results, "clipvalue+" + "optimizer.learning_rate=0.01+" * 3, BETTER, base="clipvalue")
    for seed in range(8):
        store_run(results, "explode-none", seed, [2.0, 9.0], status="diverged")
    compared = comparison.compare(results, baseline="none")
    for kind in ("plain", "live"):
        with pytest.MonkeyPatch.context() as patched:
            if kind == "plain":
                patched.setattr(interactive, "is_installed", lambda: False)
            found[kind] = tmp_path_factory.mktemp("pages") / f"{kind}.html"
            page.write(compared, found[kind])
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser: Any, path: Path, *, width: int = 1280, scheme: str = "light", scripts: bool = True) -> None:
    """Open a page and wait until it is whole."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(path.as_uri())
    if scripts and path.stem == "live":
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(browser, 120).until(lambda each: each.execute_script("return document.documentElement.dataset.live"))


def asked_for(browser: Any) -> set[str]:
    """The addresses that the browser asked for since the page was opened, but for data that stand in it."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return {url for url in sent if not url.startswith(("data:", "blob:"))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", SIZES)
def test_it_is_whole_without_a_network_and_has_room(
    browser: Any, pages: dict[str, Path], kind: str, scheme: str, width: int
) -> None:
    opened(browser, pages[kind], width=width, scheme=scheme)
    assert [entry for entry in browser.get_log("browser") if entry["level"] not in ("INFO", "DEBUG")] == []
    assert asked_for(browser) == {pages[kind].as_uri()}
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    missing = "return [...document.images].filter((each) => !each.complete || !each.naturalWidth).length"
    assert browser.execute_script(missing) == 0
    back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]


@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_read_without_javascript(browser: Any, pages: dict[str, Path], kind: str) -> None:
    opened(browser, pages[kind], scripts=False)
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    texts = [str(node.get("name", {}).get("value", "")) for node in tree if not node.get("ignored")]
    whole = " ".join(texts)
    assert "No difference was shown" in whole or "helps here" in whole
    assert "What these runs can show of each arm" in texts
    assert "The verdicts as LaTeX" in texts
    images = [node for node in tree if node.get("role", {}).get("value") in ("image", "img") and not node.get("ignored")]
    assert len(images) == 9
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("scheme", SCHEMES)
def test_texts_stand_out_from_what_is_behind_them(browser: Any, pages: dict[str, Path], scheme: str) -> None:
    """By at least 4.5 to 1, as WCAG 2.1 asks of texts."""
    opened(browser, pages["plain"], scheme=scheme)
    contrast = """
      const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
        .map((part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
        .reduce((sum, part, place) => sum + part * [.2126, .7152, .0722][place], 0);
      const behind = (part) => {
        const colour = getComputedStyle(part).backgroundColor;
        return /, 0\\)$/.test(colour) && part.parentElement ? behind(part.parentElement) : colour;
      };
      return Math.min(...[...document.querySelectorAll("p, li, th, td, dt, dd, a, strong, caption, summary, .figure, button")]
        .map((part) => [light(getComputedStyle(part).color), light(behind(part))].sort((a, b) => a - b))
        .map(([dark, bright]) => (bright + .05) / (dark + .05)));
    """
    assert browser.execute_script(contrast) >= 4.5


@pytest.mark.skipif(not interactive.is_installed(), reason="Bokeh is not installed")
def test_arms_switch_off_and_on_by_the_legend_in_all_figures(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["live"])
    drawn = """
      return Bokeh.documents.flatMap((each) => each.roots()).flatMap((each) => each.renderers)
        .filter((each) => each.name === arguments[0]).map((each) => each.visible);
    """
    for part, figures in (("differences", 1), ("curves", 8), ("steps", 3)):
        assert len(browser.find_elements("css selector", f"#{part} .live .bk-Figure")) == figures
    button = browser.find_element("css selector", "#curves .legend button[value='explode-none']")
    before = browser.execute_script(drawn, "explode-none")
    assert before
    assert all(before)
    for pressed in (False, True):
        browser.execute_script("arguments[0].click()", button)
        assert set(browser.execute_script(drawn, "explode-none")) == {pressed}
        assert all(browser.execute_script(drawn, "none"))
        assert button.get_attribute("aria-pressed") == str(pressed).lower()


@pytest.mark.skipif(not interactive.is_installed(), reason="Bokeh is not installed")
def test_the_slider_of_thresholds_counts_the_steps(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["live"])
    slider = browser.find_element("css selector", "#steps-0 input[type=range]")
    told = browser.find_element("css selector", "#steps-0 output")
    shares = []
    for value in (0, 500, 1000):
        browser.execute_script("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", slider, value)
        found = re.fullmatch(
            r"At \S+, clipping by the global norm would have acted on (\S+)% of these 12 recorded steps.",
            told.get_attribute("textContent"),
        )
        assert found
        shares.append(float(found[1]))
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(100 * 11 / 12, abs=0.1)  # all but the smallest itself
    assert shares[2] == 0


def test_a_copy_button_takes_the_text(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["plain"])
    part = browser.find_element("css selector", "details.copy")
    browser.execute_script("arguments[0].open = true", part)
    part.find_element("css selector", "button").click()
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda each: part.find_element("css selector", "button").text in ("Copied", "Selected"))


def test_a_name_that_is_markup_runs_nothing(browser: Any, results: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    store_arm(results, "none", BASE)
    store_arm(results, "other", BETTER, base="clipvalue")
    arms = [part.arm for part in comparison.compare(results).arms]
    path = tmp_path / ("live.html" if interactive.is_installed() else "plain.html")
    page.write(comparison.compare_arms([arms[0], replace(arms[1], name=HOSTILE)], "none"), path)
    opened(browser, path)
    assert [entry for entry in browser.get_log("browser") if entry["level"] not in ("INFO", "DEBUG")] == []
    assert asked_for(browser) == {path.as_uri()}
    assert HOSTILE in browser.find_element("css selector", ".badges").text
