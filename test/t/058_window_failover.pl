# 058_window_failover.pl
#
# The slot of the window of applied WAL is synchronized to standbys as the main slot.  So after a
# failover a rollup that was left behind on the old primary is resumed on the new one, and a main
# slot that is lost there is made again from the window.
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

my ($primary_settings, $standby_settings) = document_block('doc/operations.md', 'Failover', 'ini');
my $node = new_node('primary', conf => <<'CONF');
notify_stats.failover = on
notify_stats.resumable_wal_window = 256MB
CONF
my $standby = PostgreSQL::Test::Cluster->new('standby');
my ($slot, $offset, $built_at, $connstr);

# All rows that were ever inserted count.
sub is_total
{
	my ($server, $n, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until_applied($server);
	is(sql($server, 'SELECT sum(n) FROM kept_rows'), $n, $title);
	is_exact($server, "$title; the other one is exact", rollups => ['rows']);
	return;
}

sql($node, q{
	CREATE TABLE kept (a int);
	ALTER TABLE kept REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('kept_rows', 'SELECT a, count(*) AS n FROM kept GROUP BY a', ignore_deletes => '{kept}');
	SELECT notify_stats.create_rollup('rows', 'SELECT a, count(*) AS n FROM kept GROUP BY a');
});
wait_until_applied($node);
$slot = main_slot($node);
poll($node, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '${slot}_window'", '1');
sql($node, 'INSERT INTO kept SELECT g % 2 FROM generate_series(1, 100) g');
sql($node, 'DELETE FROM kept WHERE a = 1');
is_total($node, 100, 'on the primary');
if (sql($node, q{SELECT current_setting('server_version_num')::int}) < 170000)
{
	done_testing();
	exit;
}
poll($node, "SELECT bool_and(failover) FROM pg_replication_slots WHERE slot_name LIKE '$slot%'");
pass('both slots are for failover');
set_and_reload($node, 'notify_stats.failover' => 'off');
poll($node, "SELECT NOT bool_or(failover) FROM pg_replication_slots WHERE slot_name LIKE '$slot%'");
set_and_reload($node, 'notify_stats.failover' => undef);
poll($node, "SELECT bool_and(failover) FROM pg_replication_slots WHERE slot_name LIKE '$slot%'");
pass('both follow the setting');

sql($node, q{SELECT pg_create_physical_replication_slot('standby_1', true)});
$node->backup('backup');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$connstr = $node->connstr . ' dbname=postgres';
$standby->append_conf('postgresql.conf', $standby_settings =~ s/^(primary_conninfo = ).*/$1'$connstr'/mr);
$standby->start;
$node->append_conf('postgresql.conf', $primary_settings);
$node->reload;
sql($node, 'CREATE TABLE filler (a int)');

# A slot is synchronized when it has advanced past where the standby began.
sub wait_for_synced_slots
{
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		sql($node, 'INSERT INTO filler VALUES (1); SELECT pg_log_standby_snapshot()');
		return if sql($standby, "SELECT count(*) FROM pg_replication_slots
			WHERE slot_name LIKE '$slot%' AND synced AND NOT temporary") eq '2';
		select undef, undef, undef, 0.1;    # of a polling loop
	}
	die 'the standby does not take the slots over';
}

# the slot of the window stands still until there is more WAL than its size
set_and_reload($node, 'notify_stats.resumable_wal_window' => '1MB');
sql($node, 'INSERT INTO kept SELECT 0 FROM generate_series(1, 20000)');
sql($node, 'INSERT INTO kept SELECT 0 FROM generate_series(1, 20000)');
wait_for_synced_slots();
pass('the standby has both');
set_and_reload($node, 'notify_stats.resumable_wal_window' => undef);

# A rollup is left behind, and the primary dies.
sql($node, 'ALTER TABLE kept_rows ADD CONSTRAINT few CHECK (n < 0) NOT VALID');
sql($node, 'INSERT INTO kept SELECT 1 FROM generate_series(1, 10)');
wait_for_state($node, 'kept_rows', 'failed');
sql($node, 'DELETE FROM kept WHERE a = 0');
sql($node, 'INSERT INTO kept SELECT 1 FROM generate_series(1, 10)');
sql($node, 'ALTER TABLE kept_rows ALTER n SET NOT NULL');
wait_for_synced_slots();
$node->wait_for_catchup($standby, 'replay', $node->lsn('flush'));
$built_at = built_at($node, 'kept_rows');
kill_server($node);
$offset = log_position($standby);
$standby->promote;
wait_for_worker($standby);
sql($standby, 'INSERT INTO kept SELECT 1 FROM generate_series(1, 10)');
sql($standby, q{ALTER TABLE kept_rows DROP CONSTRAINT few; SELECT notify_stats.rebuild('kept_rows')});
wait_for_state($standby, 'kept_rows', 'live');
is_total($standby, 40130, 'resumed on the new primary');
is(built_at($standby, 'kept_rows'), $built_at, 'it was not built again');
like(slurp_file($standby->logfile, $offset), qr/resumes rollup public\.kept_rows/, 'but resumed');

# Its main slot is lost.
pause_stream($standby);
sql($standby, 'INSERT INTO kept SELECT 2 FROM generate_series(1, 10)');
drop_slot($standby, $slot);
resume_stream($standby);
is_total($standby, 40140, 'the main slot is made again from the window');
is(built_at($standby, 'kept_rows'), $built_at, 'and nothing was built again');
unlike(slurp_file($standby->logfile, $offset), qr/changes were lost/, 'nothing was lost');

done_testing();
