# 030_install.pl
#
# CREATE EXTENSION in databases that an ordinary role has prepared: one with CREATE on the
# database, its owner, or the owner of schema public.  It fails cleanly, with a hint, or creates
# exactly the same objects as elsewhere, without any of that role's; and no code of that role has
# run.  Once the traps are removed, it works.
#
# Then the rules for extension scripts (Lint.pm): for all scripts, and for the objects created;
# that each rule finds its violations; and that the worker trusts no tables except the extension's.
#
# The library exports only the functions that the server calls, so a library that is preloaded
# before it and has functions of the same names does not conflict.  It can be built out of
# tree, and the build fails without sources.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use File::Glob qw(bsd_glob);
use Lint;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::Bin/../..";
my $dir = PostgreSQL::Test::Utils::tempdir();
my $pg_config = $ENV{PG_CONFIG} // 'pg_config';

# --- the library ----------------------------------------------------------------------

# The output of a command; the test ends if it fails.
sub output_of
{
	my ($command) = @_;
	my $output = `$command`;

	die "failed: $command" if $? != 0;
	chomp $output;
	return $output;
}

# The functions that the library has, and those among them that others may call.
my @functions = output_of("nm -g --defined-only $top/src/*/*.o") =~ / T (\w+)$/mg;
my @exported = sort(output_of('nm -D --defined-only '
	. output_of("$pg_config --pkglibdir") . '/notify_stats.so') =~ / \w (\w+)$/mg);
my @called = map { /'MODULE_PATHNAME', '(\w+)'/ ? ($1, "pg_finfo_$1") : () }
  split /\n/, slurp_file("$top/src/notify_stats--1.0.sql");

is("@exported", join(' ', sort(@called, qw(Pg_magic_func _PG_init _PG_output_plugin_init
	notify_stats_launcher_main notify_stats_worker_main notify_stats_builder_main notify_stats_catch_up_main
	notify_stats_catch_up_once_main))), 'the library exports only the functions that the server calls');

# Compiles a library with functions that crash the server, of the names that ours does not export.
sub make_namesakes
{
	my %is_exported = map { ($_ => 1) } @called, grep { /^_PG|^Pg_|_main$/ } @functions;
	my @names = grep { !$is_exported{$_} } @functions;

	die 'no functions' if @names < 100;
	append_to_file("$dir/namesakes.c", join "\n", '#include "postgres.h"', '#include "fmgr.h"', 'PG_MODULE_MAGIC;',
		map { "PGDLLEXPORT void $_(void);\nvoid $_(void) { abort(); }" } @names);
	output_of(output_of("$pg_config --cc") . ' -shared -fPIC -I' . output_of("$pg_config --includedir-server")
		. " -o $dir/namesakes.so $dir/namesakes.c");
	return "$dir/namesakes.so";
}

# Objects that are as new as their sources are not compiled again, but for one.
sub build_out_of_tree
{
	mkdir $_ or die "mkdir: $!" foreach "$dir/tree", "$dir/build";
	output_of("cd $top && cp -p --parents Makefile notify_stats.control src/*.sql src/*/*.[ch] $dir/tree");
	output_of("cd $top && cp -p --parents src/*/*.o $dir/build");
	unlink "$dir/build/src/definition/users_code.o" or die "unlink: $!";
	return `make -C $dir/build -f ../tree/Makefile VPATH=../tree with_llvm=no PG_CONFIG=$pg_config all 2>&1`;
}

my $built = build_out_of_tree();
is($?, 0, 'the library can be built out of tree') or diag($built);
is(join(' ', sort(output_of("nm -D --defined-only $dir/build/notify_stats.so") =~ / \w (\w+)$/mg)), "@exported",
	'and is the same then');
mkdir "$dir/nothing" or die "mkdir: $!";
output_of("cp -p $top/Makefile $top/notify_stats.control $dir/nothing");
like(`make -C $dir/nothing PG_CONFIG=$pg_config all 2>&1`, qr/no source files in/, 'without sources nothing is built');

# --- before the extension ----------------------------------------------------

my $node = new_node('install', conf => "notify_stats.database = 'postgres, pretender, renamed'\n"
	. "shared_preload_libraries = '" . make_namesakes() . ", notify_stats'\n");

sql($node, q{
	CREATE ROLE mallory;
	CREATE ROLE friend;
	CREATE ROLE admin SUPERUSER;
	CREATE ROLE manager CREATEROLE;
});

# The results of statements under a role that cannot log in.
sub under_role
{
	my ($role, $db, $query) = @_;
	return sql($node, "SET ROLE $role; SET search_path = public; SET client_min_messages = warning; $query", $db);
}

# --- traps ----------------------------------------------------------------------------

