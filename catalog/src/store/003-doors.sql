-- On which mail a person acted, so that his list can name it to him. 0: before this was kept.
ALTER TABLE act ADD COLUMN received INTEGER NOT NULL DEFAULT 0;  -- seconds since 1970
ALTER TABLE act ADD COLUMN digest   INTEGER NOT NULL DEFAULT 0;  -- first digest, two's complement

-- Mail clients that may speak for a user over the TCP door.
CREATE TABLE token (
    hash  BLOB    NOT NULL PRIMARY KEY,  -- 32 bytes, BLAKE3 of the token, which is kept nowhere
    user  TEXT    NOT NULL,
    label TEXT    NOT NULL,              -- what the client calls itself
    made  INTEGER NOT NULL               -- seconds since 1970
) WITHOUT ROWID;
