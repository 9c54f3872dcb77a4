# 020_database_ddl.pl
#
# Statements on whole databases, which the server refuses while a session is connected: DROP,
# RENAME, SET TABLESPACE, and copying one as a template.  The extension's processes disconnect for
# them, even in the middle of their work, and are restarted afterwards; but not for roles that may
# not run the statement.  If a database of the list does not exist, the log says so once, and its
# worker starts as soon as it exists.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('database', extension => 0, conf => qq{
notify_stats.database = 'postgres, app, "Odd ""name", later'
autovacuum = off
});
my ($pid, $built_at, $offset, $session);
my $in_use = qr/is being accessed by other users/;
my $next = 1_000_000;    # other rows have lower numbers

# The extension in a database, with a rollup that is live.
sub install
{
	my ($db) = @_;

	sql($node, 'CREATE EXTENSION notify_stats', $db);
	make_kinds($node, $db);
	wait_until_applied($node, $db);
	return;
}

# More than a worker reads in a moment.
sub change_for_long
{
	my ($db) = @_;
	$node->safe_psql($db, "INSERT INTO source SELECT i, 'kind ' || i % 100 FROM generate_series($next + 100, $next + 199999) i");
	$next += 200_000;
	return;
}

# A statement that should succeed, as some role.
sub runs
{
	my ($statement, $role) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(sql_error($node, defined $role ? "SET ROLE $role;\n$statement" : $statement), 'no error: ', $statement);
}

sub slots_of
{
	my ($db) = @_;
	return sql($node, "SELECT count(*) FROM pg_replication_slots WHERE database = '$db'");
}

sub is_slot_open
{
	my ($db) = @_;
	return poll($node, "SELECT active FROM pg_replication_slots WHERE database = '$db'");
}

# The worker has come back, and counts.
sub is_back
{
	my ($db, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_for_worker($node, $db);
	change_kinds($node, $db);
	return is_exact($node, $title, db => $db);
}

# --- DROP and CREATE ------------------------------------------------------------------

runs('CREATE DATABASE app');
wait_for_worker($node, 'app');
install('app');
change_kinds($node, 'app');
is_slot_open('app');
$offset = log_position($node);
runs('DROP DATABASE app');
is(slots_of('app'), '0', 'the slot goes with the database');
$node->wait_for_log(qr/disconnecting notify_stats from database "app"/, $offset);
$node->wait_for_log(qr/WARNING: .*database "app" does not exist\n.*DETAIL: .*Its worker will start as soon as it can connect\.\n.*HINT: .*remove it from "notify_stats.database" and reload/, $offset);

runs('CREATE DATABASE app');
wait_for_worker($node, 'app');
is(slots_of('app'), '0', 'a new database of that name has no slot');
install('app');
is_back('app', 'the worker serves a new database of that name');

# In the middle of a cycle that takes long.
change_for_long('app');
runs('DROP DATABASE app');
runs('CREATE DATABASE app');
wait_for_worker($node, 'app');
install('app');
is_back('app', 'after DROP DATABASE in the middle of a cycle');

# In the middle of a build.
foreach my $point ('build-copied', 'build-filled')
{
	$offset = log_position($node);
	set_stop($node, $point);
	$node->safe_psql('app', "SELECT notify_stats.rebuild('kinds')");
	wait_for_stop($node, $point, $offset);
	is(slots_of('app'), '2', "at $point the build has its own slot");
	runs('DROP DATABASE app');
	is(sql($node, "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%\\_build\\_%'"), '0',
		'no slot of the build is left');
	unset_stop($node);
	$node->reload;
	runs('CREATE DATABASE app');
	wait_for_worker($node, 'app');
	install('app');
}

# A name that must be quoted, and WITH (FORCE).
runs('CREATE DATABASE "Odd ""name"');
poll($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'notify_stats worker' AND datname = 'Odd "name'});
runs('DROP DATABASE "Odd ""name" WITH (FORCE)');

# A session that follows a rollup has a slot, because of which the server refuses before it terminates it.
set_and_reload($node, 'notify_stats.resumable_wal_window' => '16MB');
poll($node, q{SELECT count(*) FROM pg_replication_slots WHERE database = 'app' AND slot_name LIKE '%\_window'}, '1');
my $follower = $node->background_psql('app');
my $since = $follower->query_safe(q{SELECT max(lsn) FROM notify_stats.changes('kinds', NULL)});
change_kinds($node, 'app');
wait_until_applied($node, 'app');
isnt($follower->query_safe("SELECT count(*) FROM notify_stats.changes('kinds', '$since')"), '0', 'a session follows');
is(sql($node, q{SELECT active FROM pg_replication_slots WHERE slot_name ~ '_follow_'}), 't', 'with a slot');
like(sql_error($node, 'DROP DATABASE app'), qr/used by an active logical replication slot|$in_use/, 'DROP DATABASE is refused');
runs('DROP DATABASE app WITH (FORCE)');
is(slots_of('app'), '0', 'its slot goes with the database');
eval { $follower->quit };
set_and_reload($node, 'notify_stats.resumable_wal_window' => '0');
runs('CREATE DATABASE app');
wait_for_worker($node, 'app');
install('app');

