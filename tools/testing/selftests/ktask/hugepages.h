/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of huge pages share: checks, the pool's figures, files.
 *
 * Included by one .c file a program.  Needs root, for mounts and for the pool.
 */
#ifndef HUGEPAGES_H
#define HUGEPAGES_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/mempolicy.h>

#include "cases.h"

#define MAX_NODES	8
#define STATS		"/sys/kernel/debug/ktask/stats"

/* ---- Files with a number in them ---------------------------------------- */

static inline const char *path_of(const char *fmt, va_list args)
{
	static __thread char path[PATH_MAX];

	vsnprintf(path, sizeof(path), fmt, args);
	return path;
}

/* -1 if there is no such file. */
static inline long read_number(const char *fmt, ...)
{
	char text[64] = "";
	va_list args;
	int fd;

	va_start(args, fmt);
	fd = open(path_of(fmt, args), O_RDONLY);
	va_end(args);
	if (fd < 0)
		return -1;
	if (read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = 0;
	close(fd);
	return strtol(text, NULL, 0);
}

static inline bool write_text(const char *text, const char *fmt, ...)
{
	va_list args;
	bool written;
	int fd;

	va_start(args, fmt);
	fd = open(path_of(fmt, args), O_WRONLY);
	va_end(args);
	if (fd < 0)
		return false;
	written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return written;
}

/* ---- The pool ----------------------------------------------------------- */

struct pool {
	long total, free, reserved, surplus;
	long node_total[MAX_NODES], node_free[MAX_NODES];
};

static long page_size;		/* of the huge pages that are tested */
static int nr_nodes;

#define POOL	"/sys/kernel/mm/hugepages/hugepages-%ldkB/"
#define NODE	"/sys/devices/system/node/node%d/hugepages/hugepages-%ldkB/"

static inline struct pool read_pool(void)
{
	long kib = page_size / 1024;
	struct pool pool = {};
	int nid;

	pool.total = read_number(POOL "nr_hugepages", kib);
	pool.free = read_number(POOL "free_hugepages", kib);
	pool.reserved = read_number(POOL "resv_hugepages", kib);
	pool.surplus = read_number(POOL "surplus_hugepages", kib);
	for (nid = 0; nid < nr_nodes; nid++) {
		pool.node_total[nid] = read_number(NODE "nr_hugepages", nid,
						   kib);
		pool.node_free[nid] = read_number(NODE "free_hugepages", nid,
						  kib);
	}
	return pool;
}

#define check_pool(before)	check_pool_at(before, __LINE__)

/* Every page is back where it was. */
static inline void check_pool_at(const struct pool *before, int line)
{
	struct pool now = read_pool();

	check(!memcmp(before, &now, sizeof(now)),
	      "line %d: total %ld free %ld reserved %ld surplus %ld, were %ld %ld %ld %ld; free by node %ld %ld, were %ld %ld",
	      line, now.total, now.free, now.reserved, now.surplus,
	      before->total, before->free, before->reserved, before->surplus,
	      now.node_free[0], now.node_free[1],
	      before->node_free[0], before->node_free[1]);
}

/* As many pages on each node; returns whether they could be had. */
static inline bool set_pool(long pages_per_node)
{
	char text[32];
	int nid;

	snprintf(text, sizeof(text), "%ld", pages_per_node);
	for (nid = 0; nid < nr_nodes; nid++) {
		if (!write_text(text, NODE "nr_hugepages", nid,
				page_size / 1024) ||
		    read_number(NODE "nr_hugepages", nid, page_size / 1024) !=
				pages_per_node)
			return false;
	}
	return true;
}

static struct pool admins_pool;

/* What was there before the test. */
static inline void restore_pool(void)
{
	char text[32];
	int nid;

	for (nid = 0; nid < nr_nodes; nid++) {
		snprintf(text, sizeof(text), "%ld",
			 admins_pool.node_total[nid]);
		write_text(text, NODE "nr_hugepages", nid, page_size / 1024);
	}
}

static inline void count_nodes(void)
{
	while (nr_nodes < MAX_NODES &&
	       read_number(NODE "nr_hugepages", nr_nodes,
			   page_size / 1024) >= 0)
		nr_nodes++;
}

/* ---- Mounts and files --------------------------------------------------- */

static char top[32];

static inline void unmount(void)
{
	umount2(top, MNT_DETACH);
}

/* Mounts hugetlbfs on @top, with more @options or "". */
static inline void mount_files(const char *options)
{
	char all[128];

	snprintf(all, sizeof(all), "pagesize=%ldK%s%s", page_size / 1024,
		 *options ? "," : "", options);
	if (mount("none", top, "hugetlbfs", 0, all))
		ksft_exit_fail_msg("mount -t hugetlbfs -o %s: %s\n", all,
				   strerror(errno));
}

/* A file without a name, so that closing it gives its pages back. */
static inline int new_file(void)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/file", top);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || unlink(path))
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
	return fd;
}

