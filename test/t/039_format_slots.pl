# 039_format_slots.pl
#
# The slots of other output plugins, pgoutput and wal2json, from creation to removal: with a
# server that must allow the plugin, with the publication that pgoutput needs, which others may
# alter, with another version of wal2json in between, and while rollups are built.  A rollup that
# is live is always exact.
#
# Some of it happens in databases without a worker: nothing reads the slot there until we CALL
# catch_up().
# takes long

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Formats;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('slots', only_own_plugin => 1);

# --- the server's list of plugins -----------------------------------------------------

# A rollup in the format wal2json, with a server that does not list it.
sub test_allowed_plugins
{
	my $create = q{SELECT notify_stats.create_rollup('kinds', 'SELECT k, count(*) AS c FROM source GROUP BY k')};
	my ($error, $list, $before);

	if (sql($node, "SELECT current_setting('output_plugin_libraries', true) IS NULL") eq 't')
	{
		note('this server has no list of allowed output plugins');
		return;
	}
	use_way($ways[1]);
	sql($node, q{CREATE TABLE source (id int PRIMARY KEY, k text); ALTER TABLE source REPLICA IDENTITY FULL;
		INSERT INTO source VALUES (1, 'old')});
	$list = sql($node, 'SHOW output_plugin_libraries');
	$error = sql_error($node, $create);
	like($error, qr/ERROR:  42501: output plugin "wal2json" is not allowed on this server/,
		'a plugin that is not listed: an error');
	like($error, qr/HINT: .*\boutput_plugin_libraries = '\Q$list\E, wal2json'/, 'the hint has the line to write');
	is(sql($node, q{SELECT (SELECT count(*) FROM pg_replication_slots), to_regclass('kinds'),
		(SELECT count(*) FROM notify_stats.rollup)}), '0||0', 'nothing is half made');

	# done as the hint says, in the file
	$error =~ /(output_plugin_libraries = '[^']*')/ or die 'no line in the hint';
	$node->append_conf('postgresql.conf', $1);
	$node->reload;
	poll($node, q{SELECT current_setting('output_plugin_libraries') LIKE '%wal2json%'});
	sql($node, $create);
	sql($node, q{INSERT INTO source VALUES (2, 'new')});
	is_applied('postgres', 'with the line in postgresql.conf it works');

	# The permission goes while the stream is at work.
	sql($node, 'ALTER SYSTEM SET output_plugin_libraries = pgoutput, "odd-name", test_decoding');
	$node->reload;
	poll($node, q{SELECT current_setting('output_plugin_libraries') NOT LIKE '%wal2json%'});
	$before = sql($node, 'SELECT confirmed_flush_lsn FROM pg_replication_slots');
	sql($node, q{INSERT INTO source VALUES (3, 'newer')});
	poll($node, q{SELECT last_error LIKE 'output plugin "wal2json" is not allowed%'
		FROM notify_stats.status WHERE stream = 'main'});
	pass('a permission that is gone: the status shows it');
	$before = sql($node, 'SELECT confirmed_flush_lsn FROM pg_replication_slots');
	sql($node, 'SELECT pg_switch_wal()');
	poll($node, q{SELECT count(*) = 0 FROM pg_stat_activity
		WHERE backend_type = 'notify_stats worker' AND datname = 'postgres'});
	wait_for_worker($node);
	is(sql($node, 'SELECT confirmed_flush_lsn FROM pg_replication_slots'), $before, 'the slot does not move');
	is(sql($node, q{SELECT count(*) FROM kinds WHERE k = 'newer'}), '0', 'nothing is applied');
	is(sql($node, 'SELECT state FROM notify_stats.rollups'), 'live', 'nothing is stale');

	# done as the hint says, by ALTER SYSTEM, with a name in the list that needs quotes
	$error = sql_error($node, 'CALL notify_stats.catch_up()');
	$error =~ /(ALTER SYSTEM SET output_plugin_libraries = [^;]*;)/ or die 'no statement in the hint';
	sql($node, $1);
	$node->reload;
	is_applied('postgres', 'with the ALTER SYSTEM of the hint changes are applied');
	is(sql($node, q{SELECT string_agg(k, ' ' ORDER BY k) FROM kinds}), 'new newer old', 'and nothing is lost');

	# lists to which one cannot just append
	foreach my $odd ('', 'pgoutput, odd-name, $libdir/other')
	{
		$node->append_conf('postgresql.conf', "output_plugin_libraries = '$odd'");
		sql($node, 'ALTER SYSTEM RESET output_plugin_libraries');
		$node->reload;
		poll($node, "SELECT current_setting('output_plugin_libraries') = '$odd'");
		$error = sql_error($node, $create);
		$error =~ /(ALTER SYSTEM SET output_plugin_libraries = [^;]*;)/ or die 'no statement in the hint';
		is(errors_of('postgres', $1), '', "the hint for the list '$odd' is a statement") or next;
		$node->reload;
		poll($node, "SELECT current_setting('output_plugin_libraries') <> '$odd'");
		like(sql_error($node, $create), qr/already exists/, 'and it helps');
	}
	sql($node, 'ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json');
	$node->reload;
	is_applied('postgres', 'and changes are applied again');
	drop_rollups('postgres');
	return;
}

