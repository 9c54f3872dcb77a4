# 024_upgrade.pl
#
# prepare_upgrade() leaves the slot in a state that pg_upgrade accepts.  The new server continues
# without a rebuild, or, without that call, with one.  The old server continues as well if the
# upgrade is not done.  The steps are those of the manual (doc/operations.md).
#
# pg_upgrade migrates slots from 17 on, and is run here if NS_OLD_BINDIR names the programs
# of an older server.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use File::Basename qw(dirname);
use FindBin;
use lib $FindBin::Bin;
use Documents;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $prepare = 'CALL notify_stats.prepare_upgrade()';
my ($stop_autovacuum, $prepare_database, $return) = document_block('doc/operations.md', 'Upgrading the server', 'sh');
my $new_settings = document_block('doc/operations.md', 'Upgrading the server', 'ini');

# Runs a step of the manual, in which the database is called shop.
sub follow
{
	my ($node, $step) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	local %ENV = $node->_get_env();

	command_ok([ 'sh', '-e', '-c', $step =~ s/-d shop\b/-d postgres/gr ], 'the manual: ' . $step =~ s/\n(?=.)/; /gr =~ s/\n//r);
	return;
}

sub create_rollups
{
	my ($node) = @_;

	load_notify($node);
	sql($node, q{
		CREATE TABLE kept (a int);
		ALTER TABLE kept REPLICA IDENTITY FULL;
		SELECT notify_stats.create_rollup('kept_rows', 'SELECT a, count(*) AS n FROM kept GROUP BY a', ignore_deletes => '{kept}');
	});
	load_computed($node);
	# so that nothing is deleted before it is counted
	wait_until_applied($node);
	return;
}

# Changes, of which two rows of "kept" are deleted.
sub change
{
	my ($node) = @_;

	change_notify($node);
	change_computed($node);
	sql($node, 'INSERT INTO kept VALUES (1), (2)');
	sql($node, 'DELETE FROM kept WHERE a = 2');
	return;
}

# Whether the rollups are those that were built first, and exact with $rounds of changes.
sub is_continued
{
	my ($node, $built_at, $rounds, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is_exact($node, "$title: exact", rollups => [ 'ft_service_stats', 'averages', 'per_region', 'total' ]);
	is(sql($node, 'SELECT a, n FROM kept_rows ORDER BY a'), "1|$rounds\n2|$rounds", "$title: including deleted rows");
	is(built_at($node), $built_at, "$title: without a rebuild");
	return;
}

sub is_left
{
	my ($node, $title) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(sql($node, q{SELECT state, waits_for, confirmed_flush_lsn > applied_lsn
		FROM notify_stats.status JOIN pg_replication_slots USING (slot_name) WHERE stream = 'main'}),
		'left for upgrade|resume()|t', $title);
}

# --- without an upgrade ---------------------------------------------------------------

my $node = new_node('stays', conf => "notify_stats.resumable_wal_window = 16MB\n");
my ($offset, $built_at);

like(sql_error($node, $prepare), qr/ERROR:  55000: there is no replication slot to migrate\nHINT:  /,
	'there is nothing to prepare without rollups');
poll($node, q{SELECT state = 'no rollups' FROM notify_stats.status});
create_rollups($node);
change($node);
wait_until_applied($node);
$built_at = built_at($node);
$offset = log_position($node);

sql($node, $prepare);
is_left($node, 'the slot is left beyond our own commit');
is(sql($node, q{SELECT count(*) FROM pg_replication_slots s, notify_stats.status
	WHERE s.slot_name = status.slot_name AND confirmed_flush_lsn > pg_current_wal_insert_lsn()}), '0', 'but not beyond the end');
like(sql_error($node, 'CALL notify_stats.catch_up()'),
	qr/ERROR:  55000: notify_stats has been prepared for pg_upgrade\nHINT:  To resume without an upgrade, run: SELECT notify_stats\.resume\(\);/,
	'nothing is applied meanwhile');
resume_stream($node);
is_continued($node, $built_at, 1, 'resume() at once');

follow($node, $stop_autovacuum);
follow($node, $prepare_database);
is_left($node, 'prepared by the steps of the manual');
follow($node, $return);
is_continued($node, $built_at, 1, 'and gone back by them');
poll($node, q{SELECT current_setting('autovacuum') = 'on'});
pass('with autovacuum');
# a commit of its own would be a change after prepare_upgrade()
set_and_reload($node, autovacuum => 'off');

sql($node, $prepare);
change($node);
is(sql($node, q{SELECT sum(n) FROM kept_rows}), '2', 'changes are not applied while the stream is left');
sql($node, $prepare);
is_left($node, 'prepared again, after changes');
is(differences($node, 'postgres', 'ft_service_stats'), '', 'prepare_upgrade() catches up');
is(sql($node, q{SELECT sum(n) FROM kept_rows}), '4', 'including deleted rows');
change($node);
resume_stream($node);
is_continued($node, $built_at, 3, 'resume() after changes');

sql($node, $prepare);
$node->restart;
is_left($node, 'still left after a restart');
change($node);
resume_stream($node);
is_continued($node, $built_at, 4, 'resume() after a restart');

sql($node, $prepare);
kill_server($node);
start_again($node);
change($node);
resume_stream($node);
is_continued($node, $built_at, 5, 'resume() after a crash');

# Changes right before the end of the WAL that can be scanned.
sql($node, "SELECT notify_stats.pause()");
change($node);
sql($node, $prepare);
is(sql($node, q{SELECT state FROM notify_stats.status}), 'paused', 'a paused stream is prepared as well');
resume_stream($node);
is_continued($node, $built_at, 6, 'resume() ends both');

# Other sessions must not write.  Here each applied change causes another one.
sql($node, q{
	CREATE FUNCTION go_on() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.kept VALUES (3); RETURN NULL; END';
	CREATE TRIGGER go_on AFTER INSERT OR UPDATE ON kept_rows EXECUTE FUNCTION go_on();
	INSERT INTO kept VALUES (3);
});
like(sql_error($node, $prepare), qr/ERROR:  55006: source tables are still being modified\nHINT:  Stop all writers, then run: CALL notify_stats\.prepare_upgrade\(\);/,
	'who goes on writing is told of');
sql($node, 'DROP TRIGGER go_on ON kept_rows');
sql($node, $prepare);
is_left($node, 'prepared again, after the writes have stopped');
resume_stream($node);
is_exact($node, 'exact after that', rollups => ['ft_service_stats']);
is(sql($node, 'SELECT n = (SELECT count(*) FROM kept WHERE a = 3) FROM kept_rows WHERE a = 3'), 't', 'including the later writes');
# A rollup that can only be resumed before the upgrade.
sql($node, 'ALTER TABLE kept_rows ADD CONSTRAINT few CHECK (n < 0) NOT VALID');
sql($node, 'INSERT INTO kept VALUES (4)');
wait_for_state($node, 'kept_rows', 'failed');
like(sql_error($node, $prepare), qr/ERROR:  55000: rollup public\.kept_rows could not be resumed after the upgrade\nDETAIL: .*\nHINT:  .*forget_deleted => true\);/,
	'a rollup that would lose deleted rows is told of');
is(sql($node, q{SELECT count(*) FROM pg_replication_slots}), '2', 'and the window remains');
sql($node, q{ALTER TABLE kept_rows DROP CONSTRAINT few; SELECT notify_stats.rebuild('kept_rows')});
wait_for_state($node, 'kept_rows', 'live');
sql($node, $prepare);
is_left($node, 'prepared after it was resumed');
resume_stream($node);
unlike(slurp_file($node->logfile, $offset), qr/changes were lost/, 'nothing was lost in all this');
$node->stop;

# --- pg_upgrade -----------------------------------------------------------------------

if (!$ENV{NS_OLD_BINDIR})
{
	done_testing();
	exit;
}

my ($new_bindir) = run_command([ $ENV{PG_CONFIG}, '--bindir' ]);

# A server of the old version.
sub old_node
{
	my ($name) = @_;
	return new_node($name, install_path => dirname($ENV{NS_OLD_BINDIR}), conf => q{
autovacuum = off
notify_stats.resumable_wal_window = 16MB
});
}

# From 17.12 on the server gives each column an option, pg_attver, that earlier releases of 18 do
# not know: pg_upgrade cannot migrate any table from one to the other.  So the option is removed.
sub remove_column_versions
{
	my ($node) = @_;
	sql($node, q{
SET allow_system_table_mods = on;
UPDATE pg_attribute SET attoptions = nullif(ARRAY(SELECT o FROM unnest(attoptions) o WHERE o NOT LIKE 'pg\_attver=%'), '{}')
WHERE attoptions IS NOT NULL});
	return;
}

# An empty one of the new version, which lets pg_upgrade make our slot.  It has data checksums if
# the old one has, as is the default from 18 on.
sub empty_node
{
	my ($name, $old) = @_;
	return new_node($name, start => 0, init => $old->pg_version < 18 ? ['--no-data-checksums'] : [], conf => $new_settings);
}

sub upgrade_command
{
	my ($old, $new) = @_;
	return ('pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $ENV{NS_OLD_BINDIR},
		'-B', $new_bindir, '-s', $new->host, '-p', $old->port, '-P', $new->port);
}

my $old = old_node('old');
my $new = empty_node('new', $old);
create_rollups($old);
remove_column_versions($old);
change($old);
wait_until_applied($old);
$built_at = built_at($old);

# pg_upgrade leaves its files in the current directory, if it fails.
chdir $new->basedir or die;
change($old);
$old->stop;
command_checks_all([ upgrade_command($old, $new), '--check' ], 1, [qr/slots|consumed/i], [qr//], 'pg_upgrade refuses a slot that was not prepared');
$old->start;
follow($old, $stop_autovacuum);
follow($old, $prepare_database);
disconnect($old);
$old->stop;
command_ok([ upgrade_command($old, $new) ], 'pg_upgrade after prepare_upgrade()');
$new->start;
is_continued($new, $built_at, 2, 'upgraded');
change($new);
is_continued($new, $built_at, 3, 'and goes on');
like(slurp_file($new->logfile), qr/notify_stats resumed after an upgrade of the server/, 'as the log says');
unlike(slurp_file($new->logfile), qr/changes were lost|stale/, 'and nothing was lost');
is_verified($new, 'ft_service_stats', 'verify() finds nothing');
is_verified($new, 'mixed', 'nor in a view over cores');
like(sql_error($new, 'DROP TABLE mixed_core'), qr/2BP01: .*\nDETAIL:  view mixed depends on table mixed_core/, 'a core cannot be dropped alone');
sql($new, 'DROP VIEW mixed');
is(sql($new, q{SELECT relname FROM pg_class WHERE relname LIKE 'mixed%'}), '', 'DROP VIEW takes the cores and the definition along');
sql($new, 'DROP TABLE ft_service_stats');
is(sql($new, q{SELECT to_regclass('ft_service_stats_definition') IS NULL}), 't', 'DROP TABLE takes the definition along');
$new->stop;

# Without the slot.
$old = old_node('old_unprepared');
$new = empty_node('new_unprepared', $old);
create_rollups($old);
remove_column_versions($old);
change($old);
wait_until_applied($old);
$built_at = built_at($old);
sql($old, 'SELECT notify_stats.pause()');
change($old);
drop_slot($old, $_) foreach main_slot($old), main_slot($old) . '_window';
$old->stop;
chdir $new->basedir or die;
command_ok([ upgrade_command($old, $new) ], 'pg_upgrade without the slot');
$new->start;
is(sql($new, q{SELECT state FROM notify_stats.status}), 'paused', 'a paused stream is still paused');
resume_stream($new);
$new->wait_for_log(qr/changes were lost: the replication slot is missing/);
is_exact($new, 'without the slot: rebuilt and exact', rollups => ['ft_service_stats']);
isnt(built_at($new), $built_at, 'without the slot: rebuilt');
change($new);
is_exact($new, 'without the slot: and goes on', rollups => ['ft_service_stats']);
is(sql($new, q{SELECT state, reason FROM notify_stats.rollups WHERE rollup = 'kept_rows'::regclass}),
	'failed|changes were lost: the replication slot is missing', 'without the slot: a rollup that ignores deletes is not rebuilt');
sql($new, 'DROP TABLE ft_service_stats');
is(sql($new, q{SELECT to_regclass('ft_service_stats_definition') IS NULL}), 't', 'DROP TABLE takes the definition along');
$new->stop;

done_testing();
