# 048_parallel.pl
#
# A large backlog is divided at places of the WAL where decoding can begin, and read by several
# processes.  The rollups must be as if one process had read it, whatever is in the backlog, and
# whichever process ends at whatever time.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('parallel', conf => q{
notify_stats.parallel_backlog = '256kB'
notify_stats.max_catch_up_workers = 3
checkpoint_timeout = 1h
autovacuum = off
});

sql($node, q{
	CREATE TYPE mood AS ENUM ('calm', 'cross');
	CREATE TABLE events (id int PRIMARY KEY, kind int NOT NULL, amount int, mood mood, long text);
	CREATE TABLE others (LIKE events INCLUDING ALL);
	CREATE TABLE root (id int, kind int NOT NULL) PARTITION BY LIST (kind);
	CREATE TABLE root_0 PARTITION OF root FOR VALUES IN (0);
	ALTER TABLE events REPLICA IDENTITY FULL;
	ALTER TABLE others REPLICA IDENTITY FULL;
	ALTER TABLE root_0 REPLICA IDENTITY FULL;
	CREATE SEQUENCE ids;
	CREATE SEQUENCE single START 1000000000;
});
create_rollup($node, 'by_kind', 'SELECT kind, count(*) AS n, sum(amount) AS amount, count(amount) AS amounts FROM events GROUP BY kind');
create_rollup($node, 'by_mood', q{SELECT mood, kind % 3 AS third, count(*) AS n FROM (SELECT mood, kind FROM events UNION ALL SELECT mood, kind FROM others) s GROUP BY 1, 2});
create_rollup($node, 'by_part', 'SELECT kind, count(*) AS n FROM root GROUP BY kind');
wait_until_applied($node);

# --- the backlog ----------------------------------------------------------------------

# Changes in transactions of a few rows, about 100 kB of WAL, and then a quiet point.
sub part
{
	my ($statements) = @_;
	my $first = sql($node, q{SELECT nextval('ids') * 1000});
	my $script = join '', map { my $id = $first + 3 * $_; qq{
		INSERT INTO events VALUES ($id, $_ % 7, nullif($_ % 5, 2), 'calm', repeat('x', 300)), ($id + 1, $_ % 4, 1, 'cross', NULL);
		BEGIN; INSERT INTO others VALUES ($id, $_ % 6, 1, 'calm'); UPDATE events SET kind = kind + 1, amount = 3 WHERE id = $id; COMMIT;
		DELETE FROM events WHERE id = $id + 1 AND $_ % 2 = 0;
		INSERT INTO root VALUES ($id, 0);
	} } 1 .. 60;

	$node->safe_psql('postgres', $script);
	$node->safe_psql('postgres', $statements) if defined $statements;
	sql($node, 'CHECKPOINT');
	return;
}

# A backlog with statements in the middle of it.
sub backlog
{
	my (@statements) = @_;

	part() for 1 .. 4;
	part($_) foreach @statements;
	part() for 1 .. 6;
	return;
}

# The same, while some transaction is always open, so that there is no place without any.  At each
# end of a part, there is a place from which a slot that has been there before would read only little.
my $overlap = 0;

sub busy_backlog
{
	my (@statements) = @_;

	foreach my $number (1 .. 10)
	{
		my $next = $overlap + 1;

		part($number > 4 ? $statements[ $number - 5 ] : undef);
		$node->safe_psql('postgres', "BEGIN; INSERT INTO others VALUES (nextval('single'), 1, 1, 'calm'); PREPARE TRANSACTION 'overlap_$next'")
			if $number < 10;
		$node->safe_psql('postgres', "UPDATE events SET amount = 7 WHERE id % 97 = 0; COMMIT PREPARED 'overlap_$overlap'")
			if $number > 1;
		sql($node, 'CHECKPOINT');
		$overlap = $next;
	}
	return;
}

# How often several processes were used since then.
sub divided
{
	my ($offset) = @_;
	return scalar(() = slurp_file($node->logfile, $offset) =~ /reads a backlog of \d+ MB with up to 3 processes/g);
}

sub nothing_is_left
{
	my ($title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	poll($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'notify_stats catch-up worker'});
	# the worker may look whether there is more to divide
	poll($node, q{SELECT count(*) = 0 FROM pg_replication_slots WHERE temporary});
	pass("$title: nothing is left");
	return;
}

# A backlog that the worker, or a session, reads; which rollups must be live at the end.
sub reads
{
	my ($title, $by, @statements) = @_;
	return reads_backlog($title, $by, \&backlog, @statements);
}

sub reads_backlog
{
	my ($title, $by, $make, @statements) = @_;
	my $offset;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	pause_stream($node);
	$make->(@statements);
	$offset = log_position($node);
	sql($node, 'CALL notify_stats.catch_up()') if $by eq 'session';
	resume_stream($node);
	is_exact($node, "$title, by the $by: exact");
	nothing_is_left($title);
	return divided($offset);
}