# --- versions of wal2json -------------------------------------------------------------

# The version of wal2json is switched while changes are unread; then batches that end anywhere.
sub test_versions
{
	my $db = new_database('versions');
	my ($before, $after);

	use_way($ways[1]);
	in_db($db, q{
		CREATE TABLE t (id serial PRIMARY KEY, k text);
		ALTER TABLE t REPLICA IDENTITY FULL;
		SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c FROM t GROUP BY k');
		CALL notify_stats.catch_up()});
	foreach my $way ($ways[2], $ways[1], $ways[2])
	{
		in_db($db, q{INSERT INTO t (k) VALUES ('before'), ('before'); TRUNCATE t;
			INSERT INTO t (k) VALUES ('before')});
		use_way($way);
		is_caught_up($db, "$way->{name}: after the version was switched",
			q{INSERT INTO t (k) VALUES ('after'); DELETE FROM t WHERE id = (SELECT min(id) FROM t)});
	}
	is(in_db($db, 'SELECT plugin FROM pg_replication_slots WHERE database = current_database()'), 'wal2json',
		'with the same slot');

	# Small transactions, so that the ends of batches lie in commit records: of the text of
	# version 1 only where such a record ends is known.
	foreach my $way (@ways)
	{
		my $name = $way->{name};

		$db = new_database('batches_' . $way->{format} . $way->{version});
		set_and_reload($node, 'notify_stats.max_batch_wal' => '64kB');
		use_way($way);
		in_db($db, q{
			CREATE TABLE t (id serial, k text);
			ALTER TABLE t REPLICA IDENTITY FULL;
			SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c FROM t GROUP BY k');
			CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
			BEGIN
				FOR i IN 1..6000 LOOP
					INSERT INTO t (k) VALUES (repeat('x', i % 7));
					COMMIT;
				END LOOP;
			END $$;
		});
		(undef, $before) = is_caught_up($db, "$name: with small batches");
		(undef, $after) = is_caught_up($db, "$name: many small transactions",
			'SET synchronous_commit = off; CALL fill()');
		is($after, $before, "$name: without a rebuild");
		is(in_db($db, 'SELECT sum(c) FROM r'), '6000', "$name: and each row is counted once");
		set_and_reload($node, 'notify_stats.max_batch_wal' => undef);
	}
	return;
}

# --- the publication ------------------------------------------------------------------

# The tables in publications.
my $published = q{SELECT string_agg(prrelid::regclass::text, ' ' ORDER BY prrelid::regclass::text)
	FROM pg_publication_rel};

