# 015_crash_matrix.pl
#
# Crashes under load.  Several clients write to Notify's tables, the worker, a builder or the
# processes that read a backlog are stopped at one of their points, and then a process is killed:
# the worker, a builder, one that helps to read the backlog, a client, the postmaster, or all at
# once.  Then the server must start, the rollups must be exact, and the builds must end, without
# intervention and without a failed rollup.
#
# One of the points is in the resuming of a rollup that was left behind, after it has failed because
# of a constraint.
#
# Each point is combined with each way of dying, and with each kind of commit
# (synchronous_commit), in 55 rounds in random order.  NS_ROUNDS sets another number; the first 22
# have each point with each kind of commit, and the first 55 each point with each way.  NS_SEED
# sets another order.
# versions: all
# takes long

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use List::Util qw(shuffle);
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my @points = (
	'after-peek', 'after-apply', 'after-commit', 'after-advance',
	'build-copied', 'build-snapshot', 'build-filled', 'build-joined', 'build-moved');
# other formats are read by one process
push @points, 'window-folded', 'window-applied' if format_name() eq 'notify_stats';
my $helper = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'notify_stats catch-up worker' ORDER BY pid LIMIT 1};
my $node;

my $one_client = q{SELECT pid FROM pg_stat_activity WHERE application_name = 'load' ORDER BY pid LIMIT 1};
my %crash = (
	'kill -9 of the worker' => sub { crash_restart($node, worker_pid($node)) },
	'kill -9 of a client' => sub { crash_restart($node, sql($node, $one_client)) },
	'kill -9 of a builder' => sub { crash_restart($node, builder_pid($node)) },
	'kill -9 of a helper' => sub { crash_restart($node, sql($node, $helper)) },
	'immediate shutdown' => sub {
		$node->stop('immediate');
		$node->start;
	},
	'kill -9 of the postmaster' => sub {
		kill_server($node);
		start_again($node);
	});

# Only where a backlog is read there are helpers; a builder would wait there.
sub ways_at
{
	my ($point) = @_;
	my $absent = $point =~ /^window/ ? 'builder' : 'helper';

	return grep { !/$absent/ } sort keys %crash;
}

