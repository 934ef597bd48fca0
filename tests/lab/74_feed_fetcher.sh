# SPDX-License-Identifier: BSD-3-Clause
# dropgate-feeds, as a user without rights, and a publisher with every bad habit: what has come whole from whom it should is put in
# its place, at once and readable; of anything else the file before stays. What has not changed is not sent again.
# limit: 90
. "${0%/*}/lib.sh"
home=/var/tmp/dropgate-feeds-$DROPGATE_LAB # where that user may look, and run what he finds
rm -rf "$home"
mkdir -m 755 "$home" "$home/lists"
chown nobody "$home/lists"
install -m 755 "$BUILD/feeds/dropgate-feeds" "$home/"
FEEDS=$home/dropgate-feeds
cleanup() {
    for name in server holder fetch; do proc_stop "feed-$name"; done
    rm -rf "$home"
}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$home/key.pem" -out "$home/ca.pem" -days 2 \
    -subj /CN=lists.example -addext subjectAltName=IP:198.18.128.2 2>/dev/null
chmod 644 "$home/ca.pem"
printf '198.51.100.0/24\n' >"$home/content"
log=$home/requests
url=https://198.18.128.2:8443
proc_start feed-server "$(service_log feed-server)" ip netns exec "$DROPGATE_LAB-server" "$ROOT/tests/lab/feed_server.py" 198.18.128.2 8443 "$home/ca.pem" "$home/key.pem" \
    "$home/content" "$log"
answers() { server curl -fsS -m 2 -o /dev/null --cacert "$home/ca.pem" "$url/dated"; }
expect "the publisher is there" until_true 20 answers

