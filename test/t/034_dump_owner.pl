# 034_dump_owner.pl
#
# A database owner who is not a superuser can dump it even with the extension, and gets no
# information from it that the owner must not have.
#
# versions: all
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('dump_owner', conf => "notify_stats.database = 'app, restored'\n", extension => 0);
my $connstr = $node->connstr('app');
my $dump;

# The output of statements for a role in the database, errors included.
sub output_for
{
	my ($role, @statements) = @_;
	my ($out, $err) = ('', '');

	$node->psql('app', join(";\n", @statements), extra_params => [ '-U', $role ], on_error_stop => 0,
		stdout => \$out, stderr => \$err);
	return "$out$err";
}

sql($node, 'CREATE ROLE boss LOGIN; CREATE ROLE clerk LOGIN');
sql($node, 'CREATE DATABASE app OWNER boss');
sql($node, 'CREATE EXTENSION notify_stats', 'app');
sql($node, 'CREATE SCHEMA desk AUTHORIZATION clerk; ALTER SCHEMA public OWNER TO boss', 'app');
output_for('boss', q{
	CREATE TABLE orders (id int, kind text);
	ALTER TABLE orders REPLICA IDENTITY FULL;
	INSERT INTO orders SELECT i, 'kind ' || i % 3 FROM generate_series(1, 10) i;
	SELECT notify_stats.create_rollup('by_kind', 'SELECT kind, count(*) AS n FROM orders GROUP BY kind');
	SELECT notify_stats.create_rollup('kept', 'SELECT id, count(*) AS n FROM orders GROUP BY id', ignore_deletes => '{orders}')});
output_for('clerk', q{
	SET search_path = desk;
	CREATE TABLE bodies (body text);
	ALTER TABLE bodies REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('numbers', 'SELECT body::int AS number, count(*) AS n FROM desk.bodies GROUP BY 1');
	GRANT USAGE ON SCHEMA desk TO boss;
	GRANT SELECT ON bodies, numbers, numbers_definition TO boss});
# rollups of the database's owner that are views over cores
load_computed($node, 'app');
sql($node, q{ALTER TABLE events OWNER TO boss; ALTER TABLE regions OWNER TO boss;
	ALTER VIEW averages OWNER TO boss; ALTER VIEW per_region OWNER TO boss; ALTER VIEW mixed OWNER TO boss; ALTER VIEW total OWNER TO boss}, 'app');
wait_until_applied($node, 'app');
output_for('clerk', q{INSERT INTO desk.bodies VALUES ('a secret')});
poll($node, q{SELECT state = 'failed' FROM notify_stats.rollup WHERE rollup = 'desk.numbers'::regclass}, 't', 'app');
is(output_for('clerk', q{SELECT reason FROM notify_stats.rollups}), 'invalid input syntax for type integer: "a secret" (in column "number")',
	'a rollup of another role has failed, and its owner sees the reason');
output_for('clerk', 'TRUNCATE desk.bodies');

# The dump.
command_ok([ 'pg_dump', '-U', 'boss', '-f', "$dir/plain.sql", '-d', $connstr ], 'the owner of the database can dump it');
command_ok([ 'pg_dump', '-U', 'boss', '-Fc', '-f', "$dir/custom", '-d', $connstr ], 'also in another form');
$dump = slurp_file("$dir/plain.sql");
like($dump, qr/^COPY notify_stats\.rollup .*\bby_kind\b/ms, 'the dump has the rollups');
like($dump, qr/^COPY notify_stats\.rollup .*\bdesk\.numbers\b/ms, 'also that of another role');
unlike($dump, qr/secret|invalid input/, 'but no reason');

# Information that is readable without one.
foreach my $query ('TABLE notify_stats.rollup_activity', 'SELECT reason FROM notify_stats.rollup_activity',
	'SELECT a FROM notify_stats.rollup_activity a', 'COPY notify_stats.rollup_activity TO STDOUT',
	'TABLE notify_stats.rollup_source')
{
	like(output_for('boss', $query), qr/^psql:<stdin>:\d+: ERROR:  permission denied for table rollup_\w+\s*\z/, "refused: $query");
}
is(output_for('boss', 'SELECT rollup, state FROM notify_stats.rollup ORDER BY rollup::text'), "averages_core|live\nby_kind|live\ndesk.numbers|failed\nkept|live\nmixed_core|live\nmixed_core_2|live\nper_region_core|live\ntotal_core|live",
	'the owner sees the states of all');
is(output_for('boss', 'SELECT rollup FROM notify_stats.rollups ORDER BY rollup::text'), "averages\nby_kind\nkept\nmixed\nper_region\ntotal", 'and more of own ones');
unlike(output_for('boss', q{SELECT notify_stats.wait_for_lsn(rollup => 'desk.numbers')}), qr/secret|invalid input/,
	'wait_for_lsn() does not tell him why it has failed');

# It can be restored.
sql($node, 'CREATE DATABASE restored OWNER boss');
command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $node->connstr('restored') ], 'restore it');
poll($node, q{SELECT count(*) = 0 FROM notify_stats.rollups WHERE state IN ('building', 'stale')}, 't', 'restored');
is(sql($node, 'SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text', 'restored'),
	"averages|live|\nby_kind|live|\ndesk.numbers|failed|\nkept|failed|restored from a dump, which does not contain the WAL position\n"
	. "mixed|live|\nper_region|live|\ntotal|live|",
	'what can be rebuilt is, and the others say why not, if that is known');
is_exact($node, 'it is exact', db => 'restored', rollups => [ 'by_kind', 'averages', 'per_region', 'total' ]);
sql($node, q{INSERT INTO orders VALUES (11, 'kind 1'); DELETE FROM orders WHERE id < 4}, 'restored');
change_computed($node, 'restored');
is_exact($node, 'and goes on', db => 'restored', rollups => [ 'by_kind', 'averages', 'per_region', 'total' ]);
is(sql($node, q{SELECT relowner::regrole FROM pg_class WHERE oid = 'by_kind'::regclass}, 'restored'), 'boss', 'the owner is the same');
is(sql($node, q{SELECT count(*), string_agg(DISTINCT relowner::regrole::text, ' ') FROM pg_class WHERE relname LIKE 'mixed%' AND relkind IN ('r', 'v')}, 'restored'),
	'6|boss', 'also of all parts of a view over cores');

# The data about a rollup is deleted with it.
sql($node, q{DROP SCHEMA desk CASCADE; SELECT notify_stats.drop_rollup('kept');
	SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups WHERE cardinality(cores) > 0}, 'app');
poll($node, 'SELECT count(*) = 1 FROM notify_stats.rollup', 't', 'app');
is(sql($node, 'SELECT (SELECT string_agg(rollup::text, chr(10)) FROM notify_stats.rollup_activity),
	(SELECT string_agg(rollup::text, chr(10)) FROM notify_stats.rollup_source)', 'app'), 'by_kind|by_kind',
	'nothing is left of dropped rollups');
$node->stop;

done_testing();
