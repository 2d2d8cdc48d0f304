// SPDX-License-Identifier: GPL-2.0-only
/*
 * ktask_context.c - what helpers take over from the caller of a task
 *
 * A helper is a kernel thread.  For the time of a task it has to be its caller in
 * all that decides what a chunk may use and who pays for it.  There are three
 * kinds of such things:
 *
 * - what a kernel thread can put on: address space and access rights there by
 *   protection key, credentials, a memory cgroup by set_active_memcg(), allocation
 *   scopes.  The caller's own chunks may change these for a moment, so they are
 *   noted before the first chunk.
 *
 * - what others may change while the task runs: membership in cgroups, that for
 *   I/O always, and the memory policy and nodes of the caller.  The code that
 *   wants to know follows task_struct.ktask_context to the caller each time, see
 *   ktask_origin().
 *
 * - CPUs, see ktask_follow_cpus() in ktask.c.
 *
 * Nothing here needs a reference or allocates.  The caller waits for each helper
 * that has joined, so what it had when it called ktask it has until they left.
 */

#include <linux/atomic.h>
#include <linux/blkdev.h>
#include <linux/cred.h>
#include <linux/export.h>
#include <linux/kthread.h>
#include <linux/pkeys.h>
#include <linux/resume_user_mode.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <kunit/visibility.h>

#include "ktask_internal.h"

/*
 * Allocation scopes.  Without the caller's a helper would recurse into its locks
 * by way of reclaim, or be throttled by writeback that waits for the caller.  Such
 * a scope may end in deadlock if it is missed and costs next to nothing, so
 * helpers take over all, whatever the client's flags.  Not PF_MEMALLOC: a caller
 * with that has no helper, see ktask_why_plain().
 */
#define KTASK_SCOPES	(PF_MEMALLOC_NOFS | PF_MEMALLOC_NOIO |	\
			 PF_MEMALLOC_PIN | PF_LOCAL_THROTTLE)

/* The group that allocations of current are charged to by a scope of its own. */
static struct mem_cgroup *ktask_active_memcg(void)
{
	struct mem_cgroup *memcg = set_active_memcg(NULL);

	set_active_memcg(memcg);
	return memcg;
}

/* Set current's pages above memory.high to @nr; returns what they were. */
static unsigned int ktask_set_over_high(unsigned int nr)
{
	unsigned int old = 0;

#ifdef CONFIG_MEMCG
	old = current->memcg_nr_pages_over_high;
	current->memcg_nr_pages_over_high = nr;
#endif
	return old;
}

#ifdef CONFIG_BLK_CGROUP
/*
 * The I/O controller lets a task wait when it returns to user space, for its group
 * to pay its debts.  One of the queues that helpers name is enough: a task, too,
 * keeps the last one only.
 */
static void ktask_hand_over_throttle(struct ktask_context *kx)
{
	struct request_queue *q = current->throttle_queue;

	if (!q)
		return;
	current->throttle_queue = NULL;
	if (current->use_memdelay)
		WRITE_ONCE(kx->kx_memdelay, true);
	current->use_memdelay = false;
	if (cmpxchg(&kx->kx_throttle, NULL, q))
		blk_put_queue(q);
}

static void ktask_take_throttle(struct ktask_context *kx)
{
	struct request_queue *q = kx->kx_throttle;

	if (!q)
		return;
	if (current->throttle_queue)
		blk_put_queue(q);
	else
		current->throttle_queue = q;
	if (kx->kx_memdelay)
		current->use_memdelay = true;
	set_notify_resume(current);
}
#else
static void ktask_hand_over_throttle(struct ktask_context *kx) { }
static void ktask_take_throttle(struct ktask_context *kx) { }
#endif

/**
 * ktask_context_capture() - note what helpers have to take over from current
 * @kx: where to note it
 * @flags: an OR of &enum ktask_flags
 *
 * Context: The caller of a task, before the first chunk.
 */
void ktask_context_capture(struct ktask_context *kx, unsigned int flags)
{
	kx->kx_caller = current;
	kx->kx_flags = flags;
	kx->kx_pflags = current->flags;
	kx->kx_pkeys = arch_get_pkey_rights();
	kx->kx_mm = flags & KTASK_MM ? current->mm : NULL;
	kx->kx_cred = flags & KTASK_CREDS ? current_cred() : NULL;
	kx->kx_memcg = flags & KTASK_MEMCG ? ktask_active_memcg() : NULL;
	atomic_set(&kx->kx_over_high, 0);
	kx->kx_throttle = NULL;
	kx->kx_memdelay = false;
}
EXPORT_SYMBOL_IF_KUNIT(ktask_context_capture);

/**
 * ktask_context_adopt() - take over what the caller has
 * @kx: the caller's
 * @own: where to keep what the helper had
 *
 * Context: A helper that has joined the task of @kx.  Takes no sleeping lock.
 */
void ktask_context_adopt(struct ktask_context *kx, struct ktask_own *own)
{
	own->flags = current->flags & KTASK_SCOPES;
	current->flags |= kx->kx_pflags & KTASK_SCOPES;
	own->over_high = ktask_set_over_high(0);
	if (kx->kx_cred)
		own->cred = override_creds(kx->kx_cred);
	if (kx->kx_memcg)
		own->memcg = set_active_memcg(kx->kx_memcg);
	if (kx->kx_mm) {
		kthread_use_mm(kx->kx_mm);
		own->pkeys = arch_get_pkey_rights();
		arch_set_pkey_rights(kx->kx_pkeys);
	}
	current->ktask_context = kx;
}
EXPORT_SYMBOL_IF_KUNIT(ktask_context_adopt);

/**
 * ktask_context_drop() - be a kernel thread of its own again
 * @kx: as for ktask_context_adopt()
 * @own: as for ktask_context_adopt()
 *
 * Context: A helper, before it leaves the task of @kx, which may be gone then.
 */
void ktask_context_drop(struct ktask_context *kx, struct ktask_own *own)
{
	current->ktask_context = NULL;
	if (kx->kx_mm) {
		arch_set_pkey_rights(own->pkeys);
		kthread_unuse_mm(kx->kx_mm);
	}
	if (kx->kx_memcg)
		set_active_memcg(own->memcg);
	if (kx->kx_cred)
		revert_creds(own->cred);
	atomic_add(ktask_set_over_high(own->over_high), &kx->kx_over_high);
	ktask_hand_over_throttle(kx);
	current->flags = (current->flags & ~KTASK_SCOPES) | own->flags;
}
EXPORT_SYMBOL_IF_KUNIT(ktask_context_drop);

/**
 * ktask_context_settle() - have current answer for what helpers left to it
 * @kx: the caller's
 *
 * A task that charges above memory.high, or whose group owes I/O, is throttled
 * when it returns to user space, which helpers never do.
 *
 * Context: The caller of a task, when all helpers have left.
 */
void ktask_context_settle(struct ktask_context *kx)
{
	unsigned int nr = atomic_read(&kx->kx_over_high);

	ktask_take_throttle(kx);
	if (!nr)
		return;
	nr += ktask_set_over_high(0);
	ktask_set_over_high(nr);
	set_notify_resume(current);
}
EXPORT_SYMBOL_IF_KUNIT(ktask_context_settle);
