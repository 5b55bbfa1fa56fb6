"""The Windows system on a disk: each fact is read when first asked for, by its own module, and kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.guest.filesystem import LinkLoop, NotInGuest
from imgtool.guest.windows.hive_file import damaged_hive
from imgtool.guest.windows.paths import drive_of
from imgtool.guest.windows.registry import Hive, Key, open_hive
from imgtool.lazy import fact
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.guest.root import Root
    from imgtool.guest.tree import Tree
    from imgtool.guest.windows.boot import WindowsBoot
    from imgtool.guest.windows.cloudbase_init import CloudbaseInit
    from imgtool.guest.windows.device_database import DeviceDatabase
    from imgtool.guest.windows.mounted_devices import MountedDevice
    from imgtool.guest.windows.programs import Program, Rollup, Update
    from imgtool.guest.windows.releases import Release
    from imgtool.guest.windows.services import Service

CONFIG = "/Windows/System32/config"
HIVES = ("SYSTEM", "SOFTWARE", "DRIVERS")
SYSTEM32 = "/Windows/System32"
VERSION_KEY = "Microsoft\\Windows NT\\CurrentVersion"


class WindowsGuest:
    """Facts of one Windows. Every fact may raise CannotRead; it says which hive or file, and why."""

    def __init__(self, root: Root, disk: Disk) -> None:
        self.root = root
        self.disk = disk

    @property
    def tree(self) -> Tree:
        """The files of the system's volume; names in any case."""
        return self.root.tree

    @fact
    def system(self) -> Hive:
        """HKEY_LOCAL_MACHINE\\SYSTEM."""
        return self._hive("SYSTEM")

    @fact
    def software(self) -> Hive:
        """HKEY_LOCAL_MACHINE\\SOFTWARE."""
        return self._hive("SOFTWARE")

    @fact
    def drivers(self) -> Hive | None:
        """The hive DRIVERS that Windows 8 and Server 2012 brought; None where there is none."""
        return self._hive("DRIVERS") if self.tree.is_file(f"{CONFIG}/DRIVERS") else None

    @fact
    def control_set_number(self) -> int:
        """The number of the control set that the next boot uses (Select\\Default), 1 for ControlSet001.

        Raises CannotRead where Select does not say, or names one that is not there.
        """
        select = self.system.key("Select")
        number = None if select is None else select.number("Default")
        if number is None and select is not None:
            number = select.number("Current")
        if number is None:
            raise damaged_hive(
                self.system.path,
                "Select has no number in Default or Current",
                "Select 的 Default 与 Current 中没有数字",
            )
        if self.system.key(f"ControlSet{number:03}") is None:
            raise damaged_hive(
                self.system.path,
                f"Select says {number}, but there is no ControlSet{number:03}",
                f"Select 记录为 {number}，但没有 ControlSet{number:03}",
            )
        return number

    @fact
    def control_set(self) -> Key:
        """What Windows calls CurrentControlSet. Raises CannotRead."""
        found = self.system.key(f"ControlSet{self.control_set_number:03}")
        if found is None:
            raise damaged_hive(self.system.path, "the current control set is gone", "当前控制集不存在")
        return found

    @fact
    def drive_letters(self) -> dict[str, MountedDevice]:
        """What each letter stands for; the next start gives them so."""
        from imgtool.guest.windows.mounted_devices import read_drive_letters

        return read_drive_letters(self.system)

    @fact
    def system_drive(self) -> str:
        """The letter of the volume that Windows is on, as when it last ran; C where nothing says it."""
        return self._system_drive()

    def _system_drive(self) -> str:
        try:
            key = self.software.key(VERSION_KEY)
            said = drive_of(key.text("SystemRoot") or "") if key is not None else ""
        except CannotRead:
            said = ""
        if said:
            return said
        own = self.root.volume.partition
        mounted = ((letter, it.partition_on(self.disk)) for letter, it in self.drive_letters.items())
        return next((letter for letter, it in mounted if it is not None and it == own), "C")

    @fact
    def dirty_hives(self) -> tuple[str, ...]:
        """The hives that were not written out when the image was made, with what their logs gave."""
        return tuple(
            f"{hive.path}: not written out; {hive.replayed.words}"
            for hive in (self.system, self.software)
            if hive.replayed is not None
        )

    @fact
    def release(self) -> Release:
        """Product, edition, build, architecture."""
        from imgtool.guest.windows.releases import read_release

        return read_release(self)

    @fact
    def services(self) -> dict[str, Service]:
        """Services and drivers of the current control set, by lower-case name."""
        from imgtool.guest.windows.services import read_services

        return read_services(self.control_set, self.system_drive)

    @fact
    def devices(self) -> DeviceDatabase:
        """Which driver Windows binds to which device when it meets it at boot."""
        from imgtool.guest.windows.device_database import read_device_database

        return read_device_database(self)

    @fact
    def programs(self) -> tuple[Program, ...]:
        """What Programs and Features lists: both uninstall trees."""
        from imgtool.guest.windows.programs import read_programs

        return read_programs(self.software)

    @fact
    def updates(self) -> tuple[Update, ...]:
        """The installed updates of Windows, by KB number."""
        from imgtool.guest.windows.programs import read_updates

        return read_updates(self.software)

    @fact
    def rollups(self) -> tuple[Rollup, ...]:
        """The monthly rollups that are in place."""
        from imgtool.guest.windows.programs import read_rollups

        return read_rollups(self.software)

    @fact
    def cloudbase_init(self) -> CloudbaseInit:
        """What of cloudbase-init is installed, and how it is configured."""
        from imgtool.guest.windows.cloudbase_init import read_cloudbase_init

        return read_cloudbase_init(self)

    @fact
    def boot(self) -> WindowsBoot:
        """What the boot manager reads and starts."""
        from imgtool.guest.windows.boot import read_boot

        return read_boot(self)

    def is_from_the_internet(self, path: str) -> bool:
        """Whether a file has the mark that browsers give to downloads, a stream Zone.Identifier of zone 3 or
        4."""
        mark = self.tree.stream(path, "Zone.Identifier", 4096) or b""
        return re.search(rb"(?im)^\s*ZoneId\s*=\s*[34]\b", mark.replace(b"\0", b"")) is not None

    def _hive(self, name: str) -> Hive:
        path = f"{CONFIG}/{name}"
        try:
            return open_hive(self.tree, path)
        except (NotInGuest, LinkLoop) as error:
            raise CannotRead(
                Text(
                    en=f"The registry hive {path} is not there.",
                    zh=f"缺少注册表配置单元 {path}。",
                )
            ) from error
