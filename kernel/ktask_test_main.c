// SPDX-License-Identifier: GPL-2.0-only
/*
 * ktask_test_main.c - KUnit suite for ktask: its cases, and their tools
 *
 * Cases check invariants and never how long something took.  Where one waits
 * for something that must come, it waits for a minute: that a thread function
 * runs in several threads at once is shown by their meeting inside it.
 *
 * Thread functions and other threads than the case's own do not use
 * assertions, which end the thread; they note what they see in the job.
 */

#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/topology.h>
#include <linux/wait.h>

#include "ktask_test.h"

/* ---- Jobs --------------------------------------------------------------- */

static atomic_t ktask_test_node_helpers[MAX_NUMNODES];

atomic_t ktask_test_helpers_inside;

/*
 * The next parameter of a case, from @array of @nr elements of @size bytes that
 * begin with their names.
 */
const void *ktask_test_next(const void *prev, char *desc, const void *array,
			    size_t nr, size_t size)
{
	const void *next = prev ? prev + size : array;

	if (next == array + nr * size)
		return NULL;
	strscpy(desc, *(const char *const *)next, KUNIT_PARAM_DESC_SIZE);
	return next;
}

static void ktask_test_log_init(struct kunit *test, struct ktask_test_log *log,
				unsigned int max)
{
	log->ranges = kunit_kcalloc(test, max, sizeof(*log->ranges),
				    GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, log->ranges);
	log->max = max;
}

/* A job of @nr_parts parts; the caller of this fills them and the ctl. */
struct ktask_test_job *ktask_test_job(struct kunit *test, size_t nr_parts,
				      unsigned int max_ranges)
{
	struct ktask_test_job *job;

	job = kunit_kzalloc(test, sizeof(*job), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, job);
	job->parts = kunit_kcalloc(test, nr_parts, sizeof(*job->parts),
				   GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, job->parts);
	job->test = test;
	job->nr_parts = nr_parts;
	spin_lock_init(&job->lock);
	ktask_test_log_init(test, &job->done, max_ranges);
	ktask_test_log_init(test, &job->failed, max_ranges);
	ktask_test_log_init(test, &job->undone, max_ranges);
	strscpy(job->desc, test->name, sizeof(job->desc));
	ktask_test_job_reset(job);
	return job;
}

/* Forget what was seen, so that the job can be run again. */
void ktask_test_job_reset(struct ktask_test_job *job)
{
	struct ktask_ctl ctl = KTASK_CTL_INITIALIZER(ktask_test_chunk, job, 1);

	job->ctl = ctl;
	job->is_list = false;
	job->returned = false;
	job->helper_limit = INT_MAX;
	job->done.nr = 0;
	job->failed.nr = 0;
	job->undone.nr = 0;
	atomic_set(&job->inside, 0);
	atomic_set(&job->chunks, 0);
	atomic_set(&job->helper_chunks, 0);
	atomic_set(&job->bad, 0);
}

/* One part of @size units that may run anywhere, for up to @threads threads. */
struct ktask_test_job *ktask_test_simple(struct kunit *test, size_t size,
					 size_t min_chunk_size,
					 unsigned int threads)
{
	struct ktask_test_job *job = ktask_test_job(test, 1, 2048);

	job->parts[0].kn_task_size = size;
	job->parts[0].kn_nid = NUMA_NO_NODE;
	job->ctl.kc_min_chunk_size = min_chunk_size;
	ktask_ctl_set_max_threads(&job->ctl, threads);
	return job;
}

/* A task of many chunks, even where a chunk takes long. */
struct ktask_test_job *ktask_test_long_job(struct kunit *test)
{
	struct ktask_test_job *job = ktask_test_job(test, 50, 8192);
	int i;

	for (i = 0; i < job->nr_parts; i++) {
		job->parts[i].kn_start = (void *)(i * 1000UL);
		job->parts[i].kn_task_size = 1000;
		job->parts[i].kn_nid = NUMA_NO_NODE;
	}
	job->ctl.kc_min_chunk_size = 10;
	return job;
}

unsigned long ktask_test_index(struct ktask_test_job *job, void *position)
{
	struct ktask_test_entry *entry = position;

	return job->is_list ? entry->index : (unsigned long)position;
}

void *ktask_test_iter_list(void *position, size_t size)
{
	struct ktask_test_entry *entry = position;

	while (size--)
		entry = list_next_entry(entry, list);
	return entry;
}

