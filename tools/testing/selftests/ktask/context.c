// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests that helpers of ktask are their caller in what they use and who pays for
 * it: by what they did, in tasks that lib/test_ktask.c runs for this process.
 *
 * In most cases the caller's own thread waits in its first chunk until helpers
 * have done the rest ("lead"), and in many a task is held in the middle ("hold"),
 * something changes, and it goes on.
 *
 * Needs CONFIG_TEST_KTASK=m with the module loaded, four CPUs and two nodes, and
 * nobody else who uses the cgroup controllers.  context_v1.c is the same with
 * cgroups of version 1.
 */
#include <ctype.h>
#include <dirent.h>

#include "context.h"

/* -------------------------------------------------------------------------
 * CPUs
 */

/*
 * Units from @first on that helpers did on CPUs outside @mask.  Masks here leave
 * half of a node out: else workers of the node fit anyway.
 */
static int strayed(int first, int size, unsigned long mask)
{
	int i, nr = 0;

	for (i = first; i < size; i++) {
		if (units[i].helper && (!(mask & 1UL << units[i].cpu) ||
					!(mask & 1UL << units[i].end_cpu)))
			nr++;
	}
	return nr;
}

#define CPU_UNITS	400

static int spin_held(void)
{
	return run("work=spin spin=1 size=%d hold=%d lead=1 max_threads=%d",
		   CPU_UNITS, CPU_UNITS / 2, max_threads);
}

static int spin_on_two(void)
{
	int ret = set_cpus(0, 0x5);

	return ret ? ret : spin_held();
}

/* The CPUs of worker @pid in hexadecimal, 0 if it is gone or of no unbound pool. */
static unsigned long worker_cpus(const char *pid)
{
	static const char key[] = "Cpus_allowed:";
	char path[64], line[256];
	unsigned long cpus = 0;
	bool unbound = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.16s/status", pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		if (strstr(line, "kworker/u"))
			unbound = true;
		if (!strncmp(line, key, strlen(key)))
			cpus = strtoul(line + strlen(key), NULL, 16);
	}
	fclose(file);
	return unbound ? cpus : 0;
}

/* The number of workers that may not use all CPUs of some node. */
static int narrow_workers(void)
{
	struct dirent *entry;
	unsigned long cpus;
	DIR *proc = opendir("/proc");
	int nr = 0;

	while (proc && (entry = readdir(proc))) {
		if (!isdigit(entry->d_name[0]))
			continue;
		cpus = worker_cpus(entry->d_name);
		if (cpus && (cpus & 0x3) != 0x3 && (cpus & 0xc) != 0xc)
			nr++;
	}
	if (proc)
		closedir(proc);
	return nr;
}

/* They get them back once they have left, and pools of old masks end soon. */
static void expect_wide_workers(void)
{
	long end = seconds_from_now(60);

	while (narrow_workers() && !has_passed(end))
		usleep(100000);
	check(!narrow_workers(), "%d workers lack a CPU", narrow_workers());
}

static void test_affinity(void)
{
	pid_t child = make_child(spin_on_two);

	start_child();
	wait_held(CPU_UNITS / 4);
	let_go();
	expect_end(child, 0);
	expect_helped(CPU_UNITS);
	check(!strayed(0, CPU_UNITS, 0x5), "%d units strayed",
	      strayed(0, CPU_UNITS, 0x5));
	expect_wide_workers();
}

static int spin_on_three(void)
{
	int ret = set_cpus(0, 0x7);

	return ret ? ret : spin_held();
}

/* The CPUs of the caller become fewer while its helpers are on them. */
static void test_affinity_shrinks(void)
{
	const int first = CPU_UNITS / 2 + IN_FLIGHT(CPU_UNITS);
	pid_t child = make_child(spin_on_three);

	start_child();
	wait_held(CPU_UNITS / 4);
	check(!set_cpus(child, 0x5), "sched_setaffinity: %s", strerror(errno));
	let_go();
	expect_end(child, 0);
	expect_helped(CPU_UNITS);
	check(!strayed(first, CPU_UNITS, 0x5), "%d units strayed",
	      strayed(first, CPU_UNITS, 0x5));
	expect_wide_workers();
}

static void test_cpuset_cpus(void)
{
	const int first = CPU_UNITS / 2 + IN_FLIGHT(CPU_UNITS);
	pid_t child = make_child(spin_held);

	group_make("a");
	group_write("a", "cpuset.cpus", "0-2");
	group_enter("a", child);
	start_child();
	wait_held(CPU_UNITS / 4);
	group_write("a", "cpuset.cpus", "0,2");
	let_go();
	expect_end(child, 0);
	expect_helped(CPU_UNITS);
	check(!strayed(0, CPU_UNITS / 2, 0x7), "%d units strayed",
	      strayed(0, CPU_UNITS / 2, 0x7));
	check(!strayed(first, CPU_UNITS, 0x5), "%d units strayed later",
	      strayed(first, CPU_UNITS, 0x5));
	group_remove("a");
	expect_wide_workers();
}

