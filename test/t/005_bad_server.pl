# 005_bad_server.pl
#
# Servers that lack something.  Impossible operations fail with an SQLSTATE and a usable hint,
# and leave nothing behind; operations that may become possible later wait, and report this.
#

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $create = q{SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM source GROUP BY kind')};
my $nothing_made = q{SELECT count(*) FROM pg_class WHERE relname LIKE 'kinds%'};
my $schema = q{
	CREATE TABLE source (id int PRIMARY KEY, kind text);
	ALTER TABLE source REPLICA IDENTITY FULL;
	INSERT INTO source VALUES (1, 'a'), (2, 'a'), (3, 'b');
};
my $allow_plugin;
my ($node, $error, $offset);

# The notices of a statement, without its result.
sub notices
{
	my ($query) = @_;
	my (undef, undef, $notices) = $node->psql('postgres', $query);
	return $notices;
}

sub restart_with
{
	my ($conf) = @_;
	$node->append_conf('postgresql.conf', $conf);
	$node->restart;
	return;
}

# --- wal_level ------------------------------------------------------------------------

# Since 19 replica is enough, see 064_wal_level.pl.
$node = new_node('bad', start => 0);
my ($lowest, $too_low) = $node->pg_version->major < 19 ? ('logical', "wal_level = replica\n") :
	('replica', "wal_level = minimal\nmax_wal_senders = 0\n");
$node->append_conf('postgresql.conf', $too_low);
$node->start;
sql($node, "CREATE EXTENSION notify_stats; $schema");
$allow_plugin = sql($node, q{SELECT current_setting('output_plugin_libraries', true) IS NOT NULL}) eq 't';
$error = sql_error($node, $create);
like($error, qr/ERROR:  55000: notify_stats requires wal_level >= $lowest/, 'a lower wal_level is refused');
like($error, qr/DETAIL: .*\nHINT:  Set wal_level = $lowest in postgresql.conf and restart/, 'with a hint');
is(sql($node, $nothing_made), '0', 'and nothing is made');
is(check_row($node, 'wal_level', 'ok, hint IS NOT NULL'), 'f|t', 'check() reports it');

# --- not preloaded --------------------------------------------------------------------

# As an output plugin the library may be loaded by any server.  It defines no settings then,
# and starts nothing.
sub not_preloaded
{
	my $hint = qr/ERROR:  55000: notify_stats must be loaded via shared_preload_libraries\nHINT:  Add notify_stats to shared_preload_libraries in postgresql.conf and restart the server/;
	my $oid;

	foreach my $call (
		$create,
		q{SELECT notify_stats.verify('source')},
		'SELECT notify_stats.wait_for_lsn()',
		'CALL notify_stats.catch_up()')
	{
		like(sql_error($node, $call), $hint, "not preloaded: $call");
	}
	is(sql($node, $nothing_made), '0', 'not preloaded: nothing is made');
	is(check_row($node, 'preload', 'ok, hint IS NOT NULL'), 'f|t', 'not preloaded: check() reports it');
	is(sql($node, 'SELECT state FROM notify_stats.status'), 'not preloaded', 'not preloaded: so does the status');
	is(sql($node, 'SELECT count(*) FROM notify_stats.rollups'), '0', 'not preloaded: the rollups can be read');
	is(sql($node, 'SELECT notify_stats.applied_lsn() IS NULL'), 't', 'not preloaded: applied_lsn() can be called');

	$oid = sql($node, "SELECT 'source'::regclass::oid");
	sql($node, q{SELECT pg_create_logical_replication_slot('plain', 'notify_stats')});
	sql($node, q{INSERT INTO source VALUES (4, 'c')});
	is(sql($node, qq{SELECT count(*) FROM pg_logical_slot_get_binary_changes('plain', NULL, NULL,
		'version', '1', 'tables', '$oid:2')}), '1', 'not preloaded: the output plugin works');
	like(sql_error($node, q{SELECT * FROM pg_logical_slot_get_binary_changes('plain', NULL, NULL)}),
		qr/ERROR:  22023: option "\w+" of output plugin "notify_stats" is missing/,
		'not preloaded: the output plugin refuses missing options');
	is(sql($node, q{
		LOAD 'notify_stats';
		SELECT count(*) FROM pg_settings WHERE name LIKE 'notify\_stats.%';
	}), '0', 'not preloaded: loading it defines no settings');
	is(sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'notify_stats%'}), '0',
		'not preloaded: and starts nothing');
	sql($node, q{SELECT pg_drop_replication_slot('plain')});
	return;
}

