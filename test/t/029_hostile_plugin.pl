# 029_hostile_plugin.pl
#
# A role that has only LOGIN and REPLICATION may load the library as an output plugin, give it any
# options, read its output, and do anything to slots.
#
# In a server where the library is not preloaded: loading it changes nothing; for all options,
# by SQL or by the replication protocol, there is a clear error or a correct result; with all
# tables and columns in the options, the plugin shows no change that test_decoding does not show,
# and with some of them no other column.  The extension itself can be created there, does no work,
# reports this, and disturbs no other session.
#
# In a server where it is preloaded: actions of the role on the worker's slot, and of an ordinary
# role on the publication that the worker would create, are reported, and no rollup is wrong.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use IPC::Run ();
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $role = 'reader';
my $secret = 'not asked for';
my $log_limit = 1_000_000;    # bytes that the errors of large options may add to the log
my ($node, $allow_plugin, $superuser);

# --- helpers --------------------------------------------------------------------------

# The output of statements for the role, including errors; replication => 1 for a walsender.
sub run_by_role
{
	my ($script, %param) = @_;
	my ($status, $stdout, $stderr) = $node->psql($param{db} // 'postgres', $script,
		on_error_stop => 0,
		timeout => $PostgreSQL::Test::Utils::timeout_default,
		extra_params => [ '-U', $param{role} // $role ],
		$param{replication} ? (replication => 'database') : ());
	return ($stdout, $stderr);
}

# "SQLSTATE message" of each of some statements of the role, or "00000 result", in one session.
sub outcomes
{
	my ($statements, %param) = @_;
	my $script = join '', map { "$_;\n\\echo '\@\@' :SQLSTATE :LAST_ERROR_MESSAGE '\@\@'\n\\set LAST_ERROR_MESSAGE\n" } @$statements;
	my ($stdout, $stderr) = run_by_role($script, %param);
	my @results;

	while ($stdout =~ /\G(.*?)\n?@@ (\w{5}) (.*?) @@\n?/sg) { push @results, "$2 $1$3" }
	return @results;
}

# A string as a literal.
sub quote
{
	my ($value) = @_;
	return q{'} . $value =~ s/'/''/gr . q{'};
}

# A string as the name of a test.
sub printable
{
	my ($value) = @_;
	$value =~ s/([^ -"\$-~])/sprintf '\\x%02x', ord $1/ge;
	return length $value > 70 ? substr($value, 0, 70) . '...' : $value;
}

# The statement that peeks into a slot with these options.
sub sql_call
{
	my ($slot, @options) = @_;
	return "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('$slot', NULL, NULL"
	  . join('', map { ', ' . quote($_) } @options) . ')';
}

# The same by the replication protocol.  An option without a value has undef.
sub protocol_call
{
	my ($slot, @options) = @_;
	my @list;
	while (my ($name, $value) = splice @options, 0, 2)
	{
		push @list, '"' . $name =~ s/"/""/gr . '"' . (defined $value ? ' ' . quote($value) : '');
	}
	return "START_REPLICATION SLOT $slot LOGICAL 0/0 (" . join(', ', @list) . ')';
}

# The number of matches in the server log after an offset.
sub count_log
{
	my ($offset, $pattern) = @_;
	return scalar(() = slurp_file($node->logfile, $offset) =~ /$pattern/g);
}

# Asserts that the present server had no crash and no internal error.
sub log_is_clean
{
	my ($title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(count_log(0, qr/terminated by signal|PANIC:|TRAP:|all server processes terminated|XX000/), 0,
		"$title: no crash, no internal error in the log");
}

# --- a server that has not preloaded it -----------------------------------------------

# A server without the library, and two roles.
sub start_bare_server
{
	$node = PostgreSQL::Test::Cluster->new('bare');
	$node->init(allows_streaming => 'logical', extra => [ '--locale=C', '--encoding=UTF8' ]);
	$node->append_conf('postgresql.conf', q{
logical_decoding_work_mem = 64kB
max_prepared_transactions = 10
jit = off
log_statement = none
log_replication_commands = off
log_error_verbosity = verbose
log_min_error_statement = panic
timezone = 'UTC'
});
	$node->start;
	$allow_plugin = sql($node, q{SELECT current_setting('output_plugin_libraries', true) IS NOT NULL}) eq 't';
	sql($node, "CREATE ROLE $role LOGIN REPLICATION; CREATE ROLE nobody LOGIN");
	$superuser = sql($node, 'SELECT current_user');
	return;
}

# The server must allow the plugin, and only a role with REPLICATION may use it.
sub test_permission
{
	if ($allow_plugin)
	{
		like((outcomes([ "SELECT pg_create_logical_replication_slot('early', 'notify_stats')" ]))[0],
			qr/^(?!00000)/, 'a plugin that is not listed is refused');
		like((outcomes([ 'SET output_plugin_libraries = notify_stats' ]))[0], qr/^42501/,
			'and the role cannot list it');
		$node->append_conf('postgresql.conf', "output_plugin_libraries = 'pgoutput, test_decoding, notify_stats'");
		$node->reload;
		poll($node, q{SELECT current_setting('output_plugin_libraries') LIKE '%notify_stats%'});
	}
	like((outcomes([ "SELECT pg_create_logical_replication_slot('early', 'notify_stats')" ], role => 'nobody'))[0],
		qr/^42501/, 'a role without REPLICATION cannot load it');
	return;
}

# State that loading the library might have added.
my $state = q{SELECT (SELECT count(*) FROM pg_settings WHERE name NOT LIKE 'plpgsql.%'), (SELECT count(*) FROM pg_shmem_allocations),
	current_setting('shared_preload_libraries'), current_setting('notify_stats.naptime', true),
	(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'notify_stats%'),
	(SELECT count(*) FROM pg_ls_dir('.') WHERE pg_ls_dir NOT IN ('postmaster.pid', 'current_logfiles'))};

# That before and after the role has loaded it.
sub load_and_look
{
	my ($load) = @_;
	my $script = "\\c - - - -\n$state;\nSET SESSION AUTHORIZATION $role;\n$load;\nRESET SESSION AUTHORIZATION;\n$state;";
	return split /\n/, $node->safe_psql('postgres', $script);
}

# Loading it: by making a slot, and by reading from it, in this very session.
sub test_loading
{
	my $two_phase = q{twophase => true};
	my ($before, $after);

	($before, $after) = load_and_look(qq{
		DO \$\$ BEGIN
			PERFORM pg_create_logical_replication_slot('hostile', 'notify_stats');
		END \$\$;
		DO \$\$ BEGIN
			PERFORM pg_create_logical_replication_slot('phases', 'notify_stats', $two_phase);
		END \$\$;
		DO \$\$ BEGIN
			PERFORM pg_create_logical_replication_slot('other_plugin', 'test_decoding');
		END \$\$;
		DO \$\$ BEGIN
			PERFORM pg_logical_slot_peek_binary_changes('hostile', NULL, NULL, 'version', '1', 'tables', '');
		END \$\$});
	is($after, $before, 'loading it as a plugin adds no setting, no shared memory, no process, no file');
	($before, $after) = load_and_look(q{RESET SESSION AUTHORIZATION; LOAD 'notify_stats'});
	is($after, $before, 'LOAD by a superuser adds nothing either');
	like((outcomes([ q{LOAD 'notify_stats'} ]))[0], qr/^42501/, 'LOAD is not for the role');
	is(sql($node, q{LOAD 'notify_stats'; SET notify_stats.naptime = 'anything'; SHOW notify_stats.naptime}), 'anything',
		'and it reserves no names of settings');
	return;
}

# --- hostile options ------------------------------------------------------------------

my $honest;    # OID of the table

# Valid requests of the role.
sub make_honest_table
{
	sql($node, q{
		CREATE TABLE honest (id int PRIMARY KEY, kind text, body text);
		ALTER TABLE honest REPLICA IDENTITY FULL;
		INSERT INTO honest VALUES (1, 'asked for', 'not asked for');
	});
	$honest = sql($node, q{SELECT 'honest'::regclass::oid});
	return;
}

# The options of calls that must be refused.
sub bad_options
{
	my @bad_tables = (
		# numbers that are none, or would be others in 16, 32 or 64 bits
		map({ "$honest:$_" } '+1', '-0', '00', '1.0', '1e2', '0x1', '1_0', '32767', '-32768', '65537', '2147483649',
			'4294967297', '18446744073709551617', '9' x 1000, "1\n", "\t1", "1 ", "1,\n2", "1\\0", '\000', '\x31',
			',', ',1', '1,2,1', ':', '1:2', '1;', '1;;', '1; 2:1', "1'", '"1"', '%s%n', '*', 'kind', 'NULL',
			"\xd9\xa1", "\xef\xbc\x91", "1\xc2\xa0", "1\xcc\x81", "\xf0\x9f\x92\xa3"),
		"-$honest:1", "+$honest:1", "0$honest:1", "$honest.0:1", "'$honest':1", "$honest :1", "\n$honest:1",
		(2**32 + $honest) . ':1', '18446744073709568000:1', ('1' x 1000) . ':1', '4294967295:1;4294967296:1',
		'pg_authid:1', 'honest:2', ':', ':1', ',', '1', '%n%n%n%n:1', "$honest:1;$honest:1", "$honest:;$honest:",
		"$honest:1;1:1;$honest:2", "\xc3\xa9", "\x01", ' ', "\n", '\0', '$1', '{}', "$honest:1/*");
	my @bad_switch = ('', ' ', 'maybe', 'onn', ' on', "on\n", '2', '-1', 'on,on', 'NULL', '%n', "\xd0\xbe\xd0\xbd", '1' x 10_000);
	return (
		map({ [ version => '1', tables => $_ ] } @bad_tables),
		map({ my $name = $_; map { [ version => '1', tables => '', $name => $_ ] } @bad_switch } 'moves', 'resumable'),
		map({ [ version => $_, tables => "$honest:1" ] } ' 1', '1 ', "1\n", '+1', '-1', '1.0', '0', '1,1',
			'4294967297', '18446744073709551617', "\xd9\xa1", '1' x 10_000, '%n'),
		# options of other plugins, and what may look like ours
		map({ [ version => '1', tables => "$honest:1", $_ => 'on' ] } qw(streaming two_phase origin binary messages
			proto_version publication_names include-xids skip-empty-xacts TABLES Version table tablesx moves_ MOVES),
			' tables', 'tables ', "moves\n", '%s%n', "v\xc3\xa9rsion", 'resum\0able'),
		# repeated
		map({ [ version => '1', tables => '', moves => 'on', resumable => 'off', @$_ ] }
			[ tables => "$honest:1" ], [ version => '1' ], [ version => '2' ], [ moves => 'on' ], [ resumable => 'on' ]),
		[ tables => "$honest:1", resumable => 'on' ], [ version => '1', moves => 'on' ], [ moves => 'off' ]);
}

# Each must be refused as an invalid option of this plugin, and none by the protocol.
sub test_bad_options
{
	my @good = (
		[ version => '1', tables => "$honest:1" ],
		[ tables => "$honest:", version => '1', moves => 'true', resumable => 'on' ],
		[ moves => 'off', tables => "1:1;4294967295:1600;$honest:3,2,1;2147483648:", version => '1' ]);

	foreach my $channel ([ 'SQL', \&sql_call ], [ 'protocol', \&protocol_call, replication => 1 ])
	{
		my ($name, $call, %param) = @$channel;
		my $offset = log_position($node);
		my @attacks = (bad_options(), $name eq 'protocol' ? (map { [ tables => '', version => '1', moves => 'on', $_ => undef ] } qw(a b)) : ());

		# the last two: options without a value, which only the protocol has
		@attacks[-2, -1] = ([ version => '1', tables => undef ], [ version => '1', tables => '', moves => undef ])
		  if $name eq 'protocol';
		my @results = outcomes([ map { $call->('hostile', @$_) } @attacks ], %param);

		is(scalar @results, scalar @attacks, "$name: each attack has an outcome");
		foreach my $i (0 .. $#attacks)
		{
			like($results[$i] // 'none', qr/^22023 [^\0]*output plugin "notify_stats"/,
				printable("$name: " . join ' ', map { $_ // '(no value)' } @{ $attacks[$i] }));
		}
		is(count_log($offset, qr/ERROR:  22023: /), scalar @attacks, "$name: each is an error in the log, once");
	}
	my @results = outcomes([ map { sql_call('hostile', @$_) } @good ]);
	is("@results", '00000 1 00000 1 00000 1', 'honest options still work afterwards');
	return;
}

# Options in other encodings.
sub test_options_in_encodings
{
	my @results = outcomes([
		'SET client_encoding = LATIN1', sql_call('hostile', version => '1', tables => "\xe9:1"),
		# no such character in LATIN1: the message itself cannot be sent
		qq{SELECT pg_logical_slot_peek_binary_changes('hostile', NULL, NULL, 'version', '1', 'tables', chr(8364))},
		'SET client_encoding = UTF8', sql_call('hostile', version => '1', tables => "\xff\xfe"),
		sql_call('hostile', version => '1', tables => "$honest:1") ]);
	like($results[1], qr/^22023 .*"\xe9:1"/, 'an option in another encoding');
	like($results[2], qr/^(22023|22P05)/, 'one that cannot be shown in that');
	like($results[4], qr/^22021/, 'one that is not valid in any');
	is($results[5], '00000 1', 'the session continues');
	return;
}

# Calls that the server's functions themselves refuse.
sub test_refused_by_server
{
	my @results = outcomes([
		"SELECT pg_logical_slot_peek_changes('hostile', NULL, NULL, 'version', '1', 'tables', '$honest:1')",
		"SELECT pg_logical_slot_get_changes('phases', NULL, NULL, 'version', '1', 'tables', '$honest:1')",
		"SELECT pg_logical_slot_peek_binary_changes('hostile', NULL, NULL, 'version', '1', 'tables', NULL)",
		q{SELECT pg_logical_slot_peek_binary_changes('hostile', NULL, NULL, VARIADIC '{{version,1},{tables,""}}')},
		"SELECT pg_logical_slot_peek_binary_changes('hostile', NULL, NULL, 'version')",
		"SELECT count(*) FROM pg_logical_slot_peek_binary_changes('hostile', '0/0', 0, 'version', '1', 'tables', '$honest:1')" ]);
	like($results[$_], qr/^(0A000|22004|22023|2202E|22000) /, "the server refuses: $results[$_]") foreach 0 .. 4;
	is(join("\n", @results[0, 1]) =~ tr/\n//, 1, 'text mode is refused in a line each');
	like($results[5], qr/^(00000|22023)/, 'a peek up to nowhere');
	return;
}

# --- large ones -----------------------------------------------------------------------

# Sizes of the memory contexts of a backend before and after the attempts of the role, and the
# results of these.
sub test_large_options
{
	my $offset = log_position($node);
	my $memory = q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts};
	my $peek = q{SELECT count(*) FROM pg_logical_slot_peek_binary_changes('hostile', NULL, NULL, 'version', '1'};
	my @large = (
		[ "repeat(repeat('x', 10000), 10000)" => '22023' ],
		[ "repeat(repeat('9', 10000), 1000)" => '22023' ],
		[ "repeat('1:1;', 1000000)" => '22023' ],
		[ "repeat(chr(128163), 1000000)" => '22023' ],
		[ "'$honest:' || repeat('1,', 1000000)" => '22023' ],
		[ "'$honest:1', repeat('moves', 1000000), 'on'" => '22023' ],
		[ "'$honest:1', 'moves', repeat('on', 1000000)" => '22023' ],
		[ "(SELECT '$honest:1;' || string_agg('4294' || i || ':1,1600', ';') FROM generate_series(100000, 199999) i)" => '00000' ],
		[ "(SELECT '$honest:' || string_agg(i::text, ',') FROM generate_series(1, 1600) i)" => '00000' ],
		[ "(SELECT '$honest:' || string_agg(i::text, ',') FROM generate_series(1, 1601) i)" => '22023' ]);
	my @tries = map { "$peek, 'tables', $_->[0]) \\gset\n\\echo '#' :SQLSTATE\n\\echo :LAST_ERROR_MESSAGE\n\\set LAST_ERROR_MESSAGE" } @large;
	my ($output) = run_by_role(join("\n", "SET SESSION AUTHORIZATION $role;", @tries, "RESET SESSION AUTHORIZATION;\n$memory;",
		"SET SESSION AUTHORIZATION $role;", @tries, "RESET SESSION AUTHORIZATION;\n$memory;"), role => $superuser);
	my ($before, $after) = $output =~ /^(\d+)$/mg;
	my @results = $output =~ /^# (\w{5})$/mg;
	is("@results", join(' ', map { $_->[1] } @large, @large), 'options of up to 100 MB');
	cmp_ok(length $output, '<', 20_000, 'the errors are short');
	cmp_ok(log_position($node) - $offset, '<', $log_limit, 'so is their output in the log');
	cmp_ok($after - $before, '<', 1_000_000, 'and they leave no memory behind');
	return;
}

# In the replication protocol the option is in the statement.
sub test_large_options_by_protocol
{
	my $offset = log_position($node);
	my @results = outcomes([
		protocol_call('hostile', version => '1', tables => 'x' x 4_000_000),
		protocol_call('hostile', version => '1', tables => '1:1;' x 1_000_000),
		protocol_call('hostile', version => '1' x 1_000_000, tables => ''),
		protocol_call('hostile', version => '1', tables => '', 'o' x 1_000_000 => 'on'),
		protocol_call('hostile', version => '1', tables => join(';', map { "$_:1" } 1 .. 100_000) . ';') ], replication => 1);
	is(join(' ', map { substr $_, 0, 5 } @results), '22023 22023 22023 22023 22023', 'options of up to 4 MB by the protocol');
	cmp_ok(length join('', @results), '<', 10_000, 'the errors are short');
	cmp_ok(log_position($node) - $offset, '<', $log_limit, 'and their output in the log');
	return;
}

# --- its output ---------------------------------------------------------------------

# The lengths of types that are passed by value, and of others that are not of varying length.
my %by_value = (16 => 1, 20 => 8, 21 => 2, 23 => 4, 26 => 4, 700 => 4, 701 => 8, 1082 => 4, 1114 => 8, 1184 => 8);
my %by_reference = (19 => 64, 1186 => 16, 2950 => 16);

# The first bytes of a message, which are removed together with the padding.
sub take_part
{
	my ($rest, $length) = @_;
	my $part = substr $$rest, 0, $length;

	$$rest = substr $$rest, int(($length + 7) / 8) * 8;
	return $part;
}

sub take_value
{
	my ($rest, $type) = @_;

	return substr take_part($rest, 8), 0, $by_value{$type} if $by_value{$type};
	return take_part($rest, $by_reference{$type}) if $by_reference{$type};
	return take_part($rest, unpack('V', $$rest) >> 2);
}

# Messages of the plugin, of one peek: [OID, kind, old row, new row], values as bytes.
sub parse
{
	my (@messages) = @_;
	my (%types, @changes);

	foreach my $rest (@messages)
	{
		my ($version) = unpack 'C', take_part(\$rest, 16);
		die "version $version" if $version != 1;
		while ($rest ne '')
		{
			my ($kind, $reason, $ncolumns, $relid, $length) = unpack 'a a v V V', take_part(\$rest, 12);
			my $end = length($rest) - $length;
			my @rows;

			if ($kind eq 'R')
			{
				$types{$relid} = [ map { (unpack 'v x2 V', take_part(\$rest, 8))[1] } 1 .. $ncolumns ];
			}
			take_part(\$rest, 4) if $kind eq 'L';
			for (1 .. { I => 1, U => 2, D => 1, M => 1 }->{$kind} // 0)
			{
				my @types = @{ $types{$relid} };
				my @nulls = unpack 'C*', take_part(\$rest, scalar @types);

				push @rows, [ map { $nulls[$_] ? undef : take_value(\$rest, $types[$_]) } 0 .. $#types ];
			}
			die "wrong length of a record of kind $kind" if length($rest) != $end;
			push @changes, [ $relid, $kind, @rows ] if $kind !~ /[RL]/;
		}
	}
	return @changes;
}

# The contents of a slot for the role, as messages.
sub messages
{
	my ($slot, $tables, %param) = @_;
	my $moves = $param{moves} ? q{, 'moves', 'on'} : '';
	my ($stdout, $stderr) = run_by_role(qq{SELECT encode(data, 'hex') FROM
		pg_logical_slot_peek_binary_changes('$slot', NULL, NULL, 'version', '1', 'tables', '$tables'$moves)});
	die $stderr if $stderr ne '';
	return map { pack 'H*', $_ } split /\n/, $stdout;
}

# Row changes and truncations of each relation, and changes that cannot be decoded.
sub counts
{
	my %counts;
	$counts{$_->[0]}{$_->[1]}++ foreach @_;
	return \%counts;
}

# Reads all slots to the end.
sub advance
{
	run_by_role("SELECT pg_replication_slot_advance('$_', pg_current_wal_lsn())") foreach qw(hostile phases other_plugin);
	return;
}

my (%oid, $everything);    # of relations by name, and the option that asks for all of them

# Tables of all kinds, here and in another database.
sub make_tables
{
	sql($node, "CREATE DATABASE other");
	sql($node, q{CREATE TABLE elsewhere (id int, body text); ALTER TABLE elsewhere REPLICA IDENTITY FULL}, 'other');
	sql($node, q{
		CREATE TABLE large (id int, body text, filler text);
		ALTER TABLE large ALTER body SET STORAGE EXTERNAL, ALTER filler SET STORAGE EXTERNAL;
		ALTER TABLE large REPLICA IDENTITY FULL;
		CREATE TABLE parent (id int, day date, body text) PARTITION BY RANGE (day);
		CREATE TABLE leaf_1 PARTITION OF parent FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
		CREATE TABLE leaf_2 (body text, gone text, day date, id int);
		ALTER TABLE leaf_2 DROP gone;
		ALTER TABLE parent ATTACH PARTITION leaf_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
		ALTER TABLE leaf_1 REPLICA IDENTITY FULL;
		ALTER TABLE leaf_2 REPLICA IDENTITY FULL;
		CREATE TABLE dropped (id int, body text, kept int);
		ALTER TABLE dropped REPLICA IDENTITY FULL;
		CREATE TABLE keyed (id int PRIMARY KEY, body text);
		CREATE TABLE catalog_like (id int, body text) WITH (user_catalog_table = true);
		ALTER TABLE catalog_like REPLICA IDENTITY FULL;
		CREATE TABLE hidden (id int, body text);
		ALTER TABLE hidden REPLICA IDENTITY FULL, ENABLE ROW LEVEL SECURITY;
		CREATE UNLOGGED TABLE unlogged (id int, body text);
		CREATE SEQUENCE counter;
		CREATE VIEW honest_view AS SELECT * FROM honest;
		CREATE MATERIALIZED VIEW honest_matview AS SELECT * FROM honest;
		CREATE TYPE pair AS (a int, b text);
	});
	advance();
	return;
}

# All kinds of logged and unlogged changes in one pass.
sub make_changes
{
	sql($node, qq{
		CREATE ROLE secret_role PASSWORD 'not asked for';
		ALTER ROLE secret_role CONNECTION LIMIT 7;
		COMMENT ON ROLE secret_role IS '$secret';
		SELECT lo_from_bytea(0, '$secret');
		CREATE TABLE later (id int, body text);
		ALTER TABLE later REPLICA IDENTITY FULL;
		INSERT INTO later VALUES (1, 'a');
		INSERT INTO honest SELECT i, 'asked for', '$secret' FROM generate_series(2, 2000) i;
		UPDATE honest SET body = body || '!', kind = kind || id WHERE id < 500;
		DELETE FROM honest WHERE id BETWEEN 400 AND 600;
		INSERT INTO large SELECT i, repeat('x', 100000), repeat('$secret', 1000) FROM generate_series(1, 5) i;
		UPDATE large SET id = id + 10;
		UPDATE large SET body = repeat('y', 200000) WHERE id < 13;
		INSERT INTO parent SELECT i, date '2026-01-25' + i, '$secret' FROM generate_series(1, 20) i;
		UPDATE parent SET day = day + 10 WHERE id < 10;
		DELETE FROM parent WHERE id = 20;
		INSERT INTO dropped VALUES (1, '$secret', 1);
		ALTER TABLE dropped DROP body;
		INSERT INTO dropped VALUES (2, 2);
		INSERT INTO keyed VALUES (1, '$secret'), (2, '$secret');
		UPDATE keyed SET id = id + 10;
		DELETE FROM keyed WHERE id = 11;
		INSERT INTO catalog_like VALUES (1, '$secret');
		INSERT INTO hidden VALUES (1, '$secret');
		INSERT INTO unlogged VALUES (1, '$secret');
		CREATE TEMP TABLE temporary (id int, body text);
		INSERT INTO temporary VALUES (1, '$secret');
		SELECT nextval('counter'), setval('counter', 1000000);
		REFRESH MATERIALIZED VIEW honest_matview;
		ALTER TABLE hidden ADD COLUMN more text DEFAULT md5(random()::text);
		VACUUM FULL honest;
		CREATE TABLE made AS SELECT * FROM honest LIMIT 10;
		CREATE TABLE emptied AS SELECT 1 AS id;
		TRUNCATE emptied, leaf_1;
		BEGIN;
		INSERT INTO honest VALUES (10001, 'aborted', 'aborted');
		ROLLBACK;
		BEGIN;
		SAVEPOINT s;
		INSERT INTO honest SELECT i, 'aborted', 'aborted' FROM generate_series(10001, 12000) i;
		TRUNCATE honest;
		ROLLBACK TO s;
		INSERT INTO honest VALUES (3001, 'asked for', 'x');
		SAVEPOINT s2;
		DELETE FROM honest WHERE id = 3001;
		INSERT INTO honest VALUES (3001, 'asked for', 'y');
		COMMIT;
		SELECT pg_replication_origin_create('elsewhere'), pg_replication_origin_session_setup('elsewhere');
		BEGIN;
		SELECT pg_replication_origin_xact_setup('0/1', now());
		INSERT INTO honest VALUES (4001, 'asked for', 'from elsewhere');
		COMMIT;
		SELECT pg_replication_origin_session_reset();
		SELECT pg_logical_emit_message(true, 'notify_stats', '$secret');
		BEGIN;
		INSERT INTO honest VALUES (5001, 'prepared', 'x');
		PREPARE TRANSACTION 'pending';
		BEGIN;
		INSERT INTO honest VALUES (5002, 'aborted', 'aborted');
		PREPARE TRANSACTION 'given up';
		ROLLBACK PREPARED 'given up';
	});
	sql($node, "INSERT INTO elsewhere VALUES (1, '$secret')", 'other');
	return;
}

# All relations of this database and of the other one, with all their columns; and the output of
# test_decoding for them.
sub test_all_columns
{
	my $relations = q{SELECT c.oid, c.oid || ':' || coalesce((SELECT string_agg(a.attnum::text, ',' ORDER BY a.attnum)
			FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '')
		FROM pg_class c};
	my %list = map { split /\|/ } split /\n/, join "\n", sql($node, $relations, 'other'), sql($node, $relations);
	my %name = map { split /\|/ } split /\n/, sql($node, 'SELECT oid, oid::regclass FROM pg_class');
	%oid = reverse %name;
	$everything = join ';', values %list;
	my ($shown) = run_by_role(q{SELECT data FROM pg_logical_slot_peek_changes('other_plugin', NULL, NULL)});
	my (%theirs, %ours);

	$theirs{$1}{ substr $2, 0, 1 }++ while $shown =~ /^table public\.(\w+): (INSERT|UPDATE|DELETE):/mg;
	foreach my $tables ($shown =~ /^table ([^:]+): TRUNCATE:/mg) { $theirs{$_}{T}++ foreach $tables =~ /public\.(\w+)/g }
	# a parent has what its leaves have
	foreach my $leaf (qw(leaf_1 leaf_2))
	{
		$theirs{parent}{$_} += $theirs{$leaf}{$_} foreach grep { $_ ne 'T' } keys %{ $theirs{$leaf} };
	}
	$theirs{parent}{P} = 1;
	cmp_ok($theirs{honest}{I}, '>', 1999, 'test_decoding shows inserted rows');
	is_deeply($theirs{keyed}, { I => 2, U => 2, D => 1 }, 'and changes by key');
	# of which the rest of the old row is missing; and of a column that came later, its value
	$theirs{keyed} = { I => 2, X => 3 };
	$theirs{hidden} = { X => 1 };

	foreach my $slot (qw(hostile phases))
	{
		my @messages = messages($slot, $everything);
		my $counts = counts(parse(@messages));

		%ours = map { $name{$_} // "relation $_" => $counts->{$_} } keys %$counts;
		cmp_ok(scalar @messages, '>', 4, "$slot: several messages");
		is_deeply(\%ours, \%theirs, "$slot: of all relations and columns exactly the output of test_decoding");
		like(join('', @messages), qr/$secret/, "$slot: with the values of all columns");
		unlike(join('', @messages), qr/aborted|prepared/, "$slot: nothing that was aborted, or is only prepared");
		$counts = counts(parse(messages($slot, $everything, moves => 1)));
		is(join(' ', map { "$_->{M} of " . ($_->{M} + ($_->{D} // 0)) } grep { $_->{M} } map { $counts->{ $oid{$_} } } qw(parent leaf_1)),
			"6 of $theirs{parent}{D} 6 of $theirs{leaf_1}{D}", "$slot: moved rows are some of the deletions");
		is((grep { $_->{M} } values %$counts), 2, "$slot: and of no other table");
	}
	return;
}

# Columns that no table has, or not any more, or not yet.
sub test_missing_columns
{
	my $none = $everything =~ s/:[^;]*/:1600/gr;
	my @changes = parse(messages('hostile', $none));
	is((grep { @$_ > 2 } @changes), 0, 'columns that are not there have no values');
	is_deeply([ sort keys %{ { map { $_->[1] => 1 } @changes } } ], [ 'P', 'T', 'X' ], 'but are unknown');
	is(join(' ', map { $_->[1] } parse(messages('hostile', "$oid{dropped}:1,2,3"))), 'I X', 'a column that was dropped is not shown from then on');
	return;
}

# Some columns of a table, and nothing of the others.
sub test_some_columns
{
	my %asked = (honest => '1,2', large => '1,2', parent => '1,2', leaf_2 => '3,4', dropped => '1,3', keyed => '1', hidden => '1',
		catalog_like => '1', unlogged => '1', pg_authid => '1,2,3', pg_largeobject => '1');
	my @messages = messages('hostile', join ';', map { "$oid{$_}:$asked{$_}" } keys %asked);
	unlike(join('', @messages), qr/$secret/, 'columns that are not asked for are not shown');
	like(join('', @messages), qr/(?<!not )asked for/, 'those asked for are');
	cmp_ok(index(join('', @messages), $_ x 100_000), '>', 0, "large values as a whole: $_") foreach qw(x y);
	is_deeply([ sort { $a <=> $b } keys %{ counts(parse(@messages)) } ],
		[ sort { $a <=> $b } map { $oid{$_} } grep { !/unlogged|pg_/ } keys %asked ], 'no catalog, and nothing unlogged');
	return;
}

# The keys of the table that its changes make.
sub replay
{
	my ($slot) = @_;
	my %rows = (1 => 1);
	foreach (parse(messages($slot, "$honest:1")))
	{
		my ($relid, $kind, @ids) = ($_->[0], $_->[1], map { unpack 'l', $_->[0] } @$_[ 2 .. $#$_ ]);
		$rows{ $ids[0] }-- if $kind ne 'I';
		$rows{ $ids[-1] }++ if $kind ne 'D';
	}
	return join "\n", map { ($_) x $rows{$_} } sort { $a <=> $b } keys %rows;
}

# The changes of a table, replayed, give the table.
sub test_replay
{
	my $ids = 'SELECT id FROM honest ORDER BY id';
	is(replay($_), sql($node, $ids), "$_: the changes of a table make the table") foreach qw(hostile phases);
	sql($node, q{COMMIT PREPARED 'pending'});
	is(replay($_), sql($node, $ids), "$_: so they do when a prepared transaction has committed") foreach qw(hostile phases);
	return;
}

# pg_recvlogical of the role: the process, its output and its errors.
sub recvlogical
{
	my (@arguments) = @_;
	local %ENV = $node->_get_env();
	my ($out, $error) = ('', '');
	my $run = IPC::Run::start([ 'pg_recvlogical', '-d', $node->connstr('postgres'), '-U', $role, '--no-loop', @arguments ],
		'<', \undef, '>', \$out, '2>', \$error);
	return ($run, \$out, \$error);
}

# The output of pg_recvlogical for the role.
sub test_recvlogical
{
	my ($run, $received, $errors) = recvlogical('-S', 'hostile', '--start', '-f', '-', '-o', 'version=1', '-o', "tables=$honest:", '-o', 'tables=');
	$run->finish;
	like($$errors, qr/option "tables" of output plugin "notify_stats" is repeated/, 'pg_recvlogical: a repeated option');
	($run, $received, $errors) = recvlogical('-S', 'hostile', '--start', '-f', '-', '-o', 'version=1', '-o', "tables=$honest:1");
	poll($node, q{SELECT active FROM pg_replication_slots WHERE slot_name = 'hostile'});
	like((outcomes([ sql_call('hostile', version => '1', tables => '') ]))[0], qr/^55006/, 'pg_recvlogical: has the slot to itself');
	$run->signal('KILL');
	$run->finish;
	poll($node, q{SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'hostile'});
	my $expected = join '', map { "$_\n" } messages('phases', $everything);
	($run, $received, $errors) = recvlogical('-S', 'phases', '--start', '-f', '-', '--endpos', sql($node, 'SELECT pg_current_wal_lsn()'),
		'-o', 'version=1', '-o', "tables=$everything");
	$run->finish;
	is($$errors, '', 'pg_recvlogical: no error');
	ok($$received eq $expected, 'pg_recvlogical: the same as by SQL');
	($run, $received, $errors) = recvlogical('-S', 'by_protocol', '--create-slot', '-P', 'notify_stats', '--two-phase');
	$run->finish;
	is($$errors, '', 'pg_recvlogical: makes a slot');
	is(sql($node, q{SELECT two_phase FROM pg_replication_slots WHERE slot_name = 'by_protocol'}), 't', 'for two phases');
	return;
}

# --- the extension, where it is not preloaded -----------------------------------------

# It does no work, reports this, and can be dropped.
sub test_extension_not_preloaded
{
	sql($node, 'CREATE EXTENSION notify_stats');
	sql($node, 'GRANT CREATE ON SCHEMA public TO nobody');
	is(sql($node, 'SELECT state FROM notify_stats.status'), 'not preloaded', 'the status shows that it is not preloaded');
	foreach my $call (
		q{SELECT notify_stats.create_rollup('r', 'SELECT kind, count(*) AS n FROM honest GROUP BY kind')},
		'SELECT notify_stats.wait_for_lsn()', q{SELECT notify_stats.wait_for_lsn('0/1', '0')},
		'CALL notify_stats.catch_up()', 'CALL notify_stats.prepare_upgrade()', q{SELECT notify_stats.verify('honest')})
	{
		like((outcomes([$call], role => $superuser))[0],
			qr/^55000 notify_stats must be loaded via shared_preload_libraries$/, "not preloaded: $call");
	}
	# All functions that PUBLIC may call, with null arguments and with own objects.
	my @functions = split /\n/, sql($node, q{
		SELECT format('%s notify_stats.%I(%s)', CASE prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, proname,
			(SELECT string_agg('NULL::' || CASE WHEN t = 'anyelement'::regtype THEN 'honest' ELSE t::regtype::text END, ', ') FROM unnest(proargtypes) t))
		FROM pg_proc WHERE pronamespace = 'notify_stats'::regnamespace AND prorettype <> 'event_trigger'::regtype ORDER BY 1});
	cmp_ok(scalar @functions, '>', 10, 'there are functions');
	foreach ([ 'nobody' => qr/^(00000|42501|55000|22004)/ ], [ $superuser => qr/^(00000|55000|22004|42P01|42809|39P01)/ ])
	{
		my ($user, $pattern) = @$_;
		my @outcomes = outcomes(\@functions, role => $user);
		like($outcomes[$_], $pattern, 'not preloaded: ' . ($user eq 'nobody' ? 'anybody: ' : 'superuser: ') . $functions[$_]) foreach 0 .. $#functions;
	}
	my @results = outcomes([ 'CREATE TABLE mine (id int, day date) PARTITION BY RANGE (day)', 'ALTER TABLE mine RENAME id TO number',
		'CREATE TABLE mine_1 (number int, day date)', q{ALTER TABLE mine ATTACH PARTITION mine_1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')},
		'SELECT * FROM notify_stats.status', 'SELECT * FROM notify_stats.rollups', 'DROP TABLE mine' ], role => 'nobody');
	is(join(' ', map { substr $_, 0, 5 } @results), join(' ', ('00000') x 7), 'not preloaded: the event trigger is in nobody\'s way');
	sql($node, 'DROP EXTENSION notify_stats');
	is(sql($node, q{SELECT count(*) FROM pg_event_trigger}), '0', 'not preloaded: DROP EXTENSION leaves nothing');
	log_is_clean('not preloaded');
	$node->stop;
	return;
}

# --- a server that has, and its slot --------------------------------------------------

my ($slot, $drop, $read);    # the worker's slot, and statements that drop it and read from it
my $create = q{SELECT notify_stats.create_rollup('kinds', 'SELECT kind, count(*) AS n FROM source GROUP BY kind')};

# A server with the library, the roles again, and a table.
sub start_preloaded_server
{
	$node = new_node('preloaded', conf => $allow_plugin ? "output_plugin_libraries = 'pgoutput, test_decoding, notify_stats'\n" : '');
	sql($node, qq{
		CREATE ROLE $role LOGIN REPLICATION;
		CREATE ROLE nobody LOGIN;
		GRANT CREATE ON DATABASE postgres TO nobody;
		CREATE DATABASE other;
		CREATE TABLE source (id int GENERATED ALWAYS AS IDENTITY, kind int);
		ALTER TABLE source REPLICA IDENTITY FULL;
		INSERT INTO source (kind) SELECT i % 7 FROM generate_series(1, 100) i;
	});
	$slot = sql($node, q{SELECT 'notify_stats_' || oid FROM pg_database WHERE datname = 'postgres'});
	$drop = "SELECT pg_drop_replication_slot('$slot')";
	$read = "SELECT count(*) FROM pg_logical_slot_get_binary_changes('$slot', NULL, NULL, 'version', '1', 'tables', '')";
	return;
}

# Changes of the table.
sub change
{
	sql($node, q{
		INSERT INTO source (kind) SELECT i % 7 FROM generate_series(1, 20) i;
		UPDATE source SET kind = kind + 1 WHERE random() < 0.2;
		DELETE FROM source WHERE random() < 0.1;
	});
	return;
}

# The outcomes of the role's actions are all "done".
sub attack
{
	my ($title, $statements, %param) = @_;
	my @outcomes = outcomes($statements, %param);
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(join(' ', map { substr $_, 0, 5 } @outcomes), join(' ', ('00000') x @$statements), "$title: done")
	  || diag(join "\n", @outcomes);
}

# Pauses the worker, and waits until no process has the slot open.
sub let_go_of_slot
{
	sql($node, 'SELECT notify_stats.pause()');
	poll($node, "SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = '$slot' AND active");
	return;
}

# The statement that makes a slot of the worker's name.
sub make_slot
{
	my ($plugin, @more) = @_;
	return 'SELECT pg_create_logical_replication_slot(' . join(', ', map { quote($_) } $slot, $plugin) . join('', @more) . ')';
}

# The worker reports why it cannot continue, and no rollup is live.
sub is_held_up
{
	my ($column, $pattern, $offset, $log, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->wait_for_log($log, $offset);
	poll($node, "SELECT $column LIKE '$pattern' FROM notify_stats.status WHERE stream = 'main'");
	change();
	return isnt(sql($node, 'SELECT state FROM notify_stats.rollups'), 'live', "$title: the status shows it, and the rollup is not live");
}

# A slot of the worker's name before the worker makes its own.
sub test_slot_made_first
{
	foreach (
		[ 'a slot of our plugin', make_slot('notify_stats', ', false, true'), 'postgres' ],
		[ 'a slot of another plugin', make_slot('test_decoding'), 'postgres', 'replication slot "%" already exists%' ],
		[ 'a slot of another database', make_slot('notify_stats'), 'other', 'replication slot "%" already exists%' ])
	{
		my ($title, $statement, $db, $error) = @$_;
		my $offset;

		let_go_of_slot();
		attack($title, [$statement], db => $db);
		$offset = log_position($node);
		sql($node, $create);
		change();
		resume_stream($node);
		if (defined $error)
		{
			is_held_up('last_error', $error, $offset, qr/ERROR:  replication slot "$slot" already exists/, $title);
			attack("$title, dropped", [$drop], db => $db);
		}
		is_exact($node, "$title: exact in the end");
		is(count_log($offset, qr/dropped replication slot "$slot"/), defined $error ? 0 : 1, "$title: dropped only if it is one of ours");
		sql($node, q{SELECT notify_stats.drop_rollup('kinds')});
		poll($node, 'SELECT count(*) = 0 FROM pg_replication_slots');
	}
	return;
}

# One that the role keeps open.
sub test_slot_in_use
{
	my ($run, $received, $errors, $offset);

	let_go_of_slot();
	attack('a slot in use', [ make_slot('notify_stats') ]);
	($run, $received, $errors) = recvlogical('-S', $slot, '--start', '-f', '-', '-o', 'version=1', '-o', 'tables=');
	poll($node, "SELECT active FROM pg_replication_slots WHERE slot_name = '$slot'");
	sql($node, $create);
	$offset = log_position($node);
	resume_stream($node);
	is_held_up('waits_for', 'process %, which has the replication slot open', $offset,
		qr/replication slot "$slot" is in use by process/, 'a slot in use');
	$run->signal('INT');
	$run->finish;
	is_exact($node, 'a slot in use: exact when it is free');
	return;
}

my $lost = qr/changes were lost: the replication slot/;

# The role's actions on the worker's slot.
sub test_slot_altered
{
	my $ahead = 'is ahead of the applied position';
	foreach (
		[ 'dropped', [$drop], 'missing' ],
		[ 'advanced', [ "SELECT pg_replication_slot_advance('$slot', pg_current_wal_flush_lsn())" ], $ahead ],
		[ 'read in part', [ $read =~ s/NULL, NULL/NULL, 1/r ], $ahead ],
		[ 'made anew', [ $drop, make_slot('notify_stats', ', false, true') ], $ahead ],
		[ 'made temporary', [ $drop, make_slot('notify_stats', ', true') ], 'missing' ],
		[ 'of another plugin', [ $drop, make_slot('pgoutput') ], 'belongs to another database or output plugin' ],
		# which lacks nothing
		[ 'put back', [ "SELECT pg_copy_logical_replication_slot('$slot', 'copy')", $drop,
				"SELECT pg_copy_logical_replication_slot('copy', '$slot')" ], undef ],
		[ 'put back later', [ $drop, "SELECT pg_copy_logical_replication_slot('copy', '$slot')" ], undef ],
		[ 'put back and read', [ $drop, "SELECT pg_copy_logical_replication_slot('copy', '$slot')", $read, $drop,
				"SELECT pg_copy_logical_replication_slot('copy', '$slot')", $read, q{SELECT pg_drop_replication_slot('copy')} ], $ahead ])
	{
		my ($how, $statements, $reason) = @$_;
		my $offset;

		let_go_of_slot();
		$offset = log_position($node);
		change();
		attack($how, $statements);
		change();
		resume_stream($node);
		$node->wait_for_log(qr/$lost (is )?$reason/, $offset) if defined $reason;
		is_exact($node, "$how: exact");
		change();
		is_exact($node, "$how: and changes are applied again");
		is(count_log($offset, $lost), defined $reason ? 1 : 0, "$how: " . ($reason // 'nothing') . ' is logged');
	}
	return;
}

# The slot is read by the replication protocol, which confirms the changes.
sub test_slot_read_by_protocol
{
	my ($run, $received, $errors, $offset);

	let_go_of_slot();
	$offset = log_position($node);
	change();
	($run, $received, $errors) = recvlogical('-S', $slot, '--start', '-f', '-', '--endpos', sql($node, 'SELECT pg_current_wal_lsn()'),
		'-o', 'version=1', '-o', 'tables=', '--status-interval', '1');
	$run->finish;
	is($$errors, '', 'read by the protocol: done');
	resume_stream($node);
	$node->wait_for_log($lost, $offset);
	is_exact($node, 'read by the protocol: exact');
	return;
}

# While the worker is running, with any outcome.
sub test_while_at_work
{
	my @results;

	foreach my $statement (($drop, "SELECT pg_replication_slot_advance('$slot', pg_current_wal_flush_lsn())", $read) x 3)
	{
		change();
		push @results, outcomes([$statement]);
		change();
	}
	is((grep { !/^(00000|55006|42704|55000 cannot advance)/ } @results), 0, 'while the worker is at work: each is done, or the slot is active, missing, or further already');
	is_exact($node, 'while the worker is at work: exact');
	return;
}

# All else is not for the role.
sub test_all_else
{
	my $worker = wait_for_worker($node);
	my @results = outcomes([ "SELECT pg_terminate_backend($worker)", "SELECT pg_cancel_backend($worker)", 'SELECT notify_stats.pause()',
		'CALL notify_stats.catch_up()', 'UPDATE notify_stats.stream SET applied_lsn = NULL', q{SELECT notify_stats.rebuild('kinds')},
		'SET notify_stats.debug_stop_at = \'after-peek\'', 'TABLE kinds' ]);
	is(join(' ', map { substr $_, 0, 5 } @results), join(' ', ('42501') x 8), 'the role cannot stop the worker, or read a rollup');
	is(join(' ', outcomes([ 'SELECT count(*) FROM notify_stats.status', 'SELECT count(*) FROM notify_stats.rollups' ])), '00000 0 00000 0',
		'and the views show it nothing');
	return;
}

# A lock that has gone with its rollup is waited for no more.
sub test_lock_is_forgotten
{
	my $holder = $node->background_psql('postgres');
	$holder->query_safe(q{BEGIN; SELECT notify_stats.drop_rollup('kinds')});
	change();
	poll($node, q{SELECT waits_for = 'a lock on kinds' FROM notify_stats.status});
	$holder->query_safe('COMMIT');
	$holder->quit;
	poll($node, q{SELECT waits_for IS NULL AND state = 'no rollups' FROM notify_stats.status});
	pass('the status forgets a lock that has gone with its rollup');
	return;
}

# --- the publication ------------------------------------------------------------------

# That of an ordinary role is not mistaken for the worker's, even with the same comment.
sub test_publication
{
	poll($node, 'SELECT count(*) = 0 FROM pg_replication_slots');
	set_and_reload($node, 'notify_stats.format' => 'pgoutput');
	my $trap = q{SELECT pubowner::regrole, puballtables, pubinsert, pubtruncate, (SELECT count(*) FROM pg_publication_rel)
		FROM pg_publication WHERE pubname IN ('notify_stats', 'trap') ORDER BY pubowner DESC LIMIT 1};
	attack('a publication of our name', [ q{CREATE PUBLICATION notify_stats WITH (publish = 'insert')},
		q{COMMENT ON PUBLICATION notify_stats IS 'made by notify_stats for its own slot'} ], role => 'nobody');
	my $offset = log_position($node);
	sql($node, $create);
	is_held_up('last_error', 'publication "notify_stats" already exists%', $offset,
		qr/ERROR:  publication "notify_stats" already exists/, 'a publication of our name');
	is(sql($node, $trap), 'nobody|f|t|f|0', 'and the publication is as it was');
	attack('a publication of our name, renamed', [ 'ALTER PUBLICATION notify_stats RENAME TO trap' ], role => 'nobody');
	is_exact($node, 'a publication of our name: exact when it is renamed');
	my @results = outcomes([ 'ALTER PUBLICATION trap RENAME TO notify_stats', q{CREATE PUBLICATION notify_stats},
		'DROP PUBLICATION notify_stats', 'ALTER PUBLICATION notify_stats DROP TABLE source', 'ALTER PUBLICATION notify_stats RENAME TO lost',
		q{ALTER PUBLICATION notify_stats SET (publish = '')}, 'ALTER PUBLICATION notify_stats OWNER TO nobody',
		q{COMMENT ON PUBLICATION notify_stats IS 'mine'} ], role => 'nobody');
	is(join(' ', map { substr $_, 0, 5 } @results), join(' ', ('42710') x 2, ('42501') x 6), 'the worker\'s own is out of reach');
	change();
	is_exact($node, 'and still exact');
	sql($node, q{SELECT notify_stats.drop_rollup('kinds')});
	poll($node, q{SELECT count(*) = 0 FROM pg_publication WHERE pubname = 'notify_stats'});
	is(sql($node, $trap), 'nobody|f|t|f|0', 'only our own publication is dropped with the last rollup');
	return;
}

# --- preloaded no more ----------------------------------------------------------------

# The server starts without the library, with a rollup in it.
sub test_preloaded_no_more
{
	set_and_reload($node, 'notify_stats.format' => 'notify_stats');
	sql($node, $create);
	is_exact($node, 'exact before');
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
	$node->restart;
	my @results = outcomes([ q{SELECT notify_stats.create_rollup('other', 'SELECT kind, count(*) AS n FROM source GROUP BY kind')},
		q{SELECT notify_stats.verify('kinds')}, q{SELECT notify_stats.rebuild('kinds')}, q{SELECT notify_stats.wait_for_lsn(rollup => 'kinds')},
		'CALL notify_stats.catch_up()', 'CALL notify_stats.prepare_upgrade()' ], role => $superuser);
	is("@results", join(' ', ('55000 notify_stats must be loaded via shared_preload_libraries') x 6), 'not preloaded any more: the error');
	is(sql($node, 'SELECT state FROM notify_stats.status'), 'not preloaded', 'preloaded no more: so does the status');
	@results = outcomes([ 'SELECT count(*) FROM kinds', 'ALTER TABLE source ADD more int',
		'ALTER TABLE source RENAME id TO number', 'TRUNCATE source', q{SELECT notify_stats.drop_rollup('kinds')}, 'DROP EXTENSION notify_stats',
		$drop ], role => $superuser);
	is(join(' ', map { substr $_, 0, 5 } @results), join(' ', ('00000') x 7), 'preloaded no more: it is in nobody\'s way');
	log_is_clean('preloaded');
	return;
}

# --- the order ------------------------------------------------------------------------

start_bare_server();
test_permission();
test_loading();
make_honest_table();
test_bad_options();
test_options_in_encodings();
test_refused_by_server();
test_large_options();
test_large_options_by_protocol();
make_tables();
make_changes();
test_all_columns();
test_missing_columns();
test_some_columns();
test_replay();
test_recvlogical();
test_extension_not_preloaded();
start_preloaded_server();
test_slot_made_first();
test_slot_in_use();
test_slot_altered();
test_slot_read_by_protocol();
test_while_at_work();
test_all_else();
test_lock_is_forgotten();
test_publication();
test_preloaded_no_more();

done_testing();
