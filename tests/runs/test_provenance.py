"""What a result may depend on is on record."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from gradclip_cli import __version__
from gradclip_cli.runs.provenance import provenance

CHECKOUT = Path(__file__).parents[2]


def test_provenance_names_versions_commit_and_machine() -> None:
    facts = provenance("tensorflow")
    assert set(facts["versions"]) >= {"python", "tensorflow", "keras", "numpy", "gradclip-cli"}
    assert facts["versions"]["gradclip-cli"] == __version__  # not of what was installed when it was another one
    assert facts["machine"]["cores"] == os.cpu_count()
    commit = None
    if (CHECKOUT / ".git").exists():
        asked = ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"]
        commit = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    assert facts["git_commit"] in (commit, f"{commit}-dirty")
