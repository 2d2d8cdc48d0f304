// SPDX-License-Identifier: GPL-2.0-only
/*
 * ktask_test_context.c - KUnit cases of what helpers take over from their caller
 *
 * Callers here are kernel threads.  What needs a process and cgroups is tested by
 * tools/testing/selftests/ktask/context.c.
 */

#include <linux/blkdev.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/topology.h>

#include "ktask_test.h"

#define KTASK_TEST_UNITS	1000
#define KTASK_TEST_UID		4711

/* Run @job again and again, until helpers have taken part. */
static void ktask_test_until_helped(struct ktask_test_job *job)
{
	static const enum ktask_stat stats[] = {
		KTASK_STAT_TASKS, KTASK_STAT_HELPERS_STARTED,
		KTASK_STAT_HELPERS_JOINED, KTASK_STAT_HELPERS_LEFT_BUSY,
		KTASK_STAT_HELPERS_LEFT_CPUS, KTASK_STAT_HELPERS_LEFT_MASKS,
	};
	unsigned long end = jiffies + 60 * HZ;
	u64 was[ARRAY_SIZE(stats)];
	int i;

	for (i = 0; i < ARRAY_SIZE(stats); i++)
		was[i] = ktask_stat_read(stats[i]);
	atomic_set(&job->helper_chunks, 0);
	do {
		job->done.nr = 0;
		ktask_test_run_well(job);
	} while (!atomic_read(&job->helper_chunks) && time_before(jiffies, end));
	for (i = 0; i < ARRAY_SIZE(stats); i++)
		was[i] = ktask_stat_read(stats[i]) - was[i];
	KUNIT_EXPECT_GT_MSG(job->test, atomic_read(&job->helper_chunks), 0,
			    "%s: of %llu tasks %llu helpers started and %llu joined; left: busy %llu, cpus %llu, masks %llu",
			    job->desc, was[0], was[1], was[2], was[3], was[4],
			    was[5]);
}

/* A job for as many threads as can be, whatever the load. */
static struct ktask_test_job *
ktask_test_context_job(struct kunit *test, unsigned int flags,
		       int (*body)(struct ktask_test_job *job,
				   unsigned long start, unsigned long end))
{
	struct ktask_test_job *job;

	job = ktask_test_simple(test, KTASK_TEST_UNITS, 10, 0);
	job->body = body;
	ktask_ctl_set_flags(&job->ctl, flags);
	ktask_test_hooks.ignore_load = true;
	return job;
}

/* The caller gives helpers a chance to begin. */
static void ktask_test_let_help(struct ktask_test_job *job)
{
	int nr;

	if (!ktask_test_is_helper(job))
		read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_SHORT,
				  false, &job->helper_chunks);
}

/* ---- Allocation scopes -------------------------------------------------- */

#define KTASK_TEST_SCOPES	(PF_MEMALLOC_NOFS | PF_MEMALLOC_NOIO |	\
				 PF_MEMALLOC_PIN | PF_LOCAL_THROTTLE)

static const struct ktask_test_scope {
	const char	*name;
	unsigned int	flag;
	unsigned int	(*save)(void);
	void		(*restore)(unsigned int old);
} ktask_test_scopes[] = {
	{ "nofs", PF_MEMALLOC_NOFS, memalloc_nofs_save, memalloc_nofs_restore },
	{ "noio", PF_MEMALLOC_NOIO, memalloc_noio_save, memalloc_noio_restore },
	{ "pin", PF_MEMALLOC_PIN, memalloc_pin_save, memalloc_pin_restore },
};

const void *ktask_test_scope_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_scopes,
			       ARRAY_SIZE(ktask_test_scopes),
			       sizeof(ktask_test_scopes[0]));
}

static int ktask_test_scope_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	unsigned int *want = job->data;

	ktask_test_let_help(job);
	if ((current->flags & KTASK_TEST_SCOPES) != *want)
		ktask_test_bad(job, "another allocation scope", start, end);
	return KTASK_RETURN_SUCCESS;
}

/* Whatever the flags; and afterwards helpers have their own again. */
void ktask_test_scope_is_callers(struct kunit *test)
{
	const struct ktask_test_scope *scope = test->param_value;
	unsigned int want = scope->flag;
	struct ktask_test_job *job;
	unsigned int old;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	job = ktask_test_context_job(test, 0, ktask_test_scope_body);
	job->data = &want;
	old = scope->save();
	ktask_test_until_helped(job);
	scope->restore(old);
	want = 0;
	ktask_test_until_helped(job);
}

/* Who may use the reserves of memory shares them with nobody. */
void ktask_test_reserves_are_serial(struct kunit *test)
{
	u64 reserves = ktask_stat_read(KTASK_STAT_SERIAL_RESERVES);
	struct ktask_test_job *job;
	unsigned int old;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	job = ktask_test_context_job(test, 0, NULL);
	old = memalloc_noreclaim_save();
	ktask_test_run_well(job);
	memalloc_noreclaim_restore(old);
	KUNIT_EXPECT_EQ(test, atomic_read(&job->chunks), 1);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_SERIAL_RESERVES),
			reserves + 1);
}

