# 042_documents.pl
#
# What README.md and doc/*.md say is so.  Their examples are run, in the order of the page, in a
# database that has nothing in it (README.md), or what "Getting started" has left (doc/*.md); the
# syntax is in Documents.pm.  The README's settings, functions and versions are those that
# there are, and doc/operations.md has each column of the views and each item of check().  Links lead somewhere.
#
# packages: python3-psycopg python3-psycopg2
# versions: all

use strict;
use utf8;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Documents;
use File::Basename qw(dirname);
use IPC::Run ();
use JSON::PP ();
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::Bin/../..";
my $dir = PostgreSQL::Test::Utils::tempdir();
my @pages = document_pages();
my %blocks = map { ($_ => [ document_blocks($_) ]) } @pages;

# The library's output, and what is sent to programs, is bytes.
sub encoded
{
	my ($text) = @_;

	utf8::encode($text);
	return $text;
}

sub decoded
{
	my ($bytes) = @_;

	utf8::decode($bytes);
	return $bytes;
}

# nothing(TITLE, PROBLEM...)
sub nothing
{
	my ($title, @problems) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(encoded(join "\n", @problems), '', encoded($title));
}

# What is in one of two lists only.
sub list_difference
{
	my ($there, $told) = @_;
	my %there = map { ($_ => 1) } @$there;
	my %told = map { ($_ => 1) } @$told;

	return ((map { "missing: $_" } grep { !$told{$_} } sort keys %there),
		(map { "there is no $_" } grep { !$there{$_} } sort keys %told));
}

# --- what needs no server -------------------------------------------------------------

cmp_ok(() = document_text('README.md') =~ /\n/g, '<=', 250, 'README.md has at most 250 lines');

