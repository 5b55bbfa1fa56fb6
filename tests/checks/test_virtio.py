"""linux.virtio.kernel and linux.virtio.initramfs: the drivers that the platform's disk and network need."""

from __future__ import annotations

from typing import Any

import pytest
from imgtool.checks.virtio import in_initramfs, in_kernel

from tests.checks.boot_guest import (
    CONFIG,
    MODULES,
    OLD,
    V,
    guest_image,
    initramfs,
    kernel_files,
    levels,
    only,
    path_of,
)

INITRD = f"/boot/initrd.img-{V}"
CONFIG_PATH = f"/boot/config-{V}"


def test_drivers_as_modules_in_kernel_and_initramfs_are_kept() -> None:
    assert levels(in_kernel, guest_image()) == ["kept"]
    assert levels(in_initramfs, guest_image()) == ["kept"]


@pytest.mark.parametrize("option", ["VIRTIO_BLK", "VIRTIO_NET", "VIRTIO_PCI"])
def test_an_option_that_is_not_set_is_an_error(option: str) -> None:
    config = CONFIG.replace(f"CONFIG_{option}=m", f"# CONFIG_{option} is not set")
    gone = {f"/{path_of(option.lower())}": None}
    outcome = only(in_kernel, guest_image({CONFIG_PATH: config, **gone}))
    assert outcome.kind == "broken"
    assert option in outcome.message.en
    assert f"{CONFIG_PATH}: # CONFIG_{option} is not set" in outcome.evidence
    assert in_kernel.platform_code == "VirtioNotInstall"


def test_a_module_that_is_configured_but_not_there_is_an_error() -> None:
    outcome = only(in_kernel, guest_image({f"/{path_of('virtio_net')}": None}))
    assert outcome.kind == "broken"
    assert "virtio_net.ko is not in" in " ".join(outcome.evidence)


def test_without_a_configuration_the_modules_answer() -> None:
    assert levels(in_kernel, guest_image({CONFIG_PATH: None})) == ["kept"]


def test_without_configuration_and_lists_it_cannot_be_told() -> None:
    changes: dict[str, Any] = {CONFIG_PATH: None, f"/lib/modules/{V}/modules.builtin": None}
    changes |= {f"/lib/modules/{V}/modules.dep": None}
    changes |= {f"/{path_of(name)}": None for name in MODULES}
    assert levels(in_kernel, guest_image({**changes, f"/lib/modules/{V}/kernel/x": b"x"})) == ["undecided"]


def test_another_kernel_without_virtio_is_a_warning() -> None:
    config = CONFIG.replace("CONFIG_VIRTIO_BLK=m", "# CONFIG_VIRTIO_BLK is not set")
    old = {**kernel_files(OLD, config), f"/{path_of('virtio_blk', OLD)}": None}
    assert levels(in_kernel, guest_image(old)) == ["kept", "warning"]


@pytest.mark.parametrize(
    "module", ["virtio_blk", "virtio_pci", "virtio_ring", "virtio", "virtio_pci_modern_dev"]
)
@pytest.mark.parametrize("compression", ["", "gzip", "xz", "zstd", "lz4", "lzma", "bzip2"])
def test_a_module_that_is_not_in_the_initramfs_is_an_error(module: str, compression: str) -> None:
    outcome = only(in_initramfs, guest_image({INITRD: initramfs(without=(module,), compression=compression)}))
    assert outcome.kind == "broken"
    assert outcome.severity is None
    assert f"{INITRD}: no {module}" in outcome.evidence
    assert outcome.remedy is not None
    assert f"mkinitramfs -o {INITRD} {V}" in outcome.remedy.en


def test_the_network_driver_need_not_be_in_the_initramfs() -> None:
    assert levels(in_initramfs, guest_image({INITRD: initramfs(without=("virtio_net",))})) == ["kept"]


def test_drivers_that_are_built_in_are_not_looked_for() -> None:
    config = CONFIG.replace("=m", "=y")
    assert levels(in_initramfs, guest_image({CONFIG_PATH: config, INITRD: b"damaged"})) == ["not judged"]


def test_a_builtin_disk_driver_still_needs_the_pci_module() -> None:
    config = CONFIG.replace("CONFIG_VIRTIO_BLK=m", "CONFIG_VIRTIO_BLK=y").replace(
        "CONFIG_VIRTIO=m", "CONFIG_VIRTIO=y"
    )
    without_blk = initramfs(without=("virtio_blk", "virtio", "virtio_ring"))
    assert levels(in_initramfs, guest_image({CONFIG_PATH: config, INITRD: without_blk})) == ["kept"]
    nothing = initramfs(without=tuple(MODULES))
    outcome = only(in_initramfs, guest_image({CONFIG_PATH: config, INITRD: nothing}))
    assert [line for line in outcome.evidence if ": no " in line] == [
        f"{INITRD}: no virtio_pci",
        f"{INITRD}: no virtio_pci_modern_dev",
    ]


@pytest.mark.parametrize("data", [b"no initramfs", initramfs()[:-40], b"\x89LZO\0\r\n\x1a\n"])
def test_an_initramfs_that_cannot_be_read_is_unknown_and_never_missing_virtio(data: bytes) -> None:
    outcome = only(in_initramfs, guest_image({INITRD: data}))
    assert outcome.kind == "undecided"


def test_another_kernel_s_initramfs_without_virtio_is_a_warning() -> None:
    assert levels(in_initramfs, guest_image(kernel_files(OLD, without=("virtio_blk",)))) == [
        "kept",
        "warning",
    ]


def test_an_initramfs_of_another_version_does_not_count() -> None:
    assert levels(in_initramfs, guest_image({INITRD: initramfs(OLD)})) == ["error"]


def test_a_fault_stays_an_error_when_its_remedy_cannot_be_told() -> None:
    image = guest_image({INITRD: initramfs(without=("virtio_blk",))})
    image.linux.tree.unreadable |= {"/etc/os-release", "/etc/debian_version"}
    outcome = only(in_initramfs, image)
    assert outcome.kind == "broken"
    assert outcome.remedy is None
