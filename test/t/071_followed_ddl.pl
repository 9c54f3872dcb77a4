# 071_followed_ddl.pl
#
# DDL on a rollup that clients follow: alter_rollup(), a replaced definition, a rollup that was dropped
# and created again, and renames.  A client never goes on from a position of another form.
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

my $node = new_node('ddl', conf => <<'CONF');
autovacuum = off
max_replication_slots = 10
notify_stats.resumable_wal_window = '64MB'
CONF
my $lsn;

# The position of a client that reads the whole rollup.
sub begin
{
	my ($rollup) = @_;

	wait_until_applied($node);
	$lsn = sql($node, "SELECT DISTINCT lsn FROM notify_stats.changes('$rollup', NULL)");
	return;
}

# Groups that have changed, and the new position.
sub changed
{
	my ($rollup) = @_;
	my ($position, $groups);

	wait_until_applied($node);
	($position, $groups) = split /\|/, sql($node, "SELECT max(lsn), string_agg(group_key::text || coalesce(measures::text, 'gone'), ' ' ORDER BY group_key) FROM notify_stats.changes('$rollup', '$lsn')"), -1;
	$lsn = $position;
	return $groups;
}

# The client's position is refused; from that of the whole rollup it goes on.
sub is_refused
{
	my ($title, $rollup, $reason) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until_applied($node);
	foreach my $call ("changes('$rollup', '$lsn')", "changed_rows(NULL::$rollup, '$lsn')", "rollup_as_of(NULL::$rollup, '$lsn')")
	{
		# once in the session that has the slot
		my $error = $call =~ /^changes/ ?
		  sql($node, qq{SELECT error_of(\$\$SELECT * FROM notify_stats.$call\$\$)}) : sql_error($node, "SELECT * FROM notify_stats.$call");

		like($error, qr/NS001.*$reason/s, "$title: $call is refused");
	}
	begin($rollup);
	sql($node, "INSERT INTO event VALUES (1, '2026-01-01', 1)");
	like(changed($rollup), qr/^\{[^}]*\}\{[^}]*\}$/, "$title: then the client goes on");
	return;
}

# Waits until an altered rollup has its new form.
sub wait_until_replaced
{
	my ($rollup) = @_;

	poll($node, "SELECT count(*) FROM notify_stats.replacement", '0');
	wait_for_state($node, $rollup, 'live');
	return;
}

sql($node, <<'SQL');
CREATE FUNCTION error_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text; BEGIN EXECUTE query; RETURN 'none';
EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL; RETURN SQLSTATE || ' ' || SQLERRM || ' ' || detail; END$$;
CREATE TYPE mood AS ENUM ('calm', 'wild');
CREATE TABLE event (kind int, day date, value int);
ALTER TABLE event REPLICA IDENTITY FULL;
CREATE TABLE person (id int, feels mood);
ALTER TABLE person REPLICA IDENTITY FULL;
INSERT INTO person VALUES (1, 'calm'), (2, 'wild');
INSERT INTO event SELECT g % 3, '2026-01-01', g FROM generate_series(1, 9) g;
SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM event GROUP BY kind');
SQL
wait_until_applied($node);
poll($node, q{SELECT window_lsn IS NOT NULL FROM notify_stats.status WHERE stream = 'main'});
begin('kinds');

# --- alter_rollup() ---------------------------------------------------------------------

sql($node, q{SELECT notify_stats.alter_rollup('kinds', 'SELECT kind, count(*) AS n, count(value) AS valued FROM event GROUP BY kind')});
sql($node, "INSERT INTO event VALUES (2, '2026-01-01', 1)");
wait_until_replaced('kinds');
is_refused('alter_rollup()', 'kinds', 'was built');

# the same columns, other rows
sql($node, q{SELECT notify_stats.alter_rollup('kinds', 'SELECT kind, count(*) AS n, count(value) AS valued FROM event WHERE value > 1 OR kind = 1 GROUP BY kind')});
wait_until_replaced('kinds');
is_refused('alter_rollup() with the same columns', 'kinds', 'was built');

