"""The commands that README and the pages in docs/ have typed, and folders in which they run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conftest import SMALL, call, options
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
READMES = (*sorted((ROOT / "examples").glob("*/README.md")), *sorted((ROOT / "templates").glob("*/README.md")))
MARKDOWN = MarkdownIt("commonmark").enable("table")
PROMPT = re.compile(r"^\s*(?:\$ |- run: )")
OPERATORS = {"&&", "||", "|", ";", ">", ">>"}


@dataclass(frozen=True)
class Line:
    """A line that a page has typed, and the commands in it, each as words, with the folder that it goes into first."""

    text: str
    commands: tuple[tuple[str, ...], ...]
    folder: str = "."


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """A page's blocks of code: each one's language, and what stands in it."""
    for token in MARKDOWN.parse(page.read_text()):
        for each in (token, *(token.children or ())):
            if each.type == "fence":
                yield each.info.strip(), each.content


def typed(page: Path) -> list[Line]:
    """The lines of a page that have `gradclip` typed; what it prints, its help too, is none."""
    lines = [line for _, block in blocks(page) for line in block.replace("\\\n", " ").splitlines()]
    found = [parted(PROMPT.sub("", line)) for line in lines if re.search(r"(^|\$ |- run: |&& )gradclip ", line)]
    return [line for line in found if line.commands]


def parted(text: str) -> Line:
    """A line of a shell in its commands; comments, pipes to others and files that it writes are left out."""
    words = shlex.shlex(text, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in words:
        if word in OPERATORS:
            commands.append([])
        else:
            commands[-1].append(word)
    folder = next((command[1] for command in commands if command[:1] == ["cd"]), ".")
    return Line(text.strip(), tuple(tuple(command[1:]) for command in commands if command[:1] == ["gradclip"]), folder)


def mentioned(page: Path) -> Iterator[tuple[str, list[str]]]:
    """The commands that a page names within its sentences: each one's name, and its options."""
    for token in MARKDOWN.parse(page.read_text()):
        for each in token.children or ():
            if each.type == "code_inline" and (found := re.match(r"gradclip ([a-z]+)\b(.*)", each.content)):
                yield found[1], re.findall(r"(?<= )--[a-z-]+", found[2])


# What a page's commands are given beside what is typed, so that nothing takes long; a later option replaces an earlier one.
CUTS: dict[str, list[str]] = {
    "init": ["--pytorch"],  # which compiles nothing
    "try": ["--seeds", "1", "--epochs", "1", "--pilot-steps", "20"],
    "suggest": ["--steps", "20"],
    "rm": ["--yes"],
    "reproduce": ["--dry-run", "--results", "planned"],  # 400 runs of 5,000 steps
}
ON_THE_SAMPLE = options(*SMALL)
NO_FILES = {"run", "suggest", "check", "sweep", "study"}
"""Commands that train what is shipped, where no file is named."""
BROWSER = "--open"


def cut_short(command: Sequence[str]) -> list[str]:
    """The command as it is run: typed as on the page, with what cuts it short behind, and without a browser."""
    name, *rest = [word for word in command if word != BROWSER]
    files = [word for word in rest if word.endswith((".yaml", ".py")) or ".py:" in word]
    added = list(CUTS.get(name, []))
    if name in NO_FILES and not files:  # what is shipped: the article's model on 60,000 images
        added += ON_THE_SAMPLE if name in ("run", "suggest", "check") else ["--dry-run"]
        added += ["--seeds", "1", "--results", "trained"] if name == "run" else []
    elif name == "run":
        added += ["--seeds", "1"]
        added += options("training.epochs=1", "training.steps_per_epoch=20") if files[0].startswith("docs/") else []
    return [name, *rest, *added]


def model_folder(folder: Path) -> None:
    """A folder with `gradclip init`'s model, the same as train.py, and configs of it that take moments to train."""
    assert call("init", str(folder), *CUTS["init"]).exit_code == 0
    shutil.copy(folder / "model.py", folder / "train.py")
    small = "{epochs: 1, steps_per_epoch: 10}"
    text = (folder / "config.yaml").read_text().replace("{epochs: 5, steps_per_epoch: 125}", small)
    assert small in text
    for name, clipping in {"mine": "{mode: none}", "none": "{mode: none}", "clipped": "{mode: clipnorm, threshold: 1}"}.items():
        named = text.replace("name: none", f"name: {name}").replace("clipping: {mode: none}", f"clipping: {clipping}")
        (folder / f"{name}.yaml").write_text(named)


def write_sensors(folder: Path) -> None:
    """The model's data as a file, as a page has it."""
    import numpy as np

    names: dict[str, object] = {}
    exec(compile((folder / "model.py").read_text(), "model.py", "exec"), names)
    (x_train, y_train), (x_test, y_test) = names["load"]()  # type: ignore[operator]
    np.savez(folder / "sensors.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


ARMS = ("none", "clipvalue", "clipnorm", "pytorch/none")
SEEDS = 4


def train_arms(results: Path) -> None:
    """Runs of the article's arms, of a few steps each, and of one seed some that rounding alone tells apart."""
    folder = results.with_name("configs")
    folder.mkdir()
    for arm in ARMS:
        name, engine = arm.replace("/", "-"), "" if "/" in arm else "engine: {jit: false}\n"
        settings = f"data: {{subset: sample}}\ntraining: {{epochs: 2, steps_per_epoch: 6}}\n{engine}"
        (folder / f"{name}.yaml").write_text(f"extends: {arm}\nname: {name}\n{settings}")
    configs = sorted(map(str, folder.iterdir()))
    ended = call("run", *configs, "--seeds", str(SEEDS), "--results", str(results))
    assert ended.exit_code == 0, ended.output
    for perturbation in ("1e-6", "2e-6"):
        again = [str(folder / f"{arm}.yaml") for arm in ("none", "clipnorm")]
        ended = call("run", *again, *options(f"model.perturbation={perturbation}"), "--seeds", "2", "--results", str(results))
        assert ended.exit_code == 0, ended.output
    shutil.rmtree(folder)
