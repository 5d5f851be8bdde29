-- v2 -> v3 (compatible with v1+): Indexes that statements with arguments use
-- SQLite takes an index with a condition only where the statement itself holds it: an argument that is not 0 says nothing.
DROP INDEX outbox_target;
DROP INDEX outbox_record;
DROP INDEX outbox_person;
DROP INDEX outbox_net;
CREATE INDEX outbox_target ON outbox (target, kind);
CREATE INDEX outbox_record ON outbox (record, kind);
CREATE INDEX outbox_person ON outbox (person, room);
CREATE INDEX outbox_net ON outbox (net_hash, room);
CREATE INDEX outbox_room ON outbox (room);
CREATE INDEX outbox_lists ON outbox (room) WHERE substr(ref, 1, 5) = 'lists';
