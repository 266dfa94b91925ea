"""One run's gradients: their norm and each variable's share in it, before and after clipping, the updates, the loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gradclip_cli.arrays import FloatArray
from gradclip_cli.labels import elided
from gradclip_cli.plots.ranges import below, set_range
from gradclip_cli.plots.style import (
    PLAIN_STYLES,
    LineEnd,
    StyledFigure,
    draw_line,
    drawable,
    finite,
    fitted,
    fitted_in,
    ink,
    known,
    line_style,
    name_lines,
    percent,
    positive,
    say_nothing_to_draw,
    set_log_limits,
    styled,
    text_width,
    whole_numbers,
)
from gradclip_cli.plots.trace import Applied, GradientTrace

LINE, ENVELOPE, SPIKE, THRESHOLD, DIVERGED = "#000000", "#808080", "#D55E00", "#0072B2", "#C00000"
# Of what clipping took off, and of the median and the largest of what it left; they differ in grey too.
CUT, AFTER, LARGEST_AFTER, AFTER_DASH = "#F0AC2C", "#007A5A", "#606060", (0, (4, 1.5))
JOINT = "all together"
# In inches; the first gap holds the strip of clipped steps.
PANEL_WIDTH, LEFT, TOP, BOTTOM, EPOCHS, FIRST_GAP, GAP = 7.4, 1.0, 0.75, 0.62, 0.53, 0.78, 0.5
# So many variables at most have a line and a name of their own, those with the largest norms; and so many thresholds are named.
MOST_VARIABLES, MOST_THRESHOLDS, MOST_LETTERS = PLAIN_STYLES, 8, 48


def gradients_figure(trace: GradientTrace) -> StyledFigure:
    """Draw panels over one axis of steps: the global norm with what was clipped, each variable's, the updates, the loss."""
    with styled():
        named = min(len(trace.variables), MOST_VARIABLES + 1) + min(len(trace.thresholds), MOST_THRESHOLDS + 1)
        parts = {_draw_norm: 2.8, _draw_variables: max(2.4, 0.2 * named), _draw_updates: 1.5, _draw_loss: 1.8}
        if trace.updates is None:
            del parts[_draw_updates]
        figure = StyledFigure()
        panels = figure.subplots(len(parts), 1, sharex=True)
        ends = [draw(axes, trace) for draw, axes in zip(parts, panels, strict=True)]
        bottom = _draw_steps(panels[-1], trace)
        _draw_divergence(panels, trace)
        width = LEFT + PANEL_WIDTH + 0.35 + max(1.0, text_width(name for panel in ends for _, name, _ in panel))
        title = fitted_in(trace.title, width - 0.3, 13, bold=True)
        height = _place(figure, panels, width, list(parts.values()), bottom, TOP + 0.25 * title.count("\n"))
        figure.text(0.15 / width, 1 - 0.12 / height, title, fontsize=13, weight="bold", va="top")
        for axes, panel_ends in zip(panels, ends, strict=True):
            name_lines(axes, panel_ends)
    return figure


def _place(figure: Figure, panels: Sequence[Axes], width: float, heights: Sequence[float], bottom: float, top: float) -> float:
    """Size the figure so that panels keep their size in inches, whatever stands around them; return its height."""
    gaps = [GAP] * (len(heights) - 2) + [FIRST_GAP]
    bottoms = bottom + np.cumsum([0, *(size + gap for size, gap in zip(heights[:0:-1], gaps, strict=True))])[::-1]
    height = float(bottoms[0] + heights[0] + top)
    figure.set_size_inches(width, height)
    for axes, low, size in zip(panels, bottoms, heights, strict=True):
        axes.set_position((LEFT / width, low / height, PANEL_WIDTH / width, size / height))
    return height


