"""The user's own data become arrays that can be trained on, or a message that says what to do; no framework is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from conftest import needs_pytorch

from gradclip_cli.errors import DatasetError
from gradclip_cli.problems.own_arrays import array_likes, read_once, splits
from gradclip_cli.problems.own_arrays.splits import OwnArrays, label_range

X = np.arange(40, dtype=np.float32).reshape(10, 4)
Y = np.arange(10, dtype=np.int32) % 2
TEST = (X[:3] + 1, Y[:3])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCLIP_CACHE", str(tmp_path / "cache"))


Npz = Callable[..., OwnArrays]


@pytest.fixture
def npz(tmp_path: Path) -> Npz:
    """Saves arrays and loads them as the user's data."""

    def load(holdout: int = 0, **arrays: Any) -> OwnArrays:
        np.savez(tmp_path / "data.npz", **arrays)
        return splits.load_npz(tmp_path / "data.npz", holdout=holdout, tell=lambda said: None)

    return load


def made(value: object, holdout: int = 0) -> OwnArrays:
    return splits.from_factory(value, holdout=holdout, what="data.py:load")


def refusal(value: object, holdout: int = 0) -> str:
    with pytest.raises(DatasetError) as raised:
        made(value, holdout)
    assert str(raised.value).startswith("data.py:load: ")
    return str(raised.value).removeprefix("data.py:load: ")


def same(one: Any, other: Any) -> None:
    np.testing.assert_array_equal(one, other, strict=True)


# npz files.


def test_the_four_arrays_are_the_two_splits(npz: Npz) -> None:
    found = npz(x_train=X, y_train=Y, x_test=TEST[0], y_test=TEST[1])
    assert (found.evaluation_split, found.remarks) == ("test", ())
    for array, expected in (
        (found.train.inputs, X),
        (found.train.targets, Y),
        (found.evaluation.inputs, TEST[0]),
        (found.evaluation.targets, TEST[1]),
    ):
        assert isinstance(array, np.memmap)
        same(array, expected)


def test_held_out_samples_are_the_last_and_still_mapped(npz: Npz) -> None:
    found = npz(x_train=X, y_train=Y)
    same(found.train.inputs, X[:8])
    same(found.evaluation.targets, Y[8:])
    assert found.evaluation_split == "holdout"
    assert found.remarks == ("there is no test split: the last 2 of 10 training samples are held out and evaluated on",)
    assert isinstance(found.evaluation.inputs, np.memmap)
    assert found.evaluation.inputs.ctypes.data == found.train.inputs.ctypes.data + X[:8].nbytes  # type: ignore[union-attr]


def test_a_holdout_that_is_asked_for_leaves_the_test_split_alone(npz: Npz) -> None:
    found = npz(holdout=3, x_train=X, y_train=Y, x_test=TEST[0], y_test=TEST[1])
    same(found.evaluation.inputs, X[7:])
    same(found.train.targets, Y[:7])
    assert (found.evaluation_split, found.remarks) == ("holdout", ())


def test_named_inputs_are_a_mapping(npz: Npz) -> None:
    found = npz(**{"x_train/a": X, "x_train/b": X[:, 0], "y_train": Y})
    assert isinstance(found.train.inputs, Mapping)
    assert list(found.train.inputs) == ["a", "b"]
    same(found.evaluation.inputs["b"], X[8:, 0])  # type: ignore[index]


def test_what_is_not_used_is_said(npz: Npz) -> None:
    assert npz(x_train=X, y_train=Y, x_val=X, x_test=X, y_test=Y).remarks == ("not used of data.npz: x_val",)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": X, "x_train/a": X, "y_train": Y}, "has x_train and x_train/a; name all of them"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "has x_test without y_test; save both, or neither"),
        ({"x_train": X, "y_train": Y, "y_test/a": Y}, "has y_test without x_test"),
        ({"x_train": X, "y_train": Y[:9]}, "x_train has 10 samples but y_train 9; samples go along the first axis"),
        ({"x_train/a": X, "x_train/b": X[:1], "y_train": Y}, "x_train/a has 10 samples but x_train/b 1"),
        ({"x_train": X, "y_train": np.where(Y, np.nan, 1)}, "y_train holds 5 values that are NaN or infinite, the first at [1]"),
    ],
)
def test_what_does_not_go_together_in_a_file_is_told(npz: Npz, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError) as raised:
        npz(**arrays)
    assert message in str(raised.value)
    assert "data.npz: " in str(raised.value)


