"""Which Windows it is: the release by its build number, edition, architecture, language.

Build numbers: Microsoft's pages "Windows Server release information" and "Windows release health".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imgtool.errors import CannotRead
from imgtool.guest.windows.guest import VERSION_KEY
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.registry import Key

SERVER_BUILDS = {
    3790: "2003",
    6001: "2008",
    6002: "2008",
    6003: "2008",
    7600: "2008 R2",
    7601: "2008 R2",
    9200: "2012",
    9600: "2012 R2",
    14393: "2016",
    17763: "2019",
    20348: "2022",
    26100: "2025",
}
"""Builds to releases of Windows Server; those in between went into no release with long-term service."""
CLIENT_BUILDS = {
    2600: "XP",
    6000: "Vista",
    6001: "Vista",
    6002: "Vista",
    7600: "7",
    7601: "7",
    9200: "8",
    9600: "8.1",
}
LONGEST_WORDS = 128
"""Characters of a name that are kept; a product's has about 40."""
FIRST_10, FIRST_11 = 10240, 22000
ARCHITECTURES = {"amd64": "x86_64", "x86": "i386", "arm64": "arm64", "ia64": "ia64"}
LANGUAGES = {
    0x0409: "en-US",
    0x0804: "zh-CN",
    0x0404: "zh-TW",
    0x0C04: "zh-HK",
    0x0411: "ja-JP",
    0x0412: "ko-KR",
    0x0407: "de-DE",
    0x040C: "fr-FR",
    0x0C0A: "es-ES",
    0x0410: "it-IT",
    0x0419: "ru-RU",
    0x0416: "pt-BR",
    0x0809: "en-GB",
}


@dataclass(frozen=True)
class Release:
    """name: "2012 R2", "10", "" for an unknown one. version: major and minor of the kernel: "6.3".

    product: as Windows calls itself; kind: by ProductType, which Windows itself goes by; installation:
    Server, Server Core, Nano Server or Client, "" where older; build: 9600; revision: UBR, None where there
    is none; service_pack: "Service Pack 1" or ""; language: "zh-CN", or the number in hex for a rare one.
    """

    name: str
    kind: Literal["server", "client"]
    product: str
    edition: str
    version: str
    build: int
    revision: int | None
    architecture: str
    installation: str
    service_pack: str
    language: str

    @property
    def build_text(self) -> str:
        """The build with its revision: 9600.19913."""
        return str(self.build) if self.revision is None else f"{self.build}.{self.revision}"

    @property
    def full_name(self) -> str:
        """The release with its kind: "Windows Server 2012 R2", "Windows 10"."""
        if not self.name:
            return self.product or f"Windows {self.version}"
        return f"Windows Server {self.name}" if self.kind == "server" else f"Windows {self.name}"


def read_release(guest: WindowsGuest) -> Release:
    """Raises CannotRead where the hive can't be read, or does not say which Windows it is."""
    key = guest.software.key(VERSION_KEY)
    build = _number(key, "CurrentBuildNumber", "CurrentBuild")
    if key is None or not build:
        raise CannotRead(
            Text(
                en=f"SOFTWARE\\{VERSION_KEY} does not say which build of Windows this is.",
                zh=f"SOFTWARE\\{VERSION_KEY} 未说明 Windows 的内部版本号。",
            )
        )
    product = (key.text("ProductName") or "").strip()[:LONGEST_WORDS]
    kind = _kind(guest, key, product)
    return Release(
        name=_name(kind, build),
        kind=kind,
        product=product,
        edition=(key.text("EditionID") or _edition_of(product))[:LONGEST_WORDS],
        version=_version(key),
        build=build,
        revision=key.number("UBR"),
        architecture=_architecture(guest, key),
        installation=(key.text("InstallationType") or "")[:LONGEST_WORDS],
        service_pack=(key.text("CSDVersion") or "")[:LONGEST_WORDS],
        language=_language(guest),
    )


def _number(key: Key | None, *names: str) -> int:
    for name in names:
        found = re.match(r"\s*([0-9]{1,9})", key.text(name) or "") if key is not None else None
        if found:
            return int(found[1])
    return 0


def _kind(guest: WindowsGuest, key: Key, product: str) -> Literal["server", "client"]:
    options = guest.control_set.key("Control\\ProductOptions")
    type_ = (options.text("ProductType") or "").lower() if options is not None else ""
    if type_:
        return "client" if type_ == "winnt" else "server"
    if key.text("InstallationType"):
        return "client" if key.text("InstallationType") == "Client" else "server"
    return "server" if "server" in product.lower() else "client"


def _name(kind: Literal["server", "client"], build: int) -> str:
    if kind == "server":
        return SERVER_BUILDS.get(build, "")
    if build in CLIENT_BUILDS:
        return CLIENT_BUILDS[build]
    return "" if build < FIRST_10 else "10" if build < FIRST_11 else "11"


def _version(key: Key) -> str:
    """CurrentVersion stays "6.3" for ever; Windows 10 and Server 2016 brought two numbers of their own."""
    major, minor = key.number("CurrentMajorVersionNumber"), key.number("CurrentMinorVersionNumber")
    if major is not None:
        return f"{major}.{minor or 0}"
    return (key.text("CurrentVersion") or "").strip()[:16]


def _edition_of(product: str) -> str:
    """Server 2008 before its service pack 2 has no EditionID."""
    words = ("Datacenter", "Enterprise", "Standard", "Web", "Foundation", "Essentials")
    return next((word for word in words if word.lower() in product.lower()), "")


def _architecture(guest: WindowsGuest, key: Key) -> str:
    """What the environment of every process says; else the name of the build: 9600.16384.amd64fre."""
    environment = guest.control_set.key("Control\\Session Manager\\Environment")
    word = (environment.text("PROCESSOR_ARCHITECTURE") or "") if environment is not None else ""
    if not word:
        built = re.search(
            r"\.(amd64|x86|arm64|ia64)(?:fre|chk)", key.text("BuildLabEx") or key.text("BuildLab") or ""
        )
        word = built[1] if built else ""
    return ARCHITECTURES.get(word.lower(), word.lower()[:16])


def _language(guest: WindowsGuest) -> str:
    key = guest.control_set.key("Control\\Nls\\Language")
    word = ((key.text("InstallLanguage") or key.text("Default") or "") if key is not None else "").strip()
    if not re.fullmatch("[0-9A-Fa-f]{4}", word):
        return ""
    return LANGUAGES.get(int(word, 16), word.upper())
