// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests that mm->locked_vm, VmLck in /proc/self/status, is exact at
 * RLIMIT_MEMLOCK, whoever charges it and however many do so at once.
 *
 * The mm system calls charge under mmap_lock, VFIO without it.  So the races
 * need VFIO to show the most; without a group the rest still runs.  A group is
 * any /dev/vfio/NUMBER, or what an "edu" device of QEMU makes, which is bound
 * to vfio-pci where that is possible:
 *
 *	-M q35,kernel-irqchip=off -device intel-iommu,caching-mode=on
 *	-device edu -device edu, and intel_iommu=on on the command line
 *
 * Two devices give two containers, which charge in parallel.
 *
 * Most of it holds as well on kernels that account under mmap_lock.  There
 * mlockall() looks at total_vm alone, and pages that change hands may be
 * uncharged for a moment, as nobody can take their room: the option --mmap-lock
 * leaves out the two cases about that.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/io_uring.h>

#include "vfio.h"

#define MAX_WORKERS	8

/* Pages that the single threaded cases may lock. */
#define LIMIT		32
/* Rounds of the race for one page; a round is a few system calls. */
#define LAST_PAGE_ROUNDS	4000
/* The calls that fit, each of the whole limit, beside others that do not. */
#define GREEDY_ROUNDS	1500
/* Rounds in which pages change hands while somebody watches. */
#define HANDOVER_ROUNDS	300
#define HANDOVER_PAGES	128
/* The free-for-all: so many system calls a thread, the sum checked so often. */
#define CHURN_EPOCHS	40
#define CHURN_CALLS	100
#define CHURN_PAGES	16

/* Nothing else is ever mapped here, so a stack has room to grow down. */
#define STACKS		0x100000000000UL
#define STACK_SPACE	0x10000000UL

#define IOVA		0x10000000UL

/* -------------------------------------------------------------------------
 * Helpers
 */

static char *map_at(char *addr, size_t pages, int prot, int flags)
{
	return mmap(addr, pages * page, prot, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_FIXED | flags, -1, 0);
}

static bool is_mapped(char *addr)
{
	unsigned char present;

	return !mincore(addr, page, &present);
}

static unsigned int xorshift(unsigned int *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Touches a byte; false if that raised SIGSEGV. */
static __thread sigjmp_buf segv_jump;

static void segv_handler(int sig)
{
	(void)sig;
	siglongjmp(segv_jump, 1);
}

static bool touch(void *addr)
{
	if (sigsetjmp(segv_jump, 1))
		return false;
	__atomic_store_n((char *)addr, 1, __ATOMIC_RELAXED);
	return true;
}

/* -------------------------------------------------------------------------
 * One thread
 */

static void test_mlock(void)
{
	char *buf = map_pages(LIMIT + 2, 0);

	set_limit(LIMIT);
	check(mlock(buf, (LIMIT + 1) * page) == -1 && errno == ENOMEM,
	      "mlock of one page too many");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	check(!mlock(buf, LIMIT * page), "mlock up to the limit");
	check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());
	check(mlock(buf + LIMIT * page, page) == -1 && errno == ENOMEM,
	      "mlock above the limit");

	/* What is locked already does not count twice. */
	check(!mlock(buf, LIMIT * page), "mlock again");
	check(!mlock2(buf, LIMIT * page, MLOCK_ONFAULT), "mlock2 again");
	check(!munlock(buf + page, page), "munlock");
	check(vm_lck() == LIMIT - 1, "VmLck %ld", vm_lck());
	check(!mlock(buf, LIMIT * page), "mlock with a gap");
	check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());
	check(!munlock(buf, 2 * page), "munlock");
	check(mlock(buf, (LIMIT + 1) * page) == -1 && errno == ENOMEM,
	      "mlock of a range that is locked in part");
	check(vm_lck() == LIMIT - 2, "VmLck %ld", vm_lck());

	/* It stops at a hole, and keeps what is in front of that. */
	check(!munlock(buf, LIMIT * page), "munlock");
	munmap(buf + 3 * page, page);
	check(mlock(buf, 6 * page) == -1 && errno == ENOMEM, "mlock of a hole");
	check(vm_lck() == 3, "VmLck %ld", vm_lck());
	check(!mlock(NULL, 0), "mlock of nothing");
	munmap(buf, (LIMIT + 2) * page);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
}

static void test_mmap(void)
{
	char *buf, *again;

	set_limit(LIMIT);
	buf = map_pages(LIMIT + 1, MAP_LOCKED);
	check(buf == MAP_FAILED && errno == EAGAIN, "one page too many");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	buf = map_pages(LIMIT, MAP_LOCKED);
	check(buf != MAP_FAILED, "up to the limit");
	check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());
	munmap(buf + page, page);
	check(vm_lck() == LIMIT - 1, "VmLck %ld", vm_lck());

	/* Over a mapping that is locked: room is needed for both. */
	again = mmap(buf, 2 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		     MAP_FIXED | MAP_LOCKED, -1, 0);
	check(again == MAP_FAILED && errno == EAGAIN, "MAP_FIXED at the limit");
	check(vm_lck() == LIMIT - 1, "VmLck %ld", vm_lck());
	munmap(buf + 2 * page, 3 * page);
	again = mmap(buf, 2 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		     MAP_FIXED | MAP_LOCKED, -1, 0);
	check(again == buf, "MAP_FIXED: %s", strerror(errno));
	check(vm_lck() == LIMIT - 3, "VmLck %ld", vm_lck());
	again = mmap(buf, 2 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		     MAP_FIXED, -1, 0);
	check(again == buf, "MAP_FIXED: %s", strerror(errno));
	check(vm_lck() == LIMIT - 5, "VmLck %ld", vm_lck());
	munmap(buf, LIMIT * page);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
}

