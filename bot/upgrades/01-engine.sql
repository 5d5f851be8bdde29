-- v0 -> v1: The engine's tables
-- Times are Unix milliseconds. A column of type sealed holds text, a name or an address, readable only with the key;
-- a column of type keyhash holds the keyed hash by which such a value is found.
-- (A file whose first line here were a filter would be skipped whole on the other database.)

-- only: postgres
CREATE DOMAIN sealed AS bytea;
-- only: postgres
CREATE DOMAIN keyhash AS bytea;

CREATE TABLE meta (
	key   TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
);

CREATE TABLE people (
	id           BIGINT  NOT NULL PRIMARY KEY,
	adapter      TEXT    NOT NULL,
	address_hash keyhash NOT NULL,
	address      sealed  NOT NULL,
	name         sealed,
	lang         TEXT    NOT NULL DEFAULT '',
	zone         TEXT    NOT NULL DEFAULT '',
	last_room    BIGINT  NOT NULL DEFAULT 0,
	UNIQUE (adapter, address_hash)
);

CREATE TABLE chapters (
	id        TEXT    NOT NULL PRIMARY KEY,
	name_hash keyhash NOT NULL UNIQUE,
	name      sealed  NOT NULL,
	secret    sealed  NOT NULL,
	public    bytea   NOT NULL,
	room      BIGINT  NOT NULL,
	listed    BOOLEAN NOT NULL,
	open      BOOLEAN NOT NULL,
	at        BIGINT  NOT NULL
);

CREATE TABLE rooms (
	id           BIGINT  NOT NULL PRIMARY KEY,
	adapter      TEXT    NOT NULL,
	address_hash keyhash NOT NULL,
	address      sealed  NOT NULL,
	name         sealed,
	joined       BOOLEAN NOT NULL,
	encrypted    BOOLEAN NOT NULL,
	direct       BOOLEAN NOT NULL,
	lang         TEXT    NOT NULL DEFAULT '',
	zone         TEXT    NOT NULL DEFAULT '',
	chapter      TEXT    NOT NULL DEFAULT '',
	speaks       BOOLEAN NOT NULL DEFAULT false,
	settings     TEXT    NOT NULL DEFAULT '{}',
	inviter      BIGINT  NOT NULL DEFAULT 0,
	UNIQUE (adapter, address_hash)
);
CREATE INDEX rooms_chapter ON rooms (chapter);

CREATE TABLE members (
	room      BIGINT  NOT NULL,
	person    BIGINT  NOT NULL,
	moderator BOOLEAN NOT NULL,
	since     BIGINT  NOT NULL,
	ignored   BOOLEAN NOT NULL DEFAULT false,
	present   BOOLEAN NOT NULL,
	PRIMARY KEY (room, person)
);
CREATE INDEX members_person ON members (person);

-- Who hears whom. Two consents: asked by the follower's moderators, approved by the followed chapter's.
CREATE TABLE follows (
	room    BIGINT  NOT NULL,
	chapter TEXT    NOT NULL,
	kinds   TEXT    NOT NULL,
	filter  TEXT    NOT NULL DEFAULT '{}',
	active  BOOLEAN NOT NULL,
	at      BIGINT  NOT NULL,
	PRIMARY KEY (room, chapter)
);
CREATE INDEX follows_chapter ON follows (chapter);

-- What was handled already, by network id. Ordinary talk leaves no row.
CREATE TABLE seen (
	id keyhash NOT NULL PRIMARY KEY,
	at BIGINT  NOT NULL
);
CREATE INDEX seen_at ON seen (at);

