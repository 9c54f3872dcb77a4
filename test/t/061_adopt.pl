# 061_adopt.pl
#
# Tables that exist become rollups where a worker runs: with any content before, the table is exact
# afterwards, and rows that were right have not moved; it is read and its sources are written
# meanwhile; when a process or the server is killed, nothing is half-made; a dump and a restore keep
# what belongs to it.  drop_rollup(keep_table => true) ends that while changes arrive.  Without a
# worker, wait_for_lsn() catches up if notify_stats.catch_up_on_wait is on.
#
# The columns of the query may be anywhere in the table, in any order, and are renamed: whatever
# reads or writes a row by its columns finds them, also after a restore, which changes their numbers.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{NS_SEED} // time;
srand($seed);
note "NS_SEED=$seed";

my $node = new_node('adopt', conf => "max_replication_slots = 20\nnotify_stats.resumable_wal_window = '64MB'");
my $query = q{SELECT day, kind, count(*) AS n, sum(amount) AS amount FROM facts GROUP BY 1, 2};
my $right = q{SELECT day, kind, count(*) AS n, sum(amount) AS amount FROM facts GROUP BY day, kind};

sql($node, q{
	CREATE TABLE facts (id int PRIMARY KEY, day date NOT NULL, kind text, amount int NOT NULL);
	ALTER TABLE facts REPLICA IDENTITY FULL;
	INSERT INTO facts SELECT i, date '2026-01-01' + i % 100, nullif('k' || i % 7, 'k6'), i % 5 FROM generate_series(1, 20000) i;
	CREATE ROLE reader;
});

# Makes a table with the right content, in which rows are then changed, deleted and added at random.
sub make_table
{
	my ($wrong, $missing, $more) = @_;

	sql($node, qq{
		DROP TABLE IF EXISTS stats CASCADE;
		CREATE TABLE stats (day date NOT NULL, kind text, n bigint, amount bigint, updated_at timestamptz, note text DEFAULT 'new');
		INSERT INTO stats SELECT day, kind, n, amount, '2000-01-01', 'old' FROM ($right) s ORDER BY random();
		CREATE UNIQUE INDEX stats_key ON stats (day, kind) NULLS NOT DISTINCT;
		CREATE INDEX stats_n ON stats (n);
		COMMENT ON TABLE stats IS 'for the dashboard';
		GRANT SELECT ON stats TO reader;
		CREATE VIEW total AS SELECT sum(n) AS n FROM stats;
	});
	sql($node, qq{
		UPDATE stats SET n = n + (random() * 4)::int - 2, amount = CASE WHEN random() < 0.5 THEN amount END WHERE random() < $wrong;
		DELETE FROM stats WHERE random() < $missing;
		INSERT INTO stats SELECT date '2027-01-01' + i, CASE WHEN random() < 0.9 THEN 'x' || i END, 1, 1, '2000-01-01', 'old'
			FROM generate_series(1, 200) i WHERE random() < $more;
		DROP TABLE IF EXISTS before;
		CREATE TABLE before AS SELECT s.ctid AS address, s.* FROM stats s;
	});
	return;
}

sub adopt
{
	my ($db) = @_;
	sql($node, "SELECT notify_stats.create_rollup('stats', \$\$ $query \$\$, adopt => true, updated_at => 'updated_at')", $db);
	return;
}

# The rows of the table, other than columns that only it has, against the query.
sub wrong_rows
{
	my ($db) = @_;
	return sql($node, qq{SELECT count(*) FROM (
		(SELECT day, kind, n, amount FROM stats EXCEPT ALL ($right)) UNION ALL
		(($right) EXCEPT ALL SELECT day, kind, n, amount FROM stats)) x}, $db);
}

sub wait_until_live
{
	wait_until_applied($node);
	wait_for_state($node, 'stats', 'live');
	return;
}

# What belongs to the table.
sub belongings
{
	return sql($node, q{SELECT 'stats'::regclass::oid, relacl, obj_description(oid, 'pg_class'),
		(SELECT string_agg(indexrelid::regclass::text, ',' ORDER BY 1) FROM pg_index WHERE indrelid = c.oid),
		(SELECT count(*) FROM pg_views WHERE viewname = 'total')
		FROM pg_class c WHERE oid = 'stats'::regclass});
}

