-- Endpoints of others to which events are sent, what was sent to them, and what they answered.

CREATE TABLE IF NOT EXISTS webhook_endpoints (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  url VARCHAR(2048) NOT NULL,
  description VARCHAR(500) NULL,
  event_types TEXT NOT NULL COMMENT 'JSON: patterns such as order.*',
  customer_id BIGINT NULL COMMENT 'only events that this customer may see; NULL: all',
  status VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'enabled, disabled, or deleted',
  disabled_reason VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'requested, gone or failing',
  secret TEXT NOT NULL COMMENT 'encrypted',
  old_secret TEXT NULL COMMENT 'encrypted; signs too until old_secret_until',
  old_secret_until DATETIME(3) NULL,
  `cursor` BIGINT NOT NULL COMMENT 'position in the feed up to which deliveries are made',
  paused_until DATETIME(3) NULL COMMENT 'it asked for a pause',
  last_success_at DATETIME(3) NULL,
  enabled_at DATETIME(3) NOT NULL COMMENT 'the last time that it was enabled',
  version INT NOT NULL DEFAULT 1,
  created_at DATETIME(3) NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  KEY webhook_endpoints_customer (customer_id),
  KEY webhook_endpoints_status (status)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS webhook_deliveries (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  endpoint_id BIGINT NOT NULL,
  event_id BIGINT NOT NULL,
  event_type VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  position BIGINT NOT NULL COMMENT 'of the event',
  resource_type VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  resource_id BIGINT NOT NULL,
  status VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'pending, succeeded or failed',
  tries INT NOT NULL DEFAULT 0 COMMENT 'attempts since it was last made or sent again',
  next_attempt_at DATETIME(3) NULL COMMENT 'NULL while it waits for an earlier one of its resource, and when it is done',
  lease VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'of the dispatcher that sends it',
  leased_until DATETIME(3) NULL,
  created_at DATETIME(3) NOT NULL,
  finished_at DATETIME(3) NULL,
  UNIQUE KEY webhook_deliveries_event (endpoint_id, event_id),
  KEY webhook_deliveries_due (endpoint_id, status, next_attempt_at),
  KEY webhook_deliveries_leased (endpoint_id, leased_until),
  KEY webhook_deliveries_resource (endpoint_id, status, resource_type, resource_id, position),
  KEY webhook_deliveries_created (endpoint_id, created_at),
  KEY webhook_deliveries_status (endpoint_id, status, created_at),
  KEY webhook_deliveries_finished (finished_at),
  CONSTRAINT webhook_deliveries_endpoint_fk FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS webhook_attempts (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  delivery_id BIGINT NOT NULL,
  attempted_at DATETIME(3) NOT NULL,
  status INT NULL COMMENT 'of the answer; NULL: none came',
  duration_ms INT NOT NULL,
  error VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NULL,
  excerpt TEXT NOT NULL COMMENT 'the begin of the answer',
  KEY webhook_attempts_delivery (delivery_id),
  CONSTRAINT webhook_attempts_delivery_fk FOREIGN KEY (delivery_id) REFERENCES webhook_deliveries (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
