"""Runs of scripts: what starts them, how their end is told, and that nothing of them is left, whoever dies first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import slowly, wait_until
from scripted import in_shell, train, write_training

from gradclip_cli.config import loading
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.errors import ConfigError, ConflictsError
from gradclip_cli.runs import many, processes, scripts
from gradclip_cli.runs.actions import decide
from gradclip_cli.runs.cluster import on_cluster
from gradclip_cli.runs.many import Execution
from gradclip_cli.runs.store import RUN_VARIABLE, UNRECORDED, RunDirectory
from gradclip_cli.runs.trainers import Event, EventKind


def is_gone(process: int) -> bool:
    """Whether a process has ended; one that nobody has asked for its exit code yet has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def number_in(path: Path) -> int:
    """The number of a process, once a script has printed it."""
    wait_until(lambda: path.exists() and path.read_text().strip(), seconds=20)
    return int(path.read_text().split()[0])


def test_a_script_s_run_is_a_run_as_others_are(tmp_path: Path, results: Path) -> None:
    [path] = write_training(tmp_path, "mine")
    [planned] = many.plan([loading.load(path)], [3], results)
    config = planned.config
    assert isinstance(config, RecordedConfig)
    ending, run = train(config, results)
    assert (ending.status, ending.health) == ("complete", "healthy")
    metadata, stored = run.stored()
    assert isinstance(stored, RecordedConfig)
    assert metadata["recorded"] is True
    assert metadata["seed_named"] is True
    assert (stored.values, stored.sources, stored.command) == ({"clip": 1.0}, config.sources, config.command)
    assert (stored.training.seed, stored.engine.framework) == (3, "a_framework")
    assert run.metrics()["accuracy"].tolist() == [0.63, 0.63]
    assert run.log_path.read_text() == "seed 3 clip 1.0\n"
    assert not run.foreign_files()
    assert not (tmp_path / "elsewhere").exists()
    assert decide(config, run).action == "skip"


FAILURES = {
    "echo boom; echo 'a reason' >&2; exit 3": "exit code 3: a reason",
    "exit 4": "exit code 4: it printed nothing",
    "kill -9 $$": "killed by SIGKILL (out of memory?)",
    "kill -TERM $$": "killed by SIGTERM",
    "exit 0": "the script recorded nothing: it needs a recorder, which finds its run by itself",
    f": > ${RUN_VARIABLE}/steps.csv": "the script ended before its recording did",
}


@pytest.mark.parametrize("line", FAILURES)
def test_what_is_no_run_is_failed_and_says_why(line: str, tmp_path: Path, results: Path) -> None:
    ending, run = train(in_shell(tmp_path, line), results)
    assert (ending.status, ending.message) == ("failed", FAILURES[line])
    assert run.metadata()["reason"] == FAILURES[line]
    assert run.metadata()["status"] == "failed"
    assert decide(run.config().planned, run).action == "replace"


def test_a_failed_script_s_last_lines_are_shown_and_all_of_them_kept(tmp_path: Path, results: Path) -> None:
    ending, run = train(in_shell(tmp_path, "for n in $(seq 30); do echo line $n; done; exit 1"), results)
    assert ending.shown.splitlines() == [f"its last lines, of {run.log_path}:", *(f"line {number}" for number in range(21, 31))]
    assert run.log_path.read_text().splitlines() == [f"line {number}" for number in range(1, 31)]


def test_a_script_that_lacks_a_recorder_is_shown_the_lines(tmp_path: Path, results: Path) -> None:
    ending, _ = train(in_shell(tmp_path, "echo trained"), results)
    assert "callbacks=[Recorder()]" in ending.shown
    assert "with record(optimizer, model=model):" in ending.shown


def test_a_finished_recording_is_no_run_where_the_script_failed_after_it(tmp_path: Path, results: Path) -> None:
    [path] = write_training(tmp_path, "mine")
    with open(tmp_path / "train.py", "a") as script:
        script.write("raise OSError('no room for the model')\n")
    config = loading.load(path)
    assert isinstance(config, RecordedConfig)
    ending, run = train(config, results)
    assert (ending.status, ending.message) == ("failed", "exit code 1: OSError: no room for the model")
    assert (run.metadata()["exit_code"], run.metadata()["steps"]) == (1, 8)


