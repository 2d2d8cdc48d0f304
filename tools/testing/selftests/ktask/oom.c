// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of what happens when the machine runs out of memory in a helper of ktask:
 * the same as in its caller.  Each case runs with one thread first.
 *
 * This process fills the memory but for a little and can't be killed.  The caller
 * asks for more than that little, for pages that belong to no process.  A bystander
 * is what the OOM killer would take next.
 *
 * Needs a small machine that nobody else uses; see context.h for the rest.
 */
#include <pthread.h>

#include "context.h"

#define MEGABYTE	1048576L
/*
 * What a task may find free; more than that, in units of a page; and half of it,
 * behind the first chunks of all threads.
 */
#define LEFT		(32 * MEGABYTE)
#define OOM_UNITS	20000
#define OOM_HELD	4000

#define KILL_ALLOCATING	"/proc/sys/vm/oom_kill_allocating_task"
#define MIN_FREE	"/proc/sys/vm/min_free_kbytes"

static int oom_flags;
static int oom_hold;
static int oom_score;
static int bystander_score;

/* -------------------------------------------------------------------------
 * Memory
 */

static long node_free(int nid)
{
	char path[64], key[16];
	long kilobytes = -1;
	FILE *file;
	int node;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo",
		 nid);
	file = fopen(path, "r");
	while (file && fscanf(file, " Node %d %15s %ld kB", &node, key,
			      &kilobytes) == 3 && strcmp(key, "MemFree:"))
		;
	if (file)
		fclose(file);
	return kilobytes * 1024;
}

static bool fill_node(int nid, size_t size)
{
	unsigned long nodes = 1UL << nid;
	char *addr = map(size, 0);

	if (!addr || syscall(SYS_mbind, addr, size, MPOL_BIND, &nodes,
			     8 * sizeof(nodes), 0))
		return false;
	memset(addr, 1, size);
	/* Not what the OOM killer is to look at in children. */
	return !madvise(addr, size, MADV_DONTFORK);
}

/*
 * Who is killed may use up half of what is kept free, and what is left on nodes
 * that it may not use; and two seconds after it was killed it does not count any
 * more.  A slow machine needs more than that for the 40 MiB that are kept where huge
 * pages are enabled, and kills another one then.  So there is little LEFT, too.
 */
static bool keep_little(void)
{
	return !write_file(MIN_FREE, "1024");
}

/* Leave half of what a task may find on each node. */
static bool fill(void)
{
	int nid;

	for (nid = 0; nid < 2; nid++) {
		long size = node_free(nid) - LEFT / 2;

		if (size > 0 && !fill_node(nid, size & -PAGE))
			return false;
	}
	/* Else it would need memory at the worst of times. */
	return !mlockall(MCL_CURRENT | MCL_FUTURE);
}

/* -------------------------------------------------------------------------
 * Callers
 */

static int set_score(int score)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", score);
	return write_file("/proc/self/oom_score_adj", text);
}

static int sleep_with_score(void)
{
	int ret = set_score(bystander_score);

	if (!ret)
		sleep(1000);
	return ret;
}

static int alloc_all(void)
{
	int ret = set_score(oom_score);

	return ret ? ret :
	       run("work=alloc size=%d flags=%d lead=1 node=1 hold=%d max_threads=%d",
		   OOM_UNITS, oom_flags, oom_hold, max_threads);
}

/* While a task runs this sleeps, and not even a fatal signal ends that. */
static void *read_always(void *unused)
{
	for (;;) {
		read_number(DEBUGFS "units");
		usleep(1000);
	}
	return NULL;
}

static int alloc_all_with_threads(void)
{
	pthread_t thread;
	int ret = pthread_create(&thread, NULL, read_always, NULL);

	return ret ? ret : alloc_all();
}

/* -------------------------------------------------------------------------
 * Cases
 */

struct outcome {
	int	caller;
	long	error;
	long	kills;
	bool	bystander;
};

static pid_t make_bystander(void)
{
	pid_t bystander = make_child(sleep_with_score);

	start_child();
	usleep(100000);
	return bystander;
}

