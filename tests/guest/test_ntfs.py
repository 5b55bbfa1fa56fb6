from __future__ import annotations

import contextlib
import random
import struct
from pathlib import Path

import pyfsntfs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.blocks import BlockFile
from imgtool.errors import CannotRead
from imgtool.guest import ntfs_index
from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.ntfs import Ntfs
from tests.guest.made_filesystems import Memory, find, make_ntfs, read_everything, run, used_sectors

HIVE = random.Random(4).randbytes(200_001)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("ntfs")
    config = folder / "root/Windows/System32/config"
    config.mkdir(parents=True)
    (config / "SOFTWARE").write_bytes(HIVE)
    (config / "中文.txt").write_text("x")
    (folder / "root/Windows/link").symlink_to("System32/config")
    for number in range(300):
        (folder / f"root/Windows/file{number}.txt").write_text(str(number))
    return make_ntfs(folder / "root", folder / "v.img").read_bytes()


def test_files_are_found_in_any_case(image: bytes) -> None:
    filesystem = Ntfs(Memory(image))
    assert filesystem.label == "System"
    node = find(filesystem, "/windows/SYSTEM32/Config/software")
    assert filesystem.read(node, 0, 1 << 20) == HIVE
    assert filesystem.read(node, 1000, 70_000) == HIVE[1000:71_000]
    assert filesystem.stat(node).size == len(HIVE)
    folder = find(filesystem, "/Windows")
    assert {f"file{number}.txt" for number in range(300)} < set(filesystem.names(folder))
    assert filesystem.lookup(folder, "absent") is None


def test_a_symbolic_link_reads_with_slashes(image: bytes) -> None:
    filesystem = Ntfs(Memory(image))
    node = find(filesystem, "/Windows/link")
    assert filesystem.stat(node).kind == "symlink"
    assert filesystem.readlink(node) == "System32/config"


def test_a_junction_reads_as_a_link_and_one_to_another_volume_is_named(image: bytes, tmp_path: Path) -> None:
    (tmp_path / "root/Users").mkdir(parents=True)
    (tmp_path / "root/Users/a.txt").write_text("here")
    (tmp_path / "root/Documents and Settings").symlink_to("X" * 60)
    made = make_ntfs(tmp_path / "root", tmp_path / "v.img").read_bytes()
    for target, expected in (
        ("C:\\Users", "/Users"),
        ("Volume{0f1e2d3c-0000-0000-0000-100000000000}\\", None),
    ):
        filesystem = Ntfs(Memory(with_junction(made, target)))
        node = find(filesystem, "/Documents and Settings")
        assert filesystem.stat(node).kind == "symlink"
        if expected:
            assert filesystem.readlink(node) == expected
        else:
            with pytest.raises(GuestReadFailed, match="another volume"):
                filesystem.readlink(node)


def with_junction(volume: bytes, target: str) -> bytes:
    """The volume with its symbolic link to XX... made a junction (MS-FSCC 2.1.2.4 and 2.1.2.5)."""
    at = volume.index("XXXX".encode("utf-16-le")) - 20
    tag, length = struct.unpack_from("<IH", volume, at)
    assert tag == 0xA000000C
    substitute, shown = f"\\??\\{target}".encode("utf-16-le"), target.encode("utf-16-le")
    names = struct.pack("<HHHH", 0, len(substitute), len(substitute) + 2, len(shown))
    data = names + substitute + b"\0\0" + shown + b"\0\0"
    junction = (struct.pack("<IHH", 0xA0000003, len(data), 0) + data).ljust(8 + length, b"\0")
    record = at - at % 1024
    data = bytearray(fixed(volume[record : record + 1024]))
    data[at - record : at - record + len(junction)] = junction
    return volume[:record] + sealed(data) + volume[record + 1024 :]


