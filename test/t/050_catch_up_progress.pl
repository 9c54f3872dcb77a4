# 050_catch_up_progress.pl
#
# While several processes read a backlog, the views status and catch_up_progress show them.
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('progress', conf => q{
notify_stats.parallel_backlog = '256kB'
notify_stats.max_catch_up_workers = 3
checkpoint_timeout = 1h
autovacuum = off
});

sql($node, q{
	CREATE TABLE events (id serial PRIMARY KEY, kind int NOT NULL, long text);
	CREATE TABLE others (LIKE events);
	ALTER TABLE events REPLICA IDENTITY FULL;
	CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
	CREATE ROLE stranger LOGIN;
});
create_rollup($node, 'by_kind', 'SELECT kind, count(*) AS n FROM events GROUP BY kind');
wait_until_applied($node);

# --- views ----------------------------------------------------------------------------

# About 1.5 MB of WAL, with a quiet point after each 100 kB.
sub backlog
{
	sql($node, q{INSERT INTO events (kind, long) SELECT i % 7, repeat('x', 1000) FROM generate_series(1, 80) i; CHECKPOINT}) for 1 .. 15;
	return;
}

# The processes in these states, the leader first, with their windows as far as that is certain.
sub progress
{
	return sql($node, q{
		SELECT is_leader, state, start_lsn < end_lsn AS range, read_lsn = start_lsn AS none, read_lsn = end_lsn AS whole
		FROM notify_stats.catch_up_progress ORDER BY 1 DESC, start_lsn});
}

# The processes, whether the backlog's remaining time is known, and whether it is over.
sub status
{
	return sql($node, q{SELECT catch_up_processes, remaining_seconds > 0, remaining_seconds = 0 FROM notify_stats.status WHERE stream = 'main'});
}

sub nothing_is_shown
{
	my ($title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	# a process may be about to end
	poll($node, 'SELECT count(*) FROM notify_stats.catch_up_progress', '0');
	pass("$title: no process reads a backlog");
	poll($node, q{SELECT catch_up_processes FROM notify_stats.status WHERE stream = 'main'}, '0');
	pass("$title: nor in the status");
	return;
}

# What the counters of the status have grown by since the last call.
my @counters = (0, 0);
sub counted
{
	my @before = @counters;
	@counters = split /\|/, sql($node, q{SELECT changes_total, transactions_total FROM notify_stats.status WHERE stream = 'main'});
	return join ' ', map { $counters[$_] - $before[$_] } 0 .. 1;
}

nothing_is_shown('before');
counted();

# --- the worker -----------------------------------------------------------------------

pause_stream($node);
backlog();
nothing_is_shown('while paused');
set_stop($node, 'after-peek');
resume_stream($node);
poll($node, 'SELECT count(*) = 3 FROM notify_stats.catch_up_progress');
is(progress(), "t|reading|t|t|f\nf|reading|t|t|f\nf|reading|t|t|f", 'three processes read, each a window of which nothing is read yet');
is(sql($node, q{SELECT count(DISTINCT p.pid), count(*) FILTER (WHERE is_leader AND backend_type = 'notify_stats worker'),
	count(*) FILTER (WHERE NOT is_leader AND backend_type = 'notify_stats catch-up worker')
	FROM notify_stats.catch_up_progress p JOIN pg_stat_activity USING (pid)}), '3|1|2', 'the worker leads');
is(sql($node, q{SELECT bool_and(start_lsn = before) FROM (
	SELECT start_lsn, lag(end_lsn, 1, (SELECT reached_lsn FROM notify_stats.status)) OVER (ORDER BY start_lsn) AS before
	FROM notify_stats.catch_up_progress) p}), 't', 'the windows follow each other from the reached position on');
is(status(), '3||', 'the status has their number, and no estimate yet');
is(sql_as($node, 'monitor', 'postgres', q{SELECT (SELECT count(*) FROM notify_stats.catch_up_progress), catch_up_processes FROM notify_stats.status WHERE stream = 'main'}), '3|3', 'monitoring sees them');
is(sql_as($node, 'stranger', 'postgres', 'SELECT count(*) FROM notify_stats.catch_up_progress, notify_stats.catch_up_activity()'), '0', 'others do not');

set_and_reload($node, 'notify_stats.debug_stop_at' => 'window-folded');
poll($node, q{SELECT count(*) = 3 FROM notify_stats.catch_up_progress WHERE state = 'waiting for its turn'});
is(progress(), "t|waiting for its turn|t|f|t\nf|waiting for its turn|t|f|t\nf|waiting for its turn|t|f|t",
	'the leader has applied its window and read another; all wait for their turn');
is(status(), '3|t|f', 'there is an estimate');

set_and_reload($node, 'notify_stats.debug_stop_at' => 'window-applied');
poll($node, q{SELECT count(*) = 1 FROM notify_stats.catch_up_progress WHERE state = 'applying'});
is(sql($node, q{SELECT start_lsn = notify_stats.applied_lsn() FROM notify_stats.catch_up_progress WHERE state = 'applying'}), 't',
	'one applies its window, which is the next one');
is(status(), '3|t|f', 'there is still an estimate');
continue_from_stop($node);
is_exact($node, 'exact');
is(counted(), '1200 15', 'the changes that each process has applied are counted');
poll($node, q{SELECT remaining_seconds = 0 FROM notify_stats.status});
poll($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'notify_stats catch-up worker'});
nothing_is_shown('afterwards');

# --- a session ------------------------------------------------------------------------

pause_stream($node);
backlog();
set_stop($node, 'window-applied');
my $offset = log_position($node);
my $session = start_psql($node, 'CALL notify_stats.catch_up()');
wait_for_stop($node, 'window-applied', $offset);
is(sql($node, q{SELECT backend_type FROM notify_stats.catch_up_progress p JOIN pg_stat_activity USING (pid) WHERE is_leader}),
	'client backend', 'the session that runs catch_up() leads');

# A process that ends is not shown any more.
poll($node, 'SELECT count(*) > 0 FROM notify_stats.catch_up_progress WHERE NOT is_leader');
my $helper = sql($node, q{SELECT pid FROM notify_stats.catch_up_progress WHERE NOT is_leader LIMIT 1});
sql($node, "SELECT pg_terminate_backend($helper)");
poll($node, "SELECT count(*) = 0 FROM notify_stats.catch_up_progress WHERE pid = $helper");
pass('a process that was terminated is not shown');
continue_from_stop($node);
is($session->finish, '', 'catch_up() ends');
nothing_is_shown('after catch_up()');
resume_stream($node);
is_exact($node, 'exact again');
is(counted(), '1200 15', 'counted once, though a window was read again');

# --- one process ----------------------------------------------------------------------

set_and_reload($node, 'notify_stats.parallel_backlog' => 0);
pause_stream($node);
backlog();
set_stop($node, 'after-peek');
$offset = log_position($node);
resume_stream($node);
wait_for_stop($node, 'after-peek', $offset);
nothing_is_shown('one process');
continue_from_stop($node);
is_exact($node, 'exact by one process');
is(counted(), '1200 15', 'counted as well');

done_testing();
