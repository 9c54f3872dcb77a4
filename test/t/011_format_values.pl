# 011_format_values.pl
#
# Slots of other output plugins, pgoutput and wal2json, write values as text, or pgoutput in
# binary.  The rollups have all of them unchanged, in all settings and encodings of writers and
# readers.  A definition that reads values a plugin does not write is refused.  Output that cannot
# be read is an error that shows its place, and no value runs code as another role.
#
# Most of it happens in databases without a worker: nothing reads the slot there until we CALL
# catch_up().
# takes long

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Formats;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('values', conf => "notify_stats.database = 'postgres, bites'\n");

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
			in_db($db, qq{CREATE EXTENSION notify_stats; $create_wrong
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

# Definitions that read values a plugin does not write, or not completely.
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

		like($error, qr/ERROR:  0A000: definition reads column "$bare", not all values of which can be decoded with wal2json/,
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

	# the constraint is dropped, and with it the meaning of null
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
		like($error, qr/ERROR:  0A000: definition reads generated column "twice"/,
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
	# the cause and the place: the slot, a position, a transaction
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
			"$name: a value that cannot be read: an error with its place");
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
	like(sql($node, $last_error), qr{$what.*$where}, 'the error shows the place of the value');
	is(scalar(() = slurp_file($node->logfile, $offset) =~ /ERROR:  $what/g), 1, 'it has met it once');
	sql($node, q{INSERT INTO moods VALUES (4, '{4}', 'c')});
	is_applied('postgres', 'and changes are applied again');
	drop_rollups('postgres');
	return;
}

# Reading a value of a domain must not run its constraints as a superuser, nor stop the
# whole stream if they fail.
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
			"$name: a domain's constraint never runs as another role");

		in_db($db, q{
			SET ROLE mallory; INSERT INTO t VALUES (6, 6);
			RESET ROLE; INSERT INTO innocent VALUES (1, 'a'); INSERT INTO broken DEFAULT VALUES});
		# the first may fail, for the second to know whose fault it was
		errors_of($db, 'CALL notify_stats.catch_up()');
		errors_of($db, 'CALL notify_stats.catch_up()');
		is(in_db($db, 'SELECT * FROM innocent_rollup'), 'a|1', "$name: if it fails, other rollups are not affected");
	}
	return;
}

# --- the order ------------------------------------------------------------------------

new_database('bites');

test_refusals();
test_values();
test_encodings();
test_unreadable();
test_domains();

done_testing();
