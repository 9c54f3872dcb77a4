# 045_random_queries.pl
#
# Random summary queries over random tables, given to create_rollup() as they are.  After each of
# several rounds of random changes of facts and dimensions, each rollup that was created must have
# the columns and the rows of its query.  A query that is refused is only counted.
#
# Values that are equal may look different (1.0 and 1.00, 0 and -0, one day and 24 hours), any
# column may be null, dates may be infinite, and keys go and come back on other rows.
#
#   NS_SEED     repeats a run (random)
#   NS_QUERIES  how many queries (64)

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Corpus;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{NS_SEED} || int(rand(2**31));
my $number = $ENV{NS_QUERIES} || 64;
my $per_world = 16;

# The percentage of the queries that is taken, at least; it may rise only.
my $least = 60;

my $steps = 0;
my @worlds;
my @taken;
my $refused = 0;
my %refused;
my %failed;      # rollups that were reported
my %has_rows;    # rollups that had rows once

diag("NS_SEED=$seed");
srand($seed);

my $node = new_node('random_queries', conf => qq{
notify_stats.max_cpu_percent = 100
});

sub chance
{
	my ($percent) = @_;
	return random(100) < $percent;
}

# --- tables ---------------------------------------------------------------------------

# The tables of a world, in the form that Corpus.pm reads: facts f and g with the same columns, and
# dimensions d1 to d3.
sub make_world
{
	my ($name) = @_;
	my $world = { name => $name, queries => [], zone => one_of('UTC', 'UTC', 'Europe/London', 'America/St_Johns') };
	my $dimensions = 1 + random(3);
	my $collation = one_of('', '', ' collate "C"', ' collate "en-x-icu"', ' collate public.caseless');
	my $not_null = sub { my ($percent) = @_; return chance($percent) ? ' not null' : ''; };
	my %nulls = map { ($_ => $not_null->(30)) } ('k1', 'k2', 'k3', 'u', 'v', 'x', 'm', 't', 'c', 'b', 'e', 'dt', 'ts', 'tz', 'iv', 'z');
	my $ddl = "create type color as enum ('red', 'green', 'blue');\n";
	my @keys = ('primary key', 'primary key', 'primary key', 'not null unique', 'unique', '');

	foreach my $fact ('f', 'g')
	{
		my $id = one_of('primary key', 'primary key', '');

		$ddl .= "create table $fact /*" . one_of(3, 40, 40, 80, 150, 150) . "*/ (id bigint $id /*1..500*/"
		  . join('', map { ", k$_ int$nulls{\"k$_\"} /*1..9*/" } 1 .. 3)
		  . ", u int$nulls{u} /*-2..4*/, v bigint$nulls{v} /*0|1|2|7|1000000000000*/"
		  . ", x numeric$nulls{x} /*1|1.0|1.00|0|-0.5|1.5|2.25|0.3333333333333333*/, m numeric(10,2)$nulls{m} /*0|1.5|2.25|-1*/"
		  . ", t text$collation$nulls{t} /*a|A|b|B|a |c*/, c char(3)$nulls{c} /*x|y|xy*/, b boolean$nulls{b}"
		  . ", e color$nulls{e}, dt date$nulls{dt}, ts timestamp$nulls{ts}, tz timestamptz$nulls{tz}"
		  . ", iv interval$nulls{iv} /*1 day|24 hours|1 month|30 days|-01:00|0*/, z float8$nulls{z} /*0|-0|1.5*/);\n";
	}
	foreach my $i (1 .. $dimensions)
	{
		my $key = one_of(@keys);

		$world->{keys}{"d$i"} = $key;
		$ddl .= "create table d$i /*" . one_of(4, 8, 9) . "*/ (id int $key /*1..8*/, p int /*1..8*/, g int" . $not_null->(50) . ' /*1..3*/'
		  . ', w int' . $not_null->(40) . ' /*-1..3*/, r numeric' . one_of('', '(6,2)') . $not_null->(40) . ' /*1|0.5|2.00|0*/'
		  . ', n text' . $not_null->(40) . ' /*a|b|A|z*/, ok boolean' . $not_null->(40) . ', vd date' . $not_null->(50) . ");\n";
	}
	$world->{dimensions} = $dimensions;
	$world->{ddl} = $ddl;
	create_app($node, $world);
	sql($node, "SET search_path = $name;
		CREATE VIEW chosen AS SELECT * FROM f WHERE u IS DISTINCT FROM 2;
		CREATE VIEW joined AS SELECT f.*, d.n, d.w, d.r FROM f JOIN d1 d ON d.id = f.k1 WHERE d.ok IS NOT FALSE");
	return $world;
}

# --- expressions ----------------------------------------------------------------------
#
# A scope has an alias of facts {f}, or of a fact that is joined, and aliases of dimensions {d}.

sub fact_number
{
	my ($f) = @_;
	return one_of("$f.u", "$f.u", "$f.v", "$f.x", "$f.x", "$f.m", "$f.m", "$f.u * 2", "$f.u + $f.v", "coalesce($f.u, 100)", "abs($f.m)",
		"$f.x * $f.u", "-$f.m", "($f.u IS NULL)::int", "nullif($f.u, 0)", "CASE WHEN " . fact_condition($f) . " THEN $f.u ELSE 0 END",
		"CASE WHEN " . fact_condition($f) . " THEN $f.m END", "$f.m * (1 - $f.x)", "$f.u / 2", "$f.k1");
}

sub fact_condition
{
	my ($f) = @_;
	return one_of("$f.b", "NOT $f.b", "$f.b IS NOT TRUE", "$f.u > 1", "$f.u IS NULL", "$f.u IN (1, 2)", "$f.t = 'a'", "$f.t <> 'b'", "$f.e = 'red'",
		"$f.x >= 1", "coalesce($f.u, 3) > 2", "$f.t IS NOT NULL", "$f.dt > '2026-11-15'", "$f.m BETWEEN 0 AND 2", "$f.x = 1.0",
		"($f.b OR $f.u = 1)", "$f.ts < '2026-11-20'", "$f.iv >= '1 day'");
}

sub dimension_condition
{
	my ($d) = @_;
	return one_of("$d.ok", "NOT $d.ok", "$d.ok IS NOT FALSE", "$d.w > 0", "$d.w IS NULL", "$d.n <> 'b'", "$d.id IS NULL", "$d.g IN (1, 2)",
		"coalesce($d.w, 5) > 1", "$d.r = 0.5");
}

sub mixed_condition
{
	my ($f, $d) = @_;
	return one_of("$f.u = $d.w", "$f.u > $d.w", "$f.dt >= $d.vd", "($f.b OR $d.ok)", "($f.u = 1 AND $d.ok OR $f.u = 2 AND $d.w > 0)",
		"coalesce($f.u, 0) < coalesce($d.w, 1)", "$f.u IS NOT DISTINCT FROM $d.w", "$f.ts::date < $d.vd", "$f.u + $d.w > 1");
}

sub condition
{
	my ($scope) = @_;
	my $d = @{ $scope->{d} } ? one_of(@{ $scope->{d} }) : undef;

	return fact_condition($scope->{f}) if !defined $d || chance(45);
	return chance(60) ? dimension_condition($d) : mixed_condition($scope->{f}, $d);
}

# A number; the scope's rows may be null-extended.
sub number
{
	my ($scope) = @_;
	my ($f, $d) = ($scope->{f}, @{ $scope->{d} } ? one_of(@{ $scope->{d} }) : undef);

	return fact_number($f) if !defined $d || chance(55);
	return one_of("$d.w", "$d.r", "$d.w", "coalesce($d.w, 1)", "$d.r * 2") if chance(40);
	return one_of("$f.u * $d.r", "$f.u * $d.r", "$d.r * $f.x", "$f.m * $d.w", "$f.u + $d.w", "$f.m - $d.r", "coalesce($f.u, $d.w)",
		"CASE WHEN $d.ok THEN $f.u ELSE 0 END", "CASE WHEN $f.b THEN $d.w END", "greatest($f.u, $d.w)", "$f.u * $d.r + $f.m",
		"coalesce($f.u, 0) * coalesce($d.r, 1)", "CASE WHEN " . mixed_condition($f, $d) . " THEN 1 ELSE 0 END", "-($f.u * $d.w)");
}

# An expression to group by.
sub key
{
	my ($scope) = @_;
	my ($f, $d) = ($scope->{f}, @{ $scope->{d} } ? one_of(@{ $scope->{d} }) : undef);

	return one_of("$d.n", "$d.g", "$d.n", "$d.g", "$d.id", "$d.ok", "$d.r", "coalesce($d.n, 'none')", "$d.n || $d.g", "$d.vd", "date_trunc('month', $d.vd)",
		"$d.w IS NULL", "CASE WHEN $d.w > 0 THEN 'up' ELSE 'down' END") if defined $d && chance(40);
	return one_of("coalesce($d.n, $f.e::text)", "$f.u + $d.w", "$f.u > $d.w", "CASE WHEN $d.ok THEN $f.c ELSE 'off' END", "coalesce($f.u, $d.g)")
	  if defined $d && chance(12);
	return one_of("$f.u", "$f.u", "$f.t", "$f.t", "$f.e", "$f.dt", "$f.b", "$f.x", "$f.z", "$f.c", "$f.iv", "$f.k1", "$f.k2", "$f.k1",
		"date_trunc('month', $f.ts)", "$f.ts::date", "date_trunc('day', $f.tz)", "date_trunc('hour', $f.tz)", "$f.tz::date", "date_trunc('month', $f.dt)",
		"$f.x::text", "lower($f.t)", "$f.t || '!'", "extract(dow FROM $f.dt)", "extract(hour FROM $f.tz)", "to_char($f.dt, 'YYYY-MM')",
		"to_char($f.ts, 'IYYY-IW')", "$f.e::text", "coalesce($f.u, 0)", "$f.u % 2", "$f.iv::text", "$f.z::text", "$f.u > 1", "$f.u IS NULL",
		"CASE WHEN $f.u > 1 THEN 'high' WHEN $f.u IS NULL THEN 'none' ELSE 'low' END", "$f.c || '.'", "($f.tz AT TIME ZONE 'Europe/London')::date");
}

# A value that has an order, to be compared.
sub value
{
	my ($scope) = @_;
	my ($f, $d) = ($scope->{f}, @{ $scope->{d} } ? one_of(@{ $scope->{d} }) : undef);

	return one_of("$d.w", "$d.n", "$d.vd", "$d.r", "$d.id") if defined $d && chance(30);
	return one_of("$f.u", "$f.x", "$f.m", "$f.t", "$f.dt", "$f.ts", "$f.tz", "$f.iv", "$f.z", "$f.e", "$f.c", "$f.k1", "$f.ts::date", number($scope));
}

# An aggregate.
sub aggregate
{
	my ($scope) = @_;
	my $f = $scope->{f};
	my $filter = chance(25) ? ' FILTER (WHERE ' . condition($scope) . ')' : '';
	my $what = random(100);

	return "count(*)$filter" if $what < 18;
	return one_of("count(1)$filter", 'count(' . value($scope) . ")$filter") if $what < 28;
	return 'sum(' . number($scope) . ")$filter" if $what < 45;
	return 'avg(' . number($scope) . ")$filter" if $what < 54;
	return one_of('min', 'max') . '(' . (value($scope) =~ s/^(\w+\.ok)$/$1::int/r) . ")$filter" if $what < 64;
	return 'count(DISTINCT ' . value($scope) . ")$filter" if $what < 72;
	return one_of('sum', 'avg') . "(DISTINCT $f.u)$filter" if $what < 75;
	return one_of('bool_and', 'bool_or', 'every') . '(' . condition($scope) . ")$filter" if $what < 80;
	return one_of('bit_and', 'bit_or') . "($f.u)$filter" if $what < 82;
	return one_of('var_pop', 'var_samp', 'stddev', 'stddev_pop') . '(' . one_of("$f.u", "$f.m", "$f.v") . ")$filter" if $what < 85;
	return one_of("percentile_cont(0.5) WITHIN GROUP (ORDER BY $f.u)", "percentile_disc(0.25) WITHIN GROUP (ORDER BY $f.m)",
		"mode() WITHIN GROUP (ORDER BY $f.u)", "mode() WITHIN GROUP (ORDER BY $f.e)") . $filter if $what < 89;
	return one_of("array_agg(DISTINCT $f.u)", "array_agg(DISTINCT $f.e)") . $filter if $what < 91;
	return one_of('sum', 'avg') . "($f.iv)$filter" if $what < 94;
	return one_of('coalesce(sum(' . number($scope) . "$filter), 0)" =~ s/\Q$filter\E\), 0\)$/)$filter, 0)/r,
		'round(avg(' . number($scope) . '), 2)', 'sum(' . number($scope) . ') / nullif(count(*), 0)', 'count(*)::int',
		'sum(' . number($scope) . ') - count(*)', '100.0 * count(*) FILTER (WHERE ' . condition($scope) . ') / count(*)',
		"CASE WHEN count(*) > 2 THEN 'many' ELSE 'few' END", "sum($f.m)::numeric(14,1)", "max($f.dt)::text", "sum($f.u)::text",
		"max($f.u) - min($f.u)", "count(*)::numeric / count(DISTINCT coalesce($f.u, 0))");
}

