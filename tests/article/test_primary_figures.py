"""The committed primary figures, recomputed as a referee would: from the packed runs, with pandas and SciPy only."""

from __future__ import annotations

import itertools
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

RESULTS = Path(__file__).parents[2] / "results"
FOLDERS = {folder: RESULTS / folder for folder in ("article", "pytorch")}
CHANCE = math.log(10)


def read_runs(folder: Path) -> pd.DataFrame:
    """A row a run: arm, seed, status, and what the primary tests need of its epochs."""
    rows = []
    with tarfile.open(folder / "runs.tar.xz") as archive:
        members = {member.name.removeprefix("./"): member for member in archive.getmembers()}
        for name in sorted(name for name in members if name.endswith("metrics.csv")):
            arm, seed, _ = name.split("/")
            if arm not in ("none", "clipvalue", "explode-none", "explode-clipnorm"):
                continue
            frame = pd.read_csv(archive.extractfile(members[name]))  # type: ignore[arg-type]
            facts = json.load(archive.extractfile(members[name.replace("metrics.csv", "run.json")]))  # type: ignore[arg-type]
            loss = frame["loss"].clip(upper=CHANCE)
            diverged = facts["status"] == "diverged"
            rows.append(
                {
                    "arm": arm,
                    "seed": int(seed.removeprefix("seed-")),
                    "diverged": diverged,
                    "loss": CHANCE if diverged else loss.iloc[-1],
                    "loss_area": loss.sum(),
                    "accuracy": 0.1 if diverged else frame["val_accuracy"].iloc[-1],
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module", params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> Path:
    return FOLDERS[request.param]


@pytest.fixture(scope="module")
def runs(folder: Path) -> pd.DataFrame:
    return read_runs(folder)


@pytest.fixture(scope="module")
def figures(folder: Path) -> dict[str, Any]:
    return {claim["id"]: claim["figures"] for claim in json.loads((folder / "claims.json").read_text())["claims"]}


def signed_rank_interval(differences: pd.Series, level: float) -> tuple[float, float, float]:
    """Hodges and Lehmann's estimate, and Tukey's interval at the exact level, by SciPy's null distribution."""
    values = differences.to_numpy()
    averages = np.sort([(one + other) / 2 for one, other in itertools.combinations_with_replacement(values, 2)])
    ranks = np.arange(1, len(values) + 1.0)
    outside = 0
    while exact_tail(ranks, outside) <= level / 2:
        outside += 1
    return float(np.median(averages)), float(averages[outside - 1]), float(averages[-outside])


def exact_tail(ranks: np.ndarray, count: int) -> float:
    """Chance that the rank sum is at most `count`: half of SciPy's two-sided p of values that have just this rank sum."""
    signs, left = np.ones(len(ranks)), count
    for place in range(len(ranks) - 1, -1, -1):
        if ranks[place] <= left:
            left -= ranks[place]
        else:
            signs[place] = -1
    assert left == 0
    return float(scipy.stats.wilcoxon(signs * ranks, method="exact").pvalue) / 2


@pytest.mark.parametrize(("claim", "column"), [("C2", "loss"), ("C3", "loss_area")])
def test_differences_are_those_of_the_stored_runs(claim: str, column: str, runs: pd.DataFrame, figures: dict[str, Any]) -> None:
    table = runs.pivot(index="seed", columns="arm", values=column)
    differences = table["clipvalue"] - table["none"]
    told = figures[claim]
    assert told["seeds"] == differences.index.tolist()
    assert told["differences"] == pytest.approx(differences.tolist())
    assert (told["mean"], told["median"]) == pytest.approx((differences.mean(), differences.median()))
    assert told["p"] == pytest.approx(scipy.stats.wilcoxon(differences, method="exact").pvalue)
    estimate = signed_rank_interval(differences, told["level"])
    assert (told["typical"], told["low"], told["high"]) == pytest.approx(estimate)
    assert told["won"] == (differences < 0).sum()


@pytest.mark.parametrize(
    ("claim", "arm", "happened"),
    [
        ("C4", "explode-none", lambda runs: runs["diverged"] | (runs["accuracy"] < 0.2)),
        ("C5", "explode-clipnorm", lambda runs: ~runs["diverged"] & (runs["accuracy"] >= 0.6)),
    ],
)
def test_shares_are_those_of_the_stored_runs(
    claim: str, arm: str, happened: Any, runs: pd.DataFrame, figures: dict[str, Any]
) -> None:
    chosen = happened(runs[runs["arm"] == arm])
    told, test = figures[claim], scipy.stats.binomtest(int(chosen.sum()), len(chosen))
    assert (told["count"], told["runs"]) == (chosen.sum(), len(chosen))
    interval = test.proportion_ci(1 - told["level"], method="exact")
    assert (told["low"], told["high"]) == pytest.approx((interval.low, interval.high))
    assert told["p"] == pytest.approx(test.pvalue)


def test_the_family_is_adjusted_by_holm(figures: dict[str, Any]) -> None:
    family = {claim: figures[claim]["p"] for claim in ("C2", "C3", "C4", "C5")}
    adjusted = scipy_holm(list(family.values()))
    assert [figures[claim]["p_adjusted"] for claim in family] == pytest.approx(adjusted)


def scipy_holm(p_values: list[float]) -> list[float]:
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(np.array(p_values)[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted.tolist()
