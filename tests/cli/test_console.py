"""What is shown, and where: tables that fit, streams that fail, text of unknown origin, options in both places, JSON errors."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import gradclip, slowly, store_run
from rich.cells import cell_len

from gradclip_cli import engines
from gradclip_cli.cli import displays, main
from gradclip_cli.cli import layout as tables
from gradclip_cli.config import loading
from gradclip_cli.engines.contract import Evaluation
from gradclip_cli.evidence import comparison, report
from gradclip_cli.runs import many
from gradclip_cli.runs.many import PlannedRun
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.tally import Progress

ARTICLE = Path(__file__).parents[2] / "results" / "article"
WIDTHS = [60, 80, 100, 120, 200]
PRIMARY = {"none": "66.8", "clipnorm": "68.2", "clipvalue": "68.9"}
HOSTILE = ["esc\x1b[31mred", "[bold]x[red]", "<script>alert(1)<", r"$\frac{$", "a|b"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def in_terminal(*arguments: str, width: int = 80, cwd: Path | None = None, **environment: str) -> tuple[int, str]:
    """Run the real command in a terminal of this width: its exit code and all that it shows."""
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    variables = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "gradclip_cli", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd,
        env={**variables, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 120
    while True:
        assert time.monotonic() < deadline
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # The other end was closed.
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    return process.wait(timeout=120), shown.decode()


def plain(text: str) -> str:
    """Without colours and carriage returns."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms of six seeds: none, clipnorm and explode-none."""
    results = tmp_path_factory.mktemp("stored") / "results"
    for arm, shift in (("none", 0.0), ("clipnorm", -0.2), ("explode-none", 0.3)):
        for seed in range(6):
            store_run(results, arm, seed, [2.0 + shift, 1.5 + shift + seed / 50, 1.0 + shift + seed / 100])
    return results


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders and records of names that would do something in a terminal, in markup or in Markdown."""
    results = tmp_path_factory.mktemp("hostile") / "results"
    for number, name in enumerate(HOSTILE):
        made = store_run(results, f"arm-{number}", 0, [2.0, 1.5, 1.0])
        made.path.parent.rename(results / name)
    record = RunDirectory.of(results, HOSTILE[0], 0).path / "run.json"
    content = json.loads(record.read_text())
    content |= {"status": "\x1b]0;owned\x07complete[red]", "finished": "\x1b[2J", "reason": "[link=x]\x1b[31m"}
    record.write_text(json.dumps(content))
    return results


# Tables


def verdicts() -> tuple[list[str], list[list[str]]]:
    compared = comparison.compare(ARTICLE, ["none", "clipnorm", "clipvalue"])
    return report.verdict_columns(compared.metric), report.verdict_rows(compared)


@pytest.mark.parametrize("width", [*WIDTHS, None])
def test_a_table_fits_and_keeps_its_primary_columns(width: int | None) -> None:
    headings, rows = verdicts()
    primary = ["arm", "difference", "p", "verdict", headings[2]]
    layout = tables.laid_out(tables.Table(headings, rows, primary, ["difference"], ["verdict"], "arm"), width)
    lines = [*layout.headings, *layout.rows]
    assert width is None or all(cell_len(line) <= width for line in lines)
    assert not re.search(r"…|\.\.\.", "\n".join(lines))
    words = " ".join(lines).split()
    for arm, accuracy, difference, p, verdict in (
        ("none", "66.8", None, None, "baseline"),
        ("clipnorm", "68.2", "+1.4", "0.088", "no difference shown"),
        ("clipvalue", "68.9", "+2.1", "0.0016", "helps"),
    ):
        assert {arm, accuracy, *verdict.split(), *([difference, p] if difference and p else [])} <= set(words)
    missing = [heading for heading in headings if heading not in primary and heading not in words]
    assert missing == [heading for heading in layout.left_out if heading in headings]
    assert ("[67.1," in words) == (not any(headings[2] in told for told in layout.left_out))


def test_a_pipe_gets_all_and_the_widest_terminal_too() -> None:
    headings, rows = verdicts()
    for width in (200, None):
        layout = tables.laid_out(tables.Table(headings, rows, primary=["arm"], names="arm"), width)
        assert layout.left_out == []
        assert all(cell in "\n".join(layout.rows) for row in rows for cell in row)


@pytest.mark.parametrize("width", WIDTHS)
def test_long_names_of_many_arms_are_wrapped_and_not_cut(width: int) -> None:
    names = [f"{'abcdefghij' * 19}k{number:02}xyzabcd" for number in range(40)]
    rows = [[name, "30", "68.2 [67.1, 69.3]", "+1.4 [0.1, 3.0]", "0.088", "no difference shown"] for name in names]
    headings = ["arm", "seeds", "accuracy (%)", "difference", "p", "verdict"]
    layout = tables.laid_out(
        tables.Table(headings, rows, ["arm", "difference", "p", "verdict"], texts=["verdict"], names="arm"), width
    )
    assert all(cell_len(line) <= width for line in layout.rows)
    shown = "".join(line[: line.find("  ")] if "  " in line else line for line in layout.rows)
    assert all(name in shown.replace(" ", "") for name in names)
    assert "…" not in shown


def test_what_names_share_is_said_once() -> None:
    assert tables.shared_once(["explode-none", "explode-clipnorm"]) == ("explode-*", ["none", "clipnorm"])
    rates = ["none+optimizer.learning_rate=1", "agc-0.1+optimizer.learning_rate=3"]
    assert tables.shared_once(rates) == ("*+optimizer.learning_rate=*", ["none, 1", "agc-0.1, 3"])
    assert tables.shared_once(["none+a=1+b=2", "agc+a=1+b=2"]) == ("*+a=1+b=2", ["none", "agc"])
    for names in (["none", "clipnorm"], ["none", "none+a=1"], ["none"], ["none", "none"], ["a-1", "a-2"], []):
        assert tables.shared_once(names) == ("", names)


def test_wrapping_loses_no_letter() -> None:
    for text in ("no difference shown", "global_clipnorm-0.5+optimizer.learning_rate=1", "a" * 50, "漢字" * 9, "", "a +b", "++"):
        for width in (4, 8, 20):
            lines = tables.wrapped(text, width)
            assert all(cell_len(line) <= width for line in lines)
            assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("width", [80, 120])
def test_compare_shows_every_primary_figure_in_a_terminal(width: int, tmp_path: Path) -> None:
    code, shown = in_terminal("compare", *PRIMARY, "--results", str(ARTICLE), "--out", str(tmp_path), width=width)
    assert code == 0
    words = plain(shown).split()
    assert {*PRIMARY, *PRIMARY.values(), "0.088", "0.0016", "helps", "baseline", "0.944", "0.666", "30"} <= set(words)
    assert "…" not in shown
    table = plain(shown).partition("\n\n")[0].splitlines()
    assert all(len(line) <= width for line in table)
    assert ("Not shown" in shown) == (width < 120)


def test_compare_in_a_pipe_is_whole(tmp_path: Path) -> None:
    ended = gradclip("compare", "--results", str(ARTICLE), "--out", str(tmp_path))
    assert "68.2 [67.1, 69.3]" in ended.stdout
    assert "0.944 ±0.111" in ended.stdout
    assert "explode-unscaled-inputs" in ended.stdout
    assert not re.search(r"…|\.\.\.|Not shown", ended.stdout)


@pytest.mark.parametrize("command", ["list", "show"])
@pytest.mark.parametrize("width", [60, 80])
def test_other_tables_fit_too(command: str, width: int, stored: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    name = f"explode-none+{'x' * 60}=1"
    store_run(results, name, 3, [2.0, 1.5, 1.0])
    arguments = ["show", name, "--out", str(tmp_path)] if command == "show" else ["list"]
    _, shown = in_terminal(*arguments, "--results", str(results), width=width)
    assert "…" not in shown
    assert "complete" in plain(shown)
    if command == "show":
        assert {"2", "1.5", "1", "1.1"} <= set(plain(shown).split())
    else:
        assert all(len(line) <= width for line in plain(shown).splitlines())


# Options and names


@pytest.mark.parametrize("arguments", [["-q", "list"], ["list", "-q"], ["list", "--quiet"], ["list", "-v"], ["list", "--debug"]])
def test_general_options_are_taken_before_and_after_the_command(arguments: list[str], stored: Path) -> None:
    ended = call(*arguments, "--results", str(stored))
    assert ended.exit_code == 0, ended.output


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_s_help_names_the_general_options(command: str) -> None:
    shown = call(command, "--help").output
    assert all(option in shown for option in ("--quiet", "--verbose", "--debug"))


def test_debug_after_the_command_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in call("show", "nothing", "--debug", "--results", str(tmp_path)).output


def test_quiet_compare_says_nothing_but_the_result(stored: Path, tmp_path: Path) -> None:
    ended = gradclip("compare", "-q", "none", "clipnorm", "--results", str(stored), "--out", str(tmp_path))
    assert ended.stdout
    assert ended.stderr == ""


@pytest.mark.parametrize("name", ["explode-none", "explode/none", "explode_none", "explode/none.yaml"])
def test_an_arm_is_found_by_its_name_and_by_its_config_s(name: str, stored: Path, tmp_path: Path) -> None:
    results, out = ("--results", str(stored)), ("--out", str(tmp_path))
    listed = json.loads(call("list", name, "--json", *results).stdout)
    assert {run["arm"] for run in listed["runs"]} == {"explode-none"}
    for shown in (name, f"{name}/seed-3", f"{name}:3"):
        assert json.loads(call("show", shown, "--json", *results, *out).stdout)["run"]["status"] == "complete"
    removed = call("rm", f"{name}/seed-3", "--dry-run", *results)
    assert removed.output.count("would remove") == 1
    assert "explode-none/seed-3" in removed.output
    compared = json.loads(call("compare", name, "none", "--baseline", name, "--json", *results, *out).stdout)
    assert compared["baseline"] == "explode-none"


def test_a_run_s_folder_is_a_name_too(stored: Path) -> None:
    assert call("rm", str(stored / "none" / "seed-3"), "--dry-run", "--results", str(stored)).output.count("would remove") == 1
    assert call("list", str(stored / "none"), "--results", str(stored)).output.count("complete") == 6


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["compare", "none", "clipnrom"], "clipnorm"),
        (["compare", "--baseline", "nnoe"], "none"),
        (["show", "clipnrom"], "clipnorm"),
        (["list", "explode-nine"], "explode-none"),
        (["rm", "clipnrom", "--yes"], "clipnorm"),
    ],
)
def test_a_near_miss_of_an_arm_is_told(arguments: list[str], meant: str, stored: Path) -> None:
    ended = call(*arguments, "--results", str(stored))
    assert ended.exit_code == 1
    assert f"did you mean '{meant}'?" in ended.output
    assert (stored / "clipnorm").is_dir()


def test_an_arm_without_that_seed_says_which_it_has(stored: Path) -> None:
    ended = call("show", "none/seed-9", "--results", str(stored))
    assert ended.exit_code == 1
    assert "none has no seed 9" in ended.output
    assert "it has 6, from 0 to 5" in ended.output


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "none", "--epochs", "3"], "--set training.epochs=3"),
        (["run", "none", "--epochs=3"], "--set training.epochs=3"),
        (["run", "none", "--lr", "0.1"], "--set optimizer.learning_rate=0.1"),
        (["run", "none", "--learning-rate", "0.1"], "--set optimizer.learning_rate=0.1"),
        (["run", "none", "--batch-size", "64"], "--set data.batch_size=64"),
        (["suggest", "none", "--units", "5"], "--set model.units=5"),
        (["suggest", "none", "--seeds", "3"], "--seed"),
        (["reproduce", "--seed", "3"], "--seeds"),
    ],
)
def test_an_option_that_is_a_key_of_a_config_is_hinted_at(arguments: list[str], hint: str) -> None:
    ended = call(*arguments)
    assert ended.exit_code == 2
    assert hint in ended.output


def test_run_takes_one_seed_by_its_number(results: Path) -> None:
    def planned(*arguments: str) -> Result:
        return call("run", "none", *arguments, "--dry-run", "--json", "--results", str(results))

    assert [run["seed"] for run in json.loads(planned("--seed", "3").stdout)["runs"]] == [3]
    assert [run["seed"] for run in json.loads(planned("--seeds", "3").stdout)["runs"]] == [0, 1, 2]
    both = planned("--seed", "3", "--seeds", "3")
    assert both.exit_code == 2
    assert "--seeds" in both.stderr


# Streams


def shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A shell's redirections, with `gradclip` as a word."""
    script = f'set -o pipefail; gradclip() {{ "{sys.executable}" -m gradclip_cli "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", script], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["list", "list --json", "--help", "schema", "run none --results new --dry-run"])
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_results_that_can_t_be_written_are_an_error(command: str, redirection: str, stored: Path) -> None:
    ended = shell(f"gradclip {command} {redirection}", stored.parent)
    assert ended.returncode == 1
    assert "error: stdout: can't be written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("redirection", [*slowly("2>/dev/full", "2>&-", "<&-"), "2>&- <&-"])