static void test_mremap(void)
{
	char *buf, *there, *moved;
	int fd;

	set_limit(LIMIT);
	there = map_pages(2 * LIMIT, 0);
	buf = map_pages(LIMIT - 2, MAP_LOCKED);
	moved = mremap(buf, (LIMIT - 2) * page, (LIMIT + 1) * page,
		       MREMAP_MAYMOVE);
	check(moved == MAP_FAILED && errno == EAGAIN, "one page too many");
	check(vm_lck() == LIMIT - 2, "VmLck %ld", vm_lck());
	moved = mremap(buf, (LIMIT - 2) * page, LIMIT * page, MREMAP_MAYMOVE);
	check(moved != MAP_FAILED, "grow: %s", strerror(errno));
	check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());
	buf = moved;

	/* A move that does not grow fits at the limit. */
	moved = mremap(buf, LIMIT * page, LIMIT * page,
		       MREMAP_MAYMOVE | MREMAP_FIXED, there);
	check(moved == there, "move: %s", strerror(errno));
	check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());
	buf = moved;
	moved = mremap(buf, LIMIT * page, 5 * page, 0);
	check(moved == buf, "shrink: %s", strerror(errno));
	check(vm_lck() == 5, "VmLck %ld", vm_lck());

	/* From the middle of a mapping, growing on the way. */
	moved = mremap(buf + page, 2 * page, 4 * page,
		       MREMAP_MAYMOVE | MREMAP_FIXED, there + LIMIT * page);
	check(moved == there + LIMIT * page, "split: %s", strerror(errno));
	check(vm_lck() == 7, "VmLck %ld", vm_lck());
	moved = mremap(moved, 4 * page, 4 * page,
		       MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	check(moved != MAP_FAILED, "keep: %s", strerror(errno));
	check(vm_lck() == 7, "VmLck %ld", vm_lck());
	munmap(moved, 4 * page);
	munmap(there, 2 * LIMIT * page);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());

	/* An old length of 0 makes a second mapping of shared memory. */
	fd = memfd_create("locked_vm", 0);
	check(fd >= 0 && !ftruncate(fd, LIMIT * page), "memfd");
	buf = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_LOCKED, fd, 0);
	moved = mremap(buf, 0, 2 * page, MREMAP_MAYMOVE);
	check(moved != MAP_FAILED, "duplicate: %s", strerror(errno));
	check(vm_lck() == 5, "VmLck %ld", vm_lck());
	munmap(moved, 2 * page);
	munmap(buf, 3 * page);
	close(fd);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
}

/*
 * The target of MREMAP_FIXED is unmapped first, whatever comes of the call, and
 * what was locked there is room for the mapping to grow.
 */
static const struct target_case {
	const char *name;
	size_t source;		/* pages of the mapping */
	bool unlocked;		/* they are not locked */
	size_t at, old, new;	/* what moves: from where, how many, to how many */
	size_t target;		/* pages locked where it moves to */
	size_t limit;
	int flags;
	int error;
	long locked;		/* VmLck afterwards */
} target_cases[] = {
	{ .name = "all that the target gives back", .source = 8, .old = 8,
	  .new = 32, .target = 24, .limit = 32, .locked = 32 },
	{ .name = "that and all that is free", .source = 4, .old = 4,
	  .new = 32, .target = 10, .limit = 32, .locked = 32 },
	{ .name = "one page more", .source = 5, .old = 4, .new = 32,
	  .target = 10, .limit = 32, .error = EAGAIN, .locked = 5 },
	{ .name = "the limit was lowered", .source = 4, .old = 4, .new = 8,
	  .target = 4, .limit = 7, .error = EAGAIN, .locked = 4 },
	{ .name = "a part of what it gives back", .source = 4, .old = 4,
	  .new = 6, .target = 20, .limit = 24, .locked = 20 },
	{ .name = "the middle of a mapping", .source = 12, .at = 4, .old = 4,
	  .new = 8, .target = 4, .limit = 16, .locked = 16 },
	{ .name = "it does not grow", .source = 4, .old = 4, .new = 4,
	  .target = 4, .limit = 4, .locked = 4 },
	{ .name = "it shrinks", .source = 4, .old = 4, .new = 2,
	  .target = 4, .limit = 4, .locked = 4 },
	{ .name = "it is not locked", .source = 4, .unlocked = true, .old = 4,
	  .new = 8, .target = 8, .limit = 8, .locked = 0 },
	{ .name = "it stays mapped", .source = 4, .old = 4, .new = 4,
	  .target = 4, .limit = 4, .flags = MREMAP_DONTUNMAP, .locked = 4 },
	{ .name = "longer than the mapping", .source = 4, .old = 5, .new = 8,
	  .target = 8, .limit = 12, .error = EFAULT, .locked = 4 },
};

