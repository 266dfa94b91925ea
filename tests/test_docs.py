"""README and the pages in docs/ say what the code does: what they name exists, what they link to is there, configs load."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import make_picture
import numpy as np
import pytest
from conftest import command, needs_pytorch
from documented import MARKDOWN, PAGES, ROOT, typed
from markdown_it.token import Token
from test_house import FLOORS, GROUND, modules

from gradclip_cli.cli import COMMANDS
from gradclip_cli.config import loading, sweeps
from gradclip_cli.config.templates import example_files
from gradclip_cli.errors import ExitCode

README = ROOT / "README.md"


def page(name: str) -> str:
    """A page's text, by its name in docs/."""
    return (ROOT / "docs" / f"{name}.md").read_text()


def each_page(*but: str) -> pytest.MarkDecorator:
    paths = [path for path in PAGES if path.stem not in but]
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def tokens(path: Path) -> Iterator[Token]:
    """A page's tokens, those within its lines too."""
    for token in MARKDOWN.parse(path.read_text()):
        yield token
        yield from token.children or ()


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    made: list[str] = []
    parsed = MARKDOWN.parse(path.read_text())
    for opening, title in itertools.pairwise(parsed):
        if opening.type == "heading_open":
            text = "".join(child.content for child in title.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            made.append(f"{slug}-{count}" if (count := sum(each.partition("-")[0] == slug for each in made)) else slug)
    return set(made)


@each_page()
def test_what_a_page_links_to_is_there_with_its_anchor(path: Path) -> None:
    for token in tokens(path):
        link = str(token.attrs.get("href") or token.attrs.get("src") or "")
        if image := re.search(r'<img src="([^"]+)"', token.content if token.type.startswith("html") else ""):
            link = image[1]
        if not link or link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_each_page_is_reached_from_another() -> None:
    linked = {
        (path.parent / str(token.attrs["href"]).partition("#")[0]).resolve()
        for path in PAGES
        for token in tokens(path)
        if token.type == "link_open"
    }
    assert [path.name for path in PAGES if path != README and path not in linked] == []


def test_commands_are_typed_where_they_are_explained() -> None:
    for name in ("commands", "studies", "try", "cluster", "pytorch"):
        assert typed(ROOT / "docs" / f"{name}.md"), name


def test_every_command_has_its_help_there() -> None:
    text = page("commands")
    for name in COMMANDS:
        assert f"$ gradclip {name} --help" in text
        for parameter in command(name).params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0] in text


def test_exit_codes_are_all_listed() -> None:
    table = page("exit-codes").split("| exit code | meaning |\n|---:|---|\n")[1].split("\n<!--")[0]
    assert table.splitlines() == [f"| {code:d} | {code.meaning} |" for code in ExitCode]
    assert len({code.meaning for code in ExitCode}) == len(ExitCode)
    assert f"Exit {ExitCode.DIVERGED:d} tells that a run diverged." in str(command("run").help)


@each_page("studies", "ci")  # held by tests/config/test_studies.py and test_candidates.py, and by tests/test_docs_ci.py
def test_the_configs_that_pages_explain_are_valid(path: Path, tmp_path: Path) -> None:
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", path.read_text(), flags=re.DOTALL)):
        written = tmp_path / f"{path.stem}-{number}.yaml"
        written.write_text(block)
        sweeps.load(str(written)) if "grid:" in block else loading.load(str(written))


def test_configs_are_explained_where_a_reader_needs_one() -> None:
    for name in ("config", "scripts", "threshold", "try"):
        assert "```yaml\n" in page(name), name


def test_readme_is_read_in_a_few_minutes() -> None:
    assert len(README.read_text().splitlines()) <= 200


def sentences(text: str) -> list[str]:
    """The numbered sentences of a text, each in one line."""
    found = re.findall(r"^\d\. .*(?:\n   .*)*", text, flags=re.MULTILINE)
    return [" ".join(sentence.split()) for sentence in found]


