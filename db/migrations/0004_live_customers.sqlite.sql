-- So that the list of customers reads no deleted ones on its way. The version before this one may go on serving meanwhile.

CREATE INDEX IF NOT EXISTS customers_live ON customers (deleted_at, id);