#if CGROUP_VERSION == 2
/* A CPU becomes a partition of its own, which nobody else may use. */
static void test_partition(void)
{
	const int first = CPU_UNITS / 2 + IN_FLIGHT(CPU_UNITS);
	pid_t child = make_child(spin_held);

	start_child();
	wait_held(CPU_UNITS / 4);
	group_make("b");
	group_write("b", "cpuset.cpus", "3");
	group_write("b", "cpuset.cpus.partition", "root");
	let_go();
	expect_end(child, 0);
	expect_helped(CPU_UNITS);
	check(!strayed(first, CPU_UNITS, 0x7), "%d units strayed",
	      strayed(first, CPU_UNITS, 0x7));
	group_write("b", "cpuset.cpus.partition", "member");
	group_remove("b");
	expect_wide_workers();
}
#endif

static const char stats[] = "/sys/kernel/debug/ktask/stats";

/* The only CPU that a helper has on its node goes off. */
static void test_cpu_off(void)
{
	static const char online[] = "/sys/devices/system/cpu/cpu2/online";
	const int first = CPU_UNITS / 2 + IN_FLIGHT(CPU_UNITS);
	pid_t child = make_child(spin_on_two);
	long left;

	start_child();
	wait_held(CPU_UNITS / 4);
	left = read_key(stats, "helpers_left_cpus");
	check(!write_file(online, "0"), "%s: %s", online, strerror(errno));
	let_go();
	expect_end(child, 0);
	expect_helped(CPU_UNITS);
	check(!strayed(first, CPU_UNITS, 0x1), "%d units strayed",
	      strayed(first, CPU_UNITS, 0x1));
	check(read_key(stats, "helpers_left_cpus") > left, "nobody left");
	check(!write_file(online, "1"), "%s: %s", online, strerror(errno));
	expect_wide_workers();
}

static void test_pinned(void)
{
	long pinned = read_key(stats, "serial_pinned");

	check(!set_cpus(0, 0x1), "sched_setaffinity: %s", strerror(errno));
	check(!run("work=spin size=100"), "%s", strerror(errno));
	check(!read_units(), "helpers did %d units", nr_helped);
	check(read_key(stats, "serial_pinned") == pinned + 1,
	      "it was no plain call");
	set_cpus(0, 0xf);
}

/*
 * In the middle of a task unbound work has to go to the other CPU of each node.
 * Helpers that run can't: others take their place, or the caller, who leads, would
 * wait in vain.
 */
static void check_workqueue_cpumask(void)
{
	static const char mask[] = "/sys/devices/virtual/workqueue/cpumask";
	const int first = CPU_UNITS / 2 + IN_FLIGHT(CPU_UNITS);
	pid_t child = make_child(spin_held);

	check(!write_file(mask, "5"), "%s", mask);
	start_child();
	wait_held(CPU_UNITS / 4);
	check(!write_file(mask, "a"), "%s", mask);
	let_go();
	expect_end(child, 0);
	expect_helped(CPU_UNITS);
	check(!strayed(0, CPU_UNITS / 2, 0x5), "%d units strayed",
	      strayed(0, CPU_UNITS / 2, 0x5));
	check(!strayed(first, CPU_UNITS, 0xa), "%d units strayed later",
	      strayed(first, CPU_UNITS, 0xa));
	write_file(mask, "f");
	expect_wide_workers();
}

static void test_workqueue_cpumask(void)
{
	check_workqueue_cpumask();
	/* A single helper has nobody who would find an idle CPU for another. */
	max_threads = 2;
	check_workqueue_cpumask();
	max_threads = 0;
}

static int spin_anywhere(void)
{
	return run("work=spin spin=1 size=%d lead=1", CPU_UNITS);
}

/*
 * CPU 3 is isolated from the scheduler, and CPU 1 from ticks: unbound work has no
 * business there, wherever its caller may run.
 */
static void test_isolated(void)
{
	pid_t child = make_child(spin_anywhere);

	check(!set_cpus(child, 0xf), "sched_setaffinity: %s", strerror(errno));
	start_child();
	expect_end(child, 0);
	expect_helped(CPU_UNITS);
	check(!strayed(0, CPU_UNITS, 0x5), "%d units on isolated CPUs",
	      strayed(0, CPU_UNITS, 0x5));
}

/* -------------------------------------------------------------------------
 * Memory groups
 */

#define ALLOC_UNITS	4000

/* Most of @pages, but for what helpers did not do and batching hides. */
static bool most_of(long bytes, long pages)
{
	return bytes >= pages * (long)PAGE * 8 / 10;
}

static int alloc_charged(void)
{
	return run("work=alloc size=%d flags=%d lead=1", ALLOC_UNITS, MEMCG);
}