/*
 * Make @part a list.  Neighbours in the list are neighbours in memory too, but
 * the other way round, so that nobody gets away with arithmetic.
 */
void ktask_test_fill_list(struct ktask_test_job *job, struct ktask_node *part,
			  struct ktask_test_entry *entries, unsigned long base)
{
	struct ktask_test_entry *head = &entries[part->kn_task_size];
	size_t i;

	INIT_LIST_HEAD(&head->list);
	head->index = base + part->kn_task_size;
	for (i = 0; i < part->kn_task_size; i++) {
		entries[i].index = head->index - 1 - i;
		atomic_set(&entries[i].calls, 0);
		list_add(&entries[i].list, &head->list);
	}
	part->kn_start = list_first_entry(&head->list, struct ktask_test_entry,
					  list);
	job->is_list = true;
	ktask_ctl_set_iter_func(&job->ctl, ktask_test_iter_list);
}

/* Note a broken rule. */
void ktask_test_bad(struct ktask_test_job *job, const char *what,
		    unsigned long start, unsigned long end)
{
	if (atomic_inc_return(&job->bad) == 1)
		snprintf(job->what, sizeof(job->what), "[%lu, %lu): %s",
			 start, end, what);
}

static void ktask_test_log_add(struct ktask_test_job *job,
			       struct ktask_test_log *log,
			       unsigned long start, unsigned long end)
{
	struct ktask_test_range range = {
		.start		= start,
		.end		= end,
		.task		= current,
		.saw_stop	= ktask_should_stop(&job->ctl),
	};

	spin_lock(&job->lock);
	if (log->nr < log->max)
		log->ranges[log->nr++] = range;
	else
		ktask_test_bad(job, "more chunks than fit in the log", start,
			       end);
	spin_unlock(&job->lock);
}

/* Has this thread itself failed in the job, or seen it stopped? */
static bool ktask_test_stopped_before(struct ktask_test_job *job)
{
	unsigned int i;
	bool stopped = false;

	spin_lock(&job->lock);
	for (i = 0; i < job->failed.nr; i++)
		stopped |= job->failed.ranges[i].task == current;
	for (i = 0; i < job->done.nr; i++)
		stopped |= job->done.ranges[i].saw_stop &&
			   job->done.ranges[i].task == current;
	spin_unlock(&job->lock);
	return stopped;
}

bool ktask_test_is_helper(struct ktask_test_job *job)
{
	return current != job->caller;
}

/* Returns the node that the helper was counted on, for the end of the chunk. */
static int ktask_test_enter(struct ktask_test_job *job, unsigned long start,
			    unsigned long end)
{
	int nid = numa_node_id();

	if (READ_ONCE(job->returned))
		ktask_test_bad(job, "begun after the task returned", start,
			       end);
	if (start >= end)
		ktask_test_bad(job, "an empty chunk", start, end);
	if (ktask_test_stopped_before(job))
		ktask_test_bad(job, "begun after the error was seen", start,
			       end);
	atomic_inc(&job->inside);
	atomic_inc(&job->chunks);
	if (!ktask_test_is_helper(job))
		return nid;
	atomic_inc(&job->helper_chunks);
	if (atomic_inc_return(&ktask_test_helpers_inside) >
	    READ_ONCE(job->helper_limit))
		ktask_test_bad(job, "more helpers than the system's limit",
			       start, end);
	if (atomic_inc_return(&ktask_test_node_helpers[nid]) >
	    ktask_test_node_limit(nid) &&
	    READ_ONCE(job->helper_limit) != INT_MAX)
		ktask_test_bad(job, "more helpers than the node's limit",
			       start, end);
	return nid;
}

static void ktask_test_exit(struct ktask_test_job *job, int nid)
{
	if (ktask_test_is_helper(job)) {
		atomic_dec(&ktask_test_node_helpers[nid]);
		atomic_dec(&ktask_test_helpers_inside);
	}
	atomic_dec(&job->inside);
}

/* Count each entry; they must be those of the range. */
static void ktask_test_count_entries(struct ktask_test_job *job, void *start,
				     void *end)
{
	struct ktask_test_entry *entry = start;
	unsigned long index = entry->index;

	for (; entry != end; entry = list_next_entry(entry, list)) {
		if (entry->index != index++)
			ktask_test_bad(job, "the list was left", entry->index,
				       index);
		if (atomic_inc_return(&entry->calls) != 1)
			ktask_test_bad(job, "an entry was done twice",
				       entry->index, index);
	}
}

