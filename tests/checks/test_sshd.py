from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from imgtool.checks.identity import identity
from imgtool.checks.sshd import sshd

from tests.checks.linux_guest import REDHAT, image, judge, level, levels, only, remedy
from tests.checks.test_cloud_init import GOOD as CLOUD_INIT
from tests.guest.owned_tree import Link

MAIN = "/etc/ssh/sshd_config"
SSHD: dict[str, Any] = {
    "/usr/sbin/sshd": b"\x7fELF OpenSSH_9.2p1 Debian-2+deb12u3\0",
    MAIN: "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\nKbdInteractiveAuthentication no\n",
    "/etc/ssh/sshd_config.d/10-platform.conf": "PermitRootLogin yes\nPasswordAuthentication yes\n",
    "/etc/ssh/ssh_host_ed25519_key": "-----BEGIN",
    "/lib/systemd/system/ssh.service": "[Unit]\n[Install]\nWantedBy=multi-user.target\n",
    "/etc/systemd/system/multi-user.target.wants/ssh.service": Link("/lib/systemd/system/ssh.service"),
    "/etc/passwd": "root:x:0:0::/root:/bin/sh\ndeploy:x:1000:1000::/home/deploy:/bin/sh\n",
    "/etc/group": "root:x:0:\nshadow:x:42:\nssh-users:x:1001:root,deploy\n",
}
CLOUD: dict[str, Any] = {
    **CLOUD_INIT,
    "/etc/cloud/cloud.cfg": (
        "users: [default]\n"
        "cloud_init_modules: [users-groups, ssh]\ncloud_config_modules: [set-passwords]\n"
        "system_info: {default_user: {name: debian, groups: [adm, sudo]}}\n"
    ),
}


def guest(files: dict[str, Any] | None = None, **how: Any) -> Any:
    return image({**SSHD, **(files or {})}, **how)


def main(text: str, **how: Any) -> Any:
    return guest({MAIN: text}, without=["/etc/ssh/sshd_config.d/10-platform.conf"], **how)


def test_a_server_that_takes_roots_password_is_right() -> None:
    assert levels(sshd, guest()) == ["kept"]
    assert levels(sshd, main("PermitRootLogin yes\n")) == ["kept"]


def test_without_a_server_one_is_installed() -> None:
    outcome = only(sshd, image())
    assert (level(sshd, outcome), outcome.fixable) == ("warning", False)
    assert "apt-get install -y openssh-server" in remedy(outcome)
    assert levels(sshd, image({"/usr/sbin/dropbear": ""})) == ["undecided"]


def test_a_server_that_the_boot_does_not_start_is_enabled() -> None:
    link = "/etc/systemd/system/multi-user.target.wants/ssh.service"
    outcome = only(sshd, guest(without=[link]))
    assert remedy(outcome).endswith("systemctl enable ssh.service")
    masked = {"/etc/systemd/system/ssh.service": Link("/dev/null")}
    assert "systemctl unmask ssh.service && systemctl enable" in remedy(only(sshd, guest(masked)))


def test_a_socket_starts_it_as_well() -> None:
    files = {
        "/lib/systemd/system/ssh.socket": "[Unit]\n",
        "/etc/systemd/system/sockets.target.wants/ssh.socket": Link("/lib/systemd/system/ssh.socket"),
    }
    link = "/etc/systemd/system/multi-user.target.wants/ssh.service"
    assert levels(sshd, guest(files, without=[link])) == ["kept"]


def test_without_a_configuration_it_does_not_start() -> None:
    outcome = only(sshd, guest(without=[MAIN]))
    assert "confmiss openssh-server" in remedy(outcome)


def test_without_host_keys_something_has_to_make_them() -> None:
    gone = ["/etc/ssh/ssh_host_ed25519_key"]
    outcome = only(sshd, guest(without=gone, force_import=True))
    assert remedy(outcome).endswith("systemctl enable ssh-host-keys.service")
    assert levels(sshd, guest(without=gone)) == ["kept"]  # that cloud-init is not there is told by itself
    assert levels(sshd, guest(CLOUD, without=gone)) == ["kept"]
    rc_local = {"/etc/rc.local": "#!/bin/sh\ndpkg-reconfigure openssh-server\n"}
    assert levels(sshd, guest(rc_local, without=gone, force_import=True)) == ["kept"]
    unit = {"/lib/systemd/system/ssh.service": "[Unit]\nWants=sshd-keygen.target\n"}
    assert levels(sshd, guest(unit, without=gone, force_import=True)) == ["kept"]


