# 012_fuzz.pl
#
# No output of a plugin, however broken, may crash its reader, make it access invalid memory,
# or return invalid values.  So test/fuzz, a separate program with AddressSanitizer, reads the
# output of the plugins, and mutations of it: for NS_FUZZ_SECONDS (5) for each format, starting
# from the random seed NS_SEED.  The originals come from a real server, with the options that the
# readers use; the test checks how many changes the readers find in them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use IPC::Run ();
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::Bin/../..";
my $dir = PostgreSQL::Test::Utils::tempdir;
my $seconds = $ENV{NS_FUZZ_SECONDS} // 5;
my $seed = $ENV{NS_SEED} // time;
my @compiler = (qw(gcc -std=gnu11 -D_GNU_SOURCE -g -O1 -fno-omit-frame-pointer),
	qw(-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all));

# title, format of test/fuzz, plugin and slot, and options other than the reader asks for
my @formats = (
	[ 'notify_stats', 'notify_stats', 'notify_stats' ],
	[ 'pgoutput, binary', 'pgoutput', 'pgoutput' ],
	[ 'pgoutput, text', 'pgoutput', 'pgoutput', binary => 'false' ],
	[ 'wal2json, version 1', 'wal2json1', 'wal2json' ],
	[ 'wal2json, version 2', 'wal2json2', 'wal2json' ]);

# Messages that a reader once read wrongly.
my %found = (
	pgoutput => [ [ pack('a q> q> l>', 'B', 1, 0, 7), pack('a l> a*', 'R', 1, 'no NUL') ] ],
	wal2json1 => [
		map { [qq({"xid": 7, "nextlsn": "0/2", "change": [$_]})] }
		  q({"kind": "insert", "schema": "public", "table": "wide", "columnnames": ["c1", "c69", "c70"],
			"table": "counted", "columnvalues": [1, 2, 3]}),
		q({"kind": "update", "schema": "public", "table": "wide", "columnnames": ["c1", "c69", "c70"]},
			{"kind": "insert", "schema": "public", "table": "counted", "columnvalues": [1, 2, 3]})
	]);
my %sessions;

# run(COMMAND...): whether it succeeded, and all that it printed
sub run
{
	my $output = '';
	my $result = IPC::Run::run([@_], '<' => \undef, '>' => \$output, '2>' => \$output);
	return ($result, $output);
}

sub build_fuzz
{
	my ($node) = @_;
	my @lib = map { '-L' . $node->config_data($_) } '--pkglibdir', '--libdir';
	my $include = $node->config_data('--includedir-server');

	# a private server has programs and libraries, but no headers
	$include =~ s{^.*?/prefix/}{/} if !-e "$include/postgres.h";
	push @compiler, '-DUSE_ASSERT_CHECKING', "-I$include", map { "-I$_" } glob("$top/src/*/");
	# a separate library may lack functions that are not called
	system_or_bail(@compiler, qw(-fsanitize-coverage=trace-pc -fPIC -shared -z lazy), '-o', "$dir/formats.so",
		map { "$top/src/decode/$_.c" } qw(format_native format_pgoutput format_wal2json decoded_table));
	system_or_bail(@compiler, '-rdynamic', '-o', "$dir/fuzz", glob("$top/test/fuzz/*.c"), "$dir/formats.so",
		@lib, '-lpgcommon', '-lpgport', "-Wl,--allow-shlib-undefined,-rpath,$dir");
	return;
}

# The output of a plugin for the contents of its slot: a session of the reader.
sub peek
{
	my ($node, $plugin, @options) = @_;
	my ($function, $bytes) = $plugin eq 'wal2json' ?
	  ('pg_logical_slot_peek_changes', q{convert_to(data, 'UTF8')}) :
	  ('pg_logical_slot_peek_binary_changes', 'data');
	my $list = join ', ', map { my $o = s/'/''/gr; "'$o'" } @options;

	return map { pack 'H*', $_ } split /\n/,
	  sql($node, "SELECT encode($bytes, 'hex') FROM $function('$plugin', NULL, NULL, $list)");
}

# add_session(TITLE, CHANGES, MESSAGE...): the changes as fuzz.h has them
sub add_session
{
	my ($title, $changes, @messages) = @_;
	my $file = "$dir/$title " . @{ $sessions{$title} //= [] };

	append_to_file($file, pack('l>6 (l>/a)*', split(' ', $changes), @messages));
	push @{ $sessions{$title} }, $file;
	return;
}

append_to_file("$dir/empty.c", "int main(void) { return 0; }\n");
plan skip_all => 'gcc lacks -fsanitize=address or -fsanitize=undefined'
  if !(run(@compiler, '-o', "$dir/empty", "$dir/empty.c"))[0] || !(run("$dir/empty"))[0];

my $node = new_node('fuzz', conf => "notify_stats.database = ''\n", extension => 0);
if ($node->psql('postgres', 'SHOW output_plugin_libraries') == 0)
{
	$node->append_conf('postgresql.conf', "output_plugin_libraries = 'pgoutput, notify_stats, wal2json'");
	$node->reload;
	poll($node, q{SELECT current_setting('output_plugin_libraries') LIKE '%notify_stats%'});
}
@formats = grep { $_->[2] ne 'wal2json' } @formats
  if !-e $node->config_data('--pkglibdir') . '/wal2json.so';
build_fuzz($node);
sql($node, slurp_file("$top/test/fuzz/schema.sql"));
append_to_file("$dir/catalog", sql($node, slurp_file("$top/test/fuzz/catalog.sql")) . "\n");

my %plugins = map { $_->[2] => 1 } @formats;
sql($node, "SELECT pg_create_logical_replication_slot('$_', '$_')") foreach sort keys %plugins;
foreach my $phase (split /^(?=-- changes: )/m, slurp_file("$top/test/fuzz/changes.sql"))
{
	my %changes = $phase =~ /(\w+):((?: \d+){6})/g or next;

	sql($node, $phase);
	foreach (@formats)
	{
		my ($title, $format, $plugin, %other) = @$_;
		my ($result, $options) = run("$dir/fuzz", $format, "$dir/catalog", 'options');
		die $options if !$result;
		add_session($title, $changes{$format} // $changes{changes},
			peek($node, $plugin, %{ { split(/\n/, $options), %other } }));
	}
	sql($node, "SELECT pg_replication_slot_advance('$_', pg_current_wal_lsn())") foreach sort keys %plugins;
}
$node->stop;

foreach (@formats)
{
	my ($title, $format) = @$_;
	add_session($title, '-1 -1 -1 -1 -1 -1', @$_) foreach @{ $found{$format} // [] };
	my ($result, $output) =
	  run("$dir/fuzz", $format, "$dir/catalog", $seconds, $seed, "$dir/last $title", @{ $sessions{$title} });

	ok($result, "$title, with seed $seed");
	if ($result) { note($output) } else { diag("$output\nthe session is in $dir/last $title") }
}
done_testing();
