"""cloud-init's configuration as cloud-init would merge it (cloudinit/util.py, read_conf_with_confd).

/etc/cloud/cloud.cfg first, then /etc/cloud/cloud.cfg.d/*.cfg by name; what comes later wins, mappings are
merged key by key. A file that is not YAML, or not a mapping, is warned of and ignored: so it is here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from imgtool.guest.filesystem import TooLarge
from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

STAGES = ("cloud_init_modules", "cloud_config_modules", "cloud_final_modules")
MAIN = "/etc/cloud/cloud.cfg"
FOLDER = "/etc/cloud/cloud.cfg.d"
DS_IDENTIFY = "/etc/cloud/ds-identify.cfg"
_LARGEST = 1 << 20  # bytes of one file
_LARGEST_SUM = 4 << 20  # bytes of all of them
_DEEPEST = 32
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})

Value = str | list[Any] | dict[str, Any] | None


class NotYaml(Exception):
    """The text is no YAML mapping; the message says where and why."""


@dataclass(frozen=True)
class Ignored:
    """A configuration file that cloud-init ignores."""

    path: str
    why: str


@dataclass(frozen=True)
class CloudConfig:
    """The merged settings, scalars as strings, and for each top-level key the "file:line" that set it.

    ignored: files that are no configuration. policy and datasource: of ds-identify.cfg, "" for nothing.
    """

    values: dict[str, Value]
    places: dict[str, str]
    ignored: tuple[Ignored, ...]
    policy: str
    datasource: str

    @property
    def datasource_list(self) -> tuple[str, ...] | None:
        """The data sources that are configured, in order; None when the built-in list counts."""
        if "datasource_list" not in self.values:
            return None
        value = self.values["datasource_list"]
        names = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        return tuple("None" if name is None else str(name) for name in names)

    @property
    def modules(self) -> dict[str, str]:
        """The modules that run, as cloud-init names them (set_passwords), each with its list."""
        found: dict[str, str] = {}
        for stage in STAGES:
            listed = self.values.get(stage)
            for item in listed if isinstance(listed, list) else ():
                found.setdefault(_module_name(item), stage)
        found.pop("", None)
        return found

    def runs(self, module: str) -> bool:
        """Whether a module is in one of the lists; dashes and underscores are the same."""
        return _module_name(module) in self.modules

    def flag(self, key: str, default: bool) -> bool:
        """A top-level setting that is yes or no (cloudinit/util.py, is_true)."""
        value = self.values.get(key)
        return default if value is None else str(value).strip().lower() in ("true", "1", "on", "yes")

    @property
    def default_user(self) -> str:
        """The account that cloud-init makes at the first boot; "" where it makes none."""
        users = self.values.get("users", "default")
        named = users if isinstance(users, list) else [users]
        if not any(user == "default" or (isinstance(user, str) and "default" in user) for user in named):
            return ""
        name = self._default_user.get("name")
        return name if isinstance(name, str) and self.runs("users-groups") else ""

    @property
    def default_groups(self) -> frozenset[str]:
        """The groups of that account."""
        groups = self._default_user.get("groups")
        names = groups.split(",") if isinstance(groups, str) else groups if isinstance(groups, list) else []
        return frozenset(name.strip() for name in names if isinstance(name, str))

    @property
    def _default_user(self) -> dict[str, Any]:
        system = self.values.get("system_info")
        user = system.get("default_user") if isinstance(system, dict) else None
        return user if isinstance(user, dict) else {}


def _module_name(item: Value) -> str:
    """An item of a list of modules: `ntp`, `[ntp, always]`, `{name: ntp}` (cloudinit/config/modules.py)."""
    if isinstance(item, dict):
        item = item.get("name")
    if isinstance(item, list):
        item = item[0] if item else None
    name = item.strip() if isinstance(item, str) else ""
    return name.replace("-", "_").removesuffix(".py").removeprefix("cc_")


def parse_mapping(text: str) -> tuple[dict[str, Value], dict[str, int]]:
    """A YAML mapping and the line of each of its top-level keys. Raises NotYaml.

    Reads events one by one: nesting is bounded, an alias stands for its anchor's value only where that is a
    scalar, and tags are not acted upon; so no text can make this slow or large.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    built = _Built()
    try:
        for event in yaml.parse(text, Loader=loader):
            line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.DocumentStartEvent):
                built.document(line)
            elif isinstance(event, yaml.ScalarEvent):
                built.scalar(event.value, not event.style, event.anchor, line)
            elif isinstance(event, yaml.AliasEvent):
                built.alias(event.anchor or "", line)
            elif isinstance(event, yaml.SequenceStartEvent):
                built.open([], event.anchor, line)
            elif isinstance(event, yaml.MappingStartEvent):
                built.open({}, event.anchor, line)
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                built.stack.pop()
    except yaml.YAMLError as error:
        raise NotYaml(_reason(error)) from error
    if built.top is None:
        return {}, {}
    if not isinstance(built.top, dict):
        raise NotYaml("it is no mapping of settings")
    return built.top, built.lines


