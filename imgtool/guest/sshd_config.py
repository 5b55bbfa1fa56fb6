"""sshd's configuration as sshd reads it (sshd_config(5); servconf.c and misc.c of OpenSSH).

Of several lines for one keyword the first counts; lines below a `Match` that applies count before all others.
One line that sshd does not understand ends it, wherever it stands.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.guest.sshd import CONFIGS, program, version_in
from imgtool.records import dataclass, field
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

_LIMIT = 1 << 20  # bytes of one file
_MOST_FILES = 128
_MOST_LINES = 20_000
_MOST_PROBLEMS = 16
_NEAR = 64 << 10  # bytes
_LONGEST_LINE = 4096
_DEEPEST = 16  # SERVCONF_MAX_DEPTH
_SPACE = " \t\r\n"
REWRITTEN = (8, 7)  # the release since which arguments are split as the shell would

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
class Problem:
    """A line at which sshd ends instead of starting. source: file, line and what stands there."""

    why: Text
    source: str


@dataclass(frozen=True)
class Account:
    """Someone who logs in."""

    name: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SshdConfig:
    """path: the main file. problems: lines at which sshd itself ends. version: of OpenSSH, where known."""

    path: str
    directives: tuple[Directive, ...]
    problems: tuple[Problem, ...] = ()
    version: tuple[int, int] | None = None
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

    def first_of(self, keywords: tuple[str, ...], account: Account) -> str:
        """The value of the line that comes first, of several names for one keyword; "" for none."""
        lines = [line for keyword in keywords for line in self.lines(keyword, account)]
        inner = [line for line in lines if line.criteria] or lines
        order = {id(line): number for number, line in enumerate(self.directives)}
        first = min(inner, key=lambda line: order[id(line)], default=None)
        return first.words[0].lower() if first is not None and first.words else ""

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
    return SshdConfig(path, tuple(reader.found), tuple(reader.problems), reader.version)


class _Reader:
    """The lines so far; files, lines and depth are bounded."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.found: list[Directive] = []
        self.problems: list[Problem] = []
        self.files = 0
        self.program = program(tree)
        self.version = version_in(self.program)
        self.modern = self.version is None or self.version >= REWRITTEN
        self.one = self.program.find(b"permitrootlogin\0")  # where one of them stands, and most others near
        self.knows: dict[str, bool] = {}

    def file(self, path: str, around: Criteria, depth: int) -> None:
        self.files += 1
        if depth > _DEEPEST or self.files > _MOST_FILES or not self.tree.exists(path):
            return
        text = self.tree.read(path, _LIMIT).decode("utf-8", "surrogateescape")  # a byte order mark counts
        criteria = around
        for number, keyword, words in parse_lines(text, self.modern):
            if len(self.found) >= _MOST_LINES:
                return
            why = self._refused(keyword, words, criteria)
            if why is not None:
                if len(self.problems) < _MOST_PROBLEMS:
                    line = f"{path}:{number}: {' '.join((keyword, *(words or ())))[:120]}"
                    self.problems.append(Problem(why, line.encode("utf-8", "replace").decode()))
                continue
            assert words is not None  # noqa: S101 - else it is refused
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

    def _refused(self, keyword: str, words: tuple[str, ...] | None, around: Criteria) -> Text | None:
        """Why sshd would end at this line; None where it would not, as far as is known here."""
        if not self._knows(keyword):
            return Text(f"sshd knows no {keyword[:40]}", f"sshd 不支持 {keyword[:40]}")
        if words is None:
            return Text(f"a quote of {keyword[:40]} does not end", f"{keyword[:40]} 的引号未闭合")
        if not words or not words[0]:
            return Text(f"{keyword[:40]} has no value", f"{keyword[:40]} 没有值")
        if keyword == "match":
            return _bad_criteria(words)
        if any(name != "all" for name, _ in around) and self._outside_only(keyword):
            return Text(f"{keyword} can't stand below Match", f"{keyword} 不能位于 Match 之下")
        values = _VALUES.get(keyword)
        if values is None:
            return None
        if words[0].lower() not in values:
            return Text(f"{keyword} can't be {words[0][:40]}", f"{keyword} 不能为 {words[0][:40]}")
        if len(words) > 1 and words[1]:
            return Text(f"{keyword} takes one value", f"{keyword} 只能有一个值")
        return None

    def _knows(self, keyword: str) -> bool:
        """Whether the program has the keyword among its strings; all of them, where it is another kind of
        program."""
        if len(self.problems) >= _MOST_PROBLEMS:
            return True  # enough was told, and each search costs
        if keyword not in self.knows:
            said, near = keyword.encode("utf-8", "surrogateescape") + b"\0", max(self.one - _NEAR, 0)
            found = self.one < 0 or self.program.find(said, near, self.one + _NEAR) >= 0
            self.knows[keyword] = found or said in self.program
        return self.knows[keyword]

    def _outside_only(self, keyword: str) -> bool:
        since = _NOT_IN_MATCH_BEFORE.get(keyword)
        before = since is not None and self.version is not None and self.version < since
        return keyword in _NOT_IN_MATCH or before


