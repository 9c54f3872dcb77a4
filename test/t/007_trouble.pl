# 007_trouble.pl
#
# An error of one rollup affects only that rollup.  An expression that fails for some row, a
# constraint on the table, an overflow, a missing index or privilege: that rollup becomes "failed"
# with the reason, all others continue, and after the cause is fixed rebuild() makes it live again.
# With the worker, and with catch_up() instead.
#

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# a transaction of autovacuum would change what the next call of catch_up() does
my $node = new_node('trouble', conf => 'autovacuum = off');
my $next = 1000;

sub change
{
	$next += 10;
	sql($node, qq{
		INSERT INTO source SELECT i, 1 + i % 5, i FROM generate_series($next, $next + 9) i;
		UPDATE source SET kind = 1 + (kind + 1) % 5 WHERE id % 3 = 0;
		DELETE FROM source WHERE id % 17 = 0;
	});
	return;
}

sql($node, q{
	CREATE ROLE app;
	GRANT CREATE ON SCHEMA public TO app;
	CREATE TABLE source (id int PRIMARY KEY, kind int, amount int);
	ALTER TABLE source REPLICA IDENTITY FULL;
	ALTER TABLE source OWNER TO app;
	CREATE SEQUENCE ids START 1000000;
	INSERT INTO source SELECT i, 1 + i % 5, i FROM generate_series(1, 100) i;
	SET ROLE app;
	SELECT notify_stats.create_rollup('good', 'SELECT kind, count(*) AS n FROM source GROUP BY kind');
	SELECT notify_stats.create_rollup('bad',
		'SELECT 100 / kind AS part, count(*) AS n, coalesce(sum(amount), 0) AS amount FROM source GROUP BY 1');
});
is_exact($node, 'both are exact at first');

# How the rollup "bad" is broken and fixed, and the reason that is shown.
my @troubles = (
	[
		'an expression that fails',
		'INSERT INTO source VALUES (1, 0, 0)  ON CONFLICT (id) DO UPDATE SET kind = 0',
		'DELETE FROM source WHERE id = 1',
		'division by zero'
	],
	[
		'a constraint on the table',
		q{ALTER TABLE bad ADD CONSTRAINT small CHECK (n < 30) NOT VALID;
		  INSERT INTO source SELECT nextval('ids'), 1, 1 FROM generate_series(1, 40)},
		'ALTER TABLE bad DROP CONSTRAINT small',
		'new row for relation "bad" violates check constraint "small"'
	],
	[
		'an overflow',
		q{UPDATE bad SET amount = 9223372036854775807;
		  INSERT INTO source SELECT nextval('ids'), i, 1 FROM generate_series(1, 5) i},
		'',
		'bigint out of range'
	],
	[
		'a dropped index',
		'DROP INDEX bad_part_idx',
		'CREATE UNIQUE INDEX bad_part_idx ON bad (part) NULLS NOT DISTINCT',
		'rollup public.bad has no unique index on its group columns'
	],
	[
		'a lost privilege',
		'REVOKE INSERT, UPDATE ON bad FROM app',
		'GRANT ALL ON bad TO app',
		'permission denied for table bad'
	],
	[
		'a trigger that fails',
		q{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not today''; END';
		  CREATE TRIGGER refuse BEFORE UPDATE ON bad EXECUTE FUNCTION refuse()},
		'DROP TRIGGER refuse ON bad; DROP FUNCTION refuse',
		'not today'
	],
	[
		'a row changed by hand',
		'UPDATE bad SET n = 0; DELETE FROM source WHERE id = (SELECT min(id) FROM source)',
		'',
		'rollup public.bad does not match its definition: a group would have a count of'
	]);

sub is_failed
{
	my ($title, $reason) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	like(sql($node, q{SELECT state || ': ' || reason FROM notify_stats.rollups WHERE rollup = 'bad'::regclass}),
		qr/^failed: \Q$reason\E/, "$title: failed, with the reason");
	is(state_of($node, 'good'), 'live',
		"$title: the other is live");
	return;
}

