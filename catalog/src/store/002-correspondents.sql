-- Whom this site's people wrote to, and who wrote here: see catalog/src/trace.rs.
CREATE TABLE trace (
    hash      INTEGER NOT NULL PRIMARY KEY,  -- keyed, as two's complement
    kind      INTEGER NOT NULL,
    first_day INTEGER NOT NULL,              -- days since 1970
    last_day  INTEGER NOT NULL
) WITHOUT ROWID;