def test_a_command_needs_neither_stderr_nor_stdin(redirection: str, stored: Path, tmp_path: Path) -> None:
    ended = shell(f"gradclip compare none clipnorm --out {tmp_path} {redirection}", stored.parent)
    assert ended.returncode == 0
    assert "no difference" in ended.stdout or "helps" in ended.stdout
    assert json.loads((tmp_path / "comparison.json").read_text())["schema"]


def test_an_error_s_code_is_the_same_without_stderr(stored: Path) -> None:
    for redirection in ("2>/dev/full", "2>&-"):
        assert shell(f"gradclip show nothing {redirection}", stored.parent).returncode == 1
        assert shell(f"gradclip show --nothing {redirection}", stored.parent).returncode == 2


def test_a_reader_that_has_gone_ends_the_command_as_it_ends_coreutils_(stored: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    for seed in range(3):
        store_run(results, "x" * 200, seed, [1.0])
    for command in ("schema", f"list --results {results}"):
        ended = shell(f"gradclip {command} | sleep 0", stored.parent)
        assert ended.returncode in (0, 141)
        assert ended.stderr == ""
    ended = shell("(sleep 0.1; gradclip schema) | true", stored.parent)
    assert ended.returncode == 141
    assert ended.stderr == ""


def test_rm_without_an_answer_removes_nothing_and_says_what_to_do(stored: Path) -> None:
    for redirection in ("</dev/null", "<&-"):
        ended = shell(f"gradclip rm none {redirection}", stored.parent)
        assert ended.returncode == 1
        assert "nothing was removed" in ended.stderr.lower()
        assert "--yes" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert len(list((stored / "none").iterdir())) == 6


@pytest.mark.parametrize("encoding", ["ascii", *slowly("ascii:strict", "latin-1")])
def test_a_terminal_without_unicode_gets_readable_signs(encoding: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gradclip_cli", "compare", *PRIMARY, "--results", str(ARTICLE), "--out", str(tmp_path)],
        env={**os.environ, "PYTHONIOENCODING": encoding, "LANG": "C", "LC_ALL": "C"}, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    shown = ended.stdout.decode(encoding.partition(":")[0])
    assert "[-0.1, 3.0]" in shown
    assert ("+-0.111" if "ascii" in encoding else "±0.111") in shown
    assert "\\u" not in shown
    code, shown = in_terminal(
        "compare", *PRIMARY, "--results", str(ARTICLE), "--out", str(tmp_path), PYTHONIOENCODING="ascii", width=120
    )
    assert code == 0
    assert shown.isascii()


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, *slowly({"TERM": "dumb"})])
def test_without_colours_nothing_is_coloured(environment: dict[str, str], stored: Path, tmp_path: Path) -> None:
    for arguments in (["show", "none", "--out", str(tmp_path)], ["show", "nothing"], ["show", "--nothing"]):
        _, shown = in_terminal(*arguments, "--results", str(stored), **environment)
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)
    assert "\x1b" not in in_terminal("show", "none", "--results", str(stored), "--out", str(tmp_path), TERM="dumb")[1]


