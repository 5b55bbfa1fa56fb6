"""Kernels are found under every distribution's names, each with what belongs to it; headers are read."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import pytest

from imgtool.guest.bootloader import BootEntry
from imgtool.guest.compression import Budget
from imgtool.guest.kernel_image import embedded_config, read_header
from imgtool.guest.kernels import find_kernels, kernel_of_entry
from imgtool.guest.modules import parse_builtin, parse_config, read_modules
from imgtool.guest.version_order import version_key
from tests.guest.memory_tree import Link, MemoryTree
from tests.guest.test_compression import packed


def bzimage(version: str, bits: int = 64, protocol: int = 0x20F, payload: bytes = b"") -> bytes:
    """A bzImage's header, and the compressed kernel where the header says."""
    head = bytearray(0x4000)
    head[0x1F1] = 4
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<HxxxxxxH", head, 0x206, protocol, 0x3000)
    struct.pack_into("<H", head, 0x236, 1 if bits == 64 else 0)
    struct.pack_into("<II", head, 0x248, 0x4000 - 5 * 512, len(payload))
    text = f"{version} (builder@host) #1 SMP\0".encode()
    head[0x3200 : 0x3200 + len(text)] = text
    return bytes(head) + payload


def tree(files: dict[str, Any]) -> MemoryTree:
    return MemoryTree(files)


@pytest.mark.parametrize(
    ("version", "image", "initramfs"),
    [
        ("6.1.0-18-amd64", "vmlinuz-6.1.0-18-amd64", "initrd.img-6.1.0-18-amd64"),
        ("3.10.0-1160.el7.x86_64", "vmlinuz-3.10.0-1160.el7.x86_64", "initramfs-3.10.0-1160.el7.x86_64.img"),
        ("2.6.18-398.el5", "vmlinuz-2.6.18-398.el5", "initrd-2.6.18-398.el5.img"),
        (
            "5.14.21-150500.55-default",
            "vmlinuz-5.14.21-150500.55-default",
            "initrd-5.14.21-150500.55-default",
        ),
        ("5.14.21-150500.55-default", "Image-5.14.21-150500.55-default", "initrd-5.14.21-150500.55-default"),
        ("6.6.1-arch1-1", "vmlinuz-linux", "initramfs-linux.img"),
    ],
)
def test_each_distribution_s_names(version: str, image: str, initramfs: str) -> None:
    files = {
        f"/boot/{image}": bzimage(version),
        f"/boot/{initramfs}": b"x",
        f"/boot/config-{version}": "CONFIG_VIRTIO=y\n",
        f"/usr/lib/modules/{version}/modules.builtin": "",
        "/lib": Link("usr/lib"),
        f"/boot/System.map-{version}": b"x",
        f"/boot/.vmlinuz-{version}.hmac": b"x",
    }
    (kernel,) = find_kernels(tree(files))
    assert kernel.version == version
    assert kernel.image == f"/boot/{image}"
    assert kernel.initramfs == f"/boot/{initramfs}"
    assert kernel.config == f"/boot/config-{version}"
    assert kernel.modules_dir == f"/lib/modules/{version}"
    assert kernel.architecture == "x86_64"


def test_links_to_a_kernel_are_no_second_kernel_and_the_newest_is_first() -> None:
    files: dict[str, Any] = {
        f"/boot/vmlinuz-5.{n}.0-1-default": bzimage(f"5.{n}.0-1-default") for n in (9, 10)
    }
    files["/boot/vmlinuz"] = Link("vmlinuz-5.10.0-1-default")
    assert [it.version for it in find_kernels(tree(files))] == ["5.10.0-1-default", "5.9.0-1-default"]


def test_kernel_install_s_layout() -> None:
    files = {
        "/boot/0123abcd/6.5.0-1.fc39.x86_64/linux": bzimage("6.5.0-1.fc39.x86_64"),
        "/boot/0123abcd/6.5.0-1.fc39.x86_64/initrd": b"x",
    }
    (kernel,) = find_kernels(tree(files))
    assert kernel.version == "6.5.0-1.fc39.x86_64"
    assert kernel.initramfs == "/boot/0123abcd/6.5.0-1.fc39.x86_64/initrd"


def test_the_entry_decides_which_initramfs_its_kernel_gets() -> None:
    guest = tree(
        {
            "/boot/vmlinuz-6.1": bzimage("6.1"),
            "/boot/initrd.img-6.1": b"x",
            "/vmlinuz": Link("boot/vmlinuz-6.1"),
        }
    )
    entry = BootEntry("x", "/vmlinuz", ("/boot/ucode", "/boot/other"), "")
    kernel = kernel_of_entry(guest, find_kernels(guest), entry)
    assert kernel is not None
    assert (kernel.version, kernel.initramfs, kernel.initrds) == (
        "6.1",
        "/boot/other",
        ("/boot/ucode", "/boot/other"),
    )
    assert kernel_of_entry(guest, (), BootEntry("x", "/gone", (), "")) is None
    assert kernel_of_entry(guest, (), BootEntry("x", None, (), "")) is None


