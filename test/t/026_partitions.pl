# 026_partitions.pl
#
# Partitions that are created unnoticed: while another rollup's build writes its result,
# while the worker rests, in savepoints, unlogged at first, in a transaction that waits for a standby.
# Partitions that are made, filled and removed unnoticed.  A rollup that ignores deletes does
# not fail because of partitions without rows, and wait_for_lsn() waits until recorded DDL of a
# source has been processed.

# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('partitions');

sql($node, q{
	CREATE TABLE s (id int NOT NULL, kind text NOT NULL) PARTITION BY RANGE (id);
	CREATE TABLE s0 PARTITION OF s FOR VALUES FROM (0) TO (100);
	ALTER TABLE s0 REPLICA IDENTITY FULL;
	INSERT INTO s VALUES (1, 'first');
	CREATE TABLE other (kind text NOT NULL);
	ALTER TABLE other REPLICA IDENTITY FULL;
	INSERT INTO other VALUES ('other');
	SELECT notify_stats.create_rollup('of_s', 'SELECT kind, count(*) AS n FROM s GROUP BY kind');
	SELECT notify_stats.create_rollup('kept', 'SELECT kind, count(*) AS n FROM s GROUP BY kind', ARRAY['s']);
});
wait_until_applied($node);

my $from = 0;

# A table with a row that is to become a partition, and the statement that makes it one.
sub make_table
{
	$from += 100;
	my $to = $from + 100;

	sql($node, qq{
		CREATE TABLE s$from (LIKE s);
		ALTER TABLE s$from REPLICA IDENTITY FULL;
		INSERT INTO s$from VALUES ($from, 'brought')});
	return "ALTER TABLE s ATTACH PARTITION s$from FOR VALUES FROM ($from) TO ($to)";
}

sub pause_between_cycles
{
	sql($node, 'SELECT notify_stats.pause()');
	poll($node, q{SELECT state = 'paused' FROM notify_stats.status WHERE stream = 'main'});
	# the current cycle may continue, but no other begins
	sql($node, 'CALL notify_stats.catch_up()');
	return;
}

sub rebuild_all
{
	sql($node, q{SELECT notify_stats.rebuild(rollup, forget_deleted => true) FROM notify_stats.rollups});
	wait_until_rebuilt($node, $_) foreach qw(of_s kept slow);
	return;
}

# Altered while a build of another rollup holds the main stream
my $attach = make_table();
my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(1)');
sql($node, q{
	CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(1); RETURN NEW; END $$;
	BEGIN;
	SELECT notify_stats.create_rollup('slow', 'SELECT kind, count(*) AS n FROM other GROUP BY kind');
	CREATE TRIGGER hold BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION hold();
	COMMIT;
});
poll($node, q{SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted});
sql($node, $attach);
$holder->quit;
poll($node, q{SELECT state <> 'building' FROM notify_stats.rollups WHERE rollup = 'slow'::regclass});
wait_until_applied($node);
is_exact($node, 'attached while another rollup was joined', rollups => [ 'of_s', 'slow' ]);
is(rollup_states($node), "kept|failed\nof_s|live\nslow|live", 'attached while another rollup was joined: states');
rebuild_all();

# DDL that adds no rows
pause_between_cycles();
sql($node, q{
	CREATE TABLE made1 PARTITION OF s FOR VALUES FROM (10100) TO (10200);
	INSERT INTO s VALUES (10100, 'made');
});
sql($node, q{ALTER TABLE made1 REPLICA IDENTITY FULL});
sql($node, q{UPDATE s SET kind = 'changed' WHERE id = 10100});
sql($node, q{
	BEGIN;
	CREATE TABLE made2 PARTITION OF s FOR VALUES FROM (10200) TO (10300);
	INSERT INTO s VALUES (10200, 'made');
	ALTER TABLE made2 REPLICA IDENTITY FULL, SET (fillfactor = 50);
	COMMIT;
});
# while the others are still unread; as pg_partman does it
sql($node, q{
	BEGIN;
	CREATE TABLE made_to_attach (LIKE s);
	ALTER TABLE made_to_attach REPLICA IDENTITY FULL;
	ALTER TABLE s ATTACH PARTITION made_to_attach FOR VALUES FROM (10500) TO (10600);
	COMMIT;
	INSERT INTO s VALUES (10500, 'made');
});
sql($node, q{SELECT notify_stats.resume()});
wait_until_applied($node);
is(rollup_states($node), "kept|live\nof_s|live\nslow|live", 'made and altered: states');
is_exact($node, 'made and altered');
is_verified($node, 'kept', 'made and altered: verify() finds nothing');

