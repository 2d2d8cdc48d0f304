// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of page faults in helpers of ktask: whose memory it is, on which node, who
 * may have it, and how it ends.
 *
 * See context.h for what is needed.  Case "protection keys are the callers" needs
 * a CPU that has them.
 */
#include <pthread.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <linux/userfaultfd.h>

#include "context.h"

/* The number of pages of an area that are there. */
static int present(char *addr, int pages)
{
	unsigned char *vec = calloc(pages, 1);
	int i, nr = 0;

	if (!vec || mincore(addr, pages * PAGE, vec))
		return -1;
	for (i = 0; i < pages; i++)
		nr += vec[i] & 1;
	free(vec);
	return nr;
}

#define FAULT_UNITS	2000

/* Only what helpers put into this address space is there. */
static int fault_and_look(void)
{
	char *addr = map(FAULT_UNITS * PAGE, MAP_NORESERVE);
	int ret;

	madvise(addr, FAULT_UNITS * PAGE, MADV_NOHUGEPAGE);
	ret = present(addr, FAULT_UNITS) ? EEXIST : 0;
	if (ret)
		return ret;
	ret = run("work=fault addr=%#lx size=%d flags=%d lead=1", (long)addr,
		  FAULT_UNITS, MM | MEMCG);
	if (ret)
		return ret;
	return present(addr, FAULT_UNITS) == FAULT_UNITS ? 0 : ENODATA;
}

static void test_present(void)
{
	pid_t child = make_child(fault_and_look);

	start_child();
	expect_end(child, 0);
	expect_helped(FAULT_UNITS);
}

/* -------------------------------------------------------------------------
 * Nodes
 */

#define SMALL_UNITS	800
#define THP_UNITS	24

static const struct policy {
	const char	*name;
	int		mode;
	unsigned long	nodes;
	bool		area;		/* of the area, not of the task */
	bool		huge;
} policies[] = {
	{ "none", MPOL_DEFAULT, 0, false, false },
	{ "none", MPOL_DEFAULT, 0, false, true },
	{ "local", MPOL_LOCAL, 0, false, false },
	{ "local", MPOL_LOCAL, 0, false, true },
	{ "local", MPOL_LOCAL, 0, true, false },
	{ "local", MPOL_LOCAL, 0, true, true },
	{ "bind", MPOL_BIND, 3, false, false },
	{ "bind", MPOL_BIND, 3, false, true },
	{ "bind", MPOL_BIND, 3, true, false },
	{ "bind", MPOL_BIND, 3, true, true },
	{ "preferred many", MPOL_PREFERRED_MANY, 3, false, false },
	{ "preferred many", MPOL_PREFERRED_MANY, 3, false, true },
	{ "preferred many", MPOL_PREFERRED_MANY, 3, true, false },
};

static const struct policy *policy;

static int set_area_policy(char *addr, size_t size)
{
	return syscall(SYS_mbind, addr, size, policy->mode,
		       policy->nodes ? &policy->nodes : NULL,
		       policy->nodes ? 8 * sizeof(policy->nodes) : 0, 0) ?
	       errno : 0;
}

/*
 * Helpers are on node 1.  The caller begins on node 0 and has no reason to leave,
 * but nothing keeps it there: then helpers could not be elsewhere either.
 */
