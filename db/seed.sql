-- Demo data for both engines. `seed` in src/compose/demo-data.ts inserts it into an empty database, in one transaction.
-- The four orders balance with the stock, which is the adjustments less the quantities of live orders. The examples of
-- /docs remove customer 4, confirm order 2 and cancel order 4. The next order gets id 5, the next event position 15, the
-- next webhook endpoint id 3.

INSERT INTO customers (id, name, email, email_key, phone, created_at, updated_at) VALUES
  (1, 'ACME Corp', 'ops@acme.com', 'ops@acme.com', '555-1234', '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'),
  (2, 'Café Núñez', 'compras@cafenunez.example', 'compras@cafenunez.example', NULL, '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'),
  (3, 'Globex Wholesale', 'orders@globex.example', 'orders@globex.example', '555-9876', '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'),
  (4, 'Hooli Retail', 'closed@hooli.example', 'closed@hooli.example', NULL, '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000');

INSERT INTO customer_words (word, customer_id) VALUES
  ('acme', 1), ('corp', 1), ('ops', 1), ('com', 1),
  ('cafe', 2), ('nunez', 2), ('compras', 2), ('cafenunez', 2), ('example', 2),
  ('globex', 3), ('wholesale', 3), ('orders', 3), ('example', 3),
  ('hooli', 4), ('retail', 4), ('closed', 4), ('example', 4);

INSERT INTO products (id, sku, sku_key, name, price_cents, stock, min_qty, qty_step, unit, created_at, updated_at) VALUES
  (1, 'LAP-15', 'lap-15', 'Laptop 15"', 129900, 4995, 1, 1, 'pc', '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'),
  (2, 'MON-27', 'mon-27', 'Monitor 27"', 34900, 998, 1, 1, 'pc', '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'),
  (3, 'CAB-USBC', 'cab-usbc', 'Cable USB-C 2 m', 990, 20000, 1, 1, 'pc', '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'),
  (4, 'PAPER-A4', 'paper-a4', 'Copy paper A4', 450, 2400, 12, 12, 'pack', '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000');

INSERT INTO product_words (word, product_id) VALUES
  ('lap', 1), ('15', 1), ('laptop', 1),
  ('mon', 2), ('27', 2), ('monitor', 2),
  ('cab', 3), ('usbc', 3), ('cable', 3), ('usb', 3), ('c', 3), ('2', 3), ('m', 3),
  ('paper', 4), ('a4', 4), ('copy', 4);

-- No caller has the principal `seed`. These rows mark a database with demo data.
INSERT INTO stock_adjustments (id, product_id, delta, reason, principal, created_at) VALUES
  (1, 1, 5000, 'initial stock', 'seed', '2026-01-05 09:00:00.000'),
  (2, 2, 1000, 'initial stock', 'seed', '2026-01-05 09:00:00.000'),
  (3, 3, 20000, 'initial stock', 'seed', '2026-01-05 09:00:00.000'),
  (4, 4, 2400, 'initial stock', 'seed', '2026-01-05 09:00:00.000');

INSERT INTO orders (id, customer_id, status, total_cents, created_at, confirmed_at, canceled_at, expires_at, version) VALUES
  (1, 1, 'CONFIRMED', 259800, '2026-01-07 10:15:00.000', '2026-01-07 10:15:01.000', NULL, NULL, 2),
  (2, 2, 'CREATED', 69800, '2026-01-08 11:30:00.000', NULL, NULL, '2099-12-31 23:59:59.000', 1),
  (3, 3, 'CANCELED', 9900, '2026-01-09 12:45:00.000', NULL, '2026-01-10 12:45:00.000', '2026-01-10 12:45:00.000', 2),
  (4, 1, 'CREATED', 389700, '2026-01-12 08:05:00.000', NULL, NULL, '2099-12-31 23:59:59.000', 1);

-- What an ERP sends with an order.
UPDATE orders
SET po_number = 'ACME-2026-001', po_key = 'acme-2026-001', po_slot = 0,
  ship_to = '{"name":"ACME Corp, warehouse 2","line1":"Dock Road 12","line2":null,"city":"Hamburg","region":null,"postal_code":"20457","country":"DE"}'
