-- v3 -> v4 (compatible with v1+): When what was said vanishes, and which records stand in it beside the one it is about
-- lists: " ID ID". fades: when the network deletes it, where a room's messages do not stay; 0 = never.
ALTER TABLE outbox ADD COLUMN lists TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN fades BIGINT NOT NULL DEFAULT 0;
DROP INDEX outbox_lists;
UPDATE outbox SET lists = substr(ref, 6), ref = '' WHERE substr(ref, 1, 5) = 'lists';
CREATE INDEX outbox_lists ON outbox (room) WHERE lists <> '';
CREATE INDEX outbox_fades ON outbox (fades) WHERE fades > 0;
-- only: sqlite for next 2 lines
UPDATE outbox SET fades = at + 1000 * (SELECT CAST(json_extract(r.settings, '$.timer') AS INTEGER) FROM rooms r WHERE r.id = outbox.room)
WHERE state <> 0 AND room IN (SELECT id FROM rooms WHERE settings LIKE '%"timer":%');
-- only: postgres for next 2 lines
UPDATE outbox SET fades = at + 1000 * (SELECT CAST(CAST(r.settings AS json) ->> 'timer' AS BIGINT) FROM rooms r WHERE r.id = outbox.room)
WHERE state <> 0 AND room IN (SELECT id FROM rooms WHERE settings LIKE '%"timer":%');
