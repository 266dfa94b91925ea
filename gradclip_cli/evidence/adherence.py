"""How a report keeps to its plan: what was planned when, what had been seen by then, and what is different now, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gradclip_cli.config import loading
from gradclip_cli.config.kinds import config_of
from gradclip_cli.config.schema import Config
from gradclip_cli.config.seeds import named_seeds, seed_list
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.blocks import Block, Heading, Paragraph, Points, markdown
from gradclip_cli.evidence.intentions import Intention
from gradclip_cli.evidence.plans import Look, PlannedTest, PlanRecord, SeedsRecord, Seen, plan_on_record
from gradclip_cli.evidence.sentences import some_of
from gradclip_cli.runs.provenance import provenance
from gradclip_cli.texts import counted

AS_PLANNED = "As planned."
MOST_LOOKS = 3
"""So many looks are described."""
SHORT = 12
"""Letters of a commit or a SHA-256 in a sentence."""


@dataclass(frozen=True)
class Adherence:
    """Sentences: what was planned, what had been seen before, and each thing that is different now."""

    planned: str = "No plan is on record."
    seen: str | None = None
    """None where the plan doesn't tell."""
    changes: list[str] = field(default_factory=list)
    file: str | None = None
    written: str | None = None
    git_commit: str | None = None

    @classmethod
    def of(cls, results: Path, intention: Intention, arms: Sequence[Arm]) -> Adherence:
        """Hold what is done now, with these arms' runs, against the plan in the folder. One that can't be read is told."""
        try:
            on_record = plan_on_record(results)
        except StoreError as error:
            return cls(f"What was planned is not known: {error}.")
        if on_record is None:
            return cls()
        path, plan = on_record
        changes = list(_of_seeds(plan, intention))
        if isinstance(plan, SeedsRecord):
            return cls(_seeds_planned(plan, path.name), None, changes, path.name, plan.started)
        changes += [*_of_arms(plan, intention), *_of_tests(plan, intention), *_of_origin(plan, intention, arms)]
        return cls(_planned(plan, path.name), _seen(plan.seen), changes, path.name, plan.written, plan.git_commit)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def to_markdown(self) -> list[str]:
        """A part of a report in Markdown."""
        return markdown(self.parts())

    def parts(self) -> list[Block]:
        """A part of a report."""
        paragraph = " ".join(filter(None, [self.planned, self.seen, self._as_planned]))
        changes: list[Block] = [Paragraph("Different now:"), Points(self.changes)] if self.changes else []
        return [Heading("The plan"), Paragraph(paragraph), *changes]

    @property
    def _as_planned(self) -> str | None:
        if self.changes or not self.file:
            return None
        return AS_PLANNED if self.seen else "These seeds are as planned."


def _seeds_planned(plan: SeedsRecord, file: str) -> str:
    fresh = f", and {seed_list(plan.fresh_seeds)} as fresh ones" if plan.fresh_seeds else ""
    when = f"on {plan.started}" if plan.started else "as its report tells"
    return f"Only the seeds were planned, {when} ({file}): {seed_list(plan.seeds)}{fresh}."


def _planned(plan: PlanRecord, file: str) -> str:
    commit = f"commit {short(plan.git_commit)}" if plan.git_commit else "a commit that is not known"
    seeds = named_seeds(plan.seeds)
    if plan.fresh_seeds:
        seeds += f", fresh {named_seeds(plan.fresh_seeds)} for {plan.fresh_arms}"
    if plan.tuned:
        tuning = named_seeds(sorted({seed for each in plan.tuned.values() for seed in each}))
        seeds += f"; {counted(len(plan.tuned), 'tuned arm')}, whose candidates are trained with {tuning}"
    return (
        f"Planned on {plan.written} at {commit} ({file}): {_arms_planned(plan)}, {seeds}; "
        f"{counted(len(plan.tests), 'test')} by {', '.join(plan.metrics) or 'no metric'}; "
        f"{counted(len(plan.rules), 'rule')} (SHA-256 {short(plan.rules_sha256)})."
    )


def _arms_planned(plan: PlanRecord) -> str:
    if not plan.tuned:
        return counted(len(plan.arms), "arm")
    return f"{counted(len(plan.arms), 'config')} with the candidates"


