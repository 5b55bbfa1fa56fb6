"""Whether an old Windows can check how its virtio drivers are signed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.releases import Release
    from imgtool.guest.windows.sha2_updates import Sha2Updates
    from imgtool.image import Image


@rule(
    "windows.driver-signing",
    Text("Signatures of drivers", "驱动签名"),
    severity=Severity.WARNING,
    source="field",
    family="windows",
    requires=("windows.virtio.storage",),
)
def driver_signing(image: Image) -> Iterator[Outcome]:
    """An old Windows can check the signature of its virtio driver.

    64-bit Server 2008 and 2008 R2 know SHA-2 signatures of drivers only with an update: KB3033929, KB4474419
    or the convenience rollup KB3125574 for 2008 R2, KB4039648 or KB4474419 for 2008, or a monthly rollup that
    could not have been installed without. An update counts that is installed, permanent, or superseded by a
    later one. virtio-win's drivers after 0.1.189 are signed with SHA-2 only: without the update such a boot
    driver is refused with 0xc0000428. A driver that has a SHA-1 signature as well loads.

    Evidence: the signatures in the driver file, the updates that were looked for. Example: `viostor.sys:
    SHA-2 only; no KB3033929, no KB4474419`. The fix is the update, or an older driver.
    """
    from imgtool.guest.windows.known_drivers import DRIVERS
    from imgtool.guest.windows.program_file import read_program_file
    from imgtool.guest.windows.sha2_updates import SHA2_UPDATES, in_place

    guest = image.windows
    release = guest.release
    wanted = SHA2_UPDATES.get(release.name) if release.kind == "server" else None
    if wanted is None or release.architecture != "x86_64":
        yield not_judged(
            Text(
                f"{release.full_name} ({release.architecture}) needs no update for this.",
                f"{release.full_name}（{release.architecture}）无需为此安装更新。",
            )
        )
        return
    updates = in_place(guest)
    if updates:
        yield kept(Text("The SHA-2 update is installed.", "已安装 SHA-2 更新。"), *updates)
        return
    limits = image.profile.windows
    signed: list[tuple[str, str]] = []
    refused: list[tuple[str, str]] = []
    for name in (*limits.storage, *limits.network):
        service = guest.services.get(name)
        path = (service.file if service is not None else None) or DRIVERS[name].file
        if not guest.tree.is_file(path):
            continue
        program = read_program_file(guest.tree, path)
        digests = program.digests if program is not None else ()
        proof = f"{path}: signed with {', '.join(digests) or 'nothing embedded'}"
        (signed if "sha1" in digests else refused).append((name, proof))
    if refused:
        names = [name for name, _ in refused]
        yield broken(
            Text(
                f"{release.full_name} has no update for SHA-2 signatures, and {', '.join(names)} no SHA-1"
                " signature: Windows would refuse to load it (0xc0000428).",
                f"{release.full_name} 未安装 SHA-2 签名更新，而 {'、'.join(names)} 没有 SHA-1 签名："
                "Windows 将拒绝加载（0xc0000428）。",
            ),
            *(proof for _, proof in refused),
            f"not installed: {', '.join(wanted.kernel)}",
            remedy=_install(release, wanted),
        )
        return
    if signed:
        names = [name for name, _ in signed]
        yield kept(
            Text(
                f"{', '.join(names)}: with a SHA-1 signature.",
                f"{'、'.join(names)} 带有 SHA-1 签名。",
            ),
            *(proof for _, proof in signed),
        )
        return
    yield not_judged(Text("There is no virtio driver to judge.", "没有可判断的 virtio 驱动。"))


def _install(release: Release, wanted: Sha2Updates) -> Text:
    """In the order in which each lets the next be installed; a release without its service pack takes
    none."""
    from imgtool.guest.windows.known_drivers import LAST_WITH_OLD_RELEASES

    steps = [wanted.servicing, wanted.kernel[-1]]
    if release.build < wanted.service_pack_build:
        steps.insert(0, wanted.service_pack)
    return Text(
        f"Install {', then '.join(steps)} on the source (`wusa.exe` with each .msu, and a restart), or use"
        " the"
        f" drivers of virtio-win {LAST_WITH_OLD_RELEASES}.",
        f"请在源机器上依次安装 {'、'.join(steps)}（用 `wusa.exe` 安装各 .msu 并重启），或改用 virtio-win"
        f" {LAST_WITH_OLD_RELEASES} 的驱动。",
    )
