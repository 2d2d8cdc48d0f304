#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Does scripts/vm see everything that goes wrong?  It is what all other tests
# trust, so it is made to fail here in each way it knows.
#
# Usage: tests/vm.sh [KERNEL]
#
# KERNEL is ktask (default), base, or the path of a bzImage.
#
# shellcheck disable=SC2016
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source=scripts/testlib.sh
. "$root/scripts/testlib.sh"
usage_if_asked "$@"

cd "$root"
kernel=${1-ktask}
[[ -f $kernel ]] || kernel=$build/$kernel/bzImage
mkdir -p "$build/vm"
work=$(mktemp -d "$build/vm/test.XXXXXX")
trap 'rm -rf "$work"' EXIT

vm()
{
	scripts/vm --kernel "$kernel" --timeout 120 --log "$work/log" "$@"
}

# gives STATUS PATTERN VM_ARGUMENT...: the status, and a line of output like that.
gives()
{
	local want=$1 pattern=$2 status=0

	shift 2
	vm "$@" >"$work/out" 2>&1 || status=$?
	if ((status != want)) || ! grep -qE -- "$pattern" "$work/out"; then
		say "    status $status, expected $want and /$pattern/ in:"
		tail -n 20 "$work/out" | sed 's/^/    | /'
		return 1
	fi
}

exact_output()
{
	local want=$'  a "b"  $c\n\'d\' \\e\nno newline'

	vm -- printf %s "$want" >"$work/out" 2>"$work/err" || return 1
	[[ $(<"$work/out") == "$want" && ! -s $work/err ]]
}

# The guest can write where it should, and not on the host.
inside()
{
	gives 0 '^inside: ok$' -- sh -ec '
		[ "$(id -u)" = 0 ]
		touch "$PWD/written" /etc/written 2>/dev/null && exit 1
		for dir in /tmp /run /var/tmp /dev/shm; do touch "$dir/written"; done
		[ -r scripts/vm ]
		[ "$(ls /sys/class/net)" = lo ]
		[ -d /sys/kernel/debug/x86 ] && [ -f /sys/fs/cgroup/cgroup.procs ]
		echo inside: ok' && [[ ! -e written && ! -e /etc/written ]]
}

# $1 names a message of the kernel; the rest are lines of a log, one bad.
scan()
{
	printf '%s\n' "[    0.1] Linux version 6.1" "[    1.0] $1" >"$work/scan"
	! scripts/badness "$work/scan" >"$work/out"
}

