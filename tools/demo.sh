#!/bin/bash
# demo.sh: the whole way on this machine: a broken Debian, found out, mended, uploaded and imported into a local
# cloud (imgtool sandbox) until it is NORMAL. Set up by `make demo`. DEMO_IMAGE: another image of `fixtures`.
set -euo pipefail
cd "$(dirname "$0")/.."
imgtool=.venv/bin/imgtool
image=${DEMO_IMAGE:-debian12-bios/no-virtio-initramfs}

say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }

work=$(mktemp -d "${TMPDIR:-/tmp}/imgtool-demo-XXXXXX")
server=
finish() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT

say "A Debian 12 that another hypervisor would boot, and this cloud would not ($image)"
path=$(.venv/bin/python -m fixtures path "$image")
$imgtool check "$path" && {
	echo "demo: the image has no fault" >&2
	exit 1
}

say "A cloud on this machine: imgtool sandbox"
$imgtool sandbox --dir "$work/cloud" &
server=$!
for _ in $(seq 100); do
	[ -s "$work/cloud/env.sh" ] && break
	kill -0 "$server"
	sleep 0.1
done
# shellcheck source=/dev/null
source "$work/cloud/env.sh"
$imgtool doctor --cloud

say "What will be done: imgtool prepare --plan"
$imgtool prepare "$path" --name demo --work "$work/prepare" --plan --bandwidth 100Mbps

say "imgtool prepare --yes"
$imgtool prepare "$path" --name demo --work "$work/prepare" --yes --format markdown

say "Again: everything is done already"
image_id=$($imgtool prepare "$path" --name demo --work "$work/prepare" --yes 2>/dev/null)
printf '%s is NORMAL\n' "$image_id"
