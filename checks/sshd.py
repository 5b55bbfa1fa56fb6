"""sshd: there, started, able to start, and open to the password or key that the platform sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.records import dataclass
from imgtool.remedy import enable_service, host_keys_at_boot, in_guest, install, quoted
from imgtool.rules import Outcome, Severity, broken, kept, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.linux import LinuxGuest
    from imgtool.guest.sshd_config import Account, Directive, SshdConfig
    from imgtool.image import Image

EVERY_ADDRESS = (
    "0.0.0.0",  # noqa: S104 - a name in a guest's file
    "::",
    "[::]",
    "*",
    "any",
)
WEIGHTY = ("denyusers", "denygroups", "allowgroups", "authenticationmethods")
OWN_FILE = "/etc/ssh/sshd_config.d/00-platform.conf"


@dataclass(frozen=True)
class Way:
    """Whether an account gets in by a password or a key. why: the line that keeps it out, None for none."""

    open: bool
    why: Directive | None = None


@rule(
    "linux.sshd",
    Text("SSH access", "SSH 登录"),
    severity=Severity.WARNING,
    source="field",
    family="linux",
    requires=("disk.root",),
    fixable=True,
)
def sshd(image: Image) -> Iterator[Outcome]:
    """sshd is installed, started by the boot, can start, and takes the password or key that the platform
    sets.

    The platform gives a new instance a password for root or the default account, or a key (ref 02, 11). A
    server that takes keys alone is as it should be: instances are then made with a key. One that refuses
    both can only be reached through the console, and so can a forced import, which has passwords only, where
    it refuses these. What keeps people out: no sshd, or not enabled; no host keys, and nothing that makes
    them; a `ListenAddress` of the old network; `PasswordAuthentication no` (cloud-init's `ssh_pwauth`
    changes it at the first boot), `PubkeyAuthentication no`, `PermitRootLogin` where only root is set up,
    AllowUsers and its kin. `Include` and `Match` are followed; what depends on where a connection comes from
    is taken for not met.

    Evidence: the file and line. Example: `/etc/ssh/sshd_config.d/01-hardening.conf:3: passwordauthentication
    no`. The fix is a file of the server's own that comes first, or the service's enabling.
    """
    from imgtool.guest.sshd import CONFIGS, PROGRAMS, ssh_service
    from imgtool.guest.sshd_config import read_sshd_config

    guest = image.linux
    program = next((path for path in PROGRAMS if guest.tree.is_file(path)), None)
    if program is None:
        yield from _no_server(guest)
        return
    faults: list[Outcome] = []
    service = ssh_service(guest.services)
    if guest.services.init == "unknown":
        faults.append(
            undecided(
                Text(
                    "The guest's init system is not known (/sbin/init).",
                    "无法识别系统的 init（/sbin/init）。",
                )
            )
        )
    elif not service.starts:
        faults.append(
            broken(
                Text("The boot does not start sshd.", "系统启动时不会运行 sshd。"),
                f"{service.proof}: {service.state}",
                remedy=in_guest(enable_service(guest, service)) if service.state != "missing" else None,
            )
        )
    config = read_sshd_config(guest.tree)
    if config is None:
        faults.append(
            broken(
                Text(
                    "sshd has no configuration and does not start without.",
                    "sshd 没有配置文件，无法启动。",
                ),
                f"not there: {', '.join(CONFIGS)}",
                remedy=_again(guest),
                fixable=False,
            )
        )
        yield from faults
        return
    faults += _refused(config)
    faults += lacking_keys(image, guest)
    faults += listens_elsewhere(config)
    ways = list(ways_in(image, guest, config))
    faults += [outcome for outcome in ways if outcome.kind != "kept"]
    yield from faults or [
        kept(ways[0].message, service.proof, *(line for outcome in ways for line in outcome.evidence))
    ]


def _no_server(guest: LinuxGuest) -> Iterator[Outcome]:
    other = next(
        (path for path in ("/usr/sbin/dropbear", "/usr/bin/dropbear") if guest.tree.exists(path)), ""
    )
    if other:
        yield undecided(
            Text(
                "The guest's SSH server is dropbear, whose settings are not judged.",
                "系统的 SSH 服务为 dropbear，不判断其配置。",
            ),
            other,
        )
        return
    package = "openssh" if guest.release.family == "suse" else "openssh-server"
    commands = install(guest, package)
    yield broken(
        Text(
            "No SSH server is installed: an instance can only be reached through the console.",
            "未安装 SSH 服务：实例只能通过控制台访问。",
        ),
        "no sshd in /usr/sbin, /usr/bin, /usr/local/sbin",
        remedy=in_guest(*commands) if commands else None,
        fixable=False,
    )


def _again(guest: LinuxGuest) -> Text | None:
    command = {
        "apt-get": "apt-get install --reinstall -y -o Dpkg::Options::=--force-confmiss openssh-server",
        "dnf": "dnf reinstall -y openssh-server",
        "yum": "yum reinstall -y openssh-server",
        "zypper": "zypper --non-interactive install --force openssh",
    }.get(guest.release.package_manager)
    return in_guest(command) if command else None


def _refused(config: SshdConfig) -> Iterator[Outcome]:
    """A line that sshd does not understand ends it (`sshd -t` says which)."""
    if config.problems:
        first = config.problems[0].why
        yield broken(
            Text(
                f"sshd refuses its configuration and does not start: {first.en}.",
                f"sshd 拒绝其配置，无法启动：{first.zh}。",
            ),
            *(problem.source for problem in config.problems[:8]),
            remedy=Text(
                "Mend the line in the guest, then have sshd read it:\nsshd -t",
                "请在系统内修正该行，然后用 sshd 检查：\nsshd -t",
            ),
            fixable=False,
        )


def lacking_keys(image: Image, guest: LinuxGuest) -> Iterator[Outcome]:
    """Without host keys sshd ends at once."""
    from imgtool.guest.sshd import HOST_KEYS, makes_missing_keys

    if guest.tree.glob(HOST_KEYS) or guest.tree.exists("/etc/ssh/ssh_host_key"):
        return
    try:
        if not guest.cloud_init_starts:
            if not image.options.force_import:
                return  # the rules on cloud-init say so; once that is mended, it makes them
        elif guest.cloud_config.runs("ssh") or not guest.cloud_config.modules:
            return  # without any modules it makes nothing at all, which linux.cloud-init.datasource says
    except CannotRead:
        return  # the rules on cloud-init say why
    if makes_missing_keys(guest.tree, guest.services):
        return
    yield broken(
        Text(
            "There are no SSH host keys, and nothing makes them at boot: sshd can't start.",
            "没有 SSH 主机密钥，且启动时不会生成：sshd 无法启动。",
        ),
        f"not there: {HOST_KEYS}",
        remedy=in_guest(*host_keys_at_boot(guest)),
    )


def listens_elsewhere(config: SshdConfig) -> Iterator[Outcome]:
    """An address that the machine had in its old network is none that it will have."""
    lines = [it for it in config.directives if it.keyword == "listenaddress" and it.words]
    if lines and not any(_host(it.words[0]) in EVERY_ADDRESS for it in lines):
        yield broken(
            Text(
                f"sshd listens on {', '.join(it.words[0][:60] for it in lines[:4])} alone, which a new"
                f" instance"
                " does not have.",
                f"sshd 仅监听 {'、'.join(it.words[0][:60] for it in lines[:4])}，新实例没有该地址。",
            ),
            *(it.source for it in lines[:8]),
            remedy=in_guest(*(f"sed -i '{it.line}s/^/# /' {quoted(it.path)}" for it in reversed(lines[:8]))),
        )


def _host(address: str) -> str:
    if address.startswith("["):
        return address.partition("]")[0].removeprefix("[") or address
    return address if address.count(":") > 1 else address.partition(":")[0]


def ways_in(image: Image, guest: LinuxGuest, config: SshdConfig) -> Iterator[Outcome]:
    """Whether a password gets in, and whether a key does."""
    accounts = list(_accounts(image, guest))
    passwords = [_password(guest, config, each) for each in accounts]
    keys = [_key(guest, config, each) for each in accounts]
    names = ", ".join(each.name for each in accounts)
    shut = [way.why.source for way in (*passwords, *keys) if not way.open and way.why]
    depends = [
        it.source
        for each in accounts[:1]
        for keyword in ("passwordauthentication", "permitrootlogin")
        for it in config.conditional(keyword, each)
    ][:4]
    evidence = [*dict.fromkeys(shut), *depends]
    if any(way.open for way in passwords):
        yield kept(
            Text("sshd starts and lets people in.", "sshd 会启动并允许登录。"),
            *(f"{each.name}: password" for each, way in zip(accounts, passwords, strict=True) if way.open),
        )
        return
    remedy = _open(guest, config, admissions(image, guest, config))
    if any(way.open for way in keys):
        if image.options.force_import:  # os.conf has a password and no key
            yield broken(
                Text(
                    f"sshd takes keys but no passwords ({names}), and a forced import sets a password only.",
                    f"sshd 只接受密钥而不接受密码（{names}），而强制导入只会设置密码。",
                ),
                *evidence,
                remedy=remedy,
            )
            return
        yield kept(
            Text(
                f"sshd starts and takes keys, no passwords ({names}): make instances with a key.",
                f"sshd 会启动，只接受密钥登录（{names}）：创建实例时请绑定密钥。",
            ),
            *evidence,
        )
        return
    yield broken(
        Text(
            f"sshd takes neither a password nor a key ({names}).",
            f"sshd 既不接受密码也不接受密钥（{names}）。",
        ),
        *evidence,
        remedy=remedy,
    )


def _accounts(image: Image, guest: LinuxGuest) -> Iterator[Account]:
    """Whose password or key the platform sets: root's, and that of cloud-init's default account."""
    from imgtool.guest.sshd_config import Account, account

    yield account(guest.tree, "root")
    try:
        if image.options.force_import or not guest.cloud_init_starts:
            return
        default = guest.cloud_config.default_user
    except CannotRead:
        return
    if default and default != "root":
        found = account(guest.tree, default)
        yield Account(default, found.groups | guest.cloud_config.default_groups | {default})


def _allowed(config: SshdConfig, each: Account) -> Way:
    """DenyUsers, AllowUsers, DenyGroups, AllowGroups (auth.c, allowed_user)."""
    from imgtool.guest.sshd_config import matches

    def named(lines: list[Directive], names: frozenset[str], *, elsewhere: bool = True) -> Directive | None:
        """The line that names one of them; elsewhere: also where it does so for some addresses alone."""
        for line in lines:
            for word in line.words:
                if (elsewhere or "@" not in word) and any(
                    matches(word.rpartition("@")[0] or word, name) for name in names
                ):
                    return line
        return None

    own = frozenset({each.name})
    for deny, allow, names in (
        ("denyusers", "allowusers", own),
        ("denygroups", "allowgroups", each.groups),
    ):
        denied = named(config.lines(deny, each), names, elsewhere=False)
        if denied:
            return Way(False, denied)
        listed = config.lines(allow, each)
        if listed and named(listed, names) is None:
            return Way(False, listed[0])
    return Way(True)


def _said(config: SshdConfig, each: Account, *keywords: str) -> tuple[str, Directive | None]:
    for keyword in keywords:
        line = config.first(keyword, each)
        if line is not None and line.words:
            return line.words[0].lower(), line
    return "", None


def _password(guest: LinuxGuest, config: SshdConfig, each: Account) -> Way:
    way = _allowed(config, each)
    if not way.open:
        return way
    if each.name == "root":
        value, line = _said(config, each, "permitrootlogin")
        if value in ("no", "prohibit-password", "without-password", "forced-commands-only"):
            return Way(False, line)
        if not value and not _root_by_default(guest, config):
            return Way(False)
    methods, line = _said(config, each, "authenticationmethods")
    if methods and line and not any(_by_password(word) for word in line.words):
        return Way(False, line)
    value, line = _said(config, each, "passwordauthentication")
    if _set_by_cloud_init(guest, line) is not None:
        value = "yes" if _set_by_cloud_init(guest, line) else "no"
    if value != "no":
        return Way(True)
    pam, _ = _said(config, each, "usepam")
    return Way(asks_by_keyboard(config, each) and pam == "yes", line)


def asks_by_keyboard(config: SshdConfig, each: Account) -> bool:
    """KbdInteractiveAuthentication. Until 8.6 ChallengeResponseAuthentication switched it on, since 8.7 it is
    another name for it."""
    from imgtool.guest.sshd_config import REWRITTEN

    names = ("kbdinteractiveauthentication", "challengeresponseauthentication")
    if config.version is None or config.version >= REWRITTEN:
        return config.first_of(names, each) != "no"
    keyboard, line = _said(config, each, names[0])
    if line is not None and line.criteria:  # below Match it stands for itself
        return keyboard == "yes"
    challenge, _ = _said(config, each, names[1])
    return challenge != "no" or keyboard == "yes"


def _by_password(methods: str) -> bool:
    wanted = {word.partition(":")[0] for word in methods.split(",")}
    return wanted <= {"any", "password", "keyboard-interactive"}


def _key(guest: LinuxGuest, config: SshdConfig, each: Account) -> Way:
    way = _allowed(config, each)
    if not way.open:
        return way
    if each.name == "root":
        value, line = _said(config, each, "permitrootlogin")
        if value == "no":
            return Way(False, line)
    value, line = _said(config, each, "pubkeyauthentication")
    return Way(value != "no", line if value == "no" else None)


def _root_by_default(guest: LinuxGuest, config: SshdConfig) -> bool:
    """PermitRootLogin where no line says it: `yes` up to OpenSSH 6.9, and in Red Hat's 7.4 (RHEL 7)."""
    version = config.version
    redhat_7 = guest.release.family == "redhat" and (guest.release.major or 99) <= 7
    return redhat_7 or (version is not None and version < (7, 0))


