# 049_parallel_hostile.pl
#
# What others do while several processes read a backlog: stop it, lock, alter or drop what it
# needs, use up what the server has, or end the processes.  After that the rollups must be exact,
# nothing may be left, and the processes may log only the errors that the test expects.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $helper_type = 'notify_stats catch-up worker';
my $node = new_node('hostile', conf => q{
notify_stats.database = 'postgres, other'
notify_stats.parallel_backlog = '256kB'
notify_stats.max_catch_up_workers = 3
notify_stats.max_batch_wal = '512kB'
notify_stats.lock_timeout = '3s'
checkpoint_timeout = 1h
autovacuum = off
});
my $offset;

sub make_tables
{
	my ($db) = @_;

	sql($node, q{
		CREATE TABLE events (id int PRIMARY KEY, kind int NOT NULL, amount int, long text, other int);
		CREATE TABLE items (id int, kind int NOT NULL);
		ALTER TABLE events REPLICA IDENTITY FULL;
		ALTER TABLE items REPLICA IDENTITY FULL;
		CREATE SEQUENCE ids;
		CREATE SEQUENCE single START 1000000000;
	}, $db);
	create_rollup($node, 'by_kind', 'SELECT kind, count(*) AS n, sum(amount) AS amount, count(amount) AS amounts FROM events GROUP BY kind', $db);
	create_rollup($node, 'by_both', 'SELECT kind % 3 AS third, count(*) AS n FROM (SELECT kind FROM events UNION ALL SELECT kind FROM items) s GROUP BY 1', $db);
	wait_until_applied($node, $db);
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE other');
sql($node, 'CREATE EXTENSION notify_stats', 'other');
make_tables($_) foreach ('postgres', 'other');
# the worker of the other database would read the same WAL
sql($node, 'SELECT notify_stats.pause()', 'other');

# --- the backlog ----------------------------------------------------------------------

# About 100 kB of WAL, and then a place where no transaction runs.
sub part
{
	my ($statements, $db) = @_;

	sql($node, q{
		DO $$ DECLARE i int := nextval('ids') * 1000; BEGIN
			FOR n IN 1 .. 20 LOOP
				i := i + 10;
				INSERT INTO events SELECT j, j % 7, nullif(j % 5, 2), repeat('x', 300) FROM generate_series(i, i + 5) j;
				COMMIT;
				INSERT INTO items VALUES (i, n % 4);
				UPDATE events SET kind = kind + 1, amount = 3 WHERE id = i;
				COMMIT;
				DELETE FROM events WHERE id = i + 1;
				COMMIT;
			END LOOP;
		END $$;
	} . ($statements // '') . ';CHECKPOINT', $db);
	return;
}

# A backlog of nine parts, with statements in some of them.
sub backlog
{
	my ($db, @statements) = @_;

	part($_ < 2 ? undef : $statements[ $_ - 2 ], $db) for 0 .. 8;
	return;
}

# --- what must be true ----------------------------------------------------------------

# The messages of our processes since then that must be explained.
sub complaints_since
{
	my ($from, $expected) = @_;
	my @lines = grep { /\] notify_stats [a-z -]+ (WARNING|ERROR|FATAL|PANIC):/ } split /\n/, slurp_file($node->logfile, $from);

	@lines = grep { !/$expected/ } @lines if defined $expected;
	return join "\n", @lines;
}

sub helpers_end
{
	poll($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = '$helper_type'");
	return;
}

# All is as it should be; the errors since $offset are those expected, or none.
sub ends_well
{
	my ($title, $expected, @dbs) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	@dbs = ('postgres') if !@dbs;
	is_exact($node, "$title: exact" . ($_ eq 'postgres' ? '' : " in $_"), db => $_) foreach @dbs;
	helpers_end();
	is(sql($node, 'SELECT slot_name FROM pg_replication_slots WHERE temporary'), '', "$title: no slot is left");
	slot_is_behind($node, "$title: the slot is not ahead");
	is(complaints_since($offset, $expected), '', "$title: no error");
	change();
	is_exact($node, "$title: it goes on");
	return;
}

sub change
{
	sql($node, q{INSERT INTO events VALUES (nextval('single'), 3, 3); DELETE FROM events WHERE id % 97 = 0; INSERT INTO items VALUES (1, 1)});
	return;
}

sub times_logged
{
	my ($pattern) = @_;
	return scalar(() = slurp_file($node->logfile, $offset) =~ /$pattern/g);
}

# The worker reads a backlog, and it and two others stop when they have folded their windows.
sub stop_when_folded
{
	my (@statements) = @_;

	pause();
	backlog(undef, @statements);
	set_stop($node, 'window-folded');
	$offset = log_position($node);
	resume_stream($node);
	wait_for_three();
	return;
}

# Pauses the stream of database postgres, and waits until the worker has no cycle at work.
sub pause
{
	sql($node, 'SELECT notify_stats.pause()');
	poll($node, q{SELECT state = 'idle' FROM pg_stat_activity WHERE backend_type = 'notify_stats worker' AND datname = 'postgres'});
	return;
}

sub wait_for_three
{
	for (1 .. 1000)
	{
		return if times_logged('stopped at "window-folded"') == 3;
		select undef, undef, undef, 0.02;
	}
	die "three processes do not stop";
}

# A session, whose statements wait for a lock.
sub start_waiting
{
	my (@statements) = @_;
	my $session = start_psql($node, @statements);

	poll($node, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Lock'});
	return $session;
}

{
	my ($a, $b, $helper, $reached);

	for my $try (1 .. 8)
	{
		pause();
		backlog();
		backlog();
		set_stop($node, 'window-committed');
		$offset = log_position($node);
		$a = start_psql($node, 'CALL notify_stats.catch_up()');
		wait_for_stop($node, 'window-committed', $offset);
		($helper) = slurp_file($node->logfile, $offset) =~ /\[(\d+)\] notify_stats catch-up worker LOG:  notify_stats stopped at "window-committed"/;
		last if defined $helper;
		continue_from_stop($node);
		$a->finish;
	}
	die "no helper" if !defined $helper;
	note("stopped: $helper");
	NotifyStats::alter_system($node, 'notify_stats.debug_stop_at' => 'window-folded');
	sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'CALL notify_stats.catch_up()' AND backend_type = 'client backend'});
	$a->finish;
	$b = start_psql($node, 'CALL notify_stats.catch_up()');
	$node->wait_for_log(qr/reads a backlog.*reads a backlog/s, $offset);
	wait_for_stop($node, 'window-folded', $offset);
	select undef, undef, undef, 1;
	unset_stop($node);
	kill 'HUP', $helper;
	select undef, undef, undef, 0.5;
	continue_from_stop($node);
	select undef, undef, undef, 8;
	is(sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE query = 'CALL notify_stats.catch_up()' AND state = 'active' AND backend_type = 'client backend'}), '0', 'no hang');
	diag(sql($node, q{SELECT string_agg(a::text, E'\n') FROM notify_stats.catch_up_progress a}));
	sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'CALL notify_stats.catch_up()' AND backend_type = 'client backend'});
	$b->finish;
	resume_stream($node);
	ends_well('late', qr/terminat/);
}
done_testing();
