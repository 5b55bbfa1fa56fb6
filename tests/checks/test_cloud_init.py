from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from imgtool.checks.cloud_init import datasource, enabled, installed

from imgtool.guest.cloud_config import parse_mapping
from tests.checks.linux_guest import REDHAT, image, judge, level, levels, only, remedy
from tests.guest.owned_tree import Link, elf
from tests.guest.test_cloud_init import DIST, SYSTEMD, WHOLE

LIST = "/etc/cloud/cloud.cfg.d/90_dpkg.cfg"
GOOD: dict[str, Any] = {
    **SYSTEMD,
    **WHOLE,
    "/etc/cloud/cloud.cfg": "users: [default]\n",
    LIST: "datasource_list: [ConfigDrive, Ec2]\n",
}
RULES = (installed, enabled, datasource)


def cloud(files: dict[str, Any] | None = None, **more: Any) -> Any:
    return image({**GOOD, **(files or {})}, **more)


def test_a_good_guest_is_kept_by_every_rule() -> None:
    assert [levels(rule, cloud()) for rule in RULES] == [["kept"], ["kept"], ["kept"]]


def test_without_cloud_init_the_platform_refuses_the_image() -> None:
    outcome = only(installed, image())
    assert level(installed, outcome) == "error"
    assert installed.platform_code == "CloudInitNotInstalled"
    assert "apt-get update && apt-get install -y cloud-init" in remedy(outcome)
    assert "yum install -y cloud-init" in remedy(only(installed, image(REDHAT, without=["/usr/bin/apt-get"])))


def test_a_forced_import_does_not_ask_for_it() -> None:
    assert [levels(rule, image(force_import=True)) for rule in RULES] == [["not judged"]] * 3
    assert [levels(rule, cloud(force_import=True)) for rule in RULES] == [["not judged"]] * 3


def test_a_removed_dependency_is_named_with_the_package_that_brings_it_back() -> None:
    outcome = only(installed, cloud(without=[f"{DIST}/yaml/__init__.py"]))
    assert "lacks yaml" in outcome.message.en
    # dpkg may still take the package for installed: then apt lays nothing down unless it is told to
    command = (
        "apt-get update && apt-get install -y --reinstall -o Dpkg::Options::=--force-confmiss python3-yaml"
    )
    assert command in remedy(outcome)


def test_another_python_behind_the_name_is_an_error_mended_in_the_first_line(tmp_path: Path) -> None:
    files = {
        "/usr/bin/cloud-init": "#!/usr/bin/python\nimport sys\n",
        "/usr/bin/python": Link("python3.11"),
        "/usr/bin/python2.7": elf(0x3E),
        "/usr/lib/python2.7/site-packages/cloudinit/__init__.py": "",
    }
    outcome = only(
        installed, cloud(files, without=[f"{DIST}/cloudinit/__init__.py", f"{DIST}/cloudinit/version.py"])
    )
    assert "/usr/bin/python3.11) does not have the cloudinit package" in outcome.message.en
    script = tmp_path / "cloud-init"
    script.write_text(files["/usr/bin/cloud-init"])
    command = remedy(outcome).splitlines()[-1].replace("/usr/bin/cloud-init", str(script))
    subprocess.run(["sh", "-ec", command], check=True)
    assert script.read_text() == "#!/usr/bin/python2.7\nimport sys\n"


def test_a_missing_interpreter_and_a_plain_mode_are_errors() -> None:
    assert "is not there" in only(installed, cloud(without=["/usr/bin/python3.11"])).message.en
    outcome = only(installed, cloud(owned={"/usr/bin/cloud-init": (0o644, 0, 0)}))
    assert remedy(outcome) == "chmod 0755 /usr/bin/cloud-init"


def test_a_file_that_switches_it_off_is_removed() -> None:
    outcome = only(enabled, cloud({"/etc/cloud/cloud-init.disabled": ""}))
    assert (level(enabled, outcome), remedy(outcome)) == ("error", "rm /etc/cloud/cloud-init.disabled")


def test_a_kernel_argument_that_switches_it_off_is_taken_out_and_grub_written_afresh() -> None:
    files = {
        "/etc/default/grub": 'GRUB_CMDLINE_LINUX="quiet"\n',
        "/etc/default/grub.d/50-cloud.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="ro cloud-init=disabled"\n',
    }
    outcome = only(enabled, cloud(files, arguments="ro cloud-init=disabled"))
    assert level(enabled, outcome) == "error"
    assert remedy(outcome).endswith(" /etc/default/grub.d/50-cloud.cfg && update-grub")


def test_the_policy_is_said_where_it_stands() -> None:
    outcome = only(enabled, cloud(arguments="ro ci.di.policy=disabled"))
    assert (outcome.evidence, "ci.di.policy=disabled" in outcome.message.zh) == (
        ("ci.di.policy=disabled",),
        True,
    )
    outcome = only(enabled, cloud({"/etc/cloud/ds-identify.cfg": "policy: disabled\n"}))
    assert remedy(outcome) == "sed -i '/^[ \\t]*policy[ \\t]*:/d' /etc/cloud/ds-identify.cfg"


def test_units_that_are_not_enabled_are_enabled_together() -> None:
    wants = [path for path in GOOD if ".wants/" in path]
    outcome = only(enabled, cloud(without=wants))
    assert level(enabled, outcome) == "error"
    units = ("cloud-init-local", "cloud-init", "cloud-config", "cloud-final")
    assert "systemctl enable " + " ".join(f"{unit}.service" for unit in units) in remedy(outcome)


