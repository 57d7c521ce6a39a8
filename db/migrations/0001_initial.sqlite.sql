-- Money is integer cents, times are UTC with milliseconds, text compares byte by byte.
-- The same tables as 0001_initial.mysql.sql, in SQLite's types: DATETIME(3) is text in the same form.

CREATE TABLE IF NOT EXISTS customers (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  email TEXT NOT NULL,
  email_key TEXT NULL,
  phone TEXT NULL,
  version INTEGER NOT NULL DEFAULT 1,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  deleted_at TEXT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS customers_email_key ON customers (email_key);

CREATE TABLE IF NOT EXISTS customer_words (
  word TEXT NOT NULL,
  customer_id INTEGER NOT NULL,
  PRIMARY KEY (word, customer_id),
  CONSTRAINT customer_words_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS customer_words_customer ON customer_words (customer_id, word);

CREATE TABLE IF NOT EXISTS products (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sku TEXT NOT NULL,
  name TEXT NOT NULL,
  price_cents INTEGER NOT NULL,
  stock INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  CONSTRAINT products_price_check CHECK (price_cents >= 0),
  CONSTRAINT products_stock_check CHECK (stock >= 0)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS products_sku ON products (sku);

CREATE TABLE IF NOT EXISTS product_words (
  word TEXT NOT NULL,
  product_id INTEGER NOT NULL,
  PRIMARY KEY (word, product_id),
  CONSTRAINT product_words_product_fk FOREIGN KEY (product_id) REFERENCES products (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS product_words_product ON product_words (product_id, word);

CREATE TABLE IF NOT EXISTS stock_adjustments (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  product_id INTEGER NOT NULL,
  delta INTEGER NOT NULL,
  reason TEXT NOT NULL,
  principal TEXT NOT NULL,
  created_at TEXT NOT NULL,
  CONSTRAINT stock_adjustments_product_fk FOREIGN KEY (product_id) REFERENCES products (id)
) STRICT;
CREATE INDEX IF NOT EXISTS stock_adjustments_product ON stock_adjustments (product_id, id);

CREATE TABLE IF NOT EXISTS orders (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  customer_id INTEGER NOT NULL,
  status TEXT NOT NULL,
  total_cents INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  confirmed_at TEXT NULL,
  canceled_at TEXT NULL,
  expires_at TEXT NULL,
  CONSTRAINT orders_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id),
  CONSTRAINT orders_status_check CHECK (status IN ('CREATED', 'CONFIRMED', 'CANCELED')),
  CONSTRAINT orders_total_check CHECK (total_cents >= 0)
) STRICT;
CREATE INDEX IF NOT EXISTS orders_created ON orders (created_at);
CREATE INDEX IF NOT EXISTS orders_customer_created ON orders (customer_id, created_at);
CREATE INDEX IF NOT EXISTS orders_status_created ON orders (status, created_at);
CREATE INDEX IF NOT EXISTS orders_customer_status_created ON orders (customer_id, status, created_at);
CREATE INDEX IF NOT EXISTS orders_holds ON orders (status, expires_at);

CREATE TABLE IF NOT EXISTS order_items (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  order_id INTEGER NOT NULL,
  product_id INTEGER NOT NULL,
  qty INTEGER NOT NULL,
  unit_price_cents INTEGER NOT NULL,
  subtotal_cents INTEGER NOT NULL,
  CONSTRAINT order_items_order_fk FOREIGN KEY (order_id) REFERENCES orders (id),
  CONSTRAINT order_items_product_fk FOREIGN KEY (product_id) REFERENCES products (id),
  CONSTRAINT order_items_qty_check CHECK (qty > 0)
) STRICT;
CREATE INDEX IF NOT EXISTS order_items_order ON order_items (order_id);
CREATE INDEX IF NOT EXISTS order_items_product ON order_items (product_id);

CREATE TABLE IF NOT EXISTS idempotency_keys (
  operation TEXT NOT NULL,
  "key" TEXT NOT NULL,
  principal TEXT NOT NULL,
  request_hash TEXT NOT NULL,
  target_type TEXT NOT NULL,
  target_id INTEGER NOT NULL,
  status INTEGER NOT NULL,
  response_body TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  PRIMARY KEY (operation, "key", principal)
) STRICT;
CREATE INDEX IF NOT EXISTS idempotency_keys_expiry ON idempotency_keys (expires_at);

CREATE TABLE IF NOT EXISTS api_clients (
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  secret_hash TEXT NOT NULL,
  scope TEXT NOT NULL,
  customer_id INTEGER NULL,
  created_at TEXT NOT NULL,
  disabled_at TEXT NULL,
  PRIMARY KEY (id),
  CONSTRAINT api_clients_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id)
) STRICT;
CREATE INDEX IF NOT EXISTS api_clients_customer ON api_clients (customer_id);