$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->append_conf('postgresql.conf', "output_plugin_libraries = 'pgoutput, test_decoding, notify_stats'\n")
  if $allow_plugin;
restart_with("wal_level = logical\nmax_wal_senders = 10\n");
not_preloaded();

# --- no free slot ---------------------------------------------------------------------

# Without its name in output_plugin_libraries from here on: our own calls add it.
$node->append_conf('postgresql.conf', "output_plugin_libraries = 'pgoutput, test_decoding'\n")
  if $allow_plugin;
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'notify_stats'");
restart_with("max_replication_slots = 2\n");
wait_for_worker($node);
sql($node, q{SELECT pg_create_physical_replication_slot('taken')});
$error = sql_error($node, $create);
like($error, qr/ERROR:  53400: all replication slots are in use/, 'no free slot for the build is refused');
like($error, qr/DETAIL: .*\nHINT:  Drop unused slots, or raise max_replication_slots/, 'with a hint');
is(sql($node, $nothing_made), '0', 'and nothing is made');
is(check_row($node, 'replication slots', 'ok, hint IS NOT NULL'), 'f|t', 'check() reports it');

# All slots are taken only afterwards: the build waits, reports why, and is done when there is one.
sql($node, q{SELECT pg_drop_replication_slot('taken')});
is(check_row($node, 'replication slots', 'ok, hint IS NOT NULL'), 't|f', 'check() is content');
like(check_row($node, 'catch-up processes'),
	qr/^f\|1 of 2 processes can read a large backlog\|Raise max_replication_slots and restart the server, or lower notify_stats.max_catch_up_workers\./,
	'but tells that only one process can read a backlog');
sql($node, qq{
	SELECT notify_stats.pause();
	$create;
	SELECT pg_create_physical_replication_slot('taken');
	SELECT notify_stats.resume();
});
poll($node, q{SELECT last_error LIKE '%all replication slots are in use%' FROM notify_stats.status WHERE stream = 'main'});
pass('a build without a slot reports why it waits');
sql($node, q{INSERT INTO source VALUES (5, 'd')});
sql($node, q{SELECT pg_drop_replication_slot('taken')});
is_exact($node, 'and comes when there is a slot');

# verify() needs one, too, and leaves one for a build.
restart_with("max_replication_slots = 3\n");
wait_for_worker($node);
sql($node, q{SELECT pg_create_physical_replication_slot('taken')});
like(sql_error($node, q{SELECT * FROM notify_stats.verify('kinds')}),
	qr/ERROR:  53400: not enough free replication slots to verify a rollup\nDETAIL:/, 'verify() without a slot');
sql($node, q{INSERT INTO source VALUES (6, 'd')});
is_exact($node, 'the stream continues');
sql($node, q{SELECT pg_drop_replication_slot('taken')});
is_verified($node, 'kinds', 'verify() with a slot');

# --- no free worker process -----------------------------------------------------------

# The server's own logical replication launcher takes one process, ours one, and our worker one.
restart_with("max_worker_processes = 3\n");
wait_for_worker($node);
poll($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'logical replication launcher'});
is(check_row($node, 'worker processes', 'ok, hint IS NOT NULL'), 'f|t', 'check() reports that there is no process for a build');
like(check_row($node, 'catch-up processes'),
	qr/^f\|1 of 2 processes can read a large backlog\|Raise max_worker_processes and restart the server/, 'nor for a backlog');
