# 028_privileges.pl
#
# Privileges and visibility.
#
# - Every function, procedure and view, called by every role: allowed or refused, and the rows of
#   the views that are visible while a rollup is built.  catch_up() works for roles with EXECUTE on
#   it, and gives them no other rights.
# - The privileges needed to create a rollup, and that a refused one leaves nothing behind.
# - If an owner loses a privilege, the rollup fails, and is not maintained further, even if no
#   source has changed.  The others continue, and with the privilege granted again it can be rebuilt.
# - Errors that show values of rows: a role that may only read the rollup sees none of them.
# - The extension's own tables: other roles can read three columns, and write nothing.
#
# All roles are ordinary ones that log in, but for dba, a superuser's role that owns the extension.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

# a transaction of autovacuum would change what the next call of catch_up() does
my $node = new_node('privileges', extension => 0, conf => 'autovacuum = off');
my $superuser = sql($node, 'SELECT current_user');

# The output of statements in one session of a role: results, and errors with SQLSTATE.  The session
# continues after an error.
sub psql_as
{
	my ($role, @statements) = @_;
	my ($status, $stdout, $stderr) = $node->psql('postgres',
		"\\set VERBOSITY verbose\n" . join(";\n", @statements),
		on_error_stop => 0, extra_params => [ '-U', $role ]);

	return join "\n", grep { $_ ne '' } $stdout, $stderr;
}

