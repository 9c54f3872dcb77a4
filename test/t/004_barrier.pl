# 004_barrier.pl
#
# A commit is in the WAL before other sessions see it: between the two there is, among
# other things, the wait for a synchronous standby.  A build that starts in between must not
# lose it (in the WAL before the slot's position, and not yet visible to the snapshot), nor
# count it twice.  So a build waits until all transactions that have an xid have ended.  Here
# synchronous_standby_names lists no existing standby, so a commit is held until the test releases it.
#
# Without wait_for_transactions() in build.c this test fails.
#
# formats: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# our own transactions must not wait
$ENV{PGOPTIONS} = '-c synchronous_commit=local';

my $node = new_node('barrier');
my $next = 100;
my ($held, $xid, $offset);

sub hold_commits
{
	set_and_reload($node, synchronous_standby_names => 'nobody');
	return;
}

sub release_commits
{
	set_and_reload($node, synchronous_standby_names => undef);
	$held->finish;
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	  or die 'the commit is still held';
	return;
}

# A session that inserts a row, and hangs in its commit; returns its xid.
sub commit_held
{
	my ($kind) = @_;

	$next++;
	$held = start_psql($node, 'SET synchronous_commit = on', "INSERT INTO source VALUES ($next, '$kind')");
	poll($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
	is(sql($node, "SELECT count(*) FROM source WHERE kind = '$kind'"), '0', "$kind: not yet visible");
	return sql($node, "SELECT backend_xid FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
}

# How many of a kind a rollup has counted.
sub count_in
{
	my ($rollup, $kind) = @_;
	return sql($node, "SELECT coalesce(sum(n), 0) FROM $rollup WHERE kind = '$kind'");
}

my $by_kind = 'SELECT kind, count(*) AS n FROM source GROUP BY kind';

sql($node, q{
	CREATE TABLE source (id int PRIMARY KEY, kind text);
	ALTER TABLE source REPLICA IDENTITY FULL;
	INSERT INTO source SELECT i, 'old' FROM generate_series(1, 10) i;
});

# Before the slot exists: its creation waits for the transaction.
hold_commits();
$xid = commit_held('before the slot');
create_rollup($node, 'first', $by_kind);
poll($node, "SELECT state = 'creating slot' AND waits_for LIKE 'process %' FROM notify_stats.status WHERE stream = 'main'");
release_commits();
is_exact($node, 'a commit held before the slot: exact');
is(count_in('first', 'before the slot'), '1', 'a commit held before the slot: counted once');

# Before the slot is copied.  The main stream continues and counts the row for the
# first rollup, so that the slot is past it when it is copied once more.
hold_commits();
$xid = commit_held('before the copy');
sql($node, "INSERT INTO source VALUES (50, 'meanwhile')");
poll($node, "SELECT sum(n) = 1 FROM first WHERE kind = 'meanwhile'");
is(count_in('first', 'before the copy'), '1', 'the main stream does not wait for it');
poll($node, "SELECT confirmed_flush_lsn >= applied_lsn FROM pg_replication_slots JOIN notify_stats.stream USING (slot_name)");
create_rollup($node, 'second', $by_kind);
poll($node, "SELECT waits_for = 'transaction $xid' FROM notify_stats.status WHERE stream = 'build second'");
pass('the status names the transaction that the build waits for');
is(sql($node, "SELECT build_phase FROM notify_stats.rollups WHERE rollup = 'second'::regclass"),
	'waiting for transactions', 'and the rollup its phase');
is(sql($node, "SELECT notify_stats.wait_for_lsn(timeout => '200 ms', rollup => 'second', no_throw => true)"), 'f',
	'wait_for_lsn() waits for the build');
sql($node, "INSERT INTO source VALUES (51, 'meanwhile')");
poll($node, "SELECT sum(n) = 2 FROM first WHERE kind = 'meanwhile'");
pass('the main stream continues while a build waits');
release_commits();
is_exact($node, 'a commit held before the copy: exact');
is(count_in('second', 'before the copy'), '1', 'a commit held before the copy: counted once');

# The same for rebuild() and verify().
hold_commits();
$xid = commit_held('before rebuild');
sql($node, "INSERT INTO source VALUES (52, 'meanwhile')");
poll($node, "SELECT sum(n) = 3 FROM first WHERE kind = 'meanwhile'");
sql($node, "SELECT notify_stats.rebuild('first')");
poll($node, "SELECT waits_for = 'transaction $xid' FROM notify_stats.status WHERE stream = 'build first'");
my $verify = start_psql($node, "SELECT * FROM notify_stats.verify('second')");
poll($node, "SELECT waits_for = 'transaction $xid' FROM notify_stats.status WHERE stream = 'verify second'");
release_commits();
is($verify->finish, '', 'verify() waits for the transaction, and finds nothing');
is_exact($node, 'a commit held before rebuild(): exact');
is(count_in('first', 'before rebuild'), '1', 'a commit held before rebuild(): counted once');

# A transaction that begins after the barrier is not waited for.  Its commit is in the stream,
# and not in the snapshot, or the other way round.
foreach my $point ('build-snapshot', 'build-filled')
{
	$offset = log_position($node);
	set_stop($node, $point);
	sql($node, "SELECT notify_stats.rebuild('second')");
	wait_for_stop($node, $point, $offset);
	hold_commits();
	$xid = commit_held("at $point");
	continue_from_stop($node);
	wait_until_rebuilt($node, 'second');
	release_commits();
	is_exact($node, "a commit held at $point: exact");
	is(count_in('second', "at $point"), '1', "a commit held at $point: counted once");
}

# Prepared transactions are waited for as well.
sql($node, "BEGIN; INSERT INTO source VALUES (60, 'prepared'); PREPARE TRANSACTION 'waits'");
sql($node, "SELECT notify_stats.rebuild('second')");
poll($node, q{SELECT waits_for = 'prepared transaction ''waits''' FROM notify_stats.status WHERE stream = 'build second'});
my $locker = start_psql($node, "SET application_name = 'locker'", 'BEGIN; LOCK TABLE source IN ACCESS EXCLUSIVE MODE');
poll($node, q{SELECT notify_stats.blocked_by(pid) = 'prepared transaction ''waits''' FROM pg_stat_activity
	WHERE application_name = 'locker'});
sql($node, q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'locker'});
like($locker->finish, qr/canceling statement/, 'a prepared transaction that blocks is named');
sql($node, "COMMIT PREPARED 'waits'");
is_exact($node, 'a prepared transaction: exact');
is(count_in('second', 'prepared'), '1', 'a prepared transaction: counted once');

# Transactions of other databases are no business of ours, not even the newest of all.
sql($node, 'CREATE DATABASE elsewhere');
$node->safe_psql('elsewhere', 'CREATE TABLE t (i int)');
wait_until_applied($node);
my $elsewhere = $node->background_psql('elsewhere');
$elsewhere->query_safe('BEGIN; INSERT INTO t VALUES (1)');
is(sql_error($node, q{SET statement_timeout = '20s'; SELECT * FROM notify_stats.verify('first')}), 'no error: ',
	'verify() does not wait for the newest transaction of another database');
sql($node, "SELECT notify_stats.rebuild('second')");
is_exact($node, 'a rebuild does not wait for an older one');
$elsewhere->query_safe("PREPARE TRANSACTION 'elsewhere'");
is(sql_error($node, q{SET statement_timeout = '20s'; SELECT * FROM notify_stats.verify('first')}), 'no error: ',
	'verify() does not wait for a prepared one');
$elsewhere->query_safe("COMMIT PREPARED 'elsewhere'");
$elsewhere->quit;
no_build_slots($node, 'no slot is left');

done_testing();
