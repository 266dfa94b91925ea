"""`gradclip compare` for a paper: `--format` prints a table to paste, `--figure` draws panels; nothing else changes."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from conftest import call, contents, store_run
from matplotlib.figure import Figure

from gradclip_cli import plots
from gradclip_cli.cli.comparisons import FORMATS
from gradclip_cli.evidence import figures, paper, pasted
from gradclip_cli.plots.multiples import MOST


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


def figure(results: Path, folder: Path, *arguments: str) -> Result:
    return call("compare", "--results", str(results), "--out", str(folder / "out"), *arguments)


def test_a_figure_shows_the_metric_that_verdicts_are_about_unless_another_panel_is_named(
    three_arms: Path, tmp_path: Path
) -> None:
    usual, loss = tmp_path / "new" / "usual.svg", tmp_path / "loss.SVG"
    ended = figure(three_arms, tmp_path, "--figure", str(usual))
    assert ended.exit_code == 0, ended.output
    assert f"wrote {usual} (3.5 x " in ended.stderr
    assert "For its caption: Test accuracy" in ended.stderr.replace("\n", " ")
    assert "Test accuracy, share correct" in usual.read_text()
    assert (
        figure(three_arms, tmp_path, "--figure", str(loss), "--panel", "loss", "--width", "89mm", "--format", "csv").exit_code
        == 0
    )
    assert "Training loss, cross-entropy" in loss.read_text()
    assert 'width="252.28' in loss.read_text()


def test_one_figure_in_several_formats_of_several_panels(three_arms: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"two.{form}" for form in ("pdf", "svg", "png")]
    given = [argument for path in files for argument in ("--figure", str(path))]
    ended = figure(
        three_arms, tmp_path, *given, "--panel", "val_loss", "--panel", "grad_norm", "--width", "7in", "--height", "5cm"
    )
    assert ended.exit_code == 0, ended.output
    assert files[0].read_bytes().startswith(b"%PDF")
    assert {"(a)", "(b)", "epoch"} <= set(re.findall(r">([^<]+)</text>", files[1].read_text()))
    assert files[2].read_bytes().startswith(b"\x89PNG")
    assert "(a) Test loss; (b) Gradient norm before clipping" in ended.stderr.replace("\n", " ")


def test_differences_are_a_figure_of_their_own(three_arms: Path, tmp_path: Path) -> None:
    path = tmp_path / "differences.svg"
    assert figure(three_arms, tmp_path, "--figure", str(path), "--panel", "differences").exit_code == 0
    assert "difference in test accuracy from none" in " ".join(re.findall(r">([^<]+)</text>", path.read_text()))
    ended = figure(three_arms, tmp_path, "--figure", str(tmp_path / "no.svg"), "--panel", "differences", "--panel", "loss")
    assert ended.exit_code == 1
    assert "stands in a figure of its own" in ended.stderr


def test_a_figure_is_written_over_one_of_gradclips_and_over_nothing_else(three_arms: Path, tmp_path: Path) -> None:
    draft, ours = tmp_path / "paper.pdf", tmp_path / "loss.pdf"
    draft.write_bytes(b"%PDF-1.5 years of work")
    ended = figure(three_arms, tmp_path, "--figure", str(draft))
    assert ended.exit_code == 1
    assert "no figure of gradclip's; name another file with --figure" in ended.stderr
    assert draft.read_bytes() == b"%PDF-1.5 years of work"
    assert figure(three_arms, tmp_path, "--figure", str(ours), "--panel", "loss").exit_code == 0
    first = ours.read_bytes()
    assert figure(three_arms, tmp_path, "--figure", str(ours), "--panel", "loss").exit_code == 0
    assert ours.read_bytes() == first
    assert figure(three_arms, tmp_path, "--figure", str(ours), "--panel", "accuracy").exit_code == 0
    assert ours.read_bytes() != first


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        (["--figure", "x.svg", "--panel", "val_acuracy"], 1, "There is no panel 'val_acuracy' here; did you mean val_accuracy?"),
        (["--figure", "x.svg", "--panel", "zzz"], 1, "There are: loss, val_loss, accuracy, val_accuracy, grad_norm"),
        (["--figure", "x.svg", "--panel", "loss", "--height", "1.5in", "--panel", "accuracy"], 1, "needs a height of"),
        (["--figure", "x.jpg"], 2, "x.jpg should end in .pdf, .svg or .png"),
        (["--figure", "x.svg", "--width", "3"], 2, "is no length: write a number and in, cm, mm or pt"),
        (["--figure", "x.svg", "--width", "3m"], 2, "is no length"),
        (["--figure", "x.svg", "--width", "1mm"], 2, "a figure is between 1.5in and 40in"),
        (["--width", "3in"], 2, "name its file with --figure"),
        (["--panel", "loss"], 2, "name its file with --figure"),
    ],
)
def test_what_a_figure_cannot_be_is_said_before_anything_is_written(
    three_arms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], code: int, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = figure(three_arms, tmp_path, *given)
    assert ended.exit_code == code
    assert told in " ".join(ended.stderr.split())
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("x.*"))


def test_more_arms_than_a_page_holds_are_refused(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for arm in ("none", *(f"clipnorm-{number}" for number in range(MOST))):
        store_run(results, arm, 0, [2.0, 1.5])
    ended = figure(results, tmp_path, "--figure", str(tmp_path / "x.svg"))
    assert ended.exit_code == 1
    assert f"holds up to {MOST} arms, and these are {MOST + 1}: name fewer." in ended.stderr


def test_one_arm_alone_has_no_differences_and_this_is_said(three_arms: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.svg"
    given = ["--results", str(three_arms), "--out", str(tmp_path / "out"), "--figure", str(path), "--panel", "differences"]
    ended = call("compare", "none", *given)
    assert ended.exit_code == 0, ended.output
    assert "no arm shares a seed with the baseline" in path.read_text()


def test_a_figure_higher_than_a_page_is_warned_of() -> None:
    assert paper.too_tall(Figure(figsize=(3.5, 9))) == ""
    assert paper.too_tall(Figure(figsize=(3.5, 11.2))).startswith("the figure is 12in high, more than a page")
