-- One row: which of several servers is written. It is made when several are named. The version before this one does not look,
-- and may go on serving meanwhile.

CREATE TABLE IF NOT EXISTS database_writer (
  id TINYINT NOT NULL PRIMARY KEY,
  server VARCHAR(300) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'As the server names itself: host name and port',
  epoch BIGINT NOT NULL COMMENT 'Counts the changes of server: of two servers, the one with the higher number is right'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
