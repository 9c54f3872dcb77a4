# 014_router.pl
#
# Reading one's own writes from a primary and a standby.  The application keeps a token: the WAL
# position after its last commit.  A router asks, in one statement and therefore in one snapshot,
# whether a server's rollup has reached it, and for the rows: first the standby, then the primary,
# and if neither has, it waits on the primary.  Every answer must include the application's own
# writes.
#
# The position alone is not sufficient for a rollup that is being rebuilt or has failed, so the
# router checks its state as well.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_node('primary', conf => "autovacuum = off\n");
my $standby = PostgreSQL::Test::Cluster->new('standby');
my ($token, $where, $n, $session, $offset);
my %written;    # rows by kind

# --- the application --------------------------------------------------------------------

# Commits a row, in a session of its own, and returns the token.
sub write_row
{
	my ($kind) = @_;
	$written{$kind}++;
	return sql($primary, "INSERT INTO source (kind) VALUES ('$kind'); SELECT pg_current_wal_insert_lsn()");
}

# --- the router -------------------------------------------------------------------------

# Rows of one kind, if the server has come as far as the token; else undef.
sub ask
{
	my ($server, $token, $kind) = @_;
	my $fresh = defined $token ? "notify_stats.applied_lsn() >= '$token'" : 'true';
	my ($is_fresh, $rows) = split /\|/, sql($server, qq{
		SET ROLE app;
		SELECT $fresh AND EXISTS (SELECT FROM notify_stats.rollup
				WHERE rollup = 'kinds'::regclass AND state = 'live'),
			coalesce((SELECT n FROM kinds WHERE kind = '$kind'), 0)});
	return $is_fresh eq 't' ? $rows : undef;
}

