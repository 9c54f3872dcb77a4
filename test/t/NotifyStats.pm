# NotifyStats.pm
#
# Shared by the TAP tests: a server with our settings, Notify's tables, queries about rollups,
# the comparison of rollups with their definitions, and stopping the extension's processes at a
# debug point.
# A condition that does not come true within the time limit of the server's own test library
# (180 s) ends the test.

package NotifyStats;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use File::Basename qw(dirname);
use File::Glob qw(bsd_glob);
use Documents;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
	format_name new_node set_and_reload log_position
	sql sql_as sql_error poll soon_like start_psql disconnect
	is_alive wait_until_ended freeze thaw
	wait_for_worker worker_pid builder_pid wait_for_builder_gone
	load_notify notify_insert change_notify start_load make_kinds change_kinds
	create_rollup adopt_shuffled load_computed change_computed built_at state_of wait_for_state rollup_states check_row complaints
	wait_until_rebuilt wait_until_applied differences is_exact is_verified
	set_stop unset_stop wait_for_stop continue_from_stop
	crash_restart kill_postmaster kill_server start_again slot_is_behind main_slot drop_slot
	pause_stream pause_worker resume_stream no_build_slots start_standby random one_of);

my $notify_dir = dirname(__FILE__) . '/../notify';

# The format of the slots: notify_stats, pgoutput, wal2json, wal2json1.
sub format_name
{
	return $ENV{NS_FORMAT_CONF} && $ENV{NS_FORMAT_CONF} =~ m{/(\w+)\.conf$} ? $1 : 'notify_stats';
}

