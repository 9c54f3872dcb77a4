# Chromium.pm
#
# A page in Debian's Chromium, without a window.  It is driven by the DevTools protocol over a pair
# of pipes: each message is a JSON object that ends with a zero byte.

package Chromium;

use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;

# The path of the browser, or undef.
sub program
{
	my ($found) = grep { -x } map { ("$_/chromium", "$_/chromium-browser") } split /:/, $ENV{PATH};
	return $found;
}

# Starts the browser with an empty profile, and opens a page.
sub new
{
	my ($class, $url) = @_;
	my $browser = bless { in => '', out => '', log => '', number => 0 }, $class;
	my $profile = PostgreSQL::Test::Utils::tempdir('chromium');

	local $ENV{HOME} = $profile;
	$browser->{timeout} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	# a container has no user namespaces for a sandbox, and a small /dev/shm
	$browser->{run} = IPC::Run::start(
		[ program(), '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
			'--disable-background-networking', '--disable-component-update', '--no-proxy-server', "--user-data-dir=$profile",
			'--remote-debugging-pipe' ],
		'3<' => \$browser->{in},
		'4>' => \$browser->{out},
		'>&' => \$browser->{log},
		$browser->{timeout});
	my $target = $browser->call('Target.createTarget', url => $url)->{targetId};
	$browser->{session} = $browser->call('Target.attachToTarget', targetId => $target, flatten => JSON::PP::true)->{sessionId};
	$browser->wait_until_loaded;
	return $browser;
}

# Calls a method, and returns its result.  Events are skipped.
sub call
{
	my ($browser, $method, %params) = @_;
	my %message = (id => ++$browser->{number}, method => $method, params => \%params);
	my $answer;

	$message{sessionId} = $browser->{session} if defined $browser->{session};
	$browser->{timeout}->start;
	$browser->{in} .= JSON::PP::encode_json(\%message) . "\0";
	do
	{
		$browser->{run}->pump while $browser->{out} !~ /\0/;
		$browser->{out} =~ s/\A(.*?)\0//s;
		$answer = JSON::PP::decode_json($1);
	} until defined $answer->{id} && $answer->{id} == $browser->{number};
	die "$method: " . JSON::PP::encode_json($answer->{error}) if $answer->{error};
	return $answer->{result};
}

# The value of an expression in JavaScript.
sub evaluate
{
	my ($browser, $expression) = @_;
	my $result = $browser->call('Runtime.evaluate', expression => $expression, returnByValue => JSON::PP::true);

	die "$expression: " . JSON::PP::encode_json($result->{exceptionDetails}) if $result->{exceptionDetails};
	return $result->{result}{value};
}

# Waits for the end of a navigation.  Until then the page may be the previous one, or none.
sub wait_until_loaded
{
	my ($browser) = @_;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $limit)
	{
		return if eval { $browser->evaluate(
			'document.readyState === "complete" && location.protocol !== "about:" && !window.leaving ? 1 : 0') };
		select undef, undef, undef, 0.02;    # of a polling loop
	}
	die 'the page is not loaded';
}

# Loads the page again.
sub reload
{
	my ($browser) = @_;

	$browser->evaluate('window.leaving = true');
	$browser->call('Page.reload');
	$browser->wait_until_loaded;
	return;
}

sub end
{
	my ($browser) = @_;

	$browser->{timeout}->start;
	delete $browser->{session};
	$browser->call('Browser.close');
	$browser->{run}->finish;
	return;
}

1;
