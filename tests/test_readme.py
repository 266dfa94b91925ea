"""README says what the code does: every command, option and shipped config that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
from conftest import command, needs_pytorch
from test_house import FLOORS, GROUND, modules

from gradclip_cli.cli import COMMANDS
from gradclip_cli.config import loading, sweeps
from gradclip_cli.config.templates import example_files
from gradclip_cli.errors import ExitCode

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_command_has_its_help_there() -> None:
    for name in COMMANDS:
        assert f"$ gradclip {name} --help" in README
        for parameter in command(name).params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0] in README


def test_every_typed_command_exists() -> None:
    typed = re.findall(r"^gradclip ([a-z]+)", README, flags=re.MULTILINE)
    assert typed
    assert set(typed) <= set(COMMANDS)


def test_every_file_it_links_to_exists() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parent.parent / link).exists(), link


def test_it_lists_every_exit_code() -> None:
    table = README.split("| exit code | meaning |\n|---:|---|\n")[1].split("\n<!--")[0]
    assert table.splitlines() == [f"| {code:d} | {code.meaning} |" for code in ExitCode]
    assert len({code.meaning for code in ExitCode}) == len(ExitCode)
    assert f"Exit {ExitCode.DIVERGED:d} tells that a run diverged." in command("run").help


def test_the_config_that_it_explains_is_valid(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f"readme-{number}.yaml"
        path.write_text(block)
        sweeps.load(str(path)) if "grid:" in block else loading.load(str(path))


@needs_pytorch
def test_it_names_the_losses_that_a_pytorch_module_can_have() -> None:
    from gradclip_cli.problems.own.pytorch_losses import LOSSES

    named = README.split("for PyTorch the counterparts of\n")[1].split("or your own function")[0]
    assert re.findall("`([a-z_]+)`", named) == list(LOSSES)


def test_the_run_that_it_begins_with_is_of_the_example_that_init_writes() -> None:
    built = example_files("tensorflow")[-1].read_text()
    assert "keras.optimizers.Adam(0.005, clipnorm=1.0)" in built
    assert "train.py:build on sensors.npz, tensorflow, Adam 0.005.\n" in README.split("## What comes out")[0]


def test_the_table_of_the_house_is_its_files_from_the_top_floor_to_the_ground() -> None:
    table = README.split("| where | what it does |\n")[1].split("\n<!--")[0]
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
