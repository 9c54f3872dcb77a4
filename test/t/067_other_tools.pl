# 067_other_tools.pl
#
# Tools that many databases have, beside rollups: pg_dump with several processes, pg_repack,
# pg_partman, pg_cron, and a publication of all tables.  Rollups stay exact, and are not rebuilt,
# except where the manual ("Beside other tools") says so.
#
# The tools are the packages of Debian for the distribution's server.  Those that are not installed
# are skipped.
#
# optional packages: postgresql-15-repack postgresql-15-partman postgresql-15-cron

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

my $node = new_node('tools', start => 0, extension => 0, conf => q{
notify_stats.database = 'postgres, restored'
wal_level = logical
max_wal_senders = 4
});
my $dir = $node->basedir;
my %has = map { $_ => -e $node->config_data('--sharedir') . "/extension/$_.control" } qw(pg_repack pg_partman pg_cron);

$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'notify_stats, pg_cron'
cron.database_name = 'postgres'
cron.host = '@{[ $node->host ]}'
}) if $has{pg_cron};
$node->start;
sql($node, 'CREATE EXTENSION notify_stats');

# "rollup|built_at" of rollups that must not be rebuilt
sub builds
{
	my (@rollups) = @_;
	return join "\n", map { "$_|" . built_at($node, $_) } @rollups;
}

# The file of a table, which a rewrite replaces.
sub file_of
{
	my ($table) = @_;
	return sql($node, "SELECT pg_relation_filenode('$table')");
}

# pg_repack for one table, and its messages; whether it has rewritten the table is the result.
sub repack
{
	my ($table, $messages) = @_;
	my $before = file_of($table);

	$node->run_log([ 'pg_repack', '--no-analyze', '-d', 'postgres', '-t', $table ], '2>' => $messages);
	return file_of($table) ne $before;
}

my $next = 1_000_000;    # the load has other notifications

# Inserts, updates and deletes notifications of a database.
sub change
{
	my ($db) = @_;

	$next += 20;
	sql($node, notify_insert($next - 19, $next), $db);
	sql($node, q{
		UPDATE notifications SET notification_status = 'sending' WHERE random() < 0.3;
		DELETE FROM notifications WHERE random() < 0.1;
	}, $db);
	return;
}

# --- pg_dump --------------------------------------------------------------------------

load_notify($node, 2000);
# groups without nulls, so a primary key; of a role that may do nothing else
sql($node, q{
	CREATE ROLE teller;
	GRANT CREATE ON SCHEMA public TO teller;
	GRANT SELECT ON notifications TO teller;
	SET ROLE teller;
	SELECT notify_stats.create_rollup('by_type', 'SELECT notification_type, notification_status, count(*) AS n FROM notifications GROUP BY 1, 2');
});
is_exact($node, 'exact at first');

my @notify = ('ft_service_stats', 'by_type');
my $built = builds(@notify);
my $load = start_load($node);
$node->command_ok([ 'pg_dump', '-Fd', '-j', '4', '-f', "$dir/dump", '-d', $node->connstr('postgres') ],
	'pg_dump -j 4 under load');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
wait_for_worker($node, 'restored');
$node->command_ok([ 'pg_restore', '-j', '4', '--exit-on-error', '-d', $node->connstr('restored'), "$dir/dump" ],
	'pg_restore -j 4');
poll($node, q{SELECT count(*) = 2 FROM notify_stats.rollups WHERE state = 'live'}, 't', 'restored');
is_exact($node, 'pg_dump: the restored rollups are exact', db => 'restored');
change('restored');
is_exact($node, 'pg_dump: and are maintained', db => 'restored');

# --- pg_repack ------------------------------------------------------------------------

