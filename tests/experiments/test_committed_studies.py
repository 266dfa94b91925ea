"""Committed studies: their figures once more, from the packed runs, by pandas and SciPy alone; the report follows from them."""

from __future__ import annotations

import functools
import io
import itertools
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml
from conftest import call

from gradclip_cli.config import studies

ROOT = Path(__file__).parents[2]
COMMITTED = sorted(path.parent for path in (ROOT / "results").glob("*/study.json"))
NAMES = [folder.name for folder in COMMITTED]


class Run(NamedTuple):
    """A packed run: its epochs, and the step at which it diverged, if it did."""

    epochs: pd.DataFrame
    diverged: int | None
    chance: dict[str, float]

    def last(self, column: str) -> float:
        """The last epoch's value, of what is better the lower at most chance; a diverged run's is chance."""
        chance = self.chance.get(column, self.chance[column.removeprefix("val_")])
        if self.diverged is not None:
            return chance
        value = float(self.epochs[column].iloc[-1])
        return value if "accuracy" in column else min(value, chance)

    @property
    def collapsed(self) -> bool:
        return bool((self.epochs["val_accuracy"].diff() < -0.05).any())


@functools.cache
def packed(name: str, part: str, file: str) -> dict[tuple[str, str], bytes]:
    """By arm and seed, what every packed run of a study, or of its tuning, has in a file of this name."""
    return {(arm, seed): content for (arm, seed, member), content in unpacked(name, part).items() if member == file}


@functools.cache
def unpacked(name: str, part: str) -> dict[tuple[str, ...], bytes]:
    with tarfile.open(ROOT / "results" / name / part / "runs.tar.xz") as pack:
        return {tuple(member.name.split("/")): pack.extractfile(member).read() for member in pack}  # type: ignore[union-attr]


@functools.cache
def facts_of(name: str, part: str = ".") -> dict[tuple[str, str], dict[str, Any]]:
    """By arm and seed, what the packed runs' run.json says."""
    return {run: json.loads(content) for run, content in packed(name, part, "run.json").items()}


@functools.cache
def runs(name: str, part: str = ".") -> dict[str, dict[int, Run]]:
    """By arm and seed, every packed run of a study, or of its tuning."""
    found: dict[str, dict[int, Run]] = {}
    for (arm, seed), content in packed(name, part, "metrics.csv").items():
        facts = facts_of(name, part)[arm, seed]
        divergence, chance = facts["diverged"], facts["chance"]
        run = Run(pd.read_csv(io.BytesIO(content)), divergence and divergence["step"], chance)
        found.setdefault(arm, {})[int(seed.removeprefix("seed-"))] = run
    return found


@functools.cache
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
        return float(np.minimum(own.epochs["loss"], own.chance["loss"]).sum())
    return own.last(metric) * (100 if "accuracy" in metric else 1)


def differences(name: str, test: dict[str, Any]) -> np.ndarray:
    metric = test["metric"]["name"]
    pairs = [(score(name, metric, test["arm"], seed), score(name, metric, test["baseline"], seed)) for seed in test["seeds"]]
    return np.array([own - base for own, base in pairs])


@pytest.mark.parametrize("name", NAMES)
def test_every_planned_run_is_packed_and_counted_as_it_ended(name: str) -> None:
    study = studies.load(name)
    planned = {name: set(arm.seeds) for arm in study.arms for name in _names(arm)}
    assert {arm: set(seeds) for arm, seeds in runs(name).items()} == planned
    for arm in stored(name)["arms"]:
        together = [each for seed in arm["seeds"] for each in of_a_seed(name, arm["name"], seed)]
        assert arm["diverged"] == sum(each.diverged is not None for each in together)


def _names(arm: studies.StudyArm) -> list[str]:
    """Of an arm's runs; a tuned one's config is known once it was chosen."""
    return [config.name for config in arm.configs] or [arm.name]


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
        if "val_accuracy" not in together[0][0].epochs:
            assert arm["collapsed"] is None
            continue
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
    said = facts_of(name).values()
    assert all(plan["written"] <= run["started"] and not run["git_commit"].endswith("-dirty") for run in said)


# Tuned arms.

TUNED = [name for name in NAMES if "tuning" in stored(name)]


def mean_score(name: str, candidate: str, metric: str, seeds: list[int]) -> float:
    """A candidate's mean over the tuning's seeds, in the unit that it is shown in."""
    of_seeds = runs(name, "tuning")[candidate]
    return float(np.mean([of_seeds[seed].last(metric) for seed in seeds])) * (100 if "accuracy" in metric else 1)


