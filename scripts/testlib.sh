# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Rows of results and guests of plans: what scripts/test, test-configs and the
# scripts in tests/ share.  Needs lib.sh.
#
# A row is GUEST<TAB>CASE<TAB>pass|fail|skip.  $rows is the file they go to; a
# script that another one started adds to that one's.
#
# shellcheck disable=SC2154,SC2034

rows=${KTASK_ROWS:-$build/results/unnamed.tsv}

# rows_start NAME: what follows goes to build/results/NAME.tsv.
rows_start()
{
	mkdir -p "$build/results"
	rows=$build/results/$1.tsv
	: >"$rows"
	export KTASK_ROWS=$rows
}

row()
{
	mkdir -p "$build/results"
	printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$rows"
	[[ $3 == pass ]] || say "  $3: $1 $2${4:+: $4}"
}

# verdict GUEST CASE CMD...: pass if CMD succeeds.
verdict()
{
	local guest=$1 name=$2 result=pass start=$SECONDS

	shift 2
	"$@" || result=fail
	row "$guest" "$name" "$result"
	say "  $(duration $((SECONDS - start)))  $guest $name"
}

# plan_read FILE: sets plan_vm, plan_append, plan_timeout, plan_modules,
# plan_kselftest, plan_env, plan_command, plan_expect, plan_kernels, plan_alone,
# plan_cases.
plan_read()
{
	local file=$1 dir key value

	dir=$(dirname "$file")
	plan_vm=() plan_append="" plan_timeout=300 plan_modules=() plan_kselftest=""
	plan_env=() plan_command="" plan_expect="" plan_kernels=(ktask debug) plan_cases=()
	plan_alone=""
	[[ -r $file ]] || die "there is no plan $file" "ls tests/plan"
	while read -r key value; do
		case $key in
		"" | "#"*)	;;
		vm)		read -ra plan_vm <<<"$value" ;;
		append)		plan_append=$value ;;
		timeout)	plan_timeout=$value ;;
		modules)	read -ra plan_modules <<<"$value" ;;
		kselftest)	plan_kselftest=$value ;;
		env)		plan_env+=("$value") ;;
		command)	plan_command=$value ;;
		expect)		plan_expect=$value ;;
		kernels)	read -ra plan_kernels <<<"$value" ;;
		alone)		plan_alone=$value ;;
		case)		plan_cases+=("$value") ;;
		cases)		mapfile -t -O "${#plan_cases[@]}" plan_cases \
					< <(grep -v '^#' "$dir/$value") ;;
		*)		die "$file: '$key' is no key of a plan" "tests/plan/README.md" ;;
		esac
	done <"$file"
}

# kselftests KERNEL: builds and installs them for plan_boot; all of them, as lib.mk
# does not know what they include.
kselftests()
{
	local tests=$linux/tools/testing/selftests out=$build/$1

	rm -rf "$out/kselftest.build" "$out/kselftest"
	make -C "$linux" O="$out" ARCH=x86_64 headers
	make -C "$tests" O="$out/kselftest.build" TARGETS=ktask \
		KHDR_INCLUDES="-isystem $out/usr/include" \
		INSTALL_PATH="$out/kselftest" install
}

# plan_boot KERNEL GUEST [REGEX]: runs what plan_read left and adds its rows, up to
# what REGEX tells.  A debug kernel gets three times the time.
plan_boot()
{
	local kernel=$1 guest=$2 dir=$build/test/$1/$2 args module status=0 new

	rm -rf "$dir"
	args=(--kernel "$build/$kernel/bzImage" --log "$dir" --prefix "[guest] "
	      --append "$plan_append" "${plan_vm[@]}")
	[[ $kernel == ktask ]] || plan_timeout=$((plan_timeout * 3))
	args+=(--timeout "$plan_timeout")
	[[ -z ${3-} ]] || args+=(--until "$3")
	[[ -z $plan_expect ]] || args+=(--expect "$plan_expect")
	for module in "${plan_modules[@]}"; do
		module=${module%%:*}
		[[ -f $build/$kernel/$module ]] || die "there is no build/$kernel/$module" \
			"look at its option in scripts/config"
	done
	scripts/vm "${args[@]}" -- \
		env "${plan_env[@]}" KSELFTEST="$plan_kselftest" COMMAND="$plan_command" \
		tests/guest/run "$build/$kernel" "${plan_modules[@]}" || status=$?
	new=$(mktemp "$build/test/rows.XXXXXX")
	"$root/scripts/ktap" "$linux_parser" "$guest" "$dir/console.log" "$dir/output" >"$new" ||
		die "cannot read what the guest printed" "$dir"
	cat "$new" >>"$rows"
	if ((status == 0)); then
		row "$guest" guest pass
	else
		row "$guest" guest fail "scripts/vm ended with $status"
	fi
	plan_check "$guest" "$new"
	show_failures "$guest" "$new" "$dir/console.log"
	rm -f "$new"
}

