"""Where linux.virtio.kernel takes its evidence from: four sources, however packed, named and placed."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from imgtool.checks.virtio import in_kernel

from tests.checks.boot_guest import CONFIG, MODULES, V, guest_image, kernel_files, levels, only, path_of
from tests.guest.memory_tree import Link
from tests.guest.test_compression import packed
from tests.guest.test_kernels import bzimage

CONFIG_PATH = f"/boot/config-{V}"
FOLDER = f"/lib/modules/{V}"
NOTHING: dict[str, Any] = {
    CONFIG_PATH: None,
    f"{FOLDER}/modules.dep": None,
    f"{FOLDER}/modules.builtin": None,
    **{f"/{path_of(name)}": None for name in MODULES},
}
BUILTIN = "".join(f"kernel/{MODULES[name]}/{name}.ko\n" for name in MODULES)
PATHS = [f"kernel/{MODULES[name]}/{name}.ko" for name in MODULES]


def inside(config: str, compression: str = "zstd") -> bytes:
    """A kernel with its configuration in it (CONFIG_IKCONFIG)."""
    held = bytes(1 << 20) + b"IKCFG_ST" + gzip.compress(config.encode()) + b"IKCFG_ED" + bytes(4096)
    return bzimage(V, payload=packed(compression, held))


def modules(suffix: str, dashes: bool = False, folder: str = FOLDER) -> dict[str, Any]:
    """Every virtio module as a file, with modules.dep and modules.builtin but no configuration."""
    paths = [path.replace("_", "-") if dashes else path for path in PATHS]
    return {
        f"{folder}/modules.dep": "".join(f"{path}{suffix}:\n" for path in paths),
        f"{folder}/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
        **{f"{folder}/{path}{suffix}": b"\x7fELF" for path in paths},
    }


SOURCES: dict[str, tuple[dict[str, Any], str]] = {
    "configuration in /boot": (
        {CONFIG_PATH: CONFIG.replace("=m", "=y")},
        f"{CONFIG_PATH}: CONFIG_VIRTIO_BLK=y",
    ),
    "configuration beside the modules": (
        {f"{FOLDER}/config": CONFIG.replace("=m", "=y")},
        f"{FOLDER}/config: CONFIG_VIRTIO_BLK=y",
    ),
    "modules.builtin": ({f"{FOLDER}/modules.builtin": BUILTIN}, f"{FOLDER}/modules.builtin: virtio_blk"),
    "modules.builtin with dashes": (
        {f"{FOLDER}/modules.builtin": BUILTIN.replace("_", "-")},
        f"{FOLDER}/modules.builtin: virtio_blk",
    ),
    **{
        f"module files {suffix or 'plain'}": (modules(suffix), f"{FOLDER}/{PATHS[0]}{suffix}")
        for suffix in ("", ".xz", ".zst", ".gz")
    },
    "module files with dashes": (modules(".xz", dashes=True), f"{FOLDER}/{PATHS[0].replace('_', '-')}.xz"),
    "module files alone": (
        {path: it for path, it in modules(".zst").items() if "modules." not in path},
        f"{FOLDER}/{PATHS[0]}.zst",
    ),
    "module files in a merged /usr": (
        {**modules("", folder=f"/usr/lib/modules/{V}"), "/lib": Link("usr/lib")},
        f"{FOLDER}/{PATHS[0]}",
    ),
    "module files in /usr/lib alone": (
        modules(".xz", folder=f"/usr/lib/modules/{V}"),
        f"/usr/lib/modules/{V}/{PATHS[0]}.xz",
    ),
    **{
        f"configuration inside the kernel, {name}": (
            {f"/boot/vmlinuz-{V}": inside(CONFIG.replace("=m", "=y"), name)},
            f"/boot/vmlinuz-{V} (CONFIG_IKCONFIG): CONFIG_VIRTIO_BLK=y",
        )
        for name in ("gzip", "xz", "zstd", "lz4")
    },
}


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_alone_proves_the_drivers(source: str) -> None:
    files, evidence = SOURCES[source]
    outcome = only(in_kernel, guest_image({**NOTHING, **files}))
    assert outcome.kind == "kept"
    assert outcome.evidence[0] == evidence


ABSENT = {
    "configuration in /boot": {CONFIG_PATH: "CONFIG_EXT4_FS=y\n# CONFIG_VIRTIO_BLK is not set\n"},
    "configuration inside the kernel": {f"/boot/vmlinuz-{V}": inside("CONFIG_EXT4_FS=y\n")},
    "complete lists": {
        f"{FOLDER}/modules.dep": "kernel/x.ko:\n",
        f"{FOLDER}/modules.builtin": "kernel/y.ko\n",
    },
    "configured as modules that are not there": {
        CONFIG_PATH: CONFIG,
        f"{FOLDER}/modules.dep": "kernel/x.ko:\n",
    },
    "listed as other files than are there": {
        **modules(".xz"),
        f"{FOLDER}/modules.dep": "".join(f"{path}:\n" for path in PATHS),
    },
}


@pytest.mark.parametrize("source", ABSENT)
def test_each_source_can_prove_that_there_are_none(source: str) -> None:
    assert levels(in_kernel, guest_image({**NOTHING, **ABSENT[source]})) == ["error"]


UNTOLD = {
    "nothing at all": {f"{FOLDER}/kernel/x.ko": b"x"},
    "only a list of modules": {f"{FOLDER}/modules.dep": "kernel/x.ko:\n"},
    "only a list of what is built in": {f"{FOLDER}/modules.builtin": "kernel/y.ko\n"},
    "a configuration that is none": {CONFIG_PATH: "\x00\x01", f"{FOLDER}/kernel/x.ko": b"x"},
}


@pytest.mark.parametrize("source", UNTOLD)
def test_half_the_evidence_proves_nothing(source: str) -> None:
    assert levels(in_kernel, guest_image({**NOTHING, **UNTOLD[source]})) == ["undecided"]


def test_a_module_of_another_kernel_is_no_evidence() -> None:
    other = kernel_files("5.10.0-8-amd64")
    files = {path: content for path, content in other.items() if "/modules/" in path}
    assert levels(in_kernel, guest_image({**NOTHING, f"{FOLDER}/kernel/x.ko": b"x", **files})) == [
        "undecided"
    ]