# Alters the publication in all ways while changes are unread.
sub test_publication_altered
{
	my $db = new_database('publication');
	# this is the only change allowed to writers of a table of which only some columns are published
	my $insert = q{INSERT INTO t (k) VALUES ('a'), ('b')};
	my %alterations = (
		'a table taken out' => [ 'ALTER PUBLICATION notify_stats DROP TABLE t', 'SELECT' ],
		'a table taken out and put back' =>
			[ 'ALTER PUBLICATION notify_stats DROP TABLE t', 'ALTER PUBLICATION notify_stats ADD TABLE t' ],
		'taken out and put back in one transaction' =>
			[ 'BEGIN; ALTER PUBLICATION notify_stats DROP TABLE t',
				'ALTER PUBLICATION notify_stats ADD TABLE t; COMMIT' ],
		'only inserts published' => [ q{ALTER PUBLICATION notify_stats SET (publish = 'insert')}, 'SELECT' ],
		'only inserts published for a moment' =>
			[ q{ALTER PUBLICATION notify_stats SET (publish = 'insert')},
				q{ALTER PUBLICATION notify_stats SET (publish = 'insert, update, delete, truncate')} ],
		'partitions published as their root' =>
			[ 'ALTER PUBLICATION notify_stats SET (publish_via_partition_root = true)', 'SELECT' ],
		'some rows published' => [ 'ALTER PUBLICATION notify_stats SET TABLE t WHERE (id > 1000000)', 'SELECT' ],
		'some columns published' => [ 'ALTER PUBLICATION notify_stats SET TABLE t (id)', 'SELECT', $insert ],
		'another table published' =>
			[ 'ALTER PUBLICATION notify_stats ADD TABLE elsewhere.beside', 'INSERT INTO elsewhere.beside SELECT' ],
		'a schema published' =>
			[ 'ALTER PUBLICATION notify_stats ADD TABLES IN SCHEMA elsewhere', 'INSERT INTO elsewhere.beside SELECT' ],
		'renamed' => [ 'ALTER PUBLICATION notify_stats RENAME TO mine', 'SELECT' ],
		'dropped' => [ 'DROP PUBLICATION notify_stats', 'SELECT' ],
		'dropped and made anew by somebody who knows us' => [ 'DROP PUBLICATION notify_stats',
			q{CREATE PUBLICATION notify_stats FOR TABLE t;
				COMMENT ON PUBLICATION notify_stats IS 'made by notify_stats for its own slot'} ]);
	my $change = qq{$insert; UPDATE t SET k = 'b' WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0;
		INSERT INTO u VALUES (1, 'a')};

	use_way($pgoutput);
	is_caught_up($db, 'pgoutput: with a publication of ours', qq{
		CREATE TABLE t (id serial PRIMARY KEY, k text); ALTER TABLE t REPLICA IDENTITY FULL;
		CREATE TABLE u (id int, k text) PARTITION BY LIST (id); CREATE TABLE u1 PARTITION OF u FOR VALUES IN (1);
		ALTER TABLE u1 REPLICA IDENTITY FULL;
		CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.beside (acl aclitem[] DEFAULT '{postgres=r/postgres}');
		INSERT INTO t (k) SELECT 'old' FROM generate_series(1, 100);
		SELECT notify_stats.create_rollup('rt', 'SELECT k, count(*) AS c FROM t GROUP BY k');
		SELECT notify_stats.create_rollup('ru', 'SELECT k, count(*) AS c FROM u GROUP BY k');
		SELECT notify_stats.create_rollup('both',
			'SELECT k, count(*) AS c FROM (SELECT k FROM t UNION ALL SELECT k FROM u) x GROUP BY k')});
	is(in_db($db, $published), 't u', 'of the sources');

	foreach my $title (sort keys %alterations)
	{
		my ($alter, $restore, $meanwhile) = @{ $alterations{$title} };

		$meanwhile //= $change;
		in_db($db, "$change; $alter; $meanwhile; $restore; $meanwhile");
		# another table may have no binary form, which is found out once
		errors_of($db, 'CALL notify_stats.catch_up()') if $title =~ /schema/;
		is_caught_up($db, "the publication: $title", 'SELECT');
		is_caught_up($db, "the publication: $title, and afterwards", "$change; DROP PUBLICATION IF EXISTS mine");
	}

	# A table is removed with the last rollup that reads it, in whatever way.
	my $clean = 'ALTER PUBLICATION notify_stats DROP TABLE u';
	is_caught_up($db, 'a rollup dropped', q{SELECT notify_stats.drop_rollup('both')});
	is(in_db($db, $published), 't u', 'of tables that others read');
	is_caught_up($db, 'another dropped', q{SELECT notify_stats.drop_rollup('ru')});
	is(in_db($db, $published), 't', 'takes its table out of the publication');
	in_db($db, q{
		INSERT INTO u VALUES (1, '0');
		SELECT notify_stats.create_rollup('failing', 'SELECT 1 / k::int AS k, count(*) AS c FROM u GROUP BY 1')});
	errors_of($db, 'CALL notify_stats.catch_up()');
	is_caught_up($db, 'a rollup dropped that never was', q{SELECT notify_stats.drop_rollup('failing')});
	is(in_db($db, $published), 't', 'takes its table with it as well') or errors_of($db, $clean);

	# even if another session has locked the table at that time
	in_db($db, q{SELECT notify_stats.create_rollup('ru', 'SELECT k, count(*) AS c FROM u GROUP BY k');
		CALL notify_stats.catch_up()});
	my $locker = $node->background_psql($db);
	$locker->query_safe('BEGIN; LOCK TABLE u IN SHARE UPDATE EXCLUSIVE MODE');
	is_caught_up($db, 'a rollup dropped while somebody works on its table', q{SELECT notify_stats.drop_rollup('ru')});
	$locker->query_safe('COMMIT');
	$locker->quit;
	in_db($db, q{INSERT INTO t (k) VALUES ('a'); CALL notify_stats.catch_up(); CHECKPOINT;
		INSERT INTO t (k) VALUES ('a'); CALL notify_stats.catch_up()});
	is(in_db($db, $published), 't', 'takes its table out when the lock is free') or errors_of($db, $clean);

	# another format, another slot
	use_way($ways[1]);
	drop_slot_of($db);
	is_caught_up($db, 'a new slot of another format');
	is(in_db($db, 'SELECT format FROM notify_stats.stream'), 'wal2json', 'the format is that of the settings');
	is(in_db($db, 'SELECT count(*) FROM pg_publication'), '0', 'and leaves no publication behind');
	use_way($pgoutput);
	drop_slot_of($db);
	is_caught_up($db, 'and back', $change);
	is(in_db($db, $published), 't', 'with its publication');
	in_db($db, q{SELECT notify_stats.drop_rollup('rt'); CALL notify_stats.catch_up()});
	is(in_db($db, 'SELECT count(*) FROM pg_publication'), '0', 'the last rollup takes the publication with it');
	is(sql($node, "SELECT count(*) FROM pg_replication_slots WHERE database = '$db'"), '0', 'and the slot');
	return;
}

