// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of maps of memory for VFIO, which pin and map in parallel: that the device
 * sees the right pages, how the IOMMU maps them, what is charged, and what is left
 * after errors.
 *
 * Needs root and groups with nothing but an "edu" device of QEMU, which can read and
 * write memory anywhere:
 *
 *	-M q35,kernel-irqchip=off -device intel-iommu,caching-mode=on
 *	-device edu,dma_mask=0xffffffffffffffff (twice), and intel_iommu=on on the
 *	command line
 *
 * What IOMMUs map comes from /sys/kernel/debug/iommu, and who made which chunk from
 * trace events.  Without ktask the rest has to hold.
 *
 * With --in-order as for IOMMU drivers that can't map concurrently.
 */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include "vfio.h"

#define MIB		0x100000UL
#define GIB		0x40000000UL
#define HUGE		(2 * MIB)

/* Above what 32 bits reach; a multiple of all sizes of pages. */
#define IOVA		(4 * GIB)
/* Four of the chunks into which maps are cut. */
#define SIZE		(128 * MIB)
/* In the middle of the last 512 pages, which would be pinned at once. */
#define ODD_PAGE	(SIZE - HUGE + 100 * 4096)
/* Maps in order are made in steps that end at multiples of 2 GiB: in the middle. */
#define IOVA_STEPS	(6 * GIB - SIZE / 2)

/* Rounds of the race of maps and unmaps, by so many threads. */
#define CHURN_ROUNDS	1000
#define CHURN_THREADS	4
/* To have help takes some luck: whoever else has the CPUs may keep them for a while. */
#define TRIES		200
/* So does it to be killed in the middle of a map, for so long. */
#define KILL_SECONDS	300
/* So many more of those that are to give up must do so than must not. */
#define KILL_LEAD	3

#define MAX_THREADS	"/sys/module/ktask/parameters/max_threads"
#define NO_HUGEPAGES	"/sys/module/vfio_iommu_type1/parameters/disable_hugepages"
#define IN_ORDER	"/sys/module/vfio_iommu_type1/parameters/disable_concurrent_map"
#define STATS		"/sys/kernel/debug/ktask/stats"
#define TRACING		"/sys/kernel/tracing/"
#define CHUNK_BEGIN	TRACING "events/ktask/ktask_chunk_begin/enable"
#define CHUNK_END	TRACING "events/ktask/ktask_chunk_end/enable"
#define TABLES		"/sys/kernel/debug/iommu/intel/domain_translation_struct"
#define NODE0_CPUS	"/sys/devices/system/node/node0/cpulist"
#define CGROUP		"/sys/fs/cgroup/ktask_vfio"
#define MTTY		"/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create"
#define MDEV_UUID	"6b746173-6b00-4000-8000-766669766f00"
#define MDEV		"/sys/bus/mdev/devices/" MDEV_UUID
/* The device of lib/test_vfio_pins.c, and what it pins. */
#define PINS		"test_vfio_pins"
#define PINS_DEVICE	"/sys/devices/platform/" PINS
#define PINS_IOVA	(IOVA + 3 * MIB)
#define PINS_PAGES	300
#define FAIL_NTH	"/proc/self/fail-nth"
#define FAIL_PAGES	"/sys/kernel/debug/fail_page_alloc/"

static bool have_ktask;
static bool in_order;

/* ---- Memory ------------------------------------------------------------- */

/* @size bytes of address space, aligned to 1 GiB. */
static char *reserve(size_t size)
{
	char *addr = mmap(NULL, size + GIB, PROT_NONE, MAP_PRIVATE |
			  MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *aligned = (char *)(((uintptr_t)addr + GIB - 1) & -GIB);

	if (addr == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	if (aligned > addr)
		munmap(addr, aligned - addr);
	munmap(aligned + size, addr + GIB - aligned);
	return aligned;
}

/* Memory that nobody has touched, in pages of the size that @advice leads to. */
static char *new_memory(size_t size, int advice)
{
	char *addr = reserve(size);

	if (mmap(addr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_FIXED, -1, 0) != addr ||
	    madvise(addr, size, advice))
		ksft_exit_fail_msg("%zu bytes: %s\n", size, strerror(errno));
	return addr;
}

/* What a page should hold. */
static uint64_t mark(const char *addr)
{
	return (uintptr_t)addr ^ 0x766669766f000000;
}

static void write_marks(char *addr, size_t size)
{
	char *at;

	for (at = addr; at < addr + size; at += page)
		*(uint64_t *)at = mark(at);
}

static char *new_marked(size_t size, int advice)
{
	char *addr = new_memory(size, advice);

	write_marks(addr, size);
	return addr;
}

/* ---- The device --------------------------------------------------------- */

#define EDU_SRC		0x80
#define EDU_DST		0x88
#define EDU_COUNT	0x90
#define EDU_CMD		0x98
#define EDU_START	1
#define EDU_TO_RAM	2
#define EDU_BUFFER	0x40000
#define EDU_BAR_SIZE	MIB

struct edu {
	int fd;
	char *bar;
};

/* The name of the only device of a group. */
static bool device_name(int nr, char *name)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices", nr);
	dir = opendir(path);
	if (!dir)
		return false;
	name[0] = 0;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			snprintf(name, 32, "%.31s", entry->d_name);
	}
	closedir(dir);
	return name[0];
}

static struct edu open_edu(struct group *group)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar) };
	struct vfio_region_info config = { .argsz = sizeof(config) };
	struct edu edu = { .bar = MAP_FAILED };
	uint16_t command;
	char name[32];

	bar.index = VFIO_PCI_BAR0_REGION_INDEX;
	config.index = VFIO_PCI_CONFIG_REGION_INDEX;
	if (!device_name(group->nr, name))
		ksft_exit_fail_msg("group %d has no device\n", group->nr);
	edu.fd = ioctl(group->fd, VFIO_GROUP_GET_DEVICE_FD, name);
	if (edu.fd < 0 || ioctl(edu.fd, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    ioctl(edu.fd, VFIO_DEVICE_GET_REGION_INFO, &config))
		ksft_exit_fail_msg("%s: %s\n", name, strerror(errno));

	/* It may master the bus. */
	if (pread(edu.fd, &command, 2, config.offset + 4) != 2)
		ksft_exit_fail_msg("%s: %s\n", name, strerror(errno));
	command |= 1 << 1 | 1 << 2;
	if (pwrite(edu.fd, &command, 2, config.offset + 4) == 2)
		edu.bar = mmap(NULL, EDU_BAR_SIZE, PROT_READ | PROT_WRITE,
			       MAP_SHARED, edu.fd, bar.offset);
	if (edu.bar == MAP_FAILED)
		ksft_exit_fail_msg("%s: %s\n", name, strerror(errno));
	return edu;
}

static void close_edu(struct edu *edu)
{
	munmap(edu->bar, EDU_BAR_SIZE);
	close(edu->fd);
}

static uint64_t *edu_register(struct edu *edu, int nr)
{
	return (uint64_t *)(edu->bar + nr);
}

static void edu_write(struct edu *edu, int nr, uint64_t value)
{
	__atomic_store_n(edu_register(edu, nr), value, __ATOMIC_SEQ_CST);
}

static void edu_copy(struct edu *edu, uint64_t src, uint64_t dst,
		     uint64_t command)
{
	uint64_t *cmd = edu_register(edu, EDU_CMD);
	int tries = 10000;

	edu_write(edu, EDU_SRC, src);
	edu_write(edu, EDU_DST, dst);
	edu_write(edu, EDU_COUNT, sizeof(uint64_t));
	edu_write(edu, EDU_CMD, command | EDU_START);
	while (__atomic_load_n(cmd, __ATOMIC_SEQ_CST) & EDU_START && tries--)
		usleep(1000);
	check(tries > 0, "the device does not end its DMA");
}

/* The device copies the mark of a page to the next but one word of the same page. */
static void check_dma_at(struct edu *edu, unsigned long iova, char *addr)
{
	uint64_t *copy = (uint64_t *)(addr + 16);
	uint64_t want = mark(addr), got;

	__atomic_store_n(copy, 0, __ATOMIC_SEQ_CST);
	edu_copy(edu, iova, EDU_BUFFER, 0);
	edu_copy(edu, EDU_BUFFER, iova + 16, EDU_TO_RAM);
	got = __atomic_load_n(copy, __ATOMIC_SEQ_CST);
	check(got == want, "at IOVA %#lx the device found %#lx, not %#lx",
	      iova, (long)got, (long)want);
}

/* At both ends, and on both sides of where chunks may meet. */
static void check_dma(struct edu *edu, unsigned long iova, char *addr,
		      size_t size)
{
	size_t at;

	check_dma_at(edu, iova, addr);
	for (at = SIZE / 4; at < size && at <= SIZE; at += SIZE / 4) {
		check_dma_at(edu, iova + at - page, addr + at - page);
		check_dma_at(edu, iova + at, addr + at);
	}
	check_dma_at(edu, iova + size - page, addr + size - page);
}

