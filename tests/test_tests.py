"""The tests themselves: what is skipped, and which command runs what."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
WITHOUT_PYTORCH = """\
import importlib.util, sys
import pytest

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *others: None if name == "torch" else find_spec(name, *others)
sys.modules["torch"] = None
sys.exit(pytest.main(["-q", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist", *sys.argv[1:]]))
"""
NEEDS_PYTORCH = """\
from conftest import import_pytorch, needs_pytorch

@needs_pytorch
def test_marked():
    import torch

def test_itself():
    import_pytorch()
"""


@pytest.mark.parametrize(("ci", "outcome"), [("", "2 skipped"), ("true", "2 failed")])
def test_a_missing_pytorch_skips_its_tests_but_fails_them_where_ci_is_set(ci: str, outcome: str, tmp_path: Path) -> None:
    """A hosted check that skips them unseen would be green for years."""
    (tmp_path / "test_it.py").write_text(NEEDS_PYTORCH)
    paths = os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "tests")))
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYTORCH, str(tmp_path)],
        env={**os.environ, "CI": ci, "PYTHONPATH": paths},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in ended.stdout, ended.stdout
    assert ("PyTorch is not installed (make install-pytorch)" in ended.stdout) == (ci != "true")


@pytest.mark.slow
def test_without_a_browser_the_summary_says_so(tmp_path: Path) -> None:
    browser = CHECKOUT / "tests" / "pages" / "test_browser.py"
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", str(browser)]
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    ended = subprocess.run(run, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    summary = ended.stdout.partition("short test summary info")[2]
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "NO BROWSER TEST RUNS: there is no Chromium with its driver" in summary
    assert " passed" not in summary


def recipe(target: str) -> str:
    """The commands of a target of the Makefile."""
    return (re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (CHECKOUT / "Makefile").read_text(), flags=re.MULTILINE) or [""] * 2)[1]


def test_each_test_is_run_by_one_of_the_commands() -> None:
    """`make test` and `make test-all`'s own part leave nothing out between them but what `make test-endurance` runs."""
    parts = {target: re.findall(r"-m '(.+)'", recipe(target)) for target in ("test", "test-all", "test-endurance")}
    assert parts == {
        "test": ["not slow and not endurance"],
        "test-all": ["slow and not endurance"],
        "test-endurance": ["endurance"],
    }
    ci = (CHECKOUT / ".ci" / "run").read_text().splitlines()[-1].split()
    assert ci == ["make", "install-all", "test", "test-all", "check"]
    hosted = (CHECKOUT / ".github" / "workflows" / "ci.yml").read_text()
    assert re.findall(r"run: make ([a-z -]+?) *(?:#|$)", hosted, flags=re.MULTILINE) == ["install-all", "test test-all check"]
