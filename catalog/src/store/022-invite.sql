-- Invitations that this site gave, for one site each.
CREATE TABLE invite (
    id          BLOB    NOT NULL PRIMARY KEY,  -- 8 bytes, from the secret
    secret      BLOB    NOT NULL,              -- 16 bytes
    until       INTEGER NOT NULL,              -- seconds since 1970
    note        TEXT    NOT NULL,              -- for whom, in the administrator's words
    accepted_by BLOB                           -- 32 bytes, the site that accepted it
) WITHOUT ROWID;
