"""Progress as it stands on a real terminal's screen while runs go, and what is left of it; and as lines elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Scores, slowly, store_run
from own_runs import ERRORS, LOSS_ALONE, SHARES
from terminal import Terminal, plain

from gradclip_cli.cli import displays
from gradclip_cli.cli.grid import Grid
from gradclip_cli.engines.contract import Evaluation
from gradclip_cli.runs import many
from gradclip_cli.runs.many import PlannedRun
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.tally import Progress

MANY = 100
SCRIPT = Path(__file__).with_name("progress.py")
LONG = f"clipvalue+{'optimizer.parameter=0.1,' * 5}z"
LEFT = "[1/4] agc seed 0: already complete, left as it is"
NUMBERS = "    loss 1.234  acc 0.500  norm 1.00  clipped 25%"
SPIKE = "    135x at step 5: lstm/recurrent_kernel"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs, each of an arm of its own, the third with a name that is longer than a terminal is wide."""
    results = tmp_path_factory.mktemp("stored") / "results"
    for arm in ("agc", "clipnorm", LONG, "none"):
        store_run(results, arm, 0, [2.0, 1.5, 1.0])
    return results


class Paced(Terminal):
    """A terminal with a display in it that goes on to the next thing it shows when it is told to."""

    def __init__(self, what: str, stored: Path, **options: Any) -> None:
        reading, self._telling = os.pipe()
        super().__init__(str(SCRIPT), what, str(stored), str(reading), descriptor=reading, **options)
        os.close(reading)

    def go_on(self) -> None:
        os.write(self._telling, b".")

    def close(self) -> None:
        os.close(self._telling)  # who waits for it reads on, and ends
        self.process.wait(timeout=60)

    @property
    def shown(self) -> list[str]:
        """The lines, where a bar and what follows it is `=`, and a turning sign `*`."""
        return [re.sub(r" *[━╸╺].*", " =", re.sub(r"^[⠀-⣿]", "*", line)) for line in self.lines]

    def shows(self, *lines: str) -> None:
        """Wait until these lines stand on the screen, and no others."""
        self.wait_until(lambda terminal: self.shown == list(lines))

    def is_as_it_was(self) -> bool:
        """Whether the cursor is there again, at the beginning of a line, and nothing is below it."""
        cursor = self.screen.cursor
        return not cursor.hidden and cursor.x == 0 and cursor.y == len(self.lines)


@pytest.fixture
def start(stored: Path) -> Iterator[Callable[..., Paced]]:
    """Starts a display in a terminal of its own."""
    started: list[Paced] = []

    def begin(what: str, **options: Any) -> Paced:
        started.append(Paced(what, stored, **options))
        return started[-1]

    yield begin
    for terminal in started:
        terminal.close()


def test_no_line_is_lost_that_is_said_while_the_bars_are_drawn(start: Callable[..., Paced]) -> None:
    terminal = start("many", width=120, height=MANY + 20)
    assert terminal.wait() == 0
    assert [int(found[1]) for line in terminal.lines if (found := re.search(r"complete in (\d+)\.0 s", line))] == list(
        range(MANY)
    )


def colours(sent: bytes) -> list[str]:
    """The colours that were asked for, as the numbers that stand for them."""
    asked = [number for numbers in re.findall(rb"\x1b\[([0-9;]*)m", sent) for number in numbers.decode().split(";")]
    return [number for number in asked if re.fullmatch(r"[34][0-8]|9[0-7]|10[0-7]", number)]


# In a terminal.


