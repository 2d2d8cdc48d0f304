// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs in a guest whose clock counts instructions: what maps of 512 MiB for a device
 * take.  Linked statically, since that guest has no libraries.  Needs one CPU, root
 * and scripts/vm --iommu.
 *
 * Prints "count vfio.KIND ns=NANOSECONDS" for a map and "count vfio.unmap_KIND ..." for
 * what takes it back, with KIND one of tests/guest/vfio that takes no hugetlbfs.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <linux/vfio.h>

#define SIZE		(512UL << 20)
#define IOVA		(4UL << 30)
#define ALIGN		(1UL << 30)

static int container;

static void check(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void open_container(void)
{
	int id = open("/sys/bus/pci/drivers/vfio-pci/new_id", O_WRONLY);
	struct dirent *entry;
	int group = -1;
	char path[32];
	DIR *dir;

	check(id >= 0 && write(id, "1234 11e8", 9) == 9, "new_id");
	close(id);
	dir = opendir("/dev/vfio");
	check(!!dir, "/dev/vfio");
	while (group < 0 && (entry = readdir(dir))) {
		if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
			continue;
		snprintf(path, sizeof(path), "/dev/vfio/%.16s", entry->d_name);
		group = open(path, O_RDWR);
	}
	container = open("/dev/vfio/vfio", O_RDWR);
	check(group >= 0 && container >= 0, "group");
	check(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) &&
	      !ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "container");
}

static void count(const char *kind, int advice, int touched)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.iova = IOVA,
		.size = SIZE,
	};
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = IOVA,
		.size = SIZE,
	};
	long long began, took;
	char *all, *memory;

	all = mmap(NULL, SIZE + ALIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	check(all != MAP_FAILED, "mmap");
	memory = (char *)(((uintptr_t)all + ALIGN - 1) & -ALIGN);
	check(!madvise(memory, SIZE, advice), "madvise");
	if (touched)
		memset(memory, 1, SIZE);
	map.vaddr = (uintptr_t)memory;
	began = now();
	check(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map), "map");
	took = now() - began;
	printf("count vfio.%s ns=%lld\n", kind, took);
	began = now();
	check(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) &&
	      unmap.size == SIZE, "unmap");
	took = now() - began;
	printf("count vfio.unmap_%s ns=%lld\n", kind, took);
	fflush(stdout);
	munmap(all, SIZE + ALIGN);
}

int main(void)
{
	open_container();
	/* The first map is not like the others: page tables have to be made. */
	count("first", MADV_HUGEPAGE, 1);
	count("untouched", MADV_NOHUGEPAGE, 0);
	count("touched", MADV_NOHUGEPAGE, 1);
	count("THP", MADV_HUGEPAGE, 0);
	count("touched_THP", MADV_HUGEPAGE, 1);
	return 0;
}
