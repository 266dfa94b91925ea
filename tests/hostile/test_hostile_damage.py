"""Whatever became of a stored file: the commands say so, and go on with the other runs."""

from __future__ import annotations

from pathlib import Path

import hostile_damage
import pytest
from hostile_texts import blocks, failures

pytestmark = pytest.mark.hostile

BLOCK = 20


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks(5_000 // BLOCK + 1, quick=1))
def test_every_damage_is_told_and_the_other_runs_are_compared(block: int) -> None:
    failures(Path(hostile_damage.__file__), block, BLOCK)


def test_each_kind_of_file_is_damaged_in_each_way(tmp_path: Path) -> None:
    """A suite whose draws reach less than it says would hold less than it says."""
    kinds = {name: hostile_damage.EVERY + hostile_damage.ITS_OWN[Path(name).suffix] for name in hostile_damage.FILES}
    assert {"truncated", "flipped", "swapped", "not_a_file", "huge", "removed"} <= {each.__name__ for each in kinds["run.json"]}
    assert {name for name, damages in kinds.items() if hostile_damage.retyped in damages} == {
        "run.json", "plan.json", "experiment.json", "looks.json", "sweep.json"
    }  # fmt: skip