int ktask_test_chunk(void *start, void *end, void *arg)
{
	struct ktask_test_job *job = arg;
	unsigned long from = ktask_test_index(job, start);
	unsigned long to = ktask_test_index(job, end);
	int ret = KTASK_RETURN_SUCCESS;
	int nid;

	nid = ktask_test_enter(job, from, to);
	if (job->body)
		ret = job->body(job, from, to);
	if (!ret && job->is_list)
		ktask_test_count_entries(job, start, end);
	ktask_test_log_add(job, ret ? &job->failed : &job->done, from, to);
	ktask_test_exit(job, nid);
	return ret;
}

void ktask_test_undo(void *start, void *end, void *arg)
{
	struct ktask_test_job *job = arg;
	unsigned long from = ktask_test_index(job, start);
	unsigned long to = ktask_test_index(job, end);

	if (current != job->caller)
		ktask_test_bad(job, "undone by another than the caller", from,
			       to);
	if (atomic_read(&job->inside))
		ktask_test_bad(job, "undone while chunks are in flight", from,
			       to);
	if (READ_ONCE(job->returned))
		ktask_test_bad(job, "undone after the task returned", from, to);
	ktask_test_log_add(job, &job->undone, from, to);
}

struct ktask_test_thread {
	struct list_head	list;
	struct task_struct	*task;
	struct completion	end;
	int			cpu;
	int			(*func)(void *arg);
	void			*arg;
};

static int ktask_test_thread_func(void *arg);

/*
 * A thread that a case bound to a CPU begins its tasks there.  The engine keeps
 * helpers to where their caller may run, so it must not be bound any more then.
 */
static void ktask_test_begin_on_cpu(void)
{
	struct ktask_test_thread *thread;

	if (kthread_func(current) != ktask_test_thread_func)
		return;
	thread = kthread_data(current);
	if (thread->cpu < 0)
		return;
	set_cpus_allowed_ptr(current, cpumask_of(thread->cpu));
	set_cpus_allowed_ptr(current, cpu_possible_mask);
}

/* Run the job in this thread. */
int ktask_test_run(struct ktask_test_job *job)
{
	int ret;

	ktask_test_begin_on_cpu();
	job->caller = current;
	WRITE_ONCE(job->returned, false);
	ret = ktask_run_numa(job->parts, job->nr_parts, &job->ctl);
	WRITE_ONCE(job->returned, true);
	if (atomic_read(&job->inside))
		ktask_test_bad(job, "the task returned with chunks in flight",
			       0, atomic_read(&job->inside));
	return ret;
}

/* Run a job that is to succeed, and check it. */
void ktask_test_run_well(struct ktask_test_job *job)
{
	int ret = ktask_test_run(job);

	KUNIT_EXPECT_EQ_MSG(job->test, ret, 0, "%s", job->desc);
	ktask_test_check_rules(job);
	ktask_test_check_once(job);
}

/* ---- Checks ------------------------------------------------------------- */

bool ktask_test_check_rules(struct ktask_test_job *job)
{
	int bad = atomic_read(&job->bad);

	if (!bad)
		return true;
	KUNIT_FAIL(job->test, "%s: %d times, first %s", job->desc, bad,
		   job->what);
	return false;
}

static int ktask_test_cmp(const void *one, const void *other)
{
	const struct ktask_test_range *a = one;
	const struct ktask_test_range *b = other;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return a->end < b->end ? -1 : a->end > b->end;
}

static void ktask_test_sort(struct ktask_test_log *log)
{
	sort(log->ranges, log->nr, sizeof(*log->ranges), ktask_test_cmp, NULL);
}

/* Where a chunk may begin and how long it may be (R1). */
static bool ktask_test_cut_well(struct ktask_test_job *job,
				const struct ktask_test_range *range,
				unsigned long from, unsigned long to)
{
	size_t align = max_t(size_t, job->ctl.kc_align, 1);
	size_t step = ktask_step(job->ctl.kc_min_chunk_size, align);
	unsigned long zero = job->is_list ? from : 0;

	if (range->start == from)
		return true;
	if ((range->start - zero) % align) {
		KUNIT_FAIL(job->test, "%s: [%lu, %lu) is not cut at %zu",
			   job->desc, range->start, range->end, align);
		return false;
	}
	if (range->end != to && (range->end - range->start) % step) {
		KUNIT_FAIL(job->test, "%s: [%lu, %lu) is no multiple of %zu",
			   job->desc, range->start, range->end, step);
		return false;
	}
	return true;
}

