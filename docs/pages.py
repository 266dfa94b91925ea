"""Pages with tables that a script writes: each stands between two marks, and the text around them is left as it is."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Tables = Mapping[str, Callable[[], str]]
"""What makes each table, by the name in its marks."""


def marked(name: str, content: str) -> str:
    """A table between the marks that say where it stands in the page."""
    return f"<!-- {name} -->\n\n{content}\n\n<!-- end -->"


def written_anew(page: str, tables: Tables) -> str:
    """The page with each table anew between its marks. Raises ValueError where it has no such marks, or several."""
    for name, build in tables.items():
        before, *found = re.split(f"<!-- {name} -->.*?<!-- end -->", page, flags=re.DOTALL)
        if len(found) != 1:
            raise ValueError(f"the page has {len(found)} places for the table {name}")
        page = f"{before}{marked(name, build())}{found[0]}"
    return page


def write_or_check(arguments: Sequence[str], path: Path, tables: Tables) -> int:
    """Write a page anew, or with `--check` say whether that would change it; returns the exit code."""
    page = path.read_text(encoding="utf-8")
    fresh = written_anew(page, tables)
    if arguments == ["--check"]:
        print(f"{path.name} is {'fresh' if page == fresh else 'stale: make docs writes its tables anew'}", file=sys.stderr)
        return int(page != fresh)
    path.write_text(fresh, encoding="utf-8")
    return 0
