"""The report of a whole run, as JSON and as Markdown."""

from __future__ import annotations

import json
from typing import Any

from imgtool.pipeline import Done, Prepared
from imgtool.report.model import shown_path
from imgtool.report.phrases import size
from imgtool.report.visible import one_line
from imgtool.steps.step import Run
from imgtool.text import Language, Text

_KEPT = Text("done by an earlier run", "此前已完成")
_HEAD = Text("| step | time | |\n| --- | ---: | --- |", "| 步骤 | 耗时 | |\n| --- | ---: | --- |")


def as_json(run: Run, prepared: Prepared, version: str) -> str:
    """The run as one JSON document (schema_version 1)."""
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
        "steps": [
            {"name": each.name, "kept": each.kept, "duration_s": each.seconds, "result": dict(each.result)}
            for each in prepared.steps
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def as_markdown(run: Run, prepared: Prepared, language: Language) -> str:
    """The run as a table for a ticket."""
    order = run.order
    lines = [
        f"## {_code(one_line(shown_path(order.image)))} → {_code(outcome(prepared))}",
        "",
        f"{_code(order.name)} · {_code(order.address)} · {order.target} · {order.profile.name}",
        "",
        _HEAD.say(language),
    ]
    for each in prepared.steps:
        note = _KEPT.say(language) if each.kept else ""
        told = "; ".join(filter(None, (note, _told(each))))
        lines.append(f"| {each.title.say(language)} | {each.seconds:.1f} s | {told} |")
    return "\n".join(lines) + "\n"


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
