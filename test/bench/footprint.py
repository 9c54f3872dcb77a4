"""What statements take while they run: time, CPU, memory, temporary files, the snapshot held.

    footprint.py [--builder] [--vacuum TABLE] STATEMENT...

Looks each 50 ms at the session that runs the statements and its parallel workers, or with
--builder at the process that builds or verifies a rollup for them; and at the files of the
server, in the data directory "data". With --vacuum that table, which nothing else uses, is
updated and vacuumed while the sources are read, and vacuumed again at the end.

Prints lines "name figure". Bytes are the peak of the whole server, memory that of the process
itself (RssAnon), without its parallel workers.
"""
import argparse
import os
import re
import threading
import time

import psycopg2

from measure import cpu_seconds, own_bytes

EVERY_SECONDS = 0.05
TEMPORARY_TABLE = re.compile(r't\d+_\d+')
DEAD = re.compile(r'tuples: (\d+) removed, \d+ remain, (\d+) are dead but not yet removable')

PROCESSES = """
SELECT pid, leader_pid, backend_xmin, age(backend_xmin), backend_type = 'notify_stats builder'
FROM pg_stat_activity
WHERE %s IN (pid, leader_pid)
   OR backend_type = 'notify_stats builder' OR leader_pid IN
      (SELECT pid FROM pg_stat_activity WHERE backend_type = 'notify_stats builder')
"""
RETAINED = """
SELECT coalesce(max(pg_current_wal_flush_lsn() - greatest(restart_lsn, %s)), 0)
FROM pg_replication_slots WHERE temporary
"""
TEMP_BYTES = 'SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()'
PHASE = "SELECT state FROM notify_stats.status WHERE stream <> 'main'"
READS_SOURCES = """
SELECT count(*) FROM notify_stats.status
WHERE stream <> 'main' AND state = 'reading sources'
"""


def connect(name):
    connection = psycopg2.connect(f'application_name={name}')
    connection.autocommit = True
    return connection


