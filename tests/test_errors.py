"""What an error of Python's means, where something of this machine's is used up."""

from __future__ import annotations

import errno
import os

import pytest

from imgtool.errors import OutOfResources, out_of_resources


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (MemoryError(), "memory"),
        (OSError(errno.ENOMEM, "mmap"), "memory"),
        (BlockingIOError(errno.EAGAIN, "fork"), "processes"),
        (OSError(errno.EMFILE, "open"), "open files"),
        (RuntimeError("can't start new thread"), "threads"),
    ],
    ids=repr,
)
def test_what_is_used_up_is_named_and_is_the_machines_lack(error: Exception, what: str) -> None:
    lacking = out_of_resources(error)
    assert isinstance(lacking, OutOfResources)
    assert what in lacking.statement().en
    assert lacking.exit_code == 4


def test_a_full_pipe_that_does_not_block_is_no_lack() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb"), open(writing, "wb") as stream:
        with pytest.raises(BlockingIOError) as full:
            stream.write(bytes(1 << 20))
        assert out_of_resources(full.value) is None
        os.read(reading, 1 << 20)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "read"), RuntimeError("other"), ValueError()], ids=repr)
def test_other_errors_mean_no_lack(error: Exception) -> None:
    assert out_of_resources(error) is None
