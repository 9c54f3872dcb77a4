# 025_failover.pl
#
# With notify_stats.failover the slot is one that standbys take over (from PostgreSQL 17 on); a
# slot that exists follows the setting.
# The rollups are fresh even if a standby is not there; but the slot does not get ahead of what
# the standbys have.  So the server that is promoted goes on where the slot is, without a
# rebuild, whatever the primary was doing when it died.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use IPC::Run ();
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('primary', start => 0);
my $standby = PostgreSQL::Test::Cluster->new('standby');
my ($offset, $lsn, $built_at, $slot);

$node->start;
if (sql($node, q{SELECT current_setting('server_version_num')::int}) < 170000)
{
	sql($node, 'CREATE EXTENSION notify_stats');
	set_and_reload($node, 'notify_stats.failover' => 'on');
	load_notify($node);
	is_exact($node, 'an older server has an ordinary slot');
	set_and_reload($node, 'notify_stats.failover' => 'off');
	change_notify($node);
	is_exact($node, 'and nothing changes');
	done_testing();
	exit;
}

sql($node, 'CREATE EXTENSION notify_stats');
load_notify($node);
sql($node, q{
	CREATE TABLE kept (a int);
	ALTER TABLE kept REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('kept_rows', 'SELECT a, count(*) AS n FROM kept GROUP BY a', ignore_deletes => '{kept}');
});
wait_until_applied($node);
sql($node, 'INSERT INTO kept VALUES (1), (2)');
sql($node, 'DELETE FROM kept WHERE a = 2');
sql($node, notify_insert(1, 50));
is_exact($node, 'exact on the primary', rollups => ['ft_service_stats']);
$built_at = built_at($node);
$slot = main_slot($node);

# The slot follows the setting.
my $failover = "SELECT failover FROM pg_replication_slots WHERE slot_name = '$slot'";

sub follows
{
	my ($value, $title) = @_;

	poll($node, $failover, $value eq 'on' ? 't' : 'f');
	pass("$title: failover is $value");
	is(built_at($node), $built_at, "$title: no rollup is rebuilt");
	return;
}

sub times_said
{
	return scalar(() = slurp_file($node->logfile, $offset) =~ /LOG:  notify_stats (?:en|dis)abled failover for replication slot "$slot"/g);
}

is(sql($node, $failover), 'f', 'at first the slot is not one for failover');
$offset = log_position($node);
# while the worker reads it, and nobody writes
my $writer = start_psql($node, q{DO $$ BEGIN FOR i IN 1 .. 3000 LOOP INSERT INTO kept VALUES (3); COMMIT; END LOOP; END $$});
set_and_reload($node, 'notify_stats.failover' => 'on');
follows('on', 'by a reload');
$writer->finish;
is_exact($node, 'exact', rollups => ['ft_service_stats']);
is(sql($node, 'SELECT n FROM kept_rows WHERE a = 3'), '3000', 'nothing is lost');
set_and_reload($node, 'notify_stats.failover' => 'off', 'notify_stats.naptime' => '1h');
follows('off', 'by a reload, with naptime 1h');
$node->reload;
is(times_said(), 2, 'each is logged once');

