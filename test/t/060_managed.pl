# 060_managed.pl
#
# doc/managed.md, word by word: a publisher without the library, and a server that subscribes to its
# tables and keeps their rollups.  wait_for_publisher() with many positions, and what check() and the
# view rollups show of subscriptions that do not work.  The rollup always equals the publisher's own
# GROUP BY.
#
# versions: all

use strict;
use utf8;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Documents;
use IPC::Run ();
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($table) = document_block('doc/managed.md', 'Managed databases', 'sql');
my ($role) = document_block('doc/managed.md', 'Role', 'sql');
my ($publish, $probe) = document_block('doc/managed.md', 'Publication', 'sql');
my ($settings) = document_block('doc/managed.md', 'The subscriber', 'ini');
my ($create_table, $subscribe, $not_copied, $create_rollup) = document_block('doc/managed.md', 'The subscriber', 'sql');
my ($token, $wait) = document_block('doc/managed.md', 'Reading your own writes', 'sql');
my ($problems, $slot) = document_block('doc/managed.md', 'Monitoring', 'sql');
my ($unsubscribe) = document_block('doc/managed.md', 'When a server is down', 'sql');
my ($add_here, $add_there) = document_block('doc/managed.md', 'Changing tables', 'sql');
my ($publish_one) = document_block('doc/managed.md', 'Several publishers', 'sql');
my $query = 'SELECT created_at::date AS day, status, count(*) AS orders, sum(amount) AS amount FROM orders GROUP BY 1, 2';
my $timeout = $PostgreSQL::Test::Utils::timeout_default;

# A server as the services have it: without our library.
sub new_publisher
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => 'logical', extra => [ '--locale=C', '--encoding=UTF8' ]);
	$node->append_conf('postgresql.conf', "autovacuum = off\nlog_line_prefix = '%m [%p] %b '\nmax_prepared_transactions = 10\n");
	$node->start;
	return $node;
}

my $publisher = new_publisher('publisher');
my $subscriber = new_node('subscriber', extension => 0, conf => "autovacuum = off\nwal_retrieve_retry_interval = 300ms\n$settings");

# The statement with the connection to a server of the test.
sub subscribe_to
{
	my ($node) = @_;
	my $connection = $node->connstr . ' dbname=postgres user=rollup_reader';

	return $subscribe =~ s/CONNECTION '.*?'/CONNECTION '$connection'/sr;
}

sub position
{
	my ($node) = @_;
	return sql($node, $token);
}

# Waits by the statement of the page for a position.
sub wait_for
{
	my ($lsn, $subscription, $limit) = @_;
	my ($statement) = split /;/, $wait;

	$subscription //= 'rollup_sources';
	$limit //= "$timeout s";
	$statement =~ s/'0\/\w+', 'rollup_sources', '5 s'/'$lsn', '$subscription', '$limit'/ or die $statement;
	return $statement;
}

# Compares the rollup with the GROUP BY of a publisher, or of several.
sub equals_publisher
{
	my ($title, %nodes) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $all = '';

	%nodes = (rollup_sources => $publisher) if !%nodes;
	foreach my $subscription (sort keys %nodes)
	{
		my $position = position($nodes{$subscription});

		is(sql($subscriber, wait_for($position, $subscription)), 't', "$title: $subscription is waited for");
		$all .= sql($nodes{$subscription}, 'SELECT created_at::date, status, amount FROM orders') . "\n";
	}
	my (%count, %sum);
	foreach my $row (grep { $_ ne '' } split /\n/, $all)
	{
		my ($day, $status, $amount) = split /\|/, $row;
		$count{"$day|$status"}++;
		$sum{"$day|$status"} += $amount;
	}
	return is(sql($subscriber, 'SELECT day, status, orders, amount FROM orders_by_day ORDER BY 1, 2'),
		join("\n", map { sprintf '%s|%d|%.2f', $_, $count{$_}, $sum{$_} } sort keys %count),
		"$title: the rollup equals the GROUP BY of the publisher");
}

