"""cloud-init in a guest: whether it is complete, whether the boot starts it, where it looks for its data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from imgtool.guest.python import Python, interpreter, normalised, pythons_with, read_python, shebang
from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.cloud_config import CloudConfig
    from imgtool.guest.services import Service, Services
    from imgtool.guest.tree import Tree

ENTRIES = (
    "/usr/bin/cloud-init",
    "/usr/local/bin/cloud-init",
    "/bin/cloud-init",
    "/opt/cloud-init/bin/cloud-init",
)
COREOS_ENTRIES = ("/usr/bin/coreos-cloudinit", "/usr/share/oem/bin/coreos-cloudinit")
UNIT = "cloud-init-local.service"
DISABLED_FILE = "/etc/cloud/cloud-init.disabled"
ENABLED_FILE = "/etc/cloud/cloud-init.enabled"
UPGRADED = "/var/lib/cloud/data/upgraded-network"
_LIMIT = 1 << 20

# The modules without which `cloud-init init --local` ends in an ImportError, since and until which version
# (imports of cloudinit/{util,safeyaml,url_helper,net/sysconfig,handlers/cloud_config,templater}.py).
_NEEDS = (
    ("yaml", (0, 0), (99, 0)),
    ("requests", (0, 7), (99, 0)),
    ("configobj", (0, 7), (99, 0)),
    ("jsonpatch", (17, 0), (99, 0)),
    ("jinja2", (17, 0), (99, 0)),
    ("six", (0, 7, 7), (20, 0)),
    ("prettytable", (0, 7), (18, 0)),
)


@dataclass(frozen=True)
class CloudInit:
    """What of cloud-init is installed.

    entry: the program that the units start; first_line: its first line after `#!`; interpreter: the program
    that runs it, "" where that is not there; python: that program's Python, None for another kind of program;
    package: the folder of the `cloudinit` package in that Python; elsewhere: in other Pythons; missing: the
    modules that it needs and can't import; version: "" where not known.
    """

    kind: Literal["cloud-init", "coreos-cloudinit", "none"]
    entry: str = ""
    executable: bool = True
    first_line: str = ""
    interpreter: str = ""
    python: Python | None = None
    package: str = ""
    elsewhere: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    version: str = ""

    @property
    def complete(self) -> bool:
        """It can run, as far as its files tell."""
        if self.kind == "coreos-cloudinit" or (self.entry and not self.first_line):
            return self.executable
        return bool(self.entry and self.executable and self.interpreter and self.package and not self.missing)


def read_cloud_init(tree: Tree) -> CloudInit:
    """Look for cloud-init. Raises GuestReadFailed."""
    entry = next((path for path in ENTRIES if tree.is_file(path)), "") or _started(tree)
    if not entry:
        other = next((path for path in COREOS_ENTRIES if tree.is_file(path)), "")
        if other:
            return CloudInit("coreos-cloudinit", other)
        return CloudInit("none", elsewhere=pythons_with(tree, "cloudinit"))
    executable = bool(tree.stat(entry).mode & 0o111)
    with tree.open(entry) as file:
        start = file.read(64 << 10)
    words = shebang(start)
    if words is None:
        return CloudInit("cloud-init", entry, executable)
    first_line = " ".join(words)
    program = interpreter(tree, words) or ""
    if not program:
        return CloudInit(
            "cloud-init", entry, executable, first_line, elsewhere=pythons_with(tree, "cloudinit")
        )
    python = read_python(tree, program)
    package = python.find(tree, "cloudinit") if python else None
    if package is None:
        elsewhere = pythons_with(tree, "cloudinit")
        if python is None and elsewhere:  # a wrapper script, or a Python of unknown version: any will do
            return CloudInit(
                "cloud-init", entry, executable, first_line, program, None, elsewhere[0], elsewhere
            )
        return CloudInit("cloud-init", entry, executable, first_line, program, python, "", elsewhere)
    assert python is not None  # noqa: S101 - package is only found in one
    version = _version(tree, package)
    return CloudInit(
        kind="cloud-init",
        entry=entry,
        executable=executable,
        first_line=first_line,
        interpreter=program,
        python=python,
        package=package,
        missing=_missing(tree, python, package, version, start),
        version=version,
    )


def _started(tree: Tree) -> str:
    """The program that the first unit starts, for a cloud-init at an unusual place."""
    for folder in ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"):
        text = tree.text_if_there(f"{folder}/{UNIT}", limit=_LIMIT) or ""
        for line in re.findall(r"^ExecStart=[-@:+!]*(/\S*cloud-init)\b", text, re.MULTILINE):
            if tree.is_file(line):
                return str(line)
    return ""


def _version(tree: Tree, package: str) -> str:
    text = tree.text_if_there(f"{package}/version.py", limit=_LIMIT) or ""
    for pattern in (
        r'^_PACKAGED_VERSION\s*=\s*["\']([^"\'@]+)',
        r'^__VERSION__\s*=\s*["\']([^"\']+)',
        r'StrictVersion\(["\']([^"\']+)',
    ):
        found = re.search(pattern, text, re.MULTILINE)
        if found:
            return found[1]
    return ""


def _missing(tree: Tree, python: Python, package: str, version: str, script: bytes) -> tuple[str, ...]:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3]) or (0, 0)
    modules = [name for name, since, until in _NEEDS if since <= numbers < until]
    missing = [name for name in modules if not python.has(tree, name)]
    if b"pkg_resources" in script and b"importlib" not in script:
        # such a script refuses to start unless every requirement's metadata is there (ref 11, case 1)
        there = python.distributions(tree)
        missing += [name for name in _requirements(tree, package) if normalised(name) not in there]
    return tuple(dict.fromkeys(missing))


def _requirements(tree: Tree, package: str) -> list[str]:
    """The distributions that cloud-init's own metadata asks for, its extras left out."""
    folder = package.rsplit("/", 1)[0]
    paths = tree.glob(f"{folder}/cloud_init*.egg-info/requires.txt") or tree.glob(
        f"{folder}/EGG-INFO/requires.txt"
    )
    text = (tree.text_if_there(paths[0], limit=_LIMIT) or "") if paths else ""
    names: list[str] = []
    for line in text.splitlines():
        if line.startswith("["):
            break
        found = re.match(r"[A-Za-z0-9][\w.-]*", line.strip())
        if found:
            names.append(found[0])
    return names


