-- Every statement, by name. Parameters are bound by position.

-- name: begin
BEGIN IMMEDIATE

-- name: begin_read
BEGIN

-- name: commit
COMMIT

-- name: rollback
ROLLBACK

-- name: data_version
PRAGMA data_version

-- name: node_insert
INSERT INTO nodes (key, beat, dead, pid, name, version) VALUES (?, 0, 0, ?, ?, ?)

-- name: node_get
SELECT beat, dead FROM nodes WHERE key = ?

-- name: node_beat
UPDATE nodes SET beat = beat + 1 WHERE key = ? AND dead = 0

-- name: node_dead
UPDATE nodes SET dead = 1 WHERE key = ?

-- name: node_delete
DELETE FROM nodes WHERE key = ?

-- name: node_list
SELECT key, beat, dead, pid, name, version FROM nodes ORDER BY key

-- name: definition_get
SELECT id FROM definitions WHERE name = ? AND version = ?

-- name: definition_name
SELECT name, version FROM definitions WHERE id = ?

-- name: definition_insert
INSERT INTO definitions (name, version) VALUES (?, ?)

-- name: definition_open
SELECT name, version FROM definitions
WHERE EXISTS (SELECT 1 FROM instances INDEXED BY instances_open WHERE def = definitions.id AND closed_at = 0)

-- name: kind_get
SELECT id FROM kinds WHERE name = ? AND pool = ?

-- name: kind_name
SELECT name, pool FROM kinds WHERE id = ?

-- name: kind_insert
INSERT INTO kinds (name, pool) VALUES (?, ?)

-- name: instance_get
SELECT owner, def, wake_at, status, execution, next_turn, history_from, mailbox_seq, read_seq, due_at,
	not_before, attempts, last_commit, last_pos, mark_pos, tasks, extras, updated_at, failed_at, closed_at,
	created_at, parent_key, parent_execution, parent_command, id, parent_id
FROM cursors JOIN instances USING (key) WHERE key = ?

-- name: instance_key
SELECT key FROM instances WHERE id = ?

-- name: instance_status
SELECT id, status, extras FROM instances WHERE key = ?

-- name: instance_outcome
SELECT id, status, owner, CASE WHEN closed_at <> 0 THEN outcome END, closed_at FROM instances WHERE key = ?

-- name: instance_insert
INSERT INTO instances (key, owner, def, wake_at, status, execution, history_from, not_before, attempts, tasks, extras,
	failed_at, closed_at, created_at, parent_key, parent_execution, parent_command, id, parent_id, outcome)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: cursor_insert
INSERT INTO cursors (key, next_turn, mailbox_seq, read_seq, due_at, last_commit, last_pos, mark_pos, updated_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)

-- All that a plain turn changes beside its history. Every column is set, so
-- the old row need not be read.
-- name: cursor_update
UPDATE cursors SET next_turn = ?2, mailbox_seq = ?3, read_seq = ?4, due_at = ?5, last_commit = ?6,
	last_pos = ?7, mark_pos = ?8, updated_at = ?9
WHERE key = ?1

-- The definition is not among these, because its index of open instances would
-- be written each time.
-- name: instance_state
UPDATE instances SET wake_at = ?2, status = ?3, execution = ?4, history_from = ?5, not_before = ?6, attempts = ?7,
	tasks = ?8, extras = ?9, failed_at = ?10
WHERE key = ?1

-- name: instance_owner
UPDATE instances SET wake_at = ?2, status = ?3, execution = ?4, history_from = ?5, not_before = ?6, attempts = ?7,
	tasks = ?8, extras = ?9, failed_at = ?10, owner = ?11
WHERE key = ?1

-- name: instance_close
UPDATE instances SET wake_at = ?2, status = ?3, execution = ?4, history_from = ?5, not_before = ?6, attempts = ?7,
	tasks = ?8, extras = ?9, failed_at = ?10, owner = ?11, closed_at = ?12, outcome = ?13
WHERE key = ?1

-- name: instance_definition
UPDATE instances SET def = ?2 WHERE key = ?1

-- name: cursor_delete
DELETE FROM cursors WHERE key = ?

-- name: instance_delete
DELETE FROM instances WHERE key = ?

-- name: instance_owned
SELECT key, next_turn FROM instances INDEXED BY instances_owned CROSS JOIN cursors USING (key)
WHERE owner = ? AND owner <> 0 LIMIT ?

-- name: instance_due
SELECT key, wake_at FROM instances INDEXED BY instances_wake
WHERE owner = 0 AND def = ? AND wake_at <= ? AND wake_at < 9223372036854775807
ORDER BY wake_at LIMIT ?