/* Do the chunks from number @i of the sorted log on cover @part exactly? */
static bool ktask_test_part_once(struct ktask_test_job *job,
				 const struct ktask_node *part, unsigned int *i)
{
	unsigned long from = ktask_test_index(job, part->kn_start);
	unsigned long to = from + part->kn_task_size;
	const struct ktask_test_range *range;
	unsigned long at;

	for (at = from; at != to; at = range->end) {
		if (*i == job->done.nr) {
			KUNIT_FAIL(job->test, "%s: [%lu, %lu) was not done",
				   job->desc, at, to);
			return false;
		}
		range = &job->done.ranges[(*i)++];
		if (range->start != at || range->end <= at || range->end > to) {
			KUNIT_FAIL(job->test,
				   "%s: [%lu, %lu) where [%lu, ...%lu) is due",
				   job->desc, range->start, range->end, at, to);
			return false;
		}
		if (!ktask_test_cut_well(job, range, from, to))
			return false;
	}
	return true;
}

/* Exactly once, in chunks that are cut well.  Sorts the log. */
bool ktask_test_check_once(struct ktask_test_job *job)
{
	unsigned int i = 0;
	size_t p;

	ktask_test_sort(&job->done);
	for (p = 0; p < job->nr_parts; p++) {
		if (!ktask_test_part_once(job, &job->parts[p], &i))
			return false;
	}
	if (i == job->done.nr)
		return true;
	KUNIT_FAIL(job->test, "%s: [%lu, %lu) is outside all parts", job->desc,
		   job->done.ranges[i].start, job->done.ranges[i].end);
	return false;
}

/* The end of the run of neighbouring ranges that starts with number @i. */
static unsigned long ktask_test_run_end(const struct ktask_test_log *log,
					unsigned int *i)
{
	unsigned long end = log->ranges[(*i)++].end;

	while (*i < log->nr && log->ranges[*i].start == end)
		end = log->ranges[(*i)++].end;
	return end;
}

/* Was exactly undone what was done?  Sorts the logs. */
bool ktask_test_check_undo(struct ktask_test_job *job)
{
	struct ktask_test_log *done = &job->done;
	struct ktask_test_log *undone = &job->undone;
	unsigned long start, end, undone_start, undone_end;
	unsigned int i = 0;
	unsigned int j = 0;

	ktask_test_sort(done);
	ktask_test_sort(undone);
	while (i < done->nr && j < undone->nr) {
		start = done->ranges[i].start;
		undone_start = undone->ranges[j].start;
		end = ktask_test_run_end(done, &i);
		undone_end = ktask_test_run_end(undone, &j);
		if (start == undone_start && end == undone_end)
			continue;
		KUNIT_FAIL(job->test, "%s: [%lu, %lu) done, [%lu, %lu) undone",
			   job->desc, start, end, undone_start, undone_end);
		return false;
	}
	if (i == done->nr && j == undone->nr)
		return true;
	KUNIT_FAIL(job->test, "%s: %u more chunks done, %u more calls of undo",
		   job->desc, done->nr - i, undone->nr - j);
	return false;
}

/* ---- Limits and meetings ------------------------------------------------ */

/* Helpers that R7 allows in the system, with the default of 80 %. */
int ktask_test_limit(void)
{
	return num_online_cpus() * 80 / 100;
}

int ktask_test_node_limit(int nid)
{
	int cpus = 0;
	int cpu;

	for_each_cpu_and(cpu, cpumask_of_node(nid), cpu_online_mask)
		cpus++;
	return cpus ? max(cpus * 80 / 100, 1) : 0;
}

/* Threads that can work on a task whose parts can run anywhere. */
int ktask_test_most_threads(void)
{
	int sum = 0;
	int nid;

	for_each_online_node(nid)
		sum += ktask_test_node_limit(nid);
	return min3(ktask_test_limit(), sum, 15) + 1;
}

