# 047_ignored_tables.pl
#
# Changes of tables that no rollup reads are left out before the server queues them, once the
# plugin has ignored a change of the same table.  That must not leave out, or break, anything
# else: other tables in the same transaction, values stored out of line, speculative insertions,
# tables that become a source.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# transactions are counted, so there must be none of autovacuum
my $node = new_node('ignored', conf => 'autovacuum = off');

sql($node, q{
	CREATE TABLE kept (id int PRIMARY KEY, kind text NOT NULL, long text);
	CREATE TABLE ignored (id int PRIMARY KEY, kind text NOT NULL, long text);
	CREATE TABLE other (LIKE ignored INCLUDING ALL);
	CREATE TABLE short (id int, n int);	-- without a TOAST table
	ALTER TABLE short REPLICA IDENTITY FULL;
	CREATE TABLE root (id int, kind text NOT NULL, long text) PARTITION BY LIST (id);
	CREATE TABLE loose (LIKE root);
	ALTER TABLE kept ALTER long SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
	ALTER TABLE ignored ALTER long SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
	ALTER TABLE other ALTER long SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
	ALTER TABLE loose REPLICA IDENTITY FULL;
});
create_rollup($node, 'by_kind', 'SELECT kind, length(long) AS length, md5(long) AS hash, count(*) AS n FROM kept GROUP BY 1, 2, 3');
create_rollup($node, 'by_n', 'SELECT n, count(*) AS c FROM short GROUP BY n');
create_rollup($node, 'by_id', 'SELECT id, count(*) AS n FROM root GROUP BY id');
wait_until_applied($node);
pause_stream($node);

# How many transactions the server has replayed for the main slot.
sub replayed
{
	return sql($node, 'SELECT total_txns FROM pg_stat_replication_slots WHERE slot_name = (SELECT slot_name FROM notify_stats.stream)');
}

# Reads a backlog at once, which begins with changes that the plugin ignores.  Returns how many
# transactions were replayed.
sub read_backlog
{
	my ($title, $backlog) = @_;
	my $before;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->safe_psql('postgres', 'DELETE FROM ignored; DELETE FROM other; DELETE FROM loose');
	sql($node, 'CALL notify_stats.catch_up()');
	$before = replayed();
	$node->safe_psql('postgres', q{
		INSERT INTO ignored VALUES (1, 'first');
		INSERT INTO other VALUES (1, 'first');
		INSERT INTO loose VALUES (1, 'first'); DELETE FROM loose;
		} . $backlog);
	sql($node, 'CALL notify_stats.catch_up()');
	is(differences($node, 'postgres', 'by_kind', 'by_id', 'by_n'), '', $title);
	return replayed() - $before;
}

my $long = q{(SELECT string_agg(md5(i::text || clock_timestamp()), '') FROM generate_series(1, 300) i)};

# --- what is left out -----------------------------------------------------------------

