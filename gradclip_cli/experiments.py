"""Composed experiments: run many, then report. `reproduce` answers the article's claims."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from gradclip_cli import arms as arm_room
from gradclip_cli import claims, comparison, config, report, runner
from gradclip_cli.arms import Arm
from gradclip_cli.claims import Answer, Spread
from gradclip_cli.comparison import Comparison
from gradclip_cli.errors import ReportError
from gradclip_cli.runner import PlannedRun
from gradclip_cli.store import write_atomically

SCHEMA = 1
ARTICLE = ("none", "clipnorm", "clipvalue")
ADAM = ("adam-none", "adam-clipnorm", "adam-clipvalue")
EXPLODE = ("explode-none", "explode-clipnorm")
CONFIGS = (*ARTICLE, "control", "explode/none", "explode/clipnorm", "adam/none", "adam/clipnorm", "adam/clipvalue")


@dataclass(frozen=True)
class Reproduction:
    """The answers to the article's claims, with what stands beside them."""

    seeds: list[int]
    claims: list[Answer]
    accuracy: Comparison
    adam: Comparison
    spreads: list[Spread]
    notes: list[str]

    def to_json(self) -> str:
        """Claims, noise floor and sensitivity analysis, with a schema number; what is not finite is null."""
        answers = [{**asdict(answer), "claim": answer.claim, "rule": claims.RULES.get(answer.id)} for answer in self.claims]
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
        }
        return json.dumps(report.finite(content), indent=2, allow_nan=False) + "\n"


def plan_reproduction(seeds: Sequence[int], results: Path) -> list[PlannedRun]:
    """Plan all runs of the reproduction, writing nothing. Raises ReportError for fewer than two seeds."""
    if len(seeds) < 2:
        raise ReportError("reproduce compares runs over seeds: give at least 2, better 10 (--seeds 10)")
    return runner.plan(config.load_all(CONFIGS), seeds, results)


def record_plan(seeds: Sequence[int], results: Path) -> None:
    """Write down which seeds are planned before the first run; a plan that is there already stays."""
    path = results / "experiment.json"
    if not path.exists():
        results.mkdir(parents=True, exist_ok=True)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        write_atomically(path, json.dumps({"schema": SCHEMA, "seeds": list(seeds), "started": started}, indent=2) + "\n")


def report_reproduction(seeds: Sequence[int], results: Path) -> Reproduction:
    """Answer the claims from the stored runs and write `report.md`, `claims.json` and the figures."""
    read, _ = arm_room.read(results, [*ARTICLE, "control", *EXPLODE, *ADAM])
    arms = {arm.name: arm.only(seeds) for arm in read}
    by_metric = {
        metric: comparison.compare(results, ARTICLE, metric=metric, seeds=seeds)
        for metric in ("val_accuracy", "loss", "loss_area", "steps_to_target")
    }
    adam = comparison.compare(results, ADAM, ADAM[0], seeds=seeds)
    explosion = comparison.compare(results, EXPLODE, EXPLODE[0], seeds=seeds)
    accuracy = by_metric["val_accuracy"]
    reproduction = Reproduction(
        seeds=list(seeds),
        claims=claims.answer(arms, by_metric["loss"], by_metric["loss_area"], by_metric["steps_to_target"]),
        accuracy=accuracy,
        adam=adam,
        spreads=claims.noise_floor(arms["none"], arms["control"], [arms["clipnorm"], arms["clipvalue"]]),
        notes=[*accuracy.notes, *accuracy.warnings],
    )
    report.write(accuracy, results)
    _write_figures(results, arms, explosion, seeds)
    write_atomically(results / "claims.json", reproduction.to_json())
    write_atomically(results / "report.md", to_markdown(reproduction, by_metric, explosion, arms))
    return reproduction


def _write_figures(results: Path, arms: dict[str, Arm], explosion: Comparison, seeds: Sequence[int]) -> None:
    from gradclip_cli import plots

    plots.save(plots.comparison_figure(report.panels(explosion)), [results / "explosion.png", results / "explosion.svg"])
    noise = comparison.compare(results, ("none", "control", "clipnorm", "clipvalue"), seeds=seeds)
    figure = plots.differences_figure(report.difference_axis(noise), report.difference_rows(noise))
    plots.save(figure, [results / "noise.png", results / "noise.svg"])


