# 068_followers.pl
#
# Many sessions follow rollups, with few replication slots.  They keep no more than half of them, all
# get their changes, and a new slot can be created at any time.  What has not changed is told without
# a slot.  A slot that somebody else has made with the name of a session's slot is left alone.
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

my $slots = 8;
my $sessions = 20;
my $node = new_node('followers', conf => <<"CONF");
autovacuum = off
max_connections = 60
max_replication_slots = $slots
notify_stats.resumable_wal_window = '64MB'
CONF
my $wait = "$PostgreSQL::Test::Utils::timeout_default s";
my $is_native = format_name() eq 'notify_stats';
my $plugin = $is_native ? 'test_decoding' : 'pgoutput';

sub position
{
	wait_until_applied($node);
	return sql($node, 'SELECT notify_stats.applied_lsn()');
}

sub count_slots
{
	my ($condition) = @_;

	return sql($node, "SELECT count(*) FROM pg_replication_slots WHERE $condition");
}

# Makes slots of others until this number is free.
sub leave_free
{
	my ($free) = @_;

	sql($node, "SELECT pg_create_physical_replication_slot('other_' || g)
		FROM generate_series(1, $slots - $free - (SELECT count(*) FROM pg_replication_slots)) g");
	return;
}

sub drop_others
{
	sql($node, q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'other%'});
	return;
}

# Changes the first group of "kinds", and returns how many rows it then has.
my $n = 0;

sub change
{
	sql($node, q{INSERT INTO event VALUES (1)});
	return ++$n;
}

