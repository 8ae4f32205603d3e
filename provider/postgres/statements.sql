-- Every statement, one for each purpose. "schema." stands for the schema that
-- the store was opened with, and the words below for what follows them.
-- Lists are arrays, one for each column, joined by unnest.

-- The store's clock in nanoseconds: when the statement came, which an index
-- can be searched with, and the present moment, for what holds locks.
-- word: store_now
(extract(epoch FROM statement_timestamp()) * 1000000)::bigint * 1000
-- word: store_clock
(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000

-- What decides what may be done with an instance.
-- word: state_columns
i.key, i.id, i.name, i.version, i.status, i.execution, i.next_turn, i.history_from, i.mailbox_seq, i.read_seq,
	i.due_at, i.not_before, i.wake_at, i.owner, i.attempts, i.last_commit, i.parent_key, i.parent_id,
	i.parent_execution, i.parent_command, i.created_at, i.updated_at, i.closed_at, i.failed_at,
	i.custom_status_turn, i.extras
-- word: instance_columns
state_columns, i.turn_failure, i.custom_status, i.outcome
-- word: task_columns
t.key, t.execution, t.command, t.holder, t.held_since, t.attempt, t.visible_at, t.scheduled_at,
	t.start_within, t.close_by, t.parked, t.name, t.pool, t.session, t.payload, t.failure, t.details

-- name: Begin
BEGIN ISOLATION LEVEL READ COMMITTED
-- name: BeginRead
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY
-- name: Commit
COMMIT
-- name: Rollback
ROLLBACK
-- name: Clock
SELECT store_clock

-- name: NodeInsert
INSERT INTO schema.nodes (shard, key, beat, dead, name, pid, version) VALUES ($1, $2, 0, false, $3, $4, $5)

-- Who writes a node's key into a row holds its node's row against Bury.
-- name: NodesLock
SELECT n.key FROM unnest($1::integer[], $2::bigint[]) AS w(shard, key)
JOIN schema.nodes n ON n.shard = w.shard AND n.key = w.key
WHERE NOT n.dead
ORDER BY n.shard, n.key
FOR KEY SHARE OF n

-- Keeps other claims of the same node out.
-- name: NodeLockAlone
SELECT n.key FROM schema.nodes n WHERE n.shard = $1 AND n.key = $2 AND NOT n.dead FOR NO KEY UPDATE

-- name: NodeLook
SELECT coalesce(NOT n.dead, false), n.key IS NOT NULL, store_now
FROM (SELECT 1 AS one) AS o LEFT JOIN schema.nodes n ON n.shard = $1 AND n.key = $2

-- name: NodeBeat
UPDATE schema.nodes SET beat = beat + 1 WHERE shard = $1 AND key = $2 AND NOT dead

-- name: NodeList
SELECT key, beat, dead, name, pid, version FROM schema.nodes ORDER BY key

-- name: NodeBury
SELECT beat, dead FROM schema.nodes WHERE shard = $1 AND key = $2 FOR UPDATE

-- name: NodeDead
UPDATE schema.nodes SET dead = true WHERE shard = $1 AND key = $2

-- name: NodeDelete
DELETE FROM schema.nodes n WHERE n.shard = $1 AND n.key = $2 AND n.dead
	AND NOT EXISTS (SELECT 1 FROM schema.instances i WHERE i.shard = ANY ($3::integer[]) AND i.owner = $2 AND i.owner <> 0)
	AND NOT EXISTS (SELECT 1 FROM schema.tasks t WHERE t.shard = ANY ($3::integer[]) AND t.holder = $2 AND t.holder <> 0)

-- name: InstancesLock
SELECT state_columns
FROM unnest($1::integer[], $2::bigint[]) AS w(shard, key)
JOIN schema.instances i ON i.shard = w.shard AND i.key = w.key
ORDER BY i.shard, i.key
FOR UPDATE OF i

-- The same, also by ID, and with the parents of those that are to be
-- terminated.
-- name: InstancesLockAny
SELECT state_columns
FROM (
	SELECT w.shard, w.key FROM unnest($1::integer[], $2::bigint[]) AS w(shard, key)
	UNION
	SELECT d.key_shard, d.key FROM unnest($3::integer[], $4::text[]) AS w(shard, id)
	JOIN schema.ids d ON d.shard = w.shard AND d.id = w.id
	UNION
	SELECT abs(mod(c.parent_key, $5::bigint))::integer, c.parent_key
	FROM unnest($6::integer[], $7::bigint[]) AS w(shard, key)
	JOIN schema.instances c ON c.shard = w.shard AND c.key = w.key
	UNION
	SELECT abs(mod(c.parent_key, $5::bigint))::integer, c.parent_key
	FROM unnest($8::integer[], $9::text[]) AS w(shard, id)
	JOIN schema.ids d ON d.shard = w.shard AND d.id = w.id
	JOIN schema.instances c ON c.shard = d.key_shard AND c.key = d.key
) AS any_of
JOIN schema.instances i ON i.shard = any_of.shard AND i.key = any_of.key
ORDER BY i.shard, i.key
FOR UPDATE OF i

-- name: MessageIDsGet
SELECT m.key, m.id
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS w(shard, key, id)
JOIN schema.message_ids m ON m.shard = w.shard AND m.key = w.key AND m.id = w.id
UNION ALL
SELECT m.key, m.id
FROM unnest($4::integer[], $5::text[], $6::text[]) AS w(shard, id, message)
JOIN schema.ids d ON d.shard = w.shard AND d.id = w.id
JOIN schema.message_ids m ON m.shard = d.key_shard AND m.key = d.key AND m.id = w.message

-- name: TasksLock
SELECT t.key, t.execution, t.command, t.holder, t.held_since, t.attempt, t.parked, t.visible_at, t.start_within,
	t.close_by, t.session
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[]) AS w(shard, key, execution, command)
JOIN schema.tasks t ON t.shard = w.shard AND t.key = w.key AND t.execution = w.execution AND t.command = w.command
ORDER BY t.shard, t.key, t.execution, t.command
FOR UPDATE OF t

