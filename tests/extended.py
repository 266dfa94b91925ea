"""A checkout with what docs/extending.md adds in one of its sections, and what its command says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def files_of(section: str) -> dict[str, str]:
    """The files that a section writes, by their paths."""
    text = (CHECKOUT / "docs" / "extending.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    files = re.findall(r"^    `(\S+)`:\n\n    ```python\n(.*?)^    ```$", text, flags=re.MULTILINE | re.DOTALL)
    return {path: textwrap.dedent(content) for path, content in files}


def with_files(checkout: Path, files: dict[str, str]) -> Path:
    """A copy of this checkout with some more files, and no other change."""
    shutil.copytree(CHECKOUT / "gradclip_cli", checkout / "gradclip_cli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CHECKOUT / "configs", checkout / "configs")
    for path, content in files.items():
        (checkout / path).write_text(content)
    return checkout


def told(checkout: Path, *command: str, **environment: str) -> str:
    """What a command of that checkout prints, its output and its errors."""
    ended = subprocess.run(
        [sys.executable, "-m", "gradclip_cli", *command],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return " ".join((ended.stdout + ended.stderr).split())
