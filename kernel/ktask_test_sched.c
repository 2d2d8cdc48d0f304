// SPDX-License-Identifier: GPL-2.0-only
/*
 * ktask_test_sched.c - priorities, load, NUMA nodes
 */

#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/rtmutex.h>
#include <linux/sched.h>
#include <linux/sched/prio.h>
#include <linux/sched/rt.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/topology.h>

#include "ktask_test.h"

/* ---- Priority ----------------------------------------------------------- */

static const struct ktask_test_prio {
	const char		*name;
	struct sched_attr	caller;
	/* Who waits for the caller, if anybody. */
	struct sched_attr	waiter;
	/* What a helper is lent. */
	unsigned int		policy;
	int			nice;
	unsigned int		rt;
} ktask_test_prios[] = {
	{ "nice 0", { .sched_policy = SCHED_NORMAL }, {}, SCHED_NORMAL, 0, 0 },
	{ "nice 10", { .sched_policy = SCHED_NORMAL, .sched_nice = 10 }, {},
	  SCHED_NORMAL, 10, 0 },
	{ "nice -5", { .sched_policy = SCHED_NORMAL, .sched_nice = -5 }, {},
	  SCHED_NORMAL, -5, 0 },
	{ "FIFO", { .sched_policy = SCHED_FIFO, .sched_priority = 20 }, {},
	  SCHED_FIFO, 0, 20 },
	{ "RR", { .sched_policy = SCHED_RR, .sched_priority = 7 }, {},
	  SCHED_RR, 0, 7 },
	{ "deadline", { .sched_policy = SCHED_DEADLINE,
			.sched_runtime = 30 * NSEC_PER_MSEC,
			.sched_deadline = 100 * NSEC_PER_MSEC,
			.sched_period = 100 * NSEC_PER_MSEC }, {},
	  SCHED_FIFO, 0, 50 },
	{ "inherited", { .sched_policy = SCHED_NORMAL },
	  { .sched_policy = SCHED_FIFO, .sched_priority = 30 },
	  SCHED_FIFO, 0, 30 },
};

const void *ktask_test_prio_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_prios,
			       ARRAY_SIZE(ktask_test_prios),
			       sizeof(ktask_test_prios[0]));
}

/* Has @task what @prio lends? */
static bool ktask_test_has_prio(struct task_struct *task,
				const struct ktask_test_prio *prio)
{
	if (READ_ONCE(task->policy) != prio->policy)
		return false;
	if (prio->policy == SCHED_NORMAL)
		return task_nice(task) == prio->nice;
	return READ_ONCE(task->rt_priority) == prio->rt;
}

static bool ktask_test_has_own_prio(struct task_struct *task)
{
	static const struct ktask_test_prio own = {
		.policy = SCHED_NORMAL, .nice = MAX_NICE,
	};

	return ktask_test_has_prio(task, &own);
}

/* Workers seen as helpers. */
struct ktask_test_workers {
	spinlock_t		lock;	/* protects the following */
	struct task_struct	*tasks[16];
};

static void ktask_test_add_worker(struct ktask_test_workers *workers)
{
	int i;

	spin_lock(&workers->lock);
	for (i = 0; i < ARRAY_SIZE(workers->tasks); i++) {
		if (workers->tasks[i] == current)
			break;
		if (workers->tasks[i])
			continue;
		workers->tasks[i] = get_task_struct(current);
		break;
	}
	spin_unlock(&workers->lock);
}

/* Each gets its own priority back, soon after it left the task. */
static void ktask_test_check_workers(struct kunit *test,
				     struct ktask_test_workers *workers)
{
	struct task_struct *task;
	bool own;
	int i;

	for (i = 0; i < ARRAY_SIZE(workers->tasks); i++) {
		task = workers->tasks[i];
		if (!task)
			break;
		read_poll_timeout(ktask_test_has_own_prio, own, own, 1000,
				  KTASK_TEST_LONG, false, task);
		KUNIT_EXPECT_TRUE_MSG(test, own,
				      "worker %d: policy %u nice %d rt %u", i,
				      task->policy, task_nice(task),
				      task->rt_priority);
		put_task_struct(task);
		workers->tasks[i] = NULL;
	}
	KUNIT_EXPECT_GT_MSG(test, i, 0, "there was no helper");
}

struct ktask_test_lend {
	struct kunit			*test;
	struct ktask_test_job		*job;
	struct ktask_test_job		*inner;
	const struct ktask_test_prio	*prio;
	struct ktask_test_workers	workers;
	struct task_struct		*caller;
	struct rt_mutex			mutex;	/* the caller has it */
	bool				held;
	atomic_t			helped;
	atomic_t			inner_helped;
	atomic_t			lent;
	bool				ready;
	bool				left;
	bool				early;
	bool				got_it;
	bool				outer_got_it;
	int				round;
	bool				caller_left;
};

static struct ktask_test_lend *
ktask_test_new_lend(struct kunit *test, const struct ktask_test_prio *prio)
{
	struct ktask_test_lend *l;

	l = kunit_kzalloc(test, sizeof(*l), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, l);
	spin_lock_init(&l->workers.lock);
	rt_mutex_init(&l->mutex);
	l->test = test;
	l->prio = prio;
	l->job = ktask_test_simple(test, 1000, 10, 2);
	l->job->data = l;
	ktask_test_hooks.ignore_load = true;
	return l;
}

/* Spin, so as to need a CPU, until this thread is lent what it is to get. */
static bool ktask_test_spin_for(const struct ktask_test_prio *prio)
{
	unsigned long end = jiffies + 60 * HZ;

	while (!ktask_test_has_prio(current, prio)) {
		if (time_after(jiffies, end))
			return false;
		cond_resched();
	}
	return true;
}

static int ktask_test_nice_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	struct ktask_test_lend *l = job->data;
	bool own;
	int nr;

	if (!ktask_test_is_helper(job)) {
		WRITE_ONCE(l->caller_left, false);
		read_poll_timeout(atomic_read, nr, nr >= 3, 500,
				  KTASK_TEST_SHORT, false, &l->helped);
		WRITE_ONCE(l->caller_left, true);
		return KTASK_RETURN_SUCCESS;
	}
	/* While the caller is in a chunk it waits for nobody. */
	if (READ_ONCE(l->caller_left))
		return KTASK_RETURN_SUCCESS;
	own = ktask_test_has_own_prio(current);
	smp_rmb(); /* Look at the caller after looking at the priority. */
	if (READ_ONCE(l->caller_left))
		return KTASK_RETURN_SUCCESS;
	if (!own)
		ktask_test_bad(job, "helper is not at MAX_NICE", start, end);
	atomic_inc(&l->helped);
	return KTASK_RETURN_SUCCESS;
}

