"""What is known of an image, as plain data: what can't be read is left out or null, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from imgtool.errors import ImgtoolError
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

Value = TypeVar("Value")
Facts = dict[str, Any]


class Unread:
    """Asks for one part after the other, and remembers why some could not be read."""

    def __init__(self, debug: bool) -> None:
        self.debug = debug
        self.reasons: dict[str, Text] = {}

    def ask(self, part: str, read: Callable[[], Value]) -> Value | None:
        """The part, or None; one reason is remembered once, under the first part that it kept from us."""
        try:
            return read()
        except ImgtoolError as error:
            statement = error.statement()
        except RecursionError:
            statement = Text(en="The structures are nested too deeply.", zh="数据结构嵌套过深。")
        except Exception as error:
            if self.debug:
                raise
            statement = Text.same(f"{type(error).__name__}: {error}")
        if statement not in self.reasons.values():
            self.reasons[part] = statement
        return None


def facts_of(image: Image, whole: bool = False) -> tuple[Facts, dict[str, Text]]:
    """The facts of docs/report-v1.schema.json, and by part why others are missing.

    `whole` adds what `imgtool inspect` shows and no rule has read anyway: volumes, kernels, mounts.
    """
    unread = Unread(image.options.debug)
    facts = {**_file(image, unread), **_table(image, unread)}
    facts["boot_mode"] = unread.ask("boot_mode", lambda: _boot_mode(image)) or "unknown"
    facts["os"] = _system(image, unread)
    if whole:
        facts["volumes"] = unread.ask("volumes", lambda: [_volume(it) for it in image.disk.volumes]) or []
        facts["partitions"] = _partitions(image, unread)
        if image.family == "linux":
            facts["linux"] = _linux(image.linux, unread)
        if image.family == "windows":
            from imgtool.guest.windows.facts import windows_facts

            facts["windows"] = windows_facts(image.windows, unread)
    return facts, unread.reasons


def no_facts() -> Facts:
    """The facts of an image of which nothing is known."""
    return {**_NO_FILE, **_NO_TABLE, "boot_mode": "unknown", "os": dict(_NO_SYSTEM)}


_NO_FILE: Facts = {"format": None, "virtual_size": None, "actual_size": None}
_NO_TABLE: Facts = {"partition_table": None}
_NO_SYSTEM: Facts = {
    "family": "unknown",
    "distro": None,
    "version": None,
    "arch": None,
    "import_os_type": None,
    "import_os_version": None,
}


def _file(image: Image, unread: Unread) -> Facts:
    file = unread.ask("file", lambda: image.file)
    if file is None:
        return dict(_NO_FILE)
    return {
        "format": file.format,
        "variant": file.variant,
        "virtual_size": file.virtual_size,
        "actual_size": file.allocated,
        "file_size": file.file_size,
        "features": list(file.features),
        "snapshots": list(file.snapshots),
    }


def _table(image: Image, unread: Unread) -> Facts:
    table = unread.ask("disk", lambda: image.disk.table)
    if table is None:
        return dict(_NO_TABLE)
    return {"partition_table": table.kind, "sector_size": table.sector_size}


def _partitions(image: Image, unread: Unread) -> list[Facts]:
    table = unread.ask("disk", lambda: image.disk.table)
    volumes = unread.ask("volumes", lambda: image.disk.volumes) or ()
    held = {volume.partition.number: volume for volume in volumes if volume.partition}
    rows = []
    for part in table.partitions if table else ():
        volume = held.get(part.number)
        rows.append(
            {
                "number": part.number,
                "start": part.start,
                "length": part.length,
                "type": part.type,
                "active": part.active,
                "name": part.name,
                "partuuid": part.uuid,
                **(_signature(volume) if volume else {"filesystem": None, "uuid": None, "label": None}),
            }
        )
    return rows


def _volume(volume: Volume) -> Facts:
    return {
        "name": volume.name,
        "kind": volume.kind,
        "size": volume.blocks.size,
        **_signature(volume),
    }


def _signature(volume: Volume) -> Facts:
    signature = volume.signature
    return {
        "filesystem": signature.type or None,
        "uuid": signature.uuid or None,
        "label": signature.label or None,
    }


def _boot_mode(image: Image) -> str:
    from imgtool.guest.boot_mode import boot_mode

    return boot_mode(image.disk)


def _system(image: Image, unread: Unread) -> Facts:
    unread.ask("system", lambda: image.search)
    facts: Facts = {**_NO_SYSTEM, "family": image.family}
    if image.family == "windows":
        from imgtool.guest.windows.facts import system_facts

        return {**facts, **system_facts(image.windows, image.profile, unread)}
    if image.family != "linux":
        return facts
    from imgtool.guest.release import import_os

    release = unread.ask("release", lambda: image.linux.release)
    facts["arch"] = unread.ask("architecture", lambda: image.linux.architecture)
    if release is None:
        return facts
    facts.update(
        distro=release.id or None,
        version=release.version or None,
        codename=release.codename or None,
        pretty_name=release.pretty or None,
    )
    os_type, os_version = import_os(release, image.profile.linux.distributions)
    facts.update(import_os_type=os_type or None, import_os_version=os_version or None)
    return facts


def _linux(guest: LinuxGuest, unread: Unread) -> Facts:
    loader = unread.ask("boot_loader", lambda: guest.bootloader)
    kernels = unread.ask("kernels", lambda: guest.kernels) or ()
    default = unread.ask("boot_loader", lambda: guest.default_kernel)
    mounts = unread.ask("fstab", lambda: guest.fstab) or ()
    return {
        "root": guest.root.volume.name,
        "hostname": unread.ask("hostname", lambda: _hostname(guest)),
        "kernels": [kernel.version for kernel in kernels],
        "default_kernel": default.version if default else None,
        "boot_loader": loader.kind if loader else None,
        "kernel_arguments": loader.default.arguments if loader and loader.default else None,
        "cloud_init": unread.ask("cloud_init", lambda: _cloud_init(guest)),
        "fstab": [
            {
                "spec": entry.spec,
                "mount_point": entry.mount_point,
                "type": entry.type,
                "options": ",".join(entry.options),
            }
            for entry in mounts
        ],
    }


def _cloud_init(guest: LinuxGuest) -> Facts:
    from imgtool.guest.cloud_init import builtin_datasources

    found = guest.cloud_init
    names = guest.cloud_config.datasource_list
    if names is None:
        names = builtin_datasources(guest.tree, found.package)
    return {
        "installed": found.kind != "none",
        "version": found.version or None,
        "datasources": list(names or ()),
    }


def _hostname(guest: LinuxGuest) -> str | None:
    content = guest.tree.text_if_there("/etc/hostname")
    return content.strip().splitlines()[0][:255] if content and content.strip() else None