_YES_NO = frozenset({"yes", "no"})
_VALUES = {
    "permitrootlogin": frozenset(
        {"yes", "no", "without-password", "prohibit-password", "forced-commands-only"}
    ),
    "passwordauthentication": _YES_NO,
    "pubkeyauthentication": _YES_NO,
    "kbdinteractiveauthentication": _YES_NO,
    "challengeresponseauthentication": _YES_NO,
    "usepam": _YES_NO,
    "permitemptypasswords": _YES_NO,
}
# What OpenSSH 8.4 to 10.0 refuse below a Match (asked of each), and what later ones than REWRITTEN take there
_GLOBAL = (
    "addressfamily ciphers compression debianbanner fingerprinthash gssapicleanupcredentials "
    "gssapikeyexchange gssapistrictacceptorcheck hostcertificate hostkey hostkeyagent hostkeyalgorithms "
    "ignoreuserknownhosts keyregenerationinterval listenaddress logingracetime macs maxstartups "
    "modulifile permituserenvironment persourcemaxstartups pidfile port printlastlog printmotd protocol "
    "serverkeybits strictmodes syslogfacility tcpkeepalive usedns uselogin usepam "
    "useprivilegeseparation versionaddendum xauthlocation"
)
_NOT_IN_MATCH = frozenset(_GLOBAL.split())
_NOT_IN_MATCH_BEFORE = {"challengeresponseauthentication": REWRITTEN, "subsystem": (9, 5)}
_ATTRIBUTES = (
    *("user", "group", "host", "address", "localaddress", "localport", "rdomain"),
    *("version", "sessiontype", "command"),  # the last three came with 9.9 and 10
)


def _bad_criteria(words: tuple[str, ...]) -> Text | None:
    criteria = _criteria(words)
    for name, value in criteria:
        if name in ("all", "invalid-user"):
            if name == "all" and len(criteria) > 1:
                return Text("Match all can't be combined", "Match all 不能与其他条件组合")
        elif name not in _ATTRIBUTES:
            return Text(f"Match knows no {name[:40]}", f"Match 不支持 {name[:40]}")
        elif not value:
            return Text(f"Match {name} has no value", f"Match {name} 没有值")
    return None


def parse_lines(text: str, modern: bool = True) -> Iterator[tuple[int, str, tuple[str, ...] | None]]:
    """(line from 1, keyword in lower case, words) of each line that is neither empty nor a comment.

    words: None where a quote does not end. modern: as OpenSSH splits them since 8.7.
    """
    for number, whole in enumerate(text.split("\n"), start=1):
        line = whole if modern else whole.partition("#")[0]
        stripped = line.rstrip(f"{_SPACE}\f").lstrip(_SPACE)
        if len(stripped) > _LONGEST_LINE:
            continue
        keyword, rest = _delimited(stripped)
        if not keyword or keyword.startswith("#"):
            continue
        old_words = keyword.lower() == "match" or not modern
        yield number, keyword.lower(), _old_words(rest) if old_words else _split(rest)


def _delimited(text: str) -> tuple[str | None, str]:
    """One word and what follows (strdelim): it ends at white space or one `=`; None without a last quote."""
    at = next((at for at, letter in enumerate(text) if letter in f'{_SPACE}"='), None)
    if at is None:
        return text, ""
    if text[at] == '"':
        inner, quote, rest = text[at + 1 :].partition('"')
        return (text[:at] + inner, rest.lstrip(_SPACE)) if quote else (None, "")
    rest = text[at + 1 :].lstrip(_SPACE)
    if text[at] != "=" and rest.startswith("="):
        rest = rest[1:].lstrip(_SPACE)
    return text[:at], rest


def _old_words(text: str) -> tuple[str, ...] | None:
    words: list[str] = []
    while text:
        word, text = _delimited(text)
        if word is None:
            return tuple(words) or None
        words.append(word)
    return tuple(words)


def _split(text: str) -> tuple[str, ...] | None:
    """Words as argv_split makes them: both kinds of quotes, and a backslash before those, itself or a
    space."""
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            break
        word, quote = "", ""
        while at < len(text):
            letter = text[at]
            following = text[at + 1 : at + 2]
            if letter == "\\" and following and (following in "'\"\\" or (following == " " and not quote)):
                at += 1
                word += following
            elif letter in " \t" and not quote:
                break
            elif letter in "'\"" and not quote:
                quote = letter
            elif letter == quote:
                quote = ""
            else:
                word += letter
            at += 1
        if quote:
            return None
        words.append(word)
    return tuple(words)


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
