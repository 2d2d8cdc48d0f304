// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests what becomes of 1 GiB pages: they are zero when they are new and equal
 * when they were copied, each cache line of them, and helpers do their share.
 * Needs two of them, from hugepagesz=1G hugepages=2 for instance.
 */
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <linux/kernel-page-flags.h>
#include <linux/memfd.h>
#include <linux/udmabuf.h>
#include <linux/userfaultfd.h>

#include "hugepages.h"

static char *new_page(void)
{
	char *addr = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
			  30 << MAP_HUGE_SHIFT, -1, 0);

	check(addr != MAP_FAILED, "no page: %s", strerror(errno));
	return addr == MAP_FAILED ? NULL : addr;
}

static const char *no_page(void)
{
	return read_pool().free < 1 ? "no 1 GiB page" : NULL;
}

static const char *no_two_pages(void)
{
	return read_pool().free < 2 ? "fewer than two 1 GiB pages" : NULL;
}

/*
 * Each cache line has its own number, so that one that is at another place,
 * missing or half done is seen.
 */
#define LINE_WORDS	8

static void fill(char *addr)
{
	uint64_t *word = (uint64_t *)addr;
	uint64_t i;

	for (i = 0; addr && i < page_size / sizeof(*word); i += LINE_WORDS)
		word[i] = ~i;
}

static void check_filled(const char *addr, const char *what)
{
	const uint64_t *word = (const uint64_t *)addr;
	uint64_t i;

	for (i = 0; addr && i < page_size / sizeof(*word); i += LINE_WORDS)
		check(word[i] == ~i, "%s differs at %#lx", what,
		      (unsigned long)(i * sizeof(*word)));
}

/*
 * What each test leaves in each cache line, so that those which are not cleared
 * for the next test are seen.  Never what fill() writes.
 */
static void soil(char *addr, long pages)
{
	uint64_t *word = (uint64_t *)addr;
	uint64_t i;

	for (i = 0; addr && i < pages * page_size / sizeof(*word);
	     i += LINE_WORDS)
		word[i] = 0x5555555555555555;
}

static void soil_pool(void)
{
	long i, pages = read_pool().free;
	char *addr[MAX_NODES];

	for (i = 0; i < pages && i < (long)ARRAY_SIZE(addr); i++) {
		addr[i] = new_page();
		soil(addr[i], 1);
	}
	while (i--)
		unmap(addr[i], 1);
}

/* ---- Clearing ----------------------------------------------------------- */

static void test_touch(void)
{
	char *addr = new_page();

	if (addr) {
		addr[page_size / 3] = 0;
		check(is_zero(addr, page_size), "the page is not zero");
		soil(addr, 1);
	}
	unmap(addr, 1);
}

static void check_file(int fd, long pages)
{
	char *addr = map_file(fd, 0, pages, 0);

	if (addr) {
		check(is_zero(addr, pages * page_size), "pages are not zero");
		soil(addr, pages);
	}
	unmap(addr, pages);
}

