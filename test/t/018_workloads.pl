# 018_workloads.pl
#
# Difficult cases of logical decoding, with rollups: transactions of all shapes
# (subtransactions that abort, exceptions, two phases, chains, spills), rows of all shapes
# (out-of-line, wide, moved, merged, speculative), tables whose definition changes in between, and
# transactions that see one another's DDL.  After each the rollups equal their definitions.
#
# Each runs twice: while the worker reads concurrently, and while it is paused, so that all is read
# at once, with the catalogs as they are at the end.  Slots of our own plugin need no rebuild for it,
# unless a workload says otherwise; other formats may, and must then be exact nevertheless.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use lib $FindBin::Bin;
use Formats qw($create_wrong);
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $format = format_name();
my $node = new_node('workloads', conf => q{
notify_stats.max_cpu_percent = 100
max_slot_wal_keep_size = 2GB
});
my $version = $node->pg_version->major;
my $serial = 0;
my ($schema, @sessions);

# --- sessions -------------------------------------------------------------------------

# A session of the current workload that runs concurrently with others.
sub open_session
{
	my $session = { in => '', out => '' };
	local %ENV = $node->_get_env(PGOPTIONS => "-c search_path=$schema");

	$session->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$session->{in}, '>', \$session->{out}, '2>&1',
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	push @sessions, $session;
	return $session;
}

# Has a session begin with statements; done() waits for their end.
sub begin_in
{
	my ($session, $statements) = @_;

	$session->{out} = '';
	$session->{in} .= "$statements;\n\\echo the end\n";
	$session->{run}->pump_nb;
	return;
}

# Waits for the end of a session's statement; the test of the workload ends if it fails.
sub done
{
	my ($session) = @_;

	$session->{run}->pump until $session->{out} =~ /^the end$/m;
	die $session->{out} if $session->{out} =~ /ERROR|FATAL/;
	return;
}

# The statements of a session before the others continue.
sub in_session
{
	my ($session, $statements) = @_;

	begin_in($session, $statements);
	return done($session);
}

# Ends all sessions of the workload.
sub close_sessions
{
	foreach my $session (@sessions)
	{
		$session->{in} .= "\\q\n";
		$session->{run}->finish;
	}
	@sessions = ();
	return;
}

# The results of statements in the schema of the workload.
sub run_sql
{
	my ($statements) = @_;
	return sql($node, "SET search_path = $schema;\n$statements");
}

# --- comparing ------------------------------------------------------------------------

sql($node, $create_wrong);
sql($node, q{
	CREATE FUNCTION built(namespace regnamespace) RETURNS text LANGUAGE sql AS $$
		SELECT string_agg(rollup::oid || ' ' || built_at::text, ' ' ORDER BY rollup) FROM notify_stats.rollups
		WHERE rollup IN (SELECT oid FROM pg_class WHERE relnamespace = namespace) $$;
	-- so that the slot stays
	CREATE TABLE kept (k int);
	ALTER TABLE kept REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('keeps_the_slot', 'SELECT k, count(*) AS c FROM kept GROUP BY k');
});

# Runs a workload in its own schema, and compares its rollups.
sub run_workload
{
	my ($workload, $paused) = @_;
	my $title = $workload->{title} . ($paused ? ', at one go' : '');
	my ($before, $after);
	my $drop = defined $schema ? "SET client_min_messages = error;
		SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollup
		WHERE rollup IN (SELECT oid FROM pg_class WHERE relnamespace = '$schema'::regnamespace);
		DROP SCHEMA $schema CASCADE;" : '';

	$schema = 'w' . ++$serial;
	sql($node, "$drop CREATE SCHEMA $schema; SET search_path = $schema; $workload->{setup};");
	wait_until_applied($node);
	$before = sql($node, "SELECT built('$schema')");
	sql($node, 'SELECT notify_stats.pause()') if $paused;
	foreach my $step (@{ $workload->{steps} })
	{
		ref $step ? $step->() : run_sql("$step;");
	}
	close_sessions();
	sql($node, 'SELECT notify_stats.resume()') if $paused;
	wait_until_applied($node);
	is(sql($node, "SELECT test.wrong('$schema')"), '', $title) or return;
	return if $format ne 'notify_stats' || $workload->{rebuilt};
	is(sql($node, "SELECT built('$schema')"), $before, "$title: not rebuilt");
	return;
}

