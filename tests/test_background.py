"""Work in the background: what it gives is what the function gives."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time

import pytest

from imgtool.background import Background, Forked, begin
from imgtool.guest.cpio import Member
from imgtool.guest.initramfs import DamagedInitramfs, Initramfs
from imgtool.text import Text


def test_it_is_at_work_while_others_are_and_is_waited_for() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        assert go_on.wait(60)
        return 42

    background = Background(work, "test")
    assert begun.wait(60)
    go_on.set()
    assert [background.result(), background.result()] == [42, 42]


def test_what_it_raises_is_raised_where_it_is_asked_for() -> None:
    background = Background(lambda: 1 // 0, "test")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            background.result()


def test_a_process_gives_what_the_function_gives_and_is_gone() -> None:
    forked = Forked(lambda: [os.getpid(), "answer" * 100_000])
    process, answer = forked.result()
    assert process != os.getpid()
    assert answer == "answer" * 100_000
    with pytest.raises(ChildProcessError):
        os.waitpid(int(process), 0)


def test_what_a_process_raises_is_raised_where_it_is_asked_for() -> None:
    with pytest.raises(ZeroDivisionError):
        Forked(lambda: 1 // 0).result()
    why, read = Text("Why.", "为何。"), Initramfs({"init": Member("init", 0o100755, 1, 1)})

    def fail() -> None:
        raise DamagedInitramfs("/boot/initrd", why, read)

    with pytest.raises(DamagedInitramfs) as raised:
        Forked(fail).result()
    assert (raised.value.path, raised.value.why, raised.value.read) == ("/boot/initrd", why, read)


def test_without_an_answer_the_function_is_called_here() -> None:
    here = os.getpid()

    def crash_elsewhere() -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return 42

    assert Forked(crash_elsewhere).result() == 42


def test_after_half_an_answer_the_function_is_called_here() -> None:
    here = os.getpid()

    def killed_while_it_answers() -> tuple[bytes, int]:
        return b"x" * (1 << 20), os.getpid()

    forked = Forked(killed_while_it_answers)
    assert select.select([forked._answer], [], [], 60)[0]
    os.kill(forked._process, signal.SIGKILL)
    assert forked.result() == (b"x" * (1 << 20), here)


def test_it_works_where_the_system_collects_children_itself() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # inherited from a shell or a service
    try:
        assert Forked(lambda: 42).result() == 42
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_process_that_nobody_waits_for_is_ended() -> None:
    reading, writing = os.pipe()

    def work() -> None:
        os.write(writing, b"x")
        time.sleep(600)

    forked = Forked(work)
    assert os.read(reading, 1) == b"x"
    forked.end()
    os.close(writing)
    assert os.read(reading, 1) == b""
    forked.end()
    os.close(reading)


def test_a_process_ends_with_the_one_that_began_it() -> None:
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:

        def work() -> None:
            os.write(writing, b"x")
            time.sleep(600)

        kept = Forked(work)
        time.sleep(600)
        kept.end()
        os._exit(0)
    assert os.read(reading, 1) == b"x"
    os.close(writing)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_signal_just_after_the_fork_unwinds_the_one_who_asks_alone() -> None:
    """And not its copy, which would remove what is temporary beside it."""
    script = """
import os, signal, time
from imgtool.background import Forked
class Ended(BaseException): pass
def end(number, frame): raise Ended
signal.signal(signal.SIGTERM, end)
real = os.fork
def fork():
    process = real()
    if process == 0:
        os.kill(os.getpid(), signal.SIGTERM)  # the copy alone is told to end
        time.sleep(0.01)
    return process
os.fork = fork
try:
    forked = Forked(os.getpid)
except Ended:
    print("unwound", os.getpid(), flush=True)
    os._exit(0)
assert forked.result() == os.getpid()  # without an answer of the copy
print("done")
"""
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout == b"done\n"


def test_a_process_of_several_threads_is_not_copied() -> None:
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait)
    thread.start()
    try:
        assert isinstance(begin(lambda: 1, "test", in_process=True), Background)
    finally:
        waiting.set()
        thread.join()
