"""LVM groups that LVM itself made: their volumes byte for byte, and what is missing."""

from __future__ import annotations

import lzma
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.blocks import BlockFile, Blocks
from imgtool.disk.lvm import BadMetadata, Group, LogicalVolume, crc, parse, read_groups
from imgtool.text import Text
from tests.disk.made import MIB
from tests.disk.test_blocks import Memory

DATA = Path(__file__).parent / "data"
EXTENT = 4 * MIB


def extent(pv: int, number: int) -> bytes:
    """The recognisable content of an extent: every KiB says where it is."""
    return b"".join(f"pv{pv} extent {number} KiB {kib}".encode().ljust(1024, b".") for kib in range(4096))


def physical(name: str, extents: int = 15) -> Memory:
    """A physical volume with LVM's own metadata and marked extents."""
    head = lzma.decompress((DATA / f"{name}.xz").read_bytes())
    number = int(name[-1])
    return Memory(head + b"".join(extent(number, at) for at in range(extents)))


@pytest.fixture(scope="module")
def mixed() -> list[Blocks]:
    return [physical("lvm-mixed-pv0"), physical("lvm-mixed-pv1")]


def volume(group: Group, name: str) -> LogicalVolume:
    return next(volume for volume in group.volumes if volume.name == name)


def content(group: Group, name: str) -> bytes:
    blocks = volume(group, name).content
    assert not isinstance(blocks, Text), blocks
    return blocks.read(0, blocks.size)


def test_a_whole_group_has_its_volumes_and_nothing_missing(mixed: list[Blocks]) -> None:
    (group,) = read_groups(mixed)
    assert (group.name, group.missing) == ("debian-vg", ())
    assert [(volume.name, volume.size) for volume in group.volumes] == [
        ("root", 7 * EXTENT),
        ("other", 2 * EXTENT),
        ("str-ipe", 4 * EXTENT),
        ("mirror", EXTENT),
        ("thin", EXTENT),
    ]


def test_a_linear_volume_is_its_segments_in_order(mixed: list[Blocks]) -> None:
    (group,) = read_groups(mixed)
    assert content(group, "root") == b"".join(extent(0, at) for at in (0, 1, 2, 3, 4, 7, 8))
    assert content(group, "other") == extent(0, 5) + extent(0, 6)


def test_a_striped_volume_takes_turns(mixed: list[Blocks]) -> None:
    (group,) = read_groups(mixed)
    one, two = extent(0, 9) + extent(0, 10), extent(1, 0) + extent(1, 1)
    stripe = 64 * 1024
    turns = range(0, len(one), stripe)
    assert content(group, "str-ipe") == b"".join(
        one[at : at + stripe] + two[at : at + stripe] for at in turns
    )


def test_a_mirror_is_read_from_the_leg_that_is_there(mixed: list[Blocks]) -> None:
    (group,) = read_groups(mixed)
    assert content(group, "mirror") == extent(0, 13)
    (group,) = read_groups(mixed[1:])
    assert content(group, "mirror") == extent(1, 11)


def test_a_thin_volume_says_why_it_cannot_be_read(mixed: list[Blocks]) -> None:
    (group,) = read_groups(mixed)
    thin = volume(group, "thin")
    assert isinstance(thin.content, Text)
    assert "type thin" in thin.content.en


def test_with_a_disk_missing_the_group_names_it_and_reads_what_lies_elsewhere(mixed: list[Blocks]) -> None:
    (group,) = read_groups(mixed[:1])
    assert len(group.missing) == 1
    assert group.missing[0].startswith("pv1 (/dev/loop")
    assert content(group, "root").startswith(extent(0, 0))
    striped = volume(group, "str-ipe").content
    assert isinstance(striped, Text)
    assert "does not hold, pv1" in striped.en


def test_two_groups_on_one_disk_are_two(mixed: list[Blocks]) -> None:
    plain: list[Blocks] = [physical("lvm-plain-pv0"), physical("lvm-plain-pv1")]
    assert [group.name for group in read_groups([*mixed, *plain])] == ["debian-vg", "plain"]


def test_a_volume_may_go_on_on_another_disk() -> None:
    (group,) = read_groups([physical("lvm-plain-pv0"), physical("lvm-plain-pv1")])
    parts = [extent(0, 0), extent(0, 1), extent(1, 0), extent(1, 1), extent(1, 2)]
    assert content(group, "one") == b"".join(parts)
    assert content(group, "two") == extent(0, 2)


