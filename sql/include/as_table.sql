-- Tries to use a query as the definition of a table, and returns the message, detail and hint, or NULL.
CREATE FUNCTION as_table(query text) RETURNS text[] LANGUAGE plpgsql AS $f$
DECLARE
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE format('CREATE VIEW refused_definition AS %s', query);
    CREATE TABLE refused AS TABLE refused_definition WITH NO DATA;
    BEGIN
        PERFORM notify_stats.adopt_rollup('refused');
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
        IF SQLERRM NOT LIKE '%has no unique index%' THEN RAISE; END IF;
        EXECUTE substring(hint FROM 'Run: (.*)');
        PERFORM notify_stats.adopt_rollup('refused');
    END;
    RAISE EXCEPTION SQLSTATE 'NS000';
EXCEPTION
    WHEN SQLSTATE 'NS000' THEN
        RETURN NULL;
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        RETURN ARRAY[message, nullif(detail, ''), nullif(hint, '')];
END $f$;
