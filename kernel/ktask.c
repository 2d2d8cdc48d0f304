// SPDX-License-Identifier: GPL-2.0-only
/*
 * ktask.c - spread long kernel jobs over idle CPUs
 */

#define pr_fmt(fmt) "ktask: " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/ktask.h>
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/nodemask.h>
#include <linux/overflow.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/deadline.h>
#include <linux/sched/prio.h>
#include <linux/sched/rt.h>
#include <linux/sched/stat.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/topology.h>
#include <linux/workqueue.h>
#include <uapi/linux/sched/types.h>
#include <kunit/visibility.h>

#include "ktask_internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/ktask.h>

/**
 * DOC: Theory of operation
 *
 * The caller describes its job as a task: one or more parts, each a range on a
 * NUMA node, and a function that does a chunk of a range.  The engine queues
 * helpers, work items of an unbound workqueue whose workers run at the lowest
 * nice level, and the caller starts to take chunks off the parts at once.  A
 * helper that gets to run joins the task and takes chunks too.  When no chunk
 * is left the caller detaches the helpers that have not joined yet, waits for
 * those that have, and returns.  It never waits for a helper that has not
 * joined, so it needs no worker and no free CPU to make progress.
 *
 * Helpers start only for idle CPUs, and leave at the end of their chunk when
 * their CPU is wanted by others or when they exceed the limits.  Threads that
 * get to the end of a chunk look for idle CPUs again, so concurrency follows
 * the load both ways.
 *
 * While the caller waits, it lends its priority to one helper at a time: that
 * helper may sit at the lowest priority on a CPU that got busy meanwhile.
 *
 * Helpers run only on CPUs where the caller may, and take over from it what the
 * client's flags say, see ktask_context.c.
 *
 * Nothing is allocated and no sleeping lock is taken.  A task lives on the
 * caller's stack, helpers' work items come from a pool that is set up at boot.
 */

/*
 * Names: kt is a task, kn a part of it on a NUMA node, kc the client's ctl,
 * kh a thread that works on the task (the caller's own, or that of a helper's
 * work item) and kw a helper's work item.
 *
 * Locking.  Fields below are marked with a letter:
 *
 * L: ktask_lock.  Taken with bottom halves off, for ktask_timer.  Nests inside
 *    kn_lock, and outside the workqueue's pool locks.
 * N: ktask_node.kn_lock.  Written under it; a read without it is a guess, for
 *    choosing a part, and is repeated under the lock.
 * C: set up before the first helper is queued, constant then.
 * T: only by the thread itself while it works on the task; by the caller after
 *    the thread left, which ktask_lock orders.
 * A: atomic, or a lone flag whose accesses are marked.
 *
 * A caller whose helpers have all left, or were never added, needs no lock for its
 * task and the parts of that: ktask_caller_wait() orders what they did before.
 */

/* The first chunks take 1/4 of a thread's share or less, as with padata before. */
#define KTASK_CHUNKS_PER_THREAD		4

/*
 * Minimum chunks in a chunk at most.  A helper keeps its chunk when others come to
 * want its CPU, and its caller may have to wait for it: that is bounded by what the
 * client knows, not by the size of the task.  A minimum chunk pays for starting a
 * helper, so one that is so many times as large pays it many times over.
 */
#define KTASK_MAX_STEPS			16

/*
 * Threads of a task after boot.  Memory bandwidth of a node ends scaling at 8
 * to 16 threads on the machines that were measured for earlier attempts.
 */
#define KTASK_MAX_THREADS		16

/* Leave one CPU in five to others, so that a task is never all they see. */
#define KTASK_CPU_PERCENT		80

/*
 * Work items per two possible CPUs.  A task before user space wants one for
 * each CPU; detached items whose workers have not run yet, and migration, want
 * some besides.
 */
#define KTASK_WORKS_PER_2_CPUS		3

/* How often a task looks for idle CPUs: a helper takes some 50 us to start. */
#define KTASK_LOOK_INTERVAL		DIV_ROUND_UP(HZ, 100)

/*
 * Twice as long for each helper in a row that came in vain, up to this power of
 * two: 0.64 s.  A CPU that seems idle may be busy whenever a worker gets there.
 */
#define KTASK_MAX_VAIN			6

/*
 * Masks for helpers that change theirs: at most this many, and bytes per possible
 * CPU.  Few change it at a time, and not for long.
 */
#define KTASK_MAX_MASKS			64
#define KTASK_MASK_BYTES_PER_CPU	32

/*
 * How often a helper tries to go where its caller may run, a jiffy apart, while
 * others change masks of workers.
 */
#define KTASK_NARROW_TRIES		4

/* How long one helper has its caller's priority before it is another's turn. */
#define KTASK_BOOST_TURN		HZ

/* Take an unstarted item back long before WQ_WATCHDOG's default of 30 s. */
#define KTASK_QUEUE_TIMEOUT		(2 * HZ)

/* What a deadline caller lends: SCHED_FIFO at sched_set_fifo()'s level. */
#define KTASK_DEADLINE_RT_PRIO		(MAX_RT_PRIO / 2)

/**
 * struct ktask_thread - a thread that works on a task
 * @kh_list: in ktask_free, ktask_queued, &ktask_task.kt_joined or
 *	     &ktask_node.kn_failed (L)
 * @kh_task: the task, NULL when there is none (L)
 * @kh_node: the part that it takes chunks of (T)
 * @kh_start: start of its chunk (T)
 * @kh_end: end of its chunk (T)
 * @kh_offset: units of the part before its chunk (T)
 * @kh_chunks: number of chunks that it finished (T)
 * @kh_failed: its chunk failed, and is the range given here (T)
 */
struct ktask_thread {
	struct list_head	kh_list;
	struct ktask_task	*kh_task;
	struct ktask_node	*kh_node;
	void			*kh_start;
	void			*kh_end;
	size_t			kh_offset;
	unsigned int		kh_chunks;
	bool			kh_failed;
};

/*
 * enum ktask_state - what becomes of a work item
 *
 * FREE     to QUEUED   ktask_add_helper(), the only way out of the pool
 * QUEUED   to JOINED   its worker, by ktask_helper_join()
 * QUEUED   to FREE     ktask_detach() cancelled the work
 * QUEUED   to DETACHED ktask_detach() could not, a worker is on its way
 * DETACHED to FREE     its worker, which touches nothing else
 * QUEUED   to LEFT     its worker, by ktask_helper_join() if it is not wanted
 * JOINED   to LEFT     its worker, by ktask_helper_leave()
 * LEFT     to FREE     its worker, or for a failed chunk the caller after undo
 */
enum ktask_state {
	KTASK_WORK_FREE,
	KTASK_WORK_QUEUED,
	KTASK_WORK_JOINED,
	KTASK_WORK_LEFT,
	KTASK_WORK_DETACHED,
};

/**
 * struct ktask_work - a helper's work item
 * @kw_work: initialised once at boot
 * @kw_thread: the helper as a thread of its task
 * @kw_helper: the worker, valid while JOINED (L)
 * @kw_queued: low half of jiffies when it was queued (L)
 * @kw_nid: the node that it was queued on or runs on, and counts against; while
 *	    JOINED only the helper writes it (L)
 * @kw_prio: the kernel priority that it runs at or was lent (L)
 * @kw_own_prio: what that was when it joined (L)
 * @kw_state: see &enum ktask_state (L)
 * @kw_leaving: the helper is about to leave, it is only lent more (L)
 * @kw_charged: it counts against the limits (L)
 * @kw_unwanted: the helper has to leave for the load or a limit (T)
 * @kw_strayed: it can't follow its caller to where that may run (T)
 * @kw_boosting: the caller is lending its priority, the helper must stay (L)
 */
struct ktask_work {
	struct work_struct	kw_work;
	struct ktask_thread	kw_thread;
	struct task_struct	*kw_helper;
	u32			kw_queued;
	int			kw_nid;
	short			kw_prio;
	short			kw_own_prio;
	u8			kw_state;
	bool			kw_leaving;
	bool			kw_boosting;
	bool			kw_charged;
	bool			kw_unwanted;
	bool			kw_strayed;
};

/**
 * struct ktask_task - a task, on the stack of its caller
 * @kt_ctl: what the client told (C)
 * @kt_nodes: its parts (C)
 * @kt_nr_nodes: number of parts (C)
 * @kt_caller: the caller (C)
 * @kt_cpus: where the caller may run; others may change it (A)
 * @kt_context: what helpers take over from the caller (C)
 * @kt_map: lock class of the call site (C)
 * @kt_step: minimum chunk (C)
 * @kt_align: alignment of cuts (C)
 * @kt_max_helpers: most helpers at a time (C)
 * @kt_self: the caller as a thread of the task (T)
 * @kt_error: first error in time (A)
 * @kt_next_look: jiffies at which to look for idle CPUs again (A)
 * @kt_nr_helpers: helpers QUEUED or JOINED (L, read without it as a guess)
 * @kt_nr_queued: those of them QUEUED (L, likewise)
 * @kt_vain: helpers in a row that left without a chunk (L, likewise)
 * @kt_active: threads that have begun a chunk and not left (L)
 * @kt_threads: most of them at a time (L)
 * @kt_waiting: the caller waits for helpers, nothing is left to take (L, likewise)
 * @kt_joined: threads of JOINED work items (L)
 * @kt_waiters: in ktask_waiters while kt_waiting (L)
 */
struct ktask_task {
	struct ktask_ctl	*kt_ctl;
	struct ktask_node	*kt_nodes;
	size_t			kt_nr_nodes;
	struct task_struct	*kt_caller;
	const struct cpumask	*kt_cpus;
	struct ktask_context	kt_context;
	struct lockdep_map	*kt_map;
	size_t			kt_step;
	size_t			kt_align;
	unsigned int		kt_max_helpers;
	struct ktask_thread	kt_self;
	int			kt_error;
	unsigned long		kt_next_look;
	unsigned int		kt_nr_helpers;
	unsigned int		kt_nr_queued;
	unsigned int		kt_vain;
	unsigned int		kt_active;
	unsigned int		kt_threads;
	bool			kt_waiting;
	struct list_head	kt_joined;
	struct list_head	kt_waiters;
};

