// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests what fallocate() of hugetlbfs files does: which pages a file gets, from
 * where, who is charged, what limits and signals leave behind, and that no page
 * and no reservation is lost.  All but the last case hold on kernels where one
 * thread does it, too.
 */
#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <linux/memfd.h>

#include "hugepages.h"

#define PER_NODE	64		/* pages of the pool */
#define GROUP		"/sys/fs/cgroup/ktask-hugepages"

static long pages;			/* of the pool, all nodes together */

/* ---- Pages and sizes ---------------------------------------------------- */

/* So that pages which nobody clears are seen; @fd has all pages. */
static void soil_file(int fd)
{
	char *addr = map_file(fd, 0, pages, 0);

	if (addr)
		memset(addr, 0xff, pages * page_size);
	unmap(addr, pages);
}

static void dirty_pool(void)
{
	int fd = new_file();

	check(!allocate(fd, 0, 0, pages), "no pages");
	soil_file(fd);
	close(fd);
}

/* Are pages @first to @last of the file, the latter not included, zero? */
static void check_zero(int fd, long first, long last)
{
	char *addr = map_file(fd, first, last - first, 0);
	long i;

	for (i = 0; addr && i < last - first; i++)
		check(is_zero(addr + i * page_size, page_size),
		      "page %ld is not zero", first + i);
	unmap(addr, last - first);
}

static void test_zero(void)
{
	int fd;

	dirty_pool();
	fd = new_file();
	check(!allocate(fd, 0, 0, pages), "no pages");
	check(file_size(fd) == pages * page_size, "size %ld", file_size(fd));
	check(file_pages(fd) == pages, "%ld pages", file_pages(fd));
	check_zero(fd, 0, pages);
	close(fd);
}

/* Pages @first, @first + @step ... get their own number, or have to have it. */
static void tag_pages(int fd, long first, long step, bool set)
{
	char *addr;
	long i;

	for (i = first; i < pages; i += step) {
		addr = map_file(fd, i, 1, 0);
		if (!addr)
			return;
		if (set)
			memset(addr, i + 1, page_size);
		check(addr[0] == (char)(i + 1) &&
		      !memcmp(addr, addr + 1, page_size - 1),
		      "page %ld has other contents", i);
		unmap(addr, 1);
	}
}

static void check_present(long first, long step)
{
	long i, next;
	int fd;

	dirty_pool();
	fd = new_file();
	ftruncate(fd, pages * page_size);
	tag_pages(fd, first, step, true);
	check(!allocate(fd, 0, 0, pages), "no pages");
	check(file_pages(fd) == pages, "%ld pages", file_pages(fd));
	tag_pages(fd, first, step, false);
	for (i = 0; i < pages; i = next + 1) {
		next = i <= first ? first :
		       first + (i - first + step - 1) / step * step;
		if (next > pages)
			next = pages;
		if (i < next)
			check_zero(fd, i, next);
	}
	check(!allocate(fd, 0, 0, pages), "all pages are there");
	tag_pages(fd, first, step, false);
	close(fd);
}

static void test_present(void)
{
	check_present(2, 5);
	check_present(pages / 2, pages);
}

static void test_sizes(void)
{
	int fd = new_file();

	check(!allocate(fd, FALLOC_FL_KEEP_SIZE, 0, 20), "keep size");
	check(!file_size(fd), "size %ld", file_size(fd));
	check(file_pages(fd) == 20, "%ld pages", file_pages(fd));
	check(!allocate(fd, 0, 0, 4), "within");
	check(file_size(fd) == 4 * page_size, "size %ld", file_size(fd));
	check(file_pages(fd) == 20, "%ld pages", file_pages(fd));
	ftruncate(fd, 0);
	check(!file_pages(fd), "%ld pages", file_pages(fd));

	/* Parts of pages are pages, but the size is what was asked for. */
	check(!fallocate(fd, 0, page_size * 3 / 2, page_size * 40),
	      "%s", strerror(errno));
	check(file_size(fd) == page_size * 83 / 2, "size %ld", file_size(fd));
	check(file_pages(fd) == 41, "%ld pages", file_pages(fd));
	check(!allocate(fd, 0, 0, 10), "before");
	check(file_size(fd) == page_size * 83 / 2, "size %ld", file_size(fd));
	check(file_pages(fd) == 42, "%ld pages", file_pages(fd));
	close(fd);
}

