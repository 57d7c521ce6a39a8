-- So that what was issued to a client can be withdrawn. The version before this one may go on serving meanwhile.

-- Tokens issued before it are not taken.
ALTER TABLE api_clients ADD COLUMN tokens_from TEXT NULL;
