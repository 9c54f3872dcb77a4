# Corpus.pm
#
# Real aggregate queries from a file (test/corpus/queries.sql says how it is written): the tables of
# their applications, random rows and changes for these, and the comparison of rollups with queries.
# Statements are SQL text; random values are the server's, by setseed().

package Corpus;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use NotifyStats;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(read_corpus create_app seeded fill churn move_keys refill
  make_comparison compare_columns compare_rows);

# Applications: { name, ddl, tables, queries => [ { id, name, source, title, needs, sql, compare, none } ] }.
# The name is the rollup's, with its schema.
sub read_corpus
{
	my ($file) = @_;
	my (@apps, $query, $text);

	foreach my $line (split /^/, slurp_file($file))
	{
		if ($line =~ /^--@ (\w+) (.*)$/)
		{
			my ($word, $rest) = ($1, $2);

			if ($word eq 'app')
			{
				push @apps, { name => $rest, ddl => '', queries => [] };
				$text = \$apps[-1]{ddl};
			}
			elsif ($word eq 'q')
			{
				my ($id, $source, $title, $needs) = map { s/^\s+|\s+$//gr } split /\|/, $rest, 4;

				$query = { id => $id, name => "$apps[-1]{name}." . lc $id, source => $source, title => $title,
					needs => $needs, sql => '', compare => '*' };
				push @{ $apps[-1]{queries} }, $query;
				$text = \$query->{sql};
			}
			elsif ($word eq 'compare' || $word eq 'none')
			{
				$query->{$word} = $rest;
			}
			else
			{
				die "$file: unknown line: $line";
			}
		}
		elsif (defined $text && $line !~ /^--/)
		{
			$$text .= $line;
		}
	}
	foreach my $query (map { @{ $_->{queries} } } @apps)
	{
		$query->{sql} =~ s/[\s;]+\z//;
	}
	return @apps;
}

# The schema of an application, its tables without rows, and for each query a view "ID_asked", which
# also shows that the query is one.
sub create_app
{
	my ($node, $app) = @_;
	my $in = "CREATE SCHEMA $app->{name}; SET search_path = $app->{name};";
	my %rows;
	my %domain;

	sql($node, $in . $app->{ddl} . join '', map { "\nCREATE VIEW " . lc($_->{id}) . "_asked AS $_->{sql};" } @{ $app->{queries} });
	while ($app->{ddl} =~ m{^create table (\w+) (?:/\*(\d+)\*/ )?\((.*)\);$}gm)
	{
		my ($table, $rows, $columns) = ($1, $2, $3);

		$rows{$table} = $rows // 300;
		while ($columns =~ m{\G\s*"?(\w+)"?\s+((?:\([^)]*\)|[^,(/])*)(?:/\*(.*?)\*/)?[^,]*(?:,|$)}g)
		{
			$domain{$table}{$1} = $3 if defined $3;
		}
	}
	# a column is unique if it is all of a key
	foreach my $line (split /\n/, sql($node, qq{
		SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, t.typtype,
			EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY (i.indkey)),
			EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
				AND a.attnum = ANY (i.indkey) AND a.atttypid IN ('int'::regtype, 'bigint'::regtype))
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
		WHERE c.relnamespace = '$app->{name}'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
			AND NOT a.attisdropped AND a.attgenerated = ''
		ORDER BY c.relname, a.attnum}))
	{
		my ($table, $name, $type, $not_null, $kind, $unique, $serial) = split /\|/, $line;
		my $column = { name => qq{"$name"}, type => $type, not_null => $not_null eq 't', unique => $unique eq 't' };

		push @{ $app->{tables} }, { name => $table, rows => $rows{$table} // die "$table?", columns => [] }
		  if !$app->{tables} || $app->{tables}[-1]{name} ne $table;
		$column->{value} = value($column, $kind, $domain{$table}{$name});
		$app->{tables}[-1]{key} = $column if $serial eq 't';
		push @{ $app->{tables}[-1]{columns} }, $column;
	}
	sql($node, join "\n", map { "ALTER TABLE $app->{name}.$_->{name} REPLICA IDENTITY FULL;" } @{ $app->{tables} });
	return;
}

# An expression of a random value of a column.  Times are around now, and around the dates that
# the queries name.
sub value
{
	my ($column, $kind, $domain) = @_;
	my $type = $column->{type};
	my $value;

	$domain = 'a|b|c|d|e' if !defined $domain && $type =~ /^(text|character)/ && $kind eq 'b';
	$domain = '0..9' if !defined $domain && $type =~ /^(smallint|integer|bigint|numeric|double|real)/;
	if (defined $domain && $domain =~ /^(-?\d+)\.\.(-?\d+)$/)
	{
		$value = "$1 + floor(random() * ($2 - ($1) + 1))";
	}
	elsif (defined $domain)
	{
		my @values = split /\|/, $domain;

		$value = 'ARRAY[' . join(', ', map { "'$_'" } @values) . "])[1 + floor(random() * " . @values . ')::int]';
		$value = "($value";
	}
	elsif ($kind eq 'e')
	{
		$value = "(enum_range(NULL::$type))[1 + floor(random() * array_length(enum_range(NULL::$type), 1))::int]";
	}
	elsif ($type eq 'boolean')
	{
		$value = 'random() < 0.5';
	}
	elsif ($type =~ /^(date|timestamp)/)
	{
		$value = q{CASE WHEN random() < 0.6 THEN now() - random() * interval '20 days'
			ELSE '2026-11-27 12:00+00'::timestamptz - random() * interval '30 days' END};
	}
	else
	{
		die "no values for type $type";
	}
	$value = "($value)::$type";
	return $column->{not_null} ? $value : "CASE WHEN random() > 0.15 THEN $value END";
}

