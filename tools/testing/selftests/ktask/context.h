/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of a helper's context share: files, cgroups, and the tasks that
 * lib/test_ktask.c runs.
 *
 * Included by one .c file a program, which may define CGROUP_VERSION as 1 before.
 */
#ifndef CONTEXT_H
#define CONTEXT_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/mempolicy.h>

#include "cases.h"

#ifndef CGROUP_VERSION
#define CGROUP_VERSION	2
#endif

/* As in enum ktask_flags. */
#define KILLABLE	0x01
#define INTERRUPTIBLE	0x02
#define MM		0x04
#define CREDS		0x08
#define MEMCG		0x10
#define HUGETLB_CGROUP	0x20
#define MEMPOLICY	0x40

#define DEBUGFS		"/sys/kernel/debug/test_ktask/"
#define PARAMETERS	"/sys/module/ktask/parameters/"
#define NR_HUGEPAGES	"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

#define PAGE		4096UL
#define HUGE_PAGE	(2UL << 20)
#define MAX_UNITS	65536
/* A chunk in flight is no longer than that share of a task. */
#define IN_FLIGHT(size)	((size) / 8)

struct unit {
	bool	done;
	bool	helper;
	int	cpu;
	int	end_cpu;
	int	nid;
	int	uid;
	int	home;	/* node of the caller, -1 if it was on its way */
};

static struct unit units[MAX_UNITS];
static int nr_helped;
static int nr_inner;
/* 1 for a task without helpers, to compare with. */
static int max_threads;

/* -------------------------------------------------------------------------
 * Files
 */

/* Returns 0 or an errno. */
static inline int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int ret = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = errno;
	close(fd);
	return ret;
}

static inline long read_number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY);
	ssize_t len;

	if (fd < 0)
		return -1;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	return len > 0 ? strtol(text, NULL, 0) : -1;
}

/* The number after @key in a file of lines, or -1. */
static inline long read_key(const char *path, const char *key)
{
	FILE *file = fopen(path, "r");
	char name[64];
	long value;

	if (!file)
		return -1;
	while (fscanf(file, "%63s %ld", name, &value) == 2) {
		if (!strcmp(name, key)) {
			fclose(file);
			return value;
		}
	}
	fclose(file);
	return -1;
}

/* -------------------------------------------------------------------------
 * Groups; of version 1 each controller has a hierarchy of its own.
 */

static const char *const controllers[] = { "memory", "hugetlb", "cpuset" };

static inline const char *group_dir(const char *controller, const char *group)
{
	static char path[8][128];
	static int next;
	char *dir = path[next++ % 8];

	if (CGROUP_VERSION == 2)
		snprintf(dir, 128, "/sys/fs/cgroup/ktask_%s", group);
	else
		snprintf(dir, 128, "/tmp/ktask_cgroup/%s/ktask_%s", controller,
			 group);
	return dir;
}

/* @file begins with the controller's name, as in cgroupfs. */
static inline const char *group_file(const char *group, const char *file)
{
	static char path[8][256];
	static int next;
	char *name = path[next++ % 8];
	char controller[16];

	snprintf(controller, sizeof(controller), "%.*s",
		 (int)strcspn(file, "."), file);
	snprintf(name, 256, "%s/%s", group_dir(controller, group), file);
	return name;
}

static inline void group_write(const char *group, const char *file,
			       const char *text)
{
	int ret = write_file(group_file(group, file), text);

	check(!ret, "%s of %s to %s: %s", file, group, text, strerror(ret));
}

static inline void group_each(const char *group, int (*func)(const char *dir))
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(controllers); i++) {
		check(!func(group_dir(controllers[i], group)), "%s %s: %s",
		      controllers[i], group, strerror(errno));
		if (CGROUP_VERSION == 2)
			return;
	}
}

static inline int make_dir(const char *dir)
{
	return mkdir(dir, 0755);
}

static inline void group_make(const char *group)
{
	group_each(group, make_dir);
	/* A group of version 1 has no CPUs and nodes to begin with. */
	if (CGROUP_VERSION == 1) {
		group_write(group, "cpuset.cpus", "0-3");
		group_write(group, "cpuset.mems", "0-1");
	}
}

