# 054_window_hostile.pl
#
# What may happen while a rollup is left behind in the window of applied WAL, or is resumed: requests
# in any number, DDL on its sources, writers with long or prepared transactions, slots that others
# take, advance or drop, crashes.  A live rollup must equal its definition, with ignore_deletes plus
# the rows that were deleted; what cannot be resumed is built again, or fails with a hint that works.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('hostile', conf => <<'CONF');
autovacuum = off
checkpoint_timeout = 1h
max_replication_slots = 8
notify_stats.resumable_wal_window = '64MB'
notify_stats.lock_timeout = '300ms'
CONF
my $slot;
my $window;
my $inserted = 0;
my $offset = 0;

# --- helpers --------------------------------------------------------------------------

# Rows that "totals", which counts deleted rows as well, must have in all.
sub insert
{
	my ($n) = @_;

	sql($node, "INSERT INTO event SELECT g % 3, 10 FROM generate_series(1, $n) g");
	$inserted += $n;
	return;
}

sub position_of
{
	my ($rollup) = @_;
	return sql($node, "SELECT applied_lsn FROM notify_stats.rollups WHERE rollup = '$rollup'::regclass");
}

# Makes a rollup fail, so that it is left behind.  It is retried when the constraint is dropped.
sub make_fail
{
	my (@rollups) = @_;

	$offset = log_position($node);
	sql($node, "ALTER TABLE $_ ADD CONSTRAINT few CHECK (n < 0) NOT VALID") foreach @rollups;
	sql($node, 'INSERT INTO more VALUES (1)');
	insert(3);
	wait_for_state($node, $_, 'failed') foreach @rollups;
	return;
}

# The same, because they are locked by a session, which is returned; ->quit releases them.
sub lock_out
{
	my (@rollups) = @_;
	my $session = $node->background_psql('postgres');

	$offset = log_position($node);
	$session->query_safe('BEGIN; LOCK TABLE ' . join(', ', @rollups));
	insert(3);
	wait_for_state($node, $_, 'stale') foreach @rollups;
	return $session;
}

sub repair
{
	my (@rollups) = @_;

	sql($node, "ALTER TABLE $_ DROP CONSTRAINT few") foreach @rollups;
	return;
}

