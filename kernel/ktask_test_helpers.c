// SPDX-License-Identifier: GPL-2.0-only
/*
 * ktask_test_helpers.c - concurrency, late and stuck helpers, limits
 */

#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/topology.h>

#include "ktask_test.h"

/* ---- Concurrency -------------------------------------------------------- */

static int ktask_test_meet_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	ktask_test_meet(job->data);
	return KTASK_RETURN_SUCCESS;
}

/* Run tasks until @want threads were inside the thread function at once. */
static void ktask_test_must_meet(struct kunit *test, int want)
{
	struct ktask_test_meeting meeting = { .want = want };
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_job *job;

	job = ktask_test_simple(test, 5000, 10, 0);
	do {
		ktask_test_job_reset(job);
		job->body = ktask_test_meet_body;
		job->data = &meeting;
		job->ctl.kc_min_chunk_size = 10;
		ktask_ctl_set_max_threads(&job->ctl, max(want, 2));
		ktask_test_run_well(job);
	} while (!ktask_test_met(&meeting) && time_before(jiffies, end));
	KUNIT_EXPECT_TRUE_MSG(test, ktask_test_met(&meeting),
			      "%d threads never met", want);
}

void ktask_test_all_threads_meet(struct kunit *test)
{
	u64 worked = ktask_stat_read(KTASK_STAT_HELPERS_WORKED);

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	ktask_test_hooks.ignore_load = true;
	ktask_test_must_meet(test, ktask_test_most_threads());
	KUNIT_EXPECT_GE(test, ktask_stat_read(KTASK_STAT_HELPERS_WORKED),
			worked + ktask_test_most_threads() - 1);
}

/* 80 % of one CPU is no helper, whether the task is cut or not. */
void ktask_test_one_cpu_is_serial(struct kunit *test)
{
	u64 started = ktask_stat_read(KTASK_STAT_HELPERS_STARTED);
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, num_online_cpus() == 1);
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	KUNIT_EXPECT_EQ(test, ktask_test_helper_limit(NUMA_NO_NODE), 0);
	job = ktask_test_simple(test, 5000, 10, 0);
	ktask_test_run_well(job);
	KUNIT_EXPECT_GT(test, job->done.nr, 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&job->helper_chunks), 0);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_HELPERS_STARTED),
			started);
}

#define KTASK_TEST_CALLERS	6

struct ktask_test_caller {
	struct kunit		*test;
	struct ktask_test_job	*job;
	struct rnd_state	rnd;
	int			rounds;
	atomic_t		*runs;
};

static int ktask_test_caller_thread(void *arg)
{
	struct ktask_test_caller *c = arg;
	int i;

	for (i = 0; i < c->rounds; i++) {
		if (kthread_should_stop() || atomic_read(c->runs) < 0)
			break;
		ktask_test_random_task(c->test, c->job, &c->rnd, "concurrent");
		atomic_inc(c->runs);
	}
	return 0;
}

/*
 * Start @nr threads with @rounds random tasks each.  Return: a counter of the
 * tasks that they ran; they end when it gets negative.
 */
static atomic_t *ktask_test_start_callers(struct kunit *test, int nr,
					  int rounds,
					  struct ktask_test_thread **threads)
{
	struct ktask_test_caller *callers;
	atomic_t *runs;
	int i;