# Text of unknown origin


@pytest.mark.parametrize("arguments", [["list"], ["rm", "--dry-run"], ["show"], ["compare"]])
def test_no_stored_text_acts_on_the_terminal(arguments: list[str], hostile: Path, tmp_path: Path) -> None:
    command = arguments[0]
    out = ["--out", str(tmp_path)] if command in ("show", "compare") else []
    names = {"show": HOSTILE[:2], "rm": HOSTILE}
    for name in names.get(command, [""]):
        given = [*arguments, *([name] if name else []), *out, "--results", str(hostile)]
        ended = gradclip(*given)
        _, shown = in_terminal(*given, width=200)
        for text in (ended.stdout, ended.stderr, plain(shown)):
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\x80-\x9f]", text)
        assert not re.search(r"\x1b\[(31mred|2J)|\x1b\]0", shown)
        if name and "\x1b" not in name:
            assert name in ended.stdout + ended.stderr
            assert name in plain(shown)
    if command == "list":
        assert "[bold]x[red]" in ended.stdout
        assert r"esc\x1b[31mred" in ended.stdout
        assert "[bold]x[red]" in plain(shown)


def test_an_argument_s_text_does_not_act_on_the_terminal_either(stored: Path) -> None:
    for arguments in (["show", "\x1b[31mx"], ["run", "\x1b[31mx"], ["show", "--\x1b[31mx"], ["\x1b[31mx"]):
        ended = gradclip(*arguments, cwd=stored.parent)
        assert ended.returncode in (1, 2)
        assert "\x1b" not in ended.stderr + ended.stdout
        assert r"\x1b[31mx" in ended.stderr


