#!/usr/bin/env python3
"""Sends a file of events, one JSON object a line, from where the server says that it has them: URL JOB RUN FILE."""
import json, sys
from itertools import islice
from urllib.parse import quote
from urllib.request import Request, urlopen

url, job, run, file = sys.argv[1:]
path = f"{url}/v1/ingest/{quote(job, safe='')}/{quote(run, safe='')}"
with urlopen(path) as answer:
    at = json.load(answer)["next_sequence"]
with open(file, "rb") as lines:
    lines = islice(filter(bytes.strip, lines), at, None)
    stored = dead_lettered = 0
    while batch := list(islice(lines, 1000)):
        with urlopen(Request(f"{path}?first_sequence={at}", b"".join(batch))) as answer:  # but 200 is an exception
            told = json.load(answer)
        at, stored, dead_lettered = at + len(batch), stored + told["stored"], dead_lettered + told["dead_lettered"]
print(f"stored: {stored}, dead_lettered: {dead_lettered}")