	runs = kunit_kzalloc(test, sizeof(*runs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, runs);
	callers = kunit_kcalloc(test, nr, sizeof(*callers), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, callers);
	for (i = 0; i < nr; i++) {
		callers[i].test = test;
		callers[i].job = ktask_test_random_job(test);
		callers[i].rounds = rounds;
		callers[i].runs = runs;
		prandom_seed_state(&callers[i].rnd, 1000 + i);
		threads[i] = ktask_test_start(test, -1,
					      ktask_test_caller_thread,
					      &callers[i]);
	}
	return runs;
}

void ktask_test_concurrent_calls(struct kunit *test)
{
	struct ktask_test_thread *threads[KTASK_TEST_CALLERS];
	atomic_t *runs;
	int i;

	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	runs = ktask_test_start_callers(test, ARRAY_SIZE(threads), 10, threads);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		ktask_test_join(test, threads[i]);
	KUNIT_EXPECT_EQ(test, atomic_read(runs), 10 * ARRAY_SIZE(threads));
}

/* ---- Nested calls ------------------------------------------------------- */

static const struct ktask_test_nested {
	const char	*name;
	int		depth;
	bool		other_site;
} ktask_test_nested_rows[] = {
	{ "same call site", 2, false },
	{ "another call site", 2, true },
	{ "same call site, deeper", 3, false },
	{ "call sites in turn", 3, true },
};

const void *ktask_test_nested_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_nested_rows,
			       ARRAY_SIZE(ktask_test_nested_rows),
			       sizeof(ktask_test_nested_rows[0]));
}

/* One unit is done at each of the levels below this one. */
struct ktask_test_level {
	const struct ktask_test_nested	*param;
	int				level;
	atomic_long_t			*units;
	atomic_t			*helped;
	unsigned int			threads;
	struct task_struct		*caller;
};

static int ktask_test_nested_chunk(void *start, void *end, void *arg);

static int ktask_test_nested_run(struct ktask_test_level *level, void *start,
				 size_t size)
{
	DEFINE_KTASK_CTL(ctl, ktask_test_nested_chunk, level, 1);

	ktask_ctl_set_max_threads(&ctl, level->threads);
	if (level->param->other_site && level->level % 2)
		return ktask_run(start, size, &ctl);
	return ktask_run(start, size, &ctl);
}

/* Each unit above the last level is a task of ten units. */
static int ktask_test_nested_chunk(void *start, void *end, void *arg)
{
	struct ktask_test_level *level = arg;
	struct ktask_test_level below = *level;
	unsigned long unit;
	int nr, ret;

	if (current != level->caller)
		atomic_inc(&level->helped[level->level]);
	else if (level->level < 2 && level->threads != 1 && ktask_test_limit())
		read_poll_timeout(atomic_read, nr, nr, 200, 10 * USEC_PER_MSEC,
				  false, &level->helped[level->level]);
	below.level++;
	below.threads = 0;
	below.caller = current;
	for (unit = (unsigned long)start; unit < (unsigned long)end; unit++) {
		if (below.level == level->param->depth) {
			usleep_range(10, 50);
			atomic_long_inc(&level->units[unit]);
			continue;
		}
		ret = ktask_test_nested_run(&below, (void *)(unit * 10), 10);
		if (ret)
			return ret;
	}
	return KTASK_RETURN_SUCCESS;
}

void ktask_test_nested_calls(struct kunit *test)
{
	const struct ktask_test_nested *p = test->param_value;
	unsigned long end = jiffies + 60 * HZ;
	const int nr = p->depth == 2 ? 100 : 1000;
	atomic_t helped[3] = {};
	struct ktask_test_level level = {
		.param	= p,
		.helped	= helped,
		.caller	= current,
	};
	int runs = 0;
	int i;

	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	level.units = kunit_kcalloc(test, nr, sizeof(*level.units), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, level.units);
	do {
		/* Outer helpers may leave none for others: have none, too. */
		level.threads = runs % 2;
		KUNIT_EXPECT_EQ(test, ktask_test_nested_run(&level, NULL, 10),
				0);
		runs++;
		for (i = 0; i < nr; i++) {
			KUNIT_EXPECT_EQ_MSG(test, runs,
					    atomic_long_read(&level.units[i]),
					    "unit %d", i);
		}
		/* Helpers are to have helped at the outer and inner levels. */
	} while (ktask_test_limit() && time_before(jiffies, end) &&
		 (!atomic_read(&helped[0]) || !atomic_read(&helped[1])));

	if (!ktask_test_limit())
		return;
	for (i = 0; i < 2; i++)
		KUNIT_EXPECT_GT_MSG(test, atomic_read(&helped[i]), 0,
				    "no helper at level %d", i);
}

