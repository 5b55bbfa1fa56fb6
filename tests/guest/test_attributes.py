"""Extended attributes, written by the filesystems' own tools and read by ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from imgtool.disk.blocks import RawBlocks
from imgtool.guest.ext import Ext
from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.xfs import Xfs
from tests.disk.made import MIB, sparse
from tests.guest.made_filesystems import find, make_ext, make_xfs

LABEL = b"system_u:object_r:shadow_t:s0\0"
SELINUX = "security.selinux"
MANY = {f"user.name{number}": b"x" * 200 for number in range(12)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attributes") / "files"
    folder.mkdir()
    for name in ("plain", "labelled", "crowded"):
        (folder / name).write_text(name)
    return folder


def debugfs(image: Path, attributes: dict[str, dict[str, bytes]]) -> None:
    commands = []
    for path, values in attributes.items():
        for name, value in values.items():
            file = image.parent / f"{path}-{name}"
            file.write_bytes(value)
            commands.append(f"ea_set -f {file} /{path} {name}")
    script = image.parent / "script"
    script.write_text("\n".join(commands) + "\n")
    subprocess.run(["debugfs", "-w", "-f", script, image], check=True, capture_output=True)


def xfs_db(image: Path, attributes: dict[str, dict[str, bytes]]) -> None:
    """Sets values of the same lengths; what they are, xfs_db decides: the letter v."""
    commands = []
    for path, values in attributes.items():
        commands += ["-c", f"path /{path}"]
        for name, value in values.items():
            space, _, bare = name.partition(".")
            flag = {"security": "-s", "user": "-u"}[space]
            commands += ["-c", f"attr_set {flag} -v {len(value)} {bare}"]
    subprocess.run(["xfs_db", "-x", *commands, image], check=True, capture_output=True)


ALL = {"labelled": {SELINUX: LABEL}, "crowded": {**MANY, SELINUX: LABEL}}


@pytest.mark.parametrize(
    "options", [("-t", "ext4"), ("-t", "ext4", "-O", "metadata_csum,64bit"), ("-t", "ext3", "-I", "128")]
)
def test_a_label_on_ext_is_read_from_the_inode_or_its_block(
    folder: Path, tmp_path: Path, options: list[str]
) -> None:
    image = make_ext(folder, tmp_path / "image", "-b", "4096", *options)
    debugfs(image, ALL)
    ext = Ext(RawBlocks(image))
    assert ext.attribute(find(ext, "/labelled"), SELINUX) == LABEL
    assert ext.attribute(find(ext, "/crowded"), SELINUX) == LABEL
    assert ext.attribute(find(ext, "/crowded"), "user.name7") == MANY["user.name7"]
    assert ext.attribute(find(ext, "/plain"), SELINUX) is None
    assert ext.attribute(find(ext, "/labelled"), "trusted.selinux") is None


def test_a_label_on_xfs_is_read_from_the_inode_or_its_leaf(folder: Path, tmp_path: Path) -> None:
    image = make_xfs(folder, tmp_path / "image")
    xfs_db(image, ALL)
    xfs = Xfs(RawBlocks(image))
    assert xfs.attribute(find(xfs, "/labelled"), SELINUX) == b"v" * len(LABEL)
    assert xfs.attribute(find(xfs, "/crowded"), SELINUX) == b"v" * len(LABEL)
    assert xfs.attribute(find(xfs, "/crowded"), "user.name7") == b"v" * 200
    assert xfs.attribute(find(xfs, "/plain"), SELINUX) is None
    assert xfs.attribute(find(xfs, "/labelled"), "user.selinux") is None


def test_a_label_on_the_old_xfs_is_read(folder: Path, tmp_path: Path) -> None:
    image = make_xfs(folder, tmp_path / "image", "-m", "crc=0")
    xfs_db(image, {"labelled": {SELINUX: LABEL}})
    xfs = Xfs(RawBlocks(image))
    assert xfs.attribute(find(xfs, "/labelled"), SELINUX) == b"v" * len(LABEL)
    assert xfs.attribute(find(xfs, "/plain"), SELINUX) is None


def test_a_label_on_btrfs_is_read_from_the_file_that_has_it(tmp_path: Path) -> None:
    pytest.importorskip("dissect.btrfs")
    from imgtool.guest.btrfs import Btrfs

    (files := tmp_path / "files").mkdir()
    for name in ("plain", "labelled"):
        (files / name).write_text(name)
    values = {"user.selinux": LABEL, "user.other": b"x" * 2000, "user.empty": b""}
    try:
        for name, value in values.items():
            os.setxattr(files / "labelled", name, value)
    except OSError as error:
        pytest.skip(f"the folder's filesystem has no user attributes: {error}")
    image = sparse(tmp_path / "image", 256 * MIB)
    subprocess.run(["mkfs.btrfs", "-q", "-r", files, image], check=True)
    btrfs = Btrfs(RawBlocks(image))
    for name, value in values.items():
        assert btrfs.attribute(find(btrfs, "/labelled"), name) == value
        assert btrfs.attribute(find(btrfs, "/plain"), name) is None
    assert btrfs.attribute(find(btrfs, "/labelled"), SELINUX) is None


@pytest.mark.parametrize("make", ["ext", "xfs"])
def test_damaged_attributes_are_an_answer_or_a_typed_error(folder: Path, tmp_path: Path, make: str) -> None:
    """Every byte of the crowded file's attributes, one at a time, set to what hurts most."""
    image = (
        make_ext(folder, tmp_path / "image", "-b", "4096")
        if make == "ext"
        else make_xfs(folder, tmp_path / "image")
    )
    (debugfs if make == "ext" else xfs_db)(image, ALL)
    data = image.read_bytes()
    magic = b"\0\0\x02\xea" if make == "ext" else b"\x3b\xee"
    start = data.index(magic)
    damaged_image = tmp_path / "damaged"
    shutil.copyfile(image, damaged_image)
    for offset in range(start - 16, start + 256):
        with damaged_image.open("r+b") as file:
            file.seek(offset)
            file.write(b"\xff\xff\xff")
        filesystem = (Ext if make == "ext" else Xfs)(RawBlocks(damaged_image))
        with contextlib.suppress(GuestReadFailed):
            filesystem.attribute(find(filesystem, "/crowded"), SELINUX)
        with damaged_image.open("r+b") as file:
            file.seek(offset)
            file.write(data[offset : offset + 3])
