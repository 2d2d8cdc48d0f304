// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_ktask.c - run ktask tasks on request and measure what ktask adds to them
 *
 * Loading the module runs the tasks that its parameters describe, and the same
 * work by direct calls of the thread function, and prints one line:
 *
 *   test_ktask: tasks=T size=S chunk=C max_threads=M work=W cut=0 chunks=N
 *		 direct=CYCLES ktask=CYCLES
 *
 * (in one line) where N is the number of calls that ktask made of the thread
 * function, and CYCLES, by get_cycles(), the least of several repetitions.  On a
 * machine whose cycle counter counts instructions, as QEMU's does with
 * -icount shift=0, the two are exact, and alike in every boot.
 *
 * With context=1 it measures instead what it costs a helper to take over from its
 * caller what flags=F says and to give it back, tasks times:
 *
 *   test_ktask: tasks=T flags=F chunks=0 direct=CYCLES ktask=CYCLES
 *
 * where direct=CYCLES is for a loop that does nothing.  With other_mm=1 both loops
 * go to the address space of process 1 in each turn, so that the helper comes from
 * there.  With alloc=1 the two are a page that the caller itself allocates and frees,
 * charged to its group if flags=F say so, and one that a helper does for it.
 *
 * Once loaded it runs tasks for those who write to a file in debugfs, as part of
 * them, and shows what was done by whom, where, and with what:
 *
 *   test_ktask/run       a task as KEY=VALUE words, see test_ktask_parse();
 *			  write() returns its error
 *   test_ktask/progress  number of units done so far
 *   test_ktask/busy      units that are being done; those that are held are not
 *   test_ktask/go        written to let held units go on
 *   test_ktask/error     what the last task returned, without its sign
 *   test_ktask/balanced  number of its units after which NUMA balancing had something
 *			  of the helper to remember
 *   test_ktask/units     a line for each unit of the last task:
 *			  UNIT caller|helper|inner CPU CPU-AT-END NODE UID HOME
 *
 * The selftests in tools/testing/selftests/ktask use that.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/compiler.h>
#include <linux/cred.h>
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/ktask.h>
#include <linux/list.h>
#include <linux/memcontrol.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/sched/topology.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timex.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "../kernel/ktask_internal.h"

static unsigned int tasks = 1;
module_param(tasks, uint, 0444);
MODULE_PARM_DESC(tasks, "Number of tasks, one after the other (1)");

static unsigned long size = 1;
module_param(size, ulong, 0444);
MODULE_PARM_DESC(size, "Units of a task (1)");

static unsigned long chunk = 1;
module_param(chunk, ulong, 0444);
MODULE_PARM_DESC(chunk, "Minimum chunk, in units (1)");

static unsigned int max_threads;
module_param(max_threads, uint, 0444);
MODULE_PARM_DESC(max_threads, "Most threads of a task (0: the administrator's limit)");

static unsigned long work;
module_param(work, ulong, 0444);
MODULE_PARM_DESC(work, "Steps of an empty loop for each unit (0)");

static bool cut;
module_param(cut, bool, 0444);
MODULE_PARM_DESC(cut, "Cut tasks into chunks even when there can be no helper (N)");

static bool deadlock;
module_param(deadlock, bool, 0444);
MODULE_PARM_DESC(deadlock, "Show lockdep a thread function that takes its caller's lock (N)");

static bool context;
module_param(context, bool, 0444);
MODULE_PARM_DESC(context, "Measure what it costs to take over a caller's context (N)");

static bool other_mm;
module_param(other_mm, bool, 0444);
MODULE_PARM_DESC(other_mm, "Come from another address space then (N)");

static bool alloc;
module_param(alloc, bool, 0444);
MODULE_PARM_DESC(alloc, "Measure an allocation in that context (N)");

static unsigned int flags;
module_param(flags, uint, 0444);
MODULE_PARM_DESC(flags, "What is taken over then, of enum ktask_flags (0)");

static unsigned int repeat = 20;
module_param(repeat, uint, 0444);
MODULE_PARM_DESC(repeat, "Number of repetitions (20)");

