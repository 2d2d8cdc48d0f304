#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Does a failure in a guest reach the results?  Feeds made-up output to what counts.
#
# Usage: tests/ktap.sh
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source=scripts/testlib.sh
. "$root/scripts/testlib.sh"
usage_if_asked "$@"

cd "$root"
outer=$rows
mkdir -p "$build/test"
work=$(mktemp -d "$build/test/ktap.XXXXXX")
trap 'rm -rf "$work"' EXIT

kunit_log()
{
	cat <<-'EOF'
	[    0.100000] Linux version 6.1
	[    1.000000]     KTAP version 1
	[    1.000001] a message within the header
	[    1.000001]     # Subtest: suite
	[    1.000002]     1..4
	[    1.000003]     # plain: begins
	[    1.000003]     ok 1 plain
	[    1.000004] another message
	[    1.000005]     # broken: begins
	[    1.000005]     # broken: EXPECTATION FAILED at kernel/x.c:1
	[    1.000006]     not ok 2 broken
	[    1.000007]     ok 3 absent # SKIP no such machine
	[    1.000008]         KTAP version 1
	[    1.000008] kunit_try_catch (99) used greatest stack depth: 9 bytes left
	[    1.000009]         # Subtest: many
	[    1.000010]         ok 1 one
	[    1.000011]         not ok 2 two
	[    1.000012]     not ok 4 many
	[    1.000013] not ok 1 suite
	EOF
}

runner_output()
{
	cat <<-'EOF'
	TAP version 13
	1..3
	# selftests: ktask: good
	# TAP version 13
	# 1..2
	# ok 1 one
	# ok 2 # SKIP the second: no such file
	ok 1 selftests: ktask: good
	# selftests: ktask: short
	# 1..2
	# ok 1 one
	ok 2 selftests: ktask: short
	# selftests: ktask: hung
	# working
	EOF
}

# rows_are CONSOLE OUTPUT EXPECTED: the cases and their status, on one line.
rows_are()
{
	local got

	got=$(scripts/ktap "$linux_parser" g "$1" "$2" | cut -f 2- | tr '\t\n' '= ')
	[[ $got == "$3 " ]] || { say "    got: $got"; return 1; }
}

crashed()
{
	kunit_log | sed '/not ok 2 broken/,$d' >"$work/crashed"
	rows_are "$work/crashed" /dev/null "suite.plain=pass suite.broken=fail suite=fail"
}

# What the kernel's parser cannot read is a failure of the case under way.
unreadable()
{
	kunit_log | sed 's/# Subtest: many/# not a header/' >"$work/unreadable"
	rows_are "$work/unreadable" /dev/null "kunit=fail" 2>/dev/null
}

# plan_finds "CASE..." EXPECTED: the rows that the plan adds.
plan_finds()
{
	rows=$work/rows
	: >"$rows"
	mapfile -t plan_cases <<<"$1"
	plan_check g "$work/ran" >/dev/null
	[[ $(cut -f 2- "$rows" | sort | tr '\t\n' '= ') == "$2" ]]
}

# finishes ROW: does the run succeed with it?
finishes()
{
	rows=$work/rows
	printf %b "$1" >"$rows"
	KTASK_INNER=1 rows_finish >/dev/null
}

fails()
{
	! "$@"
}

# in_copy CMD...: in a subshell, so that $rows here stays.
in_copy()
{
	("$@")
}

kunit_log >"$work/console"
runner_output >"$work/output"
printf 'g\ts.a\tpass\ng\ts.b.x\tpass\ng\ts.b.y\tpass\n' >"$work/ran"
rows=$outer
verdict ktap kunit rows_are "$work/console" /dev/null \
	"suite.plain=pass suite.broken=fail suite.absent=skip suite.many.one=pass suite.many.two=fail"
verdict ktap kselftest rows_are /dev/null "$work/output" \
	"good.one=pass good.the_second=skip short.one=pass short=fail hung=fail"
verdict ktap crashed-suite crashed
verdict ktap unreadable-suite unreadable
verdict ktap plan-kept in_copy plan_finds $'s.a\ns.b 2' ""
verdict ktap plan-case-missing in_copy plan_finds $'s.a\ns.b\ns.c' "s.c=fail "
verdict ktap plan-too-few in_copy plan_finds $'s.a\ns.b 3' "s.b=fail "
verdict ktap plan-not-named in_copy plan_finds $'s.a' "s.b.x=fail s.b.y=fail "
verdict ktap pass-is-success in_copy finishes 'g\tc\tpass\n'
verdict ktap fail-is-failure fails in_copy finishes 'g\tc\tpass\ng\td\tfail\n'
verdict ktap unlisted-skip-is-failure fails in_copy finishes 'g\tunlisted\tskip\n'
verdict ktap nothing-is-failure fails in_copy finishes ''
