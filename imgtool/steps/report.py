"""The report of a whole run, as JSON and as Markdown: whether it came to its end or stopped."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from imgtool.pipeline import Done, Prepared, Stop
from imgtool.report.amounts import size
from imgtool.report.model import shown_path
from imgtool.report.visible import UNSAFE, one_line, visible
from imgtool.steps.step import Run
from imgtool.text import Language, Text

_KEPT = Text("done by an earlier run", "此前已完成")
_STOPPED = Text("stopped", "未完成")
_LARGEST = 16 << 20  # bytes of a file that may be an earlier report
_SIGN = "<!-- imgtool prepare -->"
_HEAD = Text("| step | time | |\n| --- | ---: | --- |", "| 步骤 | 耗时 | |\n| --- | ---: | --- |")


def as_json(run: Run, prepared: Prepared, version: str, stop: Stop | None = None) -> str:
    """The run as one JSON document (schema_version 1). stop: where it did not come to its end."""
    order = run.order
    content = {
        "schema_version": 1,
        "tool": {"name": "imgtool", "version": version},
        "image": shown_path(order.image),
        "target": order.target,
        "profile": order.profile.name,
        "object": order.address,
        "name": order.name,
        "image_id": prepared.image_id or None,
        "task_id": prepared.task_id or None,
        "link": prepared.link or None,
        "stopped": None if stop is None else _stopped(stop),
        "steps": [
            {"name": each.name, "kept": each.kept, "duration_s": each.seconds, "result": dict(each.result)}
            for each in prepared.steps
        ],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return UNSAFE.sub(lambda found: json.dumps(found.group())[1:-1], text) + "\n"


def _stopped(stop: Stop) -> dict[str, Any]:
    return {
        "step": stop.step or None,
        "exit_code": stop.exit_code,
        "message": {"en": stop.why.en, "zh": stop.why.zh},
        "code": stop.code or None,
        "request_id": stop.request_id or None,
        "findings": list(stop.findings),
    }


def as_markdown(run: Run, prepared: Prepared, language: Language, stop: Stop | None = None) -> str:
    """The run as a table for a ticket. stop: where it did not come to its end."""
    order = run.order
    came = _code(outcome(prepared)) if stop is None else f"**{_STOPPED.say(language)}**"
    lines = [
        _SIGN,
        f"## {_code(one_line(shown_path(order.image)))} → {came}",
        "",
        f"{_code(order.name)} · {_code(order.address)} · {order.target} · {order.profile.name}",
        "",
        _HEAD.say(language),
    ]
    for each in prepared.steps:
        note = _KEPT.say(language) if each.kept else ""
        told = "; ".join(filter(None, (note, _told(each))))
        lines.append(f"| {each.title.say(language)} | {each.seconds:.1f} s | {told} |")
    if stop is not None:
        lines.append(f"| {stop.title.say(language)} | | ❌ {_STOPPED.say(language)} |")
        code = Text(f"Exit code {stop.exit_code}.", f"退出码 {stop.exit_code}。")
        why = visible(stop.why.say(language)).replace("`", "'")
        lines += ["", "```text", why, "```", "", code.say(language)]
        if stop.findings:
            lines += ["", *(f"- {_code(name)}" for name in stop.findings)]
    return "\n".join(lines) + "\n"


def is_report(path: Path) -> bool:
    """Whether a file is the report of an earlier run, which a new one may take the place of."""
    with suppress(OSError, ValueError):
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return False
        text = path.read_text(encoding="utf-8")
        if text.startswith(_SIGN):
            return True
        content = json.loads(text)
        tool = content.get("tool") if isinstance(content, dict) else None
        return isinstance(tool, dict) and tool.get("name") == "imgtool" and "steps" in content
    return False


def outcome(prepared: Prepared) -> str:
    """What came of it, in one word."""
    return prepared.image_id or prepared.task_id or prepared.link or prepared.steps[-1].name


def _told(each: Done) -> str:
    """What is worth telling of a step's result."""
    result: Any = each.result
    if each.name == "convert":
        return f"{size(result['file_size'])}, SHA-256 {_code(str(result['sha256']))}"
    if each.name == "upload":
        return f"{size(result['size'])}, CRC-64 {result['crc64']}"
    if each.name in ("check", "recheck"):
        return ", ".join(map(_code, result["errors"])) or str(result["verdict"])
    if each.name in ("wait", "import"):
        return _code(str(result.get("state") or result.get("image_id") or result.get("task_id") or ""))
    return ""


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39)).replace('|', '/')}`" if text else ""
