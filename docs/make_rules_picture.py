"""Draws docs/clipping/rules.png: what each rule makes of gradients of two numbers, by the rules themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradclip_cli.arrays import FloatArray
from gradclip_cli.gradients.clipping_rule import ClippingRule, Situation
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.plots import save
from gradclip_cli.plots.style import COLOURS, styled

PICTURE = Path(__file__).parent / "clipping" / "rules.png"
BEFORE, AFTER = "#9a9a9a", COLOURS[2]
RADII, DIRECTIONS = (0.6, 1.7, 2.7), 8
EARLIER_STEPS = 300
IN_A_ROW, EDGE = 3, 3.1


@dataclass(frozen=True)
class Example:
    """A rule, how a gradient's two numbers are spread over variables, and what the panel says of it."""

    rule: ClippingRule
    shapes: Sequence[tuple[int, ...]]
    said: str
    weights: Sequence[FloatArray] = ()

    @property
    def name(self) -> str:
        """As in a config, with its threshold."""
        return self.rule.label

    def memory(self) -> dict[str, FloatArray]:
        """What the rule remembers after many ordinary steps: norms about 1, of which the first number is the larger."""
        draws = np.random.default_rng(0)
        memory = self.rule.memory(len(self.shapes))
        for norm in draws.uniform(0.7, 1.3, EARLIER_STEPS):
            memory = dict(self.rule.apply(self._situation(norm * np.array([0.9, np.sqrt(0.19)]), memory), np).memory)
        return memory

    def clipped(self, gradients: FloatArray) -> FloatArray:
        """What the rule leaves of each of N gradients, (N, 2), each as the next step after the earlier ones."""
        memory = self.memory()
        with np.errstate(all="ignore"):  # what is not taken may be no number
            left = [self.rule.apply(self._situation(gradient, memory), np).gradients for gradient in gradients]
        return np.array([np.concatenate([np.ravel(part) for part in parts]) for parts in left])

    def _situation(self, gradient: FloatArray, memory: dict[str, FloatArray]) -> Situation:
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        parts = [part.reshape(shape) for part, shape in zip(np.split(gradient, ends), self.shapes, strict=True)]
        return Situation(parts, [self.rule.threshold_of_all or np.inf] * len(parts), self.weights, memory)


def examples() -> list[Example]:
    """All rules, in the order of their table; clipnorm twice, since it depends on whether two numbers are of one variable."""
    one, two = [(2,)], [(1,), (1,)]
    made = {
        "none": (two, "nothing is changed"),
        "clipvalue": (one, "each number by itself"),
        "global_clipnorm": (two, "all variables together"),
        "normalize": (two, "always this norm"),
        "autoclip": (two, "10th percentile of norms so far"),
        "median": (two, "twice the median norm so far"),
        "zclip": (two, "the longer, the shorter after"),
        "adagc": (two, "each variable's usual norm"),
        "skip": (two, "no step where one stands out"),
    }
    found = []
    for mode, rule in RULES.items():
        if mode == "clipnorm":
            clipnorm = rule.model_validate({"threshold": 1})
            found += [
                Example(clipnorm, one, "two numbers of one variable"),
                Example(clipnorm, two, "two variables, a number each"),
            ]
        elif mode == "agc":
            weights = [np.array([[1.6, 0.8]])]
            found.append(Example(rule.model_validate({"threshold": 1}), [(1, 2)], "the weights' norms: 1.6 and 0.8", weights))
        else:
            shapes, said = made.get(mode, (two, rule.in_words.bound))
            settings = {"threshold": 1} if "threshold" in rule.model_fields else {}
            found.append(Example(rule.model_validate(settings), shapes, said))
    return found


def circle(radius: float, points: int, turned: float = 0.0) -> FloatArray:
    """Gradients of one length in directions evenly spread, (points, 2)."""
    angles = 2 * np.pi * (np.arange(points) + turned) / points
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def figure() -> Figure:
    """A panel a rule: each arrow leads from a gradient before clipping to the same one after it."""
    shown = examples()
    rows = -(-len(shown) // IN_A_ROW)
    with styled():
        drawn = Figure(figsize=(8.0, 2.95 * rows + 0.5), layout="constrained")
        drawn.get_layout_engine().set(h_pad=0.08, w_pad=0.08)
        drawn.suptitle("From each gradient (grey) to what a rule makes of it (blue)", fontsize=13, weight="bold")
        for axes, example in zip(drawn.subplots(rows, IN_A_ROW, sharex=True, sharey=True).flat, shown, strict=True):
            _draw(axes, example)
    return drawn


def _draw(axes: Axes, example: Example) -> None:
    before = np.concatenate(
        [circle(radius, DIRECTIONS, turned) for radius, turned in zip(RADII, (0.25, 0.75, 0.25), strict=True)]
    )
    after = example.clipped(before)
    if example.rule.mode != "none":
        edge = example.clipped(circle(RADII[-1], 721))
        axes.plot(*np.concatenate([edge, edge[:1]]).T, color=AFTER, linewidth=1.0, alpha=0.55)
    for start, end in zip(before, after, strict=True):
        if not np.allclose(start, end):
            arrow = {"arrowstyle": "-|>", "color": BEFORE, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 1}
            axes.annotate("", end, start, arrowprops=arrow)
    axes.plot(*before.T, "o", color=BEFORE, markersize=3.5)
    axes.plot(*after.T, "o", color=AFTER, markersize=4.5)
    axes.set_xlim(-EDGE, EDGE)
    axes.set_ylim(-EDGE, EDGE)
    axes.set_aspect("equal")
    axes.set_xlabel("first number" if axes.get_subplotspec().is_last_row() else "")
    axes.set_ylabel("second number" if axes.get_subplotspec().is_first_col() else "")
    axes.set_xticks([-2, -1, 0, 1, 2])
    axes.set_yticks([-2, -1, 0, 1, 2])
    axes.set_title(f"{example.name}\n", fontsize=11.5)
    axes.annotate(example.said, (0, 1.02), xycoords="axes fraction", fontsize=9.5, va="bottom")


if __name__ == "__main__":
    save(figure(), [PICTURE])