# --- any content ------------------------------------------------------------------------

foreach my $content ([ 0, 0, 0 ], [ 1, 0, 0 ], [ 0, 1, 1 ], map { [ map { random(100) / 100 } 1 .. 3 ] } 1 .. 3)
{
	my $title = join ', ', @$content;

	make_table(@$content);
	my $kept = belongings();
	# not from the table: what must stay where it is
	my $same = qq{SELECT b.address FROM before b JOIN ($right) r
		ON (b.day, b.n, b.amount) = (r.day, r.n, r.amount) AND b.kind IS NOT DISTINCT FROM r.kind};
	my $unchanged = sql($node, "SELECT count(*) FROM ($same) x");

	adopt();
	wait_until_live();
	is(wrong_rows(), 0, "$title: exact");
	is(sql($node, qq{SELECT count(*) FROM stats s JOIN ($same) x ON x.address = s.ctid WHERE s.updated_at = '2000-01-01' AND s.note = 'old'}),
		$unchanged, "$title: the $unchanged rows that were right have not moved");
	is(sql($node, q{SELECT count(*) FROM stats WHERE updated_at = '2000-01-01'}), $unchanged, "$title: the others have the time");
	is(sql($node, q{SELECT count(*) FROM stats s JOIN before b ON s.day = b.day AND s.kind IS NOT DISTINCT FROM b.kind
		WHERE s.note <> 'old'}), 0, "$title: rows that were corrected keep their other columns");
	is(belongings(), $kept, "$title: everything that belongs to the table has stayed");
	is_verified($node, 'stats', "$title: verified");
}

# --- readers and writers ----------------------------------------------------------------

make_table(0.3, 0.2, 0.5);
my $wrong_total = sql($node, 'TABLE total');
my $reader = start_psql($node, (q{SELECT count(*) > 0 FROM stats}, q{SELECT count(*) FROM total}) x 2000);
my $writer = start_psql($node, map { my $id = 100000 + $_; (
	"INSERT INTO facts VALUES ($id, '2026-03-01', 'k$_', 1)", "UPDATE facts SET kind = 'k1' WHERE id = $id - 3",
	"DELETE FROM facts WHERE id = $id % 1000") } 1 .. 500);
my $offset = log_position($node);
set_stop($node, 'build-filled');
adopt();
wait_for_stop($node, 'build-filled', $offset);
is(sql($node, 'TABLE total'), $wrong_total, 'the old content is read while the table is being adopted');
is(sql($node, q{SELECT state FROM notify_stats.rollups WHERE rollup = 'stats'::regclass}), 'building', 'and that is seen');
continue_from_stop($node);
is($writer->finish, '', 'no writer of the source has got an error');
is(join(',', sort keys %{ { map { $_ => 1 } split /\n/, $reader->finish } }), '1,t', 'no reader of the table has');
wait_until_live();
is(wrong_rows(), 0, 'exact with all changes that were made meanwhile');

# --- crashes ----------------------------------------------------------------------------

foreach my $point ('build-copied', 'build-filled', 'build-joined')
{
	foreach my $way ([ 'the builder is killed', sub { crash_restart($node, builder_pid($node)) } ],
		[ 'the server is stopped', sub { $node->stop('immediate'); $node->start } ])
	{
		my ($name, $crash) = @$way;

		make_table(0.3, 0.2, 0.5);
		$offset = log_position($node);
		set_stop($node, $point);
		adopt();
		wait_for_stop($node, $point, $offset);
		# so that the build does not begin again before the comparison
		sql($node, 'SELECT notify_stats.pause()');
		unset_stop($node);
		$crash->();
		$node->reload;
		is(sql($node, q{SELECT count(*) FROM ((SELECT s.ctid, s.* FROM stats s EXCEPT ALL TABLE before)
			UNION ALL (TABLE before EXCEPT ALL SELECT s.ctid, s.* FROM stats s)) x}), 0, "$name at $point: the table is as before");
		sql($node, 'SELECT notify_stats.resume()');
		wait_until_live();
		is(wrong_rows(), 0, "$name at $point: exact at last");
	}
}

