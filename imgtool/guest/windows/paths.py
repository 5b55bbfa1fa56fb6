"""Paths as the registry writes them, as paths of the guest's tree."""

from __future__ import annotations

import re

SYSTEM_ROOT = "/Windows"
FOLDERS = {
    "ProgramFiles": "\\Program Files",
    "ProgramFiles(x86)": "\\Program Files (x86)",
    "CommonProgramFiles": "\\Program Files\\Common Files",
    "ProgramData": "\\ProgramData",
    "ALLUSERSPROFILE": "\\ProgramData",
}
"""What the variables of every process are, unless somebody changed them."""


def guest_path(path: str, drive: str = "C") -> str | None:
    """`\\SystemRoot\\system32\\x.sys`, `%SystemRoot%\\x`, `\\??\\C:\\x`, `C:\\x` and `system32\\x` lead to
    one place; None for an empty path, for one on another drive or on the network, and where it can't be told
    which volume or folder is meant (`\\Device\\HarddiskVolume2\\x`, `%APPDATA%\\x`).

    drive: the letter of the volume that Windows is on.
    """
    path = path.strip().strip('"').replace("/", "\\")
    path = re.sub(r"^\\\?\?\\|^\\\\[?.]\\", "", path)
    if not path or path.startswith("\\\\"):
        return None
    for name in (r"\\systemroot(?=\\)", r"%systemroot%", r"%windir%"):
        path = re.sub(rf"^{name}", lambda _: SYSTEM_ROOT.replace("/", "\\"), path, flags=re.IGNORECASE)
    path = re.sub(r"^%systemdrive%", f"{drive}:", path, flags=re.IGNORECASE)
    for name, folder in FOLDERS.items():
        if path.lower().startswith(f"%{name.lower()}%"):
            path = folder + path[len(name) + 2 :]
    if re.match(r"%|\\Device\\|\\?Volume\{|\\GLOBAL\?\?\\", path, re.IGNORECASE):
        return None
    letter = drive_of(path)
    if letter:
        if letter != drive:
            return None
        path = path[2:]
    elif not path.startswith("\\"):
        path = rf"\Windows\{path}"  # Windows resolves a driver's relative path against its own folder
    return path.replace("\\", "/")


def drive_of(path: str) -> str:
    """The letter that a path begins with, in upper case; "" where it begins with none."""
    found = re.match(r"(?:\\\?\?\\|\\\\[?.]\\)?([A-Za-z]):", path.strip().strip('"'))
    return found[1].upper() if found else ""


def program_of(command: str) -> str:
    """The program of a command line: what is in the first quotes, or the part that ends in .exe or .sys."""
    command = command.strip()
    if command.startswith('"'):
        return command[1:].partition('"')[0]
    found = re.match(r"(.*?\.(?:exe|sys|com|bat|cmd))(?:\s|$)", command, re.IGNORECASE)
    return found[1] if found else command.partition(" ")[0]