scan_all()
{
	local line bad=0

	while read -r line; do
		scan "$line" || { say "    not seen: $line"; bad=1; }
	done <<-'EOF'
	WARNING: CPU: 1 PID: 57 at kernel/ktask.c:100 ktask_run+0x1/0x2
	WARNING: possible circular locking dependency detected
	WARNING: possible recursive locking detected
	WARNING: suspicious RCU usage
	BUG: KASAN: slab-out-of-bounds in ktask_run+0x1/0x2
	BUG: KCSAN: data-race in ktask_run / ktask_helper
	UBSAN: array-index-out-of-bounds in kernel/ktask.c:10:3
	BUG: sleeping function called from invalid context at mm/slab.h:494
	BUG: scheduling while atomic: insmod/57/0x00000002
	BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!
	watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [insmod:57]
	rcu: INFO: rcu_sched self-detected stall on CPU
	rcu: INFO: rcu_sched detected stalls on CPUs/tasks:
	INFO: task kworker/u4:1:22 blocked for more than 120 seconds.
	Oops: 0000 [#1] PREEMPT SMP
	general protection fault, probably for non-canonical address
	Kernel panic - not syncing: Fatal exception
	list_del corruption. prev->next should be 0, but was 1!!!
	DMAR: [DMA Read NO_PASID] Request device [00:02.0] fault addr 0x1000
	EOF
	return "$bad"
}

scan_none()
{
	printf '%s\n' '[    0.0] Kernel command line: BUG WARNING: Oops:' \
		'[    1.0] clean' '[    1.0] DEBUG_PAGEALLOC is on' >"$work/scan"
	scripts/badness "$work/scan"
}

# alive WORD: is there a process with that word among its arguments?
alive()
{
	local file

	for file in /proc/[0-9]*/cmdline; do
		[[ ${file//[!0-9]/} == "$$" ]] ||
			! { tr '\0' ' ' <"$file"; } 2>/dev/null | grep -q -- "$1" || return 0
	done
	return 1
}

wait_for()
{
	local i

	for ((i = 0; i < 300; i++)); do
		"$@" && return 0
		sleep 0.1
	done
	return 1
}

running()
{
	local console

	for console in "$build"/vm/run.*/console; do
		! { grep -q "mark=$1" "$console" &&
		    grep -q 'guest-init: user space' "$console"; } 2>/dev/null || return 0
	done
	return 1
}

gone()
{
	! alive "mark=$1"
}

# What kills it, long before its time is up, and nothing may be left: no process, no
# directory.  bash has its background jobs ignore SIGINT; a terminal's do not.
dies_with()
{
	local how=$1 pid
	local mark=$how.$$.$RANDOM

	bash -c 'env --default-signal=INT scripts/vm --kernel "$1" --timeout 300 \
			--append "mark=$2" -- sleep 1000 &
		echo $! >"$3"; wait' - "$kernel" "$mark" "$work/pid" >/dev/null 2>&1 &
	pid=$!
	wait_for running "$mark" || return 1
	case $how in
	parent)	kill -KILL "$pid" ;;
	*)	kill -s "$how" "$(<"$work/pid")" ;;
	esac
	wait_for gone "$mark" || return 1
	wait "$pid" 2>/dev/null || :
	[[ -z $(find "$build/vm" -maxdepth 1 -name 'run.*' -newer "$work/pid") ]]
}

# Linux numbers the nodes that have CPUs first.
shape()
{
	gives 0 '^shape: ok$' --smp 4 --numa-layout 0-1:1G/-:512M/2:512M/3:0 -- sh -ec '
		cd /sys/devices/system/node
		cpus=$(cat node0/cpulist node1/cpulist node2/cpulist node3/cpulist | tr "\n" /)
		[ "$cpus" = 0-1/2/3// ]
		[ "$(cat has_memory)" = 0-1,3 ]
		echo shape: ok'
}

spread()
{
	gives 0 '^spread: ok$' --smp 2 --nodes 2 --mem 64G --numa-dist 0,1,31 -- sh -ec '
		cd /sys/devices/system/node
		[ "$(cat node0/distance)" = "10 31" ]
		total=$(awk "/MemTotal/ { print int(\$2 / 1048576) }" /proc/meminfo)
		[ "$total" -ge 62 ]
		echo spread: ok'
}

with_iommu()
{
	gives 0 '^iommu: ok$' --iommu -- sh -ec '
		for dev in /sys/bus/pci/devices/*; do
			[ "$(cat $dev/vendor):$(cat $dev/device)" != 0x1234:0x11e8 ] || edu=$dev
		done
		[ -e "$edu/iommu_group" ]
		echo iommu: ok'
}

# Hangs each time, as far as it gets to be known.
boots_again()
{
	printf '%s\n' '#!/bin/sh' 'mount -t devtmpfs dev /dev' \
		'while :; do' \
		'echo "Running RCU-tasks wait API self tests" >/dev/kmsg' \
		'sleep 6; done' >"$work/hang"
	chmod +x "$work/hang"
	VM_HANG_SECONDS=3 gives 125 'ended before' --append "init=$work/hang" -- true &&
		(($(grep -c 'hung when it tested RCU' "$work/out") == 3)) &&
		grep -q 'wait API self tests' "$work/log/console.log.hung.3"
}

# The clock of two runs shows the same nanosecond.
counted()
{
	local busybox one two

	busybox=$(command -v busybox) || return 1
	mkdir -p "$work/tree/bin" "$work/tree/proc"
	cp "$busybox" "$work/tree/bin/"
	(
		cd "$work/tree/bin"
		for one in $(./busybox --list); do
			[[ -e $one ]] || ln -s busybox "$one"
		done
		cd ..
		find . | cpio -o -H newc --quiet
	) >"$work/initrd"
	gives 0 '^now at [0-9]+' --icount --smp 1 --mem 512M --initrd "$work/initrd" -- \
		grep '^now at' /proc/timer_list || return 1
	one=$(<"$work/out")
	vm --icount --smp 1 --mem 512M --initrd "$work/initrd" -- \
		grep '^now at' /proc/timer_list >"$work/out" || return 1
	two=$(<"$work/out")
	say "    $one; $two"
	[[ $one == "$two" ]]
}

# refuses PATTERN ARGUMENT...: status 1, and the remedy told.
refuses()
{
	gives 1 "$1" "${@:2}" && grep -q '^  try: ' "$work/out"
}

verdict vm output-is-exact exact_output
verdict vm status-of-command gives 3 '^said$' -- sh -c 'echo said; exit 3'
verdict vm inside inside
verdict vm prefix gives 0 '^\[guest\] said$' --prefix '[guest] ' -- echo said
verdict vm report-fails gives 125 'Call Trace' -- sh -c 'echo l >/proc/sysrq-trigger; exit 0'
verdict vm warning-fails gives 125 'WARNING: made up' -- \
	sh -c 'echo WARNING: made up >/dev/kmsg; exit 0'
verdict vm panic-fails gives 125 'Kernel panic' -- sh -c 'echo c >/proc/sysrq-trigger'
verdict vm early-end-fails gives 125 'ended before' -- sh -c 'echo b >/proc/sysrq-trigger; sleep 9'
verdict vm hang-fails gives 124 'did not end' --timeout 20 -- sleep 1000
verdict vm boots-again-after-hang boots_again
verdict vm expected-report vm --expect 'Kernel panic' -- sh -c 'echo c >/proc/sysrq-trigger'
verdict vm expected-report-missing gives 125 "did not report" --expect 'Kernel panic' -- true
verdict vm ends-when-seen gives 125 'ended before' --until '^seen [0-9]$' -- \
	sh -c 'echo seen 1; sleep 1000'
verdict vm every-report-seen scan_all
verdict vm healthy-log-passes scan_none
verdict vm killed-parent dies_with parent
verdict vm terminated dies_with TERM
verdict vm interrupted dies_with INT
verdict vm odd-nodes shape
verdict vm larger-than-the-host spread
verdict vm iommu with_iommu
verdict vm icount-is-exact counted
verdict vm refuses-option refuses 'no option' --nonsense -- true
verdict vm refuses-size refuses 'no size' --mem 1Q -- true
verdict vm refuses-icount-smp refuses 'hangs' --icount --smp 2 -- true
verdict vm refuses-no-command refuses 'no command' --smp 1
verdict vm refuses-huge refuses 'are free' --mem 9000G -- true
verdict vm refuses-strict-overcommit gives 1 'strict overcommit' -- sh -c \
	'echo 2 >/proc/sys/vm/overcommit_memory; mount -t tmpfs t build/vm
	 exec scripts/vm --kernel "$1" --mem 4G -- true' - "$kernel"