/* ---- Late and stuck helpers --------------------------------------------- */

static const struct ktask_test_blocked {
	const char	*name;
	int		hold;
} ktask_test_blocked_rows[] = {
	{ "all workers", INT_MAX },
	{ "one worker", 1 },
};

const void *ktask_test_blocked_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_blocked_rows,
			       ARRAY_SIZE(ktask_test_blocked_rows),
			       sizeof(ktask_test_blocked_rows[0]));
}

/* The caller gives workers the time to get to the gate. */
static int ktask_test_blocked_body(struct ktask_test_job *job,
				   unsigned long start, unsigned long end)
{
	int nr;

	if (!ktask_test_is_helper(job))
		read_poll_timeout(atomic_read, nr, nr > 0, 500, KTASK_TEST_LONG,
				  false, &ktask_test_gate_arrived);
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_run_thread(void *arg)
{
	ktask_test_run(arg);
	return 0;
}

/*
 * The task ends, in a thread that ends too, while workers are between dequeue
 * and join, without help from the timer; what they do later must not touch the
 * task.
 */
void ktask_test_workers_blocked(struct kunit *test)
{
	const struct ktask_test_blocked *p = test->param_value;
	struct ktask_test_job *job;
	struct ktask_node part;
	struct ktask_ctl ctl;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.leave_queued = true;
	ktask_test_close_gate(p->hold);
	job = ktask_test_simple(test, 5000, 10, 0);
	job->body = ktask_test_blocked_body;
	ktask_test_join(test, ktask_test_start(test, -1, ktask_test_run_thread,
					       job));
	KUNIT_EXPECT_TRUE(test, job->returned);
	ktask_test_check_rules(job);
	ktask_test_check_once(job);
	if (p->hold == INT_MAX)
		KUNIT_EXPECT_EQ(test, atomic_read(&job->helper_chunks), 0);

	KUNIT_EXPECT_GT(test, atomic_read(&ktask_test_gate_arrived), 0);
	KUNIT_EXPECT_LT(test, ktask_test_nr_free_works(),
			ktask_test_nr_works());
	/* Who stays out counts against no limit. */
	if (p->hold == 1)
		ktask_test_must_meet(test, ktask_test_most_threads());
	KUNIT_EXPECT_EQ(test, ktask_test_nr_helpers(), 0);

	memset(job->parts, 0x5a, sizeof(part));
	memcpy(&part, job->parts, sizeof(part));
	memcpy(&ctl, &job->ctl, sizeof(ctl));
	ktask_test_open_gate();
	KUNIT_EXPECT_TRUE(test, ktask_test_all_free());
	KUNIT_EXPECT_EQ(test, memcmp(&part, job->parts, sizeof(part)), 0);
	KUNIT_EXPECT_EQ(test, memcmp(&ctl, &job->ctl, sizeof(ctl)), 0);
	ktask_test_check_rules(job);
}

struct ktask_test_stuck {
	atomic_t	stuck;
	atomic_long_t	units;		/* done by others */
	unsigned long	size;
	bool		alone;		/* all of them while it was stuck */
};

/* The first helper is stuck until all else is done. */
static int ktask_test_stuck_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	struct ktask_test_stuck *s = job->data;
	unsigned long rest = s->size - (end - start);
	unsigned long nr;
	int stuck;

	if (ktask_test_is_helper(job) && !atomic_xchg(&s->stuck, 1)) {
		s->alone = !read_poll_timeout(atomic_long_read, nr, nr == rest,
					      500, KTASK_TEST_LONG, false,
					      &s->units);
		return KTASK_RETURN_SUCCESS;
	}
	/* Others give it the time to come. */
	read_poll_timeout(atomic_read, stuck, stuck, 500, KTASK_TEST_SHORT,
			  false, &s->stuck);
	atomic_long_add(end - start, &s->units);
	return KTASK_RETURN_SUCCESS;
}