def test_inputs_that_are_not_finite_are_a_remark(npz: Npz) -> None:
    values = X.copy()
    values[2, 1] = np.inf
    expected = "x_train holds 1 value that is NaN or infinite, the first at [2, 1]; a sample with one makes the loss NaN"
    assert npz(x_train=values, y_train=Y, x_test=X, y_test=Y).remarks[0].startswith(expected)
    assert made(((values, Y), TEST)).remarks[0].startswith(expected)


# What a factory returned.


def test_two_pairs_are_training_and_test() -> None:
    found = made(((X, Y), TEST))
    assert (found.evaluation_split, found.remarks) == ("test", ())
    same(found.train.inputs, X)
    same(found.evaluation.targets, TEST[1])
    assert found.train.samples == 10


@pytest.mark.parametrize("value", [(X, Y), ((X, Y),), [(X, Y)]])
def test_one_pair_is_divided(value: object) -> None:
    found = made(value, holdout=4)
    same(found.train.inputs, X[:6])
    same(found.evaluation.targets, Y[6:])
    assert made(value).remarks[0].startswith("there is no test split: the last 2 of 10 training samples are held out")


def test_arrays_that_need_no_change_are_not_copied(tmp_path: Path) -> None:
    assert made(((X, Y), TEST)).train.inputs is X
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert made(((mapped, Y), TEST)).train.inputs is mapped


@pytest.mark.parametrize(
    "inputs",
    [
        X.tolist(),
        pd.DataFrame(X),
        pd.DataFrame({"a": X[:, 0].astype(int), "b": X[:, 1], "c": X[:, 2].astype("float64"), "d": X[:, 3].astype("uint8")}),
        np.asfortranarray(X),
        X.astype(">f8"),
        np.lib.stride_tricks.as_strided(X, writeable=False),
        [tuple(row) for row in X],
    ],
)
def test_array_likes_become_arrays_that_a_framework_takes(inputs: object) -> None:
    found = made(((inputs, pd.Series(Y)), TEST)).train
    same(found.inputs, X)
    same(found.targets, Y)
    assert found.inputs.flags.c_contiguous  # type: ignore[union-attr]
    assert found.inputs.flags.writeable  # type: ignore[union-attr]
    assert found.targets.flags.writeable  # type: ignore[union-attr]


def test_several_inputs_are_a_dict_or_a_tuple() -> None:
    named = made(({"a": X.tolist(), "b": Y}, Y), holdout=2)
    same(named.train.inputs["a"], X[:8])  # type: ignore[index]
    ordered = made(((X, Y, X), Y), holdout=2)
    assert isinstance(ordered.evaluation.inputs, tuple)
    same(ordered.evaluation.inputs[1], Y[8:])
    both = made((((X, Y), (Y, X)), ((X, Y), (Y, X))))
    assert isinstance(both.train.targets, tuple)
    same(both.train.targets[1], X)


def test_the_hash_is_of_names_types_shapes_and_bytes() -> None:
    values = [
        ((X, Y), TEST),
        ((X, Y), (X[:3], Y[:3])),
        ((X, 1 - Y), TEST),
        ((X.reshape(10, 2, 2), Y), (TEST[0].reshape(3, 2, 2), TEST[1])),
        ((X.view(np.int32), Y), (TEST[0].view(np.int32), TEST[1])),
        (({"a": X}, Y), ({"a": TEST[0]}, TEST[1])),
        (({"b": X}, Y), ({"b": TEST[0]}, TEST[1])),
        (X, Y),
    ]
    hashes = [made(value).sha256 for value in values]
    assert len(set(hashes)) == len(values)
    assert made(((X.copy(), Y), TEST)).sha256 == hashes[0]
    one, other = (made((dict(pairs), Y)).sha256 for pairs in ([("a", X), ("b", Y)], [("b", Y), ("a", X)]))
    assert one == other