static void test_one_target(const struct target_case *test)
{
	char *area, *source, *target, *moved;

	set_limit(3 * LIMIT);
	area = map_at(map_pages(3 * LIMIT, 0), 3 * LIMIT, PROT_NONE, 0);
	source = map_at(area + page, test->source, PROT_READ | PROT_WRITE,
			test->unlocked ? 0 : MAP_LOCKED);
	target = map_at(area + LIMIT * page, test->target, PROT_READ,
			MAP_LOCKED);
	check(source != MAP_FAILED && target != MAP_FAILED, "%s: mmap",
	      test->name);
	set_limit(test->limit);
	moved = mremap(source + test->at * page, test->old * page,
		       test->new * page, MREMAP_MAYMOVE | MREMAP_FIXED |
		       test->flags, target);
	if (test->error)
		check(moved == MAP_FAILED && errno == test->error &&
		      !is_mapped(target) && is_mapped(source), "%s: %s",
		      test->name, strerror(errno));
	else
		check(moved == target, "%s: %s", test->name, strerror(errno));
	check(vm_lck() == test->locked, "%s: VmLck %ld", test->name, vm_lck());
	munmap(area, 3 * LIMIT * page);
	check(vm_lck() == 0, "%s: VmLck %ld", test->name, vm_lck());
}

static void test_targets(void)
{
	char *buf, *there, *moved;
	unsigned int i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(target_cases); i++)
		test_one_target(&target_cases[i]);

	/* A second mapping of shared memory; all of it is growth. */
	set_limit(LIMIT);
	fd = memfd_create("locked_vm", 0);
	check(fd >= 0 && !ftruncate(fd, LIMIT * page), "memfd");
	buf = mmap(NULL, LIMIT / 2 * page, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_LOCKED, fd, 0);
	there = map_pages(LIMIT / 2, MAP_LOCKED);
	moved = mremap(buf, 0, LIMIT / 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED,
		       there);
	check(moved == there, "duplicate: %s", strerror(errno));
	check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());

	/* In its own place, where nothing is left to map a second time. */
	moved = mremap(buf, 0, LIMIT / 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED,
		       buf);
	check(moved == MAP_FAILED && errno == EFAULT && !is_mapped(buf),
	      "duplicate of its target");
	check(vm_lck() == LIMIT / 2, "VmLck %ld", vm_lck());
	munmap(there, LIMIT / 2 * page);
	close(fd);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
}

static char *new_stack(int nr)
{
	char *top = (char *)STACKS + nr * STACK_SPACE;

	return mmap(top, page, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN |
		    MAP_LOCKED, -1, 0);
}

static void test_stack(void)
{
	char *stack, *buf;
	int i;

	set_limit(LIMIT);
	stack = new_stack(MAX_WORKERS + 1);
	check(stack != MAP_FAILED, "stack: %s", strerror(errno));
	for (i = 1; i < 4; i++)
		check(touch(stack - i * page), "growth");
	check(vm_lck() == 4, "VmLck %ld", vm_lck());
	buf = map_pages(LIMIT - 5, MAP_LOCKED);
	check(touch(stack - 4 * page), "growth up to the limit");
	check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());
	check(!touch(stack - 5 * page), "growth above the limit");
	check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());
	munmap(stack - 8 * page, 9 * page);
	munmap(buf, (LIMIT - 5) * page);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
}

/* mlockall() is for a process of its own: it locks the library and all. */
static void mlockall_child(void)
{
	unsigned long total;
	char *old, *buf;
	long locked;

	set_limit(LIMIT);
	check(!mlockall(MCL_FUTURE), "MCL_FUTURE: %s", strerror(errno));
	old = sbrk(0);
	check(sbrk((LIMIT + 2) * page) == (void *)-1, "brk above the limit");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	check(sbrk(4 * page) == old, "brk: %s", strerror(errno));
	check(vm_lck() == 4, "VmLck %ld", vm_lck());
	buf = map_pages(LIMIT - 4, 0);
	check(buf != MAP_FAILED, "mmap: %s", strerror(errno));
	check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());
	check(sbrk(page) == (void *)-1, "brk at the limit");
	check(!brk(old), "brk back");
	check(!munlockall(), "munlockall");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	munmap(buf, (LIMIT - 4) * page);

	total = status_pages("VmSize:");
	set_limit(total - 1);
	check(mlockall(MCL_CURRENT) == -1 && errno == ENOMEM,
	      "mlockall above the limit");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	set_limit(total);
	check(!mlockall(MCL_CURRENT), "mlockall: %s", strerror(errno));
	locked = vm_lck();
	check(locked > 0 && locked <= (long)total, "VmLck %ld of %lu", locked,
	      total);
	check(!mlockall(MCL_CURRENT | MCL_ONFAULT), "mlockall again");
	check(vm_lck() == locked, "VmLck %ld, was %ld", vm_lck(), locked);
	check(!munlockall(), "munlockall");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
}

static void in_child(void (*func)(void))
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		func();
		fflush(stdout);
		_exit(!!failures);
	}
	waitpid(pid, &status, 0);
	failures += status != 0;
}

static void fork_child(void)
{
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
}

static void test_mlockall(void)
{
	in_child(mlockall_child);
}

static void test_fork(void)
{
	char *buf;

	set_limit(LIMIT);
	buf = map_pages(LIMIT, MAP_LOCKED);
	check(buf != MAP_FAILED, "mmap: %s", strerror(errno));
	in_child(fork_child);
	check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());
	munmap(buf, LIMIT * page);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
}

