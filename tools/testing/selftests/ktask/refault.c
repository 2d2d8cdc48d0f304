// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of faults in helpers of ktask on memory that has been there before: for whose
 * group it is read back from swap, and what NUMA balancing makes of it.
 *
 * See context.h for what is needed, besides an I/O controller, a loop device and NUMA
 * balancing.  Nothing else may swap or be balanced meanwhile.
 */
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/swap.h>
#include <linux/loop.h>

#include "context.h"

/* -------------------------------------------------------------------------
 * Settings
 */

#define PAGE_CLUSTER	"/proc/sys/vm/page-cluster"
#define BALANCING	"/proc/sys/kernel/numa_balancing"
#define SCHED_DEBUGFS	"/sys/kernel/debug/sched/numa_balancing/"

static struct {
	const char	*path;
	long		old;
} settings[] = {
	{ PAGE_CLUSTER },
	{ BALANCING },
	{ SCHED_DEBUGFS "scan_delay_ms" },
	{ SCHED_DEBUGFS "scan_period_min_ms" },
};

static void settings_begin(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(settings); i++)
		settings[i].old = read_number(settings[i].path);
}

static void settings_end(void)
{
	char old[32];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		snprintf(old, sizeof(old), "%ld", settings[i].old);
		write_file(settings[i].path, old);
	}
}

/* -------------------------------------------------------------------------
 * Swap
 */

#define SWAP_FILE	"/tmp/ktask_swap"
#define SWAP_SIZE	(64UL << 20)
#define SWAP_UNITS	2000

static char swap_device[32];

/*
 * What mkswap would write, in a file whose pages are there: the loop device
 * would charge new ones to the group whose memory it writes, and with that they
 * would be swapped out to the file itself.
 */
static bool swap_format(int fd)
{
	static const char magic[] = "SWAPSPACE2";
	const uint32_t info[] = { 1, SWAP_SIZE / PAGE - 1, 0 };

	return !posix_fallocate(fd, 0, SWAP_SIZE) &&
	       pwrite(fd, info, sizeof(info), 1024) == sizeof(info) &&
	       pwrite(fd, magic, 10, PAGE - 10) == 10;
}

/* A loop device for the swap file, since a RAM disk's pages need no I/O. */
static bool swap_attach(int fd)
{
	int control = open("/dev/loop-control", O_RDWR);
	int number = ioctl(control, LOOP_CTL_GET_FREE);
	int loop;
	bool done;

	snprintf(swap_device, sizeof(swap_device), "/dev/loop%d", number);
	loop = open(swap_device, O_RDWR);
	done = !ioctl(loop, LOOP_SET_FD, fd);
	close(loop);
	close(control);
	return done;
}

static bool swap_begin(void)
{
	int fd = open(SWAP_FILE, O_RDWR | O_CREAT | O_TRUNC, 0600);
	bool done = swap_format(fd) && swap_attach(fd) &&
		    !swapon(swap_device, 0);

	close(fd);
	/* A fault reads its own page and no others. */
	return done && !write_file(PAGE_CLUSTER, "0");
}

static void swap_end(void)
{
	int loop = open(swap_device, O_RDWR);

	swapoff(swap_device);
	ioctl(loop, LOOP_CLR_FD);
	close(loop);
	unlink(SWAP_FILE);
}

/* Bytes that a group has read from the swap device. */
static long group_read(const char *group)
{
	FILE *file = fopen(group_file(group, "io.stat"), "r");
	char line[256];
	long bytes = 0;
	char *at;

	while (file && fgets(line, sizeof(line), file)) {
		at = strstr(line, "rbytes=");
		/* The major number of loop devices. */
		if (!strncmp(line, "7:", 2) && at)
			bytes += strtol(at + 7, NULL, 10);
	}
	if (file)
		fclose(file);
	return bytes;
}

static int fault_swapped(void)
{
	char *addr = map(SWAP_UNITS * PAGE, MAP_NORESERVE);

	madvise(addr, SWAP_UNITS * PAGE, MADV_NOHUGEPAGE);
	memset(addr, 1, SWAP_UNITS * PAGE);
	raise(SIGSTOP);
	return run("work=fault addr=%#lx size=%d flags=%d lead=1 hold=%d max_threads=%d",
		   (long)addr, SWAP_UNITS, MM | MEMCG, SWAP_UNITS / 2,
		   max_threads);
}

/* What a group has in memory of what could be in swap, in bytes. */
static long group_anon(const char *group)
{
	const char *file = group_file(group, "memory.stat");

	return read_key(file, "anon") + read_key(file, "swapcached");
}

/* Have all that a group has written to swap, and no copies kept. */
static void swap_out(const char *group)
{
	const long few = SWAP_UNITS * PAGE / 20;
	long end = seconds_from_now(60);

	while (group_anon(group) > few && !has_passed(end)) {
		write_file(group_file(group, "memory.reclaim"), "16M");
		usleep(50000);
	}
	check(group_anon(group) <= few, "%ld bytes are still in memory",
	      group_anon(group));
}

