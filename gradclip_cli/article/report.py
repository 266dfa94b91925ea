"""The reproduction as files: a page that answers the claims, `claims.json`, tables and pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from gradclip_cli.article import noise
from gradclip_cli.article.answers import PRIMARY
from gradclip_cli.article.claim import Answer, Claim
from gradclip_cli.article.claims import CLAIMS
from gradclip_cli.article.reproduce import ASSUMED, Reproduction
from gradclip_cli.config.seeds import seed_list
from gradclip_cli.evidence import figures, ledger, report
from gradclip_cli.evidence.comparison import Comparison, with_gradients
from gradclip_cli.files import write_atomically
from gradclip_cli.texts import for_markdown

DESCRIBED = 5
"""Columns of the verdict table that describe: up to the difference, typical and on average."""


def write_reproduction(reproduction: Reproduction, results: Path) -> Reproduction:
    """Write `report.md`, `claims.json`, the comparison of the article's arms, and the figures.

    Returns the reproduction as it was drawn: steps that could not be read are among its notes.
    """
    from gradclip_cli import plots

    accuracy, explosion = (with_gradients(each) for each in (reproduction.accuracy, reproduction.explosion))
    reproduction = replace(reproduction, accuracy=accuracy, explosion=explosion)
    ledger.record(results, reproduction.first_compared, reproduction.looks)  # before its own comparison.json is there
    report.write(reproduction.accuracy, results)
    exploding = plots.comparison_figure(figures.panels(reproduction.explosion))
    plots.save(exploding, [results / "explosion.png", results / "explosion.svg"])
    plots.save(figures.pairs_figure(reproduction.noise), [results / "noise.png", results / "noise.svg"])
    if reproduction.agreement:
        frameworks = plots.comparison_figure(reproduction.agreement.panels())
        plots.save(frameworks, [results / "frameworks.png", results / "frameworks.svg"])
    write_atomically(results / "claims.json", reproduction.to_json())
    write_atomically(results / "report.md", to_markdown(reproduction))
    return reproduction


def to_markdown(reproduction: Reproduction) -> str:
    """The report as a page. Every figure in it comes from the stored runs."""
    parts = [
        *_beginning(reproduction),
        *reproduction.adherence.to_markdown(),
        "What of these runs had been seen when a rule was written stands with each claim, under *Written*.",
        *(reproduction.agreement.to_markdown() if reproduction.agreement else []),
        *[part for claim, answer in reproduction.answers.items() for part in _claim(CLAIMS[claim], answer)],
        *_accuracy(reproduction.accuracy),
        "## The noise floor",
        *noise.to_markdown(reproduction.noise_floor),
        "![Paired differences in test accuracy, the control's among them](noise.png)",
        *_explosive_setting(reproduction.remedies),
        *_under_adam(reproduction.adam),
        "## What is not here",
        "Every run's `metrics.csv`, `config.yaml` and `run.json` stand beside this report, or in `runs.tar.xz` where that is "
        "there. A `steps.csv` is about 1.1 MB a run and may be left out: `gradclip run CONFIG --seeds N` writes it again, byte "
        "for byte on the same machine and versions.",
    ]
    return "\n\n".join(parts) + "\n"


def _beginning(reproduction: Reproduction) -> list[str]:
    """What was trained with what, and the verdicts."""
    facts = reproduction.accuracy.baseline.arm.runs[0].metadata
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    machine = f"{facts['machine']['system']}, {facts['machine']['processor']}"
    verdicts = [
        [claim, CLAIMS[claim].statement, report.Markup(f"**{answer.verdict}**")] for claim, answer in reproduction.answers.items()
    ]
    return [
        "# Does clipping help here? The article's claims, over many seeds",
        f"{len(reproduction.seeds)} seeds ({seed_list(reproduction.seeds)}), paired: runs of one seed start from the "
        f"same weights and see the same batches. {for_markdown(f'{versions}; {machine}')}.",
        report.markdown_table(["", "claim", "verdict"], verdicts, left=3),
        f"{in_short(PRIMARY)} are the primary tests, one Holm family at 5%, their intervals at the levels of Holm's steps. *Not "
        "shown* means that the test did not decide, not that there is no effect; *not testable here*, that what was to be tried "
        "never acted, or hardly. Verdicts speak of these seeds, this model, this test set and the condition that stands with "
        "them.",
        "*Typical* is the middle of the averages of all pairs of seeds (the pseudomedian), which a verdict on a difference rests "
        "on; fewer than half of the seeds may gain as much, which the *median* tells. *On average* is the mean, which a few "
        "seeds can make. What stands beside a claim is description: its p-values and intervals are each by itself, adjusted "
        "for nothing but where they say so. Each claim tells when its rule was written, and what of it was changed once its "
        "runs had been seen.",
        f"**Assumed**, because the article's own setting is lost: {'; '.join(ASSUMED)}.",
        *[f"Note: {for_markdown(note)}" for note in reproduction.notes],
    ]


def in_short(claims: Iterable[str]) -> str:
    """Claims by their ids, such as C2 to C5 and C9."""
    parts = seed_list([int(claim.removeprefix("C")) for claim in claims]).split(", ")
    *others, last = [f"C{part.replace('-', ' to C')}" for part in parts]
    return f"{', '.join(others)} and {last}" if others else last


def _claim(claim: Claim, answer: Answer) -> list[str]:
    verdict = f"{answer.verdict[0].upper()}{answer.verdict[1:]}"
    return [
        f"## {claim.id}: {claim.statement} **{verdict}**",
        answer.measured,
        *(["\n".join(f"- {sentence}" for sentence in answer.beside)] if answer.beside else []),
        f"*The rule.* {claim.rule}",
        f"*Written:* {claim.written}",
    ]


def _accuracy(compared: Comparison) -> list[str]:
    return [
        "## Accuracy (description)",
        _scores_table(compared),
        f"{report.verdict_caption(compared)} So clipvalue's interval may be wider here than under C2, where it stands by itself. "
        "[comparison.md](comparison.md) has the same runs with p-values.",
        "![Curves by epoch: thick lines are typical values with 95% intervals, thin ones single seeds](comparison.png)",
        "![Paired differences in test accuracy: each seed, the typical one with its interval, and the mean](differences.png)",
    ]


def _explosive_setting(remedies: Comparison) -> list[str]:
    return [
        "## The explosive setting and its remedies",
        report.markdown_table(report.run_columns(remedies), report.run_rows(remedies)),
        f"{report.run_caption(remedies)} A run that diverged in its first epoch has none. In the figure a diverged "
        "run is at chance from where it diverged, marked by a cross.",
        "![The explosive setting](explosion.png)",
    ]


def _under_adam(compared: Comparison) -> list[str]:
    return [
        "## Under Adam (sensitivity)",
        "The optimizer is assumed, so here are the same arms under Adam at 0.001: outside the family of tests, without verdicts.",
        _scores_table(compared),
        report.verdict_caption(compared),
    ]


def _scores_table(compared: Comparison) -> str:
    """The verdict table without the tests: scores and differences only."""
    columns = report.verdict_columns(compared)[:DESCRIBED]
    return report.markdown_table(columns, [row[:DESCRIBED] for row in report.verdict_rows(compared)])
