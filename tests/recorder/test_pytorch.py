"""Any PyTorch loop as it is recorded: not a bit of it changes, and what is told is what an independent look finds."""

from __future__ import annotations

import copy
import io
import math
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn.utils import clip_grad_norm_, clip_grad_value_  # noqa: E402

from gradclip_cli import record  # noqa: E402
from gradclip_cli.recorder.pytorch import PyTorchRecorder  # noqa: E402
from gradclip_cli.recorder.pytorch_calls import inner  # noqa: E402
from gradclip_cli.recorder.pytorch_measures import ROW, SHORT, measured  # noqa: E402
from gradclip_cli.runs.metadata import Status  # noqa: E402
from gradclip_cli.runs.store import RunDirectory  # noqa: E402

Parameters = list[Tensor]


class Network(nn.Module):
    """Tokens to two classes: a sparse or dense table, a trained layer, one without a gradient and one that is frozen."""

    def __init__(self, sparse: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(20, 3, sparse=sparse)
        self.out = nn.Linear(3, 2)
        self.unused = nn.Linear(2, 2)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.frozen(self.table(tokens)).tanh().mean(1))


VARIABLES = ["table/weight", "out/weight", "out/bias", "unused/weight", "unused/bias", "frozen/weight", "frozen/bias"]


class Look:
    """An independent look: gradients and weights copied out as float64, and the norms of all together."""

    def __init__(self) -> None:
        self.before: list[float] = []
        self.after: list[float] = []
        self.update: list[float] = []

    def sees(self, told: list[float], arrays: Iterable[np.ndarray]) -> None:
        told.append(math.sqrt(sum(float((array**2).sum()) for array in arrays)))

    def gradients(self, told: list[float], parameters: Parameters) -> None:
        self.sees(told, [each.grad.to_dense().double().numpy() for each in parameters if each.grad is not None])


def arrays(parameters: Parameters) -> list[np.ndarray]:
    return [each.detach().double().numpy().copy() for each in parameters]


def batch(number: int) -> tuple[Tensor, Tensor]:
    drawn = np.random.default_rng(number)
    return torch.from_numpy(drawn.integers(20, size=(4, 5))), torch.from_numpy(drawn.integers(2, size=4))


def by_hand(parameters: Parameters) -> None:
    for each in parameters:
        if each.grad is not None:
            each.grad.data.clamp_(-0.02, 0.02)  # which no version of the gradient tells


def by_hand_in_new_tensors(parameters: Parameters) -> None:
    for each in parameters:
        if each.grad is not None:
            each.grad = each.grad * 0.5


CLIPS: dict[str, tuple[Callable[[Parameters], Any], dict[str, Any]]] = {
    "none": (lambda parameters: None, {"mode": "none"}),
    "norm": (lambda parameters: clip_grad_norm_(parameters, 0.1), {"mode": "global_clipnorm", "threshold": 0.1}),
    "loops": (lambda ps: clip_grad_norm_(ps, 0.1, foreach=False), {"mode": "global_clipnorm", "threshold": 0.1}),
    "generator": (
        lambda parameters: torch.nn.utils.clip_grad_norm_(iter_of(parameters), max_norm=0.1),
        {"mode": "global_clipnorm", "threshold": 0.1},
    ),
    "value": (lambda parameters: clip_grad_value_(parameters, 0.02), {"mode": "clipvalue", "threshold": 0.02}),
    "each": (lambda ps: [clip_grad_norm_(each, 0.05) for each in ps], {"mode": "clipnorm", "threshold": 0.05}),
    "hand": (by_hand, {"mode": "unknown"}),
    "new tensors": (by_hand_in_new_tensors, {"mode": "unknown"}),
    "both": (lambda ps: (clip_grad_value_(ps, 0.02), clip_grad_norm_(ps, 0.1)), {"mode": "unknown"}),
    "another norm": (lambda ps: clip_grad_norm_(ps, 0.1, norm_type=1.0), {"mode": "unknown"}),
    "some": (lambda ps: clip_grad_norm_(ps[:2], 0.05), {"mode": "unknown"}),
    "measure": (lambda ps: clip_grad_norm_(ps, math.inf), {"mode": "none"}),
}


