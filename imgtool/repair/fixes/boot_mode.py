"""The loader at the path where firmware without variables of its own looks for one."""

from __future__ import annotations

from imgtool.checks import boot_mode as rules
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.text import Text

LARGEST_LOADER = 64 << 20
BESIDE_SHIM = ("grub", "mm")
"""What shim starts lies beside it: GRUB, and its key manager."""


@fix("disk.boot-mode.fallback")
def copy_the_loader(work: Work) -> None:
    """The distribution's own loader copied to \\EFI\\BOOT, with what shim starts."""
    from imgtool.guest.boot_mode import FALLBACKS, read_boot_mode

    draft = work.draft
    loaders = read_boot_mode(work.image.disk).loaders
    first = rules.main_loader(loaders)
    name = next((name for name, machine in FALLBACKS.items() if machine == first.machine), "BOOTX64.EFI")
    points = [point for point, volume in draft.tree.mounts.items() if volume.name == first.volume]
    if not points:
        raise CannotMend(
            Text(
                en=f"{first.volume} is not mounted by the guest's fstab, so it is left alone.",
                zh=f"客户机的 fstab 未挂载 {first.volume}，不作修改。",
            )
        )
    source = points[0] + first.path.replace("\\", "/")
    folder = source.rpartition("/")[0]
    target = f"{points[0]}/EFI/BOOT"
    draft.write(f"{target}/{name}", draft.tree.read(source, LARGEST_LOADER))
    if "shim" in first.path.lower():
        for other in draft.tree.list(folder):
            if other.lower().startswith(BESIDE_SHIM) and other.lower().endswith(".efi"):
                draft.write(f"{target}/{other}", draft.tree.read(f"{folder}/{other}", LARGEST_LOADER))
