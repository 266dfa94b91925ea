"""No clipping: every gradient as it is."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from gradclip_cli.gradients.clipping_rule import Clipped, ClippingRule, InWords, Situation
from gradclip_cli.gradients.scopes import NOTHING


class Unclipped(ClippingRule):
    """No clipping."""

    mode: Literal["none"] = Field(default="none", description="Gradients are used as they are.")

    place: ClassVar = 0
    scope: ClassVar = NOTHING
    in_words: ClassVar = InWords(bound="-", formula="g", infinite="stays", nan="stays")

    def apply(self, now: Situation, xp: Any) -> Clipped:
        return Clipped(list(now.gradients))
