-- 1 until tables that were made empty beside a log that was not have caught up with it: until then they answer nothing.
ALTER TABLE projections ADD COLUMN building BIGINT NOT NULL DEFAULT 0;
