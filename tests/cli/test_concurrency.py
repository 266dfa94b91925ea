"""Commands given at once, as real processes: each takes what the other doesn't, and both end well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL, contents, latest, options

from gradclip_cli.runs.store import runs

COMMAND = [sys.executable, "-m", "gradclip_cli", "run", "none", "clipvalue", "--seeds", "3"]
SETTINGS = options(*latest(*SMALL, "training.steps_per_epoch=300"))


@pytest.mark.trains
@pytest.mark.slow
def test_two_equal_commands_share_the_work(tmp_path: Path) -> None:
    def begin(results: Path) -> subprocess.Popen[str]:
        command = [*COMMAND, *SETTINGS, "--results", str(results)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    together, alone = tmp_path / "together", tmp_path / "alone"
    both = [begin(together) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [len(out.splitlines()) for out, _ in said] == [6, 6]
    assert all(line.startswith("complete") for out, _ in said for line in out.splitlines())
    assert begin(alone).wait(timeout=300) == 0
    assert contents(together, "*.csv") == contents(alone, "*.csv")
    starts = [run.metadata().get("resumed") for run in runs(together)]
    assert starts == [None] * 6  # none was trained twice or gone on from
    skipped = [err.count("left as it is") for _, err in said]
    assert sum(skipped) == 6  # each run was trained by one of the two
