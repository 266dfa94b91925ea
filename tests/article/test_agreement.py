"""Two reproductions held together: where two frameworks agree on the claims, and where they don't."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from reproduced import SEEDS, store_all

from gradclip_cli.article.report import write_reproduction
from gradclip_cli.article.reproduce import answer_claims, held_against
from gradclip_cli.errors import ReportError


def test_two_frameworks_are_held_together(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    store_all(results)
    store_all(other, clipvalue={"loss": 1.1}, settings=["engine.framework=pytorch"])
    both = held_against(answer_claims(SEEDS, other), results)
    assert both.agreement
    assert both.agreement.frameworks == ("pytorch", "tensorflow")
    assert both.agreement.differing == ["C2", "C3"]
    assert both.agreement.verdicts["C2"] == ("contradicted at SGD 0.01", "supported at SGD 0.01")
    assert {each.arm: each.against.mean for each in both.agreement.twins} == {
        "none": 0, "clipnorm": 0, "control": 0, "clipvalue": pytest.approx(-100 * 0.2 / 3)
    }  # fmt: skip
    write_reproduction(both, other)
    report = (other / "report.md").read_text()
    assert "PyTorch and TensorFlow (Keras) agree on 6 of 8 claims. They differ on C2: contradicted at SGD 0.01 and" in report
    assert json.loads((other / "claims.json").read_text())["agreement"]["differing"] == ["C2", "C3"]
    assert (other / "frameworks.png").stat().st_size > 10_000
    shutil.rmtree(other)
    store_all(other, settings=["engine.framework=pytorch"])
    alike = held_against(answer_claims(SEEDS, results), other).agreement
    assert alike
    assert alike.sentence == "TensorFlow (Keras) and PyTorch agree on all 8 claims."


def test_one_framework_is_not_held_against_itself(results: Path) -> None:
    store_all(results)
    with pytest.raises(ReportError, match="Both were trained by tensorflow"):
        held_against(answer_claims(SEEDS, results), results)