static void test_fallocate(void)
{
	long pages = read_pool().free;
	int fd = new_file();

	check(allocate(fd, 0, 0, pages + 1) == ENOSPC, "more than there are");
	check(file_pages(fd) == pages, "%ld pages", file_pages(fd));
	check(!file_size(fd), "size %ld", file_size(fd));
	check(!allocate(fd, 0, 0, pages), "pages are there");
	check(file_size(fd) == pages * page_size, "size %ld", file_size(fd));
	check_file(fd, pages);
	close(fd);
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* Pages are whole: the one that is being cleared is finished. */
static void test_signal(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval timer = {}, none = {};
	long pages = read_pool().free;
	long usec = 5000;
	int fd, error = 0, i;

	sigaction(SIGALRM, &action, NULL);
	fd = new_file();
	for (i = 0; i < 20 && !file_pages(fd); i++, usec += usec / 2) {
		/* Again and again, since the first may come before fallocate(). */
		timer.it_value.tv_sec = usec / 1000000;
		timer.it_value.tv_usec = usec % 1000000;
		timer.it_interval = timer.it_value;
		setitimer(ITIMER_REAL, &timer, NULL);
		error = allocate(fd, 0, 0, pages);
		setitimer(ITIMER_REAL, &none, NULL);
	}
	check(error == EINTR, "fallocate() of %ld pages: %s", pages,
	      strerror(error));
	check(file_pages(fd) && file_pages(fd) < pages, "%ld pages",
	      file_pages(fd));
	check(file_size(fd) == pages * page_size, "size %ld", file_size(fd));
	check_file(fd, 1);
	close(fd);
}

#define TAIL	(1024 * 1024L)	/* bytes at the end, which are cleared last */

static int raced_fd;
/* Both by __atomic functions. */
static int race_ready, race_over;

static bool is_over(void)
{
	return __atomic_load_n(&race_over, __ATOMIC_SEQ_CST);
}

static void is_ready(void)
{
	__atomic_add_fetch(&race_ready, 1, __ATOMIC_SEQ_CST);
}

/* Waits until the file has a page, whether that is cleared or not. */
static void wait_for_page(void)
{
	is_ready();
	while (!file_pages(raced_fd))
		sched_yield();
}

static void *touch_tail(void *arg)
{
	char *addr = map_file(raced_fd, 0, 1, 0);

	(void)arg;
	wait_for_page();
	check(!addr || is_zero(addr + page_size - TAIL, TAIL),
	      "a fault found a page that was not cleared");
	unmap(addr, 1);
	return NULL;
}

static void *read_tail(void *arg)
{
	static uint64_t tail[TAIL / sizeof(uint64_t)];

	(void)arg;
	wait_for_page();
	check(pread(raced_fd, tail, TAIL, page_size - TAIL) == TAIL,
	      "pread: %s", strerror(errno));
	check(is_zero((char *)tail, TAIL), "read() found a page that was not cleared");
	return NULL;
}

/* Runs threads @others beside a fallocate() of the page of file @fd. */
static void race_for(int fd, void *(**others)(void *), unsigned int nr)
{
	pthread_t threads[4];
	unsigned int i;

	soil_pool();
	raced_fd = fd;
	ftruncate(raced_fd, page_size);
	__atomic_store_n(&race_over, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&race_ready, 0, __ATOMIC_SEQ_CST);
	for (i = 0; i < nr; i++) {
		if (pthread_create(&threads[i], NULL, others[i], NULL))
			ksft_exit_fail_msg("no thread\n");
	}
	/* Later, mmap() would have to wait for fallocate(). */
	while (__atomic_load_n(&race_ready, __ATOMIC_SEQ_CST) != (int)nr)
		sched_yield();
	check(!allocate(raced_fd, 0, 0, 1), "no page");
	__atomic_store_n(&race_over, 1, __ATOMIC_SEQ_CST);
	for (i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
	check_file(raced_fd, 1);
	close(raced_fd);
}

static void race(void *(**others)(void *), unsigned int nr)
{
	race_for(new_file(), others, nr);
}

/* What comes while a page is cleared has to wait. */
static void test_race(void)
{
	void *(*others[])(void *) = { touch_tail, read_tail };

	race(others, ARRAY_SIZE(others));
}

/*
 * Times that somebody asked for the page before fallocate() was over, which on
 * the base it nearly is as soon as there is a page.
 */
static long came_early;

static void check_came_early(void)
{
	check(came_early || no_stats(), "nobody came before the page was cleared");
}

/* A userfaultfd for a mapping of the file, that is asked for pages it has. */
static int ask_for(char *addr)
{
	struct uffdio_api api = {
		.api		= UFFD_API,
		.features	= UFFD_FEATURE_MINOR_HUGETLBFS,
	};
	struct uffdio_register range = {
		.range	= { (uintptr_t)addr, page_size },
		.mode	= UFFDIO_REGISTER_MODE_MINOR,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	check(fd >= 0 && !ioctl(fd, UFFDIO_API, &api) &&
	      !ioctl(fd, UFFDIO_REGISTER, &range), "userfaultfd: %s",
	      strerror(errno));
	return fd;
}

static pid_t waiter;		/* for a page; by __atomic functions */

static void begin_to_wait(void)
{
	__atomic_store_n(&waiter, syscall(SYS_gettid), __ATOMIC_SEQ_CST);
}

static void end_to_wait(void)
{
	__atomic_store_n(&waiter, 0, __ATOMIC_SEQ_CST);
}

/* Maps the page without a fault. */
static void *continue_tail(void *arg)
{
	char *addr = map_file(raced_fd, 0, 1, 0);
	struct uffdio_continue page = { .range = { (uintptr_t)addr, page_size } };
	int fd = ask_for(addr);
	bool early;
	int ret;

	(void)arg;
	wait_for_page();
	early = !is_over();
	begin_to_wait();
	ret = ioctl(fd, UFFDIO_CONTINUE, &page);
	end_to_wait();
	if (ret)
		check(false, "UFFDIO_CONTINUE: %s", strerror(errno));
	else
		check(is_zero(addr + page_size - TAIL, TAIL),
		      "UFFDIO_CONTINUE mapped a page that was not cleared");
	came_early += early;
	unmap(addr, 1);
	close(fd);
	return NULL;
}

static void test_continue(void)
{
	void *(*others[])(void *) = { continue_tail };
	int i;

	came_early = 0;
	for (i = 0; i < 10 && !came_early; i++)
		race(others, ARRAY_SIZE(others));
	check_came_early();
}

static const char *no_continue_or_page(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return "no userfaultfd";
	close(fd);
	return no_page();
}

/* Page frames of the pool, and what was seen of those that were locked. */
static unsigned long frames[MAX_NODES];
static int nr_frames;
static long seen_uptodate, seen_not_uptodate;

static unsigned long frame_of(char *addr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	check(pread(fd, &entry, sizeof(entry), (uintptr_t)addr /
		    sysconf(_SC_PAGESIZE) * sizeof(entry)) == sizeof(entry),
	      "pagemap: %s", strerror(errno));
	close(fd);
	return entry & ((1ULL << 55) - 1);
}

/* The frames of the pool, each of which was a page of a process last. */
static void find_frames(void)
{
	long pages = read_pool().free;
	char *addr[MAX_NODES];
	int i;

	for (nr_frames = 0; nr_frames < pages && nr_frames < MAX_NODES;
	     nr_frames++) {
		addr[nr_frames] = new_page();
		soil(addr[nr_frames], 1);
		frames[nr_frames] = frame_of(addr[nr_frames]);
	}
	for (i = 0; i < nr_frames; i++)
		unmap(addr[i], 1);
}

/* Counts the frames that are locked, and those of them that are uptodate. */
static int look_at_frames(int fd, int *uptodate)
{
	uint64_t flags;
	int i, locked = 0;

	*uptodate = 0;
	for (i = 0; i < nr_frames; i++) {
		if (pread(fd, &flags, sizeof(flags),
			  frames[i] * sizeof(flags)) != sizeof(flags) ||
		    !(flags & 1ULL << KPF_LOCKED))
			continue;
		locked++;
		*uptodate += !!(flags & 1ULL << KPF_UPTODATE);
	}
	return locked;
}

static void *watch_flags(void *arg)
{
	int fd = open("/proc/kpageflags", O_RDONLY);
	int locked, uptodate;

	(void)arg;
	is_ready();
	while (!is_over()) {
		locked = look_at_frames(fd, &uptodate);
		seen_uptodate += uptodate;
		seen_not_uptodate += locked - uptodate;
	}
	close(fd);
	return NULL;
}

/*
 * Pages of a process are uptodate, and still so in the pool.  Those who look at
 * no lock take what is uptodate for what the file holds.
 */
static void test_uptodate(void)
{
	void *(*others[])(void *) = { watch_flags };
	int i;

	seen_uptodate = 0;
	seen_not_uptodate = 0;
	for (i = 0; i < 5 && !seen_not_uptodate; i++) {
		find_frames();
		race(others, ARRAY_SIZE(others));
	}
	check(seen_not_uptodate, "locked pages were uptodate, all %ld times",
	      seen_uptodate);
}

#define UDMABUF		"/dev/udmabuf"

/*
 * Makes a buffer of the end of the page, which is not locked then.  What the buffer
 * holds can't be seen: mapping one of huge pages spoils their counts in the base.
 */
static void *buffer_tail(void *arg)
{
	struct udmabuf_create create = {
		.memfd	= raced_fd,
		.flags	= UDMABUF_FLAGS_CLOEXEC,
		.offset	= page_size - TAIL,
		.size	= TAIL,
	};
	int flags = open("/proc/kpageflags", O_RDONLY);
	int device = open(UDMABUF, O_RDWR);
	int fd, locked, uptodate;
	bool early;

	(void)arg;
	wait_for_page();
	early = !is_over();
	fd = ioctl(device, UDMABUF_CREATE, &create);
	locked = look_at_frames(flags, &uptodate);
	check(fd >= 0, "udmabuf: %s", strerror(errno));
	check(!locked, "udmabuf took a page that was not cleared");
	came_early += early;
	close(fd);
	close(device);
	close(flags);
	return NULL;
}

/* Its files can't shrink. */
static int sealed_file(void)
{
	int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING |
			      MFD_HUGETLB | MFD_HUGE_1GB);

	check(fd >= 0 && !ftruncate(fd, page_size) &&
	      !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), "memfd: %s",
	      strerror(errno));
	return fd;
}

static void test_buffer(void)
{
	void *(*others[])(void *) = { buffer_tail };
	int i;

	came_early = 0;
	find_frames();
	for (i = 0; i < 10 && !came_early; i++)
		race_for(sealed_file(), others, ARRAY_SIZE(others));
	check_came_early();
}

static const char *no_buffer_or_page(void)
{
	return access(UDMABUF, R_OK | W_OK) ? "no " UDMABUF : no_page();
}

/*
 * As many small huge pages that every fault mutex is that of some, most likely:
 * there are eight a CPU.
 */
#define NR_SMALL	256
#define SMALL		(2L << 20)
#define SMALL_POOL	"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

static char *small;
static long passes;

static void *wait_for_tail(void *arg)
{
	char *addr = map_file(raced_fd, 0, 1, 0);

	(void)arg;
	wait_for_page();
	begin_to_wait();
	check(!addr || !addr[page_size - 1], "the page was not cleared");
	end_to_wait();
	unmap(addr, 1);
	return NULL;
}

/* Is there a thread that waits for the page? */
static bool somebody_waits(void)
{
	pid_t pid = __atomic_load_n(&waiter, __ATOMIC_SEQ_CST);
	char path[64], state = 0;
	FILE *file;

	if (!pid)
		return false;
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", pid);
	file = fopen(path, "r");
	if (file) {
		if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
			state = 0;
		fclose(file);
	}
	return state == 'D';
}

/* Takes each fault mutex, and mmap_lock for writing. */
static void *go_on(void *arg)
{
	bool waited;
	void *other;
	int i;

	(void)arg;
	is_ready();
	while (!is_over()) {
		waited = somebody_waits();
		madvise(small, NR_SMALL * SMALL, MADV_DONTNEED);
		for (i = 0; i < NR_SMALL; i++)
			__atomic_load_n(&small[i * SMALL], __ATOMIC_RELAXED);
		other = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
		munmap(other, 4096);
		passes += waited && somebody_waits();
	}
	return NULL;
}

static void test_waiter(void *(*wait)(void *))
{
	void *(*others[])(void *) = { wait, go_on };
	int fd = memfd_create("small", MFD_HUGETLB | MFD_HUGE_2MB);
	int i;

	ftruncate(fd, NR_SMALL * SMALL);
	small = mmap(NULL, NR_SMALL * SMALL, PROT_READ | PROT_WRITE, MAP_SHARED,
		     fd, 0);
	check(small != MAP_FAILED, "mmap: %s", strerror(errno));
	if (small != MAP_FAILED) {
		passes = 0;
		for (i = 0; i < 10 && !passes; i++)
			race(others, ARRAY_SIZE(others));
		check(passes, "nobody went on while one waited for a page");
		munmap(small, NR_SMALL * SMALL);
	}
	close(fd);
}

static void waits_alone(void *(*wait)(void *))
{
	char before[32];

	snprintf(before, sizeof(before), "%ld", read_number(SMALL_POOL));
	write_text("256", SMALL_POOL);
	check(read_number(SMALL_POOL) == NR_SMALL, "no pages of 2 MiB");
	if (read_number(SMALL_POOL) == NR_SMALL)
		test_waiter(wait);
	write_text(before, SMALL_POOL);
}

static void test_waits_alone(void)
{
	waits_alone(wait_for_tail);
}

static void test_continue_waits_alone(void)
{
	waits_alone(continue_tail);
}

/* ---- Copying ------------------------------------------------------------ */

static char *shared;		/* private to each process */

static void copy_child(void)
{
	/* Two plain writes would be none to the compiler. */
	__atomic_fetch_xor(&shared[page_size / 2], 1, __ATOMIC_RELAXED);
	__atomic_fetch_xor(&shared[page_size / 2], 1, __ATOMIC_RELAXED);
	check_filled(shared, "the copy");
	soil(shared, 1);
}

static void copy(void)
{
	in_child(copy_child);
	check_filled(shared, "the original");
}

static void with_shared(void (*func)(void))
{
	shared = new_page();
	if (!shared)
		return;
	fill(shared);
	func();
	soil(shared, 1);
	unmap(shared, 1);
}

static void test_copy(void)
{
	with_shared(copy);
}

/* A private mapping of a file: the copy changes, the file does not. */
static void test_private_file(void)
{
	int fd = new_file();
	char *file, *copy;

	ftruncate(fd, page_size);
	file = map_file(fd, 0, 1, 0);
	fill(file);
	copy = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd,
		    0);
	check(copy != MAP_FAILED, "mmap: %s", strerror(errno));
	if (copy != MAP_FAILED) {
		copy[page_size / 2] ^= 1;
		check(copy[page_size / 2] != file[page_size / 2], "no copy");
		copy[page_size / 2] ^= 1;
		check_filled(copy, "the copy");
		soil(copy, 1);
		check_filled(file, "the file");
		unmap(copy, 1);
	}
	unmap(file, 1);
	close(fd);
}

