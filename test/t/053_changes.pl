# 053_changes.pl
#
# A client keeps a copy of a rollup by changes().  At each position that it is given, the copy equals
# the rollup in the same snapshot: after any change of rows, through kills of the server, the worker
# and the client's session, while the rollup is left behind and resumed, and after rebuilds.  Where
# the changes cannot be told, changes() says so, and the client reads the whole rollup.
# rollup_as_of() returns the rows that the test has stored at earlier positions.
#
# formats: all
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Documents;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('changes', conf => <<'CONF');
autovacuum = off
max_replication_slots = 6
notify_stats.resumable_wal_window = '64MB'
notify_stats.lock_timeout = '300ms'
CONF
my $is_native = format_name() eq 'notify_stats';

# --- the client -------------------------------------------------------------------------

# Its copy of a rollup: the measures of each group, as JSON, and the position.
my %copy;
my $lsn;

# Applies rows of changes(), and returns their number of groups.
sub apply
{
	my (@rows) = @_;
	my $groups = 0;

	foreach my $row (@rows)
	{
		my ($at, $key, $measures) = split /\|/, $row, -1;

		$lsn = $at;
		next if $key eq '';
		$groups++;
		if ($measures eq '')
		{
			delete $copy{$key};
		}
		else
		{
			$copy{$key} = $measures;
		}
	}
	return $groups;
}

# What the copy must be, after rows of changes() and a line "rollup": the rows of the rollup.
my $rows_of = q{SELECT jsonb_build_object('kind', kind, 'day', day),
	jsonb_build_object('n', n, 'total', total, 'valued', valued) FROM kinds};