def test_a_masked_unit_is_unmasked_first() -> None:
    outcome = only(enabled, cloud({"/etc/systemd/system/cloud-final.service": Link("/dev/null")}))
    assert "systemctl unmask cloud-final.service && systemctl enable cloud-final.service" in remedy(outcome)


def test_an_unknown_init_is_undecided() -> None:
    given = cloud(without=["/sbin/init", "/lib/systemd/systemd"])
    assert levels(enabled, given) == ["undecided"]


def test_a_boot_loader_that_cannot_be_read_is_said_in_the_evidence() -> None:
    outcome = only(enabled, cloud(arguments=None))
    assert outcome.kind == "kept"
    assert outcome.evidence[-1] == "the kernel command line could not be read"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("datasource_list: [ NoCloud, Ec2, None ]", "error"),
        ("datasource_list: [ None ]", "error"),
        ("datasource_list: []", "error"),
        ("datasource_list: [ ConfigDrive, None ]", "info"),
        ("datasource_list: [ Ec2, ConfigDrive ]", "kept"),
        ("datasource_list: [ OpenStack, ConfigDrive ]", "kept"),
    ],
)
def test_the_config_drive_must_be_among_the_sources(text: str, expected: str) -> None:
    assert levels(datasource, cloud({LIST: text})) == [expected]


def test_the_file_and_the_line_are_named_and_the_remedy_comes_last(tmp_path: Path) -> None:
    outcome = only(datasource, cloud({LIST: "# dpkg\ndatasource_list: [ NoCloud, None ]\n"}))
    assert outcome.evidence == (f"{LIST}:2: datasource_list: [ NoCloud, None ]",)
    command = remedy(outcome).splitlines()[-1]
    written, path = command.removeprefix("echo ").split(" > ")
    assert parse_mapping(written.strip("'"))[0] == {"datasource_list": ["ConfigDrive", "Ec2", "None"]}
    mended = cloud({LIST: "datasource_list: [ NoCloud ]\n", path: written.strip("'")})
    assert levels(datasource, mended) == ["kept"]


def test_a_file_that_comes_even_later_is_followed_by_another(tmp_path: Path) -> None:
    late = "/etc/cloud/cloud.cfg.d/zzz.cfg"
    files = {late: "datasource_list:\n  - NoCloud\n"}
    command = remedy(only(datasource, cloud(files))).splitlines()[-1]
    folder = str(tmp_path)
    subprocess.run(["sh", "-ec", command.replace("/etc/cloud/cloud.cfg.d", folder)], check=True)
    (own,) = tmp_path.iterdir()
    files[f"/etc/cloud/cloud.cfg.d/{own.name}"] = own.read_text()
    assert levels(datasource, cloud(files)) == ["kept"]


def test_the_folder_is_made_where_there_is_none() -> None:
    files = {"/etc/cloud/cloud.cfg": "datasource_list: [ NoCloud ]\n"}
    assert "mkdir -p /etc/cloud/cloud.cfg.d && echo" in remedy(only(datasource, cloud(files, without=[LIST])))


def test_without_the_main_file_no_module_runs() -> None:
    outcome, rest = judge(datasource, cloud(without=["/etc/cloud/cloud.cfg"]))
    assert (level(datasource, outcome), rest.kind) == ("error", "kept")
    assert "--force-confmiss cloud-init" in remedy(outcome)
    whole = {"/etc/cloud/cloud.cfg.d/05.cfg": "cloud_init_modules: [seed_random]\n"}
    assert levels(datasource, cloud(whole, without=["/etc/cloud/cloud.cfg"])) == ["kept"]


def test_without_a_list_the_built_in_one_counts() -> None:
    settings = f"{DIST}/cloudinit/settings.py"
    good = cloud({settings: 'C = {"datasource_list": ["NoCloud", "ConfigDrive", "Ec2"]}'}, without=[LIST])
    assert levels(datasource, good) == ["kept"]
    bad = cloud({settings: 'C = {"datasource_list": ["NoCloud"]}'}, without=[LIST])
    assert levels(datasource, bad) == ["error"]
    assert levels(datasource, cloud(without=[LIST])) == ["undecided"]


def test_one_source_forced_by_the_kernel_or_ds_identify_is_an_error() -> None:
    assert levels(datasource, cloud(arguments="ro ds=nocloud")) == ["error"]
    outcome = only(datasource, cloud({"/etc/cloud/ds-identify.cfg": "datasource: Ec2\n"}))
    assert level(datasource, outcome) == "error"
    assert levels(datasource, cloud({"/etc/cloud/ds-identify.cfg": "datasource: ConfigDrive\n"})) == ["kept"]


def test_a_broken_main_file_is_an_error_and_a_broken_part_a_warning() -> None:
    assert levels(datasource, cloud({"/etc/cloud/cloud.cfg": "a: [\n"})) == ["error", "kept"]
    assert levels(datasource, cloud({"/etc/cloud/cloud.cfg.d/50.cfg": "a: [\n"})) == ["warning", "kept"]


def test_container_linux_brings_its_own() -> None:
    given = image({"/usr/bin/coreos-cloudinit": elf(0x3E)})
    assert [levels(rule, given) for rule in RULES] == [["kept"], ["not judged"], ["not judged"]]


def test_every_remedy_is_there_in_both_languages() -> None:
    for rule, given in ((installed, image()), (enabled, cloud(arguments="cloud-init=disabled"))):
        for outcome in judge(rule, given):
            assert remedy(outcome)
