-- A site may take part in two networks of peers: what it heard in one is not told in the other.
-- side: 0 the network of the configuration's top level, as it was until now, 1 the private group
-- beside it.

-- Which network each side was when it last ran.
CREATE TABLE network (
    side     INTEGER NOT NULL PRIMARY KEY,
    group_id BLOB    NOT NULL             -- 16 bytes
) WITHOUT ROWID;

CREATE TABLE outbox_of (
    side   INTEGER NOT NULL,
    seq    INTEGER NOT NULL,  -- the statement's number, as two's complement
    epoch  INTEGER NOT NULL,  -- of the mail's receipt: 15 min since 1970
    signed BLOB    NOT NULL,
    PRIMARY KEY (side, seq)
) WITHOUT ROWID;
INSERT INTO outbox_of SELECT 0, seq, epoch, signed FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_of RENAME TO outbox;

CREATE TABLE member_of (
    side   INTEGER NOT NULL,
    node   BLOB    NOT NULL,  -- 32 bytes, Ed25519 public key
    record BLOB    NOT NULL,
    PRIMARY KEY (side, node)
) WITHOUT ROWID;
INSERT INTO member_of SELECT 0, node, record FROM member;
DROP TABLE member;
ALTER TABLE member_of RENAME TO member;

CREATE TABLE joined_of (
    side    INTEGER NOT NULL,
    address TEXT    NOT NULL,
    added   INTEGER NOT NULL,  -- seconds since 1970
    PRIMARY KEY (side, address)
) WITHOUT ROWID;
INSERT INTO joined_of SELECT 0, address, added FROM joined;
DROP TABLE joined;
ALTER TABLE joined_of RENAME TO joined;

CREATE TABLE vouch_list_of (
    side   INTEGER NOT NULL,
    site   BLOB    NOT NULL,  -- 32 bytes, Ed25519 public key
    made   INTEGER NOT NULL,  -- seconds since 1970
    signed BLOB    NOT NULL,
    PRIMARY KEY (side, site)
) WITHOUT ROWID;
INSERT INTO vouch_list_of SELECT 0, site, made, signed FROM vouch_list;
DROP TABLE vouch_list;
ALTER TABLE vouch_list_of RENAME TO vouch_list;

CREATE TABLE equivocator_of (
    side   INTEGER NOT NULL,
    site   BLOB    NOT NULL,  -- 32 bytes, Ed25519 public key
    first  BLOB    NOT NULL,
    second BLOB    NOT NULL,
    PRIMARY KEY (side, site)
) WITHOUT ROWID;
INSERT INTO equivocator_of SELECT 0, site, first, second FROM equivocator;
DROP TABLE equivocator;
ALTER TABLE equivocator_of RENAME TO equivocator;
