"""Rules, what they find, and the running of them.

A rule lives in a module of `imgtool.checks` (the top-level folder `checks/`) or in a package that announces
itself through the entry-point group `imgtool.checks`. The core knows no rule by name.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Literal

from imgtool.errors import ImgtoolError, UsageError
from imgtool.records import dataclass, replace
from imgtool.text import Text

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from imgtool.image import Image

Target = Literal["import", "migrate", "data-disk"]
Family = Literal["any", "linux", "windows"]
ENTRY_POINTS = "imgtool.checks"


class Severity(str, Enum):
    """How bad it is when a rule is broken."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Status(str, Enum):
    """What became of a rule on one thing that it judged."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIP = "skip"


@dataclass(frozen=True)
class Outcome:
    """What a rule says of one thing: made with `kept`, `broken`, `undecided` or `not_judged`.

    severity and platform_code, where given, stand for the rule's own ("" for no code); fixable: `imgtool fix`
    mends it.
    """

    kind: Literal["kept", "broken", "undecided", "not judged"]
    message: Text
    evidence: tuple[str, ...] = ()
    remedy: Text | None = None
    severity: Severity | None = None
    platform_code: str | None = None
    fixable: bool | None = None


def kept(message: Text, *evidence: str) -> Outcome:
    """The thing is as it should be."""
    return Outcome("kept", message, evidence)


def broken(
    message: Text,
    *evidence: str,
    remedy: Text | None = None,
    severity: Severity | None = None,
    platform_code: str | None = None,
    fixable: bool | None = None,
) -> Outcome:
    """The thing is wrong, and this is the proof and what mends it."""
    return Outcome("broken", message, evidence, remedy, severity, platform_code, fixable)


def undecided(message: Text, *evidence: str, remedy: Text | None = None) -> Outcome:
    """The rule applies and could not be evaluated."""
    return Outcome("undecided", message, evidence, remedy)


def not_judged(message: Text, *evidence: str) -> Outcome:
    """The rule has nothing to judge here, and that is as it should be."""
    return Outcome("not judged", message, evidence)


Judge = Callable[["Image"], Iterable[Outcome]]


@dataclass(frozen=True)
class Rule:
    """One rule of the catalogue.

    id: stable, dotted, lower case. severity: what breaking it means, unless the profile says otherwise.
    source: the reference page it comes from ("ref 06") or "field". requires: ids of the rules without which
    this one means nothing; when one of them is broken this one is skipped: one fault gives one error. ahead:
    begins, in the background, what the rule will have to wait for; it is judged behind the others then.
    """

    id: str
    title: Text
    severity: Severity
    source: str
    judge: Judge
    family: Family = "any"
    targets: frozenset[Target] = frozenset({"import", "migrate"})
    platform_code: str | None = None
    requires: tuple[str, ...] = ()
    fixable: bool = False
    ahead: Callable[[Image], None] | None = None

    @property
    def explanation(self) -> str:
        """What the rule judges and why: the docstring of the function behind it."""
        return (self.judge.__doc__ or "").strip()


@dataclass(frozen=True)
class Finding:
    """What a rule found on one thing, as reports show it."""

    id: str
    status: Status
    severity: Severity
    title: Text
    message: Text
    platform_code: str | None = None
    evidence: tuple[str, ...] = ()
    remedy: Text | None = None
    fixable: bool = False
    because: str | None = None
    """The rule, already reported, whose reason for `unknown` is this one's reason as well."""
    time_s: float | None = None
    """Seconds since power-on, for what a boot showed."""


def rule(
    id: str,  # noqa: A002 - the catalogue's word
    title: Text,
    *,
    severity: Severity,
    source: str,
    family: Family = "any",
    targets: Iterable[Target] = ("import", "migrate"),
    platform_code: str | None = None,
    requires: tuple[str, ...] = (),
    fixable: bool = False,
    ahead: Callable[[Image], None] | None = None,
) -> Callable[[Judge], Rule]:
    """Make the decorated function a rule. Its docstring is the rule's page in docs/checks.md."""

    def make(judge: Judge) -> Rule:
        return Rule(
            id=id,
            title=title,
            severity=severity,
            source=source,
            judge=judge,
            family=family,
            targets=frozenset(targets),
            platform_code=platform_code,
            requires=requires,
            fixable=fixable,
            ahead=ahead,
        )

    return make


