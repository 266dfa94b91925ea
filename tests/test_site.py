"""The documentation as a site: it builds strictly, asks nothing of other hosts, and each of its links leads somewhere."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import gradclip_cli

ROOT = Path(__file__).parent.parent
MISSING = importlib.util.find_spec("mkdocs") is None and os.environ.get("CI") != "true"  # where CI is set nothing goes unchecked

pytestmark = pytest.mark.skipif(MISSING, reason="MkDocs is not installed (pip install -e '.[docs]')")


class Links(HTMLParser):
    """What a page links to and loads, and the places in it that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag != "a":
            self.loaded += [given[name] for name in ("src", "href") if name in given]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", "docs/site/mkdocs.yml"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ended = subprocess.run(
        [*build, "--site-dir", str(folder)], cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {
        path: Links(path) for path in site.rglob("*.html") if path.name != "404.html"
    }  # whose links begin at the server's root


def test_each_page_is_there_and_readme_is_the_first(site: Path) -> None:
    for path in (ROOT / "docs").glob("*.md"):
        assert (site / f"{path.stem}.html").exists(), path.name
    assert "Does gradient clipping help here?" in (site / "index.html").read_text()


def test_each_link_leads_to_a_file_and_a_place_in_it(pages: dict[Path, Links]) -> None:
    assert sum(len(page.links) for page in pages.values()) > 1_000
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            if link.startswith("https://"):
                continue
            name, _, anchor = unquote(link).partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), f"{path.name}: {link}"
            if anchor and target in pages:
                assert anchor in pages[target].places, f"{path.name}: {link}"


def test_nothing_is_loaded_from_other_hosts(pages: dict[Path, Links]) -> None:
    for path, page in pages.items():
        assert [link for link in page.loaded if "//" in link] == [], path.name


def test_search_knows_all_pages(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {each["location"].partition("#")[0] for each in index["docs"]}
    assert {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")} <= found


@pytest.mark.browser
@pytest.mark.skipif(not shutil.which("chromedriver"), reason="NO BROWSER TEST RUNS: there is no Chromium with its driver")
def test_search_finds_a_word_in_a_page_that_is_opened_from_disk(site: Path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        browser.implicitly_wait(60)
        browser.get((site / "clipping.html").as_uri())
        browser.find_element("css selector", "input.md-search__input").send_keys("pseudomedian")
        found = browser.find_elements("css selector", ".md-search-result__link")
        assert any("statistics.html" in link.get_attribute("href") for link in found)
    finally:
        browser.quit()


def test_the_names_of_the_package_are_told_with_their_arguments(site: Path) -> None:
    text = (site / "python.html").read_text()
    for name in set(gradclip_cli.__all__) - {"__version__"}:
        assert f'id="gradclip_cli.{name}"' in text, name
    assert "higher_is_better" in text


def test_code_that_made_a_page_is_no_part_of_it(pages: dict[Path, Links]) -> None:
    for path in pages:
        assert "[[[" not in path.read_text(), path.name


def test_code_within_lists_stands_as_code(pages: dict[Path, Links]) -> None:
    """In Python-Markdown what belongs to a list's item is indented by four: else marks of code are shown as they are."""
    for path in pages:
        assert "<p>```" not in path.read_text(), path.name
        assert "```" not in path.read_text(), path.name