SKIP:
{
	skip 'no pg_repack', 1 if !$has{pg_repack};

	my $messages;

	sql($node, 'CREATE EXTENSION pg_repack');
	foreach my $table (qw(notifications notification_history by_type))
	{
		ok(repack($table, \$messages), "pg_repack: $table is rewritten under load") or diag($messages);
	}
	ok(!repack('ft_service_stats', \$messages), 'pg_repack: a rollup without a primary key is not rewritten');
	like($messages, qr/relation "public.ft_service_stats" must have a primary key or not-null unique keys/,
		'pg_repack: as it says');
	is($load->end, '', 'pg_repack: no statement of the load has failed');
	undef $load;
	is_exact($node, 'pg_repack: exact');
	change('postgres');
	is_exact($node, 'pg_repack: exact afterwards');
	is(builds(@notify), $built, 'pg_repack: no rollup was rebuilt');

	# with a key, as for publishing; its index on the groups takes nulls
	my ($add_key) = document_block('doc/operations.md', 'Publishing a rollup', 'sql');
	sql($node, $add_key =~ s/events_by_kind/ft_service_stats/r);
	ok(repack('ft_service_stats', \$messages), 'pg_repack: a rollup with an added key is rewritten') or diag($messages);
	foreach (1 .. 2)
	{
		sql($node, q{INSERT INTO notifications (id, "to", created_at, template_version, key_type, notification_type, billable_units, notification_status)
			VALUES (gen_random_uuid(), 'somebody', '2026-01-01', 1, 'normal', 'sms', 1, 'virus-scan-failed')});
		wait_until_applied($node);
	}
	is(state_of($node, 'ft_service_stats') . ' ' . sql($node, q{SELECT notification_count FROM ft_service_stats
		WHERE service_id IS NULL AND template_id IS NULL AND notification_status = 'virus-scan-failed'}), 'live 2',
		'pg_repack: its groups with nulls are found');
	sql($node, 'ALTER TABLE ft_service_stats DROP COLUMN id, REPLICA IDENTITY FULL');

	# it waits for the transaction of another session, and is killed: its triggers and log tables stay
	my $session = $node->background_psql('postgres');
	$session->query_safe('BEGIN; SELECT pg_current_xact_id()');
	foreach my $table (qw(notifications by_type))
	{
		my $output = '';
		local %ENV = $node->_get_env();
		my $run = IPC::Run::start([ 'pg_repack', '-d', 'postgres', '-t', $table ],
			'<' => \undef, '>' => \$output, '2>&1');

		poll($node, "SELECT count(*) = 1 FROM pg_trigger WHERE tgname = 'repack_trigger' AND tgrelid = '$table'::regclass");
		$run->kill_kill;
	}
	$session->quit;
	poll($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pg_repack'});
	change('postgres');
	is_exact($node, 'pg_repack killed: exact');
	cmp_ok(sql($node, q{SELECT count(*) FROM repack.log_} . sql($node, q{SELECT 'by_type'::regclass::oid})), '>', 0,
		'pg_repack killed: its trigger logs what the worker writes to a rollup');
	sql($node, 'DROP EXTENSION pg_repack CASCADE');
	change('postgres');
	is_exact($node, 'pg_repack killed: exact without its leftovers');
	is(builds(@notify), $built, 'pg_repack killed: no rollup was rebuilt');
}
$load->end if $load;

# --- pg_partman -----------------------------------------------------------------------

SKIP:
{
	skip 'no pg_partman', 1 if !$has{pg_partman};

	my $last = 0;
	my $insert = sub {
		my ($to) = @_;
		my $from = $last + 1;

		$last = $to;
		return "INSERT INTO events SELECT i, 'kind ' || i % 3 FROM generate_series($from, $to) i";
	};
	my $partitions = sub { sql($node, q{SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass}) };
	# with ignore_deletes, all that was ever inserted
	my $counted = sub { wait_until_applied($node); sql($node, 'SELECT sum(n) FROM events_ever') };

	sql($node, q{
		CREATE SCHEMA partman;
		CREATE EXTENSION pg_partman SCHEMA partman;
		CREATE TABLE events (id bigint PRIMARY KEY, kind text NOT NULL) PARTITION BY RANGE (id);
		SELECT partman.create_parent('public.events', 'id', 'native', '100', p_premake => 2);
		UPDATE partman.part_config SET retention = '200', retention_keep_table = false, automatic_maintenance = 'off';
	});
	sql($node, document_block('doc/operations.md', 'pg_partman', 'sql'));
	sql($node, 'CALL maintain_events()');
	sql($node, q{
		SELECT notify_stats.create_rollup('events_left', 'SELECT kind, count(*) AS n FROM events GROUP BY kind');
		SELECT notify_stats.create_rollup('events_ever', 'SELECT kind, count(*) AS n FROM events GROUP BY kind', ignore_deletes => '{events}');
	});
	sql($node, $insert->(150));
	is_exact($node, 'pg_partman: exact at first');

	my $before = $partitions->();
	my $built = builds('events_left', 'events_ever');
	sql($node, 'CALL maintain_events()');
	cmp_ok($partitions->(), '>', $before, 'pg_partman: there are new partitions');
	sql($node, $insert->(290));
	sql($node, q{UPDATE events SET kind = 'changed' WHERE id % 10 = 0});
	is_exact($node, 'pg_partman: new partitions are counted, and their updates');
	is(builds('events_left', 'events_ever'), $built, 'pg_partman: nothing was rebuilt');
	is(complaints($node, 'replica identity'), '', 'pg_partman: each partition has its identity');

	foreach my $keep ('false', 'true')
	{
		my $title = $keep eq 'true' ? 'detached' : 'dropped';
		my $first_left = sql($node, 'SELECT min(id) FROM events');
		my $built_ever = builds('events_ever');
		my $built_left = builds('events_left');

		sql($node, "UPDATE partman.part_config SET retention_keep_table = $keep");
		# all of it before the worker reads any
		pause_stream($node);
		foreach (1 .. 3)
		{
			sql($node, $insert->($last + 100));
			sql($node, 'CALL maintain_events()');
		}
		resume_stream($node);
		cmp_ok(sql($node, 'SELECT min(id) FROM events'), '>', $first_left, "pg_partman: old partitions are $title");
		is_exact($node, "pg_partman, $title: exact", rollups => ['events_left']);
		isnt(builds('events_left'), $built_left, "pg_partman, $title: by a rebuild");
		is($counted->(), $last, "pg_partman, $title: with ignore_deletes, the totals are kept");
		is(state_of($node, 'events_ever') . "\n" . builds('events_ever'), "live\n$built_ever", "pg_partman, $title: it is live without a rebuild");
	}

	# rows of the default partition are moved to one that is made for them: deleted and inserted
	sql($node, q{INSERT INTO events SELECT i, 'late' FROM generate_series(5001, 5010) i});
	$last += 10;
	is($counted->(), $last, 'pg_partman: rows in the default partition are counted');
	cmp_ok(sql($node, q{SELECT partman.partition_data_id('public.events', p_batch_count => 10)}), '>', 0, 'pg_partman: they are moved');
	sql($node, 'CALL maintain_events()');
	is_exact($node, 'pg_partman, moved: exact', rollups => ['events_left']);
	is($counted->(), $last + 10, 'pg_partman, moved: with ignore_deletes, they are counted twice');
	sql($node, q{SELECT notify_stats.drop_rollup('events_ever')});
}

# --- pg_cron --------------------------------------------------------------------------

SKIP:
{
	skip 'no pg_cron', 1 if !$has{pg_cron};

	my $number_of_jobs = 3;

	sql($node, q{
		CREATE EXTENSION pg_cron;
		CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, day int NOT NULL);
		ALTER TABLE orders REPLICA IDENTITY FULL;
		INSERT INTO orders (day) SELECT i % 10 FROM generate_series(1, 100) i;
		SELECT notify_stats.create_rollup('orders_by_day', 'SELECT day, count(*) AS orders FROM orders GROUP BY day');
		CREATE TABLE archived_totals AS SELECT * FROM orders_by_day WITH NO DATA;
		SELECT cron.schedule('rebuild', '@reboot', $$SELECT notify_stats.rebuild('ft_service_stats')$$);
		SELECT cron.schedule('archive', '@reboot', $$
			WITH purged AS (DELETE FROM orders WHERE day = (SELECT min(day) FROM orders) RETURNING day)
			INSERT INTO archived_totals SELECT day, count(*) FROM purged GROUP BY 1$$);
		SELECT cron.schedule('catch_up', '@reboot', 'CALL notify_stats.catch_up()');
	});
	is_exact($node, 'pg_cron: exact at first');

	# the jobs run when the server starts; either library comes first, jobs run as sessions or as workers
	foreach my $param ([ 'notify_stats, pg_cron', 'off' ], [ 'pg_cron, notify_stats', 'on' ])
	{
		my ($libraries, $workers) = @$param;
		my $title = "pg_cron, $libraries, background workers $workers";
		my $built_before = built_at($node, 'ft_service_stats');

		# no worker applies this
		pause_stream($node);
		sql($node, 'TRUNCATE cron.job_run_details');
		sql($node, 'INSERT INTO orders (day) SELECT 77 FROM generate_series(1, 7)');
		disconnect($node);
		$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'$libraries'");
		$node->adjust_conf('postgresql.conf', 'cron.use_background_workers', $workers);
		$node->restart;
		poll($node, q{SELECT count(*) FROM cron.job_run_details WHERE status IN ('succeeded', 'failed')}, $number_of_jobs);
		is(sql($node, q{SELECT jobname, status, return_message FROM cron.job_run_details JOIN cron.job USING (jobid) WHERE status <> 'succeeded'}),
			'', "$title: each job has succeeded");
		is(sql($node, q{SELECT orders FROM orders_by_day WHERE day = 77}), '7', "$title: a job has caught up");
		resume_stream($node);
		is_exact($node, "$title: exact");
		wait_until_rebuilt($node, 'ft_service_stats');
		isnt(built_at($node, 'ft_service_stats'), $built_before, "$title: a job has rebuilt a rollup");
		sql($node, 'DELETE FROM orders WHERE day = 77');
	}
	is(sql($node, 'SELECT count(*), sum(orders), min(day) FROM archived_totals'), '2|20|0', 'pg_cron: two days are archived');
	is_exact($node, 'pg_cron: exact at the end');
}