/* The possible nodes in turn, whatever they have. */
int ktask_test_round_node(int i)
{
	int nid = first_node(node_possible_map);

	for (i %= num_possible_nodes(); i; i--)
		nid = next_node(nid, node_possible_map);
	return nid;
}

/*
 * Wait for the others, but not so long that the engine could not start them.
 * Once all have met nobody waits any more.
 */
bool ktask_test_meet(struct ktask_test_meeting *meeting)
{
	int nr;

	atomic_inc(&meeting->inside);
	read_poll_timeout(atomic_read, nr, nr >= meeting->want, 500,
			  KTASK_TEST_SHORT, false, &meeting->inside);
	/* Whom the others count does not give up. */
	do {
		if (nr >= meeting->want)
			return true;
	} while (!atomic_try_cmpxchg(&meeting->inside, &nr, nr - 1));
	return false;
}

bool ktask_test_met(const struct ktask_test_meeting *meeting)
{
	return atomic_read(&meeting->inside) >= meeting->want;
}

/* ---- Threads ------------------------------------------------------------ */

static DEFINE_MUTEX(ktask_test_mutex);
static LIST_HEAD(ktask_test_threads);

static int ktask_test_thread_func(void *arg)
{
	struct ktask_test_thread *thread = arg;
	int ret = thread->func(thread->arg);

	complete(&thread->end);
	return ret;
}

