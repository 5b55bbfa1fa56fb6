from __future__ import annotations

from typing import Any

import pytest
from imgtool.checks.conflicting_software import conflicting_software

from imgtool.guest.foreign_agents import PRODUCTS
from tests.checks.linux_guest import REDHAT, image, levels, only, remedy
from tests.guest.owned_tree import Link

OPEN_VM_TOOLS: dict[str, Any] = {
    "/usr/bin/vmtoolsd": "\x7fELF",
    "/lib/systemd/system/open-vm-tools.service": "[Unit]\nConditionVirtualization=vmware\n",
    "/etc/systemd/system/multi-user.target.wants/open-vm-tools.service": Link("/lib/systemd/system/x"),
    "/var/lib/dpkg/info/open-vm-tools.list": "",
}


def test_a_guest_of_its_own_is_right() -> None:
    assert levels(conflicting_software, image()) == ["kept"]


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name.replace(" ", "-"))
def test_each_product_is_found_by_its_first_file(product: Any) -> None:
    path = product.paths[0].replace("*", "7.0.14")
    outcome = only(
        conflicting_software, image({path: "#!/bin/sh\n", f"/etc/init.d/{product.services[0]}": "#!"})
    )
    assert product.name in outcome.message.en
    assert product.name in outcome.message.zh
    assert path in outcome.evidence
    assert remedy(outcome)


def test_a_package_that_waits_for_its_own_hypervisor_is_information() -> None:
    outcome = only(conflicting_software, image(OPEN_VM_TOOLS))
    assert levels(conflicting_software, image(OPEN_VM_TOOLS)) == ["info"]
    assert "does not run here" in outcome.message.en
    assert remedy(outcome).endswith("apt-get purge -y open-vm-tools")
    runs = {**OPEN_VM_TOOLS, "/lib/systemd/system/open-vm-tools.service": "[Unit]\n"}
    assert levels(conflicting_software, image(runs)) == ["warning"]


def test_a_foreign_agent_that_starts_is_a_warning_with_its_service() -> None:
    files = {
        **REDHAT,
        "/usr/sbin/waagent": "#!/usr/bin/python3\n",
        "/usr/lib/systemd/system/waagent.service": "[Unit]\n",
        "/etc/systemd/system/multi-user.target.wants/waagent.service": Link("/usr/lib/systemd/system/x"),
    }
    outcome = only(conflicting_software, image(files, without=["/usr/bin/apt-get"]))
    assert levels(conflicting_software, image(files, without=["/usr/bin/apt-get"])) == ["warning"]
    assert any("waagent.service" in line for line in outcome.evidence)
    assert remedy(outcome).endswith("yum remove -y WALinuxAgent")


def test_a_makers_own_remover_is_named() -> None:
    files = {
        "/opt/VBoxGuestAdditions-7.0.14/uninstall.sh": "#!/bin/sh\n",
        "/lib/systemd/system/vboxadd.service": "[Unit]\n",
        "/etc/systemd/system/multi-user.target.wants/vboxadd.service": Link("/lib/systemd/system/x"),
        "/var/lib/dpkg/info/bash.list": "",
    }
    outcome = only(conflicting_software, image(files))
    assert remedy(outcome).endswith("/opt/VBoxGuestAdditions-7.0.14/uninstall.sh")
