# 010_differential.pl
#
# The rollups against their definitions, with random input: sessions that run random transactions
# over several kinds of tables at the same time, while rollups are created, rebuilt, verified and
# dropped, processes are ended, and the server crashes.  After each round each rollup must equal
# its definition.
#
# In some rounds the stream is paused while the sessions run, so that several processes read what
# they have written (parallel.c).  It is divided where no transaction runs.  So the sessions are
# stopped between two transactions, by a lock, whenever the server is to log the running ones.
#
# A constraint makes some rollup fail for the time of a round, so that it is left behind and then
# resumed from the window of applied WAL; and the main slot is lost now and then.
#
# formats: all
#
#   NS_SEED     repeats a run: the same statements, if not at the same times (random)
#   NS_SECONDS  how long (60, or 20 for other formats than our own)
#   NS_ADOPTED  how many of a hundred rollups are tables that exist, with other columns (30)

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $format = format_name();
my $seed = $ENV{NS_SEED} || int(rand(2**31));
my $seconds = $ENV{NS_SECONDS} || ($format eq 'notify_stats' ? 60 : 20);
my $adopted = $ENV{NS_ADOPTED} // 30;
my $sessions = 4;
my $ids = 300;
# wal2json writes NaN as null, and so wants to know that there is none
my $finite = q{numeric CONSTRAINT finite CHECK (num > '-Infinity' AND num < 'Infinity')};

diag("NS_SEED=$seed");
srand($seed);

my $node = new_node('differential', conf => qq{
deadlock_timeout = 50ms
notify_stats.max_batch_wal = 512kB
notify_stats.max_catch_up_workers = 3
notify_stats.resumable_wal_window = 32MB
});

# --- tables and definitions -----------------------------------------------------------

