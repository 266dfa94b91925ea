"""The plan of the house: rooms on floors, imports that go downward only, no circles, and a start-up that stays light."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradclip_cli.config.datasets import DATASETS, DEFAULT_DATASET
from gradclip_cli.config.frameworks import DEFAULT_FRAMEWORK, FRAMEWORKS
from gradclip_cli.errors import ExitCode
from gradclip_cli.evidence.metrics import METRICS
from gradclip_cli.runs.csv_files import metric_columns

PACKAGE = Path(__file__).parent.parent / "gradclip_cli"
# Rooms (folders) and the ground's single files, by floor: a room imports only what is on a floor below its own.
FLOORS = {
    "cli": 11,
    "notebooks": 11,
    "article": 10,
    "pages": 10,
    "experiments": 9,
    "evidence": 7,
    "recorder": 7,
    "runs": 6,
    "engines": 5,
    "problems": 4,
    "config": 3,
    "gradients": 2,
    "plots": 1,
    "files": 0,
    "discovery": 0,
    "sections": 0,
    "limits": 0,
    "arrays": 0,
    "errors": 0,
    "labels": 0,
    "texts": 0,
}
GROUND = {room for room, floor in FLOORS.items() if not floor}
PROBLEMS = "problems.*"  # all that stands behind the contract
WAYS = {"runs.workers", "runs.cluster"}
TRAINING = {"runs.loop", "runs.many", "runs.one", "runs.trainers", "runs.pace"} | WAYS
PUBLISHED = {"config.dataset", "config.datasets"}
# What a room knows nothing of, though it stands below.
UNKNOWN = {
    "notebooks": {"recorder", "engines", "problems", PROBLEMS, *TRAINING, *PUBLISHED},
    "pages": {"recorder", "engines", "problems", PROBLEMS, *TRAINING, *PUBLISHED},
    "evidence": {"engines", PROBLEMS, *TRAINING, *PUBLISHED},
    "recorder": {"engines", "problems", PROBLEMS, "plots", *TRAINING, *PUBLISHED},
    "runs": {"plots", *PUBLISHED},
    "engines": {"plots", *PUBLISHED},
    "problems": {"plots", "gradients"},
    "config": {"plots"},
    "gradients": {"plots", "files"},
    "plots": {"files", "errors"},
}
IMPORTED_OF_FRAMEWORKS = {"tensorflow", "keras", "torch"}


@functools.cache
def files() -> dict[Path, ast.Module]:
    """The package's files by where they are in it."""
    return {path.relative_to(PACKAGE): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}


@functools.cache
def modules() -> dict[str, ast.Module]:
    """The same by their dotted names, such as `runs.store`; a room's own `__init__` is called as the room is."""
    return {".".join(part for part in path.with_suffix("").parts if part != "__init__"): tree for path, tree in files().items()}


def room_of(module: str) -> str:
    return module.split(".")[0]


