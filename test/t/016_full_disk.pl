# 016_full_disk.pl
#
# A full disk, for each kind of server file that the extension needs: spilled transactions, the
# states of slots and snapshots, temporary files and tables, and the rollup itself.  Writers are
# not disturbed, the status shows the error, and the failed process tries again, with pauses.
# When there is space again everything continues automatically, and nothing was lost: no rollup
# was rebuilt, none has failed, and all are exact.
#
# The server has a preloaded library that makes these calls fail (full_disk.c), for one kind of
# file at a time.  So only these are short of space, as if they were on their own disk;
# the WAL is not, since the server itself does not survive that.
# takes long

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $flag = "$dir/full";
my $next = 100_000;    # the stock has notifications of lower numbers
my $node;

# --- the server, and its disk ---------------------------------------------------------

sub start_with_library
{
	my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
	my $library = "$dir/full_disk.so";

	chomp(my $cc = `"$pg_config" --cc`);
	system("$cc -shared -fPIC -O1 -o '$library' '$FindBin::Bin/full_disk.c' -ldl") == 0
	  or die 'could not compile full_disk.c';
	local $ENV{LD_PRELOAD} = join ' ', grep { defined } $ENV{LD_PRELOAD}, $library;
	local $ENV{NS_FULL_DISK} = $flag;
	$node->start;
	return;
}

