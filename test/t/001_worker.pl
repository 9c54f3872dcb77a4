# 001_worker.pl
#
# The life of the background worker: it starts with the server and waits for the extension,
# maintains the rollups of each database in the list, is restarted after any exit, obeys pause(),
# resume() and changed settings, drops its slot after DROP EXTENSION, adds no routine messages to
# the server log, and writes nothing on an idle server.
#

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('worker', extension => 0, conf => qq{
notify_stats.database = 'postgres, "Second", nowhere'
autovacuum = off
});
my ($pid, $old_pid, $slot);

# The extension is created and dropped while the worker runs.
$pid = wait_for_worker($node);
poll($node, "SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $pid");
is(sql($node, 'SELECT count(*) FROM pg_replication_slots'), '0', 'no slot before CREATE EXTENSION');
sql($node, 'CREATE EXTENSION notify_stats');
change_waits('no rollups');
is(sql($node, 'SELECT count(*) FROM pg_replication_slots'), '0', 'no slot before the first rollup');
make_kinds($node);
is_exact($node, 'the worker builds a rollup');
change_kinds($node);
is_exact($node, 'and counts');
is(worker_pid($node), $pid, 'the worker is still the same');
is(sql($node, "SELECT application_name, usename FROM pg_stat_activity WHERE pid = $pid"),
	'notify_stats worker|' . sql($node, 'SELECT rolname FROM pg_roles WHERE oid = 10'),
	'pg_stat_activity shows it');
is(sql($node, 'SELECT state, pid FROM notify_stats.status'), "running|$pid", 'the status shows it');

# A state that the worker enters by itself.
sub change_waits
{
	my ($state) = @_;
	return poll($node, "SELECT state = '$state' FROM notify_stats.status WHERE stream = 'main'");
}

# Another database in the list, with a name that must be quoted; and one that does not exist.
$node->safe_psql('postgres', 'CREATE DATABASE "Second"');
wait_for_worker($node, 'Second');
$node->safe_psql('Second', 'CREATE EXTENSION notify_stats');
make_kinds($node, 'Second');
is_exact($node, 'a second database', db => 'Second');
change_kinds($node, 'Second');
change_kinds($node);
is_exact($node, 'a second database counts', db => 'Second');
is_exact($node, 'the first database counts');
is(sql($node, 'SELECT count(DISTINCT database) FROM pg_replication_slots'), '2', 'a slot for each');
$node->wait_for_log(qr/database "nowhere" does not exist/);

