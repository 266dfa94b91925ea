"""docs/frameworks.md says what Keras and PyTorch do: its tables are fresh, and its most important sentences hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import import_pytorch

from gradclip_cli.config import article, optimizers
from gradclip_cli.config.frameworks import pytorch as pytorch_words
from gradclip_cli.gradients.rules import RULES
from gradclip_cli.problems.article_tensorflow import RECURRENT_LAYERS
from gradclip_cli.problems.article_weights import initial_weights

torch = import_pytorch()

from frameworks.clipping import (
    BIAS,
    BY_MODE,
    INFINITE,
    KERAS_MODES,
    KERNEL,
    LENGTHS,
    NOT_A_NUMBER,
    ORDINARY,
    OVERFLOWING,
    WAYS,
    Arrays,
    Clip,
    Way,
    by_keras,
    by_our_rule,
    by_pytorch,
    clipped_norms,
    gradients_with,
    keras_step,
    norm,
    scope,
    told,
)
from frameworks.layers import FEATURES, PYTORCH_LAYERS, TIME_STEPS, UNITS, gate_order, keras_layer, pytorch_layer
from frameworks.optimizers import (
    ENOUGH,
    GRADIENTS,
    LARGE,
    SETTINGS_APART,
    START,
    apart,
    default,
    keras_class,
    keras_updates,
    lacking_table,
    section_of,
)
from make_frameworks import PAGE, TABLES
from pages import marked, write_or_check

pytestmark = pytest.mark.trains


@pytest.mark.parametrize("name", TABLES)
def test_page_tells_what_the_frameworks_do(name: str) -> None:
    expected = marked(name, TABLES[name]())
    assert expected in PAGE.read_text(encoding="utf-8"), (
        f"the table {name} of {PAGE.name} is stale; `make docs` writes it; now it is\n{expected}"
    )


def test_page_has_no_other_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"<!-- (\w+) -->", page) == [mark for name in TABLES for mark in (name, "end")]
    assert not re.search(r"^\|", re.sub(r"<!-- \w+ -->.*?<!-- end -->", "", page, flags=re.DOTALL), flags=re.MULTILINE)


def test_files_that_the_page_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text(encoding="utf-8"))
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def altered(place: tuple[int, ...], value: float) -> Clip:
    """Keras's clipnorm, but for one element of the kernel."""

    def clip(gradients: Arrays, threshold: float) -> Arrays:
        kernel, bias = by_keras("clipnorm", gradients, threshold)
        kernel[place] = value if not np.isfinite(gradients[0]).all() else kernel[place]
        return [kernel, bias]

    return clip


@pytest.mark.parametrize(("place", "value"), [((0, 0), 1.0), ((2, 0), 0.5), ((1, 1), np.nan), ((2, 1), 1e-3)])
def test_what_has_no_words_is_not_told(place: tuple[int, ...], value: float) -> None:
    """One element that differs from what a cell says is noticed."""
    assert told(BY_MODE["clipnorm"].clips[0], np.inf) == "becomes NaN, the rest of its variable 0"
    with pytest.raises(AssertionError):
        told(altered(place, value), np.inf)


# The most important facts, in code.


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.title)
def test_scopes_are_those_of_the_rules(way: Way) -> None:
    assert [scope(clip) for clip in way.clips] == [RULES[way.mode].scope.name] * 2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.title)
def test_frameworks_and_rules_agree_on_ordinary_gradients(way: Way, seed: int) -> None:
    """Within 1e-6, and for PyTorch's norms within what it adds to them."""
    generator = np.random.default_rng(seed)
    gradients = [(generator.normal(size=array.shape) * 10.0 ** (seed - 1)).astype(np.float32) for array in (KERNEL, BIAS)]
    shortest = min(map(norm, gradients))
    for threshold in (0.01, 1.0):
        expected = by_our_rule(way.mode, gradients, threshold, np, np.asarray)
        for clip, slack in zip(way.clips, (0, 1e-6 / shortest), strict=True):
            for array, other in zip(clip(gradients, threshold), expected, strict=True):
                np.testing.assert_allclose(array, other, rtol=1e-6 + slack)


