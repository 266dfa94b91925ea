"""A page in a real browser, from a file and with no network: nothing is missing, nothing is asked for, and all has room."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import store_run
from kept import draw_nothing, drawing_once
from made_up import BASE, BETTER, store_arm, store_many
from PIL import Image, ImageStat

from gradclip_cli import plots
from gradclip_cli.evidence import comparison, report
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.further import further_look
from gradclip_cli.pages import interactive, page
from gradclip_cli.pages.answer import title
from gradclip_cli.texts import MINUS

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
OTHERS = [pytest.param(width, scheme, marks=pytest.mark.slow) for width, scheme in zip(SIZES, SCHEMES[::-1], strict=True)]
HOSTILE = "<img src=x onerror=alert(1)>"
needs_bokeh = pytest.mark.skipif(not interactive.is_installed(), reason="Bokeh is not installed")
KINDS = ["plain", pytest.param("live", marks=needs_bokeh)]
LONG = "clipvalue+" + "optimizer.learning_rate=0.01+" * 3


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Arms of which one diverges, and one has a long name."""
    results = tmp_path_factory.mktemp("stored") / "results"
    store_arm(results, "none", BASE)
    store_arm(results, LONG, BETTER, base="clipvalue")
    for seed in range(8):
        store_run(results, "explode-none", seed, [2.0, 9.0], status="diverged")
    return comparison.compare(results, baseline="none")


