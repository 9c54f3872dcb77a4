# 063_monitoring.pl
#
# The files in doc/monitoring, with Debian's exporters, Prometheus and promtool: the rules pass
# their tests; both exporters return the same metrics; rules and dashboard use no others; each query
# of the dashboard returns data; no alert is active on a healthy server, and one fires when a rollup
# fails; the counters survive a restart of the worker.
#
# optional packages: prometheus prometheus-postgres-exporter prometheus-sql-exporter

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use FindBin;
use lib $FindBin::Bin;
use Documents;
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

foreach my $program (qw(prometheus promtool prometheus-postgres-exporter prometheus-sql-exporter))
{
	my $package = $program eq 'promtool' ? 'prometheus' : $program;

	plan skip_all => "no $program: install the package $package" if !grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my $doc = abs_path("$FindBin::Bin/../../doc/monitoring");
my $dir = PostgreSQL::Test::Utils::tempdir('monitoring');
my $http = HTTP::Tiny->new(timeout => $PostgreSQL::Test::Utils::timeout_default, proxy => undef, http_proxy => undef);
my %port = map { ($_ => PostgreSQL::Test::Cluster::get_free_port()) } qw(prometheus postgres sql);
my ($node, @programs);

# --- the files ------------------------------------------------------------------------

# Whether a command succeeds; it prints what is wrong otherwise.
sub succeeds
{
	my ($title, @command) = @_;
	my $output = '';
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	ok(IPC::Run::run(\@command, '<' => \undef, '>' => \$output, '2>&1'), $title) or diag $output;
	return;
}

sub doc
{
	my ($name) = @_;
	return slurp_file("$doc/$name");
}

# Those of a list that are not in another one.
sub missing
{
	my ($list, $from) = @_;
	my %known = map { ($_ => 1) } @$from;
	my %seen;

	return join ' ', sort grep { !$known{$_} && !$seen{$_}++ } @$list;
}

# The metrics whose names are in a text.
sub metrics_in
{
	my ($text) = @_;
	return [ $text =~ /\b(notify_stats_(?:stream|build|rollup|check)_\w+)\b/g ];
}

# The metrics that the queries return, with the type of each.
sub metrics_of_queries
{
	my ($query, $column, %type);

	foreach (split /\n/, doc('postgres_exporter.yml'))
	{
		$query = $1 if /^(\w+):/;
		$column = $1 if /^    - (\w+):/;
		$type{"${query}_$column"} = lc $1 if /^        usage: (GAUGE|COUNTER)$/;
	}
	return %type;
}

succeeds('promtool check rules', 'promtool', 'check', 'rules', "$doc/rules.yml");
succeeds('promtool test rules', 'promtool', 'test', 'rules', "$doc/rules_test.yml");
succeeds('promtool check config', 'promtool', 'check', 'config', "$doc/prometheus.yml");

my @alerts = doc('rules.yml') =~ /^ +- alert: (\w+)$/mg;
my $tests = doc('rules_test.yml');
cmp_ok(scalar @alerts, '>', 0, 'there are alerts');
is(missing(\@alerts, [ $tests =~ /alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:\n +- exp_labels/g ]), '',
	'each alert has a test in which it fires');
is(missing(\@alerts, [ $tests =~ /alertname: (\w+), eval_time: \w+, exp_alerts: \[\]/g ]), '', 'and one in which it does not');
is(join(' ', doc('README.md') =~ /^\| `(NotifyStats\w+)` \|/mg), "@alerts", 'the manual lists the alerts');

my %type = metrics_of_queries();
cmp_ok(scalar keys %type, '>', 0, 'there are metrics');
is(join(' ', sort grep { ($type{$_} eq 'counter') != /_total$/ } keys %type), '', 'the names of counters, and no others, end in _total');
is(missing(metrics_in(doc('rules.yml')), [ keys %type ]), '', 'the rules use no other metrics');
is(missing(metrics_in($tests), [ keys %type ]), '', 'nor do their tests');
is(missing(metrics_in(doc('dashboard.json')), [ keys %type ]), '', 'nor does the dashboard');
is(missing([ keys %type ], metrics_in(doc('dashboard.json'))), '', 'the dashboard shows each metric');
# "…name" in a list stands for the same beginning as the name before it
is(missing([ map { s/^notify_stats_[a-z]+_//r } keys %type ], [ doc('README.md') =~ /(?:…|notify_stats_[a-z]+_)(\w+)`/g ]),
	'', 'the manual lists each metric');
is(missing([ doc('README.md') =~ /^\| `(\w+\.\w+)` \|/mg ], [ map { s{.*/}{}r } glob "$doc/*" ]), '', 'the files in the manual exist');

# --- the dashboard --------------------------------------------------------------------

my $dashboard = JSON::PP::decode_json(doc('dashboard.json'));
my @panels = @{ $dashboard->{panels} };
my %variable = map { ($_->{name} => $_) } @{ $dashboard->{templating}{list} };

# Whether two panels cover the same place.
sub overlap
{
	my ($one, $two) = map { $_->{gridPos} } @_;
	return $one->{x} < $two->{x} + $two->{w} && $two->{x} < $one->{x} + $one->{w}
	  && $one->{y} < $two->{y} + $two->{h} && $two->{y} < $one->{y} + $one->{h};
}

is(scalar(keys %{ { map { ($_->{id} => 1) } @panels } }), scalar @panels, 'the panels have different ids');
is(join(', ', map { $_->{title} } grep { my $panel = $_; $_->{gridPos}{x} + $_->{gridPos}{w} > 24 || grep { $_ != $panel && overlap($_, $panel) } @panels } @panels),
	'', 'no panels overlap');
is(join(', ', map { $_->{title} } grep { !$_->{description} || $_->{datasource}{uid} ne '${datasource}' } @panels),
	'', 'each panel has a description, and the data source that the user chooses');
is(missing([ doc('dashboard.json') =~ /\$\{?(\w+)/g ], [ keys %variable, '__all', '__rate_interval' ]), '', 'the variables are defined');

# --- servers --------------------------------------------------------------------------

# Tries a function until it returns a true value, which it returns.
sub wait_until
{
	my ($what, $try) = @_;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $limit)
	{
		my $result = $try->();
		return $result if $result;
		select undef, undef, undef, 0.1;    # of a polling loop
	}
	die "timed out waiting for $what";
}

# Starts a program with settings of the environment, and waits until it answers.
sub start_program
{
	my ($url, $env, @command) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/$command[0].log";
	local @ENV{ keys %$env } = values %$env;

	push @programs, IPC::Run::start(\@command, '<' => \undef, '>>' => $log, '2>&1');
	wait_until($command[0], sub { $http->get($url)->{success} });
	return;
}

# With all of them gone, the test can end.
sub end_programs
{
	foreach (splice @programs)
	{
		$_->signal('TERM');
		$_->finish;
	}
	return;
}

END
{
	end_programs();
}

# A file of the manual with some text replaced.
sub adapted
{
	my ($name, %replacement) = @_;
	my $text = doc($name);

	foreach (sort keys %replacement)
	{
		$text =~ s/\Q$_\E/$replacement{$_}/g or die "$name does not have $_";
	}
	append_to_file("$dir/$name", $text);
	return "$dir/$name";
}

# The data that Prometheus' API returns.
sub api
{
	my ($path, %form) = @_;
	my $answer = $http->get("http://127.0.0.1:$port{prometheus}/api/v1/$path?" . $http->www_form_urlencode(\%form));

	die "$path: $answer->{content}" if !$answer->{success};
	return JSON::PP::decode_json($answer->{content})->{data};
}

# The series of an expression.
sub series
{
	my ($query) = @_;
	return @{ api('query', query => $query)->{result} };
}

# Waits until an expression has series, none of which is NaN, and returns the value of the first.
sub value
{
	my ($query) = @_;

	return wait_until($query, sub {
		my @series = series($query);
		return @series && !grep({ $_->{value}[1] eq 'NaN' } @series) ? [ $series[0]{value}[1] ] : undef;
	})->[0];
}

# Alerts that are pending or firing: "state name", and the rollup or item.
sub active_alerts
{
	return map { join ' ', $_->{state}, grep { defined } @{ $_->{labels} }{qw(alertname rollup item)} } @{ api('alerts')->{alerts} };
}

# Waits until the rules were evaluated, with data that were there before the call.
sub wait_for_evaluation
{
	my $last = '';

	for (1 .. 3)
	{
		my $now = wait_until('an evaluation', sub {
			my $time = api('rules')->{groups}[0]{lastEvaluation};
			return $time ne $last ? $time : undef;
		});
		$last = $now;
	}
	is(join(' ', map { $_->{name} } grep { $_->{health} ne 'ok' } @{ api('rules')->{groups}[0]{rules} }), '', 'the rules can be evaluated');
	return;
}

$node = new_node('monitoring', conf => "autovacuum = off\nmax_slot_wal_keep_size = '2GB'\n");
sql($node, 'CREATE ROLE prometheus LOGIN IN ROLE pg_monitor');
make_kinds($node);
is_exact($node, 'the rollup is live');
change_kinds($node);
sql($node, 'ANALYZE kinds');

my $host = $node->host;
start_program("http://127.0.0.1:$port{postgres}/",
	{ DATA_SOURCE_NAME => "user=prometheus host=$host port=" . $node->port . ' dbname=postgres sslmode=disable' },
	'prometheus-postgres-exporter', "--extend.query-path=$doc/postgres_exporter.yml", "--web.listen-address=127.0.0.1:$port{postgres}");
my $user = getpwuid $<;    # Debian runs it as a superuser, who becomes role prometheus
start_program("http://127.0.0.1:$port{sql}/", {},
	'prometheus-sql-exporter', "-web.listen-address=127.0.0.1:$port{sql}", '-config.file',
	adapted('sql_exporter.yml', "'15s'" => "'1s'", '//postgres@/shop?' => "//$user@/postgres?port=" . $node->port . '&',
		'/run/postgresql' => $host));
start_program("http://127.0.0.1:$port{prometheus}/-/ready", {},
	'prometheus', "--storage.tsdb.path=$dir/data", "--web.listen-address=127.0.0.1:$port{prometheus}", '--config.file',
	adapted('prometheus.yml', ': 15s' => ': 1s', ' rules.yml' => " $doc/rules.yml",
		'localhost:9187' => "127.0.0.1:$port{postgres}", 'localhost:9237' => "127.0.0.1:$port{sql}"));

# --- a healthy server -----------------------------------------------------------------

my $metrics = $http->get("http://127.0.0.1:$port{postgres}/metrics")->{content};
is(join(' ', sort($metrics =~ /^# TYPE (notify_stats_\w+ \w+)$/mg)), join(' ', sort map { "$_ $type{$_}" } keys %type),
	'the exporter returns the metrics, with their types');
{
	my $own = join '', $metrics =~ /^((?:# \w+ )?notify_stats_.*\n)/mg;
	my $output;

	ok(IPC::Run::run([ 'promtool', 'check', 'metrics' ], '<' => \$own, '>' => \$output, '2>&1'), 'promtool check metrics')
	  or diag $output;
}

# from both exporters, so that they return another value later
value('count(notify_stats_stream_changes_total) == 2');
change_kinds($node);
cmp_ok(value('rate(notify_stats_stream_changes_total{job="postgres_exporter"}[1m]) > 0'), '>', 0, 'there is a rate of changes');
cmp_ok(value('rate(notify_stats_stream_changes_total{job="sql_exporter"}[1m]) > 0'), '>', 0, 'by the other exporter as well');

# The metrics of an exporter, without the labels that depend on it; with their values if they
# change only when something happens.
sub exported
{
	my ($job) = @_;

	return join "\n", sort map {
		my $metric = $_->{metric};
		my $value = $metric->{__name__} =~ /changes|transactions|errors|current|groups|timestamp|problems/ ? $_->{value}[1] : '';
		join ' ', $metric->{__name__}, (map { "$_=$metric->{$_}" } grep { defined $metric->{$_} } qw(datname rollup state item)), $value;
	} series(qq({__name__=~"notify_stats_.+", job="$job"}));
}

wait_until_applied($node);
my $exported = wait_until('the same metrics of both exporters', sub {
	my $metrics = exported('sql_exporter');
	return $metrics eq exported('postgres_exporter') ? $metrics : undef;
});
pass('both exporters return the same');
like($exported, qr/^notify_stats_rollup_state_current datname=postgres rollup=kinds state=live 1$/m, 'the rollup is live');

# The variables of the dashboard, and then each query with one value of each.
my %chosen = (__rate_interval => '1m', datasource => '');
foreach my $name (sort { $b cmp $a } grep { $variable{$_}{type} eq 'query' } keys %variable)
{
	my ($selector, $label) = $variable{$name}{query}{query} =~ /^label_values\((.*), (\w+)\)$/;

	$selector =~ s/\$(\w+)/$chosen{$1}/g;
	$chosen{$name} = (series("group by ($label) ($selector)"))[0]{metric}{$label};
	isnt($chosen{$name} // '', '', "variable $name of the dashboard has a value");
}
foreach my $panel (@panels)
{
	foreach my $target (@{ $panel->{targets} })
	{
		my $query = $target->{expr} =~ s/\$(\w+)/$chosen{$1}/gr;

		isnt(value($query), '', "panel $panel->{title}, query $target->{refId}");
	}
}

# One that has become pending because a scrape took too long ends by itself.
wait_for_evaluation();
wait_until('no alert', sub { !active_alerts() });
pass('no alert is active on a healthy server');
my $manual = document_block('doc/operations.md', 'Alerts', 'sql');
is(sql($node, $manual), '', 'nor does the query in the manual report anything');
is(join(' ', map { $_->{name} } @{ api('rules')->{groups}[0]{rules} }), "@alerts", 'though all are evaluated');

# --- the worker and the server are restarted --------------------------------------------

# Waits until both exporters have returned counters since a time of the server.
sub wait_for_cycles
{
	my $cycles = sql($node, q{SELECT cycles_total FROM notify_stats.status WHERE stream = 'main'});

	value(qq(count(notify_stats_stream_cycles_total >= $cycles) == 2));
	return;
}

my $worker = worker_pid($node);
sql($node, "SELECT pg_terminate_backend($worker)");
wait_for_worker($node, 'postgres', $worker);
change_kinds($node);
wait_until_applied($node);
wait_for_cycles();
is(value("sum(resets($_\[10m]))"), 0, "a restart of the worker does not reset $_") foreach sort grep { $type{$_} eq 'counter' } keys %type;

$node->restart;
value('sum(resets(notify_stats_stream_cycles_total[10m])) == 2');
pass('a restart of the server does, and the exporters connect again');
wait_for_evaluation();
is(join(', ', grep { /firing/ } active_alerts()), '', 'which no alert reports');

# --- a rollup fails -------------------------------------------------------------------

sql($node, q{ALTER TABLE kinds ADD CHECK (kind <> 'new')});
sql($node, q{INSERT INTO source VALUES (-1, 'new')});
wait_for_state($node, 'kinds', 'failed');
wait_until('the alert', sub { grep { $_ eq 'firing NotifyStatsRollupFailed kinds' } active_alerts() });
pass('an alert fires when a rollup fails');
like(sql($node, $manual), qr/^error\|rollup kinds has failed\|/m, 'the query in the manual reports it as well');
wait_until('the alerts', sub { grep { $_ eq 'pending NotifyStatsCheck rollup' } active_alerts() });
pass('check() is about to be reported as well');

sql($node, 'ALTER TABLE kinds DROP CONSTRAINT kinds_kind_check');
wait_for_state($node, 'kinds', 'live');
wait_until('the end of the alert', sub { !grep { /RollupFailed/ } active_alerts() });
pass('it ends when the rollup is live again');

pause_stream($node);
wait_until('the alert', sub { grep { $_ eq 'pending NotifyStatsNotRunning' } active_alerts() });
pass('a stream that is paused is about to be reported');
resume_stream($node);

end_programs();
$node->stop;

done_testing();
