-- What was learnt of people: how often wanted bulk is reported by mistake.
CREATE TABLE learned_rate (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    reports  REAL    NOT NULL,
    copies   REAL    NOT NULL,
    until    INTEGER NOT NULL  -- epoch (15 min since 1970) up to which mails were counted
) WITHOUT ROWID;

-- What is common in this site's own accepted mail: see catalog/src/feature.rs.
CREATE TABLE feature (
    hash         INTEGER NOT NULL PRIMARY KEY,  -- keyed, as two's complement
    days         INTEGER NOT NULL,
    first_day    INTEGER NOT NULL,              -- days since 1970
    last_day     INTEGER NOT NULL,
    reported_day INTEGER NOT NULL               -- 0: never
) WITHOUT ROWID;