def discover() -> dict[str, Rule]:
    """Every rule there is, by id: those of `imgtool.checks` first, then third-party ones by entry point.

    Raises UsageError when two rules claim one id or a third-party module cannot be imported.
    """
    catalogue = importlib.import_module("imgtool.checks")
    names = sorted(found.name for found in pkgutil.iter_modules(catalogue.__path__))
    modules = [importlib.import_module(f"imgtool.checks.{name}") for name in names]
    for point in _plug_ins():
        try:
            modules.append(point.load())
        except Exception as error:
            raise UsageError(
                Text(
                    en=f"The rules of plug-in {point.value} can't be loaded: {error}. Mend or uninstall it.",
                    zh=f"无法加载插件 {point.value} 的规则：{error}。请修复或卸载该插件。",
                )
            ) from error
    rules: dict[str, Rule] = {}
    for module in modules:
        for found in vars(module).values():
            if not isinstance(found, Rule) or rules.get(found.id) is found:
                continue
            if found.id in rules:
                raise UsageError(
                    Text(
                        en=f"Two rules have the id {found.id}: the second is in {module.__name__}.",
                        zh=f"规则编号 {found.id} 重复：后一个位于 {module.__name__}。",
                    )
                )
            rules[found.id] = found
    return _in_order(rules)


def _plug_ins() -> Iterable[EntryPoint]:
    """The entry points of other packages. importlib.metadata takes longer to import than all rules do, so it
    is asked only where a package names the group at all."""
    if not any(map(_names_the_group, sys.path)):
        return ()
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)


def _names_the_group(folder: str) -> bool:
    """Whether a package in this folder of sys.path may have rules; so says anything but a folder, too."""
    try:
        with os.scandir(folder or ".") as entries:
            packages = [it.path for it in entries if it.name.endswith((".dist-info", ".egg-info"))]
    except (FileNotFoundError, PermissionError):
        return False
    except NotADirectoryError:
        return True
    for package in packages:
        try:
            with open(f"{package}/entry_points.txt", encoding="utf-8", errors="replace") as file:
                if ENTRY_POINTS in file.read():
                    return True
        except OSError:
            continue
    return False


SUBJECTS = ("image", "disk", "linux", "windows")