static atomic_long_t test_ktask_calls;

static noinline int test_ktask_func(void *start, void *end, void *arg)
{
	unsigned long steps = (end - start) * work;

	atomic_long_inc(&test_ktask_calls);
	while (steps--)
		barrier();
	return KTASK_RETURN_SUCCESS;
}

/* Read before each call, so that direct calls are indirect ones, like ktask's. */
static ktask_thread_func test_ktask_pointer = test_ktask_func;

static int test_ktask_direct(cycles_t *least)
{
	cycles_t start = get_cycles();
	unsigned int i;
	int ret = 0;

	for (i = 0; i < tasks && !ret; i++)
		ret = READ_ONCE(test_ktask_pointer)(NULL, (void *)size, NULL);
	*least = min(*least, get_cycles() - start);
	return ret;
}

static int test_ktask_run(struct ktask_ctl *ctl, cycles_t *least)
{
	cycles_t start = get_cycles();
	unsigned int i;
	int ret = 0;

	for (i = 0; i < tasks && !ret; i++)
		ret = ktask_run(NULL, size, ctl);
	*least = min(*least, get_cycles() - start);
	return ret;
}

/*
 * The engine and the direct calls in turn.  Interrupts stay on, which ktask
 * needs; the repetition that had none is the least, if it is short enough to
 * fit between two of them.
 */
static int test_ktask_measure(cycles_t *direct, cycles_t *ktask)
{
	DEFINE_KTASK_CTL(ctl, test_ktask_func, NULL, chunk);
	unsigned int i;
	int ret = 0;

	ktask_ctl_set_max_threads(&ctl, max_threads);
	for (i = 0; i < repeat && !ret; i++) {
		ret = test_ktask_direct(direct);
		if (ret)
			break;
		atomic_long_set(&test_ktask_calls, 0);
		ret = test_ktask_run(&ctl, ktask);
	}
	return ret;
}

static DEFINE_MUTEX(test_ktask_mutex);

static int test_ktask_take_mutex(void *start, void *end, void *arg)
{
	bool *take = arg;

	if (*take) {
		mutex_lock(&test_ktask_mutex);
		mutex_unlock(&test_ktask_mutex);
	}
	return KTASK_RETURN_SUCCESS;
}

/*
 * A thread function takes a mutex, and a call from the same place is made with
 * it held.  The two are not at one time, so only lockdep can see the deadlock.  With
 * @cut it is a task of two chunks, and a plain call else.
 */
static int test_ktask_deadlock(void)
{
	bool take;
	DEFINE_KTASK_CTL(ctl, test_ktask_take_mutex, &take, 1);
	int i, ret = 0;

	for (i = 0; i < 2 && !ret; i++) {
		take = i == 0;
		if (!take)
			mutex_lock(&test_ktask_mutex);
		ret = ktask_run(NULL, cut ? 2 : 1, &ctl);
		if (!take)
			mutex_unlock(&test_ktask_mutex);
	}
	return ret;
}

/* ---- The cost of a context ---------------------------------------------- */

struct test_ktask_context {
	struct ktask_context	context;
	struct mm_struct	*other;
	cycles_t		direct;
	cycles_t		adopted;
};

/* Be in another address space for a moment, as workers are in between. */
static void test_ktask_visit(struct mm_struct *other)
{
	if (!other)
		return;
	kthread_use_mm(other);
	kthread_unuse_mm(other);
}

static cycles_t test_ktask_empty(struct test_ktask_context *measured)
{
	cycles_t start = get_cycles();
	unsigned int i;

	for (i = 0; i < tasks; i++) {
		test_ktask_visit(measured->other);
		barrier();
	}
	return get_cycles() - start;
}

static cycles_t test_ktask_adopt(struct test_ktask_context *measured)
{
	cycles_t start = get_cycles();
	struct ktask_own own;
	unsigned int i;

	for (i = 0; i < tasks; i++) {
		test_ktask_visit(measured->other);
		ktask_context_adopt(&measured->context, &own);
		ktask_context_drop(&measured->context, &own);
	}
	return get_cycles() - start;
}

