# 055_notification.pl
#
# With notify_stats.notify, clients are notified of each rollup that a batch has changed, with the
# position that it then has.
#
# formats: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('notification', conf => "notify_stats.notify = on\nautovacuum = off\n");

# The notifications that a session receives which listens before this work is done.
sub notifications
{
	my ($work) = @_;
	my $listener = start_psql($node, 'LISTEN notify_stats', 'SELECT pg_advisory_lock(1)',
		'DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM done) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$', 'SELECT 1');

	poll($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted}, '1');
	$work->();
	# The process that has notified the session may be about to wake it.  So does this.
	sql($node, q{NOTIFY notify_stats, 'end'});
	sql($node, 'INSERT INTO done VALUES (1)');
	my $output = $listener->finish;
	sql($node, 'TRUNCATE done');
	return $output =~ /Asynchronous notification "notify_stats" with payload "(\{.*?\})" received/g;
}

# The rollups that notifications name, each once: there may be several batches.
sub rollups_of
{
	my %names = map { (/"rollup": "((?:\\.|[^"])*)"/ ? $1 : 'none') => 1 } @_;

	return join ' ', sort keys %names;
}

sql($node, q{CREATE TABLE done (id int)});
make_kinds($node);
sql($node, q{CREATE TABLE label (kind int PRIMARY KEY, name text); CREATE TABLE "Odd" (x int); ALTER TABLE "Odd" REPLICA IDENTITY FULL});
sql($node, q{SELECT notify_stats.create_rollup('"Odd ""one"""', 'SELECT x, count(*) AS n FROM "Odd" GROUP BY x')});
sql($node, q{SELECT notify_stats.create_rollup('average', 'SELECT x % 2 AS parity, avg(x) AS mean FROM "Odd" GROUP BY 1')});
wait_until_applied($node);

my @found = notifications(sub {
	change_kinds($node);
	wait_until_applied($node);
});
is(rollups_of(@found), 'public.kinds', 'the rollup that has changed is named');
my ($lsn) = $found[0] =~ /"lsn": "(.*?)"/;
is(sql($node, "SELECT notify_stats.applied_lsn('kinds') >= '$lsn' AND '$lsn' > '0/0'::pg_lsn"), 't', 'with its position');
is(sql($node, "SELECT '$found[0]'::jsonb ->> 'rollup'"), 'public.kinds', 'it is JSON');

@found = notifications(sub {
	sql($node, 'INSERT INTO "Odd" SELECT g FROM generate_series(1, 5) g');
	wait_until_applied($node);
});
is(rollups_of(@found), q{public.\"Odd \"\"one\"\"\" public.average}, 'each one, by the name that users know');
is(sql($node, qq{SELECT count(*) FROM unnest(ARRAY[\$a\$$found[0]\$a\$, \$a\$$found[1]\$a\$]) n WHERE to_regclass(n::jsonb ->> 'rollup') IS NOT NULL}), '2',
	'the name is that of the table for SQL');

@found = notifications(sub {
	sql($node, q{UPDATE kinds SET n = n + 1; SELECT notify_stats.rebuild('kinds')});
	wait_until_rebuilt($node, 'kinds');
	wait_until_applied($node);
});
is(rollups_of(@found), 'public.kinds', 'after a rebuild, too');

@found = notifications(sub {
	sql($node, 'CREATE TABLE unrelated AS SELECT g FROM generate_series(1, 10) g');
	wait_until_applied($node);
});
is(rollups_of(@found), '', 'not for changes that concern no rollup');

set_and_reload($node, 'notify_stats.notify' => undef);
$node->append_conf('postgresql.conf', 'notify_stats.notify = off');
$node->reload;
poll($node, q{SELECT current_setting('notify_stats.notify')}, 'off');
change_kinds($node);
wait_until_applied($node);
@found = notifications(sub {
	change_kinds($node);
	wait_until_applied($node);
});
is(rollups_of(@found), '', 'nor while the setting is off');

done_testing();
