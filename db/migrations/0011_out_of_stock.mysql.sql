-- Counts products without stock by an index. Its column changes only when a stock becomes 0 or is 0 no more, so that an order
-- seldom writes the index; an index on the stock itself would be written by every order.

ALTER TABLE products
  ADD COLUMN out_of_stock TINYINT GENERATED ALWAYS AS (CASE WHEN stock = 0 AND active = 1 THEN 1 END) VIRTUAL COMMENT '1: it could be ordered, but has no stock; else NULL';
ALTER TABLE products ADD KEY products_out_of_stock (out_of_stock);
