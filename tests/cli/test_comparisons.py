"""`gradclip compare`: what `--format`, `--figure` and `--fail-if` change and what they do not, and how it ends in a terminal."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from conftest import call, contents, store_run
from made_up import BASE, BETTER, store_arm
from matplotlib.figure import Figure
from terminal import plain

from gradclip_cli import plots
from gradclip_cli.cli.comparisons import FORMATS
from gradclip_cli.cli.console import VERDICT_STYLES
from gradclip_cli.errors import ExitCode
from gradclip_cli.evidence import figures, paper, pasted
from gradclip_cli.evidence.verdicts import Verdict
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
    for form, beginning in (("latex", r"\begin{table*}"), ("markdown", "| arm |"), ("csv", "arm,seeds,")):
        stdout, stderr, written = compared(three_arms, tmp_path, "--format", form)
        assert stdout.startswith(beginning)
        assert len(stdout.splitlines()) == {"latex": 15, "markdown": 4, "csv": 3}[form]
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


def test_a_caption_says_that_other_thresholds_do_not_bound_the_norm_that_is_drawn(tmp_path: Path) -> None:
    for arm, base in (("joint", "global_clipnorm"), ("lengths", "clipnorm"), ("elements", "clipvalue"), ("none", "none")):
        for seed in range(2):
            store_run(
                tmp_path, arm, seed, [2.0, 1.5], settings=[] if base == "none" else [f"clipping={{mode: {base}, threshold: 1}}"]
            )
    ended = figure(tmp_path, tmp_path, "--figure", str(tmp_path / "norms.svg"), "--panel", "grad_norm")
    assert ended.exit_code == 0, ended.output
    dotted = "Dotted: thresholds, which bound each element (elements) or each variable (lengths), not the norm drawn."
    assert dotted in ended.stderr.replace("\n", " ")
    bounded = figure(tmp_path, tmp_path, "joint", "none", "--figure", str(tmp_path / "joint.svg"), "--panel", "grad_norm")
    assert bounded.exit_code == 0, bounded.output
    assert "Dotted" not in bounded.stderr


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


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seeds of an unclipped arm, one that helps, and one that hurts."""
    results = tmp_path_factory.mktemp("judged") / "results"
    store_arm(results, "none", BASE)
    store_arm(results, "clipvalue", BETTER, base="clipvalue")
    store_arm(results, "clipnorm", [loss + 0.2 for loss in BASE], base="clipnorm")
    return results


def failed_if(results: Path, out: Path, *given: str) -> tuple[int, str, str]:
    """The exit code of a comparison with conditions, and what it says on stdout and on stderr."""
    ended = call("compare", "--results", str(results), "--out", str(out), *given)
    return ended.exit_code, ended.stdout, ended.stderr


@pytest.mark.parametrize(
    ("conditions", "code", "said"),
    [
        (["hurts"], ExitCode.CONDITION, ["--fail-if hurts: holds for clipnorm (\N{MINUS SIGN}6.7 points typically)"]),
        (["clipvalue:hurts", "diverged"], ExitCode.DONE, ["clipvalue: hurts: does not hold", "diverged: does not hold"]),
        (
            ["diverged", "val_accuracy<0.5"],
            ExitCode.CONDITION,
            ["diverged: does not", "val_accuracy < 0.5: holds for clipnorm (0.4"],
        ),
        (
            ["hurts", "val_f1 < 1"],
            ExitCode.MISTAKEN,
            ["hurts: holds", "error: --fail-if val_f1 < 1: can't be judged. none has no"],
        ),
    ],
)
def test_conditions_give_the_exit_code_and_all_is_written(
    conditions: list[str], code: ExitCode, said: list[str], judged: Path, tmp_path: Path
) -> None:
    usual_code, usual, _ = failed_if(judged, tmp_path / "usual")
    ended, stdout, stderr = failed_if(judged, tmp_path / "out", *(part for each in conditions for part in ("--fail-if", each)))
    assert (usual_code, ended) == (0, code)
    assert stdout == usual
    assert contents(tmp_path / "out") == contents(tmp_path / "usual")
    told = [line for line in stderr.splitlines() if "--fail-if" in line]
    assert len(told) == len(conditions)
    for line, words in zip(told, said, strict=True):
        assert words in line


