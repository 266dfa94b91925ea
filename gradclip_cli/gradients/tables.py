"""The rules in tables, as docs/rules.md shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.gradients.scopes import NOTHING


def formulas() -> str:
    """What each rule bounds, how, and what its threshold is held against: a table in Markdown."""
    rows = [(mode, rule.in_words.bound, rule.in_words.formula, _scope(rule)) for mode, rule in RULES.items()]
    return _markdown(("mode", "bound", "formula", "scope"), rows)


def fates() -> str:
    """What becomes of gradients that are not finite: a table in Markdown, in one row rules that do alike."""
    alike: dict[tuple[str, str], list[str]] = {}
    for mode, rule in RULES.items():
        alike.setdefault((rule.in_words.infinite, rule.in_words.nan), []).append(mode)
    rows = [(", ".join(modes), *(words.format(part=_parts(modes)) for words in fate)) for fate, modes in alike.items()]
    return _markdown(("mode", "an infinite element", "a NaN element"), rows)


def _scope(rule: type[ClippingRule]) -> str:
    return "-" if rule.scope is NOTHING else rule.scope.name


def _parts(modes: Sequence[str]) -> str:
    """What the first rule's scope calls a part, and in brackets the others' words: `variable (agc: unit)`."""
    part, *others = [(mode, RULES[mode].scope.part) for mode in modes]
    return part[1] + "".join(f" ({mode}: {word})" for mode, word in others if word != part[1])


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(cells) for cells in (header, *rows)]
    return "\n".join([f"| {lines[0]} |", "|" + "---|" * len(header), *(f"| {line} |" for line in lines[1:])])
