#!/bin/sh
# Starts the one Postgres of an `Embedded` database on a plain postgres image. README.md holds the contract.
#
# Guarantees: a kill at any moment converges on the next start; nothing listens on TCP before roles, grants and
# passwords match the mounted files; SIGTERM ends in a fast, clean shutdown.
# Must never: touch a data directory that may hold data, put a secret on a command line or into the log.
#
# The shell stays PID 1 on purpose. kubelet sends SIGTERM unless the image says otherwise, and to Postgres that
# means "wait for every client to leave". Only a parent can turn it into a fast shutdown on any image.
set -eu
umask 077
LC_ALL=C
PGCLIENTENCODING=UTF8
export LC_ALL PGCLIENTENCODING
unset PGDATA PGOPTIONS PGSERVICE PGPASSWORD

config=/etc/his/postgres
secrets=/etc/his/secrets
volume=/var/lib/postgresql/data
data=$volume/pgdata
half_made=$volume/pgdata.initdb
sockets=/run/postgresql
setup=$sockets/setup

child=
watcher=
stopping=

say() { printf 'his-postgres: %s\n' "$*" >&2; }

refuse() {
    say "refused: $*"
    exit 78
}

# TERM before INT: a server that has not yet set up its handlers still ignores INT (background jobs of sh do) and
# dies of TERM, having done nothing; one that has them goes from smart to fast shutdown.
stop() {
    stopping=yes
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || :
    [ -z "$child" ] || kill -INT "$child" 2>/dev/null || :
}
# shellcheck disable=SC2317 # called by trap
reload() { [ -z "$child" ] || kill -HUP "$child" 2>/dev/null || :; }
trap stop TERM INT QUIT
trap reload HUP

# Waits for $child itself: a signal ends `wait`, not the child.
await() {
    while :; do
        status=0
        wait "$child" || status=$?
        kill -0 "$child" 2>/dev/null || break
    done
    child=
    return "$status"
}

leave_if_stopping() {
    [ -z "$stopping" ] || { say "stopped before the server was up"; exit 0; }
}

