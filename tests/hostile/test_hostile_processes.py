"""Real processes against each other, against their streams, and against texts that want to be more than texts."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import call, options, slowly, store_run, wait_until
from hostile_damage import CONTROLS, NEVER_TOLD, drawing
from hostile_texts import patient

from gradclip_cli.runs.store import RunDirectory

pytestmark = pytest.mark.hostile

UNCOMPILED = ("data.subset=sample", "training.epochs=3", "training.steps_per_epoch=300", "engine.jit=false", "name=mine")
GRADCLIP = [sys.executable, "-m", "gradclip_cli"]


def training(results: Path, *others: str, changes: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    settings = options(*UNCOMPILED, *changes)
    return subprocess.Popen(
        [*GRADCLIP, "run", "none", *settings, *others, "--results", str(results)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=300)
    assert not [word for word in NEVER_TOLD if word in errors], errors
    return process.returncode, errors


def content(results: Path) -> tuple[bytes, bytes]:
    run = results / "mine" / "seed-0"
    return (run / "metrics.csv").read_bytes(), (run / "steps.csv").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one command leaves that nobody disturbed."""
    results = tmp_path_factory.mktemp("whole")
    assert ended(training(results))[0] == 0
    return results


# Commands at the same time.


@pytest.mark.trains
@pytest.mark.endurance
@pytest.mark.parametrize("delay", [0.0, 0.3, 2.0, 5.0])
def test_two_equal_commands_leave_what_one_leaves(delay: float, whole: Path, results: Path) -> None:
    first = training(results)
    time.sleep(delay)
    outcomes = [ended(each) for each in (training(results), first)]
    assert {code for code, _ in outcomes} <= {0, 1}, outcomes
    assert 0 in {code for code, _ in outcomes}, outcomes
    assert all("another gradclip process" in errors for code, errors in outcomes if code)
    assert RunDirectory.of(results, "mine", 0).status() == "complete"
    assert content(results) == content(whole)


@pytest.mark.trains
@pytest.mark.slow
def test_what_trains_is_not_removed_replaced_or_taken_for_another(whole: Path, results: Path) -> None:
    """One run in training, and every command that would disturb it: it is held so that it has not ended before they have."""
    steps = results / "mine" / "seed-0" / "steps.csv"
    first = training(results)
    wait_until(lambda: steps.exists() and steps.stat().st_size > 1_000)
    first.send_signal(signal.SIGSTOP)
    removed = call("rm", "mine", "--yes", "--results", str(results))
    assert removed.exit_code == 1
    assert "another gradclip process" in removed.stderr
    for others, changes, told in (
        ((), ("model.units=11",), "holds another config"),
        (("--force",), ("model.units=11",), "another gradclip process"),
        (("--force",), (), "another gradclip process"),
    ):
        code, errors = ended(training(results, *others, changes=changes))
        assert code == 1
        assert told in errors
    first.send_signal(signal.SIGCONT)
    assert ended(first)[0] == 0
    assert content(results) == content(whole)


@pytest.mark.endurance
def test_a_comparison_killed_at_any_moment_leaves_the_old_files_or_the_new(results: Path) -> None:
    for arm in ("none", "clipnorm"):
        for seed in range(3):
            store_run(results, arm, seed, [2.0, 1.0, 0.5 + 0.01 * seed], base=arm)
    assert call("compare", "--results", str(results)).exit_code == 0
    moments, kills = random.Random(0), 0
    while kills < 30:
        running = subprocess.Popen(
            [*GRADCLIP, "compare", "--results", str(results)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.5, 6))
        running.send_signal(signal.SIGKILL)
        kills += running.wait() == -signal.SIGKILL
        look = results / "compare" / "all"
        assert json.loads((look / "comparison.json").read_text())["schema"] >= 1
        assert (look / "comparison.md").read_text().endswith("\n")
        assert (look / "comparison.png").read_bytes().endswith(b"IEND\xaeB`\x82")
        assert json.loads((results / "looks.json").read_text())["schema"] == 2
    again = call("compare", "--results", str(results))
    assert again.exit_code == 0
    assert {path.name for path in results.iterdir() if not path.name.startswith(".")} == {
        "none",
        "clipnorm",
        "compare",
        "looks.json",
    }


# Streams.


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("stored") / "results"
    for arm in ("none", "clipnorm"):
        for seed in range(2):
            store_run(results, arm, seed, [2.0, 1.0, 0.5 + 0.01 * seed], base=arm)
    return results


# What takes long is left to `make test-all`: test_streams.py has `compare` with the same streams.
MORE = ("compare", "list --json", "show none/seed-0", "compare --json", "schema", "--help", "rm none --dry-run")
COMMANDS = ("list", *slowly(*MORE))


