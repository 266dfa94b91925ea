"""A stored run looked at closely: the same diagnosis as live, sentences in order, the picture's bins, and broken files told."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import FACTS, call, options, store_run

from gradclip_cli.config import loading
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence import inspection
from gradclip_cli.evidence.inspection import inspect
from gradclip_cli.runs.csv_files import rows_and_sha256
from gradclip_cli.runs.steps import step_columns
from gradclip_cli.runs.store import RunDirectory

VARIABLES = ("simple_rnn/kernel", "dense/kernel")
NAN, INF = math.nan, math.inf


def store_steps(
    results: Path,
    norms: Any,
    losses: Sequence[float] | None = None,
    *,
    applied: Sequence[float] | None = None,
    clipped: Sequence[bool] | None = None,
    update: Sequence[float] | None = None,
    variables: Sequence[str] = VARIABLES,
    settings: Sequence[str] = (),
    base: str = "none",
    **changes: Any,
) -> RunDirectory:
    """Store a run of made-up steps, (S, V) norms, through the real store."""
    norm = np.asarray(norms, float)
    joint = np.linalg.norm(norm, axis=1)
    columns = (
        np.full(len(norm), 2.0) if losses is None else losses,
        joint,
        joint if applied is None else applied,
        np.zeros(len(norm), bool) if clipped is None else clipped,
        0.01 * joint if update is None else update,
    )
    directory = RunDirectory.of(results, "arm", 3)
    with directory.locked():
        directory.start(loading.load(base, ["name=arm", "training.seed=3", *settings]), variables, {})
        directory.append_steps(
            [step, float(loss), 0.0, 8, float(total), float(used), int(cut), *row, *row, *row, *row, float(added)]
            for step, (loss, total, used, cut, added, row) in enumerate(zip(*columns, norm.tolist(), strict=True), 1)
        )
        ended = {"seed": 3, "status": "complete", "epochs": 0, "steps": len(norm)}
        directory.write_metadata({**FACTS, **ended, **changes})
    return directory


def diverged(step: int) -> dict[str, Any]:
    return {"status": "diverged", "diverged": {"step": step, "told": f"loss not finite at step {step} (epoch 1)"}}


def told(run: RunDirectory) -> dict[str, str]:
    """The sentences by their headings, events joined."""
    sentences: dict[str, str] = {}
    heading = ""
    for new, sentence in inspection.lines(inspect(run)):
        heading = new or heading
        sentences[heading] = f"{sentences[heading]}\n{sentence}" if heading in sentences else sentence
    return sentences


def explosion() -> list[list[float]]:
    """Thirty steps of norm 1, a spike, two steps of norm 2, an explosion, an overflow in the second variable."""
    return [[0.6, 0.8]] * 30 + [[30.0, 40.0]] + [[1.2, 1.6]] * 2 + [[3e8, 4e8], [1.0, INF], [NAN, NAN]]


# Sentences.


def test_a_diverged_run_is_told_in_order(results: Path) -> None:
    run = store_steps(results, explosion(), [2.0] * 35 + [NAN], **diverged(36))
    sentences = told(run)
    assert list(sentences) == ["norm", "spikes", "clipping", "leading", "vanishing", "events", "diagnosis"]
    assert sentences["norm"].startswith("median 1, 99th percentile ")
    assert sentences["norm"].endswith("largest 5e+08 (step 34), of 36 steps, before clipping")
    expected = (
        "4 steps above 10 times the running median: step 31 (50x), step 34 (5e+08x), step 35 (not finite), step 36 (not finite)"
    )
    assert sentences["spikes"] == expected
    assert sentences["leading"] == "dense/kernel contributes most: 64% of the squared norm on average"
    assert sentences["clipping"] == "none: every gradient was used whole; on 2 steps the gradient was not finite"
    assert sentences["events"].splitlines() == [
        "step 31: first spike, norm 50, 50x the running median, most in dense/kernel",
        "step 33: last sane norm, 2",
        "step 34: first explosion (above 1,000 times), norm 5e+08, 5e+08x the running median, most in dense/kernel",
        "step 35: first gradients not finite, in dense/kernel",
        "step 36: diverged: loss not finite at step 36 (epoch 1)",
    ]
    assert sentences["diagnosis"] == "diverged"


def test_a_run_that_diverges_without_warning_is_told_too(results: Path) -> None:
    sentences = told(store_steps(results, [[1, 1], [1, 1], [1, NAN]], **diverged(3)))
    assert sentences["events"].splitlines() == [
        "step 2: last sane norm, 1.41",
        "step 3: first spike, not finite, in dense/kernel",
        "step 3: first gradients not finite, in dense/kernel",
        "step 3: diverged: loss not finite at step 3 (epoch 1)",
    ]
    assert sentences["vanishing"] == "can't be told from so few finite steps"


def test_a_run_of_nothing_finite(results: Path) -> None:
    sentences = told(store_steps(results, [[NAN, INF]], [NAN], **diverged(1)))
    assert sentences["norm"] == "not finite on any step"
    assert sentences["leading"] == "no variable: no finite norm above zero"
    assert "last sane" not in sentences["events"]


def test_a_healthy_run_has_no_events(results: Path) -> None:
    sentences = told(store_steps(results, [[3.0, 4.0]] * 1200, np.linspace(2, 1, 1200).tolist()))
    assert sentences == {
        "norm": "median 5, 99th percentile 5, largest 5 (step 1), of 1,200 steps, before clipping",
        "spikes": "none: no step above 10 times the running median",
        "clipping": "none: every gradient was used whole; all gradients were finite",
        "leading": "dense/kernel contributes most: 64% of the squared norm on average",
        "vanishing": "no signs: norms end at 1 times what they began with; "
        "the first layer's norm ends at 0.75 times the last layer's; the loss changed by -47%",
        "diagnosis": "healthy",
    }


def test_a_vanishing_run_shows_its_signs(results: Path) -> None:
    sentences = told(store_steps(results, np.outer(np.geomspace(1, 1e-4, 300), [1e-6, 1.0])))
    assert sentences["diagnosis"] == "vanishing"
    assert sentences["vanishing"].startswith("signs of it: norms end at 0.0001")
    assert sentences["vanishing"].endswith("1e-06 times the last layer's; the loss changed by +0%")


def test_signs_of_vanishing_are_told_beside_another_word(results: Path) -> None:
    sentences = told(store_steps(results, [[1.0, 1.0]] * 30 + [[1e6, 1e6]] + [[0.0, 0.0]] * 300))
    assert sentences["diagnosis"] == "exploding"
    assert sentences["vanishing"] == "signs of it: norms end at 0 times what they began with; the loss changed by +0%"


def test_many_spikes_are_counted_and_the_first_named(results: Path) -> None:
    norms = [[100.0, 0] if step > 20 and not step % 10 else [1.0, 0] for step in range(1, 101)]
    assert told(store_steps(results, norms))["spikes"] == (
        "8 steps above 10 times the running median: "
        "step 30 (100x), step 40 (100x), step 50 (100x), step 60 (100x), step 70 (100x) and 3 more"
    )


@pytest.mark.parametrize(
    ("steps", "clipped", "applied", "expected"),
    [
        (4, 2, 0.5, "acted on 50% of the steps and cut 75% off the norm there on average (quartiles 75%, 75%, 75%)"),
        (2500, 1, 1.0, "acted on 0.04% of the steps and cut 50% off the norm there on average (quartiles 50%, 50%, 50%)"),
        (2500, 2499, 1.0, "acted on >99.9% of the steps and cut 50% off the norm there on average (quartiles 50%, 50%, 50%)"),
        (4, 4, 1.0, "acted on 100% of the steps and cut 50% off the norm there on average (quartiles 50%, 50%, 50%)"),
        (4, 0, 2.0, "acted on no step: the gradient never exceeded the rule's bound"),
    ],
)
def test_clipping_is_told_in_shares(steps: int, clipped: int, applied: float, expected: str, results: Path) -> None:
    run = store_steps(
        results, [[2.0, 0]] * steps, applied=[applied] * steps, clipped=[step < clipped for step in range(steps)], base="clipnorm"
    )
    assert told(run)["clipping"] == f"{expected}; all gradients were finite"


def test_of_a_run_that_recorded_some_steps_the_words_say_so(results: Path) -> None:
    run = store_steps(results, [[2.0, 0]] * 4, base="clipnorm")
    metadata = run.metadata()
    write_steps_of_one_in(3, run)
    run.write_metadata({**metadata, "every": 3, "steps": 12, "steps_sha256": None})
    sentences = told(run)
    assert sentences["clipping"].startswith("acted on no recorded step: the gradient never exceeded the rule's bound there")
    assert sentences["norm"].endswith("(step 3), of 4 recorded steps, before clipping")


def write_steps_of_one_in(every: int, run: RunDirectory) -> None:
    frame = pd.read_csv(run.steps_path)
    frame["step"] *= every
    frame.to_csv(run.steps_path, index=False)


def test_quartiles_are_of_what_was_cut_off_clipped_steps(results: Path) -> None:
    applied, clipped = [2.0, 1.8, 1.2, 1.0, 0.4, 2.0], [False, True, True, True, True, False]
    health = inspect(store_steps(results, [[2.0, 0]] * 6, applied=applied, clipped=clipped, base="clipnorm")).diagnosis
    cuts = [0.1, 0.4, 0.5, 0.8]
    assert health.cut_quartiles == pytest.approx(np.percentile(cuts, [25, 50, 75]))
    assert (health.cut_share, health.steps_not_finite) == (pytest.approx(np.mean(cuts)), 0)


def test_clipped_steps_of_endless_norm_have_no_share(results: Path) -> None:
    run = store_steps(results, [[INF, 1.0]] * 3, applied=[1.0] * 3, clipped=[True] * 3, base="clipvalue")
    assert told(run)["clipping"] == "acted on 100% of the steps; on 3 steps the gradient was not finite"


# The same live and afterwards.


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ReLU network, unclipped and clipped, trained by the real command."""
    results = tmp_path_factory.mktemp("inspected") / "results"
    short = ["training.epochs=1", "training.steps_per_epoch=120"]
    for base, settings, code in (("explode/none", [], 3), ("explode/clipnorm", short, 0)):
        said = options(f"name={base.replace('/', '-')}", "data.subset=sample", "engine.jit=false", *settings)
        ended = call("run", base, *said, "--seeds", "7-7", "--results", str(results))
        assert ended.exit_code == code, ended.output
    return results