/* Processes that have just ended may keep it busy for a moment. */
static inline int remove_dir(const char *dir)
{
	long end = seconds_from_now(60);

	while (rmdir(dir)) {
		if (errno != EBUSY || has_passed(end))
			return -1;
		usleep(50000);
	}
	return 0;
}

static inline void group_remove(const char *group)
{
	group_each(group, remove_dir);
}

static pid_t entering;

static inline int enter_dir(const char *dir)
{
	char path[160], pid[16];

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	snprintf(pid, sizeof(pid), "%d", entering);
	errno = write_file(path, pid);
	return errno ? -1 : 0;
}

static inline void group_enter(const char *group, pid_t pid)
{
	entering = pid;
	group_each(group, enter_dir);
}

/* What is charged for the kernel's own memory, in bytes. */
static inline long group_kernel(const char *group)
{
	if (CGROUP_VERSION == 2)
		return read_key(group_file(group, "memory.stat"), "kernel");
	return read_number(group_file(group, "memory.kmem.usage_in_bytes"));
}

static inline long group_usage(const char *group)
{
	return read_number(group_file(group, CGROUP_VERSION == 2 ?
				      "memory.current" :
				      "memory.usage_in_bytes"));
}

static inline void group_limit(const char *group, const char *bytes)
{
	group_write(group, CGROUP_VERSION == 2 ? "memory.max" :
						 "memory.limit_in_bytes", bytes);
}

static inline long group_oom_kills(const char *group)
{
	if (CGROUP_VERSION == 2)
		return read_key(group_file(group, "memory.events"), "oom_kill");
	return read_key(group_file(group, "memory.oom_control"), "oom_kill");
}

static inline long group_huge(const char *group)
{
	return read_number(group_file(group, CGROUP_VERSION == 2 ?
				      "hugetlb.2MB.current" :
				      "hugetlb.2MB.usage_in_bytes"));
}

static inline void group_limit_huge(const char *group, unsigned int pages)
{
	char bytes[32];

	snprintf(bytes, sizeof(bytes), "%lu", pages * HUGE_PAGE);
	group_write(group, CGROUP_VERSION == 2 ? "hugetlb.2MB.max" :
						 "hugetlb.2MB.limit_in_bytes",
		    bytes);
}

static inline void groups_end(void)
{
	unsigned int i;

	for (i = 0; CGROUP_VERSION == 1 && i < ARRAY_SIZE(controllers); i++) {
		char dir[64];

		snprintf(dir, sizeof(dir), "/tmp/ktask_cgroup/%s",
			 controllers[i]);
		umount(dir);
		rmdir(dir);
	}
}

static inline bool groups_begin(void)
{
	unsigned int i;
	char dir[64];

	if (CGROUP_VERSION == 2)
		return !write_file("/sys/fs/cgroup/cgroup.subtree_control",
				   "+memory +hugetlb +cpuset");
	mkdir("/tmp/ktask_cgroup", 0755);
	for (i = 0; i < ARRAY_SIZE(controllers); i++) {
		snprintf(dir, sizeof(dir), "/tmp/ktask_cgroup/%s",
			 controllers[i]);
		mkdir(dir, 0755);
		if (mount("cgroup", dir, "cgroup", 0, controllers[i]))
			return false;
	}
	return true;
}

/* -------------------------------------------------------------------------
 * Tasks
 */

/* Run a task in this process; returns 0 or an errno. */
static inline int run(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return write_file(DEBUGFS "run", text);
}

static inline void let_go(void)
{
	write_file(DEBUGFS "go", "1");
}

/* Wait until at least @nr units are done and no more get done. */
static inline void wait_stalled(long nr)
{
	long end = seconds_from_now(60);
	long now = 0, before = -1;

	while ((now < nr || now != before) && !has_passed(end)) {
		usleep(200000);
		if (now != before)
			end = seconds_from_now(60);
		before = now;
		now = read_number(DEBUGFS "progress");
	}
	check(now >= nr && now == before, "%ld of %ld units", now, nr);
}

