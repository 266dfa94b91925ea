"""Writes the tables of docs/statistics.md: how often each candidate for a verdict is wrong, and how often it finds what is there.

Every figure comes from drawing samples: `python docs/make_statistics.py` draws them anew, from a fixed seed, in some minutes.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from pages import Tables, write_or_check
from scipy import special

from gradclip_cli.arrays import BoolArray, FloatArray
from gradclip_cli.evidence.comparison import compare
from gradclip_cli.evidence.questions import Question
from gradclip_cli.evidence.samples import averages_outside
from gradclip_cli.evidence.two_samples import pairs_outside

DOCS = Path(__file__).parent
ARTICLE = DOCS.parent / "results" / "article"
SEEDS = (6, 7, 8, 10, 30)
RUNS = ((4, 4), (6, 6), (8, 8), (10, 10), (30, 30), (8, 12), (8, 16), (4, 12))
DRAWS = 40_000
BLOCK = 4_000
LEVEL = 0.05

Law = Callable[[np.random.Generator, tuple[int, ...]], FloatArray]
"""Draws differences of a shape."""
Verdicts = tuple[BoolArray, BoolArray]
"""Whether a difference below zero, and one above, is claimed, of each of (draws,) samples."""


def signed_rank(samples: FloatArray) -> Verdicts:
    """Wilcoxon's test of the typical difference (pseudomedian), as `gradclip_cli.evidence.samples` decides it."""
    seeds = samples.shape[1]
    first, second = np.triu_indices(seeds)
    sums = samples[:, first] + samples[:, second]
    sums[np.abs(sums) <= 2e-12 * np.abs(samples).max(axis=1, keepdims=True)] = 0
    outside = averages_outside(seeds, LEVEL)
    enough = sums.shape[1] - outside + 1 if outside else math.inf
    return (sums < 0).sum(axis=1) >= enough, (sums > 0).sum(axis=1) >= enough


def students(samples: FloatArray) -> Verdicts:
    """Student's t test of the mean."""
    seeds = samples.shape[1]
    bound = special.stdtrit(seeds - 1, 1 - LEVEL / 2) * samples.std(axis=1, ddof=1) / math.sqrt(seeds)
    means = samples.mean(axis=1)
    return means < -bound, means > bound


def flips(samples: FloatArray) -> Verdicts:
    """The sign-flip test of the mean: all flips of up to 10 seeds, 1,999 random ones of more."""
    seeds = samples.shape[1]
    if seeds <= 10:
        signs = 1 - 2 * ((np.arange(2**seeds)[:, None] >> np.arange(seeds)) & 1)
    else:
        signs = np.vstack([np.ones(seeds), np.random.default_rng(0).choice([-1, 1], (1_999, seeds))])
    flipped, seen = samples @ signs.T, samples.sum(axis=1, keepdims=True)
    below, above = (tail.mean(axis=1) <= LEVEL / 2 for tail in (flipped <= seen + 1e-9, flipped >= seen - 1e-9))
    return below, above


def signs(samples: FloatArray) -> Verdicts:
    """The sign test of the median; differences of zero count for neither side."""
    below, above = (samples < 0).sum(axis=1), (samples > 0).sum(axis=1)
    counts = below + above
    significant = special.bdtr(np.minimum(below, above), counts, 0.5) <= LEVEL / 2
    return significant & (below > above), significant & (above > below)


CANDIDATES: Mapping[str, tuple[Callable[[FloatArray], Verdicts], Callable[[FloatArray], float]]] = {
    "typical (signed-rank)": (signed_rank, lambda sample: float(np.median((sample + sample[::-1]) / 2))),
    "mean (t)": (students, lambda sample: float(sample.mean())),
    "mean (sign flips)": (flips, lambda sample: float(sample.mean())),
    "median (signs)": (signs, lambda sample: float(np.median(sample))),
}
"""Tests, and what each tests of a large sample in no order: a pseudomedian is the median of the average of two draws."""


def _collapsing(share: float) -> Law:
    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
        return np.where(generator.random(shape) < share, generator.normal(-10, 3, shape), generator.standard_normal(shape))

    return draw