@pytest.mark.parametrize(
    ("width", "label"),
    [
        (80, "clipvalue+optimizer.para..1,z seed 0"),
        pytest.param(120, f"{LONG[:64]}..1,z seed 0", marks=pytest.mark.slow),
    ],
)
def test_bars_stand_below_the_runs_that_ended_and_leave_nothing(width: int, label: str, start: Callable[..., Paced]) -> None:
    terminal = start("runs", width=width)
    terminal.shows(LEFT, "* 3 runs =", "* clipnorm seed 0: importing TensorFlow =")
    assert terminal.screen.cursor.hidden
    assert re.search(r"━ \d+ s$", terminal.lines[-1])
    terminal.go_on()
    bars = ("* 3 runs =", "* clipnorm seed 0  epoch 1 =", NUMBERS, f"* {label}  epoch 2 =", NUMBERS, SPIKE)
    terminal.shows(LEFT, *bars)
    assert terminal.reach <= width
    terminal.go_on()
    ended = [LEFT, "[2/4] clipnorm seed 0: complete in 1.5 s, val_acc 0.567, gradients healthy"]
    remark = f"{LONG} seed 0: its worker process died: tried once more"
    terminal.shows(*ended, *broken(remark, width), "* 3 runs =", f"* {label}  epoch 2 =", NUMBERS, SPIKE)
    terminal.go_on()
    assert terminal.wait() == 0
    third = f"[3/4] {LONG} seed 0: complete in 2.5 s, val_acc 0.567, gradients spiking, a spike at step 5 (lstm/recurrent_kernel)"
    last = "[4/4] none seed 0: failed: OSError: No space left on device"
    assert terminal.shown == [*ended, *broken(remark, width), *broken(third, width), last]
    assert terminal.is_as_it_was()
    assert colours(terminal.sent)


def test_a_script_s_clock_goes_on_while_it_tells_how_far_it_is(start: Callable[..., Paced]) -> None:
    terminal = start("script")
    terminal.shows("* 2 runs =", "* clipnorm seed 0: running train.py =")
    terminal.wait_until(lambda terminal: bool(re.search(r"━ [1-9] s$", terminal.lines[-1])))
    terminal.go_on()
    terminal.shows("* 2 runs =", "* clipnorm seed 0: 2 epochs, 8 steps, loss 0.5000 =")
    assert re.search(r"━ [1-9] s$", terminal.lines[-1])
    terminal.go_on()
    assert terminal.wait() == 0
    first = "[1/2] clipnorm seed 0: failed: exit code 1: a reason"
    second = f"[2/2] {LONG} seed 0: failed: exit code 1: a reason"
    assert terminal.shown == [first, "its last lines:", "  step 1", "  a reason", *broken(second, 80)]


def broken(sentence: str, width: int) -> list[str]:
    """A sentence as a terminal breaks it: it is sent whole, so that it can be copied."""
    return [sentence[start : start + width].rstrip() for start in range(0, len(sentence), width)]


def test_a_sweep_s_map_fills_above_the_bars_and_stays(start: Callable[..., Paced]) -> None:
    head, first = "               0.1       1", "clipnorm 1    56.7"
    terminal = start("grid")
    terminal.shows(
        head, f"{first}       ·", "none             ·       ·", "* 3 runs =", "* clipnorm seed 0: importing TensorFlow ="
    )
    terminal.go_on()
    terminal.go_on()
    terminal.wait_until(lambda _: f"{first}    56.7" in terminal.lines)
    assert max(map(len, terminal.lines)) <= 80
    terminal.go_on()
    assert terminal.wait() == 0
    failed, *map_left = terminal.lines[-4:]
    assert failed == "[4/4] none seed 0: failed: OSError: No space left on device"
    assert map_left == [head, f"{first}    56.7", "none          56.7       ✗"]
    assert terminal.is_as_it_was()


def test_steps_have_a_clock_until_the_first_then_a_bar(start: Callable[..., Paced]) -> None:
    terminal = start("steps", width=80)
    terminal.wait_until(lambda _: bool(re.fullmatch(r"\S compiling ━+ \d+ s", "".join(terminal.lines))))
    terminal.go_on()
    terminal.wait_until(lambda _: bool(re.fullmatch(r"\S none ━+[╸╺]?━+ [-0-9]+:[-0-9]+", "".join(terminal.lines))))
    assert terminal.reach <= 80
    terminal.go_on()
    assert terminal.wait() == 0
    assert terminal.lines == ["done"]
    assert terminal.is_as_it_was()


