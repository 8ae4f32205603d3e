-- Schema 2: what instances publish, and tasks that expire, are parked, or belong
-- to a session. instances.extras says whether an instance has rows here: bit 2
-- for named_values, bit 3 for replies.

-- The number of the turn that set the custom status; zero: none did. Which one
-- set those that are there is not known, so it was the last.
ALTER TABLE notes ADD COLUMN status_turn INTEGER NOT NULL DEFAULT 0;
UPDATE notes SET status_turn = (SELECT max(next_turn - 1, 1) FROM cursors WHERE cursors.key = notes.key)
WHERE custom_status IS NOT NULL;

CREATE TABLE named_values (
	instance INTEGER NOT NULL,
	name     TEXT NOT NULL,
	payload  BLOB NOT NULL,
	PRIMARY KEY (instance, name)
) WITHOUT ROWID;

CREATE TABLE replies (
	instance  INTEGER NOT NULL,
	id        TEXT NOT NULL,
	stored_at INTEGER NOT NULL,
	payload   BLOB,
	PRIMARY KEY (instance, id)
) WITHOUT ROWID;

-- So that dropping old replies costs nothing for those that stay.
CREATE INDEX replies_age ON replies (instance, stored_at);

-- Which definitions have open instances. Nothing but a start, an end and the
-- choice of a version writes to it.
CREATE INDEX instances_open ON instances (def) WHERE closed_at = 0;

-- Tasks that expire, are parked, or belong to a session. The table is made anew
-- so that what decides stands before what may be large.
CREATE TABLE tasks_2 (
	instance     INTEGER NOT NULL,
	command      INTEGER NOT NULL,
	execution    INTEGER NOT NULL,
	kind         INTEGER NOT NULL,
	holder       INTEGER NOT NULL, -- the node; of a task that none holds, the queue: never above zero
	visible_at   INTEGER NOT NULL,
	attempt      INTEGER NOT NULL,
	held_since   INTEGER NOT NULL,
	scheduled_at INTEGER NOT NULL,
	start_within INTEGER NOT NULL,
	close_by     INTEGER NOT NULL,
	expires_at   INTEGER NOT NULL, -- 9223372036854775807 while held
	parked       INTEGER NOT NULL,
	session      TEXT NOT NULL,
	payload      BLOB,
	failure      BLOB,
	details      BLOB,
	PRIMARY KEY (instance, command)
) WITHOUT ROWID;

INSERT INTO tasks_2 (instance, command, execution, kind, holder, visible_at, attempt, held_since, scheduled_at,
	start_within, close_by, expires_at, parked, session, payload, failure, details)
SELECT instance, command, execution, kind,
	CASE WHEN holder = 0 AND session <> '' THEN -9223372036854775808 ELSE holder END, -- the queue of closed sessions
	visible_at, attempt, held_since, scheduled_at, 0, 0, 9223372036854775807, 0, session, payload, failure, details
FROM tasks;

DROP TABLE tasks;
ALTER TABLE tasks_2 RENAME TO tasks;
CREATE INDEX tasks_queue ON tasks (holder, kind, visible_at);
CREATE INDEX tasks_expiry ON tasks (expires_at) WHERE expires_at < 9223372036854775807;

-- Which node has a session. One that no node has is not here.
CREATE TABLE sessions (
	name    TEXT NOT NULL PRIMARY KEY,
	node    INTEGER NOT NULL,
	used_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX sessions_node ON sessions (node, used_at);

-- The tasks of each session, whatever their instance and state: those that wait
-- change queues when a node gets the session. Tasks without one are not here.
-- Bit 4 of instances.extras says that an instance may have any.
CREATE TABLE session_tasks (
	session  TEXT NOT NULL,
	instance INTEGER NOT NULL,
	command  INTEGER NOT NULL,
	PRIMARY KEY (session, instance, command)
) WITHOUT ROWID;

INSERT INTO session_tasks (session, instance, command) SELECT session, instance, command FROM tasks WHERE session <> '';
UPDATE instances SET extras = extras | 16 WHERE key IN (SELECT instance FROM session_tasks);
