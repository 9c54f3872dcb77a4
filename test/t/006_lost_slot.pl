# 006_lost_slot.pl
#
# A slot that does not hold what it should is changes lost: the rollups become stale, a new
# slot is made, and they are rebuilt, all by the worker itself.  So when somebody drops the
# slot, advances it, or reads from it.  A slot of our name that is somebody else's is never
# touched.
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

my $node = new_node('lost');
my $slot;
my $next = 1;

sub change
{
	my ($from, $to) = ($next, $next + 20);
	$next = $to + 1;
	sql($node, notify_insert($from, $to));
	sql($node, q{
		UPDATE notifications SET notification_status = 'sending' WHERE random() < 0.3;
		DELETE FROM notifications WHERE random() < 0.1;
	});
	return;
}

# What the worker has said of a loss, once the rollups are rebuilt.
sub is_mended
{
	my ($offset, $reason, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->wait_for_log(qr/changes were lost: \Q$reason\E/, $offset);
	is_exact($node, "$title: exact again");
	change();
	is_exact($node, "$title: and goes on");
	is(sql($node, "SELECT string_agg(DISTINCT state, ',') FROM notify_stats.rollups"), 'live', "$title: live");
	slot_is_behind($node, "$title: the slot is not ahead");
	is(sql($node, 'SELECT count(*) FROM pg_replication_slots'), '1', "$title: one slot");
	return;
}

load_notify($node);
sql($node, q{SELECT notify_stats.create_rollup('by_type',
	'SELECT notification_type, count(*) AS n FROM notifications GROUP BY notification_type')});
change();
is_exact($node, 'exact at first');
$slot = main_slot($node);

# Dropped, with changes that were not read yet.
my $offset = log_position($node);
sql($node, 'SELECT notify_stats.pause()');
change();
sql($node, "SELECT pg_drop_replication_slot('$slot')");
is(sql($node, "SELECT count(*) FROM notify_stats.check() WHERE item = 'slot' AND NOT ok AND hint IS NOT NULL"), '1',
	'check() tells that the slot is missing');
change();
sql($node, 'SELECT notify_stats.resume()');
is_mended($offset, 'the replication slot is missing', 'a dropped slot');

# Advanced by hand.
$offset = log_position($node);
sql($node, 'SELECT notify_stats.pause()');
change();
sql($node, "SELECT pg_replication_slot_advance('$slot', pg_current_wal_flush_lsn())");
change();
sql($node, 'SELECT notify_stats.resume()');
is_mended($offset, 'the replication slot is ahead of what was applied', 'a slot advanced by hand');

# Read from.  The server would let anybody with the right to replicate.
my $libraries = sql($node, "SELECT coalesce(current_setting('output_plugin_libraries', true), 'none')") eq 'none' ? ''
	: 'SET output_plugin_libraries = pgoutput, test_decoding, notify_stats;';
my $oid = sql($node, "SELECT 'notifications'::regclass::oid");
$offset = log_position($node);
sql($node, 'SELECT notify_stats.pause()');
change();
isnt(sql($node, qq{$libraries
	SELECT count(*) FROM pg_logical_slot_get_binary_changes('$slot', NULL, NULL, 'version', '1', 'tables', '$oid:1')}), '0',
	'somebody reads our changes');
sql($node, 'SELECT notify_stats.resume()');
is_mended($offset, 'the replication slot is ahead of what was applied', 'a slot read by somebody else');

# Dropped, and found by catch_up() instead of the worker.
$offset = log_position($node);
sql($node, 'SELECT notify_stats.pause()');
change();
sql($node, "SELECT pg_drop_replication_slot('$slot')");
sql($node, 'CALL notify_stats.catch_up()');
is(differences($node, 'postgres', 'ft_service_stats', 'by_type'), '', 'catch_up() mends a dropped slot as well');
sql($node, 'SELECT notify_stats.resume()');
is_mended($offset, 'the replication slot is missing', 'a slot that catch_up() missed');

# Invalidated, because it kept more of the log than it may.
$offset = log_position($node);
sql($node, 'SELECT notify_stats.pause()');
change();
set_and_reload($node, max_slot_wal_keep_size => '1MB');
for (1 .. 10)
{
	sql($node, 'CREATE TABLE filler (); DROP TABLE filler; SELECT pg_switch_wal(); CHECKPOINT');
	last if sql($node, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = '$slot'") eq 'lost';
}
is(sql($node, "SELECT wal_status FROM notify_stats.status WHERE stream = 'main'"), 'lost', 'the status tells a lost slot');
set_and_reload($node, max_slot_wal_keep_size => '-1');
sql($node, 'SELECT notify_stats.resume()');
is_mended($offset, 'the replication slot was invalidated', 'an invalidated slot');

# Replaced by somebody else's under its name: not ours to drop, and not a reason to stop
# serving once the name is free again.
$offset = log_position($node);
sql($node, 'SELECT notify_stats.pause()');
change();
sql($node, "SELECT pg_drop_replication_slot('$slot')");
sql($node, "SELECT pg_create_logical_replication_slot('$slot', 'test_decoding')");
sql($node, 'SELECT notify_stats.resume()');
$node->wait_for_log(qr/changes were lost: the replication slot belongs to somebody else/, $offset);
$node->wait_for_log(qr/replication slot "$slot" already exists/, $offset);
poll($node, q{SELECT last_error LIKE '%already exists%' FROM notify_stats.status WHERE stream = 'main'});
pass('the status tells that the name is taken');
is(sql($node, "SELECT plugin FROM pg_replication_slots WHERE slot_name = '$slot'"), 'test_decoding',
	'the slot of somebody else is left alone');
is(sql($node, 'SELECT DISTINCT state FROM notify_stats.rollups'), 'stale', 'the rollups are stale');
change();
sql($node, "SELECT pg_drop_replication_slot('$slot')");
is_mended($offset, 'the replication slot belongs to somebody else', 'a slot of somebody else');
is_verified($node, 'ft_service_stats', 'verify() finds nothing');

done_testing();