# In use by somebody else; by catch_up(); when the server has started.
sql($node, q{SELECT notify_stats.pause()});
poll($node, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = '$slot'");
{
	local %ENV = $node->_get_env();
	local $ENV{PGOPTIONS} = sql($node, q{SELECT current_setting('output_plugin_libraries', true) IS NULL}) eq 't' ? '' :
	  '-c output_plugin_libraries=pgoutput,test_decoding,notify_stats';
	my $reader = IPC::Run::start(
		[ 'pg_recvlogical', '-d', $node->connstr('postgres'), '-S', $slot, '--start', '-f', '-', '--no-loop',
			'-o', 'version=1', '-o', 'tables=' ],
		'<', \undef, '>', \my $output, '2>', \my $errors);

	poll($node, "SELECT active FROM pg_replication_slots WHERE slot_name = '$slot'");
	set_and_reload($node, 'notify_stats.failover' => 'on');
	sleep 2;    # in which the worker would look again
	is(sql($node, $failover), 'f', 'nothing happens while somebody else has the slot open');
	$reader->signal('INT');
	$reader->finish;
}
follows('on', 'when the slot is free, though the stream is paused');
$node->stop;
$node->append_conf('postgresql.conf', "notify_stats.database = ''\n");
$node->start;
set_and_reload($node, 'notify_stats.failover' => 'off');
is(sql($node, $failover), 't', 'without a worker nothing happens');
sql($node, 'CALL notify_stats.catch_up()');
follows('off', 'by catch_up()');
set_and_reload($node, 'notify_stats.failover' => 'on', 'notify_stats.naptime' => undef);
$node->append_conf('postgresql.conf', "notify_stats.database = 'postgres'\n");
$node->restart;
wait_for_worker($node);
follows('on', 'when the server has started');
resume_stream($node);

# An error does not keep the worker from its work.
$offset = log_position($node);
my $obstacle = $node->data_dir . "/pg_replslot/$slot/state.tmp";
mkdir $obstacle;
set_and_reload($node, 'notify_stats.failover' => 'off');
$node->wait_for_log(qr/ERROR: .*could not create file ".*state.tmp"/, $offset);
wait_for_worker($node);
sql($node, notify_insert(2001, 2010));
is_exact($node, 'with an error: exact', rollups => ['ft_service_stats']);
rmdir $obstacle;
$node->restart;
wait_for_worker($node);
follows('off', 'after an error and a restart');
set_and_reload($node, 'notify_stats.failover' => 'on');
follows('on', 'and at last');
is_exact($node, 'exact', rollups => ['ft_service_stats']);

# A standby that the slot waits for.
start_standby($node, $standby);

# The standby synchronizes the slot once it has advanced past its position when the standby
# started, so there must be writes.
sub wait_for_synced_slot
{
	my $confirmed = sql($node, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '$slot'");

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		sql($node, 'INSERT INTO filler VALUES (1); SELECT pg_log_standby_snapshot()');
		return if sql($standby, "SELECT count(*) FROM pg_replication_slots
			WHERE slot_name = '$slot' AND synced AND NOT temporary AND confirmed_flush_lsn >= '$confirmed'");
		select undef, undef, undef, 0.1;    # of a polling loop
	}
	die 'the standby does not take the slot over';
}
sql($node, 'CREATE TABLE filler (a int)');
wait_for_synced_slot();
pass('the standby has the slot');

# Without the standby, and with one that never was.
set_and_reload($node, synchronized_standby_slots => 'standby_1, nobody');
$offset = log_position($node);
sql($node, notify_insert(1001, 1010));
poll($node, q{SELECT waits_for = 'replication slot nobody in synchronized_standby_slots, which does not exist'
	FROM notify_stats.status WHERE stream = 'main'});
pass('the status names the slot that does not exist');
like(complaints($node, 'standby slots'),
	qr/waits for replication slot nobody .*\|Start the standbys/, 'so does check()');
$standby->stop;
$lsn = sql($node, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '$slot'");
my $standby_lsn = sql($node, "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'standby_1'");
foreach my $round (1 .. 5)
{
	sql($node, notify_insert(50 * $round + 1, 50 * $round + 50));
	is_exact($node, "fresh without the standby, $round", rollups => ['ft_service_stats']);
}
# a backlog that several processes read
set_and_reload($node, 'notify_stats.parallel_backlog' => '256kB');
pause_worker($node);
sql($node, notify_insert(50 * $_ + 3001, 50 * $_ + 3050) . ';SELECT pg_log_standby_snapshot()') foreach 1 .. 30;
resume_stream($node);
is_exact($node, 'fresh without the standby, after a backlog', rollups => ['ft_service_stats']);
$node->wait_for_log(qr/reads a backlog of \d+ MB with up to 2 processes/, $offset);
sql($node, 'INSERT INTO kept VALUES (1), (2)');
sql($node, 'DELETE FROM kept WHERE a = 2');
is_exact($node, 'fresh without the standby', rollups => ['ft_service_stats']);
is_verified($node, 'ft_service_stats', 'verify() works as well');
sql($node, q{SELECT notify_stats.rebuild('ft_service_stats')});
is_exact($node, 'so does rebuild()', rollups => ['ft_service_stats']);
sql($node, 'CALL notify_stats.catch_up()');
is(sql($node, "SELECT confirmed_flush_lsn <= '$standby_lsn' FROM pg_replication_slots WHERE slot_name = '$slot'"), 't',
	'the slot is not ahead of the standby');
cmp_ok(sql($node, q{SELECT unconfirmed_bytes FROM notify_stats.status WHERE stream = 'main'}), '>', 10000,
	'the status shows how far it is behind');
$built_at = built_at($node);
$lsn = sql($node, q{SELECT applied_lsn FROM notify_stats.status WHERE stream = 'main'});
like(sql($node, q{SELECT waits_for FROM notify_stats.status WHERE stream = 'main'}), qr/slot standby_1 .*is not in use by a standby; .*slot nobody/,
	'and whom it waits for');
$node->wait_for_log(qr/WARNING:  replication slot "(standby_1|nobody)" specified in parameter "synchronized_standby_slots" does/, $offset);
pass('it is logged');
set_and_reload($node, synchronized_standby_slots => 'standby_1');
$standby->start;
poll($node, "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots WHERE slot_name = '$slot'");
pass('it advances when the standby is back');
is(check_row($node, 'standby slots', 'count(*)'), '0', 'check() is content');
is(() = slurp_file($node->logfile, $offset) =~ /WARNING:  replication slot "\w+" specified in parameter/g, 1, 'it was logged once');

# The primary dies under load.
wait_for_synced_slot();
my @writers = map { start_psql($node, qq{DO \$\$ BEGIN
	FOR i IN 1 .. 1000000 LOOP
		INSERT INTO kept VALUES (1);
		INSERT INTO notifications (id, "to", created_at, template_version, key_type, notification_type, billable_units, notification_status)
			VALUES (gen_random_uuid(), 'somebody', '2026-03-28', 1, 'normal', 'sms', 1, (ARRAY['created', 'sending', 'sent'])[1 + i % 3]);
		COMMIT;
	END LOOP; END \$\$}) } 1 .. 2;
my $before = sql($node, "SELECT applied_lsn FROM notify_stats.stream");
poll($node, "SELECT confirmed_flush_lsn > '$before' AND count(*) OVER () = 1 FROM pg_replication_slots WHERE slot_name = '$slot'");
poll($node, 'SELECT count(*) > 2000 FROM kept WHERE a = 1');
# the worker, the standby and its slot are each somewhere else in the log
kill_server($node);
$_->finish foreach @writers;
$offset = log_position($standby);
$standby->promote;
wait_for_worker($standby);
is_exact($standby, 'exact after the failover', rollups => ['ft_service_stats']);
is(built_at($standby), $built_at, 'without a rebuild');
is(sql($standby, 'SELECT a, n FROM kept_rows WHERE a = 2'), '2|2', 'with what was deleted');
is(sql($standby, 'SELECT n - (SELECT count(*) FROM kept WHERE a = 1) FROM kept_rows WHERE a = 1'), '0', 'and what was not');
unlike(slurp_file($standby->logfile, $offset), qr/changes were lost/, 'nothing was lost');
sql($standby, notify_insert(301, 350));
is_exact($standby, 'and goes on', rollups => ['ft_service_stats']);
is_verified($standby, 'ft_service_stats', 'verify() finds nothing');
slot_is_behind($standby, 'the slot is not ahead');

done_testing();
