// SPDX-License-Identifier: GPL-2.0-only
/*
 * ktask_test_plain.c - what linux/ktask.h does by itself with CONFIG_KTASK=n
 */

#include <kunit/test.h>
#include <linux/lockdep.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

/* All that depends on it otherwise, such as task_struct, is there by now. */
#undef CONFIG_KTASK
#include <linux/ktask.h>

#include "ktask_test.h"

/* A log of the calls, in their order. */
struct ktask_test_calls {
	struct task_struct	*task;		/* who has to make them */
	unsigned long		fail;		/* position of the call that fails */
	unsigned long		start[8];
	unsigned long		end[8];
	bool			undo[8];
	int			nr;
	int			others;		/* by other threads */
	bool			stop;		/* what ktask_should_stop() said */
	struct ktask_ctl	*ctl;
};

static void ktask_test_call(struct ktask_test_calls *calls, void *start,
			    void *end, bool undo)
{
	calls->others += current != calls->task;
	calls->stop |= ktask_should_stop(calls->ctl);
	if (calls->nr == ARRAY_SIZE(calls->start))
		return;
	calls->start[calls->nr] = (unsigned long)start;
	calls->end[calls->nr] = (unsigned long)end;
	calls->undo[calls->nr] = undo;
	calls->nr++;
}

static int ktask_test_inline_func(void *start, void *end, void *arg)
{
	struct ktask_test_calls *calls = arg;

	ktask_test_call(calls, start, end, false);
	return (unsigned long)start == calls->fail ? -EIO :
						     KTASK_RETURN_SUCCESS;
}

static void ktask_test_inline_undo_func(void *start, void *end, void *arg)
{
	ktask_test_call(arg, start, end, true);
}

static void ktask_test_expect_call(struct kunit *test,
				   const struct ktask_test_calls *calls, int i,
				   unsigned long start, unsigned long end,
				   bool undo)
{
	KUNIT_EXPECT_EQ_MSG(test, calls->start[i], start, "call %d", i);
	KUNIT_EXPECT_EQ_MSG(test, calls->end[i], end, "call %d", i);
	KUNIT_EXPECT_EQ_MSG(test, calls->undo[i], undo, "call %d", i);
}

static const struct ktask_node ktask_test_inline_parts[] = {
	{ .kn_start = (void *)1000, .kn_task_size = 300, .kn_nid = 0 },
	{ .kn_start = (void *)2000, .kn_task_size = 0, .kn_nid = 0 },
	{ .kn_start = (void *)3000, .kn_task_size = 7, .kn_nid = NUMA_NO_NODE },
	{ .kn_start = (void *)4000, .kn_task_size = 50, .kn_nid = 0 },
};

/* One call for each part that is not empty, in the caller's thread. */
void ktask_test_inline_runs(struct kunit *test)
{
	struct ktask_test_calls calls = { .task = current };
	DEFINE_KTASK_CTL(ctl, ktask_test_inline_func, &calls, 1);
	struct ktask_node parts[ARRAY_SIZE(ktask_test_inline_parts)];

	calls.ctl = &ctl;
	ktask_init();
	memcpy(parts, ktask_test_inline_parts, sizeof(parts));
	ktask_ctl_set_align(&ctl, 16);
	ktask_ctl_set_max_threads(&ctl, 8);
	KUNIT_EXPECT_EQ(test, ktask_run((void *)500, 40, &ctl), 0);
	KUNIT_EXPECT_EQ(test, ktask_run((void *)600, 0, &ctl), 0);
	KUNIT_EXPECT_EQ(test, ktask_run_numa(parts, ARRAY_SIZE(parts), &ctl),
			0);
	KUNIT_EXPECT_EQ(test, calls.others, 0);
	KUNIT_EXPECT_FALSE(test, calls.stop);
	KUNIT_ASSERT_EQ(test, calls.nr, 4);
	ktask_test_expect_call(test, &calls, 0, 500, 540, false);
	ktask_test_expect_call(test, &calls, 1, 1000, 1300, false);
	ktask_test_expect_call(test, &calls, 2, 3000, 3007, false);
	ktask_test_expect_call(test, &calls, 3, 4000, 4050, false);
}

/* The parts before the one that failed are undone, once each. */
void ktask_test_inline_undo(struct kunit *test)
{
	struct ktask_test_calls calls = { .task = current, .fail = 4000 };
	DEFINE_KTASK_CTL(ctl, ktask_test_inline_func, &calls, 1);
	struct ktask_node parts[ARRAY_SIZE(ktask_test_inline_parts)];

	calls.ctl = &ctl;
	memcpy(parts, ktask_test_inline_parts, sizeof(parts));
	ktask_ctl_set_undo_func(&ctl, ktask_test_inline_undo_func);
	KUNIT_EXPECT_EQ(test, ktask_run_numa(parts, ARRAY_SIZE(parts), &ctl),
			-EIO);
	KUNIT_ASSERT_EQ(test, calls.nr, 5);
	ktask_test_expect_call(test, &calls, 3, 3000, 3007, true);
	ktask_test_expect_call(test, &calls, 4, 1000, 1300, true);

	/* The failing chunk cleans up after itself. */
	calls.nr = 0;
	KUNIT_EXPECT_EQ(test, ktask_run((void *)4000, 40, &ctl), -EIO);
	KUNIT_ASSERT_EQ(test, calls.nr, 1);
	ktask_test_expect_call(test, &calls, 0, 4000, 4040, false);
}

/* In a thread of its own, for flush_signals() takes them all. */
static int ktask_test_inline_signal_thread(void *arg)
{
	struct ktask_test_calls *calls = arg;
	DEFINE_KTASK_CTL(ctl, ktask_test_inline_func, calls, 1);
	int ret;

	calls->ctl = &ctl;
	calls->task = current;
	allow_signal(SIGUSR1);
	send_sig(SIGUSR1, current, 1);
	ret = ktask_run((void *)500, 40, &ctl);
	calls->fail = !ret && calls->nr == 1 && !calls->stop;

	ktask_ctl_set_flags(&ctl, KTASK_INTERRUPTIBLE);
	ret = ktask_run((void *)500, 40, &ctl);
	calls->fail &= ret == -EINTR && calls->nr == 1 &&
		       ktask_should_stop(&ctl);
	flush_signals(current);
	return 0;
}

void ktask_test_inline_signal(struct kunit *test)
{
	struct ktask_test_calls calls = {};

	ktask_test_join(test, ktask_test_start(test, -1,
					       ktask_test_inline_signal_thread,
					       &calls));
	KUNIT_EXPECT_TRUE(test, calls.fail);
}
