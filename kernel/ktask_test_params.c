// SPDX-License-Identifier: GPL-2.0-only
/*
 * ktask_test_params.c - what the administrator may say, and when it holds
 */

#include <linux/delay.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "ktask_test.h"

/* ---- Values ------------------------------------------------------------- */

static const struct ktask_test_value {
	const char	*name;
	const char	*value;
} ktask_test_values[] = {
	{ "enabled", "" },
	{ "enabled", "nonsense" },
	{ "enabled", "yonder" },
	{ "enabled", "2" },
	{ "enabled", "o" },
	{ "enabled", "offline" },
	{ "max_threads", "" },
	{ "max_threads", "0" },
	{ "max_threads", "-1" },
	{ "max_threads", "many" },
	{ "max_threads", "4294967296" },
	{ "cpu_percent", "" },
	{ "cpu_percent", "-1" },
	{ "cpu_percent", "101" },
	{ "cpu_percent", "50 %" },
};

const void *ktask_test_value_params(const void *prev, char *desc)
{
	const struct ktask_test_value *value;

	value = ktask_test_next(prev, desc, ktask_test_values,
				ARRAY_SIZE(ktask_test_values),
				sizeof(ktask_test_values[0]));
	if (value)
		snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s=%s", value->name,
			 value->value);
	return value;
}

void ktask_test_wrong_values(struct kunit *test)
{
	const struct ktask_test_value *p = test->param_value;
	int limit = ktask_test_helper_limit(NUMA_NO_NODE);
	char *before, *after;

	before = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	after = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, before);
	KUNIT_ASSERT_NOT_NULL(test, after);
	ktask_test_get_param(p->name, before);
	KUNIT_EXPECT_EQ(test, ktask_test_set_param(p->name, p->value), -EINVAL);
	ktask_test_get_param(p->name, after);
	KUNIT_EXPECT_STREQ(test, before, after);
	KUNIT_EXPECT_EQ(test, ktask_test_helper_limit(NUMA_NO_NODE), limit);
}

static const struct ktask_test_right {
	const char	*name;
	const char	*value;
	const char	*shown;
} ktask_test_right_rows[] = {
	{ "enabled", "0", "N\n" },
	{ "enabled", "1", "Y\n" },
	{ "enabled", "n\n", "N\n" },
	{ "enabled", "y\n", "Y\n" },
	{ "enabled", "N", "N\n" },
	{ "enabled", "Y", "Y\n" },
	{ "enabled", "off\n", "N\n" },
	{ "enabled", "on", "Y\n" },
	{ "max_threads", "1\n", "1\n" },
	{ "max_threads", "4294967295", "4294967295\n" },
	{ "cpu_percent", "0", "0\n" },
	{ "cpu_percent", "100\n", "100\n" },
};

void ktask_test_right_values(struct kunit *test)
{
	const struct ktask_test_right *right;
	char *shown;
	int i;

	shown = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, shown);
	for (i = 0; i < ARRAY_SIZE(ktask_test_right_rows); i++) {
		right = &ktask_test_right_rows[i];
		KUNIT_EXPECT_EQ_MSG(test,
				    ktask_test_set_param(right->name,
							 right->value),
				    0, "%s=%s", right->name, right->value);
		ktask_test_get_param(right->name, shown);
		KUNIT_EXPECT_STREQ(test, shown, right->shown);
	}
	/* The last one. */
	KUNIT_EXPECT_EQ(test, ktask_test_helper_limit(NUMA_NO_NODE),
			(int)num_online_cpus());
}

/* ---- While tasks run ---------------------------------------------------- */

static const struct ktask_test_lowered {
	const char	*desc;
	const char	*name;
	const char	*value;
	const char	*raised;
} ktask_test_lowered_rows[] = {
	{ "one helper", "cpu_percent", NULL, "80" },
	{ "cpu_percent=0", "cpu_percent", "0", "80" },
	{ "enabled=0", "enabled", "0", "1" },
};

const void *ktask_test_lower_params(const void *prev, char *desc)
{
	return ktask_test_next(prev, desc, ktask_test_lowered_rows,
			       ARRAY_SIZE(ktask_test_lowered_rows),
			       sizeof(ktask_test_lowered_rows[0]));
}

/* While all helpers are inside their chunks, there may be fewer or none any more. */
void ktask_test_limit_after_param(struct kunit *test)
{
	u64 left = ktask_stat_read(KTASK_STAT_HELPERS_LEFT_LIMIT);
	const struct ktask_test_lowered *p = test->param_value;
	int limit = p->value ? 0 : 1;
	struct ktask_test_lower *l;
	char one[8];

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	snprintf(one, sizeof(one), "%u",
		 DIV_ROUND_UP(100, num_online_cpus()));
	l = ktask_test_start_lower(test);
	KUNIT_EXPECT_EQ(test,
			ktask_test_set_param(p->name, p->value ? p->value : one),
			0);
	KUNIT_EXPECT_EQ(test, ktask_test_helper_limit(NUMA_NO_NODE), limit);
	l->left = left + l->first.want - 1 - limit;
	ktask_test_go_on_below(test, l, limit);
	KUNIT_EXPECT_GE(test, ktask_stat_read(KTASK_STAT_HELPERS_LEFT_LIMIT),
			l->left);
	KUNIT_EXPECT_EQ(test, ktask_test_set_param(p->name, p->raised), 0);
	ktask_test_end_lower(test, l);
}