WHERE id = 1;
UPDATE orders
SET ship_to = '{"name":"Globex Wholesale","line1":"Harbour Road 12","line2":"Gate 3","city":"Rotterdam","region":null,"postal_code":"3011 AA","country":"NL"}'
WHERE id = 3;

INSERT INTO order_items (id, order_id, product_id, qty, unit_price_cents, subtotal_cents, sku, name) VALUES
  (1, 1, 1, 2, 129900, 259800, 'LAP-15', 'Laptop 15"'),
  (2, 2, 2, 2, 34900, 69800, 'MON-27', 'Monitor 27"'),
  (3, 3, 3, 10, 990, 9900, 'CAB-USBC', 'Cable USB-C 2 m'),
  (4, 4, 1, 3, 129900, 389700, 'LAP-15', 'Laptop 15"');

-- What happened, in the order in which it happened. The JSON is what the services would write.
INSERT INTO events (id, position, type, resource_type, resource_id, resource_version, customer_id, actor, data, occurred_at)
SELECT id, id, 'customer.created', 'customer', id, 1, id, 'system:seed',
  json_object('customer', json_object('id', id, 'name', name, 'email', email, 'phone', phone, 'external_id', NULL,
    'po_policy', 'unique', 'created_at', '2026-01-05T09:00:00.000Z', 'updated_at', '2026-01-05T09:00:00.000Z',
    'version', 1)),
  created_at
FROM customers;

-- The engines have no common way to write true.
INSERT INTO events (id, position, type, resource_type, resource_id, resource_version, customer_id, actor, data, occurred_at)
SELECT 4 + p.id, 4 + p.id, 'product.created', 'product', p.id, 1, NULL, 'system:seed',
  replace(json_object('product', json_object('id', p.id, 'sku', sku, 'name', name, 'price_cents', price_cents,
    'stock', delta, 'active', 'TRUE', 'min_qty', min_qty, 'qty_step', qty_step, 'max_qty', NULL, 'unit', unit,
    'stock_low_at', NULL, 'created_at', '2026-01-05T09:00:00.000Z', 'updated_at', '2026-01-05T09:00:00.000Z',
    'version', 1)), '"TRUE"', 'true'),
  p.created_at
FROM products p JOIN stock_adjustments a ON a.product_id = p.id;

INSERT INTO events (id, position, type, resource_type, resource_id, resource_version, customer_id, actor, data, occurred_at)
SELECT placed.position, placed.position, 'order.placed', 'order', o.id, 1, customer_id, 'system:seed',
  json_object('order', json_object('id', o.id, 'customer_id', customer_id, 'status', 'CREATED', 'total_cents', total_cents,
    'items', json_array(json_object('product_id', product_id, 'qty', qty, 'unit_price_cents', unit_price_cents,
      'subtotal_cents', subtotal_cents, 'line', 1, 'sku', sku, 'name', name)),
    'created_at', placed.at, 'confirmed_at', NULL, 'canceled_at', NULL, 'expires_at', placed.expires_at,
    'po_number', po_number, 'requested_delivery_date', NULL, 'ship_to', json_extract(ship_to, '$'), 'notes', NULL,
    'metadata', NULL, 'currency', NULL, 'placed_by', NULL, 'version', 1)),
  created_at
FROM orders o
JOIN order_items i ON i.order_id = o.id
JOIN (
  SELECT 1 AS id, 9 AS position, '2026-01-07T10:15:00.000Z' AS at, '2026-01-08T10:15:00.000Z' AS expires_at UNION ALL
  SELECT 2, 11, '2026-01-08T11:30:00.000Z', '2099-12-31T23:59:59.000Z' UNION ALL
  SELECT 3, 12, '2026-01-09T12:45:00.000Z', '2026-01-10T12:45:00.000Z' UNION ALL
  SELECT 4, 14, '2026-01-12T08:05:00.000Z', '2099-12-31T23:59:59.000Z'
) placed ON placed.id = o.id;

