"""What `imgtool fix` lays down for the next start of Windows, and whether it still waits there.

A service of its own starts a script, which first takes the service away and in the end its own folder: so the
service with the script means that Windows has not started since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest

SERVICE = "imgtool-first-boot"
FOLDER = "/imgtool"
SCRIPT = f"{FOLDER}/first-boot.cmd"
INSTALLER = f"{FOLDER}/CloudbaseInitSetup.msi"


def waits(guest: WindowsGuest) -> bool:
    """Whether cloudbase-init's installer is laid down, with what starts it. Raises CannotRead."""
    if guest.services.get(SERVICE) is None or guest.services[SERVICE].disabled:
        return False
    return guest.tree.is_file(SCRIPT) and guest.tree.is_file(INSTALLER)
