"""docs/checks.md, the page of every rule, made from the rules themselves.

`python -m imgtool.report.catalogue` prints it; `-o docs/checks.md` writes it. A test fails when it is stale.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from imgtool.judging import CRASH
from imgtool.rehearsal.stages import STAGES, Stage
from imgtool.rules import Rule, discover

_LAYERS = {
    "image": "The image file",
    "disk": "The disk",
    "linux": "Linux",
    "windows": "Windows",
}
_ALL_TARGETS = ("import", "migrate", "data-disk")
_OPENING = f"""\
# The checks

What `imgtool check` judges, one section for each rule. This page is made from the code by
`python -m imgtool.report.catalogue -o docs/checks.md`; change the rule's docstring, not this file.

*Level* is what breaking the rule means by default: an **error** makes the image fail (exit code 1), a
**warning** does so with `--fail-on warning`, an **info** never does. A profile may change it. *Platform code*
is the error that the platform itself gives for it. *Source* names the page of the platform's documentation
(`ref NN`), or `field` for what other importers check and migrations have taught.

A rule is `unknown` when what it needs can't be read, and `skip` when it has nothing to judge or when a rule
that it requires failed: one fault gives one error. `imgtool check --select ID` and `--ignore ID` take a
rule's id or the beginning of several (`linux.fstab`).

`{CRASH}` is not a rule: it is reported, as `unknown`, when reading an image made imgtool itself crash.
"""
_REHEARSAL = """
## Rehearsal

What `imgtool rehearse` and `imgtool check --rehearse` prove by booting the image. A failure that a rule
above explains is reported under that rule's id, with the rule's own remedy for the guest; any other under the
id here.
"""


def page(rules: Mapping[str, Rule]) -> str:
    """The whole page: a table of contents by layer, then the rules."""
    groups = _grouped(rules)
    parts = [_OPENING]
    for layer, members in groups.items():
        parts.append(
            f"\n**{_title(layer)}**\n\n| id | level | platform code | |\n| --- | --- | --- | --- |\n"
        )
        parts += [_table_row(rule) for rule in members]
    for layer, members in groups.items():
        parts.append(f"\n## {_title(layer)}\n")
        parts += ["\n" + "\n".join(_section(rule)) for rule in members]
    parts.append(_REHEARSAL)
    parts += [_stage(stage) for stage in STAGES.values()]
    return "".join(parts)


def _stage(stage: Stage) -> str:
    fails_as = f" Fails as `{stage.rule}`." if stage.rule else ""
    return f"\n### {stage.id}\n\n{stage.title.en} · {stage.title.zh}\n\n{stage.explanation}{fails_as}\n"


def paragraphs(docstring: str) -> list[str]:
    """The paragraphs of a rule's docstring, each on one line; indented blocks and lists keep their lines."""
    blocks = inspect.cleandoc(docstring).split("\n\n")
    return [
        block if _keeps_its_lines(block) else " ".join(block.split()) for block in blocks if block.strip()
    ]


def _keeps_its_lines(block: str) -> bool:
    return any(row.startswith((" ", "- ", "* ", "|", "```")) for row in block.splitlines())


def _grouped(rules: Mapping[str, Rule]) -> dict[str, list[Rule]]:
    layers = list(_LAYERS)

    def order(rule: Rule) -> tuple[int, str]:
        layer = rule.id.partition(".")[0]
        return (layers.index(layer) if layer in layers else len(layers), rule.id)

    groups: dict[str, list[Rule]] = {}
    for rule in sorted(rules.values(), key=order):
        groups.setdefault(rule.id.partition(".")[0], []).append(rule)
    return groups


def _title(layer: str) -> str:
    return _LAYERS.get(layer, layer.capitalize())


def _table_row(rule: Rule) -> str:
    code = f"`{rule.platform_code}`" if rule.platform_code else ""
    anchor = rule.id.replace(".", "")
    return f"| [{rule.id}](#{anchor}) | {rule.severity.value} | {code} | {rule.title.en} |\n"


def _section(rule: Rule) -> Iterator[str]:
    yield f"### {rule.id}"
    yield ""
    yield f"{rule.title.en} · {rule.title.zh}"
    yield ""
    yield from (f"- {name}: {value}" for name, value in _attributes(rule))
    for paragraph in paragraphs(rule.explanation):
        yield ""
        yield paragraph
    yield ""


def _attributes(rule: Rule) -> Iterator[tuple[str, str]]:
    yield "Level", rule.severity.value
    if rule.platform_code:
        yield "Platform code", f"`{rule.platform_code}`"
    yield "Source", rule.source
    yield "Applies to", ", ".join(target for target in _ALL_TARGETS if target in rule.targets)
    if rule.requires:
        yield "Requires", ", ".join(f"[{name}](#{name.replace('.', '')})" for name in rule.requires)
    if rule.fixable:
        yield "Mended by `imgtool fix`", "yes"


def main(arguments: list[str]) -> int:
    """Print the page, or write it to the file after -o."""
    text = page(discover())
    if arguments[:1] == ["-o"] and len(arguments) == 2:
        Path(arguments[1]).write_text(text, encoding="utf-8")
        return 0
    if arguments:
        sys.stderr.write("usage: python -m imgtool.report.catalogue [-o FILE]\n")
        return 2
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
