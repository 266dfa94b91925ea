"""Hostile results: case n damages one file of a stored run, by its number alone, and every command on stored runs must bear it.

`python tests/hostile/hostile_damage.py 17` shows case 17 and what became of it; `... 0 1000` tries a thousand and prints a line
of JSON for each that failed, and the number of each that is begun, so that whoever watches knows which one ended the process.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from click.testing import Result

sys.path.insert(0, str(Path(__file__).parent.parent))  # where this runs as a script
from conftest import call, options, store_run
from hostile_texts import NEVER_TOLD, TooSlow, mutated, patient, scalar

from gradclip_cli.config.loading import load
from gradclip_cli.errors import StoreError
from gradclip_cli.evidence.intentions import Intention, record_plan
from gradclip_cli.evidence.plans import PlannedTest
from gradclip_cli.runs.store import RunDirectory

ARMS, SEEDS = ("none", "clipnorm"), (0, 1, 2, 3)
FILES = (
    "run.json",
    "config.yaml",
    "metrics.csv",
    "steps.csv",
    "checkpoint.npz",
    "plan.json",
    "experiment.json",
    "looks.json",
    "sweep.json",
)
OF_THE_FOLDER = FILES[5:]
READ_BY_COMPARE = ("plan.json", "experiment.json", "looks.json")
KNOWN = {"plan.json": (1,), "experiment.json": (1,), "looks.json": (1, 2)}
"""Schemas by file."""
DOCUMENTED = (0, 1, 2, 3, 130, 143)
MEMORY = 6 << 30  # bytes that a process may take for all its cases
PATIENCE = 120  # seconds for one command: a bound on hangs, on a machine that does other things too
CONTROLS = {chr(code) for code in range(32)} - {"\n", "\t"} | {"\x7f"}
FIGURES = ("comparison_figure", "differences_figure", "gradients_figure", "save")


def losses(arm: str, seed: int) -> list[float]:
    return [2.0, 1.0 + 0.01 * seed, (0.5 if arm == "none" else 0.4) + 0.02 * seed]


def store_all(results: Path) -> None:
    """Two arms of four seeds, a run that was stopped with a checkpoint, and what is left beside them by other commands."""
    for arm in ARMS:
        for seed in SEEDS:
            store_run(results, arm, seed, losses(arm, seed), base=arm)
    stopped = store_run(results, "stopped", 0, [2.0], status="interrupted")
    stopped.write_checkpoint(stopped.config(), {"step": np.array(4), "weights/lstm/kernel": np.ones((28, 40), np.float32)})
    configs = [load(arm) for arm in ARMS]
    tests = [PlannedTest(arm="clipnorm", baseline="none", metric="val_accuracy")]
    record_plan(results, Intention(kind="mine", configs=configs, seeds=SEEDS, tests=tests, rules={"one": "a rule"}))
    (results / "experiment.json").write_text(json.dumps({"schema": 1, "seeds": [0, 1, 2, 3], "arms": [*ARMS]}))
    (results / "sweep.json").write_text(
        json.dumps({"schema": 1, "name": "mine", "seeds": [0, 1, 2, 3], "fresh_seeds": [], "cells": []})
    )
    call("compare", *ARMS, "--results", str(results))


# Damages: each takes the draw, the file and the results, and returns what it did, in a word.


def truncated(draw: random.Random, path: Path, results: Path) -> str:
    os.truncate(path, draw.randrange(path.stat().st_size))
    return "truncated"


def flipped(draw: random.Random, path: Path, results: Path) -> str:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 1, 1, 2, 8])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return "bits flipped"


def overwritten(draw: random.Random, path: Path, results: Path) -> str:
    texts = [
        "",
        "\x00" * 100,
        "\x1b[31mred",
        "null",
        "[]",
        "{}",
        '"text"',
        "[" * 100_000,
        '{"a":' * 100_000,
        "NaN",
        "\ufeff",
        "0" * 100_000,
    ]
    content = draw.choice(texts).encode()
    path.write_bytes(draw.choice([content, content, draw.randbytes(300), b"\xff\xfe" + content]))
    return "overwritten"


def swapped(draw: random.Random, path: Path, results: Path) -> str:
    """Another run's file, or another file of this run, in its place."""
    others = [other for other in results.rglob(path.name) if other != path]
    if draw.random() < 0.3 or not others:
        others = [other for other in sorted(path.parent.iterdir()) if other.is_file() and other.name != path.name]
    other = draw.choice(sorted(others))
    shutil.copyfile(other, path)
    return f"swapped for {other.relative_to(results)}"