/**
 * struct ktask_nid - what the limits need to know of a NUMA node
 * @cpus: number of online CPUs (L, read without it as a guess)
 * @limit: most helpers after boot (L, likewise)
 * @helpers: helpers QUEUED or JOINED that count, see ktask_charge() (L, likewise)
 * @queued: those of them QUEUED (L, likewise)
 */
struct ktask_nid {
	int			cpus;
	int			limit;
	int			helpers;
	int			queued;
};

/* A mask of cpumask_size() bytes; a free one holds the next. */
union ktask_mask {
	union ktask_mask	*next;
	struct cpumask		mask;
};

/*
 * What ktask takes per possible CPU, and as many nodes; lockdep makes a work_struct
 * big.  Items are allocated one by one, and 128 bytes are a size of kmalloc().
 */
static_assert(IS_ENABLED(CONFIG_LOCKDEP) ||
	      (sizeof(struct ktask_work) <= 128 &&
	       128 * KTASK_WORKS_PER_2_CPUS / 2 + KTASK_MASK_BYTES_PER_CPU +
	       sizeof(struct ktask_nid) <= 240));

static DEFINE_SPINLOCK(ktask_lock);
static LIST_HEAD(ktask_free);		/* L: FREE, oldest first */
static LIST_HEAD(ktask_queued);		/* L: QUEUED, oldest first */
static LIST_HEAD(ktask_waiters);	/* L: tasks whose caller waits */
static union ktask_mask *ktask_masks;	/* L: free ones */
static struct ktask_nid *ktask_nids;	/* by node id */
static int ktask_nr_helpers;		/* L, guessed: those that count, in all */
static int ktask_limit;			/* L, guessed: most of them after boot */
static struct workqueue_struct *ktask_wq __ro_after_init;
static int ktask_nr_works __ro_after_init;
static atomic_long_t ktask_stats[NR_KTASK_STATS];

/* Parameters; a reader takes what it finds. */
static bool ktask_enabled = true;
static unsigned int ktask_max_threads = KTASK_MAX_THREADS;
static bool ktask_max_threads_set;
static unsigned int ktask_cpu_percent = KTASK_CPU_PERCENT;

#if IS_ENABLED(CONFIG_KTASK_KUNIT_TEST)
struct ktask_test_hooks ktask_test_hooks = { .early = -1 };
EXPORT_SYMBOL_IF_KUNIT(ktask_test_hooks);
#define ktask_test_hook(hook)	READ_ONCE(ktask_test_hooks.hook)
#else
static const struct ktask_test_hooks ktask_no_hooks = { .early = -1 };
#define ktask_test_hook(hook)	(ktask_no_hooks.hook)
#endif

static void ktask_stat_add(enum ktask_stat stat, long nr)
{
	atomic_long_add(nr, &ktask_stats[stat]);
}

static void ktask_stat_max(enum ktask_stat stat, long nr)
{
	long old = atomic_long_read(&ktask_stats[stat]);

	while (nr > old &&
	       !atomic_long_try_cmpxchg(&ktask_stats[stat], &old, nr))
		;
}

/* ---- Lockdep ------------------------------------------------------------ */

/*
 * Each call site has a lock class.  The caller takes it for writing, for a
 * moment, under all locks that it holds, and each chunk is in a read-side
 * section of it, wherever it runs.  So a thread function that takes a lock of
 * its caller closes a circle.
 *
 * Calls may be nested, also in each other's thread functions, and that is no
 * deadlock: a nested call waits only for its own chunks.  So it takes the class
 * as a recursive reader, which closes no circle.  What its chunks take is still
 * seen to be taken under the locks and classes around it when the caller does
 * one of them.
 */
#ifdef CONFIG_LOCKDEP
static struct lockdep_map ktask_chunk_map =
	STATIC_LOCKDEP_MAP_INIT("ktask_chunk", &ktask_chunk_map);

static void ktask_lockdep_begin(struct lockdep_map *map)
{
	lock_map_acquire_read(&ktask_chunk_map);
	lock_map_acquire_read(map);
}

static void ktask_lockdep_end(struct lockdep_map *map)
{
	lock_map_release(map);
	lock_map_release(&ktask_chunk_map);
}

static void ktask_lockdep_caller(struct lockdep_map *map)
{
	if (lock_is_held(&ktask_chunk_map))
		lock_map_acquire_read(map);
	else
		lock_map_acquire(map);
	lock_map_release(map);
}
#else
static void ktask_lockdep_begin(struct lockdep_map *map) { }
static void ktask_lockdep_end(struct lockdep_map *map) { }
static void ktask_lockdep_caller(struct lockdep_map *map) { }
#endif

/* ---- Partitioning: pure arithmetic -------------------------------------- */

/**
 * ktask_step() - the minimum chunk that keeps to an alignment
 * @min_chunk_size: the client's minimum, in units
 * @align: the client's alignment, in units
 *
 * Return: @min_chunk_size rounded up to a multiple of @align, in units; the
 * largest such multiple where that would overflow.
 */
VISIBLE_IF_KUNIT size_t ktask_step(size_t min_chunk_size, size_t align)
{
	size_t rest;

	min_chunk_size = max_t(size_t, min_chunk_size, 1);
	align = max_t(size_t, align, 1);
	rest = min_chunk_size % align;
	if (!rest)
		return min_chunk_size;
	min_chunk_size -= rest;
	if (check_add_overflow(min_chunk_size, align, &align))
		return min_chunk_size;
	return align;
}
EXPORT_SYMBOL_IF_KUNIT(ktask_step);

/**
 * ktask_chunk_size() - size of the next chunk
 * @origin: where the chunk starts, in units from where alignment counts
 * @remaining: units left in the part, at least 1
 * @step: minimum chunk, a multiple of @align
 * @align: alignment of cuts
 * @threads: threads that share the part, at least 1
 *
 * Guided self-scheduling (Polychronopoulos and Kuck, 1987): a chunk is a
 * fraction of what is left, so chunks shrink towards the minimum and threads
 * end at about the same time.  It is %KTASK_MAX_STEPS minimum chunks at most.
 *
 * Return: Number of units, 1 to @remaining.
 */
VISIBLE_IF_KUNIT size_t ktask_chunk_size(size_t origin, size_t remaining,
					 size_t step, size_t align,
					 unsigned int threads)
{
	size_t size = remaining / threads / KTASK_CHUNKS_PER_THREAD;

	size = clamp_t(size_t, size / step, 1, KTASK_MAX_STEPS) * step;
	if (align > 1)
		size -= origin % align;
	return min(size, remaining);
}
EXPORT_SYMBOL_IF_KUNIT(ktask_chunk_size);

/**
 * ktask_nr_threads() - number of threads that a task can use
 * @nodes: its parts
 * @nr_nodes: number of parts
 * @step: minimum chunk
 * @max_threads: upper limit
 *
 * Return: One for each minimum chunk and at least one for each part that is not
 * empty, up to @max_threads; 0 when there is nothing to do.
 */
VISIBLE_IF_KUNIT unsigned int ktask_nr_threads(const struct ktask_node *nodes,
					       size_t nr_nodes, size_t step,
					       unsigned int max_threads)
{
	const struct ktask_node *kn;
	unsigned int threads = 0;
	size_t chunks;

	for (kn = nodes; kn < nodes + nr_nodes; kn++) {
		if (!kn->kn_task_size)
			continue;
		chunks = max_t(size_t, kn->kn_task_size / step, 1);
		if (chunks >= max_threads - threads)
			return max_threads;
		threads += chunks;
	}
	return threads;
}
EXPORT_SYMBOL_IF_KUNIT(ktask_nr_threads);

/* ---- Limits ------------------------------------------------------------- */

/* Is the system still booting, so that its CPUs are for the taking? */
static bool ktask_early(void)
{
	int early = ktask_test_hook(early);

	return early >= 0 ? early : system_state < SYSTEM_RUNNING;
}

/* The online CPUs of node @nid, without @leaving. */
static int ktask_count_cpus(int nid, int leaving)
{
	int cpus = 0;
	int cpu;

	for_each_cpu_and(cpu, cpumask_of_node(nid), cpu_online_mask)
		cpus += cpu != leaving;
	return cpus;
}

/* Set the limits by the online CPUs, without @leaving unless that is -1. */
static void ktask_set_limits_locked(int leaving)
{
	unsigned int percent = READ_ONCE(ktask_cpu_percent);
	int nid, cpus, limit;

	lockdep_assert_held(&ktask_lock);
	if (!READ_ONCE(ktask_enabled))
		percent = 0;
	for_each_node(nid) {
		cpus = ktask_count_cpus(nid, leaving);
		limit = cpus * percent / 100;
		if (cpus && percent)
			limit = max(limit, 1);
		WRITE_ONCE(ktask_nids[nid].cpus, cpus);
		WRITE_ONCE(ktask_nids[nid].limit, limit);
	}
	cpus = num_online_cpus() - (leaving >= 0);
	WRITE_ONCE(ktask_limit, cpus * percent / 100);
}

/* Has the administrator left helpers any CPU? */
static bool ktask_allowed(void)
{
	return READ_ONCE(ktask_enabled) && READ_ONCE(ktask_cpu_percent);
}

/* The most helpers at a time on node @nid, or in the system. */
static int ktask_helper_limit(int nid)
{
	if (ktask_early() && ktask_allowed())
		return nid == NUMA_NO_NODE ? INT_MAX :
					     READ_ONCE(ktask_nids[nid].cpus);
	return nid == NUMA_NO_NODE ? READ_ONCE(ktask_limit) :
				     READ_ONCE(ktask_nids[nid].limit);
}

/*
 * May there be @more helpers on node @nid than there are, and @more_in_all in
 * the system?
 */
static bool ktask_within_limits(int nid, int more, int more_in_all)
{
	return READ_ONCE(ktask_nr_helpers) + more_in_all <=
			ktask_helper_limit(NUMA_NO_NODE) &&
	       READ_ONCE(ktask_nids[nid].helpers) + more <=
			ktask_helper_limit(nid);
}

/* May a helper of the task run on @cpu? */
static bool ktask_cpu_usable(const struct ktask_task *kt, int cpu)
{
	/* What comes of a change is put right by ktask_follow_cpus(). */
	return data_race(cpumask_test_cpu(cpu, kt->kt_cpus)) &&
	       workqueue_unbound_cpu(cpu);
}

