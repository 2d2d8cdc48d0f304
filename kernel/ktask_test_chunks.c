// SPDX-License-Identifier: GPL-2.0-only
/*
 * ktask_test_chunks.c - how tasks are cut, errors and undo, plain calls
 */

#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/sched/signal.h>
#include <linux/topology.h>

#include "ktask_test.h"

/* ---- Arithmetic --------------------------------------------------------- */

static const struct ktask_test_step {
	const char	*name;
	size_t		min;
	size_t		align;
	size_t		want;
} ktask_test_steps[] = {
	{ "no alignment",		10,		1,		10 },
	{ "no minimum",			0,		1,		1 },
	{ "neither",			0,		0,		1 },
	{ "alignment 0",		7,		0,		7 },
	{ "multiple",			6,		3,		6 },
	{ "rounded up",			5,		3,		6 },
	{ "alignment larger",		1,		512,		512 },
	{ "one more",			513,		512,		1024 },
	{ "all",			SIZE_MAX,	1,		SIZE_MAX },
	{ "odd all",			SIZE_MAX,	3,		SIZE_MAX },
	{ "rounded down",		SIZE_MAX,	2,		SIZE_MAX - 1 },
	{ "just fits",			SIZE_MAX - 2,	2,		SIZE_MAX - 1 },
	{ "huge alignment",		1,		SIZE_MAX,	SIZE_MAX },
	{ "huge both",			SIZE_MAX - 1,	SIZE_MAX,	SIZE_MAX },
	{ "huge and larger",		SIZE_MAX,	SIZE_MAX - 1,	SIZE_MAX - 1 },
	{ "half",			SIZE_MAX / 2,	SIZE_MAX / 2 + 1,
	  SIZE_MAX / 2 + 1 },
};

const void *ktask_test_step_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_steps,
			       ARRAY_SIZE(ktask_test_steps),
			       sizeof(ktask_test_steps[0]));
}

void ktask_test_step_is_aligned(struct kunit *test)
{
	const struct ktask_test_step *p = test->param_value;

	KUNIT_EXPECT_EQ(test, ktask_step(p->min, p->align), p->want);
}

static const struct ktask_test_size {
	const char	*name;
	size_t		origin;
	size_t		remaining;
	size_t		step;
	size_t		align;
	unsigned int	threads;
	size_t		want;
} ktask_test_sizes[] = {
	{ "one thread",		0, 400, 10, 1, 1,		100 },
	{ "four threads",	0, 1000, 10, 1, 4,		60 },
	{ "at most",		0, 1000, 10, 1, 1,		160 },
	{ "just at most",	0, 640, 10, 1, 1,		160 },
	{ "less than at most",	0, 639, 10, 1, 1,		150 },
	{ "minimum",		0, 100, 10, 1, 4,		10 },
	{ "rest",		0, 7, 10, 1, 4,			7 },
	{ "exactly one",	0, 10, 10, 1, 1,		10 },
	{ "last unit",		99, 1, 10, 1, 8,		1 },
	{ "unaligned",		3, 400, 10, 5, 1,		97 },
	{ "odd alignment",	7, 500, 6, 3, 2,		59 },
	{ "short first",	9, 100, 10, 10, 8,		1 },
	{ "short first, rest",	5, 4, 10, 10, 1,		4 },
	{ "all",		0, SIZE_MAX, 1, 1, 1,		16 },
	{ "all, large steps",	0, SIZE_MAX, SIZE_MAX >> 5, 1, 1,
	  SIZE_MAX >> 5 << 3 },
	{ "all, many threads",	0, SIZE_MAX, (SIZE_MAX >> 24) + 1, 1, 1 << 20,
	  3 * ((SIZE_MAX >> 24) + 1) },
	{ "all, one step",	0, SIZE_MAX, SIZE_MAX, 1, 4,	SIZE_MAX },
	{ "all, half a step",	0, SIZE_MAX, SIZE_MAX / 2, 1, 4,
	  SIZE_MAX / 2 },
	{ "high",		SIZE_MAX - 9, 5, 4, 4, 1,	2 },
	{ "high, rest",		SIZE_MAX - 1, 1, 4, 4, 1,	1 },
	{ "high and large",	1, SIZE_MAX - 1, 1 << 20, 1 << 20, 16,
	  (16UL << 20) - 1 },
};