# All pairs of a point and a way, so that each point has had both kinds of commit after the
# first two; and then some more.
sub choose_rounds
{
	my ($number) = @_;
	my (%ways, %kinds, @rounds);

	foreach my $point (@points)
	{
		$ways{$point} = [ shuffle(ways_at($point)) ];
		$kinds{$point} = [ shuffle('on', 'off') ];
	}
	for my $i (0 .. ways_at($points[0]) - 1)
	{
		push @rounds, map { [ $_, $ways{$_}[$i], $kinds{$_}[$i] // one_of('on', 'off') ] } shuffle(@points);
	}
	while (@rounds < $number)
	{
		my $point = one_of(@points);

		push @rounds, [ $point, one_of(ways_at($point)), one_of('on', 'off') ];
	}
	return @rounds[0 .. $number - 1];
}

# --- a round --------------------------------------------------------------------------

# Has a builder start: the first build of a rollup, whose name is returned, or another one.
sub want_build
{
	my ($name, $point) = @_;

	if ($point eq 'build-moved')
	{
		# its builder stops only if there is more than the join reads
		sql($node, 'ALTER TABLE resumed ADD CONSTRAINT obstacle CHECK (n < 0) NOT VALID');
		wait_for_state($node, 'resumed', 'failed');
		wait_for_changes(2 * 1024 * 1024);
		sql($node, q{ALTER TABLE resumed DROP CONSTRAINT obstacle; SELECT notify_stats.rebuild('resumed')});
		return;
	}
	if (rand() < 0.5)
	{
		sql($node, q{SELECT notify_stats.rebuild('ft_service_stats')});
		return;
	}
	sql($node, qq{SELECT notify_stats.create_rollup('$name',
		'SELECT key_type, notification_status, count(*) AS n FROM notifications GROUP BY 1, 2')});
	return $name;
}

# Waits until the clients have written some more.
sub wait_for_changes
{
	my ($bytes) = @_;
	my $lsn = sql($node, 'SELECT pg_current_wal_insert_lsn()');
	poll($node, "SELECT pg_current_wal_insert_lsn() - '$lsn' > " . ($bytes // 50000));
	return;
}

# Has several processes read a backlog, until one has stopped at a point.  The backlog can only be
# divided where no client was in a transaction, which is so at some of the checkpoints.
sub stop_in_backlog
{
	my ($point) = @_;

	for (1 .. 10)
	{
		my $offset = log_position($node);

		pause_worker($node);
		for (1 .. 20)
		{
			wait_for_changes(20000);
			sql($node, 'CHECKPOINT');
		}
		set_stop($node, $point);
		resume_stream($node);
		for (1 .. 100)
		{
			return pass("stopped at $point, with a helper")
			  if slurp_file($node->logfile, $offset) =~ /stopped at "$point"/ && sql($node, $helper) ne '';
			select undef, undef, undef, 0.02;
		}
		continue_from_stop($node);
	}
	die "the backlog was not divided";
}

# Stops a process at a point, under load, and has something die.  Returns the rollup that was
# being made, if any.
sub crash_at
{
	my ($point, $way, $name) = @_;
	my $offset = log_position($node);
	my ($made, $verify);

	if ($point =~ /^window/)
	{
		stop_in_backlog($point);
	}
	else
	{
		set_stop($node, $point);
		$made = want_build($name, $point) if $point =~ /^build/;
		wait_for_stop($node, $point, $offset);
	}
	wait_for_changes();
	# where only the worker has stopped, the builder is that of a verification
	$verify = start_psql($node, q{SELECT * FROM notify_stats.verify('ft_service_stats')})
	  if $way =~ /builder/ && !($point =~ /^build/);
	unset_stop($node);
	# then the state of the slot on disk is as new as possible
	sql($node, 'CHECKPOINT') if rand() < 0.5;
	$crash{$way}->();
	# the heirs of a crashed process have inherited the setting
	$node->reload;
	$verify->finish if defined $verify;
	return $made;
}

sub run_round
{
	my ($n, $point, $way, $kind) = @_;
	my $title = "round $n, $way, $point, synchronous_commit = $kind";
	my ($load, $made);

	sql($node, "ALTER DATABASE postgres SET synchronous_commit = $kind");
	$load = start_load($node);
	is_verified($node, 'ft_service_stats', "round $n: verify() under load finds nothing") if $n % 5 == 0;
	$made = crash_at($point, $way, "made_$n");
	slot_is_behind($node, "$title: the slot is not ahead");
	is($load->end, '', "$title: no client has met an error before");
	is_exact($node, "$title: exact");
	no_build_slots($node, "$title: no slot of a build is left");
	sql($node, "SELECT notify_stats.drop_rollup('$made')") if defined $made;
	return;
}

# --------------------------------------------------------------------------------------

my $seed = $ENV{NS_SEED} // 1;
my $number = $ENV{NS_ROUNDS} // (format_name() eq 'notify_stats' ? 55 : 16);
my $n = 0;
my $start;

srand($seed);
note("NS_SEED=$seed");
$node = new_node('matrix', conf => q{
notify_stats.parallel_backlog = '64kB'
notify_stats.max_catch_up_workers = 3
notify_stats.resumable_wal_window = 64MB
});
load_notify($node, 2000);
sql($node, q{SELECT notify_stats.create_rollup('units', $$
	SELECT service_id, count(*) AS n, sum(billable_units) AS units, count(billable_units) AS counted,
		count(*) FILTER (WHERE notification_status = 'delivered') AS delivered
	FROM notifications WHERE key_type <> 'test' GROUP BY service_id $$)});
sql($node, q{SELECT notify_stats.create_rollup('resumed', $$
	SELECT notification_status, count(*) AS n FROM notifications GROUP BY notification_status $$)});
is_exact($node, 'exact before any crash');
$start = sql($node, q{SELECT now() AT TIME ZONE 'UTC'});

run_round(++$n, @$_) foreach choose_rounds($number);
is_verified($node, $_, "verify() of $_ finds nothing") foreach ('ft_service_stats', 'units');

# A crash was never mistaken for a loss of changes, which would have hidden a miscount.
unlike(slurp_file($node->logfile), qr{changes were lost|rollup (?!public\.resumed )\S+ (?:is stale|has failed)}, 'no other rollup was given up');
unlike(slurp_file($node->logfile), qr/building rollup public\.resumed/, 'and that one was always resumed')
  if slurp_file($node->logfile) =~ /resuming rollup|has been resumed/;
is(sql($node, "SELECT count(*) > $number FROM notifications WHERE created_at > '$start'"), 't',
	'there was something to count');

done_testing();
