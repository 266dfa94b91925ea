"""`reproduce`: the article's arms over many seeds, the explosive setting with its remedies, and an answer to each claim."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gradclip_cli.article import noise
from gradclip_cli.article.agreement import Agreement, hold_against
from gradclip_cli.article.answers import PRIMARY, answer_all
from gradclip_cli.article.best_rates import BestRates
from gradclip_cli.article.claim import Answer, Arms
from gradclip_cli.article.claims import CLAIMS
from gradclip_cli.article.noise import NoiseFloor
from gradclip_cli.config import loading
from gradclip_cli.config.frameworks import DEFAULT_FRAMEWORK
from gradclip_cli.config.schema import Config
from gradclip_cli.config.seeds import seed_list
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import intentions, report, samples
from gradclip_cli.evidence.adherence import Adherence
from gradclip_cli.evidence.arms import Arm, read_arms
from gradclip_cli.evidence.comparison import Comparison, compare, compare_arms
from gradclip_cli.evidence.intentions import Intention
from gradclip_cli.evidence.ledger import FirstCompared
from gradclip_cli.evidence.metrics import DEFAULT_METRIC
from gradclip_cli.evidence.plans import Look, PlannedTest
from gradclip_cli.runs import many
from gradclip_cli.runs.many import PlannedRun

CLAIMS_SCHEMA = 2
ARTICLE = ("none", "clipnorm", "clipvalue")
CONTROL = "control"
EXPLODE = ("explode-none", "explode-clipnorm")
ADAM = ("adam-none", "adam-clipnorm", "adam-clipvalue")
ARMS = tuple(dict.fromkeys((*ARTICLE, CONTROL, *(arm for claim in CLAIMS.values() for arm in claim.arms), *EXPLODE, *ADAM)))
"""What is trained: the arms that the claims need, and those that stand beside them."""
EXPLOSIVE = tuple(arm for arm in ARMS if arm.startswith("explode-"))
"""The explosive setting with all that was tried in it, the unclipped arm first."""
ASSUMED = (
    "the loss (cross-entropy on logits)",
    "the optimizer and its rate (SGD at 0.01, Keras's default)",
    "the LSTM's activation (tanh)",
    "the thresholds (0.5 for clipvalue, 1.0 for clipnorm: the article's examples)",
)
"""Of the article's own setting, which is lost."""
SENSITIVITY = ("typical", "low", "high", "level", "mean", "won", "lost")
"""What is kept of a difference without a verdict."""


def config_name(arm: str) -> str:
    """The shipped config that trains an arm, such as explode/strong_l2 for explode-strong-l2; the arm's name if there is none."""
    return next((name for name in loading.shipped_names() if _as_arm(name) == _as_arm(arm)), arm)


def _as_arm(name: str) -> str:
    return name.replace("/", "-").replace("_", "-")


@dataclass(frozen=True)
class Reproduction:
    """The answers to the article's claims, with what stands beside them."""

    seeds: list[int]
    arms: Arms
    answers: Mapping[str, Answer]
    """By the claims' ids."""
    noise_floor: NoiseFloor
    accuracy: Comparison
    noise: Comparison
    explosion: Comparison
    remedies: Comparison
    adam: Comparison
    adherence: Adherence
    """To the plan of its folder."""
    agreement: Agreement | None = None
    """With another framework's reproduction, where it was held against one."""

    @property
    def first_compared(self) -> FirstCompared:
        """The seeds of each arm that this reproduction looks at, or an earlier comparison did."""
        return {name: arm.seeds for name, arm in self.arms.items()} | dict(self.accuracy.first_compared)

    @property
    def looks(self) -> list[Look]:
        """What this reproduction tests."""
        tested = [(test.baseline, test.arm, test.metric) for test in primary_tests()]
        return [
            self.accuracy.look,
            *(
                Look(arms=[base, arm] if base else [arm], baseline=base or arm, metric=metric, seeds=self.seeds)
                for base, arm, metric in tested
            ),
        ]

    @property
    def notes(self) -> list[str]:
        """What a reader of the accuracies must know: seeds added later, mixed versions, runs left out."""
        return list(dict.fromkeys([*self.accuracy.notes, *self.accuracy.warnings, *self.explosion.warnings]))

    def to_json(self) -> str:
        """Claims, noise floor and sensitivity analysis, with a schema number; what is not finite is null."""
        answers = [
            {
                "id": name,
                **asdict(answer),
                "claim": CLAIMS[name].statement,
                "rule": CLAIMS[name].rule,
                "written": CLAIMS[name].written,
            }
            for name, answer in self.answers.items()
        ]
        content = {
            "schema": CLAIMS_SCHEMA,
            "seeds": self.seeds,
            "primary_tests": list(PRIMARY),
            "assumed": ASSUMED,
            "claims": answers,
            "noise_floor": self.noise_floor.to_dict(),
            "sensitivity": [
                {"arm": part.arm.name, **{name: getattr(part.against, name) for name in SENSITIVITY}} for part in self.adam.others
            ],
            "notes": self.notes,
            "plan": self.adherence.to_dict(),
            "agreement": self.agreement.to_dict() if self.agreement else None,
        }
        return json.dumps(report.finite(content), indent=2, allow_nan=False) + "\n"