# With the worker: a foreign publication, manual changes while it runs, and removal.
sub test_publication_with_worker
{
	my $before;

	use_way($pgoutput);
	sql($node, q{
		CREATE TABLE beside (id int);
		CREATE PUBLICATION notify_stats FOR TABLE beside;
		CREATE TABLE p (id serial PRIMARY KEY, k text); ALTER TABLE p REPLICA IDENTITY FULL;
		SELECT notify_stats.create_rollup('rp', 'SELECT k, count(*) AS c FROM p GROUP BY k')});
	poll($node, q{SELECT last_error LIKE '%publication "notify_stats" already exists%'
		FROM notify_stats.status WHERE stream = 'main'});
	pass('a publication of that name: the status shows it');
	like(sql_error($node, 'CALL notify_stats.catch_up()'),
		qr/ERROR:  42710: publication "notify_stats" already exists.*HINT: .*ALTER PUBLICATION notify_stats RENAME/s,
		'catch_up() tells what to do');
	is(sql($node, 'SELECT count(*) FROM pg_replication_slots WHERE database = current_database()'), '0',
		'there is no slot');
	is(sql($node, $published), 'beside', 'and the publication is left alone');
	sql($node, q{ALTER PUBLICATION notify_stats RENAME TO another_name; INSERT INTO p (k) VALUES ('a')});
	is_applied('postgres', 'renamed, it is in nobody\'s way');
	is(sql($node, $published), 'beside p', 'and ours exists as well');

	# it goes while changes are unread, and others are on their way
	sql($node, q{SELECT notify_stats.pause(); INSERT INTO p (k) VALUES ('b')});
	my $open = $node->background_psql('postgres');
	$open->query_safe(q{BEGIN; INSERT INTO p (k) VALUES ('c')});
	sql($node, 'DROP PUBLICATION notify_stats');
	$open->query_safe(q{INSERT INTO p (k) VALUES ('c')});
	sql($node, q{INSERT INTO p (k) VALUES ('d'); SELECT notify_stats.resume()});
	poll($node, q{SELECT state = 'stale' AND reason LIKE 'the publication of table "p" has changed%'
		FROM notify_stats.rollups});
	pass('a dropped publication: the rollup is stale');
	$open->query_safe('COMMIT');
	$open->quit;
	is_applied('postgres', 'and rebuilt');
	sql($node, q{INSERT INTO p (k) VALUES ('e')});
	is_applied('postgres', 'and changes are applied again');
	is_verified($node, 'rp', 'verify() agrees');
	is(sql($node, $published), 'beside p', 'with a publication again');

	# and so on while the worker runs
	sql($node, q{INSERT INTO p (k) VALUES ('f'); ALTER PUBLICATION notify_stats DROP TABLE p;
		INSERT INTO p (k) VALUES ('f');
		ALTER PUBLICATION notify_stats ADD TABLE p; INSERT INTO p (k) VALUES ('f')});
	is_applied('postgres', 'a table taken out by hand for a moment');

	# the end
	sql($node, q{DROP PUBLICATION another_name; DROP EXTENSION notify_stats CASCADE; INSERT INTO p (k) VALUES ('g')});
	poll($node, q{SELECT NOT EXISTS (SELECT FROM pg_publication)
		AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database())});
	pass('DROP EXTENSION leaves neither publication nor slot');
	sql($node, 'CREATE EXTENSION notify_stats');
	return;
}