/* ---- Memory above memory.high ------------------------------------------- */

static unsigned int *ktask_test_pages_over_high(void)
{
#ifdef CONFIG_MEMCG
	return &current->memcg_nr_pages_over_high;
#else
	return NULL;
#endif
}

/* Each chunk of a helper charges a page too much. */
static int ktask_test_over_high_body(struct ktask_test_job *job,
				     unsigned long start, unsigned long end)
{
	atomic_t *pages = job->data;

	ktask_test_let_help(job);
	if (!ktask_test_is_helper(job))
		return KTASK_RETURN_SUCCESS;
	atomic_inc(pages);
	++*ktask_test_pages_over_high();
	return KTASK_RETURN_SUCCESS;
}

/* What helpers charged above memory.high their caller has to answer for. */
void ktask_test_over_high_is_callers(struct kunit *test)
{
	struct ktask_test_job *job;
	unsigned int before;
	atomic_t pages;

	KTASK_TEST_REQUIRES(test, IS_ENABLED(CONFIG_MEMCG));
	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	atomic_set(&pages, 0);
	job = ktask_test_context_job(test, 0, ktask_test_over_high_body);
	job->data = &pages;
	before = *ktask_test_pages_over_high();
	ktask_test_until_helped(job);
	KUNIT_EXPECT_EQ(test, *ktask_test_pages_over_high(),
			before + atomic_read(&pages));
	/* Nobody is to be throttled for pages that there are not. */
	*ktask_test_pages_over_high() = before;
}

/* ---- Debts of I/O --------------------------------------------------------- */

#ifdef CONFIG_BLK_CGROUP
/* Leave with each chunk of a helper what the I/O controller would. */
static int ktask_test_throttle_body(struct ktask_test_job *job,
				    unsigned long start, unsigned long end)
{
	struct request_queue *q = job->data;

	ktask_test_let_help(job);
	if (!ktask_test_is_helper(job) || current->throttle_queue)
		return KTASK_RETURN_SUCCESS;
	if (!blk_get_queue(q)) {
		ktask_test_bad(job, "a dying queue", start, end);
		return KTASK_RETURN_SUCCESS;
	}
	current->throttle_queue = q;
	current->use_memdelay = true;
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_no_throttle_body(struct ktask_test_job *job,
				       unsigned long start, unsigned long end)
{
	ktask_test_let_help(job);
	if (ktask_test_is_helper(job) &&
	    (current->throttle_queue || current->use_memdelay))
		ktask_test_bad(job, "a helper keeps a queue", start, end);
	return KTASK_RETURN_SUCCESS;
}

/* The caller gets one of the references that helpers leave, and no others stay. */
void ktask_test_throttle_is_callers(struct kunit *test)
{
	struct gendisk *disk = blk_alloc_disk(NUMA_NO_NODE);
	struct ktask_test_job *job;
	struct request_queue *q;
	unsigned int refs;

	KUNIT_ASSERT_NOT_NULL(test, disk);
	q = disk->queue;
	refs = kref_read(&q->kobj.kref);
	job = ktask_test_context_job(test, 0, ktask_test_throttle_body);
	job->data = q;
	ktask_test_until_helped(job);
	KUNIT_EXPECT_PTR_EQ(test, current->throttle_queue, q);
	KUNIT_EXPECT_TRUE(test, current->use_memdelay);
	if (current->throttle_queue == q)
		blk_put_queue(q);
	current->throttle_queue = NULL;
	current->use_memdelay = false;
	KUNIT_EXPECT_EQ(test, kref_read(&q->kobj.kref), refs);
	job->body = ktask_test_no_throttle_body;
	ktask_test_until_helped(job);
	put_disk(disk);
}
#else
void ktask_test_throttle_is_callers(struct kunit *test)
{
	kunit_skip(test, "Test requires: CONFIG_BLK_CGROUP");
}
#endif

/* ---- Credentials and address space -------------------------------------- */

static int ktask_test_cred_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	uid_t want = KTASK_TEST_UID;

	ktask_test_let_help(job);
	if (ktask_test_is_helper(job) && !(job->ctl.kc_flags & KTASK_CREDS))
		want = 0;
	if (!uid_eq(current_fsuid(), KUIDT_INIT(want)))
		ktask_test_bad(job, "another user", start, end);
	return KTASK_RETURN_SUCCESS;
}

void ktask_test_creds_are_callers(struct kunit *test)
{
	struct ktask_test_job *job;
	const struct cred *old;
	struct cred *cred;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	cred = prepare_kernel_cred(&init_task);
	KUNIT_ASSERT_NOT_NULL(test, cred);
	cred->fsuid = KUIDT_INIT(KTASK_TEST_UID);
	job = ktask_test_context_job(test, KTASK_CREDS, ktask_test_cred_body);
	old = override_creds(cred);
	ktask_test_until_helped(job);
	ktask_ctl_set_flags(&job->ctl, 0);
	ktask_test_until_helped(job);
	revert_creds(old);
	put_cred(cred);
}

