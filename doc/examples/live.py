#!/usr/bin/python3
"""Shows a rollup of notify_stats live in browsers, by server-sent events.

One connection follows the rollup for all pages. The id of each event is the position in the WAL
that a page has reached, so a page that reconnects, to this server or to another one, goes on from
there. See README.md.
"""
import argparse
import collections
import functools
import html
import http.server
import json
import pathlib
import sys
import threading
import time
import urllib.parse

import psycopg
import psycopg.types.json

CHANGES = "SELECT lsn, group_key, measures FROM notify_stats.changes(%s, %s, %s)"
CHANGES_UNKNOWN = "NS001"  # SQLSTATE: the position is not in the window of applied WAL
WAIT = "10 s"    # until an event without changes is sent, by which a page that has gone is noticed
REST = 0.1       # seconds between two events, however often the rollup changes
RETRY = 1        # seconds until the next attempt after an error
KEPT = 1000      # number of events that are kept for pages that reconnect
PAGE = pathlib.Path(__file__).with_name("live.html")

# JavaScript has no exact numbers beyond 2^53, so pages receive numbers as text
psycopg.types.json.set_json_loads(functools.partial(json.loads, parse_int=str, parse_float=str))


def log(message):
    print(" ".join(str(message).split()), file=sys.stderr, flush=True)


def lsn_value(lsn):
    """Returns a position as a number, for comparisons."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


class Database:
    """Reads the changes of a rollup."""

    def __init__(self, conninfo, rollup):
        self.conninfo, self.rollup = conninfo, rollup
        self.one_page = threading.Lock()  # each session that reads changes uses a replication slot

    def connect(self):
        # also notices within half a minute that the server's machine has gone
        return psycopg.connect(self.conninfo, autocommit=True, connect_timeout=10,
                               keepalives_idle=10, keepalives_interval=5, keepalives_count=4)

    def changes(self, conn, since, wait):
        """Returns the position reached, and the event with the groups that have changed."""
        rows = conn.execute(CHANGES, (self.rollup, since, wait)).fetchall()
        lsn = rows[0][0]
        groups = [row[1:] for row in rows if row[1] is not None]
        name = "rollup" if since is None else "changes"
        return lsn, f"event: {name}\nid: {lsn}\ndata: {json.dumps(groups)}\n\n".encode()

    def read_for_page(self, since):
        """The same for one page. The event contains the whole rollup if there is no other way."""
        with self.one_page, self.connect() as conn:
            log(f"reading the changes since {since}" if since else "reading the whole rollup")
            try:
                return self.changes(conn, since, "0")
            except psycopg.Error as error:
                if error.diag.sqlstate != CHANGES_UNKNOWN:
                    raise
                log(error)
            log("reading the whole rollup")
            return self.changes(conn, None, "0")


class Follower(threading.Thread):
    """Follows the rollup, from the position of the first page on, and keeps the last events."""

    def __init__(self, database):
        super().__init__(daemon=True)
        self.database = database
        self.moved = threading.Condition()
        self.events = collections.deque(maxlen=KEPT)  # (position, event)
        self.number = 0  # of the last event

    def run(self):
        while True:
            with self.moved:
                self.moved.wait_for(lambda: self.events)
            try:
                with self.database.connect() as conn:
                    while True:
                        self.add(*self.database.changes(conn, self.events[-1][0], WAIT))
                        time.sleep(REST)
            except psycopg.Error as error:
                log(error)
                if error.diag.sqlstate == CHANGES_UNKNOWN:
                    # ends all streams; the first page that reconnects reads the rollup
                    with self.moved:
                        self.events.clear()
                        self.number += 1
                        self.moved.notify_all()
                time.sleep(RETRY)

    def add(self, lsn, event):
        with self.moved:
            self.events.append((lsn, event))
            self.number += 1
            self.moved.notify_all()

    def number_at(self, lsn, just_read):
        """Returns the number of the last event that a page at this position has; None if unknown."""
        with self.moved:
            if not self.events and just_read:
                self.add(lsn, b"")
            known = [lsn_value(position) for position, _ in self.events]
            page = lsn_value(lsn)
            # a position that was just read may be ahead of this thread; another one may be of a
            # server that has been replaced
            if not known or page < known[0] or (page > known[-1] and not just_read):
                return None
            return self.number - sum(position > page for position in known)

    def events_after(self, number):
        """Yields the events after that one, as they come. Ends if some are not kept any more."""
        while True:
            with self.moved:
                self.moved.wait_for(lambda: self.number != number)
                missing = self.number - number
                if missing > len(self.events):
                    return
                events = [event for _, event in self.events][-missing:]
                number = self.number
            yield b"".join(events)


class Handler(http.server.BaseHTTPRequestHandler):
    timeout = 30  # seconds for a page that does not read

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/":
            page = PAGE.read_text(encoding="utf-8")
            self.start("text/html; charset=utf-8")
            self.wfile.write(page.replace("{{rollup}}", html.escape(self.server.database.rollup)).encode())
        elif url.path == "/events":
            since = urllib.parse.parse_qs(url.query).get("since", [None])[0]
            self.start("text/event-stream")
            self.stream(self.headers.get("Last-Event-ID") or since)
        else:
            self.send_error(404)

    def start(self, content_type):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def stream(self, lsn):
        """Sends events until the page has gone; after an error, the page tries again."""
        follower = self.server.follower
        try:
            self.wfile.write(f"retry: {RETRY * 1000}\n\n".encode())
            number = follower.number_at(lsn, False) if lsn else None
            while number is None:
                lsn, event = self.server.database.read_for_page(lsn)
                self.wfile.write(event)
                number = follower.number_at(lsn, True)
            for event in follower.events_after(number):
                self.wfile.write(event)
        except OSError:
            pass  # the page has gone
        except (psycopg.Error, ValueError) as error:
            log(error)

    def log_message(self, *args):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("rollup")
    parser.add_argument("--database", default="", metavar="CONNINFO", help="connection string; default: PGHOST etc.")
    parser.add_argument("--listen", default="127.0.0.1:8000", metavar="ADDRESS:PORT")
    options = parser.parse_args()
    address, port = options.listen.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((address, int(port)), Handler)
    server.database = Database(options.database, options.rollup)
    server.follower = Follower(server.database)
    server.follower.start()
    print(f"http://{address}:{server.server_port}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