as_nobody=(server setpriv --reuid=nobody --regid=nogroup --clear-groups)
# feed NAME PATH [KEY=VALUE…]: a section of the configuration
feed() {
    printf '[feed %s]\nurl = %s/%s\ninterval = 0\nca_file = %s\n' "$1" "$url" "$2" "$home/ca.pem"
    shift 2
    if (($# > 0)); then printf '%s\n' "$@"; fi
}
# conf FEED…: the configuration, of whole sections
conf() { printf '[fetch]\ndirectory = %s/lists\n%s\n' "$home" "$*" >"$home/feeds.conf"; }
fetch() { "${as_nobody[@]}" "$FEEDS" -c "$home/feeds.conf" "$@" 2>&1; }
stands() { cat "$home/lists/$1" 2>&1; } # what is in the place of feed $1

expect_match "it will not be root" 'must not be root' "$(conf "$(feed a changing)"; "$FEEDS" -c "$home/feeds.conf" 2>&1 || true)"

# --- what is good ---------------------------------------------------------------------------------------------
conf "$(feed changing changing; feed dated dated; feed packed packed; feed moved moved)"
expect_match "four lists are fetched" '4 feeds changed, 0 not, 0 left out until their interval is over, 0 failed' "$(fetch)"
expect_equal "as they were sent" '198.51.100.0/24' "$(stands changing)"
expect_equal "unpacked" $'198.51.100.0/24\n2001:db8:bad::/48' "$(stands packed)"
expect_equal "also from where it has moved to" $'198.51.100.0/24\n2001:db8:bad::/48' "$(stands moved)"
expect_equal "for everybody to read" 644 "$(stat -c %a "$home/lists/changing")"
expect_match "what has not changed is said not to have" '0 feeds changed, 4 not' "$(fetch)"
expect_equal "by ETag and by date" 2 "$(grep -cE '"if-(none-match|modified-since)"' "$log" | awk '{ print ($1 >= 2) ? 2 : $1 }')"
printf '203.0.113.7\n' >"$home/content"
expect_match "what has changed comes" '1 feeds changed, 3 not' "$(fetch)"
expect_equal "whole" 203.0.113.7 "$(stands changing)"
rm "$home/lists/changing"
fetch changing >/dev/null
expect_equal "a file that was lost comes again, though its publisher has not changed it" 203.0.113.7 "$(stands changing)"
sed -i 's/^interval = 0/interval = 1h/' "$home/feeds.conf"
before=$(wc -l <"$log")
expect_match "within its interval nobody is asked" '0 feeds changed, 0 not, 4 left out' "$(fetch)"
expect_equal "not at all" "$before" "$(wc -l <"$log")"
expect_match "unless by force, and whole" '4 feeds changed' "$(fetch --force)"

# --- what is bad ----------------------------------------------------------------------------------------------
small='max_size = 64K'
conf "$(feed bomb bomb "$small"; feed large large "$small"; feed endless endless "$small"; feed short short; feed silent silent 'timeout = 1s'
    feed empty empty; feed gone gone; feed gone.netset gone; feed unasked unasked; feed circular circular; feed downgraded downgraded; feed file to-a-file
    printf '[feed stranger]\nurl = %s/dated\ninterval = 0\n' "$url")"
bad=(bomb large endless short silent empty gone gone.netset unasked circular downgraded file stranger)
for name in "${bad[@]}"; do echo before >"$home/lists/$name"; done
output=$(fetch || true)
expect_match "thirteen bad ones fail" '0 feeds changed, 0 not, 0 left out until their interval is over, 13 failed' "$output"
for name in "${bad[@]}"; do expect_equal "$name: the file before stays" before "$(stands "$name")"; done
for pair in 'bomb: larger than max_size' 'large: larger than max_size' 'endless: larger than max_size' 'empty: an empty file' \
    'gone: answered with status 404' 'unasked: answered with status 304' 'circular: Maximum .* redirects' 'stranger: SSL certificate' \
    'silent: .*timed out' 'short: .*' 'downgraded: Protocol .*http' 'file: Protocol .*file'; do
    expect_match "and says why: $pair" "feed $pair" "$output"
done
expect_equal "nothing is left beside them" "" "$(find "$home/lists" -name '*.??????' ! -name '.*.json' ! -name gone.netset)"

# --- keys, and who is in the way ------------------------------------------------------------------------------
printf 'X-Api-Key: open sesame\n' >"$home/header"
chown nobody "$home/header"
chmod 600 "$home/header"
conf "$(feed keyed keyed "header_file = $home/header"; feed moved moved "header_file = $home/header")"
output=$(fetch || true)
expect_match "a key opens what is closed" '1 feeds changed, 0 not, 0 left out until their interval is over, 1 failed' "$output"
expect_match "and goes nowhere else" 'feed moved: answered with status 302' "$output"
expect_equal "nor into the log" 0 "$(grep -c sesame <<<"$output")"
chmod 644 "$home/header"
expect_match "a key that others can read is none" 'header_file .*' "$(fetch keyed || true)"
conf "$(feed silent silent)"
proc_start feed-holder "$(service_log feed-holder)" flock --no-fork "$home/lists" sleep 60
is_held() { ! flock -n "$home/lists" true; }
expect "somebody else is at it" until_true 10 is_held
expect_match "two at a time are refused" 'another run is under way' "$(fetch || true)"
proc_stop feed-holder

# --- killed in the middle -------------------------------------------------------------------------------------
conf "$(feed halting halting)"
echo before >"$home/lists/halting"
proc_start feed-fetch "$(service_log feed-fetch)" ip netns exec "$DROPGATE_LAB-server" "${as_nobody[@]:1}" "$FEEDS" -c "$home/feeds.conf"
half_is_there() { [[ $(find "$home/lists" -name 'halting.??????' -size +0) ]]; }
expect "half of it has come" until_true 20 half_is_there
proc_stop feed-fetch KILL
expect_equal "killed then, it leaves the file before" before "$(stands halting)"
expect "and its half, which nobody reads" half_is_there
conf "$(feed halting dated)"
expect_match "the next run finds its way" "0 failed" "$(fetch || true)"
expect_equal "and leaves nothing of it behind" 2 "$(find "$home/lists" -name '*halting*' | wc -l)"
expect_equal "it asked for nothing that it was not told to" "" "$(grep -o '"path": "[^"]*"' "$log" | sort -u | grep -vE '/(changing|dated|packed|moved|bomb|large|endless|short|silent|empty|gone|unasked|circular|downgraded|to-a-file|keyed|halting)"' || true)"
