"""`gradclip report`: what is named decides which page is written, and an error says what can be named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import Result
from conftest import call, contents, store_run
from kept import draw_nothing, keep_study, keep_sweep, keep_try

from gradclip_cli import plots
from gradclip_cli.evidence import ledger
from gradclip_cli.pages import interactive


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "is_installed", lambda: False)
    monkeypatch.setattr(plots, "save_to", draw_nothing)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with arms, and in it those of a sweep, a study and a try: to be read only."""
    results = tmp_path_factory.mktemp("kept") / "results"
    for seed in range(2):
        store_run(results, "none", seed, [2.0, 1.5, 1.0 + 0.1 * seed])
    store_run(results, "clipvalue", 0, [2.0, 1.4, 0.9], base="clipvalue")
    keep_sweep(results / "swept")
    keep_study(results / "studied")
    keep_try(results / "tried")
    return results


@pytest.fixture
def kept(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


def report(*arguments: str, results: Path) -> Result:
    return call("report", *arguments, "--results", str(results))


@pytest.mark.parametrize("named", ["none/seed-1", "none:1", "folder"])
def test_one_run_is_named_as_show_takes_it(named: str, kept: Path) -> None:
    ended = report(str(kept / "none" / "seed-1") if named == "folder" else named, results=kept)
    path = kept / "compare" / "none@seed-1" / "report.html"
    assert (ended.exit_code, ended.stderr) == (0, f"wrote {path}\n")
    assert ended.stdout.startswith("This run is complete. Its gradients: healthy.\nClipping: none")
    assert "<h1>none, seed 1</h1>" in path.read_text()
    assert ledger.read_ledger(kept)[0].looks == ()  # looking at one run compares nothing


def test_an_arm_with_one_run_is_that_run_unless_a_comparison_is_asked_for(kept: Path, tmp_path: Path) -> None:
    assert "This run is complete" in report("clipvalue", results=kept).stdout
    ended = report("clipvalue", "--metric", "loss", "--output", str(tmp_path / "a.html"), results=kept)
    assert ended.stdout == "There is one arm only, clipvalue, so nothing is compared.\n"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("swept", "Best of the grid: clipnorm 1 at learning rate 10"),
        ("studied", "Each rule against none: helps in 1 of 3 cells"),
        ("tried", "Clipping helps here, clipnorm-1.0 typically by 20.0 points. To paste: keras.optimizers.SGD(0.01, clipnorm=1)"),
    ],
)
def test_a_folder_is_told_as_a_whole_however_it_is_named(name: str, told: str, kept: Path) -> None:
    first = report(str(kept / name), results=kept)
    assert (first.exit_code, first.stderr) == (0, f"wrote {kept / name / 'report.html'}\n")
    assert told in first.stdout
    before = contents(kept)
    second = call("report", "--results", str(kept / name))
    assert (second.exit_code, second.stdout) == (0, first.stdout)
    assert contents(kept) == before
    looked_at = kept / name / "best" if name == "swept" else kept / name
    assert ledger.read_ledger(looked_at)[0].looks  # as the command's own report is one


def test_arms_in_a_studys_folder_are_compared(kept: Path) -> None:
    ended = report("helped.none", "helped.clipnorm", results=kept / "studied")
    assert "helped.clipnorm helps here" in ended.stdout


def test_a_name_within_the_results_is_a_folder_there(kept: Path) -> None:
    assert "Best of the grid" in report("swept", results=kept).stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "No runs of nothing in"),
        (["none/seed-9"], "none has no seed 9 in"),
        (["none/seed-0", "clipvalue"], "none/seed-0 is one run, and its page is of it alone: gradclip report none/seed-0"),
        (["swept", "none"], "swept is a folder, and its page is of it alone: gradclip report swept"),
    ],
)
def test_what_cannot_be_named_is_told_with_what_can(arguments: list[str], told: str, kept: Path) -> None:
    ended = report(*arguments, results=kept)
    assert ended.exit_code == 1
    assert told in ended.stderr
    assert ended.stderr.count("Name arms that are compared") == ("seed 9" not in told)


def test_what_is_planned_and_not_reported_yet_is_told(kept: Path) -> None:
    (kept / "swept" / "sweep.json").unlink()
    ended = report("swept", results=kept)
    assert ended.exit_code == 1
    assert "a sweep was planned here and is not reported yet. Give gradclip sweep again" in ended.stderr
    arms = ["none+optimizer.learning_rate=0.1", "clipnorm-1+optimizer.learning_rate=0.1"]
    assert report(*arms, results=kept / "swept").exit_code == 0


def test_a_studys_file_is_for_a_studys_folder(kept: Path) -> None:
    file = kept / "studied.yaml"
    file.rename(kept / "moved.yaml")
    assert "name it with --study FILE" in report("studied", results=kept).stderr
    assert report("studied", "--study", str(kept / "moved.yaml"), results=kept).exit_code == 0
    ended = report("none", "--study", str(kept / "moved.yaml"), results=kept)
    assert (ended.exit_code, "give the folder of its runs too" in ended.stderr) == (2, True)
