/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ktask.h - spread long kernel jobs over idle CPUs
 *
 * See Documentation/core-api/ktask.rst for when to use it and how.
 */
#ifndef _LINUX_KTASK_H
#define _LINUX_KTASK_H

#include <linux/bug.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/ktask_context.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/numa.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/stringify.h>
#include <linux/types.h>

/* What a thread function returns for success; anything else is its errno. */
#define KTASK_RETURN_SUCCESS	0

/**
 * KTASK_MEM_CHUNK - a minimum chunk size for work on memory, in bytes
 *
 * For clients whose units are bytes of memory that is cleared, copied or
 * described.  At some GB/s a chunk of this size takes tens of milliseconds, a
 * thousand times what it costs to start a helper.  Clients that count pages
 * have to divide by %PAGE_SIZE.
 */
#define KTASK_MEM_CHUNK		((size_t)SZ_128M)

struct ktask_task;

/**
 * typedef ktask_thread_func - do one chunk of a task
 * @start: where the chunk starts
 * @end: where it ends; the chunk does not include it
 * @arg: the client's &ktask_ctl.kc_func_arg
 *
 * Called by the caller's thread and by helpers, concurrently for different
 * chunks.  A call that fails has to clean up after itself: its chunk is not
 * given to the undo function.
 *
 * Context: Process context, may sleep.  Runs under the locks that the caller
 * of ktask_run() holds, so it must not take them; a helper does not own them.
 * Return: %KTASK_RETURN_SUCCESS, or an errno that ends the task.
 */
typedef int (*ktask_thread_func)(void *start, void *end, void *arg);

/**
 * typedef ktask_undo_func - take back completed work after an error
 * @start: where the range starts
 * @end: where it ends; the range does not include it
 * @arg: the client's &ktask_ctl.kc_func_arg
 *
 * The range is one completed chunk or several neighbouring ones.
 *
 * Context: The caller's thread, once no chunk is in flight.
 */
typedef void (*ktask_undo_func)(void *start, void *end, void *arg);

/*
 * An iterator finds the position @size units after @position, where @size is
 * never more than the part has left.  ktask itself does not look into positions,
 * so they can be numbers, addresses or list entries; only ends are compared.
 *
 * Context: Called with a spinlock held; must not sleep.
 *
 * (kernel-doc does not understand a typedef whose function returns a pointer.)
 */
typedef void *(*ktask_iter_func)(void *position, size_t size);

/* The flags, see &enum ktask_flags, by which a signal ends a task. */
#define KTASK_SIGNALS	(KTASK_KILLABLE | KTASK_INTERRUPTIBLE)

/* All flags that there are. */
#define KTASK_FLAGS	(KTASK_SIGNALS | KTASK_MM | KTASK_CREDS |	\
			 KTASK_MEMCG | KTASK_HUGETLB_CGROUP |		\
			 KTASK_MEMPOLICY)

/**
 * struct ktask_node - a part of a task that belongs to a NUMA node
 * @kn_start: position of the first unit
 * @kn_task_size: number of units; a part may be empty
 * @kn_nid: the node whose CPUs are to do this part, or %NUMA_NO_NODE
 *
 * A node may have several parts.
 */
struct ktask_node {
	void			*kn_start;
	size_t			kn_task_size;
	int			kn_nid;

	/* private: engine state, letters as in kernel/ktask.c's locking legend */
	spinlock_t		kn_lock;
	void			*kn_position;	/* N: of the next chunk */
	size_t			kn_remaining;	/* N: units from there on */
	unsigned int		kn_share;	/* C: threads to size chunks for */
	unsigned int		kn_threads;	/* L: on it, read without as a guess */
	struct list_head	kn_failed;	/* L: chunks, by their positions */
};

/**
 * struct ktask_ctl - what a client tells about a task
 * @kc_thread_func: does one chunk
 * @kc_undo_func: takes back completed chunks after an error, or NULL
 * @kc_func_arg: passed to both
 * @kc_min_chunk_size: smallest chunk that is worth a helper, in units; rounded up to
 *		       a multiple of @kc_align, and no chunk is longer than 16 of it
 * @kc_iter_func: advances a position
 * @kc_align: chunks are cut at multiples of this many units, see
 *	      ktask_ctl_set_align()
 * @kc_max_threads: upper limit on threads, the caller among them; 0 for the
 *		    administrator's limit alone
 * @kc_flags: see &enum ktask_flags
 *
 * A ctl belongs to one call of ktask_run() at a time.
 */
