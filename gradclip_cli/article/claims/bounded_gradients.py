"""Clipping bounds the gradient: checked on every applied gradient."""

from __future__ import annotations

import numpy as np

from gradclip_cli.article.claim import Answer, Arms, ClaimVerdict, SeparateClaim
from gradclip_cli.config.schema import Config
from gradclip_cli.problems.article import article_problem

PART_IN_A_MILLION = 1e-6
FLOAT32_ROUNDING = 2.0**-24


class BoundedGradients(SeparateClaim):
    """From the largest applied gradient that each clipped run recorded over its threshold."""

    id = "C1"
    statement = "Clipping bounds the gradient."
    rule = (
        "Supported where no applied gradient of any step of any clipped run exceeds its threshold, measured as the rule "
        "measures it (by element, by variable, or jointly), by more than float32 rounding of a norm can explain: a share of "
        "2^-24 an element of the variable (Higham 2002, section 3.1)."
    )
    written = (
        "Before any run, with a tolerance of one part in a million. That was widened to what rounding can explain after a first "
        "look at 8 seeds had shown an excess of 1.4 parts in a million, because Keras takes norms in float32; how many runs "
        "stayed within the first tolerance is told beside."
    )
    arms = ("clipnorm", "clipvalue", "wide-output")

    def answer(self, arms: Arms) -> Answer:
        clipped = [run for arm in arms.values() for run in arm.runs if run.config.threshold is not None]
        largest = [run.metadata["largest_applied"] for run in clipped if run.metadata.get("largest_applied") is not None]
        if len(largest) < len(clipped):
            return Answer(ClaimVerdict.NOT_SHOWN, "Not all clipped runs recorded their largest applied gradient.")
        steps = sum(run.metadata["steps"] for run in clipped)
        excesses = np.array([value - 1 for value in largest])
        allowed = np.array([rounding_bound(run.config) for run in clipped])
        within = int((excesses <= PART_IN_A_MILLION).sum())
        measured = (
            f"Over {steps:,} steps in {len(clipped)} clipped runs, the largest excess of an applied gradient over its threshold "
            f"was {excesses.max():.2g} of it, where rounding can explain {allowed[excesses.argmax()]:.2g}. "
            f"{within} of {len(clipped)} runs stayed within one part in a million throughout."
        )
        figures = {"runs": len(clipped), "steps": steps, "largest_excess": excesses.max(), "runs_within_a_millionth": within}
        verdict = ClaimVerdict.SUPPORTED if (excesses <= allowed).all() else ClaimVerdict.CONTRADICTED
        return Answer(verdict, measured, figures)


def rounding_bound(config: Config) -> float:
    """How far float32 rounding of a clipped norm may carry it over its threshold, as a share: 2^-24 an element summed."""
    sizes = [value.size for value in article_problem(config).initial_weights(0).values()]
    return config.clipping.scope.summed(sizes) * FLOAT32_ROUNDING