/* ---- Helpers ------------------------------------------------------------ */

static void allocate_one(void)
{
	int fd = new_file();

	check(!allocate(fd, 0, 0, 1), "no page");
	check_file(fd, 1);
	close(fd);
}

/* All chunks of a job are counted: each has one task, and looks at its work. */
static void copy_helped(void)
{
	check_helped(copy, "a copy-on-write");
}

static void test_touch_helped(void)
{
	check_helped(test_touch, "a first touch");
}

static void test_fallocate_helped(void)
{
	check_helped(allocate_one, "fallocate()");
}

static void test_copy_helped(void)
{
	with_shared(copy_helped);
}

/* ---- Where helpers are --------------------------------------------------- */

#define TRACE	"/sys/kernel/tracing/"
#define CHUNKS	TRACE "events/ktask/ktask_chunk_begin/enable"

static void trace(const char *on)
{
	check(write_text(on, CHUNKS), "%s: %s", CHUNKS, strerror(errno));
}

static void clear_trace(void)
{
	int fd = open(TRACE "trace", O_WRONLY | O_TRUNC);

	check(fd >= 0, "%strace: %s", TRACE, strerror(errno));
	close(fd);
}

static bool cpu_of_node(int cpu, int nid)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpu%d",
		 nid, cpu);
	return !access(path, F_OK);
}

