/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included first of all in the no-hotplug-cpu kernel.  x86 selects HOTPLUG_SMT with
 * SMP, and its code in kernel/cpu.c needs HOTPLUG_CPU.
 */
#undef CONFIG_HOTPLUG_SMT
