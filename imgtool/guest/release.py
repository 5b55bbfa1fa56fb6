"""Which distribution a guest is: os-release(5), or its older relatives where there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree
    from imgtool.profiles import Distribution

Family = Literal["debian", "redhat", "suse", "arch", "coreos", "unknown"]

_LONGEST_LINE = 1024
_LIMIT = 64 << 10  # bytes of a release file; longer ones are cut off by the reader
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_RELEASE_LINE = re.compile(r"(.*?)\s+(?:release|version)\s+([0-9][\w.-]*)[^(]*(?:\(([^)]*)\))?", re.I)
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")

_FAMILIES: Mapping[str, Family] = {
    "coreos": "coreos",
    "flatcar": "coreos",
    "rhcos": "coreos",
    "debian": "debian",
    "ubuntu": "debian",
    "rhel": "redhat",
    "centos": "redhat",
    "fedora": "redhat",
    "amzn": "redhat",
    "openEuler": "redhat",
    "openeuler": "redhat",
    "kylin": "redhat",
    "tencentos": "redhat",
    "tlinux": "redhat",
    "opencloudos": "redhat",
    "anolis": "redhat",
    "alinux": "redhat",
    "suse": "suse",
    "opensuse": "suse",
    "sles": "suse",
    "arch": "arch",
}
# file, id: those with one line "NAME release VERSION (CODENAME)"; derivatives before what they derive from
_RELEASE_FILES = (
    ("/etc/oracle-release", "ol"),
    ("/etc/rocky-release", "rocky"),
    ("/etc/almalinux-release", "almalinux"),
    ("/etc/tencentos-release", "tencentos"),
    ("/etc/tencent-release", "tencentos"),
    ("/etc/tlinux-release", "tencentos"),
    ("/etc/opencloudos-release", "opencloudos"),
    ("/etc/anolis-release", "anolis"),
    ("/etc/openEuler-release", "openEuler"),
    ("/etc/kylin-release", "kylin"),
    ("/etc/centos-release", "centos"),
    ("/etc/fedora-release", "fedora"),
    ("/etc/redhat-release", ""),
    ("/etc/system-release", ""),
)
_IDS_BY_NAME = (
    ("centos", "centos"),
    ("red hat enterprise", "rhel"),
    ("oracle linux", "ol"),
    ("enterprise linux enterprise linux", "ol"),
    ("rocky", "rocky"),
    ("almalinux", "almalinux"),
    ("scientific linux", "scientific"),
    ("amazon linux", "amzn"),
    ("fedora", "fedora"),
    ("tencentos", "tencentos"),
    ("tencent", "tencentos"),
    ("tlinux", "tencentos"),
    ("opensuse", "opensuse"),
    ("suse linux enterprise", "sles"),
)
_MANAGERS = (
    ("apt-get", ("/usr/bin/apt-get",)),
    ("zypper", ("/usr/bin/zypper",)),
    ("dnf", ("/usr/bin/dnf", "/usr/bin/dnf-3", "/usr/bin/dnf5")),
    ("yum", ("/usr/bin/yum",)),
    ("pacman", ("/usr/bin/pacman",)),
    ("rpm-ostree", ("/usr/bin/rpm-ostree",)),
)
_INSTALL = {
    "apt-get": "apt-get install -y",
    "yum": "yum install -y",
    "dnf": "dnf install -y",
    "zypper": "zypper --non-interactive install",
    "pacman": "pacman -S --noconfirm",
    "rpm-ostree": "rpm-ostree install",
}
# Also what the package database takes for installed, its files being gone. dnf reinstalls only the version
# that is there; --force-confmiss brings back configuration that was removed.
_INSTALL_AGAIN = {
    "apt-get": "apt-get install -y --reinstall -o Dpkg::Options::=--force-confmiss {names}",
    "yum": "yum install -y {names} && yum reinstall -y {names} || yum update -y {names}",
    "dnf": "dnf install -y {names} && dnf reinstall -y {names} || dnf upgrade -y {names}",
    "zypper": "zypper --non-interactive install --force {names}",
}
_REMOVE = {
    "apt-get": "apt-get purge -y",
    "yum": "yum remove -y",
    "dnf": "dnf remove -y",
    "zypper": "zypper --non-interactive remove",
    "pacman": "pacman -Rns --noconfirm",
    "rpm-ostree": "rpm-ostree uninstall",
}
_INITRAMFS_TOOLS = (
    ("mkinitramfs", ("/usr/sbin/mkinitramfs",)),
    ("mkinitrd", ("/sbin/mkinitrd", "/usr/sbin/mkinitrd", "/usr/bin/mkinitrd")),
    ("dracut", ("/sbin/dracut", "/usr/sbin/dracut", "/usr/bin/dracut")),
    ("mkinitcpio", ("/usr/bin/mkinitcpio",)),
)


@dataclass(frozen=True)
class Release:
    """A distribution and its version.

    id and like: as os-release has them, lower case except for openEuler's own; version: the fullest there is
    ("12.15", "7.9.2009"), "" where it has none; pretty: for people; source: the file that says so;
    package_manager and initramfs_tool: the programs that the guest really has, "" for none known.
    """

    id: str
    like: tuple[str, ...] = ()
    version: str = ""
    codename: str = ""
    pretty: str = ""
    family: Family = "unknown"
    package_manager: str = ""
    initramfs_tool: str = ""
    source: str = ""

    @property
    def major(self) -> int | None:
        """The first number of the version."""
        found = re.match(r"[0-9]{1,6}", self.version)
        return int(found[0]) if found else None

    def install_command(self, *packages: str) -> str:
        """The line that installs packages in this guest; "" where its package manager is not known."""
        manager = _INSTALL.get(self.package_manager)
        return " ".join((manager, *packages)) if manager and packages else ""

    def install_again_command(self, *packages: str) -> str:
        """The line that installs packages whatever of them is there already; "" as install_command()."""
        again = _INSTALL_AGAIN.get(self.package_manager)
        return (
            again.format(names=" ".join(packages)) if again and packages else self.install_command(*packages)
        )

    def remove_command(self, *packages: str) -> str:
        """The line that removes packages from this guest; "" where its package manager is not known."""
        manager = _REMOVE.get(self.package_manager)
        return " ".join((manager, *packages)) if manager and packages else ""

    def initramfs_path(self, kernel: str) -> str:
        """Where this distribution keeps the initramfs of a kernel version."""
        if self.family == "debian":
            return f"/boot/initrd.img-{kernel}"
        if self.family == "suse":
            return f"/boot/initrd-{kernel}"
        if self.family == "redhat" and self._enterprise_linux == 5:
            return f"/boot/initrd-{kernel}.img"
        return f"/boot/initramfs-{kernel}.img"

    def initramfs_command(self, kernel: str, target: str = "") -> str:
        """The line that rebuilds the initramfs of a kernel version with virtio in it (ref 03, step 3).

        target: the file that the boot loader loads, where that is known to be another than initramfs_path().

        "" where the guest has no tool that is known. The reference's lines for CentOS 8 and SUSE leave out
        virtio_pci, which dracut then leaves out as well on a machine without it. Distributions without
        `mkinitrd` (it left dracut in version 054) get the dracut line that does the same.
        """
        target = target or self.initramfs_path(kernel)
        if self.package_manager == "rpm-ostree":  # /boot is OSTree's own; a new deployment gets the new one
            modules = "virtio virtio_ring virtio_pci virtio_blk virtio_net"
            return f'rpm-ostree initramfs --enable --arg=--add-drivers --arg="{modules}"'
        if self.family == "debian" and self.initramfs_tool != "dracut":
            modules = "xen-blkfront virtio_blk virtio_pci virtio_console"
            listed = f"printf '%s\\n' {modules} >> /etc/initramfs-tools/modules"
            return f"{listed} && mkinitramfs -o {target} {kernel}"
        if self.initramfs_tool == "mkinitcpio":
            return (
                "sed -i 's/^MODULES=(/MODULES=(virtio_blk virtio_pci virtio_net /' /etc/mkinitcpio.conf"
                f" && mkinitcpio -k {kernel} -g {target}"
            )
        if self.initramfs_tool == "mkinitrd" and self.family == "suse":
            name = target.removeprefix("/boot/")
            return f'mkinitrd -m "virtio_blk virtio_pci virtio_net" -k vmlinuz-{kernel} -i {name}'
        if self.initramfs_tool == "mkinitrd" and self.family == "redhat":
            modules = {
                5: "xen-vbd xen-platform-pci virtio_blk virtio_pci virtio_console",
                6: "xen-blkfront virtio_blk virtio_pci virtio_console",
                7: "xen-blkfront virtio_blk virtio_pci virtio_console",
            }.get(self._enterprise_linux, "virtio_blk virtio_pci virtio_net virtio_console")
            preload = " ".join(f"--with={module} --preload={module}" for module in modules.split())
            return f"mkinitrd -f --allow-missing {preload} {target} {kernel}"
        if self.initramfs_tool in ("dracut", "mkinitrd"):
            return (
                'dracut --force --add-drivers "virtio virtio_ring virtio_pci virtio_blk virtio_net"'
                f" {target} {kernel}"
            )
        return ""

    def bootloader_command(self, config: str) -> str:
        """The line that writes the GRUB configuration at `config` afresh; "" where there is no such tool."""
        if config.endswith((".conf", "menu.lst")) or self.family == "coreos":
            return ""
        if self.family == "debian":
            return "update-grub"
        if self.family == "redhat" and self._enterprise_linux > 8 and "/efi/" in config.lower():
            config = "/boot/grub2/grub.cfg"  # what is in the EFI system partition only leads there
        if self.family in ("redhat", "suse"):
            return f"grub2-mkconfig -o {config}"
        return f"grub-mkconfig -o {config}"

    @property
    def packaged_as_fedora(self) -> bool:
        """Whether packages' names and files' modes are those of Fedora, RHEL and their kin."""
        return self.family == "redhat" or (self.family == "coreos" and self.id in ("fedora", "rhcos"))

    @property
    def _enterprise_linux(self) -> int:
        """The RHEL major version that this one goes by."""
        major = self.major or 0
        if self.id in ("tencentos", "tlinux"):
            return {2: 7, 3: 8, 4: 9}.get(major, 8 if major > 2 else 6)
        if self.id == "amzn":
            return 6 if major > 2016 and major < 2023 else 7 if major == 2 else 9
        return major if 4 < major < 20 else 8


def import_os(release: Release, distributions: Mapping[str, Distribution]) -> tuple[str, str]:
    """(OsType, OsVersion) as ImportImage takes them (ref 21); "" for what is not known.

    distributions: the profile's, by id of os-release. A distribution that is not among them goes by the first
    one that it is like (ID_LIKE); its OsVersion is then not known, because its numbers are its own.
    """
    if release.id in distributions:
        named = distributions[release.id]
        return named.os_type, named.os_version(release.version)
    for relative in release.like:
        if relative in distributions:
            return distributions[relative].os_type, ""
    return "", ""


def parse_os_release(text: str) -> dict[str, str]:
    """The assignments of an os-release or lsb-release file, unquoted as os-release(5) says.

    Lines that are no assignment are passed over; of two assignments to one name the later counts.
    """
    values: dict[str, str] = {}
    for line in text.splitlines():
        found = _ASSIGNMENT.fullmatch(line.strip()) if len(line) <= _LONGEST_LINE else None
        if found is not None:
            values[found[1]] = _unquoted(found[2])
    return values


def _unquoted(value: str) -> str:
    """A value as the shell would read it: double quotes with backslash escapes, single quotes, or bare."""
    if value[:1] == "'":
        return value[1:].partition("'")[0]
    if value[:1] == '"':
        quoted = re.match(r'"((?:[^"\\]|\\.)*)', value, re.DOTALL)
        return re.sub(r'\\([\\"$`])', r"\1", quoted[1]) if quoted else ""
    bare = re.match(r"(?:[^\s\\]|\\.)*", value, re.DOTALL)
    return re.sub(r"\\(.)", r"\1", bare[0]) if bare else ""


def read_release(tree: Tree) -> Release:
    """The guest's distribution; id "" when no file says what it is. Raises CannotRead for damaged files."""
    found = _from_os_release(tree) or _from_release_file(tree) or _from_suse_release(tree)
    found = found or _from_lsb_release(tree) or _from_debian_version(tree) or Release("")
    family = _family(tree, found)
    return Release(
        id=found.id,
        like=found.like,
        version=found.version,
        codename=found.codename,
        pretty=found.pretty or found.id,
        family=family,
        package_manager=_first_there(tree, _MANAGERS),
        initramfs_tool=_first_there(tree, _INITRAMFS_TOOLS),
        source=found.source,
    )