def test_linear_volumes_are_what_libvslvm_reads() -> None:
    """libvslvm opens groups of one physical volume and volumes of one segment, and reads them as we do."""
    pyvslvm = pytest.importorskip("pyvslvm")
    member = physical("lvm-single-pv0")
    handle: Any = pyvslvm.handle()
    file = BlockFile(member)
    handle.open_file_object(file)
    handle.open_physical_volume_files_as_file_objects([file])
    theirs = {volume.name: volume for volume in handle.get_volume_group().logical_volumes}
    (group,) = read_groups([member])
    assert [volume.name for volume in group.volumes] == list(theirs) == ["one", "two"]
    for name, other in theirs.items():
        assert content(group, name) == other.read_buffer_at_offset(other.size, 0)


AREA = 4096


def relocated(blocks: Memory, where: int) -> Memory:
    """The same physical volume with its metadata text at another place of the ring, so that it wraps."""
    disk = bytearray(blocks.data)
    (size,) = struct.unpack_from("<Q", disk, AREA + 32)
    offset, length = struct.unpack_from("<QQ", disk, AREA + 40)
    text = bytes(disk[AREA + offset : AREA + offset + length])
    first = min(length, size - where)
    disk[AREA + where : AREA + where + first] = text[:first]
    disk[AREA + 512 : AREA + 512 + length - first] = text[first:]
    struct.pack_into("<Q", disk, AREA + 40, where)
    struct.pack_into("<I", disk, AREA, crc(bytes(disk[AREA + 4 : AREA + 512])))
    return Memory(bytes(disk))


def test_metadata_may_wrap_around_their_ring() -> None:
    one = physical("lvm-plain-pv0", 3)
    (size,) = struct.unpack_from("<Q", one.data, AREA + 32)
    (group,) = read_groups([relocated(one, size - 700)])
    assert [volume.name for volume in group.volumes] == ["one", "two"]


def test_metadata_with_a_wrong_checksum_are_not_believed() -> None:
    one = physical("lvm-plain-pv0", 1)
    (offset,) = struct.unpack_from("<Q", one.data, AREA + 40)
    disk = bytearray(one.data)
    disk[AREA + offset + 20] ^= 1
    assert read_groups([Memory(bytes(disk))]) == []


def test_the_newest_metadata_of_a_group_count() -> None:
    one, two = physical("lvm-plain-pv0", 1), physical("lvm-plain-pv1", 1)
    disk = bytearray(one.data)
    offset, length = struct.unpack_from("<QQ", disk, AREA + 40)
    text = bytes(disk[AREA + offset : AREA + offset + length])
    older = text.replace(b"seqno = 4", b"seqno = 3").replace(b"\ntwo {", b"\nold {")
    assert older.count(b"old {") == 1
    disk[AREA + offset : AREA + offset + length] = older
    struct.pack_into("<I", disk, AREA + 56, crc(older))
    struct.pack_into("<I", disk, AREA, crc(bytes(disk[AREA + 4 : AREA + 512])))
    for members in ([Memory(bytes(disk)), two], [two, Memory(bytes(disk))]):
        (group,) = read_groups(list(members))
        assert [volume.name for volume in group.volumes] == ["one", "two"]


def test_lvms_syntax_is_parsed() -> None:
    text = """# Generated
    group {
        id = "a\\"b" # comment
        flags = []
        stripes = [
            "pv0", 12,
            "pv1", -3
        ]
        inner { size = 5 }
    }
    version = 1
    """
    assert parse(text) == {
        "group": {"id": 'a"b', "flags": [], "stripes": ["pv0", 12, "pv1", -3], "inner": {"size": 5}},
        "version": 1,
    }


@pytest.mark.parametrize("text", ["a {", "}", "a = [1", "a", "a = {", "a { " * 50, "a = 1" + "0" * 99, "= ="])
def test_what_is_not_lvms_syntax_is_refused(text: str) -> None:
    with pytest.raises(BadMetadata):
        parse(text)


NUMBERS = ["0", "1", "12", "-1", "4294967296", "9223372036854775807", '"pv9"', "[]", '["x", "y"]', "{}"]


