"""A repair as people and programs read it: the plan with its diffs, and before → after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from imgtool.repair.plan import BY_HAND
from imgtool.report.json import finding_of
from imgtool.report.model import kind
from imgtool.report.phrases import LABELS, alike_line
from imgtool.report.text import Line, line, remedy_of
from imgtool.report.visible import one_line, visible, wrapped
from imgtool.rules import Finding, Rule, Severity, Verdict, verdict
from imgtool.text import Language, Text

if TYPE_CHECKING:
    from imgtool.repair.plan import Plan, Unmended
    from imgtool.repair.steps import Step

ACTIONS = {
    "edit": Text("edit", "编辑"),
    "upload": Text("upload", "写入"),
    "append": Text("append", "追加"),
    "remove": Text("remove", "删除"),
    "mkdir": Text("mkdir", "建目录"),
    "chmod": Text("chmod", "改权限"),
    "link": Text("link", "建链接"),
    "registry": Text("registry", "注册表"),
    "run": Text("run", "执行"),
    "fsck": Text("fsck", "修复文件系统"),
}
NOTHING = Text("Nothing to mend.", "无需修复。")
NO_STEPS = Text("There is nothing that could be mended from here.", "没有可在此执行的修复步骤。")
UNCHANGED = Text("Nothing was changed.", "未作任何更改。")
GUEST_CODE = Text(
    "This runs programs of the guest itself, in the appliance's sandbox.",
    "此操作会在 libguestfs 沙箱中运行客户机自身的程序。",
)
MENDED = Text("mended", "已修复")
STAYS = Text("stays", "仍存在")
SPOILED = Text("NEW", "新问题")
UNMENDED = Text("Not mended:", "未修复：")
PENDING = Text("To be seen only when the steps are made:", "执行上述步骤后才能确认：")
UNKNOWN = Text("Could not be judged:", "无法判定：")
LEFT_ALONE = Text("Not asked for (--only, --skip), and stays:", "未选择修复（--only、--skip），仍存在：")
SEE_CHECK = Text(
    "imgtool can't mend this by itself; imgtool check says what to do.",
    "imgtool 无法自动修复此问题，处理方法见 imgtool check。",
)
TO_APPLY = Text("To apply this to a copy:", "应用到副本：")
LONGEST_NEW = 24
"""Lines that are shown of a file that is new, such as a driver's INF; JSON has them all."""
_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def plan_lines(plan: Plan, language: Language, width: int, rules: Mapping[str, Rule]) -> Iterator[Line]:
    """The plan: the steps with what each mends and the diffs, then what stays and why."""
    if not plan.steps:
        yield line(without_steps(plan).say(language))
    if plan.runs_guest:
        yield line((GUEST_CODE.say(language), "bold yellow"))
    last = ""
    for step in plan.steps:
        if step.mends != last:
            last = step.mends
            title = rules[last].title.say(language) if last in rules else ""
            yield Line()
            yield line((last, "bold"), "  ", (title, "dim"))
        yield from _step(step, language, width)
    yield from _unmended(plan.unmended, language, width)
    yield from _listed(PENDING, plan.pending, language)
    yield from _listed(UNKNOWN, (it for it in plan.told if kind(it) == "unknown"), language, width)
    yield from _listed(LEFT_ALONE, plan.left_alone, language)


def without_steps(plan: Plan) -> Text:
    """What a plan without steps means."""
    return NO_STEPS if any(kind(it) in ("error", "warning", "unknown") for it in plan.expected) else NOTHING


def _step(step: Step, language: Language, width: int) -> Iterator[Line]:
    yield line("  ", (ACTIONS[step.action].say(language), "bold"), "  ", one_line(step.target))
    if step.why is not None:
        yield from (line("    ", row) for row in wrapped(visible(step.why.say(language)), width - 4))
    rows = visible(step.diff).splitlines()
    most = LONGEST_NEW if step.action == "upload" else len(rows)
    for row in rows[:most]:
        yield line("    ", (row, _DIFF_STYLES.get(row[:1], "")))
    if len(rows) > most:
        yield line("    ", (f"... {len(rows) - most} more", "dim"))
    holds = step.details().get("holds") or []
    for item in holds[:12]:
        yield line("    ", (one_line(str(item)), "cyan"))
    if len(holds) > 12:
        yield line("    ", (f"... {len(holds) - 12} more", "dim"))


