"""Peak of the memory that a session has of its own while it runs catch_up(), in MB.

The kernel keeps a peak (VmHWM), but of all pages, those of shared_buffers included; so
RssAnon is looked at each 10 ms instead.
"""
import threading

import psycopg2

from measure import own_bytes


def main():
    connection = psycopg2.connect("application_name=memory")
    connection.autocommit = True
    pid = connection.get_backend_pid()
    done = threading.Event()
    samples = []

    def watch():
        while not done.wait(0.01):
            samples.append(own_bytes(pid))

    watching = threading.Thread(target=watch)
    samples.append(own_bytes(pid))
    watching.start()
    try:
        connection.cursor().execute('CALL notify_stats.catch_up()')
    finally:
        done.set()
        watching.join()
    print(f'{max(samples) / 1024 / 1024:.1f}')


main()