-- What every turn changes, and no index mentions.
-- name: InstancesTurn
UPDATE schema.instances AS i
SET next_turn = w.next_turn, mailbox_seq = w.mailbox_seq, read_seq = w.read_seq, due_at = w.due_at,
	last_commit = w.last_commit, updated_at = w.updated_at
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
	AS w(shard, key, next_turn, mailbox_seq, read_seq, due_at, last_commit, updated_at)
WHERE i.shard = w.shard AND i.key = w.key

-- name: InstancesState
UPDATE schema.instances AS i
SET next_turn = w.next_turn, mailbox_seq = w.mailbox_seq, read_seq = w.read_seq, due_at = w.due_at,
	last_commit = w.last_commit, updated_at = w.updated_at, owner = w.owner, wake_at = w.wake_at,
	not_before = w.not_before, execution = w.execution, history_from = w.history_from, attempts = w.attempts,
	failed_at = w.failed_at, closed_at = w.closed_at, custom_status_turn = w.custom_status_turn, status = w.status,
	extras = w.extras, name = w.name, version = w.version, turn_failure = coalesce(w.turn_failure, i.turn_failure),
	custom_status = coalesce(w.custom_status, i.custom_status), outcome = coalesce(w.outcome, i.outcome)
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
	$9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[],
	$17::bigint[], $18::smallint[], $19::smallint[], $20::text[], $21::text[], $22::bytea[], $23::bytea[], $24::bytea[])
	AS w(shard, key, next_turn, mailbox_seq, read_seq, due_at, last_commit, updated_at,
	owner, wake_at, not_before, execution, history_from, attempts, failed_at, closed_at,
	custom_status_turn, status, extras, name, version, turn_failure, custom_status, outcome)
WHERE i.shard = w.shard AND i.key = w.key

-- name: InstancesInsert
INSERT INTO schema.instances (shard, key, next_turn, mailbox_seq, read_seq, due_at, last_commit, updated_at,
	owner, wake_at, not_before, execution, history_from, attempts, failed_at, closed_at,
	custom_status_turn, status, extras, name, version, turn_failure, custom_status, outcome,
	id, created_at, parent_key, parent_id, parent_execution, parent_command)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
	$9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[],
	$17::bigint[], $18::smallint[], $19::smallint[], $20::text[], $21::text[], $22::bytea[], $23::bytea[], $24::bytea[],
	$25::text[], $26::bigint[], $27::bigint[], $28::text[], $29::bigint[], $30::bigint[])

-- name: IDsInsert
INSERT INTO schema.ids (shard, id, key_shard, key)
SELECT * FROM unnest($1::integer[], $2::text[], $3::integer[], $4::bigint[])

-- name: DefinitionsInsert
INSERT INTO schema.definitions (shard, name, version)
SELECT * FROM unnest($1::integer[], $2::text[], $3::text[])
ON CONFLICT (shard, name, version) DO NOTHING

-- name: HistoryInsert
INSERT INTO schema.history (shard, key, turn, execution, commit_id, time, deliveries, commands, events)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
	$7::integer[], $8::integer[], $9::bytea[])

-- Turns of a node that has locked itself, and that ask for nothing but to be
-- written. A row that is not as the turn expects it is left alone: the instance
-- has mail, or failed, or is another's, or the turn has been written before.
-- name: TurnsPlain
WITH done AS (
	UPDATE schema.instances AS i
	SET next_turn = w.turn + 1, due_at = w.due_at, last_commit = w.commit_id, updated_at = store_clock, status = w.status,
		owner = w.owner, closed_at = CASE w.owner WHEN 0 THEN store_clock ELSE 0 END, outcome = coalesce(w.outcome, i.outcome)
	FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::integer[], $8::integer[],
		$9::bytea[], $10::bigint[], $11::bigint[], $12::smallint[], $13::bigint[], $14::bytea[])
		AS w(shard, key, turn, execution, commit_id, time, deliveries, commands, events, due_at, read_seq, status, owner, outcome)
	WHERE i.shard = w.shard AND i.key = w.key AND i.owner = $16 AND i.next_turn = w.turn AND i.execution = w.execution
		AND i.status = 2 AND i.mailbox_seq = w.read_seq AND i.read_seq = w.read_seq AND i.wake_at = 9223372036854775807
		AND i.attempts = 0 AND i.not_before = 0 AND i.failed_at = 0 AND (w.owner <> 0 OR i.extras = 0)
		AND EXISTS (SELECT FROM schema.nodes n WHERE n.shard = $15 AND n.key = $16 AND NOT n.dead)
	RETURNING w.shard, w.key, w.turn, w.execution, w.commit_id, w.time, w.deliveries, w.commands, w.events
), written AS (
	INSERT INTO schema.history (shard, key, turn, execution, commit_id, time, deliveries, commands, events)
	SELECT shard, key, turn, execution, commit_id, time, deliveries, commands, events FROM done
)
SELECT key, commit_id FROM done

