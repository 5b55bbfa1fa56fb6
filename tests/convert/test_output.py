"""The output has its name only when it is complete, and what is temporary goes."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from imgtool import locked_folder
from imgtool.convert import output
from imgtool.convert.output import PREFIX, NoRoom, Output, OutputRefused, write_failed
from imgtool.errors import ImgtoolError
from imgtool.locked_folder import sweep


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def overtaken(path: Path) -> None:
    """While we work, someone makes a file of that name."""
    with Output(path) as out:
        out.part.write_bytes(b"ours")
        path.write_bytes(b"theirs")
        out.publish()


def test_the_output_appears_on_publishing_and_the_folder_goes(tmp_path: Path) -> None:
    with Output(tmp_path / "out.raw") as out:
        out.part.write_bytes(b"disk")
        assert not (tmp_path / "out.raw").exists()
        out.publish()
    assert names(tmp_path) == ["out.raw"]
    assert (tmp_path / "out.raw").read_bytes() == b"disk"


def test_nothing_is_left_when_the_work_fails(tmp_path: Path) -> None:
    def interrupted() -> None:
        with Output(tmp_path / "out.raw") as out:
            out.part.write_bytes(b"half")
            (out.folder / "other").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_a_signal_while_the_folder_goes_leaves_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = output.shutil.rmtree

    def cut_short(path: Path, **given: bool) -> None:
        (path / "image").unlink()
        monkeypatch.setattr(output.shutil, "rmtree", real)
        raise KeyboardInterrupt

    def interrupted() -> None:
        with Output(tmp_path / "out.raw") as out:
            out.part.write_bytes(b"half")
            (out.folder / "unpacked-0").write_bytes(b"large")

    monkeypatch.setattr(output.shutil, "rmtree", cut_short)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_an_existing_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out.raw").write_bytes(b"old")
    with pytest.raises(OutputRefused, match="--force"):
        Output(tmp_path / "out.raw")


def test_force_replaces_an_existing_file_only_on_publishing_and_keeps_its_mode(tmp_path: Path) -> None:
    old = tmp_path / "out.raw"
    old.write_bytes(b"old")
    old.chmod(0o640)
    with Output(old, force=True) as out:
        out.part.write_bytes(b"new")
        assert old.read_bytes() == b"old"
        out.publish()
    assert (old.read_bytes(), old.stat().st_mode & 0o777) == (b"new", 0o640)


def test_a_file_that_someone_makes_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="exists"):
        overtaken(tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == b"theirs"
    assert names(tmp_path) == ["out.raw"]


def test_without_hard_links_the_output_is_renamed_and_still_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(output.os, "link", no_links)
    with Output(tmp_path / "out.raw") as out:
        out.part.write_bytes(b"ours")
        out.publish()
    with pytest.raises(OutputRefused, match="exists"):
        overtaken(tmp_path / "two.raw")
    assert (tmp_path / "out.raw").read_bytes() == b"ours"
    assert (tmp_path / "two.raw").read_bytes() == b"theirs"


@pytest.mark.parametrize("kind", ["itself", "symlink", "hard link", "other spelling"])
def test_the_input_is_never_the_output_whatever_it_is_called(tmp_path: Path, kind: str) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(b"disk")
    other = tmp_path / "other.raw"
    if kind == "symlink":
        other.symlink_to(image)
    elif kind == "hard link":
        other.hardlink_to(image)
    else:
        other = image if kind == "itself" else tmp_path / "." / ".." / tmp_path.name / "disk.raw"
    with pytest.raises(OutputRefused, match="input itself"):
        Output(other, force=True, inputs=[image])
    assert image.read_bytes() == b"disk"


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "out.raw"
    link.symlink_to(tmp_path / "real" / "disk.raw")
    with Output(link) as out:
        out.part.write_bytes(b"disk")
        out.publish()
    assert link.is_symlink()
    assert (tmp_path / "real" / "disk.raw").read_bytes() == b"disk"


def test_directories_pipes_and_devices_are_no_outputs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(OutputRefused):
            Output(path, force=True)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="missing does not exist"):
        Output(tmp_path / "missing" / "out.raw")


def test_a_directory_that_may_not_be_written_to_is_refused_before_any_work(tmp_path: Path) -> None:
    folder = tmp_path if os.geteuid() else Path("/proc/self")  # root may write wherever something can be
    tmp_path.chmod(0o500)
    with pytest.raises(OutputRefused, match=r"out\.raw"), Output(folder / "out.raw"):
        pytest.fail("it was entered")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("flags", "why"), [(0, "Permission denied"), (os.ST_RDONLY, "Read-only file system")]
)
def test_storage_that_is_read_only_is_told_from_a_directory_that_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: int, why: str
) -> None:
    monkeypatch.setattr(output.os, "access", lambda *_: False)
    monkeypatch.setattr(output.os, "statvfs", lambda path: SimpleNamespace(f_flag=flags))
    with pytest.raises(OutputRefused, match=why):
        Output(tmp_path / "out.raw")


def test_a_name_with_a_nul_is_refused() -> None:
    with pytest.raises(OutputRefused, match="NUL"):
        Output(Path("a\0b"))


def abandoned(folder: Path, name: str = "0123456789abcdef") -> Path:
    left = folder / f"{PREFIX}{name}"
    left.mkdir()
    (left / "image").write_bytes(b"half")
    return left


def test_what_a_killed_run_left_is_removed_by_the_next_run(tmp_path: Path) -> None:
    left = abandoned(tmp_path)
    with Output(tmp_path / "out.raw"):
        assert not left.exists()


def test_what_a_run_at_work_holds_is_left_alone(tmp_path: Path) -> None:
    with Output(tmp_path / "one.raw") as one:
        one.part.write_bytes(b"at work")
        with Output(tmp_path / "two.raw"):
            assert one.part.read_bytes() == b"at work"
    assert names(tmp_path) == []


def test_only_folders_with_our_name_are_swept(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}mine").mkdir()
    (tmp_path / f"{PREFIX}0123456789abcdee").write_bytes(b"a file")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"kept")
    (tmp_path / f"{PREFIX}0123456789abcded").symlink_to(tmp_path / "precious")
    left = abandoned(tmp_path)
    assert sweep(tmp_path, PREFIX) == [left]
    assert (tmp_path / "precious" / "file").read_bytes() == b"kept"


def test_a_folder_swept_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, first = fcntl.flock, []

    def stolen(descriptor: int, operation: int) -> None:
        if not first:
            first.append(descriptor)
            raise BlockingIOError
        real(descriptor, operation)

    monkeypatch.setattr(locked_folder.fcntl, "flock", stolen)
    with Output(tmp_path / "out.raw") as out:
        out.part.write_bytes(b"disk")
        out.publish()
    assert (tmp_path / "out.raw").read_bytes() == b"disk"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_storage_is_the_machines_lack(number: int) -> None:
    failure = write_failed(Path("out.raw"), OSError(number, os.strerror(number)))
    assert isinstance(failure, NoRoom)
    assert failure.exit_code == 4
    assert write_failed(Path("out.raw"), OSError(errno.EROFS, "")).exit_code == 2


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EROFS, OutputRefused), (errno.EACCES, OutputRefused), (errno.ENOSPC, NoRoom)]
)
def test_storage_that_takes_no_folder_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(output.os, "mkdir", refused)
    with pytest.raises(kind, match=os.strerror(number)), Output(tmp_path / "out.raw"):
        pytest.fail("it was entered")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_what_can_not_be_brought_to_storage_gets_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(output.os, "fsync", failing)

    def work() -> None:
        with Output(tmp_path / "out.raw") as out:
            out.part.write_bytes(b"disk")
            out.publish()

    with pytest.raises(ImgtoolError, match=os.strerror(number)):
        work()
    assert names(tmp_path) == []
