# 046_alter.pl
#
# alter_rollup() where a worker runs: readers never see an error or a wrong number while a rollup is
# replaced; a reader that holds a lock delays the replacement, but neither other readers nor the
# worker; when a process or the server is killed at any point, the old form stays until the new one
# is complete; a dump has a replacement that is pending.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('alter');

my %form = (
	table => q{SELECT day, count(*) AS n FROM facts GROUP BY day},
	longer => q{SELECT day, count(*) AS n, sum(amount) AS amount, count(amount) AS amounts FROM facts GROUP BY day},
	view => q{SELECT day, count(*) AS n, avg(amount) AS average FROM facts GROUP BY day},
	wider => q{SELECT day, count(*) AS n, avg(amount) AS average, max(amount) AS most FROM facts GROUP BY day},
	cores => q{SELECT day, count(*) AS n, avg(amount) AS average FROM facts GROUP BY day
		UNION ALL SELECT date '2000-01-01' + (amount % 2), 0, max(amount) FROM facts GROUP BY amount});

# Has the rollup be altered; the query is that of a form.
sub alter_to
{
	my ($form) = @_;

	sql($node, qq{SELECT notify_stats.alter_rollup('d', \$\$ $form{$form} \$\$)});
	return;
}

sub wait_for_swap
{
	poll($node, q{SELECT count(*) = 0 FROM notify_stats.replacement});
	return;
}

