"""The script by which the guest tells what became of its first boot: as user data, run by cloud-init, or
typed at the console of an image that has none. cloud-init runs it again on every later boot.

It needs a POSIX shell and /proc. It reports twice: over the metadata address, by whichever of curl, wget,
Python and bash there is, and, line by line, over the serial port, where it then says whether the other was
sent.
"""

from __future__ import annotations

import shlex

REPORT_PATH = "/imgtool/report"
MARK = "imgtool-report"
_FACTS = r"""
report() {
echo hostname=$(hostname 2>/dev/null || cat /proc/sys/kernel/hostname)
echo kernel=$(uname -r)
echo architecture=$(uname -m)
echo disks=$(ls /sys/block | grep -v '^\(loop\|ram\|sr\|dm\|fd\|md\|zram\)')
echo interfaces=$(cd /sys/class/net && for card in *; do [ -e "$card/device" ] && echo "$card"; done)
echo root=$(awk '$2 == "/" { found = $1 " " $3 } END { print found }' /proc/mounts)
echo address=$( (ip -4 -o addr show dev eth0 || ifconfig eth0) 2>/dev/null | \
  sed -n 's/.*inet \(addr:\)\{0,1\}\([0-9.]*\).*/\2/p' | head -n 1)
echo gateway=$( (ip -4 route show default || route -n) 2>/dev/null | \
  sed -n 's/^default via \([0-9.]*\).*/\1/p; s/^0\.0\.0\.0 *\([0-9.]*\).*/\1/p' | head -n 1)
echo resolver=$(sed -n 's/^nameserver *//p' /etc/resolv.conf 2>/dev/null)
if cut -d: -f2 /etc/shadow | grep -qxF "$hash"; then echo password=yes; else echo password=no; fi
for file in /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys; do
  [ -r "$file" ] && grep -q "^$key" "$file" && echo "key=$file"
done
echo datasource=$(cat /var/lib/cloud/instance/datasource 2>/dev/null | head -n 1)
echo instance=$(cat /var/lib/cloud/data/instance-id 2>/dev/null)
echo failed=$(systemctl --failed --no-legend --plain 2>/dev/null | awk '{ print $1 }')
echo end=1
}
"""
_SEND = r"""
if [ -d /var/lib/cloud/scripts/per-boot ]; then
  cp "$0" /var/lib/cloud/scripts/per-boot/imgtool && chmod 755 /var/lib/cloud/scripts/per-boot/imgtool
fi 2>/dev/null
work=$(mktemp 2>/dev/null || echo /tmp/imgtool-report.$$)
report > "$work" 2>/dev/null
for tty in /dev/ttyS0 /dev/ttyAMA0; do
  [ -c "$tty" ] || continue
  ( while read -r line; do printf '\r\n%s %s\r\n' "$mark" "$line"; done < "$work" > "$tty" ) 2>/dev/null &
  break
done
send() {
  post='import sys
try: from urllib.request import urlopen
except ImportError: from urllib2 import urlopen
urlopen(sys.argv[1], open(sys.argv[2], "rb").read(), timeout=20).read()'
  curl -sS -f -m 20 -o /dev/null --data-binary "@$work" "$1" ||
    wget -q -T 20 -t 1 -O /dev/null --post-file="$work" "$1" ||
    python3 -c "$post" "$1" "$work" || python -c "$post" "$1" "$work" ||
    bash -c 'exec 3<> /dev/tcp/$1/80 && { printf "POST %s HTTP/1.0\r\nContent-Length: %s\r\n\r\n" "$2" \
      "$(wc -c < "$3")"; cat "$3"; } >&3 && cat <&3' sh "${1#http://}" "$path" "$work"
}
if send "http://169.254.169.254$path" 2>/dev/null; then sent=yes; else sent=no; fi
wait
( printf '\r\n%s sent=%s\r\n' "$mark" "$sent" > "$tty" ) 2>/dev/null
rm -f "$work"
"""