def test_a_recorder_that_got_no_run_is_told_of_a_run_that_is_complete(tmp_path: Path, results: Path) -> None:
    [path] = write_training(tmp_path, "mine")
    with open(tmp_path / "train.py", "a") as script:
        script.write("Recording(Place('another/seed-1')).begin(SEEN)\n")
    config = loading.load(path)
    assert isinstance(config, RecordedConfig)
    ending, run = train(config, results)
    assert (ending.status, run.count_steps()) == ("complete", 8)
    assert ending.shown.startswith(f"its script was told: {UNRECORDED} of this training, which goes on: ")
    assert "another recorder records this run already" in ending.shown


def test_it_is_started_beside_its_config_and_told_where_its_run_is(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "what an engine set since")
    monkeypatch.setitem(processes.ENVIRONMENT, "MINE", "what the user set")
    (tmp_path / "beside").mkdir()
    line = f"pwd; echo ${RUN_VARIABLE}; echo $MINE; echo [$KERAS_BACKEND]"
    _, run = train(in_shell(tmp_path / "beside", line), Path("results"))
    backend = processes.ENVIRONMENT.get("KERAS_BACKEND", "")
    told = [str(tmp_path / "beside"), str(run.path.absolute()), "what the user set", f"[{backend}]"]
    assert run.log_path.read_text().splitlines() == told


def test_python_is_the_interpreter_of_gradclip(tmp_path: Path, results: Path) -> None:
    (tmp_path / "mine.yaml").write_text('command: [python, -c, "import sys; print(sys.executable)", "{seed}"]')
    config = loading.load(str(tmp_path / "mine.yaml"))
    assert isinstance(config, RecordedConfig)
    _, run = train(config, results)
    assert run.log_path.read_text() == f"{sys.executable}\n"


def test_how_far_it_is_is_told(tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "TELL", 0.0)
    told: list[Event] = []
    write = f"printf 'step,loss\\n1,2\\n2,1\\n' > ${RUN_VARIABLE}/steps.csv"
    train(in_shell(tmp_path, f"{write}; sleep 0.5"), results, told.append)
    kinds = [(event.kind, event.message) for event in told]
    assert kinds == [(EventKind.PREPARING, "running sh"), (EventKind.STANDING, "2 steps")]


# Stopped and killed.


def test_a_script_that_is_stopped_takes_all_that_it_started_along(tmp_path: Path, results: Path) -> None:
    config = in_shell(tmp_path, "sleep 60 & echo $!; wait")
    log = RunDirectory.of(results, config.name, 0).log_path
    ending, run = train(config, results, should_stop=lambda: bool(log.read_text()))
    assert ending.status == "interrupted"
    assert run.metadata()["status"] == "interrupted"
    assert is_gone(number_in(log))
    assert decide(config, run).reason == "interrupted before it was finished: starts over"


def test_a_script_that_does_not_listen_is_killed(tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "POLITELY", [(signal.SIGINT, 0.2), (signal.SIGTERM, 0.2)])
    config = in_shell(tmp_path, "trap 'echo asked' INT TERM; echo $$; while true; do sleep 0.05; done")
    log = RunDirectory.of(results, config.name, 0).log_path
    ending, _ = train(config, results, should_stop=lambda: bool(log.read_text()))
    assert ending.status == "interrupted"
    assert is_gone(number_in(log))
    assert log.read_text().count("asked") == 2


def test_what_a_script_leaves_behind_is_ended(tmp_path: Path, results: Path) -> None:
    _, run = train(in_shell(tmp_path, "sleep 60 & echo $!"), results)
    wait_until(lambda: is_gone(number_in(run.log_path)), seconds=5)


def run_command(jobs: str, results: Path) -> list[str]:
    """Two seeds of a script, some at a time."""
    plan = ["--seeds", "2", "--jobs", jobs, "--results", str(results)]
    return [sys.executable, "-m", "gradclip_cli", "run", "mine.yaml", *plan]