# DDL that does, though the table was created in the same transaction
pause_between_cycles();
sql($node, q{
	BEGIN;
	CREATE UNLOGGED TABLE made3 PARTITION OF s FOR VALUES FROM (10300) TO (10400);
	ALTER TABLE made3 REPLICA IDENTITY FULL;
	INSERT INTO s VALUES (10300, 'unlogged');
	ALTER TABLE made3 SET LOGGED;
	COMMIT;
	SELECT notify_stats.resume();
});
wait_until_applied($node);
is(rollup_states($node), "kept|failed\nof_s|live\nslow|live", 'unlogged at first: states');
is_exact($node, 'unlogged at first', rollups => ['of_s']);
rebuild_all();

# Savepoints
$attach = make_table();
pause_between_cycles();
sql($node, "BEGIN; SAVEPOINT a; $attach; ROLLBACK TO a; COMMIT; SELECT notify_stats.resume()");
wait_until_applied($node);
is(rollup_states($node), "kept|live\nof_s|live\nslow|live", 'attached in a savepoint and not at all: states');
is_exact($node, 'attached in a savepoint and not at all');
sql($node, "BEGIN; SAVEPOINT a; $attach; ROLLBACK TO a; SAVEPOINT b; $attach; RELEASE b; COMMIT");
wait_until_applied($node);
is_exact($node, 'attached in a savepoint', rollups => ['of_s']);
rebuild_all();

# Others alter a table of which a partition was detached, before that was processed
sql($node, q{CREATE TABLE gone PARTITION OF s FOR VALUES FROM (10400) TO (10500); ALTER TABLE gone REPLICA IDENTITY FULL});
wait_until_applied($node);
pause_between_cycles();
my $offset = log_position($node);
sql($node, 'DROP TABLE gone');
$holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; ALTER TABLE made1 SET (fillfactor = 60)');
sql($node, q{SET lock_timeout = '60s'; ALTER TABLE made2 SET (fillfactor = 60)});
$holder->query_safe('COMMIT');
$holder->quit;
sql($node, q{ALTER TABLE made1 SET (fillfactor = 70); SELECT notify_stats.resume()});
$node->wait_for_log(qr/rollup public\.of_s is stale.*\n.*DETAIL:  the set of partitions of table "s" has changed/, $offset);
wait_until_applied($node);
is(rollup_states($node), "kept|live\nof_s|live\nslow|live", 'altered side by side: states');
is_exact($node, 'altered side by side');

# Made, filled and removed before the worker reads: the rows leave without being deleted
foreach my $removed ('DROP TABLE short', 'ALTER TABLE s DETACH PARTITION short', 'ALTER TABLE s DETACH PARTITION short CONCURRENTLY',
	'together DROP TABLE short', 'together ALTER TABLE s DETACH PARTITION short')
{
	my $make = q{CREATE TABLE short PARTITION OF s FOR VALUES FROM (10600) TO (10700); ALTER TABLE short REPLICA IDENTITY FULL;
		INSERT INTO s VALUES (10600, 'short')};

	$offset = log_position($node);
	if ($removed =~ /^together (.*)/)
	{
		sql($node, "BEGIN; $make; $1; COMMIT");
		wait_until_applied($node);
	}
	else
	{
		pause_between_cycles();
		sql($node, $make);
		sql($node, $removed);
		sql($node, q{SELECT notify_stats.resume()});
		wait_until_applied($node);
	}
	is_exact($node, "$removed: exact", rollups => ['of_s']);
	is(rollup_states($node), "kept|live\nof_s|live\nslow|live", "$removed: states");
	# what is ignored are deletions
	is(sql($node, q{SELECT n > 0 FROM kept WHERE kind = 'short'}), 't', "$removed: counted where deletes are ignored");
	sql($node, q{DROP TABLE IF EXISTS short});
	rebuild_all();
}

