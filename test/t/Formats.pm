# Formats.pm
#
# Shared by the tests of other output plugins: a server, databases in which only catch_up() reads
# the slot, the choice of a format, and the problems of rollups.
#
# start_server() must be called first: all other functions use the server that it has created.
# is_caught_up(), and is_applied() where a worker reads, drop the slot if they fail, so that the
# rollups are rebuilt, and each failure is reported once.

package Formats;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IPC::Run ();
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
	@ways $pgoutput $create_wrong
	start_server in_db errors_of new_database start_in_database
	use_way drop_rollups drop_slot_of look is_caught_up is_applied);

# The options of other plugins.
our @ways = (
	{ name => 'pgoutput', format => 'pgoutput', version => 2 },
	{ name => 'wal2json 2', format => 'wal2json', version => 2 },
	{ name => 'wal2json 1', format => 'wal2json', version => 1 });
our $pgoutput = $ways[0];

# Creates test.wrong(SCHEMA): the problems of the rollups of a schema, one per line.  Text that is
# not ASCII is written as bytes, independent of the encodings of client and database.
our $create_wrong = q{
	CREATE SCHEMA test;
	CREATE FUNCTION test.wrong(namespace regnamespace) RETURNS SETOF text
	LANGUAGE plpgsql SET search_path = pg_catalog SET client_min_messages = warning AS $$
	DECLARE
		r record;
		side text;
	BEGIN
		FOR r IN SELECT s.rollup, s.definition, s.state, s.reason FROM notify_stats.rollups s
			JOIN pg_class c ON c.oid = s.rollup WHERE c.relnamespace = namespace ORDER BY c.relname
		LOOP
			IF r.state <> 'live' THEN
				RETURN NEXT format('%s is %s: %s', r.rollup, r.state, r.reason);
				CONTINUE;
			END IF;
			FOR side, r.rollup, r.definition IN VALUES ('rollup', r.rollup, r.definition),
				('definition', r.definition, r.rollup)
			LOOP
				RETURN QUERY EXECUTE format('SELECT %L || encode(convert_to(x::text, getdatabaseencoding()), ''escape'')
					FROM (TABLE %s EXCEPT ALL TABLE %s) x LIMIT 3',
					format('only in %s: ', side), r.rollup, r.definition);
			END LOOP;
		END LOOP;
		IF NOT FOUND AND r IS NULL THEN
			RETURN NEXT 'there is no rollup';
		END IF;
	END $$;
};

my $node;

# --- databases and ways ---------------------------------------------------------------

# start_server(NAME, conf => TEXT, only_own_plugin => 1): a server that allows all formats if it
# has a list of plugins, or with only_own_plugin as it is by default.  Its settings choose none,
# and the tests do.  In database postgres there is a worker.
sub start_server
{
	my ($name, %param) = @_;

	delete $ENV{NS_FORMAT_CONF};
	$node = new_node($name, extension => 0, conf => "max_replication_slots = 60\n" . ($param{conf} // ''));
	allow_plugins() if !$param{only_own_plugin};
	sql($node, 'CREATE DATABASE clean; CREATE ROLE mallory');
	in_db($_, "CREATE EXTENSION notify_stats; $create_wrong") foreach ('clean', 'postgres');
	return $node;
}

# Puts the plugins into the server's list, if it has one.
sub allow_plugins
{
	return if sql($node, q{SELECT current_setting('output_plugin_libraries', true) IS NULL}) eq 't';
	sql($node, 'ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json');
	$node->reload;
	poll($node, q{SELECT current_setting('output_plugin_libraries') LIKE '%wal2json%'});
	return;
}

# The results of statements in a database.
sub in_db
{
	my ($db, $query) = @_;
	return $node->safe_psql($db, $query);
}

# The errors of statements, '' if there are none.
sub errors_of
{
	my ($db, $query) = @_;
	my ($status, undef, $stderr) = $node->psql($db, $query);

	return $status == 0 ? '' : $stderr;
}

# A database with the extension, but without a worker.
sub new_database
{
	my ($db) = @_;
	sql($node, "CREATE DATABASE $db TEMPLATE clean");
	return $db;
}

# A psql that runs a statement in any database; ->finish waits for its end.
sub start_in_database
{
	my ($db, $statement) = @_;
	local %ENV = $node->_get_env();

	return IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($db), '-c', $statement ],
		'<' => \undef, '>' => \my $output, '2>&1');
}

