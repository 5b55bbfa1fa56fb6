"""JSON for programs: the schemas are docs/report-v1.schema.json and docs/inspect-v1.schema.json."""

from __future__ import annotations

import json
from typing import Any

from imgtool.report.model import ImageReport, Report
from imgtool.report.visible import UNSAFE
from imgtool.rules import Finding
from imgtool.text import Language

SCHEMA_VERSION = 1


def render(report: Report, language: Language) -> str:
    """The report as one JSON document."""
    return document(report.tool_version, [_image(image, language) for image in report.images])


def document(tool_version: str, images: list[dict[str, Any]]) -> str:
    """The envelope around images, indented, in Unicode; what a terminal would obey is escaped."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "imgtool", "version": tool_version},
        "images": images,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return _escaped(text) + "\n"


def _escaped(text: str) -> str:
    """JSON's own escapes for the characters that json.dumps leaves; they only stand in strings."""
    return UNSAFE.sub(lambda found: json.dumps(found.group())[1:-1], text)


def _image(image: ImageReport, language: Language) -> dict[str, Any]:
    content = {
        "path": image.path,
        "profile": image.profile,
        "target": image.target,
        "verdict": image.verdict,
        "duration_s": round(image.duration_s, 3),
        "engine": image.engine,
        "facts": dict(image.facts),
        "findings": [finding_of(finding, language) for finding in image.findings],
    }
    if image.boot is not None:
        boot = image.boot
        content["rehearsal"] = {
            "accelerator": boot.accelerator,
            "firmware": boot.firmware,
            "architecture": boot.architecture,
            "boots": boot.boots,
            "console": list(boot.console),
        }
    return content


def finding_of(finding: Finding, language: Language) -> dict[str, Any]:
    """One finding with the keys of the schema."""
    content: dict[str, Any] = {
        "id": finding.id,
        "status": finding.status.value,
        "severity": finding.severity.value,
        "platform_code": finding.platform_code,
        "title": finding.title.say(language),
        "message": finding.message.say(language),
        "evidence": list(finding.evidence),
        "remedy": finding.remedy.say(language) if finding.remedy else None,
        "fixable": finding.fixable,
    }
    if finding.time_s is not None:
        content["time_s"] = round(finding.time_s, 1)
    return content
