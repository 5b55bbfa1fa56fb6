"""The one image in an archive, and archives that mean harm."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.convert import archives, unpacking
from imgtool.convert.archives import free_bytes, unpack
from imgtool.convert.output import NoRoom
from imgtool.convert.unpacking import Bomb, Damaged, unpacked_stream
from imgtool.disk.probe import probe
from imgtool.errors import CannotRead

LIMIT = 64 * 1024**2
DISK = random.Random(1).randbytes(300_000) + bytes(700_000) + b"end" * 1000
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


def tar_of(members: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zip_of(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def saved(folder: Path, data: bytes) -> Path:
    path = folder / "archive"
    path.write_bytes(data)
    return path


def unpacked(path: Path, limit: int = LIMIT) -> tuple[str, bytes]:
    out = path.with_name("out")
    found = unpack(probe(path), out, limit)
    return found.name, out.read_bytes()


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_compressed_image_comes_out_as_it_went_in(tmp_path: Path, kind: str) -> None:
    assert unpacked(saved(tmp_path, COMPRESS[kind](DISK))) == ("", DISK)


@pytest.mark.parametrize("kind", COMPRESS)
def test_concatenated_streams_are_one_file(tmp_path: Path, kind: str) -> None:
    parts = b"".join(COMPRESS[kind](DISK[start : start + 400_000]) for start in range(0, len(DISK), 400_000))
    assert unpacked(saved(tmp_path, parts)) == ("", DISK)


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_zeros_behind_the_last_stream_are_padding(tmp_path: Path, kind: str) -> None:
    assert unpacked(saved(tmp_path, COMPRESS[kind](DISK) + bytes(1024))) == ("", DISK)


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("left", [0.3, 0.9, 0.999])
def test_an_archive_cut_short_is_an_error_and_not_a_shorter_disk(
    tmp_path: Path, kind: str, left: float
) -> None:
    data = COMPRESS[kind](DISK)
    with pytest.raises(CannotRead, match="can't be unpacked"):
        unpacked(saved(tmp_path, data[: int(len(data) * left)]))


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_a_flipped_bit_is_found_by_the_checksum(tmp_path: Path, kind: str) -> None:
    data = bytearray(COMPRESS[kind](DISK))
    data[len(data) // 2] ^= 4
    with pytest.raises(CannotRead, match="can't be unpacked"):
        unpacked(saved(tmp_path, bytes(data)))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("kind", [None, *COMPRESS])
def test_the_image_comes_out_of_a_tar_with_its_companions(
    tmp_path: Path, form: int, kind: str | None
) -> None:
    data = tar_of({"a/README.txt": b"read me", "a/disk.raw": DISK, "a/disk.raw.sha256": b"0" * 64}, form)
    path = saved(tmp_path, COMPRESS[kind](data) if kind else data)
    assert unpacked(path) == ("a/disk.raw", DISK)


def test_a_sparse_member_of_gnu_tar_keeps_its_holes(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.write(b"begin" * 1000)
        file.truncate(40 * 1024**2)
        file.seek(30 * 1024**2)
        file.write(DISK)
    subprocess.run(["tar", "-C", tmp_path, "-Scf", tmp_path / "sparse.tar", "disk.img"], check=True)
    unpack(probe(tmp_path / "sparse.tar"), tmp_path / "out", LIMIT)
    assert (tmp_path / "out").read_bytes() == disk.read_bytes()
    assert (tmp_path / "out").stat().st_blocks * 512 < 2 * 1024**2


@pytest.mark.parametrize("make", ["tar", "zip"])
def test_what_macos_packs_beside_a_file_is_no_second_image(tmp_path: Path, make: str) -> None:
    double = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100)
    members = {"a/._disk.vmdk": double, "a/disk.vmdk": DISK, "__MACOSX/a/._disk.vmdk": double}
    path = zip_of(tmp_path / "a.zip", members) if make == "zip" else saved(tmp_path, tar_of(members))
    assert unpack(probe(path), tmp_path / "out", LIMIT).name == "a/disk.vmdk"
    assert (tmp_path / "out").read_bytes() == DISK


def test_an_ova_gives_its_one_disk(tmp_path: Path) -> None:
    data = tar_of({"vm.ovf": b"<Envelope/>", "vm.mf": b"SHA1", "vm-disk1.vmdk": b"KDMV" + DISK})
    path = saved(tmp_path, data)
    assert probe(path).format == "ova"
    assert unpacked(path) == ("vm-disk1.vmdk", b"KDMV" + DISK)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_the_image_comes_out_of_a_zip(tmp_path: Path, method: int) -> None:
    path = zip_of(tmp_path / "archive", {"notes.txt": b"hello", "disk.img": DISK}, method)
    assert unpacked(path) == ("disk.img", DISK)


def test_an_image_is_known_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "archive", {"export": b"QFI\xfb" + DISK, "log": b"done"})
    assert unpacked(path)[0] == "export"


@pytest.mark.parametrize("make", ["tar", "zip"])
def test_several_images_are_refused_and_named(tmp_path: Path, make: str) -> None:
    members = {"system.vmdk": b"KDMV" + DISK, "data.vmdk": b"KDMV" + DISK, "vm.txt": b"notes"}
    path = saved(tmp_path, tar_of(members)) if make == "tar" else zip_of(tmp_path / "archive", members)
    with pytest.raises(CannotRead, match=r"2 images.*system\.vmdk, data\.vmdk"):
        unpacked(path)


@pytest.mark.parametrize("make", ["tar", "zip"])
def test_an_archive_without_an_image_is_refused_and_its_content_named(tmp_path: Path, make: str) -> None:
    members = {"holiday.jpg": b"\xff\xd8" + bytes(600), "notes.txt": b"notes"}
    path = saved(tmp_path, tar_of(members)) if make == "tar" else zip_of(tmp_path / "archive", members)
    with pytest.raises(CannotRead, match=r"no disk image.*holiday\.jpg"):
        unpacked(path)


def test_names_that_climb_out_go_nowhere(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = saved(inside, tar_of({"../../escaped.img": DISK}))
    assert unpacked(path)[1] == DISK
    assert sorted(os.listdir(tmp_path)) == ["inside"]
    assert sorted(os.listdir(inside)) == ["archive", "out"]


def test_links_in_a_tar_are_no_images(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        link = tarfile.TarInfo("disk.img")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        tar.addfile(link)
    with pytest.raises(CannotRead, match="no disk image"):
        unpacked(saved(tmp_path, file.getvalue()))


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_bomb_ends_at_the_limit_and_takes_no_space(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, COMPRESS[kind](bytes(32 * 1024**2)))
    with pytest.raises(Bomb, match="largest disk"):
        unpack(probe(path), tmp_path / "out", 8 * 1024**2)
    assert (tmp_path / "out").stat().st_blocks * 512 <= 1024**2


def test_a_zip_bomb_ends_at_the_limit(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "archive", {"disk.img": bytes(32 * 1024**2)})
    with pytest.raises(Bomb):
        unpack(probe(path), tmp_path / "out", 8 * 1024**2)


@pytest.mark.parametrize("type_", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_header_that_claims_gigabytes_is_not_kept_in_memory(tmp_path: Path, type_: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = type_, 2 * 1024**3
    with gzip.open(tmp_path / "archive", "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(8):
            file.write(bytes(1024**2))
    with pytest.raises(CannotRead, match="header"):
        unpacked(tmp_path / "archive")


def test_a_tar_of_endless_sparse_headers_ends(tmp_path: Path) -> None:
    info = tarfile.TarInfo("disk.img")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 1024
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # more sparse headers follow
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    more = b"00000000001\0" * 42 + b"\1" + bytes(7)
    path = saved(tmp_path, bytes(header) + more * 10_000)
    with pytest.raises(CannotRead, match="header"):
        unpacked(path)


def test_a_zip_whose_directory_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "archive", {"disk.img": DISK})
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\5\6")
    data[at + 12 : at + 16] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(CannotRead, match="directory"):
        unpacked(path)


def test_an_encrypted_zip_says_so(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(DISK)
    command = ["zip", "-q", "-P", "secret", "-j", tmp_path / "archive.zip", tmp_path / "disk.img"]
    subprocess.run(command, check=True)
    with pytest.raises(CannotRead, match="encrypted"):
        unpacked(tmp_path / "archive.zip")


def test_a_zip_with_a_wrong_checksum_is_damaged(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "archive", {"disk.img": DISK}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(CannotRead, match="CRC"):
        unpacked(path)


def test_storage_that_does_not_tell_its_size_is_not_full() -> None:
    """As ramfs, and some file systems in user space, say of every number 0."""
    assert os.statvfs("/proc").f_blocks == 0
    assert free_bytes(Path("/proc")) > 1 << 60


def test_unpacking_stops_before_the_storage_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "free_bytes", lambda folder: 1024**2)
    with pytest.raises(NoRoom, match="1 MiB"):
        unpacked(saved(tmp_path, gzip.compress(DISK)))


def zip_file(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("packed", "total"),
    [
        (gzip.compress(DISK), len(DISK)),
        (lzma.compress(DISK), len(DISK)),
        (zstandard.ZstdCompressor().compress(DISK), len(DISK)),
        (gzip.compress(tar_of({"disk.raw": DISK})), len(DISK)),
        (tar_of({"notes.txt": b"none", "disk.raw": DISK}), len(DISK)),
        (zip_file({"disk.raw": DISK}), len(DISK)),
        (bz2.compress(DISK), None),
    ],
    ids=["gzip", "xz", "zstd", "tar.gz", "tar", "zip", "bzip2"],
)
def test_full_storage_is_told_with_what_the_archive_takes(
    packed: bytes, total: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "free_bytes", lambda folder: 1024**2)
    with pytest.raises(NoRoom) as refused:
        unpacked(saved(tmp_path, packed))
    for said in (refused.value.statement().en, refused.value.statement().zh):
        assert (f"({total} bytes)" in said) == (total is not None)


def test_xz_that_wants_a_gigabyte_of_memory_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    with pytest.raises(CannotRead, match=r"[Mm]emory"):
        unpacked(saved(tmp_path, lzma.compress(DISK, filters=filters)))


def test_zstd_that_wants_two_gigabytes_of_window_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=31, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path = saved(tmp_path, compressor.compress(DISK) + compressor.flush())
    with pytest.raises(CannotRead, match="can't be unpacked"):
        unpacked(path)


def test_more_members_than_anyone_ships_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 5)
    with pytest.raises(CannotRead, match="more than 5"):
        unpacked(saved(tmp_path, tar_of({f"{number}.txt": b"" for number in range(9)})))


@pytest.mark.parametrize("kind", COMPRESS)
@given(st.lists(st.binary(max_size=3000) | st.integers(1, 200_000).map(bytes), max_size=4))
@settings(max_examples=15)
def test_streams_give_what_was_compressed(kind: str, parts: list[bytes]) -> None:
    data = b"".join(COMPRESS[kind](part) for part in parts)
    stream = unpacked_stream(kind, io.BytesIO(data), LIMIT)
    assert stream.read() == b"".join(parts)


@pytest.mark.parametrize("kind", COMPRESS)
@given(st.data())
@settings(max_examples=25)
def test_damaged_streams_give_typed_errors_only(kind: str, data: st.DataObject) -> None:
    content = bytearray(COMPRESS[kind](DISK[:20_000]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    stream = unpacked_stream(kind, io.BytesIO(bytes(content)), LIMIT)
    with suppress(Damaged, Bomb):
        stream.read()


@given(st.data())
@settings(max_examples=60)
def test_damaged_tars_and_zips_give_typed_errors_only(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    if data.draw(st.booleans()):
        content = bytearray(tar_of({"a.txt": b"x" * 700, "disk.img": DISK[:5000]}, tarfile.PAX_FORMAT))
    else:
        content = bytearray(zip_of(folder / "made", {"a.txt": b"x", "disk.img": DISK[:500]}).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = saved(folder, bytes(content))
    file = probe(path)
    if file.format in archives.ARCHIVES:
        with suppress(CannotRead):
            unpack(file, folder / "out", LIMIT)


def test_the_densest_zstd_gives_bounded_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """An RLE block of 128 KiB takes four bytes; what one step gives must stay in memory."""
    dense = zstandard.ZstdCompressor(level=1).compress(bytes(256 * 1024**2))
    largest = 0
    real = unpacking._Zstd.decompress

    def measured(self: unpacking._Zstd, data: bytes, max_length: int = -1) -> bytes:
        nonlocal largest
        produced = real(self, data, max_length)
        largest = max(largest, len(produced))
        return produced

    monkeypatch.setattr(unpacking._Zstd, "decompress", measured)
    stream = unpacked_stream("zstd", io.BytesIO(dense), 1024**3)
    total = 0
    while piece := stream.read(1024**2):
        total += len(piece)
    assert total == 256 * 1024**2
    assert largest <= 48 * 1024**2
