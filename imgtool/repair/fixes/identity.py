"""What clones would share: cleared, so that each instance makes its own."""

from __future__ import annotations

from imgtool.checks import identity as rules
from imgtool.repair.host_keys import make_at_boot
from imgtool.repair.registration import Work, fix


@fix("linux.identity")
def clear(work: Work) -> None:
    """Machine ID, host keys, leases and seeds; histories and logs only where this rule was asked for."""
    from imgtool.guest.identity import MACHINE_ID

    draft, guest = work.draft, work.guest
    found = guest.identity
    for path in found.machine_id:
        if path == MACHINE_ID:
            draft.write(path, "")  # empty: systemd makes one at the next boot, and it counts as no first boot
        else:
            draft.remove(path)
    if found.host_keys and not rules.makes_host_keys(guest):
        for path in found.host_keys:
            draft.remove(path)
            draft.remove(f"{path}.pub")
        make_at_boot(work)
    for path in (*found.leases, *found.seeds):
        draft.remove(path)
    if work.asked:
        for path in found.histories:
            draft.remove(path)
        for path in found.logs:
            if "/journal/" in path:
                draft.remove(path)
            else:
                draft.replace(path, b"")
