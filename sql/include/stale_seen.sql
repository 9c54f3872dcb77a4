-- Records which rollups become stale.
CREATE TEMPORARY TABLE stale_seen (rollup text, reason text);
CREATE FUNCTION note_stale() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO pg_temp.stale_seen VALUES (NEW.rollup, NEW.reason); RETURN NULL; END $$;
CREATE TRIGGER note_stale AFTER UPDATE OF reason ON notify_stats.rollup_activity FOR EACH ROW
    WHEN (NEW.reason IS NOT NULL) EXECUTE FUNCTION note_stale();
