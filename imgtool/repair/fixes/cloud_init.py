"""cloud-init: switched on, and told to read the platform's config drive."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.checks import cloud_init as rules
from imgtool.repair.kernel_arguments import replace_argument
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.repair.services import enable
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.cloud_init import Disabled

DS_IDENTIFY = "/etc/cloud/ds-identify.cfg"


@fix("linux.cloud-init.enabled")
def switch_on(work: Work) -> None:
    """The flag file, the kernel argument, the policy or the missing links that keep it from starting."""
    from imgtool.guest.cloud_init import stages, what_disables

    guest = work.guest
    arguments = guest.kernel_arguments or ""
    for reason in what_disables(guest.tree, guest.services, arguments, guest.cloud_config):
        _undo(work, reason)
    if any(
        reason.what == "unit" for reason in what_disables(guest.tree, guest.services, "", guest.cloud_config)
    ):
        for stage in stages(guest.services):
            if guest.services.find(stage).state == "disabled":
                enable(work, stage)


def _undo(work: Work, reason: Disabled) -> None:
    guest, draft = work.guest, work.draft
    if reason.what == "file":
        draft.remove(reason.proof)
    elif reason.what == "argument":
        if not replace_argument(guest, draft, reason.name, ""):
            raise CannotMend(
                Text(en=f"Where {reason.name} comes from was not found.", zh=f"未找到 {reason.name} 的来源。")
            )
    elif reason.what == "policy":
        draft.edit(DS_IDENTIFY, lambda text: re.sub(r"(?m)^[ \t]*policy[ \t]*:.*\n?", "", text))
    elif reason.what == "missing":
        raise CannotMend(
            Text(
                en=f"{reason.name} is not there: cloud-init has to be installed again.",
                zh=f"{reason.name} 不存在：需要重新安装 cloud-init。",
            )
        )
    else:
        enable(work, reason.name)


@fix("linux.cloud-init.datasource")
def read_the_config_drive(work: Work) -> None:
    """A file of its own that lists the data sources, read after all others; what forces one goes."""
    from imgtool.guest.cloud_init import forced_datasource

    guest, draft = work.guest, work.draft
    linux = work.image.profile.linux
    forced = forced_datasource(guest.kernel_arguments or "", guest.cloud_config)
    if forced is not None and forced[0] not in linux.datasources:
        if forced[1].startswith("/etc/"):
            draft.edit(DS_IDENTIFY, lambda text: re.sub(r"(?m)^[ \t]*datasource[ \t]*:.*\n?", "", text))
        elif not replace_argument(guest, draft, forced[1], ""):
            raise CannotMend(
                Text(en=f"Where {forced[1]} comes from was not found.", zh=f"未找到 {forced[1]} 的来源。")
            )
    names = guest.cloud_config.datasource_list
    if names is not None and all(name in names for name in linux.datasources):
        return
    path = rules.own_file(guest.cloud_config.places.get("datasource_list", ""))
    wanted = (*linux.datasources, *linux.metadata_datasources[:1], "None")
    draft.write(path, f"# Written by imgtool fix.\ndatasource_list: [ {', '.join(wanted)} ]\n")