def _text(tree: Tree, path: str) -> str | None:
    return tree.text(path, limit=_LIMIT) if tree.is_file(path) else None


def _from_os_release(tree: Tree) -> Release | None:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        text = _text(tree, path)
        values = parse_os_release(text) if text else {}
        if not values.get("ID"):
            continue
        identity = values["ID"] if values["ID"] == "openEuler" else values["ID"].lower()
        version = values.get("VERSION_ID", "")
        longer = _VERSION.match(values.get("VERSION", ""))
        if version and longer and longer[0].startswith(version + "."):
            version = longer[0]
        codename = values.get("VERSION_CODENAME") or values.get("UBUNTU_CODENAME", "")
        if not codename:
            bracketed = re.search(r"\(([^)]*)\)", values.get("VERSION", ""))
            codename = bracketed[1] if bracketed else ""
        like = tuple(values.get("ID_LIKE", "").split())
        if identity == "fedora" and values.get("VARIANT_ID") == "coreos":
            like = ("coreos", *like)
        return Release(
            id=identity,
            like=like,
            version=_fuller_version(tree, identity, version),
            codename=codename,
            pretty=values.get("PRETTY_NAME") or values.get("NAME", ""),
            source=path,
        )
    return None


def _fuller_version(tree: Tree, identity: str, version: str) -> str:
    """The version with its point release, which these distributions keep in a file of its own."""
    if identity == "debian":
        point = (_text(tree, "/etc/debian_version") or "").strip()
        if _VERSION.fullmatch(point) and _same_major(point, version):
            return point
    if identity == "centos":
        line = _RELEASE_LINE.match((_text(tree, "/etc/centos-release") or "").strip()[:_LONGEST_LINE])
        if line and _same_major(line[2], version):
            return line[2]
    return version


