-- What happened, for others to hear: each change writes an event in its own transaction. The version before this one may go on
-- serving meanwhile: what it does has no events, see docs/operations.md.

CREATE TABLE IF NOT EXISTS events (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  position BIGINT NOT NULL DEFAULT 0 COMMENT 'its place in the feed, given after the commit; 0: none yet',
  type VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'such as order.placed',
  resource_type VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  resource_id BIGINT NOT NULL,
  resource_version INT NOT NULL COMMENT 'of the resource after the change',
  customer_id BIGINT NULL COMMENT 'whose bound clients may see it',
  actor VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'principal of the caller, or system:…',
  correlation_id VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NULL,
  traceparent VARCHAR(55) CHARACTER SET ascii COLLATE ascii_bin NULL,
  reason VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NULL,
  data MEDIUMTEXT NOT NULL COMMENT 'JSON',
  occurred_at DATETIME(3) NOT NULL,
  KEY events_position (position),
  UNIQUE KEY events_resource (resource_type, resource_id, resource_version, type)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS event_feed (
  id TINYINT NOT NULL PRIMARY KEY COMMENT '1',
  position BIGINT NOT NULL COMMENT 'of the last event that has one',
  started_at DATETIME(3) NOT NULL COMMENT 'orders placed before have no events',
  backfilled_at DATETIME(3) NULL COMMENT 'what an older version did before to products and customers has no events'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT IGNORE INTO event_feed (id, position, started_at) VALUES (1, 0, UTC_TIMESTAMP(3));

ALTER TABLE products ADD COLUMN stock_low_at BIGINT NULL COMMENT 'a stock that falls to this is low';
