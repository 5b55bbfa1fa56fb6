"""Small whole disks of what people really send: a finding or an `unknown`, no failure, no silent pass."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures import ext4, lvm, tables
from fixtures.command import run
from fixtures.layouts import write
from fixtures.sparse import empty
from imgtool.image import Options
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.report.model import ImageReport, Report
from imgtool.report.text import layout, plain
from imgtool.rules import Status, discover
from tests.checks.test_bad_text import GUEST, OWNED
from tests.guest.made_disks import Part, disk_file
from tests.guest.memory_tree import Link
from tests.guest.stand_in import ROOT_UUID

MIB = 1 << 20
OTHER_UUID = "0c9b7d52-8e0f-4a3b-8d7a-95f1c7e6d302"
KERNEL = "/boot/vmlinuz-6.1.0-18-amd64"
Files = Mapping[str, Any]


def make_ext4(image: Path, offset: int, size: int, files: Files, uuid: str) -> None:
    """An ext4 with the files and links of a guest, its owners and modes."""
    run(ext4.mke2fs(image, uuid, offset=offset, size=size))
    edit = ext4.Ext4Edit(image, offset)
    folders: set[str] = set()
    for path, content in files.items():
        parts = path.strip("/").split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            if (folder := "/" + "/".join(parts[:depth])) not in folders:
                folders.add(folder)
                edit.folder(folder)
        if isinstance(content, Link):
            edit.symlink(path, str(content))
            continue
        data = content.encode() if isinstance(content, str) else content
        program = data.startswith((b"#!", b"\x7fELF"))
        mode, uid, gid = OWNED.get(path, (0o755 if program else 0o644, 0, 0))
        edit.write(path, data, mode=mode, uid=uid, gid=gid)
    edit.apply()


def guest(uuid: str = ROOT_UUID, **changes: Any) -> dict[str, Any]:
    """A whole small Debian, but for what is given (None: not there)."""
    files = {path: it for path, it in {**GUEST, **changes}.items() if it is not None}
    grub = str(files.get("/boot/grub/grub.cfg", "")).replace(ROOT_UUID, uuid)
    fstab = str(files["/etc/fstab"]).replace(ROOT_UUID, uuid)
    if "/boot/grub/grub.cfg" in files:
        files["/boot/grub/grub.cfg"] = grub
    return {**files, "/etc/fstab": fstab}


def partitions(path: Path, *systems: tuple[Files, str]) -> Path:
    """An MBR disk with one ext4 of 40 MiB for each."""
    size = 40 * MIB
    empty(path, MIB + size * len(systems))
    starts = [MIB + size * index for index in range(len(systems))]
    write(
        path,
        0,
        tables.mbr(*(tables.Entry(start // 512, size // 512, 0x83, active=start == MIB) for start in starts)),
    )
    for start, (files, uuid) in zip(starts, systems, strict=True):
        make_ext4(path, start, size, files, uuid)
    return path


@dataclass(frozen=True)
class Split:
    """A volume group vg0 with a root and a /usr, of one physical volume or of two."""

    usr_on_second: bool = False
    root_on_second: bool = False
    second_there: bool = True

    def make(self, path: Path, root: Files, usr: Files) -> Path:
        """The disk: one partition a physical volume; the second may be left out."""
        size = 120 * MIB
        first = lvm.PhysicalVolume("pv0", "1aQwErTyUiOpAsDfGhJkLzXcVbNm1234", size, "/dev/vda1")
        second = lvm.PhysicalVolume("pv1", "2bQwErTyUiOpAsDfGhJkLzXcVbNm1234", size, "/dev/vdb1")
        extents = 10
        places = [
            lvm.Segment("pv1" if self.root_on_second else "pv0", 0, extents),
            lvm.Segment("pv1" if self.usr_on_second else "pv0", extents, extents),
        ]
        volumes = (
            lvm.LogicalVolume("root", "3cQwErTyUiOpAsDfGhJkLzXcVbNm1234", (places[0],)),
            lvm.LogicalVolume("usr", "5eQwErTyUiOpAsDfGhJkLzXcVbNm1234", (places[1],)),
        )
        two = self.usr_on_second or self.root_on_second
        group = lvm.VolumeGroup(
            "vg0", "4dQwErTyUiOpAsDfGhJkLzXcVbNm1234", (first, second) if two else (first,), volumes
        )
        there = (first, second) if two and self.second_there else (first,)
        empty(path, MIB + size * len(there))
        starts = {each.name: MIB + size * index for index, each in enumerate(there)}
        write(path, 0, tables.mbr(*(tables.Entry(it // 512, size // 512, 0x8E) for it in starts.values())))
        for each in there:
            group.label(path, starts[each.name], each)
        for place, files, uuid in zip(places, (root, usr), (ROOT_UUID, OTHER_UUID), strict=True):
            if place.volume in starts:
                content = path.with_name("volume")
                empty(content, extents * lvm.EXTENT)
                make_ext4(content, 0, extents * lvm.EXTENT, files, uuid)
                write(
                    path,
                    starts[place.volume] + lvm.DATA_START + place.start * lvm.EXTENT,
                    content.read_bytes(),
                )
                content.unlink()
        return path


def split_guest() -> tuple[dict[str, Any], dict[str, Any]]:
    """The guest with its /usr on a logical volume of its own: the root, and what is in /usr."""
    whole = guest()
    fstab = "/dev/mapper/vg0-root / ext4 defaults 0 1\n/dev/mapper/vg0-usr /usr ext4 defaults 0 2\n"
    grub = str(whole["/boot/grub/grub.cfg"]).replace(f"root=UUID={ROOT_UUID}", "root=/dev/mapper/vg0-root")
    root = {path: it for path, it in whole.items() if not path.startswith("/usr/")}
    usr = {path.removeprefix("/usr"): it for path, it in whole.items() if path.startswith("/usr/")}
    return {**root, "/etc/fstab": fstab, "/boot/grub/grub.cfg": grub, "/usr/x": ""}, usr


def judged(path: Path) -> ImageReport:
    return judge(path, Request(load_profile("tce"), discover(), options=Options(debug=True)))


def statuses(report: ImageReport, *but: str) -> dict[str, set[Status]]:
    """Of the rules on the guest."""
    found: dict[str, set[Status]] = {}
    for finding in report.findings:
        if finding.id.startswith("linux.") and finding.id not in but:
            found.setdefault(finding.id, set()).add(finding.status)
    return found


def failed(report: ImageReport) -> set[str]:
    return {it.id for it in report.findings if it.status is Status.FAIL}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ImageReport:
    """The report on the small guest as it is."""
    return judged(partitions(tmp_path_factory.mktemp("whole") / "disk.raw", (guest(), ROOT_UUID)))


def test_the_small_guest_has_no_fault_but_its_boot_code(whole: ImageReport) -> None:
    assert failed(whole) == {"disk.boot-mode"}


@pytest.mark.parametrize(
    "gone", [[KERNEL], [KERNEL, "/boot/grub/grub.cfg"]], ids=["in the menu", "and no menu"]
)
def test_without_any_kernel_the_image_fails(gone: list[str], tmp_path: Path) -> None:
    report = judged(partitions(tmp_path / "disk.raw", (guest(**dict.fromkeys(gone)), ROOT_UUID)))
    assert failed(report) & {"linux.kernel", "linux.bootloader"}
    assert report.verdict == "fail"


def test_of_two_roots_one_is_judged_and_both_are_told(whole: ImageReport, tmp_path: Path) -> None:
    """The second has no cloud-init: were it judged, that would be an error."""
    second = {path: it for path, it in guest(OTHER_UUID).items() if "cloud" not in path}
    report = judged(partitions(tmp_path / "disk.raw", (guest(), ROOT_UUID), (second, OTHER_UUID)))
    (root,) = [it for it in report.findings if it.id == "disk.root"]
    assert root.status is Status.WARN
    assert "partition 2" in root.message.en
    assert statuses(report) == statuses(whole)


def test_a_root_split_over_two_logical_volumes_is_read_as_one(whole: ImageReport, tmp_path: Path) -> None:
    report = judged(Split().make(tmp_path / "disk.raw", *split_guest()))
    differ = ("linux.fstab.device-names", "linux.lvm")  # of the two, only this guest is on logical volumes
    assert statuses(report, *differ) == statuses(whole, *differ)
    assert statuses(report)["linux.lvm"] == {Status.PASS}
    both = judged(Split(usr_on_second=True).make(tmp_path / "disk.raw", *split_guest()))
    assert statuses(both) == statuses(report)


def test_where_usr_lies_on_a_disk_that_is_missing_nothing_in_it_is_said_to_be_absent(tmp_path: Path) -> None:
    report = judged(Split(usr_on_second=True, second_there=False).make(tmp_path / "disk.raw", *split_guest()))
    assert "disk.other-disks" in failed(report)
    assert not failed(report) & {"linux.cloud-init.installed", "linux.sshd"}
    assert statuses(report)["linux.cloud-init.installed"] == {Status.UNKNOWN}


def test_where_the_root_itself_lies_on_a_disk_that_is_missing_the_image_fails(tmp_path: Path) -> None:
    report = judged(
        Split(root_on_second=True, second_there=False).make(tmp_path / "disk.raw", *split_guest())
    )
    assert "disk.other-disks" in failed(report)
    assert report.verdict == "fail"
    (root,) = [it for it in report.findings if it.id == "disk.root"]
    assert root.status is Status.UNKNOWN


SMALL = {
    "etc/os-release": "ID=debian\nVERSION_ID=12\n",
    "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
    "lib/systemd/systemd": "#!",
    "sbin/init": "-> /lib/systemd/systemd",
    "bin/sh": "#!",
    "usr/x": "",
}
NEWLINE = "x\nPASS everything\x1b[2J"
STRANGE = {
    f"etc/ssh/sshd_config.d/{NEWLINE}.conf": "PasswordAuthentication no\n",
    "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\n",
    "usr/sbin/sshd": "x",
    f"etc/cloud/cloud.cfg.d/{NEWLINE}.cfg": "datasource_list: [Azure]\n",
    "etc/cloud/cloud.cfg": "a: [\n",
    f"boot/vmlinuz-6.1\n{NEWLINE}": "kernel",
    f"etc/udev/rules.d/{NEWLINE}.rules": 'SUBSYSTEM=="net", ATTR{address}=="00:50:56:00:00:01", NAME="e"\n',
    f"var/lib/dhcp/{NEWLINE}.leases": "x",
    f"var/lib/cloud/data/{NEWLINE}": "x",
    f"etc/systemd/system/multi-user.target.wants/{NEWLINE}.service": "-> /dev/null",
    f"etc/init.d/{NEWLINE}": "#!/bin/sh\nmount /dev/cdrom; . os.conf\n",
    f"home/{NEWLINE}/.bash_history": "x",
    "boot/grub/grub.cfg": f"menuentry '{NEWLINE}' {{\n linux /boot/vmlinuz root=/dev/sda1\n}}\n",
}


def written(form: str, report: ImageReport) -> str:
    """The report in one of its forms."""
    if form == "text":
        return plain(layout(report, "en", 100, verbose=True))
    said: str = importlib.import_module(f"imgtool.report.{form}").render(Report((report,), "1"), "en")
    return said


@pytest.mark.parametrize("forced", [False, True])
def test_names_with_newlines_forge_no_line_of_a_report(forced: bool, tmp_path: Path) -> None:
    fstab = f"UUID=x /{NEWLINE.replace(chr(10), chr(92) + '012')} ext4 defaults 0 0\n"
    disk = disk_file(tmp_path, Part({**SMALL, **STRANGE, "etc/fstab": fstab}))
    options = Options(debug=True, force_import=forced)
    report = judge(disk, Request(load_profile("tce"), discover(), options=options))
    assert report.verdict == "fail"
    for form in ("text", "json", "junit", "sarif", "markdown", "html"):
        said = written(form, report)
        assert "\x1b[2J" not in said, form
        assert not [line for line in said.splitlines() if line.strip().startswith("PASS everything")], form


LOOPS = {
    "etc/ssh": "-> ssh",
    "etc/cloud": "-> ../etc/cloud",
    "etc/systemd": "-> /etc/systemd",
    "etc/network": "-> netplan",
    "etc/netplan": "-> network",
    "etc/sysconfig/network-scripts": "-> .",
    "etc/init.d": "-> rc.d/init.d",
    "etc/rc.d/init.d": "-> ../init.d",
    "etc/shadow": "-> shadow-",
    "etc/shadow-": "-> shadow",
    "etc/selinux": "-> ..",
    "boot/grub": "-> .",
    "var/lib/cloud": "-> cloud",
    "var/log": "-> log/log",
}


def test_links_that_lead_round_in_circles_get_an_answer(tmp_path: Path) -> None:
    report = judged(disk_file(tmp_path, Part({**SMALL, **LOOPS})))
    assert report.verdict == "fail"
    assert {"linux.key-files", "linux.bootloader"} <= failed(report)
