# 031_types.pl
#
# Types that are altered: the meaning of stored values, or their text form, changes
# without a change of any row.  No rollup is live and wrong afterwards; irrelevant changes
# rebuild nothing; and a value that cannot be read does not stop other rollups.
#
# formats: all
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'version 2 of wal2json writes the same texts' if format_name() eq 'wal2json1';
my $by_name = format_name() ne 'notify_stats';
my $node = new_node('types');

sub all_are_live
{
	my ($title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until_applied($node);
	return is(sql($node, q{SELECT string_agg(rollup || ': ' || reason, '; ') FROM notify_stats.rollups WHERE state <> 'live'}),
		'', "$title: all are live");
}

# --- composite types, and types based on them ----------------------------------------

# Each type with a value of it, made of a text and a number of which only one may be left.
my @types = (
	{ title => 'composite', column => 'place', value => 'ROW(s, h)::place' },
	{ title => 'row type', column => 'home', value => 'ROW(s, h)::home' },
	{ title => 'array', column => 'place[]', value => 'ARRAY[ROW(s, h)::place, ROW(s, h)::place]' },
	{ title => 'nested', column => 'address', value => q{ROW(ROW(s, h)::place, 'x')::address} },
	{ title => 'domain', column => 'checked', value => 'ROW(s, h)::place::checked' },
	{ title => 'range', column => 'stretch', value => 'stretch(ROW(s, h)::place, NULL)' },
	{ title => 'multirange', column => 'stretches', value => 'stretches(stretch(ROW(s, h)::place, NULL))' });

# The change, and the contents of a row then.
my @changes = (
	{ title => 'second attribute dropped', place => 'DROP ATTRIBUTE house', home => 'DROP COLUMN house', row => 's' },
	{ title => 'first attribute dropped', place => 'DROP ATTRIBUTE street', home => 'DROP COLUMN street', row => 'h' },
	{ title => 'attribute added', place => 'ADD ATTRIBUTE floor int', home => 'ADD COLUMN floor int', row => 's, h, 1' },
	{ title => 'attribute replaced', place => 'DROP ATTRIBUTE house, ADD ATTRIBUTE floor int',
		home => 'DROP COLUMN house, ADD COLUMN floor int', row => 's, h' });

# Many groups, and of these many that differ in one attribute only.
sub insert_rows
{
	my ($value, $row) = @_;

	$value =~ s/ROW\(s, h\)/ROW($row)/g if defined $row;
	return "INSERT INTO data.events (v) SELECT $value
		FROM (SELECT 'kind ' || i % 17 AS s, i * 7 % 401 AS h FROM generate_series(1, 400) i) x; ";
}

sub start_with_column
{
	my ($column) = @_;

	sql($node, qq{
		SET client_min_messages = warning;
		DROP SCHEMA IF EXISTS data CASCADE;
		CREATE SCHEMA data;
		SET search_path = data;
		CREATE TYPE place AS (street text, house int);
		CREATE TABLE home (street text, house int);
		CREATE TYPE address AS (place place, note text);
		CREATE DOMAIN checked AS place;
		CREATE TYPE stretch AS RANGE (subtype = place, multirange_type_name = stretches);
		CREATE TABLE events (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v $column);
		ALTER TABLE events REPLICA IDENTITY FULL;
		CREATE TABLE others (kind int);
		ALTER TABLE others REPLICA IDENTITY FULL;
		SELECT notify_stats.create_rollup('data.by_value', 'SELECT v, count(*) AS n FROM data.events GROUP BY v');
		SELECT notify_stats.create_rollup('data.of_others', 'SELECT kind, count(*) AS n FROM data.others GROUP BY kind');
	});
	return;
}

foreach my $type (@types)
{
	foreach my $change (@changes)
	{
		# the others differ only in how the type is found
		next if $type->{title} ne 'composite' && $change->{title} !~ /^first|replaced$/;
		my $title = "$type->{title}, $change->{title}";
		my $altered = $type->{title} eq 'row type' ? "TABLE data.home $change->{home}" : "TYPE data.place $change->{place}";
		my ($before, $others);

		start_with_column($type->{column});
		sql($node, 'SET search_path = data; ' . insert_rows($type->{value}));
		all_are_live("$title: at first");
		($before, $others) = (built_at($node, 'data.by_value'), built_at($node, 'data.of_others'));

		# with unread rows before it, and in the same transaction
		pause_stream($node);
		sql($node, 'SET search_path = data; INSERT INTO others VALUES (1); ' . insert_rows($type->{value}));
		sql($node, 'SET search_path = data; BEGIN; ' . insert_rows($type->{value}) . "ALTER $altered; "
			  . insert_rows($type->{value}, $change->{row}) . 'COMMIT');
		resume_stream($node);
		all_are_live($title);
		isnt(built_at($node, 'data.by_value'), $before, "$title: rebuilt");
		is(built_at($node, 'data.of_others'), $others, "$title: the other is not");
		is_exact($node, "$title: exact");

		# groups are found by the index, and go when they are empty
		sql($node, 'SET search_path = data; ' . insert_rows($type->{value}, $change->{row}));
		is_exact($node, "$title: exact after more rows");
		sql($node, 'DELETE FROM data.events WHERE id % 2 = 0');
		is_exact($node, "$title: exact after some are deleted");
		sql($node, 'DELETE FROM data.events');
		is_exact($node, "$title: exact after all are deleted");
		all_are_live("$title: in the end");
	}
}

# Dropping an attribute may change the order of an index, so the rollup's index is recreated: once
# it is not in use.  Other rollups do not wait for that.
start_with_column('place');
sql($node, 'SET search_path = data; ' . insert_rows('ROW(s, h)::place'));
all_are_live('index in use: at first');
{
	my $reader = $node->background_psql('postgres');

	$reader->query_safe('BEGIN; SELECT count(*) FROM data.by_value');
	sql($node, 'ALTER TYPE data.place DROP ATTRIBUTE street');
	wait_for_state($node, 'data.by_value', 'stale');
	poll($node, q{SELECT count(*) > 0 FROM notify_stats.build_activity() WHERE phase = 'joining'});
	sql($node, 'INSERT INTO data.others VALUES (7)');
	poll($node, 'SELECT count(*) = 1 FROM data.of_others WHERE kind = 7');
	$reader->query_safe('COMMIT');
	$reader->quit;
}
is_exact($node, 'index in use: exact');
all_are_live('index in use');

# A type that is in an expression alone.
sql($node, q{
	SET client_min_messages = warning;
	DROP SCHEMA data CASCADE;
	CREATE SCHEMA data;
	SET search_path = data;
	CREATE TYPE place AS (street text, house int);
	CREATE TABLE pairs (s text, h int);
	ALTER TABLE pairs REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('data.by_expression', 'SELECT ROW(s, h)::data.place AS v, count(*) AS n FROM data.pairs GROUP BY 1');
	INSERT INTO pairs VALUES ('a', 1), ('a', 2), ('b', 1);
});
all_are_live('expression: at first');
sql($node, q{ALTER TYPE data.place DROP ATTRIBUTE house; INSERT INTO data.pairs VALUES ('a', 3), ('b', 3)});
is_exact($node, 'expression: exact');
is(sql($node, 'SELECT n FROM data.by_expression ORDER BY v'), "3\n2", 'expression: the groups are those of the attribute that is left');

# --- labels of enums ------------------------------------------------------------------

sub insert_moods
{
	my (@labels) = @_;
	return join '', map { "INSERT INTO data.moods (one, many, strong, checked) VALUES ('$_', '{$_}', ROW('$_', 1), '$_');" } @labels;
}

sub rename_values
{
	my (@renames) = @_;
	return join '', map { "ALTER TYPE data.mood RENAME VALUE '$_->[0]' TO '$_->[1]';" } @renames;
}

my @swap = ([ 'good', 'x' ], [ 'bad', 'good' ], [ 'x', 'bad' ]);

# The DDL after unread rows; it rebuilds, unless values are stored as OIDs, or never.
sub enum_case
{
	my ($title, $statements, %case) = @_;
	my ($before, $others);

	all_are_live("$title: before");
	($before, $others) = (built_at($node, 'data.by_mood'), built_at($node, 'data.of_others'));
	pause_stream($node);
	sql($node, 'INSERT INTO data.others VALUES (1);' . insert_moods(qw(good bad good)));
	sql($node, $_) foreach @$statements;
	resume_stream($node);
	all_are_live($title);
	is_exact($node, "$title: exact");
	is(built_at($node, 'data.by_mood') ne $before, $by_name && !$case{harmless} || '', "$title: rebuilt or not");
	is(built_at($node, 'data.of_others'), $others, "$title: the other is not rebuilt");
	return;
}

sql($node, q{
	SET client_min_messages = warning;
	DROP SCHEMA data CASCADE;
	CREATE SCHEMA data;
	SET search_path = data;
	CREATE TYPE mood AS ENUM ('good', 'bad');
	CREATE TYPE feeling AS (m mood, strength int);
	CREATE DOMAIN my_mood AS mood;
	CREATE TABLE moods (one mood, many mood[], strong feeling, checked my_mood);
	CREATE TABLE others (kind int);
	ALTER TABLE moods REPLICA IDENTITY FULL;
	ALTER TABLE others REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('data.by_mood', 'SELECT one, many, strong, checked, count(*) AS n FROM data.moods GROUP BY 1, 2, 3, 4');
	SELECT notify_stats.create_rollup('data.of_others', 'SELECT kind, count(*) AS n FROM data.others GROUP BY kind');
} . insert_moods(qw(good bad bad bad)));

enum_case('value added', [ q{ALTER TYPE data.mood ADD VALUE 'better' BEFORE 'good'}, insert_moods('better', 'good') ], harmless => 1);
enum_case('value renamed', [ rename_values([ 'better', 'best' ]), insert_moods('best', 'good') ]);
enum_case('renamed to a longer name', [ rename_values([ 'best', q{best''s} ]), insert_moods('good') ]);
enum_case('values swapped after rows of the same transaction',
	[ 'BEGIN;' . insert_moods(qw(good good bad)) . rename_values(@swap) . insert_moods('bad') . 'COMMIT' ]);
enum_case('values swapped and swapped back',
	[ rename_values(@swap), insert_moods(qw(good good)), rename_values(@swap), insert_moods('bad') ]);
sql($node, 'ALTER EVENT TRIGGER notify_stats_ddl DISABLE');
enum_case('values swapped, noticed by the comparison alone', [ rename_values(@swap), insert_moods(qw(good good)) ]);
sql($node, 'ALTER EVENT TRIGGER notify_stats_ddl ENABLE ALWAYS');

# While an ALTER TYPE is not committed, or its messages are not sent, nothing is read by it.
foreach my $case ([ 'data.feeling', 'ALTER TYPE data.feeling ADD ATTRIBUTE more int;' ],
	$by_name ? [ 'data.moods', rename_values(@swap) ] : ())
{
	my ($name, $alter) = @$case;
	my $altering = $node->background_psql('postgres');

	$altering->query_safe("BEGIN; $alter");
	sql($node, q{INSERT INTO data.moods (one) VALUES ('good'), ('bad')});
	poll($node, "SELECT waits_for = 'a lock on $name' FROM notify_stats.status WHERE stream = 'main'");
	pass("the lock is waited for: $name");
	$altering->query_safe('COMMIT');
	$altering->quit;
	is_exact($node, "exact after it was committed: $name");
}

# --- types whose text names other objects ---------------------------------------------

sql($node, q{
	SET client_min_messages = warning;
	DROP SCHEMA data CASCADE;
	CREATE SCHEMA data;
	SET search_path = data;
	CREATE TYPE pointer AS (target regclass, note text);
	CREATE DOMAIN namespace AS regnamespace;
	CREATE TYPE plain AS (note text);
	CREATE TABLE one (); CREATE TABLE two ();
	CREATE TABLE refs (class regclass, types regtype[], pointers pointer[], place namespace, number oid, note plain);
	ALTER TABLE refs REPLICA IDENTITY FULL;
});
foreach my $column (qw(class types pointers place))
{
	my $create = "SELECT notify_stats.create_rollup('data.by_$column', 'SELECT $column, count(*) AS n FROM data.refs GROUP BY 1')";

	if ($by_name)
	{
		my $error = sql_error($node, $create);

		like($error, qr/definition reads column "$column", which contains values of type \w+/, "column $column: refused");
		like($error, qr/HINT:  Set notify_stats.format = 'notify_stats', or store OIDs/, "column $column: hint");
	}
	else
	{
		sql($node, $create);
	}
}
sql($node, q{SELECT notify_stats.create_rollup('data.by_oid', 'SELECT number, count(*) AS n FROM data.refs GROUP BY 1')});
sql($node, q{SELECT notify_stats.create_rollup('data.by_plain', 'SELECT note, count(*) AS n FROM data.refs GROUP BY 1')});
all_are_live('names of objects');
pause_stream($node);
sql($node, q{
	SET search_path = data;
	INSERT INTO refs SELECT t, ARRAY[t::text::regtype], ARRAY[ROW(t, 'x')::pointer], 'data', t, ROW('x')::plain
		FROM unnest('{one, one, two}'::regclass[]) t;
	ALTER TABLE one RENAME TO three;
	ALTER TABLE two RENAME TO one;
	ALTER TABLE three RENAME TO two;
	INSERT INTO refs SELECT t, ARRAY[t::text::regtype], ARRAY[ROW(t, 'x')::pointer], 'data', t, ROW('x')::plain
		FROM unnest('{one, one, two}'::regclass[]) t;
});
resume_stream($node);
is_exact($node, 'tables that have swapped their names: exact');
sql($node, 'ALTER TYPE data.plain ADD ATTRIBUTE target regclass');
if ($by_name)
{
	wait_for_state($node, 'data.by_plain', 'failed');
	like(sql($node, q{SELECT reason FROM notify_stats.rollups WHERE state = 'failed'}),
		qr/reads column "note", which contains values of type regclass/, 'a type that gets such an attribute: failed');
}
is_exact($node, 'the others are exact');

# --- values that cannot be read -------------------------------------------------------

# Elements of arrays are checked when the text of the array is read, by constraints that may be
# younger than the row.
sql($node, q{
	SET client_min_messages = warning;
	DROP SCHEMA data CASCADE;
	CREATE SCHEMA data;
	SET search_path = data;
	CREATE DOMAIN small AS int;
	CREATE TABLE readings (id int, v small[]);
	CREATE TABLE others (kind int);
	CREATE TABLE more (v small[]);
	ALTER TABLE readings REPLICA IDENTITY FULL;
	ALTER TABLE others REPLICA IDENTITY FULL;
	ALTER TABLE more REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('data.by_value', 'SELECT v, count(*) AS n FROM data.readings GROUP BY v');
	SELECT notify_stats.create_rollup('data.kept', 'SELECT v, count(*) AS n FROM data.readings GROUP BY v', '{data.readings}');
	SELECT notify_stats.create_rollup('data.by_id', 'SELECT id, count(*) AS n FROM data.readings GROUP BY id');
	SELECT notify_stats.create_rollup('data.of_both', 'SELECT v, count(*) AS n FROM (SELECT v FROM data.readings UNION ALL SELECT v FROM data.more) x GROUP BY v');
	SELECT notify_stats.create_rollup('data.of_more', 'SELECT v, count(*) AS n FROM data.more GROUP BY v');
	SELECT notify_stats.create_rollup('data.of_others', 'SELECT kind, count(*) AS n FROM data.others GROUP BY kind');
	INSERT INTO readings VALUES (1, '{1}'), (2, '{2}');
});
all_are_live('values: at first');
{
	my $others = built_at($node, 'data.of_others');
	my %before = map { $_ => built_at($node, "data.$_") } qw(by_value of_both of_more);
	my $offset;

	pause_stream($node);
	$offset = log_position($node);
	sql($node, q{
		INSERT INTO data.readings VALUES (3, '{-1}'), (4, '{4}');
		INSERT INTO data.others VALUES (1), (2);
		INSERT INTO data.more VALUES ('{-5}');
		ALTER DOMAIN data.small ADD CONSTRAINT positive CHECK (VALUE > 0) NOT VALID;
		INSERT INTO data.readings VALUES (5, '{5}');
		INSERT INTO data.others VALUES (1);
	});
	resume_stream($node);
	if ($by_name)
	{
		my $reason = qr/a value of table "readings" cannot be read: value for domain data.small violates check constraint "positive"/;

		wait_for_state($node, 'data.kept', 'failed');
		like(sql($node, q{SELECT reason FROM notify_stats.rollups WHERE state = 'failed'}), $reason,
			'a value that cannot be read: the rollup with ignore_deletes has failed, with the reason');
		wait_until_applied($node);
		like(slurp_file($node->logfile, $offset), qr/rollup data.by_value is stale and will be rebuilt\n.*DETAIL:  $reason/,
			'the other is stale');
		isnt(built_at($node, "data.$_"), $before{$_}, "$_ is rebuilt") foreach sort keys %before;
		sql($node, q{SELECT notify_stats.rebuild('data.kept', forget_deleted => true)});
	}
	all_are_live('values');
	is_exact($node, 'values: exact');
	is(built_at($node, 'data.of_others'), $others, 'the rollup of another table is not rebuilt');
	sql($node, q{INSERT INTO data.readings VALUES (6, '{6}'); INSERT INTO data.others VALUES (3)});
	is_exact($node, 'values: exact afterwards');
	all_are_live('values: in the end');
}

# The same while a build reads them.
{
	my $offset = log_position($node);

	sql($node, 'ALTER DOMAIN data.small DROP CONSTRAINT positive');
	set_stop($node, 'build-filled');
	sql($node, q{SELECT notify_stats.create_rollup('data.later', 'SELECT v, count(*) AS n FROM data.readings GROUP BY v')});
	wait_for_stop($node, 'build-filled', $offset);
	# in one transaction, or the worker might read the row before there is the constraint
	sql($node, q{BEGIN; INSERT INTO data.readings VALUES (7, '{-7}');
		ALTER DOMAIN data.small ADD CONSTRAINT positive CHECK (VALUE > 0) NOT VALID; COMMIT});
	continue_from_stop($node);
	if ($by_name)
	{
		wait_for_state($node, 'data.kept', 'failed');
		poll($node, q{SELECT bool_and(state = 'live') FROM notify_stats.rollups WHERE rollup <> 'data.kept'::regclass});
		sql($node, q{SELECT notify_stats.rebuild('data.kept', forget_deleted => true)});
	}
	all_are_live('values that a build reads');
	is_exact($node, 'values that a build reads: exact');
}

# --- expressions of generated columns -------------------------------------------------

# pgoutput does not send the column before 18.
SKIP:
{
	my $server = int(sql($node, q{SHOW server_version_num}) / 10000);

	skip 'generated columns are not told', 1 if format_name() eq 'pgoutput' && $server < 18;
	foreach my $of ('', '_part')
	{
		my $table = "data.made$of";
		my $before;

		sql($node, q{
			SET client_min_messages = warning;
			DROP SCHEMA data CASCADE;
			CREATE SCHEMA data;
			SET search_path = data;
			CREATE TABLE other (a int, unused int, b int GENERATED ALWAYS AS (a % 3) STORED, c int GENERATED ALWAYS AS (a % 7) STORED);
			CREATE TABLE made (a int, unused int, b int GENERATED ALWAYS AS (a % 5) STORED, c int GENERATED ALWAYS AS (a % 11) STORED);
		} . ($of ? q{
			ALTER TABLE made RENAME TO made_part;
			CREATE TABLE made (a int, unused int, b int GENERATED ALWAYS AS (a % 5) STORED, c int GENERATED ALWAYS AS (a % 11) STORED)
				PARTITION BY RANGE (a);
			ALTER TABLE made ATTACH PARTITION made_part DEFAULT;
		} : '') . qq{
			ALTER TABLE $table REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('data.by_b', 'SELECT b, count(*) AS n FROM data.made GROUP BY b');
			INSERT INTO made (a) SELECT generate_series(1, 20);
		});
		all_are_live("generated column of $table: at first");
		$before = built_at($node, 'data.by_b');
		sql($node, 'ALTER EVENT TRIGGER notify_stats_ddl DISABLE');
		if ($server >= 17)
		{
			# not that of the column that no definition reads
			sql($node, "ALTER TABLE $table ALTER c SET EXPRESSION AS (a % 7)");
			is_exact($node, "generated column of $table: another expression of an unused column");
			sql($node, "ALTER TABLE $table ALTER b SET EXPRESSION AS (a % 3)");
		}
		else
		{
			# the server cannot; the rows are not computed again
			sql($node, qq{
				SET allow_system_table_mods = on;
				UPDATE pg_attrdef SET adbin = (SELECT adbin FROM pg_attrdef WHERE adrelid = 'data.other'::regclass AND adnum = 4)
					WHERE adrelid = '$table'::regclass AND adnum = 4;
				ALTER TABLE $table ALTER unused SET STATISTICS 10});
			is_exact($node, "generated column of $table: another expression of an unused column");
			is(built_at($node, 'data.by_b'), $before, "generated column of $table: that does not matter");
			sql($node, qq{
				SET allow_system_table_mods = on;
				UPDATE pg_attrdef SET adbin = (SELECT adbin FROM pg_attrdef WHERE adrelid = 'data.other'::regclass AND adnum = 3)
					WHERE adrelid = '$table'::regclass AND adnum = 3;
				ALTER TABLE $table ALTER unused SET STATISTICS 11});
		}
		poll($node, "SELECT built_at <> '$before' FROM notify_stats.rollups WHERE rollup = 'data.by_b'::regclass");
		is_exact($node, "generated column of $table: rebuilt");
		sql($node, 'ALTER EVENT TRIGGER notify_stats_ddl ENABLE ALWAYS; INSERT INTO data.made (a) SELECT generate_series(1, 20)');
		is_exact($node, "generated column of $table: exact afterwards");
		unread_columns($table, $server);
	}
}

# Columns that a rollup does not read do not matter to it, whether or not another one reads them.
sub unread_columns
{
	my ($table, $server) = @_;
	my %kept = $by_name && $table ne 'data.made' ? () : ('data.kept' => q{, ignore_deletes => '{data.made}'});
	my %built;

	sql($node, q{ALTER TABLE data.made ADD v int GENERATED ALWAYS AS (a) VIRTUAL; INSERT INTO data.made (a) VALUES (1)})
		if $server >= 18 && format_name() ne 'pgoutput';
	sql($node, qq{CREATE TYPE data.spot AS (x int, y int);
		ALTER TABLE data.made ADD spot data.spot;
		SELECT notify_stats.create_rollup('data.by_spot', 'SELECT spot, count(*) AS n FROM data.made GROUP BY spot');
		SELECT notify_stats.create_rollup('data.by_c', 'SELECT c, count(*) AS n FROM data.made GROUP BY c')});
	sql($node, "SELECT notify_stats.create_rollup('$_', 'SELECT b, count(*) AS n FROM data.made GROUP BY b'$kept{$_})")
		foreach keys %kept;
	all_are_live("columns of $table that others read: at first");
	$built{$_} = built_at($node, $_) foreach 'data.by_b', 'data.by_c', 'data.by_spot', keys %kept;

	sql($node, 'SELECT notify_stats.pause(); INSERT INTO data.made (a, spot) SELECT i, ROW(i % 2, i)::data.spot FROM generate_series(1, 10) i');
	sql($node, "ALTER TABLE $table ALTER c SET EXPRESSION AS (a % 4)") if $server >= 17;
	sql($node, 'ALTER TABLE data.made ALTER v SET EXPRESSION AS (a + 1)') if $server >= 18 && format_name() ne 'pgoutput';
	sql($node, 'ALTER TYPE data.spot DROP ATTRIBUTE y') if !$by_name;
	sql($node, 'INSERT INTO data.made (a) SELECT generate_series(1, 10); SELECT notify_stats.resume()');
	all_are_live("columns of $table that others read: afterwards");
	is_exact($node, "columns of $table that others read: exact");
	is(built_at($node, $_), $built{$_}, "columns of $table that $_ does not read") foreach 'data.by_b', keys %kept;
	isnt(built_at($node, 'data.by_c'), $built{'data.by_c'}, "a column of $table that data.by_c reads") if $server >= 17;
	isnt(built_at($node, 'data.by_spot'), $built{'data.by_spot'}, "a type of $table that data.by_spot reads") if !$by_name;
	return;
}

# --- the position that a rollup stands for --------------------------------------------

# Recorded DDL takes effect from its commit on, even before the worker has seen it.
sql($node, q{
	SET client_min_messages = warning;
	DROP SCHEMA data CASCADE;
	CREATE SCHEMA data;
	CREATE ROLE reader;
	CREATE TABLE data.parted (k int) PARTITION BY LIST (k);
	CREATE TABLE data.part1 PARTITION OF data.parted FOR VALUES IN (1);
	CREATE TABLE data.part2 (k int);
	ALTER TABLE data.part1 REPLICA IDENTITY FULL;
	ALTER TABLE data.part2 REPLICA IDENTITY FULL;
	INSERT INTO data.part2 VALUES (2), (2);
	SELECT notify_stats.create_rollup('data.by_k', 'SELECT k, count(*) AS n FROM data.parted GROUP BY k');
	GRANT USAGE ON SCHEMA data TO reader;
});
all_are_live('position');
{
	my $position = q{SET ROLE reader; SELECT notify_stats.applied_lsn('data.by_k') IS NOT NULL};
	my $standby;

	pause_stream($node);
	is(sql($node, $position), 't', 'position: of a live rollup');
	if (!$by_name)
	{
		$node->backup('base');
		$standby = PostgreSQL::Test::Cluster->new('standby');
		$standby->init_from_backup($node, 'base', has_streaming => 1);
		$standby->append_conf('postgresql.conf', "notify_stats.database = ''");
		$standby->start;
	}
	sql($node, 'BEGIN; ALTER TABLE data.parted ATTACH PARTITION data.part2 FOR VALUES IN (2); ROLLBACK');
	is(sql($node, $position), 't', 'position: DDL that was rolled back');
	sql($node, 'ALTER TABLE data.parted ATTACH PARTITION data.part2 FOR VALUES IN (2)');
	is(sql($node, $position), 'f', 'position: none once DDL is committed that the worker has not seen');
	is(sql($node, 'SELECT notify_stats.applied_lsn() IS NOT NULL'), 't', 'position: of the stream');
	if ($standby)
	{
		$node->wait_for_catchup($standby);
		is($standby->safe_psql('postgres', $position), 'f', 'position: false on a standby, too');
		$standby->stop;
	}
	resume_stream($node);
	is_exact($node, 'position: exact');
	is(sql($node, $position), 't', 'position: again once it is rebuilt');
}

# ALTER TYPE is noted likewise, of a composite type and of an enum.
sql($node, q{
	CREATE TYPE data.mood AS ENUM ('good', 'bad');
	CREATE TYPE data.inner AS (mood data.mood, strength int);
	CREATE TABLE data.home (i data.inner[]);
	CREATE TABLE data.typed (h data.home);
	ALTER TABLE data.typed REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('data.by_h', 'SELECT h, count(*) AS n FROM data.typed GROUP BY h');
});
foreach my $alter ('TYPE data.inner DROP ATTRIBUTE strength', 'TABLE data.home ADD COLUMN more int',
	$by_name ? q{TYPE data.mood RENAME VALUE 'good' TO 'great'} : ())
{
	my $position = q{SELECT notify_stats.applied_lsn('data.by_h') IS NOT NULL};

	all_are_live("position: before ALTER $alter");
	pause_stream($node);
	is(sql($node, $position), 't', "position: there before ALTER $alter");
	sql($node, "ALTER $alter");
	is(sql($node, $position), 'f', "position: none after ALTER $alter");
	resume_stream($node);
}
is_exact($node, 'position: exact in the end');

done_testing();