/* ---- The IOMMU's page table --------------------------------------------- */

/* An entry that maps memory: where it lies and on which level, 1 for 4 KiB. */
struct leaf {
	unsigned long pfn;
	unsigned long entry;
	int level;
};

struct table {
	struct leaf *leaves;
	long nr;
	long of_level[4];
};

static bool parse_leaf(const char *line, struct leaf *leaf)
{
	unsigned long entry[6];

	if (sscanf(line, "%lx | %lx %lx %lx %lx %lx", &leaf->pfn, &entry[5],
		   &entry[4], &entry[3], &entry[2], &entry[1]) != 6)
		return false;
	for (leaf->level = 1; leaf->level < 3; leaf->level++) {
		if (entry[leaf->level])
			break;
	}
	leaf->entry = entry[leaf->level];
	return true;
}

/* What of @size bytes from @iova on is mapped for the device of a group. */
static struct table read_table(struct group *group, unsigned long iova,
			       size_t size)
{
	bool ours = false, found = false;
	struct table table = {};
	char name[32], word[32];
	struct leaf leaf;
	size_t max = 0;
	char *line = NULL;
	size_t len = 0;
	FILE *file;

	file = fopen(TABLES, "r");
	if (!file || !device_name(group->nr, name))
		ksft_exit_fail_msg(TABLES ": %s\n", strerror(errno));
	while (getline(&line, &len, file) > 0) {
		if (sscanf(line, "Device %31s", word) == 1) {
			ours = !strcmp(word, name);
			found |= ours;
		}
		if (!ours || !parse_leaf(line, &leaf) ||
		    leaf.pfn < iova / page || leaf.pfn >= (iova + size) / page)
			continue;
		if (table.nr == max) {
			max = max ? 2 * max : 1024;
			table.leaves = realloc(table.leaves, max * sizeof(leaf));
		}
		table.leaves[table.nr++] = leaf;
		table.of_level[leaf.level]++;
	}
	fclose(file);
	free(line);
	check(found, "device %s is not in " TABLES, name);
	return table;
}

static void free_table(struct table *table)
{
	free(table->leaves);
	table->leaves = NULL;
}

static void check_same_table(struct table *one, struct table *two)
{
	long i;

	check(one->nr == two->nr,
	      "%ld + %ld + %ld entries of 4 KiB, 2 MiB and 1 GiB, not %ld + %ld + %ld",
	      two->of_level[1], two->of_level[2], two->of_level[3],
	      one->of_level[1], one->of_level[2], one->of_level[3]);
	for (i = 0; i < one->nr && i < two->nr; i++) {
		check(one->leaves[i].pfn == two->leaves[i].pfn &&
		      one->leaves[i].level == two->leaves[i].level &&
		      one->leaves[i].entry == two->leaves[i].entry,
		      "entry %ld: pfn %#lx level %d %#lx, not %#lx %d %#lx", i,
		      two->leaves[i].pfn, two->leaves[i].level,
		      two->leaves[i].entry, one->leaves[i].pfn,
		      one->leaves[i].level, one->leaves[i].entry);
	}
}

#define check_unmapped(group, iova, size)				\
	check_unmapped_at(group, iova, size, __LINE__)

static void check_unmapped_at(struct group *group, unsigned long iova,
			      size_t size, int line)
{
	struct table table = read_table(group, iova, size);

	check(!table.nr, "line %d: %ld entries are left", line, table.nr);
	free_table(&table);
}

#define check_pins(want)	check_pins_at(want, __LINE__)

static void check_pins_at(long want, int line)
{
	long got = pins();

	check(got >= 0 && got == want, "line %d: %ld pins, not %ld", line, got,
	      want);
}

/* ---- Chunks ------------------------------------------------------------- */

struct chunks {
	long caller;
	long helper;
	long done;	/* by helpers, without an error */
	long cuts;	/* that lie inside of the range */
	long odd;	/* cuts that are no multiple of the alignment */
	/* Of helpers, from when the first chunk was given up for a signal: */
	long stopped;	/* given up as well */
	long went_on;	/* done to the end */
};

static void watch_chunks(bool on)
{
	const char *text = on ? "1" : "0";

	if (!have_ktask)
		return;
	if (!write_file(CHUNK_BEGIN, text) || !write_file(CHUNK_END, text))
		ksft_exit_fail_msg(CHUNK_BEGIN ": %s\n", strerror(errno));
}

static void forget_chunks(void)
{
	close(open(TRACING "trace", O_WRONLY | O_TRUNC));
}

static void count_begin(struct chunks *chunks, bool helper, unsigned long start,
			unsigned long first, size_t align)
{
	if (helper)
		chunks->helper++;
	else
		chunks->caller++;
	if (start == first)
		return;
	chunks->cuts++;
	chunks->odd += start % (align / page) != 0;
}

static void count_end(struct chunks *chunks, bool helper, int error,
		      bool *signalled)
{
	*signalled |= error == -EINTR;
	if (!helper)
		return;
	chunks->done += !error;
	chunks->stopped += *signalled && error == -EINTR;
	chunks->went_on += *signalled && !error;
}

/* Who made chunks of a range since forget_chunks(), and where they were cut. */
static struct chunks read_chunks(unsigned long iova, size_t size, size_t align)
{
	FILE *file = fopen(TRACING "trace", "r");
	struct chunks chunks = {};
	unsigned long start, end;
	char line[512], *at, by[16];
	bool signalled = false;
	int error, fields;

	while (file && fgets(line, sizeof(line), file)) {
		at = strstr(line, "start=");
		if (!at)
			continue;
		fields = sscanf(at, "start=%lx end=%lx by=%15s error=%d",
				&start, &end, by, &error);
		if (fields < 3 || start < iova / page ||
		    end > (iova + size) / page)
			continue;
		if (fields == 3)
			count_begin(&chunks, !strcmp(by, "helper"), start,
				    iova / page, align);
		else
			count_end(&chunks, !strcmp(by, "helper"), error,
				  &signalled);
	}
	if (file)
		fclose(file);
	return chunks;
}

/* One of ktask's counters; 0 where there is no ktask. */
static long ktask_stat(const char *name)
{
	FILE *file = have_ktask ? fopen(STATS, "r") : NULL;
	long value, found = 0;
	char key[64];

	while (file && fscanf(file, "%63s %ld", key, &value) == 2) {
		if (!strcmp(key, name))
			found = value;
	}
	if (file)
		fclose(file);
	return found;
}

static void set_max_threads(const char *threads)
{
	if (have_ktask && !write_file(MAX_THREADS, threads))
		ksft_exit_fail_msg(MAX_THREADS ": %s\n", strerror(errno));
}

static char admins_threads[16] = "16";

static void remember_max_threads(void)
{
	FILE *file = fopen(MAX_THREADS, "r");

	if (file && fscanf(file, "%15s", admins_threads) != 1)
		strcpy(admins_threads, "16");
	if (file)
		fclose(file);
}

/* Before try number @nr of something that needs help. */
static void before_try(int nr)
{
	/* Whatever has the CPUs may be done with them after a while. */
	usleep(nr < 20 ? nr * 5000 : 100000);
	if (have_ktask)
		forget_chunks();
}

/* Should there be one more of something that needs help, of what is at IOVA? */
static bool one_more_try(int nr)
{
	if (nr && (!have_ktask || read_chunks(IOVA, SIZE, HUGE).done))
		return false;
	if (nr == TRIES) {
		check(false, "no helper did a chunk");
		return false;
	}
	before_try(nr);
	return true;
}

/* ---- Children ----------------------------------------------------------- */

/* Runs @func in a child; what it checks counts.  Its maps stay. */
static void in_child(void (*func)(void))
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

/* ---- What is mapped ----------------------------------------------------- */

static void map_and_check(struct group *group, unsigned long iova)
{
	size_t pages = SIZE / page;
	char *addr = new_memory(SIZE, MADV_HUGEPAGE);
	struct edu edu = open_edu(group);
	long before = pins();

	check(!vfio_map(group - groups, addr, iova, pages), "map: %s",
	      strerror(errno));
	check(vm_lck() == pages, "VmLck %ld", vm_lck());
	check_pins(before + pages);
	/* What is written now the device must see: these are the pages. */
	write_marks(addr, SIZE);
	check_dma(&edu, iova, addr, SIZE);
	check(vfio_unmap(group - groups, iova, pages) == pages, "unmap");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	check_pins(before);
	check_unmapped(group, iova, SIZE);
	munmap(addr, SIZE);
	close_edu(&edu);
}

static void test_device(void)
{
	map_and_check(&groups[0], IOVA);
	map_and_check(&groups[0], IOVA_STEPS);
}