/*
 * Has node @nid an active CPU that helpers of the task may run on?  Workers can't
 * follow their caller to one that is about to go off.
 */
static bool ktask_node_usable(const struct ktask_task *kt, int nid)
{
	int cpu;

	for_each_cpu_and(cpu, cpumask_of_node(nid), cpu_active_mask) {
		if (ktask_cpu_usable(kt, cpu))
			return true;
	}
	return false;
}

/*
 * Has node @nid an idle CPU for one more helper of the task, besides those that
 * queued helpers will take?
 */
static bool ktask_node_idle(const struct ktask_task *kt, int nid)
{
	int queued = READ_ONCE(ktask_nids[nid].queued);
	int cpu;

	if (ktask_early() || ktask_test_hook(ignore_load))
		return ktask_node_usable(kt, nid);
	for_each_cpu_and(cpu, cpumask_of_node(nid), cpu_active_mask) {
		if (ktask_cpu_usable(kt, cpu) && idle_cpu(cpu) && queued-- <= 0)
			return true;
	}
	return false;
}

/*
 * Do other tasks want the CPU that a helper runs on?  One that is about to go from
 * there to the caller's CPUs is judged there.
 */
static bool ktask_cpu_wanted(const struct ktask_task *kt)
{
	if (ktask_test_hook(all_wanted))
		return true;
	return !single_task_running() && !ktask_early() &&
	       ktask_cpu_usable(kt, raw_smp_processor_id()) &&
	       !ktask_test_hook(ignore_load);
}

static bool ktask_has_room(const struct ktask_task *kt, int nid,
			   int more_in_all)
{
	return ktask_within_limits(nid, 1, more_in_all) &&
	       ktask_node_idle(kt, nid);
}

/*
 * The nearest node to node @nid on whose CPUs helpers of the task may run, or
 * NUMA_NO_NODE.  Where the caller may run goes before where the memory is.
 */
static int ktask_near_node(const struct ktask_task *kt, int nid)
{
	int best = NUMA_NO_NODE;
	int i;

	if (ktask_node_usable(kt, nid))
		return nid;
	for_each_online_node(i) {
		if (ktask_node_usable(kt, i) &&
		    (best == NUMA_NO_NODE ||
		     node_distance(nid, i) < node_distance(nid, best)))
			best = i;
	}
	return best;
}

/*
 * The node on whose CPUs one more helper for a part of node @nid can run, or
 * NUMA_NO_NODE if there is none now.  @more_in_all is 0 for a helper that takes
 * the place of another one that is still counted.
 */
static int ktask_place(const struct ktask_task *kt, int nid, int more_in_all)
{
	ktask_test_func on_place = ktask_test_hook(on_place);
	bool anywhere = nid == NUMA_NO_NODE;

	if (on_place)
		on_place();
	nid = ktask_near_node(kt, anywhere ? numa_node_id() : nid);
	if (nid == NUMA_NO_NODE || ktask_has_room(kt, nid, more_in_all))
		return nid;
	if (!anywhere)
		return NUMA_NO_NODE;
	for_each_online_node(nid) {
		if (READ_ONCE(ktask_nids[nid].cpus) &&
		    ktask_has_room(kt, nid, more_in_all))
			return nid;
	}
	return NUMA_NO_NODE;
}

/* ---- Work items --------------------------------------------------------- */

static void ktask_put_work(struct ktask_work *kw)
{
	lockdep_assert_held(&ktask_lock);
	kw->kw_state = KTASK_WORK_FREE;
	list_add_tail(&kw->kw_thread.kh_list, &ktask_free);
}

/*
 * Count item @kw against the limits of the system and of its node: from when it is
 * queued until it leaves its task, or is told that it has to, as it is above a limit or
 * where its caller may not run.
 */
static void ktask_charge(struct ktask_work *kw)
{
	struct ktask_nid *kd = &ktask_nids[kw->kw_nid];

	lockdep_assert_held(&ktask_lock);
	kw->kw_charged = true;
	WRITE_ONCE(kd->helpers, kd->helpers + 1);
	WRITE_ONCE(ktask_nr_helpers, ktask_nr_helpers + 1);
}

static void ktask_uncharge(struct ktask_work *kw)
{
	struct ktask_nid *kd = &ktask_nids[kw->kw_nid];

	lockdep_assert_held(&ktask_lock);
	if (!kw->kw_charged)
		return;
	kw->kw_charged = false;
	WRITE_ONCE(kd->helpers, kd->helpers - 1);
	WRITE_ONCE(ktask_nr_helpers, ktask_nr_helpers - 1);
}

/* The helper of item @kw runs on node @nid, and is counted there. */
static void ktask_recharge(struct ktask_work *kw, int nid)
{
	lockdep_assert_held(&ktask_lock);
	if (nid == kw->kw_nid)
		return;
	ktask_uncharge(kw);
	kw->kw_nid = nid;
	ktask_charge(kw);
}

/* Item @kw becomes QUEUED, if @nr is 1, or ceases to be, if it is -1. */
static void ktask_count_queued(struct ktask_work *kw, int nr)
{
	struct ktask_task *kt = kw->kw_thread.kh_task;
	struct ktask_nid *kd = &ktask_nids[kw->kw_nid];

	lockdep_assert_held(&ktask_lock);
	WRITE_ONCE(kd->queued, kd->queued + nr);
	WRITE_ONCE(kt->kt_nr_queued, kt->kt_nr_queued + nr);
}

/* An item is no longer in ktask_queued or in its task's kt_joined. */
static void ktask_unlink(struct ktask_work *kw)
{
	struct ktask_thread *kh = &kw->kw_thread;

	lockdep_assert_held(&ktask_lock);
	list_del(&kh->kh_list);
	if (kw->kw_state == KTASK_WORK_QUEUED)
		ktask_count_queued(kw, -1);
	ktask_uncharge(kw);
	WRITE_ONCE(kh->kh_task->kt_nr_helpers, kh->kh_task->kt_nr_helpers - 1);
	WRITE_ONCE(kh->kh_node->kn_threads, kh->kh_node->kn_threads - 1);
	kh->kh_task = NULL;
}

/*
 * Take an item back that no worker has joined with.  cancel_work() is called
 * under ktask_lock so that nobody can have queued the item again in between.
 */
static void ktask_detach(struct ktask_work *kw)
{
	lockdep_assert_held(&ktask_lock);
	ktask_unlink(kw);
	kw->kw_state = KTASK_WORK_DETACHED;
	if (cancel_work(&kw->kw_work)) {
		ktask_put_work(kw);
		ktask_stat_add(KTASK_STAT_HELPERS_CANCELLED, 1);
	} else {
		ktask_stat_add(KTASK_STAT_HELPERS_DETACHED, 1);
	}
}

/* Limits became lower: helpers that have not started go before those that have. */
static void ktask_detach_excess(void)
{
	struct ktask_work *kw, *next;

	lockdep_assert_held(&ktask_lock);
	list_for_each_entry_safe(kw, next, &ktask_queued, kw_thread.kh_list) {
		if (!ktask_within_limits(kw->kw_nid, 0, 0))
			ktask_detach(kw);
	}
}

/*
 * Chunks are taken by what limits were seen in an RCU read-side section, see
 * ktask_take_chunk(): what starts after here keeps to the new ones.
 */
static void ktask_set_limits(int leaving)
{
	spin_lock_bh(&ktask_lock);
	ktask_set_limits_locked(leaving);
	ktask_detach_excess();
	spin_unlock_bh(&ktask_lock);
	synchronize_rcu();
}

/* Limits only grow here, so nobody has to be waited for. */
static int ktask_cpu_up(unsigned int cpu)
{
	spin_lock_bh(&ktask_lock);
	ktask_set_limits_locked(-1);
	spin_unlock_bh(&ktask_lock);
	return 0;
}

static int ktask_cpu_down(unsigned int cpu)
{
	ktask_set_limits(cpu);
	return 0;
}

/*
 * On a loaded machine the workers may not get to run for long; nobody shall
 * see their items as a workqueue that is stuck.
 */
static void ktask_take_back(struct timer_list *timer)
{
	struct ktask_work *kw, *next;

	spin_lock(&ktask_lock);
	list_for_each_entry_safe(kw, next, &ktask_queued, kw_thread.kh_list) {
		if ((u32)jiffies - kw->kw_queued < KTASK_QUEUE_TIMEOUT ||
		    ktask_test_hook(leave_queued))
			break;
		ktask_detach(kw);
	}
	if (!list_empty(&ktask_queued))
		mod_timer(timer, jiffies + KTASK_QUEUE_TIMEOUT / 2);
	spin_unlock(&ktask_lock);
}

static DEFINE_TIMER(ktask_timer, ktask_take_back);

/* Is there nothing left of the task that a helper may do? */
static bool ktask_over(const struct ktask_task *kt)
{
	return READ_ONCE(kt->kt_waiting) || READ_ONCE(kt->kt_error);
}

/*
 * Queue a helper for part @kn on node @nid, where ktask_place() found room.
 *
 * Return: whether there was room, and an item, after all.
 */
static bool ktask_add_helper(struct ktask_task *kt, struct ktask_node *kn,
			     int nid)
{
	struct ktask_work *kw;

	lockdep_assert_held(&ktask_lock);
	if (ktask_over(kt) || kt->kt_nr_helpers >= kt->kt_max_helpers ||
	    !ktask_within_limits(nid, 1, 1))
		return false;
	kw = list_first_entry_or_null(&ktask_free, struct ktask_work,
				      kw_thread.kh_list);
	if (!kw)
		return false;

	kw->kw_state = KTASK_WORK_QUEUED;
	kw->kw_nid = nid;
	kw->kw_queued = jiffies;
	kw->kw_leaving = false;
	kw->kw_unwanted = false;
	kw->kw_strayed = false;
	kw->kw_thread.kh_task = kt;
	kw->kw_thread.kh_node = kn;
	kw->kw_thread.kh_chunks = 0;
	kw->kw_thread.kh_failed = false;
	ktask_count_queued(kw, 1);
	ktask_charge(kw);
	WRITE_ONCE(kt->kt_nr_helpers, kt->kt_nr_helpers + 1);
	WRITE_ONCE(kn->kn_threads, kn->kn_threads + 1);
	list_move_tail(&kw->kw_thread.kh_list, &ktask_queued);
	if (!timer_pending(&ktask_timer))
		mod_timer(&ktask_timer, jiffies + KTASK_QUEUE_TIMEOUT);
	ktask_stat_add(KTASK_STAT_HELPERS_STARTED, 1);
	queue_work_node(nid, ktask_wq, &kw->kw_work);
	return true;
}

