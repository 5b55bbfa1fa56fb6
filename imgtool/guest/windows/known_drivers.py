"""What is true of the virtio drivers for Windows, as data: devices, services, files, INFs, classes, versions.

Device numbers: OASIS Virtual I/O Device 1.2, 4.1.2 (transitional 0x1000 + n, modern 0x1040 + n). Service,
file and INF names, and the folders of the driver disk, are those of virtio-win's releases (viostor.inx,
vioscsi.inx, netkvm.inx; https://github.com/virtio-win/kvm-guest-drivers-windows).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VENDOR = 0x1AF4
SCSI_ADAPTER_CLASS = "{4d36e97b-e325-11ce-bfc1-08002be10318}"
NET_CLASS = "{4d36e972-e325-11ce-bfc1-08002be10318}"
BOOT_GROUP = "SCSI miniport"


@dataclass(frozen=True)
class VirtioDriver:
    """A driver of virtio-win.

    devices: its PCI device numbers, transitional first; subsystems: the identifiers that QEMU's devices of
    these numbers have, in the form of a hardware id; boot: the disk hangs on it, so that it must start with
    the kernel; section: the install section that its INF gives the device.
    """

    name: str
    devices: tuple[int, int]
    subsystems: tuple[str, str]
    class_guid: str
    boot: bool
    folder: str
    section: str

    @property
    def file(self) -> str:
        """Where Windows keeps it."""
        return f"/Windows/System32/drivers/{self.name}.sys"

    @property
    def inf(self) -> str:
        """The INF's name on the driver disk; Windows renames it to oemN.inf."""
        return f"{self.name}.inf"

    @property
    def hardware_ids(self) -> tuple[str, str]:
        """Such as VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00, transitional first."""
        old, new = (
            f"VEN_{VENDOR:04X}&DEV_{device:04X}&SUBSYS_{subsystem}&REV_{revision:02X}"
            for device, subsystem, revision in zip(self.devices, self.subsystems, (0, 1), strict=True)
        )
        return old, new


VIOSTOR = VirtioDriver(
    "viostor",
    (0x1001, 0x1042),
    ("00021AF4", "11001AF4"),
    SCSI_ADAPTER_CLASS,
    True,
    "viostor",
    "rhelscsi_inst",
)
VIOSCSI = VirtioDriver(
    "vioscsi", (0x1004, 0x1048), ("00081AF4", "11001AF4"), SCSI_ADAPTER_CLASS, True, "vioscsi", "scsi_inst"
)
NETKVM = VirtioDriver(
    "netkvm", (0x1000, 0x1041), ("00011AF4", "11001AF4"), NET_CLASS, False, "NetKVM", "kvmnet6"
)
DRIVERS = {it.name: it for it in (VIOSTOR, VIOSCSI, NETKVM)}

RELEASE_FOLDERS = {
    "2003": "2k3",
    "2008": "2k8",
    "2008 R2": "2k8R2",
    "2012": "2k12",
    "2012 R2": "2k12R2",
    "2016": "2k16",
    "2019": "2k19",
    "2022": "2k22",
    "2025": "2k25",
    "7": "w7",
    "8": "w8",
    "8.1": "w8.1",
    "10": "w10",
    "11": "w11",
}
"""The folder of each release below a driver's own on the driver disk."""
ARCHITECTURE_FOLDERS = {"x86_64": "amd64", "i386": "x86", "arm64": "ARM64"}
LAST_WITH_OLD_RELEASES = "0.1.189"
"""virtio-win's last driver disk whose drivers for Server 2008 and 2008 R2 those systems load (later ones are
signed with SHA-2 only)."""

DatabaseKind = Literal["CriticalDeviceDatabase", "DriverDatabase"]


def disk_folder(driver: VirtioDriver, release: str, architecture: str) -> str:
    """The folder with a driver on virtio-win's disk, such as viostor\\2k12R2\\amd64; "" for a release or
    architecture that it has none for."""
    of_release = RELEASE_FOLDERS.get(release, "")
    of_architecture = ARCHITECTURE_FOLDERS.get(architecture, "")
    if not of_release or not of_architecture:
        return ""
    return f"{driver.folder}\\{of_release}\\{of_architecture}"
