"""What a path is, before it is known to be an image."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgtool.disk.probe import ImageFile, probe
from imgtool.errors import CannotRead
from tests.disk.formats.images import convert, create, disk, qemu_virtual_size

NOBODY = 65534


def refused(path: Path | str) -> str:
    """Why the path can't be read; it is said in Chinese, too."""
    with pytest.raises(CannotRead) as failure:
        probe(Path(path))
    assert failure.value.exit_code == 3
    statement = failure.value.statement()
    assert statement.zh != statement.en
    return statement.en


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Not root: root may read everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "missing.qcow2")


def test_standard_input_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Save it to a file" in refused("-")


def test_a_file_as_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "not a directory" in refused(tmp_path / "file" / "image.qcow2")


def test_a_directory(tmp_path: Path) -> None:
    assert "is a directory" in refused(tmp_path)


def test_a_fifo_without_a_writer_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "FIFO" in refused(tmp_path / "fifo")


def test_a_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert "socket" in refused(tmp_path / "s")


def test_a_character_device() -> None:
    assert "device" in refused("/dev/zero")


def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    path.touch(mode=0o000)
    with ordinary_user():
        assert "may not read" in refused(path)


def test_a_symbolic_link_that_leads_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "leads back to itself" in refused(tmp_path / "loop")


def test_a_symbolic_link_to_nothing_names_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("gone.qcow2")
    assert "gone.qcow2, which does not exist" in refused(tmp_path / "link")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert "too long" in refused(tmp_path / ("a" * 300))


def test_a_name_with_a_nul() -> None:
    assert "NUL" in refused("image\0.qcow2")


def test_a_name_is_shown_without_control_characters(tmp_path: Path) -> None:
    said = refused(tmp_path / "\x1b[2Jevil\n.qcow2")
    assert said.isprintable()


def test_an_image_behind_a_symbolic_link_is_read(tmp_path: Path) -> None:
    create(tmp_path / "image.qcow2", "qcow2", "1G")
    (tmp_path / "link").symlink_to("image.qcow2")
    assert probe(tmp_path / "link").format == "qcow2"


def test_the_name_plays_no_part(tmp_path: Path) -> None:
    assert probe(create(tmp_path / "image.vmdk", "qcow2", "1G")).format == "qcow2"
    assert probe(create(tmp_path / "image.qcow2", "vmdk", "1G")).format == "vmdk"


@pytest.mark.parametrize(("content", "size"), [(b"", 0), (b"\0", 512), (b"\1" * 513, 1024)])
def test_a_raw_file_has_whole_sectors_as_qemu_sees_it(tmp_path: Path, content: bytes, size: int) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(content)
    file = probe(path)
    assert (file.format, file.virtual_size, file.file_size) == ("raw", size, len(content))
    assert qemu_virtual_size(path, "raw") == size


def test_random_bytes_are_raw(tmp_path: Path) -> None:
    path = tmp_path / "random"
    path.write_bytes(random.Random(7).randbytes(200_000))
    assert probe(path).format == "raw"


def test_a_sparse_file_takes_less_than_its_size(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert (probe(path).file_size, probe(path).allocated) == (1 << 40, 0)


@pytest.mark.parametrize("size", ["512", "1M", "1234567", "10000384", "2G", "3000000000"])
@pytest.mark.parametrize(
    ("qemu_format", "options"),
    [
        ("raw", ""),
        ("qcow2", ""),
        ("qcow2", "compat=0.10,cluster_size=512"),
        ("vmdk", ""),
        ("vmdk", "subformat=streamOptimized"),
        ("vmdk", "subformat=monolithicFlat"),
        ("vmdk", "subformat=twoGbMaxExtentSparse"),
        ("vpc", ""),
        ("vpc", "force_size=on"),
        ("vpc", "subformat=fixed"),
    ],
)
def test_the_virtual_size_is_what_qemu_img_says(
    tmp_path: Path, qemu_format: str, options: str, size: str
) -> None:
    path = create(tmp_path / "image.bin", qemu_format, size, options)
    file = probe(path)
    assert file.virtual_size == qemu_virtual_size(path, qemu_format)
    assert (file.qemu_format, file.damage) == (qemu_format, ())


def test_one_disk_has_one_size_in_every_format(tmp_path: Path) -> None:
    source = disk(tmp_path / "disk.raw")
    files: list[ImageFile] = [probe(source)]
    for number, (qemu_format, options, *flags) in enumerate(
        [
            ("qcow2", ""),
            ("qcow2", "", "-c"),
            ("vpc", "force_size=on"),
            ("vpc", "subformat=fixed,force_size=on"),
            ("vmdk", ""),
            ("vmdk", "subformat=streamOptimized"),
        ]
    ):
        files.append(probe(convert(source, tmp_path / f"{number}", qemu_format, options, *flags)))
    assert {file.virtual_size for file in files} == {source.stat().st_size}
    assert not any(file.damage or file.hazards for file in files)
