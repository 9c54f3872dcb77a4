# 073_logical_upgrade.pl
#
# An upgrade of the server by logical replication, as doc/operations.md shows: the new server gets the
# schema and subscribes, its rollups are built while the old server is in use, and are exact at the
# switch.  With a publication FOR ALL TABLES they are not maintained before the switch, and rebuilt
# after it.

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

my ($publish, $subscribe, $adopt, $at_old, $at_new) = document_block('doc/operations.md', 'By logical replication', 'sql');
my ($copy_schema) = document_block('doc/operations.md', 'By logical replication', 'sh');
my $conf = "autovacuum = off\nwal_retrieve_retry_interval = 200ms\n";
my $old = new_node('old', conf => $conf);
my $timeout = $PostgreSQL::Test::Utils::timeout_default;
my @rollups = qw(averages ft_service_stats mixed per_region total);
my @comparable = grep { $_ ne 'mixed' } @rollups;    # which has a column of type json
my ($create_subscription, $not_copied) = split /(?<=;)\n/, $subscribe;
my $connection = $old->connstr . ' dbname=postgres';

sub change
{
	change_notify($old);
	change_computed($old);
	sql($old, q{INSERT INTO numbered (kind) SELECT 'new' FROM generate_series(1, 5)});
	return;
}

# The rows of all rollups of a server, when it has applied everything.
sub contents
{
	my ($node) = @_;

	wait_until_applied($node);
	return join "\n", map { "$_:\n" . sql($node, "SELECT r::text FROM $_ r ORDER BY r::text") } @rollups;
}

# A new server with the schema of the old one.
sub new_server
{
	my ($name) = @_;
	my $node = new_node($name, conf => $conf, extension => 0);
	my ($from, $to) = map { $_->connstr('postgres') } $old, $node;

	# with the programs of the test's server, and its sockets
	my $command = $copy_schema =~ s/-h old -d shop/-d '$from'/r =~ s/-h new -d shop/-d '$to'/r;
	command_ok([ 'sh', '-c', $command ], "$name: the schema is copied");
	return $node;
}

# The steps at the switch.
sub switch_over
{
	my ($node, $wait) = @_;
	my ($lsn, @sequences) = split /\n/, sql($old, $at_old);
	my ($wait_for_it, @drop) = split /(?<=;)\n/, $at_new;

	if ($wait)
	{
		$wait_for_it =~ s/'0\/\w+', 'upgrade', '10 min'/'$lsn', 'upgrade', '$timeout s'/ or die $wait_for_it;
		is(sql($node, $wait_for_it), 't', 'everything has arrived and is counted');
	}
	else { $old->wait_for_catchup('upgrade', 'replay', $lsn) }
	sql($node, $_) foreach @drop;
	cmp_ok(scalar @sequences, '>', 0, 'there are sequences');
	sql($node, join "\n", @sequences);
	return;
}

load_notify($old);
load_computed($old);
sql($old, q{CREATE TABLE numbered (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text);
	ALTER TABLE events REPLICA IDENTITY FULL});
change() for 1 .. 2;
is_exact($old, 'the old server', rollups => \@comparable);

# --- the recipe -----------------------------------------------------------------------

sql($old, $publish);
is(sql($old, q{SELECT string_agg(tablename, ' ') FROM pg_publication_tables
	WHERE schemaname = 'notify_stats' OR tablename ~ '_core' OR tablename = 'ft_service_stats'}), '', 'the publication has no rollups');
is(sql($old, q{SELECT count(*) = 2 FROM pg_publication_tables WHERE tablename IN ('notifications', 'events')}), 't', 'but their sources');

my $new = new_server('new');
sql($new, $create_subscription =~ s/CONNECTION '.*?'/CONNECTION '$connection'/r);
change();
poll($new, $not_copied, '');
change();
is(sql($new, q{SELECT count(*) FROM notify_stats.check() WHERE item = 'former rollup'}), scalar @rollups, 'these are no rollups yet');
sql($new, $adopt);
is(join(' ', map { /^(\w+)/ } split /\n/, rollup_states($new)), join(' ', @rollups), 'the rollups are adopted');
wait_until_applied($new);
is(join(' ', map { /\|(\w+)/ } split /\n/, rollup_states($new)), join(' ', map { 'live' } @rollups), 'and built while the old server is in use');
is(complaints($new, $_), '', "check() has no complaint: $_") foreach 'source subscription', 'subscribed table', 'subscription', 'former rollup';

my $built_at = built_at($new);
change() for 1 .. 3;
kill_server($new);
change();
start_again($new);
change();
switch_over($new, 1);
is(contents($new), contents($old), 'at the switch the rollups are those of the old server');
is(differences($new, 'postgres', @comparable), '', 'and exact');
is(built_at($new), $built_at, 'without a rebuild');
is_verified($new, 'ft_service_stats', 'verified');
$old->stop;

# the new server is in use
change_notify($new);
change_computed($new);
sql($new, q{INSERT INTO numbered (kind) VALUES ('after')});
is(sql($new, q{SELECT max(id) = (SELECT id FROM numbered WHERE kind = 'after') FROM numbered}), 't', 'sequences go on');
is_exact($new, 'after the switch', rollups => \@comparable);
is(built_at($new), $built_at, 'still without a rebuild');
$new->stop;

# --- a publication of all tables ------------------------------------------------------

$old->start;
sql($old, 'DROP PUBLICATION upgrade; CREATE PUBLICATION upgrade FOR ALL TABLES');
my $other = new_server('other');
sql($other, $create_subscription =~ s/CONNECTION '.*?'/CONNECTION '$connection'/r);
poll($other, $not_copied, '');
sql($other, $adopt);
change();
poll($other, q{SELECT count(*) > 0 AND bool_and(state <> 'live') FROM notify_stats.rollups});
like(complaints($other, 'subscription', 'detail'), qr/^subscription upgrade writes to public\.ft_service_stats, which is a rollup: it cannot be maintained$/m,
	'all tables: check() says that the rollups are not maintained');
switch_over($other, 0);
wait_until_applied($other);
is(contents($other), contents($old), 'all tables: rebuilt after the switch');
is_exact($other, 'all tables: exact', rollups => \@comparable);
$other->stop;
$old->stop;

done_testing();
