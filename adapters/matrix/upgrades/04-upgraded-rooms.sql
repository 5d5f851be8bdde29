-- v4: which room a room was upgraded to; it was noted of the other which one it replaces
ALTER TABLE matrix_room ADD COLUMN next TEXT NOT NULL DEFAULT '';
UPDATE matrix_room SET next = COALESCE((
	SELECT n.room_id FROM matrix_room n WHERE n.replaces = matrix_room.room_id AND n.membership = 'invited'
), '');
ALTER TABLE matrix_room DROP COLUMN replaces;
CREATE INDEX matrix_room_next ON matrix_room (next);