# --- another slot on request ----------------------------------------------------------

# The slot of the worker is of that plugin, the only one, and works.
sub is_recreated
{
	my ($plugin, $title) = @_;

	is_applied('postgres', "$title: exact");
	is(sql($node, 'SELECT plugin FROM pg_replication_slots WHERE database = current_database()'), $plugin, "$title: $plugin");
	is(sql($node, q{SELECT string_agg(pubname, '') FROM pg_publication}), $plugin eq 'pgoutput' ? 'notify_stats' : '',
		"$title: and its publication");
	sql($node, q{INSERT INTO t (k) VALUES ('next'); UPDATE t SET k = 'last' WHERE id = (SELECT max(id) FROM t)});
	is_applied('postgres', "$title: and goes on");
	return;
}

# The server invalidates the slot of the paused stream.
sub invalidate_slot
{
	set_and_reload($node, max_slot_wal_keep_size => '1MB');
	for (1 .. 50)
	{
		sql($node, q{SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1024 * 1024)); SELECT pg_switch_wal(); CHECKPOINT});
		last if sql($node, 'SELECT wal_status FROM pg_replication_slots WHERE database = current_database()') eq 'lost';
	}
	set_and_reload($node, max_slot_wal_keep_size => undef);
	return;
}

# recreate_slot() with a worker: into each format while it reads the slot; paused; with a slot that
# is lost; into a format that cannot be had.
sub test_recreated
{
	my $other = q{SELECT notify_stats.recreate_slot()};
	my ($offset, $session);

	set_and_reload($node, 'notify_stats.on_lost_slot' => 'stop', 'notify_stats.format' => undef);
	sql($node, q{
		CREATE TABLE t (id serial PRIMARY KEY, k text);
		ALTER TABLE t REPLICA IDENTITY FULL;
		SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c FROM t GROUP BY k')});
	wait_until_applied($node);
	foreach my $way (@ways, { name => 'our own', format => 'notify_stats', version => 2 }, $pgoutput)
	{
		$session = start_psql($node, q{DO $$ BEGIN FOR i IN 1 .. 300 LOOP
			INSERT INTO t (k) VALUES (i % 7); COMMIT; END LOOP; END $$});
		use_way($way);
		like(check_row($node, 'format'), qr/\|.* run: SELECT notify_stats\.recreate_slot\(\);/, "$way->{name}: check() says how")
		  if $way->{name} ne 'wal2json 1';
		$offset = log_position($node);
		sql($node, $other);
		is_recreated($way->{format}, $way->{name});
		$session->finish;
		# a build may have begun with the old slot; it is tried again
		unlike(slurp_file($node->logfile, $offset), qr/changes were lost|ERROR: +(?!library "\w+" may not be used)/,
			"$way->{name}: nothing was lost");
		is(() = slurp_file($node->logfile, $offset) =~ /LOG:  the replication slot is recreated as requested/g, 1,
			"$way->{name}: it is said, once");
	}

	# nothing happens before resume(), whatever happens to the server and to the slot
	pause_stream($node);
	sql($node, "UPDATE r SET c = 100; $other");
	use_way($ways[1]);
	kill_server($node);
	start_again($node);
	wait_for_worker($node);
	is(sql($node, q{SELECT state, plugin, min(c) FROM notify_stats.rollups, pg_replication_slots, r
		WHERE database = current_database() GROUP BY 1, 2}), 'live|pgoutput|100', 'paused: nothing is done');
	resume_stream($node);
	is_recreated('wal2json', 'paused before');

	pause_stream($node);
	invalidate_slot();
	sql($node, $other);
	resume_stream($node);
	is_recreated('wal2json', 'a lost slot, and notify_stats.on_lost_slot = stop');

	# a format that cannot be had, and a crash then
	use_way($pgoutput);
	pause_stream($node);
	sql($node, "$other; CREATE PUBLICATION notify_stats");
	resume_stream($node);
	poll($node, q{SELECT last_error LIKE 'publication "notify_stats" already exists%'
		FROM notify_stats.status WHERE stream = 'main'});
	pass('a format that cannot be had: the status tells');
	kill_server($node);
	start_again($node);
	wait_for_worker($node);
	is(sql($node, q{SELECT state, reason FROM notify_stats.rollups}), 'stale|the replication slot is recreated as requested',
		'the rollup tells why it is stale');
	use_way($ways[1]);
	sql($node, 'DROP PUBLICATION notify_stats');
	is_recreated('wal2json', 'with another one, after a crash');
	drop_rollups('postgres');
	set_and_reload($node, 'notify_stats.on_lost_slot' => undef);
	return;
}

# --- builds ---------------------------------------------------------------------------

# Rollups created, rebuilt and verified while others write, some in transactions that had changed
# the table before it was a source, and committed when it was.
sub test_builds
{
	sql($node, q{
		CREATE TABLE one (id int, k int, n int);
		CREATE TABLE two (id int, k int, n int) PARTITION BY LIST (k);
		CREATE TABLE two0 PARTITION OF two FOR VALUES IN (0, 1, 2);
		CREATE TABLE two1 PARTITION OF two DEFAULT;
		ALTER TABLE one REPLICA IDENTITY FULL; ALTER TABLE two0 REPLICA IDENTITY FULL;
		ALTER TABLE two1 REPLICA IDENTITY FULL;
		CREATE TABLE stop ();
		CREATE PROCEDURE write(name text) LANGUAGE plpgsql AS $$
		BEGIN
			FOR i IN 1..100000 LOOP
				EXECUTE format('INSERT INTO %I SELECT %s + g, g %% 5, g FROM generate_series(1, 1 + %s %% 20) g',
					name, 4 * i, i);
				IF i % 3 = 0 THEN
					EXECUTE format('UPDATE %I SET k = (k + 1) %% 5 WHERE id > %s', name, 4 * i - 50);
				END IF;
				IF i % 7 = 0 THEN
					ROLLBACK;
				END IF;
				EXECUTE format('DELETE FROM %I WHERE id BETWEEN %s AND %s', name, 4 * i - 100, 4 * i - 90);
				COMMIT;
				EXIT WHEN EXISTS (SELECT FROM stop);
				-- else a slow machine never catches up
				PERFORM pg_sleep(0.02);
			END LOOP;
		END $$;
	});
	foreach my $way (@ways)
	{
		my $name = $way->{name};
		my (@writers, $open, $xid, $offset);

		use_way($way);
		sql($node, q{TRUNCATE one, two, stop;
			SELECT notify_stats.create_rollup('r1',
				'SELECT k, count(*) AS c, coalesce(sum(n), 0) AS n FROM one GROUP BY k')});
		is_applied('postgres', "$name: before");
		@writers = map { start_psql($node, "CALL write('$_')") } 'one', 'two';
		$open = $node->background_psql('postgres');
		$open->query_safe('BEGIN; INSERT INTO two SELECT 1000000 + g, g % 5, g FROM generate_series(1, 50) g');
		$xid = $open->query_safe('SELECT pg_current_xact_id()::xid');
		sql($node, q{SELECT notify_stats.create_rollup('r2',
			'SELECT k, count(*) AS c, coalesce(sum(n), 0) AS n FROM two GROUP BY k')});
		poll($node, "SELECT waits_for = 'transaction $xid' FROM notify_stats.status WHERE stream = 'build r2'");
		$open->query_safe('UPDATE two SET k = (k + 1) % 5 WHERE id >= 1000000; DELETE FROM two WHERE id > 1000040');
		sql($node, q{SELECT pg_current_xact_id()});
		$open->query_safe('COMMIT');
		$open->quit;
		wait_until_applied($node);
		sql($node, q{SELECT notify_stats.rebuild('r1'); SELECT notify_stats.create_rollup('r3',
			'SELECT k % 2 AS odd, count(*) AS c FROM (SELECT k FROM one UNION ALL SELECT k FROM two) u GROUP BY 1')});
		is_verified($node, 'r2', "$name: verify() of a rollup created under load");
		wait_until_rebuilt($node, 'r1');
		wait_until_applied($node);
		is_verified($node, 'r1', "$name: verify() of one rebuilt under load");
		is_verified($node, 'r3', "$name: verify() of one of both tables");
		sql($node, 'INSERT INTO stop DEFAULT VALUES');
		is($_->finish, '', "$name: a writer was never in trouble") foreach @writers;
		is_applied('postgres', "$name: exact after the load");
		no_build_slots($node, "$name: no slot is left");

		# A build over partitions must keep them unchanged, but not the main stream.
		$offset = log_position($node);
		set_stop($node, 'build-snapshot');
		sql($node, q{SELECT notify_stats.rebuild('r2')});
		wait_for_stop($node, 'build-snapshot', $offset);
		sql($node, 'INSERT INTO one VALUES (2000000, 77, 1); INSERT INTO two VALUES (2000000, 77, 1)');
		poll($node, 'SELECT count(*) = 1 FROM r1 WHERE k = 77');
		pass("$name: the main stream continues while a build reads partitions");
		continue_from_stop($node);
		wait_until_rebuilt($node, 'r2');
		is_applied('postgres', "$name: exact after the stop");
		drop_rollups('postgres');
	}
	return;
}

# Changes, and reverted changes, while a rollup is built or rebuilt: the first look at names and
# publication must be before the snapshot.
sub test_changes_within_a_build
{
	my @cases = (
		{
			title => 'a table taken out of the publication',
			way => $pgoutput,
			point => 'build-snapshot',
			change => q{ALTER PUBLICATION notify_stats DROP TABLE there.t; INSERT INTO there.t VALUES (2, 'a');
				ALTER PUBLICATION notify_stats ADD TABLE there.t}
		},
		{
			title => 'a renamed schema',
			way => $ways[1],
			point => 'build-snapshot',
			change => q{INSERT INTO there.t VALUES (2, 'a'); ALTER SCHEMA there RENAME TO elsewhere}
		},
		{
			title => 'a table renamed and back',
			way => $ways[1],
			point => 'build-filled',
			change => q{ALTER TABLE there.t RENAME TO u; INSERT INTO there.u VALUES (2, 'a');
				ALTER TABLE there.u RENAME TO t}
		},
		{
			title => 'no replica identity for a moment',
			way => $ways[2],
			point => 'build-filled',
			change => q{ALTER TABLE there.t REPLICA IDENTITY NOTHING; DELETE FROM there.t;
				ALTER TABLE there.t REPLICA IDENTITY FULL}
		});
	my $number = 0;

	foreach my $case (@cases)
	{
		use_way($case->{way});
		foreach my $kind ('created', 'rebuilt')
		{
			my $db = new_database('within' . ++$number);
			my ($offset, $build);

			in_db($db, q{
				CREATE SCHEMA there;
				CREATE TABLE there.t (id int PRIMARY KEY, k text); ALTER TABLE there.t REPLICA IDENTITY FULL;
				INSERT INTO there.t VALUES (1, 'a');
				SELECT notify_stats.create_rollup('r', 'SELECT k, count(*) AS c FROM there.t GROUP BY k')} .
				($kind eq 'rebuilt' ? q{; CALL notify_stats.catch_up(); SELECT notify_stats.rebuild('r')} : ''));
			$offset = log_position($node);
			set_stop($node, $case->{point});
			$build = start_in_database($db, 'CALL notify_stats.catch_up()');
			wait_for_stop($node, $case->{point}, $offset);
			in_db($db, $case->{change});
			continue_from_stop($node);
			$build->finish;
			is_caught_up($db, "$case->{way}{name}: $case->{title}, at $case->{point} of a rollup that is $kind");
		}
	}
	return;
}

# --- the order ------------------------------------------------------------------------

test_allowed_plugins();
test_versions();
test_publication_altered();
test_recreated();
test_changes_within_a_build();
test_builds();
test_publication_with_worker();

done_testing();
