// SPDX-License-Identifier: GPL-2.0-only
/*
 * ktask_test_pages.c - what the boot left of deferred struct page init
 */

#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/page-flags.h>
#include <linux/sched.h>

#include "ktask_test.h"

/* What a walk over a zone's span found. */
struct ktask_test_pages {
	unsigned long	others;		/* in use, of zones that overlap */
	unsigned long	pages;
	unsigned long	reserved;
	unsigned long	bad;
	unsigned long	first_bad;
	const char	*what;
};

static const char *ktask_test_page_error(struct page *page, unsigned long pfn)
{
	struct zone *zone;

	if (PagePoisoned(page))
		return "was never initialised";
	if (page_to_nid(page) >= nr_node_ids || !node_online(page_to_nid(page)))
		return "has a wrong node";
	zone = page_zone(page);
	/*
	 * Holes before a zone, which the firmware kept for itself, are given to
	 * it by init_unavailable_range(), reserved and outside its span.
	 */
	if (!zone_spans_pfn(zone, pfn) && !PageReserved(page))
		return "is outside its zone";
	if (page_to_pfn(page) != pfn)
		return "has a wrong section";
#ifdef SECTION_IN_PAGE_FLAGS
	if (page_to_section(page) != pfn_to_section_nr(pfn))
		return "has a wrong section number";
#endif
	return NULL;
}

/*
 * Walk all of a zone's span.  Spans of nodes whose memory is interleaved
 * overlap: then a page may belong to any that has it in its span.
 */
static struct ktask_test_pages ktask_test_walk_zone(struct zone *zone)
{
	struct ktask_test_pages p = {};
	unsigned long pfn;
	struct page *page;
	const char *what;

	for (pfn = zone->zone_start_pfn; pfn < zone_end_pfn(zone); pfn++) {
		if (pfn % PAGES_PER_SECTION == 0)
			cond_resched();
		page = pfn_to_online_page(pfn);
		if (!page)
			continue;
		what = ktask_test_page_error(page, pfn);
		if (what) {
			if (!p.bad++) {
				p.first_bad = pfn;
				p.what = what;
			}
			continue;
		}
		if (page_zone(page) != zone) {
			/* A hole belongs to the zone that follows it. */
			p.others += !PageReserved(page);
			continue;
		}
		p.pages++;
		p.reserved += PageReserved(page);
	}
	return p;
}

/* Calls @func for each zone that has memory. */
static void ktask_test_each_zone(struct kunit *test,
				 void (*func)(struct kunit *test,
					      struct zone *zone))
{
	struct zone *zone;
	int nid, i;

	for_each_online_node(nid) {
		for (i = 0; i < MAX_NR_ZONES; i++) {
			zone = &NODE_DATA(nid)->node_zones[i];
			if (populated_zone(zone))
				func(test, zone);
		}
	}
}

/* Does another zone span part of what @zone spans? */
static bool ktask_test_zone_shared(struct zone *zone)
{
	struct zone *other;
	int nid, i;

	for_each_online_node(nid) {
		for (i = 0; i < MAX_NR_ZONES; i++) {
			other = &NODE_DATA(nid)->node_zones[i];
			if (other != zone && populated_zone(other) &&
			    other->zone_start_pfn < zone_end_pfn(zone) &&
			    zone->zone_start_pfn < zone_end_pfn(other))
				return true;
		}
	}
	return false;
}

static void ktask_test_check_zone(struct kunit *test, struct zone *zone)
{
	struct ktask_test_pages p = ktask_test_walk_zone(zone);

	KUNIT_EXPECT_EQ_MSG(test, p.bad, 0,
			    "node %d zone %s: pfn %lu %s, the first of %lu",
			    zone_to_nid(zone), zone->name, p.first_bad, p.what,
			    p.bad);
	if (!ktask_test_zone_shared(zone))
		KUNIT_EXPECT_EQ_MSG(test, p.others, 0,
				    "node %d zone %s: pages of other zones",
				    zone_to_nid(zone), zone->name);
	KUNIT_EXPECT_GE_MSG(test, p.pages, zone->present_pages,
			    "node %d zone %s", zone_to_nid(zone), zone->name);
}

void ktask_test_every_page_initialised(struct kunit *test)
{
	ktask_test_each_zone(test, ktask_test_check_zone);
}

/*
 * Early boot initialises some pages as reserved, all others belong to the page
 * allocator: it must have been given each of them, and once.
 */
static void ktask_test_check_managed(struct kunit *test, struct zone *zone)
{
	struct ktask_test_pages p = ktask_test_walk_zone(zone);

	KUNIT_EXPECT_EQ_MSG(test, p.pages - p.reserved,
			    zone_managed_pages(zone),
			    "node %d zone %s: of %lu pages %lu are reserved",
			    zone_to_nid(zone), zone->name, p.pages, p.reserved);
}

void ktask_test_pages_add_up(struct kunit *test)
{
	ktask_test_each_zone(test, ktask_test_check_managed);
}