# Runs workloads, each while the worker reads along and then at one go.
sub run_workloads
{
	my (@workloads) = @_;

	foreach my $workload (@workloads)
	{
		next if $format !~ ($workload->{formats} // qr//);
		foreach my $paused (0, 1)
		{
			eval { run_workload($workload, $paused); 1 } or do
			{
				fail("$workload->{title}: $@");
				close_sessions();
				sql($node, 'SELECT notify_stats.resume()');
			};
		}
	}
	return;
}

# Ends the worker, and waits for the next.
sub kill_worker
{
	my $pid = wait_for_worker($node);
	sql($node, "SELECT pg_terminate_backend($pid)");
	wait_for_worker($node, 'postgres', $pid);
	return;
}

# --- common setup of workloads --------------------------------------------------------

# A table, and two rollups of it.
my $plain = q{
	CREATE TABLE t (id int PRIMARY KEY, k text, n int, other text);
	ALTER TABLE t REPLICA IDENTITY FULL;
	INSERT INTO t SELECT i, 'k' || i % 3, i FROM generate_series(1, 20) i;
	SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c, sum(n) AS n, count(n) AS ns FROM t GROUP BY k');
	SELECT notify_stats.create_rollup('small', 'SELECT n % 5 AS five, count(*) AS c FROM t WHERE n < 15 GROUP BY 1');
};

# More like $plain's table.
my $more_tables = q{
	CREATE TABLE u (id int PRIMARY KEY, k text, n int);
	ALTER TABLE u REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('ru', 'SELECT k, count(*) AS c, coalesce(sum(n), 0) AS n FROM u GROUP BY k');
};

# A partitioned table, and rollups of it and of a part.
my $partitioned = q{
	CREATE TABLE t (id int, k text, n int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
	CREATE TABLE ta PARTITION OF t FOR VALUES IN ('a');
	CREATE TABLE tb PARTITION OF t FOR VALUES IN ('b', 'c') PARTITION BY RANGE (id);
	CREATE TABLE tb1 PARTITION OF tb FOR VALUES FROM (0) TO (100);
	CREATE TABLE tb2 (gap int, n int, k text NOT NULL, id int NOT NULL);
	ALTER TABLE tb2 DROP COLUMN gap;
	ALTER TABLE tb ATTACH PARTITION tb2 FOR VALUES FROM (100) TO (1000);
	CREATE TABLE tx PARTITION OF t DEFAULT;
	ALTER TABLE ta REPLICA IDENTITY FULL;
	ALTER TABLE tb1 REPLICA IDENTITY FULL;
	ALTER TABLE tb2 REPLICA IDENTITY FULL;
	ALTER TABLE tx REPLICA IDENTITY FULL;
	INSERT INTO t SELECT i, chr(97 + i % 5), i FROM generate_series(1, 200, 3) i;
	SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c, coalesce(sum(n), 0) AS n FROM t GROUP BY k');
	SELECT notify_stats.create_rollup('rb', 'SELECT id / 50 AS part, count(*) AS c FROM tb GROUP BY 1');
};

# --- tables that change ---------------------------------------------------------------

# Tables whose columns, names, files and replica identities change in the middle of it.
sub test_changed_tables
{
	run_workloads(
		{
			title => 'columns that come, go and change within transactions',
			setup => $plain,
			steps => [ q{
				BEGIN; INSERT INTO t VALUES (21, 'a', 1); ALTER TABLE t ADD COLUMN x int DEFAULT 5; UPDATE t SET x = 6 WHERE id < 5;
					UPDATE t SET k = 'b' WHERE id = 21; ALTER TABLE t ALTER COLUMN x TYPE bigint; INSERT INTO t (id, k) VALUES (22, 'c'); COMMIT;
				BEGIN; ALTER TABLE t ALTER COLUMN other TYPE int USING length(other); DELETE FROM t WHERE id = 3;
					UPDATE t SET other = 5, n = 5 WHERE id = 4; ALTER TABLE t DROP COLUMN other; UPDATE t SET k = 'd' WHERE id = 5; COMMIT;
				BEGIN; SAVEPOINT s; ALTER TABLE t ADD COLUMN y text DEFAULT 'y'; INSERT INTO t (id, k) VALUES (23, 'lost'); ROLLBACK TO s;
					INSERT INTO t (id, k) VALUES (23, 'kept'); ALTER TABLE t ADD COLUMN y int DEFAULT 1; UPDATE t SET y = 2, n = n + 1; COMMIT;
				BEGIN; ALTER TABLE t DROP COLUMN x, ADD COLUMN x text DEFAULT random(); DELETE FROM t WHERE id = 6; ROLLBACK;
				UPDATE t SET k = 'last' WHERE id = 7} ]
		},
		{
			title => 'names that change',
			setup => $plain,
			steps => [ q{
				INSERT INTO t VALUES (21, 'a', 1); ALTER TABLE t RENAME COLUMN k TO kk; INSERT INTO t VALUES (22, 'b', 1);
				BEGIN; ALTER TABLE t RENAME TO other_t; UPDATE other_t SET kk = 'c' WHERE id < 3; ALTER TABLE other_t RENAME COLUMN n TO m;
					CREATE TABLE t (id int, k text, n int); INSERT INTO t VALUES (1, 'another', 1); DELETE FROM other_t WHERE id = 4; COMMIT;
				UPDATE other_t SET m = 3 WHERE id = 5; ALTER TABLE r RENAME TO other_r; INSERT INTO other_t VALUES (23, 'c', 2)} ]
		},
		{
			title => 'rewritten tables',
			setup => $plain,
			steps => [ q{
				UPDATE t SET n = n + 1 WHERE id < 9; VACUUM FULL t; UPDATE t SET k = 'full' WHERE id = 1;
				CLUSTER t USING t_pkey; DELETE FROM t WHERE id = 2; REINDEX TABLE t; UPDATE t SET n = 2 WHERE id = 3; VACUUM FREEZE t;
				BEGIN; DELETE FROM t WHERE id = 4; CLUSTER t USING t_pkey; INSERT INTO t VALUES (4, 'again', 4); COMMIT;
				VACUUM FULL pg_class; VACUUM FULL pg_attribute; INSERT INTO t VALUES (24, 'a', 1); REINDEX TABLE pg_class;
				CREATE INDEX ON t (n); UPDATE t SET n = 9 WHERE id = 5; ALTER TABLE t SET (fillfactor = 50);
				ALTER TABLE t ADD COLUMN stamp float8 DEFAULT random(); UPDATE t SET k = 'new' WHERE id = 6} ],
		},
		{
			title => 'columns that old rows have only by default',
			setup => q{
				CREATE TABLE t (gap int, id int PRIMARY KEY);
				INSERT INTO t SELECT 1, i FROM generate_series(1, 9) i;
				ALTER TABLE t DROP COLUMN gap, ADD COLUMN k text DEFAULT 'filled', ADD COLUMN n int NOT NULL DEFAULT 7, ADD COLUMN x int;
				ALTER TABLE t REPLICA IDENTITY FULL;
				SELECT notify_stats.create_rollup('r', 'SELECT k, x, count(*) AS c, sum(n) AS n FROM t GROUP BY k, x')},
			steps => [ q{
				UPDATE t SET x = 1 WHERE id < 3; DELETE FROM t WHERE id IN (1, 4); UPDATE t SET n = 8 WHERE id = 5;
				ALTER TABLE t ALTER COLUMN k SET DEFAULT 'other'; INSERT INTO t (id) VALUES (10); UPDATE t SET k = 'set' WHERE id = 6;
				ALTER TABLE t ADD COLUMN y text DEFAULT 'y'; UPDATE t SET y = 'z' WHERE id = 7; DELETE FROM t WHERE id = 8; VACUUM FULL t; DELETE FROM t WHERE id = 9} ]
		},
		{
			title => 'generated and identity columns',
			# see README: pgoutput has generated columns from 18 on
			formats => $version >= 18 ? qr// : qr/^(?!pgoutput)/,
			setup => q{
				CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED,
					label text GENERATED ALWAYS AS ('l' || (a % 3)) STORED);
				ALTER TABLE t REPLICA IDENTITY FULL;
				INSERT INTO t (a) SELECT generate_series(1, 9);
				SELECT notify_stats.create_rollup('r', 'SELECT label, twice > 9 AS much, count(*) AS c, coalesce(sum(twice), 0) AS n FROM t GROUP BY 1, 2')},
			steps => [ q{
				UPDATE t SET a = a + 1; INSERT INTO t (id, a) VALUES (100, NULL), (101, 5); DELETE FROM t WHERE id = 2;
				INSERT INTO t (a) VALUES (7); ALTER TABLE t ALTER COLUMN id RESTART WITH 1000; INSERT INTO t (a) VALUES (8); UPDATE t SET a = NULL WHERE id = 3} ]
		},
		{
			title => 'other replica identities',
			setup => q{
				CREATE TABLE t (id int NOT NULL, k text NOT NULL, n int);
				CREATE UNIQUE INDEX i ON t (k, id);
				ALTER TABLE t REPLICA IDENTITY USING INDEX i;
				INSERT INTO t SELECT i, 'k' || i % 3, i FROM generate_series(1, 20) i;
				SELECT notify_stats.create_rollup('r', 'SELECT k, id % 2 AS odd, count(*) AS c FROM t GROUP BY 1, 2')},
			steps => [ q{
				UPDATE t SET n = 0; UPDATE t SET k = 'new' WHERE id < 4; UPDATE t SET id = id + 100, n = 1 WHERE id > 15; DELETE FROM t WHERE id = 5;
				ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET k = 'full' WHERE id = 6; DELETE FROM t WHERE id = 7;
				BEGIN; UPDATE t SET n = 2; ALTER TABLE t REPLICA IDENTITY USING INDEX i; UPDATE t SET k = 'index' WHERE id = 8; COMMIT; REINDEX INDEX i; DELETE FROM t WHERE id = 9} ]
		},
		{
			title => 'the same name elsewhere',
			setup => $plain . 'CREATE SCHEMA IF NOT EXISTS twin; DROP TABLE IF EXISTS twin.t; CREATE TABLE twin.t (LIKE t INCLUDING ALL)',
			steps => [ q{
				INSERT INTO twin.t SELECT * FROM t; UPDATE twin.t SET k = 'twin'; INSERT INTO t VALUES (21, 'own', 1);
				CREATE TEMPORARY TABLE t (LIKE t INCLUDING ALL); INSERT INTO t VALUES (1, 'temporary', 1); UPDATE pg_temp.t SET k = 'temp';
				BEGIN; DELETE FROM pg_temp.t; SELECT set_config('search_path', 'twin', true); TRUNCATE twin.t; COMMIT; DROP TABLE pg_temp.t;
				CREATE UNLOGGED TABLE t_unlogged (LIKE t); INSERT INTO t_unlogged VALUES (1, 'unlogged', 1); UPDATE t SET k = 'mine' WHERE id < 5; DROP TABLE twin.t} ]
		});
	return;
}

# --- transactions ---------------------------------------------------------------------

# Prepared transactions, with rows, subtransactions and DDL, that outlive the server.
sub prepare_across_restart
{
	run_sql(q{
		BEGIN; INSERT INTO t VALUES (81, 'two phases', 1); SAVEPOINT s; UPDATE t SET k = 'lost'; ROLLBACK TO s;
			UPDATE t SET n = 0 WHERE id = 1; PREPARE TRANSACTION 'rows';
		BEGIN; ALTER TABLE u ADD COLUMN late text DEFAULT 'late'; INSERT INTO u VALUES (1, 'two phases', 1);
			PREPARE TRANSACTION 'shape';
		BEGIN; DELETE FROM t WHERE id > 10; PREPARE TRANSACTION 'undone';
		INSERT INTO t VALUES (82, 'one phase', 1)});
	$node->stop('immediate');
	$node->start;
	run_sql(q{INSERT INTO t VALUES (83, 'one phase', 1); COMMIT PREPARED 'rows'; CHECKPOINT});
	$node->restart;
	run_sql(q{ROLLBACK PREPARED 'undone'; COMMIT PREPARED 'shape'; UPDATE u SET late = NULL, n = 2});
	return;
}

# Transactions of every shape.
sub test_transactions
{
	run_workloads(
		{
			title => 'deep savepoints',
			setup => $plain,
			steps => [
				'BEGIN; ' . join('', map { "SAVEPOINT s$_; UPDATE t SET n = n + 1, k = 's$_' WHERE id % 9 = " . $_ % 9 . '; ' } 1 .. 60) .
				  'ROLLBACK TO s50; ' . join('', map { "RELEASE s$_; " } reverse 41 .. 50) .
				  q{SAVEPOINT x; DELETE FROM t; ROLLBACK TO s31; INSERT INTO t VALUES (21, 'a', 1); RELEASE s20;
					SAVEPOINT s20; TRUNCATE t; ROLLBACK TO s20; ROLLBACK TO s10; UPDATE t SET k = 'end' WHERE id > 15; COMMIT},
				'BEGIN; ' . join('', map { "SAVEPOINT s; INSERT INTO t VALUES ($_, 's', $_); " . ($_ % 3 ? 'RELEASE s; ' : 'ROLLBACK TO s; ') } 100 .. 130) . 'COMMIT'
			]
		},
		{
			title => 'a thousand subtransactions, of which a third abort',
			setup => $plain,
			steps => [ q{
				DO $$ BEGIN
					FOR i IN 1000 .. 2000 LOOP
						BEGIN
							INSERT INTO t VALUES (i, 'sub' || i % 7, i);
							UPDATE t SET n = n + 1 WHERE id = i - 20;
							IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
						EXCEPTION WHEN raise_exception THEN NULL;
						END;
					END LOOP;
				END $$;
				DO $$ BEGIN
					FOR i IN 1 .. 20 LOOP
						BEGIN
							DELETE FROM t WHERE id % 20 = i;
							BEGIN
								UPDATE t SET k = 'inner' WHERE id % 20 = i + 1;
								PERFORM 1 / (i % 2);
							EXCEPTION WHEN division_by_zero THEN UPDATE t SET n = -n WHERE id % 20 = i + 2;
							END;
							IF i % 4 = 0 THEN INSERT INTO t VALUES (i * 100, 'x', 1), (i * 100, 'y', 1); END IF;
						EXCEPTION WHEN unique_violation THEN INSERT INTO t VALUES (5000 + i, 'caught', 1);
						END;
					END LOOP;
				END $$} ]
		},
		{
			title => 'transactions that spill to disk',
			setup => $plain . $more_tables,
			steps => [ q{
				BEGIN; INSERT INTO t SELECT i, 'spill' || i % 11, i, repeat('x', 50) FROM generate_series(100, 6000) i;
					SAVEPOINT a; INSERT INTO u SELECT i, 'lost', i FROM generate_series(1, 3000) i; DELETE FROM t; ROLLBACK TO a;
					SAVEPOINT b; INSERT INTO u SELECT i, 'kept' || i % 4, i FROM generate_series(1, 3000) i; RELEASE b;
					UPDATE t SET n = n % 100 WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0; COMMIT;
				BEGIN; DELETE FROM t; INSERT INTO t SELECT i, 'undone', i FROM generate_series(1, 4000) i; ROLLBACK;
				BEGIN; ALTER TABLE u ADD COLUMN x int; INSERT INTO u SELECT i, 'x' || i % 3, i, i FROM generate_series(3001, 6000) i;
					TRUNCATE t; INSERT INTO t SELECT i, 'after', i FROM generate_series(1, 3000) i; COMMIT} ]
		},
		{
			title => 'a transaction across segments of the log',
			setup => q{
				CREATE TABLE t (id int PRIMARY KEY, k text, wide text);
				ALTER TABLE t ALTER COLUMN wide SET STORAGE EXTERNAL, REPLICA IDENTITY USING INDEX t_pkey;
				SELECT notify_stats.create_rollup('r', 'SELECT id % 3 AS three, count(*) AS c FROM t GROUP BY 1')},
			steps => [ q{
				BEGIN; INSERT INTO t SELECT i, 'a', repeat('w', 1000000) FROM generate_series(1, 9) i; SELECT pg_switch_wal();
					DELETE FROM t WHERE id = 3; INSERT INTO t SELECT i, 'b', repeat('v', 1000000) FROM generate_series(11, 19) i;
					SELECT pg_switch_wal(); UPDATE t SET id = id + 100 WHERE id > 15; COMMIT;
				SELECT pg_switch_wal(); DELETE FROM t WHERE id = 1; SELECT pg_switch_wal()} ]
		},
		{
			title => 'two phases',
			setup => $plain,
			steps => [ q{
				BEGIN; INSERT INTO t VALUES (21, 'p1', 1); SAVEPOINT s; INSERT INTO t VALUES (22, 'lost', 1); ROLLBACK TO s;
					SAVEPOINT s2; UPDATE t SET k = 'p1' WHERE id < 4; RELEASE s2; PREPARE TRANSACTION 'p1';
				BEGIN; INSERT INTO t SELECT i, 'p2', i FROM generate_series(100, 2000) i; PREPARE TRANSACTION 'p2';
				BEGIN; DELETE FROM t WHERE id = 5; PREPARE TRANSACTION 'p3';
				UPDATE t SET n = 0 WHERE id = 6; COMMIT PREPARED 'p2'; ROLLBACK PREPARED 'p3'; DELETE FROM t WHERE id = 7;
				COMMIT PREPARED 'p1'; UPDATE t SET k = 'after' WHERE id = 1} ]
		},
		{ title => 'prepared transactions across restarts', setup => $plain . $more_tables, steps => [ \&prepare_across_restart ] },
		{
			title => 'chains, procedures and cursors',
			setup => $plain,
			steps => [ q{
				BEGIN; INSERT INTO t VALUES (21, 'a', 1); COMMIT AND CHAIN; UPDATE t SET k = 'b' WHERE id = 21; ROLLBACK AND CHAIN;
					DELETE FROM t WHERE id = 1; COMMIT AND CHAIN; INSERT INTO t VALUES (22, 'c', 1); COMMIT;
				DO $$ BEGIN FOR i IN 30 .. 39 LOOP INSERT INTO t VALUES (i, 'loop', i); IF i % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF; END LOOP; END $$;
				BEGIN; DECLARE c CURSOR FOR SELECT * FROM t WHERE id < 9 FOR UPDATE; FETCH 2 FROM c; UPDATE t SET k = 'cursor' WHERE CURRENT OF c;
					FETCH 1 FROM c; DELETE FROM t WHERE CURRENT OF c; COMMIT;
				BEGIN; SELECT pg_logical_emit_message(true, 'p', 'm'), pg_logical_emit_message(false, 'p', 'm'); NOTIFY n; SELECT lo_create(0); COMMIT;
				CREATE MATERIALIZED VIEW m AS SELECT * FROM t; INSERT INTO t VALUES (23, 'd', 1); REFRESH MATERIALIZED VIEW m;
				CREATE TABLE copy AS TABLE t; INSERT INTO t SELECT id + 1000, k, n FROM copy} ]
		});
	return;
}

# --- statements -----------------------------------------------------------------------

# A session that upserts, and detects only at the index insertion that another was faster: a
# speculative insertion that is undone.
sub speculate
{
	my ($gate, $one, $two) = (open_session(), open_session(), open_session());

	in_session($gate, 'SELECT pg_advisory_lock(1, 2), pg_advisory_lock(2, 2)');
	foreach my $i (1, 2)
	{
		my $session = $i == 1 ? $one : $two;
		in_session($session, "SET gate.session = $i; SET gate.call = 0");
		begin_in($session, "INSERT INTO s VALUES ('key', $i) ON CONFLICT (gate(k)) DO UPDATE SET n = s.n + 10");
		poll($node, "SELECT count(*) = $i FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
	}
	in_session($gate, 'SELECT pg_advisory_unlock(1, 2)');
	done($one);
	in_session($gate, 'SELECT pg_advisory_unlock(2, 2)');
	done($two);
	is(run_sql('TABLE s'), 'key|11', 'one has inserted, the other updated');
	return;
}

# Two that lock the same rows, and then change them.
sub share_locks
{
	my ($one, $two) = (open_session(), open_session());

	in_session($one, 'BEGIN; SELECT FROM t WHERE id < 10 FOR KEY SHARE');
	in_session($two, 'BEGIN; SELECT FROM t WHERE id < 12 FOR SHARE');
	in_session($one, 'SAVEPOINT s; SELECT FROM t WHERE id < 4 FOR SHARE; RELEASE s');
	in_session($two, 'COMMIT; BEGIN; UPDATE t SET n = n + 1 WHERE id BETWEEN 5 AND 12');
	in_session($one, q{SAVEPOINT s; UPDATE t SET k = 'locked' WHERE id < 4; ROLLBACK TO s; UPDATE t SET n = 0 WHERE id < 3});
	in_session($two, 'COMMIT');
	in_session($one, 'SELECT FROM t FOR NO KEY UPDATE; DELETE FROM t WHERE id = 6; COMMIT');
	return;
}

# Statements that write in ways of their own.
sub test_statements
{
	run_workloads(
		{
			title => 'TRUNCATE in every way',
			setup => $plain . $more_tables . q{
				CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t);
				ALTER TABLE child REPLICA IDENTITY FULL;
				SELECT notify_stats.create_rollup('rc', 'SELECT t % 2 AS odd, count(*) AS c FROM child GROUP BY 1')},
			steps => [ q{
				INSERT INTO child SELECT i, i FROM generate_series(1, 9) i; INSERT INTO u VALUES (1, 'a', 1);
				BEGIN; SAVEPOINT s; TRUNCATE t CASCADE; INSERT INTO t VALUES (1, 'lost', 1); ROLLBACK TO s; UPDATE t SET k = 'kept' WHERE id = 1; COMMIT;
				BEGIN; INSERT INTO u VALUES (2, 'b', 1); TRUNCATE u RESTART IDENTITY; INSERT INTO u VALUES (3, 'c', 1); TRUNCATE u;
					INSERT INTO u VALUES (4, 'd', 1); SAVEPOINT s; TRUNCATE u; INSERT INTO u VALUES (5, 'lost', 1); ROLLBACK TO s; COMMIT;
				TRUNCATE t CASCADE; INSERT INTO t VALUES (1, 'new', 1); INSERT INTO child VALUES (1, 1);
				BEGIN; TRUNCATE u, t, child; ROLLBACK;
				BEGIN; INSERT INTO u VALUES (6, 'e', 1); TRUNCATE t, u, child; INSERT INTO t VALUES (7, 'f', 7); PREPARE TRANSACTION 'truncate';
				COMMIT PREPARED 'truncate'; INSERT INTO u VALUES (8, 'g', 1)} ]
		},
		{
			title => 'MERGE, and changes that join',
			setup => $plain . $more_tables,
			steps => [
				q{
				INSERT INTO u SELECT i, 'u' || i % 2, i * 10 FROM generate_series(15, 30) i;
				MERGE INTO t USING u ON t.id = u.id WHEN MATCHED AND u.n % 20 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET n = u.n, k = u.k
					WHEN NOT MATCHED THEN INSERT VALUES (u.id, u.k, u.n);
				UPDATE t SET n = u.n FROM u WHERE u.id = t.id + 1; DELETE FROM t USING u WHERE u.id = t.id AND u.n > 250;
				WITH gone AS (DELETE FROM t WHERE id < 5 RETURNING *), added AS (INSERT INTO u SELECT id + 500, k, n FROM gone RETURNING id)
					UPDATE t SET k = 'with' WHERE id IN (SELECT id - 493 FROM added);
				INSERT INTO t SELECT i, 'c', i FROM generate_series(1, 12) i ON CONFLICT (id) DO UPDATE SET n = excluded.n WHERE t.id % 2 = 0;
				INSERT INTO t VALUES (1, 'nothing', 1), (300, 'once', 1), (300, 'twice', 1) ON CONFLICT DO NOTHING},
				$version >= 17 ? q{
				MERGE INTO t USING u ON t.id = u.id WHEN NOT MATCHED BY SOURCE AND t.id % 2 = 0 THEN DELETE
					WHEN NOT MATCHED BY SOURCE THEN UPDATE SET k = 'unmatched' WHEN MATCHED THEN DO NOTHING RETURNING merge_action()} : ()
			]
		},
		{
			title => 'a speculative insertion',
			setup => q{
				CREATE TABLE s (k text, n int);
				ALTER TABLE s REPLICA IDENTITY FULL;
				CREATE FUNCTION gate(k text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
				DECLARE
					session int := current_setting('gate.session', true);
					call int := current_setting('gate.call', true)::int + 1;
				BEGIN
					IF session IS NOT NULL THEN
						PERFORM set_config('gate.call', call::text, false), pg_advisory_lock(session, call), pg_advisory_unlock(session, call);
					END IF;
					RETURN k;
				END $$;
				CREATE UNIQUE INDEX ON s (gate(k));
				SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c, coalesce(sum(n), 0) AS n FROM s GROUP BY k')},
			steps => [ \&speculate ]
		},
		{
			title => 'COPY',
			setup => $plain . $partitioned =~ s/\bt\b/p/gr =~ s/'r'/'rp'/r,
			steps => [ qq{
				COPY t FROM STDIN;
21	copied	1	x
22	\\N	\\N	\\N
\\.
				BEGIN; TRUNCATE t; COPY t FROM STDIN (FREEZE);
31	frozen	1	x
32	frozen	2	y
\\.
				UPDATE t SET n = 5 WHERE id = 32; COMMIT;
				BEGIN; CREATE TABLE new_table (LIKE t); COPY new_table FROM STDIN (FREEZE);
1	beside	1	x
\\.
				COMMIT;
				COPY t (id, k) FROM STDIN WHERE id > 40;
40	left out
41	copied
\\.
				COPY p FROM STDIN;
501	a	1
502	c	2
503	x	3
\\.
				BEGIN; SAVEPOINT s; COPY p FROM STDIN;
504	a	1
\\.
				ROLLBACK TO s; COPY p FROM STDIN;
505	b	1
\\.
				COMMIT} ]
		},
		{ title => 'rows locked by several', setup => $plain, steps => [ \&share_locks ] },
		{
			title => 'triggers, foreign keys, and who replicates',
			setup => $plain . $more_tables . q{
				CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE, u int REFERENCES u ON DELETE SET NULL);
				ALTER TABLE child REPLICA IDENTITY FULL;
				SELECT notify_stats.create_rollup('rc', 'SELECT t % 2 AS odd, u, count(*) AS c FROM child GROUP BY 1, 2');
				CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
					INSERT INTO u VALUES (1000 + coalesce(new.id, old.id), tg_op, 1) ON CONFLICT (id) DO UPDATE SET n = u.n + 1; RETURN NULL; END $$;
				CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION log()},
			steps => [ q{
				INSERT INTO u VALUES (1, 'u', 1), (2, 'u', 2); INSERT INTO child SELECT i, i, 1 + i % 2 FROM generate_series(1, 12) i;
				UPDATE t SET id = id + 100 WHERE id < 4; DELETE FROM t WHERE id BETWEEN 5 AND 7; DELETE FROM u WHERE id = 1;
				SET session_replication_role = replica; DELETE FROM t WHERE id = 9; UPDATE t SET k = 'replica' WHERE id > 15; INSERT INTO child VALUES (50, 999, 999); RESET session_replication_role;
				BEGIN; SET LOCAL session_replication_role = replica; TRUNCATE u, child; INSERT INTO u VALUES (3, 'r', 1); COMMIT; INSERT INTO child VALUES (60, NULL, 3)} ]
		});
	return;
}

# --- rows and values ------------------------------------------------------------------

# Rows of every shape.
sub test_rows
{
	run_workloads(
		{
			title => 'out-of-line values',
			setup => q{
				CREATE TABLE t (id int PRIMARY KEY, big text, k text, big2 text, n int);
				ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL, ALTER COLUMN big2 SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
				INSERT INTO t SELECT i, repeat(chr(97 + i % 3), 4000), 'k', repeat(chr(97 + i), 9000), i FROM generate_series(1, 9) i;
				SELECT notify_stats.create_rollup('r', 'SELECT big, k, count(*) AS c, count(big2) AS b FROM t GROUP BY big, k');
				SELECT notify_stats.create_rollup('rl', 'SELECT md5(big2) AS m, count(*) AS c, coalesce(sum(length(big)), 0) AS l FROM t GROUP BY 1')},
			steps => [ q{
				UPDATE t SET n = 0; UPDATE t SET k = 'l' WHERE id < 3; UPDATE t SET big = big || 'x', k = 'm' WHERE id = 4;
				BEGIN; UPDATE t SET big = repeat('y', 5000) WHERE id = 5; UPDATE t SET k = 'y' WHERE id = 5;
					SAVEPOINT s; UPDATE t SET big = repeat('z', 9000), big2 = NULL; ROLLBACK TO s;
					UPDATE t SET big2 = big WHERE id = 6; UPDATE t SET big = 'short' WHERE id = 6; COMMIT;
				BEGIN; INSERT INTO t SELECT i, repeat('m', 3000), 'many', repeat('n', i * 1000), i FROM generate_series(20, 25) i;
					DELETE FROM t WHERE id = 21; UPDATE t SET id = id + 100 WHERE id > 22; COMMIT;
				INSERT INTO t SELECT 40, big, k, big2 FROM t WHERE id = 1;
				VACUUM FULL t; UPDATE t SET k = 'vacuumed' WHERE id IN (1, 40); DELETE FROM t WHERE id = 2;
				ALTER TABLE t ALTER COLUMN n TYPE bigint; UPDATE t SET k = 'rewritten', n = 3 WHERE id = 3;
				INSERT INTO t VALUES (50, repeat('compressible', 2000), 'x', NULL), (51, NULL, NULL, repeat('w', 300000));
				UPDATE t SET big2 = big2 || 'w' WHERE id = 51} ]
		},
		{
			title => 'updates on the page and off it',
			setup => $plain . 'ALTER TABLE t SET (fillfactor = 40); CREATE INDEX ON t (other)',
			steps => [
				'UPDATE t SET n = n + 1; ' x 15,
				q{UPDATE t SET other = id; UPDATE t SET k = k; UPDATE t SET n = NULL WHERE id = 3; VACUUM t; },
				q{BEGIN; } . q{UPDATE t SET n = n + 1, k = 'hot'; } x 5 . q{COMMIT; VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) t; UPDATE t SET other = 'x', n = 4; DELETE FROM t WHERE id = 4},
			]
		},
		{
			title => 'keys of many types',
			setup => q{
				CREATE DOMAIN code AS varchar(5) CHECK (value <> 'bad'); CREATE DOMAIN codes AS code[];
				CREATE TYPE pair AS (a int, b text); CREATE TYPE mood AS ENUM ('calm', 'cross');
				CREATE TABLE t (id int PRIMARY KEY, d code, ds codes, p pair, m mood, a int[], r int4range, mr int4multirange,
					x numeric NOT NULL CHECK (x > '-Infinity' AND x < 'Infinity'), u uuid, i inet, j jsonb, ts timestamptz, dt date, by bytea, c char(4));
				ALTER TABLE t REPLICA IDENTITY FULL;
				SELECT notify_stats.create_rollup('r', 'SELECT d, ds, p, m, a, r, mr, x, u, i, j, ts, dt, by, c, count(*) AS n FROM t
					GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15');
				SELECT notify_stats.create_rollup('rm', 'SELECT m, (p).a AS pa, count(*) AS n, sum(x) AS x FROM t GROUP BY 1, 2')},
			steps => [
				q{
				INSERT INTO t SELECT i, 'c' || i % 2, ARRAY['x', NULL], ROW(i % 3, 'b "' || i % 2)::pair, CASE WHEN i % 3 > 0 THEN 'calm'::mood END, ARRAY[i % 2, NULL],
					int4range(i % 3, 5), int4multirange(int4range(1, 2), int4range(3, 4 + i % 2)), 12345678901234567890.12345678901234567890 + i % 2, md5((i % 2)::text)::uuid,
					'10.0.0.1', jsonb_build_object('k', i % 2), '2026-01-01'::timestamptz + i % 2 * interval '1 day', '2026-02-28'::date + i % 2, decode('00ff', 'hex'), 'c'
					FROM generate_series(1, 12) i;
				INSERT INTO t (id, x) VALUES (20, 0), (21, 0.000), (22, -1e-20);
				UPDATE t SET p = ROW(NULL, NULL)::pair, x = x * 2 WHERE id < 4; UPDATE t SET r = 'empty', mr = '{}', a = '{}', ds = NULL WHERE id = 5;
				DELETE FROM t WHERE id = 6; UPDATE t SET p = NULL, x = 1e30 WHERE id = 7},
				q{ALTER TYPE mood ADD VALUE 'glad' BEFORE 'cross'; UPDATE t SET m = 'glad' WHERE id IN (1, 20); DELETE FROM t WHERE id IN (2, 21)},
				# others write the label of an enum, which must be read as it was written
				$format eq 'notify_stats' ? q{ALTER TYPE mood RENAME VALUE 'calm' TO 'quiet'; INSERT INTO t (id, m, x) VALUES (30, 'quiet', 1)} : ()
			]
		},
		{
			title => 'NULL in groups and sums',
			setup => $plain,
			steps => [ q{
				INSERT INTO t VALUES (21, NULL, NULL), (22, NULL, 1), (23, 'k0', NULL); UPDATE t SET k = NULL WHERE id % 2 = 0; UPDATE t SET n = NULL WHERE id % 3 = 0;
				UPDATE t SET k = 'k', n = 0 WHERE k IS NULL AND id < 12; DELETE FROM t WHERE k IS NULL; UPDATE t SET n = NULL; INSERT INTO t VALUES (24, NULL, NULL);
				DELETE FROM t WHERE id = 24; UPDATE t SET n = 1 WHERE id = 21} ]
		},
		{
			title => 'very wide rows',
			setup => 'CREATE TABLE t (' . join(', ', map { "c$_ int" } 1 .. 800) . q{, w text, v text);
				ALTER TABLE t ALTER COLUMN w SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
				SELECT notify_stats.create_rollup('r', 'SELECT c800, c3 % 2 AS c3, count(*) AS c, count(w) AS w, coalesce(sum(c400), 0) AS s FROM t GROUP BY 1, 2');
				SELECT notify_stats.create_rollup('rl', 'SELECT length(w) AS l, right(v, 5) AS v, count(*) AS c FROM t GROUP BY 1, 2')},
			steps => [ q{
				INSERT INTO t (c1, c3, c400, c800, w, v) SELECT i, i, i, i % 4, repeat('w', i * 100000), repeat('v', i * 1000) || i FROM generate_series(1, 10) i;
				UPDATE t SET c2 = 1; UPDATE t SET c400 = NULL WHERE c1 < 3; UPDATE t SET c799 = 5, c800 = 9 WHERE c1 = 4; UPDATE t SET w = w || w WHERE c1 = 5;
				DELETE FROM t WHERE c1 > 8; UPDATE t SET v = NULL, w = NULL WHERE c1 = 6; ALTER TABLE t DROP COLUMN c1; UPDATE t SET c3 = c3 + 1} ]
		});
	return;
}

# --- partitions -----------------------------------------------------------------------

# Rows that move between partitions, and partitions that are new.
sub test_partitions
{
	run_workloads(
		{
			title => 'rows that move between partitions',
			setup => $partitioned,
			steps => [ q{
				UPDATE t SET k = chr(97 + (id + 2) % 5); UPDATE t SET id = id + 77 WHERE k = 'b' AND id < 100; UPDATE t SET n = n + 1;
				INSERT INTO t SELECT i, 'a', 1 FROM generate_series(1, 50) i ON CONFLICT (id, k) DO UPDATE SET n = t.n + 1000;
				INSERT INTO t SELECT i, 'c', 1 FROM generate_series(90, 110) i ON CONFLICT DO NOTHING;
				BEGIN; UPDATE t SET k = 'a', id = id + 1000 * ascii(k) WHERE k <> 'a'; SAVEPOINT s; UPDATE t SET k = 'z'; ROLLBACK TO s; DELETE FROM ta WHERE id % 4 = 0; COMMIT;
				TRUNCATE tx; UPDATE t SET k = 'd' WHERE id % 5 = 0} ],
			rebuilt => 1    # TRUNCATE of a partition
		},
		{
			title => 'partitions made and attached within a transaction',
			setup => $partitioned,
			steps => [ q{
				BEGIN; CREATE TABLE tm (n int, id int NOT NULL, k text NOT NULL, gap int); ALTER TABLE tm DROP COLUMN gap; ALTER TABLE tm REPLICA IDENTITY FULL;
					DELETE FROM t WHERE k = 'm'; ALTER TABLE t ATTACH PARTITION tm FOR VALUES IN ('m');
					INSERT INTO t SELECT i, 'm', i FROM generate_series(1, 9) i; UPDATE t SET k = 'm' WHERE k = 'a' AND id % 2 = 0; COMMIT;
				DELETE FROM tm WHERE id < 4; UPDATE t SET k = 'b' WHERE k = 'm' AND id = 5;
				BEGIN; CREATE TABLE tn PARTITION OF t FOR VALUES IN ('n'); ALTER TABLE tn REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 'n', 1); ROLLBACK;
				INSERT INTO t VALUES (1, 'n', 2)} ]
		});
	return;
}

