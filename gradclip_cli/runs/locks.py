"""A folder's lock: one process at a time works in a run's folder, or adds to a results folder's ledger of looks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gradclip_cli.errors import BusyError
from gradclip_cli.files import unwritable

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = ".lock"
WAIT = 0.2  # seconds between two tries to get a lock that another process holds


@contextmanager
def locked(folder: Path, keep_waiting: Callable[[], bool]) -> Iterator[None]:
    """Keep other processes out of a folder. Where one is at work, wait for it as long as `keep_waiting` says so.

    Raises BusyError where one still is, StoreError where nothing can be written. No empty folder is left behind.
    """
    import filelock

    lock = filelock.FileLock(folder / LOCK)
    while not _acquired(lock, folder):
        if not keep_waiting():
            raise BusyError(f"{folder}: another gradclip process is training this run", hint="wait for it or stop it")
        time.sleep(WAIT)
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)  # filelock notices a lock whose file is gone
        lock.release()
        with contextlib.suppress(OSError):  # They are not empty, as a rule.
            folder.rmdir()
            folder.parent.rmdir()


def _acquired(lock: BaseFileLock, folder: Path) -> bool:
    """Whether the lock is ours now, in a folder that is made for it; not where another process holds it."""
    import filelock

    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
            return True
        except filelock.Timeout:
            return False
        except FileNotFoundError:
            continue  # Who held the lock has just removed the run.
        except OSError as error:
            raise unwritable(folder, error) from None
