#!/usr/bin/env bash
# test.sh PROGRAM CASE: what the language model promises besides its figures. Run by ctest.
set -uo pipefail
program=$1 case=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# sentence=... refuses ARGUMENT...: exit code 2 and one sentence on stderr that has $sentence in it
refuses() {
  "$program" "$@" >"$folder/stdout" 2>"$folder/stderr"
  local code=$?
  ((code == 2)) || fail "$*: exit code $code instead of 2"
  [[ $(wc -l <"$folder/stderr") -eq 1 ]] || fail "$*: not one line on stderr: $(cat "$folder/stderr")"
  grep -qF -- "$sentence" "$folder/stderr" || fail "$*: '$sentence' is not in: $(cat "$folder/stderr")"
  cat "$folder/stderr"
}
learns() { "$program" --smoke "$@" || fail "$*: exit code $?"; }
same() { cmp "$1/mixture.safetensors" "$2/mixture.safetensors" && cmp "$1/dense.safetensors" "$2/dense.safetensors" || fail "$3"; }

case $case in
  errors)
    cd "$folder" || exit 1
    : >"$folder/empty"
    head -c 1000 /dev/zero >"$folder/short"
    sentence="there is no file $folder/none" refuses --text "$folder/none"
    sentence="$folder/empty is empty" refuses --text "$folder/empty"
    sentence="the text is too short: it has 1000 bytes" refuses --text "$folder/short"
    sentence="cannot write to the folder $folder/short/out" refuses --out "$folder/short/out"
    sentence="--top-k is 8" refuses --experts 4 --top-k 8
    sentence="none" refuses --resume "$folder/none"
    sentence="is not a safetensors file" refuses --resume "$program"
    if ((EUID != 0)); then
      mkdir -m 0 "$folder/closed"
      sentence="cannot read the folder $folder/closed" refuses --text "$folder/closed"
    fi
    "$program" --steps many >/dev/null 2>&1
    (($? == 2)) || fail "--steps many: not exit code 2"
    ;;
  every_byte) # a text with every value of a byte
    for ((i = 0; i < 256; ++i)); do printf "\\x$(printf %02x "$i")"; done >"$folder/alphabet"
    for ((i = 0; i < 240; ++i)); do cat "$folder/alphabet"; done >"$folder/text"
    learns --text "$folder/text" --out "$folder/out"
    [[ -s $folder/out/report.html ]] || fail "no report"
    ;;
  resume) # stopped within the first model, and within the second: the same parameters, bit for bit
    learns --out "$folder/whole"
    for stop in 10 24 30; do
      learns --out "$folder/parts" --stop-after "$stop"
      "$program" --resume "$folder/parts/state.safetensors" --out "$folder/parts" || fail "--resume: exit code $?"
      same "$folder/whole" "$folder/parts" "a run stopped after $stop steps and resumed ends elsewhere"
    done
    sentence="is not the state of a stopped run" refuses --resume "$folder/whole/mixture.safetensors"
    ;;
  quantise) # a trained model in less: a line for each type, and the float one predicts as it did
    learns --out "$folder/out" | tee "$folder/learnt"
    "$program" --quantise "$folder/out/mixture.safetensors" | tee "$folder/table" || fail "--quantise: exit code $?"
    for type in float bfloat16 half int8 int4 mxfp4; do
      grep -qE "^$type +[0-9.]+ +[0-9.]+ +[0-9.]+ %" "$folder/table" || fail "no line for $type"
    done
    held_out=$(sed -nE 's/^ +held out: ([0-9.]+) .*/\1/p' "$folder/learnt" | head -1)
    grep -E '^float ' "$folder/table" | grep -qF " $held_out " || fail "the float model's held-out bits are not $held_out"
    sentence="none" refuses --quantise "$folder/none"
    learns --out "$folder/out" --stop-after 5
    sentence="is not a model that a run has written" refuses --quantise "$folder/out/state.safetensors"
    ;;
  threads) # the same parameters, bit for bit, for any number of threads
    for threads in 1 2 3; do OMP_NUM_THREADS=$threads learns --out "$folder/$threads"; done
    same "$folder/1" "$folder/2" "2 threads end elsewhere than 1"
    same "$folder/1" "$folder/3" "3 threads end elsewhere than 1"
    ;;
  interrupt) # Ctrl-C: what was learnt is written, and the run goes on from it
    "$program" --smoke --steps 1000000 --out "$folder/out" >"$folder/stdout" &
    pid=$!
    for ((i = 0; i < 600; ++i)); do
      grep -q '^mixture' "$folder/stdout" && break
      sleep 0.1
    done
    sleep 0.5
    kill -INT "$pid"
    wait "$pid"
    code=$?
    ((code == 130)) || fail "exit code $code instead of 130"
    for file in report.html mixture.safetensors state.safetensors; do [[ -s $folder/out/$file ]] || fail "no $file"; done
    "$program" --resume "$folder/out/state.safetensors" --out "$folder/out" --stop-after 5 || fail "--resume: exit code $?"
    ;;
  *) fail "there is no case $case" ;;
esac