# JSON


def test_errors_under_json_are_json(tmp_path: Path, stored: Path) -> None:
    def error(*arguments: str) -> dict[str, object]:
        ended = gradclip(*arguments, "--json", cwd=tmp_path)
        content = json.loads(ended.stdout)
        assert content["schema"] == 1
        assert content["error"]["exit_code"] == ended.returncode != 0
        assert str(content["error"]["message"]).splitlines()[0] in ended.stderr
        assert "error:" in ended.stderr.lower()
        return dict(content["error"])

    assert error("show", "nothing")["kind"] == "report"
    config = error("run", "none", "--set", "optimizer.rate=1", "--set", "training.epochz=1")
    assert config["kind"] == "config"
    assert len(list(config["problems"])) == 2  # type: ignore[call-overload]  # JSON is of any type
    assert error("run", "none", "--epochs", "3")["kind"] == "usage"
    assert error("compare", "--metric", "f1")["kind"] == "usage"
    assert error("frobnicate")["kind"] == "usage"
    assert error("run")["kind"] == "usage"


def test_a_fault_under_json_is_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gradclip_cli.runs import store

    def broken(results: Path) -> None:
        raise ZeroDivisionError("an accident")

    monkeypatch.setattr(store, "runs", broken)
    ended = call("list", "--json", "--results", str(tmp_path))
    assert json.loads(ended.stdout)["error"] == {"kind": "fault", "message": "ZeroDivisionError: an accident", "exit_code": 1}


