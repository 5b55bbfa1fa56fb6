"""cloud-init's first-boot actions that were turned off: turned on again."""

from __future__ import annotations

import re

from imgtool.checks import cloud_init_modules as rules
from imgtool.guest.cloud_init import UPGRADED
from imgtool.repair.kernel_arguments import replace_argument
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.text import Text

_PRESERVE = re.compile(r"(?m)^(preserve_hostname[ \t]*:[ \t]*).*$")
_NETWORK = re.compile(
    r"(?m)^network[ \t]*:[ \t]*(?:\{[ \t]*config[ \t]*:[ \t]*[\"']?disabled[\"']?[ \t]*\}[ \t]*"
    r"|\n[ \t]+config[ \t]*:[ \t]*[\"']?disabled[\"']?[ \t]*)(?:\n|$)"
)


@fix("linux.cloud-init.modules")
def turn_on(work: Work) -> None:
    """The modules back into their lists, the host name and the network left to the platform."""
    draft, config = work.draft, work.guest.cloud_config
    for action, name in rules.named_actions():
        left_out = work.guest.release.family in action.left_out_by
        if name in config.modules or left_out or rules.unknown_to(work.guest, name):
            continue
        path = config.places.get(action.stage, rules.MAIN).rpartition(":")[0] or rules.MAIN
        draft.edit(path, lambda text, it=action: with_module(text, it.stage, it.module))  # type: ignore[misc]
    if config.flag("preserve_hostname", default=False):
        path = config.places.get("preserve_hostname", rules.MAIN).rpartition(":")[0] or rules.MAIN
        draft.edit(path, lambda text: _PRESERVE.sub(r"\g<1>false", text))
    _network(work)


def _network(work: Work) -> None:
    said = work.guest.network_disabled
    if not said:
        return
    if not said.startswith("/"):
        replace_argument(work.guest, work.draft, said, "")
        return
    path = said.split(":", maxsplit=1)[0]
    if path == UPGRADED:
        if work.draft.tree.exists(path):  # linux.cloud-init.cache takes all of the folder away
            work.draft.remove(path)
        return
    left = _NETWORK.sub("", work.draft.text(path))
    if left == work.draft.text(path):
        raise CannotMend(
            Text(
                en=f"{path} switches the network off in a way that is left to a person.",
                zh=f"{path} 以特殊方式禁用了网络配置，请人工处理。",
            )
        )
    if any(line.strip() and not line.lstrip().startswith("#") for line in left.splitlines()):
        work.draft.write(path, left)
    else:
        work.draft.remove(path)


def with_module(text: str, stage: str, module: str) -> str:
    """The module at the head of its list, in the notation of the list that is there."""
    inline = re.search(rf"(?m)^{stage}[ \t]*:[ \t]*\[", text)
    if inline:
        rest = text[inline.end() :]
        between = "" if rest.lstrip().startswith("]") else ", "
        return f"{text[: inline.end()]}{module}{between}{rest.lstrip(' ')}"
    block = re.search(rf"(?m)^{stage}[ \t]*:[ \t]*(?:#.*)?$\n?", text)
    if block:
        item = re.match(r"(?:[ \t]*(?:#.*)?\n)*([ \t]*)-", text[block.end() :])
        indent = item[1] if item else " "
        return f"{text[: block.end()]}{indent}- {module}\n{text[block.end() :]}"
    end = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{end}\n{stage}:\n - {module}\n"
