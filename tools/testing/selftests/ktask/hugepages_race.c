// SPDX-License-Identifier: GPL-2.0-only
/*
 * Races fallocate() of a hugetlbfs file with faults, hole punching, truncation,
 * migration and fallocate() by others, and looks whether a page or a reservation was used
 * twice or lost, and whether anybody saw what was in a page before.
 */
#include <pthread.h>
#include <setjmp.h>

#include "hugepages.h"

/* A minimum chunk is 8 pages.  SPARE is what others may be about to free. */
#define PAGES		40	/* of a file */
#define SPARE		12	/* of the pool besides */
#define RESERVED	16	/* of a file whose pages are reserved */
#define FREE_ROUNDS	700	/* of two cases, beside more of others */
#define FAULT_ROUNDS	300
#define EPOCHS		10
#define HOLES		3	/* a round */
#define NR_FAULTERS	2
#define WORDS		64	/* of a page that are looked at */

static bool done;
static int fd = -1;
static char *map;
static long fault_pages;		/* faults are at the first so many pages */

enum {
	FAULTS, PUNCHES, TRUNCATIONS, ALLOCATIONS, READS, COPIES, MIGRATIONS,
	NR_ROUNDS
};

static unsigned long rounds[NR_ROUNDS];
static const char * const round_names[NR_ROUNDS] = {
	"faults", "holes", "truncations", "allocations", "reads", "copies",
	"migrations",
};

static void count(int what)
{
	__atomic_add_fetch(&rounds[what], 1, __ATOMIC_RELAXED);
}

static unsigned long counted(int what)
{
	return __atomic_load_n(&rounds[what], __ATOMIC_RELAXED);
}

/* No page may be missing anywhere: there are enough for all. */
static __thread sigjmp_buf bus_jump;

static void bus_handler(int sig)
{
	(void)sig;
	siglongjmp(bus_jump, 1);
}

static unsigned int draw(unsigned int *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 8;
}

static bool running(void)
{
	return !__atomic_load_n(&done, __ATOMIC_RELAXED);
}

/* Page @i holds zeroes and its own number, whoever wrote that. */
static void check_word(uint64_t found, long i)
{
	check(!found || found == (uint64_t)i + 1, "page %ld holds %#llx", i,
	      (unsigned long long)found);
}

/* @addr is where page @i is mapped. */
static void use_words(char *addr, long i, bool set)
{
	uint64_t *word = (uint64_t *)addr;
	int w;

	for (w = 0; w < WORDS; w++, word += page_size / sizeof(*word) / WORDS) {
		check_word(__atomic_load_n(word, __ATOMIC_RELAXED), i);
		if (set)
			__atomic_store_n(word, i + 1, __ATOMIC_RELAXED);
	}
}

static void use_page(char *addr, long i, bool set)
{
	if (sigsetjmp(bus_jump, 1))
		check(false, "SIGBUS at page %ld", i);
	else
		use_words(addr, i, set);
}

static void *fault_worker(void *arg)
{
	unsigned int seed = (unsigned long)arg + 1;
	long i;

	while (running()) {
		i = draw(&seed) % fault_pages;
		use_page(map + i * page_size, i, true);
		count(FAULTS);
		/* Holes are few, and helpers need an idle CPU at times. */
		if (!(draw(&seed) % 4))
			usleep(50);
	}
	return NULL;
}

/* pread() instead of a fault: the last word, which is cleared last, or any. */
static void *read_worker(void *arg)
{
	unsigned int seed = (unsigned long)arg + 1;
	uint64_t word;
	long i, at;

	while (running()) {
		i = draw(&seed) % fault_pages;
		at = draw(&seed) % WORDS * (page_size / WORDS);
		if (draw(&seed) % 2)
			at = page_size - sizeof(word);
		check(pread(fd, &word, sizeof(word), i * page_size + at) ==
		      sizeof(word), "pread: %s", strerror(errno));
		check_word(word, i);
		count(READS);
		usleep(20);
	}
	return NULL;
}

/* A private mapping of a page, as the file has it, and a copy of that. */
static void *copy_worker(void *arg)
{
	unsigned int seed = (unsigned long)arg + 1;
	char *addr;
	long i;

	while (running()) {
		i = draw(&seed) % fault_pages;
		addr = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_NORESERVE, fd, i * page_size);
		check(addr != MAP_FAILED, "mmap: %s", strerror(errno));
		if (addr == MAP_FAILED)
			break;
		use_page(addr, i, false);
		if (!(draw(&seed) % 4))
			use_page(addr, i, true);
		unmap(addr, 1);
		count(COPIES);
		usleep(500);
	}
	return NULL;
}

static void *punch_worker(void *arg)
{
	unsigned int seed = (unsigned long)arg + 1;
	long first;
	int error;

	while (running()) {
		first = draw(&seed) % PAGES;
		error = allocate(fd, FALLOC_FL_PUNCH_HOLE |
				 FALLOC_FL_KEEP_SIZE, first,
				 1 + draw(&seed) % 2);
		check(!error, "punch: %s", strerror(error));
		count(PUNCHES);
		usleep(draw(&seed) % 1000);
	}
	return NULL;
}