# new_node(NAME, conf => TEXT, extension => 0, start => 0, init => [OPTION...],
# install_path => DIRECTORY): a running server with a worker for database postgres, in which
# the extension has been created.  Its programs are those of another server if install_path
# is given.
sub new_node
{
	my ($name, %param) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name,
		$param{install_path} ? (install_path => $param{install_path}) : ());

	$node->init(
		allows_streaming => 'logical',
		extra => [ '--locale=C', '--encoding=UTF8', @{ $param{init} // [] } ]);
	# of the newer server's library, unknown to an older server
	$node->adjust_conf('postgresql.conf', 'autovacuum_worker_slots', undef) if $param{install_path};
	$node->append_conf(
		'postgresql.conf', qq{
shared_preload_libraries = 'notify_stats'
notify_stats.database = 'postgres'
notify_stats.naptime = 20ms
max_connections = 40
max_prepared_transactions = 10
max_worker_processes = 16
shared_buffers = 16MB
logical_decoding_work_mem = 64kB
jit = off
restart_after_crash = on
log_statement = none
log_line_prefix = '%m [%p] %b '
log_error_verbosity = default
timezone = 'UTC'
});
	$node->append_conf('postgresql.conf', slurp_file($ENV{NS_FORMAT_CONF})) if $ENV{NS_FORMAT_CONF};
	$node->append_conf('postgresql.conf', $param{conf}) if defined $param{conf};
	return $node if defined $param{start} && !$param{start};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION notify_stats')
	  unless defined $param{extension} && !$param{extension};
	return $node;
}

# The results of statements in a database, by default postgres; the test ends if one fails.
#
# The connection to postgres is kept for the next call, as a new psql and a new backend each time
# would be half of the cost of the tests.  Callers need not know about it: the state of the session
# is discarded, and a connection that the server has ended is replaced.
sub sql
{
	my ($node, $query, $db) = @_;
	my ($output, $error);

	return $node->safe_psql($db, $query) if defined $db && $db ne 'postgres';
	($output, $error) = ask($node, $query);
	die "$error\nwhile running: $query" if !defined $output;
	print "#### standard error\n$error\n####\n" if $error ne '';
	return $output;
}

my %clients;    # by name of the node

# The connection of sql() and poll(), or undef and an error.
sub client
{
	my ($node) = @_;
	my $client = $clients{ $node->name };

	# psql would notice that its backend is gone by the next statement only
	return $client if $client && is_alive($client->{backend});
	delete($clients{ $node->name })->end if $client;

	local %ENV = $node->_get_env();
	$client = bless { in => '', out => '', error => '' }, 'NotifyStats::Client';
	$client->{timeout} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$client->{run} = IPC::Run::start(
		[ $node->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1',
			'-d', $node->connstr('postgres'), '-f', '-' ],
		'<' => \$client->{in},
		'>' => \$client->{out},
		'2>' => \$client->{error},
		$client->{timeout});
	($client->{backend}, my $error) = $client->ask('SELECT pg_backend_pid()');
	return (undef, $error) if !defined $client->{backend};
	return $clients{ $node->name } = $client;
}

# (OUTPUT, ERROR) of statements; undefined OUTPUT if one has failed.
sub ask
{
	my ($node, $query) = @_;
	my ($client, $error) = client($node);
	my $output;

	return (undef, $error) if !$client;
	($output, $error) = $client->ask($query);
	delete $clients{ $node->name } if !$client->{run}->pumpable;
	return ($output, $error);
}

# The same in any database, by a connection of its own.
sub ask_in
{
	my ($node, $query, $db) = @_;
	my ($status, $output, $error) = $node->psql($db, $query);

	return ($status == 0 ? $output : undef, $error);
}

# The same as ask().  psql ends with the first error, and if a transaction was left open.
sub NotifyStats::Client::ask
{
	my ($client, $query) = @_;
	my ($output, $error) = $client->send("$query\n;");

	$client->send('DISCARD ALL;') if defined $output;
	$client->end if !$client->{run}->pumpable;
	return ($output, $error);
}

# A server that was started later has inherited the pipe, so closing it has no effect.
sub NotifyStats::Client::end
{
	my ($client) = @_;

	$client->{timeout}->start;
	$client->{in} = "\\q\n";
	$client->{run}->finish;
	return;
}

# The output of psql for a complete input, on both channels; the first is undefined if it has ended.
sub NotifyStats::Client::send
{
	my ($client, $input) = @_;
	my $marker = '# end of the answer';
	my $end = qr/^$marker\n\z/m;
	my ($output, $error);

	$client->{timeout}->start;
	$client->{out} = $client->{error} = '';
	$client->{in} = "$input\n\\echo $marker\n\\warn $marker\n";
	$client->{run}->pump
	  while $client->{run}->pumpable && !($client->{out} =~ $end && $client->{error} =~ $end);
	$output = $1 if $client->{out} =~ /\A(.*?)\n?$end/s;
	$error = $client->{error} =~ s/$end//r;
	chomp $error;
	return ($output, $error);
}

# Ends the connection that sql() keeps, until it is called again: a database that is copied must
# have no connections.
sub disconnect
{
	my ($node) = @_;
	my $client = delete $clients{ $node->name };

	$client->end if $client;
	return;
}

# The results of statements in a session of a role, in a database; the test ends if one fails.
sub sql_as
{
	my ($node, $role, $db, $query) = @_;
	return $node->safe_psql($db, $query, extra_params => [ '-U', $role ]);
}

# The error of a statement that should fail, with SQLSTATE, DETAIL and HINT; or else
# "no error: " and its result.
sub sql_error
{
	my ($node, $query, $db) = @_;
	my ($status, $stdout, $stderr) = $node->psql($db // 'postgres', "\\set VERBOSITY verbose\n$query");

	return "no error: $stdout" if $status == 0;
	return $stderr;
}

# Waits until a query returns the expected value, by default 't', in a database, by default postgres.
sub poll
{
	my ($node, $query, $expected, $db) = @_;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;
	my ($output, $error);
	$expected //= 't';

	while (time < $limit)
	{
		($output, $error) = defined $db && $db ne 'postgres' ? ask_in($node, $query, $db) : ask($node, $query);
		return if defined $output && $output eq $expected;
		select undef, undef, undef, defined $output ? 0.02 : 0.1;
	}
	die "timed out waiting for: $query\nto return $expected, not "
	  . (defined $output ? $output : "an error: $error");
}

# soon_like(SUB, REGEX, TITLE): what a function returns matches at some time.  For what is not there all
# the time, such as the absence of a process that is started again and again.
sub soon_like
{
	my ($what, $regex, $title) = @_;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;
	my $found = $what->();
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	while ($found !~ $regex && time < $limit)
	{
		select undef, undef, undef, 0.05;    # of a polling loop
		$found = $what->();
	}
	return like($found, $regex, $title);
}

# A session that runs statements in the background.  ->finish on the result waits for its
# end, and returns its output.
sub start_psql
{
	my ($node, @statements) = @_;
	my $session = bless { output => '' }, 'NotifyStats::Session';
	local %ENV = $node->_get_env();

	$session->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'),
			map { ('-c', $_) } @statements ],
		'<' => \undef,
		'>' => \$session->{output},
		'2>&1');
	return $session;
}

sub NotifyStats::Session::finish
{
	my ($session) = @_;

	$session->{run}->finish;
	chomp $session->{output};
	return $session->{output};
}

# The current end of a server's log.
sub log_position
{
	my ($node) = @_;
	return -s $node->logfile;
}

# Changes settings by ALTER SYSTEM, and waits until the postmaster has read them, and so has
# signaled the others.  Its new children have them immediately; an old one at the latest when it
# next waits.  An undefined value resets: then the value is not that of ALTER SYSTEM any more.
sub set_and_reload
{
	my ($node, %setting) = @_;

	alter_system($node, %setting);
	$node->reload;
	foreach my $name (sort keys %setting)
	{
		my $value = $setting{$name};

		poll($node, defined $value ? "SELECT current_setting('$name') = '$value'"
			: "SELECT sourcefile IS NULL OR sourcefile !~ 'auto\\.conf\$' FROM pg_settings WHERE name = '$name'");
	}
	return;
}

sub alter_system
{
	my ($node, %setting) = @_;

	foreach my $name (sort keys %setting)
	{
		sql($node, defined $setting{$name}
			? "ALTER SYSTEM SET $name = '$setting{$name}'"
			: "ALTER SYSTEM RESET $name");
	}
	return;
}

# --- processes ------------------------------------------------------------------------

# Whether a process exists.  One that has ended and has not been reaped, as in a
# container without an init, does not count.
sub is_alive
{
	my ($pid) = @_;
	my $state;

	return 0 if !kill 0, $pid;
	# without /proc there is nothing more to ask, and without a file the process may have gone now
	$state = process_state($pid) // return kill(0, $pid);
	return $state =~ /[ZX]/ ? 0 : 1;
}

# The letter for the state of a process in /proc, or undef.
sub process_state
{
	my ($pid) = @_;

	open my $file, '<', "/proc/$pid/stat" or return undef;
	my $stat = do { local $/; <$file> };
	close $file;
	# behind the name, in which there may be spaces and parentheses
	return defined $stat && $stat =~ /.*\) (\S)/s ? $1 : undef;
}