void ktask_test_stuck_helper(struct kunit *test)
{
	struct ktask_test_stuck stuck = { .size = 5000 };
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	ktask_test_hooks.ignore_load = true;
	job = ktask_test_simple(test, stuck.size, 10, 0);
	do {
		ktask_test_job_reset(job);
		atomic_long_set(&stuck.units, 0);
		job->body = ktask_test_stuck_body;
		job->data = &stuck;
		job->ctl.kc_min_chunk_size = 10;
		ktask_test_run_well(job);
	} while (!atomic_read(&stuck.stuck) && time_before(jiffies, end));
	KUNIT_EXPECT_EQ_MSG(test, atomic_read(&stuck.stuck), 1,
			    "no helper came");
	KUNIT_EXPECT_TRUE_MSG(test, stuck.alone,
			      "only %ld of %lu units were done meanwhile",
			      atomic_long_read(&stuck.units), stuck.size);
}

struct ktask_test_unstarted {
	struct ktask_test_job	*job;
	int			queued;		/* before and after ... */
	int			left;		/* ... they were taken back */
	int			cancelled;
	int			ret;
	bool			hogs_run;
};

static int ktask_test_unstarted_body(struct ktask_test_job *job,
				     unsigned long start, unsigned long end)
{
	struct ktask_test_unstarted *u = job->data;
	u64 cancelled;

	if (start || ktask_test_is_helper(job))
		return KTASK_RETURN_SUCCESS;
	cancelled = ktask_stat_read(KTASK_STAT_HELPERS_CANCELLED);
	u->queued = ktask_test_nr_helpers();
	ktask_test_take_back_queued();
	u->left = ktask_test_nr_helpers();
	u->cancelled = ktask_stat_read(KTASK_STAT_HELPERS_CANCELLED) -
		       cancelled;
	ktask_test_hogs_off();
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_unstarted_thread(void *arg)
{
	struct sched_attr attr = {
		.sched_policy	= SCHED_FIFO,
		.sched_priority	= 60,
	};
	struct ktask_test_unstarted *u = arg;

	ktask_test_sched(u->job->test, &attr);
	ktask_test_hogs_on();
	u->hogs_run = ktask_test_hogs_run();
	u->ret = ktask_test_run(u->job);
	ktask_test_hogs_off();
	return 0;
}

/*
 * Real-time hogs keep all CPUs for a moment, so the workers of what is queued
 * cannot run.  When the scheduler throttles the hogs they can, so try again.
 */
void ktask_test_unstarted_taken_back(struct kunit *test)
{
	struct ktask_test_unstarted *u;
	int round;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	u = kunit_kzalloc(test, sizeof(*u), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, u);
	ktask_test_hooks.ignore_load = true;
	ktask_test_hogs(test, SCHED_FIFO);
	for (round = 0; round < 30; round++) {
		u->job = ktask_test_simple(test, 200, 10, 2);
		u->job->body = ktask_test_unstarted_body;
		u->job->data = u;
		ktask_test_join(test, ktask_test_start(test, -1,
						       ktask_test_unstarted_thread,
						       u));
		KUNIT_ASSERT_TRUE(test, u->hogs_run);
		KUNIT_EXPECT_EQ(test, u->ret, 0);
		ktask_test_check_rules(u->job);
		ktask_test_check_once(u->job);
		if (u->cancelled)
			break;
		msleep(200);
	}
	KUNIT_EXPECT_EQ(test, u->queued, 1);
	KUNIT_EXPECT_EQ(test, u->cancelled, 1);
	KUNIT_EXPECT_EQ(test, u->left, 0);
}

/* What happened to an item whose worker was held before the join. */
struct ktask_test_held {
	int			queued;
	bool			taken_back;
	u64			detached;
};

static int ktask_test_held_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	struct ktask_test_held *held = job->data;
	u64 detached;
	int nr;

	if (start)
		return KTASK_RETURN_SUCCESS;
	read_poll_timeout(atomic_read, nr, nr > 0, 500, KTASK_TEST_LONG, false,
			  &ktask_test_gate_arrived);
	detached = ktask_stat_read(KTASK_STAT_HELPERS_DETACHED);
	held->queued = ktask_test_nr_helpers();
	held->taken_back = !read_poll_timeout(ktask_test_nr_helpers, nr, !nr,
					      500, KTASK_TEST_LONG, false);
	held->detached = ktask_stat_read(KTASK_STAT_HELPERS_DETACHED) -
			 detached;
	return KTASK_RETURN_SUCCESS;
}