/* Type1 of version 1: to unmap the first page of a map unmaps all of it. */
static void test_device_v1(void)
{
	size_t pages = SIZE / page;
	char *addr;

	close_group(&groups[0]);
	check(open_group(&groups[0], VFIO_TYPE1_IOMMU), "v1: %s",
	      strerror(errno));
	map_and_check(&groups[0], IOVA);

	addr = new_marked(SIZE, MADV_HUGEPAGE);
	check(!vfio_map(0, addr, IOVA, pages), "map: %s", strerror(errno));
	check(vfio_unmap(0, IOVA + page, 1) == 0, "unmap of the middle");
	check(vm_lck() == pages, "VmLck %ld", vm_lck());
	check(vfio_unmap(0, IOVA, 1) == pages, "unmap of the first page");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	munmap(addr, SIZE);

	close_group(&groups[0]);
	check(open_group(&groups[0], VFIO_TYPE1v2_IOMMU), "v2: %s",
	      strerror(errno));
}

/*
 * The IOMMU's page table must be the same, entry by entry, whether one thread made
 * it or several did.
 */
static void check_table(char *addr, unsigned long iova, size_t size,
			size_t align)
{
	struct table serial, parallel;
	struct chunks chunks = {};
	size_t pages = size / page;
	int i;

	set_max_threads("1");
	check(!vfio_map(0, addr, iova, pages), "map: %s", strerror(errno));
	serial = read_table(&groups[0], iova, size);
	check(vfio_unmap(0, iova, pages) == pages, "unmap");
	set_max_threads(admins_threads);

	for (i = 0; i < TRIES && (!chunks.helper || !chunks.caller); i++) {
		before_try(i);
		check(!vfio_map(0, addr, iova, pages), "map: %s",
		      strerror(errno));
		parallel = read_table(&groups[0], iova, size);
		check_same_table(&serial, &parallel);
		free_table(&parallel);
		check(vm_lck() == pages, "VmLck %ld", vm_lck());
		/* Before there are those of the unmap, too. */
		chunks = read_chunks(iova, size, align);
		check(vfio_unmap(0, iova, pages) == pages, "unmap");
		if (!have_ktask)
			break;
		check(!chunks.odd, "%ld of %ld cuts are no multiples of %#zx",
		      chunks.odd, chunks.cuts, align);
	}
	check(!have_ktask || (chunks.helper && chunks.caller && chunks.cuts),
	      "chunks: %ld by the caller, %ld by helpers, %ld cuts inside",
	      chunks.caller, chunks.helper, chunks.cuts);
	ksft_print_msg("%zu MiB at IOVA %#lx: entries %ld + %ld + %ld, %ld cuts, %d tries\n",
		       size / MIB, iova, serial.of_level[1], serial.of_level[2],
		       serial.of_level[3], chunks.cuts, i);
	free_table(&serial);
}

static long huge_entries(char *addr, unsigned long iova, size_t size)
{
	struct table table;
	long nr;

	check(!vfio_map(0, addr, iova, size / page), "map: %s", strerror(errno));
	table = read_table(&groups[0], iova, size);
	nr = table.of_level[2];
	free_table(&table);
	vfio_unmap(0, iova, size / page);
	return nr;
}

static void test_table_4k(void)
{
	char *addr = new_marked(SIZE, MADV_NOHUGEPAGE);

	check_table(addr, IOVA, SIZE, HUGE);
	munmap(addr, SIZE);
}

static void test_table_2m(void)
{
	char *addr = new_marked(SIZE, MADV_HUGEPAGE);

	/* Or there were nothing to see. */
	check(huge_entries(addr, IOVA, SIZE) == SIZE / HUGE,
	      "%ld entries of 2 MiB", huge_entries(addr, IOVA, SIZE));
	check_table(addr, IOVA, SIZE, HUGE);
	munmap(addr, SIZE);
}

/* What begins and ends in a huge page. */
static void test_table_2m_inside(void)
{
	char *addr = new_marked(SIZE, MADV_HUGEPAGE);

	check_table(addr + page, IOVA + page, SIZE - 2 * page, HUGE);
	munmap(addr, SIZE);
}

/* Huge pages that the IOMMU can't map as such. */
static void test_table_2m_misaligned(void)
{
	char *addr = new_marked(SIZE, MADV_HUGEPAGE);

	check_table(addr, IOVA + page, SIZE, HUGE);
	munmap(addr, SIZE);
}

static char *gigantic;

static bool map_gigantic(char *addr, size_t size)
{
	return mmap(addr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB | 30 << 26, -1,
		    0) == addr;
}

static const char *no_gigantic(void)
{
	char *addr;

	if (gigantic)
		return NULL;
	addr = reserve(2 * GIB);
	if (!map_gigantic(addr, 2 * GIB))
		return "needs two free pages of 1 GiB";
	gigantic = addr;
	return NULL;
}

static void unmap_2g(void)
{
	check(vfio_unmap(0, IOVA, 2 * GIB / page) == 2 * GIB / page, "unmap");
	check_unmapped(&groups[0], IOVA, 2 * GIB);
}

static void close_and_open(void)
{
	close_group(&groups[0]);
	check(open_group(&groups[0], VFIO_TYPE1v2_IOMMU), "open: %s",
	      strerror(errno));
}

/* Cut where the IOMMU's largest pages end; @end ends it by threads or by one. */
static void check_ended(char *addr, void (*end)(void))
{
	struct chunks chunks = {};
	long before = pins();
	int i;

	for (i = 0; i < TRIES && !chunks.done; i++) {
		check(!vfio_map(0, addr, IOVA, 2 * GIB / page), "map: %s",
		      strerror(errno));
		check(vm_lck() == 2 * GIB / page, "VmLck %ld", vm_lck());
		before_try(i);
		end();
		check(vm_lck() == 0, "VmLck %ld", vm_lck());
		check_pins(before);
		if (!have_ktask)
			return;
		chunks = read_chunks(IOVA, 2 * GIB, GIB);
		check(!chunks.odd, "%ld cuts inside of a page", chunks.odd);
		if (in_order)
			break;
	}
	check(in_order ? !chunks.caller && !chunks.helper : chunks.done,
	      "%ld chunks by helpers, %ld by the caller", chunks.helper,
	      chunks.caller);
}

static void test_unmap_1g(void)
{
	check_ended(gigantic, unmap_2g);
}

/* The same memory again and again, which takes less. */
static char *new_copies(void)
{
	int fd = memfd_create("copies", MFD_CLOEXEC);
	char *addr = reserve(2 * GIB);
	size_t at;

	if (fd < 0 || ftruncate(fd, SIZE))
		ksft_exit_fail_msg("memfd: %s\n", strerror(errno));
	for (at = 0; at < 2 * GIB; at += SIZE) {
		if (mmap(addr + at, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED |
			 MAP_FIXED, fd, 0) != addr + at)
			ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	}
	close(fd);
	return addr;
}

static void test_unmap_4k(void)
{
	char *addr = new_copies();

	check_ended(addr, unmap_2g);
	munmap(addr, 2 * GIB);
}

static void test_table_1g(void)
{
	struct table table;

	check(!vfio_map(0, gigantic, IOVA, 2 * GIB / page), "map: %s",
	      strerror(errno));
	table = read_table(&groups[0], IOVA, 2 * GIB);
	check(table.nr == 2 && table.of_level[3] == 2, "%ld entries", table.nr);
	free_table(&table);
	check(vfio_unmap(0, IOVA, 2 * GIB / page) == 2 * GIB / page, "unmap");
	check_table(gigantic, IOVA, 2 * GIB, GIB);
}

/* The IOMMU can map them as 2 MiB only, so they may be cut there. */
static void test_table_1g_misaligned(void)
{
	check_table(gigantic, IOVA + HUGE, 2 * GIB, HUGE);
}

