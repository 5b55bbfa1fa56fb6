"""`imgtool upload`: put a file into object storage, resumable and verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgtool.cli import cloud_options, options
from imgtool.cli.session import Session
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.cloud.upload import Uploaded


@click.command("upload", short_help="Upload an image to object storage, resumable and verified.")
@click.argument("image", metavar="IMAGE", type=click.Path(path_type=Path, readable=False))
@click.argument("target", metavar="cos://BUCKET-APPID/KEY")
@click.option(
    "--public-read", is_flag=True, help="Let everybody read the object: its link needs no signature."
)
@click.option("--threads", metavar="N", type=click.IntRange(1, 16), default=4, show_default=True)
@click.option(
    "--journal",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where progress is kept; beside IMAGE by default.",
)
@click.option("--restart", is_flag=True, help="Forget what an earlier run did.")
@click.option("--abort", is_flag=True, help="Throw an unfinished upload away, here and in the storage.")
@cloud_options.storage
@options.output("text", "json")
@click.pass_obj
def command(
    session: Session,
    /,
    image: Path,
    target: str,
    *,
    public_read: bool,
    threads: int,
    journal: Path | None,
    restart: bool,
    abort: bool,
    format_: str,
    output: Path | None,
    force: bool,
    no_color: bool,
    **where: Any,
) -> int:
    """Upload IMAGE to object storage, in parts; the same command goes on where a cut or a kill stopped it.

    Prints a link that the platform can fetch: a signed one, good for one fetch within a day, or a plain one
    with --public-read. What arrived is compared with what was sent (CRC-64, ETag).

    \b
    imgtool upload image.qcow2 cos://images-1250000000/image.qcow2 --region shjr
    imgtool upload image.qcow2 s3://bucket/folder/

    \b
    Keys: TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, ~/.tencentcloud/credentials, or a prompt;
    for s3:// what boto3 finds. Exit code 5: the storage refused or failed.
    """
    from imgtool.cli.output import Output
    from imgtool.cloud.address import address
    from imgtool.cloud.journal import Journal, discard
    from imgtool.cloud.settings import byte_count, byte_rate, patience_of
    from imgtool.cloud.source import require_file
    from imgtool.cloud.store import store_for
    from imgtool.cloud.upload import Request, abandon, require_own, upload
    from imgtool.convert.progress import shown_on_terminal

    out = Output(output, force, [image])
    place = address(target, image.name)
    settings = cloud_options.settings_of(where)
    request = Request(
        part_size=byte_count(settings.part_size) if settings.part_size else None,
        threads=threads,
        limit_rate=byte_rate(settings.limit_rate) if settings.limit_rate else 0,
        public=public_read,
        patience=patience_of(settings),
    )
    if not abort:
        require_file(image)
    store = store_for(place, settings)
    path = journal or journal_of(image, str(place))
    if restart:
        discard(path)
    with Journal(path, "upload") as progress_kept:
        require_own(progress_kept, image, str(place))
        if abort:
            thrown = abandon(store, progress_kept)
            progress_kept.remove()
            _tell(session, _ABORTED if thrown else _NOTHING)
            return 0
        try:
            done = upload(image, store, request, progress_kept, shown_on_terminal(session.language))
        finally:
            if not progress_kept.records:
                progress_kept.remove()
        progress_kept.remove()
    link = store.link(public_read)
    _tell(session, _summary(done, public_read))
    out.write(_as_json(done, link) if format_ == "json" else f"{link}\n")
    return 0


_ABORTED = Text("The unfinished upload was thrown away.", "未完成的上传已作废。")
_NOTHING = Text("There was no unfinished upload.", "没有未完成的上传。")


def journal_of(image: Path, target: str) -> Path:
    """The journal of an upload of an image to a place: beside the image, its name shortened where it must
    be.
    """
    import hashlib

    mark = hashlib.sha256(target.encode()).hexdigest()[:8]
    return image.with_name(f"{image.name[:200]}.upload-{mark}.journal")


def _tell(session: Session, text: Text) -> None:
    from imgtool.report.visible import visible

    click.echo(visible(session.say(text)), err=True)


def _summary(done: Uploaded, public: bool) -> Text:
    from imgtool.report.amounts import size

    if done.already_there:
        first = Text(
            f"{done.address} is this file already: nothing was sent.",
            f"{done.address} 已是此文件，无需上传。",
        )
    else:
        rate = size(int(done.sent / max(done.duration_s, 0.001)))
        first = Text(
            en=f"{done.address}: {size(done.size)} in {done.parts} parts ({done.parts_kept} were there "
            f"already), {done.duration_s:.1f} s, {rate}/s; verified (CRC-64 {done.crc64}).",
            zh=f"{done.address}：{size(done.size)}，{done.parts} 块（其中 {done.parts_kept} "
            "块此前已上传），"
            f"耗时 {done.duration_s:.1f} 秒，{rate}/s；已校验（CRC-64 {done.crc64}）。",
        )
    note = (
        Text(" Anybody can read it until you remove it.", "在删除之前任何人都可读取。")
        if public
        else Text(" The link is good for one fetch within 24 hours.", "链接在 24 小时内可使用一次。")
    )
    return Text(first.en + note.en, first.zh + note.zh)


def _as_json(done: Uploaded, link: str) -> str:
    import json
    from dataclasses import asdict

    content = {"schema_version": 1, **asdict(done), "duration_s": round(done.duration_s, 3), "link": link}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
