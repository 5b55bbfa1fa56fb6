from __future__ import annotations

from typing import Any

import pytest
from imgtool.checks.network import network

from tests.checks.linux_guest import REDHAT, image, judge, level, levels, only, remedy
from tests.checks.test_cloud_init import GOOD as CLOUD_INIT
from tests.guest.owned_tree import Link

NAMES = {"/usr/lib/udev/rules.d/80-net-setup-link.rules": "NAME=$env{ID_NET_NAME}\n"}
MAC = "00:50:56:ab:cd:ef"


def wanted(unit: str, target: str = "multi-user.target") -> dict[str, Any]:
    return {
        f"/usr/lib/systemd/system/{unit}": "[Unit]\n",
        f"/etc/systemd/system/{target}.wants/{unit}": Link(f"/usr/lib/systemd/system/{unit}"),
    }


MANAGER = {**REDHAT, **wanted("NetworkManager.service"), "/etc/sysconfig/network-scripts/ifcfg-lo": ""}
STRICT = {"/usr/lib/NetworkManager/conf.d/00-server.conf": "[main]\nno-auto-default=*\n"}
IFUPDOWN = {**wanted("networking.service"), "/etc/network/interfaces": "source /etc/network/interfaces.d/*\n"}
NETPLAN = {"/usr/sbin/netplan": "#!", **wanted("systemd-networkd.service")}
WICKED = {**wanted("wicked.service"), "/etc/sysconfig/network/config": "", "/etc/os-release": "ID=sles\n"}
NETWORKD = wanted("systemd-networkd.service")

IFCFG = "/etc/sysconfig/network-scripts/ifcfg-"
INTERFACES = "/etc/network/interfaces.d/eth"
SUSE = "/etc/sysconfig/network/ifcfg-"
PLAN = "/etc/netplan/01-netcfg.yaml"
KEYFILE = "/etc/NetworkManager/system-connections/wired.nmconnection"
UNIT = "/etc/systemd/network/10-lan.network"
SECRET = {KEYFILE: (0o600, 0, 0)}


def plan(name: str, text: str) -> str:
    return f"network:\n  version: 2\n  ethernets:\n    {name}:\n      {text}\n"


def keyfile(name: str, method: str, more: str = "") -> str:
    return (
        f"[connection]\nid=wired\ntype=ethernet\ninterface-name={name}\n"
        f"[ethernet]\n{more}\n[ipv4]\nmethod={method}\n"
    )


DHCP = {
    "ifcfg": (MANAGER, f"{IFCFG}eth0", "DEVICE=eth0\nBOOTPROTO=dhcp\nONBOOT=yes\n"),
    "ifupdown": (IFUPDOWN, INTERFACES, "auto eth0\niface eth0 inet dhcp\n"),
    "netplan": (NETPLAN, PLAN, plan("eth0", "dhcp4: true")),
    "networkmanager": (MANAGER, KEYFILE, keyfile("eth0", "auto")),
    "wicked": (WICKED, f"{SUSE}eth0", "BOOTPROTO='dhcp'\nSTARTMODE='auto'\n"),
    "networkd": (NETWORKD, UNIT, "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n"),
}
STATIC = {
    "ifcfg": (MANAGER, f"{IFCFG}eth0", "DEVICE=eth0\nBOOTPROTO=none\nIPADDR=192.168.1.5\nONBOOT=yes\n"),
    "ifupdown": (IFUPDOWN, INTERFACES, "auto eth0\niface eth0 inet static\n\taddress 192.168.1.5/24\n"),
    "netplan": (NETPLAN, PLAN, plan("eth0", "addresses: [192.168.1.5/24]")),
    "networkmanager": (MANAGER, KEYFILE, keyfile("eth0", "manual\naddress1=192.168.1.5/24,192.168.1.1")),
    "wicked": (WICKED, f"{SUSE}eth0", "BOOTPROTO=static\nIPADDR='192.168.1.5/24'\nSTARTMODE=auto\n"),
    "networkd": (NETWORKD, UNIT, "[Match]\nName=eth0\n[Network]\nAddress=192.168.1.5/24\n"),
}
BOUND = {
    "ifcfg": (MANAGER, f"{IFCFG}eth0", f"DEVICE=eth0\nHWADDR={MAC.upper()}\nBOOTPROTO=dhcp\nONBOOT=yes\n"),
    "netplan": (NETPLAN, PLAN, plan("lan", f"dhcp4: true\n      match: {{macaddress: '{MAC}'}}")),
    "networkmanager": (MANAGER, KEYFILE, keyfile("eth0", "auto", f"mac-address={MAC}")),
    "wicked": (WICKED, f"{SUSE}eth-id-{MAC}", "BOOTPROTO=dhcp\nSTARTMODE=auto\n"),
    "networkd": (NETWORKD, UNIT, f"[Match]\nMACAddress={MAC}\n[Network]\nDHCP=yes\n"),
}
NAMED = {
    "ifcfg": (MANAGER, f"{IFCFG}ens192", "DEVICE=ens192\nBOOTPROTO=dhcp\nONBOOT=yes\n"),
    "ifupdown": (IFUPDOWN, INTERFACES, "allow-hotplug ens192\niface ens192 inet dhcp\n"),
    "netplan": (NETPLAN, PLAN, plan("ens192", "dhcp4: true")),
    "networkmanager": (MANAGER, KEYFILE, keyfile("ens192", "auto")),
    "wicked": (WICKED, f"{SUSE}ens192", "BOOTPROTO=dhcp\nSTARTMODE=auto\n"),
    "networkd": (NETWORKD, UNIT, "[Match]\nName=ens192\n[Network]\nDHCP=yes\n"),
}
SIX = {
    "ifcfg": (MANAGER, f"{IFCFG}eth0", "DEVICE=eth0\nIPV6INIT=yes\nDHCPV6C=yes\nONBOOT=yes\n"),
    "ifupdown": (IFUPDOWN, INTERFACES, "auto eth0\niface eth0 inet6 auto\n"),
    "netplan": (NETPLAN, PLAN, plan("eth0", "dhcp6: true")),
    "networkmanager": (MANAGER, KEYFILE, keyfile("eth0", "disabled")),
    "wicked": (WICKED, f"{SUSE}eth0", "BOOTPROTO=dhcp6\nSTARTMODE=auto\n"),
    "networkd": (NETWORKD, UNIT, "[Match]\nName=eth0\n[Network]\nDHCP=ipv6\n"),
}