def test_run_json_tells_metrics_seconds_and_health(results: Path) -> None:
    made = store_run(results, "none", 0, [2.0, 1.5, 1.0], seconds=12.5, health={"word": "spiking"})
    config = ["name=none", "training.epochs=3", "training.steps_per_epoch=4"]
    settings = [option for setting in config for option in ("--set", setting)]
    ended = call("run", "none", *settings, "--json", "--results", str(results))
    (run,) = json.loads(ended.stdout)["runs"]
    assert run["path"] == str(made.path)
    assert run["status"] == "complete"
    assert run["metrics"] == pytest.approx(
        {"epoch": 3, "loss": 1.0, "accuracy": 2 / 3, "val_loss": 1.1, "val_accuracy": 0.9 - 1 / 3}
    )
    assert run["seconds"] == 12.5
    assert run["health"] == "spiking"


def test_counts_have_their_plural(stored: Path, tmp_path: Path) -> None:
    one = CliRunner().invoke(main, ["rm", "none/seed-3", "--results", str(stored)], input="n\n")
    assert "Remove 1 run for good?" in one.output
    two = CliRunner().invoke(main, ["rm", "none", "--results", str(stored)], input="n\n")
    assert "Remove 6 runs for good?" in two.output


# Progress


def finished(results: Path, count: int) -> list[PlannedRun]:
    """Runs that have just been trained, of two arms."""
    runs = [store_run(results, arm, seed, [2.0, 1.5, 1.0 + seed / 10]) for arm in ("none", "agc") for seed in range(count)]
    return [PlannedRun(run.config(), run, "train", "new") for run in runs]


