from __future__ import annotations

from typing import Any

import pytest

from imgtool.guest.cloud_config import CloudConfig
from imgtool.guest.cloud_init import (
    CloudInit,
    Disabled,
    builtin_datasources,
    forced_datasource,
    read_cloud_init,
    stages,
    what_disables,
)
from imgtool.guest.services import read_services
from tests.guest.owned_tree import Link, OwnedTree, elf

PY3 = {
    "/usr/bin/python3": Link("python3.11"),
    "/usr/bin/python3.11": elf(0x3E),
    "/usr/lib/python3.11/os.py": "",
}
DIST = "/usr/lib/python3/dist-packages"
MODULES = ("yaml", "requests", "configobj", "jsonpatch", "jinja2")
PACKAGE = {
    "/usr/bin/cloud-init": "#!/usr/bin/python3\n",
    f"{DIST}/cloudinit/__init__.py": "",
    f"{DIST}/cloudinit/version.py": '__VERSION__ = "22.4.2"\n_PACKAGED_VERSION = "@@PACKAGED_VERSION@@"\n',
}
NEEDED = {f"{DIST}/{name}/__init__.py": "" for name in MODULES}
WHOLE: dict[str, Any] = {**PY3, **PACKAGE, **NEEDED}


def read(files: dict[str, Any], owned: dict[str, tuple[int, int, int]] | None = None) -> CloudInit:
    return read_cloud_init(OwnedTree(files, owned))  # type: ignore[arg-type]


def test_a_whole_installation_is_complete() -> None:
    facts = read(WHOLE)
    assert facts.complete
    assert (facts.version, facts.interpreter, facts.package) == (
        "22.4.2",
        "/usr/bin/python3",
        f"{DIST}/cloudinit",
    )


def test_without_the_program_there_is_none() -> None:
    assert read(PY3).kind == "none"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_was_removed_is_missing(module: str) -> None:
    facts = read({path: content for path, content in WHOLE.items() if f"/{module}/" not in path})
    assert facts.missing == (module,)
    assert not facts.complete


def test_modules_may_be_single_files_or_compiled() -> None:
    files = {
        path: content for path, content in WHOLE.items() if "/configobj/" not in path and "/yaml/" not in path
    }
    files |= {
        f"{DIST}/configobj.py": "",
        "/usr/lib/python3.11/yaml.cpython-311-x86_64-linux-gnu.so": elf(0x3E),
    }
    assert read(files).complete


def test_the_interpreter_may_be_gone() -> None:
    facts = read({path: content for path, content in WHOLE.items() if path != "/usr/bin/python3.11"})
    assert (facts.interpreter, facts.complete) == ("", False)


def test_python_pointed_at_another_python_has_no_cloudinit() -> None:
    facts = read(
        {
            "/usr/bin/cloud-init": "#!/usr/bin/python\n",
            "/usr/bin/python": Link("python3.6"),
            "/usr/bin/python3.6": elf(0x3E),
            "/usr/bin/python2.7": elf(0x3E),
            "/usr/lib/python3.6/site-packages/yaml/__init__.py": "",
            "/usr/lib/python2.7/site-packages/cloudinit/__init__.py": "",
        }
    )
    assert facts.package == ""
    assert facts.elsewhere == ("/usr/lib/python2.7/site-packages/cloudinit",)
    assert facts.python is not None
    assert facts.python.version == "3.6"


def test_a_requirement_without_metadata_stops_a_pkg_resources_script() -> None:
    site = "/usr/lib/python2.7/site-packages"
    files: dict[str, Any] = {
        "/usr/bin/cloud-init": "#!/usr/bin/python2\nfrom pkg_resources import load_entry_point\n",
        "/usr/bin/python2": Link("python2.7"),
        "/usr/bin/python2.7": elf(0x3E),
        f"{site}/cloudinit/__init__.py": "",
        f"{site}/cloudinit/version.py": "__VERSION__ = '0.7.9'",
        f"{site}/cloud_init-0.7.9-py2.7.egg-info/requires.txt": "six\nPyYAML\nrequests>=1\n\n[x]\nnose\n",
        f"{site}/yaml/__init__.py": "",
        f"{site}/six.py": "",
        f"{site}/six-1.9.0-py2.7.egg-info": "",
        f"{site}/requests/__init__.py": "",
        f"{site}/requests-2.6.0.dist-info/METADATA": "",
        f"{site}/configobj.py": "",
        f"{site}/prettytable.py": "",
    }
    assert read(files).missing == ("PyYAML",)
    files[f"{site}/PyYAML-3.10-py2.7.egg-info"] = ""
    assert read(files).complete