# With the worker.
foreach my $trouble (@troubles)
{
	my ($title, $break, $mend, $reason) = @$trouble;

	sql($node, $break);
	change();
	wait_for_state($node, 'bad', 'failed');
	is_failed($title, $reason);
	change();
	is_exact($node, "$title: the other goes on", rollups => ['good']);
	if ($title eq 'an expression that fails')
	{
		is(sql($node, q{SELECT reason_lsn IS NOT NULL AND reason_lsn <= notify_stats.applied_lsn()
			FROM notify_stats.rollups WHERE rollup = 'bad'::regclass}), 't', "$title: where it was met");
		is(sql($node, q{SELECT count(*) FROM notify_stats.check() WHERE NOT ok AND item = 'rollup' AND hint LIKE '%rebuild%'}),
			'1', "$title: check() reports it");
		like(sql_error($node, q{SELECT notify_stats.wait_for_lsn(rollup => 'bad')}),
			qr/ERROR:  55000: rollup public.bad has failed\nDETAIL:  division by zero \(in column "\w+"\)\nHINT:  Fix the cause, then run: SELECT notify_stats.rebuild\('public.bad'\);/,
			"$title: it is not waited for");
		# rebuilt too early
		sql($node, q{SELECT notify_stats.rebuild('bad')});
		wait_until_rebuilt($node, 'bad');
		poll($node, q{SELECT state = 'failed' FROM notify_stats.rollup WHERE rollup = 'bad'::regclass});
		is_failed("$title, not yet mended", $reason);
		change();
		is_exact($node, "$title, not yet mended: the other goes on", rollups => ['good']);
	}
	sql($node, $mend);
	sql($node, q{SELECT notify_stats.rebuild('bad')});
	is_exact($node, "$title: exact after rebuild()");
	is(sql($node, q{SELECT string_agg(DISTINCT state, ',') FROM notify_stats.rollups}), 'live', "$title: live after rebuild()");
}
no_build_slots($node, 'no slot is left');
unlike(slurp_file($node->logfile), qr/changes were lost/, 'no change was lost');

# Trouble in the first build.
sql($node, q{
	INSERT INTO source VALUES (7001, 0, 0);
	SET ROLE app;
	SELECT notify_stats.create_rollup('worse', 'SELECT 7 / kind AS part, count(*) AS n FROM source GROUP BY 1');
});
poll($node, q{SELECT count(*) = 2 FROM notify_stats.rollups WHERE state = 'failed'});
pass('a rollup that cannot be built has failed, as has that which cannot be kept');
is_exact($node, 'the other goes on', rollups => ['good']);
sql($node, q{DELETE FROM source WHERE id = 7001; SELECT notify_stats.rebuild(rollup) FROM notify_stats.rollup WHERE state = 'failed'});
is_exact($node, 'both can be rebuilt', rollups => [ 'good', 'bad', 'worse' ]);

# The privilege needed by a build: the owner loses SELECT on the source, then gets it back.
sql($node, q{
	ALTER TABLE source OWNER TO CURRENT_USER;
	SELECT notify_stats.rebuild('bad');
});
wait_until_rebuilt($node, 'bad');
poll($node, q{SELECT state = 'failed' FROM notify_stats.rollup WHERE rollup = 'bad'::regclass});
like(sql($node, q{SELECT reason FROM notify_stats.rollups WHERE rollup = 'bad'::regclass}), qr/^permission denied for table source/,
	'a build without the right to read has failed');
# applying changes needs it, too
poll($node, q{SELECT bool_and(state = 'failed') FROM notify_stats.rollup});
sql($node, q{GRANT SELECT ON source TO app; SELECT notify_stats.rebuild(rollup) FROM notify_stats.rollups});
is_exact($node, 'exact with the right to read', rollups => [ 'good', 'bad', 'worse' ]);
sql($node, q{ALTER TABLE source OWNER TO app});

# The same with catch_up(), which reports the error, and continues when it is called again.
$node->append_conf('postgresql.conf', "notify_stats.database = ''\n");
$node->restart;
sql($node, q{SELECT notify_stats.drop_rollup('worse'); CALL notify_stats.catch_up()});
foreach my $trouble (@troubles)
{
	my ($title, $break, $mend, $reason) = @$trouble;

	sql($node, $break);
	change();
	like(sql_error($node, 'CALL notify_stats.catch_up()'), qr/ERROR: .*\Q$reason\E/, "catch_up(), $title: the error");
	change();
	sql($node, 'CALL notify_stats.catch_up()');
	is_failed("catch_up(), $title", $reason);
	is(differences($node, 'postgres', 'good'), '', "catch_up(), $title: the other continues");
	sql($node, $mend);
	sql($node, q{SELECT notify_stats.rebuild('bad')});
	sql($node, 'CALL notify_stats.catch_up()');
	is(differences($node, 'postgres', 'good', 'bad'), '', "catch_up(), $title: exact after rebuild()");
}

done_testing();
