"""`reproduce`: the article's arms over many seeds, the explosive setting with its remedies, and an answer to each claim."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gradclip_cli.article import claims
from gradclip_cli.article.agreement import Agreement, hold_against
from gradclip_cli.article.claims import Answer, Spread
from gradclip_cli.config import loading
from gradclip_cli.config.frameworks import DEFAULT_FRAMEWORK
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import arms as arm_room
from gradclip_cli.evidence import comparison, plans, report, stats
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.comparison import Comparison
from gradclip_cli.evidence.plans import Looks
from gradclip_cli.files import write_atomically
from gradclip_cli.runs import many
from gradclip_cli.runs.many import PlannedRun
from gradclip_cli.texts import for_markdown

SCHEMA = 1
ARTICLE = ("none", "clipnorm", "clipvalue")
ADAM = ("adam-none", "adam-clipnorm", "adam-clipvalue")
LAYERS = ("clipnorm", "wide-output")
EXPLODE = ("explode-none", "explode-clipnorm")
REMEDIES = (*claims.REMEDIES, *claims.COUNTERPARTS)
ARMS = (*ARTICLE, "control", "wide-output", *EXPLODE, *REMEDIES, *ADAM)


def config_name(arm: str) -> str:
    """The shipped config that trains an arm, such as explode/strong_l2 for explode-strong-l2."""
    folder, _, name = arm.partition("-")
    return f"{folder}/{name.replace('-', '_')}" if folder in ("explode", "adam") else arm.replace("-", "_")


@dataclass(frozen=True)
class Reproduction:
    """The answers to the article's claims, with what stands beside them."""

    seeds: list[int]
    claims: list[Answer]
    spreads: list[Spread]
    accuracy: Comparison
    layers: Comparison
    noise: Comparison
    explosion: Comparison
    remedies: Comparison
    adam: Comparison
    agreement: Agreement | None = None
    """With another framework's reproduction, where it was held against one."""

    @property
    def arms(self) -> dict[str, Arm]:
        """The arms whose accuracies are compared, and the control, by name."""
        return {part.arm.name: part.arm for part in self.noise.arms}

    @property
    def looks(self) -> Looks:
        """The seeds of each arm that this reproduction looks at, or an earlier comparison did."""
        seen = (self.noise, self.layers, self.remedies, self.adam)
        return {part.arm.name: part.arm.seeds for compared in seen for part in compared.arms} | self.accuracy.first_compared

    @property
    def notes(self) -> list[str]:
        """What a reader of the accuracies must know: seeds added later, mixed versions, runs left out."""
        return list(dict.fromkeys([*self.accuracy.notes, *self.accuracy.warnings, *self.explosion.warnings]))

    def to_json(self) -> str:
        """Claims, noise floor and sensitivity analysis, with a schema number; what is not finite is null."""
        answers = [{**asdict(answer), "claim": answer.claim, "rule": claims.RULES[answer.id]} for answer in self.claims]
        content = {
            "schema": SCHEMA,
            "seeds": self.seeds,
            "primary_tests": ["C2", "C3", "C4", "C5"],
            "assumed": claims.ASSUMED,
            "claims": answers,
            "noise_floor": [asdict(spread) for spread in self.spreads],
            "sensitivity": [
                {"arm": part.arm.name, **{name: getattr(part.against, name) for name in ("mean", "low", "high", "won", "lost")}}
                for part in self.adam.others
            ],
            "notes": self.notes,
            "agreement": self.agreement.to_dict() if self.agreement else None,
        }
        return json.dumps(report.finite(content), indent=2, allow_nan=False) + "\n"


def plan_reproduction(seeds: Sequence[int], results: Path, framework: str = DEFAULT_FRAMEWORK) -> list[PlannedRun]:
    """Plan all runs of the reproduction in a framework, writing nothing. Raises ReportError for fewer than two seeds."""
    if len(seeds) < 2:
        raise ReportError("reproduce compares runs over seeds: give at least 2, better 10 (--seeds 10)")
    shipped = loading.shipped_directory()  # by path, so that no file of the same name here is taken for it
    chosen = loading.load_all([str(shipped / f"{config_name(arm)}.yaml") for arm in ARMS])
    return many.plan([each.with_framework(framework) for each in chosen], seeds, results)


def verdict_sentence(seeds: Sequence[int]) -> str:
    """Whether so many seeds can answer the claims that rest on primary tests."""
    tests = len(claims.PRIMARY)
    needed = stats.seeds_for_a_verdict(tests)
    enough = f"there are {len(seeds)}" if len(seeds) >= needed else f"{len(seeds)} can show nothing"
    return f"A verdict on the {tests} primary tests takes at least {needed} seeds; {enough}."


