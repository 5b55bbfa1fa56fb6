"""Signatures: on what the real mkfs made, the same answers as blkid's."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.blocks import RawBlocks
from imgtool.disk.signatures import HEAD, Signature, identify
from tests.disk.made import MIB, sparse, tool, write
from tests.disk.test_blocks import Memory

UUID = "6b2f3a4c-1111-4222-8333-0123456789ab"


def blkid(path: Path) -> dict[str, str]:
    """What `blkid -p` says: TYPE, UUID, LABEL, without those that are empty."""
    said = tool("blkid", "-p", "-o", "export", path).decode("utf-8", "replace")
    pairs = dict(line.partition("=")[::2] for line in said.splitlines())
    return {name: pairs[name].replace("\\", "") for name in ("TYPE", "UUID", "LABEL") if pairs.get(name)}


def ours(path: Path) -> Signature:
    with RawBlocks(path) as blocks:
        return identify(blocks)


def named(found: Signature) -> dict[str, str]:
    said = {"TYPE": found.type, "UUID": found.uuid, "LABEL": found.label}
    return {name: value for name, value in said.items() if value}


QUICK = ("--pbkdf-force-iterations", "1000")  # else it measures this machine for seconds
MADE = {
    "ext2": (8, ["mkfs.ext2", "-q", "-L", "two words"]),
    "ext3": (16, ["mkfs.ext3", "-q", "-L", "three"]),
    "ext4": (16, ["mkfs.ext4", "-q", "-L", "root"]),
    "ext4 without label": (16, ["mkfs.ext4", "-q"]),
    "ext4 without journal": (16, ["mkfs.ext4", "-q", "-O", "^has_journal"]),
    "ext4 with 1 KiB blocks": (16, ["mkfs.ext4", "-q", "-b", "1024"]),
    "ext4 64bit": (16, ["mkfs.ext4", "-q", "-O", "64bit,metadata_csum"]),
    "journal": (16, ["mkfs.ext4", "-q", "-O", "journal_dev"]),
    "xfs": (300, ["mkfs.xfs", "-q", "-L", "data"]),
    "xfs 4": (300, ["mkfs.xfs", "-q", "-m", "crc=0"]),
    "btrfs": (128, ["mkfs.btrfs", "-q", "-L", "bee tree"]),
    "fat12": (4, ["mkfs.vfat", "-F", "12", "-n", "TWELVE"]),
    "fat16": (32, ["mkfs.vfat", "-F", "16", "-n", "SIXTEEN"]),
    "fat32": (64, ["mkfs.vfat", "-F", "32", "-n", "EFI SYSTEM"]),
    "fat32 without label": (64, ["mkfs.vfat", "-F", "32"]),
    "fat with 4 KiB sectors": (64, ["mkfs.vfat", "-S", "4096"]),
    "exfat": (16, ["mkfs.exfat", "-L", "ex fat"]),
    "ntfs": (16, ["mkfs.ntfs", "-Q", "-F", "-q", "-L", "System Reserved"]),
    "ntfs with big clusters": (64, ["mkfs.ntfs", "-Q", "-F", "-q", "-c", "65536", "-L", "Daten"]),
    "swap": (4, ["mkswap", "-L", "swap space"]),
    "swap of a 64 KiB page": (4, ["mkswap", "-p", "65536"]),
    "f2fs": (64, ["mkfs.f2fs", "-q", "-l", "flash"]),
    "luks1": (8, ["cryptsetup", "luksFormat", "-q", "--type", "luks1", *QUICK]),
    "luks2": (
        32,
        [
            "cryptsetup",
            "luksFormat",
            "-q",
            "--label",
            "secret",
            "--type",
            "luks2",
            "--pbkdf",
            "pbkdf2",
            *QUICK,
        ],
    ),
}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("volumes")
    made = {}
    for name, (size, command) in MADE.items():
        made[name] = sparse(folder / name.replace(" ", "-"), size * MIB)
        tool(*command, made[name], given=b"passphrase" if "cryptsetup" in command else b"")
    iso, content = folder / "iso", folder / "content"
    content.mkdir()
    (content / "file").write_text("hello")
    tool("xorriso", "-as", "mkisofs", "-quiet", "-V", "CONFIG-2", "-o", iso, content)
    made["iso9660"] = iso
    return made


@pytest.mark.parametrize("name", [*MADE, "iso9660"])
def test_type_uuid_and_label_are_blkids(name: str, volumes: dict[str, Path]) -> None:
    assert named(ours(volumes[name])) == blkid(volumes[name])


def raid(version: str, size: int, level: int, disks: int) -> bytes:
    """A volume with an md superblock, laid out as linux/raid/md_p.h says; blkid is the judge of it."""
    disk = bytearray(size)
    sectors = size // 512
    if version == "0.90":
        at = ((sectors & ~127) - 128) * 512
        head = struct.pack("<10I", 0xA92B4EFC, 0, 90, 0, 0, 0x11223344, 0, level & 0xFFFFFFFF, 0, 0)
        disk[at : at + 40] = head
        disk[at + 40 : at + 64] = struct.pack("<6I", disks, 2, 0, 0x55667788, 0x99AABBCC, 0xDDEEFF00)
        return bytes(disk)
    where = {"1.0": (sectors - 16 & ~7) * 512, "1.1": 0, "1.2": 4096}[version]
    head = struct.pack("<IIII16s32s", 0xA92B4EFC, 1, 0, 0, bytes(range(16)), b"host:root")
    head = head.ljust(72, b"\0") + struct.pack("<i", level)
    head = head.ljust(92, b"\0") + struct.pack("<I", disks)
    start = 0 if version == "1.0" else 2048
    head = head.ljust(128, b"\0") + struct.pack("<QQQ", start, sectors - 4096, where // 512)
    head = bytearray(head.ljust(256, b"\0"))
    head[168:184] = bytes(range(16, 32))
    total = sum(struct.unpack("<64I", bytes(head)))
    head[216:220] = struct.pack("<I", (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF)
    disk[where : where + 256] = head
    return bytes(disk)


@pytest.mark.parametrize("version", ["0.90", "1.0", "1.1", "1.2"])
def test_an_md_member_is_one_in_every_version(version: str, tmp_path: Path) -> None:
    path = tmp_path / "member"
    path.write_bytes(raid(version, 8 * MIB + 4096, 1, 2))
    found = ours(path)
    assert named(found) == blkid(path)
    details = {name: found.details[name] for name in ("version", "level", "disks")}
    assert details == {"version": version, "level": 1, "disks": 2}


def test_a_label_may_be_in_any_script(tmp_path: Path) -> None:
    for command in (["mkfs.ntfs", "-Q", "-F", "-q"], ["mkfs.ext4", "-q"], ["mkfs.exfat"]):
        path = sparse(tmp_path / command[0], 16 * MIB)
        tool(*command, "-L", "数据 ü", path)
        assert ours(path).label == "数据 ü"


def test_a_superblock_of_md_that_says_it_lies_elsewhere_is_a_leftover() -> None:
    data = raid("1.1", 4 * MIB, 1, 2)
    assert identify(Memory(bytes(4096) + data[:4096] + bytes(MIB))).type == ""


def test_bitlocker_is_told_from_ntfs_and_fat() -> None:
    plain = b"\xeb\x58\x90-FVE-FS-".ljust(510, b"\0") + b"\x55\xaa"
    to_go = bytearray(b"\xeb\x58\x90MSWIN4.1".ljust(510, b"\0") + b"\x55\xaa")
    to_go[424:440] = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
    assert identify(Memory(plain + bytes(MIB))).type == "BitLocker"
    assert identify(Memory(bytes(to_go) + bytes(MIB))).type == "BitLocker"


def test_the_state_of_an_ext4_is_its_superblocks(volumes: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "ext4"
    path.write_bytes(volumes["ext4"].read_bytes())
    rows = [row.partition(":") for row in tool("dumpe2fs", "-h", path).decode().splitlines()]
    said = {name.strip(): value.strip() for name, _, value in rows}
    details = ours(path).details
    assert details["state"] == "clean" == said["Filesystem state"]
    for ours_, theirs in {
        "total_blocks": "Block count",
        "free_blocks": "Free blocks",
        "total_inodes": "Inode count",
        "free_inodes": "Free inodes",
        "block_size": "Block size",
    }.items():
        assert details[ours_] == int(said[theirs])
    assert set(details["incompat"]) <= set(said["Filesystem features"].replace("extents", "extent").split())
    assert not details["needs_recovery"]
    assert not details["external_journal"]
    tool("debugfs", "-w", "-R", "set_super_value state 2", path)
    tool("debugfs", "-w", "-R", "feature needs_recovery", path)
    details = ours(path).details
    assert (details["state"], details["needs_recovery"]) == ("errors", True)


def test_an_external_journal_is_seen(tmp_path: Path) -> None:
    journal, path = sparse(tmp_path / "journal", 16 * MIB), sparse(tmp_path / "ext4", 16 * MIB)
    tool("mkfs.ext4", "-q", "-O", "^has_journal", path)
    assert not ours(path).details["external_journal"]
    tool("debugfs", "-w", "-R", "feature has_journal", path)
    assert ours(path).details["external_journal"]
    tool(
        "mkfs.xfs",
        "-q",
        "-l",
        f"logdev={sparse(journal, 80 * MIB)},size=64m",
        sparse(tmp_path / "xfs", 300 * MIB),
    )
    assert ours(tmp_path / "xfs").details["external_journal"]


def test_the_state_of_an_xfs_is_its_superblocks(volumes: dict[str, Path]) -> None:
    for name, version in (("xfs", 5), ("xfs 4", 4)):
        said = tool("xfs_db", "-r", "-c", "sb 0", "-c", "p", volumes[name]).decode()
        numbers = dict(row.split(" = ") for row in said.splitlines())
        details = ours(volumes[name]).details
        assert details["version"] == version
        for ours_, theirs in {
            "total_blocks": "dblocks",
            "free_blocks": "fdblocks",
            "free_inodes": "ifree",
            "agcount": "agcount",
            "block_size": "blocksize",
        }.items():
            assert details[ours_] == int(numbers[theirs])
        assert not details["external_journal"]


@pytest.mark.parametrize("name", ["fat16", "fat32", "ntfs", "exfat"])
def test_a_volume_just_made_is_not_dirty(name: str, volumes: dict[str, Path]) -> None:
    assert ours(volumes[name]).details["dirty"] is False


@pytest.mark.parametrize(("name", "offset"), [("fat16", 0x25), ("fat32", 0x41), ("exfat", 106)])
def test_the_mark_of_a_mounted_volume_is_dirty(
    name: str, offset: int, volumes: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(volumes[name].read_bytes())
    write(path, offset, b"\2" if name == "exfat" else b"\1")
    assert ours(path).details == {"dirty": True}


def test_windows_mark_in_the_fat_is_dirty(volumes: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "fat32"
    path.write_bytes(volumes["fat32"].read_bytes())
    table = int.from_bytes(path.read_bytes()[14:16], "little") * 512
    write(path, table + 7, b"\x07")
    assert ours(path).details == {"dirty": True}


def test_a_swap_that_holds_a_hibernated_system_is_named(volumes: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "swap"
    path.write_bytes(volumes["swap"].read_bytes())
    write(path, 4096 - 10, b"S1SUSPEND\0")
    found = ours(path)
    assert found.type == blkid(path)["TYPE"] == "swsuspend"
    assert found.details["hibernated"]


def test_btrfs_counts_its_devices(tmp_path: Path) -> None:
    one, two = sparse(tmp_path / "one", 128 * MIB), sparse(tmp_path / "two", 128 * MIB)
    tool("mkfs.btrfs", "-q", "-d", "raid1", "-m", "raid1", one, two)
    assert ours(one).details["devices"] == 2
    assert ours(one).uuid == ours(two).uuid
    assert ours(one).details["device_uuid"] != ours(two).details["device_uuid"]


def test_empty_and_tiny_volumes_hold_nothing_known(tmp_path: Path) -> None:
    assert ours(sparse(tmp_path / "empty", MIB)) == Signature()
    assert identify(Memory(b"")) == Signature()
    assert identify(Memory(bytes(511))) == Signature()


def test_few_reads_tell_what_a_volume_is(volumes: dict[str, Path]) -> None:
    for name in ("ext4", "xfs", "swap"):
        under = Memory(volumes[name].read_bytes()[: 20 * MIB])
        identify(under)
        assert len(under.reads) <= 2
        assert under.reads[0] == (0, HEAD)


@settings(max_examples=300)
@given(st.data())
def test_any_damage_gives_some_signature_never_an_error(
    volumes: dict[str, Path], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(volumes)))
    with volumes[name].open("rb") as file:
        disk = bytearray(file.read(HEAD + 4096))
    start = data.draw(st.sampled_from([0, 1024, 4096, 16384, 32768, 65536]))
    for _ in range(data.draw(st.integers(1, 5))):
        at = start + data.draw(st.integers(0, 511))
        disk[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.sampled_from([len(disk), HEAD, 5000, 2048, 1500, 600]))
    under = Memory(bytes(disk[:end]))
    found = identify(under)
    assert isinstance(found.type, str)
    assert sum(length for _, length in under.reads) < 10 * MIB


@pytest.mark.parametrize("name", ["ext4", "fat32", "ntfs", "xfs"])
def test_a_volume_cut_short_after_its_head_is_still_known(
    name: str, volumes: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "cut"
    path.write_bytes(volumes[name].read_bytes()[: 128 * 1024])
    os.truncate(path, 100 * 1024)
    assert ours(path).type == ours(volumes[name]).type