# All rollups are live and right.
sub is_right
{
	my ($title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until_applied($node);
	is(sql($node, 'SELECT sum(n), sum(total) FROM totals'), join('|', $inserted, 10 * $inserted), "$title: all rows count, deleted ones too");
	is_exact($node, "$title: the others are exact", rollups => ['kinds', 'pairs']);
	slot_is_behind($node, "$title: the slot is not ahead");
	return;
}

# It was resumed, not built again, since $offset.
sub is_resumed
{
	my ($rollup, $built_at, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_for_state($node, $rollup, 'live');
	$node->wait_for_log(qr/rollup public\.$rollup has been resumed/, $offset);
	is(built_at($node, $rollup), $built_at, "$title: $rollup was not built again");
	return;
}

# A failed rollup that would forget rows: check() says so, and its hint works.
sub follow_hint
{
	my ($rollup, $title) = @_;
	my $hint = check_row($node, 'rollup', 'hint');
	my ($statement) = $hint =~ /run: (SELECT .*;)/;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	like($hint, qr/forget_deleted => true/, "$title: the hint of check()");
	$statement = "SELECT notify_stats.rebuild('$rollup', forget_deleted => true);" if $statement !~ /forget/;
	sql($node, $statement);
	wait_for_state($node, $rollup, 'live');
	$inserted = sql($node, 'SELECT count(*) FROM event');
	is_right("$title: the hint was followed");
	return;
}

sub wait_for_window
{
	my ($exists) = @_;

	poll($node, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '$window' AND wal_status <> 'lost'", $exists);
	return;
}

# Writes WAL that concerns no rollup.
sub write_wal
{
	my ($mb) = @_;

	sql($node, "SELECT count(pg_logical_emit_message(false, 'filler', repeat('x', 65536))), txid_current() FROM generate_series(1, 16 * $mb)");
	return;
}

# --- the tables -----------------------------------------------------------------------

sql($node, <<'SQL');
CREATE TABLE event (kind int, value bigint NOT NULL);
CREATE TABLE more (kind int) PARTITION BY LIST (kind);
CREATE TABLE more_1 PARTITION OF more FOR VALUES IN (1);
CREATE TABLE more_2 PARTITION OF more FOR VALUES IN (2);
ALTER TABLE event REPLICA IDENTITY FULL;
ALTER TABLE more_1 REPLICA IDENTITY FULL;
ALTER TABLE more_2 REPLICA IDENTITY FULL;
INSERT INTO more VALUES (1), (2);
SQL
insert(30);
sql($node, q{SELECT notify_stats.create_rollup('totals', 'SELECT kind, count(*) AS n, sum(value) AS total, count(value) AS valued FROM event GROUP BY kind',
	ignore_deletes => '{event}')});
create_rollup($node, 'kinds', 'SELECT kind, count(*) AS n FROM event GROUP BY kind');
create_rollup($node, 'pairs', 'SELECT kind, count(*) AS n FROM (SELECT kind FROM event UNION ALL SELECT kind FROM more) s GROUP BY kind');
wait_until_applied($node);
$slot = main_slot($node);
$window = "${slot}_window";
wait_for_window(1);
sql($node, 'DELETE FROM event WHERE kind = 1');
insert(30);
is_right('at first');

# --- requests -------------------------------------------------------------------------

# More requests while it is resumed: they are served by that.
my $built_at = built_at($node, 'totals');
make_fail('totals');
set_stop($node, 'build-copied');
repair('totals');
wait_for_stop($node, 'build-copied', $offset);
sql($node, q{SELECT notify_stats.rebuild('totals')}) for 1 .. 3;
sql($node, q{BEGIN; SELECT notify_stats.rebuild('totals'), notify_stats.rebuild('totals'); COMMIT});
continue_from_stop($node);
is_resumed('totals', $built_at, 'requests');
wait_until_rebuilt($node, 'totals');
is(state_of($node, 'totals'), 'live', 'requests while it is resumed do not make it fail');
sql($node, q{SELECT notify_stats.rebuild('totals')}) if state_of($node, 'totals') ne 'live';
is_right('requests');

# --- the slots ------------------------------------------------------------------------

# The main slot is lost while a rollup is dropped.
create_rollup($node, 'others', 'SELECT value, count(*) AS n FROM event GROUP BY value');
wait_until_applied($node);
$offset = log_position($node);
pause_stream($node);
drop_slot($node, $slot);
sql($node, 'DROP TABLE others CASCADE');
insert(3);
resume_stream($node);
$node->wait_for_log(qr/replication slot "$slot" has been recreated from slot "$window"|changes were lost/, $offset);
is(state_of($node, 'totals'), 'live', 'main slot and a rollup dropped: the stream goes on');
sql($node, q{SELECT notify_stats.rebuild('totals', forget_deleted => true)}) if state_of($node, 'totals') ne 'live';
is_right('main slot and a rollup dropped');

# --- hints ----------------------------------------------------------------------------

# DDL that cannot be decoded.
make_fail('totals');
sql($node, 'ALTER TABLE event SET UNLOGGED; INSERT INTO event VALUES (7, 10); ALTER TABLE event SET LOGGED');
repair('totals');
$node->wait_for_log(qr/totals cannot be resumed/, $offset);
wait_for_state($node, 'totals', 'failed');
follow_hint('totals', 'unlogged');

# Without a window.
set_and_reload($node, 'notify_stats.resumable_wal_window' => '0');
wait_for_window(0);
make_fail('totals');
like(slurp_file($node->logfile, $offset), qr/totals has failed:.*\n.*HINT: .*forget_deleted => true/, 'without a window: the hint in the log');
insert(3);
wait_until_applied($node);
set_and_reload($node, 'notify_stats.resumable_wal_window' => '64MB');
repair('totals');
wait_for_state($node, 'totals', 'failed');
follow_hint('totals', 'no window');

# A slot of somebody else has the name.
$offset = log_position($node);
set_and_reload($node, 'notify_stats.resumable_wal_window' => '0');
wait_for_window(0);
sql($node, "SELECT pg_create_logical_replication_slot('$window', 'test_decoding')");
set_and_reload($node, 'notify_stats.resumable_wal_window' => '64MB');
my $worker = worker_pid($node);
$node->wait_for_log(qr/WARNING: .*"$window" belongs to another/, $offset);
sql($node, 'CALL notify_stats.catch_up()');
insert(3);
is_right('a slot with the name of the window');
is(worker_pid($node), $worker, 'a slot with the name of the window: the worker goes on');
sql($node, "SELECT pg_drop_replication_slot('$window')");
wait_for_window(1);

# The slot of the window is advanced by hand, past the last place that was noted before the position.
$built_at = built_at($node, 'totals');
for (1 .. 4)
{
	write_wal(2);
	insert(3);
	sql($node, 'CHECKPOINT; SELECT notify_stats.wait_for_lsn()');
}
my $between = sql($node, 'SELECT pg_current_wal_flush_lsn()');
insert(3);
wait_until_applied($node);
make_fail('totals');
insert(3);
sql($node, 'SELECT notify_stats.wait_for_lsn(rollup => $$kinds$$)');
sql($node, "SELECT pg_replication_slot_advance('$window', '$between')");
repair('totals');
is_resumed('totals', $built_at, 'advanced window');
is_right('advanced window');

# The slot of the window has another format.
pause_stream($node);
drop_slot($node, $window);
sql($node, "SELECT pg_create_logical_replication_slot('$window', '" . (format_name() eq 'pgoutput' ? 'notify_stats' : 'pgoutput') . "')");
resume_stream($node);
insert(3);
poll($node, "SELECT w.plugin = s.plugin FROM pg_replication_slots w, pg_replication_slots s WHERE w.slot_name = '$window' AND s.slot_name = '$slot'");

# A new slot was requested: a rollup that could be resumed would forget rows, too.
make_fail('totals');
like(sql_error($node, 'SELECT notify_stats.recreate_slot()'), qr/would forget deleted rows/, 'recreate_slot() refuses to forget what can be resumed');
repair('totals');
is_resumed('totals', $built_at, 'recreate_slot() was refused');

# --- transactions ---------------------------------------------------------------------

# Transactions that are open at the position, and end later, in several ways; and a window that a
# long transaction keeps open anyway.
set_and_reload($node, 'notify_stats.resumable_wal_window' => '16MB');
my $long = $node->background_psql('postgres');
$long->query_safe('BEGIN; INSERT INTO event VALUES (1, 10); SAVEPOINT s; INSERT INTO event VALUES (2, 10); ROLLBACK TO s; INSERT INTO event VALUES (0, 10)');
sql($node, q{BEGIN; INSERT INTO event VALUES (1, 10); SAVEPOINT s; INSERT INTO event VALUES (1, 10); PREPARE TRANSACTION 'early'});
sql($node, q{BEGIN; INSERT INTO event VALUES (1, 10); PREPARE TRANSACTION 'undone'});
write_wal(1);
insert(3);
make_fail('totals');
my $left = position_of('totals');
sql($node, q{BEGIN; INSERT INTO event VALUES (2, 10); PREPARE TRANSACTION 'late'});
for (1 .. 6)
{
	write_wal(4);
	sql($node, 'INSERT INTO more VALUES (1)');
	sql($node, 'SELECT notify_stats.wait_for_lsn(rollup => $$kinds$$)');
	sql($node, 'CHECKPOINT');
}
sql($node, q{COMMIT PREPARED 'early'});
sql($node, q{ROLLBACK PREPARED 'undone'});
$inserted += 2;
sql($node, 'CALL notify_stats.catch_up()');
is(sql($node, "SELECT window_lsn <= '$left' FROM notify_stats.status WHERE stream = 'main'"), 't',
	'a long transaction retains the WAL, so the window begins before the position');
# so that the end of the transaction does not let the window begin later
set_and_reload($node, 'notify_stats.resumable_wal_window' => '64MB');
$long->query_safe('INSERT INTO event VALUES (0, 10); COMMIT');
$inserted += 3;
$long->quit;
repair('totals');
is_resumed('totals', $built_at, 'long transactions');
sql($node, q{COMMIT PREPARED 'late'});
$inserted++;
is_right('long transactions');
set_and_reload($node, 'notify_stats.resumable_wal_window' => '16MB');

# The window is bounded, also after a restart.  Only a record of the running transactions, as a
# checkpoint writes one, lets slots move.
sub is_bounded
{
	my ($title) = @_;
	my $bytes;

	for (1 .. 25)
	{
		write_wal(10);
		insert(3);
		sql($node, 'CHECKPOINT; SELECT notify_stats.wait_for_lsn()');
	}
	for (1 .. 300)
	{
		$bytes = sql($node, q{SELECT window_bytes FROM notify_stats.status WHERE stream = 'main'});
		last if $bytes > 10 * 1024 * 1024 && $bytes < 20 * 1024 * 1024;
		write_wal(1) if $bytes <= 10 * 1024 * 1024;
		insert(3);
		sql($node, 'CHECKPOINT; SELECT notify_stats.wait_for_lsn()');
	}
	cmp_ok($bytes, '<', 20 * 1024 * 1024, "$title: the window is bounded");
	cmp_ok($bytes, '>', 10 * 1024 * 1024, "$title: and not much smaller");
	return;
}

is_bounded('at run time');
$node->restart;
wait_for_worker($node);
is_bounded('after a restart');
is_right('after a restart');
set_and_reload($node, 'notify_stats.resumable_wal_window' => '64MB');

# --- DDL on sources -------------------------------------------------------------------

# While "pairs" is left behind, or before and after.  "kinds" goes on, "mores" has sources of its own.
create_rollup($node, 'mores', 'SELECT kind, count(*) AS n FROM more GROUP BY kind');
wait_until_applied($node);
my @ddl = (
	[ 'DETACH and back', sub {
		sql($node, 'ALTER TABLE more DETACH PARTITION more_1; INSERT INTO more_1 VALUES (1), (1); INSERT INTO more VALUES (2)');
		sql($node, 'SELECT notify_stats.wait_for_lsn(rollup => $$kinds$$)');
		sql($node, 'ALTER TABLE more ATTACH PARTITION more_1 FOR VALUES IN (1); INSERT INTO more VALUES (1)');
	}],
	[ 'DETACH and back in one transaction with rows', sub {
		sql($node, 'BEGIN; INSERT INTO more VALUES (1); ALTER TABLE more DETACH PARTITION more_1; UPDATE more_1 SET kind = 1; INSERT INTO more_1 VALUES (1);
			DELETE FROM more_1 WHERE ctid IN (SELECT min(ctid) FROM more_1); ALTER TABLE more ATTACH PARTITION more_1 FOR VALUES IN (1); INSERT INTO more VALUES (1); COMMIT');
	}],
	[ 'ATTACH of rows', sub {
		sql($node, 'CREATE TABLE more_3 (kind int); INSERT INTO more_3 VALUES (3), (3); ALTER TABLE more_3 REPLICA IDENTITY FULL;
			ALTER TABLE more ATTACH PARTITION more_3 FOR VALUES IN (3); INSERT INTO more VALUES (3)');
	}],
	[ 'a new partition', sub {
		sql($node, 'CREATE TABLE more_4 PARTITION OF more FOR VALUES IN (4); ALTER TABLE more_4 REPLICA IDENTITY FULL; INSERT INTO more VALUES (4), (4)');
	}],
	[ 'DROP of a partition', sub { sql($node, 'DROP TABLE more_4; INSERT INTO more VALUES (3)') }],
	[ 'TRUNCATE of a partition', sub { sql($node, 'TRUNCATE more_3; INSERT INTO more VALUES (3)') }],
	[ 'TRUNCATE of one source', sub { sql($node, 'INSERT INTO more VALUES (3); TRUNCATE more; INSERT INTO more VALUES (1), (2), (3)') }],
	[ 'TRUNCATE of the other source', sub {
		sql($node, 'TRUNCATE event');
		insert(30);
	}],
	[ 'replica identity', sub {
		sql($node, 'ALTER TABLE event REPLICA IDENTITY NOTHING');
		insert(3);
		sql($node, 'DELETE FROM event WHERE ctid IN (SELECT min(ctid) FROM event); ALTER TABLE event REPLICA IDENTITY FULL');
		insert(3);
	}],
	[ 'unlogged', sub {
		sql($node, 'ALTER TABLE more_3 SET UNLOGGED; INSERT INTO more VALUES (3); ALTER TABLE more_3 SET LOGGED; INSERT INTO more VALUES (3)');
	}]);
foreach my $case (@ddl)
{
	my ($title, $change) = @$case;

	# totals ignores deleted rows, but some of these are no deletions
	my $locker = lock_out('pairs', 'mores');

	$change->();
	insert(3);
	$locker->quit;
	wait_for_state($node, $_, 'live') foreach ('kinds', 'pairs', 'mores');
	is_exact($node, "$title: exact", rollups => [ 'kinds', 'pairs', 'mores' ]);
	if (state_of($node, 'totals') ne 'live')
	{
		sql($node, q{SELECT notify_stats.rebuild('totals', forget_deleted => true)});
		wait_for_state($node, 'totals', 'live');
		$inserted = sql($node, 'SELECT count(*) FROM event');
	}
	else
	{
		is(sql($node, 'SELECT sum(n) FROM totals'), $inserted, "$title: deleted rows count");
	}
	# the same in a transaction that is open when they are left behind
	next if $title !~ /one transaction|ATTACH of|a new/;
	sql($node, 'ALTER TABLE more DETACH PARTITION more_3; DROP TABLE more_3') if $title =~ /ATTACH of/;
	sql($node, 'DROP TABLE more_4') if $title =~ /a new/;
	wait_until_applied($node);
	my $session = $node->background_psql('postgres');
	$session->query_safe('BEGIN');
	$session->query_safe($_) foreach (
		'INSERT INTO more VALUES (1)',
		$title =~ /ATTACH of/ ? 'CREATE TABLE more_3 (kind int); INSERT INTO more_3 VALUES (3), (3); ALTER TABLE more_3 REPLICA IDENTITY FULL;
			ALTER TABLE more ATTACH PARTITION more_3 FOR VALUES IN (3); INSERT INTO more VALUES (3)' :
		$title =~ /a new/ ? 'CREATE TABLE more_4 PARTITION OF more FOR VALUES IN (4); ALTER TABLE more_4 REPLICA IDENTITY FULL; INSERT INTO more VALUES (4)' :
		'ALTER TABLE more DETACH PARTITION more_1; INSERT INTO more_1 VALUES (1), (1); ALTER TABLE more ATTACH PARTITION more_1 FOR VALUES IN (1)');
	sql($node, 'ALTER TABLE pairs ADD CONSTRAINT few CHECK (n < 0) NOT VALID');
	insert(3);
	# because of the constraint, or of a lock of the session
	poll($node, q{SELECT state <> 'live' FROM notify_stats.rollups WHERE rollup = 'pairs'::regclass});
	$session->query_safe('COMMIT');
	$session->quit;
	insert(3);
	repair('pairs');
	wait_for_state($node, $_, 'live') foreach ('pairs', 'mores');
	is_exact($node, "$title, open at the position: exact", rollups => [ 'kinds', 'pairs', 'mores' ]);
}

# --- crashes --------------------------------------------------------------------------

# Several are left behind at different positions, one more than once, and processes are killed.
$built_at = built_at($node, 'totals');
my $kinds_built = built_at($node, 'kinds');
foreach my $point ('build-copied', 'build-moved', 'build-joined', 'after-apply', 'after-commit')
{
	make_fail('totals');
	make_fail('kinds');
	# much, so that it is read in steps
	sql($node, 'DO $$BEGIN FOR i IN 1..20 LOOP INSERT INTO event SELECT g % 3, 10 FROM generate_series(1, 1000) g; COMMIT; END LOOP; END$$');
	$inserted += 20000;
	sql($node, 'DELETE FROM event WHERE kind = 2');
	$offset = log_position($node);
	set_stop($node, $point);
	repair('totals', 'kinds');
	insert(3);
	wait_for_stop($node, $point, $offset);
	my $pid = sql($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type IN ('notify_stats builder', 'notify_stats worker')
		ORDER BY backend_type LIMIT 1});
	unset_stop($node);
	if ($point eq 'build-moved')
	{
		kill_server($node);
		start_again($node);
	}
	else
	{
		crash_restart($node, $pid);
	}
	wait_for_worker($node);
	insert(3);
	wait_for_state($node, $_, 'live') foreach ('totals', 'kinds');
	is_right("killed at $point");
	is(built_at($node, 'totals') . built_at($node, 'kinds'), "$built_at$kinds_built", "killed at $point: nothing was built again");
}

# The postmaster, when the main slot has been dropped and not made again.
$offset = log_position($node);
pause_stream($node);
drop_slot($node, $slot);
set_stop($node, 'main-slot-dropped');
insert(3);
resume_stream($node);
wait_for_stop($node, 'main-slot-dropped', $offset);
unset_stop($node);
kill_server($node);
start_again($node);
wait_for_worker($node);
$node->wait_for_log(qr/replication slot "$slot" has been recreated from slot "$window"/, $offset);
is_right('killed without a main slot');
is(built_at($node, 'totals') . built_at($node, 'kinds'), "$built_at$kinds_built", "killed without a main slot: nothing was built again");

# --- the rollup -----------------------------------------------------------------------

# It fails again while it is resumed, at a later place; and again.
for (1 .. 3)
{
	sql($node, 'CHECKPOINT');
	insert(3);
	wait_until_applied($node);
}
make_fail('totals');
my $first = position_of('totals');
set_and_reload($node, 'notify_stats.max_batch_wal' => '64kB');
sql($node, 'DO $$BEGIN FOR i IN 1..400 LOOP INSERT INTO event SELECT g % 3, 10 FROM generate_series(1, 300) g; COMMIT; END LOOP; END$$');
$inserted += 120000;
my $limit = sql($node, 'SELECT max(n) + 36000 FROM totals');
sql($node, "ALTER TABLE totals ADD CONSTRAINT limited CHECK (n < $limit)");
repair('totals');
$node->wait_for_log(qr/violates check constraint "limited"/, $offset);
wait_for_state($node, 'totals', 'failed');
is(sql($node, "SELECT applied_lsn > '$first' FROM notify_stats.rollups WHERE rollup = 'totals'::regclass"), 't', 'it fails again at a later position');
sql($node, 'ALTER TABLE totals DROP CONSTRAINT limited');
is_resumed('totals', $built_at, 'failed again');
is_right('failed again');
set_and_reload($node, 'notify_stats.max_batch_wal' => undef);

# It is altered meanwhile: renamed, given to another role, its index dropped and made again.
make_fail('totals', 'kinds');
sql($node, q{CREATE ROLE other; GRANT SELECT ON event TO other; GRANT CREATE ON SCHEMA public TO other;
	ALTER TABLE totals OWNER TO other; ALTER VIEW totals_definition OWNER TO other;
	ALTER TABLE kinds RENAME TO sorts; ALTER TABLE sorts RENAME COLUMN n TO m});
sql($node, 'DELETE FROM event WHERE kind = 0');
insert(6);
my $index = sql($node, q{SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'totals'::regclass});
my $name = sql($node, q{SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'totals'::regclass});
sql($node, "DROP INDEX $name; $index");
sql($node, 'ALTER TABLE sorts RENAME COLUMN m TO n; ALTER TABLE sorts RENAME TO kinds');
repair('totals', 'kinds');
is_resumed('totals', $built_at, 'altered');
is_right('altered');

# Its index is missing when it is to be resumed.
make_fail('totals');
sql($node, "DROP INDEX $name");
repair('totals');
insert(3);
sql($node, q{SELECT notify_stats.rebuild('totals')}) if state_of($node, 'totals') ne 'live';
sql($node, 'SELECT notify_stats.wait_for_lsn(rollup => $$kinds$$)');
sql($node, $index) if sql($node, q{SELECT count(*) FROM pg_index WHERE indrelid = 'totals'::regclass}) eq '0';
insert(3);
sql($node, q{SELECT notify_stats.rebuild('totals')}) if state_of($node, 'totals') eq 'failed';
is_resumed('totals', $built_at, 'without its index');
is_right('without its index');

# Somebody writes to its table, so that a count would become negative.
make_fail('kinds', 'totals');
sql($node, 'DELETE FROM event WHERE kind = 1');
sql($node, 'BEGIN; ALTER TABLE kinds DROP CONSTRAINT few; UPDATE kinds SET n = 1; COMMIT');
$node->wait_for_log(qr/rollup public\.kinds has failed: .*does not match its definition/, $offset);
is(position_of('kinds'), '', 'written by hand: it loses its position');
sql($node, q{SELECT notify_stats.rebuild('kinds')});
wait_for_state($node, 'kinds', 'live');
is_exact($node, 'written by hand: built again', rollups => ['kinds', 'pairs']);
sql($node, q{SELECT notify_stats.rebuild('totals', forget_deleted => true)});
repair('totals');
wait_for_state($node, 'totals', 'live');
$inserted = sql($node, 'SELECT count(*) FROM event');
is_right('written by hand');

# A view over two cores, of which one is left behind.
sql($node, q{SELECT notify_stats.create_rollup('both', 'SELECT e.kind, e.n, m.n AS more FROM (SELECT kind, count(*) AS n FROM event GROUP BY kind) e
	LEFT JOIN (SELECT kind, count(*) AS n FROM more GROUP BY kind) m ON m.kind = e.kind')});
wait_until_applied($node);
my $core = sql($node, q{SELECT cores[1] FROM notify_stats.computed_rollup WHERE rollup = 'both'::regclass});
my $cores_built = built_at($node, 'both');
$offset = log_position($node);
sql($node, "ALTER TABLE $core ADD CONSTRAINT few CHECK (false) NOT VALID");
sql($node, 'INSERT INTO more VALUES (1)');
insert(3);
wait_for_state($node, 'both', 'failed');
sql($node, 'INSERT INTO more VALUES (2)');
insert(3);
sql($node, "ALTER TABLE $core DROP CONSTRAINT few");
sql($node, q{SELECT notify_stats.rebuild('both')});
wait_for_state($node, 'both', 'live');
is_exact($node, 'a core was left behind', rollups => ['both']);
is(built_at($node, 'both'), $cores_built, 'a core was left behind: it was resumed');
sql($node, q{SELECT notify_stats.drop_rollup('both')});

# --- the size of the window -----------------------------------------------------------

# The position falls out of the window.
make_fail('kinds', 'totals');
set_and_reload($node, 'notify_stats.resumable_wal_window' => '1MB');
for (1 .. 100)
{
	write_wal(1);
	sql($node, 'INSERT INTO more VALUES (1); CHECKPOINT');
	sql($node, 'SELECT notify_stats.wait_for_lsn(rollup => $$pairs$$)');
	last if sql($node, "SELECT window_lsn > '" . position_of('totals') . "' FROM notify_stats.status WHERE stream = 'main'") eq 't';
}
$offset = log_position($node);
repair('kinds', 'totals');
wait_for_state($node, 'kinds', 'live');
is_exact($node, 'out of the window: built again', rollups => ['kinds']);
follow_hint('totals', 'out of the window');

# None, and one again, while it is left behind.
set_and_reload($node, 'notify_stats.resumable_wal_window' => '64MB');
$built_at = built_at($node, 'totals');
wait_for_window(1);
make_fail('kinds', 'totals');
set_and_reload($node, 'notify_stats.resumable_wal_window' => '0');
wait_for_window(0);
insert(3);
sql($node, 'SELECT notify_stats.wait_for_lsn(rollup => $$pairs$$)');
set_and_reload($node, 'notify_stats.resumable_wal_window' => '64MB');
wait_for_window(1);
repair('kinds', 'totals');
wait_for_state($node, 'kinds', 'live');
is_exact($node, 'no window for a while: built again', rollups => ['kinds']);
follow_hint('totals', 'no window for a while');

# Both slots are lost.
pause_stream($node);
drop_slot($node, $_) foreach ($slot, $window);
insert(3);
resume_stream($node);
wait_for_state($node, 'totals', 'failed');
wait_for_state($node, 'kinds', 'live');
follow_hint('totals', 'both slots are lost');
wait_for_window(1);

# --- the worker -----------------------------------------------------------------------

# A large backlog, read by several processes, while one is left behind.
$built_at = built_at($node, 'totals');
make_fail('totals');
set_and_reload($node, 'notify_stats.parallel_backlog' => '256kB', 'notify_stats.max_batch_wal' => '100kB');
for (1 .. 2)
{
	pause_stream($node);
	for (1 .. 8)
	{
		sql($node, 'DO $$BEGIN FOR i IN 1..30 LOOP INSERT INTO event SELECT g % 3, 10 FROM generate_series(1, 100) g; COMMIT; END LOOP; END$$; CHECKPOINT');
		$inserted += 3000;
	}
	sql($node, 'DELETE FROM event WHERE kind = 2');
	$offset = log_position($node);
	set_stop($node, 'window-folded');
	resume_stream($node);
	wait_for_stop($node, 'window-folded', $offset);
	continue_from_stop($node);
	sql($node, 'SELECT notify_stats.wait_for_lsn(rollup => $$kinds$$)');
}
pause_stream($node);
drop_slot($node, $slot);
resume_stream($node);
repair('totals');
is_resumed('totals', $built_at, 'parallel');
is_right('parallel');
set_and_reload($node, 'notify_stats.parallel_backlog' => undef, 'notify_stats.max_batch_wal' => undef);

# Without the worker.
make_fail('totals');
pause_stream($node);
insert(3);
repair('totals');
sql($node, 'CALL notify_stats.catch_up()');
is(state_of($node, 'totals'), 'live', 'catch_up() resumes');
is(built_at($node, 'totals'), $built_at, 'catch_up() does not build');
insert(3);
sql($node, 'CALL notify_stats.catch_up()');
resume_stream($node);
is_right('catch_up()');

# A lock that comes and goes, for longer and shorter than lock_timeout.
foreach my $ms (50, 500, 50, 900)
{
	my $session = $node->background_psql('postgres');

	$session->query_safe('BEGIN; LOCK TABLE totals, kinds');
	insert(3);
	$session->query_safe("SELECT pg_sleep($ms / 1000.0); COMMIT");
	$session->quit;
	insert(3);
}
wait_for_state($node, $_, 'live') foreach ('totals', 'kinds');
is_right('locks');
is(built_at($node, 'totals'), $built_at, 'locks: nothing was built again');

# --- requests of other kinds ----------------------------------------------------------

# While it is resumed: from scratch is refused, forgetting is done after it.
$built_at = built_at($node, 'totals');
my $kinds_first = built_at($node, 'kinds');
make_fail('totals', 'kinds');
set_stop($node, 'build-copied');
repair('totals', 'kinds');
wait_for_stop($node, 'build-copied', $offset);
like(sql_error($node, q{SELECT notify_stats.rebuild('totals', from_scratch => true)}), qr/without forgetting deleted rows/, 'from scratch: refused');
sql($node, q{BEGIN; SELECT notify_stats.rebuild('totals', forget_deleted => true), notify_stats.rebuild('totals');
	SELECT notify_stats.rebuild('kinds', from_scratch => true), notify_stats.rebuild('kinds'); COMMIT});
sql($node, q{SELECT notify_stats.rebuild('totals'), notify_stats.rebuild('kinds')});
continue_from_stop($node);
wait_until_rebuilt($node, $_) foreach ('totals', 'kinds');
isnt(built_at($node, 'totals'), $built_at, 'forgetting was asked for, and done');
isnt(built_at($node, 'kinds'), $kinds_first, 'from scratch was asked for, and done');
$inserted = sql($node, 'SELECT count(*) FROM event');
is_right('requests of several kinds');

# The main slot is lost, or a new one requested, while it is resumed.
foreach my $way ('lost', 'requested')
{
	$built_at = built_at($node, 'totals');
	make_fail('totals');
	sql($node, 'DELETE FROM event WHERE kind = 1');
	set_stop($node, 'build-copied');
	repair('totals');
	wait_for_stop($node, 'build-copied', $offset);
	unset_stop($node);
	if ($way eq 'lost')
	{
		pause_stream($node);
		drop_slot($node, $slot);
		resume_stream($node);
	}
	else
	{
		sql($node, 'SELECT notify_stats.recreate_slot(forget_deleted => true)');
	}
	insert(3);
	continue_from_stop($node);
	wait_for_state($node, $_, 'live') foreach ('totals', 'kinds', 'pairs');
	wait_until_rebuilt($node, 'totals');
	$inserted = sql($node, 'SELECT count(*) FROM event') if $way eq 'requested';
	is_right("main slot $way while it is resumed");
	is(built_at($node, 'totals'), $built_at, 'it was not built again') if $way eq 'lost';
}
wait_for_window(1);

# Its definition is altered.
make_fail('totals', 'kinds');
sql($node, q{BEGIN; ALTER TABLE kinds DROP CONSTRAINT few;
	SELECT notify_stats.alter_rollup('kinds', 'SELECT kind, count(*) AS n, count(value) AS valued FROM event GROUP BY kind'); COMMIT});
sql($node, 'SELECT notify_stats.wait_for_lsn(rollup => $$pairs$$)');
poll($node, q{SELECT count(*) FROM notify_stats.replacement}, '0');
wait_for_state($node, 'kinds', 'live');
is_exact($node, 'altered while it is left behind', rollups => ['kinds', 'pairs']);
repair('totals');
wait_for_state($node, 'totals', 'live');
is_right('altered while it is left behind');

# --- limits ---------------------------------------------------------------------------

# No slot is free for the window; the worker goes on, and says so once.
set_and_reload($node, 'notify_stats.resumable_wal_window' => '0');
insert(3);
wait_for_window(0);
sql($node, q{SELECT count(pg_create_physical_replication_slot('other_' || i)) FROM generate_series(1, 6) i});
$offset = log_position($node);
set_and_reload($node, 'notify_stats.resumable_wal_window' => '64MB');
$node->wait_for_log(qr/WARNING: .*not enough free replication slots to create slot "$window"/, $offset);
for (1 .. 3)
{
	insert(3);
	is_right('no free slot');
}
like(check_row($node, 'window of WAL'), qr/^f\|/, 'no free slot: check() complains');
sql($node, q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'other%'});
insert(3);
wait_for_window(1);
is(scalar(() = slurp_file($node->logfile, $offset) =~ /worker WARNING: /g), 1, 'no free slot: one warning');

# The server invalidates the slot of the window, but not the main slot.
make_fail('totals', 'kinds');
set_and_reload($node, 'max_slot_wal_keep_size' => '32MB');
$offset = log_position($node);
for (1 .. 60)
{
	write_wal(4);
	sql($node, 'SELECT notify_stats.wait_for_lsn(rollup => $$pairs$$); CHECKPOINT');
	last if slurp_file($node->logfile, $offset) =~ /invalidating obsolete replication slot "$window"/;
}
$node->wait_for_log(qr/dropped replication slot "$window", which was invalidated/, $offset);
set_and_reload($node, 'max_slot_wal_keep_size' => undef);
repair('totals', 'kinds');
insert(3);
wait_for_state($node, 'kinds', 'live');
is_exact($node, 'the slot of the window was invalidated', rollups => ['kinds', 'pairs']);
follow_hint('totals', 'the slot of the window was invalidated');
wait_for_window(1);

# --- upgrades -------------------------------------------------------------------------

make_fail('kinds');
sql($node, 'CALL notify_stats.prepare_upgrade()');
is(sql($node, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '$window'"), '0', 'prepare_upgrade() drops the slot');
resume_stream($node);
insert(3);
repair('kinds');
wait_for_state($node, 'kinds', 'live');
is_exact($node, 'after prepare_upgrade()', rollups => ['kinds', 'pairs']);

# --- another database -----------------------------------------------------------------

# A database that is moved to another tablespace: its WAL cannot be decoded any more.
sql($node, q{SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''});
disconnect($node);
$node->safe_psql('postgres', 'CREATE DATABASE moved');
$node->adjust_conf('postgresql.conf', 'notify_stats.database', "'postgres, moved'");
$node->restart;
sql($node, 'CREATE EXTENSION notify_stats', 'moved');
make_kinds($node, 'moved');
wait_until_applied($node, 'moved');
poll($node, q{SELECT count(*) FROM pg_replication_slots WHERE database = 'moved'}, '2');
change_kinds($node, 'moved');
wait_until_applied($node, 'moved');
$node->safe_psql('postgres', 'ALTER DATABASE moved SET TABLESPACE elsewhere');
change_kinds($node, 'moved');
is_exact($node, 'a database was moved to another tablespace', db => 'moved');
$node->safe_psql('postgres', 'DROP DATABASE moved');
is(sql($node, q{SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'notify%'}), '2', 'a dropped database leaves no slot');

# Dropped, and created again.
make_fail('totals');
disconnect($node);
sql($node, 'DROP EXTENSION notify_stats CASCADE');
poll($node, q{SELECT count(*) FROM pg_replication_slots}, '0');
sql($node, 'DROP TABLE totals, kinds, pairs CASCADE');
sql($node, 'CREATE EXTENSION notify_stats');
create_rollup($node, 'kinds', 'SELECT kind, count(*) AS n FROM event GROUP BY kind');
wait_for_window(1);
insert(3);
is_exact($node, 'a new extension', rollups => ['kinds']);

done_testing();
