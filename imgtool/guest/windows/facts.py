"""What is known of a Windows, as plain data for `imgtool inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgtool.errors import CannotRead
from imgtool.guest.windows import settings
from imgtool.guest.windows.remote_desktop import read_remote_desktop
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.facts import Unread
    from imgtool.guest.windows.bcd import BootConfiguration
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.remote_desktop import RemoteDesktop
    from imgtool.guest.windows.services import Service
    from imgtool.profiles import Profile

Facts = dict[str, Any]


def system_facts(guest: WindowsGuest, profile: Profile, unread: Unread) -> Facts:
    """The keys of `os` in docs/report-v1.schema.json. version: the release, such as "2012 R2"."""
    release = unread.ask("release", lambda: guest.release)
    if release is None:
        return {}
    number = profile.windows.os_versions.get(release.name) if release.kind == "server" else None
    return {
        "distro": "windows",
        "version": release.name or None,
        "pretty_name": release.product or None,
        "arch": release.architecture or None,
        "import_os_type": "Windows" if number else None,
        "import_os_version": number,
    }


def windows_facts(guest: WindowsGuest, unread: Unread) -> Facts:
    """The key `windows` of docs/inspect-v1.schema.json."""
    release = unread.ask("release", lambda: guest.release)
    identity = unread.ask("identity", lambda: settings.read_identity(guest))
    clock = unread.ask("clock", lambda: settings.read_clock(guest))
    hibernation = unread.ask("hibernation", lambda: settings.read_hibernation(guest))
    remote = unread.ask("remote_desktop", lambda: read_remote_desktop(guest))
    facts: Facts = {
        "root": guest.root.volume.name,
        "control_set": unread.ask("control_set", lambda: guest.control_set_number),
        "hostname": identity.host or None if identity else None,
        "domain": identity.domain or None if identity else None,
        "time_zone": clock.zone or None if clock else None,
        "rtc_utc": clock.utc if clock else None,
        "drive_letters": unread.ask("drive_letters", lambda: _drive_letters(guest)) or [],
        "san_policy": unread.ask("san_policy", lambda: settings.read_san_policy(guest)),
        "product_key": unread.ask("product_key", lambda: settings.read_key_type(guest)) or None,
        "hibernation": hibernation.state if hibernation else None,
        "page_file": hibernation.page_file or None if hibernation else None,
        "dirty_hives": list(unread.ask("dirty_hives", lambda: guest.dirty_hives) or ()),
        "boot": unread.ask("boot", lambda: _boot(guest)),
        "remote_desktop": _remote_desktop(remote) if remote else None,
        "firewall": _firewall(remote) if remote else [],
        "pending": unread.ask("pending", lambda: _pending(guest)),
        "cloudbase_init": unread.ask("cloudbase_init", lambda: _cloudbase_init(guest)),
        "virtio": unread.ask("virtio", lambda: _virtio(guest)),
        "drivers": unread.ask("drivers", lambda: _drivers(guest)) or [],
        "services": unread.ask("services", lambda: _services(guest)) or [],
        "programs": [
            {"name": it.name, "version": it.version or None, "publisher": it.publisher or None}
            for it in unread.ask("programs", lambda: guest.programs) or ()
        ],
        "updates": [it.kb for it in unread.ask("updates", lambda: guest.updates) or ()],
        "bitlocker_volumes": [it.name for it in guest.disk.volumes if it.signature.type == "BitLocker"],
    }
    if release is not None:
        facts.update(
            edition=release.edition or None,
            kernel_version=release.version or None,
            build=release.build_text,
            service_pack=release.service_pack or None,
            installation=release.installation or None,
            kind=release.kind,
            language=release.language or None,
        )
    return facts


def _start(service: Service | None) -> str | None:
    return service.start_word if service is not None and service.effective_start is not None else None


def _boot(guest: WindowsGuest) -> Facts:
    loader = _configuration(guest).default_loader
    return {
        "entry": loader.id if loader else None,
        "description": loader.description if loader else None,
        "loader": loader.path if loader else None,
        "device": loader.device.words if loader and loader.device else None,
    }


def _configuration(guest: WindowsGuest) -> BootConfiguration:
    """What the boot manager reads: the BCD for UEFI of a GPT disk, else that of the active partition."""
    from imgtool.guest.windows.boot import UEFI_STORE

    if guest.disk.table.kind != "gpt":
        return guest.boot.configuration
    store = next((it for it in guest.boot.other_stores if it.path == UEFI_STORE), None)
    if store is None:
        raise CannotRead(
            Text(
                f"No partition of this GPT disk has {UEFI_STORE}, or it can't be read.",
                f"此 GPT 磁盘的分区上没有 {UEFI_STORE}，或无法读取。",
            )
        )
    return guest.boot.read(store)


def _drive_letters(guest: WindowsGuest) -> list[Facts]:
    rows = []
    for letter, device in guest.drive_letters.items():
        partition = device.partition_on(guest.disk)
        rows.append(
            {
                "letter": letter,
                "kind": device.kind,
                "partition": partition.number if partition is not None else None,
                "disk_signature": device.signature or None,
                "offset": device.offset if device.kind == "mbr" else None,
                "partition_guid": device.partition_guid or None,
                "path": device.path or None,
            }
        )
    return rows


def _remote_desktop(found: RemoteDesktop) -> Facts:
    return {
        "enabled": found.enabled,
        "port": found.port,
        "network_level_authentication": found.network_level,
        "firewall_blocks": list(found.blocked_in),
    }


def _firewall(found: RemoteDesktop) -> list[Facts]:
    return [
        {"profile": it.name, "enabled": it.verdict != "off", "remote_desktop": it.verdict}
        for it in found.profiles
    ]


def _pending(guest: WindowsGuest) -> Facts:
    found = settings.read_pending(guest)
    return {
        "reboot": list(found.reboots),
        "setup": list(found.setup),
        "image_state": found.image_state or None,
    }


def _cloudbase_init(guest: WindowsGuest) -> Facts:
    found = guest.cloudbase_init
    return {
        "installed": found.folder is not None,
        "version": (found.version or None) if found.folder is not None else None,
        "start": _start(found.service),
        "account": (found.service.account or "LocalSystem") if found.service else None,
    }


def _virtio(guest: WindowsGuest) -> list[Facts]:
    from imgtool.guest.windows.known_drivers import DRIVERS

    rows = []
    for driver in DRIVERS.values():
        service = guest.services.get(driver.name)
        bindings = guest.devices.of(driver, at_boot=driver.boot)
        rows.append(
            {
                "name": driver.name,
                "start": _start(service),
                "file": (service.file if service else None) or None,
                "database": guest.devices.kind,
                "bindings": sorted({it.id for it in bindings}),
            }
        )
    return rows


def _drivers(guest: WindowsGuest) -> list[Facts]:
    from imgtool.guest.windows.bound_drivers import read_bound_drivers

    return [
        {
            "name": it.service.name,
            "role": it.role,
            "start": _start(it.service),
            "file": it.service.file,
            "devices": list(it.devices),
        }
        for it in read_bound_drivers(guest)
    ]


def _services(guest: WindowsGuest) -> list[Facts]:
    return [
        {
            "name": it.name,
            "kind": it.kind,
            "start": _start(it),
            "account": it.account or (None if it.is_driver else "LocalSystem"),
            "path": it.image_path or None,
        }
        for it in guest.services.values()
        if it.type is not None
    ]
