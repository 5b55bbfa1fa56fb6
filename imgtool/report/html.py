"""One HTML page that needs nothing else: to be mailed, archived or printed."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from imgtool.report.model import BootRecord, ImageReport, Report, data_url, kind
from imgtool.report.phrases import (
    CONSOLE,
    EVIDENCE,
    HOW_TO_FIX,
    LABELS,
    VERDICTS,
    alike_line,
    boot_line,
    counted,
    mending,
    quiet_line,
    summary,
    totals_line,
)
from imgtool.report.remedy import remedy_lines
from imgtool.report.visible import one_line, visible
from imgtool.rules import Finding
from imgtool.text import Language, Text

_TITLE = Text("Disk image report", "磁盘镜像检查报告")
_MADE_BY = Text("Made by imgtool {}", "由 imgtool {} 生成")
_SECONDS = Text("{:.2f} s", "{:.2f} 秒")
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --fail: #c62828; --warn: #b26a00;
  --open: #8e24aa; --note: #1565c0; --good: #2e7d32; }
@media (prefers-color-scheme: dark) { :root { --fail: #ff6b6b; --warn: #ffb74d; --open: #ce93d8;
  --note: #64b5f6; --good: #81c784; } }
body { font: 15px/1.55 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
section { margin: 2rem 0; }
h2 { font-size: 1.2rem; overflow-wrap: anywhere; margin-bottom: .2rem; }
article { border: 1px solid var(--line); border-left: .3rem solid var(--tone); border-radius: .3rem;
  padding: .6rem 1rem; margin: .8rem 0; break-inside: avoid; }
h3 { font-size: 1rem; margin: 0; } p { margin: .4rem 0; }
code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .92em; }
pre { background: var(--soft); padding: .5rem .7rem; border-radius: .3rem; margin: .4rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.label { color: var(--tone); } .dim { opacity: .75; }
.fail, .error { --tone: var(--fail); } .warning { --tone: var(--warn); } .unknown { --tone: var(--open); }
.note { --tone: var(--note); } .pass { --tone: var(--good); } .skip { --tone: var(--line); }
figure { margin: 1rem 0; } figcaption { opacity: .75; }
img { max-width: 100%; border: 1px solid var(--line); border-radius: .3rem; display: block; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid var(--line); padding: .25rem .5rem; vertical-align: top; }
"""


def render(report: Report, language: Language) -> str:
    """The report as one HTML document. It loads nothing and runs nothing."""
    title = _TITLE.say(language)
    parts = [*_overview(report, language)]
    for number, image in enumerate(report.images, 1):
        parts += _image(image, language, number)
    body = "\n".join(parts)
    return f"""<!DOCTYPE html>
<html lang="{"zh-CN" if language == "zh" else "en"}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
{body}
<footer class="dim">{_MADE_BY.say(language).format(escape(report.tool_version))}</footer>
</body>
</html>
"""


def _overview(report: Report, language: Language) -> Iterator[str]:
    """Of several images: the verdict on each, and where it is explained."""
    if len(report.images) < 2:
        return
    yield f"<p>{escape(totals_line(report.images, language))}</p>"
    yield "<table>"
    for number, image in enumerate(report.images, 1):
        yield (
            f'<tr class="{image.verdict}"><td class="label">{VERDICTS[image.verdict].say(language)}</td>'
            f'<td><a href="#image-{number}"><code>{escape(one_line(image.path))}</code></a></td>'
            f"<td>{escape(counted(image.counts, language))}</td></tr>"
        )
    yield "</table>"


def _image(image: ImageReport, language: Language, number: int) -> Iterator[str]:
    verdict = VERDICTS[image.verdict].say(language)
    duration = _SECONDS.say(language).format(image.duration_s)
    yield f'<section id="image-{number}">'
    path = escape(one_line(image.path))
    yield f'<h2><span class="label {image.verdict}">{verdict}</span> <code>{path}</code></h2>'
    facts = summary(image.facts, language)
    if facts:
        yield f'<p class="dim">{escape(one_line(facts))}</p>'
    yield f"<p>{counted(image.counts, language)} · {duration}</p>"
    if image.lacks is not None:
        yield f"<p>{escape(visible(image.lacks.say(language)))}</p>"
    for finding in image.loud:
        yield from _finding(finding, language, image.alike(finding))
    if by_fix := mending(image, language):
        yield f"<p>{escape(by_fix[0])}</p>{_pre([by_fix[1]])}"
    if image.quiet:
        details = "<details open>" if image.stages_passed else "<details>"
        yield f"{details}<summary>{quiet_line(image.counts, language, hint=False)}</summary><table>"
        yield from (_row(finding, language) for finding in image.quiet)
        yield "</table></details>"
    if image.boot is not None:
        yield from _boot(image.boot, language)
    yield "</section>"


def _boot(boot: BootRecord, language: Language) -> Iterator[str]:
    """What a rehearsal leaves to look at: pictures, and the console's last lines."""
    yield f'<p class="dim">{escape(boot_line(boot, language))}</p>'
    for picture in boot.pictures:
        caption = escape(picture.caption.say(language))
        yield f'<figure><img src="{data_url(picture)}" alt="{caption}">'
        yield f"<figcaption>{caption}</figcaption></figure>"
    if boot.console:
        yield f"<details open><summary>{CONSOLE.say(language)}</summary>"
        yield _pre([one_line(row) for row in boot.console])
        yield "</details>"


def _finding(finding: Finding, language: Language, alike: list[str]) -> Iterator[str]:
    word = kind(finding)
    code = ""
    if finding.platform_code and word in ("error", "warning"):
        code = f" <code>{escape(finding.platform_code)}</code>"
    yield f'<article class="{word}">'
    yield (
        f'<h3><span class="label">{LABELS[word].say(language)}</span> '
        f"{escape(one_line(finding.title.say(language)))}</h3>"
    )
    yield f'<p class="dim"><code>{escape(finding.id)}</code>{code}</p>'
    yield f"<p>{escape(visible(finding.message.say(language)))}</p>"
    if finding.evidence:
        yield f'<p class="dim">{EVIDENCE.say(language)}</p>'
        yield _pre([visible(item) for item in finding.evidence])
    if finding.remedy is not None:
        yield f"<p><strong>{HOW_TO_FIX.say(language)}</strong></p>"
        commands: list[str] = []
        for text, is_command in remedy_lines(finding.remedy.say(language)):
            if is_command:
                commands.append(text)
                continue
            yield from ([_pre(commands)] if commands else [])
            commands = []
            yield f"<p>{escape(text)}</p>"
        yield from ([_pre(commands)] if commands else [])
    if alike:
        yield f"<p>{escape(alike_line(alike, language, every=True))}</p>"
    yield "</article>"


def _pre(rows: list[str]) -> str:
    return f"<pre><code>{escape(chr(10).join(rows))}</code></pre>"


def _row(finding: Finding, language: Language) -> str:
    word = kind(finding)
    return (
        f'<tr class="{word}"><td class="label">{LABELS[word].say(language)}</td>'
        f"<td><code>{escape(finding.id)}</code></td><td>{escape(visible(finding.message.say(language)))}</td></tr>"
    )
