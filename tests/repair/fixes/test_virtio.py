from __future__ import annotations

import io
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

from imgtool.guest.initramfs import Initramfs, list_members
from imgtool.repair.fixes.virtio import NOT_TRIED, _in_array
from tests.checks.boot_guest import MODULES, V, initramfs, kernel_files, path_of
from tests.guest.stand_in import ROOT
from tests.guest.test_compression import packed
from tests.guest.test_cpio import newc
from tests.repair.folder_guest import FolderGuest, broken, mends

RULE = "linux.virtio.initramfs"
INITRD = f"/boot/initrd.img-{V}"
VIRTIO = tuple(MODULES)
CENTOS = {"/etc/os-release": 'ID="centos"\nVERSION_ID="7"\n', "/etc/debian_version": None}


def content(guest: FolderGuest, *names: str) -> Initramfs:
    data = (guest.folder / INITRD.lstrip("/")).read_bytes()
    return list_members(io.BytesIO(data), INITRD, keep=names)


def with_initrd(folder: Path, compression: str, *members: tuple[str, bytes], **more: Any) -> FolderGuest:
    plain = newc(*members)
    data = packed(compression, plain) if compression else plain
    return FolderGuest(folder, {INITRD: data, **more.pop("changes", {})}, **more)


@pytest.mark.parametrize("compression", ["", "gzip", "xz", "zstd", "lz4", "lzma", "bzip2"])
def test_the_drivers_are_put_behind_in_any_compression(tmp_path: Path, compression: str) -> None:
    guest = FolderGuest(tmp_path, {INITRD: initramfs(without=VIRTIO, compression=compression)})
    before = (tmp_path / INITRD.lstrip("/")).read_bytes()
    plan = mends(guest, RULE)
    assert (tmp_path / INITRD.lstrip("/")).read_bytes().startswith(before)
    assert [step.action for step in plan.steps] == ["append"]
    found = content(guest)
    assert all(found.path_of(name, V) for name in VIRTIO)
    assert f"lib/modules/{V}/modules.dep" in found.members


def test_only_what_is_lacking_is_added(tmp_path: Path) -> None:
    guest = FolderGuest(tmp_path, {INITRD: initramfs(without=("virtio_blk",))})
    plan = mends(guest, RULE)
    modules = [name for name in plan.steps[0].details()["holds"] if name.endswith(".ko")]
    assert modules == [path_of("virtio_blk")]


def test_initramfs_tools_is_told_to_load_them_now_and_to_take_them_along_later(tmp_path: Path) -> None:
    guest = with_initrd(
        tmp_path,
        "gzip",
        ("init", b"x"),
        ("conf/initramfs.conf", b"MODULES=dep\n"),
        ("conf/modules", b"ext4"),
        changes={"/etc/initramfs-tools/modules": "# mine\nvirtio_pci"},
    )
    mends(guest, RULE)
    listed = content(guest, "conf/modules").kept["conf/modules"].decode().split()
    assert listed[0] == "ext4"
    assert set(VIRTIO) <= set(listed)
    assert listed.index("virtio") < listed.index("virtio_blk")
    lines = guest.text("/etc/initramfs-tools/modules").splitlines()
    assert lines[:3] == ["# mine", "virtio_pci", "virtio_blk"]


def test_a_link_lib_in_the_initramfs_stays_a_link(tmp_path: Path) -> None:
    """A folder of that name in the archive would take its place, and no program would find its library."""
    guest = with_initrd(
        tmp_path,
        "zstd",
        ("init", b"x"),
        ("conf/initramfs.conf", b"MODULES=dep\n"),
        (f"usr/lib/modules/{V}/kernel/fs/ext4/ext4.ko", b"\x7fELF"),
    )
    mends(guest, RULE)
    assert content(guest).path_of("virtio_blk", V) == f"usr/{path_of('virtio_blk')}"
    assert "lib" not in content(guest).members


def test_dracut_gets_a_hook_and_its_configuration(tmp_path: Path) -> None:
    hooks = "usr/lib/dracut/hooks/pre-trigger"
    guest = with_initrd(
        tmp_path,
        "gzip",
        ("init", b"x"),
        (f"{hooks}/01-x.sh", b"x"),
        (hooks, b""),
        changes={**CENTOS, "/etc/dracut.conf.d/x.conf": ""},
    )
    mends(guest, RULE)
    hook = content(guest, f"{hooks}/00-imgtool-virtio.sh").kept[f"{hooks}/00-imgtool-virtio.sh"]
    assert b"modprobe -q virtio_blk" in hook
    assert 'add_drivers+=" virtio_blk ' in guest.text("/etc/dracut.conf.d/90-imgtool-virtio.conf")


