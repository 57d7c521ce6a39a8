-- So that what was issued to a client can be withdrawn. The version before this one may go on serving meanwhile.

ALTER TABLE api_clients
  ADD COLUMN tokens_from DATETIME(3) NULL COMMENT 'Tokens issued before it are not taken';
