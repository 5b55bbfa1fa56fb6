"""Folders for what is temporary, each held locked by the run that made it.

However a run ends, its folder goes; after a SIGKILL a later run finds it unlocked and removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

_TRIES = 16


def sweep(directory: Path, prefix: str) -> list[Path]:
    """Remove the folders that runs which were killed left in a directory; those removed.

    A folder is theirs when it has our name and owner and nobody holds its lock.
    """
    ours = re.compile(re.escape(prefix) + r"[0-9a-f]{16}")
    removed = []
    try:
        entries = [entry for entry in os.scandir(directory) if ours.fullmatch(entry.name)]
    except OSError:
        return []
    for entry in entries:
        path = Path(entry.path)
        with suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held: a run is at work there
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
            finally:
                os.close(lock)
    return removed


def locked_folder(directory: Path, prefix: str) -> tuple[Path, int | None]:
    """A new private folder and the descriptor that holds its lock; None where directories can't be locked.

    The caller removes the folder, then closes the descriptor. Raises OSError.
    Another run's sweep may take the folder between its making and its locking; then there is another one.
    """
    for _ in range(_TRIES):
        folder = directory / f"{prefix}{secrets.token_hex(8)}"
        os.mkdir(folder, 0o700)
        lock: int | None = None
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.stat(folder), os.fstat(lock)):
                return folder, lock
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:  # NFS locks no directory; there, nobody sweeps either
            if lock is not None:
                os.close(lock)
            return folder, None
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if lock is not None:
            os.close(lock)
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