my $number = 0;

# Changes orders of a publisher.
sub change
{
	my ($node) = @_;
	my $seed = ++$number;

	sql($node, qq{
		INSERT INTO orders (created_at, status, amount, customer_email)
			SELECT '2026-11-01'::date + ($seed + i) % 7, (ARRAY['open', 'paid', 'sent'])[1 + i % 3], i, 'a\@example.com'
			FROM generate_series(1, 20) i;
		UPDATE orders SET status = 'paid', amount = amount + 1 WHERE id % 5 = $seed % 5;
		UPDATE orders SET customer_email = 'b\@example.com' WHERE id % 7 = 1;
		DELETE FROM orders WHERE id % 11 = $seed % 11;
	});
	return;
}

sub subscription_problem
{
	my @row = split /\|/, sql($subscriber, $problems), -1;
	is(scalar @row, 3, 'a row of rollups');
	is($row[1], 'live', 'the state of the rollup is that of its own table');
	return $row[2];
}

# Nothing is wrong any more, apart from errors of the last minute.
sub is_put_right
{
	sql($subscriber, 'SELECT pg_stat_reset_subscription_stats(oid) FROM pg_subscription');
	poll($subscriber, q{SELECT bool_and(subscription_problem IS NULL) FROM notify_stats.rollups});
	return;
}

