# 009_format_scenarios.pl
#
# Slots of other output plugins, pgoutput and wal2json, give the same rollups as our own, regardless
# of changes to the tables between a row change and its decoding.
#
# They write for other consumers: the names of tables and columns at the time of a change, and
# the replica identity at that time.  So here names, replica identities, partitions and columns
# change, or are odd from the beginning.  A rollup that is live is always exact: changes that cannot
# be decoded make it stale, and it is rebuilt.
#
# All of it happens in databases without a worker: nothing reads the slot there until we CALL
# catch_up().
# takes long

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Formats;
use NotifyStats;
use Test::More;

start_server('scenarios');

# A name as SQL has it.
sub quoted_name
{
	my ($name) = @_;
	$name =~ s/"/""/g;
	return qq{"$name"};
}

# --- scenarios ------------------------------------------------------------------------
#
# Each has a schema of its own, which is first in its search_path.  The steps run with unread
# changes before them, and all are read at once.  "ways" are the formats that it applies to.
# "rebuilt" is whether a build is needed (1), must not happen (0), or either is correct (absent).

# The usual start: a table, and a rollup of it.
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

# Schemas, tables and columns with odd names, and for each table another one that is not a
# source.
sub oddly_named
{
	my ($i) = @_;
	return map { quoted_name($names[ ($i + $_) % @names ]) } 0 .. 2;
}

# The statements that make all of these, and the rollup.
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

# And those that change their rows.
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

	# ordinary changes without DDL
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
		# all roles may write them
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
		# pgoutput does not allow deletes here
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
		# pgoutput does not allow this
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

# Input of the parser of wal2json's version 1.  Names and facts are looked up by the same code in
# both versions, so the other scenarios are not repeated.
my $parsed = qr/odd|maintenance|rewritten|later|transactions|messages|arrays|TRUNCATE|out-of-line|wide|NaN|
	binary|partitions|moment|a[ ]renamed[ ]table$/x;

# Whether a scenario is to be run for a way.
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

# All of them, for each way.
sub test_scenarios
{
	foreach my $i (0 .. $#ways)
	{
		my $way = $ways[$i];
		my $db = new_database("scenarios$i");

		use_way($way);
		run_scenarios($db, $way, @scenarios, @null_scenarios);
		is(in_db($db, 'SELECT format FROM notify_stats.status'), $way->{format},
			"$way->{name}: the status shows the format");
	}
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

# --- the order ------------------------------------------------------------------------

test_scenarios();
test_partition_without_identity();

done_testing();
