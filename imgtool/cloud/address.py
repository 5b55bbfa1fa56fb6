"""Where an object is: cos://BUCKET-APPID/KEY or s3://BUCKET/KEY."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from imgtool.errors import UsageError
from imgtool.text import Text

Scheme = Literal["cos", "s3"]
_COS_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?-\d{4,20}")
_S3_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
LONGEST_KEY = 850  # bytes, COS


@dataclass(frozen=True)
class Address:
    """One object in a storage."""

    scheme: Scheme
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"


def address(text: str, default_name: str = "") -> Address:
    """The object that a text names. A key that is a folder ("" or "…/") gets `default_name`. Raises
    UsageError.
    """
    scheme, separator, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme not in ("cos", "s3") or not separator or not bucket:
        raise _bad(
            text,
            "write cos://BUCKET-APPID/KEY or s3://BUCKET/KEY",
            "请写作 cos://存储桶-APPID/键 或 s3://存储桶/键",
        )
    require_bucket("cos" if scheme == "cos" else "s3", bucket)
    if not key or key.endswith("/"):
        key += default_name
    if not key or len(key.encode("utf-8", "replace")) > LONGEST_KEY:
        raise _bad(text, f"the key must have 1 to {LONGEST_KEY} bytes", f"对象键须为 1 到 {LONGEST_KEY} 字节")
    if key.startswith("/") or any(part in (".", "..") for part in key.split("/")) or "\0" in key:
        raise _bad(
            text, "the key begins with / or has a part . or ..", "对象键以 / 开头，或含有 . 或 .. 部分"
        )
    return Address("cos" if scheme == "cos" else "s3", bucket, key)


def require_bucket(scheme: Scheme, bucket: str) -> None:
    """Raise UsageError unless a bucket may be called so."""
    if scheme == "cos" and not _COS_BUCKET.fullmatch(bucket):
        raise _bad(
            bucket,
            "a COS bucket is named NAME-APPID (the console shows it so), in lower case",
            "COS 存储桶名称为 名称-APPID（与控制台显示一致），小写",
        )
    if scheme == "s3" and not _S3_BUCKET.fullmatch(bucket):
        raise _bad(bucket, "this can't be the name of an S3 bucket", "不是合法的 S3 存储桶名称")


def _bad(text: str, en: str, zh: str) -> UsageError:
    return UsageError(Text(en=f"{text!r}: {en}.", zh=f"{text!r}：{zh}。"))
