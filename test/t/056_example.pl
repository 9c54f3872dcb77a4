# 056_example.pl
#
# The example in doc/examples: the numbers on a page equal the rollup after the server of the page,
# the database server, and the page itself were killed; and a page that was disconnected goes on
# from its own position, without reading the whole rollup again.
#
# packages: python3-psycopg
# optional packages: chromium

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Chromium;
use IO::Socket::INET;
use IPC::Run ();
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no Chromium: install the package chromium' if !Chromium::program();
plan skip_all => 'no psycopg 3: install the package python3-psycopg' if system("python3 -c 'import psycopg' 2>/dev/null") != 0;

my $example = "$FindBin::Bin/../../doc/examples/live.py";
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $log = "$PostgreSQL::Test::Utils::log_path/live.log";
my $relay_port = PostgreSQL::Test::Cluster::get_free_port();
my ($node, $web, $relay, $browser);

# Starts a program in Python, and waits for its first line, which is returned with the process.
sub start_python
{
	my (@arguments) = @_;
	my $output = '';
	my $run = IPC::Run::start([ 'python3', @arguments ], '<' => \undef, '>' => \$output, '2>>' => $log,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

	$run->pump while $output !~ /\n/;
	return ($run, $output);
}

sub start_web
{
	my $output;
	local %ENV = $node->_get_env();

	($web, $output) = start_python($example, '--listen', "127.0.0.1:$port", '--database', 'dbname=postgres', 'ft_service_stats');
	is($output, "http://127.0.0.1:$port/\n", 'the server of the page prints its address');
	return;
}

sub kill_web
{
	$web->signal('KILL');
	$web->finish;
	return;
}

# The page connects through a relay, so that it can be disconnected while its server runs.
sub start_relay
{
	($relay) = start_python('-c', q{
import asyncio, sys
async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def accept(reader, writer):
    try:
        server = await asyncio.open_connection('127.0.0.1', int(sys.argv[2]))
    except OSError:
        return writer.close()
    await asyncio.gather(copy(reader, server[1]), copy(server[0], writer))
async def main():
    server = await asyncio.start_server(accept, '127.0.0.1', int(sys.argv[1]))
    print('ready', flush=True)
    await server.serve_forever()
asyncio.run(main())
}, $relay_port, $port);
	return;
}

sub kill_relay
{
	$relay->signal('KILL');
	$relay->finish;
	return;
}

# How often the whole rollup, and the changes since a position, were read for a page since a
# position in the log.
sub reads
{
	my ($offset) = @_;
	my $text = slurp_file($log, $offset);
	my $whole = () = $text =~ /^reading the whole rollup$/mg;
	my $changes = () = $text =~ /^reading the changes since /mg;

	return "whole $whole, changes $changes";
}

# The rows of the page, in some order, and those of the rollup, with the columns that the page has.
sub shown
{
	return $browser->evaluate(q{[...document.querySelectorAll("tbody tr")].map(
		row => [...row.cells].map(cell => cell.textContent).join("|")).sort().join("\n")});
}

sub stored
{
	my $columns = $browser->evaluate(q{[...document.querySelectorAll("th")].map(cell => cell.textContent).join(", ")});

	return '' if $columns eq '';
	return join "\n", sort split /\n/, sql($node, "SELECT $columns FROM ft_service_stats");
}

# Waits until the page has a position that includes everything committed.
sub shows_all
{
	my ($title) = @_;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until_applied($node);
	my $stored = stored();
	while (time < $limit && ($stored eq '' || shown() ne $stored))
	{
		select undef, undef, undef, 0.05;    # of a polling loop
		$stored = stored() if $stored eq '';
	}
	is(shown(), $stored, $title);
	cmp_ok(length $stored, '>', 0, "$title: there are rows");
	return;
}

# Waits until an expression on the page has a value.
sub poll_page
{
	my ($expression, $expected) = @_;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $limit)
	{
		return if $browser->evaluate($expression) eq $expected;
		select undef, undef, undef, 0.05;    # of a polling loop
	}
	die "timed out waiting for $expression to be $expected";
}