const void *ktask_test_chunk_size_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_sizes,
			       ARRAY_SIZE(ktask_test_sizes),
			       sizeof(ktask_test_sizes[0]));
}

void ktask_test_chunk_size_fits(struct kunit *test)
{
	const struct ktask_test_size *p = test->param_value;
	size_t size = ktask_chunk_size(p->origin, p->remaining, p->step,
				       p->align, p->threads);

	KUNIT_EXPECT_EQ(test, size, p->want);
	if (size != p->remaining)
		KUNIT_EXPECT_EQ(test, (p->origin + size) % p->align, 0);
}

static const struct ktask_test_threads {
	const char	*name;
	size_t		sizes[3];
	size_t		step;
	unsigned int	max;
	unsigned int	want;
} ktask_test_thread_rows[] = {
	{ "nothing",		{ 0, 0, 0 },			1, 8, 0 },
	{ "under two chunks",	{ 19, 0, 0 },			10, 8, 1 },
	{ "two chunks",		{ 20, 0, 0 },			10, 8, 2 },
	{ "tiny parts",		{ 1, 1, 1 },			10, 8, 3 },
	{ "empty part",		{ 5, 0, 25 },			10, 8, 3 },
	{ "many chunks",	{ 100, 0, 0 },			10, 4, 4 },
	{ "one thread",		{ 100, 100, 100 },		1, 1, 1 },
	{ "huge step",		{ SIZE_MAX, 0, 0 },		SIZE_MAX, 8, 1 },
	{ "huge",		{ SIZE_MAX, 0, 0 },		1, 16, 16 },
	{ "more than all",	{ SIZE_MAX, SIZE_MAX, SIZE_MAX }, 1, 16, 16 },
	{ "huge limit",		{ SIZE_MAX, SIZE_MAX, 1 },	1, UINT_MAX,
	  UINT_MAX },
	{ "unlimited",		{ 30, 30, 30 },			10, UINT_MAX, 9 },
};

const void *ktask_test_nr_threads_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_thread_rows,
			       ARRAY_SIZE(ktask_test_thread_rows),
			       sizeof(ktask_test_thread_rows[0]));
}

void ktask_test_threads_fit_work(struct kunit *test)
{
	const struct ktask_test_threads *p = test->param_value;
	struct ktask_node parts[ARRAY_SIZE(p->sizes)] = {};
	int i;

	for (i = 0; i < ARRAY_SIZE(p->sizes); i++)
		parts[i].kn_task_size = p->sizes[i];
	KUNIT_EXPECT_EQ(test, p->want,
			ktask_nr_threads(parts, ARRAY_SIZE(p->sizes), p->step,
					 p->max));
}

/* ---- Exactly once ------------------------------------------------------- */

#define KTASK_TEST_MAX_PARTS	6
#define KTASK_TEST_MAX_ENTRIES	500

/* The node of part @i. */
enum ktask_test_nids {
	KTASK_TEST_ANYWHERE,
	KTASK_TEST_HERE,
	KTASK_TEST_ROUND,	/* one after the other, also without CPUs */
	KTASK_TEST_MIXED,	/* each way in turn */
};

struct ktask_test_shape {
	const char		*name;
	size_t			origin;
	size_t			size;
	size_t			min;
	size_t			align;
	unsigned int		threads;
	unsigned int		parts;
	unsigned int		empty;		/* bit mask of parts */
	enum ktask_test_nids	nids;
	bool			list;
};

