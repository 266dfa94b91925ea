"""Streams that are closed, full, deserted, or unable to show a letter: nothing is lost, and scripts are told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ARTICLE, PRIMARY, slowly, store_run
from terminal import in_terminal


def shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A shell's redirections, with `gradclip` as a word."""
    script = f'set -o pipefail; gradclip() {{ "{sys.executable}" -m gradclip_cli "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", script], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["list", "list --json", "--help", "schema", "run none --results new --dry-run"])
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_results_that_can_t_be_written_are_an_error(command: str, redirection: str, three_arms: Path) -> None:
    ended = shell(f"gradclip {command} {redirection}", three_arms.parent)
    assert ended.returncode == 1
    assert "error: stdout: can't be written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("redirection", [*slowly("2>/dev/full", "2>&-", "<&-"), "2>&- <&-"])
def test_a_command_needs_neither_stderr_nor_stdin(redirection: str, three_arms: Path, tmp_path: Path) -> None:
    ended = shell(f"gradclip compare none clipnorm --out {tmp_path} {redirection}", three_arms.parent)
    assert ended.returncode == 0
    assert "clipnorm raised test accuracy" in ended.stdout
    assert json.loads((tmp_path / "comparison.json").read_text())["schema"]


def test_an_error_s_code_is_the_same_without_stderr(three_arms: Path) -> None:
    for redirection in ("2>/dev/full", "2>&-"):
        assert shell(f"gradclip show nothing {redirection}", three_arms.parent).returncode == 1
        assert shell(f"gradclip show --nothing {redirection}", three_arms.parent).returncode == 2


def test_a_reader_that_has_gone_ends_the_command_as_it_ends_coreutils_(three_arms: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    for seed in range(3):
        store_run(results, "x" * 200, seed, [1.0])
    for command in ("schema", f"list --results {results}"):
        ended = shell(f"gradclip {command} | sleep 0", three_arms.parent)
        assert ended.returncode in (0, 141)
        assert ended.stderr == ""
    ended = shell("(sleep 0.1; gradclip schema) | true", three_arms.parent)
    assert ended.returncode == 141
    assert ended.stderr == ""


def test_rm_without_an_answer_removes_nothing_and_says_what_to_do(three_arms: Path) -> None:
    for redirection in ("</dev/null", "<&-"):
        ended = shell(f"gradclip rm none {redirection}", three_arms.parent)
        assert ended.returncode == 1
        assert "nothing was removed" in ended.stderr.lower()
        assert "--yes" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert len(list((three_arms / "none").iterdir())) == 6


@pytest.mark.parametrize("encoding", ["ascii", *slowly("ascii:strict", "latin-1")])
def test_a_terminal_without_unicode_gets_readable_signs(encoding: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gradclip_cli", "compare", *PRIMARY, "--results", str(ARTICLE), "--out", str(tmp_path)],
        env={**os.environ, "PYTHONIOENCODING": encoding, "LANG": "C", "LC_ALL": "C"}, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    shown = ended.stdout.decode(encoding.partition(":")[0])
    assert "[-0.3, 1.3]" in shown
    assert ("+-0.111" if "ascii" in encoding else "±0.111") in shown
    assert "\\u" not in shown


@pytest.mark.parametrize("command", ["list", *slowly("compare")])
def test_a_real_terminal_without_unicode_gets_them_too(command: str, tmp_path: Path) -> None:
    arguments = ["compare", *PRIMARY, "--out", str(tmp_path)] if command == "compare" else ["list"]
    code, shown = in_terminal(*arguments, "--results", str(ARTICLE), PYTHONIOENCODING="ascii", width=120)
    assert code == 0
    assert shown.isascii()


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, *slowly({"TERM": "dumb"})])
def test_without_colours_nothing_is_coloured(environment: dict[str, str], three_arms: Path, tmp_path: Path) -> None:
    for arguments in (["show", "none", "--out", str(tmp_path)], ["show", "nothing"], ["show", "--nothing"]):
        _, shown = in_terminal(*arguments, "--results", str(three_arms), **environment)
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)


@pytest.mark.parametrize("command", ["list", *slowly("show")])
def test_what_knows_no_escapes_gets_none(command: str, three_arms: Path, tmp_path: Path) -> None:
    arguments = ["show", "none", "--out", str(tmp_path)] if command == "show" else ["list"]
    assert "\x1b" not in in_terminal(*arguments, "--results", str(three_arms), TERM="dumb")[1]
