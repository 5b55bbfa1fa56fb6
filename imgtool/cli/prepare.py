"""`imgtool prepare`: the whole way from an image file to an image in the cloud."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from imgtool.cli import cloud_options, options
from imgtool.cli.session import Session
from imgtool.errors import ImgtoolError
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.cli.run_reports import RunReports
    from imgtool.cloud.settings import Settings
    from imgtool.cloud.store import Store
    from imgtool.pipeline import Done
    from imgtool.rules import Target
    from imgtool.steps.step import Order, Run, Step

_GIVEN = click.Path(path_type=Path, exists=True)
_STEPS = (
    *("unpack", "check", "fix", "convert", "recheck", "rehearse", "account", "upload"),
    *("console", "dry-run", "import", "wait", "tidy"),
)


@click.command("prepare", short_help="Go the whole way: check, fix, convert, upload, import, wait.")
@click.argument("image", metavar="IMAGE", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--bucket",
    metavar="NAME-APPID[/FOLDER]",
    help="Where the image is uploaded to, on its way.  [required, here or in IMGTOOL_BUCKET]",
)
@click.option(
    "--name",
    metavar="NAME",
    help="What it is to be called, up to 60 characters.  [required, but for --target migrate]",
)
@click.option("--description", metavar="TEXT", default="", help="The image's description.")
@click.option(
    "--target",
    type=click.Choice(["import", "migrate", "data-disk"]),
    default="import",
    show_default=True,
    help="An image, an object for offline migration, or a snapshot of a data disk.",
)
@click.option(
    "--plan",
    "plan_only",
    is_flag=True,
    help="Judge the image, show the steps with sizes and times; do nothing.",
)
@click.option("--until", type=click.Choice(_STEPS), help="Stop after this step; --plan lists those of a run.")
@click.option("--yes", is_flag=True, help="Agree to the repairs beforehand.")
@click.option("--no-fix", is_flag=True, help="Repair nothing: an image with errors ends the run.")
@click.option("--rehearse", is_flag=True, help="Boot the image before it is uploaded.")
@click.option("--boot-mode", type=click.Choice(["bios", "uefi"]), help="The boot mode to declare.")
@click.option("--force-import", is_flag=True, help="Import without cloud-init (Force).")
@click.option("--os-type", metavar="NAME", help="OsType, where what was found is not right.")
@click.option("--os-version", metavar="VERSION", help="OsVersion, likewise.")
@click.option("--public-read", is_flag=True, help="Upload for everybody to read, instead of signing a link.")
@click.option("--keep-object", is_flag=True, help="Leave the uploaded object in the bucket.")
@click.option(
    "--bandwidth", metavar="RATE", help="For --plan: 100Mbps; what the last upload reached, by default."
)
@click.option(
    "--work",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where journal and result lie; IMAGE.prepare.",
)
@click.option("--restart", is_flag=True, help="Forget what earlier runs did.")
@click.option(
    "--report",
    "reports",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, readable=False),
    help="Write the run's report to FILE.json or FILE.md, however the run ends. Repeat for both.",
)
@click.option("--virtio-win", metavar="ISO", type=_GIVEN, help="The virtio drivers for Windows.")
@click.option("--cloudbase-init", metavar="MSI|DIR", type=_GIVEN, help="cloudbase-init for Windows.")
@click.option(
    "--cloud-init-packages", metavar="DIR", type=_GIVEN, help="Packages to install cloud-init from."
)
@options.PROFILE
@cloud_options.everything
@options.output("text", "json", "markdown")
@click.pass_obj
def command(
    session: Session,
    /,
    image: Path,
    *,
    bucket: str | None,
    name: str | None,
    plan_only: bool,
    until: str | None,
    yes: bool,
    restart: bool,
    bandwidth: str | None,
    reports: tuple[Path, ...],
    format_: str,
    output: Path | None,
    force: bool,
    no_color: bool,
    **given: Any,
) -> int:
    """Bring IMAGE into the cloud, and print the image's ID.

    check, fix (shown and asked for, or --yes), convert to compressed qcow2, check again, upload, dry run,
    import, wait until NORMAL. Stopped by a cut, a kill or a refusal, the same command goes on where it
    was: nothing that still holds is done again, and nothing is imported twice. Reports (--report, --format)
    are written of a run that stopped too.

    \b
    imgtool prepare customer.vmdk --bucket images-1250000000 --name web-01
    imgtool prepare customer.vmdk --plan --bandwidth 100Mbps
    imgtool prepare data.vhd --target data-disk --bucket images-1250000000 --name data-01

    \b
    Exit codes: 1 the image does not pass, or a repair was not agreed to; 5 the cloud refused or failed.
    """
    from imgtool.cli.run_reports import RunReports
    from imgtool.cloud.journal import Journal, discard
    from imgtool.disk.probe import probe

    out = RunReports(output, format_, reports, force, image)
    settings = cloud_options.settings_of(
        {key: given.pop(key) for key in list(given) if key in _SETTINGS}
        | {"bandwidth": bandwidth, "bucket": bucket}
    )
    given["debug"] = session.debug
    probe(image)
    order = _order(image, name, settings, given, plan_only)
    _require_step(order, until)
    if plan_only:
        from imgtool.cli.prepare_plan import show_plan

        return show_plan(session, order, until, settings, out.main)
    _make_folder(order.folder)
    journal = order.folder / "journal"
    if restart:
        discard(journal)
    with Journal(journal, "prepare", "--work DIR") as kept:
        run = _run(session, order, settings, kept, yes)
        return _go(session, run, until, out)


_SETTINGS = (
    *("region", "cos_endpoint", "cos_connect", "scheme", "ca_bundle", "cvm_endpoint"),
    *("part_size", "limit_rate", "retries"),
)


def _order(
    image: Path, name: str | None, settings: Settings, given: dict[str, Any], plan_only: bool
) -> Order:
    """What is asked for, looked over before anything is done. Raises UsageError."""
    from imgtool.cloud.address import address
    from imgtool.cloud.importing import require_name
    from imgtool.cloud.settings import byte_count, byte_rate, patience_of
    from imgtool.errors import UsageError
    from imgtool.profiles import load_profile
    from imgtool.repair.registration import Wishes
    from imgtool.steps.step import Order

    target: Target = given["target"]
    bucket, work = settings.bucket, given["work"]
    if not plan_only and not bucket:
        raise UsageError(
            Text("Say where to upload to: --bucket NAME-APPID.", "请用 --bucket 名称-APPID 指定上传位置。")
        )
    if name is None and not plan_only and target != "migrate":
        raise UsageError(Text("Say what it is to be called: --name NAME.", "请用 --name 指定名称。"))
    name = name or image.stem[:60] or "image"
    require_name(name)
    mode: Literal["bios", "uefi"] | None = given["boot_mode"]
    key = f"cos://{bucket or 'bucket-1250000000'}".rstrip("/")
    return Order(
        image=image,
        folder=work or image.with_name(f"{image.name[:200]}.prepare"),
        profile=load_profile(given["profile"]),
        address=str(address(f"{key}/", _object_name(name))),
        name=name,
        description=given["description"],
        target=target,
        boot_mode=mode,
        force_import=given["force_import"],
        os_type=given["os_type"],
        os_version=given["os_version"],
        fix=not given["no_fix"],
        rehearse=given["rehearse"],
        public_read=given["public_read"],
        keep_object=given["keep_object"],
        limit_rate=byte_rate(settings.limit_rate) if settings.limit_rate else 0,
        part_size=byte_count(settings.part_size) if settings.part_size else None,
        wishes=Wishes(
            virtio_win=given["virtio_win"],
            cloudbase_init=given["cloudbase_init"],
            cloud_init_packages=given["cloud_init_packages"],
        ),
        patience=patience_of(settings),
        debug=given["debug"],
    )


def _require_step(order: Order, until: str | None) -> None:
    """Raise UsageError where a run has no such step: it would go the whole way."""
    from imgtool.errors import UsageError
    from imgtool.pipeline import steps_for

    names = [step.name for step in steps_for(order)]
    if until is not None and until not in names:
        raise UsageError(
            Text(
                f"This run has no step {until}: it has {', '.join(names)}.",
                f"本次运行没有步骤 {until}；其步骤为：{'、'.join(names)}。",
            )
        )


def _object_name(name: str) -> str:
    """The object's name, of signs that need no escaping in a link."""
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "-" for sign in name)
    return f"imgtool-{plain.strip('.')}.qcow2"


