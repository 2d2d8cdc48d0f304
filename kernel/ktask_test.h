/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ktask_test.h - what the files of the KUnit suite ktask share
 */
#ifndef _KERNEL_KTASK_TEST_H
#define _KERNEL_KTASK_TEST_H

#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/iopoll.h>
#include <linux/jiffies.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <uapi/linux/sched/types.h>

#include "ktask_internal.h"

/* How long to wait for what must come, on a slow and crowded machine, in us. */
#define KTASK_TEST_LONG		(60 * USEC_PER_SEC)
/* How long a chunk waits for others before it gives the engine a boundary. */
#define KTASK_TEST_SHORT	(100 * USEC_PER_MSEC)

#define KTASK_TEST_REQUIRES(test, cond) do {			\
	if (!(cond))						\
		kunit_skip((test), "Test requires: " #cond);	\
} while (0)

/* A chunk, or a call of the undo function; positions as numbers. */
struct ktask_test_range {
	unsigned long		start;
	unsigned long		end;
	struct task_struct	*task;		/* who did it; only compared */
	bool			saw_stop;	/* who saw the task stopped */
};

struct ktask_test_log {
	unsigned int		nr;
	unsigned int		max;
	struct ktask_test_range	*ranges;
};

/**
 * struct ktask_test_job - a task under test, and what was seen of it
 * @test: the case
 * @ctl: given to the engine
 * @parts: likewise, in ascending order of their positions
 * @nr_parts: number of parts
 * @is_list: positions are struct ktask_test_entry
 * @body: the case's own part of the thread function, or NULL
 * @data: for @body
 * @caller: who runs the task
 * @returned: it has returned
 * @helper_limit: most helpers of all tasks at the start of a chunk, or INT_MAX
 * @inside: chunks in flight
 * @chunks: chunks begun
 * @helper_chunks: those of them begun by helpers
 * @bad: number of broken rules that were seen in chunks
 * @what: the first of them
 * @lock: protects the following logs
 * @done: chunks that succeeded
 * @failed: chunks that failed
 * @undone: calls of the undo function
 * @desc: what to print in failures
 */
struct ktask_test_job {
	struct kunit		*test;
	struct ktask_ctl	ctl;
	struct ktask_node	*parts;
	size_t			nr_parts;
	bool			is_list;
	int			(*body)(struct ktask_test_job *job,
					unsigned long start, unsigned long end);
	void			*data;
	struct task_struct	*caller;
	bool			returned;
	int			helper_limit;
	atomic_t		inside;
	atomic_t		chunks;
	atomic_t		helper_chunks;
	atomic_t		bad;
	char			what[128];
	spinlock_t		lock;		/* protects the logs */
	struct ktask_test_log	done;
	struct ktask_test_log	failed;
	struct ktask_test_log	undone;
	char			desc[160];
};

/* A unit of a task over lists; the last of a part is its head. */
struct ktask_test_entry {
	struct list_head	list;
	unsigned long		index;
	atomic_t		calls;
};

/* Threads that wait inside their chunks for each other. */
struct ktask_test_meeting {
	int			want;
	atomic_t		inside;
};

struct ktask_test_thread;

/* What the chunks of a task do while limits are lowered and raised. */
enum ktask_test_phase {
	KTASK_TEST_GATHER,	/* wait for each other */
	KTASK_TEST_HOLD,	/* stay inside */
	KTASK_TEST_GO_ON,	/* below the new limit */
	KTASK_TEST_GATHER_AGAIN,
	KTASK_TEST_END,
};

struct ktask_test_lower {
	struct ktask_test_job		*job;
	struct ktask_test_meeting	first;
	struct ktask_test_meeting	second;
	atomic_t			held;
	atomic_t			gone_on;
	u64				left;
	int				phase;
};

/* Helpers inside the thread functions of all jobs, by the tests' own count. */
extern atomic_t ktask_test_helpers_inside;
/* Arrivals at the gate before the join, see ktask_test_close_gate(). */
extern atomic_t ktask_test_gate_arrived;

const void *ktask_test_next(const void *prev, char *desc, const void *array,
			    size_t nr, size_t size);
struct ktask_test_job *ktask_test_job(struct kunit *test, size_t nr_parts,
				      unsigned int max_ranges);
void ktask_test_job_reset(struct ktask_test_job *job);
struct ktask_test_job *ktask_test_simple(struct kunit *test, size_t size,
					 size_t min_chunk_size,
					 unsigned int threads);
