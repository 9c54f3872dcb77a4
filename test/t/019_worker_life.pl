# 019_worker_life.pl
#
# A worker behaves well in its server: at any time it ends or is cancelled when requested,
# without finishing its work first, and is restarted; it notices the end of the postmaster, and
# reads changed settings during a long backlog; it shows its activity; its writes are visible to
# the statistics and to autovacuum.  Whatever happens to the extension, its objects and their
# owners, no unused slot is left behind.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $timeout = $PostgreSQL::Test::Utils::timeout_default;
my $node = new_node('life', conf => qq{
notify_stats.database = 'postgres, nowhere'
autovacuum = off
checkpoint_timeout = 1h
max_wal_size = 4GB
wal_writer_delay = 10ms
});
my ($pid, $offset, $session);
my $next = 1_000_000;

# The rollup of source, when it is live.
sub make_rollup
{
	create_rollup($node, 'kinds', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');
	wait_until_applied($node);
	return;
}

sub change
{
	$next += 10;
	sql($node, qq{
		INSERT INTO source SELECT i, i % 5 FROM generate_series($next, $next + 9) i;
		UPDATE source SET kind = 6 WHERE id BETWEEN $next AND $next + 4;
		DELETE FROM source WHERE id BETWEEN $next + 4 AND $next + 6;
	});
	return;
}

# One transaction that takes the worker long to read, and longer yet to apply if of many kinds.
sub change_much
{
	my ($kinds) = @_;
	my $from = $next + 10;

	$next += 200_000;
	sql($node, "INSERT INTO source SELECT i, 100 + i % $kinds FROM generate_series($from, $next - 10) i");
	return;
}

# A worker in a state that a condition on pg_stat_activity describes; returns its pid.
sub worker_in_state
{
	my ($condition) = @_;
	my $query = "FROM pg_stat_activity WHERE backend_type = 'notify_stats worker'
		AND datname = 'postgres' AND ($condition)";

	my $found = '';

	# it may be in another state a moment later
	while ($found eq '')
	{
		poll($node, "SELECT count(*) = 1 $query");
		$found = sql($node, "SELECT pid $query");
	}
	return $found;
}

# Ends the worker: the process is gone, and its work is not finished.
sub ends
{
	my ($title, $function, $worker, $unfinished) = @_;
	my ($gone, $still);
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	# in one session, as the next worker is there after a second; without a commit that writes
	($gone, $still) = split /\n/, sql($node, qq{
		SELECT $function($worker) \\gset
		DO \$\$ BEGIN
			FOR i IN 1 .. 100 * $timeout LOOP
				PERFORM set_config('test.gone', (count(*) = 0)::text, false) FROM pg_stat_get_activity($worker);
				EXIT WHEN current_setting('test.gone') = 'true';
				PERFORM pg_stat_clear_snapshot(), pg_sleep(0.01);
			END LOOP;
		END \$\$;
		SELECT current_setting('test.gone');
		SELECT $unfinished;
	});
	is("$gone|$still", 'true|t', "$title: $function()");
	wait_for_worker($node, 'postgres', $worker);
	return;
}

# The processes end if the postmaster is killed.
sub ends_with_postmaster
{
	my ($title, @pids) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	kill_postmaster($node);
	for (my $i = 0; grep({ is_alive($_) } @pids) && $i < 100 * $timeout; $i++)
	{
		usleep(10_000);    # of a polling loop
	}
	is(scalar(grep { is_alive($_) } @pids), 0, "$title: " . scalar(@pids) . ' end with the postmaster');
	return;
}

sub sum_is
{
	my ($sum) = @_;
	return "(SELECT sum(n) FROM kinds) = $sum";
}

sub current_sum
{
	return sql($node, 'SELECT sum(n) FROM kinds');
}

sub slots
{
	return sql($node, 'SELECT count(*) FROM pg_replication_slots');
}

sql($node, q{
	CREATE TABLE source (id int PRIMARY KEY, kind int);
	ALTER TABLE source REPLICA IDENTITY FULL;
	INSERT INTO source SELECT i, i % 3 FROM generate_series(1, 10) i;
});
make_rollup();

# --- its visible activity --------------------------------------------------------------------

change();
wait_until_applied($node);
$pid = worker_in_state(q{state = 'idle' AND query = 'notify_stats: waiting for changes' AND wait_event_type = 'Extension'});
like(slurp_file("/proc/$pid/cmdline"), qr/notify_stats worker for postgres waiting for changes/, 'the process list shows it');
# it looks for changes now and then
poll($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", $node->pg_version >= 17 ? 'NotifyStatsMain' : 'Extension');
pass('it rests in its own wait event');
change_much(3);
is(worker_in_state(q{state = 'active' AND query = 'notify_stats: applying changes'}), $pid, 'it works');

# --- it ends, or stops, without finishing first --------------------------------

wait_until_applied($node);
foreach my $function ('pg_terminate_backend', 'pg_cancel_backend')
{
	my $sum;

	ends('at rest', $function, worker_in_state(q{state = 'idle'}), 'true');
	change();
	is_exact($node, 'and it counts');

	$sum = current_sum();
	change_much(3);
	ends('reading a large transaction', $function, worker_in_state(q{state = 'active'}), sum_is($sum));
	is_exact($node, 'and the next one reads it');

	# the table of the rollup grows invisibly
	$sum = current_sum();
	sql($node, 'CREATE TABLE size AS SELECT pg_relation_size($$kinds$$) AS bytes');
	change_much(150_000);
	poll($node, q{SELECT pg_relation_size('kinds') > bytes + 100000 FROM size});
	ends('writing many groups', $function, worker_in_state(q{state = 'active'}), sum_is($sum));
	is_exact($node, 'and the next one writes them');
	sql($node, 'DROP TABLE size; TRUNCATE source');
	wait_until_applied($node);

	$session = start_psql($node, 'BEGIN', 'LOCK TABLE source', 'SELECT pg_sleep(1000)');
	poll($node, q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 'source'::regclass AND mode = 'AccessExclusiveLock' AND granted});
	sql($node, 'CREATE TABLE wake_up ()');
	ends('waiting for a lock', $function,
		worker_in_state(q{wait_event_type = 'Extension' AND query = 'notify_stats: waiting for a lock on a table'}),
		q{count(*) = 1 FROM pg_locks WHERE relation = 'source'::regclass AND mode = 'AccessExclusiveLock' AND granted});
	sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)%' AND pid <> pg_backend_pid()});
	$session->finish;
	sql($node, 'DROP TABLE wake_up');
	change();
	is_exact($node, 'and it counts when the lock is free');

	# errors in a row, and so a pause before the next try
	sql($node, 'CREATE TABLE control AS TABLE notify_stats.control; DELETE FROM notify_stats.control');
	poll($node, q{SELECT last_error LIKE '%do not have exactly one row%' FROM notify_stats.stream_activity()});
	ends('in a pause after errors', $function,
		worker_in_state(q{query = 'notify_stats: waiting after an error' AND wait_event_type = 'Extension'}), 'true');
	sql($node, 'INSERT INTO notify_stats.control TABLE control; DROP TABLE control');
	change();
	is_exact($node, 'and it applies changes when the cause is fixed');
}