def test_what_holds_is_told_even_where_all_is_to_be_quiet(judged: Path, tmp_path: Path) -> None:
    code, _, stderr = failed_if(judged, tmp_path, "-q", "--fail-if", "hurts", "--fail-if", "diverged")
    assert code == ExitCode.CONDITION
    assert [line.partition(":")[0] for line in stderr.splitlines()] == ["--fail-if hurts"]


def test_in_json_conditions_stand_beside_the_comparison(judged: Path, tmp_path: Path) -> None:
    code, stdout, _ = failed_if(judged, tmp_path, "--json", "--fail-if", "hurts", "--fail-if", "diverged")
    content = json.loads(stdout)
    held_by = ["clipnorm (\N{MINUS SIGN}6.7 points typically)"]
    assert code == ExitCode.CONDITION
    assert content.pop("fail_if") == [
        {"condition": "hurts", "holds": True, "held_by": held_by, "unknown": []},
        {"condition": "diverged", "holds": False, "held_by": [], "unknown": []},
    ]
    assert content == json.loads((tmp_path / "comparison.json").read_text())
    _, stdout, _ = failed_if(judged, tmp_path, "--json")
    assert stdout == (tmp_path / "comparison.json").read_text()


def test_in_json_too_what_can_not_be_judged_is_one_object(judged: Path, tmp_path: Path) -> None:
    code, stdout, _ = failed_if(judged, tmp_path, "--json", "--fail-if", "val_f1<1")
    content = json.loads(stdout)
    assert (code, content["error"]["kind"], content["error"]["exit_code"]) == (2, "condition", 2)
    assert content["fail_if"][0]["holds"] is None
    assert content["arms"][0]["arm"] == "none"


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_is_as_it_is_without_conditions(judged: Path, tmp_path: Path, form: str) -> None:
    _, usual, _ = failed_if(judged, tmp_path, "--format", form)
    assert failed_if(judged, tmp_path, "--format", form, "--fail-if", "hurts")[:2] == (ExitCode.CONDITION, usual)


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("hurst", "did you mean hurts?"),
        ("clipvalu:hurts", "did you mean 'clipvalue'?"),
        ("val_accuracy<", "such as 'val_accuracy < 0.6'"),
    ],
)
def test_a_mistyped_condition_stops_before_anything_is_written(condition: str, told: str, judged: Path, tmp_path: Path) -> None:
    code, stdout, stderr = failed_if(judged, tmp_path / "out", "--fail-if", condition)
    assert (code, stdout) == (ExitCode.MISTAKEN, "")
    assert told in stderr
    assert not (tmp_path / "out").exists()


LAST = "clipvalue helps; clipnorm hurts. 24 runs, all complete."
GREEN, RED = "\x1b[1;32mhelps\x1b[0m", "\x1b[1;31mhurts\x1b[0m"


def test_every_verdict_has_a_style() -> None:
    assert set(Verdict) < set(VERDICT_STYLES)


def test_a_terminal_has_verdicts_in_colour_and_ends_with_a_line_that_sums_up(
    judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    _, shown, _ = failed_if(judged, tmp_path)
    assert shown.count(GREEN) == shown.count(RED) == 2  # in the table and in the last line
    assert plain(shown).splitlines()[-1] == LAST
    monkeypatch.setenv("NO_COLOR", "1")
    _, without, _ = failed_if(judged, tmp_path)
    assert plain(without) == plain(shown)
    assert "\x1b[1mhelps\x1b[0m" in without


def test_a_pipe_has_the_same_line_and_no_colour(judged: Path, tmp_path: Path) -> None:
    _, stdout, _ = failed_if(judged, tmp_path)
    assert stdout.splitlines()[-1] == LAST
    assert "\x1b" not in stdout
