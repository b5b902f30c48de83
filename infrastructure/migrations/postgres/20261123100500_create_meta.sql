-- Facts about this store itself, by name: the master key's fingerprint and the like.
CREATE TABLE meta (
    name  text COLLATE "C" NOT NULL PRIMARY KEY,
    value text NOT NULL
);
