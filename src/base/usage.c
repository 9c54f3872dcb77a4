/*-------------------------------------------------------------------------
 *
 * usage.c
 *	  The CPU time and the WAL that our work has cost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/resource.h>

#include "executor/instrument.h"
#include "storage/ipc.h"

#include "shared.h"
#include "usage.h"

/* What this process had used when it was last counted. */
static int64 counted_cpu = 0;
static uint64 counted_wal = 0;

/* Returns the CPU time that this process has used, in microseconds. */
int64
usage_cpu_time(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec +
			usage.ru_stime.tv_sec) * INT64CONST(1000000) +
		usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* What a session has used until now is not our work. */
void
usage_start(void)
{
	counted_cpu = usage_cpu_time();
	counted_wal = pgWalUsage.wal_bytes;
}

/* Adds what was used since the last call, or since usage_start. */
void
usage_count(void)
{
	int64		cpu = usage_cpu_time();
	uint64		wal = pgWalUsage.wal_bytes;

	shared_stream_count_usage(cpu - counted_cpu, wal - counted_wal);
	counted_cpu = cpu;
	counted_wal = wal;
}

static void
count_at_exit(int code, Datum arg)
{
	usage_count();
}

/* For a process of ours, all of whose work counts. */
void
usage_count_at_exit(void)
{
	before_shmem_exit(count_at_exit, (Datum) 0);
}
