"""Measures how long after a commit 20 clients have the change of a rollup, in two ways.

sessions: each client has a connection of its own, which waits in changes().
hub: one connection listens to the notifications of notify_stats. After each it asks for the
changes once, and passes them on to the clients by sockets.

Rows are inserted as by probe.py, ten a second, beside whatever else changes. Prints one line: p50
and p99 in milliseconds, and the percent of a core that the backends of the readers used.
"""
import argparse
import json
import select
import socket
import sys
import threading
import time

import psycopg2

from measure import cpu_seconds, percentile
from probe import Probe

ROLLUP = 'ft_service_stats'
CHANGES = f"SELECT lsn, group_key ->> 'bst_date' FROM notify_stats.changes('{ROLLUP}', %s, %s)"
GIVE_UP_SECONDS = 60


class Reader:
    """A connection that goes on from the position of its last answer."""

    def __init__(self):
        self.connection = psycopg2.connect('application_name=follower')
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        self.pid = self.connection.info.backend_pid
        self.cursor.execute(f"SELECT max(lsn) FROM notify_stats.changes('{ROLLUP}', NULL)")
        self.lsn = self.cursor.fetchone()[0]

    def ask(self, wait):
        """The days of the groups that have changed."""
        self.cursor.execute(CHANGES, (self.lsn, wait))
        rows = self.cursor.fetchall()
        self.lsn = rows[0][0]
        return [day for _, day in rows if day is not None]


class Followers:
    def __init__(self, clients):
        self.seen = [{} for _ in range(clients)]    # of each client: day → when it had it
        self.stop = threading.Event()
        self.failure = None
        self.readers = []
        self.threads = []

    def receive(self, client, days):
        now = time.time()
        for day in days:
            self.seen[client].setdefault(day, now)

    def run(self, function, *arguments):
        def run_and_note():
            try:
                function(*arguments)
            except (psycopg2.Error, OSError) as error:
                self.failure = self.failure or error
        self.threads.append(threading.Thread(target=run_and_note, daemon=True))

    def wait_in_session(self, client, reader):
        while not self.stop.is_set():
            self.receive(client, reader.ask('1 s'))

    def read_socket(self, client, end):
        with end.makefile(encoding='ascii') as lines:
            for line in lines:
                self.receive(client, json.loads(line))

    def listen(self, reader, ends):
        reader.cursor.execute('LISTEN notify_stats')
        while not self.stop.is_set():
            if not reader.connection.notifies:
                select.select([reader.connection], [], [], 0.1)
                reader.connection.poll()
            if not reader.connection.notifies:
                continue
            reader.connection.notifies.clear()
            line = (json.dumps(reader.ask('0')) + '\n').encode('ascii')
            for end in ends:
                end.sendall(line)
        for end in ends:
            end.close()

    def prepare(self, way):
        if way == 'sessions':
            for client in range(len(self.seen)):
                self.readers.append(Reader())
                self.run(self.wait_in_session, client, self.readers[-1])
            return
        pairs = [socket.socketpair() for _ in self.seen]
        self.readers.append(Reader())
        self.run(self.listen, self.readers[0], [near for near, _ in pairs])
        for client, (_, far) in enumerate(pairs):
            self.run(self.read_socket, client, far)

    def cpu(self):
        return sum(cpu_seconds(reader.pid) for reader in self.readers)


class Writer(Probe):
    """Only inserts: when each day was committed is in waited_for."""

    def has_appeared(self, followers):
        return all(str(day) in seen for day in self.waited_for for seen in followers.seen)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('way', choices=['sessions', 'hub'])
    parser.add_argument('--clients', type=int, default=20)
    parser.add_argument('--seconds', type=float, default=12)
    arguments = parser.parse_args()

    writer = Writer(ROLLUP)
    followers = Followers(arguments.clients)
    followers.prepare(arguments.way)
    for thread in followers.threads:
        thread.start()
    time.sleep(1)
    started = time.monotonic()
    used = followers.cpu()
    writer.insert_until(started + arguments.seconds, 0.1)
    share = 100 * (followers.cpu() - used) / (time.monotonic() - started)
    end = time.monotonic() + GIVE_UP_SECONDS
    while not writer.has_appeared(followers) and not followers.failure and time.monotonic() < end:
        time.sleep(0.01)
    followers.stop.set()
    failure = writer.failure or followers.failure
    if failure or not writer.has_appeared(followers):
        sys.exit(f"followers: {failure or 'rows did not appear'}")
    lags = [1000 * max(0, seen[str(day)] - committed)
            for day, committed in writer.waited_for.items() for seen in followers.seen]
    print(*(f'{value:.3f}' for value in (percentile(lags, 50), percentile(lags, 99), share)))


main()