def guest(given: tuple[dict[str, Any], str, str], more: dict[str, Any] | None = None, **how: Any) -> Any:
    system, path, text = given
    return image({**system, path: text, **STRICT, **(more or {})}, owned=SECRET, **how)


def each(table: dict[str, Any]) -> Any:
    return pytest.mark.parametrize("given", table.values(), ids=list(table))


@each(DHCP)
def test_dhcp_on_eth0_is_right(given: Any) -> None:
    assert levels(network, guest(given)) == ["kept"]
    (outcome,) = judge(network, guest(given))
    assert outcome.evidence[0].startswith(given[1])


@each(STATIC)
def test_a_static_address_is_told_with_its_file(given: Any) -> None:
    outcome = only(network, guest(given))
    assert level(network, outcome) == "warning"
    assert "static address 192.168.1.5" in outcome.message.en
    assert outcome.evidence[0].startswith(given[1])
    assert remedy(outcome)


@each(BOUND)
def test_a_file_bound_to_the_old_card_is_told(given: Any) -> None:
    outcome = only(network, guest(given))
    assert f"bound to the hardware address {MAC}" in outcome.message.en


@each(NAMED)
def test_an_interface_that_is_not_there_is_told(given: Any) -> None:
    outcome = only(network, guest(given))
    assert "not there: the platform's is eth0" in outcome.message.en
    outcome = only(network, guest(given, {**NAMES, "/etc/os-release": "ID=debian\nVERSION_ID=12\n"}))
    assert "names go by the slot" in outcome.message.en


@each(SIX)
def test_ipv6_alone_is_told(given: Any) -> None:
    assert "IPv6 address only" in only(network, guest(given)).message.en


@each(DHCP)
def test_the_file_that_a_remedy_writes_is_right(given: Any) -> None:
    """What the fix of a static address writes is judged as DHCP on eth0."""
    system, path, text = STATIC[next(name for name, it in DHCP.items() if it is given)]
    command = remedy(only(network, guest((system, path, text)))).splitlines()
    written = next(line for line in command if line.startswith("printf"))
    content, _, target = written.removeprefix("printf '").rpartition("' > ")
    files = {**system, target: content.replace("\\n", "\n"), **STRICT}
    assert levels(network, image(files, owned={target: (0o600, 0, 0)})) == ["kept"]