def fixed(record: bytes) -> bytes:
    """A record with the last words of its sectors in their places."""
    data, (at,) = bytearray(record), struct.unpack_from("<H", record, 4)
    for number in range(1, len(record) // 512 + 1):
        data[number * 512 - 2 : number * 512] = record[at + 2 * number : at + 2 * number + 2]
    return bytes(data)


def sealed(record: bytes) -> bytes:
    """A record as it is stored: the last word of each sector is the record's own mark."""
    data, (at,) = bytearray(record), struct.unpack_from("<H", record, 4)
    for number in range(1, len(record) // 512 + 1):
        data[at + 2 * number : at + 2 * number + 2] = record[number * 512 - 2 : number * 512]
        data[number * 512 - 2 : number * 512] = record[at : at + 2]
    return bytes(data)


def test_a_named_stream_is_read_apart_from_the_file(image: bytes, tmp_path: Path) -> None:
    path = tmp_path / "v.img"
    path.write_bytes(image)
    (tmp_path / "mark").write_bytes(b"[ZoneTransfer]\r\nZoneId=3\r\n")
    run("ntfscp", "-f", "-q", "-N", "Zone.Identifier", path, tmp_path / "mark", "Windows/file7.txt")
    filesystem = Ntfs(Memory(path.read_bytes()))
    marked, plain = find(filesystem, "/Windows/file7.txt"), find(filesystem, "/Windows/file8.txt")
    assert filesystem.stream(marked, "Zone.Identifier", 100) == b"[ZoneTransfer]\r\nZoneId=3\r\n"
    assert filesystem.read(marked, 0, 100) == b"7"
    assert filesystem.stream(plain, "Zone.Identifier", 100) is None


def test_a_volume_without_its_mft_is_damage(image: bytes) -> None:
    volume = Memory(image)
    at = int.from_bytes(volume.data[48:56], "little") * 4096
    volume.data[at : at + 4096] = bytes(4096)
    with pytest.raises(GuestReadFailed, match="NTFS volume"):
        Ntfs(volume)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), count=st.sampled_from([1, 3, 10, 60]))
def test_whatever_bytes_are_changed_only_a_typed_error_comes(image: bytes, seed: int, count: int) -> None:
    chosen = random.Random(seed)
    volume = Memory(image)
    sectors = used_sectors(Memory(image[: 1 << 20]))
    for _ in range(count):
        volume.data[chosen.choice(sectors) + chosen.randrange(512)] = chosen.choice(
            [0, 255, chosen.randrange(256)]
        )
    with contextlib.suppress(CannotRead):
        read_everything(Ntfs(volume), most=200)


def record_of(volume: bytes, name: str) -> int:
    """Where the record of a file begins, by its long name."""
    at = volume.index(b"FILE0", volume.index(b"FILE0"))
    wanted = name.encode("utf-16-le")
    while wanted not in volume[at : at + 1024]:
        at += 1024
    return at


@pytest.mark.parametrize(
    ("at", "changed"), [(0, bytes(1024)), (0, b"BAAD"), (22, b"\0\0"), (16, b"\x77\x77"), (510, b"\x12\x34")]
)
def test_a_name_whose_record_is_damaged_unused_or_anothers_is_damage_and_not_absent(
    image: bytes, at: int, changed: bytes
) -> None:
    volume = Memory(image)
    place = record_of(image, "file42.txt") + at
    volume.data[place : place + len(changed)] = changed
    filesystem = Ntfs(volume)
    folder = find(filesystem, "/Windows")
    with pytest.raises(GuestReadFailed, match="MFT record"):
        filesystem.lookup(folder, "file42.txt")
    assert filesystem.lookup(folder, "file43.txt") is not None
    assert filesystem.lookup(folder, "absent") is None


def index_blocks(volume: bytes) -> list[int]:
    return [at for at in range(0, len(volume), 4096) if volume[at : at + 4] == b"INDX"]


def test_a_directory_that_lost_a_block_of_its_index_is_damage(image: bytes) -> None:
    for at in index_blocks(image)[-3:]:
        for changed, place in ((bytes(4096), at), (b"\x12\x34", at + 1022)):
            volume = Memory(image)
            volume.data[place : place + len(changed)] = changed
            filesystem = Ntfs(volume)
            folder = find(filesystem, "/Windows")
            with pytest.raises(GuestReadFailed, match="directory"):
                filesystem.names(folder)
            lost = 0
            for number in range(300):
                try:
                    assert filesystem.lookup(folder, f"FILE{number}.txt") is not None
                except GuestReadFailed:
                    lost += 1
            assert 0 < lost < 300


