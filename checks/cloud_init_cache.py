"""What cloud-init left of another instance's life."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.remedy import NAMED, in_guest, removing
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.cloud_cache import CloudCache
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

SHOWN = 8
INTERFACES = "/etc/network/interfaces"
# ref 05, step 4
AS_ASKED = (
    "# This file describes the network interfaces available on your system",
    "# and how to activate them. For more information, see interfaces(5).",
    "source /etc/network/interfaces.d/*",
)


@rule(
    "linux.cloud-init.cache",
    Text("Leftovers of cloud-init", "cloud-init 残留数据"),
    severity=Severity.WARNING,
    source="ref 05",
    family="linux",
    requires=("linux.cloud-init.installed",),
    fixable=True,
)
def cache(image: Image) -> Iterator[Outcome]:
    """/var/lib/cloud holds nothing of another instance, and no network file that cloud-init once wrote is
    left.

    cloud-init keeps there what it has already done; what it did once it does not do again (ref 05 has the
    folder removed before the export). A seed in /var/lib/cloud/seed is taken for an instance's settings. The
    files 50-cloud-init in netplan or /etc/network/interfaces.d, and the ifcfg files, connections and rules
    with cloud-init's mark, hold the address or hardware address of the old machine. On Debian and Ubuntu with
    ifupdown, /etc/network/interfaces has to read interfaces.d, where cloud-init writes, and to leave the
    interfaces to it.

    Evidence: the files, and the instance they are of. Example: `/var/lib/cloud/instance (i-0abc12de)`. The
    fix removes them.
    """
    guest = image.linux
    if image.options.force_import:
        yield not_judged(Text("The import is forced, without cloud-init.", "强制导入，不使用 cloud-init。"))
        return
    if guest.cloud_init.kind == "coreos-cloudinit":
        yield not_judged(Text("coreos-cloudinit keeps nothing.", "coreos-cloudinit 不保存状态。"))
        return
    from imgtool.guest.cloud_cache import STATE
    from imgtool.guest.tree import shown, shown_few

    found = guest.cloud_cache
    faults = 0
    if found.state or found.seed:
        faults += 1
        of = f" ({shown(found.instance)})" if found.instance else ""
        yield broken(
            Text(
                f"{STATE} holds the state of another instance{of}.",
                f"{STATE} 中保留了其他实例的状态{of}。",
            )
            if found.state
            else Text(
                f"{STATE}/seed holds settings that are taken for an instance's own.",
                f"{STATE}/seed 中的数据会被当作实例的配置。",
            ),
            *shown_few((*found.state, *found.seed), SHOWN),
            remedy=in_guest("rm -rf " + " ".join(found.removable)),
        )
    if found.network:
        faults += 1
        yield broken(
            Text(
                "Network files that cloud-init wrote for another instance are left.",
                "残留有 cloud-init 为其他实例生成的网络配置文件。",
            ),
            *shown_few(found.network, SHOWN),
            remedy=in_guest(_without_network_files(found)),
        )
    said = list(interfaces_faults(guest))
    yield from said
    if not faults and not said:
        yield kept(
            Text("Nothing of another instance is left.", "没有其他实例的残留。"), f"{STATE}: no instance"
        )


def _without_network_files(found: CloudCache) -> str:
    """The line that removes all of them, and no administrator's own."""
    from imgtool.guest.cloud_cache import ITS_OWN, MARKED, RULES

    if len(found.network) <= NAMED:
        return removing(found.network, ITS_OWN)
    said = "^#.*(created|generated|automatically).*cloud-init"
    marked = f"grep -lsZiE '{said}' {' '.join((*MARKED, RULES))} | xargs -0r rm -f"
    return f"rm -f {' '.join(ITS_OWN)} && {marked}"


def interfaces_faults(guest: LinuxGuest) -> Iterator[Outcome]:
    """/etc/network/interfaces as ref 05 has it, where ifupdown reads it; linux.network judges addresses."""
    if guest.release.family != "debian" or "ifupdown" not in guest.network.systems:
        return
    from imgtool.guest.network import FIRST
    from imgtool.guest.network_ifupdown import sources

    if guest.network_disabled or not guest.tree.is_file(INTERFACES):
        return
    wrong: list[tuple[Text, str]] = []
    text = guest.tree.text_if_there(INTERFACES, 1 << 20) or ""
    read = sources(text)
    if not any(_reads_parts(path) for path in read):
        wrong.append(
            (
                Text(
                    "it does not read interfaces.d, where cloud-init writes",
                    "未引用 cloud-init 写入的 interfaces.d",
                ),
                f"{INTERFACES}: no `source /etc/network/interfaces.d/*`",
            )
        )
    for interface in guest.network.interfaces:
        if interface.path == INTERFACES and interface.method == "dhcp" and interface.covers(FIRST):
            wrong.append(
                (
                    Text(
                        f"it configures {interface.name}, which cloud-init does as well",
                        f"其中配置了 {interface.name}，与 cloud-init 重复",
                    ),
                    interface.source,
                )
            )
    if not wrong:
        return
    lines = "\\n".join(AS_ASKED)
    yield broken(
        Text(
            f"{INTERFACES} is not as the platform asks: {'; '.join(why.en for why, _ in wrong[:3])}.",
            f"{INTERFACES} 不符合平台要求：{'；'.join(why.zh for why, _ in wrong[:3])}。",
        ),
        *(line for _, line in wrong[:SHOWN]),
        remedy=in_guest(f"printf '{lines}\\n' > {INTERFACES}"),
    )


def _reads_parts(pattern: str) -> bool:
    """Whether a `source` line takes in the file that cloud-init writes, 50-cloud-init."""
    import fnmatch

    names = ("/etc/network/interfaces.d/50-cloud-init", "/etc/network/interfaces.d/50-cloud-init.cfg")
    absolute = pattern if pattern.startswith("/") else f"/etc/network/{pattern}"
    return any(fnmatch.fnmatchcase(name, absolute) for name in names) or absolute.rstrip("/").endswith(
        "/interfaces.d"
    )
