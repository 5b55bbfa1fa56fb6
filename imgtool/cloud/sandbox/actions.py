"""What the API's actions do: images, their quota, the systems that can be imported, snapshots (ref 21,
22, 23).
"""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from imgtool.cloud.sandbox.signatures.seen import Refused

if TYPE_CHECKING:
    from imgtool.cloud.sandbox.faults import Faults
    from imgtool.cloud.sandbox.state import State

NAME_LENGTH = 60  # ref 21
IMPORTING, NORMAL, FAILED = "IMPORTING", "NORMAL", "IMPORTFAILED"
# OsType -> OsVersion, as ref 01 names the systems; a deployment's own list is longer.
LINUX = {
    "CentOS": ("5", "6", "7", "8"),
    "Ubuntu": ("10", "12", "14", "16", "18", "20", "22", "24"),
    "Debian": ("6", "7", "8", "9", "10", "11", "12", "13"),
    "CoreOS": ("7", "-"),
    "openSUSE": ("11", "12", "13", "15"),
    "SUSE": ("10", "11", "12", "15"),
    "Other Linux": ("-",),
}
WINDOWS = {
    "Windows Server 2008": ("-",),
    "Windows Server 2012": ("-",),
    "Windows Server 2016": ("-",),
}
ARCHITECTURES = ("x86_64", "i386", "arm_64", "arm64")
BOOT_MODES = ("Legacy BIOS", "UEFI")


@dataclass(frozen=True)
class Quota:
    """How many images and no more (the reference says 10 in one place and 50 in another)."""

    images: int = 10


class Actions:
    """The actions by name: parameters in, the Response's fields out. They raise Refused.

    started: told of each image and snapshot whose import is to begin.
    """

    def __init__(
        self, state: State, quota: Quota, started: Callable[[dict[str, Any]], None], faults: Faults
    ) -> None:
        self._state, self._quota, self._started, self._faults = state, quota, started, faults
        self.by_name: Mapping[str, Callable[[dict[str, Any]], Mapping[str, Any]]] = {
            "DeleteImages": self._delete_images,
            "DescribeImageQuota": self._quota_of_images,
            "DescribeImages": self._describe_images,
            "DescribeImportImageOs": self._import_os,
            "ImportImage": self._import_image,
            "ImportSnapshot": self._import_snapshot,
        }

    def _import_os(self, given: dict[str, Any]) -> Mapping[str, Any]:
        _take(given)
        versions = [
            {"OsName": name, "OsVersions": list(known), "Architecture": ["x86_64", "arm_64"]}
            for name, known in {**LINUX, **WINDOWS}.items()
        ]
        # The reference writes linux and windows, the SDK reads Linux and Windows.
        listed = {
            "linux": list(LINUX),
            "windows": list(WINDOWS),
            "Linux": list(LINUX),
            "Windows": list(WINDOWS),
        }
        return {"ImportImageOsListSupported": listed, "ImportImageOsVersionSet": versions}

    def _quota_of_images(self, given: dict[str, Any]) -> Mapping[str, Any]:
        _take(given)
        return {"ImageNumQuota": self._quota.images}

    def _describe_images(self, given: dict[str, Any]) -> Mapping[str, Any]:
        taken = _take(given, ImageIds=list, Filters=list, Offset=int, Limit=int, InstanceType=str, HostIp=str)
        ids, filters = taken.get("ImageIds"), taken.get("Filters")
        if ids and filters:
            raise Refused(
                "InvalidParameter.InvalidParameterCoexistImageIdsFilters",
                "ImageIds and Filters can not be given together.",
            )
        offset, limit = taken.get("Offset", 0), taken.get("Limit", 20)
        if not 1 <= limit <= 100 or offset < 0:
            raise Refused("InvalidParameterValue.InvalidParameterValueLimit", "Limit is between 1 and 100.")
        found = self._state.images()
        if found and self._faults.strikes("unlisted"):
            del found[-1]
        if ids:
            found = [image for image in found if image["ImageId"] in ids]
        for each in filters or ():
            found = _filtered(found, each)
        public = [{key: value for key, value in image.items() if key[0] != "_"} for image in found]
        return {"TotalCount": len(found), "ImageSet": public[offset : offset + limit]}

    def _import_image(self, given: dict[str, Any]) -> Mapping[str, Any]:
        if "BootMode" in given and self._faults.strikes("no-boot-mode"):
            raise Refused("UnknownParameter", "The parameter BootMode is not recognized.")
        taken = _take(
            given,
            *("Architecture", "OsType", "OsVersion", "ImageUrl", "ImageName"),
            Architecture=str,
            OsType=str,
            OsVersion=str,
            ImageUrl=str,
            ImageName=str,
            ImageDescription=str,
            DryRun=bool,
            Force=bool,
            PublicImage=bool,
            BootMode=str,
        )
        _require_name(taken["ImageName"])
        _require_url(taken["ImageUrl"])
        if taken["Architecture"] not in ARCHITECTURES:
            raise Refused("InvalidParameterValue", "Architecture is x86_64 or arm_64.")
        versions = {**LINUX, **WINDOWS}.get(taken["OsType"])
        if versions is None:
            raise Refused("InvalidImageOsType.Unsupported", f"OsType {taken['OsType']} is not supported.")
        if taken["OsVersion"] not in versions:
            raise Refused(
                "InvalidImageOsVersion.Unsupported", f"OsVersion {taken['OsVersion']} is not supported."
            )
        if taken.get("BootMode", BOOT_MODES[0]) not in BOOT_MODES:
            raise Refused("InvalidParameterValue", f"BootMode is one of {', '.join(BOOT_MODES)}.")
        images = self._state.images()
        if any(image["ImageName"] == taken["ImageName"] for image in images):
            raise Refused("InvalidImageName.Duplicate", "An image of this name exists.")
        if len(images) >= self._quota.images:
            raise Refused("ImageQuotaLimitExceeded", f"The quota is {self._quota.images} images.")
        _stop_dry_run(taken)
        image = {
            "ImageId": "img-" + _word(),
            "ImageName": taken["ImageName"],
            "ImageDescription": taken.get("ImageDescription", ""),
            "ImageState": IMPORTING,
            "ImageType": "PRIVATE_IMAGE",
            "ImageSource": "EXTERNAL_IMPORT",
            "ImageCreator": "1250000000",
            "ImageSize": 0,
            "ImageFormat": "qcow2",
            "Architecture": taken["Architecture"],
            "OsName": f"{taken['OsType']} {taken['OsVersion']}",
            "OsType": "linux" if taken["OsType"] in LINUX else "windows",
            "OsVersion": taken["OsVersion"],
            "Platform": taken["OsType"],
            "BootMode": taken.get("BootMode", BOOT_MODES[0]),
            "IsSupportCloudinit": not taken.get("Force", False),
            "SyncPercent": None,
            "CreatedTime": _moment(),
            "_url": taken["ImageUrl"],
            "_force": bool(taken.get("Force")),
        }
        self._state.put_image(image)
        self._started(image)
        return {"ImageId": image["ImageId"], "TaskId": _number(), "flowId": int(_number())}

    def _import_snapshot(self, given: dict[str, Any]) -> Mapping[str, Any]:
        taken = _take(
            given,
            *("SnapshotName", "SnapshotUrl", "SnapshotSize"),
            SnapshotName=str,
            SnapshotDescription=str,
            SnapshotUrl=str,
            SnapshotSize=int,
            DryRun=bool,
        )
        _require_name(taken["SnapshotName"])
        _require_url(taken["SnapshotUrl"])
        if taken["SnapshotSize"] < 1:
            raise Refused("InvalidParameterValue.Range", "SnapshotSize is a number of GB.")
        _stop_dry_run(taken)
        snapshot = {
            "TaskId": _number(),
            "SnapshotName": taken["SnapshotName"],
            "SnapshotDescription": taken.get("SnapshotDescription", ""),
            "SnapshotSize": taken["SnapshotSize"],
            "State": IMPORTING,
            "CreatedTime": _moment(),
            "_url": taken["SnapshotUrl"],
        }
        self._state.put_snapshot(snapshot)
        self._started(snapshot)
        return {"TaskId": snapshot["TaskId"]}

    def _delete_images(self, given: dict[str, Any]) -> Mapping[str, Any]:
        taken = _take(given, "ImageIds", ImageIds=list)
        images = {image["ImageId"]: image for image in self._state.images()}
        for id_ in taken["ImageIds"]:
            if not str(id_).startswith("img-"):
                raise Refused("InvalidImageId.Malformed", f"{id_} is no image ID.")
            if id_ not in images:
                raise Refused("InvalidImageId.NotFound", f"There is no image {id_}.")
            if images[id_]["ImageState"] == IMPORTING:
                raise Refused("InvalidImageId.IncorrectState", f"Image {id_} is being imported.")
        for id_ in taken["ImageIds"]:
            self._state.delete_image(id_)
        return {"TaskId": _number(), "flowId": int(_number())}