static const struct ktask_test_shape ktask_test_shapes[] = {
	{ "one unit", 5, 1, 1, 1, 0, 1 },
	{ "under two chunks", 0, 199, 100, 1, 0, 1 },
	{ "two chunks", 0, 200, 100, 1, 0, 1 },
	{ "small chunks", 0, 20000, 1, 1, 0, 1 },
	{ "two threads", 3, 5000, 7, 1, 2, 1 },
	{ "more threads than CPUs", 0, 5000, 7, 1, 1000, 1 },
	{ "aligned", 0, 10000, 10, 64, 0, 1 },
	{ "unaligned origin", 13, 10000, 10, 64, 0, 1 },
	{ "odd alignment", 11, 9999, 10, 7, 0, 1 },
	{ "alignment larger than task", 5, 1000, 1, 4096, 0, 1 },
	{ "ends before a cut", 63, 66, 64, 64, 0, 1 },
	{ "parts", 100, 1000, 9, 4, 0, 5 },
	{ "parts here", 100, 1000, 9, 4, 0, 5, 0, KTASK_TEST_HERE },
	{ "parts on all nodes", 1, 1000, 9, 4, 0, 6, 0, KTASK_TEST_ROUND },
	{ "parts anyhow", 1, 1000, 9, 4, 0, 6, 0, KTASK_TEST_MIXED },
	{ "empty first", 1, 1000, 9, 4, 0, 3, 1, KTASK_TEST_ROUND },
	{ "empty middle", 1, 1000, 9, 4, 0, 3, 2, KTASK_TEST_HERE },
	{ "empty last", 1, 1000, 9, 4, 0, 3, 4 },
	{ "all empty", 1, 1000, 9, 4, 0, 3, 7 },
	{ "tiny parts", 1, 1, 100, 1, 0, 6 },
	{ "list", 0, 500, 1, 1, 0, 1, 0, KTASK_TEST_ANYWHERE, true },
	{ "lists", 9, 400, 3, 2, 0, 6, 0, KTASK_TEST_ROUND, true },
	{ "lists, aligned", 9, 500, 10, 7, 0, 3, 2, KTASK_TEST_HERE, true },
	{ "all numbers", 0, SIZE_MAX, SIZE_MAX >> 10, 1, 0, 1 },
	{ "all but some", 5, SIZE_MAX - 5, SIZE_MAX >> 10, 3, 0, 1 },
	{ "all, aligned", 1, SIZE_MAX - 1, SIZE_MAX >> 10, 1UL << 21, 0, 1 },
	{ "all, half a chunk", 0, SIZE_MAX, SIZE_MAX / 2, 1, 0, 1 },
	{ "all, huge chunk", 0, SIZE_MAX, SIZE_MAX, 2, 0, 1 },
	{ "highest", SIZE_MAX - 1000, 1000, 7, 7, 0, 1 },
	{ "huge parts", 9, SIZE_MAX / 8, SIZE_MAX >> 10, 1000, 0, 6, 0,
	  KTASK_TEST_MIXED },
};

const void *ktask_test_shape_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_shapes,
			       ARRAY_SIZE(ktask_test_shapes),
			       sizeof(ktask_test_shapes[0]));
}

static int ktask_test_nid(enum ktask_test_nids nids, int i)
{
	switch (nids) {
	case KTASK_TEST_ANYWHERE:
		return NUMA_NO_NODE;
	case KTASK_TEST_HERE:
		return numa_node_id();
	case KTASK_TEST_ROUND:
		return ktask_test_round_node(i);
	case KTASK_TEST_MIXED:
		return ktask_test_nid(i % 3, i / 3);
	}
	return NUMA_NO_NODE;
}

struct ktask_test_once {
	struct ktask_test_entry	*entries;
	unsigned long		wait;	/* for a helper, in us */
	atomic_t		waited;
};

/* See that helpers get a chance: small chunks would be done before they run. */
static int ktask_test_once_body(struct ktask_test_job *job,
				unsigned long start, unsigned long end)
{
	struct ktask_test_once *once = job->data;
	int nr;

	if (once->wait && !ktask_test_is_helper(job) &&
	    !atomic_xchg(&once->waited, 1))
		read_poll_timeout(atomic_read, nr, nr > 0, 200, once->wait,
				  false, &job->helper_chunks);
	else if (start % 8 == 3)
		usleep_range(20, 50);
	return KTASK_RETURN_SUCCESS;
}

/* For any shape with up to KTASK_TEST_MAX_PARTS parts. */
struct ktask_test_job *ktask_test_random_job(struct kunit *test)
{
	size_t nr = KTASK_TEST_MAX_PARTS * (KTASK_TEST_MAX_ENTRIES + 1);
	struct ktask_test_once *once;
	struct ktask_test_job *job;

	job = ktask_test_job(test, KTASK_TEST_MAX_PARTS, 6000);
	once = kunit_kzalloc(test, sizeof(*once), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, once);
	once->entries = kunit_kcalloc(test, nr, sizeof(*once->entries),
				      GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, once->entries);
	job->body = ktask_test_once_body;
	job->data = once;
	return job;
}

