# 036_others_go_on.pl
#
# One rollup does not hold up the others: not by locks on its table, its rows, or its source,
# not by errors of its owner's code that look as if they would pass, not by code that does
# not come to an end, in a cycle, at the end of a build, or in a build, and not by constraints that
# are deferred.
# versions: all
# takes long

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $next = 0;
my $setup = q{
	CREATE ROLE app;
	GRANT CREATE ON SCHEMA public TO app;
	CREATE ROLE other;
	GRANT CREATE ON SCHEMA public TO other;
	CREATE TABLE good_source (id int PRIMARY KEY, kind int);
	CREATE TABLE bad_source (id int PRIMARY KEY, kind int);
	ALTER TABLE good_source REPLICA IDENTITY FULL;
	ALTER TABLE bad_source REPLICA IDENTITY FULL;
	INSERT INTO good_source SELECT i, i % 5 FROM generate_series(1, 100) i;
	INSERT INTO bad_source SELECT i, i % 5 FROM generate_series(1, 100) i;
	GRANT SELECT ON good_source, bad_source TO app, other;
	-- what the function does, if anything, in a cycle; and at the end of a build
	CREATE TABLE behaviour (what text);
	GRANT SELECT ON behaviour TO app;
	CREATE FUNCTION behave() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		what text := (SELECT b.what FROM public.behaviour b);
	BEGIN
		IF what = 'sleep' THEN
			PERFORM pg_sleep(1000);
		ELSIF what = 'sleep on' THEN
			LOOP
				BEGIN
					PERFORM pg_sleep(1000);
				EXCEPTION WHEN query_canceled THEN
					NULL;
				END;
			END LOOP;
		ELSIF what IS NOT NULL THEN
			RAISE EXCEPTION 'no luck' USING ERRCODE = what;
		END IF;
	END $$;
	CREATE FUNCTION same(kind int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		PERFORM public.behave();
		RETURN kind;
	END $$;
	SET ROLE app;
	SELECT notify_stats.create_rollup('good', 'SELECT kind, count(*) AS n FROM good_source GROUP BY kind');
	SELECT notify_stats.create_rollup('bad', 'SELECT same(kind) AS kind, count(*) AS n FROM bad_source GROUP BY 1');
};

# A server with two rollups, which are exact.
sub node_with_rollups
{
	my ($name) = @_;
	my $new = new_node($name, conf => qq{
notify_stats.lock_timeout = '500ms'
notify_stats.max_rollup_time = '2s'
});

	sql($new, $setup);
	is_exact($new, "$name: both are exact at first");
	return $new;
}

my $node = node_with_rollups('others');

sub change
{
	my ($table, $in) = @_;

	$next += 10;
	sql($in // $node, qq{
		INSERT INTO $table SELECT 1000 + i, i % 5 FROM generate_series($next, $next + 9) i;
		UPDATE $table SET kind = 1 + (kind + 1) % 5 WHERE id % 3 = 0;
	});
	return;
}

