# Documents.pm
#
# What the pages for users consist of: README.md and doc/*.md, relative to the root of the
# checkout.  For 042_documents.pl, which runs their examples, for other tests that run one of them,
# and for test/first_steps.  It needs nothing of the server.
#
# A fenced block has a language:
#   sql      run by psql, in a session of its own; stops at the first error
#   sh       run by sh, as the server's user
#   python   run with psycopg2, and the page again with psycopg (3), in one interpreter per page;
#            "primary" and "standby" are connections
#   ini      lines of postgresql.conf
#   text     directly after one of the first three, what that prints, at least at its end.  "…" stands
#            for any text, spaces do not matter.  Elsewhere a drawing.
# HTML comments directly before a block say how:
#   <!-- not run: REASON -->      "tested by NAME" in it: test/t/NAME.pl or test/NAME runs it
#   <!-- error: REGEX -->         the last statement fails with this
#   <!-- as: ROLE -->             by default the superuser
#   <!-- database: NAME -->       by default shop
#   <!-- since: MAJOR -->         not on servers before that

package Documents;

use strict;
use utf8;
use warnings FATAL => 'all';

use Exporter 'import';
use File::Basename qw(dirname);
use File::Glob qw(bsd_glob);

our @EXPORT = qw(
	document_pages document_text document_prose document_blocks document_block
	document_tables document_anchors document_links
	prints_as_told);

my $top = dirname(__FILE__) . '/../..';
my %is_run = map { ($_ => 1) } qw(sql sh python);

# The pages for users.
sub document_pages
{
	return ('README.md', map { s{^\Q$top\E/}{}r } sort(bsd_glob("$top/doc/*.md")));
}

sub document_text
{
	my ($page) = @_;

	open my $file, '<:encoding(UTF-8)', "$top/$page" or die "$page: $!";
	local $/;
	return <$file>;
}

