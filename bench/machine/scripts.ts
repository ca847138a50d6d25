/** What runs in the Debian root of the cold rows: each once, in a guest that has run nothing else. */

const RUN = `#!/usr/bin/dash
# run NAME: the task's output is what its checksum is of.
export PATH=/usr/bin:/usr/sbin HOME=/tmp LC_ALL=C PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
cd /tmp
echo "bench: begin"
/bench/$1 > /tmp/out 2> /tmp/err || { echo "bench: end failed"; cat /tmp/out /tmp/err; exit 1; }
echo "bench: end $(busybox md5sum < /tmp/out | busybox cut -c 1-16)"
`;

const PYTHON = `#!/usr/bin/dash
exec python3 /bench/imports.py
`;

const IMPORTS = `import argparse, asyncio, collections, contextlib, csv, dataclasses, datetime, decimal
import difflib, email.message, enum, fractions, functools, hashlib, heapq, html.parser, http.client
import inspect, io, itertools, json, logging, pathlib, pickle, pprint, random, re, shlex, sqlite3
import statistics, string, struct, subprocess, tempfile, textwrap, threading, typing, unittest
import urllib.parse, urllib.request, uuid, xml.etree.ElementTree, zipfile

numbers = random.Random(7)
rows = [{"id": n, "name": f"row-{n}", "value": numbers.random()} for n in range(500)]
text = json.dumps(rows, sort_keys=True)
assert json.loads(text) == rows
print(hashlib.sha256(text.encode()).hexdigest())
words = re.findall(r"[a-z]+", text)
print(collections.Counter(words).most_common(3))
print(sum(decimal.Decimal(n) / 7 for n in range(50)), fractions.Fraction(22, 7) ** 5)
print(statistics.fmean(row["value"] for row in rows))
`;

const GCC = `#!/usr/bin/dash
gcc -O1 -c /bench/big.c -o /tmp/big.o && busybox sha256sum < /tmp/big.o
`;

const SQLITE = `#!/usr/bin/dash
busybox rm -f /tmp/test.db
sqlite3 /tmp/test.db < /bench/test.sql
`;

const SQL = `PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
CREATE TABLE item (id INTEGER PRIMARY KEY, kind TEXT, size INTEGER, price REAL);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
  INSERT INTO item SELECT i, 'kind-' || (i * 7919 % 61), i * 104729 % 9973, i % 97 / 4.0 FROM n;
COMMIT;
CREATE INDEX item_kind ON item (kind, size);
SELECT kind, count(*), sum(size), round(avg(price), 4) FROM item GROUP BY kind ORDER BY kind LIMIT 10;
SELECT count(*) FROM item a JOIN item b ON a.kind = b.kind AND a.size = b.size WHERE a.id < b.id;
UPDATE item SET price = price * 1.5 WHERE size % 3 = 0;
DELETE FROM item WHERE id % 5 = 0;
SELECT count(*), sum(price), max(kind) FROM item WHERE kind LIKE 'kind-1%';
CREATE TABLE word AS SELECT kind || '-' || size AS w, count(*) AS c FROM item GROUP BY 1;
SELECT w, c FROM word ORDER BY c DESC, w LIMIT 10;
PRAGMA integrity_check;
`;

/** 1,500 subshells and 500 programs. */
const SHELL = `#!/usr/bin/dash
i=0
sum=0
while [ $i -lt 500 ]; do
  i=$((i + 1))
  a=$(echo $((i * 3)))
  b=$(echo "$a" | (read -r x; echo $((x + 1))))
  busybox true
  sum=$((sum + a + b))
done
echo "$sum"
`;

/** Names in /bench of the root. */
export const SCRIPTS: Readonly<Record<string, string>> = {
  run: RUN,
  python: PYTHON,
  "imports.py": IMPORTS,
  gcc: GCC,
  sqlite: SQLITE,
  "test.sql": SQL,
  shell: SHELL,
};

const C_LINES = 2000;

function functionOf(n: number): string[] {
  const [a, b] = [(n * 37) % 101, (n * 53) % 89];
  const callee = n === 0 ? "x + y" : `f${n - 1}(x ^ ${a}, y - 1)`;
  return [
    `struct s${n} { int a, b[${1 + (n % 7)}]; struct s${n} *next; double d; };`,
    `static long f${n}(long x, long y) {`,
    `  struct s${n} local = { .a = (int)x, .d = ${b}.5 };`,
    `  long sum = ${a};`,
    `  for (int i = 0; i < (int)(sizeof local.b / sizeof local.b[0]); i++) {`,
    `    local.b[i] = (int)(x * i + ${b});`,
    `    sum += local.b[i] % 7 == ${n % 7} ? local.a : -i;`,
    "  }",
    "  switch (y & 7) {",
    ...[0, 1, 2, 3].map((k) => `  case ${k}: sum ^= x << ${k + 1}; break;`),
    `  default: sum -= (long)(local.d * ${n + 1});`,
    "  }",
    `  return y <= 0 ? sum : sum + ${callee};`,
    "}",
  ];
}

/** A program of 2,000 lines that includes nothing. */
export function bigC(): string {
  const lines: string[] = [];
  let n = 0;
  while (lines.length + functionOf(n).length + 1 <= C_LINES) lines.push(...functionOf(n++));
  lines.push(`long all(long x) { return f${n - 1}(x, ${n}); }`);
  while (lines.length < C_LINES) lines.push(`/* line ${lines.length + 1} */`);
  return `${lines.join("\n")}\n`;
}
