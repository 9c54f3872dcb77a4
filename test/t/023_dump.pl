# 023_dump.pl
#
# A dump has the rollups' definitions, but not their WAL position.  Restored where the
# worker runs, by any of the restore programs, they are recomputed as soon as their
# table is complete, and exact.  The same applies to a database that was created from another as
# its template, and to a server restored to a point in time: a rollup is never live with a number
# that does not belong to its position.  A copy of a whole stopped server, with the files of the
# slots, continues as if nothing had happened.
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

my $node = new_node('origin', conf => q{
notify_stats.database = 'postgres, twin'
}, start => 0);
my $target = new_node('target', extension => 0, conf => q{
notify_stats.database = 'plain, custom, sections, halves, beside'
});
my $dir = $node->basedir;

# The requirements for each restored database.
my @exact = ('ft_service_stats', '"Odd schema"."by Type"', 'by_region', 'averages', 'per_region', 'by_id', 'total');

# Changes of each source, in any database that has them.
sub change
{
	my ($server, $db) = @_;

	change_notify($server, $db);
	change_computed($server, $db);
	$server->safe_psql($db, q{
		INSERT INTO keyed SELECT coalesce(max(id), 0) + 1, 'north', 5 FROM keyed;
		UPDATE keyed SET region = 'south' WHERE id % 3 = 0;
		DELETE FROM keyed WHERE id % 7 = 0;
		INSERT INTO parted SELECT i, i % 4 FROM generate_series(1, 8) i;
		DELETE FROM kept WHERE ctid = (SELECT min(ctid) FROM kept);
		INSERT INTO kept VALUES (1), (2);
	});
	return;
}

# Whether all rollups that can be rebuilt are, and are maintained; "kept" must be rebuilt by hand.
sub is_restored
{
	my ($server, $db, $title) = @_;
	my $log;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$server->poll_query_until($db, q{SELECT count(*) = 0 FROM notify_stats.rollups WHERE state IN ('building', 'stale')})
	  or die "timed out\n" . rollup_states($server, $db);
	is(rollup_states($server, $db), qq{"Odd schema"."by Type"|live\naverages|live\nby_id|live\nby_region|live\n}
		. qq{ft_service_stats|live\nkept_rows|failed\nmixed|live\nper_region|live\ntotal|live},
		"$title: all are live again that can be");
	is($server->safe_psql($db, q{SELECT reason FROM notify_stats.rollups WHERE rollup = 'kept_rows'::regclass}),
		'restored from a dump, which does not contain the WAL position',
		"$title: one with ignore_deletes tells why it is not");
	is_exact($server, "$title: exact", db => $db, rollups => \@exact);
	change($server, $db);
	is_exact($server, "$title: and goes on", db => $db, rollups => \@exact);
	like(sql_error($server, q{SELECT notify_stats.rebuild('kept_rows')}, $db), qr/ERROR:  55000: cannot rebuild .* without forgetting deleted rows/,
		"$title: a rollup that ignores deletes is not rebuilt automatically");
	$server->safe_psql($db, q{SELECT notify_stats.rebuild('kept_rows', forget_deleted => true)});
	wait_until_applied($server, $db);
	is_exact($server, "$title: but on demand", db => $db, rollups => ['kept_rows']);
	is($server->safe_psql($db, q{SELECT count(*) FROM pg_replication_slots
		WHERE database = current_database() AND slot_name = (SELECT slot_name FROM notify_stats.stream)}), '1',
		"$title: with its own slot");
	$server->safe_psql($db, 'DROP TABLE "Odd schema"."by Type"');
	is($server->safe_psql($db, q{SELECT to_regclass('"Odd schema"."by Type_definition"') IS NULL}), 't',
		"$title: DROP TABLE takes the definition along");
	like(sql_error($server, 'DROP TABLE per_region_core', $db), qr/2BP01: .*\nDETAIL:  view per_region depends on table per_region_core/,
		"$title: a core cannot be dropped alone");
	like(sql_error($server, 'DROP VIEW per_region_definition', $db), qr/2BP01: .* because view per_region requires it/,
		"$title: nor can the definition of a view over cores");
	like(sql_error($server, 'ALTER TABLE regions DROP CONSTRAINT regions_pkey', $db), qr/2BP01: .*\nDETAIL:  view by_id depends on constraint regions_pkey/,
		"$title: nor the key that a view relies on");
	$server->safe_psql($db, 'DROP VIEW mixed');
	is($server->safe_psql($db, q{SELECT relname FROM pg_class WHERE relname LIKE 'mixed%'}), '',
		"$title: DROP VIEW takes the cores and the definition along");
	return;
}