# --- DDL of others --------------------------------------------------------------------

# Each writes a table whose shape the other has changed since its transaction began.
sub cross_ddl
{
	my ($one, $two) = (open_session(), open_session());

	in_session($one, q{BEGIN; INSERT INTO t VALUES (31, 'one', 1, 'x')});
	in_session($two, q{ALTER TABLE u ADD COLUMN extra text DEFAULT 'extra'; ALTER TABLE u DROP COLUMN gone});
	in_session($one, q{INSERT INTO u VALUES (1, 'one', 1, 'e'); SAVEPOINT s; UPDATE u SET k = 'uno'; RELEASE s});
	in_session($two, q{BEGIN; ALTER TABLE v ALTER COLUMN other TYPE text USING other::text || 'x'; INSERT INTO v VALUES (1, 'two', 1, 'y')});
	in_session($one, 'COMMIT; BEGIN; SELECT txid_current()');
	in_session($two, 'COMMIT');
	in_session($one, q{INSERT INTO v VALUES (2, 'one', 2, 'z'); DELETE FROM v WHERE id = 1; UPDATE u SET n = 7; COMMIT});
	return;
}

# A subtransaction writes before and after the DDL of another session.
sub transfer_snapshot
{
	my ($one, $two) = (open_session(), open_session());

	in_session($one, q{BEGIN; SAVEPOINT a; INSERT INTO t VALUES (41, 'sub', 1)});
	in_session($two, q{ALTER TABLE u ADD COLUMN extra int DEFAULT 3; CHECKPOINT});
	in_session($one, q{INSERT INTO t VALUES (42, 'sub', 2); SAVEPOINT b; INSERT INTO u VALUES (2, 'sub', 1); RELEASE b;
		SAVEPOINT c; INSERT INTO u VALUES (3, 'lost', 1)});
	in_session($two, 'ALTER TABLE v DROP COLUMN gone; ALTER TABLE v ADD COLUMN gone text; CHECKPOINT');
	in_session($one, q{ROLLBACK TO c; INSERT INTO u VALUES (4, 'kept', 1); INSERT INTO v (id, k, n) VALUES (1, 'v', 1); UPDATE t SET k = 'sub2' WHERE id = 41; COMMIT});
	return;
}