def test_hash_and_search_go_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = X.copy()
    values[3, 1] = values[9, 0] = np.nan
    whole = splits.hash_of({"x": values})
    monkeypatch.setattr(array_likes, "BLOCK", 48)
    assert [start for start, _ in array_likes.blocks(values)] == [0, 3, 6, 9]
    assert splits.hash_of({"x": values}) == whole
    assert splits.find_not_finite(values) == splits.NotFinite(2, (3, 1))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "returned an int; it must"),
        (None, "returned None; it must return ((x_train, y_train), (x_test, y_test)), or (x, y) alone"),
        (X, "returned an ndarray; it must"),
        ((X, Y, X, Y), "returned a tuple of 4 (ndarray, ndarray, ndarray, ndarray)"),
        (((X, Y), TEST, TEST), "returned a tuple of 3 (tuple of 2, tuple of 2, tuple of 2)"),
        ((), "returned a tuple of 0 ()"),
        (({}, Y), "x_train is an empty dict; it must hold at least one array"),
        (((), Y), "x_train is an empty tuple"),
        (([[1, 2], [3]], [0, 1]), "x_train can't be made an array"),
        ((["a", "b"], [0, 1]), "x_train holds texts; encode them as numbers"),
        ((pd.DataFrame({"a": [1, None], "b": ["x", "y"]}), [0, 1]), "x_train holds Python objects"),
        (({"a": X, "b": [1j] * 10}, Y), "x_train/b holds complex numbers"),
        ((scipy.sparse.csr_array(X), Y), "x_train is sparse; give its .toarray()"),
        ((np.ma.masked_less(X, 3), Y), "x_train has masked values; leave such samples out, or give its .filled(value)"),
        (
            ([X, X], Y),
            "x_train has 2 samples but y_train 10; samples go along the first axis of each (several inputs are a tuple",
        ),
        ((X, 3), "y_train is a single number; it must hold samples"),
        ((X[:0], Y[:0]), "x_train is empty (its shape is (0, 4))"),
        (((X, Y), (X[:0], Y[:0])), "x_test is empty (its shape is (0, 4))"),
        (((X, Y), (X[:, :3], Y)), "x_train has samples of the shape (4,) but x_test of (3,); make them alike"),
        (((X, Y), (X, Y[:, None])), "y_train has samples of the shape () but y_test of (1,)"),
        (((X, Y), (X.astype(np.uint8), Y)), "x_train holds float32 but x_test uint8; prepare both alike"),
        (
            (({"words": X}, Y), ({"word": X}, Y)),
            "the test split has x_test/word, the training split no such; did you mean 'x_test/words'",
        ),
        ((({"a": X, "b": X}, Y), ({"a": X}, Y)), "the training split has x_train/b, the test split no such"),
        ((({"a": X}, Y), (X, Y)), "the test split has x_test, the training split no such"),
        ((X, np.full(10, np.nan)), "y_train holds 10 values that are NaN or infinite, the first at [0]; leave such samples out"),
        (((X, Y), (X, np.full(10, np.inf))), "y_train holds int32"),
    ],
)
def test_what_cannot_be_trained_on_is_told(value: object, message: str) -> None:
    assert message in refusal(value)


@pytest.mark.parametrize(("samples", "holdout"), [(1, 0), (10, 10), (10, 11)])
def test_something_must_be_left_to_train_on(samples: int, holdout: int) -> None:
    assert f"{holdout or 1} of {samples} training sample" in refusal((X[:samples], Y[:samples]), holdout)


def test_classes_that_are_held_out_whole_are_told() -> None:
    told = "1 of the 1 classes held out of y_train are not trained on: are the samples sorted by class? Shuffle them first"
    assert told in made((X, np.repeat(np.arange(5), 2))).remarks
    assert len(made((X, np.tile(np.arange(5), 2))).remarks) == 1
    assert len(made((X, X)).remarks) == 1


def test_the_range_of_labels() -> None:
    assert label_range(np.array([[3, -1], [7, 2]])) == (-1, 7)
    assert label_range(X) is None