/* Pages that this thread allocates; one that is missing spoils the figures. */
static cycles_t test_ktask_alloc(void)
{
	gfp_t gfp = flags & KTASK_MEMCG ? GFP_KERNEL_ACCOUNT : GFP_KERNEL;
	cycles_t start = get_cycles();
	struct page *page;
	unsigned int i;

	for (i = 0; i < tasks; i++) {
		page = alloc_page(gfp);
		if (!page)
			return ~(cycles_t)0;
		__free_page(page);
	}
	return get_cycles() - start;
}

/* The same by a helper. */
static cycles_t test_ktask_alloc_adopted(struct test_ktask_context *measured)
{
	struct ktask_own own;
	cycles_t cycles;

	ktask_context_adopt(&measured->context, &own);
	cycles = test_ktask_alloc();
	ktask_context_drop(&measured->context, &own);
	return cycles;
}

/* A kernel thread, as helpers are. */
static int test_ktask_context_thread(void *arg)
{
	struct test_ktask_context *m = arg;
	unsigned int i;

	for (i = 0; i < repeat && alloc; i++)
		m->adopted = min(m->adopted, test_ktask_alloc_adopted(m));
	for (i = 0; i < repeat && !alloc; i++) {
		m->direct = min(m->direct, test_ktask_empty(m));
		m->adopted = min(m->adopted, test_ktask_adopt(m));
	}
	return 0;
}

/* Process 1 has an address space other than that of whoever loads this module. */
static struct mm_struct *test_ktask_other_mm(void)
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

static int test_ktask_run_context_thread(struct test_ktask_context *measured)
{
	struct task_struct *thread;

	thread = kthread_create(test_ktask_context_thread, measured,
				"test_ktask");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	get_task_struct(thread);
	wake_up_process(thread);
	/* Not before it has run: it would never begin. */
	while (!READ_ONCE(thread->exit_state))
		schedule_timeout_uninterruptible(1);
	put_task_struct(thread);
	return 0;
}

/* A scope for the memory group is noted too, where one is adopted. */
static int test_ktask_capture_and_run(struct test_ktask_context *measured)
{
	struct mem_cgroup *memcg = NULL, *old;
	int ret;

	if (flags & KTASK_MEMCG && !alloc)
		memcg = get_mem_cgroup_from_mm(current->mm);
	old = set_active_memcg(memcg);
	ktask_context_capture(&measured->context, flags);
	set_active_memcg(old);
	ret = test_ktask_run_context_thread(measured);
	ktask_context_settle(&measured->context);
	mem_cgroup_put(memcg);
	return ret;
}

static int test_ktask_measure_context(void)
{
	struct test_ktask_context measured = {
		.direct		= ~(cycles_t)0,
		.adopted	= ~(cycles_t)0,
	};
	unsigned int i;
	int ret;

	if (other_mm) {
		measured.other = test_ktask_other_mm();
		if (!measured.other)
			return -ESRCH;
	}
	for (i = 0; i < repeat && alloc; i++)
		measured.direct = min(measured.direct, test_ktask_alloc());
	ret = test_ktask_capture_and_run(&measured);
	if (measured.other)
		mmput(measured.other);
	if (ret)
		return ret;
	pr_info("tasks=%u flags=%#x chunks=0 direct=%llu ktask=%llu\n", tasks,
		flags,
		(unsigned long long)measured.direct,
		(unsigned long long)measured.adopted);
	return 0;
}

/* ---- Tasks on request --------------------------------------------------- */

/* How long held units, and a caller for the next unit of a helper, wait at most. */
#define TEST_KTASK_PATIENCE	(60 * HZ)
#define TEST_KTASK_MAX_UNITS	65536