void ktask_test_helper_is_nice(struct kunit *test)
{
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_lend *l;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	l = ktask_test_new_lend(test, NULL);
	l->job->body = ktask_test_nice_body;
	do {
		l->job->done.nr = 0;
		l->caller_left = true;
		ktask_test_run_well(l->job);
	} while (atomic_read(&l->helped) < 3 && time_before(jiffies, end));
	KUNIT_EXPECT_GE(test, atomic_read(&l->helped), 3);
}

/*
 * The first helper stays in its chunk until it is lent a priority; the caller
 * is done with all else by then, and waits for it.
 */
static int ktask_test_lend_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	struct ktask_test_lend *l = job->data;
	bool ready;
	int nr;

	if (ktask_test_is_helper(job)) {
		ktask_test_add_worker(&l->workers);
		if (atomic_xchg(&l->helped, 1))
			return KTASK_RETURN_SUCCESS;
		l->got_it = ktask_test_spin_for(l->prio);
		return KTASK_RETURN_SUCCESS;
	}
	read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_SHORT, false,
			  &l->helped);
	if (nr)
		read_poll_timeout(READ_ONCE, ready, ready, 500, KTASK_TEST_LONG,
				  false, l->ready);
	return KTASK_RETURN_SUCCESS;
}

/* Somebody who waits for the caller, and lends it a priority by that. */
static int ktask_test_wait_thread(void *arg)
{
	struct ktask_test_lend *l = arg;
	bool held;

	ktask_test_sched(l->test, &l->prio->waiter);
	read_poll_timeout(READ_ONCE, held, held, 500, KTASK_TEST_LONG, false,
			  l->held);
	rt_mutex_lock(&l->mutex);
	rt_mutex_unlock(&l->mutex);
	return 0;
}

static void ktask_test_inherit(struct ktask_test_lend *l)
{
	bool inherited;

	WRITE_ONCE(l->held, true);
	read_poll_timeout(rt_task, inherited, inherited, 500, KTASK_TEST_LONG,
			  false, current);
	KUNIT_EXPECT_TRUE_MSG(l->test, inherited, "nobody waits");
}

static int ktask_test_lend_thread(void *arg)
{
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_lend *l = arg;

	ktask_test_sched(l->test, &l->prio->caller);
	l->caller = current;
	rt_mutex_lock(&l->mutex);
	if (l->prio->waiter.sched_policy)
		ktask_test_inherit(l);
	do {
		l->job->done.nr = 0;
		ktask_test_run_well(l->job);
	} while (!atomic_read(&l->helped) && time_before(jiffies, end));
	rt_mutex_unlock(&l->mutex);
	return 0;
}

/* A caller that waits for a helper on a busy CPU is not starved. */
void ktask_test_lends_prio(struct kunit *test)
{
	u64 boosts = ktask_stat_read(KTASK_STAT_BOOSTS);
	struct ktask_test_thread *thread, *waiter = NULL;
	struct ktask_test_lend *l;
	int nr;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	l = ktask_test_new_lend(test, test->param_value);
	l->job->body = ktask_test_lend_body;
	ktask_test_hogs(test, SCHED_NORMAL);
	thread = ktask_test_start(test, -1, ktask_test_lend_thread, l);
	if (l->prio->waiter.sched_policy)
		waiter = ktask_test_start(test, -1, ktask_test_wait_thread, l);
	read_poll_timeout(atomic_read, nr, nr, 1000, KTASK_TEST_LONG, false,
			  &l->helped);
	ktask_test_hogs_on();
	KUNIT_EXPECT_TRUE(test, ktask_test_hogs_run());
	WRITE_ONCE(l->ready, true);
	ktask_test_join(test, thread);
	if (waiter)
		ktask_test_join(test, waiter);

	KUNIT_EXPECT_TRUE_MSG(test, l->got_it, "the helper was lent nothing");
	KUNIT_EXPECT_GT(test, ktask_stat_read(KTASK_STAT_BOOSTS), boosts);
	ktask_test_check_workers(test, &l->workers);
}

static const struct ktask_test_prio ktask_test_fifo = {
	.caller = { .sched_policy = SCHED_FIFO, .sched_priority = 20 },
	.policy = SCHED_FIFO,
	.rt = 20,
};

static const struct ktask_test_prio ktask_test_nice_5 = {
	.caller = { .sched_policy = SCHED_NORMAL, .sched_nice = 5 },
	.policy = SCHED_NORMAL,
	.nice = 5,
};

/* The first helper stays until it was lent a priority, and then a lower one. */
static int ktask_test_less_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	struct ktask_test_lend *l = job->data;
	int nr;

	if (!ktask_test_is_helper(job)) {
		read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_SHORT,
				  false, &l->helped);
		return KTASK_RETURN_SUCCESS;
	}
	ktask_test_add_worker(&l->workers);
	if (atomic_xchg(&l->helped, 1))
		return KTASK_RETURN_SUCCESS;
	l->outer_got_it = ktask_test_spin_for(&ktask_test_fifo);
	WRITE_ONCE(l->ready, true);
	l->got_it = ktask_test_spin_for(&ktask_test_nice_5);
	return KTASK_RETURN_SUCCESS;
}

/* A caller whose priority becomes less lends less. */
void ktask_test_lends_less(struct kunit *test)
{
	struct ktask_test_thread *thread;
	struct ktask_test_lend *l;
	int error = -ETIMEDOUT;
	bool ready;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	l = ktask_test_new_lend(test, &ktask_test_fifo);
	l->job->body = ktask_test_less_body;
	thread = ktask_test_start(test, -1, ktask_test_lend_thread, l);
	read_poll_timeout(READ_ONCE, ready, ready, 1000, KTASK_TEST_LONG, false,
			  l->ready);
	/* It waits for the helper, which waits for this. */
	if (ready)
		error = sched_setattr_nocheck(l->caller,
					      &ktask_test_nice_5.caller);
	KUNIT_EXPECT_EQ(test, error, 0);
	ktask_test_join(test, thread);

	KUNIT_EXPECT_TRUE_MSG(test, l->outer_got_it,
			      "the helper was lent nothing");
	KUNIT_EXPECT_TRUE_MSG(test, l->got_it, "it kept what it was lent");
	ktask_test_check_workers(test, &l->workers);
}

