"""Software of other platforms kept from starting. Its removal is left to its own remover, in the guest."""

from __future__ import annotations

from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.repair.services import disable
from imgtool.text import Text


@fix("linux.conflicting-software")
def keep_from_starting(work: Work) -> None:
    """Each service of each product is masked, or its links removed."""
    from imgtool.guest.foreign_agents import find_products

    guest = work.guest
    found = [it for it in find_products(guest.tree, guest.services) if not it.idle]
    for each in found:
        for service in each.product.services:
            if guest.services.find(service).starts:
                disable(work, service)
    stubborn = [it.product.name for it in found if not it.starts]
    if stubborn and len(stubborn) == len(found):
        raise CannotMend(
            Text(
                en=f"{', '.join(stubborn)} has no service that could be disabled; its own remover takes it "
                "away, in the guest.",
                zh=f"{'、'.join(stubborn)} 没有可禁用的服务，请在系统内用其自带的卸载程序移除。",
            )
        )