/**
 * struct test_ktask_unit - what was seen of a unit
 * @cpu: where it began
 * @end_cpu: where it ended
 * @nid: node of its page, or NUMA_NO_NODE
 * @uid: user whose credentials it had
 * @home: node of the caller, or NUMA_NO_NODE if that moved meanwhile
 * @helper: a helper did it
 * @inner: a helper of a nested task did it
 * @page: its page, if it is allocated
 */
struct test_ktask_unit {
	int			cpu;
	int			end_cpu;
	int			nid;
	uid_t			uid;
	int			home;
	bool			helper;
	bool			inner;
	struct page		*page;
};

/**
 * struct test_ktask_request - a task that somebody asked for
 * @ctl: for the engine
 * @part: likewise
 * @unit: does a unit
 * @addr: where the memory begins that units fault in
 * @stride: distance of units there, in bytes
 * @spin: jiffies that a unit takes at least
 * @hold: first unit that waits for test_ktask/go
 * @lead: the caller's first chunk waits until helpers have done the rest
 * @nested: each unit is done in a task of its own, by a helper of that if it can
 * @caller: who asked
 */
struct test_ktask_request {
	struct ktask_ctl	ctl;
	struct ktask_node	part;
	int			(*unit)(struct test_ktask_request *req,
					struct test_ktask_unit *unit, size_t i);
	unsigned long		addr;
	unsigned long		stride;
	unsigned long		spin;
	unsigned long		hold;
	unsigned long		lead;
	unsigned long		nested;
	struct task_struct	*caller;
};

static DEFINE_MUTEX(test_ktask_run_mutex);	/* one task at a time */
static struct test_ktask_unit *test_ktask_units;
static size_t test_ktask_nr_units;
static atomic_t test_ktask_busy;
static atomic_t test_ktask_done;
static atomic_t test_ktask_helper_done;
static atomic_t test_ktask_balanced;
static u32 test_ktask_error;
static bool test_ktask_gone_on;
static struct dentry *test_ktask_dir;

static int test_ktask_unit_spin(struct test_ktask_request *req,
				struct test_ktask_unit *unit, size_t i)
{
	unsigned long end = jiffies + req->spin;

	while (time_before(jiffies, end)) {
		cpu_relax();
		cond_resched();
	}
	return 0;
}

/* The page stays until the next request, unless the task fails. */
static int test_ktask_unit_alloc(struct test_ktask_request *req,
				 struct test_ktask_unit *unit, size_t i)
{
	unit->page = alloc_pages(GFP_USER | __GFP_ACCOUNT | __GFP_NOWARN, 0);
	if (!unit->page)
		return -ENOMEM;
	unit->nid = page_to_nid(unit->page);
	return 0;
}

/* Fault a page in for writing, as somebody who pins memory does. */
static int test_ktask_unit_fault(struct test_ktask_request *req,
				 struct test_ktask_unit *unit, size_t i)
{
	struct page *page;
	int ret;

	ret = get_user_pages_fast(req->addr + i * req->stride, 1, FOLL_WRITE,
				  &page);
	if (ret != 1)
		return ret ? ret : -EFAULT;
	unit->nid = page_to_nid(page);
	put_page(page);
	return 0;
}

/**
 * struct test_ktask_inner - a unit that is done in a nested task
 * @req: the request
 * @unit: the unit
 * @i: its number
 * @outer: who runs the nested task
 * @taken: bit 0: somebody does it
 */
struct test_ktask_inner {
	struct test_ktask_request	*req;
	struct test_ktask_unit		*unit;
	size_t				i;
	struct task_struct		*outer;
	unsigned long			taken;
};

static int test_ktask_inner_func(void *start, void *end, void *arg)
{
	unsigned long until = jiffies + HZ;
	struct test_ktask_inner *inner = arg;
	bool outer = current == inner->outer;

	while (outer && !test_bit(0, &inner->taken) &&
	       time_before(jiffies, until))
		schedule_timeout_uninterruptible(1);
	if (test_and_set_bit(0, &inner->taken))
		return KTASK_RETURN_SUCCESS;
	inner->unit->inner = !outer;
	return inner->req->unit(inner->req, inner->unit, inner->i);
}

