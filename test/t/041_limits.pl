# 041_limits.pl
#
# Builds and verifications of one role leave slots, processes and WAL for the others, even if they
# never end; and there can be no more rollups than the server has locks for.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('limits', conf => "notify_stats.max_build_wal = 1MB\nmax_replication_slots = 8\n");
my ($session, $offset, @sessions);

# Writes more WAL than a build may retain, without a change of anything.
sub write_wal
{
	sql($node, q{SELECT count(pg_logical_emit_message(false, 'test', repeat('x', 100000))) FROM generate_series(1, 30)});
	return;
}

# A session that verifies a rollup, and is stuck in its function, or waits for one that is.
sub start_verify
{
	my ($rollup) = @_;
	my $verify = start_psql($node, '\set VERBOSITY verbose', "SELECT * FROM notify_stats.verify('$rollup')");

	poll($node, "SELECT count(*) = 1 FROM notify_stats.build_activity() WHERE rollup = '$rollup'::regclass
		AND phase IN ('reading sources', 'waiting for transactions')");
	return $verify;
}

sub verifications_end
{
	poll($node, q{SELECT count(*) = 0 FROM notify_stats.build_activity()});
	return;
}

sql($node, q{
	CREATE TABLE source (kind text);
	ALTER TABLE source REPLICA IDENTITY FULL;
	INSERT INTO source VALUES ('a'), ('a'), ('b');
	CREATE TABLE brake (stubborn boolean);
	-- sleeps as long as there is a brake, and after a cancellation, too, if that is stubborn
	CREATE FUNCTION slow(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $f$
	DECLARE
		stubborn boolean;
	BEGIN
		SELECT b.stubborn INTO stubborn FROM public.brake b;
		LOOP
			EXIT WHEN stubborn IS NULL;
			BEGIN
				PERFORM pg_sleep(3600);
			EXCEPTION WHEN query_canceled THEN
				IF NOT stubborn THEN
					RAISE;
				END IF;
			END;
		END LOOP;
		RETURN $1;
	END $f$;
	SELECT notify_stats.create_rollup('slow' || i, 'SELECT public.slow(kind) AS kind, count(*) AS n FROM source GROUP BY 1')
	FROM generate_series(1, 5) i;
	SELECT notify_stats.create_rollup('quick', 'SELECT kind, count(*) AS n FROM source GROUP BY 1')});
wait_until_applied($node);
wait_for_builder_gone($node);
is_verified($node, "slow$_", "slow$_ is exact") for 1 .. 2;

# One verification of a rollup at a time, and four of a database.
sql($node, 'INSERT INTO brake VALUES (false)');
push @sessions, start_verify('slow1');
like(sql_error($node, q{SET statement_timeout = '60 s'; SELECT * FROM notify_stats.verify('slow1')}),
	qr/ERROR:  55006: this rollup is already being verified\nHINT:  Try again when that verification has ended/, 'not twice the same rollup');
push @sessions, start_verify("slow$_") for 2 .. 4;
like(sql_error($node, q{SET statement_timeout = '60 s'; SELECT * FROM notify_stats.verify('slow5')}),
	qr/ERROR:  53400: 4 rollups of this database are already being verified/, 'no more than four in a database');

# They retain too much: each gets an error.
write_wal();
foreach my $session (@sessions)
{
	like($session->finish, qr/ERROR:  57014: the replication slot of a build or verification retains more than 1 MB of WAL\nHINT:  .*max_build_wal/,
		'a verification that retains too much WAL ends with an error with the reason');
}
verifications_end();
like(sql($node, q{SELECT last_error FROM notify_stats.status WHERE stream = 'main'}), qr/retains more than 1 MB/, 'the status shows it');

# One that does not want to end.
sql($node, 'UPDATE brake SET stubborn = true');
$session = start_verify('slow1');
write_wal();
like($session->finish, qr/retains more than 1 MB of WAL|the process that verifies the rollup has exited/, 'one that ignores the cancellation is ended');
verifications_end();

# A build: it is tried again, and ends when it can.
sql($node, q{UPDATE brake SET stubborn = false; SELECT notify_stats.rebuild('slow1')});
poll($node, q{SELECT count(*) = 1 FROM notify_stats.build_activity() WHERE rollup = 'slow1'::regclass AND phase = 'reading sources'});
$offset = log_position($node);
write_wal();
$node->wait_for_log(qr/notify_stats builder ERROR:  the replication slot of a build or verification retains more than 1 MB of WAL/, $offset);
is(state_of($node, 'slow1'), 'live', 'the rollup is unchanged');
sql($node, 'DELETE FROM brake');
wait_until_rebuilt($node, 'slow1');
is_exact($node, 'the build is tried again');

# Without the limit they continue.
set_and_reload($node, 'notify_stats.max_build_wal' => '0');
sql($node, 'INSERT INTO brake VALUES (false)');
$session = start_verify('slow1');
write_wal();
sql($node, 'SELECT notify_stats.wait_for_lsn(rollup => $$quick$$)');
is(sql($node, 'SELECT count(*) FROM notify_stats.build_activity()'), 1, 'without the limit it continues');
sql($node, "SELECT pg_cancel_backend(pid) FROM notify_stats.build_activity()");
like($session->finish, qr/ERROR:  57014: canceling statement due to user request/, 'and a cancel by a user has the usual message');
verifications_end();
sql($node, 'DELETE FROM brake');

# How many rollups there may be.
sub create_as_owner
{
	my ($name) = @_;
	return sql_error($node, "SET SESSION AUTHORIZATION owner; SELECT notify_stats.create_rollup('own.$name', 'SELECT kind, count(*) AS n FROM own.letters GROUP BY 1')");
}

sql($node, q{
	CREATE ROLE owner LOGIN;
	CREATE SCHEMA own AUTHORIZATION owner;
	SET SESSION AUTHORIZATION owner;
	CREATE TABLE own.letters (kind text) PARTITION BY LIST (kind);
	CREATE TABLE own.letters_a PARTITION OF own.letters FOR VALUES IN ('a');
	ALTER TABLE own.letters_a REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('own.of_owner' || i, 'SELECT kind, count(*) AS n FROM own.letters GROUP BY 1')
	FROM generate_series(1, 2) i});
set_and_reload($node, 'notify_stats.max_rollups_per_role' => 2);
like(create_as_owner('third'), qr/ERROR:  53400: role "owner" cannot have more than 2 rollups in this database\nHINT:  .*notify_stats.max_rollups_per_role/,
	'a role cannot have more than its share');
sql($node, q{SELECT notify_stats.drop_rollup('own.of_owner1')});
like(create_as_owner('third'), qr/^no error/, 'but another one for one that is dropped');
sql($node, q{SELECT notify_stats.create_rollup('of_superuser', 'SELECT kind, count(*) AS n FROM source GROUP BY 1')});
set_and_reload($node, 'notify_stats.max_rollups_per_role' => 200, 'notify_stats.max_rollups' => 9);
like(create_as_owner('fourth'), qr/ERROR:  53400: this database cannot have more than 9 rollups\nHINT:  .*notify_stats.max_rollups\./,
	'there is a limit of all rollups');
like(sql_error($node, q{SELECT notify_stats.create_rollup('more', 'SELECT kind, count(*) AS n FROM source GROUP BY 1')}),
	qr/ERROR:  53400: this database cannot have more than 9 rollups/, 'also for a superuser');
# one that exists already is found at the limit, too
my $exists = q{'quick', 'SELECT kind, count(*) AS n FROM source GROUP BY kind', if_not_exists => true};
like(sql_error($node, "SELECT notify_stats.create_rollup($exists)"), qr/^no error: quick$/,
	'if_not_exists finds a rollup when there may be no more');
like(sql_error($node, "SELECT notify_stats.create_rollup(@{[ $exists =~ s/quick/more/r ]})"),
	qr/ERROR:  53400: this database cannot have more than 9 rollups/, 'and creates none');
# each core counts
sql($node, q{SELECT notify_stats.drop_rollup('of_superuser')});
like(sql_error($node, slurp_file("$FindBin::RealBin/../../sql/include/computed.sql") . '; SELECT make_mixed()'),
	qr/ERROR:  53400: this database cannot have more than 9 rollups\nDETAIL:  This rollup has 2 cores, each of which counts as a rollup\./,
	'a view over two cores counts as two rollups');
is(sql($node, q{SELECT count(*) FROM notify_stats.rollups}), '8', 'there are as many as that');

# The items of check() for the locks: table, view and index of each, two sources, and one partition.
is(check_row($node, 'lock table'),
	't|a cycle needs up to 27 of 5120 locks of the server|', 'check() counts the locks');
sql($node, q{CREATE TABLE own.letters_b PARTITION OF own.letters FOR VALUES IN ('b')});
like(check_row($node, 'lock table', 'detail'), qr/ 28 of /, 'partitions included');
like(sql($node, q{BEGIN; INSERT INTO notify_stats.rollup_source SELECT 'quick', i, '{}' FROM generate_series(1, 2533) i;
	SELECT ok, hint FROM notify_stats.check() WHERE item = 'lock table'; ROLLBACK}), qr/^f\|.*Raise max_locks_per_transaction/,
	'more than half of them are too many');
sql($node, 'DROP TABLE own.letters_b');

# A slot is left.
wait_until_applied($node);
wait_for_builder_gone($node);
my $free = sql($node, q{SELECT 8 - count(*) FROM pg_replication_slots});
sql($node, "SELECT count(pg_create_physical_replication_slot('taken_' || i)) FROM generate_series(1, $free - 1) i");
like(sql_error($node, q{SELECT * FROM notify_stats.verify('quick')}),
	qr/ERROR:  53400: not enough free replication slots to verify a rollup\nDETAIL:  .*\nHINT:  .*raise max_replication_slots/,
	'a verification does not take the last slot');
sql($node, q{SELECT notify_stats.rebuild('quick')});
wait_until_rebuilt($node, 'quick');
is_exact($node, 'but a build does');
sql($node, q{SELECT pg_drop_replication_slot('taken_1')});
is_verified($node, 'quick', 'with two left it runs');
no_build_slots($node, 'no slot is left behind');
$node->stop;

done_testing();