# The rollup has the form, and is exact.
sub is_form
{
	my ($form, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	sql($node, q{INSERT INTO facts SELECT max(id) + 1, date '2026-03-01', 1 FROM facts});
	sql($node, 'SELECT notify_stats.wait_for_lsn()');
	is(sql($node, q{SELECT count(*) FROM ((TABLE d EXCEPT ALL TABLE d_definition) UNION ALL (TABLE d_definition EXCEPT ALL TABLE d)) x}),
		0, "$title: exact");
	is(sql($node, qq{SELECT count(*) FROM ((TABLE d EXCEPT ALL ($form{$form})) UNION ALL (($form{$form}) EXCEPT ALL TABLE d)) x}),
		0, "$title: as altered");
	is(sql($node, q{SELECT count(*) FROM pg_class WHERE relname LIKE '%\_new%' OR relname LIKE 'notify\_stats\_old%'}), 0,
		"$title: nothing else is left");
	is(sql($node, 'TABLE days'), sql($node, 'SELECT sum(n) FROM d'), "$title: the view over it");
	return;
}

sql($node, q{
	CREATE TABLE facts (id int PRIMARY KEY, day date NOT NULL, amount int NOT NULL);
	ALTER TABLE facts REPLICA IDENTITY FULL;
	INSERT INTO facts SELECT i, date '2026-01-01' + i % 10, i % 5 FROM generate_series(1, 1000) i;
	CREATE TABLE others (kind int NOT NULL);
	ALTER TABLE others REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM others GROUP BY kind');
	SELECT notify_stats.create_rollup('d', $$} . $form{table} . q{$$);
	CREATE VIEW days AS SELECT sum(n) AS n FROM d;
	SELECT notify_stats.wait_for_lsn();
});

# --- readers ----------------------------------------------------------------------------

# Two that follow each other closely read the rollup and a view over it, without a change of the facts.
my @readers = map { start_psql($node, (q{SELECT sum(n) FROM d}, q{TABLE days}) x 3000) } (1, 2);
foreach my $form ('view', 'wider', 'longer', 'cores', 'table', 'view', 'longer')
{
	alter_to($form);
	wait_for_swap();
	# the next form may lack a column only if nobody reads it, as here
	is(sql($node, 'SELECT sum(n) FROM d'), 1000, "$form: the sum");
}
my %seen = map { ($_ => 1) } map { split /\n/, $_->finish } @readers;
is(join(', ', sort keys %seen), '1000', 'readers have seen nothing else');
is_form('longer', 'after that');

# One holds a lock for long.
my $timeout = "$PostgreSQL::Test::Utils::timeout_default s";
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) > 0 FROM d');
alter_to('view');
poll($node, q{SELECT replacement FROM notify_stats.rollups WHERE rollup = 'd'::regclass}, 'live');
sql($node, 'INSERT INTO others VALUES (1)');
is(sql($node, q{SELECT notify_stats.wait_for_lsn(timeout => '} . "$timeout')"), 't', 'the worker does not wait for a reader');
is(sql($node, "SET statement_timeout = '$timeout'; SELECT sum(n) FROM d; SELECT n FROM kinds"), "1001\n1",
	'nor do other readers');
is(sql($node, q{SELECT count(*) FROM notify_stats.replacement}), 1, 'the replacement does');
$reader->query_safe('COMMIT');
$reader->quit;
wait_for_swap();
is_form('view', 'after the reader');

# Four of them leave no gap.  They end a second after the rollup was replaced.
sql($node, 'CREATE TABLE replaced (at timestamptz)');
@readers = map { start_psql($node, (q{SELECT n, pg_sleep(CASE WHEN EXISTS (SELECT FROM replaced WHERE at < now() - interval '1 s') THEN 0 ELSE 0.05 END)
	FROM (SELECT sum(n) AS n FROM d) x}) x 1200) } 1 .. 4;
poll($node, q{SELECT count(*) >= 4 FROM pg_stat_activity WHERE query LIKE 'SELECT n, pg_sleep%'});
alter_to('table');
wait_for_swap();
is(sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT n, pg_sleep%' AND pid <> pg_backend_pid()}), 4,
	'a rollup that is always read is replaced nevertheless');
sql($node, 'INSERT INTO replaced VALUES (now())');
%seen = map { ($_ => 1) } map { split /\n/, $_->finish } @readers;
is(join(', ', sort keys %seen), '1002|', 'and readers have seen nothing else');
is_form('table', 'after the readers');
alter_to('view');
wait_for_swap();

# --- crashes ----------------------------------------------------------------------------

# The builder is killed, at some of its points.
foreach my $point ('build-copied', 'build-filled', 'build-joined')
{
	my $form = $point eq 'build-filled' ? 'wider' : $point eq 'build-copied' ? 'longer' : 'view';
	my $offset = log_position($node);

	set_stop($node, $point);
	alter_to($form);
	wait_for_stop($node, $point, $offset);
	is(sql($node, q{SELECT state FROM notify_stats.rollups WHERE rollup = 'd'::regclass}), 'live', "$point: the old form is live");
	unset_stop($node);
	crash_restart($node, builder_pid($node));
	$node->reload;
	wait_for_swap();
	is_form($form, "the builder was killed at $point");
}

# The worker, or the server, is killed at the points around the swap.
my @ways = (
	[ 'kill -9 of the worker' => sub { crash_restart($node, worker_pid($node)); $node->reload; } ],
	[ 'immediate shutdown' => sub { $node->stop('immediate'); $node->start; } ]);
my @forms = ('cores', 'table', 'wider', 'cores', 'longer', 'view');
foreach my $point ('swap-locked', 'swapped', 'swap-committed')
{
	foreach my $way (@ways)
	{
		my $form = shift @forms;
		my $offset = log_position($node);
		my $old = sql($node, q{SELECT 'd_definition'::regclass::oid || pg_get_viewdef('d_definition')});

		set_stop($node, $point);
		alter_to($form);
		wait_for_stop($node, $point, $offset);
		# others see the old form, and change what it reads
		is(sql($node, q{SELECT relname FROM pg_class WHERE relname IN ('d', 'notify_stats_old')}), 'd', "$point: there is one");
		unset_stop($node);
		sql($node, 'CHECKPOINT');
		$way->[1]->();
		wait_for_swap();
		isnt(sql($node, q{SELECT 'd_definition'::regclass::oid || pg_get_viewdef('d_definition')}), $old, "$way->[0], $point: replaced");
		is_form($form, "$way->[0], $point");
	}
}

# catch_up() does the same.
sql($node, 'SELECT notify_stats.pause()');
alter_to('table');
sql($node, 'CALL notify_stats.catch_up()');
sql($node, 'SELECT notify_stats.resume()');
is_form('table', 'catch_up()');

# --- a dump -----------------------------------------------------------------------------

foreach my $form ('view', 'longer', 'wider')
{
	my $dump = $node->basedir . "/$form.dump";
	my $offset = log_position($node);
	my $rest = sql($node, 'SELECT count(*) FROM notify_stats.rollups');

	set_stop($node, 'build-filled');
	alter_to($form);
	wait_for_stop($node, 'build-filled', $offset);
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], "$form: pg_dump");
	continue_from_stop($node);
	wait_for_swap();
	# no worker serves it
	sql($node, "CREATE DATABASE copy_of_$form");
	foreach my $section ('pre-data', 'data', 'post-data')
	{
		$node->command_ok([ 'pg_restore', '--exit-on-error', "--section=$section", '-d', $node->connstr("copy_of_$form"), $dump ],
			"$form: pg_restore of $section");
		# restored rollups are seen before the restore of their views and indexes
		sql($node, 'CALL notify_stats.catch_up()', "copy_of_$form") unless $section eq 'pre-data';
	}
	is(sql($node, q{SELECT count(*), sum((state = 'live')::int), count(replacement) FROM notify_stats.rollups}, "copy_of_$form"), "$rest|$rest|0",
		"$form: the restored database has the same rollups");
	is(sql($node, 'SELECT * FROM d ORDER BY 1, 2', "copy_of_$form"), sql($node, 'SELECT * FROM d ORDER BY 1, 2'),
		"$form: the new form is restored");
	is(sql($node, q{SELECT count(*) FROM pg_class WHERE relname LIKE '%\_new%'}, "copy_of_$form"), 0, "$form: nothing else is left");
}

unlike(slurp_file($node->logfile), qr/was given up|PANIC/, 'no replacement was given up');

done_testing();
