"""The reproduction's report says what was measured, in claims.json as on the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reproduced import SEEDS, SUPPORTED, save_only, store_all

from gradclip_cli import plots
from gradclip_cli.article.claims import CLAIMS
from gradclip_cli.article.report import in_short, to_markdown, write_reproduction
from gradclip_cli.article.reproduce import ARMS, ASSUMED, answer_claims


def test_all_supported_and_the_files_say_so(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_only(monkeypatch, ".png")
    store_all(results)
    reproduction = answer_claims(SEEDS, results)
    write_reproduction(reproduction, results)
    told = {name: answer.verdict for name, answer in reproduction.answers.items()}
    assert told == SUPPORTED
    content = json.loads((results / "claims.json").read_text(), parse_constant=pytest.fail)
    assert {claim["id"]: claim["verdict"] for claim in content["claims"]} == told
    ledger = json.loads((results / "looks.json").read_text())
    assert ledger["first_compared"] == dict.fromkeys(ARMS, SEEDS)
    assert [(look["baseline"], look["metric"]) for look in ledger["looks"][:3]] == [
        ("none", "val_accuracy"),
        ("none", "loss"),
        ("none", "loss_area"),
    ]
    page = (results / "report.md").read_text()
    for figure in ("comparison.png", "differences.png", "noise.png", "explosion.png"):
        assert f"({figure})" in page
        assert (results / figure).stat().st_size > 10_000
    assert all(f"| **{verdict}** |" in page for verdict in SUPPORTED.values())
    assert all(f"## {claim}: {CLAIMS[claim].statement} **S" in page or claim == "C6" for claim in SUPPORTED)
    assert "**Escapes: supported; learns within 12 steps: supported**" in page
    assert all(f"*The rule.* {claim.rule}\n\n*Written:* {claim.written}\n" in page for claim in CLAIMS.values())
    assert all(f"- {sentence}\n" in page for answer in reproduction.answers.values() for sentence in answer.beside)
    assert all(assumed in page for assumed in ASSUMED)


def test_the_plan_and_what_came_of_it_stand_in_the_report(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_all(results)
    (results / "experiment.json").write_text(json.dumps({"schema": 1, "seeds": SEEDS[:-1], "started": "2026-11-22"}))
    reproduction = answer_claims(SEEDS, results)
    page, plan = to_markdown(reproduction), json.loads(reproduction.to_json())["plan"]
    assert "## The plan\n\nOnly the seeds were planned, on 2026-11-22 (experiment.json): 0-7.\n\nDifferent now:" in page
    assert plan["changes"] == ["Added to those of the plan: seed 8."]
    assert f"- {plan['changes'][0]}" in page
    assert reproduction.accuracy.exploratory == ["seed 8 not planned"]


def test_two_intervals_of_one_difference_are_explained(results: Path) -> None:
    store_all(results)
    page = to_markdown(answer_claims(SEEDS, results))
    assert "So clipvalue's interval may be wider here than under C2, where it stands by itself." in page
    assert "adjusted as p is" not in page


def test_the_page_shows_stored_texts_literally_and_its_own_markup_as_such(results: Path) -> None:
    store_all(results, none={"machine": {"system": "<b>", "processor": "*x* | y"}})
    page = to_markdown(answer_claims(SEEDS, results))
    assert r"&lt;b&gt;, \*x\* \| y." in page
    assert "**supported at SGD 0.01**" in page


def test_steps_that_cannot_be_read_are_told_in_the_report(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_all(results)
    for name in ("comparison_figure", "differences_figure", "save"):
        monkeypatch.setattr(plots, name, lambda *anything: None)
    for arm in ("clipvalue", "explode-clipnorm"):
        (results / arm / "seed-2" / "steps.csv").write_text("step\n1\n")
    drawn = write_reproduction(answer_claims(SEEDS, results), results)
    assert drawn.to_json() == (results / "claims.json").read_text()
    page = (results / "report.md").read_text()
    for arm in ("clipvalue", "explode-clipnorm"):
        assert sum(f"{arm}/seed-2/steps.csv" in note for note in drawn.notes) == 1
        assert f"{arm}/seed-2/steps.csv" in page


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        (["C2"], "C2"),
        (["C2", "C3", "C4", "C5"], "C2 to C5"),
        (["C2", "C3", "C9"], "C2 to C3 and C9"),
        (["C2", "C4", "C9", "C10", "C11"], "C2, C4 and C9 to C11"),
    ],
)
def test_claims_in_short(claims: list[str], told: str) -> None:
    assert in_short(claims) == told