@pytest.fixture(scope="module")
def pages(compared: Comparison, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page without Bokeh, and one with it where it is there."""
    found, pictures = {}, drawing_once()
    for kind in ("plain", "live"):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(page, "panel_pictures", pictures)
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
        until(browser, "return document.documentElement.dataset.live")


def until(browser: Any, script: str, *arguments: Any) -> Any:
    """Wait until a script returns something."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 120).until(lambda each: each.execute_script(script, *arguments))


def draw(browser: Any, selector: str) -> None:
    """Bring figures into view, one after the other, until each is drawn that no closed part of the page holds."""
    waiting = browser.find_elements("css selector", f"{selector}.awaits, {selector} .awaits")
    for place in [each for each in waiting if each.is_displayed()]:
        browser.execute_script("arguments[0].scrollIntoView()", place)
        until(browser, "return !arguments[0].classList.contains('awaits')", place)


def text_of(browser: Any, selector: str) -> str:
    return str(browser.execute_script("return document.querySelector(arguments[0]).textContent", selector))


def cells(browser: Any, selector: str) -> list[list[str]]:
    """The texts of a table's rows."""
    script = """
      const texts = (row) => [...row.cells].map((cell) => cell.textContent);
      return [...document.querySelector(arguments[0]).tBodies[0].rows].map(texts);
    """
    found: list[list[str]] = browser.execute_script(script, selector)
    return found


def choose(browser: Any, label: str, text: str) -> None:
    """Choose an option from the list that stands in a label beginning so."""
    from selenium.webdriver.support.ui import Select

    labels = browser.find_elements("css selector", "label")
    found = next(each for each in labels if each.get_attribute("textContent").startswith(f"{label} "))
    Select(found.find_element("css selector", "select")).select_by_visible_text(text)


def press(browser: Any, selector: str, text: str = "", key: str = "\ue007") -> None:
    """Press a button by the keyboard."""
    buttons = browser.find_elements("css selector", f"{selector} button")
    next(each for each in buttons if text in each.get_attribute("textContent")).send_keys(key)


def complaints(browser: Any) -> list[Any]:
    """What the browser's console has to say since it was last asked."""
    return [entry for entry in browser.get_log("browser") if entry["level"] not in ("INFO", "DEBUG")]


def asked_for(browser: Any) -> set[str]:
    """The addresses that the browser asked for since the page was opened, but for data that stand in it."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return {url for url in sent if not url.startswith(("data:", "blob:"))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "scheme"), [*zip(SIZES, SCHEMES, strict=True), *OTHERS])
def test_it_is_whole_without_a_network_and_has_room(
    browser: Any, pages: dict[str, Path], kind: str, scheme: str, width: int
) -> None:
    opened(browser, pages[kind], width=width, scheme=scheme)
    draw(browser, "main")
    assert complaints(browser) == []
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


@needs_bokeh
def test_arms_switch_off_and_on_by_the_legend_in_all_figures(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["live"])
    drawn = """
      return Bokeh.documents.flatMap(partsOf).flatMap((each) => each.renderers)
        .filter((each) => each.name === arguments[0]).map((each) => each.visible);
    """
    for part, figures in (("differences", 1), ("curves", 8), ("steps", 3)):
        draw(browser, f"#{part}")
        assert len(browser.find_elements("css selector", f"#{part} .live > *")) == figures
    button = browser.find_element("css selector", "#curves .legend button[value='explode-none']")
    before = browser.execute_script(drawn, "explode-none")
    assert before
    assert all(before)
    for pressed in (False, True):
        browser.execute_script("arguments[0].click()", button)
        assert set(browser.execute_script(drawn, "explode-none")) == {pressed}
        assert all(browser.execute_script(drawn, "none"))
        assert button.get_attribute("aria-pressed") == str(pressed).lower()


@needs_bokeh
@pytest.mark.slow
def test_of_many_arms_all_are_switched_at_once_in_figures_that_come_later_too(
    browser: Any, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "save_to", draw_nothing)
    store_many(results, 9, 1)
    page.write(comparison.compare(results), tmp_path / "live.html")
    opened(browser, tmp_path / "live.html", width=400)
    draw(browser, "#pairs")
    drawn = (
        "return Bokeh.documents.flatMap(partsOf).flatMap(({renderers}) => renderers).filter(({name}) => /none|rule/.test(name))"
    )
    for text, visible in (("None", False), ("All", True)):
        press(browser, "#differences .legend", text)
        draw(browser, "#curves" if visible else "#panel-0")
        states = browser.execute_script(f"{drawn}.map((each) => each.visible)")
        assert set(states) == {visible}
    assert complaints(browser) == []


@needs_bokeh
def test_the_slider_of_thresholds_counts_the_steps(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["live"])
    draw(browser, "#steps-0")
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


@needs_bokeh
def test_a_run_and_what_its_threshold_bounds_are_chosen_from_lists(
    browser: Any, pages: dict[str, Path], compared: Comparison
) -> None:
    opened(browser, pages["live"])
    draw(browser, "#steps-0")
    choose(browser, "Run", f"{LONG}, seed 2")
    assert text_of(browser, "#steps-0 .live-title").startswith(f"{LONG}, seed 2: each step of 12 recorded steps")
    shown = """
      const drawn = Bokeh.documents.find((each) => each.get_model_by_name("steps"));
      return [drawn.get_model_by_name("steps").data[arguments[0]], partsOf(drawn)[0].left[0].axis_label];
    """
    steps = next(part.arm for part in compared.others if part.arm.name == LONG).runs[2].directory.steps(["grad_norm", "loss"])
    assert browser.execute_script(shown, "high")[0] == pytest.approx(steps["grad_norm"].tolist(), rel=1e-3)
    assert browser.execute_script(shown, "loss_low")[0] == pytest.approx(steps["loss"].tolist(), rel=1e-3)
    choose(browser, "Of", "lstm/kernel")
    assert browser.execute_script(shown, "high") == [[1.0] * 12, "L2 norm of lstm/kernel"]
    assert "clipping lstm/kernel by its norm would have acted on 0.0% of these 12" in text_of(browser, "#steps-0 output")


@needs_bokeh
def test_a_cursor_goes_through_norm_and_loss_and_tells_both(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["live"])
    draw(browser, "#steps-0")
    browser.find_elements("css selector", "#steps-0 input[type=range]")[1].send_keys("\ue014" * 4)  # to the right
    told = "At step 5: loss 1.5; global L2 norm 7.5; 100% of the steps there clipped."
    assert browser.find_elements("css selector", "#steps-0 output")[1].text == told
    spans = """
      const drawn = Bokeh.documents.find((each) => each.get_model_by_name("steps"));
      const spans = partsOf(drawn).map((part) => part.center.find(({name}) => name === "cursor"));
      return spans.map(({location, visible}) => [location, visible]);
    """
    assert browser.execute_script(spans) == [[pytest.approx(5, abs=0.01), True]] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_another_baseline_or_metric_is_told_as_a_further_look(
    browser: Any, pages: dict[str, Path], compared: Comparison, kind: str
) -> None:
    opened(browser, pages[kind])
    draw(browser, "#differences")
    sections = [text_of(browser, part) for part in ("header", "#verdicts", "#differences")]
    choose(browser, "Metric", "training loss")
    choose(browser, "Baseline", LONG)
    look = further_look(compared, LONG, "loss")
    assert look
    assert text_of(browser, "h1") == title(look)
    assert cells(browser, "#verdicts table") == report.verdict_rows(look)
    assert [row[2] for row in cells(browser, "#differences table")] == [f"{loss:.3f}" for loss in BETTER]
    assert "A further look: training loss against" in text_of(browser, "[role=status]")
    assert "It is exploratory, and its p is not adjusted" in text_of(browser, "[role=status]")
    assert all("exploratory: a further look" in row[-1] for row in cells(browser, "#verdicts table") if row[-1] != "baseline")
    if kind == "live":
        dots = "return [0, 1, 2].map((place) => Bokeh.documents[0].get_model_by_name(`dots-${place}`).data.y)"
        assert browser.execute_script(dots)[0] == pytest.approx(
            [base - better for base, better in zip(BASE, BETTER, strict=True)]
        )
    press(browser, "header", "Back")
    assert [text_of(browser, part) for part in ("header", "#verdicts", "#differences")] == sections
    assert complaints(browser) == []


@pytest.mark.parametrize(
    ("width", "kind"),
    [
        (1280, "plain"),
        pytest.param(1280, "live", marks=[needs_bokeh, pytest.mark.slow]),
        pytest.param(400, "plain", marks=pytest.mark.slow),
        pytest.param(400, "live", marks=needs_bokeh),
    ],
)
def test_a_seeds_twins_are_opened_stepped_and_closed_by_the_keyboard(
    browser: Any, pages: dict[str, Path], kind: str, width: int
) -> None:
    opened(browser, pages[kind], width=width)
    choose(browser, "Arm", LONG)
    choose(browser, "Seed", "7")
    press(browser, "#differences", "Open its twins")
    told = "Difference in test accuracy from none: +8.0 points, to the better."
    assert (text_of(browser, "#twins h2"), text_of(browser, "#twins [role=status]")) == (
        f"Seed 7: {LONG} and its twin in none",
        told,
    )
    assert cells(browser, "#twins table") == [[LONG, "65.3", "complete", "25.0%"], ["none", "57.3", "complete", "25.0%"]]
    curves = [["1", "0.2333", "0.2333", "2", "2"], ["2", "0.4", "0.4", "1.5", "1.5"], ["3", "0.6533", "0.5733", "0.74", "0.98"]]
    assert cells(browser, "#twins details table") == curves
    if kind == "live":
        until(browser, "return document.querySelectorAll('#twins .bk-Figure').length === 2")
    assert browser.execute_script("return document.querySelector('#twins').scrollWidth") <= width
    press(browser, "#twins", "Next")
    assert text_of(browser, "#twins h2").startswith("Seed 0: ")  # after the last comes the first
    browser.switch_to.active_element.send_keys("\ue00c")  # Escape
    assert not browser.execute_script("return document.querySelector('#twins').open")
    assert "Open its twins" in browser.switch_to.active_element.text
    assert complaints(browser) == []


@needs_bokeh
def test_a_click_on_a_seeds_dot_opens_its_twins_with_both_curves(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver import ActionChains

    opened(browser, pages["live"])
    draw(browser, "#differences")
    place = """
      const drawn = Bokeh.documents.find((each) => each.get_model_by_name("dots-1"));
      const [figure] = drawn.roots();
      document.querySelector("#pairs .live").scrollIntoView({block: "center"});
      const view = Bokeh.index.get_by_id(figure.id);
      const {left, top} = view.canvas_view.el.getBoundingClientRect();
      const {x, y} = drawn.get_model_by_name("dots-1").data;
      return [left + view.frame.x_scale.compute(x[7]), top + view.frame.y_scale.compute(y[7])].map(Math.round);
    """
    mouse = ActionChains(browser)
    mouse.w3c_actions.pointer_action.move_to_location(*browser.execute_script(place))
    mouse.w3c_actions.pointer_action.click()
    mouse.perform()
    until(browser, "return document.querySelectorAll('#twins .bk-Figure').length === 2")
    assert text_of(browser, "#twins h2").startswith("Seed 7: clipvalue")
    curves = "return Bokeh.documents.map((each) => each.get_model_by_name('lines')).filter(Boolean).map((each) => each.data.ys)"
    accuracy, loss = until(browser, f"{curves}.filter((each) => each.length === 2)")
    assert accuracy == [[0.2333, 0.4, 0.6533], [0.2333, 0.4, 0.5733]]
    assert loss == [[2, 1.5, 0.74], [2, 1.5, 0.98]]


def test_a_table_sorts_by_a_heading_and_back(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["plain"])
    written = cells(browser, "#verdicts table")
    heading = "#verdicts thead th:nth-child(3)"  # such as 59.3 [56.7, 61.0]
    orders = []
    for expected in ("ascending", "descending", None):
        press(browser, heading, key=" ")
        assert browser.find_element("css selector", heading).get_attribute("aria-sort") == expected
        orders.append([float(row[2].split()[0]) for row in cells(browser, "#verdicts table")])
    assert orders[0] == sorted(orders[2])
    assert orders[1] == orders[0][::-1]
    assert cells(browser, "#verdicts table") == written


def test_a_table_sorts_numbers_as_numbers_equal_ones_as_written_and_blanks_last(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["plain"])
    order = """
      const row = (text) => make("tr", {}, make("td", {textContent: text}));
      const rows = arguments[0].map(row);
      const table = make("table", {}, make("tbody", {}, ...rows));
      return inOrder(rows, 0, arguments[1]).map((each) => each.textContent);
    """
    numbers = ["[10.0, 10.0]", "9.5 [9, 11]", "", "1,234", f"{MINUS}0.5", "+2e3", "-", "<1%", "1%", "9.5 [8, 12]"]
    upward = [f"{MINUS}0.5", "<1%", "1%", "9.5 [9, 11]", "9.5 [8, 12]", "[10.0, 10.0]", "1,234", "+2e3", "", "-"]
    assert browser.execute_script(order, numbers, False) == upward
    downward = ["+2e3", "1,234", "[10.0, 10.0]", "9.5 [9, 11]", "9.5 [8, 12]", "1%", "<1%", f"{MINUS}0.5", "", "-"]
    assert browser.execute_script(order, numbers, True) == downward
    assert browser.execute_script(order, ["b-10", "b-9", "a"], False) == ["a", "b-9", "b-10"]


@needs_bokeh
@pytest.mark.slow
def test_figures_follow_the_scheme_while_the_page_is_open(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["live"])
    draw(browser, "main")
    for scheme, low, high in (("light", 200, 255), ("dark", 0, 60)):
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        for selector in ("#pairs .live", "#pairs img", "#panel-0 .live", "#steps-0 .live"):
            with Image.open(io.BytesIO(browser.find_element("css selector", selector).screenshot_as_png)) as picture:
                assert low <= ImageStat.Stat(picture.convert("L")).median[0] <= high, selector


def test_a_copy_button_takes_the_text(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["plain"])
    part = browser.find_element("css selector", "details.copy")
    browser.execute_script("arguments[0].open = true", part)
    part.find_element("css selector", "button").click()
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda each: part.find_element("css selector", "button").text in ("Copied", "Selected"))


def test_a_name_that_is_markup_runs_nothing(browser: Any, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(plots, "save_to", draw_nothing)
    store_arm(results, "none", BASE)
    store_arm(results, "other", BETTER, base="clipvalue")
    arms = [part.arm for part in comparison.compare(results).arms]
    path = tmp_path / ("live.html" if interactive.is_installed() else "plain.html")
    page.write(comparison.compare_arms([arms[0], replace(arms[1], name=HOSTILE)], "none"), path)
    opened(browser, path)
    draw(browser, "main")
    choose(browser, "Baseline", HOSTILE)
    press(browser, "#differences", "Open its twins")
    assert HOSTILE in text_of(browser, "#twins h2")
    assert complaints(browser) == []
    assert asked_for(browser) == {path.as_uri()}
    assert HOSTILE in browser.find_element("css selector", ".badges").text
