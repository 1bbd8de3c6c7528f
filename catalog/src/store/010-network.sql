-- What this host knows of the network of peers, and what it still has to tell it.

-- Opinions that no replica has acknowledged yet.
CREATE TABLE outbox (
    seq    INTEGER NOT NULL PRIMARY KEY,  -- the statement's number, as two's complement
    epoch  INTEGER NOT NULL,              -- of the mail's receipt: 15 min since 1970
    signed BLOB    NOT NULL
) WITHOUT ROWID;

-- The address book: membership records, each signed by its host.
CREATE TABLE member (
    node   BLOB NOT NULL PRIMARY KEY,  -- 32 bytes, Ed25519 public key
    record BLOB NOT NULL
) WITHOUT ROWID;

-- Addresses that an administrator joined at.
CREATE TABLE joined (
    address TEXT    NOT NULL PRIMARY KEY,
    added   INTEGER NOT NULL             -- seconds since 1970
) WITHOUT ROWID;

-- Sites whose word an administrator made count.
CREATE TABLE vouched (
    site  BLOB    NOT NULL PRIMARY KEY,  -- 32 bytes, Ed25519 public key
    added INTEGER NOT NULL               -- seconds since 1970
) WITHOUT ROWID;
