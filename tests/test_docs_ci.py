"""docs/ci.md: its workflow is one, and what it has typed does what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import call

from gradclip_cli import __version__
from gradclip_cli.config.bars import SIGNS
from gradclip_cli.errors import ExitCode
from gradclip_cli.evidence.conditions import WORDS

CHECKOUT = Path(__file__).parent.parent
PAGE = (CHECKOUT / "docs" / "ci.md").read_text()
CLIPPED, WORKFLOW = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


def steps() -> list[dict[str, Any]]:
    """The steps of the page's workflow."""
    [job] = yaml.safe_load(WORKFLOW)["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


def typed(command: str = "") -> list[str]:
    """What the workflow has typed of gradclip, in its order; of one of its commands only."""
    return [step["run"] for step in steps() if step.get("run", "").startswith(f"gradclip {command}")]


def used(action: str) -> list[dict[str, Any]]:
    """The settings of an action's steps."""
    return [step["with"] for step in steps() if step.get("uses", "").partition("@")[0] == action]


def test_each_step_does_one_thing_and_judging_comes_last() -> None:
    assert yaml.safe_load(WORKFLOW)["env"]["GRADCLIP_CACHE"].endswith("/cache")
    assert all(("run" in step) != ("uses" in step) for step in steps())
    assert [line.split()[1] for line in typed()] == ["check", "run", "report", "compare"]
    after = [step for step in steps() if step.get("if") == "always()"]
    assert steps()[-2:] == after


def test_what_is_kept_is_what_is_brought_back_and_the_page_is_uploaded() -> None:
    [restored], [saved], [venv] = used("actions/cache/restore"), used("actions/cache/save"), used("actions/cache")
    assert restored["path"] == saved["path"]
    assert restored["path"].split() == ["results", "cache"]
    assert restored["key"] == saved["key"]
    assert restored["key"].startswith(restored["restore-keys"])
    assert venv["path"] == ".venv"
    [uploaded] = used("actions/upload-artifact")
    assert typed("report")[0].endswith(f"--output {uploaded['path']}")


def test_the_version_is_this_one() -> None:
    assert f"\ngradclip-cli[report]=={__version__}\n" in PAGE


def test_every_condition_and_the_exit_codes_are_told() -> None:
    table = PAGE.partition("| condition | holds of an arm |")[2].partition("\n\n")[0]
    for known in (*WORDS, *SIGNS):
        assert f"`{known}`" in table
    assert f"exit code {ExitCode.CONDITION:d}" in PAGE
    assert f"exit code {ExitCode.MISTAKEN:d}" in PAGE
    assert f"[ $? -eq {ExitCode.DIVERGED:d} ]" in typed("run")[0]


@pytest.mark.slow
@pytest.mark.trains
def test_its_commands_judge_a_small_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("init", ".").exit_code == 0
    config, number = re.subn(
        r"^training: .*", "training: {epochs: 1, steps_per_epoch: 40}", Path("config.yaml").read_text(), flags=re.M
    )
    assert number == 1
    Path("config.yaml").write_text(f"{config}engine: {{jit: false}}\n")
    Path("clipped.yaml").write_text(CLIPPED)
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "gradclip").write_text(f'#!/bin/sh\nexec {sys.executable} -m gradclip_cli "$@"\n')
    (commands / "gradclip").chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}

    def ended(line: str) -> subprocess.CompletedProcess[str]:
        shell = ["bash", "-e", "-o", "pipefail", "-c", line.replace("--seeds 8", "--seeds 6")]
        return subprocess.run(shell, env=environment, capture_output=True, text=True, check=False)

    for line in typed():
        done = ended(line)
        assert done.returncode == 0, done.stderr
    assert Path("report.html").is_file()
    assert done.stderr.count("does not hold") == 3
    [judging] = typed("compare")
    failed = ended(judging.replace(">0.5", ">0.0001"))
    assert failed.returncode == ExitCode.CONDITION
    assert "--fail-if clipped: val_mean_absolute_error > 0.0001: holds for clipped (0." in failed.stderr