/* Its caller is busy with a chunk all the while, so only the timer can do it. */
void ktask_test_timer_takes_back(struct kunit *test)
{
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_held held = {};
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	ktask_test_hooks.ignore_load = true;
	job = ktask_test_simple(test, 200, 10, 2);
	job->body = ktask_test_held_body;
	job->data = &held;
	/* Again, if its worker, or its caller, came later than the timer. */
	do {
		ktask_test_close_gate(INT_MAX);
		job->done.nr = 0;
		ktask_test_run_well(job);
		ktask_test_open_gate();
		KUNIT_EXPECT_TRUE(test, ktask_test_all_free());
	} while (held.queued != 1 && time_before(jiffies, end));
	KUNIT_EXPECT_EQ(test, held.queued, 1);
	KUNIT_EXPECT_TRUE(test, held.taken_back);
	KUNIT_EXPECT_EQ(test, held.detached, 1);
}

/* ---- Limits ------------------------------------------------------------- */

static int ktask_test_limit_thread(void *arg)
{
	struct ktask_test_job *job = arg;
	int i;

	for (i = 0; i < 5; i++) {
		ktask_test_run_well(job);
		job->done.nr = 0;
	}
	return 0;
}

static int ktask_test_limit_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	usleep_range(100, 1000);
	return KTASK_RETURN_SUCCESS;
}

/* Several tasks that each ask for more than there may be. */
void ktask_test_limit_holds(struct kunit *test)
{
	struct ktask_test_thread *threads[4];
	struct ktask_test_job *job;
	int i, p;

	KUNIT_EXPECT_EQ(test, ktask_test_helper_limit(NUMA_NO_NODE),
			ktask_test_limit());
	for_each_online_node(i)
		KUNIT_EXPECT_EQ_MSG(test, ktask_test_helper_limit(i),
				    ktask_test_node_limit(i), "node %d", i);
	ktask_test_hooks.ignore_load = true;
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		job = ktask_test_job(test, 4, 2048);
		for (p = 0; p < job->nr_parts; p++) {
			job->parts[p].kn_start = (void *)(p * 1000UL);
			job->parts[p].kn_task_size = 200;
			job->parts[p].kn_nid = i ? first_online_node :
						   NUMA_NO_NODE;
		}
		job->ctl.kc_min_chunk_size = 5;
		job->body = ktask_test_limit_body;
		job->helper_limit = ktask_test_limit();
		threads[i] = ktask_test_start(test, -1, ktask_test_limit_thread,
					      job);
	}
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		ktask_test_join(test, threads[i]);
}

/* Before user space a task may use all CPUs, and more than 80 % of a node. */
void ktask_test_early_lifts_limits(struct kunit *test)
{
	int cpus = num_online_cpus();
	int nid;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	ktask_test_hooks.early = 1;
	KUNIT_EXPECT_GE(test, ktask_test_helper_limit(NUMA_NO_NODE), cpus - 1);
	for_each_online_node(nid)
		KUNIT_EXPECT_EQ(test, ktask_test_helper_limit(nid),
				(int)cpumask_weight(cpumask_of_node(nid)));
	ktask_test_must_meet(test, cpus);
	ktask_test_hooks.early = 0;
	KUNIT_EXPECT_EQ(test, ktask_test_helper_limit(NUMA_NO_NODE),
			ktask_test_limit());
}