static long long nanoseconds(const struct timespec *ts)
{
	return ts->tv_sec * 1000000000LL + ts->tv_nsec;
}

static void test_times(void)
{
	struct stat before, after;
	int fd = new_file();

	fstat(fd, &before);
	usleep(20000);
	check(!allocate(fd, 0, 0, 40), "no pages");
	fstat(fd, &after);
	check(nanoseconds(&after.st_ctim) > nanoseconds(&before.st_ctim),
	      "ctime did not change");
	check(nanoseconds(&after.st_mtim) == nanoseconds(&before.st_mtim),
	      "mtime changed");

	/* What fails leaves it alone. */
	before = after;
	usleep(20000);
	check(allocate(fd, 0, 0, pages + 1) == ENOSPC, "one page too many");
	fstat(fd, &after);
	check(nanoseconds(&after.st_ctim) == nanoseconds(&before.st_ctim),
	      "ctime changed");
	close(fd);
}

/* ---- Limits and reservations -------------------------------------------- */

static void test_no_space(void)
{
	static const long more[] = { 1, 20, 1000 };
	unsigned int i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(more); i++) {
		fd = new_file();
		check(allocate(fd, 0, 0, pages + more[i]) == ENOSPC,
		      "%ld pages of %ld", pages + more[i], pages);
		check(!file_size(fd), "size %ld", file_size(fd));
		check(file_pages(fd) == pages, "%ld pages", file_pages(fd));
		close(fd);
	}
	fd = new_file();
	check(!allocate(fd, 0, 0, pages), "pages are lost");
	check(allocate(fd, 0, pages, 1) == ENOSPC, "there are more pages");
	close(fd);
}

static void test_reserved(void)
{
	int mapped = new_file(), fd = new_file();
	struct pool pool;
	char *addr;

	ftruncate(mapped, 40 * page_size);
	addr = map_file(mapped, 0, 40, 0);
	pool = read_pool();
	check(pool.reserved == 40, "%ld reserved", pool.reserved);

	check(allocate(fd, 0, 0, pages - 39) == ENOSPC, "took a reserved page");
	pool = read_pool();
	check(pool.reserved == 40, "%ld reserved", pool.reserved);
	check(pool.free == 40, "%ld free", pool.free);

	check(!allocate(mapped, 0, 0, 40), "a reserved page is not there");
	pool = read_pool();
	check(!pool.reserved, "%ld reserved", pool.reserved);
	check(!pool.free, "%ld free", pool.free);
	unmap(addr, 40);
	close(mapped);
	close(fd);
}

/* Four pages are left, eight are wanted before all those that are reserved. */
static void test_no_more(void)
{
	const long left = 4, wanted = 8;
	long reserved = pages - left;
	int i, fd;
	char *addr;

	for (i = 0; i < 5; i++) {
		fd = new_file();
		ftruncate(fd, pages * 2 * page_size);
		addr = map_file(fd, wanted, reserved, 0);
		check(allocate(fd, 0, 0, wanted + reserved) == ENOSPC,
		      "more pages than there are");
		check(file_pages(fd) <= left,
		      "%ld pages, one thread leaves %ld", file_pages(fd), left);
		unmap(addr, reserved);
		close(fd);
	}
}

/* Reserved pages come first, then 60 others of which 20 can be had. */
static void test_reserved_first(void)
{
	int other = new_file(), fd = new_file();
	struct pool pool;
	char *addr;

	ftruncate(fd, 40 * page_size);
	addr = map_file(fd, 0, 40, 0);
	check(!allocate(other, 0, 0, pages - 60), "no pages");
	check(allocate(fd, 0, 0, 100) == ENOSPC, "more pages than there are");
	pool = read_pool();
	check(file_pages(fd) <= 60, "%ld pages, one thread leaves 60",
	      file_pages(fd));
	check(file_pages(fd) + pool.free == 60,
	      "%ld pages, and %ld are free", file_pages(fd), pool.free);
	check(file_size(fd) == 40 * page_size, "size %ld", file_size(fd));
	check(pool.reserved <= pool.free, "%ld reserved of %ld free pages",
	      pool.reserved, pool.free);
	unmap(addr, 40);
	close(fd);
	close(other);
}

