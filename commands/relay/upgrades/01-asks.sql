-- v0 -> v1: Who asked to hear whom

-- One row for each room and chapter: the question that the chapter's moderators were asked last, and what they said.
-- State 0 waits for them, 1 was agreed to, 2 was declined or ended by them; settled is when that was. Times are Unix milliseconds.
CREATE TABLE relay_asks (
	room     BIGINT   NOT NULL,
	chapter  TEXT     NOT NULL,
	asker    TEXT     NOT NULL,
	at       BIGINT   NOT NULL,
	state    SMALLINT NOT NULL,
	settled  BIGINT   NOT NULL,
	question BIGINT   NOT NULL,
	PRIMARY KEY (room, chapter)
);
CREATE INDEX relay_asks_chapter ON relay_asks (chapter, asker);