-- name: instance_next_due
SELECT wake_at FROM instances INDEXED BY instances_wake
WHERE owner = 0 AND def = ? AND wake_at > ? AND wake_at < 9223372036854775807
ORDER BY wake_at LIMIT 1

-- name: instance_mail
SELECT key FROM instances INDEXED BY instances_wake
WHERE owner = ? AND wake_at < 9223372036854775807

-- name: notes_get
SELECT custom_status, turn_failure, status_turn FROM notes WHERE key = ?

-- name: notes_status
INSERT INTO notes (key, status_turn, custom_status) VALUES (?1, ?2, ?3)
ON CONFLICT (key) DO UPDATE SET status_turn = excluded.status_turn, custom_status = excluded.custom_status

-- name: notes_failure
INSERT INTO notes (key, turn_failure) VALUES (?1, ?2)
ON CONFLICT (key) DO UPDATE SET turn_failure = excluded.turn_failure

-- name: notes_delete
DELETE FROM notes WHERE key = ?

-- name: value_set
INSERT INTO named_values (instance, payload, name) VALUES (?1, ?2, ?3)
ON CONFLICT (instance, name) DO UPDATE SET payload = excluded.payload

-- name: value_remove
DELETE FROM named_values WHERE instance = ?1 AND name = ?2

-- name: value_get
SELECT payload FROM named_values WHERE instance = ?1 AND name = ?2

-- name: value_list
SELECT name, payload FROM named_values WHERE instance = ? ORDER BY name

-- name: value_clear
DELETE FROM named_values WHERE instance = ?

-- name: reply_insert
INSERT INTO replies (instance, stored_at, payload, id) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (instance, id) DO NOTHING

-- name: reply_get
SELECT payload FROM replies WHERE instance = ?1 AND id = ?2

-- name: reply_drop
DELETE FROM replies INDEXED BY replies_age WHERE instance = ? AND stored_at < ?

-- name: reply_clear
DELETE FROM replies WHERE instance = ?

-- name: history_insert
INSERT INTO history (instance, turn, execution, prev, mark, commit_id, time, deliveries, commands, events)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: history_link
SELECT instance, turn, prev, mark FROM history WHERE pos = ?

-- name: history_get
SELECT instance, turn, execution, commit_id, time, deliveries, commands, events, prev FROM history WHERE pos = ?

-- name: history_stretch
SELECT instance, turn, execution, commit_id, time, deliveries, commands, events, pos FROM history
WHERE pos > ?1 AND pos <= ?2 AND instance = ?3

-- name: history_delete
DELETE FROM history WHERE pos = ?

-- name: history_count
SELECT count(*) FROM history

-- name: message_insert
INSERT INTO messages (instance, seq, execution, command, refused, payload) VALUES (?, ?, ?, ?, ?, ?)

-- name: message_list
SELECT seq, execution, command, refused, payload FROM messages WHERE instance = ? AND seq > ? ORDER BY seq

-- name: message_answers
SELECT DISTINCT command FROM messages WHERE instance = ? AND seq > ? AND execution = ? AND command <> 0 ORDER BY command

-- name: message_consume
DELETE FROM messages WHERE instance = ? AND seq <= ?

-- name: message_count
SELECT count(*) FROM messages

-- name: message_id_get
SELECT 1 FROM message_ids WHERE instance = ? AND id = ?

-- name: message_id_insert
INSERT INTO message_ids (instance, id) VALUES (?, ?)

-- name: message_id_delete
DELETE FROM message_ids WHERE instance = ?

-- name: task_insert
INSERT INTO tasks (instance, command, execution, kind, holder, visible_at, attempt, held_since, scheduled_at,
	start_within, close_by, expires_at, parked, session, payload, failure, details)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)

-- name: task_state
SELECT execution, attempt, holder, parked, start_within, close_by, session FROM tasks WHERE instance = ? AND command = ?

-- name: task_get
SELECT execution, kind, holder, visible_at, attempt, held_since, scheduled_at, start_within, close_by, parked, session,
	payload, failure, details, command
FROM tasks WHERE instance = ? AND command = ?

-- name: task_list
SELECT execution, kind, holder, visible_at, attempt, held_since, scheduled_at, start_within, close_by, parked, session,
	payload, failure, details, command
FROM tasks WHERE instance = ? ORDER BY command

-- name: task_commands
SELECT command FROM tasks WHERE instance = ? AND execution = ? ORDER BY command

-- name: task_expired
SELECT instance, command FROM tasks INDEXED BY tasks_expiry
WHERE expires_at <= ? AND expires_at < 9223372036854775807 ORDER BY expires_at LIMIT ?

-- name: task_next_expiry
SELECT expires_at FROM tasks INDEXED BY tasks_expiry
WHERE expires_at > ? AND expires_at < 9223372036854775807 ORDER BY expires_at LIMIT 1