def imports(tree: ast.AST) -> Iterator[str]:
    """What is imported anywhere in a file, a module or a name in one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(tree: ast.AST) -> set[str]:
    """The modules of ours that a file imports; names are taken for the module that they stand in."""
    found = set()
    for name in imports(tree):
        top, _, inside = name.partition(".")
        if top == "gradclip_cli" and inside:
            found.add(inside if inside in modules() else inside.rpartition(".")[0])
    return found - {""}


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_go_downward_only(module: str) -> None:
    if module in ("", "__main__"):
        return
    room = room_of(module)
    for imported in own_imports(modules()[module]):
        other = room_of(imported)
        assert other == room or FLOORS[other] < FLOORS[room] or {room, other} <= GROUND, f"{module} imports {imported}"
        unknown = UNKNOWN.get(room, set())
        behind = {PROBLEMS} if other == "problems" and imported not in ("problems", "problems.contract") else set()
        assert not {other, imported, *behind} & unknown, f"{module} knows nothing of {imported}"


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {module: own_imports(tree) - {module} for module, tree in modules().items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the circle


def test_private_names_stay_in_their_file() -> None:
    for module, tree in modules().items():
        for name in imports(tree):
            last = name.rpartition(".")[2]
            if name.startswith("gradclip_cli."):
                assert not last.startswith("_") or last.startswith("__"), f"{module} imports {name}"


def test_only_engines_and_recorders_import_a_framework() -> None:
    for module, tree in modules().items():
        imported = {name.split(".")[0] for name in imports(tree)} & IMPORTED_OF_FRAMEWORKS
        network = re.fullmatch(rf"problems\.(article_|own\.)({'|'.join(FRAMEWORKS)})(_losses|_metrics)?", module)
        allowed = room_of(module) in ("engines", "recorder") and module != "recorder.recording"
        assert not imported or allowed or network, f"{module} imports {imported}"


def test_each_framework_has_its_two_files() -> None:
    words, engines = (
        {module.removeprefix(f"{room}.") for module in modules() if module.startswith(f"{room}.")}
        for room in ("config.frameworks", "engines")
    )
    assert words == set(FRAMEWORKS)
    assert words <= engines


def test_a_framework_is_named_in_its_own_files_only() -> None:
    """As a key, that is: a text may speak of it."""
    for module, tree in modules().items():
        own = {name for name in FRAMEWORKS if module in (f"config.frameworks.{name}", f"engines.{name}")}
        default = {DEFAULT_FRAMEWORK} if module == "config.frameworks" else set()
        named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & set(FRAMEWORKS)
        if room_of(module) != "recorder":  # which knows Keras's backends by their names
            assert named <= own | default, f"{module} names {named}"


def test_a_metric_is_named_in_its_own_file_only() -> None:
    """But by the article, whose claims are about some; where a column has the same name, that is meant elsewhere."""
    names = set(METRICS) - set(metric_columns(["accuracy"]))
    assert names
    for module, tree in modules().items():
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        named = {name for name in names if any(name in text for text in texts)}
        assert not named or module == "evidence.metrics" or room_of(module) == "article", f"{module} names {named}"


def test_only_options_import_a_way_to_train() -> None:
    """All else knows their contract, `runs.trainers`."""
    importers = {module for module, tree in modules().items() if own_imports(tree) & WAYS}
    assert importers == {"cli.options"}


def numbers(tree: ast.AST) -> list[int]:
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is int]


def test_exit_codes_stand_in_one_list() -> None:
    """`ExitCode` in errors.py: nothing else gives a number to what is called as a code is, nor ends a command with one."""
    names = {"code", "exit_code", *ExitCode.__members__}
    for module, tree in modules().items():
        listed = {each for node in ast.walk(tree) if getattr(node, "name", "") == "ExitCode" for each in ast.walk(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and node not in listed:
                named = {ast.unparse(target).rpartition(".")[2] for target in node.targets}
                assert not named & names or not numbers(node.value), f"{module}: {ast.unparse(node)}"
            elif isinstance(node, ast.Return) and module == "cli":
                assert not numbers(node), f"{module}: {ast.unparse(node)}"


PREPARING = re.compile(r"(loading the dataset|building the model|importing|compiling)\b ?$")


def test_what_is_being_prepared_is_worded_in_one_file() -> None:
    constants = {
        module: [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        for module, tree in modules().items()
    }
    assert [module for module, texts in constants.items() if any(map(PREPARING.match, texts))] == ["runs.one"]


def test_a_dataset_is_named_in_its_own_file_only() -> None:
    """As a key, that is; the default, of which texts once spoke as if there were no other, in no text either."""
    title = DATASETS[DEFAULT_DATASET].title
    for module, tree in modules().items():
        own = {name for name in DATASETS if module == f"config.datasets.{name}"}
        default = {DEFAULT_DATASET} if module == "config.datasets" else set()
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        assert texts & set(DATASETS) <= own | default, f"{module} names a dataset"
        assert DEFAULT_DATASET in own or not any(title in text for text in texts), f"{module} speaks of {title}"


def test_statistics_import_nothing_of_ours() -> None:
    assert own_imports(modules()["evidence.stats"]) <= {"arrays"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["run", "no-such-config"], ["export", "-h"], ["list"], ["schema"]]
)
def test_start_up_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    reads_configs = arguments[0] in ("run", "schema")
    code = (
        "import sys\n"
        f"sys.argv = ['gradclip', *{arguments!r}]\n"
        "from gradclip_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'tensorflow', 'keras', 'torch', 'pandas', 'scipy', 'matplotlib', 'distributed', 'tensorboard', 'bokeh'}\n"
        f"heavy |= set() if {reads_configs} else {{'pydantic'}}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)  # where no runs are read


@pytest.mark.parametrize(
    "arguments", [["list"], ["rm", "none", "--dry-run"], ["schema"], ["show", "--help"], ["export", "--help"]]
)
def test_commands_on_files_import_no_arrays(arguments: list[str], three_arms: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['gradclip', *{arguments!r}]\n"
        "from gradclip_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    code = ended.code\n"
        "assert 'numpy' not in sys.modules\n"
        "assert not code, code\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=three_arms.parent, capture_output=True)


def test_compare_imports_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['gradclip', 'compare', '--results', {str(tmp_path)!r}]\n"
        "from gradclip_cli import plots\n"
        "from gradclip_cli.article import reproduce\n"
        "from gradclip_cli.evidence import report, stats\n"
        "from gradclip_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_what_notebooks_import_is_light_and_no_framework(three_arms: Path) -> None:
    code = (
        "import sys\n"
        "import gradclip_cli\n"
        "assert {'load', 'compare', 'report'} <= {*dir(gradclip_cli)}\n"
        "assert not {'pandas', 'numpy', 'matplotlib', 'click', 'pydantic'} & set(sys.modules)\n"
        "assert gradclip_cli.report\n"  # which brings all that a page is made of
        f"gradclip_cli.compare({str(three_arms)!r}, 'none', 'clipnorm').differences_figure()\n"
        "assert not {'tensorflow', 'keras', 'torch', 'IPython', 'matplotlib.pyplot'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# The shape of functions.

Function = ast.FunctionDef | ast.AsyncFunctionDef
MEDIAN, USUAL, MOST = 4, 15, 40  # lines of a body: half of them, nine in ten, all
PARAMETERS = 6
TWIN = "notebooks/comparing.py"
"""Whose `compare` takes what the command takes: tests/notebooks/test_comparing.py holds the two together."""


@functools.cache
def functions() -> dict[str, Function]:
    """Every function by its place, such as `runs/store.py:120 start`."""
    found = {}
    for path, tree in files().items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                found[f"{path}:{node.lineno} {node.name}"] = node
    return found


def body_lines(function: Function) -> int:
    """The lines from a body's first statement to its last, its docstring apart."""
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return statements[-1].end_lineno - statements[0].lineno + 1 if statements else 0  # type: ignore[operator]


