# 003_build_load.pl
#
# A rollup is created, rebuilt and verified while eight clients write.  The result must be
# exact, must not block anybody, and must leave no slot behind, even if the build is killed
# before its end; then it is started again automatically.
#
# versions: all
# takes long

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @build_points = ('build-copied', 'build-snapshot', 'build-filled', 'build-joined');
my $node = new_node('build');

# Three kinds of sources: one with dropped columns, one with other column numbers, and a
# partitioned one, whose leaves have their columns in different orders.
sql($node, q{
	CREATE TABLE plain (gap int, id bigint PRIMARY KEY, gap2 text, kind int, amount int, note text);
	ALTER TABLE plain DROP COLUMN gap, DROP COLUMN gap2;
	CREATE TABLE other (amount int, kind int, id bigint PRIMARY KEY);
	CREATE TABLE parted (id bigint, kind int, amount int, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
	CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0, 1);
	CREATE TABLE parted_1 (amount int, gap int, kind int NOT NULL, id bigint NOT NULL, PRIMARY KEY (id, kind));
	ALTER TABLE parted_1 DROP COLUMN gap;
	ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES IN (2, 3);
	CREATE TABLE parted_2 PARTITION OF parted DEFAULT;
	ALTER TABLE plain REPLICA IDENTITY FULL;
	ALTER TABLE other REPLICA IDENTITY FULL;
	ALTER TABLE parted_0 REPLICA IDENTITY FULL;
	ALTER TABLE parted_1 REPLICA IDENTITY FULL;
	ALTER TABLE parted_2 REPLICA IDENTITY FULL;
	ALTER TABLE parted REPLICA IDENTITY FULL;
	INSERT INTO plain SELECT i, i % 50, i % 7, repeat('x', 100) FROM generate_series(1, 20000) i;
	INSERT INTO other SELECT i % 7, i % 50, i FROM generate_series(1, 5000) i;
	INSERT INTO parted SELECT i, i % 8, i % 7 FROM generate_series(1, 5000) i;
});

my %definition = (
	sums => q{
		SELECT kind, count(*) AS n, sum(amount) AS amount, count(amount) AS amounts
		FROM (SELECT kind, amount FROM plain UNION ALL SELECT kind, amount FROM other) s
		GROUP BY kind},
	parts => q{
		SELECT kind % 5 AS fifth, count(*) AS n, count(amount) FILTER (WHERE amount > 3) AS large
		FROM parted WHERE kind <> 7 GROUP BY 1});

# --- under load -----------------------------------------------------------------------

my %script = (
	'insert' => q{
\set id random(1, 1000000000)
\set kind random(0, 60)
INSERT INTO plain VALUES (:id, :kind, :kind % 7, 'inserted') ON CONFLICT (id) DO UPDATE SET kind = excluded.kind;
INSERT INTO parted VALUES (:id, :kind % 8, 1) ON CONFLICT DO NOTHING;
},
	'update' => q{
\set id random(1, 20000)
\set kind random(0, 60)
BEGIN;
UPDATE plain SET kind = :kind WHERE id = :id;
UPDATE plain SET note = 'noted' WHERE id = :id + 1;
UPDATE other SET kind = :kind, amount = amount + 1 WHERE id = :id;
COMMIT;
UPDATE parted SET kind = :kind % 9 WHERE id = :id;
},
	'delete' => q{
\set id random(1, 20000)
DELETE FROM plain WHERE id = :id;
DELETE FROM other WHERE id = :id + 1;
DELETE FROM parted WHERE id = :id + 2;
INSERT INTO plain VALUES (:id, 1, 1, 'again') ON CONFLICT DO NOTHING;
},
	'move' => q{
\set id random(1, 20000)
BEGIN;
WITH gone AS (DELETE FROM plain WHERE id BETWEEN :id AND :id + 5 RETURNING id, kind, amount)
INSERT INTO other SELECT amount, kind, id FROM gone ON CONFLICT DO NOTHING;
SAVEPOINT s;
UPDATE parted SET amount = NULL WHERE id BETWEEN :id AND :id + 20;
ROLLBACK TO s;
UPDATE parted SET amount = coalesce(amount, 0) + 1 WHERE id = :id;
COMMIT;
},
	'rollback' => q{
\set id random(1, 20000)
BEGIN;
DELETE FROM plain WHERE id BETWEEN :id AND :id + 10;
INSERT INTO other SELECT 1, 1, random() * 1e15 FROM generate_series(1, 20);
ROLLBACK;
});