@pytest.mark.parametrize("name", TUNED)
def test_each_tuned_arm_is_the_best_of_its_candidates(name: str) -> None:
    for choice in stored(name)["tuning"]["choices"]:
        metric, sign = choice["metric"], 1 if "accuracy" in choice["metric"] else -1
        scores = {each["name"]: mean_score(name, each["name"], metric, choice["seeds"]) for each in choice["candidates"]}
        assert {each["name"]: each["score"] for each in choice["candidates"]} == pytest.approx(scores)
        assert choice["chosen"] == max(scores, key=lambda candidate: sign * scores[candidate])
        assert all(set(runs(name, "tuning")[candidate]) == set(choice["seeds"]) for candidate in scores)
        trained, chosen = (config_of(name, *where) for where in ((".", choice["arm"]), ("tuning", choice["chosen"])))
        assert trained["optimizer"] == chosen["optimizer"]
        assert trained.get("clipping") == chosen.get("clipping")
        assert trained["data"].get("holdout", 0) == 0 < chosen["data"]["holdout"]


@functools.cache
def config_of(name: str, part: str, arm: str) -> dict[str, Any]:
    """The stored config of one of an arm's packed runs."""
    contents = packed(name, part, "config.yaml")
    return dict(yaml.safe_load(next(content for (of, _), content in contents.items() if of == arm)))


@pytest.mark.parametrize("name", [name for name in TUNED if stored(name)["tuning"]["splits"]])
def test_splits_choose_on_one_half_and_judge_on_the_other(name: str) -> None:
    found = stored(name)["tuning"]
    grids: dict[str, pd.DataFrame] = {}
    planned = {each.config.name for tuned in studies.load(name).tuned for each in tuned.candidates}  # not the finer ones
    for choice in found["choices"]:
        arm = choice["arm"].removesuffix("-again")
        for each in [each for each in choice["candidates"] if each["name"] in planned]:
            row = each["name"].removeprefix(choice["arm"])
            for seed in choice["seeds"]:
                score = runs(name, "tuning")[each["name"]][seed].last(choice["metric"]) * 100
                grids.setdefault(arm, pd.DataFrame(dtype=float)).loc[row, seed] = score
    for split in found["splits"]:
        ours, theirs = (grids[split[key]] for key in ("arm", "baseline"))
        expected = []
        for half in itertools.combinations(sorted(ours), len(ours.columns) // 2):
            rest = [seed for seed in ours if seed not in half]
            judged = [grid.loc[grid[list(half)].mean(axis=1).round(9).idxmax(), rest].mean() for grid in (ours, theirs)]
            expected.append(judged[0] - judged[1])
        assert split["differences"] == pytest.approx(expected)


# Successes.


@pytest.mark.parametrize("name", [name for name in NAMES if "successes" in stored(name)])
def test_successes_are_those_of_the_last_epochs(name: str) -> None:
    def reached(arm: str, bar: str) -> dict[int, bool]:
        column, sign, limit = bar.split()
        of_seeds = {seed: run for seed, run in runs(name)[arm].items() if run.diverged is None}
        met = {
            seed: run.last(column) >= float(limit) if sign == ">=" else run.last(column) <= float(limit)
            for seed, run in of_seeds.items()
        }
        return {seed: met.get(seed, False) for seed in runs(name)[arm]}

    for each in stored(name)["successes"]:
        own = reached(each["arm"], each["bar"])
        assert (each["successes"], each["runs"]) == (sum(own.values()), len(own))
        interval = scipy.stats.binomtest(sum(own.values()), len(own)).proportion_ci(method="exact")
        assert (each["low"], each["high"]) == pytest.approx((interval.low, interval.high))
        if each["baseline"]:
            base = reached(each["baseline"], each["bar"])
            only_own, only_base = (
                sum(one[seed] and not other[seed] for seed in own) for one, other in ((own, base), (base, own))
            )
            p = scipy.stats.binomtest(only_own, only_own + only_base).pvalue if only_own + only_base else 1.0
            assert each["p"] == pytest.approx(p)


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


@functools.cache
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
    tuning = [f"tuning/{file}" for file in ("runs.tar.xz", "runs.sha256")] if name in TUNED else []
    (tmp_path / "tuning").mkdir()
    for file in ("runs.tar.xz", "runs.sha256", "plan.json", *signals, *tuning):
        (tmp_path / file).write_bytes((ROOT / "results" / name / file).read_bytes())
    ended = call("study", name, "--results", str(tmp_path), "--json")
    assert ended.exit_code == 0, ended.output
    ours, again = (dict(json.loads(text)) for text in ((ROOT / "results" / name / "study.json").read_text(), ended.stdout))
    for part in ("tests", "arms", "detectors", "tuning", "matrix", "successes"):
        assert nearly(again.get(part)) == nearly(ours.get(part))


def nearly(told: Any) -> Any:
    """The same with numbers to ten digits: processors differ in the last ones."""
    if isinstance(told, dict):
        return {key: nearly(value) for key, value in told.items()}
    if isinstance(told, list):
        return [nearly(value) for value in told]
    return f"{told:.10g}" if isinstance(told, float) else told
