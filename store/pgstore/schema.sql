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

-- When credentials are to be refreshed ahead of a request. A row is here while its login can be
-- refreshed and its user is at work.
CREATE TABLE IF NOT EXISTS handstamp_due (
	id        bytea       PRIMARY KEY REFERENCES handstamp_credential ON DELETE CASCADE,
	due_group text        NOT NULL, -- the authorization server
	due_at    timestamptz NOT NULL, -- a claim puts it off
	used_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS handstamp_due_next ON handstamp_due (due_group, due_at);
