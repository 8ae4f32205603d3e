-- Schema 2: large values beside the histories, and which instances refer to
-- them. The shard of both comes from the address: what is asked all the time is
-- whether anybody refers to a blob, and what an instance refers to only when it
-- is deleted.

CREATE TABLE schema.blobs (
	shard   integer NOT NULL,
	address bytea NOT NULL,
	put_at  bigint NOT NULL,
	size    bigint NOT NULL,
	content bytea NOT NULL,
	PRIMARY KEY (shard, address)
);

CREATE TABLE schema.blob_refs (
	shard   integer NOT NULL,
	address bytea NOT NULL,
	key     bigint NOT NULL,
	PRIMARY KEY (shard, address, key)
);

CREATE INDEX blob_refs_instance ON schema.blob_refs (shard, key);
