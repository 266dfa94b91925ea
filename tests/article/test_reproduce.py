"""`reproduce`: what it plans, what it refuses, and an interrupted one goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import import_pytorch, mistakes
from reproduced import SEEDS, SUPPORTING, store_all

from gradclip_cli.article import reproduce
from gradclip_cli.article.answers import PRIMARY
from gradclip_cli.article.claims import CLAIMS
from gradclip_cli.article.reproduce import ADAM, ARMS, ARTICLE, CONTROL, EXPLOSIVE, answer_claims, config_name, plan_reproduction
from gradclip_cli.cli import main
from gradclip_cli.config import loading
from gradclip_cli.config.frameworks import FRAMEWORKS
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.metrics import METRICS
from gradclip_cli.runs.one import Workshop


def test_plan_holds_all_arms_and_their_seeds(results: Path) -> None:
    planned = reproduce.plan_reproduction([0, 1], results)
    assert {run.config.name for run in planned} == set(ARMS)
    assert len(planned) == 34
    assert not results.exists()
    with pytest.raises(ReportError, match="at least 2"):
        reproduce.plan_reproduction([0], results)


def test_plan_on_record_is_the_first_one(results: Path) -> None:
    reproduce.record_plan([0, 1], results)
    reproduce.record_plan([0, 1, 2], results)
    plan = json.loads((results / "plan.json").read_text())
    assert (plan["kind"], plan["seeds"], list(plan["arms"])) == ("reproduce", [0, 1], list(ARMS))
    assert plan["rules"] == {name: claim.rule for name, claim in CLAIMS.items()}


def test_plan_holds_the_test_of_each_primary_claim() -> None:
    tests = reproduce.primary_tests()
    assert len(tests) == len(PRIMARY)
    for claim, test in zip(PRIMARY.values(), tests, strict=True):
        assert {test.arm, test.baseline or test.arm} <= set(claim.arms)
        assert test.baseline is None or METRICS[test.metric].title in claim.rule
    assert {test.family for test in tests} == {"primary tests: C2, C3, C4, C5"}


def test_a_run_that_cannot_be_read_is_never_left_out_silently(results: Path) -> None:
    store_all(results)
    (results / "explode-none" / "seed-3" / "metrics.csv").write_text("")
    with pytest.raises(ReportError, match=r"explode-none: seed 3 .*explode-none/seed-3/metrics\.csv"):
        answer_claims(SEEDS, results)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    ended = CliRunner().invoke(main, ["reproduce", "--seeds", "2", "--results", str(tmp_path / "file")])
    assert ended.exit_code == 1
    assert "can't be written" in ended.output
    assert "fault in gradclip" not in ended.output


def test_dry_run_estimates_and_finished_runs_are_not_trained_again(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = CliRunner().invoke(main, ["reproduce", "--seeds", "3", "--dry-run", "--results", str(results)])
    assert "51 of 51 runs to train: about" in empty.stderr
    assert not results.exists()
    # Stored runs of another length than the configs': the plan must refuse them, not count them as done.
    store_all(results)
    refused = CliRunner().invoke(main, ["reproduce", "--seeds", "3", "--results", str(results)])
    assert refused.exit_code == 1
    assert "training.epochs: 3 there, 10 here" in refused.output


def test_arms_are_those_of_the_claims_and_what_stands_beside_them() -> None:
    needed = {arm for claim in CLAIMS.values() for arm in claim.arms}
    assert set(ARMS) == {*needed, *ARTICLE, CONTROL, *ADAM}
    assert list(ARMS) == list(SUPPORTING)
    assert EXPLOSIVE[0] == "explode-none"


def test_an_arm_is_trained_by_the_shipped_config_of_its_name() -> None:
    assert config_name("explode-strong-l2") == "explode/strong_l2"
    assert config_name("global_clipnorm") == "global_clipnorm"
    assert {arm: loading.load(config_name(arm)).name for arm in ARMS} == {arm: arm for arm in ARMS}


@pytest.mark.slow
def test_reproduce_from_end_to_end_and_interrupted(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real training on the sample, shortened; stopped after a few runs, the same command finishes the rest."""
    load_all = loading.load_all
    short = ("data.subset=sample", "training.epochs=2", "training.steps_per_epoch=5", "engine.jit=false")

    def load_short(names: Any, **others: Any) -> list[loading.Config]:
        loaded = [loading.load(name) for name in names]
        return [load_all([name], [*short, f"name={given.name}"], **others)[0] for name, given in zip(names, loaded, strict=True)]

    monkeypatch.setattr(loading, "load_all", load_short)
    train, trained = Workshop.train, []

    def counted(workshop: Workshop, *others: Any) -> Any:
        if len(trained) == 5:
            raise KeyboardInterrupt
        trained.append(others)
        return train(workshop, *others)

    monkeypatch.setattr(Workshop, "train", counted)
    first = CliRunner().invoke(main, ["reproduce", "--seeds", "2", "--jobs", "1", "--results", str(results)])
    assert first.exit_code == 130, first.output
    assert not (results / "report.md").exists()
    plan = (results / "plan.json").read_bytes()
    monkeypatch.setattr(Workshop, "train", train)
    second = CliRunner().invoke(main, ["reproduce", "--seeds", "2", "--results", str(results)])
    assert second.exit_code == 0, second.output
    assert "29 of 34 runs to train" in second.stderr
    assert (results / "plan.json").read_bytes() == plan
    assert "Nothing of it had been seen before. As planned." in (results / "report.md").read_text()
    answers = {claim["id"]: claim["verdict"] for claim in json.loads((results / "claims.json").read_text())["claims"]}
    assert answers["C1"] == "supported"
    assert answers["C2"] == "not testable here"  # in ten steps no element of a gradient is above the threshold
    import_pytorch()  # for the second half
    other = results.with_name("other")
    arguments = ["--seeds", "2", "--jobs", "1", "--results", str(other), "--framework", "pytorch", "--against", str(results)]
    third = CliRunner().invoke(main, ["reproduce", *arguments])
    assert third.exit_code == 0, third.output
    assert "PyTorch and TensorFlow (Keras) agree on" in third.stdout
    assert json.loads((other / "none" / "seed-0" / "run.json").read_text())["versions"].keys() >= {"torch"}


def test_a_framework_that_lacks_what_an_arm_needs_is_refused(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the runs are planned, with file, line and column, in the words that a config gets that asks for it itself."""
    without_adam = FRAMEWORKS["pytorch"]._replace(
        lacking=lambda config: {"optimizer.name": "adam is not there"} if config.optimizer.name == "adam" else {},
    )
    monkeypatch.setattr(loading, "FRAMEWORKS", {**FRAMEWORKS, "pytorch": without_adam})
    ended = CliRunner().invoke(main, ["reproduce", "--framework", "pytorch", "--results", str(results), "--dry-run"])
    assert ended.exit_code == 2
    (mistake,) = mistakes("adam/none", "engine.framework=pytorch")
    assert re.fullmatch(r".*adam/none\.yaml:\d+:\d+: optimizer\.name: adam is not there", mistake)
    assert mistake in ended.stderr


def test_each_arm_is_trained_by_the_framework_and_keeps_its_name(results: Path) -> None:
    planned = plan_reproduction(SEEDS, results, "pytorch")
    assert {run.config.engine.framework for run in planned} == {"pytorch"}
    assert {run.config.name for run in planned} == set(ARMS)