# Waits for a process that was told to stop, and returns 'T', or else the state in which it has ended.
sub stopped_or_ended
{
	my ($pid) = @_;

	return 'T' if !-e "/proc/$$/stat";
	foreach (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $state = process_state($pid) // 'X';

		return $state if $state =~ /[TZX]/;
		select undef, undef, undef, 0.01;
	}
	die "process $pid does not stop";
}

# wait_until_ended([PID...], SUB): until all of these processes have ended.  SUB, if given, is called
# each time one is still there, with its PID and how often that was before.
sub wait_until_ended
{
	my ($pids, $while_waiting) = @_;

	foreach my $pid (@$pids)
	{
		for (my $i = 0; is_alive($pid); $i++)
		{
			die "process $pid does not end" if $i > 50 * $PostgreSQL::Test::Utils::timeout_default;
			$while_waiting->($pid, $i) if $while_waiting;
			select undef, undef, undef, 0.02;    # of a polling loop
		}
	}
	return;
}

my %frozen;    # processes by their type

# Stops a process of the server, by its backend_type, while it waits for its latch, and so holds no
# lock.  Returns its PID.  It continues with thaw(), or when the test ends.
sub freeze
{
	my ($node, $type) = @_;
	my $activity = "FROM pg_stat_activity WHERE backend_type = '$type'";
	my $pid;

	for (1 .. 100)
	{
		poll($node, "SELECT wait_event_type = 'Activity' $activity");
		$pid = sql($node, "SELECT pid $activity");
		kill 'STOP', $pid or die "no process $pid";
		$frozen{$type} = $pid;
		return $pid if sql($node, "SELECT wait_event_type = 'Activity' $activity") eq 't';
		thaw($type);
	}
	die "$type does not rest";
}

