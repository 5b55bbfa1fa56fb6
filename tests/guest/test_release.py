from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.guest.release import Release, import_os, parse_os_release, read_release
from imgtool.profiles import load_profile
from tests.guest.memory_tree import MemoryTree


def read(files: dict[str, Any]) -> Release:
    return read_release(MemoryTree({"/etc/hostname": "x", **files}))  # type: ignore[arg-type]


def os_release(**values: str) -> str:
    return "".join(f'{name}="{value}"\n' for name, value in values.items())


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("ID=debian", "debian"),
        ('ID="a b"', "a b"),
        ("ID='a \"b\" $c'", 'a "b" $c'),
        ('ID="a\\"b\\\\c\\$d\\`e"', 'a"b\\c$d`e'),
        ('ID="a\\nb"', "a\\nb"),
        ("ID=", ""),
        ('ID=""', ""),
        ("ID=a # comment", "a"),
        ('  ID="x"  ', "x"),
    ],
)
def test_os_release_values_are_unquoted_as_its_manual_says(line: str, value: str) -> None:
    assert parse_os_release(f"# c\nnonsense\n{line}\n")["ID"] == value


@given(st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), max_size=30))
@settings(max_examples=100)
def test_what_the_shell_quotes_comes_back(value: str) -> None:
    assert parse_os_release(f"NAME={shlex.quote(value)}")["NAME"] == value or "'" in value


@given(st.text(max_size=200))
@settings(max_examples=150)
def test_no_file_is_too_strange(text: str) -> None:
    read({"/etc/os-release": text, "/etc/redhat-release": text, "/etc/SuSE-release": text})


def test_debian_has_its_point_release_in_a_file_of_its_own() -> None:
    release = read(
        {
            "/etc/os-release": os_release(ID="debian", VERSION_ID="12", VERSION="12 (bookworm)"),
            "/etc/debian_version": "12.15\n",
            "/usr/bin/apt-get": b"\x7fELF",
        }
    )
    assert (release.id, release.version, release.family) == ("debian", "12.15", "debian")
    assert release.codename == "bookworm"
    assert release.install_command("cloud-init") == "apt-get install -y cloud-init"


def test_a_debian_version_of_another_release_is_not_believed() -> None:
    release = read(
        {"/etc/os-release": os_release(ID="debian", VERSION_ID="12"), "/etc/debian_version": "11.1"}
    )
    assert release.version == "12"


def test_centos_7_has_its_full_version_in_centos_release() -> None:
    release = read(
        {
            "/etc/os-release": os_release(ID="centos", ID_LIKE="rhel fedora", VERSION_ID="7"),
            "/etc/centos-release": "CentOS Linux release 7.9.2009 (Core)\n",
            "/usr/bin/yum": "#!",
        }
    )
    assert (release.version, release.package_manager, release.family) == ("7.9.2009", "yum", "redhat")


@pytest.mark.parametrize(
    ("path", "line", "identity", "version"),
    [
        ("/etc/centos-release", "CentOS release 6.10 (Final)", "centos", "6.10"),
        ("/etc/redhat-release", "CentOS release 5.11 (Final)", "centos", "5.11"),
        ("/etc/redhat-release", "Red Hat Enterprise Linux Server release 6.9 (Santiago)", "rhel", "6.9"),
        ("/etc/oracle-release", "Oracle Linux Server release 6.8", "ol", "6.8"),
        ("/etc/rocky-release", "Rocky Linux release 8.10 (Green Obsidian)", "rocky", "8.10"),
        ("/etc/almalinux-release", "AlmaLinux release 9.4 (Seafoam Ocelot)", "almalinux", "9.4"),
        ("/etc/fedora-release", "Fedora release 20 (Heisenbug)", "fedora", "20"),
        ("/etc/system-release", "Amazon Linux AMI release 2014.03", "amzn", "2014.03"),
        ("/etc/tlinux-release", "Tencent tlinux release 2.2 (Final)", "tencentos", "2.2"),
    ],
)
def test_older_red_hats_say_who_they_are_in_one_line(
    path: str, line: str, identity: str, version: str
) -> None:
    release = read({path: line + "\n"})
    assert (release.id, release.version, release.family, release.source) == (
        identity,
        version,
        "redhat",
        path,
    )


def test_oracle_linux_is_not_taken_for_the_red_hat_it_also_claims_to_be() -> None:
    release = read(
        {
            "/etc/redhat-release": "Red Hat Enterprise Linux Server release 6.8 (Santiago)",
            "/etc/oracle-release": "Oracle Linux Server release 6.8",
        }
    )
    assert release.id == "ol"


def test_sles_11_keeps_its_service_pack_apart() -> None:
    text = "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4\n"
    release = read({"/etc/SuSE-release": text})
    assert (release.id, release.version, release.family) == ("sles", "11.4", "suse")


def test_ubuntu_by_lsb_release_alone() -> None:
    text = "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=10.04\nDISTRIB_CODENAME=lucid\n"
    release = read({"/etc/lsb-release": text})
    assert (release.id, release.version, release.codename, release.family) == (
        "ubuntu",
        "10.04",
        "lucid",
        "debian",
    )


def test_a_point_release_in_version_is_taken() -> None:
    text = os_release(ID="ubuntu", VERSION_ID="22.04", VERSION="22.04.5 LTS (Jammy Jellyfish)")
    assert read({"/etc/os-release": text}).version == "22.04.5"