static int alloc_uncharged(void)
{
	return run("work=alloc size=%d flags=0 lead=1", ALLOC_UNITS);
}

static void test_kernel_memory(void)
{
	pid_t child;
	long charged;

	group_make("a");
	child = make_child(alloc_charged);
	group_enter("a", child);
	start_child();
	expect_end(child, 0);
	expect_helped(ALLOC_UNITS);
	charged = group_kernel("a");
	check(most_of(charged, ALLOC_UNITS), "%ld bytes charged", charged);

	/* Without the flag the same is charged to nobody: this test can fail. */
	child = make_child(alloc_uncharged);
	group_enter("a", child);
	start_child();
	expect_end(child, 0);
	expect_helped(ALLOC_UNITS);
	charged = group_kernel("a");
	check(!most_of(charged, ALLOC_UNITS), "%ld bytes charged", charged);
	run("size=1");
	group_remove("a");
}

#define FAULT_UNITS	2000

static int fault_pages(void)
{
	char *addr = map(FAULT_UNITS * PAGE, MAP_NORESERVE);
	int ret;

	madvise(addr, FAULT_UNITS * PAGE, MADV_NOHUGEPAGE);
	ret = run("work=fault addr=%#lx size=%d flags=%d lead=1", (long)addr,
		  FAULT_UNITS, MM | MEMCG);
	if (ret)
		return ret;
	/* It is this process's memory, and stays while the parent looks. */
	memset(addr, 1, FAULT_UNITS * PAGE);
	raise(SIGSTOP);
	return 0;
}

static void test_faults(void)
{
	pid_t child = make_child(fault_pages);
	int status;
	long usage;

	group_make("a");
	group_enter("a", child);
	start_child();
	waitpid(child, &status, WUNTRACED);
	check(WIFSTOPPED(status), "the caller ended with %d", status);
	expect_helped(FAULT_UNITS);
	usage = group_usage("a");
	check(most_of(usage, FAULT_UNITS), "%ld bytes charged", usage);
	kill(child, SIGCONT);
	expect_end(child, 0);
	group_remove("a");
}

#define TABLE_UNITS	200

/* Each page needs a page table of its own. */
static int fault_tables(void)
{
	char *addr = map(TABLE_UNITS * HUGE_PAGE, MAP_NORESERVE);
	int ret;

	madvise(addr, TABLE_UNITS * HUGE_PAGE, MADV_NOHUGEPAGE);
	ret = run("work=fault addr=%#lx stride=%lu size=%d flags=%d lead=1",
		  (long)addr, HUGE_PAGE, TABLE_UNITS, MM | MEMCG);
	if (!ret)
		raise(SIGSTOP);
	return ret;
}

static void test_page_tables(void)
{
	pid_t child = make_child(fault_tables);
	long charged;
	int status;

	group_make("a");
	group_enter("a", child);
	start_child();
	waitpid(child, &status, WUNTRACED);
	check(WIFSTOPPED(status), "the caller ended with %d", status);
	expect_helped(TABLE_UNITS);
	charged = group_kernel("a");
	check(most_of(charged, TABLE_UNITS), "%ld bytes charged", charged);
	kill(child, SIGCONT);
	expect_end(child, 0);
	group_remove("a");
}

static int alloc_held(void)
{
	return run("work=alloc size=%d flags=%d lead=1 hold=%d", ALLOC_UNITS,
		   MEMCG, ALLOC_UNITS / 2);
}

/* Units from the held one on that were done. */
static int after_hold(int size)
{
	int i, nr = 0;

	for (i = size / 2; i < size; i++)
		nr += units[i].done;
	return nr;
}

static void test_moved(void)
{
	pid_t child = make_child(alloc_held);
	long before, after;

	group_make("a");
	group_make("b");
	group_enter("a", child);
	start_child();
	wait_held(ALLOC_UNITS / 4);
	before = group_kernel("a");
	group_enter("b", child);
	let_go();
	expect_end(child, 0);
	expect_helped(ALLOC_UNITS);
	after = group_kernel("b");
	check(most_of(before, ALLOC_UNITS / 4), "%ld bytes charged to the first",
	      before);
	check(most_of(after, after_hold(ALLOC_UNITS)),
	      "%ld bytes charged to the second for %d", after,
	      after_hold(ALLOC_UNITS));
	run("size=1");
	group_remove("a");
	group_remove("b");
}

static void test_removed(void)
{
	pid_t child = make_child(alloc_held);
	long after;

	group_make("a");
	group_make("b");
	group_enter("a", child);
	start_child();
	wait_held(ALLOC_UNITS / 4);
	group_enter("b", child);
	group_remove("a");
	let_go();
	expect_end(child, 0);
	expect_helped(ALLOC_UNITS);
	after = group_kernel("b");
	check(most_of(after, after_hold(ALLOC_UNITS)), "%ld bytes charged",
	      after);
	run("size=1");
	group_remove("b");
}

