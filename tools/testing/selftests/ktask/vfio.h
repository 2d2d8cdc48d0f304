/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests that map memory for VFIO share: groups, maps, and counts of what
 * is pinned and charged.
 *
 * Included by one .c file a program, which sets `page`.
 */
#ifndef KTASK_VFIO_H
#define KTASK_VFIO_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <linux/vfio.h>

#include "cases.h"

#define MAX_GROUPS	4
#define NOBODY		65534

static size_t page;

/* ---- Counts ------------------------------------------------------------- */

/* A number, in pages, out of /proc/self/status.  Safe in any thread. */
static inline long status_pages(const char *field)
{
	char buf[4096], *at;
	ssize_t len;
	int fd;

	fd = open("/proc/self/status", O_RDONLY);
	if (fd < 0)
		return -1;
	len = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (len <= 0)
		return -1;
	buf[len] = 0;
	at = strstr(buf, field);
	if (!at)
		return -1;
	return strtoul(at + strlen(field), NULL, 10) * 1024 / page;
}

static inline long vm_lck(void)
{
	return status_pages("VmLck:");
}

static inline void set_limit(unsigned long pages)
{
	struct rlimit rlim;

	getrlimit(RLIMIT_MEMLOCK, &rlim);
	rlim.rlim_cur = pages * page;
	if (setrlimit(RLIMIT_MEMLOCK, &rlim))
		ksft_exit_fail_msg("setrlimit(%lu pages): %s\n", pages,
				   strerror(errno));
}

static inline void *map_pages(size_t pages, int flags)
{
	return mmap(NULL, pages * page, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

/*
 * Pages that the whole system has pinned.  The counters are exact only after a
 * write to stat_refresh, which takes root; so a child that keeps root counts.
 */
static int pins_fd = -1;

static inline long count_pins(void)
{
	static const char acquired[] = "nr_foll_pin_acquired ";
	static const char released[] = "nr_foll_pin_released ";
	char line[128];
	long count = 0;
	FILE *file;
	int fd;

	fd = open("/proc/sys/vm/stat_refresh", O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		return -1;
	close(fd);
	file = fopen("/proc/vmstat", "r");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, acquired, strlen(acquired)))
			count += atol(line + strlen(acquired));
		if (!strncmp(line, released, strlen(released)))
			count -= atol(line + strlen(released));
	}
	fclose(file);
	return count;
}

static inline void start_pins_child(void)
{
	int fds[2];
	long count;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
		return;
	if (!fork()) {
		close(fds[0]);
		/* Ends with its parent, whose end of the socket is closed. */
		while (read(fds[1], &count, sizeof(count)) == sizeof(count)) {
			count = count_pins();
			if (write(fds[1], &count, sizeof(count)) < 0)
				break;
		}
		_exit(0);
	}
	close(fds[1]);
	pins_fd = fds[0];
}

/* -1 where nobody can tell. */
static inline long pins(void)
{
	long count = 0;

	if (pins_fd < 0 || write(pins_fd, &count, sizeof(count)) < 0 ||
	    read(pins_fd, &count, sizeof(count)) != sizeof(count))
		return -1;
	return count;
}

/* ---- VFIO --------------------------------------------------------------- */

struct group {
	int container;
	int fd;
	int nr;
};

static struct group groups[MAX_GROUPS];
static int nr_groups;
static const char *no_group = "no /dev/vfio/vfio";

static inline bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool written;

	if (fd < 0)
		return false;
	written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return written;
}

static inline int open_group_file(int nr)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/vfio/%d", nr);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return -1;
	if (!ioctl(fd, VFIO_GROUP_GET_STATUS, &status) &&
	    status.flags & VFIO_GROUP_FLAGS_VIABLE)
		return fd;
	close(fd);
	return -1;
}

/* Gives @group, whose number is set, a container of its own. */
static inline bool open_group(struct group *group, int type)
{
	group->fd = open_group_file(group->nr);
	if (group->fd < 0)
		return false;
	group->container = open("/dev/vfio/vfio", O_RDWR);
	if (group->container < 0)
		goto err_group;
	if (ioctl(group->fd, VFIO_GROUP_SET_CONTAINER, &group->container) ||
	    ioctl(group->container, VFIO_SET_IOMMU, type))
		goto err_container;
	return true;

err_container:
	close(group->container);
err_group:
	close(group->fd);
	return false;
}

static inline void close_group(struct group *group)
{
	close(group->fd);
	close(group->container);
}

/* Only a group of devices behind an IOMMU has a domain of its own to begin with. */
static inline bool behind_iommu(int nr)
{
	char path[64], type[16] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/type", nr);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(type, sizeof(type), file))
		type[0] = 0;
	fclose(file);
	return type[0] && strcmp(type, "unknown\n");
}

static inline void open_groups(void)
{
	struct dirent *entry;
	DIR *dir;

	/*
	 * Nobody but QEMU makes this device, and no driver wants it.  It may have
	 * been done before.
	 */
	write_file("/sys/bus/pci/drivers/vfio-pci/new_id", "1234 11e8");

	dir = opendir("/dev/vfio");
	if (!dir)
		return;
	no_group = "no usable group in /dev/vfio";
	while (nr_groups < MAX_GROUPS && (entry = readdir(dir))) {
		if (strspn(entry->d_name, "0123456789") !=
		    strlen(entry->d_name))
			continue;
		groups[nr_groups].nr = atoi(entry->d_name);
		if (!behind_iommu(groups[nr_groups].nr))
			continue;
		nr_groups += open_group(&groups[nr_groups], VFIO_TYPE1v2_IOMMU);
	}
	closedir(dir);
}

static inline int vfio_map(int group, void *addr, unsigned long iova,
			   size_t pages)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)addr,
		.iova = iova,
		.size = pages * page,
	};

	return ioctl(groups[group].container, VFIO_IOMMU_MAP_DMA, &map);
}

/* Returns the number of pages unmapped. */
static inline long vfio_unmap(int group, unsigned long iova, size_t pages)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = pages * page,
	};

	if (ioctl(groups[group].container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		return -1;
	return unmap.size / page;
}

#endif /* KTASK_VFIO_H */
