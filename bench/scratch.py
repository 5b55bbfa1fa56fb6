"""Folders for what a benchmark makes; those of a run that was killed go at the next run."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "imgtool-bench-"
_OURS = re.compile(re.escape(PREFIX) + r"(\d+)-.*")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder of its own for as long as the block lasts. Its name says whose it is."""
    remove_stale()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as folder:
        yield Path(folder)


def remove_stale() -> None:
    """Remove the folders of processes that are no more: SIGKILL lets nobody tidy up."""
    me = os.getuid()
    for entry in os.scandir(tempfile.gettempdir()):
        found = _OURS.fullmatch(entry.name)
        if found is None or not entry.is_dir(follow_symlinks=False):
            continue
        if entry.stat(follow_symlinks=False).st_uid == me and not os.path.exists(f"/proc/{found[1]}"):
            shutil.rmtree(entry.path, ignore_errors=True)