# "state: reason" of a rollup, or only the state.
sub state_and_reason
{
	my ($rollup, $in) = @_;
	return sql($in // $node, "SELECT concat_ws(': ', state, reason) FROM notify_stats.rollups WHERE rollup = '$rollup'::regclass");
}

# The rollup "good" stays exact, whatever the other one does.
sub good_goes_on
{
	my ($title, $in) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$in //= $node;
	change('good_source', $in);
	is(sql($in, "SELECT notify_stats.wait_for_lsn(timeout => '$PostgreSQL::Test::Utils::timeout_default s', rollup => 'good')"),
		't', "$title: the other is exact");
	return is(differences($in, 'postgres', 'good') . state_and_reason('good', $in), 'live', "$title: the other is exact");
}

# --- a build that does not end -----------------------------------------------------------

# It blocks other builds, but only for a minute.  This passes while the server above is tested.
my $build_node = node_with_rollups('build');
sql($build_node, q{INSERT INTO behaviour VALUES ('sleep'); SELECT notify_stats.rebuild('bad')});
poll($build_node, q{SELECT count(*) = 1 FROM notify_stats.build_activity() WHERE phase = 'reading sources'});
sql($build_node, q{SET ROLE other; SELECT notify_stats.create_rollup('later', 'SELECT kind, count(*) AS n FROM good_source GROUP BY kind')});
good_goes_on('a build that does not end', $build_node);

# --- locks ----------------------------------------------------------------------------

# Locks that are held for long, and the reason of the rollup.  Each time all wait half as
# long for it as before.
my @locks = (
	[ 'a row of the rollup', 'SELECT * FROM bad WHERE kind = 2 FOR UPDATE', qr/^stale: a lock was not available in time: canceling statement due to lock timeout$/ ],
	[ 'the rollup', 'LOCK TABLE bad', qr/^stale: table "bad" was locked for more than 250 ms$/ ],
	[ 'its source', 'LOCK TABLE bad_source', qr/^stale: table "bad_source" was locked for more than 125 ms$/ ],
	[ 'a rollup that is dropped, which is taken back', q{SELECT notify_stats.drop_rollup('bad')}, qr/^stale: table "bad" was locked for more than 62 ms$/ ]);

foreach my $lock (@locks)
{
	my ($title, $statement, $reason) = @$lock;
	my $holder = $node->background_psql('postgres');
	my $offset = log_position($node);

	change('bad_source');
	wait_until_applied($node);
	$holder->query_safe('BEGIN');
	$title =~ /source/ ? change('bad_source') : ();
	$holder->query_safe($statement);
	change('bad_source') unless $title =~ /source/;
	poll($node, "SELECT EXISTS (SELECT FROM notify_stats.rollup WHERE rollup = 'bad'::regclass::oid AND state = 'stale')")
	  unless $title =~ /dropped/;
	poll($node, "SELECT EXISTS (SELECT FROM notify_stats.rollup WHERE definition::text = 'bad_definition' AND state = 'stale')")
	  if $title =~ /dropped/;
	like(state_and_reason('bad'), $reason, "$title is locked: the rollup is stale, with the reason");
	good_goes_on("$title is locked");
	# a build that has not begun gives way, and says to what
	ok($node->wait_for_log(qr/could not start to build rollup public\.bad: public\.$1 is locked/, $offset),
		"$title is locked: the log has its name")
	  if $statement =~ /^LOCK TABLE (\w+)/;
	$holder->query_safe('ROLLBACK');
	$holder->quit;
	is_exact($node, "$title was locked: exact when it is not any more");
	is(state_and_reason('bad'), 'live', "$title was locked: live again");
}

# One that would forget rows if it was rebuilt is waited for longer.
sql($node, q{
	CREATE TABLE kept_source (id int PRIMARY KEY, kind int);
	ALTER TABLE kept_source REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('kept', 'SELECT kind, count(*) AS n FROM kept_source GROUP BY kind',
		ignore_deletes => '{kept_source}');
});
change('kept_source');
wait_until_applied($node);
my $keeper = $node->background_psql('postgres');
$keeper->query_safe('BEGIN; LOCK TABLE kept');
change('kept_source');
poll($node, q{SELECT waits_for = 'a lock on kept' FROM notify_stats.status WHERE stream = 'main'});
my $begun = sql($node, 'SELECT clock_timestamp()');
poll($node, "SELECT clock_timestamp() > '$begun'::timestamptz + interval '700 ms'");
is(state_and_reason('kept'), 'live', 'a rollup with ignore_deletes is not given up after notify_stats.lock_timeout');
$keeper->query_safe('COMMIT');
is_exact($node, 'a rollup with ignore_deletes: exact when the lock is free');
$keeper->query_safe('BEGIN; LOCK TABLE kept');
change('kept_source');
wait_for_state($node, 'kept', 'failed');
is(state_and_reason('kept'), 'failed: table "kept" was locked for more than 2000 ms',
	'but after notify_stats.max_rollup_time');
good_goes_on('a rollup with ignore_deletes that has failed');
$keeper->query_safe(q{SELECT notify_stats.drop_rollup('kept'); COMMIT});
$keeper->quit;
wait_until_applied($node);

# A migration that only waits for its lock.
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) FROM bad_source');
my $migration = start_psql($node, 'ALTER TABLE bad_source ADD COLUMN remark text');
poll($node, q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 'bad_source'::regclass AND NOT granted});
wait_for_state($node, 'bad', 'stale');
like(state_and_reason('bad'), qr/^stale: table "bad_source" was locked for more than 31 ms$/, 'a lock that is waited for: stale');
good_goes_on('a lock that is waited for');
is(sql($node, q{SELECT count(*) FROM pg_locks WHERE relation = 'bad_source'::regclass AND NOT granted}), '1',
	'a lock that is waited for: no other session queues behind it');
