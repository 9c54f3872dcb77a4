# 017_settings.pl
#
# Settings with unexpected effects.  ALTER DATABASE and ALTER ROLE change the meaning of our
# statements, their time limits, where they write, and their role.  With each of them a rollup is
# created and built, changes of all kinds are counted, and rebuild(), verify(), wait_for_lsn() and
# catch_up() work in sessions with the same settings; only operations that a user's own setting
# forbids fail, with an error.  The worker continues without any error.
#
# There is a database for each group of settings, and its worker gets them all at one restart.
#
# versions: all
# takes long

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('settings', extension => 0, conf => q{
max_replication_slots = 60
max_wal_senders = 4
max_worker_processes = 60
max_parallel_workers = 4
notify_stats.naptime = 200ms
notify_stats.max_cpu_percent = 50
max_slot_wal_keep_size = 1GB
});
my $version = $node->pg_version->major;
my $superuser = sql($node, 'SELECT current_user');

# --- sessions -------------------------------------------------------------------------

my %known = map { $_ => 1 } split /\n/, sql($node, 'SELECT name FROM pg_settings');

# PGOPTIONS of those settings that this server has.
sub options
{
	my %setting = @_;
	return join ' ', map { "-c $_=$setting{$_}" } grep { $known{$_} || $_ eq 'role' } sort keys %setting;
}

# A session in the database of a group, as a role and with PGOPTIONS that precede the group's
# settings.  Returns the error if there is one.
sub in_group
{
	my ($group, $query, $role, $options) = @_;
	local $ENV{PGOPTIONS} = $options // '';
	my ($status, $stdout, $stderr) = $node->psql($group->{db}, "\\set VERBOSITY verbose\n$query",
		extra_params => [ '-U', $role ], timeout => $PostgreSQL::Test::Utils::timeout_default);

	return ($status, $status == 0 ? $stdout : $stderr);
}