def record_plan(seeds: Sequence[int], results: Path) -> None:
    """Write down which seeds are planned before the first run; a plan that is there already stays. Raises StoreError."""
    plans.record_plan(results, seeds)


def answer_claims(seeds: Sequence[int], results: Path) -> Reproduction:
    """Answer the claims from the stored runs of these seeds. Raises ReportError where one of them can't be read."""
    read, warnings = arm_room.read(results, ARMS)
    arms = {arm.name: arm.only(seeds) for arm in read}
    _require_all(arms, seeds, warnings)
    article = [arms[name] for name in ARTICLE]
    loss, loss_area, steps = (
        comparison.compare_arms(article, metric=metric) for metric in ("loss", "loss_area", "steps_to_target")
    )
    layers = comparison.compare_arms([arms[name] for name in LAYERS], LAYERS[0], metric="loss")
    return Reproduction(
        seeds=list(seeds),
        claims=claims.answer(arms, loss, loss_area, steps, layers),
        spreads=claims.noise_floor(arms["none"], arms["control"], [arms["clipnorm"], arms["clipvalue"]]),
        accuracy=comparison.compare(results, ARTICLE, seeds=seeds),
        layers=layers,
        noise=comparison.compare_arms([*article, arms["control"]]),
        explosion=comparison.compare_arms([arms[name] for name in EXPLODE], EXPLODE[0]),
        remedies=comparison.compare_arms([arms[name] for name in (*EXPLODE, *REMEDIES)], EXPLODE[0]),
        adam=comparison.compare_arms([arms[name] for name in ADAM], ADAM[0]),
    )


def held_against(reproduction: Reproduction, results: Path) -> Reproduction:
    """The reproduction with its answers held against those of another framework's, stored in `results`, for the same seeds.

    Raises ReportError where that one lacks a run, or was trained by the same framework.
    """
    other = answer_claims(reproduction.seeds, results)
    return replace(reproduction, agreement=hold_against(reproduction.claims, reproduction.arms, other.claims, other.arms))


def _require_all(arms: Mapping[str, Arm], seeds: Sequence[int], warnings: Sequence[str]) -> None:
    """A claim must not be answered from the runs that happen to be readable."""
    missing = [
        f"{name}: seed {comparison.seed_list(lost)} can't be read"
        for name in ARMS
        if (lost := sorted(set(seeds) - set(arms[name].seeds if name in arms else ())))
    ]
    if missing:
        hint = "Remove what is broken (gradclip rm ARM/seed-N), then give the same command again."
        raise ReportError("; ".join([*missing, *warnings]) + f". {hint}")


def write_reproduction(reproduction: Reproduction, results: Path) -> Reproduction:
    """Write `report.md`, `claims.json`, the comparison of the article's arms, and the figures.

    Returns the reproduction as it was drawn: steps that could not be read are among its notes.
    """
    from gradclip_cli import plots

    accuracy, explosion = (comparison.with_gradients(each) for each in (reproduction.accuracy, reproduction.explosion))
    reproduction = replace(reproduction, accuracy=accuracy, explosion=explosion)
    report.write(reproduction.accuracy, results)
    plans.record_look(results, reproduction.looks)
    exploding = plots.comparison_figure(report.panels(reproduction.explosion))
    plots.save(exploding, [results / "explosion.png", results / "explosion.svg"])
    plots.save(report.pairs_figure(reproduction.noise), [results / "noise.png", results / "noise.svg"])
    if reproduction.agreement:
        frameworks = plots.comparison_figure(reproduction.agreement.panels())
        plots.save(frameworks, [results / "frameworks.png", results / "frameworks.svg"])
    write_atomically(results / "claims.json", reproduction.to_json())
    write_atomically(results / "report.md", to_markdown(reproduction))
    return reproduction


