"""Names of arms and runs, as users give them, and the stored runs that they mean.

An arm is meant by its name (`explode-none`), by its config's (`explode/none`, `mine.yaml`), or by its folder; `ARM/seed-3` and
`ARM:3` mean one run of it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from gradclip_cli.errors import ReportError
from gradclip_cli.runs import store
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.texts import counted

MOST_FOLDERS = 3
"""How many folders of runs are named where one must be chosen."""


def no_folder(missing: Path, usual: Path) -> str:
    """What is said of a results folder that isn't there: with one like it, or one of that name in the usual one, if there is."""
    beside = [path.name for path in missing.parent.iterdir() if path.is_dir()] if missing.parent.is_dir() else []
    near = [missing.parent / name for name in difflib.get_close_matches(missing.name, beside, n=1)]
    inside = [] if missing.is_absolute() else [usual / missing]
    found = next((path for path in [*inside, *near] if path.is_dir()), None)
    return f"there is no folder {missing}{f'; did you mean {found}?' if found else '.'}"


def nothing_in(results: Path, of: str = "") -> str:
    """What is said of a results folder without runs, where those `of` an arm were asked for: the folders in it that have some."""
    nothing = f"No runs of {of} in {results}, nor of others." if of else f"No runs in {results}."
    inside = [folder for folder in sorted(results.glob("*/")) if store.runs(folder)]
    if not inside:
        return f"{nothing} Train some first: gradclip run none clipvalue"
    more = len(inside) - MOST_FOLDERS
    listed = ", ".join(map(str, inside[:MOST_FOLDERS])) + (f" and {counted(more, 'more folder')}" if more > 0 else "")
    named = "that folder" if len(inside) == 1 else "one of these folders"
    return f"{nothing} There are some in {listed}, so name {named}: --results {inside[0]}"


def run_name(run: RunDirectory) -> str:
    """What a run is called on the command line."""
    return f"{run.arm}/seed-{run.seed}"


def find_arms(given: Sequence[str], results: Path) -> list[str]:
    """The names of the arms that are meant, in order, each once. Raises ReportError, with what is there, for one that isn't."""
    known = list(dict.fromkeys(run.arm for run in store.runs(results))) if given else []
    return list(dict.fromkeys(_arm(name, known, results) for name in given))


def find_runs(given: Sequence[str], results: Path) -> list[RunDirectory]:
    """The runs that are meant: whole arms, or single runs; all of them where none is named. Raises ReportError."""
    runs = store.runs(results)
    if not given:
        return runs
    meant = {run.path for name in given for run in _runs(name, runs, results)}
    return [run for run in runs if run.path in meant]


def whole_arms(given: Sequence[str], results: Path) -> list[str]:
    """The arms of which all runs are meant, and not single ones. Raises ReportError for one that isn't there."""
    known = list(dict.fromkeys(run.arm for run in store.runs(results)))
    return [_arm(name, known, results) for name in given if name in known or _parts(name)[1] is None]


def find_run(name: str, results: Path) -> RunDirectory:
    """The one run that is meant: an arm's first one, a single one, or that in any run's folder. Raises ReportError."""
    run = RunDirectory.at(Path(name).resolve())
    if run.packed or (run.path / "run.json").is_file():
        return run
    return _runs(name, store.runs(results), results)[0]


def names_a_run(name: str, results: Path) -> bool:
    """Whether a name means a single run, by its seed or its folder, rather than an arm."""
    path = Path(name).resolve()
    if (path / "run.json").is_file() or RunDirectory.at(path).packed:
        return True
    return _parts(name)[1] is not None and name not in {run.arm for run in store.runs(results)}


def _runs(name: str, runs: Sequence[RunDirectory], results: Path) -> list[RunDirectory]:
    known = list(dict.fromkeys(run.arm for run in runs))
    if name in known:
        return [run for run in runs if run.arm == name]
    arm, seed = _parts(name)
    arm = _arm(arm, known, results, given=name)
    found = [run for run in runs if run.arm == arm and seed in (None, run.seed)]
    if not found:
        seeds = [run.seed for run in runs if run.arm == arm]
        there = f"it has {len(seeds)}, from {min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"it has {seeds[0]} only"
        raise ReportError(f"{arm} has no seed {seed} in {results}; {there}.")
    return found


def _parts(name: str) -> tuple[str, int | None]:
    """An arm's name and a seed, of `ARM/seed-3` or `ARM:3`."""
    match = re.fullmatch(r"(.+?)(?:/seed-|:)(\d+)/?", name)
    return (match[1], int(match[2])) if match else (name, None)


def _arm(name: str, known: Sequence[str], results: Path, given: str = "") -> str:
    if name in known:
        return name
    inside = _in_folder(name, results)
    for candidate in [inside, *_config_names(name)]:
        if candidate in known:
            return candidate
    alike = [arm for arm in known if _alike(arm) == _alike(inside)]
    if len(alike) == 1:
        return alike[0]
    if not known:
        raise ReportError(nothing_in(results, given or name))
    raise ReportError(f"No runs of {given or name} in {results}{_near(inside, known)}")


def _in_folder(name: str, results: Path) -> str:
    """The arm of a folder in `results`; other names as they are."""
    folder = Path(name)
    return folder.name if folder.name and folder.parent.resolve() == results.resolve() else name


def _config_names(name: str) -> Iterable[str]:
    """The name within the config that `name` means, where there is one that can be read."""
    from gradclip_cli.config import loading
    from gradclip_cli.errors import ConfigError

    try:
        if loading.find(name):
            yield loading.load(name).name
    except (ConfigError, OSError, ValueError):
        return


def _alike(name: str) -> str:
    """What an arm's name and its config's have in common."""
    return re.sub(r"[/_]", "-", name.removesuffix(".yaml")).lower()


def _near(name: str, known: Sequence[str]) -> str:
    # What follows a plus are overrides, which nobody types: `clipvle` is near `clipvalue+training.epochs=2`.
    alike = {_alike(arm).partition("+")[0]: arm for arm in known} | {_alike(arm): arm for arm in known}
    near = difflib.get_close_matches(_alike(name), alike, n=1)
    if near:
        return f"; did you mean '{alike[near[0]]}'?"
    return f". There are: {', '.join(known)}" if len(known) <= 10 else "; `gradclip list` shows what is there."
