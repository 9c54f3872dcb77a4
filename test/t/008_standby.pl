# 008_standby.pl
#
# A streaming standby has the rollups as well, and with them, in one snapshot, the position
# that they stand for.  When it is promoted the worker starts there; the slot did not come
# along, so the rollups are rebuilt.
#
# The manual's example in Python (doc/reading.md) reads its own writes from both, with both drivers (where
# they are installed).
#
# packages: python3-psycopg python3-psycopg2
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Documents;
use IPC::Run ();
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('primary');
my $standby = PostgreSQL::Test::Cluster->new('standby');
my ($lsn, $offset);
# also views over cores, without "mixed", whose rows are not determined
my @exact = ('ft_service_stats', 'averages', 'per_region', 'total');

load_notify($node);
load_computed($node);
sql($node, notify_insert(1, 50));
$node->backup('backup');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;

sql($node, notify_insert(51, 100));
sql($node, q{UPDATE notifications SET notification_status = 'sending'});
change_computed($node);
$lsn = sql($node, 'SELECT pg_current_wal_insert_lsn()');
is_exact($node, 'exact on the primary', rollups => \@exact);

# The position alone shows a reader how fresh the rows are.
poll($standby, "SELECT notify_stats.applied_lsn() >= '$lsn'");
is(differences($standby, 'postgres', @exact), '', 'exact on the standby once the position has reached the standby');
is(sql($standby, q{SELECT sum(notification_count) FROM ft_service_stats WHERE notification_status = 'sending'}),
	sql($node, q{SELECT count(*) FROM notifications WHERE key_type <> 'test'}), 'with the rows of the primary');
like(sql_error($standby, 'SELECT notify_stats.wait_for_lsn()'),
	qr/ERROR:  55000: recovery is in progress\nHINT:  Run this on the primary\. On a standby, use notify_stats\.applied_lsn\(\)/,
	'wait_for_lsn() says what to do on a standby');
foreach my $call (q{changes('ft_service_stats', NULL)}, q{changes('ft_service_stats', '0/1', '1 hour')},
	q{changed_rows(NULL::ft_service_stats, NULL)}, q{rollup_as_of(NULL::ft_service_stats, '0/1')}, q{position_at(now())})
{
	like(sql_error($standby, "SELECT notify_stats.$call"), qr/ERROR:  55000: recovery is in progress\nHINT:  Run this on the primary\./, "$call says so, too");
}
is(sql($standby, q{SELECT stream, state FROM notify_stats.status}), 'main|off', 'the status can be read on a standby');
is(sql($standby, q{SELECT DISTINCT state FROM notify_stats.rollups}), 'live', 'so can the rollups');
is(sql($standby, q{SELECT notify_stats.applied_lsn('mixed') = notify_stats.applied_lsn()}), 't', 'also the position of a view over cores');
is(sql($standby, q{SELECT count(*) > 0 FROM notify_stats.check()}), 't', 'and check() be called');
is(sql($standby, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'notify_stats%'}), '0',
	'no worker runs on a standby');
foreach my $call ("SELECT notify_stats.create_rollup('r', 'SELECT id, count(*) FROM jobs GROUP BY 1')",
	"SELECT notify_stats.adopt_rollup('ft_service_stats')", "SELECT notify_stats.adopt_rollup('mixed')",
	"SELECT notify_stats.drop_rollup('mixed')", "SELECT notify_stats.verify('mixed')",
	"SELECT notify_stats.drop_rollup('ft_service_stats')", "SELECT notify_stats.rebuild('ft_service_stats')",
	"SELECT notify_stats.verify('ft_service_stats')", 'CALL notify_stats.catch_up()', 'CALL notify_stats.prepare_upgrade()',
	'SELECT notify_stats.pause()', 'SELECT notify_stats.resume()', 'SELECT notify_stats.recreate_slot()')
{
	like(sql_error($standby, "SET statement_timeout = '10s'; $call"),
		qr/ERROR:  55000: recovery is in progress\nHINT:  Run this on the primary\./, "refused on a standby: $call");
}

# The example, run by one driver: read from the servers in turn, and by waiting on the primary.
sub run_python
{
	my ($driver) = @_;
	my ($functions) = document_block('doc/reading.md', 'Reading your own writes, with standbys', 'python');
	my $script = $functions . qq{
import sys
import $driver
primary, standby = $driver.connect(sys.argv[1]), $driver.connect(sys.argv[2])
query = "SELECT sum(notification_count) FROM ft_service_stats WHERE notification_status = %s"
for servers in [standby, primary], [standby], []:
    status = "$driver%d" % len(servers)
    token = write(primary, "UPDATE notifications SET notification_status = %s", (status,))
    print(int(read(servers, primary, token, "ft_service_stats", query, (status,))[0][0]))
};
	my ($output, $error);

	IPC::Run::run([ 'python3', '-c', $script, $node->connstr('postgres'), $standby->connstr('postgres') ],
		'>' => \$output, '2>' => \$error);
	return $output . $error;
}

sql($node, q{INSERT INTO notification_status_types
	SELECT driver || n FROM unnest('{psycopg, psycopg2}'::text[]) driver, generate_series(0, 2) n});
foreach my $driver (qw(psycopg psycopg2))
{
  SKIP: {
		skip "no $driver", 1 if system("python3 -c 'import $driver' 2>/dev/null") != 0;
		my $count = sql($node, q{SELECT count(*) FROM notifications WHERE key_type <> 'test'});
		is(run_python($driver), "$count\n" x 3, "the example in Python works with $driver");
	}
}

# Promotion, with changes that the primary had not counted.
sql($node, 'SELECT notify_stats.pause()');
sql($node, notify_insert(101, 150));
$node->wait_for_catchup($standby);
$node->stop;
$offset = log_position($standby);
$standby->promote;
wait_for_worker($standby);
resume_stream($standby);
$standby->wait_for_log(qr/changes were lost: the replication slot is missing/, $offset);
is_exact($standby, 'rebuilt and exact after promotion', rollups => \@exact);
sql($standby, notify_insert(151, 200));
is_exact($standby, 'and changes are applied again', rollups => \@exact);
is_verified($standby, 'ft_service_stats', 'verify() finds nothing');

done_testing();