def _in_order(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """From the file inwards, and each rule behind those that it requires: the order of every report."""
    placed: dict[str, Rule] = {}

    def place(this: Rule, above: tuple[str, ...]) -> None:
        for needed in this.requires:
            if needed in rules and needed not in above:
                place(rules[needed], (*above, this.id))
        placed.setdefault(this.id, this)

    def depth(this: Rule) -> int:
        subject = this.id.partition(".")[0]
        return SUBJECTS.index(subject) if subject in SUBJECTS else len(SUBJECTS)

    for this in sorted(rules.values(), key=depth):
        place(this, ())
    return placed


def select(rules: Mapping[str, Rule], chosen: Iterable[str] = (), ignored: Iterable[str] = ()) -> list[str]:
    """The ids to report on: `chosen` (all, if empty) without `ignored`; an id or a dotted prefix of ids.

    Raises UsageError for a word that matches no rule.
    """

    def matching(word: str) -> set[str]:
        found = {name for name in rules if name == word or name.startswith(word.rstrip(".") + ".")}
        if not found:
            from imgtool.profiles.source import nearest

            dots = {name[:at] for name in rules for at, sign in enumerate(name) if sign == "."}
            hint = nearest(word, {*rules, *dots})
            raise UsageError(
                Text(
                    en=f"No rule is called {word!r}{hint.en} They are listed in docs/checks.md.",
                    zh=f"没有名为 {word!r} 的规则{hint.zh} 规则列表见 docs/checks.md。",
                )
            )
        return found

    wanted = {name for word in chosen for name in matching(word)} or set(rules)
    wanted -= {name for word in ignored for name in matching(word)}
    return [name for name in rules if name in wanted]


def run(image: Image, rules: Mapping[str, Rule], selected: Iterable[str] | None = None) -> list[Finding]:
    """Judge an image. Findings come in the order of the rules; a rule that does not apply gives none.

    A rule that was only required by another is reported when it stands in its way: broken or not evaluated.
    """
    asked = set(rules if selected is None else selected)
    judged = _Run(image, rules)
    waiting = {
        name for name in rules if rules[name].ahead is not None and image.target in rules[name].targets
    }
    judged.begin = [rules[name] for name in waiting & asked]
    for name in rules:  # each stands behind those that it requires
        if waiting.intersection(rules[name].requires):
            waiting.add(name)
    for name in sorted(rules, key=waiting.__contains__):
        if name in asked:
            judged.judge(name)
    judged.tell_what_system_is_unread()
    return [
        finding
        for name in rules
        for finding in judged.findings.get(name, ())
        if name in asked or (finding.status in _IN_THE_WAY and finding.because is None)
    ]


_IN_THE_WAY = (Status.FAIL, Status.UNKNOWN)


class _Run:
    """The findings so far, and which rules are broken or stand on a broken one."""

    def __init__(self, image: Image, rules: Mapping[str, Rule]) -> None:
        self.image = image
        self.rules = rules
        self.findings: dict[str, list[Finding]] = {}
        self.broken: set[str] = set()
        self.of_another_system: list[str] = []
        self.begin: list[Rule] = []  # rules whose `ahead` is still to be called
        # Why something could not be evaluated: the rule that told it, and how grave that was.
        self.told: dict[tuple[Text, tuple[str, ...]], tuple[str, Severity]] = {}

    def judge(self, name: str) -> None:
        """Judge a rule, and first those that it requires; each is judged once."""
        if name in self.findings:
            return
        this, image = self.rules[name], self.image
        self.findings[name] = []
        if image.target not in this.targets:
            return
        needed = [needed for needed in this.requires if needed in self.rules]
        for before in needed:
            self.judge(before)
        stopped_by = next((before for before in needed if before in self.broken), None)
        if stopped_by is not None:
            self.broken.add(name)
            if this.family in ("any", image.family_if_known):
                reason = Text(
                    en=f"Not judged, because {stopped_by} failed.", zh=f"未判定，因为 {stopped_by} 未通过。"
                )
                self.findings[name] = [_finding(image, this, not_judged(reason))]
            return
        if this.family not in ("any", image.family):
            self.of_another_system.append(name)
            return
        if this.family != "any":
            self._begin_ahead()
        self.findings[name] = [self._once(name, _finding(image, this, it)) for it in _outcomes(image, this)]
        if any(finding.status is Status.FAIL for finding in self.findings[name]):
            self.broken.add(name)

    def _begin_ahead(self) -> None:
        """Begin what takes long, as soon as the system is known. What fails here fails again for its rule."""
        begin, self.begin = self.begin, []
        for this in begin:
            if this.family in ("any", self.image.family) and this.ahead is not None:
                with suppress(Exception):
                    this.ahead(self.image)

    def tell_what_system_is_unread(self) -> None:
        """Rules of one system are passed over where there is another; not where none can be read at all.

        The rules on file and disk tell that, but they may have been left out. It is as bad as an error.
        """
        found = (finding for findings in self.findings.values() for finding in findings)
        if not self.of_another_system or any(finding.status in _IN_THE_WAY for finding in found):
            return
        try:
            _ = self.image.search
        except ImgtoolError as error:
            for name in self.of_another_system:
                why = replace(undecided(error.statement()), severity=Severity.ERROR)
                self.findings[name] = [self._once(name, _finding(self.image, self.rules[name], why))]

    def _once(self, name: str, finding: Finding) -> Finding:
        """One reason is told once: a rule that has nothing to add points to the one that told it."""
        if finding.status is not Status.UNKNOWN:
            return finding
        levels = list(Severity)
        why = finding.message, finding.evidence
        before, severity = self.told.get(why, (name, finding.severity))
        if before == name or levels.index(finding.severity) < levels.index(severity):
            self.told[why] = name, finding.severity
            return finding
        reason = Text(
            en=f"Not evaluated, for the same reason as {before}.", zh=f"未判定，原因与 {before} 相同。"
        )
        return replace(finding, message=reason, evidence=(), remedy=None, because=before)


def _outcomes(image: Image, this: Rule) -> Iterator[Outcome]:
    try:
        yield from this.judge(image)
    except ImgtoolError as error:
        yield undecided(error.statement())
    except RecursionError:
        yield undecided(Text(en="The structures are nested too deeply.", zh="数据结构嵌套过深。"))
    except Exception as error:
        if image.options.debug:
            raise
        fault = f"{type(error).__name__}: {error}"
        yield undecided(
            Text(
                en="The rule itself failed. Please report this, with the output of --debug.",
                zh="规则自身出错。请附上 --debug 的输出进行反馈。",
            ),
            fault,
        )


def _finding(image: Image, this: Rule, outcome: Outcome) -> Finding:
    severity = outcome.severity or image.profile.severity(this.id) or this.severity
    status = {
        "kept": Status.PASS,
        "broken": Status.FAIL if severity is Severity.ERROR else Status.WARN,
        "undecided": Status.UNKNOWN,
        "not judged": Status.SKIP,
    }[outcome.kind]
    finding = Finding(
        id=this.id,
        status=status,
        severity=severity,
        title=this.title,
        message=outcome.message,
        evidence=tuple(item.replace("\n", "\\n") for item in outcome.evidence),  # names may hold line ends
        platform_code=(this.platform_code if outcome.platform_code is None else outcome.platform_code)
        or None,
        remedy=outcome.remedy,
    )
    if outcome.kind != "broken":
        return finding
    return replace(finding, fixable=this.fixable if outcome.fixable is None else outcome.fixable)


Verdict = Literal["pass", "fail", "unknown"]


def verdict(findings: Iterable[Finding], fail_on: Severity = Severity.ERROR) -> Verdict:
    """`fail` when one at or above `fail_on` was found; `unknown` when one can't be ruled out; else `pass`."""
    levels = list(Severity)
    counted = [finding for finding in findings if levels.index(finding.severity) <= levels.index(fail_on)]
    if any(finding.status in (Status.FAIL, Status.WARN) for finding in counted):
        return "fail"
    if any(finding.status is Status.UNKNOWN for finding in counted):
        return "unknown"
    return "pass"
