"""The speed with more processes than this machine has cores, calculated from measured parts.

Each line of the file is a measurement: shape of the backlog, "one" process or "two", "few"
windows, "many" or the "most", changes, windows, rows of the rollup written, milliseconds, CPU
seconds, CPU seconds of reading the WAL alone. CPU is taken to be

    changes * fold + windows * (commit + find + open, if two processes) + rows * apply

All of these are in seconds. "fold" and "find" depend on the shape; the others do not. For one
process and Notify's changes, the differences between few windows and many, of 2 MB, and the most,
of 256 kB, give "commit" and "apply": the latter have far fewer rows of the rollup per window.
To find the end of a window is to read the WAL from where it should end to the next place where
it may: on average, half of the way from one to the next. For two processes, the difference
between few and the most windows of narrow rows with more such places ("often") gives "open".
There, windows should end after 200 kB, and may end after 1,500 changes, of 240 kB: a sixth of
the way is searched.

One process at a time applies and commits a window, and one looks for the end of a window. So P
processes read at most

    min(P / (fold + (find + open + serial) / changes), changes / max(serial, find))

changes per second, with the changes of one window, and "serial" for applying and committing it.
That is for long backlogs, where all processes begin and end together, and with a core for each.
"""
import collections
import statistics
import sys

PROCESSES = (2, 4, 8, 16)
LOGGED_EACH = 15000     # changes, as in setup.sql and growth.sql
SEARCHED = LOGGED_EACH / 2          # changes, for the end of a window
SEARCHED_IF_OFTEN = 1500 / 6
NAMES = {'notify': "Notify's", 'narrow': 'narrow rows'}
OFTEN = 'narrow rows, with more places where a window may end'

Run = collections.namedtuple('Run', 'changes windows rows seconds cpu wal')


def read(path):
    lines = collections.defaultdict(list)
    with open(path, encoding='ascii') as file:
        for line in file:
            shape, processes, windows, *figures = line.split()
            lines[shape, processes, windows].append([float(figure) for figure in figures])
    medians = {}
    for key, measured in lines.items():
        changes, windows, rows, milliseconds, cpu, wal = map(statistics.median, zip(*measured))
        medians[key] = Run(changes, windows, rows, milliseconds / 1000, cpu, wal)
    return medians


def difference(runs, shape, processes, which):
    few, many = runs[shape, processes, 'few'], runs[shape, processes, which]
    if many.windows <= few.windows:
        sys.exit(f'model: {shape}, {processes}: {few.windows:.0f} windows are few, '
                 f'{many.windows:.0f} {which}')
    return many.windows - few.windows, many.rows - few.rows, many.cpu - few.cpu


def solve(first, second):
    """Seconds for each window and each row, from two differences. If noise makes one of them
    negative, it is taken to be zero, and the second difference gives the other."""
    windows1, rows1, cpu1 = first
    windows2, rows2, cpu2 = second
    determinant = windows1 * rows2 - windows2 * rows1
    window = (cpu1 * rows2 - cpu2 * rows1) / determinant
    row = (windows1 * cpu2 - windows2 * cpu1) / determinant
    if window < 0:
        return 0, max(0, cpu2 / rows2)
    if row < 0:
        return max(0, cpu2 / windows2), 0
    return window, row


def wal_per_change(runs, shape, processes='one'):
    run = runs[shape, processes, 'few']
    return run.wal / run.changes


def main():
    runs = read(sys.argv[1])
    commit, apply = solve(difference(runs, 'notify', 'one', 'many'),
                          difference(runs, 'notify', 'one', 'most'))
    windows, rows, cpu = difference(runs, 'often', 'two', 'most')
    opening = max(0, (cpu - rows * apply) / windows - commit -
                  SEARCHED_IF_OFTEN * wal_per_change(runs, 'often', 'two'))

    def row(*fields):
        print('row', *fields, sep='|')

    row('apply', 'µs', 'a row of the rollup: apply', '', apply * 1e6, '')
    row('commit', 'ms', 'a window: commit', '', commit * 1e3, '')
    row('open', 'ms', 'a window of another process: open a slot', '',
        opening * 1e3, '')
    for shape, name in NAMES.items():
        few, two = runs[shape, 'one', 'few'], runs[shape, 'two', 'few']
        fold = (few.cpu - few.windows * commit - few.rows * apply) / few.changes
        changes = two.changes / two.windows
        serial = commit + apply * two.rows / two.windows
        find = SEARCHED * wal_per_change(runs, shape)
        limit = changes / max(serial, find)

        def speed(processes):
            return min(processes / (fold + (find + opening + serial) / changes), limit)

        row(f'{shape} fold', 'µs', f'a change of {name}: decode and fold', '', fold * 1e6, '')
        row(f'{shape} serial', 'ms', f'a window of {changes:,.0f} changes of {name}: apply and commit',
            'decode and fold', serial * 1e3, changes * fold * 1e3)
        row(f'{shape} find', 'ms', f'a window of {name}: find its end', 'decode and fold',
            find * 1e3, changes * fold * 1e3)
        row(f'{shape} two', 'changes/s', f'{name}, two processes: speed', 'the model',
            two.changes / two.seconds, speed(2))
        print(f'{name}: changes per second with', ', '.join(map(str, PROCESSES)),
              'processes by the model:', ', '.join(f'{speed(n):,.0f}' for n in PROCESSES)
              + f'; never more than {limit:,.0f}')
    for (shape, processes, windows), run in runs.items():
        processes = {'one': 'one process', 'two': 'two processes'}[processes]
        print(f'measured, {NAMES.get(shape, OFTEN)}, {processes}, {windows} windows: {run.windows:,.0f},',
              f'{run.rows:,.0f} rows of the rollup, {run.cpu:.2f} s of CPU, {run.seconds:.2f} s;',
              f'reading the WAL alone {run.wal:.2f} s of CPU')


main()
