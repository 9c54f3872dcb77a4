# 072_managed_load.pl
#
# A server that subscribes to Notify's tables, of a publisher without the library, and keeps their
# rollup: under load, with archive transactions, crashes of both servers, TRUNCATE, transactions in two
# phases, and a subscription that is disabled for a while.  The publisher has the replica identity of
# production, by an index.  Then row filters and large transactions that are streamed.  The rollup always
# equals the publisher's own GROUP BY.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $notify_dir = "$FindBin::Bin/../notify";
my ($query) = slurp_file("$notify_dir/rollup.sql") =~ /create_rollup\('ft_service_stats', \$\$(.*)\$\$/s;
my $columns = 'id, service_id, template_id, created_at, key_type, notification_type, notification_status';
my $timeout = $PostgreSQL::Test::Utils::timeout_default;
my $conf = "autovacuum = off\nlogical_decoding_work_mem = 64kB\nmax_prepared_transactions = 10\n";

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical', extra => [ '--locale=C', '--encoding=UTF8' ]);
$publisher->append_conf('postgresql.conf', "$conf\nlog_line_prefix = '%m [%p] %b '\n");
$publisher->start;
my $subscriber = new_node('subscriber', conf => "$conf\nwal_retrieve_retry_interval = 200ms\nmax_logical_replication_workers = 8\n");

# Waits for everything that the publisher has committed, and compares the results of two queries.
sub equals_publisher
{
	my ($title, $rollup, $definition, $subscription) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $lsn = sql($publisher, 'SELECT pg_current_wal_insert_lsn()');

	$rollup //= 'ft_service_stats';
	sql($subscriber, 'SELECT notify_stats.wait_for_publisher(' . "'$lsn', '" . ($subscription // 'notify') . "', '$timeout s')");
	return is(sql($subscriber, "SELECT r::text FROM $rollup r ORDER BY r::text"),
		sql($publisher, 'SELECT r::text FROM (' . ($definition // $query) . ') r ORDER BY r::text'),
		"$title: the rollup equals the GROUP BY of the publisher");
}

# Waits until the load has inserted some more.
sub wait_for_load
{
	my $from = sql($publisher, q{SELECT (now() AT TIME ZONE 'UTC')::text});

	poll($publisher, "SELECT count(*) > 60 FROM notifications WHERE created_at > '$from'");
	return;
}

# Inserts, updates and deletes some notifications.
sub change
{
	sql($publisher, q{
		INSERT INTO notifications (id, "to", service_id, created_at, template_version, key_type, notification_type, billable_units, notification_status)
			SELECT gen_random_uuid(), 'somebody', service_id, '2026-03-28 12:00'::timestamp + slot * interval '10 min', 1,
				(ARRAY['normal', 'team', 'test'])[1 + slot % 3], notification_type, 1, 'created'
			FROM simulation.templates WHERE slot <= 30;
		UPDATE notifications SET notification_status = 'sending' WHERE random() < 0.3;
		DELETE FROM notifications WHERE random() < 0.1;
	});
	return;
}

# --- Notify's tables ------------------------------------------------------------------

sql($publisher, slurp_file("$notify_dir/schema.sql"));
$publisher->safe_psql('postgres', slurp_file("$notify_dir/seed.sql"), extra_params => [ '-v', 'rows=4000' ]);
sql($publisher, qq{
	ALTER TABLE notifications REPLICA IDENTITY USING INDEX ix_notifications_id_status;
	CREATE PUBLICATION notify FOR TABLE notifications ($columns), notification_history ($columns);
});
sql($subscriber, q{
	CREATE TYPE notification_type AS ENUM ('email', 'sms', 'letter');
	CREATE TABLE notifications (id uuid PRIMARY KEY, service_id uuid, template_id uuid, created_at timestamp NOT NULL,
		key_type varchar(255) NOT NULL, notification_type notification_type NOT NULL, notification_status text NOT NULL);
	CREATE TABLE notification_history (id uuid PRIMARY KEY, service_id uuid, template_id uuid, created_at timestamp NOT NULL,
		key_type varchar NOT NULL, notification_type notification_type NOT NULL, notification_status text);
});
my $connection = $publisher->connstr . ' dbname=postgres';
sql($subscriber, "CREATE SUBSCRIPTION notify CONNECTION '$connection' PUBLICATION notify WITH (synchronous_commit = on)");

# the rollup is built while the tables are copied, and others write
my $load = start_load($publisher);
sql($subscriber, slurp_file("$notify_dir/rollup.sql"));
wait_for_load();
is($load->end, '', 'no client of the publisher has an error');
poll($subscriber, q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel});
equals_publisher('copied and built under load');
is_verified($subscriber, 'ft_service_stats', 'verified');

# --- crashes under load ---------------------------------------------------------------

$load = start_load($publisher);
wait_for_load();
kill_server($subscriber);
wait_for_load();
start_again($subscriber);
wait_for_load();
crash_restart($subscriber, wait_for_worker($subscriber));
wait_for_load();
is($load->end, '', 'crashes of the subscriber are not noticed by the writers');
equals_publisher('the subscriber has crashed');

$load = start_load($publisher);
wait_for_load();
kill_server($publisher);
$load->end;
start_again($publisher);
$load = start_load($publisher);
wait_for_load();
kill_server($subscriber);
kill_server($publisher);
$load->end;
start_again($_) foreach $publisher, $subscriber;
change();
equals_publisher('both have crashed');
is(state_of($subscriber, 'ft_service_stats'), 'live', 'without a rebuild');

# --- archiving, in one transaction ----------------------------------------------------

sql($publisher, 'DELETE FROM notifications WHERE id IN (SELECT id FROM notification_history)');
equals_publisher('rows that are in one of the tables');
my $counts = sql($subscriber, 'SELECT r::text FROM ft_service_stats r ORDER BY 1');
my $archive = slurp_file("$notify_dir/archive.sql") =~ s/^\\set.*$//mr =~ s/JOIN simulation.templates.*\n\s*WHERE t.slot = :slot\n\s*AND/WHERE/r
  =~ s/:retention/2/gr;
cmp_ok(sql($publisher, 'SELECT count(*) FROM notifications'), '>', 500, 'there are notifications');
my $history = sql($publisher, 'SELECT count(*) FROM notification_history');
sql($publisher, $archive);
cmp_ok(sql($publisher, 'SELECT count(*) FROM notification_history'), '>', $history + 500, 'an archive transaction moves many');
equals_publisher('archived');
is(sql($subscriber, 'SELECT r::text FROM ft_service_stats r ORDER BY 1'), $counts, 'which changes no count');
sql($publisher, q{UPDATE notification_history SET notification_status = 'returned-letter' WHERE id IN (SELECT id FROM notification_history ORDER BY id LIMIT 50)});
equals_publisher('changes in the history');

# --- the subscription is disabled for a while -----------------------------------------

sql($subscriber, 'ALTER SUBSCRIPTION notify DISABLE');
change() for 1 .. 3;
is_exact($subscriber, 'disabled: exact for the tables of the subscriber');
sql($subscriber, 'ALTER SUBSCRIPTION notify ENABLE');
equals_publisher('enabled again');

# --- two phases, TRUNCATE -------------------------------------------------------------

sql($publisher, q{BEGIN; UPDATE notifications SET notification_status = 'cancelled' WHERE id IN (SELECT id FROM notifications ORDER BY id LIMIT 20);
	PREPARE TRANSACTION 'kept'});
sql($publisher, q{BEGIN; DELETE FROM notification_history; PREPARE TRANSACTION 'discarded'});
equals_publisher('prepared');
sql($publisher, q{COMMIT PREPARED 'kept'});
sql($publisher, q{ROLLBACK PREPARED 'discarded'});
equals_publisher('ended');
cmp_ok(sql($subscriber, q{SELECT sum(notification_count) FROM ft_service_stats WHERE notification_status = 'cancelled'}), '>', 0, 'and counted');
sql($publisher, 'TRUNCATE notifications');
change();
equals_publisher('TRUNCATE');
is_verified($subscriber, 'ft_service_stats', 'verified at the end');

# --- row filter, identity by index on both sides, streaming, two phases on both sides --

my $filtered = q{SELECT kind, count(*) AS n, sum(amount) AS amount FROM events WHERE kind <> 'test' GROUP BY kind};
sql($publisher, q{
	CREATE TABLE events (id int PRIMARY KEY, kind text NOT NULL, amount bigint NOT NULL, other text);
	CREATE UNIQUE INDEX events_id_kind ON events (id, kind);
	ALTER TABLE events REPLICA IDENTITY USING INDEX events_id_kind;
	INSERT INTO events SELECT i, (ARRAY['a', 'b', 'test'])[1 + i % 3], i FROM generate_series(1, 300) i;
	CREATE PUBLICATION events FOR TABLE events (id, kind, amount) WHERE (kind <> 'test')});
sql($subscriber, q{
	CREATE TABLE events (id int PRIMARY KEY, kind text NOT NULL, amount bigint NOT NULL);
	CREATE UNIQUE INDEX events_columns ON events (id, kind, amount);
	ALTER TABLE events REPLICA IDENTITY USING INDEX events_columns});
sql($subscriber, "CREATE SUBSCRIPTION events CONNECTION '$connection' PUBLICATION events
	WITH (synchronous_commit = on, two_phase = true, streaming = on)");
create_rollup($subscriber, 'events_by_kind', 'SELECT kind, count(*) AS n, sum(amount) AS amount FROM events GROUP BY kind');
my @events = ('events_by_kind', $filtered, 'events');
poll($subscriber, q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel});
poll($subscriber, q{SELECT subtwophasestate = 'e' FROM pg_subscription WHERE subname = 'events'});
equals_publisher('a row filter', @events);

# the publisher sends (id, kind) of an old row, and the subscriber would search it by more
my $offset = log_position($subscriber);
sql($publisher, q{UPDATE events SET kind = 'moved' WHERE id % 10 = 0});
$subscriber->wait_for_log(qr/publisher did not send replica identity column expected by the logical replication target relation "public.events"/, $offset);
sql($subscriber, 'ALTER TABLE events REPLICA IDENTITY FULL');
equals_publisher('with FULL on the subscriber', @events);

sub check_changes
{
	my ($title) = @_;
	my $from = sql($publisher, 'SELECT coalesce(max(id), 0) FROM events');

	foreach my $case (
		[ 'rows enter the filter', q{UPDATE events SET kind = 'c' WHERE kind = 'test' AND id % 2 = 0} ],
		[ 'rows leave it', q{UPDATE events SET kind = 'test' WHERE kind = 'a' AND id % 4 = 0} ],
		[ 'other columns', q{UPDATE events SET other = 'x', amount = amount + 1 WHERE id % 5 = 0} ],
		[ 'deleted', q{DELETE FROM events WHERE id % 7 = 0} ],
		[ 'one large transaction, which is streamed', qq{INSERT INTO events SELECT $from + i, 'large', i FROM generate_series(1, 3000) i} ],
		[ 'and one that is rolled back', q{BEGIN; UPDATE events SET kind = 'gone' WHERE kind = 'large'; ROLLBACK} ],
		[ 'TRUNCATE and new rows', q{BEGIN; TRUNCATE events; INSERT INTO events SELECT i, (ARRAY['a', 'b', 'test'])[1 + i % 3], i FROM generate_series(1, 90) i; COMMIT} ])
	{
		sql($publisher, $case->[1]);
		equals_publisher("$title: $case->[0]", @events);
	}
	return;
}

check_changes('FULL');
sql($publisher, q{CREATE UNIQUE INDEX events_columns ON events (id, kind, amount);
	ALTER TABLE events REPLICA IDENTITY USING INDEX events_columns});
equals_publisher('the publisher has the wider index', @events);
sql($subscriber, 'ALTER TABLE events REPLICA IDENTITY USING INDEX events_columns');
check_changes('indexes');
cmp_ok(sql($publisher, q{SELECT stream_txns FROM pg_stat_replication_slots WHERE slot_name = 'events'}), '>', 0, 'transactions were streamed');
sql($publisher, q{BEGIN; UPDATE events SET kind = 'z' WHERE id <= 20; PREPARE TRANSACTION 'kept'});
poll($subscriber, 'SELECT count(*) = 1 FROM pg_prepared_xacts');
equals_publisher('prepared on both sides', @events);
sql($publisher, q{COMMIT PREPARED 'kept'});
equals_publisher('committed on both sides', @events);
# of the last minute
sql($subscriber, 'SELECT pg_stat_reset_subscription_stats(oid) FROM pg_subscription');
is(sql($subscriber, q{SELECT bool_and(ok) FROM notify_stats.check() WHERE item IN ('source subscription', 'subscription commit', 'subscribed table')}), 't',
	'check() is content');

sql($subscriber, "DROP SUBSCRIPTION $_") foreach qw(notify events);
$subscriber->stop;
$publisher->stop;

done_testing();