# Prints the directory of a Postgres: of the major version in $1 if there is one, else the newest.
find_binaries() {
    newest=0
    for candidate in /usr/lib/postgresql/*/bin; do
        [ -x "$candidate/postgres" ] || continue
        major=${candidate#/usr/lib/postgresql/}
        major=${major%/bin}
        case $major in *[!0-9]*) continue ;; esac
        [ "$major" != "$1" ] || { newest=$major; break; }
        [ "$major" -le "$newest" ] || newest=$major
    done
    if [ "$newest" -gt 0 ]; then
        echo "/usr/lib/postgresql/$newest/bin"
    elif command -v postgres >/dev/null; then
        dirname "$(command -v postgres)"
    fi
}

# major_of DIRECTORY: "postgres (PostgreSQL) 15.8 (Debian ...)" -> 15
major_of() { "$1/postgres" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/'; }

valid_name() {
    case $1 in '' | [!a-z_]* | *[!a-z0-9_]*) return 1 ;; esac
    [ "${#1}" -le 63 ]
}

# check_role ROLE: both files of its Secret are usable; leaves the role name in $name.
check_role() {
    for file in "$secrets/$1/username" "$secrets/$1/password"; do
        [ -r "$file" ] || refuse "secret file $file is missing or not readable by uid $(id -u); mount the $1 Secret with keys username and password, mode 0440, fsGroup 10001"
        [ -s "$file" ] || refuse "secret file $file is empty; put a value into the $1 Secret"
        [ "$(wc -l <"$file")" -le 1 ] || refuse "secret file $file has more than one line; a $(basename "$file") is one line"
    done
    name=$(cat "$secrets/$1/username")
    valid_name "$name" || refuse "role name in $secrets/$1/username is not valid: use [a-z_][a-z0-9_]*, at most 63 characters"
    case $name in
    postgres | pg_* | his_clients | public | none)
        refuse "role name '$name' in $secrets/$1/username is reserved; choose another username"
        ;;
    esac
    # Postgres stores these shapes as they are, as somebody else's verifier.
    if grep -Eq '^(md5[0-9a-f]{32}|SCRAM-SHA-256\$)' "$secrets/$1/password"; then
        refuse "secret file $secrets/$1/password holds a password hash; it must hold the password"
    fi
}

check_inputs() {
    database=${PGDATABASE_NAME-}
    valid_name "$database" || refuse "PGDATABASE_NAME is not a valid database name: use [a-z_][a-z0-9_]*, at most 63 characters"
    case $database in postgres | template0 | template1 | replication | all | sameuser | samerole | samegroup)
        refuse "PGDATABASE_NAME '$database' is reserved; choose another database name" ;;
    esac
    for file in "$secrets/tls/tls.crt" "$secrets/tls/tls.key"; do
        [ -s "$file" ] || refuse "secret file $file is missing or empty; mount the TLS Secret with keys tls.crt and tls.key"
        [ -r "$file" ] || refuse "secret file $file is not readable by uid $(id -u); mount it with mode 0440 and fsGroup 10001"
    done
    check_role owner
    owner=$name
    check_role app
    app=$name
    check_role backup
    backup=$name
    if [ "$owner" = "$app" ] || [ "$owner" = "$backup" ] || [ "$app" = "$backup" ]; then
        refuse "owner, app and backup need three different role names (now '$owner', '$app', '$backup'); change the username in one Secret"
    fi
}

# The lock lives as long as any process that inherits descriptor 9: this shell and the servers. Postgres' own check goes
# by process id and cannot see a second pod on the same volume.
lock_volume() {
    [ -w "$volume" ] || refuse "$volume is not writable by uid $(id -u); mount the volume with fsGroup 10001"
    exec 9>"$volume/.lock"
    flock -n 9 || refuse "another instance runs on this volume; wait until its pod is gone"
}

# A data directory comes into being by one rename of a finished cluster, so pgdata.initdb never holds data.
make_data_directory() {
    if [ -e "$data" ] || [ -L "$data" ]; then
        [ -s "$data/PG_VERSION" ] || refuse "$data exists and is not a Postgres data directory (no PG_VERSION); nothing was changed: restore it, or move it away to start empty"
        return
    fi
    rm -rf "$half_made"
    say "first start: initialising $data with PostgreSQL $(major_of "$bin")"
    "$bin/initdb" --pgdata="$half_made" --username=postgres --encoding=UTF8 --locale-provider=libc --locale=C.UTF-8 \
        --data-checksums --auth-local=peer --auth-host=scram-sha-256 --no-instructions >&2 &
    child=$!
    await || { leave_if_stopping; say "initdb failed"; exit 1; }
    leave_if_stopping
    mv "$half_made" "$data"
}

check_version() {
    [ -s "$data/PG_VERSION" ] || return 0
    was=$(cat "$data/PG_VERSION")
    is=$(major_of "$bin")
    [ "$was" = "$is" ] || refuse "data directory $data was written by PostgreSQL $was, this image has PostgreSQL $is; set the image back to PostgreSQL $was, or back up with $was and restore into a new volume with $is"
}

serve() {
    "$bin/postgres" -D "$data" -c config_file="$config/postgresql.conf" "$@" &
    child=$!
    # A signal between the two lines above found no child to end.
    [ -z "$stopping" ] || stop
}

# A server that only this user can reach, in a directory that no probe looks at.
start_setup_server() {
    rm -rf "$setup" "$sockets"/.s.PGSQL.*
    mkdir "$setup"
    serve -c listen_addresses='' -c unix_socket_directories="$setup" -c log_connections=off -c log_disconnections=off
    # No deadline of its own: crash recovery takes as long as it takes, and the startup probe bounds it.
    until "$bin/pg_isready" -q -h "$setup" -p 5432 -U postgres -d postgres; do
        kill -0 "$child" 2>/dev/null || { await || :; leave_if_stopping; say "the server did not come up; the reason is above"; exit 1; }
        sleep 0.1
    done
}

apply_roles() {
    applied=yes
    "$bin/psql" -X -q -w -h "$setup" -p 5432 -U postgres -d postgres -v owner="$owner" -v app="$app" \
        -v backup="$backup" -v database="$database" -f "$config/roles.sql" >/dev/null || applied=
    stopping_before=$stopping
    stop
    stopping=$stopping_before
    await || applied=
    rm -rf "$setup"
    leave_if_stopping
    [ -n "$applied" ] || { say "roles and grants could not be applied; the reason is above"; exit 1; }
}

# Secret volumes change under a running pod; Postgres reads a new certificate on SIGHUP.
watch_certificate() {
    seen=$(cksum "$secrets/tls/tls.crt" "$secrets/tls/tls.key")
    while sleep 10; do
        now=$(cksum "$secrets/tls/tls.crt" "$secrets/tls/tls.key") || continue
        [ "$now" != "$seen" ] || continue
        seen=$now
        say "certificate changed, reloading"
        kill -HUP "$child" || return 0
    done
}

check_inputs
lock_volume
wanted=
[ ! -s "$data/PG_VERSION" ] || wanted=$(cat "$data/PG_VERSION")
bin=$(find_binaries "$wanted")
[ -n "$bin" ] || refuse "no postgres in /usr/lib/postgresql/*/bin or PATH; use a postgres image (15 to 18)"
ln -sfn "$bin" "$sockets/bin"
check_version
make_data_directory
sync "$volume"
start_setup_server
apply_roles
say "roles and grants of database $database are in place"
serve
watch_certificate 9>&- &
watcher=$!
status=0
await || status=$?
kill "$watcher" 2>/dev/null || :
say "server ended with status $status"
exit "$status"