static void set_overcommit(long nr)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", nr);
	check(write_text(text, POOL "nr_overcommit_hugepages",
			 page_size / 1024), "overcommit: %s", strerror(errno));
}

/* Pages that the pool does not have yet are no more than they may be. */
static void test_surplus(void)
{
	long overcommit = read_number(POOL "nr_overcommit_hugepages",
				      page_size / 1024);
	struct pool pool;
	int fd;

	set_overcommit(20);
	fd = new_file();
	check(!allocate(fd, 0, 0, pages + 20), "no surplus pages");
	pool = read_pool();
	check(pool.surplus == 20, "%ld surplus pages", pool.surplus);
	check(!pool.free, "%ld free pages", pool.free);
	close(fd);
	fd = new_file();
	check(allocate(fd, 0, 0, pages + 21) == ENOSPC, "too many pages");
	check(file_pages(fd) == pages + 20, "%ld pages", file_pages(fd));
	close(fd);
	set_overcommit(overcommit);
}

static void surplus_child(void)
{
	long helped = read_stat("helper_chunks");
	struct pool before, after;
	int fd = new_file();

	set_policy(MPOL_BIND, 1 << 0);
	before = read_pool();
	check(!allocate(fd, 0, 0, PER_NODE + 20), "no surplus pages");
	after = read_pool();
	check(after.surplus == 20, "%ld surplus pages", after.surplus);
	check(after.node_total[0] - before.node_total[0] == 20 &&
	      !after.node_free[0], "%ld more pages of node 0, %ld are free",
	      after.node_total[0] - before.node_total[0], after.node_free[0]);
	check(after.node_free[1] == before.node_free[1],
	      "%ld pages of node 1",
	      before.node_free[1] - after.node_free[1]);
	check(read_stat("helper_chunks") == helped, "helpers took part");
	close(fd);
}

/*
 * The pool has enough, but not where the caller may allocate.  No helper takes
 * part where pages have to come from outside the pool, since that could fail.
 */
static void test_surplus_bound(void)
{
	long overcommit = read_number(POOL "nr_overcommit_hugepages",
				      page_size / 1024);

	set_overcommit(20);
	in_child(surplus_child);
	set_overcommit(overcommit);
}

static void test_file_size_limit(void)
{
	struct rlimit limit = { 20 * page_size, 20 * page_size };
	int fd = new_file();

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	check(allocate(fd, 0, 0, 21) == EFBIG, "above the limit");
	check(allocate(fd, FALLOC_FL_KEEP_SIZE, 0, 21) == EFBIG,
	      "above the limit");
	check(!file_pages(fd), "%ld pages", file_pages(fd));
	check(!allocate(fd, 0, 0, 20), "at the limit");
	close(fd);
}

static void test_rlimit(void)
{
	in_child(test_file_size_limit);
}

static void test_seals(void)
{
	int fd = memfd_create("sealed", MFD_HUGETLB | MFD_ALLOW_SEALING |
					MFD_HUGE_2MB);

	check(fd >= 0, "memfd_create: %s", strerror(errno));
	ftruncate(fd, 40 * page_size);
	check(!fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), "seal: %s",
	      strerror(errno));
	check(allocate(fd, 0, 0, 41) == EPERM, "grew");
	check(!file_pages(fd), "%ld pages", file_pages(fd));
	check(!allocate(fd, 0, 0, 40), "within");
	check(allocate(fd, FALLOC_FL_KEEP_SIZE, 0, 41) == EPERM, "grew");
	check(!fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), "seal: %s",
	      strerror(errno));
	check(allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		       20) == EPERM, "punched");
	check(file_pages(fd) == 40, "%ld pages", file_pages(fd));
	close(fd);
}

static void mount_limited(const char *option, long limit)
{
	char text[64];

	snprintf(text, sizeof(text), "%s=%ldK", option,
		 limit * page_size / 1024);
	unmount();
	mount_files(text);
}

