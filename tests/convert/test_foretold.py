"""What archives tell of the image in them before they are unpacked."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.convert.foretold import foretell
from imgtool.disk.probe import ImageFile, probe

MIB = 1 << 20
SIZE = 12 * MIB


def told(path: Path) -> tuple[str, int | None, int | None]:
    found = foretell(probe(path))
    assert (found.why is None) == (found.unpacked is not None and found.virtual is not None)
    return found.format, found.unpacked, found.virtual


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with a partition table and something on it."""
    path = tmp_path_factory.mktemp("raw") / "disk.raw"
    path.write_bytes(bytes(510) + b"\x55\xaa" + b"data" * 1000)
    with path.open("r+b") as file:
        file.truncate(SIZE)
    return path


def by_command(*command: str) -> Callable[[Path, Path], None]:
    def pack(image: Path, to: Path) -> None:
        with to.open("wb") as out:
            subprocess.run([*command, str(image)], stdout=out, check=True)

    return pack


def by_zip(image: Path, to: Path) -> None:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("readme.txt", "x" * (2 * MIB))
        opened.write(image, image.name)


def by_tar(mode: str, form: int) -> Callable[[Path, Path], None]:
    def pack(image: Path, to: Path) -> None:
        note = image.with_name("note.ovf")
        note.write_text("x" * 3 * MIB)
        with tarfile.open(to, mode, format=form) as opened:  # type: ignore[call-overload]
            opened.add(note, note.name)
            opened.add(image, "folder/" * 20 + image.name)

    return pack


PACKERS = {
    "a.gz": by_command("gzip", "-c"),
    "a.xz": by_command("xz", "-c"),
    "a.zst": by_command("zstd", "-qc"),
    "a.zip": by_zip,
    "a.tar": by_tar("w", tarfile.GNU_FORMAT),
    "a-pax.tar": by_tar("w", tarfile.PAX_FORMAT),
    "a-ustar.tar": by_tar("w", tarfile.USTAR_FORMAT),
    "a.tar.gz": by_tar("w:gz", tarfile.PAX_FORMAT),
    "a.tar.xz": by_tar("w:xz", tarfile.GNU_FORMAT),
}


@pytest.mark.parametrize("name", PACKERS)
def test_a_disk_in_an_archive_has_its_size(tmp_path: Path, raw: Path, name: str) -> None:
    PACKERS[name](raw, tmp_path / name)
    assert told(tmp_path / name) == ("raw", SIZE, SIZE)


@pytest.mark.parametrize("name", ["a.zst", "a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("format_", ["qcow2", "vmdk", "vdi", "vpc"])
def test_an_image_in_an_archive_has_its_disk_s_size(
    tmp_path: Path, raw: Path, name: str, format_: str
) -> None:
    image = tmp_path / f"disk.{format_}"
    subprocess.run(["qemu-img", "convert", "-O", format_, str(raw), str(image)], check=True)
    expected = probe(image)
    PACKERS[name](image, tmp_path / name)
    assert told(tmp_path / name) == (expected.format, image.stat().st_size, expected.virtual_size)


def test_what_the_archive_does_not_say_is_said_so(tmp_path: Path, raw: Path) -> None:
    by_command("bzip2", "-c")(raw, tmp_path / "a.bz2")
    found = foretell(probe(tmp_path / "a.bz2"))
    assert (found.unpacked, found.virtual, found.packed) == (None, None, (tmp_path / "a.bz2").stat().st_size)
    assert found.why is not None
    assert "bzip2" in found.why.en
    with (tmp_path / "b.zst").open("wb") as out, raw.open("rb") as file:
        subprocess.run(["zstd", "-qc"], stdin=file, stdout=out, check=True)
    assert told(tmp_path / "b.zst") == ("raw", None, None)


@pytest.mark.parametrize(("table", "size"), [("mbr", 9), ("gpt", 9), ("mbr", 8)])
def test_a_gzip_of_more_than_4_gib_is_told_by_the_disk_s_table(
    tmp_path: Path, table: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgtool.convert.foretold.GZIP_MODULUS", 4 * MIB)
    monkeypatch.setattr("imgtool.convert.foretold.least_size", lambda kind, path, already: size % 4 * MIB)
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as file:
        file.truncate(size * MIB)
    label = "label: gpt\n" if table == "gpt" else ""
    subprocess.run(
        ["sfdisk", "-q", str(raw)], input=f"{label}start=2048\n", text=True, check=True, capture_output=True
    )
    by_command("gzip", "-c")(raw, tmp_path / "a.gz")
    assert told(tmp_path / "a.gz") == ("raw", size * MIB, size * MIB)


def test_an_archive_without_an_image_tells_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr("readme.txt", "x")
    assert told(tmp_path / "a.zip") == ("", None, None)


@settings(max_examples=40)
@given(st.sampled_from(["gzip", "zip", "tar", "xz", "zstd", "bzip2"]), st.data())
def test_damage_is_nothing_told_and_no_failure(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    packer = {"gzip": "a.gz", "zip": "a.zip", "tar": "a.tar", "xz": "a.xz", "zstd": "a.zst"}.get(kind)
    raw = folder / "disk.raw"
    raw.write_bytes(bytes(510) + b"\x55\xaa" + bytes(range(256)) * 16)
    path = folder / "archive"
    (PACKERS[packer] if packer else by_command("bzip2", "-c"))(raw, path)
    content = bytearray(path.read_bytes())
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6)
    ):
        content[at % min(len(content), 4096)] = value
    end = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:end])
    found = foretell(ImageFile(path, kind, None, None, end, end))
    assert found.unpacked is None or found.unpacked >= 0