/*
 * The part where one more thread helps most, of those whose nodes are not in
 * @full.  Dividing what is left by the threads there spreads helpers in
 * proportion (the method of D'Hondt and Jefferson).
 */
static struct ktask_node *ktask_most_needy(struct ktask_task *kt,
					   const nodemask_t *full)
{
	struct ktask_node *best = NULL;
	struct ktask_node *kn;
	unsigned int threads;
	size_t left, need;
	size_t most = 0;

	for (kn = kt->kt_nodes; kn < kt->kt_nodes + kt->kt_nr_nodes; kn++) {
		left = READ_ONCE(kn->kn_remaining);
		threads = READ_ONCE(kn->kn_threads);
		need = left / (threads + 1);
		if (need <= most || (threads && left < kt->kt_step) ||
		    (kn->kn_nid != NUMA_NO_NODE && node_isset(kn->kn_nid, *full)))
			continue;
		most = need;
		best = kn;
	}
	return best;
}

/*
 * The same, and the node for it.  CPUs are looked at once for each node that the
 * parts belong to.  Not inline, or the mask would lie on the stack below thread
 * functions.
 */
static noinline struct ktask_node *ktask_neediest(struct ktask_task *kt,
						  int *nid)
{
	nodemask_t full = NODE_MASK_NONE;
	struct ktask_node *kn;

	for (;;) {
		kn = ktask_most_needy(kt, &full);
		if (!kn)
			return NULL;
		*nid = ktask_place(kt, kn->kn_nid, 1);
		if (*nid != NUMA_NO_NODE)
			return kn;
		/* If there is no room anywhere there is none on a node. */
		if (kn->kn_nid == NUMA_NO_NODE)
			return NULL;
		node_set(kn->kn_nid, full);
	}
}

/*
 * Is there a chunk for one more helper, besides those that queued ones and the
 * current thread will take?
 */
static bool ktask_chunk_to_spare(const struct ktask_task *kt)
{
	size_t taken = (size_t)READ_ONCE(kt->kt_nr_queued) + 1;
	const struct ktask_node *kn;
	size_t left;

	for (kn = kt->kt_nodes; kn < kt->kt_nodes + kt->kt_nr_nodes; kn++) {
		left = READ_ONCE(kn->kn_remaining);
		left = left < kt->kt_step ? !!left : left / kt->kt_step;
		if (left > taken)
			return true;
		taken -= left;
	}
	return false;
}

/* Queue helpers while there is work, a CPU and an item for them. */
static void ktask_add_helpers(struct ktask_task *kt)
{
	struct ktask_node *kn;
	bool added;
	int nid;

	while (READ_ONCE(kt->kt_nr_helpers) < kt->kt_max_helpers &&
	       ktask_chunk_to_spare(kt)) {
		kn = ktask_neediest(kt, &nid);
		if (!kn)
			return;
		spin_lock_bh(&ktask_lock);
		added = ktask_add_helper(kt, kn, nid);
		spin_unlock_bh(&ktask_lock);
		if (!added)
			return;
	}
}

/* At most once in a while, see whether CPUs have become idle. */
static void ktask_look(struct ktask_task *kt)
{
	unsigned long wait = KTASK_LOOK_INTERVAL;

	if (time_before(jiffies, READ_ONCE(kt->kt_next_look)))
		return;
	wait <<= READ_ONCE(kt->kt_vain);
	WRITE_ONCE(kt->kt_next_look, jiffies + wait);
	ktask_add_helpers(kt);
}

/* ---- Priority ----------------------------------------------------------- */

/*
 * The kernel priority that @caller lends, lower is better.  A realtime one it may
 * itself have from somebody who waits for its rt_mutex.  What is read here may be
 * changed meanwhile; the next look sees that.
 */
static int ktask_lent_prio(struct task_struct *caller)
{
	int prio = READ_ONCE(caller->prio);

	if (dl_prio(prio))
		return MAX_RT_PRIO - 1 - KTASK_DEADLINE_RT_PRIO;
	if (rt_prio(prio))
		return prio;
	if (READ_ONCE(caller->policy) == SCHED_IDLE)
		return NICE_TO_PRIO(MAX_NICE);
	return READ_ONCE(caller->static_prio);
}

/*
 * What a helper has as its own.  One that somebody made a deadline thread has more
 * than any caller could lend it.
 */
static int ktask_own_prio(void)
{
	int prio = READ_ONCE(current->prio);

	return dl_prio(prio) ? prio : ktask_lent_prio(current);
}

static void ktask_lend_prio(struct task_struct *helper, int prio)
{
	struct sched_attr attr = {
		.sched_policy	= SCHED_NORMAL,
	};

	if (prio >= MAX_RT_PRIO) {
		attr.sched_nice = PRIO_TO_NICE(prio);
	} else {
		attr.sched_policy = SCHED_FIFO;
		if (READ_ONCE(current->policy) == SCHED_RR)
			attr.sched_policy = SCHED_RR;
		attr.sched_priority = MAX_RT_PRIO - 1 - prio;
	}
	WARN_ON_ONCE(sched_setattr_nocheck(helper, &attr));
}

/* A helper that itself waits in a nested task passes the boost on. */
static void ktask_wake_nested(struct task_struct *helper)
{
	struct ktask_task *kt;

	lockdep_assert_held(&ktask_lock);
	list_for_each_entry(kt, &ktask_waiters, kt_waiters) {
		if (kt->kt_caller == helper)
			wake_up_process(helper);
	}
}

/*
 * Have helper @kw run at @prio.  Gives up ktask_lock meanwhile; kw_boosting keeps
 * the helper in the task until it has been taken again.
 */
static void ktask_set_prio(struct ktask_work *kw, int prio)
__must_hold(&ktask_lock)
{
	ktask_test_func before_lend = ktask_test_hook(before_lend);
	struct task_struct *helper;

	lockdep_assert_held(&ktask_lock);
	kw->kw_prio = prio;
	kw->kw_boosting = true;
	helper = get_task_struct(kw->kw_helper);
	spin_unlock_bh(&ktask_lock);

	if (before_lend)
		before_lend();
	ktask_lend_prio(helper, prio);

	spin_lock_bh(&ktask_lock);
	kw->kw_boosting = false;
	if (kw->kw_leaving)
		wake_up_process(helper);
	ktask_wake_nested(helper);
	put_task_struct(helper);
}

/*
 * Lend the caller's priority to the first helper that it waits for, if its own is
 * less.  When the caller's becomes less, so does what was lent.
 *
 * Return: whether ktask_lock was given up.
 */
static bool ktask_boost(struct ktask_task *kt)
__must_hold(&ktask_lock)
{
	struct ktask_work *kw;
	int prio, had;

	lockdep_assert_held(&ktask_lock);
	kw = list_first_entry(&kt->kt_joined, struct ktask_work,
			      kw_thread.kh_list);
	prio = min(ktask_lent_prio(current), kw->kw_own_prio);
	had = kw->kw_prio;
	/* One that leaves is on its way out already: more helps, less never does. */
	if (had == prio || (kw->kw_leaving && had < prio))
		return false;
	ktask_set_prio(kw, prio);
	ktask_stat_add(KTASK_STAT_BOOSTS, prio < had);
	return true;
}

/*
 * The helper that has the caller's priority may wait for a lock that another one
 * holds.  So it is another's turn, once this one has given back what it was lent.
 */
static void ktask_boost_next(struct ktask_task *kt)
__must_hold(&ktask_lock)
{
	struct ktask_work *kw;

	lockdep_assert_held(&ktask_lock);
	if (list_empty(&kt->kt_joined) || list_is_singular(&kt->kt_joined))
		return;
	kw = list_first_entry(&kt->kt_joined, struct ktask_work,
			      kw_thread.kh_list);
	if (kw->kw_leaving)
		return;
	if (kw->kw_prio != kw->kw_own_prio)
		ktask_set_prio(kw, kw->kw_own_prio);
	list_move_tail(&kw->kw_thread.kh_list, &kt->kt_joined);
}

/*
 * Note what the worker has as its own, and run at the lowest nice level.  The
 * workers are at that level already unless somebody meddled with them; one that
 * was made a realtime thread is left alone.
 */
static void ktask_save_prio(struct sched_attr *own)
{
	own->sched_policy = current->policy;
	own->sched_nice = task_nice(current);
	own->sched_priority = current->rt_priority;
	if (own->sched_nice != MAX_NICE && own->sched_policy != SCHED_DEADLINE)
		set_user_nice(current, MAX_NICE);
}

/* After leaving its task, when nobody lends the helper anything any more. */
static void ktask_restore_prio(const struct sched_attr *own)
{
	if (current->policy == own->sched_policy &&
	    current->rt_priority == own->sched_priority &&
	    task_nice(current) == own->sched_nice)
		return;
	WARN_ON_ONCE(sched_setattr_nocheck(current, own));
}

/* ---- Chunks ------------------------------------------------------------- */

static void ktask_stop(struct ktask_task *kt, int error)
{
	cmpxchg(&kt->kt_error, 0, error);
}

/* Must the task not hand out chunks any more? */
static bool ktask_stopped(struct ktask_task *kt)
{
	if (READ_ONCE(kt->kt_error))
		return true;
	if (!ktask_signal_pending(kt->kt_ctl, kt->kt_caller))
		return false;
	ktask_stop(kt, -EINTR);
	return true;
}

/*
 * Is helper @kw above a limit?  It gives up its charge at once, so that no more
 * helpers leave than are too many.
 */
static bool ktask_above_limits(struct ktask_work *kw)
{
	bool above;

	if (ktask_within_limits(kw->kw_nid, 0, 0))
		return false;
	spin_lock_bh(&ktask_lock);
	above = !ktask_within_limits(kw->kw_nid, 0, 0);
	if (above)
		ktask_uncharge(kw);
	spin_unlock_bh(&ktask_lock);
	return above;
}