static void test_size_mount(void)
{
	struct statfs sfs;
	int fd, other;

	mount_limited("size", 40);
	fd = new_file();
	check(allocate(fd, 0, 0, 60) == ENOSPC, "above size=");
	check(file_pages(fd) == 40, "%ld pages", file_pages(fd));
	check(!file_size(fd), "size %ld", file_size(fd));
	close(fd);

	fd = new_file();
	other = new_file();
	check(!allocate(fd, 0, 0, 40), "size=");
	check(allocate(other, 0, 0, 1) == ENOSPC, "above size=");
	check(!allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 20),
	      "punch: %s", strerror(errno));
	statfs(top, &sfs);
	check(sfs.f_bfree == 20, "%ld blocks free", (long)sfs.f_bfree);
	check(!allocate(other, 0, 0, 20), "size=");
	close(fd);
	close(other);
	statfs(top, &sfs);
	check(sfs.f_bfree == 40, "%ld blocks free", (long)sfs.f_bfree);
	unmount();
	mount_files("");
}

static void check_reserved(long expected, int line)
{
	long reserved = read_pool().reserved;

	check(reserved == expected, "line %d: %ld reserved, not %ld", line,
	      reserved, expected);
}

/*
 * No allocation fails here: where one does, Linux 6.1 gives the mount a
 * reservation that it did not take.  For its sake no helper takes part.
 */
static void test_min_size_mount(void)
{
	long helped = read_stat("helper_chunks");
	int fd;

	mount_limited("min_size", 40);
	check_reserved(40, __LINE__);
	fd = new_file();
	check(!allocate(fd, 0, 0, 30), "min_size=");
	check_reserved(10, __LINE__);
	check(!allocate(fd, 0, 0, 70), "above min_size=");
	check_reserved(0, __LINE__);
	close(fd);
	check_reserved(40, __LINE__);
	check(read_stat("helper_chunks") == helped, "helpers took part");
	unmount();
	check_reserved(0, __LINE__);
	mount_files("");
}

/* ---- Signals ------------------------------------------------------------ */

static void on_alarm(int sig)
{
	(void)sig;
}

/* And every @us from then on; 0 is never. */
static void alarm_in(long us)
{
	struct itimerval timer = {
		.it_interval = { us / 1000000, us % 1000000 },
		.it_value = { us / 1000000, us % 1000000 },
	};

	setitimer(ITIMER_REAL, &timer, NULL);
}

static long microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return nanoseconds(&now) / 1000;
}

/* How long all pages take. */
static long measure(void)
{
	long start = microseconds();
	int fd = new_file();

	check(!allocate(fd, 0, 0, pages), "no pages");
	close(fd);
	return microseconds() - start;
}

/* Has the file some pages and not all when a signal has come after @us? */
static bool interrupted(int fd, int mode, long *us)
{
	int error;

	ftruncate(fd, 0);
	usleep(20000);
	alarm_in(*us);
	error = allocate(fd, mode, 0, pages);
	alarm_in(0);
	if (error == EINTR && file_pages(fd))
		return true;
	*us = error ? *us * 3 / 2 : *us * 2 / 3;
	return false;
}

static void check_interrupted(int mode, long size)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct stat before, after;
	bool cut = false;
	int fd, i;
	long us;

	sigaction(SIGALRM, &action, NULL);
	us = measure() / 2;
	fd = new_file();
	fstat(fd, &before);
	for (i = 0; i < 40 && !cut; i++)
		cut = interrupted(fd, mode, &us);
	fstat(fd, &after);
	check(cut, "the signal changed nothing");
	check(file_size(fd) == size, "size %ld", file_size(fd));
	check(file_pages(fd) < pages, "all pages in spite of the signal");
	check(nanoseconds(&after.st_ctim) > nanoseconds(&before.st_ctim),
	      "ctime did not change");

	check(!allocate(fd, 0, 0, pages), "again");
	check(file_pages(fd) == pages, "%ld pages", file_pages(fd));
	check_zero(fd, 0, pages);
	close(fd);
}

