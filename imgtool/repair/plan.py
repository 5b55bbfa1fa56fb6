"""The plan of a repair: made by reading the image alone, in a fraction of a second, changing nothing.

Every fixable finding is given to its fix, which notes its steps on a draft; the rules then judge the draft,
and what appears only then (a rule that was skipped for another's failure) is mended as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead, ImgtoolError
from imgtool.image import Image
from imgtool.lazy import preset
from imgtool.repair.draft import CannotMend, Draft
from imgtool.repair.editor import Device
from imgtool.repair.labels import RULE, label_what_is_new
from imgtool.repair.registration import Fix, Wishes, Work, discover
from imgtool.rules import Finding, Rule, Severity, Status, Verdict, run, verdict
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.repair.steps import Step

ROUNDS = 8
BROKEN = (Status.FAIL, Status.WARN)
WRITTEN_ANEW = ("image.features", "image.snapshots")
NEW_FILE = Text(
    "No step is needed: the repaired image is written out anew, in a form that all can read.",
    "无需步骤：修复后的镜像会以通用的形式重新写出。",
)
BY_HAND = Text("imgtool can't mend this by itself.", "imgtool 无法自动修复此问题。")
PENDING = Text(
    "Its repair shows only when it is made; the image is checked again then.",
    "修复效果需实际执行后才能确认，届时会重新检查。",
)


@dataclass(frozen=True)
class Unmended:
    """A finding that stays, and why."""

    finding: Finding
    why: Text


@dataclass(frozen=True)
class Plan:
    """before: what the rules found; expected: what they will find, as far as reading can tell; unmended:
    broken rules that stay so, with the reasons; pending: those whose repair is among the steps and shows only
    when it is made, so that they are `unknown` in `expected`; left_alone: those that were not to be mended;
    mounts: the guest's volumes by their mount points."""

    before: tuple[Finding, ...]
    expected: tuple[Finding, ...]
    steps: tuple[Step, ...]
    unmended: tuple[Unmended, ...] = ()
    pending: tuple[Finding, ...] = ()
    left_alone: tuple[Finding, ...] = ()
    mounts: Mapping[str, Device] = field(default_factory=dict)

    @property
    def told(self) -> tuple[Finding, ...]:
        """`expected` without what shows only when it is made."""
        return tuple(it for it in self.expected if it.message != PENDING)

    @property
    def outlook(self) -> Verdict:
        """The verdict on the repaired image if all steps do what they are meant to."""
        return verdict(self.told)

    @property
    def runs_guest(self) -> bool:
        """Whether programs of the guest itself are run."""
        return any(step.action == "run" for step in self.steps)

    @property
    def spoiled(self) -> tuple[Finding, ...]:
        """What is broken after the plan and was not before: a fault of ours."""
        return spoiled(self.before, self.expected)


def spoiled(before: Iterable[Finding], after: Iterable[Finding]) -> tuple[Finding, ...]:
    """Rules that passed before and are broken or can't be evaluated afterwards."""
    before = tuple(before)
    was = {finding.id for finding in before if finding.status in (*BROKEN, Status.UNKNOWN)}
    judged = {finding.id for finding in before if finding.status is Status.PASS}
    worse = (*BROKEN, Status.UNKNOWN)
    return tuple(it for it in after if it.status in worse and it.id in judged and it.id not in was)


def _no_system(findings: Iterable[Finding]) -> Text:
    """Names the rule that says why: disk.root, or what failed before it where that was skipped for it."""
    failed = [it for it in findings if it.status == "fail" and it.severity is Severity.ERROR]
    before_root = [it for it in failed if it.id.startswith(("image.", "disk."))]
    told = next((it for it in failed if it.id == "disk.root"), before_root[0] if before_root else None)
    if told is None:
        return Text(
            "There is no system on the disk that could be repaired; imgtool check shows what was found.",
            "磁盘上没有可修复的系统，详见 imgtool check。",
        )
    return Text(
        f"There is no system on the disk that could be repaired. {told.id}: {told.message.en}",
        f"磁盘上没有可修复的系统。{told.id}：{told.message.zh}",
    )