def iter_of(parameters: Parameters) -> Iterable[Tensor]:
    return (each for each in parameters)


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)


def groups(network: Network) -> torch.optim.Optimizer:
    rest = [each for name, each in network.named_parameters() if not name.startswith("table")]
    return torch.optim.AdamW([{"params": network.table.parameters(), "lr": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=0.01)


OPTIMIZERS: dict[str, Callable[[Network], torch.optim.Optimizer]] = {
    "loops": lambda network: torch.optim.Adam(network.parameters(), lr=0.05, foreach=False),
    "foreach": lambda network: torch.optim.Adam(network.parameters(), lr=0.05, foreach=True),
    "fused": lambda network: torch.optim.Adam(network.parameters(), lr=0.05, fused=True),
    "groups": groups,
    "sgd": sgd,
}


def trained(
    clip: Callable[[Parameters], Any] = CLIPS["norm"][0],
    optimizer_of: Callable[[Any], torch.optim.Optimizer] = sgd,
    *,
    folder: Path | None = None,
    network: Network | None = None,
    steps: int = 8,
    accumulate: int = 1,
    **options: Any,
) -> tuple[bytes, Look]:
    """A loop of some steps, recorded if there is a folder: the weights that it leaves, and what a look at each step finds."""
    network = network or Network()
    optimizer, look = optimizer_of(network), Look()
    parameters = list(network.parameters())
    recorder = record(optimizer, folder, model=network, **options) if folder else None
    for step in range(steps):
        optimizer.zero_grad()
        for part in range(accumulate):
            tokens, targets = batch(step * accumulate + part)
            loss = nn.functional.cross_entropy(network(tokens), targets)
            (loss / accumulate).backward()
            if recorder:
                recorder.loss(loss)
        look.gradients(look.before, parameters)
        clip(parameters)
        look.gradients(look.after, parameters)
        old = arrays(parameters)
        optimizer.step()
        look.sees(look.update, [new - was for new, was in zip(arrays(parameters), old, strict=True)])
        if recorder and step == steps - 1:
            recorder.epoch(val_accuracy=0.5)
    if recorder:
        recorder.finish()
    return b"".join(each.tobytes() for each in arrays(parameters)), look


def agree(run: RunDirectory, look: Look) -> pd.DataFrame:
    """The steps of a run, which tell what the look found: files have six digits."""
    columns = {"grad_norm": look.before, "applied_norm": look.after, "update_norm": look.update}
    steps = run.steps(["loss", "clipped", *columns])
    for column, told in columns.items():
        np.testing.assert_allclose(steps[column], told, rtol=6e-6)
    return steps


@pytest.mark.parametrize("name", CLIPS)
def test_however_it_clips(name: str, tmp_path: Path) -> None:
    clip, known = CLIPS[name]
    folder = tmp_path / "mine" / "seed-3"
    weights, _ = trained(clip)
    recorded, look = trained(clip, folder=folder)
    assert recorded == weights
    run = RunDirectory.at(folder)
    steps = agree(run, look)
    metadata, config = run.stored()
    assert config.clipping.model_dump(exclude_defaults=False).items() >= known.items()
    assert metadata["status"] == "complete"
    changed = ~np.isclose(look.before, look.after, rtol=2e-6)
    assert steps["clipped"].tolist() == changed.astype(int).tolist()
    assert run.metrics()["clipped_fraction"].tolist() == [changed.mean()]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_whatever_the_optimizer(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    weights, _ = trained(optimizer_of=OPTIMIZERS[name])
    recorded, look = trained(optimizer_of=OPTIMIZERS[name], folder=folder)
    assert recorded == weights
    agree(RunDirectory.at(folder), look)


@pytest.mark.parametrize("name", ["none", "norm", "hand"])
def test_what_is_too_large_to_be_copied_is_measured_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradclip_cli.recorder.pytorch_measures.FEW", 0)
    clip, known = CLIPS[name]
    weights, _ = trained(clip)
    recorded, look = trained(clip, folder=tmp_path / "mine" / "seed-0")
    assert recorded == weights
    run = RunDirectory.at(tmp_path / "mine" / "seed-0")
    agree(run, look)
    assert run.config().clipping.mode == known["mode"]


def test_sparse_gradients(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    plain = lambda network: torch.optim.SGD(network.parameters(), lr=0.5)  # noqa: E731
    weights, _ = trained(CLIPS["none"][0], plain, network=Network(sparse=True))
    recorded, look = trained(CLIPS["none"][0], plain, network=Network(sparse=True), folder=folder)
    assert recorded == weights
    agree(RunDirectory.at(folder), look)


def test_each_variable_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    trained(folder=folder)
    run = RunDirectory.at(folder)
    assert run.metadata()["variables"] == VARIABLES
    assert run.config().model.label == "Network of 74 parameters"
    assert run.config().optimizer.label == "SGD 0.5"
    steps = next(iter(run.steps_in_pieces(100)))
    joint = np.sqrt(sum(steps[f"norm/{name}"] ** 2 for name in VARIABLES))
    np.testing.assert_allclose(joint, steps["grad_norm"], rtol=1e-5)
    assert not steps["norm/unused/weight"].any()
    assert not steps["norm/frozen/weight"].any()
    assert (steps["max_abs/out/bias"] <= steps["norm/out/bias"]).all()


def test_without_a_model_variables_are_called_by_their_place(tmp_path: Path) -> None:
    network = Network()
    recorder = record(groups(network), tmp_path / "mine" / "seed-0")
    recorder.finish()
    variables = RunDirectory.at(tmp_path / "mine" / "seed-0").metadata()["variables"]
    assert variables[:3] == ["group0/param0", "group1/param0", "group1/param1"]


def test_a_row_is_a_step_however_many_batches_it_takes(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    weights, _ = trained(accumulate=3)
    recorded, look = trained(accumulate=3, folder=folder)
    assert recorded == weights
    steps = agree(RunDirectory.at(folder), look)
    assert len(steps) == 8
    assert math.isclose(steps["loss"].mean(), RunDirectory.at(folder).metrics()["loss"][0], rel_tol=1e-5)


def test_one_step_in_several(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    weights, _ = trained(steps=9)
    recorded, look = trained(steps=9, folder=folder, every=4)
    assert recorded == weights
    steps = RunDirectory.at(folder).steps()
    assert steps["step"].tolist() == [4, 8]
    np.testing.assert_allclose(steps["grad_norm"], [look.before[3], look.before[7]], rtol=6e-6)
    assert RunDirectory.at(folder).metadata()["steps"] == 9


def test_a_loss_told_after_the_step_is_that_step_s(tmp_path: Path) -> None:
    network = Network()
    optimizer = sgd(network)
    told = []
    with record(optimizer, tmp_path / "mine" / "seed-0", model=network) as recorder:
        for step in range(4):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(batch(step)[0]), batch(step)[1])
            loss.backward()
            optimizer.step()
            recorder.loss(loss)
            told.append(loss.item())
    np.testing.assert_allclose(RunDirectory.at(tmp_path / "mine" / "seed-0").steps()["loss"], told, rtol=1e-5)


# Closures.


def with_closures(optimizer_of: Callable[[nn.Module], torch.optim.Optimizer], folder: Path | None) -> tuple[bytes, Look]:
    """A loop whose backward passes run within the step, and the norms of the first gradient of each step."""
    network = Network()
    network.unused.requires_grad_(False)
    trainable = [each for each in network.parameters() if each.requires_grad]
    optimizer = optimizer_of(trainable)  # type: ignore[arg-type]
    recorder = record(optimizer, folder, model=network) if folder else None
    first = Look()
    for step in range(4):
        look, old = Look(), arrays(trainable)

        def closure(number: int = step, look: Look = look) -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(batch(number)[0]), batch(number)[1])
            loss.backward()
            look.gradients(look.before, trainable)
            clip_grad_norm_(trainable, 0.1)
            return loss

        optimizer.step(closure)
        first.before.append(look.before[0])
        first.sees(first.update, [new - was for new, was in zip(arrays(trainable), old, strict=True)])
    if recorder:
        recorder.finish()
    return b"".join(each.tobytes() for each in arrays(trainable)), first


@pytest.mark.parametrize(
    "optimizer_of",
    [lambda given: torch.optim.LBFGS(given, lr=0.5, max_iter=3), lambda given: torch.optim.SGD(given, lr=0.5)],
    ids=["lbfgs", "sgd"],
)
def test_backward_within_the_step(optimizer_of: Callable[[Any], torch.optim.Optimizer], tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    weights, _ = with_closures(optimizer_of, None)
    recorded, first = with_closures(optimizer_of, folder)
    assert recorded == weights
    run = RunDirectory.at(folder)
    steps = run.steps(["loss", "grad_norm", "applied_norm", "update_norm"])
    np.testing.assert_allclose(steps["grad_norm"], first.before, rtol=6e-6)
    np.testing.assert_allclose(steps["applied_norm"], np.minimum(first.before, 0.1), rtol=2e-5)
    np.testing.assert_allclose(steps["update_norm"], first.update, rtol=6e-6)
    assert steps["loss"].notna().all()
    assert run.config().clipping.label == "global_clipnorm 0.1"


# Loss scaling.


def scaled(fused: bool, unscale: bool, folder: Path | None, every: int = 1) -> tuple[bytes, list[float]]:
    """A loop with a loss scaler, whose third step overflows: the weights that it leaves, and the norms of true gradients."""
    network = Network()
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, lr=0.05, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10 + 2)
    recorder = record(optimizer, folder, model=network, every=every) if folder else None
    norms: list[float] = []
    for step in range(6):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(batch(step)[0]), batch(step)[1])
        scale = scaler.get_scale()
        scaler.scale(loss).backward()
        look = Look()
        look.gradients(look.before, parameters)
        if step == 2:
            network.out.bias.grad[0] = math.inf
        else:
            norms.append(look.before[0] / scale)
        if unscale:
            scaler.unscale_(optimizer)
            clip_grad_norm_(parameters, 0.1)
        scaler.step(optimizer)
        scaler.update()
    if recorder:
        recorder.finish()
    return b"".join(each.tobytes() for each in arrays(parameters)), norms


@pytest.mark.parametrize("unscale", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_loss_scaling(fused: bool, unscale: bool, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    weights, _ = scaled(fused, unscale, None)
    recorded, norms = scaled(fused, unscale, folder)
    assert recorded == weights
    run = RunDirectory.at(folder)
    steps = run.steps()
    np.testing.assert_allclose(steps["grad_norm"], norms, rtol=6e-6)
    np.testing.assert_allclose(steps["applied_norm"], np.minimum(norms, 0.1) if unscale else norms, rtol=2e-5)
    assert (run.metadata()["skipped_steps"], run.metadata()["steps"]) == (1, 5)
    assert run.config().clipping.mode == ("global_clipnorm" if unscale else "none")


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_that_is_left_out_is_none_of_several(fused: bool, tmp_path: Path) -> None:
    _, norms = scaled(fused, True, tmp_path / "mine" / "seed-0", every=3)
    run = RunDirectory.at(tmp_path / "mine" / "seed-0")
    assert (run.metadata()["skipped_steps"], run.metadata()["steps"]) == (1, 5)
    np.testing.assert_allclose(run.steps()["grad_norm"], [norms[2]], rtol=6e-6)


def test_parameters_that_come_later(tmp_path: Path) -> None:
    network = Network()
    optimizer = sgd(network)
    with record(optimizer, tmp_path / "mine" / "seed-0", model=network):
        network.frozen.requires_grad_(True)
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
        with pytest.warns(RuntimeWarning, match="nothing of 1 parameters"):
            optimizer.step()
        network(batch(0)[0]).square().sum().backward()
        by_hand(list(network.parameters()))
        optimizer.step()
    run = RunDirectory.at(tmp_path / "mine" / "seed-0")
    rows = next(iter(run.steps_in_pieces(100)))
    assert rows["norm/frozen/weight"][1] > rows["applied_norm/frozen/weight"][1] > 0
    assert run.metadata()["unrecorded_parameters"] == 1


def test_a_closure_that_raises_costs_no_step(tmp_path: Path) -> None:
    network = Network()
    optimizer = sgd(network)

    def closure() -> Tensor:
        loss = network(batch(0)[0]).square().sum()
        loss.backward()
        raised.append(loss)
        return raised[3] if len(raised) == 3 else loss

    raised: list[Tensor] = []
    with record(optimizer, tmp_path / "mine" / "seed-0", model=network):
        optimizer.step(closure)
        optimizer.step(closure)
        with pytest.raises(IndexError):
            optimizer.step(closure)
        optimizer.step(closure)
    assert len(RunDirectory.at(tmp_path / "mine" / "seed-0").steps()) == 3


# How it ends.


def test_gradients_that_are_not_finite_stay_as_they_are(tmp_path: Path) -> None:
    def infinite(parameters: Parameters) -> None:
        parameters[1].grad[0, 0] = math.inf  # type: ignore[index]
        clip_grad_value_(parameters, 0.02)

    folder = tmp_path / "mine" / "seed-0"
    weights, _ = trained(infinite)
    assert trained(infinite, folder=folder)[0] == weights
    assert RunDirectory.at(folder).metadata()["status"] == "complete"


def test_weights_that_are_not_finite_end_it_diverged(tmp_path: Path) -> None:
    def broken(parameters: Parameters) -> None:
        if len(seen) == 2:
            parameters[1].grad[0, 0] = math.nan  # type: ignore[index]
        seen.append(1)

    seen: list[int] = []
    trained(broken, folder=tmp_path / "mine" / "seed-0")
    metadata = RunDirectory.at(tmp_path / "mine" / "seed-0").metadata()
    assert metadata["status"] == "diverged"
    assert (metadata["diverged"]["step"], metadata["diverged"]["variables"]) == (3, ["out/weight"])


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (KeyboardInterrupt(), Status.INTERRUPTED, "KeyboardInterrupt: "),
        (ValueError("mine"), Status.FAILED, "ValueError: mine"),
    ],
)
def test_an_exception_is_told_and_goes_on_untouched(error: BaseException, status: Status, reason: str, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, record(sgd(Network()), tmp_path / "mine" / "seed-0"):
        raise error
    assert caught.value is error
    metadata = RunDirectory.at(tmp_path / "mine" / "seed-0").metadata()
    assert (metadata["status"], metadata["reason"]) == (status, reason)


def test_afterwards_all_is_as_pytorch_made_it(tmp_path: Path) -> None:
    network = Network()
    optimizer = sgd(network)
    before = [inner(clip_grad_norm_).cell_contents, torch.amp.GradScaler.step]  # type: ignore[union-attr]
    one, other = (record(optimizer, tmp_path / name / "seed-0") for name in "ab")
    assert inner(clip_grad_norm_).cell_contents is not before[0]  # type: ignore[union-attr]
    one.finish()
    other.finish()
    assert [inner(clip_grad_norm_).cell_contents, torch.amp.GradScaler.step] == before  # type: ignore[union-attr]
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not network.out.weight._post_accumulate_grad_hooks


def test_a_recorder_that_breaks_leaves_the_loop_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no more room")

    weights, _ = trained()
    monkeypatch.setattr("gradclip_cli.recorder.pytorch_measures.Watched.take", broken)
    with pytest.warns(RuntimeWarning, match="no more room"):
        recorded, _ = trained(folder=tmp_path / "mine" / "seed-0")
    assert recorded == weights
    assert RunDirectory.at(tmp_path / "mine" / "seed-0").metadata()["status"] == "failed"


def test_models_are_copied_and_saved_as_ever(tmp_path: Path) -> None:
    network = Network()
    optimizer = sgd(network)
    with record(optimizer, tmp_path / "mine" / "seed-0", model=network):
        network(batch(0)[0]).sum().backward()
        optimizer.step()
        copied = copy.deepcopy(network)
        torch.save(network, io.BytesIO())
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        network(batch(1)[0]).sum().backward()
        optimizer.step()
        copied(batch(0)[0]).sum().backward()
    assert len(RunDirectory.at(tmp_path / "mine" / "seed-0").steps()) == 2


def test_what_can_t_be_meant_is_a_mistake() -> None:
    with pytest.raises(TypeError, match=r"takes an optimizer of torch\.optim, not Network"):
        record(Network(), "mine/seed-0")
    with pytest.raises(ValueError, match="at least 1"):
        record(sgd(Network()), "mine/seed-0", every=0)


def test_the_same_start_has_the_same_hash(tmp_path: Path) -> None:
    hashes = []
    for arm, shift in {"a": 0.0, "b": 0.0, "c": 1e-6}.items():
        network = Network()
        network.out.bias.data += shift
        record(sgd(network), tmp_path / arm / "seed-0", model=network).finish()
        hashes.append(RunDirectory.at(tmp_path / arm / "seed-0").metadata()["initial_weights_sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.slow
def test_steps_that_wait_are_written_when_the_process_ends(tmp_path: Path) -> None:
    script = f"""
        import torch
        from gradclip_cli import record
        network = torch.nn.Linear(3, 2)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
        recorder = record(optimizer, {str(tmp_path / "mine" / "seed-0")!r}, model=network)
        network(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        raise ValueError("mine")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, stderr=subprocess.DEVNULL)
    run = RunDirectory.at(tmp_path / "mine" / "seed-0")
    assert (run.metadata()["status"], run.metadata()["reason"]) == ("failed", "ValueError: mine")
    assert len(run.steps()) == 1


def test_memory_stays_as_it_is(tmp_path: Path) -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=1e-6)
    with record(optimizer, tmp_path / "mine" / "seed-0") as recorder:
        for _ in range(1000):
            parameter.square().sum().backward()
            recorder.loss(1.0)
            optimizer.step()
            optimizer.zero_grad()
        assert isinstance(recorder, PyTorchRecorder)
        assert len(recorder._rows._rows) <= 256
    assert len(RunDirectory.at(tmp_path / "mine" / "seed-0").steps()) == 1000


# Measures.


@pytest.mark.parametrize("size", [1, 7, SHORT, SHORT + 1, 20 * ROW, 20 * ROW + 3])
@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-30])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_norms_neither_overflow_nor_vanish(size: int, scale: float, kind: torch.dtype) -> None:
    values = (torch.from_numpy(np.random.default_rng(0).normal(size=size)) * scale).to(kind)
    exact = values.double().numpy()
    told = measured([None, values, values[:0]]).numpy()
    np.testing.assert_allclose(told[0], [0, np.linalg.norm(exact / scale) * scale, 0], rtol=5e-7)
    np.testing.assert_array_equal(told[1], [0, np.abs(exact).max(), 0])


@pytest.mark.parametrize("size", [3, SHORT + 5])
@pytest.mark.parametrize("element", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_told(size: int, element: float) -> None:
    values = torch.ones(size)
    values[1] = element
    told = measured([values]).numpy()[:, 0]
    assert np.array_equal(told, [abs(element)] * 2, equal_nan=True)


def test_importing_the_package_imports_no_framework() -> None:
    code = "import sys, gradclip_cli; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'recrod'"):
        __import__("gradclip_cli").recrod  # noqa: B018


def test_where_warnings_are_errors_nothing_is_raised(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a file")
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorded, _ = trained(folder=tmp_path / "mine" / "seed-0")
    assert recorded == trained()[0]
    assert time.perf_counter() - started < 30


def test_parameters_that_are_spread_over_processes_are_refused(tmp_path: Path) -> None:
    """To look at one would wait for processes that don't look."""
    from torch import distributed
    from torch.distributed.tensor import distribute_module, init_device_mesh

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = distribute_module(torch.nn.Linear(2, 1), init_device_mesh("cpu", (1,)))
        with pytest.warns(RuntimeWarning, match="spread over processes .*, which can't be watched"):
            record(torch.optim.SGD(model.parameters(), 0.1), tmp_path / "mine" / "seed-0", model=model)
    finally:
        distributed.destroy_process_group()
    assert not (tmp_path / "mine").exists()
