"""A comparison's page: whole by itself, the same for the same runs, and all that comes from outside is text."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import ARTICLE, PRIMARY, store_run
from kept import draw_nothing, drawing_once
from made_up import BASE, BETTER, store_arm, store_many
from PIL import Image
from test_elements import Read

from gradclip_cli import plots
from gradclip_cli.config import loading
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence import comparison, pasted, report
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.pages import interactive, page
from gradclip_cli.pages.pictures import Picture
from gradclip_cli.pages.provenance import provenance
from gradclip_cli.plots import Panel

HOSTILE = ("<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", '" onload="alert(1)', "</title>&amp;\x1b[31m")
needs_bokeh = pytest.mark.skipif(not interactive.is_installed(), reason="Bokeh is not installed (make install-all)")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("stored") / "results"
    store_arm(results, "none", BASE)
    store_arm(results, "clipvalue", BETTER, base="clipvalue")
    return results


@pytest.fixture(scope="module")
def compared(results: Path) -> Comparison:
    return comparison.with_gradients(comparison.compare(results))


@pytest.fixture(scope="module")
def pictures() -> Callable[[Sequence[Panel]], list[Picture]]:
    """The pictures of both pages."""
    return drawing_once()


@pytest.fixture(scope="module")
def live(compared: Comparison, pictures: Callable[[Sequence[Panel]], list[Picture]]) -> str:
    """The page, with Bokeh where it is installed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(page, "panel_pictures", pictures)
        return page.page(compared)


