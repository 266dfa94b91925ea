"""What XLA compiled is kept for later processes, checked, and of no consequence but time; real processes that really train."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import options, wait_until

from gradclip_cli.engines import compiled
from gradclip_cli.errors import EngineError

TINY = ("data.subset=sample", "training.epochs=1", "training.steps_per_epoch=3", "model.units=4", "name=tiny")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache and a folder of temporary files of each test's own, which has a blank in its name."""
    (tmp_path / "temporary files").mkdir()
    monkeypatch.delenv("GRADCLIP_COMPILED")
    monkeypatch.setenv("GRADCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary files"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    compiled._own_folder.cache_clear()
    yield
    compiled._own_folder.cache_clear()


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "compiled").glob("*/*/*"))


def train(
    folder: Path, results: str, *others: str, limit: Callable[[], None] | None = None, **environment: str
) -> tuple[subprocess.CompletedProcess[str], int]:
    """A process that trains a tiny run, and how many modules XLA compiled in it: it writes of each what it makes of it."""
    dumps = folder / "dumps"
    shutil.rmtree(dumps, ignore_errors=True)
    command = [sys.executable, "-m", "gradclip_cli", "run", "clipvalue", *options(*TINY), *others]
    ended = subprocess.run(
        [*command, "--results", str(folder / results)],
        env={**os.environ, "XLA_FLAGS": f"--xla_dump_to={dumps}", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=limit,
    )
    return ended, len({path.name.partition(".")[0] for path in dumps.glob("module_*")})


def csvs(folder: Path, results: str, run: str = "tiny/seed-0") -> list[bytes]:
    return [(folder / results / run / name).read_bytes() for name in ("metrics.csv", "steps.csv")]


@pytest.mark.trains
@pytest.mark.slow
def test_a_second_process_compiles_nothing_and_leaves_the_same_bytes(tmp_path: Path) -> None:
    first, compiled_first = train(tmp_path, "first")
    second, compiled_then = train(tmp_path, "second")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert compiled_first >= 2
    assert compiled_then == 0
    assert csvs(tmp_path, "first") == csvs(tmp_path, "second")
    assert len(entries(tmp_path)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "first", "second", "temporary files"]
    assert list((tmp_path / "temporary files").iterdir()) == []


@pytest.mark.trains
@pytest.mark.slow
def test_what_is_damaged_is_compiled_again_and_replaced(tmp_path: Path) -> None:
    first, _ = train(tmp_path, "first")
    whole = {path: path.read_bytes() for path in entries(tmp_path)}
    shortened, emptied = whole
    shortened.write_bytes(whole[shortened][:-1000])
    emptied.write_bytes(b"")
    second, compiled_then = train(tmp_path, "second")
    assert first.returncode == second.returncode == 0, second.stderr
    assert compiled_then == 2
    assert csvs(tmp_path, "first") == csvs(tmp_path, "second")
    assert {path.name.partition(".")[0] for path in entries(tmp_path)} == {path.name.partition(".")[0] for path in whole}
    assert all(path.suffix == f".{compiled._digest(path.read_bytes())}" for path in entries(tmp_path))


@pytest.mark.trains
@pytest.mark.slow
def test_what_is_whole_but_cannot_be_loaded_is_dropped_and_told(tmp_path: Path) -> None:
    """As if another build of the same version had compiled it: the ELF marks are gone, the hash is right."""
    first, _ = train(tmp_path, "first")
    for path in entries(tmp_path):
        broken = path.read_bytes().replace(b"\x7fELF", b"\x7fFLE")
        path.unlink()
        path.with_suffix(f".{compiled._digest(broken)}").write_bytes(broken)
    second, _ = train(tmp_path, "second")
    assert first.returncode == 0
    assert second.returncode == 1
    assert "what was kept compiled of this kind of run is dropped" in second.stderr
    again, compiled_again = train(tmp_path, "second")
    assert again.returncode == 0, again.stderr
    assert compiled_again >= 1
    assert csvs(tmp_path, "first") == csvs(tmp_path, "second")


@pytest.mark.trains
@pytest.mark.slow
def test_a_killed_process_leaves_a_folder_that_goes_a_day_later(tmp_path: Path) -> None:
    left = tmp_path / "temporary files"
    command = [sys.executable, "-m", "gradclip_cli", "run", "clipvalue", *options(*TINY), "--results", str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        wait_until(lambda: list(left.iterdir()))
        killed.kill()
    [folder] = left.iterdir()
    compiled._drop_left()
    assert folder.exists()
    os.utime(folder, (0, 0))
    compiled._drop_left()
    assert not folder.exists()


@pytest.mark.trains
@pytest.mark.slow
def test_switched_off_or_where_nothing_can_be_kept_it_trains_all_the_same(tmp_path: Path) -> None:
    kept, _ = train(tmp_path, "kept")
    (tmp_path / "file").write_text("no folder")
    others = {"off": {"GRADCLIP_COMPILED": "off"}, "unwritable": {"GRADCLIP_CACHE": str(tmp_path / "file")}}
    for name, environment in others.items():
        ended, compiled_then = train(tmp_path, name, **environment)
        assert ended.returncode == 0, ended.stderr
        assert compiled_then >= 2
        assert csvs(tmp_path, name) == csvs(tmp_path, "kept")
    assert kept.returncode == 0


@pytest.mark.trains
@pytest.mark.slow
def test_what_cannot_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    """A limit on the size of files, below what is compiled and above all else, stands for a disk that is full just then."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    ended, _ = train(tmp_path, "limited", limit=limit, XLA_FLAGS="")
    assert ended.returncode == 1
    assert "can't keep" in ended.stderr
    assert "GRADCLIP_COMPILED=off" in ended.stderr
    assert "Traceback" not in ended.stderr
    again, _ = train(tmp_path, "limited", GRADCLIP_COMPILED="off")
    assert again.returncode == 0, again.stderr


@pytest.mark.trains
@pytest.mark.slow
def test_workers_share_what_is_kept(tmp_path: Path) -> None:
    alone, _ = train(tmp_path, "alone", "--seeds", "2")
    shared, compiled_then = train(tmp_path, "shared", "--seeds", "2", "--jobs", "2")
    assert alone.returncode == shared.returncode == 0, alone.stderr + shared.stderr
    assert compiled_then == 0
    for run in ("tiny/seed-0", "tiny/seed-1"):
        assert csvs(tmp_path, "alone", run) == csvs(tmp_path, "shared", run)


# The files, without TensorFlow: a block that writes what it would.


def compile_as(names: str, kind: str | None = "kind", version: str = "2.0") -> set[str]:
    """Names of files that were there in a block, which then writes others."""
    with compiled.kept(kind, version):
        own = compiled._own_folder(os.getpid())
        assert own
        own.mkdir(exist_ok=True)  # as TensorFlow does where nothing was fetched
        there = {path.stem for path in own.iterdir()}
        for name in names:
            (own / f"{name}.pb").write_text(f"code of {name}")
        return there


def test_a_kind_finds_its_own_of_its_version_and_nothing_stays_behind(tmp_path: Path) -> None:
    assert compile_as("ab") == set()
    assert compile_as("c") == {"a", "b"}
    assert compile_as("") == {"a", "b", "c"}
    assert compile_as("", kind="another kind") == set()
    assert compile_as("", version="2.1") == set()
    assert compile_as("d", kind=None) == set()
    assert len(entries(tmp_path)) == 3
    assert list((tmp_path / "temporary files").glob("*/*")) == []


def test_other_flags_of_xla_or_another_processor_are_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_as("a")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert compile_as("") == set()
    monkeypatch.delenv("XLA_FLAGS")
    assert compile_as("") == {"a"}
    monkeypatch.setattr(compiled, "_processor", lambda: ["model name: another"])
    assert compile_as("") == set()


def test_what_is_damaged_or_being_written_is_not_found(tmp_path: Path) -> None:
    compile_as("ab")
    damaged, whole = entries(tmp_path)
    damaged.write_text("code of somebody")
    being_written = whole.with_name(f".{whole.name}.123")
    being_written.write_text("cod")
    assert compile_as("") == {"b"}
    assert set(entries(tmp_path)) == {whole, being_written}


def test_what_another_user_wrote_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_as("a")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    if os.getuid() == 0:
        os.chown(entries(tmp_path)[0], os.getuid() + 2, -1)
    assert compile_as("") == set()
    assert len(entries(tmp_path)) == 1


def test_what_others_may_write_or_a_link_is_not_loaded(tmp_path: Path) -> None:
    compile_as("ab")
    writable, linked = entries(tmp_path)
    writable.chmod(0o666)
    linked.rename(tmp_path / "elsewhere")
    linked.symlink_to(tmp_path / "elsewhere")
    assert compile_as("") == set()


def test_of_a_part_that_was_copied_nothing_is_loaded() -> None:
    """The disk is full after the first file: a limit on the size of files stands for it."""
    compile_as("a")
    with compiled.kept("kind", "2.0"):
        own = compiled._own_folder(os.getpid())
        assert own
        (own / "b.pb").write_text("code of b" * 10_000)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, usual[1]))
    try:
        with compiled.kept("kind", "2.0"):
            assert not own.exists()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_without_a_home_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "cache_folder", lambda: Path("~/.cache/gradclip"))
    monkeypatch.chdir(tmp_path)
    compile_as("a")
    assert compile_as("") == set()
    assert [path.name for path in tmp_path.iterdir()] == ["temporary files"]


def test_what_is_old_or_too_much_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MOST_OF_A_KIND", 3)
    monkeypatch.setattr(compiled, "MOST_KINDS", 2)
    for place, name in enumerate("abcd"):
        compile_as(name)
        for path in entries(tmp_path):
            if path.name.startswith(name):
                os.utime(path, (place, place))
    assert compile_as("") == {"b", "c", "d"}
    compile_as("a", kind="second")
    compile_as("a", kind="third")
    kinds = {path.parent for path in entries(tmp_path)}
    assert len(kinds) == 2
    assert compile_as("") == set()  # the one that was used first
    for folder in kinds:
        os.utime(folder, (0, 0))
    compile_as("a", kind="fourth", version="another")  # in another folder: that of no use goes too
    assert len({path.parent for path in entries(tmp_path)}) == 1
    assert len(list((tmp_path / "cache" / "compiled").iterdir())) == 1


def test_an_error_of_keeping_says_what_to_do_and_others_pass() -> None:
    own = compiled._own_folder(os.getpid())
    with pytest.raises(EngineError, match=r"make room there, or set GRADCLIP_COMPILED=off"), compiled.kept("kind", "2.0"):
        raise OSError(f"{own}/a.pb: no space left on device")
    with pytest.raises(ValueError, match=r"^of the model$"), compiled.kept("kind", "2.0"):
        raise ValueError("of the model")


def test_flags_reach_tensorflow_and_nobody_else() -> None:
    with compiled.keeping():
        assert str(compiled._own_folder(os.getpid())) in os.environ["TF_XLA_FLAGS"]
    assert "TF_XLA_FLAGS" not in os.environ


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRADCLIP_COMPILED", "off"),
        ("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=/elsewhere"),
        ("TF_XLA_FLAGS", "/a/file"),
        ("XLA_FLAGS", "/a/file"),
    ],
)
def test_who_wants_none_or_has_his_own_is_left_alone(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    before = os.environ.get("TF_XLA_FLAGS")
    with compiled.keeping(), compiled.kept("kind", "2.0"):
        assert os.environ.get("TF_XLA_FLAGS") == before
    assert compiled._own_folder(os.getpid()) is None
    assert entries(tmp_path) == []


def test_an_error_where_something_was_loaded_drops_it(tmp_path: Path) -> None:
    compile_as("a")
    with (
        pytest.raises(EngineError, match=r"^Failed to add .* is dropped, so that it is compiled anew"),
        compiled.kept("kind", "2.0"),
    ):
        raise RuntimeError("Failed to add object file")
    assert entries(tmp_path) == []


def test_what_describes_a_processor_stays_the_same_and_is_something() -> None:
    described = compiled._processor()
    assert described
    assert all(described)
    assert not [line for line in described if line.startswith(compiled.CHANGING)]
    assert compiled._machine() == compiled._machine()


def test_the_current_folder_may_be_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCLIP_CACHE", ".")
    monkeypatch.chdir(tmp_path)
    compile_as("a")
    assert compile_as("") == {"a"}