# A database on the target, and its worker.
sub create_database
{
	my ($db) = @_;
	sql($target, "CREATE DATABASE $db");
	wait_for_worker($target, $db);
	return $target->connstr($db);
}

$node->enable_archiving;
$node->start;
sql($node, 'CREATE EXTENSION notify_stats');
load_notify($node);
sql($node, q{
	CREATE SCHEMA "Odd schema";
	CREATE TABLE keyed (id int NOT NULL, region text NOT NULL, amount int NOT NULL);
	-- its name sorts behind those of the rollups' indexes, in the order of which indexes are restored
	CREATE UNIQUE INDEX zz_keyed ON keyed (id, region, amount);
	ALTER TABLE keyed REPLICA IDENTITY USING INDEX zz_keyed;
	CREATE TABLE parted (a int, b int) PARTITION BY LIST (b);
	CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0, 1);
	CREATE TABLE parted_1 PARTITION OF parted DEFAULT;
	ALTER TABLE parted_0 REPLICA IDENTITY FULL;
	ALTER TABLE parted_1 REPLICA IDENTITY FULL;
	CREATE TABLE kept (a int);
	ALTER TABLE kept REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('"Odd schema"."by Type"', 'SELECT b AS "Group", count(*) AS n FROM parted GROUP BY b');
	SELECT notify_stats.create_rollup('by_region', 'SELECT region, count(*) AS n, sum(amount) AS total FROM keyed GROUP BY region');
	SELECT notify_stats.create_rollup('kept_rows', 'SELECT a, count(*) AS n FROM kept GROUP BY a', ignore_deletes => '{kept}');
});
load_computed($node);
# each row of its core is a row of the view, because the key of the other table is unique
sql($node, q{SELECT notify_stats.create_rollup('by_id', 'SELECT e.region, r.name, count(*) AS n FROM events e JOIN regions r ON r.id = e.region GROUP BY e.region, r.id')});
wait_until_applied($node);
change($node, 'postgres') for 1 .. 3;
is_exact($node, 'exact at first', rollups => \@exact);
is(sql($node, 'SELECT sum(n) FROM kept_rows'), 6, 'more is counted than there is, where deletes are ignored');

# --- dumps ----------------------------------------------------------------------------

my $plain = create_database('plain');
$node->command_checks_all([ 'pg_dump', '-f', "$dir/plain.sql", '-d', $node->connstr('postgres') ], 0, [qr/^$/], [qr/^$/],
	'dump as SQL, without a warning');
unlike(slurp_file("$dir/plain.sql"), qr/COPY notify_stats\.(stream|control|source_fact|rebuild_request)/,
	'no progress is dumped');
like(slurp_file("$dir/plain.sql"), qr/COPY notify_stats\.rollup /, 'but the list of rollups is');
like(slurp_file("$dir/plain.sql"), qr/COPY notify_stats\.computed_rollup /, 'and that of the views over cores');
command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $plain ], 'restore by psql');
is_restored($target, 'plain', 'SQL');

my $custom = create_database('custom');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", '-d', $node->connstr('postgres') ], 'dump as an archive');
command_ok([ 'pg_restore', '-j', '2', '--exit-on-error', '-d', $custom, "$dir/custom" ], 'restore by pg_restore -j 2');
is_restored($target, 'custom', 'archive');

