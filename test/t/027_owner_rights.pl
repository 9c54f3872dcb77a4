# 027_owner_rights.pl
#
# Code of users never runs with more than the rights of the rollup's owner, in any process: the
# worker, its builders, or catch_up() in a superuser's session.  A role without any rights has a
# trap at each place where its code runs for a rollup: in the definition, on the rollup's table,
# on the source.  Each trap records its role, tries operations that only a superuser or another owner
# may do, and changes settings.  The same rollups are exact throughout, except for those whose
# traps cannot be run in this way: these fail, and are exact when the trap is removed.
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

my $node = new_node('rights', conf => q{
autovacuum = off
max_replication_slots = 20
max_slot_wal_keep_size = 1GB
});
my $superuser = sql($node, 'SELECT current_user');
my $failed_deferred = qr/cannot fire deferred trigger within security-restricted operation/;

# --- the traps ------------------------------------------------------------------------

# Servers from before November 2026 allow these types to be created; only later releases prevent it.
my $version = sql($node, 'SHOW server_version_num');
my %mended = (15 => 150020, 16 => 160016, 17 => 170012, 18 => 180007, 19 => 190001);
my @temporary_types = $version < $mended{ int($version / 10000) } ? () : (
	'CREATE DOMAIN pg_temp.text AS pg_catalog.text', q{CREATE TYPE pg_temp.numeric AS ENUM ('a')},
	'CREATE TYPE pg_temp.date AS RANGE (subtype = int)',
	'CREATE TYPE attacker.range AS RANGE (subtype = int, multirange_type_name = pg_temp.int8)',
	'SET search_path = pg_temp; CREATE DOMAIN regclass AS pg_catalog.text',
);

# Operations that must not succeed in any session.
my @attempts = (
	'ALTER ROLE attacker SUPERUSER',
	'CREATE ROLE another SUPERUSER',
	'GRANT pg_read_all_data TO attacker',
	q{COPY (SELECT 1) TO PROGRAM 'true'},
	q{COPY (SELECT 1) TO '/dev/null'},
	'SELECT * FROM trap.secret',
	q{SELECT pg_read_file('PG_VERSION')},
	"SET ROLE $superuser", 'SET ROLE NONE', 'RESET ROLE', 'SET LOCAL ROLE NONE',
	"SET SESSION AUTHORIZATION $superuser", 'RESET SESSION AUTHORIZATION',
	q{SELECT set_config('role', 'none', false)}, q{SELECT set_config('role', 'none', true)},
	"SELECT set_config('session_authorization', '$superuser', true)",
	'SET session_replication_role = replica', 'SET log_statement = none', 'SET allow_system_table_mods = on',
	q{ALTER SYSTEM SET work_mem = '1MB'}, q{LOAD 'notify_stats'},
	'CREATE FUNCTION pg_catalog.more() RETURNS int LANGUAGE sql RETURN 1',
	'CREATE OR REPLACE FUNCTION victim.show(timestamptz) RETURNS text LANGUAGE sql IMMUTABLE RETURN NULL',
	'DELETE FROM victim.first', 'DROP TABLE victim.first', 'ALTER TABLE victim.first DISABLE ROW LEVEL SECURITY',

	# objects that precede all others in the session that calls catch_up()
	'CREATE TEMPORARY TABLE mine (a int)', 'SELECT 1 INTO TEMPORARY mine', 'CREATE TEMPORARY VIEW mine AS SELECT 1',
	'CREATE TEMPORARY SEQUENCE mine', 'CREATE TYPE pg_temp.mine AS (a int)',
	@temporary_types,
	(map {
		my $table = qq{pg_temp."$_"};
		("CREATE TRIGGER t BEFORE INSERT ON $table FOR EACH ROW EXECUTE FUNCTION attacker.on_change('temporary table')",
			"CREATE RULE r AS ON INSERT TO $table DO ALSO SELECT attacker.spring('temporary table')",
			"ALTER TABLE $table RENAME TO stage", "ALTER TABLE $table ADD CHECK (attacker.int_trap('temporary table', 1) = 1)",
			"CREATE INDEX ON $table ((attacker.text_trap('temporary table', 'x')))", "DROP TABLE $table")
	} 'notify_stats fresh rows', 'notify_stats differences'),
	'PREPARE mine AS SELECT 1', 'LISTEN mine', 'UNLISTEN *', 'DECLARE mine CURSOR WITH HOLD FOR SELECT 1', 'DISCARD PLANS', 'CLOSE ALL',

	'SELECT 1 / pg_terminate_backend(pid)::int FROM trap.process',
	'SELECT notify_stats.pause()', 'SELECT notify_stats.resume()',
	'CALL notify_stats.catch_up()', 'CALL notify_stats.prepare_upgrade()', 'CALL attacker.commit()',
	q{SELECT notify_stats.rebuild('victim.first')}, q{SELECT notify_stats.drop_rollup('victim.first')},
	q{SELECT * FROM notify_stats.verify('victim.first')},
	'UPDATE notify_stats.rollup SET definition = 0', 'DELETE FROM notify_stats.stream',
	'SELECT slot_name FROM notify_stats.stream',
);

