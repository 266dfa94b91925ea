"""What arms are held against where nobody says: never a guess, and of unrelated arms it is told which belong together."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_runs import CLASSES, ENDS, REGRESSION, store_own

from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import comparison

UNCLIPPED = ["clipping={mode: none}"]


def asked(results: Path) -> str:
    with pytest.raises(ReportError) as raised:
        comparison.compare(results)
    return str(raised.value)


def test_unrelated_arms_are_told_apart_by_their_problems_with_what_to_type(results: Path) -> None:
    for arm, text in (("houses-a", REGRESSION), ("reviews-a", CLASSES)):
        store_own(results, arm, ENDS[:2], text=text, settings=UNCLIPPED)
    for arm, text in (("houses-b", REGRESSION), ("houses-c", REGRESSION), ("reviews-b", CLASSES)):
        store_own(results, arm, ENDS[:2], text=text)
    assert asked(results) == (
        "2 of these arms are unclipped, and none of them is called none. They are of 2 problems, which differ in data, model or "
        "loss; compare each by itself:\n"
        f"  gradclip compare houses-a houses-b houses-c --results {results}\n"
        f"  gradclip compare reviews-a reviews-b --results {results}"
    )


def test_where_it_is_not_plain_within_a_problem_a_baseline_is_named_and_arms_alone_are_told(results: Path) -> None:
    for arm in ("houses-a", "houses-b"):
        store_own(results, arm, ENDS[:2])
    store_own(results, "reviews", ENDS[:2], text=CLASSES)
    lines = asked(results).splitlines()
    assert lines[1:] == [
        f"  gradclip compare houses-a houses-b --baseline houses-a --results {results}",
        "  reviews: no other arm is of its problem",
    ]


def test_arms_of_one_problem_want_a_baseline(results: Path) -> None:
    for arm, batch in (("a", 8), ("b", 16)):
        text = REGRESSION.replace("houses.npz", f"houses.npz, batch_size: {batch}")
        store_own(results, arm, ENDS[:2], text=text)
    assert asked(results) == "None of these arms is unclipped: name the baseline with --baseline. It can be a, b"


def test_the_usual_folder_goes_unnamed(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results.parent)
    for arm, text in (("a", REGRESSION), ("b", REGRESSION), ("c", CLASSES)):
        store_own(Path("results"), arm, ENDS[:2], text=text)
    assert asked(Path("results")).splitlines()[1] == "  gradclip compare a b --baseline a"