def test_debian_version_alone_is_debian_and_a_testing_release_has_no_number() -> None:
    assert read({"/etc/debian_version": "7.11"}).version == "7.11"
    testing = read({"/etc/debian_version": "trixie/sid"})
    assert (testing.id, testing.version, testing.codename) == ("debian", "", "trixie/sid")


def test_a_guest_that_says_nothing_is_no_distribution() -> None:
    release = read({})
    assert (release.id, release.family, release.install_command("x")) == ("", "unknown", "")


def test_usr_lib_os_release_counts_where_etc_has_none() -> None:
    assert read({"/usr/lib/os-release": "ID=flatcar\nID_LIKE=coreos\n"}).family == "coreos"


@pytest.mark.parametrize(
    ("identity", "version", "said"),
    [
        ("debian", "12.15", ("Debian", "12")),
        ("centos", "7.9.2009", ("CentOS", "7")),
        ("rocky", "9.4", ("CentOS", "9")),
        ("sles", "15.5", ("SUSE", "15")),
        ("opensuse-leap", "15.6", ("openSUSE", "15")),
        ("plan9", "4", ("", "")),
        ("opensuse-tumbleweed", "20250301", ("openSUSE", "")),
        ("tencentos", "2.4", ("CentOS", "7")),
        ("tencentos", "3.1", ("CentOS", "8")),
        ("tencentos", "4.2", ("CentOS", "")),
        ("tlinux", "2.2", ("CentOS", "7")),
    ],
)
def test_import_image_is_told_type_and_version(identity: str, version: str, said: tuple[str, str]) -> None:
    assert import_os(Release(identity, version=version), load_profile("tce").linux.distributions) == said


def test_a_relative_gives_its_type_and_no_version() -> None:
    mint = Release("linuxmint", ("ubuntu", "debian"), "21.3")
    assert import_os(mint, load_profile("tce").linux.distributions) == ("Ubuntu", "")


K = "3.10.0-1160.el7.x86_64"


@pytest.mark.parametrize(
    ("release", "parts"),
    [
        (
            Release("debian", version="12", family="debian"),
            ["virtio_blk", "/etc/initramfs-tools/modules", f"mkinitramfs -o /boot/initrd.img-{K} {K}"],
        ),
        (
            Release("centos", version="7.9", family="redhat", initramfs_tool="mkinitrd"),
            ["mkinitrd -f --allow-missing --with=xen-blkfront", f"/boot/initramfs-{K}.img {K}"],
        ),
        (
            Release("centos", version="5.11", family="redhat", initramfs_tool="mkinitrd"),
            ["--with=xen-vbd", f"/boot/initrd-{K}.img {K}"],
        ),
        (
            Release("centos", version="8", family="redhat", initramfs_tool="mkinitrd"),
            ["--with=virtio_blk --preload=virtio_blk --with=virtio_pci", f"/boot/initramfs-{K}.img {K}"],
        ),
        (
            Release("rocky", version="9.4", family="redhat", initramfs_tool="dracut"),
            ["dracut --force --add-drivers", f"/boot/initramfs-{K}.img {K}"],
        ),
        (
            Release("opensuse-leap", version="15.3", family="suse", initramfs_tool="mkinitrd"),
            ['mkinitrd -m "virtio_blk virtio_pci virtio_net"', f"-i initrd-{K}"],
        ),
        (
            Release("ubuntu", version="25.10", family="debian", initramfs_tool="dracut"),
            ["dracut --force --add-drivers", f"/boot/initrd.img-{K} {K}"],
        ),
    ],
)
def test_the_initramfs_is_rebuilt_with_the_distributions_own_line(release: Release, parts: list[str]) -> None:
    command = release.initramfs_command(K)
    assert all(part in command for part in parts), command


def test_the_initramfs_is_written_where_the_boot_loader_loads_it() -> None:
    arch = Release("arch", family="arch", initramfs_tool="mkinitcpio")
    assert arch.initramfs_command(K, "/boot/initramfs-linux.img").endswith(
        f"-k {K} -g /boot/initramfs-linux.img"
    )


def test_kylin_is_what_it_says_it_is_like() -> None:
    assert read_release(MemoryTree({"/etc/os-release": "ID=kylin\nID_LIKE=debian\n"})).family == "debian"
    assert read_release(MemoryTree({"/etc/os-release": "ID=kylin\n"})).family == "redhat"


def test_the_boot_loader_is_written_afresh_at_its_real_path() -> None:
    debian, redhat = Release("debian", family="debian"), Release("centos", family="redhat")
    assert debian.bootloader_command("/boot/grub/grub.cfg") == "update-grub"
    assert redhat.bootloader_command("/boot/grub2/grub.cfg") == "grub2-mkconfig -o /boot/grub2/grub.cfg"
    assert redhat.bootloader_command("/boot/grub/grub.conf") == ""
    for major, path in ((7, "/boot/efi/EFI/redhat/grub.cfg"), (9, "/boot/grub2/grub.cfg")):
        rhel = Release("rhel", version=f"{major}.4", family="redhat")
        assert rhel.bootloader_command("/boot/efi/EFI/redhat/grub.cfg") == f"grub2-mkconfig -o {path}"
