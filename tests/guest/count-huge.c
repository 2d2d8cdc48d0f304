// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs in a guest whose clock counts instructions: what jobs with huge pages take.
 * Linked statically, since that guest has no libraries.  Needs one CPU, root, and
 * hugepagesz=1G hugepages=2.
 *
 * Prints "count huge.JOB ns=NANOSECONDS" for the jobs of tests/guest/huge, except
 * that files have 1 GiB.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GIB		(1L << 30)
#define HUGE_1G		(MAP_HUGETLB | 30 << 26)

static long long began;

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void check(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static void begin(void)
{
	began = now();
}

static void end(const char *job)
{
	printf("count huge.%s ns=%lld\n", job, now() - began);
	fflush(stdout);
}

static char *new_page(void)
{
	char *page = mmap(NULL, GIB, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | HUGE_1G, -1, 0);

	check(page != MAP_FAILED, "mmap");
	return page;
}

/* Nothing but the write itself, in the child, which has to copy. */
static void copy(char *page)
{
	int status;
	pid_t pid;

	pid = fork();
	check(pid >= 0, "fork");
	if (!pid) {
		begin();
		page[0] = 2;
		end("copy_1G");
		_exit(page[0] != 2);
	}
	check(waitpid(pid, &status, 0) == pid && !status, "child");
}

static void allocate(const char *options, const char *job)
{
	int fd;

	check(!mount("none", "/mnt", "hugetlbfs", 0, options), "mount");
	fd = open("/mnt/file", O_RDWR | O_CREAT, 0600);
	check(fd >= 0, "open");
	begin();
	check(!fallocate(fd, 0, 0, GIB), "fallocate");
	end(job);
	check(!unlink("/mnt/file"), "unlink");
	close(fd);
	check(!umount("/mnt"), "umount");
}

static void set_pool(const char *pages)
{
	int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY);

	check(fd >= 0 && write(fd, pages, 3) == 3, "nr_hugepages");
	close(fd);
}

int main(void)
{
	char *page = new_page();

	mkdir("/mnt", 0700);
	begin();
	page[0] = 1;
	end("touch_1G");
	copy(page);
	munmap(page, GIB);
	allocate("pagesize=1G", "fallocate_1G");
	set_pool("512");
	allocate("pagesize=2M", "fallocate_2M");
	return 0;
}