static int ktask_test_mm_body(struct ktask_test_job *job, unsigned long start,
			      unsigned long end)
{
	struct mm_struct *want = job->data;

	ktask_test_let_help(job);
	if (ktask_test_is_helper(job) && !(job->ctl.kc_flags & KTASK_MM))
		want = NULL;
	if (current->mm != want)
		ktask_test_bad(job, "another address space", start, end);
	return KTASK_RETURN_SUCCESS;
}

/* That of process 1 will do. */
static struct mm_struct *ktask_test_some_mm(void)
{
	struct pid *pid = find_get_pid(1);
	struct task_struct *init = get_pid_task(pid, PIDTYPE_PID);
	struct mm_struct *mm = NULL;

	if (init) {
		mm = get_task_mm(init);
		put_task_struct(init);
	}
	put_pid(pid);
	return mm;
}

/* Also of a caller that is a kernel thread and has borrowed it, as here. */
void ktask_test_mm_is_callers(struct kunit *test)
{
	struct ktask_test_job *job;
	struct mm_struct *mm;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	mm = ktask_test_some_mm();
	KTASK_TEST_REQUIRES(test, mm);
	job = ktask_test_context_job(test, KTASK_MM, ktask_test_mm_body);
	job->data = mm;
	kthread_use_mm(mm);
	ktask_test_until_helped(job);
	ktask_ctl_set_flags(&job->ctl, 0);
	ktask_test_until_helped(job);
	kthread_unuse_mm(mm);
	mmput(mm);
}

static int ktask_test_memcg_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	struct mem_cgroup *want = job->data;
	struct mem_cgroup *active;

	ktask_test_let_help(job);
	if (ktask_test_is_helper(job) && !(job->ctl.kc_flags & KTASK_MEMCG))
		want = NULL;
	active = set_active_memcg(NULL);
	set_active_memcg(active);
	if (active != want)
		ktask_test_bad(job, "another active memcg", start, end);
	return KTASK_RETURN_SUCCESS;
}

/* A group that the caller charges by a scope, and that need not be its own. */
void ktask_test_memcg_is_callers(struct kunit *test)
{
	struct mem_cgroup *memcg, *old;
	struct ktask_test_job *job;
	struct mm_struct *mm;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	mm = ktask_test_some_mm();
	KTASK_TEST_REQUIRES(test, mm);
	memcg = get_mem_cgroup_from_mm(mm);
	mmput(mm);
	KTASK_TEST_REQUIRES(test, memcg);
	job = ktask_test_context_job(test, KTASK_MEMCG, ktask_test_memcg_body);
	job->data = memcg;
	old = set_active_memcg(memcg);
	ktask_test_until_helped(job);
	ktask_ctl_set_flags(&job->ctl, 0);
	ktask_test_until_helped(job);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
}

/* ---- Nested tasks ------------------------------------------------------- */

/* What inner tasks saw, and were told. */
struct ktask_test_inner {
	unsigned int	flags;
	atomic_t	helped;
	atomic_t	wrong;
};

static int ktask_test_inner_func(void *start, void *end, void *arg)
{
	struct ktask_test_inner *inner = arg;
	bool creds = inner->flags & KTASK_CREDS;

	atomic_inc(&inner->helped);
	if (creds && !uid_eq(current_fsuid(), KUIDT_INIT(KTASK_TEST_UID)))
		atomic_inc(&inner->wrong);
	if (ktask_origin(0) == current)
		atomic_inc(&inner->wrong);
	return KTASK_RETURN_SUCCESS;
}

/* Each helper of the outer task is the caller of an inner one. */
static int ktask_test_inner_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	struct ktask_test_inner *inner = job->data;
	DEFINE_KTASK_CTL(ctl, ktask_test_inner_func, inner, 1);
	int want = 0;
	int ret;

	ktask_test_let_help(job);
	if (!ktask_test_is_helper(job))
		return KTASK_RETURN_SUCCESS;
	ktask_ctl_set_flags(&ctl, inner->flags);
	if (signal_pending(job->caller) && inner->flags & KTASK_INTERRUPTIBLE)
		want = -EINTR;
	ret = ktask_run(NULL, 20, &ctl);
	if (ret != want)
		ktask_test_bad(job, "an inner task returned something else",
			       start, end);
	if (ktask_origin(0) != job->caller)
		ktask_test_bad(job, "works for somebody else", start, end);
	return KTASK_RETURN_SUCCESS;
}