def test_the_platform_python_of_rhel_8_has_its_own_name() -> None:
    files: dict[str, Any] = {
        "/usr/bin/cloud-init": "#!/usr/libexec/platform-python -s\n",
        "/usr/libexec/platform-python": Link("platform-python3.6"),
        "/usr/libexec/platform-python3.6": elf(0x3E),
        "/usr/lib/python3.6/site-packages/cloudinit/version.py": '__VERSION__ = "23.4"',
        "/usr/lib64/python3.6/site-packages/yaml/__init__.py": "",
    }
    files |= {
        f"/usr/lib/python3.6/site-packages/{name}/__init__.py": "" for name in MODULES if name != "yaml"
    }
    assert read(files).complete


def test_env_finds_the_interpreter_on_the_path() -> None:
    facts = read({**WHOLE, "/usr/bin/cloud-init": "#!/usr/bin/env python3\n"})
    assert facts.interpreter == "/usr/bin/python3"


def test_a_virtual_environment_and_an_egg_are_searched() -> None:
    venv: dict[str, Any] = {
        "/usr/local/bin/cloud-init": "#!/opt/ci/bin/python3\n",
        "/opt/ci/bin/python3": Link("/usr/bin/python3.11"),
        "/usr/bin/python3.11": elf(0x3E),
    }
    site = "/opt/ci/lib/python3.11/site-packages"
    venv |= {f"{site}/cloud_init-1.egg/cloudinit/version.py": '__VERSION__ = "23.1"'}
    venv |= {f"{site}/{name}/__init__.py": "" for name in MODULES}
    assert read(venv).complete


def test_a_program_that_nobody_may_execute_does_not_run() -> None:
    assert not read(WHOLE, {"/usr/bin/cloud-init": (0o644, 0, 0)}).complete


def test_a_shell_wrapper_is_believed_when_some_python_has_the_package() -> None:
    wrapper = {"/usr/bin/cloud-init": "#!/bin/sh\nexec /opt/x\n", "/bin/sh": elf(0x3E)}
    assert read({**WHOLE, **wrapper}).complete
    assert not read(wrapper).complete


def test_container_linux_has_a_program_of_its_own() -> None:
    assert read({"/usr/bin/coreos-cloudinit": elf(0x3E)}).kind == "coreos-cloudinit"


UNITS = ("cloud-init-local", "cloud-init", "cloud-config", "cloud-final")
SYSTEMD: dict[str, Any] = {
    "/sbin/init": Link("/lib/systemd/systemd"),
    "/lib/systemd/systemd": elf(0x3E),
    "/etc/machine-id": "0" * 32,
    "/lib/systemd/system-generators/cloud-init-generator": "#!/bin/sh",
    "/lib/systemd/system/cloud-init.target": "",
    **{f"/lib/systemd/system/{unit}.service": "[Unit]" for unit in UNITS},
    **{
        f"/etc/systemd/system/cloud-init.target.wants/{unit}.service": Link(
            f"/lib/systemd/system/{unit}.service"
        )
        for unit in UNITS
    },
}
NOTHING = CloudConfig({}, {}, (), "", "")


def disabled(files: dict[str, Any], arguments: str = "", config: CloudConfig = NOTHING) -> list[Disabled]:
    tree: Any = OwnedTree(files)
    return what_disables(tree, read_services(tree), arguments, config)


def test_debians_installation_starts() -> None:
    assert disabled(SYSTEMD) == []


def test_without_the_generator_nothing_reaches_the_target() -> None:
    files = {path: content for path, content in SYSTEMD.items() if "generator" not in path}
    assert {reason.what for reason in disabled(files)} == {"unit"}


