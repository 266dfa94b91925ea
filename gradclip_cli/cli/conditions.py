"""`compare --fail-if`: conditions as they are given, what came of them on stderr and in JSON, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from gradclip_cli.cli.options import Command, remark
from gradclip_cli.errors import ConditionError, ExitCode, ReportError

if TYPE_CHECKING:
    from gradclip_cli.evidence.conditions import Condition, Outcome


class ConditionText(click.ParamType["Condition"]):
    """A condition on arms, such as hurts, val_accuracy<0.6 or clipvalue:diverged."""

    name = "condition"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Condition:
        from gradclip_cli.evidence.conditions import Condition

        if isinstance(value, Condition):
            return value
        try:
            return Condition.read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from gradclip_cli.evidence.conditions import WORDS

        return [CompletionItem(word) for word in WORDS if word.startswith(incomplete)]


def fail_if_option() -> Callable[[Command], Command]:
    """`--fail-if`, as often as it is given."""
    return click.option(
        "--fail-if",
        multiple=True,
        type=ConditionText(),
        metavar="[ARM:]CONDITION",
        help=f"Exit {ExitCode.CONDITION:d} where it holds of an arm: hurts, diverged, collapsed, or a bar for the typical value "
        "of any metric, such as 'val_accuracy < 0.6' (quoted, in the unit of metrics.csv). Repeatable.",
    )


def with_arms_found(conditions: Sequence[Condition], results: Path) -> list[Condition]:
    """The conditions with their arms' own names. Raises ConditionError for an arm that isn't there."""
    from gradclip_cli.runs import names

    try:
        return [replace(each, arm=names.find_arms([each.arm], results)[0]) if each.arm else each for each in conditions]
    except ReportError as error:
        raise ConditionError(f"--fail-if: {error}") from None


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What came of the conditions, for JSON; nothing where there are none."""
    return {"fail_if": [outcome.to_dict() for outcome in outcomes]} if outcomes else {}


def end_by(outcomes: Sequence[Outcome], facts: dict[str, Any]) -> None:
    """Say on stderr what came of each condition, and end the command as they ask for.

    Raises ConditionError, with `facts` for its JSON, where one can't be judged.
    """
    from gradclip_cli.cli.console import note

    for outcome in outcomes:
        if outcome.holds:
            note(f"--fail-if {outcome}", "red")
        elif outcome.holds is False:
            remark(f"--fail-if {outcome}")
    if unknown := [f"--fail-if {outcome}" for outcome in outcomes if outcome.holds is None]:
        raise ConditionError("\n".join(unknown), facts)
    if any(outcome.holds for outcome in outcomes):
        click.get_current_context().exit(ExitCode.CONDITION)