struct ktask_ctl {
	ktask_thread_func	kc_thread_func;
	ktask_undo_func		kc_undo_func;
	void			*kc_func_arg;
	size_t			kc_min_chunk_size;
	ktask_iter_func		kc_iter_func;
	size_t			kc_align;
	unsigned int		kc_max_threads;
	unsigned int		kc_flags;

	/* private: the running task, NULL while it is a plain call */
	struct ktask_task	*kc_task;
};

/**
 * KTASK_CTL_INITIALIZER() - initialise a &struct ktask_ctl
 * @thread_func: the thread function
 * @func_arg: its argument
 * @min_chunk_size: smallest chunk worth a helper, in the client's units
 */
#define KTASK_CTL_INITIALIZER(thread_func, func_arg, min_chunk_size)	\
	{								\
		.kc_thread_func		= (thread_func),		\
		.kc_func_arg		= (func_arg),			\
		.kc_min_chunk_size	= (min_chunk_size),		\
		.kc_iter_func		= ktask_iter_range,		\
		.kc_align		= 1,				\
	}

/**
 * DEFINE_KTASK_CTL() - define and initialise a &struct ktask_ctl
 * @name: the variable
 * @thread_func: the thread function
 * @func_arg: its argument
 * @min_chunk_size: smallest chunk worth a helper, in the client's units
 */
#define DEFINE_KTASK_CTL(name, thread_func, func_arg, min_chunk_size)	\
	struct ktask_ctl name =						\
		KTASK_CTL_INITIALIZER(thread_func, func_arg, min_chunk_size)

/**
 * ktask_ctl_set_iter_func() - set another iterator than ktask_iter_range()
 * @ctl: the ctl
 * @iter_func: the iterator
 */
static inline void ktask_ctl_set_iter_func(struct ktask_ctl *ctl,
					   ktask_iter_func iter_func)
{
	ctl->kc_iter_func = iter_func;
}

/**
 * ktask_ctl_set_undo_func() - have completed work taken back after an error
 * @ctl: the ctl
 * @undo_func: the undo function
 */
static inline void ktask_ctl_set_undo_func(struct ktask_ctl *ctl,
					   ktask_undo_func undo_func)
{
	ctl->kc_undo_func = undo_func;
}

/**
 * ktask_ctl_set_max_threads() - limit the threads of a task
 * @ctl: the ctl
 * @max_threads: number of threads, the caller among them; 0 for no limit but
 *		 the administrator's
 *
 * The administrator's limits hold besides.  Before user space runs this one
 * takes the place of the default of the ktask.max_threads parameter.
 */
static inline void ktask_ctl_set_max_threads(struct ktask_ctl *ctl,
					     unsigned int max_threads)
{
	ctl->kc_max_threads = max_threads;
}

/**
 * ktask_ctl_set_align() - say where a task may be cut
 * @ctl: the ctl
 * @align: number of units, at least 1; need not be a power of two
 *
 * With ktask_iter_range() chunks meet at positions that are multiples of
 * @align.  With another iterator, whose positions are no numbers, units count
 * from the start of each part.  The minimum chunk is rounded up to a multiple
 * of @align.
 */
static inline void ktask_ctl_set_align(struct ktask_ctl *ctl, size_t align)
{
	ctl->kc_align = align;
}

/**
 * ktask_ctl_set_flags() - say what helpers take over and what may end a task
 * @ctl: the ctl
 * @flags: an OR of &enum ktask_flags
 *
 * Whatever the flags, helpers run only on CPUs where the caller may, and with its
 * allocation scopes, such as memalloc_nofs_save().
 *
 * A flag that there is not does not compile if @flags is a constant, else it is
 * ignored with a warning.
 */
static __always_inline void ktask_ctl_set_flags(struct ktask_ctl *ctl,
						unsigned int flags)
{
	BUILD_BUG_ON(__builtin_constant_p(flags) && (flags & ~KTASK_FLAGS));
	WARN_ON_ONCE(flags & ~KTASK_FLAGS);
	ctl->kc_flags = flags & KTASK_FLAGS;
}

/*
 * Has @caller a signal that ends a task with these flags?  When the caller is a
 * helper itself, signals go to the task that it works for.
 */
static inline bool ktask_signal_pending(const struct ktask_ctl *ctl,
					struct task_struct *caller)
{
	if (!(ctl->kc_flags & KTASK_SIGNALS))
		return false;
	caller = ktask_origin_of(caller, 0);
	if (ctl->kc_flags & KTASK_INTERRUPTIBLE)
		return signal_pending(caller);
	/* KTASK_KILLABLE */
	return fatal_signal_pending(caller);
}

