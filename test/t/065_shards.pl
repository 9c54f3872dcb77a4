# 065_shards.pl
#
# Two shards with a rollup each, and a coordinator that adds them up by postgres_fdw, as
# doc/shards.md shows: the sums equal those of all rows, aggregates are computed by the shards,
# which work at the same time, positions can be waited for, and a dead shard is an error.

use strict;
use utf8;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Documents;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @shards = map { new_node("shard$_") } 1, 2;
my $coordinator = new_node('coordinator', extension => 0, conf => "shared_preload_libraries = ''\n");
my ($on_shard) = document_block('doc/shards.md', 'On each shard', 'sql');
my ($servers, $view, $total) = document_block('doc/shards.md', 'On the coordinator', 'sql');
my ($wait, $reached) = document_block('doc/shards.md', 'Waiting for what was written', 'sql');
my $rows = 0;

# Rows go to one shard or the other by their number, and all of them to the coordinator, which
# thereby knows what is right.
sub write_orders
{
	my $from = $rows + 1;

	$rows += 1000;
	foreach ([ $shards[0], 'i % 2 = 0' ], [ $shards[1], 'i % 2 = 1' ], [ $coordinator, 'true' ])
	{
		my ($node, $condition) = @$_;
		sql($node, qq{
			INSERT INTO orders SELECT i, '2026-11-01'::timestamp + i * interval '1 hour', 'status ' || i % 7, i / 3.0
				FROM generate_series($from, $rows) i WHERE $condition;
			UPDATE orders SET status = 'changed' WHERE id % 11 = 0;
			DELETE FROM orders WHERE id % 13 = 0});
	}
	return;
}

# What the view has, and should have not, or the reverse.
sub are_right
{
	my ($title) = @_;
	my $right = 'SELECT created_at::date, status, count(*), sum(amount) FROM orders GROUP BY 1, 2';
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(sql($coordinator, "(SELECT * FROM orders_by_day EXCEPT ALL $right) UNION ALL ($right EXCEPT ALL SELECT * FROM orders_by_day)"),
		'', $title);
	return;
}

foreach my $node (@shards, $coordinator)
{
	sql($node, q{
		CREATE TABLE orders (id bigint PRIMARY KEY, created_at timestamp NOT NULL, status text NOT NULL, amount numeric NOT NULL);
		ALTER TABLE orders REPLICA IDENTITY FULL});
}
sql($_, $on_shard) foreach @shards;
{
	my @ports = map { $_->port } @shards;
	my $host = $shards[0]->host;

	# in one copy per shard, so with as many ports
	foreach my $number (1, 2)
	{
		ok($servers =~ s/host 'shard$number', dbname 'shop'/host '$host', port '$ports[$number - 1]', dbname 'postgres'/,
			"the page names shard $number");
	}
	# peer authentication of the test's servers needs no password, and does not use it
	$servers =~ s/, password 'secret'/, password_required 'false'/g;
	sql($coordinator, $servers);
}
sql($coordinator, $view);

# --- sums ---------------------------------------------------------------------------------

for my $round (1 .. 3)
{
	write_orders();
	is_exact($_, "round $round: a shard") foreach @shards;
	are_right("round $round: the sums");
}

# --- what is sent ---------------------------------------------------------------------------

my $plan = sql($coordinator, "EXPLAIN (VERBOSE, COSTS OFF) $total");
is(() = $plan =~ /Async Foreign Scan/g, 2, 'both shards are asked at the same time') or diag($plan);
is(() = $plan =~ /Relations: Aggregate on \(shard[12]\.orders_by_day/g, 2, 'the shards aggregate');
is(sql($coordinator, $total =~ s/;\s*\z/ ORDER BY 1;/r),
	sql($coordinator, 'SELECT status, sum(orders) FROM orders_by_day GROUP BY status ORDER BY 1'), 'the totals of this query');
$plan = sql($coordinator, q{EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM orders_by_day WHERE day = '2026-11-03'});
is(() = $plan =~ /Remote SQL: .* WHERE \(\(day = '2026-11-03'\)\)/g, 2, 'a condition is sent') or diag($plan);

# as the page says of partitions
sql($coordinator, q{
	CREATE TABLE parts (shard int, day date, status text, orders bigint, amount numeric) PARTITION BY LIST (shard);
	CREATE FOREIGN TABLE part1 PARTITION OF parts FOR VALUES IN (1) SERVER shard1 OPTIONS (table_name 'orders_by_day');
	CREATE FOREIGN TABLE part2 PARTITION OF parts FOR VALUES IN (2) SERVER shard2 OPTIONS (table_name 'orders_by_day')});
$plan = sql($coordinator, 'EXPLAIN (VERBOSE, COSTS OFF) SELECT status, sum(orders) FROM parts GROUP BY status');
unlike($plan, qr/Relations: Aggregate/, 'partitions: all groups are fetched');

# --- positions ------------------------------------------------------------------------------

for my $round (1 .. 5)
{
	write_orders();
	my @tokens = map { sql($_, 'SELECT pg_current_wal_insert_lsn()') } @shards;

	if ($round % 2)
	{
		sql($shards[$_], $wait =~ s{0/1A2B3C4D}{$tokens[$_]}r) foreach 0, 1;
	}
	else
	{
		poll($coordinator, $reached =~ s{0/1A2B3C4D}{$tokens[0]}r =~ s{0/5E6F7A8B}{$tokens[1]}r);
	}
	are_right("waited $round: the sums");
}

# --- a dead shard ---------------------------------------------------------------------------

$shards[1]->stop('immediate');
like(sql_error($coordinator, 'SELECT sum(orders) FROM orders_by_day'), qr/could not connect to server "shard2"/,
	'a dead shard is an error');
isnt(sql($coordinator, 'SELECT sum(orders) FROM shard1.orders_by_day'), '', 'the other shard answers');
sql($shards[0], 'DELETE FROM orders WHERE id % 2 = 0 AND id < 100');
is_exact($shards[0], 'the other shard goes on');
$shards[1]->start;
is_exact($shards[1], 'back: exact');
sql($coordinator, 'DELETE FROM orders WHERE id % 2 = 0 AND id < 100');
are_right('back: the sums');

done_testing();
