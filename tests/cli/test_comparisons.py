"""`gradclip compare --format`: stdout is a table to paste, and nothing else changes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import call, contents

from gradclip_cli import plots
from gradclip_cli.cli.comparisons import FORMATS
from gradclip_cli.evidence import figures, pasted


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take long, and are about something else."""
    for module, name in ((plots, "comparison_figure"), (figures, "pairs_figure"), (plots, "save")):
        monkeypatch.setattr(module, name, lambda *given: None)


def compared(results: Path, out: Path, *arguments: str) -> tuple[str, str, dict[str, bytes]]:
    """What `compare` says on stdout and on stderr, and the texts that it writes."""
    ended = call("compare", "none", "clipnorm", "--results", str(results), "--out", str(out), *arguments)
    assert ended.exit_code == 0, ended.output
    return ended.stdout, ended.stderr, contents(out, "*.csv", "*.json", "*.md")


def test_a_format_changes_what_is_printed_and_nothing_that_is_written(three_arms: Path, tmp_path: Path) -> None:
    assert set(FORMATS) == set(pasted.FORMATS)
    usual, _, files = compared(three_arms, tmp_path)
    for form, beginning in (("latex", r"\begin{table}"), ("markdown", "| arm |"), ("csv", "arm,seeds,")):
        stdout, stderr, written = compared(three_arms, tmp_path, "--format", form)
        assert stdout.startswith(beginning)
        assert len(stdout.splitlines()) == {"latex": 12, "markdown": 4, "csv": 3}[form]
        assert written == files
        sentence = json.loads(files["comparison.json"])["arms"][1]["against_baseline"]["sentence"]
        assert sentence in usual.replace("\n", " ")
        assert sentence in stderr
        assert "As scored: " in stderr


def test_quiet_prints_the_table_alone(three_arms: Path, tmp_path: Path) -> None:
    stdout, stderr, _ = compared(three_arms, tmp_path, "-q", "--format", "csv")
    assert stderr == ""
    assert pd.read_csv(io.StringIO(stdout))["arm"].tolist() == ["none", "clipnorm"]


@pytest.mark.parametrize("form", FORMATS)
def test_json_and_a_format_are_refused_together(three_arms: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    ended = call("compare", "--json", "--format", form, "--results", str(three_arms), "--out", str(out))
    assert ended.exit_code == 2
    assert json.loads(ended.stdout)["error"]["message"].startswith("--format and --json are both")
    assert not out.exists()
