-- What happened, for others to hear: each change writes an event in its own transaction. The version before this one may go on
-- serving meanwhile: what it does has no events, see docs/operations.md.

CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  -- Its place in the feed, given after the commit; 0: none yet.
  position INTEGER NOT NULL DEFAULT 0,
  -- Such as order.placed.
  type TEXT NOT NULL,
  resource_type TEXT NOT NULL,
  resource_id INTEGER NOT NULL,
  -- Of the resource after the change.
  resource_version INTEGER NOT NULL,
  -- Whose bound clients may see it.
  customer_id INTEGER NULL,
  -- Principal of the caller, or system:…
  actor TEXT NOT NULL,
  correlation_id TEXT NULL,
  traceparent TEXT NULL,
  reason TEXT NULL,
  -- JSON.
  data TEXT NOT NULL,
  occurred_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_position ON events (position);
CREATE UNIQUE INDEX IF NOT EXISTS events_resource ON events (resource_type, resource_id, resource_version, type);

CREATE TABLE IF NOT EXISTS event_feed (
  -- 1.
  id INTEGER NOT NULL PRIMARY KEY,
  -- Of the last event that has one.
  position INTEGER NOT NULL,
  -- Orders placed before have no events.
  started_at TEXT NOT NULL,
  -- What an older version did before to products and customers has no events.
  backfilled_at TEXT NULL
) STRICT;
INSERT OR IGNORE INTO event_feed (id, position, started_at) VALUES (1, 0, strftime('%Y-%m-%d %H:%M:%f', 'now'));

-- A stock that falls to this is low.
ALTER TABLE products ADD COLUMN stock_low_at INTEGER NULL;