-- name: MessagesInsert
INSERT INTO schema.messages (shard, key, seq, execution, command, refused, payload)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::smallint[], $7::bytea[])

-- name: MessagesConsume
DELETE FROM schema.messages AS m
USING unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[]) AS w(shard, key, behind, upto)
WHERE m.shard = w.shard AND m.key = w.key AND m.seq > w.behind AND m.seq <= w.upto

-- name: MessageIDsInsert
INSERT INTO schema.message_ids (shard, key, id)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[])

-- name: MessageIDsClear
DELETE FROM schema.message_ids AS m USING unnest($1::integer[], $2::bigint[]) AS w(shard, key)
WHERE m.shard = w.shard AND m.key = w.key

-- name: ValuesSet
INSERT INTO schema.published_values (shard, key, name, payload)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bytea[])
ON CONFLICT (shard, key, name) DO UPDATE SET payload = excluded.payload

-- name: ValuesRemove
DELETE FROM schema.published_values AS v USING unnest($1::integer[], $2::bigint[], $3::text[]) AS w(shard, key, name)
WHERE v.shard = w.shard AND v.key = w.key AND v.name = w.name

-- name: RepliesDrop
DELETE FROM schema.replies AS r USING unnest($1::integer[], $2::bigint[], $3::bigint[]) AS w(shard, key, before)
WHERE r.shard = w.shard AND r.key = w.key AND r.stored_at < w.before

-- name: RepliesInsert
INSERT INTO schema.replies (shard, key, id, stored_at, payload)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bigint[], $5::bytea[])
ON CONFLICT (shard, key, id) DO NOTHING

-- A row that is there stays: it may be held.
-- name: TasksInsert
INSERT INTO schema.tasks (shard, key, execution, command, holder, held_since, attempt, visible_at, expires_at,
	scheduled_at, start_within, close_by, session_shard, parked, name, pool, session, payload, failure, details)
SELECT w.shard, w.key, w.execution, w.command, 0, 0, w.attempt, w.visible_at, w.expires_at,
	w.scheduled_at, w.start_within, w.close_by, w.session_shard, w.parked, w.name, w.pool, w.session, w.payload, w.failure, w.details
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
	$8::bigint[], $9::bigint[], $10::bigint[], $11::integer[], $12::boolean[], $13::text[], $14::text[], $15::text[],
	$16::bytea[], $17::bytea[], $18::bytea[])
	AS w(shard, key, execution, command, attempt, visible_at, expires_at,
	scheduled_at, start_within, close_by, session_shard, parked, name, pool, session, payload, failure, details)
ON CONFLICT (shard, key, execution, command) DO NOTHING

-- name: TasksUpdate
UPDATE schema.tasks AS t
SET holder = w.holder, held_since = CASE WHEN w.holder = 0 THEN 0 ELSE t.held_since END, attempt = w.attempt,
	visible_at = coalesce(w.visible_at, t.visible_at), expires_at = coalesce(w.expires_at, t.expires_at), parked = w.parked,
	failure = coalesce(w.failure, t.failure), details = coalesce(w.details, t.details)
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
	$8::bigint[], $9::boolean[], $10::bytea[], $11::bytea[])
	AS w(shard, key, execution, command, holder, attempt, visible_at, expires_at, parked, failure, details)
WHERE t.shard = w.shard AND t.key = w.key AND t.execution = w.execution AND t.command = w.command

-- name: TasksDelete
DELETE FROM schema.tasks AS t
USING unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[]) AS w(shard, key, execution, command)
WHERE t.shard = w.shard AND t.key = w.key AND t.execution = w.execution AND t.command = w.command

-- name: TasksClear
DELETE FROM schema.tasks AS t USING unnest($1::integer[], $2::bigint[]) AS w(shard, key)
WHERE t.shard = w.shard AND t.key = w.key

-- name: SessionsLock
SELECT s.session FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS w(shard, session, node)
JOIN schema.sessions s ON s.shard = w.shard AND s.session = w.session AND s.node = w.node
ORDER BY s.shard, s.session
FOR UPDATE OF s

-- name: SessionsUse
UPDATE schema.sessions AS s SET used_at = $4
FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS w(shard, session, node)
WHERE s.shard = w.shard AND s.session = w.session AND s.node = w.node

-- name: InstancesDue
SELECT c.key, c.wake_at
FROM unnest($1::text[], $2::text[]) AS d(name, version)
CROSS JOIN unnest($3::integer[]) AS s(shard)
CROSS JOIN LATERAL (
	SELECT i.key, i.wake_at FROM schema.instances i
	WHERE i.shard = s.shard AND i.name = d.name AND i.version = d.version AND i.owner = 0
		AND i.wake_at < 9223372036854775807 AND i.wake_at <= store_now
	ORDER BY i.wake_at, i.key
	LIMIT $4
) AS c