def ask(connection, query, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return cursor.fetchone()[0]


def size_below(directory, wanted):
    """Bytes on disk of the files whose names are wanted; some may go meanwhile."""
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += size_below(entry.path, wanted)
                elif wanted(entry.name):
                    total += entry.stat().st_size
    except FileNotFoundError:
        pass
    return total


class Footprint:
    def __init__(self, builder):
        self.builder = builder
        self.looking = connect('footprint')
        self.session = connect('measured')
        self.database = ask(self.looking, 'SELECT oid FROM pg_database'
                                          ' WHERE datname = current_database()')
        # what the main slot retained before is not the build's
        self.lsn = ask(self.looking, 'SELECT pg_current_wal_insert_lsn()')
        self.cpu = {}           # of each process that was seen
        self.peaks = dict.fromkeys(('memory', 'sort_files', 'temporary_tables', 'spill_files',
                                    'files', 'snapshot_age', 'retained_wal', 'workers'), 0)
        self.snapshot = None    # the xmin that is held, and since when
        self.snapshot_seconds = 0
        self.phases = {}        # of the build: seconds
        self.looked_at = time.monotonic()
        self.failure = None

    def peak(self, name, value):
        self.peaks[name] = max(self.peaks[name], value)

    def look(self):
        with self.looking.cursor() as cursor:
            cursor.execute(PROCESSES, (self.session.get_backend_pid(),))
            processes = cursor.fetchall()
        leaders = [row for row in processes if row[1] in (None, row[0]) and row[4] == self.builder]
        watched = {row[0] for row in leaders}
        workers = {row[0] for row in processes if row[1] in watched} - watched
        self.peak('workers', len(workers))
        for pid in watched | workers:
            try:
                self.cpu[pid] = cpu_seconds(pid)
                if pid in watched:
                    self.peak('memory', own_bytes(pid))
            except (FileNotFoundError, ProcessLookupError):
                pass
        if self.builder:
            self.look_at_phase()
        self.look_at_snapshot(leaders[0] if leaders else None)
        self.look_at_files()
        self.peak('retained_wal', int(ask(self.looking, RETAINED, self.lsn)))

    def look_at_phase(self):
        with self.looking.cursor() as cursor:
            cursor.execute(PHASE)
            row = cursor.fetchone()
        now = time.monotonic()
        if row:
            name = row[0].replace(' ', '_') + '_seconds'
            self.phases[name] = self.phases.get(name, 0) + now - self.looked_at
        self.looked_at = now

    def look_at_snapshot(self, leader):
        xmin = leader[2] if leader else None
        now = time.monotonic()
        if xmin is None:
            self.snapshot = None
            return
        if self.snapshot is None or self.snapshot[0] != xmin:
            self.snapshot = xmin, now
        self.snapshot_seconds = max(self.snapshot_seconds, now - self.snapshot[1])
        self.peak('snapshot_age', leader[3])

    def look_at_files(self):
        sort = size_below('data/base/pgsql_tmp', lambda name: True)
        tables = size_below(f'data/base/{self.database}', TEMPORARY_TABLE.match)
        spill = size_below('data/pg_replslot', lambda name: name.endswith('.spill'))
        self.peak('sort_files', sort)
        self.peak('temporary_tables', tables)
        self.peak('spill_files', spill)
        self.peak('files', sort + tables + spill)

    def run(self, statements):
        try:
            with self.session.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        except Exception as failure:    # for the main thread to raise
            self.failure = failure

    def measure(self, statements, vacuum):
        pid = self.session.get_backend_pid()
        used = cpu_seconds(pid)
        temp_bytes = ask(self.looking, TEMP_BYTES)
        running = threading.Thread(target=self.run, args=(statements,))
        started = time.monotonic()
        running.start()
        while running.is_alive():
            self.look()
            if vacuum:
                vacuum.look(self.looking, self.snapshot)
            running.join(EVERY_SECONDS)
        seconds = time.monotonic() - started
        if self.failure:
            raise self.failure
        if not self.builder:
            self.cpu[pid] = cpu_seconds(pid) - used
        wal = int(ask(self.looking, 'SELECT pg_current_wal_insert_lsn() - %s::pg_lsn', self.lsn))
        self.session.close()
        time.sleep(1.5)         # the statistics come a moment later
        figures = dict(self.peaks, seconds=seconds, cpu=sum(self.cpu.values()), wal=wal,
                       snapshot_seconds=self.snapshot_seconds,
                       temp_bytes=ask(self.looking, TEMP_BYTES) - temp_bytes)
        figures.update(self.phases)
        if vacuum:
            figures.update(vacuum.result())
        return figures


class Vacuum:
    """Of a table all rows of which are updated while the sources are read."""
    def __init__(self, table):
        self.table = table
        self.connection = connect('vacuum')
        self.during = None

    def look(self, looking, snapshot):
        """Once it has been held for a moment: others are held for less."""
        if (self.during is None and snapshot and time.monotonic() - snapshot[1] > 0.15
                and ask(looking, READS_SOURCES)):
            with self.connection.cursor() as cursor:
                cursor.execute(f'UPDATE {self.table} SET n = n + 1')
            self.during = self.vacuum()

    def vacuum(self):
        """Dead rows that were removed, and that could not be."""
        del self.connection.notices[:]
        with self.connection.cursor() as cursor:
            cursor.execute(f'VACUUM (VERBOSE) {self.table}')
        found = [DEAD.search(notice) for notice in self.connection.notices]
        numbers = [(int(match[1]), int(match[2])) for match in found if match]
        return numbers[0]

    def result(self):
        after = self.vacuum()
        if self.during is None:
            return {}
        return {'removed_during': self.during[0], 'kept_during': self.during[1],
                'removed_after': after[0], 'kept_after': after[1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--builder', action='store_true')
    parser.add_argument('--vacuum', metavar='TABLE')
    parser.add_argument('statements', nargs='+')
    arguments = parser.parse_args()
    footprint = Footprint(arguments.builder)
    vacuum = Vacuum(arguments.vacuum) if arguments.vacuum else None
    for name, figure in footprint.measure(arguments.statements, vacuum).items():
        print(name, f'{figure:.6f}' if isinstance(figure, float) else figure)


main()
