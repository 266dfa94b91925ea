"""How arms are held against a baseline: by seed, or unpaired where nobody named some run's; and what a reader must know of it."""

from __future__ import annotations

from collections.abc import Sequence

from gradclip_cli.config.seeds import seed_list
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.questions import Yardstick
from gradclip_cli.evidence.sentences import some_of
from gradclip_cli.evidence.starts import Start
from gradclip_cli.evidence.unpaired import Unpaired
from gradclip_cli.evidence.verdicts import Pair, TwoArms
from gradclip_cli.texts import counted


def two_arms(base: Arm, arm: Arm, yardstick: Yardstick) -> TwoArms | None:
    """Two arms by seed, or unpaired where some run doesn't know its seed; None where they can be paired, but share no seed."""
    return Pair.of(base, arm, yardstick) if _can_be_paired(base, arm) else Unpaired.of(base, arm, yardstick)


def _can_be_paired(base: Arm, arm: Arm) -> bool:
    """Whether somebody named the seed of each run of both."""
    return not (base.unnamed or arm.unnamed)


def pairing_notes(base: Arm, arms: Sequence[Arm]) -> list[str]:
    """What a reader must know of arms' twins in the baseline: which runs have none, and which did not start alike."""
    paired = [arm for arm in arms if _can_be_paired(base, arm)]
    apart = [arm for arm in arms if not _can_be_paired(base, arm)]
    return [*(note for arm in paired for note in _twin_notes(base, arm)), *([_unpaired_note(base, apart)] if apart else [])]


def _twin_notes(base: Arm, arm: Arm) -> list[str]:
    shared = set(base.seeds) & set(arm.seeds)
    start = Start.of(base.only(shared), arm.only(shared))
    return [note for note in (_unshared(base, arm), *start.notes(base.name, arm.name)) if note]


def _unshared(base: Arm, arm: Arm) -> str | None:
    only_base, only_arm = sorted(set(base.seeds) - set(arm.seeds)), sorted(set(arm.seeds) - set(base.seeds))
    if not only_base and not only_arm:
        return None
    alone = "; ".join(
        f"only {name} has {seed_list(seeds)}" for name, seeds in ((base.name, only_base), (arm.name, only_arm)) if seeds
    )
    shared = len(set(base.seeds) & set(arm.seeds))
    if not shared:
        return f"{arm.name} shares no seed with {base.name}, so they can't be paired ({alone}). Train the same seeds of both."
    return f"{arm.name} and {base.name} are compared on the {counted(shared, 'seed')} that both have ({alone})."


def _unpaired_note(base: Arm, arms: Sequence[Arm]) -> str:
    """Why these arms are not paired with the baseline, and what would pair them."""
    unnamed = [f"{seed_list(each.unnamed)} of {each.name}" for each in (base, *arms) if each.unnamed]
    compared = "is compared" if len(arms) == 1 else "are compared"
    return (
        f"{some_of([arm.name for arm in arms])} {compared} with {base.name} unpaired, each run with each of its runs: nobody "
        f"named the seeds of runs {some_of(unnamed)}; they are numbered in the order of recording, which pairs nothing. To pair "
        "runs, record each in the folder of its seed, such as results/ARM/seed-7."
    )
