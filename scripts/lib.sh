# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What every script here shares.  Source it after `set -euo pipefail`:
#
#	. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
#
#   $root, $build             the repository and its build directory
#   say TEXT                  one line to the user
#   die MESSAGE [REMEDY]      the same on stderr, and exit 1
#   usage_if_asked "$@"       --help prints the comment block that opens the script
#   preflight                 can this machine do it at all?  Before any download
#   need_packages NAME...     install what is missing
#   build_lock, build_unlock  one writer in build/ at a time; nests
#   step N M WHAT TIME -- CMD run CMD with a log, progress and a clear failure
#   atomic_to FILE CMD...     CMD's output becomes FILE, whole or not at all
#   build_env                 ccache and a reproducible build, for `make`

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
build=$root/build
prog=${0##*/}
export LC_ALL=C.UTF-8

# Debian package names; only the arrays that a script asks for are installed.
# shellcheck disable=SC2034
pkgs_build=(bc bison ccache cpio flex gcc git kmod libc6-dev libelf-dev make
	    perl python3 xz-utils)
# shellcheck disable=SC2034
pkgs_run=(busybox-static iproute2 kmod procps python3 qemu-system-x86)
# shellcheck disable=SC2034
pkgs_check=(clang codespell coccinelle python3-git python3-ply python3-sphinx shellcheck
	    sparse)

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s: error: %s\n' "$prog" "$1" >&2
	[[ -z ${2-} ]] || printf '  try: %s\n' "$2" >&2
	exit 1
}

usage_if_asked()
{
	local arg

	for arg; do
		case $arg in
		-h | --help)
			awk 'NR <= 2 { next } !/^#/ { exit }
			     { sub(/^# ?/, ""); print }' "$0"
			exit 0
			;;
		--)
			return 0
			;;
		esac
	done
}

# Minutes and seconds, for people.
duration()
{
	if (($1 < 60)); then
		printf '%d s' "$1"
	else
		printf '%d min %d s' $(($1 / 60)) $(($1 % 60))
	fi
}

# One line at least every 30 s while process $1 lives; $2 is its log.
step_ticker()
{
	local owner=$1 log=$2 start=$SECONDS next=20 last

	while sleep 1; do
		[[ -d /proc/$owner ]] || exit 0
		((SECONDS - start >= next)) || continue
		next=$((next + 20))
		last=$(tail -n 1 "$log" 2>/dev/null | tr -cd '[:print:]' | cut -c 1-50)
		say "      ... $(duration $((SECONDS - start))): $last"
	done
}

# Runs CMD with its output in file LOG and a ticker beside it; leaves the exit
# status in $logged_status and never fails itself.  Call it as a plain command, for
# in a condition bash would switch off `set -e` in CMD too.  CMD may be a function,
# which sees the locals of its callers: hence the prefixes here and below.
logged()
{
	local logged_log=$1 logged_ticker

	shift
	mkdir -p "${logged_log%/*}"
	: >"$logged_log"
	step_ticker $$ "$logged_log" 9>&- &
	logged_ticker=$!
	# shellcheck disable=SC2064
	trap "kill $logged_ticker 2>/dev/null || :" EXIT
	set +e
	(
		set -e
		"$@"
	) >"$logged_log" 2>&1 </dev/null
	logged_status=$?
	set -e
	kill "$logged_ticker" 2>/dev/null || :
	wait "$logged_ticker" 2>/dev/null || :
	trap - EXIT
}

log_end()
{
	tail -n 20 "$1" | sed 's/^/      | /' >&2
}

step()
{
	local step_what=$3 step_log step_start=$SECONDS

	say "[$prog $1/$2] $3 (about $4)"
	shift 4
	[[ $1 != -- ]] || shift
	step_log=$(tr -cs 'a-z0-9\n' - <<<"${step_what,,}")
	step_log=$build/log/${step_log%-}.log
	logged "$step_log" "$@"
	if ((logged_status)); then
		log_end "$step_log"
		die "$step_what failed with status $logged_status after $(duration $((SECONDS - step_start)))" \
		    "read the whole log: $step_log"
	fi
	say "      done in $(duration $((SECONDS - step_start)))"
}

atomic_to()
{
	local atomic_file=$1

	shift
	mkdir -p "${atomic_file%/*}"
	if ! "$@" >"$atomic_file.tmp.$$"; then
		rm -f "$atomic_file.tmp.$$"
		return 1
	fi
	mv -f "$atomic_file.tmp.$$" "$atomic_file"
}

# Replaces FILE by TMP only when they differ: make looks at the time of FILE.
replace_if_changed()
{
	if cmp -s "$1" "$2"; then
		rm -f "$1"
	else
		mv -f "$1" "$2"
	fi
}

