"""Words that every report for people uses, in English and Chinese."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imgtool.report.amounts import size
from imgtool.report.model import BootRecord, ImageReport
from imgtool.text import Language, Text

LABELS: Mapping[str, Text] = {
    "error": Text("ERROR", "错误"),
    "unknown": Text("UNKNOWN", "未知"),
    "warning": Text("WARNING", "警告"),
    "note": Text("NOTE", "提示"),
    "pass": Text("PASS", "通过"),
    "skip": Text("SKIP", "跳过"),
}
VERDICTS: Mapping[str, Text] = {
    "pass": Text("PASS", "通过"),
    "fail": Text("FAIL", "不通过"),
    "unknown": Text("UNKNOWN", "无法判定"),
}
_COUNTED: Mapping[str, tuple[str, str, str]] = {
    "error": ("error", "errors", "个错误"),
    "unknown": ("check not evaluated", "checks not evaluated", "项无法判定"),
    "warning": ("warning", "warnings", "个警告"),
    "note": ("note", "notes", "个提示"),
}
NAMED_ALIKE = 4
NO_TEXT = Text("", "")
HOW_TO_FIX = Text("To fix:", "修复方法：")
EVIDENCE = Text("Evidence:", "依据：")
CONSOLE = Text("The serial console's last lines:", "串口控制台的最后输出：")
_BOOT_MODES = {"bios": "BIOS", "uefi": "UEFI", "bios+uefi": "BIOS + UEFI"}


def counted(counts: Counter[str], language: Language) -> str:
    """ "2 errors, 1 warning"; "no errors" when there is nothing to say."""
    parts = []
    for kind, (one, many, chinese) in _COUNTED.items():
        count = counts[kind]
        if count:
            parts.append(
                f"{count} {chinese}" if language == "zh" else f"{count} {one if count == 1 else many}"
            )
    if not parts:
        return "没有错误" if language == "zh" else "no errors"
    return ("，" if language == "zh" else ", ").join(parts)


def verdict_line(image: ImageReport, path: str, language: Language) -> str:
    """The last word on one image: its path, what was found and how long it took."""
    found = counted(image.counts, language)
    if language == "zh":
        return f"{path}：{found}（{image.duration_s:.2f} 秒）"
    return f"{path}: {found} ({image.duration_s:.2f} s)"


def quiet_line(counts: Counter[str], language: Language, hint: bool) -> str:
    """How many checks passed and were skipped."""
    passed, skipped = counts["pass"], counts["skip"]
    if language == "zh":
        words = f"{passed} 项通过" + (f"，{skipped} 项跳过" if skipped else "")
        return words + ("（用 -v 列出）" if hint else "")
    words = f"{passed} passed" + (f", {skipped} skipped" if skipped else "")
    return words + (" (-v lists them)" if hint else "")


def mending(image: ImageReport, language: Language) -> tuple[str, str] | None:
    """What `imgtool fix` does about what was found, and the command that shows how; None where nothing."""
    found = [finding for finding in image.loud if finding.fixable]
    fixable = {finding.id for finding in found}
    if not fixable or image.target == "data-disk":
        return None
    from imgtool.disk.commands import shell_name

    words = ["imgtool fix --plan", *image.as_asked]
    if any(it.id.startswith("windows.virtio.") and "virtio-win" in (it.remedy or NO_TEXT).en for it in found):
        words.append("--virtio-win virtio-win.iso")  # the driver is not on the image
    command = " ".join([*words, image.word or shell_name(Path(image.path))])
    told = Text(
        f"imgtool fix mends {len(fixable)} of these findings offline, on a copy of the image. The plan:",
        f"imgtool fix 可在镜像副本上离线修复其中 {len(fixable)} 项。查看修复计划：",
    )
    return told.say(language), command


def totals_line(images: Sequence[ImageReport], language: Language) -> str:
    """The verdicts of several images in one line."""
    verdicts = Counter(image.verdict for image in images)
    total, failed, unknown, passed = len(images), verdicts["fail"], verdicts["unknown"], verdicts["pass"]
    if language == "zh":
        return f"共 {total} 个镜像：{failed} 个不通过，{unknown} 个无法判定，{passed} 个通过"
    return f"{total} images: {failed} failed, {unknown} could not be judged, {passed} passed"


def summary(facts: Mapping[str, Any], language: Language) -> str:
    """The main facts in one line."""
    return " · ".join(main_facts(facts, language))


def main_facts(facts: Mapping[str, Any], language: Language) -> list[str]:
    """Format, sizes, partition table, boot mode, system and architecture, as far as they are known."""
    parts: list[str] = []
    if facts.get("format"):
        parts.append(" ".join(filter(None, (facts["format"], facts.get("variant")))))
    if facts.get("virtual_size") is not None:
        used = facts.get("actual_size")
        on_disk = (
            ""
            if used is None
            else (f"（实占 {size(used)}）" if language == "zh" else f" ({size(used)} on disk)")
        )
        parts.append(size(facts["virtual_size"]) + on_disk)
    table = facts.get("partition_table")
    if table in ("mbr", "gpt"):
        parts.append(table.upper())
    boot = _BOOT_MODES.get(facts.get("boot_mode") or "")
    if boot:
        parts.append(boot)
    system = facts.get("os") or {}
    name = system.get("pretty_name") or " ".join(filter(None, (system.get("distro"), system.get("version"))))
    if name or system.get("family") in ("linux", "windows"):
        parts.append(name or str(system["family"]).capitalize())
    if system.get("arch") and system.get("arch") != "unknown":
        parts.append(system["arch"])
    return [str(part) for part in parts]


def boot_line(boot: BootRecord, language: Language) -> str:
    """On what a rehearsal booted the image."""
    firmware, by = boot.firmware.upper(), boot.accelerator.upper()
    often = "twice" if boot.boots > 1 else "once"
    return Text(
        f"Booted under QEMU ({boot.architecture}, {firmware}, {by}), powered on {often}.",
        f"在 QEMU 中启动（{boot.architecture}，{firmware}，{by}），加电 {boot.boots} 次。",
    ).say(language)


def alike_line(ids: list[str], language: Language, every: bool) -> str:
    """Which other checks one reason kept from being evaluated: by name, or how many where they are many."""
    if every or len(ids) <= NAMED_ALIKE:
        names = ", ".join(ids)
        return Text(f"For the same reason not evaluated: {names}", f"因同样原因未判定：{names}").say(language)
    return Text(
        f"For the same reason, {len(ids)} other checks could not be evaluated.",
        f"因同样原因，另有 {len(ids)} 项未判定。",
    ).say(language)
