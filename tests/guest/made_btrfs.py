"""The btrfs volumes that several tests read: made once, by Linux in the appliance, and kept in the cache."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

from fixtures import btrfs
from fixtures.btrfs import Content, Volume
from tests.guest.made_disks import folder_of, system
from tests.guest.made_filesystems import fill

UUID = "b7f50000-0000-4000-8000-00000000000{}"
# Two names that btrfs's hash of names can't tell apart, found by trying.
ALIKE = ("hwpvcnxfu", "uxrhrvmwn")
COMPRESSIONS = ("none", "zlib", "lzo", "zstd")
PROFILES = {"raid0": 2, "raid1": 2, "raid10": 4, "raid5": 3, "dup": 1}
OWNED = ("--owner=7:7", "--group=9:9", "--mtime=@1700000000")
CSUMS = ("xxhash", "sha256", "blake2")
ROOT_LINE = "UUID={} / btrfs {} 0 0\n"


def source(folder: Path) -> Path:
    """What the volumes of COMPRESSIONS and PROFILES hold: strange files, and some that compress well."""
    fill(folder, names=400)
    (folder / "text").write_text(
        "".join(f"line {number} of a text that repeats itself\n" for number in range(20_000))
    )
    (folder / "mixed").write_bytes(
        b"".join((b"%d" % number) * 900 for number in range(2_000)) + bytes(700_001)
    )
    for name in ALIKE:
        (folder / "alike").mkdir(exist_ok=True)
        (folder / "alike" / name).write_text(name)
    return folder


def tarred(folder: Path) -> Path:
    tar = folder.with_suffix(".tar")
    subprocess.run(
        ["tar", "-cf", tar, "-C", folder, "--sort=name", "--sparse", "--format=gnu", *OWNED, "."],
        check=True,
    )
    shutil.rmtree(folder)
    return tar


def _suse(folder: Path) -> Volume:
    uuid = UUID.format(1)
    fstab = ROOT_LINE.format(uuid, "defaults")
    for name in ("home", "var", ".snapshots"):
        fstab += f"UUID={uuid} /{name} btrfs subvol=/@/{name} 0 0\n"
    files = system(
        fstab,
        without=("var/", "etc/os-release", "usr/lib/os-release"),
        **{"etc/os-release": 'ID="sles"\nVERSION_ID="15.5"\n', "boot/grub2/grub.cfg": "menuentry"},
    )
    root = tarred(folder_of(files, folder / "suse"))
    var = tarred(folder_of({"lib/rpm/x": "var's own"}, folder / "suse-var"))
    one = "/@/.snapshots/1/snapshot"
    return Volume(
        devices=(folder / "suse.img",),
        options=("-U", uuid, "-L", "SUSE"),
        subvolumes=("/@", "/@/.snapshots", one, "/@/home", "/@/var"),
        contents=(Content(root, one), Content(var, "/@/var")),
        snapshots=((one, "/@/.snapshots/2/snapshot", True),),
        touched={f"{one}/etc/newer": b"written after the snapshot"},
        default=one,
    )


def _ubuntu(folder: Path) -> Volume:
    uuid = UUID.format(2)
    fstab = (
        ROOT_LINE.format(uuid, "defaults,subvol=@") + f"UUID={uuid} /home btrfs defaults,subvol=@home 0 2\n"
    )
    root = tarred(folder_of(system(fstab, **{"home/covered": "x"}), folder / "ubuntu"))
    home = tarred(folder_of({"eve/file": "at home"}, folder / "ubuntu-home"))
    return Volume(
        devices=(folder / "ubuntu.img",),
        options=("-U", uuid),
        subvolumes=("/a-first", "/@", "/@home", "/@/nested"),
        contents=(Content(root, "/a-first"), Content(root, "/@"), Content(home, "/@home")),
        snapshots=(("/@", "/timeshift/snapshots/1/@", True), ("/@", "/0-of-today", False)),
        touched={"/@/nested/file": b"in the nested one"},
    )


def volumes(folder: Path) -> list[Volume]:
    """All of them; the folder also keeps what they were filled with."""
    tar = tarred(source(folder / "source"))
    made = [
        Volume(
            devices=(folder / "compressed.img",),
            size=256 * btrfs.MIB,
            options=("-U", UUID.format(3), "-L", "bee tree"),
            contents=tuple(Content(tar, f"/{how}", "" if how == "none" else how) for how in COMPRESSIONS),
            allocated={"/allocated": 5 * btrfs.MIB},
        )
    ]
    for profile, count in PROFILES.items():
        metadata = "raid1" if profile == "raid5" else profile
        made.append(
            Volume(
                devices=tuple(folder / f"{profile}-{number}.img" for number in range(1, count + 1)),
                size=256 * btrfs.MIB,
                options=("-d", profile, "-m", metadata),
                contents=(Content(tar),),
            )
        )
    made += [
        Volume(devices=(folder / f"{csum}.img",), options=("--csum", csum), contents=(Content(tar),))
        for csum in CSUMS
    ]
    return [*made, _suse(folder), _ubuntu(folder)]


@cache
def made() -> Path:
    """The folder with all of them: NAME.img, PROFILE-NUMBER.img, and source.tar."""
    return btrfs.kept("btrfs-volumes", Path(__file__).read_text(), volumes)