def parameters(function: Function) -> int:
    """How many a caller may give, `self` and `cls` apart."""
    given = function.args
    named = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(named) - (named[:1] in (["self"], ["cls"])) + bool(given.vararg) + bool(given.kwarg)


def is_command(function: Function) -> bool:
    """Whether click calls it: its parameters are the command's options."""
    return any(re.search(r"\b(option|argument|command|group)\b", ast.unparse(each)) for each in function.decorator_list)


def is_twin(place: str, function: Function) -> bool:
    """Whether it is a command's function in Python."""
    return place.startswith(TWIN) and function.name == "compare"


def test_bodies_of_functions_are_short() -> None:
    sizes = {place: body_lines(function) for place, function in functions().items()}
    assert {place: size for place, size in sizes.items() if size > MOST} == {}
    assert statistics.quantiles(sizes.values(), n=10)[-1] <= USUAL
    assert statistics.median(sizes.values()) <= MEDIAN


def test_functions_take_few_parameters() -> None:
    others = {place: each for place, each in functions().items() if not (is_command(each) or is_twin(place, each))}
    counts = {place: parameters(function) for place, function in others.items()}
    assert {place: count for place, count in counts.items() if count > PARAMETERS} == {}


def test_the_formatter_has_the_last_word() -> None:
    assert [path.name for path in PACKAGE.rglob("*.py") if "fmt: skip" in path.read_text()] == []


# The article's own words.

KNOWS_NO_ARTICLE = ("engines", "runs", "evidence", "pages", "notebooks")
ARTICLE = re.compile(r"(?i:lstm|\bgru\b|simple_?rnn|mnist|\b(10|ten) classes|dense/kernel)|\bpublished\b")


def test_rooms_that_serve_any_problem_know_nothing_of_the_articles() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{number} {line.strip()}"
        for room in KNOWS_NO_ARTICLE
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if ARTICLE.search(line)
    ]
    assert found == []
