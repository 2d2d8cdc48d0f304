/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How all programs here run their cases, check, and count rounds.
 *
 * Included by one .c file a program, through a header of its own or not.
 */
#ifndef CASES_H
#define CASES_H

#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest.h"

struct test_case {
	const char *name;
	void (*func)(void);
	const char *(*unable)(void);	/* why it cannot run here, or NULL */
	void (*run)(void (*func)(void));	/* other than just once, or NULL */
};

static int failures;

/*
 * Checks are counted, and the first ones that fail in a case are printed: what
 * is wrong is often wrong for many pages or in many rounds.
 */
#define check(condition, fmt, ...)					\
	do {								\
		if (!(condition) &&					\
		    __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED) <= 5) \
			ksft_print_msg("%s:%d: " fmt "\n", __func__,	\
				       __LINE__, ##__VA_ARGS__);	\
	} while (0)

/* Kernels that look at all that they do are ten times as slow and more. */
static inline bool slow_kernel(void)
{
	return !access("/proc/lockdep", F_OK) ||
	       !access("/sys/kernel/debug/kcsan", F_OK);
}

/* What they look for shows early: they run a tenth of so many @rounds. */
static inline int rounds_here(int rounds)
{
	return slow_kernel() ? rounds / 10 : rounds;
}

/* For loops that wait or try again until something happens: is it time to give up? */
static inline long seconds_from_now(long seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + seconds;
}

static inline bool has_passed(long second)
{
	return seconds_from_now(0) > second;
}

/* What a program wants to look at around each of its cases. */
static void (*before_case)(void);
static void (*after_case)(void);

static inline void run_case(const struct test_case *test)
{
	const char *reason = test->unable ? test->unable() : NULL;

	if (reason) {
		ksft_test_result_skip("%s: %s\n", test->name, reason);
		return;
	}
	failures = 0;
	if (before_case)
		before_case();
	if (test->run)
		test->run(test->func);
	else
		test->func();
	if (after_case)
		after_case();
	ksft_test_result(!failures, "%s\n", test->name);
}

static inline void cases_begin(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
}

static inline void run_cases(const struct test_case *cases, unsigned int nr)
{
	unsigned int i;

	ksft_set_plan(nr);
	for (i = 0; i < nr; i++)
		run_case(&cases[i]);
}

#endif /* CASES_H */