sub start_writers
{
	my ($seconds) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my @files;
	my $load = { log => "$dir/output" };
	local %ENV = $node->_get_env();

	foreach my $name (sort keys %script)
	{
		append_to_file("$dir/$name.sql", $script{$name});
		push @files, '-f', "$dir/$name.sql";
	}
	$load->{pid} = fork;
	die "fork: $!" if !defined $load->{pid};
	if ($load->{pid} == 0)
	{
		open STDOUT, '>', $load->{log} or die;
		open STDERR, '>&', \*STDOUT or die;
		# a rate that leaves the machine some time for the test itself
		exec 'pgbench', '-n', '-c', '8', '-j', '1', '-T', $seconds, '-R', '600', '--max-tries=10',
			@files, $node->connstr('postgres');
		die "exec: $!";
	}
	return $load;
}

sub load_runs
{
	my ($load) = @_;
	return waitpid($load->{pid}, WNOHANG) == 0;
}

my $load = start_writers(12);
my ($builds, $verifications, $different) = (0, 0, '');
poll($node, q{SELECT EXISTS (SELECT FROM plain WHERE note = 'noted')});
create_rollup($node, 'sums', $definition{sums});
create_rollup($node, 'parts', $definition{parts});
while (load_runs($load))
{
	foreach my $rollup ('sums', 'parts')
	{
		wait_until_applied($node);
		$different .= sql($node, "SELECT * FROM notify_stats.verify('$rollup')");
		$verifications++;
		sql($node, "SELECT notify_stats.rebuild('$rollup')");
		wait_until_rebuilt($node, $rollup);
		$different .= sql($node, "SELECT * FROM notify_stats.verify('$rollup')");
		$verifications++;
		$builds++;
	}
	next if $builds > 30;
	create_rollup($node, "new_$builds", $definition{sums});
	create_rollup($node, "new_parts_$builds", $definition{parts});
	$builds += 2;
}
unlike(slurp_file($load->{log}), qr/ERROR|FATAL/, 'no client met an error');
is($different, '', "each of $verifications verifications under load finds nothing");
is_exact($node, "$builds builds under load: exact");
no_build_slots($node, 'builds leave no slot behind');
# Only messages of our processes: writers that deadlock try again, and autovacuum may be cancelled by
# whoever needs a lock.
is(join("\n", slurp_file($node->logfile) =~ /^.*\] notify_stats [a-z -]+ (?:ERROR|FATAL): .*(?:\n.* (?:DETAIL|HINT|CONTEXT): .*)*/mg), '', 'no build was restarted');
sql($node, q{
	SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollup WHERE rollup::text LIKE 'new%';
	CHECKPOINT;
});

# --- no blocking ---------------------------------------------------------------------

my $id = 2_000_000_000;

# The usual statements, none of which may wait for a lock that we hold.
sub write_without_waiting
{
	$id += 10;
	my ($status, $stdout, $stderr) = $node->psql('postgres', qq{
		SET lock_timeout = '1s';
		INSERT INTO plain VALUES ($id, 1, 1), ($id + 1, 2, 2);
		UPDATE plain SET kind = 3 WHERE id = $id;
		DELETE FROM plain WHERE id = $id + 1;
		INSERT INTO other SELECT i, 1, $id + i FROM generate_series(1, 3) i;
		UPDATE other SET kind = kind + 1 WHERE id > $id;
		BEGIN; DELETE FROM other WHERE id < 100; ROLLBACK;
		INSERT INTO parted VALUES ($id, 1, 1), ($id, 2, 2), ($id, 5, 5);
		UPDATE parted SET kind = 4 WHERE id = $id AND kind = 5;
		DELETE FROM parted WHERE id = $id AND kind = 1;
		SELECT FROM plain WHERE id < 100 FOR UPDATE;
	}, on_error_stop => 1);
	return $stderr;
}