INSERT INTO events (id, position, type, resource_type, resource_id, resource_version, customer_id, actor, data, occurred_at)
SELECT 10, 10, 'order.confirmed', 'order', 1, 2, customer_id, 'system:seed',
  json_set(data, '$.order.status', 'CONFIRMED', '$.order.confirmed_at', '2026-01-07T10:15:01.000Z',
    '$.order.expires_at', NULL, '$.order.version', 2,
    '$.previous', json_object('status', 'CREATED', 'confirmed_at', NULL, 'expires_at', '2026-01-08T10:15:00.000Z')),
  '2026-01-07 10:15:01.000'
FROM events WHERE position = 9;

INSERT INTO events
  (id, position, type, resource_type, resource_id, resource_version, customer_id, actor, reason, data, occurred_at)
SELECT 13, 13, 'order.canceled', 'order', 3, 2, customer_id, 'system:holds', 'hold_expired',
  json_set(data, '$.order.status', 'CANCELED', '$.order.canceled_at', '2026-01-10T12:45:00.000Z', '$.order.version', 2,
    '$.previous', json_object('status', 'CREATED', 'canceled_at', NULL), '$.reason', 'hold_expired'),
  '2026-01-10 12:45:00.000'
FROM events WHERE position = 12;

UPDATE event_feed SET position = 14, started_at = '2026-01-05 09:00:00.000' WHERE id = 1;

-- Two endpoints on this machine that are switched off, so nothing is sent. Their secrets are encrypted with the published key.
-- The examples of /docs use the first and delete the second. Its deliveries wait: they are never too old to be kept.
INSERT INTO webhook_endpoints
  (id, url, description, event_types, customer_id, status, disabled_reason, secret, `cursor`, enabled_at, version, created_at, updated_at) VALUES
  (1, 'http://127.0.0.1:4000', 'Orders to the ERP', '["order.*"]', NULL, 'disabled', 'requested',
    'v1.U3Dx0wdR.gxQrJ92hekCFZ9QsWtVza-QOG1CwFW0MqfsmeD4_F2wZ-ZuKcb7wxVcbGKAgxMpTCuBKbeXhFS_AISEyk1bjD6paqJF3Jndy0fh_Y56v',
    10, '2026-01-05 09:00:00.000', 2, '2026-01-05 09:00:00.000', '2026-01-07 10:30:00.000'),
  (2, 'http://127.0.0.1:4000', 'Orders to the ERP before', '["order.*"]', NULL, 'disabled', 'requested',
    'v1.U3Dx0wdR.uiSket60WHagzQTEsidKEQslsKkkjmVVzemJ7P7VfkLHG2Y5DZveYjqtxPUVpue3jdBCL_Xynpv5pnb0r2kRFI1hAEVEiQrkA5qoXJp-',
    8, '2026-01-05 09:00:00.000', 2, '2026-01-05 09:00:00.000', '2026-01-06 09:00:00.000');

INSERT INTO webhook_deliveries
  (id, endpoint_id, event_id, event_type, position, resource_type, resource_id, status, tries, next_attempt_at, created_at) VALUES
  (1, 1, 9, 'order.placed', 9, 'order', 1, 'pending', 1, '2026-01-07 10:15:06.000', '2026-01-07 10:15:01.000'),
  (2, 1, 10, 'order.confirmed', 10, 'order', 1, 'pending', 0, NULL, '2026-01-07 10:15:02.000');

INSERT INTO webhook_attempts (id, delivery_id, attempted_at, status, duration_ms, error, excerpt) VALUES
  (1, 1, '2026-01-07 10:15:01.100', 503, 31, NULL, 'closed for the night');

-- The demo client has all scopes. Its id is `demo`, its secret `demo-secret`. Production refuses it.
INSERT INTO api_clients (id, name, secret_hash, scope, customer_id, created_at) VALUES
  ('demo', 'Demo', 'cd577fe2561ebff23505db0bb006300c7cdecbd46bc0e03c449afafaca2c25bf', 'customers:read customers:write products:read products:write orders:read orders:write support:read events:read webhooks:read webhooks:write', NULL, '2026-01-05 09:00:00.000');
