"""The instance that a rehearsal pretends to be: a fresh identity, and what the platform tells of it.

Sources: ref 02 (os.conf), ref 11 (what comes in vendor_data.json and network_data.json), ref 14 (metadata);
OpenStack's metadata formats, which cloud-init's ConfigDrive source reads.
"""

from __future__ import annotations

import base64
import ctypes
import json
import secrets
import string
import struct
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from imgtool.errors import ImgtoolError, MachineLacks
from imgtool.rehearsal.guest_script import user_data, windows_user_data
from imgtool.rehearsal.machine import ADDRESS, GATEWAY, MAC, NAME_SERVER, NETMASK

_LETTERS = string.ascii_letters + string.digits
_LIBCRYPT = ("libcrypt.so.1", "libcrypt.so.2")


@dataclass(frozen=True)
class Instance:
    """One life of an image. password_hash: crypt(3), SHA-512, of `password`; public_key: an SSH key whose
    private half nobody has; token: marks what this run's user-data script reports; windows: whether
    cloudbase-init is to understand what it is told."""

    id: str
    uuid: str
    hostname: str
    password: str
    password_hash: str
    public_key: str
    token: str
    windows: bool = False

    @property
    def user_data(self) -> str:
        """The user-data script of this run."""
        if self.windows:
            return windows_user_data(self.token, self.password)
        return user_data(self.token, self.password_hash, self.public_key)

    def documents(self) -> dict[str, bytes]:
        """OpenStack's documents, by their names below openstack/latest/."""
        return {
            "meta_data.json": _json(self._meta_data()),
            "network_data.json": _json(_network_data()),
            "vendor_data.json": _json({"cloud-init": self._vendor_config()}),
            "user_data": self.user_data.encode(),
        }

    def os_conf(self) -> bytes:
        """qcloud_action/os.conf: the password as it is, without quotes (ref 02)."""
        lines = (
            f"hostname={self.hostname}",
            f"password={self.password_hash}",
            f"eth0_ip_addr={ADDRESS}",
            f"eth0_mac_addr={MAC.upper()}",
            f"eth0_netmask={NETMASK}",
            f"eth0_gateway={GATEWAY}",
            f'dns_nameserver="{NAME_SERVER}"',
        )
        return "".join(f"{line}\n" for line in lines).encode()

    def _meta_data(self) -> Mapping[str, object]:
        # cloudbase-init's ConfigDrive source takes the password from here, as it is.
        password = {"admin_pass": self.password} if self.windows else {}
        return {
            **password,
            "uuid": self.uuid,
            "instance_id": self.id,
            "name": self.hostname,
            "hostname": self.hostname,
            "public_keys": {"imgtool": self.public_key},
            "availability_zone": "rehearsal-1",
            "launch_index": 0,
        }

    def _vendor_config(self) -> str:
        import yaml

        config = {
            "hostname": self.hostname,
            "chpasswd": {"expire": False, "list": f"root:{self.password_hash}\n"},
            "ssh_pwauth": True,
            "ssh_authorized_keys": [self.public_key],
            "manage_resolv_conf": True,
            "resolv_conf": {"nameservers": [NAME_SERVER]},
        }
        return "#cloud-config\n" + yaml.safe_dump(config, default_flow_style=False)


def new_instance(windows: bool = False) -> Instance:
    """A fresh one, for a Windows or a Linux: none of its values was ever used before.

    Raises MachineLacks without crypt(3).
    """
    # With a letter of each kind: Windows' policy refuses a password that has not.
    password = "Aa1" + "".join(secrets.choice(_LETTERS) for _ in range(16))
    return Instance(
        id="ins-" + secrets.token_hex(4),
        uuid=str(uuid.uuid4()),
        hostname="vm-" + secrets.token_hex(4),
        password=password,
        password_hash=_hashed(password),
        public_key=_public_key(),
        token=secrets.token_hex(8),
        windows=windows,
    )


def _hashed(password: str) -> str:
    """crypt(3) with SHA-512: from the C library, or from openssl. (Python dropped its module in 3.13.)"""
    salt = "".join(secrets.choice(_LETTERS) for _ in range(16))
    for name in _LIBCRYPT:
        with suppress(OSError, AttributeError):
            crypt = ctypes.CDLL(name).crypt
            crypt.restype = ctypes.c_char_p
            hashed: bytes | None = crypt(password.encode(), f"$6${salt}".encode())
            if hashed and hashed.startswith(b"$6$"):
                return hashed.decode()
    from imgtool.process import run

    try:
        said = run(["openssl", "passwd", "-6", "-salt", salt, "-stdin"], timeout=10, input=password.encode())
    except ImgtoolError as failure:
        raise MachineLacks("libcrypt.so.1, nor openssl,", "libcrypt1") from failure
    return said.stdout.decode().strip()


def _public_key() -> str:
    """An ssh-ed25519 key of random bytes."""
    kind = b"ssh-ed25519"
    blob = struct.pack(">I", len(kind)) + kind + struct.pack(">I", 32) + secrets.token_bytes(32)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} imgtool-rehearsal"


def _network_data() -> Mapping[str, object]:
    return {
        "links": [{"id": "eth0", "type": "phy", "ethernet_mac_address": MAC, "mtu": 1500}],
        "networks": [
            {
                "id": "network0",
                "type": "ipv4",
                "link": "eth0",
                "ip_address": ADDRESS,
                "netmask": NETMASK,
                # In place of a default entry in `routes`, which cloud-init writes as calls of route(8) where
                # the guest has ifupdown; many have no such program.
                "gateway": GATEWAY,
            }
        ],
        "services": [{"type": "dns", "address": NAME_SERVER}],
    }


def _json(content: object) -> bytes:
    return json.dumps(content, indent=1).encode()
