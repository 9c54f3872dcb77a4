# 037_rollup_as_partition.pl
#
# A rollup's own table becomes a partition of its source.  It must not count its own rows, which
# would change them endlessly: the rollup fails, with a hint.  A rollup over other tables stays
# live.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('partition', conf => 'autovacuum = off');

# The rollup's rows fit into its source: kind, sum and count.
sql($node, q{
	CREATE SCHEMA "The Schema";
	SET search_path = "The Schema";
	CREATE TABLE sales (kind text, amount numeric, n bigint) PARTITION BY RANGE (n);
	CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM (1000) TO (2000) PARTITION BY LIST (kind);
	CREATE TABLE sales_1_a PARTITION OF sales_1 DEFAULT;
	CREATE TABLE other (kind text);
	ALTER TABLE sales REPLICA IDENTITY FULL;
	ALTER TABLE sales_1_a REPLICA IDENTITY FULL;
	ALTER TABLE other REPLICA IDENTITY FULL;
	INSERT INTO sales SELECT 'a', 2, 1000 FROM generate_series(1, 10);
	SELECT notify_stats.create_rollup('"Of Sales"', $$
		SELECT kind, coalesce(sum(amount), 0) AS amount, count(*) AS n FROM sales GROUP BY kind $$);
	SELECT notify_stats.create_rollup('of_other', 'SELECT kind, count(*) FROM other GROUP BY kind');
});
wait_until_applied($node);

# The contents of the rollup over sales, and its state, once nothing is left to be done.
sub content
{
	sql($node, q{INSERT INTO "The Schema".other VALUES ('x')});
	wait_until_applied($node);
	return sql($node, q{SELECT * FROM ONLY "The Schema"."Of Sales"});
}

sub state
{
	return sql($node, q{SELECT state, reason FROM notify_stats.rollups WHERE rollup = '"The Schema"."Of Sales"'::regclass});
}

is(content(), 'a|20|10', 'live before');

my $offset = log_position($node);
sql($node, q{ALTER TABLE "The Schema".sales ATTACH PARTITION "The Schema"."Of Sales" FOR VALUES FROM (0) TO (1000)});
wait_for_state($node, '"The Schema"."Of Sales"', 'failed');
is(state(), 'failed|definition reads "Of Sales", which is a rollup', 'it fails when it is a partition of its source');
$node->wait_for_log(qr/HINT:  Run: ALTER TABLE "The Schema"\.sales DETACH PARTITION "The Schema"\."Of Sales"; Then rebuild/, $offset);
sql($node, q{INSERT INTO "The Schema".sales VALUES ('a', 2, 1000)});
is(content(), 'a|20|10', 'it does not count its own rows');
is(state_of($node, '"The Schema".of_other'), 'live',
	'the other rollup is live');
is_exact($node, 'and exact');

sql($node, q{SELECT notify_stats.rebuild('"The Schema"."Of Sales"')});
wait_until_rebuilt($node, '"The Schema"."Of Sales"');
is(state(), 'failed|definition reads "Of Sales", which is a rollup', 'nor can it be rebuilt');
is(content(), 'a|20|10', 'it keeps its rows');

# A rollup over a table with such a partition, and one that is given such a source later.
like(sql_error($node, q{
	SET search_path = "The Schema";
	SELECT notify_stats.create_rollup('another', 'SELECT kind, count(*) FROM sales GROUP BY kind')}),
	qr/ERROR:  0A000: definition reads "Of Sales", which is a rollup\nDETAIL:  The rollup is a partition of "sales"\. .*\nHINT:  Run: ALTER TABLE "The Schema"\.sales DETACH PARTITION "The Schema"\."Of Sales";/,
	'no rollup is created over a table with a rollup among its partitions');
like(sql_error($node, q{CREATE OR REPLACE VIEW "The Schema".of_other_definition AS
	SELECT kind, count(*) FROM "The Schema"."Of Sales" GROUP BY kind}),
	qr/definition reads "Of Sales", which is a rollup/, 'a definition cannot be replaced by one over a rollup');

# The hint's statement works.
sql($node, q{ALTER TABLE "The Schema".sales DETACH PARTITION "The Schema"."Of Sales";
	SELECT notify_stats.rebuild('"The Schema"."Of Sales"')});
wait_until_rebuilt($node, '"The Schema"."Of Sales"');
is(content(), 'a|22|11', 'detached and rebuilt it equals its definition');
sql($node, q{INSERT INTO "The Schema".sales VALUES ('a', 2, 1000)});
is(content(), 'a|24|12', 'and changes are applied');
is_exact($node, 'both are exact');

# Below a partition of its source it is noticed as well.
sql($node, q{
	CREATE TABLE "The Schema".middle (kind text, amount numeric, n bigint) PARTITION BY LIST (kind);
	ALTER TABLE "The Schema".middle ATTACH PARTITION "The Schema"."Of Sales" DEFAULT;
	ALTER TABLE "The Schema".sales ATTACH PARTITION "The Schema".middle FOR VALUES FROM (0) TO (1000);
});
wait_for_state($node, '"The Schema"."Of Sales"', 'failed');
$node->wait_for_log(qr/HINT:  Run: ALTER TABLE "The Schema"\.middle DETACH PARTITION "The Schema"\."Of Sales";/, $offset);
is(content(), 'a|24|12', 'a partition of a partition');

# A table of the extension.
sql($node, q{
	CREATE TABLE "The Schema".of_rows (id bigint, rollup regclass, from_scratch boolean) PARTITION BY LIST (rollup);
	SELECT notify_stats.create_rollup('"The Schema".of_requests',
		'SELECT rollup::oid AS rollup, count(*) FROM "The Schema".of_rows GROUP BY 1');
});
wait_until_applied($node);
sql($node, q{ALTER TABLE "The Schema".of_rows ATTACH PARTITION notify_stats.rebuild_request DEFAULT});
poll($node, q{SELECT reason FROM notify_stats.rollups WHERE rollup = '"The Schema".of_requests'::regclass},
	'definition reads "rebuild_request", which belongs to notify_stats');
pass('a table of the extension as a partition');
is_exact($node, 'the other rollup is exact');
$node->stop;

done_testing();
