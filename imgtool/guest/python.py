"""The Pythons of a guest: which program a script runs under, and which modules that one can import."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

_SEARCH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_MOST_PTH = 64
_LIMIT = 1 << 20


@dataclass(frozen=True)
class Python:
    """One interpreter. version: "3.11"; folders: where it looks for modules (site, `site.py` of CPython)."""

    path: str
    version: str
    folders: tuple[str, ...]

    def has(self, tree: Tree, module: str) -> bool:
        """Whether the top-level module or package can be imported."""
        return self.find(tree, module) is not None

    def find(self, tree: Tree, module: str) -> str | None:
        """The path of a top-level module or package in this Python's folders."""
        for folder in self.folders:
            for name in (module, f"{module}.py", f"{module}.pyc"):
                if tree.exists(f"{folder}/{name}"):
                    return f"{folder}/{name}"
        for folder in self.folders:  # compiled ones are few, and looking for them means listing folders
            compiled = tree.glob(f"{folder}/{module}.*.so") or tree.glob(f"{folder}/{module}.so")
            if compiled:
                return compiled[0]
        return None

    def distributions(self, tree: Tree) -> frozenset[str]:
        """The distributions that pkg_resources would find, by normalised name."""
        names: set[str] = set()
        for folder in self.folders:
            for name in tree.list(folder) if tree.is_dir(folder) else ():
                found = re.match(r"(.+?)(?:-[0-9][^/]*)?\.(?:egg-info|dist-info|egg)$", name)
                if found:
                    names.add(normalised(found[1]))
            inner = re.match(r".*/([^/]+?)-[0-9][^/]*\.egg$", folder)
            if inner:
                names.add(normalised(inner[1]))
        return frozenset(names)


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def shebang(start: bytes) -> list[str] | None:
    """The words of a script's first line after `#!`; None for what is no script."""
    if not start.startswith(b"#!"):
        return None
    line = start[2:258].split(b"\n", 1)[0].decode("utf-8", "replace").strip(" \t")
    return [word for word in re.split(r"[ \t]+", line) if word]  # a carriage return is a part of the name


def interpreter(tree: Tree, words: list[str]) -> str | None:
    """The path of the program that a script's first line names, looked up as env(1) would; None if absent."""
    if not words:
        return None
    program = words[0]
    if program.endswith("/env") and len(words) > 1:
        named = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
        program = next((f"{folder}/{named}" for folder in _SEARCH if tree.is_file(f"{folder}/{named}")), "")
    return program if program.startswith("/") and tree.is_file(program) else None


def read_python(tree: Tree, path: str) -> Python | None:
    """The Python at `path`; None when the program is no Python, or its version can't be told."""
    real = tree.realpath(path)
    if "python" not in real.rsplit("/", 1)[1]:
        return None
    version = _version(tree, real)
    if version is None:
        return None
    prefixes = list(dict.fromkeys(_prefix(program) for program in (path, real)))
    folders: list[str] = []
    for prefix in prefixes:
        folders += _folders(prefix, version)
    folders = list(dict.fromkeys(folder for folder in folders if tree.is_dir(folder)))
    return Python(real, version, tuple(dict.fromkeys([*folders, *_linked(tree, folders)])))


def pythons_with(tree: Tree, module: str) -> tuple[str, ...]:
    """Where a package is, whichever Python it belongs to."""
    patterns = (
        "/usr/lib*/python*/*-packages",
        "/usr/local/lib*/python*/*-packages",
        "/opt/*/lib/python*/*-packages",
    )
    found = [path for pattern in patterns for path in tree.glob(f"{pattern}/{module}")]
    return tuple(found + [path for pattern in patterns for path in tree.glob(f"{pattern}/*.egg/{module}")])


def _version(tree: Tree, real: str) -> str | None:
    found = re.search(r"python(\d+\.\d+)", real.rsplit("/", 1)[1])
    if found:
        return found[1]
    libraries = [
        match[1]
        for path in tree.glob(f"{_prefix(real)}/lib*/python[0-9].[0-9]*")
        if (match := re.search(r"/python(\d+\.\d+)$", path))
    ]
    major = re.search(r"python(\d)", real.rsplit("/", 1)[1])
    fitting = [version for version in libraries if major is None or version.startswith(major[1] + ".")]
    return fitting[0] if len(set(fitting)) == 1 else None


def _prefix(program: str) -> str:
    """/usr for /usr/bin/python3, /usr/libexec/platform-python and /bin/python."""
    return program.rsplit("/", 2)[0] or "/usr"


def _folders(prefix: str, version: str) -> list[str]:
    """Debian's and everyone else's folders for modules, and the standard library."""
    places = [prefix] if prefix == "/usr/local" else [f"{prefix}/local", prefix]
    folders = [
        f"{place}/{library}/python{version}/{name}"
        for place in places
        for library in ("lib", "lib64")
        for name in ("site-packages", "dist-packages")
    ]
    return [
        *folders,
        f"{prefix}/lib/python{version.partition('.')[0]}/dist-packages",
        f"{prefix}/lib/python{version}",
        f"{prefix}/lib64/python{version}",
    ]


def _linked(tree: Tree, folders: list[str]) -> list[str]:
    """What .pth files add, and egg folders."""
    found: list[str] = []
    for folder in folders:
        if not folder.endswith("-packages"):
            continue
        found += [path for path in tree.glob(f"{folder}/*.egg") if tree.is_dir(path)]
        for pth in tree.glob(f"{folder}/*.pth")[:_MOST_PTH]:
            for line in (tree.text_if_there(pth, limit=_LIMIT) or "").splitlines()[:_MOST_PTH]:
                place = line.strip()
                if not place or place.startswith(("#", "import ", "import\t")):
                    continue
                path = place if place.startswith("/") else f"{folder}/{place.removeprefix('./')}"
                if tree.is_dir(path):
                    found.append(path)
    return found