def test_headers_tell_version_and_architecture() -> None:
    def told(data: bytes) -> tuple[str, str] | None:
        header = read_header(io.BytesIO(data))
        return (header.version, header.architecture) if header else None

    assert told(bzimage("6.1.0-18-amd64")) == ("6.1.0-18-amd64", "x86_64")
    assert told(bzimage("6.1.0-18-686", bits=32)) == ("6.1.0-18-686", "i386")
    assert told(bzimage("2.6.32-754.el6.x86_64", protocol=0x20A)) == ("2.6.32-754.el6.x86_64", "")
    assert told(bytes(56) + b"ARM\x64" + bytes(100)) == ("", "arm64")
    assert told(b"no kernel") is None
    assert told(b"") is None


HOST = sorted(Path("/boot").glob("vmlinuz-*"))


@pytest.mark.skipif(not HOST, reason="this machine has no kernel of its own")
def test_this_machine_s_kernel_says_the_version_in_its_name() -> None:
    with HOST[0].open("rb") as stream:
        header = read_header(stream)
    assert header is not None
    assert header.version == HOST[0].name.removeprefix("vmlinuz-")


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd", "lz4", "bzip2", "lzma"])
def test_the_configuration_inside_a_kernel_is_found(name: str) -> None:
    config = b"CONFIG_VIRTIO_BLK=y\n# CONFIG_VIRTIO_NET is not set\n" * 2000
    kernel = bytes(3 << 20) + b"IKCFG_ST" + gzip.compress(config) + b"IKCFG_ED" + bytes(1 << 20)
    image = bzimage("6.1", payload=packed(name, kernel))
    assert embedded_config(io.BytesIO(image), Budget(1 << 30, 60)) == config.decode()


def test_a_kernel_without_configuration_has_none() -> None:
    image = bzimage("6.1", payload=packed("gzip", bytes(1 << 20)))
    assert embedded_config(io.BytesIO(image), Budget(1 << 30, 60)) is None
    assert embedded_config(io.BytesIO(b"IKCFG_ST\x1f\x8b\x08 broken"), Budget(1 << 30, 60)) is None


V = "6.1.0-18-amd64"


def modules(files: dict[str, Any]) -> Any:
    guest = tree({f"/boot/vmlinuz-{V}": bzimage(V), **files})
    return read_modules(guest, find_kernels(guest)[0])


def test_configuration_says_builtin_module_or_absent() -> None:
    found = modules(
        {
            f"/boot/config-{V}": "CONFIG_VIRTIO=y\nCONFIG_VIRTIO_BLK=m\n# CONFIG_VIRTIO_NET is not set\n",
            f"/lib/modules/{V}/modules.dep": "kernel/drivers/block/virtio_blk.ko.xz: virtio-ring.ko.xz\n",
            f"/lib/modules/{V}/kernel/drivers/block/virtio_blk.ko.xz": b"x",
        }
    )
    assert [found.option(it) for it in ("VIRTIO", "VIRTIO_BLK", "VIRTIO_NET")] == ["y", "m", "n"]
    assert found.place("virtio_blk") == "module"
    assert found.place("virtio") == "builtin"
    assert found.place("virtio_ring") == "builtin"
    assert found.place("virtio_net") == "absent"
    assert found.needs["virtio_blk"] == ("virtio_ring",)


def test_a_module_that_is_configured_and_listed_but_not_there_is_absent() -> None:
    found = modules(
        {
            f"/boot/config-{V}": "CONFIG_VIRTIO_BLK=m\n",
            f"/lib/modules/{V}/modules.dep": "kernel/drivers/block/virtio_blk.ko:\n",
        }
    )
    assert found.place("virtio_blk") == "absent"


def test_without_configuration_the_lists_of_modules_answer() -> None:
    found = modules(
        {
            f"/lib/modules/{V}/modules.builtin": "kernel/drivers/virtio/virtio.ko\n",
            f"/lib/modules/{V}/modules.dep": "kernel/drivers/net/virtio_net.ko:\n",
            f"/lib/modules/{V}/kernel/drivers/net/virtio_net.ko": b"x",
        }
    )
    assert found.config is None
    assert [found.place(it) for it in ("virtio", "virtio_net", "virtio_blk")] == [
        "builtin",
        "module",
        "absent",
    ]


def test_without_lists_the_folders_themselves_answer() -> None:
    found = modules({f"/lib/modules/{V}/kernel/drivers/block/virtio_blk.ko.zst": b"x"})
    assert found.place("virtio_blk") == "module"
    assert found.place("virtio_net") == "unknown"


def test_with_nothing_at_all_it_is_unknown() -> None:
    assert modules({}).place("virtio_blk") == "unknown"


def test_rhel_6_names_whole_paths_in_modules_dep() -> None:
    path = f"/lib/modules/{V}/kernel/drivers/block/virtio_blk.ko"
    assert (
        modules({f"/lib/modules/{V}/modules.dep": f"{path}:\n", path: b"x"}).place("virtio_blk") == "module"
    )


def test_names_and_options_are_read_as_written() -> None:
    assert parse_builtin("kernel/drivers/virtio/virtio-mmio.ko\n\nkernel/a/b.ko.zst\n") == {
        "virtio_mmio",
        "b",
    }
    assert parse_config('# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D="text"\n') == {
        "B": "y",
        "C": "m",
    }


def test_versions_are_ordered_by_their_numbers() -> None:
    ordered = ["0-rescue-01", "3.10.0-9.el7", "3.10.0-1160.el7", "5.9", "5.10~rc1", "5.10", "5.10.1"]
    assert sorted(set(ordered), key=version_key) == ordered
