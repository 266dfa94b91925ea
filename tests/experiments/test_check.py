"""`check` tells what would keep a problem from training, what is odd about it, and nothing where nothing is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import call, slowly, tree
from own_models import write_problem
from rich.cells import cell_len
from terminal import plain

from gradclip_cli.cli.check import print_checked
from gradclip_cli.cli.layout import Table, laid_out
from gradclip_cli.config import loading
from gradclip_cli.config.own import OwnConfig
from gradclip_cli.engines.contract import Evaluation
from gradclip_cli.experiments import check as experiment
from gradclip_cli.experiments import check_report
from gradclip_cli.experiments.check import Builds, Checked, FirstSteps, Timing, Variable, WouldNotTrain
from gradclip_cli.gradients.step_records import StepRecords
from gradclip_cli.problems.own.brought import Brought
from gradclip_cli.problems.own_arrays.data_summary import describe
from gradclip_cli.problems.own_arrays.splits import OwnArrays, OwnSplit
from gradclip_cli.runs.pace import Pace
from gradclip_cli.runs.tally import Divergence

STEPS, VARIABLES = 20, 3


def records(norm: float = 1.0) -> StepRecords:
    """Made-up steps of three variables."""
    scalars = {name: np.linspace(2, 1, STEPS) for name in ("loss", "penalty", "correct", "excess", "update_norm")}
    each = {name: np.full((STEPS, VARIABLES), norm) for name in ("norm", "max_abs", "applied_norm", "applied_max_abs")}
    return StepRecords(**scalars, **each, weights_finite=np.ones((STEPS, VARIABLES), bool))


def without_gradient(*variables: int) -> StepRecords:
    found = records()
    found.norm[:, list(variables)] = 0
    return found


@pytest.fixture
def checked(tmp_path: Path) -> Checked:
    """Something with which nothing is wrong."""
    config = loading.load(str(write_problem(tmp_path)))
    inputs, classes = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32), np.arange(20) % 3
    split = OwnSplit(inputs, classes)
    return Checked(
        config=config,
        variables=(
            Variable("dense/kernel", (4, 3), True),
            Variable("dense/bias", (3,), True),
            Variable("a_recurrent_layer/with_a_long_name/recurrent_kernel", (50, 50), True),
            Variable("seed_generator/state", (2,), False),
        ),
        arrays=tuple(describe(OwnArrays(split, split, "test", "", ()))),
        metrics={"accuracy": True},
        chance={"loss": 1.0986, "accuracy": 1 / 3},
        compiled="graph",
        evaluation_split="test",
        remarks=("something was assumed",),
        brought=None,
        builds=Builds((), (), False),
        steps=FirstSteps(records(), None, (), None, 1.0),
        evaluation=Evaluation(1.0, 0.0, {"accuracy": 0.3}),
        timings=(Timing("graph", 0.001), Timing("xla", 0.0005)),
        pace=Pace(0.001, 0.5, 4.0, 5.0),
        beginning=0.0,
        peak_memory=900_000_000,
    )


def altered(checked: Checked, **changes: Any) -> Checked:
    return dataclasses.replace(checked, **changes)


def test_nothing_is_told_of_what_is_sound(checked: Checked) -> None:
    assert check_report.obstacles(checked) == check_report.warnings(checked) == []
    assert check_report.conclusion(checked) == "It would train."
    check_report.require_trains(checked)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steps": FirstSteps(records(), Divergence(1, 2, "loss", ()), (), None, 1.0)}, "diverges at once"),
        ({"steps": FirstSteps(records(0.0), None, (), None, 1.0)}, "All gradients are zero"),
        ({"evaluation": Evaluation(np.nan, 0.0, {})}, "evaluation split is not finite"),
        ({"builds": Builds((), (), False, same_data=False)}, "gives other data each time it is called"),
    ],
)
def test_what_would_keep_it_from_training_is_an_error(changes: dict[str, Any], told: str, checked: Checked) -> None:
    found = altered(checked, **changes)
    with pytest.raises(WouldNotTrain, match=told) as caught:
        check_report.require_trains(found)
    assert caught.value.exit_code == 1
    assert check_report.to_dict(found, 2)["would_train"] is False


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"builds": Builds(("dense/kernel",), (), False)}, "Built twice with one seed it starts differently (dense/kernel)"),
        ({"builds": Builds((), (), True)}, "Two seeds give it the same initial weights"),
        ({"builds": Builds((), ("dense/kernel",), False)}, "Two seeds give the same values to dense/kernel"),
        ({"steps": FirstSteps(records(), None, ("loss", "dense/kernel"), 3, 1.0)}, "differ from step 3 on (loss, dense/kernel)"),
        ({"steps": FirstSteps(records(), None, ("dense/kernel",), None, 1.0)}, "differ in the state at the end (dense/kernel)"),
        ({"steps": FirstSteps(without_gradient(1), None, (), None, 1.0)}, "No gradient reached dense/bias in 20 steps"),
        (
            {"timings": (Timing("graph", 0.001), Timing("xla", None, "no such operation"))},
            "xla can't compile it: no such operation",
        ),
        (
            {"brought": Brought((None, 3), {"name": "sgd"}, {"mode": "clipnorm", "threshold": 1.0}, True)},
            "clipping: {mode: clipnorm, threshold: 1}",
        ),
    ],
)
def test_what_is_odd_is_told_and_is_no_error(changes: dict[str, Any], told: str, checked: Checked) -> None:
    found = altered(checked, **changes)
    assert [line for line in check_report.warnings(found) if told in line] == check_report.warnings(found) != []
    assert check_report.obstacles(found) == []
    assert "1 thing above" in check_report.conclusion(found)


def test_the_same_saved_weights_for_all_seeds_are_meant(checked: Checked) -> None:
    assert isinstance(checked.config, OwnConfig)
    saved = checked.config.model.model_copy(update={"factory": None, "file": "a.keras", "initial": "saved"})
    found = altered(checked, config=checked.config.model_copy(update={"model": saved}), builds=Builds((), (), True))
    assert check_report.warnings(found) == []


def test_oddities_of_data_are_told_but_not_of_images_that_the_network_prepares(checked: Checked) -> None:
    pixels = np.tile(np.arange(20, dtype=np.uint8)[:, None] * 12, (1, 4))
    pixels[:, 0] = 7
    split = OwnSplit(pixels, np.arange(20) % 3)
    odd = altered(checked, arrays=tuple(describe(OwnArrays(split, split, "test", "", ()))))
    told = check_report.warnings(odd)
    assert any("x_train: whole numbers up to 228: if they are pixels" in line for line in told)
    assert any("x_test: 1 of 4 columns constant" in line for line in told)
    assert check_report.warnings(altered(odd, config=loading.load("none"))) == []


def test_a_comparison_takes_as_long_as_its_runs_on_these_cores(checked: Checked) -> None:
    training = checked.config.training
    a_run = training.epochs * (training.steps_per_epoch * 0.001 + 0.5)
    assert checked.seconds(1) == pytest.approx(5 + 4 + a_run)
    assert checked.seconds(24, arms=3, workers=2) == pytest.approx(5 + (24 * a_run + 3 * 4) / 2)
    assert checked.seconds(24, arms=3, workers=4) == pytest.approx(5 + (24 * a_run + 4 * 4) / 4), "each compiles"


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit(width: int, checked: Checked) -> None:
    for table in (
        Table(*check_report.variable_table(checked), primary=["variable", "shape"]),
        Table(*check_report.array_table(checked), primary=["array", "shape", "range"], texts=["holds"]),
    ):
        layout = laid_out(table, width)
        assert all(cell_len(line) <= width for line in (*layout.headings, *layout.rows))
        assert layout.left_out == []


def test_facts_are_broken_at_words_in_a_narrow_terminal_and_whole_off_one(
    checked: Checked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = altered(checked, chance={f"val_metric_{number}": 0.5 for number in range(9)})
    print_checked(chosen, 2)
    whole = capsys.readouterr().out
    assert f"chance            {', '.join(f'val_metric_{number} 0.5' for number in range(9))}\n" in whole
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_checked(chosen, 2)
    narrow = plain(capsys.readouterr().out)
    assert max(map(cell_len, narrow.splitlines())) <= 80
    assert "".join(narrow.split()) == "".join(whole.split())


def test_the_largest_variables_come_first_and_of_many_the_rest_is_counted(checked: Checked) -> None:
    assert [row[0].rpartition("/")[2] for row in check_report.variable_table(checked)[1]] == [
        "recurrent_kernel", "kernel", "bias", "state",
    ]  # fmt: skip
    assert check_report.parameters(checked).startswith("2,515 trainable parameters in 3 variables; 2 other values")
    many = altered(checked, variables=tuple(Variable(f"layer/{size}", (size,), True) for size in range(1, 31)))
    assert len(check_report.variable_table(many)[1]) == 20
    assert "The 10 smallest variables are not shown." in check_report.parameters(many)


class Counting:
    """An engine that only counts the steps it is given, and how many of them it is to record."""

    def __init__(self) -> None:
        self.given: list[tuple[int, int]] = []

    def train_measuring(self, batches: Any, every: int) -> None:
        self.given.append((len(batches), every))


@pytest.mark.parametrize(("every", "steps"), [(1, 5), (2, 6), (10, 10)])
def test_steps_are_timed_as_a_run_records_them(every: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "TIMED", 1)
    engine: Any = Counting()
    experiment._time_a_step(engine, np.zeros((5, 8), np.int32), every)
    assert engine.given[-1] == (steps, every)


# On real problems.


@pytest.fixture
def timed_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """One way of compiling only: the others take seconds."""
    monkeypatch.setattr(experiment, "TIMED_SECONDS", 0.0)
    monkeypatch.setattr(experiment, "_timed", lambda config, way, dataset, batches: Timing(way, 0.001))


SAME_FOR_ALL = """

