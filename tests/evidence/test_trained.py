"""What was trained, in words."""

from __future__ import annotations

from gradclip_cli.config import loading
from gradclip_cli.evidence import trained


def test_a_holdout_is_said_where_there_is_one() -> None:
    without, with_one = loading.load("none"), loading.load("none", ["data.holdout=5000"])
    assert "holdout" not in trained.facts([without])["data"]
    assert trained.facts([with_one])["data"].endswith("holdout 5000")
    assert trained.facts([without, with_one])["data"].endswith("holdout 0 or 5000")
