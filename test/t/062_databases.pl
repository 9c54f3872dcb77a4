# 062_databases.pl
#
# Which databases have a worker.  The list changes by reload: workers are started and stopped, and
# a list with wrong syntax is refused.  With '*' each database with rollups has a worker, also one
# that is created, copied, restored or renamed later, and no other has a process.  The launcher can
# be ended at any time, and workers continue; after a crash all of them come back; on a standby
# there are none before its promotion.  When all background processes are in use, the log, check(),
# status and wait_for_lsn() say so, and workers come as soon as there are free ones.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Documents;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('databases', extension => 0, conf => qq{
max_worker_processes = 16
max_replication_slots = 20
max_wal_senders = 20
autovacuum = off
});
my ($pid, $offset, $session, $slot);

# The databases with a worker.
my $served = q{SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '') FROM pg_stat_activity
	WHERE backend_type = 'notify_stats worker'};

sub wait_until_served
{
	my ($names, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	poll($node, $served, $names);
	pass($title);
	return;
}

sub launcher_pid
{
	my ($server) = @_;
	poll($server, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'notify_stats launcher'}, '1');
	return sql($server, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'notify_stats launcher'});
}

sub make_database
{
	my ($db, %param) = @_;

	(my $quoted = $db) =~ s/"/""/g;
	sql($node, qq{CREATE DATABASE "$quoted"} . ($param{template} ? " TEMPLATE $param{template}" : ''));
	return if $param{template};
	sql($node, 'CREATE EXTENSION notify_stats', $db);
	make_kinds($node, $db) unless $param{empty};
	return;
}

