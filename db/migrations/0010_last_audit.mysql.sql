-- What the last audit of the books found, for those who watch the services.

CREATE TABLE IF NOT EXISTS last_audit (
  id TINYINT NOT NULL PRIMARY KEY COMMENT '1',
  checked_at DATETIME(3) NOT NULL,
  balanced TINYINT NOT NULL COMMENT '1, or 0 where something differs',
  differences INT NOT NULL COMMENT 'how many were found; of one kind, the audit finds some at most'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
