# Lint.pm
#
# Checks extension scripts, and the objects that they create, for references that other users'
# objects could capture: by the rules of pgspot (PS001 to PS017), and some more.
#
# lint_script(TEXT) reads a script, and the bodies of its functions and DO blocks.  It knows only
# the necessary syntax: words, strings, operators.  From the first statement on, a
# script has search_path = pg_catalog, pg_temp; before that, and in a body without it, every
# unqualified name is a finding.  Objects that a script creates or changes must always be qualified.
#
# lint_catalog(NODE, DATABASE) asks the catalogs of a database with the extension.
#
# Both return findings, "RULE detail".

package Lint;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use NotifyStats;

our @EXPORT = qw(lint_script lint_catalog);

my $safe_path = 'pg_catalog , pg_temp';

# of CREATE OR REPLACE and of CREATE IF NOT EXISTS, by kind of object
my %replace_rule = (function => 'PS002', procedure => 'PS002', transform => 'PS006', view => 'PS015');
my %exists_rule = (schema => 'PS010', sequence => 'PS011', table => 'PS012', server => 'PS013', index => 'PS014');

# objects that are named with a schema
my $kinds = qr/table|view|function|procedure|routine|aggregate|sequence|type|domain|operator|collation|conversion|statistics/;

# words that may precede a parenthesis without being a function
my $keywords = join '|', qw(
	all and any array as atomic by check coalesce conflict cross distinct else exists extract filter
	from generated greatest grouping having in inner join key language lateral least limit not
	nullif numeric of on operator only or order over partition returning returns row select set some
	table then trim under union unique using values varchar void when where window with within);