/*
 * Chunks that helpers began on CPUs of node @nid, and all others that are not as
 * they should be: helpers' on other CPUs, or of a task for another node.
 */
static void count_chunks(int nid, long *there, long *elsewhere)
{
	FILE *file = fopen(TRACE "trace", "r");
	char line[512], *event, *cpu, *node;
	bool helper;

	*there = 0;
	*elsewhere = 0;
	while (file && fgets(line, sizeof(line), file)) {
		event = strstr(line, "ktask_chunk_begin: ");
		if (!event)
			continue;
		helper = strstr(event, " by=helper");
		node = strstr(event, " nid=");
		cpu = strchr(line, '[');
		if (!node || atoi(node + strlen(" nid=")) != nid || !cpu ||
		    (helper && !cpu_of_node(atoi(cpu + 1), nid)))
			++*elsewhere;
		else if (helper)
			++*there;
	}
	if (file)
		fclose(file);
}

/*
 * Writes to the page, which is new or has to be copied then, on node @nid.
 * Returns the chunks of helpers.
 */
static long write_on_node(char *addr, int nid, const char *what)
{
	long there, elsewhere;

	set_policy(MPOL_BIND, 1UL << nid);
	clear_trace();
	trace("1");
	addr[page_size / 2] = 1;
	trace("0");
	count_chunks(nid, &there, &elsewhere);
	check(!elsewhere, "%s on node %d: %ld chunks there, %ld elsewhere",
	      what, nid, there, elsewhere);
	soil(addr, 1);
	set_policy(MPOL_DEFAULT, 0);
	return there;
}

