-- Money is integer cents, times are UTC with milliseconds, text compares byte by byte.
-- The syntax stays within what MySQL 8, MariaDB 10.6 and TiDB share. Every statement may be run twice.

CREATE TABLE IF NOT EXISTS customers (
  id         BIGINT       NOT NULL AUTO_INCREMENT,
  name       VARCHAR(200) NOT NULL,
  email      VARCHAR(254) NOT NULL,
  email_key  VARCHAR(254) NULL COMMENT 'email in lower case; NULL once deleted, so that the address is free again',
  phone      VARCHAR(32)  NULL,
  version    INT          NOT NULL DEFAULT 1,
  created_at DATETIME(3)  NOT NULL,
  updated_at DATETIME(3)  NOT NULL,
  deleted_at DATETIME(3)  NULL,
  PRIMARY KEY (id),
  UNIQUE KEY customers_email_key (email_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS customer_words (
  word        VARCHAR(64) NOT NULL COMMENT 'lower case, without accents',
  customer_id BIGINT      NOT NULL,
  PRIMARY KEY (word, customer_id),
  KEY customer_words_customer (customer_id, word),
  CONSTRAINT customer_words_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS products (
  id          BIGINT       NOT NULL AUTO_INCREMENT,
  sku         VARCHAR(64)  NOT NULL,
  name        VARCHAR(200) NOT NULL,
  price_cents BIGINT       NOT NULL,
  stock       BIGINT       NOT NULL,
  version     INT          NOT NULL DEFAULT 1,
  created_at  DATETIME(3)  NOT NULL,
  updated_at  DATETIME(3)  NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY products_sku (sku),
  CONSTRAINT products_price_check CHECK (price_cents >= 0),
  CONSTRAINT products_stock_check CHECK (stock >= 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS product_words (
  word       VARCHAR(64) NOT NULL COMMENT 'lower case, without accents',
  product_id BIGINT      NOT NULL,
  PRIMARY KEY (word, product_id),
  KEY product_words_product (product_id, word),
  CONSTRAINT product_words_product_fk FOREIGN KEY (product_id) REFERENCES products (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS stock_adjustments (
  id         BIGINT       NOT NULL AUTO_INCREMENT,
  product_id BIGINT       NOT NULL,
  delta      BIGINT       NOT NULL,
  reason     VARCHAR(200) NOT NULL,
  principal  VARCHAR(128) NOT NULL,
  created_at DATETIME(3)  NOT NULL,
  PRIMARY KEY (id),
  KEY stock_adjustments_product (product_id, id),
  CONSTRAINT stock_adjustments_product_fk FOREIGN KEY (product_id) REFERENCES products (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS orders (
  id           BIGINT      NOT NULL AUTO_INCREMENT,
  customer_id  BIGINT      NOT NULL,
  status       VARCHAR(16) NOT NULL,
  total_cents  BIGINT      NOT NULL,
  created_at   DATETIME(3) NOT NULL,
  confirmed_at DATETIME(3) NULL,
  canceled_at  DATETIME(3) NULL,
  expires_at   DATETIME(3) NULL COMMENT 'end of the hold; NULL once confirmed',
  PRIMARY KEY (id),
  KEY orders_created (created_at),
  KEY orders_customer_created (customer_id, created_at),
  KEY orders_status_created (status, created_at),
  KEY orders_customer_status_created (customer_id, status, created_at),
  KEY orders_holds (status, expires_at),
  CONSTRAINT orders_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id),
  CONSTRAINT orders_status_check CHECK (status IN ('CREATED', 'CONFIRMED', 'CANCELED')),
  CONSTRAINT orders_total_check CHECK (total_cents >= 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS order_items (
  id               BIGINT NOT NULL AUTO_INCREMENT,
  order_id         BIGINT NOT NULL,
  product_id       BIGINT NOT NULL,
  qty              INT    NOT NULL,
  unit_price_cents BIGINT NOT NULL,
  subtotal_cents   BIGINT NOT NULL,
  PRIMARY KEY (id),
  KEY order_items_order (order_id),
  KEY order_items_product (product_id),
  CONSTRAINT order_items_order_fk FOREIGN KEY (order_id) REFERENCES orders (id),
  CONSTRAINT order_items_product_fk FOREIGN KEY (product_id) REFERENCES products (id),
  CONSTRAINT order_items_qty_check CHECK (qty > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS idempotency_keys (
  operation     VARCHAR(40)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `key`         VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  principal     VARCHAR(128) NOT NULL,
  request_hash  CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'SHA-256 of the request, in hex',
  target_type   VARCHAR(20)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  target_id     BIGINT       NOT NULL,
  status        SMALLINT     NOT NULL COMMENT 'HTTP status of the first answer',
  response_body MEDIUMTEXT   NOT NULL,
  created_at    DATETIME(3)  NOT NULL,
  expires_at    DATETIME(3)  NOT NULL,
  PRIMARY KEY (operation, `key`, principal),
  KEY idempotency_keys_expiry (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS api_clients (
  id          VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  name        VARCHAR(200) NOT NULL,
  secret_hash CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'SHA-256 of the secret, in hex',
  scope       VARCHAR(500) NOT NULL,
  customer_id BIGINT       NULL,
  created_at  DATETIME(3)  NOT NULL,
  disabled_at DATETIME(3)  NULL,
  PRIMARY KEY (id),
  KEY api_clients_customer (customer_id),
  CONSTRAINT api_clients_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