# What the page itself, and nothing that it has loaded again, has.
sub mark_page
{
	$browser->evaluate('window.marked = true');
	return;
}

sub is_same_page
{
	my ($title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($browser->evaluate('window.marked === true ? "same" : "other"'), 'same', "$title: the page was not loaded again");
	return;
}

# The first event that a page at a position receives: its name and position.
sub first_event
{
	my ($lsn) = @_;
	my $text = '';
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 30) or die "cannot connect: $!";

	print $socket "GET /events HTTP/1.0\r\nLast-Event-ID: $lsn\r\n\r\n";
	$socket->flush;
	$text .= <$socket> // die "the stream has ended: $text" until $text =~ /^event: (\w+)\nid: (\S+)$/m;
	close $socket;
	return ($1, $2);
}

$node = new_node('example', conf => "autovacuum = off\nnotify_stats.resumable_wal_window = '64MB'\n");
load_notify($node, 0);
change_notify($node);
wait_until_applied($node);

# --- the page follows -----------------------------------------------------------------

start_web();
start_relay();
$browser = Chromium->new("http://127.0.0.1:$relay_port/");
shows_all('at first');
is(reads(0), 'whole 1, changes 0', 'at first: one full read');
mark_page();
for (1 .. 3)
{
	change_notify($node);
	shows_all("changes $_");
}
sql($node, q{DELETE FROM notifications WHERE notification_status = 'sending'});
shows_all('groups that are gone');
is(reads(0), 'whole 1, changes 0', 'the page has followed');
is_same_page('followed');

# --- the server of the page is killed -------------------------------------------------

my $offset = -s $log;
my $position = $browser->evaluate('position');
kill_web();
change_notify($node);
start_web();
shows_all('the server of the page was killed');
is(reads($offset), 'whole 0, changes 1', 'the page has gone on from its position');
is_same_page('resumed');
change_notify($node);
shows_all('and follows');

# --- the page is disconnected, and its server is not -------------------------------------

$offset = -s $log;
kill_relay();
poll_page(q{document.getElementById("state").textContent}, 'reconnecting');
my $shown = shown();
my $position_before = $browser->evaluate('position');
change_notify($node);
wait_until_applied($node);
isnt(stored(), $shown, 'there are changes while the page is disconnected');
is(shown(), $shown, 'it does not show them');
start_relay();
shows_all('it shows them when it is connected again');
is(reads($offset), 'whole 0, changes 0', 'from the memory of the server');
is_same_page('disconnected');

my ($name) = first_event($position_before);
is($name, 'changes', 'another page at that position: what it has missed');
is(reads($offset), 'whole 0, changes 0', 'from the memory as well');
($name) = first_event($position);
is($name, 'changes', 'an older position');
is(reads($offset), 'whole 0, changes 1', 'from the database');

# --- the database server is killed ----------------------------------------------------

$offset = -s $log;
kill_server($node);
start_again($node);
change_notify($node);
shows_all('the database server was killed');
is(reads($offset), 'whole 0, changes 0', 'nothing was read for the page');
is_same_page('the database server was killed');

$offset = -s $log;
kill_server($node);
kill_web();
start_web();
start_again($node);
change_notify($node);
shows_all('both were killed');
like(reads($offset), qr/^whole 0, changes [1-9]/, 'the page has gone on from its position');
is_same_page('both were killed');

# --- the page -------------------------------------------------------------------------

$offset = -s $log;
$browser->reload;
change_notify($node);
shows_all('loaded again');
is(reads($offset), 'whole 1, changes 0', 'loaded again: it has read the rollup');

# --- a position that is not in the window ---------------------------------------------

$offset = -s $log;
($name) = first_event('0/1');
is($name, 'rollup', 'a position before the window: the whole rollup');
is(reads($offset), 'whole 1, changes 1', 'after an attempt to read the changes');
shows_all('the others are not concerned');

$browser->end;
kill_relay();
kill_web();
$node->stop;

done_testing();