static int fault_by_policy(void)
{
	const int units = policy->huge ? THP_UNITS : SMALL_UNITS;
	const size_t stride = policy->huge ? HUGE_PAGE : PAGE;
	const size_t size = units * stride;
	char *addr = map(size + HUGE_PAGE, MAP_NORESERVE);
	int ret;

	addr = (char *)(((uintptr_t)addr + HUGE_PAGE - 1) & -HUGE_PAGE);
	madvise(addr, size, policy->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	ret = policy->area ? set_area_policy(addr, size) :
			     set_policy(policy->mode, policy->nodes);
	if (ret || set_cpus(0, 0x1) || set_cpus(0, 0xf))
		return ret ? ret : EIO;
	return run("work=fault addr=%#lx stride=%lu size=%d flags=%d lead=1 node=1",
		   (long)addr, stride, units, MM | MEMCG | MEMPOLICY);
}

/*
 * Pages that helpers got while the caller was on another node than they: adds to
 * @apart their number, and to @astray that of those not on the caller's node.
 */
static void count_apart(int size, int *apart, int *astray)
{
	int i;

	for (i = 0; i < size; i++) {
		if (!units[i].helper || units[i].home != 0 ||
		    units[i].cpu < 2 || units[i].end_cpu < 2)
			continue;
		++*apart;
		*astray += units[i].nid != units[i].home;
	}
}

/* On a busy machine the caller may be moved at once; then once more. */
static void check_policy(void)
{
	const int size = policy->huge ? THP_UNITS : SMALL_UNITS;
	const char *what = policy->area ? "the area's" : "the task's";
	const char *pages = policy->huge ? "huge pages" : "pages";
	long end = seconds_from_now(60);
	int apart = 0, astray = 0;
	pid_t child;

	while (apart < size / 4 && !has_passed(end)) {
		child = make_child(fault_by_policy);
		start_child();
		expect_end(child, 0);
		expect_helped(size);
		count_apart(size, &apart, &astray);
	}
	check(apart >= size / 4, "%s, %s, %s: %d of %d units show something",
	      policy->name, what, pages, apart, size);
	check(!astray, "%s, %s: %d of %d %s are not on the caller's node",
	      policy->name, what, astray, apart, pages);
}

static void test_policies(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(policies); i++) {
		policy = &policies[i];
		check_policy();
	}
}

static int alloc_held_on_node_1(void)
{
	return run("work=alloc size=%d flags=%d lead=1 node=1 hold=%d",
		   SMALL_UNITS, MEMCG | MEMPOLICY, SMALL_UNITS / 2);
}

static void expect_nodes(int first, int size, int nid)
{
	int i, astray = 0;

	for (i = first; i < size; i++)
		astray += units[i].helper && units[i].nid != nid;
	check(!astray, "%d pages from %d on are not on node %d", astray, first,
	      nid);
}

/* The caller is moved to a cpuset with other memory. */
static void test_moved(void)
{
	pid_t child = make_child(alloc_held_on_node_1);

	group_make("a");
	group_make("b");
	group_write("a", "cpuset.mems", "0");
	group_write("b", "cpuset.mems", "1");
	group_enter("a", child);
	start_child();
	wait_held(SMALL_UNITS / 4);
	group_enter("b", child);
	let_go();
	expect_end(child, 0);
	expect_helped(SMALL_UNITS);
	expect_nodes(0, SMALL_UNITS / 2, 0);
	expect_nodes(SMALL_UNITS / 2, SMALL_UNITS, 1);
	run("size=1");
	group_remove("a");
	group_remove("b");
}

/* -------------------------------------------------------------------------
 * Ends
 */

#define PIN_UNITS	64

static size_t pin_stride;

/* Not a task that signals end: only what its units do can end it. */
static int pin_held(void)
{
	const size_t size = PIN_UNITS * pin_stride;
	char *addr = map(size, pin_stride == PAGE ? MAP_NORESERVE : MAP_HUGETLB);

	if (!addr)
		return errno;
	if (pin_stride == PAGE)
		madvise(addr, size, MADV_NOHUGEPAGE);
	return run("work=fault addr=%#lx stride=%lu size=%d flags=%d lead=1 hold=%d max_threads=%d",
		   (long)addr, pin_stride, PIN_UNITS, MM | MEMCG,
		   PIN_UNITS / 2, max_threads);
}

/* Returns the error; nothing is to be pinned after the caller was killed. */
static long pin_and_kill(int threads)
{
	pid_t child;
	long before, after;

	max_threads = threads;
	child = make_child(pin_held);
	start_child();
	wait_held(PIN_UNITS / 4);
	before = read_number(DEBUGFS "progress");
	kill(child, SIGKILL);
	let_go();
	expect_end(child, -SIGKILL);
	after = read_number(DEBUGFS "progress");
	check(after == before, "%ld units after the kill, max_threads=%d",
	      after - before, threads);
	return read_number(DEBUGFS "error");
}