# The rows of check() about subscriptions that are not ok.
sub subscription_complaints
{
	my ($columns) = @_;
	return join "\n", grep { $_ ne '' }
	  map { complaints($subscriber, $_, $columns // "item || ': ' || detail") } 'source subscription', 'subscription commit', 'subscribed table';
}

# --- the page, from its beginning -----------------------------------------------------

sql($publisher, $table);
change($publisher) for 1 .. 3;
sql($publisher, 'CREATE ROLE rds_replication; CREATE TABLE others (n int)');
sql($publisher, $role);
$role =~ /(ALTER ROLE rollup_reader REPLICATION);/ or die $role;
sql($publisher, $1);
sql($publisher, $publish);
sql($publisher, $probe);
pass('the publisher accepts updates and deletes');
like(sql_error($publisher, 'SET ROLE rollup_reader; SELECT customer_email FROM orders'), qr/permission denied for table orders/,
	'the role cannot read personal data');

# a copy that row-level security would leave rows out of fails
sql($publisher, q{CREATE TABLE guarded (id int PRIMARY KEY); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
	GRANT SELECT ON guarded TO rollup_reader});
my (undef, undef, $refusal) = $publisher->psql('postgres', 'COPY guarded TO STDOUT', extra_params => [ '-U', 'rollup_reader' ]);
like($refusal, qr/query would be affected by row-level security policy for table "guarded"/, 'nor does it copy a part of a table');
sql($publisher, 'DROP TABLE guarded');

# what the page says about refused updates
foreach my $case (
	[ 'a column list with FULL', 'ALTER TABLE refused REPLICA IDENTITY FULL', '(id, status)', '', qr/Column list used by the publication does not cover the replica identity/ ],
	[ 'a column list without the key', '', '(status)', '', qr/Column list used by the publication does not cover the replica identity/ ],
	[ 'a row filter on another column', '', '', q{WHERE (status <> 'open')}, qr/Column used in the publication WHERE expression is not part of the replica identity/ ],
	[ 'no identity', 'ALTER TABLE refused DROP CONSTRAINT refused_pkey', '', '', qr/because it does not have a replica identity/ ])
{
	my ($name, $alter, $list, $filter, $error) = @$case;

	sql($publisher, "CREATE TABLE refused (id int PRIMARY KEY, status text, other text); $alter;
		CREATE PUBLICATION refused FOR TABLE refused $list $filter");
	foreach my $statement (split /;\n/, $probe =~ s/\borders\b/refused/gr)
	{
		like(sql_error($publisher, $statement), $error, "$name: " . ($statement =~ /^(\w+)/)[0] . ' is refused');
	}
	sql($publisher, 'DROP PUBLICATION refused; DROP TABLE refused');
}

sql($subscriber, $create_table);
sql($subscriber, subscribe_to($publisher));
poll($subscriber, $not_copied, '');
sql($subscriber, $create_rollup =~ s/rollup => 'orders_by_day'/timeout => '$timeout s', $&/r);
equals_publisher('after the initial copy');
is(subscription_complaints(), '', 'check() accepts the recipe');
is(sql($subscriber, q{SELECT item, detail FROM notify_stats.check() WHERE ok AND item ~ 'subscri' ORDER BY 1}),
	"source subscription|subscription rollup_sources writes to tables that rollups count\n"
	  . 'subscription commit|subscription rollup_sources has synchronous_commit = on', 'and shows the subscription');
is(subscription_problem(), '', 'nor is there a problem');
like(sql($publisher, $slot), qr/^rollup_sources\|t\|reserved\|/, 'the slot on the publisher');
for (1 .. 3)
{
	change($publisher);
	equals_publisher("changes $_");
}

# --- positions of the publisher -------------------------------------------------------

# Other clients write all the time, into published and into other tables.
sub start_writers
{
	my $script = PostgreSQL::Test::Utils::tempdir() . '/writer.sql';
	local %ENV = $publisher->_get_env();
	my $output = '';

	open my $file, '>', $script or die "$script: $!";
	print $file q{
		\set r random(1, 1000)
		INSERT INTO others SELECT generate_series(1, 10);
		INSERT INTO orders (created_at, status, amount) VALUES ('2026-11-01', 'load', :r);
		UPDATE orders SET amount = amount + 1 WHERE id = (SELECT max(id) FROM orders WHERE status = 'load');
		\sleep 5 ms
	};
	close $file;
	return IPC::Run::start([ 'pgbench', '-n', '-c', '2', '-T', '3600', '-f', $script, $publisher->connstr('postgres') ],
		'<' => \undef, '>' => \$output, '2>&1');
}

# Writes an order of its own day and waits for its position: it must be in the rollup.
sub count_wrong
{
	my ($rounds, $title) = @_;
	my @wrong;

	for my $i (1 .. $rounds)
	{
		my $status = "$title $i";
		my $lsn;

		sql($publisher, "INSERT INTO orders (created_at, status, amount) VALUES ('2026-12-01', '$status', 1)");
		# no published transaction follows; nothing at all; or the position is behind other WAL
		sql($publisher, 'INSERT INTO others VALUES (1)') if $i % 3 == 0;
		$lsn = position($publisher);
		sql($publisher, 'INSERT INTO others VALUES (2)') if $i % 3 == 1;
		my ($reached, $count) = split /\n/, sql($subscriber, wait_for($lsn)
			  . "; SELECT count(*) FROM orders_by_day WHERE status = '$status'");
		push @wrong, $lsn if $reached ne 't' || $count ne '1';
	}
	return is(scalar @wrong, 0, "$title: none of $rounds positions is wrong");
}

count_wrong(60, 'alone');
my $writers = start_writers();
count_wrong(150, 'under load');
sql($subscriber, 'ALTER SUBSCRIPTION rollup_sources SET (synchronous_commit = off)');
is(subscription_complaints(), 'subscription commit: subscription rollup_sources has synchronous_commit = off', 'check() shows asynchronous commits');
count_wrong(40, 'with asynchronous commits');
like(subscription_complaints('hint'), qr/^Run (ALTER SUBSCRIPTION rollup_sources SET \(synchronous_commit = on\))\./, 'with a hint');
sql($subscriber, 'ALTER SUBSCRIPTION rollup_sources SET (synchronous_commit = on)');
is(subscription_complaints(), '', 'that helps');
$writers->kill_kill;
equals_publisher('after the load');

# a position that does not exist, and arguments that are wrong
my $future = sql($publisher, q{SELECT pg_current_wal_insert_lsn() + 1000000000});
like(sql_error($subscriber, wait_for($future, undef, '0.3 s')),
	qr/ERROR:  57014: timed out while waiting for position \S+ of the publisher\nDETAIL:  Subscription "rollup_sources" has reached position \S+\.\nHINT:  /,
	'a position that is not reached: timeout');
is(sql($subscriber, "SELECT notify_stats.wait_for_publisher('$future', 'rollup_sources', '0', no_throw => true)"), 'f', 'or false');
like(sql_error($subscriber, "SELECT notify_stats.wait_for_publisher('0/1', 'nowhere')"), qr/ERROR:  42704: subscription "nowhere" does not exist/, 'no subscription');
like(sql_error($subscriber, "SELECT notify_stats.wait_for_publisher(NULL, 'rollup_sources')"), qr/ERROR:  22004: token must not be null/, 'no token');
like(sql_error($subscriber, "SELECT notify_stats.wait_for_publisher('0/1', NULL)"), qr/ERROR:  22004: subscription must not be null/, 'no name');
like(sql_error($subscriber, "SELECT notify_stats.wait_for_publisher('$future', 'rollup_sources', '$timeout s', 'orders')"),
	qr/ERROR:  \w+: .*orders.* is not a rollup/, 'a table that is no rollup is an error at once');

# --- a subscription that does not work ------------------------------------------------

sql($subscriber, 'ALTER SUBSCRIPTION rollup_sources DISABLE');
is(subscription_problem(), 'subscription rollup_sources is disabled', 'disabled: the view rollups');
change($publisher);
my $lsn = position($publisher);
like(sql_error($subscriber, wait_for($lsn)),
	qr/ERROR:  55000: subscription "rollup_sources" is disabled\nDETAIL:  .*\nHINT:  Run ALTER SUBSCRIPTION rollup_sources ENABLE\./, 'an error at once');
is(subscription_complaints(), 'source subscription: subscription rollup_sources is disabled', 'check() shows it');
like(subscription_complaints('hint'), qr/^Run ALTER SUBSCRIPTION rollup_sources ENABLE\./, 'with a hint');
sql($subscriber, 'ALTER SUBSCRIPTION rollup_sources ENABLE');
equals_publisher('enabled again');
poll($subscriber, q{SELECT subscription_problem IS NULL FROM notify_stats.rollups});

# the session waits while the publisher is down, and is told
$publisher->stop('immediate');
poll($subscriber, q{SELECT subscription_problem ~ '^subscription rollup_sources has no apply worker' FROM notify_stats.rollups});
# the server starts one again and again, which ends as soon as it cannot connect
soon_like(sub { subscription_complaints() }, qr/^source subscription: subscription rollup_sources has no apply worker( \(errors: \d+\))?$/,
	'no worker: check() shows it');
soon_like(sub { sql_error($subscriber, wait_for($future, undef, '0.3 s')) }, qr/DETAIL:  Subscription "rollup_sources" has no apply worker\./,
	'no worker: it waits, and says so');
is(sql($subscriber, wait_for($lsn)), 't', 'what was applied before is known without a worker');
start_again($publisher);
change($publisher);
equals_publisher('the publisher has crashed');
is_put_right();

# a conflict
my $next = sql($publisher, q{SELECT last_value + 1 FROM pg_get_serial_sequence('orders', 'id') s, LATERAL (SELECT last_value FROM orders_id_seq) v});
my $offset = log_position($subscriber);
sql($subscriber, "INSERT INTO orders VALUES ($next, '2026-11-01', 'local', 1)");
change($publisher);
$subscriber->wait_for_log(qr/duplicate key value violates unique constraint "orders_pkey"|conflict=insert_exists/, $offset);
poll($subscriber, q{SELECT subscription_problem ~ '^(subscription rollup_sources has no apply worker|the apply worker of subscription rollup_sources was started less than a minute ago, after errors) \(errors: [1-9]\d*\)$' FROM notify_stats.rollups});
pass('a conflict: the view rollups shows it');
# without a pause, also while the worker is started again
for (1 .. 40)
{
	my $now = sql($subscriber, q{SELECT count(*) FILTER (WHERE NOT ok) FROM notify_stats.check() WHERE item = 'source subscription'});
	next if $now eq '1';
	fail('check() shows the conflict all the time');
	last;
}
is(sql_error($subscriber, "DELETE FROM orders WHERE id = $next"), 'no error: ', 'the local row is removed');
equals_publisher('after the conflict');
like(subscription_problem(), qr/^the apply worker of subscription rollup_sources was started less than a minute ago, after errors \(/, 'it may come again');
is_put_right();

# rows that were deleted here: counted since 18
if ($publisher->pg_version >= 18)
{
	my $id = sql($subscriber, 'DELETE FROM orders WHERE id = (SELECT max(id) FROM orders) RETURNING id');

	sql($publisher, "DELETE FROM orders WHERE id = $id");
	poll($subscriber, q{SELECT subscription_problem FROM notify_stats.rollups}, 'subscription rollup_sources did not find 1 rows that it was to update or delete');
	like(subscription_complaints('hint'), qr/^The tables differ from those of the publisher: .* Then run SELECT pg_stat_reset_subscription_stats\(\d+\);$/, 'a missing row: check() shows it');
	is_put_right();
}

# a lock on the table
my $holder = $subscriber->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE orders IN SHARE MODE');
change($publisher);
poll($subscriber, q{SELECT subscription_problem ~ '^the apply worker of subscription rollup_sources waits for process [0-9]+$' FROM notify_stats.rollups});
like(subscription_complaints(), qr/^source subscription: the apply worker of subscription rollup_sources waits for process/, 'a lock: check() shows it');
$holder->query_safe('COMMIT');
equals_publisher('after the lock');
is(subscription_complaints(), '', 'nothing is left of it');

# a table that is not copied, as somebody has locked it
sql($publisher, q{CREATE TABLE refunds (id int PRIMARY KEY, kind text);
	INSERT INTO refunds SELECT i, 'kind ' || i % 3 FROM generate_series(1, 100) i;
	GRANT SELECT ON refunds TO rollup_reader; ALTER PUBLICATION rollup_sources ADD TABLE refunds});
sql($subscriber, 'CREATE TABLE refunds (id int, kind text); ALTER TABLE refunds REPLICA IDENTITY FULL');
create_rollup($subscriber, 'refunds_by_kind', 'SELECT kind, count(*) AS n FROM refunds GROUP BY kind');
wait_until_applied($subscriber);
$holder->query_safe('BEGIN; LOCK TABLE refunds IN SHARE MODE');
sql($subscriber, 'ALTER SUBSCRIPTION rollup_sources REFRESH PUBLICATION');
$lsn = position($publisher);
poll($subscriber, q{SELECT subscription_problem FROM notify_stats.rollups WHERE rollup = 'refunds_by_kind'::regclass}, 'table public.refunds is not synchronized');
is(sql($subscriber, q{SELECT subscription_problem FROM notify_stats.rollups WHERE rollup = 'orders_by_day'::regclass}), '', 'a problem of that rollup only');
like(subscription_complaints(), qr/^subscribed table: table public.refunds is not synchronized by subscription rollup_sources: its srsubstate is [id]$/m, 'not copied: check() shows it');
is(sql($subscriber, wait_for($lsn)), 't', 'another rollup need not wait for it');
like(sql_error($subscriber, "SELECT notify_stats.wait_for_publisher('$lsn', 'rollup_sources', '0.3 s', 'refunds_by_kind')"),
	qr/DETAIL:  Subscription "rollup_sources" has not copied table public.refunds yet\./, 'this one must, whatever the position of the subscription is');
$holder->query_safe('COMMIT');
$holder->quit;
is(sql($subscriber, "SELECT notify_stats.wait_for_publisher('$lsn', 'rollup_sources', '$timeout s', 'refunds_by_kind'); SELECT sum(n) FROM refunds_by_kind"),
	"t\n100", 'and after the copy it has the rows');
poll($subscriber, q{SELECT bool_and(subscription_problem IS NULL) FROM notify_stats.rollups});
is(subscription_complaints(), 'subscribed table: table public.refunds, which subscription rollup_sources writes, has no primary key', 'check() shows a missing key');
sql($subscriber, 'ALTER TABLE refunds ADD PRIMARY KEY (id)');
is(subscription_complaints(), '', 'and accepts it then');

# --- a subscription without tables ----------------------------------------------------

# The statement of the page for another subscription, with the name of a publication.
sub subscribe_without_tables
{
	my ($publication) = @_;
	return subscribe_to($publisher) =~ s/SUBSCRIPTION rollup_sources/SUBSCRIPTION no_tables/r =~ s/PUBLICATION rollup_sources/PUBLICATION $publication/r;
}

# Runs a statement of the hint, with the rest of it.
sub follow_hint
{
	my ($statement, $rest) = @_;
	my ($found) = complaints($subscriber, 'subscription', 'hint') =~ /($statement)/;

	isnt($found, undef, "the hint has $statement") and sql($subscriber, "$found $rest");
	return;
}

my $no_tables = 'subscription no_tables has no tables';
sql($publisher, 'CREATE TABLE returned (id int PRIMARY KEY); GRANT SELECT ON returned TO rollup_reader; CREATE PUBLICATION later');
sql($subscriber, 'CREATE TABLE returned (id int PRIMARY KEY)');
is(complaints($subscriber, 'subscription'), '', 'check() accepts the subscriptions so far');
sql($subscriber, subscribe_without_tables('later'));
is(complaints($subscriber, 'subscription', 'detail'), $no_tables, 'a publication without tables: check() shows it');
sql($publisher, 'ALTER PUBLICATION later ADD TABLE returned');
is(complaints($subscriber, 'subscription', 'detail'), $no_tables, 'also when it has got some');
follow_hint(qr/ALTER SUBSCRIPTION no_tables REFRESH PUBLICATION/, '');
is(complaints($subscriber, 'subscription'), '', 'the hint helps');
sql($subscriber, 'DROP SUBSCRIPTION no_tables');

sql($subscriber, subscribe_without_tables('latter'));
is(complaints($subscriber, 'subscription', 'detail'), $no_tables, 'a publication that does not exist: check() shows it');
follow_hint(qr/ALTER SUBSCRIPTION no_tables REFRESH PUBLICATION/, '');
is(complaints($subscriber, 'subscription', 'detail'), $no_tables, 'the hint does not help');
like(complaints($subscriber, 'subscription', 'hint'), qr/publication latter does not exist/, 'but has its name');
sql($subscriber, 'ALTER SUBSCRIPTION no_tables DISABLE');
is(complaints($subscriber, 'subscription'), '', 'one that is disabled is not shown');
sql($subscriber, 'ALTER SUBSCRIPTION no_tables ENABLE');
follow_hint(qr/ALTER SUBSCRIPTION no_tables SET PUBLICATION/, 'later');
is(complaints($subscriber, 'subscription'), '', 'the second hint helps');
sql($subscriber, 'DROP SUBSCRIPTION no_tables');

# that of another database
sql($subscriber, 'CREATE DATABASE elsewhere');
$subscriber->safe_psql('elsewhere', subscribe_without_tables('latter'));
is(complaints($subscriber, 'subscription'), '', 'one of another database is not shown');
$subscriber->safe_psql('elsewhere', 'DROP SUBSCRIPTION no_tables');
sql($subscriber, 'DROP DATABASE elsewhere');

# --- DDL, and a lost slot -------------------------------------------------------------

$offset = log_position($subscriber);
sql($subscriber, $add_here);
sql($publisher, $add_there);
change($publisher);
equals_publisher('a new column');
sql($publisher, q{UPDATE orders SET country = 'FR' WHERE id % 2 = 0});
create_rollup($subscriber, 'orders_by_country', 'SELECT country, count(*) AS orders FROM orders GROUP BY country');
equals_publisher('with other values');
is(sql($subscriber, "SELECT notify_stats.wait_for_lsn(timeout => '$timeout s'); SELECT * FROM orders_by_country ORDER BY 1"),
	"t\n" . sql($publisher, 'SELECT country, count(*) FROM orders GROUP BY country ORDER BY 1'), 'a rollup of the new column');
unlike(slurp_file($subscriber->logfile, $offset), qr/is missing replicated column/, 'no error in this order');
sql($publisher, q{ALTER TABLE orders ADD COLUMN late int; GRANT SELECT (late) ON orders TO rollup_reader;
	ALTER PUBLICATION rollup_sources SET TABLE refunds, orders (id, created_at, status, amount, country, late)});
change($publisher);
$subscriber->wait_for_log(qr/is missing replicated column: "late"/, $offset);
sql($subscriber, 'ALTER TABLE orders ADD COLUMN late int');
equals_publisher('in the wrong order, once the column is there');

sql($subscriber, 'ALTER SUBSCRIPTION rollup_sources DISABLE');
poll($publisher, q{SELECT count(*) = 1 FROM pg_replication_slots WHERE slot_name = 'rollup_sources' AND NOT active});
sql($publisher, q{SELECT pg_drop_replication_slot('rollup_sources')});
change($publisher);
sql($subscriber, "$_") foreach split /(?<=;)\n/, $unsubscribe;
sql($subscriber, 'TRUNCATE refunds');
sql($subscriber, subscribe_to($publisher));
poll($subscriber, $not_copied, '');
equals_publisher('a new subscription after the slot was lost');

# --- two publishers -------------------------------------------------------------------

sql($subscriber, 'DROP SUBSCRIPTION rollup_sources; TRUNCATE orders, refunds');
my $second = new_publisher('second');
sql($second, $table);
sql($second, 'ALTER TABLE orders ALTER id RESTART 1000001; CREATE ROLE rds_replication');
sql($second, "$role; ALTER ROLE rollup_reader REPLICATION");
sql($publisher, 'DROP PUBLICATION rollup_sources');
sql($_, $publish_one) foreach $publisher, $second;
change($_) foreach $publisher, $second;
sql($subscriber, subscribe_to($publisher));
sql($subscriber, subscribe_to($second) =~ s/SUBSCRIPTION rollup_sources/SUBSCRIPTION second_sources/r);
poll($subscriber, $not_copied, '');
my %both = (rollup_sources => $publisher, second_sources => $second);
equals_publisher('two publishers', %both);
change($_) foreach $publisher, $second, $publisher, $second;
equals_publisher('two publishers, changed', %both);
$second->stop('immediate');
change($publisher);
start_again($second);
change($second);
equals_publisher('one has crashed', %both);
sql($second, 'DELETE FROM orders');
equals_publisher('one is empty', %both);
change($second);
kill_server($subscriber);
change($_) foreach $publisher, $second;
start_again($subscriber);
equals_publisher('the subscriber has crashed', %both);
sql($second, 'TRUNCATE orders');
change($second);
is(sql($subscriber, wait_for(position($second), 'second_sources')), 't', 'a TRUNCATE is not published');
cmp_ok(sql($subscriber, 'SELECT sum(orders) FROM orders_by_day'), '>', sql($publisher, 'SELECT count(*) FROM orders'),
	'so the rows of the other publisher are still there');
is_exact($subscriber, 'the rollups are those of the subscriber');

sql($subscriber, 'DROP SUBSCRIPTION rollup_sources');
sql($subscriber, 'DROP SUBSCRIPTION second_sources');
$_->stop foreach $subscriber, $publisher, $second;

done_testing();
