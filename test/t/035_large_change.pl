# 035_large_change.pl
#
# A row change that is too large for the output plugin does not block others: the rollups
# of that table, or with other output plugins than ours all of them, become stale and are rebuilt.
# With pgoutput it takes a minute and some gigabytes, so .ci/run has it only on later versions.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $format = format_name();
plan skip_all => 'pgoutput throws likewise' if $format =~ /^wal2json/;
my $native = $format eq 'notify_stats';
my $node = new_node('large_change', conf => 'maintenance_work_mem = 32MB');
my ($offset, $before, $others_before, $worker);

# Waits until a rollup was rebuilt, and returns the log messages about it.
sub is_rebuilt
{
	my ($title, $reason) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	# the slot is given up after five tries, each of which reads more than a gigabyte
	local $PostgreSQL::Test::Utils::timeout_default = 5 * $PostgreSQL::Test::Utils::timeout_default;

	$node->wait_for_log($reason, $offset);
	poll($node, q{SELECT count(*) = 2 FROM notify_stats.rollups WHERE state = 'live'});
	poll($node, "SELECT built_at > '$before' FROM notify_stats.rollups WHERE rollup = 'sizes'::regclass");
	is_exact($node, "$title: rebuilt, and exact");
	return;
}

# The values compress well, so that there is little WAL.
my $large = q{convert_to(repeat('x', 540000000), 'UTF8')};

sql($node, q{
	CREATE TABLE bodies (id int PRIMARY KEY, body text, more bytea, rest bytea);
	CREATE TABLE others (kind text);
	ALTER TABLE bodies REPLICA IDENTITY FULL});
sql($node, "INSERT INTO bodies VALUES (5, 'short', $large)") if $format eq 'pgoutput';
sql($node, q{
	ALTER TABLE others REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('sizes', 'SELECT length(body) AS size, count(*) AS n FROM bodies GROUP BY 1');
	SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM others GROUP BY 1');
});
wait_until_applied($node);

# Below the bound: the text of each is some times as long in JSON.
sql($node, q{INSERT INTO bodies VALUES (1, repeat('x', 1000000)), (2, repeat('y', 2000000))});
sql($node, q{UPDATE bodies SET body = body || 'z'; DELETE FROM bodies WHERE id = 2});
is_exact($node, 'changes that are not too large');
is(sql($node, 'SELECT n FROM sizes WHERE size = 1000001'), '1', 'are counted');

if ($native)
{
	# More than 256 MB in two rows are too much, but not if the row was not changed.
	$before = built_at($node, 'sizes');
	$others_before = built_at($node, 'kinds');
	$worker = worker_pid($node);
	sql($node, q{INSERT INTO bodies VALUES (3, repeat('x', 134300000))});
	is_exact($node, 'a row that is not too large');
	is(built_at($node, 'sizes'), $before, 'is counted');
	$offset = log_position($node);
	sql($node, q{UPDATE bodies SET body = body || 'yz' WHERE id = 3; INSERT INTO others VALUES ('a')});
	is_rebuilt('two large values', qr/rollup public.sizes is stale and will be rebuilt\n.*a change of a row is larger than 256 MB/);
	$before = built_at($node, 'sizes');
	sql($node, q{UPDATE bodies SET id = 4 WHERE id = 3; DELETE FROM bodies WHERE id = 4});
	is_exact($node, 'a change of another column of a large row, and its deletion');
	is(built_at($node, 'sizes'), $before, 'are read');
	is(built_at($node, 'kinds'), $others_before, 'the rollup of another table is not rebuilt');
	is(worker_pid($node), $worker, 'and the worker had no error');
}
else
{
	# They write all columns of the table, and throw for what no string of the server can hold:
	# pgoutput for the old and the new row together, wal2json for the hexadecimal text of one value.
	$before = built_at($node, 'sizes');
	$offset = log_position($node);
	sql($node, $format eq 'pgoutput' ? "UPDATE bodies SET rest = $large WHERE id = 5" : "INSERT INTO bodies VALUES (5, 'short', $large)");
	sql($node, q{INSERT INTO others VALUES ('a')});
	is_rebuilt('a change that no string holds', qr/changes were lost: a change is too large for output plugin "\w+"/);
	is(() = slurp_file($node->logfile, $offset) =~ /ERROR:  (?:out of memory|string buffer exceeds|invalid memory alloc)/g, 5, 'after five tries');
}
sql($node, q{INSERT INTO others VALUES ('c'); INSERT INTO bodies VALUES (6, 'short'); DELETE FROM bodies WHERE id = 1});
is_exact($node, 'changes are applied again');
slot_is_behind($node, 'the slot is sound');
$node->stop;

done_testing();