/* A worker is on its way when the limit falls: it is told to stay out. */
static int ktask_test_on_its_way_body(struct ktask_test_job *job,
				      unsigned long start, unsigned long end)
{
	u64 *want = job->data;
	u64 detached;
	int nr;

	if (start)
		return KTASK_RETURN_SUCCESS;
	read_poll_timeout(atomic_read, nr, nr, 500, KTASK_TEST_LONG, false,
			  &ktask_test_gate_arrived);
	if (ktask_test_set_param("cpu_percent", "0"))
		ktask_test_bad(job, "cpu_percent", start, end);
	detached = ktask_stat_read(KTASK_STAT_HELPERS_DETACHED);
	ktask_test_open_gate();
	if (detached != *want)
		ktask_test_bad(job, "not detached", start, end);
	read_poll_timeout(ktask_test_nr_free_works, nr,
			  nr == ktask_test_nr_works(), 500, KTASK_TEST_LONG,
			  false);
	return KTASK_RETURN_SUCCESS;
}

void ktask_test_limit_while_queued(struct kunit *test)
{
	u64 want = ktask_stat_read(KTASK_STAT_HELPERS_DETACHED) + 1;
	u64 joined = ktask_stat_read(KTASK_STAT_HELPERS_JOINED);
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.leave_queued = true;
	ktask_test_close_gate(INT_MAX);
	job = ktask_test_simple(test, 200, 10, 2);
	job->body = ktask_test_on_its_way_body;
	job->data = &want;
	ktask_test_run_well(job);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_HELPERS_DETACHED),
			want);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_HELPERS_JOINED),
			joined);
}

void ktask_test_disabled_is_serial(struct kunit *test)
{
	u64 disabled = ktask_stat_read(KTASK_STAT_SERIAL_DISABLED);
	struct ktask_test_job *job;

	job = ktask_test_simple(test, 5000, 10, 0);
	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.force_cut = true;
	KUNIT_EXPECT_EQ(test, ktask_test_set_param("enabled", "off"), 0);
	ktask_test_run_well(job);
	KUNIT_EXPECT_EQ(test, atomic_read(&job->chunks), 1);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_SERIAL_DISABLED),
			disabled + 1);
}

/* No CPU is no CPU, whatever else is lifted before user space. */
void ktask_test_percent_before_user_space(struct kunit *test)
{
	u64 serial = ktask_stat_read(KTASK_STAT_SERIAL_LIMIT);
	struct ktask_test_job *job;
	int nid;

	ktask_test_hooks.ignore_load = true;
	ktask_test_hooks.early = 1;
	KUNIT_EXPECT_EQ(test, ktask_test_set_param("cpu_percent", "0"), 0);
	KUNIT_EXPECT_EQ(test, ktask_test_helper_limit(NUMA_NO_NODE), 0);
	for_each_online_node(nid)
		KUNIT_EXPECT_EQ(test, ktask_test_helper_limit(nid), 0);
	job = ktask_test_simple(test, 5000, 10, 2);
	ktask_test_run_well(job);
	KUNIT_EXPECT_EQ(test, atomic_read(&job->chunks), 1);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_SERIAL_LIMIT),
			serial + 1);
}

/* ---- The statistics ----------------------------------------------------- */

struct ktask_test_visits {
	int	want;
	int	came;
	int	seen;
};

/* The caller has the one helper leave, and another one come. */
static int ktask_test_visits_body(struct ktask_test_job *job,
				  unsigned long start, unsigned long end)
{
	struct ktask_test_visits *v = job->data;
	int nr;

	if (ktask_test_is_helper(job)) {
		usleep_range(500, 1000);
		return KTASK_RETURN_SUCCESS;
	}
	if (v->came == v->want)
		return KTASK_RETURN_SUCCESS;
	read_poll_timeout(atomic_read, nr, nr != v->seen, 500, KTASK_TEST_SHORT,
			  false, &job->helper_chunks);
	if (nr == v->seen)
		return KTASK_RETURN_SUCCESS;
	v->came++;
	if (ktask_test_set_param("cpu_percent", "0"))
		ktask_test_bad(job, "cpu_percent=0", start, end);
	read_poll_timeout(ktask_test_nr_helpers, nr, !nr, 500, KTASK_TEST_LONG,
			  false);
	v->seen = atomic_read(&job->helper_chunks);
	if (ktask_test_set_param("cpu_percent", "80"))
		ktask_test_bad(job, "cpu_percent=80", start, end);
	return KTASK_RETURN_SUCCESS;
}

/* Helpers that work one after the other are not so many threads at a time. */
void ktask_test_one_by_one(struct kunit *test)
{
	u64 most = max(ktask_stat_read(KTASK_STAT_MAX_THREADS), 2ULL);
	struct ktask_test_visits v = { .want = most + 2 };
	struct ktask_test_job *job;

	KTASK_TEST_REQUIRES(test, num_online_cpus() > 1);
	ktask_test_hooks.ignore_load = true;
	job = ktask_test_long_job(test);
	job->body = ktask_test_visits_body;
	job->data = &v;
	ktask_ctl_set_max_threads(&job->ctl, 2);
	ktask_test_run_well(job);
	KUNIT_EXPECT_EQ(test, v.came, v.want);
	KUNIT_EXPECT_EQ(test, ktask_stat_read(KTASK_STAT_MAX_THREADS), most);
}
