"""A comparison in one line: every verdict with its arms, what it must not be read without, and how the runs ended."""

from __future__ import annotations

from pathlib import Path

from conftest import store_run
from made_up import BASE, BETTER, store_arm

from gradclip_cli.evidence import comparison, summaries
from gradclip_cli.evidence.verdicts import Verdict


def line(results: Path, *arms: str, **asked: object) -> str:
    compared = comparison.compare(results, arms, "none", **asked)  # type: ignore[arg-type]
    return "".join(part.text for part in summaries.of_comparison(compared))


def test_arms_stand_by_their_verdicts_the_telling_ones_first(results: Path) -> None:
    store_arm(results, "none", BASE)
    store_arm(results, "clipnorm", [*BASE[4:], *BASE[:4]], base="clipnorm")
    store_arm(results, "clipvalue", BETTER, base="clipvalue")
    assert line(results) == "clipvalue helps; clipnorm: no difference shown. 24 runs, all complete."
    compared = comparison.compare(results, baseline="none")
    assert [part.verdict for part in summaries.of_comparison(compared) if part.verdict] == ["helps", "no difference shown"]
    store_arm(results, "global_clipnorm", BETTER, base="global_clipnorm")
    store_arm(results, "high", [loss + 0.3 for loss in BASE], base="clipvalue", settings=["optimizer.learning_rate=0.1"])
    assert line(results) == (
        "clipvalue, global_clipnorm help; high hurts (differs in more than clipping); clipnorm: no difference shown. "
        "40 runs, all complete."
    )


def test_diverged_runs_are_counted_by_arm(results: Path) -> None:
    store_arm(results, "none", BASE, status="diverged")
    store_arm(results, "clipvalue", BETTER, base="clipvalue")
    store_run(results, "clipvalue", 99, [2.0], base="clipvalue", status="diverged")
    assert line(results).endswith(" 17 runs, diverged: 8 of none, 1 of clipvalue.")


def test_few_seeds_one_arm_and_no_shared_seed(results: Path) -> None:
    store_arm(results, "none", BASE[:1])
    assert line(results) == "There is one arm only, so nothing is compared. 1 run, complete."
    store_arm(results, "clipnorm", BETTER[:1], base="clipnorm")
    store_arm(results, "apart", BETTER[:2], base="clipvalue", first_seed=5)
    assert line(results) == "clipnorm: exploratory; apart: no shared seed. 4 runs, all complete."
    assert line(results, "none", "apart") == "apart: no shared seed. 3 runs, all complete."


def test_what_is_exploratory_for_another_reason_says_so(results: Path) -> None:
    from gradclip_cli.evidence import ledger
    from gradclip_cli.evidence.questions import Question

    store_arm(results, "none", BASE)
    store_arm(results, "clipvalue", BETTER, base="clipvalue")
    first = comparison.compare(results, baseline="none")
    ledger.record(results, first.first_compared, [first.look])
    assert line(results, question=Question("val_loss")).startswith("clipvalue helps (exploratory). ")


def test_tests_are_counted_by_what_they_found() -> None:
    found = [Verdict.NO_DIFFERENCE, Verdict.HELPS, Verdict.NO_DIFFERENCE]
    assert "".join(part.text for part in summaries.counts(found)) == "3 tests: helps in 1, no difference shown in 2. "
    assert summaries.counts([]) == []
