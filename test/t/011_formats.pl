# 011_formats.pl
#
# Slots of other output plugins, pgoutput and wal2json, give the same rollups as our own.
#
# They write for somebody else: what tables and columns were called when a change was made, what
# a publication said then, values as text.  So here names, publications, replica identities,
# types and settings change between a change and its reading, or are odd from the beginning.
# Whatever happens, a rollup that is live is exact: changes that cannot be told make it stale and
# rebuilt, and what cannot be read at all is an error that names itself, until the slot is
# dropped.
#
# Most of it happens in databases without a worker: nothing reads the slot there until we CALL
# catch_up().  One that fails is mended by dropping the slot, so that it is one failure.
# takes long

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @ways = (
	{ name => 'pgoutput', format => 'pgoutput', version => 2 },
	{ name => 'wal2json 2', format => 'wal2json', version => 2 },
	{ name => 'wal2json 1', format => 'wal2json', version => 1 });
my $pgoutput = $ways[0];

# the formats are chosen here, and the server's list of plugins is its own at first
delete $ENV{NS_FORMAT_CONF};

my $node = new_node('formats', extension => 0, conf => q{
notify_stats.database = 'postgres, bites'
max_replication_slots = 60
});

# --- databases and ways ---------------------------------------------------------------

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
sub start_in
{
	my ($db, $statement) = @_;
	local %ENV = $node->_get_env();

	return IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($db), '-c', $statement ],
		'<' => \undef, '>' => \my $output, '2>&1');
}

sub poll_in
{
	my ($db, $query) = @_;
	$node->poll_query_until($db, $query) or die "timed out waiting for: $query";
	return;
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
	poll_in($db, q{SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database())
		AND NOT EXISTS (SELECT FROM pg_publication)});
	return;
}

sub drop_slot_of
{
	my ($db) = @_;
	# the worker may hold it at the moment
	poll_in($db, q{SELECT count(*) FILTER (WHERE pid IS NOT NULL) = 0 FROM
		(SELECT active_pid AS pid FROM pg_replication_slots WHERE database = current_database()) s});
	in_db($db, q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
		WHERE database = current_database()});
	return;
}

# --- comparing ------------------------------------------------------------------------

# What is wrong with the rollups of a schema, a line each.  Text that is not ASCII is written
# as bytes, whatever the encoding of client and database.
my $functions = q{
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

# Runs statements and then catch_up(), all of which have to succeed.  Returns what is wrong with
# the rollups of a schema then, '' if nothing, and when each was built.
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

# Has everything made anew, so that one failure is one.
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
		  if in_db($db, q{SELECT notify_stats.wait_for_lsn(timeout => '1 s')}) eq 't';
		$error = in_db($db, qq{SELECT last_error FROM notify_stats.status
			WHERE stream = 'main' AND extract(epoch FROM last_error_at) > $begin + 10});
	}
	is("stuck: $error", '', $title);
	drop_slot_of($db);
	wait_until_applied($node, $db);
	return 0;
}

sub quoted
{
	my ($name) = @_;
	$name =~ s/"/""/g;
	return qq{"$name"};
}

# --- scenarios ------------------------------------------------------------------------
#
# Each lives in a schema of its own, which is first in its search_path.  The steps happen with
# unread changes before them, and each is read at one go.  "ways" are those that it is for.
# "rebuilt" is whether a build is needed (1), must not be (0), or is anybody's choice (absent).

# What most of them start with: a table, and a rollup of it.
my $plain = q{
	CREATE TABLE t (id int PRIMARY KEY, k text, n int, other text);
	ALTER TABLE t REPLICA IDENTITY FULL;
	INSERT INTO t SELECT i, 'old', 1 FROM generate_series(1, 10) i;
	SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c, coalesce(sum(n), 0) AS n FROM t GROUP BY k');
};

my $partitioned = q{
	CREATE TABLE t (id int, k text, n int) PARTITION BY RANGE (id);
	CREATE TABLE p0 PARTITION OF t FOR VALUES FROM (0) TO (100);
	CREATE TABLE p1 PARTITION OF t FOR VALUES FROM (100) TO (200) PARTITION BY LIST (k);
	CREATE TABLE p1a PARTITION OF p1 FOR VALUES IN ('a', 'b');
	CREATE TABLE p1x PARTITION OF p1 DEFAULT;
	ALTER TABLE p0 REPLICA IDENTITY FULL;
	ALTER TABLE p1a REPLICA IDENTITY FULL;
	ALTER TABLE p1x REPLICA IDENTITY FULL;
	INSERT INTO t SELECT i, chr(97 + i % 5), i FROM generate_series(1, 199, 4) i;
	SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c, coalesce(sum(n), 0) AS n FROM t GROUP BY k');
	SELECT notify_stats.create_rollup('rp', 'SELECT k, count(*) AS c FROM p1a GROUP BY k');
};
my $change_partitioned = q{
	UPDATE t SET n = n + 1 WHERE id % 8 = 1;
	UPDATE t SET k = chr(97 + id % 3), id = (id + 101) % 200 WHERE id % 16 = 1;
	DELETE FROM t WHERE id % 7 = 0;
};

my @names = (
	'a\\b', '\\', 'a,b', ',', 'a b', ' a', 'a ', 'a.b', '.', '*', '*.*', '"', 'a"b', "'", 'UPPER', '$1', '--', '{}',
	'[1]', 'null', '\\u0041', "tab\there", "new\nline", "\xc3\xa9t\xc3\xa9", "\xf0\x9f\x98\x80", "\xc2\xa0", 'x' x 63,
	"\xe2\x82\xac" x 21, ' a\\,b.c* "D" ');

# Schemas, tables and columns with odd names, and beside each table another, whose changes are
# nobody's business.
sub oddly_named
{
	my ($i) = @_;
	return map { quoted($names[ ($i + $_) % @names ]) } 0 .. 2;
}