unsigned long ktask_test_index(struct ktask_test_job *job, void *position);
void *ktask_test_iter_list(void *position, size_t size);
void ktask_test_fill_list(struct ktask_test_job *job, struct ktask_node *part,
			  struct ktask_test_entry *entries, unsigned long base);
void ktask_test_bad(struct ktask_test_job *job, const char *what,
		    unsigned long start, unsigned long end);
int ktask_test_chunk(void *start, void *end, void *arg);
void ktask_test_undo(void *start, void *end, void *arg);
int ktask_test_run(struct ktask_test_job *job);
void ktask_test_run_well(struct ktask_test_job *job);
bool ktask_test_check_rules(struct ktask_test_job *job);
bool ktask_test_check_once(struct ktask_test_job *job);
bool ktask_test_check_undo(struct ktask_test_job *job);
void ktask_test_random_task(struct kunit *test, struct ktask_test_job *job,
			    struct rnd_state *rnd, const char *who);
struct ktask_test_job *ktask_test_random_job(struct kunit *test);
struct ktask_test_job *ktask_test_long_job(struct kunit *test);

int ktask_test_limit(void);
int ktask_test_node_limit(int nid);
int ktask_test_most_threads(void);
int ktask_test_round_node(int i);
bool ktask_test_is_helper(struct ktask_test_job *job);
bool ktask_test_meet(struct ktask_test_meeting *meeting);
bool ktask_test_met(const struct ktask_test_meeting *meeting);

struct ktask_test_thread *ktask_test_start(struct kunit *test, int cpu,
					   int (*func)(void *arg), void *arg);
void ktask_test_stop_threads(void);
bool ktask_test_ended(struct ktask_test_thread *thread);
void ktask_test_join(struct kunit *test, struct ktask_test_thread *thread);
void ktask_test_hogs_at(struct kunit *test, int policy,
			const struct cpumask *cpus);
void ktask_test_hogs(struct kunit *test, int policy);
void ktask_test_hogs_on(void);
bool ktask_test_hogs_ran(unsigned long usec);
bool ktask_test_hogs_run(void);
void ktask_test_hogs_off(void);
void ktask_test_close_gate(int hold);
void ktask_test_open_gate(void);
bool ktask_test_all_free(void);
int ktask_test_cpu_off(unsigned int cpu);
int ktask_test_cpu_on(unsigned int cpu);
int ktask_test_set_param(const char *name, const char *value);
void ktask_test_get_param(const char *name, char *buf);
void ktask_test_sched(struct kunit *test, const struct sched_attr *attr);

/* kernel/ktask_test_chunks.c */
const void *ktask_test_step_params(const void *prev, char *desc);
const void *ktask_test_chunk_size_params(const void *prev, char *desc);
const void *ktask_test_nr_threads_params(const void *prev, char *desc);
const void *ktask_test_shape_params(const void *prev, char *desc);
const void *ktask_test_seed_params(const void *prev, char *desc);
const void *ktask_test_error_params(const void *prev, char *desc);
const void *ktask_test_at_once_params(const void *prev, char *desc);
const void *ktask_test_plain_params(const void *prev, char *desc);
const void *ktask_test_balance_params(const void *prev, char *desc);
const void *ktask_test_signal_params(const void *prev, char *desc);
void ktask_test_step_is_aligned(struct kunit *test);
void ktask_test_chunk_size_fits(struct kunit *test);
void ktask_test_threads_fit_work(struct kunit *test);
void ktask_test_every_unit_once(struct kunit *test);
void ktask_test_random_units_once(struct kunit *test);
void ktask_test_error_and_undo(struct kunit *test);
void ktask_test_errors_at_once(struct kunit *test);
void ktask_test_plain_call(struct kunit *test);
void ktask_test_plain_call_undo(struct kunit *test);
void ktask_test_chunks_shrink(struct kunit *test);
void ktask_test_signal_ends_task(struct kunit *test);
void ktask_test_signal_before_task(struct kunit *test);

/* kernel/ktask_test_helpers.c */
const void *ktask_test_nested_params(const void *prev, char *desc);
const void *ktask_test_blocked_params(const void *prev, char *desc);
void ktask_test_all_threads_meet(struct kunit *test);
void ktask_test_one_cpu_is_serial(struct kunit *test);
void ktask_test_concurrent_calls(struct kunit *test);
void ktask_test_nested_calls(struct kunit *test);
void ktask_test_workers_blocked(struct kunit *test);
void ktask_test_stuck_helper(struct kunit *test);
void ktask_test_unstarted_taken_back(struct kunit *test);
void ktask_test_timer_takes_back(struct kunit *test);
void ktask_test_limit_holds(struct kunit *test);
void ktask_test_early_lifts_limits(struct kunit *test);
struct ktask_test_lower *ktask_test_start_lower(struct kunit *test);
void ktask_test_go_on_below(struct kunit *test, struct ktask_test_lower *l,
			    int limit);