def _unmended(found: Iterable[Unmended], language: Language, width: int) -> Iterator[Line]:
    found = list(found)
    if not found:
        return
    yield Line()
    yield line((UNMENDED.say(language), "bold"))
    for it in found:
        yield line("  ", (LABELS[kind(it.finding)].say(language), "bold"), "  ", it.finding.id)
        for text in (it.finding.message, it.why):
            yield from (line("    ", row) for row in wrapped(visible(text.say(language)), width - 4))
        if it.why == BY_HAND:
            yield from remedy_of(it.finding, language, width)


def _listed(heading: Text, found: Iterable[Finding], language: Language, width: int = 0) -> Iterator[Line]:
    """Findings below a heading. width: of their messages, each told once; 0 for none."""
    found = list(found)
    if not found:
        return
    yield Line()
    yield line((heading.say(language), "bold"))
    for it in found:
        if width and it.because is not None:
            continue
        yield line("  ", (LABELS[kind(it)].say(language), "bold"), "  ", it.id)
        if width:
            said = [visible(it.message.say(language))]
            if alike := [other.id for other in found if other.because == it.id]:
                said.append(alike_line(alike, language, every=False))
            yield from (line("    ", row) for text in said for row in wrapped(text, width - 4))


def after_lines(
    before: Iterable[Finding], after: Iterable[Finding], unmended: Iterable[Unmended], language: Language
) -> Iterator[Line]:
    """Each rule that was broken, or is now: before → after."""
    were, are = _broken(before), _broken(after)
    reasons = {it.finding.id: it.why for it in unmended}
    for name, finding in were.items():
        label = LABELS[kind(finding)].say(language)
        if name not in are:
            yield line("  ", (label, "dim"), "  ", name, " → ", (MENDED.say(language), "bold green"))
            continue
        reason = SEE_CHECK if reasons.get(name) == BY_HAND else reasons.get(name)
        why = f": {reason.say(language)}" if reason is not None else ""
        style = "bold red" if kind(are[name]) == "error" else "bold yellow"
        yield line("  ", (label, style), "  ", name, " → ", (STAYS.say(language), style), visible(why))
    for name, finding in are.items():
        if name not in were:
            label = LABELS[kind(finding)].say(language)
            yield line("  ", (SPOILED.say(language), "bold red"), "  ", label, "  ", name)


def _broken(findings: Iterable[Finding]) -> dict[str, Finding]:
    """The worst finding of each rule that is broken or open; notes are left out."""
    found: dict[str, Finding] = {}
    for it in findings:
        if kind(it) in ("pass", "skip", "note"):
            continue
        if it.id not in found or kind(it) == "error":
            found[it.id] = it
    return found


def step_of(step: Step, language: Language) -> dict[str, Any]:
    """One step with the keys of the schema."""
    return {
        "action": step.action,
        "target": step.target,
        "mends": step.mends,
        "why": step.why.say(language) if step.why else None,
        **step.details(),
    }


def image_of(
    path: str,
    output: str | None,
    plan: Plan,
    after: Iterable[Finding] | None,
    *,
    language: Language,
    fail_on: Severity = Severity.ERROR,
) -> dict[str, Any]:
    """One repaired image with the keys of docs/fix-v1.schema.json. after: None for a plan that was not
    applied."""
    return {
        "path": path,
        "output": output,
        "applied": after is not None,
        "steps": [step_of(step, language) for step in plan.steps],
        "unmended": [
            {"id": it.finding.id, "severity": it.finding.severity.value, "reason": it.why.say(language)}
            for it in plan.unmended
        ],
        "pending": [{"id": it.id, "severity": it.severity.value} for it in plan.pending],
        "left_alone": [{"id": it.id, "severity": it.severity.value} for it in plan.left_alone],
        "before": _judged(plan.before, language, fail_on),
        "expected": _judged(plan.expected, language, fail_on),
        "after": None if after is None else _judged(after, language, fail_on),
    }


def _judged(findings: Iterable[Finding], language: Language, fail_on: Severity) -> dict[str, Any]:
    findings = tuple(findings)
    judged: Verdict = verdict(findings, fail_on)
    return {"verdict": judged, "findings": [finding_of(finding, language) for finding in findings]}