static void test_signal(void)
{
	dirty_pool();
	check_interrupted(0, pages * page_size);
	check_interrupted(FALLOC_FL_KEEP_SIZE, 0);
}

/* Sends the thread @arg a signal when the file has some pages. */
static int watched_fd;
static long pages_seen;

static void *watch(void *arg)
{
	while (file_pages(watched_fd) < 8)
		sched_yield();
	pages_seen = file_pages(watched_fd);
	pthread_kill(*(pthread_t *)arg, SIGALRM);
	return NULL;
}

/* Pages that the file gets after a signal was sent. */
static long pages_after_signal(void)
{
	pthread_t self = pthread_self(), watcher;
	int fd = new_file(), error;
	long late;

	watched_fd = fd;
	if (pthread_create(&watcher, NULL, watch, &self))
		ksft_exit_fail_msg("no thread\n");
	error = allocate(fd, 0, 0, pages);
	pthread_join(watcher, NULL);
	late = file_pages(fd) - pages_seen;
	/* The signal may have come when there was nothing left to do. */
	check(!error || error == EINTR, "%s", strerror(error));
	check(error || file_pages(fd) == pages, "%ld pages", file_pages(fd));
	close(fd);
	return late;
}

/*
 * One thread does all in one go, since no helper may run where it may not.  The
 * page that it is at is finished, and who sends the signal may be late himself.
 */
static void soon_child(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	long late = pages;
	cpu_set_t set;
	int i;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sigaction(SIGALRM, &action, NULL);
	for (i = 0; i < 40 && late > 2; i++) {
		check(!sched_setaffinity(0, sizeof(set), &set), "affinity: %s",
		      strerror(errno));
		late = pages_after_signal();
	}
	check(late <= 2, "%ld pages after the signal", late);
}

static void test_signal_soon(void)
{
	in_child(soon_child);
}

/* What was allocated for a process that is killed is free when it is gone. */
static void test_kill(void)
{
	long us = measure();
	int i, status;
	pid_t pid;

	for (i = 1; i <= 8; i++) {
		pid = fork();
		if (!pid) {
			allocate(new_file(), 0, 0, pages);
			_exit(0);
		}
		usleep(us * i / 8);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
}

/* ---- Whose pages -------------------------------------------------------- */

static const char *no_group(void)
{
	if (!write_text("+hugetlb +cpuset",
			"/sys/fs/cgroup/cgroup.subtree_control"))
		return "no cgroup v2 with hugetlb and cpuset";
	return NULL;
}

static void join_group(void)
{
	check(write_text("0", GROUP "/cgroup.procs"), "join: %s",
	      strerror(errno));
}

static void set_group(const char *file, long limit)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", limit * page_size);
	check(write_text(limit < 0 ? "max" : text, GROUP "/hugetlb.2MB.%s",
			 file), "%s: %s", file, strerror(errno));
}

static void check_group(long expected, int line)
{
	long used = read_number(GROUP "/hugetlb.2MB.current") / page_size;
	long rsvd = read_number(GROUP "/hugetlb.2MB.rsvd.current") / page_size;

	check(used == expected && rsvd == expected,
	      "line %d: the group uses %ld and reserves %ld pages, not %ld",
	      line, used, rsvd, expected);
}

static void check_group_limit(const char *file)
{
	int fd = new_file();

	set_group(file, 40);
	check(allocate(fd, 0, 0, 100) == ENOSPC, "above the limit");
	check(!file_size(fd), "size %ld", file_size(fd));
	check(file_pages(fd) == 40, "%ld pages", file_pages(fd));
	check_group(40, __LINE__);
	close(fd);
	check_group(0, __LINE__);
	fd = new_file();
	check(!allocate(fd, 0, 0, 40), "within the limit");
	close(fd);
	set_group(file, -1);
}

static void group_child(void)
{
	int fd = new_file();

	join_group();
	check_group(0, __LINE__);
	check(!allocate(fd, 0, 0, 100), "no pages");
	check_group(100, __LINE__);
	close(fd);
	check_group(0, __LINE__);
	check_group_limit("max");
	check_group_limit("rsvd.max");
}

