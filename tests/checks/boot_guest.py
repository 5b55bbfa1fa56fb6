"""A Debian in memory that starts on the platform; the tests of boot rules change one fact of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from imgtool.guest.linux import LinuxGuest
from imgtool.image import Options
from imgtool.profiles import load_profile
from imgtool.rules import Outcome, Rule
from tests.guest.memory_tree import MemoryTree
from tests.guest.stand_in import ROOT, ROOT_UUID, ZeroBlocks, disk
from tests.guest.test_compression import packed
from tests.guest.test_cpio import newc
from tests.guest.test_kernels import bzimage

V = "6.1.0-18-amd64"
OLD = "6.1.0-17-amd64"
GRUB_CODE = (
    b"\xeb\x63\x90".ljust(0x5C, b"\0") + (1).to_bytes(8, "little") + b"GRUB \0Geom\0Hard Disk\0Read\0 Error"
)
MODULES = {
    "virtio_blk": "drivers/block",
    "virtio_net": "drivers/net",
    "virtio_pci": "drivers/virtio",
    "virtio_pci_modern_dev": "drivers/virtio",
    "virtio_ring": "drivers/virtio",
    "virtio": "drivers/virtio",
}
CONFIG = "CONFIG_MODULES=y\nCONFIG_VIRTIO=m\nCONFIG_VIRTIO_BLK=m\nCONFIG_VIRTIO_NET=m\nCONFIG_VIRTIO_PCI=m\n"


def path_of(module: str, version: str = V) -> str:
    return f"lib/modules/{version}/kernel/{MODULES[module]}/{module}.ko"


def initramfs(version: str = V, without: tuple[str, ...] = (), compression: str = "zstd") -> bytes:
    members = [("init", b"#!/bin/sh\n"), ("conf/initramfs.conf", b"MODULES=most\n")]
    members += [(path_of(name, version), b"\x7fELF") for name in MODULES if name not in without]
    return packed(compression, newc(*members)) if compression else newc(*members)


def kernel_files(version: str, config: str = CONFIG, **how: Any) -> dict[str, Any]:
    needs = {
        "virtio_pci": ("virtio_pci_modern_dev", "virtio", "virtio_ring"),
        "virtio_blk": ("virtio", "virtio_ring"),
    }
    folder = f"/lib/modules/{version}/"
    lines = [
        f"{path_of(name, version)}: {' '.join(path_of(it, version) for it in needs.get(name, ()))}".replace(
            folder[1:], ""
        )
        for name in MODULES
    ]
    return {
        f"/boot/vmlinuz-{version}": bzimage(version),
        f"/boot/initrd.img-{version}": initramfs(version, **how),
        f"/boot/config-{version}": config,
        f"{folder}modules.dep": "\n".join(lines),
        f"{folder}modules.builtin": "kernel/fs/ext4/ext4.ko\n",
        f"/var/lib/dpkg/info/linux-image-{version}.list": "",
        **{f"/{path_of(name, version)}": b"\x7fELF" for name in MODULES},
    }


def grub_cfg(arguments: str = f"root=UUID={ROOT_UUID} ro", initrd: str = f"/boot/initrd.img-{V}") -> str:
    return f"menuentry 'Debian GNU/Linux' {{\n  linux /boot/vmlinuz-{V} {arguments}\n  initrd {initrd}\n}}\n"


def good() -> dict[str, Any]:
    return {
        "/etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "/usr/bin/apt-get": b"x",
        "/boot/grub/grub.cfg": grub_cfg(),
        **kernel_files(V),
    }


def guest_image(changes: dict[str, Any] | None = None, **how: Any) -> Any:
    """The good guest with files changed (None: gone). how: mode, boot_code, core, volumes, kind, root."""
    files = {path: content for path, content in {**good(), **(changes or {})}.items() if content is not None}
    volumes = how.get("volumes", (ROOT,))
    root_volume = how.get("root", ROOT)
    blocks = ZeroBlocks(parts={512: how.get("core", b"core")})
    held = disk(
        *volumes, kind=how.get("kind", "mbr"), boot_code=how.get("boot_code", GRUB_CODE), blocks=blocks
    )
    tree = MemoryTree(files, {"/": root_volume})
    root = SimpleNamespace(
        family="linux", tree=tree, volume=root_volume, missing_mounts=how.get("missing_mounts", ())
    )
    profile = how.get("profile", load_profile("tce"))
    return SimpleNamespace(
        family="linux",
        disk=held,
        profile=profile,
        options=Options(boot_mode=how.get("boot_mode"), target=how.get("target", "import")),
        target=how.get("target", "import"),
        linux=LinuxGuest(root, held),  # type: ignore[arg-type]
        search=SimpleNamespace(root=how.get("found_root", root), unreadable=()),
    )


def judge(rule: Rule, image: Any) -> list[Outcome]:
    return list(rule.judge(image))


def levels(rule: Rule, image: Any) -> list[str]:
    """kept, undecided, not judged, or the level that a broken rule has."""
    return [
        (it.severity or rule.severity).value if it.kind == "broken" else it.kind for it in judge(rule, image)
    ]


def only(rule: Rule, image: Any) -> Outcome:
    (outcome,) = judge(rule, image)
    return outcome
