# 002_crash.pl
#
# Exactly once.  At each point of a cycle, in turn, with Notify's changes in flight, the
# worker is killed, the postmaster is killed, and the server is shut down immediately.  Every
# committed change must be counted once, and the slot must never be ahead of the applied
# position.  The same with asynchronous commits, where a crash may lose the last changes, but
# then both in the sources and in the rollup.
#
# versions: all

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin;
use NotifyStats;
use PostgreSQL::Test::Utils;
use Test::More;

my @points = ('after-peek', 'after-apply', 'after-commit', 'after-advance');
my $node = new_node('crash');
my $next = 1;

# Changes of each kind, in several transactions.
sub change
{
	my ($from, $to) = ($next, $next + 30);
	$next = $to + 1;
	sql($node, notify_insert($from, $to));
	sql($node, qq{
		UPDATE notifications SET notification_status = 'delivered', sent_at = now()
		WHERE id IN (SELECT md5('notification ' || i)::uuid FROM generate_series($from, $to, 2) i);
		UPDATE notifications SET updated_at = now() WHERE notification_status = 'created';
		BEGIN;
		DELETE FROM notifications;
		ROLLBACK;
		BEGIN;
		INSERT INTO notification_history (id, service_id, template_id, template_version, key_type,
			notification_type, created_at, billable_units, notification_status)
		SELECT id, service_id, template_id, 1, key_type, notification_type, created_at, 1, notification_status
		FROM notifications WHERE notification_status = 'delivered' ORDER BY id LIMIT 10
		ON CONFLICT DO NOTHING;
		DELETE FROM notifications n USING notification_history h WHERE n.id = h.id;
		COMMIT;
		DELETE FROM notifications WHERE id = md5('notification ' || $to)::uuid;
	});
	return;
}

# Stops the worker at a point, with more changes pending, and then ends it in the given way.  A
# checkpoint before makes the slot's position durable, which a crash would otherwise often undo.
sub end_worker_at
{
	my ($point, $how, $checkpoint) = @_;
	my $offset = log_position($node);

	sql($node, 'SELECT notify_stats.pause()');
	change();
	set_stop($node, $point);
	resume_stream($node);
	wait_for_stop($node, $point, $offset, \&change);
	change();
	unset_stop($node);
	sql($node, 'CHECKPOINT') if $checkpoint;
	$how->();
	return;
}

my %crash = (
	'kill -9 of the worker' => sub {
		crash_restart($node, worker_pid($node));
		# its successors have inherited the setting
		$node->reload;
	},
	'kill -9 of the postmaster' => sub {
		kill_server($node);
		start_again($node);
	},
	'immediate shutdown' => sub {
		$node->stop('immediate');
		$node->start;
	});

load_notify($node);
change();
is_exact($node, 'exact before any crash');

foreach my $point (@points)
{
	foreach my $how (sort keys %crash)
	{
		end_worker_at($point, $crash{$how}, $how ne 'kill -9 of the postmaster');
		slot_is_behind($node, "$how $point: the slot is not ahead");
		is_exact($node, "$how $point: exact");
	}
	is_verified($node, 'ft_service_stats', "$point: verify() finds nothing");
}

# Asynchronous commits, by a setting of the database, which our worker must not adopt.
sql($node, 'ALTER DATABASE postgres SET synchronous_commit = off');
$node->restart;
foreach my $point ('after-apply', 'after-commit', 'after-advance')
{
	foreach my $how ('kill -9 of the postmaster', 'immediate shutdown')
	{
		end_worker_at($point, $crash{$how}, $how eq 'immediate shutdown');
		slot_is_behind($node, "asynchronous, $how $point: the slot is not ahead");
		is_exact($node, "asynchronous, $how $point: exact");
	}
}
is_verified($node, 'ft_service_stats', 'asynchronous: verify() finds nothing');

# A crash was never mistaken for a loss of changes; the rebuild would have hidden a miscount.
unlike(slurp_file($node->logfile), qr/changes were lost/, 'no rollup was rebuilt');
is(sql($node, 'SELECT count(*) > 50 FROM ft_service_stats'), 't', 'there was something to count');

# The points of the cycle are those of catch_up() as well.
sql($node, 'SELECT notify_stats.pause()');
foreach my $point (@points)
{
	my $offset = log_position($node);
	my $session;

	change();
	$session = start_psql($node, "SET notify_stats.debug_stop_at = '$point'",
		'CALL notify_stats.catch_up()');
	wait_for_stop($node, $point, $offset);
	$node->stop('immediate');
	$session->finish;
	$node->start;
	slot_is_behind($node, "catch_up() $point: the slot is not ahead");
	sql($node, 'CALL notify_stats.catch_up()');
	is(differences($node, 'postgres', 'ft_service_stats'), '', "catch_up() $point: exact");
}

done_testing();
