-- Types and tables, as catalog.c reads them.

WITH rel AS (
	SELECT c.*, nspname
	FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
	WHERE c.oid IN (SELECT relid FROM source
		UNION SELECT p.relid FROM source s, pg_partition_tree(s.relid) p)),
att AS (
	SELECT a.*, indexrelid IS NOT NULL OR relreplident = 'f' AS is_key
	FROM rel JOIN pg_attribute a ON attrelid = rel.oid AND attnum > 0
	LEFT JOIN pg_index ON indrelid = rel.oid AND attnum = ANY (indkey) AND
		CASE relreplident WHEN 'i' THEN indisreplident WHEN 'd' THEN indisprimary END),
typ AS (
	SELECT *, CASE WHEN typsubscript = 'array_subscript_handler'::regproc THEN typelem ELSE 0 END AS element
	FROM pg_type)
SELECT line FROM (
	SELECT 0::oid AS relid, 0 AS attnum, concat_ws(E'\t', 'type', oid, typlen, typbyval::int, typtype,
		(typsend <> 0 AND typreceive <> 0)::int, typbasetype::oid, element) AS line
	FROM typ
	WHERE oid IN (SELECT unnest(ARRAY[atttypid, element, typbasetype]) FROM att JOIN typ ON typ.oid = atttypid)
	UNION ALL
	SELECT oid, 0, concat_ws(E'\t', 'table', oid,
		coalesce((SELECT inhparent FROM pg_inherits WHERE inhrelid = oid), 0), relkind, relreplident,
		(oid IN (SELECT relid FROM source))::int, nspname, relname)
	FROM rel
	UNION ALL
	SELECT attrelid, attnum, concat_ws(E'\t', 'column', attnum, atttypid, atttypmod, attnotnull::int,
		EXISTS (SELECT FROM source WHERE relid = attrelid AND attname = ANY (columns))::int,
		is_key::int, attname)
	FROM att) t
ORDER BY relid, attnum;
