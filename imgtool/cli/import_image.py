"""`imgtool import`: make an image of an object that is already there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from imgtool.cli import cloud_options, options
from imgtool.cli.session import Session
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.cloud.cvm import CloudImage, Cvm
    from imgtool.cloud.settings import Settings


@click.command("import", short_help="Import an image from an object that is already there.")
@click.argument("url", metavar="URL")
@click.option("--name", metavar="NAME", required=True, help="What the image is to be called.")
@click.option("--os-type", metavar="NAME", help="OsType, of the deployment's list.")
@click.option("--os-version", metavar="VERSION", default="-", help="OsVersion, likewise.")
@click.option("--architecture", metavar="NAME", default="x86_64", show_default=True, help="x86_64 or arm_64.")
@click.option("--description", metavar="TEXT", default="", help="The image's description.")
@click.option("--boot-mode", type=click.Choice(["bios", "uefi"]), help="Declare a boot mode.")
@click.option("--force-import", is_flag=True, help="Import without cloud-init (Force).")
@click.option("--public-image", is_flag=True, help="Import a public image (PublicImage).")
@click.option(
    "--snapshot-size", metavar="GB", type=click.IntRange(1), help="Import a data disk as a snapshot."
)
@click.option("--dry-run", is_flag=True, help="Ask whether it would be taken, and do nothing.")
@click.option("--no-wait", is_flag=True, help="Don't wait until the image is NORMAL.")
@cloud_options.api
@options.output("text", "json")
@click.pass_obj
def command(
    session: Session,
    /,
    url: str,
    *,
    name: str,
    snapshot_size: int | None,
    format_: str,
    output: Any,
    force: bool,
    no_color: bool,
    **given: Any,
) -> int:
    """Import URL: a link that the platform can fetch, or cos://BUCKET-APPID/KEY, for which one is signed.

    Name, quota and parameters are looked at first (DryRun); then the image is imported, and waited for.

    \b
    imgtool import cos://images-1250000000/web.qcow2 --name web-01 --os-type CentOS --os-version 7

    \b
    Exit code 5: the cloud refused, or found fault with the image; the code is explained.
    """
    from imgtool.cli.output import Output
    from imgtool.cloud.credentials import credentials
    from imgtool.cloud.importing import require_name
    from imgtool.errors import UsageError
    from imgtool.extras import require

    out = Output(output, force)
    _require_url(url)
    require_name(name)
    if snapshot_size is None and not given["os_type"]:
        raise UsageError(
            Text(
                "Say which system it is: --os-type (and --os-version); `imgtool doctor --cloud` lists what "
                "is taken.",
                "请用 --os-type（与 --os-version）指定操作系统；imgtool doctor --cloud 可列出支持的系统。",
            )
        )
    where = {
        key: given.pop(key)
        for key in ("region", "cos_endpoint", "cos_connect", "scheme", "ca_bundle", "cvm_endpoint", "retries")
    }
    settings = cloud_options.settings_of(where)
    require("tencentcloud", "cloud")
    from imgtool.cloud.cvm import Cvm
    from imgtool.cloud.settings import patience_of

    keys = credentials()
    source = _source(url, settings, keys)
    cvm = Cvm(settings, keys, patience_of(settings))
    if snapshot_size is not None:
        result = _snapshot(cvm, name, snapshot_size, source, given)
    else:
        result = _image(session, cvm, name, source, given)
    if format_ == "json":
        import json

        out.write(json.dumps({"schema_version": 1, **result}, indent=2, ensure_ascii=False) + "\n")
    else:
        out.write(f"{result.get('image_id') or result.get('task_id') or 'DryRunOperation'}\n")
    return 0


class _Source(NamedTuple):
    """Where the image is fetched from. link: makes one; place: without signatures; content: what tells the
    object's content, "" where nothing does.
    """

    link: Callable[[], str]
    place: str
    content: str


def _require_url(url: str) -> None:
    """Raise UsageError for what is no link and no object's address."""
    from imgtool.cloud.address import address
    from imgtool.errors import UsageError

    if url.startswith("cos://"):
        address(url)
    elif not url.startswith(("http://", "https://")):
        raise UsageError(
            Text(
                "URL is http(s)://… or cos://BUCKET-APPID/KEY.",
                "URL 须为 http(s)://… 或 cos://存储桶-APPID/键。",
            )
        )