# --- FOR ALL TABLES -------------------------------------------------------------------

# Its tables need a replica identity, or else their updates fail.  That is so for our own tables, and
# for each rollup, whatever it groups by.
sql($node, q{
	CREATE PUBLICATION everything FOR ALL TABLES;
	SELECT notify_stats.create_rollup('by_service', 'SELECT service_id, count(*) AS n, max(billable_units) AS units FROM notifications GROUP BY 1');
	SELECT notify_stats.rebuild('ft_service_stats');
});
is_exact($node, 'FOR ALL TABLES: built');
change('postgres');
sql($node, q{SELECT notify_stats.pause(); SELECT notify_stats.resume()});
is_exact($node, 'FOR ALL TABLES: exact');
is(sql($node, q{SELECT rollup, state FROM notify_stats.rollups WHERE state <> 'live'}), '', 'FOR ALL TABLES: all are live');
is(sql($node, q{
	SELECT oid::regclass FROM pg_class c
	WHERE relkind = 'r' AND relreplident = 'd'
	      AND (relnamespace = 'notify_stats'::regnamespace OR oid IN (SELECT rollup FROM notify_stats.rollup))
	      AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)}), '',
	'FOR ALL TABLES: each of our tables can be updated');
sql($node, q{SELECT notify_stats.drop_rollup('by_service')});
is_exact($node, 'FOR ALL TABLES: a rollup dropped');
$node->stop;

done_testing();