# The format of slots that are made from now on.
sub use_way
{
	my ($way) = @_;
	set_and_reload($node,
		'notify_stats.format' => $way->{format},
		'notify_stats.wal2json_format_version' => $way->{version});
	return;
}

# Drops all rollups of a database with a worker, and waits until the slot and the publication are
# gone as well, so that the next slot is of another way.
sub drop_rollups
{
	my ($db) = @_;
	in_db($db, 'SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups');
	poll($node, q{SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database())
		AND NOT EXISTS (SELECT FROM pg_publication)}, 't', $db);
	return;
}

# Drops the slot of a database, which its worker may hold at the moment.
sub drop_slot_of
{
	my ($db) = @_;
	poll($node, q{SELECT count(*) FILTER (WHERE pid IS NOT NULL) = 0 FROM
		(SELECT active_pid AS pid FROM pg_replication_slots WHERE database = current_database()) s}, 't', $db);
	in_db($db, q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
		WHERE database = current_database()});
	return;
}

# --- comparing ------------------------------------------------------------------------

# Runs statements and then catch_up(), all of which must succeed.  Returns the problems of the
# rollups of a schema then, '' if there are none, and when each was built.
sub look
{
	my ($db, $statements, $schema) = @_;
	my ($status, $stdout, $stderr) = $node->psql($db, qq{
		\\o /dev/null
		$statements;
		CALL notify_stats.catch_up();
		\\o
		SELECT * FROM test.wrong('$schema');
		SELECT 'built', rollup, built_at FROM notify_stats.rollups
		WHERE rollup IN (SELECT oid FROM pg_class WHERE relnamespace = '$schema'::regnamespace) ORDER BY 1, 2;});
	my @lines = split /\n/, $stdout;

	return ($stderr, '') if $status != 0;
	return (join("\n", grep { !/^built\|/ } @lines), join("\n", grep { /^built\|/ } @lines));
}

# Rebuilds everything, so that each failure is reported once.
sub heal
{
	my ($db) = @_;
	drop_slot_of($db);
	in_db($db, q{
		SELECT format('DROP PUBLICATION %I', pubname) FROM pg_publication \gexec
		SELECT notify_stats.rebuild(rollup) FROM notify_stats.rollups});
	errors_of($db, 'CALL notify_stats.catch_up()');
	return;
}

# is_caught_up(DB, TITLE, STATEMENTS, SCHEMA): the statements and catch_up() succeed, and then the
# schema's rollups are live and exact.  Returns that, and when they were built.
sub is_caught_up
{
	my ($db, $title, $statements, $schema) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($wrong, $built) = look($db, $statements // '', $schema // 'public');
	my $ok = is($wrong, '', $title);

	heal($db) if !$ok;
	return ($ok, $built);
}

# The same where a worker does it.  Given up if that still throws errors after ten seconds.
sub is_applied
{
	my ($db, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $begin = in_db($db, 'SELECT extract(epoch FROM now())');
	my $error = '';

	for (my $i = 0; $i < $PostgreSQL::Test::Utils::timeout_default && $error eq ''; $i++)
	{
		return is(in_db($db, "SELECT * FROM test.wrong('public')"), '', $title)
		  if in_db($db, q{SELECT notify_stats.wait_for_lsn(timeout => '1 s', no_throw => true)}) eq 't';
		$error = in_db($db, qq{SELECT last_error FROM notify_stats.status
			WHERE stream = 'main' AND extract(epoch FROM last_error_at) > $begin + 10});
	}
	is("stuck: $error", '', $title);
	drop_slot_of($db);
	wait_until_applied($node, $db);
	return 0;
}

1;
