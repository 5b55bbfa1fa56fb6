#!/bin/bash
# setup.sh [--dev] LIST...: makes a fresh Debian or Ubuntu machine ready, and is quick when it already is.
#
# Installs the system packages of tools/apt/LIST.txt that are missing, makes the virtual environment .venv on
# the distribution's own Python (whose site packages hold `guestfs`, which no index has) and puts imgtool into
# it, editable; --dev adds what tests and linters need. Says nothing when there is nothing to do.
# Exit code 4: this machine lacks something; the message says what to do about it.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8
python=/usr/bin/python3

say() { printf 'setup: %s\n' "$*" >&2; }
stop() {
	say "$@"
	exit 4
}

extras=
if [ "${1:-}" = --dev ]; then
	extras='[dev]'
	shift
fi

# Two makes at once: the second waits here, then finds everything done.
exec 9<"$0"
if ! flock --nonblock 9; then
	say "another set-up is running in this folder; waiting for it"
	flock 9
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A command whose output matters only when it fails.
logged() { "$@" >"$log" 2>&1 </dev/null; }
show_log() { tail -n 15 "$log" | cut -c 1-200 | sed 's/^/  | /' >&2; }

# -- system packages -------------------------------------------------------------------------------------

# The lists: one package a line; "a | b": the first that this distribution has, unless one is installed;
# a name with * is only looked for, never installed; "? a": left out where the distribution has no such package.
declare -A installed=()
read_installed() {
	local name state
	while read -r name state; do
		[ "$state" = installed ] && installed[$name]=1
	done < <(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n')
}

is_installed() {
	local name
	case $1 in
	*'*'*)
		for name in "${!installed[@]}"; do
			# shellcheck disable=SC2053 # the right side is a pattern
			[[ $name == $1 ]] && return 0
		done
		return 1
		;;
	*) [ -n "${installed[$1]:-}" ] ;;
	esac
}

