"""The text report: worst first, to be copied from, in any width, in both languages."""

from __future__ import annotations

import pytest

from imgtool.records import replace
from imgtool.report.remedy import placed, remedy_lines
from imgtool.report.text import coloured, layout, plain
from imgtool.report.visible import cells
from imgtool.rules import Severity, Status
from imgtool.text import Language, Text
from tests.report.made_up import (
    EVERYTHING,
    FAILED,
    KEPT,
    NOTED,
    OPEN,
    WARNED,
    finding,
    hostile_report,
    image,
)


def text(language: Language = "en", width: int = 100, verbose: bool = False) -> str:
    return plain(layout(image(*EVERYTHING), language, width, verbose))


def test_the_worst_comes_first() -> None:
    said = text()
    order = [said.index(it.id) for it in (FAILED, OPEN, WARNED, NOTED)]
    assert order == sorted(order)


def test_the_last_line_is_the_verdict() -> None:
    assert text().splitlines()[-1] == (
        "FAIL golden/image.qcow2: 1 error, 1 check not evaluated, 1 warning, 1 note (0.21 s)"
    )
    assert text("zh").splitlines()[-1] == (
        "不通过 golden/image.qcow2：1 个错误，1 项无法判定，1 个警告，1 个提示（0.21 秒）"
    )


def test_a_good_image_is_three_lines_and_a_verdict() -> None:
    assert plain(layout(image(KEPT), "en", 100)) == (
        "golden/image.qcow2\n"
        "  qcow2 v3 · 4 GiB (539.5 MiB on disk) · MBR · BIOS · Debian GNU/Linux 12 (bookworm) · x86_64\n"
        "\n"
        "  1 passed (-v lists them)\n"
        "\n"
        "PASS golden/image.qcow2: no errors (0.21 s)\n"
    )


def test_what_fix_mends_is_told_with_the_command_on_a_line_of_its_own() -> None:
    for language in ("en", "zh"):
        lines = plain(layout(image(FAILED, WARNED, path="a b.qcow2"), language, 40)).splitlines()
        assert lines.count("    imgtool fix --plan 'a b.qcow2'") == 1


def test_the_command_for_fix_judges_as_the_check_did() -> None:
    asked = image(FAILED, path="-a.qcow2", as_asked=("--force-import", "--profile 'our limits.toml'"))
    command = "    imgtool fix --plan --force-import --profile 'our limits.toml' ./-a.qcow2"
    assert command in plain(layout(asked, "en", 100)).splitlines()


def test_a_driver_that_is_not_on_the_image_is_asked_for_in_the_command_for_fix() -> None:
    lacking = finding(
        "windows.virtio.storage",
        Status.FAIL,
        remedy=Text("With virtio-win's ISO:\nimgtool fix …", "用 virtio-win ISO：\nimgtool fix …"),
        fixable=True,
    )
    disabled = replace(lacking, remedy=Text.same("sc.exe config viostor start= boot"))
    for faulty, options in ((lacking, "--virtio-win virtio-win.iso "), (disabled, "")):
        command = f"    imgtool fix --plan {options}a.raw"
        assert command in plain(layout(image(faulty, path="a.raw"), "zh", 100)).splitlines()


def test_fix_is_not_named_where_it_mends_nothing() -> None:
    assert "imgtool fix" not in plain(layout(image(KEPT, WARNED), "en", 100))


def test_what_could_not_be_judged_is_the_verdict_when_nothing_failed() -> None:
    assert plain(layout(image(KEPT, OPEN), "en", 100)).splitlines()[-1].startswith("UNKNOWN ")


def test_a_warning_fails_where_warnings_fail() -> None:
    said = plain(layout(image(WARNED, fail_on=Severity.WARNING), "en", 100))
    assert said.splitlines()[-1].startswith("FAIL ")


def test_passes_are_listed_only_when_asked_for() -> None:
    assert "image.format" not in text()
    assert "image.format" in text(verbose=True)


def test_the_platforms_code_stands_beside_the_rule() -> None:
    assert "ERROR  linux.virtio.initramfs  [VirtioNotInstall]" in text()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [20, 40, 60, 80, 160])
def test_prose_keeps_to_the_width_and_commands_stay_whole(language: Language, width: int) -> None:
    rows = text(language, width).splitlines()
    command = "update-initramfs -u -k 6.1.0-28-amd64"
    assert [row.strip() for row in rows if "update-initramfs" in row] == [command]
    whole = ("/boot/", command, "imgtool fix --plan ")
    prose = [row for row in rows if row.startswith("    ") and not any(text in row for text in whole)]
    assert all(cells(row) <= max(width, 26) for row in prose), prose