# while a client waits
wait_until_applied($node);
my $waiting = start_psql($node, "\\set VERBOSITY verbose", "SELECT group_key FROM notify_stats.changes('kinds', '$lsn', '1 hour')");
poll($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%''1 hour''%' AND wait_event_type = 'Extension'}, '1');
sql($node, q{SELECT notify_stats.alter_rollup('kinds', 'SELECT kind, count(*) AS n FROM event GROUP BY kind')});
wait_until_replaced('kinds');
like($waiting->finish, qr/42P01/, 'alter_rollup(): a client that waits is told that this rollup is gone');
is_refused('alter_rollup() while it waits', 'kinds', 'was built');

# --- the view of the definition is replaced ----------------------------------------------

sql($node, 'CREATE OR REPLACE VIEW kinds_definition AS SELECT kind, count(*) AS n FROM event WHERE value < 1000 GROUP BY kind');
wait_until_applied($node);
wait_for_state($node, 'kinds', 'live');
is_refused('a definition that was replaced', 'kinds', 'was built');

# --- dropped and created again ----------------------------------------------------------

sql($node, q{BEGIN; SELECT notify_stats.drop_rollup('kinds');
	SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM event GROUP BY kind'); COMMIT});
like(sql_error($node, "SELECT * FROM notify_stats.changes('kinds', '$lsn')"), qr/55000|NS001/, 'dropped and created again: refused at once');
is_refused('dropped and created again', 'kinds', 'was built');
sql($node, 'DROP TABLE kinds CASCADE');
like(sql_error($node, "SELECT * FROM notify_stats.changes('kinds', '$lsn')"), qr/42P01/, 'dropped');
sql($node, q{SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM event GROUP BY kind')});
wait_until_applied($node);
is_refused('DROP TABLE, and created again', 'kinds', 'was built');

# --- renames ----------------------------------------------------------------------------

sql($node, "INSERT INTO event VALUES (2, '2026-01-01', 1)");
sql($node, 'ALTER TABLE kinds RENAME TO sorts; CREATE SCHEMA elsewhere; ALTER TABLE sorts SET SCHEMA elsewhere');
sql($node, "INSERT INTO event VALUES (1, '2026-01-01', 1)");
like(changed('elsewhere.sorts'), qr/^\{"kind": 1\}\{"n": \d+\} \{"kind": 2\}\{"n": \d+\}$/, 'a rollup that was renamed and moved: the client goes on');
like(sql_error($node, "SELECT * FROM notify_stats.changes('kinds', '$lsn')"), qr/42P01/, 'by its new name');
# other formats than our own go by name, and by what the query has open
{
	my $format = format_name();
	my $join = 'SELECT count(*) FROM elsewhere.sorts s, notify_stats.changes(\'elsewhere.sorts\', ';

	sql($node, "INSERT INTO event VALUES (1, '2026-01-01', 1)");
	wait_until_applied($node);
	my ($status, undef, $error) = $node->psql('postgres', "$join '$lsn')");
	$format ne 'notify_stats' ? like($error, qr/cannot read changes while the query uses table "sorts"/, 'a query that uses the table, too')
	  : is($error, '', 'a query that uses the table, too');
}
sql($node, 'ALTER TABLE elsewhere.sorts SET SCHEMA public; ALTER TABLE sorts RENAME TO kinds');

# Names of columns and labels are in JSON, but not in rows.  Whether the worker has seen the new name or
# not, the client is refused once, and then goes on.
sub is_renamed
{
	my ($title, $rename, %param) = @_;
	my $rows;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	begin($param{rollup} // 'kinds');
	$rows = $lsn;
	if ($param{paused})
	{
		pause_stream($node);
		sql($node, $rename);
		like(sql_error($node, "SELECT * FROM notify_stats.changes('$param{rollup}', '$lsn')"), qr/no error: .*\|\||NS001.*renamed/s, "$title: before the worker has seen it");
		resume_stream($node);
	}
	else
	{
		sql($node, $rename);
	}
	sql($node, $param{change});
	wait_until_applied($node);
	like(sql_error($node, "SELECT * FROM notify_stats.changes('$param{rollup}', '$lsn')"), qr/NS001.*renamed/s, "$title: changes() is refused");
	is(sql($node, "SELECT count(*) FROM notify_stats.changed_rows(NULL::$param{rollup}, '$rows')"), '1', "$title: changed_rows() is not");
	is(sql($node, "SELECT count(*) > 0 FROM notify_stats.rollup_as_of(NULL::$param{rollup}, '$rows')"), 't', "$title: nor rollup_as_of()");
	begin($param{rollup});
	is(changed($param{rollup}), '', "$title: the client goes on at once");
	sql($node, $param{change});
	like(changed($param{rollup}), $param{then}, "$title: with the new name");
	return;
}

sql($node, q{SELECT notify_stats.create_rollup('moods', 'SELECT feels, count(*) AS n FROM person GROUP BY feels')});
wait_until_applied($node);
foreach my $paused (0, 1)
{
	my $change = "INSERT INTO event VALUES (2, '2026-01-01', 1)";

	is_renamed("a measure, $paused", "ALTER TABLE kinds RENAME n TO number; ALTER TABLE kinds RENAME number TO n$paused",
		rollup => 'kinds', paused => $paused, change => $change, then => qr/^\{"kind": 2\}\{"n$paused": \d+\}$/);
	sql($node, "ALTER TABLE kinds RENAME n$paused TO n");
	is_renamed("a group column, $paused", 'ALTER TABLE kinds RENAME kind TO sort', rollup => 'kinds', paused => $paused,
		change => $change, then => qr/^\{"sort": 2\}\{"n": \d+\}$/);
	is_renamed("a group column, back, $paused", 'ALTER TABLE kinds RENAME sort TO kind', rollup => 'kinds', paused => $paused,
		change => $change, then => qr/^\{"kind": 2\}\{"n": \d+\}$/);
	# for other formats, the source was altered
	is_renamed("a label, $paused", "ALTER TYPE mood RENAME VALUE 'calm' TO 'quiet'; ALTER TYPE mood RENAME VALUE 'quiet' TO 'calm$paused'",
		rollup => 'moods', paused => $paused, change => "INSERT INTO person VALUES (1, 'calm$paused')",
		then => qr/^\{"feels": "calm$paused"\}\{"n": \d+\}$/) if format_name() eq 'notify_stats';
	sql($node, "ALTER TYPE mood RENAME VALUE 'calm$paused' TO 'calm'") if format_name() eq 'notify_stats';
	wait_until_applied($node);
}

# A client that waits has seen the old name, even if the rollup reaches later positions meanwhile.
{
	my $wait = "$PostgreSQL::Test::Utils::timeout_default s";

	sql($node, "INSERT INTO event VALUES (2, '2026-01-01', 1)");
	begin('kinds');
	my $waiting = start_psql($node, '\set VERBOSITY verbose', "SELECT group_key FROM notify_stats.changes('kinds', '$lsn', '$wait')");
	poll($node, qq{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%''$wait''%' AND wait_event_type = 'Extension'}, '1');
	sql($node, 'ALTER TABLE kinds RENAME kind TO sort');
	like($waiting->finish, qr/NS001.*renamed/s, 'renamed while a client waits: it is told at once');
	sql($node, 'ALTER TABLE kinds RENAME sort TO kind');
	wait_until_applied($node);
}

# the name of a source's column is not seen by readers; other formats go by it
begin('kinds');
sql($node, 'ALTER TABLE event RENAME kind TO sort');
sql($node, "INSERT INTO event VALUES (2, '2026-01-01', 1)");
if (format_name() eq 'notify_stats')
{
	like(changed('kinds'), qr/^\{"kind": 2\}\{"n": \d+\}$/, 'a column of the source that was renamed');
}
else
{
	is_refused('a column of the source that was renamed', 'kinds', '');
}

# after a time without changes, positions are still those of the same names
sql($node, 'CREATE TABLE unrelated ()');
begin('kinds');
sql($node, 'DROP TABLE unrelated');
wait_until_applied($node);
is(changed('kinds'), '', 'DDL on other tables does not matter');

# while it is left behind
my $built_at = built_at($node, 'kinds');
sql($node, 'ALTER TABLE kinds ADD CONSTRAINT few CHECK (n < 0) NOT VALID');
sql($node, "INSERT INTO event VALUES (2, '2026-01-01', 1)");
wait_for_state($node, 'kinds', 'failed');
begin('kinds');
sql($node, 'BEGIN; ALTER TABLE kinds RENAME kind TO sort; ALTER TABLE kinds DROP CONSTRAINT few; COMMIT');
sql($node, q{SELECT notify_stats.rebuild('kinds')});
wait_for_state($node, 'kinds', 'live');
is(built_at($node, 'kinds'), $built_at, 'a rollup that was left behind is resumed');
sql($node, "INSERT INTO event VALUES (2, '2026-01-01', 1)");
wait_until_applied($node);
like(sql_error($node, "SELECT * FROM notify_stats.changes('kinds', '$lsn')"), qr/NS001.*renamed/s, 'renamed while it was left behind: changes() is refused');
begin('kinds');
sql($node, "INSERT INTO event VALUES (2, '2026-01-01', 1)");
like(changed('kinds'), qr/^\{"sort": 2\}\{"n": \d+\}$/, 'then the client goes on');

# --- the window -------------------------------------------------------------------------

# The place from which a reader wants to begin is lost while it makes its slot: it looks again.
sql($node, "INSERT INTO event VALUES (2, '2026-01-01', 1)");
wait_until_applied($node);
my $offset = log_position($node);
set_stop($node, 'place-found');
my $looking = start_psql($node, '\set VERBOSITY verbose', "SELECT * FROM notify_stats.changes('kinds', '$lsn')");
wait_for_stop($node, 'place-found', $offset);
set_and_reload($node, 'notify_stats.resumable_wal_window' => '0');
poll($node, q{SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%\_window'}, '0');
continue_from_stop($node);
like($looking->finish, qr/NS001.*resumable_wal_window is not set/s, 'a place that is lost while the slot is made: what is left counts');

done_testing();