def _make_folder(folder: Path) -> None:
    from imgtool.cloud.journal import JournalFailed
    from imgtool.convert.output import shown

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalFailed(
            Text(
                en=f"The folder {shown(folder)} can't be made: {error.strerror}. Give another one with "
                "--work DIR.",
                zh=f"无法创建目录 {shown(folder)}：{error.strerror}。请用 --work 指定其他目录。",
            )
        ) from error


def _run(session: Session, order: Order, settings: Settings, journal: Any, yes: bool) -> Run:
    from imgtool.cloud.address import address
    from imgtool.cloud.credentials import Credentials, credentials
    from imgtool.cloud.store import store_for
    from imgtool.convert.progress import shown_on_terminal
    from imgtool.extras import require
    from imgtool.steps.step import Run

    keys: list[Credentials] = []

    def key() -> Credentials:
        require("tencentcloud", "cloud")
        if not keys:
            keys.append(credentials())
        return keys[0]

    def store() -> Store:
        require("qcloud_cos", "cloud")
        return store_for(address(order.address), settings, key())

    def cvm() -> Any:
        found = key()
        from imgtool.cloud.cvm import Cvm

        return Cvm(settings, found, order.patience)

    return Run(
        order=order,
        journal=journal,
        progress=shown_on_terminal(session.language),
        say=lambda text: _tell(session, text),
        agree=lambda: yes or _agreed(session),
        make_store=store,
        make_cvm=cvm,
    )


