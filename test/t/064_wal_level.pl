# 064_wal_level.pl
#
# Since PostgreSQL 19 wal_level = replica is enough: logical decoding is switched on with the first
# rollup, and off after the last (effective_wal_level).  It remains on after a crash and a restart,
# so that rollups go on from where they were.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('low', conf => "wal_level = replica\n");
plan skip_all => 'wal_level must be logical before 19' if $node->pg_version->major < 19;

sub wait_for_level
{
	my ($level) = @_;

	poll($node, 'SHOW effective_wal_level', $level);
	return;
}

# The rollup is exact, and was not built again.
sub goes_on
{
	my ($title, $built_at) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	change_kinds($node);
	is_exact($node, "$title: exact", rollups => ['kinds']);
	is(built_at($node, 'kinds'), $built_at, "$title: not built again");
	is(sql($node, 'SHOW effective_wal_level'), 'logical', "$title: effective_wal_level");
	return;
}

# --- the first rollup -----------------------------------------------------------------

is(sql($node, 'SHOW effective_wal_level'), 'replica', 'without rollups logical decoding is off');
is(check_row($node, 'wal_level'), 't|wal_level is replica|', 'check() accepts wal_level = replica');

# A transaction that began before has written WAL that cannot be decoded, so it is waited for.
sql($node, q{
	CREATE TABLE source (id int PRIMARY KEY, kind text);
	ALTER TABLE source REPLICA IDENTITY FULL;
	INSERT INTO source SELECT i, 'kind ' || i % 3 FROM generate_series(1, 10) i});
my $older = $node->background_psql('postgres');
$older->query_safe(q{BEGIN; UPDATE source SET kind = 'older' WHERE id < 4; DELETE FROM source WHERE id = 5});
create_rollup($node, 'kinds', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');
my $worker = worker_pid($node);
poll($node, "SELECT count(*) > 0 FROM pg_locks WHERE pid = $worker AND NOT granted");
is(state_of($node, 'kinds'), 'building', 'it waits for an older transaction');
sql($node, q{INSERT INTO source VALUES (100, 'meanwhile')});
$older->query_safe(q{INSERT INTO source VALUES (101, 'older'); COMMIT});
$older->quit;
wait_until_applied($node);
is_exact($node, 'the older transaction is counted', rollups => ['kinds']);
is(check_row($node, 'wal_level'), 't|wal_level is replica, effective_wal_level is logical|', 'check() shows both levels');
is(complaints($node, 'wal_level'), '', 'and complains of none');
my $built_at = built_at($node, 'kinds');
goes_on('changes', $built_at);

# --- crashes and restarts -------------------------------------------------------------

change_kinds($node);
kill_server($node);
start_again($node);
goes_on('after a crash', $built_at);
$node->restart;
goes_on('after a restart', $built_at);

# --- the last rollup ------------------------------------------------------------------

create_rollup($node, 'ids', 'SELECT id % 10 AS digit, count(*) AS n FROM source GROUP BY 1');
wait_until_applied($node);
sql($node, 'DROP TABLE ids');
wait_until_applied($node);
goes_on('after another rollup was dropped', $built_at);
sql($node, q{SELECT notify_stats.drop_rollup('kinds')});
wait_for_level('replica');
is(sql($node, 'SELECT count(*) FROM pg_replication_slots'), '0', 'no slot is left after the last rollup');
is(check_row($node, 'wal_level'), 't|wal_level is replica|', 'logical decoding is off');

# Written without what decoding needs
change_kinds($node);
create_rollup($node, 'kinds', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');
wait_until_applied($node);
goes_on('switched on again', built_at($node, 'kinds'));

done_testing();