/* Helpers of helpers have what the first caller has. */
void ktask_test_nested_context(struct kunit *test)
{
	struct ktask_test_inner inner = { .flags = KTASK_CREDS };
	struct ktask_test_job *job;
	const struct cred *old;
	struct cred *cred;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	cred = prepare_kernel_cred(&init_task);
	KUNIT_ASSERT_NOT_NULL(test, cred);
	cred->fsuid = KUIDT_INIT(KTASK_TEST_UID);
	job = ktask_test_context_job(test, KTASK_CREDS, ktask_test_inner_body);
	job->data = &inner;
	old = override_creds(cred);
	ktask_test_until_helped(job);
	revert_creds(old);
	put_cred(cred);
	KUNIT_EXPECT_GT(test, atomic_read(&inner.helped), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&inner.wrong), 0);
}

static int ktask_test_nested_signal_thread(void *arg)
{
	struct ktask_test_job *job = arg;

	allow_signal(SIGUSR1);
	send_sig(SIGUSR1, current, 1);
	ktask_test_until_helped(job);
	flush_signals(current);
	return 0;
}

/* A signal to the first caller ends the tasks of its helpers, cut or plain. */
void ktask_test_nested_signal(struct kunit *test)
{
	struct ktask_test_inner inner = { .flags = KTASK_INTERRUPTIBLE };
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	job = ktask_test_context_job(test, 0, ktask_test_inner_body);
	job->data = &inner;
	ktask_test_join(test, ktask_test_start(test, -1,
					       ktask_test_nested_signal_thread,
					       job));
	KUNIT_EXPECT_EQ(test, atomic_read(&inner.helped), 0);
}

/* ---- CPUs --------------------------------------------------------------- */

/* Which of the online CPUs, by their number among them, a caller may use. */
static const struct ktask_test_cpus {
	const char	*name;
	unsigned int	first;
	unsigned int	step;
	unsigned int	most;
} ktask_test_cpus[] = {
	{ "all but one", 1, 1, UINT_MAX },
	{ "first two", 0, 1, 2 },
	{ "every second", 1, 2, UINT_MAX },
};

const void *ktask_test_cpus_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_cpus,
			       ARRAY_SIZE(ktask_test_cpus),
			       sizeof(ktask_test_cpus[0]));
}

static void ktask_test_choose_cpus(struct cpumask *mask,
				   const struct ktask_test_cpus *which)
{
	unsigned int nr = 0;
	int cpu;

	cpumask_clear(mask);
	for_each_online_cpu(cpu) {
		if (nr >= which->first && (nr - which->first) % which->step == 0 &&
		    cpumask_weight(mask) < which->most)
			cpumask_set_cpu(cpu, mask);
		nr++;
	}
}

static struct cpumask ktask_test_mask;
static struct cpumask ktask_test_new_mask;

/* Has a node CPUs in @mask and others?  Its workers may run on all of them. */
static bool ktask_test_splits_node(const struct cpumask *mask)
{
	int nid;

	for_each_online_node(nid) {
		if (cpumask_intersects(cpumask_of_node(nid), mask) &&
		    !cpumask_subset(cpumask_of_node(nid), mask))
			return true;
	}
	return false;
}

/* Has each of the mask's nodes another CPU? */
static bool ktask_test_splits_each_node(const struct cpumask *mask)
{
	int nid, inside, all, cpu;

	for_each_online_node(nid) {
		inside = 0;
		all = 0;
		for_each_cpu_and(cpu, cpumask_of_node(nid), cpu_online_mask) {
			inside += cpumask_test_cpu(cpu, mask);
			all++;
		}
		if (inside && inside == all)
			return false;
	}
	return true;
}

/* Sleep, too: the scheduler chooses a CPU anew when a thread wakes up. */
static bool ktask_test_keeps_to(const struct cpumask *mask)
{
	bool kept = true;
	int i;

	for (i = 0; i < 3; i++) {
		kept &= cpumask_test_cpu(raw_smp_processor_id(), mask);
		usleep_range(50, 100);
	}
	return kept && cpumask_test_cpu(raw_smp_processor_id(), mask);
}

/* Whatever the scheduler did, where may the current thread run? */
static bool ktask_test_may_leave(const struct cpumask *mask)
{
	int cpu;

	for_each_cpu_and(cpu, current->cpus_ptr, cpu_online_mask) {
		if (!cpumask_test_cpu(cpu, mask))
			return true;
	}
	return false;
}

static int ktask_test_cpus_body(struct ktask_test_job *job, unsigned long start,
				unsigned long end)
{
	ktask_test_let_help(job);
	if (!ktask_test_keeps_to(&ktask_test_mask))
		ktask_test_bad(job, "on a CPU that the caller may not use",
			       start, end);
	if (ktask_test_may_leave(&ktask_test_mask))
		ktask_test_bad(job, "has a CPU that the caller may not use",
			       start, end);
	return KTASK_RETURN_SUCCESS;
}