SYMMETRIC: Mapping[str, Law] = {
    "normal": lambda generator, shape: generator.standard_normal(shape),
    "uniform": lambda generator, shape: generator.uniform(-1, 1, shape),
    "Laplace": lambda generator, shape: generator.laplace(size=shape),
    "Student's t, 3 degrees": lambda generator, shape: generator.standard_t(3, shape),
    "normal, a tenth ten times as wide": lambda generator, shape: (
        generator.standard_normal(shape) * np.where(generator.random(shape) < 0.1, 10, 1)
    ),
    "normal, rounded to halves (ties)": lambda generator, shape: np.round(2 * generator.standard_normal(shape)) / 2,
    "-1, 0 or 1 (ties)": lambda generator, shape: generator.integers(-1, 2, shape).astype(float),
}
SKEWED: Mapping[str, Law] = {
    "exponential": lambda generator, shape: generator.exponential(size=shape),
    "lognormal, sigma 0.5": lambda generator, shape: np.exp(0.5 * generator.standard_normal(shape)),
    "lognormal, sigma 1": lambda generator, shape: np.exp(generator.standard_normal(shape)),
    "normal, but 10% collapse": _collapsing(0.1),
    "normal, but 20% collapse": _collapsing(0.2),
}


@functools.cache
def own_laws() -> Mapping[str, Law]:
    """This project's differences, seeds drawn with replacement: the article's arms against none, by several metrics."""
    laws: dict[str, Law] = {}
    for metric in ("val_accuracy", "loss", "val_loss", "loss_area"):
        compared = compare(ARTICLE, ("none", "clipnorm", "clipvalue", "control"), "none", Question(metric))
        for report in compared.others:
            assert report.against is not None
            laws[f"{report.arm.name}, {compared.metric.title}"] = _drawn_from(np.array(report.against.differences))
    return laws


def _drawn_from(differences: FloatArray) -> Law:
    return lambda generator, shape: generator.choice(differences, shape)


def false_verdicts(law: Law, candidate: str, seeds: int, draws: int = DRAWS) -> tuple[float, float]:
    """Shares of samples in which a difference below, and above, is claimed where the law has none of what is tested."""
    decide, centre = CANDIDATES[candidate]
    generator = np.random.default_rng(seeds)
    shift = centre(law(generator, (100 * draws,)))
    return _shares(decide, lambda shape: law(generator, shape) - shift, seeds, draws)


def power(candidate: str, effect: float, seeds: int, draws: int = DRAWS) -> float:
    """Share of normal samples, of deviation 1, in which a difference of `effect` is found."""
    generator = np.random.default_rng(seeds)
    return sum(_shares(CANDIDATES[candidate][0], lambda shape: generator.normal(effect, 1, shape), seeds, draws))


