"""What cloud-init left of another instance's life: removed, as ref 05 asks before an export."""

from __future__ import annotations

from imgtool.checks import cloud_init_cache as rules
from imgtool.repair.registration import Work, fix


@fix("linux.cloud-init.cache")
def forget(work: Work) -> None:
    """The state, the generated network files, and /etc/network/interfaces as the reference has it."""
    draft, guest = work.draft, work.guest
    found = guest.cloud_cache
    if found.state or found.seed:
        for path in found.removable:
            if guest.tree.glob(path):
                draft.remove(path)
    for path in found.network:
        draft.remove(path)
    if any(outcome.kind == "broken" for outcome in rules.interfaces_faults(guest)):
        draft.write(rules.INTERFACES, "\n".join(rules.AS_ASKED) + "\n")