def _draw_norm(axes: Axes, trace: GradientTrace) -> list[LineEnd]:
    """Draw the global norm, its spikes and its threshold, and how much was clipped; return what to write beside them."""
    spikes = np.array([norm for _, norm in trace.spikes], dtype=float)
    thresholds = {scope: value for scope, value in trace.thresholds.items() if scope == JOINT}
    applied = trace.applied
    axes.set_title(
        "Gradient norm, not clipped" if applied is None else "Gradient norm before and after clipping (shaded: cut off)"
    )
    axes.set_ylabel("global L2 norm")
    after = [] if applied is None else [applied.median_norm, applied.largest_norm]
    set_range(axes, trace.median_norm, [trace.largest_norm, spikes, *after], thresholds)
    if applied is None:
        ends = _draw_median(axes, trace.steps, trace.median_norm, trace.largest_norm)
    else:
        ends = _draw_both(axes, trace, applied)
    ends += _draw_spikes(axes, trace.spikes) + _draw_zeros(axes, trace.steps, trace.median_norm)
    _draw_clipped(axes, trace)
    return ends + _draw_thresholds(axes, thresholds, {})


def _draw_variables(axes: Axes, trace: GradientTrace) -> list[LineEnd]:
    """Draw each variable's norm and the thresholds for variables or elements; return the lines' ends."""
    thresholds = {scope: value for scope, value in trace.thresholds.items() if scope != JOINT}
    what = "largest gradient element" if trace.of_elements else "gradient norm"
    after = {} if trace.applied is None else trace.applied.variables
    axes.set_title(f"Each variable's {what}{' before clipping (shaded: cut off)' if after else ''}")
    axes.set_ylabel("absolute value" if trace.of_elements else "L2 norm")
    beneath = below(trace.variables)
    norms, left = (
        [_smooth(positive(values)) if after else values for name, values in each.items() if name not in beneath]
        for each in (trace.variables, after)
    )
    set_range(axes, np.concatenate([*norms, np.empty(0)]), left, thresholds, middle=True)
    ends: list[LineEnd] = []
    colours: dict[str, str] = {}
    labels = dict(zip(trace.variables, _labels(trace.variables), strict=True))
    for index, name in enumerate(_largest(trace.variables)):
        norm, style = trace.variables[name], line_style(index)
        colours[name] = style["color"]
        shown = positive(norm)
        if name in after:
            _shade_cut(axes, trace.steps, _smooth(shown), _smooth(positive(after[name])), style["color"])
            draw_line(axes, trace.steps, _smooth(shown), linewidth=1.6, **style)
        else:
            _draw_smooth(axes, trace.steps, shown, **style)
        last = known(shown)
        text = (
            f"{labels[name]}{f', about {np.median(last):.0e} ↓' if name in beneath else ''}{_clipped_share(trace, name)}"
            if len(last)
            else f"{labels[name]}: {'all zero' if (norm == 0).any() else 'nothing finite'}"
        )
        ends.append((float(last[-1]) if len(last) else axes.get_ylim()[0], text, ink(style["color"])))
    if others := {name: norm for name, norm in trace.variables.items() if name not in colours}:
        for norm in others.values():
            draw_line(axes, trace.steps, positive(norm), color=ENVELOPE, linewidth=0.5, alpha=0.5, zorder=1.5)
        hidden = f", {len(beneath & set(others)):,} of them ↓" if beneath & set(others) else ""
        ends.append((axes.get_ylim()[0], f"and {len(others):,} variables with smaller gradients{hidden}", ENVELOPE))
    if not any(np.isfinite(positive(norm)).any() for norm in norms):
        say_nothing_to_draw(axes, "no finite gradient above zero")
    return ends + _draw_thresholds(axes, thresholds, colours)


def _clipped_share(trace: GradientTrace, name: str) -> str:
    """On what share of the steps a variable was clipped, in words; nothing where it is the same for all."""
    shares = {} if trace.applied is None else trace.applied.clipped
    if len(set(shares.values())) < 2:
        return ""
    return f", clipped on {percent(shares[name])}" if shares[name] else ", never clipped"


