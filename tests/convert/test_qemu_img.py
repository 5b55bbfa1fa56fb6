"""qemu-img behind its wrapper: progress, failures, what it knows, and that no child outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.convert import qemu_img
from imgtool.convert.output import NoRoom
from imgtool.convert.qemu_img import (
    Differs,
    _windows,
    compare,
    convert,
    creation_options,
    measure,
    takes,
    together,
)
from imgtool.disk.probe import probe
from imgtool.errors import MachineLacks, OutOfResources, UnsafeImage
from imgtool.process import CommandFailed
from tests.disk.formats.images import disk, overwrite
from tests.disk.formats.images import qemu_img as run_qemu_img
from tests.test_process import gone

NEW_HELP = """\
Usage: qemu-img convert [-f SRC_FMT | --image-opts] [-T SRC_CACHE]
        [-c] [-W] [-m NUM_PARALLEL] FILENAME... OUT
Copy one or more images to another.
  -c, --compress
     create compressed output image (qcow and qcow2 formats only)
  -p, --progress
"""


def test_the_flags_that_are_used_are_known_here() -> None:
    assert all(takes("convert", flag) for flag in ("-c", "-p", "-W", "-m", "-f", "-O", "-o"))
    assert not takes("convert", "-Z")
    assert not takes("check", "-W")


def test_flags_are_also_found_in_the_help_of_newer_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_img, "_help", lambda *words: NEW_HELP)
    assert takes("convert", "-W")
    assert takes("convert", "-p")
    assert not takes("convert", "-S")


def test_creation_options_are_those_of_the_installed_version() -> None:
    assert {"subformat", "force_size"} <= creation_options("vpc")
    assert "compat" in creation_options("qcow2")
    assert "subformat" not in creation_options("raw")


def test_a_version_that_lacks_an_option_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu_img, "creation_options", lambda driver: frozenset({"subformat"}))
    source = probe(disk(tmp_path / "disk.raw"))
    with pytest.raises(MachineLacks, match="force_size"):
        convert(source, tmp_path / "out", "vpc", {"subformat": "fixed", "force_size": "on"})
    assert not (tmp_path / "out").exists()


def test_progress_is_told_in_bytes_of_the_disk_and_never_goes_back(tmp_path: Path) -> None:
    source = probe(disk(tmp_path / "disk.raw", size=96 * 1024**2))
    told: list[int] = []
    convert(source, tmp_path / "out", "qcow2", {}, compress=True, at=told.append)
    assert told[-1] == 96 * 1024**2
    assert told == sorted(told)


def test_what_the_caller_raises_ends_the_child_and_is_raised(tmp_path: Path) -> None:
    ids = tmp_path / "ids"

    def stop(parts: Sequence[float]) -> None:
        if ids.exists() and ids.read_text().endswith("\n"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together([("sh", "-c", f"echo $$ > {ids}; exec sleep 600")], beat=stop)
    assert gone(int(ids.read_text()))


def test_the_first_failure_ends_the_others(tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    waits = ("sh", "-c", f"echo $$ > {ids}; exec sleep 600")
    fails = ("sh", "-c", f"while ! test -s {ids}; do sleep 0.01; done; echo broken >&2; exit 9")
    with pytest.raises(CommandFailed, match="broken") as failed:
        together([waits, fails], parallel=2)
    assert failed.value.code == 9
    assert gone(int(ids.read_text()))


def test_commands_run_side_by_side_but_never_more_than_asked_for(tmp_path: Path) -> None:
    script = f"mkdir {tmp_path}/$$; ls {tmp_path} | wc -l; sleep 0.2; rmdir {tmp_path}/$$"
    counts = [int(said) for said in together([("sh", "-c", script)] * 6, parallel=2)]
    assert len(counts) == 6
    assert max(counts) <= 2


def test_what_a_child_writes_without_end_is_not_kept() -> None:
    (said,) = together([("sh", "-c", "head -c 20000000 /dev/zero; echo end")])
    assert len(said) <= 64 * 1024
    assert said.endswith(b"end\n")


@pytest.mark.parametrize("said", ["No space left on device", "Disk quota exceeded", "File too large"])
def test_full_storage_is_told_from_other_failures(said: str) -> None:
    with pytest.raises(NoRoom, match=said):
        together([("sh", "-c", f"echo 'qemu-img: error while writing: {said}' >&2; exit 1")])


def test_a_child_killed_at_the_limit_of_file_sizes_is_full_storage() -> None:
    with pytest.raises(NoRoom, match="SIGXFSZ"):
        together([("sh", "-c", "kill -XFSZ $$")])


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("kill -KILL $$", "memory"),
        ("echo 'qemu: qemu_thread_create: Resource temporarily unavailable' >&2; kill -ABRT $$", "threads"),
        ("echo 'failed to allocate memory for stack: Cannot allocate memory' >&2; kill -ABRT $$", "memory"),
    ],
)
def test_a_child_that_gets_no_more_memory_or_threads_is_the_machines_lack(script: str, what: str) -> None:
    with pytest.raises(OutOfResources, match=what) as lacking:
        together([("sh", "-c", script)])
    assert lacking.value.exit_code == 4


def test_another_signal_that_ended_a_child_is_named() -> None:
    with pytest.raises(CommandFailed, match="was ended by SIGSEGV"):
        together([("sh", "-c", "kill -SEGV $$")])


def test_many_processors_are_not_all_used_to_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[object] = []
    monkeypatch.setattr(qemu_img.os, "sched_getaffinity", lambda process: range(64))
    monkeypatch.setattr(qemu_img, "together", lambda commands, **given: sides.append(given["parallel"]))
    image = probe(disk(tmp_path / "disk.raw"))
    compare(image, image)
    assert sides == [8]


def test_messages_do_not_show_the_json_that_we_made(tmp_path: Path) -> None:
    source = probe(disk(tmp_path / "disk.raw"))
    (tmp_path / "disk.raw").unlink()
    with pytest.raises(CommandFailed) as failed:
        convert(source, tmp_path / "out", "qcow2", {})
    assert "No such file" in str(failed.value)
    assert "json" not in str(failed.value)


def test_an_image_with_a_hazard_is_never_named_to_qemu(tmp_path: Path) -> None:
    run_qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", tmp_path / "a", "1M")
    with pytest.raises(UnsafeImage):
        convert(probe(tmp_path / "a"), tmp_path / "out", "raw", {})


def test_the_allocated_bytes_are_those_of_the_disk_without_tables(tmp_path: Path) -> None:
    with (tmp_path / "disk.raw").open("wb") as file:
        file.truncate(300 * 1024**3)
        file.seek(200 * 1024**3)
        file.write(b"x" * 1024**2)
    assert measure(probe(tmp_path / "disk.raw")) == 1024**2
    run_qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", tmp_path / "disk.raw", tmp_path / "a")
    assert measure(probe(tmp_path / "a")) == 1024**2


@given(st.integers(1, 2**45), st.integers(1, 64))
def test_windows_cover_the_disk_once(size: int, processes: int) -> None:
    windows = _windows(size, processes)
    end = 0
    for offset, length in windows:
        assert (offset, length > 0) == (end, True)
        end += length
    assert end == size
    assert len(windows) <= 8 * processes


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("place", [0, 511 * 1024**2 + 77, 700 * 1024**2 - 1])
def test_one_different_byte_is_found_wherever_it_is(tmp_path: Path, place: int, processes: int) -> None:
    raw, other = tmp_path / "a.raw", tmp_path / "b.qcow2"
    with raw.open("wb") as file:
        file.truncate(700 * 1024**2)
        file.seek(600 * 1024**2)
        file.write(b"data" * 100_000)
    run_qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", raw, other)
    compare(probe(raw), probe(other), processes=processes)
    overwrite(raw, place, b"!")
    with pytest.raises(Differs, match="mismatch"):
        compare(probe(raw), probe(other), processes=processes)


SLEEPING = """
import sys
from imgtool.convert.qemu_img import together
together([("sh", "-c", "echo $$ > " + sys.argv[1] + "; exec sleep 600")])
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_the_child_ends_when_we_are_killed(tmp_path: Path, sign: signal.Signals) -> None:
    ids = tmp_path / "ids"
    with subprocess.Popen([sys.executable, "-c", SLEEPING, str(ids)], cwd=os.getcwd()) as us:
        until = time.monotonic() + 20
        while not (ids.exists() and ids.read_text().endswith("\n")) and time.monotonic() < until:
            time.sleep(0.01)
        us.send_signal(sign)
    assert gone(int(ids.read_text()))