# Reading starts again in the middle of a transaction that changes catalogs.
sub restart_within_ddl
{
	my ($one, $two) = (open_session(), open_session());

	in_session($one, 'BEGIN; SAVEPOINT a; TRUNCATE u');
	in_session($two, 'CHECKPOINT; INSERT INTO t VALUES (51, NULL, NULL)');
	kill_worker();
	in_session($one, q{ALTER TABLE u ADD COLUMN mid text DEFAULT 'mid'; INSERT INTO u (id, k, n) VALUES (5, 'after', 1); RELEASE a});
	in_session($two, 'CHECKPOINT');
	in_session($one, q{COMMIT; BEGIN; INSERT INTO u (id, k, n) VALUES (6, 'after', 2)});
	kill_worker();
	in_session($two, 'CHECKPOINT; DELETE FROM u WHERE id = 5');
	in_session($one, 'COMMIT');
	return;
}

# Catalogs of an earlier table definition, vacuumed, when an old transaction finally commits.
sub outlive_catalogs
{
	my ($one, $two) = (open_session(), open_session());

	in_session($one, q{BEGIN; INSERT INTO t VALUES (61, 'old', 1); INSERT INTO c VALUES (1, ROW(1, 2, 'x'), 'old')});
	in_session($two, 'CREATE TABLE beside (i int); INSERT INTO beside VALUES (1); ALTER TABLE u ADD COLUMN gone2 int; ALTER TABLE u DROP COLUMN gone2;
		VACUUM pg_attribute; VACUUM pg_class; VACUUM pg_type; CHECKPOINT');
	in_session($one, q{INSERT INTO t VALUES (62, 'old', 1); INSERT INTO u VALUES (62, 'old', 1); COMMIT});
	in_session($two, q{ALTER TYPE triple DROP ATTRIBUTE b CASCADE; INSERT INTO c VALUES (2, ROW(1, 'y'), 'new');
		VACUUM pg_attribute; DELETE FROM c WHERE id = 1});
	return;
}

# A rollup is made while transactions with subtransactions are under way.
sub build_within_transactions
{
	my ($one, $two) = (open_session(), open_session());

	in_session($one, q{BEGIN; SAVEPOINT a; INSERT INTO t VALUES (71, 'early', 1)});
	in_session($two, q{BEGIN; SAVEPOINT b; SAVEPOINT c; UPDATE t SET k = 'early' WHERE id = 2; ROLLBACK TO c; SAVEPOINT d;
		UPDATE t SET k = 'later' WHERE id = 2});
	run_sql(q{SELECT notify_stats.create_rollup('late', 'SELECT k, n % 2 AS odd, count(*) AS c FROM t GROUP BY 1, 2')});
	in_session($one, q{SAVEPOINT a2; INSERT INTO t VALUES (72, 'early', 2); RELEASE a2});
	in_session($two, q{INSERT INTO t VALUES (73, 'later', 3); CHECKPOINT; COMMIT});
	in_session($one, q{UPDATE t SET n = 100 WHERE id = 71; COMMIT});
	return;
}

# Transactions that see one another's DDL, and a worker or a build that starts between them.
sub test_ddl_of_others
{
	run_workloads(
		{ title => 'two that change the other one\'s table', setup => $plain . $more_tables . q{
				ALTER TABLE u ADD COLUMN gone int;
				CREATE TABLE v (id int PRIMARY KEY, k text, n int, other varchar(3));
				ALTER TABLE v REPLICA IDENTITY FULL;
				SELECT notify_stats.create_rollup('rv', 'SELECT k, count(*) AS c, coalesce(sum(n), 0) AS n FROM v GROUP BY k')},
			steps => [ \&cross_ddl ] },
		{ title => 'subtransactions around DDL', setup => $plain . $more_tables . $more_tables =~ s/\bu\b/v/gr =~ s/'ru'/'rv'/r .
				'ALTER TABLE v ADD COLUMN gone int', steps => [ \&transfer_snapshot ] },
		{ title => 'a worker that starts within DDL', setup => $plain . $more_tables . q{INSERT INTO u VALUES (1, 'before', 1)}, steps => [ \&restart_within_ddl ] },
		{
			title => 'catalogs that are gone',
			setup => $plain . $more_tables . q{
				CREATE TYPE triple AS (a int, b int, c text);
				CREATE TABLE c (id int PRIMARY KEY, v triple, k text);
				ALTER TABLE c REPLICA IDENTITY FULL;
				SELECT notify_stats.create_rollup('rc', 'SELECT k, count(*) AS c FROM c GROUP BY k')},
			steps => [ \&outlive_catalogs ]
		},
		{ title => 'a rollup made within transactions', setup => $plain, steps => [ \&build_within_transactions ], rebuilt => 1 });
	return;
}

# --- the order ------------------------------------------------------------------------

test_changed_tables();
test_transactions();
test_statements();
test_rows();
test_partitions();
test_ddl_of_others();
no_build_slots($node, 'no slot is left');
unlike(slurp_file($node->logfile), qr/changes were lost/, 'no change was ever lost');

done_testing();
