"""Each command that README and docs/ have typed is one that there is, and runs as it stands there, cut short."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import click
import numpy as np
import pandas
import pytest
from conftest import call, command, import_pytorch
from documented import (
    PAGES,
    READMES,
    ROOT,
    SEEDS,
    Line,
    blocks,
    cut_short,
    mentioned,
    model_folder,
    parted,
    train_arms,
    typed,
    write_sensors,
)
from kept import keep_try

from gradclip_cli.cli import COMMANDS
from gradclip_cli.errors import ExitCode

ELSEWHERE = {"recording"}
"""Pages whose commands show what a training of the page left: tests/test_docs_recording.py trains and shows it."""
TYPED = [path for path in PAGES if typed(path) and path.stem not in ELSEWHERE]
OWN_RUNS = {"ci", "scripts"}
"""Pages whose commands train what they compare; on others runs are there."""
PICKED = {"studies": "question:", "threshold": "grid:"}
"""Which block of YAML on a page is its my.yaml, by what only that has."""
SHORTER = [
    ("seeds: 100-129", "seeds: 100-101"),
    ("replicates: 8", "replicates: 2"),
    ("seeds: 100-114", "seeds: 100-101"),
    ("seeds: 5\nfresh_seeds: 10", "seeds: 1\nfresh_seeds: 2"),
    ("data: {holdout: 10000}", "data: {subset: sample, holdout: 1000}, training: {epochs: 1, steps_per_epoch: 6}"),
    (": none                            #", ": small.yaml #"),
    (": clipvalue\n", ": {config: {extends: small.yaml, clipping: {mode: clipvalue, threshold: 0.5}}}\n"),
    ("{extends: none, optimizer", "{extends: small.yaml, optimizer"),
]
"""What is put in place of what in my.yaml, so that nothing takes long."""
MAY_DIVERGE = (0, 3)


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_is_typed_is_taken(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command's own options, their types and choices; the folders that it names are there."""
    monkeypatch.chdir(tmp_path)
    for line in typed(page):
        for name, *arguments in line.commands:
            assert name in COMMANDS, line.text
            for word in arguments:
                if word.startswith("results/"):
                    (tmp_path / word).mkdir(parents=True, exist_ok=True)
            parse(name, arguments)


def parse(name: str, arguments: list[str]) -> None:
    """Let a command take its arguments, and do nothing; raises click's UsageError for what it doesn't take."""
    with contextlib.suppress(click.exceptions.Exit):  # which is raised for help
        command(name).make_context(name, list(arguments))


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_is_named_in_a_sentence_is_there(page: Path) -> None:
    for name, named in mentioned(page):
        assert name in COMMANDS, name
        assert set(named) <= {option for parameter in command(name).params for option in parameter.opts}, name


def test_what_a_command_does_not_take_is_seen() -> None:
    with pytest.raises(click.UsageError):
        parse("compare", ["none", "--format", "spreadsheet"])
    with pytest.raises(click.UsageError):
        parse("run", ["none", "--seed", "many"])


def test_a_line_is_read_as_a_shell_reads_it() -> None:
    line = parted("cd demo && gradclip run a.yaml 'b c.yaml' || [ $? -eq 3 ]   # gradclip rm x")
    assert line.commands == (("run", "a.yaml", "b c.yaml"),)
    assert line.folder == "demo"
    assert parted("gradclip compare none --json > it.json").commands == (("compare", "none", "--json"),)


def test_the_targets_of_make_that_pages_name_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for page in PAGES:
        lines = "\n".join([*(block for _, block in blocks(page)), *re.findall(r"`(make [^`]*)`", page.read_text())])
        named = " ".join(re.findall(r"^make((?: [a-z-]+)+)(?=  |$)", lines, flags=re.MULTILINE)).split()
        assert set(named) <= targets, page.name
    assert targets >= {"run", "test", "site"}