sub is_counted
{
	my ($db, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	change_kinds($node, $db);
	return is_exact($node, $title, db => $db);
}

# --- names ----------------------------------------------------------------------------

wait_until_served('postgres', 'the database of the list has a worker, also without the extension');
make_database('one');
make_database('Odd, "two"');
like(sql_error($node, 'SELECT notify_stats.rebuild($$kinds$$)', 'one'), qr/^no error/, 'a database that is not in the list');
is(check_row($node, 'worker', undef, 'one'),
	q{f|no worker serves database one|Add 'one' to notify_stats.database in postgresql.conf and reload the configuration, or run CALL notify_stats.catch_up(); regularly.},
	'check() says what to do');
is(sql($node, 'SELECT state, waits_for FROM notify_stats.status', 'one'),
	'off|a worker: the database is not in notify_stats.database', 'and status why it waits');
$pid = worker_pid($node);
set_and_reload($node, 'notify_stats.database' => 'postgres, one, "Odd, ""two""", nowhere, "*"');
set_and_reload($node, 'notify_stats.database' => 'postgres, one, "Odd, ""two""", nowhere');
wait_until_served('Odd, "two" one postgres', 'a reload adds databases');
is(worker_pid($node), $pid, 'the worker that was there stays');
is_counted('one', 'an added database counts');
is(check_row($node, 'worker', undef, 'one'), 't|a worker serves database one|', 'check() is content');
$node->wait_for_log(qr/WARNING:  database "nowhere" does not exist\n.*DETAIL: .*named in "notify_stats.database"\. .*\n.*HINT: .*remove it from "notify_stats.database" and reload/);

$offset = log_position($node);
sql($node, q{ALTER SYSTEM SET notify_stats.naptime = '10ms'});
$node->reload;
poll($node, q{SELECT current_setting('notify_stats.naptime') = '10ms'});
change_kinds($node, 'one');
is_exact($node, 'after another reload', db => 'one');
set_and_reload($node, 'notify_stats.database' => 'postgres, nowhere');
wait_until_served('postgres', 'a reload removes databases');
like(slurp_file($node->logfile, $offset),
	qr/LOG:  notify_stats worker for database "one" ended\n.*DETAIL:  The database is no longer included in "notify_stats.database"\.\n/, 'the log says so');
unlike(slurp_file($node->logfile, $offset), qr/FATAL|exited with exit code/, 'and has no error');
unlike(slurp_file($node->logfile, $offset), qr/database "nowhere" does not exist/, 'a missing database is reported once');
change_kinds($node, 'one');
is(sql($node, 'SELECT state, waits_for FROM notify_stats.status', 'one'),
	'off|a worker: the database is not in notify_stats.database', 'a removed database waits');
my $wait_not = q{notify_stats.wait_for_lsn(timeout => '0', no_throw => true)};
is(sql($node, "SELECT $wait_not; BEGIN; SELECT FROM notify_stats.drop_rollup('kinds'); SELECT $wait_not; ROLLBACK", 'one'), "f\nt",
	'without rollups there is nothing to wait for, although there is a slot');
set_and_reload($node, 'notify_stats.database' => 'one');
wait_until_served('one', 'the list is replaced');
is_exact($node, 'a database that was added again', db => 'one');
make_database('nowhere');
set_and_reload($node, 'notify_stats.database' => 'one, nowhere');
wait_until_served('nowhere one', 'a database that exists by now');
is_counted('nowhere', 'it counts');
$pid = worker_pid($node, 'nowhere');
$offset = log_position($node);
sql($node, 'ALTER DATABASE nowhere ALLOW_CONNECTIONS false');
sql($node, "SELECT pg_terminate_backend($pid)");
$node->wait_for_log(qr/database "nowhere" is not accepting connections/, $offset);
unlike(slurp_file($node->logfile, $offset), qr/no longer included/, 'the worker stays when the database accepts no more connections');
is(sql($node, $served), 'one', 'but cannot come back');
sql($node, 'ALTER DATABASE nowhere ALLOW_CONNECTIONS true');
wait_until_served('nowhere one', 'one that accepts connections again');

# A worker that cannot look at the list is ended.
set_stop($node, 'after-peek');
$offset = log_position($node);
change_kinds($node, 'one');
wait_for_stop($node, 'after-peek', $offset);
set_and_reload($node, 'notify_stats.database' => 'nowhere');
wait_until_served('nowhere', 'a removed database whose worker is occupied');
like(slurp_file($node->logfile, $offset),
	qr/LOG:  stopping the notify_stats worker of database "one"\n.*DETAIL:  The database is no longer included in "notify_stats.database", and the worker has not ended by itself\.\n/,
	'the log says why');
continue_from_stop($node);

# As in the manual.
sql($node, "CREATE DATABASE $_") foreach ('shop', 'billing');
sql($node, scalar document_block('doc/operations.md', 'Which databases have a worker', 'sql'));
wait_until_served('billing shop', 'the example of the manual');

# A list that cannot be read changes nothing.
like(sql_error($node, q{ALTER SYSTEM SET notify_stats.database = 'one, "'}), qr/List syntax is invalid/, 'ALTER SYSTEM refuses a wrong list');
$offset = log_position($node);
$node->append_conf('postgresql.conf', q{notify_stats.database = 'one, ,'});
sql($node, 'ALTER SYSTEM RESET notify_stats.database');
$node->reload;
$node->wait_for_log(qr/invalid value for parameter "notify_stats.database"/, $offset);
$node->adjust_conf('postgresql.conf', 'notify_stats.database', q{''});
$node->reload;
wait_until_served('', 'an empty list means no worker');
is(sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'notify_stats launcher'}), '1', 'the launcher remains');
sql($node, $_) foreach ('DROP DATABASE "Odd, ""two"""', 'DROP DATABASE nowhere', 'DROP DATABASE shop', 'DROP DATABASE billing');

# --- all databases --------------------------------------------------------------------

make_database('empty', empty => 1);
$node->adjust_conf('postgresql.conf', 'notify_stats.database', q{'*'});
$node->reload;
wait_until_served('one', 'each database with rollups has a worker');
is_counted('one', 'and counts');
is(check_row($node, 'worker', undef, 'empty'), 't|a worker will serve database empty when it has rollups|', 'check() in one without rollups');
is(sql($node, 'SELECT state, waits_for FROM notify_stats.status', 'empty'), 'no rollups|', 'and its status');
unlike(slurp_file($node->logfile), qr/worker for database "(empty|template1)" started/, 'one without rollups or extension has none');