-- name: InstancesNextDue
SELECT min(c.wake_at)
FROM unnest($1::text[], $2::text[]) AS d(name, version)
CROSS JOIN unnest($3::integer[]) AS s(shard)
CROSS JOIN LATERAL (
	SELECT i.wake_at FROM schema.instances i
	WHERE i.shard = s.shard AND i.name = d.name AND i.version = d.version AND i.owner = 0
		AND i.wake_at < 9223372036854775807 AND i.wake_at > coalesce($4, store_now)
	ORDER BY i.wake_at
	LIMIT 1
) AS c

-- name: InstancesMail
SELECT i.key FROM schema.instances i
WHERE i.shard = ANY ($1::integer[]) AND i.owner = $2 AND i.owner <> 0 AND i.wake_at <= store_now
ORDER BY i.key

-- Candidates come in order, more than are wanted: what somebody else has
-- locked meanwhile is passed over.
-- name: InstancesTake
SELECT instance_columns
FROM unnest($1::integer[], $2::bigint[], $3::integer[]) AS w(shard, key, place)
JOIN schema.instances i ON i.shard = w.shard AND i.key = w.key
WHERE i.owner = 0 AND i.wake_at < 9223372036854775807 AND i.wake_at <= $4
ORDER BY w.place
LIMIT $5
FOR UPDATE OF i SKIP LOCKED

-- name: InstancesOwner
UPDATE schema.instances AS i SET owner = w.owner, attempts = w.attempts, wake_at = w.wake_at
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS w(shard, key, owner, attempts, wake_at)
WHERE i.shard = w.shard AND i.key = w.key

-- name: InstancesOrphaned
SELECT state_columns FROM schema.instances i
WHERE i.shard = ANY ($1::integer[]) AND i.owner = $2 AND i.owner <> 0
LIMIT $3
FOR UPDATE OF i SKIP LOCKED

-- name: InstancesOwned
SELECT i.key, i.next_turn FROM schema.instances i
WHERE i.shard = ANY ($1::integer[]) AND i.owner = $2 AND i.owner <> 0
ORDER BY i.key

-- name: TasksHeld
SELECT t.key, t.execution, t.command, t.attempt FROM schema.tasks t
WHERE t.shard = ANY ($1::integer[]) AND t.holder = $2 AND t.holder <> 0
ORDER BY t.key, t.execution, t.command

-- name: TasksOrphaned
SELECT t.key, t.execution, t.command, t.attempt, t.parked, t.start_within, t.close_by FROM schema.tasks t
WHERE t.shard = ANY ($1::integer[]) AND t.holder = $2 AND t.holder <> 0
LIMIT $3
FOR UPDATE OF t SKIP LOCKED

-- name: TasksExpired
SELECT c.key, c.execution, c.command, c.at
FROM unnest($1::integer[]) AS s(shard)
CROSS JOIN LATERAL (
	SELECT t.key, t.execution, t.command, t.expires_at AS at FROM schema.tasks t
	WHERE t.shard = s.shard AND t.holder = 0 AND t.expires_at < 9223372036854775807 AND t.expires_at <= store_now
	ORDER BY t.expires_at, t.key
	LIMIT $2
) AS c

-- name: TasksNextExpiry
SELECT min(c.at)
FROM unnest($1::integer[]) AS s(shard)
CROSS JOIN LATERAL (
	SELECT t.expires_at AS at FROM schema.tasks t
	WHERE t.shard = s.shard AND t.holder = 0 AND t.expires_at < 9223372036854775807 AND t.expires_at > coalesce($2, store_now)
	ORDER BY t.expires_at
	LIMIT 1
) AS c

-- name: TasksDue
SELECT c.key, c.execution, c.command, c.at
FROM unnest($1::text[], $2::text[]) AS f(name, pool)
CROSS JOIN unnest($3::integer[]) AS s(shard)
CROSS JOIN LATERAL (
	SELECT t.key, t.execution, t.command, t.visible_at AS at FROM schema.tasks t
	WHERE t.shard = s.shard AND t.name = f.name AND t.pool = f.pool AND t.holder = 0 AND NOT t.parked AND t.session = ''
		AND t.visible_at <= store_now AND t.expires_at > store_now
	ORDER BY t.visible_at, t.key
	LIMIT $4
) AS c

-- name: TasksNextDue
SELECT min(c.at)
FROM unnest($1::text[], $2::text[]) AS f(name, pool)
CROSS JOIN unnest($3::integer[]) AS s(shard)
CROSS JOIN LATERAL (
	SELECT t.visible_at AS at FROM schema.tasks t
	WHERE t.shard = s.shard AND t.name = f.name AND t.pool = f.pool AND t.holder = 0 AND NOT t.parked AND t.session = ''
		AND t.visible_at > coalesce($4, store_now)
	ORDER BY t.visible_at
	LIMIT 1
) AS c

