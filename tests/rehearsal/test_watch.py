"""Known failures by the words of those who print them, and how far a boot came."""

from __future__ import annotations

import pytest

from imgtool.rehearsal.signs import SIGNS
from imgtool.rehearsal.stages import STAGES
from imgtool.rehearsal.watch import Watch
from imgtool.rules import discover

SAID = {
    "GRUB rescue": ["error: no such partition.", "Entering rescue mode...", "grub rescue> "],
    "GRUB prompt": [
        "GNU GRUB  version 2.06",
        "   Minimal BASH-like line editing is supported. For the first",
    ],
    "GRUB finds no kernel": ["error: file `/boot/vmlinuz-6.1.0-56-cloud-amd64' not found."],
    "GRUB finds no initramfs": ["error: file `/boot/initrd.img-6.1.0-56-cloud-amd64' not found."],
    "GRUB password": ["Enter username: "],
    "no UEFI loader": ['BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0): Not Found'],
    "Windows boot manager fails": ["BOOTMGR is missing"],
    "Windows finds no boot device": ["*** STOP: 0x0000007B (0xFFFFF880009A97E8,0xFFFFFFFFC0000034)"],
    "Windows stop screen": ["Your PC ran into a problem and needs to restart. We're just collecting"],
    "Windows recovery": ["Your PC/Device needs to be repaired"],
    "Windows setup waits": ["Type a password for the built-in administrator account that you can use"],
    "disk passphrase": ["Please unlock disk vda3_crypt: "],
    "no root device for the kernel": [
        "[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
    ],
    "kernel panic": ["[    3.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"],
    "initramfs shell": [
        "ALERT!  UUID=6a2d1f0e-5b1c-4d56-9c1e-2f60b4a1d201 does not exist.  Dropping to a shell!"
    ],
    "initramfs waits": ["Begin: Waiting for root file system ... "],
    "dracut shell": ['Generating "/run/initramfs/rdsosreport.txt"'],
    "dracut waits": ["[  190.1] dracut-initqueue[280]: Warning: dracut-initqueue: timeout, still waiting"],
    "LVM group incomplete": ["  Couldn't find device with uuid 6Yk1Tn-Qxk-FzR2."],
    "mount waits": ["[*     ] A start job is running for /dev/vdb1 (12s / 1min 30s)"],
    "device timed out": ["[ TIME ] Timed out waiting for device /dev/vdb1."],
    "emergency mode": ['You are in emergency mode. After logging in, type "journalctl -xb"'],
    "fsck by hand": ["/dev/vda1: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY."],
    "filesystem damage": ["[    5.1] EXT4-fs error (device vda1): ext4_lookup:1785: inode #2: comm init"],
    "cloud-init fails": ["ModuleNotFoundError: No module named 'yaml'"],
    "no data source": [
        "[ 30.1] cloud-init[300]: Cloud-init v. 22.4.2 finished. Datasource DataSourceNone.  Up 30 s"
    ],
}
FIRMWARE = {"no bootable device": ["No bootable device.  Retrying in 60 seconds."]}
GOOD = """\
SeaBIOS (version 1.16.2-debian-1.16.2-1)
GNU GRUB  version 2.06-13+deb12u2
The highlighted entry will be executed automatically in 1s.
Loading Linux 6.1.0-56-cloud-amd64 ...
Loading initial ramdisk ...
[    0.000000] Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-12 12.2.0)
Begin: Running /scripts/init-premount ... done.
Begin: Mounting root file system ... Begin: Running /scripts/local-top ... done.
/dev/vda1: clean, 20062/262144 files, 187374/1048320 blocks
[    7.577495] EXT4-fs (vda1): mounted filesystem with ordered data mode. Quota mode: none.
[    8.695453] systemd[1]: systemd 252.39-1~deb12u2 running in system mode (+PAM +AUDIT)
Welcome to Debian GNU/Linux 12 (bookworm)!
         Expecting device dev-ttyS0.device - /dev/ttyS0...
[  OK  ] Started emergency.service - a unit of that name
[  OK  ] Reached target cryptsetup.target - Local Encrypted Volumes.
"""


def test_every_sign_has_a_line_that_shows_it() -> None:
    assert {sign.name for sign in SIGNS} == SAID.keys() | FIRMWARE.keys()


@pytest.mark.parametrize("name", SAID)
def test_a_known_failure_is_recognised(name: str) -> None:
    watch = Watch("mark ")
    for line in SAID[name]:
        if line.endswith(" "):
            watch.lines([], line, 1.0, screen=True)
        else:
            watch.lines([line], "", 1.0, screen=True)
    assert next(iter(watch.sightings)) == name


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("[ ***  ] Job dev-vdb1.device/start running (18s / 1min 30s)", "mount waits"),
        ("[ ***  ] (1 of 2) Job dev-vdb1.device/start running (18s / 1min 30s)", "mount waits"),
        (r"[  ***] Job dev-disk-by\x2duuid-6a2d.device/start running (9s / no limit)", "dracut waits"),
        ("[  ***] Job dracut-initqueue.service/start running (1min 2s / no limit)", "dracut waits"),
    ],
)
def test_jobs_are_known_by_the_names_that_newer_systemds_give_them(line: str, name: str) -> None:
    watch = Watch("mark ")
    watch.lines([line], "", 1.0)
    assert list(watch.sightings) == [name]