# Made and filled in a transaction that has not ended when its changes are read.  ATTACH PARTITION
# lets the worker open the table, which CREATE TABLE does not.
my $built = built_at($node, 'of_s');
set_and_reload($node, synchronous_standby_names => 'nobody');
my $waiting = start_psql($node, q{
	BEGIN;
	CREATE TABLE waiting (LIKE s);
	ALTER TABLE waiting REPLICA IDENTITY FULL;
	ALTER TABLE s ATTACH PARTITION waiting FOR VALUES FROM (10700) TO (10800);
	INSERT INTO s VALUES (10700, 'waiting');
	COMMIT;
});
poll($node, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'});
# the worker, which is made to read it, waits for its end
is(sql($node, q{SELECT notify_stats.wait_for_lsn(pg_current_wal_lsn(), '1s', no_throw => true)}), 'f', 'not read before it has ended');
set_and_reload($node, synchronous_standby_names => '');
$waiting->finish;
wait_until_applied($node);
is_exact($node, 'read before its transaction has ended', rollups => ['of_s']);
is(built_at($node, 'of_s'), $built, 'and without a rebuild');

# ... and detached or dropped as soon as it has ended, before the worker looks at the catalogs again
sub remove_once_read
{
	my ($remove, $reader) = @_;
	my ($making, $removing);

	set_and_reload($node, synchronous_standby_names => 'nobody');
	$making = start_psql($node, q{
		BEGIN;
		CREATE TABLE brief (LIKE s);
		ALTER TABLE brief REPLICA IDENTITY FULL;
		ALTER TABLE s ATTACH PARTITION brief FOR VALUES FROM (10800) TO (10900);
		INSERT INTO s VALUES (10800, 'brief');
		COMMIT;
	});
	poll($node, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'});
	if ($reader eq 'worker')
	{
		sql($node, q{SET synchronous_commit = local; INSERT INTO other VALUES ('wakes')});
	}
	else
	{
		continue_from_stop($node);
	}
	# whoever reads the changes has the table open, and waits for the transaction
	poll($node, qq{SELECT count(*) > 0 FROM pg_stat_activity
		WHERE backend_type = 'notify_stats $reader' AND wait_event = 'transactionid'});
	$removing = start_psql($node, "BEGIN; LOCK TABLE s; $remove; COMMIT");
	poll($node, q{SELECT count(*) > 0 FROM pg_locks WHERE relation = 's'::regclass AND NOT granted});
	set_and_reload($node, synchronous_standby_names => '');
	$making->finish;
	is($removing->finish, '', "$reader, $remove: no error");
	wait_until_applied($node);
	is_exact($node, "$reader, $remove: exact", rollups => ['of_s']);
	sql($node, 'DROP TABLE IF EXISTS brief');
	rebuild_all();
	return;
}
remove_once_read($_, 'worker') foreach ('DROP TABLE brief', 'ALTER TABLE s DETACH PARTITION brief');

# ... while a build reads its own stream
$offset = log_position($node);
set_stop($node, 'build-filled');
sql($node, q{SELECT notify_stats.rebuild('of_s', from_scratch => true)});
wait_for_stop($node, 'build-filled', $offset);
# more than is left for the join
sql($node, q{SELECT pg_logical_emit_message(false, 'length', repeat('x', 2000000))});
remove_once_read('DROP TABLE brief', 'builder');
like(slurp_file($node->logfile, $offset), qr/cannot be decoded: a partition was added/, 'the build was restarted');

# ... while a rollup is resumed
set_and_reload($node, 'notify_stats.resumable_wal_window' => '64MB');
sql($node, q{ALTER TABLE of_s ADD CONSTRAINT refuses CHECK (kind <> 'refused') NOT VALID; INSERT INTO s VALUES (2, 'refused')});
wait_for_state($node, 'of_s', 'failed');
$offset = log_position($node);
set_stop($node, 'build-copied');
sql($node, q{ALTER TABLE of_s DROP CONSTRAINT refuses; SELECT notify_stats.rebuild('of_s')});
wait_for_stop($node, 'build-copied', $offset);
sql($node, q{SELECT pg_logical_emit_message(false, 'length', repeat('x', 2000000))});
remove_once_read('DROP TABLE brief', 'builder');
like(slurp_file($node->logfile, $offset), qr/notify_stats resumes rollup public\.of_s.*ERROR: +a partition was concurrently added/s,
	'what was resumed is undone');

# Waiting for it
$attach = make_table();
pause_between_cycles();
is(sql($node, q{SELECT notify_stats.wait_for_lsn('0/1', '0s')}), 't', 'reached long ago');
sql($node, $attach);
is(sql($node, q{SELECT notify_stats.wait_for_lsn('0/1', '0s', no_throw => true)}), 'f', 'reached long ago, but not with these rows');
sql($node, q{SELECT notify_stats.resume()});
is(sql($node, q{SELECT notify_stats.wait_for_lsn('0/1', '180s', 'of_s')}), 't', 'reached with them');
is_exact($node, 'after the wait', rollups => ['of_s']);

$node->stop;
done_testing();