/* The helper's chunk ends about when the caller begins to wait for it. */
static int ktask_test_end_body(struct ktask_test_job *job,
			       unsigned long start, unsigned long end)
{
	struct ktask_test_lend *l = job->data;
	bool left;
	int nr;

	if (!ktask_test_is_helper(job)) {
		read_poll_timeout(atomic_read, nr, nr, 100,
				  5 * USEC_PER_MSEC, false, &l->helped);
		WRITE_ONCE(l->caller_left, true);
		return KTASK_RETURN_SUCCESS;
	}
	ktask_test_add_worker(&l->workers);
	atomic_set(&l->helped, 1);
	read_poll_timeout_atomic(READ_ONCE, left, left, 1, 5 * USEC_PER_MSEC,
				 false, l->caller_left);
	udelay(l->round % 50);
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_end_thread(void *arg)
{
	u64 boosts = ktask_stat_read(KTASK_STAT_BOOSTS);
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_lend *l = arg;

	ktask_test_sched(l->test, &l->prio->caller);
	while (l->round < 100 ||
	       (ktask_stat_read(KTASK_STAT_BOOSTS) == boosts &&
		time_before(jiffies, end))) {
		l->round++;
		l->job->done.nr = 0;
		l->caller_left = false;
		atomic_set(&l->helped, 0);
		ktask_test_run_well(l->job);
	}
	return 0;
}

void ktask_test_own_prio_back(struct kunit *test)
{
	u64 boosts = ktask_stat_read(KTASK_STAT_BOOSTS);
	struct ktask_test_lend *l;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	l = ktask_test_new_lend(test, test->param_value);
	l->job->body = ktask_test_end_body;
	l->job->parts[0].kn_task_size = 20;
	ktask_test_join(test, ktask_test_start(test, -1, ktask_test_end_thread,
					       l));
	KUNIT_EXPECT_GT(test, ktask_stat_read(KTASK_STAT_BOOSTS), boosts);
	ktask_test_check_workers(test, &l->workers);
}

static const struct ktask_test_nested_prio {
	const char	*name;
	bool		early;
} ktask_test_nested_prios[] = {
	{ "helper waits already", false },
	{ "helper waits later", true },
};

const void *ktask_test_nested_prio_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_nested_prios,
			       ARRAY_SIZE(ktask_test_nested_prios),
			       sizeof(ktask_test_nested_prios[0]));
}

/* Of the task that the outer helper runs. */
static int ktask_test_inner_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	struct ktask_test_lend *l = job->data;
	int nr;

	if (ktask_test_is_helper(job)) {
		ktask_test_add_worker(&l->workers);
		if (!atomic_xchg(&l->inner_helped, 1))
			l->got_it = ktask_test_spin_for(l->prio);
		return KTASK_RETURN_SUCCESS;
	}
	read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_SHORT, false,
			  &l->inner_helped);
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_outer_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	unsigned long until = jiffies + 60 * HZ;
	struct ktask_test_lend *l = job->data;
	int nr;

	if (!ktask_test_is_helper(job)) {
		read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_SHORT,
				  false, &l->helped);
		if (!nr || l->early)
			return KTASK_RETURN_SUCCESS;
		read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_LONG,
				  false, &l->inner_helped);
		msleep(20);
		return KTASK_RETURN_SUCCESS;
	}
	ktask_test_add_worker(&l->workers);
	if (atomic_xchg(&l->helped, 1))
		return KTASK_RETURN_SUCCESS;
	if (l->early)
		l->outer_got_it = ktask_test_spin_for(l->prio);
	do {
		l->inner->done.nr = 0;
		ktask_test_run_well(l->inner);
	} while (!atomic_read(&l->inner_helped) && time_before(jiffies, until));
	return KTASK_RETURN_SUCCESS;
}

/* The caller waits for a helper that waits for a helper in turn. */
void ktask_test_lends_prio_nested(struct kunit *test)
{
	const struct ktask_test_nested_prio *p = test->param_value;
	struct ktask_test_lend *l;

	KTASK_TEST_REQUIRES(test, ktask_test_most_threads() > 2);
	l = ktask_test_new_lend(test, &ktask_test_fifo);
	/* The helper has to be told, and not to find out by itself in the end. */
	ktask_test_hooks.no_poll = true;
	l->early = p->early;
	l->job->body = ktask_test_outer_body;
	l->inner = ktask_test_simple(test, 1000, 10, 2);
	l->inner->body = ktask_test_inner_body;
	l->inner->data = l;
	ktask_test_join(test, ktask_test_start(test, -1, ktask_test_lend_thread,
					       l));
	KUNIT_EXPECT_TRUE_MSG(test, l->got_it,
			      "the inner helper was lent nothing");
	if (p->early)
		KUNIT_EXPECT_TRUE_MSG(test, l->outer_got_it,
				      "the outer helper was lent nothing");
	ktask_test_check_workers(test, &l->workers);
}

/* Two helpers stay in their chunks, until both had the caller's priority. */
struct ktask_test_turns {
	struct ktask_test_job		*job;
	struct ktask_test_workers	workers;
	atomic_t			inside;
	bool				over;
	bool				had[2];
	bool				at_once;
};

static int ktask_test_turns_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	struct ktask_test_turns *t = job->data;
	bool over;
	int nr;

	if (!ktask_test_is_helper(job)) {
		read_poll_timeout(atomic_read, nr, nr >= 2, 500,
				  KTASK_TEST_SHORT, false, &t->inside);
		return KTASK_RETURN_SUCCESS;
	}
	nr = atomic_inc_return(&t->inside);
	if (nr < 2)
		read_poll_timeout(atomic_read, nr, nr == 2, 500,
				  10 * KTASK_TEST_SHORT, false, &t->inside);
	if (nr < 2 && atomic_cmpxchg(&t->inside, 1, 0) == 1)
		return KTASK_RETURN_SUCCESS;
	ktask_test_add_worker(&t->workers);
	read_poll_timeout(READ_ONCE, over, over, 500, KTASK_TEST_LONG, false,
			  t->over);
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_turns_thread(void *arg)
{
	struct ktask_test_turns *t = arg;

	while (!READ_ONCE(t->over) && !kthread_should_stop()) {
		t->job->done.nr = 0;
		ktask_test_run_well(t->job);
	}
	return 0;
}

/*
 * Which of the two have more than their own priority?  The first is looked at
 * twice: it can't have got the priority back from the second in between, as that
 * has it for longer than this takes.
 */
static void ktask_test_look_at_turns(struct ktask_test_turns *t)
{
	struct task_struct **tasks = t->workers.tasks;
	bool first, second, again;
	u64 took;

	local_irq_disable();
	took = ktime_get_ns();
	first = !ktask_test_has_own_prio(tasks[0]);
	second = !ktask_test_has_own_prio(tasks[1]);
	again = !ktask_test_has_own_prio(tasks[0]);
	took = ktime_get_ns() - took;
	local_irq_enable();

	t->had[0] |= first;
	t->had[1] |= second;
	t->at_once |= first && second && again && took < NSEC_PER_SEC / 4;
}

/* A caller that waits for two helpers lends its priority to one at a time. */
void ktask_test_lends_to_one(struct kunit *test)
{
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_thread *thread;
	struct ktask_test_turns *t;
	struct task_struct *second;

	KTASK_TEST_REQUIRES(test, ktask_test_most_threads() > 2);
	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	spin_lock_init(&t->workers.lock);
	ktask_test_hooks.ignore_load = true;
	t->job = ktask_test_simple(test, 1000, 10, 3);
	t->job->body = ktask_test_turns_body;
	t->job->data = t;
	thread = ktask_test_start(test, -1, ktask_test_turns_thread, t);
	read_poll_timeout(READ_ONCE, second, second, 1000, KTASK_TEST_LONG,
			  false, t->workers.tasks[1]);
	KUNIT_ASSERT_NOT_NULL(test, second);
	while (!(t->had[0] && t->had[1]) && time_before(jiffies, end)) {
		ktask_test_look_at_turns(t);
		usleep_range(500, 1000);
	}
	WRITE_ONCE(t->over, true);
	ktask_test_join(test, thread);
	KUNIT_EXPECT_TRUE(test, t->had[0]);
	KUNIT_EXPECT_TRUE(test, t->had[1]);
	KUNIT_EXPECT_FALSE_MSG(test, t->at_once, "two had it at a time");
	ktask_test_check_workers(test, &t->workers);
}