def test_the_firmwares_log_is_read_for_its_own_failures_only() -> None:
    watch = Watch("mark ")
    watch.firmware([*FIRMWARE["no bootable device"], "Kernel panic - not syncing"], 1.0)
    assert list(watch.sightings) == ["no bootable device"]


def test_a_good_boot_shows_no_failure_and_all_stages() -> None:
    watch = Watch("mark ")
    watch.lines(GOOD.splitlines(), "vm-1 login: ", 9.0)
    assert watch.sightings == {}
    assert list(watch.reached) == ["firmware", "loader", "kernel", "root", "login"]
    assert watch.reached["kernel"].name == "6.1.0-56-cloud-amd64"
    assert watch.login_host == "vm-1"
    assert watch.menu is None


def test_dracuts_own_system_is_not_the_root() -> None:
    watch = Watch("mark ")
    early = [
        "[    5.15] systemd[1]: systemd 252.39-1~deb12u2 running in system mode (+PAM +AUDIT)",
        "Welcome to CentOS Linux 7 (Core) dracut-033-572.el7 (Initramfs)!",
    ]
    watch.lines(early, "", 2.0)
    assert "root" not in watch.reached


def test_a_later_stage_shows_the_earlier_ones_of_a_quiet_boot() -> None:
    watch = Watch("mark ")
    watch.lines([], "vm-1 login: ", 7.0)
    seen = watch.when("kernel")
    assert seen is not None
    assert seen.age == 7.0


def test_a_menu_without_a_countdown_waits() -> None:
    watch = Watch("mark ")
    watch.lines(
        ["GNU GRUB  version 2.06", "Use the ^ and v keys to select which entry is highlighted."], "", 1.0
    )
    assert watch.menu == 1.0


def test_only_lines_with_this_runs_mark_are_the_guests_report() -> None:
    watch = Watch("imgtool-report-abc ")
    watch.lines(["imgtool-report-abc hostname=vm", "imgtool-report-xyz hostname=other"], "", 1.0)
    assert watch.told == ["hostname=vm"]


@pytest.mark.parametrize(
    ("words", "sign"),
    [
        ("你的电脑遇到问题，需要重新启动。我们只收集某些错误信息", "Windows stop screen"),
        ("终止代码 : INACCESSIBLE BOOT DEVICE", "Windows finds no boot device"),
        ("*#* STOP: Ox0Q00007B", "Windows finds no boot device"),
        ("A problem has been detected and windows has been shut down to prevent", "Windows stop screen"),
        (
            "The Boot Configuration Data file is missing some required information",
            "Windows boot manager fails",
        ),
        ("A disk read error occurred", "Windows boot manager fails"),
        ("正在准备自动修复", "Windows recovery"),
    ],
)
def test_the_words_of_a_windows_that_failed_are_recognised_as_they_are_read(words: str, sign: str) -> None:
    watch = Watch("mark ")
    watch.screen([words], 1.0)
    assert next(iter(watch.sightings)) == sign
    assert watch.logon is None


@pytest.mark.parametrize(
    "words",
    [
        "Press Ctrl+Alt+Delete to unlock.",
        "Press CTRL + ALT + DELETE to log on",
        "Press Ctrl+Alt+Delete to sign in.",
        "#8 Ctrl+Alt+Delete 解锁 。",
        "请按 CTRL + ALT + DELETE 登录",
        "Recycle Bin,",
        "欢迎使用服务器管理器",
    ],
)
def test_the_words_of_a_logon_or_a_desktop_are_recognised_as_they_are_read(words: str) -> None:
    watch = Watch("mark ")
    watch.screen(["10:42", words], 1.0)
    assert watch.logon is not None
    assert watch.sightings == {}


@pytest.mark.parametrize(
    "words",
    [
        "Press Ctrl+Alt+Del to restart",
        "Getting devices ready 35%",
        "Getting ready",
        "Working on updates 30% complete. Don't turn off your computer",
        "Windows Boot Manager",
        "Windows Server 2016",
        "请稍候",
    ],
)
def test_other_words_of_a_windows_prove_nothing(words: str) -> None:
    watch = Watch("mark ")
    watch.screen([words], 1.0)
    assert watch.logon is None


def test_a_name_in_a_prompt_that_was_read_off_a_picture_is_not_taken_at_its_word() -> None:
    watch = Watch("mark ")
    watch.screen(["Debian GNU/Linux 12 um-Ba3b38ff tty1", "um-Ba3b38ff login:"], 1.0)
    assert "login" in watch.reached
    assert watch.login_host == ""


def test_a_menu_on_a_console_is_no_recovery_screen() -> None:
    watch = Watch("mark ")
    watch.lines(["Choose an option:", "Your PC ran into a problem"], "", 1.0)
    assert watch.sightings == {}


def test_a_logon_that_went_away_again_is_none() -> None:
    watch = Watch("mark ")
    watch.screen(["Press Ctrl+Alt+Delete to unlock."], 1.0)
    watch.screen(["Shutting down"], 2.0)
    assert watch.logon is None


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.name)
def test_a_sign_speaks_both_languages_and_names_rules(sign: object) -> None:
    known = set(discover()) | {stage.id for stage in STAGES.values()}
    later = {"linux.cloud-init.modules", "windows.boot"}
    assert set(sign.rules) <= known | later  # type: ignore[attr-defined]
    for text in (sign.message, sign.remedy):  # type: ignore[attr-defined]
        assert text.en
        assert text.zh
        assert text.en != text.zh
