// SPDX-License-Identifier: GPL-2.0-only
/*
 * Races fallocate() of a hugetlbfs file with faults, hole punching, truncation
 * and fallocate() by others, and looks whether a page or a reservation was used
 * twice or lost, and whether anybody saw what was in a page before.
 */
#include <pthread.h>
#include <setjmp.h>

#include "hugepages.h"

/* A minimum chunk is 8 pages.  SPARE is what others may be about to free. */
#define PAGES		40	/* of a file */
#define SPARE		8	/* of the pool besides */
#define RESERVED	16	/* of a file whose pages are reserved */
#define FREE_ROUNDS	500	/* of two cases, beside more of others */
#define FAULT_ROUNDS	200
#define EPOCHS		10
#define HOLES		3	/* a round */
#define NR_FAULTERS	2
#define WORDS		64	/* of a page that are looked at */

static bool done;
static int fd = -1;
static char *map;
static long fault_pages;		/* faults are at the first so many pages */

enum { FAULTS, PUNCHES, TRUNCATIONS, ALLOCATIONS, NR_ROUNDS };
static unsigned long rounds[NR_ROUNDS];

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
static void use_words(long i)
{
	uint64_t *word = (uint64_t *)(map + i * page_size);
	uint64_t found;
	int w;

	for (w = 0; w < WORDS; w++, word += page_size / sizeof(*word) / WORDS) {
		found = __atomic_load_n(word, __ATOMIC_RELAXED);
		check(!found || found == (uint64_t)i + 1,
		      "page %ld holds %#llx", i, (unsigned long long)found);
		__atomic_store_n(word, i + 1, __ATOMIC_RELAXED);
	}
}

static void use_page(long i)
{
	if (sigsetjmp(bus_jump, 1))
		check(false, "SIGBUS at page %ld", i);
	else
		use_words(i);
}

static void *fault_worker(void *arg)
{
	unsigned int seed = (unsigned long)arg + 1;

	while (running()) {
		use_page(draw(&seed) % fault_pages);
		count(FAULTS);
		/* Holes are few, and helpers need an idle CPU at times. */
		if (!(draw(&seed) % 4))
			usleep(50);
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
				 1 + draw(&seed) % 4);
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

/* A race without helpers says nothing of them; there were @before chunks. */
static void check_raced(long before)
{
	long chunks = read_stat("helper_chunks") - before;

	if (before < 0)
		return;
	ksft_print_msg("helpers finished %ld chunks\n", chunks);
	check(chunks > 0, "no helper took part");
}

/* One allocator works for so many rounds against @others. */
static void free_for_all(void *(**others)(void *), unsigned int nr)
{
	long n, helped = read_stat("helper_chunks");
	int error, nr_rounds = rounds_here(FREE_ROUNDS);
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
		for (n = 0; n < nr_rounds / EPOCHS; n++) {
			error = allocate(fd, 0, 0, PAGES);
			check(!error, "fallocate: %s", strerror(error));
			wait_for_holes();
		}
		__atomic_store_n(&done, true, __ATOMIC_RELAXED);
		for (i = 0; i < nr; i++)
			pthread_join(threads[i], NULL);
		check_rest(&before);
	}
	ksft_print_msg("%d rounds, %lu faults, %lu holes, %lu truncations, %lu others\n",
		       nr_rounds, counted(FAULTS), counted(PUNCHES),
		       counted(TRUNCATIONS), counted(ALLOCATIONS));
	check_raced(helped);
	unmap(map, PAGES);
	close(fd);
}

static void test_punch(void)
{
	void *(*others[])(void *) = {
		fault_worker, punch_worker, punch_worker,
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

/* ---- Reservations ------------------------------------------------------- */

static int ready, go;

/* Touches all pages of a new mapping, from one end or from the other. */
static void *fault_all(void *arg)
{
	bool down = (unsigned long)arg & 1;
	long i;

	__atomic_add_fetch(&ready, 1, __ATOMIC_ACQ_REL);
	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
		sched_yield();
	for (i = 0; i < RESERVED; i++)
		use_page(down ? RESERVED - 1 - i : i);
	return NULL;
}

/*
 * The pool has just the pages that the mapping has reserved, so a reservation
 * that is used twice makes one fail.
 */
static void reservation_round(void)
{
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
}

static void test_reservations(void)
{
	long helped = read_stat("helper_chunks");
	int i, nr = rounds_here(FAULT_ROUNDS);
	int other = new_file();

	check(!allocate(other, 0, 0, read_pool().free - RESERVED), "no pages");
	for (i = 0; i < nr && !failures; i++)
		reservation_round();
	check_raced(helped);
	close(other);
}

static const struct test_case cases[] = {
	{ "faults and hole punching", test_punch },
	{ "faults with punching and truncation", test_all },
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