static struct ktask_test_lend *ktask_test_lending;

/* The helper comes to its end in the moment before it is lent a priority. */
static void ktask_test_before_lend(void)
{
	struct ktask_test_lend *l = ktask_test_lending;
	int nr;

	if (atomic_xchg(&l->lent, 1))
		return;
	WRITE_ONCE(l->ready, true);
	l->left = !read_poll_timeout(ktask_test_nr_free_works, nr,
				     nr == ktask_test_nr_works(), 500,
				     KTASK_TEST_SHORT, false);
}

static int ktask_test_before_end_body(struct ktask_test_job *job,
				      unsigned long start, unsigned long end)
{
	struct ktask_test_lend *l = job->data;
	bool ready;
	int nr;

	if (!ktask_test_is_helper(job)) {
		read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_SHORT,
				  false, &l->helped);
		return KTASK_RETURN_SUCCESS;
	}
	ktask_test_add_worker(&l->workers);
	atomic_set(&l->helped, 1);
	read_poll_timeout(READ_ONCE, ready, ready, 500, KTASK_TEST_LONG, false,
			  l->ready);
	return KTASK_RETURN_SUCCESS;
}

/* A helper does not leave its task while it is lent a priority. */
void ktask_test_lends_at_the_end(struct kunit *test)
{
	static const struct ktask_test_prio fifo = {
		.caller = { .sched_policy = SCHED_FIFO, .sched_priority = 20 },
	};
	struct ktask_test_lend *l;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	l = ktask_test_new_lend(test, &fifo);
	l->job->body = ktask_test_before_end_body;
	ktask_test_lending = l;
	ktask_test_hooks.before_lend = ktask_test_before_lend;
	ktask_test_join(test, ktask_test_start(test, -1, ktask_test_lend_thread,
					       l));
	KUNIT_EXPECT_EQ(test, atomic_read(&l->lent), 1);
	KUNIT_EXPECT_FALSE_MSG(test, l->left, "the helper left meanwhile");
	ktask_test_check_workers(test, &l->workers);
}

/*
 * Of two helpers, which stay in their chunks, the first comes to its end while what it
 * was lent is taken back, and all CPUs are busy with threads that have more.
 */
static struct ktask_test_again {
	struct kunit			*test;
	struct ktask_test_job		*job;
	struct ktask_test_workers	workers;
	struct task_struct		*helpers[2];
	struct task_struct		*first;
	atomic_t			inside;
	int				lent;
	bool				first_out;
	bool				second_goes;
	bool				again;
} *ktask_test_again;

/* Past its chunk it sleeps only until it may leave. */
static bool ktask_test_first_leaves(struct ktask_test_again *a)
{
	return READ_ONCE(a->first_out) &&
	       READ_ONCE(a->first->__state) == TASK_UNINTERRUPTIBLE;
}

/* The caller lends to the first, takes that back, lends to the second, to the first. */
static void ktask_test_before_lend_again(void)
{
	struct ktask_test_again *a = ktask_test_again;
	bool leaves;

	/* They did not meet. */
	if (!a->lent && atomic_read(&a->inside) != 2)
		return;
	switch (++a->lent) {
	case 1:
		ktask_test_hogs_on();
		break;
	case 2:
		WRITE_ONCE(a->first,
			   a->helpers[ktask_test_has_own_prio(a->helpers[0])]);
		read_poll_timeout(ktask_test_first_leaves, leaves, leaves, 500,
				  KTASK_TEST_LONG, false, a);
		break;
	case 3:
		WRITE_ONCE(a->second_goes, true);
		break;
	default:
		/* Or the second took so long that it is to give it back. */
		a->again = ktask_test_nr_helpers() == 1;
	}
}

static bool ktask_test_may_go(struct ktask_test_again *a)
{
	return READ_ONCE(a->first) == current || READ_ONCE(a->second_goes);
}

static int ktask_test_again_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	struct ktask_test_again *a = job->data;
	bool go;
	int nr;

	if (!ktask_test_is_helper(job)) {
		read_poll_timeout(atomic_read, nr, nr >= 2, 500,
				  KTASK_TEST_SHORT, false, &a->inside);
		return KTASK_RETURN_SUCCESS;
	}
	nr = atomic_inc_return(&a->inside);
	if (nr > 2)
		return KTASK_RETURN_SUCCESS;
	WRITE_ONCE(a->helpers[nr - 1], current);
	if (nr < 2)
		read_poll_timeout(atomic_read, nr, nr >= 2, 500,
				  10 * KTASK_TEST_SHORT, false, &a->inside);
	/* Alone it is nobody's turn. */
	if (nr < 2 && atomic_cmpxchg(&a->inside, 1, 3) == 1)
		return KTASK_RETURN_SUCCESS;
	ktask_test_add_worker(&a->workers);
	read_poll_timeout(ktask_test_may_go, go, go, 500, KTASK_TEST_LONG, false,
			  a);
	if (READ_ONCE(a->first) == current)
		WRITE_ONCE(a->first_out, true);
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_again_thread(void *arg)
{
	static const struct sched_attr fifo = {
		.sched_policy	= SCHED_FIFO,
		.sched_priority	= 60,
	};
	unsigned long end = jiffies + 30 * HZ;
	struct ktask_test_again *a = arg;

	ktask_test_sched(a->test, &fifo);
	do {
		ktask_test_hogs_off();
		atomic_set(&a->inside, 0);
		a->lent = 0;
		a->first = NULL;
		a->first_out = false;
		a->second_goes = false;
		a->job->done.nr = 0;
		ktask_test_run_well(a->job);
	} while (!a->again && time_before(jiffies, end));
	ktask_test_hogs_off();
	return 0;
}

/*
 * A helper that leaves, and that something was taken back from, may be the next one
 * that the caller waits for.  It may happen to get to run, so there are several tries.
 */
void ktask_test_lends_to_who_leaves(struct kunit *test)
{
	struct ktask_test_again *a;

	KTASK_TEST_REQUIRES(test, ktask_test_most_threads() > 2);
	a = kunit_kzalloc(test, sizeof(*a), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, a);
	spin_lock_init(&a->workers.lock);
	a->test = test;
	a->job = ktask_test_simple(test, 1000, 10, 3);
	a->job->body = ktask_test_again_body;
	a->job->data = a;
	ktask_test_again = a;
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.before_lend = ktask_test_before_lend_again;
	ktask_test_hogs(test, SCHED_FIFO);
	ktask_test_join(test, ktask_test_start(test, -1, ktask_test_again_thread,
					       a));
	KUNIT_EXPECT_TRUE_MSG(test, a->again, "it was lent nothing again");
	ktask_test_check_workers(test, &a->workers);
}

