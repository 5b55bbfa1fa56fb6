"""What can only be done inside Windows: laid down with a script that runs once, at the next start, and cleans
up.

A service of type "own process" starts it, as LocalSystem, before anyone logs in. cmd.exe is no service, and
the service manager gives it up after 30 seconds: so it only starts the script, which runs on, and ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from imgtool.guest.windows.first_boot import FOLDER, SCRIPT, SERVICE
from imgtool.repair.editor import RegistryValue
from imgtool.repair.windows_drivers import SYSTEM, dword, service_key, set_values, sz

if TYPE_CHECKING:
    from imgtool.repair.registration import Work

LOG = "%SystemRoot%\\Temp\\imgtool-first-boot.log"


def run_at_first_boot(work: Work, commands: Iterable[str], files: Mapping[str, bytes]) -> None:
    """Lay down files, by their paths in FOLDER, and a script of these commands (of cmd.exe) beside them.

    In the script `%~dp0` is that folder.
    """
    for path, content in files.items():
        work.draft.write(path, content)
    lines = [
        "@echo off",
        f"sc.exe delete {SERVICE}",  # first: whatever happens, it does not run twice
        "ping -n 30 127.0.0.1 >nul",  # until the services that an installer needs have started
        *commands,
        f'cd /d "%SystemRoot%" & rmdir /s /q "%SystemDrive%{FOLDER.replace("/", chr(92))}"',
    ]
    text = "\r\n".join(f'{line} >>"{LOG}" 2>&1' if line != "@echo off" else line for line in lines) + "\r\n"
    work.draft.write(SCRIPT, text.encode("ascii"))
    script = f"%SystemDrive%{SCRIPT.replace('/', chr(92))}"
    start = f'%SystemRoot%\\System32\\cmd.exe /c start "" /b cmd.exe /c {script}'
    set_values(
        work,
        SYSTEM,
        service_key(work.image.windows, SERVICE),
        {
            "Type": dword(0x10),
            "Start": dword(2),
            "ErrorControl": dword(0),
            "ImagePath": RegistryValue("expand_sz", start),
            "ObjectName": sz("LocalSystem"),
            "DisplayName": sz("imgtool: first boot"),
        },
    )