def in_a_shell(
    command: str, streams: str, stored: Path, tmp_path: Path, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """A command with its streams as the shell makes them, and what it left on stderr if that is open."""
    name = command.split()[0]
    results = ["--results", str(stored)] if name in ("list", "show", "compare", "rm") else []
    out = ["--out", str(tmp_path / "out")] if name in ("show", "compare") else []
    line = " ".join([*GRADCLIP, command, *results, *out, streams])
    environment = {**os.environ, **environment}
    return subprocess.run(["bash", "-c", line], capture_output=True, env=environment, timeout=120, check=False)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("streams", [">/dev/full", ">&-"])
def test_an_output_that_cannot_be_written_is_a_failure_and_told(command: str, streams: str, stored: Path, tmp_path: Path) -> None:
    """Exit 0 would let a script believe that it has the table."""
    found = in_a_shell(command, streams, stored, tmp_path)
    told = found.stderr.decode()
    assert found.returncode == 1, told
    assert not [word for word in (*NEVER_TOLD, "fault in gradclip", "Exception ignored") if word in told]
    assert told.strip()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("streams", [*slowly("2>/dev/full"), "2>&-"])
def test_an_error_stream_that_is_closed_or_full_takes_nothing_from_the_output(
    command: str, streams: str, stored: Path, tmp_path: Path
) -> None:
    plain = in_a_shell(command, "2>/dev/null", stored, tmp_path)
    found = in_a_shell(command, streams, stored, tmp_path)
    assert found.stdout == plain.stdout
    assert plain.stdout
    assert found.returncode in (0, 1)


@pytest.mark.parametrize("command", ["list", *slowly("compare", "schema")])
def test_a_reader_that_has_gone_is_no_failure(command: str, stored: Path, tmp_path: Path) -> None:
    found = in_a_shell(command, "| head -c 1; exit ${PIPESTATUS[0]}", stored, tmp_path)
    told = found.stderr.decode()
    assert found.returncode in (0, 141), told
    assert not [word for word in (*NEVER_TOLD, "fault in gradclip", "Exception ignored", "BrokenPipe") if word in told]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_a_terminal_that_knows_ascii_only(command: str, environment: dict[str, str], stored: Path, tmp_path: Path) -> None:
    found = in_a_shell(command, "", stored, tmp_path, **environment)
    assert found.returncode == 0, found.stderr.decode()
    found.stdout.decode("ascii")
    found.stderr.decode("ascii")
    assert b"fault in gradclip" not in found.stderr


# Texts that want to be more.

NAMES = [
    *("\x1b[31mred", "\x1b]0;title\x07", "[bold]bold[/bold]", "[/]", "a\nb", "a\rb", "a\tb", "\u202eevil", "\u200b", "ünïcode"),
    *("$(id)", "`id`", "a|b", "<b>x<b>", "![x](y)", "$x^2$", "$", "\\", "%s{0}"),
    *("-rf", "--help", " ", "none ", "seed-0", "a" * 250, "\udcff"),
]


def faults_of_output(output: str) -> list[str]:
    found = [f"{word!r} is said" for word in (*NEVER_TOLD, "fault in gradclip") if word in output]
    return found + [f"{letter!r} is printed" for letter in sorted((CONTROLS | {"\u202e", "\u200b"}) & set(output))]


# Figures are drawn where a name may be mathematics, once in `make test`.
DRAWN_MORE = {"$(id)": pytest.mark.slow, "$": pytest.mark.slow}
FOLDERS = [pytest.param(name.replace("/", ""), marks=DRAWN_MORE.get(name, ())) for name in NAMES]


@pytest.mark.parametrize("name", FOLDERS, ids=ascii)
def test_a_folder_of_any_name_is_shown_as_a_text(name: str, results: Path, tmp_path: Path) -> None:
    """Nobody trains such an arm, but an archive that was unpacked here may hold one."""
    for arm in ("none", "clipnorm"):
        for seed in range(2):
            store_run(results, arm, seed, [2.0, 1.0, 0.5 + 0.01 * seed], base=arm)
    (results / "clipnorm").rename(results / name)
    commands = (
        ["list"], ["list", "--json"], ["compare", "--out", str(tmp_path / "out")], ["rm", "none", "--dry-run"],
        ["compare", "--json", "--out", str(tmp_path / "out")], ["show", "--out", str(tmp_path / "out"), "--", f"{name}/seed-0"],
        ["rm", "--dry-run", "--", name], ["list", "--", name],
    )  # fmt: skip
    for command in commands:
        at = command.index("--") if "--" in command else len(command)
        with patient(60), drawing("$" in name and "--json" not in command):
            found = call(*command[:at], "--results", str(results), *command[at:])
        assert found.exit_code in (0, 1, 2), (command, found.output)
        assert not faults_of_output(found.stdout + found.stderr), command
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert "<b>" not in page
    assert not faults_of_output(page)
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in rows[:4]}) == 1  # no name adds a column


@pytest.mark.parametrize("text", NAMES[:-1], ids=ascii)
@pytest.mark.parametrize("key", ["status", "all others"])
def test_a_text_in_run_json_is_shown_as_a_text(key: str, text: str, results: Path, tmp_path: Path) -> None:
    for arm in ("none", "clipnorm"):
        store_run(results, arm, 0, [2.0, 1.0, 0.5], base=arm)
    record = results / "clipnorm" / "seed-0" / "run.json"
    others = dict.fromkeys(["started", "finished", "reason", "evaluation_split", "steps", "seconds"], text)
    others |= {"machine": {"processor": text, "system": text}, "versions": {text: text, "tensorflow": text}}
    record.write_text(json.dumps({**json.loads(record.read_text()), **({"status": text} if key == "status" else others)}))
    out = ("--out", str(tmp_path / "out"))
    for command in (["list"], ["list", "--json"], ["show", "clipnorm/seed-0", *out], ["rm", "clipnorm", "--dry-run"]):
        with drawing(False):
            found = call(*command, "--results", str(results))
        assert found.exit_code in (0, 1), (command, found.output)
        assert not faults_of_output(found.stdout + found.stderr), command


def test_hostile_texts_reach_a_comparison_as_texts(results: Path, tmp_path: Path) -> None:
    """All at once, since each comparison draws its figures."""
    for seed, text in enumerate(NAMES[:-1]):
        for arm in ("none", "clipnorm"):
            store_run(results, arm, seed, [2.0, 1.0, 0.5], base=arm, machine={"processor": text}, versions={"tensorflow": text})
    found = call("compare", "--results", str(results), "--out", str(tmp_path / "out"))
    assert found.exit_code == 0, found.output
    assert not faults_of_output(found.stdout + found.stderr)
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert "<b>" not in page
    assert not faults_of_output(page)