class _Built:
    """A document as far as its events were seen."""

    def __init__(self) -> None:
        self.top: Value = None
        self.lines: dict[str, int] = {}
        self.stack: list[Value] = []
        self._keys: list[str | None] = []  # for each container of the stack: the key that waits for its value
        self._anchors: dict[str, Value] = {}
        self._documents = 0

    @property
    def stack_is_mapping(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1], dict)

    def document(self, line: int) -> None:
        self._documents += 1
        if self._documents > 1:
            raise NotYaml(f"line {line}: a second document")

    def scalar(self, value: str, plain: bool, anchor: str | None, line: int) -> None:
        as_key = self.stack_is_mapping and self._keys[-1] is None
        if as_key and len(self.stack) == 1:
            self.lines[value] = line
        self._put(None if plain and value in _NULLS and not as_key else value)
        if anchor:
            self._anchors[anchor] = value

    def alias(self, anchor: str, line: int) -> None:
        if anchor not in self._anchors:
            raise NotYaml(f"line {line}: alias *{anchor[:40]} of nothing")
        self._put(self._anchors[anchor])

    def open(self, container: Value, anchor: str | None, line: int) -> None:
        if len(self.stack) >= _DEEPEST:
            raise NotYaml(f"line {line}: nested too deeply")
        self._put(container)
        self.stack.append(container)
        del self._keys[len(self.stack) - 1 :]
        self._keys.append(None)
        if anchor:
            self._anchors[anchor] = None

    def _put(self, value: Value) -> None:
        if not self.stack:
            self.top = value
            return
        container = self.stack[-1]
        del self._keys[len(self.stack) :]
        if isinstance(container, list):
            container.append(value)
        elif isinstance(container, dict):
            key = self._keys[-1]
            if key is None:
                self._keys[-1] = value if isinstance(value, str) else ""
            else:
                container[key] = value
                self._keys[-1] = None


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    why = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    return f"line {mark.line + 1}: {why}" if mark is not None else str(why)


def read_cloud_config(tree: Tree) -> CloudConfig:
    """Read and merge the configuration. Raises CannotRead for files that can't be read or are too large."""
    values: dict[str, Value] = {}
    places: dict[str, str] = {}
    ignored: list[Ignored] = []
    left = _LARGEST_SUM
    folder = FOLDER
    paths = [MAIN] if tree.is_file(MAIN) else []
    seen_folder = False
    while paths or not seen_folder:
        if not paths:
            seen_folder = True
            paths = [path for path in reversed(_parts(tree, folder)) if tree.is_file(path)]
            continue
        path = paths.pop()
        text = tree.text(path, limit=_LARGEST)
        left -= len(text)
        if left < 0:
            raise TooLarge(
                Text(
                    en=f"{folder} holds more than {_LARGEST_SUM} bytes of settings.",
                    zh=f"{folder} 中的配置超过 {_LARGEST_SUM} 字节。",
                )
            )
        try:
            found, lines = parse_mapping(text)
        except NotYaml as error:
            ignored.append(Ignored(path, str(error)))
            continue
        _merge(values, found)
        places.update({key: f"{path}:{line}" for key, line in lines.items()})
        if path == MAIN and isinstance(found.get("conf_d"), str):
            folder = str(found["conf_d"])
    policy, datasource = _ds_identify(tree)
    return CloudConfig(values, places, tuple(ignored), policy, datasource)


def _parts(tree: Tree, folder: str) -> list[str]:
    if not folder.startswith("/") or not tree.is_dir(folder):
        return []
    return [f"{folder}/{name}" for name in tree.list(folder) if name.endswith(".cfg")]


def _merge(into: dict[str, Value], later: dict[str, Value]) -> None:
    for key, value in later.items():
        held = into.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            _merge(held, value)
        else:
            into[key] = value


def _ds_identify(tree: Tree) -> tuple[str, str]:
    """The policy and the one data source of ds-identify.cfg, lines "key: value" (tools/ds-identify)."""
    text = tree.text_if_there(DS_IDENTIFY, limit=_LARGEST) or ""
    found = dict(re.findall(r"^[ \t]*(policy|datasource)[ \t]*:[ \t]*([^#\n]*)", text, re.MULTILINE))
    return found.get("policy", "").strip(" \"'"), found.get("datasource", "").strip(" \"'")