set_and_reload($node, 'notify_stats.parallel_backlog' => 0);
is(check_row($node, 'catch-up processes'), 't|one process reads a backlog|', 'which none is wanted for then');
set_and_reload($node, 'notify_stats.parallel_backlog' => undef);
$offset = log_position($node);
sql($node, q{SELECT notify_stats.rebuild('kinds')});
$node->wait_for_log(qr/could not start a background process to build a rollup/, $offset);
$node->wait_for_log(qr/HINT:  You may need to increase "max_worker_processes"/, $offset);
sql($node, q{INSERT INTO source VALUES (7, 'd')});
poll($node, q{SELECT sum(n) = 7 FROM kinds});
pass('the stream continues while a build waits for a process');
$error = sql_error($node, q{SELECT * FROM notify_stats.verify('kinds')});
like($error, qr/ERROR:  53400: could not start a background process to verify the rollup\nHINT:  You may need to increase "max_worker_processes"/,
	'verify() without a process');
sql($node, 'CALL notify_stats.catch_up()');
is(sql($node, q{SELECT count(*) FROM notify_stats.rebuild_request}), '0', 'catch_up() builds without a process');
sql($node, q{SELECT notify_stats.rebuild('kinds')});
restart_with("max_worker_processes = 8\n");
is_exact($node, 'the build comes when there is a process');
is_verified($node, 'kinds', 'and verify() finds nothing');

# --- no worker, as there is no process for one ----------------------------------------

restart_with("max_worker_processes = 1\n");
sql($node, q{INSERT INTO source VALUES (9, 'f')});
is(check_row($node, 'worker'),
	'f|no worker serves database postgres: max_worker_processes = 1 is too low|'
	. 'Raise max_worker_processes and restart the server, or run CALL notify_stats.catch_up(); regularly.', 'check() tells it');
is(sql($node, 'SELECT state, waits_for FROM notify_stats.status'), 'off|a worker: max_worker_processes is too low',
	'so does the status');
like(notices(q{SELECT notify_stats.wait_for_lsn(timeout => '1 ms', no_throw => true)}),
	qr/WARNING:  no worker serves database "postgres"\nDETAIL:  .*All 1 background processes that max_worker_processes allows are in use\.\nHINT:  Raise/,
	'and wait_for_lsn(), before it waits');
is(notices(q{SELECT notify_stats.wait_for_lsn(timeout => '0', no_throw => true)}), '', 'but not if it is only asked');
sql($node, 'CALL notify_stats.catch_up()');
is(differences($node, 'postgres', 'kinds'), '', 'catch_up() does without');
restart_with("max_worker_processes = 8\n");

# --- no worker at all -----------------------------------------------------------------

sql($node, q{SELECT notify_stats.create_rollup('dropped', 'SELECT id, count(*) AS n FROM source GROUP BY id')});
is_exact($node, 'exact with the worker');
restart_with("notify_stats.database = ''\n");
sql($node, q{INSERT INTO source VALUES (8, 'e')});
is(check_row($node, 'worker', 'ok, hint IS NOT NULL'), 'f|t', 'check() tells that no worker serves the database');
is(sql($node, q{SELECT notify_stats.wait_for_lsn(timeout => '100 ms', no_throw => true)}), 'f', 'wait_for_lsn() runs out of time');
like(notices(q{SELECT notify_stats.wait_for_lsn(timeout => '1 ms', no_throw => true)}),
	qr/WARNING:  no worker serves database "postgres"\nHINT:  Add the database/, 'and tells why, before it waits');
sql($node, 'CALL notify_stats.catch_up()');
is(differences($node, 'postgres', 'kinds'), '', 'catch_up() does the work of the worker');

# Only verify() itself has noticed that another rollup was dropped.
sql($node, 'DROP TABLE dropped');
is_verified($node, 'kinds', 'verify() after DROP TABLE of another rollup');

# --- a server that left ---------------------------------------------------------------

# The slot prevents the server from starting at a lower wal_level, with a message of the server.
$node->append_conf('postgresql.conf', $too_low);
$node->stop;
is($node->start(fail_ok => 1), 0, 'a server with our slot does not start at a lower wal_level');
$node->append_conf('postgresql.conf', "wal_level = logical\nmax_wal_senders = 10\n");
$node->start;
sql($node, q{SELECT notify_stats.drop_rollup('kinds')});
sql($node, 'CALL notify_stats.catch_up()');
is(sql($node, 'SELECT count(*) FROM pg_replication_slots'), '0', 'catch_up() drops the slot after the last rollup');

done_testing();