@pytest.fixture(scope="module")
def plain(compared: Comparison, pictures: Callable[[Sequence[Panel]], list[Picture]]) -> str:
    """The page without Bokeh."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(page, "panel_pictures", pictures)
        patched.setattr(interactive, "is_installed", lambda: False)
        return page.page(compared)


@pytest.fixture
def without_bokeh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "is_installed", lambda: False)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "save_to", draw_nothing)


def renamed(compared: Comparison, names: Sequence[str]) -> Comparison:
    """A comparison of the baseline with the other arm under each of these names."""
    base, other = (part.arm for part in compared.arms)
    return comparison.compare_arms([base, *(replace(other, name=name) for name in names)], base.name)


def test_the_same_runs_give_the_same_page(live: str, results: Path) -> None:
    assert page.page(comparison.compare(results)) == live


def test_it_says_all_that_the_comparison_says(compared: Comparison, plain: str) -> None:
    read = Read(plain)
    text = " ".join(read.text.split())
    for sentence in (*compared.sentences, report.verdict_caption(compared), report.run_caption(compared)):
        assert sentence in text
    for cell in {cell for row in (*report.verdict_rows(compared), *report.run_rows(compared)) for cell in row}:
        assert cell in text
    assert "lstm, units 10, tanh" in text
    assert "clipvalue 0.5" in text
    assert "0-7" in text


def test_it_is_readable_by_everybody(plain: str) -> None:
    read = Read(plain)
    tags = [tag for tag, _ in read.tags]
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert tags.count("table") == tags.count("caption") >= 3
    images = [attributes for tag, attributes in read.tags if tag == "img"]
    assert len(images) == 9  # the differences; two panels each of loss and accuracy, four of gradients
    assert all(len(each["alt"] or "") > 30 for each in images)
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in read.tags if tag == "a"]
    assert links
    assert {link.removeprefix("#") for link in links if link} <= set(ids)


def test_it_asks_no_host_for_anything(live: str) -> None:
    read = Read(live)
    for tag, attributes in read.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert not str(attributes.get("src", "data:")).startswith(("http", "//"))
        assert tag != "script" or "src" not in attributes


def test_the_browser_may_run_its_own_scripts_only(live: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', live)
    scripts = re.findall(r"<script>(.*?)</script>", live, flags=re.DOTALL)
    assert policy
    assert scripts
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert re.findall("'sha256-([^']+)'", policy[1]) == hashes
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe-inline" not in policy[1].split("script-src")[1]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_names_from_outside_are_shown_as_text(compared: Comparison) -> None:
    found = [Read(page.page(renamed(compared, names))) for names in (HOSTILE, [f"harmless {name}" for name in "abcd"])]
    assert [tag for tag, _ in found[0].tags] == [tag for tag, _ in found[1].tags]
    assert not any(name.startswith("on") for _, attributes in found[0].tags for name in attributes)
    assert all(hostile.replace("\x1b", "\\x1b") in found[0].text for hostile in HOSTILE)


def test_what_can_be_copied_is_what_it_says(compared: Comparison, plain: str) -> None:
    texts = re.findall(r'<details class="copy"><summary>([^<]+)</summary><pre tabindex="0"><code>(.*?)</code>', plain, re.S)
    found = {summary: Read(text).text for summary, text in texts}
    for part in compared.arms:
        content = found[f"The config of {part.arm.name}"]
        assert "seed:" not in content
        assert loading.from_text(content, "page") == part.arm.config
    assert yaml.safe_load(found["The config of clipvalue"])["clipping"]["threshold"] == 0.5
    assert found["The verdicts as CSV, unrounded"] == pasted.to_csv(compared).rstrip()
    assert found["The verdicts as LaTeX"] == pasted.to_latex(compared).rstrip()
    commands = [shlex.split(line) for line in found["The commands"].splitlines()]
    assert commands == [
        ["gradclip", "run", "none.yaml", "clipvalue.yaml", "--seeds", "0-7", "--results", "DIR"],
        ["gradclip", "compare", "none", "clipvalue", "--results", "DIR", "--baseline", "none"],
        ["gradclip", "report", "none", "clipvalue", "--results", "DIR", "--baseline", "none"],
    ]


def test_the_hashes_are_those_of_the_files(plain: str, results: Path) -> None:
    text = Read(plain).text
    found = dict(reversed(line.split("  ")) for line in re.findall(r"[0-9a-f]{64}  \S+?\.(?:yaml|csv)", text))
    assert len(found) == 3 * 16
    for name, digest in found.items():
        assert hashlib.sha256((results / name).read_bytes()).hexdigest() == digest


def test_facts_that_runs_do_not_share_are_counted(tmp_path: Path) -> None:
    for seed in range(3):
        store_run(tmp_path, "none", seed, [2.0, 1.0, 0.5], versions={"tensorflow": f"2.{20 + seed // 2}"})
    text = "".join(provenance(comparison.compare(tmp_path)).itertext())
    assert "2.20 (2 runs); 2.21 (1 run)" in text


@pytest.mark.usefixtures("without_bokeh", "undrawn")
def test_one_arm_alone_has_a_page_without_verdicts(two_arms: Path) -> None:
    read = Read(page.page(comparison.compare(two_arms, ["none"])))
    assert "There is one arm only, none" in read.text
    assert not {"verdicts", "differences"} & {attributes.get("id") for _, attributes in read.tags}


def test_a_picture_is_small_and_sharp(plain: str) -> None:
    read = Read(plain)
    image = next(attributes for tag, attributes in read.tags if tag == "img")
    content = base64.b64decode(str(image["src"]).removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.width == pytest.approx(1.5 * int(str(image["width"])), abs=1)
        assert picture.mode == "P"
    assert len(content) < 100_000


def test_only_a_page_of_gradclips_is_written_over(
    compared: Comparison, plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "page", lambda compared: plain)
    path = tmp_path / "new" / "page.html"
    for _ in range(2):
        page.write(compared, path)
        assert path.read_text() == plain
    path.write_text("<html>mine</html>")
    with pytest.raises(StoreError, match="no page of gradclip's"):
        page.write(compared, path)
    assert path.read_text() == "<html>mine</html>"


@needs_bokeh
def test_with_bokeh_the_data_stand_in_the_page(live: str) -> None:
    found = re.search(r'<script id="live" type="application/json">(.*?)</script>', live, flags=re.DOTALL)
    assert found
    held = json.loads(found[1])
    assert [arm["name"] for arm in held["arms"]] == ["none", "clipvalue"]
    places = [each["place"] for each in held["figures"]]
    assert places == [*(f"panel-{number}" for number in range(8)), "pairs"]
    assert set(places) <= {attributes.get("id") for _, attributes in Read(live).tags}
    assert len(held["steps"]["runs"]) == 12
    assert "Copyright (c) Anaconda" in live


@pytest.mark.slow
def test_a_page_of_a_thousand_runs_is_small_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    store_many(tmp_path, 34, 30)
    whole = page.page(comparison.compare(tmp_path))
    assert len(whole.encode()) < 5_000_000
    text = Read(whole).text
    assert "Of 34 arms the live curves are typical values alone" in text or not interactive.is_installed()
    assert "Steps of 1,020 runs are stored; 12 are here" in text
    assert "further combinations of baseline and metric are not here" in text


def test_the_articles_page_is_small_and_says_its_figures() -> None:
    whole = page.page(comparison.compare(ARTICLE, list(PRIMARY)))
    assert len(whole.encode()) < 2_500_000
    text = Read(whole).text
    assert all(figure in text for figure in PRIMARY.values())
    assert "clipvalue helps here: its test accuracy is typically 1.0 points higher than that of none" in text
