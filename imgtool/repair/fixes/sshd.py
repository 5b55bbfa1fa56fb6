"""sshd started, able to start, and open to the password or key that the platform sets."""

from __future__ import annotations

from imgtool.checks import sshd as rules
from imgtool.repair.host_keys import make_at_boot
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.repair.services import enable
from imgtool.text import Text

HEAD = "# Written by imgtool fix: the platform sets a password or a key.\n"


@fix("linux.sshd")
def let_people_in(work: Work) -> None:
    """The service enabled, host keys made at boot, old addresses and what shuts everyone out taken away."""
    from imgtool.guest.sshd import ssh_service
    from imgtool.guest.sshd_config import read_sshd_config

    guest = work.guest
    service = ssh_service(guest.services)
    if service.state == "missing":
        raise CannotMend(Text(en="There is no service that starts sshd.", zh="系统中没有启动 sshd 的服务。"))
    if not service.starts:
        enable(work, service.name)
    config = read_sshd_config(guest.tree)
    if config is None:
        raise CannotMend(
            Text(en="sshd has no configuration; install it again.", zh="sshd 没有配置文件，请重新安装。")
        )
    if list(rules.lacking_keys(work.image, guest)):
        make_at_boot(work)
    if list(rules.listens_elsewhere(config)):
        for line in config.directives:
            if line.keyword == "listenaddress":
                work.draft.edit(line.path, lambda text, number=line.line: _commented(text, number))  # type: ignore[misc]
    if any(outcome.kind == "broken" for outcome in rules.ways_in(work.image, guest, config)):
        for (path, number), name in rules.admissions(work.image, guest, config).items():
            work.draft.edit(path, lambda text, at=number, who=name: _admitted(text, at, who))  # type: ignore[misc]
        _open(work, config.path)


def _open(work: Work, path: str) -> None:
    lines = "PermitRootLogin yes\nPasswordAuthentication yes\nPubkeyAuthentication yes\n"
    if work.guest.tree.is_dir("/etc/ssh/sshd_config.d") and rules.includes_folder(work.guest, path):
        work.draft.write(rules.OWN_FILE, HEAD + lines, mode=0o600)
    else:  # of several lines the first counts
        work.draft.edit(path, lambda text: HEAD + lines + text)


def _admitted(text: str, number: int, name: str) -> str:
    if not name:
        return _commented(text, number)
    lines = text.split("\n")
    lines[number - 1] = f"{lines[number - 1].rstrip()} {name}"
    return "\n".join(lines)


def _commented(text: str, number: int) -> str:
    lines = text.split("\n")
    lines[number - 1] = f"# {lines[number - 1]}"
    return "\n".join(lines)
