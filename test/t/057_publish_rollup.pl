# 057_publish_rollup.pl
#
# A subscriber follows rollups that are published, as doc/operations.md shows: one with a primary key,
# one with nullable group columns and a key of its own, and one with REPLICA IDENTITY FULL.  Its tables
# equal the rollups after the initial copy, changes, groups that vanish, TRUNCATE, rebuilds, and
# crashes of both servers.

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

my $conf = "autovacuum = off\nwal_retrieve_retry_interval = 100ms\n";
my $publisher = new_node('publisher', conf => $conf);
my $subscriber = new_node('subscriber', conf => $conf, extension => 0);
my $connection = $publisher->connstr . ' dbname=postgres';
my ($add_key, $publish, $subscribe) = document_block('doc/operations.md', 'Publishing a rollup', 'sql');
my @rollups = qw(orders_by_day events_by_kind events_by_size);
my %columns = (
	orders_by_day => 'day, status, orders, amount',
	events_by_kind => 'kind, events, id',
	events_by_size => 'size, kind, events');

sub rows
{
	my ($node, $rollup) = @_;
	return sql($node, "SELECT $columns{$rollup} FROM $rollup ORDER BY $columns{$rollup}");
}

# Waits until the subscriber has everything that was committed, and compares.
sub is_followed
{
	my ($title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is_exact($publisher, "$title: the rollups are exact", rollups => ['orders_by_day']);
	$publisher->wait_for_catchup('dashboard', 'replay', sql($publisher, 'SELECT pg_current_wal_insert_lsn()'));
	is(rows($subscriber, $_), rows($publisher, $_), "$title: $_") foreach @rollups;
	is(sql($publisher, q{SELECT * FROM notify_stats.verify('events_by_kind') UNION ALL SELECT * FROM notify_stats.verify('events_by_size')}),
		'', "$title: verified");
	return;
}

# The transactions that wrote the rows of the subscriber.
sub writers
{
	return sql($subscriber, join ' UNION ALL ', map { "(SELECT xmin, ctid, '$_' FROM $_ ORDER BY ctid)" } @rollups);
}

my $number = 0;

# Changes some groups, makes some, and removes some.
sub change
{
	$number++;
	sql($publisher, qq{
		INSERT INTO orders (created_at, status, amount)
			SELECT '2026-11-01'::date + ($number + g % 3), (ARRAY['open', 'paid'])[1 + g % 2], g FROM generate_series(1, 20) g;
		INSERT INTO events SELECT CASE WHEN g % 4 > 0 THEN 'kind ' || (g + $number) % 5 END, CASE WHEN g % 3 > 0 THEN g % 5 END
			FROM generate_series(1, 20) g;
		UPDATE orders SET status = 'sent' WHERE id % 5 = $number % 5;
		UPDATE events SET kind = 'moved $number' WHERE size = $number % 5;
		DELETE FROM orders WHERE created_at < '2026-11-01'::date + $number;
		DELETE FROM events WHERE kind = 'moved ' || $number - 1 OR kind = 'kind ' || $number % 5;
	});
	return;
}

# --- the initial copy -----------------------------------------------------------------

sql($publisher, q{
	CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamp NOT NULL,
		status text NOT NULL, amount numeric(10, 2) NOT NULL);
	CREATE TABLE events (kind text, size int);
	ALTER TABLE orders REPLICA IDENTITY FULL;
	ALTER TABLE events REPLICA IDENTITY FULL;
});
create_rollup($publisher, 'orders_by_day',
	'SELECT created_at::date AS day, status, count(*) AS orders, sum(amount) AS amount FROM orders GROUP BY 1, 2');
create_rollup($publisher, 'events_by_kind', 'SELECT kind, count(*) AS events FROM events GROUP BY kind');
create_rollup($publisher, 'events_by_size', 'SELECT size, kind, count(*) AS events FROM events GROUP BY size, kind');
is(sql($publisher, q{SELECT relname, relreplident FROM pg_class WHERE relname IN ('orders_by_day', 'events_by_kind', 'events_by_size') ORDER BY 1}),
	"events_by_kind|f\nevents_by_size|f\norders_by_day|d", 'the replica identities that rollups have');
create_rollup($publisher, 'events_by_name', q{SELECT coalesce(kind, '') AS name, count(*) AS events FROM events GROUP BY 1});
is(sql($publisher, q{SELECT contype FROM pg_constraint WHERE conrelid = 'events_by_name'::regclass}), 'p', 'coalesce() gives a primary key');
change();
wait_until_applied($publisher);
like(sql_error($publisher, q{ALTER TABLE events_by_size REPLICA IDENTITY USING INDEX events_by_size_size_kind_idx}),
	qr/cannot be used as replica identity because column "size" is nullable/, 'the index with nulls cannot be one');
my $built_at = built_at($publisher);
sql($publisher, $add_key);
sql($publisher, $publish =~ s/;\s*\z/, events_by_size;/r);
# in one statement, CREATE SUBSCRIPTION would be in a transaction block
foreach my $statement (split /;\s*/, $subscribe)
{
	sql($subscriber, $statement =~ s/CONNECTION '.*?'/CONNECTION '$connection'/r =~ s/CREATE SUBSCRIPTION/CREATE TABLE events_by_size (size int, kind text, events bigint); $&/r);
}
poll($subscriber, q{SELECT count(*) = 3 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel});
is_followed('initial copy');
is(built_at($publisher), $built_at, 'the key has not caused a rebuild');
is(sql($publisher, q{SELECT string_agg(item || ': ' || detail, E'\n') FROM notify_stats.check() WHERE NOT ok AND detail ~ 'orders_by|events_by'}),
	'', 'check() accepts these tables');

# --- changes --------------------------------------------------------------------------

for (1 .. 4)
{
	change();
	is_followed("changes $_");
}
sql($publisher, 'DELETE FROM events');
is_followed('all groups are gone');
is(sql($subscriber, 'SELECT count(*) FROM events_by_kind'), '0', 'there as well');
change();
sql($publisher, 'TRUNCATE orders');
change();
is_followed('TRUNCATE');

# --- rebuilds -------------------------------------------------------------------------

my $written = writers();
sql($publisher, qq{SELECT notify_stats.rebuild('$_')}) foreach @rollups;
wait_until_rebuilt($publisher, $_) foreach @rollups;
is_followed('rebuilt');
is(writers(), $written, 'a rebuild writes only rows that differ');
sql($publisher, q{
	DELETE FROM events_by_kind WHERE id = (SELECT min(id) FROM events_by_kind);
	UPDATE orders_by_day SET orders = orders + 1;
	INSERT INTO events_by_size VALUES (NULL, 'by hand', 100)});
sql($publisher, qq{SELECT notify_stats.rebuild('$_')}) foreach @rollups;
wait_until_rebuilt($publisher, $_) foreach @rollups;
is_followed('rebuilt after manual changes');

# --- crashes --------------------------------------------------------------------------

kill_server($subscriber);
change();
wait_until_applied($publisher);
start_again($subscriber);
change();
is_followed('the subscriber has crashed');
kill_server($publisher);
start_again($publisher);
change();
is_followed('the publisher has crashed');
change();
kill_server($publisher);
kill_server($subscriber);
start_again($publisher);
start_again($subscriber);
change();
is_followed('both have crashed');

sql($subscriber, 'DROP SUBSCRIPTION dashboard');
$subscriber->stop;
$publisher->stop;

done_testing();