def test_a_rule_for_the_old_cards_name_is_told_and_removed() -> None:
    rules = "/etc/udev/rules.d/70-persistent-net.rules"
    line = f'SUBSYSTEM=="net", ACTION=="add", ATTR{{address}}=="{MAC}", KERNEL=="eth*", NAME="eth0"'
    outcome = only(network, guest(DHCP["ifcfg"], {rules: f"# PCI device\n{line}\n"}))
    assert outcome.evidence == (f"{rules}:2: {MAC} is eth0",)
    assert remedy(outcome).endswith(f"rm -f {rules}")
    link = {"/etc/systemd/network/10-lan.link": f"[Match]\nMACAddress={MAC}\n[Link]\nName=lan0\n"}
    assert "10-lan.link" in only(network, guest(DHCP["networkd"], link)).message.en


def test_cloud_init_needs_no_file_of_the_guests_own() -> None:
    assert levels(network, image({**CLOUD_INIT, **IFUPDOWN})) == ["kept"]
    assert levels(network, image({**CLOUD_INIT, **IFUPDOWN}, force_import=True)) == ["warning"]
    assert levels(network, image(IFUPDOWN)) == ["not judged"]  # that it lacks cloud-init is told once
    off = {"/etc/cloud/cloud.cfg.d/99.cfg": "network: {config: disabled}\n"}
    outcome = only(network, image({**CLOUD_INIT, **IFUPDOWN, **off}))
    assert "Nothing brings the network up" in outcome.message.en
    assert "iface eth0 inet dhcp" in remedy(outcome)


def test_what_cloud_init_wrote_itself_is_told_by_the_rule_on_its_cache() -> None:
    files = {"/etc/netplan/50-cloud-init.yaml": plan("eth0", "addresses: [10.0.0.5/24]")}
    assert levels(network, image({**CLOUD_INIT, **NETPLAN, **files})) == ["kept"]


def test_network_manager_connects_what_nobody_named_unless_told_not_to() -> None:
    assert levels(network, image(MANAGER)) == ["kept"]
    assert levels(network, image({**MANAGER, **STRICT}, force_import=True)) == ["warning"]


def test_a_connection_that_others_can_read_is_not_taken_by_network_manager() -> None:
    system, path, text = STATIC["networkmanager"]
    assert levels(network, image({**system, path: text}, owned={path: (0o644, 0, 0)})) == ["kept"]


def test_files_of_a_system_that_does_not_start_do_not_count() -> None:
    files = {path: text for _, path, text in STATIC.values()}
    assert levels(network, image({**CLOUD_INIT, **files})) == ["kept"]


def test_names_by_slot_are_information_where_nothing_depends_on_them() -> None:
    given = image({**CLOUD_INIT, **IFUPDOWN, **NAMES})
    assert levels(network, given) == ["info", "kept"]
    assert levels(network, image({**CLOUD_INIT, **IFUPDOWN, **NAMES}, arguments="net.ifnames=0")) == ["kept"]
    masked = {"/etc/systemd/network/99-default.link": Link("/dev/null")}
    assert levels(network, image({**CLOUD_INIT, **IFUPDOWN, **NAMES, **masked})) == ["kept"]


@pytest.mark.parametrize(("version", "expected"), [("7", ["kept"]), ("8", ["info", "kept"])])
def test_red_hat_7_calls_a_virtio_card_eth0(version: str, expected: list[str]) -> None:
    files = {**MANAGER, **NAMES, "/etc/os-release": f'ID=centos\nVERSION_ID="{version}"\nID_LIKE=rhel\n'}
    assert levels(network, image(files)) == expected


def test_a_bridge_over_eth0_with_dhcp_is_right() -> None:
    files = {
        **IFUPDOWN,
        INTERFACES: "auto br0\niface br0 inet dhcp\n  bridge_ports eth0\niface eth0 inet manual\nauto eth0\n",
    }
    assert levels(network, image(files)) == ["kept"]


def test_a_backup_that_initscripts_pass_over_is_not_read() -> None:
    _, _, text = STATIC["ifcfg"]
    assert levels(network, guest(DHCP["ifcfg"], {f"{IFCFG}eth0.bak": text, f"{IFCFG}eth1~": text})) == [
        "kept"
    ]


def test_an_interface_that_nobody_brings_up_is_told() -> None:
    system, path, text = DHCP["ifcfg"]
    outcome = only(network, guest((system, path, text.replace("ONBOOT=yes", "ONBOOT=no"))))
    assert "not brought up at boot" in outcome.message.en


def test_an_unknown_init_is_undecided() -> None:
    assert levels(network, image(without=["/sbin/init", "/lib/systemd/systemd"])) == ["undecided"]