/* In the middle of a fault of a huge page it is another one, in any thread. */
static bool error_of_killed(long error)
{
	return error == EINTR || (pin_stride != PAGE && error == EFAULT);
}

static void check_killed(size_t stride)
{
	long end = seconds_from_now(60);
	long serial, helped;

	pin_stride = stride;
	serial = pin_and_kill(1);
	/* On a busy machine helpers may come too late. */
	do {
		helped = pin_and_kill(0);
	} while (read_units() < PIN_UNITS / 4 && !has_passed(end));
	check(read_units() >= PIN_UNITS / 4, "helpers did %d units", nr_helped);
	check(error_of_killed(serial), "serial: errno %ld", serial);
	check(error_of_killed(helped), "errno %ld", helped);
}

static void test_killed(void)
{
	check_killed(PAGE);
}

static void test_killed_huge(void)
{
	write_file(NR_HUGEPAGES, "80");
	check_killed(HUGE_PAGE);
	write_file(NR_HUGEPAGES, "0");
}

/* -------------------------------------------------------------------------
 * Protection keys
 */

#define KEY_UNITS	200

static int key_rights;

/* Fault in an area whose key gives this process @key_rights. */
static int fault_with_key(void)
{
	char *addr = map(KEY_UNITS * PAGE, MAP_NORESERVE);
	int key = pkey_alloc(0, 0);

	if (key < 0)
		return errno;
	madvise(addr, KEY_UNITS * PAGE, MADV_NOHUGEPAGE);
	if (pkey_mprotect(addr, KEY_UNITS * PAGE, PROT_READ | PROT_WRITE, key) ||
	    pkey_set(key, key_rights))
		return errno;
	return run("work=fault addr=%#lx size=%d flags=%d lead=1", (long)addr,
		   KEY_UNITS, MM | MEMCG);
}

static int end_with_key(int rights)
{
	pid_t child;

	key_rights = rights;
	child = make_child(fault_with_key);
	start_child();
	return wait_child(child);
}

static const char *no_keys(void)
{
	int key = pkey_alloc(0, 0);

	if (key < 0)
		return "no protection keys";
	pkey_free(key);
	return NULL;
}

static void test_keys(void)
{
	static const int denied[] = { PKEY_DISABLE_ACCESS, PKEY_DISABLE_WRITE };
	unsigned int i;
	int end;

	end = end_with_key(0);
	check(!end, "errno %d with a key that the caller may use", end);
	expect_helped(KEY_UNITS);

	/* The caller waits for helpers, so it is one of them that fails. */
	for (i = 0; i < ARRAY_SIZE(denied); i++) {
		end = end_with_key(denied[i]);
		check(end == EFAULT, "errno %d with rights %d", end,
		      denied[i]);
		check(read_units() > 0, "no helper came");
		check(!read_number(DEBUGFS "progress"), "%ld units done",
		      read_number(DEBUGFS "progress"));
	}
}

/* -------------------------------------------------------------------------
 * userfaultfd
 */

#define UFFD_UNITS	64

/* What a child's process has been asked for, which its parent sees. */
static struct {
	bool	answer;
	int	pages[UFFD_UNITS];
} *uffd_asked;

static int uffd;
static char *uffd_addr;

static const char *no_uffd(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return "no userfaultfd";
	close(fd);
	return NULL;
}

static int uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	uffd_addr = map(UFFD_UNITS * PAGE, MAP_NORESERVE);
	madvise(uffd_addr, UFFD_UNITS * PAGE, MADV_NOHUGEPAGE);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd < 0)
		return errno;
	reg.range.start = (uintptr_t)uffd_addr;
	reg.range.len = UFFD_UNITS * PAGE;
	if (ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		return errno;
	return 0;
}

static long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Page @i is provided, and those who wait for it are woken. */
static void uffd_answer(int i)
{
	struct uffdio_zeropage zero = {
		.range.start = (uintptr_t)uffd_addr + i * PAGE,
		.range.len = PAGE,
	};

	ioctl(uffd, UFFDIO_ZEROPAGE, &zero);
}

/*
 * The first answers take longer than a helper sleeps at a time.  Who asks again
 * meanwhile is seen.
 */