/* ---- Load --------------------------------------------------------------- */

static int ktask_test_busy_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	usleep_range(50, 200);
	return KTASK_RETURN_SUCCESS;
}

void ktask_test_no_helper_for_busy_cpu(struct kunit *test)
{
	struct ktask_test_job *job;
	u64 started;
	int i;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	job = ktask_test_simple(test, 2000, 10, 0);
	job->body = ktask_test_busy_body;
	ktask_test_hogs(test, SCHED_NORMAL);
	ktask_test_hogs_on();
	KUNIT_ASSERT_TRUE(test, ktask_test_hogs_run());
	started = ktask_stat_read(KTASK_STAT_HELPERS_STARTED);
	for (i = 0; i < 5; i++) {
		job->done.nr = 0;
		ktask_test_run_well(job);
		KUNIT_EXPECT_GT(test, job->done.nr, 1);
	}
	KUNIT_EXPECT_EQ(test, atomic_read(&job->helper_chunks), 0);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_HELPERS_STARTED),
			started);
}

static int ktask_test_idle_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	int nr;

	if (ktask_test_is_helper(job))
		return KTASK_RETURN_SUCCESS;
	if (!start) {
		if (atomic_read(&job->helper_chunks))
			ktask_test_bad(job, "helper while all is busy", start,
				       end);
		ktask_test_hogs_off();
	}
	read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_SHORT, false,
			  &job->helper_chunks);
	return KTASK_RETURN_SUCCESS;
}

/* The task begins while all CPUs are busy, and goes on while they are not. */
void ktask_test_helpers_come_when_idle(struct kunit *test)
{
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	job = ktask_test_long_job(test);
	job->body = ktask_test_idle_body;
	ktask_test_hogs(test, SCHED_NORMAL);
	ktask_test_hogs_on();
	KUNIT_ASSERT_TRUE(test, ktask_test_hogs_run());
	ktask_test_run_well(job);
	KUNIT_EXPECT_GT_MSG(test, atomic_read(&job->helper_chunks), 0,
			    "no helper came");
}

struct ktask_test_leave {
	struct ktask_test_job	*job;
	atomic_t		came;
	bool			busy;
	u64			left;
	u64			started;
};

static int ktask_test_leave_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	struct ktask_test_leave *l = job->data;
	bool busy;
	u64 left;
	int nr;

	if (ktask_test_is_helper(job)) {
		if (READ_ONCE(l->busy))
			ktask_test_bad(job, "helper while all is busy", start,
				       end);
		atomic_set(&l->came, 1);
	} else {
		read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_SHORT,
				  false, &l->came);
		if (!nr)
			return KTASK_RETURN_SUCCESS;
	}
	read_poll_timeout(READ_ONCE, busy, busy, 500, KTASK_TEST_LONG, false,
			  l->busy);
	/* There are chunks for the helper to take until it has left. */
	if (!ktask_test_is_helper(job))
		read_poll_timeout(ktask_stat_read, left, left != l->left, 500,
				  KTASK_TEST_LONG, false,
				  KTASK_STAT_HELPERS_LEFT_BUSY);
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_leave_thread(void *arg)
{
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_leave *l = arg;

	do {
		l->job->done.nr = 0;
		ktask_test_run_well(l->job);
	} while (!atomic_read(&l->came) && time_before(jiffies, end));
	return 0;
}

/* All CPUs get busy while a helper is in a chunk: it does no other. */
void ktask_test_helper_leaves_busy_cpu(struct kunit *test)
{
	struct ktask_test_thread *thread;
	struct ktask_test_leave *l;
	u64 started;
	int nr;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	l = kunit_kzalloc(test, sizeof(*l), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, l);
	l->job = ktask_test_long_job(test);
	l->job->body = ktask_test_leave_body;
	l->job->data = l;
	ktask_ctl_set_max_threads(&l->job->ctl, 2);
	ktask_test_hogs(test, SCHED_NORMAL);
	thread = ktask_test_start(test, -1, ktask_test_leave_thread, l);
	read_poll_timeout(atomic_read, nr, nr, 1000, KTASK_TEST_LONG, false,
			  &l->came);
	KUNIT_EXPECT_TRUE_MSG(test, nr, "no helper came");
	ktask_test_hogs_on();
	KUNIT_EXPECT_TRUE(test, ktask_test_hogs_run());
	l->left = ktask_stat_read(KTASK_STAT_HELPERS_LEFT_BUSY);
	started = ktask_stat_read(KTASK_STAT_HELPERS_STARTED);
	WRITE_ONCE(l->busy, true);
	ktask_test_join(test, thread);

	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_HELPERS_LEFT_BUSY),
			l->left + 1);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_HELPERS_STARTED),
			started);
}

/*
 * @hogs: a thread for each CPU, and how many there are
 * @helper: who has woken up on a CPU that got busy then
 * @cpu: that CPU, or -1
 * @moved: helpers that had gone to idle CPUs before
 * @went: that one has done a chunk on another CPU
 */
struct ktask_test_flee {
	struct task_struct	**hogs;
	atomic_t		nr_hogs;
	struct task_struct	*helper;
	int			cpu;
	u64			moved;
	bool			went;
};

static struct ktask_test_flee *ktask_test_flee;

/*
 * Keeps its CPU busy when that is its turn; no more than a helper does, which has to
 * get that far as to find out.
 */
static int ktask_test_flee_hog(void *arg)
{
	struct ktask_test_flee *flee = arg;
	int cpu = raw_smp_processor_id();

	set_user_nice(current, MAX_NICE);
	WRITE_ONCE(flee->hogs[cpu], current);
	atomic_inc_return(&flee->nr_hogs);
	while (!kthread_should_stop()) {
		set_current_state(TASK_IDLE);
		if (READ_ONCE(flee->cpu) != cpu && !kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
		while (READ_ONCE(flee->cpu) == cpu && !kthread_should_stop())
			cond_resched();
	}
	return 0;
}

/* A helper has woken up: its CPU gets busy, if no other one is. */
static void ktask_test_flee_begin(void)
{
	struct ktask_test_flee *flee = ktask_test_flee;
	int cpu = get_cpu();

	if (cmpxchg(&flee->cpu, -1, cpu) == -1) {
		WRITE_ONCE(flee->moved,
			   ktask_stat_read(KTASK_STAT_HELPERS_MOVED));
		WRITE_ONCE(flee->helper, current);
		wake_up_process(READ_ONCE(flee->hogs[cpu]));
	}
	put_cpu();
}

/* Has a helper gone to an idle CPU, or is there none that still may? */
static bool ktask_test_flee_over(const struct ktask_test_flee *flee)
{
	return READ_ONCE(flee->went) ||
	       ktask_test_nr_free_works() == ktask_test_nr_works();
}

static int ktask_test_flee_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	struct ktask_test_flee *flee = job->data;
	int cpu = READ_ONCE(flee->cpu);
	bool over;

	if (!ktask_test_is_helper(job)) {
		/* Another try, if no CPU was idle just then. */
		if (ktask_test_flee_over(flee)) {
			WRITE_ONCE(flee->helper, NULL);
			WRITE_ONCE(flee->cpu, -1);
		}
		read_poll_timeout(ktask_test_flee_over, over, over, 500,
				  10 * KTASK_TEST_SHORT, false, flee);
	} else if (READ_ONCE(flee->helper) == current && cpu >= 0 &&
		   raw_smp_processor_id() != cpu &&
		   ktask_stat_read(KTASK_STAT_HELPERS_MOVED) >
		   READ_ONCE(flee->moved)) {
		/* That one was not idle. */
		if (!cpumask_test_cpu(cpu, current->cpus_ptr))
			ktask_test_bad(job, "kept where it went", start, end);
		WRITE_ONCE(flee->went, true);
	}
	return KTASK_RETURN_SUCCESS;
}

