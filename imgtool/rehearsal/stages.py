"""What a rehearsal proves, each thing with its id, its title and its page in docs/checks.md.

A stage that is reached is reported under its own id. One that is not is reported under the id of the rule
that explains it, where there is one, so that a boot and the static check call a fault by the same name.
"""

from __future__ import annotations

from dataclasses import dataclass

from imgtool.text import Text


@dataclass(frozen=True)
class Stage:
    """rule: the rule of the catalogue under which it fails, "" for its own id."""

    id: str
    title: Text
    explanation: str
    rule: str = ""


STAGES: dict[str, Stage] = {
    stage.id.removeprefix("rehearsal."): stage
    for stage in (
        Stage(
            "rehearsal.firmware",
            Text("Rehearsal: the firmware starts the boot loader", "预演：固件启动引导程序"),
            "The firmware (SeaBIOS or OVMF) finds the disk and starts what is on it.",
            "disk.boot-mode",
        ),
        Stage(
            "rehearsal.loader",
            Text("Rehearsal: the boot loader starts a kernel", "预演：引导程序启动内核"),
            "The boot loader finds its files, waits for nobody, and starts a kernel.",
            "linux.bootloader",
        ),
        Stage(
            "rehearsal.kernel",
            Text("Rehearsal: the kernel runs", "预演：内核运行"),
            "A kernel starts on the platform's hardware and does not panic.",
        ),
        Stage(
            "rehearsal.root",
            Text("Rehearsal: the root filesystem is found", "预演：找到根文件系统"),
            "The initramfs finds the root on a virtio disk: no emergency shell, no waiting for a device.",
        ),
        Stage(
            "rehearsal.login",
            Text("Rehearsal: the system comes up", "预演：系统启动完成"),
            "The system asks for a login within the time limit, and does not restart or power off instead. A "
            "Windows is up when its user data reports from inside, or the words of a logon or a desktop are "
            "read off its screen; a screen that says no such thing is `unknown`.",
        ),
        Stage(
            "rehearsal.devices",
            Text("Rehearsal: the disk is vda, the network card eth0", "预演：磁盘为 vda，网卡为 eth0"),
            "The guest sees its disk as `vda` and its one network card as `eth0` (ref 06).",
            "linux.network",
        ),
        Stage(
            "rehearsal.network",
            Text("Rehearsal: the network works", "预演：网络可用"),
            "The guest has the address that it was given, and reaches the metadata service with it (ref 14).",
            "linux.network",
        ),
        Stage(
            "rehearsal.first-boot",
            Text("Rehearsal: the first boot is carried out", "预演：首次启动初始化完成"),
            "cloud-init took the config drive and ran this run's user-data script; with `--force-import`, "
            "the image's own script took os.conf (ref 02, ref 11).",
            "linux.cloud-init.datasource",
        ),
        Stage(
            "rehearsal.hostname",
            Text("Rehearsal: the host name is set", "预演：主机名已设置"),
            "The guest has the host name that it was given.",
            "linux.cloud-init.modules",
        ),
        Stage(
            "rehearsal.password",
            Text("Rehearsal: the password is set", "预演：密码已设置"),
            "The password hash that was handed over stands in the guest's /etc/shadow; with "
            "`--force-import`, root can log in with the password.",
            "linux.cloud-init.modules",
        ),
        Stage(
            "rehearsal.key",
            Text("Rehearsal: the SSH key is set", "预演：SSH 密钥已设置"),
            "The SSH key that was handed over is among the authorized keys of root or another user.",
            "linux.cloud-init.modules",
        ),
        Stage(
            "rehearsal.services",
            Text("Rehearsal: services start", "预演：服务启动"),
            "No unit of systemd has failed.",
        ),
        Stage(
            "rehearsal.console",
            Text("Rehearsal: serial console", "预演：串口控制台"),
            "The guest uses the serial console, and does not flood it. On the platform it is the only way to "
            "see why a boot failed.",
            "linux.bootloader.console",
        ),
        Stage(
            "rehearsal.shutdown",
            Text("Rehearsal: the power button shuts it down", "预演：电源按钮可正常关机"),
            "The guest powers off when ACPI's power button is pressed, within two minutes (ref 10).",
            "linux.acpi",
        ),
        Stage(
            "rehearsal.second-boot",
            Text("Rehearsal: it boots a second time", "预演：可再次启动"),
            "What the first boot changed does not keep the image from booting again.",
        ),
        Stage(
            "rehearsal.machine",
            Text("Rehearsal: the machine", "预演：虚拟机"),
            "QEMU runs on this machine, and to the end of the rehearsal.",
        ),
    )
}
