"""README says what the code does: every command, option and shipped config that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import click

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