/* A range in one call of the thread function. */
static inline int ktask_call_plain(void *start, size_t size,
				   struct ktask_ctl *ctl)
{
	if (!size)
		return KTASK_RETURN_SUCCESS;
	if (ktask_signal_pending(ctl, current))
		return -EINTR;
	return ctl->kc_thread_func(start, ctl->kc_iter_func(start, size),
				   ctl->kc_func_arg);
}

/* A task in the caller's thread alone, one call for each part. */
static inline int ktask_run_plain(struct ktask_node *nodes, size_t nr_nodes,
				  struct ktask_ctl *ctl)
{
	struct ktask_node *kn;
	void *end;
	int ret;

	for (kn = nodes; kn < nodes + nr_nodes; kn++) {
		ret = ktask_call_plain(kn->kn_start, kn->kn_task_size, ctl);
		if (ret)
			goto err_undo;
	}
	return KTASK_RETURN_SUCCESS;

err_undo:
	while (ctl->kc_undo_func && kn-- > nodes) {
		if (!kn->kn_task_size)
			continue;
		end = ctl->kc_iter_func(kn->kn_start, kn->kn_task_size);
		ctl->kc_undo_func(kn->kn_start, end, ctl->kc_func_arg);
	}
	return ret;
}

#ifdef CONFIG_KTASK

void *ktask_iter_range(void *position, size_t size);
bool ktask_should_stop(const struct ktask_ctl *ctl);
void __init ktask_init(void);

int __ktask_run(void *start, size_t task_size, struct ktask_ctl *ctl,
		struct lockdep_map *map);
int __ktask_run_numa(struct ktask_node *nodes, size_t nr_nodes,
		     struct ktask_ctl *ctl, struct lockdep_map *map);

#ifdef CONFIG_LOCKDEP
/* One lock class per call site: chunks run under the locks held there. */
#define KTASK_CALL_SITE	"ktask:" KBUILD_MODNAME ":" __stringify(__LINE__)
#define ktask_call_site() ({						\
	static struct lockdep_map __map =				\
		STATIC_LOCKDEP_MAP_INIT(KTASK_CALL_SITE, &__map);	\
	&__map;								\
})
#else
#define ktask_call_site()	NULL
#endif

/**
 * ktask_run() - do a task on the CPUs of the caller's node
 * @start: position of the first unit
 * @task_size: number of units
 * @ctl: what to do with them
 *
 * Cuts the task into chunks and lets helpers on idle CPUs and the calling
 * thread work through them.  A task too small for two chunks is a plain call
 * of the thread function.
 *
 * Context: Process context, may sleep.  Locks that are held stay held; ktask
 * takes no sleeping lock and allocates nothing.
 * Return: %KTASK_RETURN_SUCCESS, or the first error in time that the thread
 * function returned, or -EINTR if a signal ended the task.
 */
#define ktask_run(start, task_size, ctl)				\
	__ktask_run(start, task_size, ctl, ktask_call_site())

/**
 * ktask_run_numa() - do a task whose parts belong to NUMA nodes
 * @nodes: the parts
 * @nr_nodes: number of parts
 * @ctl: what to do with them
 *
 * Like ktask_run(), with helpers spread over the nodes in proportion to their
 * work.
 *
 * Context: As for ktask_run().
 * Return: As for ktask_run().
 */
#define ktask_run_numa(nodes, nr_nodes, ctl)				\
	__ktask_run_numa(nodes, nr_nodes, ctl, ktask_call_site())

#else /* CONFIG_KTASK */

static inline void *ktask_iter_range(void *position, size_t size)
{
	return position + size;
}

static inline int ktask_run_numa(struct ktask_node *nodes, size_t nr_nodes,
				 struct ktask_ctl *ctl)
{
	return ktask_run_plain(nodes, nr_nodes, ctl);
}

static inline int ktask_run(void *start, size_t task_size,
			    struct ktask_ctl *ctl)
{
	return ktask_call_plain(start, task_size, ctl);
}

static inline bool ktask_should_stop(const struct ktask_ctl *ctl)
{
	return ktask_signal_pending(ctl, current);
}

static inline void ktask_init(void)
{
}

#endif /* CONFIG_KTASK */

#endif /* _LINUX_KTASK_H */
