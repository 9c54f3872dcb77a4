# 049_parallel_hostile.pl
#
# What others do while several processes read a backlog: stop it, lock, alter or drop what it
# needs, use up what the server has, or end the processes.  After that the rollups must be exact,
# nothing may be left, and the processes may log only the errors that the test expects.
# takes long

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
notify_stats.max_batch_wal = '100kB'
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
	# the worker may look whether there is more to divide
	poll($node, q{SELECT count(*) = 0 FROM pg_replication_slots WHERE temporary});
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
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $limit)
	{
		return if times_logged('stopped at "window-folded"') == 3;
		select undef, undef, undef, 0.02;    # of a polling loop
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

# --- statements on rollups ------------------------------------------------------------

stop_when_folded();
sql($node, 'SELECT notify_stats.pause()');
my $applied = sql($node, 'SELECT applied_lsn FROM notify_stats.stream');
continue_from_stop($node);
helpers_end();
poll($node, q{SELECT state = 'idle' FROM pg_stat_activity WHERE backend_type = 'notify_stats worker' AND datname = 'postgres'});
is(sql($node, 'SELECT applied_lsn FROM notify_stats.stream'), $applied, 'pause: nothing is applied any more');
backlog();
resume_stream($node);
ends_well('pause');

# paused in the middle, and caught up by a session
stop_when_folded();
sql($node, 'SELECT notify_stats.pause()');
continue_from_stop($node);
helpers_end();
sql($node, 'CALL notify_stats.catch_up()');
backlog();
sql($node, 'CALL notify_stats.catch_up()');
resume_stream($node);
ends_well('pause and catch_up()');

foreach my $statement (
	q{SELECT notify_stats.rebuild('by_kind')},
	q{SELECT notify_stats.create_rollup('another', 'SELECT kind, count(*) AS n FROM items GROUP BY kind')},
	q{SELECT notify_stats.alter_rollup('another', 'SELECT kind, count(*) AS n, count(id) AS ids FROM items GROUP BY kind')},
	q{SELECT notify_stats.drop_rollup('another')},
	q{CREATE OR REPLACE VIEW by_kind_definition AS
		SELECT kind, count(*) AS n, sum(amount) AS amount, count(amount) AS amounts FROM events WHERE kind <> 2 GROUP BY kind},
	q{ALTER TABLE by_kind RENAME TO renamed; ALTER TABLE renamed RENAME TO by_kind},
	q{ALTER TABLE events REPLICA IDENTITY DEFAULT; ALTER TABLE events REPLICA IDENTITY FULL},
	q{SELECT notify_stats.recreate_slot()},
	q{CALL notify_stats.catch_up()},
	q{CALL notify_stats.prepare_upgrade()})
{
	my $session;

	stop_when_folded();
	$session = start_psql($node, $statement);
	select undef, undef, undef, 0.3;    # in which it may be done, or wait for a lock
	continue_from_stop($node);
	unlike($session->finish, qr/ERROR/, $statement);
	if ($statement =~ /alter_rollup/)
	{
		poll($node, q{SELECT count(*) = 3 FROM information_schema.columns WHERE table_name = 'another'});
	}
	resume_stream($node) if $statement =~ /upgrade/;
	ends_well($statement);
}

# --- locks ----------------------------------------------------------------------------

foreach my $mode ('ACCESS EXCLUSIVE', 'SHARE')
{
	foreach my $table ('by_kind', 'events', 'notify_stats.stream', 'notify_stats.rollup')
	{
		my $session;

		next if $table eq 'events' && $mode eq 'SHARE';
		stop_when_folded();
		$session = start_psql($node, "BEGIN; LOCK TABLE $table IN $mode MODE; SELECT pg_sleep(1); COMMIT");
		select undef, undef, undef, 0.3;
		continue_from_stop($node);
		unlike($session->finish, qr/ERROR/, "$table, $mode: lock");
		ends_well("$table, $mode");
		unlike(slurp_file($node->logfile, $offset), qr/is stale/, "$table, $mode: no rollup is given up");
	}
}

# --- the backlog ----------------------------------------------------------------------

# ALTER TABLE writes the whole table
sql($node, 'DELETE FROM events');
is_exact($node, 'few rows are left');
stop_when_folded(
	'ALTER TABLE events ALTER COLUMN other TYPE bigint USING id; UPDATE events SET kind = 5 WHERE id % 10 = 3',
	'TRUNCATE items; TRUNCATE events',
	q{INSERT INTO events VALUES (1, 1, 1); INSERT INTO items VALUES (1, 2)},
	'ALTER TABLE events ALTER COLUMN other TYPE text; UPDATE events SET other = id, kind = 4 WHERE id % 10 = 4');
continue_from_stop($node);
ends_well('TRUNCATE and ALTER TYPE');

sql($node, q{CREATE FUNCTION picky(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN IF i = 77 THEN RAISE 'not this one'; END IF; RETURN i; END $$});
create_rollup($node, 'picky', 'SELECT picky(kind) AS kind, count(*) AS n FROM items GROUP BY 1');
wait_until_applied($node);
stop_when_folded(undef, 'TRUNCATE items', undef, undef, undef, 'INSERT INTO items VALUES (1, 77)', 'TRUNCATE items');
continue_from_stop($node);
ends_well('an error in one window', qr/not this one/);
is(state_of($node, 'picky'), 'failed', 'an error in one window: the rollup has failed');
sql($node, q{SELECT notify_stats.rebuild('picky')});
wait_until_rebuilt($node, 'picky');
is(state_of($node, 'picky'), 'live', 'an error in one window: and is rebuilt');
sql($node, q{SELECT notify_stats.drop_rollup('picky')});

# --- the slot -------------------------------------------------------------------------

foreach my $what ('dropped', 'replaced')
{
	my $slot = main_slot($node);

	stop_when_folded();
	drop_slot($node, $slot);
	sql($node, "SELECT set_config('output_plugin_libraries', 'notify_stats', false) WHERE current_setting('output_plugin_libraries', true) IS NOT NULL;
		SELECT pg_create_logical_replication_slot('$slot', 'notify_stats')") if $what eq 'replaced';
	continue_from_stop($node);
	ends_well("a slot that is $what");
	is(times_logged('changes were lost'), 1, "a slot that is $what: once");
}

# It retains too much.  The server ends the processes that use the temporary ones.
stop_when_folded();
set_and_reload($node, 'max_slot_wal_keep_size' => '1MB');
sql($node, q{SELECT count(pg_logical_emit_message(false, 'filler', repeat('x', 1000000))) FROM generate_series(1, 40); CHECKPOINT});
is(sql($node, q{SELECT wal_status FROM pg_replication_slots WHERE slot_name = (SELECT slot_name FROM notify_stats.stream)}), 'lost', 'the slot is lost');
set_and_reload($node, 'max_slot_wal_keep_size' => '-1');
continue_from_stop($node);
ends_well('a slot that is lost', qr/terminating background worker/);
# that of the other database, too
resume_stream($node, 'other');
is_exact($node, 'a slot that is lost: exact in other', db => 'other');
sql($node, 'SELECT notify_stats.pause()', 'other');

# --- settings -------------------------------------------------------------------------

stop_when_folded();
sql($node, "ALTER SYSTEM SET $_") foreach ('notify_stats.parallel_backlog = 0', 'notify_stats.max_catch_up_workers = 1');
continue_from_stop($node);
ends_well('one process, by a change of settings');
set_and_reload($node, 'notify_stats.parallel_backlog' => '256kB', 'notify_stats.max_catch_up_workers' => '3');

# messages that are not logged
pause();
backlog();
$offset = log_position($node);
set_and_reload($node, 'log_min_messages' => 'fatal', 'notify_stats.debug_stop_at' => 'window-folded');
resume_stream($node);
poll($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = '$helper_type'", '2');
pass('helpers, where LOG is not logged');
set_and_reload($node, 'log_min_messages' => undef, 'notify_stats.debug_stop_at' => undef);
ends_well('without messages');

# --- a session that leads -------------------------------------------------------------

my %error = (
	canceled => qr/canceling statement due to user request/,
	terminated => qr/terminating connection/,
	timeout => qr/canceling statement due to statement timeout/);

foreach my $how (sort keys %error)
{
	my $session;

	pause();
	backlog();
	set_stop($node, 'window-folded');
	$offset = log_position($node);
	$session = start_psql($node, ($how eq 'timeout' ? "SET statement_timeout = '15s'" : ()), 'CALL notify_stats.catch_up()');
	wait_for_three();
	sql($node, 'SELECT ' . ($how eq 'canceled' ? 'pg_cancel_backend' : 'pg_terminate_backend')
		. q{(pid) FROM pg_stat_activity WHERE query = 'CALL notify_stats.catch_up()' AND backend_type = 'client backend'})
	  if $how ne 'timeout';
	like($session->finish, $error{$how}, "the leader is $how");
	continue_from_stop($node);
	helpers_end();
	resume_stream($node);
	ends_well("the leader is $how");
}

sql($node, 'CREATE PROCEDURE twice() LANGUAGE plpgsql AS $$ BEGIN CALL notify_stats.catch_up(); CALL notify_stats.catch_up(); END $$');
pause();
backlog();
$offset = log_position($node);
is(sql_error($node, 'BEGIN; CALL notify_stats.catch_up()') =~ /cannot run inside a transaction block/, 1, 'not in a transaction block');
sql($node, 'CALL twice()');
is(times_logged('with up to 3 processes'), 1, 'a procedure leads');
resume_stream($node);
ends_well('a procedure');

# A session leads no more, and the worker leads while helpers of the session still have windows.
{
	my $session;
	my $reached;

	pause();
	backlog();
	set_stop($node, 'window-folded');
	$offset = log_position($node);
	$session = start_psql($node, 'CALL notify_stats.catch_up()');
	wait_for_three();
	sql($node, q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'CALL notify_stats.catch_up()' AND backend_type = 'client backend'});
	$session->finish;
	backlog();
	backlog();
	unset_stop($node);    # the helpers remain there
	sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'notify_stats worker' AND datname = 'postgres'});
	resume_stream($node);
	$node->wait_for_log(qr/reads a backlog.*reads a backlog/s, $offset);
	select undef, undef, undef, 0.5;
	continue_from_stop($node);
	$reached = sql($node, "SELECT notify_stats.wait_for_lsn(timeout => '$PostgreSQL::Test::Utils::timeout_default s', no_throw => true)");
	is($reached, 't', 'an old helper does not hold up the next leader');
	sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = '$helper_type'") if $reached ne 't';
	ends_well('an old helper', qr/terminating background worker/);
}

# a helper has committed its window, and says so when another division is at work
{
	my $catching_up = q{FROM pg_stat_activity WHERE query = 'CALL notify_stats.catch_up()' AND state = 'active' AND backend_type = 'client backend'};
	my ($session, $helper, $left);

	pause();
	backlog();
	backlog();
	# the leader is held up in its first window until a helper has the second
	set_stop($node, 'after-peek');
	$offset = log_position($node);
	$session = start_psql($node, 'CALL notify_stats.catch_up()');
	$node->wait_for_log(qr/$helper_type LOG:  notify_stats stopped at "after-peek"/, $offset);
	$node->wait_for_log(qr/client backend LOG:  notify_stats stopped at "after-peek"/, $offset);
	set_stop($node, 'window-committed');
	wait_for_stop($node, 'window-committed', $offset);
	($helper) = slurp_file($node->logfile, $offset) =~ /\[(\d+)\] $helper_type LOG:  notify_stats stopped at "window-committed"/;
	ok(defined $helper, 'a helper has the second window');
	sql($node, q{ALTER SYSTEM SET notify_stats.debug_stop_at = 'window-folded'});
	sql($node, "SELECT pg_terminate_backend(pid) $catching_up");
	$session->finish;
	$session = start_psql($node, 'CALL notify_stats.catch_up()');
	$node->wait_for_log(qr/reads a backlog.*reads a backlog/s, $offset);
	wait_for_stop($node, 'window-folded', $offset);
	select undef, undef, undef, 0.5;    # others may stop there as well
	unset_stop($node);
	kill 'HUP', $helper;
	select undef, undef, undef, 0.5;
	continue_from_stop($node);
	for (1 .. 5 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$left = sql($node, "SELECT count(*) $catching_up");
		last if $left eq '0';
		select undef, undef, undef, 0.2;    # of a polling loop
	}
	is($left, '0', 'a late helper does not hold up the next division');
	sql($node, "SELECT pg_terminate_backend(pid) $catching_up") if $left ne '0';
	$session->finish;
	resume_stream($node);
	ends_well('a late helper', qr/terminating connection/);
}

# --- processes ------------------------------------------------------------------------

# while they decode, at any time
for my $i (1 .. 6)
{
	my $type = $i % 3 == 0 ? 'notify_stats worker' : $helper_type;

	pause();
	backlog();
	$offset = log_position($node);
	resume_stream($node);
	$node->wait_for_log(qr/reads a backlog/, $offset);
	select undef, undef, undef, rand(0.1);
	sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = '$type' AND datname = 'postgres' LIMIT 1");
	ends_well("the $type is terminated ($i)", qr/terminating background worker/);
}

# while one of them looks for the end of a window, which takes long where a transaction is open
set_and_reload($node, 'notify_stats.max_batch_wal' => '16MB');
for my $i (1 .. 4)
{
	my $reached;

	pause();
	part() for 1 .. 3;
	sql($node, q{BEGIN; INSERT INTO items VALUES (nextval('single'), 1); PREPARE TRANSACTION 'open'});
	sql($node, q{SELECT count(pg_logical_emit_message(false, 'filler', repeat('x', 1000000))) FROM generate_series(1, 100)});
	sql($node, q{COMMIT PREPARED 'open'});
	part() for 1 .. 3;
	$offset = log_position($node);
	resume_stream($node);
	$node->wait_for_log(qr/reads a backlog/, $offset);
	select undef, undef, undef, 0.02 * $i;
	sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = '$helper_type'");
	$reached = sql($node, "SELECT notify_stats.wait_for_lsn(timeout => '$PostgreSQL::Test::Utils::timeout_default s', no_throw => true)");
	is($reached, 't', "helpers are terminated at the search ($i): the leader goes on");
	sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'notify_stats worker' AND datname = 'postgres'}) if $reached ne 't';
	ends_well("helpers are terminated at the search ($i)", qr/terminating background worker/);
}
set_and_reload($node, 'notify_stats.max_batch_wal' => '100kB');