# Resumes processes that freeze() has stopped, by default all.
sub thaw
{
	my (@types) = @_;

	foreach my $type (@types ? @types : keys %frozen)
	{
		my $pid = delete $frozen{$type};
		kill 'CONT', $pid if $pid;
	}
	return;
}

END
{
	thaw();
}

# Waits for the worker of a database, by default postgres, and if given for another one than
# that process.  Returns its PID.
sub wait_for_worker
{
	my ($node, $db, $not_pid) = @_;
	my $pid = '';

	$db //= 'postgres';
	$not_pid ||= 0;
	# it may end, and another one come
	while ($pid eq '')
	{
		poll($node, "SELECT count(*) = 1 FROM pg_stat_activity
			WHERE backend_type = 'notify_stats worker' AND datname = '$db' AND pid <> $not_pid");
		$pid = worker_pid($node, $db);
	}
	return $pid;
}

# The PID of the worker of a database, by default postgres; '' if there is none.
sub worker_pid
{
	my ($node, $db) = @_;
	$db //= 'postgres';
	return sql($node, "SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'notify_stats worker' AND datname = '$db'");
}

# Waits for a builder, and returns its PID.
sub builder_pid
{
	my ($node) = @_;
	poll($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'notify_stats builder'");
	return sql($node, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'notify_stats builder'");
}

sub wait_for_builder_gone
{
	my ($node) = @_;
	poll($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'notify_stats builder'");
	return;
}

# --- Notify's tables ------------------------------------------------------------------

# load_notify(NODE, ROWS): the tables and the rollup; with so many notifications in them, for
# start_load(), or none.
sub load_notify
{
	my ($node, $rows) = @_;

	sql($node, slurp_file("$notify_dir/schema.sql"));
	$node->safe_psql('postgres', slurp_file("$notify_dir/seed.sql"), extra_params => [ '-v', "rows=$rows" ])
	  if $rows;
	sql($node, slurp_file("$notify_dir/rollup.sql"));
	sql($node, q{
		INSERT INTO services SELECT md5('service ' || i)::uuid FROM generate_series(0, 9) i ON CONFLICT DO NOTHING;
		INSERT INTO templates_history SELECT md5('template ' || i)::uuid, 1 FROM generate_series(0, 4) i;
	});
	return;
}

# The statement that inserts notifications with numbers FROM to TO, of several groups.
sub notify_insert
{
	my ($from, $to) = @_;
	return qq{
		INSERT INTO notifications (id, "to", service_id, template_id, created_at, template_version,
			key_type, notification_type, billable_units, notification_status)
		SELECT md5('notification ' || i)::uuid, 'somebody',
			CASE WHEN i % 11 > 0 THEN md5('service ' || i % 10)::uuid END,
			md5('template ' || i % 5)::uuid, '2026-03-28 12:00'::timestamp + i * interval '10 min', 1,
			(ARRAY['normal', 'team', 'test'])[1 + i % 3],
			(ARRAY['email', 'sms', 'letter'])[1 + i % 3]::notification_type, 1, 'created'
		FROM generate_series($from, $to) i;
	};
}

my $next_notification = 1;

# Changes notifications, in a database: inserts some, updates and deletes any.
sub change_notify
{
	my ($node, $db) = @_;
	my ($from, $to) = ($next_notification, $next_notification + 20);

	$next_notification = $to + 1;
	sql($node, notify_insert($from, $to), $db);
	sql($node, q{
		UPDATE notifications SET notification_status = 'sending' WHERE random() < 0.3;
		DELETE FROM notifications WHERE random() < 0.1;
	}, $db);
	return;
}

# Notify's load by four clients, at a rate that leaves the machine some time for the test itself.
# ->end on the result ends it, or waits for its end if the server has crashed, and returns the
# errors of statements that the clients met before.
sub start_load
{
	my ($node) = @_;
	my $load = bless { output => '' }, 'NotifyStats::Load';
	my @scripts;
	local %ENV = $node->_get_env();

	foreach my $file (bsd_glob("$notify_dir/*.sql"))
	{
		push @scripts, '-f', "$file\@$1" if slurp_file($file) =~ /^-- weight: (\d+)/;
	}
	$load->{run} = IPC::Run::start(
		[ 'pgbench', '-n', '-c', '4', '-j', '1', '-T', '3600', '-R', '300',
			'-D', 'timeout=5', '-D', 'retention=3', @scripts,
			$node->connstr('postgres') . ' application_name=load' ],
		'<' => \undef,
		'>' => \$load->{output},
		'2>&1');
	poll($node, "SELECT count(*) = 4 FROM pg_stat_activity WHERE application_name = 'load'");
	return $load;
}

sub NotifyStats::Load::end
{
	my ($load) = @_;

	$load->{run}->signal('TERM') if $load->{run}->pumpable;
	$load->{run}->finish;
	return join "\n", grep { /ERROR:/ } split /\n/, $load->{output};
}

# --- a table and a rollup of our own --------------------------------------------------

# In a database, a table "source" with some rows, and the rollup "kinds", which counts them.
sub make_kinds
{
	my ($node, $db) = @_;

	sql($node, q{
		CREATE TABLE source (id int PRIMARY KEY, kind text);
		ALTER TABLE source REPLICA IDENTITY FULL;
		INSERT INTO source SELECT i, 'kind ' || i % 3 FROM generate_series(1, 10) i;
	}, $db);
	create_rollup($node, 'kinds', 'SELECT kind, count(*) AS n FROM source GROUP BY kind', $db);
	return;
}

my $next_row = 1000;

# Inserts, updates and deletes rows of that table.
sub change_kinds
{
	my ($node, $db) = @_;

	$next_row += 10;
	sql($node, qq{
		INSERT INTO source SELECT i, 'kind ' || i % 5 FROM generate_series($next_row, $next_row + 9) i;
		UPDATE source SET kind = 'changed' WHERE id % 4 = 0;
		DELETE FROM source WHERE id % 7 = 0;
	}, $db);
	return;
}

# --- rollups --------------------------------------------------------------------------

# Creates a rollup in a database, without options; it is not waited for.
sub create_rollup
{
	my ($node, $name, $definition, $db) = @_;

	sql($node, "SELECT notify_stats.create_rollup('$name', \$definition\$$definition\$definition\$)", $db);
	return;
}

# Creates a table with other columns as well, some of them dropped, and with all in an order that
# depends on a text, and adopts it.
sub adopt_shuffled
{
	my ($node, $name, $definition, $order, $db) = @_;

	sql($node, "BEGIN;
		SELECT notify_stats.create_rollup('model', \$definition\$$definition\$definition\$);
		SELECT notify_stats.drop_rollup('model', keep_table => true);
		DO \$\$
		DECLARE columns text; keys text;
		BEGIN
			SELECT string_agg(c, ', ' ORDER BY md5(c || '$order')) INTO columns FROM (
				SELECT format('%I %s', attname, format_type(atttypid, atttypmod)) FROM pg_attribute
				WHERE attrelid = 'model'::regclass AND attnum > 0 AND NOT attisdropped
				UNION ALL VALUES ('id bigint GENERATED ALWAYS AS IDENTITY'), ('gone_1 int'), ('gone_2 text'), ('created_at timestamptz DEFAULT now()')
			) x (c);
			SELECT string_agg(format('%I', a.attname), ', ' ORDER BY k.n DESC) INTO keys FROM pg_index i
			CROSS JOIN unnest(i.indkey) WITH ORDINALITY k (attnum, n) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
			WHERE i.indrelid = 'model'::regclass;
			EXECUTE format('CREATE TABLE $name (%s)', columns);
			EXECUTE format('CREATE UNIQUE INDEX ON $name (%s) NULLS NOT DISTINCT', keys);
			ALTER TABLE $name DROP COLUMN gone_1, DROP COLUMN gone_2;
			DROP TABLE model;
		END \$\$;
		SELECT notify_stats.create_rollup('$name', \$definition\$$definition\$definition\$, adopt => true);
		COMMIT", $db);
	return;
}

# Creates the rollups of sql/include/computed.sql, which are views over cores, in the current
# schema of a database; they are not waited for.
sub load_computed
{
	my ($node, $db) = @_;
	my $include = slurp_file("$FindBin::RealBin/../../sql/include/computed.sql");

	sql($node, "$include;
		SELECT make_averages(), make_per_region(), make_mixed(), make_total();
		DROP FUNCTION make_averages, make_per_region, make_mixed, make_total, wrong", $db);
	return;
}

# Changes the tables of these rollups.
sub change_computed
{
	my ($node, $db) = @_;

	sql($node, q{
		INSERT INTO events SELECT max(id) + i, '2026-01-01'::date + i, 'kind ' || i % 3, i % 5, i
			FROM events, generate_series(1, 8) i GROUP BY i;
		UPDATE events SET kind = 'kind 1', amount = amount + 1 WHERE id % 3 = 0;
		DELETE FROM events WHERE id % 7 = 0;
		UPDATE regions SET name = name || '+' WHERE id = 2}, $db);
	return;
}

# When a rollup of a database was built; or, without a name, "rollup|state|built_at" of each.
sub built_at
{
	my ($node, $rollup, $db) = @_;

	return sql($node, "SELECT built_at FROM notify_stats.rollups WHERE rollup = '$rollup'::regclass", $db)
	  if defined $rollup;
	return sql($node, 'SELECT rollup, state, built_at FROM notify_stats.rollups ORDER BY rollup::text', $db);
}

# The state of a rollup of a database.
sub state_of
{
	my ($node, $rollup, $db) = @_;
	return sql($node, "SELECT state FROM notify_stats.rollups WHERE rollup = '$rollup'::regclass", $db);
}

# Waits until a rollup of a database is in a state.
sub wait_for_state
{
	my ($node, $rollup, $state, $db) = @_;

	poll($node, "SELECT state FROM notify_stats.rollups WHERE rollup = '$rollup'::regclass", $state, $db);
	return;
}

# "rollup|state" of each rollup of a database, by name.
sub rollup_states
{
	my ($node, $db) = @_;
	return sql($node, 'SELECT rollup, state FROM notify_stats.rollups ORDER BY rollup::text', $db);
}

# The result of check() for an item in a database: "ok|detail|hint", or the given columns.
sub check_row
{
	my ($node, $item, $columns, $db) = @_;

	$columns //= 'ok, detail, hint';
	return sql($node, "SELECT $columns FROM notify_stats.check() WHERE item = '$item'", $db);
}

# The rows of check() that are not ok, for an item, in the same way: "detail|hint", or the given
# columns.
sub complaints
{
	my ($node, $item, $columns, $db) = @_;

	$columns //= 'detail, hint';
	return sql($node,
		"SELECT $columns FROM notify_stats.check() WHERE item = '$item' AND NOT ok ORDER BY detail COLLATE \"C\"", $db);
}

# --- comparing ------------------------------------------------------------------------

# Waits until everything that was committed is in the rollups.
sub wait_until_applied
{
	my ($node, $db) = @_;
	my $reached = sql($node,
		"SELECT notify_stats.wait_for_lsn(timeout => '$PostgreSQL::Test::Utils::timeout_default s', no_throw => true)", $db);
	my $status;

	return if $reached eq 't';
	$status = sql($node, 'SELECT * FROM notify_stats.status; SELECT * FROM notify_stats.rollups', $db);
	die "the rollups did not catch up:\n$status";
}

# Waits until no request for a rebuild is left, with any outcome.
sub wait_until_rebuilt
{
	my ($node, $rollup) = @_;

	poll($node, "SELECT count(*) = 0 FROM notify_stats.rebuild_request WHERE rollup = '$rollup'::regclass");
	return;
}

# The groups in which rollups differ from their definitions, as text; '' if none.
sub differences
{
	my ($node, $db, @rollups) = @_;
	my $list = join ', ', map { "'$_'::regclass" } @rollups;
	my $query = '';
	# in a table that was adopted, those of the definition may be anywhere
	my $columns = q{(SELECT CASE WHEN bool_and(t.attname IS NOT NULL) THEN string_agg(quote_ident(d.attname), ', ' ORDER BY d.attnum)
		ELSE '*' END FROM pg_attribute d LEFT JOIN pg_attribute t ON t.attrelid = r.rollup AND t.attname = d.attname
		WHERE d.attrelid = r.definition AND d.attnum > 0)};

	foreach my $pair (split /\n/, sql($node,
		"SELECT rollup, definition, $columns FROM notify_stats.rollups r WHERE rollup IN ($list) ORDER BY 1", $db))
	{
		my ($rollup, $definition, $columns) = split /\|/, $pair, 3;
		my $rows = "SELECT $columns FROM $rollup";

		$query .= "(SELECT '$rollup', 'only in rollup', r FROM ($rows EXCEPT ALL TABLE $definition) r)
			UNION ALL
			(SELECT '$rollup', 'only in definition', d FROM (TABLE $definition EXCEPT ALL $rows) d)
			LIMIT 20;\n";
		@rollups = @rollups[1 .. $#rollups];
	}
	die 'there is no such rollup' if @rollups > 0;
	return sql($node, "BEGIN ISOLATION LEVEL REPEATABLE READ;\n$query\nCOMMIT;", $db);
}

# is_exact(NODE, TITLE, db => NAME, rollups => [NAME...]): by default all but failed ones.
# There must be no concurrent writers.
sub is_exact
{
	my ($node, $title, %param) = @_;
	my $db = $param{db} // 'postgres';
	my @rollups;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until_applied($node, $db);
	@rollups = $param{rollups} ? @{ $param{rollups} } : split /\n/, sql($node,
		"SELECT rollup FROM notify_stats.rollups WHERE state <> 'failed' ORDER BY 1", $db);
	die 'no rollup to compare' if !@rollups;
	return is(differences($node, $db, @rollups), '', $title);
}

sub is_verified
{
	my ($node, $rollup, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(sql($node, "SELECT * FROM notify_stats.verify('$rollup')"), '', $title);
}

# --- debug points ---------------------------------------------------------------------

sub set_stop
{
	my ($node, $point) = @_;
	set_and_reload($node, 'notify_stats.debug_stop_at' => $point);
	return;
}

# A process that starts from now on does not stop; a stopped one continues only after a reload.
sub unset_stop
{
	my ($node) = @_;
	alter_system($node, 'notify_stats.debug_stop_at' => undef);
	return;
}

# Waits for the message of a stop.  The worker may have read its settings just before the
# change, so more work, if given, is done until it stops.
sub wait_for_stop
{
	my ($node, $point, $offset, $more_work) = @_;
	my $pattern = qr/notify_stats stopped at "$point"/;

	if (defined $more_work)
	{
		for (my $i = 0; $i < 100; $i++)
		{
			last if slurp_file($node->logfile, $offset) =~ $pattern;
			$more_work->($i);
		}
	}
	return $node->wait_for_log($pattern, $offset);
}

sub continue_from_stop
{
	my ($node) = @_;
	set_and_reload($node, 'notify_stats.debug_stop_at' => undef);
	return;
}

# --- standbys -------------------------------------------------------------------------

# Starts a new server as the standby of another one, which synchronizes its slots; with the settings
# of the manual for both.
sub start_standby
{
	my ($node, $standby) = @_;
	my ($primary_settings, $standby_settings) = document_block('doc/operations.md', 'Failover', 'ini');
	my $connstr = $node->connstr . ' dbname=postgres';

	sql($node, q{SELECT pg_create_physical_replication_slot('standby_1', true)});
	$node->backup('backup');
	$standby->init_from_backup($node, 'backup', has_streaming => 1);
	$standby->append_conf('postgresql.conf', $standby_settings =~ s/^(primary_conninfo = ).*/$1'$connstr'/mr);
	$standby->start;
	$node->append_conf('postgresql.conf', $primary_settings);
	$node->reload;
	poll($node, q{SELECT current_setting('synchronized_standby_slots') = 'standby_1'});
	return;
}

# --- chance ---------------------------------------------------------------------------

# A number from 0 to less than N, by srand().
sub random
{
	my ($n) = @_;
	return int(rand($n));
}

# One of the arguments.
sub one_of
{
	return $_[ random(scalar @_) ];
}

# --- crashes --------------------------------------------------------------------------

# Kills a backend with signal 9, and waits until the server has restarted by itself.  The process is
# stopped before: one that is about to end could end well.  MAY_HAVE_ENDED: that is no error.
sub crash_restart
{
	my ($node, $pid, $may_have_ended) = @_;
	my $offset = log_position($node);
	my $is_there = kill 'STOP', $pid;

	$is_there &&= stopped_or_ended($pid) eq 'T';
	return if !$is_there && $may_have_ended;
	die "no process $pid" if !$is_there;
	kill 9, $pid;
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
	$node->wait_for_log(qr/database system is ready to accept connections/, $offset);
	poll($node, 'SELECT true');
	return;
}

# Kills the postmaster with signal 9, and waits until it has ended; its children may be there.
sub kill_postmaster
{
	my ($node) = @_;
	my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

	$node->kill9;
	wait_until_ended([$pid]);
	return;
}

# The same, and waits until its children have noticed.
sub kill_server
{
	my ($node) = @_;
	my @pids = split /\n/, sql($node, 'SELECT pid FROM pg_stat_activity');

	kill_postmaster($node);
	# a session of a user at work does not look for the postmaster
	wait_until_ended(\@pids, sub { my ($pid, $i) = @_; kill 9, $pid if $i == 500; });
	return;
}

# Removes lock files of a postmaster that has ended and has not been reaped, which the server takes
# for a running one.
sub remove_locks
{
	my ($node) = @_;

	foreach my $lock ($node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock')
	{
		next if !-e $lock || slurp_file($lock) !~ /^(\d+)/;
		unlink $lock if kill(0, $1) && !is_alive($1);
	}
	return;
}

# Starts after a crash: a child unknown to kill_server may keep the memory for a moment.
sub start_again
{
	my ($node) = @_;

	for (1 .. 100)
	{
		remove_locks($node);
		return if $node->start(fail_ok => 1);
		select undef, undef, undef, 0.1;    # of a polling loop
	}
	die 'the server does not start again';
}

sub main_slot
{
	my ($node) = @_;
	return sql($node, 'SELECT slot_name FROM notify_stats.stream');
}

# Pauses the stream, and waits until the worker has released the slot.
sub pause_stream
{
	my ($node) = @_;

	sql($node, 'SELECT notify_stats.pause()');
	poll($node, q{SELECT NOT active FROM pg_replication_slots
		WHERE slot_name = (SELECT slot_name FROM notify_stats.stream)});
	return;
}

# Pauses the stream, and waits until the worker has no cycle at work any more.  It may have the
# slot open for a while.
sub pause_worker
{
	my ($node) = @_;

	sql($node, 'SELECT notify_stats.pause()');
	poll($node, "SELECT state = 'idle' FROM pg_stat_activity WHERE backend_type = 'notify_stats worker'");
	return;
}

# Resumes a stream, in a database, that was paused or prepared for an upgrade.
sub resume_stream
{
	my ($node, $db) = @_;

	sql($node, 'SELECT notify_stats.resume()', $db);
	return;
}

# Drops a slot that the worker, which is paused or to be robbed, may have open for a moment.
sub drop_slot
{
	my ($node, $slot) = @_;

	poll($node, "SELECT count(pg_drop_replication_slot(slot_name)) = 1 FROM pg_replication_slots
		WHERE slot_name = '$slot' AND NOT active");
	return;
}

# Whether slot.confirmed_flush_lsn <= applied_lsn, without which changes were lost.  The slot
# is looked at first, as applied_lsn may only grow.
sub slot_is_behind
{
	my ($node, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(sql($node, q{
		SELECT coalesce(max(confirmed_flush_lsn), '0/0') AS confirmed FROM pg_replication_slots
		WHERE slot_name = (SELECT slot_name FROM notify_stats.stream) \gset
		SELECT applied_lsn >= :'confirmed' FROM notify_stats.stream
	}), 't', $title);
}

# Ended builds leave no slot behind.
sub no_build_slots
{
	my ($node, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_for_builder_gone($node);
	return is(sql($node, q{SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE '%\_build\_%'}),
		'', $title);
}

1;
