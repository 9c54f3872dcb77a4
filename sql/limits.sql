-- What one role's rollups may cost the others: what check() does with them, requests, and how many
-- there may be.
CREATE SCHEMA limits;
SET search_path = limits;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common

--
-- check() compiles nobody's definition
--

-- a function that is called when a definition is planned
CREATE FUNCTION trap(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    CASE current_setting('limits.trap', true)
        WHEN 'raise' THEN RAISE EXCEPTION 'trapped';
        WHEN 'sleep' THEN PERFORM pg_sleep(3600);
        ELSE NULL;
    END CASE;
    RETURN $1;
END $$;
CREATE TABLE letters (id integer NOT NULL, kind text NOT NULL, pages integer NOT NULL);
CREATE UNIQUE INDEX letters_key ON letters (id, kind, pages);
ALTER TABLE letters REPLICA IDENTITY USING INDEX letters_key;
SELECT notify_stats.create_rollup('trapped', $$ SELECT kind, count(*) FROM letters WHERE pages > limits.trap(1) GROUP BY 1 $$);
SELECT notify_stats.create_rollup('plain', $$ SELECT id, count(*) FROM letters GROUP BY 1 $$);

-- known since they were created
ALTER TABLE letters REPLICA IDENTITY DEFAULT;
SELECT * FROM notify_stats.source_gaps() ORDER BY rollup::text;
ALTER TABLE letters REPLICA IDENTITY FULL;
CALL notify_stats.catch_up();
SELECT rollup, state FROM notify_stats.rollups ORDER BY rollup::text;
SELECT * FROM notify_stats.source_gaps();
ALTER TABLE letters REPLICA IDENTITY NOTHING;
SET limits.trap = 'raise';
SELECT item, ok, detail FROM notify_stats.check() WHERE item IN ('replica identity', 'rollup') ORDER BY detail;
SET limits.trap = 'sleep';
SET statement_timeout = '20 s';
SELECT item, ok, detail FROM notify_stats.check() WHERE item IN ('replica identity', 'rollup') ORDER BY detail;
RESET statement_timeout;
RESET limits.trap;

-- a definition that has let a column go, and one that reads another
CREATE OR REPLACE VIEW trapped_definition AS SELECT kind, count(*) FROM letters GROUP BY 1;
ALTER TABLE letters DROP COLUMN pages;
SELECT * FROM notify_stats.source_gaps() ORDER BY rollup::text;
ALTER TABLE letters REPLICA IDENTITY FULL;
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
ALTER TABLE letters REPLICA IDENTITY NOTHING;
SELECT * FROM notify_stats.source_gaps() ORDER BY rollup::text;

-- one that was dropped, and is not forgotten yet
DROP TABLE trapped;
SELECT * FROM notify_stats.source_gaps();
ALTER TABLE letters REPLICA IDENTITY FULL;
SELECT notify_stats.drop_rollup('plain');
SELECT count(*) FROM notify_stats.rollup_source WHERE rollup::text = 'plain';
CALL notify_stats.catch_up();
SELECT (SELECT count(*) FROM notify_stats.rollup_source) AS sources, (SELECT count(*) FROM notify_stats.rollup_activity) AS activities;
