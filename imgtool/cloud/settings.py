"""Where the cloud is and how to talk to it: command line, then IMGTOOL_*, then the configuration file.

The file is ~/.config/imgtool/config.toml (XDG_CONFIG_HOME), or the one that IMGTOOL_CONFIG names:

    region = "shjr"
    bucket = "images-1250000000"
    cos_endpoint = "cos.shjr.finance.cloud.example"   # what follows the bucket in an object's host name
    cvm_endpoint = "cvm.api3.finance.cloud.example"
    ca_bundle = "/etc/ssl/private-cloud.pem"

Keys never stand in it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from imgtool.cloud.retry import Patience
from imgtool.errors import UsageError
from imgtool.text import Text

_SECRETS = re.compile(r"secret|token|password|access_key", re.IGNORECASE)
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(i?b?)(?:/s|ps)?", re.IGNORECASE)
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3}


@dataclass(frozen=True)
class Settings:
    """region: of the deployment. cos_endpoint: what follows the bucket in a host name. cos_connect: an
    address to connect to instead of what the host name resolves to. cvm_endpoint: host, with a port where it
    has one. scheme: https or http. ca_bundle: a file of certificates to trust. bandwidth: bytes a second, for
    estimates. retries: how often to try again what may be tried again.
    """

    region: str = ""
    bucket: str = ""
    cos_endpoint: str = ""
    cos_connect: str = ""
    s3_endpoint: str = ""
    cvm_endpoint: str = ""
    scheme: str = "https"
    ca_bundle: str = ""
    limit_rate: str = ""
    part_size: str = ""
    bandwidth: str = ""
    retries: str = ""

    def require_region(self) -> str:
        """The region. Raises UsageError when none is given."""
        if not self.region:
            raise UsageError(
                Text(
                    en="No region is given. Use --region, IMGTOOL_REGION, or region in the configuration "
                    "file.",
                    zh="未指定地域。请使用 --region、IMGTOOL_REGION，或在配置文件中设置 region。",
                )
            )
        return self.region


def patience_of(found: Settings) -> Patience:
    """How patient this run is. Raises UsageError."""
    if not found.retries:
        return Patience()
    if not found.retries.isdecimal() or not 0 <= int(found.retries) <= 100:
        raise UsageError(
            Text(
                en=f"retries is a number from 0 to 100, not {found.retries!r}.",
                zh=f"retries 须为 0 到 100 的数字，而不是 {found.retries!r}。",
            )
        )
    return Patience(attempts=int(found.retries) + 1)


def settings(given: Mapping[str, str | None] | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """The settings of this run. given: from the command line, None for what was not. Raises UsageError."""
    environment = os.environ if env is None else env
    names = [field.name for field in fields(Settings)]
    values: dict[str, str] = dict(_from_file(config_path(environment), names))
    for name in names:
        value = environment.get(f"IMGTOOL_{name.upper()}")
        if value:
            values[name] = value
    values |= {name: value for name, value in (given or {}).items() if value is not None}
    found = Settings(**values)
    if found.scheme not in ("http", "https"):
        raise UsageError(
            Text(
                en=f"The scheme is http or https, not {found.scheme}.",
                zh=f"scheme 只能是 http 或 https，而不是 {found.scheme}。",
            )
        )
    if found.ca_bundle and not os.access(found.ca_bundle, os.R_OK):
        raise UsageError(
            Text(
                en=f"The CA file {found.ca_bundle} can't be read.", zh=f"无法读取 CA 文件 {found.ca_bundle}。"
            )
        )
    return found


def config_path(env: Mapping[str, str]) -> Path:
    """Where the configuration file is, or would be."""
    if env.get("IMGTOOL_CONFIG"):
        return Path(env["IMGTOOL_CONFIG"])
    base = env.get("XDG_CONFIG_HOME") or os.path.join(env.get("HOME") or os.path.expanduser("~"), ".config")
    return Path(base) / "imgtool" / "config.toml"


def _from_file(path: Path, names: list[str]) -> Mapping[str, str]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _bad(path, str(error.strerror), str(error.strerror)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad(path, f"it is not TOML ({error})", f"不是有效的 TOML（{error}）") from error
    for name, value in content.items():
        if _SECRETS.search(name):
            raise _bad(
                path,
                f"{name}: keys do not belong into it. Take it out; use TENCENTCLOUD_SECRET_ID and "
                "TENCENTCLOUD_SECRET_KEY, or the SDK's ~/.tencentcloud/credentials",
                f"{name}：密钥不应写在这里。请删除它，改用 TENCENTCLOUD_SECRET_ID 与 "
                "TENCENTCLOUD_SECRET_KEY，"
                "或 SDK 的 ~/.tencentcloud/credentials",
            )
        if name not in names:
            known = ", ".join(names)
            raise _bad(
                path, f"there is no setting {name}; there are: {known}", f"没有配置项 {name}；可用：{known}"
            )
        if not isinstance(value, str):
            raise _bad(path, f"{name} must be a text in quotes", f"{name} 必须是带引号的文本")
    return content


def _bad(path: Path, en: str, zh: str) -> UsageError:
    return UsageError(Text(en=f"The configuration {path}: {en}.", zh=f"配置文件 {path}：{zh}。"))


def byte_rate(text: str) -> int:
    """Bytes a second: "10M" and "10MB/s" are 10 MiB, "100Mbps" and "100Mbit" are bits. Raises UsageError."""
    bits = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:bps|bit(?:/s)?)", text.strip(), re.IGNORECASE)
    if bits is not None and "B" not in text:
        return max(1, int(float(bits[1]) * 1000 ** _UNITS[bits[2].lower()] / 8))
    return byte_count(text)


def byte_count(text: str) -> int:
    """A size or rate: 8M, 8MiB, 10MB/s; the units are powers of 1024. Raises UsageError."""
    found = _RATE.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0:
        raise UsageError(
            Text(
                en=f"{text!r} is no size or rate. Write 8M, 10M/s, or 100Mbps.",
                zh=f"{text!r} 不是大小或速率。请写作 8M、10M/s 或 100Mbps。",
            )
        )
    return max(1, int(float(found[1]) * 1024 ** _UNITS[found[2].lower()]))
