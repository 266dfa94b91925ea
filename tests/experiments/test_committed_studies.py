"""Committed studies: their figures once more, from the packed runs, by pandas and SciPy alone; the report follows from them."""

from __future__ import annotations

import functools
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import call

from gradclip_cli.config import studies

ROOT = Path(__file__).parents[2]
COMMITTED = sorted(path.parent for path in (ROOT / "results").glob("*/study.json"))
NAMES = [folder.name for folder in COMMITTED]
CHANCE = {"val_accuracy": 0.1, "loss": np.log(10)}


class Run(NamedTuple):
    """A packed run: its epochs, and the step at which it diverged, if it did."""

    epochs: pd.DataFrame
    diverged: int | None

    def last(self, column: str) -> float:
        """The last epoch's value; a diverged run's is chance."""
        return float(self.epochs[column].iloc[-1]) if self.diverged is None else float(CHANCE[column])

    @property
    def collapsed(self) -> bool:
        return bool((self.epochs["val_accuracy"].diff() < -0.05).any())


@functools.cache
def runs(name: str) -> dict[str, dict[int, Run]]:
    """By arm and seed, every packed run."""
    epochs: dict[tuple[str, str], pd.DataFrame] = {}
    said: dict[tuple[str, str], dict[str, Any]] = {}
    with tarfile.open(ROOT / "results" / name / "runs.tar.xz") as pack:
        for member in pack:
            arm, seed, file = member.name.split("/")
            content = pack.extractfile(member)
            assert content is not None
            if file == "metrics.csv":
                epochs[arm, seed] = pd.read_csv(content)
            elif file == "run.json":
                said[arm, seed] = json.load(content)
    found: dict[str, dict[int, Run]] = {}
    for (arm, seed), each in epochs.items():
        divergence = said[arm, seed]["diverged"]
        found.setdefault(arm, {})[int(seed.removeprefix("seed-"))] = Run(each, divergence and divergence["step"])
    return found


def stored(name: str) -> dict[str, Any]:
    return dict(json.loads((ROOT / "results" / name / "study.json").read_text()))


def of_a_seed(name: str, arm: str, seed: int) -> list[Run]:
    """All runs of one seed: the arm's own, then its replicates'."""
    every = runs(name)
    parts = [arm, *sorted(each for each in every if each.startswith(f"{arm}+model.perturbation="))]
    return [every[part][seed] for part in parts]


def score(name: str, metric: str, arm: str, seed: int) -> float:
    """A seed's score in the unit that it is shown in. No run of these studies ended above chance."""
    together = of_a_seed(name, arm, seed)
    own = together[0]
    if metric == "repeatability":
        return 100 * float(np.std([each.last("val_accuracy") for each in together], ddof=1))
    if metric == "collapsed_share":
        return 100 * float(np.mean([each.collapsed or each.diverged is not None for each in together]))
    if metric == "diverged_runs":
        return 100 * float(np.mean([each.diverged is not None for each in together]))
    if metric == "loss_area":
        assert own.diverged is None
        return float(np.minimum(own.epochs["loss"], CHANCE["loss"]).sum())
    return own.last(metric) * (100 if "accuracy" in metric else 1)


def differences(name: str, test: dict[str, Any]) -> np.ndarray:
    metric = test["metric"]["name"]
    pairs = [(score(name, metric, test["arm"], seed), score(name, metric, test["baseline"], seed)) for seed in test["seeds"]]
    return np.array([own - base for own, base in pairs])


@pytest.mark.parametrize("name", NAMES)
def test_every_planned_run_is_packed_and_counted_as_it_ended(name: str) -> None:
    study = studies.load(name)
    planned = {config.name: set(arm.seeds) for arm in study.arms for config in arm.configs}
    assert {arm: set(seeds) for arm, seeds in runs(name).items()} == planned
    for arm in stored(name)["arms"]:
        together = [each for seed in arm["seeds"] for each in of_a_seed(name, arm["name"], seed)]
        assert arm["diverged"] == sum(each.diverged is not None for each in together)


@pytest.mark.parametrize("name", NAMES)
def test_differences_and_tests_are_those_of_scipy(name: str) -> None:
    for test in stored(name)["tests"]:
        found = differences(name, test)
        assert test["differences"] == pytest.approx(found, abs=1e-9)
        assert test["mean"] == pytest.approx(found.mean(), abs=1e-9)
        pairs = [(one + other) / 2 for index, one in enumerate(found) for other in found[index:]]
        assert test["typical"] == pytest.approx(np.median(pairs), abs=1e-9)
        if (np.abs(found) > 1e-9).all() and len(np.unique(np.round(np.abs(found), 9))) == len(found):
            assert test["p"] == pytest.approx(scipy.stats.wilcoxon(found, method="exact").pvalue)


@pytest.mark.parametrize("name", NAMES)
def test_p_values_are_adjusted_within_their_family(name: str) -> None:
    tests = stored(name)["tests"]
    for family in {test["family"] for test in tests}:
        members = sorted((test for test in tests if test["family"] == family), key=lambda test: test["p"])
        least = 0.0
        for rank, test in enumerate(members):
            least = max(least, min(1.0, (len(members) - rank) * test["p"]))
            assert test["p_adjusted"] == pytest.approx(least)


