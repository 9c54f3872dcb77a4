# 044_corpus.pl
#
# Real aggregate queries of public applications, given to create_rollup() as they are written.
# The columns of each rollup are the query's.  After each of several rounds of changes of all
# tables, the rollup has the query's rows, and verify() finds nothing.
#
#   NOTIFY_STATS_CORPUS  another file of queries (test/corpus/queries.sql)
#   NS_LEAST             how many of them have to be taken (0); the output of a test that fails has
#                        the reasons of those that are refused
#   NS_SEED              other random values (1)

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Corpus;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# How many of the queries are taken, at least; of the repository's, it may rise only.
my $least = $ENV{NS_LEAST} || ($ENV{NOTIFY_STATS_CORPUS} ? 0 : 65);

my $file = $ENV{NOTIFY_STATS_CORPUS} || "$FindBin::Bin/../corpus/queries.sql";
my $seed = $ENV{NS_SEED} || 1;
my $steps = 0;

my @apps = read_corpus($file);
my @queries = map { @{ $_->{queries} } } @apps;
my $node = new_node('corpus', conf => qq{
notify_stats.max_cpu_percent = 100
});
my @taken;
my %without_rows = map { ($_->{id} => 1) } @queries;    # in all rounds

# A seed from 0 to less than 1, another each time.
sub next_seed
{
	return ($seed * 1000 + $steps++) % 1000003 / 1000003;
}

# Changes tables: SUB returns the statements for a table, and is called for those of each application
# for which WHICH, with the number of the table, is true.  Either each statement or each
# application's is a transaction.
sub change
{
	my ($code, $which, $at_once) = @_;

	foreach my $app (@apps)
	{
		my @tables = @{ $app->{tables} };
		my @statements = map { $code->($tables[$_]) } grep { !$which || $which->($_) } 0 .. $#tables;

		@statements = ('BEGIN', @statements, 'COMMIT') if $at_once;
		sql($node, seeded($app, next_seed(), @statements));
	}
	return;
}

sub compare
{
	my ($title, %param) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	delete $without_rows{$_} foreach split /\n/, sql($node, join '', map {
			my $asked = $_->{name} . '_asked';
			"SELECT '$_->{id}' WHERE EXISTS (SELECT FROM $asked);\n"
		} @queries);
	wait_until_applied($node);
	is(compare_rows($node, map { [ $_->{app}, $_->{name}, $_->{compare}, $_->{sql} ] } @taken),
		'', "$title: the rollups have the queries' rows");
	is(sql($node, join '', map { "SELECT '$_->{id}', v FROM notify_stats.verify('$_->{name}') v;\n" } @taken),
		'', "$title: verify() finds nothing")
	  if $param{verify};
	return;
}

make_comparison($node);
foreach my $app (@apps)
{
	create_app($node, $app);
	$_->{app} = $app->{name} foreach @{ $app->{queries} };
}
change(\&fill);
# estimates are from statistics
sql($node, 'ANALYZE');

foreach my $query (@queries)
{
	my ($status, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose
		SET search_path = $query->{app}; SELECT notify_stats.create_rollup('$query->{name}', \$query\$$query->{sql}\$query\$)");

	if ($status == 0)
	{
		push @taken, $query;
	}
	else
	{
		my $reason = join ' ', $error =~ /(?:ERROR|DETAIL):  (.*)/g;

		note("$query->{id} refused" . ($query->{none} ? " (as expected)" : '') . ": $reason");
		# what is wrong inside is not a reason
		unlike($error, qr/ERROR:  (XX|22|42601|42703)/, "$query->{id}: refused with a reason");
	}
}

foreach my $query (@taken)
{
	is(compare_columns($node, "$query->{name}_asked", $query->{name}, "$query->{name}_definition"),
		'', "$query->{id}: names, types and collations of the columns are the query's");
}

my $total = @queries;
compare('at first');
change(\&churn);
compare('after changes of all columns', verify => 1);
change(\&move_keys, undef, 1);
compare('after changes of keys');
change(sub { "TRUNCATE $_[0]{name}" }, sub { $_[0] % 2 == 0 });
compare('with half of the tables empty');
change(\&refill, undef, 1);
change(sub { "TRUNCATE $_[0]{name}" }, sub { $_[0] % 2 == 1 });
compare('with the other half empty', verify => 1);
change(\&refill);
change(\&move_keys);
change(\&churn, undef, 1);
compare('after they were filled again');
change(sub { "DELETE FROM $_[0]{name}" });
compare('with all tables empty');
change(\&fill, undef, 1);
compare('at last', verify => 1);

is(join(' ', sort keys %without_rows), '', 'each query had rows');
is(sql($node, q{SELECT rollup, state, reason FROM notify_stats.rollups WHERE state <> 'live'}), '', 'all rollups are live');
diag(scalar @taken . " of $total real queries taken as written");
cmp_ok(scalar @taken, '>=', $least, 'as many queries are taken as before');

done_testing();