/* A worker that may not run on all of its node's CPUs has not got them back. */
static int ktask_test_own_cpus_body(struct ktask_test_job *job,
				    unsigned long start, unsigned long end)
{
	int cpu;

	ktask_test_let_help(job);
	if (!ktask_test_is_helper(job))
		return KTASK_RETURN_SUCCESS;
	for_each_cpu_and(cpu, cpumask_of_node(numa_node_id()), cpu_online_mask) {
		if (!cpumask_test_cpu(cpu, current->cpus_ptr))
			ktask_test_bad(job, "a worker lost a CPU", start, end);
	}
	return KTASK_RETURN_SUCCESS;
}

/* Tasks of a caller that may run anywhere. */
static void ktask_test_check_workers(struct kunit *test)
{
	struct ktask_test_job *job;
	int i;

	set_cpus_allowed_ptr(current, cpu_possible_mask);
	job = ktask_test_context_job(test, 0, ktask_test_own_cpus_body);
	for (i = 0; i < 3; i++)
		ktask_test_until_helped(job);
}

void ktask_test_cpus_are_callers(struct kunit *test)
{
	u64 narrowed = ktask_stat_read(KTASK_STAT_HELPERS_NARROWED);
	struct ktask_test_job *job;

	ktask_test_choose_cpus(&ktask_test_mask, test->param_value);
	KTASK_TEST_REQUIRES(test, num_online_cpus() > 3);
	KUNIT_ASSERT_GE(test, cpumask_weight(&ktask_test_mask), 2);
	job = ktask_test_context_job(test, 0, ktask_test_cpus_body);
	set_cpus_allowed_ptr(current, &ktask_test_mask);
	ktask_test_until_helped(job);
	ktask_test_until_helped(job);
	ktask_test_check_workers(test);
	if (ktask_test_splits_node(&ktask_test_mask))
		KUNIT_EXPECT_GT(test,
				ktask_stat_read(KTASK_STAT_HELPERS_NARROWED),
				narrowed);
}

/*
 * The caller's CPUs are idle while the others, of the same node too, are not.  What
 * is there lets go at once: a worker that is woken there and does not get the CPU
 * holds up all others of its pool, which nothing here is about.
 */
void ktask_test_half_is_idle(struct kunit *test)
{
	const struct ktask_test_cpus half = { NULL, 0, 1, num_online_cpus() / 2 };
	struct ktask_test_job *job;
	int i;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 3);
	ktask_test_choose_cpus(&ktask_test_mask, &half);
	cpumask_andnot(&ktask_test_new_mask, cpu_online_mask, &ktask_test_mask);
	job = ktask_test_context_job(test, 0, ktask_test_cpus_body);
	ktask_test_hooks.ignore_load = false;
	set_cpus_allowed_ptr(current, &ktask_test_mask);
	ktask_test_hogs_at(test, SCHED_IDLE, &ktask_test_new_mask);
	ktask_test_hogs_on();
	KUNIT_ASSERT_TRUE(test, ktask_test_hogs_run());
	for (i = 0; i < 5; i++)
		ktask_test_until_helped(job);
	ktask_test_hogs_off();
	ktask_test_check_workers(test);
}

/* The other way round: no helper comes for CPUs that it may not use. */
void ktask_test_half_is_busy(struct kunit *test)
{
	const struct ktask_test_cpus half = { NULL, 0, 1, num_online_cpus() / 2 };
	struct ktask_test_job *job;
	u64 started;
	int i;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 3);
	ktask_test_choose_cpus(&ktask_test_mask, &half);
	job = ktask_test_simple(test, KTASK_TEST_UNITS, 10, 0);
	set_cpus_allowed_ptr(current, &ktask_test_mask);
	ktask_test_hogs_at(test, SCHED_NORMAL, &ktask_test_mask);
	ktask_test_hogs_on();
	KUNIT_ASSERT_TRUE(test, ktask_test_hogs_run());
	started = ktask_stat_read(KTASK_STAT_HELPERS_STARTED);
	for (i = 0; i < 5; i++) {
		job->done.nr = 0;
		ktask_test_run_well(job);
	}
	ktask_test_hogs_off();
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_HELPERS_STARTED),
			started);
	KUNIT_EXPECT_EQ(test, atomic_read(&job->helper_chunks), 0);
}

static atomic_t ktask_test_came_to_busy;

/* A helper has woken up: its caller's CPUs get busy. */
static void ktask_test_make_busy(void)
{
	unsigned long end = jiffies + 60 * HZ;

	/* The caller may be about to switch them off. */
	do {
		ktask_test_hogs_on();
	} while (!ktask_test_hogs_ran(KTASK_TEST_SHORT) &&
		 time_before(jiffies, end));
	atomic_inc(&ktask_test_came_to_busy);
}

/* Where nobody is about to join, the CPUs get idle again. */
static int ktask_test_gets_busy_body(struct ktask_test_job *job,
				     unsigned long start, unsigned long end)
{
	if (!ktask_test_is_helper(job) &&
	    ktask_test_nr_free_works() == ktask_test_nr_works())
		ktask_test_hogs_off();
	usleep_range(1000, 2000);
	return KTASK_RETURN_SUCCESS;
}