def test_nothing_of_a_framework_is_imported() -> None:
    code = (
        "import sys\nfrom gradclip_cli.problems.own_arrays import data_summary, splits\n"
        "found = splits.from_factory(([[1.0], [2.0]], [0, 1]), what='it')\n"
        "data_summary.describe(found)\n"
        "assert not {'tensorflow', 'keras', 'torch', 'pandas', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# TensorFlow's datasets and tensors.

tensorflow_only = pytest.mark.trains  # slow to import


@pytest.fixture(scope="module")
def tf() -> Any:
    return pytest.importorskip("tensorflow")


@tensorflow_only
@pytest.mark.parametrize(
    "make",
    [
        lambda dataset: dataset,
        lambda dataset: dataset.batch(4),
        lambda dataset: dataset.batch(4).prefetch(1),
        lambda dataset: dataset.filter(lambda *element: True),  # which leaves the cardinality unknown
        lambda dataset: dataset.repeat().take(10),
    ],
)
def test_a_tensorflow_dataset_is_read_batched_or_not(
    tf: Any, make: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_once, "READ_TOGETHER", 3)
    train, test = (make(tf.data.Dataset.from_tensor_slices(pair)) for pair in ((X, Y.astype(np.int64)), (X + 1, Y)))
    found = made((train, test))
    same(found.train.inputs, X)
    same(found.train.targets, Y)
    same(found.evaluation.inputs, X + 1)
    assert found.sha256 == made(((X, Y), (X + 1, Y))).sha256
    same(made(train, holdout=3).evaluation.inputs, X[7:])


@tensorflow_only
def test_a_tensorflow_dataset_may_have_several_inputs_and_come_from_a_generator(tf: Any) -> None:
    dataset = tf.data.Dataset.from_tensor_slices(({"a": X, "b": Y}, (Y, X))).batch(3)
    found = made((dataset, dataset)).train
    same(found.inputs["a"], X)  # type: ignore[index]
    assert isinstance(found.targets, tuple)
    same(found.targets[1], X)
    used_up = iter(zip(X, Y, strict=True))
    signature = (tf.TensorSpec((4,), tf.float32), tf.TensorSpec((), tf.int32))
    same(made(tf.data.Dataset.from_generator(lambda: used_up, output_signature=signature), holdout=2).evaluation.inputs, X[8:])


@tensorflow_only
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda dataset: dataset.repeat(), "its train dataset has no end; leave out .repeat(), or give it .take(n)"),
        (lambda dataset: dataset.filter(lambda *element: False), "its train dataset is empty"),
        (
            lambda dataset: dataset.shuffle(10),
            "its train dataset gives something else when it is read again; leave out its shuffling",
        ),
        (lambda dataset: dataset.batch(5, drop_remainder=True), "can't be told; give it .batch(64) where they are samples"),
        (
            lambda dataset: dataset.map(lambda x, y: x),
            "the elements of its train dataset are each a TensorSpec; they must be pairs (x, y)",
        ),
        (
            lambda dataset: dataset.map(lambda x, y: (x, y, y)),
            "are each a tuple of 3; they must be pairs (x, y), without weights",
        ),
        (lambda dataset: dataset.map(lambda x, y: (x, "a")), "y_train holds Python objects"),
        (lambda dataset: dataset.batch(3).ragged_batch(2), "x_train"),
        (lambda dataset: dataset.batch(4).ragged_batch(1), "batches of samples of the shape"),
    ],
)
def test_what_cannot_be_read_of_a_tensorflow_dataset_is_told(tf: Any, make: Callable[[Any], Any], message: str) -> None:
    assert message in refusal(make(tf.data.Dataset.from_tensor_slices((X, Y))))


@tensorflow_only
def test_a_tensorflow_dataset_that_does_not_know_its_end_is_read_up_to_a_bound(tf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_once, "MOST_BYTES", 100)
    endless = tf.data.Dataset.from_tensor_slices((X, Y)).repeat().filter(lambda *element: True)
    assert "which doesn't know its end; give it .take(n)" in refusal(endless)


@tensorflow_only
def test_what_the_users_function_raises_in_a_tensorflow_dataset_is_told(tf: Any) -> None:
    def fail(x: Any) -> Any:
        raise KeyError("my column")

    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).map(lambda x, y: (tf.numpy_function(fail, [x], tf.float32), y))
    told = refusal(dataset.map(lambda x, y: (tf.ensure_shape(x, (4,)), y)))
    assert "its train dataset failed while it was read: UnknownError" in told
    assert "my column" in told