# Settings that may change, but only while the code of its owner runs.
my %hostile = (
	search_path => 'attacker, pg_catalog', DateStyle => 'German, DMY', IntervalStyle => 'iso_8601',
	TimeZone => 'Asia/Tokyo', extra_float_digits => '-10', bytea_output => 'escape', row_security => 'on',
	synchronous_commit => 'off', statement_timeout => '1ms', lock_timeout => '1ms',
	default_transaction_isolation => 'serializable', default_transaction_read_only => 'on',
	array_nulls => 'off', work_mem => '64kB', enable_seqscan => 'off', application_name => 'attacker',
	check_function_bodies => 'off', client_min_messages => 'error',
	# since 19 it is always on
	$version < 190000 ? (standard_conforming_strings => 'off') : (),
);

# The values in our processes.
my %safe = (
	search_path => 'pg_catalog, pg_temp', DateStyle => 'ISO, MDY', IntervalStyle => 'postgres', TimeZone => 'UTC',
	extra_float_digits => '1', bytea_output => 'hex', row_security => 'off', synchronous_commit => 'local',
	statement_timeout => '0', lock_timeout => '0', default_transaction_isolation => 'read committed',
	default_transaction_read_only => 'off', array_nulls => 'on', work_mem => '4MB', enable_seqscan => 'on',
	standard_conforming_strings => 'on', check_function_bodies => 'on', transaction_read_only => 'off',
);

# Strings as a list of VALUES.
sub values_of
{
	return join ', ', map { "('" . s/'/''/gr . "')" } @_;
}