/* Most of @units, but for what was not swapped out and the caller's last chunk. */
static bool most_of(long bytes, long units)
{
	return bytes >= units * (long)PAGE * 8 / 10;
}

/* Units from the held one on that helpers did. */
static int helped_after_hold(void)
{
	int i, nr = 0;

	for (i = SWAP_UNITS / 2; i < SWAP_UNITS; i++)
		nr += units[i].helper;
	return nr;
}

/* Helpers read for the group that their caller is in, also once it was moved. */
static void test_swapped(void)
{
	pid_t child = make_child(fault_swapped);
	long first, second;
	int status;

	group_make("a");
	group_make("b");
	group_enter("a", child);
	start_child();
	waitpid(child, &status, WUNTRACED);
	check(WIFSTOPPED(status), "the caller ended with %d", status);
	swap_out("a");
	first = group_read("a");
	kill(child, SIGCONT);
	wait_held(SWAP_UNITS / 4);
	first = group_read("a") - first;
	group_enter("b", child);
	let_go();
	expect_end(child, 0);
	second = group_read("b");
	expect_helped(SWAP_UNITS);
	check(most_of(first, SWAP_UNITS / 4), "%ld bytes read for the first",
	      first);
	check(most_of(second, helped_after_hold()),
	      "%ld bytes read for the second, by helpers %d pages", second,
	      helped_after_hold());
	group_remove("a");
	group_remove("b");
}

/* -------------------------------------------------------------------------
 * NUMA balancing
 */

#define NUMA_UNITS	2000

static long vm_event(const char *name)
{
	return read_key("/proc/vmstat", name);
}

static void *sleep_for_ever(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/*
 * Let the scheduler take all pages away, which it does while a task runs; of a
 * process with one thread it leaves those that are near.
 */
static int fault_balanced(void)
{
	char *addr = map(NUMA_UNITS * PAGE, MAP_NORESERVE);
	long updates = vm_event("numa_pte_updates");
	unsigned long turns;
	long end = seconds_from_now(60);
	pthread_t thread;
	int ret;

	ret = pthread_create(&thread, NULL, sleep_for_ever, NULL);
	if (ret)
		return ret;
	madvise(addr, NUMA_UNITS * PAGE, MADV_NOHUGEPAGE);
	memset(addr, 1, NUMA_UNITS * PAGE);
	while (vm_event("numa_pte_updates") - updates < NUMA_UNITS && !ret) {
		for (turns = 0; turns < 10000000; turns++)
			asm volatile("");
		if (has_passed(end))
			ret = ETIME;
	}
	if (!ret)
		ret = run("work=fault addr=%#lx size=%d flags=%d lead=1",
			  (long)addr, NUMA_UNITS, MM | MEMCG);
	return ret;
}

/* A worker's next caller has nothing to do with what this one's pages are like. */
static void test_balancing(void)
{
	long faults = vm_event("numa_hint_faults");
	pid_t child;

	write_file(SCHED_DEBUGFS "scan_delay_ms", "1");
	write_file(SCHED_DEBUGFS "scan_period_min_ms", "1");
	check(!write_file(BALANCING, "1"), "%s: %s", BALANCING,
	      strerror(errno));
	child = make_child(fault_balanced);
	start_child();
	expect_end(child, 0);
	write_file(BALANCING, "0");
	expect_helped(NUMA_UNITS);
	faults = vm_event("numa_hint_faults") - faults;
	check(faults >= NUMA_UNITS / 2, "%ld faults of NUMA balancing", faults);
	check(!read_number(DEBUGFS "balanced"),
	      "after %ld units a helper was being balanced",
	      read_number(DEBUGFS "balanced"));
}

static const struct test_case cases[] = {
	{ "swapped memory is read for the callers group", test_swapped },
	{ "numa balancing leaves helpers alone", test_balancing },
};

int main(void)
{
	int ret;

	tasks_begin();
	if (access(BALANCING, W_OK) || access("/dev/loop-control", W_OK))
		ksft_exit_skip("needs NUMA balancing and loop devices\n");
	if (!groups_begin() ||
	    write_file("/sys/fs/cgroup/cgroup.subtree_control", "+io"))
		ksft_exit_skip("no cgroup controllers: %s\n", strerror(errno));
	settings_begin();
	if (!swap_begin()) {
		ret = errno;
		swap_end();
		settings_end();
		ksft_exit_skip("no swap on a loop device: %s\n",
			       strerror(ret));
	}
	run_cases(cases, ARRAY_SIZE(cases));
	swap_end();
	settings_end();
	groups_end();
	ksft_finished();
}