static void test_group(void)
{
	check(!mkdir(GROUP, 0755), "mkdir: %s", strerror(errno));
	in_child(group_child);
	check(!rmdir(GROUP), "rmdir: %s", strerror(errno));
}

/* Leave the group nothing but what it has; some of that is on its way back. */
static void starve_group(void)
{
	long used = -1, before;
	char text[32];

	check(write_text("0", GROUP "/memory.high"), "memory.high: %s",
	      strerror(errno));
	do {
		usleep(20000);
		before = used;
		used = read_number(GROUP "/memory.current");
	} while (used != before);
	snprintf(text, sizeof(text), "%ld", used);
	check(write_text(text, GROUP "/memory.max"), "memory.max: %s",
	      strerror(errno));
	check(write_text("max", GROUP "/memory.high"), "memory.high: %s",
	      strerror(errno));
}

/* Returns whether a child was killed that fills file @fd in such a group. */
static bool killed_by_limit(int fd)
{
	int ready[2], go[2], status = 0;
	char byte = 0;
	pid_t pid;

	if (pipe(ready) || pipe(go))
		ksft_exit_fail_msg("pipe: %s\n", strerror(errno));
	check(write_text("max", GROUP "/memory.max"), "memory.max: %s",
	      strerror(errno));
	pid = fork();
	if (!pid) {
		join_group();
		if (write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1)
			allocate(fd, 0, 0, pages);
		_exit(0);
	}
	check(pid > 0 && read(ready[0], &byte, 1) == 1, "no child");
	starve_group();
	check(write(go[1], &byte, 1) == 1, "write: %s", strerror(errno));
	waitpid(pid, &status, 0);
	close(ready[0]);
	close(ready[1]);
	close(go[0]);
	close(go[1]);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/*
 * The first pages may need no memory of the kernel's, or find some, but not all
 * of the file.  What run_cases() checks afterwards is what matters here.
 */
static void test_not_inserted(void)
{
	bool killed = false;
	int i, fd;

	check(!mkdir(GROUP, 0755), "mkdir: %s", strerror(errno));
	for (i = 0; i < 5 && !killed; i++) {
		fd = new_file();
		killed = killed_by_limit(fd);
		check(!killed || file_pages(fd) < pages, "%ld pages",
		      file_pages(fd));
		close(fd);
	}
	check(killed, "the limit changed nothing");
	check(!rmdir(GROUP), "rmdir: %s", strerror(errno));
}

static const char *no_memory_group(void)
{
	if (!write_text("+memory", "/sys/fs/cgroup/cgroup.subtree_control"))
		return "no cgroup v2 with memory";
	return NULL;
}

static const char *one_node_or_no_group(void)
{
	return nr_nodes < 2 ? "one node" : no_group();
}

/* How many pages fallocate() takes of each node for the first @wanted. */
static void take_pages(int fd, long wanted, long *taken, const char *what)
{
	struct pool before = read_pool(), after;
	int nid;

	check(!allocate(fd, 0, 0, wanted), "%s: no pages", what);
	after = read_pool();
	for (nid = 0; nid < 2; nid++)
		taken[nid] = before.node_free[nid] - after.node_free[nid];
}

static void check_taken(const long *taken, long on_0, long on_1,
			const char *what)
{
	check(taken[0] == on_0 && taken[1] == on_1,
	      "%s: %ld pages of node 0 and %ld of node 1, not %ld and %ld",
	      what, taken[0], taken[1], on_0, on_1);
}

/* A file of @wanted pages has @on_0 of node 0 and @on_1 of node 1. */
static void check_nodes(long wanted, long on_0, long on_1, const char *what)
{
	long end = seconds_from_now(60);
	bool helped = false;
	long taken[2], chunks;
	int i, fd;

	for (i = 0; !helped && !has_passed(end); i++) {
		/* Whatever has the CPUs may be done with them after a while. */
		usleep(i * 100000);
		chunks = read_stat("helper_chunks");
		fd = new_file();
		take_pages(fd, wanted, taken, what);
		check_taken(taken, on_0, on_1, what);
		close(fd);
		helped = chunks < 0 || read_stat("helper_chunks") > chunks;
	}
	check(helped, "%s: no helper took part", what);
}

/* One node and not a page more. */
static void check_bound(const char *what)
{
	int fd = new_file();

	check_nodes(PER_NODE, 0, PER_NODE, what);
	check(allocate(fd, 0, 0, PER_NODE + 20) == ENOSPC,
	      "%s: pages of another node", what);
	check(file_pages(fd) == PER_NODE, "%s: %ld pages", what,
	      file_pages(fd));
	close(fd);
}

static void policy_child(void)
{
	set_policy(MPOL_BIND, 1 << 1);
	check_bound("bind");
	set_policy(MPOL_PREFERRED, 1 << 1);
	check_nodes(PER_NODE + 20, 20, PER_NODE, "prefer");
	set_policy(MPOL_INTERLEAVE, 3);
	check_nodes(PER_NODE, PER_NODE / 2, PER_NODE / 2, "interleave");
	set_policy(MPOL_PREFERRED_MANY, 1 << 1);
	check_nodes(PER_NODE + 20, 20, PER_NODE, "prefer many");
}

static void test_policy(void)
{
	in_child(policy_child);
}

static cpu_set_t cpus_of_node(int nid)
{
	char path[64];
	cpu_set_t set;
	int cpu;

	CPU_ZERO(&set);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/node/node%d/cpu%d", nid, cpu);
		if (!access(path, F_OK))
			CPU_SET(cpu, &set);
	}
	return set;
}

