-- Endpoints of others to which events are sent, what was sent to them, and what they answered.

CREATE TABLE IF NOT EXISTS webhook_endpoints (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  url TEXT NOT NULL,
  description TEXT NULL,
  -- JSON: patterns such as order.*
  event_types TEXT NOT NULL,
  -- Only events that this customer may see; NULL: all.
  customer_id INTEGER NULL,
  -- Enabled, disabled, or deleted.
  status TEXT NOT NULL,
  -- Requested, gone or failing.
  disabled_reason TEXT NULL,
  -- Encrypted.
  secret TEXT NOT NULL,
  -- Encrypted; signs too until old_secret_until.
  old_secret TEXT NULL,
  old_secret_until TEXT NULL,
  -- Position in the feed up to which deliveries are made.
  cursor INTEGER NOT NULL,
  -- It asked for a pause.
  paused_until TEXT NULL,
  last_success_at TEXT NULL,
  -- The last time that it was enabled.
  enabled_at TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS webhook_endpoints_customer ON webhook_endpoints (customer_id);
CREATE INDEX IF NOT EXISTS webhook_endpoints_status ON webhook_endpoints (status);

CREATE TABLE IF NOT EXISTS webhook_deliveries (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  endpoint_id INTEGER NOT NULL,
  event_id INTEGER NOT NULL,
  event_type TEXT NOT NULL,
  -- Of the event.
  position INTEGER NOT NULL,
  resource_type TEXT NOT NULL,
  resource_id INTEGER NOT NULL,
  -- Pending, succeeded or failed.
  status TEXT NOT NULL,
  -- Attempts since it was last made or sent again.
  tries INTEGER NOT NULL DEFAULT 0,
  -- NULL while it waits for an earlier one of its resource, and when it is done.
  next_attempt_at TEXT NULL,
  -- Of the dispatcher that sends it.
  lease TEXT NULL,
  leased_until TEXT NULL,
  created_at TEXT NOT NULL,
  finished_at TEXT NULL,
  CONSTRAINT webhook_deliveries_endpoint_fk FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints (id)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS webhook_deliveries_event ON webhook_deliveries (endpoint_id, event_id);
CREATE INDEX IF NOT EXISTS webhook_deliveries_due ON webhook_deliveries (endpoint_id, status, next_attempt_at);
CREATE INDEX IF NOT EXISTS webhook_deliveries_leased ON webhook_deliveries (endpoint_id, leased_until);
CREATE INDEX IF NOT EXISTS webhook_deliveries_resource ON webhook_deliveries (endpoint_id, status, resource_type, resource_id, position);
CREATE INDEX IF NOT EXISTS webhook_deliveries_created ON webhook_deliveries (endpoint_id, created_at);
CREATE INDEX IF NOT EXISTS webhook_deliveries_status ON webhook_deliveries (endpoint_id, status, created_at);
CREATE INDEX IF NOT EXISTS webhook_deliveries_finished ON webhook_deliveries (finished_at);

CREATE TABLE IF NOT EXISTS webhook_attempts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  delivery_id INTEGER NOT NULL,
  attempted_at TEXT NOT NULL,
  -- Of the answer; NULL: none came.
  status INTEGER NULL,
  duration_ms INTEGER NOT NULL,
  error TEXT NULL,
  -- The begin of the answer.
  excerpt TEXT NOT NULL,
  CONSTRAINT webhook_attempts_delivery_fk FOREIGN KEY (delivery_id) REFERENCES webhook_deliveries (id)
) STRICT;
CREATE INDEX IF NOT EXISTS webhook_attempts_delivery ON webhook_attempts (delivery_id);