def plan_reproduction(seeds: Sequence[int], results: Path, framework: str = DEFAULT_FRAMEWORK) -> list[PlannedRun]:
    """Plan all runs of the reproduction in a framework, writing nothing.

    Raises ReportError for fewer than two seeds, and ConfigError where the framework lacks what an arm needs.
    """
    if len(seeds) < 2:
        raise ReportError("reproduce compares runs over seeds: give at least 2, better 10 (--seeds 10)")
    return many.plan(_configs(framework), seeds, results)


def _configs(framework: str) -> list[Config]:
    shipped = loading.shipped_directory()  # by path, so that no file of the same name here is taken for it
    return loading.load_all([str(shipped / f"{config_name(arm)}.yaml") for arm in ARMS], framework=framework)


def verdict_sentence(seeds: Sequence[int]) -> str:
    """Whether so many seeds can answer the claims that rest on primary tests."""
    tests = len(PRIMARY)
    needed = samples.seeds_for_a_verdict(tests)
    enough = f"there are {len(seeds)}" if len(seeds) >= needed else f"{len(seeds)} can show nothing"
    return f"A verdict on the {tests} primary tests takes at least {needed} seeds; {enough}."


def record_plan(seeds: Sequence[int], results: Path, framework: str = DEFAULT_FRAMEWORK) -> None:
    """Write down what is planned before the first run; a plan that is there already stays. Raises StoreError."""
    intentions.record_plan(results, intention(_configs(framework), seeds))


def intention(configs: Sequence[Config], seeds: Sequence[int]) -> Intention:
    """What a reproduction by these configs trains, tests and decides by."""
    rules = {name: claim.rule for name, claim in CLAIMS.items()}
    return Intention(kind="reproduce", configs=configs, seeds=seeds, tests=[*primary_tests(), *_accuracy_tests()], rules=rules)


def primary_tests() -> list[PlannedTest]:
    """The tests that decide claims, one family."""
    family = f"primary tests: {', '.join(PRIMARY)}"
    return [claim.planned.model_copy(update={"family": family}) for claim in PRIMARY.values()]


def _accuracy_tests() -> list[PlannedTest]:
    """Those of the comparison that stands beside the claims."""
    base, *others = ARTICLE
    return [PlannedTest(arm=arm, baseline=base, metric=DEFAULT_METRIC.name, family="accuracy, as description") for arm in others]


def answer_claims(seeds: Sequence[int], results: Path, best: BestRates | None = None) -> Reproduction:
    """Answer the claims from the stored runs of these seeds, with what is left at best rates beside where that is known.

    Raises ReportError where a run can't be read.
    """
    read, warnings = read_arms(results, ARMS)
    arms = {arm.name: arm.only(seeds) for arm in read}
    _require_all(arms, seeds, warnings)
    article = [arms[name] for name in ARTICLE]
    return Reproduction(
        seeds=list(seeds),
        arms=arms,
        answers=answer_all(arms, best),
        noise_floor=noise.noise_floor(arms["none"], arms[CONTROL], [arms["clipnorm"], arms["clipvalue"]]),
        accuracy=compare(results, ARTICLE, seeds=seeds),
        noise=compare_arms([*article, arms[CONTROL]]),
        explosion=compare_arms([arms[name] for name in EXPLODE], EXPLODE[0]),
        remedies=compare_arms([arms[name] for name in EXPLOSIVE], EXPLODE[0]),
        adam=compare_arms([arms[name] for name in ADAM], ADAM[0]),
        adherence=Adherence.of(results, intention([arms[name].config for name in ARMS], seeds), list(arms.values())),
    )


def held_against(reproduction: Reproduction, results: Path) -> Reproduction:
    """The reproduction with its answers held against those of another framework's, stored in `results`, for the same seeds.

    Raises ReportError where that one lacks a run, or was trained by the same framework.
    """
    other = answer_claims(reproduction.seeds, results)
    twins = [*ARTICLE, CONTROL]
    agreement = hold_against(reproduction.answers, reproduction.arms, other.answers, other.arms, twins)
    return replace(reproduction, agreement=agreement)


def _require_all(arms: Mapping[str, Arm], seeds: Sequence[int], warnings: Sequence[str]) -> None:
    """A claim must not be answered from the runs that happen to be readable."""
    missing = [
        f"{name}: seed {seed_list(lost)} can't be read"
        for name in ARMS
        if (lost := sorted(set(seeds) - set(arms[name].seeds if name in arms else ())))
    ]
    if missing:
        hint = "Remove what is broken (gradclip rm ARM/seed-N), then give the same command again."
        raise ReportError("; ".join([*missing, *warnings]) + f". {hint}")
