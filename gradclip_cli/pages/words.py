"""The field's own words, explained where they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from gradclip_cli.pages.elements import Child, definitions, details, element

WORDS = {
    "arm": "One way of training that is compared with others, such as one clipping rule; its runs differ in the seed only.",
    "baseline": "The arm that all others are held against, usually the one without clipping.",
    "seed": "The number that fixes a run's initial weights and batches. Runs of one seed in two arms are twins that begin alike.",
    "clipping": "Shortening a step's gradient where it is longer than a threshold, before the weights are changed by it.",
    "threshold": "The length, or the size of an element, above which a gradient is clipped.",
    "gradient norm": "The length of the gradient over all weights together (global L2), before clipping unless it says after.",
    "nats": "The unit of a cross-entropy loss by natural logarithms: guessing between two classes costs 0.69.",
    "points": "Percentage points: from 68% to 69% accuracy is 1 point.",
    "typically": "By the middle of the averages of all pairs of values, which a few extreme seeds can't move (pseudomedian).",
    "interval": "The typical values these seeds leave plausible; its level says how often such an interval holds the true one.",
    "p": "How often so large a difference would be seen if the arm made none. A small p speaks against mere chance.",
    "Holm": "Holm's procedure: the more arms are tested, the more is asked of each, so that any false verdict stays rare (5%).",
    "signed-rank": "Wilcoxon's signed-rank test: orders the paired differences by size and asks whether one direction outweighs.",
    "sign-flip": "How a paired test is exact: it counts in how many of all ways to swap twins one would see as much as was seen.",
    "rank-sum": "The test for runs that no seed pairs: it orders all runs of both arms, and asks whether one arm's stand higher.",
    "McNemar": "McNemar's test: of the twins of which only one had it happen, is it mostly that of the same arm?",
    "won": "On how many seeds the arm did better than its twin in the baseline.",
    "diverged": "A loss or weight became NaN or infinite, which ended the run.",
    "collapsed": "The evaluated accuracy fell by more than 5 points from one epoch to the next.",
    "healthy": "No step's gradient norm stood out.",
    "spiking": "A step's gradient norm was above ten times the median of the (up to) hundred steps before it.",
    "exploding": "A step's gradient norm was above a thousand times that median, not finite, or norms grew so; the run went on.",
    "vanishing": "The loss stands still while gradient norms sank to next to nothing, in the first layers or in all.",
    "clipped": "The share of steps on which the gradient exceeded the threshold, so that clipping acted.",
    "holdout": "Training samples kept apart to choose settings by, so that the test set is not used twice.",
    "family": "Tests that are judged together, so that any false verdict among them stays rare.",
    "tuned": "Chosen among candidates by their scores on a holdout, with seeds that judge nothing.",
    "exploratory": "Looked at without having been planned, or after a first look: it suggests, and confirms nothing.",
    "not testable": "These runs can't say: clipping never acted in them, or nothing was learnt, or the data differed.",
}
"""What each word means, in a sentence or two that a student reads at once."""

_FORMS = {
    "arms": "arm",
    "seeds": "seed",
    "nat": "nats",
    "point": "points",
    "typical": "typically",
    "intervals": "interval",
    "p-values": "p",
    "thresholds": "threshold",
    "norm": "gradient norm",
    "norms": "gradient norm",
}
_EXPLAINED = re.compile(
    rf"(?<![\w./+=-])({'|'.join(sorted(map(re.escape, [*WORDS, *_FORMS]), key=len, reverse=True))})(?![\w/+=-]|\.\w)"
)


def meaning(word: str) -> str:
    """What a word, in any of its forms, means."""
    return WORDS[_FORMS.get(word, word)]


def explained(text: str) -> Element:
    """A text whose first mention of each word that not everybody knows says what it means."""
    parts: list[Child] = []
    seen: set[str] = set()
    end = 0
    for found in _EXPLAINED.finditer(text):
        if (said := meaning(found[0])) not in seen:
            seen.add(said)
            parts += [text[end : found.start()], abbreviation(found[0], said)]
            end = found.end()
    return element("span", *parts, text[end:])


def abbreviation(word: str, said: str) -> Element:
    """A word with what it means, shown by whoever points at it."""
    return element("abbr", word, title=said)


def column(heading: str) -> Child:
    """A table's heading, explained where it is one of the words."""
    return abbreviation(heading, meaning(heading)) if heading in {*WORDS, *_FORMS} else heading


def glossary(words: Sequence[str] = tuple(WORDS)) -> Element:
    """These words with their meanings, for whoever can't point at anything."""
    return details("The words of this page", definitions((word, meaning(word)) for word in words))