def _draw_updates(axes: Axes, trace: GradientTrace) -> list[LineEnd]:
    """Draw the norm of what was added to the weights; return the lines' ends."""
    axes.set_title("Norm of the update: what the optimizer added to the weights")
    axes.set_ylabel("L2 norm")
    assert trace.updates
    set_range(axes, trace.updates.median_norm, [trace.updates.largest_norm], {})
    return _draw_median(axes, trace.steps, trace.updates.median_norm, trace.updates.largest_norm)


def _largest(norms: Mapping[str, FloatArray]) -> list[str]:
    """As many variables as can be told apart, in their order: those with the largest median norms."""
    sizes = {name: float(np.median(there)) if len(there := known(norm)) else 0.0 for name, norm in norms.items()}
    chosen = set(sorted(sizes, key=lambda name: -sizes[name])[:MOST_VARIABLES])
    return [name for name in norms if name in chosen]


def _labels(names: Iterable[str]) -> list[str]:
    return [fitted(label, MOST_LETTERS) for label in elided([drawable(name) for name in names], MOST_LETTERS)]


def _draw_loss(axes: Axes, trace: GradientTrace) -> list[LineEnd]:
    """Draw the loss, on a log scale where it spans more than two powers of ten; return the lines' ends."""
    axes.set_title("Loss")
    axes.set_ylabel("loss")
    ends = _draw_median(axes, trace.steps, trace.loss, trace.largest_loss)
    losses = known(finite(np.concatenate([trace.loss, trace.largest_loss])))
    above = losses[losses > 0]
    axes.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    if not len(losses):
        axes.set_yticks([])
    elif losses.min() >= 0 and len(above) and above.max() / 100 > above.min():
        set_log_limits(axes, above.min(), above.max())
    elif losses.min() >= 0:
        axes.set_ylim(bottom=0)  # so that noise on a loss that goes nowhere looks as small as it is
    return ends


def _draw_steps(axes: Axes, trace: GradientTrace) -> float:
    """Label the axis of steps, and that of epochs beneath it where there is more than one; return their inches."""
    first, last = _edges(trace.steps)[[0, -1]]
    last = max([last, *(step + 0.5 for step, _ in trace.spikes), (trace.diverged or 0) + 0.5])
    axes.set_xlim(first - 0.01 * (last - first), last + 0.01 * (last - first))
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(whole_numbers(8))
    axes.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))
    if last <= trace.steps_per_epoch + 1:
        return BOTTOM
    pace = trace.steps_per_epoch
    epochs = axes.secondary_xaxis(-0.3, functions=(lambda step: np.divide(step, pace), lambda epoch: np.multiply(epoch, pace)))
    epochs.set_xlabel("epoch")
    epochs.xaxis.set_major_locator(whole_numbers(10))
    epochs.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))
    return BOTTOM + EPOCHS


def _draw_divergence(panels: Sequence[Axes], trace: GradientTrace) -> None:
    """Draw a line with a cross through all panels where the run diverged, and say it above the first."""
    if trace.diverged is None:
        return
    cross: dict[str, Any] = {"color": DIVERGED, "markersize": 11, "markeredgecolor": "white", "zorder": 5}
    for axes in panels:
        axes.axvline(trace.diverged, color=DIVERGED, linewidth=1.4, zorder=1.6)
        axes.plot(trace.diverged, 0.6, "X", transform=axes.get_xaxis_transform(), **cross)
    text = f"diverged at step {trace.diverged:,}"
    panels[0].annotate(text, (1, 1.02), xycoords="axes fraction", color=DIVERGED, weight="bold", ha="right", va="bottom")