@settings(max_examples=150)
@given(st.data())
def test_metadata_that_make_no_sense_are_never_an_error(mixed_text: str, data: st.DataObject) -> None:
    """Any value of LVM's own text replaced by another."""
    rows = mixed_text.split("\n")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(rows) - 1))
        if "=" in rows[at]:
            rows[at] = rows[at].split("=")[0] + "= " + data.draw(st.sampled_from(NUMBERS))
        elif data.draw(st.booleans()):
            del rows[at]
    text = "\n".join(rows).encode()
    disk = bytearray(lzma.decompress((DATA / "lvm-mixed-pv0.xz").read_bytes()))
    disk[AREA + 512 : AREA + 512 + len(text)] = text
    struct.pack_into("<QQI", disk, AREA + 40, 512, len(text), crc(text))
    struct.pack_into("<I", disk, AREA, crc(bytes(disk[AREA + 4 : AREA + 512])))
    for group in read_groups([Memory(bytes(disk))]):
        for found in group.volumes:
            assert 0 <= found.size <= 1 << 62


@pytest.fixture(scope="module")
def mixed_text() -> str:
    disk = lzma.decompress((DATA / "lvm-mixed-pv0.xz").read_bytes())
    offset, length = struct.unpack_from("<QQ", disk, AREA + 40)
    return disk[AREA + offset : AREA + offset + length].decode().rstrip("\0")


def made_up(text: str) -> Memory:
    """A physical volume of LVM's own with a text of ours."""
    disk = bytearray(lzma.decompress((DATA / "lvm-mixed-pv0.xz").read_bytes()))
    data = text.encode()
    disk[AREA + 512 : AREA + 512 + len(data)] = data
    struct.pack_into("<QQI", disk, AREA + 40, 512, len(data), crc(data))
    struct.pack_into("<I", disk, AREA, crc(bytes(disk[AREA + 4 : AREA + 512])))
    return Memory(bytes(disk))


def test_volumes_made_of_each_other_are_followed_once() -> None:
    """Twenty mirrors whose hundred legs are all of the twenty would be 100**20 ways to nowhere."""
    names = [f"m{number}" for number in range(20)]
    legs = ", ".join(f'"x", "{names[leg % 20]}"' for leg in range(100))
    segment = f'start_extent = 0\nextent_count = 1\ntype = "raid1"\nraids = [{legs}]'
    volumes = "\n".join(f'{name} {{\nstatus = ["VISIBLE"]\nsegment1 {{\n{segment}\n}}\n}}' for name in names)
    head = 'g {\nid = "i"\nseqno = 1\nextent_size = 8\nphysical_volumes {\n}\n'
    (group,) = read_groups([made_up(f"{head}logical_volumes {{\n{volumes}\n}}\n}}\n")])
    assert len(group.volumes) == 20
    assert all(isinstance(volume.content, Text) for volume in group.volumes)


def test_volumes_of_all_groups_are_bounded() -> None:
    volumes = "\n".join(f'v{number} {{\nstatus = ["VISIBLE"]\n}}' for number in range(5000))
    head = 'g {\nid = "i"\nseqno = 1\nextent_size = 8\nphysical_volumes {\n}\n'
    text = f"{head}logical_volumes {{\n{volumes}\n}}\n}}\n"
    groups = read_groups([made_up(text), made_up(text.replace('"i"', '"j"'))])
    assert [len(group.volumes) for group in groups] == [1024, 0]


def test_a_text_that_many_members_have_is_read_once() -> None:
    """A hostile partition table may list one member 255 times."""
    member = made_up('g {\nid = "i"\nseqno = 1\nextent_size = 8\nphysical_volumes {\n}\n}\n' + "#" * 500_000)
    assert [group.name for group in read_groups([member] * 255)] == ["g"]
    assert sum(length for _, length in member.reads) < 2 * MIB


def test_texts_that_differ_are_read_up_to_a_bound() -> None:
    head = 'g {{\nid = "{}"\nseqno = 1\nextent_size = 8\nphysical_volumes {{\n}}\n}}\n'
    members = [made_up(head.format(number) + "#" * 500_000) for number in range(20)]
    assert len(read_groups(list(members))) == 8
    assert sum(length for member in members for _, length in member.reads) < 5 * MIB


@settings(max_examples=100)
@given(st.data())
def test_damaged_heads_are_never_an_error(data: st.DataObject) -> None:
    disk = bytearray(lzma.decompress((DATA / "lvm-plain-pv0.xz").read_bytes()))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from([0, 512, AREA])) + data.draw(st.integers(0, 120))
        disk[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        struct.pack_into("<I", disk, AREA, crc(bytes(disk[AREA + 4 : AREA + 512])))
    under = Memory(bytes(disk[: data.draw(st.sampled_from([len(disk), 10_000, 4096, 700]))]))
    read_groups([under])
    assert sum(length for _, length in under.reads) < 10 * MIB
