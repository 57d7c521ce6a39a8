-- So that the list of customers reads no deleted ones on its way. The version before this one may go on serving meanwhile.

ALTER TABLE customers ADD KEY customers_live (deleted_at, id);