# --- queries --------------------------------------------------------------------------

# A FROM clause with its conditions, and the scope of its columns.
sub sources
{
	my ($world) = @_;
	my $what = random(100);
	my ($i, $j) = (1 + random($world->{dimensions}), 1 + random($world->{dimensions}));
	my $scope = { f => 'f', d => [], where => [], keys => $world->{keys} };
	my $extra = sub {
		my (@conditions) = @_;
		return chance(25) ? ' AND ' . one_of(@conditions) : '';
	};

	if ($what < 18)
	{
		$scope->{from} = 'f';
	}
	elsif ($what < 24)
	{
		$scope->{from} = "(SELECT * FROM f UNION ALL SELECT * FROM g" . (chance(50) ? ' WHERE ' . fact_condition('g') : '') . ') f';
	}
	elsif ($what < 27)
	{
		$scope->{from} = 'chosen f';
	}
	elsif ($what < 30)
	{
		# its columns of the dimension are the fact's to the query
		$scope->{from} = 'joined f';
	}
	elsif ($what < 48)
	{
		$scope->{d} = ['d'];
		$scope->{from} = chance(80) ? "f JOIN d$i d ON d.id = f.k$i" . $extra->(mixed_condition('f', 'd'), fact_condition('f'), dimension_condition('d'))
		  : "d$i d, f";
		push @{ $scope->{where} }, "f.k$i = d.id" if $scope->{from} =~ /, f$/;
	}
	elsif ($what < 63)
	{
		$scope->{d} = ['d'];
		$scope->{from} = "f LEFT JOIN d$i d ON d.id = f.k$i" . $extra->(mixed_condition('f', 'd'), fact_condition('f'), dimension_condition('d'));
	}
	elsif ($what < 80)
	{
		$scope->{d} = ['d'];
		$scope->{from} = chance(85) ? "d$i d LEFT JOIN f ON f.k$i = d.id" : "f RIGHT JOIN d$i d ON f.k$i = d.id";
		$scope->{from} .= $extra->(mixed_condition('f', 'd'), fact_condition('f'), fact_condition('f'), dimension_condition('d'));
	}
	elsif ($what < 83)
	{
		$scope->{d} = ['d'];
		$scope->{from} = "f FULL JOIN d$i d ON d.id = f.k$i";
	}
	elsif ($what < 92)
	{
		# a star; an inner join after an outer one
		$scope->{d} = [ 'd', 'h' ];
		$scope->{from} = "f " . one_of('JOIN', 'LEFT JOIN') . " d$i d ON d.id = f.k1 " . one_of('JOIN', 'LEFT JOIN') . " d$j h ON h.id = f.k2";
	}
	elsif ($what < 97)
	{
		# a chain
		$scope->{d} = [ 'd', 'h' ];
		$scope->{from} = chance(60) ? "f " . one_of('JOIN', 'LEFT JOIN') . " d$i d ON d.id = f.k1 " . one_of('JOIN', 'LEFT JOIN') . " d$j h ON h.id = d.p"
		  : "d$j h LEFT JOIN d$i d ON d.p = h.id LEFT JOIN f ON f.k1 = d.id";
	}
	else
	{
		# two facts, and several columns
		$scope->{d} = ['d'];
		$scope->{from} = one_of("f JOIN g d0 ON d0.k1 = f.k1 JOIN d$i d ON d.id = f.k2", "f JOIN d$i d ON d.id = f.k1 AND d.g = f.k2");
	}
	$scope->{dimension} = "d$i";
	push @{ $scope->{where} }, condition($scope) if chance(30);
	push @{ $scope->{where} }, condition($scope) if chance(10);
	push @{ $scope->{where} }, one_of("f.k1 IN (SELECT id FROM d1 WHERE ok)", "EXISTS (SELECT FROM d1 e WHERE e.id = f.k1 AND e.w > 0)",
		"f.dt >= current_date - 7", "f.ts >= now() - interval '6 days'", "date_trunc('day', f.tz) > now() - interval '9 days'",
		"NOT EXISTS (SELECT FROM d1 e WHERE e.id = f.k1)", "f.u > (SELECT min(w) FROM d1)") if chance(10);
	return $scope;
}