def _source(url: str, settings: Settings, keys: Any) -> _Source:
    """Raises CloudFailure for an object that is not there."""
    from imgtool.cloud.address import address
    from imgtool.cloud.failures import CloudFailure
    from imgtool.cloud.retry import retried
    from imgtool.cloud.settings import patience_of
    from imgtool.cloud.store import store_for

    if not url.startswith("cos://"):
        return _Source(lambda: url, url.partition("?")[0], "")
    store = store_for(address(url), settings, keys)
    found = retried(store.stored, patience_of(settings))
    if found is None:
        raise CloudFailure(
            Text(en=f"There is no object {url}. Upload it first.", zh=f"对象 {url} 不存在。请先上传。")
        )
    return _Source(lambda: store.link(False), url, f"{found.etag} {found.size} {found.crc64}")


def _snapshot(cvm: Cvm, name: str, size: int, source: _Source, given: dict[str, Any]) -> dict[str, Any]:
    from imgtool.cloud.asking import ask_for_snapshot, new_mark

    parameters: dict[str, Any] = {"SnapshotName": name, "SnapshotUrl": source.link(), "SnapshotSize": size}
    if given["description"]:
        parameters["SnapshotDescription"] = given["description"]
    cvm.dry_run("ImportSnapshot", parameters)
    if given["dry_run"]:
        return {"dry_run": True}
    return {"task_id": ask_for_snapshot(cvm, {**parameters, "SnapshotUrl": source.link()}, new_mark())}


def _image(session: Session, cvm: Cvm, name: str, source: _Source, given: dict[str, Any]) -> dict[str, Any]:
    from imgtool.cloud.asking import ask_for_image, mark_of
    from imgtool.cloud.importing import IMPORTING, Wanted, require_free, settle

    wanted = Wanted(
        name=name,
        os_type=given["os_type"],
        os_version=given["os_version"],
        architecture=given["architecture"],
        description=given["description"],
        force=given["force_import"],
        boot_mode=given["boot_mode"],
        public_image=given["public_image"],
    )
    mark = mark_of(cvm.region, source.place, source.content, repr(wanted))
    earlier = None if given["dry_run"] else _earlier(cvm, name, mark, bool(source.content))
    if earlier is not None:
        said = Text(
            f"{earlier.id}: an earlier run of this command asked for it",
            f"{earlier.id}：此前运行同一命令时已请求导入",
        )
        click.echo(session.say(said), err=True)
        return _awaited(cvm, earlier.id, earlier.state, given)
    require_free(cvm, name)
    settled = settle(cvm, wanted, source.link())
    for note in settled.notes:
        click.echo(session.say(note), err=True)
    if given["dry_run"]:
        return {"dry_run": True}
    image_id = ask_for_image(cvm, {**settled.parameters, "ImageUrl": source.link()}, mark)
    click.echo(session.say(Text(f"{image_id}: importing", f"{image_id}：导入中")), err=True)
    return _awaited(cvm, image_id, IMPORTING, given)


def _earlier(cvm: Cvm, name: str, mark: str, certain: bool) -> CloudImage | None:
    """The image that the same command asked for before, where the answer may have been lost.

    certain: the mark tells the object's content too; else only an import under way counts, since the object
    behind a link may be another one by now.
    """
    from imgtool.cloud.asking import ours
    from imgtool.cloud.importing import FAILED, IMPORTING

    image = ours(cvm, name, mark)
    if image is None or image.state == FAILED or not (certain or image.state == IMPORTING):
        return None
    return image


def _awaited(cvm: Cvm, image_id: str, state: str, given: dict[str, Any]) -> dict[str, Any]:
    from imgtool.cloud.importing import wait_until_normal

    if given["no_wait"]:
        return {"image_id": image_id, "state": state}
    return {"image_id": image_id, "state": wait_until_normal(cvm, image_id).state}