def to_markdown(reproduction: Reproduction) -> str:
    """The report as a page. Every figure in it comes from the stored runs."""
    accuracy = reproduction.accuracy
    facts = accuracy.baseline.arm.runs[0].metadata
    versions, machine = ", ".join(f"{name} {version}" for name, version in facts["versions"].items()), facts["machine"]
    facts_told = f"{versions}; {machine['system']}, {machine['processor']}"
    verdicts = [[answer.id, answer.claim, report.Markup(f"**{answer.verdict}**")] for answer in reproduction.claims]
    parts = [
        "# Does clipping help here? The article's claims, over many seeds",
        f"{len(reproduction.seeds)} seeds ({comparison.seed_list(reproduction.seeds)}), paired: runs of one seed start from the "
        f"same weights and see the same batches. {for_markdown(facts_told)}.",
        report.markdown_table(["", "claim", "verdict"], verdicts, left=3),
        "C2 to C5 are the primary tests, one Holm family at 5%. *Not shown* means that the test did not decide, not that there "
        "is no effect. Verdicts speak of these seeds, this model and this test set.",
        f"**Assumed**, because the article's own setting is lost: {'; '.join(claims.ASSUMED)}.",
        *[f"Note: {for_markdown(note)}" for note in reproduction.notes],
        *(reproduction.agreement.to_markdown() if reproduction.agreement else []),
        *[part for answer in reproduction.claims for part in _claim(answer)],
        "## Accuracy (description)",
        report.markdown_table(report.verdict_columns(accuracy.metric)[:4], _without_verdicts(accuracy)),
        f"{report.verdict_caption(accuracy)} "
        "[comparison.md](comparison.md) has the same runs, with p-values of a family of their own.",
        "![Curves by epoch](comparison.png)",
        "![Paired differences in test accuracy](differences.png)",
        "## The noise floor",
        _noise_text(reproduction.spreads),
        report.markdown_table(_SPREAD_HEADINGS, [_spread_row(spread) for spread in reproduction.spreads]),
        "Standard deviations over seeds of the difference between two runs.",
        "![Paired differences in test accuracy, the control's among them](noise.png)",
        "## The explosive setting and its remedies",
        report.markdown_table(report.run_columns(reproduction.remedies), report.run_rows(reproduction.remedies)),
        f"{report.run_caption(reproduction.remedies)} A run that diverged in its first epoch has none. In the figure a diverged "
        "run is at chance from where it diverged, marked by a cross.",
        "![The explosive setting](explosion.png)",
        "## Under Adam (sensitivity)",
        "The optimizer is assumed, so here are the same arms under Adam at 0.001: outside the family of tests, without verdicts.",
        report.markdown_table(report.verdict_columns(reproduction.adam.metric)[:4], _without_verdicts(reproduction.adam)),
        report.verdict_caption(reproduction.adam),
        "## What is not here",
        "Every run's `metrics.csv`, `config.yaml` and `run.json` stand beside this report. A `steps.csv` is about 1.1 MB a run "
        "and may be left out of a repository: `gradclip run CONFIG --seeds N` writes it again, byte for byte on the same machine "
        "and versions.",
    ]
    return "\n\n".join(parts) + "\n"


def _claim(answer: Answer) -> list[str]:
    return [f"## {answer.id}: {answer.claim} **{answer.verdict.capitalize()}**", claims.RULES[answer.id], answer.measured]


def _without_verdicts(compared: Comparison) -> list[list[str]]:
    return [row[:4] for row in report.verdict_rows(compared)]


_SPREAD_HEADINGS = (
    "pairs of runs",
    "test accuracy, epoch 1 (points)",
    "at the end (points)",
    "training loss, epoch 1 (nats)",
    "at the end (nats)",
)


def _spread_row(spread: Spread) -> list[str]:
    values = (spread.accuracy_early, spread.accuracy_late, spread.loss_early, spread.loss_late)
    return [spread.what, *(f"{value:#.2g}" if value < 1 else f"{value:.1f}" for value in values)]


def _noise_text(spreads: Sequence[Spread]) -> str:
    control, *arms, unpaired = spreads
    early, late = (max(getattr(arm, name) for arm in arms) for name in ("accuracy_early", "accuracy_late"))
    shares = " and ".join(
        f"{_ratio(control.accuracy_late**2, arm.accuracy_late**2)} times that of {arm.what.split()[0]}'s" for arm in arms
    )
    chaos = (
        "rounding alone spreads a pair at least as widely as clipping does"
        if control.accuracy_late >= late
        else "so much of their scatter rounding alone would give"
    )
    return (
        "The control is `none` with its initial weights scaled by 1.000001: what it differs from `none` by is rounding, grown "
        f"by training. Their test accuracies differ at the end with a standard deviation of {control.accuracy_late:.1f} points, "
        f"after one epoch, where chaos has had no time, of {control.accuracy_early:.2g}. At the end the variance of the "
        f"control's differences is {shares}: {chaos}. Two unpaired runs of "
        f"`none` differ with a standard deviation of {unpaired.accuracy_late:.1f} points at the end and "
        f"{unpaired.accuracy_early:.1f} after one epoch. Pairing thus narrowed the clipped arms' differences at least "
        f"{_ratio(unpaired.accuracy_early, early)} times after one epoch and {_ratio(unpaired.accuracy_late, late)} times "
        "at the end. A verdict on an arm already contains this noise."
    )


def _ratio(above: float, below: float) -> str:
    if not below or not math.isfinite(above / below):
        return "infinitely many"
    return f"{above / below:.1f}" if above < 10 * below else f"{above / below:.0f}"
