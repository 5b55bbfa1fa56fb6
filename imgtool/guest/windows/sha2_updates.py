"""The updates that let Server 2008 and 2008 R2 load drivers that are signed with SHA-2 only.

Source: Microsoft's KB4472027 (2019 SHA-2 code signing support requirement), KB3033929, KB4039648. KB4490628
and KB4493730 are servicing stacks: they let later updates be installed, and the kernel knows no more for
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest


@dataclass(frozen=True)
class Sha2Updates:
    """kernel: any of them will do, the last one is to be installed; servicing: what that one needs first, as
    it needs service_pack, which a build before service_pack_build lacks.

    rollups: by build, the first revision of a monthly rollup that is itself signed with SHA-2 only, so that
    it could not have been installed without.
    """

    kernel: tuple[str, ...]
    servicing: str
    service_pack: str
    service_pack_build: int
    rollups: Mapping[int, int]


SHA2_UPDATES = {
    "2008": Sha2Updates(
        ("KB4039648", "KB4474419"), "KB4493730", "Service Pack 2 (KB948465)", 6002, {6003: 20600}
    ),
    "2008 R2": Sha2Updates(
        ("KB2949927", "KB3033929", "KB3125574", "KB4474419"),
        "KB4490628",
        "Service Pack 1 (KB976932)",
        7601,
        {7601: 24520},
    ),
}


def in_place(guest: WindowsGuest) -> list[str]:
    """Those that this Windows has. Raises CannotRead."""
    wanted = SHA2_UPDATES.get(guest.release.name)
    if wanted is None:
        return []
    found = [it.kb for it in guest.updates if it.kb in wanted.kernel]
    rollups = (it for it in guest.rollups if it.revision >= wanted.rollups.get(it.build, 1 << 31))
    return [*found, *(f"monthly rollup {it.build}.{it.revision}" for it in rollups)]
