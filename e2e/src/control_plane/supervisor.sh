# Runs the programs whose start scripts are named on standard input, one a line, and lives exactly as long as that
# input stays open. Usage: sh -c SCRIPT supervisor DIR
#
# Whoever holds the other end may be killed at any moment: the kernel then closes it, and everything below stops and
# disappears. Should this shell be killed instead, the kernel kills its children.
dir=$1
cd "$dir" || exit 1
pids=
while read -r name; do
  setpriv --pdeathsig KILL sh "run/$name.sh" >>"log/$name.log" 2>&1 </dev/null &
  pids="$pids $!"
  echo "$!" >"run/$name.pid"
done
for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
wait
cd / && rm -rf "$dir"