def test_keys_that_the_boot_makes_leave_nothing_to_share() -> None:
    """Both rules at once: the remedy of the one must not break the other."""
    gone = ["/etc/ssh/ssh_host_ed25519_key"]
    outcome = only(sshd, guest(without=gone, force_import=True))
    made = next(line for line in remedy(outcome).splitlines() if line.startswith("printf"))
    text = made.split("'")[1].replace("\\n", "\n")
    path = made.rpartition("> ")[2]
    link = "/etc/systemd/system/multi-user.target.wants/ssh-host-keys.service"
    mended = guest({path: text, link: Link(path)}, without=gone, force_import=True)
    assert levels(sshd, mended) == ["kept"]
    assert levels(identity, mended) == ["kept"]


@pytest.mark.parametrize("address", ["192.168.1.10", "192.168.1.10:22", "[fe80::1]:22", "fe80::1"])
def test_an_address_of_the_old_network_is_told(address: str) -> None:
    outcome = only(sshd, main(f"PermitRootLogin yes\nListenAddress {address}\n"))
    assert outcome.evidence == (f"{MAIN}:2: listenaddress {address}",)
    both = f"PermitRootLogin yes\nListenAddress {address}\nListenAddress 0.0.0.0\n"
    assert levels(sshd, main(both)) == ["kept"]


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("PermitRootLogin yes\nPasswordAuthentication no\n", "keys but no passwords", 2),
        ("permitrootlogin=prohibit-password\n", "keys but no passwords", 1),
        ("PermitRootLogin no\n", "neither", 1),
        ('PermitRootLogin yes\nPasswordAuthentication "no"\nPubkeyAuthentication no\n', "neither", 2),
        ("PermitRootLogin yes\nAllowUsers deploy admin\n", "neither", 2),
        ("PermitRootLogin yes\nDenyUsers r*\n", "neither", 2),
        ("PermitRootLogin yes\nDenyUsers eve@10.0.0.9 root\n", "neither", 2),
        ("PermitRootLogin yes\nAllowGroups wheel\n", "neither", 2),
        ("PermitRootLogin yes\nDenyGroups ssh-users\n", "neither", 2),
        ("PermitRootLogin yes\nAuthenticationMethods publickey\n", "keys but no passwords", 2),
        ("PermitRootLogin yes\nMatch User root\n  PasswordAuthentication no\n", "keys but no passwords", 3),
    ],
)
def test_what_keeps_root_out_is_told_by_its_line_and_mended(
    text: str, words: str, line: int, tmp_path: Path
) -> None:
    outcome = only(sshd, main(text, force_import=True))
    assert level(sshd, outcome) == "warning"
    assert words in outcome.message.en
    assert outcome.evidence[0].startswith(f"{MAIN}:{line}: ")
    assert "PasswordAuthentication yes" in remedy(outcome)
    (file := tmp_path / "sshd_config").write_text(text)
    script = "\n".join(remedy(outcome).splitlines()[1:]).replace(MAIN, str(file))
    subprocess.run(["sh", "-ec", script], check=True)
    assert levels(sshd, main(file.read_text(), force_import=True)) == ["kept"]
    if "keys" in words:  # the platform gives an instance a key as well
        assert levels(sshd, main(text)) == ["kept"]


@pytest.mark.parametrize(
    "text",
    [
        "PermitRootLogin yes\nPasswordAuthentication yes\nPasswordAuthentication no\n",
        "PermitRootLogin yes\nAllowUsers root@10.0.0.0/8 deploy\n",
        "PermitRootLogin yes\nAllowGroups ssh-users\n",
        "PermitRootLogin yes\nMatch User deploy\nPasswordAuthentication no\n",
        "PermitRootLogin yes\nMatch User *,!root\nPasswordAuthentication no\n",
        "PermitRootLogin yes\nMatch Address 10.0.0.0/8\nPasswordAuthentication no\n",
        "PermitRootLogin yes\nPasswordAuthentication no\nUsePAM yes\n",
        "PermitRootLogin no\nMatch all\nPermitRootLogin yes\n",
        "\ufeff# comment\r\nPermitRootLogin yes\r\n",
    ],
)
def test_what_lets_root_in_by_a_password_is_right(text: str) -> None:
    assert levels(sshd, main(text)) == ["kept"]


def test_the_first_file_that_says_it_counts() -> None:
    files = {"/etc/ssh/sshd_config.d/01-hard.conf": "PasswordAuthentication no\n"}
    outcome = only(sshd, guest(files, force_import=True))
    assert outcome.evidence[0] == "/etc/ssh/sshd_config.d/01-hard.conf:1: passwordauthentication no"
    assert "> /etc/ssh/sshd_config.d/00-platform.conf" in remedy(outcome)