# The tokens of a text, as [type, text]: word (in lower case), name (in double quotes), string,
# operator, or a single character.
sub tokens
{
	my ($text) = @_;
	my @tokens;

	for ($text)
	{
		while (!/\G\z/gc)
		{
			if (/\G(?:\s+|--[^\n]*|\\[^\n]*)/gc) { }
			elsif (/\G\/\*/gc)
			{
				for (my $depth = 1; $depth > 0 && /\G.*?(\/\*|\*\/|\z)/gcs;)
				{
					$depth += $1 eq '/*' ? 1 : $1 eq '' ? -$depth : -1;
				}
			}
			elsif (/\G(?:\b[ebxn]|\bu&)?'((?:[^']|'')*)'/gci) { push @tokens, [ string => $1 ] }
			elsif (/\G(\$(?:[a-z_]\w*)?\$)(.*?)\1/gcis) { push @tokens, [ string => $2 ] }
			elsif (/\G"((?:[^"]|"")*)"/gc) { push @tokens, [ name => $1 ] }
			elsif (/\G(\@extschema(?::\w+)?\@|[a-z_]\w*)/gci) { push @tokens, [ word => lc $1 ] }
			elsif (/\G(::|:=|=>)/gc) { push @tokens, [ $1, $1 ] }
			elsif (/\G((?:(?!--|\/\*)[-+*\/<>=~!\@#%^&|`?])+)/gc) { push @tokens, [ operator => $1 ] }
			elsif (/\G(\$\d+|\d[\d.]*(?:e[-+]?\d+)?|.)/gcs) { push @tokens, [ $1, $1 ] }
		}
	}
	return @tokens;
}

# The tokens of each statement.
sub statements
{
	my ($text) = @_;
	my @statements = ([]);
	my $depth = 0;    # of BEGIN ATOMIC, and of CASE within

	foreach my $token (tokens($text))
	{
		my $last = $statements[-1];

		if ($token->[0] eq 'word')
		{
			$depth++ if $token->[1] eq 'atomic' || ($depth && $token->[1] eq 'case');
			$depth-- if $depth && $token->[1] eq 'end';
		}
		if ($token->[0] eq ';' && !$depth) { push @statements, [] if @$last }
		else { push @$last, $token }
	}
	pop @statements if !@{ $statements[-1] };
	return @statements;
}

# Tokens as one text, by which patterns can look for them; strings are empty.
sub flat
{
	return join ' ', map { $_->[0] eq 'string' ? "''" : $_->[0] eq 'name' ? "\"$_->[1]\"" : $_->[1] } @_;
}

# Unqualified names, in an expression or a query where search_path is not safe.
sub unqualified
{
	my ($flat) = @_;
	my @findings;

	$flat =~ s/\boperator \( pg_catalog \. \S+ \)/,/g;
	$flat =~ s/\b(?:set|with) \(.*?\)|\bset \w+ (?:=|to) .*//g if $flat =~ /^(?:create|alter)/;
	push @findings, "PS001 operator $1" if $flat =~ /(?<=[\w'"\)] )([-+*\/<>=~!\@#%^&|`?]+) (?=[\w'"\(\$])/;
	push @findings, 'PS009 simple CASE' if $flat =~ /\bcase (?!when\b)/;
	foreach ($flat =~ /(?<!\. )(?<!\S)((?:\w+|"[^"]*") \()/g)
	{
		my $name = s/ \(\z//r;
		push @findings, "PS016 function $name"
		  if $name !~ /^(?:$keywords|$kinds|\d+)\z/ && $flat !~ /\b(?:$kinds|into|references|index|on) \Q$name\E \(/;
	}
	push @findings, "PS017 relation $1"
	  if $flat =~ /\b(?:from|join|update|into) (?!only\b|lateral\b|strict\b|select\b|set\b)(\w+\b|"[^"]*")(?! [.\(])/
	  || $flat =~ /\b(?:from|join) (?!lateral\b|only\b)(\w+)\z/;
	return @findings;
}

# Objects that a statement creates, changes or drops without a schema.
sub not_ours
{
	my ($flat) = @_;
	my $name = qr/(?:[\w\@:]+|"[^"]*")(?: \. (?:\w+|"[^"]*"))*/;
	my @names;

	push @names, $1
	  if $flat !~ /^\w+ (?:or replace |on )?(?:cast|extension|language|schema|transform|foreign|server|access|event)/
	  && $flat =~ /^(?:create|alter|drop|comment on)(?: (?!$kinds)\w+)*? $kinds (?:concurrently )?(?:if (?:not )?exists )?(?:only )?($name)/;
	push @names, $1 if $flat =~ /^comment on column ($name)/;
	push @names, $1 if $flat =~ /^create (?:unique )?index .*? on (?:only )?($name)/;
	push @names, $1 if $flat =~ /^create (?:constraint )?trigger .*? on ($name)/;
	push @names, $1 if $flat =~ /^(?:grant|revoke) .*? on (?:$kinds )?(?!schema|all|language|database)($name)/;
	push @names, $1 if $flat =~ /^(?:insert into|update|delete from|truncate) (?:only |table )*($name)/;
	push @names, $1 while $flat =~ /\b(?:references|(?:execute|update) (?:function|procedure)) ($name)/g;
	return map { "PS017 object $_" } grep { !/^\@extschema\@ \. / } @names;
}

# One of CREATE FUNCTION or CREATE PROCEDURE.
sub lint_function
{
	my (@tokens) = @_;
	my $flat = flat(@tokens);
	my ($path) = $flat =~ /\bset search_path (?:=|to) ((?:\S+)(?: , \S+)*)/;
	my $safe = defined $path && $path eq $safe_path;
	my ($language) = $flat =~ /\blanguage (\w+)/;
	my $has_text = $flat =~ /\bas ''/ && ($language // '') ne 'c';
	my ($name) = $flat =~ /(?:function|procedure) ([^(]*)/;
	my @findings;

	if ($flat =~ /\bsecurity definer\b/)
	{
		push @findings, "PS003 function $name" if !defined $path;
		push @findings, "PS004 function $name" if defined $path && !$safe;
	}
	elsif ($has_text && !$safe)
	{
		push @findings, "PS005 function $name";
	}
	if ($has_text)
	{
		my ($as) = grep { flat($tokens[$_]) eq 'as' && $tokens[ $_ + 1 ][0] eq 'string' } 0 .. $#tokens - 1;
		push @findings, map { "$_ in $name" } lint_body($tokens[ $as + 1 ][1], $safe);
	}
	return @findings;
}

# The text of a function or a DO block.
sub lint_body
{
	my ($text, $safe) = @_;
	my @findings;

	foreach my $statement (statements($text))
	{
		my $flat = flat(@$statement);

		push @findings, 'PATH search_path is changed'
		  if $flat =~ /\bset (?:local |session )?search_path\b|\breset (?:all|search_path)\b|\bset_config \(|\bdiscard all\b/;
		push @findings, dynamic(@$statement);
		push @findings, unqualified($flat) if !$safe;
		push @findings, creations($1) if $flat =~ /\b((?:create|alter) .*)/;
	}
	return @findings;
}

# EXECUTE of other than a constant, or of one in which names are put as such.
sub dynamic
{
	my @tokens = @_;
	my @findings;

	for (my $i = 0; $i < @tokens; $i++)
	{
		next if flat($tokens[$i]) ne 'execute' || flat($tokens[ $i + 1 ] // ['', '']) =~ /^(?:function|procedure|on)\z/;
		my @rest = @tokens[ $i + 1 .. $#tokens ];
		my $constant = $rest[0][0] eq 'string' && (@rest == 1 || flat($rest[1]) =~ /^(?:into|using)\z/);
		my $formatted = flat(@rest) =~ /^format \( ''/ && $rest[2][1] !~ /%[^IL%]/;

		push @findings, 'EXECUTE of ' . substr(flat(@rest), 0, 40) if !$constant && !$formatted;
	}
	return @findings;
}

# OR REPLACE and IF NOT EXISTS.
sub creations
{
	my ($flat) = @_;
	my @findings;

	push @findings, ($replace_rule{$1} // 'PS007') . " OR REPLACE of a $1"
	  if $flat =~ /^create or replace (?:(?:trusted|procedural|temp|temporary|recursive|constraint) )*(\w+)/;
	push @findings, ($exists_rule{$1} // 'PS007') . " IF NOT EXISTS of a $1"
	  if $flat =~ /^create (?:(?:unique|unlogged|temp|temporary|global|local|materialized|foreign) (?=table|view|index|sequence))*(\w+) (?:concurrently )?if not exists/;
	push @findings, 'PS012 IF NOT EXISTS of a column' if $flat =~ /^alter .* if not exists/;
	return @findings;
}

sub lint_script
{
	my ($text) = @_;
	my $safe = 0;
	my $number = 0;
	my @findings;

	foreach my $statement (statements($text))
	{
		my $flat = flat(@$statement);

		if ($flat =~ /^set (?:(local|session) )?search_path (?:=|to) (.*)/)
		{
			push @findings, 'PATH search_path is set later on' if $number > 0;
			push @findings, "PATH search_path is $2" if $2 ne $safe_path;
			push @findings, 'PATH search_path is set for the session' if ($1 // '') ne 'local';
			$safe = $2 eq $safe_path;
			$number++;
			next;
		}
		push @findings, 'PATH search_path is not set first' if $number++ == 0;
		push @findings, 'PATH search_path is changed' if $flat =~ /^reset |\bset_config \(|^discard /;
		push @findings, creations($flat), not_ours($flat);
		if ($flat =~ /^create (?:or replace )?(?:function|procedure)/)
		{
			push @findings, lint_function(@$statement);
			push @findings, unqualified($1) if !$safe && $flat =~ /\b((?:return|begin atomic) .*)/;
		}
		elsif ($flat =~ /^do /)
		{
			push @findings, map { "$_ in DO" } lint_body((grep { $_->[0] eq 'string' } @$statement)[0][1], $safe);
		}
		elsif (!$safe && $flat !~ /^(?:comment|grant|revoke)/)
		{
			push @findings, unqualified($flat);
		}
	}
	push @findings, 'PATH search_path is not set' if $number == 0;
	return @findings;
}

# Members of the extension, and parts of its objects: column defaults, rules, indexes, types.
my $members = q{
	WITH RECURSIVE extension AS (
		SELECT oid, extowner FROM pg_extension WHERE extname = 'notify_stats'
	), direct AS (
		SELECT d.classid, d.objid FROM pg_depend d, extension e
		WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
	), member AS (
		SELECT * FROM direct
		UNION
		SELECT d.classid, d.objid FROM member m JOIN pg_depend d ON d.refclassid = m.classid AND d.refobjid = m.objid
		WHERE d.deptype IN ('a', 'i')
	)};

sub lint_catalog
{
	my ($node, $query_before) = @_;

	return split /\n/, sql($node, "BEGIN; SET LOCAL search_path = pg_catalog; " . ($query_before // '') . qq{;
		$members,
		function AS (
			SELECT p.*, p.oid::regprocedure AS name, l.lanname,
				   p.proconfig IS NOT DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp'] AS safe,
				   array_to_string(p.proconfig, ' ') ~ 'search_path=' AS has_path
			FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
				 JOIN direct d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
		)
		SELECT 'PS003 ' || name FROM function WHERE prosecdef AND has_path IS NOT TRUE
		UNION ALL
		SELECT 'PS004 ' || name FROM function WHERE prosecdef AND has_path AND NOT safe
		UNION ALL
		SELECT 'PS005 ' || name FROM function
		WHERE lanname IN ('sql', 'plpgsql') AND prosqlbody IS NULL AND NOT prosecdef AND NOT safe
		UNION ALL
		SELECT DISTINCT 'OUTSIDE ' || pg_describe_object(d.classid, d.objid, d.objsubid) || ' depends on ' ||
			   pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
		FROM member m JOIN pg_depend d ON d.classid = m.classid AND d.objid = m.objid
		WHERE NOT EXISTS (SELECT FROM member o WHERE o.classid = d.refclassid AND o.objid = d.refobjid)
			  AND NOT (d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'notify_stats'::regnamespace)
			  AND NOT (d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM extension))
			  AND NOT (d.refobjid < 16384 AND
					   (SELECT coalesce(i.schema, 'pg_catalog') = 'pg_catalog'
						FROM pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) i))
		UNION ALL
		SELECT 'BARRIER ' || c.oid::regclass
		FROM pg_class c JOIN direct d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
		WHERE c.relkind = 'v' AND c.reloptions IS DISTINCT FROM ARRAY['security_barrier=true'] AND
			  EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee = 0)
		UNION ALL
		SELECT 'COMMENT ' || pg_describe_object(d.classid, d.objid, 0) FROM direct d
		WHERE obj_description(d.objid, d.classid::regclass::name) IS NULL
			  -- the types of tables, and of arrays of them, belong to the extension since 17
			  AND d.classid <> 'pg_type'::regclass
		UNION ALL
		SELECT 'COMMENT ' || pg_describe_object(d.classid, d.objid, a.attnum)
		FROM direct d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND c.relkind IN ('r', 'v')
			 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE col_description(c.oid, a.attnum) IS NULL
		UNION ALL
		SELECT 'OWNER ' || pg_describe_object(s.classid, s.objid, 0) || ': ' || pg_get_userbyid(s.refobjid)
		FROM pg_shdepend s JOIN member m ON m.classid = s.classid AND m.objid = s.objid, extension e
		WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND
			  s.deptype = 'o' AND s.refobjid <> e.extowner
		ORDER BY 1;
		ROLLBACK});
}

1;
