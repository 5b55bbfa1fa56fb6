"""Whether the virtio drivers that are there may be loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from imgtool.checks.virtio import required

from imgtool.guest.version_order import version_key
from imgtool.records import dataclass
from imgtool.remedy import drop_argument, if_known, in_guest, quoted
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.initramfs import Initramfs
    from imgtool.guest.kernels import Kernel
    from imgtool.guest.linux import LinuxGuest
    from imgtool.guest.module_blocks import Block
    from imgtool.image import Image

NETWORK = "virtio_net"


@dataclass(frozen=True)
class Kept:
    """What the guest keeps from being loaded. disk: blocks that leave the initramfs without the disk;
    network: those that leave the system without its card; certain: it is known to be so."""

    disk: tuple[Block, ...] = ()
    network: tuple[Block, ...] = ()
    certain: bool = True


@rule(
    "linux.virtio.loading",
    Text("Loading of the virtio drivers", "virtio 驱动的加载"),
    severity=Severity.ERROR,
    source="ref 03, field",
    family="linux",
    requires=("linux.virtio.initramfs",),
    fixable=True,
)
def loading(image: Image) -> Iterator[Outcome]:
    """Nothing keeps the virtio drivers from being loaded, in the initramfs or behind it.

    A driver may be there and still not be used: `module_blacklist=` on the kernel command line and a line
    `install virtio_blk /bin/false` in modprobe.d refuse it to whoever asks; `blacklist virtio_blk`,
    `modprobe.blacklist=`, `rd.driver.blacklist=` (dracut) and `blacklist=` (initramfs-tools) keep udev from
    loading it for its device, which is how it is loaded unless the initramfs names it outright. The
    initramfs has a modprobe.d of its own, copied when it was made: that one counts for the disk; for the
    network card the initramfs' counts where it has the driver, else the system's.

    Evidence: the line, with its file, or the argument. Example: `/boot/initrd.img-6.1.0-18-amd64:
    etc/modprobe.d/xen.conf:1: blacklist virtio_blk`. The fix takes the line out, there and in the system.
    """
    guest = image.linux
    default = guest.default_kernel
    if default is None:
        yield not_judged(Text("There is no default kernel.", "没有默认内核。"))
        return
    found = blocks(guest, default, image.profile.linux.virtio_modules_initramfs)
    if found.disk:
        yield _told(
            guest,
            default,
            found.disk,
            Text("the kernel will not see its disk", "内核将无法识别系统盘"),
            certain=found.certain,
        )
    if found.network:
        yield _told(
            guest,
            default,
            found.network,
            Text("the network card stays without a driver", "网卡将没有驱动"),
            certain=True,
        )
    if not found.disk and not found.network:
        yield kept(Text("Nothing keeps the virtio drivers from being loaded.", "virtio 驱动的加载未被阻止。"))


def blocks(guest: LinuxGuest, kernel: Kernel, wanted: tuple[str, ...]) -> Kept:
    """What keeps the drivers of disk and network from being loaded. Raises CannotRead."""
    from imgtool.guest import module_blocks
    from imgtool.guest.initramfs import together

    modules = guest.modules(kernel)
    arguments = guest.kernel_arguments or ""
    needed = required(modules, wanted)
    found: Initramfs | None = None
    inside: list[Block] = []
    if kernel.initrds:
        found = together(guest.initramfs(path) for path in kernel.initrds)
        needed = [it for it in needed if it not in found.builtin_modules(kernel.version)]
        maker = module_blocks.maker_of(found)
        inside = [
            *module_blocks.of_initramfs(found, kernel.initrds[-1]),
            *_asked(kernel, module_blocks.of_arguments(arguments, maker)),
        ]
        outright = module_blocks.named_outright(found, arguments)
    disk: list[Block] = []
    certain = True
    if needed and found is not None:
        aliased = [name for name in wanted if name in needed and name not in ("virtio", "virtio_ring")]
        # nash loads by insmod, which asks no modprobe.d
        refused = [
            it for it in inside if it.refused and it.module in needed and not (maker == "nash" and it.path)
        ]
        passed = [
            it for it in inside if not it.refused and it.module in aliased and it.module not in outright
        ]
        disk = [*refused, *passed]
        certain = bool(refused) or maker in ("initramfs-tools", "dracut", "mkinitcpio")
    return Kept(tuple(disk), tuple(_network(guest, kernel, found, inside)), certain)


def _network(
    guest: LinuxGuest, kernel: Kernel, found: Initramfs | None, inside: list[Block]
) -> Iterator[Block]:
    """The network card's driver, in the initramfs or, where that has none, behind it."""
    from imgtool.guest import module_blocks

    modules = guest.modules(kernel)
    if modules.place(NETWORK) != "module":
        return
    names = {NETWORK, *(it for it in modules.needs.get(NETWORK, ()) if modules.place(it) == "module")}

    def keeping(blocks: Iterable[Block]) -> list[Block]:
        return [it for it in blocks if it.module == NETWORK or (it.refused and it.module in names)]

    if found is not None and found.path_of(NETWORK, kernel.version) and not keeping(inside):
        return  # loaded there, as soon as its device is seen
    arguments = module_blocks.of_arguments(guest.kernel_arguments or "", "unknown", in_root=True)
    yield from keeping([*module_blocks.of_root(guest.tree), *_asked(kernel, arguments)])