static void end_bystander(pid_t pid, struct outcome *outcome)
{
	outcome->bystander = !waitpid(pid, NULL, WNOHANG);
	if (!outcome->bystander)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static long oom_kills(void)
{
	return read_key("/proc/vmstat", "oom_kill");
}

/* In groups "a" and "b", if they are to have nodes of their own. */
static struct outcome run_out(int (*func)(void), bool nodes)
{
	long before = oom_kills();
	struct outcome outcome;
	pid_t bystander, child;

	run("size=1");
	bystander = make_bystander();
	child = make_child(func);
	if (nodes) {
		group_enter("a", child);
		group_enter("b", bystander);
	}
	start_child();
	if (oom_hold < OOM_UNITS) {
		wait_held(OOM_HELD / 4);
		usleep(500000);
		kill(child, SIGKILL);
		let_go();
	}
	outcome.caller = wait_child(child);
	outcome.error = read_number(DEBUGFS "error");
	outcome.kills = oom_kills() - before;
	end_bystander(bystander, &outcome);
	return outcome;
}

static void check_outcome(int (*func)(void), bool nodes, long kills)
{
	struct outcome serial, helped;

	max_threads = 1;
	serial = run_out(func, nodes);
	max_threads = 0;
	helped = run_out(func, nodes);
	check(read_units() > OOM_HELD / 4, "helpers did %d units", nr_helped);
	check(serial.caller == -SIGKILL, "serial: the caller ended with %d",
	      serial.caller);
	check(helped.caller == serial.caller, "the caller ended with %d",
	      helped.caller);
	check(serial.error == ENOMEM, "serial: errno %ld", serial.error);
	check(helped.error == serial.error, "errno %ld", helped.error);
	check(serial.kills == kills, "serial: %ld were killed", serial.kills);
	check(helped.kills == kills, "%ld were killed", helped.kills);
	check(serial.bystander, "serial: the bystander was killed");
	check(helped.bystander, "the bystander was killed");
}

/* The caller is what the OOM killer selects, and nobody after it. */
static void test_selected(void)
{
	oom_flags = MM | MEMCG;
	oom_hold = OOM_UNITS;
	oom_score = 1000;
	bystander_score = 900;
	check_outcome(alloc_all, false, 1);
}

/* The one that allocates is to be killed, and that is the caller. */
static void test_allocating(void)
{
	check(!write_file(KILL_ALLOCATING, "1"), KILL_ALLOCATING);
	oom_flags = MM | MEMCG;
	oom_hold = OOM_UNITS;
	oom_score = 0;
	bystander_score = 1000;
	check_outcome(alloc_all, false, 1);
	write_file(KILL_ALLOCATING, "0");
}

/* To kill who has no memory on the caller's nodes would be of no use. */
static void test_nodes(void)
{
	group_make("a");
	group_make("b");
	group_write("a", "cpuset.mems", "1");
	group_write("b", "cpuset.mems", "0");
	oom_flags = MM | MEMCG | MEMPOLICY;
	oom_hold = OOM_UNITS;
	oom_score = 900;
	bystander_score = 1000;
	check_outcome(alloc_all, true, 1);
	group_remove("a");
	group_remove("b");
}

/* A process that was killed is about to free its memory: nobody else dies. */
static void test_killed(void)
{
	oom_flags = MM | MEMCG;
	oom_hold = OOM_HELD;
	oom_score = 0;
	bystander_score = 1000;
	check_outcome(alloc_all_with_threads, false, 0);
}

static const struct test_case cases[] = {
	{ "the caller is selected and nobody else", test_selected },
	{ "the caller is who allocates", test_allocating },
	{ "the nodes of the caller matter", test_nodes },
	{ "a killed caller is enough", test_killed },
};

/*
 * Whoever reads what is printed may need memory for that, and be killed for it.  So
 * nothing is printed in a case, but between two, when there is some.
 */
static void let_others_read(void)
{
	fflush(stdout);
	sleep(3);
}

int main(void)
{
	static char output[65536];

	tasks_begin();
	if (sysconf(_SC_PHYS_PAGES) > 2048 * MEGABYTE / (long)PAGE)
		ksft_exit_skip("needs a machine with little memory\n");
	groups_begin_or_skip();
	if (set_score(-1000) || !keep_little() || !fill())
		ksft_exit_fail_msg("can't fill the memory: %s\n",
				   strerror(errno));

	setvbuf(stdout, output, _IOFBF, sizeof(output));
	before_case = let_others_read;
	run_cases(cases, ARRAY_SIZE(cases));
	groups_end();
	ksft_finished();
}