# Step by step, so that the worker sees each state.
my $sections = create_database('sections');
my $offset = log_position($target);
foreach my $section ('pre-data', 'data')
{
	command_ok([ 'pg_restore', "--section=$section", '--exit-on-error', '-d', $sections, "$dir/custom" ], "restore $section");
}
poll($target, q{SELECT slot_name IS NOT NULL FROM notify_stats.stream}, 't', 'sections');
poll($target, q{SELECT string_agg(DISTINCT state, ' ' ORDER BY state), bool_or(build_phase IS NOT NULL) FROM notify_stats.rollups},
	'failed stale|f', 'sections');
pass('nothing is live, nor built, as long as the indexes are missing');
is($target->safe_psql('sections', q{SELECT count(notify_stats.applied_lsn(rollup)) FROM notify_stats.rollups}), '0',
	'and there is no position');
# the index that is a source's replica identity comes last
command_ok([ 'sh', '-c', "pg_restore -l --section=post-data '$dir/custom' >'$dir/list' &&
	grep -v 'zz_keyed\\|RULE public by_id ' '$dir/list' >'$dir/list1' &&
	grep 'zz_keyed\\|RULE public by_id ' '$dir/list' >'$dir/list2' && test \$(wc -l <'$dir/list2') -ge 2" ], 'list the rest');
command_ok([ 'pg_restore', '--exit-on-error', '-L', "$dir/list1", '-d', $sections, "$dir/custom" ], 'restore the rollups\' indexes');
poll($target, q{SELECT count(*) = 7 FROM notify_stats.rollups WHERE state = 'live'}, 't', 'sections');
$target->wait_for_log(qr/rollup public\.by_region, restored from a dump, cannot be built yet: replica identity of table "keyed"/, $offset);
is($target->safe_psql('sections', q{SELECT state, reason FROM notify_stats.rollups WHERE rollup = 'by_region'::regclass}),
	'stale|replica identity of table "keyed" does not cover the columns that the definition uses',
	'a rollup waits for the replica identity of its sources');
command_ok([ 'pg_restore', '--exit-on-error', '-L', "$dir/list2", '-d', $sections, "$dir/custom" ], 'restore the rest');
like(sql_error($target, 'ALTER TABLE regions DROP CONSTRAINT regions_pkey', 'sections'), qr/2BP01: .* view by_id depends on constraint regions_pkey/s,
	'a view that gets its query when its core is live depends on the keys');
is_restored($target, 'sections', 'sections');

# The schema first, and its rows later: also those of the rollups, which may be live by then.
my $halves = create_database('halves');
$node->command_ok([ 'pg_dump', '-s', '-f', "$dir/schema.sql", '-d', $node->connstr('postgres') ], 'dump the schema');
$node->command_ok([ 'pg_dump', '-a', '-f', "$dir/data.sql", '-d', $node->connstr('postgres') ], 'dump the rows');
command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/schema.sql", '-d', $halves ], 'restore the schema');
is($target->safe_psql('halves', q{SELECT count(*) FROM notify_stats.rollups WHERE state = 'live'}), '0', 'no rollup is live');
like($target->safe_psql('halves', q{SELECT obj_description('by_region'::regclass)}), qr/^rollup of .*notify_stats/,
	'a comment tells what a table is');
is($target->safe_psql('halves', q{SELECT string_agg(hint, chr(10) ORDER BY hint) FROM notify_stats.check() WHERE item = 'former rollup'}),
	q{Run: SELECT notify_stats.adopt_rollup('"Odd schema"."by Type"');
Run: SELECT notify_stats.adopt_rollup('public.averages');
Run: SELECT notify_stats.adopt_rollup('public.by_id');
Run: SELECT notify_stats.adopt_rollup('public.by_region');
Run: SELECT notify_stats.adopt_rollup('public.ft_service_stats');
Run: SELECT notify_stats.adopt_rollup('public.kept_rows'); The comment on the table lists the tables for ignore_deletes.
Run: SELECT notify_stats.adopt_rollup('public.mixed');
Run: SELECT notify_stats.adopt_rollup('public.per_region');
Run: SELECT notify_stats.adopt_rollup('public.total');},
	'check() tells how to have them kept');
$target->safe_psql('halves', 'SELECT notify_stats.pause()');
command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/data.sql", '-d', $halves ], 'restore the rows');
is($target->safe_psql('halves', q{SELECT count(notify_stats.applied_lsn(rollup)) FROM notify_stats.rollups}), '0',
	'there is no position as long as the stream is paused');
is($target->safe_psql('halves', q{SELECT DISTINCT state, replace(reason, 'mixed_core: ', '') FROM notify_stats.rollups}), 'stale|restored from a dump',
	'nor is any rollup live');
is($target->safe_psql('halves', q{SELECT notify_stats.wait_for_lsn(timeout => '0.1 s', no_throw => true)}), 'f', 'nor does wait_for_lsn() say so');
resume_stream($target, 'halves');
is_restored($target, 'halves', 'schema and rows');

# Into a database that has the extension, rollups, and so a slot.
my $beside = create_database('beside');
$target->safe_psql('beside', q{
	CREATE EXTENSION notify_stats;
	CREATE TABLE own (a int);
	ALTER TABLE own REPLICA IDENTITY FULL;
	INSERT INTO own VALUES (1), (1);
	SELECT notify_stats.create_rollup('own_rows', 'SELECT a, count(*) AS n FROM own GROUP BY a');
});
is_exact($target, 'the target has another rollup', db => 'beside');
command_ok([ 'sh', '-c', "pg_restore -l '$dir/custom' | grep -v 'notify_stats_\(ddl\|owner\)' | grep -v 'SCHEMA - notify_stats' >'$dir/list'" ],
	'leave out existing objects');
foreach my $section ('pre-data', 'data', 'post-data')
{
	command_ok([ 'pg_restore', "--section=$section", '--exit-on-error', '-L', "$dir/list", '-d', $beside, "$dir/custom" ],
		"restore $section with it");
	wait_until_seen('beside') if $section eq 'data';
}
is_exact($target, 'beside another rollup: that one is exact', db => 'beside', rollups => ['own_rows']);
$target->safe_psql('beside', q{SELECT notify_stats.drop_rollup('own_rows')});
is_restored($target, 'beside', 'with another rollup');
$target->stop;

# Until the worker has looked at the rollups that were restored.
sub wait_until_seen
{
	my ($db) = @_;
	$target->poll_query_until($db, q{SELECT bool_and(state = 'live') = (rollup = 'own_rows'::regclass)
		FROM notify_stats.rollups GROUP BY rollup = 'own_rows'::regclass}, "t\nt") or die rollup_states($target, $db);
	return;
}

# Where the library is installed, but not preloaded.
my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
$bare->start;
command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $bare->connstr('postgres') ],
	'restore without the worker');
