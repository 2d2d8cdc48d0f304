// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests that a part of a task gets helpers wherever it belongs: from its node if
 * unbound work may run there, from the nearest one otherwise.
 *
 * The caller waits in its first chunk until helpers have done the rest, in tasks
 * that lib/test_ktask.c runs for this process.
 *
 * Needs CONFIG_TEST_KTASK=m with the module loaded, and two nodes of two CPUs.
 * What it tests depends on how the kernel was booted: with the CPUs of node 1
 * isolated, with workqueue.disable_numa, or with neither.
 */
#include "context.h"

#define UNITS		400
#define NODE_0		0x3UL
#define NODE_1		0xcUL
#define ALL		0xfUL

static const char mask[] = "/sys/devices/virtual/workqueue/cpumask";

/* Units from @first on that helpers did on CPUs outside @cpus. */
static int elsewhere(int first, int size, unsigned long cpus)
{
	int i, nr = 0;

	for (i = first; i < size; i++)
		nr += units[i].helper && !(cpus & 1UL << units[i].cpu);
	return nr;
}

static int spin_on(int node, int hold)
{
	int ret = set_cpus(0, ALL);

	return ret ? ret : run("work=spin spin=1 size=%d node=%d hold=%d lead=1",
			       UNITS, node, hold);
}

static int spin_on_node_0(void)
{
	return spin_on(0, UNITS);
}

static int spin_on_node_1(void)
{
	return spin_on(1, UNITS);
}

static int spin_held(void)
{
	return spin_on(1, UNITS / 2);
}

static void expect_helped_on(int (*func)(void), unsigned long cpus)
{
	pid_t child = make_child(func);

	start_child();
	expect_end(child, 0);
	expect_helped(UNITS);
	check(!elsewhere(0, UNITS, cpus), "%d units elsewhere",
	      elsewhere(0, UNITS, cpus));
}

static void test_own_cpus(void)
{
	expect_helped_on(spin_on_node_0, NODE_0);
	expect_helped_on(spin_on_node_1, NODE_1);
}

static void test_unusable(void)
{
	expect_helped_on(spin_on_node_0, NODE_0);
	expect_helped_on(spin_on_node_1, NODE_0);
}

/* In the middle of a task, too. */
static void test_cpus_are_taken(void)
{
	const int first = UNITS / 2 + 2 * IN_FLIGHT(UNITS);
	pid_t child = make_child(spin_held);

	start_child();
	wait_held(UNITS / 4);
	check(!write_file(mask, "3"), "%s: %s", mask, strerror(errno));
	let_go();
	expect_end(child, 0);
	expect_helped(UNITS);
	check(!elsewhere(0, UNITS / 2, NODE_1), "%d units elsewhere",
	      elsewhere(0, UNITS / 2, NODE_1));
	check(!elsewhere(first, UNITS, NODE_0), "%d units elsewhere later",
	      elsewhere(first, UNITS, NODE_0));
	expect_helped_on(spin_on_node_1, NODE_0);
}

static void test_cpus_are_given_back(void)
{
	check(!write_file(mask, "f"), "%s: %s", mask, strerror(errno));
	expect_helped_on(spin_on_node_1, NODE_1);
}

/* Workers may run on any node then. */
static void test_no_affinity(void)
{
	expect_helped_on(spin_on_node_0, ALL);
	expect_helped_on(spin_on_node_1, ALL);
}

static const struct test_case isolated_cases[] = {
	{ "a node without usable cpus is helped", test_unusable },
};

static const struct test_case no_affinity_cases[] = {
	{ "workers of any node help", test_no_affinity },
};

static const struct test_case usual_cases[] = {
	{ "a node is helped by its cpus", test_own_cpus },
	{ "a node whose cpus are taken is helped", test_cpus_are_taken },
	{ "a node that gets its cpus back is helped by them",
	  test_cpus_are_given_back },
};

/* Is the first character of a file one of @chars? */
static bool starts_with(const char *path, const char *chars)
{
	int fd = open(path, O_RDONLY);
	char c = '\n';

	if (fd < 0)
		return false;
	if (read(fd, &c, 1) != 1)
		c = '\n';
	close(fd);
	return strchr(chars, c);
}

int main(void)
{
	tasks_begin();
	if (access("/sys/devices/system/node/node1/cpu2", F_OK))
		ksft_exit_skip("needs two nodes of two CPUs\n");

	if (starts_with("/sys/devices/system/cpu/isolated", "0123456789"))
		run_cases(isolated_cases, ARRAY_SIZE(isolated_cases));
	else if (starts_with("/sys/module/workqueue/parameters/disable_numa",
			     "Y"))
		run_cases(no_affinity_cases, ARRAY_SIZE(no_affinity_cases));
	else
		run_cases(usual_cases, ARRAY_SIZE(usual_cases));
	ksft_finished();
}