/*
 * The caller's CPUs get busy when a helper has woken up, there or elsewhere.  None
 * joins: it would have to wait for such a CPU, and its caller for it.
 */
void ktask_test_half_gets_busy(struct kunit *test)
{
	const struct ktask_test_cpus half = { NULL, 0, 1, num_online_cpus() / 2 };
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_job *job;
	u64 joined;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 3);
	ktask_test_choose_cpus(&ktask_test_mask, &half);
	job = ktask_test_context_job(test, 0, ktask_test_gets_busy_body);
	ktask_test_hooks.ignore_load = false;
	set_cpus_allowed_ptr(current, &ktask_test_mask);
	ktask_test_hogs_at(test, SCHED_NORMAL, &ktask_test_mask);
	atomic_set(&ktask_test_came_to_busy, 0);
	joined = ktask_stat_read(KTASK_STAT_HELPERS_JOINED);
	WRITE_ONCE(ktask_test_hooks.before_join, ktask_test_make_busy);
	do {
		job->done.nr = 0;
		ktask_test_run_well(job);
	} while (atomic_read(&ktask_test_came_to_busy) < 20 &&
		 time_before(jiffies, end));
	WRITE_ONCE(ktask_test_hooks.before_join, NULL);
	KUNIT_EXPECT_TRUE(test, ktask_test_all_free());
	ktask_test_hogs_off();
	KUNIT_EXPECT_GE(test, atomic_read(&ktask_test_came_to_busy), 5);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_HELPERS_JOINED),
			joined);
}

/* Gives helpers the time to come, and to leave again. */
static int ktask_test_masks_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	u64 *was = job->data;
	u64 left;

	if (!ktask_test_is_helper(job))
		read_poll_timeout(ktask_stat_read, left, left != *was, 500,
				  KTASK_TEST_SHORT, false,
				  KTASK_STAT_HELPERS_LEFT_MASKS);
	return KTASK_RETURN_SUCCESS;
}

/*
 * Helpers that can't be kept to their caller's CPUs while *@hook is set do nothing,
 * and go.
 */
static void ktask_test_not_kept(struct kunit *test, bool *hook)
{
	u64 was = ktask_stat_read(KTASK_STAT_HELPERS_LEFT_MASKS);
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_job *job;

	job = ktask_test_context_job(test, 0, ktask_test_masks_body);
	job->data = &was;
	*hook = true;
	do {
		job->done.nr = 0;
		ktask_test_run_well(job);
	} while (ktask_stat_read(KTASK_STAT_HELPERS_LEFT_MASKS) == was &&
		 time_before(jiffies, end));
	*hook = false;
	KUNIT_EXPECT_GT(test, ktask_stat_read(KTASK_STAT_HELPERS_LEFT_MASKS),
			was);
	KUNIT_EXPECT_EQ(test, atomic_read(&job->helper_chunks), 0);
	was = ktask_stat_read(KTASK_STAT_HELPERS_LEFT_MASKS);
	ktask_test_until_helped(job);
}

void ktask_test_masks_are_busy(struct kunit *test)
{
	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	ktask_test_not_kept(test, &ktask_test_hooks.masks_busy);
}

/* As long as others have all masks that helpers are narrowed with. */
void ktask_test_masks_run_out(struct kunit *test)
{
	const struct ktask_test_cpus half = { NULL, 0, 2, num_online_cpus() / 2 };

	ktask_test_choose_cpus(&ktask_test_mask, &half);
	KTASK_TEST_REQUIRES(test, num_online_cpus() > 3 &&
			    ktask_test_splits_each_node(&ktask_test_mask));
	set_cpus_allowed_ptr(current, &ktask_test_mask);
	ktask_test_not_kept(test, &ktask_test_hooks.no_masks);
	ktask_test_check_workers(test);
}

/* Two parts: whose node's CPUs are to do them, and chunks that helpers did there. */
struct ktask_test_parts {
	int		nid[2];
	atomic_t	helped[2];
};

/* The second part begins far behind the first. */
#define KTASK_TEST_SECOND	100000UL

static int ktask_test_parts_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	bool second = start >= KTASK_TEST_SECOND;
	struct ktask_test_parts *p = job->data;
	int nr;

	if (!ktask_test_is_helper(job)) {
		read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_SHORT,
				  false, &p->helped[second]);
		return KTASK_RETURN_SUCCESS;
	}
	if (!cpumask_test_cpu(raw_smp_processor_id(), &ktask_test_mask))
		ktask_test_bad(job, "on a CPU that the caller may not use",
			       start, end);
	if (numa_node_id() == p->nid[second])
		atomic_inc(&p->helped[second]);
	return KTASK_RETURN_SUCCESS;
}

/* Run tasks of two parts, for @nid and @other, until helpers did some of each. */
static void ktask_test_parts_helped(struct kunit *test, int nid, int other,
				    struct ktask_test_parts *p)
{
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_job *job;