/* The same, and all threads of the task are held. */
static inline void wait_held(long nr)
{
	long end;

	wait_stalled(nr);
	end = seconds_from_now(60);
	while (read_number(DEBUGFS "busy") && !has_passed(end))
		wait_stalled(nr);
	check(!read_number(DEBUGFS "busy"), "%ld units are not held",
	      read_number(DEBUGFS "busy"));
}

/* Read what was done; returns the number of units that helpers did. */
static inline int read_units(void)
{
	FILE *file = fopen(DEBUGFS "units", "r");
	struct unit unit = { .done = true };
	unsigned int nr;
	char who[8];

	memset(units, 0, sizeof(units));
	nr_helped = 0;
	nr_inner = 0;
	while (file && fscanf(file, "%u %7s %d %d %d %d %d", &nr, who,
			      &unit.cpu, &unit.end_cpu, &unit.nid, &unit.uid,
			      &unit.home) == 7) {
		unit.helper = strcmp(who, "caller");
		nr_helped += unit.helper;
		nr_inner += !strcmp(who, "inner");
		units[nr] = unit;
	}
	if (file)
		fclose(file);
	return nr_helped;
}

/* Helpers did most of it, or a case would show nothing. */
static inline void expect_helped(int size)
{
	check(read_units() >= size / 2, "helpers did %d of %d units",
	      nr_helped, size);
}

/* A child that calls @func and ends with its errno; it waits for start_child(). */
static int start_pipe[2];

static inline pid_t make_child(int (*func)(void))
{
	char byte;
	pid_t pid;

	if (pipe(start_pipe))
		ksft_exit_fail_msg("pipe: %s\n", strerror(errno));
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_msg("fork: %s\n", strerror(errno));
	if (pid) {
		close(start_pipe[0]);
		return pid;
	}
	close(start_pipe[1]);
	if (read(start_pipe[0], &byte, 1) != 1)
		_exit(EIO);
	_exit(func());
}

static inline void start_child(void)
{
	if (write(start_pipe[1], "", 1) != 1)
		ksft_exit_fail_msg("pipe: %s\n", strerror(errno));
	close(start_pipe[1]);
}

/* Returns what it ended with, or minus its signal; 1000 if it did not end. */
static inline int wait_child(pid_t pid)
{
	long end = seconds_from_now(300);
	int status;

	/* Without a look at anything, as there may be no memory for that. */
	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (has_passed(end)) {
			check(false, "a caller hangs");
			kill(pid, SIGKILL);
			return 1000;
		}
		usleep(10000);
	}
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static inline void expect_end(pid_t pid, int want)
{
	int end = wait_child(pid);

	check(end == want, "the caller ended with %d, not %d", end, want);
}

static inline int set_policy(int mode, unsigned long nodes)
{
	return syscall(SYS_set_mempolicy, mode, nodes ? &nodes : NULL,
		       nodes ? 8 * sizeof(nodes) : 0) ? errno : 0;
}

static inline int set_cpus(pid_t pid, unsigned long mask)
{
	cpu_set_t set;
	int cpu;

	CPU_ZERO(&set);
	for (cpu = 0; cpu < 64; cpu++) {
		if (mask & 1UL << cpu)
			CPU_SET(cpu, &set);
	}
	return sched_setaffinity(pid, sizeof(set), &set) ? errno : 0;
}

static inline char *map(size_t size, int flags)
{
	char *addr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	return addr == MAP_FAILED ? NULL : addr;
}

/* What all programs need that run tasks with lib/test_ktask.c. */
static inline void tasks_begin(void)
{
	cases_begin();
	if (access(DEBUGFS "run", W_OK))
		ksft_exit_skip("test_ktask is not loaded, or no root\n");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 4 ||
	    access("/sys/devices/system/node/node1", F_OK))
		ksft_exit_skip("needs four CPUs and two nodes\n");
}

static inline void groups_begin_or_skip(void)
{
	if (!groups_begin())
		ksft_exit_skip("no cgroup controllers: %s\n", strerror(errno));
}

#endif /* CONTEXT_H */