/* Give @job a shape; with @rnd parts have random sizes. */
static void ktask_test_set_shape(struct ktask_test_job *job,
				 const struct ktask_test_shape *shape,
				 struct rnd_state *rnd)
{
	struct ktask_test_once *once = job->data;
	struct ktask_test_entry *entries = once->entries;
	unsigned long start = shape->origin;
	struct ktask_node *part;
	int i;

	ktask_test_job_reset(job);
	atomic_set(&once->waited, 0);
	job->nr_parts = shape->parts;
	job->ctl.kc_min_chunk_size = shape->min;
	ktask_ctl_set_align(&job->ctl, shape->align);
	ktask_ctl_set_max_threads(&job->ctl, shape->threads);
	for (i = 0; i < shape->parts; i++) {
		part = &job->parts[i];
		part->kn_start = (void *)start;
		part->kn_task_size = shape->size;
		if (rnd)
			part->kn_task_size = prandom_u32_state(rnd) %
					     (shape->size + 1);
		if (shape->empty & BIT(i))
			part->kn_task_size = 0;
		part->kn_nid = ktask_test_nid(shape->nids, i);
		if (shape->list) {
			ktask_test_fill_list(job, part, entries, start);
			entries += part->kn_task_size + 1;
		}
		start += shape->size + 7;
	}
}

static void ktask_test_describe(struct ktask_test_job *job,
				const struct ktask_test_shape *shape,
				const char *who)
{
	snprintf(job->desc, sizeof(job->desc),
		 "%s: %u %s at %zu of %zu, min %zu align %zu threads %u nids %d",
		 who, shape->parts, shape->list ? "lists" : "parts",
		 shape->origin, shape->size, shape->min, shape->align,
		 shape->threads, shape->nids);
}

void ktask_test_every_unit_once(struct kunit *test)
{
	const struct ktask_test_shape *shape = test->param_value;
	struct ktask_test_job *job = ktask_test_random_job(test);
	struct ktask_test_once *once = job->data;

	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	once->wait = 20 * USEC_PER_MSEC;
	ktask_test_set_shape(job, shape, NULL);
	ktask_test_describe(job, shape, shape->name);
	ktask_test_run_well(job);
}

/* One random task, run in this thread and checked. */
void ktask_test_random_task(struct kunit *test, struct ktask_test_job *job,
			    struct rnd_state *rnd, const char *who)
{
	struct ktask_test_shape shape = {
		.origin		= prandom_u32_state(rnd) % 1000,
		.size		= prandom_u32_state(rnd) % 20000 >>
				  prandom_u32_state(rnd) % 12,
		.min		= 1 + prandom_u32_state(rnd) % 200,
		.align		= 1,
		.threads	= prandom_u32_state(rnd) % 20,
		.parts		= 1 + prandom_u32_state(rnd) %
				  KTASK_TEST_MAX_PARTS,
		.nids		= prandom_u32_state(rnd) %
				  (KTASK_TEST_MIXED + 1),
		.list		= prandom_u32_state(rnd) % 4 == 0,
	};

	if (prandom_u32_state(rnd) % 2)
		shape.align = 1 + prandom_u32_state(rnd) % 100;
	if (prandom_u32_state(rnd) % 4 == 0)
		shape.empty = prandom_u32_state(rnd);
	if (shape.list)
		shape.size %= KTASK_TEST_MAX_ENTRIES + 1;
	ktask_test_set_shape(job, &shape, rnd);
	ktask_test_describe(job, &shape, who);
	ktask_test_run_well(job);
}

static const struct ktask_test_seed {
	const char	*name;
	u64		seed;
} ktask_test_seeds[] = {
	{ "seed 1", 1 }, { "seed 2", 2 }, { "seed 3", 3 }, { "seed 4", 4 },
	{ "seed 5", 5 }, { "seed 6", 6 },
};

const void *ktask_test_seed_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_seeds,
			       ARRAY_SIZE(ktask_test_seeds),
			       sizeof(ktask_test_seeds[0]));
}