def build():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(3)])
"""
UNSEEDED = """

class Unseeded(keras.Model):
    def __init__(self):
        super().__init__()
        self.out, self.unused = layers.Dense(3), layers.Dense(2)
        self.out.build((None, 4))
        self.out.kernel.assign(np.random.default_rng().normal(size=(4, 3)))
        self.unused.build((None, 2))

    def call(self, inputs, training=False):
        return self.out(keras.random.dropout(inputs, 0.5) if training else inputs)


def build():
    return Unseeded()
"""


@pytest.mark.trains
@pytest.mark.usefixtures("timed_briefly")
def test_a_factory_that_seeds_itself_gives_all_seeds_one_start(tmp_path: Path) -> None:
    path = write_problem(tmp_path, SAME_FOR_ALL)
    before = tree(tmp_path)
    ended = call("check", str(path), "--json")
    assert ended.exit_code == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert [line for line in found["warnings"] if "Two seeds give it the same initial weights" in line]
    assert (found["trainable_parameters"], found["other_values"], found["repeats"]) == (43, 0, True)
    assert {each["name"]: each["shape"] for each in found["data"]}["x_train"] == [48, 4]
    assert found["seconds_a_step"].keys() == {"graph", "xla"}
    assert len(found["losses"]) == len(found["gradient_norms"]) == STEPS
    assert found["expected_seconds"]["one run"] > 0
    assert {name for name in tree(tmp_path) if "__pycache__" not in name} == before, "nothing is stored"


@pytest.mark.trains
@pytest.mark.usefixtures("timed_briefly")
def test_what_is_not_seeded_is_named(tmp_path: Path) -> None:
    config = loading.load(str(write_problem(tmp_path, UNSEEDED)))
    found = experiment.check(config)
    assert set(found.builds.differing) == {"dense/kernel"}
    assert found.steps.first_differing == 1
    assert {"loss", "norm", "dense/kernel"} <= set(found.steps.differing)
    assert any("No gradient reached dense_1/kernel, dense_1/bias" in line for line in check_report.warnings(found))
    assert check_report.obstacles(found) == []


@pytest.mark.trains
@pytest.mark.usefixtures("timed_briefly")
def test_data_that_are_others_each_time_would_not_train(tmp_path: Path) -> None:
    """Each worker would train on its own: arms that got different workers would differ by their data."""
    drawn = "np.random.default_rng().normal(size=(9, 4))"
    code = f"\n\ndef load():\n    return ({drawn}, np.arange(9) % 3), (np.ones((3, 4)), np.arange(3))\n"
    path = write_problem(tmp_path, code, data={"factory": "model.py:load", "batch_size": 3})
    ended = call("check", str(path), "--json")
    assert ended.exit_code == 1
    assert "model.py:load gives other data each time it is called" in ended.stderr
    assert "seed, inside the function, whatever it draws from" in ended.stderr


@pytest.mark.trains
@pytest.mark.usefixtures("timed_briefly")
def test_nan_in_the_inputs_would_not_train(tmp_path: Path) -> None:
    code = "\n\ndef load():\n    return (np.full((9, 4), np.nan), np.arange(9) % 3), (np.ones((3, 4)), np.arange(3))\n"
    ended = call("check", str(write_problem(tmp_path, code)), "--json")
    assert ended.exit_code == 1
    found = json.loads(ended.stdout)
    assert found["error"]["kind"] == "would not train"
    assert "diverges at once" in found["error"]["message"]
    assert found["would_train"] is False
    assert any("x_train" in remark and "NaN" in remark for remark in (*found["remarks"], *found["warnings"]))


@pytest.mark.trains
@pytest.mark.parametrize("name", slowly("none", "explode/none"))
def test_the_article_s_configs_would_train(name: str) -> None:
    ended = call("check", name, "--set", "data.subset=sample")
    assert ended.exit_code == 0, ended.stderr
    assert "It would train." in ended.stdout
    assert "lstm/recurrent_kernel" in ended.stdout or "simple_rnn/recurrent_kernel" in ended.stdout


NO_XLA = """

class NoXla(keras.Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(3)

    def call(self, inputs):
        import tensorflow as tf

        same = tf.py_function(lambda values: values, [inputs], tf.float32)
        return self.out(tf.ensure_shape(same, (None, 4)))


def build():
    return NoXla()
"""


@pytest.mark.trains
@pytest.mark.slow
def test_what_xla_cannot_compile_is_told_and_trains_as_a_graph(tmp_path: Path) -> None:
    path = write_problem(tmp_path, NO_XLA)
    found = experiment.check(loading.load(str(path)))
    assert (found.compiled, found.timings[1].step) == ("graph", None)
    assert any(line.startswith("xla can't compile it: ") for line in check_report.warnings(found))
    refused = call("check", str(path), "--set", "engine.jit=true")
    assert refused.exit_code == 1
    assert "XLA can't compile or run it: " in refused.stderr
    assert "jit: false" in refused.stderr
