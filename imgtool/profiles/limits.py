"""The limits of a profile, as rules ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from imgtool.records import dataclass, field
from imgtool.rules import Severity, Target

TableKind = Literal["mbr", "gpt", "none"]
VersionRule = Literal["major", "major.minor", "full"]


@dataclass(frozen=True)
class ImageLimits:
    """Of the image file. Sizes in bytes, of the image as it would be after conversion to qcow2."""

    formats: tuple[str, ...]
    max_virtual_size: int
    max_actual_size: int
    archives_for_migrate: tuple[str, ...]


@dataclass(frozen=True)
class DiskLimits:
    """Of the disk. root_min_free: bytes; root_min_free_inodes: files that can still be made."""

    boot_modes: tuple[str, ...]
    root_min_free: int
    root_min_free_inodes: int
    tables: Mapping[str, Mapping[str, tuple[TableKind, ...]]]

    def allowed(self, family: str, target: Target) -> tuple[TableKind, ...]:
        """The partition tables that the target takes from a system's family ("linux", "windows").

        For a family that is not known, whatever any of them may have: nothing is refused on a guess.
        """
        families = self.tables[target]
        if family in families:
            return families[family]
        return tuple(dict.fromkeys(kind for kinds in families.values() for kind in kinds))


@dataclass(frozen=True)
class Distribution:
    """How one distribution is named to ImportImage (ref 21).

    itself: it is one of those that the platform names, not one that is built from it. releases: where its
    numbers are its own, the first of them to the OsVersion of what it is built from.
    """

    os_type: str
    version_rule: VersionRule
    itself: bool
    releases: Mapping[str, str] | None = None

    def os_version(self, version: str) -> str:
        """The OsVersion for a release such as "12.15"; "" for a release without a number, or one that
        corresponds to none."""
        parts = version.strip().split(".")
        if self.releases is not None:
            return self.releases.get(parts[0], "")
        if self.version_rule == "full":
            return version.strip()
        return ".".join(parts[: 1 if self.version_rule == "major" else 2])


@dataclass(frozen=True)
class LinuxLimits:
    """Of a Linux guest.

    architectures: the guest's architecture to ImportImage's word for it. distributions: ID of os-release to
    its name on the platform. datasources are all required, of metadata_datasources any one.
    """

    architectures: Mapping[str, str]
    virtio_modules_kernel: tuple[str, ...]
    virtio_modules_initramfs: tuple[str, ...]
    datasources: tuple[str, ...]
    metadata_datasources: tuple[str, ...]
    distributions: Mapping[str, Distribution]


@dataclass(frozen=True)
class CloudbaseInitLimits:
    """How cloudbase-init is to be set up (ref 04).

    required and recommended: option to value, a tuple for a list whose items must all be there. local_script:
    a pattern of file names in LocalScripts; run_again: the plugins whose recorded state must be 2 (ref 11).
    """

    account: str
    local_script: str
    run_again: tuple[str, ...]
    required: Mapping[str, str | tuple[str, ...]]
    recommended: Mapping[str, str | tuple[str, ...]]


@dataclass(frozen=True)
class WindowsLimits:
    """Of a Windows guest.

    releases: those of Windows Server that are taken, releases_not_listed those that are known to work and no
    page lists; os_versions: release to ImportImage's OsVersion. Of storage and network any one driver is
    needed; system_disk is the one that the platform's own disk needs.
    """

    releases: tuple[str, ...]
    releases_not_listed: tuple[str, ...]
    architectures: Mapping[str, str]
    os_versions: Mapping[str, str]
    storage: tuple[str, ...]
    system_disk: str
    network: tuple[str, ...]
    cloudbase_init: CloudbaseInitLimits


@dataclass(frozen=True)
class Profile:
    """What one deployment accepts. `severities`: the levels that differ from the catalogue's, by rule id."""

    name: str
    image: ImageLimits
    disk: DiskLimits
    linux: LinuxLimits
    windows: WindowsLimits
    severities: Mapping[str, Severity]
    # Where each level was set, for the message about a rule that does not exist: file and line.
    places: Mapping[str, tuple[Path, int]] = field(default_factory=dict, repr=False, compare=False)

    def severity(self, rule_id: str) -> Severity | None:
        """The level that this deployment gives a rule; None where it keeps the catalogue's."""
        return self.severities.get(rule_id)
