#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Does page init find all the memory?  Boots big guests and compares figures.
#
# Usage: tests/figures.sh [ktask|base]
#
# In each guest, exactly: the pages that the zones manage add up to MemTotal.  The
# two are counted apart: memblock counts MemTotal before page init starts, and
# each page that page init gives to the buddy allocator adds one to its zone.  So
# a page lost or counted twice shows, whatever kernel it is.
#
# The series with ktask on and off, exactly: every figure, since it is the same
# image.
#
# The base and the series, exactly: what each zone and node spans and has present;
# what is managed where no part of the kernel's image lies.  The image is not of
# the same size in the two.  So where it lies, what is managed may differ, but by
# no more than MemTotal of the two differs: a page lost elsewhere still shows.
# This needs the base kernel, and is left out as long as that was not built (make
# kernel-base); CI builds it first.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source=scripts/testlib.sh
. "$root/scripts/testlib.sh"
# shellcheck source=tests/figures-lib.sh
. "$root/tests/figures-lib.sh"
usage_if_asked "$@"

cd "$root"
kernel=${1-ktask}
size=64G
dir=$build/test/figures
mkdir -p "$dir"

with_base=""
[[ $kernel != base && ! -f $build/base/bzImage ]] || with_base=yes

for nodes in 1 2 4; do
	guest=figures-${nodes}node
	if [[ $with_base ]]; then
		verdict "$guest" boot-base figures_of "$dir/base" base 4 "$nodes"
		verdict "$guest" base-adds-up adds_up "$dir/base"
	fi
	[[ $kernel != base ]] || continue
	if ! figures_of "$dir/on" "$kernel" 4 "$nodes" ||
	   ! figures_of "$dir/off" "$kernel" 4 "$nodes" ktask.enabled=0; then
		row "$guest" boot-series fail
		continue
	fi
	verdict "$guest" series-adds-up adds_up "$dir/on"
	verdict "$guest" on-and-off-agree same "$dir/on" "$dir/off"
	[[ ! $with_base ]] ||
		verdict "$guest" base-and-series-agree base_agrees "$dir/base" "$dir/on"
done
