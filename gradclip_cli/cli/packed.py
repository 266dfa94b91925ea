"""Commands on packed folders: pack, unpack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradclip_cli.cli.options import remark
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    from gradclip_cli.runs.packing import Packing

folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))


@click.command()
@folder_argument
@click.option("--steps", is_flag=True, help="Pack each run's steps.csv too: a hundred times as much.")
@click.option("--remove", is_flag=True, help="Remove the files that are packed then, once every byte was compared.")
def pack(folder: Path, steps: bool, remove: bool) -> None:
    """Pack a results folder's runs: runs.tar.xz in it, and runs.sha256 with each file's SHA-256.

    It holds each finished run's config.yaml, metrics.csv and run.json, and whoever gets both files reads them with list,
    show and compare as they are. Nothing is trained or removed there until it is unpacked. The runs at a sweep's best
    columns get a pack of their own, in best/.
    """
    from gradclip_cli.cli.console import tell
    from gradclip_cli.runs import packing

    folders = _with_best(folder)
    for each in folders:
        packed = packing.pack(each, steps=steps)
        tell(_packed_sentence(packed))
        if packed.left:
            remark(f"Not in {packed.archive}: {_left(packed)}")
    for each in folders if remove else []:
        tell(f"removed {counted(packing.remove_packed(each), 'packed file')} from the runs' folders in {each}")


def _with_best(folder: Path) -> list[Path]:
    """The folder, and where it is a sweep's that of the runs at its best columns."""
    from gradclip_cli.evidence import plans

    best = folder / plans.BEST
    return [folder, best] if best.is_dir() and plans.is_best_of_a_sweep(best) else [folder]


def _packed_sentence(packed: Packing) -> str:
    held = f"{counted(packed.runs, 'run')} ({counted(packed.files, 'file')}) in {packed.archive}, {_size(packed.size)}"
    return f"packed {held}" if packed.written else f"already packed: {held}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _left(packed: Packing) -> str:
    from gradclip_cli.runs.packs import STEPS

    names = [f"{count:,} {name}{' (--steps packs it)' if name == STEPS else ''}" for name, count in packed.left.items()]
    return ", ".join(names)


@click.command()
@folder_argument
def unpack(folder: Path) -> None:
    """Unpack a results folder's runs to where they were, so that more can be trained there, and remove the pack."""
    from gradclip_cli.cli.console import tell
    from gradclip_cli.runs import packing, packs

    for each in [each for each in _with_best(folder) if packs.is_packed(each)] or [folder]:
        tell(f"unpacked {counted(packing.unpack(each), 'file')} from {each / packs.ARCHIVE}")