# There wait_for_lsn() has nothing to wait for.
is(sql($node, q{BEGIN; CREATE TABLE written (id int); COMMIT; SELECT notify_stats.wait_for_lsn(timeout => '0')}, 'empty'), 't',
	'wait_for_lsn() without rollups does not wait');

# New databases need nothing but a rollup.
make_database('new');
is_counted('new', 'a new database');
wait_until_served('new one', 'has a worker');
sql($node, q{BEGIN;
	CREATE TABLE source (id int PRIMARY KEY, kind text);
	ALTER TABLE source REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');
	PREPARE TRANSACTION 'prepared'}, 'empty');
wait_until_served('empty new one', 'a prepared transaction may be creating a rollup');
sql($node, q{COMMIT PREPARED 'prepared'}, 'empty');
is_counted('empty', 'a rollup that a prepared transaction has created');

# A copy, a restored database, a new name.
make_database('copy', template => 'one');
is_exact($node, 'a copy', db => 'copy');
is_counted('copy', 'which counts');
is_counted('one', 'as does its template');
sql($node, 'CREATE DATABASE restored');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/dump', $node->connstr('one') ], 'dump');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $node->basedir . '/dump' ], 'restore');
wait_until_served('copy empty new one restored', 'a restored database has a worker');
is_counted('restored', 'and counts');
sql($node, 'ALTER DATABASE restored RENAME TO renamed');
wait_until_served('copy empty new one renamed', 'so has one with a new name');
is_counted('renamed', 'and counts');
sql($node, "DROP DATABASE $_") foreach ('copy', 'renamed', 'empty');
wait_until_served('new one', 'dropped databases have none');
is(sql($node, 'SELECT count(*) FROM pg_replication_slots'), '2', 'and no slot');

# The worker ends with the last rollup, when it has dropped the slot.
$offset = log_position($node);
sql($node, q{SELECT notify_stats.drop_rollup('kinds')}, 'new');
poll($node, q{SELECT count(*) FROM pg_replication_slots WHERE database = 'new'}, '0');
wait_until_served('one', 'without rollups the worker drops the slot and ends');
like(slurp_file($node->logfile, $offset), qr/worker for database "new" ended/, 'the log says so');
create_rollup($node, 'kinds', 'SELECT kind, count(*) AS n FROM source GROUP BY kind', 'new');
is_counted('new', 'it comes back with the next rollup');
sql($node, 'DROP EXTENSION notify_stats CASCADE', 'new');
# which may interrupt the worker before it has dropped the slot
poll($node, q{SELECT count(*) FROM pg_replication_slots WHERE database = 'new'}, '0');
wait_until_served('one', 'and ends with the extension, which leaves no slot');

