"""Pages of one run, a sweep, a study and a try: they say what the reports say, and all that comes from outside is text."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from conftest import store_run
from kept import HOSTILE, THREE_AXES, draw_nothing, keep_recording, keep_study, keep_sweep, keep_try
from test_elements import Read

from gradclip_cli import plots
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import inspection
from gradclip_cli.evidence.blocks import Heading, Paragraph, Points, Table
from gradclip_cli.experiments import stored_study, stored_sweep, study_report, sweep_report
from gradclip_cli.pages import interactive, live_panels, one_run, study, sweep, trial
from gradclip_cli.runs.store import RunDirectory

ROOT = Path(__file__).parents[2]
RENDER = plots.save_to


@pytest.fixture(scope="module", autouse=True)
def plain() -> Iterator[None]:
    """What Bokeh draws and how pictures look have tests of their own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(interactive, "is_installed", lambda: False)
        patched.setattr(plots, "save_to", draw_nothing)
        yield


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each kind, to be read only."""
    folder = tmp_path_factory.mktemp("kept")
    keep_sweep(folder / "swept")
    keep_sweep(folder / "sliced", THREE_AXES)
    keep_study(folder / "studied")
    keep_try(folder / "tried")
    keep_recording(folder / "results" / "mine" / "seed-0")
    store_run(folder / "results", "clipvalue", 3, [2.0, 1.5, 1.0], base="clipvalue", clipped_steps={"lstm/kernel": 6})
    return folder


MAKERS: Mapping[str, Callable[[Path], str]] = {
    "run": lambda kept: one_run.of(RunDirectory.at(kept / "results" / "clipvalue" / "seed-3")).html(),
    "recorded": lambda kept: one_run.of(RunDirectory.at(kept / "results" / "mine" / "seed-0")).html(),
    "sweep": lambda kept: sweep.of(stored_sweep.read(kept / "swept")).html(),
    "slices": lambda kept: sweep.of(stored_sweep.read(kept / "sliced")).html(),
    "study": lambda kept: study.of(stored_study.read(kept / "studied")).html(),
    "try": lambda kept: trial.of(trial.read(kept / "tried")).html(),
}


@pytest.fixture(scope="module")
def pages(kept: Path) -> dict[str, str]:
    return {kind: make(kept) for kind, make in MAKERS.items()}


def text_of(page: str) -> str:
    return " ".join(Read(page).text.split())


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("kind", MAKERS)
def test_it_is_readable_by_everybody(kind: str, pages: dict[str, str]) -> None:
    read = Read(pages[kind])
    tags = [tag for tag, _ in read.tags]
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert tags.count("table") == tags.count("caption")
    assert all(len(attributes["alt"] or "") > 30 for tag, attributes in read.tags if tag == "img")
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(attributes["href"]).removeprefix("#") for tag, attributes in read.tags if tag == "a"}
    assert links
    assert links <= set(ids)
    assert not {"iframe", "object", "link"} & set(tags)


@pytest.mark.parametrize("kind", ["run", "slices"])
def test_the_same_runs_give_the_same_page(kind: str, pages: dict[str, str], kept: Path) -> None:
    assert MAKERS[kind](kept) == pages[kind]


def test_a_runs_page_says_what_show_says(pages: dict[str, str], kept: Path) -> None:
    text = text_of(pages["run"])
    run = RunDirectory.at(kept / "results" / "clipvalue" / "seed-3")
    inspected = inspection.inspect(run)
    for heading, told in inspection.lines(inspected):
        assert f"{heading}{told}" in text
    assert f"This run is complete. Its gradients: {inspected.diagnosis.message}." in text
    for value in run.metrics()["val_loss"]:
        assert f"{value:.4g}" in text
    assert "lstm/kernel" in text
    assert "50.0%" in text  # of the steps on which that variable was clipped: 6 of 12
    assert "clipvalue 0.5" in text
    assert "What is not known" not in text


def test_a_recorded_runs_page_says_what_is_not_known(pages: dict[str, str]) -> None:
    text = text_of(pages["recorded"])
    for told in (
        "Its data: a recorder sees",
        "Which optimizer trained it.",
        "nothing else was evaluated",
        "Which loss was minimized",
    ):
        assert told in text
    assert "Its seed: nobody named one" not in text


def test_an_unfinished_runs_page_says_how_it_stands_and_shows_its_steps(tmp_path: Path) -> None:
    run = store_run(tmp_path, "none", 0, [2.0, 1.5], status="failed", reason=HOSTILE)
    page = one_run.of(run)
    assert page.answer[0] == f"This run is not finished (failed: {HOSTILE}). Its gradients: healthy."
    read = Read(page.html())
    assert HOSTILE in read.text
    assert not [attributes for tag, attributes in read.tags if "onerror" in attributes]
    assert "Each variable" in read.text
    assert "The epochs in numbers" not in read.text


def test_a_run_without_steps_has_its_epochs_and_what_it_was_called(tmp_path: Path) -> None:
    health = {"word": "spiking", "spikes": 1, "first_spike": None, "first_explosion": None}
    run = store_run(tmp_path, "none", 0, [2.0, 1.5, 1.0], health=health)
    run.steps_path.unlink()
    page = one_run.of(run)
    assert page.answer[0] == "This run is complete. While it trained, its gradients were called spiking."
    assert "The epochs in numbers" in Read(page.html()).text


def test_a_sweeps_cells_are_those_of_its_report(pages: dict[str, str], kept: Path) -> None:
    result, stored = stored_sweep.read(kept / "swept"), json.loads((kept / "swept" / "sweep.json").read_text())
    made = json.loads(sweep_report.to_json(result))
    assert {key: made[key] for key in made if key != "plan"} == {key: stored[key] for key in stored if key != "plan"}
    text = text_of(pages["sweep"])
    for cell in stored["cells"]:
        assert f"{cell['row']} at learning rate {cell['optimizer.learning_rate']}: {100 * cell['holdout_accuracy']:.1f}%" in text
    for sentence in (*stored["sentences"], stored["scope"]):
        assert words(sentence).partition(" Clipping acted")[0] in text
    assert "Best of the grid: clipnorm 1 at learning rate 10, with 60.0% holdout accuracy on average over 2 seeds." in text
    assert text.count("2 of 2 diverged") == 1


def test_a_cell_opens_its_seeds_verdict_and_config(pages: dict[str, str]) -> None:
    cells = re.findall(r'<details class="cell">.*?</div></details>', pages["sweep"], flags=re.DOTALL)
    best = Read(next(cell for cell in cells if "clipnorm 1 at learning rate 10" in cell))
    assert "holdout accuracy (%) of each seed, as scored" in best.text.lower()
    assert "at the best of each row" in best.text
    assert "raised test accuracy" in best.text
    assert "mode: clipnorm" in best.text
    assert len([tag for tag, _ in best.tags if tag == "img"]) == 1


def test_further_axes_make_a_table_each(pages: dict[str, str]) -> None:
    captions = re.findall(r"<caption>(Test accuracy[^<]+)</caption>", pages["slices"])
    assert [caption for caption in captions if "by learning rate" in caption] == [
        "Test accuracy (%) by learning rate, units 5",
        "Test accuracy (%) by learning rate, units 10",
    ]
    assert pages["slices"].count('<td style="background:#') == 8


def test_a_studys_page_has_all_that_its_report_has(pages: dict[str, str], kept: Path) -> None:
    result, text = stored_study.read(kept / "studied"), text_of(pages["study"])
    told = [part for part in study_report.parts(result) if not isinstance(part, Paragraph) or "runs, paired" not in part.text]
    for part in told:
        if isinstance(part, Heading | Paragraph):
            assert words(part.text) in text
        elif isinstance(part, Points):
            assert all(words(sentence) in text for sentence in part.sentences)
        elif isinstance(part, Table):
            assert all(words(cell) in text for row in (part.columns, *part.rows) for cell in row)
    assert HOSTILE in text


def test_a_studys_map_leads_to_what_each_cell_rests_on(pages: dict[str, str], kept: Path) -> None:
    result = stored_study.read(kept / "studied")
    [table] = re.findall(r'<table class="map">.*?</table>', pages["study"], flags=re.DOTALL)
    links = re.findall(r'href="#(test-\d+)"', table)
    assert len(links) == len(result.family("help")) == 3
    assert table.count("not trained") == 1
    for link, tested in zip(links, result.family("help"), strict=True):
        opened = pages["study"].partition(f'<div id="{link}">')[2].partition("</details>")[0]
        shown = Read(opened).text
        assert words(study_report.sentence(tested)) in words(shown)
        differences = tested.against.differences or []
        unit = tested.yardstick.metric.unit
        assert all(unit.shown(each, sign=True) in shown for each in differences)
    assert "successes of helped.clipnorm" in text_of(pages["study"])


@pytest.mark.skipif(not interactive.is_installed(), reason="Bokeh is not installed (make install-all)")
@pytest.mark.parametrize("kind", ["study", "sweep"])
def test_what_live_curves_leave_out_is_said(kind: str, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "is_installed", lambda: True)
    monkeypatch.setattr(live_panels, "MOST_LINES", 1)
    assert "runs: the live curves leave single ones out." in text_of(MAKERS[kind](kept))


def test_a_study_whose_file_moved_is_found_by_naming_it(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept / "studied", tmp_path / "studied")
    with pytest.raises(ReportError, match="no longer where it was; name it with --study FILE"):
        stored_study.read(tmp_path / "studied")
    assert stored_study.read(tmp_path / "studied", kept / "studied.yaml").study.name == "made"
    changed = tmp_path / "changed.yaml"
    changed.write_text((kept / "studied.yaml").read_text() + "\n# other\n")
    with pytest.raises(ReportError, match="is not as it was when the report"):
        stored_study.read(tmp_path / "studied", changed)


def test_a_trys_page_begins_with_what_to_do(pages: dict[str, str]) -> None:
    text = text_of(pages["try"])
    told = "Clipping helps here, clipnorm-1.0 typically by 20.0 points. To paste: keras.optimizers.SGD(0.01, clipnorm=1)"
    assert text.count(told) == 1
    opened = re.findall(r'<details class="copy" open="?"?[^>]*>(.*?)</details>', pages["try"], flags=re.DOTALL)
    assert [Read(each).text for each in opened] == ["As clipnorm-1.0 does itkeras.optimizers.SGD(0.01, clipnorm=1)"]
    assert "What these runs can show of each arm" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tuned", "detectors", "repeatability"])
def test_a_committed_studys_page_is_made_of_its_packed_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "save_to", RENDER)
    page = study.of(stored_study.read(ROOT / "results" / name)).html()
    assert len(page.encode()) < 5_000_000
    text, stored = text_of(page), json.loads((ROOT / "results" / name / "study.json").read_text())
    assert all(words(test["sentence"]) in text for test in stored["tests"])
