# 013_wake.pl
#
# How the worker sleeps, wakes up, and is waited for.  With notify_stats.naptime at an hour, a
# change that is applied without wait_for_lsn() was applied because of a wakeup, or of the second
# look that a cycle which has written something requests.  A worker that has nothing left to
# read is "at rest" below: then it must have been a wakeup.
#
# The server's WAL writer and background writer are stopped where they could hide that the
# worker has not done its part: the former writes asynchronous commits to disk, the latter
# logs the running transactions every 15 s.
#

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_node('wake', conf => qq{
autovacuum = off
checkpoint_timeout = 1h
max_wal_size = 4GB
});

# --- helpers ----------------------------------------------------------------------------

# Whether a query gives 't' before long; other than poll(), does not end the test.
sub comes_true
{
	my ($query, $seconds) = @_;
	my $end = time + ($seconds // $PostgreSQL::Test::Utils::timeout_default);

	while (sql($node, $query) ne 't')
	{
		return 0 if time > $end;
		usleep(100_000);    # of a polling loop
	}
	return 1;
}

# Inserts into source, with settings of the session.
sub insert
{
	my ($kind, @settings) = @_;
	sql($node, join('', map { "SET $_;\n" } @settings) . "INSERT INTO source (kind) VALUES ('$kind')");
	return;
}

# Whether the rows of a kind in source are counted in the rollup.
sub is_counted
{
	my ($kind, $title, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(comes_true("SELECT count(*) = 1 FROM kinds JOIN
			(SELECT count(*) AS n FROM source WHERE kind = '$kind') s USING (n) WHERE kind = '$kind'", $seconds),
		$title);
}

# Waits until the worker has nothing left to look at.  A cycle that leaves something has the
# next follow within a second.
sub come_to_rest
{
	poll($node, q{
		SELECT state = 'idle' AND clock_timestamp() > state_change + interval '1.2 s'
		FROM pg_stat_activity WHERE backend_type = 'notify_stats worker'});
	return;
}

# How often the worker has gone to sleep.
sub sleeps
{
	my $status = slurp_file('/proc/' . worker_pid($node) . '/status');
	my ($count) = $status =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
	return $count;
}

# When the worker has last begun or ended a cycle.
sub last_cycle
{
	return sql($node, "SELECT state_change FROM pg_stat_activity WHERE backend_type = 'notify_stats worker'");
}

sub let_pass
{
	my ($interval) = @_;
	my $start = sql($node, 'SELECT clock_timestamp()');
	poll($node, "SELECT clock_timestamp() > '$start'::timestamptz + interval '$interval'");
	return;
}

sub unflushed
{
	return sql($node, 'SELECT pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()');
}

# Sessions that wait, as (pid, pid...).
my $waiting = q{FROM pg_stat_activity WHERE backend_type = 'client backend'
	AND wait_event_type = 'Extension' AND query LIKE '%wait_for_lsn%'};

sub waiting_pids
{
	my ($count) = @_;
	poll($node, "SELECT count(*) = $count $waiting");
	return split /\n/, sql($node, "SELECT pid $waiting");
}

# A session that waits for long, and its pid.
sub start_waiting
{
	my ($arguments) = @_;
	my $session = start_psql($node, '\set VERBOSITY verbose',
		"SELECT notify_stats.wait_for_lsn(timeout => '1 hour'$arguments)");
	my ($pid) = waiting_pids(1);
	return ($session, $pid);
}

sub position
{
	return sql($node, 'SELECT pg_current_wal_insert_lsn()');
}

# --- settings ---------------------------------------------------------------------------

foreach my $bad (0, 101, -1, "'many'")
{
	like(sql_error($node, "ALTER SYSTEM SET notify_stats.max_cpu_percent = $bad"), qr/ERROR:  22023: /,
		"max_cpu_percent = $bad is refused");
}
like(sql_error($node, 'SET notify_stats.max_cpu_percent = 20'), qr/ERROR:  55P02: /,
	'max_cpu_percent cannot be set in a session');
is(sql($node, 'SHOW notify_stats.max_cpu_percent'), '10', 'the default of max_cpu_percent');

sql($node, q{
	CREATE TABLE source (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text, filler text);
	ALTER TABLE source REPLICA IDENTITY FULL;
	ALTER TABLE source ALTER filler SET STORAGE EXTERNAL;
	CREATE TABLE elsewhere (i int);
	CREATE DATABASE other;

	-- commits a row, and waits until the rollup has it
	CREATE PROCEDURE commit_and_look(who text, rounds int) LANGUAGE plpgsql AS $$
	DECLARE
		start timestamptz;
		before timestamptz;
		target bigint := (SELECT count(*) FROM source WHERE kind = who);
	BEGIN
		FOR i IN 1 .. rounds LOOP
			INSERT INTO source (kind) VALUES (who);
			COMMIT;
			target := target + 1;
			start := clock_timestamp();
			WHILE NOT EXISTS (SELECT FROM kinds WHERE kind = who AND n = target) LOOP
				IF clock_timestamp() > start + interval '60 s' THEN
					RAISE 'commit % of % was lost', i, who;
				END IF;
				PERFORM pg_sleep(0.001);
			END LOOP;
		END LOOP;
	END $$;
});
$node->safe_psql('other', 'CREATE TABLE t (i int)');

# The first rollup is noticed by a worker that reads nothing yet, at its naptime.
poll($node, "SELECT state = 'no rollups' FROM notify_stats.status");
create_rollup($node, 'kinds', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');
ok(comes_true("SELECT state = 'live' FROM notify_stats.rollups"), 'create_rollup() is noticed without a waiting session');
insert('first');
is_exact($node, 'exact');
# The share of the processor can be changed.
foreach my $percent (1, 100)
{
	set_and_reload($node, 'notify_stats.max_cpu_percent' => $percent);
	insert("percent $percent") for 1 .. 3;
	is_counted("percent $percent", "max_cpu_percent = $percent");
}

# --- wakes ------------------------------------------------------------------------------

$node->append_conf('postgresql.conf', 'notify_stats.naptime = 1h');
$node->restart;
wait_for_worker($node);
insert('start');
is_counted('start', 'naptime 1h: a commit is counted');

come_to_rest();
sql($node, "BEGIN; SAVEPOINT a; INSERT INTO source (kind) VALUES ('sub'); RELEASE a; COMMIT");
is_counted('sub', 'at rest: a commit wakes the worker');

$node->pgbench('-n -c 1 -t 1', 0, [qr{actually processed: 1/1}], [qr/^$/],
	'each of many commits of one session is counted',
	{ '013_wake_one' => "CALL commit_and_look('one', 100)" });
$node->pgbench('-n -C -c 8 -j 2 -t 40', 0, [qr{actually processed: 320/320}], [qr/^$/],
	'each commit of many short sessions is counted',
	{ '013_wake_short' => "CALL commit_and_look('short ' || :client_id, 1)" });
is_exact($node, 'exact after the bursts');

# Events that do not wake it.  (A session setting, so that it does not apply to a synchronous one.)
come_to_rest();
freeze($node, 'walwriter');
my ($before, $cycle) = (sleeps(), last_cycle());
$node->safe_psql('other', 'INSERT INTO t VALUES (1)');
sql($node, q{BEGIN; INSERT INTO source (kind) VALUES ('rolled back'); ROLLBACK});
sql($node, q{SELECT count(*) FROM source});
insert('asynchronous', 'synchronous_commit = off');
is(unflushed(), 't', 'an asynchronous commit is not on disk');
let_pass('0.5 s');
is(sleeps(), $before, 'a commit elsewhere, a rollback or an asynchronous commit does not wake the worker');
is(last_cycle(), $cycle, 'and there is no cycle');

# wait_for_lsn() flushes it and has it applied.
is(sql($node, 'SELECT notify_stats.wait_for_lsn()'), 't', 'naptime 1h: wait_for_lsn() wakes the worker');
is_counted('asynchronous', 'and the asynchronous commit is counted');
is(sql($node, "SELECT count(*) FROM kinds WHERE kind = 'rolled back'"), '0', 'the rolled back one is not');
sql($node, q{BEGIN; INSERT INTO source (kind) VALUES ('prepared 1'); PREPARE TRANSACTION 'p'});
sql($node, q{COMMIT PREPARED 'p'});
is(sql($node, 'SELECT notify_stats.wait_for_lsn()'), 't', 'naptime 1h: wait_for_lsn() after COMMIT PREPARED');
is_counted('prepared 1', 'COMMIT PREPARED is counted');
sql($node, q{SET synchronous_commit = off;
	INSERT INTO source (kind) VALUES ('in a transaction');
	BEGIN; INSERT INTO source (kind) VALUES ('uncommitted'); SELECT notify_stats.wait_for_lsn(); ROLLBACK});
is_counted('in a transaction', 'wait_for_lsn() in a transaction that has written does not wait for itself');
is_exact($node, 'exact after commits without a wakeup');

# The worker's own timeout finds changes without a wakeup.
set_and_reload($node, 'notify_stats.naptime' => '200ms');
come_to_rest();    # the worker flushes its own writes, and all WAL before
insert('tick 1', 'synchronous_commit = off');
is_counted('tick 1', 'naptime 200ms: an asynchronous commit is counted, with no WAL writer');
sql($node, q{BEGIN; SET LOCAL synchronous_commit = off; INSERT INTO source (kind) VALUES ('tick 2'); COMMIT});
is_counted('tick 2', 'so is one by SET LOCAL');
come_to_rest();
sql($node, q{BEGIN; INSERT INTO source (kind) VALUES ('tick 3'); PREPARE TRANSACTION 'p'});
sql($node, q{COMMIT PREPARED 'p'});
is_counted('tick 3', 'so is COMMIT PREPARED');
$node->pgbench('-n -c 4 -j 2 -t 1', 0, [qr{actually processed: 4/4}], [qr/^$/],
	'asynchronous commits between synchronous ones are counted', {
		'013_wake_mixed' => q{
			\if :client_id < 2
			SET synchronous_commit = off;
			\endif
			CALL commit_and_look('mixed ' || :client_id, 12)}
	});
thaw();
is_exact($node, 'exact after the ticks');

# --- waiting ----------------------------------------------------------------------------

set_and_reload($node, 'notify_stats.naptime' => '20ms');
my $reached = position();
wait_until_applied($node);
pause_worker($node);
insert('while paused');
is(sql($node, "SET statement_timeout = '20 s'; SELECT notify_stats.wait_for_lsn('$reached', '1 hour')"), 't',
	'paused: a position that is applied is not waited for');
is(sql($node, "SELECT notify_stats.wait_for_lsn('$reached', '0')"), 't', 'nor with a timeout of 0');
is(sql($node, "SELECT notify_stats.wait_for_lsn('0/0', '0', 'kinds')"), 't', 'nor for one rollup');
foreach my $timeout ('0', '200 ms', '-1 day')
{
	is(sql($node, "SELECT notify_stats.wait_for_lsn(timeout => '$timeout', no_throw => true)"), 'f', "paused: false after $timeout");
}
my $far = sql($node, q{SELECT reached_lsn FROM notify_stats.status WHERE stream = 'main'});
foreach my $timeout ('0', '200 ms', '-1 day')
{
	like(sql_error($node, "SELECT notify_stats.wait_for_lsn('FFFFFFFF/FFFFFFF0', '$timeout')"),
		qr{ERROR:  57014: timed out while waiting for position FFFFFFFF/FFFFFFF0 to be applied
DETAIL:  The position reached is $far\.
HINT:  The view notify_stats\.status shows what the worker waits for, and its last error\.},
		"paused: an error after $timeout, with what was reached");
}
is(sql($node, "SELECT bool_or(notify_stats.wait_for_lsn(timeout => '50 ms', no_throw => true)) FROM generate_series(1, 5)"), 'f',
	'several times in one statement');

my ($session, $pid) = start_waiting('');
sql($node, "SELECT pg_cancel_backend($pid)");
like($session->finish, qr/ERROR:  57014: /, 'pg_cancel_backend() ends it');
($session, $pid) = start_waiting('');
sql($node, "SELECT pg_terminate_backend($pid)");
like($session->finish, qr/FATAL:  57P01: /, 'pg_terminate_backend() ends it');
like(sql_error($node, "SET statement_timeout = '300 ms'; SELECT notify_stats.wait_for_lsn(timeout => '1 hour')"),
	qr/ERROR:  57014: canceling statement due to statement timeout/, 'so does statement_timeout');
waiting_pids(0);

# A wait that was cancelled, and waits again in the same transaction.
$session = start_psql($node, q{
	DO $$ BEGIN
		BEGIN
			PERFORM notify_stats.wait_for_lsn(timeout => '1 hour');
			RAISE 'not cancelled';
		EXCEPTION WHEN query_canceled THEN
			RAISE NOTICE 'cancelled';
		END;
		RAISE NOTICE 'waited: %', notify_stats.wait_for_lsn(timeout => '1 hour');
	END $$});
($pid) = waiting_pids(1);
sql($node, "SELECT pg_cancel_backend($pid)");
waiting_pids(1);

# Many at once, with different arguments.
my @sessions = ($session);
push @sessions, start_psql($node, "SELECT notify_stats.wait_for_lsn(timeout => '1 hour')") for 1 .. 8;
push @sessions, start_psql($node,
	"SELECT notify_stats.wait_for_lsn(pg_current_wal_insert_lsn(), NULL, 'kinds')") for 1 .. 4;
push @sessions, start_psql($node, "SELECT notify_stats.wait_for_lsn('$reached'::pg_lsn + $_, '1 hour')")
  for 1000, 2000;
poll($node, "SELECT count(*) >= 13 $waiting");
# up to the last position waited for, which one row may not reach
sql($node, q{SELECT pg_logical_emit_message(false, 'filler', repeat('x', 3000))});
insert('for the waiting');
resume_stream($node);
like(shift(@sessions)->finish, qr/cancelled\n.*waited: t/s, 'one that was cancelled can wait again');
is(join(' ', map { $_->finish =~ s/.*WARNING:  notify_stats is paused in this database\nHINT:  .*\n//r } @sessions), join(' ', ('t') x 14),
	'resume() ends all waits with true');
is_exact($node, 'exact after the waits');

# A position that does not exist yet.
my $future = sql($node, 'SELECT pg_current_wal_insert_lsn() + 300000');
is(sql($node, "SELECT notify_stats.wait_for_lsn('$future', '300 ms', no_throw => true)"), 'f', 'a position in the future: false');
set_and_reload($node, 'notify_stats.naptime' => '1h');
$session = start_psql($node, "SELECT notify_stats.wait_for_lsn('$future', '1 hour')");
waiting_pids(1);
for (my $i = 0; sql($node, "SELECT pg_current_wal_insert_lsn() > '$future'") eq 'f'; $i++)
{
	sql($node, "INSERT INTO source (kind, filler) VALUES ('future', repeat('$i', 50000))");
}
is($session->finish, 't', 'a position in the future, with naptime 1h: true when the WAL reaches it');
is_exact($node, 'exact');

# After a restart, shared memory is empty.
set_and_reload($node, 'notify_stats.naptime' => '20ms');
wait_until_applied($node);
my $applied = sql($node, 'SELECT notify_stats.applied_lsn()');
pause_worker($node);
$node->restart;
wait_for_worker($node);
is(sql($node, "SELECT notify_stats.wait_for_lsn('$applied', '0')"), 't', 'after a restart, paused: what is applied');
insert('after the restart');
is(sql($node, "SELECT notify_stats.wait_for_lsn(timeout => '0', no_throw => true)"), 'f', 'after a restart, paused: what is not');
resume_stream($node);

# A rollup that is dropped while it is waited for.
create_rollup($node, 'second', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');
wait_until_applied($node);
foreach my $drop ("SELECT notify_stats.drop_rollup('second')", 'DROP TABLE second CASCADE')
{
	create_rollup($node, 'second', 'SELECT kind, count(*) AS n FROM source GROUP BY kind') if $drop =~ /^DROP/;
	wait_until_applied($node);
	pause_worker($node);
	insert('before the drop');
	($session, $pid) = start_waiting(", rollup => 'second'");
	sql($node, $drop);
	like($session->finish, qr/ERROR:  42P01: /, "waiting for a rollup that is dropped is an error: $drop");
	resume_stream($node);
}

# The same, during a build.
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; INSERT INTO elsewhere VALUES (1)");
create_rollup($node, 'second', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');
poll($node, "SELECT build_phase = 'waiting for transactions' FROM notify_stats.rollups WHERE rollup = 'second'::regclass");
($session, $pid) = start_waiting(", rollup => 'second'");
my $other = start_psql($node, "SELECT notify_stats.wait_for_lsn(timeout => '1 hour')");
waiting_pids(2);
sql($node, "SELECT notify_stats.drop_rollup('second')");
like($session->finish, qr/ERROR:  42P01: /, 'an error if it is dropped during its build');
is($other->finish, 't', 'a wait for all rollups ends');
$holder->query_safe('ROLLBACK');
$holder->quit;

# A rebuild that was requested, and is waited for; naptime is an hour.
wait_until_applied($node);
set_and_reload($node, 'notify_stats.naptime' => '1h');
my $built = built_at($node, 'kinds');
sql($node, "SELECT notify_stats.rebuild('kinds')");
is(sql($node, "SELECT notify_stats.wait_for_lsn(timeout => '60 s', rollup => 'kinds')"), 't',
	'naptime 1h: a rebuild is done, and waited for');
is(sql($node, "SELECT built_at > '$built' FROM notify_stats.rollups WHERE rollup = 'kinds'::regclass"), 't',
	'it was rebuilt');

# Several rollups to build one after the other, without wakeups in between.
sql($node, join '', map {
	"SELECT notify_stats.create_rollup('more_$_', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');" } 1 .. 3);
ok(comes_true("SELECT count(*) = 4 FROM notify_stats.rollups WHERE state = 'live'", 60),
	'naptime 1h: several rollups are built');
sql($node, "SELECT notify_stats.drop_rollup('more_' || i) FROM generate_series(1, 3) i");
is_exact($node, 'exact');

# --- naps that end too late -------------------------------------------------------------

# If it fails, the worker sleeps for an hour.  These are not waited for as long as the others, so that the
# test goes on.
my $soon = 20;

# A conflicting lock.
$holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE kinds');
insert('locked');
poll($node, "SELECT waits_for = 'a lock on kinds' FROM notify_stats.status");
$holder->query_safe('COMMIT');
is_counted('locked', 'naptime 1h: the worker goes on when a lock is free', $soon);
restart_worker();
is_counted('locked', 'exact in the end');

# A build that ends early is tried again.
$holder->query_safe("BEGIN; INSERT INTO elsewhere VALUES (1)");
sql($node, "SELECT notify_stats.rebuild('kinds')");
poll($node, "SELECT build_phase = 'waiting for transactions' FROM notify_stats.rollups");
come_to_rest();
$pid = builder_pid($node);
sql($node, "SELECT pg_terminate_backend($pid)");
wait_for_builder_gone($node);
$holder->query_safe('ROLLBACK');
ok(comes_true('SELECT count(*) = 0 FROM notify_stats.rebuild_request', $soon),
	'naptime 1h: a build that failed is tried again');
restart_worker();
is_exact($node, 'exact in the end');

# resume(), and a nap that is shortened while there is nothing to read.
pause_worker($node);
insert('resumed');
sql($node, 'CHECKPOINT');
resume_stream($node);
is_counted('resumed', 'naptime 1h: resume() has the worker go on', $soon);
set_and_reload($node, 'notify_stats.naptime' => '20ms');
is_counted('resumed', 'a shorter naptime takes effect at once, also after pause()', $soon);
restart_worker();
is_exact($node, 'exact in the end');

sub restart_worker
{
	my $old_pid = worker_pid($node);
	sql($node, "SELECT pg_terminate_backend($old_pid)");
	wait_for_worker($node, 'postgres', $old_pid);
	return;
}

# --- open transactions and backlogs -----------------------------------------------------

# The slot's restart_lsn, from which the worker reads each time, advances because of the records
# that the worker itself writes.
my $retained = q{SELECT pg_current_wal_flush_lsn() - restart_lsn FROM pg_replication_slots};
sub restart_follows
{
	my ($title) = @_;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;
	my $bytes = sql($node, $retained);
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	while ($bytes > 200_000 && time < $limit)
	{
		insert('traffic');
		usleep(50_000);    # of a polling loop
		$bytes = sql($node, $retained);
	}
	return cmp_ok($bytes, '<=', 200_000, $title);
}

sub held_back_by
{
	return sql($node, "SELECT held_back_by FROM notify_stats.status WHERE stream = 'main'");
}

freeze($node, 'background writer');
restart_follows('the slot retains little');
is(held_back_by(), '', 'nothing holds it back');

# Also after a build, with no other traffic: the build's own transaction writes much WAL.
sql($node, q{
	CREATE TABLE many_groups AS SELECT i FROM generate_series(1, 100000) i;
	ALTER TABLE many_groups REPLICA IDENTITY FULL});
create_rollup($node, 'of_many_groups', 'SELECT i, count(*) AS n FROM many_groups GROUP BY i');
wait_for_state($node, 'of_many_groups', 'live');
poll($node, "SELECT ($retained) <= 200000");
pass('the slot retains little after a build of many groups');
sql($node, 'DROP TABLE of_many_groups CASCADE; DROP TABLE many_groups CASCADE');
restart_follows('and after these were dropped');
set_and_reload($node, 'notify_stats.max_batch_wal' => '64kB', 'notify_stats.naptime' => '1h');
# one that began before, but wrote only later
my $late = $node->background_psql('postgres');
$holder->quit;
$holder = $node->background_psql('postgres');    # each is given a limited time
$late->query_safe('BEGIN; SELECT 1');
$holder->query_safe("BEGIN; INSERT INTO source (kind) VALUES ('held')");
$late->query_safe("INSERT INTO source (kind) VALUES ('late')");
wait_until_applied($node);
sql($node, 'SELECT notify_stats.pause()');
sql($node, qq{INSERT INTO source (kind, filler) SELECT 'backlog ' || $_ % 3, repeat('x', 10000) FROM generate_series(1, 50)})
  for 1 .. 40;
cmp_ok(sql($node, 'SELECT lag_bytes FROM notify_stats.status'), '>', 19_000_000, 'a backlog of 20 MB');
is(sql($node, 'SELECT remaining_seconds IS NULL FROM notify_stats.status'), 't', 'there is no estimate yet');

my $offset = log_position($node);
set_stop($node, 'after-commit');
resume_stream($node);
restart_worker();
wait_for_stop($node, 'after-commit', $offset);
is(sql($node, 'SELECT remaining_seconds > 0 AND lag_bytes > 19000000 FROM notify_stats.status'), 't',
	'after the first window there is an estimate');
continue_from_stop($node);
is(sql($node, "SELECT notify_stats.wait_for_lsn(timeout => '120 s')"), 't',
	'small windows, with a transaction open throughout: it catches up');
is(differences($node, 'postgres', 'kinds'), '', 'exact');
ok(comes_true('SELECT remaining_seconds = 0 FROM notify_stats.status'), 'then nothing remains');
cmp_ok(sql($node, $retained), '>', 19_000_000, 'all WAL is retained for the open transaction');
my $holder_pid = $holder->query_safe('SELECT pg_backend_pid()');
my $holder_xid = sql($node, "SELECT backend_xid FROM pg_stat_activity WHERE pid = $holder_pid");
like(held_back_by(), qr/^transaction \d+ of process \d+, open since ./, 'the status names one');
like(held_back_by(), qr/^transaction $holder_xid of process $holder_pid, /,
	'the one that holds it back, not one that began before but has written later');
$late->query_safe('COMMIT');
$late->quit;
like(held_back_by(), qr/^transaction $holder_xid of process $holder_pid, /, 'the status names it');
$holder->query_safe('COMMIT');
restart_follows('when it has ended the slot retains little again');
is(held_back_by(), '', 'nothing holds it back any more');
is_exact($node, 'exact with the transaction that was open');

# The same with a prepared transaction; half of the WAL is not relevant.
sql($node, q{BEGIN; INSERT INTO source (kind) VALUES ('prepared 2'); PREPARE TRANSACTION 'it''s held'});
sql($node, qq{SELECT pg_logical_emit_message(true, 'test', repeat('x', 100000))}) for 1 .. 13;
sql($node, qq{INSERT INTO source (kind, filler) SELECT 'prepared', repeat('x', 10000) FROM generate_series(1, 20)})
  for 1 .. 7;
wait_until_applied($node);
my $prepared_xid = sql($node, 'SELECT transaction FROM pg_prepared_xacts');
poll($node, q{SELECT held_back_by IS NOT NULL FROM notify_stats.status});
like(held_back_by(), qr/^transaction $prepared_xid of prepared transaction 'it''s held', open since ./,
	'the status names a prepared transaction');
sql($node, q{COMMIT PREPARED 'it''s held'});
restart_follows('when it has been committed the slot retains little again');
is_exact($node, 'exact with the prepared transaction');

# Small windows with no transaction open.
sql($node, 'SELECT notify_stats.pause()');
sql($node, qq{INSERT INTO source (kind, filler) SELECT 'backlog ' || $_ % 3, repeat('x', 10000) FROM generate_series(1, 50)})
  for 1 .. 6;
resume_stream($node);
restart_worker();
is(sql($node, "SELECT notify_stats.wait_for_lsn(timeout => '120 s')"), 't', 'small windows: it catches up');
is(differences($node, 'postgres', 'kinds'), '', 'exact');
thaw();

# --- a rollup of rows written by a rollup's trigger -----------------------------------------

# (created with a short naptime, as the locks of that may block the worker, see above)
set_and_reload($node, 'notify_stats.max_batch_wal' => undef, 'notify_stats.naptime' => '20ms');
sql($node, q{
	CREATE TABLE audit (kind text, n bigint);
	ALTER TABLE audit REPLICA IDENTITY FULL;
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.audit VALUES (new.kind, new.n);
		RETURN new;
	END $$;
	CREATE TRIGGER note AFTER INSERT OR UPDATE ON kinds FOR EACH ROW EXECUTE FUNCTION note();
});
create_rollup($node, 'audited', 'SELECT kind, count(*) AS n FROM audit GROUP BY kind');
wait_until_applied($node);
set_and_reload($node, 'notify_stats.naptime' => '1h');
come_to_rest();
freeze($node, 'walwriter');
insert('chained');
ok(comes_true("SELECT count(*) = 1 FROM audited WHERE kind = 'chained'"),
	'naptime 1h: the last writes of the worker itself are counted');
insert('chained');
wait_until_applied($node);    # by then the trigger has written
is_exact($node, 'exact');
is(sql($node, "SELECT n FROM audited WHERE kind = 'chained'"), '2', 'both are counted');
thaw('walwriter');

# --- silence ----------------------------------------------------------------------------

# A session has waited for a position that is never reached; and we have rollups of our own writes.
freeze($node, 'background writer');
sql($node, "SELECT notify_stats.wait_for_lsn('FFFFFFFF/FFFFFFFF', '1 ms', no_throw => true)");
set_and_reload($node, 'notify_stats.naptime' => '20ms');
insert('before the silence');
my $state_file = 'pg_replslot/' . main_slot($node) . '/state';
my $stand = qq{
	SELECT pg_current_wal_insert_lsn(), confirmed_flush_lsn, restart_lsn, catalog_xmin, s.applied_lsn, a.reached_lsn,
		pg_snapshot_xmax(pg_current_snapshot()), modification, state_change
	FROM notify_stats.stream s JOIN pg_replication_slots p USING (slot_name)
		CROSS JOIN notify_stats.status a CROSS JOIN pg_stat_file('$state_file')
		CROSS JOIN pg_stat_activity w
	WHERE stream = 'main' AND w.backend_type = 'notify_stats worker'};
is_counted('before the silence', 'naptime 20ms, the last commit for a while');
come_to_rest();
my $stood = sql($node, $stand);
let_pass('1.5 s');
is(sql($node, $stand), $stood, 'then there is no record, no transaction, no cycle, and the slot stands still');
$stood = sql($node, 'SELECT applied_lsn, pg_snapshot_xmax(pg_current_snapshot()) FROM notify_stats.stream');
sql($node, 'CHECKPOINT');
poll($node, "SELECT reached_lsn >= pg_current_wal_insert_lsn() FROM notify_stats.status");
come_to_rest();
is(sql($node, 'SELECT applied_lsn, pg_snapshot_xmax(pg_current_snapshot()) FROM notify_stats.stream'), $stood,
	'a checkpoint is read, and causes no write');
thaw();

# --- a crash ----------------------------------------------------------------------------

# The worker's commit is asynchronous: readers see rows that a crash undoes, and that are applied again.
my (@pids, $walwriter);
come_to_rest();
$offset = log_position($node);
$walwriter = freeze($node, 'walwriter');
set_stop($node, 'after-commit');
insert('lost');
wait_for_stop($node, 'after-commit', $offset);
is_counted('lost', 'rows are visible');
is(unflushed(), 't', 'the commit of the worker is not on disk');
unset_stop($node);
@pids = split /\n/, sql($node, 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
kill_postmaster($node);
kill 9, $walwriter;
wait_until_ended(\@pids);
start_again($node);
slot_is_behind($node, 'after a crash the slot is not ahead');
is_counted('lost', 'the rows are counted again');
is_exact($node, 'exact after the crash');
insert('after');
is_counted('after', 'and later changes are counted');
is_verified($node, 'kinds', 'verify() finds nothing');
is_verified($node, 'audited', 'verify() finds nothing');
unlike(slurp_file($node->logfile), qr/changes were lost/, 'nothing was rebuilt because of lost changes');

done_testing();