@pytest.mark.parametrize("jobs", ["1", *slowly("2")])
def test_nothing_of_a_script_outlives_a_gradclip_that_is_killed(jobs: str, tmp_path: Path, results: Path) -> None:
    in_shell(tmp_path, "trap '' INT TERM; echo $$; while true; do sleep 0.05; echo on; done")
    command = run_command(jobs, results)
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        logs = [results / "mine" / f"seed-{seed}" / "output.log" for seed in range(int(jobs))]
        started = [number_in(log) for log in logs]
        assert not any(map(is_gone, started))
        running.kill()
    wait_until(lambda: all(map(is_gone, started)), seconds=5)
    before = [log.stat().st_size for log in logs]
    time.sleep(0.2)
    assert [log.stat().st_size for log in logs] == before


@pytest.mark.parametrize("jobs", ["1", *slowly("2")])
def test_ctrl_c_ends_scripts_and_the_same_command_starts_them_over(jobs: str, tmp_path: Path, results: Path) -> None:
    in_shell(tmp_path, "trap 'echo asked; exit 1' INT; echo $$; while true; do sleep 0.05; done")
    command = run_command(jobs, results)
    with subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        logs = [results / "mine" / f"seed-{seed}" / "output.log" for seed in range(int(jobs))]
        started = [number_in(log) for log in logs]
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "interrupted scripts start over" in told
    assert all(map(is_gone, started))
    assert ["asked" in log.read_text() for log in logs] == [True] * len(logs)
    assert {RunDirectory(log.parent).status() for log in logs} == {"interrupted"}


# What it is by its code.


def test_another_script_is_another_experiment(tmp_path: Path, results: Path) -> None:
    (tmp_path / "train.sh").write_text("exit 1")
    (tmp_path / "mine.yaml").write_text('command: [sh, train.sh, "{seed}"]')
    [planned] = many.plan([loading.load(str(tmp_path / "mine.yaml"))], [0], results)
    assert isinstance(planned.config, RecordedConfig)
    train(planned.config, results)
    (tmp_path / "train.sh").write_text("exit 2")
    changed = loading.load(str(tmp_path / "mine.yaml"))
    for seed in (0, 1):
        with pytest.raises(ConflictsError, match=r"mine/seed-0: holds another config \(train\.sh has changed\)"):
            many.plan([changed], [seed], results)
    assert [run.action for run in many.plan([changed], [0, 1], results, force=True)] == ["replace", "train"]


def test_a_script_that_changed_since_the_plan_is_not_started(tmp_path: Path, results: Path) -> None:
    (tmp_path / "train.sh").write_text("touch started")
    (tmp_path / "mine.yaml").write_text('command: [sh, train.sh, "{seed}"]')
    [planned] = many.plan([loading.load(str(tmp_path / "mine.yaml"))], [0], results)
    (tmp_path / "train.sh").write_text("touch started; true")
    assert isinstance(planned.config, RecordedConfig)
    ending, run = train(planned.config, results)
    assert ending.status == "failed"
    assert "train.sh" in ending.message
    assert "changed since" in ending.message
    assert not (tmp_path / "started").exists()
    assert run.status() == "none"


@pytest.mark.parametrize(
    ("execution", "told"),
    [
        (Execution(way=on_cluster("tcp://nowhere:1")), "a cluster trains no script"),
        (Execution(save_model=True), "a script saves its model itself"),
        (Execution(keep_checkpoint=True), "a script has no checkpoint"),
    ],
)
def test_what_no_script_can_be_asked_is_refused_before_any_starts(
    execution: Execution, told: str, tmp_path: Path, results: Path
) -> None:
    from trained import Quiet

    planned = many.plan([in_shell(tmp_path, "exit 1")], [0], results)
    with pytest.raises(ConfigError, match=f"^mine: {told}"):
        many.execute(planned, Quiet(), execution)
    assert not results.exists()


def test_a_program_that_can_t_be_started_is_told(tmp_path: Path, results: Path) -> None:
    (tmp_path / "mine").write_bytes(b"\x7fno program")
    os.chmod(tmp_path / "mine", 0o755)
    (tmp_path / "mine.yaml").write_text('command: [./mine, "{seed}"]')
    config = loading.load(str(tmp_path / "mine.yaml"))
    assert isinstance(config, RecordedConfig)
    ending, run = train(config, results)
    assert (ending.status, run.status()) == ("failed", "failed")
    assert ending.message == f"./mine can't be started in {tmp_path}: Exec format error"