/* Two chunks: one for a helper, to do the unit, and one to wait for it. */
static int test_ktask_nest(struct test_ktask_request *req,
			   struct test_ktask_unit *unit, size_t i)
{
	struct test_ktask_inner inner = {
		.req	= req,
		.unit	= unit,
		.i	= i,
		.outer	= current,
	};
	DEFINE_KTASK_CTL(ctl, test_ktask_inner_func, &inner, 1);
	struct ktask_node part = { .kn_task_size = 2, .kn_nid = NUMA_NO_NODE };

	ktask_ctl_set_flags(&ctl, req->ctl.kc_flags);
	ktask_ctl_set_max_threads(&ctl, 2);
	return ktask_run_numa(&part, 1, &ctl);
}

static bool test_ktask_wait_go(struct test_ktask_request *req)
{
	unsigned long end = jiffies + TEST_KTASK_PATIENCE;

	while (!READ_ONCE(test_ktask_gone_on)) {
		if (time_after(jiffies, end) || ktask_should_stop(&req->ctl))
			return false;
		schedule_timeout_uninterruptible(1);
	}
	return true;
}

/* Does NUMA balancing know the current thread? */
static bool test_ktask_is_balanced(void)
{
#ifdef CONFIG_NUMA_BALANCING
	return current->numa_faults;
#else
	return false;
#endif
}

static int test_ktask_do_unit(struct test_ktask_request *req, size_t i)
{
	struct test_ktask_unit *unit = &test_ktask_units[i];
	int ret = 0;

	if (i >= req->hold && !test_ktask_wait_go(req))
		return ktask_should_stop(&req->ctl) ? -EINTR : -ETIME;
	atomic_inc(&test_ktask_busy);
	unit->helper = current != req->caller;
	unit->cpu = raw_smp_processor_id();
	unit->uid = from_kuid(&init_user_ns, current_fsuid());
	unit->home = task_node(req->caller);
	if (req->unit && req->nested)
		ret = test_ktask_nest(req, unit, i);
	else if (req->unit)
		ret = req->unit(req, unit, i);
	unit->end_cpu = raw_smp_processor_id();
	if (unit->helper && test_ktask_is_balanced())
		atomic_inc(&test_ktask_balanced);
	if (task_node(req->caller) != unit->home)
		unit->home = NUMA_NO_NODE;
	atomic_dec(&test_ktask_busy);
	return ret;
}

/* The caller, in its first chunk, whose units are for the end. */
static bool test_ktask_wait_helpers(struct test_ktask_request *req, size_t own)
{
	unsigned long end = jiffies + TEST_KTASK_PATIENCE;
	int done, before = 0;

	while (done = atomic_read(&test_ktask_helper_done),
	       done + own < req->part.kn_task_size) {
		if (done != before)
			end = jiffies + TEST_KTASK_PATIENCE;
		before = done;
		if (time_after(jiffies, end) || ktask_should_stop(&req->ctl))
			return false;
		schedule_timeout_uninterruptible(1);
	}
	return true;
}

static int test_ktask_units_func(void *start, void *end, void *arg)
{
	struct test_ktask_request *req = arg;
	bool helper = current != req->caller;
	size_t i = (size_t)start;
	int ret;

	if (!helper && req->lead && !test_ktask_wait_helpers(req, end - start))
		return ktask_should_stop(&req->ctl) ? -EINTR : -ETIME;
	for (; i < (size_t)end; i++) {
		ret = test_ktask_do_unit(req, i);
		if (ret)
			return ret;
		atomic_inc(&test_ktask_done);
		if (helper)
			atomic_inc(&test_ktask_helper_done);
		cond_resched();
	}
	return KTASK_RETURN_SUCCESS;
}

static void test_ktask_free_pages(void)
{
	size_t i;

	lockdep_assert_held(&test_ktask_run_mutex);
	for (i = 0; i < test_ktask_nr_units; i++) {
		if (test_ktask_units[i].page)
			__free_page(test_ktask_units[i].page);
		test_ktask_units[i].page = NULL;
	}
}

