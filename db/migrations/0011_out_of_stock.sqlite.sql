-- Counts products without stock by an index, which has these products alone: an index on the stock itself would be written by
-- every order.

-- 1: it could be ordered, but has no stock; else NULL.
ALTER TABLE products ADD COLUMN out_of_stock INTEGER GENERATED ALWAYS AS (CASE WHEN stock = 0 AND active = 1 THEN 1 END) VIRTUAL;
CREATE INDEX IF NOT EXISTS products_out_of_stock ON products (out_of_stock) WHERE out_of_stock IS NOT NULL;