static long touch_on_node(int nid)
{
	char *addr = new_page();
	long helped = 0;

	if (addr)
		helped = write_on_node(addr, nid, "a page");
	unmap(addr, 1);
	return helped;
}

/* A copy is on node 1, of a page on node 0. */
static long *copies_helped;

static void copy_on_node_1(void)
{
	*copies_helped = write_on_node(shared, 1, "a copy");
}

static long copy_on_node(int nid)
{
	shared = new_page();
	if (!shared)
		return 0;
	set_policy(MPOL_BIND, 1UL << !nid);
	soil(shared, 1);
	set_policy(MPOL_DEFAULT, 0);
	in_child(copy_on_node_1);
	unmap(shared, 1);
	return *copies_helped;
}

/* Until helpers came, which they don't while others have the CPUs. */
static void write_helped(long (*func)(int nid), int nid, const char *what)
{
	long end = seconds_from_now(60);
	long helped = 0;
	int i;

	for (i = 0; !helped && !has_passed(end); i++) {
		usleep(i * 100000);
		helped = func(nid);
	}
	check(helped, "no helper for %s on node %d", what, nid);
}

static void test_node(void)
{
	copies_helped = mmap(NULL, sizeof(*copies_helped),
			     PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (copies_helped == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	write_helped(touch_on_node, 0, "a page");
	write_helped(touch_on_node, 1, "a page");
	write_helped(copy_on_node, 1, "a copy");
	munmap(copies_helped, sizeof(*copies_helped));
}

static const char *no_trace_or_node(void)
{
	if (access(CHUNKS, W_OK))
		return "no " CHUNKS;
	return one_node() ?: no_two_pages();
}

static const char *no_stats_or_page(void)
{
	return no_stats() ?: no_page();
}

static const char *no_stats_or_continue(void)
{
	return no_stats() ?: no_continue_or_page();
}

static const char *no_stats_or_two_pages(void)
{
	return no_stats() ?: no_two_pages();
}

static const struct test_case cases[] = {
	{ "a touched page is zero", test_touch, no_page },
	{ "fallocated pages are zero", test_fallocate, no_page },
	{ "a signal leaves whole pages", test_signal, no_two_pages },
	{ "nobody sees what a page held", test_race, no_page },
	{ "userfaultfd maps what is cleared", test_continue,
	  no_continue_or_page },
	{ "a page is not uptodate before it is cleared", test_uptodate,
	  no_stats_or_page },
	{ "a buffer holds what is cleared", test_buffer, no_buffer_or_page },
	{ "who waits for a page holds up nobody", test_waits_alone,
	  no_stats_or_page },
	{ "userfaultfd that waits for a page holds up nobody",
	  test_continue_waits_alone, no_stats_or_continue },
	{ "a copy after fork is equal", test_copy, no_two_pages },
	{ "a copy of a file page is equal", test_private_file, no_two_pages },
	{ "helpers clear a touched page", test_touch_helped, no_stats_or_page },
	{ "helpers clear a fallocated page", test_fallocate_helped,
	  no_stats_or_page },
	{ "helpers copy a page", test_copy_helped, no_stats_or_two_pages },
	{ "helpers are near the page", test_node, no_trace_or_node },
};

int main(void)
{
	begin(1L << 30);
	soil_pool();
	run_cases(cases, ARRAY_SIZE(cases));
	end();
}