void ktask_test_random_units_once(struct kunit *test)
{
	const struct ktask_test_seed *p = test->param_value;
	struct ktask_test_job *job = ktask_test_random_job(test);
	struct ktask_test_once *once = job->data;
	struct rnd_state rnd;
	int helped = 0;
	int i;

	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	prandom_seed_state(&rnd, p->seed);
	for (i = 0; i < 25; i++) {
		once->wait = helped ? 2 * USEC_PER_MSEC : 2 * USEC_PER_SEC;
		if (!ktask_test_limit())
			once->wait = 0;
		ktask_test_random_task(test, job, &rnd, p->name);
		helped += atomic_read(&job->helper_chunks);
	}
	if (ktask_test_limit())
		KUNIT_EXPECT_GT_MSG(test, helped, 0, "no helper did a chunk");
	else
		KUNIT_EXPECT_EQ(test, helped, 0);
}

/* ---- Balance ------------------------------------------------------------ */

static const struct ktask_test_balance {
	const char	*name;
	unsigned int	threads;
	size_t		step;
} ktask_test_balances[] = {
	{ "2 threads", 2, 10 }, { "3 threads", 3, 10 }, { "8 threads", 8, 10 },
	{ "16 threads", 16, 10 }, { "2 threads, large steps", 2, 1000 },
	{ "3 threads, large steps", 3, 1000 },
	{ "8 threads, large steps", 8, 1000 },
};

const void *ktask_test_balance_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_balances,
			       ARRAY_SIZE(ktask_test_balances),
			       sizeof(ktask_test_balances[0]));
}

/* Chunks of a part are handed out in the order of their positions. */
void ktask_test_chunks_shrink(struct kunit *test)
{
	const struct ktask_test_balance *p = test->param_value;
	const size_t step = p->step, size = 100000;
	struct ktask_test_job *job;
	const struct ktask_test_range *range;
	size_t length, before, share;
	unsigned int i;

	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	job = ktask_test_simple(test, size, step, p->threads);
	ktask_test_run_well(job);

	share = min(size / p->threads / 4, 16 * step);
	before = share;
	KUNIT_ASSERT_GE(test, job->done.nr, 4 * p->threads);
	for (i = 0; i < job->done.nr; i++) {
		range = &job->done.ranges[i];
		length = range->end - range->start;
		KUNIT_EXPECT_LE_MSG(test, length, before,
				    "[%lu, %lu) after one of %zu",
				    range->start, range->end, before);
		if (!i)
			KUNIT_EXPECT_GE(test, length, share - step);
		if (i >= job->done.nr - p->threads)
			KUNIT_EXPECT_LE_MSG(test, length, step,
					    "[%lu, %lu) is one of the last",
					    range->start, range->end);
		before = length;
	}
}

/* ---- Errors and undo ---------------------------------------------------- */

static const struct ktask_test_error {
	const char		*name;
	int			part;
	unsigned int		threads;
	bool			undo;
	bool			list;
} ktask_test_error_rows[] = {
	{ "part 0, plain", 0, 1, true, false },
	{ "part 1, plain", 1, 1, true, false },
	{ "part 2, plain, list", 2, 1, true, true },
	{ "part 0, 2 threads", 0, 2, true, false },
	{ "part 1, 2 threads, list", 1, 2, true, true },
	{ "part 2, 2 threads", 2, 2, true, false },
	{ "part 0, 8 threads", 0, 8, true, false },
	{ "part 1, 8 threads, list", 1, 8, true, true },
	{ "part 2, 8 threads", 2, 8, true, false },
	{ "part 1, 8 threads, no undo", 1, 8, false, false },
	{ "part 2, plain, list, no undo", 2, 1, false, true },
};

const void *ktask_test_error_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_error_rows,
			       ARRAY_SIZE(ktask_test_error_rows),
			       sizeof(ktask_test_error_rows[0]));
}

/* The unit whose chunk fails. */
static int ktask_test_error_body(struct ktask_test_job *job,
				 unsigned long start, unsigned long end)
{
	unsigned long unit = *(unsigned long *)job->data;

	usleep_range(10, 100);
	return start <= unit && unit < end ? -EIO : KTASK_RETURN_SUCCESS;
}

/* Chunks that succeeded and failed do not overlap; sorts the log. */
static void ktask_test_check_disjoint(struct ktask_test_job *job)
{
	const struct ktask_test_range *a, *b;
	unsigned int i, j;

	for (i = 0; i < job->failed.nr; i++) {
		a = &job->failed.ranges[i];
		for (j = 0; j < job->done.nr; j++) {
			b = &job->done.ranges[j];
			if (a->start >= b->end || b->start >= a->end)
				continue;
			KUNIT_FAIL(job->test,
				   "%s: [%lu, %lu) failed, [%lu, %lu) not",
				   job->desc, a->start, a->end, b->start,
				   b->end);
		}
	}
}