	job = ktask_test_job(test, 2, 2048);
	job->body = ktask_test_parts_body;
	job->data = p;
	job->ctl.kc_min_chunk_size = 10;
	job->parts[0].kn_task_size = KTASK_TEST_UNITS;
	job->parts[0].kn_nid = nid;
	job->parts[1].kn_start = (void *)KTASK_TEST_SECOND;
	job->parts[1].kn_task_size = KTASK_TEST_UNITS;
	job->parts[1].kn_nid = other;
	ktask_test_hooks.ignore_load = true;
	set_cpus_allowed_ptr(current, &ktask_test_mask);
	do {
		job->done.nr = 0;
		ktask_test_run_well(job);
	} while ((!atomic_read(&p->helped[0]) || !atomic_read(&p->helped[1])) &&
		 time_before(jiffies, end));
	KUNIT_EXPECT_GT_MSG(test, atomic_read(&p->helped[0]), 0,
			    "no helper for node %d", nid);
	KUNIT_EXPECT_GT_MSG(test, atomic_read(&p->helped[1]), 0,
			    "no helper for node %d", other);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
}

/* Where the caller may run goes before where the memory is, on each node. */
void ktask_test_cpus_of_two_nodes(struct kunit *test)
{
	int other = cpu_to_node(cpumask_last(cpu_online_mask));
	int nid = cpu_to_node(cpumask_first(cpu_online_mask));
	const struct ktask_test_cpus half = { NULL, 0, 2, UINT_MAX };
	struct ktask_test_parts halves = { .nid = { nid, other } };
	struct ktask_test_parts one = { .nid = { nid, nid } };

	KTASK_TEST_REQUIRES(test, nid != other);
	KTASK_TEST_REQUIRES(test, cpumask_weight(cpumask_of_node(nid)) > 1);
	KTASK_TEST_REQUIRES(test, cpumask_weight(cpumask_of_node(other)) > 1);
	ktask_test_choose_cpus(&ktask_test_mask, &half);
	KUNIT_ASSERT_TRUE(test, ktask_test_splits_node(&ktask_test_mask));
	ktask_test_parts_helped(test, nid, other, &halves);
	/* The other part is done here, and its own node is left alone. */
	cpumask_and(&ktask_test_mask, cpumask_of_node(nid), cpu_online_mask);
	ktask_test_parts_helped(test, nid, other, &one);
	ktask_test_check_workers(test);
}

void ktask_test_pinned_is_serial(struct kunit *test)
{
	u64 pinned = ktask_stat_read(KTASK_STAT_SERIAL_PINNED);
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	job = ktask_test_context_job(test, 0, NULL);
	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	ktask_test_run_well(job);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	KUNIT_EXPECT_EQ(test, atomic_read(&job->chunks), 1);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_SERIAL_PINNED),
			pinned + 1);
}

/* Who has begun chunks since the caller's CPUs changed. */
struct ktask_test_moved {
	spinlock_t		lock;		/* protects the rest */
	bool			moved;
	struct task_struct	*seen[64];
	int			nr;
	int			again;
};

/* Is this not the thread's first chunk since?  That may have been on its way. */
static bool ktask_test_moved_before(struct ktask_test_moved *m)
{
	bool before = false;
	int i;

	spin_lock(&m->lock);
	for (i = 0; i < m->nr; i++)
		before |= m->seen[i] == current;
	if (!before && m->moved && m->nr < ARRAY_SIZE(m->seen))
		m->seen[m->nr++] = current;
	spin_unlock(&m->lock);
	return before;
}

static int ktask_test_moved_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	struct ktask_test_moved *m = job->data;

	if (!ktask_test_is_helper(job)) {
		ktask_test_let_help(job);
		set_cpus_allowed_ptr(current, &ktask_test_new_mask);
		spin_lock(&m->lock);
		m->moved = true;
		spin_unlock(&m->lock);
		usleep_range(2000, 3000);
		return KTASK_RETURN_SUCCESS;
	}
	if (!ktask_test_moved_before(m)) {
		usleep_range(50, 100);
		return KTASK_RETURN_SUCCESS;
	}
	if (!ktask_test_keeps_to(&ktask_test_new_mask))
		ktask_test_bad(job, "did not follow its caller", start, end);
	spin_lock(&m->lock);
	m->again++;
	spin_unlock(&m->lock);
	return KTASK_RETURN_SUCCESS;
}

/* In the middle of a task the caller is moved to CPUs that it did not have. */
void ktask_test_cpus_change(struct kunit *test)
{
	unsigned long end = jiffies + 60 * HZ;
	const struct ktask_test_cpus before = { NULL, 0, 2, UINT_MAX };
	const struct ktask_test_cpus after = { NULL, 1, 2, UINT_MAX };
	struct ktask_test_moved *m;
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 3);
	m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m);
	spin_lock_init(&m->lock);
	ktask_test_choose_cpus(&ktask_test_mask, &before);
	ktask_test_choose_cpus(&ktask_test_new_mask, &after);
	job = ktask_test_context_job(test, 0, ktask_test_moved_body);
	job->ctl.kc_min_chunk_size = 1;
	job->data = m;
	do {
		m->moved = false;
		m->nr = 0;
		set_cpus_allowed_ptr(current, &ktask_test_mask);
		ktask_test_until_helped(job);
	} while (!m->again && time_before(jiffies, end));
	KUNIT_EXPECT_GT_MSG(test, m->again, 0, "no helper began a chunk since");
	ktask_test_check_workers(test);
}