_WINDOWS = r"""
$ErrorActionPreference = 'SilentlyContinue'
$card = Get-WmiObject Win32_NetworkAdapterConfiguration -Filter 'IPEnabled=True' | Select-Object -First 1
$password = 'unknown'
try {
  Add-Type -AssemblyName System.DirectoryServices.AccountManagement
  $accounts = New-Object System.DirectoryServices.AccountManagement.PrincipalContext('Machine')
  if ($accounts.ValidateCredentials('Administrator', $given)) { $password = 'yes' } else { $password = 'no' }
} catch { }
$facts = @(
  'hostname=' + [System.Net.Dns]::GetHostName()
  'kernel=Windows ' + [Environment]::OSVersion.Version
  'architecture=' + $env:PROCESSOR_ARCHITECTURE
  'disks=' + ((Get-WmiObject Win32_DiskDrive | ForEach-Object { $_.PNPDeviceID }) -join ' ')
  'address=' + ($card.IPAddress | Where-Object { $_ -match '^[0-9.]+$' } | Select-Object -First 1)
  'gateway=' + ($card.DefaultIPGateway | Select-Object -First 1)
  'password=' + $password
  'end=1'
)
function Tell($lines) {
  try {
    $port = New-Object System.IO.Ports.SerialPort('COM1', 115200)
    $port.WriteTimeout = 20000
    $port.Open()
    foreach ($line in $lines) { $port.Write("`r`n$mark $line`r`n") }
    $port.Close()
  } catch { }
}
Tell $facts
$sent = 'no'
foreach ($address in '169.254.169.254', '169.254.0.23') {
  try {
    [void](New-Object System.Net.WebClient).UploadString("http://$address$path", ($facts -join "`n"))
    $sent = 'yes'
    break
  } catch { }
}
Tell @("sent=$sent")
"""


def windows_user_data(token: str, password: str) -> str:
    """The script for one run of a Windows, which cloudbase-init runs in PowerShell; 2.0 is enough."""
    values = (f"$mark = '{MARK}-{token}'", f"$path = '{REPORT_PATH}/{token}'", f"$given = '{password}'")
    return "\r\n".join(["#ps1_sysnative", *values, *_WINDOWS.strip().splitlines(), ""])


def user_data(token: str, password_hash: str, public_key: str) -> str:
    """The script for one run, whose report is marked with `token`."""
    kind, blob, *_ = public_key.split()
    values = (
        f"mark={shlex.quote(f'{MARK}-{token}')}",
        f"path={shlex.quote(f'{REPORT_PATH}/{token}')}",
        f"hash={shlex.quote(password_hash)}",
        f"key={shlex.quote(f'{kind} {blob}')}",
        "PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin",
    )
    return "\n".join(["#!/bin/sh", "# How this boot went, for `imgtool rehearse`.", *values]) + _FACTS + _SEND


def typed(token: str, password_hash: str) -> list[str]:
    """The same report as lines to type at a root shell on the serial console.

    Each is short: terminals of old systems take 4096 bytes a line. What the shell echoes does not look like
    the report, since the mark is put together by the shell.
    """
    lines = ["stty -echo", f"mark={MARK}", f"token={token}", f"hash={shlex.quote(password_hash)}", "key=none"]
    lines += [line for line in _FACTS.strip().splitlines() if not line.startswith(("for file", "done"))]
    lines = [line for line in lines if '"key=$file"' not in line]
    return [*lines, 'report 2>/dev/null | while read -r line; do echo "$mark-$token $line"; done']


def parse(lines: list[str]) -> dict[str, str]:
    """The facts of a report, by name; `key` may come several times and then holds all its values."""
    facts: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.strip().partition("=")
        if equals and name.isidentifier():
            earlier = f"{facts[name]} " if name == "key" and name in facts else ""
            facts[name] = earlier + value.strip()[:1000]
    return facts
