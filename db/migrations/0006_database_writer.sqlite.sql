-- Which of several servers is written: with a file there is none, and this stays empty.

CREATE TABLE IF NOT EXISTS database_writer (
  id INTEGER NOT NULL PRIMARY KEY,
  -- As the server names itself: host name and port.
  server TEXT NOT NULL,
  -- Counts the changes of server: of two servers, the one with the higher number is right.
  epoch INTEGER NOT NULL
) STRICT;
