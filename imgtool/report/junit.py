"""JUnit XML, as Jenkins, GitLab and others show it: a suite for an image, a case for each thing judged.

What makes the image fail is a failure, what leaves it open an error; a warning that does not fail is a case
that passed, with the warning as its output.
"""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree as Xml

from imgtool.report.model import ImageReport, Report, kind
from imgtool.report.phrases import HOW_TO_FIX, LABELS, VERDICTS, summary, verdict_line
from imgtool.report.visible import one_line, visible
from imgtool.rules import Finding
from imgtool.text import Language

# What XML 1.0 can't hold even as a character reference; visible() has spelled out the control characters.
_NO_XML = re.compile("[\ufffe\uffff]")


def render(report: Report, language: Language) -> str:
    """The report as one JUnit XML document."""
    suites = [_suite(image, language) for image in report.images]
    root = Xml.Element("testsuites", {"name": "imgtool", **_totals(suites)})
    root.extend(suites)
    root.set("time", f"{sum(image.duration_s for image in report.images):.3f}")
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _totals(suites: list[Xml.Element]) -> dict[str, str]:
    keys = ("tests", "failures", "errors", "skipped")
    return {key: str(sum(int(suite.get(key, "0")) for suite in suites)) for key in keys}


def _suite(image: ImageReport, language: Language) -> Xml.Element:
    path = one_line(image.path)
    cases: list[Xml.Element] = []
    seen: Counter[str] = Counter()
    for finding in image.findings:
        seen[finding.id] += 1
        cases.append(_case(image, finding, seen[finding.id], language))
    tags = Counter(child.tag for case in cases for child in case)
    suite = Xml.Element(
        "testsuite",
        {
            "name": _text(path),
            "tests": str(len(cases)),
            "failures": str(tags["failure"]),
            "errors": str(tags["error"]),
            "skipped": str(tags["skipped"]),
            "time": f"{image.duration_s:.3f}",
        },
    )
    properties = Xml.SubElement(suite, "properties")
    for name, value in (
        ("imgtool.verdict", image.verdict),
        ("imgtool.profile", image.profile),
        ("imgtool.target", image.target),
        ("imgtool.facts", summary(image.facts, language)),
    ):
        Xml.SubElement(properties, "property", {"name": name, "value": _text(one_line(value))})
    suite.extend(cases)
    said = f"{VERDICTS[image.verdict].say(language)} {verdict_line(image, path, language)}"
    Xml.SubElement(suite, "system-out").text = _text(said)
    return suite


def _case(image: ImageReport, finding: Finding, number: int, language: Language) -> Xml.Element:
    name = f"{finding.id}: {finding.title.say(language)}" + (f" ({number})" if number > 1 else "")
    case = Xml.Element(
        "testcase", {"classname": _text(one_line(image.path)), "name": _text(name), "time": "0"}
    )
    message = _text(one_line(finding.message.say(language)))
    word = kind(finding)
    if image.fails(finding):
        attributes = {"message": message, "type": finding.platform_code or finding.id}
        Xml.SubElement(case, "failure", attributes).text = _body(finding, language)
    elif image.leaves_open(finding):
        attributes = {"message": message, "type": "unknown"}
        Xml.SubElement(case, "error", attributes).text = _body(finding, language)
    elif word in ("skip", "unknown"):
        Xml.SubElement(case, "skipped", {"message": message})
    elif word in ("warning", "note"):
        said = f"{LABELS[word].say(language)} {_body(finding, language)}"
        Xml.SubElement(case, "system-out").text = said
    return case


def _body(finding: Finding, language: Language) -> str:
    lines = [finding.message.say(language), *(f"  {row}" for row in finding.evidence)]
    if finding.remedy:
        lines += [HOW_TO_FIX.say(language), finding.remedy.say(language)]
    return _text(visible("\n".join(lines)))


def _text(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
