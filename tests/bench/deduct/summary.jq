# Measurements, one per line, into medians, the best row-lock figure and the ratio.
def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def column(f): map(f | tonumber? // empty) | if length > 0 then median * 100 | round / 100 else null end;
[inputs | split("\t")] | group_by([.[0], .[1]])
| map({name: .[0][0], key: .[0][1], statements_per_s: column(.[2]), grants_per_s: column(.[3]), p50_ms: column(.[4]), p99_ms: column(.[5]),
       cpu_us_per_grant: column(.[6]), rounds: map(.[3] | tonumber)})
| {machine: $machine, seconds: $seconds, rounds: (.[0].rounds | length), outstanding: $outstanding,
   recipes: map(select(.name | test("^(batch|sketch.*)$") | not) | .clients = (.key | tonumber) | del(.key, .p50_ms, .p99_ms, .cpu_us_per_grant)),
   batches: map(select(.name | test("^(batch|sketch.*)$")) | .headline = (.key == $headline and .name == "batch") | (.key / " ") as $k
                | .connections = ($k[0] | tonumber) | .cap = ($k[1] | tonumber) | .mix = $k[2] | del(.key))}
| .row_lock_figure = (.recipes | map(select(.name | startswith("row_lock")).grants_per_s) | max)
| .batch_figure = (.batches[] | select(.headline).grants_per_s)
| .ratio = (.batch_figure / .row_lock_figure * 10 | floor / 10)
| def at128(n): .batches[] | select(.name == n and .cap == 128 and .mix == "simple" and .connections == 1);
  .to_sketch = {rate: (at128("batch").grants_per_s / at128("sketch").grants_per_s * 100 | round / 100),
                cpu: (at128("sketch").cpu_us_per_grant / at128("batch").cpu_us_per_grant * 100 | round / 100)}
| .wanted_ratio = 8 | .ok = (.ratio >= .wanted_ratio)