def test_an_index_that_leads_round_in_a_circle_is_damage(image: bytes) -> None:
    volume = bytearray(image)
    (at,) = [it for it in index_blocks(image) if volume[it + 36]]  # the one node that has nodes below
    block = bytearray(fixed(bytes(volume[at : at + 4096])))
    own, (entry,) = block[16:24], struct.unpack_from("<I", block, 24)
    length = int.from_bytes(block[24 + entry + 8 : 24 + entry + 10], "little")
    block[24 + entry + length - 8 : 24 + entry + length] = own
    volume[at : at + 4096] = sealed(block)
    filesystem = Ntfs(Memory(bytes(volume)))
    with pytest.raises(GuestReadFailed, match="circle"):
        filesystem.names(find(filesystem, "/Windows"))
    with pytest.raises(GuestReadFailed, match="circle"):
        filesystem.lookup(find(filesystem, "/Windows"), "a")


def test_a_short_name_leads_to_its_file_and_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "root/PROGRA~1/Common Files").mkdir(parents=True)
    volume = bytearray(make_ntfs(tmp_path / "root", tmp_path / "v.img").read_bytes())
    name = "PROGRA~1".encode("utf-16-le")
    at = volume.find(name)
    while at >= 0:
        volume[at - 1] = 2  # the name space of MS-DOS
        at = volume.find(name, at + 1)
    filesystem = Ntfs(Memory(bytes(volume)))
    assert find(filesystem, "/progra~1/common files")
    assert filesystem.names(filesystem.root) == []


def names_by_libfsntfs(volume: bytes, path: str) -> set[str]:
    opened = pyfsntfs.volume()
    opened.open_file_object(BlockFile(Memory(volume)))
    return {it.name for it in opened.get_file_entry_by_path(path).sub_file_entries}


def test_a_name_is_found_by_the_order_of_the_index_as_by_reading_it_whole(tmp_path: Path) -> None:
    folder = tmp_path / "root/folder"
    folder.mkdir(parents=True)
    chosen = random.Random(9)
    names = {
        "".join(chosen.choices("aBc~_-.[{0Zäıſß中 ", k=chosen.randrange(1, 14))) + "x" for _ in range(500)
    }
    folded = {it.upper(): it for it in names}
    for name in folded.values():
        (folder / name).write_text("")
    volume = make_ntfs(tmp_path / "root", tmp_path / "v.img").read_bytes()
    listed, asked = Ntfs(Memory(volume)), Ntfs(Memory(volume))
    node = find(asked, "/folder")
    assert len(listed.names(node)) == len(folded)
    for name in folded.values():
        found = asked.lookup(node, name.upper() if name.isascii() else name)
        assert found is not None, name
        assert found == listed.lookup(node, name)
        assert asked._table.find(node, "ABSENT" + name.upper()) is None


def test_libfsntfs_finds_the_same_names(image: bytes) -> None:
    filesystem = Ntfs(Memory(image))
    for path in ("\\Windows", "\\Windows\\System32", "\\Windows\\System32\\config"):
        own = filesystem.names(find(filesystem, path.replace("\\", "/")))
        assert set(own) == names_by_libfsntfs(image, path)


def attributes(record: bytes) -> dict[int, bytes]:
    """The attributes of a record by type."""
    found, (at,) = {}, struct.unpack_from("<H", record, 20)
    while (type_ := int.from_bytes(record[at : at + 4], "little")) != 0xFFFFFFFF:
        length = int.from_bytes(record[at + 4 : at + 8], "little")
        found[type_] = record[at : at + length]
        at += length
    return found