/* One page of 1 GiB does not decide on the cuts of what lies beside it. */
static void test_table_1g_beside(void)
{
	char *addr = reserve(GIB + SIZE);

	/* Not a part of it: lockdep of 6.1 finds fault with splitting such a vma. */
	munmap(gigantic, 2 * GIB);
	gigantic = NULL;
	if (!map_gigantic(addr, GIB) ||
	    mmap(addr + GIB, SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
	    addr + GIB) {
		check(false, "mmap: %s", strerror(errno));
		return;
	}
	madvise(addr + GIB, SIZE, MADV_HUGEPAGE);
	write_marks(addr + GIB, SIZE);
	check_table(addr, IOVA, GIB + SIZE, HUGE);
	munmap(addr + GIB, SIZE);
	munmap(addr, GIB);
}

/* ---- What is charged ---------------------------------------------------- */

/* An ordinary user maps; root looks who helped. */
static void be_user(uid_t uid)
{
	if (setresuid(-1, uid, -1))
		ksft_exit_fail_msg("setresuid: %s\n", strerror(errno));
}

static char *limit_memory(bool touched)
{
	return touched ? new_marked(SIZE, MADV_HUGEPAGE) :
			 new_memory(SIZE, MADV_NOHUGEPAGE);
}

/* One page too many, which several threads find out, leaves nothing. */
static void check_too_many(bool touched)
{
	size_t pages = SIZE / page;
	long before = pins();
	char *addr;
	int i;

	set_limit(pages - 1);
	for (i = 0; one_more_try(i); i++) {
		addr = limit_memory(touched);
		be_user(NOBODY);
		check(vfio_map(0, addr, IOVA, pages) && errno == ENOMEM,
		      "one page too many: %s", strerror(errno));
		be_user(0);
		check(vm_lck() == 0, "VmLck %ld", vm_lck());
		check_pins(before);
		munmap(addr, SIZE);
	}
}

/* As many pages as may be, which several threads charge. */
static void check_as_many(bool touched)
{
	size_t pages = SIZE / page;
	long before = pins();
	char *addr;
	int i;

	set_limit(pages);
	for (i = 0; one_more_try(i); i++) {
		addr = limit_memory(touched);
		be_user(NOBODY);
		check(!vfio_map(0, addr, IOVA, pages), "as many as may be: %s",
		      strerror(errno));
		check(vm_lck() == pages, "VmLck %ld", vm_lck());
		check(vfio_map(0, addr, IOVA + SIZE, 1) && errno == ENOMEM,
		      "one more: %s", strerror(errno));
		be_user(0);
		check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
		check(vm_lck() == 0, "VmLck %ld", vm_lck());
		check_pins(before);
		munmap(addr, SIZE);
	}
}

static void limit_child(void)
{
	char *addr;

	check_too_many(false);
	check_too_many(true);
	check_as_many(false);
	check_as_many(true);
	/* The last that is mapped and is not: what is left, the parent looks for. */
	addr = new_marked(SIZE, MADV_HUGEPAGE);
	set_limit(SIZE / page - 1);
	be_user(NOBODY);
	check(vfio_map(0, addr, IOVA, SIZE / page), "one page too many");
}

static void test_limit(void)
{
	in_child(limit_child);
	check_unmapped(&groups[0], IOVA, SIZE);
}

/* CAP_IPC_LOCK: no limit, and charged all the same. */
static void lock_cap_child(void)
{
	char *addr = new_marked(SIZE, MADV_HUGEPAGE);
	size_t pages = SIZE / page;

	set_limit(1);
	check(!vfio_map(0, addr, IOVA, pages), "map: %s", strerror(errno));
	check(vm_lck() == pages, "VmLck %ld", vm_lck());
	check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
}

static void test_lock_cap(void)
{
	in_child(lock_cap_child);
}

static int map_read_only(char *addr, size_t pages)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ,
		.vaddr = (uintptr_t)addr,
		.iova = IOVA,
		.size = pages * page,
	};

	return ioctl(groups[0].container, VFIO_IOMMU_MAP_DMA, &map);
}

/* Half of the range is the zero page, which does not count. */
static void test_zero_page(void)
{
	char *addr = new_memory(SIZE, MADV_NOHUGEPAGE);
	size_t pages = SIZE / page;
	unsigned char sum = 0;
	long before = pins();
	size_t at;
	int i;

	write_marks(addr, SIZE / 2);
	for (at = SIZE / 2; at < SIZE; at += page)
		sum |= __atomic_load_n(addr + at, __ATOMIC_RELAXED);
	check(!sum && !mprotect(addr, SIZE, PROT_READ), "mprotect: %s",
	      strerror(errno));
	for (i = 0; one_more_try(i); i++) {
		check(!map_read_only(addr, pages), "map: %s", strerror(errno));
		check(vm_lck() == pages / 2, "VmLck %ld of %ld", vm_lck(),
		      pages / 2);
		check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
		check(vm_lck() == 0, "VmLck %ld", vm_lck());
		check_pins(before);
	}
	munmap(addr, SIZE);
}

/* A device's registers in the middle of memory: mapped by the caller, not counted. */
static void test_registers(void)
{
	char *addr = new_marked(SIZE, MADV_HUGEPAGE);
	struct edu edu = open_edu(&groups[0]);
	size_t pages = SIZE / page;
	long before = pins();
	struct chunks chunks;

	check(mremap(edu.bar, EDU_BAR_SIZE, EDU_BAR_SIZE,
		     MREMAP_MAYMOVE | MREMAP_FIXED, addr + SIZE / 2) ==
	      addr + SIZE / 2, "mremap: %s", strerror(errno));
	edu.bar = addr + SIZE / 2;
	before_try(0);
	check(!vfio_map(0, addr, IOVA, pages), "map: %s", strerror(errno));
	chunks = read_chunks(IOVA, SIZE, HUGE);
	check(!chunks.helper && !chunks.caller,
	      "%ld chunks by helpers, %ld by the caller", chunks.helper,
	      chunks.caller);
	check(vm_lck() == pages - EDU_BAR_SIZE / page, "VmLck %ld", vm_lck());
	check_dma_at(&edu, IOVA, addr);
	check_dma_at(&edu, IOVA + SIZE - page, addr + SIZE - page);
	check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	check_pins(before);
	close_edu(&edu);
	munmap(addr, SIZE);
}

/* Closing the container gives back all that is mapped. */
static void test_close(void)
{
	char *addr = new_marked(SIZE, MADV_HUGEPAGE);
	size_t pages = SIZE / page;
	long before = pins();

	check(!vfio_map(0, addr, IOVA, pages), "map: %s", strerror(errno));
	close_and_open();
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	check_pins(before);
	munmap(addr, SIZE);

	addr = new_copies();
	check_ended(addr, close_and_open);
	munmap(addr, 2 * GIB);
}

/* ---- Whose memory helpers take ------------------------------------------ */

static const char *no_second_node(void)
{
	return access("/sys/devices/system/node/node1", F_OK) ?
	       "needs two nodes" : NULL;
}

static void run_on_node0(void)
{
	FILE *file = fopen(NODE0_CPUS, "r");
	int first, last, cpu, fields;
	cpu_set_t set;

	fields = file ? fscanf(file, "%d-%d", &first, &last) : 0;
	if (fields < 1)
		ksft_exit_fail_msg(NODE0_CPUS ": not a range\n");
	if (fields < 2)
		last = first;
	fclose(file);
	CPU_ZERO(&set);
	for (cpu = first; cpu <= last; cpu++)
		CPU_SET(cpu, &set);
	check(!sched_setaffinity(0, sizeof(set), &set), "affinity: %s",
	      strerror(errno));
}

/* How many pages are not on @node? */
static long strays(char *addr, size_t size, int node)
{
	size_t i, nr = size / page;
	void **pages = calloc(nr, sizeof(*pages));
	int *status = calloc(nr, sizeof(*status));
	long strays = 0;

	for (i = 0; i < nr; i++)
		pages[i] = addr + i * page;
	check(!syscall(SYS_move_pages, 0, nr, pages, NULL, status, 0),
	      "move_pages: %s", strerror(errno));
	for (i = 0; i < nr; i++)
		strays += status[i] != node;
	free(pages);
	free(status);
	return strays;
}

/* Maps memory that nobody has touched until helpers had a part in it. */
static void map_untouched(void (*look)(char *addr))
{
	size_t pages = SIZE / page;
	char *addr;
	int i;

	for (i = 0; one_more_try(i); i++) {
		addr = new_memory(SIZE, MADV_NOHUGEPAGE);
		check(!vfio_map(0, addr, IOVA, pages), "map: %s",
		      strerror(errno));
		look(addr);
		check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
		munmap(addr, SIZE);
	}
}

static void look_at_node1(char *addr)
{
	long nr = strays(addr, SIZE, 1);

	check(!nr, "%ld pages are not on the node of the policy", nr);
}

/* The caller and its helpers are on node 0, and all memory has to be on node 1. */
static void policy_child(void)
{
	unsigned long nodes = 1 << 1;

	run_on_node0();
	check(!syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 8 * sizeof(nodes)),
	      "set_mempolicy: %s", strerror(errno));
	map_untouched(look_at_node1);
}

static void test_policy(void)
{
	in_child(policy_child);
}

static const char *no_memcg(void)
{
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	rmdir(CGROUP);
	if (mkdir(CGROUP, 0755) || access(CGROUP "/memory.stat", R_OK))
		return "no memory controller of version 2";
	return NULL;
}

static long memcg_stat(const char *name)
{
	FILE *file = fopen(CGROUP "/memory.stat", "r");
	long value, found = -1;
	char key[64];

	while (file && fscanf(file, "%63s %ld", key, &value) == 2) {
		if (!strcmp(key, name))
			found = value;
	}
	if (file)
		fclose(file);
	return found;
}

static long anon_before, tables_before;

