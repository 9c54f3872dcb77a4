# 069_migrations.pl
#
# What doc/migrations.md shows, with the tools that it is about: Alembic proposes to drop a rollup,
# unless env.py leaves rollups out, and its migrations go up and down; Django migrates, runs tests of
# both kinds in its own test database, truncates no rollup, and changes one with its source; a
# structure.sql as Rails makes it can be loaded, and its rollups adopted; pgTAP tests a definition
# and a rollup.
#
# optional packages: alembic python3-psycopg2 python3-django pgtap

use strict;
use utf8;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use Documents;
use File::Glob qw(bsd_glob);
use IPC::Run ();
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

foreach my $module (qw(alembic psycopg2 django))
{
	plan skip_all => "no $module" if system("/usr/bin/python3 -c 'import $module' 2>/dev/null") != 0;
}

# "shop" and "site" are the databases of applications
my $node = new_node('migrations', conf => "notify_stats.database = '*'\n");
my $dir = PostgreSQL::Test::Utils::tempdir();
my %env = $node->_get_env(PGUSER => 'app', PYTHONDONTWRITEBYTECODE => '1');

plan skip_all => 'no pgTAP'
  if sql($node, q{SELECT count(*) FROM pg_available_extensions WHERE name = 'pgtap'}) eq '0';