/*
 * Never where pages are faulted in: in that race Linux 6.1 loses count of what
 * is reserved, with or without fallocate().
 */
static void *truncate_worker(void *arg)
{
	unsigned int seed = (unsigned long)arg + 1;

	while (running()) {
		check(!ftruncate(fd, (PAGES - draw(&seed) % 8) * page_size),
		      "ftruncate: %s", strerror(errno));
		usleep(draw(&seed) % 2000);
		check(!ftruncate(fd, PAGES * page_size), "ftruncate: %s",
		      strerror(errno));
		count(TRUNCATIONS);
		usleep(draw(&seed) % 3000);
	}
	return NULL;
}

static void *allocate_worker(void *arg)
{
	unsigned int seed = (unsigned long)arg + 1;
	int error;

	while (running()) {
		error = allocate(fd, FALLOC_FL_KEEP_SIZE, 0, PAGES);
		check(!error, "fallocate: %s", strerror(error));
		count(ALLOCATIONS);
		usleep(draw(&seed) % 3000);
	}
	return NULL;
}

/* Which node mapped pages are on, or go to if @nodes is not NULL. */
static bool move(void **pages, int nr, const int *nodes, int *status)
{
	long ret = syscall(SYS_move_pages, 0, nr, pages, nodes, status,
			   MPOL_MF_MOVE_ALL);

	/* Who moves what others use may fail to. */
	check(ret >= 0 || errno == ENOMEM || errno == EBUSY ||
	      errno == ENOENT, "move_pages: %s", strerror(errno));
	return ret >= 0;
}

/* Take a page that is mapped to the other node. */
static void *migrate_worker(void *arg)
{
	unsigned int seed = (unsigned long)arg + 1;
	int from, to, at;
	void *page;

	while (running()) {
		/* Not told of a page that could not be moved. */
		from = -1;
		at = -1;
		page = map + draw(&seed) % fault_pages * page_size;
		if (move(&page, 1, NULL, &from) && from >= 0) {
			to = !from;
			if (move(&page, 1, &to, &at) && at == to)
				count(MIGRATIONS);
		}
		usleep(draw(&seed) % 500);
	}
	return NULL;
}

static void start(pthread_t *thread, void *(*func)(void *), unsigned long nr)
{
	if (pthread_create(thread, NULL, func, (void *)nr))
		ksft_exit_fail_msg("no thread\n");
}

/* When all rest, each page is in the file or free, and none is reserved. */
static void check_rest(const struct pool *before)
{
	struct pool now = read_pool();

	check(now.free + file_pages(fd) == before->free,
	      "%ld free and %ld in the file of %ld pages", now.free,
	      file_pages(fd), before->free);
	check(!now.reserved, "%ld reserved", now.reserved);
	check(!now.surplus, "%ld surplus", now.surplus);
}

/*
 * Give the others time to make holes, some milliseconds at most: several, so
 * that more threads than one have pages to allocate.
 */
static void wait_for_holes(void)
{
	unsigned long before = counted(PUNCHES) + counted(TRUNCATIONS);
	int i;

	for (i = 0; i < 50; i++) {
		if (counted(PUNCHES) + counted(TRUNCATIONS) - before >= HOLES)
			return;
		usleep(200);
	}
}

/*
 * fallocate() for the file.  Returns whether pages were missing and helpers
 * finished chunks meanwhile, or whether there can be no helpers.
 */
static bool allocate_round(void)
{
	long chunks = read_stat("helper_chunks");
	long missing = PAGES - file_pages(fd);
	int error = allocate(fd, 0, 0, PAGES);

	check(!error, "fallocate: %s", strerror(error));
	return chunks < 0 ||
	       (missing > 0 && read_stat("helper_chunks") > chunks);
}

/*
 * At least @nr rounds, and more until helpers took part in one: without them a
 * race says nothing of them, and the CPUs may be taken for a while.
 */
static void run_epoch(int nr)
{
	long n, helped = 0;

	for (n = 0; n < nr || (!helped && n < 10 * nr); n++) {
		helped += allocate_round();
		wait_for_holes();
	}
	check(helped, "no helper took part in %ld rounds", n);
}

/* Those that raced did what they were there for, again and again. */
static void check_counts(void *(**others)(void *), unsigned int nr, int least)
{
	static void *(* const worker[NR_ROUNDS])(void *) = {
		fault_worker, punch_worker, truncate_worker, allocate_worker,
		read_worker, copy_worker, migrate_worker,
	};
	unsigned int i, what;

	for (what = 0; what < NR_ROUNDS; what++) {
		for (i = 0; i < nr && others[i] != worker[what]; i++)
			;
		if (i == nr)
			continue;
		ksft_print_msg("%lu %s\n", counted(what), round_names[what]);
		check(counted(what) >= (unsigned long)least,
		      "%lu %s in %d rounds", counted(what), round_names[what],
		      least);
	}
}

