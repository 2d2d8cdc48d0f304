/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ktask_context.h - what a helper of ktask has of the task that it works for
 *
 * For the code that asks what the current task may use.  Clients of ktask
 * include linux/ktask.h.
 */
#ifndef _LINUX_KTASK_CONTEXT_H
#define _LINUX_KTASK_CONTEXT_H

#include <linux/atomic.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

struct cred;
struct mem_cgroup;
struct mm_struct;
struct request_queue;

/**
 * enum ktask_flags - what a client of ktask may ask for
 * @KTASK_KILLABLE: a fatal signal to the caller ends the task
 * @KTASK_INTERRUPTIBLE: any signal to the caller ends the task, and so does
 *			 whatever else makes signal_pending() true
 * @KTASK_MM: helpers have the caller's address space as their own
 * @KTASK_CREDS: helpers have the caller's credentials
 * @KTASK_MEMCG: what helpers allocate is charged to the caller's memory cgroup
 * @KTASK_HUGETLB_CGROUP: huge pages that helpers allocate, and reserve, are
 *			  charged to the caller's hugetlb cgroup
 * @KTASK_MEMPOLICY: helpers allocate by the caller's memory policy and on its
 *		     cpuset's memory nodes, without a policy on its node first
 *
 * A task that a signal ends hands out no further chunk and returns -EINTR,
 * after undo where there is an undo function.
 *
 * User pages of @KTASK_MM are charged to the group of the address space, as
 * always; their page tables are charged with @KTASK_MEMCG only.
 *
 * A thread function that touches user memory by @KTASK_MM has to live with this:
 *
 * - No signal reaches a helper.  Where the caller could be killed in its sleep, say
 *   for a page on a server that is gone, a helper sleeps on, and its caller has to
 *   wait for it.  For a page that userfaultfd is to provide it waits like its caller,
 *   and no longer than a second after that was killed.
 * - When the caller has been killed its memory may be taken away under a helper that
 *   is still at work.  What was copied from there then must not matter to anybody.
 */
enum ktask_flags {
	KTASK_KILLABLE		= 1 << 0,
	KTASK_INTERRUPTIBLE	= 1 << 1,
	KTASK_MM		= 1 << 2,
	KTASK_CREDS		= 1 << 3,
	KTASK_MEMCG		= 1 << 4,
	KTASK_HUGETLB_CGROUP	= 1 << 5,
	KTASK_MEMPOLICY		= 1 << 6,
};

/**
 * struct ktask_context - what the helpers of a task have of its caller
 * @kx_caller: the caller
 * @kx_flags: the client's &enum ktask_flags
 * @kx_pflags: its task_struct.flags
 * @kx_pkeys: its access rights by protection key
 * @kx_mm: address space to adopt, or NULL
 * @kx_cred: credentials to adopt, or NULL
 * @kx_memcg: what the caller has by set_active_memcg(), or NULL
 * @kx_over_high: pages that helpers charged above memory.high and that the
 *		  caller has to answer for
 * @kx_throttle: where the I/O controller wants the caller to wait for what
 *		 helpers did, with a reference, or NULL
 * @kx_memdelay: that wait is one for memory
 *
 * Lies on the caller's stack.  The caller waits for each helper that points to
 * it, so whatever the caller keeps alive for itself needs no reference here.
 */
struct ktask_context {
	struct task_struct	*kx_caller;
	unsigned int		kx_flags;
	unsigned int		kx_pflags;
	unsigned long		kx_pkeys;
	struct mm_struct	*kx_mm;
	const struct cred	*kx_cred;
	struct mem_cgroup	*kx_memcg;
	atomic_t		kx_over_high;
	struct request_queue	*kx_throttle;
	bool			kx_memdelay;
};

/**
 * ktask_origin_of() - the task for which @task works
 * @task: current, or a task that called ktask and has current as a helper
 * @flag: what is wanted of it, one of &enum ktask_flags, or 0 for what helpers
 *	  always take over, such as signals
 *
 * Callers of ktask may be helpers themselves, hence the loop.  None of these
 * tasks can go on before its helpers have left, so they can't go away.
 *
 * Return: @task itself unless it is a helper that borrows this.
 */
static inline struct task_struct *ktask_origin_of(struct task_struct *task,
						  unsigned int flag)
{
#ifdef CONFIG_KTASK
	while (unlikely(task->ktask_context) &&
	       (task->ktask_context->kx_flags & flag) == flag)
		task = task->ktask_context->kx_caller;
#endif
	return task;
}

/**
 * ktask_origin() - the task for which the current one works
 * @flag: as for ktask_origin_of()
 *
 * Return: current, or for a helper that borrows this its caller.
 */
static inline struct task_struct *ktask_origin(unsigned int flag)
{
	return ktask_origin_of(current, flag);
}

/**
 * ktask_origin_flags() - task_struct.flags of the task for which current works
 * @flag: as for ktask_origin_of()
 *
 * For the flags that stay as they are while a task is in the kernel and waits, such
 * as %PF_KTHREAD and %PF_EXITING.  A caller does chunks, too, and changes others
 * meanwhile, so these are from the time of its call.
 *
 * Return: the flags of current, or for a helper those of its caller.
 */
static inline unsigned int ktask_origin_flags(unsigned int flag)
{
	unsigned int flags = current->flags;
#ifdef CONFIG_KTASK
	const struct ktask_context *kx = current->ktask_context;

	while (unlikely(kx) && (kx->kx_flags & flag) == flag) {
		flags = kx->kx_pflags;
		kx = kx->kx_caller->ktask_context;
	}
#endif
	return flags;
}

/*
 * Should what current is at be given up?  For loops that a fatal signal ends.  That
 * signal goes to the caller of a task, no matter which thread does the work.
 */
static inline bool ktask_fatal_signal_pending(void)
{
	return fatal_signal_pending(ktask_origin(0));
}

#endif /* _LINUX_KTASK_CONTEXT_H */
