# 038_missing_wal.pl
#
# The server keeps a slot, but not the WAL that it needs, as pg_resetwal leaves it, and so do
# tools that call it.  That is a lost slot: there is a new one, and the rollups are rebuilt.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('wal', conf => 'autovacuum = off');

sql($node, q{
	CREATE TABLE visits (kind text);
	ALTER TABLE visits REPLICA IDENTITY FULL;
	INSERT INTO visits VALUES ('a'), ('b');
	SELECT notify_stats.create_rollup('of_visits', 'SELECT kind, count(*) FROM visits GROUP BY kind');
});
is_exact($node, 'before');
pause_stream($node);
sql($node, q{INSERT INTO visits VALUES ('b'), ('c')});
my $segment = sql($node, q{SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '00000000000000F0'});
disconnect($node);
$node->stop;

my $offset = log_position($node);
command_ok([ 'pg_resetwal', '-l', $segment, '-D', $node->data_dir ], 'the WAL is reset');
$node->start;
is(sql($node, 'SELECT count(*) FROM pg_replication_slots'), '1', 'the slot is still there');
resume_stream($node);
$node->wait_for_log(
	qr/changes were lost: the WAL that the replication slot needs is missing/, $offset);
is_exact($node, 'rebuilt');
is(sql($node, 'SELECT * FROM of_visits ORDER BY 1'), "a|1\nb|2\nc|1", 'including changes that no slot had');
sql($node, q{INSERT INTO visits VALUES ('c')});
is_exact($node, 'and changes are applied');
unlike(slurp_file($node->logfile, $offset), qr/requested WAL segment/, 'no attempt to read it');
$node->stop;

done_testing();