def _take(given: dict[str, Any], *required: str, **kinds: type) -> dict[str, Any]:
    """The parameters, in their types. Raises Refused for what is missing, unknown or of another type."""
    for name in given:
        if name not in kinds:
            raise Refused("UnknownParameter", f"The parameter {name} is not recognized.")
    for name in required:
        if given.get(name) in (None, ""):
            raise Refused("MissingParameter", f"The request is missing the required parameter {name}.")
    return {name: _typed(name, value, kinds[name]) for name, value in given.items() if value is not None}


def _typed(name: str, value: Any, kind: type) -> Any:
    """A value in its type; forms say everything in words."""
    if kind is bool and not isinstance(value, bool):
        word = str(value).lower()
        if word in ("true", "1", "false", "0"):
            return word in ("true", "1")
    elif kind is int and isinstance(value, str) and value.lstrip("-").isdecimal():
        return int(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise Refused("InvalidParameter", f"The parameter {name} is of another type.")


def _filtered(images: list[dict[str, Any]], each: Any) -> list[dict[str, Any]]:
    name, values = each.get("Name"), each.get("Values")
    fields = {
        "image-id": "ImageId",
        "image-type": "ImageType",
        "image-name": "ImageName",
        "image-state": "ImageState",
    }
    if name not in fields or not isinstance(values, list):
        raise Refused("InvalidFilter", f"There is no filter {name}.")
    if len(values) > 5:
        raise Refused("InvalidFilterValue.LimitExceeded", "A filter takes up to 5 values.")
    return [image for image in images if image[fields[name]] in values]


def _require_name(name: str) -> None:
    if len(name) > NAME_LENGTH:
        raise Refused("InvalidParameterValue.TooLong", f"A name has up to {NAME_LENGTH} characters.")


def _require_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and len(parts.path) > 1
    except ValueError:
        fine = False
    if not fine:
        raise Refused("InvalidParameter.InvalidParameterUrlError", "The URL is not that of an object.")


def _stop_dry_run(taken: Mapping[str, Any]) -> None:
    if taken.get("DryRun"):
        raise Refused(
            "DryRunOperation", "The request would have succeeded, but the DryRun parameter was used."
        )


def _word() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))


def _number() -> str:
    return str(secrets.randbelow(900_000) + 100_000)


def _moment() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
