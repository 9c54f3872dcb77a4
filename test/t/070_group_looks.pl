# 070_group_looks.pl
#
# Values that are equal but look different are one group, which looks like one of them: 1.0 and 1.00,
# '1 day' and '24 hours', texts with a nondeterministic collation.  A client keeps a copy by the text
# of group_key.  A group that becomes empty and comes back, or that lives on by rows that look
# different, must not be twice in the copy, and must not stay there when it is gone.  Where group_key
# cannot have one form for each group, changes() is refused, and changed_rows() is not.
#
# Sums near the limits of their types are right in rollup_as_of().
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

my $node = new_node('looks', conf => <<'CONF');
autovacuum = off
max_replication_slots = 20
notify_stats.resumable_wal_window = '64MB'
CONF

# Each type with pairs of values that are equal and look different, and a value that is not equal.
my %types = (
	'numeric' => [ [ "'1.0'", "'1.00'" ], [ "'100'", "'100.000'" ], [ "'0'", "'0.0'" ], "'7.10'" ],
	'money_amount' => [ [ "'2.50'", "'2.5'" ], "'7.10'" ],
	'numeric(10,2)' => [ [ "'1.5'", "'1.50'" ], "'7.10'" ],
	'interval' => [ [ "'1 day'", "'24 hours'" ], [ "'1 mon -1 hour'", "'29 days 23 hours'" ], [ "'-1 day'", "'-24:00'" ], "'7 hours'" ],
	'float8' => [ [ "'0'", "'-0'" ], "'7.1'" ],
	'float4' => [ [ "'0'", "'-0'" ], "'7.1'" ],
	'bpchar' => [ [ "'a'", "'a  '" ], "'b'" ],
	'numrange' => undef,
	'numeric[]' => undef,
	'jsonb' => undef,
	'citext' => undef,
	'text COLLATE ignoring_case' => undef,
	# these look the same
	'text' => [ [ "'a'", "'a'" ], "'A'" ],
	'daterange' => [ [ "'[2026-01-01,2026-01-02]'", "'[2026-01-01,2026-01-03)'" ], "'empty'" ],
	'tstzrange' => [ [ "'[2026-01-01 00:00+00,infinity)'", "'[2026-01-01 01:00+01,infinity)'" ], "'empty'" ],
	'char(4)' => [ [ "'a'", "'a  '" ], "'b'" ],
	'int[]' => [ [ "'{1}'", "'[1:1]={1}'" ], "'{2}'" ],
	'inet' => [ [ "'10.0.0.1'", "'10.0.0.1/32'" ], "'10.0.0.2'" ],
	'mood' => [ [ "'calm'", "'calm'" ], "'wild'" ]);

sql($node, q{CREATE COLLATION ignoring_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	CREATE EXTENSION citext; CREATE DOMAIN money_amount AS numeric; CREATE TYPE mood AS ENUM ('calm', 'wild')});

my %lsn;     # by rollup
my %copy;    # by rollup: the measures of each group_key, as text

# The client asks for what has changed, and puts it into its copy.
sub follow
{
	my ($rollup) = @_;
	my $since = $lsn{$rollup} ? "'$lsn{$rollup}'" : 'NULL';

	foreach my $row (split /\n/, sql($node, "SELECT * FROM notify_stats.changes('$rollup', $since)"))
	{
		my ($lsn, $key, $measures) = split /\|/, $row, -1;

		$lsn{$rollup} = $lsn;
		next if $key eq '';
		$copy{$rollup}{$key} = $measures;
		delete $copy{$rollup}{$key} if $measures eq '';
	}
	return;
}

# Does something and applies it.
sub change
{
	my ($statement) = @_;

	sql($node, $statement);
	wait_until_applied($node);
	return;
}