def test_what_was_found_stands_in_readme_as_it_is_generated_from_the_stored_answers() -> None:
    generated = sentences(page("article").split("]]] -->")[1].split("[[[end]]]")[0])
    assert len(generated) == 3
    assert sentences(README.read_text().split("## What was found")[1]) == generated


def test_repeatability_is_told_by_the_studys_own_figures() -> None:
    study = json.loads((ROOT / "results" / "repeatability" / "study.json").read_text())
    arms = {arm["name"]: arm for arm in study["arms"]}
    spread = {}
    for name, arm in arms.items():
        each = np.std(arm["last"], axis=1, ddof=1)
        spread[name] = np.median([(one + other) / 2 for index, one in enumerate(each) for other in each[index:]])
    collapsed = arms["none"]["collapsed"] / arms["none"]["runs"]
    assert arms["clipnorm"]["collapsed"] == arms["clipvalue"]["collapsed"] == 0
    told = (
        f"end {spread['none']:.1f} points of test accuracy apart unclipped (a standard deviation, typically), "
        f"{spread['clipnorm']:.1f} with `clipnorm` and {spread['clipvalue']:.1f} with `clipvalue`; "
        f"{collapsed:.0%} of the unclipped runs collapse on the way, none of the clipped ones"
    )
    spikes = f"to {spread['spikes']:.1f} points on {len(arms['spikes']['seeds'])} of the seeds"
    runs = f"{sum(arm['runs'] for arm in arms.values())} runs"
    for text in (README.read_text(), page("when")):
        assert told in " ".join(text.split())
        assert runs in text
    assert spikes in " ".join(page("when").split())


def test_readmes_picture_is_of_the_studys_runs_with_and_without_clipping() -> None:
    drawn = {panel.name: panel for panel in make_picture.panels()}
    assert [panel.values.shape for panel in drawn.values()] == [(30, 8)] * 3
    assert drawn["without clipping"].said == "±2.9 points within a seed"
    assert f'<img src="{make_picture.PICTURE.relative_to(ROOT)}"' in README.read_text()


def test_readme_counts_the_examples_by_what_clipping_did_there() -> None:
    verdicts = re.findall(r"\| \*\*([a-z ]+)\*\* \|$", page("when"), flags=re.MULTILINE)
    assert [verdicts.count(verdict) for verdict in ("helps", "hurts", "no difference shown")] == [2, 1, 3]
    told = "of which clipping helps two, hurts one, and makes no difference that was shown for three"
    assert told in " ".join(README.read_text().split())


@needs_pytorch
def test_the_losses_are_named_that_a_pytorch_module_can_have() -> None:
    from gradclip_cli.problems.own.pytorch_losses import LOSSES

    named = page("try").split("for PyTorch the counterparts of\n")[1].split("or your own function")[0]
    assert re.findall("`([a-z_]+)`", named) == list(LOSSES)


def test_the_trial_that_is_shown_is_of_the_example_that_init_writes() -> None:
    built = example_files("tensorflow")[-1].read_text()
    assert "keras.optimizers.Adam(0.005, clipnorm=1.0)" in built
    assert "train.py:build on sensors.npz, tensorflow, Adam 0.005.\n" in page("try").split("## ")[0]


def test_the_table_of_the_house_is_its_files_from_the_top_floor_to_the_ground() -> None:
    table = page("house").split("| where | what it does |\n")[1].split("\n<!--")[0]
    named = [line.split("`")[1] for line in table.splitlines()[1:]]
    rooms = [place.rstrip("/") for place in named if place.endswith("/")]
    assert rooms == [room for room in FLOORS if room not in GROUND]
    assert [FLOORS[room] for room in rooms] == sorted((FLOORS[room] for room in rooms), reverse=True)
    files = {place.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for place in named if place.endswith(".py")}
    assert files == {module for module in modules() if module not in ("", "__main__", *rooms)}


def test_each_file_says_what_it_does_in_a_line() -> None:
    for module, tree in modules().items():
        duty = (ast.get_docstring(tree) or "").split("\n\n")[0]
        assert 0 < len(duty) <= 140, module
