# SPDX-License-Identifier: BSD-3-Clause
# A broken configuration file is refused before anything is touched, in one line that names the file, the line, the key
# and what is allowed.
. "${0%/*}/lib.sh"

work=$LAB_DIR/broken
mkdir -p "$work"
lab_config dropgate.conf "$work/dropgate.conf"
lab_config control.conf "$work/control.conf"
expect "the gateway's own file is accepted" "$DATAPLANE" -c "$work/dropgate.conf" --check
expect "the purchase service's own file is accepted" "$CONTROL" -c "$work/control.conf" --check
number=0

# refused FILE SED WHERE WHAT: after the edit, the file is refused at the last line that matches WHERE, with a message
# that matches WHAT.
refused() {
    local base=$1 edit=$2 where=$3 what=$4 program=$DATAPLANE file message line rc=0
    number=$((number + 1))
    file=$work/$number-$base
    sed -e "$edit" "$work/$base" >"$file"
    [[ $base == dropgate.conf ]] || program=$CONTROL
    message=$("$program" -c "$file" --check 2>&1) || rc=$?
    line=$(grep -n -e "$where" "$file" | tail -n 1 | cut -d: -f1)
    where="$file:$line: "
    if ((rc == 2)) && [[ $(wc -l <<<"$message") == 1 && $message == "$where"* && $message =~ $what ]]; then
        ok "$message"
    else
        fail "$base after «$edit» is refused" "exit $rc, wanted ${where}… $what"$'\n'"seen: $message"
    fi
}

refused dropgate.conf '/^device.*dgo/d' '^.outside' 'device.* missing; allowed: '
refused dropgate.conf 's/^device.*dgo/&\ndevice = net_null0/' '^device = net_null0' 'device: .*already set in line'
refused dropgate.conf 's/^device.*dgo/device =/' '^device =$' 'device: empty; allowed: '
refused dropgate.conf 's/^device.*dgo/&\nvlan = 4095/' '^vlan' 'vlan = 4095: not a VLAN; allowed: '
refused dropgate.conf '$a [cookie]\nmaster_file = /nonexistent/key' '^master_file' 'master_file = /nonexistent/key: No such file.*make one by: '
refused dropgate.conf 's/^cores.*/workers = 65/' '^workers' 'workers = 65: .*; allowed: '
refused dropgate.conf 's/^cores.*/workers = one/' '^workers' 'workers = one: .*; allowed: '
refused dropgate.conf 's/^cores.*/idle = sometimes/' '^idle' 'idle = sometimes: .*; allowed: .*adaptive'
refused dropgate.conf 's/^cores.*/hugepages = perhaps/' '^hugepages' 'hugepages = perhaps: .*; allowed: '
refused dropgate.conf 's/^cores.*/memory = 1T/' '^memory' 'memory = 1T: .*; allowed: '
refused dropgate.conf 's/^cores.*/colour = blue/' '^colour' 'colour: unknown key'
refused dropgate.conf 's,198.18.0.1/17,198.18.0.1/33,' '^addresses.*/33' 'addresses = .*198.18.0.1/33.*; allowed: '
refused dropgate.conf 's,198.18.0.1/17,198.18.0.1,' '^addresses.*198.18.0.1' 'addresses = .*; allowed: '
refused dropgate.conf 's/^interval.*/interval = 500/' '^interval' 'interval = 500: the unit is missing; allowed: '
refused dropgate.conf 's/^interval.*/interval = 1ms/' '^interval' 'interval = 1ms: .*; allowed: .*100ms'
refused dropgate.conf 's/^.probe./[prober]/' '^.prober' 'prober.: unknown section'
refused dropgate.conf 's/^.probe./device = x\n[probe]/;s/^.inside.//' '^device.*dgi' 'device: .*already set'
refused dropgate.conf 's/^.service transfer./[service shop]/' '^.service shop' 'service shop'
refused dropgate.conf 's/198.18.0.80:80,/198.18.0.80:99999,/' '^listen.*99999' 'listen = .*99999.*; allowed: '
refused dropgate.conf 's/198.18.0.80:80,/shop.example:80,/' '^listen.*example' 'listen = .*shop.example.*; allowed: '
refused dropgate.conf '1s/.*/stray = 1/' '^stray' 'stray'
refused dropgate.conf 's/shop4, shop6/shop4, shop7/' '^backends.*shop7' 'backends = shop7: there is no .backend shop7.'
refused dropgate.conf 's/shop4, shop6/shop4, shop6, shop4/' '^backends.*shop6' 'backends = shop4: named twice'
refused dropgate.conf 's/198.18.0.80:81/198.18.0.80:80/' '^listen.*:80' 'listen = 198.18.0.80:80: already served by .service shop.'
refused dropgate.conf 's/198.18.128.2:8081/198.18.128.2:8080/' '^address = 198.18.128.2:8080' 'address = 198.18.128.2:8080: already the address of'
refused dropgate.conf 's/198.18.0.80:80,/224.0.0.1:80,/' '^listen.*224' 'listen = 224.0.0.1:80: not an address that clients can reach'

refused control.conf 's/^identity.*/identity = everybody/' '^identity' 'identity = everybody: .*; allowed: .*header'
refused control.conf 's/^identity.*/identity = jwt/' '^identity' 'identity = jwt: there is no key; a .jwt NAME. section with algorithm and file is needed'
refused control.conf 's/^ledger_threads.*/ledger_threads = 0/' '^ledger_threads' 'ledger_threads = 0: .*; allowed: .*1'
refused control.conf 's/^ledger_threads.*/batch_max = 4096/' '^batch_max' 'batch_max = 4096: .*; allowed: '
refused control.conf 's/^listen.*/listen = 198.18.128.2/' '^listen' 'listen = 198.18.128.2: .*; allowed: '
refused control.conf 's/^idle_timeout.*/idle_timeout = -1s/' '^idle_timeout' 'idle_timeout = -1s: .*; allowed: '
refused control.conf 's/^idle_timeout.*/deadline = 5 minutes/' '^deadline' 'deadline = 5 minutes: .*; allowed: '
refused control.conf 's/^idle_timeout.*/user_header = X User/' '^user_header' 'user_header = X User .*allowed'
refused control.conf 's/^dsn.*//' '^.database' 'dsn.* missing; allowed: '
refused control.conf 's/^dsn.*/dsn = host=db password=secret/' '^dsn' 'dsn must not hold a password'
refused control.conf 's/^dsn.*/dsn = host/' '^dsn' 'dsn: '
refused control.conf 's/^.database./[datenbank]/' '^.datenbank' 'datenbank.: unknown section'

rc=0
message=$("$DATAPLANE" -c "$work/nowhere.conf" --check 2>&1) || rc=$?
expect_equal "a file that is not there ends with 2" 2 $rc
expect_match "and is named" "nowhere.conf" "$message"
expect_at_least "broken files were tried" 20 $number
