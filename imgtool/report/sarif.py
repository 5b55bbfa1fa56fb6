"""SARIF 2.1.0 (OASIS), for code scanning: what was found on each image, with the rules' pages.

Kept rules are left out: some viewers list every result as an alert. What could not be judged is of kind
`open`, and the run says that it did not succeed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from imgtool.report.catalogue import paragraphs
from imgtool.report.model import ImageReport, Report
from imgtool.report.phrases import HOW_TO_FIX
from imgtool.report.visible import UNSAFE, visible
from imgtool.rules import Finding, Rule, Severity, Status, discover
from imgtool.text import Language

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def render(report: Report, language: Language) -> str:
    """The report as one SARIF log with one run."""
    rules = discover()
    ids = list(dict.fromkeys(finding.id for image in report.images for finding in image.findings))
    titles = {finding.id: finding for image in report.images for finding in image.findings}
    content = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "imgtool",
                        "version": report.tool_version,
                        "semanticVersion": report.tool_version,
                        "rules": [_rule(titles[name], rules.get(name), language) for name in ids],
                    }
                },
                "invocations": [
                    {"executionSuccessful": all(image.verdict != "unknown" for image in report.images)}
                ],
                "artifacts": [{"location": {"uri": _uri(image.path)}} for image in report.images],
                "results": [
                    _result(image, number, finding, ids, language)
                    for number, image in enumerate(report.images)
                    for finding in image.loud
                ],
                "columnKind": "unicodeCodePoints",
            }
        ],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return UNSAFE.sub(lambda found: json.dumps(found.group())[1:-1], text) + "\n"


def _rule(finding: Finding, rule: Rule | None, language: Language) -> dict[str, Any]:
    severity = rule.severity if rule else finding.severity
    described: dict[str, Any] = {
        "id": finding.id,
        "shortDescription": {"text": finding.title.say(language)},
        "defaultConfiguration": {"level": _LEVELS[severity]},
    }
    if rule and rule.explanation:
        text = paragraphs(rule.explanation)
        described["fullDescription"] = {"text": text[0]}
        described["help"] = {"text": "\n\n".join(text)}
        described["properties"] = {"source": rule.source, "tags": [finding.id.partition(".")[0]]}
    return described


def _result(
    image: ImageReport, number: int, finding: Finding, ids: list[str], language: Language
) -> dict[str, Any]:
    unknown = finding.status is Status.UNKNOWN
    properties: Mapping[str, Any] = {
        "evidence": list(finding.evidence),
        "platformCode": finding.platform_code,
        "fixable": finding.fixable,
    }
    return {
        "ruleId": finding.id,
        "ruleIndex": ids.index(finding.id),
        "kind": "open" if unknown else "fail",
        "level": "none" if unknown else _LEVELS[finding.severity],
        "message": {"text": visible(_message(finding, language))},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(image.path), "index": number},
                    # An image has no lines; GitHub shows no result without one.
                    "region": {"startLine": 1},
                }
            }
        ],
        "partialFingerprints": {"imgtool/v1": _fingerprint(image, finding)},
        "properties": {key: value for key, value in properties.items() if value not in (None, [])},
    }


def _message(finding: Finding, language: Language) -> str:
    parts = [finding.message.say(language)]
    if finding.platform_code:
        parts[0] = f"[{finding.platform_code}] {parts[0]}"
    parts += finding.evidence
    if finding.remedy:
        parts += [HOW_TO_FIX.say(language), finding.remedy.say(language)]
    return "\n".join(parts)


def _fingerprint(image: ImageReport, finding: Finding) -> str:
    same = "\0".join((image.path, finding.id, finding.message.en)).encode("utf-8", "surrogatepass")
    return hashlib.sha256(same).hexdigest()[:32]


def _uri(path: str) -> str:
    """An RFC 3986 reference: a relative path stays relative (to where imgtool ran), others are file: URIs."""
    quoted = quote(path.encode("utf-8", "surrogatepass"))
    if path.startswith("/"):
        return f"file://{quoted}"
    return f"./{quoted}" if ":" in path.partition("/")[0] else quoted