static void *uffd_serve(void *arg)
{
	struct pollfd question = { .fd = uffd, .events = POLLIN };
	static bool answered[UFFD_UNITS];
	struct uffd_msg msg;
	long first = 0;
	int i;

	while (poll(&question, 1, 100) >= 0) {
		while (read(uffd, &msg, sizeof(msg)) == sizeof(msg)) {
			uffd_asked->pages[(msg.arg.pagefault.address -
					   (uintptr_t)uffd_addr) / PAGE]++;
			if (!first)
				first = milliseconds();
		}
		if (!uffd_asked->answer || !first ||
		    milliseconds() < first + 2500)
			continue;
		for (i = 0; i < UFFD_UNITS; i++) {
			if (!uffd_asked->pages[i] || answered[i])
				continue;
			answered[i] = true;
			uffd_answer(i);
		}
	}
	return NULL;
}

static int fault_served(void)
{
	pthread_t server;
	int ret = uffd_open();

	if (ret)
		return ret;
	ret = pthread_create(&server, NULL, uffd_serve, NULL);
	if (ret)
		return ret;
	return run("work=fault addr=%#lx size=%d flags=%d lead=1 max_threads=%d",
		   (long)uffd_addr, UFFD_UNITS, MM | MEMCG, max_threads);
}

static pid_t uffd_start(bool answer, int threads)
{
	pid_t child;

	memset(uffd_asked, 0, sizeof(*uffd_asked));
	uffd_asked->answer = answer;
	max_threads = threads;
	child = make_child(fault_served);
	start_child();
	return child;
}

/* The number of pages that were asked for, or for one too often. */
static int uffd_pages(bool too_often)
{
	int i, nr = 0;

	for (i = 0; i < UFFD_UNITS; i++)
		nr += uffd_asked->pages[i] > too_often;
	return nr;
}

static void test_uffd_provides(void)
{
	int end = wait_child(uffd_start(true, 0));

	check(!end, "the caller ended with %d", end);
	expect_helped(UFFD_UNITS);
	check(uffd_pages(false) == UFFD_UNITS, "%d pages were asked for",
	      uffd_pages(false));
	check(!uffd_pages(true), "%d pages were asked for again",
	      uffd_pages(true));
}

/* Nobody ever provides the pages; returns the error of the task. */
static long uffd_kill(int threads)
{
	pid_t child = uffd_start(false, threads);
	int tries = 300;
	int status;

	while (!uffd_pages(false) && tries--) {
		if (waitpid(child, &status, WNOHANG) == child) {
			check(false, "nobody waits for a page");
			return 0;
		}
		usleep(100000);
	}
	check(tries > 0, "no page was asked for");
	kill(child, SIGKILL);
	expect_end(child, -SIGKILL);
	check(!read_number(DEBUGFS "progress"), "%ld units done",
	      read_number(DEBUGFS "progress"));
	return read_number(DEBUGFS "error");
}

/* If a helper waited on, its caller could not be killed: the last case. */
static void test_uffd_killed(void)
{
	long serial = uffd_kill(1), helped = uffd_kill(0);

	check(read_units() > 0, "no helper came");
	check(serial > 0, "serial: no error");
	check(helped == serial, "errno %ld, serial %ld", helped, serial);
}

static const struct test_case cases[] = {
	{ "faults fill the callers memory", test_present },
	{ "faults go by the policy of the caller", test_policies },
	{ "a caller that moves to another cpuset is followed", test_moved },
	{ "pinning ends when the caller is killed", test_killed },
	{ "pinning huge pages ends when the caller is killed", test_killed_huge },
	{ "protection keys are the callers", test_keys, no_keys },
	{ "userfaultfd provides pages to helpers", test_uffd_provides,
	  no_uffd },
	{ "who waits for userfaultfd can be killed", test_uffd_killed,
	  no_uffd },
};

int main(void)
{
	tasks_begin();
	groups_begin_or_skip();
	uffd_asked = mmap(NULL, sizeof(*uffd_asked), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (uffd_asked == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));

	run_cases(cases, ARRAY_SIZE(cases));
	groups_end();
	ksft_finished();
}