foreach my $by ('session', 'worker')
{
	is(reads('plain changes', $by) > 0, 1, "$by: several processes");
	is(slot_is_behind($node), '1', "$by: the slot is behind the position");
	poll($node, q{SELECT pg_wal_lsn_diff(applied_lsn, restart_lsn) < 1000000 FROM notify_stats.stream
		JOIN pg_replication_slots USING (slot_name)});
	pass("$by: and follows it");
	is(reads('DDL', $by,
			q{ALTER TYPE mood ADD VALUE IF NOT EXISTS 'glad'; INSERT INTO events VALUES (nextval('single'), 1, 1, 'glad')},
			q{ALTER TABLE events ADD COLUMN IF NOT EXISTS extra int DEFAULT 3; INSERT INTO events VALUES (nextval('single'), 2, 2, 'calm')},
			q{BEGIN; ALTER TABLE events DROP COLUMN extra; UPDATE events SET kind = 9 WHERE id % 50 = 0; COMMIT},
			q{VACUUM FULL events; UPDATE events SET kind = 8 WHERE id % 51 = 0}) > 0, 1, "$by: several processes in spite of DDL");
	is(reads('TRUNCATE', $by, q{TRUNCATE root}, q{INSERT INTO root VALUES (1, 0)}) > 0, 1, "$by: several processes around TRUNCATE");
	reads('TRUNCATE of one of several sources', $by, q{TRUNCATE others});
	reads('partitions', $by, q{CREATE TABLE IF NOT EXISTS root_1 PARTITION OF root FOR VALUES IN (1);
		ALTER TABLE root_1 REPLICA IDENTITY FULL; INSERT INTO root VALUES (1, 1)});
	# Between the first and the last CHECKPOINT, a process that began at the first would still build its
	# snapshot, and miss that the table has got another file.
	reads('a table that is rewritten while transactions run', $by,
		q{BEGIN; INSERT INTO others VALUES (nextval('single'), 1, 1, 'calm'); PREPARE TRANSACTION 'first'; CHECKPOINT;
			BEGIN; INSERT INTO others VALUES (nextval('single'), 1, 1, 'calm'); PREPARE TRANSACTION 'second';
			VACUUM FULL events; UPDATE events SET kind = 6 WHERE id % 49 = 0; COMMIT PREPARED 'first'; CHECKPOINT;
			INSERT INTO events SELECT nextval('single'), 2, 2, 'calm', repeat('y', 300) FROM generate_series(1, 500);
			COMMIT PREPARED 'second'; CHECKPOINT});
	is(reads_backlog('some transaction is always open', $by, \&busy_backlog) > 0, 1, "$by: several processes, without quiet places");
	is(reads_backlog('DDL while some transaction is always open', $by, \&busy_backlog,
			q{ALTER TABLE events ADD COLUMN IF NOT EXISTS extra int DEFAULT 3; INSERT INTO events VALUES (nextval('single'), 2, 2, 'calm')},
			q{VACUUM FULL events; UPDATE events SET kind = 5 WHERE id % 47 = 0},
			q{BEGIN; ALTER TABLE events DROP COLUMN extra; UPDATE events SET kind = 9 WHERE id % 50 = 0; COMMIT},
			q{TRUNCATE root}) > 0, 1, "$by: several processes, without quiet places, in spite of DDL");
	reads('prepared transactions', $by, q{BEGIN; INSERT INTO events VALUES (nextval('single'), 3, 1, 'calm'); PREPARE TRANSACTION 'p'},
		q{INSERT INTO events VALUES (nextval('single'), 3, 1, 'calm')}, q{COMMIT PREPARED 'p'});
}

# --- a transaction that is open everywhere: one process -------------------------------

pause_stream($node);
$node->safe_psql('postgres', q{BEGIN; INSERT INTO events VALUES (nextval('single'), 5, 1, 'calm'); PREPARE TRANSACTION 'open'});
backlog();
my $offset = log_position($node);
sql($node, 'CALL notify_stats.catch_up()');
is(divided($offset), 0, 'one process, while a transaction is open');
sql($node, q{COMMIT PREPARED 'open'});
resume_stream($node);
is_exact($node, 'an open transaction: exact');

# --- failures -------------------------------------------------------------------------

$offset = log_position($node);
reads('a rollup that fails', 'worker',
	q{ALTER TABLE by_kind ADD CONSTRAINT small CHECK (kind <> 77) NOT VALID; INSERT INTO events VALUES (nextval('single'), 77, 1, 'calm')});
is(state_of($node, 'by_kind'), 'failed', 'the rollup has failed');
is(state_of($node, 'by_mood') . state_of($node, 'by_part'), 'livelive', 'the others have not');
sql($node, 'ALTER TABLE by_kind DROP CONSTRAINT small');
sql($node, q{SELECT notify_stats.rebuild('by_kind')});
is_exact($node, 'and is repaired');

foreach my $point ('window-folded', 'window-applied')
{
	foreach my $end ('helper', 'leader', 'crash', 'server')
	{
		my $pid;

		pause_stream($node);
		backlog();
		set_stop($node, $point);
		$offset = log_position($node);
		resume_stream($node);
		wait_for_stop($node, $point, $offset);
		poll($node, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'notify_stats catch-up worker'});
		$pid = sql($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = '}
			. ($end eq 'leader' ? 'notify_stats worker' : 'notify_stats catch-up worker') . q{' LIMIT 1});
		unset_stop($node);
		if ($end eq 'server')
		{
			kill_server($node);
			start_again($node);
		}
		elsif ($end eq 'crash')
		{
			crash_restart($node, $pid);
		}
		else
		{
			sql($node, "SELECT pg_terminate_backend($pid)");
			continue_from_stop($node);
		}
		is_exact($node, "$end ends at $point: exact");
		nothing_is_left("$end ends at $point");
	}
}

done_testing();