# As mkinitrd 5.1 of RHEL 5 writes it for LVM on a SATA disk.
NASH = """\
#!/bin/nash

mount -t proc /proc /proc
setquiet
echo Mounting proc filesystem
echo Mounting sysfs filesystem
mount -t sysfs /sys /sys
echo Creating /dev
mount -o mode=0755 -t tmpfs /dev /dev
mkdir /dev/mapper
echo Creating initial device nodes
mknod /dev/null c 1 3
mknod /dev/console c 5 1
echo Setting up hotplug.
hotplug
echo Creating block device nodes.
mkblkdevs
echo "Loading ehci-hcd.ko module"
insmod /lib/ehci-hcd.ko
mount -t usbfs /proc/bus/usb /proc/bus/usb
echo "Loading ext3.ko module"
insmod /lib/ext3.ko
echo "Loading ata_piix.ko module"
insmod /lib/ata_piix.ko
echo Waiting for driver initialization.
stabilized --hash --interval 250 /proc/scsi/scsi
echo "Loading dm-mirror.ko module"
insmod /lib/dm-mirror.ko
{after}echo Scanning logical volumes
lvm vgscan --ignorelockingfailure
echo Activating logical volumes
lvm vgchange -ay --ignorelockingfailure  VolGroup00
resume /dev/VolGroup00/LogVol01
echo Creating root device.
mkrootdev -t ext3 -o defaults,ro /dev/VolGroup00/LogVol00
echo Mounting root filesystem.
mount /sysroot
echo Setting up other filesystems.
setuproot
echo Switching to new root and running init.
switchroot
""".replace(".ko\n", ".ko \n")


@pytest.mark.parametrize("after", ["mkblkdevs\n", ""], ids=["as shipped", "no nodes made later"])
def test_the_script_of_a_nash_initrd_loads_them_behind_its_own(tmp_path: Path, after: str) -> None:
    guest = with_initrd(
        tmp_path,
        "gzip",
        ("bin/nash", b"\x7fELF"),
        ("init", NASH.format(after=after).encode()),
        *((f"lib/{name}.ko", b"\x7fELF") for name in ("ehci-hcd", "ext3", "ata_piix", "dm-mirror")),
        changes={"/etc/modprobe.conf": "alias eth0 e1000\nalias scsi_hostadapter ata_piix\n"},
    )
    mends(guest, RULE)
    found = content(guest, "init")
    lines = found.kept["init"].decode().splitlines()
    loads = [line for line in lines if line.startswith("insmod")]
    assert loads[3] == "insmod /lib/dm-mirror.ko "
    assert loads.index("insmod /lib/virtio.ko") < loads.index("insmod /lib/virtio_blk.ko")
    nodes = [number for number, line in enumerate(lines) if line == "mkblkdevs"]
    assert nodes[-1] > lines.index(loads[-1]), "the disk's node is made once its driver is there"
    assert nodes[-1] < lines.index("lvm vgscan --ignorelockingfailure")
    assert len(nodes) == 2
    assert found.members["init"].mode & 0o111
    lines = guest.text("/etc/modprobe.conf").splitlines()
    assert lines == [
        "alias eth0 e1000",
        "alias scsi_hostadapter ata_piix",
        "alias scsi_hostadapter_virtio virtio_blk",
    ]


def test_an_initramfs_that_nothing_is_known_to_load_drivers_in_is_not_called_mended(tmp_path: Path) -> None:
    guest = with_initrd(tmp_path, "gzip", ("init", b"#!/bin/own\n"), ("bin/own", b"\x7fELF"))
    plan = guest.plan(RULE)
    assert plan.steps == ()
    assert "--rebuild-initramfs" in plan.unmended[0].why.en
    assert plan.outlook == "fail"


