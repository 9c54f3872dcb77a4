"""What the benchmark's Python programs share: CPU time and memory of processes, and percentiles."""
import math
import os
import re
import sys


def cpu_seconds(pid):
    """CPU time that a process has used.

    /proc/PID/stat counts in ticks of 10 ms, too coarse for a worker that does next to
    nothing. Where the kernel offers it, schedstat has the same in nanoseconds.
    """
    try:
        with open(f'/proc/{pid}/schedstat', encoding='ascii') as file:
            return int(file.read().split()[0]) / 1e9
    except FileNotFoundError:
        with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as file:
            # the name, in parentheses, may hold anything
            fields = file.read().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def own_bytes(pid):
    """Memory that a process has of its own, without shared_buffers; 0 if it is ending."""
    with open(f'/proc/{pid}/status', encoding='ascii', errors='replace') as file:
        found = re.search(r'^RssAnon:\s*(\d+) kB', file.read(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def percentile(values, percent):
    """The smallest value that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


if __name__ == '__main__':
    print(sum(cpu_seconds(pid) for pid in sys.argv[1:]))
