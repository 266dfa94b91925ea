"""The plan of the house: imports go downward only, and start-up stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gradclip_cli"
FLOORS = {
    "__main__": 12,
    "cli": 11,
    "cli.train": 10,
    "cli.stored": 10,
    "cli.inputs": 10,
    "cli.options": 9,
    "console": 8,
    "experiments": 8,
    "experiments.reproduce": 8,
    "experiments.sweep": 8,
    "experiments.agreement": 8,
    "experiments.suggest": 8,
    "report": 7,
    "inspection": 7,
    "claims": 7,
    "comparison": 6,
    "metrics": 5,
    "runner": 6,
    "workers": 5,
    "cluster": 5,
    "trainer": 4,
    "provenance": 1,
    "arms": 4,
    "pace": 7,
    "training": 3,
    "plots": 3,
    "plots.comparison": 3,
    "plots.gradients": 3,
    "plots.stability": 3,
    "plots.style": 2,
    "stats": 3,
    "engines.tensorflow": 2,
    "engines.pytorch": 2,
    "engines": 2,
    "engines.silence": 1,
    "sweeps": 2,
    "data": 1,
    "weights": 1,
    "health": 1,
    "store": 1,
    "actions": 2,
    "removal": 2,
    "config": 1,
    "mistakes": 1,
    "overrides": 1,
    "frameworks": 1,
    "schema": 0,
    "yaml_tree": 0,
    "clipping": 0,
    "files": 0,
    "safe_text": 0,
    "wording": 0,
    "plans": 1,
    "errors": 0,
    "": 0,
}
# Rooms that may use a room of their own floor.
NEIGHBOURS = {
    ("engines", "engines.tensorflow"),
    ("engines.tensorflow", "engines"),
    ("engines", "engines.pytorch"),
    ("engines.pytorch", "engines"),
    ("plots", "plots.comparison"),
    ("plots", "plots.gradients"),
    ("plots", "plots.stability"),
    ("store", "config"),
    ("files", "errors"),
    ("experiments.reproduce", "experiments.agreement"),
    ("config", "frameworks"),
    ("config", "mistakes"),
    ("config", "overrides"),
    ("errors", "safe_text"),
}


def rooms() -> dict[str, ast.Module]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = ast.parse(path.read_text())
    return found


def imports(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_imports(tree: ast.AST) -> set[str]:
    inside = {name.removeprefix("gradclip_cli").removeprefix(".") for name in imports(tree) if name.startswith("gradclip_cli")}
    return {name for name in inside if name in FLOORS} - {""}


def test_every_room_has_a_floor() -> None:
    assert set(rooms()) == set(FLOORS)


@pytest.mark.parametrize("room", sorted(FLOORS))
def test_imports_go_downward_only(room: str) -> None:
    for imported in own_imports(rooms()[room]):
        assert FLOORS[imported] < FLOORS[room] or (room, imported) in NEIGHBOURS, f"{room} imports {imported}"


def test_only_engines_import_a_framework() -> None:
    for room, tree in rooms().items():
        frameworks = {name.split(".")[0] for name in imports(tree)} & {"tensorflow", "keras", "torch"}
        assert not frameworks or room.startswith("engines."), f"{room} imports {frameworks}"


def test_statistics_and_plots_import_nothing_of_ours() -> None:
    plots = {room for room in FLOORS if room.split(".")[0] == "plots"}
    for room in plots:
        assert own_imports(rooms()[room]) <= plots, room
    assert not own_imports(rooms()["stats"])


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["run", "no-such-config"], ["list"], ["schema"]])
def test_start_up_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['gradclip', *{arguments!r}]\n"
        "from gradclip_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'tensorflow', 'keras', 'torch', 'pandas', 'scipy', 'matplotlib', 'distributed'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_compare_imports_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['gradclip', 'compare', '--results', {str(tmp_path)!r}]\n"
        "from gradclip_cli.experiments import reproduce\n"
        "from gradclip_cli import report, plots, stats\n"
        "from gradclip_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