/* Must helper @kw, @above a limit or on a @wanted CPU or neither, give way? */
static bool ktask_must_leave(struct ktask_work *kw, bool above, bool wanted)
{
	if (above)
		ktask_stat_add(KTASK_STAT_HELPERS_LEFT_LIMIT, 1);
	else if (wanted)
		ktask_stat_add(KTASK_STAT_HELPERS_LEFT_BUSY, 1);
	else
		return false;
	kw->kw_unwanted = true;
	return true;
}

/*
 * A mask to write to, with any content, or NULL; ktask_put_mask() gives it back.
 * With CPUMASK_OFFSTACK it has no place on the stack.
 */
static struct cpumask *ktask_get_mask(void)
{
	union ktask_mask *m = ktask_masks;

	lockdep_assert_held(&ktask_lock);
	if (!m || ktask_test_hook(no_masks))
		return NULL;
	ktask_masks = m->next;
	return &m->mask;
}

static void ktask_put_mask(struct cpumask *mask)
{
	union ktask_mask *m = container_of(mask, union ktask_mask, mask);

	if (!mask)
		return;
	spin_lock_bh(&ktask_lock);
	m->next = ktask_masks;
	ktask_masks = m;
	spin_unlock_bh(&ktask_lock);
}

/*
 * Narrow the worker to CPUs where its caller may run.  While masks of workers are
 * being changed it tries again, but not when its caller only waits for it.
 *
 * Return: as workqueue_narrow_worker(), or -ECANCELED if the task is over.
 */
static int ktask_narrow(struct ktask_work *kw)
{
	struct ktask_task *kt = kw->kw_thread.kh_task;
	int tries = KTASK_NARROW_TRIES;
	struct cpumask *mask = NULL;
	int ret;

	for (;;) {
		ret = ktask_over(kt) ? -ECANCELED :
		      ktask_test_hook(masks_busy) ? -EBUSY :
		      workqueue_narrow_worker(kt->kt_cpus, mask);
		if (ret != -EBUSY)
			break;
		/* Mostly none is needed. */
		if (!mask) {
			spin_lock_bh(&ktask_lock);
			mask = ktask_get_mask();
			spin_unlock_bh(&ktask_lock);
			if (mask)
				continue;
		}
		if (!--tries)
			break;
		schedule_timeout_uninterruptible(1);
	}
	ktask_put_mask(mask);
	return ret;
}

/*
 * Helper @kw can't go where its caller may run, and another one is to take its
 * place.  It gives up its charge at once, for that one may need it.
 */
static void ktask_stray(struct ktask_work *kw)
{
	kw->kw_strayed = true;
	spin_lock_bh(&ktask_lock);
	ktask_uncharge(kw);
	spin_unlock_bh(&ktask_lock);
}

/*
 * Before each chunk: keep helper @kw to CPUs where its caller may run, wherever
 * the caller, CPU hotplug or cpusets went since.  Without such a CPU it leaves.
 */
static bool ktask_follow_cpus(struct ktask_work *kw)
{
	int ret;

	if (ktask_test_hook(anywhere))
		return true;
	ret = ktask_narrow(kw);
	switch (ret) {
	case 0:
	case 1:
		ktask_stat_add(KTASK_STAT_HELPERS_NARROWED, ret);
		return true;
	case -ECANCELED:
		break;
	case -EBUSY:
		ktask_stat_add(KTASK_STAT_HELPERS_LEFT_MASKS, 1);
		kw->kw_unwanted = true;
		break;
	default:
		ktask_stat_add(KTASK_STAT_HELPERS_LEFT_CPUS, 1);
		ktask_stray(kw);
	}
	return false;
}

/*
 * Before each chunk: count helper @kw where it runs.  That need not be the node
 * that its item was queued on: it may have followed its caller; with
 * workqueue.disable_numa workers may run on any; and an item that is queued while
 * its last worker is just about to finish with it goes to that one.  Not before
 * ktask_follow_cpus(), as cpusets may have left the worker on another node.
 */
static void ktask_follow_node(struct ktask_work *kw)
{
	int nid = numa_node_id();

	if (nid == kw->kw_nid)
		return;
	spin_lock_bh(&ktask_lock);
	ktask_recharge(kw, nid);
	spin_unlock_bh(&ktask_lock);
}

/*
 * Take the next chunk of the thread's part.  @kw is NULL for the caller, who
 * never gives way.
 */
static bool ktask_take_chunk(struct ktask_thread *kh, struct ktask_work *kw)
{
	struct ktask_task *kt = kh->kh_task;
	struct ktask_node *kn = kh->kh_node;
	struct ktask_ctl *kc = kt->kt_ctl;
	bool taken = false;
	size_t origin;
	size_t size;

	spin_lock(&kn->kn_lock);
	if (!kn->kn_remaining || ktask_stopped(kt) ||
	    (kw && ktask_must_leave(kw, ktask_above_limits(kw),
				    ktask_cpu_wanted(kt))))
		goto out;
	kh->kh_offset = kn->kn_task_size - kn->kn_remaining;
	if (kc->kc_iter_func == ktask_iter_range)
		origin = (size_t)kn->kn_position;
	else
		origin = kh->kh_offset;
	size = ktask_chunk_size(origin, kn->kn_remaining, kt->kt_step,
				kt->kt_align, kn->kn_share);
	kh->kh_start = kn->kn_position;
	kh->kh_end = kc->kc_iter_func(kn->kn_position, size);
	kn->kn_position = kh->kh_end;
	WRITE_ONCE(kn->kn_remaining, kn->kn_remaining - size);
	taken = true;
out:
	spin_unlock(&kn->kn_lock);
	return taken;
}

static int ktask_do_chunk(struct ktask_thread *kh, bool helper)
{
	struct ktask_task *kt = kh->kh_task;
	struct ktask_ctl *kc = kt->kt_ctl;
	int ret;

	trace_ktask_chunk_begin(kt, kh->kh_node->kn_nid, kh->kh_start,
				kh->kh_end, helper);
	ktask_lockdep_begin(kt->kt_map);
	ret = kc->kc_thread_func(kh->kh_start, kh->kh_end, kc->kc_func_arg);
	ktask_lockdep_end(kt->kt_map);
	trace_ktask_chunk_end(kt, kh->kh_node->kn_nid, kh->kh_start,
			      kh->kh_end, helper, ret);
	return ret;
}

/* A thread begins its first chunk of the task.  A helper did not come in vain. */
static void ktask_begin(struct ktask_task *kt, bool helper)
{
	spin_lock_bh(&ktask_lock);
	if (helper)
		WRITE_ONCE(kt->kt_vain, 0);
	kt->kt_active++;
	kt->kt_threads = max(kt->kt_threads, kt->kt_active);
	spin_unlock_bh(&ktask_lock);
}

/* May the thread take a chunk now, where it is?  The caller always may. */
static bool ktask_may_go_on(struct ktask_work *kw)
{
	if (!kw)
		return true;
	if (!ktask_follow_cpus(kw))
		return false;
	ktask_follow_node(kw);
	return true;
}

/* Work through the thread's part until there is nothing left to take. */
static void ktask_do_chunks(struct ktask_thread *kh, struct ktask_work *kw)
{
	int ret;

	while (ktask_may_go_on(kw) && ktask_take_chunk(kh, kw)) {
		if (!kh->kh_chunks)
			ktask_begin(kh->kh_task, kw);
		ret = ktask_do_chunk(kh, kw);
		if (ret) {
			kh->kh_failed = true;
			ktask_stop(kh->kh_task, ret);
			return;
		}
		kh->kh_chunks++;
		ktask_look(kh->kh_task);
		cond_resched();
	}
}

/* Do the CPUs of node @nid do part @kn of the task? */
static bool ktask_near(const struct ktask_task *kt, struct ktask_node *kn,
		       int nid)
{
	return kn->kn_nid == NUMA_NO_NODE ||
	       ktask_near_node(kt, kn->kn_nid) == nid;
}

/*
 * The part with most left among those that are near node @nid, or among all if
 * there is none.
 */
static struct ktask_node *ktask_most_left(struct ktask_task *kt, int nid)
{
	struct ktask_node *best = NULL;
	bool best_near = false;
	struct ktask_node *kn;
	size_t most = 0;
	size_t left;
	bool near;

	for (kn = kt->kt_nodes; kn < kt->kt_nodes + kt->kt_nr_nodes; kn++) {
		left = READ_ONCE(kn->kn_remaining);
		near = ktask_near(kt, kn, nid);
		if (!left || near < best_near ||
		    (near == best_near && left <= most))
			continue;
		best = kn;
		best_near = near;
		most = left;
	}
	return best;
}

/* ---- Helpers ------------------------------------------------------------ */

/* A helper of the task leaves without having done a chunk. */
static void ktask_came_in_vain(struct ktask_task *kt)
{
	lockdep_assert_held(&ktask_lock);
	WRITE_ONCE(kt->kt_vain, min(kt->kt_vain + 1, KTASK_MAX_VAIN));
}

/*
 * Before a helper joins, while nobody waits for it: let it go to an idle CPU of
 * the node that it is counted on, where its caller may run too, if it has woken up
 * where the caller may not or where others want the CPU.  That may well be the
 * caller's own.
 *
 * Return: whether it found none.
 */
static bool ktask_seek_idle_cpu(struct ktask_work *kw)
{
	struct cpumask *mask = NULL;
	struct ktask_task *kt;
	bool seek = false;
	int ret = 0;

	if (ktask_test_hook(anywhere))
		return false;
	spin_lock_bh(&ktask_lock);
	if (kw->kw_state == KTASK_WORK_QUEUED) {
		kt = kw->kw_thread.kh_task;
		seek = ktask_cpu_wanted(kt) ||
		       !ktask_cpu_usable(kt, raw_smp_processor_id());
		mask = seek ? ktask_get_mask() : NULL;
		if (mask) {
			/* As in ktask_cpu_usable(). */
			data_race(cpumask_and(mask, kt->kt_cpus,
					      cpumask_of_node(kw->kw_nid)));
		}
	}
	spin_unlock_bh(&ktask_lock);
	if (!seek)
		return false;
	if (mask)
		ret = workqueue_seek_idle_cpu(mask);
	ktask_put_mask(mask);
	ktask_stat_add(KTASK_STAT_HELPERS_MOVED, ret > 0);
	return !ret && !ktask_early() && !ktask_test_hook(ignore_load);
}

