"""What a result may depend on is on record."""

from __future__ import annotations

from gradclip_cli.runs.provenance import provenance


def test_provenance_names_versions_commit_and_machine() -> None:
    facts = provenance("tensorflow")
    assert set(facts["versions"]) >= {"python", "tensorflow", "keras", "numpy", "gradclip-cli"}
    assert facts["machine"]["cores"] >= 1
    assert facts["git_commit"] is None or len(facts["git_commit"].removesuffix("-dirty")) == 40
