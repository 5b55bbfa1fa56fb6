"""What a deployment of the platform accepts, as data: a TOML file each, every limit with its source.

`load_profile` reads one; `tce.toml` is the one that others extend.
"""

from __future__ import annotations

from imgtool.profiles.limits import (
    DiskLimits,
    Distribution,
    ImageLimits,
    LinuxLimits,
    Profile,
    TableKind,
    VersionRule,
)
from imgtool.profiles.loading import check_rule_names, load_profile, shipped_profiles

__all__ = [
    "DiskLimits",
    "Distribution",
    "ImageLimits",
    "LinuxLimits",
    "Profile",
    "TableKind",
    "VersionRule",
    "check_rule_names",
    "load_profile",
    "shipped_profiles",
]
