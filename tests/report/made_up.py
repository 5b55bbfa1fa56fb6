"""Reports made up for the tests: one of everything, and one whose words come from an attacker."""

from __future__ import annotations

from typing import Any

from imgtool.facts import no_facts
from imgtool.report.model import ImageReport, Report
from imgtool.rules import Finding, Severity, Status, verdict
from imgtool.text import Text

HOSTILE = (
    '\x1b]0;owned\x07\x1b[31m\u202e<script>alert(1)</script> ``` [x](http://a) | & "q" \x9b \udcff'
    "\n# h1\r\x00"
)


def finding(ident: str, status: Status, severity: Severity = Severity.ERROR, **given: Any) -> Finding:
    values: dict[str, Any] = {
        "title": Text("Virtio in the initramfs", "initramfs 中的 virtio"),
        "message": Text("The initramfs lacks virtio_blk.", "initramfs 中缺少 virtio_blk。"),
        **given,
    }
    return Finding(ident, status, severity, **values)


FAILED = finding(
    "linux.virtio.initramfs",
    Status.FAIL,
    platform_code="VirtioNotInstall",
    evidence=(
        "/boot/initrd.img-6.1.0-28-amd64: no virtio_blk",
        "/boot/config-6.1.0-28-amd64:3: CONFIG_VIRTIO_BLK=m",
    ),
    remedy=Text(
        "Rebuild it in the guest:\nupdate-initramfs -u -k 6.1.0-28-amd64",
        "请在系统内重建：\nupdate-initramfs -u -k 6.1.0-28-amd64",
    ),
    fixable=True,
)
WARNED = finding(
    "image.snapshots",
    Status.WARN,
    Severity.WARNING,
    message=Text("There are 2 snapshots.", "有 2 个内部快照。"),
)
NOTED = finding(
    "disk.root.last", Status.WARN, Severity.INFO, message=Text("Root can't grow.", "根分区无法扩展。")
)
OPEN = finding("disk.filesystem.clean", Status.UNKNOWN, message=Text("It can't be read.", "无法读取。"))
KEPT = finding("image.format", Status.PASS, message=Text("It is qcow2.", "格式为 qcow2。"))
SKIPPED = finding("linux.fstab", Status.SKIP, message=Text("Not judged.", "未判定。"))
EVERYTHING = (KEPT, NOTED, WARNED, FAILED, OPEN, SKIPPED)
FACTS = {
    **no_facts(),
    "format": "qcow2",
    "variant": "v3",
    "virtual_size": 4 << 30,
    "actual_size": 565706752,
    "partition_table": "mbr",
    "boot_mode": "bios",
    "os": {
        "family": "linux",
        "distro": "debian",
        "version": "12.15",
        "pretty_name": "Debian GNU/Linux 12 (bookworm)",
        "arch": "x86_64",
        "import_os_type": "Debian",
        "import_os_version": "12",
    },
}


def image(*findings: Finding, path: str = "golden/image.qcow2", **given: Any) -> ImageReport:
    values: dict[str, Any] = {"facts": FACTS, "fail_on": Severity.ERROR, **given}
    return ImageReport(
        path=path,
        profile="tce",
        target="import",
        verdict=verdict(findings, values["fail_on"]),
        duration_s=0.2149,
        findings=findings,
        **values,
    )


def report(*images: ImageReport) -> Report:
    return Report(images or (image(*EVERYTHING),), "0.1.0")


def hostile_report() -> Report:
    """Every text that can come from an image is an attack."""
    nasty = Text(HOSTILE, HOSTILE)
    bad = finding("linux.fstab", Status.FAIL, message=nasty, evidence=(HOSTILE, HOSTILE), remedy=nasty)
    kept = finding("disk.root", Status.PASS, message=nasty)
    system = {**FACTS["os"], "pretty_name": HOSTILE, "distro": HOSTILE, "arch": HOSTILE}
    return report(image(bad, kept, path=f"/tmp/{HOSTILE}.img", facts={**FACTS, "os": system}))  # noqa: S108