def test_a_download_leaves_a_line_of_what_was_fetched(start: Callable[..., Paced]) -> None:
    terminal = start("download", width=80)
    terminal.wait_until(lambda _: "1.0/2.0 MB" in "".join(terminal.lines))
    assert terminal.shown == ["fetching train-images from https://a.mirror", "train-images ="]
    assert terminal.reach <= 80
    terminal.go_on()
    assert terminal.wait() == 0
    assert terminal.lines == ["fetching train-images from https://a.mirror"]
    assert terminal.is_as_it_was()


@pytest.mark.parametrize(("what", "last", "left"), [("runs", "importing TensorFlow", [LEFT]), ("steps", "compiling", [])])
def test_ctrl_c_leaves_a_clean_line(what: str, last: str, left: list[str], start: Callable[..., Paced]) -> None:
    """Typed into the terminal, which shows it as ^C where the cursor stands: in the last bar."""
    terminal = start(what)
    terminal.wait_until(lambda _: f"{last} ━" in "".join(terminal.lines))
    terminal.press(b"\x03")
    assert terminal.wait() == 130
    assert b"^C" in terminal.sent
    assert terminal.lines == [*left, "Interrupted."]
    assert terminal.is_as_it_was()


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("runs:importing", [LEFT]),
        pytest.param("steps:compiling", [], marks=pytest.mark.slow),
        pytest.param("download:train-im", ["fetching train-images from https://a.mirror"], marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_while_a_bar_is_drawn_leaves_a_clean_screen(what: str, left: list[str], start: Callable[..., Paced]) -> None:
    terminal = start(what)
    assert terminal.wait() == 130
    assert terminal.lines == [*left, "Interrupted."]
    assert terminal.is_as_it_was()


@pytest.mark.parametrize("what", ["runs", *slowly("grid")])
def test_without_colours_progress_has_none(what: str, start: Callable[..., Paced]) -> None:
    terminal = start(what, NO_COLOR="1")
    for _ in range(3):
        terminal.go_on()
    assert terminal.wait() == 0
    assert "[4/4] none seed 0: failed: OSError: No space left on device" in terminal.lines
    assert colours(terminal.sent) == []


# Off a terminal, and in one that is too small.


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
                display.progressed(
                    run,
                    Progress(epoch, 4 * epoch, 12, 1.0, {"accuracy": 0.5}, 1.0, 0.25, Evaluation(1.0, 0.0, {"accuracy": 0.5})),
                )
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


@pytest.mark.parametrize(
    ("scores", "told"), [(ERRORS, "val_mae 1100."), (SHARES, "val_top_3 1.133"), (LOSS_ALONE, "val_loss 1.100")]
)
def test_a_run_s_line_tells_its_first_metric_else_its_loss(
    scores: Scores, told: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = store_run(results, "none", 0, [2.0, 1.5, 1.0], scores=scores)
    planned = PlannedRun(run.config(), run, "train", "new")
    name = told.split()[0].removeprefix("val_")
    evaluation = Evaluation(1.25, 0.0, {} if name == "loss" else {name: 1234.5})
    with displays.RunDisplay([planned], verbose=True) as display:
        display.progressed(planned, Progress(1, 4, 12, 1.0, {}, 1.0, 0.25, evaluation))
        display.ended(many.Result(planned, "complete", 1.5, health="healthy"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"none seed 0: complete in 1.5 s, {told}, gradients healthy"
    metrics = "" if name == "loss" else f"  val_{name} 1234"
    assert f"loss 1.000  norm 1.00  clipped 25%  val_loss 1.250{metrics}" in lines[0]


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
    grid = Grid(["0.1", "1"], [("first row", ["none", "agc"]), ("second row", ["broken", "later"])])
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