static struct ktask_test_flee *ktask_test_new_flee(struct kunit *test)
{
	struct ktask_test_flee *flee;
	int cpu, nr;

	flee = kunit_kzalloc(test, sizeof(*flee), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, flee);
	flee->hogs = kunit_kcalloc(test, nr_cpu_ids, sizeof(*flee->hogs),
				   GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, flee->hogs);
	flee->cpu = -1;
	for_each_online_cpu(cpu)
		ktask_test_start(test, cpu, ktask_test_flee_hog, flee);
	read_poll_timeout(atomic_read, nr, nr == num_online_cpus(), 500,
			  KTASK_TEST_LONG, false, &flee->nr_hogs);
	KUNIT_ASSERT_EQ(test, nr, num_online_cpus());
	return flee;
}

/* The CPU on which a helper wakes up gets busy: it goes to one that is idle. */
void ktask_test_helper_goes_to_idle_cpu(struct kunit *test)
{
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, nr_cpus_node(numa_node_id()) > 1);
	ktask_test_flee = ktask_test_new_flee(test);
	job = ktask_test_simple(test, 1000, 10, 2);
	job->body = ktask_test_flee_body;
	job->data = ktask_test_flee;
	WRITE_ONCE(ktask_test_hooks.before_join, ktask_test_flee_begin);
	do {
		job->done.nr = 0;
		ktask_test_run_well(job);
	} while (!ktask_test_flee->went && time_before(jiffies, end));
	WRITE_ONCE(ktask_test_hooks.before_join, NULL);
	WRITE_ONCE(ktask_test_flee->cpu, -1);
	KUNIT_EXPECT_TRUE(test, ktask_test_flee->went);
	/* Whoever still begins. */
	KUNIT_EXPECT_TRUE(test, ktask_test_all_free());
}

static const struct ktask_test_vain {
	const char	*name;
	size_t		size;
	unsigned int	helpers;
} ktask_test_vain_rows[] = {
	{ "one chunk left", 20, 0 },
	{ "two chunks left", 30, 1 },
};

const void *ktask_test_vain_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_vain_rows,
			       ARRAY_SIZE(ktask_test_vain_rows),
			       sizeof(ktask_test_vain_rows[0]));
}

/* Helpers are allowed from the first chunk on, and looked for after each. */
static int ktask_test_vain_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	if (!start && ktask_test_set_param("cpu_percent", "80"))
		ktask_test_bad(job, "cpu_percent", start, end);
	if (!ktask_test_is_helper(job))
		msleep(50);
	return KTASK_RETURN_SUCCESS;
}

/* The thread that looks takes a chunk itself. */
void ktask_test_no_helper_in_vain(struct kunit *test)
{
	const struct ktask_test_vain *p = test->param_value;
	u64 started = ktask_stat_read(KTASK_STAT_HELPERS_STARTED);
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	job = ktask_test_simple(test, p->size, 10, 0);
	job->body = ktask_test_vain_body;
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	KUNIT_ASSERT_EQ(test, ktask_test_set_param("cpu_percent", "0"), 0);
	ktask_test_run_well(job);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_HELPERS_STARTED),
			started + p->helpers);
}

static int ktask_test_rare_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	int nr;

	usleep_range(12000, 15000);
	read_poll_timeout(ktask_test_nr_helpers, nr, !nr, 500, KTASK_TEST_LONG,
			  false);
	return KTASK_RETURN_SUCCESS;
}

/* Parts of one chunk each, that take as long as it takes to look again. */
static struct ktask_test_job *ktask_test_rare_job(struct kunit *test, int nid)
{
	struct ktask_test_job *job = ktask_test_long_job(test);
	int i;

	job->body = ktask_test_rare_body;
	for (i = 0; i < job->nr_parts; i++) {
		job->parts[i].kn_task_size = 10;
		job->parts[i].kn_nid = nid;
	}
	return job;
}

/* Helpers that come to a CPU which others want are started less and less often. */
void ktask_test_vain_helpers_get_rare(struct kunit *test)
{
	u64 started = ktask_stat_read(KTASK_STAT_HELPERS_STARTED);
	const unsigned long most = 64 * DIV_ROUND_UP(HZ, 100);
	unsigned long wait = DIV_ROUND_UP(HZ, 100);
	unsigned long least = 0;
	struct ktask_test_job *job;
	unsigned long begun;
	int i;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	job = ktask_test_rare_job(test, NUMA_NO_NODE);
	ktask_ctl_set_max_threads(&job->ctl, 2);
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.all_wanted = true;
	begun = jiffies;
	ktask_test_run_well(job);
	KUNIT_EXPECT_EQ(test, atomic_read(&job->helper_chunks), 0);

	started = ktask_stat_read(KTASK_STAT_HELPERS_STARTED) - started;
	KUNIT_EXPECT_GT(test, started, 2);
	for (i = 1; i < started; i++) {
		least += wait;
		wait = min(2 * wait, most);
	}
	KUNIT_EXPECT_GE_MSG(test, jiffies - begun, least,
			    "%llu were started", started);
}

static const struct ktask_test_look {
	const char	*name;
	bool		anywhere;
} ktask_test_look_rows[] = {
	{ "parts of one node", false },
	{ "parts of any node", true },
};

const void *ktask_test_look_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_look_rows,
			       ARRAY_SIZE(ktask_test_look_rows),
			       sizeof(ktask_test_look_rows[0]));
}

static atomic_t ktask_test_places;

static void ktask_test_on_place(void)
{
	atomic_inc(&ktask_test_places);
}

