-- v1 -> v2 (compatible with v1+): When a message was tried whose arrival is in doubt
-- From its first try to the one that is known to have arrived (0: not yet): people may have seen it, under an id that the bot never heard.
ALTER TABLE outbox ADD COLUMN doubt_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN doubt_to BIGINT NOT NULL DEFAULT 0;