def test_cloud_init_sets_passwords_right_at_the_first_boot() -> None:
    def takes_passwords(given: Any) -> bool:
        outcome = only(sshd, given)
        assert outcome.kind == "kept"
        return "no passwords" not in outcome.message.en

    late = {"/etc/ssh/sshd_config.d/60-cloudimg.conf": "PasswordAuthentication no\n"}
    early = {"/etc/ssh/sshd_config.d/01-hard.conf": "PasswordAuthentication no\n"}
    yes = {**CLOUD, "/etc/cloud/cloud.cfg.d/10.cfg": "ssh_pwauth: true\n"}
    gone = ["/etc/ssh/sshd_config.d/10-platform.conf"]
    assert not takes_passwords(guest({**CLOUD, **late}, without=gone))
    assert takes_passwords(guest({**yes, **late}, without=gone))
    assert not takes_passwords(guest({**yes, **early}, without=gone))
    no = {**CLOUD, "/etc/cloud/cloud.cfg.d/10.cfg": "ssh_pwauth: false\n"}
    assert takes_passwords(main("PermitRootLogin yes\n"))
    assert not takes_passwords(guest({**no, MAIN: "PermitRootLogin yes\n"}, without=gone))


def test_a_server_that_takes_keys_alone_is_right_and_says_so() -> None:
    outcome = only(sshd, main("PermitRootLogin prohibit-password\nPasswordAuthentication no\n"))
    assert (outcome.kind, "make instances with a key" in outcome.message.en) == ("kept", True)
    assert f"{MAIN}:1: permitrootlogin prohibit-password" in outcome.evidence


def test_cloud_inits_default_account_is_as_good_as_root() -> None:
    gone = ["/etc/ssh/sshd_config.d/10-platform.conf"]
    files = {**CLOUD, MAIN: "PermitRootLogin no\n"}
    assert levels(sshd, guest(files, without=gone)) == ["kept"]
    assert levels(sshd, guest(files, without=gone, force_import=True)) == ["warning"]
    assert levels(sshd, guest({**files, MAIN: "AllowGroups sudo\n"}, without=gone)) == ["kept"]


@pytest.mark.parametrize(("version", "expected"), [(b"OpenSSH_6.6p1", "kept"), (b"OpenSSH_8.4p1", "warning")])
def test_where_no_line_says_it_the_version_decides_about_root(version: bytes, expected: str) -> None:
    files = {"/usr/sbin/sshd": b"\x7fELF" + version, MAIN: "\n"}
    without = ["/etc/ssh/sshd_config.d/10-platform.conf"]
    assert levels(sshd, guest(files, without=without, force_import=True)) == [expected]


def test_red_hat_7_lets_root_in() -> None:
    files = {**REDHAT, "/usr/sbin/sshd": b"OpenSSH_7.4p1", MAIN: "UsePAM yes\n"}
    assert levels(sshd, guest(files, without=["/etc/ssh/sshd_config.d/10-platform.conf"])) == ["kept"]


KEYWORDS = b"\x7fELF OpenSSH_9.2p1\0permitrootlogin\0passwordauthentication\0usepam\0match\0include\0"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("PermitRootLogin yes\nPasswordAuthentcation no\n", "knows no passwordauthentcation"),
        ("PermitRootLogin maybe\n", "permitrootlogin can't be maybe"),
        ("PermitRootLogin\n", "permitrootlogin has no value"),
        ("PermitRootLogin yes no\n", "takes one value"),
        ('PermitRootLogin "yes\n', "quote of permitrootlogin does not end"),
        ("PermitRootLogin yes\nMatch Usr root\n", "Match knows no usr"),
        ("PermitRootLogin yes\nMatch User root\nUsePAM no\n", "can't stand below Match"),
        ("\ufeffPermitRootLogin yes\n", "knows no \ufeffpermitrootlogin"),
    ],
)
def test_a_line_that_sshd_does_not_take_keeps_it_from_starting(text: str, words: str) -> None:
    files = {"/usr/sbin/sshd": KEYWORDS, MAIN: text}
    given = guest(files, without=["/etc/ssh/sshd_config.d/10-platform.conf"])
    outcome = next(it for it in judge(sshd, given) if it.kind == "broken")
    assert "refuses its configuration" in outcome.message.en
    assert words in outcome.message.en
    assert outcome.evidence[0].startswith(f"{MAIN}:")
    assert remedy(outcome).endswith("sshd -t")


def test_a_file_that_includes_itself_comes_to_an_end() -> None:
    assert judge(sshd, main("Include sshd_config\nPermitRootLogin yes\n"))[0].kind == "kept"


def test_a_start_file_of_one_endless_line_is_looked_through_in_no_time() -> None:
    """The search for what makes keys was quadratic in a line's length: minutes for one file."""
    code = (
        "from imgtool.guest.sshd import makes_missing_keys; from tests.guest.owned_tree import OwnedTree;"
        "from types import SimpleNamespace;"
        "tree = OwnedTree({'/etc/rc.local': 'reconfigure' * 95_000});"
        "print(makes_missing_keys(tree, SimpleNamespace(init='sysvinit')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=30, stdout=subprocess.PIPE)
    assert done.stdout == b"\n"


def test_an_unknown_init_is_undecided() -> None:
    assert levels(sshd, guest(without=["/sbin/init", "/lib/systemd/systemd"])) == ["undecided"]
