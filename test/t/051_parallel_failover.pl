# 051_parallel_failover.pl
#
# A standby is promoted while the slot has a backlog from before and after the promotion, on two
# timelines.  Several processes of the new primary read it (from PostgreSQL 17 on).
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('primary', conf => q{
notify_stats.parallel_backlog = '256kB'
notify_stats.max_catch_up_workers = 3
notify_stats.failover = on
autovacuum = off
});
my $standby = PostgreSQL::Test::Cluster->new('standby');
my ($built_at, $lsn, $offset);
my $next = 1001;

plan skip_all => 'an older server has no failover slots'
  if sql($node, q{SELECT current_setting('server_version_num')::int}) < 170000;

sub backlog
{
	my ($server) = @_;

	for (1 .. 30)
	{
		sql($server, notify_insert($next, $next + 49) . q{;
			UPDATE notifications SET notification_status = 'sent' WHERE random() < 0.1;
			DELETE FROM notifications WHERE random() < 0.02;
			SELECT pg_log_standby_snapshot()});
		$next += 50;
	}
	return;
}

load_notify($node);
sql($node, 'CREATE TABLE filler (a int)');
sql($node, notify_insert(1, 50));
is_exact($node, 'exact on the primary');
$built_at = built_at($node);

start_standby($node, $standby);
$lsn = sql($node, 'SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE failover');
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	sql($node, 'INSERT INTO filler VALUES (1); SELECT pg_log_standby_snapshot()');
	last if sql($standby, "SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary AND confirmed_flush_lsn >= '$lsn'");
	select undef, undef, undef, 0.1;    # of a polling loop
}

pause_worker($node);
backlog($node);
sql($node, 'SELECT pg_switch_wal()');
backlog($node);
$lsn = sql($node, 'SELECT pg_current_wal_flush_lsn()');
poll($standby, "SELECT pg_last_wal_replay_lsn() >= '$lsn'");
kill_server($node);
$offset = log_position($standby);
$standby->promote;
wait_for_worker($standby);
backlog($standby);
resume_stream($standby);
is_exact($standby, 'exact after the failover');
is(built_at($standby), $built_at, 'without a rebuild');
like(slurp_file($standby->logfile, $offset), qr/reads a backlog of \d+ MB with up to 3 processes/, 'several processes');
unlike(slurp_file($standby->logfile, $offset), qr/\] notify_stats [a-z -]+ (WARNING|ERROR|FATAL|PANIC):/, 'no error');
is(sql($standby, 'SELECT count(*) FROM pg_replication_slots WHERE temporary'), '0', 'no slot is left');

done_testing();