# --- columns anywhere -------------------------------------------------------------------

# what the table has, and the query in the same form
my @names = qw(day kind n amount kinds large larges ids);
my $wide = q{SELECT day, kind, count(*) AS n, sum(amount) AS amount, count(kind) AS kinds,
	sum(amount::numeric) FILTER (WHERE amount > 2) AS large, count(*) FILTER (WHERE amount > 2) AS larges,
	coalesce(sum(id), 0) AS ids FROM facts GROUP BY 1, 2};
my $wide_right = $wide =~ s/GROUP BY 1, 2/GROUP BY day, kind/r;

sub wrong_wide
{
	my ($db) = @_;
	my $have = 'SELECT ' . join(', ', @names) . ' FROM anywhere';

	return sql($node, "SELECT count(*) FROM (($have EXCEPT ALL ($wide_right)) UNION ALL (($wide_right) EXCEPT ALL $have)) x", $db);
}

sub wait_for_wide
{
	sql($node, q{SELECT notify_stats.wait_for_lsn(rollup => 'anywhere')});
	return;
}

sub write_facts
{
	my ($db) = @_;

	# groups that come, go, change, and whose sums become NULL
	sql($node, q{INSERT INTO facts SELECT 600000 + i, date '2026-08-01' + i % 5, nullif('k' || i % 3, 'k2'), i % 5 FROM generate_series(1, 50) i
			ON CONFLICT DO NOTHING;
		UPDATE facts SET amount = 1 WHERE day = '2026-02-02' AND kind = 'k1';
		UPDATE facts SET kind = NULL, day = day + 1 WHERE id % 97 = 0;
		DELETE FROM facts WHERE day = '2026-03-03' OR id % 89 = 0}, $db);
	return;
}

sql($node, qq{
	CREATE TABLE anywhere (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone text, large numeric,
		created_at timestamptz NOT NULL DEFAULT now(), larges bigint NOT NULL DEFAULT 0, kind text, stamp timestamptz, kinds bigint,
		twice bigint GENERATED ALWAYS AS (n * 2) STORED, ids bigint, gone_too int, amount bigint, n bigint NOT NULL, day date NOT NULL);
	ALTER TABLE anywhere DROP COLUMN gone, DROP COLUMN gone_too;
	CREATE UNIQUE INDEX anywhere_key ON anywhere (kind, day) NULLS NOT DISTINCT;
	INSERT INTO anywhere (day, kind, n, amount, kinds, large, larges, ids)
		SELECT day, kind, n + (random() < 0.5)::int, amount, kinds, large, larges, ids FROM ($wide_right) s WHERE random() < 0.7;
	CREATE TABLE old AS TABLE anywhere;
	SELECT notify_stats.create_rollup('anywhere', \$\$ $wide \$\$, adopt => true, updated_at => 'stamp');
});
wait_for_wide();
is(wrong_wide(), 0, 'columns anywhere: exact');
is(sql($node, qq{SELECT count(*) FROM anywhere a JOIN old o USING (id) WHERE (o.day, o.created_at) IS DISTINCT FROM (a.day, a.created_at)
	OR o.kind IS DISTINCT FROM a.kind}), 0, 'columns anywhere: rows that were corrected keep their numbers');
is(sql($node, q{SELECT count(*) FROM anywhere a JOIN old o USING (id) WHERE (a.stamp IS NULL) <> (o.n = a.n)}), 0,
	'columns anywhere: only they have the time');

my $since = sql($node, q{SELECT DISTINCT lsn FROM notify_stats.changes('anywhere', NULL)});
is(sql($node, qq{SELECT count(*), count(*) FILTER (WHERE c.measures = jsonb_build_object('n', n, 'amount', amount, 'kinds', kinds,
		'large', large, 'larges', larges, 'ids', ids)) FROM notify_stats.changes('anywhere', NULL) c
	JOIN ($wide_right) r ON c.group_key = jsonb_build_object('day', day, 'kind', kind)}),
	sql($node, "SELECT count(*), count(*) FROM ($wide_right) r"), 'columns anywhere: changes() has all groups');