static void test_limit_raised(void)
{
	pid_t child = make_child(alloc_held);

	group_make("a");
	group_limit("a", "12M");
	group_enter("a", child);
	start_child();
	wait_held(ALLOC_UNITS / 4);
	group_limit("a", "64M");
	let_go();
	expect_end(child, 0);
	expect_helped(ALLOC_UNITS);
	check(!group_oom_kills("a"), "somebody was killed");
	run("size=1");
	group_remove("a");
}

/* It was high enough when the task began, and what had to be raised above is not. */
static void test_limit_lowered(void)
{
	pid_t child = make_child(alloc_held);

	group_make("a");
	group_limit("a", "64M");
	group_enter("a", child);
	start_child();
	wait_held(ALLOC_UNITS / 4);
	group_limit("a", "12M");
	let_go();
	expect_end(child, -SIGKILL);
	check(read_units() >= ALLOC_UNITS / 4, "helpers did %d units",
	      nr_helped);
	check(read_number(DEBUGFS "error") == ENOMEM, "errno %ld",
	      read_number(DEBUGFS "error"));
	check(group_oom_kills("a") == 1, "%ld were killed",
	      group_oom_kills("a"));
	run("size=1");
	group_remove("a");
}

#define TOO_MUCH	16384

/* Large enough to be the one that is killed, and too large at last. */
static int alloc_too_much(void)
{
	char *addr = map(8 << 20, 0);

	memset(addr, 1, 8 << 20);
	return run("work=alloc size=%d flags=%d lead=1 max_threads=%d",
		   TOO_MUCH, MEMCG, max_threads);
}

static int fault_too_much(void)
{
	char *addr = map(TOO_MUCH * PAGE, MAP_NORESERVE);

	madvise(addr, TOO_MUCH * PAGE, MADV_NOHUGEPAGE);
	return run("work=fault addr=%#lx size=%d flags=%d lead=1 max_threads=%d",
		   (long)addr, TOO_MUCH, MM | MEMCG, max_threads);
}

static int sleep_long(void)
{
	sleep(1000);
	return 0;
}

/* What came of a limit that was hit: serial or with helpers it is the same. */
struct outcome {
	int	caller;
	long	error;
	long	kills;
	bool	bystander;
};

static struct outcome hit_limit(int (*func)(void))
{
	struct outcome outcome;
	pid_t bystander, child;

	group_make("a");
	group_limit("a", "24M");
	bystander = make_child(sleep_long);
	group_enter("a", bystander);
	start_child();
	child = make_child(func);
	group_enter("a", child);
	start_child();

	outcome.caller = wait_child(child);
	outcome.error = read_number(DEBUGFS "error");
	outcome.kills = group_oom_kills("a");
	outcome.bystander = !kill(bystander, 0) &&
			    !waitpid(bystander, NULL, WNOHANG);
	read_units();
	kill(bystander, SIGKILL);
	waitpid(bystander, NULL, 0);
	run("size=1");
	group_remove("a");
	return outcome;
}

/*
 * Who is killed in a fault sees either: it tries to charge the page for some time
 * yet, and may get it once the OOM reaper or reclaim freed one.
 */
static bool error_of_killed(long error)
{
	return error == ENOMEM || error == EINTR;
}

/* Returns the error with helpers. */
static long check_limit(int (*func)(void))
{
	struct outcome serial, helped;

	max_threads = 1;
	serial = hit_limit(func);
	max_threads = 0;
	helped = hit_limit(func);
	check(nr_helped > 1000, "helpers did %d units", nr_helped);
	check(serial.caller == -SIGKILL, "serial: the caller ended with %d",
	      serial.caller);
	check(helped.caller == serial.caller, "the caller ended with %d",
	      helped.caller);
	check(serial.kills == 1, "serial: %ld were killed", serial.kills);
	check(helped.kills == serial.kills, "%ld were killed", helped.kills);
	check(error_of_killed(serial.error), "serial: errno %ld",
	      serial.error);
	check(error_of_killed(helped.error), "errno %ld", helped.error);
	check(serial.bystander && helped.bystander,
	      "another process was killed");
	return helped.error;
}

static void test_limit_of_kernel_memory(void)
{
	/* Here there is no look at signals. */
	check(check_limit(alloc_too_much) == ENOMEM, "not ENOMEM");
}

static void test_limit_of_faults(void)
{
	check_limit(fault_too_much);
}

#if CGROUP_VERSION == 2
#define HIGH		"4M"
#define HIGH_UNITS	4096
/* Twice the limit, less what the leader keeps for the end, and more than that. */
#define HIGH_HOLD	2048
#define HIGH_SEEN	1536

static int alloc_above_high(void)
{
	return run("work=alloc size=%d flags=%d lead=1 hold=%d max_threads=%d",
		   HIGH_UNITS, MEMCG | KILLABLE, HIGH_HOLD, max_threads);
}