/* However many parts a task has, a look that finds nothing looks at a node once. */
void ktask_test_looks_once_per_node(struct kunit *test)
{
	const struct ktask_test_look *p = test->param_value;
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	job = ktask_test_rare_job(test, p->anywhere ? NUMA_NO_NODE :
						      ktask_test_round_node(0));
	ktask_test_hogs(test, SCHED_NORMAL);
	ktask_test_hogs_on();
	KUNIT_ASSERT_TRUE(test, ktask_test_hogs_run());
	atomic_set(&ktask_test_places, 0);
	WRITE_ONCE(ktask_test_hooks.on_place, ktask_test_on_place);
	ktask_test_run_well(job);
	WRITE_ONCE(ktask_test_hooks.on_place, NULL);
	KUNIT_EXPECT_GT(test, atomic_read(&ktask_test_places), 0);
	/* A look at the start, and after each chunk. */
	KUNIT_EXPECT_LE(test, atomic_read(&ktask_test_places),
			job->done.nr + 1);
}

/* ---- Nodes -------------------------------------------------------------- */

/* The first node after @nid that has CPUs, or NUMA_NO_NODE. */
static int ktask_test_next_node(int nid)
{
	int cpu, best = NUMA_NO_NODE;

	for_each_online_cpu(cpu) {
		if (cpu_to_node(cpu) > nid &&
		    (best == NUMA_NO_NODE || cpu_to_node(cpu) < best))
			best = cpu_to_node(cpu);
	}
	return best;
}

static int ktask_test_nr_cpu_nodes(void)
{
	int nid = NUMA_NO_NODE;
	int nr = 0;

	while ((nid = ktask_test_next_node(nid)) != NUMA_NO_NODE)
		nr++;
	return nr;
}

/* A part starts at each multiple of this many units. */
#define KTASK_TEST_PART		100000UL

struct ktask_test_spread {
	struct ktask_test_job	*job;
	spinlock_t		lock;	/* protects the following */
	int			want;
	int			inside[2];	/* threads in each part */
	int			met[2];		/* when all were inside */
	unsigned long		begun;		/* units */
	unsigned long		size;
	bool			meet;
	int			migrated;
};

/* Two parts, of nodes @nid and @other. */
static struct ktask_test_spread *
ktask_test_new_spread(struct kunit *test, int nid, size_t size, int other,
		      size_t other_size)
{
	struct ktask_test_spread *s;

	s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s);
	spin_lock_init(&s->lock);
	s->size = size + other_size;
	s->job = ktask_test_job(test, 2, 2048);
	s->job->data = s;
	s->job->parts[0].kn_task_size = size;
	s->job->parts[0].kn_nid = nid;
	s->job->parts[1].kn_start = (void *)KTASK_TEST_PART;
	s->job->parts[1].kn_task_size = other_size;
	s->job->parts[1].kn_nid = other;
	s->job->ctl.kc_min_chunk_size = 10;
	ktask_test_hooks.ignore_load = true;
	return s;
}

/* A helper does a part on its node's CPUs. */
static void ktask_test_check_place(struct ktask_test_job *job,
				   unsigned long start, unsigned long end)
{
	const struct ktask_node *part = &job->parts[start / KTASK_TEST_PART];

	if (ktask_test_is_helper(job) && numa_node_id() != part->kn_nid)
		ktask_test_bad(job, "on another node's CPU", start, end);
}

static int ktask_test_spread_body(struct ktask_test_job *job,
				  unsigned long start, unsigned long end)
{
	struct ktask_test_spread *s = job->data;
	int part = start / KTASK_TEST_PART;
	bool meet;

	ktask_test_check_place(job, start, end);
	spin_lock(&s->lock);
	s->inside[part]++;
	s->begun += end - start;
	/* Later in the task the parts are not what they were. */
	if (!s->meet && s->inside[0] + s->inside[1] == s->want &&
	    s->begun <= s->size / 2) {
		s->meet = true;
		s->met[0] = s->inside[0];
		s->met[1] = s->inside[1];
	}
	spin_unlock(&s->lock);
	read_poll_timeout(READ_ONCE, meet, meet, 500, KTASK_TEST_SHORT, false,
			  s->meet);
	spin_lock(&s->lock);
	s->inside[part]--;
	spin_unlock(&s->lock);
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_spread_thread(void *arg)
{
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_spread *s = arg;

	do {
		s->begun = 0;
		s->job->done.nr = 0;
		ktask_test_run_well(s->job);
	} while (!s->meet && time_before(jiffies, end));
	return 0;
}

/* Three quarters of the work are on one node, and so the threads. */
void ktask_test_spread_follows_work(struct kunit *test)
{
	struct ktask_test_spread *s;
	int nid, other, caller;

	KTASK_TEST_REQUIRES(test, ktask_test_nr_cpu_nodes() > 1);
	nid = ktask_test_next_node(NUMA_NO_NODE);
	other = ktask_test_next_node(nid);
	caller = cpumask_first_and(cpumask_of_node(nid), cpu_online_mask);
	/* The larger part is the last, lest the first be taken for it. */
	s = ktask_test_new_spread(test, other, 1000, nid, 3000);
	s->job->body = ktask_test_spread_body;
	/* The caller's node takes its limit of helpers, and the other some. */
	s->want = min(ktask_test_limit(), ktask_test_node_limit(nid) + 1) + 1;
	ktask_ctl_set_max_threads(&s->job->ctl, s->want);
	ktask_test_join(test, ktask_test_start(test, caller,
					       ktask_test_spread_thread, s));

	KUNIT_ASSERT_TRUE_MSG(test, s->meet, "%d threads never met", s->want);
	KUNIT_EXPECT_LE_MSG(test, abs(4 * s->met[1] - 3 * s->want), 4,
			    "%d and %d threads", s->met[0], s->met[1]);
	KUNIT_EXPECT_GT_MSG(test, s->met[0], 0, "%d and %d threads", s->met[0],
			    s->met[1]);
}

/* The caller keeps to its part until a helper of the other part comes. */
static int ktask_test_migrate_body(struct ktask_test_job *job,
				   unsigned long start, unsigned long end)
{
	struct ktask_test_spread *s = job->data;
	int migrated;

	ktask_test_check_place(job, start, end);
	if (ktask_test_is_helper(job)) {
		if (start < KTASK_TEST_PART)
			WRITE_ONCE(s->begun, s->begun + end - start);
		else if (s->begun)
			WRITE_ONCE(s->migrated, 1);
	} else if (start >= KTASK_TEST_PART) {
		read_poll_timeout(READ_ONCE, migrated, migrated, 500,
				  10 * KTASK_TEST_SHORT, false, s->migrated);
	}
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_migrate_thread(void *arg)
{
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_spread *s = arg;

	do {
		s->begun = 0;
		s->job->done.nr = 0;
		ktask_test_run_well(s->job);
	} while (!s->migrated && time_before(jiffies, end));
	return 0;
}

void ktask_test_migrates(struct kunit *test)
{
	u64 migrated = ktask_stat_read(KTASK_STAT_HELPERS_MIGRATED);
	struct ktask_test_spread *s;
	int nid, other, caller;

	KTASK_TEST_REQUIRES(test, ktask_test_nr_cpu_nodes() > 1);
	nid = ktask_test_next_node(NUMA_NO_NODE);
	other = ktask_test_next_node(nid);
	caller = cpumask_first_and(cpumask_of_node(other), cpu_online_mask);
	s = ktask_test_new_spread(test, nid, 600, other, 500);
	s->job->body = ktask_test_migrate_body;
	ktask_ctl_set_max_threads(&s->job->ctl, 2);
	ktask_test_join(test, ktask_test_start(test, caller,
					       ktask_test_migrate_thread, s));
	KUNIT_EXPECT_TRUE_MSG(test, s->migrated, "no helper changed nodes");
	KUNIT_EXPECT_GT(test, ktask_stat_read(KTASK_STAT_HELPERS_MIGRATED),
			migrated);
}

static int ktask_test_node_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	int nr;

	read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_SHORT, false,
			  &job->helper_chunks);
	return KTASK_RETURN_SUCCESS;
}

