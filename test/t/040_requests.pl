# 040_requests.pl
#
# Obstacles for the worker from sessions and code of users: requests for a rebuild in
# transactions that stay open, and advisory locks.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('requests');
my ($offset, $before);

sub requests
{
	return sql($node, 'SELECT count(*) FROM notify_stats.rebuild_request');
}

# A build that serves a request, stopped before it ends.
sub stop_build
{
	set_stop($node, 'build-filled');
	$offset = log_position($node);
	sql($node, q{SELECT notify_stats.rebuild('kinds')});
	wait_for_stop($node, 'build-filled', $offset);
	return;
}

sql($node, q{
	CREATE TABLE source (kind text);
	ALTER TABLE source REPLICA IDENTITY FULL;
	CREATE FUNCTION shown(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'old ' || $1 $$;
	INSERT INTO source VALUES ('a'), ('a'), ('b');
	SELECT notify_stats.create_rollup('kinds', 'SELECT public.shown(kind) AS kind, count(*) AS n FROM source GROUP BY 1');
});
wait_until_applied($node);

# Another session requests it again, in a transaction that stays open: it has deleted the request
# that the build serves, and the build ends nevertheless.
stop_build();
$before = built_at($node, 'kinds');
sql($node, q{BEGIN; SELECT notify_stats.rebuild('kinds'); PREPARE TRANSACTION 'hold'});
continue_from_stop($node);
poll($node, "SELECT built_at > '$before' FROM notify_stats.rollups");
sql($node, q{INSERT INTO source VALUES ('c')});
poll($node, q{SELECT n = 1 FROM kinds WHERE kind = 'old c'});
pass('a build does not wait for a transaction that has asked for another');

# If that is rolled back, the served request is served again; then the build waits for no other
# session.
sql($node, q{ROLLBACK PREPARED 'hold'});
wait_until_rebuilt($node, 'kinds');
is_exact($node, 'a request that is rolled back does no harm');

# A request that is committed while a build runs is not lost: the changes committed with it, which
# are not noticed otherwise, are in the rollup.
stop_build();
sql($node, q{
	BEGIN;
	SELECT notify_stats.rebuild('kinds');
	CREATE OR REPLACE FUNCTION shown(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'new ' || $1 $$;
	COMMIT});
is(requests(), 1, 'there is one request');
continue_from_stop($node);
wait_until_rebuilt($node, 'kinds');
is_exact($node, 'a request during a build leads to another build');
is(sql($node, 'SELECT kind FROM kinds ORDER BY 1'), "new a\nnew b\nnew c", 'which includes the changes committed with it');

# The worker keeps no advisory lock that a definition takes.
sql($node, q{
	CREATE FUNCTION locked(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
		BEGIN PERFORM pg_advisory_lock(1); RETURN $1; END $$;
	SELECT notify_stats.create_rollup('lockers', 'SELECT public.locked(kind) AS kind, count(*) AS n FROM source GROUP BY 1');
});
wait_until_applied($node);
wait_for_builder_gone($node);
sql($node, q{INSERT INTO source VALUES ('d')});
wait_until_applied($node);
like(sql_error($node, q{SET lock_timeout = '10 s'; SELECT pg_advisory_lock(1)}), qr/^no error: /,
	'the lock is free after the cycle');
# the session above may be about to end
poll($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}, '0');
pass('no session has it');
is(sql($node, q{SELECT n FROM lockers WHERE kind = 'd'}), 1, 'and the row is counted');
$node->stop;

done_testing();