is($bare->safe_psql('postgres', q{SELECT state FROM notify_stats.status}), 'not preloaded', 'the status shows it');
is($bare->safe_psql('postgres', q{SELECT count(notify_stats.applied_lsn(rollup)) FROM notify_stats.rollups}), '0',
	'and there is no position');
$bare->stop;
$bare->append_conf('postgresql.conf', q{
shared_preload_libraries = 'notify_stats'
notify_stats.database = 'postgres'
wal_level = logical
max_wal_senders = 4
});
$bare->start;
is_restored($bare, 'postgres', 'preloaded later');
$bare->stop;

# --- a template -----------------------------------------------------------------------

# The worker of "twin" waits for its database.
sql($node, 'CREATE DATABASE original');
$node->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $node->connstr('original') ],
	'a database without a worker');
$node->safe_psql('original', 'CALL notify_stats.catch_up()');
change($node, 'original');
$node->safe_psql('original', 'CALL notify_stats.catch_up()');
change($node, 'original');
my $slot = q{SELECT slot_name, confirmed_flush_lsn FROM pg_replication_slots
	WHERE slot_name = (SELECT slot_name FROM notify_stats.stream)};
my $built_before = built_at($node, undef, 'original');
my $slot_before = $node->safe_psql('original', $slot);
like($slot_before, qr/^notify_stats_\d+\|/, 'it has a slot');
$offset = log_position($node);
sql($node, 'CREATE DATABASE twin TEMPLATE original');
wait_for_worker($node, 'twin');
$node->wait_for_log(qr/changes were lost: the replication slot belongs to another database or output plugin/, $offset);
is_exact($node, 'a copy of a database: exact', db => 'twin', rollups => \@exact);
change($node, 'twin');
is_exact($node, 'a copy of a database: and goes on', db => 'twin', rollups => \@exact);
isnt($node->safe_psql('twin', 'SELECT slot_name FROM notify_stats.stream'),
	$node->safe_psql('original', 'SELECT slot_name FROM notify_stats.stream'), 'with its own slot');
