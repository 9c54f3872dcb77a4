# 033_dropped_slot.pl
#
# The owner of a rollup has the attribute REPLICATION, and a function of the definition uses it
# within the worker, which holds the main slot: the function drops it, or has it released, and
# another slot takes its place in the server's memory.  The worker must leave that one alone.  It
# notices that its own is gone, and the rollups are exact again.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use IPC::Run ();
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('dropped', conf => q{
autovacuum = off
max_slot_wal_keep_size = 1GB
});
my $plugins = sql($node, q{SELECT current_setting('output_plugin_libraries', true)});
my $main = sql($node, q{SELECT 'notify_stats_' || oid FROM pg_database WHERE datname = 'postgres'});

# The owner may make slots with the plugin of the main slot.
if ($plugins ne '')
{
	sql($node, 'ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, notify_stats');
	set_and_reload($node);
	poll($node, q{SELECT current_setting('output_plugin_libraries') LIKE '%notify_stats%'});
}

sql($node, q{
	CREATE ROLE attacker LOGIN REPLICATION;
	CREATE SCHEMA trap AUTHORIZATION attacker;
	CREATE TABLE trap.visits (kind text);
	ALTER TABLE trap.visits REPLICA IDENTITY FULL, OWNER TO attacker;
	CREATE TABLE trap.what (id int, statement text);
	ALTER TABLE trap.what OWNER TO attacker;
	CREATE TABLE visits (kind text);
	ALTER TABLE visits REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('of_visits', 'SELECT kind, count(*) FROM visits GROUP BY kind');
});
sql_as($node, 'attacker', 'postgres', qq{
	CREATE FUNCTION trap.wait_for_stranger() RETURNS void LANGUAGE plpgsql AS \$\$
	BEGIN
		WHILE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'stranger' AND active) LOOP
			PERFORM pg_sleep(0.01);
		END LOOP;
	END \$\$;
	-- does it once: what it leaves behind is the sign that it was done
	CREATE FUNCTION trap.spring(kind text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \$\$
	DECLARE
		s text;
	BEGIN
		IF EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '$main' AND active_pid = pg_backend_pid()) AND
		   NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'stranger') THEN
			FOR s IN SELECT w.statement FROM trap.what w ORDER BY w.id LOOP
				EXECUTE s;
			END LOOP;
		END IF;
		RETURN kind;
	END \$\$;
	SELECT notify_stats.create_rollup('trap.of_visits', 'SELECT trap.spring(kind) AS kind, count(*) FROM trap.visits GROUP BY 1');
});
is_exact($node, 'before');

# Has the function run these statements in the worker, by a transaction the end of which is
# returned: the main slot is before that when the function runs.
sub spring
{
	my (@statements) = @_;
	my $id = 0;

	foreach my $statement (@statements)
	{
		sql($node, 'INSERT INTO trap.what VALUES (' . ++$id . ", \$sql\$$statement\$sql\$)");
	}
	wait_until_applied($node);
	sql($node, q{BEGIN; INSERT INTO visits VALUES ('a'); INSERT INTO trap.visits VALUES ('a'); COMMIT});
	return sql($node, 'SELECT pg_current_wal_insert_lsn()');
}

# All is well again.
sub is_well
{
	my ($title) = @_;

	is_exact($node, "$title: exact");
	is(sql($node, 'SELECT DISTINCT state FROM notify_stats.rollups'), 'live', "$title: live");
	is(sql($node, q{SELECT (SELECT sum(count) FROM trap.of_visits) = (SELECT count(*) FROM trap.visits)}), 't', "$title: with the row that did it");
	sql($node, 'DELETE FROM trap.what');
	return;
}

# Another one's slot takes the place, and its process has it open.
my $offset = log_position($node);
spring("SELECT pg_drop_replication_slot('$main')", 'SELECT trap.wait_for_stranger()');
poll($node, "SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = '$main'");
my $output = '';
my $receiver = IPC::Run::start(
	[ 'pg_recvlogical', '-d', $node->connstr('postgres'), '-S', 'stranger', '-P', 'test_decoding',
		'--create-slot', '--start', '-f', '-' ],
	'<' => \undef, '>' => \$output, '2>&1');
$node->wait_for_log(qr/changes were lost: the replication slot is missing/, $offset);
is_well('dropped for another one');
is(sql($node, q{SELECT active_pid = (SELECT pid FROM pg_stat_replication) FROM pg_replication_slots WHERE slot_name = 'stranger'}),
	't', 'dropped for another one: that is still its process\'s');
$receiver->signal('TERM');
$receiver->finish;
drop_slot($node, 'stranger');

# One of the same name and position is there again, in another place.
$offset = log_position($node);
my $end = spring(
	"SELECT pg_copy_logical_replication_slot('$main', 'copy')",
	"SELECT pg_drop_replication_slot('$main')",
	"SELECT pg_copy_logical_replication_slot('copy', 'stranger')",
	"SELECT pg_copy_logical_replication_slot('copy', '$main')",
	"SELECT pg_drop_replication_slot('copy')");
$node->wait_for_log(qr/replication slot "$main" was dropped or released by code run in this process/, $offset);
is_well('replaced');
is(sql($node, qq{SELECT confirmed_flush_lsn < '$end' AND NOT active FROM pg_replication_slots WHERE slot_name = 'stranger'}),
	't', 'replaced: the other slot stays where it was');
drop_slot($node, 'stranger');

# Moved, and so released.
$offset = log_position($node);
spring("SELECT pg_replication_slot_advance('$main', pg_current_wal_flush_lsn())",
	q{SELECT pg_create_physical_replication_slot('stranger')});
$node->wait_for_log(qr/changes were lost: the replication slot is ahead of the applied position/, $offset);
is_well('moved');
$node->stop;

done_testing();
