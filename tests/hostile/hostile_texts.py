"""Hostile configs and sweeps: case n is made by its number alone, and held against what must be true of every text.

`python tests/hostile/hostile_texts.py 17` shows case 17 and what became of it; `... 0 1000` tries a thousand and prints a line
of JSON for each that failed, and the number of each that is begun, so that whoever watches knows which one ended the process.
"""

from __future__ import annotations

import json
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from gradclip_cli.config import loading, sweeps
from gradclip_cli.config.schema import LONGEST_NAME, Config
from gradclip_cli.errors import ConfigError

LONGEST_MESSAGE = 10_000  # bytes
PATIENCE = 120  # seconds for one text: a bound on hangs, on a machine that does other things too
MEMORY = 4 << 30  # bytes that a process may take for all its cases
NEVER_TOLD = ("Tree(", "Place(", "Traceback", " object at 0x")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=,-]*")

SHIPPED = [loading.shipped_directory() / f"{name}.yaml" for name in loading.shipped_names()]
SWEEPS = [loading.shipped_directory() / loading.SWEEPS / f"{name}.yaml" for name in loading.shipped_sweeps()]
SECTIONS = ("engine", "data", "model", "loss", "optimizer", "clipping", "training")
SETTINGS = [key.partition(".")[2] for key in loading.known_keys() if "." in key]

WORDS = (
    "", "null", "~", "yes", "off", "=", "<<", "0", "-1", "1", "0.5", "1e-3", "-0.0", ".inf", "-.inf", ".nan", "1e400",
    "0x1F", "0o17", "0b1", "1_000", "1:30", "2024-01-01", "2024-01-01 10:00:00", "2024-99-99", "none", "clipnorm", "adam",
    "sgd", "lstm", "relu", "tensorflow", "pytorch", "sample", "full", "[]", "{}", "[1, 2]", "[[1]]", "{a: b}",
    "{mode: clipnorm, threshold: 1}", "{mode: 3}", "{name: adam}", "{name: [sgd]}", "{mode: {mode: none}}", "*anchor",
    "&anchor 1", "!!str 3", "!!int x", "!!float [1]", "!!binary aGk=", "!!binary '*'", "!!set {a, b}", "!!timestamp x",
    "!!omap [a: 1]", "!!bool maybe", "!!null x", "!!python/object/apply:os.getcwd []", "!mine 1", "!<tag:x> 1", "'open",
    '"open', '"\\x00"', '"\\e[31m"', '"\\ud800"', '"\\U0001F600"', '"\\N"', "{", "[", "}", "]", ",", "? a", "- a", "|", ">-",
    "@", "`", "%", "\t1", "a: b: c", "é", "日本", "\u202eevil", "\u200b", "\ufeff", "\U0001f600", "\x07", "\x85", "\u2028",
    "٣", "\uff11", "../../etc", "C:\\x", "/dev/zero", "/", ".", "..", "~/x", "%s", "{0}", "$(id)", "a" * 300,
)  # fmt: skip


def scalar(draw: random.Random) -> str:
    """One value as it stands in YAML."""
    kind = draw.random()
    if kind < 0.75:
        return draw.choice(WORDS)
    if kind < 0.80:
        return draw.choice([str(2**63), str(2**64), "1" + "0" * 20, "-1" + "0" * 400, "1" + "0" * 308, "7" * 4_771])
    if kind < 0.85:
        return draw.choice("9a.-'\"# ") * draw.choice([100, 5_000, 60_000])
    if kind < 0.90:
        return "".join(
            chr(draw.choice([draw.randrange(32, 127), draw.randrange(0xA0, 0xD7FF)])) for _ in range(draw.randrange(20))
        )
    opening, closing = draw.choice([("[", "]"), ("{a: ", "}"), ("!!set {", "}"), ("[1, ", "]"), ("&a [", "]")])
    depth = draw.choice([2, 30, 150, 400, 1_500])
    return opening * depth + "1" + (closing * depth if draw.random() < 0.8 else "")


def key(draw: random.Random, known: list[str]) -> str:
    kind = draw.random()
    if kind < 0.7:
        return draw.choice(known)
    if kind < 0.85:
        return mistyped(draw, draw.choice(known))
    return draw.choice(
        ["<<", "1", "null", "true", "[a]", "{a: b}", '""', "? x", "__class__", "model_dump", "a" * 5_000, "é", "!!int x"]
    )


def mistyped(draw: random.Random, word: str) -> str:
    at = draw.randrange(len(word) + 1)
    return draw.choice(
        [word[:at] + word[at + 1 :], word[:at] + "x" + word[at:], word.upper(), f"{word} ", f" {word}", word[::-1]]
    )