@dataclass(frozen=True)
class Disabled:
    """One thing that keeps cloud-init from starting. what: its kind; proof: the file, unit or argument."""

    what: Literal["file", "argument", "policy", "unit", "masked", "missing"]
    name: str
    proof: str


def stages(services: Services) -> tuple[str, ...]:
    """The services that make up cloud-init under this guest's init system, in the order of the boot.

    Since version 24.3 cloud-init.service is called cloud-init-network.service, and cloud-init-main.service
    runs them all.
    """
    if services.init != "systemd":
        return ("cloud-init-local", "cloud-init", "cloud-config", "cloud-final")
    network = "cloud-init-network" if services.unit_path("cloud-init-network.service") else "cloud-init"
    main = ("cloud-init-main",) if services.unit_path("cloud-init-main.service") else ()
    return (*main, "cloud-init-local", network, "cloud-config", "cloud-final")


def service_states(services: Services) -> tuple[Service, ...]:
    """The state of each stage."""
    return tuple(services.find(name) for name in stages(services))


def what_disables(tree: Tree, services: Services, arguments: str, config: CloudConfig) -> list[Disabled]:
    """Everything that keeps cloud-init from starting; empty when the boot starts it.

    arguments: the kernel command line. Order of the answers: what switches all of it off comes first.
    """
    words = arguments.split()
    spoken = [word.partition("=")[2] for word in words if word.startswith("cloud-init=")]
    found: list[Disabled] = []
    if spoken and spoken[-1] == "disabled":
        found.append(Disabled("argument", "cloud-init=disabled", "cloud-init=disabled"))
    elif (
        not (spoken and spoken[-1] == "enabled")
        and tree.exists(DISABLED_FILE)
        and not tree.exists(ENABLED_FILE)
    ):
        found.append(Disabled("file", DISABLED_FILE, DISABLED_FILE))
    spoken = [word for word in words if word.startswith("ci.di.policy=")]
    policy = spoken[-1].partition("=")[2] if spoken else config.policy
    if policy.split(",")[0].strip() == "disabled":
        if spoken:
            found.append(Disabled("argument", spoken[-1], spoken[-1]))
        else:
            found.append(Disabled("policy", "ds-identify", f"/etc/cloud/ds-identify.cfg: policy: {policy}"))
    for state in service_states(services):
        if state.starts:
            continue
        if (
            state.state == "missing"
            and state.name.startswith("cloud-init-local")
            and services.init != "systemd"
        ):
            continue  # SysV packages of cloud-init before 0.7.5 have no such script
        what: Literal["masked", "missing", "unit"] = (
            "masked" if state.state == "masked" else "missing" if state.state == "missing" else "unit"
        )
        found.append(Disabled(what, state.name, state.proof))
    return found


