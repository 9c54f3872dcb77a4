"""A consumer like those that notify_stats replaces, to compare with.

It works as GOV.UK Notify's wal2json pipeline does: peek at 10,000 changes, add them up in a
Counter keyed by group, upsert what has grown and decrement what has shrunk, commit, advance the
slot. Where the pipeline would give wrong counts here (it never subtracts for some deletes, and
counts test keys in some versions), this one counts right, so that both do the same work: it is
given the same replica identity. Like the pipeline it passes over rows that lack a part of the
key. As theirs, it counts a batch twice if it dies between commit and advance.

Format version 1 of wal2json, one document a transaction: of the two it is the faster here, as
version 2 has the BEGIN and COMMIT of each transaction among the 10,000.

Prints one line: changes, seconds, CPU seconds of this process and its server process.
"""
import argparse
import collections
import datetime
import json
import os
import signal
import time
import zoneinfo

import psycopg2
import psycopg2.extras

from measure import cpu_seconds

LONDON = zoneinfo.ZoneInfo('Europe/London')
KEY = ['service_id', 'template_id', 'notification_type', 'notification_status']

BATCH = 10000
PEEK = """
SELECT data FROM pg_logical_slot_peek_changes(%s, NULL, %s, 'format-version', '1',
    'include-lsn', 'true', 'include-types', 'false', 'include-typmod', 'false',
    'add-tables', 'public.notifications,public.notification_history')
"""
UPSERT = """
INSERT INTO {table} AS t VALUES %s
ON CONFLICT (bst_date, service_id, template_id, notification_type, notification_status)
DO UPDATE SET notification_count = t.notification_count + excluded.notification_count
"""
DECREMENT = """
UPDATE {table} SET notification_count = greatest(notification_count - %s, 0)
WHERE bst_date = %s AND service_id = %s AND template_id = %s
  AND notification_type = %s AND notification_status = %s
"""


def group(names, values):
    """The group of a row, or None if it is not counted."""
    row = dict(zip(names, values))
    key = [row.get(name) for name in KEY]    # version 1 leaves nulls out of old keys
    if row['key_type'] == 'test' or None in key:
        return None
    created_at = datetime.datetime.fromisoformat(row['created_at'])
    day = created_at.replace(tzinfo=datetime.timezone.utc).astimezone(LONDON).date()
    return (day, *key)


def add_up(transactions):
    """Number of changes, and the difference that they make to each group."""
    changes = 0
    deltas = collections.Counter()
    for transaction in transactions:
        for change in transaction['change']:
            changes += 1
            if change['kind'] != 'delete':
                deltas[group(change['columnnames'], change['columnvalues'])] += 1
            if change['kind'] != 'insert':
                old = change['oldkeys']
                deltas[group(old['keynames'], old['keyvalues'])] -= 1
    deltas.pop(None, None)
    return changes, deltas


class Consumer:
    def __init__(self, slot, table):
        self.slot = slot
        self.table = table
        self.changes = 0
        self.connection = psycopg2.connect("application_name=reference")
        self.cursor = self.connection.cursor()

    def batch(self):
        """Counts one batch, and returns of how many transactions."""
        self.cursor.execute(PEEK, (self.slot, BATCH))
        transactions = [json.loads(data) for data, in self.cursor.fetchall()]
        if not transactions:
            self.connection.commit()
            return 0
        changes, deltas = add_up(transactions)
        self.changes += changes
        grown = [(*key, n) for key, n in deltas.items() if n > 0]
        shrunk = [(-n, *key) for key, n in deltas.items() if n < 0]
        if grown:
            psycopg2.extras.execute_values(
                self.cursor, UPSERT.format(table=self.table), grown, page_size=1000)
        if shrunk:
            psycopg2.extras.execute_batch(
                self.cursor, DECREMENT.format(table=self.table), shrunk, page_size=1000)
        self.connection.commit()
        self.cursor.execute("SELECT pg_replication_slot_advance(%s, %s)",
                            (self.slot, transactions[-1]['nextlsn']))
        self.connection.commit()
        return len(transactions)

    def cpu_seconds(self):
        return cpu_seconds(os.getpid()) + cpu_seconds(self.connection.get_backend_pid())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--slot', default='bench_reference')
    parser.add_argument('--table', default='service_stats_reference')
    parser.add_argument('--seconds', type=float, default=0,
                        help='poll for so long; by default, end when all is counted')
    parser.add_argument('--interval', type=float, default=1, help='seconds between two polls')
    arguments = parser.parse_args()

    stopped = False

    def stop(*_):
        nonlocal stopped
        stopped = True

    consumer = Consumer(arguments.slot, arguments.table)
    signal.signal(signal.SIGTERM, stop)
    started = time.monotonic()
    used = consumer.cpu_seconds()
    while True:
        polled = time.monotonic()
        # when polling, changes during a batch wait for the next poll, unless it was full
        enough = BATCH if arguments.seconds else 1
        while not stopped and consumer.batch() >= enough:
            pass
        left = started + arguments.seconds - time.monotonic()
        if stopped or left <= 0:
            break
        # in short pieces, to end when signaled
        until = min(polled + arguments.interval, time.monotonic() + left)
        while not stopped and time.monotonic() < until:
            time.sleep(max(0, min(0.05, until - time.monotonic())))
    print(consumer.changes, f'{time.monotonic() - started:.6f}',
          f'{consumer.cpu_seconds() - used:.6f}', sep=',')


main()
