"""How far a run is by the ends of its files, whatever stands in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradclip_cli.runs.standing import last_lines, line_with, standing
from gradclip_cli.runs.store import RunDirectory

STEPS = "step,loss\n" + "".join(f"{step},1.5\n" for step in range(1, 5001))


@pytest.mark.parametrize(
    ("metrics", "steps", "expected"),
    [
        (None, None, ""),
        ("epoch,loss\n", "step,loss\n", ""),
        ("epoch,loss\n", "9" * 5000 + ",1\n", ""),
        (None, STEPS, "5,000 steps"),
        (None, STEPS + "50", "5,000 steps"),
        ("epoch,loss,accuracy\n1,0.5,1\n", STEPS, "1 epoch, 5,000 steps, loss 0.5000"),
        ("epoch,loss\n1,0.5\n2,nan\n", "step\n1\n", "2 epochs, 1 step, loss nan"),
        ("epoch,loss\n1,\n", None, "1 epoch"),
        ("\0\n\xff\n", "a\nb,c\n", ""),
    ],
)
def test_it_is_told_in_words(metrics: str | None, steps: str | None, expected: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for path, text in ((run.metrics_path, metrics), (run.steps_path, steps)):
        if text is not None:
            path.write_bytes(text.encode("latin-1"))
    assert standing(run) == expected


def test_last_lines_are_those_that_a_terminal_shows(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    assert last_lines(path, 2) == []
    path.write_bytes(b"x" * 10**5 + b"\nfirst\n1/2\r2/2 \x1b[31mred\x1b[0m\r\n\n  \nlast \xff")
    assert last_lines(path, 3) == ["first", "2/2 red", "last \N{REPLACEMENT CHARACTER}"]


def test_a_line_is_found_by_its_words_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    assert line_with(path, "told") == ""
    path.touch()
    assert line_with(path, "told") == ""
    path.write_text("x" * 10**6 + "\nWarning: told once: why\n" + "y\n" * 10**5)
    assert line_with(path, "told") == "told once: why"
    assert line_with(path, "untold") == ""