# both databases
pause();
backlog($_) foreach ('postgres', 'other');
$offset = log_position($node);
sql($node, 'SELECT notify_stats.resume()', $_) foreach ('postgres', 'other');
ends_well('two databases', undef, 'postgres', 'other');
cmp_ok(times_logged('with up to 3 processes'), '>=', 2, 'two databases: each by several processes');
sql($node, 'SELECT notify_stats.pause()', 'other');

# fast shutdown
foreach my $stop (0, 1)
{
	my $start;

	pause();
	backlog();
	set_stop($node, 'window-folded') if $stop;
	$offset = log_position($node);
	resume_stream($node);
	$stop ? wait_for_three() : $node->wait_for_log(qr/reads a backlog/, $offset);
	unset_stop($node);
	disconnect($node);
	$start = time;
	$node->stop('fast');
	# it would be a minute, after which pg_ctl gives up
	cmp_ok(time - $start, '<', 30, 'fast shutdown is fast');
	$node->start;
	ends_well('fast shutdown', qr/terminating background worker/);
}

# --- resources ------------------------------------------------------------------------

# Slots that others use: so many are free.
foreach my $free (0 .. 3)
{
	my $others = sql($node, 'SELECT 10 - count(*) FROM pg_replication_slots') - $free;

	sql($node, "SELECT pg_create_physical_replication_slot('other_' || i) FROM generate_series(1, $others) i");
	pause();
	backlog();
	$offset = log_position($node);
	resume_stream($node);
	ends_well("$free free slots");
	sql($node, q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'other\_%'});
}

