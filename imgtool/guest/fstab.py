"""The guest's /etc/fstab, as util-linux and systemd read it (fstab(5); libmount's tab_parse.c)."""

from __future__ import annotations

import re

from imgtool.records import dataclass
from imgtool.text import Text

MOST_ENTRIES = 4096
SIZE_LIMIT = 16 << 20  # bytes: far more than any real table, little enough to hold
LONGEST_LINE = 4096  # what getmntent of the C library reads of one
SHOWN = 200

PSEUDO_TYPES = frozenset(
    {"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs"}
    | {
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "ignore",
        "mqueue",
        "none",
        "nfsd",
        "nsfs",
        "overlay",
        "aufs",
        "proc",
    }
    | {"pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tmpfs", "tracefs", "usbfs"}
)
NETWORK_TYPES = frozenset(
    {
        "afs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
    }
    | {"ncpfs", "nfs", "nfs4", "smb3", "smbfs", "sshfs"}
)
# What systemd mounts as if it were a disk of its own (basic/mountpoint-util.c, fstype_is_network)
HOST_SHARES = frozenset({"9p", "virtiofs", "vboxsf", "prl_fs", "vmhgfs", "fuse.vmhgfs-fuse"})
_OCTAL = re.compile(rb"\\([0-7]{3})")
_FIELD = re.compile(r"[^ \t]+")
_OPTION = re.compile(r'(?:[^,"]|"[^"]*"?)+')
_TAG = re.compile(r"(UUID|LABEL|PARTUUID|PARTLABEL|ID)=(.*)", re.DOTALL)

_TOO_FEW = Text(
    "The line has fewer than three fields (device, mount point, type), and mount ignores it.",
    "该行少于三个字段（设备、挂载点、类型），mount 会忽略它。",
)
_NOT_A_NUMBER = Text(
    "The fifth and sixth fields are not numbers: mount -a ignores this line, systemd may not.",
    "第五、第六个字段不是数字：mount -a 会忽略该行，而 systemd 未必忽略。",
)
_BYTE_ORDER_MARK = Text(
    "A byte order mark stands before the first field and is read as a part of it.",
    "首个字段前有字节顺序标记（BOM），会被当作该字段的一部分。",
)
_MOUNT_POINT = Text(
    "The mount point is not an absolute path.",
    "挂载点不是绝对路径。",
)
_ZERO_BYTE = Text(
    "The line holds a zero byte: reading stops there.",
    "该行含有零字节，读取会在此处中断。",
)
_TOO_LONG = Text(
    f"The line is longer than {LONGEST_LINE} bytes and was not read.",
    f"该行超过 {LONGEST_LINE} 字节，未读取。",
)
_TOO_MANY = Text(
    f"The table has more than {MOST_ENTRIES} entries; the rest was not read.",
    f"该表超过 {MOST_ENTRIES} 个条目，其余部分未读取。",
)


@dataclass(frozen=True)
class FstabEntry:
    """One line of fstab that is neither empty nor a comment.

    line: counted from 1; raw: the line as it stands in the file, without its line end; fields are decoded
    (octal escapes, quotes around a tag's value) and empty where the line lacks them; problems: why the line
    is not read as it was meant; remarks: what one reader of the file takes amiss and others let pass.
    """

    line: int
    raw: str
    spec: str
    mount_point: str = ""
    type: str = ""
    options: tuple[str, ...] = ()
    freq: int = 0
    passno: int = 0
    problems: tuple[Text, ...] = ()
    remarks: tuple[Text, ...] = ()

    def __str__(self) -> str:
        """The line as evidence: "/etc/fstab:4: /dev/vdb1 /data ext4 defaults 0 0"."""
        words = " ".join(self.raw[: 2 * SHOWN].split())
        words = "".join(letter if letter.isprintable() else "?" for letter in words)
        return f"/etc/fstab:{self.line}: {words[:SHOWN]}" + ("…" if len(words) > SHOWN else "")

    def option(self, name: str) -> str | None:
        """The value of the last option `name=value` ("" for a bare `name`); None when it is not given."""
        for option in reversed(self.options):
            key, _, value = option.partition("=")
            if key == name:
                return value
        return None

    @property
    def tag(self) -> tuple[str, str] | None:
        """("UUID" | "LABEL" | "PARTUUID" | "PARTLABEL" | "ID", value) when the device is named by a tag."""
        return split_tag(self.spec)

    @property
    def is_swap(self) -> bool:
        """The entry is swap space."""
        return self.type == "swap"

    @property
    def is_bind(self) -> bool:
        """The entry mounts a folder of the guest at a second place."""
        return bool({"bind", "rbind"} & set(self.options))

    @property
    def is_host_share(self) -> bool:
        """The entry mounts a folder that only the old machine's hypervisor gives."""
        return self.type in HOST_SHARES and "_netdev" not in self.options

    @property
    def is_network(self) -> bool:
        """The entry is mounted over the network."""
        return (
            self.type in NETWORK_TYPES
            or "_netdev" in self.options
            or self.spec.startswith("//")
            or bool(re.match(r"[^/=]+:/", self.spec))
        )

    @property
    def is_pseudo(self) -> bool:
        """The entry needs no storage (proc, tmpfs, overlay ...)."""
        return self.type in PSEUDO_TYPES and not self.spec.startswith("/dev/") and self.tag is None

    @property
    def is_file(self) -> bool:
        """The entry's device is a file of the guest: a swap file, a loop-mounted image."""
        return self.spec.startswith("/") and not self.spec.startswith(("/dev/", "//"))

    @property
    def needs_device(self) -> bool:
        """The entry needs a block device on this machine."""
        if self.is_bind or self.is_network or self.is_pseudo or self.is_file or self.spec == "/dev/root":
            return False  # /dev/root is whatever the kernel has mounted as /
        return self.tag is not None or self.spec.startswith("/dev/")

    @property
    def nofail(self) -> bool:
        """The boot goes on without it (systemd.mount(5), mountall's and sysvinit's nobootwait/nofail)."""
        return bool({"nofail", "nobootwait"} & set(self.options))

    @property
    def at_boot(self) -> bool:
        """The entry is mounted, or switched on, while the guest boots."""
        return not ({"noauto", "x-systemd.automount", "comment=systemd.automount"} & set(self.options))

    @property
    def mandatory(self) -> bool:
        """The boot stops when the device is not there. Swap is not: systemd waits for it, and goes on."""
        return self.needs_device and self.at_boot and not self.nofail and not self.is_swap


