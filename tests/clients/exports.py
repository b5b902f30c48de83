"""What analysts do with exports, on DuckDB and pandas.

Arguments: the folder that holds them, and docs/exports.md, whose examples are run there. Writes a line of JSON for
everything it found.
"""

import hashlib
import json
import os
import pathlib
import re
import sys

import duckdb
import pandas as pd

folder, docs = sys.argv[1:]
text = pathlib.Path(docs).read_text()
os.chdir(folder)


def say(what, value):
    print("#" + json.dumps({"what": what, "value": value}, default=str), flush=True)


def rows(sql):
    result = duckdb.sql(sql)
    return [dict(zip(result.columns, row)) for row in result.fetchall()]


for name in ["messages", "events", "campaigns"]:
    manifest = json.loads(pathlib.Path(name, "manifest.json").read_text())
    for file in manifest["files"]:
        content = pathlib.Path(name, file["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"], file
        assert len(content) == file["bytes"], file
        assert rows(f"SELECT count(*) AS n FROM '{name}/{file['path']}'")[0]["n"] == file["rows"], file
    say(f"rows of {name}", {
        "manifest": manifest["rows"],
        "parquet": rows(f"SELECT count(*) AS n FROM '{name}/*/*.parquet'")[0]["n"],
        "csv": len(pd.read_csv(f"{name}.csv")),
        "ndjson": len(pd.read_json(f"{name}.ndjson", lines=True)),
    })

STATUS = """SELECT status, count(*) AS n, count(accepted_at) AS accepted, count(delivered_at) AS delivered,
count(read_at) AS read, count(DISTINCT contact) AS people FROM {} WHERE campaign_id IS NOT NULL GROUP BY status ORDER BY status"""
by_parquet = rows(STATUS.format("'messages/*/*.parquet'"))
say("messages by status", by_parquet)
assert by_parquet == rows(STATUS.format("read_csv('messages.csv')"))
assert by_parquet == rows(STATUS.format("read_json('messages.ndjson', format = 'newline_delimited')"))

FUNNEL = "recipients, accepted, sent, delivered, read, failed, skipped"
say("campaign", rows(f"SELECT {FUNNEL}, cost::VARCHAR AS cost, currency FROM 'campaigns/*/*.parquet'"))
frame = pd.read_csv("campaigns.csv")
say("campaign by pandas", frame[FUNNEL.split(", ")].to_dict("records"))
say("cost of messages", rows("SELECT sum(cost)::VARCHAR AS cost, min(currency) AS currency FROM 'messages/*/*.parquet'"))
say("failures", rows("SELECT failure_code, failure_meaning, count(*) AS n FROM 'messages/*/*.parquet' WHERE status = 'FAILED' GROUP BY ALL"))
say("types", {column: kind for column, kind, *_ in duckdb.sql("DESCRIBE FROM 'messages/*/*.parquet'").fetchall()})
say("erased", rows("SELECT contact, is_contact_erased, status FROM 'messages/*/*.parquet' WHERE is_contact_erased AND campaign_id IS NOT NULL"))
say("pseudonyms", sorted(row["contact"] for row in rows("SELECT DISTINCT contact FROM 'messages/*/*.parquet' WHERE contact IS NOT NULL")))
events = rows("SELECT position, id, type FROM 'events/*/*.parquet' ORDER BY position")
lines = [json.loads(line) for line in open("events.ndjson")]
assert [(e["position"], str(e["id"]), e["type"]) for e in events] == [(int(e["position"]), e["id"], e["type"]) for e in lines]
table = pd.read_csv("events.csv")
assert list(table["position"]) == [e["position"] for e in events]

for name in ["messages", "events", "campaigns"]:
    duckdb.sql(f"COPY (FROM '{name}/*/*.parquet') TO '{name}.parquet.json'")

examples = re.findall(r"^```(sql|python)\n(.*?)^```", text, re.S | re.M)
for kind, example in examples:
    if kind == "python":
        exec(example, {})
    else:
        for statement in filter(str.strip, example.split(";")):
            found = duckdb.sql(statement)
            assert found is not None and len(found.fetchall()) > 0, statement
say("examples", len(examples))