# Lines of the lists of which nothing is installed.
wanted_lines() {
	local list line alternative
	for list in "$@"; do
		while read -r line; do
			line=${line%%#*}
			[ -n "${line// /}" ] || continue
			for alternative in ${line//[|?]/ }; do
				is_installed "$alternative" && continue 2
			done
			printf '%s\n' "$line"
		done <"tools/apt/$list.txt"
	done
}

has_candidate() {
	[[ $(apt-cache policy "$1" 2>/dev/null) == *'  Candidate: '[!\(]* ]]
}

# What to install for the lines on stdin; "!name" where apt knows none of a line's names.
choose() {
	local line alternative first
	while read -r line; do
		first=
		for alternative in ${line//[|?]/ }; do
			case $alternative in *'*'*) continue ;; esac
			if has_candidate "$alternative"; then
				printf '%s\n' "$alternative"
				continue 2
			fi
			first=${first:-$alternative}
		done
		case $line in '?'*) ;; *) printf '!%s\n' "$first" ;; esac
	done
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		env "$@"
	elif [ -n "${CI:-}" ] || [ ! -t 0 ]; then
		sudo -n env "$@" # nobody is there to type a password
	else
		sudo env "$@"
	fi
}

apt_get() {
	as_root DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
		apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o Acquire::Retries=2 "$@"
}

# The package lists have a lock of their own, which a machine's first boot likes to hold (apt-daily).
apt_update() {
	say "apt-get update"
	local try
	for try in 1 2 3 4 5 6; do
		logged apt_get update && return
		grep -q 'Could not get lock' "$log" || return 1
		[ "$try" = 6 ] || sleep 10
	done
	return 1
}

install_command() { printf 'apt-get install --no-install-recommends %s' "$*"; }

unreachable() { grep -q 'Could not resolve\|Temporary failure\|[Cc]ould not connect\|unreachable\|timed out' "$log"; }

apt_failed() {
	show_log
	if unreachable; then
		stop "apt can't reach the package servers: no network, or a proxy that apt doesn't know (Acquire::http::Proxy)"
	fi
	if grep -q '^sudo: ' "$log"; then
		stop "sudo refused; as root, run: $(install_command "$@")"
	fi
	stop "apt failed as shown above; once it is mended, run this again, or as root: $(install_command "$@")"
}

system_packages() {
	local lines packages unknown updated=
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		say "this machine has no apt: install what $(printf 'tools/apt/%s.txt ' "$@")name by yourself"
		return
	fi
	read_installed
	lines=$(wanted_lines "$@")
	[ -n "$lines" ] || return 0

	packages=$(choose <<<"$lines")
	if [ -z "$packages" ]; then
		return 0 # only optional ones, and this distribution has none of them
	fi
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
		# shellcheck disable=SC2086 # a list of words
		stop "system packages are missing, you are not root, and there is no sudo; as root, run:" \
			"apt-get update && $(install_command ${packages//!/})"
	fi
	[ "$(id -u)" = 0 ] || say "system packages are missing; installing them with sudo"
	case $packages in *'!'*)
		apt_update || apt_failed ${packages//!/}
		updated=yes
		packages=$(choose <<<"$lines")
		;;
	esac
	unknown=$(sed -n 's/^!//p' <<<"$packages")
	if [ -n "$unknown" ]; then
		! unreachable || apt_failed $unknown
		stop "not in this machine's package sources: ${unknown//$'\n'/, }" \
			"(on Ubuntu: sudo add-apt-repository universe; also look at /etc/apt/sources.list*)"
	fi
	# shellcheck disable=SC2086 # a list of words
	set -- $packages
	[ $# -gt 0 ] || return 0
	say "installing system packages ($#): $*"
	if ! logged apt_get install --no-install-recommends "$@"; then
		# Lists older than the servers' files give 404s, or versions that what is installed doesn't go with.
		[ -z "$updated" ] && ! unreachable || apt_failed "$@"
		apt_update || apt_failed "$@"
		logged apt_get install --no-install-recommends "$@" || apt_failed "$@"
	fi
}

# -- Python ----------------------------------------------------------------------------------------------

require_python() {
	[ -x $python ] || stop "there is no $python; install python3"
	$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' || stop \
		"imgtool needs Python 3.10 or newer; $python here is $($python -V | cut -d' ' -f2)." \
		"Debian 12, Ubuntu 22.04 and everything newer have it."
}

# Is .venv one that was made here, on this Python, with its site packages?
venv_fits() {
	[ -x .venv/bin/python ] && [ -x .venv/bin/pip ] &&
		grep -qsF "$PWD/.venv/bin/python" .venv/bin/pip &&
		grep -qs '^include-system-site-packages = true' .venv/pyvenv.cfg &&
		grep -qsx "version = $1" .venv/pyvenv.cfg
}

virtual_environment() {
	local version stamp content
	version=$($python -c 'import platform; print(platform.python_version())')
	if ! venv_fits "$version"; then
		say "making .venv on $python ($version)"
		if ! logged $python -m venv --clear --system-site-packages .venv; then
			show_log
			rm -rf .venv/bin
			stop "the virtual environment can't be made (is python3-venv installed, and this folder yours?)"
		fi
	fi
	# What was installed for development serves for everything.
	content=$(cat pyproject.toml imgtool/__init__.py "$0" | sha256sum | cut -d' ' -f1)
	stamp=.venv/imgtool-set-up
	if grep -qsxF -e "$content[dev]" -e "$content$extras" $stamp; then
		return
	fi
	[ "$extras" ] || ! grep -qsF '[dev]' $stamp || extras='[dev]'
	say "installing imgtool$extras and the Python packages it needs into .venv"
	if ! PIP_USER=0 logged .venv/bin/python -m pip install \
		--disable-pip-version-check --no-input --retries 2 -e ".$extras"; then
		show_log
		if grep -q 'NewConnectionError\|ConnectTimeout\|ReadTimeout\|ProxyError\|Connection refused' "$log"; then
			stop "pip can't reach the package index: no network? behind a proxy, set https_proxy; with a mirror," \
				"set PIP_INDEX_URL"
		fi
		if grep -qi 'certificate' "$log"; then
			stop "pip doesn't trust the package index's certificate; set PIP_CERT to your network's CA file"
		fi
		stop "pip failed as shown above; once that is mended, run this again"
	fi
	printf '%s\n' "$content$extras" >$stamp
}

# libguestfs builds its appliance from the host's kernel, which Ubuntu lets only root read.
readable_kernel() {
	local kernel
	for kernel in /boot/vmlinuz-*; do
		[ -r "$kernel" ] && return
	done
	if [ -e "$kernel" ]; then
		say "libguestfs can't read the kernel in /boot and won't work; let it: sudo chmod 0644 /boot/vmlinuz-*"
	fi
}

require_python
system_packages "$@"
virtual_environment
case " $* " in *' test '* | *' demo '*) readable_kernel ;; esac
