# 059_clients_resume.pl
#
# Several clients follow a rollup and stop at different positions.  Everything is restarted, and each
# resumes from its own position: it gets the groups that have changed since then, all of them and no
# others.  The window of applied WAL bounds the disk; a client that was away for longer reads the
# rollup as a whole.
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

my $window_mb = 16;
my $node = new_node('clients', conf => <<"CONF");
autovacuum = off
wal_keep_size = 0
min_wal_size = 32MB
max_wal_size = 32MB
notify_stats.resumable_wal_window = ${window_mb}MB
CONF

# Each client has the position where it has stopped, and what it had then.
my @clients;

# "group|n" of each group, as of one snapshot, after a line with the position.
sub read_rollup
{
	return split /\n/, sql($node, q{BEGIN ISOLATION LEVEL REPEATABLE READ;
		SELECT notify_stats.applied_lsn('kinds');
		SELECT kind, n FROM kinds ORDER BY kind; COMMIT});
}

sub add_client
{
	wait_until_applied($node);
	my ($lsn, @rows) = read_rollup();

	push @clients, { lsn => $lsn, rows => { map { split /\|/ } @rows } };
	return;
}

# The client asks from its position, as a new session, and goes on from there.
sub resume_client
{
	my ($client, $title) = @_;
	my %before = %{ $client->{rows} };
	my ($changes, $rollup) = split /^rollup$/m, sql($node, qq{BEGIN ISOLATION LEVEL REPEATABLE READ;
		SELECT lsn, group_key ->> 'kind', measures ->> 'n' FROM notify_stats.changes('kinds', '$client->{lsn}');
		SELECT 'rollup'; SELECT kind, n FROM kinds; COMMIT});
	my %now = map { split /\|/ } grep { $_ ne '' } split /\n/, $rollup;
	my %differ = map { ($_ => 1) } grep { ($before{$_} // '') ne ($now{$_} // '') } keys %before, keys %now;
	my @told;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	foreach (split /\n/, $changes)
	{
		my ($lsn, $kind, $n) = split /\|/, $_, -1;

		$client->{lsn} = $lsn;
		next if $kind eq '';
		push @told, $kind;
		$client->{rows}{$kind} = $n;
		delete $client->{rows}{$kind} if $n eq '';
	}
	is(join(' ', sort @told), join(' ', sort keys %differ), "$title: the groups that have changed, each once, and no others");
	is_deeply($client->{rows}, \%now, "$title: its copy equals the rollup");
	return scalar(@told);
}

# Only adds rows, so that a group that was changed differs.
sub add_rows
{
	my (@kinds) = @_;

	sql($node, "INSERT INTO event SELECT '$_', repeat('x', 500) FROM generate_series(1, 3)") foreach @kinds;
	return;
}

sql($node, q{
	CREATE TABLE event (kind text, filler text);
	ALTER TABLE event REPLICA IDENTITY FULL;
	INSERT INTO event VALUES ('gone', ''), ('old', '');
	SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM event GROUP BY kind')});
wait_until_applied($node);
poll($node, q{SELECT window_lsn IS NOT NULL FROM notify_stats.status WHERE stream = 'main'});
add_client();
add_rows('a', 'b');
add_client();
sql($node, q{DELETE FROM event WHERE kind = 'gone'});
add_rows('b', 'c');
add_client();

# Each way in which everything is restarted.
my %restarts = (
	'a restart' => sub { $node->restart },
	'an immediate shutdown' => sub {
		$node->stop('immediate');
		$node->start;
	},
	'a crash of the postmaster' => sub {
		kill_server($node);
		start_again($node);
	},
	'a crash of the worker' => sub { crash_restart($node, worker_pid($node)) });
my $n = 0;

foreach my $restart (sort keys %restarts)
{
	# applied before, after, or by nobody yet
	add_rows("before " . ++$n);
	wait_until_applied($node) if $n % 2 == 0;
	$restarts{$restart}->();
	wait_for_worker($node);
	add_rows("after $n", 'a');
	wait_until_applied($node);
	# each client stays away for one more round than the one before
	foreach my $i (grep { $n % ($_ + 1) == 0 } 0 .. $#clients)
	{
		cmp_ok(resume_client($clients[$i], "$restart, client $i"), '>=', 3, "$restart, client $i: there was something to tell");
		is(resume_client($clients[$i], "$restart, client $i, at once again"), 0, "$restart, client $i: then there is nothing");
	}
}

# The same position twice.
add_rows('twice');
wait_until_applied($node);
my %first = (lsn => $clients[0]{lsn}, rows => { %{ $clients[0]{rows} } });
my %second = (lsn => $clients[0]{lsn}, rows => { %{ $clients[0]{rows} } });
is(resume_client(\%first, 'once'), resume_client(\%second, 'once more'), 'the same position gives the same changes');

# More WAL than the window: the disk is bounded, and who was away for longer is told to read all.
add_client();
my $away = $clients[-1];
for (1 .. 30)
{
	sql($node, q{INSERT INTO event SELECT 'much ' || g % 3, repeat('y', 1000) FROM generate_series(1, 2000) g});
	wait_until_applied($node);
}
# The slot follows the places that are noted while others write: about each half second.
my $bounded = '';
my $limit = time + $PostgreSQL::Test::Utils::timeout_default;
while ($bounded ne 't' && time < $limit)
{
	sql($node, q{INSERT INTO event SELECT 'little', repeat('y', 1000) FROM generate_series(1, 200) g});
	wait_until_applied($node);
	# with room for what is written below, so that the slot is not moved again
	$bounded = sql($node, "SELECT window_bytes < ($window_mb - 1) * 1024 * 1024 FROM notify_stats.status WHERE stream = 'main'");
}
is($bounded, 't', 'the slot of the window retains no more than it should');
add_client();
sql($node, 'CHECKPOINT');
sql($node, q{INSERT INTO event VALUES ('last', '')});
wait_until_applied($node);
sql($node, 'CHECKPOINT');
cmp_ok(sql($node, 'SELECT sum(size) FROM pg_ls_waldir()'), '<', (2 * $window_mb + 64) * 1024 * 1024, 'and so the disk is bounded');
like(sql_error($node, "SELECT * FROM notify_stats.changes('kinds', '$away->{lsn}')"), qr/ERROR:  NS001: .*HINT:  Read the whole rollup/s,
	'who was away for too long is told');
$node->restart;
wait_for_worker($node);
add_rows('late');
wait_until_applied($node);
resume_client($clients[-1], 'who was away for less');

done_testing();
