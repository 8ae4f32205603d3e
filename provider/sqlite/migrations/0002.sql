-- Schema 2: what instances publish. instances.extras says whether an
-- instance has rows here: bit 2 for named_values, bit 3 for replies.

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