/* Start a thread, bound to @cpu unless that is -1; see ktask_test_run(). */
struct ktask_test_thread *ktask_test_start(struct kunit *test, int cpu,
					   int (*func)(void *arg), void *arg)
{
	struct ktask_test_thread *thread;

	thread = kunit_kzalloc(test, sizeof(*thread), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, thread);
	init_completion(&thread->end);
	thread->cpu = cpu;
	thread->func = func;
	thread->arg = arg;
	thread->task = kthread_create(ktask_test_thread_func, thread,
				      "ktask_test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread->task));
	get_task_struct(thread->task);
	if (cpu >= 0)
		kthread_bind(thread->task, cpu);

	mutex_lock(&ktask_test_mutex);
	list_add(&thread->list, &ktask_test_threads);
	mutex_unlock(&ktask_test_mutex);
	wake_up_process(thread->task);
	return thread;
}

bool ktask_test_ended(struct ktask_test_thread *thread)
{
	return completion_done(&thread->end);
}

/* Wait for a thread that is to end by itself. */
void ktask_test_join(struct kunit *test, struct ktask_test_thread *thread)
{
	KUNIT_ASSERT_NE_MSG(test,
			    wait_for_completion_timeout(&thread->end, 90 * HZ),
			    0, "a thread of the case did not end");
	complete(&thread->end);
}

/* Also before a case ends. */
void ktask_test_stop_threads(void)
{
	struct ktask_test_thread *thread, *next;

	mutex_lock(&ktask_test_mutex);
	list_for_each_entry_safe(thread, next, &ktask_test_threads, list) {
		list_del(&thread->list);
		kthread_stop(thread->task);
		put_task_struct(thread->task);
	}
	mutex_unlock(&ktask_test_mutex);
}

void ktask_test_sched(struct kunit *test, const struct sched_attr *attr)
{
	int ret = sched_setattr_nocheck(current, attr);

	KUNIT_EXPECT_EQ_MSG(test, ret, 0, "policy %u", attr->sched_policy);
}

/* ---- Hogs: a busy thread on each CPU ------------------------------------ */

static DECLARE_WAIT_QUEUE_HEAD(ktask_test_hog_wait);
static bool ktask_test_hog_on;
static int ktask_test_hog_policy;
static atomic_t ktask_test_hogs_running;
static int ktask_test_nr_hogs;

static int ktask_test_hog(void *arg)
{
	struct sched_attr attr = {
		.sched_policy	= ktask_test_hog_policy,
		.sched_priority	= ktask_test_hog_policy == SCHED_FIFO ? 50 : 0,
	};

	sched_setattr_nocheck(current, &attr);
	while (!kthread_should_stop()) {
		wait_event_idle(ktask_test_hog_wait,
				READ_ONCE(ktask_test_hog_on) ||
				kthread_should_stop());
		atomic_inc(&ktask_test_hogs_running);
		while (READ_ONCE(ktask_test_hog_on) && !kthread_should_stop())
			cond_resched();
		atomic_dec(&ktask_test_hogs_running);
	}
	return 0;
}

/* Create one for each CPU, asleep so far. */
void ktask_test_hogs_at(struct kunit *test, int policy,
			const struct cpumask *cpus)
{
	int cpu;

	ktask_test_hog_on = false;
	ktask_test_hog_policy = policy;
	ktask_test_nr_hogs = 0;
	atomic_set(&ktask_test_hogs_running, 0);
	for_each_cpu(cpu, cpus) {
		ktask_test_start(test, cpu, ktask_test_hog, NULL);
		ktask_test_nr_hogs++;
	}
}

void ktask_test_hogs(struct kunit *test, int policy)
{
	ktask_test_hogs_at(test, policy, cpu_online_mask);
}

void ktask_test_hogs_on(void)
{
	WRITE_ONCE(ktask_test_hog_on, true);
	wake_up_all(&ktask_test_hog_wait);
}

void ktask_test_hogs_off(void)
{
	WRITE_ONCE(ktask_test_hog_on, false);
}

/* Have all of them begun to run?  Waits for it @usec microseconds. */
bool ktask_test_hogs_ran(unsigned long usec)
{
	int nr;

	return !read_poll_timeout(atomic_read, nr, nr == ktask_test_nr_hogs,
				  500, usec, false, &ktask_test_hogs_running);
}

bool ktask_test_hogs_run(void)
{
	return ktask_test_hogs_ran(KTASK_TEST_LONG);
}

/* ---- The gate between dequeue and join ---------------------------------- */

static DECLARE_COMPLETION(ktask_test_gate_open);
static int ktask_test_gate_hold;

atomic_t ktask_test_gate_arrived;

static void ktask_test_gate(void)
{
	if (atomic_inc_return(&ktask_test_gate_arrived) <= ktask_test_gate_hold)
		wait_for_completion(&ktask_test_gate_open);
}

/* Hold the first @hold workers that arrive. */
void ktask_test_close_gate(int hold)
{
	reinit_completion(&ktask_test_gate_open);
	atomic_set(&ktask_test_gate_arrived, 0);
	ktask_test_gate_hold = hold;
	WRITE_ONCE(ktask_test_hooks.before_join, ktask_test_gate);
}

void ktask_test_open_gate(void)
{
	WRITE_ONCE(ktask_test_hooks.before_join, NULL);
	complete_all(&ktask_test_gate_open);
}

/* Are all work items free again?  Waits for it. */
bool ktask_test_all_free(void)
{
	int nr;

	return !read_poll_timeout(ktask_test_nr_free_works, nr,
				  nr == ktask_test_nr_works(), 1000,
				  KTASK_TEST_LONG, false);
}

/* ---- CPUs --------------------------------------------------------------- */

static struct cpumask ktask_test_cpus_off;

int ktask_test_cpu_off(unsigned int cpu)
{
	int ret = remove_cpu(cpu);

	if (!ret)
		cpumask_set_cpu(cpu, &ktask_test_cpus_off);
	return ret;
}

int ktask_test_cpu_on(unsigned int cpu)
{
	int ret = add_cpu(cpu);

	if (!ret)
		cpumask_clear_cpu(cpu, &ktask_test_cpus_off);
	return ret;
}

/* ---- Parameters --------------------------------------------------------- */

static bool ktask_test_params_set;

/* As by the administrator; the case's end sets the defaults again. */
int ktask_test_set_param(const char *name, const char *value)
{
	const struct kernel_param *param = ktask_test_param(name);

	ktask_test_params_set = true;
	return param->ops->set(value, param);
}

/* @buf has PAGE_SIZE bytes. */
void ktask_test_get_param(const char *name, char *buf)
{
	const struct kernel_param *param = ktask_test_param(name);

	buf[0] = '\0';
	param->ops->get(buf, param);
}

static void ktask_test_reset_params(struct kunit *test)
{
	if (!ktask_test_params_set)
		return;
	KUNIT_EXPECT_EQ(test, ktask_test_set_param("enabled", "1"), 0);
	KUNIT_EXPECT_EQ(test, ktask_test_set_param("max_threads", "16"), 0);
	KUNIT_EXPECT_EQ(test, ktask_test_set_param("cpu_percent", "80"), 0);
	ktask_test_params_set = false;
}

/* ---- The suite ---------------------------------------------------------- */

static int ktask_test_nr_masks;

static int ktask_test_case_init(struct kunit *test)
{
	int nid;

	/* A case that hangs or crashes prints no result. */
	kunit_info(test, "begins\n");
	ktask_test_hooks.ignore_load = false;
	ktask_test_hooks.force_cut = false;
	ktask_test_hooks.anywhere = false;
	ktask_test_hooks.masks_busy = false;
	ktask_test_hooks.no_masks = false;
	ktask_test_hooks.all_wanted = false;
	ktask_test_hooks.leave_queued = false;
	ktask_test_hooks.no_poll = false;
	atomic_set(&ktask_test_helpers_inside, 0);
	for_each_node(nid)
		atomic_set(&ktask_test_node_helpers[nid], 0);
	return 0;
}

/* Also after a failed assertion, from another thread then. */
static void ktask_test_case_exit(struct kunit *test)
{
	unsigned int cpu;

	ktask_test_open_gate();
	WRITE_ONCE(ktask_test_hooks.before_lend, NULL);
	WRITE_ONCE(ktask_test_hooks.on_place, NULL);
	ktask_test_hogs_off();
	ktask_test_stop_threads();
	ktask_test_reset_params(test);
	for_each_cpu(cpu, &ktask_test_cpus_off)
		ktask_test_cpu_on(cpu);
	KUNIT_EXPECT_TRUE_MSG(test, ktask_test_all_free(),
			      "%d of %d work items are free",
			      ktask_test_nr_free_works(),
			      ktask_test_nr_works());
	KUNIT_EXPECT_EQ(test, ktask_test_nr_free_masks(), ktask_test_nr_masks);
	KUNIT_EXPECT_EQ(test, ktask_test_nr_helpers(), 0);
	ktask_test_hooks.early = 0;
}

/* Built in, the suite runs before user space; it tests the limits after it. */
static int ktask_test_suite_init(struct kunit_suite *suite)
{
	ktask_test_nr_masks = ktask_test_nr_free_masks();
	ktask_test_hooks.early = 0;
	return 0;
}

static void ktask_test_suite_exit(struct kunit_suite *suite)
{
	ktask_test_hooks.ignore_load = false;
	ktask_test_hooks.force_cut = false;
	ktask_test_hooks.early = -1;
}

static struct kunit_case ktask_test_cases[] = {
	KUNIT_CASE_PARAM(ktask_test_step_is_aligned, ktask_test_step_params),
	KUNIT_CASE_PARAM(ktask_test_chunk_size_fits,
			 ktask_test_chunk_size_params),
	KUNIT_CASE_PARAM(ktask_test_threads_fit_work,
			 ktask_test_nr_threads_params),
	KUNIT_CASE_PARAM(ktask_test_every_unit_once, ktask_test_shape_params),
	KUNIT_CASE_PARAM(ktask_test_random_units_once, ktask_test_seed_params),
	KUNIT_CASE_PARAM(ktask_test_chunks_shrink, ktask_test_balance_params),
	KUNIT_CASE_PARAM(ktask_test_error_and_undo, ktask_test_error_params),
	KUNIT_CASE_PARAM(ktask_test_errors_at_once, ktask_test_at_once_params),
	KUNIT_CASE_PARAM(ktask_test_plain_call, ktask_test_plain_params),
	KUNIT_CASE(ktask_test_plain_call_undo),
	KUNIT_CASE_PARAM(ktask_test_signal_ends_task, ktask_test_signal_params),
	KUNIT_CASE(ktask_test_signal_before_task),

	KUNIT_CASE(ktask_test_all_threads_meet),
	KUNIT_CASE(ktask_test_one_cpu_is_serial),
	KUNIT_CASE(ktask_test_concurrent_calls),
	KUNIT_CASE_PARAM(ktask_test_nested_calls, ktask_test_nested_params),
	KUNIT_CASE_PARAM(ktask_test_workers_blocked, ktask_test_blocked_params),
	KUNIT_CASE(ktask_test_stuck_helper),
	KUNIT_CASE(ktask_test_unstarted_taken_back),
	KUNIT_CASE(ktask_test_timer_takes_back),
	KUNIT_CASE(ktask_test_limit_holds),
	KUNIT_CASE(ktask_test_early_lifts_limits),
	KUNIT_CASE(ktask_test_limit_after_cpu_off),
	KUNIT_CASE(ktask_test_limit_in_hotplug),
	KUNIT_CASE(ktask_test_once_while_cpus_change),
	KUNIT_CASE(ktask_test_finishes_in_hotplug),

	KUNIT_CASE(ktask_test_helper_is_nice),
	KUNIT_CASE_PARAM(ktask_test_lends_prio, ktask_test_prio_params),
	KUNIT_CASE_PARAM(ktask_test_lends_prio_nested,
			 ktask_test_nested_prio_params),
	KUNIT_CASE(ktask_test_lends_less),
	KUNIT_CASE_PARAM(ktask_test_own_prio_back, ktask_test_prio_params),
	KUNIT_CASE(ktask_test_lends_to_one),
	KUNIT_CASE(ktask_test_lends_at_the_end),
	KUNIT_CASE(ktask_test_lends_to_who_leaves),
	KUNIT_CASE(ktask_test_no_helper_for_busy_cpu),
	KUNIT_CASE(ktask_test_helpers_come_when_idle),
	KUNIT_CASE(ktask_test_helper_leaves_busy_cpu),
	KUNIT_CASE(ktask_test_helper_goes_to_idle_cpu),
	KUNIT_CASE_PARAM(ktask_test_no_helper_in_vain, ktask_test_vain_params),
	KUNIT_CASE(ktask_test_vain_helpers_get_rare),
	KUNIT_CASE_PARAM(ktask_test_looks_once_per_node,
			 ktask_test_look_params),
	KUNIT_CASE(ktask_test_spread_follows_work),
	KUNIT_CASE(ktask_test_migrates),
	KUNIT_CASE(ktask_test_any_node_id),
	KUNIT_CASE(ktask_test_counted_where_it_runs),
	KUNIT_CASE(ktask_test_node_goes_off),

	KUNIT_CASE_PARAM(ktask_test_wrong_values, ktask_test_value_params),
	KUNIT_CASE(ktask_test_right_values),
	KUNIT_CASE_PARAM(ktask_test_limit_after_param, ktask_test_lower_params),
	KUNIT_CASE(ktask_test_limit_while_queued),
	KUNIT_CASE(ktask_test_disabled_is_serial),
	KUNIT_CASE(ktask_test_percent_before_user_space),
	KUNIT_CASE(ktask_test_one_by_one),

	KUNIT_CASE(ktask_test_inline_runs),
	KUNIT_CASE(ktask_test_inline_undo),
	KUNIT_CASE(ktask_test_inline_signal),

	KUNIT_CASE_PARAM(ktask_test_scope_is_callers, ktask_test_scope_params),
	KUNIT_CASE(ktask_test_reserves_are_serial),
	KUNIT_CASE(ktask_test_over_high_is_callers),
	KUNIT_CASE(ktask_test_throttle_is_callers),
	KUNIT_CASE(ktask_test_creds_are_callers),
	KUNIT_CASE(ktask_test_memcg_is_callers),
	KUNIT_CASE(ktask_test_mm_is_callers),
	KUNIT_CASE(ktask_test_nested_context),
	KUNIT_CASE(ktask_test_nested_signal),
	KUNIT_CASE_PARAM(ktask_test_cpus_are_callers, ktask_test_cpus_params),
	KUNIT_CASE(ktask_test_half_is_idle),
	KUNIT_CASE(ktask_test_half_is_busy),
	KUNIT_CASE(ktask_test_half_gets_busy),
	KUNIT_CASE(ktask_test_masks_are_busy),
	KUNIT_CASE(ktask_test_masks_run_out),
	KUNIT_CASE(ktask_test_cpus_of_two_nodes),
	KUNIT_CASE(ktask_test_pinned_is_serial),
	KUNIT_CASE(ktask_test_cpus_change),
	KUNIT_CASE(ktask_test_cpus_in_hotplug),
	KUNIT_CASE(ktask_test_memory_is_local),

	KUNIT_CASE(ktask_test_every_page_initialised),
	KUNIT_CASE(ktask_test_pages_add_up),
	{}
};

static struct kunit_suite ktask_test_suite = {
	.name		= "ktask",
	.suite_init	= ktask_test_suite_init,
	.suite_exit	= ktask_test_suite_exit,
	.init		= ktask_test_case_init,
	.exit		= ktask_test_case_exit,
	.test_cases	= ktask_test_cases,
};

kunit_test_suite(ktask_test_suite);

MODULE_DESCRIPTION("KUnit suite for ktask");
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_LICENSE("GPL");
