/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How often races are run.
 */
#ifndef ROUNDS_H
#define ROUNDS_H

#include <stdbool.h>
#include <unistd.h>

/*
 * Kernels that look at all that they do are ten times as slow and more, and what
 * they look for shows early: they run a tenth of so many @rounds.
 */
static inline int rounds_here(int rounds)
{
	bool slow = !access("/proc/lockdep", F_OK) ||
		    !access("/sys/kernel/debug/kcsan", F_OK);

	return slow ? rounds / 10 : rounds;
}

#endif