def _asked(kernel: Kernel, blocks: Iterable[Block]) -> list[Block]:
    """Those that this kernel knows: `module_blacklist=` came with Linux 4.7, and to RHEL 7 by its makers."""
    known = "el7" in kernel.version or version_key(kernel.version) >= version_key("4.7")
    return [it for it in blocks if known or not it.refused]


def _told(guest: LinuxGuest, kernel: Kernel, blocks: tuple[Block, ...], what: Text, certain: bool) -> Outcome:
    names = ", ".join(dict.fromkeys(it.module for it in blocks))
    said = (it.source if it.path else f"kernel command line: {it.source}" for it in blocks)
    evidence = list(dict.fromkeys(said))[:8]
    remedy = _remedy(guest, kernel, blocks)
    if not certain:
        return undecided(
            Text(
                f"{names} is blacklisted in the initramfs; whether that loads it all the same can't be told.",
                f"initramfs 中将 {names} 列入了黑名单；无法判断其是否仍会被加载。",
            ),
            *evidence,
            remedy=remedy,
        )
    return broken(
        Text(
            f"{names} is kept from being loaded: {what.en}.",
            f"{names} 被禁止加载：{what.zh}。",
        ),
        *evidence,
        remedy=remedy,
    )


@if_known
def _remedy(guest: LinuxGuest, kernel: Kernel, blocks: tuple[Block, ...]) -> Text | None:
    """Take the lines out of the system's modprobe.d and make the initramfs anew; take the arguments out."""
    from imgtool.guest import module_blocks

    names = {it.module for it in blocks}
    lines = [it for it in module_blocks.of_root(guest.tree) if it.module in names]
    commands = []
    for path in dict.fromkeys(it.path for it in lines):
        words = "|".join(sorted({it.module.replace("_", "[-_]") for it in lines if it.path == path}))
        commands.append(f"sed -i -E '/^ *(blacklist|install) +({words})( |$)/s/^/# /' {quoted(path)}")
    arguments = dict.fromkeys(it.source for it in blocks if not it.path)
    commands += [line for word in arguments if (line := drop_argument(guest, word))]
    if any(it.path.startswith(f"{initrd}: ") for it in blocks for initrd in kernel.initrds):
        target = guest.tree.realpath(kernel.initrds[-1])
        commands.append(guest.release.initramfs_command(kernel.version, target))
    commands = [it for it in commands if it]
    return in_guest(*commands) if commands else None