def follow(display: displays.RunDisplay, planned: list[PlannedRun]) -> None:
    """Let a display see what a training of three epochs tells."""
    with display:
        for run in planned:
            for what in ("loading the dataset", "importing TensorFlow", "compiling"):
                display.preparing(run, what)
            for epoch in range(1, 4):
                display.progressed(run, Progress(epoch, 4 * epoch, 12, 1.0, 0.5, 1.0, 0.25, Evaluation(1.0, 0.0, 0.5)))
            display.ended(many.Result(run, "complete", 1.5, health="healthy"))


def test_off_a_terminal_a_run_is_one_line_with_its_accuracy(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned = finished(results, 2)
    follow(displays.RunDisplay(planned), planned)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[1] == "[2/4] none seed 1: complete in 1.5 s, val_acc 0.533, gradients healthy"
    follow(displays.RunDisplay(planned, verbose=True), planned)
    verbose = capsys.readouterr().err
    assert verbose.count("  epoch ") == 12
    assert verbose.count("compiling") == 4
    follow(displays.RunDisplay(planned, quiet=True), planned)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("width", "shown"), [("80", True), ("20", False)])
def test_in_a_terminal_a_sweep_s_grid_fills(
    width: str, shown: bool, results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TTY_INTERACTIVE": "1", "TERM": "xterm", "COLUMNS": width, "LINES": "40"}.items():
        monkeypatch.setenv(name, value)
    planned = finished(results, 2)
    store_run(results, "broken", 0, [2.0], status="diverged")
    broken = RunDirectory.of(results, "broken", 0)
    planned.append(PlannedRun(broken.config(), broken, "train", "new"))
    grid = displays.Grid(["0.1", "1"], [("first row", ["none", "agc"]), ("second row", ["broken", "later"])])
    display = displays.RunDisplay(planned, grid=grid)
    with display:
        for run in planned:
            status = "diverged" if run.config.name == "broken" else "complete"
            display.ended(many.Result(run, status, 1.0, health="healthy"))
    final = plain(capsys.readouterr().err).splitlines()
    if shown:
        first = next(line for line in reversed(final) if line.startswith("first row"))
        second = next(line for line in reversed(final) if line.startswith("second row"))
        assert first.split()[2:] == ["55.0", "55.0"]
        assert second.split()[2:] == ["✗", "·"]
    else:
        assert sum("complete in" in line for line in final) == 4


def test_what_takes_the_time_before_the_first_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = loading.load("none")
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    assert engines.preparation(chosen) == "importing TensorFlow"
    assert engines.preparation(chosen.with_framework("pytorch")) in ("importing PyTorch", "building the model")
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    assert engines.preparation(chosen) == "building the model"


@pytest.mark.parametrize("ending", ["failed", "interrupted"])
def test_what_was_done_before_an_error_stands_in_the_same_json(
    ending: str, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(planned: list[PlannedRun], *others: object, **named: object) -> list[many.Result]:
        ended = [many.Result(planned[0], ending, message="no memory")]
        if ending == "interrupted":
            raise many.Interrupted(15, ended)
        return ended

    monkeypatch.setattr(many, "execute", execute)
    ended = call("run", "none", "--json", "--results", str(results))
    content = json.loads(ended.stdout)
    assert [run["status"] for run in content["runs"]] == [ending]
    assert content["error"]["exit_code"] == ended.exit_code == {"failed": 1, "interrupted": 143}[ending]
    assert content["error"]["kind"] == {"failed": "runs failed", "interrupted": "interrupted"}[ending]
