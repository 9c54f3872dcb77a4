# 075_squeeze.pl
#
# pg_squeeze beside rollups: it rewrites sources and the table of a rollup, while all are written to.
# Rollups stay exact, and are not rebuilt.  It refuses a table with REPLICA IDENTITY FULL that has no
# primary key, as the manual ("Beside other tools") says.
#
# optional packages: postgresql-17-squeeze

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('squeeze', start => 0, extension => 0);
plan skip_all => 'pg_squeeze is not installed'
  if !-e $node->config_data('--sharedir') . '/extension/pg_squeeze.control';

# As the manual says, where the server has this setting.
sub allow_plugin
{
	my $conf = slurp_file($node->data_dir . '/postgresql.conf');

	$node->append_conf('postgresql.conf', "output_plugin_libraries = '$1, pg_squeeze'\n")
	  if $conf =~ /^output_plugin_libraries = '(.*)'/m;
	return;
}

$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'notify_stats, pg_squeeze'
});
allow_plugin();
$node->start;

# a source for each replica identity that the manual recommends
sql($node, q{
	CREATE EXTENSION notify_stats;
	CREATE EXTENSION pg_squeeze;
	CREATE TABLE source (id int PRIMARY KEY, kind int NOT NULL, padding text);
	CREATE UNIQUE INDEX source_kind ON source (id, kind);
	ALTER TABLE source REPLICA IDENTITY USING INDEX source_kind;
	CREATE TABLE complete (LIKE source INCLUDING INDEXES);
	ALTER TABLE complete REPLICA IDENTITY FULL;
	INSERT INTO source SELECT i, i % 50, repeat('x', 200) FROM generate_series(1, 5000) i;
	INSERT INTO complete TABLE source;
	CREATE SEQUENCE ids START 10000;
});
create_rollup($node, 'kinds', 'SELECT kind, count(*) AS n, sum(id) AS ids FROM source GROUP BY kind');
create_rollup($node, 'complete_kinds', 'SELECT kind, count(*) AS n, sum(id) AS ids FROM complete GROUP BY kind');
wait_until_applied($node);
my $built_at = built_at($node);
like($built_at, qr/^complete_kinds\|live.*\nkinds\|live/, 'the rollups are live');

# Inserts, updates and deletes rows until it is stopped, in transactions of several rows.
my $writer = start_psql($node, q{
	DO $$
	BEGIN
		WHILE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'stopped') LOOP
			INSERT INTO source SELECT nextval('ids'), i, 'new' FROM generate_series(1, 5) i;
			INSERT INTO complete SELECT * FROM source WHERE id > currval('ids') - 5;
			UPDATE source SET kind = (kind + 1) % 50 WHERE id % 100 = currval('ids') % 100;
			UPDATE complete SET kind = (kind + 1) % 50 WHERE id % 100 = currval('ids') % 100;
			DELETE FROM source WHERE id % 1000 = currval('ids') % 1000 AND id < currval('ids');
			DELETE FROM complete WHERE id % 1000 = currval('ids') % 1000 AND id < currval('ids');
			COMMIT;
		END LOOP;
	END $$});

sub file_of
{
	my ($table) = @_;
	return sql($node, "SELECT pg_relation_filenode('$table')");
}

# The statement that has a table rewritten by a worker of pg_squeeze, and waits for its end.
sub squeeze
{
	my ($table) = @_;
	return "SELECT squeeze.squeeze_table('public', '$table')";
}

# The sources are written to before and after.
sub is_written
{
	my $id = sql($node, 'SELECT last_value FROM ids');

	poll($node, "SELECT last_value > $id + 50 FROM ids");
	return;
}

foreach my $table (qw(source complete kinds complete_kinds))
{
	my $file = file_of($table);

	is_written();
	sql($node, squeeze($table));
	isnt(file_of($table), $file, "$table has a new file");
}
is_written();
is(sql($node, 'SELECT count(*), sum(ins) > 0, sum(upd) > 0 FROM squeeze.log'), '4|t|t', 'they were changed while they were rewritten');

sql($node, q{
	CREATE TABLE no_key (id int NOT NULL UNIQUE, kind int);
	ALTER TABLE no_key REPLICA IDENTITY FULL});
my $file = file_of('no_key');
like(sql_error($node, squeeze('no_key')), qr/Replica identity "full" not supported/,
	'a table with REPLICA IDENTITY FULL and no primary key is refused');
is(file_of('no_key'), $file, 'it is not rewritten');

sql($node, 'CREATE TABLE stopped ()');
is($writer->finish, '', 'no statement of the load has failed');
is_exact($node, 'exact after all');
is(built_at($node), $built_at, 'no rollup was rebuilt, and all are live');
unlike(slurp_file($node->logfile), qr/changes were lost|is stale|has failed/, 'nothing was lost');

done_testing();
