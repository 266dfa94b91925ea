"""README says what the code does: every command, option and shipped config that it names exists."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import click
from test_house import FLOORS

from gradclip_cli import config, sweeps
from gradclip_cli.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_command_has_its_help_there() -> None:
    for name, command in main.commands.items():
        assert f"$ gradclip {name} --help" in README
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0] in README


def test_every_typed_command_exists() -> None:
    typed = re.findall(r"^gradclip ([a-z]+)", README, flags=re.MULTILINE)
    assert typed
    assert set(typed) <= set(main.commands)


def test_every_file_it_links_to_exists() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parent.parent / link).exists(), link


def test_the_config_that_it_explains_is_valid(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f"readme-{number}.yaml"
        path.write_text(block)
        sweeps.load(str(path)) if "grid:" in block else config.load(str(path))


def rows_of_rooms() -> list[list[str]]:
    """The rooms that each row of the house's table names, from the top."""
    table = README.split("| room | duty |\n")[1].split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[1:]]
    return [[re.sub(r"/$|\.py$", "", room) for room in re.findall(r"`([^`]+)`", cell)] for cell in cells]


def test_the_table_of_rooms_is_the_house_from_its_top_floor_to_its_ground() -> None:
    rows = rows_of_rooms()
    named = [room for row in rows for room in row]
    assert sorted(named) == sorted(room for room in FLOORS if room and "." not in room and room != "__main__")
    for above, below in itertools.pairwise(rows):
        assert min(FLOORS[room] for room in above) >= max(FLOORS[room] for room in below), (above, below)


def test_each_row_of_the_table_tells_as_many_duties_as_it_names_rooms_or_one_for_all() -> None:
    """A room that was added to a row without its duty would be told nowhere."""
    table = README.split("| room | duty |\n")[1].split("\n\n")[0].splitlines()[1:]
    for line, rooms in zip(table, rows_of_rooms(), strict=True):
        assert len(line.split("|")[2].split(";")) >= len(rooms), line
