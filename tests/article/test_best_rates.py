"""What is left of a difference at each arm's own best rate, from a stored sweep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import store_run
from reproduced import SEEDS, store_all

from gradclip_cli.article.best_rates import read_best_rates
from gradclip_cli.article.reproduce import answer_claims
from gradclip_cli.cli import main
from gradclip_cli.errors import ReportError

FRESH = list(range(5, 14))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep's choice and its runs at best rates: clipvalue no better than none, on any seed by more than another."""
    folder = tmp_path / "stability"
    for seed in FRESH:
        for rule in ("none", "clipvalue"):
            loss = 0.7 + (0.01 * (-1) ** seed if rule == "clipvalue" else 0.0)
            settings = ["optimizer.learning_rate=0.3"]
            store_run(folder / "best", f"{rule}-at-best", seed, [1.0, 0.8, loss], base=rule, settings=settings)
    axes = [{"key": "optimizer.learning_rate", "values": ["0.1", "0.3", "1"]}]
    content = {"schema": 1, "name": "stability", "axes": axes, "chosen_on": "holdout", "seeds": [0, 1, 2], "fresh_seeds": FRESH}
    (folder / "sweep.json").write_text(json.dumps(content))
    return folder


def test_what_is_left_stands_in_the_same_breath(results: Path, sweep: Path) -> None:
    store_all(results)
    answers = answer_claims(SEEDS, results, read_best_rates(sweep)).answers
    told = (
        "At each arm's own best learning rate (of 0.1, 0.3, 1 and nothing between, chosen by mean holdout accuracy on 3 seeds; "
        "compared on fresh ones, 5-13, as description): No difference in training loss shown between clipvalue-at-best and "
        "none-at-best at SGD 0.3: "
    )
    assert told in answers["C2"].measured
    assert answers["C2"].measured.endswith("Clipping acted on 25.0% of the steps.")
    assert answers["C2"].verdict == "supported at SGD 0.01"
    assert answers["C2"].figures["at_best_rates"]["seeds"] == FRESH
    assert "area under the training-loss curve shown between clipvalue-at-best" in answers["C3"].measured
    assert "best learning rate" not in answers["C5"].measured


def test_what_few_seeds_give_of_the_average_there_is_told(results: Path, sweep: Path) -> None:
    store_all(results)
    settings = ["optimizer.learning_rate=0.3"]
    for seed in FRESH:  # lower by 0.1 on each seed, by 0.6 on one
        losses = [1.0, 0.8, 0.1 if seed == FRESH[0] else 0.6]
        store_run(sweep / "best", "clipvalue-at-best", seed, losses, base="clipvalue", settings=settings)
    for seed in FRESH:
        store_run(sweep / "best", "none-at-best", seed, [1.0, 0.8, 0.7], settings=settings)
    told = answer_claims(SEEDS, results, read_best_rates(sweep)).answers["C2"].measured
    assert "Of the average, 2 seeds of 9 give 50%, one of them 43%. Clipping acted on" in told


def test_what_was_not_looked_at_is_told(results: Path, sweep: Path) -> None:
    store_all(results)
    without = answer_claims(SEEDS, results).answers["C2"]
    assert "at each arm's own best learning rate was not looked at here" in without.measured
    assert without.figures["at_best_rates"] is None
    for seed in FRESH:  # another rule, that of no arm of the claim
        settings = ["optimizer.learning_rate=0.3", "clipping.threshold=0.1"]
        store_run(sweep / "best", "clipvalue-at-best", seed, [1.0, 0.8, 0.7], base="clipvalue", settings=settings)
    other = answer_claims(SEEDS, results, read_best_rates(sweep)).answers["C2"]
    assert "The sweep stability has nothing of these arms at their own best learning rates." in other.measured


@pytest.mark.parametrize("axes", [None, [{"key": "clipping", "values": ["none"]}]])
def test_a_folder_without_such_a_sweep_is_refused(axes: list[object] | None, sweep: Path, results: Path) -> None:
    if axes is None:
        (sweep / "sweep.json").unlink()
    else:
        content = json.loads((sweep / "sweep.json").read_text())
        (sweep / "sweep.json").write_text(json.dumps(content | {"axes": axes}))
    with pytest.raises(ReportError, match="no finished sweep over learning rates"):
        read_best_rates(sweep)
    ended = CliRunner().invoke(main, ["reproduce", "--best-rates", str(sweep), "--results", str(results)])
    assert ended.exit_code == 1
    assert not results.exists()
