-- Handstamp's tables. Running this again changes nothing.

-- One row for each login: a server and a profile of a user of a tenant.
CREATE TABLE IF NOT EXISTS handstamp_credential (
	id         bytea       PRIMARY KEY, -- a hash of the next four, which may be too long for an index
	tenant     text        NOT NULL,
	user_name  text        NOT NULL,
	server     text        NOT NULL,
	profile    text        NOT NULL,
	value      bytea       NOT NULL,    -- a checksum, and what is stored, sealed where there is a key
	revision   text        NOT NULL,    -- random, and another one with each write
	written_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS handstamp_credential_owner ON handstamp_credential (tenant, user_name);

-- Locks that are held while a user has to do something. They expire unless they are extended.
CREATE TABLE IF NOT EXISTS handstamp_lease (
	id         bytea       NOT NULL, -- of the credential, which need not be there
	name       text        NOT NULL,
	holder     text        NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (id, name)
);