-- name: task_due
SELECT instance, command, visible_at FROM tasks INDEXED BY tasks_queue
WHERE holder = ? AND kind = ? AND visible_at <= ? ORDER BY visible_at LIMIT ?

-- name: task_next_due
SELECT visible_at FROM tasks INDEXED BY tasks_queue
WHERE holder = ? AND kind = ? AND visible_at > ? ORDER BY visible_at LIMIT 1

-- name: task_held
SELECT instance, command FROM tasks INDEXED BY tasks_queue WHERE holder = ? LIMIT ?

-- name: task_hold
UPDATE tasks SET holder = ?3, held_since = ?4, attempt = ?5, expires_at = 9223372036854775807
WHERE instance = ?1 AND command = ?2

-- name: task_release
UPDATE tasks SET holder = ?3, held_since = 0, visible_at = ?4, attempt = ?5, expires_at = ?6, parked = ?7,
	failure = coalesce(?8, failure), details = coalesce(?9, details)
WHERE instance = ?1 AND command = ?2

-- name: task_details
UPDATE tasks SET details = coalesce(?3, details), failure = coalesce(?4, failure)
WHERE instance = ?1 AND command = ?2

-- name: task_delete
DELETE FROM tasks WHERE instance = ? AND command = ?

-- name: task_clear
DELETE FROM tasks WHERE instance = ?

-- name: task_stats
SELECT count(*) FILTER (WHERE holder <= 0), count(*) FILTER (WHERE holder > 0) FROM tasks

-- name: session_get
SELECT node FROM sessions WHERE name = ?

-- name: session_count
SELECT count(*) FROM sessions WHERE node = ?

-- name: session_open
INSERT INTO sessions (node, used_at, name) VALUES (?1, ?2, ?3)

-- name: session_use
UPDATE sessions SET used_at = ?2 WHERE node = ?1 AND name = ?3

-- name: session_close
DELETE FROM sessions WHERE name = ?

-- name: session_list
SELECT name FROM sessions WHERE node = ? LIMIT ?

-- name: session_idle
SELECT name FROM sessions INDEXED BY sessions_node
WHERE node = ?1 AND used_at < ?2 AND name NOT IN (SELECT session FROM tasks INDEXED BY tasks_queue WHERE holder = ?1)

-- The + keeps the queue, of which the session may be a small part, from being
-- what is searched.
-- name: session_move
UPDATE tasks SET holder = ?2 FROM session_tasks
WHERE session_tasks.session = ?3 AND tasks.instance = session_tasks.instance AND tasks.command = session_tasks.command
	AND +tasks.holder = ?1

-- name: session_task_insert
INSERT INTO session_tasks (instance, command, session) VALUES (?1, ?2, ?3)

-- name: session_task_delete
DELETE FROM session_tasks
WHERE session = (SELECT session FROM tasks WHERE instance = ?1 AND command = ?2) AND instance = ?1 AND command = ?2

-- name: session_task_clear
DELETE FROM session_tasks
WHERE (session, instance, command) IN (SELECT session, instance, command FROM tasks WHERE instance = ? AND session <> '')

-- name: status_stats
SELECT status, count(*) FROM instances GROUP BY status

-- The filters of the lists: ?1 after, ?2 a mask of statuses, ?3 name, ?4 name
-- prefix, ?5 version, ?6 created from, ?7 created before, ?8 only failed turns,
-- ?9 ID prefix, ?10 the end of that prefix, ?11 parent, ?12 limit, ?13 waiting
-- since. NULL selects everything.

-- name: list_recent
SELECT key FROM instances
WHERE key < ?1 AND (?2 >> status) & 1 AND created_at >= ?6 AND created_at < ?7
	AND (?8 = 0 OR (failed_at <> 0 AND (closed_at = 0) = (?8 = 1)))
	AND (?9 IS NULL OR substr(id, 1, length(?9)) = ?9)
	AND (?11 IS NULL OR parent_id = ?11)
	AND (coalesce(?3, ?4, ?5) IS NULL OR def IN (SELECT id FROM definitions
		WHERE (?3 IS NULL OR name = ?3) AND (?4 IS NULL OR substr(name, 1, length(?4)) = ?4) AND (?5 IS NULL OR version = ?5)))
ORDER BY key DESC LIMIT ?12

