# 022_retention.pl
#
# Rows of a source with ignore_deletes remain counted when they are purged.  The oracle is a
# copy of the source that keeps all rows, maintained by a trigger.  Counts that a rebuild would lose
# are never lost without an explicit request: neither by rebuild(), nor by events that rebuild other rollups.

# formats: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

# what is read is counted, so there must be no commits of autovacuum
my $node = new_node('retention', conf => 'autovacuum = off');
my $native = format_name() eq 'notify_stats';
my $seed = $ENV{NS_SEED} // 20261122;
my $next = 1;

# Numbers of the same sequence on each machine.
sub pseudo_random
{
	$seed = ($seed * 1103515245 + 12345) % 2**31;
	return int($seed / 65536) % $_[0];
}

# Compares the rollups that ignore deletes with the copy that keeps all rows, and the other one.
sub is_kept
{
	my ($title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until_applied($node);
	is(sql($node, q{
		SELECT 'only in rollup', r FROM (TABLE of_history EXCEPT ALL TABLE of_copy) r
		UNION ALL SELECT 'missing', r FROM (TABLE of_copy EXCEPT ALL TABLE of_history) r}), '',
		"$title: purged rows are still counted");
	is(sql($node, q{
		SELECT 'only in rollup', r FROM (TABLE of_both EXCEPT ALL TABLE of_copies) r
		UNION ALL SELECT 'missing', r FROM (TABLE of_copies EXCEPT ALL TABLE of_both) r}), '',
		"$title: of one source, and not of the other");
	is_exact($node, "$title: other rollups are exact", rollups => ['of_what_is_left']);
	is_verified($node, 'of_history', "$title: verify() finds nothing");
	return;
}

# The history is partitioned if the format can distinguish moved rows from deleted ones.
sql($node, ($native ? q{
	CREATE TABLE history (id int NOT NULL, kind text NOT NULL, price int, day int NOT NULL) PARTITION BY RANGE (day);
	CREATE TABLE history1 PARTITION OF history FOR VALUES FROM (0) TO (10);
	CREATE TABLE history2 (LIKE history);
	ALTER TABLE history ATTACH PARTITION history2 FOR VALUES FROM (10) TO (20);
	CREATE TABLE history3 PARTITION OF history FOR VALUES FROM (20) TO (30) PARTITION BY LIST (kind);
	CREATE TABLE history3a PARTITION OF history3 FOR VALUES IN ('email');
	CREATE TABLE history3b PARTITION OF history3 DEFAULT;
	ALTER TABLE history1 REPLICA IDENTITY FULL;
	ALTER TABLE history2 REPLICA IDENTITY FULL;
	ALTER TABLE history3a REPLICA IDENTITY FULL;
	ALTER TABLE history3b REPLICA IDENTITY FULL;
} : q{
	CREATE TABLE history (id int NOT NULL, kind text NOT NULL, price int, day int NOT NULL);
	ALTER TABLE history REPLICA IDENTITY FULL;
}) . q{
	CREATE TABLE current (id int PRIMARY KEY, kind text NOT NULL);
	ALTER TABLE current REPLICA IDENTITY FULL;
	CREATE TABLE copy (id int PRIMARY KEY, kind text NOT NULL, price int, day int NOT NULL);
	CREATE FUNCTION keep_copy() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO copy VALUES (NEW.id, NEW.kind, NEW.price, NEW.day)
			ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, price = excluded.price, day = excluded.day;
		RETURN NULL;
	END $$;
	CREATE TRIGGER keep_copy AFTER INSERT OR UPDATE ON history FOR EACH ROW EXECUTE FUNCTION keep_copy();
	CREATE VIEW of_copy AS SELECT kind, count(*) AS n, count(price) AS priced, sum(price) AS total
		FROM copy GROUP BY kind;
	CREATE VIEW of_copies AS SELECT kind, count(*) AS n
		FROM (SELECT kind FROM current UNION ALL SELECT kind FROM copy) x GROUP BY kind;
	SELECT notify_stats.create_rollup('of_history',
		'SELECT kind, count(*) AS n, count(price) AS priced, sum(price) AS total FROM history GROUP BY kind', '{history}');
	SELECT notify_stats.create_rollup('of_both',
		'SELECT kind, count(*) AS n FROM (SELECT kind FROM current UNION ALL SELECT kind FROM public.history) x GROUP BY kind',
		ignore_deletes => '{public.history}');
	SELECT notify_stats.create_rollup('of_what_is_left', 'SELECT kind, count(*) AS n FROM history GROUP BY kind');
});

# rows purged before a rollup is first filled were never counted
wait_until_applied($node);

my @kinds = ('email', 'sms', 'letter');
my @actions = (
	sub { my $n = 1 + pseudo_random(20); $next += $n;
		  return "INSERT INTO history SELECT i, (ARRAY['email', 'sms', 'letter'])[1 + i % 3], nullif(i % 7, 0), i * 7 % 30
			FROM generate_series($next - $n, $next - 1) i" },
	sub { my $n = 1 + pseudo_random(5); return "INSERT INTO current SELECT i, '$kinds[pseudo_random(3)]' FROM generate_series(1, $n) i ON CONFLICT (id) DO UPDATE SET kind = excluded.kind" },
	sub { 'UPDATE history SET day = (day + ' . (1 + pseudo_random(20)) . ') % 30 WHERE id % 5 = ' . pseudo_random(5) },
	sub { "UPDATE history SET kind = '$kinds[pseudo_random(3)]', price = price + 1 WHERE id % 7 = " . pseudo_random(7) },
	sub { 'UPDATE history SET price = NULL WHERE id % 11 = ' . pseudo_random(11) },
	sub { 'DELETE FROM history WHERE id % 9 = ' . pseudo_random(9) },
	sub { 'DELETE FROM current WHERE id % 2 = ' . pseudo_random(2) },
	# moves of rows, and changes that look like moves
	sub { 'WITH gone AS (DELETE FROM history WHERE id % 13 = ' . pseudo_random(13) . ' RETURNING *)
			INSERT INTO history SELECT id, kind, price, (day + 10) % 30 FROM gone' },
	sub { 'BEGIN; SAVEPOINT s; UPDATE history SET day = 29 - day; ROLLBACK TO s; UPDATE history SET day = 29 - day WHERE id % 3 = 0;
			DELETE FROM history WHERE day = ' . pseudo_random(30) . '; COMMIT' },
	# version 1 of wal2json does not write it, so the rollups would fail
	sub { format_name() eq 'wal2json1' ? 'DELETE FROM history' : 'TRUNCATE ' . ($native ? ('history1', 'history2', 'history3', 'history3a')[pseudo_random(4)] : 'history') },
);

# A row that is purged and inserted again is two rows, of which the copy would hold one.
sub forbid_second_life
{
	my ($statement) = @_;
	return $statement =~ s/SELECT id, kind, price, \(day \+ 10\) % 30 FROM gone/SELECT id + 1000000 * (1 + @{[ $next++ ]}), kind, price, (day + 10) % 30 FROM gone WHERE id < 1000000/r;
}

foreach my $round (1 .. 12)
{
	sql($node, join ";\n", map { forbid_second_life($actions[pseudo_random(scalar @actions)]->()) } 1 .. 8);
	if ($round % 4 == 0)
	{
		$node->stop('immediate');
		$node->start;
	}
	is_kept("round $round") if $round % 3 == 0;
}

if ($native)
{
	my $built = sql($node, 'SELECT max(built_at) FROM notify_stats.rollups WHERE rollup <> $$of_what_is_left$$::regclass');

	sql($node, 'INSERT INTO history VALUES (-1, $$email$$, 1, 5), (-2, $$sms$$, 2, 15), (-3, $$sms$$, 3, 25)');
	sql($node, 'DROP TABLE history1');
	is_kept('a partition dropped');
	sql($node, 'ALTER TABLE history DETACH PARTITION history2');
	sql($node, 'UPDATE history2 SET price = price + 100; DELETE FROM history2 WHERE id % 2 = 0');
	sql($node, 'CREATE TABLE history1 PARTITION OF history FOR VALUES FROM (0) TO (20)');
	sql($node, 'ALTER TABLE history1 REPLICA IDENTITY FULL');
	sql($node, 'INSERT INTO history VALUES (-4, $$letter$$, 1, 5)');
	is_kept('a partition detached, and another in its place');
	is(sql($node, 'SELECT max(built_at) FROM notify_stats.rollups WHERE rollup <> $$of_what_is_left$$::regclass'), $built,
		'they were not rebuilt');

	# An error leaves no file of the WAL open.  The shell is a child of the session's process.
	pause_stream($node);
	sql($node, q{
		CREATE TABLE open_files (line text);
		SELECT notify_stats.create_rollup('ratio', 'SELECT 100 / (id + 5) AS ratio, count(*) AS n FROM history GROUP BY 1', '{history}');
		CALL notify_stats.catch_up();
		UPDATE history SET day = 22 WHERE id = -4;
		INSERT INTO history VALUES (-5, 'sms', 1, 9)});
	my ($status, $stdout, $stderr) = $node->psql('postgres', q{
		CALL notify_stats.catch_up();
		COPY open_files FROM PROGRAM 'cd /proc/$PPID/fd; for file in *; do case $(readlink $file) in */pg_wal/*) grep -h "^flags:.*0$" ../fdinfo/$file; esac; done; true' (FORMAT csv);
		SELECT count(*) FROM open_files}, on_error_stop => 0);
	like($stderr, qr/division by zero/, 'an error after a moved row was read');
	is($stdout, '0', 'leaves no file of the WAL open');
	sql($node, q{SELECT notify_stats.drop_rollup('ratio'); SELECT notify_stats.resume(); DROP TABLE open_files});
	is_kept('after that');
}

# The slots of other formats are read from the oldest open transaction, but only if there are commits.
if (!$native)
{
	my $from = $next;

	$next += 7000;
	set_and_reload($node, 'notify_stats.max_cpu_percent' => 100, wal_writer_delay => '10ms');
	my ($status, $stdout, $stderr) = $node->psql('postgres', qq{DO \$\$
		DECLARE
			before bigint;
		BEGIN
			INSERT INTO history SELECT i, 'email', 1, 1 FROM generate_series($from, $from + 6000) i;
			before := sum(spill_txns) FROM pg_stat_replication_slots;
			FOR i IN 6001 .. 6040 LOOP
				INSERT INTO history VALUES ($from + i, 'email', 1, 1);
				PERFORM pg_sleep(0.05);
			END LOOP;
			PERFORM pg_stat_clear_snapshot();
			RAISE NOTICE 'read % times', sum(spill_txns) - before FROM pg_stat_replication_slots;
		END \$\$});
	like($stderr, qr/read [0-3] times/, 'an open transaction is not read again and again');
	set_and_reload($node, 'notify_stats.max_cpu_percent' => undef, wal_writer_delay => undef);
	is_kept('a long transaction');
}

# Differences that verify() can see: too few rows; and other sums of as many rows.
sql($node, q{DELETE FROM history WHERE kind <> 'email'; INSERT INTO history VALUES (-10, 'email', 10, 21), (-11, 'new kind', 11, 21)});
is_kept('before it is damaged');
foreach my $damage (
	[ q{UPDATE of_history SET n = 0 WHERE kind = 'new kind'}, 1 ],
	[ q{DELETE FROM of_history WHERE kind = 'new kind'}, 1 ],
	[ q{UPDATE of_history SET total = total + 1 WHERE kind = 'new kind'}, 1 ],
	[ q{UPDATE of_history SET priced = 0 WHERE kind = 'new kind'}, 1 ],
	[ q{UPDATE of_history SET n = n + 1 WHERE kind = 'letter'}, 0 ])
{
	my ($statement, $found) = @$damage;
	is(sql($node, "CREATE TABLE saved AS TABLE of_history; $statement; SELECT count(*) FROM notify_stats.verify('of_history')"), $found,
		"$statement: " . ($found ? 'found' : 'could be purged rows'));
	sql($node, 'BEGIN; DELETE FROM of_history; INSERT INTO of_history TABLE saved; COMMIT; DROP TABLE saved');
}
like(($node->psql('postgres', q{SELECT notify_stats.verify('of_history')}))[2],
	qr/NOTICE: .*still counts rows that were deleted from "history"/, 'verify() says what it cannot tell');
is_kept('after it was damaged and put right');

# A rebuild requires consent to its losses.
my $error = sql_error($node, q{SELECT notify_stats.rebuild('of_history')});
like($error, qr/55000: cannot rebuild rollup public\.of_history without forgetting deleted rows/, 'rebuild() is refused');
like($error, qr/rebuild\('public\.of_history', forget_deleted => true\)/, 'and says how to do it all the same');
is_kept('after a refused rebuild');

# Events that rebuild other rollups make these fail, and their rows remain.
sub is_frozen
{
	my ($rollup, $reason, $title) = @_;
	my $before = sql($node, "SELECT count(*), sum(n) FROM $rollup");
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	sql($node, q{DELETE FROM current; INSERT INTO history VALUES (-20, 'email', 1, 22); DELETE FROM history WHERE id = -20});
	wait_until_applied($node);
	is(state_of($node, $rollup), 'failed', "$title: failed");
	like(sql($node, "SELECT reason FROM notify_stats.rollups WHERE rollup = '$rollup'::regclass"), $reason, "$title: with the reason");
	is(sql($node, "SELECT count(*), sum(n) FROM $rollup"), $before, "$title: its rows remain");
	like(complaints($node, 'rollup', 'hint'), qr/forget_deleted => true/,
		"$title: check() has the call for a rebuild");
	sql($node, "SELECT notify_stats.rebuild('$rollup', forget_deleted => true)");
	is_exact($node, "$title: equal to its definition after a rebuild that forgets", rollups => [$rollup]);
	return;
}

sql($node, q{CREATE OR REPLACE VIEW of_both_definition AS SELECT kind, count(*) AS n FROM
	(SELECT kind FROM current UNION ALL SELECT kind FROM history WHERE kind <> 'sms') x GROUP BY kind});
is_frozen('of_both', qr/the definition was replaced/, 'a definition replaced');
is(state_of($node, 'of_history'), 'live', 'the other rollup is not concerned');
sql($node, 'SELECT notify_stats.pause()');
poll($node, q{SELECT NOT active FROM pg_replication_slots});
sql($node, q{INSERT INTO history VALUES (-30, 'email', 1, 22)});
drop_slot($node, main_slot($node));
resume_stream($node);
$node->wait_for_log(qr/changes were lost: the replication slot is missing/);
is_frozen('of_history', qr/changes were lost/, 'a lost slot');
is(state_of($node, 'of_what_is_left'), 'live', 'a rollup without ignore_deletes is rebuilt by itself');

done_testing();
