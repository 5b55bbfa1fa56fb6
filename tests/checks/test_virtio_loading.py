"""linux.virtio.loading: what keeps drivers that are there from being loaded."""

from __future__ import annotations

from typing import Any

import pytest
from imgtool.checks.virtio_loading import loading

from tests.checks.boot_guest import MODULES, V, grub_cfg, guest_image, levels, only, path_of
from tests.guest.stand_in import ROOT_UUID
from tests.guest.test_compression import packed
from tests.guest.test_cpio import newc

CFG = "/boot/grub/grub.cfg"
INITRD = f"/boot/initrd.img-{V}"
DEBIAN = ("conf/initramfs.conf", b"MODULES=most\n")
DRACUT = ("usr/lib/dracut/hooks/cmdline/x.sh", b"x")


def initrd(*more: tuple[str, bytes], without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The default kernel's initramfs with these members."""
    members = [("init", b"#!/bin/sh\n")]
    members += [(path_of(name), b"\x7fELF") for name in MODULES if name not in without]
    return {INITRD: packed("zstd", newc(*members, *more))}


def started(arguments: str, *more: tuple[str, bytes], **how: Any) -> Any:
    files = how.pop("files", {})
    return guest_image({**initrd(*more, **how), CFG: grub_cfg(f"root=UUID={ROOT_UUID} {arguments}"), **files})


def conf(text: str) -> tuple[str, bytes]:
    return "etc/modprobe.d/x.conf", text.encode()


def test_where_nothing_is_said_all_is_loaded() -> None:
    assert levels(loading, guest_image()) == ["kept"]
    other = started(
        "module_blacklist=floppy", DEBIAN, conf("blacklist pcspkr\ninstall usb-storage /bin/true\n")
    )
    assert levels(loading, other) == ["kept"]


@pytest.mark.parametrize(
    ("arguments", "members"),
    [
        ("module_blacklist=virtio_blk", (DEBIAN,)),
        ("module_blacklist=floppy,virtio_ring", (DEBIAN,)),
        ("modprobe.blacklist=virtio-blk", (DEBIAN,)),
        ("rd.driver.blacklist=virtio_pci", (DRACUT,)),
        ("blacklist=virtio_blk", (DEBIAN,)),
        ("", (DEBIAN, conf("blacklist virtio_blk\n"))),
        ("", (DRACUT, ("usr/lib/modprobe.d/x.conf", b"blacklist virtio_pci\n"))),
        ("", (conf("install virtio_blk /bin/false\n"),)),
        ("", (conf("install virtio /bin/true\n"),)),
    ],
)
def test_a_disk_without_its_driver_is_an_error(arguments: str, members: tuple[Any, ...]) -> None:
    outcome = only(loading, started(arguments, *members))
    assert (outcome.kind, outcome.severity) == ("broken", None)
    assert "will not see its disk" in outcome.message.en
    assert outcome.remedy is not None
    wanted = arguments.replace(".", r"\.") or f"mkinitramfs -o {INITRD} {V}"
    assert wanted in outcome.remedy.en


@pytest.mark.parametrize(
    ("arguments", "members"),
    [
        ("rd.driver.blacklist=virtio_blk", (DEBIAN,)),
        ("blacklist=virtio_blk", (DRACUT,)),
        ("modprobe.blacklist=virtio_ring", (DEBIAN,)),  # comes along with those that need it
        ("modprobe.blacklist=virtio_blk", (DEBIAN, ("conf/modules", b"virtio_blk\n"))),
        ("rd.driver.blacklist=virtio_blk rd.driver.pre=virtio_blk", (DRACUT,)),
        ("", (DEBIAN, conf("install virtio_blk /sbin/modprobe -i virtio_blk\n"))),
        ("modprobe.blacklist=virtio_blk", (("bin/nash", b"\x7fELF"),)),
    ],
)
def test_what_does_not_hold_the_driver_back_is_right(arguments: str, members: tuple[Any, ...]) -> None:
    assert levels(loading, started(arguments, *members)) == ["kept"]


def test_a_blacklist_in_an_initramfs_of_unknown_make_is_undecided() -> None:
    assert levels(loading, started("", conf("blacklist virtio_blk\n"))) == ["undecided"]


def test_what_is_built_in_can_not_be_kept_back() -> None:
    builtin = {
        f"/boot/config-{V}": "CONFIG_MODULES=y\n" + "".join(f"CONFIG_{it.upper()}=y\n" for it in MODULES)
    }
    assert levels(loading, started("module_blacklist=virtio_blk,virtio_net", DEBIAN, files=builtin)) == [
        "kept"
    ]


def test_the_system_s_own_list_counts_for_the_card_where_the_initramfs_has_no_driver_for_it() -> None:
    own = {"/etc/modprobe.d/old.conf": "blacklist virtio_net\nblacklist virtio_blk\n"}
    assert levels(loading, started("", DEBIAN, files=own)) == ["kept"]
    outcome = only(loading, started("", DRACUT, files=own, without=("virtio_net",)))
    assert "network card" in outcome.message.en
    assert outcome.evidence == ("/etc/modprobe.d/old.conf:1: blacklist virtio_net",)
    assert outcome.remedy is not None
    assert "sed -i -E '/^ *(blacklist|install) +(virtio[-_]net)( |$)/s/^/# /' /etc/modprobe.d/old.conf" in (
        outcome.remedy.en
    )


def test_old_kernels_know_no_module_blacklist() -> None:
    assert levels(loading, started("module_blacklist=virtio_blk", DEBIAN)) == ["error"]
    from imgtool.checks.virtio_loading import _asked

    from imgtool.guest.kernels import Kernel
    from imgtool.guest.module_blocks import Block

    block = Block("virtio_blk", True, "module_blacklist=virtio_blk")
    versions = {
        "2.6.32-754.el6": 0,
        "3.10.0-1160.el7": 1,
        "4.4.0-21-generic": 0,
        "4.18.0-1.el8": 1,
        "6.1.0": 1,
    }
    for version, count in versions.items():
        kernel = Kernel(version, "/boot/k", None, None, None, "x86_64")
        assert len(_asked(kernel, [block])) == count
