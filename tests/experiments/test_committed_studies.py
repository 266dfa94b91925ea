"""Committed studies: their figures once more, from the packed runs, by pandas and SciPy alone; the report follows from them."""

from __future__ import annotations

import functools
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import call

from gradclip_cli.config import studies

ROOT = Path(__file__).parents[2]
COMMITTED = sorted(path.parent for path in (ROOT / "results").glob("*/study.json"))
NAMES = [folder.name for folder in COMMITTED]
Runs = dict[str, dict[int, pd.DataFrame]]


@functools.cache
def runs(name: str) -> Runs:
    """By arm and seed, the epochs of every packed run."""
    found: Runs = {}
    with tarfile.open(ROOT / "results" / name / "runs.tar.xz") as pack:
        for member in pack:
            arm, seed, file = member.name.split("/")
            if file == "metrics.csv":
                content = pack.extractfile(member)
                assert content is not None
                found.setdefault(arm, {})[int(seed.removeprefix("seed-"))] = pd.read_csv(content)
    return found


def stored(name: str) -> dict[str, Any]:
    return dict(json.loads((ROOT / "results" / name / "study.json").read_text()))


def of_a_seed(name: str, arm: str, seed: int) -> list[pd.DataFrame]:
    """All runs of one seed: the arm's own, then its replicates'."""
    every = runs(name)
    parts = [arm, *sorted(each for each in every if each.startswith(f"{arm}+model.perturbation="))]
    return [every[part][seed] for part in parts]


def collapsed(epochs: pd.DataFrame) -> bool:
    return bool((epochs["val_accuracy"].diff() < -0.05).any())


def score(name: str, metric: str, arm: str, seed: int) -> float:
    """A seed's score in the unit that it is shown in. No run of these studies diverged, and none ended above chance."""
    together = of_a_seed(name, arm, seed)
    own = together[0]
    if metric == "repeatability":
        return 100 * float(np.std([each["val_accuracy"].iloc[-1] for each in together], ddof=1))
    if metric == "collapsed_share":
        return 100 * float(np.mean([collapsed(each) for each in together]))
    if metric == "loss_area":
        return float(np.minimum(own["loss"], np.log(10)).sum())
    return float(own[metric].iloc[-1]) * (100 if "accuracy" in metric else 1)


def differences(name: str, test: dict[str, Any]) -> np.ndarray:
    metric = test["metric"]["name"]
    pairs = [(score(name, metric, test["arm"], seed), score(name, metric, test["baseline"], seed)) for seed in test["seeds"]]
    return np.array([own - base for own, base in pairs])


@pytest.mark.parametrize("name", NAMES)
def test_every_planned_run_is_packed_and_none_diverged(name: str) -> None:
    study = studies.load(name)
    planned = {config.name: set(arm.seeds) for arm in study.arms for config in arm.configs}
    assert {arm: set(seeds) for arm, seeds in runs(name).items()} == planned
    assert all(each["diverged"] == 0 for each in stored(name)["arms"])


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
        values = 100 * np.array([[each["val_accuracy"].iloc[-1] for each in seed] for seed in together])
        assert arm["last"] == pytest.approx(values)
        assert arm["collapsed"] == sum(collapsed(each) for seed in together for each in seed)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_report_follows_from_the_pack(name: str, tmp_path: Path) -> None:
    for file in ("runs.tar.xz", "runs.sha256", "plan.json"):
        (tmp_path / file).write_bytes((ROOT / "results" / name / file).read_bytes())
    ended = call("study", name, "--results", str(tmp_path), "--json")
    assert ended.exit_code == 0, ended.output
    ours, again = (dict(json.loads(text)) for text in ((ROOT / "results" / name / "study.json").read_text(), ended.stdout))
    assert again["tests"] == ours["tests"]
    assert again["arms"] == ours["arms"]