def _draw_median(axes: Axes, steps: FloatArray, median: FloatArray, largest: FloatArray) -> list[LineEnd]:
    """Draw the median with the largest above it, or one line where bins hold a single step; return the lines' ends."""
    log = axes.get_yscale() == "log"
    middle, upper = (positive(values) if log else finite(values) for values in (median, largest))
    if not (np.isfinite(middle).any() or np.isfinite(upper).any()):
        say_nothing_to_draw(axes, "nothing finite above zero" if log else "nothing finite")
        return []
    if np.array_equal(middle, upper, equal_nan=True):
        draw_line(axes, steps, middle, color=LINE, linewidth=1.5 if len(steps) <= 300 else 1.0)
        return _end(middle, _which(steps), LINE)
    axes.fill_between(steps, middle, upper, color=ENVELOPE, alpha=0.25, linewidth=0)
    draw_line(axes, steps, upper, color=ENVELOPE, linewidth=0.8)
    _draw_smooth(axes, steps, middle, color=LINE)
    return _end(upper, "largest", ENVELOPE) + _end(middle, "median", LINE)


def _which(steps: FloatArray) -> str:
    """What a line's values are of where bins hold a single step."""
    return "each step" if len(steps) > 1 else "the only step"


def _draw_both(axes: Axes, trace: GradientTrace, applied: Applied) -> list[LineEnd]:
    """Draw the norm before clipping and after, and shade from the largest after to the largest before; return the lines' ends."""
    before, after = positive(trace.largest_norm), positive(applied.largest_norm)
    if not (np.isfinite(before).any() or np.isfinite(after).any()):
        say_nothing_to_draw(axes, "nothing finite above zero")
        return []
    _shade_cut(axes, trace.steps, before, after, CUT, alpha=0.5)
    median, left = positive(trace.median_norm), positive(applied.median_norm)
    draw_line(axes, trace.steps, _smooth(median), color=LINE, linewidth=1.8)
    draw_line(axes, trace.steps, _smooth(left), color=AFTER, linewidth=1.8, linestyle=AFTER_DASH, zorder=2.5)
    if np.array_equal([before, after], [median, left], equal_nan=True) and _smooth(median) is median:
        which = _which(trace.steps)
        return _end(before, f"before, {which}", LINE) + _end(after, f"after, {which}", AFTER)
    draw_line(axes, trace.steps, before, color=CUT, linewidth=0.8)
    draw_line(axes, trace.steps, after, color=LARGEST_AFTER, linewidth=0.8)
    ends = _end(before, "largest before", ink(CUT)) + _end(after, "largest after", LARGEST_AFTER)
    return ends + _end(median, "median before", LINE) + _end(left, "median after", AFTER)


def _shade_cut(axes: Axes, steps: FloatArray, before: FloatArray, after: FloatArray, colour: str, alpha: float = 0.3) -> None:
    """Shade what was cut off, wherever a curve before clipping is above the one after it."""
    axes.fill_between(steps, after, np.maximum(before, after), color=colour, alpha=alpha, linewidth=0)


def _draw_smooth(axes: Axes, steps: FloatArray, values: FloatArray, **style: Any) -> None:
    """Draw a line; where bins are many, thin, and its running median over it, whose dash can be told in the noise."""
    smooth = _smooth(values)
    if smooth is values:
        draw_line(axes, steps, values, linewidth=1.5, **style)
    else:
        draw_line(axes, steps, values, linewidth=0.7, alpha=0.5, color=style["color"])
        axes.plot(steps, smooth, linewidth=1.6, **style)


def _smooth(values: FloatArray) -> FloatArray:
    """Where bins are many, the median of each value and its neighbours, NaN where the value is; else the values themselves."""
    reach = len(values) // 160 - 1
    if reach < 1:
        return values
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, reach, constant_values=np.nan), 2 * reach + 1)
    there = np.isfinite(values)
    smooth = np.full(len(values), np.nan)
    smooth[there] = np.nanmedian(windows[there], axis=1)
    return smooth


def _end(values: FloatArray, name: str, colour: str) -> list[LineEnd]:
    there = known(values)
    return [(float(there[-1]), name, colour)] if len(there) else []


