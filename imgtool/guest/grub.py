"""GRUB 2's configuration as the next ordinary boot would follow it: grub.cfg, grubenv, BLS entries.

The next boot is an ordinary one: a `next_entry` set for one boot only and a `recordfail` are left out.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.guest import bls, grub_test
from imgtool.guest.bootloader import BootEntry, BootLoader
from imgtool.guest.grub_devices import Devices
from imgtool.guest.grub_script import MOST_ENTRIES, Builtin, Entry, Run, ScriptError, parse
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.guest.tree import Tree

MOST_FILES = 30
LOOKUP = 40  # steps that asking the guest's filesystem counts for
LARGEST_CONFIG = 10 << 20  # bytes of one file, and characters of all together
_ONE_BOOT = ("next_entry", "recordfail", "prev_saved_entry")
_FEATURES = (
    "chainloader_bpb",
    "ntldr",
    "platform_search_hint",
    "default_font_path",
    "all_video_module",
    "menuentry_id",
    "menuentry_options",
    "200_final",
    "nativedisk_cmd",
    "timeout_style",
)


def parse_environment(text: str) -> dict[str, str]:
    """The variables of a grubenv block (1024 bytes, `name=value` lines, a backslash before \\ and
    newline)."""
    if not text.startswith("# GRUB Environment Block\n"):
        return {}
    body = re.sub(r"\\(.)", r"\1", text.partition("\n")[2], flags=re.DOTALL)
    pairs = (line.partition("=") for line in body.splitlines() if not line.startswith("#"))
    return {name: value for name, equals, value in pairs if equals}


def read(tree: Tree, disk: Disk, path: str, text: str | None = None) -> BootLoader:
    """Follow the grub.cfg at a path of the tree. Raises CannotRead for one that GRUB could not read.

    text: what it says, where the path is that of an archive which holds it.
    """
    return _Reading(tree, disk, path, text).loader()


class _Reading:
    def __init__(self, tree: Tree, disk: Disk, path: str, text: str | None = None) -> None:
        self.given = {path: text} if text is not None else {}
        self.tree = tree
        self.path = path
        self.devices = Devices(tree, disk)
        self.problems: list[Text] = []
        self.files = 0
        self.read = 0  # characters of scripts, all files together
        self.config = path  # the last one that was asked to make the menu
        self.entries: list[BootEntry] = []

    def loader(self) -> BootLoader:
        device, inside = self.devices.home(self.path)
        variables = {f"feature_{name}": "y" for name in _FEATURES}
        platform = "efi" if "/efi/" in self.path.lower() else "pc"
        variables |= {
            "grub_platform": platform,
            "grub_cpu": "x86_64" if platform == "efi" else "i386",
            "root": device,
            "prefix": f"({device}){inside.rpartition('/')[0]}",
            "cmdpath": f"({device}){inside.rpartition('/')[0]}",
        }
        commands: dict[str, Builtin] = {
            "[": self._test,
            "test": self._test,
            "search": self._search,
            "search.fs_uuid": self._search_old,
            "search.fs_label": self._search_old,
            "search.file": self._search_old,
            "load_env": self._load_env,
            "configfile": self._configfile,
            "source": self._source,
            ".": self._source,
            "blscfg": self._blscfg,
            "gptprio.next": self._gptprio,
        }
        run = Run(commands, variables, self.path)
        self._include(run, self.path)
        default = run.variables.get("default") or run.variables.get("saved_entry", "")
        if "default" not in run.variables:
            default = ""
        chosen = self._chosen(run, default)
        return BootLoader("grub2", self.config, tuple(self.entries), chosen, tuple(self.problems))

    def _chosen(self, run: Run, default: str) -> BootEntry | None:
        """Make every entry's facts, and find the one that `default` names."""
        tree = self._expanded(run, run.menu, "", 0)
        if not tree:
            return None
        chosen, level = None, tree
        for word in [*default.split(">"), ""] if ">" in default else [default]:
            picked = _pick(level, word)
            if picked is None:
                if word and chosen is None:
                    self.problems.append(
                        Text(
                            en=f"The default entry {word!r} is not in the menu; GRUB takes the first entry.",
                            zh=f"菜单中没有默认项 {word!r}；GRUB 将使用第一项。",
                        )
                    )
                picked = level[0]
            entry, made, below = picked
            chosen, level = made, below
            if not entry.submenu or not below:
                return chosen
        while level:  # a submenu by itself: its first entry
            chosen, level = level[0][1], level[0][2]
        return chosen

    def _expanded(self, run: Run, menu: list[Entry], above: str, depth: int) -> list[_Node]:
        nodes: list[_Node] = []
        for entry in menu:
            if len(self.entries) >= MOST_ENTRIES or depth > 8:
                break
            inner = run.inside(entry)
            title = above + entry.title
            if entry.submenu:
                below = self._expanded(inner, inner.menu, f"{title} > ", depth + 1)
                nodes.append((entry, below[0][1] if below else None, below))
                continue
            made = self._made(self._second_try(run, entry, inner), entry, title)
            self.entries.append(made)
            nodes.append((entry, made, []))
        return nodes

    def _second_try(self, run: Run, entry: Entry, first: Run) -> Run:
        """What GRUB starts after the first try has ended in a panic: Ubuntu's cloud images have the entry try
        without an initramfs first, and note `initrdfail=1` for the next boot, which gives one."""
        loaded = first.loaded
        panics = any(word.startswith("panic=") for word in loaded.arguments)
        if loaded.initrds or not panics or first.variables.get("initrdfail") != "1":
            return first
        before, run.variables = run.variables, first.variables
        second = run.inside(entry)
        run.variables = before
        return second if second.loaded.initrds else first

    def _made(self, run: Run, entry: Entry, title: str) -> BootEntry:
        loaded = run.loaded
        source = f"{entry.file}:{entry.line}" if entry.line else entry.file
        if not loaded.kernel:
            return BootEntry(title, None, (), "", entry.id, source)
        root = loaded.root
        return BootEntry(
            title=title,
            kernel=self.devices.place(loaded.kernel, root),
            initrds=tuple(self.devices.place(path, root) for path in loaded.initrds),
            arguments=" ".join(loaded.arguments),
            id=entry.id,
            source=source,
        )

    def _place(self, run: Run, path: str) -> str:
        return self.devices.place(path, run.variables.get("root", ""))

    def _include(self, run: Run, path: str) -> bool:
        self.files += 1
        if self.files > MOST_FILES:
            raise ScriptError(run.line, "too many files include each other", "相互包含的文件过多")
        text = self.given.get(path) or self.tree.text_if_there(path, LARGEST_CONFIG)
        if text is None:
            self.problems.append(
                Text(
                    en=f"{run.file}:{run.line} reads {path}, which is not there.",
                    zh=f"{run.file}:{run.line} 要读取的 {path} 不存在。",
                )
            )
            return False
        self.read += len(text)
        if self.read > LARGEST_CONFIG:
            raise ScriptError(run.line, "the files included are too large", "包含的文件过大")
        before, run.file = run.file, path
        try:
            return run.run(parse(text))
        except ScriptError as error:
            why = error.statement()
            raise CannotRead(Text(en=f"{run.file}: {why.en}", zh=f"{run.file}：{why.zh}")) from error
        finally:
            run.file = before

    def _test(self, run: Run, words: list[str]) -> bool:
        inner = words[1:-1] if words[0] == "[" and words[-1] == "]" else words[1:]
        return grub_test.evaluate(inner, lambda option, path: self._there(run, option, path))

    def _there(self, run: Run, option: str, path: str) -> bool:
        run.steps -= LOOKUP
        place = self._place(run, path)
        if option == "-d":
            return self.tree.is_dir(place)
        if option == "-e":
            return self.tree.exists(place)
        return self.tree.is_file(place) and (option == "-f" or self.tree.stat(place).size > 0)

    def _search(self, run: Run, words: list[str]) -> bool:
        option, variable, at = "", "root", 1
        plain: list[str] = []
        while at < len(words):
            word = words[at]
            if word in ("--fs-uuid", "-u"):
                option = "uuid"
            elif word in ("--label", "--fs-label", "-l"):
                option = "label"
            elif word in ("--file", "-f"):
                option = "file"
            elif word == "--part-label":  # of Container Linux's GRUB
                option = "part-label"
            elif word.startswith(("--set=", "-s=")):
                variable = word.partition("=")[2]
            elif word in ("--hint", "-h"):
                at += 1
            elif not word.startswith("-"):
                plain.append(word)
            at += 1
        if "--set" in words and len(plain) > 1:  # --set VARIABLE ... VALUE
            variable, *plain = plain
        return self._found(run, option, plain[0] if plain else "", variable)

    def _search_old(self, run: Run, words: list[str]) -> bool:
        option = {"search.fs_uuid": "uuid", "search.fs_label": "label"}.get(words[0], "file")
        value = words[1] if len(words) > 1 else ""
        return self._found(run, option, value, words[2] if len(words) > 2 else "root")

    def _found(self, run: Run, option: str, value: str, variable: str) -> bool:
        run.steps -= LOOKUP
        device = self.devices.search(option, value) if option and value else None
        if device is None:
            if option != "file" and variable in ("root", "dev", "boot", "prefix"):
                problem = Text(
                    en=f"{run.file}:{run.line} searches {option} {value}, which no volume of this disk has.",
                    zh=f"{run.file}:{run.line} 搜索的 {option} {value} 不在此磁盘的任何卷上。",
                )
                if problem not in self.problems and len(self.problems) < 20:
                    self.problems.append(problem)
            return False
        run.variables[variable] = device
        return True

    def _load_env(self, run: Run, words: list[str]) -> bool:
        path, names, at = "", [], 1
        while at < len(words):
            if words[at] in ("-f", "--file") and at + 1 < len(words):
                path = words[at + 1]
                at += 1
            elif words[at].startswith("--file="):
                path = words[at].partition("=")[2]
            elif not words[at].startswith("-"):
                names.append(words[at])
            at += 1
        run.steps -= LOOKUP
        place = self._place(run, path or f"{run.variables.get('prefix', '')}/grubenv")
        text = self.tree.text_if_there(place, 64 << 10)
        if text is None:
            return False
        for name, value in parse_environment(text).items():
            if name not in _ONE_BOOT and (not names or name in names):
                run.variables[name] = value
        return True

    def _configfile(self, run: Run, words: list[str]) -> bool:
        """Another menu takes this one's place; what the file sets stays, as far as it is exported: all of
        it."""
        if len(words) < 2:
            return False
        place = self._place(run, words[1])
        if self.tree.is_file(place):
            run.menu.clear()
            self.config = place
        return self._include(run, place)

    def _source(self, run: Run, words: list[str]) -> bool:
        return len(words) > 1 and self._include(run, self._place(run, words[1]))

    def _gptprio(self, run: Run, words: list[str]) -> bool:
        """Container Linux's choice among its /usr partitions: here the one that is mounted in the tree."""
        usr = self.tree.mounts.get("/usr")
        if usr is None or usr.partition is None:
            return False
        for option, variable in itertools.pairwise(words):
            if option == "-u":
                run.variables[variable] = usr.partition.uuid
            elif option == "-d":
                run.variables[variable] = self.devices.name_of(usr)
        return True

    def _blscfg(self, run: Run, words: list[str]) -> bool:
        device = run.variables.get("boot") or run.variables.get("root", "")
        asked = run.variables.get("blsdir")
        for inside in (asked,) if asked else ("/loader/entries", "/boot/loader/entries"):
            folder = self.devices.place(f"({device}){inside}", device)
            if self.tree.is_dir(folder):
                for entry in bls.read_entries(self.tree, folder, bls.grub_order):
                    run.add(Entry(entry.title, entry.id, parse(entry.script()), False, entry.path, 0))
                return True
        return False


_Node = tuple[Entry, "BootEntry | None", "list[_Node]"]


def _pick(level: list[_Node], word: str) -> _Node | None:
    """By number, then by identifier or title."""
    word = word.strip()
    if word.isascii() and word.isdigit() and len(word) < 6:
        return level[int(word)] if int(word) < len(level) else None
    if not word:
        return level[0]
    return next((node for node in level if word in (node[0].id, node[0].title)), None)