def _set_by_cloud_init(guest: LinuxGuest, line: Directive | None) -> bool | None:
    """What cloud-init makes of PasswordAuthentication at the first boot; None where it leaves it.

    It writes 50-cloud-init.conf, before which other files of that folder may come; older ones edit the main
    file.
    """
    try:
        if not guest.cloud_init_starts or not guest.cloud_config.runs("set-passwords"):
            return None
        said = guest.cloud_config.values.get("ssh_pwauth")
    except CannotRead:
        return None
    if not isinstance(said, str) or said.lower() == "unchanged":
        return None
    if line is not None and "/sshd_config.d/" in line.path and line.path.rsplit("/", 1)[1] < "50-cloud-init":
        return None
    if line is not None and line.criteria:
        return None
    return said.lower() in ("true", "yes", "on", "1")


def admissions(image: Image, guest: LinuxGuest, config: SshdConfig) -> dict[tuple[str, int], str]:
    """What has to change in lines that keep people out whatever stands before them.

    By file and line the name to add at its end, "" for a line that is to go.
    """
    found: dict[tuple[str, int], str] = {}
    for each in _accounts(image, guest):
        for line in (_password(guest, config, each).why, _key(guest, config, each).why):
            if line is None:
                continue
            if line.keyword == "allowusers" and re.fullmatch(r"[\w.-]+", each.name):
                found[line.path, line.line] = each.name
            elif line.criteria or line.keyword in WEIGHTY:
                found[line.path, line.line] = ""
    return found


