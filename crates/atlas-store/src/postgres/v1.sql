-- The first version of the tables. Every key begins with the tenant, and every table shows and takes
-- the rows of one tenant only: the one that the transaction named. `tenants`, names and counters
-- without content, can also be read as a directory, by a transaction that says so.

CREATE TABLE atlasai.tenants (
    tenant text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL DEFAULT 0,
    numbers bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE atlasai.records (
    tenant text COLLATE "C" NOT NULL,
    num bigint NOT NULL,
    corpus smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    at_us bigint NOT NULL,
    service text COLLATE "C",
    severity text COLLATE "C",
    source text COLLATE "C",
    status text COLLATE "C",
    link text COLLATE "C",
    labels bytea NOT NULL,
    title text COLLATE "C" NOT NULL,
    text text COLLATE "C" NOT NULL,
    body text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    created_us bigint NOT NULL,
    updated_us bigint NOT NULL,
    PRIMARY KEY (tenant, num)
);
CREATE UNIQUE INDEX records_key ON atlasai.records (tenant, corpus, id);
CREATE UNIQUE INDEX records_change ON atlasai.records (tenant, corpus, seq);
CREATE INDEX records_time ON atlasai.records (tenant, corpus, at_us DESC, id);
CREATE INDEX records_link ON atlasai.records (tenant, corpus, link, at_us DESC, id) WHERE link IS NOT NULL;

CREATE TABLE atlasai.tombstones (
    tenant text COLLATE "C" NOT NULL,
    corpus smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (tenant, corpus, id)
);
CREATE UNIQUE INDEX tombstones_change ON atlasai.tombstones (tenant, corpus, seq);

CREATE TABLE atlasai.chunks (
    tenant text COLLATE "C" NOT NULL,
    id bigint NOT NULL,
    record bigint NOT NULL,
    ordinal integer NOT NULL,
    heading text COLLATE "C" NOT NULL,
    text text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, record) REFERENCES atlasai.records (tenant, num) ON DELETE CASCADE
);
CREATE INDEX chunks_record ON atlasai.chunks (tenant, record, ordinal);

-- Vectors up to 2,000 components stay in their row: fetching each from beside the table would cost
-- a scan several times over.
CREATE TABLE atlasai.vectors (
    tenant text COLLATE "C" NOT NULL,
    space text COLLATE "C" NOT NULL,
    chunk bigint NOT NULL,
    corpus smallint NOT NULL,
    record bigint NOT NULL,
    data vector NOT NULL,
    PRIMARY KEY (tenant, chunk, space),
    FOREIGN KEY (tenant, chunk) REFERENCES atlasai.chunks (tenant, id) ON DELETE CASCADE
) WITH (toast_tuple_target = 8160);
CREATE INDEX vectors_space ON atlasai.vectors (tenant, space, corpus, record);

-- Who may read, change and write back at the moment. `presence` is an advisory lock that the holder's
-- process has for as long as it lives. Unlogged: taking a turn waits for no disk, and a database that
-- crashed has ended every turn.
CREATE UNLOGGED TABLE atlasai.turns (
    tenant text COLLATE "C" NOT NULL,
    what text COLLATE "C" NOT NULL,
    holder text COLLATE "C" NOT NULL,
    presence bigint NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (tenant, what)
);

ALTER TABLE atlasai.tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE atlasai.records ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE atlasai.tombstones ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE atlasai.chunks ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE atlasai.vectors ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE atlasai.turns ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON atlasai.turns USING (tenant = current_setting('atlasai.tenant', true));
CREATE POLICY one_tenant ON atlasai.tenants USING (tenant = current_setting('atlasai.tenant', true));
CREATE POLICY directory ON atlasai.tenants FOR SELECT USING (current_setting('atlasai.tenant', true) = '*');
CREATE POLICY one_tenant ON atlasai.records USING (tenant = current_setting('atlasai.tenant', true));
CREATE POLICY one_tenant ON atlasai.tombstones USING (tenant = current_setting('atlasai.tenant', true));
CREATE POLICY one_tenant ON atlasai.chunks USING (tenant = current_setting('atlasai.tenant', true));
CREATE POLICY one_tenant ON atlasai.vectors USING (tenant = current_setting('atlasai.tenant', true));
