"""Writes the tables of docs/recording.md anew, trains its examples and draws their picture.

With `--check` it says whether what each framework logs is still as the page tells; the examples are not trained then, since their
figures differ in the last digits from machine to machine.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

try:  # all that the examples import: what is missing is told before one of them fails of it
    import accelerate  # noqa: F401
    import lightning  # noqa: F401
    import torch
    import transformers  # noqa: F401
except ImportError as error:
    print(
        f"{error.name} is not installed (make install-all): docs/recording.md is neither checked nor written anew",
        file=sys.stderr,
    )
    sys.exit(not ("--check" in sys.argv and os.environ.get("CI") != "true"))  # where CI is set nothing goes unchecked

from pages import Tables, write_or_check
from recording.costs import costs_section
from recording.demos import DEMOS, norms_table, pieces, shown, train
from recording.logged import logged_table

from gradclip_cli.engines.tensorflow import set_up

set_up()
torch.set_num_threads(1)

PAGE = Path(__file__).with_name("recording.md")
PICTURE = PAGE.with_name("recording") / "gradients.png"
DRAWN = "pytorch"
"""The arm whose picture is on the page."""
TABLES: Tables = {"logged": logged_table, "costs": costs_section}


def examples(folder: Path) -> dict[str, Callable[[], str]]:
    """What the page tells of its examples, once they are trained in a folder; their picture is drawn, too."""
    for arm, code in pieces(PAGE.read_text(encoding="utf-8")).items():
        train(arm, code, folder)
    told = {arm: f"```\n$ gradclip show {arm}\n{shown(arm, folder)}\n```" for arm in DEMOS}
    shutil.copy(folder / "results" / DRAWN / "seed-0" / PICTURE.name, PICTURE)
    return {**{arm: functools.partial(str, text) for arm, text in told.items()}, "norms": lambda: norms_table(folder)}


def main(arguments: list[str]) -> int:
    """Write the page anew, or check it; returns the exit code."""
    if arguments == ["--check"]:
        return write_or_check(arguments, PAGE, TABLES)
    with tempfile.TemporaryDirectory() as folder:
        return write_or_check(arguments, PAGE, {**TABLES, **examples(Path(folder))})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