@pytest.mark.trains
@pytest.mark.parametrize(("arm", "word"), [("explode-none", "diverged"), ("explode-clipnorm", "spiking")])
def test_what_was_recorded_live_is_what_is_read_afterwards(arm: str, word: str, trained: Path) -> None:
    run = RunDirectory.of(trained, arm, 7)
    live, afterwards = run.metadata()["health"], inspect(run).diagnosis
    assert (live["word"], live["spikes"]) == (afterwards.word, len(afterwards.spikes)) == (word, live["spikes"])
    for name in ("first_spike", "first_explosion"):
        read = getattr(afterwards, name)
        assert (read is None) == (live[name] is None)
        if read and math.isfinite(read.norm):
            assert (read.step, read.variable) == (live[name]["step"], live[name]["variable"])
            assert (read.norm, read.multiple) == pytest.approx((live[name]["norm"], live[name]["multiple"]), rel=2e-5)


@pytest.mark.trains
def test_a_real_divergence_is_told_in_order(trained: Path) -> None:
    run = RunDirectory.of(trained, "explode-none", 7)
    events = told(run)["events"].splitlines()
    steps = [int(event.split(":")[0].removeprefix("step ")) for event in events]
    assert steps == sorted(steps)
    assert steps[-1] == run.metadata()["steps"]
    assert events[-1].endswith(run.metadata()["diverged"]["told"])
    assert any("last sane norm" in event for event in events)