# The traps, in a database.  Where it matters, a trap is sprung once in each stage and process.
sub make_traps
{
	my ($db) = @_;

	sql($node, q{
		CREATE SCHEMA trap;
		GRANT USAGE ON SCHEMA trap TO PUBLIC;
		CREATE TABLE trap.stage (stage text);
		INSERT INTO trap.stage VALUES ('create');
		CREATE TABLE trap.process (pid int);
		CREATE TABLE trap.attempt (id serial, statement text);
		CREATE TABLE trap.setting (name text, value text);
		CREATE TABLE trap.watched (name text);
		CREATE TABLE trap.seen (place text, stage text, who text, pid int, settings text);
		CREATE TABLE trap.success (place text, stage text, statement text);
		GRANT SELECT ON ALL TABLES IN SCHEMA trap TO PUBLIC;
		GRANT INSERT ON trap.seen, trap.success TO PUBLIC;
		CREATE TABLE trap.secret AS SELECT 1 AS a;
		CREATE SCHEMA attacker AUTHORIZATION attacker;
		CREATE SCHEMA victim AUTHORIZATION victim;
		CREATE SCHEMA monitor AUTHORIZATION monitor;
		CREATE SCHEMA own;
		GRANT USAGE ON SCHEMA attacker, victim TO PUBLIC;
	} . 'INSERT INTO trap.attempt (statement) VALUES ' . values_of(@attempts) .
		'; INSERT INTO trap.setting SELECT n, v FROM (VALUES ' .
		join(', ', map { "('$_', '$hostile{$_}')" } sort keys %hostile) . ') x (n, v)
		; INSERT INTO trap.watched VALUES ' . values_of(sort keys %safe), $db);
	sql_as($node, 'attacker', $db, q{
		-- notes who runs it, and tries everything
		CREATE FUNCTION attacker.spring(place text, read_only boolean DEFAULT false) RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
			now text := (SELECT stage FROM trap.stage);
			attempt text;
			setting record;
		BEGIN
			IF session_user = 'attacker' OR EXISTS (SELECT FROM trap.seen s
				WHERE s.place = spring.place AND s.stage = now AND s.pid = pg_backend_pid()) THEN
				RETURN;
			END IF;
			INSERT INTO trap.seen SELECT place, now, current_user, pg_backend_pid(),
				string_agg(name || '=' || current_setting(name), '; ' ORDER BY name) FROM trap.watched;
			FOR attempt IN SELECT statement FROM trap.attempt ORDER BY id LOOP
				BEGIN
					EXECUTE attempt;
					IF attempt ~ '^CREATE (DOMAIN|TYPE) pg_temp' THEN
						INSERT INTO trap.success VALUES (place, now, attempt);
						CONTINUE;
					END IF;
					RAISE EXCEPTION SQLSTATE 'NS001';
				EXCEPTION
					-- the others are undone, so that the test gets as far as to tell it
					WHEN SQLSTATE 'NS001' THEN
						INSERT INTO trap.success VALUES (place, now, attempt);
					WHEN OTHERS THEN
				END;
			END LOOP;
			FOR setting IN SELECT * FROM trap.setting LOOP
				PERFORM set_config(setting.name, setting.value, true), set_config(setting.name, setting.value, false);
			END LOOP;
			IF read_only THEN
				PERFORM set_config('transaction_read_only', 'on', false);
			END IF;
		END $$;
		CREATE PROCEDURE attacker.commit() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
		CREATE FUNCTION attacker.int_trap(place text, value int, read_only boolean DEFAULT false) RETURNS int
			LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM attacker.spring(place, read_only); RETURN value; END';
		CREATE FUNCTION attacker.text_trap(place text, value text, read_only boolean DEFAULT false) RETURNS text
			LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM attacker.spring(place, read_only); RETURN value; END';
		CREATE FUNCTION attacker.on_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			PERFORM attacker.spring(TG_ARGV[0]);
			IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
			RETURN NEW;
		END $$;
		CREATE FUNCTION attacker.postpone() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN SET CONSTRAINTS ALL DEFERRED; RETURN NEW; END';

		CREATE TYPE attacker.pair AS (a int, b text);
		CREATE DOMAIN attacker.word AS text CHECK (attacker.text_trap('check of a domain', VALUE) <> '');
		CREATE FUNCTION attacker.pair_text(attacker.pair) RETURNS text
			LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM attacker.spring('cast', true); RETURN $1.b; END $$;
		CREATE CAST (attacker.pair AS text) WITH FUNCTION attacker.pair_text;
		CREATE TYPE attacker.mood AS ENUM ('good', 'bad');
		CREATE FUNCTION attacker.mood_json(attacker.mood) RETURNS json
			LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM attacker.spring('cast to json'); RETURN '1'; END $$;
		CREATE CAST (attacker.mood AS json) WITH FUNCTION attacker.mood_json;
		CREATE FUNCTION attacker.exceeds(int, int) RETURNS boolean
			LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM attacker.spring('operator', true); RETURN $1 > $2; END $$;
		CREATE OPERATOR attacker.%> (LEFTARG = int, RIGHTARG = int, FUNCTION = attacker.exceeds);
	});
	return;
}

# --- the places -----------------------------------------------------------------------

# Each is a rollup of the attacker:
#	query	the definition; by default one without traps.  SOURCE is its own table
#	source	DDL of the source
#	ddl		DDL of ROLLUP, in the transaction that creates it
#	later	the same, when it is live
#	stages	in which the trap must be run
#	failed	it fails, with this reason
#	mend	statements to run before the rebuild
my $plain = 'SELECT kind, count(*) AS n FROM SOURCE GROUP BY kind';
my $always = 'build change rebuild verify';
my $written = 'build change rebuild';
my $planned = 'build rebuild verify';
my @places = (
	'group' => { query => q{SELECT attacker.text_trap('group', kind, true) AS kind, count(*) AS n FROM SOURCE GROUP BY 1}, stages => $always },
	'where' => {
		query => q{SELECT kind, count(*) AS n FROM SOURCE WHERE attacker.int_trap('where', id, true) % 7 > 0 GROUP BY 1},
		stages => $always },
	'filter' => {
		query => q{SELECT kind, count(*) AS n, count(*) FILTER (WHERE attacker.int_trap('filter', id, true) % 2 = 0) AS m FROM SOURCE GROUP BY 1},
		stages => $always },
	'argument' => {
		query => q{SELECT kind, count(*) AS n, coalesce(sum(attacker.int_trap('argument', id, true)), 0) AS m FROM SOURCE GROUP BY 1},
		stages => $always },
	'operator' => { query => 'SELECT kind, count(*) AS n FROM SOURCE WHERE id OPERATOR(attacker.%>) 3 GROUP BY 1', stages => $always },
	'cast' => { query => 'SELECT pair::text AS kind, count(*) AS n FROM SOURCE GROUP BY 1', stages => $always },
	'cast to json' => { query => 'SELECT mood, pair, count(*) AS n FROM SOURCE GROUP BY 1, 2', stages => 'verify' },
	'constant' => {
		query => q{SELECT kind, count(*) AS n FROM SOURCE WHERE id > attacker.int_trap('constant', 3, true) GROUP BY 1},
		stages => $planned },
	'check of a domain' => {
		query => 'SELECT word, words, count(*) AS n FROM SOURCE GROUP BY 1, 2',
		ddl => q{ALTER TABLE ROLLUP ADD extra attacker.word DEFAULT 'x'}, stages => $written },
	'replaced definition' => {
		later => q{CREATE OR REPLACE VIEW ROLLUP_definition AS SELECT kind, count(*) AS n FROM SOURCE
			WHERE attacker.int_trap('replaced definition', id, true) % 5 > 0 GROUP BY kind},
		stages => 'change rebuild verify' },

	# on the table of the rollup
	'index expression' => { ddl => q{CREATE INDEX ON ROLLUP (attacker.int_trap('index expression', n::int))}, stages => $written },
	'index predicate' => { ddl => q{CREATE INDEX ON ROLLUP (n) WHERE attacker.int_trap('index predicate', n::int) > 0}, stages => $written },
	(map {
		my ($when, $each) = split;
		("$when $each trigger" => {
			ddl => "CREATE TRIGGER t $when INSERT OR UPDATE OR DELETE ON ROLLUP FOR EACH $each EXECUTE FUNCTION attacker.on_change('$when $each trigger')",
			stages => $written })
	} 'BEFORE ROW', 'AFTER ROW', 'BEFORE STATEMENT', 'AFTER STATEMENT'),
	'constraint trigger' => {
		ddl => q{CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON ROLLUP FOR EACH ROW EXECUTE FUNCTION attacker.on_change('constraint trigger')},
		stages => $written },
	'deferred trigger' => {
		ddl => q{CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON ROLLUP DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION attacker.on_change('deferred trigger')},
		stages => $written },
	'postponed trigger' => {
		ddl => q{CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON ROLLUP DEFERRABLE
			FOR EACH ROW EXECUTE FUNCTION attacker.on_change('postponed trigger');
			CREATE TRIGGER u BEFORE INSERT OR UPDATE ON ROLLUP EXECUTE FUNCTION attacker.postpone()},
		failed => $failed_deferred, mend => 'DROP TRIGGER u ON ROLLUP' },
	'rule' => {
		ddl => q{CREATE RULE r AS ON INSERT TO ROLLUP DO ALSO SELECT attacker.spring('rule')},
		stages => 'build', failed => qr/rules/, mend => 'DROP RULE r ON ROLLUP' },
	'policy of the rollup' => {
		ddl => q{CREATE POLICY p ON ROLLUP USING (attacker.int_trap('policy of the rollup', n::int) > 0);
			ALTER TABLE ROLLUP ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY},
		failed => qr/row-level security/, mend => 'ALTER TABLE ROLLUP NO FORCE ROW LEVEL SECURITY' },
	'default' => { ddl => q{ALTER TABLE ROLLUP ADD extra text DEFAULT attacker.text_trap('default', 'x')}, stages => $written },
	'generated column' => {
		ddl => q{ALTER TABLE ROLLUP ADD extra int GENERATED ALWAYS AS (attacker.int_trap('generated column', n::int)) STORED},
		stages => $written },
	'check constraint' => { ddl => q{ALTER TABLE ROLLUP ADD CHECK (attacker.int_trap('check constraint', n::int) >= 0)}, stages => $written },
	'statistics' => {
		ddl => q{CREATE STATISTICS ROLLUP_st ON (attacker.text_trap('statistics', 'x') || kind) FROM ROLLUP},
		stages => 'rebuild verify' },

	# on its source
	'policy of the source' => {
		ddl => q{CREATE POLICY p ON SOURCE USING (attacker.int_trap('policy of the source', id) > 0);
			ALTER TABLE SOURCE ENABLE ROW LEVEL SECURITY} },
	'forced policy of the source' => {
		ddl => q{CREATE POLICY p ON SOURCE USING (attacker.int_trap('forced policy of the source', id) > 0);
			ALTER TABLE SOURCE ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY},
		failed => qr/row-level security of table/, mend => 'ALTER TABLE SOURCE NO FORCE ROW LEVEL SECURITY' },
	'index of the source' => {
		ddl => q{CREATE INDEX ON SOURCE ((attacker.text_trap('index of the source', 'x') || kind))},
		stages => $planned },
	'partial index of the source' => {
		ddl => q{CREATE INDEX ON SOURCE (id) WHERE attacker.int_trap('partial index of the source', 1) = id},
		stages => $planned },
	'statistics of the source' => {
		ddl => q{CREATE STATISTICS SOURCE_st ON (attacker.text_trap('statistics of the source', 'x') || kind) FROM SOURCE},
		stages => $planned },
	'check of the source' => { ddl => q{ALTER TABLE SOURCE ADD CHECK (kind <> attacker.text_trap('check of the source', 'x'))} },
	'partition key' => {
		source => q{CREATE TABLE SOURCE (id int, kind text, pair attacker.pair, mood attacker.mood,
				word attacker.word, words attacker.word[], at timestamptz)
			PARTITION BY LIST ((attacker.text_trap('partition key', 'x') || kind));
			CREATE TABLE SOURCE_default PARTITION OF SOURCE DEFAULT; ALTER TABLE SOURCE_default REPLICA IDENTITY FULL},
		stages => $planned },
);
my %place = @places;
my @names = grep { !ref } @places;

# DDL with the names of the rollup and the source of a place.
sub named
{
	my ($name, $ddl) = @_;
	my $id = lc($name =~ tr/ /_/r);

	return $ddl =~ s/ROLLUP/attacker.$id/gr =~ s/SOURCE/attacker.on_$id/gr;
}

# Creates the sources, and the rollups in stage "build".  The victim's rollups read the source of
# the attacker's first one, one before and one after it.
sub make_rollups
{
	my ($db, @chosen) = @_;
	my @sources = map { named($_, $place{$_}{source} // q{
		CREATE TABLE SOURCE (id int PRIMARY KEY, kind text, pair attacker.pair, mood attacker.mood,
			word attacker.word, words attacker.word[], at timestamptz);
		ALTER TABLE SOURCE REPLICA IDENTITY FULL}) } @chosen;
	my $of_victim = named($chosen[0], 'SELECT victim.show(at) AS shown, count(*) AS n FROM SOURCE GROUP BY 1');

	sql_as($node, 'attacker', $db, join(";\n", @sources, named($chosen[0], 'GRANT SELECT ON SOURCE TO victim')));
	change($db, 1);
	sql_as($node, 'victim', $db, qq{
		CREATE FUNCTION victim.note() RETURNS void LANGUAGE sql AS \$\$
			INSERT INTO trap.seen
			SELECT 'victim', stage, current_user, pg_backend_pid(),
				(SELECT string_agg(name || '=' || current_setting(name), '; ' ORDER BY name) FROM trap.watched)
			FROM trap.stage WHERE session_user <> 'victim' EXCEPT SELECT * FROM trap.seen \$\$;
		CREATE FUNCTION victim.show(timestamptz) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \$\$ BEGIN
			PERFORM victim.note();
			RETURN concat_ws(' ', \$1, interval '36 hours', float8 '0.1', bytea 'a');
		END \$\$;
		SELECT notify_stats.create_rollup('victim.first', '$of_victim');
	});
	stage($db, 'build');
	sql_as($node, 'attacker', $db, join(";\n", map {
		my $query = named($_, $place{$_}{query} // $plain) =~ s/'/''/gr;
		('BEGIN', named($_, "SELECT notify_stats.create_rollup('ROLLUP', '$query')"), named($_, $place{$_}{ddl} // ''), 'COMMIT')
	} @chosen));
	sql_as($node, 'victim', $db, "SELECT notify_stats.create_rollup('victim.last', '$of_victim')");
	return;
}

# Changes of all kinds in all sources.
sub change
{
	my ($db, $from) = @_;

	sql_as($node, 'attacker', $db, qq{
		DO \$\$
		DECLARE
			t regclass;
		BEGIN
			FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'attacker'::regnamespace AND relname LIKE 'on\\_%'
				AND relkind IN ('r', 'p') AND NOT relispartition LOOP
				EXECUTE 'INSERT INTO ' || t || \$q\$
					SELECT i, 'kind ' || i / 3 % 9, ROW(i % 3, 'pair ' || i / 9 % 9)::attacker.pair,
						(ARRAY['good', 'bad'])[1 + i % 2]::attacker.mood, 'word ' || i / 9 % 9,
						ARRAY['word ' || i / 5 % 3], '2026-01-01'::timestamptz + i / 4 * interval '1 hour'
					FROM generate_series($from, $from + 19) i \$q\$;
				EXECUTE 'UPDATE ' || t || \$q\$ SET kind = 'kind changed', at = at + interval '1 day' WHERE id % 20 IN (4, 5) \$q\$;
				EXECUTE 'DELETE FROM ' || t || ' WHERE id % 20 < 3';
			END LOOP;
		END \$\$});
	return;
}

# --- the stages -----------------------------------------------------------------------

my %broken;    # databases with rollups that fail

sub stage
{
	my ($db, $stage) = @_;
	sql($node, "UPDATE trap.stage SET stage = '$stage'", $db);
	return;
}

# State that could be left in a session after catch_up(), and its clean values.
my $left = q{
	SELECT 'type ' || typname FROM pg_type WHERE typnamespace = pg_my_temp_schema()
	UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = pg_my_temp_schema()
	UNION ALL SELECT 'statement ' || name FROM pg_prepared_statements
	UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE is_holdable
	UNION ALL SELECT 'channel ' || c FROM pg_listening_channels() c
	UNION ALL SELECT 'role ' || current_user || session_user WHERE current_user <> session_user
	UNION ALL SELECT name || '=' || current_setting(name) FROM trap.setting WHERE name NOT IN ('search_path', 'application_name')
	UNION ALL SELECT current_setting('search_path');
};

# Has everything done that there is to do: by the worker, or by a superuser in a session in which
# nothing may be left, also if some of the calls fail.
sub do_all_work
{
	my ($db, $title) = @_;
	my ($before, $after);

	if ($db eq 'postgres')
	{
		wait_until_applied($node);
		return;
	}
	$before = sql($node, $left, $db);
	$node->psql($db, ('CALL notify_stats.catch_up();' x ($broken{$db} ? 8 : 1)) . $left, stdout => \$after, on_error_stop => 0);
	is($after, $before, "$title: nothing is left in the session");
	return;
}

# The rollups of one role that differ from the results of their definitions for that role.
sub differing
{
	my ($db, $role) = @_;
	my $query = sql($node, q{
		SELECT string_agg(format('SELECT %L FROM (
			(SELECT %2$s FROM %1$s EXCEPT ALL SELECT %2$s FROM %3$s) UNION ALL (SELECT %2$s FROM %3$s EXCEPT ALL SELECT %2$s FROM %1$s)) d
			HAVING count(*) > 0', r.rollup, a.columns, d.definition), ' UNION ALL ')
		FROM notify_stats.rollups r JOIN notify_stats.rollup d USING (rollup) JOIN pg_class c ON c.oid = r.rollup,
			LATERAL (SELECT string_agg(quote_ident(attname) || '::text', ', ') AS columns
				FROM pg_attribute WHERE attrelid = d.definition AND attnum > 0) a
		WHERE r.state <> 'failed' AND c.relowner = '} . $role . q{'::regrole
	} =~ s/%L/%1\$L/r, $db);

	return sql_as($node, $role, $db, $query);
}

sub is_exact_for_owners
{
	my ($db, $stage) = @_;

	is(differing($db, 'attacker') . differing($db, 'victim'), '', "$db, $stage: the rollups are exact");
	return;
}

# The roles seen in all stages, and the results of the attempts.
sub check_traps
{
	my ($db, $stages, @chosen) = @_;
	my $settings = join '; ', map { "$_=$safe{$_}" } sort keys %safe;
	my %seen = map { $_ => 1 } split /\n/, sql($node, q{SELECT DISTINCT place || ', ' || stage FROM trap.seen}, $db);
	my @expected;

	foreach my $name (@chosen)
	{
		push @expected, map { "$name, $_" } grep { $stages =~ /\b$_\b/ } split / /, $place{$name}{stages} // '';
	}
	is_deeply([ grep { !$seen{$_} } @expected ], [], "$db: each trap was sprung in each of its stages");
	is(sql($node, q{SELECT DISTINCT place, stage, who FROM trap.seen
		WHERE who <> CASE WHEN place = 'victim' THEN place ELSE 'attacker' END}, $db), '', "$db: as the owner of the rollup");
	is(sql($node, 'SELECT DISTINCT place, stage, statement FROM trap.success', $db), '', "$db: nothing has succeeded");
	# where the rollup is written, waits for locks are bounded; computations during the planning of a
	# statement see that it must fetch rows by ctid, and nothing else does: traps set that, too
	is(sql($node, qq{SELECT DISTINCT place, stage, settings FROM trap.seen
		WHERE stage <> 'check' AND replace(CASE WHEN place = 'statistics'
			THEN replace(settings, 'enable_seqscan=off', 'enable_seqscan=on') ELSE settings END,
			'lock_timeout=10s', 'lock_timeout=0') <> '$settings'}, $db), '',
		"$db: no settings are visible to another role");
	is(sql($node, q{SELECT rolname FROM pg_roles WHERE rolsuper}), $superuser, "$db: no role has become a superuser");
	return;
}

sub failures
{
	my ($db) = @_;
	return { map { split /\|/ } split /\n/, sql($node,
			q{SELECT rollup, reason FROM notify_stats.rollups WHERE state <> 'live'}, $db) };
}

sub is_failed_as_expected
{
	my ($db, $title, @chosen) = @_;
	my $failures = failures($db);

	foreach my $name (grep { $place{$_}{failed} } @chosen)
	{
		like(delete $failures->{ named($name, 'ROLLUP') }, $place{$name}{failed}, "$db, $name: failed");
	}
	is_deeply($failures, {}, "$title: no other has failed");
	return;
}

# Some of the stages "build change rebuild verify mend", with the chosen places.
sub run_stages
{
	my ($db, $stages, @chosen) = @_;
	my @lasting = grep { !$place{$_}{failed} } @chosen;
	my @damaged = grep { /json/ } @chosen;
	my @verified = grep { ($place{$_}{stages} // '') =~ /verify/ } @lasting;

	$broken{$db} = @lasting < @chosen;
	# the worker, or one whose end would not be the end of the test
	sql($node, q{INSERT INTO trap.process SELECT pid FROM pg_stat_activity WHERE backend_type = '} .
		($db eq 'postgres' ? 'logical replication launcher' : 'notify_stats worker') . q{'}, $db);
	make_rollups($db, @chosen);
	do_all_work($db, "$db, build");
	is_exact_for_owners($db, 'build');

	stage($db, 'change');
	change($db, 21);
	sql_as($node, 'attacker', $db, join ";\n", map { named($_, $place{$_}{later} // '') } @chosen);
	do_all_work($db, "$db, change");
	change($db, 41);
	do_all_work($db, "$db, change");
	is_exact_for_owners($db, 'change');
	is_failed_as_expected($db, "$db, change", @chosen);

	# so that there is something to put right
	stage($db, 'rebuild');
	sql_as($node, 'attacker', $db, join ";\n", map { named($_, q{DELETE FROM ROLLUP WHERE ctid = (SELECT min(ctid) FROM ROLLUP);
		UPDATE ROLLUP SET n = n + 1 WHERE ctid = (SELECT max(ctid) FROM ROLLUP); SELECT notify_stats.rebuild('ROLLUP')}) } @lasting);
	do_all_work($db, "$db, rebuild");
	is_exact_for_owners($db, 'rebuild');

	if ($stages =~ /verify/)
	{
		stage($db, 'verify');
		sql_as($node, 'attacker', $db, named($_, 'UPDATE ROLLUP SET n = n + 1')) foreach @damaged;
		isnt(sql($node, named($_, q{SELECT * FROM notify_stats.verify('ROLLUP')}), $db), '', "$db, $_: verify() finds damage") foreach @damaged;
		sql_as($node, 'attacker', $db, named($_, q{SELECT notify_stats.rebuild('ROLLUP')})) foreach @damaged;
		do_all_work($db, "$db, verify");
		is(sql($node, join(";\n", map { named($_, q{SELECT 'ROLLUP', v.* FROM notify_stats.verify('ROLLUP') v}) } @verified), $db), '',
			"$db: verify() finds nothing");
	}

	stage($db, 'mend');
	sql_as($node, 'attacker', $db, join ";\n", map { named($_, "$place{$_}{mend}; SELECT notify_stats.rebuild('ROLLUP')") } grep { $place{$_}{mend} } @chosen);
	do_all_work($db, "$db, mend");
	change($db, 61);
	do_all_work($db, "$db, mend");
	is_exact_for_owners($db, 'mend');
	is_deeply(failures($db), {}, "$db: none has failed now");
	check_traps($db, $stages, @chosen);
	return;
}

sql($node, q{
	CREATE ROLE attacker LOGIN;
	CREATE ROLE victim LOGIN;
	CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
	CREATE DATABASE manual;
	CREATE DATABASE json;
	REVOKE TEMPORARY ON DATABASE json FROM PUBLIC;
});
wait_for_worker($node);
sql($node, 'CREATE EXTENSION notify_stats', $_) foreach ('manual', 'json');
make_traps($_) foreach ('postgres', 'manual', 'json');

# The worker waits after errors, so it gets one of those that fail, and need not run the traps
# that only the planner runs.
run_stages('postgres', 'build change rebuild verify', grep {
	$place{$_}{failed} ? /deferred/ : ($place{$_}{stages} // '') =~ /change/ || /json|statistics$|index of/ } @names);
run_stages('manual', 'build change rebuild', @names);

# --- check() --------------------------------------------------------------------------

# Definitions are compiled as their owners also for sessions that call views and check(); and
# the search_path of these sessions does not apply to the owners' code.
foreach my $db ('postgres', 'manual')
{
	sql($node, q{
		CREATE TABLE own.source (kind text);
		ALTER TABLE own.source REPLICA IDENTITY FULL;
		CREATE FUNCTION own.lower(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN lower($1) || 1; END';
		SELECT notify_stats.create_rollup('own.rollup', $$ SELECT kind, count(*) AS n FROM own.source WHERE kind <> own.lower('A') GROUP BY 1 $$);
		INSERT INTO own.source VALUES ('a'), ('a1');
	}, $db);
	sql_as($node, 'monitor', $db, q{
		CREATE FUNCTION monitor.spring() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO trap.seen VALUES ('check of another one', 'check', current_user);
			RETURN '';
		END $$;
		CREATE FUNCTION monitor.lower(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN monitor.spring(); END';
		CREATE FUNCTION monitor.concat(text, int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN monitor.spring(); END';
		CREATE OPERATOR monitor.|| (LEFTARG = text, RIGHTARG = int, FUNCTION = monitor.concat);
	});
	do_all_work($db, "$db, check");
	stage($db, 'check');
	is(sql_as($node, 'monitor', $db, 'SET search_path = monitor, pg_catalog; SELECT item FROM notify_stats.check() WHERE NOT ok'),
		$db eq 'postgres' ? '' : 'worker', "$db: check() works with any search_path");
	is(sql($node, 'SET search_path = monitor, pg_catalog; SELECT * FROM notify_stats.source_gaps()', $db), '',
		"$db: so do its parts, for a superuser");
	is(sql($node, "SELECT count(*) > 5 FROM notify_stats.check(); $left", $db), "t\n" . sql($node, $left, $db),
		"$db: check() leaves nothing in a superuser's session");
	check_traps($db, 'check');
	is(sql($node, q{SELECT DISTINCT place FROM trap.seen WHERE stage = 'check'}, $db), '', "$db: check() runs nobody's code") if $db eq 'manual';
	is(sql($node, 'SELECT * FROM own.rollup', $db), 'a|1', "$db: the superuser's rollup is exact");
}

# --- a format that reads text and looks at constraints ----------------------------------

# There is no wal2json for release candidates.
my ($libraries) = run_command([ $ENV{PG_CONFIG}, '--pkglibdir' ]);
if (-e "$libraries/wal2json.so")
{
	set_and_reload($node, 'notify_stats.format' => 'wal2json');
	$place{'check of the source'} = {
		source => q{CREATE TABLE SOURCE (id int PRIMARY KEY, kind text, pair attacker.pair, mood attacker.mood,
				word attacker.word, words attacker.word[], at timestamptz, amount numeric DEFAULT 1,
				CHECK (amount NOT IN ('NaN', 'Infinity', '-Infinity')), CHECK (amount <> attacker.int_trap('check of the source', 7)));
			ALTER TABLE SOURCE REPLICA IDENTITY FULL},
		query => 'SELECT kind, amount, count(*) AS n FROM SOURCE GROUP BY 1, 2' };
	$place{'check of a domain'}{stages} = $always;
	run_stages('json', 'build change rebuild', 'group', 'check of a domain', 'check of the source', 'partition key');
}

unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|changes were lost/, 'no process crashed, and no changes were lost');

done_testing();
