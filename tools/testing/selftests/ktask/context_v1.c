// SPDX-License-Identifier: GPL-2.0-only
/* context.c with control groups of version 1. */
#define CGROUP_VERSION	1
#include "context.c"
