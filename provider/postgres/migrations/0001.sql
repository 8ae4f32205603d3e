-- Schema 1. Every primary key and every index begins with shard, so that the
-- tables can be spread over servers by it: that of an instance and of all that
-- belongs to it comes from the instance's key, that of an ID from the ID.
--
-- An update that changes no indexed column stays on its page and leaves every
-- index alone (https://www.postgresql.org/docs/current/storage-hot.html). A
-- column counts as indexed if an index only mentions it in its WHERE, so no
-- index mentions what a turn of a running instance changes.
--
-- Times are nanoseconds since 1970; 9223372036854775807 is never.

CREATE TABLE schema.nodes (
	shard   integer NOT NULL,
	key     bigint NOT NULL,
	beat    bigint NOT NULL,
	dead    boolean NOT NULL,
	name    text NOT NULL,
	pid     bigint NOT NULL,
	version text NOT NULL,
	PRIMARY KEY (shard, key)
);

-- Which instance has an ID.
CREATE TABLE schema.ids (
	shard     integer NOT NULL,
	id        text COLLATE "C" NOT NULL,
	key_shard integer NOT NULL,
	key       bigint NOT NULL,
	PRIMARY KEY (shard, id)
);

CREATE TABLE schema.instances (
	shard              integer NOT NULL,
	key                bigint NOT NULL,
	next_turn          bigint NOT NULL,
	mailbox_seq        bigint NOT NULL,
	read_seq           bigint NOT NULL,
	due_at             bigint NOT NULL,
	last_commit        bigint NOT NULL,
	updated_at         bigint NOT NULL,
	owner              bigint NOT NULL, -- 0: nobody
	wake_at            bigint NOT NULL,
	not_before         bigint NOT NULL,
	execution          bigint NOT NULL,
	history_from       bigint NOT NULL,
	attempts           bigint NOT NULL,
	failed_at          bigint NOT NULL, -- 0: the last turn succeeded
	closed_at          bigint NOT NULL, -- 0: open
	created_at         bigint NOT NULL,
	custom_status_turn bigint NOT NULL, -- 0: none was set
	parent_key         bigint NOT NULL, -- 0: none
	parent_execution   bigint NOT NULL,
	parent_command     bigint NOT NULL,
	status             smallint NOT NULL,
	extras             smallint NOT NULL, -- bit 0: may have rows in tasks; bit 1: in message_ids
	id                 text COLLATE "C" NOT NULL,
	name               text COLLATE "C" NOT NULL,
	version            text COLLATE "C" NOT NULL,
	parent_id          text COLLATE "C" NOT NULL,
	turn_failure       bytea, -- of failed_at; one of earlier means nothing
	custom_status      bytea,
	outcome            bytea,
	PRIMARY KEY (shard, key)
);

-- Claims: what waits for a node, by definition, the longest due first.
CREATE INDEX instances_due ON schema.instances (shard, name, version, wake_at, key)
	WHERE owner = 0 AND wake_at < 9223372036854775807;

-- What a node owns, that with mail first.
CREATE INDEX instances_owned ON schema.instances (shard, owner, wake_at, key) WHERE owner <> 0;

-- Lists of what is rare among many.
CREATE INDEX instances_children ON schema.instances (shard, parent_id, key) WHERE parent_id <> '';
CREATE INDEX instances_rare ON schema.instances (shard, status, key) WHERE status >= 4;
CREATE INDEX instances_failing ON schema.instances (shard, key) WHERE failed_at <> 0;

-- Every name and version that an instance ever had.
CREATE TABLE schema.definitions (
	shard   integer NOT NULL,
	name    text COLLATE "C" NOT NULL,
	version text COLLATE "C" NOT NULL,
	PRIMARY KEY (shard, name, version)
);

CREATE TABLE schema.history (
	shard      integer NOT NULL,
	key        bigint NOT NULL,
	turn       bigint NOT NULL,
	execution  bigint NOT NULL,
	commit_id  bigint NOT NULL,
	time       bigint NOT NULL,
	deliveries integer NOT NULL,
	commands   integer NOT NULL,
	events     bytea,
	PRIMARY KEY (shard, key, turn)
);

-- Unread mail.
CREATE TABLE schema.messages (
	shard     integer NOT NULL,
	key       bigint NOT NULL,
	seq       bigint NOT NULL,
	execution bigint NOT NULL,
	command   bigint NOT NULL,
	refused   smallint NOT NULL,
	payload   bytea,
	PRIMARY KEY (shard, key, seq)
);

-- IDs of messages that open instances have accepted.
CREATE TABLE schema.message_ids (
	shard integer NOT NULL,
	key   bigint NOT NULL,
	id    text COLLATE "C" NOT NULL,
	PRIMARY KEY (shard, key, id)
);

CREATE TABLE schema.published_values (
	shard   integer NOT NULL,
	key     bigint NOT NULL,
	name    text COLLATE "C" NOT NULL,
	payload bytea NOT NULL,
	PRIMARY KEY (shard, key, name)
);

CREATE TABLE schema.replies (
	shard     integer NOT NULL,
	key       bigint NOT NULL,
	id        text COLLATE "C" NOT NULL,
	stored_at bigint NOT NULL,
	payload   bytea,
	PRIMARY KEY (shard, key, id)
);

CREATE TABLE schema.tasks (
	shard         integer NOT NULL,
	key           bigint NOT NULL,
	execution     bigint NOT NULL,
	command       bigint NOT NULL,
	holder        bigint NOT NULL, -- 0: nobody
	held_since    bigint NOT NULL,
	attempt       bigint NOT NULL,
	visible_at    bigint NOT NULL,
	expires_at    bigint NOT NULL, -- counts while nobody holds it
	scheduled_at  bigint NOT NULL,
	start_within  bigint NOT NULL,
	close_by      bigint NOT NULL,
	session_shard integer NOT NULL, -- of session's row in sessions
	parked        boolean NOT NULL,
	name          text COLLATE "C" NOT NULL,
	pool          text COLLATE "C" NOT NULL,
	session       text COLLATE "C" NOT NULL,
	payload       bytea,
	failure       bytea,
	details       bytea,
	PRIMARY KEY (shard, key, execution, command)
);

CREATE INDEX tasks_due ON schema.tasks (shard, name, pool, visible_at, key)
	WHERE holder = 0 AND NOT parked AND session = '';

-- Session first: those of other nodes are stepped over, however many tasks
-- each of them has waiting.
CREATE INDEX tasks_sessions ON schema.tasks (shard, session, name, pool, visible_at, key)
	WHERE holder = 0 AND NOT parked AND session <> '';

CREATE INDEX tasks_expiring ON schema.tasks (shard, expires_at, key)
	WHERE holder = 0 AND expires_at < 9223372036854775807;

CREATE INDEX tasks_held ON schema.tasks (shard, holder, session) WHERE holder <> 0;

-- Which node has a session.
CREATE TABLE schema.sessions (
	shard   integer NOT NULL,
	session text COLLATE "C" NOT NULL,
	node    bigint NOT NULL,
	used_at bigint NOT NULL,
	PRIMARY KEY (shard, session)
);

CREATE INDEX sessions_nodes ON schema.sessions (shard, node);