static void run_on(const cpu_set_t *set)
{
	check(!sched_setaffinity(0, sizeof(*set), set), "affinity: %s",
	      strerror(errno));
}

/*
 * Start on a CPU of node @nid, where there is no other for helpers: they may run
 * on the other node only.  Returns the CPU.
 */
static int start_on_node(int nid)
{
	cpu_set_t near = cpus_of_node(nid), all = cpus_of_node(!nid), one;
	int cpu = 0;

	while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &near))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	run_on(&one);
	CPU_SET(cpu, &all);
	run_on(&all);
	return cpu;
}

/*
 * fallocate() as above.  Returns whether it says something: the caller did not
 * move, and helpers took part, if there are any.
 */
static bool take_from_node(int fd, int nid, long wanted, long *taken)
{
	long chunks = read_stat("helper_chunks");
	int cpu = start_on_node(nid);

	take_pages(fd, wanted, taken, "node of the caller");
	return sched_getcpu() == cpu &&
	       (chunks < 0 || read_stat("helper_chunks") > chunks);
}

#define MAPPED		60	/* pages, of which some are faulted in */
#define FAULTED		20

/* Returns whether it says something. */
static bool mbind_round(void)
{
	unsigned long nodes = 1 << 1;
	struct pool before = read_pool(), after;
	int fd = new_file();
	long taken[2];
	char *addr;
	bool said;

	ftruncate(fd, MAPPED * page_size);
	addr = map_file(fd, 0, MAPPED, 0);
	check(!syscall(SYS_mbind, addr, MAPPED * page_size, MPOL_BIND, &nodes,
		       8 * sizeof(nodes), 0), "mbind: %s", strerror(errno));
	memset(addr, 1, FAULTED * page_size);
	after = read_pool();
	check(before.node_free[1] - after.node_free[1] == FAULTED,
	      "%ld pages faulted in from node 1",
	      before.node_free[1] - after.node_free[1]);
	said = take_from_node(fd, 0, MAPPED, taken);
	if (said)
		check_taken(taken, MAPPED - FAULTED, 0, "mbind");
	after = read_pool();
	check(!after.reserved, "%ld reserved", after.reserved);
	check(addr[0] == 1 && addr[FAULTED * page_size - 1] == 1,
	      "lost contents");
	check_zero(fd, FAULTED, MAPPED);
	unmap(addr, MAPPED);
	close(fd);
	return said;
}

/* mbind() of a mapping is for faults; fallocate() does not look at it. */
static void mbind_child(void)
{
	bool said = false;
	int i;

	for (i = 0; i < 20 && !said; i++)
		said = mbind_round();
	check(said, "the caller moved, or no helper took part");
}

static void test_mbind(void)
{
	in_child(mbind_child);
}

