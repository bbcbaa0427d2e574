#!/bin/sh
# Probes of the embedded database, each over the local socket of the real server:
#   started  the server accepts connections (crash recovery is over)
#   ready    a session really gets an answer, as the OS user through peer, on a connection kept back for superusers
#   alive    the server answers at all; "still starting up" counts, or recovery would be killed over and over
# start.sh makes the bin link and removes the socket; its temporary server listens elsewhere, so none of these passes
# before roles and grants are in place.
set -u
socket=/run/postgresql
bin=$socket/bin

case ${1-} in
started)
    exec "$bin/pg_isready" -q -h "$socket" -p 5432 -U postgres -d postgres -t 3
    ;;
ready)
    "$bin/pg_isready" -q -h "$socket" -p 5432 -U postgres -d postgres -t 3 || exit 1
    answer=$(PGCONNECT_TIMEOUT=3 "$bin/psql" -X -w -q -A -t -h "$socket" -p 5432 -U postgres -d postgres -c 'select 1') || exit 1
    [ "$answer" = 1 ]
    ;;
alive)
    "$bin/pg_isready" -q -h "$socket" -p 5432 -U postgres -d postgres -t 3
    [ $? -le 1 ]
    ;;
*)
    echo "his-postgres: probe.sh knows started, ready and alive" >&2
    exit 64
    ;;
esac