# --- a record that is on disk in part -------------------------------------------------

# The WAL writer writes whole pages, and so leaves a partial record on disk.  The rest is not
# written: the worker waits for it.
sub wait_for_half_a_record
{
	$session = start_psql($node, 'BEGIN', qq{DO \$\$ BEGIN
		FOR i IN $next + 100 .. $next + 900000 LOOP
			INSERT INTO source VALUES (i, 7);
			IF i % 50 = 0 THEN PERFORM pg_sleep(0.01); END IF;
		END LOOP; END \$\$});
	$next += 1000000;
	for (1 .. 1000)
	{
		freeze($node, 'walwriter');
		return worker_in_state(q{state = 'active' AND query = 'notify_stats: applying changes' AND wait_event = 'Extension'})
		  if sql($node, q{SELECT (pg_current_wal_flush_lsn() - '0/0') % 8192 = 0 AND count(*) > 0
			FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active' AND pid <> pg_backend_pid()}) eq 't';
		thaw('walwriter');
	}
	die 'no record is on disk in part';
}
change();
is_exact($node, 'exact before');
$pid = wait_for_half_a_record();
ends('waiting for the rest of a record', 'pg_terminate_backend', $pid, 'pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()');
thaw('walwriter');
sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DO %' AND pid <> pg_backend_pid()});
$session->finish;
change();
is_exact($node, 'exact after');

$pid = wait_for_half_a_record();
ends_with_postmaster('waiting for the rest of a record', $pid);
thaw('walwriter');
$session->finish;
start_again($node);
wait_for_worker($node);
change();
is_exact($node, 'exact after that');

# --- work that does not end by itself -------------------------------------------------

# In a worker, a builder, and a session that catches up for a database without a worker.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION notify_stats');
$node->append_conf('postgresql.conf', 'test.endless = on');
$node->reload;
foreach my $db ('postgres', 'other')
{
	$node->safe_psql($db, q{
		CREATE TABLE endless (kind int);
		ALTER TABLE endless REPLICA IDENTITY FULL;
		CREATE FUNCTION work_on(kind int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
		BEGIN
			IF kind = 1 AND current_setting('test.endless') = 'on' THEN
				RAISE LOG 'endless work of process %', pg_backend_pid();
				LOOP END LOOP;
			END IF;
			RETURN kind;
		END $$;
		SELECT notify_stats.create_rollup('worked_on', 'SELECT work_on(kind) AS kind, count(*) AS n FROM endless GROUP BY 1');
	});
}
wait_until_applied($node);
$node->safe_psql('other', 'CALL notify_stats.catch_up(); INSERT INTO endless VALUES (1)');
$offset = log_position($node);
$session = start_psql($node, '\\connect other', 'CALL notify_stats.catch_up()');
$node->wait_for_log(qr/endless work of process/, $offset);
sql($node, q{
	CREATE TABLE built AS SELECT 1 AS kind;
	ALTER TABLE built REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('of_built', 'SELECT work_on(kind) AS kind, count(*) AS n FROM built GROUP BY 1')});
$node->wait_for_log(qr/endless work of process @{[ builder_pid($node) ]}/, $offset);
sql($node, 'INSERT INTO endless VALUES (1)');
$node->wait_for_log(qr/endless work of process @{[ worker_pid($node) ]}/, $offset);
ends_with_postmaster('work that does not end by itself',
	slurp_file($node->logfile, $offset) =~ /endless work of process (\d+)/g);
$session->finish;
$node->append_conf('postgresql.conf', 'test.endless = off');
start_again($node);
wait_for_worker($node);
is_exact($node, 'exact after that');
sql($node, q{
	DROP TABLE endless, built CASCADE;
	SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE database = 'other'});
sql($node, 'DROP DATABASE other');

# --- settings in a backlog ------------------------------------------------------------

set_and_reload($node, 'notify_stats.max_batch_wal' => '64kB');
sql($node, 'SELECT notify_stats.pause()');
for (1 .. 4)
{
	change_much(3);
}
$offset = log_position($node);
resume_stream($node);
poll($node, q{SELECT remaining_seconds IS NOT NULL FROM notify_stats.status WHERE stream = 'main'});
set_stop($node, 'after-commit');
wait_for_stop($node, 'after-commit', $offset);
cmp_ok(sql($node, q{SELECT lag_bytes FROM notify_stats.status WHERE stream = 'main'}), '>', 1_000_000,
	'settings are read in the middle of a backlog');
set_and_reload($node, 'notify_stats.max_batch_wal' => undef);
continue_from_stop($node);

# --- DROP EXTENSION -------------------------------------------------------------------

# The backlog is still there.
sub drop_extension
{
	my ($title) = @_;

	sql($node, 'DROP EXTENSION notify_stats CASCADE');
	poll($node, 'SELECT count(*) = 0 FROM pg_replication_slots');
	pass("$title leaves no slot");
	wait_for_builder_gone($node);
	worker_in_state(q{state = 'idle'});
	return;
}
sub create_extension
{
	my ($title) = @_;

	sql($node, 'DROP TABLE IF EXISTS kinds CASCADE; CREATE EXTENSION notify_stats');
	make_rollup();
	change();
	is_exact($node, "$title: it can be created again");
	return;
}
drop_extension('DROP EXTENSION in a backlog');
sql($node, 'TRUNCATE source');
create_extension('after a backlog');
foreach my $point ('build-copied', 'build-snapshot', 'build-filled')
{
	$offset = log_position($node);
	set_stop($node, $point);
	sql($node, q{SELECT notify_stats.rebuild('kinds')});
	wait_for_stop($node, $point, $offset);
	# it may wait for locks that the builder holds
	$session = start_psql($node, 'DROP EXTENSION notify_stats CASCADE');
	continue_from_stop($node);
	is($session->finish, '', "DROP EXTENSION at $point");
	wait_for_builder_gone($node);
	poll($node, 'SELECT count(*) = 0 FROM pg_replication_slots');
	pass("DROP EXTENSION at $point leaves no slot");
	create_extension("after DROP EXTENSION at $point");
}

# --- other changes to it -------------------------------------------------------

like(sql_error($node, 'DROP SCHEMA notify_stats'),
	qr/ERROR:  2BP01: cannot drop schema notify_stats because other objects depend on it/, 'DROP SCHEMA is refused');
sql($node, 'DROP SCHEMA notify_stats CASCADE');
poll($node, 'SELECT count(*) = 0 FROM pg_replication_slots');
pass('DROP SCHEMA ... CASCADE drops the extension, and leaves no slot');
create_extension('after DROP SCHEMA');
like(sql_error($node, 'ALTER EXTENSION notify_stats SET SCHEMA public'),
	qr/ERROR:  0A000: extension "notify_stats" does not support SET SCHEMA/, 'SET SCHEMA is refused');
sql($node, 'ALTER EXTENSION notify_stats UPDATE');
change();
is_exact($node, 'ALTER EXTENSION UPDATE without another version changes nothing');

sql($node, q{
	CREATE ROLE before;
	CREATE ROLE after;
	GRANT ALL ON SCHEMA public TO before, after;
	GRANT ALL ON source TO before, after;
	SET ROLE before;
	SELECT notify_stats.create_rollup('theirs', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');
});
change();
is_exact($node, "a role's own rollup");
sql($node, 'REASSIGN OWNED BY before TO after');
change();
is_exact($node, 'exact after REASSIGN OWNED');
is_verified($node, 'theirs', 'and verified');
sql($node, 'ALTER TABLE theirs OWNER TO before; ALTER VIEW theirs_definition OWNER TO before');
change();
is_exact($node, 'exact after ALTER TABLE ... OWNER TO');
sql($node, q{SELECT notify_stats.rebuild('theirs')});
wait_until_rebuilt($node, 'theirs');
is(state_of($node, 'theirs'), 'live', 'and rebuilt by the new owner');
sql($node, 'DROP OWNED BY before CASCADE');
change();
is_exact($node, 'exact after DROP OWNED');
is(sql($node, 'SELECT count(*) FROM notify_stats.rollups'), '1', 'which takes the rollup away');

# --- statistics -----------------------------------------------------------------------

# The second of two changes in a row; nothing follows that would carry its counts along.
sub updates
{
	return sql($node, q{SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = 'kinds'::regclass});
}
sql($node, 'DELETE FROM source; INSERT INTO source SELECT i, 1 FROM generate_series(1, 10) i');
wait_until_applied($node);
for my $i (1 .. 3)
{
	my $before = updates();

	foreach my $id (20 + 2 * $i, 21 + 2 * $i)
	{
		sql($node, "INSERT INTO source VALUES ($id, 1)");
		wait_until_applied($node);
	}
	poll($node, qq{SELECT n_tup_upd >= $before + 2 FROM pg_stat_user_tables WHERE relid = 'kinds'::regclass});
}
pass('the last change reaches the statistics, though nothing follows it');

$node->append_conf('postgresql.conf', "autovacuum = on\nautovacuum_naptime = 1s\n");
$node->reload;
sql($node, q{
	ALTER TABLE kinds SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10);
	INSERT INTO source SELECT 100 + i, i FROM generate_series(1, 1000) i;
	DELETE FROM source WHERE id > 100;
});
poll($node, q{SELECT autovacuum_count > 0 FROM pg_stat_user_tables WHERE relid = 'kinds'::regclass});
pass('autovacuum processes the table of a rollup');
change();
is_exact($node, 'exact with it');

# Also the worker that waits for its database ends with the server.
$node->stop('fast');
$node->start;
is_exact($node, 'exact after a stop');

is(scalar(() = slurp_file($node->logfile) =~ /terminating any other active server processes/g), 0,
	'nothing of all that has restarted the server');

done_testing();
