-- So that it can be told for longer than a key is kept who placed an order, in which request and with which key. The version
-- before this one may go on serving meanwhile. No index: two more would cost each order more than the rest of its row.

ALTER TABLE orders
  ADD COLUMN placed_by VARCHAR(128) NULL COMMENT 'principal of the caller',
  ADD COLUMN correlation_id VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'of the request that placed it',
  ADD COLUMN key_hash CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'SHA-256 of the idempotency key, in hex';
