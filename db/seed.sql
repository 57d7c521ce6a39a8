-- Demo data, for both engines. Each row goes in only where it is missing, so this may be run twice.
-- The four orders balance with the stock: what was adjusted, less what live orders took, is what is there.
-- The examples of /docs remove customer 4, confirm order 2 and cancel order 4. The first order that is placed is the fifth.

INSERT INTO customers (id, name, email, email_key, phone, created_at, updated_at)
SELECT 1, 'ACME Corp', 'ops@acme.com', 'ops@acme.com', '555-1234', '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM customers WHERE id = 1);

INSERT INTO customers (id, name, email, email_key, phone, created_at, updated_at)
SELECT 2, 'Café Núñez', 'compras@cafenunez.example', 'compras@cafenunez.example', NULL, '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM customers WHERE id = 2);

INSERT INTO customers (id, name, email, email_key, phone, created_at, updated_at)
SELECT 3, 'Globex Wholesale', 'orders@globex.example', 'orders@globex.example', '555-9876', '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM customers WHERE id = 3);

INSERT INTO customers (id, name, email, email_key, phone, created_at, updated_at)
SELECT 4, 'Hooli Retail', 'closed@hooli.example', 'closed@hooli.example', NULL, '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM customers WHERE id = 4);

INSERT INTO customer_words (word, customer_id)
SELECT w.word, w.customer_id FROM (
  SELECT 'acme' AS word, 1 AS customer_id UNION ALL SELECT 'corp', 1 UNION ALL SELECT 'ops', 1 UNION ALL SELECT 'com', 1
  UNION ALL SELECT 'cafe', 2 UNION ALL SELECT 'nunez', 2 UNION ALL SELECT 'compras', 2 UNION ALL SELECT 'cafenunez', 2 UNION ALL SELECT 'example', 2
  UNION ALL SELECT 'globex', 3 UNION ALL SELECT 'wholesale', 3 UNION ALL SELECT 'orders', 3 UNION ALL SELECT 'example', 3
  UNION ALL SELECT 'hooli', 4 UNION ALL SELECT 'retail', 4 UNION ALL SELECT 'closed', 4 UNION ALL SELECT 'example', 4
) AS w WHERE NOT EXISTS (SELECT 1 FROM customer_words AS known WHERE known.customer_id = w.customer_id AND known.word = w.word);

INSERT INTO products (id, sku, name, price_cents, stock, created_at, updated_at)
SELECT 1, 'LAP-15', 'Laptop 15"', 129900, 4995, '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM products WHERE id = 1);

INSERT INTO products (id, sku, name, price_cents, stock, created_at, updated_at)
SELECT 2, 'MON-27', 'Monitor 27"', 34900, 998, '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM products WHERE id = 2);

INSERT INTO products (id, sku, name, price_cents, stock, created_at, updated_at)
SELECT 3, 'CAB-USBC', 'Cable USB-C 2 m', 990, 20000, '2026-01-05 09:00:00.000', '2026-01-05 09:00:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM products WHERE id = 3);

INSERT INTO product_words (word, product_id)
SELECT w.word, w.product_id FROM (
  SELECT 'lap' AS word, 1 AS product_id UNION ALL SELECT '15', 1 UNION ALL SELECT 'laptop', 1
  UNION ALL SELECT 'mon', 2 UNION ALL SELECT '27', 2 UNION ALL SELECT 'monitor', 2
  UNION ALL SELECT 'cab', 3 UNION ALL SELECT 'usbc', 3 UNION ALL SELECT 'cable', 3 UNION ALL SELECT 'usb', 3 UNION ALL SELECT 'c', 3 UNION ALL SELECT '2', 3 UNION ALL SELECT 'm', 3
) AS w WHERE NOT EXISTS (SELECT 1 FROM product_words AS known WHERE known.product_id = w.product_id AND known.word = w.word);

INSERT INTO stock_adjustments (id, product_id, delta, reason, principal, created_at)
SELECT 1, 1, 5000, 'initial stock', 'seed', '2026-01-05 09:00:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM stock_adjustments WHERE id = 1);

INSERT INTO stock_adjustments (id, product_id, delta, reason, principal, created_at)
SELECT 2, 2, 1000, 'initial stock', 'seed', '2026-01-05 09:00:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM stock_adjustments WHERE id = 2);

INSERT INTO stock_adjustments (id, product_id, delta, reason, principal, created_at)
SELECT 3, 3, 20000, 'initial stock', 'seed', '2026-01-05 09:00:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM stock_adjustments WHERE id = 3);

INSERT INTO orders (id, customer_id, status, total_cents, created_at, confirmed_at, canceled_at, expires_at)
SELECT 1, 1, 'CONFIRMED', 259800, '2026-01-07 10:15:00.000', '2026-01-07 10:15:01.000', NULL, NULL
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM orders WHERE id = 1);

INSERT INTO orders (id, customer_id, status, total_cents, created_at, confirmed_at, canceled_at, expires_at)
SELECT 2, 2, 'CREATED', 69800, '2026-01-08 11:30:00.000', NULL, NULL, '2099-12-31 23:59:59.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM orders WHERE id = 2);

INSERT INTO orders (id, customer_id, status, total_cents, created_at, confirmed_at, canceled_at, expires_at)
SELECT 3, 3, 'CANCELED', 9900, '2026-01-09 12:45:00.000', NULL, '2026-01-10 12:45:00.000', '2026-01-10 12:45:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM orders WHERE id = 3);

INSERT INTO orders (id, customer_id, status, total_cents, created_at, confirmed_at, canceled_at, expires_at)
SELECT 4, 1, 'CREATED', 389700, '2026-01-12 08:05:00.000', NULL, NULL, '2099-12-31 23:59:59.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM orders WHERE id = 4);

INSERT INTO order_items (id, order_id, product_id, qty, unit_price_cents, subtotal_cents)
SELECT i.id, i.order_id, i.product_id, i.qty, i.unit_price_cents, i.subtotal_cents FROM (
  SELECT 1 AS id, 1 AS order_id, 1 AS product_id, 2 AS qty, 129900 AS unit_price_cents, 259800 AS subtotal_cents
  UNION ALL SELECT 2, 2, 2, 2, 34900, 69800
  UNION ALL SELECT 3, 3, 3, 10, 990, 9900
  UNION ALL SELECT 4, 4, 1, 3, 129900, 389700
) AS i WHERE NOT EXISTS (SELECT 1 FROM order_items AS known WHERE known.id = i.id);

-- The demo client, all scopes: id `demo`, secret `demo-secret`. Refused in production.
INSERT INTO api_clients (id, name, secret_hash, scope, customer_id, created_at)
SELECT 'demo', 'Demo', 'cd577fe2561ebff23505db0bb006300c7cdecbd46bc0e03c449afafaca2c25bf', 'customers:read customers:write products:read products:write orders:read orders:write', NULL, '2026-01-05 09:00:00.000'
FROM (SELECT 1 AS one) AS seed WHERE NOT EXISTS (SELECT 1 FROM api_clients WHERE id = 'demo');
