"""The keys to the cloud: from the environment, from the SDK's own chain, or from a prompt; from nowhere else.

They live in memory only. Nothing here prints, logs or keeps them.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field

from imgtool.cloud.failures import CloudFailure
from imgtool.text import Text


@dataclass(frozen=True)
class Credentials:
    """A pair of keys, and the token that goes with temporary ones. source: where they came from, in words."""

    secret_id: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str = field(repr=False, default="")
    source: str = ""


def credentials() -> Credentials:
    """The first keys found: TENCENTCLOUD_SECRET_ID/KEY(/TOKEN), ~/.tencentcloud/credentials, the role of the
    machine (CVM metadata, only where TENCENTCLOUD_ROLE asks for it), a prompt on a terminal. Raises
    CloudFailure.
    """
    found = _from_environment() or _from_profile() or _from_role() or _asked()
    if found is None:
        raise CloudFailure(
            Text(
                en="There are no keys. Set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY (and "
                "TENCENTCLOUD_TOKEN for temporary keys), or write them to ~/.tencentcloud/credentials.",
                zh="没有密钥。请设置 TENCENTCLOUD_SECRET_ID 与 TENCENTCLOUD_SECRET_KEY（临时密钥还需 "
                "TENCENTCLOUD_TOKEN），或写入 ~/.tencentcloud/credentials。",
            )
        )
    for name, value in (("SecretId", found.secret_id), ("SecretKey", found.secret_key)):
        if value != value.strip() or not value.isascii() or any(sign.isspace() for sign in value):
            raise CloudFailure(
                Text(
                    en=f"The {name} (from {found.source}) has spaces or other signs that no key has. Copy "
                    "it again.",
                    zh=f"{name}（来自 {found.source}）含有空格或密钥中不会出现的字符。请重新复制。",
                )
            )
    return found


def _from_environment() -> Credentials | None:
    identity, key = os.environ.get("TENCENTCLOUD_SECRET_ID"), os.environ.get("TENCENTCLOUD_SECRET_KEY")
    if not identity or not key:
        return None
    return Credentials(identity, key, os.environ.get("TENCENTCLOUD_TOKEN", ""), "TENCENTCLOUD_SECRET_ID")


def _from_profile() -> Credentials | None:
    """The SDK's credential file."""
    from tencentcloud.common.credential import ProfileCredential
    from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

    try:
        found = ProfileCredential().get_credential()
    except (TencentCloudSDKException, OSError, ValueError, KeyError):
        return None
    if found is None:
        return None
    return Credentials(found.secret_id, found.secret_key, found.token or "", "~/.tencentcloud/credentials")


def _from_role() -> Credentials | None:
    """The role of the cloud machine that we run on: asks its metadata service."""
    role = os.environ.get("TENCENTCLOUD_ROLE")
    if not role:
        return None
    from tencentcloud.common.credential import CVMRoleCredential
    from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

    try:
        identity, key, token = CVMRoleCredential(role).get_credential_info()
    except (TencentCloudSDKException, OSError, ValueError):
        return None
    return Credentials(identity, key, token or "", f"role {role}") if identity and key else None


def _asked() -> Credentials | None:
    if sys.stdin is None or sys.stderr is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    from getpass import getpass

    try:
        identity = getpass("SecretId: ", sys.stderr)
        key = getpass("SecretKey: ", sys.stderr) if identity else ""
    except EOFError:
        return None
    return Credentials(identity, key, "", "prompt") if identity and key else None