# plan_check GUEST ROWS: a case that the plan names and that did not run failed;
# so did one that ran and that the plan does not name, or it could vanish unseen.
# A case stands for its parameters too; a plan may say how many: "name 12".
plan_check()
{
	local guest=$1 new=$2 what name

	while IFS=$'\t' read -r what name; do
		row "$guest" "$name" fail "$what"
	done < <(printf '%s\n' "${plan_cases[@]-}" | awk -F '\t' '
		NR == FNR { if (split($0, f, " ")) { want[f[1]] = f[2] ? f[2] : 1 } next }
		{ name = $2
		  while (!(name in want) && sub(/\.[^.]*$/, "", name)) ;
		  if (name in want) ran[name]++
		  else print "ran, but tests/plan does not name it\t" $2 }
		END { for (name in want) if (ran[name] < want[name])
			print "planned " want[name] ", ran " ran[name] + 0 "\t" name }' \
		- "$new")
}

# The first lines of what KUnit says about each failed case.
show_failures()
{
	local guest=$1 new=$2 console=$3

	! grep -q $'\tfail$' "$new" ||
		{ grep -E -A 4 'EXPECTATION FAILED|ASSERTION FAILED|not ok ' "$console" || :; } |
			head -n 40 | sed 's/^/    | /'
}

# unlisted_skips: skips that tests/skips does not allow: "CASE GUEST REASON", the
# first two may be patterns.
unlisted_skips()
{
	local guest name status

	while IFS=$'\t' read -r guest name status; do
		[[ $status == skip ]] || continue
		skip_listed "$guest" "$name" || printf '%s\t%s\n' "$guest" "$name"
	done <"$rows"
}

skip_listed()
{
	local guest name reason results

	results=$(basename "$rows" .tsv)

	while read -r name guest reason; do
		[[ $name && $name != "#"* ]] || continue
		[[ $reason ]] || die "tests/skips: $name $guest has no reason" "give one"
		# shellcheck disable=SC2053
		[[ $2 != $name || ($1 != $guest && $results/$1 != $guest) ]] || return 0
	done <"$root/tests/skips"
	return 1
}

# Sums $rows in a table and as one line; the outermost command alone prints that
# line.  Fails on a failure, an unlisted skip, or nothing run.
rows_finish()
{
	local bad skips

	say ""
	awk -F '\t' '
		!($1 in seen) { seen[$1] = 1; order[n++] = $1 }
		{ count[$1, $3]++ }
		END { printf "%-22s %6s %6s %6s\n", "guest", "pass", "fail", "skip"
		      for (i = 0; i < n; i++) { g = order[i]
			printf "%-22s %6d %6d %6d\n", g, count[g, "pass"], \
				count[g, "fail"], count[g, "skip"] } }' "$rows"
	skips=$(unlisted_skips)
	[[ -z $skips ]] || printf "\nSkipped, but not listed in tests/skips:\n%s\n" "$skips"
	bad=$(awk -F '\t' '$3 == "fail"' "$rows")
	[[ -z $bad ]] || printf '\nFailed:\n%s\n' "$bad"
	[[ ${KTASK_INNER-} ]] || sum_line "$rows"
	[[ -s $rows && -z $skips && -z $bad ]]
}

# sum_line FILE...: the status is the last column.
sum_line()
{
	awk -F '\t' '{ count[$NF]++ }
		END { printf "%d passed, %d failed, %d skipped\n", \
			count["pass"], count["fail"], count["skip"] }' "$@"
}

linux_parser=$build/linux/tools/testing/kunit
