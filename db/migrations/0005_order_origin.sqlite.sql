-- So that it can be told for longer than a key is kept who placed an order, in which request and with which key. The version
-- before this one may go on serving meanwhile. No index: two more would cost each order more than the rest of its row.

-- The principal of the caller.
ALTER TABLE orders ADD COLUMN placed_by TEXT NULL;
-- Of the request that placed it.
ALTER TABLE orders ADD COLUMN correlation_id TEXT NULL;
-- SHA-256 of the idempotency key, in hex.
ALTER TABLE orders ADD COLUMN key_hash TEXT NULL;
