"""The platform's machine as QEMU's command line.

Its hardware is ref 06's and ref 07's: disk virtio-blk (`vda`), one virtio-net (`eth0`), Cirrus VGA, beside a
serial console and ACPI; the config drive of ref 02 is a CD. Of QEMU's defaults nothing is left in
(`-nodefaults`, `-no-user-config`), and what the guest writes goes to an overlay.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgtool.rehearsal.firmware import Architecture

Mode = Literal["bios", "uefi"]
MAC = "52:54:00:1d:c0:de"
# QEMU's user network has to hold the guest, its gateway and the metadata service; 168.0.0.0/5 is the
# smallest that has private addresses in it (172.16.0.0/12) and 169.254.0.0/16.
NETWORK = "168.0.0.0/5"
ADDRESS, GATEWAY, NAME_SERVER, NETMASK = "172.16.0.15", "172.16.0.1", "172.16.0.2", "255.255.240.0"
# Where OpenStack's and EC2's clients ask, and where ref 04 sends cloudbase-init.
METADATA_ADDRESSES = ("169.254.169.254", "169.254.0.23")
RELAY = Path(__file__).with_name("relay.py")


@dataclass(frozen=True)
class Disk:
    """What is booted. base: the image as QEMU is to open it (imgtool.disk.nbd.image_node); overlay: the
    qcow2 that takes what the guest writes; descriptors: what QEMU inherits for `base`."""

    base: Mapping[str, object]
    overlay: Path
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Machine:
    """One machine. kvm: by the CPU, else emulated; memory in MiB; variables: the UEFI variable store of this
    machine (with `code`, its firmware); cd: the config drive; metadata: the abstract socket that answers the
    metadata addresses, "" for no network but DHCP."""

    architecture: Architecture
    mode: Mode
    disk: Disk
    kvm: bool
    cpus: int = 2
    memory: int = 2048
    code: Path | None = None
    variables: Path | None = None
    cd: Path | None = None
    metadata: str = ""


@dataclass(frozen=True)
class Lines:
    """Descriptors of connected sockets that QEMU inherits: QMP, the serial console, the firmware's log."""

    qmp: int
    console: int
    firmware: int


def program(architecture: Architecture) -> str:
    """The emulator's name."""
    return f"qemu-system-{architecture}"


def command_line(machine: Machine, lines: Lines) -> list[str]:
    """The emulator's arguments, its name first. It starts halted, and stays when the guest powers off."""
    return [
        program(machine.architecture),
        *("-name", "imgtool rehearsal", "-nodefaults", "-no-user-config", "-S", "-no-shutdown"),
        *("-display", "none", "-m", str(machine.memory), "-smp", str(machine.cpus)),
        # What a guest that breaks out of QEMU may not do; `spawn` stays for the relay of the metadata,
        # and elevateprivileges=deny would keep that from starting.
        *("-sandbox", "on,obsolete=deny,resourcecontrol=deny"),
        *_board(machine),
        *_disk(machine),
        *_network(machine),
        *("-chardev", f"socket,id=qmp,fd={lines.qmp}", "-mon", "chardev=qmp,mode=control"),
        *("-chardev", f"socket,id=console,fd={lines.console}", "-serial", "chardev:console"),
        *_firmware_log(machine, lines),
    ]


def _board(machine: Machine) -> Iterator[str]:
    arm = machine.architecture == "aarch64"
    board = "virt" if arm else "pc"
    yield from ("-machine", board)
    if machine.kvm:
        yield from ("-accel", "kvm", "-cpu", "host")
    else:
        yield from ("-accel", "tcg,thread=multi,tb-size=512")
        yield from ("-cpu", "max" if arm else EMULATED_CPU)
    if machine.code is not None:
        for unit, path, read_only in ((0, machine.code, True), (1, machine.variables, False)):
            node = {
                "driver": "raw",
                "node-name": f"flash{unit}",
                "read-only": read_only,
                "file": {"driver": "file", "filename": str(path)},
            }
            yield from ("-blockdev", json.dumps(node))
        yield from ("-machine", "pflash0=flash0,pflash1=flash1")
    if arm:
        yield from ("-device", "virtio-gpu-pci", "-device", "qemu-xhci", "-device", "usb-kbd")
    else:
        yield from ("-vga", "cirrus")


# Everything that QEMU can emulate, as an Intel CPU: guests distrust the clock of an AMD one with two cores,
# and read a slow one instead. Model 54 is an Atom that runs everything in order, as the emulator does: Linux
# then leaves out its defences against speculation, of which separate page tables cost a fifth of a boot.
# Five-level page tables only cost time.
EMULATED_CPU = "max,vendor=GenuineIntel,family=6,model=54,la57=off"


def _disk(machine: Machine) -> Iterator[str]:
    # By -drive, since -blockdev does not know all options of `base` (force_size_calc of VHDs, backing null).
    overlay = {
        "driver": "qcow2",
        "file": {"driver": "file", "filename": str(machine.disk.overlay)},
        "backing": dict(machine.disk.base),
    }
    words = "json:" + json.dumps(overlay)
    yield from ("-drive", f"if=none,id=disk,cache=unsafe,file={words.replace(',', ',,')}")
    yield from ("-device", "virtio-blk-pci,drive=disk,bootindex=0")
    if machine.cd is None:
        return
    cd = {
        "driver": "raw",
        "node-name": "cd",
        "read-only": True,
        "file": {"driver": "file", "filename": str(machine.cd)},
    }
    yield from ("-blockdev", json.dumps(cd))
    if machine.architecture == "aarch64":
        yield from ("-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=cd")
    else:
        # OVMF switches an IDE port on only when it looks there for something to boot, and Linux's ata_piix
        # leaves a port alone that is off.
        yield from ("-device", "ide-cd,drive=cd" + (",bootindex=1" if machine.mode == "uefi" else ""))


def _network(machine: Machine) -> Iterator[str]:
    """Restricted: DHCP and the metadata service; nothing else of this machine, and nothing beyond it."""
    words = [
        f"user,id=net,restrict=on,ipv6=off,net={NETWORK},host={GATEWAY},dns={NAME_SERVER}",
        f"dhcpstart={ADDRESS}",
    ]
    if machine.metadata:
        relay = shlex.join([sys.executable, "-I", "-S", str(RELAY), machine.metadata]).replace(",", ",,")
        words += [f"guestfwd=tcp:{address}:80-cmd:{relay}" for address in METADATA_ADDRESSES]
    yield from ("-netdev", ",".join(words))
    yield from ("-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile=")


def _firmware_log(machine: Machine, lines: Lines) -> Iterator[str]:
    """SeaBIOS and OVMF write their log to port 0x402, which no system looks at."""
    if machine.architecture == "x86_64":
        yield from ("-chardev", f"socket,id=firmware,fd={lines.firmware}")
        yield from ("-device", "isa-debugcon,iobase=0x402,chardev=firmware")