void ktask_test_end_lower(struct kunit *test, struct ktask_test_lower *l);
void ktask_test_limit_after_cpu_off(struct kunit *test);
void ktask_test_limit_in_hotplug(struct kunit *test);
void ktask_test_once_while_cpus_change(struct kunit *test);
void ktask_test_finishes_in_hotplug(struct kunit *test);

/* kernel/ktask_test_sched.c */
const void *ktask_test_prio_params(const void *prev, char *desc);
const void *ktask_test_nested_prio_params(const void *prev, char *desc);
const void *ktask_test_vain_params(const void *prev, char *desc);
const void *ktask_test_look_params(const void *prev, char *desc);
void ktask_test_helper_is_nice(struct kunit *test);
void ktask_test_lends_prio(struct kunit *test);
void ktask_test_lends_prio_nested(struct kunit *test);
void ktask_test_lends_less(struct kunit *test);
void ktask_test_lends_to_one(struct kunit *test);
void ktask_test_lends_at_the_end(struct kunit *test);
void ktask_test_lends_to_who_leaves(struct kunit *test);
void ktask_test_own_prio_back(struct kunit *test);
void ktask_test_no_helper_for_busy_cpu(struct kunit *test);
void ktask_test_helpers_come_when_idle(struct kunit *test);
void ktask_test_helper_leaves_busy_cpu(struct kunit *test);
void ktask_test_helper_goes_to_idle_cpu(struct kunit *test);
void ktask_test_no_helper_in_vain(struct kunit *test);
void ktask_test_vain_helpers_get_rare(struct kunit *test);
void ktask_test_looks_once_per_node(struct kunit *test);
void ktask_test_spread_follows_work(struct kunit *test);
void ktask_test_migrates(struct kunit *test);
void ktask_test_any_node_id(struct kunit *test);
void ktask_test_counted_where_it_runs(struct kunit *test);
void ktask_test_node_goes_off(struct kunit *test);

/* kernel/ktask_test_context.c */
const void *ktask_test_scope_params(const void *prev, char *desc);
const void *ktask_test_cpus_params(const void *prev, char *desc);
void ktask_test_scope_is_callers(struct kunit *test);
void ktask_test_reserves_are_serial(struct kunit *test);
void ktask_test_over_high_is_callers(struct kunit *test);
void ktask_test_throttle_is_callers(struct kunit *test);
void ktask_test_creds_are_callers(struct kunit *test);
void ktask_test_memcg_is_callers(struct kunit *test);
void ktask_test_mm_is_callers(struct kunit *test);
void ktask_test_nested_context(struct kunit *test);
void ktask_test_nested_signal(struct kunit *test);
void ktask_test_cpus_are_callers(struct kunit *test);
void ktask_test_half_is_idle(struct kunit *test);
void ktask_test_half_is_busy(struct kunit *test);
void ktask_test_half_gets_busy(struct kunit *test);
void ktask_test_masks_are_busy(struct kunit *test);
void ktask_test_masks_run_out(struct kunit *test);
void ktask_test_cpus_of_two_nodes(struct kunit *test);
void ktask_test_pinned_is_serial(struct kunit *test);
void ktask_test_cpus_change(struct kunit *test);
void ktask_test_cpus_in_hotplug(struct kunit *test);
void ktask_test_memory_is_local(struct kunit *test);

/* kernel/ktask_test_params.c */
const void *ktask_test_value_params(const void *prev, char *desc);
const void *ktask_test_lower_params(const void *prev, char *desc);
void ktask_test_wrong_values(struct kunit *test);
void ktask_test_right_values(struct kunit *test);
void ktask_test_limit_after_param(struct kunit *test);
void ktask_test_limit_while_queued(struct kunit *test);
void ktask_test_disabled_is_serial(struct kunit *test);
void ktask_test_percent_before_user_space(struct kunit *test);
void ktask_test_one_by_one(struct kunit *test);

/* kernel/ktask_test_plain.c */
void ktask_test_inline_runs(struct kunit *test);
void ktask_test_inline_undo(struct kunit *test);
void ktask_test_inline_signal(struct kunit *test);

/* kernel/ktask_test_pages.c */
void ktask_test_every_page_initialised(struct kunit *test);
void ktask_test_pages_add_up(struct kunit *test);

#endif /* _KERNEL_KTASK_TEST_H */