def _same_major(longer: str, version: str) -> bool:
    return not version or longer.partition(".")[0] == version.partition(".")[0]


def _from_release_file(tree: Tree) -> Release | None:
    for path, identity in _RELEASE_FILES:
        line = (_text(tree, path) or "").strip().split("\n")[0][:_LONGEST_LINE]
        found = _RELEASE_LINE.match(line)
        if found is None:
            continue
        name = identity or _id_by_name(found[1])
        if name:
            like = ("rhel", "fedora") if name not in ("fedora", "rhel", "amzn") else ("fedora",)
            return Release(name, like, found[2], found[3] or "", line, source=path)
    return None


def _from_suse_release(tree: Tree) -> Release | None:
    path = "/etc/SuSE-release"
    text = _text(tree, path)
    if not text:
        return None
    pairs = (line.partition("=") for line in text.splitlines())
    values = {key.strip(): value.strip() for key, equals, value in pairs if equals}
    first = text.strip().split("\n")[0][:_LONGEST_LINE]
    version, patch = values.get("VERSION", ""), values.get("PATCHLEVEL", "")
    version = f"{version}.{patch}" if version and patch not in ("", "0") else version
    name = _id_by_name(first) or "sles"
    return Release(name, ("suse",), version, values.get("CODENAME", ""), first, source=path)