def _draw_spikes(axes: Axes, spikes: Sequence[tuple[int, float]]) -> list[LineEnd]:
    """Mark spikes by triangles, at the top edge where the norm is not finite; return what to write beside them."""
    finite = [(step, norm) for step, norm in spikes if np.isfinite(norm)]
    endless = [step for step, norm in spikes if not np.isfinite(norm)]
    ends: list[LineEnd] = []
    if finite:
        steps, norms = zip(*finite, strict=True)
        axes.plot(steps, norms, "^", color=SPIKE, markersize=7, markeredgecolor="white", markeredgewidth=0.6, zorder=4)
        ends.append((max(norms), f"▲ {len(finite):,} {'spike' if len(finite) == 1 else 'spikes'}", SPIKE))
    if endless:
        place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "zorder": 5}
        axes.plot(endless, [0.97] * len(endless), "^", color=SPIKE, markerfacecolor="white", markersize=8, **place)
        ends.append((axes.get_ylim()[1], f"△ {len(endless):,} not finite", SPIKE))
    return ends


def _draw_zeros(axes: Axes, steps: FloatArray, norms: FloatArray) -> list[LineEnd]:
    """Mark bins whose median norm is zero, which a log scale can't show, at the bottom edge."""
    zeros = steps[norms == 0]
    if not len(zeros):
        return []
    place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "zorder": 4}
    axes.plot(zeros, np.full(len(zeros), 0.03), "v", color=LINE, markerfacecolor="white", markersize=5, **place)
    return [(axes.get_ylim()[0], "▽ zero", LINE)]


def _draw_thresholds(axes: Axes, thresholds: Mapping[str, float], colours: Mapping[str, str]) -> list[LineEnd]:
    """Draw thresholds as dotted lines, or name them at the edge where they are far away; return what to write beside them."""
    low, high = axes.get_ylim()
    ends: list[LineEnd] = []
    for (scope, threshold), label in list(zip(thresholds.items(), _labels(thresholds), strict=True))[:MOST_THRESHOLDS]:
        colour = colours.get(scope, THRESHOLD)
        there = low <= threshold <= high
        if there:
            axes.axhline(threshold, color=colour, linestyle=":", linewidth=1.8, zorder=3)
        beyond = "" if there else " ↓" if threshold < low else " ↑"
        ends.append((float(np.clip(threshold, low, high)), f"threshold {threshold:g} ({label}){beyond}", ink(colour)))
    if rest := list(thresholds.values())[MOST_THRESHOLDS:]:
        ends.append((high, f"and {len(rest):,} more thresholds, {min(rest):g} to {max(rest):g}", THRESHOLD))
    return ends


def _draw_clipped(axes: Axes, trace: GradientTrace) -> None:
    """Draw a strip beneath the axes: the darker, the more steps were clipped."""
    edges = _edges(trace.steps)
    strip = axes.inset_axes((0, -0.1, 1, 0.06), sharex=axes)
    strip.pcolormesh(edges, [0, 1], np.atleast_2d(trace.clipped), cmap="Greys", norm=PowerNorm(0.5, 0, 1))  # few are seen too
    strip.add_patch(Rectangle((edges[0], 0), edges[-1] - edges[0], 1, fill=False, linewidth=0.8, clip_on=False))
    strip.set_axis_off()
    strip.annotate("clipped", (-0.01, 0.5), xycoords="axes fraction", fontsize=10, ha="right", va="center")
    there = np.isfinite(trace.clipped)
    if there.any():
        share = float(np.average(trace.clipped[there], weights=np.diff(edges)[there]))
        strip.annotate(f"{percent(share)} of steps", (1.015, 0.5), xycoords="axes fraction", fontsize=10, va="center")


def _edges(steps: FloatArray) -> FloatArray:
    """Where bins begin and end, (B + 1,), from their middles (B,); the first begins before step 1."""
    between = (steps[1:] + steps[:-1]) / 2
    edges = np.concatenate([[0.5], between])
    return np.append(edges, 2 * steps[-1] - edges[-1])
