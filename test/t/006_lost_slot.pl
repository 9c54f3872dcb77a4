# 006_lost_slot.pl
#
# If a slot does not hold the expected changes, changes are lost: the rollups become stale, a new
# slot is created, and they are rebuilt, all by the worker.  This includes slots that were dropped,
# recreated, advanced, or read by others.  A foreign slot with our name is never touched, a slot in
# use by another process is waited for, and a slot that retains much WAL is reported.  Each problem
# is logged once, however long it lasts.
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

my $node = new_node('lost', conf => 'autovacuum = off');
my $slot;

# What the worker has logged about a loss, once the rollups are rebuilt.
sub is_mended
{
	my ($offset, $reason, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->wait_for_log(qr/changes were lost: \Q$reason\E/, $offset);
	is_exact($node, "$title: exact again");
	change_notify($node);
	is_exact($node, "$title: and changes are applied again");
	is(sql($node, "SELECT string_agg(DISTINCT state, ',') FROM notify_stats.rollups"), 'live', "$title: live");
	slot_is_behind($node, "$title: the slot is not ahead");
	wait_for_builder_gone($node);
	is(sql($node, 'SELECT count(*) FROM pg_replication_slots'), '1', "$title: one slot");
	return;
}

load_notify($node);
sql($node, q{SELECT notify_stats.create_rollup('by_type',
	'SELECT notification_type, count(*) AS n FROM notifications GROUP BY notification_type')});
change_notify($node);
is_exact($node, 'exact at first');
$slot = main_slot($node);

# Dropped, with changes that were not read yet.
my $offset = log_position($node);
pause_stream($node);
change_notify($node);
drop_slot($node, $slot);
is(sql($node, "SELECT count(*) FROM notify_stats.check() WHERE item = 'slot' AND NOT ok AND hint IS NOT NULL"), '1',
	'check() reports that the slot is missing');
change_notify($node);
resume_stream($node);
is_mended($offset, 'the replication slot is missing', 'a dropped slot');

# Advanced by hand.
$offset = log_position($node);
pause_stream($node);
change_notify($node);
sql($node, "SELECT pg_replication_slot_advance('$slot', pg_current_wal_flush_lsn())");
change_notify($node);
resume_stream($node);
is_mended($offset, 'the replication slot is ahead of the applied position', 'a slot advanced by hand');

# Read by another role with REPLICATION.
my $libraries = sql($node, "SELECT coalesce(current_setting('output_plugin_libraries', true), 'none')") eq 'none' ? ''
	: 'SET output_plugin_libraries = pgoutput, test_decoding, notify_stats;';
my $oid = sql($node, "SELECT 'notifications'::regclass::oid");
$offset = log_position($node);
pause_stream($node);
change_notify($node);
isnt(sql($node, qq{$libraries
	SELECT count(*) FROM pg_logical_slot_get_binary_changes('$slot', NULL, NULL, 'version', '1', 'tables', '$oid:1')}), '0',
	'another session reads our changes');
resume_stream($node);
is_mended($offset, 'the replication slot is ahead of the applied position', 'a slot read by another session');

# Dropped, and recreated with its name: it looks like ours, and lacks the changes before it.
$offset = log_position($node);
pause_stream($node);
change_notify($node);
my $plugin = sql($node, "SELECT plugin FROM pg_replication_slots WHERE slot_name = '$slot'");
sql($node, qq{$libraries SELECT pg_drop_replication_slot('$slot');
	SELECT pg_create_logical_replication_slot('$slot', '$plugin')});
change_notify($node);
resume_stream($node);
is_mended($offset, 'the replication slot is ahead of the applied position', 'a recreated slot');

# Dropped, and found by catch_up() instead of the worker.
$offset = log_position($node);
pause_stream($node);
change_notify($node);
drop_slot($node, $slot);
sql($node, 'CALL notify_stats.catch_up()');
is(differences($node, 'postgres', 'ft_service_stats', 'by_type'), '', 'catch_up() replaces a dropped slot as well');
resume_stream($node);
is_mended($offset, 'the replication slot is missing', 'a slot that catch_up() missed');

# Invalidated, because it retained more WAL than allowed.
$offset = log_position($node);
pause_stream($node);
change_notify($node);
set_and_reload($node, max_slot_wal_keep_size => '1MB');
for (1 .. 10)
{
	sql($node, 'CREATE TABLE filler (); DROP TABLE filler; SELECT pg_switch_wal(); CHECKPOINT');
	last if sql($node, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = '$slot'") eq 'lost';
}
is(sql($node, "SELECT wal_status FROM notify_stats.status WHERE stream = 'main'"), 'lost', 'the status shows a lost slot');
set_and_reload($node, max_slot_wal_keep_size => '-1');
resume_stream($node);
is_mended($offset, 'the replication slot was invalidated because of max_slot_wal_keep_size', 'an invalidated slot');

# Idle.  The server invalidates a slot that is not used for some time, at a checkpoint.
sub idle_until_lost
{
	poll($node, "SELECT inactive_since < now() - interval '1.1 s' FROM pg_replication_slots WHERE slot_name = '$slot'");
	for (1 .. 10)
	{
		sql($node, 'CHECKPOINT');
		last if sql($node, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = '$slot'") eq 'lost';
	}
	is(sql($node, "SELECT wal_status FROM notify_stats.status WHERE stream = 'main'"), 'lost', 'a slot that was idle for long is lost');
	return;
}

if ($node->pg_version >= 18)
{
	my $idle_reason = 'the replication slot was invalidated because of idle_replication_slot_timeout';
	my ($since, $built, $builder);

	sql($node, q{
		CREATE TABLE kept (a int);
		ALTER TABLE kept REPLICA IDENTITY FULL;
		SELECT notify_stats.create_rollup('kept_rows', 'SELECT a, count(*) AS n FROM kept GROUP BY a', ignore_deletes => '{kept}');
		INSERT INTO kept VALUES (1), (2)});
	is_exact($node, 'exact before the slot is idle');
	$built = built_at($node);
	set_and_reload($node, idle_replication_slot_timeout => '1s');

	# The worker uses it in time, whether or not there is something to read.
	poll($node, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = '$slot'");
	$since = sql($node, "SELECT coalesce(inactive_since, now()) FROM pg_replication_slots WHERE slot_name = '$slot'");
	poll($node, "SELECT now() > '$since'::timestamptz + interval '1.5 s'");
	sql($node, 'CHECKPOINT');
	is(sql($node, "SELECT wal_status FROM notify_stats.status WHERE stream = 'main'"), 'reserved', 'the slot of an idle server is not idle');

	# So do builders, whose slots are temporary: the server would end them.
	$offset = log_position($node);
	set_stop($node, 'build-snapshot');
	sql($node, q{SELECT notify_stats.rebuild('by_type')});
	wait_for_stop($node, 'build-snapshot', $offset);
	$builder = builder_pid($node);
	$since = sql($node, 'SELECT now()');
	poll($node, "SELECT now() > '$since'::timestamptz + interval '1.5 s'");
	sql($node, 'CHECKPOINT');
	is(builder_pid($node), $builder, 'a build is not ended while it reads its sources');
	continue_from_stop($node);
	is_exact($node, 'the build ends');
	$built = built_at($node);
	# the position of the build is before its own commit, which drops temporary tables
	change_notify($node);
	wait_until_applied($node);

	# A paused worker does not, but if there are no changes, nothing is lost.
	$offset = log_position($node);
	pause_stream($node);
	is(check_row($node, 'idle slot', 'ok, hint IS NOT NULL'), 'f|t', 'check() warns of a pause');
	idle_until_lost();
	like(complaints($node, 'slot', 'detail'), qr/is lost \(idle_timeout\)/,
		'check() reports the cause');
	resume_stream($node);
	$node->wait_for_log(qr/replication slot "$slot" was invalidated because of idle_replication_slot_timeout, and has been recreated/, $offset);
	is_exact($node, 'an idle slot with nothing to read: exact');
	is(built_at($node), $built, 'an idle slot with nothing to read: nothing was lost');
	change_notify($node);
	sql($node, 'INSERT INTO kept VALUES (3); SELECT notify_stats.drop_rollup($$by_type$$)');
	is_exact($node, 'an idle slot with nothing to read: and changes are applied again');
	slot_is_behind($node, 'an idle slot with nothing to read: the slot is not ahead');
	is(check_row($node, 'idle slot', 'ok'), 't', 'check() is content with a running worker');
	sql($node, q{SELECT notify_stats.drop_rollup('kept_rows');
		SELECT notify_stats.create_rollup('by_type', 'SELECT notification_type, count(*) AS n FROM notifications GROUP BY notification_type')});

	wait_until_applied($node);

	# A change from before the pause that is committed within it is lost.
	sql($node, 'BEGIN;' . notify_insert(1_000_000, 1_000_000) . q{; PREPARE TRANSACTION 'open'});
	change_notify($node);
	is_exact($node, 'exact during an open transaction');
	$offset = log_position($node);
	pause_stream($node);
	idle_until_lost();
	sql($node, q{COMMIT PREPARED 'open'});
	resume_stream($node);
	is_mended($offset, $idle_reason, 'an idle slot, and a transaction from before');

	# Later changes are counted as well.
	$offset = log_position($node);
	pause_stream($node);
	change_notify($node);
	idle_until_lost();
	set_and_reload($node, idle_replication_slot_timeout => '0');
	resume_stream($node);
	is_mended($offset, $idle_reason, 'an idle slot');
}

# Temporarily in use by another process.
$offset = log_position($node);
pause_stream($node);
{
	local %ENV = $node->_get_env();
	local $ENV{PGOPTIONS} = $libraries ? '-c output_plugin_libraries=pgoutput,test_decoding,notify_stats' : '';
	my $reader = IPC::Run::start(
		[ 'pg_recvlogical', '-d', $node->connstr('postgres'), '-S', $slot, '--start', '-f', '-', '--no-loop',
			'-o', 'version=1', '-o', 'tables=' ],
		'<', \undef, '>', \my $output, '2>', \my $errors);
	my $position;

	poll($node, "SELECT active FROM pg_replication_slots WHERE slot_name = '$slot'");
	resume_stream($node);
	change_notify($node);
	$node->wait_for_log(qr/replication slot "$slot" is in use by process \d+/, $offset);
	poll($node, q{SELECT waits_for ~ '^process \d+, which has the replication slot open' FROM notify_stats.status WHERE stream = 'main'});
	pass('the status tells who has the slot open');
	is(sql($node, q{SELECT notify_stats.wait_for_lsn(timeout => '2.5 s', no_throw => true)}), 'f', 'nothing is applied meanwhile');
	is(sql($node, q{SELECT count(*) FROM notify_stats.rollups WHERE state <> 'live'}), '0', 'and nothing is lost yet');
	is(() = slurp_file($node->logfile, $offset) =~ /is in use by process|is active for PID/g, 1, 'it is logged once');
	$reader->signal('INT');
	$reader->finish;
}
is_exact($node, 'exact when the slot is free again, whether or not it was read from');
is(sql($node, q{SELECT waits_for FROM notify_stats.status WHERE stream = 'main'}), '', 'and nothing is waited for');

# More WAL than there should be.
$offset = log_position($node);
set_and_reload($node, 'notify_stats.warn_retained_wal' => '2MB');
pause_stream($node);
for (1 .. 3)
{
	sql($node, q{SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1024 * 1024)); SELECT pg_current_wal_flush_lsn()});
	change_notify($node);
}
$node->wait_for_log(qr/WARNING:  replication slot "$slot" retains more than 2 MB of WAL/, $offset);
is(check_row($node, 'WAL retained by the slot', 'ok'), 'f', 'check() tells it, too');
cmp_ok(sql($node, q{SELECT retained_bytes FROM notify_stats.status WHERE stream = 'main'}), '>', 2 * 1024 * 1024, 'and the status');
cmp_ok(sql($node, q{SELECT unconfirmed_bytes FROM notify_stats.status WHERE stream = 'main'}), '>', 2 * 1024 * 1024,
	'the item says that it was not applied');
cmp_ok(sql($node, q{SELECT catalog_xmin_age FROM notify_stats.status WHERE stream = 'main'}), '>', 0, 'and how old the catalogs are');
resume_stream($node);
# restart_lsn follows when running transactions are logged
for (1 .. 100)
{
	change_notify($node);
	sql($node, 'CHECKPOINT');
	wait_until_applied($node);
	last if slurp_file($node->logfile, $offset) =~ /retains less than 2 MB of WAL again/;
}
$node->wait_for_log(qr/retains less than 2 MB of WAL again/, $offset);
is(() = slurp_file($node->logfile, $offset) =~ /retains more than 2 MB/g, 1, 'it was said once');
set_and_reload($node, 'notify_stats.warn_retained_wal' => undef);

# Without a rebuild, if so configured.
$offset = log_position($node);
set_and_reload($node, 'notify_stats.on_lost_slot' => 'stop');
pause_stream($node);
change_notify($node);
drop_slot($node, $slot);
resume_stream($node);
$node->wait_for_log(qr/changes were lost: the replication slot is missing/, $offset);
poll($node, q{SELECT bool_and(state = 'failed' AND reason LIKE 'changes were lost%') FROM notify_stats.rollups});
pass('with on_lost_slot = stop the rollups fail');
change_notify($node);
wait_until_applied($node);
is(sql($node, q{SELECT string_agg(DISTINCT state, ',') FROM notify_stats.rollups}), 'failed', 'and stay so');
is(() = slurp_file($node->logfile, $offset) =~ /changes were lost/g, 1, 'it is logged once');
sql($node, 'SELECT notify_stats.rebuild(rollup) FROM notify_stats.rollups');
is_mended($offset, 'the replication slot is missing', 'rebuilt by hand');
set_and_reload($node, 'notify_stats.on_lost_slot' => undef);

# Replaced by a foreign slot with its name: it is not dropped, and the worker continues
# once the name is free again.
$offset = log_position($node);
pause_stream($node);
change_notify($node);
drop_slot($node, $slot);
sql($node, "SELECT pg_create_logical_replication_slot('$slot', 'test_decoding')");
resume_stream($node);
$node->wait_for_log(qr/changes were lost: the replication slot belongs to another database or output plugin/, $offset);
$node->wait_for_log(qr/replication slot "$slot" already exists/, $offset);
poll($node, q{SELECT last_error LIKE '%already exists%' FROM notify_stats.status WHERE stream = 'main'});
pass('the status shows that the name is taken');
is(sql($node, "SELECT plugin FROM pg_replication_slots WHERE slot_name = '$slot'"), 'test_decoding',
	'the foreign slot is not touched');
is(sql($node, 'SELECT DISTINCT state FROM notify_stats.rollups'), 'stale', 'the rollups are stale');
change_notify($node);
drop_slot($node, $slot);
is_mended($offset, 'the replication slot belongs to another database or output plugin', 'a foreign slot');
is_verified($node, 'ft_service_stats', 'verify() finds nothing');

done_testing();