def to_markdown(reproduction: Reproduction, by_metric: dict[str, Comparison], explosion: Comparison, arms: dict[str, Arm]) -> str:
    """The report as a page. Every figure in it comes from the stored runs."""
    base = arms["none"]
    versions = ", ".join(f"{name} {version}" for name, version in base.runs[0].metadata["versions"].items())
    machine = base.runs[0].metadata["machine"]
    parts = [
        "# Does clipping help here? The article's claims, over many seeds",
        f"{len(reproduction.seeds)} seeds ({comparison.seed_list(reproduction.seeds)}), paired: runs of one seed start from the same "
        f"weights and see the same batches. {versions}; {machine['system']}, {machine['processor']}.",
        report.markdown_table(["", "claim", "verdict"], [[answer.id, answer.claim, f"**{answer.verdict}**"] for answer in reproduction.claims]),
        "C2 to C5 are the primary tests, one Holm family at 5%. *Not shown* means that the test did not decide, not that there is no "
        "effect. Verdicts speak of these seeds, this model and this test set.",
        "Assumed, because the article's own setting is lost: " + "; ".join(claims.ASSUMED) + ".",
        *[f"Note: {note}" for note in reproduction.notes],
        *[part for answer in reproduction.claims if answer.id in claims.RULES for part in _claim(answer)],
        "## Accuracy (description)",
        report.markdown_table(report.verdict_columns(by_metric["val_accuracy"].metric)[:4], _without_verdicts(by_metric["val_accuracy"])),
        "Mean with Student's 95% interval, and mean paired difference with the sign-flip test's; [comparison.md](comparison.md) has the same runs "
        "with p-values of their own family.",
        "![Curves by epoch](comparison.png)",
        "![Paired differences in test accuracy](differences.png)",
        "## The noise floor",
        _noise_text(reproduction.spreads),
        report.markdown_table(["standard deviation of the difference between", *_SPREAD_HEADINGS], [_spread_row(spread) for spread in reproduction.spreads]),
        "![Paired differences, control included](noise.png)",
        "## The explosive setting",
        report.markdown_table(report.run_columns(), report.run_rows(explosion)),
        "The last whole epoch's figures, uncapped; a run that diverged in its first epoch has none.",
        "![The explosive setting](explosion.png)",
        "## Under Adam (sensitivity)",
        "The same arms under Adam at 0.001: outside the family of tests, without verdicts.",
        report.markdown_table(report.verdict_columns(reproduction.adam.metric)[:4], _without_verdicts(reproduction.adam)),
        "## What is not here",
        "Every run's `metrics.csv`, `config.yaml` and `run.json` stand beside this report. A `steps.csv` is about 1.1 MB a run and may be left out of "
        "a repository; `gradclip run CONFIG --seeds N` writes it again, byte for byte on the same machine and versions.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _claim(answer: Answer) -> list[str]:
    return [f"## {answer.id}: {answer.claim} **{answer.verdict.capitalize()}**", claims.RULES[answer.id], answer.measured]


def _without_verdicts(compared: Comparison) -> list[list[str]]:
    return [row[:4] for row in report.verdict_rows(compared)]


_SPREAD_HEADINGS = ("test accuracy, epoch 1 (points)", "at the end", "training loss, epoch 1 (nats)", "at the end")


def _spread_row(spread: Spread) -> list[str]:
    return [
        spread.what,
        f"{spread.accuracy_early:.2f}",
        f"{spread.accuracy_late:.2f}",
        f"{spread.loss_early:.4f}",
        f"{spread.loss_late:.4f}",
    ]


def _noise_text(spreads: Sequence[Spread]) -> str:
    control, *arms, unpaired = spreads
    widest = max(arm.accuracy_late for arm in arms)
    return (
        "The control is `none` with its initial weights scaled by 1.000001: what it differs from `none` by is rounding, grown by training. "
        f"At the end its test accuracy differs with a standard deviation of {control.accuracy_late:.2f} points, "
        f"{_ratio(control.accuracy_late, widest)} times that of the widest clipped arm; after one epoch of {control.accuracy_early:.2f}. "
        f"Two unpaired runs of `none` differ by {unpaired.accuracy_late:.2f} points at the end and {unpaired.accuracy_early:.2f} after one epoch, so pairing "
        f"narrows a clipped arm's differences {_ratio(unpaired.accuracy_early, max(arm.accuracy_early for arm in arms))} times early "
        f"and {_ratio(unpaired.accuracy_late, widest)} times at the end. A verdict on an arm already contains this noise."
    )


def _ratio(above: float, below: float) -> str:
    return f"{above / below:.2g}" if below and math.isfinite(above / below) else "more than any number of"