/*
 * A helper joins, unless it would have to go to a busy CPU for it, since its caller
 * may not run on this one, and all are @busy.  Unless it succeeds nothing of the task
 * may be touched, which may be gone, and the item is the worker's to free.
 */
static bool ktask_helper_join(struct ktask_work *kw, bool busy)
{
	struct ktask_thread *kh = &kw->kw_thread;
	struct ktask_task *kt;
	bool joined = false;

	spin_lock_bh(&ktask_lock);
	if (kw->kw_state == KTASK_WORK_DETACHED)
		goto out;
	kt = kh->kh_task;
	kw->kw_state = KTASK_WORK_JOINED;
	ktask_count_queued(kw, -1);
	if (!busy || ktask_cpu_usable(kt, raw_smp_processor_id()))
		busy = ktask_cpu_wanted(kt);
	if (ktask_must_leave(kw, !ktask_within_limits(kw->kw_nid, 0, 0), busy)) {
		ktask_came_in_vain(kt);
		ktask_unlink(kw);
		kw->kw_state = KTASK_WORK_LEFT;
	} else {
		ktask_stat_add(KTASK_STAT_HELPERS_JOINED, 1);
		kw->kw_helper = current;
		kw->kw_own_prio = ktask_own_prio();
		kw->kw_prio = kw->kw_own_prio;
		list_move_tail(&kh->kh_list, &kt->kt_joined);
		joined = true;
	}
out:
	spin_unlock_bh(&ktask_lock);
	return joined;
}

/* Keep failed chunks in order, for undo to step over. */
static void ktask_keep_failed(struct ktask_thread *kh)
{
	struct list_head *failed = &kh->kh_node->kn_failed;
	struct ktask_thread *pos;

	lockdep_assert_held(&ktask_lock);
	list_for_each_entry(pos, failed, kh_list) {
		if (pos->kh_offset > kh->kh_offset)
			break;
	}
	list_add_tail(&kh->kh_list, &pos->kh_list);
}

/* Add up what a thread did for the task. */
static void ktask_account(struct ktask_task *kt, struct ktask_thread *kh)
{
	lockdep_assert_held(&ktask_lock);
	ktask_stat_add(KTASK_STAT_CHUNKS, kh->kh_chunks);
	/* It began a chunk, see ktask_begin(). */
	if (kh->kh_chunks || kh->kh_failed)
		kt->kt_active--;
}

/*
 * Leave the task, and have another helper go on with part @kn on node @nid
 * unless that is NUMA_NO_NODE.  After ktask_lock is given up the task may be
 * gone.
 *
 * Return: whether the item is still the helper's to free.  It stays with the
 * task if it tells undo of a failed chunk.
 */
static bool ktask_helper_leave(struct ktask_work *kw, struct ktask_node *kn,
			       int nid)
{
	struct ktask_thread *kh = &kw->kw_thread;
	struct ktask_task *kt = kh->kh_task;
	bool keep;

	spin_lock_bh(&ktask_lock);
	kw->kw_leaving = true;
	while (kw->kw_boosting) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		spin_unlock_bh(&ktask_lock);
		schedule();
		spin_lock_bh(&ktask_lock);
	}
	ktask_account(kt, kh);
	ktask_stat_add(KTASK_STAT_HELPER_CHUNKS, kh->kh_chunks);
	ktask_stat_add(KTASK_STAT_HELPERS_WORKED, !!kh->kh_chunks);
	if ((kw->kw_unwanted || kw->kw_strayed) && !kh->kh_chunks)
		ktask_came_in_vain(kt);
	ktask_unlink(kw);
	kw->kw_state = KTASK_WORK_LEFT;
	if (nid != NUMA_NO_NODE && ktask_add_helper(kt, kn, nid))
		ktask_stat_add(KTASK_STAT_HELPERS_MIGRATED, 1);
	keep = kh->kh_failed && kt->kt_ctl->kc_undo_func;
	if (keep)
		ktask_keep_failed(kh);
	if (kt->kt_waiting)
		wake_up_process(kt->kt_caller);
	spin_unlock_bh(&ktask_lock);
	return !keep;
}

/* Let a thread go on with part @kn. */
static void ktask_move(struct ktask_thread *kh, struct ktask_node *kn)
{
	struct ktask_node *old = kh->kh_node;

	spin_lock_bh(&ktask_lock);
	if (old)
		WRITE_ONCE(old->kn_threads, old->kn_threads - 1);
	WRITE_ONCE(kn->kn_threads, kn->kn_threads + 1);
	kh->kh_node = kn;
	spin_unlock_bh(&ktask_lock);
}

/*
 * Do chunks of one part after the other.  Where the next part belongs on other
 * CPUs, or the caller went to others, it takes another item to go on there, since
 * a running one goes back to the pool that it runs in.
 *
 * Return: that part, with the node of the other item in @nid.
 */
static struct ktask_node *ktask_helper_work(struct ktask_work *kw, int *nid)
{
	struct ktask_thread *kh = &kw->kw_thread;
	struct ktask_task *kt = kh->kh_task;
	struct ktask_node *kn;

	for (;;) {
		if (!kw->kw_strayed && !kw->kw_unwanted)
			ktask_do_chunks(kh, kw);
		if (ktask_over(kt) || kw->kw_unwanted)
			break;
		kn = ktask_most_left(kt, kw->kw_nid);
		if (!kn)
			break;
		if (kw->kw_strayed || !ktask_near(kt, kn, kw->kw_nid)) {
			*nid = ktask_place(kt, kn->kn_nid, kw->kw_strayed);
			return kn;
		}
		ktask_move(kh, kn);
	}
	*nid = NUMA_NO_NODE;
	return NULL;
}

/* Be the caller for the time of the task; returns as ktask_helper_leave(). */
static bool ktask_helper_joined(struct ktask_work *kw)
{
	struct ktask_context *kx = &kw->kw_thread.kh_task->kt_context;
	bool follows = ktask_follow_cpus(kw);
	struct ktask_node *kn;
	struct ktask_own own;
	int nid;

	if (follows)
		ktask_context_adopt(kx, &own);
	kn = ktask_helper_work(kw, &nid);
	if (follows)
		ktask_context_drop(kx, &own);
	return ktask_helper_leave(kw, kn, nid);
}

static void ktask_helper(struct work_struct *work)
{
	struct ktask_work *kw = container_of(work, struct ktask_work, kw_work);
	ktask_test_func before_join = ktask_test_hook(before_join);
	struct sched_attr own = {};
	bool mine = true;
	bool busy;

	if (before_join)
		before_join();
	ktask_save_prio(&own);
	busy = ktask_seek_idle_cpu(kw);
	if (ktask_helper_join(kw, busy))
		mine = ktask_helper_joined(kw);
	ktask_restore_prio(&own);
	workqueue_widen_worker();
	if (!mine)
		return;
	spin_lock_bh(&ktask_lock);
	ktask_put_work(kw);
	spin_unlock_bh(&ktask_lock);
}

/* ---- The caller --------------------------------------------------------- */

/* The caller's own thread helps wherever work is left. */
static void ktask_caller_work(struct ktask_task *kt)
{
	struct ktask_thread *kh = &kt->kt_self;
	struct ktask_node *kn;

	while (!READ_ONCE(kt->kt_error)) {
		kn = ktask_most_left(kt, numa_node_id());
		if (!kn)
			break;
		ktask_move(kh, kn);
		ktask_do_chunks(kh, NULL);
	}
}

/*
 * Detach the helpers that have not joined and wait for those that have.  The
 * wait has a timeout because chunks may take longer than a task may hang, to see
 * a priority that was changed, and to lend the caller's to another helper.
 */
static void ktask_caller_wait(struct ktask_task *kt)
{
	struct ktask_work *kw, *next;
	long timeout;

	spin_lock_bh(&ktask_lock);
	WRITE_ONCE(kt->kt_waiting, true);
	list_for_each_entry_safe(kw, next, &ktask_queued, kw_thread.kh_list) {
		if (!kt->kt_nr_helpers)
			break;
		if (kw->kw_thread.kh_task == kt)
			ktask_detach(kw);
	}
	list_add(&kt->kt_waiters, &ktask_waiters);
	while (!list_empty(&kt->kt_joined)) {
		if (ktask_boost(kt))
			continue;
		set_current_state(TASK_UNINTERRUPTIBLE);
		spin_unlock_bh(&ktask_lock);
		timeout = schedule_timeout(ktask_test_hook(no_poll) ?
					   MAX_SCHEDULE_TIMEOUT :
					   KTASK_BOOST_TURN);
		spin_lock_bh(&ktask_lock);
		if (!timeout)
			ktask_boost_next(kt);
	}
	list_del(&kt->kt_waiters);
	ktask_account(kt, &kt->kt_self);
	if (kt->kt_self.kh_failed)
		ktask_keep_failed(&kt->kt_self);
	spin_unlock_bh(&ktask_lock);
}

/* ---- Undo --------------------------------------------------------------- */

static void ktask_undo_range(struct ktask_ctl *kc, void *start, void *end)
{
	if (start == end)
		return;
	ktask_stat_add(KTASK_STAT_UNDO_CALLS, 1);
	kc->kc_undo_func(start, end, kc->kc_func_arg);
}

/* Undo what was taken of a part, except for the chunks that failed. */
static void ktask_undo_part(struct ktask_task *kt, struct ktask_node *kn)
{
	struct ktask_thread *kh, *next;
	void *start = kn->kn_start;

	list_for_each_entry_safe(kh, next, &kn->kn_failed, kh_list) {
		ktask_undo_range(kt->kt_ctl, start, kh->kh_start);
		start = kh->kh_end;
		if (kh == &kt->kt_self)
			continue;
		spin_lock_bh(&ktask_lock);
		ktask_put_work(container_of(kh, struct ktask_work, kw_thread));
		spin_unlock_bh(&ktask_lock);
	}
	ktask_undo_range(kt->kt_ctl, start, kn->kn_position);
}

static void ktask_undo(struct ktask_task *kt)
{
	struct ktask_node *kn;

	if (!kt->kt_ctl->kc_undo_func)
		return;
	for (kn = kt->kt_nodes; kn < kt->kt_nodes + kt->kt_nr_nodes; kn++)
		ktask_undo_part(kt, kn);
}

/* ---- Public interface --------------------------------------------------- */

