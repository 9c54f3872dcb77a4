"""Measures how long after a commit a reader of the counts sees it.

Inserts rows, each of a London day of its own long ago and so of a group of its own, and polls
the table of counts for those that have not appeared. The time runs from when COMMIT has
returned. Rows are inserted at their times whether or not the earlier ones have appeared, so
that a pause of the counting is seen by all rows that it delays.

Prints one line: samples, p50, p99 and maximum in milliseconds, percent of a core that the given
processes used meanwhile, and p50 of the first and of the last third of the rows.
"""
import argparse
import datetime
import sys
import threading
import time

import psycopg2

from measure import cpu_seconds, percentile

FIRST_DAY = datetime.date(1000, 1, 1)
POLL_SECONDS = 0.0005
GIVE_UP_SECONDS = 120

# no script of the load touches a row of this status
INSERT = """
PREPARE probe(date) AS
INSERT INTO notifications (id, "to", service_id, template_id, created_at, template_version,
                           key_type, notification_type, billable_units, notification_status)
SELECT gen_random_uuid(), 'probe', service_id, template_id, $1 + time '12:00', 1,
       'normal', notification_type, 1, 'technical-failure'
FROM simulation.templates WHERE slot = 2000
"""


class Probe:
    def __init__(self, table):
        self.writer = self.connect()
        self.reader = self.connect()
        self.writer.execute(INSERT)
        # many groups look few to a plan that was made while the table was small
        self.reader.execute("SET enable_seqscan = off")
        self.reader.execute("SET plan_cache_mode = force_generic_plan")
        self.reader.execute(f"PREPARE seen(date[]) AS "
                            f"SELECT bst_date FROM {table} WHERE bst_date = ANY ($1)")
        self.writer.execute("SELECT count(*) FROM notifications WHERE created_at < '1990-01-01'")
        self.next_day = FIRST_DAY + datetime.timedelta(days=self.writer.fetchone()[0])
        self.lock = threading.Lock()
        self.waited_for = {}    # day → when its COMMIT returned, None before that
        self.samples = []       # (when COMMIT returned, seconds until it was seen)
        self.failure = None

    @staticmethod
    def connect():
        connection = psycopg2.connect("application_name=probe")
        connection.autocommit = True
        return connection.cursor()

    def insert(self):
        day = self.next_day
        self.next_day += datetime.timedelta(days=1)
        with self.lock:
            self.waited_for[day] = None
        self.writer.execute("EXECUTE probe(%s)", (day,))
        with self.lock:
            self.waited_for[day] = time.time()

    def poll(self):
        with self.lock:
            days = list(self.waited_for)
        if not days:
            return
        self.reader.execute("EXECUTE seen(%s::date[])", (days,))
        now = time.time()
        for (day,) in self.reader.fetchall():
            with self.lock:
                committed = self.waited_for[day]
                # if it was seen before COMMIT returned, the next poll will notice
                if committed is not None:
                    del self.waited_for[day]
                    self.samples.append((committed, max(0, now - committed)))

    def poll_until(self, inserting):
        try:
            while inserting.is_alive() or self.waited_for:
                self.poll()
                time.sleep(POLL_SECONDS)
        except psycopg2.Error as error:
            self.failure = error

    def insert_until(self, end, interval):
        try:
            due = time.monotonic()
            while due < end:
                time.sleep(max(0, due - time.monotonic()))
                self.insert()
                due = max(due + interval, time.monotonic())
        except psycopg2.Error as error:
            self.failure = error


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--table', default='ft_service_stats')
    parser.add_argument('--seconds', type=float, default=12)
    parser.add_argument('--every', type=float, default=0.04, help='seconds between two rows')
    parser.add_argument('--pids', default='', help='processes whose CPU time counts: 1,2')
    parser.add_argument('--samples', help='file for each row: when committed, milliseconds')
    arguments = parser.parse_args()
    pids = [int(pid) for pid in arguments.pids.split(',') if pid]

    probe = Probe(arguments.table)
    started = time.monotonic()
    used = sum(map(cpu_seconds, pids))
    inserting = threading.Thread(
        target=probe.insert_until, args=(started + arguments.seconds, arguments.every), daemon=True)
    polling = threading.Thread(target=probe.poll_until, args=(inserting,), daemon=True)
    inserting.start()
    polling.start()
    polling.join(arguments.seconds + GIVE_UP_SECONDS)
    used = sum(map(cpu_seconds, pids)) - used
    share = 100 * used / (time.monotonic() - started)
    if probe.failure or polling.is_alive() or not probe.samples:
        sys.exit(f"probe: {probe.failure or f'{len(probe.waited_for)} rows did not appear'}")

    probe.samples.sort()
    lags = [1000 * lag for _, lag in probe.samples]
    third = max(1, len(lags) // 3)
    print(len(lags), *(f'{value:.3f}' for value in (
        percentile(lags, 50), percentile(lags, 99), max(lags), share,
        percentile(lags[:third], 50), percentile(lags[-third:], 50))), sep=',')
    if arguments.samples:
        with open(arguments.samples, 'w', encoding='ascii') as file:
            file.writelines(f'{committed:.3f} {1000 * lag:.3f}\n'
                            for committed, lag in probe.samples)


if __name__ == '__main__':
    main()