def test_what_is_not_brought_up_does_no_harm() -> None:
    files = {f"{IFCFG}ens224": "DEVICE=ens224\nBOOTPROTO=none\nIPADDR=10.9.8.7\nONBOOT=no\n"}
    assert levels(network, guest(DHCP["ifcfg"], files)) == ["kept"]


@pytest.mark.parametrize(
    "files",
    [
        {
            **IFUPDOWN,
            INTERFACES: "auto eth0 lo:0\niface eth0 inet dhcp\niface lo:0 inet static\n address 10.0.0.9\n",
        },
        {
            **NETPLAN,
            PLAN: plan("lo", "addresses: [10.0.0.9/32]"),
            "/etc/netplan/02.yaml": plan("eth0", "dhcp4: true"),
        },
    ],
    ids=["ifupdown", "netplan"],
)
def test_an_address_of_the_loopback_interface_is_the_guests_own_affair(files: dict[str, Any]) -> None:
    assert levels(network, image(files)) == ["kept"]


CURTIN = "/etc/cloud/cloud.cfg.d/50-curtin-networking.cfg"
LEFT = {
    "version 1, static": (
        "network:\n  version: 1\n  config:\n  - type: physical\n    name: eth0\n    subnets:\n"
        "    - {type: static, address: 192.168.1.5/24, gateway: 192.168.1.1}\n  - type: nameserver\n",
        "static address 192.168.1.5",
    ),
    "version 1, by the card": (
        "network:\n  version: 1\n  config:\n  - type: physical\n    name: eth0\n"
        f"    mac_address: '{MAC.upper()}'\n    subnets:\n    - type: dhcp4\n",
        f"bound to the hardware address {MAC}",
    ),
    "version 2, static": (plan("eth0", "addresses: [192.168.1.5/24]"), "static address 192.168.1.5"),
    "version 2, by the card": (
        plan("lan", f"dhcp4: true\n      match: {{macaddress: '{MAC}'}}"),
        f"bound to the hardware address {MAC}",
    ),
    "version 2, another name": (plan("ens192", "dhcp4: true"), "ens192 is an interface that is not there"),
    "named twice": (
        f"network:\n  {plan('eth0', 'addresses: [192.168.1.5/24]')}".replace("\n", "\n  "),
        "static address 192.168.1.5",
    ),
}


@pytest.mark.parametrize(("text", "said"), LEFT.values(), ids=list(LEFT))
def test_cloud_inits_own_network_settings_come_before_the_platforms(text: str, said: str) -> None:
    outcome = only(network, image({**CLOUD_INIT, CURTIN: text}))
    assert level(network, outcome) == "warning"
    assert said in outcome.message.en
    assert outcome.evidence[0].startswith(f"{CURTIN}:1: ")
    assert remedy(outcome).endswith(f"rm {CURTIN}")


def test_what_ubuntus_installer_leaves_names_the_old_machines_slot() -> None:
    path = "/etc/cloud/cloud.cfg.d/90-installer-network.cfg"
    text = "# written by 'subiquity'\nnetwork:\n  ethernets:\n    ens160:\n      dhcp4: true\n  version: 2\n"
    outcome, *_ = judge(network, image({**CLOUD_INIT, **NAMES, path: text}))
    assert level(network, outcome) == "warning"
    assert "ens160 is named, but names go by the slot" in outcome.message.en
    assert outcome.evidence == (f"{path}:2: ens160, dhcp",)
    assert remedy(outcome).endswith(f"rm {path}")


def test_cloud_inits_network_settings_beside_others_are_taken_out_by_hand() -> None:
    text = f"manage_etc_hosts: true\n{LEFT['version 2, static'][0]}"
    outcome = only(network, image({**CLOUD_INIT, CURTIN: text}))
    assert "Take `network:`" in remedy(outcome)


@pytest.mark.parametrize(
    "text",
    [plan("eth0", "dhcp4: true"), plan("any", 'dhcp4: true\n      match: {name: "e*"}'), "network: []\n"],
)
def test_cloud_inits_network_settings_that_ask_by_dhcp_are_right(text: str) -> None:
    assert levels(network, image({**CLOUD_INIT, CURTIN: text})) == ["kept"]


def test_cloud_inits_network_settings_do_nothing_where_it_does_not_set_the_network_up() -> None:
    base, path, text = DHCP["netplan"]
    assert levels(network, guest((base, path, text), {CURTIN: LEFT["version 2, static"][0]})) == ["kept"]