/* The task ended with @ret, which was to be @want. */
static void ktask_test_check_error(struct ktask_test_job *job, int ret,
				   int want)
{
	KUNIT_EXPECT_EQ_MSG(job->test, ret, want, "%s", job->desc);
	ktask_test_check_rules(job);
	ktask_test_check_disjoint(job);
	if (job->ctl.kc_undo_func)
		ktask_test_check_undo(job);
	else
		KUNIT_EXPECT_EQ(job->test, job->undone.nr, 0);
}

/* Unit @unit of part p->part fails. */
static void ktask_test_one_error(struct ktask_test_job *job,
				 const struct ktask_test_error *p,
				 struct ktask_test_entry *entries,
				 unsigned long unit)
{
	struct ktask_node *part;
	int i, ret;

	ktask_test_job_reset(job);
	job->data = &unit;
	job->ctl.kc_min_chunk_size = 5;
	ktask_ctl_set_max_threads(&job->ctl, p->threads);
	if (p->undo)
		ktask_ctl_set_undo_func(&job->ctl, ktask_test_undo);
	for (i = 0; i < job->nr_parts; i++) {
		part = &job->parts[i];
		part->kn_start = (void *)(i * 1000UL);
		part->kn_nid = ktask_test_round_node(i);
		if (p->list)
			ktask_test_fill_list(job, part, entries, i * 1000UL);
		entries += part->kn_task_size + 1;
	}
	unit += p->part * 1000UL;
	ret = ktask_test_run(job);
	KUNIT_EXPECT_EQ(job->test, job->failed.nr, 1);
	ktask_test_check_error(job, ret, -EIO);
}

/* In the first, a middle and the last chunk of each part. */
void ktask_test_error_and_undo(struct kunit *test)
{
	static const size_t sizes[] = { 100, 60, 80 };
	const struct ktask_test_error *p = test->param_value;
	struct ktask_test_job *job = ktask_test_random_job(test);
	struct ktask_test_once *once = job->data;
	int i;

	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	job->nr_parts = ARRAY_SIZE(sizes);
	job->body = ktask_test_error_body;
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		job->parts[i].kn_task_size = sizes[i];
	for (i = 0; i < 3; i++)
		ktask_test_one_error(job, p, once->entries,
				     (sizes[p->part] - 1) * i / 2);
}

#define KTASK_TEST_FAIL_FIRST	EIO
#define KTASK_TEST_FAIL_LATER	ENOSPC

static const struct ktask_test_at_once {
	const char	*name;
	bool		all_fail;
	bool		undo;
} ktask_test_at_once_rows[] = {
	{ "one fails", false, true },
	{ "all fail", true, true },
	{ "all fail, no undo", true, false },
};

const void *ktask_test_at_once_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_at_once_rows,
			       ARRAY_SIZE(ktask_test_at_once_rows),
			       sizeof(ktask_test_at_once_rows[0]));
}

struct ktask_test_together {
	struct ktask_test_meeting	meeting;
	atomic_t			tickets;
	bool				all_fail;
};

/*
 * When all threads are inside, one fails and the others wait until the engine
 * has seen that.
 */
static int ktask_test_together_body(struct ktask_test_job *job,
				    unsigned long start, unsigned long end)
{
	struct ktask_test_together *t = job->data;
	bool stop;

	if (!ktask_test_meet(&t->meeting))
		return KTASK_RETURN_SUCCESS;
	if (atomic_inc_return(&t->tickets) == 1)
		return -KTASK_TEST_FAIL_FIRST;
	read_poll_timeout(ktask_should_stop, stop, stop, 500, KTASK_TEST_LONG,
			  false, &job->ctl);
	if (!stop)
		ktask_test_bad(job, "did not see another chunk's error", start,
			       end);
	return t->all_fail ? -KTASK_TEST_FAIL_LATER : KTASK_RETURN_SUCCESS;
}