sql($node, q{
	CREATE TABLE event (kind int);
	CREATE TABLE quiet (a int);
	ALTER TABLE event REPLICA IDENTITY FULL;
	ALTER TABLE quiet REPLICA IDENTITY FULL;
});
create_rollup($node, 'kinds', 'SELECT kind, count(*) AS n FROM event GROUP BY kind');
create_rollup($node, 'quiets', 'SELECT a, count(*) AS n FROM quiet GROUP BY a');
wait_until_applied($node);
poll($node, q{SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%\_window'}, '1');

# --- many sessions ------------------------------------------------------------------------

# One after the other: each keeps its slot only if there are not too many.
my $since = position();
my @followers = map { $node->background_psql('postgres') } 1 .. $sessions;
foreach my $round (1 .. 2)
{
	my @answers;

	change();
	wait_until_applied($node);
	foreach my $follower (@followers)
	{
		push @answers, $follower->query_safe("SELECT measures FROM notify_stats.changes('kinds', '$since')");
	}
	is_deeply([ sort @answers ], [ (qq({"n": $n})) x $sessions ], "round $round: all sessions get the change");
	is(count_slots(q{slot_name ~ '_follow_'}), $is_native ? $slots / 2 - 1 : 0, "round $round: few of them keep a slot");
}

# ... and goes on with it.
my $kept = sql($node, q{SELECT string_agg(slot_name || restart_lsn, ' ' ORDER BY 1) FROM pg_replication_slots WHERE slot_name ~ '_follow_'});
change();
$since = position();
$_->query_safe("SELECT FROM notify_stats.changes('kinds', '$since')") foreach @followers;
is(sql($node, q{SELECT string_agg(slot_name || restart_lsn, ' ' ORDER BY 1) FROM pg_replication_slots WHERE slot_name ~ '_follow_'}),
	$kept, 'what is known already is told without the slots');

# All at once, woken by one change, while others have left but two slots.
leave_free(2);
my @waiting = map { start_psql($node, "SELECT measures FROM notify_stats.changes('kinds', '$since', '$wait')") } 1 .. $sessions;
poll($node, qq{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%''$wait''%' AND wait_event_type = 'Extension'}, $sessions);
change();
is_deeply([ map { $_->finish } @waiting ], [ (qq({"n": $n})) x $sessions ], 'all sessions that wait get the change, by one slot in turn');
drop_others();
sql($node, q{SELECT pg_create_logical_replication_slot('other_1', 'pgoutput')});
pass('a subscription could be created meanwhile');
drop_others();
$_->quit foreach @followers;
poll($node, q{SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '_follow_'}, '0');

# --- what has not changed -----------------------------------------------------------------

$since = position();
leave_free(1);
change();
my $later = position();
like(sql_error($node, "SELECT * FROM notify_stats.changes('kinds', '$since')"), qr/53400.*free replication slots/s, 'the last free slot is not taken');
is(sql($node, "SELECT lsn >= '$later', group_key FROM notify_stats.changes('quiets', '$since')"), 't|', 'a rollup that has not changed needs no slot');
is(sql($node, "SELECT count(*) FROM notify_stats.rollup_as_of(NULL::quiets, '$since')"), '0', 'nor as of an earlier position');
my $waiting = start_psql($node, "SELECT lsn > '$later', group_key FROM notify_stats.changes('quiets', '$since', '10 s')");
poll($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%''10 s''%' AND wait_event_type = 'Extension'}, '1');
change();
position();
is($waiting->finish, 't|', 'nor to wait while others change');
drop_others();
sql($node, 'INSERT INTO quiet VALUES (5)');
wait_until_applied($node);
is(sql($node, "SELECT group_key FROM notify_stats.changes('quiets', '$since')"), '{"a": 5}', 'a change is told afterwards');
$node->restart;
wait_for_worker($node);
is(sql($node, "SELECT group_key FROM notify_stats.changes('quiets', '$since')"), '{"a": 5}', 'and after a restart');
is(sql($node, "SELECT group_key FROM notify_stats.changes('quiets', '$later')"), '{"a": 5}', 'again');

# What a waiting reader must hear of, though no change of its rollup is applied.
$since = position();
$waiting = start_psql($node, "SELECT * FROM notify_stats.changes('quiets', '$since', '$wait')");
poll($node, qq{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%''$wait''%' AND wait_event_type = 'Extension'}, '1');
sql($node, q{SELECT notify_stats.drop_rollup('quiets')});
like($waiting->finish, qr/is not a rollup|does not exist/, 'a session that waits learns that the rollup is gone');

# --- names of slots -----------------------------------------------------------------------

my $follower = $node->background_psql('postgres', on_error_stop => 0);
my $name = $follower->query_safe(q{SELECT format('notify_stats_%s_follow_%s', oid, pg_backend_pid()) FROM pg_database WHERE datname = current_database()});
my $ask = sub { return $follower->query("SELECT measures FROM notify_stats.changes('kinds', '$since')") };
change();
wait_until_applied($node);
is($ask->(), qq({"n": $n}), 'a session that follows');
is(count_slots("slot_name = '$name'"), $is_native ? 1 : 0, 'and keeps its slot, if the format allows it');
$follower->query_safe("SELECT pg_drop_replication_slot('$name')") if $is_native;
sql($node, "SELECT pg_create_logical_replication_slot('$name', '$plugin')");
foreach my $try (1 .. 2)
{
	change();
	wait_until_applied($node);
	is($ask->(), '', "a slot of somebody else has the name, attempt $try");
	like($follower->{stderr}, qr/replication slot "$name" already exists/, 'the error says so');
	$follower->{stderr} = '';
}
is(count_slots("slot_name = '$name' AND NOT temporary AND plugin = '$plugin'"), '1', 'that slot is left alone');
drop_slot($node, $name);
is($ask->(), qq({"n": $n}), 'when it is gone, the session follows again');
$follower->query_safe("SELECT pg_drop_replication_slot('$name')") if $is_native;
sql($node, "SELECT pg_create_physical_replication_slot('$name')");
change();
wait_until_applied($node);
is($ask->(), '', 'a physical slot of that name');
is(count_slots("slot_name = '$name' AND slot_type = 'physical'"), '1', 'is left alone');
$follower->{stderr} = '';
drop_slot($node, $name);
is($ask->(), qq({"n": $n}), 'when it is gone, the session follows again');
$follower->quit;

done_testing();
