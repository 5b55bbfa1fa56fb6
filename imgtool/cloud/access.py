"""What `imgtool doctor --cloud` proves: that the keys open the bucket and the API. Nothing is changed by
it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imgtool.cloud.address import Address, require_bucket
from imgtool.cloud.retry import Patience
from imgtool.cloud.settings import Settings
from imgtool.doctor import Item
from imgtool.errors import ImgtoolError
from imgtool.text import Text

_PATIENCE = Patience(attempts=2)


def examine_access(settings: Settings) -> list[Item]:
    """Keys, bucket (where one is set), API, quota, the systems that can be imported; the first failure
    explains.
    """
    found: list[Item] = []

    def proven(name: str, purpose: Text, look: Callable[[], str]) -> bool:
        try:
            version = look()
        except ImgtoolError as error:
            found.append(Item(name, False, True, "", purpose, error.statement()))
            return False
        found.append(Item(name, True, True, version, purpose))
        return True

    keys: list[Any] = []

    def find_keys() -> str:
        from imgtool.cloud.credentials import credentials
        from imgtool.extras import require

        require("tencentcloud", "cloud")
        require("qcloud_cos", "cloud")
        keys.append(credentials())
        return f"({keys[0].source})"

    if not proven("keys", Text("open the account", "用于访问账号"), find_keys):
        return found
    if settings.bucket:
        proven(
            "bucket",
            Text("takes the images on their way", "存放待导入的镜像"),
            lambda: _bucket(settings, keys[0]),
        )
    api: list[Any] = []

    def quota() -> str:
        from imgtool.cloud.cvm import Cvm

        api.append(Cvm(settings, keys[0], _PATIENCE))
        return f"{settings.region}: {len(api[0].images())}/{api[0].quota()}"

    if proven("CVM API", Text("images / quota", "镜像数 / 配额"), quota):
        proven("import", Text("systems that can be imported", "可导入的操作系统"), lambda: _systems(api[0]))
    return found


def _bucket(settings: Settings, keys: Any) -> str:
    from imgtool.cloud.cos import CosStore

    name = settings.bucket.partition("/")[0]
    require_bucket("cos", name)
    CosStore(Address("cos", name, "imgtool"), settings, keys).check_bucket()
    return name


def _systems(cvm: Any) -> str:
    offered = cvm.importable()
    return ", ".join((*offered.linux, *offered.windows))