# Statements in the schema of an application, with a seed for their random values.
sub seeded
{
	my ($app, $seed, @statements) = @_;
	return join ";\n", "SET search_path = $app->{name}", "DO \$\$ BEGIN PERFORM setseed($seed); END \$\$", @statements, '';
}

# A table's rows, numbered FROM to TO where it has an integer for a key.
sub insert
{
	my ($table, $from, $to, $where) = @_;
	my ($key, @columns) = ($table->{key}, @{ $table->{columns} });

	return "INSERT INTO $table->{name} (" . join(', ', map { $_->{name} } @columns) . ')
		SELECT ' . join(', ', map { $key && $_ == $key ? 'i' : $_->{value} } @columns) . "
		FROM generate_series($from, $to) i WHERE " . ($where // 'true') . ' ON CONFLICT DO NOTHING';
}

sub fill
{
	my ($table) = @_;
	return insert($table, 1, $table->{rows});
}

# Rows whose keys have gone come back, or for a table without a key, more rows.
sub refill
{
	my ($table) = @_;
	return insert($table, 1, $table->{rows}, 'random() < 0.7');
}

# Updates of each column, deletes, inserts, and rows twice where nothing forbids that.
sub churn
{
	my ($table) = @_;
	my $name = $table->{name};
	my @free = grep { !$_->{unique} } @{ $table->{columns} };
	my $columns = join ', ', map { $_->{name} } @{ $table->{columns} };

	return (
		(map { "UPDATE $name SET $_->{name} = $_->{value} WHERE random() < 0.1" } @free),
		(@free ? "UPDATE $name SET " . join(', ', map { "$_->{name} = $_->{value}" } @free) . ' WHERE random() < 0.1' : ()),
		(map { "UPDATE $name SET $_->{name} = NULL WHERE random() < 0.05" } grep { !$_->{not_null} && !$_->{unique} } @free),
		"DELETE FROM $name WHERE random() < 0.15",
		insert($table, 100001, 100000 + int($table->{rows} / 4)),
		"INSERT INTO $name ($columns) SELECT $columns FROM $name WHERE random() < 0.1 ON CONFLICT DO NOTHING");
}

# Keys that go, that come back on other rows, and that nothing has.
sub move_keys
{
	my ($table) = @_;
	my ($name, $key) = ($table->{name}, $table->{key});

	return map { "UPDATE $name SET $_->{name} = 77 WHERE random() < 0.03" }
	  grep { !$_->{unique} && $_->{type} =~ /^(integer|bigint)$/ } @{ $table->{columns} }
	  if !$key;
	return (
		"UPDATE $name SET $key->{name} = $key->{name} + (SELECT max($key->{name}) FROM $name) WHERE random() < 0.2",
		map {
			"UPDATE $name SET $key->{name} = free.i
			FROM (SELECT i FROM generate_series(1, $table->{rows}) i
				WHERE NOT EXISTS (SELECT FROM $name WHERE $key->{name} = i) ORDER BY random() LIMIT 1) free
			WHERE $key->{name} = (SELECT max($key->{name}) FROM $name)"
		} 1 .. 3);
}

# --- comparing ------------------------------------------------------------------------

# The functions by which the others compare.  An error, too, is a row of theirs.
sub make_comparison
{
	my ($node) = @_;

	sql($node, <<'SQL');
CREATE FUNCTION rows_of_one_only(rollup text, columns text, query text, most int DEFAULT 5) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('(SELECT ''only in the rollup: '' || r::text
			FROM (SELECT %2$s FROM %1$s EXCEPT ALL SELECT %2$s FROM (%3$s) q) r LIMIT %4$s)
		UNION ALL (SELECT ''only in the query: '' || r::text
			FROM (SELECT %2$s FROM (%3$s) q EXCEPT ALL SELECT %2$s FROM %1$s) r LIMIT %4$s)',
		rollup, columns, query, most);
EXCEPTION WHEN others THEN
	RETURN NEXT SQLSTATE || ' ' || SQLERRM;
END $$;

-- whether a rollup has rows; not if reading it is an error
CREATE FUNCTION has_rows(rollup text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	found boolean;
BEGIN
	EXECUTE format('SELECT EXISTS (SELECT FROM %s)', rollup) INTO found;
	RETURN found;
EXCEPTION WHEN data_exception THEN
	RETURN false;
END $$;

-- what verify() finds; nothing if the query is an error for the rows that there are
CREATE FUNCTION differences(rollup text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT v::text FROM notify_stats.verify(rollup::regclass) v;
EXCEPTION WHEN data_exception THEN
	RETURN;
END $$;

CREATE FUNCTION columns_of(relation regclass) RETURNS text
LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), nullif(attcollation, 0)::regcollation), ', '
		ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;
SQL
	return;
}

# Where the columns of a relation are not the query's, as text.
sub compare_columns
{
	my ($node, $asked, @relations) = @_;
	return sql($node, "SELECT name, columns_of(name), columns_of('$asked')
		FROM unnest('{" . join(',', @relations) . "}'::regclass[]) name
		WHERE columns_of(name) IS DISTINCT FROM columns_of('$asked')");
}

# compare_rows(NODE, [SCHEMA, ROLLUP, COLUMNS, QUERY]...): rows that only one has, as text; everything
# must have been applied.
sub compare_rows
{
	my ($node, @pairs) = @_;
	return sql($node, join '', map {
			my ($schema, $rollup, $columns, $query) = @$_;
			"SET search_path = $schema, public;
			SELECT '$rollup', d FROM public.rows_of_one_only('$rollup', '$columns', \$query\$$query\$query\$) d;\n"
		} @pairs);
}

1;
