"""Packages are read by their own headers: what for, how large, how many files."""

from __future__ import annotations

import io
import struct
import subprocess
import tarfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.repair.draft import CannotMend
from imgtool.repair.packages import Package, read_package
from tests.guest.stand_in import ROOT
from tests.repair.folder_guest import FolderGuest

CONTROL = """\
Package: made
Version: 1.0
Architecture: {architecture}
Maintainer: nobody <nobody@example.com>
Installed-Size: {kib}
Description: made for a test
"""
RULE = "linux.cloud-init.installed"


def deb(folder: Path, architecture: str = "all", kib: int = 40, how: str = "xz") -> Path:
    """A package of two files, made by dpkg-deb; its maker's md5sums, as debhelper writes them."""
    top = folder / f"{architecture}-{kib}-{how}"
    (top / "DEBIAN").mkdir(parents=True)
    (top / "usr/share/made").mkdir(parents=True)
    for name in ("one", "two"):
        (top / f"usr/share/made/{name}").write_text(name)
    (top / "DEBIAN/control").write_text(CONTROL.format(architecture=architecture, kib=kib))
    (top / "DEBIAN/md5sums").write_text(
        "0" * 32 + "  usr/share/made/one\n" + "0" * 32 + "  usr/share/made/two\n"
    )
    path = folder / f"made-{architecture}-{how}.deb"
    command = ["dpkg-deb", "--root-owner-group", f"-Z{how}", "-b", top, path]
    subprocess.run(command, check=True, capture_output=True)
    return path


def rpm(*, name: str = "made", architecture: str = "noarch", size: int = 5000, files: int = 3) -> bytes:
    """The beginning of an RPM package, of the tags that matter here."""
    texts = {1000: name, 1022: architecture}
    entries, data = [], b""
    for tag, value in texts.items():
        entries.append((tag, 6, len(data), 1))
        data += value.encode() + b"\0"
    data += bytes(-len(data) % 4)
    entries.append((1009, 4, len(data), 1))
    data += struct.pack(">I", size)
    entries.append((1117, 8, len(data), files))
    data += b"x\0" * files

    def header(entries: list[tuple[int, int, int, int]], data: bytes) -> bytes:
        head = b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">II", len(entries), len(data))
        return head + b"".join(struct.pack(">IIII", *it) for it in entries) + data

    signature = header([(1000, 4, 0, 1)], struct.pack(">I", 7))
    return b"\xed\xab\xee\xdb".ljust(96, b"\0") + signature + bytes(4) + header(entries, data)


@pytest.mark.parametrize("how", ["xz", "gzip", "zstd", "none"])
def test_a_debian_package_says_what_it_becomes_in_any_compression(tmp_path: Path, how: str) -> None:
    assert read_package(deb(tmp_path, how=how)) == Package("made", "all", 40 << 10, 2)


def test_an_rpm_package_says_what_it_becomes(tmp_path: Path) -> None:
    (tmp_path / "made.rpm").write_bytes(rpm())
    assert read_package(tmp_path / "made.rpm") == Package("made", "noarch", 5000, 3)


@pytest.mark.parametrize(
    ("package", "guest", "fits"),
    [
        ("all", "x86_64", True),
        ("noarch", "arm64", True),
        ("amd64", "x86_64", True),
        ("i686", "x86_64", True),
        ("arm64", "x86_64", False),
        ("x86_64", "i386", False),
        ("aarch64", "arm64", True),
    ],
)
def test_a_package_is_for_its_own_architecture(package: str, guest: str, fits: bool) -> None:
    assert Package("made", package, 0, 0).fits(guest) is fits


@given(st.binary(max_size=300), st.sampled_from([".deb", ".rpm"]), st.integers(0, 400))
def test_what_is_no_package_is_said(
    tmp_path_factory: pytest.TempPathFactory, rubbish: bytes, kind: str, keep: int
) -> None:
    path = tmp_path_factory.mktemp("rubbish") / f"x{kind}"
    start = (
        b"!<arch>\ncontrol.tar.gz  0           0     0     100644  40        `\n" if kind == ".deb" else rpm()
    )
    path.write_bytes(start[:keep] + rubbish)
    with suppress(CannotMend):
        read_package(path)


def test_a_control_archive_that_unpacks_to_too_much_is_read_no_further(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("control")
        member.size = 64 << 20
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    data = packed.getvalue()
    head = b"control.tar.gz".ljust(48) + str(len(data)).encode().ljust(10) + b"`\n"
    (tmp_path / "x.deb").write_bytes(b"!<arch>\n" + head + data)
    with pytest.raises(CannotMend):
        read_package(tmp_path / "x.deb")


def test_packages_of_another_architecture_or_too_large_when_installed_are_refused_early(
    tmp_path: Path,
) -> None:
    room = {"free_blocks": 100_000, "block_size": 4096, "free_inodes": 5000, "total_inodes": 9000}
    volume = replace(ROOT, signature=replace(ROOT.signature, details=room))
    guest = FolderGuest(tmp_path / "guest", {}, volumes=(volume,))
    for number, (changed, said) in enumerate(
        [({"architecture": "arm64"}, "is for arm64"), ({"kib": 500_000}, "is full"), ({}, "")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        deb(folder, **changed)  # type: ignore[arg-type]
        plan = guest.plan(RULE, cloud_init_packages=folder)
        assert [it.action for it in plan.steps] == ([] if said else ["upload", "run"])
        assert said in " ".join(it.why.en for it in plan.unmended)
