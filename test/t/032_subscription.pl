# 032_subscription.pl
#
# A subscriber with its own rollups.  If only the sources are published, these are
# exact.  A publication of all tables also has the publisher's rollups and the tables of its
# extension: the subscriber ignores these rows, does not maintain a rollup that the subscription
# writes, reports this, and rebuilds it when the subscription is fixed.  Then the same for a standby
# that pg_createsubscriber has made a subscriber.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $conf = "autovacuum = off\nwal_retrieve_retry_interval = 100ms\n";
my $publisher = new_node('publisher', conf => $conf);
my $subscriber = new_node('subscriber', conf => $conf);
my $connection = $publisher->connstr . ' dbname=postgres';
my @own = qw(control rebuild_request rollup source_fact stream);

my $tables = q{
	CREATE TABLE visits (kind text);
	ALTER TABLE visits REPLICA IDENTITY FULL;
	CREATE TABLE orders (kind text, n int) PARTITION BY LIST (n);
	CREATE TABLE orders_1 PARTITION OF orders FOR VALUES IN (1);
	CREATE TABLE orders_2 PARTITION OF orders DEFAULT;
	ALTER TABLE orders_1 REPLICA IDENTITY FULL;
	ALTER TABLE orders_2 REPLICA IDENTITY FULL;
};
my $rollup = q{SELECT notify_stats.create_rollup('r1', 'SELECT kind, count(*) FROM visits GROUP BY kind');};

sub subscribe
{
	my ($publication) = @_;

	sql($subscriber, "CREATE SUBSCRIPTION s CONNECTION '$connection' PUBLICATION $publication");
	wait_until_subscribed();
	return;
}

# Waits for the initial copies, and then for the publisher's commits up to now.
sub wait_until_subscribed
{
	poll($subscriber, q{SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate <> 'r'});
	$publisher->wait_for_catchup('s', 'replay', sql($publisher, 'SELECT pg_current_wal_insert_lsn()'));
	return;
}

sub r1
{
	my ($node) = @_;
	return sql($node, q{SELECT state, reason FROM notify_stats.rollups WHERE rollup = 'r1'::regclass});
}

sub expected_check
{
	my ($subscription) = @_;
	return join "\n", (map { "subscription $subscription writes to notify_stats.$_, which belongs to notify_stats: its rows are discarded" } @own),
	  "subscription $subscription writes to public.r1, which is a rollup: it cannot be maintained";
}

# The tables of the extension are unchanged.
sub is_own
{
	my ($node, $title) = @_;

	is(sql($node, q{SELECT (SELECT count(*) FROM notify_stats.stream), (SELECT count(*) FROM notify_stats.control),
		(SELECT count(*) FROM notify_stats.rollup)}), '1|1|2', "$title: the extension's tables are its own");
	return;
}

# The worker still maintains a rollup that no subscription writes.
sub works
{
	my ($node, $title) = @_;

	sql($node, q{INSERT INTO local VALUES ('a')});
	poll($node, q{SELECT (SELECT sum(count) FROM of_local) = (SELECT count(*) FROM local)});
	is(state_of($node, 'of_local'), 'live',
		"$title: another rollup is live");
	return;
}

# --- only the sources -----------------------------------------------------------------

sql($publisher, $tables . q{
	INSERT INTO visits SELECT 'first' FROM generate_series(1, 100);
	INSERT INTO orders SELECT 'a', i % 3 FROM generate_series(1, 30) i;
	CREATE PUBLICATION sources FOR TABLE visits, orders;
	CREATE PUBLICATION everything FOR ALL TABLES;
});
sql($publisher, $rollup);
sql($subscriber, $tables . $rollup . q{
	SELECT notify_stats.create_rollup('of_orders', 'SELECT kind, count(*), sum(n) AS n, count(n) AS nn FROM orders GROUP BY kind');
});
is_exact($subscriber, 'before');
subscribe('sources');
sql($publisher, q{
	INSERT INTO visits SELECT 'second' FROM generate_series(1, 50);
	UPDATE orders SET n = n + 1;
	DELETE FROM visits WHERE ctid IN (SELECT ctid FROM visits WHERE kind = 'first' LIMIT 10);
});
wait_until_subscribed();
is_exact($subscriber, 'only the sources: exact');
is(sql($subscriber, 'SELECT * FROM r1 ORDER BY 1'), "first|90\nsecond|50", 'only the sources: counted once');
is(sql($subscriber, 'SELECT kind, count FROM of_orders'), 'a|30', 'only the sources: partitions too');
is(complaints($subscriber, 'subscription', 'detail'), '', 'only the sources: check() reports nothing');
sql($subscriber, q{DROP SUBSCRIPTION s; TRUNCATE visits, orders; SELECT notify_stats.drop_rollup('of_orders');
	CREATE TABLE local (kind text);
	ALTER TABLE local REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('of_local', 'SELECT kind, count(*) FROM local GROUP BY kind')});
is_exact($subscriber, 'emptied');