static void test_ktask_forget(void)
{
	test_ktask_free_pages();
	vfree(test_ktask_units);
	test_ktask_units = NULL;
	test_ktask_nr_units = 0;
}

static int test_ktask_parse_work(struct test_ktask_request *req,
				 const char *value)
{
	if (!strcmp(value, "spin"))
		req->unit = test_ktask_unit_spin;
	else if (!strcmp(value, "alloc"))
		req->unit = test_ktask_unit_alloc;
	else if (!strcmp(value, "fault"))
		req->unit = test_ktask_unit_fault;
	else
		return -EINVAL;
	return 0;
}

/* One word of a request. */
static int test_ktask_parse(struct test_ktask_request *req, char *word)
{
	char *key = strsep(&word, "=");
	unsigned long value;

	if (!word)
		return -EINVAL;
	if (!strcmp(key, "work"))
		return test_ktask_parse_work(req, word);
	if (kstrtoul(word, 0, &value))
		return -EINVAL;
	if (!strcmp(key, "size"))
		req->part.kn_task_size = value;
	else if (!strcmp(key, "chunk"))
		req->ctl.kc_min_chunk_size = value;
	else if (!strcmp(key, "flags") && !(value & ~KTASK_FLAGS))
		ktask_ctl_set_flags(&req->ctl, value);
	else if (!strcmp(key, "max_threads"))
		ktask_ctl_set_max_threads(&req->ctl, value);
	else if (!strcmp(key, "node"))
		req->part.kn_nid = value;
	else if (!strcmp(key, "addr"))
		req->addr = value;
	else if (!strcmp(key, "stride"))
		req->stride = value;
	else if (!strcmp(key, "spin"))
		req->spin = value;
	else if (!strcmp(key, "hold"))
		req->hold = value;
	else if (!strcmp(key, "lead"))
		req->lead = value;
	else if (!strcmp(key, "nested"))
		req->nested = value;
	else
		return -EINVAL;
	return 0;
}

static int test_ktask_request(char *text)
{
	struct test_ktask_request req = {
		.ctl	= KTASK_CTL_INITIALIZER(test_ktask_units_func, &req, 1),
		.part	= { .kn_task_size = 1, .kn_nid = NUMA_NO_NODE },
		.stride	= PAGE_SIZE,
		.hold	= ULONG_MAX,
		.caller	= current,
	};
	char *word;
	size_t i;
	int ret;

	while ((word = strsep(&text, "\n "))) {
		ret = *word ? test_ktask_parse(&req, word) : 0;
		if (ret)
			return ret;
	}
	if (!req.part.kn_task_size ||
	    req.part.kn_task_size > TEST_KTASK_MAX_UNITS)
		return -EINVAL;

	test_ktask_forget();
	test_ktask_units = vcalloc(req.part.kn_task_size,
				   sizeof(*test_ktask_units));
	if (!test_ktask_units)
		return -ENOMEM;
	test_ktask_nr_units = req.part.kn_task_size;
	for (i = 0; i < test_ktask_nr_units; i++) {
		test_ktask_units[i].cpu = -1;
		test_ktask_units[i].nid = NUMA_NO_NODE;
	}
	atomic_set(&test_ktask_done, 0);
	atomic_set(&test_ktask_helper_done, 0);
	atomic_set(&test_ktask_balanced, 0);
	WRITE_ONCE(test_ktask_gone_on, false);
	/* Helpers are wanted, whatever else runs on a small machine. */
	WRITE_ONCE(ktask_test_hooks.ignore_load, true);
	ret = ktask_run_numa(&req.part, 1, &req.ctl);
	WRITE_ONCE(ktask_test_hooks.ignore_load, false);
	WRITE_ONCE(test_ktask_error, -ret);
	/* Memory may have run out, and nobody else is to be killed for it. */
	if (ret)
		test_ktask_free_pages();
	return ret;
}

