-- v2: who is told that a key has not come
ALTER TABLE matrix_held ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE matrix_held ADD COLUMN told_at BIGINT NOT NULL DEFAULT 0; -- 0 = not yet
UPDATE matrix_held SET sender = json_extract(event, '$.sender');
CREATE INDEX matrix_held_sender ON matrix_held (sender);