$reader->query_safe('COMMIT');
is($migration->finish, '', 'the migration ends');
is_exact($node, 'a lock that was waited for: exact');

# A row that is locked while the rollup is rebuilt: its build waits, and does not hold the stream.
my $holder = $node->background_psql('postgres');
my $offset = log_position($node);
set_stop($node, 'build-filled');
sql($node, q{DELETE FROM bad WHERE kind = 3; SELECT notify_stats.rebuild('bad')});
wait_for_stop($node, 'build-filled', $offset);
$holder->query_safe('BEGIN; SELECT * FROM bad FOR UPDATE');
continue_from_stop($node);
poll($node, q{SELECT count(*) = 1 FROM notify_stats.build_activity() WHERE phase = 'joining'});
good_goes_on('a build that waits for a row');
$holder->query_safe('COMMIT');
$holder->quit;
wait_until_rebuilt($node, 'bad');
is_exact($node, 'a build that has waited for a row: exact');

# --- errors that look as if they would pass -------------------------------------------

foreach my $sqlstate (qw(40001 53100 57014))
{
	sql($node, "INSERT INTO behaviour VALUES ('$sqlstate')");
	change('bad_source');
	wait_for_state($node, 'bad', 'failed');
	is(state_and_reason('bad'), 'failed: no luck (in column "kind") (5 times in a row)', "SQLSTATE $sqlstate, raised again and again: failed");
	good_goes_on("SQLSTATE $sqlstate");
	sql($node, q{DELETE FROM behaviour; SELECT notify_stats.rebuild('bad')});
	is_exact($node, "SQLSTATE $sqlstate: exact after rebuild()");
}

# One that passes indeed.
$offset = log_position($node);
sql($node, q{INSERT INTO behaviour VALUES ('40001')});
change('bad_source');
$node->wait_for_log(qr/ERROR:  no luck/, $offset);
sql($node, 'DELETE FROM behaviour');
is_exact($node, 'an error that passes: exact');
unlike(slurp_file($node->logfile, $offset), qr/has failed|is stale/, 'an error that passes: nothing is given up');

