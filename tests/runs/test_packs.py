"""A packed folder is read as the unpacked one would be; a pack of unknown origin is believed nothing, and fills nothing."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import random
import shutil
import tarfile
import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import store_run

from gradclip_cli.errors import StoreError
from gradclip_cli.evidence import arms, bins, inspection
from gradclip_cli.runs import names, packing, packs, store
from gradclip_cli.runs.store import RunDirectory


@pytest.fixture
def packed(results: Path) -> Path:
    for arm in ("none", "clipnorm"):
        for seed in (0, 1, 10):
            store_run(results, arm, seed, [2.0, 1.0 + seed / 7])
    packing.pack(results, steps=True)
    packing.remove_packed(results)
    assert sorted(path.name for path in results.iterdir()) == ["runs.sha256", "runs.tar.xz"]
    return results


def read_all(results: Path) -> list[Any]:
    """What each run says, and what is seen of its steps."""
    return [(run.path, run.seed, run.status(), run.stored(), *tables(run)) for run in store.runs(results)]


def tables(run: RunDirectory) -> list[str]:
    return [table.to_csv() for table in (run.metrics(), run.steps(), inspection.inspect(run).bins)]


def write_pack(folder: Path, members: Sequence[tuple[tarfile.TarInfo, bytes]], listed: dict[str, bytes] | None = None) -> Path:
    """A pack with these members, be they what they may, and a list of the SHA-256s of these or other files."""
    folder.mkdir(exist_ok=True)
    with lzma.open(folder / "runs.tar.xz", "wb", preset=0) as file:
        for header, content in members:
            file.write(header.tobuf(format=tarfile.PAX_FORMAT) + content + bytes(-len(content) % 512))
        file.write(bytes(1024))
    whole = {header.name: content for header, content in members} if listed is None else listed
    (folder / "runs.sha256").write_text(
        "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(whole.items()))
    )
    return folder


def member(name: str, content: bytes = b"{}", **facts: Any) -> tuple[tarfile.TarInfo, bytes]:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    for fact, value in facts.items():
        setattr(header, fact, value)
    return header, content


def test_everything_reads_the_same_and_leaves_nothing_behind(packed: Path) -> None:
    there = read_all(packed)
    assert sorted(path.name for path in packed.iterdir()) == ["runs.sha256", "runs.tar.xz"]
    packing.unpack(packed)
    assert read_all(packed) == there
    assert len(there) == 6


def test_runs_are_found_by_all_their_names(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names.find_arms(["none"], packed) == ["none"]
    assert [run.seed for run in names.find_runs(["none", "clipnorm:1"], packed)] == [1, 0, 1, 10]
    assert names.find_run("none/seed-10", packed).seed == 10
    assert names.find_run(str(packed / "none" / "seed-1"), Path("elsewhere")).status() == "complete"
    monkeypatch.chdir(packed)
    assert [run.path for run in store.runs(Path())] == [run.path.relative_to(packed) for run in store.runs(packed)]
    assert names.find_run("clipnorm/seed-10", Path("elsewhere")).arm == "clipnorm"


def test_a_folder_that_cannot_be_written_is_read(packed: Path) -> None:
    for path in (packed, *packed.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(arms.read_arms(packed)[0]) == 2
    finally:
        packed.chmod(0o755)


def test_steps_that_are_not_packed_are_missed_as_always(results: Path) -> None:
    run = store_run(results, "none", 0, [1.0])
    packing.pack(results)
    run.steps_path.unlink()
    packing.remove_packed(results)
    run = names.find_run("none", results)
    assert not run.has("steps.csv")
    with pytest.raises(StoreError, match=r"steps\.csv: can't be read: No such file"):
        run.steps()
    assert bins.step_bins(arms.read_arms(results)[0][0]).warnings == ()


def test_steps_that_stayed_beside_the_pack_are_read_there(results: Path) -> None:
    store_run(results, "none", 0, [1.0])
    there = read_all(results)
    packing.pack(results)
    packing.remove_packed(results)
    assert read_all(results) == there


def test_new_runs_beside_a_pack_are_read_too(packed: Path) -> None:
    store_run(packed, "none", 2, [1.0])
    assert [(run.arm, run.seed) for run in store.runs(packed)] == [
        *(("clipnorm", seed) for seed in (0, 1, 10)), *(("none", seed) for seed in (0, 1, 2, 10))
    ]  # fmt: skip


def test_the_same_files_beside_a_pack_are_fine_and_others_are_refused(packed: Path) -> None:
    pack = (packed / "runs.tar.xz").read_bytes(), (packed / "runs.sha256").read_bytes()
    packing.unpack(packed)
    there = read_all(packed)
    for name, content in zip(("runs.tar.xz", "runs.sha256"), pack, strict=True):
        (packed / name).write_bytes(content)
    assert read_all(packed) == there
    run = RunDirectory(packed / "none" / "seed-1")
    run.write_metadata({**run.metadata(), "seconds": 1.0})
    with pytest.raises(StoreError, match=r"none/seed-1/run\.json: differs from the one in .*tar -xJf .* --skip-old-files && rm"):
        store.runs(packed)


@pytest.mark.parametrize("position", [0.001, 0.3, 0.9, 0.999])
def test_a_truncated_pack_is_refused(results: Path, position: float) -> None:
    store_run(results, "none", 0, [1.0])
    packing.pack(results)
    content = (results / "runs.tar.xz").read_bytes()
    (results / "runs.tar.xz").write_bytes(content[: int(len(content) * position)])
    with pytest.raises(StoreError, match=r"runs\.tar\.xz: can't be read: .*Nothing of it is used"):
        store.runs(results)


@pytest.mark.hostile
def test_a_damaged_pack_is_refused_or_the_same(packed: Path) -> None:
    draw, there = random.Random(0), read_all(packed)
    content = (packed / "runs.tar.xz").read_bytes()
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        (packed / "runs.tar.xz").write_bytes(damaged)
        try:
            assert read_all(packed) == there  # a bit that fills up, or that says which checksum is to be left out
        except StoreError:
            refused += 1
    assert refused > 50


def test_what_the_list_says_otherwise_is_refused_by_name(packed: Path) -> None:
    path = packed / "runs.sha256"
    lines = path.read_text().splitlines()
    others = [line for line in lines if not line.endswith("none/seed-1/metrics.csv")]
    for changed, told in (
        ([*others, f"{'0' * 64}  none/seed-1/metrics.csv"], r"none/seed-1/metrics\.csv is not what runs\.sha256 says"),
        (others, r"holds none/seed-1/metrics\.csv, which runs\.sha256 doesn't list"),
        ([*lines, f"{'0' * 64}  none/seed-7/run.json"], r"lacks none/seed-7/run\.json"),
        ([*lines, lines[0]], r"runs\.sha256:25: is not a SHA-256 and a file of a run, once"),
    ):
        path.write_text("\n".join(changed))
        with pytest.raises(StoreError, match=told):
            store.runs(packed)
    path.unlink()
    with pytest.raises(StoreError, match=r"runs\.sha256: is not there"):
        store.runs(packed)


def test_changed_steps_are_refused_where_they_are_read(packed: Path) -> None:
    path = packed / "runs.sha256"
    others = [line for line in path.read_text().splitlines() if not line.endswith("none/seed-1/steps.csv")]
    path.write_text("\n".join([*others, f"{'0' * 64}  none/seed-1/steps.csv"]))
    first, second, _ = [run for run in store.runs(packed) if run.arm == "none"]
    assert first.count_steps() == 8
    with pytest.raises(StoreError, match=r"none/seed-1/steps\.csv is not what runs\.sha256 says"):
        second.count_steps()


@pytest.mark.hostile
@pytest.mark.parametrize(
    "name",
    [
        "../../evil/seed-0/run.json",
        "/etc/seed-0/run.json",
        "../seed-0/run.json",
        "./seed-0/run.json",
        "none/seed-0/../../x.json",
        "none/seed-0/.bashrc",
        "none/seed-0/checkpoint.npz",
        "none/seed-00/run.json",
        "a\\b/seed-0/run.json",
        "report.md",
    ],
)
def test_names_that_lead_elsewhere_are_refused(results: Path, name: str) -> None:
    write_pack(results, [member(name)])
    with pytest.raises(StoreError, match=r"runs\.sha256:1: is not"):
        packing.unpack(results)
    assert {path.name for path in results.parent.rglob("*")} == {"results", "runs.tar.xz", "runs.sha256"}


NAME = "none/seed-0/run.json"


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([member(NAME, b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")], "no plain file"),
        ([member(NAME, b"", type=tarfile.LNKTYPE, linkname="/etc/passwd")], "no plain file"),
        ([member(NAME, b"", type=tarfile.CHRTYPE)], "no plain file"),
        ([member(NAME, b"", type=tarfile.FIFOTYPE)], "no plain file"),
        ([member(NAME, b"", type=tarfile.DIRTYPE)], "no plain file"),
        ([member(NAME, b"", type=tarfile.GNUTYPE_SPARSE)], "no plain file"),
        ([member(NAME, pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9999999999"})], "no plain file"),
        ([member(NAME, b"{}", size=10**10)], "over 4,000,000 bytes"),
        ([(tarfile.TarInfo("long"), b"")], "doesn't list"),
        ([member("x", b"", type=tarfile.XHDTYPE, size=8 * 10**9)], "no plain file"),
        ([member("x", b"", type=tarfile.GNUTYPE_LONGNAME, size=8 * 10**9)], "no plain file"),
        ([member(NAME), member(NAME)], "twice"),
        ([member("none/seed-0/config.yaml"), member("none/seed-1/config.yaml")], "doesn't list"),
    ],
)
def test_members_that_are_no_plain_bounded_listed_files_are_refused(results: Path, members: list[Any], told: str) -> None:
    write_pack(results, members, {NAME: b"{}", "none/seed-0/config.yaml": b"{}"})
    with little_memory(), pytest.raises(StoreError, match=told):
        store.runs(results)


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


ZEROS = 60_000_000


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["config.yaml", "metrics.csv", "run.json"])
def test_a_bomb_of_zeros_fills_no_memory(results: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pack(results, [member(f"none/seed-0/{name}", bytes(ZEROS))])
    monkeypatch.setattr(packs, "MOST_BYTES_IN_MEMORY", 20_000_000)
    assert (results / "runs.tar.xz").stat().st_size < 100_000
    with little_memory(), pytest.raises(StoreError, match=rf"{name} is over [0-9,]+ bytes"):
        store.runs(results)


@pytest.mark.hostile
def test_a_bomb_of_steps_fills_no_disk(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pack(results, [member("none/seed-0/steps.csv", bytes(ZEROS))])
    monkeypatch.setattr(packs, "MOST_BYTES_WITH_STEPS", 20_000_000)
    with little_memory(), pytest.raises(StoreError, match="over 20,000,000 bytes"):
        packing.unpack(results)
    assert not (results / "none").exists() or not list(results.glob("none/*/steps.csv"))


def test_what_follows_the_last_file_is_refused(results: Path) -> None:
    write_pack(results, [member(NAME)])
    with lzma.open(results / "runs.tar.xz", "ab") as file:
        file.write(bytes(20_000))
    with pytest.raises(StoreError, match="goes on after its last file"):
        store.runs(results)


def test_a_pipe_in_a_packs_place_does_not_hang(results: Path) -> None:
    results.mkdir()
    os.mkfifo(results / "runs.tar.xz")
    (results / "runs.sha256").write_text("")
    with pytest.raises(StoreError, match="not a regular file"):
        store.runs(results)


def test_no_room_for_steps_is_told(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, block: Any) -> int:
            raise OSError(28, "No space left on device")

    copied = Path(shutil.copytree(packed, packed.parent / "copied"))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda prefix: Full())
    with pytest.raises(StoreError, match=r"no room for the steps of .*TMPDIR"):
        store.runs(copied)[0].count_steps()