static void test_vfio(void)
{
	char *buf = map_pages(LIMIT + 1, 0);
	long before = pins();
	int group;

	set_limit(LIMIT);
	for (group = 0; group < nr_groups; group++) {
		check(!vfio_map(group, buf, IOVA, LIMIT), "map: %s",
		      strerror(errno));
		check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());
		check(vfio_map(group, buf, 2 * IOVA, 1) == -1 &&
		      errno == ENOMEM, "map above the limit");
		check(mlock(buf, page) == -1 && errno == ENOMEM,
		      "mlock above the limit");
		check(pins_fd < 0 || pins() - before == LIMIT, "%ld pins",
		      pins() - before);
		check(vfio_unmap(group, IOVA, LIMIT) == LIMIT, "unmap");
		check(vm_lck() == 0, "VmLck %ld", vm_lck());

		/* Nothing may stay charged, mapped or pinned. */
		check(vfio_map(group, buf, IOVA, LIMIT + 1) == -1 &&
		      errno == ENOMEM, "map of one page too many");
		check(vm_lck() == 0, "VmLck %ld", vm_lck());
		check(vfio_unmap(group, IOVA, LIMIT + 1) == 0, "mapped");
		check(pins() == before, "%ld pins", pins() - before);

		check(!mlock(buf, 3 * page), "mlock: %s", strerror(errno));
		check(vfio_map(group, buf, IOVA, LIMIT - 2) == -1 &&
		      errno == ENOMEM, "map of one page too many");
		check(vm_lck() == 3, "VmLck %ld", vm_lck());
		check(!vfio_map(group, buf, IOVA, LIMIT - 3), "map: %s",
		      strerror(errno));
		check(vm_lck() == LIMIT, "VmLck %ld", vm_lck());
		check(!munlock(buf, 3 * page), "munlock");
		check(vfio_unmap(group, IOVA, LIMIT - 3) == LIMIT - 3, "unmap");
		check(vm_lck() == 0, "VmLck %ld", vm_lck());
	}
	munmap(buf, (LIMIT + 1) * page);
}

/* In the process itself: VFIO charges the mm that maps. */
static void test_vfio_mlockall(void)
{
	unsigned long total;
	char *buf;

	set_limit(LIMIT);
	buf = map_pages(LIMIT, 0);
	check(!vfio_map(0, buf, IOVA, LIMIT), "map: %s", strerror(errno));
	total = status_pages("VmSize:");
	set_limit(total);
	check(mlockall(MCL_CURRENT) == -1 && errno == ENOMEM,
	      "mlockall of %lu pages with %d pinned", total, LIMIT);
	check(vm_lck() == LIMIT, "VmLck %ld, limit %lu", vm_lck(), total);
	munlockall();
	check(vfio_unmap(0, IOVA, LIMIT) == LIMIT, "unmap");
	munmap(buf, LIMIT * page);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
}

/* -------------------------------------------------------------------------
 * Many threads
 */

struct worker {
	pthread_t thread;
	int nr;
	unsigned int seed;
	/* The race for one page. */
	char *spare;		/* a page that is not locked */
	char *grown;		/* one that is and that mremap() grows */
	char *stack;		/* one that is and that grows down */
	int winner;
	/* The free-for-all. */
	long held;		/* pages that should be charged */
	unsigned long won, lost;
};

static struct worker workers[MAX_WORKERS];
static int nr_cpus;
static int nr_workers;

/*
 * Waits until all workers are here.  Spins, so that they go on at the same
 * moment; there are no more of them than CPUs, if there are two CPUs.
 */
static int arrived, generation;

static void meet(void)
{
	int now = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
	int i = 0;

	if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == nr_workers) {
		__atomic_store_n(&arrived, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&generation, now + 1, __ATOMIC_RELEASE);
		return;
	}
	while (__atomic_load_n(&generation, __ATOMIC_ACQUIRE) == now)
		if (++i % 1000 == 0)
			sched_yield();
}

/*
 * The sampler, which never sleeps.  It reads without a lock, so it sees what a
 * call adds and takes back at once.
 */
static bool sampler_stop;
static long sampler_max;
static unsigned long samples;

static void *sampler(void *arg)
{
	long now;

	(void)arg;
	sampler_max = 0;
	samples = 0;
	while (!__atomic_load_n(&sampler_stop, __ATOMIC_RELAXED)) {
		now = vm_lck();
		if (now > sampler_max)
			sampler_max = now;
		samples++;
	}
	return NULL;
}

enum racer { MLOCK, MMAP, MREMAP, STACK, VFIO, NR_RACERS };

static const char * const racer_names[NR_RACERS] = {
	"mlock", "mmap", "mremap", "stack", "vfio",
};

static unsigned long wins[NR_RACERS];

/* Tries to get one page more, and true if it was there. */
static bool race(struct worker *worker, enum racer racer, char **got)
{
	switch (racer) {
	case MLOCK:
		return !mlock(worker->spare, page);
	case MMAP:
		*got = map_pages(1, MAP_LOCKED);
		return *got != MAP_FAILED;
	case MREMAP:
		*got = mremap(worker->grown, page, 2 * page, MREMAP_MAYMOVE);
		if (*got == MAP_FAILED)
			return false;
		worker->grown = *got;
		return true;
	case STACK:
		return touch(worker->stack - page);
	case VFIO:
		return !vfio_map(worker->nr % nr_groups, worker->spare,
				 IOVA * (worker->nr + 1), 1);
	default:
		return false;
	}
}