/* Each page, and each page table, which maps 512 of them. */
static void look_at_memcg(char *addr)
{
	/* Counts of a CPU that are not summed up yet. */
	long slack = 64 * page * sysconf(_SC_NPROCESSORS_ONLN);
	long anon, tables, end = seconds_from_now(10);

	(void)addr;
	/* Others are summed up by and by. */
	do {
		anon = memcg_stat("anon") - anon_before;
		tables = memcg_stat("pagetables") - tables_before;
	} while ((anon < (long)SIZE - slack || tables < (long)(SIZE / 512)) &&
		 !has_passed(end) && !usleep(100000));
	check(anon >= (long)SIZE - slack, "%ld bytes of %lu are charged", anon,
	      SIZE);
	check(tables >= (long)(SIZE / 512), "%ld bytes of page tables of %lu",
	      tables, SIZE / 512);
}

static void memcg_child(void)
{
	check(write_file(CGROUP "/cgroup.procs", "0"), "cgroup.procs: %s",
	      strerror(errno));
	anon_before = memcg_stat("anon");
	tables_before = memcg_stat("pagetables");
	map_untouched(look_at_memcg);
}

static void test_memcg(void)
{
	int tries = 100;

	in_child(memcg_child);
	while (rmdir(CGROUP) && tries--)
		usleep(50000);
}

/* ---- Errors ------------------------------------------------------------- */

static int map_size(char *addr, unsigned long iova, size_t size, int flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.vaddr = (uintptr_t)addr,
		.iova = iova,
		.size = size,
	};

	return ioctl(groups[0].container, VFIO_IOMMU_MAP_DMA, &map) ? errno : 0;
}

static void test_errors(void)
{
	int both = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
	char *addr = new_marked(SIZE, MADV_HUGEPAGE);
	static const size_t offsets[] = {
		0, 4096, SIZE / 2, SIZE - 4096
	};
	unsigned int i;

	check(!map_size(addr, IOVA, SIZE, both), "map: %s", strerror(errno));
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		check(map_size(addr, IOVA + offsets[i], SIZE, both) == EEXIST,
		      "overlap at %#zx", offsets[i]);
		check(map_size(addr, IOVA - SIZE + offsets[i] + page, SIZE,
			       both) == EEXIST, "overlap at -%#zx", offsets[i]);
	}
	check(map_size(addr, IOVA - GIB, 4 * GIB, both) == EEXIST, "around it");
	check(vfio_unmap(0, IOVA + SIZE / 2, SIZE / 2 / page) == -1,
	      "unmap of a half");
	check(map_size(addr, -SIZE, 2 * SIZE, both) == EINVAL, "IOVA wraps");
	check(map_size((char *)-SIZE, 2 * IOVA, 2 * SIZE, both) == EINVAL,
	      "address wraps");
	check(map_size(addr, 1UL << 62, SIZE, both) == EINVAL,
	      "more than the IOMMU can address");
	check(map_size((char *)(1UL << 62), 2 * IOVA, SIZE, both) == EFAULT,
	      "no user's address");
	check(map_size(addr, 2 * IOVA, 0, both) == EINVAL, "no size");
	check(map_size(addr, 2 * IOVA, SIZE + 1, both) == EINVAL, "odd size");
	check(map_size(addr, 2 * IOVA + 1, SIZE, both) == EINVAL, "odd IOVA");
	check(map_size(addr + 1, 2 * IOVA, SIZE, both) == EINVAL, "odd address");
	check(map_size(addr, 2 * IOVA, SIZE, 0) == EINVAL, "no access");
	check(vm_lck() == SIZE / page, "VmLck %ld", vm_lck());
	check(vfio_unmap(0, IOVA, SIZE / page) == SIZE / page, "unmap");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	munmap(addr, SIZE);
}

/*
 * What can't be mapped somewhere in a range is an error, and nothing stays, until it
 * came to pass that a helper had done a chunk, and chunks were undone.  With more than
 * one helper all would still be in their first chunk when one of them fails.
 */
static void check_undone(char *addr, unsigned long iova, const char *what)
{
	long before = pins(), undone = 0;
	struct chunks chunks = {};
	int i;

	set_max_threads("2");
	for (i = 0; i < TRIES && !(chunks.done && undone); i++) {
		before_try(i);
		undone = ktask_stat("undo_calls");
		check(vfio_map(0, addr, iova, SIZE / page) && errno == EFAULT,
		      "%s: %s", what, strerror(errno));
		undone = ktask_stat("undo_calls") - undone;
		check(vm_lck() == 0, "%s: VmLck %ld", what, vm_lck());
		check_pins(before);
		check_unmapped(&groups[0], iova, SIZE);
		if (!have_ktask)
			break;
		chunks = read_chunks(iova, SIZE, HUGE);
	}
	set_max_threads(admins_threads);
	check(!have_ktask || (chunks.done && undone),
	      "%s: nothing that helpers did was undone", what);
}

static void test_hole(void)
{
	static const size_t holes[] = {
		SIZE - 4096, SIZE / 4 * 3 + 4096, SIZE / 4 * 3 - 4096,
		SIZE / 8 * 5
	};
	unsigned int i;
	char *addr;

	for (i = 0; i < ARRAY_SIZE(holes); i++) {
		addr = new_marked(SIZE, MADV_HUGEPAGE);
		munmap(addr + holes[i], page);
		check_undone(addr, IOVA, "hole");
		munmap(addr, SIZE);
	}
	/* In the second step, after the first one has been mapped. */
	addr = new_marked(SIZE, MADV_HUGEPAGE);
	munmap(addr + SIZE - page, page);
	check_undone(addr, IOVA_STEPS, "hole at the end");
	munmap(addr, SIZE);
	/* Memory that may not be written. */
	addr = new_marked(SIZE, MADV_HUGEPAGE);
	mprotect(addr + SIZE / 4 * 3 + page, page, PROT_READ);
	check_undone(addr, IOVA, "read-only page");
	/* And all is well again without it. */
	mprotect(addr + SIZE / 4 * 3 + page, page, PROT_READ | PROT_WRITE);
	check(!vfio_map(0, addr, IOVA, SIZE / page), "map: %s", strerror(errno));
	check(vfio_unmap(0, IOVA, SIZE / page) == SIZE / page, "unmap");
	munmap(addr, SIZE);
}

/*
 * May be executed, not read.  As a protection key may stand for that, with which pages
 * look different, take the one that allows all.
 */
static bool make_unreadable(char *addr)
{
	return !syscall(SYS_pkey_mprotect, addr, page, PROT_EXEC, 0) ||
	       !mprotect(addr, page, PROT_EXEC);
}

/* Of present pages only vmas tell that they may not be pinned. */
static void test_unreadable(void)
{
	char *addr = new_marked(SIZE, MADV_NOHUGEPAGE);
	char *odd = addr + ODD_PAGE;
	long before = pins();
	int i;

	check(make_unreadable(odd), "mprotect: %s", strerror(errno));
	for (i = 0; i < 5; i++) {
		check(map_read_only(addr, SIZE / page) && errno == EFAULT,
		      "map: %s", strerror(errno));
		check(vm_lck() == 0, "VmLck %ld", vm_lck());
		check_pins(before);
		check_unmapped(&groups[0], IOVA, SIZE);
	}
	mprotect(odd, page, PROT_READ);
	check(!map_read_only(addr, SIZE / page), "map: %s", strerror(errno));
	check(vfio_unmap(0, IOVA, SIZE / page) == SIZE / page, "unmap");
	munmap(addr, SIZE);
}

static const char *no_userfaultfd(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	close(fd);
	return fd < 0 ? "no userfaultfd" : NULL;
}

/*
 * Pages that user space would have to provide, by somebody who waits for the map.  Some
 * in front of them are there, so that who pins does not come upon a new area.
 */
static void test_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	char *addr = new_memory(SIZE, MADV_NOHUGEPAGE);

	write_marks(addr + SIZE / 4 * 3, SIZE / 8);
	reg.range.start = (uintptr_t)addr + SIZE / 4 * 3 + page;
	reg.range.len = SIZE / 4 - page;
	check(!ioctl(fd, UFFDIO_API, &api) &&
	      !ioctl(fd, UFFDIO_REGISTER, &reg), "userfaultfd: %s",
	      strerror(errno));
	check_undone(addr, IOVA, "userfaultfd");
	close(fd);
	munmap(addr, SIZE);
}

/* ---- Signals ------------------------------------------------------------ */

/* Long enough to be killed in. */
static size_t kill_size(void)
{
	return (slow_kernel() ? 2 : 4) * SIZE;
}

/* How far a child is that maps memory to be killed. */
enum { KILL_NOT_YET, KILL_MAPS, KILL_MAPPED };
static int *kill_state;