# Where the answer is from, and the rows.
sub route
{
	my ($token, $kind, %param) = @_;
	my $timeout = $param{timeout} // "$PostgreSQL::Test::Utils::timeout_default s";
	my $rows;

	foreach my $server (@{ $param{servers} // [ [ standby => $standby ], [ primary => $primary ] ] })
	{
		$rows = ask($server->[1], $token, $kind);
		return ($server->[0], $rows) if defined $rows;
	}
	my $last = $param{servers} ? $param{servers}->[-1]->[1] : $primary;
	my ($status, $stdout, $stderr) = $last->psql('postgres', qq{
		SET ROLE app;
		SELECT notify_stats.wait_for_lsn('$token', '$timeout', 'kinds', no_throw => true);
		SELECT coalesce((SELECT n FROM kinds WHERE kind = '$kind'), 0)});
	return ('error', $stderr) if $status != 0;
	($status, $rows) = split /\n/, $stdout;
	return $status eq 't' ? ('waited', $rows) : ('nowhere', undef);
}

sub is_routed
{
	my ($token, $kind, $expected, $title, %param) = @_;
	my ($where, $rows) = route($token, $kind, %param);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is("$where: $rows", "$expected: " . ($written{$kind} // 0), $title);
}

# --- helpers ----------------------------------------------------------------------------

# Waits until a server's position has passed the token.
sub standby_has
{
	my ($token) = @_;
	has($standby, $token);
	return;
}

sub primary_has
{
	my ($token) = @_;
	has($primary, $token);
	return;
}

sub has
{
	my ($server, $token) = @_;
	sql($primary, 'INSERT INTO elsewhere VALUES (0)');
	poll($server, "SELECT notify_stats.applied_lsn() >= '$token'");
	return;
}

sub stop_replay
{
	sql($standby, 'SELECT pg_wal_replay_pause()');
	poll($standby, "SELECT pg_get_wal_replay_pause_state() = 'paused'");
	return;
}

sub start_replay
{
	sql($standby, 'SELECT pg_wal_replay_resume()');
	return;
}

# Calls resume() when a session waits.
sub resume_when_waited_for
{
	my ($server) = @_;
	return start_psql($server, q{
		DO $$ BEGIN
			WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid()
				AND wait_event_type = 'Extension' AND query LIKE '%wait_for_lsn%') LOOP
				PERFORM pg_sleep(0.01);
				PERFORM pg_stat_clear_snapshot();
			END LOOP;
			PERFORM notify_stats.resume();
		END $$});
}

sub lsn_number
{
	my ($high, $low) = split '/', shift;
	return hex($high) * 2**32 + hex($low);
}

# --- two servers ------------------------------------------------------------------------

sql($primary, q{
	CREATE ROLE app;
	CREATE TABLE source (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text);
	ALTER TABLE source REPLICA IDENTITY FULL;
	CREATE TABLE elsewhere (i int);
	SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');
	GRANT SELECT ON kinds TO app;
});
wait_until_applied($primary);
$primary->backup('backup');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
# a rollup's rows change often, and readers are not to be ended for it
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\nwal_receiver_status_interval = 1s\n");
$standby->start;

# --- the three answers ------------------------------------------------------------------

# Tokens that are taken a moment later, when the worker has written its own commit; in the same
# session, as it writes one more position a little later, which is the last.
my $passed = 't';

sql($primary, q{CREATE FUNCTION token_after(wanted bigint) RETURNS pg_lsn LANGUAGE plpgsql AS $$
	BEGIN
		WHILE NOT EXISTS (SELECT FROM kinds WHERE kind = 'a' AND n = wanted) LOOP
			PERFORM pg_sleep(0.001);
		END LOOP;
		RETURN pg_current_wal_insert_lsn();
	END $$});

for (1 .. 3)
{
	my $end = time + 10;    # it would be there in a second, or with the server's own records in 15

	$written{a}++;
	$token = sql($primary, "INSERT INTO source (kind) VALUES ('a'); SELECT token_after($written{a})");
	do
	{
		$passed = sql($standby, "SELECT notify_stats.applied_lsn() >= '$token'");
	} while ($passed ne 't' && time < $end);
	last if $passed ne 't';
}
is($passed, 't', 'with no other traffic the position passes a token');
$token = write_row('a');
standby_has($token);
is_routed($token, 'a', 'standby', 'a fresh standby answers');
is_routed(undef, 'a', 'standby', 'without a token the standby answers');
is_routed($token, 'none', 'standby', 'no rows are an answer, too');

# Each write at once asked for, wherever the answer comes from.
my %answers;
for my $i (1 .. 10)
{
	$token = write_row('b');
	($where, $n) = route($token, 'b');
	$answers{$where}++;
	is($n, $written{b}, "write $i is read, from: $where") if $n != $written{b} || $i == 10;
}
note(join ', ', map { "$_: $answers{$_}" } sort keys %answers);

standby_has($token);
stop_replay();
$token = write_row('a');
primary_has($token);
is_routed($token, 'a', 'primary', 'the standby is behind: the primary answers');
is(ask($standby, $token, 'a'), undef, 'the standby is behind');
is(ask($standby, undef, 'a'), $written{a} - 1, 'and it is');

pause_worker($primary);
$token = write_row('a');
($where, $n) = route($token, 'a', timeout => '100 ms');
is($where, 'nowhere', 'neither has it, and there is no time: no answer rather than old rows');
$session = resume_when_waited_for($primary);
is_routed($token, 'a', 'waited', 'neither has it: the wait ends after resume()');
is($session->finish, '', 'resumed while it waited');

pause_worker($primary);
$token = write_row('a');
start_replay();
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
is(ask($standby, $token, 'a'), undef, 'a standby with all WAL but an old rollup is behind');
$session = resume_when_waited_for($primary);
is_routed($token, 'a', 'waited', 'so the primary is waited for');
$session->finish;

# A worker that has applied, but not committed.
$offset = log_position($primary);
set_stop($primary, 'after-apply');
$token = write_row('a');
wait_for_stop($primary, 'after-apply', $offset);
($where, $n) = route($token, 'a', timeout => '100 ms');
is($where, 'nowhere', 'applied but uncommitted changes are not visible');
continue_from_stop($primary);
($where, $n) = route($token, 'a');
is($n, $written{a}, "and then there ($where)");

# --- tokens of all kinds ----------------------------------------------------------------

# Only irrelevant changes: the position advances all the same.
standby_has($token);
$token = sql($primary, 'INSERT INTO elsewhere VALUES (1); SELECT pg_current_wal_insert_lsn()');
poll($standby, "SELECT notify_stats.applied_lsn() >= '$token'");
is_routed($token, 'a', 'standby', 'the position passes a transaction that no rollup reads');
$token = sql($primary, 'SELECT pg_current_wal_insert_lsn()');
($where, $n) = route($token, 'a');
is($n, $written{a}, "a token without a write ($where)");

# Asynchronous: the token may not be on disk yet.
$written{c} = 1;
$token = sql($primary, q{
	SET synchronous_commit = off; INSERT INTO source (kind) VALUES ('c'); SELECT pg_current_wal_insert_lsn()});
($where, $n) = route($token, 'c');
is($n, 1, "the token of an asynchronous commit ($where)");

# At the start of a segment the token is after the page's header, where no record ends.
write_row('a');
sql($primary, 'SELECT pg_switch_wal()');
$token = sql($primary, 'SELECT pg_current_wal_insert_lsn()');
SKIP:
{
	skip 'somebody has written after the switch', 1 if lsn_number($token) % 2**20 != 40;
	($where, $n) = route($token, 'a');
	is($n, $written{a}, "a token at the start of a segment ($where)");
}

# Of the future, as of another server: never an answer.
($where, $n) = route('FFFFFFF/0', 'a', timeout => '100 ms');
is($where, 'nowhere', 'a token that the WAL has not reached');

# --- one snapshot -----------------------------------------------------------------------

# In one transaction, rows and position stay those of one another.
my $pair = q{SELECT notify_stats.applied_lsn(), (SELECT sum(n) FROM kinds)};
my $reader = $standby->background_psql('postgres');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $first = $reader->query_safe($pair);
$token = write_row('a');
standby_has($token);
isnt(sql($standby, $pair), $first, 'the standby has gone on');
is($reader->query_safe($pair), $first, 'but not within one snapshot');
$reader->query_safe('COMMIT');
isnt($reader->query_safe($pair), $first, 'until the end of the transaction');
$reader->quit;

# While one session writes, and remembers the token of each commit, the standby is looked at
# all the time.  With a position that is at or after the token of commit i, the rows hold
# commit i; and if they hold commit i + 1, the position is after the token of commit i.
sql($primary, q{
	CREATE PROCEDURE write_rows(kind text, rounds int) LANGUAGE plpgsql AS $$
	DECLARE
		tokens pg_lsn[];
	BEGIN
		FOR i IN 1 .. rounds LOOP
			INSERT INTO source (kind) VALUES (write_rows.kind);
			COMMIT;
			tokens := tokens || pg_current_wal_insert_lsn();
			PERFORM pg_sleep(0.002);
		END LOOP;
		RAISE NOTICE 'tokens: %', tokens;
	END $$});
poll($standby, "SELECT count(*) = 1 FROM pg_proc WHERE proname = 'write_rows'");
my $rounds = 500;
my $looker = start_psql($standby, qq{
	DO \$\$
	DECLARE
		pair text;
		pairs text[];
		n bigint := 0;
		start timestamptz := clock_timestamp();
	BEGIN
		WHILE n < $rounds AND clock_timestamp() < start + interval '60 s' LOOP
			SELECT k.n, notify_stats.applied_lsn() || '=' || k.n INTO n, pair
				FROM (SELECT coalesce(max(kinds.n), 0) AS n FROM kinds WHERE kind = 'looked at') k;
			IF pairs IS NULL OR pair <> pairs[cardinality(pairs)] THEN
				pairs := pairs || pair;
			END IF;
			PERFORM pg_sleep(0.001);
		END LOOP;
		RAISE NOTICE 'pairs: %', pairs;
	END \$\$});
my ($tokens) = start_psql($primary, "CALL write_rows('looked at', $rounds)")->finish =~ /tokens: \{(.*)\}/;
my ($pairs) = $looker->finish =~ /pairs: \{(.*)\}/;
my @tokens = map { lsn_number($_) } split /,/, $tokens;
my @wrong;
foreach my $looked (split /,/, $pairs)
{
	my ($lsn, $rows) = split /=/, $looked;
	my $passed = grep { $_ <= lsn_number($lsn) } @tokens;
	push @wrong, "$looked, but $passed tokens passed" if $rows < $passed || $rows > $passed + 1;
}
is(join("\n", @wrong), '', 'at each look position and rows are those of one another');
my $looks = () = $pairs =~ /,/g;
cmp_ok($looks, '>', 5, "the standby has moved between looks ($looks times)");
like($pairs, qr/=$rounds$/, 'to the end');
$written{'looked at'} = $rounds;

# --- rollups that are not live ----------------------------------------------------------

# The rows of a failed rollup do not change, though the position advances.
sql($primary, q{ALTER TABLE kinds ADD CONSTRAINT few CHECK (n <= 1 OR kind <> 'failing') NOT VALID});
write_row('failing');
$token = write_row('failing');
poll($primary, "SELECT state = 'failed' FROM notify_stats.rollups");
standby_has($token);
poll($standby, "SELECT state = 'failed' FROM notify_stats.rollup");
is(sql($standby, "SET ROLE app; SELECT coalesce(notify_stats.applied_lsn('kinds') >= '$token', false)
		AND (SELECT coalesce(max(n), 0) <> 2 FROM kinds WHERE kind = 'failing')"), 'f',
	'the position does not claim that missing rows are there');
is(ask($standby, $token, 'failing'), undef, 'a rollup that has failed is no answer');
($where, $n) = route($token, 'failing');
is($where, 'error', 'and not waited for');
like($n, qr/rollup public\.kinds has failed/, 'the error reports it');
sql($primary, 'ALTER TABLE kinds DROP CONSTRAINT few');
sql($primary, q{SELECT notify_stats.rebuild('kinds')});
($where, $n) = route($token, 'failing');
is($n, 2, "when it is rebuilt, the answer is there ($where)");

# --- promotion --------------------------------------------------------------------------

# The new primary must rebuild, as there is no slot.  Stopped during that, it has a
# position, of the new slot, that is past the token.
pause_worker($primary);
$token = write_row('promoted');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
$primary->stop;
set_stop_in_file($standby, 'build-copied');
$offset = log_position($standby);
$standby->promote;
my @alone = (servers => [ [ primary => $standby ] ]);
wait_for_worker($standby);
is(ask($standby, $token, 'promoted'), undef, 'promoted: changes that the old primary had not applied are missing');
($where, $n) = route($token, 'promoted', @alone, timeout => '100 ms');
is($where, 'nowhere', 'and not waited for');
resume_stream($standby);
wait_for_stop($standby, 'build-copied', $offset);
is(sql($standby, "SET ROLE app; SELECT coalesce(notify_stats.applied_lsn('kinds') >= '$token', false)
		AND NOT EXISTS (SELECT FROM kinds WHERE kind = 'promoted')"), 'f',
	'during the rebuild the position does not claim that missing rows are there');
is(ask($standby, $token, 'promoted'), undef, 'while it is rebuilt there is no answer');
($where, $n) = route($token, 'promoted', @alone, timeout => '100 ms');
is($where, 'nowhere', 'nor does wait_for_lsn() say that there is');
$standby->append_conf('postgresql.conf', "notify_stats.debug_stop_at = ''");
$standby->reload;
($where, $n) = route($token, 'promoted', @alone);
is($n, 1, "when it is rebuilt, the answer is there ($where)");
is(ask($standby, $token, 'promoted'), 1, 'and stays');
$primary = $standby;
$token = write_row('promoted');
($where, $n) = route($token, 'promoted', @alone);
is($n, 2, "a token of the new primary ($where)");
is_exact($standby, 'exact');

# A standby is not to be written to, but has a file.
sub set_stop_in_file
{
	my ($server, $point) = @_;
	$server->append_conf('postgresql.conf', "notify_stats.debug_stop_at = '$point'");
	$server->reload;
	poll($server, "SELECT current_setting('notify_stats.debug_stop_at') = '$point'");
	return;
}

done_testing();
