"""`imgtool doctor`: what this machine has and lacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgtool.cli import cloud_options, options
from imgtool.cli.session import Session

if TYPE_CHECKING:
    from imgtool.doctor import Item
    from imgtool.report.text import Line


@click.command("doctor", short_help="Show what this machine has and lacks.")
@click.option("--cloud", is_flag=True, help="Prove the access to bucket and API instead; changes nothing.")
@click.option("--bucket", metavar="NAME-APPID", help="With --cloud: the bucket to look at.")
@cloud_options.api
@options.output("text", "json")
@click.pass_obj
def command(
    session: Session,
    /,
    *,
    cloud: bool,
    format_: str,
    output: Path | None,
    force: bool,
    no_color: bool,
    **where: Any,
) -> int:
    """Show what this machine has and lacks for imgtool, and the packages that bring it.

    \b
    imgtool doctor
    imgtool doctor --cloud --bucket images-1250000000

    Exit code 5 when something of the cloud is not to be had, 4 when something that `imgtool check` needs is
    missing.
    """
    from imgtool.cli.output import Output
    from imgtool.cli.terminal import colour_wanted, columns
    from imgtool.doctor import examine, ready
    from imgtool.report.text import coloured, plain

    out = Output(output, force)
    if cloud:
        from imgtool.cloud.access import examine_access

        items = examine_access(cloud_options.settings_of(where))
    else:
        items = examine()
    if format_ == "json":
        out.write(_as_json(items, session))
    else:
        lines = _as_text(items, session, columns(out.is_terminal), cloud)
        out.write(coloured(lines) if colour_wanted(out.is_terminal, no_color) else plain(lines))
    return 0 if ready(items) else 5 if cloud else 4


def _as_json(items: Sequence[Item], session: Session) -> str:
    import json

    from imgtool import __version__
    from imgtool.doctor import ready

    content = {
        "schema_version": 1,
        "tool": {"name": "imgtool", "version": __version__},
        "ready": ready(list(items)),
        "machine": [
            {
                "name": item.name,
                "present": item.present,
                "required": item.required,
                "version": item.version or None,
                "purpose": session.say(item.purpose),
                "remedy": session.say(item.remedy) if item.remedy else None,
            }
            for item in items
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _as_text(items: Sequence[Item], session: Session, width: int, cloud: bool) -> list[Line]:
    from imgtool.doctor import ready
    from imgtool.report.text import Line, line
    from imgtool.report.visible import cells, wrapped
    from imgtool.text import Text

    here, lacking, optional = Text("ok", "有"), Text("MISSING", "缺少"), Text("absent", "无（可选）")
    rows: list[tuple[str, str, Item]] = []
    for item in items:
        if item.present:
            rows.append((session.say(here), "green", item))
        elif item.required:
            rows.append((session.say(lacking), "bold red", item))
        else:
            rows.append((session.say(optional), "yellow", item))
    state_width = max(cells(state) for state, _, _ in rows)
    name_width = max(cells(_named(item)) for item in items)
    lines: list[Line] = []
    for state, style, item in rows:
        name = _named(item)
        head = (state + " " * (state_width - cells(state)), style)
        column = state_width + 2 + name_width + 2
        if column + cells(session.say(item.purpose)) <= width:
            purpose = " " * (name_width - cells(name)) + "  " + session.say(item.purpose)
            lines.append(line(head, "  ", name, (purpose, "dim")))
        else:
            lines.append(line(head, "  ", name))
            for row in wrapped(session.say(item.purpose), width - state_width - 4):
                lines.append(line(" " * (state_width + 4), (row, "dim")))
        if item.remedy is not None:
            lines.append(line(" " * (state_width + 4), (session.say(item.remedy), "cyan")))
    if cloud:
        good = Text("The cloud can be used from here.", "可从本机使用云服务。")
        bad = Text("The cloud can't be used from here yet; see above.", "暂时无法从本机使用云服务，见上。")
    else:
        good = Text("This machine has what `imgtool check` needs.", "本机具备 imgtool check 所需的一切。")
        bad = Text(
            "`imgtool check` can't read every kind of image here; see above.",
            "本机的 imgtool check 无法读取所有类型的镜像，见上。",
        )
    verdict = good if ready(list(items)) else bad
    return [*lines, Line(), line((session.say(verdict), "bold"))]


def _named(item: Item) -> str:
    return f"{item.name} {item.version}".rstrip()
