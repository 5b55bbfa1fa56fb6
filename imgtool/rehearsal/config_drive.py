"""The config drive: a CD labelled `config-2`, as the platform attaches it (ref 02, ref 11)."""

from __future__ import annotations

import io
from collections.abc import Mapping

LABEL = "config-2"


def contents(documents: Mapping[str, bytes], os_conf: bytes) -> dict[str, bytes]:
    """The files of a config drive by path. documents: those below openstack/latest/, none for an image that
    is imported by force."""
    files = {f"openstack/latest/{name}": content for name, content in documents.items()}
    return {**files, "qcloud_action/os.conf": os_conf}


def iso(files: Mapping[str, bytes]) -> bytes:
    """An ISO 9660 image with these files, their names in Rock Ridge (for Linux) and Joliet (for Windows)."""
    from pycdlib import PyCdlib

    made = PyCdlib()
    made.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    folders: set[str] = set()
    for number, (path, content) in enumerate(sorted(files.items())):
        *parents, name = path.split("/")
        for depth in range(1, len(parents) + 1):
            folder = "/".join(parents[:depth])
            if folder not in folders:
                folders.add(folder)
                made.add_directory(_plain(folder), rr_name=parents[depth - 1], joliet_path=f"/{folder}")
        short = "/".join(filter(None, ("/".join(parents), f"f{number}")))
        made.add_fp(
            io.BytesIO(content), len(content), f"{_plain(short)}.;1", rr_name=name, joliet_path=f"/{path}"
        )
    out = io.BytesIO()
    made.write_fp(out)
    made.close()
    return out.getvalue()


def _plain(path: str) -> str:
    """A path in the characters of ISO 9660 level 1: upper case, at most eight of them a name."""
    names = ("".join(letter if letter.isalnum() else "_" for letter in name)[:8] for name in path.split("/"))
    return "/" + "/".join(names).upper()
