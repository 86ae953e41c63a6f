#!/bin/sh
# same_for_threads.sh PROGRAM: PROGRAM prints the same with 1, 2 and 4 threads, each in a process of its own.
set -eu
one=$(OMP_NUM_THREADS=1 "$1")
[ -n "$one" ] || { echo "$1 printed nothing"; exit 1; }
for threads in 2 4; do
  other=$(OMP_NUM_THREADS=$threads "$1")
  [ "$other" = "$one" ] && continue
  printf 'With 1 thread:\n%s\nwith %s threads:\n%s\n' "$one" "$threads" "$other"
  exit 1
done
printf '%s\n' "$one"
