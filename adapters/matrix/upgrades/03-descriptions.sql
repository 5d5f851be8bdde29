-- v3: which descriptions of commands a room has
ALTER TABLE matrix_room ADD COLUMN described TEXT NOT NULL DEFAULT '';
