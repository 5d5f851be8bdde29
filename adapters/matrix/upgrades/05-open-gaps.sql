-- v5: what was said while the bot was away and could not be read yet, and when the bot was last there
CREATE TABLE matrix_gap (
	room_id    TEXT PRIMARY KEY,
	from_token TEXT    NOT NULL, -- from here it is read backwards
	last_event TEXT    NOT NULL, -- to the newest event before it that was handed over
	since      BIGINT  NOT NULL,
	until      BIGINT  NOT NULL,
	opened_at  BIGINT  NOT NULL,
	next_try   BIGINT  NOT NULL,
	tries      INTEGER NOT NULL DEFAULT 0
);
ALTER TABLE matrix_session ADD COLUMN seen_at BIGINT NOT NULL DEFAULT 0;
UPDATE matrix_session SET seen_at = unixepoch() * 1000;