static int ktask_test_lower_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	struct ktask_test_lower *l = job->data;
	int phase;
	u64 left;

	switch (READ_ONCE(l->phase)) {
	case KTASK_TEST_GATHER:
		/* What is left is for the next phase. */
		if (start >= job->parts[0].kn_task_size / 2 ||
		    !ktask_test_meet(&l->first))
			break;
		fallthrough;
	case KTASK_TEST_HOLD:
		atomic_inc(&l->held);
		read_poll_timeout(READ_ONCE, phase, phase > KTASK_TEST_HOLD,
				  500, KTASK_TEST_LONG, false, l->phase);
		break;
	case KTASK_TEST_GO_ON:
		/* There is a chunk left for each to see that it has to leave. */
		read_poll_timeout(ktask_stat_read, left, left >= l->left, 500,
				  KTASK_TEST_LONG, false,
				  KTASK_STAT_HELPERS_LEFT_LIMIT);
		usleep_range(500, 1000);
		atomic_inc(&l->gone_on);
		break;
	case KTASK_TEST_GATHER_AGAIN:
		ktask_test_meet(&l->second);
		break;
	}
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_lower_thread(void *arg)
{
	struct ktask_test_lower *l = arg;

	while (READ_ONCE(l->phase) != KTASK_TEST_END && !kthread_should_stop()) {
		l->job->done.nr = 0;
		ktask_test_run_well(l->job);
	}
	return 0;
}

/* Have as many threads as there may be, all held inside their chunks. */
struct ktask_test_lower *ktask_test_start_lower(struct kunit *test)
{
	int want = ktask_test_most_threads();
	struct ktask_test_lower *l;
	int nr;

	l = kunit_kzalloc(test, sizeof(*l), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, l);
	l->first.want = want;
	l->second.want = want;
	l->job = ktask_test_simple(test, 5000, 10, 0);
	l->job->body = ktask_test_lower_body;
	l->job->data = l;
	l->job->helper_limit = want - 1;
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	ktask_test_start(test, -1, ktask_test_lower_thread, l);
	read_poll_timeout(atomic_read, nr, nr >= want, 1000, KTASK_TEST_LONG,
			  false, &l->held);
	KUNIT_ASSERT_GE_MSG(test, nr, want, "%d of %d threads met", nr, want);
	return l;
}

/* The limit was lowered: of chunks that begin from now on none may exceed it. */
void ktask_test_go_on_below(struct kunit *test, struct ktask_test_lower *l,
			    int limit)
{
	int nr;

	WRITE_ONCE(l->job->helper_limit, limit);
	WRITE_ONCE(l->phase, KTASK_TEST_GO_ON);
	read_poll_timeout(atomic_read, nr, nr >= 100, 1000, KTASK_TEST_LONG,
			  false, &l->gone_on);
	KUNIT_EXPECT_GE_MSG(test, nr, 100, "only %d chunks went on", nr);
	WRITE_ONCE(l->job->helper_limit, l->first.want - 1);
}

/* The limit is what it was. */
void ktask_test_end_lower(struct kunit *test, struct ktask_test_lower *l)
{
	bool met;

	WRITE_ONCE(l->phase, KTASK_TEST_GATHER_AGAIN);
	read_poll_timeout(ktask_test_met, met, met, 1000, KTASK_TEST_LONG, false,
			  &l->second);
	KUNIT_EXPECT_TRUE_MSG(test, met, "%d threads did not meet again",
			      l->second.want);
	WRITE_ONCE(l->phase, KTASK_TEST_END);
	ktask_test_stop_threads();
	ktask_test_check_rules(l->job);
}

/* Take the last CPU that can go off; returns it or -1. */
static int ktask_test_last_cpu_off(void)
{
	int last = -1;
	int cpu;

	for_each_online_cpu(cpu)
		last = cpu;
	return ktask_test_cpu_off(last) ? -1 : last;
}

