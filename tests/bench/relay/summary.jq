# Transfers, one per line (line, congestion control, family, way, path, Mbit/s), into medians and ratios of pairs.
def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def round2: . * 100 | round / 100;
def ratios(f): [.[] | select(f).ratios[]] | median | round2;
[inputs | split("\t")] | group_by(.[0:4])
| map({line: .[0][0], congestion: .[0][1], family: ("IPv" + .[0][2]), way: .[0][3],
       gateway: map(select(.[4] == "gateway")[5] | tonumber), direct: map(select(.[4] == "direct")[5] | tonumber)}
      | .ratios = ([.gateway, .direct] | transpose | map(.[0] / .[1] | round2)) | .ratio = (.ratios | median)
      | .gateway_mbit_s = (.gateway | median | round) | .direct_mbit_s = (.direct | median | round) | del(.gateway, .direct))
| {cpus: ($cpus | tonumber), pairs: (.[0].ratios | length), transfers: ., wanted_ratio: 0.9,
   clean_ratio: ratios(.congestion == "cubic" and .line == "clean"),
   lossy_ratio: ratios(.congestion == "cubic" and .line == "lossy")}
| .ok = (.clean_ratio >= .wanted_ratio and .lossy_ratio >= .wanted_ratio)