def _from_lsb_release(tree: Tree) -> Release | None:
    path = "/etc/lsb-release"
    values = parse_os_release(_text(tree, path) or "")
    if not values.get("DISTRIB_ID"):
        return None
    return Release(
        id=values["DISTRIB_ID"].lower(),
        version=values.get("DISTRIB_RELEASE", ""),
        codename=values.get("DISTRIB_CODENAME", ""),
        pretty=values.get("DISTRIB_DESCRIPTION", ""),
        source=path,
    )


def _from_debian_version(tree: Tree) -> Release | None:
    path = "/etc/debian_version"
    version = (_text(tree, path) or "").strip()
    if not version:
        return None
    number = version if _VERSION.fullmatch(version) else ""
    return Release("debian", (), number, "" if number else version, f"Debian {version}", source=path)


def _id_by_name(name: str) -> str:
    lowered = name.lower()
    return next((identity for words, identity in _IDS_BY_NAME if words in lowered), "")


def _family(tree: Tree, release: Release) -> Family:
    if "coreos" in release.like and release.id == "fedora":
        return "coreos"
    names = (release.id, *release.like)
    if release.id == "kylin":  # its server is built from openEuler, its desktop from Debian, and says so
        names = (*release.like, release.id)
    for name in names:
        family = _FAMILIES.get(name) or _FAMILIES.get(name.split("-")[0])
        if family:
            return family
    if not release.id and tree.is_dir("/etc/coreos"):
        return "coreos"
    return "unknown"


def _first_there(tree: Tree, programs: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    return next((name for name, paths in programs if any(tree.exists(path) for path in paths)), "")