# --- RENAME ---------------------------------------------------------------------------

change_kinds($node, 'app');
$built_at = built_at($node, 'kinds', 'app');
$offset = log_position($node);
runs('ALTER DATABASE app RENAME TO other');
$node->wait_for_log(qr/database "app" does not exist/, $offset);
change_kinds($node, 'other');
is(slots_of('other'), '1', 'the slot stays with the database');
runs('ALTER DATABASE other RENAME TO app');
is_back('app', 'after renaming it back');
is(built_at($node, 'kinds', 'app'), $built_at, 'nothing was rebuilt');

# As long as the transaction is open the worker stays away, and it comes back with either end.
sql($node, 'CREATE TABLE baton AS SELECT false AS go_on');
foreach my $end ('ROLLBACK', 'COMMIT')
{
	my $title = "BEGIN; ALTER DATABASE ... RENAME; $end";
	my $to = $end eq 'COMMIT' ? 'other' : 'app';

	change_kinds($node, 'app');
	$pid = worker_pid($node, 'app');
	$session = start_psql($node, 'BEGIN', 'ALTER DATABASE app RENAME TO other',
		'DO $$ BEGIN WHILE NOT (SELECT go_on FROM baton) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$', $end);
	poll($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'");
	# its process may end a little later than its connection
	wait_until_ended([$pid]);
	pass("$title: the worker is gone");
	# started again, it waits for the lock
	poll($node, q{SELECT count(*) > 0 FROM pg_locks
		WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND NOT granted});
	is(worker_pid($node, 'app'), '', "$title: and stays away");
	sql($node, 'UPDATE baton SET go_on = true');
	is($session->finish, '', $title);
	sql($node, 'UPDATE baton SET go_on = false');
	change_kinds($node, $to);
	runs("ALTER DATABASE other RENAME TO app") if $to eq 'other';
	is_back('app', "$title: the worker is back");
}

# --- SET TABLESPACE and TEMPLATE ------------------------------------------------------

sql($node, q{
	SET allow_in_place_tablespaces = on;
	CREATE TABLESPACE place LOCATION '';
});
# Earlier WAL cannot be decoded any more, so the rollups are rebuilt.
is(built_at($node, 'kinds', 'app'), $built_at, 'nothing was rebuilt');
change_kinds($node, 'app');
runs('ALTER DATABASE app SET TABLESPACE place');
is_back('app', 'after SET TABLESPACE');
isnt(built_at($node, 'kinds', 'app'), $built_at, 'for which the rollup is rebuilt');
$node->safe_psql('app', "SELECT notify_stats.pause()");
change_kinds($node, 'app');
runs('ALTER DATABASE app SET TABLESPACE pg_default');
resume_stream($node, 'app');
is_back('app', 'after SET TABLESPACE back, with much that was unread');

$built_at = built_at($node, 'kinds', 'app');
$pid = wait_for_worker($node, 'app');
runs('ALTER DATABASE app CONNECTION LIMIT 100');
runs('ALTER DATABASE app SET TABLESPACE pg_default');
is(worker_pid($node, 'app'), $pid, 'the worker stays for changes that are possible with other connections');

change_for_long('app');
runs('CREATE DATABASE copy TEMPLATE app STRATEGY wal_log');
is_back('app', 'after having been a template');
like(sql($node, 'SELECT state, reason FROM notify_stats.rollups', 'copy'),
	qr/^stale\|there is no replication slot notify_stats_\d+ of this database$/, 'the rollups of a copy are not live');
like(complaints($node, 'rollup', 'detail, hint', 'copy'),
	qr/^public\.kinds is stale: .*CALL notify_stats\.catch_up\(\)/, 'and check() has a hint');
sql($node, 'CALL notify_stats.catch_up()', 'copy');
is(sql($node, 'SELECT state, reason FROM notify_stats.rollups', 'copy'), 'live|', 'which makes them live');
is(differences($node, 'copy', 'kinds'), '', 'and exact');
change_kinds($node, 'app');
runs('CREATE DATABASE copy2 TEMPLATE app STRATEGY file_copy');
is_back('app', 'after having been a template, copied as files');
is(built_at($node, 'kinds', 'app'), $built_at, 'nothing was rebuilt');
runs('DROP DATABASE copy2');

# The current database may be a template, too; and a DEFAULT is not one of ours.
install('postgres');
change_kinds($node, 'postgres');
disconnect($node);
runs('CREATE DATABASE copy2 TEMPLATE postgres');
is_back('postgres', 'after the current database has been a template');
$pid = worker_pid($node);
runs('CREATE DATABASE copy3 TEMPLATE DEFAULT');
is(worker_pid($node), $pid, 'no worker disconnects for a copy of template1');
runs("DROP DATABASE $_") foreach ('copy', 'copy2', 'copy3');
is(slots_of('app'), '1', 'dropping copies leaves the slot of the original');

# --- privileges ------------------------------------------------------------------------

sql($node, q{
	CREATE ROLE stranger;
	CREATE ROLE maker CREATEDB;
	CREATE ROLE owner;
	CREATE ROLE owner_and_maker CREATEDB;
	ALTER DATABASE app OWNER TO owner;
});
$pid = wait_for_worker($node, 'app');
$offset = log_position($node);

sub is_refused
{
	my ($role, $statement, $pattern) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	like(sql_error($node, "SET ROLE $role;\n$statement"), qr/ERROR:  42501: $pattern/, "$role: $statement");
	return;
}
foreach my $role ('stranger', 'maker')
{
	is_refused($role, 'DROP DATABASE app', 'must be owner');
	is_refused($role, 'DROP DATABASE app WITH (FORCE)', 'must be owner');
	is_refused($role, 'ALTER DATABASE app RENAME TO other', 'must be owner');
	is_refused($role, 'ALTER DATABASE app SET TABLESPACE place', 'must be owner');
	is_refused($role, 'CREATE DATABASE copy TEMPLATE app', 'permission denied to (create|copy) database');
}
is_refused('owner', 'ALTER DATABASE app RENAME TO other', 'permission denied to rename database');
is_refused('owner', 'CREATE DATABASE copy TEMPLATE app', 'permission denied to create database');
is_refused('owner', 'ALTER DATABASE app SET TABLESPACE place', 'permission denied for tablespace');
like(sql_error($node, "BEGIN;\nDROP DATABASE app"), qr/cannot run inside a transaction block/, 'DROP in a transaction block');
like(sql_error($node, 'DROP DATABASE app', 'app'), qr/cannot drop the currently open database/, 'DROP of the current database');
like(sql_error($node, 'ALTER DATABASE app RENAME TO other', 'app'), qr/current database cannot be renamed/, 'RENAME of the current database');
is(worker_pid($node, 'app'), $pid, 'who may not do it does not send the worker away');
unlike(slurp_file($node->logfile, $offset), qr/disconnecting notify_stats/, 'not for a moment');

# Other connections still prevent the statement, and the worker is restarted.
$session = start_psql($node, '\connect app', 'SELECT 1', 'SELECT pg_sleep(1000)');
poll($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'app' AND query LIKE '%pg_sleep%'");
like(sql_error($node, 'DROP DATABASE app'), $in_use, 'other connections still prevent DROP DATABASE');
is_back('app', 'and the worker is back');
sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app' AND query LIKE '%pg_sleep%'");
$session->finish;

sql($node, 'GRANT owner TO owner_and_maker');
runs('CREATE DATABASE copy TEMPLATE app', 'owner_and_maker');
is_back('app', 'the owner can copy it');
runs('ALTER DATABASE app RENAME TO other', 'owner_and_maker');
runs('ALTER DATABASE other RENAME TO app', 'owner_and_maker');
is_back('app', 'and rename it');
sql($node, 'GRANT CREATE ON TABLESPACE place TO owner');
runs('ALTER DATABASE app SET TABLESPACE place', 'owner');
is_back('app', 'and move it');
sql($node, 'ALTER DATABASE app IS_TEMPLATE true');
runs('CREATE DATABASE copy2 TEMPLATE app', 'maker');
is_back('app', 'a role with CREATEDB can copy a template');
sql($node, 'ALTER DATABASE app IS_TEMPLATE false');
runs('DROP DATABASE app', 'owner');
is(slots_of('app'), '0', 'and drop it, with its slot');

# --- a database that comes late -------------------------------------------------------

is(scalar(() = slurp_file($node->logfile) =~ /database "later" does not exist/g), 1,
	'a database that does not exist is reported once');
is(sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'notify_stats worker' AND datname IS NULL}), '0',
	'and no process waits for it');
runs('CREATE DATABASE later');
wait_for_worker($node, 'later');
pass('when it is made the worker comes at once');
install('later');
is_back('later', 'and counts');

unlike(slurp_file($node->logfile), qr/terminating any other active server processes/,
	'nothing of all that has restarted the server');

done_testing();
