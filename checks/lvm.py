"""LVM in the guest: it looks at the platform's disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.remedy import if_known, in_guest
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume
    from imgtool.guest.linux import LinuxGuest
    from imgtool.guest.lvm_filter import Refusal
    from imgtool.image import Image

LIMIT = 1 << 20  # bytes of lvm.conf
DEVICES_FILE = "/etc/lvm/devices/system.devices"


@rule(
    "linux.lvm",
    Text("LVM's device filter", "LVM 设备过滤器"),
    severity=Severity.ERROR,
    source="field",
    family="linux",
    requires=("linux.kernel",),
)
def device_filter(image: Image) -> Iterator[Outcome]:
    """LVM's filters let the platform's disk, /dev/vda, through.

    A `filter` or `global_filter` in lvm.conf that takes only the old machine's disks (`a|^/dev/sda|`) leaves
    /dev/vda out: its volume group is not found. The initramfs has its own copy of the file, which counts for
    the root; the system's counts for the other volumes. Since RHEL 9 the file system.devices lists the disks
    by their identities; where these are of the old machine's hardware, that is a warning.

    Evidence: the file and the filter. Example: `/etc/lvm/lvm.conf: filter = [ a|^/dev/sda2$|, r|.*| ]`. The
    fix takes the filter out and makes the initramfs anew.
    """
    guest = image.linux
    members = [it for it in guest.disk.volumes if it.signature.type == "LVM2_member"]
    if not members or not any(it.kind == "lv" for it in guest.disk.volumes):
        yield not_judged(Text("The disk has no LVM.", "磁盘未使用 LVM。"))
        return
    faults = [*_filters(guest, members), *_listed(guest, members)]
    yield from faults
    if not faults:
        yield kept(Text("LVM looks at the platform's disk.", "LVM 会使用平台的磁盘。"))


def _filters(guest: LinuxGuest, members: list[Volume]) -> Iterator[Outcome]:
    from imgtool.guest.lvm_filter import CONFIGS, names_on_platform, refusal

    def refused(texts: list[str]) -> Refusal | None:
        found = (refusal(texts, names_on_platform(member)) for member in members)
        return next((it for it in found if it is not None), None)

    own = refused([guest.tree.text_if_there(f"/{path}", LIMIT) or "" for path in CONFIGS])
    inside, path = None, ""
    kernel = guest.default_kernel
    if guest.root.volume.kind == "lv" and kernel is not None:
        for path in kernel.initrds:
            settings = guest.initramfs(path).settings
            texts = [settings.get(name, b"").decode("utf-8", "replace") for name in CONFIGS]
            inside = inside or refused(texts)
    if inside is not None:
        place = Text("in the initramfs: the root is not found", "（initramfs 中）：将找不到根文件系统")
        yield _told(guest, inside, f"{path}: etc/lvm/lvm.conf", place, None)
    elif own is not None:
        others = _left_to_the_system(guest)
        severity = None if others else Severity.WARNING
        place = (
            Text(f"in the system: {others[0]} is not found", f"（系统中）：将找不到 {others[0]}")
            if others
            else Text(
                "in the system: LVM's commands do not see it, and the next initramfs has the filter too",
                "（系统中）：LVM 命令将看不到该磁盘，重新生成的 initramfs 也会带上该过滤器",
            )
        )
        yield _told(guest, own, "/etc/lvm/lvm.conf", place, severity)


def _left_to_the_system(guest: LinuxGuest) -> list[str]:
    """The logical volumes that the boot mounts and that the initramfs does not look for: not the root, and
    not what dracut is told (`rd.lvm.lv=`, once `rd_LVM_LV=`)."""
    from imgtool.guest.devices import resolve

    words = (guest.kernel_arguments or "").split()
    early = {it.partition("=")[2] for it in words if it.startswith(("rd.lvm.lv=", "rd_LVM_LV="))}
    found: dict[str, None] = {}
    for entry in guest.fstab if guest.tree.exists("/etc/fstab") else ():
        there = None if entry.problems else resolve(entry.spec, guest.disk, guest.own_disks)
        if isinstance(there, str) or there is None or there.kind != "lv" or there == guest.root.volume:
            continue
        if entry.mandatory and there.name not in early:
            found[there.name] = None
    return list(found)


def _told(guest: LinuxGuest, refusal: Refusal, path: str, place: Text, severity: Severity | None) -> Outcome:
    evidence = f"{path}: {refusal.setting}"
    if not refusal.certain:
        return undecided(
            Text(
                "Whether LVM's filter lets /dev/vda through can't be told.",
                "无法判断 LVM 的过滤器是否允许 /dev/vda。",
            ),
            evidence,
            remedy=_without_filter(guest),
        )
    return broken(
        Text(
            f"LVM's filter leaves /dev/vda out, {place.en}.",
            f"LVM 的过滤器排除了 /dev/vda{place.zh}。",
        ),
        evidence,
        severity=severity,
        remedy=_without_filter(guest),
    )


@if_known
def _without_filter(guest: LinuxGuest) -> Text | None:
    commands = [r"sed -i -E 's/^([ \t]*)((global_)?filter[ \t]*=)/\1# \2/' /etc/lvm/lvm.conf"]
    kernel = guest.default_kernel
    if kernel is not None and kernel.initrds:
        target = guest.tree.realpath(kernel.initrds[-1])
        commands.append(guest.release.initramfs_command(kernel.version, target))
    return in_guest(*(it for it in commands if it))


def _listed(guest: LinuxGuest, members: list[Volume]) -> Iterator[Outcome]:
    """RHEL 9's list of disks: identities of the old machine's hardware name nothing here."""
    here = {it.signature.uuid.replace("-", "") for it in members}
    lines = [
        (number, line)
        for number, line in enumerate(
            (guest.tree.text_if_there(DEVICES_FILE, LIMIT) or "").splitlines()[:1000], start=1
        )
        if "IDTYPE=" in line and "IDTYPE=devname" not in line
    ]
    bound = [(number, line) for number, line in lines if any(f"PVID={uuid}" in line for uuid in here)]
    if bound:
        yield broken(
            Text(
                f"{DEVICES_FILE} knows this disk by an identity of the old machine's hardware: LVM may not"
                " look at it.",
                f"{DEVICES_FILE} 以原机器的硬件标识记录该磁盘：LVM 可能不会使用它。",
            ),
            *(f"{DEVICES_FILE}:{number}: {line[:160]}" for number, line in bound[:8]),
            severity=Severity.WARNING,
            remedy=in_guest(f"rm -f {DEVICES_FILE}"),
        )
