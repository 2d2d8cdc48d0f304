/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ktask_internal.h - what the files of ktask share, with its KUnit suite too
 */
#ifndef _KERNEL_KTASK_INTERNAL_H
#define _KERNEL_KTASK_INTERNAL_H

#include <linux/ktask.h>
#include <linux/workqueue.h>

/* Counters since boot; debugfs ktask/stats shows them under these names. */
enum ktask_stat {
	KTASK_STAT_TASKS,		/* tasks that were cut into chunks */
	KTASK_STAT_SERIAL_SMALL,	/* plain calls: under two chunks, */
	KTASK_STAT_SERIAL_THREADS,	/* only one thread allowed, */
	KTASK_STAT_SERIAL_DISABLED,	/* ktask.enabled=0, */
	KTASK_STAT_SERIAL_LIMIT,	/* the system limit is no helper, */
	KTASK_STAT_SERIAL_PINNED,	/* the caller may use one CPU only, */
	KTASK_STAT_SERIAL_RESERVES,	/* the caller has memory's reserves, */
	KTASK_STAT_SERIAL_NOT_READY,	/* before ktask_init() or it failed, */
	KTASK_STAT_SERIAL_CTL_BUSY,	/* a client's bug: its ctl is in use */
	KTASK_STAT_CHUNKS,		/* chunks done, by helpers or callers */
	KTASK_STAT_HELPER_CHUNKS,	/* chunks done by helpers */
	KTASK_STAT_HELPERS_STARTED,	/* work items queued */
	KTASK_STAT_HELPERS_MOVED,	/* went to an idle CPU, then to join */
	KTASK_STAT_HELPERS_JOINED,	/* helpers that joined their task */
	KTASK_STAT_HELPERS_WORKED,	/* helpers that finished a chunk */
	KTASK_STAT_HELPERS_CANCELLED,	/* taken back while still queued */
	KTASK_STAT_HELPERS_DETACHED,	/* told to stay out, worker on its way */
	KTASK_STAT_HELPERS_LEFT_BUSY,	/* other tasks wanted the CPU */
	KTASK_STAT_HELPERS_LEFT_LIMIT,	/* were above the limit */
	KTASK_STAT_HELPERS_LEFT_CPUS,	/* could not go to the caller's CPUs */
	KTASK_STAT_HELPERS_LEFT_MASKS,	/* nor try, as masks were being changed */
	KTASK_STAT_HELPERS_NARROWED,	/* times one was kept to such CPUs */
	KTASK_STAT_HELPERS_MIGRATED,	/* queued to go on elsewhere */
	KTASK_STAT_BOOSTS,		/* times a helper was lent a priority */
	KTASK_STAT_UNDO_CALLS,		/* calls of undo functions for those */
	KTASK_STAT_ERRORS,		/* cut tasks that ended with one */
	KTASK_STAT_MAX_THREADS,		/* most threads of a task at a time */
	NR_KTASK_STATS,
};

u64 ktask_stat_read(enum ktask_stat stat);

size_t ktask_step(size_t min_chunk_size, size_t align);
size_t ktask_chunk_size(size_t origin, size_t remaining, size_t step,
			size_t align, unsigned int threads);
unsigned int ktask_nr_threads(const struct ktask_node *nodes, size_t nr_nodes,
			      size_t step, unsigned int max_threads);

/**
 * struct ktask_own - what a helper had before it took over its caller's
 * @flags: allocation scopes, of its task_struct.flags
 * @pkeys: access rights by protection key
 * @over_high: pages above memory.high
 * @cred: credentials
 * @memcg: what it had by set_active_memcg()
 */
struct ktask_own {
	unsigned int		flags;
	unsigned long		pkeys;
	unsigned int		over_high;
	const struct cred	*cred;
	struct mem_cgroup	*memcg;
};

void ktask_context_capture(struct ktask_context *kx, unsigned int flags);
void ktask_context_adopt(struct ktask_context *kx, struct ktask_own *own);
void ktask_context_drop(struct ktask_context *kx, struct ktask_own *own);
void ktask_context_settle(struct ktask_context *kx);

typedef void (*ktask_test_func)(void);

/**
 * struct ktask_test_hooks - how the KUnit suite steers the engine
 * @before_join: called by each worker between dequeue and join
 * @before_lend: called before a helper's priority is changed
 * @on_place: called when a node for a helper is looked for
 * @early: 1 for the limits before user space, 0 for those after, -1 for real
 * @force_cut: cut tasks into chunks even when there can be no helper
 * @ignore_load: treat every CPU as idle
 * @anywhere: helpers stay on whatever CPUs they are
 * @all_wanted: treat the CPU of each helper as wanted by others
 * @masks_busy: helpers can't be narrowed, as if others changed masks of workers
 * @no_masks: helpers find no mask to be narrowed with, or to look for an idle CPU
 * @leave_queued: the timer takes no item back
 * @no_poll: the caller waits until it is woken
 */
struct ktask_test_hooks {
	ktask_test_func	before_join;
	ktask_test_func	before_lend;
	ktask_test_func	on_place;
	int		early;
	bool		force_cut;
	bool		ignore_load;
	bool		anywhere;
	bool		all_wanted;
	bool		masks_busy;
	bool		no_masks;
	bool		leave_queued;
	bool		no_poll;
};

#if IS_ENABLED(CONFIG_KTASK_KUNIT_TEST)
struct kernel_param;

extern struct ktask_test_hooks ktask_test_hooks;
int ktask_test_helper_limit(int nid);
int ktask_test_nr_helpers(void);
int ktask_test_nr_helpers_of(int nid);
const struct kernel_param *ktask_test_param(const char *name);
int ktask_test_nr_free_works(void);
int ktask_test_nr_free_masks(void);
int ktask_test_nr_works(void);
bool ktask_test_take_back_queued(void);
#endif

#endif /* _KERNEL_KTASK_INTERNAL_H */