# no further process; one
foreach my $processes (4, 5)
{
	pause();
	backlog();
	disconnect($node);
	$node->stop;
	$node->append_conf('postgresql.conf', "max_worker_processes = $processes");
	$node->start;
	$offset = log_position($node);
	resume_stream($node);
	ends_well("$processes processes");
}
$node->append_conf('postgresql.conf', "max_worker_processes = 16");
disconnect($node);
$node->restart;

# --- what they read goes away ---------------------------------------------------------

backlog('other');
set_stop($node, 'window-folded');
$offset = log_position($node);
sql($node, 'SELECT notify_stats.resume()', 'other');
wait_for_three();
sql($node, 'DROP DATABASE other');
continue_from_stop($node);
# a worker may be about to start in it
ends_well('DROP DATABASE', qr/terminating background worker|database (?:"other"|\d+) does not exist/);

stop_when_folded();
my $drop = start_psql($node, 'DROP EXTENSION notify_stats CASCADE');
select undef, undef, undef, 0.3;
continue_from_stop($node);
unlike($drop->finish, qr/ERROR/, 'DROP EXTENSION');
helpers_end();
poll($node, 'SELECT count(*) = 0 FROM pg_replication_slots');
is(complaints_since($offset, qr/database "other" does not exist|table "notify_stats\.\w+" does not exist/), '', 'DROP EXTENSION: no other error');
sql($node, 'CREATE EXTENSION notify_stats');
create_rollup($node, 'again', 'SELECT kind, count(*) AS n FROM events GROUP BY kind');
is_exact($node, 'DROP EXTENSION: and again');
pause();
backlog();
$offset = log_position($node);
resume_stream($node);
ends_well('and again', qr/database "other" does not exist/);
is(times_logged('with up to 3 processes'), 1, 'and again: several processes');

done_testing();
