"""README and the pages in docs/ say what the code does: what they name exists, what they link to is there, configs load."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from conftest import command, needs_pytorch
from markdown_it import MarkdownIt
from markdown_it.token import Token
from test_house import FLOORS, GROUND, modules

from gradclip_cli.cli import COMMANDS
from gradclip_cli.config import loading, sweeps
from gradclip_cli.config.templates import example_files
from gradclip_cli.errors import ExitCode

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
MARKDOWN = MarkdownIt("commonmark").enable("table")


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


def typed(path: Path) -> list[tuple[str, list[str]]]:
    """The commands that a page has typed, each with its options."""
    blocks = "\n".join(token.content for token in tokens(path) if token.type == "fence")
    lines = re.findall(r"^(?:\$ )?(?:cd \S+ && )?gradclip ([a-z]+)([^#|\n]*)", blocks, flags=re.MULTILINE)
    return [(name, re.findall(r"(?<= )--[a-z-]+", rest.partition(" && ")[0])) for name, rest in lines]


@each_page()
def test_every_typed_command_exists_with_its_options(path: Path) -> None:
    for name, options in typed(path):
        assert name in COMMANDS
        known = {option for parameter in command(name).params for option in parameter.opts}
        assert set(options) <= known | {"--help"}, name


def test_commands_are_typed_where_they_are_explained() -> None:
    for name in ("commands", "studies", "try", "cluster", "pytorch"):
        assert typed(ROOT / "docs" / f"{name}.md"), name
    assert any(options for _, options in typed(ROOT / "docs" / "commands.md"))


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
    assert f"Exit {ExitCode.DIVERGED:d} tells that a run diverged." in command("run").help


@each_page("studies")  # whose plans are held by tests/config/test_studies.py and test_candidates.py
def test_the_configs_that_pages_explain_are_valid(path: Path, tmp_path: Path) -> None:
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", path.read_text(), flags=re.DOTALL)):
        written = tmp_path / f"{path.stem}-{number}.yaml"
        written.write_text(block)
        sweeps.load(str(written)) if "grid:" in block else loading.load(str(written))


def test_configs_are_explained_where_a_reader_needs_one() -> None:
    for name in ("config", "scripts", "threshold", "try"):
        assert "```yaml\n" in page(name), name


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