def section(draw: random.Random) -> str:
    if draw.random() < 0.3:
        return scalar(draw)
    entries = [f"{key(draw, SETTINGS)}: {scalar(draw)}" for _ in range(draw.randrange(4))]
    return "{" + ", ".join(entries) + "}"


def from_grammar(draw: random.Random) -> str:
    """A config of sections, keys and values, each of which may be a mistake."""
    entries = [(key(draw, [*SECTIONS, "name", "extends"]), section(draw)) for _ in range(draw.randrange(1, 6))]
    if draw.random() < 0.6:
        entries.append(("extends", "none"))
    draw.shuffle(entries)
    return "".join(f"{name}: {value}\n" for name, value in entries)


def sweep_from_grammar(draw: random.Random) -> str:
    axes = []
    for _ in range(draw.randrange(1, 4)):
        values = [scalar(draw) for _ in range(draw.randrange(1, 3))]
        listed = f"[{', '.join(values)}]" if draw.random() < 0.8 else values[0]
        axes.append(f"{key(draw, ['clipping', 'optimizer', *loading.known_keys()])}: {listed}")
    base = draw.choice(["none", "{extends: none, data: {holdout: 10000}}", section(draw), scalar(draw)])
    text = f"base: {base}\ngrid: {{{', '.join(axes)}}}\n"
    for name in ("seeds", "fresh_seeds", "name", "extra"):
        if draw.random() < 0.3:
            text += f"{mistyped(draw, name) if draw.random() < 0.1 else name}: {scalar(draw)}\n"
    return text


def mutated(draw: random.Random, text: str) -> str:
    """A text that was right, with one to four things done to it."""
    for _ in range(draw.randrange(1, 5)):
        lines = text.split("\n")
        at = draw.randrange(len(lines))
        line = lines[at]
        done = draw.randrange(10)
        if done == 0:
            del lines[at]
        elif done == 1:
            lines.insert(at, draw.choice(lines))
        elif done in (2, 3, 4):
            lines[at] = f"{line.partition(':')[0]}: {scalar(draw)}"
        elif done == 5:
            lines[at] = mistyped(draw, line)
        elif done == 6:
            lines.insert(at, f"{key(draw, [*SECTIONS, *SETTINGS])}: {section(draw)}")
        elif done == 7:
            lines[at] = draw.choice([" ", "  ", "\t", "- "]) + line
        elif done == 8 and text:
            place = draw.randrange(len(text))
            lines = (text[:place] + draw.choice(["", *WORDS]) + text[place + draw.randrange(4) :]).split("\n")
        elif text:
            lines = text[: draw.randrange(len(text))].split("\n")
        text = "\n".join(lines)
    return text


@dataclass
class Case:
    """What is written where, and what is then loaded."""

    files: dict[str, bytes]
    load: Callable[[Path], list[Config]]
    links: dict[str, str] = field(default_factory=dict)


def one(path: Path) -> list[Config]:
    return [loading.load(str(path))]


def whole_sweep(path: Path) -> list[Config]:
    return [cell.config for cell in sweeps.load(str(path)).cells]


def chained(draw: random.Random) -> Case:
    """A file that extends another, that extends another, ..."""
    length, end = (
        draw.choice([1, 2, 3, 30, 200, 700]),
        draw.choice(["none", "0", "1", "nothing", scalar(draw), ".", "../", "pipe"]),
    )
    files = {"main.yaml": b"extends: 0.yaml\n"}
    for index in range(length):
        above = f"{index + 1}.yaml" if index + 1 < length else f"{end}.yaml" if end in ("0", "1") else end
        files[f"{index}.yaml"] = f"extends: {above}\n{from_grammar(draw) if draw.random() < 0.1 else ''}".encode()
    return Case(files, one)


def settings(draw: random.Random) -> Case:
    """Overrides on the command line."""
    given = []
    for _ in range(draw.randrange(1, 4)):
        name = draw.choice([*loading.known_keys(), *SECTIONS, "name", "", ".", "a.b.c", "name.x", "extends", "a" * 3_000])
        given.append(
            f"{mistyped(draw, name) if draw.random() < 0.1 else name}{draw.choice(['=', '=', '=', '=', '', '=='])}{scalar(draw)}"
        )
    return Case({}, lambda path: [loading.load("none", given)])