/* Pages come from the node where the caller runs. */
static void check_local(int nid, long wanted)
{
	long taken[2], near = PER_NODE;
	bool said = false;
	int i, fd;

	if (near > wanted)
		near = wanted;
	for (i = 0; i < 20 && !said; i++) {
		fd = new_file();
		said = take_from_node(fd, nid, wanted, taken);
		close(fd);
	}
	check(said, "the caller moved, or no helper took part");
	check_taken(taken, nid ? wanted - near : near,
		    nid ? near : wanted - near, "local");
}

static void local_child(void)
{
	int nid;

	for (nid = 0; nid < 2; nid++) {
		/* No policy is another thing than the one that says the same. */
		set_policy(MPOL_DEFAULT, 0);
		check_local(nid, PER_NODE);
		check_local(nid, PER_NODE + 20);
		set_policy(MPOL_LOCAL, 0);
		check_local(nid, PER_NODE);
	}
}

static void test_local(void)
{
	in_child(local_child);
}

static void cpuset_child(void)
{
	check(write_text("1", GROUP "/cpuset.mems"), "cpuset.mems: %s",
	      strerror(errno));
	join_group();
	check_bound("cpuset");
}

static void test_cpuset(void)
{
	check(!mkdir(GROUP, 0755), "mkdir: %s", strerror(errno));
	in_child(cpuset_child);
	check(!rmdir(GROUP), "rmdir: %s", strerror(errno));
}

/* ---- Helpers ------------------------------------------------------------ */

/* The one case that knows that helpers did some of what it looks at. */
static void allocate_all(void)
{
	int fd = new_file();

	check(!allocate(fd, 0, 0, pages), "no pages");
	check_zero(fd, 0, pages);
	soil_file(fd);
	close(fd);
}

static void test_helpers(void)
{
	dirty_pool();
	check_helped(allocate_all, "fallocate()");
}

/* Every second page is there, and none is reserved: one task for the others. */
static void allocate_rest(void)
{
	int fd = new_file();

	ftruncate(fd, pages * page_size);
	tag_pages(fd, 1, 2, true);
	check(!allocate(fd, 0, 0, pages), "no pages");
	tag_pages(fd, 1, 2, false);
	close(fd);
}

static void test_helpers_holes(void)
{
	check_helped(allocate_rest, "fallocate() of every second page");
}

static const struct test_case cases[] = {
	{ "pages are zero", test_zero },
	{ "pages that are there stay", test_present },
	{ "sizes", test_sizes },
	{ "times", test_times },
	{ "no space", test_no_space, NULL, until_helped },
	{ "reserved pages stay reserved", test_reserved },
	{ "an error leaves no more than one thread would", test_no_more },
	{ "reserved pages come first", test_reserved_first, NULL,
	  until_helped },
	{ "surplus pages", test_surplus },
	{ "surplus pages of a node", test_surplus_bound, one_node },
	{ "file size limit", test_rlimit },
	{ "seals", test_seals },
	{ "size limited mount", test_size_mount, NULL, until_helped },
	{ "mount with reserved pages", test_min_size_mount },
	{ "a signal ends it and the size is set", test_signal, NULL,
	  until_helped },
	{ "a signal ends it soon", test_signal_soon },
	{ "a killed process leaves nothing", test_kill },
	{ "the cgroup is charged and its limits hold", test_group, no_group,
	  until_helped },
	{ "what cannot be inserted leaves nothing", test_not_inserted,
	  no_memory_group },
	{ "memory policy", test_policy, one_node },
	{ "mbind", test_mbind, one_node },
	{ "local node first", test_local, one_node },
	{ "cpuset memory nodes", test_cpuset, one_node_or_no_group },
	{ "helpers finish chunks", test_helpers, no_stats },
	{ "helpers fill holes", test_helpers_holes, no_stats },
};

int main(void)
{
	begin(2L << 20);
	if (!set_pool(PER_NODE)) {
		restore_pool();
		ksft_exit_skip("no %d pages of 2 MiB on each node\n", PER_NODE);
	}
	pages = (long)PER_NODE * nr_nodes;
	run_cases(cases, ARRAY_SIZE(cases));
	restore_pool();
	end();
}