@pytest.mark.trains
def test_pieces_of_any_size_give_the_same(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory.of(trained, "explode-clipnorm", 7)
    whole = inspect(run)
    monkeypatch.setattr(inspection, "ROWS", 7)
    again = inspect(run)
    assert repr(again.diagnosis) == repr(whole.diagnosis)
    pd.testing.assert_frame_equal(again.bins, whole.bins)


# Bins and the picture.


@pytest.mark.parametrize(("steps", "size"), [(1, 1), (999, 1), (1000, 1), (1001, 2), (2500, 3), (12_345, 13)])
def test_bins_hold_medians_and_the_largest(steps: int, size: int, results: Path) -> None:
    generator = np.random.default_rng(steps)
    norms = np.round(generator.random((steps, 2)), 4)
    losses, clipped = np.round(generator.random(steps), 4), generator.random(steps) < 0.3
    trace = inspection.trace(inspect(store_steps(results, norms, losses.tolist(), clipped=clipped.tolist())))
    assert len(trace.steps) == math.ceil(steps / size) <= 1000
    for index in {0, len(trace.steps) // 2, len(trace.steps) - 1}:
        inside = slice(index * size, (index + 1) * size)
        joint = np.linalg.norm(norms[inside], axis=1)
        assert trace.steps[index] == np.arange(1, steps + 1)[inside].mean()
        assert trace.median_norm[index] == pytest.approx(np.median(joint), rel=1e-5)
        assert trace.largest_norm[index] == pytest.approx(joint.max(), rel=1e-5)
        assert trace.variables["dense/kernel"][index] == pytest.approx(norms[inside, 1].mean())
        assert trace.updates
        assert trace.updates.median_norm[index] == pytest.approx(np.median(0.01 * joint), rel=1e-5)
        assert trace.updates.largest_norm[index] == pytest.approx(0.01 * joint.max(), rel=1e-5)
        assert trace.clipped[index] == pytest.approx(clipped[inside].mean())
        assert trace.loss[index] == pytest.approx(np.median(losses[inside]))
        assert trace.largest_loss[index] == losses[inside].max()


def test_the_trace_says_which_run_it_was_and_where_it_ended(results: Path) -> None:
    run = store_steps(results, explosion(), **diverged(36))
    trace = inspection.trace(inspect(run))
    assert trace.title == "arm, seed 3: diverged"
    assert [step for step, _ in trace.spikes] == [31, 34, 35, 36]
    assert (trace.diverged, trace.steps_per_epoch) == (36, 500)
    assert np.isnan(trace.median_norm[-2:]).all()
    assert trace.variables["simple_rnn/kernel"][34] == 1


def test_the_trace_says_what_clipping_left(results: Path) -> None:
    run = store_steps(
        results, [[3.0, 4.0]] * 3, applied=[5, 1, 2], clipped=[False, True, True], base="clipnorm",
        clipped_steps={"simple_rnn/kernel": 1, "dense/kernel": 3},
    )  # fmt: skip
    applied = inspection.trace(inspect(run)).applied
    assert applied
    assert applied.median_norm.tolist() == applied.largest_norm.tolist() == [5, 1, 2]
    assert applied.variables["dense/kernel"].tolist() == [4, 4, 4]
    assert applied.clipped == {"simple_rnn/kernel": pytest.approx(1 / 3), "dense/kernel": 1}
    assert inspection.trace(inspect(store_steps(results, [[3.0, 4.0]] * 3))).applied is None


def test_what_is_bounded_element_by_element_is_drawn_so(results: Path) -> None:
    run = store_steps(results, [[3.0, 4.0]] * 2, base="clipvalue")
    table = pd.read_csv(run.steps_path)
    table["max_abs/dense/kernel"], table["applied_max_abs/dense/kernel"] = [0.7, 0.3], [0.5, 0.3]
    table.to_csv(run.steps_path, index=False)
    trace = inspection.trace(inspect(run))
    assert trace.of_elements
    assert trace.variables["dense/kernel"].tolist() == [0.7, 0.3]
    assert trace.applied
    assert trace.applied.variables["dense/kernel"].tolist() == [0.5, 0.3]


def test_a_run_that_recorded_no_updates_is_read_and_drawn(results: Path, tmp_path: Path) -> None:
    run = store_steps(results, [[1.0, 1.0]] * 30)
    with_updates = inspect(run)
    run.steps_path.write_text("".join(f"{line.rsplit(',', 1)[0]}\n" for line in run.steps_path.read_text().splitlines()))
    older = inspect(run)
    assert inspection.trace(older).updates is None
    assert repr(older.diagnosis) == repr(with_updates.diagnosis)
    assert inspection.draw(older, tmp_path).exists()


def test_a_run_may_lie_anywhere(results: Path, tmp_path: Path) -> None:
    path = store_steps(results, [[1.0, 1.0]] * 30).path.rename(tmp_path / "copied")
    assert inspection.trace(inspect(RunDirectory(path))).title == "arm, seed 3: healthy"


@pytest.mark.parametrize(
    ("clipping", "expected"),
    [
        ("{mode: none}", {}),
        ("{mode: clipvalue, threshold: 0.5}", {"each element": 0.5}),
        (
            "{mode: clipvalue, threshold: 0.5, layers: {dense: 2, lstm: null}}",
            {"each element": 0.5, "each element of dense": 2},
        ),
        ("{mode: clipnorm, threshold: 1}", {"each variable": 1}),
        ("{mode: clipnorm, threshold: 1, layers: {dense: 5}}", {"each variable": 1, "each variable of dense": 5}),
        ("{mode: global_clipnorm, threshold: 3}", {"all together": 3}),
        ("{mode: normalize, threshold: 1}", {"all together": 1}),
        ("{mode: agc, threshold: 0.01, layers: {dense: 0.1}}", {}),  # of units' norms and weights: not of what is drawn
        ("{mode: autoclip}", {}),
        ("{mode: adagc}", {}),
    ],
)
def test_thresholds_say_what_they_bound(clipping: str, expected: dict[str, float], results: Path) -> None:
    run = store_steps(results, [[1.0, 1.0]] * 3, settings=[f"clipping={clipping}"])
    assert inspection.trace(inspect(run)).thresholds == expected


def test_the_picture_is_written_where_it_was_asked_for(results: Path, tmp_path: Path) -> None:
    inspected = inspect(store_steps(results, explosion(), **diverged(36)))
    path = inspection.draw(inspected, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "gradients.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_cannot_be_written_is_told(results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="another folder with --out"):
        inspection.draw(inspect(store_steps(results, [[1.0, 1.0]])), tmp_path / "file")


# Files that are not whole.


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_run_that_has_not_ended_is_read_as_far_as_it_goes(status: str, results: Path) -> None:
    run = store_steps(results, [[1.0, 1.0]] * 40)
    run.write_metadata({**FACTS, "status": status})
    inspected = inspect(run)
    assert (inspected.diagnosis.word, inspected.diagnosis.steps, inspected.diverged_step) == ("healthy", 40, None)


def test_a_row_that_is_being_written_is_none_yet(results: Path) -> None:
    run = store_steps(results, [[1.0, 1.0]] * 40)
    run.write_metadata({**FACTS, "status": "running"})
    content = run.steps_path.read_text()
    for torn in (20, 45, 60, 61):  # within the last row and the one before
        run.steps_path.write_text(content[:-torn])
        whole = content[:-torn].count("\n") - 1
        assert (inspect(run).diagnosis.word, inspect(run).diagnosis.steps) == ("healthy", whole)


def cut(run: RunDirectory, edit: Callable[[list[str]], list[str]]) -> None:
    run.steps_path.write_text("".join(edit(run.steps_path.read_text().splitlines(keepends=True))))


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda lines: lines[:-3], "holds 37 whole steps where 40 were recorded: cut short?"),
        (lambda lines: [*lines[:-1], lines[-1][:-9]], "holds 39 whole steps where 40 were recorded"),
        (lambda lines: lines[:1], "holds 0 whole steps"),
        (lambda lines: [], "holds 0 whole steps"),
        (lambda lines: [*lines[:9], *lines[10:], lines[9]], "not every step from 1 on"),
        (lambda lines: [*lines[:9], lines[9][:5] + "\n", *lines[10:]], "not every step from 1 on"),
        (lambda lines: [*lines[:-1], "\n"], "holds 39 steps in 40 lines"),
        (lambda lines: [*lines[:9], lines[9].replace("8", "eight").replace("1.", "one"), *lines[10:]], "not a table of steps"),
        (lambda lines: [lines[0].replace("applied_norm", "x"), *lines[1:]], "not a table of steps"),
        (lambda lines: [lines[0].replace("norm/", "x/"), *lines[1:]], "no variable's norm"),
        (lambda lines: [*lines[:9], "1," * 99 + "\n", *lines[10:]], "can't be read"),
    ],
)
def test_a_broken_file_is_told(edit: Callable[[list[str]], list[str]], expected: str, results: Path) -> None:
    run = store_steps(results, [[1.0, 1.5]] * 40)
    cut(run, edit)
    with pytest.raises(StoreError, match=expected) as caught:
        inspect(run)
    assert str(run.steps_path) in str(caught.value)


