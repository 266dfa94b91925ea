"""`gradclip init`: what it writes, what it says, and that the example runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import needs_pytorch

from gradclip_cli.cli import COMMANDS, main

FLAGS = {"tensorflow": [], "pytorch": ["--pytorch"]}
each_framework = pytest.mark.parametrize("framework", ["tensorflow", pytest.param("pytorch", marks=needs_pytorch)])


def init(folder: Path, *flags: str) -> None:
    ended = CliRunner().invoke(main, ["init", str(folder), *flags])
    assert ended.exit_code == 0, ended.output


def test_it_tells_the_files_and_what_to_do_next(tmp_path: Path) -> None:
    folder = tmp_path / "my demo"
    ended = CliRunner().invoke(main, ["init", str(folder)])
    assert ended.stdout.splitlines() == [f"wrote {folder / name}" for name in ("README.md", "config.yaml", "model.py")]
    assert ended.stderr == f"next: cd '{folder}' && gradclip try model.py:build\n"


def test_a_second_time_it_is_refused(tmp_path: Path) -> None:
    init(tmp_path)
    ended = CliRunner().invoke(main, ["init", str(tmp_path), "--pytorch"])
    assert ended.exit_code == 1
    assert "model.py: are there already; name another folder" in ended.stderr.replace("\n", " ")
    assert "keras" in (tmp_path / "model.py").read_text()


@pytest.mark.parametrize("framework", FLAGS)
def test_its_readme_names_three_commands_that_there_are(framework: str, tmp_path: Path) -> None:
    init(tmp_path, *FLAGS[framework])
    commands = re.findall(r"^gradclip ([a-z]+)", (tmp_path / "README.md").read_text(), flags=re.MULTILINE)
    assert len(commands) == 3
    assert set(commands) <= set(COMMANDS)


@pytest.mark.trains
@each_framework
def test_its_functions_give_a_model_and_data_that_fit_and_only_training_has_glitches(framework: str, tmp_path: Path) -> None:
    from gradclip_cli import engines
    from gradclip_cli.config import loading
    from gradclip_cli.problems import problem_of

    engines.imported(framework)
    init(tmp_path, *FLAGS[framework])
    config = loading.load(str(tmp_path / "config.yaml"))
    data = problem_of(config).load()
    assert data.samples == config.training.steps_per_epoch * config.data.batch_size
    assert 10 < (abs(data.train_targets) > 15).sum() < 100
    assert abs(data.evaluation_targets).max() < 2
    network = problem_of(config).network(framework, data)
    assert network.chance["val_mean_absolute_error"] < 1


@pytest.mark.slow
@pytest.mark.trains
@each_framework
def test_try_takes_the_example_as_it_stands(framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init(tmp_path, *FLAGS[framework])
    monkeypatch.chdir(tmp_path)
    few = ["--seeds", "1", "--epochs", "1", "--pilot-steps", "20", "--rules", "none,clipnorm=1", "-j", "1"]
    ended = CliRunner().invoke(main, ["try", "model.py:build", *few])
    assert ended.exit_code == 0, ended.output
    assert f"model.py:build on model.py:load, {framework}" in ended.stderr
    assert "No verdict from so few seeds" in ended.stdout
    assert "all together" in ended.stdout  # the pilot's norms, and no rules beside those that were named
    assert "to try" not in ended.stdout
    assert (tmp_path / "results" / "model" / "clipnorm-1.yaml").is_file()