# walk(PAGE, FUNCTION): calls it for each part of a page, with kind, line number and text:
# heading (with its level), block (with its language), comment, or line.  What is in a block or a comment
# is nothing else.
sub walk
{
	my ($page, $call) = @_;
	my @lines = split /\n/, document_text($page);

	for (my $i = 0; $i < @lines; $i++)
	{
		my $number = $i + 1;

		if ($lines[$i] =~ /^(\s*)(```+|~~~+)\s*(.*?)\s*$/)
		{
			my ($indent, $fence, $language) = ($1, $2, $3);
			my @text;

			for ($i++; $i < @lines && $lines[$i] !~ /^\s*\Q$fence\E\s*$/; $i++)
			{
				push @text, $lines[$i] =~ s/^\Q$indent\E//r;
			}
			die "$page:$number: this block has no end" if $i == @lines;
			$call->('block', $number, join('', map { "$_\n" } @text), $language);
		}
		elsif ($lines[$i] =~ /^\s*<!--/)
		{
			my $text = $lines[$i];

			$text .= "\n" . $lines[ ++$i ] while $text !~ /-->/ && $i < $#lines;
			die "$page:$number: this comment has no end" if $text !~ /^\s*<!--\s*(.*?)\s*-->\s*$/s;
			$call->('comment', $number, $1 =~ s/\s+/ /gr);
		}
		elsif ($lines[$i] =~ /^(#+) +(.*?)\s*$/)
		{
			$call->('heading', $number, $2, length $1);
		}
		else
		{
			$call->('line', $number, $lines[$i]);
		}
	}
	return;
}

# The blocks of a page, in its order: page, line, language, text, headings (of all levels above it),
# steps (what the comments say), output (the block in text that belongs to it, if any).
sub document_blocks
{
	my ($page) = @_;
	my (@blocks, @headings, @comments, $before);

	walk($page, sub {
		my ($kind, $number, $text, $more) = @_;

		if ($kind eq 'block')
		{
			my %block = (page => $page, line => $number, language => $more, text => $text,
				headings => [ grep { defined } @headings ], comments => [@comments], name => "$page:$number");

			if ($more eq 'text' && $before)
			{
				$before->{output} = $text;
				$block{is_output} = 1;
			}
			read_comments(\%block);
			push @blocks, \%block;
			$before = $is_run{$more} && !defined $block{'not run'} ? $blocks[-1] : undef;
			@comments = ();
		}
		elsif ($kind eq 'comment') { push @comments, $text }
		elsif ($kind eq 'heading')
		{
			$#headings = $more - 2;
			$headings[ $more - 1 ] = $text;
		}
		($before, @comments) = () if $kind eq 'heading' || $kind eq 'line' && $text =~ /\S/;
	});
	return @blocks;
}

# Enters what the comments say, and what is wrong with them.
sub read_comments
{
	my ($block) = @_;
	my @problems;

	foreach my $comment (@{ $block->{comments} })
	{
		if ($comment =~ /^(not run|error|as|database|since):\s*(.+)$/ && !defined $block->{$1}) { $block->{$1} = $2 }
		else { push @problems, "not understood: <!-- $comment -->" }
	}
	push @problems, "no language that is known: \"$block->{language}\""
	  if $block->{language} !~ /^(?:sql|text|python|sh|ini)$/;
	$block->{problem} = join '; ', @problems;
	return;
}

# document_block(PAGE, HEADING, LANGUAGE): the texts of the blocks in a language under a heading, and
# under those below it, or all in one.
sub document_block
{
	my ($page, $heading, $language) = @_;
	my @texts = map { $_->{text} } grep {
		my $block = $_;
		$block->{language} eq $language && grep { $_ eq $heading } @{ $block->{headings} }
	} document_blocks($page);

	die "$page has no block in $language under the heading $heading" if !@texts;
	return wantarray ? @texts : join("\n", @texts);
}

# What is neither block, table nor comment under a heading, and under those below it, as one line.
sub document_prose
{
	my ($page, $heading) = @_;
	my ($level, @lines) = (0);

	walk($page, sub {
		my ($kind, undef, $text, $more) = @_;

		if ($kind eq 'heading')
		{
			if ($text eq $heading) { $level = $more }
			elsif ($level && $more <= $level) { $level = 0 }
		}
		push @lines, $text if $level && $kind eq 'line' && $text !~ /^\s*\|/;
	});
	die "$page has no text under the heading $heading" if !@lines;
	return join(' ', @lines) =~ s/\s+/ /gr;
}

# The tables of a page: head (names of columns), rows (lists of cells).
sub document_tables
{
	my ($page) = @_;
	my (@tables, $table);

	walk($page, sub {
		my ($kind, undef, $text) = @_;

		if ($kind ne 'line' || $text !~ /^\s*\|(.*)\|\s*$/)
		{
			undef $table;
			return;
		}
		my @cells = map { s/^\s+|\s+$//gr =~ s/\\\|/|/gr } split /(?<!\\)\|/, $1, -1;

		if (!$table)
		{
			$table = { head => \@cells, rows => [] };
			push @tables, $table;
		}
		elsif (grep { !/^:?-+:?$/ } @cells) { push @{ $table->{rows} }, \@cells }
	});
	return @tables;
}

# --- links ----------------------------------------------------------------------------

# What links to a heading of a page are called, by GitHub's rule.
sub document_anchors
{
	my ($page) = @_;
	my (%anchors, %count);

	walk($page, sub {
		my ($kind, undef, $text) = @_;

		if ($kind eq 'heading')
		{
			# what is seen of it
			my $anchor = lc($text =~ s/!?\[([^\]]*)\]\([^)]*\)/$1/gr);

			$anchor =~ s/[^\w\- ]//g;
			$anchor =~ s/ /-/g;
			my $number = $count{$anchor}++;
			$anchors{ $number ? "$anchor-$number" : $anchor } = 1;
		}
		elsif ($kind eq 'line') { $anchors{$1} = 1 while $text =~ /<a (?:id|name)="([^"]*)"/g }
	});
	return \%anchors;
}

# The links of a page, as [LINE, TARGET].
sub document_links
{
	my ($page) = @_;
	my ($text, @links) = ('');

	# with the line at which each paragraph is, as the text of a link may go on in the next line
	walk($page, sub {
		my ($kind, $number, $line) = @_;
		$text .= "\n" x ($number - 1 - ($text =~ tr/\n//)) . "$line\n" if $kind eq 'line' || $kind eq 'heading';
	});
	# code may look like links, and cannot contain any
	$text =~ s/(`+)(?!`).*?(?<!`)\1(?!`)/'`' . $& =~ s{[^\n]}{}gr/gse;
	while ($text =~ /\]\(\s*<?([^)>\s]*)|^\s*\[[^\]]+\]:\s*<?(\S+?)>?\s*$|(?:href|src)="([^"]*)"|<(\w+:[^>\s]*)>/mg)
	{
		push @links, [ 1 + (substr($text, 0, $-[0]) =~ tr/\n//), $1 // $2 // $3 // $4 ];
	}
	return @links;
}

# --- output ---------------------------------------------------------------------------

sub normalize
{
	my ($text) = @_;
	my @lines = grep { $_ ne '' } map { s/[ \t]+/ /gr =~ s/^ | $//gr } split /\n/, $text;

	# the lines below the names of columns, and above a row, are as wide as what is in them
	foreach (@lines)
	{
		tr/-/-/s if /^[-+]+$/ || /^-\[ RECORD \d+ \]/;
	}
	return join "\n", @lines;
}

# Whether an output ends with the lines that the document shows.
sub prints_as_told
{
	my ($output, $told) = @_;
	my $pattern = join '.*?', map { quotemeta } split /…/, normalize($told), -1;

	return normalize($output) =~ /(?:\A|\n)$pattern\z/s;
}

1;
