"""Which arm the others are held against where nobody says, and which arms can be held against each other at all."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from gradclip_cli.errors import ReportError
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.sentences import some_of

USUAL_FOLDER = Path("results")
"""Where commands look for runs unless they are told otherwise."""
MOST_PROBLEMS = 10


def baseline_first(arms: Sequence[Arm], baseline: str | None) -> list[Arm]:
    """The arms, the baseline before the others: the one that is unclipped, of several the one named `none`.

    Raises ReportError where it isn't among them, or none is given and it isn't plain which it is.
    """
    if baseline is None:
        base = _only_unclipped(arms)
    else:
        found = next((arm for arm in arms if arm.name == baseline), None)
        if found is None:
            raise ReportError(f"No arm '{baseline}' to compare with. There are: {', '.join(arm.name for arm in arms)}")
        base = found
    return [base, *(arm for arm in arms if arm is not base)]


def _only_unclipped(arms: Sequence[Arm]) -> Arm:
    """The arm that the others are held against where nobody says which. Raises ReportError where that would be a guess."""
    named, unclipped = _candidates(arms), _unclipped(arms)
    if len(named) == 1:
        return named[0]
    several = f"{len(unclipped)} of these arms are unclipped, and none of them is called none"
    why = several if unclipped else "None of these arms is unclipped"
    if len(problems := _by_problem(arms)) > 1:
        raise ReportError(f"{why}. {_each_by_itself(problems)}")
    raise ReportError(f"{why}: name the baseline with --baseline. It can be {some_of([arm.name for arm in unclipped or arms])}")


def _unclipped(arms: Sequence[Arm]) -> list[Arm]:
    return [arm for arm in arms if arm.config.clipping.mode == "none"]


def _candidates(arms: Sequence[Arm]) -> list[Arm]:
    """What may be the baseline: one alone where it is plain."""
    unclipped = _unclipped(arms) if len(arms) > 1 else list(arms)
    return [arm for arm in unclipped if arm.name == "none"] if len(unclipped) > 1 else unclipped


def _by_problem(arms: Sequence[Arm]) -> list[list[Arm]]:
    """The arms that have data, model and loss in common."""
    problems: dict[str, list[Arm]] = {}
    for arm in arms:
        data, model, loss = arm.config.data, arm.config.model, arm.config.loss
        problem = " ".join([data.model_dump_json(exclude={"batch_size"}), model.model_dump_json(), loss.model_dump_json()])
        problems.setdefault(problem, []).append(arm)
    return list(problems.values())


def _each_by_itself(problems: Sequence[Sequence[Arm]]) -> str:
    """Which arms belong together, as the command that compares them."""
    told = f"They are of {len(problems)} problems, which differ in data, model or loss; compare each by itself:"
    together = sorted(problems, key=lambda arms: len(arms) == 1)
    more = [f"  and {len(problems) - MOST_PROBLEMS} more problems"] if len(problems) > MOST_PROBLEMS else []
    return "\n".join([told, *map(_to_type, together[:MOST_PROBLEMS]), *more])


def _to_type(arms: Sequence[Arm]) -> str:
    """The command that compares the arms of a problem, with a baseline where it wouldn't be plain."""
    if len(arms) == 1:
        return f"  {arms[0].name}: no other arm is of its problem"
    words = ["gradclip", "compare", *(arm.name for arm in arms)]
    if len(_candidates(arms)) != 1:
        words += ["--baseline", (_unclipped(arms) or arms)[0].name]
    results = arms[0].runs[0].directory.path.parent.parent
    return f"  {shlex.join(words if results == USUAL_FOLDER else [*words, '--results', str(results)])}"
