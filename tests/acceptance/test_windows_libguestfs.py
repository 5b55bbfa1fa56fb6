"""libguestfs's inspection of the same Windows disks agrees with ours, and ntfs-3g writes what we read.

One session of the appliance serves all: every release as a drive, and an empty NTFS to write to.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures import cache, images
from fixtures.windows.releases import RELEASES, Release
from imgtool.appliance import Drive, appliance
from imgtool.disk.blocks import RawBlocks
from imgtool.guest.ntfs import Ntfs
from imgtool.guest.tree import Tree
from imgtool.image import Image
from imgtool.profiles import load_profile

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("windows-appliance")]

TEXT = b"".join(b"line %d of a file that packs well\r\n" % number for number in range(20_000))
PARTS = {0: b"begin", 5 << 20: b"middle", (9 << 20) - 3: b"end"}


@dataclass(frozen=True)
class Session:
    """What libguestfs said of each release, and the volume that ntfs-3g wrote."""

    inspected: dict[str, dict[str, Any]]
    volume: Path
    disks: dict[str, Path]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with cache.scratch() as folder:
        disks = {name: images.make(f"windows-{name}", folder) for name in RELEASES}
        volume = folder / "ntfs.raw"
        with volume.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkntfs", "-q", "-F", "-f", volume], check=True, capture_output=True)
        drives = [Drive(path, "raw") for path in disks.values()] + [Drive(volume, "raw", writable=True)]
        with appliance(drives) as guest:
            inspected = _inspect(guest, list(disks))
            _write(guest, f"/dev/sd{'abcdefghij'[len(disks)]}", folder)
        yield Session(inspected, volume, disks)


def _inspect(guest: Any, names: list[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for root in guest.inspect_os():
        name = names["abcdefghij".index(root[len("/dev/sd")])]
        found[name] = {
            "root": root,
            "product": guest.inspect_get_product_name(root),
            "version": (guest.inspect_get_major_version(root), guest.inspect_get_minor_version(root)),
            "architecture": guest.inspect_get_arch(root),
            "control_set": guest.inspect_get_windows_current_control_set(root),
            "hostname": guest.inspect_get_hostname(root),
            "variant": guest.inspect_get_product_variant(root),
        }
    return found


def _write(guest: Any, device: str, folder: Path) -> None:
    """A compressed file, a sparse one, a short name and a junction."""
    (folder / "text").write_bytes(TEXT)
    guest.mount_options("compression", device, "/")
    for path in ("/packed", "/Program Files", "/Users", "/Documents and Settings"):
        guest.mkdir(path)
    guest.upload(str(folder / "text"), "/Users/plain.txt")
    shell = [
        "setfattr -n system.ntfs_attrib_be -v 0x00000810 /sysroot/packed",
        "cp /sysroot/Users/plain.txt /sysroot/packed/text.txt",
        *(
            f"printf {data.decode()} | dd of=/sysroot/holes bs=1 seek={at} conv=notrunc 2>/dev/null"
            for at, data in PARTS.items()
        ),
        "setfattr -n system.ntfs_dos_name -v PROGRA~1 '/sysroot/Program Files'",
        "cp /sysroot/Users/plain.txt '/sysroot/Program Files/inside.txt'",
        f"setfattr -n system.ntfs_reparse_data -v 0x{_junction('C:' + chr(92) + 'Users').hex()}"
        " '/sysroot/Documents and Settings'",
    ]
    for line in shell:
        guest.debug("sh", [line])
    guest.umount_all()


def _junction(target: str) -> bytes:
    """The reparse data of a mount point (MS-FSCC 2.1.2.5)."""
    substitute, shown = f"\\??\\{target}".encode("utf-16-le"), target.encode("utf-16-le")
    names = struct.pack("<HHHH", 0, len(substitute), len(substitute) + 2, len(shown))
    data = names + substitute + b"\0\0" + shown + b"\0\0"
    return struct.pack("<IHH", 0xA0000003, len(data), 0) + data


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> tuple[str, Release]:
    return request.param, RELEASES[request.param]


def test_libguestfs_agrees_on_product_version_architecture_and_control_set(
    release: tuple[str, Release], session: Session
) -> None:
    theirs = session.inspected[release[0]]
    with Image(session.disks[release[0]], load_profile("tce")) as image:
        ours = image.windows.release
        assert theirs["product"] == ours.product
        assert theirs["version"] == tuple(int(part) for part in ours.version.split("."))
        assert theirs["architecture"] == ours.architecture
        assert theirs["control_set"] == image.windows.control_set.path
        assert theirs["variant"] == ours.installation
        assert theirs["root"].endswith(image.windows.root.volume.name.removeprefix("partition "))


@pytest.fixture
def tree(session: Session) -> Iterator[Tree]:
    from imgtool.disk.signatures import identify
    from imgtool.disk.volumes import Volume

    with RawBlocks(session.volume) as blocks:
        volume = Volume("whole disk", "disk", blocks, identify(blocks), None)
        yield Tree(Ntfs(blocks), volume)


def test_a_file_that_ntfs_compressed_reads_whole(tree: Tree, session: Session) -> None:
    listed = subprocess.run(
        ["ntfsinfo", "-F", "/packed/text.txt", session.volume], capture_output=True, text=True, check=True
    ).stdout
    assert "COMPRESSED" in listed
    assert tree.read("/packed/text.txt") == TEXT
    with tree.open("/packed/text.txt") as stream:
        stream.seek(123_456)
        assert stream.read(70_000) == TEXT[123_456:193_456]


def test_the_holes_of_a_sparse_file_read_as_zeros(tree: Tree) -> None:
    data = tree.read("/holes", 16 << 20)
    assert len(data) == 9 << 20
    for at, part in PARTS.items():
        assert data[at : at + len(part)] == part
    assert data.count(0) == len(data) - sum(map(len, PARTS.values()))


def test_a_path_with_a_short_name_leads_to_the_long_one(tree: Tree) -> None:
    assert tree.realpath("/PROGRA~1/inside.txt") == "/PROGRA~1/inside.txt"
    assert tree.read("/progra~1/INSIDE.TXT") == TEXT
    assert "Program Files" in tree.list("/")
    assert not tree.exists("/PROGRA~2")


def test_a_junction_is_followed_as_a_link_on_the_same_drive(tree: Tree) -> None:
    assert tree.lstat("/Documents and Settings").kind == "symlink"
    assert tree.readlink("/Documents and Settings") == "/Users"
    assert tree.read("/Documents and Settings/plain.txt") == TEXT
