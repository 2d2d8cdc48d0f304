# SPDX-License-Identifier: GPL-2.0-only
#
# What one can do here; each target is a script of the same name, `make help` and
# `scripts/NAME --help` say more.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules
SHELL := /bin/bash

# Variables given to make reach the scripts through the environment.
export KERNEL KTASK_TARBALL KTASK_TREE KTASK_VERSION KTASK_ANY_HOST FORCE CC JOBS

# make's own defaults are not the user's choice.
ifeq ($(origin CC),default)
unexport CC
endif

scripts := run test test-configs test-mutants check tree refresh series kernel bench

.PHONY: $(scripts) test-debug kernel-base kernel-debug clean distclean help

# One job at a time: the scripts share build/ and use all CPUs themselves.
.NOTPARALLEL:

$(scripts):
	@scripts/$@ $(ARGS)

test-debug:
	@scripts/test --debug $(ARGS)

kernel-base:
	@scripts/kernel base

kernel-debug:
	@scripts/kernel debug

# Keeps the source and build/linux, so that work there is not lost.
clean:
	@scripts/clean

distclean:
	@scripts/clean --all

help:
	@scripts/help
