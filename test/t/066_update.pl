# 066_update.pl
#
# ALTER EXTENSION notify_stats UPDATE: from the first version that was released to the default
# one, and from that to one that does not exist yet, which this test makes.  Rollups stay as they
# are, the stream goes on, and the objects are those of a new installation.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# What a version consists of: each object with its definition, columns, comment and privileges.
my $objects = q{
	SELECT i.type, i.identity, obj_description(o.objid, o.classid::regclass::name),
		CASE o.classid WHEN 'pg_proc'::regclass THEN pg_get_functiondef(o.objid)
			WHEN 'pg_class'::regclass THEN (SELECT concat(relkind, relacl, reloptions, CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) END)
				FROM pg_class WHERE oid = o.objid) END,
		(SELECT proacl FROM pg_proc WHERE oid = o.objid AND o.classid = 'pg_proc'::regclass),
		(SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attacl, pg_get_expr(adbin, adrelid),
				col_description(o.objid, attnum)), ', ' ORDER BY attnum)
			FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
			WHERE attrelid = o.objid AND o.classid = 'pg_class'::regclass AND attnum > 0 AND NOT attisdropped),
		(SELECT string_agg(pg_get_constraintdef(oid), ', ' ORDER BY conname) FROM pg_constraint
			WHERE conrelid = o.objid AND o.classid = 'pg_class'::regclass),
		(SELECT string_agg(pg_get_triggerdef(oid), ', ' ORDER BY tgname) FROM pg_trigger
			WHERE tgrelid = o.objid AND o.classid = 'pg_class'::regclass AND NOT tgisinternal)
	FROM pg_depend o, pg_identify_object(o.classid, o.objid, o.objsubid) i
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'notify_stats')
	ORDER BY 1, 2};

my $node = new_node('update');
my $directory = sql($node, q{SELECT setting || '/extension' FROM pg_config WHERE name = 'SHAREDIR'});
my ($default) = slurp_file("$directory/notify_stats.control") =~ /^default_version *= *'(.*)'/m;
my ($first) = sort map { m{--([^-]*)\.sql$} } glob "$directory/notify_stats--*.sql";

my @scripts;

# --- from the first version ---------------------------------------------------------------

sql($node, "DROP EXTENSION notify_stats; CREATE EXTENSION notify_stats VERSION '$first'");
make_kinds($node);
is_exact($node, "version $first: exact");
my $built = built_at($node, 'kinds');

sql($node, 'ALTER EXTENSION notify_stats UPDATE');
is(sql($node, q{SELECT extversion FROM pg_extension WHERE extname = 'notify_stats'}), $default,
	"from $first to the default version");
change_kinds($node);
is_exact($node, 'updated: exact');
is_verified($node, 'kinds', 'updated: verify() finds nothing');
is(built_at($node, 'kinds'), $built, 'updated: not rebuilt');

sql($node, 'CREATE DATABASE fresh');
sql($node, 'CREATE EXTENSION notify_stats', 'fresh');
is(sql($node, $objects), sql($node, $objects, 'fresh'), 'the objects are those of a new installation');

# --- to a version of the future -------------------------------------------------------------

# Makes the script that leads there, for the time of this test.
sub make_script
{
	my ($version, $commands) = @_;
	my $script = "$directory/notify_stats--$default--$version.sql";

	append_to_file($script, $commands);
	push @scripts, $script;
	return;
}

# This library does not know the new column.  The error must come when the script has ended, since
# the next library cannot know the tables of a script that has been half run either.
make_script('test066wide', q{
	ALTER TABLE notify_stats.control ADD of_066 integer;
	DO 'BEGIN RAISE WARNING $$at its end$$; END';
});
my (undef, undef, $error) = $node->psql('postgres', q{ALTER EXTENSION notify_stats UPDATE TO 'test066wide'});
like($error, qr/at its end.*ERROR:  table "notify_stats.control" has 3 columns instead of 2/s,
	'the script runs to its end, and then the versions are compared');
like($error, qr/HINT:  Restart the server with the new library, and run ALTER EXTENSION notify_stats UPDATE;/, 'with a hint');
is_exact($node, 'refused: exact');

make_script('test066', q{
	CREATE FUNCTION notify_stats.of_066() RETURNS integer LANGUAGE sql RETURN 66;
	COMMENT ON FUNCTION notify_stats.of_066() IS 'of the test';
});
my $pid = worker_pid($node);
my $session = $node->background_psql('postgres');
$session->query_safe(q{BEGIN; ALTER EXTENSION notify_stats UPDATE TO 'test066'});
# the update is not committed, so that the writers and perhaps the worker run beside it
change_kinds($node);
$session->query_safe('COMMIT');
$session->quit;
is(sql($node, 'SELECT notify_stats.of_066()'), 66, 'the next version is installed');
isnt(sql($node, $objects), sql($node, $objects, 'fresh'), 'a difference in the objects would be seen');
change_kinds($node);
is_exact($node, 'next version: exact');
is(built_at($node, 'kinds'), $built, 'next version: not rebuilt');
is(worker_pid($node), $pid, 'next version: the worker has gone on');
is(sql($node, q{SELECT state FROM notify_stats.rollups}), 'live', 'next version: live');

END { unlink @scripts }

done_testing();