def not_a_file(draw: random.Random, path: Path, results: Path) -> str:
    path.unlink()
    what = draw.choice(
        ["pipe", "folder", "link to another run", "link to nothing", "link to itself", "link outside", "link to /dev/zero"]
    )
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
        (path / "kept").write_text("kept")
    else:
        targets = {
            "link to another run": results / "clipnorm" / "seed-3" / path.name,
            "link to nothing": results / "nothing",
            "link to itself": path,
            "link outside": results.parent / "outside" / "precious",
            "link to /dev/zero": Path("/dev/zero"),
        }
        path.symlink_to(targets[what])
    return what


def huge(draw: random.Random, path: Path, results: Path) -> str:
    size = draw.choice([5_000_000, 40_000_000])
    if draw.random() < 0.5:
        os.truncate(path, size)
        return "huge, of zeros"
    content = path.read_bytes()
    path.write_bytes(content + content.splitlines(keepends=True)[-1] * (5_000_000 // max(1, len(content.splitlines()[-1]))))
    return "huge, of its last line"


def removed(draw: random.Random, path: Path, results: Path) -> str:
    path.unlink()
    return "removed"


def values(draw: random.Random) -> Any:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    return draw.choice(
        [
            None,
            True,
            0,
            -1,
            1,
            2**63,
            10**400,
            1e308,
            0.5,
            "",
            "x",
            "\x1b[31mred",
            "[bold]x[/]",
            "../..",
            "\u202ex",
            [],
            {},
            [1],
            {"a": 1},
            deep,
        ]
    )


def retyped(draw: random.Random, path: Path, results: Path) -> str:
    """A value of another type, a key that is missing or of a newer gradclip's schema."""
    content = json.loads(path.read_text())
    places: list[tuple[Any, Any]] = []

    def gather(node: Any) -> None:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(child, dict | list):
                gather(child)

    gather(content)
    node, key = draw.choice(places)
    if draw.random() < 0.2 and isinstance(node, dict):
        del node[key]
        done = f"without {key}"
    elif draw.random() < 0.1:
        content["schema"], done = draw.choice([99, 0, -1, "1", None, 1.0, True]), "of another schema"
    else:
        node[key] = values(draw)
        done = f"{key} is {str(node[key])[:30]!r}"
    path.write_text(json.dumps(content))
    return done


def cells(draw: random.Random, path: Path, results: Path) -> str:
    """A table with cells, rows or columns that are not as they were."""
    lines = path.read_text().splitlines()
    at, done = draw.randrange(len(lines)), draw.randrange(6)
    if done == 0:
        del lines[at]
    elif done == 1:
        lines.insert(at, draw.choice(lines))
    elif done == 2:
        lines = [f"{line},1" for line in lines]
    else:
        row = lines[at].split(",")
        words = [
            "",
            "x",
            "nan",
            "inf",
            "-inf",
            "1e999",
            "-1",
            "0",
            "1e308",
            '"',
            "'",
            "\x00",
            "9" * 5_000,
            "0x10",
            " ",
            "True",
            "\x1b[31m",
            "1,2",
        ]
        row[draw.randrange(len(row))] = draw.choice(words)
        lines[at] = ",".join(row)
    path.write_text("\n".join(lines) + "\n")
    return f"row {at} changed"


def rewritten(draw: random.Random, path: Path, results: Path) -> str:
    """YAML with mistakes."""
    text = path.read_text()
    text = mutated(draw, text) if draw.random() < 0.7 else text + f"extends: {scalar(draw)}\n"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return "with mistakes"


Damage = Callable[[random.Random, Path, Path], str]
EVERY: tuple[Damage, ...] = (truncated, flipped, flipped, overwritten, swapped, not_a_file, not_a_file, huge, removed)
ITS_OWN: dict[str, tuple[Damage, ...]] = {
    ".json": (retyped,) * 4,
    ".csv": (cells,) * 3,
    ".yaml": (rewritten,) * 3,
    ".npz": (),
}


@dataclass
class Case:
    file: Path
    done: str


def damage(number: int, results: Path) -> Case:
    """Do the damage with this number to results that are whole."""
    draw = random.Random(number)
    name = FILES[number % len(FILES)]
    path = results / name
    if name == "experiment.json":
        (results / "plan.json").unlink()  # which would be read in its place
    if name == "checkpoint.npz":
        path = results / "stopped" / "seed-0" / name
    elif name not in OF_THE_FOLDER:
        path = results / draw.choice([*ARMS, *ARMS, "stopped"]) / "seed-0" / name
        path = path if "stopped" in path.parts else path.parent.with_name(f"seed-{draw.choice(SEEDS)}") / name
    return Case(path, draw.choice(EVERY + ITS_OWN[path.suffix])(draw, path, results))


# What must be true.


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for path in folder.rglob("*"):
        stat = path.lstat()
        found[str(path)] = (stat.st_mode, stat.st_size, stat.st_mtime_ns)
    return found


class Trial:
    """Results that are whole, kept to be copied for each case, and what the commands say of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.results, self.whole, self.out = folder, folder / "results", folder / "whole", folder / "out"
        (folder / "outside").mkdir()
        (folder / "outside" / "precious").write_text('{"schema": 1, "precious": true}')
        store_all(self.whole)
        self.restore()
        self.compared = call(*self.compare()).stdout
        self.shown = {run: call(*self.show(run)).stdout for run in self.names()}

    def restore(self) -> None:
        for folder in (self.results, self.out):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.whole, self.results)

    def names(self) -> list[str]:
        return [f"{arm}/seed-{seed}" for arm in ARMS for seed in SEEDS]

    def compare(self) -> tuple[str, ...]:
        return ("compare", *ARMS, "--json", "--results", str(self.results), "--out", str(self.out))

    def show(self, run: str, *options: str) -> tuple[str, ...]:
        return ("show", run, *options, "--results", str(self.results), "--out", str(self.out))

    def faults(self, number: int) -> tuple[Case, list[str]]:
        """What is not as it must be after this damage; nothing where all is well."""
        self.restore()
        case = damage(number, self.results)
        before, found = tree(self.results) | tree(self.folder / "outside"), []
        drawn = number % 40 == 0
        with drawing(drawn):
            for fault in self.each(case, random.Random(number)):
                found.append(fault)
        if tree(self.results) | tree(self.folder / "outside") != before:
            found.append("a command that changes nothing changed something in the results, or outside")
        with drawing(drawn):
            found += self.beside(case)
        return case, found

    def each(self, case: Case, draw: random.Random) -> Iterator[str]:
        run = "/".join(case.file.parent.parts[-2:])
        own, others = run in self.names(), [name for name in self.names() if name != run]
        results = ("--results", str(self.results))
        listed = yield from told("list", *results)
        if listed and listed.exit_code:
            yield f"list ends with {listed.exit_code}: {listed.stderr[:150]}"
        rows = [line.split()[:3] for line in listed.stdout.splitlines()] if listed else []
        yield from (f"list doesn't list {name}" for name in others if listed and [*name.split("/seed-"), "complete"] not in rows)
        yield from told("list", "--json", *results)
        if case.file.name not in OF_THE_FOLDER:
            yield from told(*self.show(run))
            yield from told(*self.show(run, "--json"))
        other = draw.choice(others)
        shown = yield from told(*self.show(other))
        if shown and shown.stdout != self.shown[other]:
            yield f"show of another run says something else: {shown.stderr[:150]}"
        for arm in (*ARMS, "stopped"):
            yield from told("rm", arm, "--dry-run", *results)
            settings = options(f"name={arm}", "training.epochs=3", "training.steps_per_epoch=4")
            base = "none" if arm == "stopped" else arm
            planned = yield from told("run", base, *settings, "--seeds", "5", "--dry-run", *results)
            if planned and planned.exit_code and run not in planned.stderr:
                yield f"run --dry-run ends with {planned.exit_code} and doesn't name {run}: {planned.stderr[:150]}"
        if case.file.name not in OF_THE_FOLDER:
            yield from self.others_compared(run, others, own)
        if case.file.name == "checkpoint.npz":
            yield from unread(case.file.parent)

    def others_compared(self, run: str, others: Sequence[str], own: bool) -> Iterator[str]:
        """A damage that changes what is said is told, and no other run is left out for it."""
        compared = yield from told(*self.compare())
        if compared and compared.exit_code:
            yield f"compare ends with {compared.exit_code}, though seven runs are whole: {compared.stderr[:150]}"
        elif compared and compared.stdout != self.compared:
            if run not in compared.stderr:
                yield f"compare says something else, and doesn't name {run}"
            arms = json.loads(compared.stdout)["arms"]
            kept = {f"{arm['arm']}/seed-{seed}" for arm in arms for seed in arm["seeds"]}
            yield from (f"compare left {name} out, too" for name in others if own and name not in kept)

    def beside(self, case: Case) -> Iterator[str]:
        """What stands beside the runs is read by the next comparison in the same folder."""
        if case.file.name not in READ_BY_COMPARE:
            return
        unreadable = not_json(case.file)
        compared = yield from told("compare", *ARMS, "--json", "--results", str(self.results))
        if compared and unreadable and case.file.name not in compared.stderr:
            yield f"compare ends with {compared.exit_code} and doesn't say that {case.file.name} can't be read"
        if (self.folder / "outside" / "precious").read_text() != '{"schema": 1, "precious": true}':
            yield "compare wrote through a link"


def not_json(path: Path) -> bool:
    """Whether something is there that is no JSON object of a schema known here."""
    if not path.is_file():
        return os.path.lexists(path)
    if path.stat().st_size > 4_000_000:
        return True
    try:
        content = json.loads(path.read_bytes(), parse_constant=refused)
    except (ValueError, RecursionError):
        return True
    return not isinstance(content, dict) or type(content.get("schema")) is not int or content["schema"] not in KNOWN[path.name]


@contextmanager
def drawing(really: bool) -> Iterator[None]:
    """Figures take most of the time of a comparison: of most cases none are drawn."""
    with nullcontext() if really else mock.patch.multiple("gradclip_cli.plots", **{name: mock.Mock() for name in FIGURES}):
        yield


def told(*arguments: str) -> Generator[str, None, Result | None]:
    """Yields what is wrong with how a command ends; returns its result, or None where it has none to speak of."""
    what = " ".join(argument for argument in arguments[:1] + arguments[2:] if argument in (arguments[0], "--json", "--dry-run"))
    try:
        with patient(PATIENCE):
            result = call(*arguments)
    except TooSlow as error:
        yield f"{what}: {place_of(error)}"
        return None
    output = result.stdout + result.stderr
    if result.exit_code not in DOCUMENTED or "fault in gradclip" in output:
        yield f"{what} is a fault in gradclip: {last_place(call('--debug', *arguments).stderr)}"
        return None
    yield from (f"{what} says {word!r}" for word in NEVER_TOLD if word in output)
    if found := CONTROLS & set(output):
        yield f"{what} prints {sorted(found)}"
    if len(output) > 1_000_000:
        yield f"{what} prints {len(output):,} characters"
    if "--json" in arguments and result.exit_code == 0:
        yield from not_valid(what, result.stdout)
    return result


def not_valid(what: str, text: str) -> Iterator[str]:
    try:
        json.loads(text, parse_constant=refused)
    except ValueError as error:
        yield f"{what} prints no JSON: {error!r}"


def refused(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def last_place(printed: str) -> str:
    """Where of ours a printed traceback ends, and with what."""
    places = re.findall(r'gradclip_cli/(\S+)", line \d+, in (\w+)', printed)
    error = (printed.strip().splitlines() or ["?"])[-1]
    return f"{error[:150]} in {':'.join(places[-1])}" if places else error[:150]


def unread(folder: Path) -> Iterator[str]:
    """A checkpoint that can't be used is refused with a reason."""
    try:
        with patient(PATIENCE):
            RunDirectory(folder).read_checkpoint(load("none"))
    except StoreError:
        return
    except (Exception, TooSlow) as error:
        yield f"read_checkpoint: {place_of(error)}"


def place_of(error: BaseException) -> str:
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "gradclip_cli" in frame.filename]
    where = f" in {Path(ours[-1].filename).name}:{ours[-1].name}" if ours else ""
    return f"{type(error).__name__}{where}: {str(error)[:150]}"


@contextmanager
def trial() -> Iterator[Trial]:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        yield Trial(Path(folder).resolve())


def main(first: int, last: int) -> None:
    with trial() as ready:
        for number in range(first, last):
            print(json.dumps({"case": number}), flush=True)
            case, found = ready.faults(number)
            if found:
                file = str(case.file.relative_to(ready.results))
                print(json.dumps({"case": number, "file": file, "damage": case.done, "faults": found}), flush=True)


def show(number: int) -> None:
    with trial() as ready:
        case, found = ready.faults(number)
        print(f"{case.file.relative_to(ready.results)}: {case.done}", *(found or ["as it must be"]), sep="\n")


if __name__ == "__main__":
    numbers = [int(number) for number in sys.argv[1:]]
    main(*numbers) if len(numbers) == 2 else show(*numbers)
