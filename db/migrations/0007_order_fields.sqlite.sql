-- What a B2B order carries: PO numbers, ship-to, dates, notes; SKUs with case-free uniqueness, quantity rules; the ids that
-- customers have in other systems. The version before this one may go on serving meanwhile: it writes none of these columns.

-- Id in another system.
ALTER TABLE customers ADD COLUMN external_id TEXT NULL;
-- unique, free or required.
ALTER TABLE customers ADD COLUMN po_policy TEXT NOT NULL DEFAULT 'unique';
-- NULL once deleted, so that the id is free again.
ALTER TABLE customers ADD COLUMN live_external_id TEXT GENERATED ALWAYS AS (CASE WHEN deleted_at IS NULL THEN external_id END) VIRTUAL;
CREATE UNIQUE INDEX IF NOT EXISTS customers_external_id ON customers (live_external_id) WHERE live_external_id IS NOT NULL;

-- The SKU without case.
ALTER TABLE products ADD COLUMN sku_key TEXT NULL;
-- 0: it can not be ordered.
ALTER TABLE products ADD COLUMN active INTEGER NOT NULL DEFAULT 1;
ALTER TABLE products ADD COLUMN min_qty INTEGER NOT NULL DEFAULT 1;
ALTER TABLE products ADD COLUMN qty_step INTEGER NOT NULL DEFAULT 1;
ALTER TABLE products ADD COLUMN max_qty INTEGER NULL;
ALTER TABLE products ADD COLUMN unit TEXT NOT NULL DEFAULT 'pc';
CREATE UNIQUE INDEX IF NOT EXISTS products_sku_key ON products (sku_key);
-- SKUs had ASCII letters only. Of two that differ by case alone, the later product has no key: it keeps its SKU, and is found.
UPDATE products SET sku_key = LOWER(sku)
WHERE sku_key IS NULL AND id IN (SELECT MIN(id) FROM products GROUP BY LOWER(sku));

-- As the caller wrote it.
ALTER TABLE orders ADD COLUMN po_number TEXT NULL;
-- The PO number as it is compared: NFC, without case.
ALTER TABLE orders ADD COLUMN po_key TEXT NULL;
-- 0: no other live order of the customer may have the PO number; else a random number.
ALTER TABLE orders ADD COLUMN po_slot INTEGER NULL;
ALTER TABLE orders ADD COLUMN requested_delivery_date TEXT NULL;
-- JSON.
ALTER TABLE orders ADD COLUMN ship_to TEXT NULL;
ALTER TABLE orders ADD COLUMN notes TEXT NULL;
-- JSON.
ALTER TABLE orders ADD COLUMN metadata TEXT NULL;
-- As the caller named it.
ALTER TABLE orders ADD COLUMN currency TEXT NULL;
ALTER TABLE orders ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
-- NULL once canceled, so that the PO number is free again.
ALTER TABLE orders ADD COLUMN live_po TEXT GENERATED ALWAYS AS (CASE WHEN status <> 'CANCELED' THEN po_key END) VIRTUAL;
CREATE UNIQUE INDEX IF NOT EXISTS orders_live_po ON orders (customer_id, live_po, po_slot) WHERE live_po IS NOT NULL;
CREATE INDEX IF NOT EXISTS orders_po_created ON orders (po_key, created_at) WHERE po_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS orders_customer_po_created ON orders (customer_id, po_key, created_at) WHERE po_key IS NOT NULL;

-- Of the product when the order was placed; NULL: placed before this was kept.
ALTER TABLE order_items ADD COLUMN sku TEXT NULL;
ALTER TABLE order_items ADD COLUMN name TEXT NULL;