# No more space for the files whose path contains a text; or they cannot be brought to disk.
sub fill_disk
{
	my ($part, $call) = @_;

	append_to_file("$flag.new", ($call // 'write') . " $part");
	rename "$flag.new", $flag or die "rename: $!";
	return;
}

sub free_disk
{
	unlink $flag or die "unlink: $!";
	return;
}

# --- during the shortage -----------------------------------------------------------

# One transaction that is too large to be decoded in memory.
sub large_change
{
	my ($from, $to) = ($next, $next + 2999);
	$next = $to + 1;
	sql($node, notify_insert($from, $to));
	return;
}

sub log_since
{
	my ($offset) = @_;
	return slurp_file($node->logfile, $offset);
}

# When errors of a kind were logged, in seconds.
sub error_times
{
	my ($offset, $error) = @_;
	my @times;

	foreach my $line (split /\n/, log_since($offset))
	{
		push @times, $1 * 3600 + $2 * 60 + $3
		  if $line =~ /ERROR:  $error.*: No space left on device/ && $line =~ /^\S+ (\d+):(\d+):([\d.]+) /;
	}
	return @times;
}

sub wait_for_errors
{
	my ($offset, $error, $number) = @_;

	for (my $i = 0; error_times($offset, $error) < $number; $i++)
	{
		die "no error like: $error" if $i > 10 * $PostgreSQL::Test::Utils::timeout_default;
		select undef, undef, undef, 0.1;    # of a polling loop
	}
	return;
}

# The one before the last error of a kind was not followed by the next for so many seconds.
sub has_waited
{
	my ($offset, $error, $seconds, $title) = @_;
	my @times = error_times($offset, $error);
	my $waited = $times[-1] - $times[-2];
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$waited += 24 * 3600 if $waited < 0;
	return cmp_ok($waited, '>=', $seconds - 0.1, $title);
}

# is_survived(TITLE, PART, ERROR, %param): while there is no space for files of that kind, a
# change is made, and the error must occur and be reported; then there is space.
#   call => 'fsync': the files can be written, but not flushed
#   change => SUB: another change than a large transaction
#   load => 0: no other writers
#   tries => N, wait => SECONDS: wait for the N-th try, which must not come earlier than that
#   meanwhile => SUB: must be possible before there is space
sub is_survived
{
	my ($title, $part, $error, %param) = @_;
	my $offset = log_position($node);
	my $since = sql($node, 'SELECT clock_timestamp()');
	my $load = $param{load} // 1 ? start_load($node) : undef;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	fill_disk($part, $param{call});
	($param{change} // \&large_change)->();
	wait_for_errors($offset, $error, $param{tries} // 1);
	has_waited($offset, $error, $param{wait}, "$title: tried again, but not at once") if $param{wait};
	poll($node, qq{SELECT last_error LIKE '%No space left on device%' AND last_error_at > '$since'
		FROM notify_stats.status WHERE stream = 'main'});
	$param{meanwhile}->() if $param{meanwhile};
	free_disk();
	is($load->end, '', "$title: no client meets an error") if $load;
	is_exact($node, "$title: exact when there is space");
	is(sql($node, q{SELECT DISTINCT state FROM notify_stats.rollups}), 'live', "$title: all are live");
	no_build_slots($node, "$title: no slot of a build is left");
	unlike(log_since($offset), qr/PANIC|terminated by signal|changes were lost|is stale|has failed/,
		"$title: the server has not crashed, and no rollup was given up");
	return;
}

sub create_by_reference
{
	sql($node, q{SELECT notify_stats.create_rollup('by_reference',
		'SELECT reference, created_at, count(*) AS n FROM notifications GROUP BY reference, created_at')});
	return;
}

sub drop_by_reference
{
	sql($node, q{SELECT notify_stats.drop_rollup('by_reference')});
	return;
}

# --------------------------------------------------------------------------------------

# Only our processes are limited to little memory, not the clients.
$node = new_node('full', start => 0, conf => "work_mem = 64kB\nmaintenance_work_mem = 1MB\nfsync = on\n");
start_with_library();
$ENV{PGOPTIONS} = '-c work_mem=16MB';
sql($node, 'CREATE EXTENSION notify_stats');
load_notify($node, 1000);
is_exact($node, 'exact while there is space');

my $oid = sql($node, 'SELECT oid FROM pg_database WHERE datname = current_database()');
my $slot = main_slot($node);
my $path = sql($node, q{SELECT pg_relation_filepath('ft_service_stats')});
my $state_error = "could not write to file \"pg_replslot/$slot/state.tmp\"";
my $version = sql($node, 'SHOW server_version_num');
my %mended = (15 => 15, 16 => 11, 17 => 7, 18 => 1);
my $writes_states = $version % 10000 >= ($mended{ int($version / 10000) } // 0);

# --- for all formats --------------------------------------------------------------

# The slot may stay where it is, if its state cannot be written.  But servers before November
# 2025 never write it again after that.
sub goes_on
{
	large_change();
	wait_until_applied($node);
	pass('the state of the slot: the rollups are still maintained');
	return;
}

sub crash_with_old_state
{
	my $offset = log_position($node);

	fill_disk("/$slot/state.tmp");
	large_change();
	wait_for_errors($offset, $state_error, 1);
	goes_on();
	# resets the slot to its last written state
	crash_restart($node, sql($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'}));
	is_exact($node, 'a crash while the state of the slot cannot be written: exact');
	free_disk();
	slot_is_behind($node, 'the slot is not ahead then');
	large_change();
	is_exact($node, 'and when there is space');
	unlike(log_since($offset), qr/changes were lost|is stale|has failed/, 'no rollup was given up then');
	return;
}

is_survived('spilling', '.spill', 'could not write to data file for XID', tries => 4, wait => 2);
is_survived('temporary files', '/pgsql_tmp/', 'could not write to file "base/pgsql_tmp');
if ($writes_states)
{
	is_survived('the state of the slot', "/$slot/state.tmp", $state_error, meanwhile => \&goes_on);
	crash_with_old_state();
}
is_verified($node, 'ft_service_stats', 'verify() finds nothing');

# The rest is the same for each, except for the time that it takes.
if (format_name() ne 'notify_stats')
{
	done_testing();
	exit 0;
}

# --- other files of the worker ------------------------------------------------------

is_survived('snapshots of decoding', '/pg_logical/snapshots/', 'could not write to file "pg_logical/snapshots');
is_survived('the rollup', "/$path", "could not extend file \"$path\"");

# --- files of a builder ------------------------------------------------------------

is_survived('temporary files of a build', '/pgsql_tmp/', 'could not write to file "base/pgsql_tmp',
	change => \&create_by_reference);
drop_by_reference();
is_survived('the temporary table of a build', "/base/$oid/t", "could not extend file \"base/$oid/t",
	change => \&create_by_reference, tries => 3, wait => 2, load => 0);    # which has temporary tables as well
fill_disk('/pgsql_tmp/');
like(sql_error($node, q{SELECT * FROM notify_stats.verify('by_reference')}),
	qr/ERROR:  53100: could not write to file "base\/pgsql_tmp.*: No space left on device/, 'verify() reports it');
free_disk();
is_verified($node, 'by_reference', 'verify() when there is space');

# --- files of catch_up() -----------------------------------------------------------

sql($node, 'SELECT notify_stats.pause()');
large_change();
fill_disk('.spill');
like(sql_error($node, 'CALL notify_stats.catch_up()'),
	qr/ERROR:  53100: could not write to data file for XID \d+: No space left on device/, 'catch_up() reports it');
free_disk();
sql($node, 'CALL notify_stats.catch_up()');
is(differences($node, 'postgres', 'ft_service_stats'), '', 'catch_up() when there is space: exact');
resume_stream($node);

# --- the states of slots --------------------------------------------------------------

SKIP:
{
	skip 'this server does not survive a slot whose state cannot be written', 1 if !$writes_states;

	is_survived('the state of the slot, brought to disk', "/$slot/state.tmp",
		"could not fsync file \"pg_replslot/$slot/state.tmp\"", call => 'fsync');
	is_survived('the slot of a build', "/${slot}_build_", "could not write to file \"pg_replslot/${slot}_build_\\d+",
		change => sub { sql($node, q{SELECT notify_stats.rebuild('by_reference')}) });
	is(sql($node, 'SELECT count(*) FROM notify_stats.rebuild_request'), '0', 'it was rebuilt');

	sql($node, q{SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups});
	poll($node, 'SELECT count(*) = 0 FROM pg_replication_slots');
	is_survived('a new slot', '/pg_replslot/', "could not write to file \"pg_replslot/$slot.tmp",
		change => \&create_by_reference);
}
is_verified($node, 'by_reference', 'verify() finds nothing');

done_testing();