-- name: list_rare
SELECT key FROM instances INDEXED BY instances_rare
WHERE key < ?1 AND status >= 4 AND (?2 >> status) & 1 AND created_at >= ?6 AND created_at < ?7
	AND (?8 = 0 OR (failed_at <> 0 AND (closed_at = 0) = (?8 = 1)))
	AND (?9 IS NULL OR substr(id, 1, length(?9)) = ?9)
	AND (?11 IS NULL OR parent_id = ?11)
	AND (coalesce(?3, ?4, ?5) IS NULL OR def IN (SELECT id FROM definitions
		WHERE (?3 IS NULL OR name = ?3) AND (?4 IS NULL OR substr(name, 1, length(?4)) = ?4) AND (?5 IS NULL OR version = ?5)))
ORDER BY key DESC LIMIT ?12

-- name: list_children
SELECT key FROM instances INDEXED BY instances_parent
WHERE key < ?1 AND (?2 >> status) & 1 AND created_at >= ?6 AND created_at < ?7
	AND (?8 = 0 OR (failed_at <> 0 AND (closed_at = 0) = (?8 = 1)))
	AND (?9 IS NULL OR substr(id, 1, length(?9)) = ?9)
	AND parent_id = ?11
	AND (coalesce(?3, ?4, ?5) IS NULL OR def IN (SELECT id FROM definitions
		WHERE (?3 IS NULL OR name = ?3) AND (?4 IS NULL OR substr(name, 1, length(?4)) = ?4) AND (?5 IS NULL OR version = ?5)))
ORDER BY key DESC LIMIT ?12

-- name: list_ids
SELECT key FROM instances INDEXED BY sqlite_autoindex_instances_1
WHERE id >= ?9 AND id < ?10 AND key < ?1 AND (?2 >> status) & 1 AND created_at >= ?6 AND created_at < ?7
	AND (?8 = 0 OR (failed_at <> 0 AND (closed_at = 0) = (?8 = 1)))
	AND (?11 IS NULL OR parent_id = ?11)
	AND (coalesce(?3, ?4, ?5) IS NULL OR def IN (SELECT id FROM definitions
		WHERE (?3 IS NULL OR name = ?3) AND (?4 IS NULL OR substr(name, 1, length(?4)) = ?4) AND (?5 IS NULL OR version = ?5)))
ORDER BY key DESC LIMIT ?12

-- By definition, because the index has those due of each side by side. What is
-- due later, however much, is not looked at.
-- name: list_waiting
SELECT key FROM instances INDEXED BY instances_wake
WHERE owner = 0 AND wake_at <= ?13 AND wake_at < 9223372036854775807
	AND def IN (SELECT id FROM definitions
		WHERE (?3 IS NULL OR name = ?3) AND (?4 IS NULL OR substr(name, 1, length(?4)) = ?4) AND (?5 IS NULL OR version = ?5))
	AND key < ?1 AND (?2 >> status) & 1 AND created_at >= ?6 AND created_at < ?7
	AND (?8 = 0 OR (failed_at <> 0 AND (closed_at = 0) = (?8 = 1)))
	AND (?9 IS NULL OR substr(id, 1, length(?9)) = ?9)
	AND (?11 IS NULL OR parent_id = ?11)
ORDER BY key DESC LIMIT ?12

-- name: blob_get
SELECT id, put_at, size, EXISTS (SELECT 1 FROM blob_refs WHERE blob_refs.address = blobs.address) FROM blobs WHERE address = ?

-- name: blob_content
SELECT content FROM blob_contents WHERE id = (SELECT id FROM blobs WHERE address = ?)

-- name: blob_insert
INSERT INTO blobs (put_at, size, address) VALUES (?1, ?2, ?3)

-- name: blob_content_insert
INSERT INTO blob_contents (id, content) VALUES (?1, ?2)

-- name: blob_touch
UPDATE blobs SET put_at = ?2 WHERE id = ?1

-- name: blob_delete
DELETE FROM blobs WHERE id = ?

-- name: blob_content_delete
DELETE FROM blob_contents WHERE id = ?

-- name: blob_page
SELECT address, put_at, size, EXISTS (SELECT 1 FROM blob_refs WHERE blob_refs.address = blobs.address) FROM blobs
WHERE address > ?2 ORDER BY address LIMIT ?1

-- name: blob_list
SELECT address, put_at, size, (SELECT count(*) FROM blob_refs WHERE blob_refs.address = blobs.address) FROM blobs
WHERE address > ?2 ORDER BY address LIMIT ?1

-- name: blob_used
SELECT 1 FROM blob_refs WHERE address = ? LIMIT 1

-- name: blob_ref_insert
INSERT INTO blob_refs (instance, address) VALUES (?1, ?2) ON CONFLICT DO NOTHING

-- name: blob_ref_leave
UPDATE blobs SET put_at = ?2 WHERE address IN (SELECT address FROM blob_refs WHERE instance = ?1)

-- name: blob_ref_clear
DELETE FROM blob_refs WHERE instance = ?
