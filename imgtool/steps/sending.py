"""upload, dry-run, import, wait, and what stands for them with data disks and offline migration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imgtool.cloud.failures import Refusal, Unreachable
from imgtool.cloud.retry import retried
from imgtool.errors import ImgtoolError
from imgtool.steps.step import Result, Run
from imgtool.text import Text


class Account:
    """Ask the account before anything large is sent: keys, bucket, the name, the quota, the system."""

    name = "account"
    title = Text("Ask the account: bucket, name, quota", "查询账号：存储桶、名称、配额")

    def inputs(self, run: Run) -> Any:
        return [run.order.name, run.order.address]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        return run.begun or asked(run) is not None

    def do(self, run: Run) -> Result:
        from imgtool.cloud.importing import choose_system, require_free

        retried(run.store.check_bucket, run.order.patience)
        if run.order.target == "import":
            self._remove_failed(run)
            if asked(run) is None:
                require_free(run.cvm, run.order.name)
                choose_system(wanted_of(run), run.cvm.importable())
        return {}

    def _remove_failed(self, run: Run) -> None:
        """An image of ours whose import failed holds the name: it goes before the next attempt."""
        failed = run.journal.last("failed.import")
        if failed is None:
            return
        image = run.cvm.image(failed["image_id"])
        if image is not None and image.name == run.order.name and failed["mark"] in image.description:
            run.cvm.delete_image(image.id)
        run.journal.forget("failed")


class Upload:
    """Put the image into the bucket."""

    name = "upload"
    title = Text("Upload", "上传")

    def inputs(self, run: Run) -> Any:
        return [run.order.address, run.results["convert"]["identity"], run.order.public_read]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        if run.begun:
            return True
        found = retried(run.store.stored, run.order.patience)
        return found is not None and found.size == result["size"] and found.crc64 in (None, result["crc64"])

    def do(self, run: Run) -> Result:
        from imgtool.cloud.upload import Request, upload

        order = run.order
        public = order.public_read or order.target == "migrate"
        request = Request(
            part_size=order.part_size, limit_rate=order.limit_rate, public=public, patience=order.patience
        )
        done = upload(run.product, run.store, request, run.journal, run.progress)
        return {
            "address": done.address,
            "size": done.size,
            "crc64": done.crc64,
            "parts": done.parts,
            "sent": done.sent,
        }


class DryRun:
    """Have the platform look at the parameters before it imports."""

    name = "dry-run"
    title = Text("Dry run of the import", "导入试运行")

    def inputs(self, run: Run) -> Any:
        return [run.results["upload"]["address"], *wanted_fields(run)]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        return True

    def do(self, run: Run) -> Result:
        order = run.order
        if order.target == "data-disk":
            run.cvm.dry_run("ImportSnapshot", snapshot_parameters(run, run.store.link(True)))
            return {}
        from imgtool.cloud.importing import settle

        if run.begun or asked(run) is not None:
            return {"parameters": {}}
        settled = settle(run.cvm, wanted_of(run), run.store.link(True))
        for note in settled.notes:
            run.say(note)
        parameters = {key: value for key, value in settled.parameters.items() if key != "ImageUrl"}
        return {"parameters": parameters}


class Import:
    """Ask for the import, once."""

    name = "import"
    title = Text("Import", "导入")

    def inputs(self, run: Run) -> Any:
        return [run.results["upload"]["address"], run.results["convert"]["identity"], run.order.name]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        return run.begun

    def do(self, run: Run) -> Result:
        from imgtool.cloud.asking import import_once
        from imgtool.cloud.importing import Settled

        begun = run.journal.last("import.begun")
        if run.begun and begun is not None:  # killed before the step was noted as finished
            return {name: begun[name] for name in ("image_id", "task_id") if name in begun}

        def link() -> str:
            return run.store.link(run.order.public_read)

        if run.order.target == "data-disk":
            return self._snapshot(run)
        parameters = run.results["dry-run"].get("parameters") or {}
        settled = Settled(parameters)
        if not parameters:  # an earlier run asked already and may not have been heard
            settled = settle_again(run) if not _heard(run) else Settled({"ImageName": run.order.name})
        return {"image_id": import_once(run.cvm, settled, link, run.journal)}

    def _snapshot(self, run: Run) -> Result:
        from imgtool.cloud.asking import AnswerLost, ask_for_snapshot, new_mark, snapshot_lost

        earlier = asked(run)
        if earlier is not None:
            raise snapshot_lost(run.order.name, earlier["mark"])
        mark = new_mark()
        run.journal.add("import.asked", name=run.order.name, mark=mark)
        parameters = snapshot_parameters(run, run.store.link(run.order.public_read))
        try:
            task = ask_for_snapshot(run.cvm, parameters, mark)
        except AnswerLost:
            raise
        except ImgtoolError:
            run.journal.forget("import")
            raise
        run.journal.add("import.begun", task_id=task, name=run.order.name)
        return {"task_id": task}


class Wait:
    """Wait until the image is NORMAL."""

    name = "wait"
    title = Text("Wait until the image is NORMAL", "等待镜像变为 NORMAL")

    def inputs(self, run: Run) -> Any:
        return run.results["import"]["image_id"]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        image = run.cvm.image(result["image_id"])
        return image is not None and image.state == result["state"]

    def do(self, run: Run) -> Result:
        from imgtool.cloud.importing import ImportFailed, wait_until_normal

        image_id = run.results["import"]["image_id"]
        run.progress.begin(self.title, None)
        try:
            image = wait_until_normal(run.cvm, image_id)
        except ImportFailed as failed:
            earlier = asked(run)
            run.journal.add("failed.import", image_id=image_id, mark=earlier["mark"] if earlier else "?")
            run.journal.forget("import")
            if failed.code == "InvalidUrl":  # the object went away between upload and import
                run.journal.forget("upload")
            raise
        return {"image_id": image.id, "state": image.state}


class Console:
    """Offline migration ends with the object, and what to do in the console (ref 08)."""

    name = "console"
    title = Text("Steps in the console", "控制台操作步骤")

    def inputs(self, run: Run) -> Any:
        return run.results["upload"]["address"]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        return False

    def do(self, run: Run) -> Result:
        link = run.store.link(True)
        gibibytes = -(-run.results["convert"]["virtual_size"] // (1 << 30))
        run.say(
            Text(
                en=f"The image is at {link}, readable by everybody (offline migration asks for that).\n"
                "1. Console: Cloud Virtual Machine, then Server Migration > Offline Migration.\n"
                "2. New instance migration; confirm the preparations; Next.\n"
                "3. Choose the bucket's region, a task name, the link above, and an instance whose system "
                "disk has at "
                f"least {gibibytes} GB.\n"
                "4. Finish, and follow the task in the list. Afterwards remove the object, or make it "
                "private.",
                zh=f"镜像位于 {link}，为公有读（离线迁移的要求）。\n"
                "1. 登录云服务器控制台，选择【服务器迁移】>【离线迁移】。\n"
                "2. 单击【新建实例迁移】，确认准备事项后单击【下一步】。\n"
                f"3. 选择存储桶所在地域，填写任务名称、上述 COS 链接，选择系统盘不小于 {gibibytes} GB "
                "的云服务器。\n"
                "4. 单击【完成】，在任务列表查看进度。完成后请删除该对象或改为私有读。",
            )
        )
        return {"link": link}


class Tidy:
    """Remove the object and what was made on the way."""

    name = "tidy"
    title = Text("Remove what is no longer needed", "清理不再需要的内容")

    def inputs(self, run: Run) -> Any:
        return [run.order.address, run.order.keep_object]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        return not run.product.exists()

    def do(self, run: Run) -> Result:
        keep = run.order.keep_object or run.order.target != "import"
        if not keep:
            try:
                retried(run.store.delete, run.order.patience)
            except (Refusal, Unreachable) as error:
                said = error.statement()
                run.say(
                    Text(
                        en=f"{run.order.address} could not be removed; remove it yourself. {said.en}",
                        zh=f"未能删除 {run.order.address}，请自行删除。{said.zh}",
                    )
                )
        for path in (run.product, run.unpacked, run.order.folder / "console.log"):
            path.unlink(missing_ok=True)
        return {"object_kept": keep}


def asked(run: Run) -> Mapping[str, Any] | None:
    """The record of an import of this name that was asked for; the answer may have been lost."""
    record = run.journal.last("import.asked")
    return record if record is not None and record["name"] == run.order.name else None


def _heard(run: Run) -> bool:
    """Whether an import that an earlier run asked for is there."""
    earlier = asked(run)
    if earlier is None:
        return False
    return any(it.name == earlier["name"] and earlier["mark"] in it.description for it in run.cvm.images())


def settle_again(run: Run) -> Any:
    """The parameters anew: the import was asked for, and was not heard."""
    from imgtool.cloud.importing import settle

    return settle(run.cvm, wanted_of(run), run.store.link(True))


def wanted_fields(run: Run) -> list[Any]:
    """What the import is to say, as the journal compares it."""
    order = run.order
    return [
        order.name,
        order.description,
        order.force_import,
        order.boot_mode,
        order.os_type,
        order.os_version,
    ]


def wanted_of(run: Run) -> Any:
    """What the image is to be, from the order and from what was found on it."""
    from imgtool.cloud.importing import Wanted

    order, found = run.order, run.results["recheck"]
    system = found["os"]
    words = order.profile.linux.architectures
    mode = order.boot_mode or (found["boot_mode"] if found["boot_mode"] in ("bios", "uefi") else None)
    return Wanted(
        name=order.name,
        os_type=order.os_type or system["import_os_type"] or _family(system["family"]),
        os_version=order.os_version or system["import_os_version"] or "",
        architecture=words.get(system["arch"] or "", "x86_64"),
        description=order.description,
        force=order.force_import,
        boot_mode=mode,
    )


def _family(name: str | None) -> str:
    """An OsType for a release that the profile does not know."""
    return "Windows" if name == "windows" else ""


def snapshot_parameters(run: Run, link: str) -> dict[str, Any]:
    """Of ImportSnapshot (ref 22). The size is in GB, of the disk."""
    parameters: dict[str, Any] = {
        "SnapshotName": run.order.name,
        "SnapshotUrl": link,
        "SnapshotSize": -(-run.results["convert"]["virtual_size"] // (1 << 30)),
    }
    if run.order.description:
        parameters["SnapshotDescription"] = run.order.description
    return parameters
