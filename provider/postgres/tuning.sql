-- Settings that suit the tables and that only PostgreSQL has. Each is tried
-- when the schema is made, and does without where the server refuses it.
--
-- Rows that change in place need room for their next version on their page;
-- queues must be vacuumed long before a fifth of them is dead, which is the
-- default: without, finding work became seven times slower within a million
-- messages. What is stored is mostly compressed or short already.

-- name: instances
ALTER TABLE schema.instances SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- name: tasks
ALTER TABLE schema.tasks SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- name: messages
ALTER TABLE schema.messages SET (autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- name: message_ids
ALTER TABLE schema.message_ids SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);

-- name: nodes
ALTER TABLE schema.nodes SET (fillfactor = 10, autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- name: sessions
ALTER TABLE schema.sessions SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 1000);

-- name: history
ALTER TABLE schema.history ALTER COLUMN events SET STORAGE EXTERNAL;

-- name: payloads
ALTER TABLE schema.messages ALTER COLUMN payload SET STORAGE EXTERNAL;

-- name: blobs
ALTER TABLE schema.blobs ALTER COLUMN content SET STORAGE EXTERNAL;