static void init_kill_state(void)
{
	if (kill_state)
		return;
	kill_state = mmap(NULL, page, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (kill_state == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
}

static int get_kill_state(void)
{
	return __atomic_load_n(kill_state, __ATOMIC_SEQ_CST);
}

static void set_kill_state(int state)
{
	__atomic_store_n(kill_state, state, __ATOMIC_SEQ_CST);
}

/* Pages that are present: to fault in looks for signals by itself. */
static void killed_child(void)
{
	char *addr = new_marked(kill_size(), MADV_NOHUGEPAGE);

	set_kill_state(KILL_MAPS);
	vfio_map(0, addr, IOVA, kill_size() / page);
	set_kill_state(KILL_MAPPED);
	pause();
}

static long now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = {};

	return waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) ||
	       info.si_pid;
}

/*
 * Kills a process @delay microseconds after it began, or as soon as it is done.  Returns
 * how long it was let live, and in @killed whether it was under way.
 */
static long kill_child(void (*func)(void), long delay, bool *killed)
{
	long start;
	pid_t pid;

	set_kill_state(KILL_NOT_YET);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		func();
		_exit(0);
	}
	while (get_kill_state() == KILL_NOT_YET && !has_ended(pid))
		usleep(1000);
	start = now_us();
	while (get_kill_state() == KILL_MAPS && now_us() - start < delay &&
	       !has_ended(pid))
		usleep(100);
	delay = now_us() - start;
	kill(pid, SIGKILL);
	check(waitpid(pid, NULL, 0) == pid, "waitpid: %s", strerror(errno));
	*killed = get_kill_state() == KILL_MAPS;
	return delay;
}

/* All is mapped, which the death of who did it does not change, or nothing is. */
static long kill_in_map(long delay, bool *killed)
{
	size_t pages = kill_size() / page;
	long unmapped;

	delay = kill_child(killed_child, delay, killed);
	unmapped = vfio_unmap(0, IOVA, pages);
	check(unmapped == 0 || unmapped == pages, "%ld pages were mapped",
	      unmapped);
	*killed = !unmapped;
	return delay;
}

/*
 * Helpers give up the chunks that they are in, all but a few that were at the end of
 * theirs anyway.  Without helpers, something has to be killed in the middle.
 */
static void test_killed(void)
{
	long stopped = 0, went_on = 0, before, length, deaths = 0;
	long end = seconds_from_now(KILL_SECONDS);
	struct chunks chunks;
	bool killed;
	int i;

	init_kill_state();
	before = pins();
	length = kill_in_map(LONG_MAX, &killed);
	for (i = 0; stopped - went_on < KILL_LEAD && !has_passed(end); i++) {
		before_try(0);
		/* In order, helpers are gone once all is pinned. */
		kill_in_map(length * (i % (in_order ? 4 : 8) + 1) / 10,
			    &killed);
		deaths += killed;
		check_pins(before);
		check_unmapped(&groups[0], IOVA, kill_size());
		if (!have_ktask && deaths)
			break;
		chunks = read_chunks(IOVA, kill_size(), HUGE);
		stopped += chunks.stopped;
		went_on += chunks.went_on;
	}
	check(deaths, "none of %d maps was killed in the middle", i);
	check(!have_ktask || stopped - went_on >= KILL_LEAD,
	      "of helpers, %ld stopped and %ld went on", stopped, went_on);
	ksft_print_msg("%ld of %d maps killed, of helpers %ld stopped and %ld went on\n",
		       deaths, i, stopped, went_on);
}

/* ---- Files -------------------------------------------------------------- */

/* A page of a file that is neither shmem nor hugetlbfs, which can be written. */
static bool put_file(char *addr)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	return mmap(addr, page, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_FIXED, fd, 0) == addr;
}

/* Somebody has to provide the page, and nobody can kill a helper that waits for it. */
static void test_file(void)
{
	char *addr = new_memory(SIZE, MADV_NOHUGEPAGE);
	size_t pages = SIZE / page;
	struct chunks chunks;
	int i;

	for (i = 0; i < 5; i++) {
		before_try(i);
		check(put_file(addr + SIZE / 4 * 3), "mmap: %s",
		      strerror(errno));
		check(!vfio_map(0, addr, IOVA, pages), "map: %s",
		      strerror(errno));
		check(vm_lck() == pages, "VmLck %ld", vm_lck());
		check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
		chunks = read_chunks(IOVA, SIZE, HUGE);
		check(!chunks.helper && !chunks.caller,
		      "%ld chunks by helpers, %ld by the caller", chunks.helper,
		      chunks.caller);
		madvise(addr, SIZE, MADV_DONTNEED);
	}
	munmap(addr, SIZE);
}

static bool file_map_done;

/* Waits until the first page of what is mapped is there, and then puts in a file's. */
static void *replacer(void *arg)
{
	unsigned char present = 0;
	char *addr = arg;

	while (!(present & 1) &&
	       !__atomic_load_n(&file_map_done, __ATOMIC_RELAXED)) {
		if (mincore(addr, page, &present)) {
			check(false, "mincore: %s", strerror(errno));
			break;
		}
	}
	check(put_file(addr + ODD_PAGE), "mmap: %s", strerror(errno));
	return NULL;
}

/*
 * The page is a file's, in the middle of what would be pinned at once, after the
 * caller has looked: who meets it gives up, the map starts again, and succeeds.
 */
static void test_file_now_and_then(void)
{
	long before = pins(), errors = 0;
	size_t pages = SIZE / page;
	pthread_t thread;
	char *addr;
	int i;

	for (i = 0; i < TRIES && !errors; i++) {
		before_try(i);
		addr = new_memory(SIZE, MADV_NOHUGEPAGE);
		errors = ktask_stat("errors");
		file_map_done = false;
		pthread_create(&thread, NULL, replacer, addr);
		check(!vfio_map(0, addr, IOVA, pages), "map: %s",
		      strerror(errno));
		__atomic_store_n(&file_map_done, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		errors = ktask_stat("errors") - errors;
		check(vm_lck() == pages, "VmLck %ld", vm_lck());
		check_pins(before + pages);
		check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
		check_pins(before);
		munmap(addr, SIZE);
		if (!have_ktask)
			break;
	}
	check(!have_ktask || errors, "nobody gave up for the file");
}

/* ---- What else VFIO can do ---------------------------------------------- */

static const char *no_parameter(void)
{
	return access(NO_HUGEPAGES, W_OK) ? "no " NO_HUGEPAGES : NULL;
}

/* In order it is for the caller alone. */
static void test_disable_hugepages(void)
{
	char *addr = new_marked(SIZE, MADV_HUGEPAGE);
	size_t pages = SIZE / page;
	struct table table;
	int i;

	forget_chunks();
	for (i = 0; in_order ? !i : one_more_try(i); i++) {
		check(write_file(NO_HUGEPAGES, "Y"), "%s", strerror(errno));
		check(!vfio_map(0, addr, IOVA, pages), "map: %s",
		      strerror(errno));
		check(write_file(NO_HUGEPAGES, "N"), "%s", strerror(errno));
		table = read_table(&groups[0], IOVA, SIZE);
		check(table.of_level[1] == pages, "%ld entries of 4 KiB, of %ld",
		      table.of_level[1], table.nr);
		free_table(&table);
		check(vm_lck() == pages, "VmLck %ld", vm_lck());
		check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
		check(vm_lck() == 0, "VmLck %ld", vm_lck());
	}
	check(!in_order || !read_chunks(IOVA, SIZE, HUGE).caller,
	      "not by the caller alone");
	munmap(addr, SIZE);
}

static int dirty_pages(unsigned int what, uint64_t *bits)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get get;
	} arg = {
		.head.argsz = sizeof(arg),
		.head.flags = what,
		.get.iova = IOVA,
		.get.size = SIZE,
		.get.bitmap.pgsize = page,
		.get.bitmap.size = SIZE / page / 8,
		.get.bitmap.data = (__u64 *)bits,
	};

	if (what != VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP)
		arg.head.argsz = sizeof(arg.head);
	return ioctl(groups[0].container, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

/* The device may have written to all that is mapped. */
static void test_dirty(void)
{
	char *addr = new_marked(SIZE, MADV_HUGEPAGE);
	size_t at, nr = SIZE / page / 64, dirty;
	uint64_t *bits = calloc(nr, sizeof(*bits));
	int i;

	check(!dirty_pages(VFIO_IOMMU_DIRTY_PAGES_FLAG_START, NULL), "start: %s",
	      strerror(errno));
	for (i = 0; one_more_try(i); i++) {
		memset(bits, 0, nr * sizeof(*bits));
		check(!vfio_map(0, addr, IOVA, SIZE / page), "map: %s",
		      strerror(errno));
		check(!dirty_pages(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, bits),
		      "get: %s", strerror(errno));
		for (at = 0, dirty = 0; at < nr; at++)
			dirty += __builtin_popcountll(bits[at]);
		check(dirty == SIZE / page, "%zu dirty pages", dirty);
		check(vfio_unmap(0, IOVA, SIZE / page) == SIZE / page, "unmap");
		check(vm_lck() == 0, "VmLck %ld", vm_lck());
	}
	check(!dirty_pages(VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP, NULL), "stop: %s",
	      strerror(errno));
	free(bits);
	munmap(addr, SIZE);
}

static void invalidate_vaddr(void)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.flags = VFIO_DMA_UNMAP_FLAG_VADDR,
		.iova = IOVA,
		.size = SIZE,
	};

	check(!ioctl(groups[0].container, VFIO_IOMMU_UNMAP_DMA, &unmap) &&
	      unmap.size == SIZE, "invalidate: %s", strerror(errno));
}

