"""Archives and compressed files, made by the real tools."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from imgtool.disk.probe import probe

TOOLS = {"gzip": "gzip", "xz": "xz", "bzip2": "bzip2", "zstd": "zstd", "lz4": "lz4"}


def compressed(data: bytes, kind: str) -> bytes:
    if kind == "lz4":
        import lz4.frame

        return bytes(lz4.frame.compress(data))
    return subprocess.run([TOOLS[kind], "-c"], input=data, check=True, capture_output=True).stdout


def tar(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 6
            archive.addfile(member, io.BytesIO(b"<text>"))
    return buffer.getvalue()


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2", "zstd", "lz4"])
def test_a_compressed_image_is_named_by_its_compression(tmp_path: Path, kind: str) -> None:
    file = probe(written(tmp_path, compressed(bytes(100_000), kind)))
    assert (file.format, file.variant, file.qemu_format) == (kind, None, None)


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2", "zstd"])
def test_a_compressed_tar_is_known_as_one(tmp_path: Path, kind: str) -> None:
    file = probe(written(tmp_path, compressed(tar("disk.vmdk"), kind)))
    assert (file.format, file.variant) == (kind, "tar")


def test_a_tar_is_named_with_its_first_file(tmp_path: Path) -> None:
    file = probe(written(tmp_path, tar("disk.raw", "readme")))
    assert (file.format, file.features) == ("tar", ("first=disk.raw",))


def test_a_tar_that_begins_with_an_ovf_is_an_ova(tmp_path: Path) -> None:
    assert probe(written(tmp_path, tar("machine.ovf", "machine-disk1.vmdk"))).format == "ova"


def test_a_zip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("disk.raw", bytes(1000))
    assert probe(path).format == "zip"


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"7z\xbc\xaf\x27\x1c\0\4", "7z"), (b"Rar!\x1a\x07\x01\0", "rar"), (b"PK\5\6", "zip")],
)
def test_others_are_known_by_their_magic(tmp_path: Path, data: bytes, name: str) -> None:
    assert probe(written(tmp_path, data.ljust(1024, b"\0"))).format == name


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x1f\x8b\x08\xff", id="gzip with reserved flags"),
        pytest.param(b"BZh9\0\0\0\0\0\0", id="bzip2 without a block"),
        pytest.param(b"\x28\xb5\x2f\xfd\x08", id="zstd with the reserved bit"),
        pytest.param(b"\xfd7zXZ\0\xff", id="xz with unknown flags"),
        pytest.param(b"PK\3\4\xff\xff", id="zip of an impossible version"),
    ],
)
def test_a_magic_alone_is_not_believed(tmp_path: Path, data: bytes) -> None:
    assert probe(written(tmp_path, data.ljust(1024, b"\0"))).format == "raw"


def test_a_tar_with_a_wrong_checksum_is_none(tmp_path: Path) -> None:
    data = bytearray(tar("disk.raw"))
    data[0] ^= 1
    assert probe(written(tmp_path, bytes(data))).format == "raw"


def test_a_decompression_bomb_is_only_sipped_at(tmp_path: Path) -> None:
    import tracemalloc

    path = written(tmp_path, compressed(bytes(200 * 1024**2), "gzip"))
    tracemalloc.start()
    try:
        assert probe(path).format == "gzip"
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024**2
    finally:
        tracemalloc.stop()