def make_plan(
    image: Image,
    rules: Mapping[str, Rule],
    wishes: Wishes | None = None,
    chosen: Iterable[str] | None = None,
    fixes: Mapping[str, Fix] | None = None,
) -> Plan:
    """Plan the repair of an open image.

    chosen: the ids to mend; None for all that are errors or warnings. Raises CannotRead where there is no
    system to repair.
    """
    wishes, fixes = wishes or Wishes(), discover() if fixes is None else fixes
    before = tuple(run(image, rules))
    wanted = [
        name for name in rules if name not in wishes.skipped and (chosen is None or name in set(chosen))
    ]
    root = image.search.root
    if root is None:
        raise CannotRead(_no_system(before))
    draft, asleep = Draft(root), _asleep(image)
    findings, reasons = before, dict[str, Text]()
    for late in (False, True):
        tried: set[str] = set()
        for _ in range(ROUNDS):
            todo = [name for name in wanted if name in fixes and fixes[name].late is late]
            todo = [name for name in todo if name not in tried and _to_mend(findings, fixes[name], chosen)]
            if not todo:
                break
            known = len(draft.steps)
            for name in todo:
                tried.add(name)
                now = drafted(image, draft)
                if len(draft.steps) > known:  # another fix may have mended it as well
                    findings = tuple(run(now, rules, (name,)))
                    if not _to_mend(findings, fixes[name], chosen):
                        continue
                why = asleep or _mend(fixes[name], now, draft, findings, wishes, asked=chosen is not None)
                if why is not None:
                    reasons[name] = why
            findings = tuple(run(drafted(image, draft), rules))
    if image.family == "linux" and RULE not in wishes.skipped:
        with suppress(CannotRead):
            label_what_is_new(drafted(image, draft).linux, draft)
            findings = tuple(run(drafted(image, draft), rules))
    reasons = {**draft.left, **reasons}
    unseen = _unseen(draft) - set(reasons)
    broken = [it for it in findings if it.status in BROKEN and it.severity is not Severity.INFO]
    pending = tuple(it for it in broken if it.id in unseen and it.fixable)
    left_alone = tuple(it for it in broken if it.id not in wanted)
    return Plan(
        before,
        tuple(
            replace(it, status=Status.UNKNOWN, message=PENDING) if it in pending else it for it in findings
        ),
        tuple(draft.steps),
        tuple(
            Unmended(it, NEW_FILE if it.id in WRITTEN_ANEW else reasons.get(it.id, BY_HAND))
            for it in broken
            if it not in pending and it not in left_alone
        ),
        pending,
        left_alone,
        {
            point: Device.of(volume, draft.tree.options_of(point))
            for point, volume in draft.tree.mounts.items()
            if draft.tree.is_in_place(point)
        },
    )


def _asleep(image: Image) -> Text | None:
    """Why nothing can be written at all: a hibernated Windows keeps in memory what it knows of its volume."""
    from imgtool.guest.windows.settings import read_hibernation

    if image.family != "windows":
        return None
    with suppress(CannotRead):
        if read_hibernation(image.windows).state == "hibernated":
            return Text(
                "Windows is hibernated: nothing may be written to its volume. Start it and shut it down.",
                "Windows 处于休眠状态，不能写入其卷。请启动后正常关机。",
            )
    return None


def drafted(image: Image, draft: Draft) -> Image:
    """The image with the draft's tree in place of its root's."""
    search = image.search
    root = replace(draft.root, tree=draft.tree)
    made = Image(image.path, image.profile, image.options)
    roots = tuple(root if it is draft.root else it for it in search.roots)
    preset(made, file=image.file, disk=image.disk, search=replace(search, roots=roots))
    return made


def _to_mend(findings: Iterable[Finding], fix: Fix, chosen: Iterable[str] | None) -> bool:
    return any(
        it.id == fix.rule
        and it.status in BROKEN
        and (it.fixable or fix.prepares)
        and (it.severity is not Severity.INFO or chosen is not None)
        for it in findings
    )


def _mend(
    fix: Fix,
    image: Image,
    draft: Draft,
    findings: tuple[Finding, ...],
    wishes: Wishes,
    *,
    asked: bool,
) -> Text | None:
    """Let a fix note its steps; why it could not."""
    restore = draft.saved()
    draft.mending = fix.rule
    own = tuple(it for it in findings if it.id == fix.rule and it.status in BROKEN)
    try:
        fix.mend(Work(image, draft, own, wishes, asked))
    except (CannotMend, CannotRead) as error:
        restore()
        return error.statement()
    except ImgtoolError:
        restore()
        raise
    finally:
        draft.mending = ""
    return None


def _unseen(draft: Draft) -> set[str]:
    """The rules whose repair the draft does not show: by programs of the guest, its registry, a filesystem's
    own tool, or judged of the disk itself."""
    unseen = ("run", "registry", "fsck")
    return {it.mends for it in draft.steps if it.action in unseen or it.mends.startswith("disk.")}