/* The same pages at another address: what is charged and pinned stays. */
static void test_vaddr(void)
{
	char *addr = new_marked(SIZE, MADV_HUGEPAGE), *moved = reserve(SIZE);
	size_t pages = SIZE / page;
	long before = pins();

	check(!vfio_map(0, addr, IOVA, pages), "map: %s", strerror(errno));
	invalidate_vaddr();
	check(mremap(addr, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, moved) ==
	      moved, "mremap: %s", strerror(errno));
	check(map_size(moved, IOVA, SIZE, VFIO_DMA_MAP_FLAG_VADDR) == 0,
	      "validate: %s", strerror(errno));
	check(vm_lck() == pages, "VmLck %ld", vm_lck());
	check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	check_pins(before);
	munmap(moved, SIZE);
}

static char *shared;

/* The new owner is charged for all that somebody else had others pin. */
static void owner_child(void)
{
	size_t pages = SIZE / page;

	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	check(map_size(shared, IOVA, SIZE, VFIO_DMA_MAP_FLAG_VADDR) == 0,
	      "validate: %s", strerror(errno));
	check(vm_lck() == pages, "VmLck %ld", vm_lck());
	check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
}

/* What has been pinned counts as its new owner's, no matter which thread pinned it. */
static void test_owner(void)
{
	size_t pages = SIZE / page;
	long before = pins();
	int i;

	shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED |
		      MAP_ANONYMOUS, -1, 0);
	check(shared != MAP_FAILED, "mmap: %s", strerror(errno));
	for (i = 0; one_more_try(i); i++) {
		check(!vfio_map(0, shared, IOVA, pages), "map: %s",
		      strerror(errno));
		check(vm_lck() == pages, "VmLck %ld", vm_lck());
		invalidate_vaddr();
		in_child(owner_child);
		check(vm_lck() == 0, "VmLck %ld", vm_lck());
		check_pins(before);
	}
	munmap(shared, SIZE);
}

/* The number of the group of a device, by its directory in sysfs. */
static int group_of(const char *device)
{
	char link[128], path[128] = "", *name;
	ssize_t len;

	snprintf(link, sizeof(link), "%s/iommu_group", device);
	len = readlink(link, path, sizeof(path) - 1);
	name = len > 0 ? strrchr(path, '/') : NULL;
	return name ? atoi(name + 1) : -1;
}

static const char *no_mdev(void)
{
	if (access(MDEV, F_OK) && !write_file(MTTY, MDEV_UUID))
		return "no mdev device of mtty";
	return group_of(MDEV) < 0 ? "the mdev device has no group" : NULL;
}

static const char *no_pins(void)
{
	return group_of(PINS_DEVICE) < 0 ? "no device " PINS : NULL;
}

/* Starts over with a container that has a device without an IOMMU and no other. */
static struct group open_emulated(const char *device)
{
	struct group group = { .nr = group_of(device) };

	close_group(&groups[0]);
	check(open_group(&group, VFIO_TYPE1v2_IOMMU), "group %d: %s", group.nr,
	      strerror(errno));
	groups[0].container = dup(group.container);
	groups[0].fd = open_group_file(groups[0].nr);
	return group;
}

static void close_emulated(struct group *group)
{
	close_group(&groups[0]);
	close_group(group);
	check(open_group(&groups[0], VFIO_TYPE1v2_IOMMU), "open: %s",
	      strerror(errno));
}

static int join_container(void)
{
	return ioctl(groups[0].fd, VFIO_GROUP_SET_CONTAINER,
		     &groups[0].container);
}

static void leave_container(void)
{
	check(!ioctl(groups[0].fd, VFIO_GROUP_UNSET_CONTAINER), "leave: %s",
	      strerror(errno));
}

/*
 * A container with a mediated device alone pins nothing.  When a real device joins
 * it, what has been mapped is pinned and mapped for that; when it leaves, all of that
 * is taken back.
 */
static void test_replay(void)
{
	char *addr = new_marked(SIZE, MADV_HUGEPAGE);
	struct group mdev = open_emulated(MDEV);
	size_t pages = SIZE / page;
	long before = pins();
	struct edu edu;

	check(!vfio_map(0, addr, IOVA, pages), "map: %s", strerror(errno));
	check(vm_lck() == 0, "VmLck %ld", vm_lck());

	check(!join_container(), "join: %s", strerror(errno));
	check(vm_lck() == pages, "VmLck %ld", vm_lck());
	edu = open_edu(&groups[0]);
	check_dma(&edu, IOVA, addr, SIZE);
	close_edu(&edu);
	leave_container();
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	check_pins(before);
	check(vfio_unmap(0, IOVA, pages) == pages, "unmap");

	close_emulated(&mdev);
	munmap(addr, SIZE);
}

/* Memory that its own page table maps, so that it is pinned without a fault. */
static void joining_child(void)
{
	write_marks(shared, kill_size());
	set_kill_state(KILL_MAPS);
	join_container();
	set_kill_state(KILL_MAPPED);
	pause();
}

/* A device that joins has all memory pinned, by who can be killed meanwhile. */
static void test_killed_join(void)
{
	struct group mdev = open_emulated(MDEV);
	long length, deaths = 0, joined = 0, end = seconds_from_now(KILL_SECONDS);
	size_t pages = kill_size() / page;
	long before = pins();
	bool killed;
	int i;

	init_kill_state();
	shared = mmap(NULL, kill_size(), PROT_READ | PROT_WRITE, MAP_SHARED |
		      MAP_ANONYMOUS, -1, 0);
	check(!vfio_map(0, shared, IOVA, pages), "map: %s", strerror(errno));
	length = kill_child(joining_child, LONG_MAX, &killed);
	leave_container();
	for (i = 0; deaths - 2 * joined < KILL_LEAD && !has_passed(end); i++) {
		kill_child(joining_child, length * (i % 4 + 1) / 10, &killed);
		deaths += killed;
		/* What has joined can't do so again. */
		if (killed && join_container())
			joined++;
		leave_container();
		check(vm_lck() == 0, "VmLck %ld", vm_lck());
		check_pins(before);
	}
	check(deaths - 2 * joined >= KILL_LEAD,
	      "of %d, %ld were killed, and %ld joined all the same", i, deaths,
	      joined);
	ksft_print_msg("%ld of %d killed, of which %ld joined to the end\n",
		       deaths, i, joined);
	check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
	munmap(shared, kill_size());
	close_emulated(&mdev);
}

static void have_pinned(int fd, uint64_t iova, uint64_t nr)
{
	uint64_t request[2] = { iova, nr };

	check(pwrite(fd, request, sizeof(request), 0) == sizeof(request),
	      "%lu pages: %s", (long)nr, strerror(errno));
}

/*
 * Pages that a driver has had pinned are pinned once more for a device that joins, but
 * they count once: also where that fails, with a hole on either side of them.
 */
static void check_counted_once(char *addr, long before)
{
	static const size_t holes[] = { SIZE / 2, MIB };
	size_t pages = SIZE / page;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(holes); i++) {
		munmap(addr + holes[i], page);
		check(join_container() && errno == EFAULT, "join: %s",
		      strerror(errno));
		check(vm_lck() == PINS_PAGES, "VmLck %ld", vm_lck());
		check_pins(before + PINS_PAGES);
		check(mmap(addr + holes[i], page, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		      addr + holes[i], "mmap: %s", strerror(errno));
	}
	check(!join_container(), "join: %s", strerror(errno));
	check(vm_lck() == pages, "VmLck %ld", vm_lck());
	check_pins(before + pages + PINS_PAGES);
	leave_container();
	check(vm_lck() == PINS_PAGES, "VmLck %ld", vm_lck());
	check_pins(before + PINS_PAGES);
}

static void test_pinned(void)
{
	char *addr = new_marked(SIZE, MADV_NOHUGEPAGE);
	struct group group = open_emulated(PINS_DEVICE);
	size_t pages = SIZE / page;
	long before = pins();
	int fd;

	fd = ioctl(group.fd, VFIO_GROUP_GET_DEVICE_FD, PINS);
	check(fd >= 0, "device: %s", strerror(errno));
	check(!vfio_map(0, addr, IOVA, pages), "map: %s", strerror(errno));
	have_pinned(fd, PINS_IOVA, PINS_PAGES);
	check(vm_lck() == PINS_PAGES, "VmLck %ld", vm_lck());
	check_pins(before + PINS_PAGES);

	check_counted_once(addr, before);

	have_pinned(fd, 0, 0);
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	check_pins(before);
	check(vfio_unmap(0, IOVA, pages) == pages, "unmap");
	close(fd);
	close_emulated(&group);
	munmap(addr, SIZE);
}