static int ktask_test_narrow_thread(void *arg)
{
	struct ktask_test_job *job = arg;

	set_cpus_allowed_ptr(current, &ktask_test_mask);
	while (!kthread_should_stop()) {
		job->done.nr = 0;
		ktask_test_run_well(job);
	}
	return 0;
}

/*
 * Helpers keep to their caller's CPUs while another CPU comes and goes, and get
 * that one back, too.  Whoever restores masks of workers meanwhile loses.
 */
void ktask_test_cpus_in_hotplug(struct kunit *test)
{
	const struct ktask_test_cpus first = { NULL, 0, 1, 2 };
	struct ktask_test_job *job;
	int i, nr, chunks, cpu;

	KTASK_TEST_REQUIRES(test, IS_ENABLED(CONFIG_HOTPLUG_CPU));
	KTASK_TEST_REQUIRES(test, num_online_cpus() > 3);
	cpu = cpumask_last(cpu_online_mask);
	ktask_test_choose_cpus(&ktask_test_mask, &first);
	job = ktask_test_context_job(test, 0, ktask_test_cpus_body);
	ktask_test_start(test, -1, ktask_test_narrow_thread, job);
	for (i = 0; i < 4; i++) {
		chunks = atomic_read(&job->helper_chunks) + 10;
		read_poll_timeout(atomic_read, nr, nr >= chunks, 500,
				  KTASK_TEST_LONG, false, &job->helper_chunks);
		KUNIT_EXPECT_GE_MSG(test, nr, chunks, "no helper came");
		if (i % 2)
			KUNIT_EXPECT_EQ(test, ktask_test_cpu_on(cpu), 0);
		else
			KUNIT_EXPECT_EQ(test, ktask_test_cpu_off(cpu), 0);
	}
	ktask_test_stop_threads();
	ktask_test_check_rules(job);
	KUNIT_EXPECT_TRUE(test, cpu_online(cpu));
	ktask_test_check_workers(test);
}

/* ---- Memory nodes ------------------------------------------------------- */

/* Chunks of helpers on another node than the caller's. */
static atomic_t ktask_test_remote;

static int ktask_test_local_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	int caller = task_node(job->caller);
	struct page *page;
	int nid;

	ktask_test_let_help(job);
	if (!ktask_test_is_helper(job))
		return KTASK_RETURN_SUCCESS;
	page = alloc_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	nid = page_to_nid(page);
	__free_page(page);
	if (task_node(job->caller) != caller || numa_node_id() == caller)
		return KTASK_RETURN_SUCCESS;
	atomic_inc(&ktask_test_remote);
	if (nid != (job->ctl.kc_flags & KTASK_MEMPOLICY ? caller :
							  numa_node_id()))
		ktask_test_bad(job, "memory of another node", start, end);
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_local_thread(void *arg)
{
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_job *job = arg;

	do {
		job->done.nr = 0;
		ktask_test_run_well(job);
	} while (!atomic_read(&ktask_test_remote) && time_before(jiffies, end));
	return 0;
}

/* The first node with memory and CPUs, or NUMA_NO_NODE. */
static int ktask_test_first_full_node(void)
{
	int nid;

	for_each_node_state(nid, N_MEMORY) {
		if (!cpumask_empty(cpumask_of_node(nid)))
			return nid;
	}
	return NUMA_NO_NODE;
}

static int ktask_test_last_full_node(void)
{
	int last = NUMA_NO_NODE;
	int nid;

	for_each_node_state(nid, N_MEMORY) {
		if (!cpumask_empty(cpumask_of_node(nid)))
			last = nid;
	}
	return last;
}

/* Without a policy memory is local to the caller, if the client wants that. */
void ktask_test_memory_is_local(struct kunit *test)
{
	static const unsigned int flags[] = { KTASK_MEMPOLICY, 0 };
	int home = ktask_test_first_full_node();
	int other = ktask_test_last_full_node();
	struct ktask_test_job *job;
	int i;

	KTASK_TEST_REQUIRES(test, other != home);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		job = ktask_test_context_job(test, flags[i],
					     ktask_test_local_body);
		job->parts[0].kn_nid = other;
		atomic_set(&ktask_test_remote, 0);
		ktask_test_join(test,
				ktask_test_start(test,
						 cpumask_first(cpumask_of_node(home)),
						 ktask_test_local_thread, job));
		ktask_test_check_rules(job);
		KUNIT_EXPECT_GT_MSG(test, atomic_read(&ktask_test_remote), 0,
				    "no helper on another node");
	}
}
