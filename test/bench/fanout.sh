#!/bin/bash
# fanout.sh COORDINATOR SHARD [ROWS [DIM [SECONDS]]]: what asking all shards costs beside asking one.
# The arguments are libpq connection strings; COORDINATOR has shards, SHARD is one of them. Fills a
# distributed table with ROWS (1000) a shard, then alternates the same prepared k-NN through the
# coordinator and straight to that shard. Prints the medians, the best of three rounds, and their ratio.
set -eu
coordinator=$1 shard=$2 rows=${3:-1000} dim=${4:-128} seconds=${5:-4}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
ask() { psql -XAtq -v ON_ERROR_STOP=1 "$@"; }

shards=$(ask "$coordinator" -c "SELECT count(*) FROM vdist.shards")
ask "$coordinator" <<SQL
SET client_min_messages = error;
DROP FOREIGN TABLE IF EXISTS fanout_bench;
CREATE TABLE fanout_bench (id bigint PRIMARY KEY, embedding vector($dim));
SELECT setseed(0.5);
INSERT INTO fanout_bench SELECT i, (SELECT array_agg(random() + 0 * (i + j)) FROM generate_series(1, $dim) j)::vector
FROM generate_series(1, $rows * $shards) i;
SELECT vdist.create_distributed_table('fanout_bench', 'id');
ANALYZE fanout_bench;
SQL
ask "$shard" -c "ANALYZE fanout_bench"
query=$(ask "$coordinator" -c "SELECT embedding FROM fanout_bench WHERE id = 1")
echo "SELECT id FROM fanout_bench ORDER BY embedding <-> :query::vector LIMIT 10;" > "$dir/knn.sql"
echo "SELECT id FROM fanout_bench WHERE id = 1;" > "$dir/point.sql"

# The median in microseconds of pgbench's log.
median() {
	rm -f "$dir"/log*
	pgbench -n -M prepared -D "query=$query" -f "$2" -T "$seconds" -l --log-prefix="$dir/log" "$1" >"$dir/out" 2>&1 ||
		{ cat "$dir/out" >&2; exit 1; }
	awk '{ print $3 }' "$dir"/log* | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
least() { if [ -z "$1" ] || [ "$2" -lt "$1" ]; then echo "$2"; else echo "$1"; fi; }

all='' one='' point=''
for round in 1 2 3; do
	all=$(least "$all" "$(median "$coordinator" "$dir/knn.sql")")
	one=$(least "$one" "$(median "$shard" "$dir/knn.sql")")
	point=$(least "$point" "$(median "$coordinator" "$dir/point.sql")")
done
ask "$coordinator" -c "DROP FOREIGN TABLE fanout_bench" 2>/dev/null
awk -v all="$all" -v one="$one" -v point="$point" -v shards="$shards" 'BEGIN {
	printf "k-NN on %d shards %d us, straight to one %d us: ratio %.2f\n", shards, all, one, all / one
	printf "one row by key through the coordinator %d us\n", point }'