sql($node, 'CREATE TABLE earlier AS TABLE anywhere');
write_facts();
wait_for_wide();
is(wrong_wide(), 0, 'columns anywhere: exact after changes');
is(sql($node, 'SELECT count(*) FROM anywhere WHERE twice IS DISTINCT FROM n * 2'), 0, 'columns anywhere: the generated column follows');
is_verified($node, 'anywhere', 'columns anywhere: verified');
my $measures = join ', ', @names[2 .. $#names];
my $expected = sql($node, qq{SELECT day, kind, bool_or(now), max(n) FILTER (WHERE now), max(large) FILTER (WHERE now)
	FROM (SELECT true AS now, * FROM anywhere UNION ALL SELECT false, * FROM earlier) s
	GROUP BY day, kind HAVING count(*) <> 2 OR count(DISTINCT row($measures)::text) > 1 ORDER BY 1, 2});
like($expected, qr/\|f\|.*\|t\|/s, 'columns anywhere: groups have gone, and others have changed');
is(sql($node, qq{SELECT (group_key->>'day')::date AS day, group_key->>'kind' AS kind, measures IS NOT NULL, (measures->>'n')::bigint,
		(measures->>'large')::numeric FROM notify_stats.changes('anywhere', '$since') WHERE group_key IS NOT NULL ORDER BY 1, 2}),
	$expected, 'columns anywhere: changes() since a position');
is(sql($node, qq{SELECT (group_row).day, (group_row).kind, NOT deleted, (group_row).n, (group_row).large
	FROM notify_stats.changed_rows(NULL::anywhere, '$since') WHERE (group_row).day IS NOT NULL ORDER BY 1, 2}),
	$expected, 'columns anywhere: changed_rows()');
my $undone = join ', ', @names;
is(sql($node, qq{SELECT count(*) FROM ((SELECT $undone FROM notify_stats.rollup_as_of(NULL::anywhere, '$since') EXCEPT ALL SELECT $undone FROM earlier)
	UNION ALL (SELECT $undone FROM earlier EXCEPT ALL SELECT $undone FROM notify_stats.rollup_as_of(NULL::anywhere, '$since'))) x}),
	0, 'columns anywhere: rollup_as_of()');

# under load, without a worker for a moment, and after a crash
$writer = start_psql($node, map { my $id = 700000 + $_; (
	"INSERT INTO facts VALUES ($id, '2026-03-01', 'k$_', 3)", "UPDATE facts SET kind = NULL, amount = amount - 1 WHERE id = $id - 3",
	"DELETE FROM facts WHERE id = $id - 5") } 1 .. 300);
poll($node, q{SELECT count(*) > 0 FROM anywhere WHERE kind LIKE 'k__%'});
sql($node, 'SELECT pg_terminate_backend(' . worker_pid($node) . ')');
is($writer->finish, '', 'columns anywhere: no writer has got an error');
wait_for_wide();
is(wrong_wide(), 0, 'columns anywhere: exact after writers');
crash_restart($node, worker_pid($node));
write_facts();
wait_for_wide();
is(wrong_wide(), 0, 'columns anywhere: exact after a crash');
# changes that the build applies to its own table, whose columns are in the order of the query
$offset = log_position($node);
set_stop($node, 'build-filled');
sql($node, q{UPDATE anywhere SET kinds = 0, n = 1000 WHERE day = '2026-08-02'; SELECT notify_stats.rebuild('anywhere')});
wait_for_stop($node, 'build-filled', $offset);
sql($node, q{UPDATE facts SET amount = 4, day = day + 2 WHERE id % 11 = 0; DELETE FROM facts WHERE day = '2026-01-15';
	INSERT INTO facts VALUES (650000, '2026-08-08', NULL, 4)});
continue_from_stop($node);
wait_for_wide();
is(wrong_wide(), 0, 'columns anywhere: exact after a rebuild');

# two columns exchange their names, and another is renamed
my $built = built_at($node, 'anywhere');
sql($node, q{ALTER TABLE anywhere RENAME COLUMN n TO x; ALTER TABLE anywhere RENAME COLUMN kinds TO n;
	ALTER TABLE anywhere RENAME COLUMN x TO kinds; ALTER TABLE anywhere RENAME COLUMN kind TO sort});
@names = qw(day sort kinds amount n large larges ids);
write_facts();
sql($node, q{INSERT INTO facts VALUES (800000, '2026-09-01', NULL, 4)});
wait_for_wide();
is(wrong_wide(), 0, 'columns renamed: exact');
is(built_at($node, 'anywhere'), $built, 'columns renamed: not rebuilt');

# --- dump and restore of these ----------------------------------------------------------

my $wide_dump = $node->basedir . '/wide_dump';

sub restore
{
	my ($db, @options) = @_;

	$node->command_ok([ 'pg_dump', @options, '-Fc', '-f', $wide_dump, '-d', $node->connstr('postgres') ], "$db: pg_dump");
	sql($node, "CREATE DATABASE $db");
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr($db), $wide_dump ], "$db: pg_restore");
	return;
}