# The worker is restarted, and the counters go on.
sub counters
{
	return split /\|/, sql($node, q{SELECT stats_reset, changes_total, transactions_total, cycles_total, wal_bytes_total, cpu_seconds_total
		FROM notify_stats.status WHERE stream = 'main'});
}
wait_until_applied($node);
my ($reset, @before) = counters();
cmp_ok($before[$_], '>', 0, "counter $_ has a value") for 0 .. $#before;
$old_pid = worker_pid($node);
sql($node, "SELECT pg_terminate_backend($old_pid)");
$pid = wait_for_worker($node, 'postgres', $old_pid);
change_kinds($node);
is_exact($node, 'exact after pg_terminate_backend()');
# what a cycle has used is counted at its end, when it has published its position
poll($node, "SELECT cycles_total > $before[2] AND wal_bytes_total > $before[3] AND cpu_seconds_total > $before[4]
	FROM notify_stats.status WHERE stream = 'main'");
my ($reset_now, @after) = counters();
is($reset_now, $reset, 'a restart of the worker does not reset the counters');
cmp_ok($after[$_], '>', $before[$_], "counter $_ grows across a restart of the worker") for 0 .. $#before;
@before = @after;
sql($node, q{INSERT INTO source SELECT i, 'x' FROM generate_series(-10, -1) i});
wait_until_applied($node);
(undef, @after) = counters();
is($after[0] - $before[0], 10, 'changes_total counts changes of rows');
is($after[1] - $before[1], 1, 'transactions_total counts their transactions');

# What a builder has used counts as well.
sql($node, q{
	CREATE TABLE many AS SELECT i FROM generate_series(1, 20000) i;
	ALTER TABLE many REPLICA IDENTITY FULL;
});
create_rollup($node, 'per_row', 'SELECT i, count(*) AS n FROM many GROUP BY i');
poll($node, "SELECT wal_bytes_total > $after[3] + 1000000 FROM notify_stats.status WHERE stream = 'main'");
wait_for_state($node, 'per_row', 'live');
pass('wal_bytes_total counts the WAL of a build');
sql($node, 'DROP TABLE per_row; DROP TABLE many');
kill 'TERM', $pid;
wait_for_worker($node, 'postgres', $pid);
change_kinds($node);
is_exact($node, 'exact after SIGTERM');
kill_server($node);
start_again($node);
wait_for_worker($node);
change_kinds($node);
is_exact($node, 'exact after a kill of the postmaster');
isnt((counters())[0], $reset, 'a restart of the server resets the counters');
change_kinds($node);
$node->restart;
change_kinds($node);
is_exact($node, 'exact after a restart');

# pause() and resume()
sql($node, 'SELECT notify_stats.pause()');
change_kinds($node);
is(sql($node, "SELECT notify_stats.wait_for_lsn(timeout => '300 ms', no_throw => true)"), 'f', 'a paused worker does not count');
is(sql($node, "SELECT state, waits_for FROM notify_stats.status WHERE stream = 'main'"), 'paused|resume()',
	'the status says how to go on');
isnt(differences($node, 'postgres', 'kinds'), '', 'indeed there is something to count');
sql($node, 'CALL notify_stats.catch_up()');
is(differences($node, 'postgres', 'kinds'), '', 'catch_up() counts while the worker is paused');
change_kinds($node);
resume_stream($node);
is_exact($node, 'exact after resume()');

# A changed naptime takes effect at once.
$node->append_conf('postgresql.conf', 'notify_stats.naptime = 1h');
$node->restart;
wait_for_worker($node);
change_kinds($node);
$node->append_conf('postgresql.conf', 'notify_stats.naptime = 20ms');
$node->reload;
change_kinds($node);
is_exact($node, 'exact after naptime was shortened');

# On an idle server we write nothing, even if the server's own records make the worker read
# the WAL repeatedly, for longer than the interval of its progress reports.
sub checkpoint_and_look
{
	sql($node, q{
		CHECKPOINT;
		SELECT pg_current_wal_insert_lsn() AS lsn \gset
		SELECT notify_stats.wait_for_lsn(:'lsn');
	});
	return;
}
sub let_a_second_pass
{
	my $start = sql($node, 'SELECT clock_timestamp()');
	poll($node, "SELECT clock_timestamp() > '$start'::timestamptz + interval '1.1 s'");
	checkpoint_and_look();
	return;
}
# A window of applied WAL changes nothing about that.
set_and_reload($node, 'notify_stats.resumable_wal_window' => '16MB');
poll($node, q{SELECT window_lsn IS NOT NULL FROM notify_stats.status WHERE stream = 'main'});
change_kinds($node);
wait_until_applied($node);
wait_until_applied($node, 'Second');
let_a_second_pass() for 1 .. 2;
my $idle_query = q{SELECT applied_lsn, pg_snapshot_xmax(pg_current_snapshot()),
	(SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = stream.slot_name || '_window') FROM notify_stats.stream};
my $before = sql($node, $idle_query);
my $from = sql($node, 'SELECT pg_current_wal_flush_lsn()');
let_a_second_pass() for 1 .. 3;
is(sql($node, $idle_query), $before, 'idle server: no transaction');
my $to = sql($node, 'SELECT pg_current_wal_flush_lsn()');
my ($stdout, $stderr) = run_command(
	[ 'pg_waldump', '-p', $node->data_dir . '/pg_wal', '-s', $from, '-e', $to ]);
is(join("\n", grep { /^rmgr/ && !/^rmgr: (XLOG |Standby |Heap2 .*PRUNE)/ } split /\n/, $stdout), '',
	'idle server: no records other than those of checkpoints and catalog reads');
like($stdout, qr/CHECKPOINT_ONLINE/, 'the records of checkpoints');
set_and_reload($node, 'notify_stats.resumable_wal_window' => undef);
poll($node, q{SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%\_window'}, '0');
pass('the slot of the window is dropped, though the server is idle');
change_kinds($node);
is_exact($node, 'changes are applied again after the idle period');

# The routine messages of decoding are not in the server log, and a worker that cannot connect
# causes no restart.
my $log = slurp_file($node->logfile);
unlike($log, qr/starting logical decoding for slot|logical decoding found/, 'no message of each cycle or slot in the log');
like($log, qr/created replication slot/, 'the creation of the slot is logged');
unlike($log, qr/terminating any other active server processes/, 'a missing database causes no restart');

# After DROP EXTENSION the slot must be dropped, as it would retain all WAL.
$slot = main_slot($node);
sql($node, 'DROP EXTENSION notify_stats CASCADE');
poll($node, "SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = '$slot'");
pass('the worker drops the slot after DROP EXTENSION');
sql($node, 'DROP TABLE kinds CASCADE; DROP TABLE source; CREATE EXTENSION notify_stats');
make_kinds($node);
change_kinds($node);
is_exact($node, 'the extension can be created again');
sql($node, "SELECT notify_stats.drop_rollup('kinds')");
poll($node, "SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = '$slot'");
# the slot is dropped before that is committed
poll($node, "SELECT slot_name IS NULL AND applied_lsn IS NULL FROM notify_stats.stream");
pass('no slot after the last rollup');

# The worker does not prevent its database from being dropped, once it has closed the slot.
$node->safe_psql('Second', 'SELECT notify_stats.pause()');
poll($node, 'SELECT NOT active FROM pg_replication_slots');
is($node->psql('postgres', 'DROP DATABASE "Second" WITH (FORCE)'), 0, 'DROP DATABASE ... WITH (FORCE)');
is(sql($node, 'SELECT count(*) FROM pg_replication_slots'), '0', 'its slot is dropped as well');

done_testing();