def _shares(
    decide: Callable[[FloatArray], Verdicts], draw: Callable[[tuple[int, int]], FloatArray], seeds: int, draws: int
) -> tuple[float, float]:
    found = np.zeros(2)
    for _ in range(draws // BLOCK):
        found += [verdict.sum() for verdict in decide(draw((BLOCK, seeds)))]
    below, above = found / (draws // BLOCK * BLOCK)
    return float(below), float(above)


def effect_with_power(seeds: int, wanted: float = 0.8) -> float:
    """The effect, in deviations of normal differences, that Student's test finds so often."""
    critical = special.stdtrit(seeds - 1, 1 - LEVEL / 2)
    return float(special.nctdtrinc(seeds - 1, 1 - wanted, critical) / math.sqrt(seeds))


def table(laws: Mapping[str, Law], candidate: str) -> str:
    """A row a law: what is claimed falsely, below and above zero and both, in percent."""
    lines = [f"| {candidate} | {' | '.join(f'{seeds} seeds' for seeds in SEEDS)} |", f"|---|{'---:|' * len(SEEDS)}"]
    for name, law in laws.items():
        shares = [false_verdicts(law, candidate, seeds) for seeds in SEEDS]
        cells = [f"{100 * below:.1f} + {100 * above:.1f} = {100 * (below + above):.1f}" for below, above in shares]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def power_table() -> str:
    """How often each candidate finds what Student's test finds in 80% of normal samples, in percent."""
    sizes = [seeds for seeds in SEEDS if seeds > 7]
    lines = [f"| normal differences | {' | '.join(f'{seeds} seeds' for seeds in sizes)} |", f"|---|{'---:|' * len(sizes)}"]
    for candidate in CANDIDATES:
        found = [power(candidate, effect_with_power(seeds), seeds) for seeds in sizes]
        lines.append(f"| {candidate} | {' | '.join(f'{100 * share:.1f}' for share in found)} |")
    return "\n".join(lines)


def ties_table() -> str:
    """How often the typical difference, and the sign test, find a difference where seeds are tied, in percent."""
    sizes, shares = [seeds for seeds in SEEDS if seeds > 7], (0.0, 0.2, 0.4, 0.6)
    lines = [f"| tied | test | {' | '.join(f'{seeds} seeds' for seeds in sizes)} |", f"|---|---|{'---:|' * len(sizes)}"]
    for tied in shares:
        for candidate in (TYPICAL, "median (signs)"):
            found = [_found_in_ties(CANDIDATES[candidate][0], tied, seeds) for seeds in sizes]
            lines.append(f"| {tied:.0%} | {candidate} | {' | '.join(f'{100 * share:.1f}' for share in found)} |")
    return "\n".join(lines)


def _found_in_ties(decide: Callable[[FloatArray], Verdicts], tied: float, seeds: int) -> float:
    generator = np.random.default_rng(seeds)

    def draw(shape: tuple[int, int]) -> FloatArray:
        return np.where(generator.random(shape) < tied, 0.0, generator.normal(1, 1, shape))

    return sum(_shares(decide, draw, seeds, DRAWS))


def rank_sum(ours: FloatArray, theirs: FloatArray) -> Verdicts:
    """Mann and Whitney's test of two samples' typical difference, as `gradclip_cli.evidence.two_samples` decides it."""
    gaps = ours[:, :, None] - theirs[:, None, :]
    runs = (ours.shape[1], theirs.shape[1])
    outside = pairs_outside(runs, LEVEL)
    enough = math.prod(runs) - outside + 1 if outside else math.inf
    return (gaps < 0).sum(axis=(1, 2)) >= enough, (gaps > 0).sum(axis=(1, 2)) >= enough


def _wider(law: Law, times: float) -> Law:
    return lambda generator, shape: times * law(generator, shape)


NORMAL, TIED, EXPONENTIAL, COLLAPSING = (
    {**SYMMETRIC, **SKEWED}[name] for name in ("normal", "-1, 0 or 1 (ties)", "exponential", "normal, but 20% collapse")
)
TWO_LAWS: Mapping[str, tuple[Law, Law]] = {
    "both normal": (NORMAL, NORMAL),
    "both exponential": (EXPONENTIAL, EXPONENTIAL),
    "both normal, but 20% collapse": (COLLAPSING, COLLAPSING),
    "both -1, 0 or 1 (ties)": (TIED, TIED),
    "normal, the first twice as wide": (_wider(NORMAL, 2), NORMAL),
    "normal, the first three times as wide": (_wider(NORMAL, 3), NORMAL),
    "normal, the first ten times as wide": (_wider(NORMAL, 10), NORMAL),
    "exponential, the first three times as wide": (_wider(EXPONENTIAL, 3), EXPONENTIAL),
    "normal, but 20% of the first collapse": (COLLAPSING, NORMAL),
}
"""Of two arms' runs, whose typical difference is taken off before they are judged."""


def false_unpaired_verdicts(laws: tuple[Law, Law], runs: tuple[int, int], draws: int = DRAWS) -> tuple[float, float]:
    """Shares of pairs of samples in which a difference below, and above, is claimed where the typical one is zero."""
    generator = np.random.default_rng(runs)
    ours, theirs = (law(generator, (100 * draws,)) for law in laws)
    shift, found = float(np.median(ours - theirs)), np.zeros(2)
    for _ in range(draws // BLOCK):
        drawn = [law(generator, (BLOCK, count)) for law, count in zip(laws, runs, strict=True)]
        found += [verdict.sum() for verdict in rank_sum(drawn[0] - shift, drawn[1])]
    below, above = found / (draws // BLOCK * BLOCK)
    return float(below), float(above)


def unpaired_table() -> str:
    """A row two laws: what is claimed falsely of runs that nothing pairs, below and above zero together, in percent."""
    headings = [f"{ours} and {theirs}" for ours, theirs in RUNS]
    lines = [f"| unpaired (rank sum) | {' | '.join(headings)} |", f"|---|{'---:|' * len(RUNS)}"]
    for name, laws in TWO_LAWS.items():
        cells = [f"{100 * sum(false_unpaired_verdicts(laws, runs)):.1f}" for runs in RUNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


TYPICAL, *OTHERS = CANDIDATES
TABLES: Tables = {
    "symmetric": lambda: table(SYMMETRIC, TYPICAL),
    "skewed": lambda: table(SKEWED, TYPICAL),
    "own": lambda: table(own_laws(), TYPICAL),
    "others": lambda: "\n\n".join(table({**SKEWED, **own_laws()}, candidate) for candidate in OTHERS),
    "power": power_table,
    "ties": ties_table,
    "unpaired": unpaired_table,
}

if __name__ == "__main__":
    sys.exit(write_or_check(sys.argv[1:], DOCS / "statistics.md", TABLES))