my $readable = 'SELECT sum(n) > 1000 FROM sums';
foreach my $point (@build_points)
{
	my $offset = log_position($node);
	my $verify;

	set_stop($node, $point);
	sql($node, "SELECT notify_stats.rebuild('sums')");
	wait_for_stop($node, $point, $offset);
	is(write_without_waiting(), '', "writers do not wait for a rebuild at $point");
	is(sql($node, "SET lock_timeout = '1s'; $readable"), 't', "readers of the rollup do not wait at $point");
	continue_from_stop($node);
	wait_until_rebuilt($node, 'sums');

	$offset = log_position($node);
	set_stop($node, $point);
	$verify = start_psql($node, "SELECT * FROM notify_stats.verify('parts')");
	wait_for_stop($node, $point, $offset);
	is(write_without_waiting(), '', "writers do not wait for verify() at $point");
	continue_from_stop($node);
	is($verify->finish, '', "verify() finds nothing after it");

	$offset = log_position($node);
	set_stop($node, $point);
	create_rollup($node, "new_$point" =~ s/-/_/gr, $definition{sums});
	wait_for_stop($node, $point, $offset);
	is(write_without_waiting(), '', "writers do not wait for a first build at $point");
	continue_from_stop($node);
	is_exact($node, "all are exact after $point");
}

# --- a transaction that stays open ----------------------------------------------