def test_a_missing_or_empty_file_is_told(results: Path) -> None:
    run = store_steps(results, [[1.0, 1.0]])
    run.write_metadata({**FACTS, "status": "running"})
    cut(run, lambda lines: lines[:1])
    with pytest.raises(StoreError, match="holds no steps"):
        inspect(run)
    run.steps_path.unlink()
    with pytest.raises(StoreError, match="can't be read: No such file"):
        inspect(run)


# `gradclip show`.


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_show_ends_in_the_diagnosis_and_draws(results: Path) -> None:
    run = store_run(results, "clipped", 0, [2.0, 1.5, 1.0], base="clipnorm")
    shown = call("show", "clipped", "--results", str(results))
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[-1].split() == ["diagnosis", "healthy"]
    for heading in ("norm ", "spikes ", "clipping ", "leading ", "vanishing "):
        assert f"\n{heading}" in shown.stdout
    assert shown.stderr == f"wrote {run.path / 'gradients.png'}\n"
    assert (run.path / "gradients.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.trains
def test_show_tells_a_real_divergence(trained: Path, tmp_path: Path) -> None:
    shown = call("show", "explode-none/seed-7", "--results", str(trained), "--out", str(tmp_path / "pictures"))
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[-1].split() == ["diagnosis", "diverged"]
    assert "last sane norm" in shown.stdout
    assert (tmp_path / "pictures" / "gradients.png").exists()
    assert not (trained / "explode-none" / "seed-7" / "gradients.png").exists()


def test_show_as_json_is_strict(results: Path) -> None:
    store_steps(results, explosion(), [2.0] * 35 + [NAN], **diverged(36))
    health = strict(call("show", "arm", "--json", "--results", str(results)).stdout)["health"]
    assert (health["word"], health["steps"], health["cut_share"]) == ("diverged", 36, None)
    assert [(spike["step"], spike["multiple"]) for spike in health["spikes"][::2]] == [(31, 50.0), (35, None)]
    assert health["last_sane"] == [33, 2.0]
    assert health["overflow"] == {"step": 35, "variables": ["dense/kernel"]}


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_show_without_steps_shows_the_rest_and_says_why(options: list[str], results: Path) -> None:
    run = store_run(results, "arm", 0, [2.0, 1.5, 1.0])
    run.steps_path.unlink()
    shown = call("show", "arm", *options, "--results", str(results))
    assert shown.exit_code == 0
    assert "complete" in shown.stdout
    assert "steps.csv" in shown.stderr
    assert "no diagnosis" in shown.stderr
    assert not (run.path / "gradients.png").exists()
    if options:
        assert strict(shown.stdout)["health"] is None


def test_show_with_steps_cut_short_says_why(results: Path) -> None:
    run = store_run(results, "arm", 0, [2.0, 1.5, 1.0])
    cut(run, lambda lines: lines[:-1])
    shown = call("show", "arm", "--results", str(results))
    assert shown.exit_code == 0
    assert "no diagnosis" in shown.stderr
    assert "11 whole steps where 12 were recorded" in shown.stderr


# Long runs.

MEASURE = """
import resource, sys, time
from pathlib import Path
from gradclip_cli.evidence.inspection import inspect, trace
from gradclip_cli.runs.store import RunDirectory
import gradclip_cli.plots
inspect(RunDirectory(Path(sys.argv[1])))
before, clock = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
inspected = inspect(RunDirectory(Path(sys.argv[2])))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(inspected.diagnosis.steps, len(inspected.diagnosis.spikes), time.perf_counter() - clock, peak / 1024)
"""


def write_long(run: RunDirectory, steps: int) -> None:
    """Replace a run's steps by very many: ten thousand different ones over and over, a spike on each first but the very first."""
    block, generator = 10_000, np.random.default_rng(0)
    columns = step_columns(("lstm/kernel", "lstm/recurrent_kernel", "lstm/bias", "dense/kernel", "dense/bias"))
    table = pd.DataFrame(generator.uniform(1, 2, (block, len(columns) - 1)), columns=columns[1:])
    table["clipped"], table["correct"] = 1, 20
    table.loc[0, [column for column in columns if column.startswith("norm/")]] = 100
    rows = table.to_csv(index=False, header=False, float_format="%.6g").splitlines()
    with open(run.steps_path, "w") as file:
        file.write(",".join(columns) + "\n")
        for first in range(0, steps, block):
            file.writelines(f"{first + index},{row}\n" for index, row in enumerate(rows, 1))
    run.write_metadata({**run.metadata(), "steps": steps, "steps_sha256": rows_and_sha256(run.steps_path)[1]})


@pytest.mark.slow
def test_a_million_steps_are_read_in_bounded_memory(results: Path) -> None:
    small, large = store_run(results, "small", 0, [1.0]), store_run(results, "large", 0, [1.0])
    write_long(large, 1_000_000)
    command = [sys.executable, "-c", MEASURE, str(small.path), str(large.path)]
    measured = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    steps, spikes, seconds, mebibytes = (float(figure) for figure in measured)
    assert (steps, spikes) == (1_000_000, 99)
    print(f"{seconds:.1f} s, {mebibytes:.0f} MiB for a file of {large.steps_path.stat().st_size / 2**20:.0f} MiB")
    assert mebibytes < 150
    assert seconds < 60