# --- everything -----------------------------------------------------------------------

# tables of that name are looked up there
sql($publisher, q{
	CREATE TABLE local (kind text);
	ALTER TABLE local REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('of_local', 'SELECT kind, count(*) FROM local GROUP BY kind');
});
is_exact($publisher, 'the publisher');
sql($publisher, q{DROP PUBLICATION everything});
sql($publisher, q{CREATE PUBLICATION everything FOR TABLE visits, orders, r1, } . join ', ', map { "notify_stats.$_" } @own);
subscribe('everything');
poll($subscriber, q{SELECT state || ': ' || reason FROM notify_stats.rollups WHERE rollup = 'r1'::regclass},
	'stale: subscription "s" writes to its table');
is(complaints($subscriber, 'subscription', 'detail'), expected_check('s'), 'everything: check() reports it');
is_own($subscriber, 'first copy');
works($subscriber, 'first copy');
sql($publisher, q{
	INSERT INTO visits SELECT 'third' FROM generate_series(1, 10);
	SELECT notify_stats.pause();
	SELECT notify_stats.resume();
});
is_exact($publisher, 'the publisher counts on');
wait_until_subscribed();
is(sql($subscriber, 'SELECT * FROM r1 ORDER BY 1'), "first|90\nsecond|50\nthird|10", 'everything: the rollup has the rows that the subscription writes');
is_own($subscriber, 'applied');
works($subscriber, 'applied');
sql($subscriber, q{SELECT notify_stats.rebuild('r1')});
works($subscriber, 'a rebuild was asked for');
is(r1($subscriber), 'stale|subscription "s" writes to its table', 'it is not rebuilt as long as the subscription writes it');

my $offset = log_position($subscriber);
sql($publisher, 'TRUNCATE notify_stats.rebuild_request');
$subscriber->wait_for_log(qr/ERROR:  cannot truncate "rebuild_request" by a subscription because it belongs to notify_stats/, $offset);
works($subscriber, 'truncated');

# --- put right ------------------------------------------------------------------------

sql($subscriber, 'ALTER SUBSCRIPTION s SET PUBLICATION sources');
sql($publisher, q{INSERT INTO visits SELECT 'fourth' FROM generate_series(1, 5)});
wait_until_subscribed();
wait_until_rebuilt($subscriber, 'r1');
is_exact($subscriber, 'put right: exact');
is(r1($subscriber), 'live|', 'put right: live again');
is(sql($subscriber, 'SELECT * FROM r1 ORDER BY 1'), "first|90\nfourth|5\nsecond|50\nthird|10", 'put right: counted once');
is_verified($subscriber, 'r1', 'put right: verified');
is(complaints($subscriber, 'subscription', 'detail'), '', 'fixed: check() reports nothing');
sql($subscriber, 'DROP SUBSCRIPTION s');

# --- pg_createsubscriber --------------------------------------------------------------

SKIP:
{
	skip 'no pg_createsubscriber', 1 if !-x $publisher->config_data('--bindir') . '/pg_createsubscriber';

	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$publisher->backup('backup');
	$standby->init_from_backup($publisher, 'backup', has_streaming => 1);
	$standby->start;
	$publisher->wait_for_catchup($standby);
	$standby->stop;
	sql($publisher, 'DROP PUBLICATION everything');
	command_ok([ 'pg_createsubscriber', '--verbose', '-D', $standby->data_dir, '-P', $connection,
			'-p', $standby->port, '-s', $standby->host, '-d', 'postgres', '--subscription', 's',
			'--publication', 'everything', '--replication-slot', 's' ], 'pg_createsubscriber');
	$standby->start;
	poll($standby, q{SELECT state || ': ' || reason FROM notify_stats.rollups WHERE rollup = 'r1'::regclass},
		'stale: subscription "s" writes to its table');
	is_own($standby, 'a former standby');
	sql($publisher, q{INSERT INTO visits SELECT 'fifth' FROM generate_series(1, 7)});
	is_exact($publisher, 'the publisher');
	$publisher->wait_for_catchup('s', 'replay', sql($publisher, 'SELECT pg_current_wal_insert_lsn()'));
	is(r1($standby), 'stale|subscription "s" writes to its table', 'a former standby: not kept');
	sql($standby, 'ALTER SUBSCRIPTION s SET PUBLICATION sources');
	sql($publisher, q{INSERT INTO visits SELECT 'sixth' FROM generate_series(1, 3)});
	poll($standby, q{SELECT count(*) = 3 FROM visits WHERE kind = 'sixth'});
	is_exact($standby, 'a former standby: exact');
	is(sql($standby, q{SELECT * FROM r1 WHERE kind IN ('fifth', 'sixth') ORDER BY 1}), "fifth|7\nsixth|3", 'a former standby: counted once');
	is(complaints($standby, 'subscription', 'detail'), '', 'a former standby: check() reports nothing');
	$standby->stop;
}
$subscriber->stop;
$publisher->stop;

done_testing();