/* One allocator works for so many rounds against @others. */
static void free_for_all(void *(**others)(void *), unsigned int nr)
{
	int nr_rounds = rounds_here(FREE_ROUNDS);
	struct pool before = read_pool();
	pthread_t threads[8];
	unsigned int i, epoch;

	memset(rounds, 0, sizeof(rounds));
	fd = new_file();
	ftruncate(fd, PAGES * page_size);
	map = map_file(fd, 0, PAGES, 0);
	if (!map)
		return;
	/* No page is reserved any more when all have been there once. */
	check(!allocate(fd, 0, 0, PAGES), "no pages");
	for (epoch = 0; epoch < EPOCHS; epoch++) {
		__atomic_store_n(&done, false, __ATOMIC_RELAXED);
		for (i = 0; i < nr; i++)
			start(&threads[i], others[i], epoch * nr + i);
		run_epoch(nr_rounds / EPOCHS);
		__atomic_store_n(&done, true, __ATOMIC_RELAXED);
		for (i = 0; i < nr; i++)
			pthread_join(threads[i], NULL);
		check_rest(&before);
	}
	check_counts(others, nr, nr_rounds / 4);
	unmap(map, PAGES);
	close(fd);
}

static void test_punch(void)
{
	void *(*others[])(void *) = {
		fault_worker, punch_worker, read_worker, copy_worker,
	};

	fault_pages = PAGES;
	free_for_all(others, ARRAY_SIZE(others));
}

static void test_all(void)
{
	void *(*others[])(void *) = {
		fault_worker, punch_worker, truncate_worker, allocate_worker,
	};

	fault_pages = PAGES - 8;
	free_for_all(others, ARRAY_SIZE(others));
}

static void test_migrate(void)
{
	void *(*others[])(void *) = {
		fault_worker, punch_worker, migrate_worker, read_worker,
	};

	fault_pages = PAGES;
	free_for_all(others, ARRAY_SIZE(others));
	/* Pages have gone from node to node, for good. */
	check(set_pool(read_pool().total / nr_nodes), "no pages");
}

/* ---- Reservations ------------------------------------------------------- */

static int ready, go;

/* Touches all pages of a new mapping, from one end or from the other. */
static void *fault_all(void *arg)
{
	bool down = (unsigned long)arg & 1;
	long i, n;

	__atomic_add_fetch(&ready, 1, __ATOMIC_ACQ_REL);
	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
		sched_yield();
	for (n = 0; n < RESERVED; n++) {
		i = down ? RESERVED - 1 - n : n;
		use_page(map + i * page_size, i, true);
	}
	return NULL;
}

/*
 * The pool has just the pages that the mapping has reserved, so a reservation
 * that is used twice makes one fail.  Returns whether helpers took part, or none
 * can.
 */
static bool reservation_round(void)
{
	long chunks = read_stat("helper_chunks");
	pthread_t threads[NR_FAULTERS];
	unsigned long i;
	struct pool now;
	int error;

	fd = new_file();
	ftruncate(fd, RESERVED * page_size);
	map = map_file(fd, 0, RESERVED, 0);
	check(read_pool().reserved == RESERVED, "%ld reserved",
	      read_pool().reserved);
	ready = 0;
	go = 0;
	for (i = 0; i < NR_FAULTERS; i++)
		start(&threads[i], fault_all, i);
	while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < NR_FAULTERS)
		sched_yield();
	__atomic_store_n(&go, 1, __ATOMIC_RELEASE);
	error = allocate(fd, 0, 0, RESERVED);
	check(!error, "fallocate: %s", strerror(error));
	for (i = 0; i < NR_FAULTERS; i++)
		pthread_join(threads[i], NULL);

	now = read_pool();
	check(!now.reserved, "%ld reserved", now.reserved);
	check(!now.free, "%ld free", now.free);
	check(file_pages(fd) == RESERVED, "%ld pages", file_pages(fd));
	unmap(map, RESERVED);
	close(fd);
	return chunks < 0 || read_stat("helper_chunks") > chunks;
}

static void test_reservations(void)
{
	int i, nr = rounds_here(FAULT_ROUNDS), helped = 0;
	int other = new_file();

	check(!allocate(other, 0, 0, read_pool().free - RESERVED), "no pages");
	for (i = 0; (i < nr || (!helped && i < 10 * nr)) && !failures; i++)
		helped += reservation_round();
	ksft_print_msg("%d rounds, %d with helpers\n", i, helped);
	check(helped, "no helper took part");
	close(other);
}

static const struct test_case cases[] = {
	{ "faults and hole punching", test_punch },
	{ "faults with punching and truncation", test_all },
	{ "faults with punching and migration", test_migrate, one_node },
	{ "each reservation is used once", test_reservations },
};

int main(void)
{
	struct sigaction action = { .sa_handler = bus_handler };

	sigaction(SIGBUS, &action, NULL);
	begin(2L << 20);
	if (!set_pool((PAGES + SPARE) / nr_nodes)) {
		restore_pool();
		ksft_exit_skip("no %d pages of 2 MiB\n", PAGES + SPARE);
	}
	run_cases(cases, ARRAY_SIZE(cases));
	restore_pool();
	end();
}