def test_evidence_is_cut_where_it_is_endless() -> None:
    long = image(FAILED.__class__(**{**vars(FAILED), "evidence": ("x" * 10_000,)}))
    assert max(len(row) for row in plain(layout(long, "en", 80)).splitlines()) < 500


def test_a_hostile_image_moves_no_cursor() -> None:
    said = plain(layout(hostile_report().images[0], "en", 80, verbose=True))
    assert not set(said) & {"\x1b", "\x07", "\x9b", "\r", "\x00", "\u202e"}
    said.encode("utf-8")


def test_colours_change_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    import re

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    painted = coloured(layout(image(*EVERYTHING), "en", 80))
    assert "\x1b[" in painted
    rows = [row.rstrip() for row in re.sub(r"\x1b\[[0-9;]*m", "", painted).splitlines()]
    assert rows == plain(layout(image(*EVERYTHING), "en", 80)).splitlines()


@pytest.mark.parametrize(
    ("remedy", "lines"),
    [
        ("Rebuild it: update-initramfs -u", ["Rebuild it:", "$ update-initramfs -u"]),
        ("请转换：qemu-img convert 镜像.vdi a.qcow2", ["请转换：", "$ qemu-img convert 镜像.vdi a.qcow2"]),
        ("Compare its size: ls -l on both sides.", ["Compare its size: ls -l on both sides."]),
        ("Run this:\nsed -i 's/a: b/c/' /etc/fstab", ["Run this:", "$ sed -i 's/a: b/c/' /etc/fstab"]),
        ("dd if=a of=b\nor\ncp a b", ["$ dd if=a of=b", "or", "$ cp a b"]),
        ("In fstab:\n  UUID=1-2 / ext4 defaults 0 1", ["In fstab:", "$ UUID=1-2 / ext4 defaults 0 1"]),
        ("Set it: LC_ALL=C apt-get install -y a", ["Set it:", "$ LC_ALL=C apt-get install -y a"]),
        ("请修改配置文件", ["请修改配置文件"]),
        ("update-grub", ["$ update-grub"]),
        ("Run:\n/usr/bin/vmware-uninstall-tools.pl", ["Run:", "$ /usr/bin/vmware-uninstall-tools.pl"]),
        ("bcdboot C:\\Windows /s S: /f BIOS", ["$ bcdboot C:\\Windows /s S: /f BIOS"]),
    ],
)
def test_a_remedys_commands_stand_on_lines_of_their_own(remedy: str, lines: list[str]) -> None:
    assert [f"$ {text}" if is_command else text for text, is_command in remedy_lines(remedy)] == lines


@pytest.mark.parametrize(
    ("ident", "remedy", "where"),
    [
        (
            "linux.fstab",
            "Comment the line out:\nsed -i '2s|^|# |' /etc/fstab",
            "done in the guest, as root.\n",
        ),
        ("linux.bootloader", "update-grub", "In the guest, as root:\n"),
        ("linux.kernel", "printf 'source a' >> /etc/x && update-initramfs -u", "In the guest, as root:\n"),
        ("linux.sshd", "In the guest, as root:\nsystemctl enable ssh.service", ""),
        ("linux.force-import.script", "Put one in:\nimgtool fix --force-import a.raw -o b.qcow2", ""),
        ("linux.distribution", "Ask DescribeImportImageOs which OsType comes nearest.", ""),
        ("image.format", "Convert it:\nimgtool convert a.vdi a.qcow2", ""),
        ("windows.cdrom", "sc.exe config cdrom start= system", ""),
    ],
)
def test_a_command_for_a_linux_guest_says_that_it_is_for_the_guest(
    ident: str, remedy: str, where: str
) -> None:
    told = placed(finding(ident, Status.FAIL, remedy=Text.same(remedy))).remedy
    assert told is not None
    assert told.en.endswith(where + remedy)
    assert (told.en == remedy) is (not where)
    assert ("系统内以 root" in told.zh) is bool(where)


def test_what_this_machine_lacks_is_said_before_the_verdict() -> None:
    lacking = Text(
        "This machine has no qemu-nbd. Install it: apt-get install qemu-utils", "本机缺少 qemu-nbd。"
    )
    said = plain(layout(image(OPEN, lacks=lacking), "en", 100))
    assert "apt-get install qemu-utils" in said
