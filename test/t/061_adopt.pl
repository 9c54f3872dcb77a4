# 061_adopt.pl
#
# Tables that exist become rollups where a worker runs: with any content before, the table is exact
# afterwards, and rows that were right have not moved; it is read and its sources are written
# meanwhile; when a process or the server is killed, nothing is half-made; a dump and a restore keep
# what belongs to it.  drop_rollup(keep_table => true) ends that while changes arrive.  Without a
# worker, wait_for_lsn() catches up if notify_stats.catch_up_on_wait is on.
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

my $node = new_node('adopt');
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
	sql($node, q{SELECT notify_stats.wait_for_lsn(rollup => 'stats')});
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
# the process ends after the answer
poll($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'notify_stats catch-up on wait'});
my $as_reader = 'SET ROLE reader; INSERT INTO facts VALUES (4); ';
my ($status, $out, $err) = $node->psql('tests', "$as_reader SELECT notify_stats.wait_for_lsn(timeout => '100 ms')");
like($err, qr/WARNING:  no worker serves database "tests"\nHINT:  .*CALL notify_stats\.catch_up\(\);.*\n(.*\n)*.*timed out/,
	'without the privilege on catch_up() it does nothing, but says what to call');
sql($node, 'GRANT EXECUTE ON PROCEDURE notify_stats.catch_up() TO reader', 'tests');
is(sql($node, "$as_reader SELECT notify_stats.wait_for_lsn()", 'tests'), 't', 'with it, it works');
sql($node, 'ALTER DATABASE tests RESET notify_stats.catch_up_on_wait');
($status, $out, $err) = $node->psql('tests', "$as_reader SELECT notify_stats.wait_for_lsn(timeout => '100 ms')");
like($err, qr/WARNING:  no worker serves.*(\n.*)*timed out/, 'it is off by default');
# where a worker is paused
pause_stream($node);
sql($node, q{INSERT INTO facts VALUES (500000, '2026-06-01', 'k1', 1)});
($status, $out, $err) = $node->psql('postgres', "SELECT notify_stats.wait_for_lsn(timeout => '100 ms')");
like($err, qr/WARNING:  notify_stats is paused in this database\nHINT:  .*resume/, 'a wait says that it is paused');

done_testing();