void ktask_test_errors_at_once(struct kunit *test)
{
	const struct ktask_test_at_once *p = test->param_value;
	unsigned long end = jiffies + 60 * HZ;
	struct ktask_test_together together = {
		.meeting.want	= ktask_test_most_threads(),
		.all_fail	= p->all_fail,
	};
	struct ktask_test_job *job;
	int ret;

	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	job = ktask_test_simple(test, 2000, 1, 0);
	job->body = ktask_test_together_body;
	job->data = &together;
	do {
		ktask_test_job_reset(job);
		ktask_ctl_set_max_threads(&job->ctl,
					  max(together.meeting.want, 2));
		if (p->undo)
			ktask_ctl_set_undo_func(&job->ctl, ktask_test_undo);
		ret = ktask_test_run(job);
	} while (!ktask_test_met(&together.meeting) && time_before(jiffies, end));

	KUNIT_ASSERT_TRUE_MSG(test, ktask_test_met(&together.meeting),
			      "%d threads never met", together.meeting.want);
	ktask_test_check_error(job, ret, -KTASK_TEST_FAIL_FIRST);
	if (p->all_fail)
		KUNIT_EXPECT_EQ(test, job->failed.nr, together.meeting.want);
	else
		KUNIT_EXPECT_EQ(test, job->failed.nr, 1);
}

/* ---- Plain calls -------------------------------------------------------- */

static const struct ktask_test_plain {
	const char	*name;
	enum ktask_stat	why;
	size_t		size;
	unsigned int	threads;
	unsigned int	calls;
} ktask_test_plain_rows[] = {
	{ "under two chunks", KTASK_STAT_SERIAL_SMALL, 199, 0, 1 },
	{ "one unit", KTASK_STAT_SERIAL_SMALL, 1, 0, 1 },
	{ "empty", KTASK_STAT_SERIAL_SMALL, 0, 0, 0 },
	{ "one thread", KTASK_STAT_SERIAL_THREADS, 10000, 1, 1 },
	{ "one CPU", KTASK_STAT_SERIAL_LIMIT, 10000, 0, 1 },
};

const void *ktask_test_plain_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_plain_rows,
			       ARRAY_SIZE(ktask_test_plain_rows),
			       sizeof(ktask_test_plain_rows[0]));
}

void ktask_test_plain_call(struct kunit *test)
{
	const struct ktask_test_plain *p = test->param_value;
	struct ktask_test_job *job;
	u64 why, tasks;

	if (p->why == KTASK_STAT_SERIAL_LIMIT)
		KTASK_TEST_REQUIRES(test, num_online_cpus() == 1);
	job = ktask_test_simple(test, p->size, 100, p->threads);
	ktask_test_hooks.ignore_load = true;
	why = ktask_stat_read(p->why);
	tasks = ktask_stat_read(KTASK_STAT_TASKS);
	ktask_test_run_well(job);

	KUNIT_EXPECT_EQ(test, job->done.nr, p->calls);
	KUNIT_EXPECT_EQ(test, atomic_read(&job->helper_chunks), 0);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(p->why), why + 1);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_TASKS), tasks);
}

/* A call for each part, and the undo of those before the one that failed. */
void ktask_test_plain_call_undo(struct kunit *test)
{
	struct ktask_test_job *job = ktask_test_job(test, 4, 16);
	unsigned long unit = 3005;
	int i, ret;

	for (i = 0; i < job->nr_parts; i++) {
		job->parts[i].kn_start = (void *)(i * 1000UL);
		job->parts[i].kn_task_size = i == 1 ? 0 : 500;
		job->parts[i].kn_nid = ktask_test_round_node(i);
	}
	ktask_ctl_set_max_threads(&job->ctl, 1);
	ktask_ctl_set_undo_func(&job->ctl, ktask_test_undo);
	job->body = ktask_test_error_body;
	job->data = &unit;
	ret = ktask_test_run(job);
	KUNIT_EXPECT_EQ(test, job->done.nr, 2);
	KUNIT_EXPECT_EQ(test, job->failed.nr, 1);
	ktask_test_check_error(job, ret, -EIO);
}

/* ---- Signals ------------------------------------------------------------ */

static const struct ktask_test_signal {
	const char	*name;
	unsigned int	flags;
	int		sig;
	bool		stops;
} ktask_test_signals[] = {
	{ "killable, fatal", KTASK_KILLABLE, SIGKILL, true },
	{ "killable, not fatal", KTASK_KILLABLE, SIGUSR1, false },
	{ "interruptible, fatal", KTASK_INTERRUPTIBLE, SIGKILL, true },
	{ "interruptible, not fatal", KTASK_INTERRUPTIBLE, SIGUSR1, true },
	{ "neither, fatal", 0, SIGKILL, false },
	{ "unknown flag, fatal", 1U << 31, SIGKILL, false },
};

