"""Every text that the Linux rules parse, spoilt in every way: an answer, never a failure of the rule itself.

What spoils nothing for the guest (a comment, a missing last newline) changes no answer; what may must not
make a rule pass that did not pass before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.guest.root import Root, RootSearch
from imgtool.image import Image, Options
from imgtool.lazy import preset
from imgtool.profiles import load_profile
from imgtool.rules import Finding, Severity, Status, discover, run
from tests.checks import boot_guest, linux_guest
from tests.checks.test_cloud_init import GOOD as CLOUD_INIT
from tests.checks.test_cloud_init_modules import WHOLE
from tests.checks.test_network import MANAGER, NETPLAN, NETWORKD, keyfile, plan
from tests.checks.test_sshd import SSHD
from tests.guest import stand_in
from tests.guest.owned_tree import Link, OwnedTree

RULES = {name: rule for name, rule in discover().items() if name.startswith("linux.")}

GUEST: dict[str, Any] = {
    **linux_guest.DEBIAN,
    **CLOUD_INIT,
    **boot_guest.good(),
    **SSHD,
    **NETPLAN,
    **{path: it for path, it in MANAGER.items() if path not in linux_guest.REDHAT},
    **NETWORKD,
    "/etc/fstab": f"UUID={stand_in.ROOT_UUID} / ext4 errors=remount-ro 0 1\n",
    "/etc/passwd": "root:x:0:0::/root:/bin/sh\n",
    "/etc/group": "root:x:0:\nshadow:x:42:\n",
    "/etc/default/grub": 'GRUB_CMDLINE_LINUX="quiet"\n',
    "/etc/adjtime": "0.0 0 0.0\n0\nUTC\n",
    "/etc/cloud/cloud.cfg": WHOLE,
    "/etc/cloud/ds-identify.cfg": "policy: enabled\n",
    "/etc/netplan/01-netcfg.yaml": plan("any", 'match: {name: "e*"}\n      dhcp4: true'),
    "/etc/network/interfaces": "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n",
    "/lib/systemd/system/networking.service": "[Unit]\n",
    "/etc/systemd/system/multi-user.target.wants/networking.service": Link("/lib/systemd/system/x"),
    "/etc/sysconfig/network-scripts/ifcfg-eth0": "DEVICE=eth0\nBOOTPROTO=dhcp\nONBOOT=yes\n",
    "/etc/NetworkManager/NetworkManager.conf": "[main]\nplugins=keyfile\n",
    "/etc/NetworkManager/system-connections/wired.nmconnection": keyfile("eth0", "auto"),
    "/etc/systemd/network/10-lan.network": "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n",
    "/etc/systemd/network/10-lan.link": "[Match]\nDriver=x\n[Link]\nName=lan0\n",
    "/etc/udev/rules.d/10-local.rules": 'SUBSYSTEM=="net", ATTR{address}=="x", NAME="eth0"\n',
    "/etc/selinux/config": "SELINUX=permissive\nSELINUXTYPE=targeted\n",
    "/etc/systemd/logind.conf": "[Login]\n#HandlePowerKey=poweroff\n",
    "/lib/systemd/system/systemd-logind.service": "[Service]\n",
    "/lib/systemd/system/multi-user.target.wants/systemd-logind.service": Link("../systemd-logind.service"),
    "/etc/acpi/events/power": "event=button/power.*\naction=/sbin/poweroff\n",
    "/etc/rc.local": "#!/bin/sh\nexit 0\n",
    "/etc/modprobe.d/local.conf": "blacklist pcspkr\ninstall usb-storage /bin/true\n",
    "/etc/crontab": "@reboot root /bin/true\n",
    "/var/lib/cloud/data/instance-id": "i-1\n",
    "/var/lib/dpkg/info/openssh-server.list": "",
}
GUEST.pop("/usr/bin/yum", None)
OWNED = {
    **linux_guest.OWNED,
    "/etc/NetworkManager/system-connections/wired.nmconnection": (0o600, 0, 0),
    "/etc/rc.local": (0o755, 0, 0),
}
TEXTS = sorted(
    path
    for path, content in GUEST.items()
    if isinstance(content, str)
    and not isinstance(content, Link)
    and content
    and not path.startswith(("/lib/modules", "/usr/lib/python3", "/usr/share"))
)
COMMENTS = b"# a comment of no importance whatsoever, written by a program that did not know when to stop\n"


def judged(files: Mapping[str, Any], unreadable: str = "", **options: Any) -> list[Finding]:
    """All rules on a guest in memory. debug: what goes wrong inside a rule is raised."""
    tree = OwnedTree(files, OWNED, {"/": stand_in.ROOT})
    tree.unreadable |= {unreadable} - {""}
    disk = stand_in.disk(
        stand_in.ROOT, boot_code=boot_guest.GRUB_CODE, blocks=stand_in.ZeroBlocks(parts={512: b"x"})
    )
    root = Root("linux", tree, stand_in.ROOT, agrees=True)  # type: ignore[arg-type]
    image = Image(Path("/nonexistent"), load_profile("tce"), Options(debug=True, **options))
    preset(image, file=SimpleNamespace(), disk=disk, search=RootSearch((root,), (), "unknown"))
    return run(image, RULES)


def answers(files: Mapping[str, Any], **options: Any) -> set[tuple[str, Status, Severity]]:
    return {(it.id, it.status, it.severity) for it in judged(files, **options)}


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "broken UTF-8": lambda data: b"\xff\xfe\xc3(\n" + data + b"\x80 \xf5\xff\n",
    "broken UTF-8 in every line": lambda data: data.replace(b"\n", b"\xc3\n"),
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "tabs": lambda data: data.replace(b" ", b"\t").replace(b"\n", b"\t\n"),
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data: data.decode("utf-8", "replace").encode("utf-16"),
    "10 MB of comments": lambda data: COMMENTS * (10_000_000 // len(COMMENTS)) + data,
    "no last newline": lambda data: data.rstrip(b"\n"),
    "empty": lambda data: b"",
    "zero bytes": lambda data: bytes(4096),
    "zero bytes between": lambda data: data.replace(b"=", b"=\0").replace(b" ", b" \0"),
    "one endless line": lambda data: data.replace(b"\n", b" ") * 20_000,
    "cut in the middle": lambda data: data[: len(data) // 2],
    "a thousand times": lambda data: data * 1000,
    "quotes without an end": lambda data: data.replace(b"=", b'="').replace(b": ", b": '"),
    "backslashes": lambda data: data.replace(b"\n", b"\\\n"),
    "other brackets": lambda data: data.replace(b"[", b"[[").replace(b"{", b"}"),
}


EVERYWHERE = ("broken UTF-8", "CRLF", "byte order mark")
HARMLESS = ("tabs", "no last newline", "a thousand times")


def test_the_guest_itself_gives_an_answer_to_every_rule() -> None:
    assert {it.id for it in judged(GUEST)} == set(RULES)


def ways(path: str) -> list[str]:
    """Of the ways to spoil a text, some for each file; together they meet every kind of file."""
    rest = [how for how in SPOILT if how not in EVERYWHERE]
    first = TEXTS.index(path) * 3
    return [*EVERYWHERE, *(rest[(first + step) % len(rest)] for step in range(3))]


@pytest.mark.parametrize("path", TEXTS)
def test_a_spoilt_text_gets_an_answer_from_every_rule(path: str) -> None:
    for how in ways(path):
        found = judged({**GUEST, path: SPOILT[how](GUEST[path].encode())})
        assert {it.id for it in found} == set(RULES), how


@pytest.mark.parametrize("how", SPOILT)
def test_a_guest_that_is_spoilt_altogether_gets_an_answer_and_does_not_pass(how: str) -> None:
    spoilt = {path: SPOILT[how](GUEST[path].encode()) for path in TEXTS}
    found = judged({**GUEST, **spoilt})
    assert {it.id for it in found} == set(RULES)
    if how not in HARMLESS:
        assert any(it.status in (Status.FAIL, Status.UNKNOWN) for it in found)


# The file in which Windows line ends do harm, and the rule that has to say so
WINDOWS = (
    ("/etc/sysconfig/network-scripts/ifcfg-eth0", "linux.network"),
    ("/etc/network/interfaces.d/lan", "linux.network"),
    ("/etc/passwd", "linux.key-files"),
    ("/etc/shadow", "linux.key-files"),
    ("/usr/bin/cloud-init", "linux.cloud-init.installed"),
)


@pytest.mark.parametrize(("path", "rule"), WINDOWS)
def test_windows_line_ends_are_told_where_they_do_harm(path: str, rule: str) -> None:
    files = {**GUEST, "/etc/network/interfaces.d/lan": "auto eth0\niface eth0 inet dhcp\n"}
    windows = {**files, path: files[path].encode().replace(b"\n", b"\r\n")}
    (finding, *_) = [
        it for it in judged(windows) if it.id == rule and it.status in (Status.WARN, Status.FAIL)
    ]
    before = {it.message.en for it in judged(files) if it.id == rule}
    assert finding.message.en not in before
    assert finding.remedy is not None


@pytest.fixture(scope="module")
def unspoilt() -> set[tuple[str, Status, Severity]]:
    return answers(GUEST)


@pytest.mark.parametrize("path", TEXTS)
def test_what_spoils_nothing_changes_no_answer(
    path: str, unspoilt: set[tuple[str, Status, Severity]]
) -> None:
    data = GUEST[path].encode()
    assert answers({**GUEST, path: SPOILT["no last newline"](data)}) == unspoilt


@pytest.mark.parametrize("how", ["init", "forced"])
@settings(max_examples=20)
@given(data=st.data())
def test_any_bytes_in_any_file_get_an_answer(how: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(TEXTS))
    content = data.draw(
        st.one_of(
            st.binary(max_size=200), st.text(max_size=200).map(lambda it: it.encode("utf-8", "replace"))
        )
    )
    found = judged({**GUEST, path: content}, force_import=how == "forced")
    assert {it.id for it in found} == set(RULES)


# What each rule must have read to say anything, and that lies on a damaged part of the filesystem here
NEEDED = {
    "linux.acpi": "/etc/systemd/logind.conf",
    "linux.clock": "/etc/adjtime",
    "linux.cloud-init.cache": "/var/lib/cloud",
    "linux.cloud-init.modules": "/etc/cloud/cloud.cfg",
    "linux.conflicting-software": "/usr/bin/vmtoolsd",
    "linux.force-import.script": "/etc/rc.local",
    "linux.identity": "/etc/machine-id",
    "linux.network": "/etc/netplan/01-netcfg.yaml",
    "linux.selinux": "/etc/selinux/config",
    "linux.sshd": "/etc/ssh/sshd_config",
    "linux.virtio.loading": f"/boot/initrd.img-{boot_guest.V}",
}


@pytest.mark.parametrize("rule", NEEDED)
def test_a_rule_whose_evidence_is_damaged_is_unknown_and_never_passes(rule: str) -> None:
    found = judged(GUEST, NEEDED[rule], force_import=rule == "linux.force-import.script")
    assert {it.status for it in found if it.id == rule} == {Status.UNKNOWN}