def test_suses_mkinitrd_loads_what_its_indexes_lead_to(tmp_path: Path) -> None:
    """Its udev asks modprobe for each device's alias: the modules and the indexes are all that it needs."""
    guest = with_initrd(
        tmp_path,
        "gzip",
        ("init", b"#!/bin/bash\n"),
        ("run_all.sh", b"source boot/01-start.sh\n"),
        (
            "lib/udev/rules.d/80-drivers.rules",
            b'ENV{MODALIAS}=="?*", RUN{ignore_error}+="/sbin/modprobe -b $env{MODALIAS}"\n',
        ),
        (f"lib/modules/{V}/kernel/fs/ext4/ext4.ko", b"\x7fELF"),
        changes={
            "/etc/os-release": 'ID="sles"\nVERSION_ID="11.4"\n',
            "/etc/debian_version": None,
            "/etc/sysconfig/kernel": 'INITRD_MODULES="ata_piix ext3"\n',
        },
    )
    plan = guest.plan(RULE)
    held = [name for step in plan.steps for name in step.details().get("holds") or ()]
    assert any(name.endswith("virtio_blk.ko") for name in held)
    assert f"lib/modules/{V}/modules.dep" in held
    assert NOT_TRIED in {it.why for it in plan.steps}, "the plan says that it is to be booted"
    guest.mend(RULE)
    words = guest.text("/etc/sysconfig/kernel").partition('"')[2].strip('"\n').split()
    assert words[:3] == ["ata_piix", "ext3", "virtio_blk"]
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("MODULES=()\n", "MODULES=(a b)\n"),
        ("MODULES=(x a)\n", "MODULES=(x a b)\n"),
        ("MODULES=( x )\nHOOKS=(y)\n", "MODULES=( x a b)\nHOOKS=(y)\n"),
        ("MODULES=(\n  x # (why) b\n)\n", "MODULES=(\n  x # (why) b\na b\n)\n"),
        ("MODULES=(\n  x\n  # a)\n  b)\n", "MODULES=(\n  x\n  # a)\n  b a\n)\n"),
        ("MODULES=(x # last)\n)\n", "MODULES=(x # last)\na b\n)\n"),
        ('MODULES="x"\n', 'MODULES="x a b"\n'),
        ("MODULES=(x)\nMODULES+=(a)\n", "MODULES=(x)\nMODULES+=(a b)\n"),
        ("MODULES=(\"a\" 'b')\n", "MODULES=(\"a\" 'b')\n"),
        ("# MODULES=(z)\n", "# MODULES=(z)\nMODULES+=(a b)\n"),
        ("HOOKS=(y)", "HOOKS=(y)\nMODULES+=(a b)\n"),
    ],
)
def test_mkinitcpios_array_gets_what_it_lacks_and_bash_reads_it(before: str, after: str) -> None:
    made = _in_array(before, ("a", "b"))
    assert made == after
    assert _in_array(made, ("a", "b")) == made
    said = subprocess.run(
        ["bash", "-euc", f'{made}\nprintf "%s " ${{MODULES[@]}}'], check=True, capture_output=True, text=True
    ).stdout
    assert {"a", "b"} <= set(said.split())


def test_other_kernels_get_them_too(tmp_path: Path) -> None:
    old = "6.1.0-17-amd64"
    guest = FolderGuest(tmp_path, {INITRD: initramfs(without=VIRTIO), **kernel_files(old, without=VIRTIO)})
    plan = mends(guest, RULE)
    assert {step.target.split(" ")[0] for step in plan.steps} == {INITRD, f"/boot/initrd.img-{old}"}


def test_the_guests_own_tool_runs_only_when_asked_for(tmp_path: Path) -> None:
    changes = {INITRD: initramfs(without=VIRTIO), "/usr/sbin/mkinitramfs": "#!/bin/sh\n"}
    guest = FolderGuest(tmp_path, changes)
    assert not guest.plan(RULE).runs_guest
    plan = guest.plan(RULE, rebuild_initramfs=True)
    if platform.machine() == "x86_64":
        assert plan.runs_guest
        assert f"mkinitramfs -o {INITRD} {V}" in plan.steps[0].target


def test_a_foreign_architecture_is_refused_for_the_tool_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = FolderGuest(tmp_path, {INITRD: initramfs(without=VIRTIO)})
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    plan = guest.plan(RULE, rebuild_initramfs=True)
    assert plan.steps == ()
    assert "--rebuild-initramfs" in plan.unmended[0].why.en
    assert guest.plan(RULE).steps


def test_no_room_in_boot_is_said_with_numbers_and_nothing_is_planned(tmp_path: Path) -> None:
    from dataclasses import replace

    full = replace(ROOT.signature, details={"free_blocks": 10, "block_size": 4096})
    guest = FolderGuest(
        tmp_path, {INITRD: initramfs(without=VIRTIO)}, volumes=(replace(ROOT, signature=full),)
    )
    plan = guest.plan(RULE)
    assert plan.steps == ()
    (kept,) = [it for it in plan.unmended if it.finding.id == RULE]
    assert "is full" in kept.why.en
    assert RULE in broken(guest.findings())
