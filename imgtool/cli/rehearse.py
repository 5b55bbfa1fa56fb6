"""`imgtool rehearse`: boot the image on the platform's hardware before the platform does."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from imgtool.cli import options
from imgtool.cli.session import Session
from imgtool.text import Text

FORMATS = ("text", "json", "junit", "sarif", "markdown", "html")
SUFFIXES = {
    ".html": "html",
    ".htm": "html",
    ".json": "json",
    ".markdown": "markdown",
    ".md": "markdown",
    ".sarif": "sarif",
    ".txt": "text",
    ".xml": "junit",
}
_FILE = click.Path(path_type=Path, readable=False)


@click.command(
    "rehearse", short_help="Boot an image on the platform's virtual hardware, and tell how it went."
)
@click.argument("image", metavar="IMAGE", type=_FILE)
@options.output(*FORMATS)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(1, 86400),
    help="Longest time for one boot; 180 with KVM, 900 without, by default; three times that for Windows.",
)
@options.BOOT_MODE
@options.FORCE_IMPORT
@click.option(
    "--screenshot", metavar="PNG", type=_FILE, help="Write the screen, as it was at the end, to PNG."
)
@click.option("--console", metavar="LOG", type=_FILE, help="Write all that the serial console says to LOG.")
@click.option(
    "--report",
    metavar="FILE",
    type=_FILE,
    help="Write a report to FILE as well, in the form of its suffix: .html, .md, .json, .sarif, .xml, .txt.",
)
@options.PROFILE
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="List also what was skipped, and the console's last lines when all went well.",
)
@click.pass_obj
def command(
    session: Session,
    image: Path,
    *,
    format_: str,
    output: Path | None,
    force: bool,
    no_color: bool,
    timeout: float | None,
    boot_mode: Literal["bios", "uefi"] | None,
    force_import: bool,
    screenshot: Path | None,
    console: Path | None,
    report: Path | None,
    profile: str,
    verbose: bool,
) -> int:
    """Boot an image in QEMU on the platform's virtual hardware: virtio disk and network, Cirrus VGA, config
    drive and metadata service with a fresh identity. Then press the power button, and boot it again.

    \b
    imgtool rehearse image.qcow2
    imgtool rehearse --report boot.html --console boot.log customer.vmdk
    imgtool rehearse --force-import image.qcow2

    \b
    IMAGE is not written to, and the guest reaches nothing outside. Takes a minute with KVM, some minutes
    without. Exit code: 0 all of it went well, 1 something did not, 3 it can't be told, as of a Windows that
    shows no word.
    """
    from imgtool.cli.check import as_text, judged, rendered, verdicts_to_stderr
    from imgtool.cli.output import Output
    from imgtool.convert.progress import shown_on_terminal
    from imgtool.errors import UsageError
    from imgtool.image import Options
    from imgtool.judging import Request
    from imgtool.profiles import load_profile
    from imgtool.rehearsal.course import Rehearsal
    from imgtool.rehearsal.judged import rehearsed
    from imgtool.rules import discover

    suffix = SUFFIXES.get(report.suffix.lower()) if report else None
    if report is not None and suffix is None:
        raise UsageError(
            Text(
                en=f"--report {report}: end the name in one of {' '.join(SUFFIXES)}.",
                zh=f"--report {report}：文件名须以 {' '.join(SUFFIXES)} 之一结尾。",
            )
        )
    out = Output(output, force, [image])
    extra = Output(report, force, [image]) if report else None
    picture = Output(screenshot, force, [image]) if screenshot else None
    if console is not None:
        Output(console, force, [image])
        if force:
            console.unlink(missing_ok=True)
    rules = discover()
    request = Request(
        profile=load_profile(profile, rules),
        rules=rules,
        options=Options("import", boot_mode, force_import, debug=session.debug),
    )
    (checked,) = judged([image], request, 1)
    how = Rehearsal(boot_mode, timeout, force_import, console, progress=shown_on_terminal(session.language))
    result = rehearsed(image, checked, request, how)
    if picture is not None and result.boot is not None and result.boot.pictures:
        picture.write_bytes(result.boot.pictures[-1].png)
    if extra is not None and suffix is not None:
        extra.write(rendered(suffix, [result], session))
    if format_ == "text":
        as_text(iter([result]), out, session, verbose=verbose, no_color=no_color)
    else:
        out.write(rendered(format_, [result], session))
    if out.path is not None:
        verdicts_to_stderr([result], session)
    return {"pass": 0, "fail": 1, "unknown": 3}[result.verdict]