def with_attribute_list(volume: bytes, directory: int) -> bytes:
    """The index of a directory moved into a record of its own, as NTFS does when the first one is full."""
    mft = int.from_bytes(volume[48:56], "little") * 4096
    place = mft + directory * 1024
    record = fixed(volume[place : place + 1024])
    own = attributes(record)
    other = next(it for it in range(24, 500) if not volume[mft + it * 1024 + 22] & 1)
    sequence = int.from_bytes(record[16:18], "little")
    rows = b""
    for type_ in sorted(own):
        moved = type_ in (0xA0, 0xB0)
        name = own[type_][int.from_bytes(own[type_][10:12], "little") :][: 2 * own[type_][9]]
        reference = other | 9 << 48 if moved else directory | sequence << 48
        length = -(-(26 + len(name)) // 8) * 8
        head = struct.pack("<IHBBQQH", type_, length, len(name) // 2, 26, 0, reference, own[type_][14])
        rows += (head + name).ljust(length, b"\0")
    listed = struct.pack("<IIBBHHHIHH", 0x20, 24 + len(rows), 0, 0, 24, 0, 99, len(rows), 24, 0) + rows
    parts = [own[0x10], listed, *(own[it] for it in sorted(own) if 0x10 < it < 0xA0)]
    first, second = bytearray(_record(record, parts)), bytearray(_record(record, [own[0xA0], own[0xB0]]))
    struct.pack_into("<HHHH", second, 16, 9, 0, 56, 1)
    struct.pack_into("<Q", second, 32, directory | sequence << 48)
    changed = bytearray(volume)
    changed[place : place + 1024] = sealed(first)
    changed[mft + other * 1024 : mft + other * 1024 + 1024] = sealed(second)
    return bytes(changed)


def _record(like: bytes, parts: list[bytes]) -> bytes:
    """A record with the header of another one."""
    whole = like[:56] + b"".join(parts) + b"\xff\xff\xff\xff" + bytes(4)
    assert len(whole) < 1000
    return (whole[:20] + struct.pack("<HHI", 56, 3, len(whole)) + whole[28:]).ljust(1024, b"\0")


def test_a_directory_whose_index_lies_in_another_record_is_read_whole(image: bytes) -> None:
    node = find(Ntfs(Memory(image)), "/Windows")
    moved = with_attribute_list(image, node)
    own = Ntfs(Memory(moved)).names(node)
    assert own == Ntfs(Memory(image)).names(node)
    assert set(own) == names_by_libfsntfs(moved, "\\Windows")


def with_long_list(volume: bytes, directory: int, rows: int) -> bytes:
    """A directory whose list of attributes, as long as one may be, names one attribute of another record over
    and over."""
    mft = int.from_bytes(volume[48:56], "little") * 4096
    record = fixed(volume[mft + directory * 1024 : mft + directory * 1024 + 1024])
    own, sequence = attributes(record), int.from_bytes(record[16:18], "little")
    other = next(it for it in range(24, 500) if not volume[mft + it * 1024 + 22] & 1)
    listed = b""
    for type_ in sorted(own):
        name = own[type_][int.from_bytes(own[type_][10:12], "little") :][: 2 * own[type_][9]]
        length = -(-(26 + len(name)) // 8) * 8
        reference = directory | sequence << 48
        head = struct.pack("<IHBBQQH", type_, length, len(name) // 2, 26, 0, reference, own[type_][14])
        listed += (head + name).ljust(length, b"\0")
    listed += struct.pack("<IHBBQQH", 0xA0, 26, 0, 26, 0, other | 9 << 48, 0) * rows
    clusters, place = -(-len(listed) // 4096), len(volume) // 4096 - 300
    runs = struct.pack("<BHI", 0x42, clusters, place) + b"\0"
    sizes = struct.pack("<QQQ", clusters * 4096, len(listed), len(listed))
    head = struct.pack("<IIBBHHHQQHHI", 0x20, 72, 1, 0, 64, 0, 99, 0, clusters - 1, 64, 0, 0) + sizes
    changed = bytearray(volume)
    changed[place * 4096 : place * 4096 + len(listed)] = listed
    parts = [own[0x10], (head + runs).ljust(72, b"\0"), *(own[it] for it in sorted(own) if it > 0x10)]
    changed[mft + directory * 1024 : mft + directory * 1024 + 1024] = sealed(_record(record, parts))
    many = [struct.pack("<IIBBHHHIHHQ", 0xA0, 32, 0, 0, 24, 0, it, 8, 24, 0, it) for it in range(28)]
    second = bytearray(_record(record, many))
    struct.pack_into("<HHHH", second, 16, 9, 0, 56, 1)
    changed[mft + other * 1024 : mft + other * 1024 + 1024] = sealed(bytes(second))
    return bytes(changed)


def test_a_list_of_attributes_is_read_once_and_paid_for_by_its_rows(
    image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = find(Ntfs(Memory(image)), "/Windows")
    volume = Memory(with_long_list(image, node, 40_000))
    monkeypatch.setattr(ntfs_index, "MOST_LOOKED_AT", 60_000)
    filesystem = Ntfs(volume)
    for number in range(100):
        assert filesystem.lookup(node, f"file{number}.txt") is not None
    monkeypatch.setattr(ntfs_index, "MOST_LOOKED_AT", 30_000)
    with pytest.raises(GuestReadFailed, match="looked at"):
        Ntfs(volume).lookup(node, "file7.txt")
