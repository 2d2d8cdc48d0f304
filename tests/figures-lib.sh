# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Memory figures of a guest, and what must hold between them; tests/figures.sh says
# why.
#
# shellcheck disable=SC2154

# figures_of FILE KERNEL CPUS NODES [PARAMETER]
figures_of()
{
	scripts/vm --kernel "$build/$2/bzImage" --mem "$size" --smp "$3" --nodes "$4" \
		--append "${5-}" --log "$1.log" -- tests/guest/figures >"$1"
}

adds_up()
{
	awk '/\.managed / { sum += $2 } $1 == "MemTotal" { total = $2 }
	     END { if (sum != total || !total) {
			print "    zones manage " sum " pages, MemTotal is " total
			exit 1 } }' "$1"
}

same()
{
	diff "$1" "$2" | sed 's/^/    /'
	cmp -s "$1" "$2"
}

# The first node has the image.
base_agrees()
{
	awk 'NR == FNR { base[$1] = $2; next }
	     { seen++; d = $2 - base[$1]; if (!($1 in base)) d = "not in base" }
	     $1 == "MemTotal" || $1 == "node0.MemTotal" { image[$1] = d; next }
	     /^node0\.[^.]*\.managed / { managed += d; next }
	     d != 0 { print "    " $1 ": base " base[$1] ", series " $2; bad = 1 }
	     END { if (!seen || image["MemTotal"] != managed ||
		       image["MemTotal"] != image["node0.MemTotal"]) {
			print "    MemTotal differs by " image["MemTotal"] " pages, that of node 0 by " \
				image["node0.MemTotal"] ", its zones by " managed; bad = 1 }
		   exit bad }' "$1" "$2"
}
