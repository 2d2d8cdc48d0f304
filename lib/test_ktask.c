// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_ktask.c - run ktask tasks on request and measure what ktask adds to them
 *
 * Loading the module runs the tasks that its parameters describe, and the same
 * work by direct calls of the thread function, and prints one line:
 *
 *   test_ktask: tasks=T size=S chunk=C max_threads=M work=W cut=0 chunks=N
 *		 direct=CYCLES ktask=CYCLES
 *
 * (in one line) where N is the number of calls that ktask made of the thread
 * function, and CYCLES, by get_cycles(), the least of several repetitions.  On a
 * machine whose cycle counter counts instructions, as QEMU's does with
 * -icount shift=0, the two are exact, and alike in every boot.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/compiler.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/ktask.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/timex.h>

#include "../kernel/ktask_internal.h"

static unsigned int tasks = 1;
module_param(tasks, uint, 0444);
MODULE_PARM_DESC(tasks, "Number of tasks, one after the other (1)");

static unsigned long size = 1;
module_param(size, ulong, 0444);
MODULE_PARM_DESC(size, "Units of a task (1)");

static unsigned long chunk = 1;
module_param(chunk, ulong, 0444);
MODULE_PARM_DESC(chunk, "Minimum chunk, in units (1)");

static unsigned int max_threads;
module_param(max_threads, uint, 0444);
MODULE_PARM_DESC(max_threads, "Most threads of a task (0: the administrator's limit)");

static unsigned long work;
module_param(work, ulong, 0444);
MODULE_PARM_DESC(work, "Steps of an empty loop for each unit (0)");

static bool cut;
module_param(cut, bool, 0444);
MODULE_PARM_DESC(cut, "Cut tasks into chunks even when there can be no helper (N)");

static bool deadlock;
module_param(deadlock, bool, 0444);
MODULE_PARM_DESC(deadlock, "Show lockdep a thread function that takes its caller's lock (N)");

static unsigned int repeat = 20;
module_param(repeat, uint, 0444);
MODULE_PARM_DESC(repeat, "Number of repetitions (20)");

static atomic_long_t test_ktask_calls;

static noinline int test_ktask_func(void *start, void *end, void *arg)
{
	unsigned long steps = (end - start) * work;

	atomic_long_inc(&test_ktask_calls);
	while (steps--)
		barrier();
	return KTASK_RETURN_SUCCESS;
}

/* Read before each call, so that direct calls are indirect ones, like ktask's. */
static ktask_thread_func test_ktask_pointer = test_ktask_func;

static int test_ktask_direct(cycles_t *least)
{
	cycles_t start = get_cycles();
	unsigned int i;
	int ret = 0;

	for (i = 0; i < tasks && !ret; i++)
		ret = READ_ONCE(test_ktask_pointer)(NULL, (void *)size, NULL);
	*least = min(*least, get_cycles() - start);
	return ret;
}

static int test_ktask_run(struct ktask_ctl *ctl, cycles_t *least)
{
	cycles_t start = get_cycles();
	unsigned int i;
	int ret = 0;

	for (i = 0; i < tasks && !ret; i++)
		ret = ktask_run(NULL, size, ctl);
	*least = min(*least, get_cycles() - start);
	return ret;
}

/*
 * The engine and the direct calls in turn.  Interrupts stay on, which ktask
 * needs; the repetition that had none is the least, if it is short enough to
 * fit between two of them.
 */
static int test_ktask_measure(cycles_t *direct, cycles_t *ktask)
{
	DEFINE_KTASK_CTL(ctl, test_ktask_func, NULL, chunk);
	unsigned int i;
	int ret = 0;

	ktask_ctl_set_max_threads(&ctl, max_threads);
	for (i = 0; i < repeat && !ret; i++) {
		ret = test_ktask_direct(direct);
		if (ret)
			break;
		atomic_long_set(&test_ktask_calls, 0);
		ret = test_ktask_run(&ctl, ktask);
	}
	return ret;
}

static DEFINE_MUTEX(test_ktask_mutex);

static int test_ktask_take_mutex(void *start, void *end, void *arg)
{
	bool *take = arg;

	if (*take) {
		mutex_lock(&test_ktask_mutex);
		mutex_unlock(&test_ktask_mutex);
	}
	return KTASK_RETURN_SUCCESS;
}

/*
 * A thread function takes a mutex, and a call from the same place is made with
 * it held.  The two are not at one time, so only lockdep can see the deadlock.
 */
static int test_ktask_deadlock(void)
{
	bool take;
	DEFINE_KTASK_CTL(ctl, test_ktask_take_mutex, &take, 1);
	int i, ret = 0;

	for (i = 0; i < 2 && !ret; i++) {
		take = i == 0;
		if (!take)
			mutex_lock(&test_ktask_mutex);
		ret = ktask_run(NULL, 1, &ctl);
		if (!take)
			mutex_unlock(&test_ktask_mutex);
	}
	return ret;
}

static int __init test_ktask_init(void)
{
	cycles_t direct = ~(cycles_t)0;
	cycles_t ktask = ~(cycles_t)0;
	int ret;

	if (deadlock)
		return test_ktask_deadlock();

	if (!tasks || !repeat) {
		pr_err("tasks and repeat have to be at least 1\n");
		return -EINVAL;
	}
	if (cut)
		WRITE_ONCE(ktask_test_hooks.force_cut, true);
	ret = test_ktask_measure(&direct, &ktask);
	if (cut)
		WRITE_ONCE(ktask_test_hooks.force_cut, false);
	if (ret)
		return ret;

	pr_info("tasks=%u size=%lu chunk=%lu max_threads=%u work=%lu cut=%d chunks=%ld direct=%llu ktask=%llu\n",
		tasks, size, chunk, max_threads, work, cut,
		atomic_long_read(&test_ktask_calls),
		(unsigned long long)direct, (unsigned long long)ktask);
	return 0;
}
module_init(test_ktask_init);

/* Nothing of a task is left when ktask_run() has returned. */
static void __exit test_ktask_exit(void)
{
}
module_exit(test_ktask_exit);

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_DESCRIPTION("Runs ktask tasks on request");
MODULE_LICENSE("GPL");
