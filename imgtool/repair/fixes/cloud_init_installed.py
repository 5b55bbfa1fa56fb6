"""cloud-init that is not there, or can't run: what reading can mend, and packages where they are given."""

from __future__ import annotations

import shlex
from pathlib import Path

from imgtool.checks import cloud_init as rules
from imgtool.repair.guest_code import require_same_machine
from imgtool.repair.packages import read_package
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.text import Text

FOLDER = "/var/cache/imgtool-packages"
MOST_BYTES = 128 << 20
# What installs files by name, without asking for others: dpkg and rpm never use the network.
_INSTALL = {
    "deb": f"cd {FOLDER} && DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold -i ./*.deb",
    "rpm": f"cd {FOLDER} && rpm -Uvh --replacepkgs --nosignature ./*.rpm",
}
# Whatever the package database says: files may be gone that it takes for installed. apt ends well where it
# can't fetch what it is to install anew, so dpkg is asked; dnf and yum install anew only the version that is
# there, where a repository still has it, and else a newer one.
_AGAIN = {
    "apt-get": "DEBIAN_FRONTEND=noninteractive apt-get install -y --reinstall "
    "-o Dpkg::Options::=--force-confmiss -o Dpkg::Options::=--force-confold {names} "
    "&& ! dpkg -V {names} | grep '^missing' >&2",
    "dnf": "dnf install -y {names} "
    "&& {{ ! rpm -V {names} | grep '^missing' >&2 || dnf reinstall -y {names} || dnf upgrade -y {names}; }}",
    "yum": "yum install -y {names} "
    "&& {{ ! rpm -V {names} | grep '^missing' >&2 || yum reinstall -y {names} || yum update -y {names}; }}",
    "zypper": "zypper --non-interactive install --force {names}",
}


@fix("linux.cloud-init.installed")
def make_it_run(work: Work) -> None:
    """Its mode and its interpreter by editing; what is missing from packages or the guest's repositories."""
    facts, draft = work.guest.cloud_init, work.draft
    if facts.kind == "cloud-init" and not facts.executable:
        draft.chmod(facts.entry, 0o755)
        return
    python = rules.other_python(work.guest, facts) if facts.kind == "cloud-init" else None
    if python is not None and (not facts.interpreter or not facts.package):
        draft.edit(facts.entry, lambda text: f"#!{python}\n{text.partition(chr(10))[2]}")
        return
    if work.wishes.cloud_init_packages is not None:
        require_same_machine(work.guest)
        _install_given(work, work.wishes.cloud_init_packages)
    elif work.wishes.network:
        require_same_machine(work.guest)
        _install_by_network(work)
    else:
        raise CannotMend(
            Text(
                en="Packages are needed: give their folder with --cloud-init-packages DIR, or let the "
                "guest's package manager use the network with --network; or import by force.",
                zh="需要安装软件包：用 --cloud-init-packages 指定软件包目录，或用 --network "
                "允许客户机的包管理器联网；也可使用强制导入（--force-import）。",
            )
        )


def _install_given(work: Work, folder: Path) -> None:
    kind = "deb" if work.guest.release.family == "debian" else "rpm"
    packages = (
        sorted(path for path in folder.iterdir() if path.suffix == f".{kind}") if folder.is_dir() else []
    )
    if not packages:
        raise CannotMend(
            Text(
                en=f"There are no .{kind} packages in {folder}.",
                zh=f"{folder} 中没有 .{kind} 软件包。",
            )
        )
    if sum(path.stat().st_size for path in packages) > MOST_BYTES:
        raise CannotMend(
            Text(
                en=f"The packages in {folder} are more than {MOST_BYTES >> 20} MiB.",
                zh=f"{folder} 中的软件包超过 {MOST_BYTES >> 20} MiB。",
            )
        )
    read = [read_package(path) for path in packages]
    for path, package in zip(packages, read, strict=True):
        if not package.fits(work.guest.architecture):
            raise CannotMend(
                Text(
                    en=f"{path.name} is for {package.architecture}; the guest is {work.guest.architecture}.",
                    zh=f"{path.name} 适用于 {package.architecture}，而客户机为 {work.guest.architecture}。",
                )
            )
    for path in packages:
        work.draft.write(f"{FOLDER}/{path.name}", path.read_bytes())
    # what they become, most of it below /usr, beside themselves, which go when they are installed
    work.draft.need_room("/usr", sum(it.size for it in read), sum(it.files for it in read))
    work.draft.run(f"{_INSTALL[kind]} && rm -rf {FOLDER}")


def _install_by_network(work: Work) -> None:
    release = work.guest.release
    names = " ".join(
        map(shlex.quote, rules.missing_packages(work.guest, work.guest.cloud_init) or ["cloud-init"])
    )
    install = release.install_command(names)
    if not install:
        raise CannotMend(
            Text(en="The guest's package manager is not known.", zh="无法识别客户机的包管理器。")
        )
    command = _AGAIN.get(release.package_manager, install).format(names=names)
    if release.package_manager == "apt-get":
        command = f"apt-get update && {command}"
    work.draft.run(command, network=True)
