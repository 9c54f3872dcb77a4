# 074_repack.pl
#
# REPACK, with and without CONCURRENTLY, of a source and of the table of a rollup, while both are
# written to (PostgreSQL 19).  CONCURRENTLY refuses tables with REPLICA IDENTITY FULL.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('repack');
plan skip_all => 'there is no REPACK before 19' if $node->pg_version->major < 19;

sql($node, q{
	CREATE TABLE source (id int PRIMARY KEY, kind int NOT NULL, padding text);
	CREATE UNIQUE INDEX source_kind ON source (id, kind);
	ALTER TABLE source REPLICA IDENTITY USING INDEX source_kind;
	INSERT INTO source SELECT i, i % 50, repeat('x', 200) FROM generate_series(1, 5000) i;
	CREATE SEQUENCE ids START 10000;
});
create_rollup($node, 'kinds', 'SELECT kind, count(*) AS n, sum(id) AS ids FROM source GROUP BY kind');
wait_until_applied($node);
my $built_at = built_at($node, 'kinds');

# Inserts, updates and deletes rows until it is stopped, in transactions of several rows.
my $writer = start_psql($node, q{
	DO $$
	BEGIN
		WHILE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'stopped') LOOP
			INSERT INTO source SELECT nextval('ids'), i, 'new' FROM generate_series(1, 5) i;
			UPDATE source SET kind = (kind + 1) % 50 WHERE id % 100 = currval('ids') % 100;
			DELETE FROM source WHERE id % 1000 = currval('ids') % 1000 AND id < currval('ids');
			COMMIT;
		END LOOP;
	END $$});

sub file_of
{
	my ($table) = @_;
	return sql($node, "SELECT pg_relation_filenode('$table')");
}

# Repacks a table, which gives it a new file.
sub repack
{
	my ($table, $options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $file = file_of($table);

	sql($node, "REPACK $options $table");
	isnt(file_of($table), $file, join(' ', 'REPACK', $options || (), $table) . ': has a new file');
	return;
}

# The table is written to before and after.
sub is_written
{
	my $id = sql($node, 'SELECT last_value FROM ids');

	poll($node, "SELECT last_value > $id + 50 FROM ids");
	wait_until_applied($node);
	return;
}

foreach my $table (qw(source kinds))
{
	foreach my $options ('', '(CONCURRENTLY)', '(ANALYZE, CONCURRENTLY)')
	{
		is_written();
		repack($table, $options);
	}
}
is_written();

like(sql_error($node, q{
	CREATE TABLE complete (id int PRIMARY KEY);
	ALTER TABLE complete REPLICA IDENTITY FULL;
	REPACK (CONCURRENTLY) complete}), qr/DETAIL:  .* does not support tables with REPLICA IDENTITY FULL/, 'REPACK (CONCURRENTLY) refuses REPLICA IDENTITY FULL');

sql($node, 'CREATE TABLE stopped ()');
$writer->finish;
is_exact($node, 'exact after all', rollups => ['kinds']);
is(built_at($node, 'kinds'), $built_at, 'and not built again');
is(state_of($node, 'kinds'), 'live', 'it is live');
unlike(slurp_file($node->logfile), qr/changes were lost|is stale|has failed/, 'nothing was lost');

done_testing();