/* Whatever the node, with or without CPUs or memory, the task gets helpers. */
void ktask_test_any_node_id(struct kunit *test)
{
	struct ktask_test_job *job;
	unsigned long end;
	int nid;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	ktask_test_hooks.ignore_load = true;
	for (nid = NUMA_NO_NODE; nid < (int)nr_node_ids; nid++) {
		if (nid != NUMA_NO_NODE && !node_possible(nid))
			continue;
		job = ktask_test_simple(test, 1000, 10, 0);
		job->parts[0].kn_nid = nid;
		job->body = ktask_test_node_body;
		snprintf(job->desc, sizeof(job->desc), "node %d", nid);
		end = jiffies + 60 * HZ;
		do {
			job->done.nr = 0;
			ktask_test_run_well(job);
		} while (!atomic_read(&job->helper_chunks) &&
			 time_before(jiffies, end));
		KUNIT_EXPECT_GT_MSG(test, atomic_read(&job->helper_chunks), 0,
				    "node %d", nid);
	}
}

/* The helper that has gone to another node's CPU. */
struct ktask_test_astray {
	struct task_struct	*helper;
	int			cpu;
	int			seen;
};

static int ktask_test_astray_cpu(void)
{
	int nid = ktask_test_next_node(NUMA_NO_NODE);

	if (numa_node_id() == nid)
		nid = ktask_test_next_node(nid);
	return cpumask_first_and(cpumask_of_node(nid), cpu_online_mask);
}

static int ktask_test_astray_body(struct ktask_test_job *job,
				  unsigned long start, unsigned long end)
{
	struct ktask_test_astray *a = job->data;
	int nr;

	if (!ktask_test_is_helper(job)) {
		read_poll_timeout(READ_ONCE, nr, nr, 500, KTASK_TEST_SHORT,
				  false, a->seen);
		return KTASK_RETURN_SUCCESS;
	}
	if (!a->helper) {
		a->helper = get_task_struct(current);
		a->cpu = ktask_test_astray_cpu();
		set_cpus_allowed_ptr(current, cpumask_of(a->cpu));
	} else if (a->helper == current && !a->seen) {
		if (numa_node_id() != cpu_to_node(a->cpu) ||
		    ktask_test_nr_helpers_of(numa_node_id()) != 1)
			ktask_test_bad(job, "counts elsewhere", start, end);
		WRITE_ONCE(a->seen, 1);
	}
	return KTASK_RETURN_SUCCESS;
}

/*
 * Where workers may run on any node, see workqueue.disable_numa, a helper counts
 * against the limit of the one that it runs on.
 */
void ktask_test_counted_where_it_runs(struct kunit *test)
{
	struct ktask_test_astray astray = {};
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, ktask_test_nr_cpu_nodes() > 1);
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.anywhere = true;
	job = ktask_test_simple(test, 5000, 10, 2);
	job->body = ktask_test_astray_body;
	job->data = &astray;
	do {
		job->done.nr = 0;
		ktask_test_run_well(job);
		if (!astray.helper)
			continue;
		set_cpus_allowed_ptr(astray.helper, cpu_possible_mask);
		put_task_struct(astray.helper);
		astray.helper = NULL;
	} while (!astray.seen && time_before(jiffies, end));
	KUNIT_EXPECT_EQ_MSG(test, astray.seen, 1, "no helper was there");
}

struct ktask_test_off {
	struct ktask_test_job	*job;
	int			nid;		/* whose CPUs go off */
	int			came;
	int			off;
};

/* A helper stays in its chunk while its node's CPUs go off. */
static int ktask_test_off_body(struct ktask_test_job *job, unsigned long start,
			       unsigned long end)
{
	struct ktask_test_off *o = job->data;
	int nr;

	if (!ktask_test_is_helper(job)) {
		read_poll_timeout(READ_ONCE, nr, nr, 500, KTASK_TEST_SHORT,
				  false, o->came);
	} else if (start >= KTASK_TEST_PART && numa_node_id() == o->nid) {
		WRITE_ONCE(o->came, 1);
		read_poll_timeout(READ_ONCE, nr, nr, 500, KTASK_TEST_LONG,
				  false, o->off);
	}
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_off_thread(void *arg)
{
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_off *o = arg;

	do {
		o->job->done.nr = 0;
		ktask_test_run_well(o->job);
	} while (!READ_ONCE(o->came) && time_before(jiffies, end));
	return 0;
}

/* In the middle of its part a node loses all of its CPUs: no unit is lost. */
void ktask_test_node_goes_off(struct kunit *test)
{
	struct ktask_test_thread *thread;
	struct ktask_test_off *o;
	int nid, cpu, came;

	KTASK_TEST_REQUIRES(test, IS_ENABLED(CONFIG_HOTPLUG_CPU));
	KTASK_TEST_REQUIRES(test, ktask_test_nr_cpu_nodes() > 1);
	o = kunit_kzalloc(test, sizeof(*o), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, o);
	nid = ktask_test_next_node(NUMA_NO_NODE);
	o->nid = ktask_test_next_node(nid);
	o->job = ktask_test_new_spread(test, nid, 100, o->nid, 2000)->job;
	o->job->body = ktask_test_off_body;
	o->job->data = o;
	cpu = cpumask_first_and(cpumask_of_node(nid), cpu_online_mask);
	thread = ktask_test_start(test, cpu, ktask_test_off_thread, o);
	read_poll_timeout(READ_ONCE, came, came, 1000, KTASK_TEST_LONG, false,
			  o->came);
	KUNIT_ASSERT_EQ_MSG(test, came, 1, "no helper came");
	for_each_online_cpu(cpu) {
		if (cpu_to_node(cpu) == o->nid)
			KUNIT_EXPECT_EQ(test, ktask_test_cpu_off(cpu), 0);
	}
	KUNIT_EXPECT_EQ(test, ktask_test_helper_limit(o->nid), 0);
	WRITE_ONCE(o->off, 1);
	ktask_test_join(test, thread);
}