-- Steps from one session that waits to the next, by index.
-- name: SessionsWaiting
WITH RECURSIVE waiting(shard, session, session_shard) AS (
	SELECT s.shard, f.session, f.session_shard
	FROM unnest($1::integer[]) AS s(shard)
	CROSS JOIN LATERAL (
		SELECT t.session, t.session_shard FROM schema.tasks t
		WHERE t.shard = s.shard AND t.holder = 0 AND NOT t.parked AND t.session <> ''
		ORDER BY t.session
		LIMIT 1
	) AS f
	UNION ALL
	SELECT w.shard, f.session, f.session_shard
	FROM waiting w
	CROSS JOIN LATERAL (
		SELECT t.session, t.session_shard FROM schema.tasks t
		WHERE t.shard = w.shard AND t.session > w.session AND t.holder = 0 AND NOT t.parked AND t.session <> ''
		ORDER BY t.session
		LIMIT 1
	) AS f
)
SELECT w.shard, w.session, coalesce(s.node, 0)
FROM waiting w
LEFT JOIN schema.sessions s ON s.shard = w.session_shard AND s.session = w.session

-- name: TasksOfSessions
SELECT c.key, c.execution, c.command, c.at, w.session
FROM unnest($1::text[], $2::text[]) AS f(name, pool)
CROSS JOIN unnest($3::integer[], $4::text[]) AS w(shard, session)
CROSS JOIN LATERAL (
	SELECT t.key, t.execution, t.command, t.visible_at AS at FROM schema.tasks t
	WHERE t.shard = w.shard AND t.session = w.session AND t.name = f.name AND t.pool = f.pool
		AND t.holder = 0 AND NOT t.parked AND t.session <> '' AND t.visible_at <= store_now AND t.expires_at > store_now
	ORDER BY t.visible_at, t.key
	LIMIT $5
) AS c

-- name: TasksNextOfSessions
SELECT min(c.at)
FROM unnest($1::text[], $2::text[]) AS f(name, pool)
CROSS JOIN unnest($3::integer[], $4::text[]) AS w(shard, session)
CROSS JOIN LATERAL (
	SELECT t.visible_at AS at FROM schema.tasks t
	WHERE t.shard = w.shard AND t.session = w.session AND t.name = f.name AND t.pool = f.pool
		AND t.holder = 0 AND NOT t.parked AND t.session <> '' AND t.visible_at > coalesce($5, store_now)
	ORDER BY t.visible_at
	LIMIT 1
) AS c

-- name: SessionsIdle
SELECT s.session FROM schema.sessions s
WHERE s.shard = ANY ($1::integer[]) AND s.node = $2 AND s.used_at < store_now - $3
	AND NOT EXISTS (SELECT 1 FROM schema.tasks t
		WHERE t.shard = ANY ($1::integer[]) AND t.holder = $2 AND t.holder <> 0 AND t.session = s.session)
FOR UPDATE OF s SKIP LOCKED

-- name: SessionsOf
SELECT s.session, s.used_at < store_now - $3 AND NOT EXISTS (SELECT 1 FROM schema.tasks t
	WHERE t.shard = ANY ($1::integer[]) AND t.holder = $2 AND t.holder <> 0 AND t.session = s.session)
FROM schema.sessions s WHERE s.shard = ANY ($1::integer[]) AND s.node = $2

-- Tells who has a session, also one that is opened at this moment.
-- name: SessionsOpen
INSERT INTO schema.sessions (shard, session, node, used_at)
SELECT w.shard, w.session, $3::bigint, $4::bigint FROM unnest($1::integer[], $2::text[]) AS w(shard, session)
ON CONFLICT (shard, session) DO NOTHING
RETURNING session

-- name: SessionsClose
DELETE FROM schema.sessions AS s USING unnest($1::integer[], $2::text[]) AS w(shard, session)
WHERE s.shard = w.shard AND s.session = w.session AND s.node = $3

-- name: SessionsCloseAll
DELETE FROM schema.sessions WHERE shard = ANY ($1::integer[]) AND node = $2

-- Candidates come in order; see InstancesTake.
-- name: TasksTake
SELECT task_columns, w.expired, (SELECT i.id FROM schema.instances i WHERE i.shard = t.shard AND i.key = t.key)
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::boolean[], $6::integer[])
	AS w(shard, key, execution, command, expired, place)
JOIN schema.tasks t ON t.shard = w.shard AND t.key = w.key AND t.execution = w.execution AND t.command = w.command
WHERE t.holder = 0 AND CASE WHEN w.expired THEN t.expires_at <= $7
	ELSE NOT t.parked AND t.visible_at <= $7 AND t.expires_at > $7 END
ORDER BY w.place
LIMIT $8
FOR UPDATE OF t SKIP LOCKED

-- name: TasksHold
UPDATE schema.tasks AS t SET holder = $5, held_since = $6, attempt = w.attempt
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $7::bigint[]) AS w(shard, key, execution, command, attempt)
WHERE t.shard = w.shard AND t.key = w.key AND t.execution = w.execution AND t.command = w.command

-- name: TasksCheck
SELECT w.place
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $7::integer[])
	AS w(shard, key, execution, command, attempt, place)
JOIN schema.tasks t ON t.shard = w.shard AND t.key = w.key AND t.execution = w.execution AND t.command = w.command
WHERE t.attempt = w.attempt AND t.holder = $6 AND (t.holder <> 0 OR t.parked)

-- name: LoadInstances
SELECT instance_columns FROM unnest($1::integer[], $2::bigint[]) AS w(shard, key)
JOIN schema.instances i ON i.shard = w.shard AND i.key = w.key

