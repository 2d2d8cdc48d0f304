/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ktask

#if !defined(_TRACE_KTASK_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KTASK_H

#include <linux/tracepoint.h>

/**
 * ktask_start - called when a task has been cut up, before helpers are queued
 * @task: tells tasks apart, as no pointer to follow
 * @nr_nodes: number of parts
 * @min_chunk: smallest chunk, in the client's units
 * @threads: threads that the task can use
 */
TRACE_EVENT(ktask_start,

	TP_PROTO(const void *task, size_t nr_nodes, size_t min_chunk,
		 unsigned int threads),

	TP_ARGS(task, nr_nodes, min_chunk, threads),

	TP_STRUCT__entry(
		__field(const void *, task)
		__field(size_t, nr_nodes)
		__field(size_t, min_chunk)
		__field(unsigned int, threads)
	),

	TP_fast_assign(
		__entry->task = task;
		__entry->nr_nodes = nr_nodes;
		__entry->min_chunk = min_chunk;
		__entry->threads = threads;
	),

	TP_printk("task=%p nr_nodes=%zu min_chunk=%zu threads=%u",
		  __entry->task, __entry->nr_nodes, __entry->min_chunk,
		  __entry->threads)
);

/**
 * ktask_chunk_begin - called before the thread function
 * @task: the task
 * @nid: node of the part
 * @start: start of the chunk
 * @end: end of the chunk
 * @helper: by a helper, not by the caller
 */
TRACE_EVENT(ktask_chunk_begin,

	TP_PROTO(const void *task, int nid, void *start, void *end,
		 bool helper),

	TP_ARGS(task, nid, start, end, helper),

	TP_STRUCT__entry(
		__field(const void *, task)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(int, nid)
		__field(bool, helper)
	),

	TP_fast_assign(
		__entry->task = task;
		__entry->start = (unsigned long)start;
		__entry->end = (unsigned long)end;
		__entry->nid = nid;
		__entry->helper = helper;
	),

	TP_printk("task=%p nid=%d start=%#lx end=%#lx by=%s", __entry->task,
		  __entry->nid, __entry->start, __entry->end,
		  __entry->helper ? "helper" : "caller")
);

/**
 * ktask_chunk_end - called after the thread function
 * @task: the task
 * @nid: node of the part
 * @start: start of the chunk
 * @end: end of the chunk
 * @helper: by a helper, not by the caller
 * @error: what the thread function returned
 */
TRACE_EVENT(ktask_chunk_end,

	TP_PROTO(const void *task, int nid, void *start, void *end,
		 bool helper, int error),

	TP_ARGS(task, nid, start, end, helper, error),

	TP_STRUCT__entry(
		__field(const void *, task)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(int, nid)
		__field(int, error)
		__field(bool, helper)
	),

	TP_fast_assign(
		__entry->task = task;
		__entry->start = (unsigned long)start;
		__entry->end = (unsigned long)end;
		__entry->nid = nid;
		__entry->error = error;
		__entry->helper = helper;
	),

	TP_printk("task=%p nid=%d start=%#lx end=%#lx by=%s error=%d",
		  __entry->task, __entry->nid, __entry->start, __entry->end,
		  __entry->helper ? "helper" : "caller", __entry->error)
);

/**
 * ktask_finish - called when nothing of a task runs any more
 * @task: the task
 * @threads: most threads that had begun a chunk at a time
 * @duration: nanoseconds since ktask_start
 * @error: the result
 */
TRACE_EVENT(ktask_finish,

	TP_PROTO(const void *task, unsigned int threads, u64 duration,
		 int error),

	TP_ARGS(task, threads, duration, error),

	TP_STRUCT__entry(
		__field(const void *, task)
		__field(u64, duration)
		__field(unsigned int, threads)
		__field(int, error)
	),

	TP_fast_assign(
		__entry->task = task;
		__entry->duration = duration;
		__entry->threads = threads;
		__entry->error = error;
	),

	TP_printk("task=%p threads=%u duration=%llu ns error=%d",
		  __entry->task, __entry->threads, __entry->duration,
		  __entry->error)
);

#endif /* _TRACE_KTASK_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