def _open(guest: LinuxGuest, config: SshdConfig, admitted: dict[tuple[str, int], str]) -> Text:
    """A file that sshd reads first, where it includes such files; else lines at the head of the main one."""
    commands = [
        f"sed -i '{line}s/{'[[:space:]]*$/ ' + name if name else '^/# '}/' {quoted(path)}"
        for (path, line), name in admitted.items()
    ]
    lines = "PermitRootLogin yes\\nPasswordAuthentication yes\\nPubkeyAuthentication yes"
    if guest.tree.is_dir("/etc/ssh/sshd_config.d") and includes_folder(guest, config.path):
        return in_guest(*commands, f"printf '{lines}\\n' > {OWN_FILE}")
    return in_guest(*commands, "sed -i '1i " + lines + f"' {config.path}")


def includes_folder(guest: LinuxGuest, path: str) -> bool:
    """The main file includes the folder before anything else that would count."""
    from imgtool.guest.sshd_config import parse_lines

    for _, keyword, words in parse_lines(guest.tree.text_if_there(path, 1 << 20) or ""):
        if keyword == "include":
            return any("/sshd_config.d/" in f"/etc/ssh/{word}" for word in words or ())
        if keyword in ("passwordauthentication", "permitrootlogin", "match", "pubkeyauthentication"):
            return False
    return False