# Runs a program as the role of the application.  Returns whether it succeeded, and its output.
sub run_program
{
	my ($in, @command) = @_;
	my $output = '';
	local @ENV{ keys %env } = values %env;
	my $succeeded = IPC::Run::run(\@command, '<' => \undef, '>' => \$output, '2>&1', init => sub { chdir $in or die "$in: $!" },
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

	return ($succeeded, $output);
}

# The output of a program, which must succeed.
sub program
{
	my ($succeeded, $output) = run_program(@_);
	my (undef, @command) = @_;

	die "@command:\n$output" if !$succeeded;
	return $output;
}

sub write_file
{
	my ($path, $text) = @_;

	open my $file, '>:encoding(UTF-8)', $path or die "$path: $!";
	print $file $text;
	close $file or die "$path: $!";
	return;
}

# replace_in(PATH, REGEX, TEXT): each of the places, at least one
sub replace_in
{
	my ($path, $regex, $text) = @_;
	my $content = slurp_file($path);

	die "$path has no $regex:\n$content" if $content !~ s/$regex/$text/g;
	write_file($path, $content);
	return;
}

# The name of a rollup's table if it is a rollup, with its state.
sub rollup
{
	my ($db, $name) = @_;
	return sql($node, "SELECT rollup, state FROM notify_stats.rollups WHERE rollup = to_regclass('$name')", $db);
}

sub slots
{
	my ($db) = @_;
	return sql($node, "SELECT count(*) FROM pg_replication_slots WHERE database ~ '$db'");
}

# --- a server for tests ---------------------------------------------------------------

sql($node, 'CREATE ROLE app LOGIN CREATEDB');
my ($template, $without_worker) = document_block('doc/migrations.md', 'A server for tests', 'sql');
$node->safe_psql('postgres', $template);
program($dir, 'createdb', $_) foreach 'shop', 'site';

# --- Alembic --------------------------------------------------------------------------

my $alembic = "$dir/alembic";
my ($env_py, $migration) = document_block('doc/migrations.md', 'Alembic', 'python');
my $serial = 0;

# Runs commands of Alembic in one process, which takes less time.
sub alembic
{
	my (@commands) = @_;
	return program($alembic, '/usr/bin/python3', '-c',
		'import sys, alembic.config; [alembic.config.main(argv=command.split()) for command in sys.argv[1:]]', @commands);
}

# Writes a revision by comparison of the database with the models, and returns its path.
sub revision
{
	my $id = sprintf 'r%d', ++$serial;

	alembic("revision --autogenerate --rev-id $id -m $id");
	return "$alembic/migrations/versions/${id}_$id.py";
}

# What such a revision would do; it is removed.
sub comparison
{
	my $path = revision();
	my ($upgrade) = slurp_file($path) =~ /^def upgrade\(\).*?:\n(.*?)^def downgrade/ms;

	unlink $path or die;
	return $upgrade =~ s/# ###.*//gr =~ s/\A\s+|\s+\z//gr;
}

mkdir $alembic or die;
write_file("$alembic/models.py", q{
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table("orders", metadata,
         sa.Column("id", sa.BigInteger, primary_key=True),
         sa.Column("created_at", sa.DateTime, nullable=False),
         sa.Column("status", sa.Text, nullable=False),
         sa.Column("amount", sa.Numeric(10, 2), nullable=False))
});
alembic('init migrations');
replace_in("$alembic/alembic.ini", qr/^sqlalchemy\.url = .*/m, 'sqlalchemy.url = postgresql+psycopg2:///shop');
replace_in("$alembic/migrations/env.py", qr/^target_metadata = None\n/m, "import models\ntarget_metadata = models.metadata\n$env_py");

my $path = revision();
# as if it had been written with the model
write_file($path =~ s/r1_r1/r2_r2/r, slurp_file($path) =~ s/^def upgrade.*//msr =~ s/= 'r1'/= 'r2'/r =~ s/= None/= 'r1'/r . $migration);
$serial = 2;
alembic('upgrade head');
sql($node, q{INSERT INTO orders (created_at, status, amount)
	SELECT '2026-11-01'::timestamp + i * interval '1 hour', 'status ' || i % 3, i FROM generate_series(1, 100) i}, 'shop');
is_exact($node, 'Alembic: the rollup of a migration', db => 'shop');
is(rollup('shop', 'orders_by_day'), 'orders_by_day|live', 'Alembic: it is live');

# without include_object
$path = revision();
like(slurp_file($path), qr/^def upgrade.*op\.drop_table\('orders_by_day'\).*^def downgrade/ms, 'Alembic proposes to drop the rollup');
like(alembic('upgrade head'), qr/NOTICE:  .*orders_by_day.* rollup/, 'Alembic: the drop is noticed');
is(sql($node, q{SELECT to_regclass('orders_by_day') IS NULL}, 'shop'), 't', 'Alembic: and happens');
unlink $path or die;
alembic('stamp --purge r1', 'upgrade head');
is_exact($node, 'Alembic: up again', db => 'shop');

# a second time
like(alembic('stamp r1', 'upgrade head'), qr/NOTICE:  .*orders_by_day.* (?:already exists|skipping)/, 'Alembic: a migration is run again');
is(rollup('shop', 'orders_by_day'), 'orders_by_day|live', 'Alembic: which changes nothing');

# with include_object; and with a rollup that has a core, and one in another schema
sql_as($node, 'app', 'shop', q{
	CREATE SCHEMA other;
	SELECT notify_stats.create_rollup('averages', 'SELECT status, avg(amount) AS average FROM orders GROUP BY status');
	SELECT notify_stats.create_rollup('other.by_status', 'SELECT status, count(*) AS n FROM orders GROUP BY status')});
my $proposed = comparison();
like($proposed, qr/op\.drop_table\('$_'\)/, "Alembic proposes to drop $_") foreach qw(orders_by_day averages_core);
replace_in("$alembic/migrations/env.py", qr/target_metadata=target_metadata(?=,?\s)/,
	'target_metadata=target_metadata, include_object=include_object, include_schemas=True');
is(comparison(), 'pass', 'Alembic: with include_object it proposes nothing');
replace_in("$alembic/migrations/env.py", qr/include_schemas=True/, 'include_schemas=False');
replace_in("$alembic/models.py", qr/\z/, 'sa.Table("customers", metadata, sa.Column("id", sa.BigInteger, primary_key=True))');
sql_as($node, 'app', 'shop', 'CREATE TABLE forgotten (a int)');
$proposed = comparison();
like($proposed, qr/op\.create_table\('customers'.*op\.drop_table\('forgotten'\)/s, 'Alembic: but other tables');
unlike($proposed, qr/orders_by_day|averages|by_status/, 'Alembic: and only these');

alembic('downgrade -1');
is(sql($node, q{SELECT to_regclass('orders_by_day') IS NULL, relreplident FROM pg_class WHERE oid = 'orders'::regclass}, 'shop'),
	't|d', 'Alembic: down again');
alembic('upgrade head');
is_exact($node, 'Alembic: and up', db => 'shop');

# --- structure.sql --------------------------------------------------------------------

my ($structure) = document_block('doc/migrations.md', 'Rails, and other tools with structure.sql', 'sh');
my ($adopt) = document_block('doc/migrations.md', 'Rails, and other tools with structure.sql', 'sql');
my $order = q{INSERT INTO orders (created_at, status, amount) VALUES ('2026-11-01 10:00', 'paid', 5)};

write_file("$dir/structure.sh", $structure);
program($dir, 'sh', '-e', "$dir/structure.sh");
sql_as($node, 'app', 'shop_test', $order);
is(sql($node, 'SELECT count(*) FROM notify_stats.rollups', 'shop_test'), '0', 'structure.sql: no rollups after the load');
is(sql($node, q{SELECT count(*) FROM notify_stats.check() WHERE item = 'former rollup'}, 'shop_test'), '3',
	'structure.sql: check() lists them');
sql_as($node, 'app', 'shop_test', $adopt);
sql_as($node, 'app', 'shop_test', q{SELECT notify_stats.adopt_rollup('averages')});
sql_as($node, 'app', 'shop_test', 'SELECT notify_stats.wait_for_lsn()');
is(sql($node, 'SELECT * FROM orders_by_day', 'shop_test'), '2026-11-01|paid|1|5.00', 'structure.sql: an adopted rollup');
sql_as($node, 'app', 'shop_test', "$order; SELECT notify_stats.wait_for_lsn()");
is(sql($node, 'SELECT * FROM orders_by_day', 'shop_test'), '2026-11-01|paid|2|10.00', 'structure.sql: it is maintained');
is(sql($node, 'SELECT status, average::int FROM averages', 'shop_test'), 'paid|5', 'structure.sql: with a core');

# as the page says of the additional options
my ($succeeded, $output);
program($dir, 'createdb', 'shop_test2');
foreach ([ '--no-comments', qr/ERROR:  must be owner of extension notify_stats/ ],
	[ '--exclude-schema=notify_stats', qr/ERROR:  schema "notify_stats" already exists/ ])
{
	my ($option, $error) = @$_;

	my $commands = $structure =~ s/\bshop_test\b/shop_test2/gr =~ s/^createdb.*//mr;

	ok($commands =~ s/ \Q$option\E//, "structure.sql is made with $option");
	write_file("$dir/structure.sh", $commands);
	(undef, $output) = run_program($dir, 'sh', '-e', "$dir/structure.sh");
	like($output, $error, "structure.sql: an error without $option");
}

# --- prepared statements --------------------------------------------------------------

my ($shadow) = document_block('doc/migrations.md', 'Tests that commit, and tests that do not', 'sql');

# the first use of temporary objects plans everything again, so it is not that of the view
is(sql_as($node, 'app', 'shop_test', qq{
	CREATE TEMP TABLE t ();
	PREPARE p AS SELECT count(*) FROM orders_by_day;
	EXECUTE p;
	BEGIN;
	$shadow
	INSERT INTO orders (created_at, status, amount) VALUES ('2026-11-02', 'paid', 5);
	EXECUTE p;
	SELECT count(*) FROM orders_by_day;
	ROLLBACK;
	SELECT count(*) FROM orders_by_day}), "1\n1\n2\n1", 'a view in front of the rollup, which prepared statements do not see');

# --- pgTAP ----------------------------------------------------------------------------

my @tests = document_block('doc/migrations.md', 'pgTAP', 'sql');

sub pg_prove
{
	my ($db, @texts) = @_;
	my @files = map { "$dir/pgtap$_.sql" } 0 .. $#texts;

	write_file($files[$_], $texts[$_]) foreach 0 .. $#texts;
	return run_program($dir, 'pg_prove', '-d', $db, @files);
}

sql($node, 'CREATE EXTENSION pgtap', $_) foreach 'shop', 'shop_test';
foreach my $db ('shop', 'shop_test')
{
	($succeeded, $output) = pg_prove($db, @tests);
	ok($succeeded && $output =~ /^Files=2, Tests=3,.*^Result: PASS/ms, "pgTAP in $db") or diag($output);
}
($succeeded, $output) = pg_prove('shop', $tests[0] =~ s/^CREATE TEMP VIEW.*\n//mr);
like($output, qr/^Result: FAIL/m, 'pgTAP: without the view the rollup does not change');
# the rows that the last test has deleted may still be in the rollup, and would be taken for those of the next
sql($node, 'SELECT notify_stats.wait_for_lsn(); SELECT notify_stats.pause()', 'shop_test');
($succeeded, $output) = pg_prove('shop_test', $tests[1] =~ s/^SELECT notify_stats\.wait_for_lsn.*\n//gmr);
like($output, qr/^Result: FAIL/m, 'pgTAP: without waiting the rollup is not current');
resume_stream($node, 'shop_test');
like(sql_error($node, 'BEGIN; CALL notify_stats.catch_up()', 'shop'), qr/2D000: catch_up\(\) cannot run inside a transaction block/,
	'catch_up() cannot run in a transaction block');
like(sql_error($node, q{SELECT plan(1); SELECT lives_ok('CALL notify_stats.catch_up()')}, 'shop'),
	qr/not ok 1.*2D000: catch_up\(\) cannot run inside a transaction block or a function/s, 'nor in a function of pgTAP');

# --- Django ---------------------------------------------------------------------------

my $django = "$dir/django";
my ($models, $rollup, $tests, $change, $wait) = document_block('doc/migrations.md', 'Django', 'python');
my $migrated = q{SELECT to_regclass('orders_by_day') IS NOT NULL, relreplident FROM pg_class WHERE oid = 'orders'::regclass};

sub manage
{
	my (@arguments) = @_;
	return program($django, '/usr/bin/python3', 'manage.py', @arguments);
}

# Runs the tests of the application with a changed text.  Returns whether they passed, and the output.
sub django_test
{
	my ($text, @options) = @_;

	write_file("$django/shop/tests.py", $text);
	return run_program($django, '/usr/bin/python3', 'manage.py', 'test', '--noinput', @options);
}

mkdir $_ or die foreach $django, "$django/shop", "$django/shop/migrations";
write_file("$django/$_", '') foreach qw(shop/__init__.py shop/migrations/__init__.py);
write_file("$django/manage.py", q{
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
});
write_file("$django/settings.py", q{
SECRET_KEY = "none"
INSTALLED_APPS = ["shop"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "site"}}
});
write_file("$django/shop/models.py", $models);
manage('makemigrations', 'shop');
write_file("$django/shop/migrations/0002_orders_by_day.py", $rollup);
manage('migrate');
sql($node, q{INSERT INTO orders (created_at, status, amount)
	SELECT '2026-11-01'::timestamptz + i * interval '1 hour', 'status ' || i % 3, i FROM generate_series(1, 100) i}, 'site');
is_exact($node, 'Django: the rollup of a migration', db => 'site');
is(manage('makemigrations', '--check', '--dry-run'), "No changes detected\n", 'Django: the models are those of the migrations');
manage('migrate', 'shop', '0001');
is(sql($node, $migrated, 'site'), 'f|d', 'Django: down again');
manage('migrate');
is(sql($node, $migrated, 'site'), 't|f', 'Django: and up');
is_exact($node, 'Django: exact again', db => 'site');
$output = manage('sqlflush');
like($output, qr/TRUNCATE .*"orders"/, 'Django truncates the source');
unlike($output, qr/orders_by_day/, 'and not the rollup');

($succeeded, $output) = django_test($tests);
ok($succeeded && $output =~ /^Ran 3 tests.*^OK$/ms, 'Django: the tests pass') or diag($output);
is(sql($node, q{SELECT count(*) FROM pg_database WHERE datname ~ '^test_site'}) . slots('test_site'), '00',
	'Django: the test database and its slot are gone');
($succeeded, $output) = django_test($tests, '--parallel', '2');
ok($succeeded && $output =~ /^Cloning .*^Ran 3 tests.*^OK$/ms, 'Django: and in copies of the test database') or diag($output);
is(sql($node, q{SELECT count(*) FROM pg_database WHERE datname ~ '^test_site'}) . slots('test_site'), '00',
	'Django: which are gone, too');

# what loaddata writes to a rollup counts twice
my $fixture = manage('dumpdata', 'shop', '--exclude', 'shop.ordersbyday');
like($fixture, qr/"shop\.order"/, 'Django: a fixture has the source');
unlike($fixture, qr/ordersbyday/, 'and not the rollup');

# without a worker
set_and_reload($node, 'notify_stats.database' => 'postgres, shop, site');
($succeeded, $output) = django_test($tests =~ s/^ +run\("CREATE TEMP VIEW.*/        pass/mr =~ s/^ +run\("SELECT notify_stats\.wait_for_lsn.*\n//gmr);
like($output, qr/^ERROR: test_counts \(shop\.tests\.DefinitionTest\b.*?DoesNotExist: OrdersByDay/ms,
	'Django: a TestCase does not change the rollup');
like($output, qr/^ERROR: test_counts \(shop\.tests\.RollupTest\b.*?DoesNotExist: OrdersByDay.*errors=2\)$/ms,
	'Django: a TransactionTestCase has to wait');
($succeeded, $output) = django_test($tests =~ s/wait_for_lsn\(\)/wait_for_lsn(timeout => '0.1 s')/gr);
like($output, qr/^Ran 3 tests.*errors=2\)/ms, 'Django: and cannot without a worker');
$node->safe_psql('postgres', $without_worker);
($succeeded, $output) = django_test($tests);
ok($succeeded && $output =~ /^Ran 3 tests.*^OK$/ms, 'Django: unless wait_for_lsn() does the work') or diag($output);
is_exact($node, 'Django: its tests have not changed the database of the application', db => 'site');
is(sql($node, 'SELECT sum(orders) FROM orders_by_day', 'site'), '100', 'Django: nor its rows');

# a changed query, with the column that it reads
write_file("$django/shop/migrations/0003_large_orders.py", $change);
write_file("$django/shop/migrations/0004_wait.py", $wait);
replace_in("$django/shop/models.py", qr/max_digits=10/, 'max_digits=12');
replace_in("$django/shop/models.py", qr/^    orders = .*\n/m, "    orders = models.BigIntegerField()\n    large_orders = models.BigIntegerField()\n");
my $is_new = q{SELECT count(*) FROM pg_attribute WHERE attrelid = 'orders_by_day'::regclass AND attname = 'large_orders'};
manage('migrate');
is(sql($node, $is_new, 'site'), '1', 'Django: the rollup has its new form when the migration ends');
is_exact($node, 'Django: which is exact', db => 'site');
is(manage('makemigrations', '--check', '--dry-run'), "No changes detected\n", 'Django: the migrations have the changes');
manage('migrate', 'shop', '0002');
manage('migrate', 'shop', '0004');
is(sql($node, $is_new, 'site'), '1', 'Django: down and up again');
$tests =~ s/^( +self\.assertEqual\(OrdersByDay\.objects\.get\()(\)\.)orders, 1\)\n/$&$1$2large_orders, 0)\n/m or die;
($succeeded, $output) = django_test($tests);
ok($succeeded && $output =~ /^Ran 3 tests.*^OK$/ms, 'Django: the tests use the new column') or diag($output);

$node->stop;

done_testing();
