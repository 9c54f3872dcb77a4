# 025_failover.pl
#
# With notify_stats.failover the slot is one that standbys take over (from PostgreSQL 17 on).
# The rollups are fresh even if a standby is not there; but the slot does not get ahead of what
# the standbys have.  So the server that is promoted goes on where the slot is, without a
# rebuild, whatever the primary was doing when it died.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Documents;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The manual's settings; an older server does not know the second one.
my ($primary_settings, $standby_settings) = document_block('doc/operations.md', 'Failover', 'ini');
my $node = new_node('primary', start => 0, conf => $primary_settings =~ s/^synchronized_standby_slots .*//mr);
my $standby = PostgreSQL::Test::Cluster->new('standby');
my ($offset, $lsn, $built_at, $slot, $connstr);

$node->start;
if (sql($node, q{SELECT current_setting('server_version_num')::int}) < 170000)
{
	sql($node, 'CREATE EXTENSION notify_stats');
	load_notify($node);
	is_exact($node, 'an older server has an ordinary slot');
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
is(sql($node, "SELECT failover FROM pg_replication_slots WHERE slot_name = '$slot'"), 't', 'the slot is one for failover');

# A standby that the slot waits for.
sql($node, q{SELECT pg_create_physical_replication_slot('standby_1', true)});
$node->backup('backup');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$connstr = $node->connstr . ' dbname=postgres';
$standby->append_conf('postgresql.conf', $standby_settings =~ s/^(primary_conninfo = ).*/$1'$connstr'/mr);
$standby->start;
$node->append_conf('postgresql.conf', $primary_settings);
$node->reload;
poll($node, q{SELECT current_setting('synchronized_standby_slots') = 'standby_1'});

# The standby takes the slot over once that has moved on from where it was when the standby
# started, so somebody has to write meanwhile.
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
	qr/waits for replication slot nobody .*\|The slot retains WAL/, 'so does check()');
$standby->stop;
$lsn = sql($node, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '$slot'");
my $standby_lsn = sql($node, "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'standby_1'");
foreach my $round (1 .. 5)
{
	sql($node, notify_insert(50 * $round + 1, 50 * $round + 50));
	is_exact($node, "fresh without the standby, $round", rollups => ['ft_service_stats']);
}
sql($node, 'INSERT INTO kept VALUES (1), (2)');
sql($node, 'DELETE FROM kept WHERE a = 2');
is_exact($node, 'fresh without the standby', rollups => ['ft_service_stats']);
is_verified($node, 'ft_service_stats', 'verify() works as well');
sql($node, q{SELECT notify_stats.rebuild('ft_service_stats')});
is_exact($node, 'so does rebuild()', rollups => ['ft_service_stats']);
sql($node, 'CALL notify_stats.catch_up()');
is(sql($node, "SELECT confirmed_flush_lsn <= '$standby_lsn' FROM pg_replication_slots WHERE slot_name = '$slot'"), 't',
	'the slot is not ahead of what the standby has');
cmp_ok(sql($node, q{SELECT unconfirmed_bytes FROM notify_stats.status WHERE stream = 'main'}), '>', 10000,
	'the status tells how far it is behind');
$built_at = built_at($node);
$lsn = sql($node, q{SELECT applied_lsn FROM notify_stats.status WHERE stream = 'main'});
like(sql($node, q{SELECT waits_for FROM notify_stats.status WHERE stream = 'main'}), qr/slot standby_1 .*no standby is connected to; .*slot nobody/,
	'and whom it waits for');
$node->wait_for_log(qr/WARNING:  replication slot "(standby_1|nobody)" specified in parameter "synchronized_standby_slots" does/, $offset);
pass('the log tells it');
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
poll($node, 'SELECT count(*) > 2000 FROM kept');
# the worker, the standby and its slot are each somewhere else in the log
kill_server($node);
$_->finish foreach @writers;
$offset = log_position($standby);
$standby->promote;
wait_for_worker($standby);
is_exact($standby, 'exact after the failover', rollups => ['ft_service_stats']);
is(built_at($standby), $built_at, 'without a rebuild');
is(sql($standby, 'SELECT a, n FROM kept_rows WHERE a = 2'), '2|2', 'with what was deleted');
is(sql($standby, 'SELECT n - (SELECT count(*) FROM kept) FROM kept_rows WHERE a = 1'), '0', 'and what was not');
unlike(slurp_file($standby->logfile, $offset), qr/changes were lost/, 'nothing was lost');
sql($standby, notify_insert(301, 350));
is_exact($standby, 'and goes on', rollups => ['ft_service_stats']);
is_verified($standby, 'ft_service_stats', 'verify() finds nothing');
slot_is_behind($standby, 'the slot is not ahead');

done_testing();