def network_disabled(tree: Tree, arguments: str, config: CloudConfig) -> str:
    """What keeps cloud-init from configuring the network, "file:line: setting", a file or an argument; ""
    for nothing.

    (cloudinit/stages.py, _find_networking_config: a file that old packages' upgrades left, then the kernel
    command line, then the system's settings.)
    """
    if tree.exists(UPGRADED):
        return UPGRADED
    spoken = [word for word in arguments.split() if word.startswith("network-config=")]
    if spoken:
        return spoken[-1] if spoken[-1] == "network-config=disabled" else ""
    network = config.values.get("network")
    if isinstance(network, dict) and network.get("config") == "disabled":
        return f"{config.places.get('network', '/etc/cloud')}: network: {{config: disabled}}"
    return ""


def builtin_datasources(tree: Tree, package: str) -> tuple[str, ...] | None:
    """The list that counts when none is configured: CFG_BUILTIN in the package's settings.py."""
    text = tree.text_if_there(f"{package}/settings.py", limit=64 << 10) if package else None
    found = re.search(r"""["']datasource_list["']\s*:\s*\[([^\]]*)\]""", text or "")
    if found is None:
        return None
    listed = re.sub(r"#[^\n]*", "", found[1])
    return tuple(re.findall(r"""["']([^"']+)["']""", listed))


def forced_datasource(arguments: str, config: CloudConfig) -> tuple[str, str] | None:
    """(name, where it is said) of the data source that the kernel command line or ds-identify.cfg forces."""
    arguments = arguments[:4096]  # the kernel keeps no more
    for word in arguments.split():
        key, _, value = word.partition("=")
        if key in ("ds", "ci.ds", "ci.datasource") and value:
            name = re.split(r"[;,:]", value)[0]
            return _spelled(name), word
    inline = re.search(r"cc:.*?datasource_list\W+\[([^\]]*)\]", arguments)
    if inline:
        names = re.findall(r"\w+", inline[1])
        if names and "ConfigDrive" not in names:
            return names[0], inline[0]
    if config.datasource:
        return config.datasource, f"/etc/cloud/ds-identify.cfg: datasource: {config.datasource}"
    return None


def _spelled(name: str) -> str:
    """A data source as cloud-init's modules are called; the command line takes it in any case."""
    lowered = name.lower()
    known = {"configdrive": "ConfigDrive", "nocloud": "NoCloud", "nocloud-net": "NoCloud", "ec2": "Ec2"}
    return known.get(lowered, name)