/* How often there was reclaim for memory.high, while the caller leads and waits. */
static long high_events(void)
{
	pid_t child = make_child(alloc_above_high);
	long events;

	group_make("a");
	group_write("a", "memory.high", HIGH);
	group_enter("a", child);
	start_child();
	wait_stalled(HIGH_SEEN);
	events = read_key(group_file("a", "memory.events"), "high");
	check(!read_key(group_file("a", "memory.events"), "max"),
	      "memory.max was hit");
	kill(child, SIGKILL);
	expect_end(child, -SIGKILL);
	check(max_threads == 1 || read_units() >= HIGH_SEEN,
	      "helpers did %d units", nr_helped);
	run("size=1");
	group_remove("a");
	return events;
}

static void test_high(void)
{
	long serial, helped;

	max_threads = 1;
	serial = high_events();
	max_threads = 0;
	helped = high_events();
	check(serial > 0, "serial: never throttled");
	check(helped > 0, "helpers were never throttled, serial %ld times",
	      serial);
}

/* A chunk that takes minutes if each 128 pages wait for two seconds. */
#define LONG_CHUNK	16384

static int alloc_long_chunks(void)
{
	return run("work=alloc size=%d chunk=%d flags=%d lead=1",
		   2 * LONG_CHUNK, LONG_CHUNK, MEMCG | KILLABLE);
}

/* A task that is killed does not wait, and its helper gets to its chunk's end. */
static void test_high_killed(void)
{
	pid_t child = make_child(alloc_long_chunks);
	long done;

	group_make("a");
	group_write("a", "memory.high", "1M");
	group_enter("a", child);
	start_child();
	wait_stalled(512);
	done = read_number(DEBUGFS "progress");
	check(done < LONG_CHUNK / 2, "%ld units already, not throttled", done);
	kill(child, SIGKILL);
	expect_end(child, -SIGKILL);
	check(read_units() == LONG_CHUNK, "helpers did %d units", nr_helped);
	run("size=1");
	group_remove("a");
}
#endif

/* -------------------------------------------------------------------------
 * Huge pages
 */

#define HUGE_UNITS	32

static int huge_hold;

static int fault_huge(void)
{
	char *addr = map(HUGE_UNITS * HUGE_PAGE, MAP_HUGETLB);
	int ret;

	if (!addr)
		return errno;
	ret = run("work=fault addr=%#lx stride=%lu size=%d flags=%d lead=1 hold=%d max_threads=%d",
		  (long)addr, HUGE_PAGE, HUGE_UNITS,
		  MM | MEMCG | HUGETLB_CGROUP, huge_hold, max_threads);
	if (!ret)
		raise(SIGSTOP);
	return ret;
}

static void test_huge(void)
{
	long first, second;
	pid_t child;
	int status;

	huge_hold = HUGE_UNITS / 2;
	child = make_child(fault_huge);
	group_make("a");
	group_make("b");
	group_enter("a", child);
	start_child();
	wait_held(HUGE_UNITS / 4);
	first = group_huge("a") / HUGE_PAGE;
	group_enter("b", child);
	let_go();
	waitpid(child, &status, WUNTRACED);
	check(WIFSTOPPED(status), "the caller ended with %d", status);
	expect_helped(HUGE_UNITS);
	second = group_huge("b") / HUGE_PAGE;
	/* The caller's own chunk comes last, and goes to the second. */
	check(first >= HUGE_UNITS / 4, "%ld pages charged to the first", first);
	check(first + second == HUGE_UNITS, "%ld and %ld pages charged", first,
	      second);
	kill(child, SIGCONT);
	expect_end(child, 0);
	group_remove("a");
	group_remove("b");
}

static void test_huge_limit(void)
{
	const int limit = HUGE_UNITS / 2 - 1;
	int threads;
	pid_t child;
	int end[2];

	huge_hold = HUGE_UNITS;
	for (threads = 0; threads < 2; threads++) {
		max_threads = threads;
		group_make("a");
		group_limit_huge("a", limit);
		child = make_child(fault_huge);
		group_enter("a", child);
		start_child();
		end[threads] = wait_child(child);
		check(threads || read_units() >= limit / 2,
		      "helpers did %d units", nr_helped);
		check(read_number(DEBUGFS "progress") <= limit,
		      "%ld pages of %d", read_number(DEBUGFS "progress"),
		      limit);
		group_remove("a");
	}
	max_threads = 0;
	check(end[0] == end[1] && end[0] > 0, "errno %d, serial %d", end[0],
	      end[1]);
}