def test_options_of_dask_that_a_page_names_are_there() -> None:
    workers = pytest.importorskip("distributed.cli.dask_worker", reason="needs gradclip-cli[cluster]")
    lines = [line for _, block in blocks(ROOT / "docs" / "cluster.md") for line in block.splitlines() if "dask worker" in line]
    named = re.findall(r"--[a-z]+", " ".join(lines))
    assert named
    assert set(named) <= {option for parameter in workers.main.params for option in parameter.opts}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_pieces_of_python_are_python(page: Path) -> None:
    for language, block in blocks(page):
        if language == "python":
            compile(block, page.name, "exec")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages assume: a model with its data, configs, and runs of the article's arms."""
    import_pytorch()
    folder = tmp_path_factory.mktemp("prepared")
    model_folder(folder)
    write_sensors(folder)
    train_arms(folder / "results")
    shutil.copytree(folder / "results", folder / "results" / "reproduce")
    shutil.copytree(ROOT / "docs" / "clipping", folder / "docs" / "clipping")
    shutil.copytree(ROOT / "examples" / "temporal_order", folder / "examples" / "temporal_order")
    (folder / "small.yaml").write_text(
        "extends: none\ndata: {subset: sample}\nengine: {jit: false}\ntraining: {epochs: 1, steps_per_epoch: 6}\n"
    )
    return folder


def my_yaml(page: Path) -> str:
    """The page's own example of a study or a sweep, made shorter."""
    [text] = [block for language, block in blocks(page) if language == "yaml" and PICKED[page.stem] in block]
    for long, short in SHORTER:
        text = text.replace(long, short)
    return text


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.usefixtures("engines_built_once")
@pytest.mark.parametrize("page", TYPED, ids=lambda path: path.stem)
def test_what_is_typed_runs(page: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the page's first line to its last, each after the ones before it."""
    folder = shutil.copytree(prepared, tmp_path / "work")
    if page.stem in OWN_RUNS:
        shutil.rmtree(folder / "results")
    if page.stem in PICKED:
        (folder / "my.yaml").write_text(my_yaml(page))
    if page.stem == "scripts":
        write_script(folder, dict(blocks(page)))
    if page.stem == "report":
        for name in ("stability", "when"):
            shutil.copytree(ROOT / "results" / name, folder / "results" / name)
        keep_try(folder / "results" / "mine")
    for line in typed(page):
        run_line(line, folder, monkeypatch)


def write_script(folder: Path, shown: dict[str, str]) -> None:
    """The page's script and its config, and the other one that its text tells of."""
    (folder / "train.py").write_text(shown["python"])
    (folder / "clipped.yaml").write_text(shown["yaml"])
    (folder / "unclipped.yaml").write_text(shown["yaml"].replace("1.0", "inf"))


def run_line(line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / line.folder)
    for words in line.commands:
        shorter = cut_short(words)
        ended = call(*shorter)
        told = f"{line.text}\n{shorter}\n{ended.output}"
        if "--fail-if" in words:  # of runs that were cut short it may hold, or be more than they can tell
            assert ended.exit_code in (0, ExitCode.CONDITION) or "can't be judged" in ended.output, told
        else:
            assert ended.exit_code in (MAY_DIVERGE if words[0] == "run" else (0,)), told


@pytest.mark.slow
@pytest.mark.trains
def test_a_table_of_runs_is_read_as_its_page_reads_it(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shutil.copytree(prepared, tmp_path / "work"))
    assert call("export", "none", "clipvalue", "--csv", "runs.csv").exit_code == 0
    [code] = [block for language, block in blocks(ROOT / "docs" / "export.md") if language == "python"]
    *lines, last = code.strip().splitlines()
    names = {"pandas": pandas}
    exec("\n".join(lines), names)
    assert len(eval(last, names)) == 2 * SEEDS * 12  # two arms, each run of two epochs of six steps


@pytest.mark.slow
@pytest.mark.trains
def test_readmes_recorder_records_a_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keras = pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    [code] = [block for language, block in blocks(ROOT / "README.md") if language == "python"]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    exec(code, {"model": model, "x": np.ones((64, 3)), "y": np.ones((64, 1))})
    assert call("show", "mine").exit_code == 0