def split_tag(spec: str) -> tuple[str, str] | None:
    """("UUID", value) of `UUID=value` and its kin, quotes removed; None for a spec that is no tag."""
    found = _TAG.fullmatch(spec)
    if found is None:
        return None
    value = found[2]
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return found[1], value


def parse_fstab(text: str) -> tuple[FstabEntry, ...]:
    """The entries of an fstab, in order; comments and empty lines left out.

    Time and memory are linear in the text; at most MOST_ENTRIES entries are read, and the last of them then
    says so.
    """
    entries: list[FstabEntry] = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")  # noqa: PLW2901 - libmount drops it as well
        content = line.removeprefix("\ufeff")
        first = content.lstrip(" \t")[:1]
        if not first or (first == "#" and content == line):
            continue
        if len(entries) == MOST_ENTRIES:
            entries.append(FstabEntry(number, line, "", problems=(_TOO_MANY,)))
            break
        if len(line) > LONGEST_LINE:
            entries.append(FstabEntry(number, line[:LONGEST_LINE], "", problems=(_TOO_LONG,)))
            continue
        entries.append(_entry(number, line))
    return tuple(entries)


def _entry(number: int, line: str) -> FstabEntry:
    content = line.removeprefix("\ufeff")
    problems = [_BYTE_ORDER_MARK] if content != line else []
    if "\0" in content:
        problems.append(_ZERO_BYTE)
        content = content.partition("\0")[0]
    fields: list[str] = []
    for found in _FIELD.finditer(content):
        fields.append(found[0])
        if len(fields) == 6:
            break
    words = [_decoded(field) for field in fields[:4]] + [""] * (4 - len(fields))
    spec, mount_point, kind, options = words
    freq, passno = (_number(fields[index]) if len(fields) > index else 0 for index in (4, 5))
    if len(fields) < 3:
        problems.append(_TOO_FEW)
    elif not mount_point.startswith("/") and kind != "swap" and mount_point not in ("none", "swap"):
        problems.append(_MOUNT_POINT)
    tag = split_tag(spec)
    return FstabEntry(
        line=number,
        raw=line,
        spec=f"{tag[0]}={tag[1]}" if tag else spec,
        mount_point=_without_trailing_slash(mount_point),
        type=kind,
        options=tuple(_OPTION.findall(options)),
        freq=freq or 0,
        passno=passno or 0,
        problems=tuple(problems),
        remarks=(_NOT_A_NUMBER,) if freq is None or passno is None else (),
    )


def _decoded(field: str) -> str:
    if "\\" not in field:
        return field
    data = field.encode("utf-8", "surrogateescape")
    data = _OCTAL.sub(lambda found: bytes((int(found[1], 8) & 0xFF,)), data)
    return data.decode("utf-8", "replace")


def _number(field: str) -> int | None:
    return int(field) if re.fullmatch(r"[+-]?[0-9]{1,10}", field) else None


def _without_trailing_slash(path: str) -> str:
    return path.rstrip("/") or "/" if path.startswith("/") else path