/* The group is removed while helpers hold pages of it. */
static void test_huge_removed(void)
{
	pid_t child;
	long pages;
	int status;

	huge_hold = HUGE_UNITS / 2;
	child = make_child(fault_huge);
	group_make("a");
	group_make("b");
	group_enter("a", child);
	start_child();
	wait_held(HUGE_UNITS / 4);
	group_enter("b", child);
	group_remove("a");
	let_go();
	waitpid(child, &status, WUNTRACED);
	check(WIFSTOPPED(status), "the caller ended with %d", status);
	expect_helped(HUGE_UNITS);
	pages = group_huge("b") / (long)HUGE_PAGE;
	check(pages >= HUGE_UNITS / 2, "%ld pages charged", pages);
	kill(child, SIGCONT);
	expect_end(child, 0);
	group_remove("b");
}

/* In the middle of a task the limit goes from @before to @after pages. */
static int end_after_limit(unsigned int before, unsigned int after)
{
	pid_t child;
	int status;

	huge_hold = HUGE_UNITS / 2;
	child = make_child(fault_huge);
	group_make("a");
	group_limit_huge("a", before);
	group_enter("a", child);
	start_child();
	wait_held(HUGE_UNITS / 4);
	group_limit_huge("a", after);
	let_go();
	waitpid(child, &status, WUNTRACED);
	check(read_units() >= HUGE_UNITS / 4, "helpers did %d units",
	      nr_helped);
	if (WIFSTOPPED(status)) {
		kill(child, SIGCONT);
		expect_end(child, 0);
		status = 0;
	}
	group_remove("a");
	return WEXITSTATUS(status);
}

static void test_huge_limit_changed(void)
{
	const unsigned int some = HUGE_UNITS * 3 / 4;
	int end = end_after_limit(some, HUGE_UNITS);

	check(!end, "errno %d after the limit was raised", end);
	end = end_after_limit(HUGE_UNITS, some);
	check(end > 0, "no error after the limit was lowered");
	check(read_number(DEBUGFS "progress") <= some, "%ld pages of %u",
	      read_number(DEBUGFS "progress"), some);
}

/* -------------------------------------------------------------------------
 * Memory nodes
 */

#define NODE_UNITS	800

/* The number of units in a range, done by helpers, with memory on @nid. */
static int on_node(int first, int size, int nid)
{
	int i, nr = 0;

	for (i = first; i < size; i++)
		nr += units[i].helper && units[i].nid == nid;
	return nr;
}

static int helped_in(int first, int size)
{
	int i, nr = 0;

	for (i = first; i < size; i++)
		nr += units[i].helper;
	return nr;
}

static void expect_node(int first, int size, int nid)
{
	int helped = helped_in(first, size);

	check(on_node(first, size, nid) == helped,
	      "%d of %d pages are on node %d", on_node(first, size, nid),
	      helped, nid);
}

/* Helpers are on the nodes' CPUs in turn, wherever memory is to go. */
static int alloc_with_policy(int mode, unsigned long nodes)
{
	int ret = set_policy(mode, nodes);
	int node;

	for (node = 0; node < 2 && !ret; node++) {
		ret = run("work=alloc size=%d flags=%d lead=1 node=%d",
			  NODE_UNITS, MEMCG | MEMPOLICY, node);
		expect_helped(NODE_UNITS);
		if (!ret && mode != MPOL_INTERLEAVE)
			expect_node(0, NODE_UNITS, nodes >> 1);
		else if (!ret)
			/* Each thread has a position of its own. */
			check(abs(on_node(0, NODE_UNITS, 0) -
				  on_node(0, NODE_UNITS, 1)) <= 8,
			      "%d and %d pages", on_node(0, NODE_UNITS, 0),
			      on_node(0, NODE_UNITS, 1));
	}
	run("size=1");
	set_policy(MPOL_DEFAULT, 0);
	return ret;
}

static void test_policies(void)
{
	static const int modes[] = { MPOL_BIND, MPOL_PREFERRED,
				     MPOL_PREFERRED_MANY };
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		ret = alloc_with_policy(modes[i], 1);
		check(!ret, "policy %d: %s", modes[i], strerror(ret));
		ret = alloc_with_policy(modes[i], 2);
		check(!ret, "policy %d: %s", modes[i], strerror(ret));
	}
	ret = alloc_with_policy(MPOL_INTERLEAVE, 3);
	check(!ret, "interleave: %s", strerror(ret));
}

/* Without the flag memory is local to the helpers: the case above can fail. */
static void test_policy_not_wanted(void)
{
	check(!set_policy(MPOL_BIND, 1), "set_mempolicy: %s", strerror(errno));
	check(!run("work=alloc size=%d lead=1 node=1", NODE_UNITS), "run: %s",
	      strerror(errno));
	expect_helped(NODE_UNITS);
	expect_node(0, NODE_UNITS, 1);
	run("size=1");
	set_policy(MPOL_DEFAULT, 0);
}

static int mode_of_child;

