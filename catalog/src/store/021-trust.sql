-- What sites are worth here, and why: see catalog/src/trust.

-- Whom sites vouch for, this one too: the latest list of each.
CREATE TABLE vouch_list (
    site   BLOB    NOT NULL PRIMARY KEY,  -- 32 bytes, Ed25519 public key
    made   INTEGER NOT NULL,              -- seconds since 1970
    signed BLOB    NOT NULL
) WITHOUT ROWID;

-- What sites did.
CREATE TABLE record (
    site    BLOB    NOT NULL PRIMARY KEY,  -- 32 bytes, Ed25519 public key
    credit  REAL    NOT NULL,              -- as of `at`, as are the next two
    reports REAL    NOT NULL,
    revokes REAL    NOT NULL,
    at      INTEGER NOT NULL               -- seconds since 1970
) WITHOUT ROWID;

-- Sites that gave one number to two statements, with both.
CREATE TABLE equivocator (
    site   BLOB NOT NULL PRIMARY KEY,  -- 32 bytes, Ed25519 public key
    first  BLOB NOT NULL,
    second BLOB NOT NULL
) WITHOUT ROWID;