sql($node, q{
	CREATE TYPE mood AS ENUM ('calm', 'cross', 'glad');
	CREATE DOMAIN tag AS text CHECK (length(value) < 20);
	-- with dropped columns
	CREATE TABLE a (gap1 int, id int PRIMARY KEY, gap2 text, kind int NOT NULL, label text, amount int,
		at timestamptz NOT NULL, flag boolean, long text, mood mood, num FINITE, tag tag);
	ALTER TABLE a DROP COLUMN gap1, DROP COLUMN gap2;
	-- the same columns under other numbers
	CREATE TABLE b (tag tag, num FINITE, flag boolean, long text, gap1 int, amount int, label text,
		mood mood, at timestamptz NOT NULL, kind int NOT NULL, id int PRIMARY KEY);
	ALTER TABLE b DROP COLUMN gap1;
	-- partitioned, with leaves in different orders, and a partitioned partition
	CREATE TABLE p (id int, kind int NOT NULL, label text, amount int, at timestamptz NOT NULL, flag boolean,
		long text, mood mood, num FINITE, tag tag, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
	CREATE TABLE p1 PARTITION OF p FOR VALUES IN (0, 1, 2);
	CREATE TABLE p2 (num FINITE, kind int NOT NULL, gap1 int, at timestamptz NOT NULL, tag tag, amount int,
		flag boolean, mood mood, long text, label text, id int NOT NULL, PRIMARY KEY (id, kind));
	ALTER TABLE p2 DROP COLUMN gap1;
	ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (3, 4);
	CREATE TABLE p3 PARTITION OF p DEFAULT PARTITION BY HASH (id);
	CREATE TABLE p30 PARTITION OF p3 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE p31 PARTITION OF p3 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	-- without a key, and with a name to be quoted
	CREATE TABLE "N n" (id int, kind int, label text, amount int, at timestamptz, flag boolean,
		long text, mood mood, num FINITE, tag tag);
	-- that no rollup reads; the second one becomes a partition of one that is read, and back
	CREATE TABLE u (LIKE a INCLUDING ALL);
	CREATE TABLE q (LIKE p) PARTITION BY LIST (kind);
	CREATE TABLE v (LIKE p, UNIQUE (id, kind));
	-- identified by an index
	CREATE TABLE k (id int NOT NULL, kind int NOT NULL, label text, amount int, at timestamptz NOT NULL,
		flag boolean, long text, mood mood, num FINITE, tag tag);
	CREATE UNIQUE INDEX k_index ON k (id, kind);
	ALTER TABLE k REPLICA IDENTITY USING INDEX k_index;
	DO $$ DECLARE t regclass; BEGIN
		FOREACH t IN ARRAY '{a, b, p1, p2, p30, p31, u, v, "\"N n\""}'::regclass[] LOOP
			EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', t);
		END LOOP;
	END $$;
} =~ s/FINITE/$finite/gr);

my @tables = ('a', 'b', 'p', '"N n"', 'k');
my @unread = ('u', 'v');
my @columns = ('id', 'kind', 'label', 'amount', 'at', 'flag', 'long', 'mood', 'num', 'tag');

my %definition = (
	kinds => 'SELECT kind, count(*) AS n FROM a GROUP BY kind',
	days => q{SELECT (at AT TIME ZONE 'Europe/London')::date AS day, mood, count(*) AS n,
			count(*) FILTER (WHERE flag) AS flagged, count(label) FILTER (WHERE amount > 2) AS labels
		FROM a WHERE kind <> 3 AND amount IS DISTINCT FROM 4 GROUP BY 1, 2},
	both => q{SELECT label, kind % 3 AS third, count(*) AS n, coalesce(sum(amount), 0) AS amount
		FROM (SELECT label, kind, amount, flag FROM a UNION ALL SELECT label, kind, amount, flag FROM b WHERE kind > 1) s
		WHERE flag IS NOT FALSE GROUP BY label, kind % 3},
	parts => q{SELECT kind, flag, count(*) AS n, sum(num) AS num, count(num) AS nums, count(tag) AS tags
		FROM p GROUP BY kind, flag},
	keyless => q{SELECT label, amount, count(*) AS "how many", count(label) AS labels,
			sum(num) FILTER (WHERE flag) AS num, count(num) FILTER (WHERE flag) AS nums
		FROM "N n" GROUP BY label, amount},
	all_of_them => q{SELECT upper(label) AS label, source, count(*) AS n, count(tag) AS tags
		FROM (SELECT label, 'a' AS source, tag FROM a UNION ALL SELECT label, 'b', tag FROM b
			UNION ALL SELECT label, 'p', tag FROM p UNION ALL SELECT label, tag, 'n' FROM "N n" WHERE amount > 1) s
		GROUP BY 1, 2},
	moving => 'SELECT kind, label, count(*) AS n FROM q GROUP BY kind, label',
	keys => 'SELECT kind, count(*) AS n, count(*) FILTER (WHERE id > 100) AS high FROM k WHERE kind < 6 GROUP BY kind',
	lengths => 'SELECT length(long) / 1000 AS kb, tag, count(*) AS n FROM b GROUP BY 1, 2',
	"arrays" => q{SELECT ARRAY[kind, amount] AS pair, CASE WHEN flag THEN mood END AS "Mood", count(*) AS n
		FROM p WHERE label <> 'l3' OR label IS NULL GROUP BY 1, 2});

my %exists;
my $serial = 0;

# A rollup with a definition; returns its name, which is unique.
sub create_one_of
{
	my ($name) = @_;
	my $rollup = $name . '_' . $serial++;

	# a part of them in tables that exist, with other columns and in another order
	if (random(100) < $adopted)
	{
		adopt_shuffled($node, $rollup, $definition{$name}, random(2**31));
	}
	else
	{
		create_rollup($node, $rollup, $definition{$name});
	}
	$exists{$rollup} = 1;
	return $rollup;
}

# --- random statements ----------------------------------------------------------------

# A value for a column, NULL now and then where it may be.
sub value
{
	my ($column, $table) = @_;

	return 1 + random($ids) if $column eq 'id';
	return random(8) if $column eq 'kind';
	return sprintf "'2026-%02d-28 %02d:30+00'", one_of(3, 10), random(24) if $column eq 'at';
	return 'NULL' if random(6) == 0;
	return "'l" . random(5) . "'" if $column eq 'label';
	return random(6) if $column eq 'amount';
	return one_of('true', 'false') if $column eq 'flag';
	# incompressible, so that it is stored out of line
	return "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, " . one_of(1, 3, 100, 200) . '))'
	  if $column eq 'long';
	return one_of("'calm'", "'cross'", "'glad'") if $column eq 'mood';
	return one_of('0.5', '1e10', '-3.25', '0', '12345678901234567890.123') if $column eq 'num';
	return one_of("'red'", "'green'", "'blue'");
}

sub insert_statement
{
	my ($table) = @_;
	my $rows = one_of(1, 1, 1, 2, 5, 30);
	my $statement = "INSERT INTO $table (" . join(', ', @columns) . ') VALUES '
	  . join(', ', map { '(' . join(', ', map { value($_, $table) } @columns) . ')' } 1 .. $rows);

	return $statement if $table eq '"N n"';
	return $statement . ' ON CONFLICT DO NOTHING' if random(2) == 0;
	return $statement if random(10) == 0;
	return 'INSERT INTO ' . $table . ' (' . join(', ', @columns) . ') VALUES ('
	  . join(', ', map { value($_, $table) } @columns) . ') ON CONFLICT '
	  . ($table =~ /^[abu]$/ ? '(id)' : '(id, kind)')
	  . ' DO UPDATE SET ' . assignments($table);
}

sub assignments
{
	my ($table) = @_;
	my %set;

	for (0 .. random(3))
	{
		my $column = $columns[ 1 + random($#columns) ];
		$set{$column} = value($column, $table);
	}
	return join ', ', map { "$_ = $set{$_}" } sort keys %set;
}

sub condition
{
	my $id = 1 + random($ids);
	return one_of("id = $id", "id = $id", "id BETWEEN $id AND $id + 10", 'kind = ' . random(8),
		"label = 'l" . random(5) . "' AND amount < 3", 'id % 10 = ' . random(10), 'mood IS NULL');
}

sub statement
{
	my $table = random(4) == 0 ? one_of(@unread) : one_of(@tables);
	my $other = one_of('a', 'b', 'u');
	my $what = random(100);
	my $columns = join ', ', @columns;

	return insert_statement($table) if $what < 45;
	return "UPDATE $table SET " . assignments($table) . ' WHERE ' . condition() if $what < 75;
	return "DELETE FROM $table WHERE " . condition() if $what < 88;
	# rows that move from table to table
	return "WITH gone AS (DELETE FROM $table WHERE " . condition() . " RETURNING $columns)"
	  . " INSERT INTO $other ($columns) SELECT $columns FROM gone WHERE at IS NOT NULL ON CONFLICT DO NOTHING"
	  if $what < 92 && $table ne $other;
	return "COPY $table ($columns) FROM STDIN;\n"
	  . join('', map { join("\t", $_ + $ids * 10 + random(1000), random(8), 'copied', 1, '2026-01-01', 't', 'x', 'glad', 1, 'red') . "\n" } 1 .. 3)
	  . '\\.'
	  if $what < 95;
	return 'TRUNCATE ' . one_of('a', 'b', 'p', 'p2', '"N n"', 'a, b', 'k', 'u', 'a, u') if $what < 96;
	return "INSERT INTO $table ($columns) SELECT i, i % 8, 'many', i % 3, '2026-05-05', i % 2 = 0, NULL, NULL, i, NULL"
	  . " FROM generate_series($ids * 20, $ids * 20 + " . one_of(10, 500) . ') i' . ($table eq '"N n"' ? '' : ' ON CONFLICT DO NOTHING')
	  if $what < 98;
	return "DELETE FROM $table";
}

# A transaction that makes a table that no rollup reads a partition of one that is read, or the
# reverse, and writes it before and after that.
sub move_table
{
	my $write = sub { return join '', map { insert_statement('v') . ";\n" } 0 .. random(2) };

	return "BEGIN;\n" . $write->() . one_of("ALTER TABLE q ATTACH PARTITION v DEFAULT;\n", "ALTER TABLE q DETACH PARTITION v;\n")
	  . $write->() . one_of("COMMIT;\n", "COMMIT;\n", "ROLLBACK;\n");
}

# The end of COPY's data ends the statement.
sub terminated
{
	my ($statement) = @_;
	return $statement =~ /^\\\.$/m ? "$statement\n" : "$statement;\n";
}

# A transaction of statements, with savepoints, and an end.
sub transaction
{
	my ($gid) = @_;
	my $script = '';
	my $end = random(100);

	return move_table() if random(60) == 0;
	return one_of("VACUUM FULL u;\n", "VACUUM FULL a;\n", "CLUSTER u USING u_pkey;\n") if random(60) == 0;
	return terminated(statement()) if random(3) == 0;
	$script = 'BEGIN' . one_of('', '', ' ISOLATION LEVEL REPEATABLE READ') . ";\n";
	for (0 .. random(5))
	{
		my $savepoint = random(4) == 0;

		$script .= "SAVEPOINT s;\n" if $savepoint;
		$script .= terminated(statement());
		$script .= one_of("ROLLBACK TO s;\n", "RELEASE s;\n", '') if $savepoint;
	}
	return $script . "ROLLBACK;\n" if $end < 15;
	return $script . "PREPARE TRANSACTION '$gid';\n" . one_of('COMMIT', 'COMMIT', 'ROLLBACK') . " PREPARED '$gid';\n"
	  if $end < 25;
	return $script . "COMMIT;\n";
}

# --- a backlog ------------------------------------------------------------------------

# A transaction during which no_transaction() waits.
sub at_gate
{
	my ($script) = @_;
	return "SELECT pg_advisory_lock_shared(1) \\g /dev/null\n${script}SELECT pg_advisory_unlock_all() \\g /dev/null\n";
}

# Logs the running transactions when the sessions have none, or perhaps some.
sub log_running
{
	sql($node, one_of('SELECT pg_advisory_lock(1);', 'SELECT pg_advisory_lock(1);', '') . 'CHECKPOINT');
	return;
}

# Logs them repeatedly, until the sessions have ended.
sub log_while_running
{
	my (@runs) = @_;

	# one that has just ended throws
	while (grep { $_->pumpable && eval { $_->pump_nb } } @runs)
	{
		log_running();
		select undef, undef, undef, 0.1;
	}
	log_running();
	return;
}

# Resumes the stream after a pause; some process may end while the backlog is read.
sub read_backlog
{
	my $offset = log_position($node);
	my $what = random(4);
	my $helpers = q{FROM pg_stat_activity WHERE backend_type = 'notify_stats catch-up worker'};

	resume_stream($node);
	for (1 .. 50)
	{
		last if slurp_file($node->logfile, $offset) =~ /reads a backlog/;
		select undef, undef, undef, 0.01;
	}
	select undef, undef, undef, rand(0.2);
	if ($what == 0)
	{
		my ($pid) = split /\n/, sql($node, "SELECT pid $helpers");
		crash_restart($node, $pid, 1) if defined $pid;
	}
	elsif ($what == 1)
	{
		sql($node, "SELECT pg_terminate_backend(pid) $helpers LIMIT 1");
	}
	elsif ($what == 2)
	{
		crash();
	}
	return;
}

# --- a round --------------------------------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir();

# Sessions that run random scripts at the same time; their errors (deadlocks, conflicts, the
# crash of the server) are theirs.
sub start_sessions
{
	my ($round, $transactions) = @_;
	my @runs;
	local %ENV = $node->_get_env(
		PGOPTIONS => '-c lock_timeout=500ms -c synchronous_commit=' . one_of('on', 'on', 'off'));

	foreach my $session (1 .. $sessions)
	{
		my $file = "$dir/$round.$session.sql";
		my $script = join '', map { at_gate(transaction("$round.$session.$_")) } 1 .. $transactions;

		append_to_file($file, $script);
		push @runs, IPC::Run::start(
			[ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-f', $file ],
			'<' => \undef, '>' => "$file.log", '2>&1');
	}
	return @runs;
}

# Expected errors: a deadlock with the sessions, a TRUNCATE during a build (40), a rollup
# that is stale because of one when it is verified (55000), or that cannot be written (23514).
sub attempt
{
	my ($round, $query) = @_;
	my ($status, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\n$query");

	fail("round $round: $query: $stderr") if $stderr =~ /(ERROR|FATAL):  (?!40|55000|23514)/;
	return $stdout;
}

# Operations on the rollups, during the load.
sub trouble_rollups
{
	my ($round) = @_;
	my $rollup = one_of(sort keys %exists);
	my $what = random(100);

	if ($what < 25)
	{
		create_one_of(one_of(sort keys %definition)) if keys %exists < 12;
	}
	elsif ($what < 50)
	{
		sql($node, "SELECT notify_stats.rebuild('$rollup')");
	}
	elsif ($what < 60)
	{
		return if keys %exists < 5;
		sql($node, one_of("SELECT notify_stats.drop_rollup('$rollup')", "DROP TABLE $rollup CASCADE"));
		delete $exists{$rollup};
	}
	elsif ($what < 90)
	{
		my $found = attempt($round, "SELECT * FROM notify_stats.verify('$rollup')");

		fail("round $round: verify('$rollup') under load finds $found") if $found ne '';
	}
	else
	{
		attempt($round, one_of('SELECT notify_stats.pause()', 'SELECT notify_stats.resume()', 'CHECKPOINT',
			'CALL notify_stats.catch_up()', 'ALTER TABLE a ADD COLUMN IF NOT EXISTS extra int DEFAULT 5; ALTER TABLE a DROP COLUMN extra'));
	}
	return;
}

# Makes a rollup fail with the next change of a group, until mend() is called.
sub break
{
	my ($rollup) = @_;

	sql($node, "ALTER TABLE $rollup ADD CONSTRAINT obstacle CHECK (n < 0) NOT VALID");
	return;
}

sub mend
{
	my ($rollup) = @_;

	return if !$exists{$rollup};
	sql($node, "ALTER TABLE $rollup DROP CONSTRAINT obstacle; SELECT notify_stats.rebuild('$rollup')");
	return;
}

sub crash
{
	my $what = random(100);

	if ($what < 20)
	{
		my $pid = worker_pid($node);
		crash_restart($node, $pid, 1) if $pid ne '';
	}
	elsif ($what < 40)
	{
		$node->stop('immediate');
		$node->start;
	}
	elsif ($what < 55)
	{
		kill_server($node);
		start_again($node);
	}
	elsif ($what < 65)
	{
		sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'notify_stats%'});
	}
	return;
}

create_one_of($_) foreach ('kinds', 'days', 'both', 'parts', 'keyless', 'all_of_them', 'keys', 'moving');
# without which the main slot could not be lost
wait_until_applied($node);
poll($node, q{SELECT window_lsn IS NOT NULL FROM notify_stats.status WHERE stream = 'main'});

my $end = time + $seconds;
my $round = 0;

while (time < $end && Test::More->builder->is_passing)
{
	my $with_backlog = ++$round % 2 == 1 && $format eq 'notify_stats';
	my $crash = random(2) == 0;
	my (@runs, @broken);

	# without a pause there is sometimes a small backlog as well
	set_and_reload($node, 'notify_stats.parallel_backlog' => $with_backlog ? '64kB' : one_of(0, '64kB'));
	pause_worker($node) if $with_backlog;
	drop_slot($node, main_slot($node)) if $with_backlog && random(4) == 0;
	# "keyless" has no column n
	@broken = random(2) == 0 ? one_of(grep { !/^keyless/ } sort keys %exists) : ();
	break($_) foreach @broken;
	@runs = start_sessions($round, $with_backlog ? one_of(60, 120) : one_of(5, 20, 60));
	trouble_rollups($round) for 0 .. random(4);
	log_while_running(@runs) if $with_backlog;
	if ($crash)
	{
		# with the sessions in flight, or after them
		if (random(2) == 0)
		{
			crash();
			$_->finish foreach @runs;
		}
		else
		{
			$_->finish foreach @runs;
			crash();
		}
	}
	else
	{
		$_->finish foreach @runs;
	}
	foreach my $gid (split /\n/, sql($node, 'SELECT gid FROM pg_prepared_xacts ORDER BY 1'))
	{
		sql($node, one_of('COMMIT', 'ROLLBACK') . " PREPARED '$gid'");
	}
	# when it has failed, and when perhaps it has not yet
	mend($_) foreach random(2) == 0 ? splice(@broken) : ();
	$with_backlog ? read_backlog() : resume_stream($node);
	sql($node, 'SELECT notify_stats.wait_for_lsn(no_throw => true)') if @broken;
	mend($_) foreach @broken;
	is_exact($node, "round $round: exact");
	is(sql($node, q{SELECT rollup, reason FROM notify_stats.rollups WHERE state <> 'live'}), '', "round $round: all are live");
	slot_is_behind($node, "round $round: the slot is not ahead");
	is_verified($node, one_of(sort keys %exists), "round $round: verify() finds nothing") if random(4) == 0;
}
# whatever the rounds were, a backlog that several processes surely read, ...
if ($format eq 'notify_stats')
{
	set_and_reload($node, 'notify_stats.parallel_backlog' => '64kB');
	pause_worker($node);
	sql($node, 'INSERT INTO a (id, kind, at) SELECT coalesce(max(id), 0) + i, i % 8, now() FROM a, generate_series(1, 500) i GROUP BY i; CHECKPOINT')
	  for 1 .. 20;
	resume_stream($node);
	is_exact($node, 'a backlog: exact');
}
# ... and a rollup that surely fails, and is resumed
my $last = create_one_of('kinds');
is_exact($node, 'before the last failure: exact');
break($last);
sql($node, 'INSERT INTO a (id, kind, at) SELECT coalesce(max(id), 0) + 1, 1, now() FROM a');
wait_for_state($node, $last, 'failed');
mend($last);
is_exact($node, 'resumed: exact');
like(slurp_file($node->logfile), qr/has been resumed/, 'some rollup was resumed');
no_build_slots($node, 'no slot is left');
unlike(slurp_file($node->logfile), qr/changes were lost/, 'no change was ever lost');
like(slurp_file($node->logfile), qr/reads a backlog of \d+ MB with up to [23] processes/, 'several processes have read a backlog')
  if $format eq 'notify_stats';
diag("repeat it by NS_SEED=$seed NS_SECONDS=" . ($seconds + 10)) if !Test::More->builder->is_passing;

done_testing();
