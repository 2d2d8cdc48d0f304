# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# build/linux and the patches: what scripts/tree, refresh, series and check share.
# Needs lib.sh.
#
# refs in build/linux:
#   refs/heads/ktask     checked out; where people work
#   refs/ktask/base      the pristine base, one commit
#   refs/ktask/built     what the repository's patches and new files made last
#   refs/ktask/next      only while the work tree moves to it

# shellcheck disable=SC2154
linux=$build/linux
# shellcheck disable=SC2154
patches=$root/patches

lgit()
{
	pgit -C "$linux" "$@"
}

# Names in patches/series, in order.  Comments may only open the file, so that
# refresh can keep them.
series_names()
{
	awk '/^#/ || /^[[:space:]]*$/ {
		if (n) {
			print "patches/series: comment or empty line after a name" >"/dev/stderr"
			exit 1
		}
		next
	     }
	     { n++; print }' "$patches/series"
}

series_header()
{
	[[ ! -f $patches/series ]] || awk '/^#/ || /^[[:space:]]*$/ { print; next } { exit }' "$patches/series"
}

# Paths in the Adds: lines of patch file $1.
patch_adds()
{
	awk 'below && /^diff --git / { exit }
	     below && /^Adds: / { print substr($0, 7) }
	     /^---$/ { below = 1 }' "$1"
}

# Every new file of the series.
series_adds()
{
	local name

	while read -r name; do
		patch_adds "$patches/$name"
	done < <(series_names)
}

header_of()
{
	sed -n "s/^$2: //p" "$1" | head -n 1
}

# "mode blob path" of each new file of patch $1, with the blobs in build/linux.
added_blobs()
{
	local patch=$1 path mode

	while read -r path; do
		[[ $path != /* && /$path/ != */../* ]] ||
			die "${patch##*/}: Adds: $path leaves the tree" "a kernel path"
		[[ -f $root/$path ]] ||
			die "${patch##*/}: Adds: $path, but there is no such file" "create $path, or drop the line"
		! lgit cat-file -e "refs/ktask/base:$path" 2>/dev/null ||
			die "${patch##*/}: Adds: $path, but the kernel has that file" "edit it by a diff in the patch"
		mode=100644
		[[ ! -x $root/$path ]] || mode=100755
		printf '%s %s\t%s\n' "$mode" \
			"$(lgit hash-object -w --no-filters -- "$root/$path")" "$path"
	done < <(patch_adds "$patch")
}

# Commits patch $1 onto commit $2 and prints the new commit.  The same input
# gives the same id; committed patches are remembered.
commit_patch()
{
	local patch=$1 parent=$2 adds key cache tmp tree commit
	local Author="" Email="" Subject="" Date="" field value

	adds=$(added_blobs "$patch")
	key=$(printf '%s\n' "$parent" "$adds" | cat - "$patch" | sha256sum)
	cache=$linux/.git/ktask-cache/${key%% *}
	if [[ -s $cache ]] && lgit cat-file -e "$(<"$cache")" 2>/dev/null; then
		cat "$cache"
		return 0
	fi

	! grep -q '^new file mode' "$patch" ||
		die "${patch##*/} creates a file in its diff" \
		    "put the file at its kernel path in the repository and name it in an Adds: line below ---"
	tmp=$build/tmp.patch
	while IFS=' ' read -r field value; do
		case $field in
		Author: | Email: | Subject: | Date:)
			printf -v "${field%:}" %s "$value"
			;;
		esac
	done < <(pgit mailinfo -b --encoding=UTF-8 "$tmp.body" "$tmp.diff" <"$patch")
	[[ -n $Author && -n $Email && -n $Subject && -n $Date ]] ||
		die "${patch##*/} lacks From:, Date: or Subject:" "see any other patch in patches/"
	Subject=${Subject#"[PATCH] "}

	export GIT_INDEX_FILE=$linux/.git/ktask-index
	lgit read-tree "$parent"
	if grep -q '^diff --git ' "$tmp.diff"; then
		lgit apply --cached --whitespace=nowarn "$tmp.diff" ||
			die "${patch##*/} does not apply to $(<"$build/base.version") and the patches before it" \
			    "if the base is not the pinned one, give that with KTASK_TARBALL=FILE; else correct the patch"
	fi
	[[ -z $adds ]] || lgit update-index --add --index-info <<<"$adds"
	tree=$(lgit write-tree)
	unset GIT_INDEX_FILE
	[[ $tree != "$(lgit rev-parse "$parent^{tree}")" ]] ||
		die "${patch##*/} changes nothing" "remove it from patches/series"
	commit=$({
		printf '%s\n\n' "$Subject"
		cat "$tmp.body"
	} | git stripspace |
	    GIT_AUTHOR_NAME=$Author GIT_AUTHOR_EMAIL=$Email GIT_AUTHOR_DATE=$Date \
	    GIT_COMMITTER_NAME=$Author GIT_COMMITTER_EMAIL=$Email GIT_COMMITTER_DATE=$Date \
	    lgit commit-tree -p "$parent" "$tree")
	rm -f "$tmp.body" "$tmp.diff"
	atomic_to "$cache" printf '%s\n' "$commit"
	printf '%s\n' "$commit"
}

# The commit that the repository's patches and new files make.
series_tip()
{
	local tip name names

	tip=$(lgit rev-parse refs/ktask/base)
	names=$(series_names)
	for name in $names; do
		[[ -f $patches/$name ]] || die "patches/series names $name, which is not there"
		tip=$(commit_patch "$patches/$name" "$tip") || exit
	done
	printf '%s\n' "$tip"
}

# Work in build/linux that the repository does not have?  Prints what.
linux_work()
{
	local line

	if [[ -d $linux/.git/rebase-merge || -d $linux/.git/rebase-apply ]]; then
		say "a rebase is in progress"
		return 0
	fi
	line=$(lgit status --porcelain | head -n 1)
	if [[ -n $line ]]; then
		say "uncommitted changes (${line# })"
	elif [[ $(lgit rev-parse HEAD) != $(lgit rev-parse refs/ktask/built) ]]; then
		say "commits that patches/ does not have"
	fi
}

# Moves the clean work tree to commit $1, touching only files that differ.
# refs/ktask/next tells scripts/tree of a move that was interrupted.
move_to()
{
	lgit update-ref refs/ktask/next "$1"
	lgit reset -q --keep "$1"
	lgit update-ref refs/ktask/built "$1"
	atomic_to "$linux/.git/ktask-patches" patches_sum
	lgit update-ref -d refs/ktask/next
}

# Tells whether somebody changed patches/ by hand.
patches_sum()
{
	(cd "$patches" && sha256sum -- series *.patch 2>/dev/null | sha256sum)
}
