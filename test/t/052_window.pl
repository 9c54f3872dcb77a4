# 052_window.pl
#
# With notify_stats.resumable_wal_window, a second slot retains WAL that was applied.  A rollup that
# was left behind keeps its position, does not hold up the others, and is resumed from there when
# its cause is gone, with the rows that a rebuild would forget.  A main slot that was lost is
# replaced from the second one.  What cannot be resumed is built again.
#
# formats: all
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('window', conf => <<'CONF');
autovacuum = off
max_prepared_transactions = 2
notify_stats.resumable_wal_window = '64MB'
notify_stats.lock_timeout = '300ms'
CONF
my $slot;
my $inserted = 0;

# Rows that "totals", which counts deleted rows as well, must have in all.
sub insert
{
	my ($n) = @_;

	sql($node, "INSERT INTO event SELECT g % 3, 10 FROM generate_series(1, $n) g");
	$inserted += $n;
	return;
}

# Each group of a rollup has these rows more or less.
sub is_total
{
	my ($title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until_applied($node);
	is(sql($node, 'SELECT sum(n), sum(total) FROM totals'), join('|', $inserted, 10 * $inserted), "$title: all rows count, deleted ones too");
	is_exact($node, "$title: the others are exact", rollups => ['kinds', 'others']);
	return;
}

# It was resumed, not built again, since that place in the log.
sub is_resumed
{
	my ($rollup, $offset, $built_at, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_for_state($node, $rollup, 'live');
	$node->wait_for_log(qr/rollup public\.$rollup has been resumed/, $offset);
	is(built_at($node, $rollup), $built_at, "$title: $rollup was not built again");
	return;
}

sql($node, <<'SQL');
CREATE TABLE event (kind int, value bigint NOT NULL);
ALTER TABLE event REPLICA IDENTITY FULL;
CREATE FUNCTION halved(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
CREATE ROLE desk;
GRANT CREATE ON SCHEMA public TO desk;
GRANT SELECT ON event TO desk;
SQL
insert(30);
sql($node, q{SELECT notify_stats.create_rollup('totals', 'SELECT kind, count(*) AS n, sum(value) AS total, count(value) AS valued FROM event GROUP BY kind',
	ignore_deletes => '{event}')});
sql($node, q{SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM event GROUP BY kind')});
sql($node, q{SELECT notify_stats.create_rollup('others', 'SELECT value, count(*) AS n, count(halved(value)) AS half FROM event GROUP BY value')});
sql($node, 'ALTER TABLE totals OWNER TO desk; ALTER VIEW totals_definition OWNER TO desk');
wait_until_applied($node);
$slot = main_slot($node);

# The slot of the window.
poll($node, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '${slot}_window'", '1');
sql($node, 'DELETE FROM event WHERE kind = 1');
insert(30);
is_total('at first');
is(sql($node, q{SELECT window_lsn <= applied_lsn AND window_bytes > 0 FROM notify_stats.status WHERE stream = 'main'}), 't',
	'status shows the window');
is(sql($node, 'SELECT applied_lsn = (SELECT applied_lsn FROM notify_stats.status WHERE stream = $$main$$) FROM notify_stats.rollups WHERE rollup = $$totals$$::regclass'),
	't', 'a live rollup has the position of the stream');
like(check_row($node, 'window of WAL'), qr/^t\|notify_stats\.resumable_wal_window is 64MB, and slot ${slot}_window is reserved/, 'check() is content');

# A CHECK on the rollup that has deleted rows: it fails, and is resumed when the constraint is gone.
my $built_at = built_at($node, 'totals');
my $offset = log_position($node);
sql($node, 'ALTER TABLE totals ADD CONSTRAINT few CHECK (n < 25)');
insert(30);
wait_for_state($node, 'totals', 'failed');
my $left = sql($node, q{SELECT applied_lsn FROM notify_stats.rollups WHERE rollup = 'totals'::regclass});
isnt($left, '', 'it keeps its position');
unlike($_, qr/forget_deleted|from_scratch/, 'the hint does not tell to forget rows')
  foreach check_row($node, 'rollup', 'hint'), sql_error($node, q{SELECT notify_stats.wait_for_lsn(rollup => 'totals')});
insert(3);
is_exact($node, 'the others go on', rollups => ['kinds', 'others']);
is(sql($node, q{SELECT applied_lsn FROM notify_stats.rollups WHERE rollup = 'totals'::regclass}), $left, 'its position stays');
is(sql($node, 'SELECT sum(n) FROM totals'), '60', 'and so do its rows');
sql($node, 'DELETE FROM event WHERE kind = 2; INSERT INTO event VALUES (2, 10)');
$inserted++;
sql($node, q{SELECT notify_stats.rebuild('totals')});
$node->wait_for_log(qr/rollup public\.totals has failed.*rollup public\.totals has failed/s, $offset);
wait_until_rebuilt($node, 'totals');
is(state_of($node, 'totals'), 'failed', 'while the cause is there, it fails again');
is(sql($node, q{SELECT applied_lsn FROM notify_stats.rollups WHERE rollup = 'totals'::regclass}), $left, 'at the same position');
my $repaired_at = sql($node, 'SELECT clock_timestamp()');
sql($node, 'ALTER TABLE totals DROP CONSTRAINT few');
is_resumed('totals', $offset, $built_at, 'CHECK');
is(sql($node, "SELECT changed_at > '$repaired_at' FROM notify_stats.rollups WHERE rollup = 'totals'::regclass"), 't',
	'rollups shows when it was changed');
is_total('CHECK');

# A trigger, and a restart of the server before it is repaired.
$offset = log_position($node);
sql($node, q{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not today''; END';
	CREATE TRIGGER refuse BEFORE UPDATE ON totals FOR EACH ROW EXECUTE FUNCTION refuse()});
insert(6);
wait_for_state($node, 'totals', 'failed');
insert(6);
$node->restart;
wait_for_worker($node);
insert(6);
sql($node, 'DROP TRIGGER refuse ON totals');
sql($node, q{SELECT notify_stats.rebuild('totals')});
is_resumed('totals', $offset, $built_at, 'trigger');
is_total('trigger');

# A trigger that suppresses rows.
$offset = log_position($node);
sql($node, q{CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
	CREATE TRIGGER suppress BEFORE UPDATE ON totals FOR EACH ROW EXECUTE FUNCTION suppress()});
insert(6);
wait_for_state($node, 'totals', 'failed');
like(slurp_file($node->logfile, $offset), qr/Drop the trigger or rule, then run: SELECT notify_stats\.rebuild\('public\.totals'\);/,
	'nor does the hint in the server log tell to forget rows');
sql($node, 'DROP TRIGGER suppress ON totals');
sql($node, q{SELECT notify_stats.rebuild('totals')});
is_resumed('totals', $offset, $built_at, 'suppressed rows');
is_total('suppressed rows');

# A privilege that was lost.  It is tried again when the privilege is back.
$offset = log_position($node);
sql($node, 'REVOKE SELECT ON event FROM desk');
insert(6);
wait_for_state($node, 'totals', 'failed');
sql($node, 'DELETE FROM event WHERE kind = 0');
insert(6);
sql($node, 'GRANT SELECT ON event TO desk');
is_resumed('totals', $offset, $built_at, 'privilege');
is_total('privilege');

# Code that takes too long, for which the others wait in vain.
$offset = log_position($node);
sql($node, q{CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1000); RETURN NEW; END';
	CREATE TRIGGER dawdle BEFORE UPDATE ON totals FOR EACH ROW EXECUTE FUNCTION dawdle()});
set_and_reload($node, 'notify_stats.max_rollup_time' => '500ms');
insert(6);
wait_for_state($node, 'totals', 'failed');
sql($node, 'DROP TRIGGER dawdle ON totals');
set_and_reload($node, 'notify_stats.max_rollup_time' => undef);
sql($node, q{SELECT notify_stats.rebuild('totals')});
is_resumed('totals', $offset, $built_at, 'slow code');
is_total('slow code');

# A lock that is not given back: the others do not wait.
foreach my $rollup ('totals', 'kinds')
{
	my $built = built_at($node, $rollup);
	my $locked = start_psql($node, "BEGIN; LOCK TABLE $rollup; SELECT pg_sleep(1000)");

	$offset = log_position($node);
	poll($node, "SELECT count(*) FROM pg_locks WHERE relation = '$rollup'::regclass AND mode = 'AccessExclusiveLock' AND granted", '1');
	insert(6);
	$node->wait_for_log(qr/rollup public\.$rollup is stale and will be resumed/, $offset);
	insert(6);
	sql($node, q{SELECT notify_stats.wait_for_lsn(rollup => 'others')});
	is(differences($node, 'postgres', 'others'), '', "$rollup is locked: the others go on");
	sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)%' AND pid <> pg_backend_pid()});
	$locked->finish;
	is_resumed($rollup, $offset, $built, 'lock');
	is_total("$rollup was locked");
}

# A function that raised an error, and was replaced.
$offset = log_position($node);
my $others_built = built_at($node, 'others');
sql($node, q{CREATE OR REPLACE FUNCTION halved(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN IF $1 = 12 THEN RAISE ''twelve''; END IF; RETURN $1; END'});
sql($node, 'INSERT INTO event VALUES (0, 12)');
wait_for_state($node, 'others', 'failed');
sql($node, 'DELETE FROM event WHERE value = 12; DELETE FROM event WHERE kind = 1');
# The row is gone, but the change that inserted it is read again.
my $advice = qr/rebuild\('public\.others'\); If it fails again at the same change, add from_scratch => true\./;
like(sql_error($node, q{SELECT notify_stats.rebuild('others'); SELECT notify_stats.wait_for_lsn(rollup => 'others')}), $advice,
	'it fails at the same change, and the hint tells what helps');
like(check_row($node, 'rollup', 'hint'), qr/rebuild\('(?:public\.)?others'\); If it fails again at the same change, add from_scratch => true\./,
	'and so does check()');
like(slurp_file($node->logfile, $offset), $advice, 'and the server log');
sql($node, q{CREATE OR REPLACE FUNCTION halved(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END'});
sql($node, q{SELECT notify_stats.rebuild('others')});
is_resumed('others', $offset, $others_built, 'function');
is_exact($node, 'a function was replaced', rollups => ['kinds', 'others']);
$inserted++;
is(sql($node, 'SELECT sum(n) FROM totals'), $inserted, 'and the others were not disturbed');
sql($node, 'INSERT INTO event VALUES (1, 8)');    # sum of values: 10 each again
$inserted++;

# A crash while it is resumed: it goes on.  Before that, a reader is told what has changed since it was left
# behind.  (The server takes older positions for changed, than that where it was first asked.)
wait_until_applied($node);
my $before = sql($node, 'SELECT notify_stats.applied_lsn()');
sql($node, 'INSERT INTO event VALUES (1, 10)');
$inserted++;
wait_until_applied($node);
is(sql($node, "SELECT count(group_key) FROM notify_stats.changes('totals', '$before')"), '1', 'what has changed before');
my $asked = sql($node, 'SELECT pg_current_wal_insert_lsn()');
sql($node, 'CREATE TABLE unrelated ()');
poll($node, "SELECT notify_stats.applied_lsn() > '$asked'");
$offset = log_position($node);
sql($node, 'ALTER TABLE totals ADD CONSTRAINT few CHECK (n < 0) NOT VALID');
insert(3);
wait_for_state($node, 'totals', 'failed');
$left = sql($node, q{SELECT applied_lsn FROM notify_stats.rollups WHERE rollup = 'totals'::regclass});
sql($node, q{DO $$BEGIN FOR i IN 1..30 LOOP INSERT INTO event SELECT g % 3, 10 FROM generate_series(1, 10) g; COMMIT; END LOOP; END$$});
$inserted += 300;
set_and_reload($node, 'notify_stats.max_batch_wal' => '64kB');
sql($node, q{DO $$BEGIN FOR i IN 1..3000 LOOP INSERT INTO event SELECT g % 3, 10 FROM generate_series(1, 10) g; COMMIT; END LOOP; END$$});
$inserted += 30000;
set_stop($node, 'build-moved');
sql($node, 'ALTER TABLE totals DROP CONSTRAINT few');
sql($node, q{SELECT notify_stats.rebuild('totals')});
wait_for_stop($node, 'build-moved', $offset);
my $moved = sql($node, q{SELECT applied_lsn FROM notify_stats.rollups WHERE rollup = 'totals'::regclass});
is(sql($node, q{SELECT build_phase FROM notify_stats.rollups WHERE rollup = 'totals'::regclass}), 'resuming', 'rollups tells that it is resumed');
cmp_ok(sql($node, "SELECT '$moved'::pg_lsn > reason_lsn FROM notify_stats.rollups WHERE rollup = 'totals'::regclass"), 'eq', 't', 'its position has moved');
is(sql($node, "SELECT count(group_key) > 0 AND min(lsn) = '$moved' FROM notify_stats.changes('totals', '$left')"), 't', 'a reader is told what has changed');
unset_stop($node);
crash_restart($node, builder_pid($node));
insert(3);
is_resumed('totals', $offset, $built_at, 'crash');
is_total('crash');
like(slurp_file($node->logfile, $offset), qr{resumes rollup public\.totals from \Q$moved\E}, 'it was resumed from where it was');
set_and_reload($node, 'notify_stats.max_batch_wal' => undef);

# The main slot is lost in any way: the stream goes on from the window.
my %losses = (
	dropped => sub { drop_slot($node, $slot) },
	advanced => sub { sql($node, "SELECT pg_replication_slot_advance('$slot', pg_current_wal_flush_lsn())") },
	recreated => sub {
		drop_slot($node, $slot);
		sql($node, "SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
	});
foreach my $loss (sort keys %losses)
{
	my $built = built_at($node);

	$offset = log_position($node);
	pause_stream($node);
	insert(6);
	$losses{$loss}->();
	insert(6);
	resume_stream($node);
	$node->wait_for_log(qr/replication slot "$slot" has been recreated from slot "${slot}_window"/, $offset);
	is_total("$loss main slot");
	is(built_at($node), $built, "$loss main slot: nothing was built again");
	slot_is_behind($node, "$loss main slot: the slot is not ahead");
}

# What cannot be resumed is built again: rows without WAL, or with pgoutput, which does not allow
# that, a column that had another name meanwhile.
$offset = log_position($node);
sql($node, 'ALTER TABLE kinds ADD CONSTRAINT few CHECK (n < 0) NOT VALID');
insert(3);
wait_for_state($node, 'kinds', 'failed');
sql($node, format_name() eq 'pgoutput' ?
	'ALTER TABLE event RENAME kind TO sort; INSERT INTO event VALUES (7, 10); ALTER TABLE event RENAME sort TO kind' :
	'ALTER TABLE event SET UNLOGGED; INSERT INTO event VALUES (7, 10); ALTER TABLE event SET LOGGED');
sql($node, 'ALTER TABLE kinds DROP CONSTRAINT few');
sql($node, q{SELECT notify_stats.rebuild('kinds')});
wait_for_state($node, 'kinds', 'live');
is_exact($node, 'DDL that the format does not report', rollups => ['kinds', 'others']);
unlike(slurp_file($node->logfile, $offset), qr/resumes rollup public\.kinds/, 'the rollup was built again');

# ... and what is to be computed from scratch.
sql($node, 'ALTER TABLE kinds ADD CONSTRAINT few CHECK (n < 0) NOT VALID');
insert(3);
wait_for_state($node, 'kinds', 'failed');
my $kinds_built = built_at($node, 'kinds');
sql($node, 'ALTER TABLE kinds DROP CONSTRAINT few');
sql($node, q{SELECT notify_stats.rebuild('kinds', from_scratch => true)});
wait_for_state($node, 'kinds', 'live');
isnt(built_at($node, 'kinds'), $kinds_built, 'from_scratch: it was built again');

# DDL on what only that rollup reads, and that is undone: formats that go by name cannot tell.
sql($node, q{CREATE TYPE mood AS ENUM ('a', 'b'); ALTER TABLE event ADD COLUMN c int, ADD COLUMN d int, ADD COLUMN m mood});
sql($node, q{SELECT notify_stats.create_rollup('named', 'SELECT c, m, count(*) AS n FROM event GROUP BY c, m')});
wait_until_applied($node);
my $swap_columns = 'ALTER TABLE event RENAME c TO x; ALTER TABLE event RENAME d TO c; ALTER TABLE event RENAME x TO d';
my $swap_labels = q{ALTER TYPE mood RENAME VALUE 'a' TO 'x'; ALTER TYPE mood RENAME VALUE 'b' TO 'a'; ALTER TYPE mood RENAME VALUE 'x' TO 'b'};
foreach my $swap ($swap_columns, $swap_labels)
{
	my $locked = start_psql($node, 'BEGIN; LOCK TABLE named; SELECT pg_sleep(1000)');

	poll($node, q{SELECT count(*) FROM pg_locks WHERE relation = 'named'::regclass AND mode = 'AccessExclusiveLock' AND granted}, '1');
	insert(3);
	wait_for_state($node, 'named', 'stale');
	foreach my $row (q{INSERT INTO event VALUES (0, 10, 5, 6, 'a')}, q{INSERT INTO event VALUES (0, 10, 7, 8, 'b')})
	{
		sql($node, $swap);
		sql($node, $row);
		$inserted++;
		sql($node, q{SELECT notify_stats.wait_for_lsn(rollup => 'kinds')});
	}
	sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)%' AND pid <> pg_backend_pid()});
	$locked->finish;
	wait_for_state($node, 'named', 'live');
	is_exact($node, 'DDL that was undone', rollups => [ 'kinds', 'named' ]);
}

done_testing();