sub create_oddly_named
{
	my $tables = '';
	my @branches;

	foreach my $i (0 .. $#names)
	{
		my ($schema, $table, $column) = oddly_named($i);
		$tables .= qq{
			CREATE SCHEMA $schema;
			CREATE TABLE $schema.$table (id int PRIMARY KEY, $column text);
			ALTER TABLE $schema.$table REPLICA IDENTITY FULL;
			CREATE TABLE $schema.beside (LIKE $schema.$table);
		};
		push @branches, "SELECT id, $column AS k FROM $schema.$table";
	}
	return $tables . q{SELECT notify_stats.create_rollup('r', $$SELECT k, count(*) AS c FROM (} .
	  join(' UNION ALL ', @branches) . ') u GROUP BY 1$$)';
}

sub change_oddly_named
{
	return join '', map {
		my ($schema, $table, $column) = oddly_named($_);
		qq{
			INSERT INTO $schema.beside VALUES (1, 'beside');
			INSERT INTO $schema.$table SELECT i, 'a' || i % 3 FROM generate_series(1, 9) i;
			UPDATE $schema.$table SET $column = 'b' || $_ WHERE id % 4 = 0;
			DELETE FROM $schema.$table WHERE id = 5;
		}
	} 0 .. $#names;
}

my @scenarios = (
	{
		title => 'odd names',
		setup => create_oddly_named(),
		steps => [ change_oddly_named() ],
		rebuilt => 0
	},

	# what happens all the time, and changes nothing
	{
		title => 'maintenance',
		setup => $plain . q{CREATE TABLE part (LIKE t) PARTITION BY LIST (id);
			CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
			ALTER TABLE part1 REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('rp', 'SELECT k, count(*) AS c FROM part GROUP BY k')},
		steps => [ q{
			INSERT INTO t VALUES (11, 'new'); INSERT INTO part VALUES (1, 'a');
			ANALYZE t; VACUUM t; ANALYZE part; VACUUM part;
			CREATE INDEX ON t (n);
			INSERT INTO t VALUES (12, 'new'); INSERT INTO part VALUES (1, 'a');
			REINDEX TABLE t;
			ANALYZE t; VACUUM ANALYZE part} ],
		rebuilt => 0
	},
	{
		title => 'rewritten tables',
		setup => $plain,
		steps => [ q{
			INSERT INTO t VALUES (11, 'new', 1);
			VACUUM FULL t;
			DELETE FROM t WHERE id = 1;
			CLUSTER t USING t_pkey;
			UPDATE t SET k = 'newer' WHERE id = 2;
			ALTER TABLE t ADD COLUMN random float8 DEFAULT random(), ADD COLUMN filled text DEFAULT 'filled';
			UPDATE t SET k = 'newest' WHERE id = 3;
			ALTER TABLE t ALTER COLUMN other TYPE int USING 1;
			DELETE FROM t WHERE id = 4;
			ALTER TABLE t DROP COLUMN other;
			INSERT INTO t VALUES (12, 'new', 1)} ]
	},
	{
		title => 'columns that a table got later',
		setup => q{CREATE TABLE t (dropped int, id int PRIMARY KEY, gone text);
			INSERT INTO t SELECT 1, i, 'gone' FROM generate_series(1, 10) i;
			ALTER TABLE t DROP COLUMN dropped, DROP COLUMN gone, ADD COLUMN k text DEFAULT 'filled', ADD COLUMN n int;
			ALTER TABLE t REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('r', 'SELECT k, n, count(*) AS c FROM t GROUP BY k, n')},
		steps => [ q{UPDATE t SET n = id % 2 WHERE id < 4; DELETE FROM t WHERE id IN (1, 7);
			UPDATE t SET k = 'new' WHERE id = 9} ],
		rebuilt => 0
	},
	{
		title => 'transactions of every kind',
		setup => $plain,
		steps => [ q{
			BEGIN; INSERT INTO t VALUES (11, 'lost'); ROLLBACK;
			BEGIN; SELECT txid_current(); COMMIT;
			BEGIN; INSERT INTO t VALUES (11, 'a'); SAVEPOINT s; INSERT INTO t VALUES (12, 'lost'); ROLLBACK TO s;
			SAVEPOINT s2; UPDATE t SET k = 'b' WHERE id = 11; RELEASE s2; COMMIT;
			BEGIN; INSERT INTO t VALUES (21, 'prepared'); PREPARE TRANSACTION 'formats1';
			BEGIN; INSERT INTO t VALUES (22, 'lost'); PREPARE TRANSACTION 'formats2';
			INSERT INTO t VALUES (23, 'b');
			ROLLBACK PREPARED 'formats2'; COMMIT PREPARED 'formats1';
			INSERT INTO t VALUES (21, 'c') ON CONFLICT (id) DO UPDATE SET k = 'c';
			UPDATE t SET id = id + 1000, k = NULL WHERE id < 5;
			BEGIN; INSERT INTO t SELECT i, 'big', i FROM generate_series(2000, 7000) i;
			UPDATE t SET k = 'bigger' WHERE id % 3 = 0; DELETE FROM t WHERE id % 5 = 0; COMMIT} ],
		rebuilt => 0
	},
	{
		# anybody may write them
		title => 'messages in the log',
		setup => $plain,
		steps => [ q{
			SELECT pg_logical_emit_message(false, 'prefix', 'outside');
			BEGIN; INSERT INTO t VALUES (11, 'a'); SELECT pg_logical_emit_message(true, 'prefix', E'in "side"\\\\');
			SELECT pg_logical_emit_message(false, 'prefix', 'outside'); INSERT INTO t VALUES (12, 'a'); COMMIT;
			SELECT pg_logical_emit_message(true, '', '')} ],
		rebuilt => 0
	},

	{
		# the session that calls catch_up() then reads arrays otherwise
		title => 'arrays with nulls',
		setup => q{CREATE TYPE pair AS (a int);
			CREATE TABLE t (id int PRIMARY KEY, a text[], n numeric[], p pair);
			ALTER TABLE t REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('r', 'SELECT a, n, count(*) AS c FROM t GROUP BY a, n')},
		steps => [ q{INSERT INTO t VALUES (1, ARRAY['a', NULL]), (2, ARRAY['NULL']); SET array_nulls = off},
			'INSERT INTO t VALUES (3, NULL, ARRAY[1, NULL]); SET array_nulls = off' ],
		rebuilt => 0
	},

	# names
	{
		title => 'a renamed table',
		setup => $plain,
		steps => [ q{INSERT INTO t VALUES (11, 'a'); ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (12, 'b')} ]
	},
	{
		title => 'a table renamed and back',
		setup => $plain,
		steps => [ q{INSERT INTO t VALUES (11, 'a'); ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (12, 'b');
			ALTER TABLE u RENAME TO t; INSERT INTO t VALUES (13, 'a')} ]
	},
	{
		title => 'a renamed schema',
		setup => 'CREATE SCHEMA s1; CREATE SCHEMA s3;' . $plain . 'ALTER TABLE t SET SCHEMA s1',
		steps => [
			q{INSERT INTO s1.t VALUES (11, 'a'); ALTER SCHEMA s1 RENAME TO s2; INSERT INTO s2.t VALUES (12, 'b')},
			q{INSERT INTO s2.t VALUES (13, 'a'); ALTER TABLE s2.t SET SCHEMA s3; INSERT INTO s3.t VALUES (14, 'b')},
			'ALTER SCHEMA s3 RENAME TO s1; DROP SCHEMA s2; ALTER SCHEMA s1 RENAME TO s4'
		]
	},
	{
		title => 'a schema renamed and back',
		setup => 'CREATE SCHEMA there;' . $plain . 'ALTER TABLE t SET SCHEMA there',
		steps => [ q{INSERT INTO there.t VALUES (11, 'a'); ALTER SCHEMA there RENAME TO elsewhere;
			INSERT INTO elsewhere.t VALUES (12, 'b'); ALTER SCHEMA elsewhere RENAME TO there} ]
	},
	{
		title => 'a renamed column',
		setup => $plain,
		steps => [ q{INSERT INTO t VALUES (11, 'a'); ALTER TABLE t RENAME k TO "K K"; DELETE FROM t WHERE id < 3},
			q{INSERT INTO t VALUES (12, 'a'); ALTER TABLE t RENAME other TO k;
				INSERT INTO t VALUES (13, 'a', 1, 'b')} ]
	},
	{
		title => 'a column renamed and back',
		setup => $plain,
		steps => [ q{INSERT INTO t VALUES (11, 'a'); ALTER TABLE t RENAME k TO kk; DELETE FROM t WHERE id < 3;
			ALTER TABLE t RENAME kk TO k; INSERT INTO t VALUES (12, 'b')} ]
	},
	{
		title => 'names of columns swapped and back',
		setup => $plain,
		steps => [ q{INSERT INTO t VALUES (11, 'a', 1, 'b');
			ALTER TABLE t RENAME k TO x; ALTER TABLE t RENAME other TO k; ALTER TABLE t RENAME x TO other;
			INSERT INTO t (id, k, other) VALUES (12, 'a', 'b');
			ALTER TABLE t RENAME k TO x; ALTER TABLE t RENAME other TO k; ALTER TABLE t RENAME x TO other} ]
	},
	{
		title => 'names of two sources swapped',
		setup => $plain . q{CREATE TABLE u (LIKE t); ALTER TABLE u REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('ru', 'SELECT k, count(*) AS c FROM u GROUP BY k')},
		steps => [ q{INSERT INTO t VALUES (11, 'of t'); INSERT INTO u VALUES (1, 'of u');
			ALTER TABLE t RENAME TO x; ALTER TABLE u RENAME TO t; ALTER TABLE x RENAME TO u;
			INSERT INTO u VALUES (12, 'of t'); INSERT INTO t VALUES (2, 'of u')} ]
	},
	{
		title => 'a name taken over from a table that is no source',
		setup => $plain . 'CREATE TABLE u (LIKE t); ALTER TABLE u REPLICA IDENTITY FULL',
		steps => [ q{INSERT INTO u VALUES (1, 'of u'); ALTER TABLE u RENAME TO v; ALTER TABLE t RENAME TO u;
			INSERT INTO u VALUES (11, 'of t')} ]
	},

	# replica identities
	{
		title => 'a replica identity that says less',
		setup => $plain,
		steps => [
			q{DELETE FROM t WHERE id = 1; ALTER TABLE t REPLICA IDENTITY DEFAULT; DELETE FROM t WHERE id = 2;
				UPDATE t SET k = 'x' WHERE id = 3;
			ALTER TABLE t REPLICA IDENTITY FULL; DELETE FROM t WHERE id = 4},
			q{CREATE UNIQUE INDEX i ON t (id); ALTER TABLE t REPLICA IDENTITY USING INDEX i;
				DELETE FROM t WHERE id = 5; DROP INDEX i;
			INSERT INTO t VALUES (11, 'a'); ALTER TABLE t REPLICA IDENTITY FULL}
		]
	},
	{
		# pgoutput does not let anybody delete meanwhile
		title => 'no replica identity for a moment',
		ways => qr/wal2json/,
		setup => $plain,
		steps => [ q{DELETE FROM t WHERE id = 1;
			BEGIN; ALTER TABLE t REPLICA IDENTITY NOTHING; DELETE FROM t WHERE id = 2;
				UPDATE t SET k = 'x' WHERE id = 3;
			ALTER TABLE t REPLICA IDENTITY FULL; COMMIT} ]
	},
	{
		title => 'the index of a replica identity dropped and made anew',
		ways => qr/wal2json/,
		setup => q{CREATE TABLE t (id int NOT NULL, k text NOT NULL);
			CREATE UNIQUE INDEX i ON t (id, k);
			ALTER TABLE t REPLICA IDENTITY USING INDEX i;
			INSERT INTO t SELECT i, 'old' FROM generate_series(1, 20) i;
			SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c FROM t GROUP BY k')},
		steps => [ q{DELETE FROM t WHERE id = 1; DROP INDEX i; DELETE FROM t WHERE id = 2;
			CREATE UNIQUE INDEX i ON t (id, k); ALTER TABLE t REPLICA IDENTITY USING INDEX i;
			DELETE FROM t WHERE id = 3} ]
	},
	{
		title => 'a primary key dropped and made anew',
		ways => qr/wal2json/,
		setup => q{CREATE TABLE t (id int, k text, PRIMARY KEY (id, k));
			INSERT INTO t SELECT i, 'old' FROM generate_series(1, 20) i;
			SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c FROM t GROUP BY k')},
		steps => [ q{DELETE FROM t WHERE id = 1; ALTER TABLE t DROP CONSTRAINT t_pkey; DELETE FROM t WHERE id = 2;
			ALTER TABLE t ADD PRIMARY KEY (id, k); DELETE FROM t WHERE id = 3} ]
	},
	{
		# pgoutput does not let anybody do it
		title => 'unlogged for a moment',
		ways => qr/wal2json/,
		setup => $plain,
		steps => [ q{ALTER TABLE t SET UNLOGGED; INSERT INTO t VALUES (11, 'a'); ALTER TABLE t SET LOGGED} ]
	},
	{
		# of a session that fires no triggers
		title => 'a table renamed and back by who replicates',
		setup => $plain,
		steps => [ q{SET session_replication_role = replica; ALTER TABLE t RENAME TO u;
			INSERT INTO u VALUES (12, 'b'); ALTER TABLE u RENAME TO t} ]
	},
	{
		title => 'a table renamed and back by its owner',
		setup => q{DO $$ BEGIN EXECUTE format('GRANT ALL ON SCHEMA %I TO mallory', current_schema); END $$;
			SET ROLE mallory;} . $plain . 'RESET ROLE',
		steps => [ q{SET ROLE mallory; ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (12, 'b');
			ALTER TABLE u RENAME TO t; RESET ROLE} ]
	},
	{
		title => 'replica identity by an index',
		setup => q{CREATE TABLE t (id int NOT NULL, k text NOT NULL, n int);
			CREATE UNIQUE INDEX i ON t (k, id);
			ALTER TABLE t REPLICA IDENTITY USING INDEX i;
			INSERT INTO t SELECT i, 'old', i FROM generate_series(1, 20) i;
			SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c FROM t GROUP BY k');
			SELECT notify_stats.create_rollup('all_rows', $$SELECT 'all' AS part, count(*) AS c FROM t GROUP BY 1$$)},
		steps => [ q{UPDATE t SET n = 0 WHERE id % 2 = 0; UPDATE t SET k = 'new', n = 1 WHERE id % 3 = 0;
			UPDATE t SET id = id + 100 WHERE id % 5 = 0;
			DELETE FROM t WHERE id % 4 = 0} ],
		rebuilt => 0
	},

	# partitions
	{
		title => 'partitions',
		setup => $partitioned,
		steps => [
			$change_partitioned,
			"$change_partitioned TRUNCATE p0; $change_partitioned",
			"$change_partitioned TRUNCATE p1; $change_partitioned INSERT INTO t VALUES (3, 'a')",
			"$change_partitioned TRUNCATE t;
				INSERT INTO t SELECT i, chr(97 + i % 5), i FROM generate_series(1, 199, 4) i"
		]
	},
	{
		title => 'a new partition',
		setup => $partitioned,
		steps => [
			"$change_partitioned BEGIN; CREATE TABLE p2 PARTITION OF t FOR VALUES FROM (200) TO (300);
				ALTER TABLE p2 REPLICA IDENTITY FULL;
			INSERT INTO t SELECT i, chr(97 + i % 5), i FROM generate_series(201, 299) i;
			UPDATE t SET id = id - 100 WHERE id % 9 = 0 AND id > 200;
			DELETE FROM t WHERE id = 201; COMMIT",
			'DELETE FROM t WHERE id IN (202, 11, 13, 15); UPDATE t SET id = 203 WHERE id = 17',
			"BEGIN; CREATE TABLE p3 PARTITION OF t FOR VALUES FROM (300) TO (400);
				ALTER TABLE p3 REPLICA IDENTITY FULL; INSERT INTO t VALUES (300, 'a'), (301, 'b'); TRUNCATE p3;
			INSERT INTO t VALUES (302, 'c'); COMMIT"
		]
	},
	{
		title => 'a renamed partition',
		setup => $partitioned,
		steps => [ "$change_partitioned ALTER TABLE p0 RENAME TO x; ALTER TABLE p1x RENAME TO p0;
			ALTER TABLE p1 RENAME TO p1x; $change_partitioned" ]
	},
	{
		title => 'a partition renamed and back',
		setup => $partitioned,
		steps => [ "ALTER TABLE p0 RENAME TO x; $change_partitioned ALTER TABLE x RENAME TO p0" ]
	},
	{
		title => 'a detached partition',
		setup => $partitioned,
		steps => [ "$change_partitioned ALTER TABLE t DETACH PARTITION p0; INSERT INTO p0 VALUES (1, 'beside')",
			"INSERT INTO p0 VALUES (1, 'beside'); INSERT INTO t VALUES (111, 'a')" ],
		rebuilt => 1
	},
	{
		title => 'a dropped partition',
		setup => $partitioned,
		steps => [ "$change_partitioned DROP TABLE p0; INSERT INTO t VALUES (111, 'a')" ],
		rebuilt => 1
	},
	{
		title => 'a partition detached for a moment',
		setup => $partitioned,
		steps => [ "ALTER TABLE t DETACH PARTITION p0; INSERT INTO p0 VALUES (1, 'a'); DELETE FROM p0 WHERE id < 10;
			ALTER TABLE t ATTACH PARTITION p0 FOR VALUES FROM (0) TO (100); $change_partitioned",
			"ALTER TABLE t DETACH PARTITION p1; INSERT INTO p1a VALUES (101, 'a'); DELETE FROM p1x WHERE id < 150;
			ALTER TABLE t ATTACH PARTITION p1 FOR VALUES FROM (100) TO (200); $change_partitioned" ]
	},
	{
		title => 'the replica identity of a partition, for a moment',
		ways => qr/wal2json/,
		setup => $partitioned,
		steps => [ "ALTER TABLE p1a REPLICA IDENTITY NOTHING; DELETE FROM t WHERE k = 'a';
			ALTER TABLE p1a REPLICA IDENTITY FULL; $change_partitioned" ]
	},
	{
		title => 'partitions with other columns in another order',
		setup => $partitioned . q{CREATE TABLE p2 (dropped text, n int, k text, id int);
			ALTER TABLE p2 DROP COLUMN dropped;
			ALTER TABLE p2 REPLICA IDENTITY FULL; ALTER TABLE t ATTACH PARTITION p2 FOR VALUES FROM (200) TO (300)},
		steps => [ "INSERT INTO t VALUES (201, 'a', 7), (202, 'b', 8); $change_partitioned
			UPDATE t SET id = 1 WHERE id = 201; UPDATE t SET id = 250 WHERE id = 3;
			UPDATE t SET k = 'c' WHERE id > 200" ],
		rebuilt => 0
	},
	{
		title => 'a partition detached and dropped, with its name taken over',
		setup => $partitioned,
		steps => [ "$change_partitioned ALTER TABLE t DETACH PARTITION p0; INSERT INTO p0 VALUES (1, 'beside');
			DROP TABLE p0;
			CREATE TABLE p0 PARTITION OF t FOR VALUES FROM (0) TO (100); ALTER TABLE p0 REPLICA IDENTITY FULL;
			INSERT INTO t VALUES (1, 'a')" ]
	},
	{
		title => 'a partition with the name of another table',
		setup => $partitioned,
		steps => [ q{CREATE TABLE p2 (LIKE t); INSERT INTO p2 VALUES (1, 'beside'), (2, 'beside'); DROP TABLE p2;
			CREATE TABLE p2 PARTITION OF t FOR VALUES FROM (200) TO (300); ALTER TABLE p2 REPLICA IDENTITY FULL;
			INSERT INTO t VALUES (201, 'a')} ]
	},

	# TRUNCATE
	{
		title => 'TRUNCATE',
		setup => $plain . q{CREATE TABLE u (LIKE t); ALTER TABLE u REPLICA IDENTITY FULL;
			CREATE TABLE beside (id int);
			INSERT INTO u SELECT i, 'u' FROM generate_series(1, 5) i;
			SELECT notify_stats.create_rollup('both', 'SELECT k, count(*) AS c FROM
				(SELECT k FROM t UNION ALL SELECT k FROM u) s GROUP BY k')},
		steps => [
			q{INSERT INTO t VALUES (11, 'a'); TRUNCATE t; INSERT INTO t VALUES (12, 'b')},
			q{INSERT INTO t VALUES (13, 'a'); TRUNCATE beside, t, u; INSERT INTO u VALUES (1, 'b')},
			q{BEGIN; INSERT INTO t VALUES (14, 'a'); SAVEPOINT s; TRUNCATE t; ROLLBACK TO s;
				INSERT INTO t VALUES (15, 'b'); COMMIT},
			q{BEGIN; INSERT INTO t VALUES (16, 'a'); TRUNCATE t; INSERT INTO t VALUES (17, 'a'); TRUNCATE t;
				INSERT INTO t VALUES (18, 'b'); COMMIT},
			'BEGIN; TRUNCATE t; COMMIT; BEGIN; TRUNCATE u, beside; COMMIT'
		]
	},

	# other publications, which want a replica identity of all that is updated
	{
		title => 'a publication of all tables',
		setup => $plain,
		steps => [ q{CREATE PUBLICATION everything FOR ALL TABLES; INSERT INTO t VALUES (11, 'old');
			UPDATE t SET k = 'new' WHERE id < 3},
			q{SELECT notify_stats.rebuild('r')}, 'DROP PUBLICATION everything' ],
		rebuilt => 1
	},

	# columns that are not used
	{
		title => 'columns that have no binary form',
		setup => q{CREATE TYPE pair AS (a int, b aclitem);
			CREATE TABLE t (id int PRIMARY KEY, k text, acl aclitem[] DEFAULT '{postgres=r/postgres}',
				p pair DEFAULT (1, 'postgres=r/postgres'), ps pair[]);
			ALTER TABLE t REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c FROM t GROUP BY k')},
		steps => [ q{INSERT INTO t VALUES (1, 'a'); UPDATE t SET ps = ARRAY[p, NULL]; UPDATE t SET k = 'b'} ],
		rebuilt => 0
	},
	{
		# the first attempt asks for the binary form, the second for text
		title => 'a column without a binary form, for a moment',
		fails_once => 1,
		setup => $plain,
		steps => [ q{ALTER TABLE t ADD COLUMN acl aclitem[];
			INSERT INTO t (id, k, acl) VALUES (11, 'a', '{postgres=r/postgres}'); ALTER TABLE t DROP COLUMN acl} ]
	},
	{
		title => 'a column without a binary form in the table of a dropped rollup',
		setup => $plain . q{CREATE TABLE u (id int PRIMARY KEY, k text, acl aclitem[]);
			ALTER TABLE u REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('ru', 'SELECT k, count(*) AS c FROM u GROUP BY k')},
		steps => [ q{INSERT INTO u VALUES (1, 'a', '{postgres=r/postgres}'); SELECT notify_stats.drop_rollup('ru');
			INSERT INTO t VALUES (11, 'a')} ],
	},
	{
		# three columns a row are used, of which one is kept out of line
		title => 'out-of-line values',
		setup => q{CREATE TABLE t (id int PRIMARY KEY, big text, k text, big2 bytea);
			ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL, ALTER COLUMN big2 SET STORAGE EXTERNAL;
			ALTER TABLE t REPLICA IDENTITY FULL;
			INSERT INTO t SELECT i, repeat(chr(97 + i), 5000), 'old', decode(repeat(to_hex(16 + i), 4000), 'hex')
			FROM generate_series(1, 10) i;
			SELECT notify_stats.create_rollup('r', 'SELECT k, left(big, 5) AS b, length(big) AS l, md5(big2) AS m,
				count(*) AS c FROM t GROUP BY 1, 2, 3, 4')},
		steps => [ q{
			UPDATE t SET k = 'new' WHERE id < 4;
			UPDATE t SET k = 'newer', big = big || 'x' WHERE id = 5;
			UPDATE t SET big = NULL WHERE id = 6; UPDATE t SET k = 'x' WHERE id = 6;
			UPDATE t SET big = repeat('y', 3000) WHERE id = 6;
			BEGIN; UPDATE t SET k = 'twice' WHERE id = 7; UPDATE t SET k = 'thrice' WHERE id = 7;
				UPDATE t SET big2 = NULL WHERE id = 7; COMMIT;
			UPDATE t SET id = 100 WHERE id = 8;
			DELETE FROM t WHERE id IN (1, 9);
			INSERT INTO t SELECT 200, big, k, big2 FROM t WHERE id = 10;
			UPDATE t SET big = (SELECT w.big FROM t w WHERE w.id = 3) WHERE id = 2} ],
		rebuilt => 0
	},
	{
		title => 'out-of-line values in a replica identity',
		setup => q{CREATE TABLE t (id int NOT NULL, big text NOT NULL, n int);
			ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL;
			CREATE UNIQUE INDEX i ON t (id, big);
			ALTER TABLE t REPLICA IDENTITY USING INDEX i;
			INSERT INTO t SELECT i, repeat(chr(97 + i), 2500) FROM generate_series(1, 10) i;
			SELECT notify_stats.create_rollup('r', 'SELECT id, left(big, 5) AS b, count(*) AS c FROM t GROUP BY 1, 2')},
		steps => [ q{UPDATE t SET n = 1 WHERE id < 5; UPDATE t SET id = id + 100 WHERE id < 3;
			UPDATE t SET big = repeat('z', 2500) WHERE id = 4;
			DELETE FROM t WHERE id = 5} ],
		rebuilt => 0
	},
	{
		title => 'a wide table',
		setup => 'CREATE TABLE t (' . join(', ', map { "c$_ int" } 1 .. 300) . q{);
			ALTER TABLE t REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('r', 'SELECT c300, c150, c1, count(*) AS c FROM t GROUP BY 1, 2, 3')},
		steps => [ q{INSERT INTO t (c1, c150, c300) SELECT i, i % 3, 5 FROM generate_series(1, 10) i;
			UPDATE t SET c77 = 1; UPDATE t SET c300 = c1 WHERE c150 = 1;
			DELETE FROM t WHERE c1 < 4} ],
		rebuilt => 0
	},
	{
		title => 'a rollup dropped and created anew',
		setup => $plain,
		steps => [ q{INSERT INTO t VALUES (11, 'a'); SELECT notify_stats.drop_rollup('r'); ALTER TABLE t RENAME TO u;
			DELETE FROM u WHERE id = 1;
			SELECT notify_stats.create_rollup('r', 'SELECT other, count(*) AS c FROM u GROUP BY 1');
			INSERT INTO u VALUES (12, 'a', 1, 'b')} ]
	});

# wal2json writes NaN and infinity as null.
my @null_scenarios = (
	{
		title => 'NaN in any column',
		ways => qr/pgoutput/,
		setup => q{CREATE TABLE t (id int PRIMARY KEY, x numeric, f float8);
			ALTER TABLE t REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('r', 'SELECT x, f, count(*) AS c FROM t GROUP BY x, f')},
		steps => [ q{INSERT INTO t VALUES (1, 'NaN', 'NaN'), (2, NULL, 'NaN'), (3, 'Infinity', '-Infinity'),
				(4, 'NaN', 'NaN'), (5, '-Infinity', NULL);
			UPDATE t SET x = NULL WHERE id = 1; UPDATE t SET f = 'Infinity' WHERE id = 3;
			DELETE FROM t WHERE id = 5} ],
		rebuilt => 0
	},
	{
		title => 'NaN in a column that is not null',
		ways => qr/wal2json/,
		setup => q{CREATE TABLE t (id int PRIMARY KEY, x numeric NOT NULL, f float8 NOT NULL);
			ALTER TABLE t REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('r', 'SELECT x, f, count(*) AS c FROM t GROUP BY x, f')},
		steps => [
			q{INSERT INTO t VALUES (1, 1.5, 2.5), (2, 'NaN', 1), (3, 1, 'Infinity'), (4, '-Infinity', '-Infinity')},
			q{UPDATE t SET x = 1 WHERE id = 2; DELETE FROM t WHERE id = 3},
			'UPDATE t SET x = 2 WHERE id = 4',
			q{UPDATE t SET x = 'NaN' WHERE id = 1; DELETE FROM t}
		],
		rebuilt => 1
	},
	{
		title => 'a column kept from NaN by a constraint',
		setup => q{CREATE TABLE t (id int PRIMARY KEY, x numeric CHECK (x > '-Infinity' AND x < 'Infinity'),
				f float4 CHECK (f BETWEEN 0 AND 100));
			ALTER TABLE t REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('r', 'SELECT x, f, count(*) AS c FROM t GROUP BY x, f')},
		steps => [ q{INSERT INTO t VALUES (1, NULL, 1), (2, NULL, NULL), (3, 1, NULL), (4, 1, 100);
			UPDATE t SET x = NULL WHERE id > 2; UPDATE t SET f = 3 WHERE id = 2; UPDATE t SET x = 2 WHERE id = 1;
			DELETE FROM t WHERE id = 4} ],
		rebuilt => 0
	},
	{
		title => 'partitions and NaN',
		setup => q{CREATE TABLE t (id int, x numeric NOT NULL) PARTITION BY LIST (id);
			CREATE TABLE p1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF t DEFAULT;
			ALTER TABLE p1 REPLICA IDENTITY FULL; ALTER TABLE p2 REPLICA IDENTITY FULL;
			ALTER TABLE p1 ADD CHECK (x > '-Infinity' AND x < 'Infinity');
			SELECT notify_stats.create_rollup('r', 'SELECT x, count(*) AS c FROM t GROUP BY x')},
		steps => [ q{INSERT INTO t VALUES (1, 1), (2, 'NaN'), (2, 1)}, 'DELETE FROM t WHERE id = 2' ]
	});

# What the parser of wal2json's version 1 sees.  Names and facts are looked up by the same code in
# both versions, so that the other scenarios need not be tried twice.
my $parsed = qr/odd|maintenance|rewritten|later|transactions|messages|arrays|TRUNCATE|out-of-line|wide|NaN|
	binary|partitions|moment|a[ ]renamed[ ]table$/x;

sub is_chosen
{
	my ($way, $scenario) = @_;
	return $way->{name} =~ ($scenario->{ways} // qr//) &&
		($way->{name} ne 'wal2json 1' || $scenario->{title} =~ $parsed);
}

# Runs scenarios in a database, one after the other: with many rollups each look takes longer.
sub run_scenarios
{
	my ($db, $way, @list) = @_;
	my $number = 0;
	my $schema;

	in_db($db, q{CREATE TABLE kept (k int); ALTER TABLE kept REPLICA IDENTITY FULL;
		SELECT notify_stats.create_rollup('keeps_the_slot', 'SELECT k, count(*) AS c FROM kept GROUP BY k')});
	foreach my $scenario (grep { is_chosen($way, $_) } @list)
	{
		my $title = "$way->{name}: $scenario->{title}";
		my @steps = @{ $scenario->{steps} };
		my $before = defined $schema ? "SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups
			WHERE rollup IN (SELECT oid FROM pg_class WHERE relnamespace = '$schema'::regnamespace);" : '';
		my ($wrong, $built, $last, $ok);

		$schema = 'scenario' . ++$number;
		$before .= "CREATE SCHEMA $schema; SET search_path = $schema";
		($wrong, $built) = look($db, "$before; $scenario->{setup}", $schema);
		is($wrong, '', "$title: the setup") or next if $wrong;
		foreach my $i (0 .. $#steps)
		{
			if ($scenario->{fails_once})
			{
				errors_of($db, "SET search_path = $schema; $steps[$i]; CALL notify_stats.catch_up()");
				$steps[$i] = 'SELECT';
			}
			($ok, $last) = is_caught_up($db, @steps > 1 ? "$title, " . ($i + 1) : $title,
				"SET search_path = $schema; $steps[$i]", $schema);
			last if !$ok;
		}
		next if !$ok || !defined $scenario->{rebuilt};
		is($last ne $built ? 1 : 0, $scenario->{rebuilt}, "$title: rebuilt or not");
	}
	return;
}

sub test_scenarios
{
	foreach my $i (0 .. $#ways)
	{
		my $way = $ways[$i];
		my $db = new_database("scenarios$i");

		use_way($way);
		run_scenarios($db, $way, @scenarios, @null_scenarios);
		is(in_db($db, 'SELECT format FROM notify_stats.status'), $way->{format},
			"$way->{name}: the status tells the format");
	}
	return;
}

# --- the server's list of plugins -----------------------------------------------------

# A rollup in the format wal2json, with a server that does not list it.
sub test_allowed_plugins
{
	my $create = q{SELECT notify_stats.create_rollup('kinds', 'SELECT k, count(*) AS c FROM source GROUP BY k')};
	my ($error, $list, $before);

	if (sql($node, "SELECT current_setting('output_plugin_libraries', true) IS NULL") eq 't')
	{
		note('this server has no list of allowed output plugins');
		return;
	}
	use_way($ways[1]);
	sql($node, q{CREATE TABLE source (id int PRIMARY KEY, k text); ALTER TABLE source REPLICA IDENTITY FULL;
		INSERT INTO source VALUES (1, 'old')});
	$list = sql($node, 'SHOW output_plugin_libraries');
	$error = sql_error($node, $create);
	like($error, qr/ERROR:  42501: this server does not allow output plugin "wal2json"/,
		'a plugin that is not listed: an error');
	like($error, qr/HINT: .*\boutput_plugin_libraries = '\Q$list\E, wal2json'/, 'the hint has the line to write');
	is(sql($node, q{SELECT (SELECT count(*) FROM pg_replication_slots), to_regclass('kinds'),
		(SELECT count(*) FROM notify_stats.rollup)}), '0||0', 'nothing is half made');

	# done as it says, in the file
	$error =~ /(output_plugin_libraries = '[^']*')/ or die 'no line in the hint';
	$node->append_conf('postgresql.conf', $1);
	$node->reload;
	poll($node, q{SELECT current_setting('output_plugin_libraries') LIKE '%wal2json%'});
	sql($node, $create);
	sql($node, q{INSERT INTO source VALUES (2, 'new')});
	is_applied('postgres', 'with the line in postgresql.conf it works');

	# The permission goes while the stream is at work.
	sql($node, 'ALTER SYSTEM SET output_plugin_libraries = pgoutput, "odd-name", test_decoding');
	$node->reload;
	poll($node, q{SELECT current_setting('output_plugin_libraries') NOT LIKE '%wal2json%'});
	$before = sql($node, 'SELECT confirmed_flush_lsn FROM pg_replication_slots');
	sql($node, q{INSERT INTO source VALUES (3, 'newer')});
	poll($node, q{SELECT last_error LIKE 'this server does not allow output plugin "wal2json"%'
		FROM notify_stats.status WHERE stream = 'main'});
	pass('a permission that is gone: the status tells');
	$before = sql($node, 'SELECT confirmed_flush_lsn FROM pg_replication_slots');
	sql($node, 'SELECT pg_switch_wal()');
	poll($node, q{SELECT count(*) = 0 FROM pg_stat_activity
		WHERE backend_type = 'notify_stats worker' AND datname = 'postgres'});
	wait_for_worker($node);
	is(sql($node, 'SELECT confirmed_flush_lsn FROM pg_replication_slots'), $before, 'the slot does not move');
	is(sql($node, q{SELECT count(*) FROM kinds WHERE k = 'newer'}), '0', 'nothing is applied');
	is(sql($node, 'SELECT state FROM notify_stats.rollups'), 'live', 'nothing is stale');

	# done as the hint says, by ALTER SYSTEM, with a name in the list that needs quotes
	$error = sql_error($node, 'CALL notify_stats.catch_up()');
	$error =~ /(ALTER SYSTEM SET output_plugin_libraries = [^;]*;)/ or die 'no statement in the hint';
	sql($node, $1);
	$node->reload;
	is_applied('postgres', 'with the ALTER SYSTEM of the hint it goes on');
	is(sql($node, q{SELECT string_agg(k, ' ' ORDER BY k) FROM kinds}), 'new newer old', 'and nothing is lost');

	# lists to which one cannot just append
	foreach my $odd ('', 'pgoutput, odd-name, $libdir/other')
	{
		$node->append_conf('postgresql.conf', "output_plugin_libraries = '$odd'");
		sql($node, 'ALTER SYSTEM RESET output_plugin_libraries');
		$node->reload;
		poll($node, "SELECT current_setting('output_plugin_libraries') = '$odd'");
		$error = sql_error($node, $create);
		$error =~ /(ALTER SYSTEM SET output_plugin_libraries = [^;]*;)/ or die 'no statement in the hint';
		is(errors_of('postgres', $1), '', "the hint for the list '$odd' is a statement") or next;
		$node->reload;
		poll($node, "SELECT current_setting('output_plugin_libraries') <> '$odd'");
		like(sql_error($node, $create), qr/already exists/, 'and it helps');
	}
	sql($node, 'ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json');
	$node->reload;
	is_applied('postgres', 'and goes on');
	drop_rollups('postgres');
	return;
}

# --- values ---------------------------------------------------------------------------

# Columns with values that are hard to write, hard to read, or easy to take for another.  Row
# number i has the value number i, modulo how many there are, in each of them.
my $specials = q{(SELECT string_agg(chr(i), '') FROM generate_series(1, 127) i)};
my @columns = (
	# of the first rollup
	[ 'n', 'numeric NOT NULL', '0',
		'1234567890123456789012345678901234567890.0123456789012345678901234567890123456789',
		'-0.00000000000000000000000000000000000000000000000000000000000000000001', "'1e131071'::numeric / '1e130900'",
			'-7' ],
	[ 'price', 'test_price', '1.10', q{'NaN'}, 'NULL', '-99999999999999999999.000001' ],
	[ 'f8', 'float8 NOT NULL', q{'0.1'::float8 + '0.2'::float8}, q{'5e-324'}, q{'1.7976931348623157e308'}, q{'-0'},
		'1e23', q{'123456789.123456789'} ],
	[ 'f4', 'float4 NOT NULL', q{'1.1'}, q{'3.4028235e38'}, q{'1e-45'}, q{'16777217'} ],
	[ 'ts', 'timestamp', q{'infinity'}, q{'-infinity'}, q{'0044-03-15 12:00:00 BC'},
		q{'294276-12-31 23:59:59.999999'}, q{'2026-02-03 01:30:00.123456'}, 'NULL' ],
	[ 'tz', 'timestamptz', q{'2026-02-03 00:00+05:45'}, q{'1883-11-18 12:03:58-04:56:02'}, q{'infinity'},
		q{'0001-01-01 00:00+00 BC'}, q{'2026-07-01 02:03:04.000001-12'} ],
	[ 'd', 'date', q{'infinity'}, q{'-infinity'}, q{'4713-01-01 BC'}, q{'5874897-12-31'}, q{'2026-02-03'}, 'NULL' ],
	[ 't1', 'time', q{'24:00:00'}, q{'23:59:59.999999'}, q{'00:00'} ],
	[ 'ttz', 'timetz', q{'12:00:00+05:45'}, q{'04:05:06.789-15:59:59'}, q{'12:00:00+00'} ],
	[ 'iv', 'interval', q{'-1 year 2 mons -3 days 04:05:06.789'}, q{'1 mon -1 days'}, q{'178000000 years'}, q{'0'},
		q{'-0.000001 s'}, q{'-1 year -2 mons 3 days -04:05:06'} ],
	[ 'i8', 'bigint', '-9223372036854775808', '9223372036854775807', 'NULL' ],
	[ 'i2', 'smallint', '-32768', '0' ],
	[ 'o', 'oid', '4294967295', '0' ],
	[ 'b', 'boolean', 'true', 'false', 'NULL' ],
	[ 'u', 'uuid', q{'00000000-0000-0000-0000-000000000000'}, q{md5('a')::uuid} ],

	# of the second
	[ 'x', 'text', $specials, q{''}, q{' '}, q{'null'}, q{'\u0041\n"\\'},
		q{U&'\+01F600\+10FFFF\FFFF\2028\00E9e\0301'}, 'NULL', q{'\x00'} ],
	[ 'xd', 'test_text', $specials, q{'\x41'}, q{U&'\+01F600'}, 'NULL' ],
	[ 'by', 'bytea', q{(SELECT string_agg(set_byte('\x00', 0, i), '' ORDER BY i) FROM generate_series(0, 255) i)},
		q{''}, q{'\x00'}, q{'\x5c783431'}, q{'\x5c5c22'}, 'NULL' ],
	[ 'byd', 'test_bytes', q{'\x005c78ff'}, q{''}, q{'\x7834'}, 'NULL' ],
	[ 'c5', 'char(5)', q{'a'}, q{'a b'}, q{''}, q{U&'\+01F600'}, 'NULL' ],
	[ 'vc', 'varchar(3)', q{'abc'}, q{'  '}, q{'"\/'} ],
	[ 'cc', '"char"', q{'x'}, q{''}, q{'\'}, q{'"'}, '(-56)::"char"' ],
	[ 'nm', 'name', q{'a"b\c'}, q{''}, q{U&'\00E9'} ],
	[ 'e', 'test_enum', q{'it''s "so", \back'}, q{''}, q{' NULL '}, q{U&'\+01F600'}, 'NULL' ],
	[ 'jb', 'jsonb', q{'{"a": "\u00e9\n\"", "b": [1, null, 1e400]}'}, q{'null'}, q{'"x"'}, q{'1.10'}, 'NULL' ],

	# of the third
	[ 'xa', 'text[]', q{ARRAY['a,b', 'c"d', '\', NULL, 'NULL', '', ' ', '{}']}, q{'[2:3]={x,y}'}, q{'{{a,b},{c,d}}'},
		q{'{}'}, 'ARRAY[NULL]::text[]', q{ARRAY['NULL']}, 'NULL' ],
	[ 'na', 'numeric[]', q{ARRAY[1.10, 'NaN', NULL, '-Infinity', 1e-40]::numeric[]}, q{'{}'} ],
	[ 'tza', 'timestamptz[]', q{ARRAY['2026-02-03 00:00+05:45', 'infinity', NULL]::timestamptz[]},
		q{ARRAY['2026-03-02 00:00+05:45']::timestamptz[]} ],
	[ 'bya', 'bytea[]', q{ARRAY['\x005c', '', NULL]::bytea[]}, 'NULL' ],
	[ 'fa', 'float8[]', q{ARRAY['0.1'::float8 + '0.2'::float8, 'NaN', '-Infinity']}, q{'{}'} ],
	[ 'iva', 'interval[]', q{ARRAY['-1 year 2 mons -3 days 04:05:06.789'::interval]}, 'NULL' ],
	[ 'pd', 'test_nested', q{ARRAY[1.1, NULL]::test_price[]}, 'NULL' ],
	[ 'co', 'test_pair', q{ROW(1.10, 'a, "b" (c) \ ', '\xff00', '2026-02-03')::test_pair},
		'ROW(NULL, NULL, NULL, NULL)::test_pair', q{ROW('NaN', '', '', 'infinity')::test_pair}, 'NULL' ],
	[ 'ir', 'int4range', q{'[1,5)'}, q{'empty'}, q{'(,3)'} ],
	[ 'tr', 'tstzrange', q{'[2026-02-03 00:00+05:45,infinity)'}, q{'(,2026-03-02 00:00+00]'} ],
	[ 'mr', 'nummultirange', q{'{[1.10,2),(3,)}'}, q{'{}'} ],
	[ 'ip', 'inet', q{'::ffff:1.2.3.4/96'}, q{'10.0.0.1/8'} ],
	[ 'mac', 'macaddr', q{'08:00:2b:01:02:03'} ],

	# types that one cannot group by: of the fourth, as text
	[ 'j', 'json', q{'{"a":  "\u00e9\u0000", "a": 1}'}, q{' null '}, 'NULL' ],
	[ 'bi', 'bit(9)', q{B'101010101'}, q{B'000000000'} ],
	[ 'vb', 'varbit', q{B''}, q{B'1'} ],
	[ 'tv', 'tsvector', q{$$'a''b':1A 'c\\d':2$$::tsvector}, q{''} ],
	[ 'pt', 'point', q{point(-0.5, 'NaN')}, 'point(1, 2)' ]);

# The names of columns FROM to TO.
sub columns_between
{
	my ($from, $to) = @_;
	my @all = map { $_->[0] } @columns;
	my ($first) = grep { $all[$_] eq $from } 0 .. $#all;
	my ($last) = grep { $all[$_] eq $to } 0 .. $#all;

	return @all[ $first .. $last ];
}

# The statements of a test with some of the columns.
sub value_statements
{
	my @used = @_;
	my $names = join ', ', map { $_->[0] } @used;
	my %used = map { $_->[0] => 1 } @used;
	my @rollups = (
		[ columns_between('n', 'u') ],
		[ columns_between('x', 'jb') ],
		[ columns_between('xa', 'mac') ],
		[ map { "$_\::text AS $_" } columns_between('j', 'pt') ]);
	my $values = sub {
		my ($i) = @_;
		return join ', ', map { my ($name, $type, @values) = @$_; $values[ $i % @values ] } @used;
	};
	my $number = 0;
	my %statements;

	$statements{create} = q{
		DROP TABLE IF EXISTS v CASCADE;
		DROP TYPE IF EXISTS test_nested, test_price, test_text, test_bytes, test_bytes0, test_enum, test_pair;
		CREATE DOMAIN test_price AS numeric(30, 6) CHECK (VALUE > -1e20);
		CREATE DOMAIN test_text AS text;
		CREATE DOMAIN test_bytes0 AS bytea; CREATE DOMAIN test_bytes AS test_bytes0;
		CREATE DOMAIN test_nested AS test_price[];
		CREATE TYPE test_enum AS ENUM ('it''s "so", \back', '', ' NULL ', U&'\+01F600');
		CREATE TYPE test_pair AS (a numeric, b text, c bytea, d date);
		CREATE TABLE v (id int PRIMARY KEY, unused int, } . join(', ', map { "$_->[0] $_->[1]" } @used) . q{);
		ALTER TABLE v REPLICA IDENTITY FULL;
	};
	foreach my $rollup (@rollups)
	{
		my @groups = grep { $used{ s/::.*//r } } @$rollup;
		$statements{create} .= sprintf "SELECT notify_stats.create_rollup('values%d',
			'SELECT %s, count(*) AS c FROM v GROUP BY %s');\n",
			++$number, join(', ', @groups), join(', ', 1 .. @groups);
	}
	$statements{insert} = join "\n", map { "INSERT INTO v (id, $names) VALUES ($_, " . $values->($_) . ');' } 1 .. 16;
	$statements{update} = join "\n",
	  map { "UPDATE v SET ($names) = ROW (" . $values->($_ + 1) . ") WHERE id = $_;" } 1 .. 16;
	return %statements;
}

# In a database with settings that change how values are written, by itself and by the role of the
# worker.
sub test_values
{
	my $worker = wait_for_worker($node, 'bites');
	# with columns of other types pgoutput speaks text
	my %has_no_binary_form = map { $_ => 1 } 'co', 'ir', 'tr', 'mr';
	my $set = 'SET search_path = public;';
	my @value_ways = (
		{ %$pgoutput, columns => [ grep { !$has_no_binary_form{ $_->[0] } } @columns ] },
		{ %$pgoutput, name => 'pgoutput in text' },
		@ways[ 1, 2 ]);

	sql($node, q{
		ALTER DATABASE bites SET DateStyle = 'German, YMD';
		ALTER DATABASE bites SET IntervalStyle = 'sql_standard';
		ALTER DATABASE bites SET bytea_output = 'escape';
		ALTER DATABASE bites SET client_encoding = 'LATIN1';
		ALTER DATABASE bites SET quote_all_identifiers = on;
		ALTER DATABASE bites SET search_path = '';
		ALTER ROLE postgres IN DATABASE bites SET extra_float_digits = -5;
		ALTER ROLE postgres IN DATABASE bites SET TimeZone = 'Asia/Kathmandu'});
	# a new worker, with these settings
	sql($node, "SELECT pg_terminate_backend($worker)");
	wait_for_worker($node, 'bites', $worker);

	foreach my $way (@value_ways)
	{
		my $name = $way->{name};
		my %statements = value_statements(@{ $way->{columns} // \@columns });

		use_way($way);
		in_db('bites', "$set $statements{create}");
		in_db('bites', "$set $statements{insert}");
		is_applied('bites', "$name: inserted values of all types");
		in_db('bites', "$set $statements{update}; UPDATE v SET unused = 1");
		is_applied('bites', "$name: updated");
		in_db('bites', 'DELETE FROM public.v WHERE id % 3 = 0');
		is_applied('bites', "$name: deleted");
		in_db('bites', 'DELETE FROM public.v');
		is_applied('bites', "$name: all deleted");
		drop_rollups('bites');
	}
	return;
}

# Databases in other encodings, and clients in yet another.
sub test_encodings
{
	my %encodings = (
		LATIN1 => [ q{chr(233) || chr(255) || chr(128) || '"\'}, q{U&'\00e9\00ff'}, 'U&"t\00e9 \00ff"' ],
		SQL_ASCII => [ q{E'\xff\xfe\x80"\\\\'}, q{E'\xe9'}, qq{"t\xe9 \xff"} ]);

	foreach my $encoding (sort keys %encodings)
	{
		my ($text, $label, $name) = @{ $encodings{$encoding} };

		foreach my $i (0 .. $#ways)
		{
			my $db = lc($encoding) . $i;

			use_way($ways[$i]);
			sql($node, "CREATE DATABASE $db ENCODING '$encoding' TEMPLATE template0 LOCALE 'C'");
			in_db($db, qq{CREATE EXTENSION notify_stats; $functions
				CREATE TYPE e AS ENUM ($label, 'b');
				CREATE TABLE $name (id int PRIMARY KEY, $name text, e e, c char(5), n name, a text[]);
				ALTER TABLE $name REPLICA IDENTITY FULL;
				SELECT notify_stats.create_rollup('r',
					\$\$SELECT $name, e, c, n, a, count(*) AS c1 FROM $name GROUP BY 1, 2, 3, 4, 5\$\$)});
			# of the client that calls catch_up()
			local $ENV{PGCLIENTENCODING} = 'UTF8';
			errors_of($db, 'CALL notify_stats.catch_up()');
			{
				local $ENV{PGCLIENTENCODING} = $encoding;
				in_db($db, qq{
					INSERT INTO $name VALUES (1, $text, $label, left($text, 5), $text, ARRAY[$text, NULL]),
					(2, 'a', 'b', '', '', '{}'),
					(3, $text, $label, $text, $text, ARRAY[$text, NULL]);
					UPDATE $name SET $name = $name || 'x' WHERE id = 1; DELETE FROM $name WHERE id = 3});
			}
			is_caught_up($db, "$ways[$i]{name}: a database in $encoding");
			is(in_db($db, "SELECT count(*) FROM r"), '2', 'and it counts');
		}
	}
	return;
}

# --- refusals -------------------------------------------------------------------------

sub test_refusals
{
	my $db = new_database('refusals');

	use_way($ways[1]);
	in_db($db, q{
		CREATE TABLE nan (id int PRIMARY KEY, "X y" numeric, f float8 CHECK (f > 0), d numeric);
		ALTER TABLE nan ADD CHECK (d > '-Infinity' AND d < 'Infinity') NOT VALID;
		ALTER TABLE nan REPLICA IDENTITY FULL});
	foreach my $column ('"X y"', 'f', 'd')
	{
		my $error = sql_error($node,
			"SELECT notify_stats.create_rollup('r', 'SELECT $column, count(*) AS c FROM nan GROUP BY 1')", $db);
		my $bare = $column =~ tr/"//dr;

		like($error, qr/ERROR:  0A000: definition reads column "$bare", of which wal2json does not tell all values/,
			"wal2json: a nullable column of floats or numeric is refused: $column");
		like($error, qr/HINT: .*NOT NULL.*CHECK \(\Q$column\E > '-Infinity' AND \Q$column\E < 'Infinity'\)/,
			'with a constraint to add');
	}
	in_db($db, q{
		ALTER TABLE nan ADD CHECK ("X y" > '-Infinity' AND "X y" < 'Infinity');
		SELECT notify_stats.create_rollup('public.r', 'SELECT "X y", count(*) AS c FROM nan GROUP BY 1')});
	is_caught_up($db, 'wal2json: with the constraint of the hint it is accepted');
	is_caught_up($db, 'wal2json: and null counts as null', 'INSERT INTO nan VALUES (1, NULL), (2, 5), (3, NULL)');
	is(in_db($db, 'SELECT c FROM r WHERE "X y" IS NULL'), '2', 'of which there are two');

	# the constraint goes, and with it what null means
	in_db($db, q{ALTER TABLE nan DROP CONSTRAINT "nan_X y_check"; INSERT INTO nan VALUES (4, 'NaN')});
	errors_of($db, 'CALL notify_stats.catch_up()');
	errors_of($db, 'CALL notify_stats.catch_up()');
	like(in_db($db, "SELECT * FROM test.wrong('public')"), qr/^public\.r is failed: definition reads column "X y"/,
		'wal2json: without the constraint the rollup fails');
	is_caught_up($db, 'wal2json: and comes back when the column is NOT NULL', q{DELETE FROM nan WHERE "X y" IS NULL;
		ALTER TABLE nan ALTER "X y" SET NOT NULL; SELECT notify_stats.rebuild('r')});

	# stored generated columns
	$db = new_database('refusals2');
	use_way($pgoutput);
	in_db($db, q{CREATE TABLE t (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED);
		ALTER TABLE t REPLICA IDENTITY FULL});
	my $create = q{SELECT notify_stats.create_rollup('r', 'SELECT twice, count(*) AS c FROM t GROUP BY 1')};
	my $change = 'INSERT INTO t (id, n) SELECT i, i % 3 FROM generate_series(1, 10) i;
		UPDATE t SET n = 7 WHERE id < 4; DELETE FROM t WHERE id = 9';
	if (sql($node, "SELECT current_setting('server_version_num')::int < 180000") eq 't')
	{
		my $error = sql_error($node, $create, $db);
		like($error, qr/ERROR:  0A000: definition reads the generated column "twice"/,
			'pgoutput: a generated column is refused');
		like($error, qr/HINT: .*expression/, 'with a hint');
		is_caught_up($db, 'pgoutput: but its expression is not',
			q{SELECT notify_stats.create_rollup('r', 'SELECT n * 2 AS twice, count(*) AS c FROM t GROUP BY 1');
				CALL notify_stats.catch_up();} . $change);
	}
	use_way($ways[1]);
	$db = new_database('refusals3');
	is_caught_up($db, 'wal2json: a generated column', q{
		CREATE TABLE t (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED);
		ALTER TABLE t REPLICA IDENTITY FULL;} .
		"$create; CALL notify_stats.catch_up(); $change");
	return;
}

# A partition that lacks a replica identity: wal2json leaves its updates and deletes out.
sub test_partition_without_identity
{
	foreach my $way (grep { $_ != $pgoutput } @ways)
	{
		my $db = new_database("identity$way->{version}");

		use_way($way);
		in_db($db, "$partitioned; CALL notify_stats.catch_up()");
		in_db($db, q{CREATE TABLE p2 PARTITION OF t FOR VALUES FROM (200) TO (300);
			INSERT INTO t VALUES (201, 'a'), (202, 'a'), (203, 'b')});
		errors_of($db, 'CALL notify_stats.catch_up()');
		in_db($db, q{DELETE FROM t WHERE id = 201; UPDATE t SET k = 'b' WHERE id = 202});
		errors_of($db, 'CALL notify_stats.catch_up()');
		errors_of($db, 'CALL notify_stats.catch_up()');
		like(in_db($db, "SELECT * FROM test.wrong('public')"),
			qr/^(public\.r is failed: replica identity of partition "p2" does not cover.*)?$/,
			"$way->{name}: a partition without a replica identity: exact, or failed with that reason");
		is_caught_up($db, "$way->{name}: and rebuild() brings it back",
			q{ALTER TABLE p2 REPLICA IDENTITY FULL; SELECT notify_stats.rebuild('r')});
		is_caught_up($db, "$way->{name}: to stay", 'DELETE FROM t WHERE id = 203');
	}
	return;
}

# --- version 1 of wal2json ------------------------------------------------------------

sub test_versions
{
	my $db = new_database('versions');
	my ($before, $after);

	use_way($ways[1]);
	in_db($db, q{
		CREATE TABLE t (id serial PRIMARY KEY, k text);
		ALTER TABLE t REPLICA IDENTITY FULL;
		SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c FROM t GROUP BY k');
		CALL notify_stats.catch_up()});
	foreach my $way ($ways[2], $ways[1], $ways[2])
	{
		in_db($db, q{INSERT INTO t (k) VALUES ('before'), ('before'); TRUNCATE t;
			INSERT INTO t (k) VALUES ('before')});
		use_way($way);
		is_caught_up($db, "$way->{name}: after the version was switched",
			q{INSERT INTO t (k) VALUES ('after'); DELETE FROM t WHERE id = (SELECT min(id) FROM t)});
	}
	is(in_db($db, 'SELECT plugin FROM pg_replication_slots WHERE database = current_database()'), 'wal2json',
		'with the same slot');

	# Small transactions, so that the ends of batches lie in commit records: of the text of
	# version 1 only where such a record ends is known.
	foreach my $way (@ways)
	{
		my $name = $way->{name};

		$db = new_database('batches_' . $way->{format} . $way->{version});
		set_and_reload($node, 'notify_stats.max_batch_wal' => '64kB');
		use_way($way);
		in_db($db, q{
			CREATE TABLE t (id serial, k text);
			ALTER TABLE t REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c FROM t GROUP BY k');
			CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
			BEGIN
				FOR i IN 1..6000 LOOP
					INSERT INTO t (k) VALUES (repeat('x', i % 7));
					COMMIT;
				END LOOP;
			END $$;
		});
		(undef, $before) = is_caught_up($db, "$name: with small batches");
		(undef, $after) = is_caught_up($db, "$name: many small transactions",
			'SET synchronous_commit = off; CALL fill()');
		is($after, $before, "$name: without a rebuild");
		is(in_db($db, 'SELECT sum(c) FROM r'), '6000', "$name: and each row is counted once");
		set_and_reload($node, 'notify_stats.max_batch_wal' => undef);
	}
	return;
}

# --- errors of reading ----------------------------------------------------------------

# The elements of an array are checked when its text is read, by constraints that may be younger.
sub test_unreadable
{
	my $setup = q{
		CREATE DOMAIN small AS int;
		CREATE TABLE moods (id int PRIMARY KEY, m small[], k text);
		ALTER TABLE moods REPLICA IDENTITY FULL;
		INSERT INTO moods VALUES (1, '{1}', 'a');
		SELECT notify_stats.create_rollup('by_mood', 'SELECT m, count(*) AS c FROM moods GROUP BY m');
		SELECT notify_stats.create_rollup('by_kind', 'SELECT k, count(*) AS c FROM moods GROUP BY k');
	};
	my $change = q{INSERT INTO moods VALUES (2, '{2}', 'b'); INSERT INTO moods VALUES (3, '{-1}', 'b')};
	my $constrain = q{ALTER DOMAIN small ADD CONSTRAINT positive CHECK (VALUE > 0) NOT VALID};
	# the rollups as they are, and where the stream stands
	my $state = q{SELECT (SELECT string_agg(r::text, ' ' ORDER BY r::text) FROM by_kind r),
		(SELECT sum(c) FROM by_mood), (SELECT applied_lsn FROM notify_stats.stream),
		(SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE database = current_database())};
	my $last_error = q{SELECT last_error FROM notify_stats.status WHERE stream = 'main'};
	# what was wrong, and where: the slot, a position, a transaction
	my $what = qr{value for domain (?:public\.)?small violates check constraint "positive"};
	my $where = qr{\bslot "notify_stats_\d+"\W.*\b[0-9A-F]+/[0-9A-F]+, transaction \d+};
	my ($db, $before, $offset);

	foreach my $i (0 .. $#ways)
	{
		my $name = $ways[$i]{name};

		$db = new_database("unreadable$i");
		use_way($ways[$i]);
		in_db($db, "$setup; CALL notify_stats.catch_up(); $change; $constrain");
		$before = in_db($db, $state);
		like(errors_of($db, 'CALL notify_stats.catch_up()'), qr{$what.*$where}s,
			"$name: a value that cannot be read: an error that says where");
		like(in_db($db, $last_error), qr{$what.*$where}, "$name: and so does the status");
		is(in_db($db, $state), $before, "$name: nothing is applied, and the slot does not move");
		is_caught_up($db, "$name: the next one rebuilds, and all is well");
	}

	# The worker starts again, once.
	use_way($pgoutput);
	sql($node, $setup);
	wait_until_applied($node);
	sql($node, 'SELECT notify_stats.pause()');
	sql($node, "$change; $constrain");
	$offset = log_position($node);
	sql($node, 'SELECT notify_stats.resume()');
	is_applied('postgres', 'the worker has the rollups rebuilt');
	like(sql($node, $last_error), qr{$what.*$where}, 'and tells where the value was');
	is(scalar(() = slurp_file($node->logfile, $offset) =~ /ERROR:  $what/g), 1, 'it has met it once');
	sql($node, q{INSERT INTO moods VALUES (4, '{4}', 'c')});
	is_applied('postgres', 'and goes on');
	drop_rollups('postgres');
	return;
}

# Reading a value of a domain must not run its constraints as a superuser, nor stop everybody's
# stream if they fail.
sub test_domains
{
	foreach my $i (0 .. $#ways)
	{
		my $name = $ways[$i]{name};
		my $db = new_database("domains$i");

		use_way($ways[$i]);
		in_db($db, q{
			CREATE TABLE innocent (id int PRIMARY KEY, k text);
			ALTER TABLE innocent REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('innocent_rollup', 'SELECT k, count(*) AS c FROM innocent GROUP BY k');
			GRANT CREATE ON SCHEMA public TO mallory;
			CREATE TABLE spied (who text); GRANT ALL ON spied TO PUBLIC;
			CREATE TABLE broken (); GRANT ALL ON broken TO PUBLIC;
			SET ROLE mallory;
			CREATE FUNCTION spy(int) RETURNS boolean LANGUAGE plpgsql AS $$
			BEGIN
				INSERT INTO public.spied VALUES (current_user);
				IF EXISTS (SELECT FROM public.broken) THEN
					RAISE 'today the domain takes nothing';
				END IF;
				RETURN true;
			END $$;
			CREATE DOMAIN d AS int CHECK (public.spy(VALUE));
			CREATE TYPE pair AS (d d);
			CREATE TABLE t (id int PRIMARY KEY, d d, a d[], p pair);
			ALTER TABLE t REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('r', 'SELECT d, a, p, count(*) AS c FROM t GROUP BY d, a, p');
			RESET ROLE;
			CALL notify_stats.catch_up()});
		is_caught_up($db, "$name: values of domains", q{
			SET ROLE mallory;
			INSERT INTO t VALUES (1, 1, '{2}', '(3)'), (2, 4, NULL, NULL);
			UPDATE t SET d = 5 WHERE id = 2;
			RESET ROLE});
		is(in_db($db, q{SELECT DISTINCT who FROM spied}), 'mallory',
			"$name: a domain's constraint never runs as somebody else");

		in_db($db, q{
			SET ROLE mallory; INSERT INTO t VALUES (6, 6);
			RESET ROLE; INSERT INTO innocent VALUES (1, 'a'); INSERT INTO broken DEFAULT VALUES});
		# the first may fail, for the second to know whose fault it was
		errors_of($db, 'CALL notify_stats.catch_up()');
		errors_of($db, 'CALL notify_stats.catch_up()');
		is(in_db($db, 'SELECT * FROM innocent_rollup'), 'a|1', "$name: if it fails, that is nobody else's trouble");
	}
	return;
}

# --- the publication ------------------------------------------------------------------

my $published = q{SELECT string_agg(prrelid::regclass::text, ' ' ORDER BY prrelid::regclass::text)
	FROM pg_publication_rel};

# Alters the publication in all ways while changes are unread.
sub test_publication_altered
{
	my $db = new_database('publication');
	# nothing else is allowed to who writes a table of which only some columns are published
	my $insert = q{INSERT INTO t (k) VALUES ('a'), ('b')};
	my %alterations = (
		'a table taken out' => [ 'ALTER PUBLICATION notify_stats DROP TABLE t', 'SELECT' ],
		'a table taken out and put back' =>
			[ 'ALTER PUBLICATION notify_stats DROP TABLE t', 'ALTER PUBLICATION notify_stats ADD TABLE t' ],
		'taken out and put back in one transaction' =>
			[ 'BEGIN; ALTER PUBLICATION notify_stats DROP TABLE t',
				'ALTER PUBLICATION notify_stats ADD TABLE t; COMMIT' ],
		'only inserts published' => [ q{ALTER PUBLICATION notify_stats SET (publish = 'insert')}, 'SELECT' ],
		'only inserts published for a moment' =>
			[ q{ALTER PUBLICATION notify_stats SET (publish = 'insert')},
				q{ALTER PUBLICATION notify_stats SET (publish = 'insert, update, delete, truncate')} ],
		'partitions published as their root' =>
			[ 'ALTER PUBLICATION notify_stats SET (publish_via_partition_root = true)', 'SELECT' ],
		'some rows published' => [ 'ALTER PUBLICATION notify_stats SET TABLE t WHERE (id > 1000000)', 'SELECT' ],
		'some columns published' => [ 'ALTER PUBLICATION notify_stats SET TABLE t (id)', 'SELECT', $insert ],
		'another table published' =>
			[ 'ALTER PUBLICATION notify_stats ADD TABLE elsewhere.beside', 'INSERT INTO elsewhere.beside SELECT' ],
		'a schema published' =>
			[ 'ALTER PUBLICATION notify_stats ADD TABLES IN SCHEMA elsewhere', 'INSERT INTO elsewhere.beside SELECT' ],
		'renamed' => [ 'ALTER PUBLICATION notify_stats RENAME TO mine', 'SELECT' ],
		'dropped' => [ 'DROP PUBLICATION notify_stats', 'SELECT' ],
		'dropped and made anew by somebody who knows us' => [ 'DROP PUBLICATION notify_stats',
			q{CREATE PUBLICATION notify_stats FOR TABLE t;
				COMMENT ON PUBLICATION notify_stats IS 'made by notify_stats for its own slot'} ]);
	my $change = qq{$insert; UPDATE t SET k = 'b' WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0;
		INSERT INTO u VALUES (1, 'a')};

	use_way($pgoutput);
	is_caught_up($db, 'pgoutput: with a publication of ours', qq{
		CREATE TABLE t (id serial PRIMARY KEY, k text); ALTER TABLE t REPLICA IDENTITY FULL;
		CREATE TABLE u (id int, k text) PARTITION BY LIST (id); CREATE TABLE u1 PARTITION OF u FOR VALUES IN (1);
		ALTER TABLE u1 REPLICA IDENTITY FULL;
		CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.beside (acl aclitem[] DEFAULT '{postgres=r/postgres}');
		INSERT INTO t (k) SELECT 'old' FROM generate_series(1, 100);
		SELECT notify_stats.create_rollup('rt', 'SELECT k, count(*) AS c FROM t GROUP BY k');
		SELECT notify_stats.create_rollup('ru', 'SELECT k, count(*) AS c FROM u GROUP BY k');
		SELECT notify_stats.create_rollup('both',
			'SELECT k, count(*) AS c FROM (SELECT k FROM t UNION ALL SELECT k FROM u) x GROUP BY k')});
	is(in_db($db, $published), 't u', 'of the sources');

	foreach my $title (sort keys %alterations)
	{
		my ($alter, $restore, $meanwhile) = @{ $alterations{$title} };

		$meanwhile //= $change;
		in_db($db, "$change; $alter; $meanwhile; $restore; $meanwhile");
		# another table may have no binary form, which is found out once
		errors_of($db, 'CALL notify_stats.catch_up()') if $title =~ /schema/;
		is_caught_up($db, "the publication: $title", 'SELECT');
		is_caught_up($db, "the publication: $title, and afterwards", "$change; DROP PUBLICATION IF EXISTS mine");
	}

	# A table leaves with the last rollup that reads it, whatever became of that.
	my $clean = 'ALTER PUBLICATION notify_stats DROP TABLE u';
	is_caught_up($db, 'a rollup dropped', q{SELECT notify_stats.drop_rollup('both')});
	is(in_db($db, $published), 't u', 'of tables that others read');
	is_caught_up($db, 'another dropped', q{SELECT notify_stats.drop_rollup('ru')});
	is(in_db($db, $published), 't', 'takes its table out of the publication');
	in_db($db, q{
		INSERT INTO u VALUES (1, '0');
		SELECT notify_stats.create_rollup('failing', 'SELECT 1 / k::int AS k, count(*) AS c FROM u GROUP BY 1')});
	errors_of($db, 'CALL notify_stats.catch_up()');
	is_caught_up($db, 'a rollup dropped that never was', q{SELECT notify_stats.drop_rollup('failing')});
	is(in_db($db, $published), 't', 'takes its table with it as well') or errors_of($db, $clean);

	# even if somebody has locked the table just then
	in_db($db, q{SELECT notify_stats.create_rollup('ru', 'SELECT k, count(*) AS c FROM u GROUP BY k');
		CALL notify_stats.catch_up()});
	my $locker = $node->background_psql($db);
	$locker->query_safe('BEGIN; LOCK TABLE u IN SHARE UPDATE EXCLUSIVE MODE');
	is_caught_up($db, 'a rollup dropped while somebody works on its table', q{SELECT notify_stats.drop_rollup('ru')});
	$locker->query_safe('COMMIT');
	$locker->quit;
	in_db($db, q{INSERT INTO t (k) VALUES ('a'); CALL notify_stats.catch_up(); CHECKPOINT;
		INSERT INTO t (k) VALUES ('a'); CALL notify_stats.catch_up()});
	is(in_db($db, $published), 't', 'takes its table out when the lock is free') or errors_of($db, $clean);

	# another format, another slot
	use_way($ways[1]);
	drop_slot_of($db);
	is_caught_up($db, 'a new slot of another format');
	is(in_db($db, 'SELECT format FROM notify_stats.stream'), 'wal2json', 'the format is what the settings say');
	is(in_db($db, 'SELECT count(*) FROM pg_publication'), '0', 'and leaves no publication behind');
	use_way($pgoutput);
	drop_slot_of($db);
	is_caught_up($db, 'and back', $change);
	is(in_db($db, $published), 't', 'with its publication');
	in_db($db, q{SELECT notify_stats.drop_rollup('rt'); CALL notify_stats.catch_up()});
	is(in_db($db, 'SELECT count(*) FROM pg_publication'), '0', 'the last rollup takes the publication with it');
	is(sql($node, "SELECT count(*) FROM pg_replication_slots WHERE database = '$db'"), '0', 'and the slot');
	return;
}

# With the worker: somebody else's publication, changes by hand while it runs, and the end.
sub test_publication_with_worker
{
	my $before;

	use_way($pgoutput);
	sql($node, q{
		CREATE TABLE beside (id int);
		CREATE PUBLICATION notify_stats FOR TABLE beside;
		CREATE TABLE p (id serial PRIMARY KEY, k text); ALTER TABLE p REPLICA IDENTITY FULL;
		SELECT notify_stats.create_rollup('rp', 'SELECT k, count(*) AS c FROM p GROUP BY k')});
	poll($node, q{SELECT last_error LIKE '%publication "notify_stats" exists already%'
		FROM notify_stats.status WHERE stream = 'main'});
	pass('a publication of that name: the status tells');
	like(sql_error($node, 'CALL notify_stats.catch_up()'),
		qr/ERROR:  42710: publication "notify_stats" exists already.*HINT: .*ALTER PUBLICATION notify_stats RENAME/s,
		'catch_up() tells what to do');
	is(sql($node, 'SELECT count(*) FROM pg_replication_slots WHERE database = current_database()'), '0',
		'there is no slot');
	is(sql($node, $published), 'beside', 'and the publication is left alone');
	sql($node, q{ALTER PUBLICATION notify_stats RENAME TO another_name; INSERT INTO p (k) VALUES ('a')});
	is_applied('postgres', 'renamed, it is in nobody\'s way');
	is(sql($node, $published), 'beside p', 'and ours stands beside it');

	# it goes while changes are unread, and others are on their way
	sql($node, q{SELECT notify_stats.pause(); INSERT INTO p (k) VALUES ('b')});
	my $open = $node->background_psql('postgres');
	$open->query_safe(q{BEGIN; INSERT INTO p (k) VALUES ('c')});
	sql($node, 'DROP PUBLICATION notify_stats');
	$open->query_safe(q{INSERT INTO p (k) VALUES ('c')});
	sql($node, q{INSERT INTO p (k) VALUES ('d'); SELECT notify_stats.resume()});
	poll($node, q{SELECT state = 'stale' AND reason LIKE 'the publication of table "p" has changed%'
		FROM notify_stats.rollups});
	pass('a dropped publication: the rollup is stale');
	$open->query_safe('COMMIT');
	$open->quit;
	is_applied('postgres', 'and rebuilt');
	sql($node, q{INSERT INTO p (k) VALUES ('e')});
	is_applied('postgres', 'and goes on');
	is_verified($node, 'rp', 'verify() agrees');
	is(sql($node, $published), 'beside p', 'with a publication again');

	# and so on while the worker runs
	sql($node, q{INSERT INTO p (k) VALUES ('f'); ALTER PUBLICATION notify_stats DROP TABLE p;
		INSERT INTO p (k) VALUES ('f');
		ALTER PUBLICATION notify_stats ADD TABLE p; INSERT INTO p (k) VALUES ('f')});
	is_applied('postgres', 'a table taken out by hand for a moment');

	# the end
	sql($node, q{DROP PUBLICATION another_name; DROP EXTENSION notify_stats CASCADE; INSERT INTO p (k) VALUES ('g')});
	poll($node, q{SELECT NOT EXISTS (SELECT FROM pg_publication)
		AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database())});
	pass('DROP EXTENSION leaves neither publication nor slot');
	sql($node, 'CREATE EXTENSION notify_stats');
	return;
}

# --- builds ---------------------------------------------------------------------------

# Rollups created, rebuilt and verified while others write, some in transactions that had changed
# the table before it was a source, and committed when it was.
sub test_builds
{
	sql($node, q{
		CREATE TABLE one (id int, k int, n int);
		CREATE TABLE two (id int, k int, n int) PARTITION BY LIST (k);
		CREATE TABLE two0 PARTITION OF two FOR VALUES IN (0, 1, 2);
		CREATE TABLE two1 PARTITION OF two DEFAULT;
		ALTER TABLE one REPLICA IDENTITY FULL; ALTER TABLE two0 REPLICA IDENTITY FULL;
		ALTER TABLE two1 REPLICA IDENTITY FULL;
		CREATE TABLE stop ();
		CREATE PROCEDURE write(name text) LANGUAGE plpgsql AS $$
		BEGIN
			FOR i IN 1..100000 LOOP
				EXECUTE format('INSERT INTO %I SELECT %s + g, g %% 5, g FROM generate_series(1, 1 + %s %% 20) g',
					name, 4 * i, i);
				IF i % 3 = 0 THEN
					EXECUTE format('UPDATE %I SET k = (k + 1) %% 5 WHERE id > %s', name, 4 * i - 50);
				END IF;
				IF i % 7 = 0 THEN
					ROLLBACK;
				END IF;
				EXECUTE format('DELETE FROM %I WHERE id BETWEEN %s AND %s', name, 4 * i - 100, 4 * i - 90);
				COMMIT;
				EXIT WHEN EXISTS (SELECT FROM stop);
				-- else a slow machine never catches up
				PERFORM pg_sleep(0.02);
			END LOOP;
		END $$;
	});
	foreach my $way (@ways)
	{
		my $name = $way->{name};
		my (@writers, $open, $xid, $offset);

		use_way($way);
		sql($node, q{TRUNCATE one, two, stop;
			SELECT notify_stats.create_rollup('r1',
				'SELECT k, count(*) AS c, coalesce(sum(n), 0) AS n FROM one GROUP BY k')});
		is_applied('postgres', "$name: before");
		@writers = map { start_psql($node, "CALL write('$_')") } 'one', 'two';
		$open = $node->background_psql('postgres');
		$open->query_safe('BEGIN; INSERT INTO two SELECT 1000000 + g, g % 5, g FROM generate_series(1, 50) g');
		$xid = $open->query_safe('SELECT pg_current_xact_id()::xid');
		sql($node, q{SELECT notify_stats.create_rollup('r2',
			'SELECT k, count(*) AS c, coalesce(sum(n), 0) AS n FROM two GROUP BY k')});
		poll($node, "SELECT waits_for = 'transaction $xid' FROM notify_stats.status WHERE stream = 'build r2'");
		$open->query_safe('UPDATE two SET k = (k + 1) % 5 WHERE id >= 1000000; DELETE FROM two WHERE id > 1000040');
		sql($node, q{SELECT pg_current_xact_id()});
		$open->query_safe('COMMIT');
		$open->quit;
		wait_until_applied($node);
		sql($node, q{SELECT notify_stats.rebuild('r1'); SELECT notify_stats.create_rollup('r3',
			'SELECT k % 2 AS odd, count(*) AS c FROM (SELECT k FROM one UNION ALL SELECT k FROM two) u GROUP BY 1')});
		is_verified($node, 'r2', "$name: verify() of a rollup created under load");
		wait_until_rebuilt($node, 'r1');
		wait_until_applied($node);
		is_verified($node, 'r1', "$name: verify() of one rebuilt under load");
		is_verified($node, 'r3', "$name: verify() of one of both tables");
		sql($node, 'INSERT INTO stop DEFAULT VALUES');
		is($_->finish, '', "$name: a writer was never in trouble") foreach @writers;
		is_applied('postgres', "$name: exact after the load");
		no_build_slots($node, "$name: no slot is left");

		# A build over partitions has to keep them as they are, but not the main stream.
		$offset = log_position($node);
		set_stop($node, 'build-snapshot');
		sql($node, q{SELECT notify_stats.rebuild('r2')});
		wait_for_stop($node, 'build-snapshot', $offset);
		sql($node, 'INSERT INTO one VALUES (2000000, 77, 1); INSERT INTO two VALUES (2000000, 77, 1)');
		poll($node, 'SELECT count(*) = 1 FROM r1 WHERE k = 77');
		pass("$name: the main stream goes on while a build reads partitions");
		continue_from_stop($node);
		wait_until_rebuilt($node, 'r2');
		is_applied('postgres', "$name: exact after the stop");
		drop_rollups('postgres');
	}
	return;
}

# What changes, and maybe back, while a rollup is built or rebuilt: the first look at names and
# publication has to be before the snapshot.
sub test_changes_within_a_build
{
	my @cases = (
		{
			title => 'a table taken out of the publication',
			way => $pgoutput,
			point => 'build-snapshot',
			change => q{ALTER PUBLICATION notify_stats DROP TABLE there.t; INSERT INTO there.t VALUES (2, 'a');
				ALTER PUBLICATION notify_stats ADD TABLE there.t}
		},
		{
			title => 'a renamed schema',
			way => $ways[1],
			point => 'build-snapshot',
			change => q{INSERT INTO there.t VALUES (2, 'a'); ALTER SCHEMA there RENAME TO elsewhere}
		},
		{
			title => 'a table renamed and back',
			way => $ways[1],
			point => 'build-filled',
			change => q{ALTER TABLE there.t RENAME TO u; INSERT INTO there.u VALUES (2, 'a');
				ALTER TABLE there.u RENAME TO t}
		},
		{
			title => 'no replica identity for a moment',
			way => $ways[2],
			point => 'build-filled',
			change => q{ALTER TABLE there.t REPLICA IDENTITY NOTHING; DELETE FROM there.t;
				ALTER TABLE there.t REPLICA IDENTITY FULL}
		});
	my $number = 0;

	foreach my $case (@cases)
	{
		use_way($case->{way});
		foreach my $kind ('created', 'rebuilt')
		{
			my $db = new_database('within' . ++$number);
			my ($offset, $build);

			in_db($db, q{
				CREATE SCHEMA there;
				CREATE TABLE there.t (id int PRIMARY KEY, k text); ALTER TABLE there.t REPLICA IDENTITY FULL;
				INSERT INTO there.t VALUES (1, 'a');
				SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c FROM there.t GROUP BY k')} .
				($kind eq 'rebuilt' ? q{; CALL notify_stats.catch_up(); SELECT notify_stats.rebuild('r')} : ''));
			$offset = log_position($node);
			set_stop($node, $case->{point});
			$build = start_in($db, 'CALL notify_stats.catch_up()');
			wait_for_stop($node, $case->{point}, $offset);
			in_db($db, $case->{change});
			continue_from_stop($node);
			$build->finish;
			is_caught_up($db, "$case->{way}{name}: $case->{title}, at $case->{point} of a rollup that is $kind");
		}
	}
	return;
}

# --- the order ------------------------------------------------------------------------

sql($node, 'CREATE DATABASE clean; CREATE ROLE mallory');
in_db($_, "CREATE EXTENSION notify_stats; $functions") foreach ('clean', 'postgres');
new_database('bites');

test_allowed_plugins();
test_scenarios();
test_refusals();
test_partition_without_identity();
test_values();
test_encodings();
test_versions();
test_unreadable();
test_domains();
test_publication_altered();
test_changes_within_a_build();
test_builds();
test_publication_with_worker();

done_testing();