static int alloc_on_node_1(void)
{
	int ret = 0;

	if (mode_of_child != MPOL_DEFAULT)
		ret = set_policy(mode_of_child, 2);
	if (ret)
		return ret;
	return run("work=alloc size=%d flags=%d lead=1 node=1 hold=%d",
		   NODE_UNITS, MEMCG | MEMPOLICY, NODE_UNITS / 2);
}

/* The nodes of the caller's cpuset change, and with them its policy. */
static void check_rebound(int mode, const char *nodes)
{
	pid_t child;

	mode_of_child = mode;
	group_make("a");
	group_write("a", "cpuset.mems", "0");
	child = make_child(alloc_on_node_1);
	group_enter("a", child);
	start_child();
	wait_held(NODE_UNITS / 4);
	group_write("a", "cpuset.mems", nodes);
	let_go();
	expect_end(child, 0);
	expect_helped(NODE_UNITS);
	expect_node(0, NODE_UNITS / 2, 0);
	expect_node(NODE_UNITS / 2, NODE_UNITS, 1);
	run("size=1");
	group_remove("a");
}

static void test_cpuset_mems(void)
{
	check_rebound(MPOL_DEFAULT, "1");
}

/*
 * The second of the cpuset's nodes is the first one as long as that has one.  A
 * policy that is not rebound would still have that, as it is still allowed.
 */
static void test_rebound(void)
{
	check_rebound(MPOL_BIND | MPOL_F_RELATIVE_NODES, "0-1");
}

/* -------------------------------------------------------------------------
 * Nested tasks: each unit is left to a helper of a helper
 */

#define NESTED_UNITS	400

static int alloc_nested(void)
{
	int ret = set_policy(MPOL_BIND, 2);

	return ret ? ret : run("work=alloc size=%d flags=%d lead=1 nested=1 max_threads=2",
			       NESTED_UNITS, MEMCG | MEMPOLICY);
}

static int fault_nested(void)
{
	char *addr = map(NESTED_UNITS * PAGE, MAP_NORESERVE);

	madvise(addr, NESTED_UNITS * PAGE, MADV_NOHUGEPAGE);
	return run("work=fault addr=%#lx size=%d flags=%d lead=1 nested=1 max_threads=2",
		   (long)addr, NESTED_UNITS, MM | MEMCG);
}

static void test_nested(void)
{
	long charged;
	pid_t child;

	group_make("a");
	child = make_child(alloc_nested);
	group_enter("a", child);
	start_child();
	expect_end(child, 0);
	expect_helped(NESTED_UNITS);
	check(nr_inner >= NESTED_UNITS / 2, "inner helpers did %d units",
	      nr_inner);
	expect_node(0, NESTED_UNITS, 1);
	charged = group_kernel("a");
	check(most_of(charged, NESTED_UNITS), "%ld bytes charged", charged);

	child = make_child(fault_nested);
	group_enter("a", child);
	start_child();
	expect_end(child, 0);
	expect_helped(NESTED_UNITS);
	check(nr_inner >= NESTED_UNITS / 2, "inner helpers did %d units",
	      nr_inner);
	run("size=1");
	group_remove("a");
}

/* -------------------------------------------------------------------------
 * Credentials, signals, ktask.enabled
 */

static void test_creds(void)
{
	const int size = 200;
	int i, wrong = 0;
	int fd;

	/* Opened as root, written to as somebody else. */
	fd = open(DEBUGFS "run", O_WRONLY);
	check(!seteuid(65534), "seteuid: %s", strerror(errno));
	check(dprintf(fd, "size=%d lead=1 flags=%d", size, CREDS) > 0,
	      "run: %s", strerror(errno));
	check(!seteuid(0), "seteuid: %s", strerror(errno));
	close(fd);
	expect_helped(size);
	for (i = 0; i < size; i++)
		wrong += units[i].uid != 65534;
	check(!wrong, "%d units were done as somebody else", wrong);
}

static int flags_of_child;

static int hold_on(void)
{
	return run("work=spin spin=1 size=400 hold=200 lead=1 flags=%d",
		   flags_of_child);
}

static void ignore_signal(int sig)
{
}

static int hold_on_to_signal(void)
{
	struct sigaction action = { .sa_handler = ignore_signal };

	sigaction(SIGUSR1, &action, NULL);
	return hold_on();
}

/* Units up to the held ones are done, by helpers, and no others. */
static void expect_stopped(void)
{
	long done = read_number(DEBUGFS "progress");

	check(read_units() >= 100, "helpers did %d units", nr_helped);
	check(done <= 200, "%ld units are done", done);
}

static void test_signals(void)
{
	pid_t child;

	flags_of_child = KILLABLE;
	child = make_child(hold_on);
	start_child();
	wait_held(100);
	kill(child, SIGKILL);
	expect_end(child, -SIGKILL);
	check(read_number(DEBUGFS "error") == EINTR, "errno %ld",
	      read_number(DEBUGFS "error"));
	expect_stopped();

	flags_of_child = INTERRUPTIBLE;
	child = make_child(hold_on_to_signal);
	start_child();
	wait_held(100);
	kill(child, SIGUSR1);
	expect_end(child, EINTR);
	expect_stopped();
}