void ktask_test_limit_after_cpu_off(struct kunit *test)
{
	struct ktask_test_lower *l;
	int cpu;

	KTASK_TEST_REQUIRES(test, IS_ENABLED(CONFIG_HOTPLUG_CPU));
	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	l = ktask_test_start_lower(test);
	cpu = ktask_test_last_cpu_off();
	KUNIT_ASSERT_GE_MSG(test, cpu, 0, "no CPU went off");
	ktask_test_go_on_below(test, l, ktask_test_limit());
	KUNIT_EXPECT_EQ(test, ktask_test_cpu_on(cpu), 0);
	ktask_test_end_lower(test, l);
}

/*
 * While CPUs go off and on, helpers in chunks that were taken since are counted against
 * the limit of now, and those in chunks from before against the one of then.
 */
static struct ktask_test_change {
	struct ktask_test_job	*job;
	atomic_t		taken;
	atomic_t		begun;
	unsigned int		now;
	int			limits[2];
	atomic_t		inside[2];
	atomic_t		chunks;
	atomic_t		helped;
	bool			over;
} *ktask_test_change;

static void *ktask_test_change_iter(void *position, size_t size)
{
	atomic_inc(&ktask_test_change->taken);
	return position + size;
}

static int ktask_test_change_body(struct ktask_test_job *job,
				  unsigned long start, unsigned long end)
{
	struct ktask_test_change *c = job->data;
	bool helper = ktask_test_is_helper(job);
	unsigned int now = READ_ONCE(c->now);

	smp_mb__before_atomic(); /* Who sees that it has begun sees what it saw. */
	atomic_inc(&c->begun);
	if (helper &&
	    atomic_inc_return(&c->inside[now]) > READ_ONCE(c->limits[now]))
		ktask_test_bad(job, "more helpers than the limit", start, end);
	usleep_range(100, 1000);
	if (helper) {
		atomic_dec(&c->inside[now]);
		atomic_inc(&c->helped);
	}
	atomic_inc(&c->chunks);
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_change_thread(void *arg)
{
	struct ktask_test_change *c = arg;

	while (!READ_ONCE(c->over) && !kthread_should_stop()) {
		c->job->done.nr = 0;
		ktask_test_run_well(c->job);
	}
	return 0;
}

static bool ktask_test_all_begun(struct ktask_test_change *c)
{
	int begun = atomic_read(&c->begun);

	smp_rmb(); /* So that the other is no older. */
	return begun == atomic_read(&c->taken);
}

/* From now on @limit is the limit, for 50 chunks at least. */
static void ktask_test_change_to(struct kunit *test,
				 struct ktask_test_change *c, int limit)
{
	unsigned int next = !c->now;
	int chunks, nr;
	bool begun;

	read_poll_timeout(atomic_read, nr, !nr, 100, KTASK_TEST_LONG, false,
			  &c->inside[next]);
	KUNIT_EXPECT_EQ(test, nr, 0);
	WRITE_ONCE(c->limits[next], limit);
	read_poll_timeout(ktask_test_all_begun, begun, begun, 100, KTASK_TEST_LONG,
			  false, c);
	KUNIT_EXPECT_TRUE(test, begun);
	WRITE_ONCE(c->now, next);
	chunks = atomic_read(&c->chunks) + 50;
	read_poll_timeout(atomic_read, nr, nr >= chunks, 500, KTASK_TEST_LONG,
			  false, &c->chunks);
	KUNIT_EXPECT_GE(test, nr, chunks);
}

void ktask_test_limit_in_hotplug(struct kunit *test)
{
	struct ktask_test_thread *thread;
	struct ktask_test_change *c;
	int full = ktask_test_limit();
	int i, cpu, nr, helped;

	KTASK_TEST_REQUIRES(test, IS_ENABLED(CONFIG_HOTPLUG_CPU));
	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, c);
	ktask_test_change = c;
	c->limits[0] = full;
	c->job = ktask_test_simple(test, 1000, 10, 0);
	c->job->ctl.kc_iter_func = ktask_test_change_iter;
	c->job->body = ktask_test_change_body;
	c->job->data = c;
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	thread = ktask_test_start(test, -1, ktask_test_change_thread, c);
	for (i = 0; i < 3; i++) {
		helped = atomic_read(&c->helped);
		read_poll_timeout(atomic_read, nr, nr > helped, 1000,
				  KTASK_TEST_LONG, false, &c->helped);
		KUNIT_EXPECT_GT(test, nr, helped);
		cpu = ktask_test_last_cpu_off();
		KUNIT_ASSERT_GE_MSG(test, cpu, 0, "no CPU went off");
		ktask_test_change_to(test, c, ktask_test_limit());
		ktask_test_change_to(test, c, full);
		KUNIT_EXPECT_EQ(test, ktask_test_cpu_on(cpu), 0);
	}
	WRITE_ONCE(c->over, true);
	ktask_test_join(test, thread);
}

