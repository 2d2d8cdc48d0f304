// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device of VFIO that pins pages on request, as drivers of mediated devices do, for
 * selftests of what else then counts and pins the same pages.
 *
 * Who has opened the device, test_vfio_pins, writes a struct test_pins_request to have
 * pages pinned instead of those that were.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

/**
 * struct test_pins_request - what is written to the device
 * @iova: of the first page
 * @nr: number of pages; 0 for none
 */
struct test_pins_request {
	u64	iova;
	u64	nr;
};

/**
 * struct test_pins - the device
 * @vdev: what VFIO knows of it
 * @lock: covers the rest
 * @iova: of the first page that is pinned
 * @nr: number of pages that are
 * @pages: these
 */
struct test_pins {
	struct vfio_device	vdev;
	struct mutex		lock;	/* covers what follows */
	u64			iova;
	unsigned int		nr;
	struct page		*pages[VFIO_PIN_PAGES_MAX_ENTRIES];
};

static struct platform_device *test_pins_device;

static struct test_pins *to_pins(struct vfio_device *vdev)
{
	return container_of(vdev, struct test_pins, vdev);
}

static void test_pins_unpin_locked(struct test_pins *pins)
{
	lockdep_assert_held(&pins->lock);

	if (pins->nr)
		vfio_unpin_pages(&pins->vdev, pins->iova, pins->nr);
	pins->nr = 0;
}

static int test_pins_pin_locked(struct test_pins *pins, u64 iova,
				unsigned int nr)
{
	int ret;

	lockdep_assert_held(&pins->lock);

	ret = vfio_pin_pages(&pins->vdev, iova, nr, IOMMU_READ | IOMMU_WRITE,
			     pins->pages);
	if (ret < 0)
		return ret;

	pins->iova = iova;
	pins->nr = ret;
	return 0;
}

static ssize_t test_pins_write(struct vfio_device *vdev, const char __user *buf,
			       size_t count, loff_t *ppos)
{
	struct test_pins *pins = to_pins(vdev);
	struct test_pins_request request;
	int ret = 0;

	if (count != sizeof(request))
		return -EINVAL;
	if (copy_from_user(&request, buf, sizeof(request)))
		return -EFAULT;
	if (request.nr > ARRAY_SIZE(pins->pages))
		return -E2BIG;

	mutex_lock(&pins->lock);
	test_pins_unpin_locked(pins);
	if (request.nr)
		ret = test_pins_pin_locked(pins, request.iova, request.nr);
	mutex_unlock(&pins->lock);
	return ret ?: count;
}

/* What is not mapped any more must not stay pinned. */
static void test_pins_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct test_pins *pins = to_pins(vdev);

	mutex_lock(&pins->lock);
	if (iova < pins->iova + pins->nr * PAGE_SIZE &&
	    pins->iova < iova + length)
		test_pins_unpin_locked(pins);
	mutex_unlock(&pins->lock);
}

static void test_pins_close(struct vfio_device *vdev)
{
	struct test_pins *pins = to_pins(vdev);

	mutex_lock(&pins->lock);
	test_pins_unpin_locked(pins);
	mutex_unlock(&pins->lock);
}

static int test_pins_init_device(struct vfio_device *vdev)
{
	mutex_init(&to_pins(vdev)->lock);
	return 0;
}

static void test_pins_release(struct vfio_device *vdev)
{
	mutex_destroy(&to_pins(vdev)->lock);
	vfio_free_device(vdev);
}

static const struct vfio_device_ops test_pins_ops = {
	.name		= "test-vfio-pins",
	.init		= test_pins_init_device,
	.release	= test_pins_release,
	.close_device	= test_pins_close,
	.write		= test_pins_write,
	.dma_unmap	= test_pins_dma_unmap,
};

static int test_pins_probe(struct platform_device *pdev)
{
	struct test_pins *pins;
	int ret;

	pins = vfio_alloc_device(test_pins, vdev, &pdev->dev, &test_pins_ops);
	if (IS_ERR(pins))
		return PTR_ERR(pins);

	ret = vfio_register_emulated_iommu_dev(&pins->vdev);
	if (ret) {
		vfio_put_device(&pins->vdev);
		return ret;
	}
	platform_set_drvdata(pdev, pins);
	return 0;
}

static int test_pins_remove(struct platform_device *pdev)
{
	struct test_pins *pins = platform_get_drvdata(pdev);

	vfio_unregister_group_dev(&pins->vdev);
	vfio_put_device(&pins->vdev);
	return 0;
}

static struct platform_driver test_pins_driver = {
	.probe	= test_pins_probe,
	.remove	= test_pins_remove,
	.driver	= {
		.name	= KBUILD_MODNAME,
	},
};

static int __init test_pins_init(void)
{
	int ret;

	ret = platform_driver_register(&test_pins_driver);
	if (ret)
		return ret;

	test_pins_device = platform_device_register_simple(KBUILD_MODNAME,
							   PLATFORM_DEVID_NONE,
							   NULL, 0);
	if (!IS_ERR(test_pins_device))
		return 0;

	platform_driver_unregister(&test_pins_driver);
	return PTR_ERR(test_pins_device);
}
module_init(test_pins_init);

static void __exit test_pins_exit(void)
{
	platform_device_unregister(test_pins_device);
	platform_driver_unregister(&test_pins_driver);
}
module_exit(test_pins_exit);

MODULE_DESCRIPTION("A device of VFIO that pins pages on request");
MODULE_LICENSE("GPL");