/**
 * ktask_iter_range() - the iterator for positions that are numbers
 * @position: a position
 * @size: number of units
 *
 * Context: Any.
 * Return: @position + @size.
 */
void *ktask_iter_range(void *position, size_t size)
{
	return position + size;
}
EXPORT_SYMBOL_GPL(ktask_iter_range);

/**
 * ktask_should_stop() - should a thread function give up its chunk?
 * @ctl: the ctl that the task was started with
 *
 * For thread functions whose chunks take long.  One that is told to stop should
 * clean up and return -EINTR; where all it can do is to go on, it may.  This is
 * about the task of @ctl: in a nested one, ask with the outer task's ctl about that.
 *
 * Context: From the thread function.
 * Return: True if another chunk failed, or if a signal that the task's flags
 * name is pending for the caller.
 */
bool ktask_should_stop(const struct ktask_ctl *ctl)
{
	struct ktask_task *kt = ctl->kc_task;

	if (!kt)
		return ktask_signal_pending(ctl, current);
	return READ_ONCE(kt->kt_error) ||
	       ktask_signal_pending(ctl, kt->kt_caller);
}
EXPORT_SYMBOL_GPL(ktask_should_stop);

/* Most threads, the caller among them, that client and administrator allow. */
static unsigned int ktask_threads_allowed(const struct ktask_ctl *kc)
{
	unsigned int allowed = READ_ONCE(ktask_max_threads);

	if (ktask_early() && !READ_ONCE(ktask_max_threads_set))
		allowed = num_online_cpus();
	return min_not_zero(kc->kc_max_threads, allowed);
}

static bool ktask_nid_valid(int nid)
{
	return nid == NUMA_NO_NODE ||
	       (nid >= 0 && nid < nr_node_ids && node_possible(nid));
}

static void ktask_init_parts(struct ktask_task *kt, unsigned int threads)
{
	struct ktask_node *kn;
	size_t total = 0;
	size_t share;

	for (kn = kt->kt_nodes; kn < kt->kt_nodes + kt->kt_nr_nodes; kn++)
		total = size_add(total, kn->kn_task_size);
	share = max_t(size_t, total / threads, 1);

	for (kn = kt->kt_nodes; kn < kt->kt_nodes + kt->kt_nr_nodes; kn++) {
		if (WARN_ON_ONCE(!ktask_nid_valid(kn->kn_nid)))
			kn->kn_nid = NUMA_NO_NODE;
		spin_lock_init(&kn->kn_lock);
		kn->kn_position = kn->kn_start;
		kn->kn_remaining = kn->kn_task_size;
		kn->kn_share = clamp_t(size_t, kn->kn_task_size / share, 1,
				       threads);
		kn->kn_threads = 0;
		INIT_LIST_HEAD(&kn->kn_failed);
	}
}

/* Cut the task into chunks for @threads threads, or more as CPUs come. */
static noinline int ktask_run_chunks(struct ktask_task *kt,
				     unsigned int threads)
{
	u64 start = ktime_get_ns();
	int error;

	ktask_init_parts(kt, threads);
	INIT_LIST_HEAD(&kt->kt_joined);
	kt->kt_self.kh_task = kt;
	kt->kt_next_look = jiffies + KTASK_LOOK_INTERVAL;
	ktask_context_capture(&kt->kt_context, kt->kt_ctl->kc_flags);
	kt->kt_ctl->kc_task = kt;
	trace_ktask_start(kt, kt->kt_nr_nodes, kt->kt_step, threads);

	ktask_add_helpers(kt);
	ktask_caller_work(kt);
	ktask_caller_wait(kt);
	ktask_context_settle(&kt->kt_context);
	error = READ_ONCE(kt->kt_error);
	if (error) {
		ktask_undo(kt);
		ktask_stat_add(KTASK_STAT_ERRORS, 1);
	}

	kt->kt_ctl->kc_task = NULL;
	ktask_stat_add(KTASK_STAT_TASKS, 1);
	ktask_stat_max(KTASK_STAT_MAX_THREADS, kt->kt_threads);
	trace_ktask_finish(kt, kt->kt_threads, ktime_get_ns() - start, error);
	return error;
}

static noinline int ktask_run_parallel(struct ktask_node *nodes,
				       size_t nr_nodes, struct ktask_ctl *ctl,
				       struct lockdep_map *map, size_t step,
				       unsigned int threads)
{
	struct ktask_task kt = {
		.kt_ctl		= ctl,
		.kt_nodes	= nodes,
		.kt_nr_nodes	= nr_nodes,
		.kt_caller	= current,
		.kt_cpus	= &ktask_origin(0)->cpus_mask,
		.kt_map		= map,
		.kt_step	= step,
		.kt_align	= max_t(size_t, ctl->kc_align, 1),
		.kt_max_helpers	= threads - 1,
	};
	unsigned int limit = ktask_helper_limit(NUMA_NO_NODE);

	if (!ktask_test_hook(force_cut))
		threads = min(threads, limit + 1);
	return ktask_run_chunks(&kt, threads);
}

/*
 * Check that the caller may sleep and takes no part in a deadlock.  A plain call
 * has no point of rescheduling of its own, which would be a fifth of its cost.
 */
static void ktask_check_context(struct lockdep_map *map)
{
	if (IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP))
		might_sleep();
	ktask_lockdep_caller(map);
}

/*
 * Why a task, which is too @small for two chunks or not, is a plain call;
 * NR_KTASK_STATS if it is not one.
 */
static enum ktask_stat ktask_why_plain(const struct ktask_ctl *kc, bool small)
{
	if (!ktask_wq)
		return KTASK_STAT_SERIAL_NOT_READY;
	if (!READ_ONCE(ktask_enabled))
		return KTASK_STAT_SERIAL_DISABLED;
	if (ktask_threads_allowed(kc) <= 1)
		return KTASK_STAT_SERIAL_THREADS;
	if (small)
		return KTASK_STAT_SERIAL_SMALL;
	if (ktask_helper_limit(NUMA_NO_NODE) <= 0 &&
	    !ktask_test_hook(force_cut))
		return KTASK_STAT_SERIAL_LIMIT;
	if (ktask_origin(0)->nr_cpus_allowed == 1 &&
	    !ktask_test_hook(force_cut))
		return KTASK_STAT_SERIAL_PINNED;
	/* It has the reserves to free memory, and they are not enough for many. */
	if (current->flags & PF_MEMALLOC)
		return KTASK_STAT_SERIAL_RESERVES;
	return NR_KTASK_STATS;
}

static int ktask_run_nodes(struct ktask_node *nodes, size_t nr_nodes,
			   struct ktask_ctl *ctl, struct lockdep_map *map)
{
	size_t step = ktask_step(ctl->kc_min_chunk_size, ctl->kc_align);
	unsigned int threads;
	enum ktask_stat why;
	int ret;

	threads = ktask_nr_threads(nodes, nr_nodes, step,
				   ktask_threads_allowed(ctl));
	why = ktask_why_plain(ctl, threads <= 1);
	if (why == NR_KTASK_STATS && WARN_ON_ONCE(ctl->kc_task))
		why = KTASK_STAT_SERIAL_CTL_BUSY;
	if (why == NR_KTASK_STATS)
		return ktask_run_parallel(nodes, nr_nodes, ctl, map, step,
					  threads);

	ktask_stat_add(why, 1);
	ktask_lockdep_begin(map);
	ret = ktask_run_plain(nodes, nr_nodes, ctl);
	ktask_lockdep_end(map);
	return ret;
}

/**
 * __ktask_run_numa() - ktask_run_numa() with the lock class of its call site
 * @nodes: the parts
 * @nr_nodes: number of parts
 * @ctl: what to do with them
 * @map: lockdep's map of the call site, NULL without lockdep
 *
 * Context: As for ktask_run().
 * Return: As for ktask_run().
 */
int __ktask_run_numa(struct ktask_node *nodes, size_t nr_nodes,
		     struct ktask_ctl *ctl, struct lockdep_map *map)
{
	ktask_check_context(map);
	return ktask_run_nodes(nodes, nr_nodes, ctl, map);
}
EXPORT_SYMBOL_GPL(__ktask_run_numa);

/**
 * __ktask_run() - ktask_run() with the lock class of its call site
 * @start: position of the first unit
 * @task_size: number of units
 * @ctl: what to do with them
 * @map: lockdep's map of the call site, NULL without lockdep
 *
 * Most calls of clients such as page faults are too small, or find ktask off: for
 * them this comes to a decision before there is a part.
 *
 * Context: As for ktask_run().
 * Return: As for ktask_run().
 */
int __ktask_run(void *start, size_t task_size, struct ktask_ctl *ctl,
		struct lockdep_map *map)
{
	struct ktask_node node;
	enum ktask_stat why;
	int ret;

	ktask_check_context(map);

	why = ktask_why_plain(ctl, task_size / 2 < ctl->kc_min_chunk_size);
	if (why == NR_KTASK_STATS) {
		node.kn_start = start;
		node.kn_task_size = task_size;
		node.kn_nid = numa_node_id();
		return ktask_run_nodes(&node, 1, ctl, map);
	}

	ktask_stat_add(why, 1);
	ktask_lockdep_begin(map);
	ret = ktask_call_plain(start, task_size, ctl);
	ktask_lockdep_end(map);
	return ret;
}
EXPORT_SYMBOL_GPL(__ktask_run);

/* ---- Parameters --------------------------------------------------------- */

static void ktask_param_changed(void)
{
	/* On the command line they come before ktask_init(). */
	if (!ktask_wq)
		return;
	/* A CPU that is on its way off must not be counted again. */
	cpus_read_lock();
	ktask_set_limits(-1);
	cpus_read_unlock();
}

static int ktask_param_set_enabled(const char *val,
				   const struct kernel_param *kp)
{
	/* kstrtobool() would take "nonsense" for n. */
	static const char *const words[] = {
		"0", "n", "N", "off", "1", "y", "Y", "on",
	};
	int word = sysfs_match_string(words, val);

	if (word < 0)
		return -EINVAL;
	WRITE_ONCE(ktask_enabled, word >= ARRAY_SIZE(words) / 2);
	ktask_param_changed();
	return 0;
}

