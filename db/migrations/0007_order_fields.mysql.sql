-- What a B2B order carries: PO numbers, ship-to, dates, notes; SKUs with case-free uniqueness, quantity rules; the ids that
-- customers have in other systems. The version before this one may go on serving meanwhile: it writes none of these columns.

ALTER TABLE customers
  ADD COLUMN external_id VARCHAR(64) NULL COMMENT 'id in another system',
  ADD COLUMN po_policy VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'unique' COMMENT 'unique, free or required';
-- A virtual column is added in an instant, but only by itself.
ALTER TABLE customers
  ADD COLUMN live_external_id VARCHAR(64) GENERATED ALWAYS AS (CASE WHEN deleted_at IS NULL THEN external_id END) VIRTUAL COMMENT 'NULL once deleted, so that the id is free again';
ALTER TABLE customers ADD UNIQUE KEY customers_external_id (live_external_id);

ALTER TABLE products
  ADD COLUMN sku_key VARCHAR(255) NULL COMMENT 'sku without case',
  ADD COLUMN active TINYINT NOT NULL DEFAULT 1 COMMENT '0: it can not be ordered',
  ADD COLUMN min_qty INT NOT NULL DEFAULT 1,
  ADD COLUMN qty_step INT NOT NULL DEFAULT 1,
  ADD COLUMN max_qty INT NULL,
  ADD COLUMN unit VARCHAR(20) NOT NULL DEFAULT 'pc';
ALTER TABLE products ADD UNIQUE KEY products_sku_key (sku_key);
-- SKUs had ASCII letters only. Of two that differ by case alone, the later product has no key: it keeps its SKU, and is found.
UPDATE products p
  JOIN (SELECT MIN(id) AS id FROM products GROUP BY LOWER(sku)) f ON f.id = p.id
  SET p.sku_key = LOWER(p.sku)
  WHERE p.sku_key IS NULL;

ALTER TABLE orders
  ADD COLUMN po_number VARCHAR(64) NULL COMMENT 'as the caller wrote it',
  ADD COLUMN po_key VARCHAR(255) NULL COMMENT 'po_number as it is compared: NFC, without case',
  ADD COLUMN po_slot BIGINT NULL COMMENT '0: no other live order of the customer may have the PO number; else a random number',
  ADD COLUMN requested_delivery_date DATE NULL,
  ADD COLUMN ship_to TEXT NULL COMMENT 'JSON',
  ADD COLUMN notes TEXT NULL,
  ADD COLUMN metadata TEXT NULL COMMENT 'JSON',
  ADD COLUMN currency CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'as the caller named it',
  ADD COLUMN version INT NOT NULL DEFAULT 1;
ALTER TABLE orders
  ADD COLUMN live_po VARCHAR(255) GENERATED ALWAYS AS (CASE WHEN status <> 'CANCELED' THEN po_key END) VIRTUAL COMMENT 'NULL once canceled, so that the PO number is free again';
ALTER TABLE orders
  ADD UNIQUE KEY orders_live_po (customer_id, live_po, po_slot),
  ADD KEY orders_po_created (po_key, created_at),
  ADD KEY orders_customer_po_created (customer_id, po_key, created_at);

ALTER TABLE order_items
  ADD COLUMN sku VARCHAR(64) NULL COMMENT 'of the product when the order was placed; NULL: placed before this was kept',
  ADD COLUMN name VARCHAR(200) NULL COMMENT 'of the product when the order was placed';