# The slot is read from its start each time.  So windows grow, and the total that is read is small.
set_and_reload($node, 'notify_stats.max_batch_wal' => '64kB', log_min_messages => 'debug1');
my $offset = log_position($node);
set_stop($node, 'build-filled');
sql($node, "SELECT notify_stats.rebuild('sums')");
wait_for_stop($node, 'build-filled', $offset);
my $open = start_psql($node, 'BEGIN', 'INSERT INTO plain VALUES (1999999999, 1, 1)', 'SELECT pg_sleep(1000)');
poll($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'});
sql($node, q{INSERT INTO plain SELECT i, i % 50, 1, repeat('x', 300) FROM generate_series(1999900001, 1999908000) i});
continue_from_stop($node);
wait_until_rebuilt($node, 'sums');
sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'});
$open->finish;
my ($first, $last, $read, $windows) = (undef, 0, 0, 0);
my $log = slurp_file($node->logfile, $offset);
while ($log =~ m{build stream was read from (\w+)/(\w+) up to (\w+)/(\w+)}g)
{
	my $from = (hex($1) << 32) + hex $2;

	$first //= $from;
	$last = (hex($3) << 32) + hex $4;
	$read += $last - $from;
	$windows++;
}
cmp_ok($windows, '>', 1, 'a build during an open transaction reads several windows');
cmp_ok($read, '<', 4 * ($last - $first), 'and reads no more than a few times the WAL');
set_and_reload($node, 'notify_stats.max_batch_wal' => undef, log_min_messages => undef);
is_exact($node, 'exact after it');

# --- killed before the end ------------------------------------------------------------------

my %kill = (
	'kill -9' => sub {
		crash_restart($node, builder_pid($node));
		$node->reload;
	},
	'pg_terminate_backend()' => sub {
		my $pid = builder_pid($node);
		sql($node, "SELECT pg_terminate_backend($pid)");
		poll($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
		$node->reload;
	},
	'immediate shutdown' => sub {
		$node->stop('immediate');
		$node->start;
	});
my $n = 0;

foreach my $point (@build_points)
{
	foreach my $how (sort keys %kill)
	{
		my $offset = log_position($node);
		my $rollup = 'killed_' . $n++;

		set_stop($node, $point);
		# a first build, or the second one of a rollup that is read already
		if ($n % 2 > 0)
		{
			create_rollup($node, $rollup, $definition{parts});
		}
		else
		{
			sql($node, "SELECT notify_stats.rebuild('sums')");
		}
		wait_for_stop($node, $point, $offset);
		write_without_waiting();
		unset_stop($node);
		$kill{$how}->();
		write_without_waiting();
		is_exact($node, "$how at $point: the build starts again, and is exact");
		no_build_slots($node, "$how at $point: no slot is left");
	}
}

# verify() killed: the session gets an error, and nothing remains.
$offset = log_position($node);
set_stop($node, 'build-filled');
my $verify = start_psql($node, "SELECT * FROM notify_stats.verify('parts')");
wait_for_stop($node, 'build-filled', $offset);
unset_stop($node);
sql($node, 'SELECT pg_terminate_backend(' . builder_pid($node) . ')');
like($verify->finish, qr/ERROR|FATAL/, 'verify() fails if its process is terminated');
$node->reload;
no_build_slots($node, 'a verification that was terminated leaves no slot');

# Conversely: the session is cancelled, and its builder ends.
$offset = log_position($node);
set_stop($node, 'build-filled');
$verify = start_psql($node, "SELECT * FROM notify_stats.verify('parts')");
wait_for_stop($node, 'build-filled', $offset);
sql($node, q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%verify(%' AND pid <> pg_backend_pid()});
like($verify->finish, qr/canceling statement/, 'verify() can be cancelled');
no_build_slots($node, 'a verification that was cancelled leaves no slot');
continue_from_stop($node);
is_verified($node, 'parts', 'verify() works again');

# The session that runs verify() is terminated: its builder ends as well.
$offset = log_position($node);
set_stop($node, 'build-filled');
$verify = start_psql($node, "SELECT * FROM notify_stats.verify('parts')");
wait_for_stop($node, 'build-filled', $offset);
sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%verify(%' AND pid <> pg_backend_pid()});
like($verify->finish, qr/terminating connection/, 'a session that verifies can be terminated');
wait_for_builder_gone($node);
no_build_slots($node, 'a terminated session leaves no slot');

# A column that is renamed during verify() is an error of verify(), not of the rollup.
$offset = log_position($node);
$verify = start_psql($node, "SELECT * FROM notify_stats.verify('sums')");
wait_for_stop($node, 'build-filled', $offset);
sql($node, 'ALTER TABLE sums RENAME COLUMN n TO number');
write_without_waiting();
continue_from_stop($node);
like($verify->finish, qr/concurrently dropped or changed/, 'verify() says that the rollup was changed');
sql($node, 'ALTER TABLE sums RENAME COLUMN number TO n');
is_exact($node, 'a rollup whose column was renamed, and back');
is(state_of($node, 'sums'), 'live', 'it has been live throughout');

# A lock of the session itself does not block its verify().  Then parallel plans, and waiters
# that look for deadlocks, must not conflict.
set_and_reload($node, min_parallel_table_scan_size => 0, parallel_setup_cost => 0, parallel_tuple_cost => 0,
	deadlock_timeout => '10ms');
is(sql($node, q{BEGIN; LOCK TABLE sums IN SHARE MODE; SET statement_timeout = '60s';
	SELECT count(*) FROM notify_stats.verify('sums'); COMMIT}), '0', 'verify() in a transaction that has locked the rollup');

# The definition is replaced after it was run: its result is out of date.
$offset = log_position($node);
set_stop($node, 'build-filled');
sql($node, "SELECT notify_stats.rebuild('sums')");
wait_for_stop($node, 'build-filled', $offset);
sql($node, 'CREATE OR REPLACE VIEW sums_definition AS '
	  . $definition{sums} =~ s/GROUP BY kind/WHERE kind > 10 GROUP BY kind/r);
continue_from_stop($node);
wait_until_rebuilt($node, 'sums');
is_exact($node, 'a definition that is replaced during a rebuild');
is_verified($node, 'sums', 'verify() finds no difference');

# An open slot is reopened when other columns are needed, which requires the list of allowed plugins.
unlike(slurp_file($node->logfile), qr/may not be used as an output plugin/, 'our plugin was never refused');

done_testing();