# The SQLSTATE of each statement, in one session of a role: 00000 is success.  A transaction that
# a statement begins is rolled back.
sub sqlstates_of
{
	my ($role, @statements) = @_;
	my ($status, $stdout) = $node->psql('postgres',
		join('', map { "$_;\n\\echo state :SQLSTATE\nROLLBACK;\n" } 'SET client_min_messages = error', @statements),
		on_error_stop => 0, extra_params => [ '-U', $role ]);
	my @states = $stdout =~ /^state (\w{5})$/mg;

	die "not all was run:\n$stdout" if @states != @statements + 1;
	return @states[1 .. $#states];
}

# Asserts for each statement, given with its title, that it is refused to a role.
sub are_refused
{
	my ($role, $title, @statements) = @_;
	my @states = sqlstates_of($role, @statements);
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is_deeply({ map { ($statements[$_] => $states[$_]) } 0 .. $#states }, { map { ($_ => '42501') } @statements }, $title);
	return;
}

# --- the extension and its owner --------------------------------------------------------

my $create = q{SELECT notify_stats.create_rollup('desk.%s', 'SELECT kind, count(*) AS n FROM desk.letters GROUP BY kind')};
my $worker;    # its process

# The roles, the extension, and two tables.
sub make_roles_and_extension
{
	sql($node, q{
		CREATE ROLE dba SUPERUSER;
		CREATE ROLE joe LOGIN IN ROLE dba;
		CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
		CREATE ROLE signaller LOGIN IN ROLE pg_signal_backend;
		CREATE ROLE owner LOGIN;
		CREATE ROLE member LOGIN IN ROLE owner;
		CREATE ROLE other LOGIN;
		CREATE ROLE stranger LOGIN;
		CREATE ROLE caller LOGIN;
		SET ROLE dba;
		CREATE EXTENSION notify_stats;
		RESET ROLE;
		CREATE SCHEMA desk;
		GRANT USAGE ON SCHEMA desk TO PUBLIC;
		GRANT CREATE ON SCHEMA desk TO owner, other;
		CREATE TABLE desk.letters (id int PRIMARY KEY, kind text, pages int);
		ALTER TABLE desk.letters REPLICA IDENTITY FULL;
		GRANT SELECT ON desk.letters TO owner, other;
		INSERT INTO desk.letters SELECT i, 'kind ' || i % 3, i FROM generate_series(1, 20) i;
		CREATE TABLE desk.hidden (body text);
		ALTER TABLE desk.hidden REPLICA IDENTITY FULL;
		INSERT INTO desk.hidden VALUES ('secret body');
	});
	$worker = wait_for_worker($node);
	return;
}

# A member of the role that owns the extension, and that alone, does all of the worker's work.
sub test_catch_up_by_member
{
	psql_as('joe', 'SELECT notify_stats.pause()');
	psql_as('owner', sprintf $create, 'owned');
	is(psql_as('joe', 'CALL notify_stats.catch_up()'), '', 'catch_up() by a member of the owner: no error');
	is(sql($node, 'SELECT state FROM notify_stats.rollups'), 'live',
		'catch_up() by a member of the owner: a slot was made, and the rollup built');
	sql($node, q{UPDATE desk.letters SET kind = 'kind 1' WHERE id < 5; DELETE FROM desk.letters WHERE id = 7});
	isnt(differences($node, 'postgres', 'desk.owned'), '', 'no other process applies the next changes');
	is(psql_as('joe', 'CALL notify_stats.catch_up()'), '', 'catch_up() by a member of the owner: no error in applying');
	is(differences($node, 'postgres', 'desk.owned'), '', 'catch_up() by a member of the owner: the changes are counted');
	return;
}

# A role with EXECUTE on catch_up() can call it, too, and gets no other rights.
sub test_catch_up_granted
{
	sql($node, q{GRANT EXECUTE ON PROCEDURE notify_stats.catch_up(), notify_stats.prepare_upgrade() TO caller;
		GRANT EXECUTE ON FUNCTION notify_stats.pause(), notify_stats.resume(), notify_stats.recreate_slot(boolean) TO caller});
	psql_as('other', sprintf $create, 'theirs');
	my @for_all = ('SELECT notify_stats.pause()', 'CALL notify_stats.catch_up()',
		'DO $$ BEGIN CALL notify_stats.catch_up(); END $$', 'SELECT notify_stats.resume()', 'CALL notify_stats.catch_up()');
	my @not_for_caller = ('TABLE desk.letters', 'TABLE desk.owned', 'TABLE notify_stats.stream',
		'UPDATE notify_stats.control SET paused = false', q{SELECT notify_stats.rebuild('desk.owned')},
		'SELECT * FROM notify_stats.check()', 'TABLE pg_authid', 'CREATE ROLE more');
	is(join(' ', sqlstates_of('caller', @for_all, @not_for_caller)), join(' ', map({ '00000' } @for_all), map({ '42501' } @not_for_caller)),
		'a role that was granted pause(), resume() and catch_up() can do that, and no more');
	is_exact($node, 'catch_up() by a role that it was granted to: the changes are counted, and a rollup was built');
	is(psql_as('caller', 'CALL notify_stats.catch_up()', 'SELECT current_user, session_user, current_setting($$is_superuser$$)'),
		'caller|caller|off', 'catch_up() does not change the role of its caller');
	is(psql_as('caller', 'SELECT * FROM notify_stats.rollups', 'SELECT * FROM notify_stats.status'), '', 'and shows nothing to it');
	return;
}

# --- EXECUTE privileges -----------------------------------------------------------------

my @roles = ($superuser, qw(joe caller monitor owner member other stranger));
my @all = @roles;

# Each function: the statement, and the roles that may run it.
my %function = (
	applied_lsn => [ q{SELECT notify_stats.applied_lsn('desk.owned')}, @all ],
	changes => [ q{SELECT * FROM notify_stats.changes('desk.owned', NULL)}, $superuser, qw(owner member) ],
	changed_rows => [ q{SELECT * FROM notify_stats.changed_rows(NULL::desk.owned, NULL)}, $superuser, qw(owner member) ],
	rollup_as_of => [ q{SELECT * FROM notify_stats.rollup_as_of(NULL::desk.owned, (SELECT applied_lsn FROM notify_stats.stream))}, $superuser, qw(owner member) ],
	position_at => [ q{SELECT notify_stats.position_at('infinity')}, @all ],
	wait_for_lsn => [ q{SELECT notify_stats.wait_for_lsn(rollup => 'desk.owned')}, @all ],
	wait_for_publisher => [ q{SELECT notify_stats.wait_for_publisher('0/0', 'feed')}, @all ],
	create_rollup => [ "BEGIN\\; " . sprintf($create, 'more'), $superuser, qw(owner member other) ],
	alter_rollup => [ q{BEGIN\; SELECT notify_stats.alter_rollup('desk.owned', NULL)}, $superuser, qw(owner member) ],
	explain_rollup => [ q{SELECT * FROM notify_stats.explain_rollup('SELECT 1')}, @all ],
	rebuild => [ q{SELECT notify_stats.rebuild('desk.owned')}, $superuser, qw(owner member) ],
	verify => [ q{SELECT * FROM notify_stats.verify('desk.owned')}, $superuser, qw(owner member) ],
	adopt_rollup => [ q{BEGIN\; SELECT notify_stats.adopt_rollup('desk.left_over')}, $superuser, qw(owner member) ],
	catalog_state => [ q{SELECT notify_stats.catalog_state('desk.owned')}, $superuser ],
	drop_rollup => [ q{BEGIN\; SELECT notify_stats.drop_rollup('desk.owned')}, $superuser, qw(owner member) ],
	pause => [ 'SELECT notify_stats.pause()', $superuser, qw(joe caller) ],
	catch_up => [ 'CALL notify_stats.catch_up()', $superuser, qw(joe caller) ],
	prepare_upgrade => [ 'CALL notify_stats.prepare_upgrade()', $superuser, qw(joe caller) ],
	resume => [ 'SELECT notify_stats.resume()', $superuser, qw(joe caller) ],
	recreate_slot => [ 'SELECT notify_stats.recreate_slot()', $superuser, qw(joe caller) ],
	check => [ 'SELECT * FROM notify_stats.check()', $superuser, qw(joe monitor) ],
	source_gaps => [ 'SELECT * FROM notify_stats.source_gaps()', $superuser, qw(joe) ],
	late_standbys => [ q{SELECT notify_stats.late_standbys('main', '0/0')}, @all ],
	check_primary => [ 'SELECT notify_stats.check_primary()', $superuser, qw(joe) ],
	blocked_by => [ 'SELECT notify_stats.blocked_by(1)', @all ],
	transaction_name => [ q{SELECT notify_stats.transaction_name('3')}, @all ],
	fed_tables => [ 'SELECT * FROM notify_stats.fed_tables()', @all ],
	subscription_problem => [ 'SELECT notify_stats.subscription_problem(0)', @all ],
	subscription_problems => [ 'SELECT * FROM notify_stats.subscription_problems()', @all ],
	loss_reason => [ 'SELECT notify_stats.loss_reason()', @all ],
	stream_activity => [ 'SELECT * FROM notify_stats.stream_activity()', @all ],
	build_activity => [ 'SELECT * FROM notify_stats.build_activity()', @all ],
	catch_up_activity => [ 'SELECT * FROM notify_stats.catch_up_activity()', @all ],
	display_name => [ q{SELECT notify_stats.display_name('desk.owned')}, @all ],
	ignored_by => [ q{SELECT notify_stats.ignored_by('{desk.owned}')}, @all ],
	is_resumable => [ q{SELECT notify_stats.is_resumable('0/1')}, $superuser, qw(joe) ],
	is_successor => [ q{SELECT notify_stats.is_successor('desk.owned')}, @all ],
	worst_part => [ q{SELECT notify_stats.worst_part('desk.owned')}, @all ],
	(map { ("replacement_$_" => [ "SELECT * FROM notify_stats.replacement_$_(0)", $superuser, qw(joe) ]) } qw(columns relations)),
	(map { ("replacement_$_" => [ "SELECT * FROM notify_stats.replacement_$_(0, 0)", $superuser, qw(joe) ]) }
		  qw(comments copies indexes names obstacles pairs place same stubs views)),
	left_cores => [ q{SELECT notify_stats.left_cores('desk.owned'::regclass)}, $superuser, qw(joe) ],
	computed_gaps => [ 'SELECT * FROM notify_stats.computed_gaps()', $superuser, qw(joe) ],
	follow_owner => [ 'BEGIN\; CREATE EVENT TRIGGER more ON ddl_command_end EXECUTE FUNCTION notify_stats.follow_owner()', $superuser ],
	report_drop => [ 'BEGIN\; CREATE EVENT TRIGGER more ON sql_drop EXECUTE FUNCTION notify_stats.report_drop()', $superuser ],
	check_view => [ 'BEGIN\; CREATE EVENT TRIGGER more ON ddl_command_end EXECUTE FUNCTION notify_stats.check_view()', $superuser ],
	note_ddl => [ 'BEGIN\; CREATE EVENT TRIGGER more ON ddl_command_end EXECUTE FUNCTION notify_stats.note_ddl()', $superuser ],
	keep_own_rows => [ 'BEGIN\; CREATE TEMP TABLE more ()\; CREATE TRIGGER t BEFORE INSERT ON more EXECUTE FUNCTION notify_stats.keep_own_rows()', $superuser, qw(joe) ]);

# Each role calls each function.
sub test_functions
{
	# The remains of a rollup that is not in the catalog.
	psql_as('owner', q{
		CREATE VIEW desk.left_over_definition AS SELECT kind, count(*) AS n FROM desk.letters GROUP BY kind;
		CREATE TABLE desk.left_over AS TABLE desk.left_over_definition WITH NO DATA;
		CREATE UNIQUE INDEX ON desk.left_over (kind) NULLS NOT DISTINCT});
	# it has reached the position 0/0
	sql($node, q{CREATE SUBSCRIPTION feed CONNECTION 'dbname=none' PUBLICATION none WITH (connect = false)});
	is(sql($node, q{SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'notify_stats'::regnamespace}),
		join(' ', sort keys %function), 'these are all functions');
	foreach my $role (@roles)
	{
		# resume() is after what it undoes, and what makes rollups stale is last
		my @names = (sort(grep { $_ ne 'recreate_slot' } keys %function), 'recreate_slot');
		my @states = sqlstates_of($role, map { $function{$_}[0] } @names);
		my %expected = map { my @who = @{ $function{$_} }; shift @who; ($_ => (grep { $_ eq $role } @who) ? '00000' : '42501') } @names;

		is_deeply({ map { ($names[$_] => $states[$_]) } 0 .. $#names }, \%expected, "what $role may call");
		wait_until_applied($node);
	}
	sql($node, 'ALTER SUBSCRIPTION feed SET (slot_name = NONE); DROP SUBSCRIPTION feed');
	return;
}

# Only a superuser may create the extension; its owner, and so the members, may drop it.
sub test_extension
{
	foreach my $role (@roles)
	{
		is(join(' ', sqlstates_of($role, 'BEGIN\; DROP EXTENSION notify_stats')), $role eq 'joe' || $role eq $superuser ? '00000' : '42501',
			"whether $role may drop the extension");
	}
	$node->safe_psql('postgres', 'CREATE DATABASE empty OWNER joe');
	my (undef, undef, $error) = $node->psql('empty', 'CREATE EXTENSION notify_stats', extra_params => [ '-U', 'joe' ]);
	like($error, qr/permission denied to create extension/, 'the owner of the database may not create the extension');
	return;
}

# --- visible rows, while a rollup is built ----------------------------------------------

# The rows of a build and of a verify() that each role sees, and the processes that it may end.
sub test_views_and_processes
{
	sql($node, q{BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'hold'});
	psql_as('member', q{SELECT notify_stats.rebuild('desk.owned')});
	poll($node, q{SELECT count(*) FROM notify_stats.rollups WHERE build_phase = 'waiting for transactions'}, '1');
	my $builder = builder_pid($node);
	my $verification = start_psql($node, 'SET SESSION AUTHORIZATION other', q{SELECT * FROM notify_stats.verify('desk.theirs')});
	poll($node, q{SELECT count(*) FROM notify_stats.build_activity() WHERE phase = 'waiting for transactions'}, '2');
	my $everything = "desk.owned live waiting for transactions\ndesk.theirs live |build desk.owned\nmain\nverify desk.theirs";
	my $owned = 'desk.owned live waiting for transactions|build desk.owned';
	my %seen = (
		$superuser => $everything,
		monitor => $everything,
		owner => $owned,
		member => $owned,
		other => 'desk.theirs live |verify desk.theirs');
	foreach my $role (@roles)
	{
		my ($rollups, $status, $activity) = map { psql_as($role, $_) }
		  q{SELECT concat_ws(' ', rollup, state, coalesce(build_phase, '')) FROM notify_stats.rollups ORDER BY 1},
		  'SELECT stream FROM notify_stats.status ORDER BY 1',
		  q{SELECT (SELECT string_agg(CASE WHEN verifying THEN 'verify ' ELSE 'build ' END || rollup, chr(10)) FROM notify_stats.build_activity()),
			state, pid, reached_lsn, last_error, cycles_total, stats_reset FROM notify_stats.stream_activity()};

		is("$rollups|$status", $seen{$role} // '|', "rows of rollups and status visible to $role");
		# the functions below the views show no more than the views
		is($activity, ($status =~ s/main\n//r) . '||||||', "what $role sees of what is behind them") if $status !~ /^main$/m;
	}

	# Only a superuser can end our processes.
	foreach my $role (qw(signaller owner other monitor joe))
	{
		are_refused($role, "$role cannot end the worker or a builder",
			map { ("SELECT pg_terminate_backend($_)", "SELECT pg_cancel_backend($_)") } $worker, $builder);
	}
	sql($node, q{COMMIT PREPARED 'hold'});
	is($verification->finish, '', 'verify() by an owner ends after that');
	is_exact($node, 'and the build ends');
	is(worker_pid($node), $worker, 'it is still the same worker');
	unlike(slurp_file($node->logfile), qr/terminating background worker|canceling statement/, 'and nothing was cancelled');
	return;
}

# --- the extension's own tables ----------------------------------------------------------

# The columns of our tables that others may read, and that they can do nothing else with them.
sub test_own_tables
{
	is(sql($node, q{
		SELECT string_agg(attrelid::regclass || '.' || attname, ' ' ORDER BY relname, attname)
		FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
		WHERE relnamespace = 'notify_stats'::regnamespace AND relkind NOT IN ('v', 'i') AND
			attnum > 0 AND has_column_privilege('stranger', attrelid, attnum, 'SELECT')
	}), join(' ', (map { "notify_stats.computed_rollup.$_" } qw(cores definition rollup)), (map { "notify_stats.replacement.$_" } qw(reason rollup successor)),
			(map { "notify_stats.rollup.$_" } qw(column_names definition fingerprint ignore_deletes rollup state updated_at)), 'notify_stats.source_fact.fact', 'notify_stats.source_fact.rollup',
			'notify_stats.stream.applied_lsn'),
		'columns of our tables that PUBLIC may read');
	is(sql($node, q{
		SELECT string_agg(concat_ws(' ', rolname, c.oid::regclass), ', ')
		FROM pg_class c, unnest('{caller,monitor,signaller,owner,member,other,stranger}'::name[]) rolname
		WHERE relnamespace = 'notify_stats'::regnamespace AND relkind <> 'i' AND
			CASE relkind WHEN 'S' THEN has_sequence_privilege(rolname, c.oid, 'USAGE, SELECT, UPDATE')
			ELSE has_table_privilege(rolname, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR
				has_any_column_privilege(rolname, c.oid, 'INSERT, UPDATE, REFERENCES') OR
				(relkind <> 'v' AND relname NOT IN ('rollup', 'computed_rollup', 'replacement') AND has_table_privilege(rolname, c.oid, 'SELECT')) END
	}), '', 'and there are no other privileges');
	my @tables = map { "notify_stats.$_" } qw(computed_rollup control rebuild_request replacement rollup rollup_activity rollup_source source_fact stream window_position);
	is(sql($node, q{SELECT string_agg(oid::regclass::text, ' ' ORDER BY relname) FROM pg_class
		WHERE relnamespace = 'notify_stats'::regnamespace AND relkind = 'r'}), "@tables", 'these are all tables');
	foreach my $role (qw(owner stranger monitor))
	{
		are_refused($role, "$role cannot read, write, lock or alter our tables",
			(map {
				my $table = $_;
				my $public = $table =~ /^notify_stats\.((computed_)?rollup|replacement)$/;
				(($public ? () : ("TABLE $table", "SELECT t FROM $table t", "COPY $table TO STDOUT")), "DELETE FROM $table", "TRUNCATE $table", "DROP TABLE $table",
					"ALTER TABLE $table ADD more int", "ALTER TABLE $table OWNER TO $role", "CREATE INDEX ON $table ((1))",
					"CREATE RULE more AS ON UPDATE TO $table DO NOTHING",
					# a role with some privilege gets a warning instead
					($public ? () : "GRANT ALL ON $table TO $role GRANTED BY CURRENT_USER"),
					map { "BEGIN\\; LOCK TABLE $table IN $_ MODE" } $public ? () : 'ACCESS SHARE', 'ROW EXCLUSIVE', 'SHARE', 'ACCESS EXCLUSIVE')
			} @tables),
			'SELECT reason FROM notify_stats.rollup_activity',
			'SELECT columns FROM notify_stats.rollup_source',
			'SELECT slot_name FROM notify_stats.stream',
			'SELECT rollup FROM notify_stats.rollup FOR SHARE',
			'SELECT applied_lsn FROM notify_stats.stream FOR KEY SHARE',
			q{INSERT INTO notify_stats.rebuild_request (rollup) VALUES ('desk.owned')},
			q{INSERT INTO notify_stats.source_fact VALUES (1, 1, '', '')},
			q{INSERT INTO notify_stats.rollup (rollup, definition, ignore_deletes, state) VALUES (1, 2, '{}', 'live')},
			q{UPDATE notify_stats.rollup SET state = 'live'},
			q{INSERT INTO notify_stats.rollup_activity VALUES (1)},
			q{INSERT INTO notify_stats.rollup_source VALUES (1, 2, '{}')},
			'UPDATE notify_stats.control SET paused = true',
			q{UPDATE notify_stats.stream SET applied_lsn = '0/1'},
			q{SELECT nextval('notify_stats.rebuild_request_id_seq')},
			q{SELECT setval('notify_stats.rebuild_request_id_seq', 1)},
			'CREATE TABLE notify_stats.more ()',
			'CREATE TABLE desk.more (rollup oid REFERENCES notify_stats.rollup)',
			q{CREATE OR REPLACE FUNCTION notify_stats.applied_lsn(rollup regclass DEFAULT NULL) RETURNS pg_lsn LANGUAGE sql AS 'SELECT NULL'},
			'CREATE OR REPLACE VIEW notify_stats.rollups AS SELECT 1',
			'DROP VIEW notify_stats.rollups',
			q{INSERT INTO notify_stats.computed_rollup VALUES (1, 2, '{3}')},
			'INSERT INTO notify_stats.replacement VALUES (1, 2)',
			'ALTER EVENT TRIGGER notify_stats_view DISABLE',
			'ALTER EVENT TRIGGER notify_stats_ddl DISABLE',
			'ALTER EVENT TRIGGER notify_stats_owner DISABLE',
			'ALTER SCHEMA notify_stats RENAME TO more',
			'ALTER EXTENSION notify_stats DROP VIEW notify_stats.rollups',
			q{COMMENT ON TABLE notify_stats.rollup IS ''},
			'CREATE PUBLICATION more FOR TABLE notify_stats.rollup',
			'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots');
	}
	return;
}

# A rollup's table, view and index are its owner's alone.
sub test_rollup_is_private
{
	is(sql($node, q{
		SELECT string_agg(concat_ws(' ', c.oid::regclass, grantee::regrole, privilege_type), ', ')
		FROM pg_class c, aclexplode(coalesce(relacl, acldefault('r', relowner)))
		WHERE relnamespace = 'desk'::regnamespace AND relname LIKE 'owned%' AND (relowner <> 'owner'::regrole OR grantee <> relowner)
	}), '', 'a rollup grants nothing to others');
	are_refused('other', 'nobody else reads or writes a rollup', 
		'TABLE desk.owned', 'SELECT count(*) FROM desk.owned', 'DELETE FROM desk.owned',
		'TABLE desk.owned_definition', 'SELECT count(*) FROM desk.owned_definition');
	is(join(' ', sqlstates_of('other', 'TABLE desk.theirs', 'TABLE desk.theirs_definition')), '00000 00000', 'but its owner does');
	return;
}

# --- privileges to create one ----------------------------------------------------------

# Tables on which roles have rights of all kinds.
sub make_sources
{
	sql($node, q{
		CREATE ROLE maker LOGIN;
		CREATE ROLE unlimited LOGIN BYPASSRLS;
		CREATE ROLE everything LOGIN SUPERUSER;
		CREATE SCHEMA made;
		CREATE SCHEMA closed;
		GRANT USAGE ON SCHEMA made TO PUBLIC;
		GRANT CREATE ON SCHEMA made TO maker, unlimited;
		CREATE TABLE made.none (a int, b int, c int, e int);
		CREATE TABLE made.some (LIKE made.none);
		CREATE TABLE made.whole (LIKE made.none);
		CREATE TABLE made.limited (LIKE made.none);
		CREATE TABLE made.own (LIKE made.none);
		CREATE TABLE made.own_forced (LIKE made.none);
		CREATE TABLE made.parted (LIKE made.none) PARTITION BY LIST (a);
		CREATE TABLE made.part PARTITION OF made.parted DEFAULT;
		CREATE TABLE closed.whole (LIKE made.none);
		GRANT SELECT (a, b, c) ON made.some TO maker;
		GRANT SELECT ON made.whole, made.limited, made.parted, made.part, made.own_forced, closed.whole TO maker, unlimited;
		ALTER TABLE made.own OWNER TO maker;
		ALTER TABLE made.own_forced OWNER TO maker;
		CREATE FUNCTION made.secret(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
		REVOKE EXECUTE ON FUNCTION made.secret FROM PUBLIC;
		CREATE FUNCTION made.secret_inline(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
		REVOKE EXECUTE ON FUNCTION made.secret_inline FROM PUBLIC;
		ALTER TABLE made.limited ENABLE ROW LEVEL SECURITY;
		ALTER TABLE made.own ENABLE ROW LEVEL SECURITY;
		ALTER TABLE made.own_forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
		ALTER TABLE made.part ENABLE ROW LEVEL SECURITY;
		CREATE POLICY sees_all ON made.limited USING (true);
	});
	foreach my $table (qw(none some whole limited own own_forced part))
	{
		sql($node, "ALTER TABLE made.$table REPLICA IDENTITY FULL; INSERT INTO made.$table VALUES (1, 2, 3, 4), (1, 2, 3, 5)");
	}
	sql($node, 'ALTER TABLE closed.whole REPLICA IDENTITY FULL');
	return;
}

# Refused statements of role maker, and the errors; a rollup in schema made, unless stated otherwise.
my @refused = (
	'no right to create in the schema' => [ 'SELECT a, count(*) FROM made.whole GROUP BY a', '42501: permission denied for schema desk', 'desk' ],
	'in our schema' => [ 'SELECT a, count(*) FROM made.whole GROUP BY a', '42501: permission denied for schema notify_stats', 'notify_stats' ],
	'no right to look into the schema of the source' => [ 'SELECT a, count(*) FROM closed.whole GROUP BY a', '42501: permission denied for schema closed' ],
	(map { ($_->[0] => [ $_->[1], '42501: permission denied for table none' ]) }
		[ 'no right on the source' => 'SELECT a, count(*) FROM made.none GROUP BY a' ],
		[ 'no right on any column, and no column used' => 'SELECT 1 AS a, count(*) FROM made.none GROUP BY 1' ]),
	(map { ("no right on $_->[0]" => [ $_->[1], '42501: permission denied for table some' ]) }
		[ 'a group column' => 'SELECT a, e, count(*) FROM made.some GROUP BY 1, 2' ],
		[ 'a column in an expression' => 'SELECT abs(a + e) AS x, count(*) FROM made.some GROUP BY 1' ],
		[ 'an argument' => 'SELECT a, count(*) AS n, coalesce(sum(e), 0) AS e FROM made.some GROUP BY 1' ],
		[ 'a column that is counted' => 'SELECT a, count(*) AS n, count(e) AS e FROM made.some GROUP BY 1' ],
		[ 'a column of WHERE' => 'SELECT a, count(*) FROM made.some WHERE e = 4 GROUP BY 1' ],
		[ 'a column of FILTER' => 'SELECT a, count(*), count(*) FILTER (WHERE e = 4) AS n FROM made.some GROUP BY 1' ],
		[ 'a column of a subquery' => 'SELECT x, count(*) FROM (SELECT e AS x FROM made.some) s GROUP BY 1' ],
		[ 'a column of a subquery, that is not used' => 'SELECT x, count(*) FROM (SELECT a AS x, e FROM made.some) s GROUP BY 1' ],
		[ 'a column of WHERE in a subquery' => 'SELECT x, count(*) FROM (SELECT a AS x FROM made.some WHERE e = 4) s GROUP BY 1' ],
		[ 'a part of a UNION ALL' => 'SELECT a, count(*) FROM (SELECT a FROM made.whole UNION ALL SELECT e FROM made.some) s GROUP BY 1' ]),
	'no right to execute a function' =>
	  [ 'SELECT made.secret(a) AS x, count(*) FROM made.whole GROUP BY 1', '42501: permission denied for function secret' ],
	'no right to execute a function in WHERE' =>
	  [ 'SELECT a, count(*) FROM made.whole WHERE made.secret_inline(a) > 0 GROUP BY 1', '42501: permission denied for function secret_inline' ],
	(map { ("row security $_->[0]" => [ $_->[2], qq{0A000: row-level security of table "$_->[1]" applies to role "maker"} ]) }
		[ 'with a policy that lets all through', 'limited', 'SELECT a, count(*) FROM made.limited GROUP BY a' ],
		[ 'that is forced upon the owner', 'own_forced', 'SELECT a, count(*) FROM made.own_forced GROUP BY a' ],
		[ 'of a part of a UNION ALL', 'limited', 'SELECT a, count(*) FROM (SELECT a FROM made.whole UNION ALL SELECT a FROM made.limited) s GROUP BY 1' ],
		[ 'of a partition that is read by itself', 'part', 'SELECT a, count(*) FROM made.part GROUP BY a' ]));

# And exceptions that are allowed.
my @allowed = (
	'with a right on the table' => [ 'maker', 'SELECT e, count(*) AS n, coalesce(sum(b), 0) AS b FROM made.whole WHERE c > 0 GROUP BY e' ],
	'with rights on the columns' =>
	  [ 'maker', 'SELECT a, b + c AS bc, count(*) AS n, count(*) FILTER (WHERE b > 0) AS nb FROM made.some WHERE c > 0 GROUP BY 1, 2' ],
	'with a right on some column, where none is used' => [ 'maker', 'SELECT 1 AS a, count(*) AS n FROM made.some GROUP BY 1' ],
	'with row security of his own table' => [ 'maker', 'SELECT a, count(*) AS n FROM made.own GROUP BY a' ],
	'with row security of a partition, which a query of the whole table passes by' =>
	  [ 'maker', 'SELECT a, count(*) AS n FROM made.parted GROUP BY a' ],
	'with BYPASSRLS' =>
	  [ 'unlimited', 'SELECT a, count(*) AS n FROM (SELECT a FROM made.limited UNION ALL SELECT a FROM made.own_forced) s GROUP BY a' ],
	'as a superuser' => [ 'everything', 'SELECT made.secret(e) AS e, count(*) AS n FROM made.own_forced GROUP BY 1' ],
);

# All that there is of relations, types, and rollups.
my $inventory = q{SELECT (SELECT string_agg(oid::text, ' ' ORDER BY oid) FROM pg_class), (SELECT count(*) FROM pg_type),
	(SELECT count(*) FROM pg_depend), (SELECT count(*) FROM notify_stats.rollup)};
my $of_whole = q{SELECT notify_stats.create_rollup('made.%s', 'SELECT a, count(*) FROM made.whole GROUP BY a')};

# Nothing is left of a rollup that is refused.
sub test_refused_rollups
{
	wait_until_applied($node);
	# which has temporary tables
	wait_for_builder_gone($node);
	my $before = sql($node, $inventory);
	while (my ($title, $case) = splice @refused, 0, 2)
	{
		my ($definition, $reason, $schema) = @$case;

		$schema //= 'made';
		like(psql_as('maker', "SELECT notify_stats.create_rollup('$schema.made', '$definition')"), qr/ERROR:  \Q$reason\E/, "refused: $title");
	}
	sql($node, 'REVOKE EXECUTE ON FUNCTION notify_stats.create_rollup FROM PUBLIC;
		GRANT EXECUTE ON FUNCTION notify_stats.create_rollup TO unlimited');
	are_refused('maker', 'refused: create_rollup() was taken from everybody', sprintf($of_whole, 'made'));
	is(sql($node, $inventory), $before, 'refused statements leave nothing behind');
	is(psql_as('unlimited', sprintf($of_whole, 'granted')), 'made.granted', 'but not for a role that it is granted to');
	sql($node, 'GRANT EXECUTE ON FUNCTION notify_stats.create_rollup TO PUBLIC');
	return;
}

# An allowed rollup is like any other; made.granted already exists.
sub test_allowed_rollups
{
	my @made = ('made.granted');
	while (my ($title, $case) = splice @allowed, 0, 2)
	{
		my ($role, $definition) = @$case;
		my $name = 'made.made' . @made;

		is(psql_as($role, "SELECT notify_stats.create_rollup('$name', '$definition')"), $name, "allowed: $title");
		push @made, $name;
	}
	is_exact($node, 'the allowed rollups are exact');
	is(sql($node, q{SELECT count(*) FROM notify_stats.rollups WHERE state = 'live'}), @made + 2, 'and live');
	sql($node, join ';', map { "SELECT notify_stats.drop_rollup('$_')" } @made);
	return;
}

# --- rights that are lost ------------------------------------------------------------------

# The rollup "kept" of role keeper, and two others of the same table that continue.
sub make_kept_rollups
{
	sql($node, q{
		CREATE ROLE keeper LOGIN;
		CREATE ROLE readers;
		CREATE ROLE friend LOGIN BYPASSRLS;
		CREATE SCHEMA kept;
		GRANT USAGE ON SCHEMA kept TO PUBLIC;
		GRANT CREATE ON SCHEMA kept TO keeper, friend, stranger;
		CREATE TABLE kept.source (id serial, kind int, amount int, place text, at date);
		ALTER TABLE kept.source REPLICA IDENTITY FULL;
		INSERT INTO kept.source (kind, amount, place, at) SELECT i % 5, i, 'x' || i % 3, '2026-01-01' FROM generate_series(1, 50) i;
		GRANT SELECT ON kept.source TO keeper, friend;
		CREATE FUNCTION kept.label(int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1::text; END';
		SELECT notify_stats.create_rollup('kept.of_superuser', 'SELECT kind, kept.label(kind) AS label, count(*) AS n FROM kept.source GROUP BY 1, 2');
		SET ROLE friend;
		SELECT notify_stats.create_rollup('kept.of_friend', 'SELECT place, count(*) AS n FROM kept.source GROUP BY 1');
		SET ROLE keeper;
		SELECT notify_stats.create_rollup('kept.kept', 'SELECT kind, kept.label(kind) AS label, count(*) AS n,
			coalesce(sum(amount) FILTER (WHERE place <> $$x0$$), 0) AS amount
			FROM (SELECT kind, amount, place, at, id FROM kept.source) named WHERE at > $$2000-01-01$$ GROUP BY 1, 2');
	});
	is_exact($node, 'the rollups whose owners will lose their rights', rollups => [qw(kept.kept kept.of_friend kept.of_superuser)]);
	return;
}

my $change = q{INSERT INTO kept.source (kind, amount, place, at) SELECT i % 5, i, 'x' || i % 3, '2026-01-01' FROM generate_series(1, 7) i;
	UPDATE kept.source SET kind = (kind + 1) % 5 WHERE id % 7 = 0};
my $denied = 'permission denied for table source';
my $hidden = 'row-level security of table "source" applies to role "keeper"';
my $parted = 'rollup "kept" and its definition have different owners';
my $inherit = $node->pg_version < 16
  ? [ 'ALTER ROLE keeper NOINHERIT', 'ALTER ROLE keeper INHERIT' ]
  : [ 'GRANT readers TO keeper WITH INHERIT FALSE', 'GRANT readers TO keeper WITH INHERIT TRUE' ];

# The basis of the privilege from here on, how it is lost, the reason that is shown, and how it is
# restored; and a change, if the loss is noticed by one.  First the worker must notice it, and
# then catch_up(), in a session that has called it before.
my %losses = (
	'the worker' => [
		'SELECT on the table' => [ '', 'REVOKE SELECT ON kept.source FROM keeper', $denied, 'GRANT SELECT ON kept.source TO keeper' ],
		'a role that may SELECT' => [
			'GRANT SELECT ON kept.source TO readers; GRANT readers TO keeper; REVOKE SELECT ON kept.source FROM keeper',
			'REVOKE readers FROM keeper', $denied, 'GRANT readers TO keeper' ],
		'a table without row security' => [ '',
			'ALTER TABLE kept.source ENABLE ROW LEVEL SECURITY', $hidden, 'ALTER TABLE kept.source DISABLE ROW LEVEL SECURITY' ],
		'BYPASSRLS' => [
			'ALTER ROLE keeper BYPASSRLS; ALTER TABLE kept.source ENABLE ROW LEVEL SECURITY',
			'ALTER ROLE keeper NOBYPASSRLS', $hidden, 'ALTER ROLE keeper BYPASSRLS' ],
		'SUPERUSER' => [
			'ALTER ROLE keeper SUPERUSER NOBYPASSRLS; REVOKE readers FROM keeper; ALTER TABLE kept.source DISABLE ROW LEVEL SECURITY',
			'ALTER ROLE keeper NOSUPERUSER', $denied, 'ALTER ROLE keeper SUPERUSER' ],
		'the table that it reads' => [
			'ALTER TABLE kept.source OWNER TO keeper; ALTER ROLE keeper NOSUPERUSER',
			"ALTER TABLE kept.source OWNER TO $superuser", $denied, 'ALTER TABLE kept.source OWNER TO keeper' ],
		'the table of the rollup' => [ '', 'ALTER TABLE kept.kept OWNER TO stranger', $parted, 'ALTER TABLE kept.kept OWNER TO keeper' ],
		'INSERT on the rollup' => [ '',
			'REVOKE INSERT ON kept.kept FROM keeper', 'permission denied for table kept', 'GRANT ALL ON kept.kept TO keeper', q{INSERT INTO kept.source (kind, at) VALUES (77, '2026-01-01')} ],
	],
	'catch_up()' => [
		'the table that it reads, with row security' => [
			'ALTER TABLE kept.source ENABLE ROW LEVEL SECURITY',
			'ALTER TABLE kept.source FORCE ROW LEVEL SECURITY', $hidden, 'ALTER TABLE kept.source NO FORCE ROW LEVEL SECURITY' ],
		'SUPERUSER, with row security' => [
			"ALTER ROLE keeper SUPERUSER; ALTER TABLE kept.source OWNER TO $superuser; GRANT SELECT ON kept.source TO keeper",
			'ALTER ROLE keeper NOSUPERUSER', $hidden, 'ALTER TABLE kept.source DISABLE ROW LEVEL SECURITY' ],
		(map {
			("SELECT on the column $_" => [
				'REVOKE SELECT ON kept.source FROM keeper; GRANT SELECT (kind, amount, place, at, id) ON kept.source TO keeper',
				"REVOKE SELECT ($_) ON kept.source FROM keeper", $denied, "GRANT SELECT ($_) ON kept.source TO keeper" ])
		} qw(kind amount place at id)),    # the last is only named
		'what pg_read_all_data may' => [
			'GRANT pg_read_all_data TO keeper; REVOKE SELECT ON kept.source FROM keeper',
			'REVOKE pg_read_all_data FROM keeper', $denied, 'GRANT pg_read_all_data TO keeper' ],
		'what a role may, that it no longer inherits from' => [ 'GRANT readers TO keeper; REVOKE pg_read_all_data FROM keeper',
			$inherit->[0], $denied, $inherit->[1] ],
		'what a role may, by DROP OWNED' => [ '', 'DROP OWNED BY readers', $denied, 'GRANT SELECT ON kept.source TO readers' ],
		'what PUBLIC may' => [ 'GRANT SELECT ON kept.source TO PUBLIC; REVOKE readers FROM keeper',
			'REVOKE ALL ON kept.source FROM PUBLIC', $denied, 'GRANT SELECT ON kept.source TO keeper' ],
		'UPDATE on the rollup' => [ '',
			'REVOKE UPDATE ON kept.kept FROM keeper', 'permission denied for table kept', 'GRANT ALL ON kept.kept TO keeper', $change ],
		'DELETE on the rollup' => [ '',
			'REVOKE DELETE ON kept.kept FROM keeper', 'permission denied for table kept', 'GRANT ALL ON kept.kept TO keeper',
			'DELETE FROM kept.source WHERE kind = 3' ],
		'EXECUTE on a function' => [ '',
			'REVOKE EXECUTE ON FUNCTION kept.label FROM PUBLIC', 'permission denied for function label', 'GRANT EXECUTE ON FUNCTION kept.label TO keeper', $change ],
		'the view of the rollup' => [ '',
			'ALTER VIEW kept.kept_definition OWNER TO stranger', $parted, 'ALTER VIEW kept.kept_definition OWNER TO keeper' ],
		'all that it owns' => [ '', 'REASSIGN OWNED BY keeper TO stranger', $denied, 'REASSIGN OWNED BY stranger TO keeper' ],
	]);

# Waits until the worker, or else makes catch_up(), do all pending work.
sub let_catch_up
{
	my ($who) = @_;

	$who eq 'catch_up()' ? sql($node, 'CALL notify_stats.catch_up()') : wait_until_applied($node);
	return;
}

# A right that the rollup rests on is lost, and given back.
sub lose
{
	my ($who, $title, $setup, $break, $reason, $mend, $meeting) = @_;
	my @rollups = map { "kept.$_" } qw(of_superuser of_friend kept);
	my $state = q{SELECT concat_ws(': ', state, reason) FROM notify_stats.rollups WHERE rollup = 'kept.kept'::regclass};
	my $content;

	sql($node, "BEGIN; $setup; COMMIT");
	let_catch_up($who);
	is(sql($node, $state), 'live', "$title: not lost yet");
	$content = sql($node, 'SELECT * FROM kept.kept ORDER BY 1');
	if ($who eq 'catch_up()')
	{
		like(psql_as($superuser, 'CALL notify_stats.catch_up()', $break, $meeting // 'SELECT', 'CALL notify_stats.catch_up()'),
			qr/ERROR:  \w+: \Q$reason\E/, "$title is lost: catch_up() reports it");
		# the next call records it; if any transaction was running during that, such as one of
		# autovacuum, a build decides, and the call reports its errors
		foreach (1 .. 3)
		{
			$node->psql('postgres', 'CALL notify_stats.catch_up()', stdout => \my $out, stderr => \my $err);
			last if sql($node, $state) =~ /^failed/;
		}
	}
	else
	{
		sql($node, $break);
		sql($node, $meeting) if defined $meeting;
		poll($node, q{SELECT state FROM notify_stats.rollups WHERE rollup = 'kept.kept'::regclass}, 'failed');
	}
	like(sql($node, $state), qr/^failed: \Q$reason\E/, "$title is lost: failed, with the reason");
	sql($node, $change);
	let_catch_up($who);
	is(differences($node, 'postgres', @rollups[0, 1]), '', "$title is lost: the others are exact");
	is(sql($node, 'SELECT * FROM kept.kept ORDER BY 1'), $content, "$title is lost: it is not fed any more");
	sql($node, "$mend; SELECT notify_stats.rebuild('kept.kept')");
	let_catch_up($who);
	is(sql($node, $state), 'live', "$title is given back: live");
	is(differences($node, 'postgres', @rollups), '', "$title is given back: all are exact");
	return;
}

# All of them, in sequence: each leaves the state that the next one starts with.
sub test_lost_rights
{
	foreach my $who ('the worker', 'catch_up()')
	{
		sql($node, 'SELECT notify_stats.pause()') if $who eq 'catch_up()';
		while (my ($title, $case) = splice @{ $losses{$who} }, 0, 2)
		{
			lose($who, $title, @$case);
		}
	}
	sql($node, 'SELECT notify_stats.resume()');
	is(sql($node, q{SELECT string_agg(DISTINCT state, ' ') FROM notify_stats.rollups}), 'live', 'in the end all are live');
	return;
}

# A rollup whose table and view are given to a role with the privileges is still maintained; one
# that is dropped with its owner is gone, and the others continue.
sub test_given_away
{
	sql($node, q{GRANT SELECT ON kept.source TO stranger; GRANT EXECUTE ON FUNCTION kept.label TO stranger;
		REASSIGN OWNED BY keeper TO stranger});
	sql($node, $change);
	is_exact($node, 'given away as a whole: all are exact', rollups => [qw(kept.kept kept.of_friend kept.of_superuser)]);
	sql($node, 'DROP OWNED BY stranger');
	sql($node, $change);
	is_exact($node, 'dropped with all that its owner has: the others are exact', rollups => [qw(kept.of_friend kept.of_superuser)]);
	is(sql($node, q{SELECT string_agg(rollup::text, ' ' ORDER BY rollup) FROM notify_stats.rollup WHERE rollup::text LIKE 'kept%'}),
		'kept.of_superuser kept.of_friend',
		'dropped with all that its owner has: it is no rollup any more');
	return;
}

# An owner replaces the definition with one that reads a table that the owner may not read.
sub test_other_definition
{
	like(psql_as('other', 'CREATE OR REPLACE VIEW desk.theirs_definition AS SELECT body AS kind, count(*) AS n FROM desk.hidden GROUP BY 1'),
		qr/permission denied for table hidden/, 'another definition, of a hidden table: refused');
	like(psql_as('other', q{SELECT notify_stats.alter_rollup('desk.theirs', 'SELECT body AS kind, count(*) AS n FROM desk.hidden GROUP BY 1')}),
		qr/permission denied for table hidden/, 'nor is it a new form');
	is(psql_as('other', 'SELECT kind FROM desk.theirs ORDER BY 1'), "kind 0\nkind 1\nkind 2", 'another definition, of a hidden table: nothing is shown');
	is_exact($node, 'the old definition: exact', rollups => ['desk.theirs']);
	return;
}

# --- errors that show values ---------------------------------------------------------------

# Each rollup of desk.bodies fails of a row, in another way.  Whether its reason has the value:
my %failing = (
	of_cast => 1,        # a cast in the definition
	of_function => 1,    # a function in the definition
	of_trigger => 1,     # a trigger on the rollup
	of_check => 0,       # constraints of the rollup: the value is in the detail
	of_unique => 0,
	of_reference => 0);
my $by_body = q{SELECT notify_stats.create_rollup('desk.%s',
	'SELECT %s AS body, count(*) AS n, coalesce(sum(amount), 0) AS amount FROM desk.bodies GROUP BY 1')};

# They are made, and fail; the reader may read them, and nothing else.
sub test_failing_rollups
{
	sql($node, q{
		CREATE ROLE reader LOGIN;
		GRANT CREATE ON SCHEMA desk TO reader;
		CREATE TABLE desk.bodies (id serial, body text, amount int NOT NULL);
		ALTER TABLE desk.bodies REPLICA IDENTITY FULL;
		INSERT INTO desk.bodies (body, amount) VALUES ('1', 1), ('2', 2);
		GRANT SELECT ON desk.bodies TO owner;
	});
	psql_as('owner', q{CREATE FUNCTION desk.checked(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
			IF length($1) > 5 THEN RAISE 'too long: %', $1; END IF; RETURN $1; END $$},
		q{CREATE FUNCTION desk.check_body() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF length(NEW.body) > 5 THEN RAISE 'refused: %', NEW.body; END IF; RETURN NEW; END $$},
		map({ sprintf $by_body, $_, { of_cast => 'body::int', of_function => 'desk.checked(body)' }->{$_} // 'body' } sort keys %failing),
		'CREATE TRIGGER refuse BEFORE INSERT ON desk.of_trigger FOR EACH ROW EXECUTE FUNCTION desk.check_body()',
		'ALTER TABLE desk.of_check ADD CHECK (length(body) < 5)',
		'CREATE UNIQUE INDEX ON desk.of_unique (amount)',
		q{CREATE TABLE desk.known (body text PRIMARY KEY)}, q{INSERT INTO desk.known VALUES ('1'), ('2')},
		'ALTER TABLE desk.of_reference ADD FOREIGN KEY (body) REFERENCES desk.known');
	is_exact($node, 'the rollups that will fail');
	sql($node, join ';', map { "GRANT SELECT ON desk.$_ TO reader" } keys %failing);

	sql($node, q{SELECT notify_stats.pause()});
	sql($node, q{INSERT INTO desk.bodies (body, amount) VALUES ('secret body', 777001), ('secret two', 777001)});
	for (1 .. keys %failing)
	{
		like(psql_as('caller', 'CALL notify_stats.catch_up()', 'SELECT current_user', 'TABLE desk.bodies'),
			qr/^caller\n.*ERROR: .*ERROR:  42501: permission denied for table bodies/s,
			'catch_up() fails, and does not change the role of its caller');
	}
	is(psql_as('caller', 'CALL notify_stats.catch_up()'), '', 'and then continues');
	is(sql($node, q{SELECT count(*) FROM notify_stats.rollups WHERE state = 'failed'}), scalar keys %failing, 'all have failed');
	is(sql($node, 'TABLE desk.of_cast ORDER BY 1'), "1|1|1\n2|1|2", 'and are as they were');
	sql($node, 'ANALYZE notify_stats.rollup_activity');
	is(sql($node, q{SELECT count(*) > 0 FROM pg_stats WHERE schemaname = 'notify_stats' AND attname = 'reason'}), 't',
		'the server has statistics of the reasons');
	return;
}

# Operators that show their arguments, with low cost so that they are called first.
my $leak = q{CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN
	RAISE NOTICE 'leaked: %', $1; RETURN true; END $$};

# All attempts by a role that may read the rollups.
my @attempts = (
	(map {
		("TABLE desk.$_", "SELECT notify_stats.wait_for_lsn(rollup => 'desk.$_', timeout => '0', no_throw => true)", "SELECT notify_stats.applied_lsn('desk.$_')",
			"SELECT * FROM notify_stats.verify('desk.$_')", "SELECT notify_stats.rebuild('desk.$_')", "SELECT notify_stats.drop_rollup('desk.$_')",
			"SELECT notify_stats.create_rollup('desk.$_', 'SELECT body, count(*) FROM desk.$_ GROUP BY 1')",
			"SELECT notify_stats.create_rollup('desk.more', 'SELECT body, count(*) FROM desk.$_ GROUP BY 1')",
			"TABLE desk.${_}_definition", "ALTER TABLE desk.$_ ADD more int", "INSERT INTO desk.$_ VALUES (NULL, 1, 1)", "ANALYZE desk.$_")
	} sort keys %failing),
	q{SELECT notify_stats.wait_for_lsn(timeout => '0', no_throw => true)}, 'SELECT notify_stats.applied_lsn()',
	'TABLE notify_stats.rollups', 'TABLE notify_stats.status', 'SELECT * FROM notify_stats.check()',
	'SELECT * FROM notify_stats.stream_activity()', 'SELECT * FROM notify_stats.build_activity()', 'SELECT * FROM notify_stats.source_gaps()',
	'TABLE notify_stats.catch_up_progress', 'SELECT * FROM notify_stats.catch_up_activity()',
	'TABLE notify_stats.rollup', 'SELECT rollup, state FROM notify_stats.rollup', 'SELECT reason FROM notify_stats.rollup_activity', 'TABLE notify_stats.rollup_activity',
	'SELECT a FROM notify_stats.rollup_activity a', q{SELECT rollup FROM notify_stats.rollup_activity WHERE reason LIKE 'too%'},
	'COPY notify_stats.rollup_activity TO STDOUT',
	'CALL notify_stats.catch_up()',
	$leak,
	(map {
		my ($view, $column) = @$_;
		("SELECT * FROM notify_stats.$view WHERE pg_temp.leak($column)", "SELECT count(*) FROM notify_stats.$view WHERE pg_temp.leak($column)",
			"EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM notify_stats.$view WHERE pg_temp.leak($column)")
	} [ rollups => 'reason' ], [ rollups => 'rollup::text || reason' ], [ rollups => 'rollups::text' ],
		[ status => 'last_error' ], [ status => 'waits_for' ], [ status => 'status::text' ]),
	'TABLE pg_stat_activity', 'TABLE pg_locks', 'TABLE pg_replication_slots', 'TABLE pg_stat_replication_slots', 'TABLE pg_cursors',
	q{SELECT * FROM pg_stats WHERE schemaname IN ('notify_stats', 'desk')},
	# the event trigger reads requests of other roles
	'CREATE TABLE desk.mine (LIKE desk.of_check) PARTITION BY LIST (body)', 'CREATE TABLE desk.mine1 PARTITION OF desk.mine DEFAULT',
	'ALTER TABLE desk.mine DETACH PARTITION desk.mine1', 'ALTER TABLE desk.mine ATTACH PARTITION desk.mine1 DEFAULT',
	'ALTER TABLE desk.mine RENAME amount TO more', 'DROP TABLE desk.mine',
);

# The output of all of that for the reader.
sub test_reader_learns_nothing
{
	my $learned = psql_as('reader', 'SET client_min_messages = debug5', @attempts);
	unlike($learned, qr/secret|777001|leaked/, 'a role that may read the rollups sees no value of a row');
	is(() = $learned =~ /ERROR:  55000: rollup desk\.\w+ has failed\n(?!DETAIL)/g, scalar keys %failing, 'but that they have failed');
	is(() = $learned =~ /^2\|1\|2$/mg, scalar keys %failing, 'and what is in them');
	is(() = $learned =~ /^desk\.\w+\|failed$/mg, scalar keys %failing, 'and in which state they are');
	return;
}

# The reason is for the owner and pg_monitor, the last error for the latter.
sub test_reasons
{
	foreach my $role (qw(owner member monitor))
	{
		my @reasons = split /\n/, psql_as($role, q{SELECT rollup, reason FROM notify_stats.rollups WHERE state = 'failed' AND reason IS NOT NULL});

		is_deeply([ sort map { /^desk\.(\w+)\|/ } @reasons ], [ sort keys %failing ], "$role sees the reasons");
		is_deeply([ sort map { /^desk\.(\w+)\|.*secret/ } @reasons ], [ sort grep { $failing{$_} } keys %failing ], "$role sees the values in some");
		like(psql_as($role, q{SELECT notify_stats.wait_for_lsn(rollup => 'desk.of_cast')}), qr/DETAIL:  invalid input syntax for type integer: "secret/,
			"$role is told why by wait_for_lsn()");
		is(psql_as($role, q{SELECT last_error ~ '.' FROM notify_stats.status WHERE stream = 'main'}), $role eq 'monitor' ? 't' : '',
			"whether $role sees the last error");
	}
	like(psql_as('monitor', q{SELECT detail FROM notify_stats.check() WHERE item = 'rollup' AND NOT ok}),
		qr/of_cast is failed: invalid input syntax for type integer: "secret/, 'monitor sees the reasons in check()');
	sql($node, q{SELECT notify_stats.resume(); UPDATE desk.bodies SET body = id, amount = id; INSERT INTO desk.known VALUES ('3'), ('4')});
	psql_as('owner', map { "SELECT notify_stats.rebuild('desk.$_')" } sort keys %failing);
	is_exact($node, 'with other values all are exact');
	is(sql($node, q{SELECT string_agg(DISTINCT state, ' ') FROM notify_stats.rollups}), 'live', 'and live');
	return;
}

# --- the order ---------------------------------------------------------------------------

make_roles_and_extension();
test_catch_up_by_member();
test_catch_up_granted();
test_functions();
test_extension();
test_views_and_processes();
test_own_tables();
test_rollup_is_private();
make_sources();
test_refused_rollups();
test_allowed_rollups();
make_kept_rollups();
test_lost_rights();
test_given_away();
test_other_definition();
test_failing_rollups();
test_reader_learns_nothing();
test_reasons();

done_testing();