def test_one_unit_that_is_not_enabled_is_named() -> None:
    path = "/etc/systemd/system/cloud-init.target.wants/cloud-config.service"
    found = disabled({name: content for name, content in SYSTEMD.items() if name != path})
    assert [(reason.what, reason.name) for reason in found] == [("unit", "cloud-config.service")]


def test_a_masked_unit_is_named() -> None:
    found = disabled({**SYSTEMD, "/etc/systemd/system/cloud-init.service": Link("/dev/null")})
    assert [(reason.what, reason.name) for reason in found] == [("masked", "cloud-init.service")]


OFF = "/etc/cloud/cloud-init.disabled"


@pytest.mark.parametrize(
    ("files", "arguments", "kinds"),
    [
        ({OFF: ""}, "", ["file"]),
        ({OFF: ""}, "quiet cloud-init=enabled", []),
        ({OFF: "", "/etc/cloud/cloud-init.enabled": ""}, "", []),
        ({}, "ro cloud-init=disabled quiet", ["argument"]),
        ({}, "cloud-init=disabled cloud-init=enabled", []),
        ({}, "x.cloud-init=disabled", []),
        ({}, "ci.di.policy=disabled", ["argument"]),
    ],
)
def test_what_switches_all_of_it_off(files: dict[str, Any], arguments: str, kinds: list[str]) -> None:
    assert [reason.what for reason in disabled({**SYSTEMD, **files}, arguments)] == kinds


def test_ds_identify_may_switch_it_off() -> None:
    assert disabled(SYSTEMD, "", CloudConfig({}, {}, (), "disabled", ""))[0].what == "policy"
    assert disabled(SYSTEMD, "", CloudConfig({}, {}, (), "search,notfound=disabled", "")) == []


def test_since_24_3_the_network_stage_has_another_name() -> None:
    files = {
        **SYSTEMD,
        "/lib/systemd/system/cloud-init-network.service": "",
        "/lib/systemd/system/cloud-init-main.service": "",
    }
    assert stages(read_services(OwnedTree(files))) == (  # type: ignore[arg-type]
        "cloud-init-main",
        "cloud-init-local",
        "cloud-init-network",
        "cloud-config",
        "cloud-final",
    )


def test_centos_6_starts_it_by_sysv_links() -> None:
    files: dict[str, Any] = {
        "/sbin/init": elf(0x3E),
        "/sbin/initctl": elf(0x3E),
        "/etc/init/rc.conf": "start on x",
    }
    for unit in UNITS:
        files[f"/etc/init.d/{unit}"] = "#!/bin/sh"
        files[f"/etc/rc.d/rc3.d/S50{unit}"] = Link(f"../init.d/{unit}")
    assert disabled({**files, "/etc/inittab": "id:3:initdefault:"}) == []
    del files["/etc/rc.d/rc3.d/S50cloud-final"]
    assert [reason.name for reason in disabled(files)] == ["cloud-final"]


def test_the_built_in_list_is_read_from_the_package_without_its_comments() -> None:
    text = (
        'CFG_BUILTIN = {\n  "datasource_list": [\n    "NoCloud",\n    # "Old",\n    "ConfigDrive",\n  ],\n}\n'
    )
    tree: Any = OwnedTree({"/p/cloudinit/settings.py": text})
    assert builtin_datasources(tree, "/p/cloudinit") == ("NoCloud", "ConfigDrive")
    assert builtin_datasources(tree, "/q") is None


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("ro ds=nocloud;s=/x quiet", "NoCloud"),
        ("ds=nocloud-net", "NoCloud"),
        ("ci.ds=Ec2", "Ec2"),
        ("ci.datasource=configdrive", "ConfigDrive"),
        ("cc:{'datasource_list': ['Azure']}", "Azure"),
        ("cc: {'datasource_list': ['Azure', 'ConfigDrive']}", None),
        ("root=/dev/vda1 rds=1", None),
        ("", None),
    ],
)
def test_the_kernel_command_line_can_force_one_source(arguments: str, name: str | None) -> None:
    found = forced_datasource(arguments, NOTHING)
    assert (found and found[0]) == name


def test_a_hostile_command_line_takes_no_time() -> None:
    assert forced_datasource("cc:datasource_list" * 1_000_000, NOTHING) is None
