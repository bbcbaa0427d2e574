#!/bin/sh
# PID 1 of a stand-in for the database pod: the contract's mounts over a read-only root, loopback as the only network,
# uid 10001 without capabilities. Run inside fresh mount, network, pid and ipc namespaces, which own all that is made here.
#   pod.sh SCRATCH DATABASE   SCRATCH holds data/ run/ tmp/ config/ secrets/ and an empty root/
set -eu
scratch=$1
database=$2
root=$scratch/root

mount --make-rprivate /
mount -t tmpfs -o size=1m,mode=755 image "$root"
mkdir -p "$root/usr" "$root/proc" "$root/dev/shm" "$root/tmp" "$root/run/postgresql" \
    "$root/var/lib/postgresql/data" "$root/etc/his/postgres" "$root/etc/his/secrets"
for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done

mount --bind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr"
mount -t proc proc "$root/proc"
mount -t tmpfs -o size=64m,mode=1777 shm "$root/dev/shm"
for name in null zero random urandom; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
: >"$root/etc/passwd"
mount --bind "$scratch/config/passwd" "$root/etc/passwd"
mount --bind "$scratch/data" "$root/var/lib/postgresql/data"
mount --bind "$scratch/run" "$root/run/postgresql"
mount --bind "$scratch/tmp" "$root/tmp"
for name in postgres:config secrets:secrets; do
    mount --bind "$scratch/${name#*:}" "$root/etc/his/${name%:*}"
    mount -o remount,bind,ro "$root/etc/his/${name%:*}"
done
mount -o remount,ro "$root"
ip link set lo up

cd /
# --pdeathsig: the one that unshare --kill-child sets is lost when the user changes.
exec chroot "$root" /usr/bin/setpriv --reuid 10001 --regid 10001 --clear-groups --bounding-set=-all --inh-caps=-all \
    --no-new-privs --pdeathsig KILL /usr/bin/env -i PATH=/usr/bin:/usr/sbin HOME=/nonexistent PGDATABASE_NAME="$database" \
    sh /etc/his/postgres/start.sh