static ssize_t test_ktask_run_write(struct file *file, const char __user *from,
				    size_t count, loff_t *pos)
{
	char *text = memdup_user_nul(from, min_t(size_t, count, PAGE_SIZE));
	int ret;

	if (IS_ERR(text))
		return PTR_ERR(text);
	ret = mutex_lock_interruptible(&test_ktask_run_mutex);
	if (!ret) {
		ret = test_ktask_request(text);
		mutex_unlock(&test_ktask_run_mutex);
	}
	kfree(text);
	return ret ? ret : count;
}

static const struct file_operations test_ktask_run_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= test_ktask_run_write,
};

static ssize_t test_ktask_go_write(struct file *file, const char __user *from,
				   size_t count, loff_t *pos)
{
	WRITE_ONCE(test_ktask_gone_on, true);
	return count;
}

static const struct file_operations test_ktask_go_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= test_ktask_go_write,
};

static int test_ktask_units_show(struct seq_file *m, void *unused)
{
	struct test_ktask_unit *unit;
	size_t i;

	mutex_lock(&test_ktask_run_mutex);
	for (i = 0; i < test_ktask_nr_units; i++) {
		unit = &test_ktask_units[i];
		if (unit->cpu < 0)
			continue;
		seq_printf(m, "%zu %s %d %d %d %u %d\n", i,
			   unit->inner ? "inner" :
			   unit->helper ? "helper" : "caller", unit->cpu,
			   unit->end_cpu, unit->nid, unit->uid, unit->home);
	}
	mutex_unlock(&test_ktask_run_mutex);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(test_ktask_units);

static void test_ktask_add_files(void)
{
	test_ktask_dir = debugfs_create_dir("test_ktask", NULL);
	debugfs_create_file("run", 0200, test_ktask_dir, NULL,
			    &test_ktask_run_fops);
	debugfs_create_file("go", 0200, test_ktask_dir, NULL,
			    &test_ktask_go_fops);
	debugfs_create_file("units", 0400, test_ktask_dir, NULL,
			    &test_ktask_units_fops);
	debugfs_create_atomic_t("busy", 0400, test_ktask_dir,
				&test_ktask_busy);
	debugfs_create_atomic_t("progress", 0400, test_ktask_dir,
				&test_ktask_done);
	debugfs_create_atomic_t("balanced", 0400, test_ktask_dir,
				&test_ktask_balanced);
	debugfs_create_u32("error", 0400, test_ktask_dir, &test_ktask_error);
}

/* ---- Load and unload ---------------------------------------------------- */

static int __init test_ktask_init(void)
{
	cycles_t direct = ~(cycles_t)0;
	cycles_t ktask = ~(cycles_t)0;
	int ret;

	if (!tasks || !repeat) {
		pr_err("tasks and repeat have to be at least 1\n");
		return -EINVAL;
	}
	if (context)
		return test_ktask_measure_context();
	if (cut)
		WRITE_ONCE(ktask_test_hooks.force_cut, true);
	if (deadlock)
		ret = test_ktask_deadlock();
	else
		ret = test_ktask_measure(&direct, &ktask);
	if (cut)
		WRITE_ONCE(ktask_test_hooks.force_cut, false);
	if (ret || deadlock)
		return ret;

	pr_info("tasks=%u size=%lu chunk=%lu max_threads=%u work=%lu cut=%d chunks=%ld direct=%llu ktask=%llu\n",
		tasks, size, chunk, max_threads, work, cut,
		atomic_long_read(&test_ktask_calls),
		(unsigned long long)direct, (unsigned long long)ktask);
	test_ktask_add_files();
	return 0;
}
module_init(test_ktask_init);

/* Nothing of a task is left when ktask_run() has returned. */
static void __exit test_ktask_exit(void)
{
	debugfs_remove_recursive(test_ktask_dir);
	mutex_lock(&test_ktask_run_mutex);
	test_ktask_forget();
	mutex_unlock(&test_ktask_run_mutex);
}
module_exit(test_ktask_exit);

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_DESCRIPTION("Runs ktask tasks on request");
MODULE_LICENSE("GPL");
