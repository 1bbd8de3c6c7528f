-- Statements by the place that a witness has: one row for the newest version of each.
CREATE TABLE statement (
    site      BLOB    NOT NULL,  -- 32 bytes, Ed25519 public key
    mail      INTEGER NOT NULL,  -- the site's number of the mail, as two's complement
    class     INTEGER NOT NULL,  -- 0 sighting, 1 opinion
    network   INTEGER NOT NULL,  -- where the site was observed, as two's complement
    kept_from INTEGER NOT NULL,  -- epoch (15 min since 1970) from which it is kept
    nilsimsa  BLOB,              -- 32 bytes, where known
    signed    BLOB    NOT NULL,  -- the statement's bytes with its signature
    PRIMARY KEY (site, mail, class, network)
) WITHOUT ROWID;
CREATE INDEX statement_kept_from ON statement (kept_from);

-- What each person of this site said of each of its mails.
CREATE TABLE act (
    mail          INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    administrator INTEGER NOT NULL,  -- 0 or 1
    act           INTEGER NOT NULL,  -- 1 report, 2 trap report, 3 revoke
    acted         INTEGER NOT NULL,  -- seconds since 1970
    PRIMARY KEY (mail, name)
) WITHOUT ROWID;

-- Senders that this site always lets pass.
CREATE TABLE allow (
    pattern TEXT    NOT NULL PRIMARY KEY,  -- address, @domain or list id, lower case
    added   INTEGER NOT NULL               -- seconds since 1970
) WITHOUT ROWID;

-- One row. An emptied database has none, which is how it is told from a new one.
CREATE TABLE instance (
    only_row     INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    site         BLOB    NOT NULL,
    created      INTEGER NOT NULL,  -- seconds since 1970
    seq_reserved INTEGER NOT NULL   -- numbers below this one may have been given to statements;
                                    -- begins at created * 1024, so that a database made anew
                                    -- never gives a number again
) WITHOUT ROWID;
