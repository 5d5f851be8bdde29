-- v0 -> v1: Session, rooms, held events, reactions
CREATE TABLE matrix_session (
	id           INTEGER PRIMARY KEY CHECK (id = 1),
	homeserver   TEXT    NOT NULL,
	user_id      TEXT    NOT NULL,
	device_id    TEXT    NOT NULL,
	access_token BLOB    NOT NULL, -- sealed
	ready        BOOLEAN NOT NULL, -- false while a login is half done
	sync_token   TEXT    NOT NULL DEFAULT ''
);

CREATE TABLE matrix_room (
	room_id    TEXT PRIMARY KEY,
	membership TEXT    NOT NULL, -- invited, joined, left
	inviter    TEXT    NOT NULL DEFAULT '',
	replaces   TEXT    NOT NULL DEFAULT '', -- the room that was upgraded to this one
	name       BLOB,                        -- sealed
	encrypted  BOOLEAN NOT NULL DEFAULT false,
	marked     BOOLEAN NOT NULL DEFAULT false, -- somebody said that it is a direct chat
	direct     BOOLEAN NOT NULL DEFAULT false,
	last_event TEXT    NOT NULL DEFAULT '', -- the newest event of the timeline that was handed over
	-- what the bot still has to do there: join or leave, with its own clock
	want       TEXT    NOT NULL DEFAULT '',
	via        TEXT    NOT NULL DEFAULT '',
	wanted_at  BIGINT  NOT NULL DEFAULT 0,
	next_try   BIGINT  NOT NULL DEFAULT 0,
	tries      INTEGER NOT NULL DEFAULT 0
);

-- ciphertext whose key has not come yet
CREATE TABLE matrix_held (
	event_id   TEXT PRIMARY KEY,
	room_id    TEXT    NOT NULL,
	session_id TEXT    NOT NULL,
	event      TEXT    NOT NULL,
	held_at    BIGINT  NOT NULL,
	asked      BOOLEAN NOT NULL DEFAULT false
);
CREATE INDEX matrix_held_session ON matrix_held (session_id);
CREATE INDEX matrix_held_room ON matrix_held (room_id);

-- the bot's own events and the reactions on them: a redaction names only the reaction
CREATE TABLE matrix_own (
	event_id TEXT PRIMARY KEY,
	seen_at  BIGINT NOT NULL
);
CREATE TABLE matrix_reaction (
	event_id TEXT PRIMARY KEY,
	target   TEXT   NOT NULL,
	person   TEXT   NOT NULL,
	emoji    TEXT   NOT NULL,
	seen_at  BIGINT NOT NULL
);
CREATE INDEX matrix_reaction_target ON matrix_reaction (target);