-- The first that does not fit comes too, to tell that there is more.
-- name: LoadTurns
SELECT w.place, h.turn, h.execution, h.commit_id, h.time, h.deliveries, h.commands, h.events
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
	AS w(place, shard, key, from_turn, most, most_bytes)
JOIN schema.instances i ON i.shard = w.shard AND i.key = w.key
CROSS JOIN LATERAL (
	SELECT r.*, row_number() OVER (ORDER BY r.turn) AS nth,
		sum(octet_length(r.events)) OVER (ORDER BY r.turn) - coalesce(octet_length(r.events), 0) AS before
	FROM schema.history r
	WHERE r.shard = w.shard AND r.key = w.key
		AND r.turn >= CASE WHEN w.from_turn = 0 THEN i.history_from ELSE w.from_turn END
	ORDER BY r.turn
	LIMIT w.most
) AS h
WHERE h.nth <= 2 OR coalesce(h.before, 0) <= w.most_bytes
ORDER BY w.place, h.turn

-- name: LoadTasks
SELECT w.place, t.command
FROM unnest($1::integer[], $2::integer[], $3::bigint[]) AS w(place, shard, key)
JOIN schema.instances i ON i.shard = w.shard AND i.key = w.key
JOIN schema.tasks t ON t.shard = i.shard AND t.key = i.key AND t.execution = i.execution
ORDER BY w.place, t.command

-- name: LoadMail
SELECT w.place, m.seq, m.execution, m.command, m.refused, m.payload
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
	AS w(place, shard, key, after, most, most_bytes)
CROSS JOIN LATERAL (
	SELECT r.*, row_number() OVER (ORDER BY r.seq) AS nth,
		sum(octet_length(r.payload)) OVER (ORDER BY r.seq) - coalesce(octet_length(r.payload), 0) AS before
	FROM schema.messages r
	WHERE r.shard = w.shard AND r.key = w.key AND r.seq > w.after
	ORDER BY r.seq
	LIMIT w.most
) AS m
WHERE m.nth <= 2 OR coalesce(m.before, 0) <= w.most_bytes
ORDER BY w.place, m.seq

-- Over the whole mailbox, not only what a reply carries: a completion beyond
-- the window must keep its task from being dispatched again.
-- name: LoadAnswered
SELECT DISTINCT w.place, m.command
FROM unnest($1::integer[], $2::integer[], $3::bigint[]) AS w(place, shard, key)
JOIN schema.instances i ON i.shard = w.shard AND i.key = w.key
JOIN schema.messages m ON m.shard = i.shard AND m.key = i.key
WHERE m.command <> 0 AND m.execution = i.execution
ORDER BY w.place, m.command

-- name: Outcomes
SELECT w.place, i.key, i.id, i.status, i.owner, i.outcome
FROM unnest($1::integer[], $2::integer[], $3::bigint[]) AS w(place, shard, key)
JOIN schema.instances i ON i.shard = w.shard AND i.key = w.key
UNION ALL
SELECT w.place, i.key, i.id, i.status, i.owner, i.outcome
FROM unnest($4::integer[], $5::integer[], $6::text[]) AS w(place, shard, id)
JOIN schema.ids d ON d.shard = w.shard AND d.id = w.id
JOIN schema.instances i ON i.shard = d.key_shard AND i.key = d.key

-- name: FindTargets
SELECT w.place, i.key, i.id, i.status, i.custom_status_turn
FROM unnest($1::integer[], $2::integer[], $3::bigint[]) AS w(place, shard, key)
JOIN schema.instances i ON i.shard = w.shard AND i.key = w.key
UNION ALL
SELECT w.place, i.key, i.id, i.status, i.custom_status_turn
FROM unnest($4::integer[], $5::integer[], $6::text[]) AS w(place, shard, id)
JOIN schema.ids d ON d.shard = w.shard AND d.id = w.id
JOIN schema.instances i ON i.shard = d.key_shard AND i.key = d.key

-- name: FindStatuses
SELECT w.place, i.custom_status
FROM unnest($1::integer[], $2::integer[], $3::bigint[]) AS w(place, shard, key)
JOIN schema.instances i ON i.shard = w.shard AND i.key = w.key

-- name: FindValues
SELECT w.place, v.payload
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::text[]) AS w(place, shard, key, name)
JOIN schema.published_values v ON v.shard = w.shard AND v.key = w.key AND v.name = w.name

-- name: FindReplies
SELECT w.place, r.payload
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::text[]) AS w(place, shard, key, id)
JOIN schema.replies r ON r.shard = w.shard AND r.key = w.key AND r.id = w.id

-- name: DefinitionList
SELECT name, version FROM schema.definitions WHERE shard = ANY ($1::integer[]) ORDER BY name, version

-- name: GetByKey
SELECT instance_columns FROM schema.instances i WHERE i.shard = $1 AND i.key = $2

-- name: GetByID
SELECT instance_columns FROM schema.ids d JOIN schema.instances i ON i.shard = d.key_shard AND i.key = d.key
WHERE d.shard = $1 AND d.id = $2