@pytest.mark.parametrize("mode", KERAS_MODES)
def test_compiled_keras_clips_as_it_does_step_by_step(mode: str) -> None:
    """The engine compiles with XLA, whose maximum of a number and NaN need not be NaN."""
    shapes = [KERNEL.shape, BIAS.shape]
    by_step, compiled = keras_step(mode, shapes, 1.0), keras_step(mode, shapes, 1.0, compiled=True)
    for element in (*INFINITE, *NOT_A_NUMBER, *OVERFLOWING, *ORDINARY):
        for one, other in zip(by_step(gradients_with(element)), compiled(gradients_with(element)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_clipnorm_is_per_variable_and_clip_grad_norm_joint() -> None:
    gradients = [np.array([[3.0]], np.float32), np.array([4.0], np.float32)]
    np.testing.assert_allclose(np.concatenate([g.ravel() for g in by_keras("clipnorm", gradients, 1.0)]), [1, 1], rtol=1e-6)
    for joint in (by_keras, by_pytorch):
        clipped = np.concatenate([g.ravel() for g in joint("global_clipnorm", gradients, 1.0)])
        np.testing.assert_allclose(clipped, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("clip", [by_keras, by_pytorch])
def test_infinite_elements_become_the_threshold_under_clipvalue(clip: Callable[..., Arrays]) -> None:
    for infinite in INFINITE:
        kernel, bias = clip("clipvalue", gradients_with(infinite), 1.0)
        np.testing.assert_array_equal(kernel, np.clip(gradients_with(infinite)[0], -1, 1))
        np.testing.assert_array_equal(bias, [1, -0.5])
        assert abs(kernel[0, 0]) == 1


@pytest.mark.parametrize("clip", [by_keras, by_pytorch])
def test_nan_makes_everything_nan_under_the_joint_norm(clip: Callable[..., Arrays]) -> None:
    assert all(np.isnan(array).all() for array in clip("global_clipnorm", gradients_with(np.nan), 1.0))


def test_infinite_element_under_the_joint_norm() -> None:
    assert all(np.isnan(array).all() for array in by_keras("global_clipnorm", gradients_with(np.inf), 1.0))
    kernel, bias = by_pytorch("global_clipnorm", gradients_with(np.inf), 1.0)
    assert np.isnan(kernel).sum() == 1
    assert np.isnan(kernel[0, 0])
    assert not np.nan_to_num(kernel).any()
    assert not bias.any()


@pytest.mark.parametrize("shape", [(3, 2), (64, 200)])
def test_overflow_of_the_squared_norm(shape: tuple[int, int]) -> None:
    """Also of large variables, which frameworks sum up in another way."""
    gradients = [np.full(shape, 1e25, np.float32), BIAS]
    for clip in (by_keras, by_pytorch):
        kernel, bias = clip("clipnorm", gradients, 1.0)
        assert not kernel.any()
        assert norm(bias) == pytest.approx(1)
    assert all(np.isnan(array).all() for array in by_keras("global_clipnorm", gradients, 1.0))
    assert not any(array.any() for array in by_pytorch("global_clipnorm", gradients, 1.0))
    for clip in (by_keras, by_pytorch):
        assert norm(clip("clipnorm", gradients_with(1e30), 1.0, our_rule=True)[0]) == pytest.approx(1)


@pytest.mark.parametrize(("threshold", "length"), LENGTHS)
def test_clip_grad_norm_divides_by_the_norm_plus_1e_6(threshold: float, length: float) -> None:
    keras_norm, pytorch_norm = clipped_norms(threshold, length)
    assert keras_norm == pytest.approx(min(threshold, length), rel=1e-6)
    assert pytorch_norm == pytest.approx(length * min(1, threshold / (length + 1e-6)), rel=1e-6)


def test_negative_max_norm_turns_the_gradient_round() -> None:
    kernel, bias = by_pytorch("global_clipnorm", [KERNEL, BIAS], -1.0)
    factor = -1 / norm(KERNEL, BIAS)
    np.testing.assert_allclose(kernel, factor * KERNEL, rtol=1e-5)
    np.testing.assert_allclose(bias, factor * BIAS, rtol=1e-5)


@pytest.mark.parametrize(("name", "changes"), SETTINGS_APART)
def test_what_maps_to_the_same_optimizer(name: str, changes: dict[str, Any]) -> None:
    """All but RMSprop take Keras's step."""
    assert (apart(section_of(name, **changes), LARGE).difference < ENOUGH) != (name == "rmsprop")


@pytest.mark.parametrize("name", ["rmsprop", "adagrad", "adamax", "adam", "adamw"])
def test_step_is_the_same_where_epsilon_does_not_count(name: str) -> None:
    """So it is epsilon alone that keeps them apart."""
    start = {"initial_accumulator_value": 0.0} if name == "adagrad" else {}
    assert apart(section_of(name, epsilon=1e-30, **start), LARGE).difference < ENOUGH


def test_without_its_epsilon_moved_adam_differs() -> None:
    assert apart(section_of("adam"), LARGE, epsilon_placed=False).difference > 0.01


def test_defaults_of_configs_are_those_of_keras() -> None:
    for name in pytorch_words.OPTIMIZERS:
        for parameter, value in optimizers.OPTIMIZERS[name].items():
            assert default(keras_class(name), parameter) == value, (name, parameter)


@pytest.mark.parametrize(("cell", "order"), [("lstm", (0, 1, 2, 3)), ("gru", (1, 0, 2)), ("simple_rnn", (0,))])
def test_order_of_gates(cell: str, order: tuple[int, ...]) -> None:
    assert gate_order(cell) == order


@pytest.mark.parametrize("cell", sorted(PYTORCH_LAYERS))
def test_second_bias_has_a_gradient_of_its_own_only_in_a_gru(cell: str) -> None:
    layer = pytorch_layer(cell, keras_layer(cell).get_weights(), gate_order(cell))
    outputs, _ = layer(torch.ones(2, TIME_STEPS, FEATURES))
    outputs.sum().backward()
    twins = torch.allclose(layer.bias_ih_l0.grad, layer.bias_hh_l0.grad)
    assert twins == (cell != "gru")


def test_forget_bias_of_one_is_keras_and_gradclip_but_not_pytorch() -> None:
    layer = RECURRENT_LAYERS["lstm"](UNITS)
    layer.build((None, TIME_STEPS, FEATURES))
    ours = initial_weights(article.Model(units=UNITS), features=FEATURES, classes=10, seed=0)["lstm/bias"]
    np.testing.assert_array_equal(layer.get_weights()[-1], ours)
    assert ours.tolist() == [0] * UNITS + [1] * UNITS + [0] * (2 * UNITS)
    assert torch.nn.LSTM(FEATURES, UNITS).bias_ih_l0.abs().max() < UNITS**-0.5


def decayed_apart(name: str, switch: Mapping[str, bool] = {}, **arguments: Any) -> bool:
    """Whether torch.optim's weight_decay does what Keras's does."""
    ours = keras_updates(section_of(name, weight_decay=0.1, **arguments))
    pytorch_class = getattr(torch.optim, pytorch_words.OPTIMIZERS[name].name)
    _, mapped = pytorch_words.pytorch_optimizer(section_of(name, **arguments))
    parameter = torch.nn.Parameter(torch.tensor(START))
    optimizer = pytorch_class([parameter], **{**mapped, **switch, "weight_decay": 0.1})
    for gradient in GRADIENTS:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    return bool(np.allclose(START + ours.sum(0), parameter.detach().numpy(), rtol=0, atol=1e-5))


def test_weight_decay_is_apart_from_the_gradient_in_keras_and_in_adamw() -> None:
    """NAdam has a switch for it, which we set. Plain SGD keeps nothing of earlier gradients: there the two are one."""
    assert decayed_apart("adamw", epsilon=1e-30)
    assert decayed_apart("sgd")
    assert decayed_apart("nadam")
    assert not decayed_apart("nadam", {"decoupled_weight_decay": False})
    assert not decayed_apart("sgd", momentum=0.9)
    assert not decayed_apart("adam", epsilon=1e-30)


def test_a_stale_page_is_told_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One table stands for all: the others cost seconds, and each has its own test."""
    page, tables = tmp_path / "frameworks.md", {"lacking": lacking_table}
    page.write_text("before\n<!-- lacking -->\n\nstale\n\n<!-- end -->\nafter\n")
    assert write_or_check(["--check"], page, tables) == 1
    assert "stale: make docs" in capsys.readouterr().err
    assert write_or_check([], page, tables) == 0
    assert write_or_check(["--check"], page, tables) == 0
    assert page.read_text() == f"before\n{marked('lacking', lacking_table())}\nafter\n"


def test_a_page_without_a_place_for_a_table_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "frameworks.md"
    page.write_text("nothing\n")
    with pytest.raises(ValueError, match="0 places for the table lacking"):
        write_or_check([], page, {"lacking": lacking_table})