static int ktask_param_set_max_threads(const char *val,
				       const struct kernel_param *kp)
{
	unsigned int threads;

	if (kstrtouint(val, 0, &threads) || !threads)
		return -EINVAL;
	WRITE_ONCE(ktask_max_threads, threads);
	WRITE_ONCE(ktask_max_threads_set, true);
	return 0;
}

static int ktask_param_set_cpu_percent(const char *val,
				       const struct kernel_param *kp)
{
	unsigned int percent;

	if (kstrtouint(val, 0, &percent) || percent > 100)
		return -EINVAL;
	WRITE_ONCE(ktask_cpu_percent, percent);
	ktask_param_changed();
	return 0;
}

static const struct kernel_param_ops ktask_enabled_ops = {
	.set = ktask_param_set_enabled,
	.get = param_get_bool,
};

static const struct kernel_param_ops ktask_max_threads_ops = {
	.set = ktask_param_set_max_threads,
	.get = param_get_uint,
};

static const struct kernel_param_ops ktask_cpu_percent_ops = {
	.set = ktask_param_set_cpu_percent,
	.get = param_get_uint,
};

module_param_cb(enabled, &ktask_enabled_ops, &ktask_enabled, 0644);
module_param_cb(max_threads, &ktask_max_threads_ops, &ktask_max_threads, 0644);
module_param_cb(cpu_percent, &ktask_cpu_percent_ops, &ktask_cpu_percent, 0644);

/* ---- Statistics --------------------------------------------------------- */

static const char *const ktask_stat_names[] = {
	[KTASK_STAT_TASKS]		= "tasks",
	[KTASK_STAT_SERIAL_SMALL]	= "serial_small",
	[KTASK_STAT_SERIAL_THREADS]	= "serial_threads",
	[KTASK_STAT_SERIAL_DISABLED]	= "serial_disabled",
	[KTASK_STAT_SERIAL_LIMIT]	= "serial_limit",
	[KTASK_STAT_SERIAL_PINNED]	= "serial_pinned",
	[KTASK_STAT_SERIAL_RESERVES]	= "serial_reserves",
	[KTASK_STAT_SERIAL_NOT_READY]	= "serial_not_ready",
	[KTASK_STAT_SERIAL_CTL_BUSY]	= "serial_ctl_busy",
	[KTASK_STAT_CHUNKS]		= "chunks",
	[KTASK_STAT_HELPER_CHUNKS]	= "helper_chunks",
	[KTASK_STAT_HELPERS_STARTED]	= "helpers_started",
	[KTASK_STAT_HELPERS_MOVED]	= "helpers_moved",
	[KTASK_STAT_HELPERS_JOINED]	= "helpers_joined",
	[KTASK_STAT_HELPERS_WORKED]	= "helpers_worked",
	[KTASK_STAT_HELPERS_CANCELLED]	= "helpers_cancelled",
	[KTASK_STAT_HELPERS_DETACHED]	= "helpers_detached",
	[KTASK_STAT_HELPERS_LEFT_BUSY]	= "helpers_left_busy",
	[KTASK_STAT_HELPERS_LEFT_LIMIT]	= "helpers_left_limit",
	[KTASK_STAT_HELPERS_LEFT_CPUS]	= "helpers_left_cpus",
	[KTASK_STAT_HELPERS_LEFT_MASKS]	= "helpers_left_masks",
	[KTASK_STAT_HELPERS_NARROWED]	= "helpers_narrowed",
	[KTASK_STAT_HELPERS_MIGRATED]	= "helpers_migrated",
	[KTASK_STAT_BOOSTS]		= "boosts",
	[KTASK_STAT_UNDO_CALLS]		= "undo_calls",
	[KTASK_STAT_ERRORS]		= "errors",
	[KTASK_STAT_MAX_THREADS]	= "max_threads",
};

static_assert(ARRAY_SIZE(ktask_stat_names) == NR_KTASK_STATS);

VISIBLE_IF_KUNIT u64 ktask_stat_read(enum ktask_stat stat)
{
	return atomic_long_read(&ktask_stats[stat]);
}
EXPORT_SYMBOL_IF_KUNIT(ktask_stat_read);

static int ktask_stats_show(struct seq_file *m, void *unused)
{
	int i;

	for (i = 0; i < NR_KTASK_STATS; i++)
		seq_printf(m, "%s %llu\n", ktask_stat_names[i],
			   ktask_stat_read(i));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(ktask_stats);

static int __init ktask_debugfs_init(void)
{
	struct dentry *dir = debugfs_create_dir("ktask", NULL);

	debugfs_create_file("stats", 0400, dir, NULL, &ktask_stats_fops);
	return 0;
}
late_initcall(ktask_debugfs_init);

/* ---- For the KUnit suite ------------------------------------------------ */

#if IS_ENABLED(CONFIG_KTASK_KUNIT_TEST)
int ktask_test_helper_limit(int nid)
{
	return ktask_helper_limit(nid);
}
EXPORT_SYMBOL_IF_KUNIT(ktask_test_helper_limit);

int ktask_test_nr_helpers(void)
{
	return READ_ONCE(ktask_nr_helpers);
}
EXPORT_SYMBOL_IF_KUNIT(ktask_test_nr_helpers);

int ktask_test_nr_helpers_of(int nid)
{
	return READ_ONCE(ktask_nids[nid].helpers);
}
EXPORT_SYMBOL_IF_KUNIT(ktask_test_nr_helpers_of);

/* A parameter, to be set and shown as by the administrator. */
const struct kernel_param *ktask_test_param(const char *name)
{
	static const struct kernel_param *const params[] = {
		&__param_enabled,
		&__param_max_threads,
		&__param_cpu_percent,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(params); i++) {
		if (!strcmp(strchr(params[i]->name, '.') + 1, name))
			return params[i];
	}
	return NULL;
}
EXPORT_SYMBOL_IF_KUNIT(ktask_test_param);

int ktask_test_nr_works(void)
{
	return ktask_nr_works;
}
EXPORT_SYMBOL_IF_KUNIT(ktask_test_nr_works);

int ktask_test_nr_free_works(void)
{
	struct list_head *pos;
	int nr = 0;

	spin_lock_bh(&ktask_lock);
	list_for_each(pos, &ktask_free)
		nr++;
	spin_unlock_bh(&ktask_lock);
	return nr;
}
EXPORT_SYMBOL_IF_KUNIT(ktask_test_nr_free_works);

int ktask_test_nr_free_masks(void)
{
	union ktask_mask *m;
	int nr = 0;

	spin_lock_bh(&ktask_lock);
	for (m = ktask_masks; m; m = m->next)
		nr++;
	spin_unlock_bh(&ktask_lock);
	return nr;
}
EXPORT_SYMBOL_IF_KUNIT(ktask_test_nr_free_masks);

/* What ktask_timer does, without regard to age; returns whether any was. */
bool ktask_test_take_back_queued(void)
{
	struct ktask_work *kw, *next;
	bool any = false;

	spin_lock_bh(&ktask_lock);
	list_for_each_entry_safe(kw, next, &ktask_queued, kw_thread.kh_list) {
		ktask_detach(kw);
		any = true;
	}
	spin_unlock_bh(&ktask_lock);
	return any;
}
EXPORT_SYMBOL_IF_KUNIT(ktask_test_take_back_queued);
#endif

/* ---- Init --------------------------------------------------------------- */

/*
 * Have workers at the lowest nice level from their first moment.  They are shared
 * with other workqueues that have the same attributes.
 */
static void __init ktask_lower_workers(struct workqueue_struct *wq)
{
	struct workqueue_attrs *attrs = alloc_workqueue_attrs();
	int ret = -ENOMEM;

	if (attrs) {
		attrs->nice = MAX_NICE;
		cpus_read_lock();
		ret = apply_workqueue_attrs(wq, attrs);
		cpus_read_unlock();
		free_workqueue_attrs(attrs);
	}
	if (ret)
		pr_warn("workers start at nice 0 (%d)\n", ret);
}

static int __init ktask_masks_wanted(void)
{
	return clamp_t(int, num_possible_cpus() * KTASK_MASK_BYTES_PER_CPU /
		       kmalloc_size_roundup(cpumask_size()), 1,
		       KTASK_MAX_MASKS);
}

static bool __init ktask_fill_pools(int nr_works)
{
	struct ktask_work *kw;
	union ktask_mask *m;
	int i;

	for (i = 0; i < nr_works; i++) {
		kw = kzalloc(sizeof(*kw), GFP_KERNEL);
		if (!kw)
			return false;
		INIT_WORK(&kw->kw_work, ktask_helper);
		list_add_tail(&kw->kw_thread.kh_list, &ktask_free);
	}
	for (i = 0; i < ktask_masks_wanted(); i++) {
		m = kzalloc(cpumask_size(), GFP_KERNEL);
		if (!m)
			return false;
		ktask_put_mask(&m->mask);
	}
	return true;
}

static void __init ktask_empty_pools(void)
{
	struct ktask_work *kw, *next;
	union ktask_mask *m;

	list_for_each_entry_safe(kw, next, &ktask_free, kw_thread.kh_list)
		kfree(kw);
	INIT_LIST_HEAD(&ktask_free);
	while (ktask_masks) {
		m = ktask_masks;
		ktask_masks = m->next;
		kfree(m);
	}
}

/*
 * Called at boot, when all CPUs are up and before memory is initialised that was
 * deferred.  Until then, and if this fails, tasks are plain calls.
 */
void __init ktask_init(void)
{
	int nr = max_t(int, num_possible_cpus() * KTASK_WORKS_PER_2_CPUS / 2, 1);
	struct workqueue_struct *wq;

	wq = alloc_workqueue("ktask", WQ_UNBOUND, nr);
	ktask_nids = kcalloc(nr_node_ids, sizeof(*ktask_nids), GFP_KERNEL);
	if (!wq || !ktask_nids || !ktask_fill_pools(nr) ||
	    cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "ktask:online",
				      ktask_cpu_up, ktask_cpu_down) < 0)
		goto err;

	ktask_lower_workers(wq);
	ktask_set_limits(-1);
	ktask_nr_works = nr;
	ktask_wq = wq;
	return;

err:
	pr_warn("can't set up helpers, tasks run in one thread\n");
	ktask_empty_pools();
	kfree(ktask_nids);
	ktask_nids = NULL;
	if (wq)
		destroy_workqueue(wq);
}