# The lock is a file descriptor, so that children keep it while they run and it
# vanishes with the last of them.
build_lock()
{
	[[ ${KTASK_BUILD_LOCK-} != "$build" ]] || return 0
	mkdir -p "$build"
	exec 9>"$build/.lock"
	if ! flock -n 9; then
		say "$prog: another make works in build/; waiting for it"
		flock -w 3600 9 || die "build/ is still locked after an hour" \
			"see who holds $build/.lock: fuser -v $build/.lock"
	fi
	export KTASK_BUILD_LOCK=$build
	build_lock_is_mine=yes
}

# For a long step that others need not wait for; does nothing in a nested script.
build_unlock()
{
	[[ -n ${build_lock_is_mine-} ]] || return 0
	unset KTASK_BUILD_LOCK build_lock_is_mine
	exec 9>&-
}

packages_missing()
{
	local name

	for name; do
		[[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] ||
			printf '%s\n' "$name"
	done
}

# Only this function needs root.
need_packages()
{
	local missing install=() sudo=()

	command -v dpkg-query >/dev/null || return 0
	mapfile -t missing < <(packages_missing "$@" | sort -u)
	((${#missing[@]})) || return 0
	install=(env DEBIAN_FRONTEND=noninteractive apt-get -y
		 -o DPkg::Lock::Timeout=600)
	if ((EUID)); then
		command -v sudo >/dev/null ||
			die "packages are missing and there is no sudo" \
			    "as root: apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
		sudo=(sudo)
	fi
	say "Missing packages; this runs now:"
	say "  ${sudo[*]} ${install[*]} install --no-install-recommends ${missing[*]}"
	[[ -z ${sudo[*]} ]] || sudo -v || die "sudo refused" \
		"as root: apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
	step 1 2 "Read the package lists" "20 s" -- \
		"${sudo[@]}" "${install[@]}" update
	step 2 2 "Install packages" "1 min" -- \
		"${sudo[@]}" "${install[@]}" install --no-install-recommends "${missing[@]}"
}

# KTASK_ANY_HOST=1 is for other distributions: then the tools must be there.
preflight()
{
	local ID="" VERSION_ID="" kib

	[[ -z ${KTASK_PREFLIGHT-} ]] || return 0
	[[ $(uname -m) == x86_64 ]] ||
		die "this is $(uname -m); kernels are built and run for x86-64" \
		    "an x86-64 machine"
	[[ $root != *[[:space:]:]* ]] ||
		die "the path '$root' has a space or a colon, which kbuild cannot take" \
		    "move the clone to another directory"
	# shellcheck source=/dev/null
	[[ ! -r /etc/os-release ]] || . /etc/os-release
	if [[ $ID != debian || $VERSION_ID != 12 ]] && [[ -z ${KTASK_ANY_HOST-} ]]; then
		die "this is not Debian 12 (${ID:-unknown} ${VERSION_ID:-})" \
		    "a container: docker run --rm -it -v '$root:$root' -w '$root' debian:12 sh -c 'apt-get update && apt-get install -y make && make run'
  or:  install what these Debian packages hold, then KTASK_ANY_HOST=1 make ...
       ${pkgs_build[*]} ${pkgs_run[*]}
       and give the source with KTASK_TARBALL=linux-source-6.1.tar.xz"
	fi
	kib=$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)
	((kib >= 3700 * 1024)) ||
		die "$((kib / 1024)) MiB of memory; 4 GiB are needed" "a bigger machine"
	check_disk
	export KTASK_PREFLIGHT=1
}

# What build/ already holds need not be found again.
check_disk()
{
	local need=$((8 * 1024 * 1024)) free used=0

	free=$(df -Pk "$root" | awk 'NR == 2 { print $4 }')
	((free < need)) || return 0
	[[ ! -d $build ]] || used=$(du -sk "$build" | cut -f 1)
	((free + used >= need)) ||
		die "$((free / 1024)) MiB free under $root; 8 GiB are needed" \
		    "free some, or move the clone"
}

# Objects come out the same in every clone and at every time, so ccache finds
# them again.  ccache's own directory lies outside: `make distclean` keeps it.
build_env()
{
	unset MAKEFLAGS MAKEOVERRIDES MFLAGS MAKELEVEL
	export CCACHE_DIR=${CCACHE_DIR:-$HOME/.cache/ccache}
	export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
	export CCACHE_SLOPPINESS=time_macros
	export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970'
	export KBUILD_BUILD_USER=ktask KBUILD_BUILD_HOST=ktask
}

# git without the user's settings: the same bytes on every machine.
pgit()
{
	GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null git -c core.abbrev=12 \
		-c core.quotePath=false -c gc.auto=0 -c advice.detachedHead=false "$@"
}