-- Lists go through the smallest index that has all; the filters are the same.
-- word: list_filter
i.key < $2 AND i.status = ANY ($4::smallint[])
	AND ($5 = '' OR i.name = $5) AND left(i.name, length($6)) = $6
	AND ($7 = '' OR i.version = $7) AND i.created_at >= $8 AND i.created_at < $9
	AND ($10::integer = 0 OR i.failed_at <> 0 AND (i.closed_at = 0) = ($10::integer = 1)) AND left(i.id, length($11)) = $11 AND ($12 = '' OR i.parent_id = $12)
	AND ($13::bigint = 0 OR i.owner = 0 AND i.wake_at < 9223372036854775807 AND i.wake_at <= $13::bigint)
-- word: list_columns
state_columns, i.turn_failure, CASE WHEN octet_length(i.custom_status) <= $14 THEN i.custom_status END,
	CASE WHEN octet_length(i.outcome) <= $14 THEN i.outcome END

-- A list wants the first rows of an index that fit. The planner, who expects few
-- to fit, would read all there are and sort them: for the rest of the
-- transaction it avoids that.
-- name: WalkIndexes
SELECT set_config('enable_sort', 'off', true)

-- name: ListRecent
SELECT list_columns FROM unnest($1::integer[]) AS s(shard) CROSS JOIN LATERAL (
	SELECT i.* FROM schema.instances i WHERE i.shard = s.shard AND list_filter ORDER BY i.key DESC LIMIT $3
) AS i
ORDER BY i.key DESC
LIMIT $3

-- name: ListRare
SELECT list_columns FROM unnest($1::integer[]) AS s(shard) CROSS JOIN unnest($4::smallint[]) AS r(status) CROSS JOIN LATERAL (
	SELECT i.* FROM schema.instances i
	WHERE i.shard = s.shard AND i.status = r.status AND i.status >= 4 AND list_filter ORDER BY i.key DESC LIMIT $3
) AS i
ORDER BY i.key DESC
LIMIT $3

-- name: ListChildren
SELECT list_columns FROM unnest($1::integer[]) AS s(shard) CROSS JOIN LATERAL (
	SELECT i.* FROM schema.instances i
	WHERE i.shard = s.shard AND i.parent_id = $12 AND i.parent_id <> '' AND list_filter ORDER BY i.key DESC LIMIT $3
) AS i
ORDER BY i.key DESC
LIMIT $3

-- name: ListFailing
SELECT list_columns FROM unnest($1::integer[]) AS s(shard) CROSS JOIN LATERAL (
	SELECT i.* FROM schema.instances i
	WHERE i.shard = s.shard AND i.failed_at <> 0 AND list_filter ORDER BY i.key DESC LIMIT $3
) AS i
ORDER BY i.key DESC
LIMIT $3

-- name: ListWaiting
SELECT list_columns FROM unnest($1::integer[]) AS s(shard) CROSS JOIN schema.definitions q CROSS JOIN LATERAL (
	SELECT i.* FROM schema.instances i
	WHERE i.shard = s.shard AND i.name = q.name AND i.version = q.version AND i.owner = 0
		AND i.wake_at < 9223372036854775807 AND i.wake_at <= $13::bigint AND list_filter
	OFFSET 0
) AS i
ORDER BY i.key DESC
LIMIT $3

-- name: ListIDs
SELECT list_columns FROM schema.ids d CROSS JOIN LATERAL (
	SELECT i.* FROM schema.instances i WHERE i.shard = d.key_shard AND i.key = d.key AND list_filter OFFSET 0
) AS i
WHERE d.shard = ANY ($1::integer[]) AND d.id >= $11 AND d.id < $15
ORDER BY i.key DESC
LIMIT $3

-- name: TurnList
SELECT turn, execution, commit_id, time, deliveries, commands, events FROM schema.history
WHERE shard = $1 AND key = $2 AND turn >= $3 ORDER BY turn LIMIT $4

-- name: MailList
SELECT seq, execution, command, refused, payload FROM schema.messages
WHERE shard = $1 AND key = $2 ORDER BY seq LIMIT $3

-- name: TaskList
SELECT task_columns, false, (SELECT i.id FROM schema.instances i WHERE i.shard = t.shard AND i.key = t.key)
FROM schema.tasks t WHERE t.shard = $1 AND t.key = $2 ORDER BY t.execution, t.command

-- name: ValueList
SELECT name, payload FROM schema.published_values WHERE shard = $1 AND key = $2 ORDER BY name

-- name: StatsInstances
SELECT status, count(*) FROM schema.instances GROUP BY status

-- name: StatsRest
SELECT (SELECT count(*) FROM schema.history), (SELECT count(*) FROM schema.messages),
	(SELECT count(*) FROM schema.tasks WHERE holder = 0), (SELECT count(*) FROM schema.tasks WHERE holder <> 0),
	(SELECT count(*) FROM schema.nodes), store_now

-- name: HistoryDelete
DELETE FROM schema.history WHERE shard = $1 AND key = $2
-- name: MessagesDelete
DELETE FROM schema.messages WHERE shard = $1 AND key = $2
-- name: MessageIDsDelete
DELETE FROM schema.message_ids WHERE shard = $1 AND key = $2
-- name: ValuesDelete
DELETE FROM schema.published_values WHERE shard = $1 AND key = $2
-- name: RepliesDelete
DELETE FROM schema.replies WHERE shard = $1 AND key = $2
-- name: TasksDeleteAll
DELETE FROM schema.tasks WHERE shard = $1 AND key = $2
-- name: InstanceDelete
DELETE FROM schema.instances WHERE shard = $1 AND key = $2
-- name: IDDelete
DELETE FROM schema.ids WHERE shard = $1 AND id = $2 AND key = $3