/* Tasks run all the time while CPUs go off and come back. */
void ktask_test_once_while_cpus_change(struct kunit *test)
{
	struct ktask_test_thread *threads[2];
	atomic_t *runs;
	int i, cpu, nr;

	KTASK_TEST_REQUIRES(test, IS_ENABLED(CONFIG_HOTPLUG_CPU));
	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	runs = ktask_test_start_callers(test, ARRAY_SIZE(threads), INT_MAX,
					threads);
	for (i = 0; i < 3; i++) {
		cpu = ktask_test_last_cpu_off();
		KUNIT_EXPECT_GE_MSG(test, cpu, 0, "no CPU went off");
		msleep(20);
		if (cpu >= 0)
			KUNIT_EXPECT_EQ(test, ktask_test_cpu_on(cpu), 0);
		msleep(20);
	}
	/* At least one that began meanwhile or later. */
	read_poll_timeout(atomic_read, nr, nr >= 4, 1000, KTASK_TEST_LONG,
			  false, runs);
	KUNIT_EXPECT_GE(test, nr, 4);
	atomic_set(runs, INT_MIN / 2);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		ktask_test_join(test, threads[i]);
}

static struct ktask_test_inside {
	struct completion	begun;
	struct completion	done;
	bool			in_time;
	bool			called;
} ktask_test_inside;

/* In the hotplug operation, under cpu_hotplug_lock. */
static int ktask_test_going_off(unsigned int cpu)
{
	ktask_test_inside.called = true;
	complete(&ktask_test_inside.begun);
	ktask_test_inside.in_time =
		wait_for_completion_timeout(&ktask_test_inside.done, 60 * HZ);
	return 0;
}

static int ktask_test_inside_thread(void *arg)
{
	struct ktask_test_job *job = arg;

	if (!wait_for_completion_timeout(&ktask_test_inside.begun, 60 * HZ))
		return 0;
	ktask_test_run_well(job);
	complete(&ktask_test_inside.done);
	return 0;
}

/* R3: a task takes no sleeping lock, cpus_read_lock() in particular. */
void ktask_test_finishes_in_hotplug(struct kunit *test)
{
	struct ktask_test_thread *thread;
	struct ktask_test_job *job;
	int state, cpu;

	KTASK_TEST_REQUIRES(test, IS_ENABLED(CONFIG_HOTPLUG_CPU));
	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	job = ktask_test_simple(test, 5000, 10, 0);
	job->body = ktask_test_limit_body;
	memset(&ktask_test_inside, 0, sizeof(ktask_test_inside));
	init_completion(&ktask_test_inside.begun);
	init_completion(&ktask_test_inside.done);
	thread = ktask_test_start(test, -1, ktask_test_inside_thread, job);

	state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "ktask_test",
					  NULL, ktask_test_going_off);
	KUNIT_EXPECT_GE(test, state, 0);
	cpu = ktask_test_last_cpu_off();
	if (state >= 0)
		cpuhp_remove_state_nocalls(state);
	KUNIT_EXPECT_GE_MSG(test, cpu, 0, "no CPU went off");
	complete(&ktask_test_inside.begun);
	ktask_test_join(test, thread);
	KUNIT_EXPECT_TRUE(test, ktask_test_inside.called);
	KUNIT_EXPECT_TRUE_MSG(test, ktask_test_inside.in_time,
			      "the task waited for the CPU to be off");
}
