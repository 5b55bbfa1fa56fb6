"""sshd's configuration as sshd reads it (sshd_config(5); servconf.c of OpenSSH), and where its host keys come
from.

Of several lines for one keyword the first counts; lines below a `Match` that applies count before all others.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.guest.filesystem import LinkLoop, NotInGuest
from imgtool.records import dataclass, field

if TYPE_CHECKING:
    from imgtool.guest.services import Service, Services
    from imgtool.guest.tree import Tree

PROGRAMS = ("/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd")
CONFIGS = ("/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config")  # the second: SUSE since 15.3
HOST_KEYS = "/etc/ssh/ssh_host_*_key"
_LIMIT = 1 << 20  # bytes of one file
_MOST_FILES = 128
_MOST_LINES = 20_000
_LONGEST_LINE = 4096
_DEEPEST = 16  # SERVCONF_MAX_DEPTH
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"?|([^\s"]+)')
_UNITS = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket")

Criteria = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Directive:
    """One line. keyword: lower case; criteria: of the `Match` lines around it, all of which must apply."""

    keyword: str
    words: tuple[str, ...]
    path: str
    line: int
    criteria: Criteria = ()

    @property
    def source(self) -> str:
        """The line as evidence: `/etc/ssh/sshd_config:57: PasswordAuthentication no`."""
        return f"{self.path}:{self.line}: {self.keyword} {' '.join(self.words)[:120]}"


@dataclass(frozen=True)
class Account:
    """Someone who logs in."""

    name: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SshdConfig:
    """path: the main file. problems: lines or files that sshd itself would stumble over."""

    path: str
    directives: tuple[Directive, ...]
    _index: dict[str, list[Directive]] = field(default_factory=dict, repr=False, compare=False)

    def first(self, keyword: str, account: Account) -> Directive | None:
        """The line that counts for an account; conditions on where it comes from are taken for not met."""
        lines = self.lines(keyword, account)
        return lines[0] if lines else None

    def lines(self, keyword: str, account: Account) -> list[Directive]:
        """All lines for an account: those below a `Match` that applies, if any; else the rest."""
        named = self._named(keyword)
        inner = [it for it in named if it.criteria and applies(it.criteria, account)]
        return inner or [it for it in named if not it.criteria]

    def conditional(self, keyword: str, account: Account) -> list[Directive]:
        """Lines that count only for connections from some place, or of some kind."""
        return [it for it in self._named(keyword) if it.criteria and applies(it.criteria, account) is None]

    def _named(self, keyword: str) -> list[Directive]:
        if not self._index:
            self._index[""] = []
            for directive in self.directives:
                self._index.setdefault(directive.keyword, []).append(directive)
        return self._index.get(keyword.lower(), [])


def applies(criteria: Criteria, account: Account) -> bool | None:
    """Whether `Match` criteria apply to an account; None where that depends on the connection."""
    unsure = False
    for name, value in criteria:
        if name == "all":
            continue
        if name == "user":
            if not matches(value, account.name):
                return False
        elif name == "group":
            if not any(matches(value, group) for group in account.groups):
                return False
        elif name == "invalid-user":
            return False
        else:
            unsure = True
    return None if unsure else True


def matches(patterns: str, name: str) -> bool:
    """sshd's pattern list: commas, `*` and `?`, and `!` for what must not match (match_pattern_list)."""
    found = False
    for pattern in patterns.split(",")[:256]:
        negated = pattern.startswith("!")
        bare = pattern.removeprefix("!")
        if fnmatch.fnmatchcase(name, bare.replace("[", "[[]")):
            if negated:
                return False
            found = True
    return found


def read_sshd_config(tree: Tree) -> SshdConfig | None:
    """The configuration with all that it includes; None where there is no file. Raises GuestReadFailed."""
    path = next((path for path in CONFIGS if tree.exists(path)), None)
    if path is None:
        return None
    reader = _Reader(tree)
    reader.file(path, (), 0)
    return SshdConfig(path, tuple(reader.found))