/* ---- Memory that is not to be had --------------------------------------- */

static const char *no_fail_nth(void)
{
	return access(FAIL_NTH, W_OK) || access(FAIL_PAGES "min-order", W_OK) ?
	       "needs CONFIG_FAIL_PAGE_ALLOC" : NULL;
}

/* Has one allocation of this thread fail, the @nr-th from here on; 0: none. */
static void fail_nth(int nr)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", nr);
	check(write_file(FAIL_NTH, text), FAIL_NTH ": %s", strerror(errno));
}

static bool has_failed(void)
{
	FILE *file = fopen(FAIL_NTH, "r");
	int left = 0;

	if (file && fscanf(file, "%d", &left) != 1)
		left = -1;
	if (file)
		fclose(file);
	return !left;
}

/*
 * One allocation of the caller fails, for the IOMMU's page table for example.  The map
 * may do without, but if it fails nothing stays.
 */
static void check_no_memory(char *addr, unsigned long iova)
{
	size_t pages = SIZE / page;
	long before = pins();
	int nr, error, maps = 0, errors = 0;
	bool failed = true;

	/* The first few one by one, and of the many tables some. */
	for (nr = 1; failed; nr += nr < 8 ? 1 : 7) {
		fail_nth(nr);
		error = vfio_map(0, addr, iova, pages) ? errno : 0;
		failed = has_failed();
		fail_nth(0);
		check(!error || error == ENOMEM, "map: %s", strerror(error));
		check(vm_lck() == (error ? 0 : pages), "VmLck %ld", vm_lck());
		if (!error)
			check(vfio_unmap(0, iova, pages) == pages, "unmap");
		check_pins(before);
		check_unmapped(&groups[0], iova, SIZE);
		errors += error == ENOMEM;
		maps++;
	}
	check(errors > 2, "%d of %d maps failed", errors, maps);
	ksft_print_msg("%d of %d maps failed for a page\n", errors, maps);
}

static void test_no_memory(void)
{
	char *addr = new_marked(SIZE, MADV_NOHUGEPAGE);

	write_file(FAIL_PAGES "min-order", "0");
	write_file(FAIL_PAGES "ignore-gfp-wait", "N");
	write_file(FAIL_PAGES "verbose", "0");
	check_no_memory(addr, IOVA);
	check_no_memory(addr, IOVA_STEPS);
	set_max_threads("1");
	check_no_memory(addr, IOVA);
	set_max_threads(admins_threads);
	munmap(addr, SIZE);
}

/* ---- Races -------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	int nr;
	unsigned int seed;
	char *addr;
};

static int churn_rounds;
static long churn_maps;

/* Maps and unmaps memory of its own, at IOVAs of its own, and tries some others. */
static void *churn_worker(void *arg)
{
	struct worker *worker = arg;
	int group = worker->nr % nr_groups;
	unsigned long iova = IOVA + worker->nr * GIB;
	size_t first, pages;

	while (__atomic_fetch_sub(&churn_rounds, 1, __ATOMIC_RELAXED) > 0) {
		first = rand_r(&worker->seed) % 2048;
		pages = SIZE / page - first - rand_r(&worker->seed) % 16384;
		if (vfio_map(group, worker->addr + first * page,
			     iova + first * page, pages)) {
			check(false, "map: %s", strerror(errno));
			continue;
		}
		check(vfio_map(group, worker->addr, iova + (first + pages - 1) *
			       page, 8192) && errno == EEXIST, "overlap: %s",
		      strerror(errno));
		check(vfio_unmap(group, iova, GIB / page) == pages, "unmap");
		__atomic_add_fetch(&churn_maps, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void test_churn(void)
{
	struct worker workers[CHURN_THREADS] = {};
	int i, rounds = rounds_here(CHURN_ROUNDS);
	long before, helped = ktask_stat("helper_chunks");

	churn_rounds = rounds;
	churn_maps = 0;
	for (i = 0; i < CHURN_THREADS; i++) {
		workers[i].nr = i;
		workers[i].seed = i + 1;
		workers[i].addr = new_marked(SIZE, i % 2 ? MADV_HUGEPAGE :
							   MADV_NOHUGEPAGE);
	}
	before = pins();
	for (i = 0; i < CHURN_THREADS; i++)
		pthread_create(&workers[i].thread, NULL, churn_worker,
			       &workers[i]);
	for (i = 0; i < CHURN_THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		munmap(workers[i].addr, SIZE);
	}
	check(vm_lck() == 0, "VmLck %ld", vm_lck());
	check_pins(before);
	check(churn_maps == rounds, "%ld maps of %d", churn_maps, rounds);
	check(!have_ktask || ktask_stat("helper_chunks") > helped,
	      "no helper did a chunk");
	for (i = 0; i < nr_groups; i++)
		check_unmapped(&groups[i], IOVA, CHURN_THREADS * GIB);
}

/* ---- Main --------------------------------------------------------------- */

static const struct test_case cases[] = {
	{ "the device sees the pages", test_device },
	{ "the device sees the pages of a v1 container", test_device_v1 },
	{ "4 KiB pages are mapped as by one thread", test_table_4k },
	{ "2 MiB pages are mapped as by one thread", test_table_2m },
	{ "parts of 2 MiB pages are mapped as by one thread",
	  test_table_2m_inside },
	{ "misaligned 2 MiB pages are mapped as by one thread",
	  test_table_2m_misaligned },
	{ "1 GiB pages are mapped as by one thread", test_table_1g,
	  no_gigantic },
	{ "misaligned 1 GiB pages are mapped as by one thread",
	  test_table_1g_misaligned, no_gigantic },
	{ "4 KiB pages beside one of 1 GiB are cut at 2 MiB",
	  test_table_1g_beside, no_gigantic },
	{ "1 GiB pages are unmapped as they were mapped", test_unmap_1g,
	  no_gigantic },
	{ "4 KiB pages are unmapped by threads", test_unmap_4k },
	{ "the limit is exact", test_limit },
	{ "CAP_IPC_LOCK lifts the limit", test_lock_cap },
	{ "the zero page does not count", test_zero_page },
	{ "registers do not count", test_registers },
	{ "closing gives all back", test_close },
	{ "memory comes by the callers policy", test_policy, no_second_node },
	{ "memory is charged to the callers group", test_memcg, no_memcg },
	{ "errors", test_errors },
	{ "a hole undoes all", test_hole },
	{ "memory that cannot be read", test_unreadable },
	{ "userfaultfd undoes all", test_userfaultfd, no_userfaultfd },
	{ "a killed map undoes all", test_killed },
	{ "files are for the caller alone", test_file },
	{ "a file that comes and goes", test_file_now_and_then },
	{ "disable_hugepages", test_disable_hugepages, no_parameter },
	{ "dirty pages", test_dirty },
	{ "memory that moves", test_vaddr },
	{ "memory with a new owner", test_owner },
	{ "a device that joins", test_replay, no_mdev },
	{ "a device that joins while its user is killed", test_killed_join,
	  no_mdev },
	{ "pages that a driver has pinned count once", test_pinned, no_pins },
	{ "no memory undoes all", test_no_memory, no_fail_nth },
	{ "maps and unmaps at the same time", test_churn },
};

int main(int argc, char **argv)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	in_order = argc > 1 && !strcmp(argv[1], "--in-order");

	page = sysconf(_SC_PAGESIZE);
	cases_begin();
	if (geteuid())
		ksft_exit_skip("needs root\n");
	if (access(TABLES, R_OK))
		ksft_exit_skip("no " TABLES "\n");
	/* Before there is a group for the child to keep open. */
	start_pins_child();
	open_groups();
	if (!nr_groups)
		ksft_exit_skip("%s\n", no_group);
	if (pins() < 0)
		ksft_exit_fail_msg("pinned pages can't be counted\n");
	if (in_order && !write_file(IN_ORDER, "Y"))
		ksft_exit_skip("no " IN_ORDER "\n");

	have_ktask = !access(MAX_THREADS, W_OK);
	if (access(TRACING "trace", W_OK))
		mount("none", TRACING, "tracefs", 0, NULL);
	setrlimit(RLIMIT_MEMLOCK, &all);
	remember_max_threads();
	watch_chunks(true);

	ksft_print_msg("%d groups, %s%s\n", nr_groups,
		       have_ktask ? "ktask" : "no ktask",
		       in_order ? ", in order" : "");
	run_cases(cases, ARRAY_SIZE(cases));

	watch_chunks(false);
	if (in_order)
		write_file(IN_ORDER, "N");
	ksft_finished();
}