restore('wide');
isnt(sql($node, q{SELECT attnum FROM pg_attribute WHERE attrelid = 'anywhere'::regclass AND attname = 'day'}, 'wide'),
	sql($node, q{SELECT attnum FROM pg_attribute WHERE attrelid = 'anywhere'::regclass AND attname = 'day'}), 'wide: a column has another number');
sql($node, 'UPDATE anywhere SET stamp = NULL', 'wide');
sql($node, 'CALL notify_stats.catch_up()', 'wide');
is(wrong_wide('wide'), 0, 'wide: exact');
is(sql($node, 'SELECT count(*) FROM anywhere WHERE stamp IS NOT NULL', 'wide'), 0, 'wide: nothing was wrong');
sql($node, q{ALTER TABLE anywhere RENAME COLUMN kinds TO x; ALTER TABLE anywhere RENAME COLUMN n TO kinds; ALTER TABLE anywhere RENAME COLUMN x TO n}, 'wide');
@names = qw(day sort n amount kinds large larges ids);
sql($node, q{INSERT INTO facts VALUES (800001, '2026-09-01', NULL, 4), (800002, '2026-09-01', 'k1', 4)}, 'wide');
sql($node, 'CALL notify_stats.catch_up()', 'wide');
is(wrong_wide('wide'), 0, 'wide: maintained');
@names = qw(day sort kinds amount n large larges ids);

# the new name is not known when the dump is made
pause_stream($node);
sql($node, 'ALTER TABLE anywhere RENAME COLUMN larges TO many');
restore('unknown');
(undef, undef, my $unknown) = $node->psql('unknown', 'CALL notify_stats.catch_up()');
like($unknown, qr/rollup public\.anywhere has no column "larges".*RENAME COLUMN old_name TO larges/s, 'unknown: the name is missing');
sql($node, q{ALTER TABLE anywhere RENAME COLUMN many TO larges; SELECT notify_stats.rebuild('anywhere')}, 'unknown');
sql($node, 'CALL notify_stats.catch_up()', 'unknown');
is(wrong_wide('unknown'), 0, 'unknown: exact');
sql($node, 'ALTER TABLE anywhere RENAME COLUMN many TO larges');
resume_stream($node);

# of the schema alone: the columns are found by the names of the view
sql($node, q{ALTER TABLE anywhere RENAME COLUMN kinds TO x; ALTER TABLE anywhere RENAME COLUMN n TO kinds; ALTER TABLE anywhere RENAME COLUMN x TO n;
	ALTER TABLE anywhere RENAME COLUMN sort TO kind});
@names = qw(day kind n amount kinds large larges ids);
restore('wide_schema', '-s');
is(sql($node, q{SELECT hint FROM notify_stats."check"() WHERE item = 'former rollup' AND detail ~ 'anywhere'}, 'wide_schema'),
	q{Run: SELECT notify_stats.adopt_rollup('public.anywhere');}, 'wide_schema: check() finds it');
