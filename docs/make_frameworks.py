"""Writes the tables of docs/frameworks.md anew; with `--check` it says whether they are fresh."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

try:
    import torch
except ImportError:
    print(
        "PyTorch is not installed (make install-pytorch): docs/frameworks.md is neither checked nor written anew", file=sys.stderr
    )
    sys.exit(not ("--check" in sys.argv and os.environ.get("CI") != "true"))  # where CI is set nothing goes unchecked

from frameworks.clipping import clipping_table, norm_table, threshold_table
from frameworks.layers import model_table
from frameworks.optimizers import lacking_table, optimizer_table, step_table

from gradclip_cli.engines.tensorflow import use_one_thread

use_one_thread()
torch.set_num_threads(1)

PAGE = Path(__file__).with_name("frameworks.md")
TABLES: dict[str, Callable[[], str]] = {
    "clipping": clipping_table,
    "thresholds": threshold_table,
    "norms": norm_table,
    "optimizers": optimizer_table,
    "steps": step_table,
    "lacking": lacking_table,
    "models": model_table,
}


def marked(name: str, content: str) -> str:
    """A table between the marks that say where it stands in the page."""
    return f"<!-- {name} -->\n\n{content}\n\n<!-- end -->"


def written_anew(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """The page with each table anew between its marks. Raises ValueError where it has no such marks, or several."""
    for name, build in tables.items():
        before, *found = re.split(f"<!-- {name} -->.*?<!-- end -->", page, flags=re.DOTALL)
        if len(found) != 1:
            raise ValueError(f"{PAGE.name} has {len(found)} places for the table {name}")
        page = f"{before}{marked(name, build())}{found[0]}"
    return page


def write_or_check(arguments: Sequence[str], path: Path = PAGE, tables: Mapping[str, Callable[[], str]] = TABLES) -> int:
    """Write the page anew, or with `--check` say whether that would change it; returns the exit code."""
    page = path.read_text(encoding="utf-8")
    fresh = written_anew(page, tables)
    if arguments == ["--check"]:
        print(f"{path.name} is {'fresh' if page == fresh else 'stale: make docs writes its tables anew'}", file=sys.stderr)
        return int(page != fresh)
    path.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(write_or_check(sys.argv[1:]))
