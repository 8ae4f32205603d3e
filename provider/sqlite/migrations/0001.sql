-- Schema 1. What decides it is the number of pages a turn dirties: history is
-- append-only and chained instead of indexed, and no index mentions a column
-- that a turn of a running instance changes.

CREATE TABLE nodes (
	key       INTEGER PRIMARY KEY,
	beat      INTEGER NOT NULL,
	dead      INTEGER NOT NULL,
	pid       INTEGER NOT NULL,
	name      TEXT NOT NULL,
	version   TEXT NOT NULL
);

-- Names are stored once and referred to by number, so that rows and the claim
-- index stay small. Rows are never changed or deleted.
CREATE TABLE definitions (
	id      INTEGER PRIMARY KEY,
	name    TEXT NOT NULL,
	version TEXT NOT NULL,
	UNIQUE (name, version)
);

CREATE TABLE kinds (
	id   INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	pool TEXT NOT NULL,
	UNIQUE (name, pool)
);

CREATE TABLE instances (
	key              INTEGER PRIMARY KEY,
	owner            INTEGER NOT NULL,
	def              INTEGER NOT NULL,
	wake_at          INTEGER NOT NULL,
	status           INTEGER NOT NULL,
	execution        INTEGER NOT NULL,
	history_from     INTEGER NOT NULL,
	not_before       INTEGER NOT NULL,
	attempts         INTEGER NOT NULL,
	tasks            INTEGER NOT NULL, -- how many rows in tasks
	extras           INTEGER NOT NULL, -- bit 0: a row in notes; bit 1: rows in message_ids
	failed_at        INTEGER NOT NULL,
	closed_at        INTEGER NOT NULL,
	created_at       INTEGER NOT NULL,
	parent_key       INTEGER NOT NULL,
	parent_execution INTEGER NOT NULL,
	parent_command   INTEGER NOT NULL,
	id               TEXT NOT NULL UNIQUE,
	parent_id        TEXT,
	outcome          BLOB
);

-- Where an instance stands: what every turn changes, and nothing else. A turn
-- rewrites this short row without reading it; the long one of instances, whose
-- columns SQLite would take apart and put together again, it leaves alone.
CREATE TABLE cursors (
	key         INTEGER PRIMARY KEY,
	next_turn   INTEGER NOT NULL,
	mailbox_seq INTEGER NOT NULL,
	read_seq    INTEGER NOT NULL,
	due_at      INTEGER NOT NULL,
	last_commit INTEGER NOT NULL,
	last_pos    INTEGER NOT NULL, -- the last turn in history
	mark_pos    INTEGER NOT NULL, -- the last turn whose number is a multiple of 64
	updated_at  INTEGER NOT NULL
);

-- What a claim may see. 9223372036854775807 is provider.Never: instances that
-- run, sleep for ever or have ended are not in it.
CREATE INDEX instances_wake ON instances (owner, def, wake_at) WHERE wake_at < 9223372036854775807;
-- What a node holds, for its burial.
CREATE INDEX instances_owned ON instances (owner) WHERE owner <> 0;
CREATE INDEX instances_parent ON instances (parent_id) WHERE parent_id IS NOT NULL;
-- Everything but Pending, Running and Completed, newest last.
CREATE INDEX instances_rare ON instances (key, status) WHERE status >= 4;

-- What changes rarely or may be large, kept out of the row that every turn
-- rewrites.
CREATE TABLE notes (
	key           INTEGER PRIMARY KEY,
	custom_status BLOB,
	turn_failure  TEXT
);

-- One row per turn. prev leads to the instance's turn before, mark to the last
-- one before whose number is a multiple of 64.
CREATE TABLE history (
	pos        INTEGER PRIMARY KEY,
	instance   INTEGER NOT NULL,
	turn       INTEGER NOT NULL,
	execution  INTEGER NOT NULL,
	prev       INTEGER NOT NULL,
	mark       INTEGER NOT NULL,
	commit_id  INTEGER NOT NULL,
	time       INTEGER NOT NULL,
	deliveries INTEGER NOT NULL,
	commands   INTEGER NOT NULL,
	events     BLOB
);

CREATE TABLE messages (
	instance  INTEGER NOT NULL,
	seq       INTEGER NOT NULL,
	execution INTEGER NOT NULL,
	command   INTEGER NOT NULL,
	refused   INTEGER NOT NULL,
	payload   BLOB,
	PRIMARY KEY (instance, seq)
) WITHOUT ROWID;

CREATE TABLE message_ids (
	instance INTEGER NOT NULL,
	id       TEXT NOT NULL,
	PRIMARY KEY (instance, id)
) WITHOUT ROWID;

CREATE TABLE tasks (
	instance     INTEGER NOT NULL,
	command      INTEGER NOT NULL,
	execution    INTEGER NOT NULL,
	kind         INTEGER NOT NULL,
	holder       INTEGER NOT NULL,
	visible_at   INTEGER NOT NULL,
	attempt      INTEGER NOT NULL,
	held_since   INTEGER NOT NULL,
	scheduled_at INTEGER NOT NULL,
	session      TEXT NOT NULL,
	payload      BLOB,
	failure      BLOB,
	details      BLOB,
	PRIMARY KEY (instance, command)
) WITHOUT ROWID;

CREATE INDEX tasks_queue ON tasks (holder, kind, visible_at);
