"""Which UEFI firmware this machine has for guests.

QEMU's firmware descriptors say so (docs/interop/firmware.json in QEMU), on every distribution that ships
them; well-known files stand in where none does. SeaBIOS is QEMU's own and needs no looking for.
"""

from __future__ import annotations

import fnmatch
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from imgtool.errors import MachineLacks

Architecture = Literal["x86_64", "aarch64"]
DESCRIPTORS = ("/etc/qemu/firmware", "/usr/local/share/qemu/firmware", "/usr/share/qemu/firmware")
# What a guest must not be asked for: signed loaders only, or a machine with SMM.
_UNWANTED = {"secure-boot", "requires-smm", "enrolled-keys"}
_WELL_KNOWN: dict[str, tuple[tuple[str, str], ...]] = {
    "x86_64": (
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ),
    "aarch64": (("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),),
}
_PACKAGES = {"x86_64": ("UEFI firmware for guests (OVMF)", "ovmf")}
_PACKAGES["aarch64"] = ("UEFI firmware for arm64 guests (AAVMF)", "qemu-efi-aarch64")


@dataclass(frozen=True)
class Firmware:
    """Code for one flash and the empty variable store that goes beside it."""

    code: Path
    variables: Path


def find_uefi(architecture: Architecture) -> Firmware:
    """The firmware for guests of this architecture, without Secure Boot. Raises MachineLacks."""
    names: dict[str, str] = {}  # a file in an earlier folder hides those of its name in later ones
    for folder in reversed(DESCRIPTORS):
        with suppress(OSError):
            names.update({name: folder for name in os.listdir(folder) if name.endswith(".json")})
    described = (_described(Path(names[name], name), architecture) for name in sorted(names))
    known = (Firmware(Path(code), Path(variables)) for code, variables in _WELL_KNOWN[architecture])
    for found in (*described, *known):
        if found is not None and found.code.is_file() and found.variables.is_file():
            return found
    raise MachineLacks(*_PACKAGES[architecture])


def _described(path: Path, architecture: Architecture) -> Firmware | None:
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        mapping = told["mapping"]
        machines = [
            machine
            for target in told["targets"]
            if target["architecture"] == architecture
            for machine in target["machines"]
        ]
        wanted = "pc-i440fx-9.0" if architecture == "x86_64" else "virt-9.0"
        if (
            "uefi" not in told["interface-types"]
            or _UNWANTED & set(told["features"])
            or mapping["device"] != "flash"
            or mapping.get("mode", "split") != "split"
            or mapping["executable"]["format"] != "raw"
            or not any(fnmatch.fnmatch(wanted, machine) for machine in machines)
        ):
            return None
        return Firmware(Path(mapping["executable"]["filename"]), Path(mapping["nvram-template"]["filename"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not a descriptor as the specification has them: as if it were not there