static int hold_with_helpers(void)
{
	return run("size=400 hold=200 work=spin spin=1");
}

static void test_enabled(void)
{
	pid_t child = make_child(hold_with_helpers);
	int i, late = 0;

	start_child();
	wait_held(100);
	check(!write_file(PARAMETERS "enabled", "0"), "enabled: %s",
	      strerror(errno));
	let_go();
	expect_end(child, 0);
	check(read_units() > 0, "no helper came");
	for (i = 200 + IN_FLIGHT(400); i < 400; i++)
		late += units[i].helper;
	check(!late, "helpers did %d units too many", late);
	for (i = 0; i < 400; i++)
		check(units[i].done, "unit %d was not done", i);

	check(!run("size=100 work=spin spin=1"), "run: %s", strerror(errno));
	check(!read_units(), "helpers did %d units of a task", nr_helped);

	check(!write_file(PARAMETERS "enabled", "1"), "enabled: %s",
	      strerror(errno));
	check(!run("size=100 lead=1"), "run: %s", strerror(errno));
	expect_helped(100);
}

#if CGROUP_VERSION == 1
/* The OOM killer is off: the task fails, as it does without helpers. */
static void test_oom_disabled(void)
{
	int threads, end[2];
	pid_t child;

	for (threads = 0; threads < 2; threads++) {
		max_threads = threads;
		group_make("a");
		group_limit("a", "24M");
		group_write("a", "memory.oom_control", "1");
		child = make_child(fault_too_much);
		group_enter("a", child);
		start_child();
		end[threads] = wait_child(child);
		check(threads || read_units() > 100, "helpers did %d units",
		      nr_helped);
		group_remove("a");
	}
	max_threads = 0;
	check(end[0] == end[1] && end[0] == ENOMEM, "errno %d, serial %d",
	      end[0], end[1]);
}
#endif

/* In a guest with isolated CPUs. */
static const struct test_case isolated_cases[] = {
	{ "isolated cpus are left alone", test_isolated },
};

static const struct test_case all_cases[] = {
	{ "cpus are the callers", test_affinity },
	{ "cpus that become fewer are followed", test_affinity_shrinks },
	{ "cpus of the cpuset are followed", test_cpuset_cpus },
#if CGROUP_VERSION == 2
	{ "cpus of a new partition are left", test_partition },
#endif
	{ "cpus that go off are left", test_cpu_off },
	{ "a pinned caller is alone", test_pinned },
	{ "cpus of unbound work are followed", test_workqueue_cpumask },
	{ "kernel memory is charged to the caller", test_kernel_memory },
	{ "faults are charged to the caller", test_faults },
	{ "page tables are charged to the caller", test_page_tables },
	{ "a caller that moves is followed", test_moved },
	{ "the callers group is removed", test_removed },
	{ "the limit is raised", test_limit_raised },
	{ "the limit is lowered", test_limit_lowered },
	{ "a limit on kernel memory is hit", test_limit_of_kernel_memory },
	{ "a limit on faults is hit", test_limit_of_faults },
#if CGROUP_VERSION == 2
	{ "memory above high is throttled", test_high },
	{ "a caller that is killed is not throttled", test_high_killed },
#endif
	{ "huge pages are charged to the caller", test_huge },
	{ "a limit on huge pages is hit", test_huge_limit },
	{ "a limit on huge pages that changes is followed",
	  test_huge_limit_changed },
	{ "the group of huge pages is removed", test_huge_removed },
	{ "memory policies hold", test_policies },
	{ "policies hold only if wanted", test_policy_not_wanted },
	{ "nodes of the cpuset are followed", test_cpuset_mems },
	{ "a policy that is rebound is followed", test_rebound },
	{ "nested tasks are the first callers", test_nested },
	{ "credentials are the callers", test_creds },
	{ "signals end a task", test_signals },
	{ "ktask can be switched off", test_enabled },
#if CGROUP_VERSION == 1
	{ "a limit without oom killer is hit", test_oom_disabled },
#endif
};

/* Has this kernel been told to leave some CPUs alone? */
static bool has_isolated_cpus(void)
{
	char text[16] = "";
	int fd = open("/sys/devices/system/cpu/isolated", O_RDONLY);
	ssize_t len = read(fd, text, sizeof(text) - 1);

	close(fd);
	return len > 1;
}

int main(void)
{
	tasks_begin();
	groups_begin_or_skip();
	write_file(NR_HUGEPAGES, "64");
	if (has_isolated_cpus())
		run_cases(isolated_cases, ARRAY_SIZE(isolated_cases));
	else
		run_cases(all_cases, ARRAY_SIZE(all_cases));
	write_file(NR_HUGEPAGES, "0");
	groups_end();
	ksft_finished();
}