# The worker that looks while a transaction is creating a rollup, and after its end.
sql($node, 'DROP TABLE kinds CASCADE; CREATE EXTENSION notify_stats', 'new');
$session = $node->background_psql('new');
$session->query_safe(q{BEGIN; SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM source GROUP BY kind')});
sql($node, 'ALTER DATABASE new CONNECTION LIMIT 50');
# another one, so that a worker looks
sql($node, q{BEGIN; SELECT notify_stats.create_rollup('others', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');
	SELECT notify_stats.drop_rollup('others'); COMMIT}, 'new');
$session->query_safe('COMMIT');
$session->quit;
is_counted('new', 'a rollup whose transaction took long');

# --- the launcher ends ----------------------------------------------------------------

$pid = worker_pid($node, 'one');
foreach my $signal ('TERM', 'INT')
{
	my $launcher = launcher_pid($node);

	kill $signal, $launcher;
	poll($node, qq{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'notify_stats launcher' AND pid <> $launcher}, '1');
	is(worker_pid($node, 'one'), $pid, "SIG$signal to the launcher leaves the workers alone");
}
sql($node, "SELECT pg_terminate_backend($pid)");
isnt(wait_for_worker($node, 'one', $pid), $pid, 'the new launcher starts again a worker of the old one');
$node->adjust_conf('postgresql.conf', 'notify_stats.database', q{'one'});
kill 'TERM', launcher_pid($node);
$node->reload;
wait_until_served('one', 'it also stops one of them');
$node->adjust_conf('postgresql.conf', 'notify_stats.database', q{'*'});
$node->reload;
wait_until_served('new one', 'and starts it again');

# --- crashes --------------------------------------------------------------------------

crash_restart($node, worker_pid($node, 'one'));
wait_until_served('new one', 'all workers are back after the crash of one');
is_counted($_, "$_ counts after a crash") foreach ('one', 'new');
crash_restart($node, launcher_pid($node));
wait_until_served('new one', 'all workers are back after the crash of the launcher');
is_counted($_, "$_ counts after a crash of the launcher") foreach ('one', 'new');
kill_server($node);
start_again($node);
wait_until_served('new one', 'all workers are back after a kill of the server');
is_counted($_, "$_ counts after a kill of the server") foreach ('one', 'new');

# --- all background processes are in use ----------------------------------------------

# The two launchers, and one worker.
$node->append_conf('postgresql.conf', "max_worker_processes = 3\n");
$offset = log_position($node);
$node->restart;
$node->wait_for_log(qr/could not start a notify_stats worker for database "\w+"\n.*DETAIL: .*All 3 background processes that max_worker_processes allows.*\n.*HINT: .*Raise max_worker_processes/, $offset);
poll($node, 'SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = $$notify_stats worker$$');
my $lucky = sql($node, $served);
my $other = $lucky eq 'one' ? 'new' : 'one';
is(check_row($node, 'worker', undef, $other),
	"f|no worker serves database $other: max_worker_processes = 3 is too low|"
	. 'Raise max_worker_processes and restart the server, or run CALL notify_stats.catch_up(); regularly.', 'check() says why');
is(sql($node, 'SELECT state, waits_for FROM notify_stats.status', $other), 'off|a worker: max_worker_processes is too low', 'so does status');
like(sql_error($node, q{CREATE TABLE late (id int); SELECT notify_stats.wait_for_lsn(timeout => '500 ms')}, $other),
	qr/WARNING: .*no worker serves database "$other"\nDETAIL: .*All 3 background processes/, 'so does wait_for_lsn()');
is(check_row($node, 'worker', 'ok', $lucky), 't', 'the database with a worker has none of that');
is_counted($lucky, 'and counts');
$offset = log_position($node);
sql($node, "DROP DATABASE $lucky");
wait_until_served($other, 'the process of a dropped database is used for the other one');
is_counted($other, 'which counts then');
poll($node, q{SELECT ok FROM notify_stats.check() WHERE item = 'worker'}, 't', $other);
unlike(slurp_file($node->logfile, $offset), qr/could not start a notify_stats worker/, 'the lack was reported once');

# --- many databases -------------------------------------------------------------------

# Without rollups they have no process, and there may be more than there are places.
sql($node, "CREATE DATABASE many$_") foreach (1 .. 6);
make_database('last');
is(sql($node, $served), $other, 'only one database can have a worker');
$node->append_conf('postgresql.conf', "max_worker_processes = 12\n");
$node->restart;
is_counted('last', 'with more processes the last one has one');

# --- a standby ------------------------------------------------------------------------

my $standby = PostgreSQL::Test::Cluster->new('standby');
$node->backup('backup');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is(sql($standby, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'notify_stats%'}), '0', 'no process on a standby');
is(sql($standby, 'SELECT state FROM notify_stats.status', 'last'), 'off', 'and its status');
$node->stop;
$standby->promote;
poll($standby, $served, $other lt 'last' ? "$other last" : "last $other");
pass('the workers start with its promotion');
change_kinds($standby, 'last');
is_exact($standby, 'and count', db => 'last');

unlike(slurp_file($standby->logfile), qr/terminating any other active server processes/, 'no crash there');
done_testing();