@tensorflow_only
def test_tensors_of_tensorflow_are_arrays(tf: Any) -> None:
    found = made(((tf.constant(X), tf.Variable(Y)), TEST)).train
    same(found.inputs, X)
    same(found.targets, Y)
    assert "bfloat16; make it an array of float32" in refusal((tf.cast(X, tf.bfloat16), Y))
    assert "x_train " in refusal((tf.ragged.constant([[1], [1, 2]]), [0, 1]))


@tensorflow_only
@needs_pytorch
def test_mapped_arrays_are_shared_with_frameworks(tf: Any, npz: Npz) -> None:
    import torch

    array = npz(x_train=X, y_train=Y).train.inputs
    assert torch.from_numpy(array).data_ptr() == array.ctypes.data  # type: ignore[union-attr]
    tensor = tf.experimental.dlpack.from_dlpack(array.__dlpack__())  # type: ignore[union-attr]
    same(tensor.numpy(), X[:8])


# PyTorch's.


@pytest.fixture(scope="module")
def torch_data() -> Any:
    return pytest.importorskip("torch.utils.data")


@needs_pytorch
@pytest.mark.trains
def test_a_torch_dataset_is_read(torch_data: Any) -> None:
    import torch

    dataset = torch_data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y.astype(np.int64)))
    found = made((dataset, torch_data.Subset(dataset, range(3))))
    same(found.train.inputs, X)
    same(found.train.targets, Y)
    same(found.evaluation.inputs, X[:3])
    same(made((torch.from_numpy(X).requires_grad_(), torch.from_numpy(Y)), holdout=2).train.inputs, X[:8])


class Rows:
    """Samples one at a time, as a torch Dataset gives them."""

    def __init__(self, *rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Any:
        row = self.rows[place]
        return row() if callable(row) else row


def fail() -> None:
    raise KeyError("my column")


@needs_pytorch
@pytest.mark.trains
def test_a_torch_dataset_may_give_numbers_of_python(torch_data: Any) -> None:
    rows = type("Mine", (Rows, torch_data.Dataset), {})
    found = made(rows(({"a": [1, 2]}, 0), ({"a": [3, 4]}, 2**40), ({"a": [0.5, 6]}, 1)), holdout=1).train
    same(found.inputs["a"], np.array([[1, 2], [3, 4]], np.float64).astype(found.inputs["a"].dtype))  # type: ignore[index]
    assert found.inputs["a"].dtype.kind == "f"  # type: ignore[index]
    same(found.targets, np.array([0, 2**40]))


@needs_pytorch
@pytest.mark.trains
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "its train dataset is empty"),
        ([(1, 2, 3)], "the elements of its train dataset are each a tuple of 3; they must be pairs"),
        ([{"x": 1, "y": 2}], "are each a dict of 2"),
        ([([1, 2], 0), ([1], 1)], "x_train: sample 1 has the shape (1,), sample 0 (2,); pad or resize them to one"),
        ([({"a": 1}, 0), ({"b": 1}, 1)], "sample 1 of its train dataset has other names than sample 0"),
        ([(1, 0), fail], "its train dataset failed while it was read: KeyError: 'my column'"),
        ([lambda: (np.random.default_rng().normal(), 0), (1.0, 1)], "gives something else when it is read again"),
        ([("a", 0)], "x_train holds texts"),
    ],
)
def test_what_cannot_be_read_of_a_torch_dataset_is_told(torch_data: Any, rows: list[Any], message: str) -> None:
    assert message in refusal(type("Mine", (Rows, torch_data.Dataset), {})(*rows))


@needs_pytorch
@pytest.mark.trains
def test_what_can_only_be_iterated_is_told(torch_data: Any) -> None:
    streamed = type("Streamed", (torch_data.IterableDataset,), {"__iter__": lambda self: iter(())})()
    assert "a Streamed, can only be iterated; give one that has a length and gives dataset[i]" in refusal(streamed)
    loader = torch_data.DataLoader(type("Mine", (Rows, torch_data.Dataset), {})((1, 2)))
    assert "returned a DataLoader; it must return" in refusal(loader)
    assert "(of a DataLoader, its .dataset)" in refusal(loader)