# The copy that was kept is the copy of a client that begins now, and has the groups of the rollup.
sub is_right
{
	my ($rollup, $title) = @_;
	my %kept = %{ $copy{$rollup} };
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	follow($rollup);
	%kept = %{ $copy{$rollup} };
	delete $lsn{$rollup};
	delete $copy{$rollup};
	follow($rollup);
	is_deeply(\%kept, $copy{$rollup} // {}, "$title: the copy equals that of a new client");
	is(scalar(keys %kept), sql($node, "SELECT count(*) FROM $rollup"), "$title: with as many groups as the rollup has");
	return;
}

my $n = 0;
my %rollup_of;
foreach my $type (sort keys %types)
{
	my $rollup = $rollup_of{$type} = 'r' . ++$n;

	sql($node, "CREATE TABLE t$n (id int, k $type, v int); ALTER TABLE t$n REPLICA IDENTITY FULL;
		SELECT notify_stats.create_rollup('$rollup', 'SELECT k, count(*) AS n FROM t$n GROUP BY k')");
}
wait_until_applied($node);
poll($node, q{SELECT window_lsn IS NOT NULL FROM notify_stats.status WHERE stream = 'main'});

foreach my $type (sort grep { $types{$_} } keys %types)
{
	my $rollup = $rollup_of{$type};
	my $table = $rollup =~ s/^r/t/r;
	my @pairs = @{ $types{$type} };
	my $other = pop @pairs;

	change("INSERT INTO $table VALUES (0, $other)");
	foreach my $pair (@pairs)
	{
		my ($a, $b) = @$pair;

		is(sql($node, "SELECT $a\::$type = $b\::$type"), 't', "$type: $a and $b are equal");
		change("INSERT INTO $table VALUES (1, $a)");
		follow($rollup);
		change("DELETE FROM $table WHERE id = 1");
		change("INSERT INTO $table VALUES (2, $b)");
		is_right($rollup, "$type: $a was emptied and is back as $b");

		change("INSERT INTO $table VALUES (3, $a)");
		change("DELETE FROM $table WHERE id = 2");
		is_right($rollup, "$type: $b lives on by $a");
		change("DELETE FROM $table WHERE id = 3");
		is_right($rollup, "$type: the last row, $a, is gone");
	}
	is(scalar(keys %{ $copy{$rollup} }), 1, "$type: the other group remains");
}

# Where a group has no form of its own
my (undef, undef, $loop) = document_block('doc/reading.md', 'Following a rollup', 'sql');
$loop =~ s/\(copy\.day, copy\.status\)/(copy.k)/;
$loop =~ s/\(\(group_row\)\.day, \(group_row\)\.status\)/((group_row).k)/;
$loop =~ s/10 s/0 s/;
my %values = (
	'numrange' => [ "'[1.0,2)'", "'[1.00,2)'" ],
	'numeric[]' => [ "'{1.0}'", "'{1.00}'" ],
	'jsonb' => [ q('{"a": 1.0}'), q('{"a": 1.00}') ],
	'citext' => [ "'a'", "'A'" ],
	'text COLLATE ignoring_case' => [ "'a'", "'A'" ]);
foreach my $type (sort keys %values)
{
	my $rollup = $rollup_of{$type};
	my $table = $rollup =~ s/^r/t/r;
	my ($a, $b) = @{ $values{$type} };
	my $its_loop = $loop =~ s/orders_by_day/$rollup/r;

	like(sql_error($node, "SELECT * FROM notify_stats.changes('$rollup', NULL)"),
		qr/ERROR:  0A000: .*group column "k" of rollup public\.$rollup.*DETAIL:  .*HINT:  .*changed_rows\(\)/s, "$type: changes() is refused");
	change("INSERT INTO $table VALUES (1, $a)");
	sql($node, "DROP TABLE IF EXISTS copy, copied; CREATE TABLE copy AS TABLE $rollup;
		CREATE TABLE copied AS SELECT notify_stats.applied_lsn('$rollup') AS lsn");
	foreach my $step ("DELETE FROM $table WHERE id = 1", "INSERT INTO $table VALUES (2, $b)",
		"INSERT INTO $table VALUES (3, $a)", "DELETE FROM $table WHERE id = 2",
		"DELETE FROM $table; INSERT INTO $table VALUES (1, $a)", "INSERT INTO $table VALUES (2, $b)", "DELETE FROM $table WHERE id = 1", "DELETE FROM $table")
	{
		change($step);
		sql($node, $its_loop) if $step !~ /id = 1/;
		is(sql($node, 'SELECT k::text, n FROM copy ORDER BY 1'), sql($node, "SELECT k::text, n FROM $rollup ORDER BY 1"), "$type: changed_rows() after $step")
		  if $step !~ /id = 1/;
	}
}
like(sql_error($node, "SELECT * FROM notify_stats.changes('$rollup_of{'text COLLATE ignoring_case'}', NULL)"), qr/DETAIL:  .*collation "ignoring_case"/, 'the collation is named');

# --- sums of another scale ----------------------------------------------------------------

sql($node, q{CREATE TABLE paid (id int, k int, v numeric); ALTER TABLE paid REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('sums', 'SELECT k, count(*) AS n, sum(v) AS v, count(v) AS nv FROM paid GROUP BY k')});
change('INSERT INTO paid VALUES (1, 1, 10.5)');
follow('sums');
change('INSERT INTO paid VALUES (2, 1, 0.250)');
change('DELETE FROM paid WHERE id = 2');
like(join(' ', %{ $copy{sums} }), qr/10\.5,/, 'a sum has its scale');
is(sql($node, 'SELECT v FROM sums'), '10.500', 'and another one after changes that cancel out');
is_right('sums', 'a sum of another scale');
change('INSERT INTO paid VALUES (3, 2, 1.0)');
change('DELETE FROM paid WHERE id = 3');
is(sql($node, "SELECT group_key FROM notify_stats.changes('sums', '$lsn{sums}')"), '', 'a group that has come and gone is not reported');

# --- sums near the limits ---------------------------------------------------------------

my $max = '9223372036854775807';
sql($node, q{CREATE TABLE big (k int, v bigint, w int); ALTER TABLE big REPLICA IDENTITY FULL;
	SELECT notify_stats.create_rollup('bigs', 'SELECT k, count(*) AS n, sum(v) AS v, count(v) AS nv, sum(w) AS w, count(w) AS nw FROM big GROUP BY k')});
wait_until_applied($node);
my @stored;    # [position, rows]

foreach my $round (1 .. 6)
{
	my $sign = $round % 2 ? '' : '-';

	change("DELETE FROM big WHERE k = 1; INSERT INTO big SELECT g % 2, $sign$max, ${sign}2147483647 FROM generate_series(1, 20) g");
	push @stored, [ split(/\|/, sql($node, q{SELECT notify_stats.applied_lsn('bigs'), (SELECT string_agg(b::text, ' ' ORDER BY k) FROM bigs b)})) ];
}
foreach my $entry (@stored)
{
	my ($position, $rows) = @$entry;

	is(sql($node, "SELECT string_agg(b::text, ' ' ORDER BY k) FROM notify_stats.rollup_as_of(NULL::bigs, '$position') b"), $rows, "sums as of $position");
}
is(sql($node, "SELECT v FROM bigs WHERE k = 1"), "-" . sql($node, "SELECT 10 * $max\::numeric"), 'the last sums are beyond bigint');

done_testing();
