"""No text of unknown origin acts on a terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import call, gradclip, store_run
from terminal import in_terminal, plain

from gradclip_cli.runs.store import RunDirectory

HOSTILE = ["esc\x1b[31mred", "[bold]x[red]", "<script>alert(1)<", r"$\frac{$", "a|b"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders and records of names that would do something in a terminal, in markup or in Markdown."""
    results = tmp_path_factory.mktemp("hostile") / "results"
    for number, name in enumerate(HOSTILE):
        made = store_run(results, f"arm-{number}", 0, [2.0, 1.5, 1.0])
        made.path.parent.rename(results / name)
    record = RunDirectory.of(results, HOSTILE[0], 0).path / "run.json"
    content = json.loads(record.read_text())
    content |= {"status": "\x1b]0;owned\x07complete[red]", "finished": "\x1b[2J", "reason": "[link=x]\x1b[31m"}
    record.write_text(json.dumps(content))
    return results


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("arguments", [["list"], ["rm", "--dry-run"], ["show"], ["compare"]])
def test_no_stored_text_acts_on_the_terminal(arguments: list[str], hostile: Path, tmp_path: Path) -> None:
    command = arguments[0]
    out = ["--out", str(tmp_path)] if command in ("show", "compare") else []
    names = {"show": HOSTILE[:2], "rm": HOSTILE}
    for name in names.get(command, [""]):
        given = [*arguments, *([name] if name else []), *out, "--results", str(hostile)]
        ended = call(*given)
        _, shown = in_terminal(*given, width=200)
        for text in (ended.stdout, ended.stderr, plain(shown)):
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\x80-\x9f]", text)
        assert not re.search(r"\x1b\[(31mred|2J)|\x1b\]0", shown)
        if name and "\x1b" not in name:
            assert name in ended.stdout + ended.stderr
            assert name in plain(shown)
    if command == "list":
        assert "[bold]x[red]" in ended.stdout
        assert r"esc\x1b[31mred" in ended.stdout
        assert "[bold]x[red]" in plain(shown)


def test_an_argument_s_text_does_not_act_on_the_terminal_either(three_arms: Path) -> None:
    for arguments in (["show", "\x1b[31mx"], ["run", "\x1b[31mx"], ["show", "--\x1b[31mx"], ["\x1b[31mx"]):
        ended = gradclip(*arguments, cwd=three_arms.parent)
        assert ended.returncode in (1, 2)
        assert "\x1b" not in ended.stderr + ended.stdout
        assert r"\x1b[31mx" in ended.stderr
