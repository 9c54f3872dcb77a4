-- The table of one backlog, from the file of results. Everything is a median; CPU is in
-- microseconds a change. A multiple of the floor is of the one measured next to it, and a
-- multiple of native is one of these to another. The last line tells how much the
-- repetitions differ.
CREATE TEMP TABLE result (round int, format text, kind text, bytes bigint, ticks numeric,
                          ms float8);
COPY result FROM :'results' CSV;
UPDATE result SET ticks = 1 WHERE ticks = 0;    -- there is no smaller measure

CREATE TEMP TABLE median AS
WITH paired AS (
    SELECT CASE r.kind WHEN 'floor' THEN 'floor' ELSE r.format END AS format,
           CASE r.kind WHEN 'floor' THEN 'peek' ELSE r.kind END AS kind,
           r.bytes, r.ticks, r.ms, r.ticks / f.ticks AS ratio
    FROM result AS r JOIN result AS f ON (f.round, f.format, f.kind) = (r.round, r.format, 'floor'))
SELECT format, kind, max(bytes) AS bytes,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY ticks)::numeric * 1000000
           / :tick / :changes AS cpu,
       :changes * 1000 / percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS speed,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY ratio)::numeric AS ratio,
       100 * (max(ticks) / min(ticks) - 1) AS cpu_spread,
       100 * (max(ratio) / min(ratio) - 1) AS ratio_spread
FROM paired
GROUP BY 1, 2;

SELECT p.format,
       p.bytes AS "bytes out",
       p.speed::int AS "peek: changes/s",
       round(p.cpu, 2) AS "CPU us/change",
       round(p.ratio, 2) AS "x floor",
       round(p.ratio / max(p.ratio) FILTER (WHERE p.format = 'native') OVER (), 2) AS "x native",
       c.speed::int AS "cycle: changes/s",
       round(c.cpu, 2) AS "CPU us/change",
       round(c.ratio, 2) AS "x floor",
       round(c.ratio / max(c.ratio) FILTER (WHERE c.format = 'native') OVER (), 2) AS "x native"
FROM median AS p LEFT JOIN median AS c ON c.format = p.format AND c.kind = 'cycle'
WHERE p.kind = 'peek'
ORDER BY array_position(string_to_array(:'formats', ' '), p.format);

\pset format unaligned
\pset tuples_only on
SELECT format('From the lowest to the highest of a cell: CPU +%s %%, multiple of the floor +%s %%.',
              round(percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_spread)::numeric),
              round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ratio_spread)::numeric))
FROM median;
