"""An npz file is unpacked once, whole or not at all, into what can be mapped; what can't be trained on is told why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradclip_cli.errors import DatasetError
from gradclip_cli.problems.own_arrays import array_files, npz_entries
from gradclip_cli.problems.own_arrays.array_files import NotFinite, Unpacked

LABELS = np.array([0, 1, 2])
INPUTS = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADCLIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "arrays"


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def to_npz(name: str = "data.npz", how: Callable[..., None] = np.savez, **arrays: Any) -> Path:
        how(tmp_path / name, **({"x_train": INPUTS, "y_train": LABELS} | arrays))
        return tmp_path / name

    return to_npz


def unpacked(path: Path) -> Unpacked:
    return array_files.unpacked(path, lambda said: None)


def said_of(path: Path) -> list[str]:
    told: list[str] = []
    array_files.unpacked(path, told.append)
    return told


def failure(path: Path) -> str:
    with pytest.raises(DatasetError) as raised:
        unpacked(path)
    return str(raised.value)


def older(path: Path) -> Path:
    """As if it had been written a minute ago: only then is its hash remembered."""
    os.utime(path, (time.time() - 60, time.time() - 60))
    return path


# What comes out.


def test_arrays_are_mapped_and_what_is_written_into_them_stays_here(save: Callable[..., Path], cache: Path) -> None:
    path = save()
    array = unpacked(path).arrays["x_train"]
    assert isinstance(array, np.memmap)
    assert array.mode == "c"
    assert Path(array.filename).parent.parent == cache  # type: ignore[arg-type]
    np.testing.assert_array_equal(array, INPUTS)
    array[0, 0] = 7
    assert unpacked(path).arrays["x_train"][0, 0] == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float64, np.float32),
        (np.float16, np.float32),
        (np.float32, np.float32),
        (">f4", np.float32),
        (np.int64, np.int32),
        (np.uint64, np.int32),
        (np.uint32, np.int32),
        (np.uint16, np.int32),
        (">i8", np.int32),
        (np.int16, np.int16),
        (np.int8, np.int8),
        (np.uint8, np.uint8),
        (np.bool_, np.bool_),
    ],
)
def test_types_become_those_that_both_frameworks_take(save: Callable[..., Path], given: Any, expected: Any) -> None:
    values = np.array([[0, 1], [1, 1], [1, 0]])
    array = unpacked(save(x_train=values.astype(given))).arrays["x_train"]
    assert array.dtype == np.dtype(expected)
    np.testing.assert_array_equal(array, values)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_integers_that_do_not_fit_stay_wide(save: Callable[..., Path], value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz_entries, "BLOCK", 16)  # so that the first blocks fit, and the last doesn't
    values = np.array([1, 2, 3, 4, value])
    array = unpacked(save(x_train=values, y_train=values)).arrays["y_train"]
    assert array.dtype == np.int64
    np.testing.assert_array_equal(array, values)


def test_integers_beyond_all_types_are_refused(save: Callable[..., Path]) -> None:
    assert "y_train holds integers above 9,223" in failure(save(y_train=np.array([0, 1, 2**63], np.uint64)))


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 2)])
def test_an_array_stored_by_columns_is_turned(
    save: Callable[..., Path], shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_entries, "BLOCK", 64)
    values = np.asfortranarray(np.random.default_rng(0).normal(size=shape))
    values[2, 1] = np.nan
    found = unpacked(save(x_train=values))
    np.testing.assert_array_equal(found.arrays["x_train"], values.astype(np.float32))
    assert found.arrays["x_train"].flags.c_contiguous
    assert found.not_finite["x_train"].count == values[2, 1].size
    assert found.not_finite["x_train"].first[:2] == (2, 1)


def test_compressed_and_uncompressed_files_give_the_same(save: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).normal(size=(100, 3))
    plain, packed = (unpacked(save(how=how, x_train=values)) for how in (np.savez, np.savez_compressed))
    assert plain.sha256 != packed.sha256
    assert plain.arrays.keys() == packed.arrays.keys() == {"x_train", "y_train"}
    for name, array in plain.arrays.items():
        np.testing.assert_array_equal(array, packed.arrays[name], strict=True)


def test_only_arrays_with_our_names_are_unpacked(save: Callable[..., Path]) -> None:
    found = unpacked(save(**{"x_test/a": INPUTS, "words": np.array([{}], object), "x_trained": INPUTS}))
    assert found.arrays.keys() == {"x_train", "y_train", "x_test/a"}
    assert found.unused == ("words", "x_trained")


def test_values_that_are_not_finite_are_counted_also_from_the_cache(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_entries, "BLOCK", 8)
    values = np.ones((3, 4))
    values[1, 2], values[2, 0], values[2, 3] = np.nan, 1e300, -np.inf  # float32 has no 1e300
    path = save(x_train=values)
    for found in (unpacked(path), unpacked(path)):
        assert found.not_finite == {"x_train": NotFinite(3, (1, 2))}


# The cache.


def test_a_file_is_unpacked_once_and_told_once(save: Callable[..., Path], cache: Path) -> None:
    path = save()
    assert said_of(path) == [f"unpacking data.npz into {cache}, once"]
    written = {each: each.stat().st_mtime_ns for each in cache.rglob("*.npy")}
    assert said_of(path) == []
    assert {each: each.stat().st_mtime_ns for each in cache.rglob("*.npy")} == written
    assert len(written) == 2


def test_a_changed_file_is_another(save: Callable[..., Path]) -> None:
    first = unpacked(older(save()))
    second = unpacked(older(save(y_train=LABELS + 1)))
    assert first.sha256 != second.sha256
    np.testing.assert_array_equal(second.arrays["y_train"], LABELS + 1)


@pytest.mark.parametrize(("age", "readings"), [(60, 1), (0, 2)])
def test_a_hash_is_remembered_once_the_file_has_settled(
    save: Callable[..., Path], age: int, readings: int, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = save(), []
    os.utime(path, (time.time() - age, time.time() - age))
    monkeypatch.setattr(array_files, "_digest", lambda path: read.append(path) or "a" * 64)
    cache.mkdir(parents=True)
    assert {array_files.file_hash(path, cache) for _ in range(2)} == {"a" * 64}
    assert len(read) == readings


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema": 1}', '{"schema": 1, "files": [1]}', '{"schema": 1, "files": {"a": 1}}']
)
def test_a_damaged_memory_of_hashes_is_made_anew(save: Callable[..., Path], content: str, cache: Path) -> None:
    path = older(save())
    sha256 = unpacked(path).sha256
    (cache / "hashes.json").write_text(content)
    assert unpacked(path).sha256 == sha256
    assert sha256 in (cache / "hashes.json").read_text()


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"1")


def retype(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"<f4", b"<i4"))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("0.npy", shorten),
        ("0.npy", lengthen),
        ("0.npy", retype),
        ("0.npy", Path.unlink),
        ("arrays.json", shorten),
        ("arrays.json", Path.unlink),
        ("arrays.json", lambda path: path.write_text(json.dumps({"schema": 1, "arrays": [3]}))),
    ],
)
def test_a_damaged_cache_is_made_anew(save: Callable[..., Path], name: str, damage: Callable[[Path], None], cache: Path) -> None:
    path = save()
    damage(cache / unpacked(path).sha256 / name)
    assert len(said_of(path)) == 1
    np.testing.assert_array_equal(unpacked(path).arrays["x_train"], INPUTS)


def test_what_a_killed_process_left_is_cleared_and_a_failure_leaves_nothing(save: Callable[..., Path], cache: Path) -> None:
    path = save()
    left = cache / f".{unpacked(path).sha256}"
    (cache / left.name[1:] / "arrays.json").unlink()
    left.mkdir()
    (left / "0.npy").write_text("half")
    unpacked(path)
    assert not left.exists()
    failure(save("bad.npz", y_train=np.array(["a"])))
    assert [each for each in cache.iterdir() if each.is_dir()] == [cache / left.name[1:]]


def unused_for(days: float, entry: Path) -> None:
    """As if what was unpacked had not been asked for since."""
    ago = time.time() - 86_400 * days
    os.utime(entry / "arrays.json" if (entry / "arrays.json").exists() else entry, (ago, ago))


def test_what_was_not_used_for_30_days_is_dropped_when_another_file_is_unpacked(save: Callable[..., Path], cache: Path) -> None:
    old, recent, used = (
        unpacked(save(f"{name}.npz", y_train=LABELS + more)) for more, name in enumerate(["old", "recent", "used"], 1)
    )
    killed, others = cache / f".{'a' * 64}", cache / "mine"
    for folder in (killed, others):
        folder.mkdir()
    for days, entry in ((31, old.sha256), (29, recent.sha256), (31, used.sha256), (31, killed.name), (31, others.name)):
        unused_for(days, cache / entry)
    unpacked(cache.parent.parent / "used.npz")
    assert (cache / old.sha256).is_dir()  # only a new entry makes room
    new = unpacked(save("new.npz", y_train=LABELS + 9))
    kept = {recent.sha256, used.sha256, new.sha256, others.name}
    assert {each.name for each in cache.iterdir() if each.is_dir()} == kept
    np.testing.assert_array_equal(old.arrays["y_train"], LABELS + 1)  # who has it mapped goes on
    np.testing.assert_array_equal(unpacked(cache.parent.parent / "old.npz").arrays["y_train"], LABELS + 1)


def test_what_another_process_is_unpacking_is_not_dropped(save: Callable[..., Path], cache: Path) -> None:
    import filelock

    busy = cache / f".{'a' * 64}"
    busy.mkdir(parents=True)
    unused_for(31, busy)
    with filelock.FileLock(cache / f"{'a' * 64}.lock"):
        unpacked(save())
    assert busy.is_dir()


def test_a_file_that_changes_while_it_is_read_is_refused(save: Callable[..., Path], cache: Path) -> None:
    path, other = save(), save("other.npz", y_train=LABELS + 1)
    with pytest.raises(DatasetError, match="was changed while it was read"):
        array_files.unpacked(path, lambda said: os.replace(other, path) if other.exists() else None)  # type: ignore[arg-type]
    assert not list(cache.rglob("*.npy"))


def test_two_processes_at_once_unpack_once(save: Callable[..., Path]) -> None:
    path = older(save(how=np.savez_compressed, x_train=np.zeros((3, 2_000_000))))
    code = (
        "import sys; from pathlib import Path; from gradclip_cli.problems.own_arrays import array_files\n"
        "sys.stdin.readline()\n"
        "found = array_files.unpacked(Path(sys.argv[1]), lambda said: print(said.split()[0]))\n"
        "assert found.arrays['x_train'].shape == (3, 2_000_000)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([sys.executable, "-c", code, str(path)], **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = "".join(process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert told.count("unpacking") == 1


def test_a_cache_that_cannot_be_written_is_told(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = save()
    monkeypatch.setenv("GRADCLIP_CACHE", str(path / "below"))
    assert "gradclip's cache can't be written" in failure(path)
    assert "GRADCLIP_CACHE names another folder" in failure(path)


def test_a_full_disk_is_told_before_anything_is_written(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_files.shutil, "disk_usage", lambda folder: _Usage())
    assert "where 0.0 GB are free" in failure(save())


class _Usage:
    free = 50


@pytest.mark.slow
def test_memory_stays_bounded_however_large_an_array_is(save: Callable[..., Path]) -> None:
    path = save(how=np.savez_compressed, x_train=np.zeros((25, 1_000_000)))  # 200 MB
    code = (
        "import sys, tracemalloc; from pathlib import Path; from gradclip_cli.problems.own_arrays import array_files\n"
        "tracemalloc.start()\n"
        "found = array_files.unpacked(Path(sys.argv[1]), print)\n"
        "assert found.arrays['x_train'].nbytes == 100_000_000\n"
        "print(tracemalloc.get_traced_memory()[1])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    assert int(ended.stdout.split()[-1]) < 50_000_000


# What is refused.


def test_a_path_that_leads_nowhere_is_told(save: Callable[..., Path], tmp_path: Path) -> None:
    save("reviews.npz")
    assert failure(tmp_path / "review.npz").endswith("no such file; did you mean 'reviews.npz'?")
    assert failure(tmp_path / "xyz").endswith("no such file.")
    assert "there is no such folder as" in failure(tmp_path / "nowhere" / "reviews.npz")
    assert "is a folder; name an npz file" in failure(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in failure(tmp_path / "pipe")


def test_what_is_no_npz_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "single.npy", INPUTS)
    (tmp_path / "table.csv").write_text("1,2\n")
    (tmp_path / "empty.npz").write_text("")
    assert "is a single array, not an npz file; make one with np.savez(" in failure(tmp_path / "single.npy")
    assert "is not an npz file; make one with np.savez(" in failure(tmp_path / "table.csv")
    assert "is not an npz file" in failure(tmp_path / "empty.npz")


@pytest.mark.parametrize("how", [np.savez, np.savez_compressed])
def test_a_file_cut_off_or_altered_is_told(save: Callable[..., Path], how: Callable[..., None]) -> None:
    path = save(how=how, x_train=np.random.default_rng(0).normal(size=(100, 100)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert "is damaged or was not written to its end" in failure(path)
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    assert "is damaged or was not written to its end" in failure(path)


@pytest.mark.parametrize("how", [np.savez, np.savez_compressed])
def test_the_checksum_of_each_array_is_compared(save: Callable[..., Path], how: Callable[..., None]) -> None:
    path = save(how=how)
    with zipfile.ZipFile(path) as archive:
        checksum = archive.getinfo("x_train.npy").CRC.to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(checksum, bytes(4)))
    assert "is damaged or was not written to its end (Bad CRC-32" in failure(path)


def test_a_header_that_promises_more_than_there_is_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", INPUTS)
    content = (tmp_path / "x.npy").read_bytes()
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("x_train.npy", content.replace(b"(3, 4)", b"(9, 4)"))
        archive.writestr("y_train.npy", content)
    assert "x_train is damaged: its header and its size differ" in failure(tmp_path / "data.npz")
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("x_train.npy", b"no array")
        archive.writestr("y_train.npy", content)
    assert "is damaged" in failure(tmp_path / "data.npz")


def test_missing_names_are_told_with_those_that_are_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", X_train=INPUTS, y_train=LABELS)
    assert "lacks x_train (it holds X_train, y_train); make it with np.savez(" in failure(tmp_path / "data.npz")
    assert failure(tmp_path / "data.npz").endswith("the last fifth is held out where there is no x_test and y_test")
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("notes.txt", "none")
    assert "lacks x_train and y_train (it holds no arrays)" in failure(tmp_path / "zip.npz")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[1], [1, 2], None], object), "holds Python objects"),
        (np.array(["a", "b", "c"]), "holds texts; encode them as numbers"),
        (np.array([b"a", b"b", b"c"]), "holds texts; encode them as numbers"),
        (np.array([1j, 2, 3]), "holds complex numbers"),
        (np.array(["2020-01-01"] * 3, "datetime64[D]"), "holds dates"),
        (np.array([1, 2, 3], "timedelta64[s]"), "holds spans of time"),
        (np.zeros(3, [("a", "f4")]), "is of the type"),
        (np.zeros((0, 4)), "is empty (its shape is (0, 4))"),
        (np.zeros((3, 0)), "is empty (its shape is (3, 0))"),
        (np.float32(3), "is a single number"),
    ],
)
def test_what_holds_no_numbers_is_refused_by_name(save: Callable[..., Path], values: Any, reason: str) -> None:
    path = save(**{"x_test/b": values})
    assert failure(path).startswith(f"{path}: x_test/b {reason}")