def _agreed(session: Session) -> bool:
    import sys

    if sys.stdin is None or not sys.stdin.isatty():
        return False
    return click.confirm(
        session.say(Text("Make these repairs on a copy?", "在副本上执行这些修复？")), err=True
    )


def _go(session: Session, run: Run, until: str | None, reports: RunReports) -> int:
    from imgtool.cli.run_reports import stop_of
    from imgtool.pipeline import Prepared, Watcher, prepare
    from imgtool.steps.step import Halt

    done: list[Done] = []
    at: list[Step] = []

    def begins(number: int, of: int, step: Step) -> None:
        at.append(step)
        _tell(session, Text.same(f"[{number}/{of}] {session.say(step.title)}"))

    def ends(one: Done) -> None:
        done.append(one)
        word = Text("done earlier", "此前已完成") if one.kept else Text("done", "完成")
        time_taken = "" if one.kept else f" ({one.seconds:.1f} s)"
        _tell(session, Text.same(f"      {session.say(word)}{time_taken}"))

    try:
        prepared = prepare(run, until, Watcher(begins, ends))
    except BaseException as error:
        if isinstance(error, Halt) and error.report is not None:
            from imgtool.report.text import layout, plain

            click.echo(plain(list(layout(error.report, session.language, 100, False))), err=True)
        so_far = Prepared(tuple(done), *_begun(run))
        try:
            reports.write(run, so_far, session.language, stop_of(error, run, at[-1] if at else None))
        except ImgtoolError as unwritten:  # what stopped the run is what is to be told last
            _tell(session, unwritten.statement())
        raise
    reports.write(run, prepared, session.language)
    return 0


def _begun(run: Run) -> tuple[str, str]:
    """The image and the task that the cloud was asked for, "" each where it was not, or not yet."""
    begun = run.journal.last("import.begun") or {}
    return str(begun.get("image_id", "")), str(begun.get("task_id", ""))


def _tell(session: Session, text: Text) -> None:
    from imgtool.report.visible import visible

    click.echo(visible(session.say(text)), err=True)
