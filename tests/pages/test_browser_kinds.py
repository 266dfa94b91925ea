"""Pages of each kind in a real browser, with no network: whole, with room for all, and a map's cells open what they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import store_run
from kept import HOSTILE, draw_blank, keep_recording, keep_study, keep_sweep
from test_browser import SCHEMES, SIZES, asked_for, browser, draw, opened, pytestmark

from gradclip_cli import plots
from gradclip_cli.experiments import stored_study, stored_sweep
from gradclip_cli.pages import interactive, one_run, shape, study, sweep
from gradclip_cli.pages.shape import Page

__all__ = ["browser", "pytestmark"]
KINDS = ("run", "recorded", "sweep", "study")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind; one called `live` draws with Bokeh, where that is there."""
    folder, found = tmp_path_factory.mktemp("kept"), {}
    run = store_run(folder / "results", "none+optimizer.learning_rate=0.01", 3, [2.0, 1.5], status="failed", reason=HOSTILE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plots, "save_to", draw_blank)
        made: dict[str, Page] = {
            "run": one_run.of(run),
            "recorded": one_run.of(keep_recording(folder / "results" / "mine" / "seed-0")),
            "sweep": sweep.of(stored_sweep.read(keep_sweep(folder / "swept"))),
            "study": study.of(stored_study.read(keep_study(folder / "studied"))),
        }
    for kind, page in made.items():
        found[kind] = folder / kind / ("live.html" if shape.DRAWN in page.held else "plain.html")
        found[kind].parent.mkdir()
        found[kind].write_text(page.html())
    return found


def errors(browser: Any) -> list[Any]:
    return [entry for entry in browser.get_log("browser") if entry["level"] not in ("INFO", "DEBUG")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", SIZES)
def test_it_is_whole_without_a_network_and_has_room(browser: Any, pages: dict[str, Path], kind: str, width: int) -> None:
    scheme = SCHEMES[SIZES.index(width)]
    opened(browser, pages[kind], width=width, scheme=scheme)
    draw(browser, "main")
    assert errors(browser) == []
    assert asked_for(browser) == {pages[kind].as_uri()}
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    missing = "return [...document.images].filter((each) => !each.complete || !each.naturalWidth).length"
    assert browser.execute_script(missing) == 0


@pytest.mark.parametrize("kind", ["sweep", "study"])
@pytest.mark.parametrize("scripts", [True, False])
def test_a_cell_opens_what_it_leads_to(browser: Any, pages: dict[str, Path], kind: str, scripts: bool) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    opened(browser, pages[kind], scripts=scripts)
    try:
        link = browser.find_element("css selector", ".map td a")
        target = link.get_attribute("href").partition("#")[2]
        inside = browser.find_element("id", target)
        assert not inside.is_displayed()
        link.send_keys("\n")
        WebDriverWait(browser, 20).until(lambda each: inside.is_displayed())
        heading = inside.find_element("xpath", "../summary")
        assert browser.execute_script("return arguments[0].getBoundingClientRect().top", heading) >= 0
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("kind", ["sweep", "study"])
def test_each_cells_text_stands_out_from_its_colour(browser: Any, pages: dict[str, Path], kind: str) -> None:
    """By at least 4.5 to 1, as WCAG 2.1 asks of texts."""
    opened(browser, pages[kind], scheme="dark")
    contrast = """
      const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
        .map((part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
        .reduce((sum, part, place) => sum + part * [.2126, .7152, .0722][place], 0);
      return Math.min(...[...document.querySelectorAll(".map td[style]")].map((cell) => getComputedStyle(cell))
        .map((style) => [light(style.color), light(style.backgroundColor)].sort((a, b) => a - b))
        .map(([dark, bright]) => (bright + .05) / (dark + .05)));
    """
    assert browser.execute_script(contrast) >= 4.5


@pytest.mark.skipif(not interactive.is_installed(), reason="Bokeh is not installed")
def test_a_runs_steps_can_be_looked_at_closely(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["recorded"])
    draw(browser, "#steps-0")
    assert len(browser.find_elements("css selector", "#steps-0 .live > *")) == 1
    assert len(browser.find_elements("css selector", "#steps-0 input[type=range]")) == 2


@pytest.mark.skipif(not interactive.is_installed(), reason="Bokeh is not installed")
@pytest.mark.parametrize("kind", ["sweep", "study"])
def test_what_a_cell_opens_has_live_curves_in_place_of_their_picture(browser: Any, pages: dict[str, Path], kind: str) -> None:
    opened(browser, pages[kind])
    browser.execute_script("arguments[0].open = true", browser.find_element("css selector", "details.cell"))
    draw(browser, "details.cell figure")
    figure = browser.find_element("css selector", "details.cell figure")
    assert len(figure.find_elements("css selector", ".live > *")) == 1
    assert not figure.find_element("css selector", "img").is_displayed()
    assert errors(browser) == []


@pytest.mark.skipif(not interactive.is_installed(), reason="Bokeh is not installed")
def test_a_tests_legend_switches_its_own_curves_only(browser: Any, pages: dict[str, Path]) -> None:
    """Their baseline is one and the same arm."""
    opened(browser, pages["study"])
    cells = browser.find_elements("css selector", "details.cell")[:2]
    for number, cell in enumerate(cells, 1):
        browser.execute_script("arguments[0].open = true", cell)
        draw(browser, f"#test-{number}-curves")
    legends = [cell.find_elements("css selector", ".legend button") for cell in cells]
    assert [len(buttons) for buttons in legends] == [2, 2]
    assert legends[0][0].text == legends[1][0].text
    legends[0][0].click()
    assert [[button.get_attribute("aria-pressed") for button in buttons] for buttons in legends] == [
        ["false", "true"],
        ["true", "true"],
    ]
    switched_off = "(part) => part.renderers.filter(({visible}) => !visible).map(({name}) => name)"
    hidden, none = browser.execute_script(f"return Bokeh.documents.map((each) => each.roots()[0]).map({switched_off})")
    assert set(hidden) == {legends[0][0].text}
    assert none == []