static inline long file_size(int fd)
{
	struct stat st;

	fstat(fd, &st);
	return st.st_size;
}

static inline long file_pages(int fd)
{
	struct stat st;

	fstat(fd, &st);
	return st.st_blocks * 512 / page_size;
}

/* In pages.  0 or an errno. */
static inline int allocate(int fd, int mode, long first, long pages)
{
	return fallocate(fd, mode, first * page_size, pages * page_size) ?
	       errno : 0;
}

static inline char *map_file(int fd, long first, long pages, int flags)
{
	char *addr = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | flags, fd, first * page_size);

	check(addr != MAP_FAILED, "mmap of %ld pages: %s", pages,
	      strerror(errno));
	return addr == MAP_FAILED ? NULL : addr;
}

static inline void unmap(char *addr, long pages)
{
	if (addr)
		munmap(addr, pages * page_size);
}

static inline bool is_zero(const char *addr, size_t size)
{
	const uint64_t *word = (const uint64_t *)addr;
	const uint64_t *end = (const uint64_t *)(addr + size);
	uint64_t seen = 0;

	while (word < end)
		seen |= *word++;
	return !seen;
}

/* ---- Where pages come from ---------------------------------------------- */

static inline const char *one_node(void)
{
	return nr_nodes < 2 ? "one node" : NULL;
}

static inline void set_policy(int mode, unsigned long nodes)
{
	check(!syscall(SYS_set_mempolicy, mode, &nodes, 8 * sizeof(nodes)),
	      "set_mempolicy: %s", strerror(errno));
}

/* ---- Children ----------------------------------------------------------- */

/* Runs @func in a child; what it checks counts. */
static inline void in_child(void (*func)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		func();
		fflush(stdout);
		_exit(!!failures);
	}
	check(pid > 0, "fork: %s", strerror(errno));
	if (pid > 0 && waitpid(pid, &status, 0) == pid)
		check(!status, "the child ended with status %#x", status);
}

/* ---- ktask's counters --------------------------------------------------- */

static inline const char *no_stats(void)
{
	return access(STATS, R_OK) ? "no " STATS : NULL;
}

static inline long read_stat(const char *name)
{
	char line[128];
	long value = -1;
	FILE *file;

	file = fopen(STATS, "r");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, strlen(name)) &&
		    line[strlen(name)] == ' ')
			value = strtol(line + strlen(name), NULL, 10);
	}
	fclose(file);
	return value;
}

/*
 * Runs @job until helpers finished chunks of it, which they cannot while others
 * have the CPUs.
 */
static inline void check_helped(void (*job)(void), const char *what)
{
	long end = seconds_from_now(60);
	long before, chunks = 0;
	int i;

	for (i = 0; chunks <= 0 && !has_passed(end); i++) {
		/* Whatever has the CPUs may be done with them after a while. */
		usleep(i * 100000);
		before = read_stat("helper_chunks");
		job();
		chunks = read_stat("helper_chunks") - before;
	}
	check(chunks > 0, "no helper finished a chunk of %s", what);
}

/* A case that helpers have to take part in, if there are any. */
static inline void until_helped(void (*func)(void))
{
	if (no_stats())
		func();
	else
		check_helped(func, "this case");
}

/* ---- Main --------------------------------------------------------------- */

static struct pool pool_before;

static inline void look_at_pool(void)
{
	pool_before = read_pool();
}

static inline void look_at_pool_again(void)
{
	check_pool(&pool_before);
}

/* @size is that of the pages to test, in bytes. */
static inline void begin(long size)
{
	cases_begin();
	before_case = look_at_pool;
	after_case = look_at_pool_again;
	if (geteuid())
		ksft_exit_skip("mounts need root\n");
	page_size = size;
	count_nodes();
	if (!nr_nodes)
		ksft_exit_skip("no huge pages of %ld KiB\n", size / 1024);
	admins_pool = read_pool();
	strcpy(top, "/tmp/hugepages.XXXXXX");
	if (!mkdtemp(top))
		ksft_exit_fail_msg("%s: %s\n", top, strerror(errno));
	mount_files("");
}

static inline void end(void)
{
	unmount();
	rmdir(top);
	ksft_finished();
}

#endif /* HUGEPAGES_H */
