# SPDX-License-Identifier: BSD-3-Clause
# limit: 300
# 100 MB down and up, IPv4 and IPv6, over a line that drops 1 %, reorders 2 %, duplicates 1 % and splits 1 % of all
# frames: what arrives is what was sent, to the last bit. (TRANSFER_BYTES makes it quicker by hand.)
. "${0%/*}/lib.sh"
cleanup() { relay_out; }
needs transfer dataplane

bytes=${TRANSFER_BYTES:-100000000}
relay_in --seed 31 --drop 1 --reorder 2 --duplicate 1 --split 1
for address in "$VIP4" "[$VIP6]"; do
    for way in get put; do
        seen=$(client "$TRANSFER" $way --to "$address:$TRANSFER_PORT" --bytes "$bytes" --timeout 60 2>&1) || true
        if [[ $(jq -r .equal <<<"$seen" 2>/dev/null) == true ]]; then
            ok "$way $address: $(jq .mbit_s <<<"$seen") Mbit/s"
        else
            fail "$way $address" "$seen"
        fi
    done
done
relay_stop
for way in forward back; do
    for what in dropped duplicated reordered split; do
        expect_at_least "the line has $what frames on the way $way" 1 "$(jq ".$way.$what" <<<"$RELAYED")"
    done
done
printf '%s\n' "$RELAYED"
