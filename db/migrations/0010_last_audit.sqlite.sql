-- What the last audit of the books found, for those who watch the services.

CREATE TABLE IF NOT EXISTS last_audit (
  -- 1.
  id INTEGER NOT NULL PRIMARY KEY,
  checked_at TEXT NOT NULL,
  -- 1, or 0 where something differs.
  balanced INTEGER NOT NULL,
  -- How many were found; of one kind, the audit finds some at most.
  differences INTEGER NOT NULL
) STRICT;
