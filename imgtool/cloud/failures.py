"""What goes wrong with a cloud, as types: they all end a run with exit code 5."""

from __future__ import annotations

import re
from typing import ClassVar

from imgtool.errors import ImgtoolError, Stated
from imgtool.text import Text


class CloudFailure(Stated):
    """The cloud refused, failed, or could not be reached."""

    exit_code: ClassVar[int] = 5


class Unreachable(CloudFailure):
    """No answer: name, network, TLS.

    temporary: another attempt may do. sent: the request may have arrived all the same.
    """

    def __init__(self, statement: Text, temporary: bool, sent: bool = True) -> None:
        super().__init__(statement)
        self.temporary, self.sent = temporary, sent


class NotTheApi(CloudFailure):
    """Something answered, and not as the service does: a proxy, another server, an answer cut short."""

    def __init__(self, service: str, host: str, option: str) -> None:
        """option: what to look at, as the command line has it."""
        super().__init__(
            Text(
                en=f"{host} does not answer as {service} does. Check {option} and --scheme, and whether a "
                "proxy or a login page answers in its place.",
                zh=f"{host} 的应答不符合 {service} 接口。请检查 {option} 与 --scheme，"
                "以及是否由代理或登录页面代为应答。",
            )
        )


class Refusal(ImgtoolError):
    """The cloud's own refusal. service: "COS", "S3", "CVM"; status: HTTP's, where it says something."""

    exit_code: ClassVar[int] = 5

    def __init__(self, service: str, code: str, message: str, request_id: str = "", status: int = 0) -> None:
        super().__init__(service, code)
        self.service, self.code, self.message = service, code, message
        self.request_id, self.status = request_id, status

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed a little later."""
        if self.service == "CVM":
            return self.code in (
                "RequestLimitExceeded",
                "InternalError",
                "InternalServerError",
                "ServerNetworkError",
            )
        return self.status in (408, 429) or self.status >= 500 or self.code in ("RequestTimeout", "SlowDown")

    def statement(self) -> Text:
        from imgtool.cloud.codes import explain

        meaning = explain(self.service, self.code)
        said = f" {self.message}" if self.message else ""
        id_en = f" RequestId: {self.request_id}." if self.request_id else ""
        id_zh = f"RequestId：{self.request_id}。" if self.request_id else ""
        en = f"{self.service} refused: {self.code}. {meaning.meaning.en} {meaning.action.en}"
        zh = f"{self.service} 拒绝了请求：{self.code}。{meaning.meaning.zh}{meaning.action.zh}"
        return Text(
            en=without_secrets(
                f"{en} It said:{said or ' nothing'}{'' if said.endswith('.') else '.'}{id_en}"
            ),
            zh=without_secrets(f"{zh}服务端信息：{said.strip().rstrip('.') or '无'}。{id_zh}"),
        )


# Signatures and keys that an SDK or a server may repeat in its words.
_SECRET = re.compile(
    r"(?i)(q-signature|q-ak|signature|secretkey|secretid|x-cos-security-token|x-amz-security-token|x-amz-signature"
    r"|x-amz-credential|token|credential)=[^&\s,;\"')]+"
)


def without_secrets(text: str) -> str:
    """A text in which no signature, key or token of a URL or header is left."""
    return _SECRET.sub(lambda found: f"{found[1]}=…", text)


_TRUST = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|SSLError|certificate verify|SSLCertVerification|CA bundle|WRONG_VERSION"
)
_NAME = re.compile(
    r"NameResolution|Name or service not known|Temporary failure in name|getaddrinfo|nodename nor|No "
    "address associated"
    r"|Could not resolve",
    re.IGNORECASE,
)
_PROXY = re.compile(r"ProxyError|Unable to connect to proxy", re.IGNORECASE)
_NOT_SENT = re.compile(
    r"NewConnectionError|Failed to establish a new connection|Connection refused|ConnectTimeout",
    re.IGNORECASE,
)


def unreachable(service: str, host: str, words: str) -> Unreachable:
    """What an SDK's words for a failed connection mean."""
    said = without_secrets(words)[:300]
    if _TRUST.search(words):
        return Unreachable(
            Text(
                en=f"The certificate of {host} is not trusted. Give your deployment's CA file: --ca-bundle "
                "FILE (or "
                f"ca_bundle in the configuration). It is never trusted unseen. {said}",
                zh=f"不信任 {host} 的证书。请指定该环境的 CA 文件：--ca-bundle 文件（或配置项 ca_bundle）。"
                f"imgtool 不会跳过证书校验。{said}",
            ),
            temporary=False,
            sent=False,
        )
    if _PROXY.search(words):
        return Unreachable(
            Text(
                en=f"The proxy does not lead to {host}. Look at HTTP_PROXY, HTTPS_PROXY and NO_PROXY. {said}",
                zh=f"无法通过代理访问 {host}。请检查 HTTP_PROXY、HTTPS_PROXY 与 NO_PROXY。{said}",
            ),
            temporary=True,
            sent=False,
        )
    if _NAME.search(words):
        return Unreachable(
            Text(
                en=f"The name {host} can't be resolved. Check the endpoint, the region and this machine's "
                f"DNS. {said}",
                zh=f"无法解析域名 {host}。请检查接入点（endpoint）、地域与本机 DNS。{said}",
            ),
            temporary=False,
            sent=False,
        )
    return Unreachable(
        Text(
            en=f"{service} at {host} can't be reached, or the connection broke. Check the endpoint and this "
            "machine's network, then run the same command again: it goes on "
            f"where it stopped. {said}",
            zh=f"无法连接 {host} 上的 {service}，或连接中断。请检查接入点（endpoint）与本机网络，"
            f"再次运行同一命令，会从中断处继续。{said}",
        ),
        temporary=True,
        sent=_NOT_SENT.search(words) is None,
    )
