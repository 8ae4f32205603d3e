-- Schema 3: large values beside the histories, and which instances refer to
-- them. Bit 5 of instances.extras says whether an instance has rows here.

-- A content is apart from what changes when it is put again, which would write
-- it anew.
CREATE TABLE blobs (
	id      INTEGER PRIMARY KEY,
	put_at  INTEGER NOT NULL,
	size    INTEGER NOT NULL,
	address BLOB NOT NULL UNIQUE
);

CREATE TABLE blob_contents (
	id      INTEGER PRIMARY KEY,
	content BLOB NOT NULL
);

CREATE TABLE blob_refs (
	instance INTEGER NOT NULL,
	address  BLOB NOT NULL,
	PRIMARY KEY (instance, address)
) WITHOUT ROWID;

CREATE INDEX blob_refs_address ON blob_refs (address);