-- Envelopes of records, one row a version; beside each what only this bot knows of it (room, author, the message that made it).
CREATE TABLE records (
	id         TEXT     NOT NULL,
	version    INTEGER  NOT NULL,
	latest     BOOLEAN  NOT NULL,
	kind       TEXT     NOT NULL,
	scope      TEXT     NOT NULL,
	chapter    TEXT     NOT NULL,
	previous   TEXT     NOT NULL,
	at         BIGINT   NOT NULL,
	expires    BIGINT   NOT NULL,
	encrypted  BOOLEAN  NOT NULL,
	body_hash  TEXT     NOT NULL,
	hash       TEXT     NOT NULL,
	signature  TEXT     NOT NULL,
	code       TEXT     NOT NULL,
	room       BIGINT   NOT NULL,
	author     BIGINT   NOT NULL,
	origin     keyhash,
	state      TEXT     NOT NULL,
	due        BIGINT   NOT NULL,
	PRIMARY KEY (id, version)
);
CREATE INDEX records_room ON records (room, kind, state, due);
CREATE INDEX records_chapter ON records (chapter, kind, state);
CREATE INDEX records_code ON records (code);
CREATE INDEX records_author ON records (author);
CREATE INDEX records_origin ON records (origin);
CREATE INDEX records_expires ON records (expires);

CREATE TABLE bodies (
	id      TEXT    NOT NULL,
	version INTEGER NOT NULL,
	salt    TEXT    NOT NULL,
	body    sealed  NOT NULL,
	PRIMARY KEY (id, version)
);

-- What is to be said, and what was: one row is one network call. State 0 waits, 1 was delivered, 2 was set aside.
CREATE TABLE outbox (
	id         BIGINT   NOT NULL PRIMARY KEY,
	room       BIGINT   NOT NULL,
	person     BIGINT   NOT NULL,
	lane       TEXT     NOT NULL,
	priority   SMALLINT NOT NULL,
	kind       TEXT     NOT NULL,
	key        TEXT     NOT NULL,
	data       sealed,
	target     BIGINT   NOT NULL,
	after      BIGINT   NOT NULL,
	topic      TEXT     NOT NULL,
	ref        TEXT     NOT NULL,
	record     TEXT     NOT NULL,
	origin     BIGINT   NOT NULL,
	not_before BIGINT   NOT NULL,
	expires    BIGINT   NOT NULL,
	rings      BOOLEAN  NOT NULL,
	lang       TEXT     NOT NULL,
	state      SMALLINT NOT NULL,
	tried      BOOLEAN  NOT NULL,
	at         BIGINT   NOT NULL,
	net_id     sealed,
	net_hash   keyhash
);
CREATE INDEX outbox_waiting ON outbox (room) WHERE state = 0;
CREATE INDEX outbox_net ON outbox (net_hash) WHERE net_hash IS NOT NULL;
CREATE INDEX outbox_target ON outbox (target) WHERE target <> 0;
CREATE INDEX outbox_record ON outbox (record) WHERE record <> '';
CREATE INDEX outbox_person ON outbox (person) WHERE person <> 0;
CREATE INDEX outbox_at ON outbox (at);

CREATE TABLE dialogues (
	id      BIGINT  NOT NULL PRIMARY KEY,
	kind    TEXT    NOT NULL,
	room    BIGINT  NOT NULL,
	thread  keyhash NOT NULL,
	person  BIGINT  NOT NULL,
	state   sealed  NOT NULL,
	at      BIGINT  NOT NULL,
	expires BIGINT  NOT NULL
);
CREATE INDEX dialogues_person ON dialogues (person, room);
CREATE INDEX dialogues_expires ON dialogues (expires);

CREATE TABLE jobs (
	id      TEXT    NOT NULL PRIMARY KEY,
	kind    TEXT    NOT NULL,
	topic   TEXT    NOT NULL,
	ref     TEXT    NOT NULL,
	room    BIGINT  NOT NULL,
	person  BIGINT  NOT NULL,
	payload sealed  NOT NULL,
	at      BIGINT  NOT NULL,
	until   BIGINT  NOT NULL
);

CREATE TABLE timers (
	kind TEXT   NOT NULL,
	ref  TEXT   NOT NULL,
	room BIGINT NOT NULL,
	due  BIGINT NOT NULL,
	PRIMARY KEY (kind, ref)
);
CREATE INDEX timers_due ON timers (due);

CREATE TABLE invitations (
	inviter keyhash NOT NULL,
	day     BIGINT  NOT NULL,
	count   INTEGER NOT NULL,
	PRIMARY KEY (inviter, day)
);