sql($node, q{SELECT notify_stats.adopt_rollup('anywhere', updated_at => 'stamp')}, 'wide_schema');
write_facts('wide_schema');
sql($node, 'CALL notify_stats.catch_up()', 'wide_schema');
write_facts('wide_schema');
sql($node, q{INSERT INTO facts VALUES (1, '2026-08-02', NULL, 4)}, 'wide_schema');
sql($node, 'CALL notify_stats.catch_up()', 'wide_schema');
is(wrong_wide('wide_schema') . sql($node, 'SELECT count(*) > 3 FROM anywhere', 'wide_schema'), '0t', 'wide_schema: maintained');

wait_for_wide();
sql($node, q{SELECT notify_stats.drop_rollup('anywhere', keep_table => true)});
is(wrong_wide(), 0, 'columns anywhere: the table is kept');
sql($node, q{SELECT notify_stats.create_rollup('anywhere', $$ } . $wide . q{ $$, adopt => true)});
wait_for_wide();
is(wrong_wide(), 0, 'columns anywhere: and adopted again');
sql($node, q{SELECT notify_stats.drop_rollup('anywhere')});

# --- dump and restore -------------------------------------------------------------------

my $dump = $node->basedir . '/dump';
sql($node, q{UPDATE stats SET updated_at = '2001-01-01'});
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
sql($node, 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $dump ], 'pg_restore');
sql($node, 'CALL notify_stats.catch_up()', 'copy');
is(wrong_rows('copy'), 0, 'restored: exact');
is(sql($node, q{SELECT count(*) FROM stats WHERE updated_at <> '2001-01-01'}, 'copy'), 0, 'restored: no time was changed');
sql($node, q{INSERT INTO facts VALUES (200000, '2026-05-01', 'k1', 1)}, 'copy');
sql($node, 'CALL notify_stats.catch_up()', 'copy');
is(wrong_rows('copy'), 0, 'restored: maintained');
is(sql($node, q{SELECT day, kind FROM stats WHERE updated_at <> '2001-01-01'}, 'copy'), '2026-05-01|k1',
	'restored: the time is noted again');
# of the schema alone, which does not say which column that is
$node->command_ok([ 'pg_dump', '-s', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump of the schema');
sql($node, 'CREATE DATABASE schema_only');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('schema_only'), $dump ], 'pg_restore of the schema');
sql($node, q{SELECT notify_stats.adopt_rollup('stats', updated_at => 'updated_at')}, 'schema_only');
sql($node, q{INSERT INTO facts VALUES (1, '2026-05-01', 'k1', 1)}, 'schema_only');
sql($node, 'CALL notify_stats.catch_up()', 'schema_only');
is(sql($node, q{SELECT day, kind, n, updated_at IS NOT NULL FROM stats}, 'schema_only'), '2026-05-01|k1|1|t',
	'restored without rows: adopt_rollup() takes the column');

# --- the way back -----------------------------------------------------------------------