const void *ktask_test_signal_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_signals,
			       ARRAY_SIZE(ktask_test_signals),
			       sizeof(ktask_test_signals[0]));
}

struct ktask_test_signalled {
	const struct ktask_test_signal	*param;
	struct ktask_test_job		*job;
	atomic_t			inside;
	atomic_t			sent;
	int				ret;
};

static int ktask_test_signal_body(struct ktask_test_job *job,
				  unsigned long start, unsigned long end)
{
	struct ktask_test_signalled *s = job->data;
	int sent, inside;
	bool stop;

	/* Nobody may come between chunks then, who would find the signal. */
	if (atomic_inc_return(&s->inside) == 1)
		read_poll_timeout(atomic_read, inside, inside > 1, 100,
				  10 * KTASK_TEST_SHORT, false, &s->inside);
	if (!atomic_cmpxchg(&s->sent, 0, 1)) {
		send_sig(s->param->sig, job->caller, 1);
		atomic_set(&s->sent, 2);
	}
	read_poll_timeout(atomic_read, sent, sent == 2, 100, KTASK_TEST_LONG,
			  false, &s->sent);
	/* A helper sees what its caller was sent. */
	read_poll_timeout(ktask_should_stop, stop, stop, 200,
			  s->param->stops ? KTASK_TEST_LONG : 1000, false,
			  &job->ctl);
	if (stop != s->param->stops)
		ktask_test_bad(job, stop ? "told to stop" : "not told to stop",
			       start, end);
	return KTASK_RETURN_SUCCESS;
}

static int ktask_test_signal_thread(void *arg)
{
	struct ktask_test_signalled *s = arg;

	allow_signal(s->param->sig);
	s->ret = ktask_test_run(s->job);
	flush_signals(current);
	return 0;
}

void ktask_test_signal_ends_task(struct kunit *test)
{
	struct ktask_test_signalled *s;

	s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s);
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	s->param = test->param_value;
	s->job = ktask_test_simple(test, 10000, 1, 2);
	s->job->body = ktask_test_signal_body;
	s->job->data = s;
	/* Not by ktask_ctl_set_flags(), which warns of the unknown one. */
	s->job->ctl.kc_flags = s->param->flags;
	ktask_ctl_set_undo_func(&s->job->ctl, ktask_test_undo);
	ktask_test_join(test, ktask_test_start(test, -1,
					       ktask_test_signal_thread, s));
	if (s->param->stops) {
		ktask_test_check_error(s->job, s->ret, -EINTR);
		return;
	}
	KUNIT_EXPECT_EQ(test, s->ret, 0);
	ktask_test_check_rules(s->job);
	ktask_test_check_once(s->job);
	KUNIT_EXPECT_EQ(test, s->job->undone.nr, 0);
}

static int ktask_test_signal_before_thread(void *arg)
{
	struct ktask_test_signalled *s = arg;

	allow_signal(SIGUSR1);
	send_sig(SIGUSR1, current, 1);
	s->ret = ktask_test_run(s->job);
	flush_signals(current);
	return 0;
}

/* Plain calls and tasks that are cut alike do nothing then. */
void ktask_test_signal_before_task(struct kunit *test)
{
	static const size_t sizes[] = { 10, 10000 };
	struct ktask_test_signalled *s;
	int i;

	s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s);
	ktask_test_hooks.force_cut = true;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		s->job = ktask_test_simple(test, sizes[i], 10, 0);
		ktask_ctl_set_flags(&s->job->ctl, KTASK_INTERRUPTIBLE);
		ktask_ctl_set_undo_func(&s->job->ctl, ktask_test_undo);
		ktask_test_join(test,
				ktask_test_start(test, -1,
						 ktask_test_signal_before_thread,
						 s));
		KUNIT_EXPECT_EQ_MSG(test, s->ret, -EINTR, "%zu units",
				    sizes[i]);
		KUNIT_EXPECT_EQ(test, atomic_read(&s->job->chunks), 0);
		KUNIT_EXPECT_EQ(test, s->job->undone.nr, 0);
	}
}