-- Those who delete two instances at once may meet at their blobs, and one of
-- them is told to try again.
-- name: BlobRefsLeave
UPDATE schema.blobs AS b SET put_at = store_clock FROM schema.blob_refs AS r
WHERE r.shard = ANY($1::integer[]) AND r.key = $2 AND b.shard = r.shard AND b.address = r.address

-- name: BlobRefsClear
DELETE FROM schema.blob_refs WHERE shard = ANY($1::integer[]) AND key = $2

-- name: BlobRefsInsert
INSERT INTO schema.blob_refs (shard, address, key)
SELECT * FROM unnest($1::integer[], $2::bytea[], $3::bigint[])
ON CONFLICT (shard, address, key) DO NOTHING

-- name: BlobTouch
UPDATE schema.blobs SET put_at = store_clock WHERE shard = $1 AND address = $2 RETURNING 1

-- name: BlobPut
INSERT INTO schema.blobs AS b (shard, address, put_at, size, content) VALUES ($1, $2, store_clock, $3, $4)
ON CONFLICT (shard, address) DO UPDATE SET put_at = greatest(b.put_at, excluded.put_at)

-- name: BlobGet
SELECT content FROM schema.blobs WHERE shard = $1 AND address = $2

-- name: BlobsUsed
SELECT u.place FROM unnest($1::integer[], $2::integer[], $3::bytea[]) AS u(place, shard, address)
WHERE EXISTS (SELECT 1 FROM schema.blob_refs AS r WHERE r.shard = u.shard AND r.address = u.address)

-- name: BlobPage
SELECT b.address, b.put_at, b.size,
	(SELECT count(*) FROM (SELECT 1 FROM schema.blob_refs AS r WHERE r.shard = b.shard AND r.address = b.address LIMIT 1) AS any_ref), store_clock
FROM schema.blobs AS b WHERE (b.shard, b.address) > ($1, $2) ORDER BY b.shard, b.address LIMIT $3

-- name: BlobList
SELECT b.address, b.put_at, b.size,
	(SELECT count(*) FROM schema.blob_refs AS r WHERE r.shard = b.shard AND r.address = b.address), store_clock
FROM schema.blobs AS b WHERE (b.shard, b.address) > ($1, $2) ORDER BY b.shard, b.address LIMIT $3

-- name: BlobsDelete
DELETE FROM schema.blobs AS b USING unnest($1::integer[], $2::bytea[]) AS d(shard, address)
WHERE b.shard = d.shard AND b.address = d.address AND b.put_at <= store_clock - $3::bigint
	AND NOT EXISTS (SELECT 1 FROM schema.blob_refs AS r WHERE r.shard = b.shard AND r.address = b.address)
RETURNING b.size

-- What an examination looks at. The views hide from a role what the sessions
-- of others do, not that they are there.
-- name: ExamineSchema
SELECT name, value FROM schema.meta WHERE shard = 0

-- name: ExamineIndexes
SELECT c.relname::text, coalesce(i.relname::text, ''), coalesce(x.indisprimary, false), coalesce(x.indisvalid AND x.indisready, true)
FROM pg_catalog.pg_namespace n
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
LEFT JOIN pg_catalog.pg_index x ON x.indrelid = c.oid
LEFT JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
WHERE n.nspname = $1
ORDER BY 1, 2

-- name: ExamineRows
SELECT relname::text, coalesce(n_live_tup, 0)::bigint, coalesce(n_dead_tup, 0)::bigint,
	coalesce(extract(epoch FROM clock_timestamp() - greatest(last_autovacuum, last_vacuum)), -1)::bigint
FROM pg_catalog.pg_stat_all_tables
WHERE schemaname = $1
ORDER BY 3 DESC, 1

-- A vacuum holds nothing back, nor does a worker more than whom it works for.
-- name: ExamineTransactions
SELECT a.pid::bigint, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.state, ''), false,
	coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::bigint, coalesce(a.query = '<insufficient privilege>', false)
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
	AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'parallel worker')
	AND (a.xact_start IS NOT NULL OR a.query = '<insufficient privilege>')
UNION ALL
SELECT 0, p.owner::text, p.gid, 'prepared', true, extract(epoch FROM clock_timestamp() - p.prepared)::bigint, false
FROM pg_catalog.pg_prepared_xacts p
WHERE p.database = current_database()
ORDER BY 6 DESC, 1

-- name: ExamineServer
SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', coalesce(current_setting('autovacuum', true), 'on') = 'on',
	coalesce(current_setting('fsync', true), 'on') = 'on', coalesce(current_setting('synchronous_standby_names', true), '')

-- name: ExamineConnections
SELECT coalesce(sum(numbackends), 0)::bigint, current_setting('max_connections')::bigint FROM pg_catalog.pg_stat_database

-- name: ExamineAge
SELECT age(datfrozenxid)::bigint, mxid_age(datminmxid)::bigint FROM pg_catalog.pg_database WHERE datname = current_database()