# The client asks, and compares.  Returns the number of groups that have changed.
sub follow
{
	my ($title, %param) = @_;
	my $since = defined $lsn ? "'$lsn'" : 'NULL';
	my $output;
	my ($changes, $rollup);
	my %rollup;
	my $groups;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until_applied($node) unless $param{at_once};
	$output = sql($node, "BEGIN ISOLATION LEVEL REPEATABLE READ;
		SELECT * FROM notify_stats.changes('kinds', $since);
		SELECT 'rollup'; $rows_of; COMMIT");
	($changes, $rollup) = split /^rollup$/m, $output;
	%copy = () if !defined $lsn;
	$groups = apply(split /\n/, $changes);
	%rollup = map { split /\|/, $_, 2 } grep { $_ ne '' } split /\n/, $rollup;
	is_deeply(\%copy, \%rollup, "$title: the copy equals the rollup");
	return $groups;
}

# The changes since the client's position cannot be told; it reads the whole rollup.
sub is_gap
{
	my ($title, $detail) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	like(sql_error($node, "SELECT * FROM notify_stats.changes('kinds', '$lsn')"), qr/NS001.*$detail/s, "$title: the changes cannot be read");
	undef $lsn;
	follow("$title, read as a whole");
	return;
}

# The slots of sessions that follow.
sub follower_slots
{
	return sql($node, q{SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '_follow_'});
}

sql($node, <<'SQL');
CREATE TABLE event (kind int, day date, value bigint);
ALTER TABLE event REPLICA IDENTITY FULL;
CREATE TABLE other (a int);
ALTER TABLE other REPLICA IDENTITY FULL;
INSERT INTO event SELECT g % 4, '2026-01-01'::date + g % 3, g FROM generate_series(1, 24) g;
SELECT notify_stats.create_rollup('kinds', 'SELECT kind, day, count(*) AS n, sum(value) AS total, count(value) AS valued FROM event GROUP BY kind, day');
SELECT notify_stats.create_rollup('others', 'SELECT a, count(*) AS n FROM other GROUP BY a');
SQL
wait_until_applied($node);
poll($node, q{SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%\_window'}, '1');

# --- changes of rows --------------------------------------------------------------------

is(follow('the whole rollup'), 12, 'all groups are there at first');
is(follow('nothing'), 0, 'nothing has changed');
my @stored;    # [position, time, rows of the rollup]

# Remembers the rows of the rollup at the client's position.
sub store
{
	wait_until_applied($node);
	push @stored, [ split(/\|/, sql($node, q{SELECT notify_stats.applied_lsn(), clock_timestamp()})),
		sql($node, 'SELECT kind, day, n, trim_scale(total), valued FROM kinds ORDER BY kind, day') ];
	return;
}

my @changes = (
	[ 'an insert' => "INSERT INTO event VALUES (1, '2026-01-01', 5)", 1 ],
	[ 'an update that moves rows' => 'UPDATE event SET kind = 7 WHERE kind = 2', 6 ],
	[ 'a delete of groups' => 'DELETE FROM event WHERE kind = 3', 3 ],
	[ 'groups that come back' => "INSERT INTO event VALUES (3, '2026-01-02', 1.50), (2, '2026-01-02', 2)", 2 ],
	[ 'a group of NULLs' => 'INSERT INTO event VALUES (NULL, NULL, 3), (NULL, NULL, 4)', 1 ],
	[ 'sums that become NULL' => 'UPDATE event SET value = NULL WHERE kind = 0', 3 ],
	[ 'sums that are not NULL again' => 'UPDATE event SET value = kind WHERE kind = 0', 3 ],
	[ 'nothing in the end' => "INSERT INTO event VALUES (9, '2026-01-09', 9); DELETE FROM event WHERE kind = 9", 0 ],
	[ 'the NULLs vanish' => 'DELETE FROM event WHERE kind IS NULL', 1 ],
	[ 'another rollup' => 'INSERT INTO other VALUES (1)', 0 ]);
foreach my $change (@changes)
{
	my ($title, $statements, $groups) = @$change;

	store();
	sql($node, $statements);
	is(follow($title), $groups, "$title: the groups that have changed");
}
store();

# --- the same again, and other forms ----------------------------------------------------

my $since = $stored[0][0];
# without the position reached, which may move without changes
my $all = sql($node, "SELECT group_key, measures FROM notify_stats.changes('kinds', '$since') ORDER BY 1");
is(sql($node, "SELECT group_key, measures FROM notify_stats.changes('kinds', '$since') ORDER BY 1"), $all, 'twice from the same position: the same');
like($all, qr/^\{"day": "2026-01-01", "kind": 2\}\|$/m, 'a group that is gone has no measures');

# the copy is a table of the client, with the statements of the manual
my ($whole, $prepare, $loop, $restart) = document_block('doc/reading.md', 'Following a rollup', 'sql');
s/orders_by_day/kinds/ foreach $prepare, $loop;
$loop =~ s/status/kind/g;
$loop =~ s/10 s/0 s/;
my $copy_differs = '(TABLE copy EXCEPT ALL TABLE kinds) UNION ALL (TABLE kinds EXCEPT ALL TABLE copy)';
sql($node, $prepare);
sql($node, $loop);
is(sql($node, $copy_differs), '', 'changed_rows(): at first, the copy is the whole rollup');
sql($node, "UPDATE copy SET n = 0; INSERT INTO copy VALUES (-1); BEGIN; $restart $loop; COMMIT");
is(sql($node, $copy_differs), '', 'and so it is when the client begins again');
sql($node, 'DROP TABLE copy, copied');
sql($node, "CREATE TABLE copy AS SELECT * FROM notify_stats.rollup_as_of(NULL::kinds, '$since');
	CREATE TABLE copied (lsn pg_lsn); INSERT INTO copied VALUES ('$since')");
sql($node, $loop);
is(sql($node, $copy_differs), '', 'changed_rows(): the copy equals the rollup');
is(sql($node, 'SELECT count(*) > 0 FROM copy'), 't', 'and is not empty');
sql($node, $loop);
is(sql($node, $copy_differs), '', 'and still does when nothing has changed');
is(sql($node, q{SELECT deleted, group_row FROM notify_stats.changed_rows(NULL::kinds, (SELECT lsn FROM copied))}), '|', 'changed_rows() without changes');

# earlier contents
foreach my $entry (@stored)
{
	my ($position, $at, $rows) = @$entry;

	is(sql($node, "SELECT kind, day, n, trim_scale(total), valued
		FROM notify_stats.rollup_as_of(NULL::kinds, '$position') ORDER BY kind, day"), $rows, "the rollup as of $position");
}
my ($position, $at) = @{ $stored[-1] };
is(sql($node, "SELECT notify_stats.position_at('$at') <= '$position'"), 't', 'the position at a time');
is(sql($node, q{SELECT notify_stats.position_at('infinity') = applied_lsn FROM notify_stats.stream}), 't', 'the last position');
is(sql($node, q{SELECT bool_and(notify_stats.position_at(reached_at) = applied_lsn) FROM notify_stats.window_position}), 't', 'the positions that were noted');
like(sql_error($node, q{SELECT notify_stats.position_at('2000-01-01')}), qr/NS001.*before the window/s, 'a time before the window');

# a snapshot that is older than the position
my $old = sql($node, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM kinds;
	SELECT lsn >= '$lsn'::pg_lsn, group_key FROM notify_stats.changes('kinds', '$lsn', '1 hour'); COMMIT");
like($old, qr/\nt\|$/, 'REPEATABLE READ does not wait');

# --- waiting ----------------------------------------------------------------------------

follow('before waiting');
my $waiting = start_psql($node, "SELECT group_key FROM notify_stats.changes('kinds', '$lsn', '1 hour')");
poll($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%''1 hour''%' AND wait_event_type = 'Extension'}, '1');
sql($node, 'INSERT INTO other VALUES (2)');
wait_until_applied($node);
# it may just look at the next position
poll($node, q{SELECT a.wait_event_type = 'Extension' AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND
		l.relation IN ('kinds'::regclass, 'event'::regclass)) FROM pg_stat_activity a WHERE a.query LIKE '%''1 hour''%' AND a.pid <> pg_backend_pid()});
pass('it holds no lock while it waits');
sql($node, "INSERT INTO event VALUES (5, '2026-01-05', 5)");
is($waiting->finish, '{"day": "2026-01-05", "kind": 5}', 'a change wakes a reader that waits');
follow('after waiting');
is(sql($node, "SELECT group_key FROM notify_stats.changes('kinds', '$lsn', '50 ms')"), '', 'the wait ends after its time');
like(sql_error($node, "SET statement_timeout = '200ms'; SELECT * FROM notify_stats.changes('kinds', '$lsn', '1 hour')"), qr/57014/, 'the wait can be cancelled');
is(sql($node, 'SELECT 1'), '1', 'the server goes on');

# --- positions that cannot be told ------------------------------------------------------

like(sql_error($node, q{SELECT * FROM notify_stats.changes('kinds', '0/1')}), qr/NS001.*NULL instead of the position/s, 'a position before the window');
like(sql_error($node, q{SELECT * FROM notify_stats.changes('kinds', 'FFFF/0')}), qr/NS001.*another server/s, 'a position in the future');
like(sql_error($node, q{SELECT * FROM notify_stats.rollup_as_of(NULL::kinds, '0/1')}), qr/NS001/, 'an earlier content before the window');
like(sql_error($node, q{SELECT * FROM notify_stats.rollup_as_of(NULL::kinds, pg_current_wal_lsn() + 1000000)}), qr/NS001(?!.*NULL instead)/s, 'a later content, without a hint for changes()');
like(sql_error($node, q{SELECT * FROM notify_stats.changes('event', '0/1')}), qr/42P01.*is not a rollup/s, 'no rollup');
like(sql_error($node, q{SELECT * FROM notify_stats.changed_rows(1, '0/1')}), qr/42809.*row type/s, 'no row type');
follow('before TRUNCATE');
sql($node, 'TRUNCATE event; INSERT INTO event VALUES (1, NULL, 1)');
wait_until_applied($node);
# version 1 of wal2json does not report it, so the rollup is built again
is_gap('TRUNCATE', format_name() eq 'wal2json1' ? 'was built' : 'truncated');

# --- rebuilds ---------------------------------------------------------------------------

my $built_at = built_at($node, 'kinds');
sql($node, q{SELECT notify_stats.rebuild('kinds')});
wait_until_rebuilt($node, 'kinds');
isnt(built_at($node, 'kinds'), $built_at, 'the rollup is rebuilt');
sql($node, "INSERT INTO event VALUES (1, '2026-01-01', 5)");
is(follow('a rebuild without differences'), 1, 'the client does not notice it');
sql($node, 'UPDATE kinds SET n = n + 1');
sql($node, q{SELECT notify_stats.rebuild('kinds')});
wait_until_rebuilt($node, 'kinds');
sql($node, "INSERT INTO event VALUES (1, '2026-01-01', 5)");
wait_until_applied($node);
is_gap('a rebuild with differences', 'was built');
# pgoutput publishes the table, which therefore cannot be unlogged
if (format_name() ne 'pgoutput')
{
	sql($node, 'ALTER TABLE event SET UNLOGGED; INSERT INTO event VALUES (7, NULL, 10); ALTER TABLE event SET LOGGED');
	wait_until_applied($node);
	wait_for_state($node, 'kinds', 'live');
	sql($node, "INSERT INTO event VALUES (1, '2026-01-01', 5)");
	wait_until_applied($node);
	is_gap('a table that was unlogged', 'was built');
}

# facts that have changed, before the worker has seen it
if (format_name() ne 'pgoutput')
{
	sql($node, "INSERT INTO event VALUES (1, '2026-01-01', 5)");
	wait_until_applied($node);
	pause_stream($node);
	sql($node, 'ALTER TABLE event SET UNLOGGED; ALTER TABLE event SET LOGGED');
	like(sql_error($node, "SELECT * FROM notify_stats.changes('kinds', '$lsn')"), qr/NS001.*A source table was altered\./s, 'a table that was unlogged, and is logged again');
	resume_stream($node);
	wait_until_applied($node);
	is_gap('after that', 'was built');
}

# --- a rollup that is left behind -------------------------------------------------------

sql($node, 'ALTER TABLE kinds ADD CONSTRAINT few CHECK (n < 10) NOT VALID');
sql($node, "INSERT INTO event VALUES (1, '2026-01-01', 1)");
wait_until_applied($node);
follow('before it is left behind');
sql($node, "INSERT INTO event VALUES (2, '2026-01-01', 1)");
wait_until_applied($node);
sql($node, "INSERT INTO event SELECT 1, '2026-01-01', 1 FROM generate_series(1, 20)");
wait_for_state($node, 'kinds', 'failed');
is(follow('left behind', at_once => 1), 1, 'up to its own position');
is(follow('left behind', at_once => 1), 0, 'which it has reached');
sql($node, 'INSERT INTO event VALUES (4, NULL, 1); ALTER TABLE kinds DROP CONSTRAINT few');
sql($node, q{SELECT notify_stats.rebuild('kinds')});
wait_for_state($node, 'kinds', 'live');
is(follow('resumed'), 2, 'and on from there');

# --- kills ------------------------------------------------------------------------------

my %kills = (
	server => sub { crash_restart($node, worker_pid($node)); wait_for_worker($node) },
	worker => sub { sql($node, 'SELECT pg_terminate_backend(' . worker_pid($node) . ')'); },
	client => sub { sql($node, 'SELECT 1'); disconnect($node) },
	restart => sub { $node->restart; wait_for_worker($node) });
foreach my $round (1 .. 2)
{
	foreach my $kill (sort keys %kills)
	{
		sql($node, "INSERT INTO event SELECT g % 5, NULL, g FROM generate_series(1, 20) g; DELETE FROM event WHERE kind = $round AND value > 10");
		follow("before the kill: $kill", at_once => 1);
		sql($node, 'UPDATE event SET kind = (kind + 1) % 6 WHERE value > 12');
		$kills{$kill}->();
		sql($node, "INSERT INTO event VALUES (NULL, '2026-02-01', $round)");
		follow("after the kill: $kill");
	}
}

# under load, with changes in the client's way
sql($node, 'CREATE TABLE enough ();');
my $load = start_psql($node, q{DO $$DECLARE i int := 0; BEGIN WHILE NOT EXISTS (SELECT FROM enough) LOOP
	i := i + 1;
	INSERT INTO event SELECT (random() * 10)::int, '2026-03-01'::date + (random() * 3)::int, i;
	IF i % 3 = 0 THEN DELETE FROM event WHERE kind = (random() * 10)::int AND value > i - 20; END IF;
	IF i % 5 = 0 THEN UPDATE event SET value = NULL WHERE kind = (random() * 10)::int AND value > i - 50; END IF;
	COMMIT; END LOOP; END$$});
my $looks = 0;    # that have seen a change
my $limit = time + $PostgreSQL::Test::Utils::timeout_default;
poll($node, q{SELECT count(*) > 0 FROM event WHERE day >= '2026-03-01'});
while ($looks < 15 && time < $limit)
{
	$looks++ if follow('under load', at_once => 1) > 0;
}
is($looks, 15, 'the client has looked while others write');
sql($node, 'INSERT INTO enough DEFAULT VALUES');
is($load->finish, '', 'and these have succeeded');
follow('after the load');

# --- slots ------------------------------------------------------------------------------

is(follower_slots(), $is_native ? 1 : 0, 'the session keeps its slot open if the format allows it');
my $free = 6 - sql($node, 'SELECT count(*) FROM pg_replication_slots');
sql($node, "INSERT INTO event VALUES (1, '2026-01-01', 5)");
wait_until_applied($node);
sql($node, "SELECT pg_create_physical_replication_slot('mine_' || g) FROM generate_series(1, $free) g");
like(sql_error($node, "SELECT * FROM notify_stats.changes('kinds', '$lsn')"), qr/53400.*free replication slots/s, 'no slot is free');
sql($node, q{SELECT pg_drop_replication_slot('mine_1')});
like(sql_error($node, "SELECT * FROM notify_stats.changes('kinds', '$lsn')"), qr/53400.*free replication slots/s, 'the last free slot is not taken');
sql($node, q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'mine%'});
follow('with free slots');
disconnect($node);
poll($node, q{SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '_follow_'}, '0');
# an error that is caught leaves nothing behind
sql($node, "INSERT INTO event VALUES (6, '2026-01-01', 6)");
wait_until_applied($node);
is(sql($node, "DO \$\$BEGIN PERFORM 1 / 0 FROM notify_stats.changes('kinds', '$lsn'); EXCEPTION WHEN division_by_zero THEN NULL; END\$\$;
	SELECT group_key FROM notify_stats.changes('kinds', '$lsn')"), '{"day": "2026-01-01", "kind": 6}', 'an error after the call');
follow('after an error');
# an error while the changes are read: an expression fails that did not when they were applied
sql($node, q{CREATE FUNCTION twice(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 2 * $1; END';
	SELECT notify_stats.create_rollup('doubled', 'SELECT twice(value) AS two, count(*) AS n FROM event GROUP BY 1')});
wait_until_applied($node);
my $doubled = sql($node, q{SELECT DISTINCT lsn FROM notify_stats.changes('doubled', NULL)});
sql($node, "INSERT INTO event VALUES (6, '2026-01-01', 7)");
wait_until_applied($node);
sql($node, q{CREATE OR REPLACE FUNCTION twice(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1 / ($1 - 7); END'});
is(sql($node, "BEGIN; SAVEPOINT s;
	DO \$\$BEGIN PERFORM FROM notify_stats.changes('doubled', '$doubled'); EXCEPTION WHEN division_by_zero THEN RAISE NOTICE 'caught'; END\$\$;
	SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '_follow_'; COMMIT"), '0', 'an error that is caught drops the slot');
is(state_of($node, 'doubled'), 'live', 'it is not held against the rollup');
sql($node, q{CREATE OR REPLACE FUNCTION twice(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 2 * $1; END'});
is(sql($node, "SELECT group_key FROM notify_stats.changes('doubled', '$doubled')"), '{"two": 14}', 'and the session can go on');
sql($node, q{SELECT notify_stats.drop_rollup('doubled')});

# a rollup that is computed from scratch
sql($node, 'ALTER TABLE kinds ADD CONSTRAINT few CHECK (n < 0) NOT VALID');
sql($node, "INSERT INTO event VALUES (6, '2026-01-01', 6)");
wait_for_state($node, 'kinds', 'failed');
sql($node, q{ALTER TABLE kinds DROP CONSTRAINT few; SELECT notify_stats.rebuild('kinds', from_scratch => true)});
wait_until_rebuilt($node, 'kinds');
wait_until_applied($node);
is_gap('a rollup computed from scratch', 'was built');

# --- a session that follows no longer -----------------------------------------------------

if ($is_native)
{
	my $since;

	set_and_reload($node, 'notify_stats.resumable_wal_window' => '1MB');
	follow('before the session sleeps');
	$since = $lsn;
	is(follower_slots(), 1, 'the session has its slot');
	# another session writes, and lets the window move
	for my $i (1 .. 4)
	{
		$node->safe_psql('postgres', q{INSERT INTO other SELECT g FROM generate_series(1, 10000) g; DELETE FROM other; CHECKPOINT});
		wait_until_applied($node);
	}
	poll($node, q{SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '_follow_' AND restart_lsn IS NULL AND catalog_xmin IS NULL}, '1');
	is(follower_slots(), 1, 'the slot of a session that sleeps retains no WAL any more');
	is(follow('a session that has slept'), 0, 'what has not changed is told without the WAL');
	$lsn = $since;
	sql($node, "INSERT INTO event VALUES (6, '2026-01-01', 6)");
	wait_until_applied($node);
	is_gap('a session that has slept', 'before the window');
	set_and_reload($node, 'notify_stats.resumable_wal_window' => '64MB');
	sql($node, "INSERT INTO event VALUES (6, '2026-01-01', 6)");
	is(follow('the session goes on'), 1, 'and follows again');
}

# --- privileges -------------------------------------------------------------------------

sql($node, q{CREATE ROLE reader LOGIN; CREATE ROLE part LOGIN; CREATE ROLE nobody LOGIN;
	GRANT SELECT ON kinds TO reader; GRANT SELECT (kind, n) ON kinds TO part});
sql($node, "INSERT INTO event VALUES (1, '2026-01-01', 5)");
wait_until_applied($node);
my $query = "SELECT group_key FROM notify_stats.changes('kinds', '$lsn')";
is(sql_as($node, 'reader', 'postgres', $query), '{"day": "2026-01-01", "kind": 1}', 'SELECT on the rollup is enough');
is(sql_as($node, 'reader', 'postgres', "SELECT (group_row).kind FROM notify_stats.changed_rows(NULL::kinds, '$lsn')"), '1', 'for rows as well');
is(sql_as($node, 'reader', 'postgres', "SET \"DateStyle\" = 'SQL, DMY'; SET extra_float_digits = -15; SET search_path = pg_temp; $query" =~ s/'kinds'/'public.kinds'/r),
	'{"day": "2026-01-01", "kind": 1}', 'settings of the session do not matter');
sql($node, q{CREATE TABLE moment (at timestamptz); ALTER TABLE moment REPLICA IDENTITY FULL; INSERT INTO moment VALUES ('2026-01-01 12:00+00');
	SELECT notify_stats.create_rollup('moments', 'SELECT at, count(*) AS n FROM moment GROUP BY at'); GRANT SELECT ON moments TO reader});
wait_until_applied($node);
is(sql_as($node, 'reader', 'postgres', q{SET TimeZone = 'Asia/Kolkata'; SELECT group_key FROM notify_stats.changes('moments', NULL)}),
	'{"at": "2026-01-01T12:00:00+00:00"}', 'JSON is the same in all settings');
# a value of regclass is a name in JSON, which may change
sql($node, q{CREATE TABLE use (rel oid); ALTER TABLE use REPLICA IDENTITY FULL; INSERT INTO use VALUES ('moment'::regclass);
	SELECT notify_stats.create_rollup('uses', 'SELECT rel::regclass AS used, count(*) AS n FROM use GROUP BY rel::regclass')});
wait_until_applied($node);
like(sql_error($node, q{SELECT * FROM notify_stats.changes('uses', NULL)}), qr/0A000.*"used".*regclass are written as names/s, 'a group column of type regclass');
is(sql($node, q{SELECT (group_row).used FROM notify_stats.changed_rows(NULL::uses, NULL)}), 'moment', 'is told in rows');
sql($node, q{SELECT notify_stats.drop_rollup('uses')});
foreach my $role ('part', 'nobody')
{
	my ($status, $stdout, $stderr) = $node->psql('postgres', $query, extra_params => [ '-U', $role ]);

	like($stderr, qr/permission denied for table kinds/, "$role is refused");
}
sql($node, 'ALTER TABLE kinds ENABLE ROW LEVEL SECURITY; CREATE POLICY first_kind ON kinds TO reader USING (kind = 1)');
my ($status, $stdout, $stderr) = $node->psql('postgres', $query, extra_params => [ '-U', 'reader' ]);
like($stderr, qr/row-level security applies/, 'row-level security is not bypassed');
sql($node, 'ALTER TABLE kinds DISABLE ROW LEVEL SECURITY');

# --- locks --------------------------------------------------------------------------------

# Waits until a session waits for a lock, with a query that has this in it.
sub wait_for_waiter
{
	my ($text) = @_;

	poll($node, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%$text%' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()", '1');
	return;
}

sql($node, "CREATE FUNCTION error_of(query text) RETURNS text LANGUAGE plpgsql AS
	'BEGIN EXECUTE query; RETURN ''none''; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END'");
my $mine = $node->background_psql('postgres');
my $other = $node->background_psql('postgres');
follow('before locks');
sql($node, "INSERT INTO event VALUES (6, '2026-01-01', 6)");
wait_until_applied($node);
my $asked = "SELECT group_key FROM notify_stats.changes('kinds', '$lsn')";
my $answer = '{"day": "2026-01-01", "kind": 6}';
$other->query_safe('BEGIN; LOCK TABLE event');
$waiting = start_psql($node, $asked);
wait_for_waiter('changes(');
$other->query_safe('COMMIT');
is($waiting->finish, $answer, 'a reader waits for a lock');
$other->query_safe('BEGIN; LOCK TABLE event');
like(sql_error($node, "BEGIN READ ONLY; SET LOCAL lock_timeout = '10ms'; $asked"), qr/55P03/, 'no longer than lock_timeout');
$other->query_safe('COMMIT');

$mine->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT count(*) FROM kinds');
$waiting = start_psql($node, 'BEGIN; LOCK TABLE kinds; COMMIT');
wait_for_waiter('LOCK TABLE kinds');
is($mine->query_safe($asked), $answer, 'and not for one that is waiting for its transaction');
is($mine->query_safe('SHOW transaction_isolation'), 'repeatable read', 'which remains as it was');
is($mine->query_safe('SHOW transaction_read_only'), 'on', 'and read-only');
$mine->query_safe('COMMIT');
$waiting->finish;
wait_until_applied($node);
follow('after locks');

# a table that was rewritten is empty to older snapshots
$mine->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM other');
sql($node, 'BEGIN; ALTER TABLE kinds SET UNLOGGED; ALTER TABLE kinds SET LOGGED; COMMIT');
is($mine->query_safe("SELECT error_of('SELECT * FROM notify_stats.changes(''kinds'', NULL)')"), '40001', 'a snapshot before the table was rewritten');
$mine->query_safe('COMMIT');
$mine->quit;
wait_until_applied($node);
follow('after the table was rewritten');

# rows of another type than the query expects; the session knows the type, and so does not lock the
# table when it parses the query
my $as_of = "SELECT * FROM notify_stats.rollup_as_of(NULL::kinds, '$lsn')";
$other->query_safe('SELECT pg_advisory_lock(7)');
$waiting = start_psql($node, "$as_of LIMIT 0", 'SELECT pg_advisory_lock(7)', $as_of);
wait_for_waiter('advisory');
$other->query_safe('BEGIN; ALTER TABLE kinds ADD COLUMN note text; SELECT pg_advisory_unlock(7)');
wait_for_waiter('rollup_as_of(');
$other->query_safe('COMMIT');
like($waiting->finish, qr/columns of rollup public\.kinds were altered concurrently/, 'a column is added before the rows are read');
$other->quit;
sql($node, 'ALTER TABLE kinds DROP COLUMN note');
wait_for_state($node, 'kinds', 'live');
follow('after the column was dropped');

# --- code of owners -----------------------------------------------------------------------

# A pass of the worker, or of a reader, would go on with the slot of the call within.
sql($node, q{CREATE FUNCTION same(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
	SELECT notify_stats.create_rollup('nested', 'SELECT same(value) AS v, count(*) AS n FROM event GROUP BY 1')});
wait_until_applied($node);
my $nested = sql($node, q{SELECT DISTINCT lsn FROM notify_stats.changes('nested', NULL)});
sql($node, "INSERT INTO event VALUES (6, '2026-01-01', 8)");
wait_until_applied($node);
sql($node, q{CREATE OR REPLACE FUNCTION same(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RAISE NOTICE ''value %'', $1; RETURN $1; END'});
($status, $stdout, $stderr) = $node->psql('postgres', "SET client_min_messages = debug1; SELECT group_key FROM notify_stats.changes('nested', '$nested')");
is($stdout, '{"v": 8}', 'code of an owner runs in the session of the reader');
unlike($stderr, qr/value 8/, 'who does not get its messages, which may have values of rows');
sql($node, "CREATE OR REPLACE FUNCTION same(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS
	'BEGIN PERFORM FROM notify_stats.changes(''public.kinds'', ''$lsn''); RETURN \$1; END'");
like(sql_error($node, "SELECT * FROM notify_stats.changes('nested', '$nested')"), qr/42501.*security-restricted operation/s, 'a definition cannot read changes while a reader folds');
sql($node, "INSERT INTO event VALUES (6, '2026-01-01', 9)");
wait_for_state($node, 'nested', 'failed');
like(sql($node, q{SELECT reason FROM notify_stats.rollups WHERE rollup = 'nested'::regclass}), qr/security-restricted operation/, 'nor while the worker does');
sql($node, q{SELECT notify_stats.drop_rollup('nested')});
wait_until_applied($node);
follow('after that');

# --- many groups --------------------------------------------------------------------------

# With little memory, what has changed is sorted on disk.
sql($node, q{CREATE TABLE many (a int); ALTER TABLE many REPLICA IDENTITY FULL; INSERT INTO many SELECT generate_series(1, 20000);
	SELECT notify_stats.create_rollup('manys', 'SELECT a, count(*) AS n FROM many GROUP BY a')});
wait_until_applied($node);
my $many = sql($node, q{SELECT notify_stats.applied_lsn('manys')});
sql($node, 'DELETE FROM many WHERE a % 3 = 0; INSERT INTO many SELECT g * 2 FROM generate_series(5000, 15000) g');
wait_until_applied($node);
sql($node, 'INSERT INTO many SELECT g * 5 FROM generate_series(1, 4000) g');
wait_until_applied($node);
is(sql($node, "SET work_mem = '64kB'; SELECT count(*), count(DISTINCT a), min(n), max(n), min(a), max(a) FROM notify_stats.rollup_as_of(NULL::manys, '$many'); RESET work_mem"),
	'20000|20000|1|1|1|20000', 'many groups as they were');
is(sql($node, "SET work_mem = '64kB'; SELECT count(*), count(*) FILTER (WHERE measures IS NULL), sum((measures ->> 'n')::int)
	FROM notify_stats.changes('manys', '$many'); RESET work_mem"),
	sql($node, q{SELECT count(*), count(*) FILTER (WHERE n IS NULL), sum(n) FROM manys FULL JOIN generate_series(1, 20000) a USING (a) WHERE coalesce(n, 0) <> (a <= 20000)::int}),
	'and those that have changed');

# --- other rollups ----------------------------------------------------------------------

sql($node, q{SELECT notify_stats.create_rollup('averages', 'SELECT kind, avg(value) AS mean FROM event GROUP BY kind')});
wait_until_applied($node);
like(sql_error($node, q{SELECT * FROM notify_stats.changes('averages', '0/1')}), qr/42809.*changes of its cores, such as public\.averages_core/s, 'a view names its cores');
like(sql($node, q{SELECT group_key FROM notify_stats.changes('averages_core', NULL)}), qr/"kind"/, 'which can be read');

sql($node, <<'SQL');
CREATE TABLE parted (kind int NOT NULL, value int) PARTITION BY RANGE (kind);
ALTER TABLE parted REPLICA IDENTITY FULL;
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
ALTER TABLE parted_1 REPLICA IDENTITY FULL;
INSERT INTO parted VALUES (1, 1), (2, 2);
SQL
# with other formats a new partition leads to a rebuild, and a move cannot be told from a deletion
my $partition = q{CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20); ALTER TABLE parted_2 REPLICA IDENTITY FULL};
sql($node, $partition) if !$is_native;
sql($node, q{SELECT notify_stats.create_rollup('kept', 'SELECT kind, count(*) AS n FROM parted GROUP BY kind'} .
	($is_native ? q{, ignore_deletes => '{parted}')} : ')'));
wait_until_applied($node);
my $kept = sql($node, q{SELECT DISTINCT lsn FROM notify_stats.changes('kept', NULL)});
sql($node, $partition) if $is_native;
sql($node, 'INSERT INTO parted VALUES (11, 1); DELETE FROM parted WHERE kind = 2; UPDATE parted SET kind = 12 WHERE kind = 1');
wait_until_applied($node);
is(sql($node, "SELECT group_key ->> 'kind', measures ->> 'n' FROM notify_stats.changes('kept', '$kept') ORDER BY 1"), "1|\n11|1\n12|1" . ($is_native ? '' : "\n2|"),
	'a new partition, a move between partitions, and deletes that are ignored');
is(sql($node, "SELECT kind, n FROM notify_stats.rollup_as_of(NULL::kept, '$kept') ORDER BY 1"), "1|1\n2|1", 'and as of then');

done_testing();