my $kept = belongings();
$writer = start_psql($node, map { my $id = 300000 + $_; "INSERT INTO facts VALUES ($id, '2026-06-01', 'k1', 1)" } 1 .. 300);
poll($node, q{SELECT count(*) > 0 FROM stats WHERE day = '2026-06-01'});
# in a transaction that stays open: the other rollups go on, and the table is read
create_rollup($node, 'days', 'SELECT day, count(*) FROM facts GROUP BY day');
sql($node, q{SELECT notify_stats.wait_for_lsn(rollup => 'days')});
set_and_reload($node, 'notify_stats.lock_timeout' => '300ms');
my $dropping = $node->background_psql('postgres');
$dropping->query_safe('BEGIN');
$dropping->query_safe(q{SELECT notify_stats.drop_rollup('stats', keep_table => true)});
is(sql($node, 'SELECT count(*) > 0 FROM total'), 't', 'the table is read while its rollup is being dropped');
# the worker gives the locked rollup up, for which it must be able to write its row
poll($node, q{SELECT state FROM notify_stats.rollup WHERE rollup = 'stats'::regclass}, 'stale');
sql($node, q{INSERT INTO facts VALUES (350000, '2026-06-01', 'k1', 1)});
is(sql($node, q{SELECT notify_stats.wait_for_lsn(rollup => 'days')}), 't', 'the other rollup goes on meanwhile');
$dropping->query_safe('COMMIT');
$dropping->quit;
set_and_reload($node, 'notify_stats.lock_timeout' => undef);
is($writer->finish, '', 'no writer has got an error');
is(belongings(), $kept, 'everything that belongs to the table has stayed');
my $content = sql($node, 'SELECT count(*), sum(n), max(updated_at) FROM stats');
sql($node, q{INSERT INTO facts VALUES (400000, '2026-06-01', 'k1', 1)});
is_exact($node, 'the other rollup goes on', rollups => ['days']);
is(sql($node, 'SELECT count(*), sum(n), max(updated_at) FROM stats'), $content, 'the table is not written any more');
poll($node, q{SELECT count(*) = 1 FROM notify_stats.rollup});
sql($node, q{UPDATE stats SET n = n + 1; DROP TABLE stats CASCADE});

# --- without a worker -------------------------------------------------------------------

# The process that catches up for a wait ends after the answer.
sub wait_until_catch_up_ended
{
	poll($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'notify_stats catch-up on wait'});
	return;
}

sql($node, 'CREATE DATABASE tests');
sql($node, q{
	CREATE EXTENSION notify_stats;
	CREATE TABLE facts (day int NOT NULL);
	ALTER TABLE facts REPLICA IDENTITY FULL;
	GRANT ALL ON facts TO reader;
	SELECT notify_stats.create_rollup('days', 'SELECT day, count(*) AS n FROM facts GROUP BY day');
	ALTER DATABASE tests SET notify_stats.catch_up_on_wait = on}, 'tests');
is(sql($node, q{INSERT INTO facts VALUES (1), (1), (2)}, 'tests')
	. sql($node, q{SELECT notify_stats.wait_for_lsn(); SELECT sum(n) FROM days}, 'tests'), "t\n3", 'a wait builds the rollup');
is(sql($node, q{INSERT INTO facts VALUES (3); SELECT notify_stats.wait_for_lsn(rollup => 'days'); SELECT sum(n) FROM days}, 'tests'),
	"t\n4", 'a wait applies changes');
wait_until_catch_up_ended();
my $as_reader = 'SET ROLE reader; INSERT INTO facts VALUES (4); ';
my ($status, $out, $err) = $node->psql('tests', "$as_reader SELECT notify_stats.wait_for_lsn(timeout => '100 ms')");
like($err, qr/WARNING:  no worker serves database "tests"\nHINT:  .*CALL notify_stats\.catch_up\(\);.*\n(.*\n)*.*timed out/,
	'without the privilege on catch_up() it does nothing, but says what to call');
sql($node, 'GRANT EXECUTE ON PROCEDURE notify_stats.catch_up() TO reader', 'tests');
is(sql($node, "$as_reader SELECT notify_stats.wait_for_lsn()", 'tests'), 't', 'with it, it works');
wait_until_catch_up_ended();
sql($node, 'ALTER DATABASE tests RESET notify_stats.catch_up_on_wait');
($status, $out, $err) = $node->psql('tests', "$as_reader SELECT notify_stats.wait_for_lsn(timeout => '100 ms')");
like($err, qr/WARNING:  no worker serves.*(\n.*)*timed out/, 'it is off by default');
# where a worker is paused
pause_stream($node);
sql($node, q{INSERT INTO facts VALUES (500000, '2026-06-01', 'k1', 1)});
($status, $out, $err) = $node->psql('postgres', "SELECT notify_stats.wait_for_lsn(timeout => '100 ms')");
like($err, qr/WARNING:  notify_stats is paused in this database\nHINT:  .*resume/, 'a wait says that it is paused');

done_testing();