is($node->safe_psql('original', $slot), $slot_before, 'the slot of the original is as it was');
change($node, 'original');
$node->safe_psql('original', 'CALL notify_stats.catch_up()');
is(differences($node, 'original', @exact), '', 'the original is still exact');
is(built_at($node, undef, 'original'), $built_before, 'without a rebuild');

# --- a point in time ------------------------------------------------------------------

my (@points, $lsn);
$node->backup('backup');
change($node, 'postgres');
wait_until_applied($node);
# the worker has applied all changes up to here, and none after it
sql($node, 'SELECT notify_stats.pause()');
poll($node, q{SELECT pid IS NULL OR state = 'paused' FROM notify_stats.status});
push @points, { name => 'paused', groups => sql($node, 'TABLE ft_service_stats ORDER BY 1, 2, 3, 4, 5'),
	applied => sql($node, 'SELECT notify_stats.applied_lsn()') };
change($node, 'postgres');
$points[0]{lsn} = sql($node, 'SELECT pg_current_wal_insert_lsn()');
resume_stream($node);
change($node, 'postgres');
is_exact($node, 'the original goes on', rollups => \@exact);
push @points, { name => 'running', lsn => sql($node, 'SELECT pg_current_wal_insert_lsn()') };
change($node, 'postgres');
is_exact($node, 'beyond the points', rollups => \@exact);
sql($node, 'SELECT pg_switch_wal()');

foreach my $point (@points)
{
	my $name = $point->{name};
	my $restored = PostgreSQL::Test::Cluster->new("restored_$name");
	my $pending;

	$restored->init_from_backup($node, 'backup', has_restoring => 1, standby => 0);
	$restored->append_conf('postgresql.conf', qq{
archive_mode = off
recovery_target_lsn = '$point->{lsn}'
recovery_target_action = promote
});
	$restored->start;
	poll($restored, 'SELECT NOT pg_is_in_recovery()');
	if ($name eq 'paused')
	{
		# before the rebuild, its rows are correct for the position that it reports
		is(sql($restored, 'SELECT notify_stats.applied_lsn()'), $point->{applied}, "$name: the position of the rollups");
		is(sql($restored, 'TABLE ft_service_stats ORDER BY 1, 2, 3, 4, 5'), $point->{groups}, "$name: and their rows");
		isnt(differences($restored, 'postgres', 'ft_service_stats'), '', "$name: which are not all");
		is(sql($restored, q{SELECT notify_stats.wait_for_lsn(timeout => '0.1 s', no_throw => true)}), 'f', "$name: as wait_for_lsn() tells");
		resume_stream($restored);
	}
	$restored->wait_for_log(qr/changes were lost: the replication slot is missing/);
	is_exact($restored, "$name: rebuilt and exact", rollups => \@exact);
	change($restored, 'postgres');
	is_exact($restored, "$name: and goes on", rollups => \@exact);
	is(state_of($restored, 'kept_rows'), 'failed',
		"$name: a rollup that ignores deletes is not rebuilt");
	$restored->stop;
}

# --- a copy of the files --------------------------------------------------------------

sql($node, 'SELECT notify_stats.pause()');
change($node, 'postgres');
$built_before = built_at($node);
$node->stop;
$node->backup_fs_cold('cold');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'cold');
$copy->append_conf('postgresql.conf', "archive_mode = off\n");
$copy->start;
resume_stream($copy);
is_exact($copy, 'a copy of the files: exact', rollups => \@exact);
change($copy, 'postgres');
is_exact($copy, 'a copy of the files: and goes on', rollups => \@exact);
is(built_at($copy), $built_before, 'without a rebuild');
is_verified($copy, 'ft_service_stats', 'verify() finds nothing');

done_testing();
