"""An image under judgement whose Linux guest is a handful of files, for the tests of the Linux rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from imgtool.disk.partitions import Partition
from imgtool.disk.signatures import Signature
from imgtool.disk.volumes import Volume
from imgtool.errors import CannotRead
from imgtool.guest.bootloader import BootEntry, BootLoader
from imgtool.guest.linux import LinuxGuest
from imgtool.image import Options
from imgtool.profiles import load_profile
from imgtool.rules import Outcome, Rule
from imgtool.text import Text
from tests.guest.owned_tree import Link, OwnedTree, elf

ROOT_UUID = "6a2d1f0e-5b1c-4d56-9c1e-2f60b4a1d201"
GRUB = "/boot/grub/grub.cfg"

DEBIAN: dict[str, Any] = {
    "/etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "/etc/debian_version": "12.15\n",
    "/usr/bin/apt-get": elf(0x3E),
    "/sbin/init": Link("/lib/systemd/systemd"),
    "/lib/systemd/systemd": elf(0x3E),
    "/etc/machine-id": "0" * 32,
    "/etc/fstab": f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n",
    "/etc/passwd": "root:x:0:0::/root:/bin/sh\n",
    "/etc/group": "root:x:0:\nshadow:x:42:\n",
    "/etc/shadow": "root:*:1::::::\n",
    "/etc/gshadow": "root:*::\n",
    GRUB: "menuentry\n",
}
OWNED = {"/etc/shadow": (0o640, 0, 42), "/etc/gshadow": (0o640, 0, 42), GRUB: (0o600, 0, 0)}
REDHAT = {
    "/etc/os-release": 'ID="centos"\nVERSION_ID="7"\nPRETTY_NAME="CentOS Linux 7 (Core)"\n',
    "/usr/bin/yum": "#!",
}


def volume(number: int, type_: str = "ext4", uuid: str = "", **more: Any) -> Volume:
    """A partition of the disk."""
    partition = Partition(number, number << 20, 1 << 20, "83", False, "", f"1b2c3d4e-{number:02x}", False)
    return Volume(
        f"partition {number}",
        "partition",
        more.pop("blocks", None),
        Signature(type_, uuid),
        partition,
        **more,
    )


ROOT = volume(1, "ext4", ROOT_UUID)


def image(
    files: Mapping[str, Any] | None = None,
    *,
    without: Sequence[str] = (),
    owned: Mapping[str, tuple[int, int, int]] | None = None,
    volumes: Sequence[Volume] = (ROOT,),
    groups: Sequence[Any] = (),
    arguments: str | None = "root=UUID=x ro quiet",
    **options: Any,
) -> Any:
    """A good Debian 12 but for what is given. arguments: the kernel command line, None for no boot loader."""
    kept = {**DEBIAN, **(files or {})}
    tree = OwnedTree(
        {path: content for path, content in kept.items() if path not in without},
        {**OWNED, **(owned or {})},
        {"/": volumes[0]},
    )
    disk: Any = SimpleNamespace(volumes=tuple(volumes), groups=tuple(groups))
    guest = LinuxGuest(SimpleNamespace(tree=tree, volume=volumes[0]), disk)  # type: ignore[arg-type]
    facts = guest.__dict__.setdefault("_facts", {})
    if arguments is None:
        facts["bootloader"] = (None, CannotRead(Text.same("the boot loader is damaged")))
    else:
        entry = BootEntry("Debian", None, (), arguments)
        facts["bootloader"] = (BootLoader("grub2", GRUB, (entry,), entry), None)
    facts["kernels"] = ((), None)
    return SimpleNamespace(
        linux=guest, profile=load_profile("tce"), options=Options(**options), target="import"
    )


def judge(rule: Rule, given: Any) -> list[Outcome]:
    return list(rule.judge(given))


def only(rule: Rule, given: Any) -> Outcome:
    (outcome,) = judge(rule, given)
    return outcome


def level(rule: Rule, outcome: Outcome) -> str:
    """ "kept", "undecided", "not judged", or the severity of what is broken."""
    return outcome.kind if outcome.kind != "broken" else (outcome.severity or rule.severity).value


def levels(rule: Rule, given: Any) -> list[str]:
    return [level(rule, outcome) for outcome in judge(rule, given)]


def remedy(outcome: Outcome) -> str:
    """The remedy, once both languages have it."""
    assert outcome.remedy is not None
    assert outcome.remedy.zh
    return outcome.remedy.en