def _seen(seen: Seen) -> str:
    runs = [f"{arm} with {named_seeds(seeds)}" for arm, seeds in seen.runs.items()]
    looks = [told(look) for look in seen.looks]
    finished, looked = f"finished runs of {some_of(runs)}", f"{counted(len(looks), 'look')} ({some_of(looks, MOST_LOOKS)})"
    parts = [part for part, there in ((finished, runs), (looked, looks)) if there]
    unknown = " ".join(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in seen.unknown)
    before = (
        f"Before it was written, these had been there: {'; '.join(parts)}." if parts else "Nothing of it had been seen before."
    )
    return f"{before} {unknown}".strip()


def told(look: Look) -> str:
    """A look in a few words."""
    others = [arm for arm in look.arms if arm != look.baseline]
    against = f" against {look.baseline}" if look.baseline and others else ""
    metric = look.metric or "a metric that is not known"
    return f"{some_of(others or look.arms)}{against} by {metric} on {named_seeds(look.seeds)}"


def short(code: str | None) -> str:
    """A commit or a SHA-256 in a sentence; that the files were changed after a commit stays told."""
    if code is None:
        return "none"
    return f"{code[:SHORT]}{'-dirty' if code.endswith('-dirty') else ''}"


def _of_seeds(plan: PlanRecord | SeedsRecord, now: Intention) -> Iterator[str]:
    for fresh, planned, there in (("", plan.seeds, now.seeds), ("fresh ", plan.fresh_seeds, now.fresh_seeds)):
        if added := set(there) - set(planned):
            yield f"Added to those of the plan: {fresh}{named_seeds([*added])}."
        if missing := set(planned) - set(there):
            yield f"Planned, but not in this report: {fresh}{named_seeds([*missing])}."


def _of_arms(plan: PlanRecord, now: Intention) -> Iterator[str]:
    there = {config.name: config for config in now.configs}
    if added := [name for name in there if name not in plan.arms]:
        yield f"Arms that were not planned: {some_of(added)}."
    if missing := [name for name in plan.arms if name not in there]:
        yield f"Planned arms that are missing: {some_of(missing)}."
    changes: dict[str, list[str]] = {}
    for name in [name for name in plan.arms if name in there]:
        changes.setdefault(_changed(plan.arms[name], there[name]), []).append(name)
    yield from (f"Not as planned: {some_of(names)} ({changed})." for changed, names in changes.items() if changed)


def _changed(planned: dict[str, Any], config: Config) -> str:
    """What of an arm's config differs from the planned one, which may be from before a key was there; empty if nothing does."""
    try:
        before = config_of(planned).with_seed(config.training.seed)
    except ValidationError:
        return "its planned config is none that this gradclip knows"
    return "; ".join(f"{key} is {there}, not {here}" for key, here, there in loading.differences(before, config))


def _of_tests(plan: PlanRecord, now: Intention) -> Iterator[str]:
    if added := [_named(test) for test in now.tests if test not in plan.tests]:
        yield f"Tests that were not planned so: {some_of(added)}."
    if missing := [_named(test) for test in plan.tests if test not in now.tests]:
        yield f"Planned tests that are not made so: {some_of(missing)}."
    if plan.rules_sha256 != now.rules_sha256:
        names = [name for name in {**plan.rules, **now.rules} if plan.rules.get(name) != now.rules.get(name)]
        which = some_of(names) if names else "which ones is not known"
        yield f"Rules read otherwise than planned (SHA-256 {short(now.rules_sha256)}): {which}."


def _named(test: PlannedTest) -> str:
    return f"{test.arm}{f' against {test.baseline}' if test.baseline else ''} by {test.metric}"


def _of_origin(plan: PlanRecord, now: Intention, arms: Sequence[Arm]) -> Iterator[str]:
    """Commits and versions of the runs, and the commit that this report is written at."""
    runs = [run.metadata for arm in arms for run in arm.runs]
    if commits := _others((run.get("git_commit") for run in runs), plan.git_commit):
        yield f"Runs were trained at another commit than the plan's: {some_of([*map(short, commits)])}."
    for package, version in plan.versions.items():
        if versions := _others((run["versions"].get(package, version) for run in runs), version):
            yield f"Runs were trained with {package} {some_of(versions)}, not {version}."
    if (commit := provenance(now.framework)["git_commit"]) != plan.git_commit:
        yield f"This report is written at another commit than the plan's: {short(commit)}."


def _others(found: Iterable[str | None], planned: str | None) -> list[str]:
    """What is there besides what was planned; what is not known is nothing."""
    return sorted({each for each in found if each is not None} - {planned})