# With the settings, except for those that make every statement fail.
sub bitten
{
	my ($group, $query, %param) = @_;
	my ($status, $result) = in_group($group, $query, $param{role} // 'owner', $param{options} // $group->{call});

	return $result;
}

# Without those that would disturb the test itself.  Must succeed.
sub free
{
	my ($group, $query, %param) = @_;
	my ($status, $result) = in_group($group, $query, $param{role} // $group->{free_role} // 'owner', $group->{undo});

	die "$group->{db}: $query: $result" if $status != 0;
	return $result;
}

# A bitten one that is not waited for.
sub start_bitten
{
	my ($group, $query) = @_;
	local %ENV = $node->_get_env(PGOPTIONS => $group->{call} // '');

	return IPC::Run::start([ 'psql', '-XAtq', '-U', 'owner', '-d', $node->connstr($group->{db}), '-c', $query ],
		'<' => \undef, '>' => \my $output, '2>&1');
}

# Waits for a query of the group's database to return true, without the settings in the test's way.
sub poll_free
{
	my ($group, $query) = @_;
	local $ENV{PGOPTIONS} = $group->{undo} // '';

	$node->poll_query_until($group->{db}, $query) or die "timed out in $group->{db} waiting for: $query";
	return;
}

# --- the changes ------------------------------------------------------------------

my $schema = q{
	CREATE TYPE mood AS ENUM ('calm', 'cross');
	CREATE DOMAIN tag AS text CHECK (length(value) < 20);
	CREATE TABLE source (id int PRIMARY KEY, kind text, at timestamptz, span interval, f float8 CHECK (f BETWEEN -1e9 AND 1e9),
		n numeric CHECK (n BETWEEN -1e9 AND 1e9), b bytea, mood mood, tag tag, moods mood[], long text);
	ALTER TABLE source ALTER COLUMN long SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
	CREATE TABLE part (id int, kind text, n numeric CHECK (n BETWEEN -1e9 AND 1e9)) PARTITION BY RANGE (id);
	CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (1000);
	CREATE TABLE part2 PARTITION OF part DEFAULT;
	ALTER TABLE part1 REPLICA IDENTITY FULL;
	ALTER TABLE part2 REPLICA IDENTITY FULL;
	CREATE FUNCTION text_of(i int) RETURNS text LANGUAGE sql AS
		$$ SELECT CASE WHEN i % 7 > 0 THEN 'k' || i % 5 || convert_from(decode('c3a9', 'hex'), 'UTF8') END $$;
	CREATE FUNCTION fill(first int, last int) RETURNS void LANGUAGE sql AS $$
		INSERT INTO source SELECT i, text_of(i), '2026-03-28 22:00+00'::timestamptz + i * interval '37 min',
			make_interval(0, i % 3, 0, i % 4, 0, 0, i), i / 3.0, i / 7.0, decode(to_hex(4096 + i % 250 * 8), 'hex'),
			(ARRAY['calm', 'cross', NULL])[1 + i % 3]::mood, CASE WHEN i % 4 > 0 THEN 't' || chr(39) || chr(92) || i % 3 END,
			ARRAY['calm', NULL]::mood[], repeat(chr(97 + i % 26), i % 3 * 3000)
		FROM generate_series(first, last) i;
		INSERT INTO part SELECT i, text_of(i), i FROM generate_series(first, last) i;
	$$;
	SELECT fill(1, 30);
};

my $fine = q{SELECT kind, at, (at AT TIME ZONE 'Europe/London')::date AS day, span, f, b, mood, tag, moods,
	left(long, 3) AS long, length(long) AS len, count(*) AS c, count(tag) AS tags, coalesce(sum(n), 0) AS n,
	sum(id) FILTER (WHERE mood = 'calm') AS ids, count(id) FILTER (WHERE mood = 'calm') AS nids
	FROM source WHERE id % 10 <> 9 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
my $coarse = q{SELECT kind, upper(kind) AS "Upper ""K""", count(*) AS c, coalesce(sum(n), 0) AS n
	FROM (SELECT kind, n FROM source UNION ALL SELECT kind, n FROM part WHERE n <> 17) u GROUP BY 1, 2};

# Changes of each kind, of rows from number FROM on.
sub changes
{
	my ($from) = @_;
	my ($a, $b, $c) = ($from + 1, $from + 2, $from + 3);

	return qq{
		SELECT fill($from, $from + 20);
		UPDATE source SET kind = 'new', mood = 'cross' WHERE id % 6 = 0;
		UPDATE source SET tag = NULL, n = n + 0.5 WHERE id % 5 = 1;
		UPDATE source SET at = at + interval '1 day', span = span * 2, f = f + 0.1, b = b || b WHERE id = $a;
		DELETE FROM source WHERE id = $b;
		INSERT INTO source (id, kind) VALUES ($c, 'again'), ($from + 100, 'once') ON CONFLICT (id) DO UPDATE SET kind = 'again';
		COPY part FROM STDIN;
$a	copied	1
5000	copied	\\N
\\.
		UPDATE part SET id = id + 1000 WHERE id = $c;
		DELETE FROM part WHERE id % 4 = 0;
		BEGIN;
		SELECT fill($from + 200, $from + 205);
		SAVEPOINT s;
		UPDATE source SET kind = 'lost', n = 0;
		TRUNCATE part;
		ROLLBACK TO s;
		UPDATE source SET kind = 'kept' WHERE id = $from + 203;
		COMMIT;
		BEGIN; DELETE FROM source; ROLLBACK;
		BEGIN; UPDATE source SET kind = 'prepared' WHERE id % 8 = 0; PREPARE TRANSACTION 'p';
		COMMIT PREPARED 'p';
	};
}

# --- the operations -----------------------------------------------------------------

# Whether the rollups are exact, if that is waited for.
sub exact
{
	my ($group, $title, %param) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	local $ENV{PGOPTIONS} = $group->{undo} // '';

	wait_until_applied($node, $group->{db}) unless $param{at_once};
	return is(differences($node, $group->{db}, 'public.fine', 'public.coarse'), '', "$group->{db}: $title");
}

sub test_creation
{
	my ($group) = @_;
	my $create = qq{SELECT notify_stats.create_rollup('public.fine', \$d\$ $fine \$d\$);
		SELECT notify_stats.create_rollup('public.coarse', \$d\$ $coarse \$d\$)};

	if (($group->{create} // '') eq 'free')
	{
		free($group, $create);
	}
	elsif (my $error = $group->{create_error})
	{
		like(bitten($group, $create, options => $group->{ask}), $error, "$group->{db}: create_rollup() is refused");
		is(free($group, q{SELECT count(*) FROM pg_class WHERE relname ~ '^(fine|coarse)'}), '0',
			"$group->{db}: and makes nothing");
		free($group, $create);
	}
	else
	{
		unlike(bitten($group, $create, options => $group->{ask}), qr/ERROR|FATAL/, "$group->{db}: create_rollup()");
	}
	exact($group, 'built');
	return;
}

# The output of verify() for exact rollups, and for a different one, which rebuild() then fixes.
sub test_verify_and_rebuild
{
	my ($group) = @_;
	my $verify = q{SELECT * FROM notify_stats.verify('public.fine');
		SELECT in_rollup, in_definition FROM notify_stats.verify('public.coarse')};
	my $rebuild = q{SELECT notify_stats.rebuild('public.coarse')};

	is(bitten($group, $verify), '', "$group->{db}: verify()");
	free($group, q{UPDATE public.coarse SET n = n + 1 WHERE kind = 'kept'});
	like(bitten($group, $verify), qr/^\{.*\}\|\{.*\}$/, "$group->{db}: verify() of a rollup changed by hand");
	like(bitten($group, $rebuild, options => $group->{ask}), $group->{rebuild_error} // qr/^$/, "$group->{db}: rebuild()");
	free($group, $rebuild) if $group->{rebuild_error};
	exact($group, 'rebuilt');
	is(bitten($group, $verify), '', "$group->{db}: and verified");
	return;
}

sub test_catch_up
{
	my ($group) = @_;

	free($group, 'SELECT notify_stats.pause()', role => $superuser);
	free($group, changes(700));
	is(bitten($group, 'CALL notify_stats.catch_up()', role => $group->{catch_up_role} // $superuser,
		options => $group->{catch_up}), '', "$group->{db}: catch_up()");
	exact($group, 'and that is all', at_once => 1);
	free($group, 'SELECT notify_stats.resume()', role => $superuser);
	return;
}

# A rollup that fails is marked, and the others continue.
sub test_failure
{
	my ($group) = @_;

	free($group, q{SELECT notify_stats.create_rollup('public.ratio', 'SELECT 100 / (id - 998) AS ratio, count(*) AS c FROM source GROUP BY 1')});
	exact($group, 'with one more');
	free($group, 'SELECT fill(997, 999)');
	exact($group, 'without one that has failed');
	like(free($group, q{SELECT state, reason FROM notify_stats.rollups WHERE rollup = 'public.ratio'::regclass}, role => $superuser),
		qr/^failed\|.*division by zero/, "$group->{db}: which is marked");
	return;
}

# The worker is the same process from the start, and had no error.
sub is_untroubled
{
	my ($group) = @_;

	is(free($group, 'SELECT pid, last_error FROM notify_stats.status', role => $superuser), "$group->{worker}|",
		"$group->{db}: the worker continues without an error");
	return;
}

sub test_group
{
	my ($group) = @_;

	test_creation($group);
	free($group, changes(200));
	# a wake that is lost would take an hour
	is(bitten($group, q{SELECT notify_stats.wait_for_lsn(timeout => '1 hour')}), 't', "$group->{db}: wait_for_lsn()");
	exact($group, 'changes');
	$group->{more}->($group) if $group->{more};
	test_verify_and_rebuild($group);
	test_catch_up($group);
	is_untroubled($group);
	test_failure($group) if $group->{fails};
	return;
}

# --- groups of settings ---------------------------------------------------------------

# How long the settings of group "timeouts" allow anything to take, in milliseconds; a whole
# transaction ten times as long.
my $timeout = 50;

# A build that waits for a transaction, and a cycle that waits for a lock, for longer than any
# timeout.
sub wait_longer_than_timeouts
{
	my ($group) = @_;

	free($group, q{
		BEGIN; SELECT fill(500, 501); PREPARE TRANSACTION 'open';
		SELECT notify_stats.rebuild('public.coarse')});
	poll_free($group, qq{SELECT count(*) > 0 FROM notify_stats.build_activity()
		WHERE waits_for_xid IS NOT NULL AND started_at < clock_timestamp() - interval '1 ms' * 20 * $timeout});
	pass("$group->{db}: a build waits");
	free($group, q{COMMIT PREPARED 'open'});
	exact($group, 'and ends');

	free($group, q{BEGIN; LOCK TABLE part IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'locked';
		UPDATE source SET kind = 'waiting' WHERE id % 3 = 0});
	poll_free($group, q{SELECT waits_for = 'a lock on part' FROM notify_stats.status WHERE stream = 'main'});
	poll_free($group, qq{SELECT clock_timestamp() > query_start + interval '1 ms' * 20 * $timeout
		FROM pg_stat_activity WHERE pid = $group->{worker}});
	poll_free($group, q{SELECT waits_for = 'a lock on part' FROM notify_stats.status WHERE stream = 'main'});
	pass("$group->{db}: a cycle waits");
	free($group, q{COMMIT PREPARED 'locked'});
	exact($group, 'and changes are applied again');

	# a user's own setting that ends a session also ends the process that works for it
	like(bitten($group, q{SELECT * FROM notify_stats.verify('public.fine')}, options => options(statement_timeout => 1)),
		qr/ERROR:  57014: canceling statement due to (?:statement timeout|user request)|FATAL:  25P04/, "$group->{db}: verify() is cancelled");
	poll_free($group, q{SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database()
		AND slot_name LIKE '%\_build\_%') AND NOT EXISTS (SELECT FROM notify_stats.build_activity())});
	pass("$group->{db}: and leaves nothing");
	return;
}

# One transaction, and one build, of much more than the settings of group "small" allow to keep.
sub count_much
{
	my ($group) = @_;

	free($group, q{INSERT INTO source (id, kind, n, long) SELECT i, 'big' || i, i, repeat('x', i % 100)
		FROM generate_series(10000, 18000) i});
	exact($group, 'a big transaction');
	free($group, q{SELECT notify_stats.rebuild('public.fine'); SELECT notify_stats.rebuild('public.coarse')});
	exact($group, 'a big build');
	is(bitten($group, q{SELECT * FROM notify_stats.verify('public.fine')}), '', "$group->{db}: a big verification");
	free($group, 'SELECT notify_stats.pause()', role => $superuser);
	free($group, q{UPDATE source SET n = n + 1, kind = kind || '+' WHERE id >= 10000;
		SELECT notify_stats.rebuild('public.fine')});
	is(bitten($group, 'CALL notify_stats.catch_up()', role => $superuser), '', "$group->{db}: a big catch_up()");
	exact($group, 'and that is all', at_once => 1);
	free($group, 'SELECT notify_stats.resume()', role => $superuser);
	free($group, 'DELETE FROM source WHERE id >= 10000');
	exact($group, 'a big transaction undone');
	return;
}

# Commits of this database wait for a standby that there is not.
sub lack_standby
{
	my ($group) = @_;
	my $session;

	set_and_reload($node, synchronous_standby_names => 'gone');
	free($group, 'SELECT fill(500, 530)');
	exact($group, 'without the standby');
	free($group, q{SELECT notify_stats.rebuild('public.coarse'); SELECT notify_stats.rebuild('public.fine')});
	exact($group, 'rebuilt without the standby');
	# a session with the setting waits for its own commit
	$session = start_bitten($group, q{INSERT INTO part VALUES (331, 'waiting', 1)});
	poll_free($group, q{SELECT c = 1 FROM coarse WHERE kind = 'waiting'});
	is(free($group, q{SELECT count(*) FROM part WHERE kind = 'waiting'}), '0',
		"$group->{db}: a commit that waits for a standby is counted");
	free($group, q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'});
	$session->finish;
	exact($group, 'after a wait');
	return;
}

sub return_standby
{
	set_and_reload($node, synchronous_standby_names => '');
	return;
}

# A role that may only call catch_up().
sub grant_catch_up
{
	my ($group) = @_;
	free($group, 'GRANT EXECUTE ON PROCEDURE notify_stats.catch_up TO owner, nobody', role => $superuser);
	return;
}

# A policy that starts to hide rows from the owner does not make a rollup smaller.
sub hide_rows
{
	my ($group) = @_;

	free($group, q{
		CREATE TABLE secret (id int PRIMARY KEY, kind text);
		ALTER TABLE secret REPLICA IDENTITY FULL;
		CREATE POLICY few ON secret USING (id < 3);
		ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
		INSERT INTO secret SELECT i, 'a' FROM generate_series(1, 5) i;
		SELECT notify_stats.create_rollup('public.secrets', 'SELECT kind, count(*) AS c FROM secret GROUP BY kind')});
	exact($group, 'with row security');
	is(free($group, 'TABLE secrets'), 'a|5', "$group->{db}: the owner's rollup has all rows");
	foreach my $force ('ALTER TABLE secret FORCE ROW LEVEL SECURITY', q{SELECT notify_stats.rebuild('public.secrets')})
	{
		free($group, "$force; UPDATE secret SET kind = 'b'", role => $superuser);
		exact($group, 'without one that has failed');
		like(free($group, q{SELECT state, reason FROM notify_stats.rollups WHERE rollup = 'public.secrets'::regclass}, role => $superuser),
			qr/^failed\|row-level security of table "secret" applies to role "owner"/, "$group->{db}: a policy for the owner himself");
	}
	is(free($group, 'TABLE secrets'), 'a|5', "$group->{db}: and the earlier rows remain");
	free($group, q{ALTER TABLE secret NO FORCE ROW LEVEL SECURITY; SELECT notify_stats.rebuild('public.secrets')});
	exact($group, 'without the policy');
	is(free($group, 'TABLE secrets'), 'b|5', "$group->{db}: it is fixed");
	return;
}

# Other functions, operators, types and tables with the names that our statements use: calling
# one of them is an error.
my $hostile = q{
	CREATE SCHEMA hostile;
	GRANT USAGE ON SCHEMA hostile TO PUBLIC;
	DO $do$
	DECLARE
		trap text := 'LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION ''hostile code ran''; END $$';
		r record;
		name text;
	BEGIN
		EXECUTE 'CREATE FUNCTION hostile.trap() RETURNS boolean ' || trap;
		FOR r IN SELECT oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result, oid FROM pg_operator
			WHERE oprname IN ('=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '||', '~', '~~') AND oprkind = 'b' AND oprcode <> 0
			AND oprleft::regtype::text IN ('integer', 'bigint', 'smallint', 'text', 'oid', 'name', 'pg_lsn', 'numeric', 'boolean', 'tid', '"char"',
				'timestamp with time zone', 'interval', 'double precision', 'anyarray', 'anyenum', 'jsonb', 'xid')
		LOOP
			EXECUTE format('CREATE FUNCTION hostile.operator%s(%s, %s) RETURNS %s %s', r.oid, r.l, r.r, r.result, trap);
			EXECUTE format('CREATE OPERATOR hostile.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = hostile.operator%s)',
				r.oprname, r.l, r.r, r.oid);
		END LOOP;
		FOR r IN SELECT proname, pg_get_function_identity_arguments(oid) AS args, pg_get_function_result(oid) AS result FROM pg_proc
			WHERE proname IN ('unnest', 'to_json', 'to_jsonb', 'format', 'quote_literal', 'quote_ident', 'current_setting', 'now',
				'clock_timestamp', 'length', 'upper', 'left', 'numeric', 'date', 'timezone', 'current_database', 'array_to_string',
				'pg_is_in_recovery', 'pg_current_wal_flush_lsn', 'pg_blocking_pids', 'age', 'regexp_split_to_array', 'generate_series')
			AND pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND provariadic = 0
		LOOP
			EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s %s', r.proname, r.args, r.result, trap);
		END LOOP;
		EXECUTE 'CREATE FUNCTION hostile.operator(regclass, regclass) RETURNS boolean ' || trap;
		EXECUTE 'CREATE OPERATOR hostile.= (LEFTARG = regclass, RIGHTARG = regclass, FUNCTION = hostile.operator)';
		EXECUTE 'CREATE FUNCTION hostile.count_one(int8) RETURNS int8 ' || trap;
		EXECUTE 'CREATE AGGREGATE hostile.count(*) (SFUNC = hostile.count_one, STYPE = int8)';
		FOR r IN SELECT a AS name, t AS type FROM unnest(ARRAY['sum', 'max', 'count']) a, unnest(ARRAY['int4', 'int8', 'numeric', 'text']) t
		LOOP
			EXECUTE format('CREATE FUNCTION hostile.%1$s_one(%2$s, %2$s) RETURNS %2$s %3$s', r.name, r.type, trap);
			EXECUTE format('CREATE AGGREGATE hostile.%1$s(%2$s) (SFUNC = hostile.%1$s_one, STYPE = %2$s)', r.name, r.type);
		END LOOP;
		FOREACH name IN ARRAY '{text, int4, int8, bool, oid, regclass, name, pg_lsn, jsonb, numeric, timestamptz, interval, tid}'::text[]
		LOOP
			EXECUTE format('CREATE DOMAIN hostile.%1$I AS pg_catalog.%1$I CHECK (hostile.trap())', name);
		END LOOP;
		FOREACH name IN ARRAY '{pg_class, pg_namespace, pg_attribute, pg_proc, pg_type, pg_replication_slots, pg_stat_activity,
			pg_settings, stream, control, rollup, rollups, status, rebuild_request, source_fact, fine, coarse, fine_definition,
			coarse_definition, source, part, notify_stats rows, notify_stats fresh rows, notify_stats differences}'::text[]
		LOOP
			EXECUTE format('CREATE VIEW hostile.%I AS SELECT hostile.trap()', name);
		END LOOP;
	END $do$;
};

# Its functions exist, and those of the user's definition are found in the owner's search_path.
sub meet_hostility
{
	my ($group) = @_;

	like(bitten($group, q{SELECT 1 = 1}), qr/hostile code ran/, "$group->{db}: the settings bite");
	unlike(bitten($group, q{SELECT notify_stats.create_rollup('public.other', 'SELECT kind, count(*) AS c FROM public.source GROUP BY kind')}),
		qr/hostile code ran/, "$group->{db}: no count(*) of users is run");
	unlike(bitten($group, q{SELECT notify_stats.create_rollup('public.qualified',
		'SELECT kind, pg_catalog.count(*) AS c FROM public.source WHERE id OPERATOR(pg_catalog.>) 3 GROUP BY kind')}),
		qr/ERROR/, "$group->{db}: a definition with qualified names");
	foreach my $query ('SELECT * FROM notify_stats.status', 'SELECT * FROM notify_stats.rollups',
		'SELECT * FROM notify_stats.check()', q{SELECT notify_stats.applied_lsn('public.fine')},
		'SELECT notify_stats.resume()',
		q{SELECT notify_stats.wait_for_lsn(rollup => 'public.qualified')},
		q{SELECT notify_stats.drop_rollup('public.qualified')})
	{
		unlike(bitten($group, $query, role => $superuser), qr/ERROR/, "$group->{db}: $query");
	}
	return;
}

# All settings that keep the planner from something, so that plans are odd.
sub planner_settings
{
	my %setting = map { $_ => 'off' } split /\n/, sql($node, q{
		SELECT name FROM pg_settings WHERE name LIKE 'enable\_%' AND vartype = 'bool' AND context = 'user'});

	return (
		%setting,
		max_parallel_workers_per_gather => 2,
		min_parallel_table_scan_size => 0,
		min_parallel_index_scan_size => 0,
		parallel_setup_cost => 0,
		parallel_tuple_cost => 0,
		parallel_leader_participation => 'off',
		force_parallel_mode => 'on',    # until 15
		debug_parallel_query => 'on',
		jit => 'on',
		jit_above_cost => 0,
		jit_inline_above_cost => 0,
		jit_optimize_above_cost => 0,
		from_collapse_limit => 1,
		join_collapse_limit => 1,
		geqo_threshold => 2,
		constraint_exclusion => 'on',
		cursor_tuple_fraction => 1,
		plan_cache_mode => 'force_custom_plan');
}

# A name for a rollup, and for a column, that only some ways of quoting survive.
sub name_oddly
{
	my ($group) = @_;
	my $name = q{"o\\d\\d ""n'ame"};
	my $definition = $name =~ s/"$/_definition"/r;

	unlike(bitten($group, qq{SET restrict_nonsystem_relation_kind = ''; SELECT notify_stats.create_rollup(\$d\$public.$name\$d\$,
		\$d\$SELECT kind AS "k\\1'", mood, count(*) AS "c\\'""" FROM source GROUP BY 1, 2\$d\$)}),
		qr/ERROR|FATAL/, "$group->{db}: an odd name");
	free($group, 'SELECT fill(500, 510)');
	exact($group, 'with that');
	free($group, qq{SELECT notify_stats.rebuild(\$d\$public.$name\$d\$); UPDATE source SET kind = 'odd' WHERE id < 10});
	exact($group, 'with that, too');
	is(free($group, "TABLE $name EXCEPT ALL TABLE $definition; TABLE $definition EXCEPT ALL TABLE $name"), '',
		"$group->{db}: the odd name");
	is(bitten($group, qq{SELECT * FROM notify_stats.verify(\$d\$public.$name\$d\$)}), '', "$group->{db}: verify() of an odd name");
	return;
}

sub store_elsewhere
{
	my ($group) = @_;

	is(free($group, q{SELECT amname, spcname FROM pg_class c JOIN pg_am a ON a.oid = relam
		JOIN pg_tablespace t ON t.oid = reltablespace WHERE relname = 'fine'}), 'other_heap|elsewhere',
		"$group->{db}: the settings bite");
	return;
}

# XML that only xmloption = content can read.
sub count_xml
{
	my ($group) = @_;

	SKIP:
	{
		skip 'this server knows no XML', 2 if $node->psql('postgres', q{SELECT 'a<b/>'::xml}) != 0;
		free($group, q{
			CREATE TABLE note (id int PRIMARY KEY, x xml);
			ALTER TABLE note REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('public.notes', 'SELECT id % 2 AS odd, count(*) AS c, count(x) AS x FROM note GROUP BY 1');
			SET xmloption = content;
			INSERT INTO note SELECT i, 'a<b/>c' FROM generate_series(1, 5) i;
			SELECT notify_stats.wait_for_lsn();
			UPDATE note SET x = NULL WHERE id = 3;
			DELETE FROM note WHERE id = 4});
		exact($group, 'XML');
		is(free($group, 'TABLE notes ORDER BY odd'), "0|1|1\n1|3|2", "$group->{db}: XML is counted");
	}
	return;
}

# A locale other than C, if there is one.
my $locale = (grep { $node->psql('postgres', "SET lc_monetary = '$_'") == 0 } 'C.UTF-8', 'C.utf8', 'C')[0];

my @groups = (
	{
		db => 'strict',
		set => {
			default_transaction_isolation => 'serializable',
			default_transaction_read_only => 'on',
			default_transaction_deferrable => 'on'
		},
		undo => options(default_transaction_read_only => 'off'),
		create_error => qr/ERROR:  25006: cannot execute .* in a read-only transaction/,
		rebuild_error => qr/ERROR:  25006: cannot execute .* in a read-only transaction/
	},
	{
		db => 'repeatable',
		set => {
			default_transaction_isolation => "'repeatable read'",
			row_security => 'off',
			client_encoding => 'SQL_ASCII',
			synchronous_commit => 'off',
			commit_delay => 1000,
			commit_siblings => 0
		},
		after => \&hide_rows
	},
	{
		db => 'timeouts',
		set => {
			statement_timeout => $timeout,
			lock_timeout => $timeout,
			idle_in_transaction_session_timeout => $timeout,
			idle_session_timeout => $timeout,
			transaction_timeout => 10 * $timeout,
			deadlock_timeout => 1
		},
		undo => options(map { $_ => 0 } 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
			'idle_session_timeout', 'transaction_timeout'),
		call => options(map { $_ => 0 } 'statement_timeout', 'idle_session_timeout', 'transaction_timeout'),
		catch_up => options(map { $_ => 0 } 'statement_timeout', 'idle_session_timeout'),
		more => \&wait_longer_than_timeouts
	},
	{
		db => 'small',
		set => {
			work_mem => '64kB',
			maintenance_work_mem => '1MB',
			hash_mem_multiplier => 1,
			temp_buffers => '800kB',
			temp_file_limit => '64kB',
			logical_decoding_work_mem => '64kB',
			max_stack_depth => '1MB',
			default_statistics_target => 1
		},
		undo => options(temp_file_limit => -1),
		free_role => $superuser,
		more => \&count_much
	},
	{
		db => 'planner',
		whose => [ 'database', 'role' ],
		set => { planner_settings() },
		undo => options(jit => 'off', max_parallel_workers_per_gather => 0),
		call => options(jit => 'off')
	},
	{
		db => 'standby',
		set => { synchronous_commit => 'remote_apply' },
		undo => options(synchronous_commit => 'local'),
		ask => options(synchronous_commit => 'local'),
		more => \&lack_standby,
		after => \&return_standby
	},
	{
		db => 'output',
		whose => [ 'database', 'role' ],
		set => {
			DateStyle => "'SQL', 'DMY'",
			IntervalStyle => 'sql_standard',
			TimeZone => "'Asia/Kathmandu'",
			timezone_abbreviations => "'India'",
			bytea_output => 'escape',
			extra_float_digits => -15,
			client_encoding => 'LATIN1',
			xmloption => 'document',
			lc_messages => "'$locale'",
			lc_monetary => "'$locale'",
			lc_numeric => "'$locale'",
			lc_time => "'$locale'"
		},
		more => \&count_xml
	},
	{
		db => 'latin1',
		encoding => 'LATIN1',
		set => { client_encoding => 'UTF8', DateStyle => 'German' }
	},
	{
		db => 'sql_ascii',
		encoding => 'SQL_ASCII',
		set => { client_encoding => 'UTF8', TimeZone => "'America/St_Johns'" }
	},
	{
		db => 'hostile',
		set => { search_path => "'hostile', 'pg_catalog', 'public'" },
		setup => $hostile,
		undo => options(search_path => 'public'),
		create => 'free',
		more => \&meet_hostility
	},
	{
		db => 'syntax',
		whose => [ 'database', 'role' ],
		set => {
			quote_all_identifiers => 'on',
			# since 19 there are no others
			$version < 19 ? (standard_conforming_strings => 'off', escape_string_warning => 'on') : (),
			backslash_quote => 'off',
			transform_null_equals => 'on',
			array_nulls => 'off',
			allow_system_table_mods => 'on',
			check_function_bodies => 'off',
			exit_on_error => 'on',
			restrict_nonsystem_relation_kind => "'view', 'foreign-table'"
		},
		undo => options(restrict_nonsystem_relation_kind => '', exit_on_error => 'off'),
		ask => options(restrict_nonsystem_relation_kind => ''),
		fails => 1,
		more => \&name_oddly
	},
	{
		db => 'storage',
		set => {
			default_table_access_method => 'other_heap',
			default_tablespace => 'elsewhere',
			temp_tablespaces => 'elsewhere',
			default_toast_compression => 'lz4',
			session_replication_role => 'replica',
			event_triggers => 'off',
			session_preload_libraries => 'plpgsql',
			track_activities => 'off',
			track_counts => 'off',
			log_min_messages => 'debug2',
			log_min_error_statement => 'panic',
			vacuum_cost_delay => 100,
			vacuum_cost_limit => 1
		},
		setup => 'CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler',
		more => \&store_elsewhere
	},
	{
		db => 'nobody',
		set => { log_min_messages => 'panic', client_min_messages => 'error', role => 'nobody' },
		undo => options(role => 'none'),
		more => \&grant_catch_up,
		fails => 1
	},
	{
		db => 'owned',
		whose => ['owner'],
		set => {
			default_transaction_isolation => 'serializable',
			lock_timeout => 1,
			DateStyle => 'German',
			TimeZone => "'Asia/Kathmandu'",
			row_security => 'off',
			work_mem => '64kB',
			array_nulls => 'off',
			quote_all_identifiers => 'on',
			synchronous_commit => 'off',
			enable_hashagg => 'off'
		},
		undo => options(lock_timeout => 0),
		more => \&grant_catch_up,
		catch_up_role => 'owner',
		fails => 1
	});

# --- the run --------------------------------------------------------------------------

# The statements that make the settings of a group.
sub setting_statements
{
	my ($group) = @_;
	my $set = $group->{set};
	my %whose = (database => "DATABASE $group->{db}", role => "ROLE $superuser IN DATABASE $group->{db}",
		owner => "ROLE owner IN DATABASE $group->{db}");
	my $statements = '';

	foreach my $target (map { $whose{$_} } @{ $group->{whose} // ['database'] })
	{
		foreach my $name (grep { $known{$_} || $_ eq 'role' } sort keys %$set)
		{
			# one that is quoted may be a list
			my $value = $set->{$name} =~ /'/ ? $set->{$name} : "'$set->{$name}'";
			$statements .= "ALTER $target SET $name = $value;\n";
		}
	}
	return $statements;
}

sub make_database
{
	my ($group) = @_;
	my $db = $group->{db};

	if ($group->{encoding})
	{
		sql($node, "CREATE DATABASE $db ENCODING '$group->{encoding}' TEMPLATE template0 LOCALE 'C'");
		fill_database($db);
	}
	else
	{
		sql($node, "CREATE DATABASE $db TEMPLATE filled");
	}
	$node->safe_psql($db, $group->{setup}) if $group->{setup};
	sql($node, setting_statements($group));
	return;
}

sub fill_database
{
	my ($db) = @_;

	$node->safe_psql($db, 'CREATE EXTENSION notify_stats;
		ALTER SCHEMA public OWNER TO owner');
	sql_as($node, 'owner', $db, $schema);
	return;
}

sql($node, q{
	CREATE ROLE owner LOGIN;
	CREATE ROLE nobody;
	SET allow_in_place_tablespaces = on;
	CREATE TABLESPACE elsewhere LOCATION '';
	GRANT CREATE ON TABLESPACE elsewhere TO PUBLIC;
});
sql($node, 'CREATE DATABASE filled');
fill_database('filled');
make_database($_) foreach @groups;
$node->append_conf('postgresql.conf', "notify_stats.database = '" . join(', ', map { $_->{db} } @groups) . "'\n");
$node->restart;
$_->{worker} = wait_for_worker($node, $_->{db}) foreach @groups;
foreach my $group (@groups)
{
	eval { test_group($group); 1 } or fail("$group->{db}: $@");
	$group->{after}->($group) if $group->{after};
}

done_testing();