class _Reader:
    """The lines so far; files, lines and depth are bounded."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.found: list[Directive] = []
        self.files = 0

    def file(self, path: str, around: Criteria, depth: int) -> None:
        self.files += 1
        if depth > _DEEPEST or self.files > _MOST_FILES:
            return
        criteria = around
        for number, keyword, words in parse_lines(self.tree.text_if_there(path, _LIMIT) or ""):
            if len(self.found) >= _MOST_LINES:
                return
            if keyword == "match":
                criteria = (*around, *_criteria(words))
            elif keyword == "include":
                for name in words[:64]:
                    for inner in self._included(name):
                        self.file(inner, criteria, depth + 1)
            else:
                self.found.append(Directive(keyword, words, path, number, criteria))

    def _included(self, pattern: str) -> list[str]:
        absolute = pattern if pattern.startswith("/") else posixpath.join("/etc/ssh", pattern)
        return [path for path in self.tree.glob(absolute) if self.tree.is_file(path)]


def parse_lines(text: str) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """(line from 1, keyword in lower case, words) of each line that is neither empty nor a comment."""
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip(" \t\r\f")
        if not stripped or stripped.startswith("#") or len(stripped) > _LONGEST_LINE:
            continue
        found = re.match(r"\"?([A-Za-z0-9]+)\"?[ \t]*=?[ \t]*", stripped)
        if found is None:
            continue
        words: list[str] = []
        for quoted, bare in _WORD.findall(stripped[found.end() :]):
            if bare.startswith("#"):  # a comment behind the value, which OpenSSH takes since 8.5
                break
            words.append(bare or quoted)
        yield number, found[1].lower(), tuple(words)


def _criteria(words: tuple[str, ...]) -> Criteria:
    found: list[tuple[str, str]] = []
    todo = list(words[:64])
    while todo:
        name, equals, value = todo.pop(0).partition("=")
        if name.lower() in ("all", "invalid-user"):
            found.append((name.lower(), ""))
        elif equals:
            found.append((name.lower(), value))
        else:
            found.append((name.lower(), todo.pop(0) if todo else ""))
    return tuple(found)


def account(tree: Tree, name: str) -> Account:
    """An account with the groups that the guest's files give it."""
    primary = ""
    for line in (tree.text_if_there("/etc/passwd", _LIMIT) or "").splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) > 3:
            primary = fields[3]
            break
    groups: set[str] = set()
    for line in (tree.text_if_there("/etc/group", _LIMIT) or "").splitlines():
        fields = line.split(":")
        if len(fields) > 3 and (fields[2] == primary or name in fields[3].split(",")):
            groups.add(fields[0])
    return Account(name, frozenset(groups))


def ssh_service(services: Services) -> Service:
    """What starts sshd, a service or socket: the first that the boot starts, else the first there is."""
    names = _UNITS if services.init == "systemd" else ("ssh", "sshd")
    states = [services.find(name) for name in names]
    starts = next((state for state in states if state.starts), None)
    return starts or next((state for state in states if state.state != "missing"), states[-1])


def openssh_version(tree: Tree) -> tuple[int, int] | None:
    """Of the program, by the banner in it: (9, 2); None where it is not found in the first 8 MiB."""
    path = next((path for path in PROGRAMS if tree.is_file(path)), None)
    if path is None:
        return None
    with tree.open(path) as file:
        found = re.search(rb"OpenSSH_(\d{1,2})\.(\d{1,2})", file.read(8 << 20))
    return (int(found[1]), int(found[2])) if found else None


def makes_missing_keys(tree: Tree, services: Services) -> str:
    """The file by which a boot makes host keys that are not there; "" where none is known.

    cloud-init's `ssh` module does so too, and is not asked here.
    """
    places = [*_start_files(tree, services), "/etc/rc.local", "/etc/rc.d/rc.local"]
    if services.init == "systemd":
        patterns = ("/etc/systemd/system/*.wants/*", "/etc/systemd/system/*.service.d/*.conf")
        for pattern in (*patterns, "/usr/lib/systemd/system/*.wants/*key*"):  # the last: CoreOS's own
            places += [path for path in tree.glob(pattern) if "key" in path.rsplit("/", 1)[1]]
    for path in dict.fromkeys(places):
        try:
            text = tree.text_if_there(path, _LIMIT) or ""
        except (NotInGuest, LinkLoop):
            continue
        for line in text.splitlines():
            if not line.lstrip().startswith("#") and re.search(
                r"sshd?[-_]?key-?gen|sshd-?gen-?keys|reconfigure.*openssh-server", line[:_LONGEST_LINE]
            ):
                return path
    return ""


def _start_files(tree: Tree, services: Services) -> list[str]:
    """The files that start sshd: units, or the init script."""
    if services.init == "systemd":
        return [path for unit in _UNITS[:2] if (path := services.unit_path(unit))]
    return ["/etc/init.d/sshd", "/etc/init.d/ssh", "/etc/init/ssh.conf"]