# The links of a page that lead nowhere.
sub broken_links
{
	my ($page) = @_;
	my @problems;

	foreach my $link (document_links($page))
	{
		my ($line, $target) = @$link;
		my ($path, $anchor) = $target =~ /^([^#]*)(?:#(.*))?$/;

		next if $target =~ m{^https://[\w.-]+\.\w+(?:[/?#]\S*)?$};
		if ($path eq '') { $path = $page }
		else
		{
			$path = $page =~ m{^(.*)/} ? "$1/$path" : $path;
			1 while $path =~ s{[^/]+/\.\./}{};
		}
		if ($target =~ /^\w+:/) { push @problems, "$page:$line: not https: $target" }
		elsif (!-e "$top/$path") { push @problems, "$page:$line: no file: $target" }
		elsif (defined $anchor && ($path !~ /\.md$/ || !document_anchors($path)->{$anchor}))
		{
			push @problems, "$page:$line: no heading: $target";
		}
	}
	return @problems;
}

nothing("the links of $_", broken_links($_)) foreach @pages, 'src/README.md', 'CHANGELOG.md', 'test/bench/RESULTS.md';

my ($makefile, $control, $readme) = map { slurp_file("$top/$_") } qw(Makefile notify_stats.control README.md);
my $meta = JSON::PP::decode_json(slurp_file("$top/META.json"));
my ($version) = $control =~ /^default_version *= *'(.*)'/m;
my ($majors) = $makefile =~ /filter-out ([\d ]+),\$\(MAJORVERSION\)/;
my ($versions) = grep { $_->{head}[0] eq 'PostgreSQL' } document_tables('README.md');

is($meta->{version}, "$version.0", 'META.json has the version of the extension');
is($meta->{provides}{notify_stats}{$_->[0]}, $_->[1], "META.json: $_->[0] of the extension")
  foreach [ version => "$version.0" ], [ file => "src/notify_stats--$version.sql" ], [ docfile => 'README.md' ];
is($meta->{prereqs}{runtime}{requires}{PostgreSQL}, $majors =~ s/ .*/.0.0/r, 'META.json has the oldest server');
like(slurp_file("$top/CHANGELOG.md"), qr/\A(?:(?!^## ).)*^## \Q$version\E\.\d+ (?:- \d{4}-\d\d-\d\d|\(unreleased\))$/ms, 'CHANGELOG.md begins with it');
nothing('README.md has the version of the extension',
	grep { $_ ne $version } $readme =~ /\bVersion (\d+\.\d+)\b/gi);
is(join(' ', sort map { split /, / } map { $_->[0] } @{ $versions ? $versions->{rows} : [] }), $majors,
	'README.md has the versions of the server');

# --- how blocks are run ---------------------------------------------------------------

# What is wrong with a block that is not run here, as a list; undefined if it is run here.
sub run_elsewhere
{
	my ($block) = @_;
	my ($reason, $heading) = ($block->{'not run'}, $block->{headings}[-1] // '');

	# what is done once, as root, on a machine that has nothing
	$reason //= 'tested by first_steps'
	  if $block->{page} eq 'README.md' && $block->{language} eq 'sh' && $heading =~ /^(?:Installation|Uninstalling)$/;
	if (defined $reason)
	{
		my ($test) = $reason =~ /\btested by (\S+)/;

		return [ defined $test && !tests_block($block, $test) ? "$test does not run it" : () ];
	}
	return $block->{language} eq 'sh' ? our_commands($block->{text}) : undef;
}

# Whether a test takes this block from the page.
sub tests_block
{
	my ($block, $test) = @_;
	my ($file) = grep { -f $_ } "$top/test/t/$test.pl", "$top/test/t/$test", "$top/test/$test";
	my $text = $file ? slurp_file($file) : '';

	foreach my $heading (@{ $block->{headings} })
	{
		return 1 if $text =~ /document_block\('\Q$block->{page}\E', '\Q$heading\E', '$block->{language}'\)/;
		return 1 if $text =~ /^ +'\Q$block->{page}: $heading\E'$/m;
	}
	return 0;
}

# What is wrong with commands like test/run, as a list; undefined if there are others.  Each has the
# options that it is given.
sub our_commands
{
	my ($text) = @_;
	my @problems = ();
	my @lines = grep { /\S/ } map { s/(?:^|\s+)#.*//r } split /\n/, $text;

	return undef if grep { !m{^(?:\w+=\S* )*(?:test|\.ci)/} } @lines;
	foreach (@lines)
	{
		my ($command) = m{((?:test|\.ci)/\S+)};

		if (!-x "$top/$command") { push @problems, "there is no $command" }
		else
		{
			my $script = slurp_file("$top/$command");
			push @problems, map { "$command has no option $_" } grep { $script !~ /\Q$_\E\b/ } / (--[\w-]+)/g;
		}
	}
	return [@problems];
}

foreach my $block (map { @{ $blocks{$_} } } @pages)
{
	fail(encoded("$block->{name}: $block->{problem}")) if $block->{problem};
}

# --- a server -------------------------------------------------------------------------

# with what the README has in postgresql.conf, for which only the names of databases matter
my $node = new_node('documents', conf => encoded(scalar document_block('README.md', 'Installation', 'ini')) . "notify_stats.database = '*'\n");
my ($server) = sql($node, 'SHOW server_version_num') =~ /^(\d+)\d{4}$/;
my $superuser = sql($node, 'SELECT current_user');
my @roles = split /\n/, sql($node, 'SELECT rolname FROM pg_roles');

# --- settings, functions, columns -----------------------------------------------------

my %units = (ms => [ 1, ms => 1000, s => 60, min => 60, h => 24, 'd' ], kB => [ 1, kB => 1024, MB => 1024, GB => 1024, 'TB' ],
	MB => [ 1, MB => 1024, GB => 1024, 'TB' ]);

# A value as people write it: in the largest unit of which it is a multiple.
sub with_unit
{
	my ($value, $unit) = @_;
	my @units = @{ $units{$unit} // return $value };

	return $value if $value eq '0';
	for (shift @units; @units > 1 && $value % $units[1] == 0; splice @units, 0, 2) { $value /= $units[1] }
	return "$value $units[0]";
}

# The cells of a table's row without marks for code.
sub plain
{
	my ($row) = @_;
	return map { tr/`//dr } @$row;
}

my ($settings) = grep { $_->{head}[0] eq 'setting' } document_tables('README.md');
my (@settings, @restart, @any_role);

foreach (split /\n/, sql($node, q{
	SELECT name, boot_val, unit, context FROM pg_settings
	WHERE name LIKE 'notify\_stats.%' AND name NOT LIKE '%.debug\_%'}))
{
	my ($name, $value, $unit, $context) = split /\|/, $_, -1;

	push @settings, "$name | " . ($value eq '' ? 'empty' : with_unit($value, $unit));
	push @restart, $name if $context eq 'postmaster';
	push @any_role, $name if $context eq 'user';
	die "$name: $context" if $context !~ /^(?:postmaster|sighup|user)$/;
}
nothing('the settings in README.md, with their defaults',
	list_difference(\@settings, [ map { join ' | ', (plain($_))[ 0, 1 ] } @{ $settings->{rows} } ]));
{
	my ($exceptions) = document_prose('README.md', 'Settings') =~
	  /\btake effect on reload, except for (.*?), which needs? a restart/;
	is(join(' ', ($exceptions // '') =~ /`(.*?)`/g), "@restart", 'and which of them need a restart');
	is(join(' ', map { (plain($_))[0] } grep { $_->[2] =~ /Any role may set it/ } @{ $settings->{rows} }), "@any_role",
		'and which of them any role may set');
}

# what views, triggers and other functions of the extension call
my @internal = qw(blocked_by build_activity catalog_state catch_up_activity check_primary check_view computed_gaps display_name
	fed_tables follow_owner ignored_by is_resumable is_successor keep_own_rows late_standbys left_cores loss_reason note_ddl
	replacement_columns replacement_comments replacement_copies replacement_indexes replacement_names replacement_obstacles
	replacement_pairs replacement_place replacement_relations replacement_same replacement_stubs
	replacement_views report_drop source_gaps stream_activity subscription_problem subscription_problems transaction_name worst_part);
my (@functions, @told);

# "name(argument type [DEFAULT], ...) → result" of each; and the same as the README has it
foreach (split /\n/, sql($node, q{
	SELECT proname, CASE prokind WHEN 'p' THEN 'CALL ' ELSE '' END || proname || '(' ||
	       coalesce(string_agg(name || ' ' || type || coalesce(' DEFAULT ' || value, ''), ', ' ORDER BY n) FILTER (WHERE mode = 'i'), '') || ')' ||
	       CASE WHEN prokind = 'p' THEN ''
	            ELSE U&' \2192 ' || coalesce(string_agg(name || ' ' || type, ', ' ORDER BY n) FILTER (WHERE mode = 'o'),
	                                   format_type(prorettype, NULL)) END
	FROM pg_proc p LEFT JOIN LATERAL (
	         SELECT n, mode, proargnames[n] AS name, format_type(t, NULL) AS type, pg_get_function_arg_default(p.oid, n::int) AS value
	         FROM unnest(coalesce(proallargtypes, proargtypes),
	                     coalesce(proargmodes, array_fill('i'::"char", ARRAY[pronargs::int]))) WITH ORDINALITY a (t, mode, n)) a ON true
	WHERE pronamespace = 'notify_stats'::regnamespace
	GROUP BY p.oid, proname, prokind, prorettype}))
{
	my ($name, $signature) = /^(.*?)\|(.*)$/;

	push @functions, [ $name, decoded($signature) ];
}
nothing('each internal function is there',
	map { "there is no $_" } grep { my $name = $_; !grep { $_->[0] eq $name } @functions } @internal);

# The value of a default as the server writes it.
sub server_default
{
	my ($type, $value) = @_;
	return $value eq 'NULL' ? "$value\::$type" : sql($node, "SELECT quote_literal(($value)::${type}::text)") . "::$type";
}

my ($functions) = grep { $_->{head}[0] eq 'function' } document_tables('README.md');
foreach my $signature (map { $_->[0] =~ /`(.*?)`/g } @{ $functions->{rows} })
{
	$signature .= ' → void' if $signature !~ /^CALL |→/;
	$signature =~ s/(\S+) DEFAULT ('[^']*'|NULL)/"$1 DEFAULT " . server_default($1, $2)/ge;
	push @told, $signature =~ s/DEFAULT '(true|false)'::boolean/DEFAULT $1/gr =~ s/boolean DEFAULT (true|false)\b(?!')/boolean DEFAULT $1/gr;
}
nothing('the functions in README.md, with their arguments and results',
	list_difference([ map { $_->[1] } grep { my $name = $_->[0]; !grep { $_ eq $name } @internal } @functions ], \@told));

# The table of doc/operations.md that is about a set of names, which is the one that has most of them.
sub told_names
{
	my ($names) = @_;
	my %is_name = map { ($_ => 1) } @$names;
	my ($most, @found) = (0);

	return () if !$blocks{'doc/operations.md'};
	foreach my $table (document_tables('doc/operations.md'))
	{
		my @first = map { $_->[0] =~ /^`(.*)`$/ ? $1 : $_->[0] } @{ $table->{rows} };
		my $count = grep { $is_name{$_} } @first;

		($most, @found) = ($count, @first) if $count > $most;
	}
	return @found;
}

foreach my $view (qw(status rollups catch_up_progress))
{
	my @columns = split /\n/, sql($node, "SELECT attname FROM pg_attribute
		WHERE attrelid = 'notify_stats.$view'::regclass AND attnum > 0");
	nothing("doc/operations.md: the columns of $view", list_difference(\@columns, [ told_names(\@columns) ]));
}
{
	# the first column of each branch of its query
	my @items = sql($node, q{SELECT prosrc FROM pg_proc WHERE oid = 'notify_stats.check'::regproc}) =~ /^    SELECT '([^']+)',/mg;
	cmp_ok(scalar @items, '>', 10, 'check() has items');
	nothing('doc/operations.md: the items of check()', list_difference(\@items, [ told_names(\@items) ]));
}

# --- postgresql.conf ------------------------------------------------------------------

# settings that servers before these have not; one came with minor releases
my %since = (
	sync_replication_slots => 17,
	synchronized_standby_slots => 17,
	idle_replication_slot_timeout => 18,
	output_plugin_libraries => 19);

# What is wrong with lines of postgresql.conf.  The server reads all of them, but does not know our
# own before it has loaded the library.
sub configuration_problems
{
	my ($text) = @_;
	my (@lines, @problems, $output);

	foreach my $line (split /\n/, $text)
	{
		my ($name, $value) = $line =~ /^\s*([\w.]+)\s*=\s*('(?:[^']|'')*'|[^\s#']+)\s*(?:#.*)?$/;

		next if $line =~ /^\s*(?:#.*)?$/;
		if (!defined $name) { push @problems, "no setting: $line" }
		elsif (sql($node, "SELECT count(*) FROM pg_settings WHERE name = lower('$name')") eq '0')
		{
			push @problems, "there is no setting $name" if ($since{$name} // 0) <= $server;
		}
		elsif ($name =~ /^notify_stats\./)
		{
			my $error;

			$value = "'$value'" if $value !~ /^'/;
			$error = sql_error($node, "ALTER SYSTEM SET $name = $value");
			push @problems, $error if $error !~ /^no error/;
			sql($node, "ALTER SYSTEM RESET $name");
		}
		else { push @lines, "$line\n" }
	}
	write_file("$dir/postgresql.conf", join '', @lines);
	IPC::Run::run([ $node->installed_command('postgres'), '-C', 'port', '-D', $node->data_dir, '-c', "config_file=$dir/postgresql.conf" ],
		'>' => \$output, '2>&1') or push @problems, $output;
	return @problems;
}

sub write_file
{
	my ($path, $text) = @_;

	open my $file, '>:encoding(UTF-8)', $path or die "$path: $!";
	print $file $text;
	close $file or die "$path: $!";
	return;
}

# --- running --------------------------------------------------------------------------

my $interpreter = q{
import contextlib, importlib, io, sys, traceback
driver = importlib.import_module(sys.argv[1])
# a page imports either
sys.modules["psycopg"] = sys.modules["psycopg2"] = driver
# what the pages call the connections to two servers is one here
names = {"__name__": "__main__", "primary": driver.connect(""), "standby": driver.connect("")}
for path in sys.stdin:
    path = path.strip()
    out = io.StringIO()
    failed = ""
    with contextlib.redirect_stdout(out):
        try:
            with open(path, encoding="utf-8") as file:
                exec(compile(file.read(), path, "exec"), names)
        except BaseException as error:
            failed = "".join(traceback.format_exception_only(type(error), error))
    sys.stdout.write(out.getvalue() + failed + "\n# end: %s\n" % ("failed" if failed else "done"))
    sys.stdout.flush()
};

# The environment of a block.
sub environment
{
	my ($block) = @_;
	my %env = $node->_get_env(
		PGDATA => $node->data_dir,
		PGDATABASE => $block->{database} // 'shop',
		PGUSER => $superuser,
		PGCLIENTENCODING => 'UTF8',
		PGTZ => 'UTC');

	$env{PGUSER} = $block->{as} if defined $block->{as};
	return %env;
}

# Those below return whether the block has run to its end, what it has printed, and, if the last
# statement failed, its error.

sub run_sql
{
	my ($block) = @_;
	my $file = "$dir/block.sql";
	my @lines = split /\n/, $block->{text};
	my ($output, $line, $error);
	local %ENV = environment($block);

	pop @lines while $lines[-1] =~ /^\s*(?:--.*)?$/;
	write_file($file, $block->{text});
	IPC::Run::run([ $node->installed_command('psql'), '-X', '-P', 'pager=off', '-v', 'ON_ERROR_STOP=1', '-f', $file ],
		'<' => \undef, '>' => \$output, '2>&1', IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
	  and return (1, decoded($output) =~ s/^psql:\Q$file\E:\d+: //gmr);
	$output = decoded($output);
	($line, $error) = ($1, $2) if $output =~ /^psql:\Q$file\E:(\d+): (ERROR:  .*)/ms;
	return (0, $output =~ s/^psql:\Q$file\E:\d+: //gmr, $line && $line == @lines ? $error : undef);
}

sub run_sh
{
	my ($block) = @_;
	my $output;
	local %ENV = environment($block);

	mkdir "$dir/sh";
	write_file("$dir/block.sh", "cd $dir/sh\n$block->{text}");
	IPC::Run::run([ 'sh', '-e', "$dir/block.sh" ],
		'<' => \undef, '>' => \$output, '2>&1', IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
	  and return (1, decoded($output));
	return (0, decoded($output), decoded($output));
}

my ($driver, $client);    # of the page

sub run_python
{
	my ($block) = @_;
	local %ENV = environment($block);

	write_file("$dir/block.py", $block->{text});
	if (!$client)
	{
		$client = { in => '', out => '', timeout => IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default) };
		$client->{run} = IPC::Run::start([ 'python3', '-c', $interpreter, $driver ],
			'<' => \$client->{in}, '>' => \$client->{out}, '2>&1', $client->{timeout});
	}
	$client->{timeout}->start;
	$client->{out} = '';
	$client->{in} = "$dir/block.py\n";
	$client->{run}->pump while $client->{run}->pumpable && $client->{out} !~ /^# end: \w+\n\z/m;
	my ($output, $end) = decoded($client->{out}) =~ /\A(.*?)(?:\n# end: (\w+)\n)?\z/s;
	return ($end && $end eq 'done' ? 1 : 0, $output, $output);
}

sub end_interpreter
{
	return if !$client;
	$client->{timeout}->start;
	$client->{run}->finish;
	undef $client;
	return;
}

# One assertion: that a block does what it should.
sub check_run
{
	my ($block, $title, $succeeded, $output, $error) = @_;
	my $is_good = defined $block->{error}
	  ? !$succeeded && defined $error && ($error =~ s/\s+/ /gr) =~ /$block->{error}/
	  : $succeeded;

	if ($is_good && defined $block->{output})
	{
		$is_good = prints_as_told($output, $block->{output});
		$output .= "\nwhich does not end like the text below it" if !$is_good;
	}
	$output .= "\nwhich is not an error of the last statement that matches $block->{error}" if !$is_good && defined $block->{error};
	ok($is_good, encoded($title)) or diag(encoded("$block->{text}\nprints:\n$output"));
	return;
}

sub run_block
{
	my ($block) = @_;
	my $title = "$block->{name}: $block->{language}";
	my $problems = run_elsewhere($block);

	return if $block->{language} eq 'text' || $block->{problem};
	if (defined $problems)
	{
		nothing("$title, not run" . (defined $block->{'not run'} ? ": $block->{'not run'}" : ''),
			@$problems);
		return;
	}
  SKIP: {
		skip "$title is for later servers", 1 if ($block->{since} // 0) > $server;
		if ($block->{language} eq 'ini') { nothing($title, configuration_problems($block->{text})) }
		elsif ($block->{language} eq 'sql') { check_run($block, $title, run_sql($block)) }
		elsif ($block->{language} eq 'sh') { check_run($block, $title, run_sh($block)) }
		elsif (!$driver) { skip "$title: no driver", 1 }
		else { check_run($block, "$title with $driver", run_python($block)) }
	}
	return;
}

# An empty database "shop", and nothing else of what another page has made.
sub begin_page
{
	end_interpreter();
	foreach my $db (split /\n/, sql($node, q{SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')}))
	{
		sql($node, qq{DROP DATABASE "$db" WITH (FORCE)});
	}
	foreach my $role (split /\n/, sql($node, 'SELECT rolname FROM pg_roles'))
	{
		sql($node, qq{DROP ROLE "$role"}) if !grep { $_ eq $role } @roles;
	}
	sql($node, 'ALTER SYSTEM RESET ALL');
	$node->reload;
	sql($node, 'CREATE DATABASE shop');
	return;
}

sub run_page
{
	my ($page) = @_;

	begin_page();
	if ($page ne 'README.md')
	{
		foreach my $block (grep { $_->{language} eq 'sql' && grep { $_ eq 'Getting started' } @{ $_->{headings} } } @{ $blocks{'README.md'} })
		{
			my ($succeeded, $output) = run_sql($block);
			die "$page: the README's Getting started fails:\n$output" if !$succeeded;
		}
	}
	run_block($_) foreach @{ $blocks{$page} };
	return;
}

my @drivers = grep { system("python3 -c 'import $_' 2>/dev/null") == 0 } qw(psycopg2 psycopg);

# a page with Python is run with each driver
foreach my $page (@pages)
{
	my $has_python = grep { $_->{language} eq 'python' } @{ $blocks{$page} };

	foreach ($has_python && @drivers ? @drivers : undef)
	{
		$driver = $_;
		run_page($page);
	}
}
end_interpreter();

done_testing();