my $many = join '', map { "INSERT INTO ignored VALUES (10 + $_, 'many'); UPDATE ignored SET kind = 'changed' WHERE id = 10 + $_;
	DELETE FROM ignored WHERE id = 10 + $_;" } 1 .. 20;

cmp_ok(read_backlog('none', $many), '<', 10, 'transactions of ignored tables are not replayed');
cmp_ok(read_backlog('between', "$many INSERT INTO kept VALUES (1, 'between'); $many"), '<', 10, 'nor those around another');
cmp_ok(read_backlog('copy', join '', map { "COPY ignored (id, kind) FROM STDIN;\n" . join('', map { "$_\tcopied\n" } 100 * $_ .. 100 * $_ + 50) . "\\.\n" } 1 .. 20),
	'<', 10, 'nor those of COPY');
cmp_ok(read_backlog('speculative', join '', map { "INSERT INTO ignored VALUES (50, 'again') ON CONFLICT (id) DO UPDATE SET kind = excluded.kind;
	INSERT INTO ignored VALUES (60 + $_, 'new') ON CONFLICT DO NOTHING;" } 1 .. 20), '<', 10, 'nor those with ON CONFLICT');
cmp_ok(read_backlog('long', join '', map { "INSERT INTO ignored VALUES (70 + $_, 'long', $long);" } 1 .. 20),
	'<', 10, 'nor those with values out of line');
cmp_ok(read_backlog('altered', "CREATE TABLE new (id int); $many DROP TABLE new;"), '<', 20, 'a change of the catalogs does not end that for long');
is(read_backlog('kept', 'INSERT INTO kept VALUES (200, $$a$$); INSERT INTO kept VALUES (201, $$a$$)') > 3, 1, 'while those of others are');

# --- what is not ----------------------------------------------------------------------

read_backlog('both tables in a transaction, with subtransactions', qq{
	BEGIN;
	INSERT INTO ignored VALUES (2, 'a');
	SAVEPOINT s;
	INSERT INTO ignored VALUES (3, 'a');
	INSERT INTO kept VALUES (2, 'a');
	SAVEPOINT t;
	UPDATE ignored SET kind = 'b';
	UPDATE kept SET kind = 'b' WHERE id = 2;
	ROLLBACK TO t;
	INSERT INTO ignored VALUES (4, 'a');
	RELEASE s;
	INSERT INTO kept VALUES (3, 'c');
	COMMIT;
	BEGIN;
	SAVEPOINT s;
	INSERT INTO ignored VALUES (5, 'a');
	RELEASE s;
	SAVEPOINT s;
	INSERT INTO kept VALUES (4, 'c');
	RELEASE s;
	COMMIT;
	BEGIN;
	SAVEPOINT s;
	INSERT INTO kept VALUES (5, 'c');
	ROLLBACK TO s;
	INSERT INTO ignored VALUES (6, 'a');
	COMMIT;
});
read_backlog('values out of line, of both tables', join '', map { qq{
	BEGIN;
	INSERT INTO ignored VALUES (10 + $_, 'long', $long);
	INSERT INTO kept VALUES (10 + $_, 'long', $long);
	UPDATE ignored SET long = $long WHERE id = 10 + $_;
	UPDATE kept SET long = $long WHERE id = 10 + $_;
	COMMIT;
	INSERT INTO other VALUES (10 + $_, 'long', $long);
} } 1 .. 5);
# The first record of a subtransaction is one of its chunks.
read_backlog('values out of line in subtransactions', join '', map { qq{
	BEGIN;
	INSERT INTO short VALUES (0, $_);
	SAVEPOINT s;
	INSERT INTO ignored VALUES (100 + $_, 'long', $long);
	INSERT INTO short VALUES (1, $_);
	RELEASE s;
	INSERT INTO short VALUES (2, $_);
	INSERT INTO kept VALUES (100 + $_, 'long', $long);
	COMMIT;
	BEGIN;
	INSERT INTO short VALUES (0, $_);
	SAVEPOINT s;
	INSERT INTO ignored VALUES (200 + $_, 'long', $long);
	ROLLBACK TO s;
	INSERT INTO short VALUES (3, $_);
	COMMIT;
} } 1 .. 3);
# Transactions with changes of the catalogs begin and end between two chunks of a value.
{
	my $altering = start_psql($node, 'BEGIN; CREATE TEMP TABLE interleaved (id int); ROLLBACK;' x 1500);

	poll($node, 'SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE $$%interleaved%$$ AND pid <> pg_backend_pid()');
	read_backlog('values out of line, while catalogs are changed', q{
		BEGIN;
		INSERT INTO ignored SELECT 300, 'long', repeat('long', 5000000);
		INSERT INTO short VALUES (4, 1);
		COMMIT;
	});
	$altering->finish;
}
read_backlog('speculative insertions, of both tables', join '', map { qq{
	BEGIN;
	INSERT INTO ignored VALUES (20, 'again', $long) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind || $_;
	INSERT INTO kept VALUES (20, 'again', $long) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind || $_;
	INSERT INTO ignored VALUES (20 + $_, 'new') ON CONFLICT DO NOTHING;
	INSERT INTO kept VALUES (20 + $_, 'new') ON CONFLICT DO NOTHING;
	COMMIT;
	CREATE TABLE new_$_ (id int);
} } 1 .. 5);
read_backlog('COPY into both tables', join '', map { my $n = $_; "BEGIN;\n" . join('', map { "COPY $_ (id, kind) FROM STDIN;\n"
	. join('', map { "$_\tcopied\n" } 1000 * $n .. 1000 * $n + 20) . "\\.\n" } 'ignored', 'kept') . "COMMIT;\n" } 1 .. 3);
read_backlog('rewrites, TRUNCATE', q{
	INSERT INTO ignored VALUES (30, 'a'); INSERT INTO kept VALUES (30, 'a');
	VACUUM FULL ignored; VACUUM FULL kept;
	INSERT INTO ignored VALUES (31, 'a'); INSERT INTO kept VALUES (31, 'a');
	BEGIN; TRUNCATE ignored; INSERT INTO ignored VALUES (32, 'a'); INSERT INTO kept VALUES (32, 'a'); COMMIT;
	BEGIN; TRUNCATE kept; INSERT INTO kept VALUES (33, 'a'); INSERT INTO ignored VALUES (33, 'a'); COMMIT;
	ALTER TABLE ignored ALTER id TYPE bigint;
	INSERT INTO ignored VALUES (34, 'a'); INSERT INTO kept VALUES (34, 'a');
	CLUSTER kept USING kept_pkey;
	INSERT INTO kept VALUES (35, 'a');
});
read_backlog('prepared transactions', q{
	BEGIN; INSERT INTO ignored VALUES (40, 'a'); INSERT INTO kept VALUES (40, 'a'); PREPARE TRANSACTION 'one';
	BEGIN; INSERT INTO ignored VALUES (41, 'a'); PREPARE TRANSACTION 'two';
	INSERT INTO kept VALUES (41, 'a');
	COMMIT PREPARED 'two'; COMMIT PREPARED 'one';
});
read_backlog('a partition that is attached and filled in one transaction', q{
	BEGIN;
	ALTER TABLE root ATTACH PARTITION loose FOR VALUES IN (1, 2);
	INSERT INTO loose VALUES (1, 'a'), (2, 'b');
	COMMIT;
	INSERT INTO loose VALUES (1, 'a');
	BEGIN;
	ALTER TABLE root DETACH PARTITION loose;
	INSERT INTO loose VALUES (1, 'a');
	COMMIT;
});

# --- a caller's limit of time -----------------------------------------------------------

SKIP:
{
	skip 'no transaction_timeout' if sql($node, 'SELECT count(*) FROM pg_settings WHERE name = $$transaction_timeout$$') == 0;
	$node->safe_psql('postgres', 'INSERT INTO kept SELECT i, $$timeout$$ FROM generate_series(100001, 400000) i');
	is($node->psql('postgres', 'SET transaction_timeout = 200; CALL notify_stats.catch_up()'), 0,
		'transaction_timeout does not end a catch_up()');
}

# --- a table that becomes a source while it is ignored ---------------------------------

resume_stream($node);
# without an index, whose changes would be decoded
sql($node, 'CREATE TABLE gate (); CREATE TABLE plain (id int, kind text); ALTER TABLE plain REPLICA IDENTITY FULL');
wait_until_applied($node);

# Where the main slot would be read again.
sub restart_lsn
{
	return sql($node, 'SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = (SELECT slot_name FROM notify_stats.stream)');
}

my $offset = log_position($node);
set_stop($node, 'build-snapshot');
create_rollup($node, 'late', 'SELECT kind, count(*) AS n FROM plain GROUP BY kind');
wait_for_stop($node, 'build-snapshot', $offset);

# A transaction that begins after the snapshot of the build, and is decoded while the table is ignored.
# The plugin has to ignore a change of the table first, as the catalogs have changed.
for (1 .. 5)
{
	sql($node, "INSERT INTO plain VALUES (500 + $_, 'ignored'); INSERT INTO kept VALUES (500 + $_, 'ignored $_')");
	poll($node, "SELECT count(*) = 1 FROM by_kind WHERE kind = 'ignored $_'");
}
my $writer = start_psql($node, q{
	BEGIN;
	INSERT INTO plain VALUES (600, 'begun');
	DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$;
	INSERT INTO plain VALUES (601, 'ended');
	COMMIT});
poll($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%FROM gate%' AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()");
my $begun = sql($node, 'SELECT pg_current_wal_insert_lsn()');
for (1 .. 3)
{
	sql($node, "INSERT INTO kept VALUES (600 + $_, 'more $_')");
	poll($node, "SELECT count(*) = 1 FROM by_kind WHERE kind = 'more $_'");
	sql($node, 'CHECKPOINT');
}
is(sql($node, "SELECT '" . restart_lsn() . "'::pg_lsn <= '$begun'"), 't', 'the slot still has the beginning of the transaction');
continue_from_stop($node);
wait_for_state($node, 'late', 'live');
sql($node, 'INSERT INTO gate DEFAULT VALUES');
$writer->finish;
is_exact($node, 'the transaction is counted', rollups => ['late']);
is(sql($node, q{SELECT kind, n FROM late WHERE kind IN ('begun', 'ended') ORDER BY 1}), "begun|1\nended|1",
	'completely, by the rollup that was created meanwhile');

done_testing();