@pytest.mark.parametrize("name", NAMES)
def test_spreads_and_collapses_are_those_of_the_runs(name: str) -> None:
    for arm in stored(name)["arms"]:
        together = [of_a_seed(name, arm["name"], seed) for seed in arm["seeds"]]
        values = 100 * np.array([[each.last("val_accuracy") for each in seed] for seed in together])
        assert arm["last"] == pytest.approx(values)
        assert arm["collapsed"] == sum(each.collapsed for seed in together for each in seed)
        if arm["spread"] is None:
            assert values.shape[1] == 1
            continue
        within = np.sqrt(values.var(axis=1, ddof=1).mean())
        between = np.sqrt(max(0.0, values.mean(axis=1).var(ddof=1) - within**2 / values.shape[1]))
        assert [arm["spread"][part]["value"] for part in ("within", "between")] == pytest.approx([within, between])


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_is_the_shipped_file_and_was_written_first(name: str) -> None:
    plan = json.loads((ROOT / "results" / name / "plan.json").read_text())
    assert plan["rules"]["file SHA-256"] == studies.load(name).sha256 == stored(name)["file_sha256"]
    assert plan["seen"]["runs"] == {}
    assert not plan["git_commit"].endswith("-dirty")
    with tarfile.open(ROOT / "results" / name / "runs.tar.xz") as pack:
        said = [json.load(pack.extractfile(each)) for each in pack if each.name.endswith("run.json")]  # type: ignore[arg-type]
    assert all(plan["written"] <= run["started"] and not run["git_commit"].endswith("-dirty") for run in said)


# Detectors.

WATCHED = [name for name in NAMES if "detectors" in stored(name)]


@functools.cache
def steps(name: str) -> dict[tuple[str, int], pd.DataFrame]:
    """The kept steps by arm and seed."""
    whole = pd.read_csv(ROOT / "results" / name / "signals.csv.xz", keep_default_na=False, na_values=["nan"])
    return {(arm, seed): frame.reset_index(drop=True) for (arm, seed), frame in whole.groupby(["arm", "seed"])}


@pytest.mark.parametrize("name", WATCHED)
def test_kept_steps_are_those_of_the_packed_epochs(name: str) -> None:
    for (arm, seed), frame in steps(name).items():
        epochs = runs(name)[arm][seed].epochs
        length = studies_config(name, arm).training.steps_per_epoch
        for epoch, row in epochs.iterrows():
            part = frame[int(str(epoch)) * length : (int(str(epoch)) + 1) * length]
            assert part["loss"].mean() == pytest.approx(row["loss"], rel=1e-5)
            assert part["grad_norm"].max() == pytest.approx(row["grad_norm_max"], rel=1e-5)


def studies_config(name: str, arm: str) -> Any:
    return next(each.configs[0] for each in studies.load(name).arms if each.name == arm)


def watched(name: str, arm: str, seed: int, detector: dict[str, Any], horizon: int) -> tuple[int | None, int, int, bool]:
    """Of a run by its kept steps: the lead, its false alarms, its ordinary steps, and whether it diverged."""
    frame, event = steps(name)[arm, seed], runs(name)[arm][seed].diverged
    if event is not None:
        broken = np.flatnonzero(~np.isfinite(frame[["loss", "grad_norm"]]).all(axis=1))
        event = min([event, *(broken[:1] + 1)])
    values = frame[detector["column"]]
    values = values / values.rolling(100, min_periods=1).median().shift() if detector["relative"] else values
    above = (values > detector["threshold"]).tolist()
    ordinary = above if event is None else above[: max(0, event - 1 - horizon)]
    near = [] if event is None else above[len(ordinary) : event - 1]
    alarms, silent_until = 0, 0
    for step, seen in enumerate(ordinary):
        if seen and step >= silent_until:
            alarms, silent_until = alarms + 1, step + horizon
    return len(near) - near.index(True) if True in near else None, alarms, len(ordinary), event is not None


@pytest.mark.parametrize("name", WATCHED)
def test_what_detectors_saw_is_in_the_kept_steps(name: str) -> None:
    plan = stored(name)["detectors"]
    for arm in plan["arms"]:
        for detector in arm["detectors"]:
            for seeds, judged in ((arm["calibrated_on"], "calibration"), (arm["judged_on"], "fresh")):
                by_run = [watched(name, arm["arm"], seed, detector, plan["horizon"]) for seed in seeds]
                told = detector[judged]
                assert told["leads"] == [lead for lead, *_, diverged in by_run if diverged]
                assert told["false_alarms"] == sum(alarms for _, alarms, *_ in by_run)
                assert told["ordinary_steps"] == sum(count for _, _, count, _ in by_run)
            rate = 1000 * detector["calibration"]["false_alarms"] / detector["calibration"]["ordinary_steps"]
            assert rate <= plan["false_alarms"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_report_follows_from_the_pack(name: str, tmp_path: Path) -> None:
    signals = ["signals.csv.xz"] if name in WATCHED else []
    for file in ("runs.tar.xz", "runs.sha256", "plan.json", *signals):
        (tmp_path / file).write_bytes((ROOT / "results" / name / file).read_bytes())
    ended = call("study", name, "--results", str(tmp_path), "--json")
    assert ended.exit_code == 0, ended.output
    ours, again = (dict(json.loads(text)) for text in ((ROOT / "results" / name / "study.json").read_text(), ended.stdout))
    assert again["tests"] == ours["tests"]
    assert again["arms"] == ours["arms"]
    assert again.get("detectors") == ours.get("detectors")