# traps(SCHEMA): operators and functions that would be preferred to those of pg_catalog, either
# because their schema comes first or because their argument types fit better.  Each records that it
# ran with a sequence, which is not rolled back.
sub traps
{
	my ($schema) = @_;
	return qq{
		CREATE SEQUENCE $schema.ran;
		DO \$do\$
		DECLARE
			types text[] := '{oid, regclass, name, text, bigint, numeric, pg_lsn, timestamptz}';
			trap text := \$\$BEGIN PERFORM pg_catalog.nextval('$schema.ran'); RETURN NULL; END\$\$;
			op text; a text; b text; f record;
		BEGIN
			FOREACH a IN ARRAY types LOOP
				FOREACH b IN ARRAY types LOOP
					EXECUTE pg_catalog.format('CREATE FUNCTION $schema.trap_boolean(%s, %s) RETURNS boolean LANGUAGE plpgsql AS %L', a, b, trap);
					EXECUTE pg_catalog.format('CREATE FUNCTION $schema.trap_same(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', a, b, a, trap);
					FOREACH op IN ARRAY '{=, <>, <, >, <=, >=}'::text[] LOOP
						EXECUTE pg_catalog.format('CREATE OPERATOR $schema.%s (FUNCTION = $schema.trap_boolean, LEFTARG = %s, RIGHTARG = %s)', op, a, b);
					END LOOP;
					FOREACH op IN ARRAY '{+, -, *, /, ||}'::text[] LOOP
						EXECUTE pg_catalog.format('CREATE OPERATOR $schema.%s (FUNCTION = $schema.trap_same, LEFTARG = %s, RIGHTARG = %s)', op, a, b);
					END LOOP;
				END LOOP;
			END LOOP;
			trap := replace(trap, 'RETURN NULL;', '');
			FOR f IN SELECT proname, pg_get_function_identity_arguments(p.oid) AS args, pg_get_function_result(p.oid) AS result
					 FROM pg_proc p
					 WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND
						   proname IN ('age', 'array_to_string', 'clock_timestamp', 'current_database', 'current_setting',
							   'format', 'pg_blocking_pids', 'pg_current_wal_flush_lsn', 'pg_extension_config_dump',
							   'pg_has_role', 'pg_is_in_recovery', 'pg_size_bytes', 'quote_ident', 'quote_literal',
							   'regexp_split_to_array', 'obj_description', 'set_config') AND
						   NOT '"any"'::regtype = ANY (proargtypes)
			LOOP
				EXECUTE pg_catalog.format('CREATE FUNCTION $schema.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.args, f.result, trap);
			END LOOP;
			EXECUTE pg_catalog.format('CREATE FUNCTION $schema.format(text, text) RETURNS text LANGUAGE plpgsql AS %L', trap);
			EXECUTE pg_catalog.format('CREATE FUNCTION $schema.format(text, name) RETURNS text LANGUAGE plpgsql AS %L', trap);
			EXECUTE pg_catalog.format('CREATE FUNCTION $schema.pg_has_role(text, text) RETURNS boolean LANGUAGE plpgsql AS %L', trap);
			EXECUTE pg_catalog.format('CREATE FUNCTION $schema.greatest(pg_lsn, pg_lsn) RETURNS pg_lsn LANGUAGE plpgsql AS %L', trap);
			EXECUTE pg_catalog.format('CREATE FUNCTION $schema.aclexplode(aclitem[]) RETURNS SETOF record LANGUAGE plpgsql AS %L', trap);
		END \$do\$;
		CREATE VIEW $schema.pg_namespace AS SELECT nspname, nspowner, nspacl, oid, nextval('$schema.ran') FROM pg_catalog.pg_namespace;
		CREATE VIEW $schema.pg_roles AS SELECT oid, rolname, true AS rolsuper, nextval('$schema.ran') FROM pg_catalog.pg_roles;
		CREATE VIEW $schema.pg_replication_slots AS SELECT *, nextval('$schema.ran') FROM pg_catalog.pg_replication_slots;
	};
}

# Types of the names of those that the script uses.
my $types = q{
	CREATE DOMAIN int8 AS integer; CREATE DOMAIN text AS varchar; CREATE DOMAIN pg_lsn AS integer;
	CREATE TYPE regclass AS (a integer); CREATE TYPE name AS ENUM ('a'); CREATE TYPE "boolean" AS (a integer);
	CREATE DOMAIN timestamptz AS timestamp; CREATE DOMAIN oid AS integer; CREATE DOMAIN regproc AS integer;
};

my $mine = 'CREATE SCHEMA notify_stats AUTHORIZATION mallory;';

# --- kinds of prepared databases ------------------------------------------------------

# role: the role of mallory: creator (may create schemas), owner (of the database), public (owner of
# schema public), or no privileges; mallory: statements of mallory, or admin: of a superuser before; refused:
# whether CREATE EXTENSION is.  clean: how the superuser removes the trap.
my $drop_schema = 'DROP SCHEMA notify_stats CASCADE;';
my @cases = (
	{ title => 'his own empty schema', mallory => $mine, refused => 1 },
	{ title => 'his own schema, of a database of his', role => 'owner', mallory => $mine, refused => 1 },
	{   title => 'his own schema, with all traps in it',
		mallory => $mine . traps('notify_stats'),
		refused => 1 },
	{   title => 'his own schema, first in the path of the database, with all traps in it',
		role => 'owner',
		mallory => $mine . traps('notify_stats') . 'ALTER DATABASE <db> SET search_path = notify_stats, pg_catalog;',
		clean => "ALTER DATABASE <db> RESET search_path; $drop_schema",
		refused => 1 },
	{   title => 'his own schema, with tables of our names',
		mallory => $mine . q{
			SET search_path = notify_stats;
			CREATE TABLE stream (slot_name name, format text, applied_lsn pg_lsn, applied_at timestamptz, upgrade_from bigint, upgrade_lsn pg_lsn, slot_requests bigint);
			CREATE TABLE rollup (rollup regclass PRIMARY KEY, definition regclass, state text);
			CREATE VIEW status AS SELECT 1 AS one; },
		refused => 1 },
	{   title => 'his own schema, with functions of our names',
		mallory => $mine . q{
			SET search_path = notify_stats;
			CREATE FUNCTION create_rollup(rollup text, definition text, ignore_deletes text[] DEFAULT '{}') RETURNS regclass LANGUAGE sql AS 'SELECT NULL::regclass';
			CREATE FUNCTION note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
			CREATE PROCEDURE catch_up() LANGUAGE sql AS 'SELECT 1'; },
		refused => 1 },
	{ title => 'his own schema, with types', mallory => "$mine SET search_path = notify_stats; $types", refused => 1 },
	{ title => 'a schema that he gave to everybody', mallory => "$mine GRANT ALL ON SCHEMA notify_stats TO PUBLIC;", refused => 1 },
	{ title => "a schema of the database's owner", role => 'owner', admin => 'CREATE SCHEMA notify_stats AUTHORIZATION pg_database_owner;', refused => 1 },
	{ title => "a superuser's schema, CREATE granted to him", admin => 'CREATE SCHEMA notify_stats; GRANT CREATE ON SCHEMA notify_stats TO mallory;', refused => 1 },
	{ title => "a superuser's schema, CREATE granted to PUBLIC", admin => 'CREATE SCHEMA notify_stats; GRANT CREATE ON SCHEMA notify_stats TO PUBLIC;', refused => 1 },
	{   title => "a superuser's schema, CREATE granted to a role that he may be made a member of",
		admin => 'CREATE SCHEMA notify_stats; GRANT CREATE ON SCHEMA notify_stats TO manager;',
		refused => 1 },
	(   map {
			my ($what, $statement) = @$_;
			{   title => "a superuser's schema, with $what left in it",
				admin => 'CREATE SCHEMA notify_stats; GRANT ALL ON SCHEMA notify_stats TO mallory;',
				mallory => "SET search_path = notify_stats; $statement",
				then => 'REVOKE ALL ON SCHEMA notify_stats FROM mallory;',
				refused => 1 }
		} (
			[ 'a table', 'CREATE TABLE stream (a integer);' ],
			[ 'a table that is not of our names', 'CREATE TABLE other (a integer);' ],
			[ 'a function', q{CREATE FUNCTION pause() RETURNS void LANGUAGE sql AS 'SELECT 1';} ],
			[ 'types', $types ],
			[ 'operators', q{CREATE FUNCTION ne(oid, regclass) RETURNS boolean LANGUAGE sql AS 'SELECT true';
				CREATE OPERATOR notify_stats.<> (FUNCTION = ne, LEFTARG = oid, RIGHTARG = regclass);} ],
			[ 'a cast', q{CREATE TYPE mine AS (a integer); CREATE FUNCTION cast_it(mine) RETURNS pg_lsn LANGUAGE sql AS 'SELECT NULL::pg_lsn';
				CREATE CAST (mine AS pg_lsn) WITH FUNCTION cast_it(mine) AS IMPLICIT;} ],
			[ 'a collation', q{CREATE COLLATION "default" (locale = 'C');} ],
			[ 'a text search configuration', 'CREATE TEXT SEARCH CONFIGURATION other (COPY = pg_catalog.simple);' ],
			[ 'statistics', 'CREATE SCHEMA own; CREATE TABLE own.counted (a integer, b integer); CREATE STATISTICS notify_stats.s ON a, b FROM own.counted;' ],
			[ 'default privileges', 'ALTER DEFAULT PRIVILEGES IN SCHEMA notify_stats GRANT ALL ON TABLES TO PUBLIC;' ],
		)),
	{   title => "a superuser's schema, with a superuser's default privileges",
		admin => q{CREATE SCHEMA notify_stats; ALTER DEFAULT PRIVILEGES IN SCHEMA notify_stats GRANT ALL ON TABLES TO mallory;},
		refused => 1 },
	{   title => "a schema that is everybody's by the superuser's default privileges",
		role => 'defaults',
		admin => 'ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC;',
		clean => 'ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM PUBLIC;',
		refused => 1 },
	{   title => 'the schema of an extension that he may create',
		mallory => 'CREATE SCHEMA notify_stats AUTHORIZATION mallory; CREATE EXTENSION citext SCHEMA notify_stats;',
		clean => 'DROP EXTENSION citext CASCADE; DROP SCHEMA notify_stats CASCADE;',
		refused => 1 },
	{   title => "an extension in a superuser's schema",
		admin => 'CREATE SCHEMA notify_stats; CREATE EXTENSION citext SCHEMA notify_stats;',
		clean => 'DROP EXTENSION citext CASCADE; DROP SCHEMA notify_stats CASCADE;',
		refused => 1 },

	{ title => 'no traps at all' },
	{ title => "a superuser's empty schema", admin => 'CREATE SCHEMA notify_stats;' },
	{ title => "another superuser's empty schema", admin => 'CREATE SCHEMA notify_stats AUTHORIZATION admin; GRANT CREATE ON SCHEMA notify_stats TO admin;' },
	{ title => "traps in public, which is everybody's", admin => 'GRANT ALL ON SCHEMA public TO PUBLIC;', mallory => traps('public') . $types },
	{ title => 'traps in public, which is his', role => 'public', mallory => traps('public') . $types },
	{   title => 'traps in public, which is first in the path of the database',
		role => 'owner',
		admin => 'ALTER SCHEMA public OWNER TO mallory;',
		mallory => traps('public') . $types . 'ALTER DATABASE <db> SET search_path = public, notify_stats, pg_catalog;',
		armed => 1 },
	{   title => "traps in public, which is first in the superuser's path",
		role => 'public',
		admin => 'ALTER ROLE CURRENT_USER IN DATABASE <db> SET search_path = public, pg_catalog;',
		mallory => traps('public') . $types,
		armed => 1 },
	{   title => 'settings of the database',
		role => 'owner',
		mallory => q{
			ALTER DATABASE <db> SET quote_all_identifiers = on;
			ALTER DATABASE <db> SET transform_null_equals = on; ALTER DATABASE <db> SET check_function_bodies = off;
			ALTER DATABASE <db> SET xmloption = document; ALTER DATABASE <db> SET default_transaction_isolation = 'serializable';
			ALTER DATABASE <db> SET row_security = off; ALTER DATABASE <db> SET "DateStyle" = 'SQL, DMY';
			ALTER DATABASE <db> SET client_min_messages = error; ALTER DATABASE <db> SET bytea_output = escape; }
			# since 19 it is always on
			. ($node->pg_version->major < 19 ? 'ALTER DATABASE <db> SET standard_conforming_strings = off;' : '') },
	{   title => "his default privileges",
		role => 'owner',
		mallory => 'ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC;' },
	{   title => "the superuser's default privileges",
		admin => q{
			ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO friend, PUBLIC;
			ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO friend WITH GRANT OPTION;
			ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO friend; } },
);

# All that the extension consists of: owners, privileges, definitions, with every name qualified.
sub made
{
	my ($db) = @_;
	return sql($node, q{
		SET search_path = pg_catalog;
		CREATE FUNCTION pg_temp.granted(acl aclitem[], kind text, owner oid) RETURNS text LANGUAGE sql SET search_path = pg_catalog AS $$
			SELECT string_agg(concat_ws(' ', coalesce(r.rolname, 'PUBLIC'), privilege_type, is_grantable), ', ' ORDER BY r.rolname, privilege_type)
			FROM aclexplode(coalesce(acl, acldefault(kind::"char", owner))) LEFT JOIN pg_roles r ON r.oid = grantee WHERE grantee <> owner $$;
		SET standard_conforming_strings = on; SET quote_all_identifiers = off;
		WITH member AS (
			SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
			WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'notify_stats' AND d.deptype = 'e'
		)
		SELECT 'extension', extowner::regrole, extnamespace::regnamespace::text, NULL, NULL FROM pg_extension WHERE extname = 'notify_stats'
		UNION ALL
		SELECT 'schema', NULL, NULL, pg_temp.granted(n.nspacl, 'n', n.nspowner), obj_description(n.oid)
		FROM pg_namespace n WHERE nspname = 'notify_stats'
		UNION ALL
		SELECT 'relation', c.relowner::regrole, c.oid::regclass::text, pg_temp.granted(c.relacl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END, c.relowner),
			   concat_ws(' ', c.relkind, c.reloptions, c.relrowsecurity, c.relreplident, pg_get_viewdef(c.oid),
				   (SELECT string_agg(concat_ws(' ', attname, atttypid::regtype, attnotnull, attacl, pg_get_expr(adbin, adrelid)), ', ' ORDER BY attnum)
					FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
					WHERE attrelid = c.oid AND attnum > 0),
				   (SELECT string_agg(pg_get_constraintdef(oid), ', ' ORDER BY conname) FROM pg_constraint WHERE conrelid = c.oid),
				   (SELECT string_agg(pg_get_triggerdef(oid), ', ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = c.oid))
		FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
		UNION ALL
		SELECT 'function', p.proowner::regrole, p.oid::regprocedure::text, pg_temp.granted(p.proacl, 'f', p.proowner), replace(pg_get_functiondef(p.oid), '"notify_stats"', 'notify_stats')
		FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
		UNION ALL
		SELECT 'type', t.typowner::regrole, t.oid::regtype::text, pg_temp.granted(t.typacl, 'T', t.typowner), NULL
		FROM pg_type t WHERE typnamespace = 'notify_stats'::regnamespace
		UNION ALL
		SELECT 'event trigger', e.evtowner::regrole, NULL, NULL, concat_ws(' ', e.evtname, e.evtevent, e.evtfoid::regprocedure, e.evtenabled, e.evttags)
		FROM pg_event_trigger e
		ORDER BY 1, 3, 5, 4;
	}, $db);
}

# The lines in which two texts differ.
sub other_than
{
	my ($expected, $got) = @_;
	my %expected = map { ($_ => 1) } split /\n/, $expected;
	my %got = map { ($_ => 1) } split /\n/, $got;

	return join "\n", (map { "missing: $_" } grep { !$got{$_} } sort keys %expected),
	  (map { "added: $_" } grep { !$expected{$_} } sort keys %got);
}

# Other objects in a database: nothing is left behind when this is as before.
sub inventory
{
	my ($db) = @_;
	return sql($node, q{
		SET search_path = pg_catalog;
		SELECT 'relation', oid, relowner, relacl FROM pg_class WHERE oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace
		UNION ALL SELECT 'function', oid, proowner, proacl FROM pg_proc WHERE oid >= 16384
		UNION ALL SELECT 'type', oid, typowner, typacl FROM pg_type WHERE oid >= 16384
		UNION ALL SELECT 'schema', oid, nspowner, nspacl FROM pg_namespace WHERE oid >= 16384
		UNION ALL SELECT 'event trigger', oid, evtowner, NULL FROM pg_event_trigger
		UNION ALL SELECT 'extension', oid, extowner, NULL FROM pg_extension
		UNION ALL SELECT 'comment', objoid, NULL, NULL FROM pg_description WHERE objoid >= 16384
		ORDER BY 1, 2;
	}, $db);
}

# The traps that have run, by the sequences of any schema of mallory's.
sub ran
{
	my ($db) = @_;
	return sql($node, q{SELECT coalesce(sum(last_value), 0) FROM pg_catalog.pg_sequences
		WHERE sequencename OPERATOR(pg_catalog.=) 'ran'}, $db);
}

my $reference = made('postgres');
like($reference, qr/^function\|postgres\|notify_stats\.pause\(\)\|\|CREATE/m, 'the objects of an installation');

# The database of a case.  Those of which nothing is left share one for each kind of role.
my %databases;

sub database
{
	my ($case) = @_;
	my $role = $case->{role} // 'creator';
	my $shared = $case->{refused} && !grep { ($case->{$_} // '') =~ /<db>/ } qw(admin mallory);
	my $db = $shared ? $role : $role . scalar %databases;

	return $db if $databases{$db}++;
	sql($node, "CREATE DATABASE $db" . ($role eq 'owner' ? ' OWNER mallory' : ''));
	sql($node, "GRANT CREATE ON DATABASE $db TO mallory") if $role eq 'creator';
	sql($node, 'ALTER SCHEMA public OWNER TO mallory', $db) if $role eq 'public';
	return $db;
}

foreach my $case (@cases)
{
	my $db = database($case);
	my $title = $case->{title};
	my ($before, $error);
	my $run = sub { $_[0] =~ s/<db>/$db/gr };

	sql($node, $run->($case->{admin}), $db) if $case->{admin};
	under_role('mallory', $db, $run->($case->{mallory})) if $case->{mallory};
	sql($node, $run->($case->{then}), $db) if $case->{then};

	$before = inventory($db);
	$error = sql_error($node, 'CREATE EXTENSION notify_stats', $db);
	if ($case->{refused})
	{
		like($error, qr/ERROR:  42P06: schema "notify_stats" already exists.*HINT:  Check the contents/s, "$title: refused");
		is(inventory($db), $before, "$title: nothing is left behind");
		is(ran($db), '0', "$title: nothing of his has run") if ($case->{mallory} // '') =~ /SEQUENCE/;
		sql($node, $run->($case->{clean} // $drop_schema), $db);
		sql($node, 'CREATE EXTENSION notify_stats', $db);
	}
	else
	{
		is($error, 'no error: ', "$title: installed");
		is(ran($db), '0', "$title: nothing of his has run") if ($case->{mallory} // '') =~ /SEQUENCE/;
	}
	is(other_than($reference, made($db)), '', "$title: the extension is the same as elsewhere");
	if ($case->{armed})
	{
		sql_error($node, q{SELECT pg_current_wal_flush_lsn() - '0/0'::pg_catalog.pg_lsn}, $db);
		isnt(ran($db), '0', "$title: the traps work");
	}
	sql($node, 'DROP EXTENSION notify_stats; DROP SCHEMA notify_stats', $db);
}

# --- refused calls, and privileges -------------------------------------------------------

sql($node, 'CREATE DATABASE others OWNER mallory');
sql($node, 'CREATE SCHEMA other', 'others');
like(sql_error($node, 'CREATE EXTENSION notify_stats SCHEMA other', 'others'),
	qr/ERROR:  0A000: extension "notify_stats" must be installed in schema "notify_stats"/, 'another schema is refused');
like(sql_error($node, 'SET ROLE mallory; CREATE EXTENSION notify_stats', 'others'),
	qr/ERROR:  42501: permission denied to create extension/, 'so is the owner of the database');
is(sql($node, q{SELECT count(*) FROM pg_extension WHERE extname = 'notify_stats' UNION ALL
	SELECT count(*) FROM pg_namespace WHERE nspname = 'notify_stats'}, 'others'), "0\n0", 'nothing is left of it');
sql($node, 'CREATE SCHEMA notify_stats; CREATE EXTENSION notify_stats SCHEMA notify_stats', 'others');
like(sql_error($node, 'ALTER EXTENSION notify_stats SET SCHEMA other', 'others'),
	qr/ERROR:  0A000: extension "notify_stats" does not support SET SCHEMA/, 'it cannot be moved');
like(sql_error($node, "SET ROLE mallory; $_", 'others'), qr/ERROR:  42501: /, "who owns the database cannot: $_")
  foreach 'DROP EXTENSION notify_stats', 'DROP SCHEMA notify_stats CASCADE', 'ALTER SCHEMA notify_stats RENAME TO mine',
  'CREATE TABLE notify_stats.mine (a integer)', 'ALTER EXTENSION notify_stats ADD SCHEMA public',
  'CREATE OR REPLACE FUNCTION notify_stats.pause() RETURNS void LANGUAGE sql AS $$ SELECT $$',
  'ALTER EVENT TRIGGER notify_stats_ddl DISABLE', 'ALTER EVENT TRIGGER notify_stats_owner DISABLE', 'INSERT INTO notify_stats.rebuild_request (rollup) VALUES (1)',
  'CREATE TRIGGER mine AFTER INSERT ON notify_stats.rollup EXECUTE FUNCTION suppress_redundant_updates_trigger()',
  'CREATE TABLE public.mine (a oid REFERENCES notify_stats.rollup)';
is(other_than($reference, made('others')), '', 'it is as it was made');
sql($node, 'DROP EXTENSION notify_stats', 'others');
is(sql($node, q{SELECT has_schema_privilege('mallory', 'notify_stats', 'CREATE'),
		(SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = 'notify_stats'::regnamespace)}, 'others'),
	'f|0', 'DROP EXTENSION leaves the schema, empty and closed');

# --- the rules --------------------------------------------------------------------------

my $path = "SET LOCAL search_path = pg_catalog, pg_temp;\n";
my $of_body = 'CREATE FUNCTION @extschema@.f() RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS';

# violations, and the rule that reports each
my @bad = (
	[ 'SELECT a + b', 'PS001' ],
	[ 'SELECT @extschema@.f() <> 1', 'PS001' ],
	[ $path . 'CREATE FUNCTION @extschema@.f() RETURNS integer LANGUAGE sql AS $$ SELECT 1 + 1 $$', 'PS001' ],
	[ 'CREATE FUNCTION @extschema@.f(a integer) RETURNS integer LANGUAGE sql RETURN a - 1', 'PS001' ],
	[ $path . 'CREATE OR REPLACE FUNCTION @extschema@.f() RETURNS void LANGUAGE c AS $$a$$, $$b$$', 'PS002' ],
	[ $path . 'create or /* not so */ replace procedure @extschema@.f() LANGUAGE c AS $$a$$, $$b$$', 'PS002' ],
	[ $path . q{CREATE FUNCTION @extschema@.f() RETURNS void LANGUAGE c SECURITY DEFINER AS 'a', 'b'}, 'PS003' ],
	[ $path . q{CREATE FUNCTION @extschema@.f() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT'}, 'PS003' ],
	[ $path . q{CREATE FUNCTION @extschema@.f() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS 'SELECT'}, 'PS004' ],
	[ $path . q{CREATE FUNCTION @extschema@.f() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT'}, 'PS004' ],
	[ $path . q{CREATE FUNCTION @extschema@.f() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp, public AS 'SELECT'}, 'PS004' ],
	[ $path . q{CREATE FUNCTION @extschema@.f() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS 'SELECT'}, 'PS003' ],
	[ $path . 'CREATE FUNCTION @extschema@.f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$', 'PS005' ],
	[ $path . 'CREATE OR REPLACE TRANSFORM FOR hstore LANGUAGE plpgsql (FROM SQL WITH FUNCTION @extschema@.f(internal))', 'PS006' ],
	[ $path . 'CREATE OR REPLACE AGGREGATE @extschema@.a(integer) (SFUNC = int4pl, STYPE = integer)', 'PS007' ],
	[ $path . 'CREATE OR REPLACE TRIGGER t AFTER INSERT ON @extschema@.t EXECUTE FUNCTION @extschema@.f()', 'PS007' ],
	[ $path . 'CREATE OR REPLACE RULE r AS ON INSERT TO @extschema@.t DO NOTHING', 'PS007' ],
	[ 'SELECT CASE @extschema@.f() WHEN 1 THEN 2 END', 'PS009' ],
	[ $path . 'CREATE SCHEMA IF NOT EXISTS mine', 'PS010' ],
	[ $path . 'CREATE SEQUENCE IF NOT EXISTS @extschema@.s', 'PS011' ],
	[ $path . 'CREATE UNLOGGED TABLE IF NOT EXISTS @extschema@.t (a integer)', 'PS012' ],
	[ $path . 'ALTER TABLE @extschema@.t ADD COLUMN IF NOT EXISTS b integer', 'PS012' ],
	[ $path . 'CREATE SERVER IF NOT EXISTS s FOREIGN DATA WRAPPER w', 'PS013' ],
	[ $path . 'CREATE UNIQUE INDEX IF NOT EXISTS i ON @extschema@.t (a)', 'PS014' ],
	[ $path . 'CREATE MATERIALIZED VIEW IF NOT EXISTS @extschema@.v AS SELECT 1', 'PS007' ],
	[ $path . 'CREATE OR REPLACE VIEW @extschema@.v AS SELECT 1', 'PS015' ],
	[ $path . 'CREATE OR REPLACE RECURSIVE VIEW @extschema@.v (a) AS SELECT 1', 'PS015' ],
	[ $path . 'DO $$ BEGIN CREATE OR REPLACE VIEW @extschema@.v AS SELECT 1; END $$', 'PS015' ],
	[ 'SELECT f(1)', 'PS016' ],
	[ "CREATE VIEW \@extschema\@.v AS SELECT quote_ident('a')", 'PS016' ],
	[ 'DO $$ BEGIN PERFORM f(1); END $$', 'PS016' ],
	[ 'SELECT a FROM t', 'PS017' ],
	[ 'DO $$ DECLARE a integer; BEGIN SELECT 1 INTO a FROM t; END $$', 'PS017' ],
	[ $path . 'CREATE TABLE t (a integer)', 'PS017' ],
	[ $path . 'CREATE TABLE public.t (a integer)', 'PS017' ],
	[ $path . 'CREATE TABLE @extschema@.t (a integer REFERENCES t2)', 'PS017' ],
	[ $path . 'CREATE VIEW v WITH (security_barrier) AS SELECT 1', 'PS017' ],
	[ $path . 'CREATE FUNCTION f() RETURNS void LANGUAGE c AS $$a$$, $$b$$', 'PS017' ],
	[ $path . 'CREATE TYPE "t" AS (a integer)', 'PS017' ],
	[ $path . 'CREATE INDEX i ON t (a)', 'PS017' ],
	[ $path . 'ALTER TABLE t ADD COLUMN b integer', 'PS017' ],
	[ $path . 'DROP FUNCTION f()', 'PS017' ],
	[ $path . "COMMENT ON TABLE t IS 'a'", 'PS017' ],
	[ $path . "COMMENT ON COLUMN t.a IS 'a'", 'PS017' ],
	[ $path . 'GRANT SELECT (a, b) ON t TO PUBLIC', 'PS017' ],
	[ $path . 'REVOKE ALL ON FUNCTION f() FROM PUBLIC', 'PS017' ],
	[ $path . 'INSERT INTO t VALUES (1)', 'PS017' ],
	[ $path . 'CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f()', 'PS017' ],
	# of search_path itself
	[ 'SELECT', 'PATH' ],
	[ '', 'PATH' ],
	[ "COMMENT ON SCHEMA \@extschema\@ IS 'a';\n$path", 'PATH' ],
	[ 'SET search_path = pg_catalog, pg_temp', 'PATH' ],
	[ 'SET LOCAL search_path = pg_catalog', 'PATH' ],
	[ 'SET LOCAL search_path = public, pg_catalog, pg_temp', 'PATH' ],
	[ $path . $path, 'PATH' ],
	[ $path . 'RESET search_path', 'PATH' ],
	[ $path . "SELECT set_config('search_path', 'public', true)", 'PATH' ],
	[ $path . 'DO $$ BEGIN SET search_path = public; END $$', 'PATH' ],
	[ "$path$of_body \$\$ BEGIN PERFORM set_config('search_path', 'public', true); END \$\$", 'PATH' ],
	# of statements that are put together
	[ "$path$of_body \$\$ BEGIN EXECUTE a; END \$\$", 'EXECUTE' ],
	[ "$path$of_body \$\$ BEGIN EXECUTE 'DROP TABLE ' || a; END \$\$", 'EXECUTE' ],
	[ "$path$of_body \$\$ BEGIN EXECUTE format('DROP TABLE %s', a); END \$\$", 'EXECUTE' ],
	[ "$path$of_body \$\$ BEGIN EXECUTE format(a, b); END \$\$", 'EXECUTE' ]);

# the same, written correctly
my @good = (
	'SELECT @extschema@.f() OPERATOR(pg_catalog.+) 1 FROM @extschema@.t',
	'SELECT CASE WHEN pg_catalog.f(a) THEN 1 END FROM pg_catalog.t',
	$path . 'SELECT a + b, CASE f(a) WHEN 1 THEN 2 END FROM t; -- and CREATE OR REPLACE VIEW v',
	$path . q{COMMENT ON TABLE @extschema@.t IS 'CREATE TABLE IF NOT EXISTS t; SET search_path = a';},
	$path . q{CREATE FUNCTION @extschema@.f() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT a + b FROM t'},
	$path . 'CREATE FUNCTION @extschema@.f() RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a + 1 = 2 THEN 1 END; SELECT 2; END',
	$path . q{CREATE FUNCTION @extschema@.f() RETURNS void LANGUAGE c AS 'a', 'b'},
	$path . 'CREATE UNIQUE INDEX i ON @extschema@.t (a)',
	$path . 'GRANT SELECT (a, b) ON @extschema@.t TO PUBLIC; GRANT USAGE ON SCHEMA @extschema@ TO PUBLIC',
	$path . 'GRANT EXECUTE ON FUNCTION @extschema@."check"() TO pg_monitor',
	"$path$of_body \$\$ BEGIN EXECUTE format('DROP TABLE %I', a); EXECUTE 'SELECT \$1' USING a; END \$\$");

foreach my $case (@bad)
{
	my ($text, $rule) = @$case;
	ok((grep { /^$rule\b/ } lint_script($text)), "$rule finds " . ($text =~ s/^\Q$path\E(?=.)//r =~ s/\s+/ /gr))
	  or diag(join "\n", lint_script($text));
}
# the first two do not depend on the path
is(join("\n", grep { !/^PATH/ } lint_script($_)), '', 'nothing is found in ' . s/^\Q$path\E//r) foreach @good;
is(join("\n", lint_script($_)), '', 'not even the path') foreach @good[ 2 .. $#good ];

my @scripts = bsd_glob("$FindBin::Bin/../../src/notify_stats--*.sql");
cmp_ok(scalar @scripts, '>=', 1, 'there are scripts');
is(join("\n", lint_script(slurp_file($_))), '', 'nothing is found in ' . s{.*/}{}r) foreach @scripts;

# the same, for objects created by a script, including facts that only the catalogs have
my $add = sub { "$_[1]; ALTER EXTENSION notify_stats ADD $_[0]" };
my $f = 'function notify_stats.f()';
foreach my $case (
	[ 'PS003', $add->($f, "CREATE $f RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'") ],
	[ 'PS003', $add->($f, "CREATE $f RETURNS integer LANGUAGE sql SECURITY DEFINER SET jit = off AS 'SELECT 1'") ],
	[ 'PS004', $add->($f, "CREATE $f RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT 1'") ],
	[ 'PS004', 'ALTER FUNCTION notify_stats.note_ddl() SET search_path = notify_stats, pg_catalog, pg_temp' ],
	[ 'PS005', $add->($f, "CREATE $f RETURNS integer LANGUAGE sql AS 'SELECT 1'") ],
	[ 'PS005', $add->($f, "CREATE $f RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'") ],
	[ 'OUTSIDE', 'CREATE FUNCTION public.g() RETURNS integer LANGUAGE sql RETURN 1;'
		  . $add->($f, "CREATE $f RETURNS integer LANGUAGE sql RETURN public.g()") ],
	[ 'OUTSIDE', 'CREATE FUNCTION public.g() RETURNS integer LANGUAGE sql RETURN 1;'
		  . 'ALTER TABLE notify_stats.control ALTER paused SET DEFAULT public.g() > 0' ],
	[ 'OUTSIDE', 'CREATE DOMAIN public.d AS integer; ALTER TABLE notify_stats.control ADD a public.d' ],
	[ 'OUTSIDE', 'CREATE TABLE public.t (a integer);' . $add->('VIEW notify_stats.v', 'CREATE VIEW notify_stats.v AS SELECT a FROM public.t') ],
	[ 'BARRIER', 'ALTER VIEW notify_stats.status RESET (security_barrier)' ],
	[ 'COMMENT', 'COMMENT ON FUNCTION notify_stats.pause() IS NULL' ],
	[ 'COMMENT', 'COMMENT ON COLUMN notify_stats.rollups.reason IS NULL' ],
	[ 'COMMENT', 'COMMENT ON EVENT TRIGGER notify_stats_ddl IS NULL' ],
	[ 'OWNER', 'ALTER TABLE notify_stats.control OWNER TO admin' ],
	[ 'OWNER', 'ALTER FUNCTION notify_stats.pause() OWNER TO admin' ])
{
	my ($rule, $change) = @$case;
	ok((grep { /^$rule\b/ } lint_catalog($node, $change)), "$rule finds $change");
}
is(join("\n", lint_catalog($node)), '', 'no findings in the objects of the script');

# All privileges of PUBLIC.
is(join("\n", sort split /\n/, sql($node, q{
	SET search_path = notify_stats;
	SELECT 'schema', a.privilege_type FROM pg_namespace n, aclexplode(n.nspacl) a
	WHERE a.grantee = 0 AND n.nspname = 'notify_stats'
	UNION ALL
	SELECT c.oid::regclass::text, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
	WHERE a.grantee = 0 AND c.relnamespace = 'notify_stats'::regnamespace
	UNION ALL
	SELECT c.attrelid::regclass || '.' || attname, a.privilege_type FROM pg_attribute c, aclexplode(c.attacl) a
	WHERE a.grantee = 0 AND (SELECT relnamespace FROM pg_class WHERE oid = attrelid) = 'notify_stats'::regnamespace
	UNION ALL
	SELECT p.oid::regprocedure::text, 'EXECUTE' FROM pg_proc p
	WHERE p.pronamespace = 'notify_stats'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')
})), 'adopt_rollup(regclass,text[],text)|EXECUTE
alter_rollup(regclass,text,text[])|EXECUTE
applied_lsn(regclass)|EXECUTE
blocked_by(integer)|EXECUTE
build_activity()|EXECUTE
catch_up_activity()|EXECUTE
catch_up_progress|SELECT
changed_rows(anyelement,pg_lsn,interval)|EXECUTE
changes(regclass,pg_lsn,interval)|EXECUTE
computed_rollup|SELECT
create_rollup(text,text,text[],text[],boolean,text,boolean)|EXECUTE
display_name(regclass)|EXECUTE
drop_rollup(regclass,boolean)|EXECUTE
explain_rollup(text,text[])|EXECUTE
fed_tables()|EXECUTE
ignored_by(regclass[])|EXECUTE
is_successor(regclass)|EXECUTE
late_standbys(name,pg_lsn)|EXECUTE
loss_reason()|EXECUTE
position_at(timestamp with time zone)|EXECUTE
rebuild(regclass,boolean,boolean)|EXECUTE
replacement|SELECT
rollup_as_of(anyelement,pg_lsn)|EXECUTE
rollups|SELECT
rollup|SELECT
schema|USAGE
source_fact.fact|SELECT
source_fact.rollup|SELECT
status|SELECT
stream.applied_lsn|SELECT
stream_activity()|EXECUTE
subscription_problem(oid)|EXECUTE
subscription_problems()|EXECUTE
transaction_name(xid)|EXECUTE
verify(regclass)|EXECUTE
wait_for_lsn(pg_lsn,interval,regclass,boolean)|EXECUTE
wait_for_publisher(pg_lsn,name,interval,regclass,boolean)|EXECUTE
worst_part(regclass)|EXECUTE', 'what everybody may use');

# --- tables that look like ours ---------------------------------------------------------

# Would make the worker fill a superuser's table with a function of mallory.
my $impostor = q{
	CREATE SCHEMA own;
	CREATE SEQUENCE own.ran;
	CREATE TABLE own.source (kind text);
	ALTER TABLE own.source REPLICA IDENTITY FULL;
	INSERT INTO own.source VALUES ('a');
	CREATE FUNCTION own.evil(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
		BEGIN PERFORM nextval('own.ran'); ALTER ROLE mallory SUPERUSER; RETURN $1; END $$;
	CREATE VIEW own.definition AS SELECT own.evil(kind) AS kind, count(*) AS n FROM own.source GROUP BY 1;
	CREATE SCHEMA notify_stats;
	SET search_path = notify_stats;
	CREATE TABLE stream (slot_name name, format text, applied_lsn pg_lsn, applied_at timestamptz, upgrade_from bigint, upgrade_lsn pg_lsn, slot_requests bigint);
	INSERT INTO stream DEFAULT VALUES;
	CREATE TABLE control (paused boolean, slot_requests bigint);
	INSERT INTO control VALUES (false, 0);
	CREATE TABLE source_fact (rollup oid, source oid, fact text, value text, PRIMARY KEY (rollup, source, fact));
	CREATE TABLE window_position (reached_at timestamptz, applied_lsn pg_lsn, lsn pg_lsn, restart_lsn pg_lsn, catalog_xmin xid);
	CREATE TABLE rebuild_request (id bigint, rollup regclass, from_scratch boolean);
	CREATE TABLE rollup (rollup regclass PRIMARY KEY, definition regclass, ignore_deletes regclass[], state text, fingerprint bigint);
	CREATE TABLE rollup_activity (rollup regclass PRIMARY KEY, reason text, reason_lsn pg_lsn, built_at timestamptz, changed_at timestamptz, failed_catalog bigint, applied_lsn pg_lsn);
	CREATE TABLE computed_rollup (rollup regclass PRIMARY KEY, definition regclass, cores regclass[]);
	CREATE TABLE replacement (rollup regclass PRIMARY KEY, successor regclass, reason text);
	CREATE TABLE rollup_source (rollup regclass, source regclass, columns smallint[], PRIMARY KEY (rollup, source));
	INSERT INTO rollup VALUES ('public.precious', 'own.definition', '{}', 'building');
};

foreach my $db ('pretender', 'renamed')
{
	my $worker;

	sql($node, "CREATE DATABASE $db");
	sql($node, "GRANT CREATE ON DATABASE $db TO mallory");
	sql($node, q{
		CREATE TABLE public.precious (kind text, n bigint);
		CREATE UNIQUE INDEX ON public.precious (kind) NULLS NOT DISTINCT;
		ALTER TABLE public.precious REPLICA IDENTITY FULL;
		INSERT INTO public.precious VALUES ('precious', 1)}, $db);
	# which the event trigger refuses
	sql($node, 'CREATE EXTENSION notify_stats; ALTER EVENT TRIGGER notify_stats_ddl DISABLE;
		ALTER EVENT TRIGGER notify_stats_view DISABLE; ALTER SCHEMA notify_stats RENAME TO moved', $db)
	  if $db eq 'renamed';
	$worker = wait_for_worker($node, $db);
	under_role('mallory', $db, $impostor);
	# a worker that starts now reads the catalogs once before it waits
	sql($node, "SELECT pg_terminate_backend($worker)");
	$worker = wait_for_worker($node, $db, $worker);
	poll($node, "SELECT query = 'notify_stats: waiting for changes' FROM pg_stat_activity WHERE pid = $worker");
	sql($node, 'SELECT pg_switch_wal()');
	wait_for_builder_gone($node);
	is(ran($db), '0', "$db: no function of mallory has run");
	is(sql($node, 'SELECT * FROM public.precious', $db), 'precious|1', "$db: the table is as it was");
	is(sql($node, "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"), 'f', "$db: mallory is no superuser");
	is(sql($node, 'SELECT state FROM notify_stats.rollup', $db), 'building', "$db: nothing is written to the tables of mallory");
}

# and the real ones work
sql($node, q{
	CREATE TABLE source (kind text);
	ALTER TABLE source REPLICA IDENTITY FULL;
	INSERT INTO source VALUES ('a'), ('a'), ('b');
	SELECT notify_stats.create_rollup('counted', 'SELECT kind, count(*) FROM source GROUP BY kind')});
is_exact($node, 'an honest rollup is filled');

done_testing();