# A query with its own grouping: { sql, columns => N, keys => N }; its columns are o1, o2...
# the keys first.
sub block
{
	my ($world, %param) = @_;
	my $scope = $param{scope} // sources($world);
	my @keys = map { key($scope) } 1 .. ($param{keys} // one_of(0, 1, 1, 1, 2, 2, 3));
	my (@select, @output, %seen, $grouped, $by, $sql);
	my @aggregates = map { aggregate($scope) } 1 .. 1 + random(4);

	@keys = grep { !$seen{$_}++ } @keys;
	unshift @aggregates, $param{first} // 'count(*)' if $param{first} || chance(45);
	$by = join ', ', @keys;
	# a column that depends on a grouped primary key
	if (@keys && !$param{plain} && @{ $scope->{d} } && chance(12) && $world->{keys}{ $scope->{dimension} } eq 'primary key')
	{
		@keys = ('d.id', grep { $_ ne 'd.id' } @keys);
		$by = join ', ', @keys;
		push @select, @keys, one_of('d.n', 'd.w', 'd.ok');
	}
	elsif (@keys && !$param{plain} && chance(10))
	{
		my ($first, @rest) = @keys;

		$by = one_of("ROLLUP ($by)", "CUBE ($by)", "GROUPING SETS ((" . $by . "), ($first), ())");
		@select = @keys;
		push @aggregates, "grouping($first)" if chance(50);
	}
	else
	{
		@select = @keys;
		# a key that is not shown
		shift @select if @keys > 1 && !$param{plain} && chance(8);
	}
	if (!$param{plain} && chance(8))
	{
		push @aggregates, one_of('sum(count(*)) OVER ()', 'rank() OVER (ORDER BY count(*))',
			@keys && $by eq join(', ', @keys) ? ("sum(sum($scope->{f}.u)) OVER (PARTITION BY $keys[0])", "sum(count(*)) OVER (ORDER BY $keys[0])") : ());
	}
	push @aggregates, one_of("'all'", '0', 'NULL::int') if !$param{plain} && chance(5);
	@output = (@select, @aggregates);
	$sql = 'SELECT ' . join(', ', map { "$output[$_] AS o" . ($_ + 1) } 0 .. $#output) . " FROM $scope->{from}";
	$sql .= ' WHERE ' . join(' AND ', @{ $scope->{where} }) if @{ $scope->{where} };
	$sql .= " GROUP BY $by" if @keys;
	$sql .= ' HAVING ' . one_of('count(*) > 1', "sum($scope->{f}.u) > 0", "max($scope->{f}.dt) IS NOT NULL", "avg($scope->{f}.m) > 0.5",
		'count(*) FILTER (WHERE ' . condition($scope) . ') > 0') if chance(10);
	return { sql => $sql, columns => scalar @output, keys => scalar @select, scope => $scope };
}

# A query that needs no view.
sub plain_query
{
	my $key = one_of('f.u', 'f.t', 'f.e', 'f.dt', 'f.k1, f.b', 'f.k2', 'f.x', 'f.b');
	my $rows = one_of('f', '(SELECT * FROM f UNION ALL SELECT * FROM g) f');

	return "SELECT $key, count(*) AS n, count(*) FILTER (WHERE " . fact_condition('f')
	  . ") AS some, sum(f.m) AS s, count(f.m) AS c FROM $rows WHERE " . fact_condition('f') . " GROUP BY $key";
}

# A query of a random shape.
sub query
{
	my ($world) = @_;
	my $what = random(100);
	my ($block, $all);

	if ($what < 50)
	{
		return block($world)->{sql};
	}
	elsif ($what < 60)
	{
		$block = block($world);
		$all = join ', ', map { $_ } 1 .. $block->{columns};
		return "$block->{sql} ORDER BY " . one_of('1', '1 DESC', $all) if chance(40);
		return "$block->{sql} ORDER BY $all" . one_of(' LIMIT 3', ' LIMIT 2 OFFSET 1', ' OFFSET 2', ' LIMIT 100');
	}
	elsif ($what < 65)
	{
		return block($world)->{sql} =~ s/^SELECT /SELECT DISTINCT /r;
	}
	elsif ($what < 73)
	{
		# the same twice, of other rows
		my $scope = sources($world);
		my $one = block($world, scope => $scope, plain => 1);
		my $other = $one->{sql};

		if ($scope->{from} eq 'f' && chance(50))
		{
			$other =~ s/ FROM f\b(?!\.)/ FROM g f/;
		}
		elsif ($other =~ / WHERE / && $scope->{from} !~ / WHERE /)
		{
			$other =~ s/ WHERE / WHERE NOT f.b AND /;
		}
		return one_of("$one->{sql} UNION ALL $other", "SELECT 'one' AS part, x.* FROM ($one->{sql}) x UNION ALL SELECT 'two', y.* FROM ($other) y",
			"$one->{sql} UNION $other");
	}
	elsif ($what < 85)
	{
		# aggregates of aggregates
		my $scope = sources($world);
		my $inner = block($world, scope => $scope, plain => 1, keys => 1 + random(2), first => one_of('count(*)', one_of('sum', 'avg') . '(' . number($scope) . ')'));
		my ($key, $count) = ('o1', 'o' . ($inner->{keys} + 1));
		my $list = one_of("$key, count(*) AS n, count($count) AS c", "$key, sum($count) AS s, avg($count) AS a", "$key, count(DISTINCT $count) AS c, max(${count}::text) AS m",
			"$key, count(*) FILTER (WHERE $count IS NULL) AS n, max($count) AS m");

		return "SELECT count(*) AS n, count($key) AS keys, max($count) AS m FROM ($inner->{sql}) s" if chance(25);
		return "SELECT $list FROM ($inner->{sql}) s GROUP BY $key" if chance(50);
		return "WITH s AS ($inner->{sql}) SELECT $list FROM s GROUP BY $key" if chance(60);
		return "WITH s AS ($inner->{sql}) SELECT s.*, (SELECT count(*) FROM s) AS total FROM s";
	}
	elsif ($what < 91)
	{
		# sums of sums
		my $scope = sources($world);
		my $key = key($scope);
		my $inner = "SELECT $key AS k, " . one_of(@{ $scope->{d} } ? 'd.g' : 'f.u', 'f.e', 'f.k2') . ' AS l, count(*) AS n, sum(' . number($scope) . ") AS s FROM $scope->{from}"
		  . (@{ $scope->{where} } ? ' WHERE ' . join(' AND ', @{ $scope->{where} }) : '') . ' GROUP BY 1, 2';

		return "SELECT k, sum(n) AS n, sum(s) AS s, avg(n) AS a, max(s) AS m FROM ($inner) x GROUP BY k";
	}
	elsif ($what < 97)
	{
		# grouped, then joined
		my $scope = { f => 'f', d => [], from => 'f', where => [] };
		my $inner = 'SELECT f.k1, ' . aggregate($scope) . ' AS a, ' . aggregate($scope) . ' AS b, count(*) AS c FROM f'
		  . (chance(40) ? ' WHERE ' . fact_condition('f') : '') . ' GROUP BY f.k1';

		return one_of("SELECT d.id, d.n, s.a, s.b, coalesce(s.c, 0) AS c FROM d1 d LEFT JOIN ($inner) s ON s.k1 = d.id",
			"SELECT d.n, sum(s.c) AS c, count(s.a) AS a FROM ($inner) s JOIN d1 d ON d.id = s.k1 GROUP BY d.n",
			"WITH s AS ($inner) SELECT d.g, d.w, s.a, s.c FROM s, d1 d WHERE d.id = s.k1 AND d.ok IS NOT FALSE");
	}
	return one_of('SELECT DISTINCT ' . key({ f => 'f', d => [] }) . ' AS o1 FROM f', 'SELECT DISTINCT f.k1, d.n FROM f JOIN d1 d ON d.id = f.k1',
		'SELECT (SELECT count(*) FROM f) AS f, (SELECT sum(u) FROM g) AS g');
}

# --- rounds ---------------------------------------------------------------------------

sub next_seed
{
	return ($seed + 7919 * $steps++) % 1000003 / 1000003;
}

# Statements for the tables of a world, in one transaction or not.
sub change
{
	my ($world, $code, @tables) = @_;
	my @statements = map { $code->($_) } @tables ? @tables : @{ $world->{tables} };

	@statements = ('BEGIN', @statements, 'COMMIT') if chance(50);
	sql($node, "SET TimeZone = '$world->{zone}';\n" . seeded($world, next_seed(), @statements));
	return;
}

# Values that the others are not likely to have, keys of dimensions that are not primary, and times
# about a change of the clock.
sub odd_values
{
	my ($table) = @_;
	my $name = $table->{name};

	return (
		(map { my $column = $_->{name} =~ s/"//gr;
			("UPDATE $name SET $column = '" . one_of('infinity', '-infinity') . "' WHERE random() < 0.07") }
			grep { $_->{type} =~ /^(date|timestamp)/ } @{ $table->{columns} }),
		$name =~ /^d/ && !$table->{key} ? (
			"UPDATE $name SET id = id + (SELECT max(id) FROM $name) WHERE random() < 0.1",
			"UPDATE $name SET id = free.i FROM (SELECT i FROM generate_series(1, 8) i
				WHERE NOT EXISTS (SELECT FROM $name WHERE id = i) ORDER BY random() LIMIT 1) free
				WHERE id = (SELECT max(id) FROM $name)")
		: $name =~ /^d/ ? ()
		: ("UPDATE $name SET tz = '2026-10-24 23:30+00'::timestamptz + random() * interval '3 hours' WHERE random() < 0.15"));
}

# The error of a statement in a world, or ''.
sub error_of
{
	my ($world, $statement) = @_;

	eval {
		sql($node, "\\set VERBOSITY verbose\nSET search_path = $world->{name}; SET TimeZone = '$world->{zone}';
			$statement;\n\\set VERBOSITY default");
		1;
	} or return $@;
	return '';
}

# What a person needs who looks for the fault.
sub report
{
	my ($world, $query, $title, $found) = @_;

	fail("$query->{name}, $title");
	return if $failed{ $query->{name} }++;
	diag("NS_SEED=$seed NS_QUERIES=$number, time zone $world->{zone}\n\n$world->{ddl}\n$query->{sql};\n\n$found\n");
	diag(sql($node, "SET search_path = $world->{name};
		SELECT format(E'-- %s\\n%s', c.oid::regclass, pg_get_viewdef(c.oid)) FROM pg_class c
		WHERE c.relkind = 'v' AND c.relname ~ '^$query->{id}(_core.*|_definition)?\$' AND c.relnamespace = '$world->{name}'::regnamespace
		ORDER BY c.relname"));
	return;
}

# Compares all rollups of a world.  A query that fails by itself at this moment has no rows to compare.
sub compare
{
	my ($title) = @_;
	my ($different, $compared) = (0, 0);

	wait_until_applied($node);
	foreach my $world (@worlds)
	{
		my %query = map { ($_->{name} => $_) } @{ $world->{taken} };
		my %found;

		next if !%query;
		foreach my $line (split /\n/, sql($node, "SET search_path = $world->{name}, public; SET TimeZone = '$world->{zone}';\n" . join '', map {
				"SELECT '$_->{name}', d FROM public.rows_of_one_only('$_->{name}', '*', \$query\$$_->{sql}\$query\$) d;
				SELECT '$_->{name}', 'has rows' WHERE EXISTS (SELECT FROM $_->{name});\n" } @{ $world->{taken} }))
		{
			my ($name, $row) = split /\|/, $line, 2;

			if (defined $row && $row eq 'has rows')
			{
				$has_rows{$name} = 1;
				next;
			}
			# a value has several lines
			$name = (sort keys %found)[-1] // 'no rollup', $row = $line if !exists $query{$name};
			$found{$name} .= "$row\n";
		}
		$compared += keys %query;
		foreach my $name (sort keys %found)
		{
			my ($status) = $node->psql('postgres', "SET search_path = $world->{name}; SET TimeZone = '$world->{zone}';
				SELECT count(*) FROM ($query{$name}{sql}) q, LATERAL (SELECT q::text LIMIT 1) r");

			next if $found{$name} =~ /^22/ && $status != 0;
			report($world, $query{$name}, $title, $found{$name});
			$different++;
		}
	}
	is($different, 0, "$title: $compared rollups have the rows of their queries");
	return;
}

# --- the test -------------------------------------------------------------------------

make_comparison($node);
sql($node, q{CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)});

while (@worlds * $per_world < $number)
{
	my $world = make_world('w' . @worlds);
	my $empty = chance(15);

	push @worlds, $world;
	change($world, \&fill) if !$empty;
	sql($node, 'ANALYZE');
	foreach my $i (1 .. $per_world)
	{
		my $query = { id => "q$i", name => "$world->{name}.q$i", sql => $i == 1 ? plain_query() : query($world) };
		my $error = error_of($world, "CREATE VIEW $query->{id}_asked AS $query->{sql}");

		if ($error ne '')
		{
			fail("a query that is not one: $query->{sql}: $error");
			next;
		}
		$error = error_of($world, "SELECT notify_stats.create_rollup('$query->{id}', \$query\$$query->{sql}\$query\$)");
		if ($error eq '')
		{
			push @{ $world->{taken} }, $query;
			push @taken, $query;
		}
		else
		{
			my ($code, $message) = $error =~ /ERROR:  (\w+): (.*)/;

			note("refused: $query->{sql}: $message");
			$refused++;
			$refused{$message}++;
			# what is wrong inside is not a reason
			fail("refused without a reason: $query->{sql}: $error") if $code =~ /^(XX|22|42601|42703|42P01|42804|42883)/;
		}
	}
	change($world, \&fill) if $empty;
	foreach my $query (@{ $world->{taken} })
	{
		my $found = compare_columns($node, "$query->{name}_asked", $query->{name}, "$query->{name}_definition");

		report($world, $query, 'the columns', $found) if $found ne '';
	}
}

compare('at first');
change($_, \&churn) foreach @worlds;
compare('after changes of all columns');
change($_, \&move_keys) foreach @worlds;
change($_, \&odd_values) foreach @worlds;
compare('after changes of keys');
# facts, a dimension, or all
change($_, sub { "TRUNCATE $_[0]{name}" }, one_of([ grep { $_->{name} =~ /^[fg]/ } @{ $_->{tables} } ],
		[ grep { $_->{name} =~ /^d/ } @{ $_->{tables} } ], [ grep { $_->{name} eq 'd1' } @{ $_->{tables} } ], $_->{tables})->@*) foreach @worlds;
compare('after TRUNCATE');
change($_, \&refill) foreach @worlds;
change($_, \&churn) foreach @worlds;
compare('after they were filled again');
change($_, sub { "DELETE FROM $_[0]{name} WHERE random() < 0.85" }) foreach @worlds;
compare('with few rows');
foreach my $i (1 .. 3)
{
	change($_, one_of(\&refill, \&churn, \&odd_values, \&move_keys)) foreach @worlds;
	compare("after more changes ($i)");
}

is(sql($node, join '', map { "SELECT '$_->{name}', v FROM public.differences('$_->{name}') v;\n" } @taken), '', 'verify() finds nothing');
is(sql($node, q{SELECT rollup, state, reason FROM notify_stats.rollups WHERE state <> 'live'}), '', 'all rollups are live');
cmp_ok(3 * keys %has_rows, '>=', scalar @taken, 'rollups had rows');
note("$refused{$_} refused: $_") foreach sort { $refused{$b} <=> $refused{$a} } keys %refused;
diag(scalar @taken . ' of ' . (@taken + $refused) . ' random queries taken');
cmp_ok(100 * @taken / (@taken + $refused), '>=', $least, 'as many queries are taken as before');
diag("repeat it by NS_SEED=$seed NS_QUERIES=$number") if !Test::More->builder->is_passing;

done_testing();