static void give_back(struct worker *worker, enum racer racer, char *got)
{
	switch (racer) {
	case MLOCK:
		munlock(worker->spare, page);
		break;
	case MMAP:
		munmap(got, page);
		break;
	case MREMAP:
		mremap(worker->grown, 2 * page, page, 0);
		break;
	case STACK:
		munmap(worker->stack - page, page);
		break;
	case VFIO:
		vfio_unmap(worker->nr % nr_groups, IOVA * (worker->nr + 1), 1);
		break;
	default:
		break;
	}
}

/*
 * Half of the threads that can take VFIO, since that is what can really race:
 * the others wait for each other's mmap_lock.
 */
static enum racer pick_racer(struct worker *worker)
{
	unsigned int pick = xorshift(&worker->seed) % (2 * VFIO);

	if (pick < VFIO)
		return pick;
	return nr_groups ? VFIO : pick - VFIO;
}

/* A moment, to meet others at each place of a system call and not at one. */
static void wait_a_moment(struct worker *worker)
{
	int i;

	for (i = xorshift(&worker->seed) % 256; i; i--)
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static int rounds_without, rounds_with_many;

static void count_winners(int round)
{
	long limit = 2 * nr_workers + 1;
	int winners = 0, i;

	for (i = 0; i < nr_workers; i++)
		winners += workers[i].winner;
	rounds_without += winners == 0;
	rounds_with_many += winners > 1;
	if (round % 16 == 0)
		check(vm_lck() == limit - 1 + winners,
		      "VmLck %ld with %d winners", vm_lck(), winners);
}

static void *last_page_worker(void *arg)
{
	struct worker *worker = arg;
	int i, rounds = rounds_here(LAST_PAGE_ROUNDS);
	enum racer racer;
	char *got;

	for (i = 0; i < rounds; i++) {
		racer = pick_racer(worker);
		got = NULL;
		meet();
		wait_a_moment(worker);
		worker->winner = race(worker, racer, &got);
		meet();
		if (worker->nr == 0)
			count_winners(i);
		meet();
		if (!worker->winner)
			continue;
		__atomic_add_fetch(&wins[racer], 1, __ATOMIC_RELAXED);
		give_back(worker, racer, got);
	}
	return NULL;
}

/*
 * All threads want one page, each in its own way, and there is one.  Two winners
 * are one too many, and no winner means that a loser was in the way of all.
 */
static void test_last_page(void)
{
	struct worker *worker;
	long limit;
	int i;

	nr_workers = nr_cpus < 2 ? 2 : nr_cpus;
	nr_workers = nr_workers > MAX_WORKERS ? MAX_WORKERS : nr_workers;
	limit = 2 * nr_workers + 1;
	set_limit(limit);
	for (i = 0; i < nr_workers; i++) {
		worker = &workers[i];
		worker->spare = map_pages(1, 0);
		worker->grown = map_pages(1, MAP_LOCKED);
		worker->stack = new_stack(i + 1);
		check(worker->grown != MAP_FAILED &&
		      worker->stack != MAP_FAILED, "worker %d: %s", i,
		      strerror(errno));
	}
	check(vm_lck() == limit - 1, "VmLck %ld", vm_lck());
	for (i = 1; i < nr_workers; i++)
		pthread_create(&workers[i].thread, NULL, last_page_worker,
			       &workers[i]);
	last_page_worker(&workers[0]);
	for (i = 1; i < nr_workers; i++)
		pthread_join(workers[i].thread, NULL);
	check(!rounds_without, "%d of %d rounds without a winner",
	      rounds_without, rounds_here(LAST_PAGE_ROUNDS));
	check(!rounds_with_many, "%d of %d rounds with several",
	      rounds_with_many, rounds_here(LAST_PAGE_ROUNDS));
	check(vm_lck() == limit - 1, "VmLck %ld", vm_lck());
	for (i = 0; i < nr_workers; i++) {
		munmap(workers[i].spare, page);
		munmap(workers[i].grown, page);
		munmap(workers[i].stack, page);
	}
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	for (i = 0; i < NR_RACERS; i++)
		ksft_print_msg("%s won %lu rounds\n", racer_names[i], wins[i]);
}

static bool count_call(struct worker *worker, bool won)
{
	if (won)
		worker->won++;
	else
		worker->lost++;
	return won;
}

/* Each of these ends as it began, but for `held`. */
static void churn_mlock(struct worker *worker, char *buf)
{
	unsigned int first = xorshift(&worker->seed) % CHURN_PAGES;
	unsigned int nr = 1 + xorshift(&worker->seed) % (CHURN_PAGES - first);

	if (!count_call(worker, !mlock(buf + first * page, nr * page)))
		return;
	/* Once more, for more than is locked. */
	if (count_call(worker, !mlock(buf, CHURN_PAGES * page)))
		munlock(buf, CHURN_PAGES * page);
	else
		munlock(buf + first * page, nr * page);
}

static void churn_mmap(struct worker *worker)
{
	unsigned int nr = 1 + xorshift(&worker->seed) % CHURN_PAGES;
	char *buf = map_pages(nr, MAP_LOCKED);
	char *again;

	if (!count_call(worker, buf != MAP_FAILED))
		return;
	again = mmap(buf, nr * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		     MAP_FIXED | MAP_LOCKED, -1, 0);
	count_call(worker, again != MAP_FAILED);
	munmap(buf, nr * page);
}

static void churn_mremap(struct worker *worker)
{
	unsigned int old = 1 + xorshift(&worker->seed) % (CHURN_PAGES / 2);
	unsigned int new = old + xorshift(&worker->seed) % (CHURN_PAGES / 2);
	char *buf = map_pages(old, MAP_LOCKED);
	char *moved;

	if (!count_call(worker, buf != MAP_FAILED))
		return;
	moved = mremap(buf, old * page, new * page, MREMAP_MAYMOVE);
	if (count_call(worker, moved != MAP_FAILED))
		munmap(moved, new * page);
	else
		munmap(buf, old * page);
}

static void churn_stack(struct worker *worker)
{
	unsigned int nr = 1 + xorshift(&worker->seed) % (CHURN_PAGES / 2);
	char *stack = new_stack(worker->nr + 1);
	unsigned int i;

	if (!count_call(worker, stack != MAP_FAILED))
		return;
	for (i = 1; i <= nr; i++)
		if (!count_call(worker, touch(stack - i * page)))
			break;
	munmap(stack - nr * page, (nr + 1) * page);
}

static void churn_vfio(struct worker *worker, char *buf)
{
	unsigned int nr = 1 + xorshift(&worker->seed) % CHURN_PAGES;
	unsigned long iova = IOVA * (worker->nr + 1);
	int group = worker->nr % nr_groups;

	if (count_call(worker, !vfio_map(group, buf, iova, nr)))
		check(vfio_unmap(group, iova, nr) == nr, "unmap");
}

static pthread_barrier_t churn_barrier;

static void *churn_worker(void *arg)
{
	char *held = NULL, *buf = map_pages(CHURN_PAGES, 0);
	struct worker *worker = arg;
	unsigned int nr;
	int i, j;

	for (i = 0; i < rounds_here(CHURN_EPOCHS); i++) {
		/* Something to be counted while the main thread looks. */
		nr = xorshift(&worker->seed) % CHURN_PAGES;
		held = nr ? map_pages(nr, MAP_LOCKED) : MAP_FAILED;
		worker->held = held == MAP_FAILED ? 0 : nr;
		for (j = 0; j < CHURN_CALLS; j++) {
			switch (xorshift(&worker->seed) %
				(NR_RACERS - !nr_groups)) {
			case MLOCK:
				churn_mlock(worker, buf);
				break;
			case MMAP:
				churn_mmap(worker);
				break;
			case MREMAP:
				churn_mremap(worker);
				break;
			case STACK:
				churn_stack(worker);
				break;
			case VFIO:
				churn_vfio(worker, buf);
				break;
			}
		}
		pthread_barrier_wait(&churn_barrier);
		/* The main thread adds up here. */
		pthread_barrier_wait(&churn_barrier);
		if (worker->held)
			munmap(held, worker->held * page);
	}
	munmap(buf, CHURN_PAGES * page);
	return NULL;
}

/*
 * io_uring charges user_struct.locked_vm and mm->pinned_vm: neighbours that the
 * limit also holds for, and that VmLck must not notice.
 */
static bool uring_stop;
static unsigned long uring_calls;

static void *uring_worker(void *arg)
{
	struct io_uring_params params = {};
	struct iovec iov;
	int fd;

	(void)arg;
	fd = syscall(__NR_io_uring_setup, 1, &params);
	if (fd < 0)
		return NULL;
	iov.iov_len = 4 * page;
	iov.iov_base = map_pages(4, 0);
	while (!__atomic_load_n(&uring_stop, __ATOMIC_RELAXED)) {
		if (syscall(__NR_io_uring_register, fd,
			    IORING_REGISTER_BUFFERS, &iov, 1)) {
			sched_yield();
			continue;
		}
		uring_calls++;
		syscall(__NR_io_uring_register, fd,
			IORING_UNREGISTER_BUFFERS, NULL, 0);
	}
	munmap(iov.iov_base, iov.iov_len);
	close(fd);
	return NULL;
}

/*
 * All kinds of calls of all sizes, at a limit that about half of them find
 * reached, while somebody watches.
 */
static void test_churn(void)
{
	unsigned long won = 0, lost = 0;
	long before = pins(), limit, sum;
	pthread_t watch, uring;
	int i, j;

	nr_workers = nr_cpus < 4 ? 4 : nr_cpus;
	nr_workers = nr_workers > MAX_WORKERS ? MAX_WORKERS : nr_workers;
	pthread_barrier_init(&churn_barrier, NULL, nr_workers + 1);
	limit = CHURN_PAGES * (nr_workers + 1) / 2;
	set_limit(limit);
	sampler_stop = false;
	uring_stop = false;
	pthread_create(&watch, NULL, sampler, NULL);
	pthread_create(&uring, NULL, uring_worker, NULL);
	for (i = 0; i < nr_workers; i++) {
		workers[i].won = 0;
		workers[i].lost = 0;
		pthread_create(&workers[i].thread, NULL, churn_worker,
			       &workers[i]);
	}
	for (i = 0; i < rounds_here(CHURN_EPOCHS); i++) {
		pthread_barrier_wait(&churn_barrier);
		for (sum = 0, j = 0; j < nr_workers; j++)
			sum += workers[j].held;
		check(vm_lck() == sum, "VmLck %ld, should be %ld", vm_lck(),
		      sum);
		pthread_barrier_wait(&churn_barrier);
	}
	for (i = 0; i < nr_workers; i++) {
		pthread_join(workers[i].thread, NULL);
		won += workers[i].won;
		lost += workers[i].lost;
	}
	__atomic_store_n(&uring_stop, true, __ATOMIC_RELAXED);
	pthread_join(uring, NULL);
	__atomic_store_n(&sampler_stop, true, __ATOMIC_RELAXED);
	pthread_join(watch, NULL);

	check(sampler_max <= limit, "VmLck was %ld, limit %ld", sampler_max,
	      limit);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	check(status_pages("VmPin:") == 0, "VmPin %ld", status_pages("VmPin:"));
	check(pins() == before, "%ld pins", pins() - before);
	check(won && lost, "%lu calls had room, %lu had not", won, lost);
	ksft_print_msg("%lu calls had room, %lu had not\n", won, lost);
	ksft_print_msg("VmLck at most %ld of %ld in %lu samples\n",
		       sampler_max, limit, samples);
	ksft_print_msg("%lu io_uring registrations\n", uring_calls);
}

/* -------------------------------------------------------------------------
 * Calls that are too big, beside others that fit.
 */

static bool greedy_stop;
static unsigned long greedy_calls;

static void *greedy_worker(void *arg)
{
	size_t pages = *(size_t *)arg;
	char *buf = map_pages(pages, 0);
	bool vfio = nr_groups;

	while (!__atomic_load_n(&greedy_stop, __ATOMIC_RELAXED)) {
		if (vfio)
			check(mlock(buf, pages * page) == -1, "mlock");
		check(map_pages(pages, MAP_LOCKED) == MAP_FAILED, "mmap");
		greedy_calls += 1 + vfio;
	}
	munmap(buf, pages * page);
	return NULL;
}

/*
 * A charge that fails must not be seen, not even for a moment: one that fits would
 * fail by it.
 */
static void test_greedy(void)
{
	size_t pages = LIMIT + 1;
	pthread_t greedy, watch;
	int i, refused = 0, rounds = rounds_here(GREEDY_ROUNDS);
	char *buf;

	set_limit(LIMIT);
	buf = map_pages(LIMIT, 0);
	greedy_stop = false;
	greedy_calls = 0;
	sampler_stop = false;
	pthread_create(&greedy, NULL, greedy_worker, &pages);
	pthread_create(&watch, NULL, sampler, NULL);
	for (i = 0; i < rounds; i++) {
		if (nr_groups) {
			if (vfio_map(0, buf, IOVA, LIMIT))
				refused++;
			else
				vfio_unmap(0, IOVA, LIMIT);
		} else {
			if (mlock(buf, LIMIT * page))
				refused++;
			else
				munlock(buf, LIMIT * page);
		}
	}
	__atomic_store_n(&greedy_stop, true, __ATOMIC_RELAXED);
	pthread_join(greedy, NULL);
	__atomic_store_n(&sampler_stop, true, __ATOMIC_RELAXED);
	pthread_join(watch, NULL);
	check(!refused, "%d of %d calls that fit were refused", refused,
	      rounds);
	check(sampler_max <= LIMIT, "VmLck was %ld, limit %d", sampler_max,
	      LIMIT);
	munmap(buf, LIMIT * page);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	ksft_print_msg("%d calls that fit beside %lu that do not\n",
		       rounds, greedy_calls);
	ksft_print_msg("VmLck at most %ld of %d in %lu samples\n",
		       sampler_max, LIMIT, samples);
}

/* -------------------------------------------------------------------------
 * Pages that change hands.  What is uncharged for a moment is room that somebody
 * without mmap_lock may take, and the new owner then fails when it is too late.
 */

static bool watcher_stop;
static unsigned long handover;	/* odd: VmLck must not change */
static unsigned long watched;	/* how often the watcher has looked */
static unsigned long dips;

static void *watcher(void *arg)
{
	unsigned long before;
	long now;

	(void)arg;
	while (!__atomic_load_n(&watcher_stop, __ATOMIC_RELAXED)) {
		before = __atomic_load_n(&handover, __ATOMIC_SEQ_CST);
		now = vm_lck();
		if (before % 2 && now != HANDOVER_PAGES &&
		    before == __atomic_load_n(&handover, __ATOMIC_SEQ_CST))
			dips++;
		__atomic_add_fetch(&watched, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* Waits for the watcher to have looked once, all of it since the call. */
static unsigned long wait_for_watcher(void)
{
	unsigned long start = __atomic_load_n(&watched, __ATOMIC_SEQ_CST);
	unsigned long i = 0;

	while (__atomic_load_n(&watched, __ATOMIC_SEQ_CST) - start < 2)
		if (++i % 10000 == 0)
			sched_yield();
	return i;
}

/*
 * The watcher has just begun to look, so this decides what it meets: @max is
 * about how long one look takes.
 */
static void wait_up_to(struct worker *worker, unsigned long max)
{
	unsigned long i;

	for (i = xorshift(&worker->seed) % (max + 1); i; i--)
		__atomic_load_n(&watched, __ATOMIC_SEQ_CST);
}

/* A mapping that grows by what its target gives back, where no more is free. */
static bool grow_onto_target(char *area, char *there)
{
	return mremap(area, 4 * page, HANDOVER_PAGES * page,
		      MREMAP_MAYMOVE | MREMAP_FIXED, there) == there;
}

static bool move_away(char *area, char *there)
{
	return mremap(area, 4 * page, 4 * page, MREMAP_MAYMOVE | MREMAP_FIXED,
		      there - 8 * page) == there - 8 * page;
}

static bool map_over(char *area, char *there)
{
	(void)area;
	return map_at(there, HANDOVER_PAGES - 4, PROT_NONE, MAP_LOCKED) == there;
}

static const struct {
	const char *name;
	bool (*func)(char *area, char *there);
	size_t limit;
} handovers[] = {
	{ "mremap() onto what is locked", grow_onto_target,
	  HANDOVER_PAGES },
	{ "mremap()", move_away, HANDOVER_PAGES },
	/* mmap() asks for room for all that it maps. */
	{ "mmap() over what is locked", map_over, 2 * HANDOVER_PAGES },
};

/*
 * There are 4 pages locked at @area, and all the others at @there, in many vmas,
 * which take a while to unmap.  None is present: it is not about the pages.
 */
static void lock_for_handover(char *area, char *there)
{
	int i;

	map_at(area, 4, PROT_NONE, MAP_LOCKED);
	map_at(there, HANDOVER_PAGES - 4, PROT_NONE, MAP_LOCKED);
	for (i = 0; i < HANDOVER_PAGES - 4; i += 2)
		mprotect(there + i * page, page, PROT_READ);
}

static void hand_over(unsigned int kind, char *area)
{
	char *there = area + HANDOVER_PAGES * page;
	int i, rounds = rounds_here(HANDOVER_ROUNDS);
	unsigned long look;

	set_limit(handovers[kind].limit);
	for (i = 0; i < rounds; i++) {
		lock_for_handover(area, there);
		__atomic_add_fetch(&handover, 1, __ATOMIC_SEQ_CST);
		look = wait_for_watcher();
		wait_up_to(&workers[0], look);
		check(handovers[kind].func(area, there), "%s: %s",
		      handovers[kind].name, strerror(errno));
		wait_for_watcher();
		__atomic_add_fetch(&handover, 1, __ATOMIC_SEQ_CST);
		map_at(area, 3 * HANDOVER_PAGES, PROT_NONE, 0);
	}
}

static void test_handover(void)
{
	pthread_t thread;
	unsigned int i;
	char *area;

	area = map_at(map_pages(3 * HANDOVER_PAGES, 0), 3 * HANDOVER_PAGES, PROT_NONE, 0);
	watcher_stop = false;
	watched = 0;
	pthread_create(&thread, NULL, watcher, NULL);
	for (i = 0; i < ARRAY_SIZE(handovers); i++) {
		dips = 0;
		hand_over(i, area);
		check(!dips, "%s: VmLck was not %d %lu times",
		      handovers[i].name, HANDOVER_PAGES, dips);
	}
	__atomic_store_n(&watcher_stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	munmap(area, 3 * HANDOVER_PAGES * page);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	ksft_print_msg("watched %d rounds of each, %lu times\n",
		       rounds_here(HANDOVER_ROUNDS), watched);
}

static bool mmap_lock;	/* kernels that charge under it, see above */

static const char *unable_vfio(void)
{
	return nr_groups ? NULL : no_group;
}

static const char *unable_lockless(void)
{
	return mmap_lock ? "--mmap-lock" : NULL;
}

static const char *unable_vfio_lockless(void)
{
	const char *reason = unable_vfio();

	return reason ? reason : unable_lockless();
}

static const struct test_case cases[] = {
	{ "mlock is exact", test_mlock },
	{ "mmap is exact", test_mmap },
	{ "mremap is exact", test_mremap },
	{ "mremap onto what is locked is exact", test_targets },
	{ "stack growth is exact", test_stack },
	{ "mlockall and brk are exact", test_mlockall },
	{ "a forked child starts at zero", test_fork },
	{ "vfio is exact", test_vfio, unable_vfio },
	{ "mlockall respects pinned pages", test_vfio_mlockall,
	  unable_vfio_lockless },
	{ "one of many gets the last page", test_last_page },
	{ "the limit holds and the sum is right", test_churn },
	{ "calls that fail are not seen", test_greedy },
	{ "pages that change hands stay charged", test_handover,
	  unable_lockless },
};

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = segv_handler };
	unsigned int i;

	mmap_lock = argc > 1 && !strcmp(argv[1], "--mmap-lock");
	page = sysconf(_SC_PAGESIZE);
	cases_begin();
	open_groups();
	if (!getuid())
		start_pins_child();
	if (!getuid() && setresuid(NOBODY, NOBODY, NOBODY))
		ksft_exit_skip("cannot become an ordinary user\n");
	sigaction(SIGSEGV, &action, NULL);
	nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	for (i = 0; i < MAX_WORKERS; i++) {
		workers[i].nr = i;
		workers[i].seed = 0x9e3779b9 * (i + 1);
	}

	if (vm_lck())
		ksft_exit_skip("VmLck is not 0 to begin with\n");
	ksft_print_msg("%d CPUs, %d VFIO groups\n", nr_cpus, nr_groups);
	run_cases(cases, ARRAY_SIZE(cases));
	ksft_finished();
}