# Two that fail in turn.
sql($node, q{
	CREATE SEQUENCE turns;
	GRANT USAGE ON SEQUENCE turns TO app;
	CREATE TABLE both_source (id int PRIMARY KEY, kind int);
	ALTER TABLE both_source REPLICA IDENTITY FULL;
	GRANT SELECT ON both_source TO app;
	CREATE FUNCTION at_times(kind int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		IF nextval('public.turns') % 2 = 1 THEN
			PERFORM public.behave();
		END IF;
		RETURN kind;
	END $$;
	SET ROLE app;
	SELECT notify_stats.create_rollup('at_times', 'SELECT at_times(kind) AS kind, count(*) AS n FROM both_source GROUP BY 1');
	SELECT notify_stats.create_rollup('always', 'SELECT same(kind) AS kind, count(*) AS n FROM both_source GROUP BY 1');
});
wait_until_applied($node);
sql($node, q{INSERT INTO behaviour VALUES ('40001'); INSERT INTO both_source VALUES (1, 1)});
poll($node, q{SELECT count(*) > 0 FROM notify_stats.rollups WHERE state = 'failed'});
my $first_failed = time;
wait_for_state($node, 'always', 'failed');
cmp_ok(time - $first_failed, '<', 60, 'two rollups that fail in turn: the delays between attempts start again for the second');
good_goes_on('two rollups that fail in turn');
sql($node, q{DELETE FROM behaviour; SELECT notify_stats.drop_rollup('at_times'), notify_stats.drop_rollup('always')});
is_exact($node, 'two rollups that failed in turn: the others are exact');

# --- code that does not end -----------------------------------------------------------

foreach my $what ('sleep', 'sleep on')
{
	sql($node, "INSERT INTO behaviour VALUES ('$what')");
	change('bad_source');
	wait_for_state($node, 'bad', 'failed');
	is(state_and_reason('bad'), 'failed: its part of a cycle took longer than notify_stats.max_rollup_time (2000 ms)',
		"a function that does not end ($what): failed");
	good_goes_on("a function that does not end ($what)");
	sql($node, q{DELETE FROM behaviour; SELECT notify_stats.rebuild('bad')});
	is_exact($node, "a function that does not end ($what): exact after rebuild()");
}

# At the end of a build, when all wait for it.
sql($node, q{
	CREATE FUNCTION on_write() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.behave(); RETURN NEW; END';
	CREATE TRIGGER on_write BEFORE INSERT ON bad FOR EACH ROW EXECUTE FUNCTION on_write();
	ALTER TABLE bad DISABLE TRIGGER on_write;
	DELETE FROM bad WHERE kind = 2;
	ALTER TABLE bad ENABLE TRIGGER on_write;
});
set_stop($node, 'build-filled');
$offset = log_position($node);
sql($node, q{SELECT notify_stats.rebuild('bad')});
wait_for_stop($node, 'build-filled', $offset);
sql($node, q{INSERT INTO behaviour VALUES ('sleep')});
continue_from_stop($node);
wait_for_state($node, 'bad', 'failed');
is(state_and_reason('bad'), 'failed: its part of a cycle took longer than notify_stats.max_rollup_time (2000 ms)',
	'a trigger that does not end, at the end of a build: failed');
good_goes_on('a trigger that does not end');
sql($node, q{DELETE FROM behaviour; DROP TRIGGER on_write ON bad; SELECT notify_stats.rebuild('bad')});
is_exact($node, 'a trigger that does not end: exact after rebuild()');

# An error that looks as if it would pass, at the same place: each time, all have waited for it.
sql($node, q{
	CREATE TRIGGER on_write BEFORE INSERT ON bad FOR EACH ROW EXECUTE FUNCTION on_write();
	ALTER TABLE bad DISABLE TRIGGER on_write;
	DELETE FROM bad WHERE kind = 2;
	ALTER TABLE bad ENABLE TRIGGER on_write;
});
set_stop($node, 'build-filled');
$offset = log_position($node);
sql($node, q{SELECT notify_stats.rebuild('bad')});
wait_for_stop($node, 'build-filled', $offset);
sql($node, q{CREATE OR REPLACE FUNCTION on_write() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN RAISE EXCEPTION ''no luck'' USING ERRCODE = ''40001''; END'});
continue_from_stop($node);
wait_for_state($node, 'bad', 'failed');
is(state_and_reason('bad'), 'failed: no luck (5 builds in a row)', 'a trigger that fails at the end of each build: failed');
good_goes_on('a trigger that fails at the end of each build');
sql($node, q{DROP TRIGGER on_write ON bad; SELECT notify_stats.rebuild('bad')});
is_exact($node, 'a trigger that fails at the end of each build: exact after rebuild()');

# The build on the other server, which has not ended.
wait_for_state($build_node, 'later', 'live');
is(sql($build_node, q{SELECT count(*) FROM notify_stats.build_activity() WHERE rollup = 'bad'::regclass}), '1',
	'another rollup is built while a build does not end');
sql($build_node, q{DELETE FROM behaviour; SELECT pg_terminate_backend(pid) FROM notify_stats.build_activity()});
is_exact($build_node, 'all are exact');

# --- deferred constraints -------------------------------------------------------------

# They are checked while the rollup is at work, and not at the end of the transaction.
sql($node, q{
	CREATE TABLE kinds (kind int PRIMARY KEY);
	ALTER TABLE kinds OWNER TO app;
	INSERT INTO kinds SELECT generate_series(0, 9);
	ALTER TABLE bad ADD CONSTRAINT known FOREIGN KEY (kind) REFERENCES kinds DEFERRABLE INITIALLY DEFERRED;
	INSERT INTO bad_source VALUES (-1, 9);
});
wait_until_applied($node);
is(state_and_reason('bad'), 'live', 'a deferred constraint that holds: live');
is_exact($node, 'a deferred constraint that holds: exact');
sql($node, 'INSERT INTO bad_source VALUES (-2, 10)');
wait_for_state($node, 'bad', 'failed');
is(state_and_reason('bad'), 'failed: insert or update on table "bad" violates foreign key constraint "known"',
	'a deferred constraint that does not hold: failed');
good_goes_on('a deferred constraint that does not hold');
sql($node, q{SELECT notify_stats.rebuild('bad')});
wait_until_rebuilt($node, 'bad');
is(state_and_reason('bad'), 'failed: insert or update on table "bad" violates foreign key constraint "known"',
	'a deferred constraint that does not hold: so does a rebuild');
good_goes_on('a deferred constraint that does not hold in a rebuild');
sql($node, q{INSERT INTO kinds VALUES (10); SELECT notify_stats.rebuild('bad')});
is_exact($node, 'a deferred constraint that holds in a rebuild: exact');

# A rollup cannot defer those of another one that is written in the same transaction.
sql($node, q{
	CREATE FUNCTION defer() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN SET CONSTRAINTS ALL DEFERRED; RETURN NULL; END';
	CREATE TRIGGER defer BEFORE INSERT OR UPDATE OR DELETE ON good EXECUTE FUNCTION defer();
	ALTER TABLE bad ALTER CONSTRAINT known DEFERRABLE INITIALLY IMMEDIATE;
	BEGIN;
	DELETE FROM bad_source WHERE id = -1;
	INSERT INTO bad_source VALUES (-3, 8);
	INSERT INTO good_source VALUES (-3, 8);
	COMMIT;
});
wait_until_applied($node);
is(state_and_reason($_), 'live', "constraints are deferred by one rollup: $_ is live") foreach 'good', 'bad';
is_exact($node, 'constraints are deferred by one rollup: exact');
sql($node, 'DROP TRIGGER defer ON good; ALTER TABLE bad DROP CONSTRAINT known');

# --- by hand --------------------------------------------------------------------------

$node->append_conf('postgresql.conf', "notify_stats.database = ''\n");
$node->restart;
sql($node, 'CALL notify_stats.catch_up()');

$holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE bad_source');
change('good_source');
my $session = start_psql($node, 'CALL notify_stats.catch_up()');
wait_for_state($node, 'bad', 'stale');
poll($node, 'SELECT NOT EXISTS (TABLE good EXCEPT ALL TABLE good_definition)');
pass('catch_up(): the other is exact while a table is locked');
$holder->query_safe('COMMIT');
$holder->quit;
is($session->finish, '', 'catch_up() ends when the lock is free');
is(differences($node, 'postgres', 'good', 'bad'), '', 'catch_up(): both are exact');

sql($node, q{INSERT INTO behaviour VALUES ('53200')});
change('bad_source');
like(sql_error($node, 'CALL notify_stats.catch_up()'), qr/ERROR:  53200: no luck/, "catch_up(): error $_") for 1 .. 5;
change('good_source');
sql($node, 'CALL notify_stats.catch_up()');
like(state_and_reason('bad'), qr/^failed: no luck/, 'catch_up(): failed after five');
is(differences($node, 'postgres', 'good'), '', 'catch_up(): the other is exact');

sql($node, q{UPDATE behaviour SET what = 'sleep'; SELECT notify_stats.rebuild('bad'); BEGIN; DELETE FROM behaviour; COMMIT;});
sql($node, 'CALL notify_stats.catch_up()');
sql($node, q{INSERT INTO behaviour VALUES ('sleep')});
change('bad_source');
like(sql_error($node, 'CALL notify_stats.catch_up()'),
	qr/ERROR:  57014: canceling statement due to user request\nDETAIL:  Work for the rollup with OID \d+ took longer than notify_stats\.max_rollup_time \(2000 ms\), while the other rollups waited\.\nHINT:  /,
	'catch_up(): a function that does not end');
change('good_source');
sql($node, 'CALL notify_stats.catch_up()');
like(state_and_reason('bad'), qr/^failed: its part of a cycle/, 'catch_up(): failed then');
is(differences($node, 'postgres', 'good'), '', 'catch_up(): the other is exact');

done_testing();