def case(number: int) -> Case:
    """The case with this number, whatever came before it."""
    draw = random.Random(number)
    kind = number % 8
    if kind == 0:
        return chained(draw)
    if kind == 1:
        return settings(draw)
    if kind in (2, 3):
        text, load = (
            (sweep_from_grammar(draw), whole_sweep)
            if kind == 2
            else (mutated(draw, draw.choice(SWEEPS).read_text()), whole_sweep)
        )
    elif kind in (4, 5):
        text, load = from_grammar(draw), one
    else:
        text, load = mutated(draw, draw.choice(SHIPPED).read_text()).replace("extends: none.yaml", "extends: explode/none"), one
    content = text.encode("utf-8", "surrogatepass")
    if draw.random() < 0.02:
        content = draw.choice(
            [content.decode("utf-8", "replace").encode("utf-16"), b"\xff\xfe" + content, content + b"\x00", b""]
        )
    return Case({"main.yaml": content}, load)


class TooSlow(BaseException):
    """Raised by the alarm, so that nothing that catches errors catches it."""


@contextmanager
def patient(seconds: int = PATIENCE) -> Iterator[None]:
    """Raises TooSlow where what is done within takes longer."""

    def rung(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"over {seconds} s")

    before = signal.signal(signal.SIGALRM, rung)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def faults_of_message(message: str) -> list[str]:
    told = [f"the message holds {word!r}" for word in NEVER_TOLD if word in message]
    size = len(message.encode("utf-8", "surrogatepass"))
    return told + ([f"the message has {size:,} bytes"] if size >= LONGEST_MESSAGE else [])


def faults_of_config(loaded: Config, folder: Path) -> list[str]:
    """What is wrong with a config that a text gave: it must name a folder, and come back from a run's own config.yaml."""
    told = [] if NAME.fullmatch(loaded.name) and len(loaded.name) <= LONGEST_NAME else [f"the arm is named {loaded.name!r:.80}"]
    stored = folder / "stored.yaml"
    stored.write_text(loading.to_yaml(loaded))
    try:
        if loading.load_stored(stored) != loaded:
            told.append("stored and read again it is another config")
    except ConfigError as error:
        told.append(f"stored it can't be read again: {str(error)[:200]}")
    stored.unlink()
    return told


def faults(number: int) -> list[str]:
    """What is not as it must be with this case; nothing where all is well."""
    chosen = case(number)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in chosen.files.items():
            (folder / file).write_bytes(content)
        before, found = written(folder), []
        try:
            with patient():
                loaded = chosen.load(folder / "main.yaml")
        except ConfigError as error:
            found = faults_of_message(str(error))
        except (Exception, TooSlow) as error:
            ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "gradclip_cli" in frame.filename]
            found = [
                f"{type(error).__name__} in {Path(ours[-1].filename).name}:{ours[-1].name}: {str(error)[:150]!r}"
                if ours
                else repr(error)
            ]
        else:
            found = [fault for each in loaded[:3] for fault in faults_of_config(each, folder)]
        return found + ([] if written(folder) == before else ["it wrote something"])


def tried(script: Path, first: int, last: int) -> Iterator[dict[str, Any]]:
    """What failed among a script's cases. They share a process; one that ends it is told, and the others go on in another."""
    while first < last:
        command = [sys.executable, str(script), str(first), str(last)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in ended.stdout.splitlines()]
        yield from (line for line in lines if "faults" in line)
        if ended.returncode == 0:
            return
        assert lines, ended.stderr
        yield {"case": lines[-1]["case"], "faults": [f"the process ended with {ended.returncode}: {ended.stderr[-300:]}"]}
        first = lines[-1]["case"] + 1


def failures(script: Path, block: int, size: int) -> None:
    """Try a block of a script's cases. Raises AssertionError with what failed, a line each."""
    failed = list(tried(script, block * size, (block + 1) * size))
    told = "\n".join(json.dumps(line) for line in failed)
    assert not failed, f"{len(failed)} of {size} cases; `python {script.name} CASE` shows one:\n{told}"


def blocks(count: int, *, quick: int) -> list[Any]:
    """Parameters: the first blocks for every run of the tests, the others for `make test-endurance`."""
    return [*range(quick), *(pytest.param(block, marks=pytest.mark.endurance) for block in range(quick, count))]


def main(first: int, last: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number in range(first, last):
        print(json.dumps({"case": number}), flush=True)
        if found := faults(number):
            print(json.dumps({"case": number, "faults": found}), flush=True)


def show(number: int) -> None:
    for file, content in list(case(number).files.items())[:3]:
        print(f"--- {file}\n{content[:1_500].decode('utf-8', 'replace')}")
    print("---", *(faults(number) or ["as it must be"]), sep="\n")


if __name__ == "__main__":
    numbers = [int(number) for number in sys.argv[1:]]
    main(*numbers) if len(numbers) == 2 else show(*numbers)
